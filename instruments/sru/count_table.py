"""The archive's count-rate table: a CSV file per orbit, a row per image; reader and writer (README.md, "Count rates").

Six fields are described, five of them publicly: UTC and clock count of the middle of the exposure, unit, rate of
clusters, rate of deposited noise. Of the last two exactly one is valid.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline.clock import Sclk, Span, format_utc, parse_utc
from pipeline.errors import InputError
from pipeline.formats.pds3 import read_label, write_label
from pipeline.instrument import Granule, RawFormat

DATA_SET = "JNO-J-SRU-COUNTRATE-TABLE-5-L2-V1.0"
# The archive's names are not public but for their extension and folder.
NAME = re.compile(r"(\w*SRU\w*?)(?:_V(\d{2}))?\.CSV", re.IGNORECASE)
SIMULATED = "SIMULATED, NOT A MEASUREMENT"
FIELDS = (
    ("SCET", "TIME", "N/A"),
    ("SCLK", "CHARACTER", "N/A"),
    ("SRU", "ASCII_INTEGER", "N/A"),
    ("CLUSTER_RATE", "ASCII_REAL", "CLUSTERS/CM**2/S"),
    ("NOISE_RATE", "ASCII_REAL", "DN/CM**2/S"),
    ("NOTE", "CHARACTER", "N/A"),
)
# What stands for no value is not public: what is no number, negative, or beyond any rate counts as none.
LARGEST = 1e12
NONE = "NaN"

Floats = NDArray[np.float64]


def open_table(path: Path, clock: Sclk) -> Granule:
    """Open a table: `RawFormat.open`."""
    match = NAME.fullmatch(path.name)
    if match is None:
        raise InputError(path, "is not named like a count-rate table of the SRU")
    files = {"data": path}
    simulated = False
    label_path = next((p for s in (".LBL", ".lbl") if (p := path.with_suffix(s)).is_file()), None)
    if label_path is not None:
        label = read_label(label_path)
        if not str(label.need("DATA_SET_ID", str)).upper().startswith(DATA_SET[:-5]):
            raise InputError(label_path, f"{label['DATA_SET_ID']} is no count-rate table", "DATA_SET_ID")
        files["label"] = label_path
        simulated = "SIMULATED" in str(label.get("NOTE", "")).upper()
    et = _rows(path)["et"].values
    stop = float(np.nextafter(et[-1], np.inf))
    meta = {"simulated": simulated}
    return Granule("sru", "sru.count_table", match[1].upper(), int(match[2] or 1), float(et[0]), stop, files, meta=meta)


def read_tables(granules: Sequence[Granule], span: Span | None, clock: Sclk) -> xr.Dataset:
    """Read tables: `RawFormat.read`.

    Returns
    -------
    xr.Dataset
        ``cluster_rate(image)`` and ``noise_rate(image)``, NaN where not valid, ``unit(image)``; ``clock_off(image)``,
        seconds by which the clock count is later than the UTC; at ``et(image)``, by the UTC.

    Raises
    ------
    InputError
        if a file cannot be used.
    """
    parts = [_rows(g.files["data"]) for g in granules]
    whole = xr.concat(parts, "image").sortby("et")
    counted = []
    for text, granule in zip(whole["sclk"].values.tolist(), _owners(granules, parts), strict=True):
        try:
            counted.append(float(clock.to_et(clock.parse(text))))
        except ValueError as error:
            raise InputError(granule.files["data"], str(error), "field 2") from error
    whole["clock_off"] = ("image",), np.array(counted) - whole["et"].values, {"units": "s"}
    inside = np.ones(whole.sizes["image"], bool) if span is None else span.contains(whole["et"].values)
    return whole.drop_vars("sclk").isel(image=inside)


def _owners(granules: Sequence[Granule], parts: list[xr.Dataset]) -> list[Granule]:
    """The granule of each row, rows in time order."""
    owner = np.repeat(np.arange(len(parts)), [p.sizes["image"] for p in parts])
    order = np.argsort(np.concatenate([p["et"].values for p in parts]), kind="stable")
    return [granules[i] for i in owner[order]]


def _rows(path: Path) -> xr.Dataset:
    """Rows of a file, checked."""
    try:
        text = path.read_text(encoding="ascii")
    except OSError as error:
        raise InputError(path, f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(path, "holds bytes that are no ASCII", f"byte {error.start}") from error
    rows = [[f.strip() for f in row] for row in csv.reader(text.splitlines()) if any(f.strip() for f in row)]
    if rows and not rows[0][0][:1].isdigit():
        rows = rows[1:]  # names of the fields
    if not rows:
        raise InputError(path, "holds no row")
    for number, row in enumerate(rows):
        if len(row) != len(FIELDS):
            raise InputError(path, f"{len(row)} fields, {len(FIELDS)} expected", f"row {number + 1}")
        if row[2] not in ("1", "2"):
            raise InputError(path, f"unit {row[2]!r} is neither 1 nor 2", f"row {number + 1}")
    try:
        et = parse_utc([row[0] for row in rows])
    except ValueError as error:
        raise InputError(path, str(error), "field 1") from error
    columns = {
        name: (("image",), _valid([row[k] for row in rows])) for k, name in ((3, "cluster_rate"), (4, "noise_rate"))
    }
    dataset = xr.Dataset(
        {
            **columns,
            "unit": (("image",), np.array([int(row[2]) for row in rows], np.int8)),
            "sclk": (("image",), np.array([row[1] for row in rows], object)),
        },
        coords={"et": (("image",), et, {"units": "s", "long_name": "middle of the exposure, TDB past J2000"})},
    )
    return dataset.sortby("et")


def _valid(words: list[str]) -> Floats:
    """Numbers, NaN where a word stands for no value."""

    def number(word: str) -> float:
        try:
            value = float(word)
        except ValueError:
            return np.nan
        return value if 0.0 <= value < LARGEST else np.nan

    return np.array([number(word) for word in words])


def write_table(
    path: Path, et: Floats, unit: NDArray[np.int8], cluster_rate: Floats, noise_rate: Floats, clock: Sclk, *,
    simulated: bool,
) -> Path:  # fmt: skip
    """Write a table and its label; `read_tables` gives the columns back (rates to six digits, times to 1 ms).

    Raises
    ------
    ValueError
        unless exactly one of the two rates is given for every image.
    """
    if (np.isfinite(cluster_rate) == np.isfinite(noise_rate)).any():
        raise ValueError("of the two rates of an image exactly one is valid")
    words = [[NONE if np.isnan(v) else f"{v:.6g}" for v in rate] for rate in (cluster_rate, noise_rate)]
    sclk = [clock.format(t) for t in np.asarray(clock.to_ticks(et)).tolist()]
    rows = zip(format_utc(et, 3).tolist(), sclk, unit.tolist(), *words, strict=True)
    lines = [
        f"{t.rstrip('Z')},{count},{n},{a},{b},{'' if not simulated else 'SIMULATED'}" for t, count, n, a, b in rows
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join(line + "\r\n" for line in lines).encode("ascii"))
    fields = [{"NAME": n, "DATA_TYPE": kind, "UNIT": unit_} for n, kind, unit_ in FIELDS]
    label = {
        "PDS_VERSION_ID": "PDS3",
        "RECORD_TYPE": "STREAM",
        "^SPREADSHEET": path.name,
        "DATA_SET_ID": DATA_SET,
        "PRODUCT_ID": path.stem,
        "INSTRUMENT_HOST_NAME": "JUNO",
        "INSTRUMENT_ID": "SRU",
        "START_TIME": format_utc(float(et[0]), 3).rstrip("Z"),
        "STOP_TIME": format_utc(float(et[-1]), 3).rstrip("Z"),
        **({"NOTE": SIMULATED} if simulated else {}),
        "SPREADSHEET": {
            "ROWS": len(lines),
            "FIELDS": len(fields),
            "FIELD_DELIMITER": "COMMA",
            "FIELD": fields,
        },
    }
    path.with_suffix(".LBL").write_bytes(write_label(label).encode("ascii"))
    return path


COUNT_TABLE = RawFormat(
    "sru.count_table",
    "Count-rate tables of the archive (CSV)",
    NAME.pattern,
    open_table,
    read_tables,
    index="image",
    level="calibrated",
)
