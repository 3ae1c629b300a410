"""PDS3 labels: real ones, the layouts the archive uses, hostile ones, and the writer."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import InputError
from pipeline.formats.pds3 import Block, Label, Quantity, ValueSet, parse, read_label, write_label

HAND = """PDS_VERSION_ID = PDS3\r
RECORD_TYPE = FIXED_LENGTH\r
record_bytes = 100\r
/* an "odd comment */\r
^HEADER = 3\r
^IMAGE = ("DATA.IMG", 5)\r
^TABLE = ("DATA.IMG", 8466 <BYTES>)\r
^QUBE = "data.img"\r
EXPOSURE = 3.2 <ms>\r
FILTER_NAME = ('BLUE', 'RED')\r
VECTOR = (1.5 <km>, -2 <km>,\r
          3E+2 <km>)\r
KERNELS = {"b.tf", "a.ti"}\r
MASK = 2#1010#\r
NOTHING = NULL\r
START_TIME = 2016-12-31T23:59:60.500\r
STOP_TIME = 2017-001T00:00:00.000\r
DESCRIPTION = "two  lines\r
   of /* text */ "\r
OBJECT = TABLE\r
  OBJECT = COLUMN\r
    NAME = A\r
  END_OBJECT = COLUMN\r
  OBJECT = COLUMN\r
    NAME = B\r
  END_OBJECT\r
END_OBJECT = TABLE\r
GROUP = NAMES\r
  NAME = N\r
END_GROUP = NAMES\r
END\r
"""


@pytest.fixture
def label(tmp_path: Path) -> Label:
    path = tmp_path / "HAND.LBL"
    path.write_bytes(HAND.encode() + b"\x00\xffbinary = (\r\nEND\r\n")
    (tmp_path / "Data.img").write_bytes(b"")
    return read_label(path)


def test_values_of_every_kind(label: Label) -> None:
    assert label["record_bytes"] == label["RECORD_BYTES"] == 100
    assert label["EXPOSURE"] == Quantity(3.2, "ms")
    assert label["VECTOR"] == [Quantity(1.5, "km"), Quantity(-2, "km"), Quantity(300.0, "km")]
    assert label["FILTER_NAME"] == ["BLUE", "RED"]
    assert label["KERNELS"] == ValueSet(("b.tf", "a.ti"))
    assert label["MASK"] == 10
    assert label["NOTHING"] is None
    assert label.times == ("2016-12-31T23:59:60.500", "2017-001T00:00:00.000")
    assert label["DESCRIPTION"] == "two lines of /* text */"
    assert [c["NAME"] for c in label["TABLE"].objects("column")] == ["A", "B"]
    assert label["NAMES"].group
    assert label.size == len(HAND)
    assert "odd comment" in label.text


def test_pointers_in_records_and_bytes(label: Label) -> None:
    assert label.pointer("HEADER") == (label.path, 200)
    assert label.pointer("^image") == (label.path.parent / "Data.img", 400)
    assert label.pointer("TABLE")[1] == 8465
    assert label.pointer("QUBE") == (label.path.parent / "Data.img", 0)


@pytest.mark.parametrize(
    ("pointer", "said"),
    [
        ('"../secret"', "not the name of a file"),
        ('"/etc/passwd"', "not the name of a file"),
        (r'"..\\x"', "not the name of a file"),
        ('"gone.img"', "not in its folder"),
        ('("x.lbl", 0)', "no location"),
        ('("x.lbl", -3 <BYTES>)', "no location"),
        ('("x.lbl", 1.5)', "no location"),
        ('("x.lbl", 3 <METRES>)', "no location"),
        ('("x.lbl", 1, 2)', "no location"),
        ('("x.lbl", 7)', "RECORD_BYTES: keyword missing"),
        ("()", "no location"),
    ],
)
def test_bad_pointers(tmp_path: Path, pointer: str, said: str) -> None:
    path = tmp_path / "x.lbl"
    path.write_text(f"^IMAGE = {pointer}\nEND\n")
    with pytest.raises(InputError, match=said):
        read_label(path).pointer("IMAGE")


@pytest.mark.parametrize(
    "text",
    [
        "OBJECT = A\r\n" * 5000,
        "A = (" * 5000,
        'A = "' + "x" * 10000,
        "/*" * 50000,
        "\x00\x01garbage" * 100,
        "A = B = C = = D",
        "OBJECT = TABLE\nEND_OBJECT = COLUMN\nEND\n",
        "A = 5 <m\nEND",
        "= 3",
    ],
)
def test_hostile_labels(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.lbl"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=r"bad\.lbl"):
        read_label(path)


@given(st.text(alphabet="AB=(){}\",<>/*#'-^\n\r 01:.\x00é", max_size=200))
@settings(max_examples=200, deadline=None)
def test_no_text_escapes_as_another_error(text: str) -> None:
    with contextlib.suppress(InputError):
        parse(text)


def test_unreadable_and_too_long(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_label(tmp_path / "none.lbl")
    path = tmp_path / "huge.img"
    path.write_bytes(b"A = 1\r\n" + b"\x00" * (1 << 21))
    with pytest.raises(InputError, match="no END of a label within 1048576 bytes"):
        read_label(path)


def test_need_says_what_is_wrong(label: Label) -> None:
    with pytest.raises(InputError, match=r"HAND\.LBL, LINES: keyword missing"):
        label.need("LINES", int)
    with pytest.raises(InputError, match=r"RECORD_TYPE: int expected, not 'FIXED_LENGTH'"):
        label.need("RECORD_TYPE", int)


def test_writer_gives_back_what_it_was_given() -> None:
    wrote = {
        "PDS_VERSION_ID": "PDS3",
        "^IMAGE": ["A.IMG", Quantity(17, "BYTES")],
        "START_TIME": "2016-240T12:00:00.123",
        "PRODUCT_VERSION_ID": "01",
        "ODD": ["END", "null", "", "N/A", -1.5e-300, None, 7],
        "EMPTY": [],
        "DESCRIPTION": "words " * 60 + "end",
        "SPICE_FILE_NAME": ValueSet(f"kernel_number_{k}.bsp" for k in range(9)),
        "TABLE": {"ROWS": 3, "COLUMN": [{"NAME": "A"}, {"NAME": "B", "UNIT": "nT"}]},
    }
    text = write_label(wrote)
    assert all(len(line) == 78 and line.isascii() for line in text.split("\r\n")[:-1])
    back = Block(parse(text))
    for key in ("^IMAGE", "START_TIME", "PRODUCT_VERSION_ID", "ODD", "EMPTY", "DESCRIPTION", "SPICE_FILE_NAME"):
        assert back[key] == wrote[key], key
    assert [dict(c) for c in back["TABLE"].objects("COLUMN")] == wrote["TABLE"]["COLUMN"]
    assert write_label(back) == text


@pytest.mark.parametrize("value", ['say "no"', "two  spaces", "naïve", float("nan"), True, object()])
def test_writer_refuses_what_a_label_cannot_hold(value: object) -> None:
    with pytest.raises(ValueError, match="label"):
        write_label({"A": value})


@pytest.mark.real
def test_real_labels(real_data: Path) -> None:
    files = sorted((*real_data.glob("*/*.lbl"), *real_data.glob("*/*.LBL")))
    assert len(files) == 7
    for file in files:
        label = read_label(file)
        assert Block(parse(write_label(label))) == Block(label.pairs)


@pytest.mark.real
def test_real_magnetometer_label(real_data: Path) -> None:
    label = read_label(real_data / "mag/fgm_jno_l3_2017298pc_r1s_v01.lbl")
    assert label["^TABLE"] == ["fgm_jno_l3_2017298pc_r1s_v01.sts", Quantity(8466, "BYTES")]
    assert label["PRODUCT_VERSION_ID"] == "01"
    assert label["SPICE_FILE_NAME"][0] == "juno_rec_pj09b_171025_171120_180120a.tm"
    assert len(label["SPICE_FILE_NAME"]) == 19
    table = label["table"]
    assert (table["ROWS"], table["ROW_BYTES"]) == (85790, 129)
    assert [c["START_BYTE"] for c in table.objects("COLUMN")] == [3, 25, 40, 53, 66, 79, 84, 99, 114]
    with pytest.raises(InputError, match="not in its folder"):
        label.pointer("TABLE")


@pytest.mark.real
def test_real_camera_and_spectrometer_labels(real_data: Path) -> None:
    camera = read_label(real_data / "junocam/JNCR_2024134_61T00209_V01.LBL")
    assert camera["INTERFRAME_DELAY"] == Quantity(0.375, "s")
    assert camera["FILTER_NAME"] == ["BLUE", "RED"]
    assert camera["IMAGE"]["SAMPLE_BIT_MASK"] == 65535
    assert camera["RATIONALE_DESC"].startswith("Marble movie outbound imaging - partial (relative")
    jiram = read_label(real_data / "jiram/JIR_IMG_RDR_2017033T114006_V02.LBL")
    assert jiram["QUATERNION"] == [0.27929, -0.65052, -0.64137, -0.29576]
    assert jiram["SC_SUN_POSITION_VECTOR"][1] == Quantity(-40605.3831, "km")
    assert jiram["M_BAND_PARAMETERS"]["HORIZONTAL_PIXEL_SCALE"] == Quantity(27690.6986, "m/pixel")
    assert jiram["FILE"]["IMAGE"]["SAMPLE_TYPE"] == "IEEE_REAL"
    with pytest.raises(InputError, match=r"JIR_IMG_RDR_2017033T114006_V02\.IMG"):
        jiram.pointer("IMAGE")


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "text",
    [
        "OBJECT = T\n  BYTES = 4 = COLUMN\nEND_OBJECT = T\nEND\n",
        "OBJECT = T\n" + "OBJECT = COLUMN\n A = 1\n B = X\nEND_OBJECT = COLUMN\n" * 40 + "= T\nEND_OBJECT = T\nEND\n",
    ],
    ids=["a number before an equals sign", "a block before an equals sign"],
)
def test_statements_cut_in_two_are_refused_at_once(text: str) -> None:
    with pytest.raises(InputError):
        parse(text)
