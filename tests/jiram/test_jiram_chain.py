"""The equations by themselves: backgrounds in time, spikes, noise, compression, colour."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import quad

sys.path.insert(0, str(Path(__file__).parent))
from jiram_scene import tables

from instruments.jiram import calibrate, chain, planck, simulate
from pipeline.errors import CalibrationError

RNG = np.random.default_rng(3)


def background(et: float, times: list[float], values: list[float], variance: float = 4.0) -> chain.Background:
    """Of one pixel, whose model is 100 counts and 10 counts at the frames."""
    residual = np.array(values, float).reshape(-1, 1, 1)
    spread = np.full(residual.shape, variance)
    return chain.background_at(et, np.full((1, 1), 100.0), np.array(times), residual, spread, residual + 10.0)


def test_background_between_two_frames() -> None:
    found = background(40.0, [0.0, 100.0], [5.0, 15.0])
    assert found.level[0, 0] == pytest.approx(100.0 + 0.6 * 5.0 + 0.4 * 15.0)
    assert found.variance[0, 0] == pytest.approx(4.0 * (0.6**2 + 0.4**2))
    assert found.walk[0, 0] == pytest.approx(40.0 * 60.0 / 100.0)
    assert found.frame is not None
    assert found.frame[0, 0] == 15.0
    assert found.age == 40.0
    assert found.measured.all()
    assert not found.one_sided.any()


@pytest.mark.parametrize(("times", "values"), [([10.0], [7.0]), ([70.0], [7.0]), ([10.0, 20.0], [7.0, np.nan])])
def test_background_on_one_side(times: list[float], values: list[float]) -> None:
    found = background(40.0, times, values)
    assert found.level[0, 0] == 107.0
    assert found.walk[0, 0] == 30.0
    assert found.variance[0, 0] == 4.0
    assert found.one_sided.all()


def test_no_background_at_all() -> None:
    empty = np.zeros((0, 1, 1))
    found = chain.background_at(40.0, np.full((1, 1), 100.0), np.zeros(0), empty, empty, empty)
    assert found.level[0, 0] == 100.0
    assert found.variance[0, 0] == 0.0
    assert found.frame is None
    assert not found.measured.any()


def test_the_nearest_of_several_frames_is_taken() -> None:
    found = background(50.0, [0.0, 40.0, 60.0, 200.0], [1.0, 2.0, 4.0, 8.0])
    assert found.level[0, 0] == pytest.approx(103.0)


def test_walks_between_two_ends_spread_as_stated() -> None:
    """Ten thousand random walks, held at both ends."""
    walks = np.cumsum(RNG.normal(size=(10_000, 100)), axis=1)
    held = walks[:, 29] - 0.3 * walks[:, 99]
    assert held.std() == pytest.approx(np.sqrt(background(30.0, [0.0, 100.0], [0.0, 0.0]).walk[0, 0]), rel=0.03)


def test_spikes_are_found_and_edges_are_not() -> None:
    image = np.zeros((40, 60))
    image[:, 30:] = 1000.0  # the limb
    image += 3.0 * np.arange(60)
    image += RNG.normal(size=image.shape)
    image[10, 10] += 40.0
    image[20, 45] += 40.0
    image[20, 46] += 60.0  # a hit of two pixels
    image[0, 0] += 50.0
    found = chain.spikes(image, np.ones(image.shape), 6.0)
    assert sorted(zip(*np.nonzero(found), strict=True)) == [(0, 0), (10, 10), (20, 45), (20, 46)]


def test_peaks_of_the_scene_are_no_spikes_and_hits_on_them_are() -> None:
    """Waves 10 pixels long, a thousand times the noise high."""
    y, x = np.meshgrid(np.arange(60), np.arange(80), indexing="ij")
    image = 1000.0 * np.cos(2.0 * np.pi * x / 10.0) * np.cos(2.0 * np.pi * y / 10.3) + RNG.normal(size=x.shape)
    inside = (slice(1, -1), slice(1, -1))  # on the border less is known
    assert not chain.spikes(image, np.ones(image.shape), 6.0)[inside].any()
    image[30, 35] += 1500.0  # in a valley
    image[10, 20] += 1000.0  # on a peak
    image[44, 56:58] += 1500.0, 1200.0
    found = chain.spikes(image, np.ones(image.shape), 6.0)[inside]
    assert np.argwhere(found).tolist() == [[9, 19], [29, 34], [43, 55], [43, 56]]


def test_spikes_look_past_pixels_that_are_missing() -> None:
    image = RNG.normal(size=(20, 20))
    image[5, 5] = np.nan
    image[5, 6] += 30.0
    assert np.argwhere(chain.spikes(image, np.ones(image.shape), 6.0)).tolist() == [[5, 6]]


def test_hits_of_background_frames_are_told_from_the_pattern_of_pixels() -> None:
    pattern = 70.0 * RNG.normal(size=(2, 16, 18))
    frames = pattern + np.array([0.0, 8.0, 3.0])[:, None, None, None] + 3.0 * RNG.normal(size=(3, 2, 16, 18))
    frames[1, 0, 4, 5] += 100.0
    frames[2, 1, 7, 7] += 5000.0
    found = chain.hits_between(frames, np.full(frames.shape, 3.0), 6.0)
    assert np.argwhere(found).tolist() == [[1, 0, 4, 5], [2, 1, 7, 7]]
    alone = chain.hits_between(frames[2:], np.ones((1, 2, 16, 18)), 6.0)
    assert np.argwhere(alone).tolist() == [[0, 1, 7, 7]]
    assert chain.hits_between(frames[:0], frames[:0], 6.0).shape == (0, 2, 16, 18)


def test_noise_is_that_of_counted_electrons() -> None:
    t = tables()
    focal = chain.imager(t["image_detector"], t["image_dark"], t["bands"])
    level = focal.offset + 5000.0
    number = RNG.poisson(5000.0 * 122.0, 200_000) + 400.0 * RNG.normal(size=200_000)
    drawn = np.rint(number / 122.0)
    assert focal.variance(level, 0.0).mean() == pytest.approx(drawn.var(), rel=0.02)


def test_compression_error_is_what_its_step_says() -> None:
    x, y = np.meshgrid(np.arange(432), np.arange(256))
    counts = np.rint(2000.0 + 800.0 * np.sin(x / 40.0) + 300.0 * np.cos(y / 25.0) + 5.0 * RNG.normal(size=x.shape))
    low, high = counts.min(), counts.max()
    scale = np.array([low, high]).astype(np.int64)
    for step in (5.0, 15.0):
        table = tables()["compression"].replace(step=step)
        quantum = chain.compression_step(scale, True, table)
        assert 2.0 < quantum < 10.0  # no more than twice the noise, which is how errors stay white
        error = simulate.unpacked(counts, low, high, step) - counts
        assert error.std() == pytest.approx(np.sqrt((1.0 + quantum**2) / 12.0), rel=0.03)
        for lag in (1, 2, 8):
            assert abs(np.corrcoef(error[:, lag:].ravel(), error[:, :-lag].ravel())[0, 1]) < 0.02
    assert simulate.unpacked(counts, low, high, 1.0) == pytest.approx(counts, abs=1.0)
    assert chain.compression_step(scale, False, table) == 0.0


def test_the_smallest_pixel_may_be_negative() -> None:
    table = tables()["compression"]
    scale = np.array([(-20) & 0xFFFF, 4075], np.int64)
    assert chain.compression_step(scale, True, table) == pytest.approx(1.0)


@pytest.mark.parametrize("band", [0, 1])
@pytest.mark.parametrize("kelvin", [180.0, 255.0, 320.0])
def test_colour_is_that_of_counted_photons(band: int, kelvin: float) -> None:
    bands = tables()["bands"]
    edges, reference = bands["edges"].value[band], float(bands["reference"].value[band])

    def density(um: float) -> float:
        return 1.191042972e8 / um**5 / np.expm1(14387.76877 / (um * kelvin))

    energy = quad(density, *edges)[0]
    photons = quad(lambda um: density(um) * um / reference, *edges)[0]
    assert planck.colour(np.array([energy]), edges, reference)[0] == pytest.approx(photons / energy, rel=2e-6)
    assert planck.brightness_temperature(energy, edges) == pytest.approx(kelvin, abs=1e-3)


def test_radiance_that_no_blackbody_has() -> None:
    edges = tables()["bands"]["edges"].value[1]
    assert np.isnan(planck.brightness_temperature([-1.0, 0.0, np.nan], edges)).all()


def test_wavelengths_end_where_the_document_says() -> None:
    um = chain.nominal_wavelength(tables()["wavelength"])
    assert um[335] == pytest.approx(5.0052026, abs=1e-7)


def test_responsivity_is_halved_from_pj58_on() -> None:
    from pipeline.passes import get_pass

    early, late = (tables(get_pass(n).et)["image_responsivity"]["rate"].value for n in (57, 58))
    np.testing.assert_allclose(late, 0.5 * early)


def test_an_exposure_shorter_than_the_read_out_is_refused() -> None:
    frame = calibrate.Frame(0.0, 1e-5, np.zeros((1, 1)), np.zeros((1, 1), bool), np.zeros(9), 0.0, False, 0)
    with pytest.raises(CalibrationError, match="not longer than the time of read-out"):
        calibrate.gain_of(frame, np.ones(1), np.ones(1), tables()["exposure"], None)


def test_read_time_is_a_parameter() -> None:
    frame = calibrate.Frame(0.0, 1e-3, np.zeros((1, 1)), np.zeros((1, 1), bool), np.zeros(9), 0.0, False, 0)
    gain = [calibrate.gain_of(frame, np.full(1, 2e6), np.zeros(1), tables()["exposure"], t)[0][0] for t in (None, 0.0)]
    assert gain == pytest.approx([2e6 * 0.98e-3, 2e6 * 1e-3])
