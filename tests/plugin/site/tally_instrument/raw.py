"""Raw products of TALLY, and the datasets they become.

``TLY_<number>_Vnn.TLY`` holds big-endian records: count of the sampling interval since the start (u4), counts of the
four detectors (u2 each). Its label, of the same name with ``.LBL``, has lines ``KEY = VALUE``. ``TLY_*.CSV`` and
``DRK_*.CSV`` are text: et and four counts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from pipeline.clock import TICKS, Sclk, Span
from pipeline.errors import InputError
from pipeline.instrument import Granule

RECORD = np.dtype([("interval", ">u4"), ("counts", ">u2", (4,))])
KEYS = ("INSTRUMENT", "START_SCLK", "STEP_SECONDS", "RECORDS", "INTERVALS", "GROUP", "SIMULATED")


def write_packed(path: Path, clock: Sclk, start: float, counts: np.ndarray, *, step: float = 1.0, group: str = "A",
                 keep: np.ndarray | None = None, simulated: bool = False) -> Path:  # fmt: skip
    """Write counts (n, 4) taken from et `start` on; only the intervals `keep` are stored."""
    intervals = np.arange(len(counts)) if keep is None else np.flatnonzero(keep)
    records = np.zeros(len(intervals), RECORD)
    records["interval"], records["counts"] = intervals, counts[intervals]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(records.tobytes())
    sclk = clock.format(float(clock.to_ticks(start)))
    values = ("TALLY", sclk, step, len(records), len(counts), group, "YES" if simulated else "NO")
    path.with_suffix(".LBL").write_text("".join(f"{k} = {v}\n" for k, v in zip(KEYS, values, strict=True)))
    return path


def write_text(path: Path, et: np.ndarray, counts: np.ndarray) -> Path:
    """Write counts (n, 4) as text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [f"{t!r},{','.join(map(str, row))}" for t, row in zip(et.tolist(), counts.tolist(), strict=True)]
    path.write_text("\n".join(["et,a,b,c,d", *rows]) + "\n")
    return path


def _label(path: Path) -> dict[str, str]:
    label = path.with_suffix(".LBL")
    if not label.is_file():
        raise InputError(path, f"has no label ({label.name})")
    values = dict(re.findall(r"^(\w+) = (.*)$", label.read_text(errors="replace"), re.MULTILINE))
    missing = [key for key in KEYS if key not in values]
    if missing:
        raise InputError(label, f"{', '.join(missing)} missing")
    if values["INSTRUMENT"] != "TALLY":
        raise InputError(label, f"is of {values['INSTRUMENT']}, not of TALLY", "line 1")
    return values


def open_packed(path: Path, clock: Sclk) -> Granule:
    label = _label(path)
    try:
        start = float(clock.to_et(clock.parse(label["START_SCLK"])))
        records, intervals, step = int(label["RECORDS"]), int(label["INTERVALS"]), float(label["STEP_SECONDS"])
    except ValueError as error:
        raise InputError(path.with_suffix(".LBL"), str(error)) from error
    size = path.stat().st_size
    if size != records * RECORD.itemsize:
        raise InputError(path, f"has {size} bytes, its label says {records} records of {RECORD.itemsize} bytes")
    name, version = re.fullmatch(r"(.*)_V(\d\d)", path.stem, re.IGNORECASE).groups()
    return Granule(
        "tally", "tally.packed", name, int(version), start, start + intervals * step,
        {"data": path, "label": path.with_suffix(".LBL")}, label["GROUP"],
        {"start_sclk": label["START_SCLK"], "step": step, "simulated": label["SIMULATED"] == "YES"},
    )  # fmt: skip


def read_packed(granules: Sequence[Granule], span: Span | None, clock: Sclk) -> xr.Dataset:
    times, counts = [np.empty(0)], [np.empty((0, 4), np.uint16)]
    for granule in granules:
        path = granule.files["data"]
        records = np.fromfile(path, RECORD)
        if (np.diff(records["interval"].astype(np.int64)) <= 0).any():
            at = int(np.flatnonzero(np.diff(records["interval"].astype(np.int64)) <= 0)[0]) + 1
            raise InputError(path, "intervals do not follow one another", f"record {at}")
        start = clock.parse(str(granule.meta["start_sclk"]))
        times.append(clock.to_et(start + records["interval"] * (granule.meta["step"] * TICKS)))
        counts.append(records["counts"].astype(np.uint16))
    return _dataset(np.concatenate(times), np.concatenate(counts), span)


def _text(path: Path) -> tuple[np.ndarray, np.ndarray]:
    try:
        table = np.loadtxt(path, delimiter=",", skiprows=1, ndmin=2, encoding="ascii")
    except (ValueError, UnicodeDecodeError) as error:
        raise InputError(path, f"no table of numbers ({error})") from error
    if table.shape[1] != 5 or not len(table) or (np.diff(table[:, 0]) <= 0).any():
        raise InputError(path, "et ascending and four counts are expected")
    return table[:, 0], table[:, 1:].astype(np.uint16)


def open_text(path: Path, clock: Sclk) -> Granule:
    return _open_text(path, "tally.text")


def open_dark(path: Path, clock: Sclk) -> Granule:
    return _open_text(path, "tally.dark")


def _open_text(path: Path, form: str) -> Granule:
    et, _ = _text(path)
    return Granule("tally", form, path.stem, 1, float(et[0]), float(et[-1]) + 1.0, {"data": path})


def read_text(granules: Sequence[Granule], span: Span | None, clock: Sclk) -> xr.Dataset:
    parts = [_text(g.files["data"]) for g in granules]
    return _dataset(np.concatenate([t for t, _ in parts]), np.concatenate([c for _, c in parts]), span)


def _dataset(et: np.ndarray, counts: np.ndarray, span: Span | None) -> xr.Dataset:
    order = np.argsort(et, kind="stable")
    et, counts = et[order], counts[order]
    inside = slice(None) if span is None else span.contains(et)
    return xr.Dataset({"counts": (("et", "detector"), counts[inside])}, {"et": et[inside]})
