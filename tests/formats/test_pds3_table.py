"""PDS3 tables: bytes laid out by hand, the archive's structures, what is wrong in them, and the writer."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.errors import InputError
from pipeline.formats.pds3 import Quantity, read_label, write_label
from pipeline.formats.pds3_table import Table, read_table
from pipeline.formats.pds3_write import table_object, write_table


def column(name: str, kind: str, start: int, size: int, **more: Any) -> dict[str, Any]:
    return {"NAME": name, "DATA_TYPE": kind, "START_BYTE": start, "BYTES": size, **more}


def table(folder: Path, block: dict[str, Any], data: bytes, kind: str = "TABLE", **more: Any) -> Table:
    (folder / "T.DAT").write_bytes(b"HEAD" + data)
    pointer = {f"^{kind}": ["t.dat", Quantity(5, "BYTES")]}
    (folder / "T.LBL").write_text(write_label({"PDS_VERSION_ID": "PDS3", **pointer, kind: block}), newline="")
    return read_table(read_label(folder / "T.LBL"), kind, **more)


def binary(rows: int, width: int, *columns: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"INTERCHANGE_FORMAT": "BINARY", "ROWS": rows, "ROW_BYTES": width, **more, "COLUMN": list(columns)}


def test_binary_types_by_hand(tmp_path: Path) -> None:
    row = struct.pack(">hHf", -2, 65535, 1.5) + struct.pack("<ifd", -3, 0.25, 1e300) + b" abc "
    block = binary(
        2,
        29,
        column("A", "MSB_INTEGER", 1, 2, UNIT="nT", SCALING_FACTOR=0.5, OFFSET=10, MISSING_CONSTANT=-2),
        column("B", "UNSIGNED_INTEGER", 3, 2),
        column("C", "IEEE_REAL", 5, 4),
        column("D", "LSB_INTEGER", 9, 4),
        column("E", "PC_REAL", 13, 4),
        column("F", "PC_REAL", 17, 8),
        column("G", "CHARACTER", 25, 5),
        column("A", "SUN_INTEGER", 3, 2),
    )
    found = table(tmp_path, block, row + row)
    assert [found[n].tolist()[1] for n in "ABCDEFG"] == [-2, 65535, 1.5, -3, 0.25, 1e300, b"abc"]
    assert found["A_2"].tolist() == [-1, -1]
    assert found.columns["A"].unit == "nT"
    assert found.missing("A").all()
    assert np.isnan(found.physical("A")).all()
    assert found.physical("D").tolist() == [-3.0, -3.0]
    assert all(found[n].dtype.isnative for n in found)


def test_prefix_suffix_items_and_nested_containers(tmp_path: Path) -> None:
    inner = column("DATA", "LSB_UNSIGNED_INTEGER", 2, 4, ITEMS=2, ITEM_BYTES=2)
    middle = {"NAME": "M", "START_BYTE": 1, "BYTES": 6, "REPETITIONS": 3, "COLUMN": inner}
    outer = {"NAME": "O", "START_BYTE": 3, "BYTES": 20, "REPETITIONS": 2, "CONTAINER": middle}
    block = binary(2, 42, column("ID", "MSB_UNSIGNED_INTEGER", 1, 2), ROW_PREFIX_BYTES=3, ROW_SUFFIX_BYTES=1)
    block["CONTAINER"] = outer
    data = np.zeros((2, 46), np.uint8)
    expected = np.zeros((2, 2, 3, 2), int)
    for r, o, m, i in np.ndindex(2, 2, 3, 2):
        expected[r, o, m, i] = value = 1000 * r + 100 * o + 10 * m + i + 1
        at = 3 + 2 + 20 * o + 6 * m + 1 + 2 * i  # prefix, ID, outer, middle, its second byte, item
        data[r, at : at + 2] = value & 255, value >> 8
    data[:, 4] = 7
    found = table(tmp_path, block, data.tobytes())
    assert found["ID"].tolist() == [7, 7]
    np.testing.assert_array_equal(found["DATA"], expected)
    np.testing.assert_array_equal(found.part(1, 2)["DATA"], expected[1:])


def test_bit_columns(tmp_path: Path) -> None:
    bits = [
        {"NAME": "STATE", "BIT_DATA_TYPE": "MSB_UNSIGNED_INTEGER", "START_BIT": 1, "BITS": 3},
        {"NAME": "NADIR_OFFSET_SIGN", "BIT_DATA_TYPE": "MSB_UNSIGNED_INTEGER", "START_BIT": 15, "BITS": 1},
    ]
    flags = column("FLAGS", "LSB_BIT_STRING", 1, 2, BIT_COLUMN=bits)
    data = np.array([0b1010000000000001, 0b0110000000000010], "<u2").tobytes()
    assert table(tmp_path, binary(2, 2, flags), data)["STATE"].tolist() == [5, 3]
    assert table(tmp_path, binary(2, 2, flags), data)["NADIR_OFFSET_SIGN"].tolist() == [0, 1]


def test_format_files_and_the_wrong_row_bytes_of_the_archive(tmp_path: Path) -> None:
    (tmp_path / "LABEL").mkdir()
    (tmp_path / "T.DAT").write_bytes(np.arange(672, dtype="<i2").tobytes())
    text = write_label({"COLUMN": column("SPECTRUM", "LSB_INTEGER", 1, 672, ITEMS=336, ITEM_BYTES=2)})
    (tmp_path / "LABEL/S.FMT").write_text(text.removesuffix(f"{'END':<78}\r\n"), newline="")
    block = {"INTERCHANGE_FORMAT": "BINARY", "ROWS": 2, "ROW_BYTES": 512, "COLUMNS": 336, "^STRUCTURE": "s.fmt"}
    (tmp_path / "T.LBL").write_text(write_label({"^TABLE": "T.DAT", "TABLE": block}), newline="")
    with pytest.raises(InputError, match=r"'s\.fmt', which is not in its folder"):
        read_table(read_label(tmp_path / "T.LBL"))
    label = read_label(tmp_path / "T.LBL", structures=tmp_path / "LABEL")
    with pytest.raises(InputError, match=r"'SPECTRUM' ends at byte 672 of rows of 512"):
        read_table(label)
    (tmp_path / "T.LBL").write_text(write_label({"^TABLE": "T.DAT", "TABLE": {**block, "ROW_BYTES": 672}}), newline="")
    found = read_table(read_label(tmp_path / "T.LBL", structures=tmp_path / "LABEL"))
    np.testing.assert_array_equal(found["SPECTRUM"], np.arange(672).reshape(2, 336))
    (tmp_path / "LABEL/S.FMT").write_text('^STRUCTURE = "S.FMT"\nEND\n')
    with pytest.raises(InputError, match="circle"):
        read_table(label)


ROWS = (
    b"  2017 298 00 00 00 576 298.000006667       -12.35  1.\r\n"
    b"  2017 298 00 00 01 576 298.000018241     99999.99  2.\r\n"
)
STS = {
    "INTERCHANGE_FORMAT": "ASCII",
    "ROWS": 2,
    "ROW_BYTES": 56,
    "COLUMN": [
        column("UTC", "CHARACTER", 3, 21),
        column("DAY", "ASCII_REAL", 25, 13, FORMAT="F13.9"),
        column("BX", "ASCII_REAL", 39, 12, FORMAT="F12.2", MISSING_CONSTANT=99999.99),
        column("RANGE", "ASCII_REAL", 52, 3, FORMAT="F3.0"),
    ],
}


def test_text_table(tmp_path: Path) -> None:
    found = table(tmp_path, STS, ROWS)
    assert found["UTC"].tolist() == [b"2017 298 00 00 00 576", b"2017 298 00 00 01 576"]
    assert found["DAY"].tolist() == [298.000006667, 298.000018241]
    assert found.physical("BX")[0] == -12.35
    assert found.missing("BX").tolist() == [False, True]
    assert found["RANGE"].tolist() == [1, 2]


def test_unreadable_numbers_are_missing_and_counted(tmp_path: Path) -> None:
    damaged = ROWS.replace(b"    99999.99", b"    *****   ").replace(b"298.000018241", b"             ")
    found = table(tmp_path, STS, damaged)
    assert found.missing("BX").tolist() == [False, True]
    assert found.unreadable == {"BX": 1}
    assert np.isnan(found["DAY"][1])
    with pytest.raises(InputError, match=r"T\.DAT: column 'BX': 2 of 2 values are no numbers"):
        table(tmp_path, STS, damaged.replace(b"-12.35", b"--12.3"))["BX"]


def test_file_size_against_the_label(tmp_path: Path) -> None:
    found = table(tmp_path, STS, ROWS[:-10])
    assert (found.rows, found.truncated) == (1, 1)
    assert len(found["DAY"]) == 1
    with pytest.raises(InputError, match="2 rows of 56 bytes from byte 4 need 116 bytes, the file has 54"):
        table(tmp_path, STS, ROWS[:50])
    with pytest.raises(InputError, match="need 56000000000000000004 bytes"):
        table(tmp_path, {**STS, "ROWS": 10**18}, ROWS)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"DATA_TYPE": "VAX_REAL"}, "VAX_REAL of 4 bytes is not known"),
        ({"DATA_TYPE": "IEEE_REAL", "BYTES": 3}, "IEEE_REAL of 3 bytes is not known"),
        ({"START_BYTE": 0}, "START_BYTE is 0"),
        ({"START_BYTE": -5}, "START_BYTE is -5"),
        ({"BYTES": "many"}, "BYTES is 'many'"),
        ({"ITEMS": 10**9, "ITEM_BYTES": 4, "ITEM_OFFSET": 1}, "items overlap"),
        ({"ITEMS": 10**9, "ITEM_BYTES": 4}, "ends at byte 4000000000 of rows of 4"),
    ],
)
def test_impossible_columns(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    block = binary(1, 4, {**column("X", "IEEE_REAL", 1, 4), **change})
    with pytest.raises(InputError, match=said):
        table(tmp_path, block, bytes(4))


def test_impossible_tables(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no columns"):
        table(tmp_path, {"INTERCHANGE_FORMAT": "BINARY", "ROWS": 1, "ROW_BYTES": 4}, bytes(4))
    with pytest.raises(InputError, match="NOTHING: BINARY or ASCII"):
        table(tmp_path, {"ROWS": 1, "ROW_BYTES": 4}, bytes(4))
    many = {"NAME": "C", "START_BYTE": 1, "BYTES": 2, "REPETITIONS": 10**12}
    many["COLUMN"] = column("X", "MSB_INTEGER", 1, 2)
    with pytest.raises(InputError, match="of rows of 4"):
        table(tmp_path, {**binary(1, 4), "CONTAINER": many}, bytes(4))
    many["COLUMN"] = column("X", "MSB_INTEGER", 2, 2)
    with pytest.raises(InputError, match="beyond its container"):
        table(tmp_path, {**binary(1, 4), "CONTAINER": many}, bytes(4))
    every = [column(f"X{k}", "MSB_INTEGER", 1, 4) for k in range(9)]
    with pytest.raises(InputError, match="columns of 36 bytes in rows of 4"):
        table(tmp_path, binary(1, 4, *every), bytes(4))


SHEET = {
    "ROWS": 3,
    "FIELDS": 3,
    "FIELD_DELIMITER": "COMMA",
    "FIELD": [
        {"NAME": "UTC", "DATA_TYPE": "DATE", "BYTES": 21},
        {"NAME": "COUNT", "DATA_TYPE": "ASCII_INTEGER", "BYTES": 6},
        {"NAME": "T", "DATA_TYPE": "ASCII_REAL", "BYTES": 9, "UNIT": "K", "ITEMS": 2, "MISSING_CONSTANT": -999.0},
    ],
}


def test_spreadsheet(tmp_path: Path) -> None:
    data = b'2024-166T03:00:00.100,12, 0.1,2.5E2\r\n"2024-166T03:00:01.100",13,-999.0,nan\r\n2024-166T03,14,,1\r\n'
    found = table(tmp_path, SHEET, data, "SPREADSHEET")
    assert found["UTC"].tolist() == [b"2024-166T03:00:00.100", b"2024-166T03:00:01.100", b"2024-166T03"]
    assert found["COUNT"].tolist() == [12, 13, 14]
    assert found["COUNT"].dtype == np.int64
    np.testing.assert_array_equal(found.physical("T"), [[0.1, 250.0], [np.nan, np.nan], [np.nan, 1.0]])
    assert found.part(1, 3)["COUNT"].tolist() == [13, 14]
    assert found.unreadable == {}


def test_spreadsheet_defects(tmp_path: Path) -> None:
    good = b"a,1,2,3\r\nb,2,x,4\r\nc,3,4,5"
    found = table(tmp_path, SHEET, good, "SPREADSHEET")
    assert found.unreadable == {"T": 1}
    np.testing.assert_array_equal(found["T"], [[2, 3], [np.nan, 4], [4, 5]])
    short = table(tmp_path, SHEET, good[:-2], "SPREADSHEET")
    assert (short.rows, short.truncated) == (2, 1)
    with pytest.raises(InputError, match=r"row 2 of the table: 3 fields, 4 expected"):
        table(tmp_path, SHEET, good.replace(b"x,", b""), "SPREADSHEET")
    with pytest.raises(InputError, match="3 rows expected from byte 4 on, the file has 1"):
        table(tmp_path, SHEET, good[:8], "SPREADSHEET")
    with pytest.raises(InputError, match="field 'COUNT': 2 of 3 values are no numbers"):
        table(tmp_path, SHEET, b"a,q,2,3\nb,q,2,4\nc,3,4,5\n", "SPREADSHEET")


def test_text_writer_gives_the_rows_of_the_archive(tmp_path: Path) -> None:
    found = table(tmp_path, STS, ROWS)
    written = write_table(STS, {name: found[name] for name in found})
    assert written == ROWS.replace(b" 1.\r", b"  1\r").replace(b" 2.\r", b"  2\r")
    with pytest.raises(ValueError, match=r"BX: '123456789012\.00' is wider than 12 bytes"):
        write_table(STS, {**{n: found[n] for n in found}, "BX": [123456789012.0, 0]})


@pytest.mark.parametrize("order", [">", "<"])
def test_binary_writer_and_reader_are_inverse(tmp_path: Path, order: Any) -> None:
    rng = np.random.default_rng(5)
    columns = {
        "UTC": np.array([b"2017-033T11:40:03.870", b"2017-033T11:40:04.870"]),
        "COUNT": rng.integers(0, 2**32, 2, np.uint32),
        "SIGNED": rng.integers(-128, 128, 2).astype(np.int8),
        "FLUX": rng.normal(size=(2, 4, 3, 5)).astype(np.float32),
        "E": rng.normal(size=(2, 6)),
    }
    block, data = table_object(columns, {"E": "eV"}, order)
    found = table(tmp_path, block["TABLE"], data)
    assert list(found) == list(columns)
    for name, value in columns.items():
        np.testing.assert_array_equal(found[name], value)
    assert found.columns["E"].unit == "eV"


def test_bit_columns_are_written(tmp_path: Path) -> None:
    bits = [{"NAME": f"B{k}", "START_BIT": s, "BITS": n} for k, (s, n) in enumerate([(1, 3), (4, 1), (9, 8)])]
    block = binary(
        3, 3, column("ID", "MSB_UNSIGNED_INTEGER", 1, 1), column("W", "MSB_BIT_STRING", 2, 2, BIT_COLUMN=bits)
    )
    columns = {"ID": [1, 2, 3], "B0": [0, 5, 7], "B1": [1, 0, 1], "B2": [255, 0, 18]}
    data = write_table(block, columns)
    assert data == bytes([1, 0b00010000, 255, 2, 0b10100000, 0, 3, 0b11110000, 18])
    found = table(tmp_path, block, data)
    assert {n: found[n].tolist() for n in columns} == columns
    with pytest.raises(ValueError, match="does not fit 3 bits"):
        write_table(block, {**columns, "B0": [8, 0, 0]})


@pytest.mark.real
def test_real_magnetometer_columns(real_data: Path, tmp_path: Path) -> None:
    text = (real_data / "mag/fgm_jno_l3_2017298pc_r1s_v01.lbl").read_bytes()
    (tmp_path / "fgm.lbl").write_bytes(text.replace(b"85790 ", b"2     "))
    row = b"  2017 298  0  0  0 576 298.000006667" + b"%14.2f%13.2f%13.2f" % (-1.25, 2, 3) + b"%4.0f" % 1
    row = (row + b"  " + b"%14.3f%15.3f%15.3f" % (1e6, -2.5, 3)).ljust(127) + b"\r\n"
    (tmp_path / "FGM_JNO_L3_2017298PC_R1S_V01.STS").write_bytes(bytes(8465) + row + row)
    found = read_table(read_label(tmp_path / "fgm.lbl"))
    assert found["SAMPLE UTC"][0] == b"2017 298  0  0  0 576"
    assert found["DECIMAL DAY"][1] == 298.000006667
    assert (found["BX PLANETOCENTRIC"][0], found["BZ PLANETOCENTRIC"][0], found["INSTRUMENT RANGE"][0]) == (-1.25, 3, 1)
    assert found.columns["X"].unit == "KILOMETERS"
