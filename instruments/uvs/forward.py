"""Single photons: the scene's light through slit, grating and detector, event by event, and what is to be expected.

Used by the simulator alone, and derived from what the instrument does: photons arrive one by one, each has a place in
the slit, a wavelength, a pulse; pulses merge and events are lost because they come too soon. Expected values come from
the same light by sums over blurred spectra, never from the events.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.ndimage import convolve1d
from scipy.spatial.transform import Rotation
from scipy.special import ndtr

from instruments.uvs.layout import (
    BLOCK_COLUMNS,
    BLOCK_ROWS,
    COLUMNS,
    EMISSION_ALTITUDE,
    KILORAYLEIGH,
    LEVELS,
    ROWS,
    SECTION_OF_BIN,
    SECTIONS,
    SLIT_BINS,
    STEP,
    WAVELENGTH_EDGES,
    Array,
    row_edges,
)
from pipeline.geometry import Geometry
from pipeline.geometry.surface import Surface, surface_points
from pipeline.jupiter.shape import EQUATORIAL_RADIUS, POLAR_RADIUS
from pipeline.scene.aurora import COMPONENTS, SPECTRUM_STEP, brightness, spectra

Known = dict[str, dict[str, Array]]
Index = NDArray[np.int64]

# The light is taken as even over so many parts of a step of time and of a bin along the slit.
FINE_TIME, FINE_SLIT = 2, 4
RADII = (EQUATORIAL_RADIUS + EMISSION_ALTITUDE, POLAR_RADIUS + EMISSION_ALTITUDE)
# What an event is: a photon of a component, else
RADIATION, STIM_PULSE, MERGED = 10, 11, 12
PHOTONS_PER_KR = KILORAYLEIGH / (4.0 * np.pi)


@dataclass(frozen=True)
class Optics:
    """The instrument as its tables have it.

    Parameters
    ----------
    along, section : angle along the slit in degrees and section of each fine row (f).
    rows : edges of the fine rows (f + 1).
    gather : solid angle times response of the fine rows, sr (f).
    leak : share of the photons of a fine row that is read in each bin along the slit (f, SLIT_BINS).
    pass_ : component by component, the distribution of detected wavelengths, cumulative (4, n).
    detected : effective area averaged over a component's spectrum, cm2 (4).
    seen : the same, read in each bin of wavelength, by section (3, 4, bins).
    inside : share of photons whose pulse is within the window, where the gain does not sag.
    """

    known: Known
    along: Array
    section: Index
    rows: Array
    gather: Array
    leak: Array
    pass_: Array
    detected: Array
    seen: Array
    inside: float


def area_at(wavelength: Array, known: Known, et: float) -> Array:
    """Effective area: a polygon in the logarithm, times the epoch's factor."""
    table = known["effective_area"]
    points = np.append(table["published_wavelength"], table["other_wavelength"])
    order = np.argsort(points)
    logs = np.log(np.append(table["published_area"], table["other_area"]))[order]
    return np.asarray(np.exp(np.interp(wavelength, points[order], logs)) * np.interp(et, table["time"], table["trend"]))


def make_optics(known: Known, et: float) -> Optics:
    """The instrument at an epoch."""
    table = known["detector"]
    coarse = row_edges(table["section_first"], table["section_last"])
    rows = np.concatenate([np.linspace(a, b, FINE_SLIT, endpoint=False) for a, b in pairwise(coarse)])
    rows = np.append(rows, coarse[-1])
    middle, section = 0.5 * (rows[1:] + rows[:-1]), np.repeat(SECTION_OF_BIN, FINE_SLIT)
    response = known["flat"]["row_response"][np.rint(middle).astype(int)]
    gather = np.radians(table["section_width"][section]) * np.radians(table["row_scale"]) * np.diff(rows) * response
    # The row is rounded, and spread again by the calibration.
    blur = np.sqrt(table["spread"][1] ** 2 + 2.0 / 12.0)
    leak = np.diff(
        ndtr((coarse[None, :] - middle[:, None]) / np.hypot(blur, np.diff(rows)[:, None] / np.sqrt(12.0))), axis=1
    )
    grid, shapes = spectra()
    area = area_at(grid, known, et)
    caught = shapes * area
    pulse = known["pulse_height"]
    mean, sigma = float(pulse["mean"]), float(pulse["spread"] * pulse["mean"])
    inside = float(ndtr((pulse["window"][1] - mean) / sigma) - ndtr((pulse["window"][0] - mean) / sigma))
    return Optics(
        known, (middle - table["row_center"]) * table["row_scale"], section, rows, gather, leak,
        np.cumsum(caught, axis=1) / caught.sum(axis=1, keepdims=True), caught.sum(axis=1), blurred(caught, known),
        inside,
    )  # fmt: skip


def blurred(caught: Array, known: Known) -> Array:
    """Photons caught of each component in the bins of wavelength they are read in, by section of the slit."""
    table, per_column = known["detector"], float(known["wavelength"]["dispersion"])
    sigma = per_column * np.sqrt(table["spread"][0] ** 2 + 2.0 / 12.0) / SPECTRUM_STEP
    at = np.arange(-np.ceil(5 * sigma), np.ceil(5 * sigma) + 1)
    point = np.exp(-0.5 * (at / sigma) ** 2)
    bins = (WAVELENGTH_EDGES - 66.0) / SPECTRUM_STEP
    out = np.zeros((len(SECTIONS), len(caught), len(WAVELENGTH_EDGES) - 1))
    for k, width in enumerate(table["section_width"] * table["slit_dispersion"] / SPECTRUM_STEP):
        half = np.arange(-np.ceil(width), np.ceil(width) + 1)
        box = np.clip(width / 2 + 0.5 - np.abs(half), 0.0, 1.0)
        spread = convolve1d(convolve1d(caught, point / point.sum(), mode="constant"), box / box.sum(), mode="constant")
        total = np.concatenate([np.zeros((len(caught), 1)), np.cumsum(spread, axis=1)], axis=1)
        out[k] = np.diff(np.stack([np.interp(bins, np.arange(total.shape[1]), row) for row in total]), axis=1)
    return out


def sight(geometry: Geometry, et: Array, mirror: Array, along: Array, across: Array) -> Surface:
    """What is seen (n, ...) at times (n) by places in the slit (n, ...), degrees along and across it.

    The mirror turns the line of sight about +Y and the slit's image about +X of the frame that lies 90 degrees from the
    base about +Z: one rotation, Rz(-90) Ry(angle) Rx(angle), of what the slit looks at.
    """
    place = np.stack(
        [np.cos(np.radians(along)) * np.cos(np.radians(across)), np.cos(np.radians(along)) * np.sin(np.radians(across)),
         np.sin(np.radians(along))], axis=-1,
    )  # fmt: skip
    turn = Rotation.from_euler(
        "ZYX", np.stack([np.full(mirror.shape, -90.0), mirror, mirror], axis=1), degrees=True
    ).as_matrix()
    base = np.einsum("nij,n...j->n...i", turn, place)
    return surface_points(geometry, et, base, frame="JUNO_UVS_BASE", radii=RADII)


def light(geometry: Geometry, et: Array, mirror: Array, optics: Optics) -> Array:
    """Photons per second of each component that are detected of each fine row (n, f, 4), were none lost."""
    along = np.broadcast_to(optics.along, (len(et), len(optics.along)))
    surface = sight(geometry, et, mirror, along, np.zeros(along.shape))
    shining = brightness(surface.longitude_east, surface.latitude_planetocentric, surface.incidence)
    return shining * PHOTONS_PER_KR * optics.gather[:, None] * optics.detected


@dataclass
class Photons:
    """Events; arrays over n.

    Parameters
    ----------
    time : s since the acquisition began: a float's et resolves but 60 ns, as long as two pulses are one.
    kind : component of a photon, or `RADIATION`, `STIM_PULSE`, `MERGED`.
    wavelength, row, across : of a photon: true wavelength in nm, fine row, degrees across the slit.
    x, y, pulse : place on the detector and pulse height.
    """

    time: Array
    kind: NDArray[np.int8]
    wavelength: Array
    row: Array
    across: Array
    x: Array
    y: Array
    pulse: Array

    def take(self, which: NDArray[np.generic]) -> Photons:
        """Some of them."""
        return Photons(*(getattr(self, n)[which] for n in self.__dataclass_fields__))


def joined(parts: list[Photons]) -> Photons:
    """All of them, in time order."""
    whole = Photons(*(np.concatenate([getattr(p, n) for p in parts]) for n in Photons.__dataclass_fields__))
    return whole.take(np.argsort(whole.time, kind="stable"))


def photons(rate: Array, start: Array, length: float, optics: Optics, sag: Array, rng: Generator) -> Photons:
    """Photons of light (n, f, 4) that is steady from `start` (n) on for `length` seconds.

    Parameters
    ----------
    rate : detected within the window of pulse heights, per second.
    sag : events per second in the block of detector each place falls in, see `block_rates`, of the second (n).
    """
    known = optics.known
    number = rng.poisson(rate * (length / optics.inside))
    step, row, kind = np.unravel_index(np.repeat(np.arange(number.size), number.ravel()), number.shape)
    n = len(step)
    grid, _ = spectra()
    wavelength = np.empty(n)
    for k in range(len(COMPONENTS)):
        mine = kind == k
        wavelength[mine] = np.interp(rng.random(int(mine.sum())), optics.pass_[k], grid + SPECTRUM_STEP / 2)
    place = optics.rows[row] + rng.random(n) * np.diff(optics.rows)[row]
    table, law = known["detector"], known["wavelength"]
    across = (rng.random(n) - 0.5) * table["section_width"][optics.section[row]]
    shifted = wavelength + table["slit_dispersion"] * across - law["curvature"] * (place - law["row"]) ** 2
    x = law["column"] + (shifted - law["origin"]) / law["dispersion"]
    local = sag[step, block(x, place)]
    pulse = known["pulse_height"]
    mean = pulse["mean"] / (1.0 + local / pulse["sag_rate"])
    return Photons(
        start[step] + rng.random(n) * length, kind.astype(np.int8), wavelength, place, across,
        x + rng.normal(size=n) * table["spread"][0], place + rng.normal(size=n) * table["spread"][1],
        mean * (1.0 + pulse["spread"] * rng.normal(size=n)),
    )  # fmt: skip


def block(x: Array, y: Array) -> Index:
    """Block of the detector in which a place is."""
    column = np.clip(x // BLOCK_COLUMNS, 0, COLUMNS // BLOCK_COLUMNS - 1)
    return (np.clip(y // BLOCK_ROWS, 0, ROWS // BLOCK_ROWS - 1) * (COLUMNS // BLOCK_COLUMNS) + column).astype(np.int64)


def block_rates(rate: Array, radiation: Array, optics: Optics) -> Array:
    """Events per second in each block (n, blocks) of light (n, f, 4) and radiation on the whole detector (n)."""
    law, table = optics.known["wavelength"], optics.known["detector"]
    edges = law["origin"] + law["dispersion"] * (np.arange(0, COLUMNS + 1, BLOCK_COLUMNS) - 0.5 - law["column"])
    grid, _ = spectra()
    middle = 0.5 * (optics.rows[1:] + optics.rows[:-1])
    out = np.zeros((len(rate), ROWS // BLOCK_ROWS, COLUMNS // BLOCK_COLUMNS))
    for s in range(len(SECTIONS)):
        half = 0.5 * table["section_width"][s] * table["slit_dispersion"]
        # Spread evenly over the image of the slit's width.
        below = [
            np.mean([np.interp(edges + d, grid, c, left=0.0, right=1.0) for d in np.linspace(-half, half, 9)], axis=0)
            for c in optics.pass_
        ]
        share = np.diff(np.stack(below), axis=1)
        for r in np.unique(middle // BLOCK_ROWS).astype(int):
            rows = (optics.section == s) & (middle // BLOCK_ROWS == r)
            out[:, r] += rate[:, rows].sum(axis=1) @ share
    return out.reshape(len(rate), -1) + radiation[:, None] / out[0].size


def counted_share(blocks: Array, optics: Optics) -> Array:
    """Share of photons (n) whose pulses are counted at all, at rates of the blocks (n, blocks)."""
    pulse = optics.known["pulse_height"]
    mean = pulse["mean"] / (1.0 + blocks / pulse["sag_rate"])
    above = ndtr((mean - pulse["threshold"]) / (pulse["spread"] * mean))
    return np.asarray((above * blocks).sum(axis=1) / blocks.sum(axis=1))


def rays(rate: Array, start: Array, length: float, optics: Optics, rng: Generator) -> Photons:
    """Penetrating electrons; `rate` of those within the window, over the whole detector (n)."""
    pulse, table = optics.known["pulse_height"], optics.known["radiation"]
    mean = float(table["pulse_height"])
    share = np.exp(-pulse["window"][0] / mean) - np.exp(-pulse["window"][1] / mean)
    number = rng.poisson(rate * length / share)
    step = np.repeat(np.arange(len(start)), number)
    n = len(step)
    x, y = rng.random(n) * COLUMNS - 0.5, rng.random(n) * ROWS - 0.5
    for axis, (place, size) in enumerate(((x, COLUMNS), (y, ROWS))):
        # A density 1 + s u on -1..1: a place is turned to its mirror image with probability -s u.
        u = (2.0 * place + 1.0 - size) / size
        flip = rng.random(n) < np.maximum(-table["slope"][axis] * u, 0.0)
        place[flip] = size - 1.0 - place[flip]
    none = np.full(n, np.nan)
    return Photons(
        start[step] + rng.random(n) * length, np.full(n, RADIATION, np.int8), none, none, none, x, y,
        rng.exponential(mean, n),
    )  # fmt: skip


def stims(start: float, stop: float, optics: Optics, rng: Generator) -> Photons:
    """Pulses of the stim pixels, at even intervals."""
    table = optics.known["detector"]
    parts = []
    for column, row in zip(table["stim_column"], table["stim_row"], strict=True):
        time = start + (np.arange(int((stop - start) * table["stim_rate"])) + rng.random()) / table["stim_rate"]
        n = len(time)
        none = np.full(n, np.nan)
        x, y = (c + rng.normal(size=n) * s for c, s in zip((column, row), table["stim_spread"], strict=True))
        pulse = optics.known["pulse_height"]["stim"] + 0.5 + rng.normal(size=n) * 0.4
        parts.append(Photons(time, np.full(n, STIM_PULSE, np.int8), none, none, none, x, y, pulse))
    return joined(parts)


def merge(events: Photons, resolution: float) -> Photons:
    """Pulses that follow the one before within `resolution` become one with it, at the common centre of charge."""
    if len(events.time) == 0:
        return events
    first = np.append(True, np.diff(events.time) >= resolution)
    if first.all():
        return events
    group = np.cumsum(first) - 1
    charge = np.bincount(group, events.pulse)
    out = events.take(first)
    several = np.bincount(group) > 1
    for name in ("x", "y"):
        centre = np.bincount(group, getattr(events, name) * events.pulse) / np.where(charge != 0, charge, 1.0)
        setattr(out, name, np.where(several, centre, getattr(out, name)))
    out.pulse = np.where(several, charge, out.pulse)
    out.kind = np.where(several, MERGED, out.kind).astype(np.int8)
    return out


def survivors(time: Array, tau: float) -> NDArray[np.bool_]:
    """Which events are recorded by electronics that are dead for `tau` after every event they record."""
    n = len(time)
    alive = np.zeros(n, bool)
    if n == 0:
        return alive
    # An event with none before it within tau is recorded whatever came before: chains begin there and go on at once.
    heads = np.flatnonzero(np.append(True, np.diff(time) >= tau))
    ends = np.append(heads[1:], n)
    following = np.searchsorted(time, time + tau, side="left")
    at = heads
    while at.size:
        alive[at] = True
        at = following[at]
        inside = at < ends
        at, ends = at[inside], ends[inside]
    return alive


def place_read(events: Photons, shift: Array, stretch: Array) -> Photons:
    """Events at the places the electronics of this temperature read: moved and stretched (n, 2)."""
    out = events.take(slice(None))  # type: ignore[arg-type]
    middle = (COLUMNS / 2.0, ROWS / 2.0)
    out.x = np.rint(middle[0] + (events.x - middle[0]) * (1.0 + stretch[:, 0]) + shift[:, 0])
    out.y = np.rint(middle[1] + (events.y - middle[1]) * (1.0 + stretch[:, 1]) + shift[:, 1])
    on = (out.x >= 0) & (out.x < COLUMNS) & (out.y >= 0) & (out.y < ROWS) & (out.pulse >= 0)
    out.pulse = np.minimum(np.floor(out.pulse), LEVELS - 1)
    return out.take(on)


def steps_of(first: int, number: int, parts: int = 1) -> Array:
    """Beginnings of steps of time, or of parts of them."""
    return np.asarray((first + np.arange(number * parts) / parts) * STEP)


assert len(SECTION_OF_BIN) == SLIT_BINS
