"""Raw products: written and read back, the LOG table bit by bit, damaged files, and the mission's own label."""

from __future__ import annotations

import shutil
import struct
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from jiram_scene import CLOCK, granules_below

from instruments.jiram import layout, raw
from instruments.jiram.raw_write import Acquisition, log_row, write_acquisition
from pipeline.clock import parse_utc
from pipeline.errors import InputError
from pipeline.formats.pds3 import read_label

RNG = np.random.default_rng(7)
START = parse_utc("2017-02-02T11:40:03.870")


def acquisition(lines: int, mode: int, *, width: int = 432, kind: int = layout.SCIENCE, **log: int) -> Acquisition:
    counts = RNG.integers(-30, 16384, (lines, width)).astype(np.int16)
    return Acquisition(START, 0.012, counts, mode, kind, 4, 2, 13, log)


def write(root: Path, a: Acquisition, channel: str = "img") -> Path:
    write_acquisition(root, a, channel, CLOCK)
    return next(root.rglob(f"JIR_{channel.upper()}_EDR*.LBL"))


@pytest.mark.parametrize(("lines", "mode", "bands"), [(256, 11, "LM"), (128, 21, "M"), (128, 31, "L")])
def test_images_come_back(tmp_path: Path, lines: int, mode: int, bands: str) -> None:
    a = acquisition(lines, mode, EN_DIS_SUB=0, ROW_BACK_SUBTRACTION=1, COMP_STATUS=1, MAX_PIXEL_JPEG=9000)
    granule = raw.IMAGE.open(write(tmp_path, a), CLOCK)
    data = raw.read_images([granule], None, CLOCK)
    present = data["present"].values[0].tolist()
    assert present == [band in bands for band in "LM"]
    assert data["counts"].values[0][present].tobytes() == a.counts.tobytes()
    assert not data["lost"].any()
    assert data["exposure"].values[0] == data["exposure_log"].values[0] == 0.012
    assert data["et"].values[0] == pytest.approx(START, abs=1e-6)
    assert (data["subtracted"].values[0], data["compressed"].values[0]) == (1, True)
    assert granule.id == "jir_img_2017033t114006"
    assert "simulated" in data.attrs


@pytest.mark.parametrize(("lines", "mode"), [(256, 11), (64, 12), (16, 3)])
def test_spectra_come_back_though_the_label_says_512_bytes(tmp_path: Path, lines: int, mode: int) -> None:
    a = acquisition(lines, mode, width=336, kind=layout.BACKGROUND)
    path = write(tmp_path, a, "spe")
    assert "= 512" in path.read_text()
    data = raw.read_spectra([raw.SPECTRUM_BACKGROUND.open(path, CLOCK)], None, CLOCK)
    assert data["counts"].values[0, :lines].tobytes() == a.counts.tobytes()
    assert data["slit_lines"].values.tolist() == [lines]


def test_words_of_a_log_table_are_where_the_document_has_them() -> None:
    """The row built a second time, byte by byte as the table of the SIS says."""
    fields = {
        "COUNTER": 0x0102,
        "ACQ_DURATION": 27,
        "ACQ_REPETITION": 3,
        "TDELAY": 77,
        "NADIR_OFFSET": 1234,
        "SUBFRAME_COUNT": 5,
        "WARN_DATATION_STEP": 1,
        "COMP_STATUS": 2,
        "SUBFRAME_TYPE": 3,
        "ROW_BACK_SUBTRACTION": 1,
        "CR_ROW": 9,
        "MIN_PIXEL_JPEG": 0xFFF0,
        "MAX_PIXEL_JPEG": 16206,
        "BKG_REPETITION": 10,
        "EN_DIS_SUB": 2,
        "BKG_RN": 5,
        "EN_DIS_DOU_SCI": 6,
        "WIN1_X": 1,
        "WIN2_Y": 4,
        "DET_TEMP": 7500,
        "STATUS_DET": 5,
        "STATUS_GAIN": 1,
        "NADIR_OFFSET_SIGN": 1,
        "DIFFUSER_TEMP": 8001,
        "M_MOTOR_START_POS": 16380,
        "LAMP_ID": 2,
        "LAMP_GAIN_CURRENT_2": 33,
    }
    a = acquisition(256, 11, **fields)
    ticks = [CLOCK.format(float(CLOCK.to_ticks(t)), partition=False).split(":") for t in (START + 2.5, START)]
    (made, made_part), (start, start_part) = ((int(s), int(p)) for s, p in ticks)
    bits = [
        5 << 13 | 0 << 12 | 1 << 11 | 0 << 10 | 0 << 7 | 1 << 6 | 2 << 4 | 3 << 2 | 1,
        9 << 4,
        10 << 8 | 2 << 6 | 5 << 3 | 6,
        5 << 13 | 1 << 12 | 0 << 11 | 1 << 10 | 1 << 9 | 1 << 8 | 1,
        2 << 14 | 33 << 2,
    ]
    row = struct.pack("<HHHHHH", 0xAAAA, 36936, made >> 16, made & 0xFFFF, made_part, 0x0102)
    row += struct.pack("<BBHHBBH", 0x11, 0x60, 13, 2, 27, 3, 6)
    row += struct.pack("<HHHHHH", bits[0], bits[1], 0xFFF0, 16206, 60, 77)
    row += struct.pack("<HHHHH", start >> 16, start & 0xFFFF, start_part, 1234, bits[2])
    row += struct.pack("<BBBBHH", 1, 0, 0, 4, 7500, bits[3])
    row += struct.pack("<8HHH", 0, 0, 0, 0, 0, 0, 0, 8001, 16380, bits[4])
    assert len(row) == 72
    assert log_row(a, "img", CLOCK) == row


def test_the_sign_of_the_nadir_offset_is_the_last_bit(tmp_path: Path) -> None:
    granule = raw.IMAGE.open(write(tmp_path, acquisition(256, 11, NADIR_OFFSET_SIGN=1)), CLOCK)
    label = read_label(granule.files["log_label"])
    status = next(c for c in label["TABLE"].objects("COLUMN") if c["NAME"] == "STATUS_BITS")
    assert status.objects("BIT_COLUMN")[-1]["START_BIT"] == 15  # the archive's label
    log = raw.read_log(granule.files["log_label"])
    assert log["NADIR_OFFSET_SIGN"] == 1
    assert log["SECONDS_2"] == int(CLOCK.format(float(CLOCK.to_ticks(START)), partition=False).split(":")[0])


def test_formats_share_frames_by_what_the_label_calls_them(tmp_path: Path) -> None:
    for k, kind in enumerate((layout.SCIENCE, layout.BACKGROUND)):
        later = replace(acquisition(256, 11, kind=kind), et=START + 30.0 * k)
        write_acquisition(tmp_path, later, "img", CLOCK)
    found = granules_below(tmp_path)
    assert {k: len(v) for k, v in found.items() if v} == {"jiram.image_edr": 1, "jiram.image_background_edr": 1}


def test_a_sub_frame_of_zeros_is_lost(tmp_path: Path) -> None:
    a = acquisition(256, 11)
    a.counts[128:, 144:288] = 0
    data = raw.read_images([raw.IMAGE.open(write(tmp_path, a), CLOCK)], None, CLOCK)
    assert data["lost"].values[0].tolist() == [[False] * 3, [False, True, False]]


def test_a_span_reads_what_begins_in_it(tmp_path: Path) -> None:
    granule = raw.IMAGE.open(write(tmp_path, acquisition(256, 11)), CLOCK)
    span = raw.Span(granule.start + 0.001, granule.start + 1.0)
    assert raw.read_images([granule], span, CLOCK).sizes["et"] == 0


# Damage


def truncate(path: Path) -> None:
    with path.with_suffix(".IMG").open("r+b") as file:
        file.truncate(1000)


def flip(path: Path) -> None:
    data = bytearray(path.with_suffix(".IMG").read_bytes())
    data[5000] ^= 0x10
    path.with_suffix(".IMG").write_bytes(data)


def swap(path: Path) -> None:
    file = path.with_suffix(".IMG")
    file.write_bytes(np.fromfile(file, "<i2").astype(">i2").tobytes())


def no_log(path: Path) -> None:
    next(path.parent.glob("JIR_LOG_IMG*.LBL")).unlink()


def no_log_table(path: Path) -> None:
    next(path.parent.glob("JIR_LOG_IMG*.TAB")).unlink()


def short_log(path: Path) -> None:
    next(path.parent.glob("JIR_LOG_IMG*.TAB")).write_bytes(b"\0" * 40)


def edited(old: str, new: str) -> Callable[[Path], None]:
    def edit(path: Path) -> None:
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    return edit


DAMAGE: dict[str, tuple[Callable[[Path], None], str]] = {
    "truncated": (truncate, "has 1000 bytes; 256 lines of 432 samples are 221184"),
    "a bit flipped": (flip, "MD5 checksum is not the label's"),
    "bytes swapped": (swap, "MD5 checksum is not the label's"),
    "no LOG label": (no_log, "LOG table .* is not there"),
    "no LOG table": (no_log_table, "which is not in its folder"),
    "LOG cut short": (short_log, "rows"),
    "other instrument": (edited("= JIR ", "= JNC "), "INSTRUMENT_ID is 'JNC'"),
    "wrong number of lines": (
        edited("LINES                      = 256", "LINES                      = 128"),
        "128 lines",
    ),
    "wrong mode": (edited("SCI_I1_S1", "SCI_I2_S1"), "256 lines of 432 samples in mode 'SCI_I2_S1'"),
    "no such day": (edited("= 2017-02-02T11:40:03.870", "= 2017-02-31T11:40:03.870"), "no day of the calendar"),
    "exposure of nothing": (edited("0.012 <second>", "0.0 <second>"), "no number of seconds between 0 and 60"),
    "other unit": (edited("0.012 <second>", "12.0 <ms>"), "unit 'ms', second is expected"),
    "real samples": (edited("LSB_INTEGER", "IEEE_REAL"), "SAMPLE_TYPE IEEE_REAL"),
    "calibration frame": (edited("= SCIENCE ", "= CAL_GAIN_1 "), "frame type CAL_GAIN_1"),
    "background by the LOG alone": (edited("= SCIENCE ", "= BACKGROUND "), "not a img science frame"),
    "no label": (lambda path: path.write_bytes(b"\x00\xff" * 500), "not a PDS label|keyword missing"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_named(tmp_path: Path, name: str) -> None:
    damage, says = DAMAGE[name]
    path = write(tmp_path, acquisition(256, 11))
    damage(path)
    with pytest.raises(InputError, match=says) as caught:
        raw.read_images([raw.IMAGE.open(path, CLOCK)], None, CLOCK)
    assert caught.value.path.parent == path.parent


def test_label_and_log_must_agree_on_the_kind_of_frame(tmp_path: Path) -> None:
    path = write(tmp_path, acquisition(256, 11))
    edited("= SCIENCE ", "= BACKGROUND ")(path)
    granule = raw.IMAGE_BACKGROUND.open(path, CLOCK)
    with pytest.raises(InputError, match="ACQ_TYPE 0, but the label's FRAME_TYPE is BACKGROUND"):
        raw.read_images([granule], None, CLOCK)


def test_names_that_are_none(tmp_path: Path) -> None:
    path = write(tmp_path, acquisition(256, 11))
    other = path.with_name("JIR_IMG_EDR_2017033.LBL")
    shutil.copy(path, other)
    with pytest.raises(InputError, match="is not named JIR_"):
        raw.IMAGE.open(other, CLOCK)


@pytest.mark.real
def test_the_real_label_is_understood(real_data: Path) -> None:
    path = real_data / "jiram" / "JIR_IMG_RDR_2017033T114006_V02.LBL"
    label = raw.label_of(path)
    start, stop = raw.interval(label)
    assert start == pytest.approx(START, abs=1e-6)
    assert stop - start == pytest.approx(0.012, abs=1e-6)
    block, shape, bands = raw.image_shape(label)
    assert (shape, bands) == ((128, 432), ("M",))
    assert block["SAMPLE_TYPE"] == "PC_REAL"  # the label says IEEE_REAL
    np.testing.assert_allclose(raw.vector(label, "QUATERNION", 4), [0.27929, -0.65052, -0.64137, -0.29576])
    position = raw.vector(label, "SC_TARGET_POSITION_VECTOR", 3)
    assert np.linalg.norm(position) == pytest.approx(182584.6915, abs=1e-3)
    assert raw.product_name(path) == ("img", "rdr", "2017033T114006", 2)
