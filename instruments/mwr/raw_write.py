"""Writer of MWR's hourly CSV files with their PDS3 and PDS4 labels and format files; `raw` reads them back."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from instruments.mwr import labels
from instruments.mwr.layout import CODES, COLUMNS, FOLDERS, FORMATS, SENSORS, VOLUMES, header
from pipeline.clock import TICKS, Sclk, format_utc
from pipeline.formats.pds3 import write_label

Floats = NDArray[np.float64]

# Rows formatted at a time.
BLOCK = 4096


def _form(kind: str, name: str) -> str:
    """How a column is printed: the archive's rows have 8.1 and 7.5 characters per field, so four decimals or so."""
    if name == "t_utc_doy":
        return "%s"
    if name == "t_ephem_time":
        return "%.5f"
    if kind == "edr":
        return "%.0f"
    if name.endswith("Cnt"):
        return "%.2f"
    if "_dc" in name or (name.startswith(("JDSS", "JMag", "S3RH")) and "_B" in name):
        return "%.6f"
    return "%.4f"


def write_csv(
    folder: Path, kind: str, pass_number: int, columns: Mapping[str, Floats], et: Floats, clock: Sclk,
    *, simulated: bool, version: int = 1,
) -> list[Path]:  # fmt: skip
    """Write records in hourly files below `folder`, in the archive's folders and under its names.

    Parameters
    ----------
    kind : ``edr``, ``irdr`` or ``grdr``.
    columns : values by column name, but for the times, which are made of `et` (centres of the records, ascending).
        NaN is written as an empty field.

    Returns
    -------
    list of Path
        the CSV files.
    """
    known = dict(columns)
    utc = format_utc(et, day_of_year=True)
    if kind == "edr":
        ticks = clock_counter(clock, et)
        known |= {"t_sclk_s": (ticks // TICKS).astype(float), "t_sclk_tick": (ticks % TICKS).astype(float)}
    else:
        known["t_ephem_time"] = et
    values = np.column_stack([np.asarray(known[n], np.float64) for n in COLUMNS[kind] if n != "t_utc_doy"])
    hour = np.array([text[:11] for text in utc.tolist()])
    paths = []
    for name in np.unique(hour):
        rows = hour == name
        paths.append(
            _write_hour(folder, kind, pass_number, et[rows], utc[rows], values[rows], clock, simulated, version)
        )
    return paths


def clock_counter(clock: Sclk, et: Floats) -> NDArray[np.int64]:
    """Count of the clock nearest to times, ticks of 1/65536 s, within its partition."""
    ticks = clock.to_ticks(et)
    seconds, fraction = clock.format(float(np.rint(ticks[0]))).split("/")[1].split(":")
    return int(seconds) * TICKS + int(fraction) + np.rint(ticks).astype(np.int64) - int(np.rint(ticks[0]))


def _write_hour(
    folder: Path, kind: str, pass_number: int, et: Floats, utc: NDArray[np.str_], values: Floats, clock: Sclk,
    simulated: bool, version: int,
) -> Path:  # fmt: skip
    first = str(utc[0])
    year, doy, clocked = first[:4], first[5:8], first[9:17].replace(":", "")
    # The archive names an hour by its beginning.
    name = f"MWR{pass_number:02d}{CODES[kind]}{year}{doy}{clocked[:2]}0000_R{len(et):05d}_V{version:02d}"
    volume = folder / VOLUMES[kind]
    path = volume / FOLDERS[kind] / year / f"{year}{doy}" / f"{name}.CSV"
    path.parent.mkdir(parents=True, exist_ok=True)
    forms = [_form(kind, column) for column in COLUMNS[kind]]
    digest = hashlib.md5(header(kind))
    with path.open("wb") as file:
        file.write(header(kind))
        for start in range(0, len(et), BLOCK):
            part = slice(start, start + BLOCK)
            block = _rows(forms, COLUMNS[kind].index("t_utc_doy"), utc[part], values[part])
            digest.update(block)
            file.write(block)
    counts = [clock.format(float(tick)) for tick in clock.to_ticks(et[[0, -1]])]
    start_stop = labels.Times(str(utc[0]), str(utc[-1]), *counts)
    label = write_label(labels.pds3(path.name, kind, len(et), start_stop, digest.hexdigest(), simulated))
    path.with_suffix(".LBL").write_text(label, "ascii", newline="")
    (path.parent / FORMATS[kind]).write_text(write_label(labels.format_file(kind)), "ascii", newline="")
    path.with_suffix(".xml").write_bytes(labels.pds4(path, kind, len(et), start_stop, simulated))
    return path


def _rows(forms: list[str], at: int, utc: NDArray[np.str_], values: Floats) -> bytes:
    """Rows as text; Python's formatting of whole rows is faster than the writers of polars and pandas."""
    whole = values.tolist()
    line = ",".join(forms) + "\r\n"
    text = "".join(line % (*row[:at], when, *row[at:]) for row, when in zip(whole, utc.tolist(), strict=True))
    return (text.replace("nan", "") if np.isnan(values).any() else text).encode("ascii")


def irdr_columns(dataset: Any) -> dict[str, Floats]:
    """Columns of an IRDR from a dataset as `raw.read_irdr` gives it."""
    streams = dataset["stream"].values.tolist()
    columns = {name: dataset["temperature"].values[:, k] for k, name in enumerate(SENSORS)}
    plain = {"AntCnt": "antenna_counts", "RefCnt": "reference_counts", "TA": "ta", "TOFF": "toff"}
    for k, stream in enumerate(streams):
        columns |= {f"{stream}{short}": dataset[name].values[:, k] for short, name in plain.items()}
        for p, place in enumerate("AR"):
            for d in range(3):
                columns[f"{stream}ND{d + 1}{place}Cnt"] = dataset["deflection"].values[:, p, d, k]
                columns[f"{stream}TND{d + 1}{place}"] = dataset["tnd"].values[:, p, d, k]
    return columns
