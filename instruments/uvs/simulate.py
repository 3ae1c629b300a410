"""The other way round: the scene's light to files of single events, and the truth (forward model: `forward`).

The truth of what is binned is the expected value, which `forward` sums up without drawing an event; that of a photon is
its own. The values of the calibration tables are the truth of the instrument.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import xarray as xr
from numpy.random import Generator
from numpy.typing import NDArray

from instruments.uvs import forward, truth
from instruments.uvs.forward import FINE_SLIT, FINE_TIME, Known, Optics, Photons
from instruments.uvs.layout import SECTIONS, SLIT_BINS, STEP, Array
from instruments.uvs.raw import ANALOG, DIGITAL, EVENTS, FRAMES, HOUSEKEEPING, MIRROR
from instruments.uvs.raw_write import hacked, write_edr
from pipeline.clock import TICKS, Span, et_to_utc
from pipeline.instrument import Truth
from pipeline.scene.aurora import COMPONENTS
from pipeline.scene.tables import values_at

if TYPE_CHECKING:
    from pipeline.scene import Scene

NAMES = ("detector", "wavelength", "effective_area", "dead_time", "pulse_height", "radiation", "flat", "pointing")
# Acquisitions: seconds from closest approach of their beginnings, and their length.
ACQUISITIONS: dict[str, tuple[tuple[float, float], ...]] = {
    "demo": ((-1190.0, 120.0), (1070.0, 120.0)),
    "full": tuple((-3590.0 + 1440.0 * k, 1430.0) for k in range(5)),
}
# Angles of the mirror, one after the other, each for 30 s, of which a second to get there.
MIRROR_ANGLES, MIRROR_STAYS = (27.0, 20.5, 14.0, 7.5, 1.0, -5.5, -12.0, -18.5), 30.0
FRAME, HACK_PERIOD, RATE_INTERVAL, MIRROR_INTERVAL, HOUSEKEEPING_INTERVAL = 2.0, 0.002, 0.125, 1.0, 10.0
HACKS = round(FRAME / HACK_PERIOD)
# Seconds of light that are computed at once.
CHUNK = 30.0
# Radiation within the pulse heights' window, events/s: far out, and more of it near closest approach with its width.
RADIATION = (300.0, 2500.0, 700.0)
# Photons of which the point on Jupiter is known: every n-th.
KNOWN_POINTS = 16


@dataclass(frozen=True)
class Acquisition:
    """One file: frames from a whole second of the clock on.

    Parameters
    ----------
    ticks : clock at the beginnings of the frames (n).
    et : the same in et.
    broken : frames that lose hacks, and frames marked bad.
    """

    part: int
    ticks: NDArray[np.int64]
    et: Array
    broken: tuple[int, int]

    @property
    def span(self) -> Span:
        """From the first frame to the end of the last."""
        return Span(float(self.et[0]), float(self.et[-1] + FRAME))

    def mirror(self, et: Array) -> Array:
        """Angle of the mirror at times, degrees."""
        since = (et - self.et[0]) / MIRROR_STAYS
        angles = np.array(MIRROR_ANGLES)
        # Later acquisitions go on where the one before ended.
        turn = np.floor(since).astype(np.int64) + (self.part - 1) * 4
        now, before = angles[turn % len(angles)], angles[(turn - 1) % len(angles)]
        return np.asarray(before + (now - before) * np.clip((since % 1.0) * MIRROR_STAYS / MIRROR_INTERVAL, 0.0, 1.0))

    def good(self, et: Array) -> NDArray[np.bool_]:
        """Whether times are in a frame of good quality."""
        frame = np.floor((et - self.et[0]) / FRAME)
        return np.asarray((frame >= 0) & (frame < len(self.et)) & ~np.isin(frame, self.broken))


def truth_tables(et: float) -> Known:
    """Values of the tables that hold at closest approach: table to quantity to array."""
    return values_at("uvs", NAMES, et)


def acquisitions(scene: Scene, scale: str) -> list[Acquisition]:
    """The files of a pass, at whole seconds of the clock."""
    out = []
    for part, (start, length) in enumerate(ACQUISITIONS[scale]):
        text = scene.clock.format(float(scene.clock.to_ticks(scene.pass_.et + start)), partition=False)
        begin = (int(text.split(":")[0]) + 1) * TICKS
        frames = int(length // FRAME)
        ticks = begin + np.arange(frames) * round(FRAME * TICKS)
        et = scene.clock.to_et(scene.clock.encode(ticks))
        out.append(Acquisition(part + 1, ticks, et, (frames // 3, frames // 2)))
    return out


def radiation(et: Array, closest_approach: float) -> Array:
    """Events of radiation per second within the window."""
    base, more, width = RADIATION
    since = et - closest_approach
    return np.asarray((base + more * np.exp(-((since / width) ** 2))) * (1.0 + 0.1 * np.sin(2 * np.pi * since / 47.0)))


def drift(et: Array, closest_approach: float) -> tuple[Array, Array, Array]:
    """Temperature of the detector, and how far it shifts (columns, rows) and stretches what is read there."""
    temperature = -8.0 + 4.0 * np.sin((et - closest_approach) / 1500.0)
    shift = np.stack([0.5 * temperature, 0.1 * temperature], axis=-1)
    return temperature, shift, np.stack([1e-4 * temperature, 2e-4 * temperature], axis=-1)


def simulate(scene: Scene, raw_folder: Path, scale: Literal["demo", "full"], rng: Generator) -> Iterator[Truth]:
    """Write EDRs of a pass; yield the truth of all products."""
    known = truth_tables(scene.pass_.et)
    optics = forward.make_optics(known, scene.pass_.et)
    photons: list[xr.Dataset] = []
    expected: list[dict[str, Array]] = []
    for acquisition in acquisitions(scene, scale):
        told, sums = _acquire(scene, raw_folder, acquisition, optics, rng)
        photons.append(told)
        expected.append(sums)
    yield Truth("uvs.photons", "", truth.of_photons(photons))
    yield Truth("uvs.rates", "", truth.of_rates(expected, optics))
    yield Truth("uvs.spectra", "", truth.of_spectra(expected, optics))
    yield Truth("uvs.swath", "", truth.of_swath(expected, optics))
    yield Truth("uvs.map", "", truth.of_map(expected, optics))


def _acquire(
    scene: Scene, raw_folder: Path, acquisition: Acquisition, optics: Optics, rng: Generator
) -> tuple[xr.Dataset, dict[str, Array]]:
    """Write one file; returns the truth of its events and what was to be expected."""
    span = acquisition.span
    recorded, counted, sums = [], [], []
    # On whole multiples in et, so that no step of time is cut.
    edges = np.arange(np.floor(span.start / CHUNK) + 1, np.ceil(span.stop / CHUNK)) * CHUNK
    for start, stop in pairwise([span.start, *edges.tolist(), span.stop]):
        part = Span(start, stop)
        events, expectation = _expose(scene, acquisition, part, optics, rng)
        pair, tau = float(optics.known["dead_time"]["pair_resolution"]), float(optics.known["dead_time"]["tau"])
        merged = forward.merge(events, pair)
        merged = merged.take(merged.pulse >= optics.known["pulse_height"]["threshold"])
        counted.append(merged.time)
        alive = merged.take(forward.survivors(merged.time, tau))
        _, shift, stretch = drift(alive.time + span.start, scene.pass_.et)
        recorded.append(forward.place_read(alive, shift, stretch))
        sums.append(expectation)
    events = forward.joined(recorded)
    told = _write(scene, raw_folder, acquisition, events, np.concatenate(counted), optics, rng)
    return told, {n: np.concatenate([s[n] for s in sums]) for n in sums[0]}


def _expose(
    scene: Scene, acquisition: Acquisition, part: Span, optics: Optics, rng: Generator
) -> tuple[Photons, dict[str, Array]]:
    """Events of a part of an acquisition, and what is to be expected of it."""
    first, last = int(np.floor(part.start / STEP)), int(np.ceil(part.stop / STEP))
    start = forward.steps_of(first, last - first, FINE_TIME)
    length = STEP / FINE_TIME
    middle = start + length / 2
    rate = forward.light(scene.geometry, middle, acquisition.mirror(middle), optics)
    rate = np.nan_to_num(rate)
    rays = radiation(middle, scene.pass_.et)
    second = np.floor(middle).astype(np.int64)
    seconds, of = np.unique(second, return_inverse=True)
    mean = np.zeros((len(seconds), *rate.shape[1:]))
    np.add.at(mean, of, rate)
    mean /= np.bincount(of)[:, None, None]
    origin = acquisition.span.start
    blocks = forward.block_rates(mean, np.bincount(of, rays) / np.bincount(of), optics)
    counted = forward.counted_share(blocks, optics)
    events = forward.joined(
        [
            forward.photons(rate, start - origin, length, optics, blocks[of], rng),
            forward.rays(rays, start - origin, length, optics, rng),
            forward.stims(part.start - origin, part.stop - origin, optics, rng),
        ]
    )
    events = events.take((events.time >= part.start - origin) & (events.time < part.stop - origin))
    return events, _expectation(scene, acquisition, part, optics, first, rate, rays, counted[of])


def _expectation(
    scene: Scene,
    acquisition: Acquisition,
    part: Span,
    optics: Optics,
    first: int,
    rate: Array,
    rays: Array,
    counted: Array,
) -> dict[str, Array]:
    """On steps (n): times, exposure, live share, rates; expected counts (n, section, bin, component); what is seen."""
    known = optics.known
    fine = forward.steps_of(first, len(rate) // FINE_TIME, FINE_TIME)
    sub = np.linspace(0.0, STEP / FINE_TIME, 16, endpoint=False) + STEP / FINE_TIME / 32
    at = fine[:, None] + sub
    exposure = (acquisition.good(at) & part.contains(at)).mean(axis=1) * STEP / FINE_TIME
    pulse, mean = known["pulse_height"], float(known["radiation"]["pulse_height"])
    above = np.exp(-pulse["threshold"] / mean) / (
        np.exp(-pulse["window"][0] / mean) - np.exp(-pulse["window"][1] / mean)
    )
    arriving = rate.sum(axis=(1, 2)) * counted / optics.inside + rays * above + 2.0 * known["detector"]["stim_rate"]
    pair = float(known["dead_time"]["pair_resolution"])
    # Of events that are recorded, which none precedes within the pair's time, those that none follows.
    live = np.exp(-arriving * pair) / (1.0 + arriving * known["dead_time"]["tau"])
    open_time = exposure * live
    counts = np.zeros((len(rate) // FINE_TIME, len(SECTIONS), SLIT_BINS, len(COMPONENTS)))
    for s in range(len(SECTIONS)):
        rows = optics.section == s
        read = np.einsum("tfc,fb,t->tbc", rate[:, rows], optics.leak[rows], open_time, optimize=True)
        counts[:, s] = read.reshape(-1, FINE_TIME, *read.shape[1:]).sum(axis=1)

    def stepped(values: Array) -> Array:
        return np.asarray(values.reshape(-1, FINE_TIME).sum(axis=1))

    steps = forward.steps_of(first, len(counts)) + STEP / 2
    along = np.broadcast_to(optics.along.reshape(SLIT_BINS, FINE_SLIT).mean(axis=1), (len(steps), SLIT_BINS))
    ground = forward.sight(scene.geometry, steps, acquisition.mirror(steps), along, np.zeros(along.shape))
    return {
        "et": steps, "exposure": stepped(exposure), "open": stepped(open_time), "counts": counts,
        "arriving": stepped(arriving * exposure), "rays": stepped(rays * open_time),
        "radiation": stepped(rays * exposure), "phase": scene.geometry.spin_phase(steps), "emission": ground.emission,
        "latitude": ground.latitude_planetocentric, "longitude": ground.longitude_east,
    }  # fmt: skip


# Files


def _write(
    scene: Scene,
    raw_folder: Path,
    acquisition: Acquisition,
    events: Photons,
    counted: Array,
    optics: Optics,
    rng: Generator,
) -> xr.Dataset:
    """Write the events of an acquisition, not all of them; returns the truth of those that are in the file."""
    begin = acquisition.et - acquisition.et[0]
    frame = np.clip(np.searchsorted(begin, events.time, side="right") - 1, 0, len(begin) - 1)
    hack = np.clip(np.floor((events.time - begin[frame]) / HACK_PERIOD), 0, HACKS - 1).astype(np.int64)
    digital = events.time
    # One frame loses a tenth of its hacks and what came in them.
    gone = (frame == acquisition.broken[0]) & (hack >= HACKS // 2) & (hack < HACKS // 2 + HACKS // 10)
    events, frame, hack = events.take(~gone), frame[~gone], hack[~gone]
    rows: dict[str, list[NDArray[np.generic]]] = {"TYPE": [], "X": [], "Y": [], "PULSE_HEIGHT": []}
    first = np.zeros(len(acquisition.et), np.int64)
    count, held = np.zeros(len(first), np.int32), np.bincount(frame, minlength=len(first)).astype(np.int32)
    edges, total = np.append(0, np.cumsum(held)), 0
    for k in range(len(first)):
        mine = slice(edges[k], edges[k + 1])
        block = hacked(
            events.x[mine].astype(np.int16),
            events.y[mine].astype(np.uint8),
            events.pulse[mine].astype(np.uint8),
            hack[mine],
            HACKS,
        )
        if k == acquisition.broken[0]:
            keep = ~((block["TYPE"] == 1) & (block["X"] >= HACKS // 2) & (block["X"] < HACKS // 2 + HACKS // 10))
            block = {n: v[keep] for n, v in block.items()}
        for name, value in block.items():
            rows[name].append(value)
        first[k], count[k] = total, len(block["TYPE"])
        total += len(block["TYPE"])
    number = len(first)
    frames = _clock(acquisition.ticks) | {
        "DURATION": np.full(number, FRAME), "HACK_PERIOD": np.full(number, HACK_PERIOD), "FIRST_ROW": first,
        "ROWS": count, "EVENTS": held, "SPIN_PHASE": scene.geometry.spin_phase(acquisition.et).astype(np.float32),
        "MODE": np.full(number, b"PIXLIST", "S8"),
        "FRAME_QUALITY": (np.arange(number) == acquisition.broken[1]).astype(np.int32),
    }  # fmt: skip
    tables = {
        FRAMES: frames, EVENTS: {n: np.concatenate(v) for n, v in rows.items()},
        MIRROR: _mirror(acquisition), HOUSEKEEPING: _housekeeping(scene, acquisition),
        ANALOG: _rates(acquisition, counted), DIGITAL: _rates(acquisition, digital),
    }  # fmt: skip
    box = {"LA": (780, 940, 0, 255), "STELLAR": (300, 700, 24, 232)}
    detector = optics.known["detector"]
    wide, high = (int(v) for v in detector["stim_box"])
    for k, (x, y) in enumerate(zip(detector["stim_column"], detector["stim_row"], strict=True)):
        box[f"STIM{k}"] = int(x) - wide, int(x) + wide, int(y) - high, int(y) + high
    path = raw_folder / "JNOUVS_2001" / "DATA" / f"ORBIT-{scene.pass_.number:02d}" / _name(scene, acquisition)
    parameters = {"ACQUISITION": f"S{acquisition.part:02d}", "MODE": "PIXLIST", "SEED_OF_SCENE": str(scene.seed)}
    write_edr(path, tables, parameters, box, scene.clock, simulated=True)
    return _told(scene, acquisition, events, frame, hack, optics)


def _clock(ticks: NDArray[np.int64]) -> dict[str, NDArray[np.generic]]:
    return {"SCLK_SECONDS": (ticks // TICKS).astype(np.int32), "SCLK_SUBSECONDS": (ticks % TICKS).astype(np.int32)}


def _name(scene: Scene, acquisition: Acquisition) -> str:
    day = et_to_utc(acquisition.et[:1])[0].astype("datetime64[D]")[0]
    year = day.astype("datetime64[Y]")
    doy = (day - year.astype("datetime64[D]")).astype(int) + 1
    seconds = int(acquisition.ticks[0] // TICKS)
    return f"UVS_S{acquisition.part:02d}_{seconds}_{year}{doy:03d}_P{scene.pass_.number:02d}OBS_V01.FIT"


def _rates(acquisition: Acquisition, time: Array) -> dict[str, NDArray[np.generic]]:
    """Counts of events, at times since the beginning, over intervals that fill the frames."""
    per = round(FRAME / RATE_INTERVAL)
    ticks = (acquisition.ticks[:, None] + np.arange(per) * round(RATE_INTERVAL * TICKS)).ravel()
    begin = acquisition.et - acquisition.et[0]
    frame = np.clip(np.searchsorted(begin, time, side="right") - 1, 0, len(begin) - 1)
    within = np.clip(np.floor((time - begin[frame]) / RATE_INTERVAL), 0, per - 1).astype(np.int64)
    counts = np.bincount(frame * per + within, minlength=len(ticks)).astype(np.int32)
    return _clock(ticks) | {"INTERVAL": np.full(len(ticks), RATE_INTERVAL), "COUNTS": counts}


def _even(acquisition: Acquisition, interval: float) -> NDArray[np.int64]:
    """Clock at even intervals over an acquisition."""
    last = acquisition.ticks[-1] + round(FRAME * TICKS)
    return np.arange(acquisition.ticks[0], last + 1, round(interval * TICKS))


def _mirror(acquisition: Acquisition) -> dict[str, NDArray[np.generic]]:
    ticks = _even(acquisition, MIRROR_INTERVAL)
    et = acquisition.et[0] + (ticks - ticks[0]) / TICKS
    return _clock(ticks) | {"ANGLE": acquisition.mirror(et).astype(np.float32)}


def _housekeeping(scene: Scene, acquisition: Acquisition) -> dict[str, NDArray[np.generic]]:
    ticks = _even(acquisition, HOUSEKEEPING_INTERVAL)
    temperature = drift(scene.clock.to_et(scene.clock.encode(ticks)), scene.pass_.et)[0].astype(np.float32)
    return _clock(ticks) | {
        "DETECTOR_TEMPERATURE": temperature,
        "HIGH_VOLTAGE": np.full(len(ticks), 4200.0, np.float32),
    }


def _told(
    scene: Scene,
    acquisition: Acquisition,
    events: Photons,
    frame: NDArray[np.int64],
    hack: NDArray[np.int64],
    optics: Optics,
) -> xr.Dataset:
    """Truth of the events of a file: wavelengths of those that are one photon, points on Jupiter of some of them."""
    low, high = optics.known["pulse_height"]["window"]
    photon = events.kind < forward.RADIATION
    good = ~np.isin(frame, acquisition.broken) & (events.pulse >= low) & (events.pulse < high)
    latitude, longitude = (np.full(len(frame), np.nan, np.float32) for _ in range(2))
    some = np.flatnonzero(photon & good)[::KNOWN_POINTS]
    at = events.time[some] + acquisition.et[0]
    along = (events.row[some] - optics.known["detector"]["row_center"]) * optics.known["detector"]["row_scale"]
    ground = forward.sight(scene.geometry, at, acquisition.mirror(at), along, events.across[some])
    latitude[some], longitude[some] = ground.latitude_planetocentric, ground.longitude_east
    return xr.Dataset(
        {
            "wavelength": ("photon", np.where(photon, events.wavelength, np.nan).astype(np.float32)),
            "latitude": ("photon", latitude),
            "longitude": ("photon", longitude),
            "pulse_height": ("photon", events.pulse.astype(np.uint8)),
            "usable": ("photon", good),
        },
        coords={"et": ("photon", acquisition.et[frame] + (hack + 0.5) * HACK_PERIOD)},
    )
