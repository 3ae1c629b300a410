"""The other way round: the scene's field to counts of both sensors in telemetry packets, and the truth.

Derived from how a magnetometer measures, not by turning the calibration round: a sample is the mean over its length by
quadrature, rotations are single Euler turns, sensors are built by solving for what their axes read. The values of the
calibration tables are the truth of the instrument.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import xarray as xr
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.spatial.transform import Rotation

from instruments.mag.raw import FULL_RATE, INBOARD, OUTBOARD, SIMULATED
from instruments.mag.raw_write import Stream, clock_counter, housekeeping_stream, science_stream, write_streams
from instruments.mag.schemas import FRAMES
from instruments.mag.sts_write import write_sts
from pipeline.clock import TICKS, Sclk, Span, et_to_utc
from pipeline.formats.packets import HEADER
from pipeline.geometry import Geometry
from pipeline.instrument import Truth
from pipeline.scene.tables import values_at

if TYPE_CHECKING:
    from pipeline.scene import Scene

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]
Known = dict[str, dict[str, Array]]

NAMES = (
    "ranges", "gain", "zero", "orthogonality", "alignment", "bench", "temperature", "timing", "eddy",
    "spacecraft_field", "noise",
)  # fmt: skip
# Vectors per second by seconds from closest approach, nearest first.
RATES: dict[str, tuple[tuple[float, int], ...]] = {
    "demo": ((300.0, 64), (600.0, 32), (np.inf, 16)),
    "full": ((np.inf, 64),),
}
# The scene's field is smooth over this many seconds.
KNOTS = 1.0
HOUSEKEEPING = 10.0
# Fractions of full scale beyond which the range goes up, and below which all axes must be for it to go down.
# A turn of 45 degrees makes the largest component 1.4 times larger, one range is a factor of 4.
UP, DOWN = 0.9, 0.12
TRANSIENT = 0.01
CHUNK = 65536
# Place of the number of vectors in a science packet.
NUMBER_BYTE = HEADER + 7


@dataclass(frozen=True)
class Sampling:
    """When vectors are taken.

    Parameters
    ----------
    counter : clock count of the time tags (n).
    rate : vectors per second (n).
    length : seconds a vector averages over (n).
    centre : et of the middle of the vectors (n).
    """

    counter: NDArray[np.int64]
    rate: NDArray[np.int64]
    length: Array
    centre: Array


@dataclass(frozen=True)
class Reading:
    """One sensor: what its axes read without noise and zero, nT, (n, 3); counts (n, 3); range and change of it (n)."""

    axes: Array
    counts: NDArray[np.int16]
    k: NDArray[np.intp]
    changed: Flags


def simulate(scene: Scene, raw_folder: Path, scale: Literal["demo", "full"], rng: Generator) -> Iterator[Truth]:
    """Write telemetry (and level 3 in System III) of the scene below `raw_folder`; yields the truth of the field.

    Range changes carry transients; some packets are lost, one comes twice, the last is cut short.
    """
    known = truth_tables(scene.pass_.et)
    sampling = sample_times(scene.span, scene.pass_.et, scene.clock, RATES[scale], known["timing"])
    field = smooth_field(scene)
    sensors = [measure(s, sampling, field, scene.geometry, scene.pass_.et, known, rng) for s in (0, 1)]
    lost = write_telemetry(scene, raw_folder, sampling, sensors, known, rng)
    there = np.logical_not(lost.all(axis=0))
    truth, bad, transient = true_field(scene.geometry, sampling, field, sensors[0], lost[0], there)
    write_level_3(scene, raw_folder, truth, known, rng)
    # Level 3 prints times to 1e-9 d, 86 us.
    told = {"injected": float((bad | transient).mean()), "et_tolerance": 5e-5}
    yield Truth("mag.field", "", truth.assign_attrs(told))
    for name, width in (("mag.field_1s", 1.0), ("mag.field_60s", 60.0)):
        yield Truth(name, "", true_means(scene.geometry, field, truth, bad, transient, width))


def truth_tables(et: float) -> Known:
    """Values of the tables that hold at closest approach: table to quantity to array."""
    return values_at("mag", NAMES, et)


def smooth_field(scene: Scene) -> CubicSpline:
    """The scene's field in J2000 through knots, nT."""
    et = np.arange(scene.span.start - 5.0 * KNOTS, scene.span.stop + 5.0 * KNOTS, KNOTS)
    return CubicSpline(et, scene.magnetic_field(et))


def sample_times(
    span: Span, closest_approach: float, clock: Sclk, rates: tuple[tuple[float, int], ...], timing: dict[str, Array]
) -> Sampling:
    """Vectors without a gap over the whole clock seconds inside a span; the rate changes at whole seconds."""
    first, last = clock_counter(clock, np.array([span.start, span.stop]))
    seconds = np.arange(-(-first // TICKS), last // TICKS)
    distance = np.abs(clock.to_et(clock.encode(seconds * TICKS)) - closest_approach)
    rate = np.select([distance < limit for limit, _ in rates], [r for _, r in rates])
    second = np.repeat(np.arange(len(seconds)), rate)
    place = np.arange(len(second)) - np.repeat(np.cumsum(rate) - rate, rate)
    rate = rate[second]
    counter = seconds[second] * TICKS + (place + 1) * (TICKS // rate)
    which = np.argmax(timing["rate"] == rate[:, None], axis=1)
    tag = clock.to_et(clock.encode(counter))
    return Sampling(counter, rate, timing["integration"][which], tag - timing["delay"][which])


def readings(et: Array) -> Array:
    """What the temperature probes read before rounding, counts (n, 2)."""
    return np.stack([1480.0 + 30.0 * np.sin(et / 2000.0), 1560.0 + 20.0 * np.cos(et / 3000.0)], axis=1)


def choose_ranges(size: Array, full_scale: Array) -> NDArray[np.intp]:
    """Range of each vector: up when the largest component exceeds an upper threshold, down below a lower one."""
    out = np.empty(len(size), np.intp)
    k = int(np.argmax(size[0] <= UP * full_scale))
    at = 0
    while at < len(size):
        out[at:] = k
        high = size[at:] > UP * full_scale[k] if k + 1 < len(full_scale) else np.zeros(len(size) - at, bool)
        low = size[at:] < DOWN * full_scale[k] if k > 0 else np.zeros(len(size) - at, bool)
        crossed = np.flatnonzero(high[1:] | low[1:])
        if len(crossed) == 0:
            break
        at += int(crossed[0]) + 1
        k += 1 if high[crossed[0] + 1] else -1
    return out


def measure(
    number: int, sampling: Sampling, field: CubicSpline, geometry: Geometry, closest_approach: float, known: Known,
    rng: Generator,
) -> Reading:  # fmt: skip
    """One sensor's counts, and what its axes truly read."""
    n = len(sampling.centre)
    size = np.empty(n)
    for part in chunks(n):
        b = to_spacecraft(geometry, sampling.centre[part], field(sampling.centre[part]))
        size[part] = np.abs(b).max(axis=1)
    k = choose_ranges(size, known["ranges"]["full_scale"])
    changed = np.append(False, k[1:] != k[:-1])
    axes, counts = np.empty((n, 3)), np.empty((n, 3), np.int16)
    for part in chunks(n):
        centre, length = sampling.centre[part], sampling.length[part]
        b = at_sensor(number, centre, length, field, geometry, k[part], known)
        degrees = temperature(number, centre, known)
        axes[part] = along_axes(number, b, centre - closest_approach, k[part], degrees, known)
        noise = known["noise"]["rms"][number][k[part]] * np.sqrt(sampling.rate[part] / FULL_RATE)
        read = axes[part] + rng.normal(size=b.shape) * noise[:, None]
        read += np.where(changed[part], TRANSIENT * known["ranges"]["full_scale"][k[part]], 0.0)[:, None]
        counts[part] = converted(number, read, k[part], degrees, known)
    return Reading(axes, counts, k, changed)


def chunks(n: int) -> Iterator[slice]:
    """Slices of at most `CHUNK` vectors."""
    for start in range(0, n, CHUNK):
        yield slice(start, min(start + CHUNK, n))


def to_spacecraft(geometry: Geometry, et: Array, b: Array) -> Array:
    """Vectors of J2000 in the spacecraft frame."""
    return turned(geometry.rotation("J2000", "JUNO_SPACECRAFT", et), b)


def turned(matrix: Array, vector: Array) -> Array:
    """Vectors (n, 3) by matrices (n, 3, 3)."""
    return np.asarray((matrix @ vector[:, :, None])[:, :, 0])


def temperature(number: int, et: Array, known: Known) -> Array:
    """Of a sensor, degC."""
    return np.polyval(known["temperature"]["coefficient"][number][::-1], readings(et)[:, number])


def turning(et: Array, geometry: Geometry) -> Array:
    """Angular velocity of the spacecraft in its own frame, rad/s (n, 3)."""
    nodes = np.linspace(et[0], et[-1], 2 + int((et[-1] - et[0]) // 60.0))
    before, after = (
        Rotation.from_matrix(geometry.rotation("J2000", "JUNO_SPACECRAFT", nodes + shift)) for shift in (-0.5, 0.5)
    )
    # The coordinates of a fixed direction turn against the spacecraft.
    omega = -(after * before.inv()).as_rotvec()
    return np.stack([np.interp(et, nodes, component) for component in omega.T], axis=1)


def at_sensor(
    number: int, centre: Array, length: Array, field: CubicSpline, geometry: Geometry, k: NDArray[np.intp], known: Known
) -> Array:
    """Field at a sensor in the spacecraft frame, averaged over each vector's length by two Gauss points, nT."""
    own = known["spacecraft_field"]
    ratio = float(own["ratio"]) if number == 1 else 1.0
    omega = turning(centre, geometry)
    total = np.zeros((len(centre), 3))
    for side in (-1.0, 1.0):
        et = centre + side * length / np.sqrt(12.0)
        b = to_spacecraft(geometry, et, field(et))
        currents = turned(known["eddy"]["matrix"][k], np.cross(omega, b))
        total += 0.5 * (b + ratio * (currents + own["static"]))
    return total


def along_axes(number: int, b: Array, since: Array, k: NDArray[np.intp], degrees: Array, known: Known) -> Array:
    """What the axes of a sensor read of a field in the spacecraft frame, nT (n, 3)."""
    nodes, angles = known["bench"]["offset"], known["bench"]["angles"][number]
    now = np.stack([np.interp(since, nodes, column) for column in angles.T], axis=1)
    # The kernel's [a1]_3 [a2]_2 [a3]_1 leads from the bench to the spacecraft; a vector goes the other way by single
    # turns about z, y, x, and likewise from the bench to the cube.
    cube = Rotation.from_euler("xyz", known["alignment"]["angles"][number], degrees=True)
    in_cube = cube.apply(Rotation.from_euler("zyx", now, degrees=True).apply(b))
    table = known["orthogonality"]
    warm = (degrees - table["reference_temperature"][number])[:, None, None]
    matrix = table["matrix"][number][k] + table["temperature_coefficient"][number] * warm
    return np.linalg.solve(matrix, in_cube[:, :, None])[:, :, 0]


def converted(number: int, read: Array, k: NDArray[np.intp], degrees: Array, known: Known) -> NDArray[np.int16]:
    """Counts of what the axes read, zero and gain included."""
    zero, gain = known["zero"], known["gain"]
    warm = [(degrees - table["reference_temperature"][number])[:, None] for table in (zero, gain)]
    offset = zero["zero"][number][k] + zero["temperature_coefficient"][number] * warm[0]
    factor = 1.0 + gain["correction"][number][k] + gain["temperature_coefficient"][number] * warm[1]
    counts = np.round((read + offset) / (known["ranges"]["lsb"][k][:, None] * factor))
    return np.clip(counts, -32768, 32767).astype(np.int16)


# Files


def code_of(k: NDArray[np.intp], known: Known) -> NDArray[np.uint8]:
    """Telemetered code of a range."""
    codes = known["ranges"]["range_of_code"].astype(int).tolist()
    return np.array([codes.index(i) for i in range(max(codes) + 1)], np.uint8)[k]


def day_files(scene: Scene, sampling: Sampling) -> Iterator[tuple[str, slice]]:
    """Name of each UTC day (YYYYDDD) and its vectors."""
    utc, _ = et_to_utc(scene.clock.to_et(scene.clock.encode(sampling.counter)))
    days, first = np.unique(utc.astype("datetime64[D]"), return_index=True)
    for day, start, stop in zip(days, first, np.append(first[1:], len(utc)), strict=True):
        yield day_name(day), slice(int(start), int(stop))


def day_name(day: np.datetime64) -> str:
    """Year and day of year."""
    year = day.astype("datetime64[Y]")
    return f"{year}{(day - year.astype('datetime64[D]')).astype(int) + 1:03d}"


def write_telemetry(
    scene: Scene, raw_folder: Path, sampling: Sampling, sensors: list[Reading], known: Known, rng: Generator
) -> Flags:
    """Write the packets, not all of them; returns which vectors of each sensor are lost, (2, n)."""
    folder = raw_folder / "JNO-J-1-FGM-TLM-V1.0" / "DATA" / "JUPITER" / f"PERI-{scene.pass_.number:02d}"
    lost = np.zeros((2, len(sampling.counter)), bool)
    sequence = [0, 0, 0]
    for day, part in day_files(scene, sampling):
        counter = sampling.counter[part]
        streams = []
        for number, (apid, reading) in enumerate(zip((OUTBOARD, INBOARD), sensors, strict=True)):
            columns = counter, sampling.rate[part], reading.counts[part], code_of(reading.k[part], known)
            streams.append(science_stream(apid, *columns, first=sequence[number]))
            sequence[number] += len(streams[-1].ready)
        tags = np.arange(counter[0], counter[-1], int(HOUSEKEEPING * TICKS))
        et = scene.clock.to_et(scene.clock.encode(tags))
        house = housekeeping_stream(tags, np.round(readings(et)), first=sequence[2])
        sequence[2] += len(tags)
        streams, gone = damaged(streams, rng)
        lost[:, part] = gone
        path = folder / f"fgm_jno_l1_{day}_v01.pkt"
        write_streams(path, {"ORIGIN": SIMULATED}, [house, streams[1], streams[0]])
        with path.open("r+b") as file:  # the outboard sensor's last packet is cut short
            file.truncate(path.stat().st_size - 100)
    return lost


def damaged(streams: list[Stream], rng: Generator) -> tuple[list[Stream], Flags]:
    """Streams with packets lost and one doubled; which vectors are lost, the last packet's of the first included."""
    number = [stream.packets[:, NUMBER_BYTE].astype(int) for stream in streams]
    packets = len(streams[0].ready)
    keep = [np.ones(packets, bool) for _ in streams]
    if packets > 40:
        places = np.sort(rng.choice(np.arange(2, packets // 4 - 2), 4, replace=False)) * 4
        keep[0][places[0] : places[0] + 3] = False
        keep[1][places[1]] = False
        keep[0][places[2]] = keep[1][places[2]] = False
        repeated = np.insert(np.arange(packets), places[3], places[3])
    else:
        repeated = np.arange(packets)
    delivered = [k.copy() for k in keep]
    delivered[0][-1] = False
    gone = np.stack([np.repeat(~d, n) for d, n in zip(delivered, number, strict=True)])
    return [streams[0].take(repeated[keep[0][repeated]]), streams[1].take(keep[1])], gone


def write_level_3(scene: Scene, raw_folder: Path, truth: xr.Dataset, known: Known, rng: Generator) -> None:
    """Level 3 in System III at full rate, with errors of the size of noise and counts."""
    truth = truth.isel(et=truth["range"].values >= 0)
    k, et = truth["range"].values.astype(np.intp), truth["et"].values
    noise = known["noise"]["rms"][0][k] ** 2 * truth["rate"].values / FULL_RATE
    sigma = np.sqrt(noise + known["ranges"]["lsb"][k] ** 2 / 12.0)
    b = truth["b_pc"].values + rng.normal(size=(len(k), 3)) * sigma[:, None]
    position = scene.geometry.position("IAU_JUPITER", et)
    day = day_name(et_to_utc(et[:1])[0].astype("datetime64[D]")[0])
    folder = raw_folder / "JNO-J-3-FGM-CAL-V1.0" / "DATA" / "JUPITER" / "PC" / f"PERI-{scene.pass_.number:02d}"
    path = folder / f"fgm_jno_l3_{day}pc_pj{scene.pass_.number:02d}_v01.sts"
    write_sts(path, et, b, code_of(k, known), position, sensor="ob", simulated=True)


# Truth


def in_frames(geometry: Geometry, et: Array, inertial: Array) -> dict[str, tuple[tuple[str, str], Array]]:
    """A field of J2000 in all frames, as variables."""
    frames = {name: frame for name, (frame, _) in FRAMES.items() if name != "j2000"}
    values = {name: turned(geometry.rotation("J2000", frame, et), inertial) for name, frame in frames.items()}
    return {f"b_{name}": (("et", "xyz"), b) for name, b in {"j2000": inertial, **values}.items()}


def true_field(
    geometry: Geometry, sampling: Sampling, field: CubicSpline, reading: Reading, lost: Flags, there: Flags
) -> tuple[xr.Dataset, Flags, Flags]:
    """Truth of mag.field at the vectors that any sensor delivered.

    Returns
    -------
    truth, disturbed, transient
        and which of its vectors are missing or next to a gap, and which are next to a change of range.
    """
    centre, step = sampling.centre, 1.0 / sampling.rate
    good = np.flatnonzero(~lost)
    apart = np.diff(centre[good]) > 1.5 * np.maximum(step[good][1:], step[good][:-1])
    disturbed, transient = lost.copy(), np.zeros(lost.shape, bool)
    disturbed[good[np.append(True, apart)]] = disturbed[good[np.append(apart, True)]] = True
    k = reading.k[good]
    changes = np.flatnonzero(np.append(False, k[1:] != k[:-1]))
    for shift in (-1, 0, 1):
        transient[good[np.clip(changes + shift, 0, len(good) - 1)]] = True
    et = centre[there]
    truth = xr.Dataset(in_frames(geometry, et, field(et)), coords={"et": et}).assign(
        b_sensor=(("et", "axis"), reading.axes[there]),
        range=(("et",), np.where(lost[there], -1, reading.k[there]).astype(np.int8)),
        rate=(("et",), sampling.rate[there].astype(np.float32)),
    )
    return truth, disturbed[there], transient[there]


def true_means(
    geometry: Geometry, field: CubicSpline, truth: xr.Dataset, bad: Flags, transient: Flags, width: float
) -> xr.Dataset:
    """Truth of the means: the field's integral over each interval that holds a vector."""
    et, rate = truth["et"].values, truth["rate"].values
    bins, group = np.unique(np.floor(et / width), return_inverse=True)
    integral = field.antiderivative()
    centre = (bins + 0.5) * width
    mean = (integral((bins + 1) * width) - integral(bins * width)) / width
    missing = truth["range"].values < 0
    covered = np.bincount(group, ~(missing | transient) / rate) / width
    disturbed = (covered < 0.95) | (np.bincount(group, bad & ~missing) > 0)
    dataset = xr.Dataset(in_frames(geometry, centre, mean), coords={"et": centre})
    return dataset.assign_attrs(injected=float(disturbed.mean()))
