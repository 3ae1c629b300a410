from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.clock import TICKS, Sclk, Span, et_to_tdt, et_to_utc, format_utc, parse_utc, tdt_to_et, utc_to_et
from pipeline.errors import InputError

PJ1 = 525574312.242697


def test_published_time_of_perijove_1() -> None:
    assert parse_utc("2016-08-27T12:50:44.060") == pytest.approx(PJ1, abs=1e-5)
    assert parse_utc("2016-240T12:50:44.060Z") == parse_utc("2016-08-27 12:50:44.060")
    assert format_utc(PJ1) == "2016-08-27T12:50:44.060"
    assert format_utc(PJ1, 1, day_of_year=True) == "2016-240T12:50:44.1"


def test_a_leap_second_is_a_second() -> None:
    before, inside, after = parse_utc(["2016-12-31T23:59:59.5", "2016-12-31T23:59:60.5", "2017-01-01T00:00:00.5"])
    assert inside - before == pytest.approx(1.0, abs=1e-6)
    assert after - inside == pytest.approx(1.0, abs=1e-6)
    assert format_utc(inside, 2) == "2016-12-31T23:59:60.50"
    utc, flagged = et_to_utc(np.array([before, inside, after]))
    assert flagged.tolist() == [False, True, False]
    assert utc[1] == np.datetime64("2016-12-31T23:59:59.999999999")
    assert (np.diff(utc) > np.timedelta64(0, "ns")).all()


@pytest.mark.parametrize(
    "text",
    ["", "27 August 2016", "2016-13-01", "2016-02-30", "2015-366", "2016-08-27T24:00:00", "2016-08-27T12:60:00",
     "2016-08-27T12:50:60", "2016-12-31T22:59:60"],
)  # fmt: skip
def test_what_is_no_time_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        parse_utc(text)
    assert repr(text) in str(caught.value)


@given(st.floats(0, 9e8))
def test_scales_go_round(et: float) -> None:
    assert abs(float(tdt_to_et(et_to_tdt(et))) - et) < 3e-7
    utc, leap = et_to_utc(et)
    if not leap:
        assert abs(float(utc_to_et(utc)) - et) < 3e-7
        assert abs(parse_utc(format_utc(et, 9)) - et) < 3e-7


def test_rounding_carries() -> None:
    assert format_utc(parse_utc("2016-08-27T12:59:59.9996")) == "2016-08-27T13:00:00.000"
    assert format_utc(parse_utc("2016-12-31T23:59:60.9996")) == "2017-01-01T00:00:00.000"


def test_span() -> None:
    a, b = Span(0, 10), Span(10, 20)
    assert not a.overlaps(b)
    assert a.overlaps(Span(9, 11))
    assert a.intersection(Span(5, 15)) == Span(5, 10)
    assert a.contains([0.0, 10.0]).tolist() == [True, False]
    with pytest.raises(ValueError, match="ends before"):
        Span(1, 0)


# The spacecraft clock


def test_both_forms_of_a_count_are_one_time() -> None:
    clock = Sclk.default()
    fine = clock.parse("5/0525574420:18916")
    assert fine == 34444044906770 - 0  # the encoded value published for this string
    assert abs(clock.parse("5/0525574420.074") - fine) < 256
    assert clock.parse("525574420:18916") == fine
    assert clock.parse("525574420:74", fraction=256) == clock.parse("525574420.074")
    assert clock.format(fine) == "5/0525574420:18916"
    assert clock.format(fine, fraction=256) == "5/0525574420.074"
    assert float(clock.to_et(fine)) == pytest.approx(PJ1, abs=3e-5)


@given(st.floats(3.8e8, 8e8))
def test_clock_goes_round(et: float) -> None:
    clock = Sclk.default()
    assert abs(float(clock.to_et(clock.to_ticks(et))) - et) < 3e-7


@given(st.integers(430_000_000 * TICKS, 800_000_000 * TICKS))
def test_text_goes_round(counter: int) -> None:
    clock = Sclk.default()
    ticks = float(clock.encode(counter))
    assert clock.parse(clock.format(ticks)) == ticks


@pytest.mark.parametrize("text", ["", "abc", "5/", "9/0525574420:00001", "525574420:65536", "525574420.256", "1:2:3"])
def test_what_is_no_count_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Sclk.default().parse(text)


def test_beyond_the_last_coefficient_is_flagged_and_uncertain() -> None:
    clock = Sclk.default()
    late = clock.last + 365.25 * 86400
    assert not clock.extrapolated(PJ1)
    assert clock.extrapolated(late)
    assert float(clock.sigma(late)) == pytest.approx(0.5, rel=1e-3)
    assert float(clock.sigma(PJ1)) <= 1e-3


def test_a_kernel_without_a_clock_is_an_input_error(tmp_path: Path) -> None:
    path = tmp_path / "x.tsc"
    path.write_text("KPL/SCLK\n\\begindata\nSCLK01_COEFFICIENTS_61999 = ( 1 2 x )\n")
    with pytest.raises(InputError, match=r"x\.tsc"):
        Sclk.from_kernel(path)
    path.write_text("nothing")
    with pytest.raises(InputError, match="no clock"):
        Sclk.from_kernel(path)


@pytest.mark.real
def test_against_spice(real_data: Path) -> None:
    spice = pytest.importorskip("spiceypy")
    leap, kernel = real_data / "spice/naif0012.tls", real_data / "spice/JNO_SCLKSCET.00061.tsc"
    spice.kclear()
    spice.furnsh([str(leap), str(kernel)])
    try:
        clock = Sclk.from_kernel(kernel)
        et = np.linspace(parse_utc("2011-08-06"), clock.last - 1, 5001)
        # At the clock's resets in cruise partitions overlap; the mission at Jupiter has one.
        et = et[et > parse_utc("2013-11-01")]
        ticks = np.array([spice.sce2c(-61999, e) for e in et])
        assert np.abs(clock.to_ticks(et) - ticks).max() < 0.02
        assert np.abs(clock.to_et(ticks) - [spice.sct2e(-61999, t) for t in ticks]).max() < 3e-7
        assert np.abs(Sclk.default().to_et(ticks) - et).max() < 1e-3
        for text in ("5/0525574420.074", "0525574420.074"):
            assert float(clock.to_et(clock.parse(text))) == pytest.approx(spice.scs2e(-61, text), abs=3e-7)
        assert clock.parse("5/0525574420:18916") == spice.scencd(-61999, "5/0525574420.18916")
        for text in ("2016-12-31T23:59:60.5", "2017-01-01T00:00:00", "2016-08-27T12:50:44.06", "2024-02-03T21:47:29"):
            assert parse_utc(text) == pytest.approx(spice.str2et(text), abs=1e-7)
            assert format_utc(parse_utc(text), 6) == spice.et2utc(spice.str2et(text), "ISOC", 6)
    finally:
        spice.kclear()


@pytest.mark.real
def test_real_labels_lie_within_the_stated_uncertainty(real_data: Path) -> None:
    """Start time against start count of 23 images of 2022, three years beyond the clock's last coefficient."""
    clock = Sclk.default()
    files = sorted((real_data / "junocam/imagesets/metadata").glob("*.json"))
    assert len(files) == 23
    off = []
    for file in files:
        label = json.loads(file.read_text())
        et = parse_utc(label["START_TIME"])
        count = float(clock.to_et(clock.parse(label["SPACECRAFT_CLOCK_START_COUNT"])))
        assert clock.extrapolated(et)
        off.append((count - et) / float(clock.sigma(et)))
    assert np.abs(off).max() < 3
    assert np.std(off) < 0.1  # one clock: all labels of two months are off by nearly the same
