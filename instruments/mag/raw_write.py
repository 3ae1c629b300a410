"""Writer of the telemetry packets; format and reader are `raw`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from instruments.mag.raw import (
    FULL_RATE,
    HOST,
    HOUSEKEEPING,
    HOUSEKEEPING_LAYOUT,
    IDENTIFICATION,
    INSTRUMENT,
    NO_READING,
    SCIENCE,
    SENSORS,
    TEXT,
    VECTORS,
    Ints,
)
from pipeline.clock import TICKS, Sclk
from pipeline.formats.packet_fields import Layout, Ragged, encode


@dataclass(frozen=True)
class Stream:
    """Packets of one application process: clock count at which each was complete (n), and their bytes (n, length)."""

    ready: Ints
    packets: NDArray[np.uint8]

    def take(self, which: NDArray[Any]) -> Stream:
        """The packets `which` selects, in that order."""
        return Stream(self.ready[which], self.packets[which])


def science_stream(
    apid: int,
    counter: Ints,
    rate: NDArray[Any],
    counts: NDArray[np.int16],
    range_code: NDArray[np.uint8],
    first: int = 0,
) -> Stream:
    """Packets of one sensor's vectors; a new one begins after 64 vectors, a gap or a change of rate.

    Parameters
    ----------
    counter : clock count of each vector, ascending (n).
    rate : vectors per second, 64 over a power of two (n).
    counts, range_code : (n, 3) and (n).
    first : sequence count of the first packet.
    """
    code = np.rint(np.log2(FULL_RATE / rate)).astype(np.int64)
    n = len(counter)
    new = np.ones(n, bool)
    new[1:] = (np.diff(counter) != (TICKS // FULL_RATE) << code[1:]) | (code[1:] != code[:-1])
    run = np.flatnonzero(new)[np.cumsum(new) - 1] if n else np.zeros(0, np.int64)
    place = (np.arange(n) - run) % VECTORS
    packet = np.cumsum(place == 0) - 1
    begin = np.flatnonzero(place == 0)
    number = np.diff(np.append(begin, n))
    vectors = np.zeros((len(begin), VECTORS, 3), np.int16)
    ranges = np.zeros((len(begin), VECTORS), np.uint8)
    vectors[packet, place], ranges[packet, place] = counts, range_code
    columns = {
        "seconds": counter[begin] // TICKS,
        "fraction": counter[begin] % TICKS,
        "rate": code[begin],
        "number": number,
        "range": ranges,
        "counts": vectors.reshape(-1, 3 * VECTORS),
    }
    data = encode(SCIENCE, columns, apid, count=first)
    return Stream(counter[begin + number - 1], _rows(data, SCIENCE))


def housekeeping_stream(counter: Ints, temperature: NDArray[np.float64], first: int = 0) -> Stream:
    """Housekeeping packets; readings (n, 2) that are NaN are written as missing."""
    known = np.isfinite(temperature)
    counts = np.where(known, np.where(known, temperature, 0.0), NO_READING).astype(np.int64)
    columns = {"seconds": counter // TICKS, "fraction": counter % TICKS, "temperature": counts}
    data = encode(HOUSEKEEPING_LAYOUT, columns, HOUSEKEEPING, count=first)
    return Stream(counter, _rows(data, HOUSEKEEPING_LAYOUT))


def clock_counter(clock: Sclk, et: NDArray[np.float64]) -> Ints:
    """Ticks of the clock's counter nearest to times of one partition."""
    ticks = np.rint(clock.to_ticks(et)).astype(np.int64)
    if len(ticks) == 0:
        return ticks
    seconds, fraction = clock.format(float(ticks[0]), partition=False).split(":")
    return ticks - ticks[0] + int(seconds) * TICKS + int(fraction)


def _rows(data: bytes, layout: Layout) -> NDArray[np.uint8]:
    return np.frombuffer(data, np.uint8).reshape(-1, layout.fixed + layout.tail)


def write_streams(path: Path, identification: Mapping[str, str], streams: Sequence[Stream]) -> None:
    """Write a file: the identification packet, then all packets in the order in which they were complete."""
    keywords = {"FILE": path.stem.upper(), "HOST": HOST, "INSTRUMENT": INSTRUMENT, **identification}
    text = "".join(f"{key} = {value}\r\n" for key, value in keywords.items()).encode("ascii")
    characters = Ragged(np.frombuffer(text, np.uint8), np.array([len(text)]))
    head = encode(TEXT, {"text": characters}, IDENTIFICATION, secondary=False)
    order = np.argsort(np.concatenate([s.ready for s in streams]), kind="stable")
    packets = [row.tobytes() for s in streams for row in s.packets]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(head + b"".join([packets[i] for i in order.tolist()]))


def write_telemetry(path: Path, raw: xr.Dataset, clock: Sclk, identification: Mapping[str, str]) -> None:
    """Write a dataset as `read_telemetry` returns it; reading gives it back (its events aside)."""
    tags = clock_counter(clock, raw["et"].values)
    streams = []
    for number, apid in enumerate(SENSORS):
        there = raw["present"].values[number]
        columns = (raw["rate"].values, raw["counts"].values[number], raw["range_code"].values[number])
        streams.append(science_stream(apid, tags[there], *(c[there] for c in columns)))
    streams.append(housekeeping_stream(clock_counter(clock, raw["et_hk"].values), raw["temperature_counts"].values))
    write_streams(path, identification, streams)
