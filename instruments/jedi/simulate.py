"""The other way round: the scene's energetic particles to counts in EDR tables, and the truth.

Derived from how the instrument measures, not by turning the calibration round: telescopes are turned about axes of the
sensor, particles are averaged over the field of view and the integration by quadrature, pulses wait for one another in
the counters, and counts are drawn. The values of the calibration tables are the truth of the instrument.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import xarray as xr
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from instruments.jedi.layout import FAMILIES, KINDS, LARGE, SMALL, TELESCOPES, UNITS, Family, merged
from instruments.jedi.raw_write import write_edr
from pipeline.clock import Span
from pipeline.instrument import Truth
from pipeline.scene.energetic import anisotropy, mean_intensity
from pipeline.scene.particles import angle_between, counter, field_through, penetrating
from pipeline.scene.tables import values_at

if TYPE_CHECKING:
    from pipeline.scene import Scene

Array = NDArray[np.float64]
Known = dict[str, dict[str, Array]]

NAMES = ("channels", "look", "geometric_factor", "efficiency", "dead_time", "penetrators", "coincidence")
# Sensor frames of juno_v12.tf: turns about the axes as they are then.
TURNS = (("ZXY", (90.0, 8.0, -10.0)), ("ZX", (180.0, -90.0)), ("ZXY", (-90.0, -8.0, -10.0)))
# Product of each family, and seconds of an integration by resolution and scale.
PRODUCTS = {"ESP": "electrons", "ISP": "ion_singles", "TOFXER": "ions", "TOFXPHR": "low_ions"}
SECONDS = {
    "demo": {"HIERSESP": 2.0, "HIERSISP": 10.0, "HIERSTOFXER": 2.0, "HIERSTOFXPHR": 2.0},
    "full": {"HIERSESP": 0.5, "HIERSISP": 1.0, "HIERSTOFXER": 1.0, "HIERSTOFXPHR": 1.0},
}
COARSE = {"demo": 10.0, "full": 0.25}
# Only unit 270 delivers everything, as on days of the archive; in a demo so many seconds of what no product needs.
EVERYTHING, SHORT = 2, 300.0
# A telescope goes to the small pixel above this rate of pulses in the large one, 1/s.
SWITCH = 3.0e4
# Ions that each species' reading stands for, and species that are told apart by nothing.
MIXED = {"ions": ("protons", "helium", "oxygen", "sulfur"), "heavies": ("oxygen", "sulfur")}
# Rates beside what is sorted, 1/s: noise of start and stop, pulses of penetrating particles in either for one in a
# large pixel, pulses below the threshold.
NOISE, BY_PENETRATORS, BELOW = (900.0, 700.0), (60.0, 50.0), 400.0
_GAUSS = np.polynomial.legendre.leggauss(3)
NODES, WEIGHTS = np.asarray(_GAUSS[0]), np.asarray(_GAUSS[1]) / 2.0


@dataclass
class Counted:
    """Records of one unit: times and arrays over (record, telescope) or (record, telescope, channel)."""

    et: Array
    unit: NDArray[np.int8]
    accumulation: Array
    pixel: NDArray[np.int8]
    gain: NDArray[np.int8]
    intensity: Array
    rate: Array
    expected: Array
    counts: Array
    basic: Array
    pitch: Array
    weight: Array


def simulate(scene: Scene, raw_folder: Path, scale: Literal["demo", "full"], rng: Generator) -> Iterator[Truth]:
    """Write the tables of three units below `raw_folder`; yields the truth.

    Some records are lost, a value is missing, one record has an unknown pixel, one basic rate has run over.
    """
    known = truth_tables(scene.pass_.et)
    for kind, seconds in SECONDS[scale].items():
        units = range(len(UNITS)) if kind in ("HIERSESP", "HIERSISP") or scale == "full" else (EVERYTHING,)
        made = joined([unit_counts(scene, kind, unit, seconds, scene.span, known, rng) for unit in units])
        lost = damage(made, rng)
        write(scene, raw_folder, kind, made, lost)
        yield from truths(scene, KINDS[kind], made, lost, known)
    near = Span(scene.pass_.et, scene.pass_.et + SHORT).intersection(scene.span) if scale == "demo" else scene.span
    for kind in (k for k in KINDS if k not in SECONDS[scale]):
        if near is not None:
            made = unit_counts(scene, kind, EVERYTHING, COARSE[scale], near, known, rng)
            write(scene, raw_folder, kind, made, np.zeros(made.et.size, bool))


def truth_tables(et: float) -> Known:
    """Values of the tables that hold at closest approach: table to quantity to array."""
    return values_at("jedi", NAMES, et)


def unit_counts(
    scene: Scene, kind: str, unit: int, seconds: float, span: Span, known: Known, rng: Generator
) -> Counted:
    """Integrations of one unit, one after the other, in tables of one type."""
    # Units begin at different times; none in the middle of two bins of a spectrogram.
    first = np.ceil(span.start) + 0.15 + 0.25 * unit
    et = np.arange(first + seconds / 2.0, span.stop - seconds / 2.0, seconds)
    family, name = FAMILIES[KINDS[kind]], FAMILIES[KINDS[kind]].detector
    gain = (et - scene.pass_.et > 600.0).astype(np.int8)
    along, pitch = directions(scene, et, unit, seconds, known)
    flux, response = fine_channels(scene, family, et, gain, known)
    large = known["geometric_factor"][name][unit]
    ratio = known["geometric_factor"][f"{name}_small"][unit]
    fast = penetrating(et, scene.pass_.et)[:, None] * known["penetrators"][f"{name}_sensitivity"][unit]
    seen = (flux * response).sum(axis=1)[:, None] * along * large
    small = (seen if family.monitor else 40.0 * seen) + 3.0 * fast + BELOW > SWITCH
    area = np.where(small, ratio, 1.0)
    signal = (flux * response)[:, None, :] * (along * large * area)[:, :, None]
    if family.monitor:
        signal[:, :, -1] = 0.0
        behind = (fast * area)[:, :, None] * known["penetrators"][f"{name}_share"]
        mcp = [noise + share * fast for noise, share in zip(NOISE, BY_PENETRATORS, strict=True)]
        true = np.stack([*mcp, (signal + behind).sum(axis=2) + BELOW * area, np.full(fast.shape, 5.0)], axis=2)
        dead = float(known["dead_time"]["spectrum"])
        own = 2
    else:
        events = signal.sum(axis=2)
        true = np.stack(
            [
                NOISE[0] + 40.0 * events + BY_PENETRATORS[0] * fast,
                NOISE[1] + 30.0 * events + BY_PENETRATORS[1] * fast,
                20.0 * events + (BELOW + 1.4 * fast) * area,
                events,
            ],
            axis=2,
        )
        behind = chance(family, true, known)
        true[:, :, 3] += behind.sum(axis=2) + 5.0
        dead, own = float(known["dead_time"]["event"]), 3
    place = merged(family, kind)
    busy = counter(true[:, :, own], dead) / np.maximum(true[:, :, own], 1e-12)
    expected = pooled((signal + behind) * (busy * seconds)[:, :, None], place)
    counts = rng.poisson(expected).astype(float)
    pulses = counter(true, known["dead_time"]["counter"]) * seconds
    # What is sorted has been counted.
    pulses[:, :, own] = np.maximum(pulses[:, :, own] - expected.sum(axis=2), 0.0)
    basic = rng.poisson(pulses).astype(float)
    basic[:, :, own] += counts.sum(axis=2)
    # A channel that only watches has no intensity of its own.
    weight = pooled(response[:, None, :] * (large * area)[:, :, None], place)
    intensity = pooled(signal, place) / weight
    rate = pooled(signal, place)
    if family.monitor:
        intensity[:, :, -1] = np.nan
    return Counted(
        et, np.full(et.size, unit, np.int8), np.full(et.size, seconds), np.where(small, SMALL, LARGE).astype(np.int8),
        gain, intensity, rate, expected, counts, basic, pitch,
        weight * (busy * seconds)[:, :, None],
    )  # fmt: skip


def pooled(fine: Array, place: NDArray[np.intp]) -> Array:
    """Fine channels added up where a table has them together."""
    if place.max() + 1 == place.size:
        return fine.copy()
    out = np.zeros((*fine.shape[:-1], place.max() + 1))
    for k, at in enumerate(place):
        out[..., at] += fine[..., k]
    return out


def directions(scene: Scene, et: Array, unit: int, seconds: float, known: Known) -> tuple[Array, Array]:
    """Intensity over its mean over directions, averaged over view and integration; pitch angles at the middle."""
    look, field = known["look"], field_through(scene, et)
    axes, turns = TURNS[unit]
    mount = Rotation.from_euler(axes, turns, degrees=True)

    def vectors(aside: float, up: float) -> Array:
        fan = Rotation.from_euler("z", (look["fan"] + aside * look["half_width"])[:, None], degrees=True)
        tilt = Rotation.from_euler("y", -up * float(look["half_height"]), degrees=True)
        return np.asarray(mount.apply(fan.apply(tilt.apply([1.0, 0.0, 0.0]))))

    def cosine(when: Array, view: Array) -> Array:
        to_inertial = scene.geometry.rotation("JUNO_SPACECRAFT", "J2000", when)
        b = field(when)
        flight = -np.einsum("nij,tj->nti", to_inertial, view)
        return np.einsum("nti,ni->nt", flight, b / np.linalg.norm(b, axis=1, keepdims=True))

    mean = np.zeros((et.size, TELESCOPES))
    for later, w in zip(NODES, WEIGHTS, strict=True):
        for aside, u in zip(NODES, WEIGHTS, strict=True):
            for up, v in zip(NODES, WEIGHTS, strict=True):
                mean += w * u * v * anisotropy(cosine(et + later * seconds / 2.0, vectors(aside, up)))
    inertial = np.einsum("nij,tj->nti", scene.geometry.rotation("JUNO_SPACECRAFT", "J2000", et), vectors(0.0, 0.0))
    return mean, angle_between(-inertial, field(et)[:, None, :])


def fine_channels(scene: Scene, family: Family, et: Array, gain: NDArray[np.int8], known: Known) -> tuple[Array, Array]:
    """Intensity averaged over directions, and efficiency times width (record, fine channel)."""
    flux, response = [], []
    for group in family.groups:
        lower, upper, width = (known["channels"][f"{group.energies}_{q}"] for q in ("lower", "upper", "width"))
        flux.append(
            sum(
                mean_intensity(name, et, scene.pass_.et, lower, upper)
                for name in MIXED.get(group.species, (group.species,))
            )
        )
        response.append(known["efficiency"][group.name] * width)
    age = np.interp(
        et, known["efficiency"]["epoch"], known["efficiency"][f"{'ssd' if family.monitor else 'tof'}_epoch_factor"]
    )
    if not family.monitor:
        age = age * known["efficiency"]["gain_factor"][gain]
    return np.concatenate(flux, axis=1), np.concatenate(response) * age[:, None]


def chance(family: Family, true: Array, known: Known) -> Array:
    """Events per second made of pulses of different particles, by channel: each start waits for any stop."""
    table = known["coincidence"]
    pairs = true[:, :, 0] * (true[:, :, 1] * float(table["tof_window"]))
    if family is FAMILIES["TOFXER"]:
        pairs = pairs * (true[:, :, 2] * float(table["ssd_window"]))
    return pairs[:, :, None] * np.concatenate([table[g.name] for g in family.groups])


# What is delivered


def joined(parts: list[Counted]) -> Counted:
    """Records of all units in time order."""
    whole = {f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Counted)}
    order = np.lexsort([whole["unit"], whole["et"]])
    return Counted(**{name: array[order] for name, array in whole.items()})


def damage(made: Counted, rng: Generator) -> NDArray[np.bool_]:
    """Spoil a few records in what is written; tells which are lost."""
    n = made.et.size
    lost = np.zeros(n, bool)
    if n < 60:
        return lost
    missing, state, over, *gone = rng.choice(np.arange(10, n - 10), 6, replace=False)
    made.counts[missing, 3, 2] = np.nan
    made.pixel[state, 1] = 7
    made.basic[over, 4] = np.floor(made.counts[over, 4].sum() * 0.3)
    # They are not in the means of the truth either.
    made.weight[state, 1], made.weight[over, 4], lost[gone] = 0.0, 0.0, True
    return lost


def write(scene: Scene, folder: Path, kind: str, made: Counted, lost: NDArray[np.bool_]) -> None:
    """Tables of every unit."""
    for unit in np.unique(made.unit):
        use = (made.unit == unit) & ~lost
        values = {n: getattr(made, n)[use] for n in ("counts", "basic", "pixel", "gain", "accumulation")}
        write_edr(folder, kind, int(unit), (made.et - made.accumulation / 2.0)[use], values, scene.clock)


# Truth


def truths(scene: Scene, family: str, made: Counted, lost: NDArray[np.bool_], known: Known) -> Iterator[Truth]:
    """Truth of a product and, of electrons and species, its spectrograms."""
    name, dims, per = PRODUCTS[family], ("record", "telescope", "channel"), ("record", "telescope")
    keep = ~lost
    # What only watches has no intensity and is flagged.
    rate, expected = (np.where(np.isnan(made.intensity), np.nan, a) for a in (made.rate, made.expected))
    values = {
        "intensity": (dims, made.intensity), "rate": (dims, rate), "counts": (dims, expected),
        "counts_expected": (dims, expected), "pitch_angle": (per, made.pitch), "unit": (("record",), made.unit),
    }  # fmt: skip
    truth = xr.Dataset(values, coords={"et": ("record", made.et)}).isel(record=keep)
    yield Truth(f"jedi.{name}", "", truth.assign_attrs(injected=2.0 / max(1, keep.sum())))
    if family in ("ESP", "TOFXER"):
        yield Truth(f"jedi.{name.removesuffix('s')}_spectrogram", "", spectrogram(made, keep))


def spectrogram(made: Counted, keep: NDArray[np.bool_]) -> xr.Dataset:
    """Means of the true intensities over half minutes, by pitch angle and without."""
    good = keep[:, None, None] & np.isfinite(made.counts) & np.isfinite(made.intensity)
    weight = np.where(good, made.weight, 0.0)
    product = np.where(good, made.intensity, 0.0) * weight
    half_minute = (made.et // 30.0).astype(int)
    first = half_minute.min()
    slot = np.broadcast_to((half_minute - first)[:, None] * 18, made.pitch.shape) + (made.pitch // 10.0).astype(int)
    bins, channels = np.ptp(half_minute) + 1, made.counts.shape[2]
    top, bottom = np.zeros((2, bins * 18, channels))
    np.add.at(top, slot.ravel(), product.reshape(-1, channels))
    np.add.at(bottom, slot.ravel(), weight.reshape(-1, channels))
    top, bottom = (a.reshape(bins, 18, channels) for a in (top, bottom))
    with np.errstate(invalid="ignore"):
        by_pitch, whole = top / bottom, top.sum(axis=1) / bottom.sum(axis=1)
    et = (np.arange(bins) + first) * 30.0 + 15.0
    values = {"intensity": (("et", "channel"), whole), "pitch_intensity": (("et", "pitch", "channel"), by_pitch)}
    used = np.isfinite(whole).any(axis=1)
    return xr.Dataset(values, coords={"et": ("et", et)}).isel(et=used).assign_attrs(injected=0.0)
