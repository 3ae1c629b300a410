"""Writer of MWR's hourly CSV files with their PDS3 and PDS4 labels and format files; `raw` reads them back."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from instruments.mwr import labels
from instruments.mwr.decimals import Floats, lines
from instruments.mwr.layout import CODES, COLUMNS, FOLDERS, FORMATS, SENSORS, VOLUMES, header
from pipeline.clock import TICKS, Sclk, format_utc
from pipeline.formats.pds3 import write_label

# Rows formatted at a time.
BLOCK = 4096


def _decimals(kind: str, name: str) -> int:
    """How many decimals a column has: the archive's rows have 8.1 and 7.5 characters per field, so four or so."""
    if name == "t_ephem_time":
        return 5
    if kind == "edr":
        return 0
    if name.endswith("Cnt"):
        return 2
    if "_dc" in name or (name.startswith(("JDSS", "JMag", "S3RH")) and "_B" in name):
        return 6
    return 4


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
    utc = format_utc(et, day_of_year=True)
    known: dict[str, NDArray[Any]] = {**columns, "t_utc_doy": utc}
    if kind == "edr":
        ticks = clock_counter(clock, et)
        known |= {"t_sclk_s": (ticks // TICKS).astype(float), "t_sclk_tick": (ticks % TICKS).astype(float)}
    else:
        known["t_ephem_time"] = et
    _, first = np.unique(utc.astype("U11"), return_index=True)
    paths = []
    for rows in map(slice, first, [*first[1:], len(et)]):
        part = {name: known[name][rows] for name in COLUMNS[kind]}
        paths.append(_write_hour(folder, kind, pass_number, et[rows], utc[rows], part, clock, simulated, version))
    return paths


def clock_counter(clock: Sclk, et: Floats) -> NDArray[np.int64]:
    """Count of the clock nearest to times, ticks of 1/65536 s, within its partition."""
    ticks = clock.to_ticks(et)
    seconds, fraction = clock.format(float(np.rint(ticks[0]))).split("/")[1].split(":")
    return int(seconds) * TICKS + int(fraction) + np.rint(ticks).astype(np.int64) - int(np.rint(ticks[0]))


def _write_hour(
    folder: Path, kind: str, pass_number: int, et: Floats, utc: NDArray[np.str_],
    columns: Mapping[str, NDArray[Any]], clock: Sclk, simulated: bool, version: int,
) -> Path:  # fmt: skip
    first = str(utc[0])
    year, doy, clocked = first[:4], first[5:8], first[9:17].replace(":", "")
    # The archive names an hour by its beginning.
    name = f"MWR{pass_number:02d}{CODES[kind]}{year}{doy}{clocked[:2]}0000_R{len(et):05d}_V{version:02d}"
    volume = folder / VOLUMES[kind]
    path = volume / FOLDERS[kind] / year / f"{year}{doy}" / f"{name}.CSV"
    path.parent.mkdir(parents=True, exist_ok=True)
    decimals = {name: _decimals(kind, name) for name in columns if name != "t_utc_doy"}
    digest = hashlib.md5(header(kind))
    with path.open("wb") as file:
        file.write(header(kind))
        for start in range(0, len(et), BLOCK):
            block = lines({name: values[start : start + BLOCK] for name, values in columns.items()}, decimals)
            digest.update(block)
            file.write(block)
    counts = [clock.format(float(tick)) for tick in clock.to_ticks(et[[0, -1]])]
    start_stop = labels.Times(str(utc[0]), str(utc[-1]), *counts)
    label = write_label(labels.pds3(path.name, kind, len(et), start_stop, digest.hexdigest(), simulated))
    path.with_suffix(".LBL").write_text(label, "ascii", newline="")
    (path.parent / FORMATS[kind]).write_text(write_label(labels.format_file(kind)), "ascii", newline="")
    path.with_suffix(".xml").write_bytes(labels.pds4(path, kind, len(et), start_stop, digest.hexdigest(), simulated))
    return path


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
