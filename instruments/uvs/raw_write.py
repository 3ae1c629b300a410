"""Writer of the archive's EDR: FITS file and detached label; the reader is `raw`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from instruments.uvs.layout import COLUMNS, LEVELS, ROWS
from instruments.uvs.raw import (
    COLUMN_FORMATS,
    EVENTS,
    FRAMES,
    HACK,
    NAME,
    PARTS,
    SIMULATED,
)
from pipeline.clock import TICKS, Sclk, format_utc
from pipeline.errors import InputError
from pipeline.formats.pds3 import write_label

Columns = Mapping[str, NDArray[Any]]
# Boxes of the detector whose pulse heights are kept apart: Lyman alpha, where stars are looked for, stim pixels.
REGIONS = ("LA", "STELLAR", "STIM")
RECORD = 2880


def hacked(
    column: NDArray[np.int16], row: NDArray[np.uint8], height: NDArray[np.uint8], hack: NDArray[np.int64], hacks: int
) -> dict[str, NDArray[Any]]:
    """Rows of RAW_FRAME of one frame: its events in time order, and before each hack's events a row of its counter."""
    counts = np.bincount(hack, minlength=hacks)
    rows = len(hack) + hacks
    of_hack = np.cumsum(counts + 1) - (counts + 1)
    of_event = np.arange(len(hack)) + hack + 1
    out = {name: np.zeros(rows, d) for name, d in (("TYPE", "u1"), ("X", "i2"), ("Y", "u1"), ("PULSE_HEIGHT", "u1"))}
    out["TYPE"][of_hack] = HACK
    out["X"][of_hack] = np.arange(hacks)
    out["X"][of_event], out["Y"][of_event], out["PULSE_HEIGHT"][of_event] = column, row, height
    return out


def write_edr(
    path: Path,
    tables: Mapping[int, Columns],
    parameters: Mapping[str, str],
    regions: Mapping[str, tuple[int, int, int, int]],
    clock: Sclk,
    *,
    simulated: bool,
) -> None:
    """Write an EDR and its label; `raw.read_edr` gives the tables back.

    Parameters
    ----------
    tables : columns by index of the HDU, named as in `raw.COLUMN_FORMATS`.
    parameters : of the acquisition, for PARAMETER_LIST.
    regions : first and last column, first and last row of the boxes of `REGIONS`; several stim pixels by any suffix.
    """
    from astropy.io import fits

    match = NAME.fullmatch(path.name)
    if match is None:
        raise InputError(path, "name is not UVS_Snn_<clock>_<yyyyddd>_Pnn<code>_Vnn.FIT")
    events, frames = tables[EVENTS], tables[FRAMES]
    image, by_time, heights = _histograms(events, frames, regions)
    data: list[Any] = [image, by_time, None, None, None, None, None, *heights, None, None]
    parts: list[Any] = []
    for index, (name, table) in enumerate(PARTS):
        if index == 0:
            part = fits.PrimaryHDU(data[0])
        elif not table:
            part = fits.ImageHDU(data[index])
        else:
            part = fits.BinTableHDU.from_columns(_columns(index, tables, parameters))
        part.header["EXTNAME"] = name
        parts.append(part)
    head = parts[0].header
    head["MISSION"], head["INSTRUME"] = "JUNO", "UVS"
    if simulated:
        head["ORIGIN"] = SIMULATED
    path.parent.mkdir(parents=True, exist_ok=True)
    fits.HDUList(parts).writeto(path, overwrite=True)
    with fits.open(path) as written:
        places = [part.fileinfo() for part in written]
    label = _label(path, match["pass"], frames, parts, places, clock, simulated)
    path.with_suffix(".LBL").write_text(write_label(label), "ascii", newline="")


def _columns(index: int, tables: Mapping[int, Columns], parameters: Mapping[str, str]) -> list[Any]:
    from astropy.io import fits

    if index == len(PARTS) - 1:
        text = {
            "NAME": ("32A", np.array(list(parameters), "S32")),
            "VALUE": ("80A", np.array(list(parameters.values()), "S80")),
        }
    else:
        text = {n: (form, tables[index][n]) for n, form in COLUMN_FORMATS[index].items()}
    return [fits.Column(name=name, format=form, array=array) for name, (form, array) in text.items()]


def _histograms(
    events: Columns, frames: Columns, regions: Mapping[str, tuple[int, int, int, int]]
) -> tuple[NDArray[np.int32], NDArray[np.int32], list[NDArray[np.int32]]]:
    """The image, rows over frames, and pulse heights over frames by region."""
    event = events["TYPE"] != HACK
    owner = np.zeros(len(event), np.int64)
    number = len(frames["ROWS"])
    for k, (first, rows) in enumerate(zip(frames["FIRST_ROW"], frames["ROWS"], strict=True)):
        owner[first : first + rows] = k
    x, y, h, owner = (
        events["X"][event].astype(np.int64),
        events["Y"][event].astype(np.int64),
        events["PULSE_HEIGHT"][event],
        owner[event],
    )
    image = np.bincount(y * COLUMNS + x, minlength=ROWS * COLUMNS).reshape(ROWS, COLUMNS).astype(np.int32)
    by_time = np.bincount(owner * ROWS + y, minlength=number * ROWS).reshape(number, ROWS).astype(np.int32)
    heights = []
    for region in REGIONS:
        inside = np.zeros(len(x), bool)
        for name, (left, right, low, high) in regions.items():
            inside |= name.startswith(region) & (x >= left) & (x <= right) & (y >= low) & (y <= high)
        index = owner[inside] * LEVELS + h[inside]
        heights.append(np.bincount(index, minlength=number * LEVELS).reshape(number, LEVELS).astype(np.int32))
    return image, by_time, heights


def _label(
    path: Path, pass_: str, frames: Columns, parts: list[Any], places: list[Any], clock: Sclk, simulated: bool
) -> dict[str, Any]:
    ticks = frames["SCLK_SECONDS"].astype(np.int64) * TICKS + frames["SCLK_SUBSECONDS"]
    et = clock.to_et(clock.encode(ticks[[0, -1]])) + np.array([0.0, frames["DURATION"][-1]])
    start, stop = (f"{t}" for t in format_utc(et, 3, day_of_year=True))
    head = {
        "PDS_VERSION_ID": "PDS3", "DD_VERSION_ID": "PDSCAT1R65", "DATA_FORMAT": "FITS", "FILE_NAME": path.name,
        "RECORD_TYPE": "FIXED_LENGTH", "RECORD_BYTES": RECORD, "FILE_RECORDS": path.stat().st_size // RECORD,
    }  # fmt: skip
    pointers, objects = {}, {}
    for (name, table), part, place in zip(PARTS, parts, places, strict=True):
        kind = "TABLE" if table else "IMAGE" if name == PARTS[0][0] else "QUBE"
        pointers[f"^{name}_HEADER"] = [path.name, place["hdrLoc"] // RECORD + 1]
        pointers[f"^{name}_{kind}"] = [path.name, place["datLoc"] // RECORD + 1]
        size = place["datLoc"] - place["hdrLoc"]
        objects[f"{name}_HEADER"] = {
            "HEADER_TYPE": "FITS",
            "BYTES": size,
            "RECORDS": size // RECORD,
            "INTERCHANGE_FORMAT": "ASCII",
        }
        objects[f"{name}_{kind}"] = _described(part, table)
    told = {
        "DATA_SET_ID": "JNO-J-UVS-2-EDR-V1.0", "PRODUCT_ID": path.stem, "PRODUCT_TYPE": "EDR",
        "INSTRUMENT_HOST_NAME": "JUNO", "INSTRUMENT_NAME": "ULTRAVIOLET SPECTROGRAPH", "INSTRUMENT_ID": "UVS",
        "TARGET_NAME": "JUPITER", "ORBIT_NUMBER": int(pass_), "START_TIME": start, "STOP_TIME": stop,
        "SPACECRAFT_CLOCK_START_COUNT": f"{ticks[0] // TICKS}:{ticks[0] % TICKS:05d}", "PRODUCT_CREATION_TIME": stop,
    }  # fmt: skip
    note = {"NOTE": f"{SIMULATED}; columns of the tables by perijove"} if simulated else {}
    return head | pointers | told | note | objects


def _described(part: Any, table: bool) -> dict[str, Any]:
    if not table:
        axes = [int(part.header[f"NAXIS{k + 1}"]) for k in range(part.header["NAXIS"])]
        return {"LINES": axes[1], "LINE_SAMPLES": axes[0], "SAMPLE_TYPE": "MSB_INTEGER", "SAMPLE_BITS": 32}
    kinds = {
        "B": "MSB_UNSIGNED_INTEGER",
        "I": "MSB_INTEGER",
        "J": "MSB_INTEGER",
        "K": "MSB_INTEGER",
        "E": "IEEE_REAL",
        "D": "IEEE_REAL",
        "A": "CHARACTER",
    }
    columns, start = [], 1
    for column in part.columns:
        size = column.dtype.itemsize
        columns.append(
            {"NAME": column.name, "DATA_TYPE": kinds[str(column.format)[-1]], "START_BYTE": start, "BYTES": size}
        )
        start += size
    return {
        "INTERCHANGE_FORMAT": "BINARY",
        "ROWS": len(part.data),
        "ROW_BYTES": start - 1,
        "COLUMNS": len(columns),
        "COLUMN": columns,
    }
