"""Offset, noise and hits of the array, each against numbers made otherwise."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.interpolate import RegularGridInterpolator

sys.path.insert(0, str(Path(__file__).parent))
from sru_scene import CLOCK, tables

from calibration.tables import Table
from instruments.sru import INSTRUMENT, simulate
from instruments.sru.calibrate import Seen, clipped_mean, find_hits, hot_pixels
from instruments.sru.count_table import open_table, read_tables, write_table
from instruments.sru.counts import count_rate_from_archive
from instruments.sru.detector import (
    HitModel,
    Trials,
    clipped_moments,
    clusters,
    completeness,
    injected,
    robust_mode,
    row_noise,
)
from instruments.sru.raw import Exposure
from instruments.sru.schemas import COUNT_RATE, OVERLAP, SPARSE
from pipeline.clock import Span
from pipeline.dataset import check
from pipeline.dataset.quality import Quality
from pipeline.passes import get_pass

RNG = np.random.default_rng(5)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.4])
def test_mode_is_that_of_the_core(share: float) -> None:
    """A tail of hits above does not move it as it moves mean and median."""
    core = 553.37 + 2.2 * RNG.normal(size=100_000)
    core[: int(share * core.size)] += RNG.exponential(60.0, int(share * core.size))
    place, sigma, width = robust_mode(np.rint(core).astype(np.int16))
    assert abs(place - 553.37) < 4 * sigma + 0.1 * share
    assert sigma < 0.05
    assert width == pytest.approx(2.2, rel=0.1)


def test_mode_of_too_little_is_not_known() -> None:
    assert np.isnan(robust_mode(np.arange(50))).all()
    assert np.isnan(robust_mode(np.full(1000, 7))).all()


def test_moments_of_whole_numbers() -> None:
    """Their median would be whole; mean and deviation are not off, and outliers do not count."""
    exact = 3.3 + 1.9 * RNG.normal(size=(40, 5000))
    whole = np.rint(exact)
    whole[:, :40] += 500.0
    mean, width = clipped_moments(whole, np.ones(whole.shape, bool))
    assert mean.mean() == pytest.approx(3.3, abs=0.02)
    assert width.mean() == pytest.approx(np.sqrt(1.9**2 + 1 / 12), rel=0.01)


def test_noise_of_rows_with_few_pixels_is_that_of_all() -> None:
    """Thirty pixels of one row must not speak for the rows without any."""
    values = 2.0 * RNG.normal(size=(512, 512))
    use = np.zeros(values.shape, bool)
    use[300:] = True
    use[299, :31] = True
    values[299] *= 0.5
    noise = row_noise(values, use)
    np.testing.assert_allclose(noise[:270], 2.0, rtol=0.02)
    np.testing.assert_allclose(noise[330:], 2.0, rtol=0.05)


def test_dark_level_without_stars_and_hits() -> None:
    pattern = np.zeros((512, 512))
    pattern[100, 200] = 50.0
    offset = np.array([550.0, 551.5, 549.0, 552.0, 550.5, 548.0])
    dn = np.rint(offset[:, None, None] + pattern + 2.0 * RNG.normal(size=(6, 512, 512))).astype(np.int16)
    for k in range(6):
        dn[k, 50 * k + 10 : 50 * k + 12, 300:303] += 400
    mean, number, good = clipped_mean(dn, offset, np.full(6, 2.0), np.ones(dn.shape, bool))
    assert good.all()
    assert number[10, 301] == 5
    assert abs(mean[10, 301]) < 5.0
    assert mean[100, 200] == pytest.approx(50.0, abs=4.0)
    assert np.argwhere(hot_pixels(mean, number > 0)).tolist() == [[100, 200]]


def test_clusters_touch_at_corners() -> None:
    mask = np.zeros((512, 512), bool)
    mask[[10, 11, 12, 20], [10, 11, 10, 20]] = True
    assert clusters(mask)[1] == 2


def test_injected_charge_is_all_there() -> None:
    hits = Table.read(INSTRUMENT.tables / "hits.yaml")
    model = HitModel.of(hits, 15.0)
    frame = injected(4000, np.ones(512), (2, 512), model, np.random.default_rng(1))
    # of the Moyal distribution: mode + 1.27 scales
    assert frame.sum() / 4000 == pytest.approx((1200.0 + 1.2704 * 270.0) / 15.0, rel=0.02)
    assert (frame[:, :2] == 0).all()


@pytest.mark.parametrize("density", [0.0015, 0.004, 0.008])
def test_hits_are_counted_right_whatever_overlaps(density: float) -> None:
    """Particles of the simulator, electron by electron, counted and corrected: over frames, within the stated error."""
    known = simulate.truth_tables(get_pass(1).et)
    array = simulate.Array.of(known, np.random.default_rng(0))
    shot = Exposure(1, 0.0, 0.1, False, False)
    cell = float(known["camera"]["pitch"]) ** 2
    flux = density / cell / 0.1
    noise, exposures = np.full(512, 2.2), np.where(np.arange(512) < 510, 0.1, 0.0)
    trials = Trials(noise, exposures, (2, 512), 5.0, (3,))
    pulls = []
    for seed in range(4):
        rng = np.random.default_rng([seed, int(1e5 * density)])
        dn = array.hit_electrons(shot, flux, rng) / 15.0 + 2.2 * rng.normal(size=(512, 512))
        seen = np.zeros(dn.shape, bool)
        seen[:510, 2:] = dn[:510, 2:] > 5.0 * 2.2
        found = clusters(seen)[1]
        known_to_be = completeness(found, trials, tables()["hits"], 15.0)
        number = found / known_to_be.value
        true = density * 510 * 510
        pulls.append((number - true) / np.hypot(np.sqrt(number / known_to_be.value), number * known_to_be.error))
    assert abs(np.mean(pulls)) < 3.0 / np.sqrt(4) + 0.05, pulls
    assert known_to_be.value < 1.02 - 8 * density


def test_the_archives_own_table_becomes_the_same_product(tmp_path: Path) -> None:
    et = get_pass(1).et + np.array([0.0, 60.0, 120.0])
    clusters_, noise = np.array([500.0, np.nan, 800.0]), np.array([np.nan, 2e6, np.nan])
    path = write_table(
        tmp_path / "SRU_CRT_01_V01.CSV", et, np.array([1, 2, 1], np.int8), clusters_, noise, CLOCK, simulated=True
    )
    raw = read_tables([open_table(path, CLOCK)], None, CLOCK)
    product = count_rate_from_archive(raw, Span(et[0], et[-1] + 1), tables()["archive"])
    np.testing.assert_allclose(product["cluster_rate"].values, clusters_)
    np.testing.assert_allclose(product["noise_rate"].values, noise)
    assert product["cluster_quality"].values.tolist() == [0, int(Quality.MISSING) | OVERLAP.mask, 0]
    assert product["noise_quality"].values[0] == int(Quality.MISSING) | SPARSE.mask
    assert product["cluster_rate_systematic"].values[0] == pytest.approx(0.15)
    done = check.finish(product, COUNT_RATE, INSTRUMENT.flags, {})
    assert done["cluster_rate"].dtype == np.float64


def test_the_border_of_the_day_side_is_no_row_of_hits() -> None:
    """A terminator some pixels wide: at its corners the median of 5 x 5 is darker than the pixel."""
    coarse = np.arange(-4.0, 516.0, 4.0)
    lit = np.where(np.hypot(coarse[:, None] - 256.0, coarse - 256.0) < 150.0, 1500.0, 0.0)
    light = RegularGridInterpolator((coarse, coarse), lit)(np.moveaxis(np.mgrid[:512, :512], 0, -1))
    value = np.random.default_rng(0).normal(light, 2.0)
    value[20, 50] += 60.0
    nothing, planet = np.zeros(value.shape, bool), light > 0.0
    found = find_hits(value, Seen(~nothing, nothing, nothing, planet, planet), None, 15.0, 5.0)
    assert found.core[20, 50]
    assert found.core.sum() < 3  # of 190 000 pixels of noise
