"""Writer of EDR tables with label and format file; the reader is `raw`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from instruments.jedi.layout import (
    COUNTERS,
    DATASET,
    FAMILIES,
    KINDS,
    MISSING,
    TELESCOPES,
    UNITS,
    basic_column,
    channel_columns,
    columns,
    pixel_column,
    row_bytes,
)
from instruments.jedi.raw import SIMULATED
from pipeline.clock import Sclk, format_utc
from pipeline.formats.pds3 import write_label
from pipeline.formats.pds3_write import write_table


def write_edr(
    root: Path, kind: str, unit: int, start: NDArray[np.float64], values: Mapping[str, ArrayLike], clock: Sclk,
    *, version: int = 1,
) -> list[Path]:  # fmt: skip
    """Write the tables of one type and unit, one for each UTC day, below `root` in the archive's folders.

    Parameters
    ----------
    start : et at which each integration begins; its clock count is rounded to a tick.
    values : as `raw.read_edr` returns them: ``counts``, ``basic``, ``pixel``, ``gain``, ``accumulation``; NaN in counts
        and basic rates is written as the missing constant.

    Returns
    -------
    list of Path
        the labels.
    """
    ticks = np.rint(clock.to_ticks(start))
    begin = clock.to_et(ticks)
    utc = np.atleast_1d(format_utc(begin, 3, day_of_year=True))
    sclk = np.array([clock.format(t) for t in ticks])
    day = np.array([text[:8] for text in utc])
    labels = []
    for one in np.unique(day):
        use = day == one
        own = {name: np.asarray(v)[use] for name, v in values.items()}
        year, number = one.split("-")
        folder = root / DATASET / "DATA" / year / number
        name = f"JED_{UNITS[unit]}_{kind}_EDR_{year}{number}_V{version:02d}"
        labels.append(_write_day(folder, name, kind, utc[use], sclk[use], own))
    return labels


def _write_day(
    folder: Path, name: str, kind: str, utc: NDArray[np.str_], sclk: NDArray[np.str_], values: Mapping[str, NDArray]
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    structure, described = f"JED_{kind}_EDR_V02.FMT", list(columns(kind))
    (folder / structure).write_bytes(write_label({"COLUMN": described}).encode("ascii"))
    table = {
        "INTERCHANGE_FORMAT": "ASCII", "ROWS": len(utc), "ROW_BYTES": row_bytes(kind), "COLUMNS": len(described),
        "DESCRIPTION": f"JEDI {FAMILIES[KINDS[kind]].title}",
    }  # fmt: skip
    data = write_table(table | {"COLUMN": described}, _columns(kind, utc, sclk, values), folder)
    (folder / f"{name}.TAB").write_bytes(data)
    pairs = {
        "PDS_VERSION_ID": "PDS3", "DATA_SET_ID": DATASET, "STANDARD_DATA_PRODUCT_ID": kind, "PRODUCT_ID": name,
        "PRODUCT_TYPE": "DATA", "PROCESSING_LEVEL_ID": "2", "INSTRUMENT_HOST_ID": "JNO",
        "INSTRUMENT_NAME": "JUPITER ENERGETIC-PARTICLE DETECTOR INSTRUMENT", "INSTRUMENT_ID": "JED",
        "DESCRIPTION": SIMULATED, "START_TIME": utc[0], "STOP_TIME": utc[-1],
        "SPACECRAFT_CLOCK_START_COUNT": sclk[0], "SPACECRAFT_CLOCK_STOP_COUNT": sclk[-1],
        "RECORD_TYPE": "FIXED_LENGTH", "RECORD_BYTES": row_bytes(kind), "FILE_RECORDS": len(utc),
        "MD5_CHECKSUM": hashlib.md5(data).hexdigest(), "^ASCII_TABLE": f"{name}.TAB",
        "ASCII_TABLE": table | {"^STRUCTURE": structure},
    }  # fmt: skip
    path = folder / f"{name}.LBL"
    path.write_bytes(write_label(_plain(pairs)).encode("ascii"))
    return path


def _plain(pairs: Mapping[str, object]) -> dict[str, object]:
    return {k: str(v) if isinstance(v, np.str_) else v for k, v in pairs.items()}


def _columns(
    kind: str, utc: NDArray[np.str_], sclk: NDArray[np.str_], values: Mapping[str, NDArray]
) -> dict[str, NDArray]:
    """Values by column name."""

    def whole(array: NDArray) -> NDArray[np.int64]:
        return np.where(np.isfinite(array), array, MISSING).astype(np.int64)

    out: dict[str, NDArray] = {
        "UTC": np.char.encode(utc, "ascii"), "SCLK": np.char.encode(sclk, "ascii"),
        "INTEGRATION TIME": np.asarray(values["accumulation"], np.float64), "MCP GAIN": whole(values["gain"]),
    }  # fmt: skip
    counts, basic, pixel = (whole(values[n]) for n in ("counts", "basic", "pixel"))
    for t, row in enumerate(channel_columns(kind)):
        out[pixel_column(t)] = pixel[:, t]
        out |= {basic_column(t, c): basic[:, t, k] for k, c in enumerate(COUNTERS)}
        out |= {name: counts[:, t, k] for k, name in enumerate(row)}
    assert len(channel_columns(kind)) == TELESCOPES
    return out
