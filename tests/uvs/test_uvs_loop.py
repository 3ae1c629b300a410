"""The closed loop: scene to single events to products and back to the truth; and that it notices what is wrong."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

sys.path.insert(0, str(Path(__file__).parent))
from uvs_world import CLOCK, Loop, failed, finished, looped, tables

from calibration.tables import Table
from instruments.uvs import INSTRUMENT, detector, places, pointing, raw, spectra
from instruments.uvs.layout import SLIT_BINS
from instruments.uvs.schemas import BROKEN
from instruments.uvs.tables import Tables
from pipeline.clock import Span
from pipeline.testing.systematic import systematic_pulls

SPECTRUM = {"radiance", "counts"}


@pytest.fixture(scope="module")
def products(loop: Loop) -> dict[str, xr.Dataset]:
    made = {name: loop.make(name) for name in ("uvs.photons", "uvs.rates", "uvs.spectra", "uvs.swath")}
    return {**made, "uvs.map": loop.map(swath=made["uvs.swath"])}


TESTS = {
    "uvs.photons": {
        "et": "time", "wavelength": "derived", "latitude": "consistent", "longitude": "consistent",
        "pulse_height": "exact",
    },
    "uvs.rates": {"et": "time", "rate": "normal", "radiation": "poisson"},
    "uvs.spectra": {"et": "time", "radiance": "derived", "counts": "poisson"},
    "uvs.swath": {"et": "time", "count_rate": "poisson", "slit_bin": "exact"},
    "uvs.map": {"brightness": "derived"},
}  # fmt: skip


@pytest.mark.parametrize("product", TESTS)
def test_products_agree_with_the_truth(loop: Loop, products: dict[str, xr.Dataset], product: str) -> None:
    results = loop.judge(product, products[product])
    assert failed(results) == set(), [r.why for r in results if not r.ok]
    assert {r.variable: r.test for r in results} == TESTS[product]


def test_the_loop_saw_what_it_should(loop: Loop, products: dict[str, xr.Dataset]) -> None:
    rates, photons = products["uvs.rates"], products["uvs.photons"]
    assert rates["rate"].values.max() > 3e4
    assert rates["live"].values.min() < 0.9
    # a frame with lost hacks and one marked bad
    bad = (photons["quality"].values & BROKEN.mask) != 0
    assert 0.01 < bad.mean() < 0.08
    assert loop.raw["hacks_lost"].values.sum() == 100
    assert not np.isfinite(photons["wavelength"].values[bad]).any()
    assert np.isfinite(products["uvs.map"]["colour_ratio"]).sum() > 10


def test_the_aurora_is_recovered_in_kilorayleigh(loop: Loop, products: dict[str, xr.Dataset]) -> None:
    """The oval of the scene, where it is bright in the map: within errors, and nowhere else."""
    made, true = products["uvs.map"], loop.truth["uvs.map"]["brightness"].values
    band = 1
    bright = np.nan_to_num(true[band]) > 3.0
    assert bright.sum() > 5
    ratio = made["brightness"].values[band][bright].sum() / true[band][bright].sum()
    assert abs(ratio - 1.0) < 0.05
    elsewhere = np.isfinite(true[band]) & (true[band] < 0.1)
    assert abs(np.nanmean(made["brightness"].values[band][elsewhere])) < 0.1


# What the loop must notice


def doubled_area(known: dict[str, Table]) -> dict[str, Table]:
    area = known["effective_area"]
    return {
        **known,
        "effective_area": area.replace(
            published_area=2 * area["published_area"].value, other_area=2 * area["other_area"].value
        ),
    }


def no_sag(known: dict[str, Table]) -> dict[str, Table]:
    return {**known, "pulse_height": known["pulse_height"].replace(sag_rate=1e12)}


def flipped_dispersion(known: dict[str, Table]) -> dict[str, Table]:
    """The order of the bins of wavelength turned round."""
    law = known["wavelength"]
    return {**known, "wavelength": law.replace(origin=210.0, dispersion=-law["dispersion"].value)}


def shifted_wavelength(known: dict[str, Table]) -> dict[str, Table]:
    return {**known, "wavelength": known["wavelength"].replace(origin=known["wavelength"]["origin"].value + 0.1)}


def wider_slit(known: dict[str, Table]) -> dict[str, Table]:
    return {
        **known,
        "detector": known["detector"].replace(section_width=known["detector"]["section_width"].value * 1.1),
    }


@pytest.mark.parametrize(
    ("change", "caught"),
    [
        (doubled_area, {"radiance"}),
        (flipped_dispersion, {"radiance", "counts"}),
        (shifted_wavelength, {"radiance", "counts"}),
        (wider_slit, {"radiance"}),
    ],
)
def test_a_wrong_table_is_noticed(
    loop: Loop, change: Callable[[dict[str, Table]], dict[str, Table]], caught: set[str]
) -> None:
    assert failed(loop.judge("uvs.spectra", loop.make("uvs.spectra", change(tables())))) >= caught


@pytest.mark.parametrize("product", ["uvs.spectra", "uvs.swath", "uvs.rates", "uvs.photons"])
def test_a_halved_uncertainty_is_noticed(loop: Loop, products: dict[str, xr.Dataset], product: str) -> None:
    made = products[product]
    names = [str(n) for n in made if str(n).endswith("_random")]
    halved = made.assign({n: made[n] * 0.5 for n in names})
    assert failed(loop.judge(product, halved)) >= {n.removesuffix("_random") for n in names}


def test_time_shifted_by_one_hack_is_noticed(loop: Loop) -> None:
    late = loop.raw.assign(et=loop.raw["et"] + 0.002)
    assert failed(loop.judge("uvs.photons", loop.make("uvs.photons", data=late))) >= {"et"}


def test_time_shifted_by_one_step_is_noticed(loop: Loop) -> None:
    late = loop.raw.assign(et=loop.raw["et"] + spectra.STEP)
    assert failed(loop.judge("uvs.swath", loop.make("uvs.swath", data=late))) >= {"count_rate"}


def test_bins_of_the_slit_in_the_wrong_order_are_noticed(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    right = detector._slit_bin
    monkeypatch.setattr(detector, "_slit_bin", lambda *a: np.where(right(*a) >= 0, SLIT_BINS - 1 - right(*a), -1))
    assert failed(loop.judge("uvs.swath", loop.make("uvs.swath"))) >= {"count_rate"}


def test_a_mirror_turned_the_wrong_way_is_noticed(loop: Loop) -> None:
    turned = loop.raw.assign(mirror_angle=-loop.raw["mirror_angle"])
    assert failed(loop.judge("uvs.photons", loop.make("uvs.photons", data=turned))) >= {"latitude", "longitude"}


def test_a_slit_that_the_mirror_does_not_turn_is_noticed(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    """It turns the slit's image too: without the second rotation the place is wrong by up to 1.6 degrees."""

    def once(v: np.ndarray, angle: np.ndarray) -> np.ndarray:
        c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
        x, y, z = np.moveaxis(v, -1, 0)
        return np.stack([c * x + s * z, y, -s * x + c * z], axis=-1)

    monkeypatch.setattr(pointing, "_back", once)
    assert failed(loop.judge("uvs.photons", loop.make("uvs.photons"))) >= {"latitude", "longitude"}


def test_dead_time_left_out_is_noticed(loop: Loop) -> None:
    known = tables()
    known["dead_time"] = known["dead_time"].replace(tau=0.0)
    assert failed(loop.judge("uvs.rates", loop.make("uvs.rates", known, dead_time_from="table"))) >= {"rate"}


def test_stim_pixels_left_out_are_noticed(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    right = places.places

    def raw_places(data: xr.Dataset, known: Tables) -> tuple[np.ndarray, ...]:
        return (data["x"].values.astype(float), data["y"].values.astype(float), *right(data, known)[2:])

    monkeypatch.setattr(places, "places", raw_places)
    assert failed(loop.judge("uvs.photons", loop.make("uvs.photons"))) >= {"wavelength"}


def test_radiation_left_in_is_noticed(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    right = detector.radiation_share
    monkeypatch.setattr(detector, "radiation_share", lambda *a: (0.0 * right(*a)[0], right(*a)[1]))
    assert failed(loop.judge("uvs.spectra", loop.make("uvs.spectra"))) >= {"radiance"}


# Rates, and what is systematic


@pytest.mark.parametrize("rate", [1e4, 1e5, 3e5])
@pytest.mark.parametrize("source", ["rates", "table"])
def test_brightness_is_recovered_at_rates(tmp_path_factory: pytest.TempPathFactory, rate: float, source: str) -> None:
    """An even sky of Lyman alpha at 1e4, 1e5 and 3e5 events/s: what is found is within its systematic error."""
    bright = _sky(tmp_path_factory, rate)
    rates = finished(bright.make("uvs.rates", dead_time_from=source), "uvs.rates")
    assert 0.5 * rate < rates["rate"].values.mean() < 2 * rate
    made = bright.make("uvs.spectra", dead_time_from=source)
    true = bright.truth["uvs.spectra"]["radiance"].values[:, 1]
    line = np.abs(made["wavelength"].values - 121.5) < 2.0
    ratio = made["radiance"].values[:, 1, line].sum() / true[:, line].sum()
    systematic, structured = (
        np.nanmean((made[f"radiance_{c}"] / made["radiance"]).values[:, 1, line]) for c in ("systematic", "structured")
    )
    assert abs(ratio - 1.0) < np.hypot(systematic, structured)
    # The tables are the true ones; what is left is pile-up: merged pulses of one line fall on that line (README).
    assert abs(ratio - 1.0) < {1e4: 0.01, 1e5: 0.02, 3e5: 0.045}[rate]
    sag = bright.make("uvs.photons")["efficiency"].values.min()
    assert sag < {1e4: 1.0, 1e5: 0.995, 3e5: 0.96}[rate]


_SKIES: dict[float, Loop] = {}


def _sky(tmp_path_factory: pytest.TempPathFactory, rate: float) -> Loop:
    if rate not in _SKIES:
        from instruments.uvs import forward

        with pytest.MonkeyPatch.context() as patch:
            kr = rate / 8.3e3

            def even(longitude: np.ndarray, latitude: np.ndarray, incidence: np.ndarray) -> np.ndarray:
                del latitude, incidence
                return np.broadcast_to([0.0, 0.0, kr, 0.0], (*longitude.shape, 4))

            patch.setattr(forward, "brightness", even)
            _SKIES[rate] = looped(tmp_path_factory.mktemp("sky"), -1190.0, 6.0)
    return _SKIES[rate]


@pytest.mark.parametrize("tau", [2e-6, 18e-6])
def test_dead_time_is_found_from_the_rates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tau: float) -> None:
    """The nine-fold range of the constant: the count rates tell it, whatever the table says."""
    from instruments.uvs import simulate

    right = simulate.truth_tables

    def other(et: float) -> dict[str, dict[str, np.ndarray]]:
        known = right(et)
        return {**known, "dead_time": {**known["dead_time"], "tau": np.asarray(tau)}}

    monkeypatch.setattr(simulate, "truth_tables", other)
    short = looped(tmp_path, -1190.0, 20.0)
    rates = short.make("uvs.rates")
    assert abs(rates["dead_time"].values.mean() / tau - 1.0) < 0.05
    wrong = short.make("uvs.rates", dead_time_from="table")
    assert failed(short.judge("uvs.rates", wrong)) >= {"rate"}


def test_systematic_uncertainty_is_what_the_tables_make(loop: Loop) -> None:
    """Two hundred draws of the tables that make brightness, on some seconds of one spin."""
    drawn = ("detector", "wavelength", "effective_area", "dead_time", "pulse_height", "radiation", "flat")
    start = float(loop.raw["frame_et"].values[0])
    data = raw.read_edr(loop.granules, Span(start, start + 2.0), CLOCK)
    rng, truth = np.random.default_rng(7), tables()
    # what the draws do not concern: where the slit looks
    fixed = {"row_center": truth["detector"]["row_center"]}
    sets = [{name: (table.draw(rng) if name in drawn else table) for name, table in truth.items()} for _ in range(200)]
    for known in sets:
        # a logarithm has no place for what lies four sigma below
        area = known["effective_area"]
        known["effective_area"] = area.replace(other_area=np.maximum(area["other_area"].value, 1e-4))
        known["detector"] = replace(known["detector"], quantities={**known["detector"].quantities, **fixed})
    nominal = loop.make("uvs.spectra", data=data).isel(et=[0])
    # where there is light: elsewhere a shift of the scale moves single counts
    good = (nominal["wavelength"].values > 120.0) & (nominal["wavelength"].values < 123.0)
    nominal = nominal.isel(wavelength=good)
    made = (loop.make("uvs.spectra", known, data=data).isel(et=[0], wavelength=good) for known in sets)
    schema = INSTRUMENT.product("uvs.spectra").schema
    found = systematic_pulls(made, nominal, schema)
    assert set(found) == {"radiance"}
    assert 0.85 < found["radiance"] < 1.15, found
