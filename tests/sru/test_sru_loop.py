"""The closed loop: sky and particles to images to products and back to the truth; and that it notices what is wrong."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

sys.path.insert(0, str(Path(__file__).parent))
from sru_scene import CLOCK, Loop, failed, hits_of, image_of, stars_of, tables

from instruments.sru import INSTRUMENT, calibrate, camera, counts
from instruments.sru.raw import read_edr
from instruments.sru.schemas import CROWDED, IMAGE, NO_STACK, OVERLAP, SPARSE
from pipeline.dataset import check
from pipeline.dataset.context import add_context
from pipeline.dataset.quality import Quality
from pipeline.instrument import Granule
from pipeline.testing.systematic import judge_systematic, systematic_pulls


def quiet(loop: Loop) -> str:
    """A unit whose stars have a truth."""
    return next(u for t, u in loop.truth if t == "sru.stars")


def granule(loop: Loop, unit: str) -> Granule:
    return next(g for g in loop.granules if g.id == unit)


def test_images_agree_with_the_truth(loop: Loop) -> None:
    for unit, image in loop.images.items():
        results = loop.judged("sru.image", image, unit)
        assert failed(results) == set(), (unit, [r.why for r in results if not r.ok])
        assert {r.variable: r.test for r in results} == {"et": "time", "rate": "normal"}
        assert next(r for r in results if r.variable == "rate").n > 50_000


def test_the_loop_saw_what_it_should(loop: Loop) -> None:
    bits = np.array([int(np.bitwise_or.reduce(i["quality"].values, axis=None)) for i in loop.images.values()])
    for q in (Quality.MISSING, Quality.SATURATED, Quality.RADIATION):
        assert (bits & int(q)).any(), q
    by_row = [float((i["quality"].values & NO_STACK.mask != 0).mean()) for i in loop.images.values()]
    assert max(by_row) < 0.02
    lacking = [np.isnan(i["rate"].values[320, 2:]).all() for i in loop.images.values()]
    assert sum(lacking) == 1
    hit = np.concatenate([(i["quality"].values & int(Quality.RADIATION)).ravel() != 0 for i in loop.images.values()])
    assert 0.001 < hit.mean() < 0.2


def test_stars_agree_with_the_truth(loop: Loop) -> None:
    """Places to better than 0.2 pixel, one by one; their pulls over all images."""
    pulls, off = [], []
    for unit in (u for t, u in loop.truth if t == "sru.stars"):
        measured, truth = stars_of(loop.images[unit], loop.scene), loop.truth["sru.stars", unit]
        np.testing.assert_array_equal(measured["hip"].values, truth["hip"].values)
        good = (measured["quality"].values & int(Quality.MISSING | Quality.SUSPECT)) == 0
        good &= np.isfinite(truth["rate"].values)
        off.append((measured["place"].values - truth["place"].values)[good])
        pulls.append(off[-1] / measured["place_random"].values[good])
        # where they are expected is where they are, by another derivation
        both = np.isfinite(truth["rate"].values)
        np.testing.assert_allclose(measured["expected_place"].values[both], truth["place"].values[both], atol=5e-3)
        results = loop.judged("sru.stars", measured, unit)
        assert "rate" in {r.variable for r in results}
    shift, pull = np.concatenate(off), np.concatenate(pulls)
    assert len(shift) > 40
    assert np.sqrt((shift**2).mean(axis=0)).max() < 0.06
    assert np.mean(np.hypot(*shift.T) < 0.2) > 0.97
    assert np.abs(pull.mean(axis=0)).max() < 0.05 + 3 / np.sqrt(len(pull))
    assert np.abs(pull.std(axis=0) - 1).max() < 0.05 + 3 / np.sqrt(2 * len(pull))


def test_pointing_is_right_to_a_hundredth_of_a_pixel(loop: Loop) -> None:
    measured = stars_of(loop.images[quiet(loop)], loop.scene)
    assert np.abs(measured["pointing"].values[:2]).max() < 0.02
    assert np.abs(measured["pointing"].values / measured["pointing_random"].values).max() < 4


def test_count_rates_agree_with_the_truth(loop: Loop, hits: dict[str, xr.Dataset]) -> None:
    rates = counts.count_rate_from_images(hits)
    results = loop.judged("sru.count_rate", rates, "")
    assert failed(results) == set(), [r.why for r in results if not r.ok]
    given = np.isfinite(rates["cluster_rate"].values).astype(int) + np.isfinite(rates["noise_rate"].values)
    assert (given == 1).all()
    assert np.isfinite(rates["noise_rate"].values).any()
    void = rates["cluster_quality"].values[np.isnan(rates["cluster_rate"].values)]
    assert (void & OVERLAP.mask).all()
    assert (rates["noise_quality"].values[np.isnan(rates["noise_rate"].values)] & SPARSE.mask).all()


def test_products_keep_their_schemas(loop: Loop, hits: dict[str, xr.Dataset]) -> None:
    unit = quiet(loop)
    image = loop.images[unit]
    made = {
        "sru.dark": loop.dark,
        "sru.image": image,
        "sru.stars": stars_of(image, loop.scene),
        "sru.hits": hits[unit],
        "sru.count_rate": counts.count_rate_from_images(hits),
    }
    for name, dataset in made.items():
        schema = INSTRUMENT.product(name).schema
        whole = add_context(dataset, schema, loop.scene.geometry, CLOCK) if schema.context else dataset
        check.check(check.finish(whole, schema, INSTRUMENT.flags, {}), schema, INSTRUMENT.flags)


def test_without_a_stack_the_dark_level_is_by_row(loop: Loop) -> None:
    unit = quiet(loop)
    image = image_of(granule(loop, unit), None, loop.scene)
    bits = image["quality"].values
    assert ((bits & (NO_STACK.mask | int(Quality.MISSING))) != 0).all()
    results = loop.judged("sru.image", image, unit)
    # hot pixels are not known then; they are few
    assert next(r for r in results if r.variable == "rate").pull_std < 1.3
    assert abs(next(r for r in results if r.variable == "rate").pull_mean) < 0.05


def test_stars_among_many_hits_are_flagged(loop: Loop, hits: dict[str, xr.Dataset]) -> None:
    rates = {u: float(h["density"]) for u, h in hits.items()}
    unit = max(rates, key=lambda u: rates[u])
    assert rates[unit] > 0.003
    assert (stars_of(loop.images[unit], loop.scene)["quality"].values & CROWDED.mask).all()


def test_the_night_side_is_seen(night: Loop) -> None:
    """PJ50 passes over the night side: electrons per second of the planet, above the sky."""
    shares = {}
    for unit, image in night.images.items():
        results = night.judged("sru.image", image, unit)
        assert failed(results) == set(), (unit, [r.why for r in results if not r.ok])
        truth = night.truth["sru.image", unit]["rate"].values
        shares[unit] = float(np.mean(truth == 400.0))
    unit = max(shares, key=lambda u: shares[u])
    assert 0.1 < shares[unit] < 0.9
    on = night.truth["sru.image", unit]["rate"].values == 400.0
    good = on & ((night.images[unit]["quality"].values & int(Quality.RADIATION | Quality.MISSING)) == 0)
    assert float(night.images[unit]["rate"].values[good].mean()) == pytest.approx(400.0, rel=0.02)


# The loop must be able to fail


def test_a_doubled_gain_is_noticed(loop: Loop) -> None:
    known = tables()
    known["gain"] = known["gain"].replace(gain=2.0 * known["gain"]["gain"].value)
    measured = stars_of(image_of(granule(loop, quiet(loop)), loop.dark, loop.scene, known), loop.scene)
    truth = loop.truth["sru.stars", quiet(loop)]
    ratio = (measured["rate"] / truth["rate"]).values
    assert np.nanmedian(ratio) == pytest.approx(2.0, abs=0.05)
    assert "rate" in failed(loop.judged("sru.stars", measured, quiet(loop)))


def test_halved_uncertainties_are_noticed(loop: Loop) -> None:
    unit = quiet(loop)
    image = loop.images[unit].copy(deep=True)
    image["rate_random"].values[:] /= 2.0
    assert "rate" in failed(loop.judged("sru.image", image, unit))
    measured = stars_of(loop.images[unit], loop.scene).copy(deep=True)
    measured["place_random"].values[:] /= 2.0
    assert "place" in failed(loop.judged("sru.stars", measured, unit))


def test_a_time_off_by_a_millisecond_is_noticed(loop: Loop) -> None:
    """1 ms is 0.37 of a row: the stars say so."""
    unit = quiet(loop)
    raw = read_edr([granule(loop, unit)], None, CLOCK).assign_coords(et=lambda d: d["et"] + 1e-3)
    known = tables()
    chosen = [known[n] for n in ("camera", "readout", "gain", "stars", "photometry")]
    late = calibrate.image(raw, None, loop.scene.geometry, *chosen)
    assert "et" in failed(loop.judged("sru.image", late, unit))
    measured = stars_of(late, loop.scene)
    assert measured["pointing"].values[0] == pytest.approx(0.369, abs=0.03)
    assert measured["pointing"].values[0] > 20 * measured["pointing_random"].values[0]


def test_aberration_left_out_is_noticed(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camera, "LIGHT", 1e12)
    measured = stars_of(loop.images[quiet(loop)], loop.scene)
    assert np.abs(measured["pointing"].values[:2] / measured["pointing_random"].values[:2]).max() > 10


def test_exposure_of_the_first_rows_left_out_is_noticed(
    loop: Loop, hits: dict[str, xr.Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if all rows of an image with time delay integration collected light for as long."""
    unit = quiet(loop)
    monkeypatch.setattr(calibrate, "row_exposure", lambda shot, readout: np.full(512, shot.seconds))
    wrong = image_of(granule(loop, unit), loop.dark, loop.scene)
    assert "et" in failed(loop.judged("sru.image", wrong, unit))
    assert float(hits_of(wrong)["cluster_area"]) > 1.1 * float(hits[unit]["cluster_area"])


def test_overlap_left_out_is_noticed(hits: dict[str, xr.Dataset]) -> None:
    """Clusters taken for hits: ten to twenty per cent too few where there are many."""
    dense = [h for h in hits.values() if float(h["density"]) > 0.007]
    assert dense
    for h in dense:
        uncorrected = float(h["clusters"]) / float(h["cluster_area"])
        assert uncorrected < float(h["cluster_rate"]) - 3 * float(h["cluster_rate_random"])


@pytest.mark.slow
def test_systematic_uncertainties_are_what_tables_make(loop: Loop) -> None:
    """Two hundred draws of gain and readout."""
    unit, rng = quiet(loop), np.random.default_rng(11)
    nominal = check.finish(loop.images[unit], IMAGE, INSTRUMENT.flags, {"product": "sru.image/PJ01/x"})

    def draws() -> Iterator[xr.Dataset]:
        for _ in range(200):
            known = tables()
            for name in ("gain", "readout"):
                known[name] = known[name].draw(rng)
            yield image_of(granule(loop, unit), loop.dark, loop.scene, known)

    deviations = systematic_pulls(draws(), nominal, IMAGE)
    results = [r for r in loop.judged("sru.image", loop.images[unit], unit) if r.variable == "rate"]
    judged = judge_systematic(results, {"rate": deviations["rate"]})
    assert failed(judged) == set(), deviations
