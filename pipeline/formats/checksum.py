"""Whether a data file is the one its PDS3 label describes: length and checksum."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

from pipeline.errors import InputError
from pipeline.formats.pds3 import Label
from pipeline.formats.pds3_table import Table
from pipeline.formats.state import file_state

# None, and what labels say in place of a value (PDS Standards Reference 3.8, ch. 17).
NOT_STATED = ("", "n/a", "unk", "null")


def row_width(label: Label, pointer: str = "TABLE") -> int:
    """Bytes of a row by the label's table, in the label or its FILE object."""
    return int(next(b[pointer] for b in (label, *label.objects("FILE")) if pointer in b)["ROW_BYTES"])


def whole_file(label: Label, table: Table, pointer: str = "TABLE") -> Path:
    """Data file that a binary table ends, if it ends there and has the label's checksum, where one is stated.

    A file that is cut short has another checksum, of course; what is left of it is read (`Table.truncated`).

    Raises
    ------
    InputError
        if the file is longer than its label says, has other bytes, or cannot be read.
    """
    data, start = label.pointer(pointer)
    end, size = start + table.rows * row_width(label, pointer), data.stat().st_size
    if not table.truncated:
        if size > end:
            raise InputError(data, f"its label's {table.rows} records end at byte {end}, the file has {size}")
        check_md5(label, data)
    return data


def check_md5(label: Label, data: Path) -> None:
    """Compare a data file with ``MD5_CHECKSUM`` of its label, or of its FILE or IMAGE object, if one is stated.

    Raises
    ------
    InputError
        if the file has other bytes, or cannot be read.
    """
    blocks = (label, *label.objects("FILE"), *label.objects("IMAGE"))
    stated = next((b["MD5_CHECKSUM"] for b in blocks if "MD5_CHECKSUM" in b), None)
    said = str(stated or "").strip().lower()
    if said not in NOT_STATED and _md5(data, *file_state(data)) != said:
        raise InputError(data, "its MD5 checksum is not the label's: bytes have changed", "MD5_CHECKSUM")


@lru_cache(maxsize=64)
def _md5(path: Path, _modified: int, _size: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()
