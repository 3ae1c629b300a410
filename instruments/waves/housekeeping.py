"""Housekeeping records of Waves, 384 bytes each, with their PDS3 label: reader and writer.

Order of the columns and what the checksum covers are the archive's; the widths within bytes 265 to 320, which are not
public, are this project's (README.md, "Housekeeping"). Reading goes by the label.
"""

from __future__ import annotations

from binascii import crc_hqx
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from instruments.waves.layout import Ints
from pipeline.errors import InputError
from pipeline.formats.defects import corrected
from pipeline.formats.pds3 import read_label, write_label
from pipeline.formats.pds3_table import read_table
from pipeline.formats.pds3_write import write_table

RECORD = 384
CHECKED = slice(258, RECORD)  # what the checksum is of
_COUNTERS = (
    "COMMAND_CRC_ERRS", "COMMAND_IP_SYNC_ERRS", "COMMAND_TYPE_ERRS", "COMMAND_UDP_COUNT", "COMMAND_CRC_COUNT",
    "COMMAND_COUNT", "INPUT_IP_PKT_COUNT", "REF_CLOCKS_MISSED", "MISSING_TIME_MSG", "CLOCK_RESYNC_COUNT", "LOAD_COUNT",
    "LOAD_STATUS", "LOAD_RECORD_STATUS", "CMD_IP_CHECKSUM_ERR_COUNT", "CMD_UDP_CHECKSUM_ERR_COUNT",
)  # fmt: skip
_ANALOGS = (
    "HFR_LOCK", "HFR_LOG_AGC", "HFR_LOG_SA", "WBR_LOCK", "WBR_LOG_AGC", "WBR_LOG_SA", "WVFE_RUN_PERCENT",
    "WVFE_CORE_VOLTAGE", "MEMORY_VOLTAGE", "WVFE_LOGIC_VOLTAGE", "Y180_CORE_VOLTAGE", "EXTERNAL_REF_VOLTAGE",
    "Y180_LOGIC_VOLTAGE", "Y180_RUN_PERCENT", "IEB_STATUS", "POST_ERRORS", "UNREG_ANALOG_SUPPLY_5_5V",
    "UNREG_ANALOG_SUPPLY_NEG_5_5V", "REG_ANALOG_SUPPLY_12V", "REG_ANALOG_SUPPLY_NEG_12V",
    "UNREG_DPU_LOGIC_SUPPLY_3_6V", "UNREG_DPU_CORE_SUPPLY_1_8V", "REG_ANALOG_SUPPLY_15V", "REG_ANALOG_SUPPLY_NEG_15V",
    "REG_ANALOG_SUPPLY_5V", "UNREG_ANALOG_SUPPLY_20V", "UNREG_ANALOG_SUPPLY_NEG_20V", "CMD_DEST_ERROR_COUNT",
)  # fmt: skip
_PLACES: tuple[tuple[str, int, int], ...] = (
    ("ERT_DAYS_SINCE_1958", 1, 2),
    ("ERT_MILLISECONDS", 3, 4),
    ("CRC_CCITT", 257, 2),
    ("TLM_SRC_AND_SEQ", 259, 2),
    ("SCLK_AND_TSF", 261, 4),
    ("MODE_AND_VERSION", 265, 1),
    *((name, 266 + k, 1) for k, name in enumerate(_COUNTERS)),
    ("SCLK_SUBSEC", 281, 2),
    *((name, 283 + k, 1) for k, name in enumerate(_ANALOGS)),
    *(
        place
        for k, which in enumerate(("FIRST", "SECOND", "THIRD", "FOURTH"))
        for place in (
            (f"{which}_MICROPKT_TYPE", 321 + 16 * k, 1),
            (f"{which}_MICROPKT_SEQ", 322 + 16 * k, 1),
            (f"{which}_MICROPKT_TIME", 323 + 16 * k, 2),
        )
    ),
)
COLUMNS = tuple(name for name, _, _ in _PLACES)


def read_housekeeping(label_path: Path) -> tuple[dict[str, NDArray[Any]], Ints]:
    """Columns of a housekeeping file by its label, and the numbers of the records whose checksum is wrong (left out).

    Raises
    ------
    InputError : label or file cannot be used, or no record has a right checksum.
    """
    label, _ = corrected(read_label(label_path))
    table = read_table(label)
    path, start = label.pointer("TABLE")
    missing = [name for name in ("CRC_CCITT", "SCLK_AND_TSF", "SCLK_SUBSEC") if name not in table]
    if missing:
        raise InputError(label_path, f"columns missing: {', '.join(missing)}", "TABLE")
    width = label.need("ROW_BYTES", int, label["TABLE"])
    if width != RECORD:
        raise InputError(label_path, f"records of {width} bytes, not {RECORD}", "ROW_BYTES")
    data = np.memmap(path, np.uint8, "r", start, (table.rows, RECORD)) if table.rows else np.zeros((0, RECORD), "u1")
    crc = np.array([crc_hqx(row.tobytes(), 0) for row in data[:, CHECKED]], np.int64)
    # Nothing but zeros has a right checksum, and no time.
    good = (crc == table["CRC_CCITT"]) & data[:, CHECKED].any(axis=1)
    if not good.any():
        raise InputError(path, "no record has a right checksum")
    return {name: table[name][good] for name in table}, np.flatnonzero(~good)


def write_housekeeping(path: Path, columns: Mapping[str, NDArray[Any]], attributes: Mapping[str, str]) -> None:
    """Write records and label beside each other; columns not given are zero, the checksum is computed."""
    rows = len(columns["SCLK_AND_TSF"])
    values = {name: np.asarray(columns.get(name, np.zeros(rows)), np.int64) for name in COLUMNS}
    described = [
        {"NAME": name, "DATA_TYPE": "MSB_UNSIGNED_INTEGER", "START_BYTE": start, "BYTES": size}
        for name, start, size in _PLACES
    ]
    table = {"INTERCHANGE_FORMAT": "BINARY", "ROWS": rows, "ROW_BYTES": RECORD, "COLUMNS": len(COLUMNS)}
    table |= {"COLUMN": described}
    data = np.frombuffer(write_table(table, values), np.uint8).reshape(rows, RECORD).copy()
    crc = np.array([crc_hqx(row.tobytes(), 0) for row in data[:, CHECKED]], ">u2")
    data[:, 256:258] = crc.view(np.uint8).reshape(rows, 2)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.tobytes())
    head = {"PDS_VERSION_ID": "PDS3", "RECORD_TYPE": "FIXED_LENGTH", "RECORD_BYTES": RECORD, "FILE_RECORDS": rows}
    label = {**head, "^TABLE": path.name, "INSTRUMENT_ID": "WAV", **attributes, "TABLE": table}
    path.with_suffix(".LBL").write_text(write_label(label), "ascii", newline="")


def subseconds(columns: Mapping[str, NDArray[Any]]) -> tuple[Ints, Ints]:
    """Clock seconds of the records, ascending, and what must be added to all clock values there, 1/65536 s."""
    seconds = np.asarray(columns["SCLK_AND_TSF"], np.int64) >> 1
    order = np.argsort(seconds, kind="stable")
    return seconds[order], np.asarray(columns["SCLK_SUBSEC"], np.int64)[order]
