"""The closed loop: scene to packets to products and back to the truth; and that it notices what is wrong.

Fourteen minutes around PJ1's closest approach: attenuators on and off, lost frames, a line and whistlers.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import xarray as xr
from loops import scene
from waves_scene import Loop, tables

from calibration.tables import Table
from instruments.waves import INSTRUMENT, calibrate, simulate, transfer
from instruments.waves.layout import BURSTS, LFR_LO
from pipeline.dataset.quality import Quality
from pipeline.scene.waves import WaveScene, Whistler
from pipeline.testing.pulls import Result, compare_to_truth
from pipeline.testing.systematic import systematic_pulls

STEPS = {
    "waves.survey": "survey_from_telemetry",
    **{f"waves.burst_{b.name}": f"waveform_{b.name}" for b in BURSTS},
    **{f"waves.spectrum_{b.name}": f"spectrum_{b.name}" for b in BURSTS},
}
Known = dict[str, Table]


def judged(loop: Loop, product: str, made: xr.Dataset) -> list[Result]:
    return compare_to_truth(made, loop.truth[product], INSTRUMENT.product(product).schema)


def failed(results: list[Result]) -> set[str]:
    return {r.variable for r in results if not r.ok}


@pytest.mark.parametrize("product", STEPS)
def test_products_agree_with_the_truth(loop: Loop, product: str) -> None:
    results = judged(loop, product, loop.make(STEPS[product]))
    assert failed(results) == set(), [(r.variable, r.why) for r in results if not r.ok]
    measured = {r.variable: r.test for r in results if r.test not in ("time", "exact")}
    expected = {
        "survey": {"psd_e": "derived", "psd_b": "derived", "code_e": "quantised", "code_b": "quantised"},
        "burst": {"waveform": "derived", "voltage": "quantised"},
        "spectrum": {"psd": "derived"},
    }
    assert measured == expected[product.split(".")[1].split("_")[0]]


def test_the_loop_saw_what_it_should(loop: Loop) -> None:
    survey = loop.make("survey_from_telemetry")
    assert survey.attrs["frames_lost"] == 2
    assert survey.attrs["frames_duplicate"] == 1
    assert survey.attrs["frames_crc_failed"] == 1  # the last one, cut short
    assert set(np.unique(survey["attenuator"])) == {0, 1}
    assert survey.attrs["frames_received"] > 100


# What the loop must notice


def changed(name: str, quantity: str, factor: float) -> Callable[[Known], Known]:
    def change(known: Known) -> Known:
        return {**known, name: known[name].replace(**{quantity: known[name][quantity].value * factor})}

    return change


@pytest.mark.parametrize("product", STEPS)
def test_a_doubled_gain_is_noticed(loop: Loop, product: str) -> None:
    known = changed("receivers", "volts_per_count", 2.0)(tables())
    assert failed(judged(loop, product, loop.make(STEPS[product], known))) & {"psd_e", "psd_b", "psd", "waveform"}


@pytest.mark.parametrize("product", STEPS)
def test_a_halved_uncertainty_is_noticed(loop: Loop, product: str) -> None:
    made = loop.make(STEPS[product])
    names = [str(n) for n in made if str(n).endswith("_random")]
    halved = made.assign({n: made[n] * np.float32(0.5) for n in names})
    assert failed(judged(loop, product, halved)) >= {n.removesuffix("_random") for n in names}


@pytest.mark.parametrize("product", STEPS)
def test_time_shifted_by_one_record_is_noticed(loop: Loop, product: str) -> None:
    made = loop.make(STEPS[product])
    late = made.isel(et=slice(0, -1)).assign_coords(et=made["et"].values[1:])
    assert failed(judged(loop, product, late)) & {"psd_e", "psd", "waveform"}


def test_clock_off_by_a_millisecond_is_noticed(loop: Loop) -> None:
    made = loop.make("survey_from_telemetry")
    assert "et" in failed(judged(loop, "waves.survey", made.assign_coords(et=made["et"].values + 1e-3)))


def test_an_attenuator_not_undone_is_noticed(loop: Loop) -> None:
    known = changed("attenuators", "loss", 0.97)(tables())
    assert "psd_e" in failed(judged(loop, "waves.survey", loop.make("survey_from_telemetry", known)))


@pytest.mark.parametrize("burst", ["low_b", "mid_e"])
def test_a_phase_of_the_wrong_sign_is_noticed(loop: Loop, burst: str, monkeypatch: pytest.MonkeyPatch) -> None:
    right = transfer.Instrument.response
    monkeypatch.setattr(transfer.Instrument, "response", lambda self, f: np.conj(right(self, f)))
    product = f"waves.burst_{burst}"
    assert "waveform" in failed(judged(loop, product, loop.make(STEPS[product])))


@pytest.mark.parametrize("burst", ["low_e", "low_b"])
def test_one_factor_of_mid_band_is_not_taken_for_a_waveform(loop: Loop, burst: str) -> None:
    product = f"waves.burst_{burst}"
    made = loop.make(STEPS[product], correction="scalar")
    flags = made["quality"].values & np.uint32(~(1 << 22) & 0xFFFFFFFF)  # as if nobody had said so
    assert "waveform" in failed(
        judged(loop, product, made.assign(quality=(made["quality"].dims, flags, made["quality"].attrs)))
    )


def test_flipped_order_of_the_channels_is_noticed(loop: Loop) -> None:
    raw = loop.given["waves.lrs"]
    flipped = raw.assign(codes_1=(raw["codes_1"].dims, raw["codes_1"].values[:, ::-1]))
    made = Loop(*loop[:3], {**loop.given, "waves.lrs": flipped}).make("survey_from_telemetry")
    assert "psd_e" in failed(judged(loop, "waves.survey", made))


def test_a_code_read_one_step_up_is_noticed(loop: Loop) -> None:
    known = tables()
    reading = known["survey_codes"]["reading"].value + 0.5 * known["survey_codes"]["quantum"].value
    known["survey_codes"] = known["survey_codes"].replace(reading=reading)
    assert "psd_e" in failed(judged(loop, "waves.survey", loop.make("survey_from_telemetry", known)))


def test_too_much_rounding_taken_off_is_noticed(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    quiet = calibrate.ROUNDING
    monkeypatch.setattr(calibrate, "ROUNDING", 30.0 * quiet)
    assert "psd_e" in failed(judged(loop, "waves.survey", loop.make("survey_from_telemetry")))


# Planted signals


def test_the_planted_line_is_found_in_frequency_and_power(loop: Loop) -> None:
    spectrum = loop.make("spectrum_mid_e")
    world = WaveScene(loop.scene)
    frequency, _, amplitude = world.line(spectrum["et"].values)
    own = spectrum["frequency"].values
    step = own[1] - own[0]
    quiet = np.abs(spectrum["et"].values - loop.scene.pass_.et) > 150.0
    for row in np.flatnonzero(quiet):
        near = np.abs(own - frequency[row]) < 2.6 * step
        beside = (np.abs(own - frequency[row]) < 12 * step) & ~near
        psd, sigma = spectrum["psd"].values[row].astype(float), spectrum["psd_random"].values[row].astype(float)
        assert abs(own[np.argmax(np.where(near, psd, 0.0))] - frequency[row]) <= step
        floor = psd[beside].mean()
        power = (psd[near] - floor).sum() * step
        # Neighbouring bins of the line's own peak go together.
        error = sigma[near].sum() * step + floor * step * np.sqrt(near.sum())
        assert abs(power - amplitude[row] ** 2 / 2.0) < 3.0 * error


def test_a_planted_whistler_is_found_with_its_dispersion(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its dispersion by the best of many templates, its amplitude by projection, within what noise and hiss allow."""
    where = scene(-660.0, -600.0)
    world = WaveScene(where)
    et = where.pass_.et - 640.0
    planted = Whistler(et - 0.025, 2.6, 4e-4, 1e-2)
    monkeypatch.setattr(WaveScene, "whistlers", (planted,))
    known = simulate.truth_tables(where.pass_.et)
    burst = BURSTS[0]
    own = simulate.circuit(burst.receiver, known)
    rng = np.random.default_rng(12)
    _, volts = simulate.through(burst, world, et, own, rng)
    counts = np.round(volts / own.volts + own.noise * rng.normal(size=volts.size))
    chain = transfer.Instrument.of_tables(
        LFR_LO, "half", *(tables()[n] for n in ("receivers", "attenuators", "antenna", "transfer"))
    )
    field = transfer.correct(counts[None] * chain.volts, burst.rate, chain)[0]
    inner = slice(chain.reach(burst.rate), burst.samples - chain.reach(burst.rate))
    times = (et + np.arange(burst.samples) / burst.rate)[inner]

    def amplitude(dispersion: float) -> complex:
        frequency, phase, envelope = Whistler(planted.start, dispersion, 1.0, 0.0).signal(times)
        # Hiss falls with frequency: the template counts where it is weak.
        weight = np.where(frequency > 3000.0, envelope, 0.0)
        template = weight * np.exp(1j * phase)
        return complex(2.0 * (field[inner] * np.conj(template)).sum() / (weight * envelope).sum())

    grid = np.linspace(2.4, 2.8, 401)
    strength = np.abs([amplitude(d) for d in grid])
    best = grid[int(np.argmax(strength))]
    assert best == pytest.approx(planted.dispersion, abs=0.005)
    found = amplitude(planted.dispersion)
    assert abs(found) == pytest.approx(planted.electric, rel=0.15)
    assert np.angle(found) == pytest.approx(0.0, abs=0.15)  # the phase is right, not the amplitude alone


# Systematic


def test_systematic_uncertainty_is_what_the_tables_make(loop: Loop) -> None:
    """Two hundred draws of all tables on a few records."""
    rng = np.random.default_rng(13)
    truth = tables()
    sets = [{name: table.draw(rng) for name, table in truth.items()} for _ in range(200)]
    few = {
        **loop.given,
        "waves.lrs": loop.given["waves.lrs"].isel(et=slice(300, 700, 100)),
        "waves.hrs": loop.given["waves.hrs"].isel(et=slice(8, 14)),
    }
    small = Loop(*loop[:3], few)
    for product, step in STEPS.items():
        if product.startswith("waves.spectrum"):
            continue
        schema = INSTRUMENT.product(product).schema
        nominal = small.make(step)
        draws = (small.make(step, known) for known in sets)
        found = systematic_pulls(draws, nominal, schema)
        assert found, product
        assert all(0.85 < s < 1.15 for s in found.values()), (product, found)


def test_systematic_of_spectra_is_what_the_tables_make(loop: Loop) -> None:
    """Tables are drawn for waveform and spectrum together."""
    rng = np.random.default_rng(14)
    truth = tables()
    few = {**loop.given, "waves.hrs": loop.given["waves.hrs"].isel(et=slice(8, 14))}

    def made(known: Known) -> xr.Dataset:
        small = Loop(*loop[:3], dict(few))
        small.given["waves.burst_low_b"] = small.make("waveform_low_b", known)
        return small.make("spectrum_low_b", known)

    nominal = made(truth)
    draws = (made({name: table.draw(rng) for name, table in truth.items()}) for _ in range(200))
    found = systematic_pulls(draws, nominal, INSTRUMENT.product("waves.spectrum_low_b").schema)
    assert 0.85 < found["psd"] < 1.15, found


def test_spans_of_the_survey_put_together_are_the_whole(loop: Loop) -> None:
    whole = loop.make("survey_from_telemetry")
    raw = loop.given["waves.lrs"]
    et = raw["et"].values
    parts = []
    for first in range(0, et.size, 200):
        part = raw.isel(et=slice(max(first - 2, 0), first + 202))
        made = Loop(*loop[:3], {**loop.given, "waves.lrs": part}).make("survey_from_telemetry")
        parts.append(made.isel(et=np.isin(made["et"].values, et[first : first + 200])))
    joined = xr.concat(parts, "et", data_vars="minimal", coords="minimal")
    for name in ("psd_e", "quality_e", "psd_b_systematic"):
        np.testing.assert_array_equal(joined[name].values, whole[name].values)


def test_missing_and_flagged_go_together(loop: Loop) -> None:
    survey = loop.make("survey_from_telemetry")
    for letter in "eb":
        missing = (survey[f"quality_{letter}"].values & Quality.MISSING) != 0
        assert np.array_equal(np.isnan(survey[f"psd_{letter}"].values), missing)
