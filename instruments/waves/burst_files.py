"""Burst waveforms of the archive, REC and BIN files: reader and writer (README.md, "Archived bursts").

Fixed records, little-endian: the first is a header, the others one capture each. Reading goes by the label's tables.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from instruments.waves.layout import BURSTS, MOST_SAMPLES, times_agree
from pipeline.clock import TICKS, Sclk, Span, format_utc, parse_utc
from pipeline.errors import InputError
from pipeline.formats.checksum import whole_file
from pipeline.formats.defects import corrected
from pipeline.formats.pds3 import Label, read_label, write_label
from pipeline.formats.pds3_table import Table, read_table
from pipeline.formats.pds3_write import write_table
from pipeline.instrument import Granule, RawFormat

NAME = re.compile(r"(WAV_\d{7}T\d{6}_([EB])(?:UNC)?_(?:REC|BIN))_V(\d+)\.LBL", re.IGNORECASE)
BEFORE = 76  # bytes of a row before its waveform
SAME_INTERVAL = 1e-3
_TIME = ("SESSION_START", "Q_FACTOR", "PROCESSING")
_HEADER: tuple[tuple[str, str, int, int], ...] = (
    ("RECORD_LENGTH", "LSB_UNSIGNED_INTEGER", 1, 4),
    *(
        column
        for k, name in enumerate(_TIME)
        for column in ((f"{name}_SCLK", "PC_REAL", 5 + 32 * k, 8), (f"{name}_SCET", "CHARACTER", 13 + 32 * k, 23))
    ),
    ("Q_FACTOR", "LSB_UNSIGNED_INTEGER", 101, 1),
    ("SESSION_STOP_SCLK", "PC_REAL", 105, 8),
    ("SESSION_STOP_SCET", "CHARACTER", 113, 23),
)
_ROW: tuple[tuple[str, str, int, int], ...] = (
    ("CHANNEL", "CHARACTER", 1, 14),
    ("TRIG_SCLK", "PC_REAL", 17, 8),
    ("TRIG_SCET", "CHARACTER", 25, 23),
    *(
        (name, "LSB_UNSIGNED_INTEGER", 49 + k, 1)
        for k, name in enumerate(
            ("NR_ON", "NR_APPLIED", "CAL_VER_AMP", "CAL_VER_ATTN", "PREAMP_ATTN_SETTING", "RECEIVER_ATTN_SETTING")
        )
    ),
    ("CLIPPED_FRACTION", "PC_REAL", 61, 4),
    ("SAMPLING_INTERVAL", "PC_REAL", 65, 4),
    ("NUM_AMPLITUDES", "LSB_UNSIGNED_INTEGER", 73, 4),
)
EVENTS = ("captures_received", "captures_damaged", "captures_truncated")
NEEDED = ("TRIG_SCET", "PREAMP_ATTN_SETTING", "CLIPPED_FRACTION", "SAMPLING_INTERVAL", "NUM_AMPLITUDES", "WAVEFORM")


def _table(path: Path) -> tuple[Label, Table]:
    label, _ = corrected(read_label(path))
    table = read_table(label, "DATA_TABLE")
    record, row = label.get("RECORD_BYTES"), label["DATA_TABLE"].get("ROW_BYTES")
    if record != row:
        raise InputError(path, f"records of {record} bytes hold rows of {row}", "RECORD_BYTES")
    missing = [name for name in NEEDED if name not in table]
    if missing:
        raise InputError(path, f"columns missing: {', '.join(missing)}", "DATA_TABLE")
    return label, table


def _times(table: Table, path: Path) -> NDArray[np.float64]:
    """Et of each sound capture, NaN where clock and UTC run apart.

    The time of the next capture shows that no bytes are lost in one: the last before one that is cut short is left out.
    """
    try:
        et = np.asarray(parse_utc(np.char.decode(table["TRIG_SCET"], "ascii").tolist()))
    except (ValueError, UnicodeDecodeError) as error:
        raise InputError(path, f"column TRIG_SCET: {error}") from error
    clock = table["TRIG_SCLK"].astype(np.float64) if "TRIG_SCLK" in table else np.full(et.shape, np.nan)
    return np.where(times_agree(clock, et), et, np.nan)[: table.rows - table.truncated]


def open_bursts(path: Path, clock: Sclk) -> Granule:
    """Open a label of burst waveforms: `RawFormat.open`."""
    match = NAME.fullmatch(path.name)
    if match is None:
        raise InputError(path, "is not named WAV_YYYYDDDThhmmss_{E|B}_{REC|BIN}_Vnn.LBL")
    label, table = _table(path)
    files = {"label": path, "data": whole_file(label, table, "DATA_TABLE")}
    et = _times(table, path)
    et = et[np.isfinite(et)]
    if et.size == 0:
        raise InputError(table.path, "holds no whole capture")
    meta = {"field": match[2].upper()}
    name, version = match[1].upper(), int(match[3])
    return Granule("waves", "waves.rec", name, version, float(et.min()) - 1.0, float(et.max()) + 1.0, files, meta=meta)


def read_bursts(granules: Sequence[Granule], span: Span | None, clock: Sclk) -> xr.Dataset:
    """Read burst waveforms: `RawFormat.read`.

    Returns
    -------
    xr.Dataset
        ``waveform(et, sample)`` in V/m or nT, ``samples``, ``kind`` (place in `layout.BURSTS`), ``attenuator``,
        ``clipped_fraction`` (et), in time order; ``events(record, event)``.
    """
    parts = [_captures(g, span) for g in granules]
    joined = xr.concat(parts, "et") if len(parts) > 1 else parts[0]
    order = np.lexsort((joined["kind"].values, joined["et"].values))
    _, once = np.unique(np.stack([joined["et"].values, joined["kind"].values])[:, order], axis=1, return_index=True)
    kept = joined.isel(et=order[np.sort(once)])
    events = ("record", "event"), kept["events"].values
    return (
        kept.drop_vars("events")
        .assign(events=events)
        .assign_coords(et_event=("record", kept["et"].values), event=list(EVENTS))
    )


def _captures(granule: Granule, span: Span | None) -> xr.Dataset:
    path = granule.files["label"]
    _, whole = _table(path)
    et = _times(whole, path)
    inside = np.isfinite(et) if span is None else np.isfinite(et) & span.contains(et)
    rows = np.flatnonzero(inside)
    events = np.zeros((rows.size, len(EVENTS)), np.int32)
    events[:, 0] = 1
    # Counts of the whole file stand at its first sound capture, whatever the span.
    if rows.size and not np.isfinite(et[: rows[0]]).any():
        events[0, 1:] = whole.rows - np.isfinite(et).sum(), whole.truncated
    first, last = (int(rows[0]), int(rows[-1]) + 1) if rows.size else (0, 0)
    table = whole.part(first, last)  # only these are read
    use, et = inside[first:last], et[first:last]
    samples, stored = table["NUM_AMPLITUDES"].astype(np.int64)[use], np.asarray(table["WAVEFORM"])[use]
    kind = _kinds(granule, table["SAMPLING_INTERVAL"].astype(float)[use], path)
    most = np.array([b.most for b in BURSTS])[kind]
    if np.any((samples < 1) | (samples > np.minimum(stored.shape[-1], most))):
        raise InputError(
            path, "a capture has no samples, or more than its record or its kind can hold", "NUM_AMPLITUDES"
        )
    waveform = np.full((len(samples), MOST_SAMPLES), np.nan)
    width = min(stored.shape[-1], MOST_SAMPLES)
    with np.errstate(invalid="ignore"):  # bytes that are no number
        stored = stored[:, :width].astype(np.float64)
    there = (np.arange(width) < samples[:, None]) & np.isfinite(stored)
    waveform[:, :width] = np.where(there, stored, np.nan)
    return xr.Dataset(
        {
            "waveform": (("et", "sample"), waveform),
            "events": (("et", "event"), events),
            "samples": ("et", samples),
            "kind": ("et", kind),
            "attenuator": ("et", (table["PREAMP_ATTN_SETTING"][use] > 0).astype(np.uint8)),
            "clipped_fraction": ("et", table["CLIPPED_FRACTION"].astype(float)[use]),
        },
        coords={"et": et[use]},
    )


def _kinds(granule: Granule, interval: NDArray[np.float64], path: Path) -> NDArray[np.int64]:
    """Kind of each capture, from its sampling interval and the field the file is of."""
    magnetic = granule.meta["field"] == "B"
    out = np.full(interval.shape, -1, np.int64)
    for number, burst in enumerate(BURSTS):
        if burst.magnetic == magnetic:
            out[np.abs(interval * burst.rate - 1.0) < SAME_INTERVAL] = number
    if np.any(out < 0):
        raise InputError(path, f"{interval[out < 0][0]:g} s is no sampling interval of Waves", "SAMPLING_INTERVAL")
    return out


def _described(columns: Sequence[tuple[str, str, int, int]]) -> list[dict[str, Any]]:
    return [{"NAME": n, "DATA_TYPE": t, "START_BYTE": a, "BYTES": b} for n, t, a, b in columns]


def write_bursts(path: Path, raw: xr.Dataset, clock: Sclk, length: int) -> None:
    """Write captures of one field as `read_bursts` returns them: a data file and its label beside it.

    Parameters
    ----------
    path : of the label.
    length : bytes of a record: 76 and 4 for each sample.
    """
    et, samples = raw["et"].values, raw["samples"].values
    number = (length - BEFORE) // 4
    if length != BEFORE + 4 * number or samples.max(initial=0) > number:
        raise ValueError(f"records of {length} bytes do not fit captures of {samples.max(initial=0)} samples")
    scet, sclk = format_utc(et, 3, True), clock.to_ticks(et) / TICKS
    rates = np.array([b.rate for b in BURSTS])[raw["kind"].values]
    values: dict[str, Any] = {name: np.zeros(len(et), np.int64) for name, kind, _, _ in _ROW if "INTEGER" in kind}
    values |= {
        "CHANNEL": np.array([BURSTS[k].name.upper() for k in raw["kind"].values]),
        "TRIG_SCLK": sclk,
        "TRIG_SCET": scet,
        "PREAMP_ATTN_SETTING": raw["attenuator"].values.astype(np.int64),
        "CLIPPED_FRACTION": raw["clipped_fraction"].values,
        "SAMPLING_INTERVAL": 1.0 / rates,
        "NUM_AMPLITUDES": samples.astype(np.int64),
        "WAVEFORM": np.nan_to_num(raw["waveform"].values[:, :number]),
    }
    waveform = {"NAME": "WAVEFORM", "DATA_TYPE": "PC_REAL", "START_BYTE": BEFORE + 1, "BYTES": 4 * number}
    waveform |= {"ITEMS": number, "ITEM_BYTES": 4}
    head = {"INTERCHANGE_FORMAT": "BINARY", "ROW_BYTES": length}
    data_table = {**head, "ROWS": len(et), "COLUMN": [*_described(_ROW), waveform]}
    header_table = {**head, "ROWS": 1, "COLUMN": _described(_HEADER)}
    session: dict[str, Any] = {"RECORD_LENGTH": np.array([length]), "Q_FACTOR": np.zeros(1, np.int64)}
    for name, at in (("SESSION_START", 0), ("Q_FACTOR", 0), ("PROCESSING", 0), ("SESSION_STOP", -1)):
        session |= {f"{name}_SCLK": sclk[[at]], f"{name}_SCET": scet[[at]]}
    path.parent.mkdir(parents=True, exist_ok=True)
    data = path.with_suffix(".DAT")
    data.write_bytes(write_table(header_table, session) + write_table(data_table, values))
    label = {
        "PDS_VERSION_ID": "PDS3",
        "RECORD_TYPE": "FIXED_LENGTH",
        "RECORD_BYTES": length,
        "FILE_RECORDS": len(et) + 1,
    }
    label |= {"^HEADER_TABLE": [data.name, 1], "^DATA_TABLE": [data.name, 2], "INSTRUMENT_ID": "WAV"}
    path.write_text(write_label({**label, "HEADER_TABLE": header_table, "DATA_TABLE": data_table}), "ascii", newline="")


REC = RawFormat(
    name="waves.rec",
    title="Archived burst waveforms (REC, BIN)",
    pattern=r"WAV_\d{7}T\d{6}_[EB](UNC)?_(REC|BIN)_V\d+\.LBL",
    open=open_bursts,
    read=read_bursts,
    level="calibrated",
)
