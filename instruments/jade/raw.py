"""Level 2 of the archive, uncalibrated: reader by label (README.md, "Level 2"); the writer is `raw_write`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from instruments.jade.layout import (
    ELECTRONS,
    ENERGIES,
    ION_LOOKS,
    ION_STEPS,
    ISSUES_MISSING,
    LOGICALS,
    MODE,
    SYNC,
    TOF_BINS,
    check_rjw,
)
from pipeline.clock import TICKS, Sclk, Span, parse_utc
from pipeline.errors import InputError
from pipeline.formats.checksum import row_width, whole_file
from pipeline.formats.defects import corrected
from pipeline.formats.digits import utc_times
from pipeline.formats.pds3 import Label, read_label
from pipeline.formats.pds3_table import Table, read_table
from pipeline.formats.state import file_state
from pipeline.instrument import Granule, RawFormat

NAME = re.compile(r"(JAD_L20_([A-Z]{3}_[A-Z]{3}_[A-Z]{3})_(\d{7}))_V(\d{2})\.LBL", re.IGNORECASE)
DAY_OF, DAY = re.compile(r"_(\d{4})(\d{3})_V"), 86400.0
# Seconds by which UTC and clock of a sound record may differ besides.
CLOCKS_DIFFER = 5.0
SIMULATED = "SIMULATED, NOT A MEASUREMENT"
ELECTRON_LOOKS = (48, 51)
# Objects of the header every science record must have.
NEEDED = ("TIMESTAMP_WHOLE", "TIMESTAMP_SUB", "ACCUMULATION_TIME", "PACKET_MODE", "COMPRESSION", "ISSUES", "DATA")
EVENTS = ("records", "records_damaged", "records_repeated", "records_truncated", "records_unpaired")
SCIENCE = MODE["LRS"], MODE["HRS"]  # what calibration takes

Mask = NDArray[np.bool_]


def open_table(path: Path) -> tuple[Label, Table, tuple[str, ...]]:
    """Label, its table, and what was corrected in the label.

    Raises
    ------
    InputError
        if it cannot be read, lacks an object, or its comments contradict its objects.
    """
    label, corrections = _label(path, *file_state(path))
    table = read_table(label)
    check_rjw(label, table.columns, row_width(label))
    for name in NEEDED:
        if name not in table:
            raise InputError(path, "the table has no such column", name)
    return label, table, corrections


@lru_cache(maxsize=8)
def _label(path: Path, _modified: int, _size: int) -> tuple[Label, tuple[str, ...]]:
    # Labels alone are kept: a table's file may have changed, and what is mapped and cut short since ends the process.
    label, corrections = corrected(read_label(path))
    return label, tuple(map(str, corrections))


def clock_counts(table: Table) -> NDArray[np.int64]:
    """Clock at the start of each collection, ticks of 1/65536 s of the counter."""
    return table["TIMESTAMP_WHOLE"].astype(np.int64) * TICKS + table["TIMESTAMP_SUB"].astype(np.int64)


def times(table: Table, clock: Sclk, path: Path) -> NDArray[np.float64]:
    """Et of the middle of each record's accumulation; NaN where it is damaged or more than a day off the file's.

    A record of the other rate than the file's name says, high or low, is damaged too, and one whose UTC and time stamp
    contradict each other.
    """
    counts = clock_counts(table)
    centre = np.full(counts.shape, np.nan)
    good = sound(table)
    name = NAME.fullmatch(path.with_suffix(".LBL").name)
    other = {"HRS": MODE["LRS"], "LRS": MODE["HRS"]}.get(name[2][:3].upper()) if name else None
    good &= table["PACKET_MODE"] != other
    try:
        ticks = clock.encode(counts[good])
    except ValueError as error:
        raise InputError(path, str(error), "TIMESTAMP_WHOLE") from error
    centre[good] = clock.to_et(ticks + table["ACCUMULATION_TIME"][good] * (TICKS / 2.0))
    match = DAY_OF.search(path.name)
    if match:
        try:
            day = float(parse_utc(f"{match[1]}-{match[2]}T00:00:00"))
        except ValueError as error:
            raise InputError(path, str(error)) from error
        centre[(centre < day - DAY) | (centre > day + 2.0 * DAY)] = np.nan
    if "UTC" in table and table["UTC"].dtype.kind == "S":
        # Whether it is the beginning, the middle or the end is not public.
        apart = np.abs(centre - utc_times(table["UTC"]))
        centre[apart > CLOCKS_DIFFER + table["ACCUMULATION_TIME"]] = np.nan
    return centre


def sound(table: Table) -> Mask:
    """Records that begin with the synchronisation word, where there is one, and have an accumulation time.

    Bytes lost or doubled within a record show at the beginning of the next one alone: the last record before one that
    does not begin with the word, or before one that is cut short, is not sound either.
    """
    good = (table["ACCUMULATION_TIME"] >= 1) & (table["ACCUMULATION_TIME"] <= 1800)
    if "SYNC" in table:
        begins = table["SYNC"] == SYNC
        good &= begins & np.append(begins[1:], not table.truncated)[: table.rows]
    return np.asarray(good)


def open_level2(path: Path, clock: Sclk) -> Granule:
    """Open a label and look at its table's headers: `RawFormat.open`."""
    match = NAME.fullmatch(path.name)
    if match is None:
        raise InputError(path, "is not named JAD_L20_<MODE>_<SENSOR>_<TYPE>_YYYYDDD_Vnn.LBL")
    label, table, _ = open_table(path)
    data = whole_file(label, table)
    centre = times(table, clock, data)
    good = np.isfinite(centre)
    if not good.any():
        raise InputError(data, f"none of {table.rows} records is sound (synchronisation word, accumulation time)")
    half = table["ACCUMULATION_TIME"][good] / 2.0
    start, stop = float((centre[good] - half).min()), float((centre[good] + half).max())
    meta = {"kind": match[2].upper(), "simulated": "SIMULATED" in label.text.upper()}
    files = {"label": path, "data": data}
    form = next(f.name for f in FORMATS if re.fullmatch(f.pattern, path.name, re.IGNORECASE))
    return Granule("jade", form, match[1].lower(), int(match[4]), start, stop, files, meta=meta)


# Reading


def _records(granule: Granule, span: Span | None, clock: Sclk) -> tuple[xr.Dataset, dict[str, NDArray[np.int32]]]:
    """Sound science records of a granule with their centre in a span, in the order of the file; events at each."""
    path = granule.files["label"]
    _, table, _ = open_table(path)
    centre = times(table, clock, granule.files["data"])
    mode = np.isin(table["PACKET_MODE"], SCIENCE) & (table["ISSUES"] != ISSUES_MISSING)
    good = np.isfinite(centre) & mode
    # A damaged record counts at the next sound one, so that counts do not depend on segments.
    place = np.clip(np.searchsorted(np.flatnonzero(good), np.arange(table.rows)), 0, max(int(good.sum()) - 1, 0))
    damaged = np.bincount(place[~np.isfinite(centre)], minlength=int(good.sum())).astype(np.int32)
    rows = np.flatnonzero(good)
    inside = np.ones(rows.shape, bool) if span is None else span.contains(centre[rows])
    keep = rows[inside]
    part = table.part(int(keep[0]), int(keep[-1]) + 1) if keep.size else table.part(0, 0)
    chosen = keep - int(keep[0]) if keep.size else keep
    head = {
        "accumulation": part["ACCUMULATION_TIME"][chosen].astype(np.int32),
        "mode": part["PACKET_MODE"][chosen],
        "species": _column(part, "PACKET_SPECIES", chosen, ELECTRONS),
        "compression": part["COMPRESSION"][chosen],
        "issues": part["ISSUES"][chosen],
    }
    counts = part["DATA"][chosen].astype(np.uint32)
    dims = ("record", *(f"d{k}" for k in range(counts.ndim - 1)))
    dataset = xr.Dataset({name: (("record",), v) for name, v in head.items()} | {"code": (dims, counts)})
    for name, column in (
        ("mcp_dac", "MCP_COMMANDED_VALUE"),
        ("mcp_off", "MCP_NOT_AT_COMMANDED"),
        ("sweep", "SWEEP_TABLE"),
    ):
        dataset[name] = ("record", "sensor"), _column(part, column, chosen, 0, 3).astype(np.int32)
    events = {name: np.zeros(keep.size, np.int32) for name in EVENTS}
    events["records"][:] = 1
    events["records_damaged"] += damaged[inside]
    if table.truncated and keep.size and rows[-1] == keep[-1]:
        events["records_truncated"][-1] = table.truncated
    return dataset.assign_coords(et=("record", centre[keep])), events


def _column(table: Table, name: str, rows: NDArray[np.intp], default: int, items: int = 0) -> NDArray[np.generic]:
    """A column, or a default where the product has none of that name."""
    if name in table:
        return np.asarray(table[name][rows])
    return np.full((rows.size, items) if items else rows.shape, default, np.int32)


def _joined(
    granules: Sequence[Granule], span: Span | None, clock: Sclk, keys: tuple[str, ...] = (), looks: int = 0
) -> xr.Dataset:
    """Records of all granules sorted by time and `keys`; of equal ones the first. Events are at ``et_event``."""
    parts, events = zip(*(_records(g, span, clock) for g in granules), strict=True)
    whole = xr.concat([_widened(p, looks) for p in parts], "record")
    whole["parity"] = ("record",), whole["sweep"].values[:, 0] % 2
    happened = np.concatenate([np.stack([e[name] for name in EVENTS], axis=1) for e in events])
    order = np.lexsort([*(whole[k].values for k in reversed(keys)), whole["et"].values])
    whole, happened = whole.isel(record=order), happened[order]
    same = np.zeros(order.shape, bool)
    same[1:] = np.logical_and.reduce([np.diff(whole[k].values.astype(float)) == 0 for k in ("et", *keys)])
    happened[same, EVENTS.index("records_repeated")] += 1
    whole["events"] = ("happened", "event"), happened
    whole = whole.assign_coords(et_event=("happened", whole["et"].values), event=list(EVENTS))
    origin = {"simulated": SIMULATED} if any(g.meta.get("simulated") for g in granules) else {}
    return whole.isel(record=~same).assign_attrs(origin)


def _widened(part: xr.Dataset, looks: int) -> xr.Dataset:
    """Records with at least so many looks; those added are not acquired (`present` is false)."""
    own = part.sizes["d1"]
    looks = max(looks, own)
    present = np.arange(looks) < own
    padded = part.pad(d1=(0, looks - own), constant_values=0) if own < looks else part
    number = part.sizes["record"]
    return padded.assign(present=(("record", "d1"), np.broadcast_to(present, (number, looks))))


def _check_shape(granules: Sequence[Granule], shapes: tuple[tuple[int, ...], ...]) -> None:
    for granule in granules:
        column = open_table(granule.files["label"])[1].columns["DATA"]
        if column.shape not in shapes:
            reason = f"DATA is {column.shape} per record, {' or '.join(map(str, shapes))} expected"
            raise InputError(granule.files["label"], reason, "DATA")


def read_electrons(granules: Sequence[Granule], span: Span | None, clock: Sclk) -> xr.Dataset:
    """Read electron records, HRS and LRS: `RawFormat.read`.

    Returns
    -------
    xr.Dataset
        ``code(et, energy, bin)`` as telemetered (codes of table ``compression``, or counters where it is 0),
        ``present(et, bin)``: LRS has no background anodes; ``mode``, ``accumulation`` (s), ``compression``,
        ``issues`` (et), ``mcp_dac``, ``mcp_off``, ``sweep`` (et, sensor); ``events(happened, event)`` at ``et_event``.

    Raises
    ------
    InputError
        if a file cannot be used.
    """
    _check_shape(granules, tuple((ENERGIES, n) for n in ELECTRON_LOOKS))
    whole = _joined(granules, span, clock, looks=max(ELECTRON_LOOKS))
    return whole.swap_dims(record="et").rename(d0="energy", d1="bin")


def read_ions(granules: Sequence[Granule], span: Span | None, clock: Sclk) -> xr.Dataset:
    """Read ion species; the ping and the pong packet of one accumulation become one record: `RawFormat.read`.

    A packet whose partner is missing makes a record of its half of the energies, counted and not `present` elsewhere.

    Returns
    -------
    xr.Dataset
        ``code(record, sweep, step, look)``, ``present(record, sweep)``; ``species(record)`` and what is said of
        records in `read_electrons`; ``et(record)``.

    Raises
    ------
    InputError
        if a file cannot be used.
    """
    _check_shape(granules, ((ION_STEPS, ION_LOOKS),))
    packets = _joined(granules, span, clock, ("species", "parity"))
    et, species, parity = (packets[n].values for n in ("et", "species", "parity"))
    first = np.ones(et.shape, bool)
    first[1:] = (np.diff(et) != 0) | (np.diff(species.astype(int)) != 0)
    record = np.cumsum(first) - 1
    number = int(first.sum())
    code = np.zeros((number, 2, ION_STEPS, ION_LOOKS), np.uint32)
    present = np.zeros((number, 2), bool)
    code[record, parity], present[record, parity] = packets["code"].values, True
    issues = np.zeros(number, np.uint32)
    np.bitwise_or.at(issues, record, packets["issues"].values)
    # The second packet of a pair is no record of its own.
    events = packets["events"].values.copy()
    at_first = packets["et_event"].values
    single = et[first][~present.all(axis=1)]
    where = np.searchsorted(at_first, single)
    np.add.at(events[:, EVENTS.index("records_unpaired")], where, 1)
    out = packets.isel(record=first).drop_vars(["code", "present", "parity"])
    return out.assign(
        code=(("record", "sweep_table", "step", "look"), code),
        present=(("record", "sweep_table"), present),
        issues=(("record",), issues),
        events=(("happened", "event"), events),
    )


def read_histograms(granules: Sequence[Granule], span: Span | None, clock: Sclk) -> xr.Dataset:
    """Read time-of-flight spectra or logicals: ``code(et, energy, bin)`` and the rest as `read_electrons`."""
    whole = _joined(granules, span, clock)
    return whole.swap_dims(record="et").rename(d0="energy", d1="bin")


def read_tof(granules: Sequence[Granule], span: Span | None, clock: Sclk) -> xr.Dataset:
    """Read time-of-flight spectra, ``code(et, energy, bin)``: `RawFormat.read`."""
    _check_shape(granules, ((ENERGIES, TOF_BINS),))
    return read_histograms(granules, span, clock)


def read_logicals(granules: Sequence[Granule], span: Span | None, clock: Sclk) -> xr.Dataset:
    """Read logical counters, ``code(et, energy, bin)``: `RawFormat.read`."""
    _check_shape(granules, ((ENERGIES, LOGICALS),))
    return read_histograms(granules, span, clock)


ELECTRON_DATA = RawFormat(
    "jade.l20_electrons", "Level 2, electrons, HRS and LRS",
    r"JAD_L20_(HRS|LRS)_ELC_(ALL|TWO|ANY)_\d{7}_V\d{2}\.LBL", open_level2, read_electrons,
)  # fmt: skip
ION_DATA = RawFormat(
    "jade.l20_ions", "Level 2, ion species",
    r"JAD_L20_(HRS|LRS)_ION_ANY_\d{7}_V\d{2}\.LBL", open_level2, read_ions, index="record",
)  # fmt: skip
TOF_DATA = RawFormat(
    "jade.l20_tof", "Level 2, ion time of flight",
    r"JAD_L20_(HRS|LRS|HLS|HLC)_ION_TOF_\d{7}_V\d{2}\.LBL", open_level2, read_tof,
)  # fmt: skip
LOGICAL_DATA = RawFormat(
    "jade.l20_logicals", "Level 2, ion logicals",
    r"JAD_L20_(HRS|LRS|HLS|HLC)_ION_LOG_\d{7}_V\d{2}\.LBL", open_level2, read_logicals,
)  # fmt: skip
FORMATS = (ELECTRON_DATA, ION_DATA, TOF_DATA, LOGICAL_DATA)
