"""The closed loop: what is made of simulated raw data against the truth, and that it would notice what is wrong."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from scipy.integrate import quad
from scipy.optimize import curve_fit

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "mag"))
import mag_scene
from jedi_scene import KINDS, granules, made, scaled, tables
from loops import CLOCK, PASS, Loop, finished

from instruments.jedi import INSTRUMENT, layout, raw, simulate
from pipeline.clock import Span
from pipeline.scene.energetic import SPECTRA
from pipeline.scene.particles import penetrating
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
    assert all(r.ok for r in results), [(r.variable, r.why) for r in results if not r.ok]
    named = {r.variable for r in results}
    spectrogram = {"intensity", "pitch_intensity"}
    assert named >= (spectrogram if "spectrogram" in product else {"intensity", "rate", "counts", "pitch_angle"})


def power_law(lower: np.ndarray, upper: np.ndarray, reference: float):
    """Logarithm of the mean over channels of a power law, by numerical integration."""

    def model(_, level: float, index: float) -> np.ndarray:
        means = [
            quad(lambda e: (e / reference) ** -index, a, b)[0] / (b - a) for a, b in zip(lower, upper, strict=True)
        ]
        return level + np.log(means)

    return model


@pytest.mark.parametrize(
    ("product", "species"),
    [("jedi.electrons", "electrons"), *(("jedi.ions", s) for s in ("protons", "helium", "oxygen", "sulfur"))],
)
def test_planted_power_laws_come_back(loop: Loop, product: str, species: str) -> None:
    """Index and level of each species' spectrum, over a minute with large pixels, within three sigma."""
    found, truth = loop.products[product], loop.truth[product]
    use = np.abs(found["et"].values - PASS.et + 260.0) < 30.0
    of = (found["species"].values == layout.SPECIES.index(species)) & ~np.isnan(truth["intensity"].values[0, 0])
    weight = np.where(np.isfinite(found["intensity"].values), found["response"] * found["live_time"], 0.0)[use][..., of]

    def mean(values: np.ndarray) -> np.ndarray:
        return (np.nan_to_num(values[use][..., of]) * weight).sum(axis=(0, 1)) / weight.sum(axis=(0, 1))

    value = mean(found["intensity"].values)
    variance = (np.nan_to_num(found["intensity_random"].values[use][..., of]) * weight) ** 2
    sigma = np.sqrt(variance.sum(axis=(0, 1))) / weight.sum(axis=(0, 1))
    strong = value > 3.0 * sigma  # its logarithm is near normal
    assert strong.sum() >= 4
    planted = SPECTRA[species]
    edges = (found[n].values[of][strong] for n in ("energy_lower", "energy_upper"))
    model = power_law(*edges, planted.reference)
    got, covariance = curve_fit(
        model, np.zeros(strong.sum()), np.log(value[strong]), (np.log(planted.intensity), 2.0),
        (sigma / value)[strong], absolute_sigma=True,
    )  # fmt: skip
    error = np.sqrt(np.diag(covariance))
    assert abs(got[1] - planted.index) < 3.0 * error[1], (got, error)
    level = np.log(mean(truth["intensity"].values)[strong]) - model(None, 0.0, planted.index)
    assert abs(got[0] - level.mean()) < 3.0 * error[0] + np.ptp(level), (got, level, error)
    assert error[1] < 0.25


def test_the_monitor_counts_what_was_planted(loop: Loop) -> None:
    """Penetrating particles of the scene, on the area of each pixel."""
    found, data = loop.products["jedi.electrons"], loop.raw["jedi.electrons"]
    unit = data["unit"].values
    small = np.where(
        data["pixel"].values == layout.SMALL, tables()["geometric_factor"]["electrons_small"].value[unit], 1
    )
    planted = penetrating(data["et"].values, PASS.et)[:, None] * small
    planted = planted * tables()["penetrators"]["electrons_sensitivity"].value[unit]
    counts = (found["counts"].values[:, :, -1] - planted * found["live_time"].values) / np.sqrt(
        planted * found["live_time"].values
    )
    assert abs(np.nanmean(counts)) < 4.0 / np.sqrt(counts.size)
    assert np.nanstd(counts) == pytest.approx(1.0, abs=4.0 / np.sqrt(2.0 * counts.size))


def test_pitch_angles_by_the_measured_field_are_those_of_the_true_one(
    loop: Loop, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """MAG's own simulated telemetry, calibrated to 1 s means, gives pitch angles within their uncertainty."""
    near = mag_scene.scene(-100.0, 60.0)
    measured = mag_scene.looped(near, tmp_path_factory.mktemp("mag"))
    field = mag_scene.mean_of(measured.field, near, 1.0)
    found = made(loop.raw["jedi.electrons"], loop.scene, field=field)
    inside = near.span.pad(-2.0).contains(found["et"].values)
    true = loop.truth["jedi.electrons"]["pitch_angle"].values
    off = np.abs(found["pitch_angle"].values - true)[inside]
    pulls = off / found["pitch_angle_systematic"].values[inside]
    assert np.isfinite(pulls).mean() > 0.97
    assert np.nanmean(pulls <= 3.0) > 0.95
    assert 1e-4 < np.nanmax(off) < 1.0


def test_pitch_angles_by_a_wrong_field_of_known_error_stay_within_it(loop: Loop) -> None:
    field = field_of(loop.scene)
    rng = np.random.default_rng(3)
    noise = rng.normal(size=3) * 2e-3 * np.linalg.norm(field["b_j2000"].values, axis=1).mean()
    wrong = field.assign(
        b_j2000=field["b_j2000"] + noise, b_j2000_systematic=xr.full_like(field["b_j2000"], np.abs(noise).max())
    )
    found = made(loop.raw["jedi.electrons"], loop.scene, field=wrong)
    assert failed(judged(loop, "jedi.electrons", found)) == set()
    moved = np.abs(found["pitch_angle"].values - loop.products["jedi.electrons"]["pitch_angle"].values)
    assert np.nanmax(moved) > 0.02


# What the loop must notice


@pytest.mark.parametrize(
    ("product", "table", "quantity", "factor", "seen"),
    [
        ("jedi.electrons", "geometric_factor", "electrons", 1.1, {"intensity"}),
        ("jedi.electrons", "geometric_factor", "electrons_small", 1.1, {"intensity"}),
        ("jedi.electrons", "dead_time", "spectrum", 1.5, {"intensity", "rate"}),
        ("jedi.electrons", "penetrators", "electrons_share", 0.8, {"intensity", "rate"}),
        ("jedi.electrons", "channels", "electrons_width", 1.1, {"intensity"}),
        ("jedi.ion_singles", "penetrators", "ions_share", 0.5, {"rate"}),
        ("jedi.ions", "efficiency", "oxygen", 1.3, {"intensity"}),
        ("jedi.ions", "efficiency", "tof_epoch_factor", 1.2, {"intensity"}),
        ("jedi.ions", "coincidence", "ssd_window", 2.0, {"rate"}),
        ("jedi.low_ions", "coincidence", "tof_window", 1.3, {"intensity", "rate"}),
    ],
)
def test_a_wrong_table_is_noticed(loop: Loop, product, table, quantity, factor, seen) -> None:
    found = made(loop.raw[product], loop.scene, scaled(table, quantity, factor))
    assert failed(judged(loop, product, found)) >= seen


def test_a_halved_uncertainty_is_noticed(loop: Loop) -> None:
    found = loop.products["jedi.ions"]
    halved = found.assign({f"{n}_random": found[f"{n}_random"] * 0.5 for n in ("rate", "intensity", "counts")})
    assert failed(judged(loop, "jedi.ions", halved)) >= {"rate", "intensity"}


def test_a_lower_gain_state_taken_for_the_higher_is_noticed(tmp_path: Path) -> None:
    from jedi_scene import looped
    from loops import scene

    late = looped(scene(500.0, 700.0), tmp_path)
    data = late.raw["jedi.ions"]
    assert set(data["gain"].values) == {0, 1}
    assert failed(judged(late, "jedi.ions")) == set()
    wrong = made(data.assign(gain=data["gain"] * 0), late.scene)
    assert "intensity" in failed(judged(late, "jedi.ions", wrong))


def test_telescopes_numbered_the_other_way_are_noticed(loop: Loop) -> None:
    found = made(loop.raw["jedi.electrons"], loop.scene, scaled("look", "fan", -1.0))
    assert failed(judged(loop, "jedi.electrons", found)) == {"pitch_angle"}


def test_pitch_angles_of_the_wrong_sign_are_noticed(loop: Loop) -> None:
    found = loop.products["jedi.electrons"]
    turned = found.assign(pitch_angle=180.0 - found["pitch_angle"])
    assert failed(judged(loop, "jedi.electrons", turned)) == {"pitch_angle"}


def test_pitch_angles_a_second_late_are_noticed(loop: Loop) -> None:
    field = field_of(loop.scene)
    turn = field.assign_coords(et=field["et"] + 1.0)
    found = made(
        loop.raw["jedi.electrons"], loop.scene, field=turn.assign(b_j2000_systematic=turn["b_j2000"] * 0 + 1.0)
    )
    assert failed(judged(loop, "jedi.electrons", found)) == {"pitch_angle"}


# Coarse tables, segments, uncertainties of tables


def test_coarse_tables_have_the_intensities_of_fine_ones(loop: Loop) -> None:
    """Electrons of two channels together, made of LOERSESP, against the truth of the scene."""
    data = raw.read_edr(granules(loop.folder, "LOERSESP"), None, CLOCK)
    found = made(data, loop.scene)
    assert found.sizes["channel"] == 10
    known = simulate.truth_tables(PASS.et)
    rng = np.random.default_rng(0)
    span = Span(PASS.et, PASS.et + simulate.SHORT)
    true = simulate.unit_counts(loop.scene, "LOERSESP", 2, simulate.COARSE["demo"], span, known, rng)
    np.testing.assert_allclose(found["et"].values, true.et, atol=1e-4)
    pulls = ((found["intensity"].values - true.intensity) / found["intensity_random"].values)[:, :, :-1]
    assert abs(pulls.mean()) < 4.0 / np.sqrt(pulls.size)
    assert pulls.std() == pytest.approx(1.0, abs=0.05 + 4.0 / np.sqrt(2.0 * pulls.size))


@pytest.mark.parametrize("product", ["jedi.electrons", "jedi.ions"])
def test_segments_are_the_whole(loop: Loop, product: str) -> None:
    whole, found = loop.products[product], granules(loop.folder, KINDS[product])
    edges = np.floor(loop.scene.span.start / 100.0) * 100.0 + 100.0 * np.arange(8)
    for start in edges[2:5]:
        span = Span(start, start + 100.0)
        reach = span.pad(31.0)
        part = made(raw.read_edr(found, reach, CLOCK), loop.scene, span=span)
        inside, own = (span.contains(d["et"].values) for d in (whole, part))
        assert own.sum() > 40
        for name in ("intensity", "intensity_random", "intensity_structured", "background", "quality", "pitch_angle"):
            np.testing.assert_array_equal(part[name].values[own], whole[name].values[inside], name)


@pytest.mark.slow
@pytest.mark.parametrize("product", list(KINDS))
def test_systematic_uncertainty_is_what_the_tables_make(loop: Loop, product: str) -> None:
    """Two hundred draws of all tables on a few records of large and small pixels."""
    data = loop.raw[product]
    some = data.isel(record=np.r_[40:44, data.sizes["record"] - 20 : data.sizes["record"] - 16])
    rng = np.random.default_rng(11)
    drawn = ("geometric_factor", "efficiency", "dead_time", "penetrators", "coincidence", "channels")
    field = field_of(loop.scene)
    nominal = made(some, loop.scene, field=field)
    draws = (
        made(some, loop.scene, tables(**{n: tables()[n].draw(rng) for n in drawn}), field=field) for _ in range(200)
    )
    found = systematic_pulls(draws, nominal, INSTRUMENT.product(product).schema)
    found.pop("pitch_angle", None)  # of the field, which is not drawn
    assert set(found) == {"intensity", "rate"}
    assert all(0.85 < value < 1.15 for value in found.values()), found
