"""MWR's hourly CSV files: what is common to the three kinds, and the reader of the EDR (README.md).

Readers of the archive's IRDR and GRDR are in `rdr`, the writer of all three in `raw_write`.

A file is one header line and one line per record, in time order. Lines of a span are found by bisection, so that memory
is bounded by the span; `parse` makes numbers of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from instruments.mwr.labels import read_pds4
from instruments.mwr.layout import (
    CODES,
    COLUMNS,
    DIODE_BITS,
    LOAD_BIT,
    NAME,
    SENSORS,
    SIMULATED,
    STREAMS,
    UNKNOWN_STATE,
)
from instruments.mwr.parse import LINE_LIMIT, Floats, parse, text_of
from pipeline.clock import TICKS, Sclk, Span, parse_utc
from pipeline.errors import InputError
from pipeline.formats.defects import corrected
from pipeline.formats.pds3 import read_label
from pipeline.formats.state import file_state
from pipeline.instrument import Granule, RawFormat

KINDS = {code: kind for kind, code in CODES.items()}
EVENTS = ("rows_duplicate", "rows_out_of_order", "rows_truncated", "rows_crc_failed", "values_unreadable")
# Disorder of rows up to this many seconds is repaired; more could escape the search for a span.
SLACK = 6.0
# Rows further than this from the time in the file's name, seconds, are not of its hour.
FAR = 7200.0
# "Seconds since 12:00 AM Jan. 1, 2000" says the IRDR's label, whose epoch may be noon (as et) or midnight.
MIDNIGHT = 43200.0
# By how much the two columns of time may differ; UTC is printed to 1 ms.
TIME_TOLERANCE = 0.5
_HEADER_LIMIT = 1 << 16


@dataclass(frozen=True)
class _File:
    """What a file's header line, first and last row say; `epoch` is et at zero of its time column."""

    path: Path
    kind: str
    first: int  # byte at which the rows begin
    end: int  # byte after the last whole row
    truncated: bool  # ends within a row
    epoch: float
    start: float
    stop: float


def _look(path: Path, clock: Sclk) -> _File:
    return _look_at(path, *file_state(path), clock)


@lru_cache(maxsize=16)
def _look_at(path: Path, _modified: int, size: int, clock: Sclk) -> _File:
    match = NAME.fullmatch(path.name)
    if match is None:
        raise InputError(path, "is not named like MWR01DR2016240120000_R36000_V01.CSV")
    kind = KINDS[match["code"].upper()]
    if size == 0:
        raise InputError(path, "the file is empty")
    first = _check_header(path, kind, text_of(path, 0, _HEADER_LIMIT))
    low = max(first, size - 2 * LINE_LIMIT)
    last = text_of(path, low, size).rfind(b"\n")
    end = low + last + 1
    if last < 0 or end <= first:
        raise InputError(path, "holds no row of data", f"byte {first}")
    top, bottom = (text_of(path, a, b).splitlines() for a, b in _ends(first, end))
    epoch = _epoch(path, kind, top[0], first)
    start, stop = (_time_of(path, kind, row, at, clock) + epoch for row, at in ((top[0], first), (bottom[-1], end)))
    stop = float(np.nextafter(max(start, stop), np.inf))
    return _File(path, kind, first, end, end < size, epoch, start, stop)


def _ends(first: int, end: int) -> tuple[tuple[int, int], tuple[int, int]]:
    return (first, min(first + LINE_LIMIT, end)), (max(first, end - LINE_LIMIT), end)


def _check_header(path: Path, kind: str, head: bytes) -> int:
    """Byte after the header line; raises InputError where it is not that of the format."""
    line, feed, _ = head.partition(b"\n")
    found = [name.strip().strip('"') for name in line.decode("ascii", "replace").split(",")]
    expected = list(COLUMNS[kind])
    if not feed or found != expected:
        pairs = list(zip_longest(found, expected, fillvalue="nothing"))
        at = next((k for k, (one, other) in enumerate(pairs) if one != other), len(pairs) - 1)
        own = " (the archive's own list is not public; this is the project's)" if kind == "edr" else ""
        why = f"column {at + 1} is {pairs[at][0][:40]!r}, {pairs[at][1]!r} is expected{own}"
        raise InputError(path, why, "header")
    return len(line) + 1


def _epoch(path: Path, kind: str, row: bytes, at: int) -> float:
    """Et at zero of ``t_ephem_time``, by the UTC beside it; EDR rows have the spacecraft's clock instead."""
    if kind == "edr":
        return 0.0
    words = row.split(b",", 2)
    try:
        given, utc = float(words[0]), parse_utc(words[1].decode("ascii", "replace").strip())
    except (ValueError, IndexError) as error:
        raise InputError(path, f"{row[:50]!r} does not begin with two times", f"byte {at}") from error
    for epoch in (0.0, -MIDNIGHT):
        if abs(given + epoch - utc) < TIME_TOLERANCE:
            return epoch
    raise InputError(path, f"t_ephem_time and t_utc_doy differ by {given - utc:.3f} s", f"byte {at}")


def _time_of(path: Path, kind: str, row: bytes, at: int, clock: Sclk) -> float:
    """Time of one row: et, or seconds from the file's epoch."""
    try:
        if kind != "edr":
            return float(row.split(b",", 1)[0])
        seconds, ticks = (int(word) for word in row.split(b",", 2)[:2])
        return float(clock.to_et(clock.encode(seconds * TICKS + ticks)))
    except (ValueError, IndexError) as error:
        shown = row[:40].decode("ascii", "replace")
        raise InputError(path, f"{shown!r} does not begin with a time", f"byte {at}") from error


def open_csv(path: Path, clock: Sclk) -> Granule:
    """Open a file of any of the three kinds with its labels, of PDS3 or PDS4: `RawFormat.open`."""
    file = _look(path, clock)
    match = NAME.fullmatch(path.name)
    assert match is not None
    files = {"data": path}
    meta: dict[str, Any] = {"kind": file.kind, "simulated": False}
    label = path.with_suffix(".LBL") if path.suffix.isupper() else path.with_suffix(".lbl")
    if label.is_file():
        files["label"] = label
        meta |= _read_label(label, file, int(match["rows"]))
    if path.with_suffix(".xml").is_file():
        files["pds4"] = path.with_suffix(".xml")
        meta["simulated"] |= read_pds4(files["pds4"], path.name, file.kind, int(match["rows"]))
    return Granule(
        "mwr", f"mwr.{file.kind}", match["id"].upper(), int(match["version"]), file.start, file.stop, files, meta=meta
    )


def _read_label(path: Path, file: _File, rows: int) -> dict[str, str | bool]:
    """Check a label against its file; whether it says that the data are simulated, and what was put right in it."""
    label, corrections = corrected(read_label(path))
    named, start = label.pointer("SPREADSHEET")
    if named.name.upper() != file.path.name.upper():
        raise InputError(path, f"describes {named.name}, not {file.path.name}", "^SPREADSHEET")
    if start != file.first:
        raise InputError(path, f"the rows begin at byte {start}, in the file at byte {file.first}", "^SPREADSHEET")
    stated = label.need("ROWS", int, label.need("SPREADSHEET"))
    if stated != rows:
        raise InputError(path, f"{stated} rows, the file's name says {rows}", "ROWS")
    simulated = SIMULATED in str(label.get("DESCRIPTION", ""))
    return {"simulated": simulated, "label_corrections": "; ".join(map(str, corrections))}


# Rows


def _part(file: _File, span: Span | None, clock: Sclk) -> tuple[int, int]:
    """Bytes of the rows that can lie in a span, by bisection."""
    if span is None:
        return file.first, file.end
    return _bisect(file, span.start - SLACK, clock), _bisect(file, span.stop + SLACK, clock)


def _bisect(file: _File, et: float, clock: Sclk) -> int:
    """First byte of the first row at or after a time."""
    low, high = file.first, file.end
    while low < high:
        at = (low + high) // 2
        start = max(low, at - LINE_LIMIT)
        before = text_of(file.path, start, at).rfind(b"\n")
        middle = start + before + 1 if before >= 0 else low
        row = text_of(file.path, middle, min(middle + LINE_LIMIT, high)).split(b"\n", 1)[0]
        if _time_of(file.path, file.kind, row, middle, clock) + file.epoch < et:
            low = middle + len(row) + 1
        else:
            high = middle
    return low


@dataclass(frozen=True)
class Rows:
    """Rows of a span in time order.

    Parameters
    ----------
    place : of the columns, by name.
    values : columns one after the other, as the parser leaves them (column, n).
    et : of the rows (n).
    told, et_told : ``(record, event)``: what happened to rows at which times.
    attrs : of the dataset.
    """

    place: dict[str, int]
    values: Floats
    et: Floats
    told: NDArray[np.int32]
    et_told: Floats
    attrs: dict[str, str]

    def __getitem__(self, name: str) -> Floats:
        return self.values[self.place[name]]

    def block(self, first: str, *shape: int) -> Floats:
        """Columns that stand side by side from `first` on, (n, *shape)."""
        start = self.place[first]
        found = self.values[start : start + int(np.prod(shape))]
        return np.moveaxis(found.reshape(*shape, len(self.et)), -1, 0)

    def dataset(self, data: dict[str, Any], **coords: list[str]) -> xr.Dataset:
        """Variables along et, with what happened to the rows."""
        return xr.Dataset(
            data | {"events": (("record", "event"), self.told)},
            coords={
                "et": ("et", self.et, {"units": "s"}),
                "et_event": ("record", self.et_told),
                "event": list(EVENTS),
                **coords,
            },
            attrs=self.attrs,
        )


def read_rows(granules: Sequence[Granule], span: Span | None, clock: Sclk) -> Rows:
    """Rows of a span from files of one kind."""
    kind = str(granules[0].meta["kind"]) if granules else "edr"
    names = [name for name in COLUMNS[kind] if name != "t_utc_doy"]
    parts = [_rows_of(_look(g.files["data"], clock), span, clock) for g in granules]
    parts = parts or [(np.zeros((len(names), 0)), np.zeros(0), np.zeros((4, 0), np.int32))]
    values, et, events = (p[0] if len(p) == 1 else np.concatenate(p, axis=-1) for p in zip(*parts, strict=True))
    events = events.T
    order: NDArray[np.intp] = np.argsort(et, kind="stable")
    order = order if span is None else order[span.contains(et[order])]
    et, events = et[order], events[order]
    again = np.zeros(et.shape, bool)
    again[1:] = np.diff(et) <= 0.0
    order = order[~again]
    # Rows in order, the usual case, are cut out without a copy.
    run = len(order) > 0 and bool((np.diff(order) == 1).all())
    values = values[:, order[0] : order[-1] + 1] if run else values[:, order]
    events = np.column_stack([again, events]).astype(np.int32)
    some = events.any(axis=1)
    place = {name: k for k, name in enumerate(names)}
    return Rows(place, values, et[~again], events[some], et[some], _origin(granules))


def _rows_of(file: _File, span: Span | None, clock: Sclk) -> tuple[Floats, Floats, NDArray[np.int32]]:
    """Columns (column, n), et, and late, cut, checksum, unreadable (4, n) of a file's rows about a span."""
    low, high = _part(file, span, clock)
    values, bad = parse(file.path, file.kind, low, high)
    crc = np.zeros(bad.shape, bool)
    if file.kind == "edr":
        _check_clock(file, values, low)
        et = clock.to_et(clock.encode(values[0] * TICKS + values[1]))
        crc = values[-1] != 0
    else:
        et = values[0] + file.epoch
    wild = ~(np.abs(et - _named(file.path)) < FAR)
    if wild.any():
        row = int(np.argmax(wild))
        why = (
            "a row has no time" if np.isnan(et[row]) else f"a row's time is {et[row]:g}, of another hour than the file"
        )
        raise InputError(file.path, why, f"row {row + 1} from byte {low}")
    cut = np.zeros(bad.shape, bool)
    if file.truncated and high == file.end:
        cut[-1:] = True
    late = np.maximum.accumulate(et) - et
    if (late > SLACK).any():
        row = int(np.argmax(late > SLACK))
        why = f"a row is {late[row]:.0f} s earlier than one before it"
        raise InputError(file.path, why, f"row {row + 1} from byte {low}")
    return values, et, np.stack([late > 0.0, cut, crc, bad]).astype(np.int32)


def _named(path: Path) -> float:
    """Et of the time in a file's name."""
    match = NAME.fullmatch(path.name)
    assert match is not None  # else it was refused
    time = match["time"]
    try:
        return parse_utc(f"{match['year']}-{match['doy']}T{time[:2]}:{time[2:4]}:{time[4:]}")
    except ValueError as error:
        raise InputError(path, str(error)) from error


def _check_clock(file: _File, values: Floats, low: int) -> None:
    seconds, ticks = values[:2]
    wrong = ~((seconds >= 0) & (seconds < 2**32) & (ticks >= 0) & (ticks < TICKS))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise InputError(file.path, f"clock {seconds[row]:g}, {ticks[row]:g}", f"row {row + 1} from byte {low}")


def _origin(granules: Sequence[Granule]) -> dict[str, str]:
    attrs = {"simulated": "SIMULATED DATA"} if any(g.meta.get("simulated") for g in granules) else {}
    notes = sorted({str(g.meta["label_corrections"]) for g in granules if g.meta.get("label_corrections")})
    return attrs | ({"label_corrections": "; ".join(notes)} if notes else {})


def read_edr(granules: Sequence[Granule], span: Span | None, clock: Sclk) -> xr.Dataset:
    """Read EDR files: `RawFormat.read`.

    Returns
    -------
    xr.Dataset
        ``counts(et, stream)``, NaN where missing or of a packet whose checksum failed; ``state(et, stream)`` (255
        unknown); ``housekeeping(et, sensor)`` in counts, NaN where missing; ``events(record, event)`` at ``et_event``.
    """
    rows = read_rows(granules, span, clock)
    lost = (rows["crc_error"] != 0)[:, None]
    state = rows.block(f"{STREAMS[0]}State", len(STREAMS))
    legal = (state >= 0) & (state <= (LOAD_BIT | DIODE_BITS)) & (state == np.floor(state)) & ~lost
    counts, sensors = rows.block(f"{STREAMS[0]}Cnt", len(STREAMS)), rows.block(SENSORS[0], len(SENSORS))
    return rows.dataset(
        {
            "counts": (("et", "stream"), np.where(lost, np.nan, counts), {"units": "1"}),
            "state": (("et", "stream"), np.where(legal, state, UNKNOWN_STATE).astype(np.uint8)),
            "housekeeping": (("et", "sensor"), np.where(lost, np.nan, sensors), {"units": "1"}),
        },
        stream=list(STREAMS),
        sensor=list(SENSORS),
    )


EDR_FORMAT = RawFormat("mwr.edr", "Hourly raw counts (EDR)", NAME.pattern.replace("DR|RI|RG", "DR"), open_csv, read_edr)
