"""Level 3 files of the archive: real labels, the grammar of rows, the way there and back, what can be wrong."""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

sys.path.insert(0, str(Path(__file__).parent))
from mag_scene import CLOCK, PASS

from instruments.mag import sts, sts_write
from pipeline.clock import Span, parse_utc
from pipeline.errors import InputError
from pipeline.formats.pds3 import Block, read_label
from pipeline.formats.pds3_table import read_table

RNG = np.random.default_rng(8)
N = 2000
ET = PASS.et + np.arange(N) / 64
B = RNG.normal(0, 2e5, (N, 3)).round(2)
CODE = RNG.integers(1, 7, N).astype(np.uint8)
POSITION = RNG.normal(0, 8e4, (N, 3)).round(3)


def written(path: Path, rows: slice = slice(None), *, position: bool = True) -> Path:
    where = POSITION[rows] if position else None
    sts_write.write_sts(path, ET[rows], B[rows], CODE[rows], where, sensor="ob", simulated=True)
    return path


def read(*paths: Path, span: Span | None = None) -> xr.Dataset:
    return sts.read_sts([sts.open_sts(p, CLOCK) for p in paths], span, CLOCK)


def counted(data: xr.Dataset) -> dict[str, int]:
    totals = dict(zip(data["event"].values.tolist(), data["events"].values.sum(axis=0).tolist(), strict=True))
    return {name: n for name, n in totals.items() if n}


def lines_of(path: Path) -> tuple[bytes, list[bytes]]:
    """Header and rows, told apart by the rule of the archive's other readers."""
    lines = path.read_bytes().splitlines(keepends=True)
    first = next(i for i, line in enumerate(lines) if line.split()[0].isdigit())
    return b"".join(lines[:first]), lines[first:]


@pytest.mark.parametrize("name", ["2016240pc", "2016240ss_r1s", "2016240pl", "2016240se_r60s_pj01"])
@pytest.mark.parametrize("position", [True, False])
def test_what_is_written_is_read(tmp_path: Path, name: str, position: bool) -> None:
    path = written(tmp_path / f"fgm_jno_l3_{name}_v01.sts", position=position)
    got = read(path)
    np.testing.assert_allclose(got["b"].values, B, atol=0.0051)
    np.testing.assert_allclose(got["et"].values, ET, atol=5e-5)
    np.testing.assert_array_equal(got["range_code"].values, CODE)
    assert sts.FRAMES[int(got["frame"].values[0])] == name[7:9]
    expected = POSITION if position else np.full_like(POSITION, np.nan)
    np.testing.assert_allclose(got["position"].values, expected, atol=5.1e-4)
    assert np.unique(got["rate"].values).tolist() == [{"_r1s": 1.0, "_r60": np.float32(1 / 60)}.get(name[9:13], 64.0)]
    assert not counted(got)
    assert got.attrs["simulated"]


def test_the_label_describes_the_rows(tmp_path: Path) -> None:
    path = written(tmp_path / "fgm_jno_l3_2016240pc_v01.sts")
    label = read_label(path.with_suffix(".lbl"))
    table = read_table(label)
    np.testing.assert_array_equal(np.stack([table[f"B{axis} PLANETOCENTRIC"] for axis in "XYZ"], axis=1), B)
    np.testing.assert_array_equal(np.stack([table[axis] for axis in "XYZ"], axis=1), POSITION)
    np.testing.assert_array_equal(table["INSTRUMENT RANGE"], CODE)
    assert label["START_TIME"] == "2016-240T12:50:44.060"


@pytest.mark.real
@pytest.mark.parametrize("name", ["2017296pc_r1s", "2017296ss_r1s", "2017298pc_r1s", "2017298ss_r1s"])
def test_our_label_is_laid_out_as_the_archives(real_data: Path, tmp_path: Path, name: str) -> None:
    real = read_label(real_data / "mag" / f"fgm_jno_l3_{name}_v01.lbl")
    written(tmp_path / f"fgm_jno_l3_{name}_v01.sts")
    ours = read_label(tmp_path / f"fgm_jno_l3_{name}_v01.lbl")

    def columns(block: Block) -> list[dict[str, object]]:
        keys = ("NAME", "COLUMN_NUMBER", "DATA_TYPE", "FORMAT", "START_BYTE", "BYTES", "UNIT")
        return [{k: c.get(k) for k in keys} for c in block["TABLE"].objects("COLUMN")]

    assert columns(ours) == columns(real)
    assert ours["TABLE"]["ROW_BYTES"] == real["TABLE"]["ROW_BYTES"]
    for key in ("PRODUCT_ID", "STANDARD_DATA_PRODUCT_ID", "DATA_SET_ID", "ORIGINAL_PRODUCT_ID", "INSTRUMENT_ID"):
        assert ours[key] == real[key]


@pytest.mark.real
def test_real_label_beside_a_file_of_its_layout(real_data: Path, tmp_path: Path) -> None:
    name = "fgm_jno_l3_2017296pc_r1s_v01"
    (tmp_path / f"{name}.lbl").write_bytes((real_data / "mag" / f"{name}.lbl").read_bytes())
    header = b"OBJECT = FILE\r\n" + b" COMMENT = ib_b\r\n" * 40 + b"END_OBJECT\r\n"
    row = b"  2017 296  0  0  0 666 296.000007708         -3.21         1.05         0.44  1."
    row += b"   2345678.123   -123456.789      1234.567\r\n"
    (tmp_path / f"{name}.sts").write_bytes(header + row)
    granule = sts.open_sts(tmp_path / f"{name}.sts", CLOCK)
    assert set(granule.files) == {"data", "label"}
    got = sts.read_sts([granule], None, CLOCK)
    assert got["b"].values.tolist() == [[-3.21, 1.05, 0.44]]
    assert got["sensor"].values.tolist() == [1]
    assert got["et"].values[0] == pytest.approx(parse_utc("2017-296T00:00:00.666"), abs=5e-4)
    assert got["position"].values.tolist() == [[2345678.123, -123456.789, 1234.567]]


def test_a_span_reads_what_the_whole_holds_there(tmp_path: Path) -> None:
    path = written(tmp_path / "fgm_jno_l3_2016240pc_v01.sts")
    whole = read(path)
    edges = np.linspace(ET[0] - 4, ET[-1] + 3, 8)
    parts = [read(path, span=Span(a, b)) for a, b in pairwise(edges)]
    for name in ("et", "b", "range_code", "position"):
        np.testing.assert_array_equal(np.concatenate([p[name].values for p in parts]), whole[name].values)


def test_bisection_finds_a_span_in_a_long_file(tmp_path: Path) -> None:
    et = PASS.et + np.arange(4000) * 1.0
    path = tmp_path / "fgm_jno_l3_2016240pc_r1s_v01.sts"
    sts_write.write_sts(path, et, np.tile(B, (2, 1)), np.tile(CODE, 2), None, sensor="ib", simulated=False)
    file = sts._look(path)
    low, high = sts._part(file, Span(et[2000], et[2100]))
    assert (high - low) < 0.2 * (file.end - file.first)
    assert read(path, span=Span(et[2000] - 0.5, et[2100] - 0.5)).sizes["et"] == 100
    assert not read(path).attrs


def test_disorder_and_duplicates_are_repaired_and_counted(tmp_path: Path) -> None:
    path = written(tmp_path / "fgm_jno_l3_2016240pc_v01.sts")
    whole = read(path)
    header, rows = lines_of(path)
    rows.insert(900, rows.pop(300))
    path.write_bytes(header + b"".join([*rows[:1500], rows[1499], rows[1498], *rows[1500:]]))
    got = read(path)
    np.testing.assert_array_equal(got["b"].values, whole["b"].values)
    assert counted(got) == {"rows_duplicate": 2, "rows_out_of_order": 2}


def test_blank_lines_do_not_matter(tmp_path: Path) -> None:
    path = written(tmp_path / "fgm_jno_l3_2016240pc_v01.sts")
    whole = read(path)
    header, rows = lines_of(path)
    path.write_bytes(header + b"".join([*rows[:1000], *[b"\r\n"] * 300, *rows[1000:], b"\r\n", b"  \r\n"]))
    for span in (None, Span(ET[0] - 1, ET[900]), Span(ET[990], ET[1010]), Span(ET[1500], ET[-1] + 1)):
        got = read(path, span=span)
        inside = slice(None) if span is None else span.contains(whole["et"].values)
        np.testing.assert_array_equal(got["b"].values, whole["b"].values[inside])


def test_fill_values_become_missing(tmp_path: Path) -> None:
    path = written(tmp_path / "fgm_jno_l3_2016240pc_v01.sts")
    header, rows = lines_of(path)

    def with_field(row: bytes, *values: str) -> bytes:
        return row[:39] + b" ".join(f"{v:>12}".encode() for v in values) + row[77:]

    rows[3] = with_field(rows[3], "99999.99", "99999.99", "99999.99")
    rows[4] = with_field(rows[4], "-99999.99", "1.00", "2.00")
    rows[5] = with_field(rows[5], "99999999.99", "1.00", "2.00")
    rows[6] = rows[6][:83] + b" 1234567890.000" + rows[6][98:]
    path.write_bytes(header + b"".join(rows))
    got = read(path)
    assert np.flatnonzero(np.isnan(got["b"].values).all(axis=1)).tolist() == [3, 5]
    assert np.flatnonzero(np.isnan(got["position"].values).any(axis=1)).tolist() == [6]
    assert counted(got) == {"rows_fill": 2}


def test_times_that_contradict_one_another_are_told(tmp_path: Path) -> None:
    path = written(tmp_path / "fgm_jno_l3_2016240pc_v01.sts")
    header, rows = lines_of(path)
    rows[7] = rows[7].replace(b"240.5352", b"240.5353")
    path.write_bytes(header + b"".join(rows))
    got = read(path)
    assert np.flatnonzero(got["time_conflict"].values).tolist() == [7]
    assert got["et"].values[7] == pytest.approx(ET[7], abs=1.1e-3)
    assert got["time_step"].values[7] == 1e-3
    assert counted(got) == {"rows_time_conflict": 1}


def test_decimal_day_refines_the_millisecond(tmp_path: Path) -> None:
    got = read(written(tmp_path / "fgm_jno_l3_2016240pc_v01.sts"))
    off = got["et"].values - ET
    assert np.abs(off).max() < 4.4e-5
    assert off.std() == pytest.approx(8.64e-5 / 12**0.5, rel=0.2)


def test_a_leap_second_has_its_own_time(tmp_path: Path) -> None:
    path = tmp_path / "fgm_jno_l3_2016366pc_r1s_v01.sts"
    header = b"OBJECT = FILE\r\nEND_OBJECT\r\n"
    days = (
        "2016 366 23 59 59 500 366.999994213",
        "2016 366 23 59 60 500 367.000005787",
        "2017   1  0  0  0 500   1.000005787",
    )
    path.write_bytes(header + b"".join(f"  {d} 1.0 2.0 3.0 1.\r\n".encode() for d in days))
    got = read(path)
    np.testing.assert_allclose(np.diff(got["et"].values), 1.0, atol=2e-4)
    assert got["et"].values[1] == pytest.approx(parse_utc("2016-366T23:59:60.5"), abs=1e-4)
    assert got["sensor"].values.tolist() == [sts.NOT_STATED] * 3


def test_a_row_cut_at_the_end_is_left_out_and_counted(tmp_path: Path) -> None:
    path = written(tmp_path / "fgm_jno_l3_2016240pc_v01.sts")
    path.write_bytes(path.read_bytes()[:-40])
    got = read(path)
    assert got.sizes["et"] == N - 1
    assert counted(got) == {"rows_truncated": 1}


def test_of_files_of_one_time_the_best_is_taken(tmp_path: Path) -> None:
    full = written(tmp_path / "fgm_jno_l3_2016240pl_v01.sts", slice(500, 1500))
    better = written(tmp_path / "fgm_jno_l3_2016240pc_v01.sts", slice(700, 1300))
    mean = written(tmp_path / "fgm_jno_l3_2016240pc_r1s_v01.sts", slice(0, N, 64))
    got = read(mean, full, better)
    et, frame, rate = (got[v].values for v in ("et", "frame", "rate"))
    assert np.all(np.diff(et) > 0)
    inside = (et >= ET[700] - 1e-4) & (et <= ET[1299] + 1e-4)
    assert set(frame[inside]) == {sts.FRAMES.index("pc")}
    assert set(rate[inside]) == {64.0}
    assert set(frame[(et >= ET[500] - 1e-4) & (et < ET[699] + 1e-4)]) == {sts.FRAMES.index("pl")}
    assert set(rate[et < ET[499]]) == {1.0}


def test_a_later_version_has_the_same_identity(tmp_path: Path) -> None:
    one = sts.open_sts(written(tmp_path / "fgm_jno_l3_2016240pc_pj01_v01.sts"), CLOCK)
    two = sts.open_sts(written(tmp_path / "FGM_JNO_L3_2016240PC_PJ01_v02.sts"), CLOCK)
    assert one.id == two.id
    assert (one.version, two.version) == (1, 2)


@pytest.mark.parametrize(
    ("change", "reason", "place"),
    [
        (lambda h, r: b"", "empty", None),
        (lambda h, r: h, "no row of data", None),
        (lambda h, r: h + b" 2016 240 12 50 44 60 240.5 1.0 2.0 3.0\r\n", "10 numbers", "byte"),
        (lambda h, r: h + b"".join([*r[:9], b"garbage\r\n", *r[9:]]), "'garbage' is no row", "byte"),
        (lambda h, r: h + b"".join([*r[:9], r[9].replace(b" 240 ", b" 999 "), *r[10:]]), "no row of 14", "byte"),
        (lambda h, r: h + b"".join([*r[:9], r[9][:60] + b"\r\n", *r[10:]]), "no row of 14", "byte"),
        (lambda h, r: h + b"".join([*r[:9], r[9].replace(b".", b"x"), *r[10:]]), "no row of 14", "byte"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(tmp_path: Path, change: object, reason: str, place: str | None) -> None:
    path = written(tmp_path / "fgm_jno_l3_2016240pc_v01.sts")
    path.write_bytes(change(*lines_of(path)))  # type: ignore[operator]
    with pytest.raises(InputError, match=reason) as caught:
        read(path)
    assert caught.value.path == path
    if place:
        assert str(caught.value.place).startswith(place)


def test_a_label_of_another_file_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "fgm_jno_l3_2016240pc_v01.sts")
    other = written(tmp_path / "fgm_jno_l3_2016240ss_v01.sts")
    path.with_suffix(".lbl").write_bytes(other.with_suffix(".lbl").read_bytes())
    with pytest.raises(InputError, match="2016240ss"):
        read(path)


def test_numbers_without_place_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "fgm_jno_l3_2016240pc_v01.sts"
    for b, reason in ((np.full((1, 3), 1e12), "does not fit"), (np.full((1, 3), np.nan), "not finite")):
        with pytest.raises(ValueError, match=reason):
            sts_write.write_sts(path, ET[:1], b, CODE[:1], None, sensor="ob", simulated=False)
    with pytest.raises(InputError, match="not named"):
        sts_write.write_sts(tmp_path / "other.sts", ET[:1], B[:1], CODE[:1], None, sensor="ob", simulated=False)
