"""The checksum a PDS3 label states of its data file."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

from pipeline.errors import InputError
from pipeline.formats.pds3 import Label
from pipeline.formats.state import file_state


def check_md5(label: Label, data: Path) -> None:
    """Compare a data file with ``MD5_CHECKSUM`` of its label, or of the label's FILE object, if one is stated.

    Raises
    ------
    InputError
        if the file has other bytes, or cannot be read.
    """
    stated = next((b["MD5_CHECKSUM"] for b in (label, *label.objects("FILE")) if "MD5_CHECKSUM" in b), None)
    said = str(stated or "").strip().lower()
    if said and _md5(data, *file_state(data)) != said:
        raise InputError(data, "its MD5 checksum is not the label's: bytes have changed", "MD5_CHECKSUM")


@lru_cache(maxsize=64)
def _md5(path: Path, _modified: int, _size: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()
