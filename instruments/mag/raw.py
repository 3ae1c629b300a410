"""The telemetry of both fluxgates in CCSDS packets: format and reader (README.md, "Telemetry"); writer: `raw_write`.

No raw format of this instrument is public; this one is the project's own. A file holds the packets of a UTC day, or of
a part of it, and begins with an identification packet of text.

Packets are checked and put in order once for a file; what is lost, repeated or damaged is counted packet by packet, so
that the counts of a product do not depend on the segments it is made in.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline.clock import TICKS, Sclk, Span
from pipeline.errors import InputError
from pipeline.formats.packet_fields import Field, Layout, Ragged, check_packets, decode
from pipeline.formats.packets import COUNTS, PacketIndex, PacketReport, index_packets, order_packets
from pipeline.formats.state import file_state
from pipeline.instrument import Granule, RawFormat

IDENTIFICATION, OUTBOARD, INBOARD, HOUSEKEEPING = 0x420, 0x421, 0x422, 0x423
SENSORS = (OUTBOARD, INBOARD)
VECTORS = 64  # of a full packet
FULL_RATE = 64  # vectors per second; rate code c means 64 / 2^c
RATE_CODES = 7
NO_READING = 0xFFFF

_TIME = (Field("seconds", 0, 32), Field("fraction", 32, 16))
TEXT = Layout((Field("text", 0, 8, count=None),), crc=True)
SCIENCE = Layout(
    (
        *_TIME,
        Field("rate", 48, 8),
        Field("number", 56, 8),
        Field("range", 64, 4, count=VECTORS),
        Field("counts", 320, 16, "i", count=3 * VECTORS),
    ),
    crc=True,
)
HOUSEKEEPING_LAYOUT = Layout((*_TIME, Field("temperature", 48, 16, count=2)), crc=True)
LAYOUTS = {OUTBOARD: SCIENCE, INBOARD: SCIENCE, HOUSEKEEPING: HOUSEKEEPING_LAYOUT}
TIME_LAYOUT = Layout(_TIME)

NAME = re.compile(r"(fgm_jno_l1_(\d{7}))_v(\d{2})\.pkt", re.IGNORECASE)
HOST, INSTRUMENT = "JUNO", "FGM"
SIMULATED = "SIMULATED, NOT A MEASUREMENT"

# What is counted of the packets, in the order of the dimension `event`.
# No packet of this format is segmented.
_KINDS = tuple(f.name for f in dataclasses.fields(PacketReport) if f.name != "incomplete")
EVENTS = tuple(name if name == "bytes_skipped" else f"packets_{name}" for name in _KINDS)

Ints = NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Packets:
    """The packets of one application process in a file, checked and in order.

    Parameters
    ----------
    index : where they are.
    start : clock count of the time tag (of the first vector), ticks of 1/65536 s.
    step, number : ticks between vectors, and how many there are; of housekeeping 0 and 1.
    """

    index: PacketIndex
    start: Ints
    step: Ints
    number: Ints

    @property
    def last(self) -> Ints:
        """Clock count of the last vector."""
        return self.start + self.step * (self.number - 1)


@dataclasses.dataclass(frozen=True)
class TelemetryFile:
    """What a file holds, without the measurements.

    Parameters
    ----------
    identification : keywords and values of the identification packet.
    packets : by application process.
    event_time : clock counts of all good packets, in the order of the file (n).
    events : what happened there, (n, event).
    """

    identification: dict[str, str]
    packets: dict[int, Packets]
    event_time: Ints
    events: NDArray[np.int32]


def scan(path: Path) -> TelemetryFile:
    """Check and order the packets of a file; remembered while the file stays the same.

    Raises
    ------
    InputError
        if it cannot be read, is no such file, or a packet contradicts the format.
    """
    return _scan(path, *file_state(path))


@lru_cache(maxsize=4)
def _scan(path: Path, _modified: int, _size: int) -> TelemetryFile:
    index = index_packets(path, {IDENTIFICATION, *LAYOUTS})
    identification = _identification(index)
    packets: dict[int, Packets] = {}
    happened: list[tuple[Ints, Ints, NDArray[np.int32]]] = []
    for apid, layout in LAYOUTS.items():
        found = index.select(apid)
        good, _ = check_packets(found, layout)
        time = clock_counts(good)
        ordered, _ = order_packets(good, [time])
        packets[apid] = _described(ordered, apid)
        happened.append(_events(found, good, time, ordered, layout))
    offset, when, events = (np.concatenate(part) for part in zip(*happened, strict=True))
    if len(when) == 0:
        raise InputError(path, "holds no packet of the magnetometer but its identification")
    order = np.argsort(offset, kind="stable")
    when, events = when[order], events[order]
    # Damage found on the way through the file has no time of its own.
    events[-1] += np.array([getattr(index.report, name) for name in _KINDS], np.int32)
    return TelemetryFile(identification, packets, when, events)


def _identification(index: PacketIndex) -> dict[str, str]:
    """Content of the identification packet; raises InputError where the file does not begin with one of this format."""
    first, _ = check_packets(index.take(index.offset == 0).select(IDENTIFICATION), TEXT)
    if len(first) == 0:
        raise InputError(index.path, "does not begin with an identification packet of the magnetometer", "byte 0")
    columns = decode(first, TEXT)["text"]
    assert isinstance(columns, Ragged)
    text = np.asarray(columns.values, np.uint8).tobytes().decode("ascii", "replace")
    pairs = dict(re.findall(r"^(\w+)\s*=\s*(.*?)\s*$", text, re.MULTILINE))
    for key, wanted in (("HOST", HOST), ("INSTRUMENT", INSTRUMENT)):
        if pairs.get(key) != wanted:
            raise InputError(index.path, f"{key} is {pairs.get(key)!r}, not {wanted}", "packet 0")
    return pairs


def clock_counts(index: PacketIndex) -> Ints:
    """Time tags, ticks of 1/65536 s of the clock's counter."""
    tags = decode(index, TIME_LAYOUT)
    return np.asarray(tags["seconds"], np.int64) * TICKS + np.asarray(tags["fraction"], np.int64)


def _described(index: PacketIndex, apid: int) -> Packets:
    start = clock_counts(index)
    if apid == HOUSEKEEPING:
        return Packets(index, start, np.zeros_like(start), np.ones_like(start))
    head = decode(index, Layout(SCIENCE.fields[2:4]))
    code, number = np.asarray(head["rate"], np.int64), np.asarray(head["number"], np.int64)
    wrong = (code >= RATE_CODES) | (number < 1) | (number > VECTORS)
    if wrong.any():
        at = int(np.flatnonzero(wrong)[0])
        reason = f"rate code {code[at]} and {number[at]} vectors; 0 to {RATE_CODES - 1} and 1 to {VECTORS} are allowed"
        raise InputError(index.path, reason, f"byte {index.offset[at]}")
    return Packets(index, start, (TICKS // FULL_RATE) << code, number)


def _events(
    found: PacketIndex, good: PacketIndex, time: Ints, ordered: PacketIndex, layout: Layout
) -> tuple[Ints, Ints, NDArray[np.int32]]:
    """Offset and time of the good packets in the order of the file, and what happened at each, (n, event).

    A packet that is dropped counts at the good one before it in the file; one that is lost, at the one after the gap.
    """
    events = np.zeros((len(good), len(_KINDS)), np.int32)
    if len(good) == 0:
        return good.offset, time, events

    def count(name: str, offset: Ints, times: Ints | int = 1) -> None:
        place = np.clip(np.searchsorted(good.offset, offset, side="right") - 1, 0, None)
        np.add.at(events[:, _KINDS.index(name)], place, times)

    dropped = found.take(~np.isin(found.offset, good.offset))
    short = dropped.length < layout.fixed + layout.tail
    repeated = good.offset[~np.isin(good.offset, ordered.offset)]
    step = np.asarray(np.diff(ordered.count.astype(np.int64)), np.int64) % COUNTS
    latest_first = np.minimum.accumulate(ordered.offset[::-1])[::-1]
    count("received", found.offset)
    count("truncated", dropped.offset[short])
    count("crc_failed", dropped.offset[~short])
    count("overlong", good.offset[good.length > layout.fixed + layout.tail])
    count("duplicate", repeated)
    count("conflicting", ordered.offset[1:][step == 0])
    count("lost", ordered.offset[1:], np.maximum(step - 1, 0))
    count("out_of_order", ordered.offset[:-1][ordered.offset[:-1] > latest_first[1:]])
    return good.offset, time, events


@dataclasses.dataclass(frozen=True)
class Samples:
    """Vectors of one sensor: encoded ticks (n), counts (n, 3), range code and rate (n)."""

    ticks: NDArray[np.float64]
    counts: NDArray[np.int16]
    range_code: NDArray[np.uint8]
    rate: NDArray[np.float32]


def open_telemetry(path: Path, clock: Sclk) -> Granule:
    """Open a file of packets: `RawFormat.open`."""
    match = NAME.fullmatch(path.name)
    if match is None:
        raise InputError(path, "is not named fgm_jno_l1_YYYYDDD_vNN.pkt")
    file = scan(path)
    science = [file.packets[apid] for apid in SENSORS if len(file.packets[apid].start)]
    if not science:
        raise InputError(path, "holds no vectors")
    # The first vector is averaged from one interval before its time tag on.
    first = min(int((p.start - p.step).min()) for p in science)
    last = max(int(p.last.max()) for p in science)
    start, stop = _to_et(clock, np.array([first, last]), path).tolist()
    meta = {"simulated": "SIMULATED" in file.identification.get("ORIGIN", "").upper()}
    return Granule("mag", "mag.ccsds", match[1].lower(), int(match[3]), start, stop, {"data": path}, meta=meta)


def _to_et(clock: Sclk, counts: Ints, path: Path | str) -> NDArray[np.float64]:
    return clock.to_et(_encode(clock, counts, path))


def _encode(clock: Sclk, counts: Ints, path: Path | str) -> NDArray[np.float64]:
    """Encoded ticks; raises InputError where the clock never stood so."""
    try:
        return clock.encode(counts)
    except ValueError as error:
        raise InputError(path, str(error)) from error


def read_telemetry(granules: Sequence[Granule], span: Span | None, clock: Sclk) -> xr.Dataset:
    """Read files of packets: `RawFormat.read`.

    Returns
    -------
    xr.Dataset
        ``counts(sensor, et, axis)`` int16, ``present(sensor, et)``, ``range_code(sensor, et)``, ``rate(et)`` in 1/s, at
        the time tags; ``temperature_counts(et_hk, probe)``, NaN where there is no reading;
        ``events(record, event)`` at ``et_event``: what happened to the packets.

    Raises
    ------
    InputError
        if a file cannot be used or the sensors contradict one another.
    """
    files = [(scan(g.files["data"]), g.files["data"]) for g in granules]
    sensors = tuple(_concatenate([_samples(f.packets[apid], span, clock, p) for f, p in files]) for apid in SENSORS)
    vectors = _merge(sensors, clock, granules)
    when, readings = _housekeeping(files, span, clock)
    at, events = _events_within(files, span, clock)
    origin = {"simulated": SIMULATED} if any(g.meta.get("simulated") for g in granules) else {}
    return (
        vectors.assign(
            temperature_counts=(("et_hk", "probe"), readings, {"units": "1", "long_name": "housekeeping counts"}),
            events=(("record", "event"), events, {"units": "1", "long_name": "what happened to the packets"}),
        )
        .assign_coords(et_hk=when, et_event=("record", at), event=list(EVENTS))
        .assign_attrs(origin)
    )


def _within(et: NDArray[np.float64], span: Span | None) -> NDArray[np.bool_]:
    return np.ones(et.shape, bool) if span is None else span.contains(et)


def _samples(packets: Packets, span: Span | None, clock: Sclk, path: Path) -> Samples:
    """Vectors within a span, in time order; of vectors with one time the first is taken."""
    use = np.ones(len(packets.start), bool)
    if span is not None:
        first, last = _to_et(clock, packets.start, path), _to_et(clock, packets.last, path)
        use = (last >= span.start) & (first < span.stop)
    columns = decode(packets.index.take(use), SCIENCE)
    number, step = packets.number[use][:, None], packets.step[use][:, None]
    vector = np.arange(VECTORS)
    counter = (packets.start[use][:, None] + step * vector).ravel()
    valid = (vector < number).ravel()
    rate = np.broadcast_to(TICKS / step, (len(step), VECTORS)).ravel()
    counts = np.asarray(columns["counts"], np.int16).reshape(-1, 3)
    code = np.asarray(columns["range"], np.uint8).reshape(-1)
    ticks = _encode(clock, counter, path)
    keep = np.flatnonzero(valid & _within(clock.to_et(ticks), span))
    if np.any(np.diff(ticks[keep]) <= 0):
        keep = keep[np.unique(ticks[keep], return_index=True)[1]]
    return Samples(ticks[keep], counts[keep], code[keep], rate[keep].astype(np.float32))


def _concatenate(parts: Sequence[Samples]) -> Samples:
    if not parts:
        return Samples(np.zeros(0), np.zeros((0, 3), np.int16), np.zeros(0, np.uint8), np.zeros(0, np.float32))
    if len(parts) == 1:
        return parts[0]
    whole = Samples(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in dataclasses.fields(Samples)))
    keep = np.unique(whole.ticks, return_index=True)[1]
    return Samples(*(getattr(whole, f.name)[keep] for f in dataclasses.fields(Samples)))


def _merge(sensors: tuple[Samples, ...], clock: Sclk, granules: Sequence[Granule]) -> xr.Dataset:
    """The sensors on one axis of time; what one of them lacks is not present and zero."""
    ticks = sensors[0].ticks
    if any(not np.array_equal(s.ticks, ticks) for s in sensors[1:]):
        ticks = np.unique(np.concatenate([s.ticks for s in sensors]))
    n = len(ticks)
    counts, present = np.zeros((len(sensors), n, 3), np.int16), np.zeros((len(sensors), n), bool)
    code, rates = np.zeros((len(sensors), n), np.uint8), np.full((len(sensors), n), np.nan, np.float32)
    for number, samples in enumerate(sensors):
        place = np.searchsorted(ticks, samples.ticks)
        counts[number, place], present[number, place] = samples.counts, True
        code[number, place], rates[number, place] = samples.range_code, samples.rate
    rate = np.where(present[0], rates[0], rates[1])
    differ = np.flatnonzero(present.all(axis=0) & (rates[1] != rate))
    if len(differ):
        name = granules[0].files["data"]
        when = f"clock {clock.format(ticks[differ[0]])}"
        raise InputError(name, "the sensors state different rates at one time", when)
    return xr.Dataset(
        {
            "counts": (("sensor", "et", "axis"), counts, {"units": "1", "long_name": "counts of the converter"}),
            "present": (("sensor", "et"), present, {"long_name": "whether the vector was received"}),
            "range_code": (("sensor", "et"), code, {"units": "1", "long_name": "range code as telemetered"}),
            "rate": (("et",), rate, {"units": "s-1", "long_name": "vectors per second"}),
        },
        coords={"et": ("et", clock.to_et(ticks), {"units": "s", "long_name": "time tag, TDB past J2000"})},
    )


def _housekeeping(
    files: Sequence[tuple[TelemetryFile, Path]], span: Span | None, clock: Sclk
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Times and readings of both probes within a span, NaN where there is no reading."""
    when, readings = [np.zeros(0)], [np.zeros((0, 2))]
    for file, path in files:
        packets = file.packets[HOUSEKEEPING]
        et = _to_et(clock, packets.start, path)
        use = _within(et, span)
        counts = np.asarray(decode(packets.index.take(use), HOUSEKEEPING_LAYOUT)["temperature"], np.float64)
        when.append(et[use])
        readings.append(np.where(counts == NO_READING, np.nan, counts).reshape(-1, 2))
    times, first = np.unique(np.concatenate(when), return_index=True)
    return times, np.concatenate(readings)[first]


def _events_within(
    files: Sequence[tuple[TelemetryFile, Path]], span: Span | None, clock: Sclk
) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    at, events = [np.zeros(0)], [np.zeros((0, len(_KINDS)), np.int32)]
    for file, path in files:
        et = _to_et(clock, file.event_time, path)
        use = _within(et, span)
        at.append(et[use])
        events.append(file.events[use])
    return np.concatenate(at), np.concatenate(events)


CCSDS = RawFormat(
    name="mag.ccsds",
    title="Telemetry packets (this project's own format: none is public)",
    pattern=NAME.pattern,
    open=open_telemetry,
    read=read_telemetry,
)
