"""The closed loop: what is made of simulated raw data against the truth, and that it would notice what is wrong."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "mag"))
import mag_scene
from jade_scene import electron_rate, fluxes, ion_logicals, ion_masses, ion_rate, moments_of, tables
from loops import Loop, finished, scene

from calibration.tables import Table
from instruments.jade import INSTRUMENT, looks
from pipeline.dataset.quality import Quality
from pipeline.testing.inputs import field_of
from pipeline.testing.pulls import Result, compare_to_truth
from pipeline.testing.systematic import systematic_pulls

PRODUCTS = tuple(p.name for p in INSTRUMENT.products)


def judged(loop: Loop, product: str, dataset: xr.Dataset | None = None) -> list[Result]:
    dataset = loop.products[product] if dataset is None else dataset
    return compare_to_truth(finished(dataset, product), loop.truth[product], INSTRUMENT.product(product).schema)


def failed(results: list[Result]) -> set[str]:
    return {r.variable for r in results if not r.ok}


@pytest.mark.parametrize("product", PRODUCTS)
def test_products_are_the_truth_within_their_uncertainty(loop: Loop, product: str) -> None:
    results = judged(loop, product)
    assert len(results) > 2
    assert all(r.ok for r in results), [(r.variable, r.why) for r in results if not r.ok]
    named = {r.variable for r in results}
    assert (
        named
        >= {
            "rate": {"rate", "counts"},
            "flux": {"energy_flux", "number_flux", "phase_space_density", "pitch_angle"},
            "moments": {"density", "temperature"},
            "logicals": {"rate", "counts", "stop_efficiency", "start_efficiency"},
            "masses": {"rate", "counts", "mass_rate", "energy_flux"},
        }[product.rsplit("_", 1)[1]]
    )


def test_planted_moments_come_back_under_ram_flow_and_potential(loop: Loop) -> None:
    """Density and temperature of kappa distributions to 2 % in the mean of ten minutes, and the flow to 1 km/s."""
    ion, true = loop.products["jade.ion_moments"], loop.truth["jade.ion_moments"]
    for name in ("density", "temperature"):
        relative = (ion[name].values / true[name].values - 1.0)[:, 3:6]
        assert np.isfinite(relative).sum() > 20
        assert np.abs(np.nanmean(relative, axis=0)).max() < 0.02
    off = np.nanmean((ion["velocity"].values - true["velocity"].values)[:, 3:6], axis=0)
    assert np.linalg.norm(off, axis=-1).max() < 1.0
    speed = np.linalg.norm(loop.scene.geometry.velocity("IAU_JUPITER", ion["et"].values), axis=1)
    assert speed.min() > 55.0  # ram of the spacecraft: 280 eV for O+
    electron, known = loop.products["jade.electron_moments"], loop.truth["jade.electron_moments"]
    fast = electron["mode"].values == looks.HRS
    for name, limit in (("density", 0.03), ("temperature", 0.05)):
        assert abs(float((electron[name].values[fast] / known[name].values[fast]).mean()) - 1.0) < limit


@pytest.mark.parametrize("kind", ["electron", "ion"])
@pytest.mark.parametrize("measured", [True, False], ids=["field", "no field"])
def test_a_segment_without_records_makes_products_without_records(loop: Loop, kind: str, measured: bool) -> None:
    rate, flux = (loop.products[f"jade.{kind}_{of}"] for of in ("rate", "flux"))
    index = str(rate["rate"].dims[0])
    none = {index: slice(0, 0)}
    field = field_of(loop.scene) if measured else None
    assert fluxes(rate.isel(none), loop.scene, field).sizes[index] == 0
    assert moments_of(flux.isel(none), loop.scene).sizes["et"] == 0


@pytest.mark.parametrize("kind", ["electron", "ion"])
def test_pitch_angles_by_the_measured_field_are_those_of_the_true_one(
    loop: Loop, kind: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """MAG's own simulated telemetry, calibrated to 1 s means, gives pitch angles within their uncertainty."""
    near = scene(-100.0, 60.0)
    measured = mag_scene.looped(near, tmp_path_factory.mktemp("mag"))
    field = mag_scene.mean_of(measured.field, near, 1.0)
    found = fluxes(loop.products[f"jade.{kind}_rate"], loop.scene, field)
    inside = near.span.pad(-2.0).contains(found["et"].values)
    own = loop.products[f"jade.{kind}_flux"]["pitch_angle"].values
    off = np.abs(found["pitch_angle"].values - own)[inside]
    pulls = off / found["pitch_angle_systematic"].values[inside]
    good = np.isfinite(own[inside])
    assert np.isfinite(pulls[good]).mean() > 0.97
    assert (pulls[good & np.isfinite(pulls)] <= 3.0).mean() > 0.95
    assert 1e-4 < np.nanmax(off) < 1.0


def test_pitch_angles_by_a_wrong_field_of_known_error_stay_within_it(loop: Loop) -> None:
    field = field_of(loop.scene)
    rng = np.random.default_rng(3)
    noise = rng.normal(size=3) * 2e-3 * np.linalg.norm(field["b_j2000"].values, axis=1).mean()
    wrong = field.assign(
        b_j2000=field["b_j2000"] + noise, b_j2000_systematic=xr.full_like(field["b_j2000"], np.abs(noise).max())
    )
    found = fluxes(loop.products["jade.electron_rate"], loop.scene, wrong)
    assert failed(judged(loop, "jade.electron_flux", found)) == set()
    moved = np.abs(found["pitch_angle"].values - loop.products["jade.electron_flux"]["pitch_angle"].values)
    assert np.nanmax(moved) > 0.02


# What the loop must notice


def scaled(table: Table, name: str, factor: float) -> Table:
    return table.replace(**{name: table[name].value * factor})


def remade(loop: Loop, kind: str, **changed: Table) -> dict[str, xr.Dataset]:
    known = tables(**changed)
    make = electron_rate if kind == "electron" else ion_rate
    rate = make(loop.raw[kind], loop.scene, known)
    found = fluxes(rate, loop.scene, field_of(loop.scene), known)
    return {
        f"jade.{kind}_rate": rate,
        f"jade.{kind}_flux": found,
        f"jade.{kind}_moments": moments_of(found, loop.scene, known),
    }


@pytest.mark.parametrize(
    ("kind", "table", "quantity", "factor", "product", "seen"),
    [
        ("electron", "geometric_factor", "electrons", 2.0, "jade.electron_flux", {"energy_flux", "number_flux"}),
        ("electron", "timing", "dead_time", 20.0, "jade.electron_rate", {"rate"}),
        ("electron", "background", "ratio", 1.3, "jade.electron_rate", {"rate"}),
        ("electron", "spacecraft", "potential", -3.0, "jade.electron_moments", {"density"}),
        ("ion", "efficiency_ions", "efficiency", 1.3, "jade.ion_moments", {"density"}),
        ("ion", "species", "mass", 1.1, "jade.ion_moments", {"density"}),
    ],
)
def test_a_wrong_table_is_noticed(loop: Loop, kind, table, quantity, factor, product, seen) -> None:
    made = remade(loop, kind, **{table: scaled(tables()[table], quantity, factor)})
    assert failed(judged(loop, product, made[product])) >= seen


@pytest.mark.parametrize(
    ("table", "quantity", "factor", "seen"),
    [
        ("time_of_flight", "path", 1.05, {"mass_rate", "energy_flux"}),
        ("time_of_flight", "loss", 1.5, {"mass_rate"}),
        ("time_of_flight", "dead_time", 20.0, {"mass_rate"}),
        ("efficiency_ions", "efficiency", 1.3, {"energy_flux"}),
        ("logicals", "dark", 1.5, {"stop_efficiency", "start_efficiency"}),
        ("logicals", "window", 20.0, {"stop_efficiency"}),
    ],
)
def test_a_wrong_table_of_flights_is_noticed(loop: Loop, table: str, quantity: str, factor: float, seen) -> None:
    known = tables(**{table: scaled(tables()[table], quantity, factor)})
    singles = ion_logicals(loop.raw["logicals"], loop.scene, known)
    made = ion_masses(loop.raw["tof"], loop.scene, singles, known)
    found = failed(judged(loop, "jade.ion_logicals", singles)) | failed(judged(loop, "jade.ion_masses", made))
    assert found >= seen


def test_too_many_accidentals_are_noticed(loop: Loop) -> None:
    """A hundred times the chance of starts and stops is taken off."""
    singles = loop.products["jade.ion_logicals"]
    made = ion_masses(loop.raw["tof"], loop.scene, singles.assign(rate=10.0 * singles["rate"]))
    assert failed(judged(loop, "jade.ion_masses", made)) >= {"rate", "mass_rate"}


@pytest.mark.parametrize("kind", ["electron", "ion"])
def test_a_halved_uncertainty_is_noticed(loop: Loop, kind: str) -> None:
    rate = loop.products[f"jade.{kind}_rate"]
    halved = rate.assign(rate_random=rate["rate_random"] * 0.5, counts_random=rate["counts_random"] * 0.5)
    assert failed(judged(loop, f"jade.{kind}_rate", halved)) >= {"rate"}


def test_half_a_step_of_the_compression_is_noticed(loop: Loop) -> None:
    lower = tables()["compression"]
    middle = {
        n: lower[n].value + np.round(np.diff(lower[n].value, append=2 * lower[n].value[-1]) / 2)
        for n in ("lower_16", "lower_32")
    }
    made = remade(loop, "ion", compression=lower.replace(**middle))
    assert failed(judged(loop, "jade.ion_rate", made["jade.ion_rate"])) >= {"counts"}


def test_pitch_angles_of_the_wrong_sign_are_noticed(loop: Loop) -> None:
    found = loop.products["jade.electron_flux"]
    turned = found.assign(pitch_angle=180.0 - found["pitch_angle"])
    assert failed(judged(loop, "jade.electron_flux", turned)) == {"pitch_angle"}


def test_pitch_angles_a_second_late_are_noticed(loop: Loop) -> None:
    found = loop.products["jade.electron_flux"]
    late = found.assign(pitch_angle=found["pitch_angle"].copy(data=np.roll(found["pitch_angle"].values, 1, axis=0)))
    assert failed(judged(loop, "jade.electron_flux", late)) == {"pitch_angle"}


def test_ions_not_moved_by_the_spacecraft_are_noticed(loop: Loop) -> None:
    found = loop.products["jade.ion_moments"]
    own = loop.scene.geometry.velocity("IAU_JUPITER", found["et"].values)
    still = found.assign(velocity=found["velocity"] - xr.DataArray(own, dims=("et", "xyz")))
    assert failed(judged(loop, "jade.ion_moments", still)) == {"velocity"}


# Systematic


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["electron", "ion"])
def test_systematic_uncertainty_is_what_the_tables_make(loop: Loop, kind: str) -> None:
    """Draws of all tables on a few records.

    A density goes with one over efficiencies: its logarithm is spread like them, while its own tail is long.
    """
    index = "et" if kind == "electron" else "record"
    data = loop.raw[kind]
    some = data.isel({index: slice(60, 64) if kind == "electron" else slice(3, 6)})
    rng = np.random.default_rng(11)
    make = electron_rate if kind == "electron" else ion_rate
    field = field_of(loop.scene)

    def made(known):
        found = fluxes(make(some, loop.scene, known), loop.scene, field, known)
        return found, moments_of(found, loop.scene, known)

    nominal = made(tables())
    draws = [made({n: t.draw(rng) for n, t in tables().items()}) for _ in range(200)]
    for _, moments in draws:
        own = nominal[1]["density"]
        moments["density"] = own * (1.0 + np.log(moments["density"].where(moments["density"] > 0) / own))
    for place, product in enumerate((f"jade.{kind}_flux", f"jade.{kind}_moments")):
        schema = INSTRUMENT.product(product).schema
        found = systematic_pulls((d[place] for d in draws), nominal[place], schema)
        found.pop("pitch_angle", None)  # of the field, which is not drawn
        assert len(found) >= 3
        assert all(0.85 < value < 1.15 for value in found.values()), (product, found)


@pytest.mark.slow
def test_systematic_uncertainty_of_masses_is_what_the_tables_make(loop: Loop) -> None:
    """Four hundred draws of all tables on four spectra.

    Fluxes go with the inverse of an efficiency known to 15 %, whose spread is a tenth more than 15 %.
    """
    data = {name: loop.raw[name].isel(et=slice(1, 5)) for name in ("logicals", "tof")}
    rng = np.random.default_rng(12)

    def made(known):
        singles = ion_logicals(data["logicals"], loop.scene, known)
        return singles, ion_masses(data["tof"], loop.scene, singles, known)

    nominal = made(tables())
    draws = [made({n: t.draw(rng) for n, t in tables().items()}) for _ in range(400)]
    for place, product in enumerate(("jade.ion_logicals", "jade.ion_masses")):
        found = systematic_pulls((d[place] for d in draws), nominal[place], INSTRUMENT.product(product).schema)
        assert len(found) >= 3
        assert all(0.85 < value < 1.15 for value in found.values()), (product, found)


def test_missing_is_nan_and_flagged(loop: Loop) -> None:
    rate = loop.products["jade.ion_rate"]
    missing = (rate["quality"].values & np.uint32(Quality.MISSING)) != 0
    np.testing.assert_array_equal(np.isnan(rate["rate"].values), missing)
    whole = missing.all(axis=(1, 2))
    assert whole.sum() == 1  # the truncated packet
    half = missing.all(axis=2).sum(axis=1) == 32
    assert half.sum() == 1  # the one whose partner was lost
