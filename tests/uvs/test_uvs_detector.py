"""Single equations of the detector and of radiometry, against other derivations."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from uvs_world import PASS, chain, tables

from instruments.uvs import detector, forward, pointing, radiometry, simulate, truth
from instruments.uvs.layout import JUPITER, LIMB, SKY, SLIT_BINS, WAVELENGTHS, seen
from pipeline.clock import Span
from pipeline.errors import CalibrationError
from pipeline.geometry import make_geometry


def test_seconds_covered() -> None:
    start, stop = np.array([0.0, 2.0, 7.0]), np.array([2.0, 3.0, 8.5])
    edges = np.array([-1.0, 1.0, 2.5, 5.0, 7.25, 10.0])
    np.testing.assert_allclose(detector.covered(start, stop, edges), [1.0, 1.5, 0.5, 0.25, 1.25])
    weighted = detector.covered(start, stop, edges, np.array([1.0, 10.0, 100.0]))
    np.testing.assert_allclose(weighted, [1.0, 6.0, 5.0, 25.0, 125.0])
    assert detector.covered(start[:0], stop[:0], edges).tolist() == [0.0] * 5


@pytest.mark.parametrize("rate", [1e3, 1e5, 1e6])
def test_survivors_are_those_of_a_loop(rate: float) -> None:
    rng = np.random.default_rng(1)
    time = np.cumsum(rng.exponential(1 / rate, 5000))
    last, expected = -np.inf, np.zeros(len(time), bool)
    for i, t in enumerate(time):
        if t - last >= 6e-6:
            last, expected[i] = t, True
    np.testing.assert_array_equal(forward.survivors(time, 6e-6), expected)
    assert forward.survivors(time[:0], 6e-6).size == 0


def test_merged_pulses_lie_between_and_add_up() -> None:
    n = 4
    values = np.arange(n, dtype=float)
    events = forward.Photons(
        np.array([0.0, 1.0, 1.00000003, 2.0]),
        np.zeros(n, np.int8),
        values,
        values,
        values,
        values * 100,
        values,
        values + 1.0,
    )
    merged = forward.merge(events, 5e-8)
    assert merged.time.tolist() == [0.0, 1.0, 2.0]
    assert merged.kind.tolist() == [0, forward.MERGED, 0]
    assert merged.pulse.tolist() == [1.0, 5.0, 4.0]
    assert merged.x[1] == pytest.approx((100 * 2 + 200 * 3) / 5)


def test_effective_area_is_the_published_one_at_its_wavelengths() -> None:
    area, relative = radiometry.effective_area([125.0, 140.0, 160.0], PASS.et, chain())
    np.testing.assert_allclose(area, [0.30, 0.15, 0.05])
    np.testing.assert_allclose(relative, [0.1, 0.02 / 0.15, 0.2])
    np.testing.assert_allclose(radiometry.effective_area(150.0, PASS.et, chain())[0], np.sqrt(0.15 * 0.05))
    np.testing.assert_allclose(
        forward.area_at(WAVELENGTHS, simulate.truth_tables(PASS.et), PASS.et),
        radiometry.effective_area(WAVELENGTHS, PASS.et, chain())[0],
    )


def test_an_area_that_is_none_is_refused() -> None:
    known = tables()
    area = known["effective_area"]
    known["effective_area"] = area.replace(other_area=-area["other_area"].value)
    with pytest.raises(CalibrationError, match=r"uvs\.effective_area"):
        radiometry.effective_area(120.0, PASS.et, chain(known))


def test_a_kilorayleigh_is_a_kilorayleigh() -> None:
    """1 kR is 1e9 / 4 pi photons per cm2, s and sr."""
    assert pytest.approx(7.957747e7) == 1.0 / radiometry.TO_KILORAYLEIGH


def test_solid_angle_is_the_slit_s() -> None:
    """0.2 x 2.55, 0.025 x 2.0 and 0.2 x 2.55 degrees, less the rounding to rows."""
    total = radiometry.slit(chain()).solid.sum()
    square_degree = np.radians(1.0) ** 2
    assert total == pytest.approx((2 * 0.2 * 2.55 + 0.025 * 2.0) * square_degree, rel=0.02)
    optics = forward.make_optics(simulate.truth_tables(PASS.et), PASS.et)
    np.testing.assert_allclose(truth.solid_angle(optics), radiometry.slit(chain()).solid, rtol=5e-3)


def test_shares_of_radiation_agree_with_another_integration() -> None:
    share, dark = detector.radiation_share(chain())
    optics = forward.make_optics(simulate.truth_tables(PASS.et), PASS.et)
    assert dark == pytest.approx(truth.dark_share(optics), rel=1e-3)
    np.testing.assert_allclose(share, truth.lit_share(optics), rtol=0.02)
    assert share.shape == (SLIT_BINS, len(WAVELENGTHS))
    assert 0.5 < share.sum() < 1.0 - dark


def test_efficiency_falls_with_the_rate() -> None:
    """At the rate of sag the mean has halved: the share of a normal distribution above 4, by numbers of a table."""
    known = chain()
    at = detector.efficiency_at(np.array([0.0, 3e4]), known)
    assert at[0] == pytest.approx(1.0)
    # mean 6, sigma 1.5: above (4 - 6) / 1.5 = -1.3333 are 0.90879; mean 12, sigma 3: from -2.6667 to 3.3333 0.99574
    assert at[1] == pytest.approx(0.90879 / 0.99574, rel=1e-4)


def test_frames_of_the_mirror_are_those_of_the_frames_kernel() -> None:
    """The order of turns of juno_v12.tf: from the base by -90 about Z, by the angle about Y, by the angle about X."""
    angle, along = 23.0, 2.5

    def frame(axis: int, degrees: float) -> np.ndarray:
        c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        i, j = axis % 3, (axis + 1) % 3
        m = np.eye(3)
        m[i, i] = m[j, j] = c
        m[i, j], m[j, i] = s, -s
        return m

    uvs = np.array([np.cos(np.radians(along)), 0.0, np.sin(np.radians(along))])
    zero = (frame(1, angle) @ frame(2, angle)).T @ uvs
    np.testing.assert_allclose(pointing.directions(np.array(angle), np.array(along)), zero, atol=1e-14)
    # the mirror at zero looks along +X, which is the base's -Y: outward, across the spin axis
    geometry = make_geometry(PASS, Span(PASS.et - 60.0, PASS.et + 60.0), None)
    looks = geometry.rotation("JUNO_UVS", "JUNO_UVS_BASE", [PASS.et])[0] @ pointing.directions(
        np.array(0.0), np.array(0.0)
    )
    np.testing.assert_allclose(looks, [0.0, -1.0, 0.0], atol=1e-12)


def test_dwell_is_the_width_over_the_spin() -> None:
    """A point crosses the wide slit in 16.7 ms and the narrow one in 2.1 ms at 12 deg/s; longer seen askew."""
    geometry = make_geometry(PASS, Span(PASS.et - 60.0, PASS.et + 60.0), None)
    et = np.full(3, PASS.et)
    mirror, along = np.array([0.0, 0.0, 28.0]), np.zeros(3)
    seconds = pointing.dwell(geometry, et, mirror, along, np.array([0.2, 0.025, 0.2]))
    np.testing.assert_allclose(seconds[:2], [0.0167, 0.00208], rtol=0.005)
    # Slower by the cosine of the latitude in the spin, and the slit, which the mirror turned too, is wider that way.
    # The axis is not quite along the slit: 0.6 degree.
    assert seconds[2] == pytest.approx(0.0167 / np.cos(np.radians(28.0)) ** 2, rel=0.015)


def test_targets_keep_away_from_the_limb() -> None:
    hit = np.zeros((6, 5), bool)
    hit[3:] = True
    kinds = seen(hit, np.ones(hit.shape, bool))
    assert kinds[:, 2].tolist() == [SKY, SKY, LIMB, LIMB, JUPITER, JUPITER]
    unknown = seen(hit, np.zeros(hit.shape, bool))
    assert (unknown == LIMB).all()


def test_the_live_share_is_that_of_single_events_at_high_rates() -> None:
    """As at PJ12: half of the events are lost, and of what is recorded 1 % merged; drawn event by event."""
    arriving, tau, pair, duration = 2e5, 6e-6, 5e-8, 3.0
    rng = np.random.default_rng(12)
    time = np.sort(rng.random(rng.poisson(arriving * duration)) * duration)
    head = np.append(True, np.diff(time) >= pair)
    single = (head & np.append(head[1:], True))[head]
    recorded = forward.survivors(time[head], tau)
    rate = np.array([np.count_nonzero(recorded) / duration])
    estimated, share = detector.live_share(rate, tau, pair)
    assert estimated[0] == pytest.approx(arriving, rel=0.01)
    true = np.count_nonzero(recorded & single) / len(time)
    assert share[0] == pytest.approx(true, rel=0.004)
