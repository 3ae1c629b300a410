"""EDR tables of the archive: reader by label and format file (README.md, "Raw tables"); the writer is `raw_write`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from instruments.jedi.layout import COUNTERS, KINDS, TELESCOPES, UNITS, basic_column, channel_columns, pixel_column
from pipeline.clock import TICKS, Sclk, Span
from pipeline.errors import InputError
from pipeline.formats.checksum import check_md5
from pipeline.formats.defects import corrected
from pipeline.formats.digits import digits, utc_times
from pipeline.formats.pds3 import Block, Label, read_label
from pipeline.formats.pds3_table import Table, read_table
from pipeline.formats.state import file_state
from pipeline.instrument import Granule, RawFormat

NAME = re.compile(r"(JED_(\d{3})_([A-Z]+)_EDR_(\d{7}))_V(\d{2})\.LBL", re.IGNORECASE)
SIMULATED = "SIMULATED, NOT A MEASUREMENT"
POINTER = "ASCII_TABLE"
# Seconds by which UTC and clock of a sound row may differ (a kernel used beyond its end is off by up to 2 s), and the
# longest integration.
CLOCKS_DIFFER, LONGEST = 5.0, 3600.0
EVENTS = ("records", "records_damaged", "records_repeated", "records_truncated", "values_missing")

Array = NDArray[np.float64]
# Places of digits in "5/0525574420:18916", by field.
_CLOCK = {"partition": (0, 1), "seconds": (2, 12), "fraction": (13, 18)}


def table_of(path: Path) -> tuple[Label, Table]:
    """Label and table of a product; what is known to be wrong in labels is put right.

    Raises
    ------
    InputError
        if label, format file or data cannot be used, or columns this project needs are not there.
    """
    label, _ = corrected(_read(path, *file_state(path)))
    block = label.get(POINTER)
    if not isinstance(block, Block):
        raise InputError(path, "object missing", POINTER)
    pairs = [p for p in block.pairs if p[0] != "^STRUCTURE"]
    for name, value in block.pairs:
        if name == "^STRUCTURE":
            structure = label.resolve(str(value))
            pairs += _read(structure, *file_state(structure)).pairs
    table = read_table(label, POINTER, Block(pairs))
    kind = kind_of(path)
    needed = ["UTC", "SCLK", "INTEGRATION TIME", "MCP GAIN", *(n for row in channel_columns(kind) for n in row)]
    for t in range(TELESCOPES):
        needed += [pixel_column(t), *(basic_column(t, c) for c in COUNTERS)]
    for name in needed:
        if name not in table:
            raise InputError(path, f"the table has no such column, which tables {kind} of this project have", name)
        if table.columns[name].shape:
            raise InputError(path, "one value per row expected", name)
    return label, table


@lru_cache(maxsize=64)
def _read(path: Path, _modified: int, _size: int) -> Label:
    """A label or a format file, which the tables of three units share; read once while it stays as it is."""
    return read_label(path)


def kind_of(path: Path) -> str:
    """Table type by the name of a label; InputError if it is none of the ten."""
    match = NAME.fullmatch(path.name)
    if match is None or match[2] not in UNITS or match[3].upper() not in KINDS:
        raise InputError(path, "is not named JED_<090|180|270>_<TYPE>_EDR_YYYYDDD_Vnn.LBL with one of the ten types")
    return match[3].upper()


def open_edr(path: Path, clock: Sclk) -> Granule:
    """Open a label, compare the data with its checksum, and look at the times: `RawFormat.open`."""
    kind, match = kind_of(path), NAME.fullmatch(path.name)
    assert match is not None
    label, table = table_of(path)
    data, _ = label.pointer(POINTER)
    # A file that is cut short has another checksum, of course; it is counted as truncated.
    if not table.truncated:
        check_md5(label, data)
    check_rows(table, label.need("ROW_BYTES", int, label[POINTER]), data)
    et, length = row_times(table, clock)
    good = np.isfinite(et)
    if not good.any():
        raise InputError(data, f"none of {table.rows} rows is sound (UTC, clock count, integration time)")
    start, stop = float((et - length / 2.0)[good].min()), float((et + length / 2.0)[good].max())
    meta = {"kind": kind, "unit": UNITS.index(match[2]), "simulated": "SIMULATED" in label.text.upper()}
    structure = label.resolve(str(label[POINTER].get("^STRUCTURE"))) if "^STRUCTURE" in label[POINTER] else path
    files = {"label": path, "data": data, "format": structure}
    return Granule("jedi", f"jedi.{kind.lower()}", match[1].lower(), int(match[5]), start, stop, files, meta=meta)


def check_rows(table: Table, width: int, data: Path) -> None:
    """Refuse a file with more rows than its label says, and columns that are not where its rows have them.

    Columns must not overlap, and what lies between them must be blank in every row: a wrong first byte in a format file
    would take a digit off.
    """
    if data.stat().st_size >= (table.rows + table.truncated + 1) * width:
        raise InputError(data, f"holds more than the {table.rows} rows of {width} bytes that the label says")
    covered = np.zeros(width, np.intp)
    for column in table.columns.values():
        covered[column.start : column.start + column.size] += 1
    if (covered > 1).any():
        raise InputError(data, "columns of its format file overlap", f"byte {int(np.argmax(covered > 1)) + 1} of a row")
    rows = np.memmap(data, np.uint8, "r", shape=(table.rows, width)) if table.rows else np.zeros((0, width), np.uint8)
    between = np.flatnonzero(covered == 0)
    bad = ~np.isin(rows[:, between], np.frombuffer(b" ,\r\n", np.uint8))
    if bad.any():
        row, place = np.argwhere(bad)[0]
        raise InputError(data, "a row is not blank between columns", f"row {row + 1}, byte {between[place] + 1}")


# Times


def row_times(table: Table, clock: Sclk) -> tuple[Array, Array]:
    """Et of the middle and length in seconds of each row's integration; NaN where the row is damaged.

    Clock count and UTC must be of their form and agree to 5 s, and the integration be one of up to an hour.
    """
    count, good = digits(table["SCLK"], 18, _CLOCK)
    length = table["INTEGRATION TIME"].astype(float)
    number = np.clip(count["partition"], 1, len(clock.partitions))
    ticks = count["seconds"] * TICKS + count["fraction"]
    first, last = clock.partitions[number - 1].T
    good = good & (number == count["partition"]) & (ticks >= first) & (ticks <= last)
    good &= (length > 0) & (length <= LONGEST)
    et = np.full(good.shape, np.nan)
    for one in np.unique(number[good]):
        own = good & (number == one)
        et[own] = clock.to_et(clock.encode(ticks[own], int(one)))
    with np.errstate(invalid="ignore"):
        good &= np.abs(et - utc_times(table["UTC"])) <= CLOCKS_DIFFER
    return np.where(good, et + length / 2.0, np.nan), np.where(good, length, np.nan)


# Reading


def _numbers(table: Table, names: Sequence[str]) -> Array:
    """Counts of columns (n, column); NaN where there are none or less than none."""
    out = np.stack([table[name].astype(float) for name in names], axis=1)
    for k, name in enumerate(names):
        out[np.isin(out[:, k], table.columns[name].missing), k] = np.nan
    return np.where(out < 0, np.nan, out)


def _records(granule: Granule, span: Span | None, clock: Sclk) -> xr.Dataset:
    """Sound rows of a granule with their middle in a span, and what happened to each."""
    _, table = table_of(granule.files["label"])
    et, length = row_times(table, clock)
    rows = np.flatnonzero(np.isfinite(et))
    # A damaged row counts at the next sound one, so that counts do not depend on segments.
    place = np.clip(np.searchsorted(rows, np.flatnonzero(~np.isfinite(et))), 0, max(rows.size - 1, 0))
    damaged = np.bincount(place, minlength=rows.size)
    inside = np.ones(rows.shape, bool) if span is None else span.contains(et[rows])
    keep = rows[inside]
    part = table.part(int(keep[0]), int(keep[-1]) + 1) if keep.size else table.part(0, 0)
    at = keep - keep[0] if keep.size else keep
    names = channel_columns(granule.meta["kind"])
    counts = np.stack([_numbers(part, row)[at] for row in names], axis=1)
    basic = np.stack([_numbers(part, [basic_column(t, c) for c in COUNTERS])[at] for t in range(TELESCOPES)], axis=1)
    pixel = _numbers(part, [pixel_column(t) for t in range(TELESCOPES)])[at]
    gain = _numbers(part, ["MCP GAIN"])[at, 0]
    events = np.zeros((keep.size, len(EVENTS)), np.int32)
    events[:, EVENTS.index("records")] = 1
    events[:, EVENTS.index("records_damaged")] = damaged[inside]
    events[:, EVENTS.index("values_missing")] = np.isnan(counts).sum(axis=(1, 2)) + np.isnan(basic).sum(axis=(1, 2))
    if table.truncated and keep.size and keep[-1] == rows[-1]:
        events[-1, EVENTS.index("records_truncated")] = table.truncated
    return xr.Dataset(
        {
            "counts": (("record", "telescope", "channel"), counts),
            "basic": (("record", "telescope", "counter"), basic),
            "pixel": (("record", "telescope"), np.nan_to_num(pixel, nan=-1.0).astype(np.int8)),
            "gain": (("record",), np.nan_to_num(gain, nan=-1.0).astype(np.int8)),
            "accumulation": (("record",), length[keep]),
            "unit": (("record",), np.full(keep.size, granule.meta["unit"], np.int8)),
            "events": (("record", "event"), events),
        },
        coords={"et": ("record", et[keep])},
    )


def read_edr(granules: Sequence[Granule], span: Span | None, clock: Sclk) -> xr.Dataset:
    """Read tables of one type, of all units, sorted by time and unit: `RawFormat.read`.

    Returns
    -------
    xr.Dataset
        ``counts(record, telescope, channel)`` and ``basic(record, telescope, counter)``, NaN where missing;
        ``pixel(record, telescope)`` and ``gain(record)``, -1 where missing; ``accumulation`` (s), ``unit`` (record);
        ``et(record)``, middle of the integration; ``events(happened, event)`` at ``et_event``.

    Raises
    ------
    InputError
        if a file cannot be used.
    """
    whole = xr.concat([_records(g, span, clock) for g in granules], "record")
    whole = whole.isel(record=np.lexsort([whole["unit"].values, whole["et"].values]))
    same = np.zeros(whole.sizes["record"], bool)
    same[1:] = (np.diff(whole["et"].values) == 0) & (np.diff(whole["unit"].values) == 0)
    events = whole["events"].values
    events[same, EVENTS.index("records_repeated")] = 1
    out = whole.isel(record=~same).drop_vars("events").assign(events=(("happened", "event"), events))
    out = out.assign_coords(et_event=("happened", whole["et"].values), event=list(EVENTS))
    simulated = any(g.meta.get("simulated") for g in granules)
    return out.assign_attrs(kind=granules[0].meta["kind"], **({"simulated": SIMULATED} if simulated else {}))


FORMATS = tuple(
    RawFormat(
        f"jedi.{kind.lower()}", f"EDR, {kind}", rf"JED_(090|180|270)_{kind}_EDR_\d{{7}}_V\d{{2}}\.LBL", open_edr,
        read_edr, index="record",
    )
    for kind in KINDS
)  # fmt: skip
