"""Writer of level 2 and level 3 products with their labels; the readers are `raw` and `level3`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from instruments.jade.layout import IDP_HEADER, KINDS, SYNC, Objects, level2, level3, rjw_comments, row_bytes
from instruments.jade.raw import SIMULATED
from pipeline.clock import TICKS, Sclk, format_utc
from pipeline.formats.pds3 import COLUMNS, Block, write_label
from pipeline.formats.pds3_write import table_object

LEVEL_2, LEVEL_3 = "JNO-J/SW-JAD-2-UNCALIBRATED-V1.0", "JNO-J/SW-JAD-3-CALIBRATED-V1.0"
UNITS_2: dict[str, str] = {"TIMESTAMP_WHOLE": "s", "ACCUMULATION_TIME": "s", "DATA": "COUNTS/ACCUMULATION"}
UNITS_3: dict[str, str] = {
    "DATA": "COUNTS/SECOND", "DATA_SIGMA": "COUNTS/SECOND", "BACKGROUND": "COUNTS/SECOND",
    "BACKGROUND_SIGMA": "COUNTS/SECOND", "MCP_VOLTAGE": "V", "MAG_VECTOR": "nT", "ACCUMULATION_TIME": "s",
    **{f"DIM1_E{s}": "eV/q" for s in ("", "_UPPER", "_LOWER")},
    **{f"DIM2_{n}{s}": "deg" for n in ("ELEVATION", "AZIMUTH_DESPUN") for s in ("", "_UPPER", "_LOWER")},
}  # fmt: skip


def folder_of(root: Path, dataset: str, day: str, directory: str) -> Path:
    """Folder of a product in an archive below `root`; `day` is YYYYDDD."""
    return root / dataset.replace("/", "_") / "DATA" / day[:4] / day / directory


def write_level2(
    root: Path,
    kind: str,
    start: NDArray[np.float64],
    columns: Mapping[str, ArrayLike],
    clock: Sclk,
    *,
    version: int = 1,
) -> Path:
    """Write one product of level 2 and its label below `root`; `raw.open_level2` opens it.

    Parameters
    ----------
    kind : one of `layout.KINDS`.
    start : et at which each record's collection begins; its clock count is rounded to a tick.
    columns : the objects that are known; others get the values of a nominal record.

    Returns
    -------
    Path
        of the label.
    """
    counter = counts_of(clock, start)
    utc = np.char.encode(format_utc(clock.to_et(clock.encode(counter)), 3, day_of_year=True), "ascii")
    shape, n = KINDS[kind].shape, len(start)
    nominal: dict[str, Any] = {
        "SYNC": SYNC, "DPID_COUNT": np.arange(n) % 256, "COMPRESSION": 0, "PACKETID": KINDS[kind].packet,
        "IDPLENGTH": IDP_HEADER + 4 * int(np.prod(shape)), "TIMESTAMP_WHOLE": counter // TICKS,
        "TIMESTAMP_SUB": counter % TICKS, "UTC": utc, "TABLES_VERSION": 4.0, "FSW_VERSION": 4.1,
        "COMPRESSION_RATIO": 1.0, "LEAP_SECOND_VERSION": 11, "SCLKSCET_VERSION": 61,
    }  # fmt: skip
    objects = level2(kind)
    day = format_utc(float(start[0]), 0, day_of_year=True)
    name = f"JAD_L20_{kind}_{day[:4]}{day[5:8]}"
    folder = folder_of(root, LEVEL_2, day[:4] + day[5:8], KINDS[kind].folder)
    return write_product(folder, f"{name}_V{version:02d}", objects, [({**nominal, **columns}, n)], LEVEL_2, UNITS_2)


def counts_of(clock: Sclk, et: NDArray[np.float64]) -> NDArray[np.int64]:
    """Ticks of the clock's counter nearest to times of one partition."""
    ticks = np.rint(clock.to_ticks(et)).astype(np.int64)
    seconds, fraction = clock.format(float(ticks[0]), partition=False).split(":")
    return ticks - ticks[0] + int(seconds) * TICKS + int(fraction)


def write_level3(
    folder: Path, kind: str, day: str, columns: Mapping[str, ArrayLike], number: int, *, version: int
) -> Path:
    """Write one ``CNT`` product of level 3, files of version 2 to 4, and its label; `level3.open_level3` opens it.

    Parameters
    ----------
    day : YYYYDDD.
    columns : the objects that are known; others are 0.
    """
    name = f"JAD_L30_{kind}_CNT_{day}_V{version:02d}"
    return write_product(folder, name, level3(kind, version), [(columns, number)], LEVEL_3, UNITS_3)


def write_product(
    folder: Path, name: str, objects: Objects, blocks: Iterable[tuple[Mapping[str, ArrayLike], int]], dataset: str,
    units: Mapping[str, str], description: str = SIMULATED,
) -> Path:  # fmt: skip
    """Write data and label, with the comments the archive's labels have.

    Parameters
    ----------
    blocks : the records, some at a time: objects and the number of records; what a block lacks is 0.
    """
    folder.mkdir(parents=True, exist_ok=True)
    digest, number = hashlib.md5(), 0
    table = Block([])
    with (folder / f"{name}.DAT").open("wb") as file:
        for columns, n in blocks:
            described, data = table_object(_records(objects, columns, n), units, "<")
            table = described["TABLE"]
            file.write(data)
            digest.update(data)
            number += n
    rows = Block([(key, number if key == "ROWS" else value) for key, value in table.pairs])
    pairs = {
        "PDS_VERSION_ID": "PDS3", "DATA_SET_ID": dataset, "STANDARD_DATA_PRODUCT_ID": name[4:-12],
        "PRODUCT_ID": name[:-4], "PRODUCT_VERSION_ID": name[-2:], "PRODUCT_TYPE": "DATA",
        "PROCESSING_LEVEL_ID": name[5], "INSTRUMENT_HOST_NAME": "JUNO", "INSTRUMENT_ID": "JAD",
        "DESCRIPTION": description, "RECORD_TYPE": "FIXED_LENGTH", "RECORD_BYTES": row_bytes(objects),
        "FILE_RECORDS": number, "MD5_CHECKSUM": digest.hexdigest(), "^TABLE": f"{name}.DAT", "TABLE": rows,
    }  # fmt: skip
    comments = "".join(f"{line:<{COLUMNS}}\r\n" for line in rjw_comments(objects))
    head, mark, rest = write_label(pairs).partition("OBJECT                         = TABLE")
    path = folder / f"{name}.LBL"
    path.write_bytes((head + comments + mark + rest).encode("ascii"))
    return path


def _records(objects: Objects, columns: Mapping[str, ArrayLike], number: int) -> dict[str, NDArray[Any]]:
    """All objects of some records; those that are not given are 0."""
    arrays = {}
    for key, (kind, shape) in objects.items():
        value = np.asarray(columns.get(key, np.zeros((), kind)))
        array = np.zeros((number, *shape), kind)
        array[...] = value.reshape(value.shape + (1,) * (array.ndim - value.ndim)) if value.ndim == 1 else value
        arrays[key] = array
    return arrays
