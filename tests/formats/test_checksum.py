"""Whether a data file is the one its label describes."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.errors import InputError
from pipeline.formats.checksum import whole_file
from pipeline.formats.pds3 import Quantity, read_label, write_label
from pipeline.formats.pds3_table import read_table
from pipeline.formats.pds3_write import table_object

OBJECT, DATA = table_object({"A": np.arange(6, dtype=">u4"), "B": np.arange(6, dtype=">u2")})
MD5 = hashlib.md5(b"HEAD" + DATA).hexdigest()


def read(folder: Path, data: bytes, *, in_file: bool = False, **stated: Any) -> Path:
    """The data file of a label that states something, with its table in the label or in its FILE object."""
    (folder / "T.DAT").write_bytes(b"HEAD" + data)
    inner = {**stated, "^TABLE": ["T.DAT", Quantity(5, "BYTES")], **OBJECT}
    label = {"PDS_VERSION_ID": "PDS3", **({"FILE": inner} if in_file else inner)}
    (folder / "T.LBL").write_text(write_label(label), "ascii", newline="")
    found = read_label(folder / "T.LBL")
    return whole_file(found, read_table(found))


@pytest.mark.parametrize("stated", [{}, {"MD5_CHECKSUM": MD5}, {"MD5_CHECKSUM": MD5.upper()}, {"MD5_CHECKSUM": "UNK"}])
@pytest.mark.parametrize("in_file", [False, True])
def test_a_whole_file_is_taken(tmp_path: Path, stated: dict[str, str], in_file: bool) -> None:
    assert read(tmp_path, DATA, in_file=in_file, **stated) == tmp_path / "T.DAT"


@pytest.mark.parametrize("in_file", [False, True])
def test_other_bytes_are_refused(tmp_path: Path, in_file: bool) -> None:
    with pytest.raises(InputError, match=r"T\.DAT.*MD5"):
        read(tmp_path, DATA[:-1] + b"\xff", in_file=in_file, MD5_CHECKSUM=MD5)


def test_a_longer_file_is_refused_and_a_shorter_one_is_for_its_reader(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="6 records end at byte 40, the file has 41"):
        read(tmp_path, DATA + b"\0")
    assert read(tmp_path, DATA[:-1], MD5_CHECKSUM=MD5) == tmp_path / "T.DAT"
