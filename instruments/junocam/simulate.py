"""The other way round: Jupiter in sunlight to electrons, DN and codes in EDR files, and the truth.

Derived from how the camera works, not by turning the calibration round: light of the band and light that leaks in free
electrons; a converter counts them above its bias, which the companding takes off; its bins are listed one by one.
Values of the calibration tables are the truth of the instrument.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import xarray as xr
from numpy.random import Generator
from numpy.typing import NDArray

from calibration.tables import Table
from instruments.junocam.camera import FRAME, Camera
from instruments.junocam.labels import INTERFRAME_DELTA, START_BIAS, ImageLabel
from instruments.junocam.layout import ACTIVE_COLUMNS, FILTERS, LINES, SAMPLES
from instruments.junocam.raw_write import write_edr
from pipeline.clock import format_utc, parse_utc
from pipeline.geometry.surface import surface_points
from pipeline.instrument import Truth
from pipeline.jupiter.shape import RADII, longitude_latitude, nearest_point, planetographic, west
from pipeline.scene.disc import i_over_f
from pipeline.scene.tables import tables_at

if TYPE_CHECKING:
    from pipeline.scene import Scene

Floats = NDArray[np.float64]
Codes = NDArray[np.uint8]

NAMES = ("camera", "response", "detector", "throughput", "solar", "limb")
AU = 149597870.7
WAVELENGTHS = {"BLUE": 480.1, "GREEN": 553.5, "RED": 698.9, "METHANE": 890.0}
STAGE = 0.0032  # s of exposure of a stage of the TDI
SPIN = 30.0
VOLUME = "JNOJNC_0001"

# The converter: 12 bits above its bias, which stands at the dark level.
BIAS, TOP = 118.0, 4095.0
# Where the full well bends the response, DN, and where it ends.
BEND, FULL = 1872.0, 2450.0
# Share of what is lit that the exposure keeps below the bend, and every how many lines and samples it is metered.
METERED, METER = 0.9, 16
# Particles that hit a sample, and electrons they leave: at least and on average above that.
HITS, LEAST, MORE = 2e-5, 8000.0, 8000.0
# How many samples a lost piece is high and wide, blocks of 16.
PIECE = (32, 208)


@dataclass(frozen=True)
class Shot:
    """One image of the plan.

    Parameters
    ----------
    after : seconds from closest approach at which it is wanted; the spin decides when Jupiter is in view.
    letter : of the filters in the name.
    stages : of the TDI, at the most: where it is brighter fewer are taken.
    cut : lines missing at its end.
    damaged : whether a piece of it is lost on the way.
    """

    after: float
    letter: Literal["C", "M", "T"]
    stages: int
    frames: int
    mode: str = "SQROOT"
    cut: int = 0
    damaged: bool = False

    @property
    def filters(self) -> tuple[str, ...]:
        """In the order of the framelets."""
        return {"C": FILTERS[:3], "M": FILTERS[3:], "T": (FILTERS[0], FILTERS[2])}[self.letter]


DEMO = (
    Shot(-1100.0, "C", 6, 3, damaged=True),
    Shot(-1000.0, "M", 96, 3),
    Shot(-60.0, "C", 24, 2, cut=224),
    Shot(1000.0, "T", 6, 2, mode="LIN8"),
    # From limb to limb, so that the attitude can be found.
    Shot(1150.0, "M", 96, 20),
)
FULL_PLAN = tuple(
    Shot(after, "M", 32, 12) if k % 4 == 3 else Shot(after, "C", 1 + k % 2, 12, damaged=k % 10 == 0)
    for k, after in enumerate(np.arange(-3400.0, 3401.0, 170.0).tolist())
)


def simulate(scene: Scene, raw_folder: Path, scale: Literal["demo", "full"], rng: Generator) -> Iterator[Truth]:
    """Write EDR of the scene below `raw_folder`; yields the truth of each image.

    Particles hit, the full well bends the response, of some images a piece or the end is lost.
    """
    known = truth_tables(scene.pass_.et)
    for number, wanted in enumerate(DEMO if scale == "demo" else FULL_PLAN, 1):
        shot = metered(wanted, number, scene, known)
        if shot is None:
            continue
        camera = Camera.from_table(known["camera"], stages=shot.stages)
        label = label_of(shot, number, scene, camera)
        sky, electrons = exposed(shot, label, scene, camera, known)
        codes, bad = read_out(electrons, shot, label, known["detector"], rng)
        write_edr(raw_folder / VOLUME, label, codes, scene.clock)
        yield Truth("junocam.radiance", label.id, truth_of(sky, bad, label))


def truth_tables(et: float) -> dict[str, Table]:
    """The tables that hold at closest approach."""
    return tables_at("junocam", NAMES, et)


def metered(shot: Shot, number: int, scene: Scene, known: dict[str, Table]) -> Shot | None:
    """A shot with no more stages of the TDI than the light allows, thirty times as much at noon as at dusk.

    None over the night side: nothing is seen there, and no image is taken.
    """
    camera = Camera.from_table(known["camera"], stages=shot.stages)
    _, electrons = exposed(shot, label_of(shot, number, scene, camera), scene, camera, known, every=METER)
    gain = float(known["detector"]["gain"].value)
    lit = electrons[electrons > gain]
    if not lit.size:
        return None
    bright = float(np.quantile(lit, METERED))
    fit = shot.stages if bright <= BEND * gain else max(int(shot.stages * BEND * gain / bright), 1)
    return replace(shot, stages=fit)


def label_of(shot: Shot, number: int, scene: Scene, camera: Camera) -> ImageLabel:
    """Label of an image whose middle frame looks at Jupiter."""
    geometry, orbit = scene.geometry, scene.pass_.number
    interframe = 0.371
    times = scene.pass_.et + shot.after + np.arange(0.0, SPIN, 0.02)
    boresight = geometry.rotation(FRAME, "J2000", times)[:, :, 2]
    toward = -geometry.position("J2000", times)
    middle = float(times[np.argmax((boresight * toward).sum(axis=1) / np.linalg.norm(toward, axis=1))])
    start = middle - START_BIAS - (shot.frames - 1) / 2 * (interframe + INTERFRAME_DELTA)
    start = parse_utc(format_utc(start))  # as its label tells it, in ms
    half = np.array([start + 0.5 * shot.frames * interframe])
    below, altitude = nearest_point(geometry.position("IAU_JUPITER", half))
    longitude, latitude, _ = longitude_latitude(below)
    sun = np.linalg.norm(geometry.position("J2000", np.array([start]), target="SUN"))
    day = format_utc(start, day_of_year=True)
    return ImageLabel(
        id=f"JNCE_{day[:4]}{day[5:8]}_{orbit:02d}{shot.letter}{number:05d}",
        version=1,
        orbit=orbit,
        number=number,
        start=start,
        clock_difference=0.0,
        exposure=STAGE * shot.stages,
        interframe=interframe,
        tdi_stages=shot.stages,
        filters=shot.filters,
        centres={},
        mode=shot.mode,
        compression="HUFFMAN",
        summing=1,
        lines=shot.frames * len(shot.filters) * LINES - shot.cut,
        samples=SAMPLES,
        solar_distance=float(f"{sun:.4e}"),
        altitude=round(float(altitude[0]), 1),
        latitude=round(float(planetographic(latitude[0])), 4),
        longitude=round(float(west(longitude[0])), 4),
        temperature=np.nan,
        simulated=True,
        corrections="",
    )


@dataclass(frozen=True, eq=False)
class Sky:
    """What an image saw: et of its framelets, radiance (framelet, line, sample), and I/F."""

    et: Floats
    radiance: Floats
    i_over_f: Floats


def exposed(
    shot: Shot, label: ImageLabel, scene: Scene, camera: Camera, known: dict[str, Table], every: int = 1
) -> tuple[Sky, Floats]:
    """Radiance along the lines of sight of all framelets, and electrons expected from it; of each `every`-th line."""
    frames = np.repeat(np.arange(shot.frames), len(shot.filters))
    et = camera.epochs(label.start, frames, label.interframe, label.exposure, "middle")
    line, sample = np.arange(0, LINES, every)[:, None], np.arange(0, SAMPLES, every)
    reflectance = np.empty((et.size, line.size, sample.size))
    radiance, electrons = np.empty_like(reflectance), np.empty_like(reflectance)
    for k, when in enumerate(et):
        name = shot.filters[k % len(shot.filters)]
        looks = camera.unproject(line, sample, name)
        height = float(known["limb"]["height"].value[FILTERS.index(name)])  # what is seen is haze
        radii = (RADII[0] + height, RADII[1] + height)
        surface = surface_points(scene.geometry, np.array([when]), looks[None], frame=FRAME, radii=radii)
        reflectance[k] = np.nan_to_num(i_over_f(surface, WAVELENGTHS[name])[0])
        sunlight = known["solar"]["irradiance"].value[FILTERS.index(name)] * (AU / label.solar_distance) ** 2
        radiance[k] = reflectance[k] * sunlight / np.pi  # a white surface sends its light into pi steradians
        electrons[k] = radiance[k] * electrons_per_radiance(name, label, known)
    return Sky(et, radiance, reflectance), electrons


def electrons_per_radiance(name: str, label: ImageLabel, known: dict[str, Table]) -> float:
    """Electrons a radiance of 1 in the band frees, with those that leak in beside them."""
    place = FILTERS.index(name)
    fresh = known["response"]["response"].value[place] * known["detector"]["gain"].value * label.exposure
    leaking = known["response"]["leakage"].value[place]
    if name == "METHANE":
        age = 1.0 + known["throughput"]["methane_slope"].value * label.orbit
    else:
        loss = known["throughput"]
        age = loss["intercept"].value[place] + loss["slope"].value[place] * label.orbit
    in_band = fresh * age
    return float(in_band + in_band * leaking / (1.0 - leaking))


def read_out(
    electrons: Floats, shot: Shot, label: ImageLabel, detector: Table, rng: Generator
) -> tuple[Codes, NDArray[np.bool_]]:
    """Codes as sent (lines, samples), and which samples have a defect (framelet, line, sample)."""
    active = np.zeros(SAMPLES, bool)
    active[slice(*ACTIVE_COLUMNS)] = True
    freed = rng.poisson(np.where(active, electrons, 0.0)).astype(np.float64)
    hit = rng.random(freed.shape) < HITS
    freed[hit] += LEAST + rng.exponential(MORE, int(hit.sum()))
    gain = float(detector["gain"].value)
    bent = freed > BEND * gain
    well = np.where(bent, BEND + (FULL - BEND) * np.tanh((freed / gain - BEND) / (FULL - BEND)), freed / gain)
    noise = rng.normal(0.0, float(detector["read_noise"].value) / gain, freed.shape)
    counts = np.clip(np.rint(well + noise + BIAS), 0.0, TOP)
    codes = compressed(counts - BIAS, shot.mode)
    bad = hit | bent
    if shot.damaged:
        # The brightest piece of the image, so that it is not lost in the dark.
        high, wide = PIECE
        whole = electrons[:, :, : SAMPLES // wide * wide]
        mean = whole.reshape(len(whole), LINES // high, high, -1, wide).mean(axis=(2, 4))
        k, row, column = np.unravel_index(np.argmax(mean), mean.shape)
        piece = (k, slice(row * high, (row + 1) * high), slice(column * wide, (column + 1) * wide))
        codes[piece], bad[piece] = 0, True
    strip = codes.reshape(-1, SAMPLES)
    bad.reshape(-1, SAMPLES)[label.lines :] = True
    return strip[: label.lines], bad


def compressed(dn: Floats, mode: str) -> Codes:
    """Codes of DN above the bias: the number of the bin among all bins from 0 up."""
    if mode == "SQROOT":
        lowest = [*range(24), *range(24, 64, 2), *range(64, 248, 4), *range(248, 1008, 8), *range(1008, 1408, 16)]
        lowest += [1408 + 32 * k for k in range(46)]
    else:
        lowest = [int(mode.removeprefix("LIN")) * k for k in range(256)]
    return (np.clip(np.searchsorted(lowest, dn, side="right"), 1, 256) - 1).astype(np.uint8)


def truth_of(sky: Sky, bad: NDArray[np.bool_], label: ImageLabel) -> xr.Dataset:
    """Radiance and I/F where there is glass; attribute ``injected``: the share of samples with a defect."""
    seen = np.zeros(SAMPLES, bool)
    seen[slice(*ACTIVE_COLUMNS)] = True
    framelets = -(-label.lines // LINES)
    dims = ("framelet", "line", "sample")
    variables = {
        name: (dims, np.where(seen, values, np.nan)[:framelets].astype(np.float32))
        for name, values in (("radiance", sky.radiance), ("i_over_f", sky.i_over_f))
    }
    injected = float(bad[:framelets][:, :, seen].mean())
    coords = {"et": ("framelet", sky.et[:framelets])}
    return xr.Dataset(variables, coords=coords, attrs={"injected": injected})
