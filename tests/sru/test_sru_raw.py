"""Images and count-rate tables as archived: what is written is read back, what is damaged is refused by name."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

sys.path.insert(0, str(Path(__file__).parent))
from sru_scene import CLOCK

from instruments.sru.count_table import open_table, read_tables, write_table
from instruments.sru.raw import EDR, Exposure, open_edr, product_id, read_edr, write_edr
from pipeline.clock import parse_utc
from pipeline.errors import InputError
from pipeline.passes import get_pass

ET = get_pass(1).et


def pixels() -> np.ndarray:
    return np.random.default_rng(1).integers(400, 16384, (512, 512)).astype(np.int16)


def written(folder: Path, exposure: Exposure | None = None) -> Path:
    shot = exposure or Exposure(2, ET, 0.25, True, False)
    return write_edr(folder, pixels(), shot, 1, CLOCK, target="JUPITER", simulated=True)


def test_images_come_back_as_they_were_written(tmp_path: Path) -> None:
    path = written(tmp_path)
    granule = open_edr(path, CLOCK)
    raw = read_edr([granule], None, CLOCK)
    np.testing.assert_array_equal(raw["dn"].values[0], pixels())
    assert (int(raw["unit"][0]), float(raw["exposure"][0]), bool(raw["tdi"][0])) == (2, 0.25, True)
    assert abs(float(raw["et"][0]) - ET) < 1 / 65536
    assert granule.id == "SRU_2_2016240T125044_01"
    assert granule.version == 1
    assert granule.meta["simulated"]
    assert not raw["conflict"].any()


def test_another_reader_of_fits_sees_the_same(tmp_path: Path) -> None:
    path = written(tmp_path)
    with fits.open(path) as file:
        file.verify("exception")
        np.testing.assert_array_equal(file[0].data, pixels())
    assert path.stat().st_size == 2880 * (1 + -(-512 * 512 * 2 // 2880))
    # big-endian, first row first
    assert path.read_bytes()[2880:2884] == pixels()[0, :2].astype(">i2").tobytes()


def test_names_are_the_archives() -> None:
    et = parse_utc("2024-04-09T04:53:33.2")
    assert product_id(1, et, 60) == "SRU_1_2024100T045333_60_V01"
    import re

    assert re.fullmatch(EDR.pattern, "SRU_1_2024100T045333_60_V01.FIT", re.IGNORECASE)


def test_utc_is_used_where_the_clock_is_not_known(tmp_path: Path) -> None:
    et = parse_utc("2024-04-09T04:53:33.250")
    path = written(tmp_path, Exposure(1, et, 0.1, False, False))
    label = path.with_suffix(".LBL")
    label.write_text(label.read_text().replace("SPACECRAFT_CLOCK_START_COUNT   = ", "SPACECRAFT_CLOCK_START_COUNT = "))
    text = label.read_text().splitlines()
    line = next(i for i, t in enumerate(text) if "CLOCK_START" in t)
    text[line] = 'SPACECRAFT_CLOCK_START_COUNT = "5/0765000000:00001"'
    label.write_text("\r\n".join(text))
    assert abs(open_edr(path, CLOCK).start - et) < 1e-3


def test_two_times_that_contradict_each_other_are_told(tmp_path: Path) -> None:
    path = written(tmp_path)
    replaced(path.with_suffix(".LBL"), "5/0525574420:18916", "5/0525574430:18916")
    granule = open_edr(path, CLOCK)
    assert granule.meta["exposure"]["conflict"]
    assert abs(granule.start - ET) < 1e-3


def replaced(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def label_with(old: str, new: str) -> Callable[[Path], None]:
    return lambda path: replaced(path.with_suffix(".LBL"), old, new)


def swap(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[2880:] = np.frombuffer(bytes(content[2880:]), "<u2").astype(">u2").tobytes()
    path.write_bytes(bytes(content))


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut short": (lambda p: p.write_bytes(p.read_bytes()[:200_000]), "ends after"),
    "cut in the header": (lambda p: p.write_bytes(p.read_bytes()[:1000]), "no FITS file"),
    "empty": (lambda p: p.write_bytes(b""), "no FITS file"),
    "bytes lost": (lambda p: p.write_bytes(p.read_bytes()[:9000] + p.read_bytes()[9004:]), "bytes are lost"),
    "bytes twice": (lambda p: p.write_bytes(p.read_bytes()[:9004] + p.read_bytes()[9000:]), "stand twice"),
    "not FITS": (lambda p: p.write_bytes(b"\x00" * 600_000), "no FITS file"),
    "swapped bytes": (swap, "bytes swapped"),
    "other size": (lambda p: p.write_bytes(p.read_bytes().replace(b"512", b"256", 1)), "expected"),
    "no label": (lambda p: p.with_suffix(".LBL").unlink(), "not beside it"),
    "label of another": (label_with("= SRU_2_2016240T125044_01_V01", "= SRU_1_2016240T125044_01_V01"), "PRODUCT_ID"),
    "pointer elsewhere": (label_with('("SRU_2_2016240T125044_01_V01.FIT", 2)', '("X.FIT", 2)'), "not in its folder"),
    "lines": (label_with("LINES                        = 512", "LINES                        = 500"), "LINES"),
    "no exposure": (label_with("0.25 <s>", "0.0 <s>"), "EXPOSURE_DURATION"),
    "exposure in metres": (label_with("0.25 <s>", "0.25 <m>"), "none of time"),
    "TDI": (label_with("= YES", "= PERHAPS"), "JNO:TDI_ON"),
    "time": (label_with("2016-08-27T12:50:44.060", "2016-08-37T12:50:44.060"), "START_TIME"),
    "clock": (label_with("5/0525574420:18916", "5/05255744X0:18916"), "SPACECRAFT_CLOCK_START_COUNT"),
    "name": (lambda p: p.rename(p.with_name("SRU_7_2016240T125044_01_V01.FIT")), "is not named"),
}  # fmt: skip


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_refused_by_name(tmp_path: Path, kind: str) -> None:
    path = written(tmp_path)
    DAMAGE[kind][0](path)
    path = next(tmp_path.glob("*.FIT"))
    with pytest.raises(InputError, match=DAMAGE[kind][1]) as caught:
        read_edr([open_edr(path, CLOCK)], None, CLOCK)
    assert str(tmp_path) in str(caught.value)


def test_single_wrong_pixels_are_missing_and_counted(tmp_path: Path) -> None:
    path = written(tmp_path)
    content = bytearray(path.read_bytes())
    content[2880] |= 0x80
    content[2884] |= 0x40
    path.write_bytes(bytes(content))
    raw = read_edr([open_edr(path, CLOCK)], None, CLOCK)
    assert int(raw["damaged"][0]) == 2
    assert raw["dn"].values[0, 0, [0, 2]].tolist() == [0, 0]
    assert raw["dn"].values[0, 0, 1] == pixels()[0, 1]


# Count rates


def table(folder: Path) -> Path:
    et = ET + np.array([0.15, 60.15, 120.15])
    clusters, noise = np.array([512.25, np.nan, 803.0]), np.array([np.nan, 1.5e6, np.nan])
    return write_table(
        folder / "SRU_CRT_01_V01.CSV", et, np.array([1, 2, 1], np.int8), clusters, noise, CLOCK, simulated=True
    )


def test_count_rates_come_back_as_they_were_written(tmp_path: Path) -> None:
    granule = open_table(table(tmp_path), CLOCK)
    raw = read_tables([granule], None, CLOCK)
    np.testing.assert_allclose(raw["cluster_rate"].values, [512.25, np.nan, 803.0])
    np.testing.assert_allclose(raw["noise_rate"].values, [np.nan, 1.5e6, np.nan])
    np.testing.assert_allclose(raw["et"].values, ET + np.array([0.15, 60.15, 120.15]), atol=6e-4)
    np.testing.assert_allclose(raw["clock_off"].values, 0.0, atol=1e-3)
    assert raw["unit"].values.tolist() == [1, 2, 1]
    assert granule.meta["simulated"]


def test_exactly_one_of_the_two_rates_is_written(tmp_path: Path) -> None:
    both = np.array([1.0])
    with pytest.raises(ValueError, match="exactly one"):
        write_table(tmp_path / "SRU_X.CSV", np.array([ET]), np.array([1], np.int8), both, both, CLOCK, simulated=True)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (",1,512.25", ",3,512.25", "neither 1 nor 2"),
        (",NaN,SIMULATED", ",SIMULATED", "5 fields"),
        ("2016-08-27T12:50", "2016-08-99T12:50", "field 1"),
        ("5/05255744", "5/0525X744", "field 2"),
    ],
)
def test_wrong_rows_are_refused(tmp_path: Path, old: str, new: str, reason: str) -> None:
    path = table(tmp_path)
    replaced(path, old, new)
    with pytest.raises(InputError, match=reason):
        read_tables([open_table(path, CLOCK)], None, CLOCK)


def test_no_value_is_whatever_cannot_be_a_rate(tmp_path: Path) -> None:
    path = table(tmp_path)
    replaced(path, "512.25,NaN", "-9999.0,")
    raw = read_tables([open_table(path, CLOCK)], None, CLOCK)
    assert np.isnan(raw["cluster_rate"].values[0])
    assert np.isnan(raw["noise_rate"].values[0])


def test_a_table_of_something_else_is_refused(tmp_path: Path) -> None:
    path = table(tmp_path)
    replaced(path.with_suffix(".LBL"), "JNO-J-SRU-COUNTRATE", "JNO-J-SRU-SOMETHING")
    with pytest.raises(InputError, match="no count-rate table"):
        open_table(path, CLOCK)
