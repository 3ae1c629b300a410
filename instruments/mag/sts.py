"""The archive's level 3 in Standard Time Series files: reader (README.md, "Level 3"); the writer is `sts_write`.

A file is an ASCII header of nested OBJECTs, then rows of 11 or 14 numbers: UTC (six), decimal day of year, field,
range, position. Its name says the frame and the interval of the means, if any.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from pipeline.clock import Sclk, Span, utc_to_et
from pipeline.errors import InputError
from pipeline.formats.pds3 import read_label
from pipeline.formats.state import file_state
from pipeline.instrument import Granule, RawFormat

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

NAME = re.compile(
    r"(?P<id>fgm_jno_l3_(?P<year>\d{4})(?P<doy>\d{3})(?P<frame>pl|pc|ss|se)(?P<mean>_r\d+[smh])?(?:_pj\d+)?)_v(?P<version>\d{2})\.sts",
    re.IGNORECASE,
)
# Frames as the archive abbreviates them, best first: a full-rate time is good to 25 us, in which a frame that does not
# spin hardly turns.
FRAMES = ("pc", "ss", "pl", "se")
SPICE_FRAMES = {"pc": "IAU_JUPITER", "ss": "JUNO_JSO", "pl": "JUNO_SPACECRAFT", "se": "JUNO_SUN_EQU_RTN"}
SENSORS = {"ob": 0, "ib": 1}
NOT_STATED = 255
EVENTS = ("rows_duplicate", "rows_out_of_order", "rows_truncated", "rows_fill", "rows_time_conflict")

_FIRST = re.compile(rb"^[ \t]*(?:19|20)\d{2}[ \t]+\d{1,3}[ \t]+\d{1,2}[ \t]", re.MULTILINE)
_HEADER_LIMIT = 1 << 20
# Rows are looked for by time this far beyond a span, so that disorder of this much is repaired.
SLACK = 300.0
# More than the least sensitive range can measure along each of three axes.
LARGEST_FIELD = 16.384e5 * 3**0.5
LARGEST_DISTANCE = 1e9
# Of the integer columns (1 ms) and of the decimal day (1e-9 day).
COARSE, FINE = 1e-3, 8.64e-5


@dataclass(frozen=True)
class _File:
    """A file's bytes and what its header and its first and last row say."""

    path: Path
    content: NDArray[np.uint8]
    first: int  # byte at which the rows begin
    end: int  # byte after the last whole row
    columns: int
    sensor: int
    simulated: bool
    start: float
    stop: float

    @property
    def truncated(self) -> bool:
        """Whether the file ends within a row."""
        return self.end < len(self.content)


# Reading


def named(path: Path) -> re.Match[str]:
    """Parts of a file's name; raises InputError if it is not the archive's."""
    match = NAME.fullmatch(path.name)
    if match is None:
        raise InputError(path, "is not named like fgm_jno_l3_2016240pc_r1s_v01.sts")
    return match


def _interval(mean: str | None) -> float:
    """Seconds of the means; 0 at full rate."""
    return float(mean[2:-1]) * {"s": 1.0, "m": 60.0, "h": 3600.0}[mean[-1].lower()] if mean else 0.0


def open_sts(path: Path, clock: Sclk) -> Granule:
    """Open a file and its label, if there is one: `RawFormat.open`."""
    match = named(path)
    file = _look(path)
    files = {"data": path}
    label = path.with_suffix(".lbl")
    if label.is_file():
        _check_label(label, path)
        files["label"] = label
    meta = {"simulated": file.simulated, "frame": match["frame"].lower(), "interval": _interval(match["mean"])}
    return Granule(
        "mag", "mag.sts", match["id"].lower(), int(match["version"]), file.start, file.stop, files, meta=meta
    )


def _check_label(label: Path, data: Path) -> None:
    block = read_label(label)
    named, _ = block.pointer("TABLE")
    if named.name.lower() != data.name.lower():
        raise InputError(label, f"describes {named.name}, not {data.name}")


def _look(path: Path) -> _File:
    return _look_at(path, *file_state(path))


@lru_cache(maxsize=8)
def _look_at(path: Path, _modified: int, size: int) -> _File:
    if size == 0:
        raise InputError(path, "the file is empty")
    content = np.memmap(path, np.uint8, "r")
    head = content[:_HEADER_LIMIT].tobytes()
    found = _FIRST.search(head)
    if found is None:
        raise InputError(path, f"no row of data (year, day, hour, ...) begins within {min(size, _HEADER_LIMIT)} bytes")
    header, first = head[: found.start()].decode("ascii", "replace"), found.start()
    end = _last_line(content, first)
    line = head[first:].split(b"\n", 1)[0]
    columns = len(line.split())
    if columns not in (11, 14):
        raise InputError(path, f"a row has {columns} numbers, 11 or 14 are expected", f"byte {first}")
    sensor = re.search(r"\b(ob|ib)_b\b", header, re.IGNORECASE)
    start = _time_of(path, line, first)
    tail = content[max(first, end - 4096) : end].tobytes().split(b"\n")
    stop = _time_of(path, next((row for row in reversed(tail) if row.strip()), line), end)
    return _File(
        path, content, first, end, columns, SENSORS[sensor[1].lower()] if sensor else NOT_STATED,
        "SIMULATED" in header.upper(), start, float(np.nextafter(max(start, stop), np.inf)),
    )  # fmt: skip


def _last_line(content: NDArray[np.uint8], first: int) -> int:
    """Byte after the last line feed."""
    for width in (1 << 10, 1 << 20):
        tail = np.flatnonzero(content[max(first, len(content) - width) :] == 10)
        if len(tail):
            return max(first, len(content) - width) + int(tail[-1]) + 1
    return len(content)


def _line_start(content: NDArray[np.uint8], at: int, first: int) -> int:
    """First byte of the line that holds byte `at`."""
    low = max(first, at - 4096)
    before = np.flatnonzero(content[low:at] == 10)
    return low + int(before[-1]) + 1 if len(before) else low


@dataclass(frozen=True)
class _Rows:
    et: Floats
    conflict: Flags
    b: Floats
    code: NDArray[np.uint8]
    position: Floats


def _parse(path: Path, content: NDArray[np.uint8], columns: int, at: int) -> _Rows:
    """Rows of a part of a file; `at` is its place, for messages."""
    text = content.tobytes()
    try:
        values = pd.read_csv(io.BytesIO(text), sep=r"\s+", header=None, dtype=np.float64).to_numpy()
    except pd.errors.EmptyDataError:
        values = np.zeros((0, columns))
    except (ValueError, pd.errors.ParserError):
        values = np.zeros((0, 0))
    whole = values.shape[1:] == (columns,) and bool(np.isfinite(values[:, :7]).all())
    if not whole or not _plausible(values):
        raise _bad_row(path, text, columns, at)
    et, conflict = _times(values)
    code = values[:, 10]
    fill = np.full((len(values), 3), np.nan)
    return _Rows(et, conflict, values[:, 7:10], code.astype(np.uint8), values[:, 11:14] if columns == 14 else fill)


def _plausible(values: Floats) -> bool:
    """Whether times are times and range codes small integers."""
    low = np.array([1990, 1, 0, 0, 0, 0]), np.array([2100, 366, 23, 59, 60, 999])
    times, code = values[:, :6], values[:, 10]
    good = (times >= low[0]) & (times <= low[1]) & (times == np.floor(times))
    return bool(good.all() and ((code >= 0) & (code < 256) & (code == np.floor(code))).all())


def _bad_row(path: Path, text: bytes, columns: int, at: int) -> InputError:
    for line in text.splitlines(keepends=True):
        try:
            values = np.array([[float(word) for word in line.split()]])
            good = values.shape[1] == columns and bool(np.isfinite(values[:, :7]).all()) and _plausible(values)
        except ValueError:
            good = False
        if not good:
            shown = line.decode("ascii", "replace").strip()[:60]
            return InputError(path, f"{shown!r} is no row of {columns} numbers", f"byte {at}")
        at += len(line)
    return InputError(path, "rows cannot be read", f"byte {at}")


def _times(values: Floats) -> tuple[Floats, Flags]:
    """Et of rows, and where the two columns of time contradict one another.

    The integer columns give the time to 1 ms, the decimal day to 0.09 ms (the spacecraft turns by 150 nT in 1 ms): it
    is taken where they agree. A decimal day has no place for a leap second, so there it is not.
    """
    year, doy, hour, minute, second, milli = values[:, :6].astype(np.int64).T
    days = (year - 1970).astype("datetime64[Y]").astype("datetime64[D]") + (doy - 1)
    leap = second == 60
    of_day = (hour * 3600 + minute * 60 + np.minimum(second, 59)) * 1000 + milli
    et = utc_to_et(days.astype("datetime64[ms]") + of_day) + leap
    fraction = of_day / 86.4e6
    off = (values[:, 6] - doy - fraction) * 86400.0
    agree = np.abs(off) <= COARSE + FINE
    return et + np.where(agree & ~leap, off, 0.0), ~(agree | leap)


def _time_of(path: Path, row: bytes, at: int) -> float:
    """Et of one row."""
    try:
        return float(_times(np.array([[float(word) for word in row.split()[:7]]]))[0][0])
    except (ValueError, IndexError) as error:
        shown = row.decode("ascii", "replace").strip()[:60]
        raise InputError(path, f"{shown!r} does not begin with a time", f"byte {at}") from error


def _part(file: _File, span: Span | None) -> tuple[int, int]:
    """Bytes of the rows that can lie in a span, by bisection (rows are in time order but for `SLACK`)."""
    if span is None:
        return file.first, file.end
    return _bisect(file, span.start - SLACK), _bisect(file, span.stop + SLACK)


def _bisect(file: _File, et: float) -> int:
    """First byte of the first row at or after a time."""
    low, high = file.first, file.end
    while low < high:
        middle = _line_start(file.content, (low + high) // 2, file.first)
        block = file.content[middle : min(middle + 4096, high)].tobytes()
        rows = block.lstrip()  # blank lines belong to the row after them
        if rows and _time_of(file.path, rows.split(b"\n", 1)[0], middle) < et:
            low = middle + len(block) - len(rows) + rows.find(b"\n") + 1 if b"\n" in rows else file.end
        else:
            high = middle
    return low


def read_sts(granules: Sequence[Granule], span: Span | None, clock: Sclk) -> xr.Dataset:
    """Read level 3 files: `RawFormat.read`.

    A time that several files cover (frames, means) is taken from the best of them: full rate before means, frames in
    the order of `FRAMES`.

    Returns
    -------
    xr.Dataset
        ``b(et, xyz)`` nT, NaN where filled, in ``frame(et)`` (place in `FRAMES`), ``range_code(et)``, ``rate(et)`` in
        1/s, ``sensor(et)`` (255: not stated), ``time_conflict(et)``, ``time_step(et)`` in s, ``position(et, xyz)`` km,
        NaN where there is none; ``events(record, event)`` at ``et_event``.

    Raises
    ------
    InputError
        if a file cannot be used.
    """
    ranked = sorted(granules, key=lambda g: (g.meta["interval"], FRAMES.index(g.meta["frame"]), g.id))
    better: list[Span] = []
    parts, times, events = [], [np.zeros(0)], [np.zeros((0, len(EVENTS)), np.int32)]
    for granule in ranked:
        part, when, happened = _read_file(granule, span)
        covered, told = np.zeros(part.sizes["et"], bool), np.zeros(len(when), bool)
        for other in better:
            covered |= other.contains(part["et"].values)
            told |= other.contains(when)
        parts.append(part.isel(et=~covered))
        times.append(when[~told])
        events.append(happened[~told])
        better.append(Span(granule.start, granule.stop))
    whole = xr.concat(parts, "et").sortby("et")
    whole["events"] = ("record", "event"), np.concatenate(events)
    origin = {"simulated": "SIMULATED DATA"} if any(g.meta["simulated"] for g in granules) else {}
    return whole.assign_coords(et_event=("record", np.concatenate(times)), event=list(EVENTS)).assign_attrs(origin)


def _read_file(granule: Granule, span: Span | None) -> tuple[xr.Dataset, Floats, NDArray[np.int32]]:
    """Rows of one file within a span, sorted, of equal times the first; times at which something happened, and what."""
    file = _look(granule.files["data"])
    low, high = _part(file, span)
    rows = _parse(file.path, file.content[low:high], file.columns, low)
    order: NDArray[np.intp] = np.argsort(rows.et, kind="stable")
    et, b, position = rows.et[order], rows.b[order], rows.position[order]
    filled = _filled(b)
    again = np.zeros(et.shape, bool)
    again[1:] = np.diff(et) <= 0.0
    late = np.greater(np.maximum.accumulate(rows.et)[order], et)
    cut = np.zeros(et.shape, bool)
    if file.truncated and high == file.end:
        cut[-1:] = True
    conflict = rows.conflict[order]
    events = np.stack([again, late, cut, filled & ~again, conflict & ~again], axis=1).astype(np.int32)
    inside = np.ones(et.shape, bool) if span is None else span.contains(et)
    happened, keep = inside & events.any(axis=1), inside & ~again
    there = np.asarray((np.abs(position) < LARGEST_DISTANCE).all(axis=1))
    whole = xr.Dataset(
        {
            "b": (("et", "xyz"), np.where(filled[:, None], np.nan, b), {"units": "nT", "long_name": "magnetic field"}),
            "range_code": (("et",), rows.code[order], {"units": "1", "long_name": "range code as archived"}),
            "rate": (("et",), _rates(et, again, float(granule.meta["interval"])), {"units": "s-1"}),
            "time_conflict": (("et",), conflict, {"long_name": "the two columns of time contradict one another"}),
            "time_step": (("et",), np.where(conflict, COARSE, FINE), {"units": "s", "long_name": "step of the time"}),
            "position": (("et", "xyz"), np.where(there[:, None], position, np.nan), {"units": "km"}),
        },
        coords={"et": ("et", et, {"units": "s", "long_name": "time, TDB past J2000"})},
    ).isel(et=keep)
    number = whole.sizes["et"]
    meaning = {"flag_values": np.arange(len(FRAMES)), "flag_meanings": " ".join(FRAMES)}
    sensors = {"long_name": "sensor: 0 outboard, 1 inboard, 255 not stated"}
    whole["frame"] = ("et",), np.full(number, FRAMES.index(granule.meta["frame"]), np.uint8), meaning
    whole["sensor"] = ("et",), np.full(number, file.sensor, np.uint8), sensors
    return whole, et[happened], events[happened]


def _filled(b: Floats) -> Flags:
    """Where the field is a fill value: not a number, more than can be measured, or nines in all three components."""
    nines = np.zeros(b.shape, bool)
    for digits in range(4, 10):
        nines |= np.isin(np.abs(b), [10.0**digits - 1.0, 10.0**digits - 0.01, 10.0**digits - 0.001])
    return np.asarray(~(np.abs(b) < LARGEST_FIELD).all(axis=1) | nines.all(axis=1))


def _rates(et: Floats, again: Flags, interval: float) -> NDArray[np.float32]:
    """Samples per second: of means by their interval, at full rate by the nearer neighbour, to a power of two."""
    if interval:
        return np.full(et.shape, 1.0 / interval, np.float32)
    rate = np.ones(et.shape, np.float32)
    good = np.flatnonzero(~again)
    if len(good) > 1:
        step = np.diff(et[good])
        nearer = np.minimum(np.append(step, np.inf), np.append(np.inf, step))
        rate[good] = 2.0 ** np.clip(np.round(-np.log2(nearer)), 0, 6)
    return rate


STS = RawFormat(
    name="mag.sts",
    title="Level 3 of the archive (Standard Time Series)",
    pattern=NAME.pattern,
    open=open_sts,
    read=read_sts,
    level="calibrated",
)
