"""The closed loop: photons to frames to radiance and back to the truth; and that it notices what is wrong."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

sys.path.insert(0, str(Path(__file__).parent))
from jiram_scene import CLOCK, Loop, backgrounds, failed, image_of, judged, looped, spectra_of, tables

from calibration.tables import Table
from instruments.jiram import INSTRUMENT, chain, planck, raw
from instruments.jiram.schemas import BACKGROUND_ONE_SIDED, BACKGROUND_TABLE, HOT_PIXEL
from pipeline.dataset.quality import Quality
from pipeline.testing.systematic import systematic_pulls

RADIANCE, SPECTRA = "jiram.radiance", "jiram.spectra"


def images(loop: Loop) -> list[raw.Granule]:
    return loop.granules["jiram.image_edr"]


def test_images_agree_with_the_truth(loop: Loop, image_background: xr.Dataset) -> None:
    for granule in images(loop):
        results = judged(image_of(loop, granule, image_background), loop.truth[granule.id], RADIANCE)
        assert failed(results) == set(), (granule.id, [r.why for r in results])
        assert {r.variable: r.test for r in results} == {"et": "time", "radiance": "normal"}
        assert all(r.n > 50_000 for r in results if r.test == "normal")


def test_spectra_agree_with_the_truth(loop: Loop, spectrum_background: xr.Dataset) -> None:
    for granule in loop.granules["jiram.spectrum_edr"]:
        results = judged(spectra_of(granule, spectrum_background), loop.truth[granule.id], SPECTRA)
        assert failed(results) == set(), (granule.id, [r.why for r in results])


def test_the_loop_saw_what_it_should(loop: Loop, image_background: xr.Dataset) -> None:
    assert {k: len(v) for k, v in loop.granules.items() if v} == {
        "jiram.image_edr": 6,
        "jiram.image_background_edr": 3,
        "jiram.spectrum_edr": 6,
        "jiram.spectrum_background_edr": 3,
    }
    data = raw.read_images(images(loop), None, CLOCK)
    assert data["subtracted"].values.tolist() == [0, 0, 0, 0, 1, 1]
    assert data["compressed"].values.tolist() == [False, False, True, True, False, False]
    assert data["present"].values.tolist() == [[True, True], [False, True]] * 3
    bits = [image_of(loop, g, image_background)["quality"].values for g in images(loop)]
    one_sided = [float(np.mean((b & BACKGROUND_ONE_SIDED.mask) != 0)) for b in bits]
    assert max(one_sided[:4]) < 0.01  # pixels that were hit in a background frame
    assert min(one_sided[4:]) > 0.99
    assert [int(((b & HOT_PIXEL.mask) != 0).sum()) for b in bits][:2] == [102, 20]
    assert all(0 < ((b & Quality.RADIATION) != 0).sum() < 100 for b in bits)
    assert not any((b & BACKGROUND_TABLE.mask).any() & (k < 4) & ((b & HOT_PIXEL.mask) == 0)[
        (b & BACKGROUND_TABLE.mask) != 0].any() for k, b in enumerate(bits))  # fmt: skip


def test_kelvins_of_the_scene_are_recovered(loop: Loop, image_background: xr.Dataset) -> None:
    """A blackbody's temperature, from counts to kelvin, in pixels that look down on the planet."""
    granule = images(loop)[0]
    edges = tables()["bands"]["edges"].value[1]
    product, truth = image_of(loop, granule, image_background), loop.truth[granule.id]
    good = (product["quality"].values[0, 1] & ~np.uint32(BACKGROUND_ONE_SIDED.mask)) == 0
    seen, sigma = (product[n].values[0, 1].astype(float) for n in ("radiance", "radiance_random"))
    kelvin = planck.brightness_temperature(seen, edges)
    # The simulator's own law over the same band, by another quadrature.
    um = np.linspace(*edges, 2001)
    grid = np.linspace(180.0, 290.0, 2201)
    total = np.trapezoid(1.191042972e8 / um**5 / (np.exp(14387.76877 / (um * grid[:, None])) - 1.0), um, axis=1)
    true = np.interp(truth["radiance"].values[0, 1], total, grid)
    slope = np.interp(seen, total, np.gradient(grid, total))
    pull = ((kelvin - true) / (slope * sigma))[good]
    assert 190.0 < true.min() < true.max() < 275.0
    assert abs(np.mean(kelvin[good] - true[good])) < 0.1
    assert 0.9 < pull.std() < 1.1


# What the loop must notice


def changed(name: str, **values: np.ndarray) -> dict[str, Table]:
    known = tables()
    return {**known, name: known[name].replace(**values)}


def test_a_doubled_responsivity_is_noticed(loop: Loop, image_background: xr.Dataset) -> None:
    known = changed("image_responsivity", rate=2.0 * tables()["image_responsivity"]["rate"].value)
    granule = images(loop)[0]
    results = judged(image_of(loop, granule, image_background, known), loop.truth[granule.id], RADIANCE)
    assert "radiance" in failed(results)


def test_a_responsivity_half_a_percent_off_is_noticed(loop: Loop, image_background: xr.Dataset) -> None:
    known = changed("image_responsivity", rate=1.005 * tables()["image_responsivity"]["rate"].value)
    granule = images(loop)[0]
    results = judged(image_of(loop, granule, image_background, known), loop.truth[granule.id], RADIANCE)
    assert "radiance" in failed(results)


@pytest.mark.parametrize("product", [RADIANCE, SPECTRA])
def test_a_halved_uncertainty_is_noticed(
    loop: Loop, image_background: xr.Dataset, spectrum_background: xr.Dataset, product: str
) -> None:
    if product == RADIANCE:
        granule, name = images(loop)[0], "radiance"
        dataset = image_of(loop, granule, image_background)
    else:
        granule, name = loop.granules["jiram.spectrum_edr"][0], "spectral_radiance"
        dataset = spectra_of(granule, spectrum_background)
    halved = dataset.assign({f"{name}_random": dataset[f"{name}_random"] * np.float32(0.5)})
    assert name in failed(judged(halved, loop.truth[granule.id], product))


def test_a_frame_shifted_by_one_is_noticed(loop: Loop, image_background: xr.Dataset) -> None:
    first, _, third, *_ = images(loop)
    late = image_of(loop, third, image_background)
    truth = loop.truth[first.id]
    assert failed(judged(late, truth, RADIANCE)) == {"et", "radiance"}


def test_bands_in_the_other_order_are_noticed(loop: Loop, image_background: xr.Dataset) -> None:
    granule = images(loop)[0]
    data = raw.read_images([granule], None, CLOCK)
    flipped = data.assign(counts=data["counts"][:, ::-1])
    product = image_of(loop, granule, image_background, data=flipped)
    assert "radiance" in failed(judged(product, loop.truth[granule.id], RADIANCE))


def test_background_subtracted_twice_is_noticed(loop: Loop, image_background: xr.Dataset) -> None:
    granule = images(loop)[4]
    data = raw.read_images([granule], None, CLOCK)
    assert data["subtracted"].values[0] == 1
    product = image_of(loop, granule, image_background, data=data.assign(subtracted=data["subtracted"] * 0))
    assert "radiance" in failed(judged(product, loop.truth[granule.id], RADIANCE))


def test_one_background_frame_alone_drifts_further_than_two(loop: Loop, image_background: xr.Dataset) -> None:
    granule = images(loop)[1]
    right = image_of(loop, granule, image_background)
    before = image_background.isel(et=image_background["et"].values < granule.start)
    last = image_of(loop, granule, before)
    assert last["radiance_structured"].values[0, 0] > 1.3 * right["radiance_structured"].values[0, 0]


def test_colour_left_out_is_noticed(loop: Loop, image_background: xr.Dataset) -> None:
    granule = images(loop)[0]
    product = image_of(loop, granule, image_background, colour_correction=False)
    assert "radiance" in failed(judged(product, loop.truth[granule.id], RADIANCE))


def test_compression_left_out_of_the_noise_is_noticed(
    loop: Loop, image_background: xr.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With coarse steps, of which the noise takes account or not."""
    granule = images(loop)[2]
    data = raw.read_images([granule], None, CLOCK)
    with_error = image_of(loop, granule, image_background)["radiance_random"].values
    monkeypatch.setattr(chain, "compression_step", lambda *_: 0.0)
    without = image_of(loop, granule, image_background)["radiance_random"].values
    step = float(data["scale"].values[0] @ [-1, 1]) / 4095.0
    gained = np.nanmedian((with_error**2 - without**2)[0, 0])
    per_unit = 2.0e6 * (0.012 - 2e-5)
    assert 0.9 < gained / ((step / per_unit) ** 2 / 12.0) < 1.1
    assert step > 1.0


def test_without_background_frames_the_table_stands_in_and_says_so(loop: Loop) -> None:
    granule = images(loop)[0]
    product = image_of(loop, granule, None)
    truth = loop.truth[granule.id]["radiance"].values
    good = (product["quality"].values & ~np.uint32(BACKGROUND_TABLE.mask)) == 0
    off = (product["radiance"].values - truth)[good]
    stated = np.hypot(product["radiance_systematic"].values, product["radiance_structured"].values[..., None, None])
    assert ((product["quality"].values & BACKGROUND_TABLE.mask) != 0).all()
    assert np.std(off) > 5.0 * np.nanmedian(product["radiance_random"].values)
    assert 0.1 < np.sqrt(np.mean((off / stated[good]) ** 2)) < 1.2


def test_the_frame_subtracted_on_board_is_none_that_is_older_than_a_cycle(
    loop: Loop, image_background: xr.Dataset
) -> None:
    """Its frame was lost on the way: the older one is not taken for it; noise, hits and drift are said to stay."""
    granule = images(loop)[4]
    older = image_background.isel(et=slice(0, 2))
    product, right = image_of(loop, granule, older), image_of(loop, granule, image_background)
    assert ((product["quality"].values & BACKGROUND_TABLE.mask) != 0).all()
    assert failed(judged(product, loop.truth[granule.id], RADIANCE)) == set()
    assert np.nanmedian(product["radiance_random"].values / right["radiance_random"].values) > 0.99
    at_once = image_of(loop, granule, None)
    np.testing.assert_allclose(product["radiance"].values, at_once["radiance"].values, rtol=0, atol=2e-3)


# Structured and systematic


@pytest.mark.slow
def test_drift_between_background_frames_is_of_the_size_stated(tmp_path: Path) -> None:
    """Band means of M over many frames: errors shared by a frame, over what is stated of them."""
    many = looped(-2400.0, -600.0, tmp_path, every=2, cycle=5, seed=11)
    background = backgrounds(many, "image")
    pulls = []
    for granule in many.granules["jiram.image_edr"]:
        product, truth = image_of(many, granule, background), many.truth[granule.id]
        m = product["band"].values.tolist().index("M")
        good = (product["quality"].values[0, m] & ~np.uint32(BACKGROUND_ONE_SIDED.mask)) == 0
        off = (product["radiance"].values[0, m] - truth["radiance"].values[0, m])[good].mean()
        pulls.append(off / product["radiance_structured"].values[0, m])
    assert len(pulls) >= 20
    # Neighbours of a cycle are correlated: some ten are independent.
    assert 0.5 < np.sqrt(np.mean(np.square(pulls))) < 1.6


@pytest.mark.slow
def test_systematic_uncertainty_is_what_the_tables_make(loop: Loop) -> None:
    """Two hundred draws of all tables, background frames made anew with each."""
    rng = np.random.default_rng(5)
    known = tables()
    sets = [{n: t.draw(rng) for n, t in known.items()} for _ in range(200)]
    image, spectrum = images(loop)[1], loop.granules["jiram.spectrum_edr"][0]
    near = {k: [g for g in v if abs(g.start - image.start) < 200.0] for k, v in loop.granules.items()}
    small = loop._replace(granules=near)

    def one(known: dict[str, Table]) -> xr.Dataset:
        product = image_of(loop, image, backgrounds(small, "image", known), known)
        return product.isel(line=slice(0, 128, 16), sample=slice(0, 432, 27))

    nominal = one(known)
    assert np.nanmin(nominal["radiance"].values) > 0.01
    found = systematic_pulls(map(one, sets), nominal, INSTRUMENT.product(RADIANCE).schema)
    assert 0.85 < found["radiance"] < 1.15, found

    def other(known: dict[str, Table]) -> xr.Dataset:
        product = spectra_of(spectrum, backgrounds(small, "spectrum", known), known)
        return product.isel(slit=slice(0, 256, 16), channel=slice(280, 336))

    found = systematic_pulls(map(other, sets), other(known), INSTRUMENT.product(SPECTRA).schema)
    assert 0.85 < found["spectral_radiance"] < 1.15, found
    assert 0.85 < found["wavelength"] < 1.15, found


def test_a_table_that_is_off_by_its_uncertainty_moves_radiance_by_what_is_stated(
    loop: Loop, image_background: xr.Dataset
) -> None:
    rate = tables()["image_responsivity"]["rate"]
    granule = images(loop)[1]
    right = image_of(loop, granule, image_background)
    off = image_of(loop, granule, image_background, changed("image_responsivity", rate=rate.value + rate.sigma))
    moved = np.abs(off["radiance"].values - right["radiance"].values) / right["radiance_systematic"].values
    bright = right["radiance"].values > 0.02
    assert 0.8 < np.nanmedian(moved[bright]) < 1.0  # the read time and the odd columns have their part
