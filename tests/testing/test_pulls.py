"""The closed loop's judge: passes what is right, fails what is wrong, for every distribution."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from pipeline.dataset.quality import CONDITIONS, Quality
from pipeline.dataset.schema import Schema, Uncertainty, Variable
from pipeline.testing import distributions
from pipeline.testing.pulls import Result, compare_to_truth
from pipeline.testing.systematic import judge_systematic, systematic_pulls

N = 20_000
ET = 525574312.0 + np.arange(N) / 64
# A signal that moves by many sigma within a sample, as at perijove.
SIGNAL = 3000.0 * np.sin(np.arange(N) / 40.0)
RATE = 1.5 + 1.4 * np.sin(np.arange(N) / 3.0)


def schema(*uncertainties: Uncertainty, dims: tuple[str, ...] = ("et",)) -> Schema:
    def helper(name: str) -> Variable:
        return Variable(name, dims, "float32", "1", "x", optional=True)

    x = Variable("x", dims, "float32", "nT", "x", source="s", uncertainties=uncertainties, quality="quality")
    quality = Variable("quality", ("et",), "uint32", "1", "quality")
    return Schema(1, "et", (x, helper("x_quantum"), helper("x_expected"), quality))


def dataset(**variables: np.ndarray) -> xr.Dataset:
    held = {name: (("et", "c")[: np.ndim(v)], np.array(v)) for name, v in variables.items()}
    held.setdefault("quality", (("et",), np.zeros(N, np.uint32)))
    out = xr.Dataset(held, coords={"et": ET}, attrs={"product": "mag.field/PJ01"})
    out["quality"].attrs["flag_conditions"] = np.uint32(int(CONDITIONS) | 1 << 17)
    return out


Case = tuple[Schema, xr.Dataset, xr.Dataset]


def normal(seed: int = 0) -> Case:
    noise = np.random.default_rng(seed).normal(0, 2.0, N)
    product = dataset(x=SIGNAL + noise, x_random=np.full(N, 2.0))
    return schema(Uncertainty("random", ("et",))), product, dataset(x=SIGNAL)


def structured(seed: int = 0) -> Case:
    rng = np.random.default_rng(seed)
    slow = np.repeat(rng.normal(0, 6.0, N // 100), 100)
    product = dataset(x=SIGNAL + rng.normal(0, 2.0, N) + slow, x_random=np.full(N, 2.0), x_structured=np.full(N, 6.0))
    parts = (Uncertainty("random", ("et",)), Uncertainty("structured", ("et",), err_scale="100 samples"))
    return schema(*parts), product, dataset(x=SIGNAL)


def quantised(seed: int = 0, noise: float = 0.3) -> Case:
    """Noise below a step; the grid is not at zero."""
    x = np.round((SIGNAL + np.random.default_rng(seed).normal(0, noise * 4.0, N)) / 4.0 + 0.3) * 4.0 - 1.2
    sigma = np.sqrt((noise * 4.0) ** 2 + 16.0 / 12.0)
    product = dataset(x=x, x_random=np.full(N, sigma), x_quantum=np.full(N, 4.0))
    return schema(Uncertainty("random", ("et",), distribution="quantised")), product, dataset(x=SIGNAL)


def coarse(seed: int = 0) -> Case:
    return quantised(seed, noise=1.5)


def pure_steps(seed: int = 0) -> Case:
    return quantised(seed, noise=0.0)


def poisson(seed: int = 0, rate: np.ndarray = RATE, count: float = 0.25, background: float = 2.0) -> Case:
    """Rates in the variable's units, a known background taken off."""
    number = np.random.default_rng(seed).poisson(rate + background)
    product = dataset(
        x=(number - background) * count, x_random=np.sqrt(rate + background) * count, x_expected=rate + background
    )
    truth = dataset(x=rate * count)
    return schema(Uncertainty("random", ("et",), distribution="poisson")), product, truth


def many_counts(seed: int = 0) -> Case:
    return poisson(seed, 400.0 * RATE + 100.0)


def compressed(seed: int = 0) -> Case:
    """Counts of some hundred, of which the lower ones are kept in bins of 1, others in bins of 8."""
    rate = 60.0 + 50.0 * np.sin(np.arange(N) / 3.0)
    number = np.random.default_rng(seed).poisson(rate)
    width = np.where(number < 64, 1.0, 8.0)
    kept = np.where(width > 1, number // 8 * 8 + 3.5, number)
    quantum = np.where(width > 1, 8.0, 0.0)
    product = dataset(x=kept, x_random=np.sqrt(rate + quantum**2 / 12), x_expected=rate, x_quantum=quantum)
    return schema(Uncertainty("random", ("et",), distribution="poisson")), product, dataset(x=rate)


def derived(seed: int = 0) -> Case:
    """Two quantised axes turned by 45 degrees: right in mean and variance, not normal."""
    rng = np.random.default_rng(seed)
    b = np.stack([SIGNAL, 3000.0 * np.cos(np.arange(N) / 40.0)], axis=1)
    turn = np.array([[1.0, 1.0], [-1.0, 1.0]]) / np.sqrt(2)
    phase = rng.random(2)
    x = (np.round(b / 4.0 + phase) - phase) * 4.0 @ turn.T
    product = dataset(x=x, x_random=np.full((N, 2), 4.0 / np.sqrt(12)))
    parts = (Uncertainty("random", ("et", "c"), distribution="derived"),)
    return schema(*parts, dims=("et", "c")), product, dataset(x=b @ turn.T)


def consistent(seed: int = 0) -> Case:
    off = np.random.default_rng(seed).normal(0, 1.0)
    product = dataset(x=SIGNAL + off, x_systematic=np.full(N, 1.0))
    return schema(Uncertainty("systematic", ("et",))), product, dataset(x=SIGNAL)


CASES: dict[str, Callable[..., Case]] = {
    f.__name__: f
    for f in (normal, structured, quantised, coarse, pure_steps, poisson, many_counts, compressed, derived, consistent)
}
RANDOM = [n for n in CASES if n != "consistent"]


def judge(case: Case) -> Result:
    layout, product, truth = case
    times, result = compare_to_truth(product, truth, layout)
    assert times.ok, times.why
    return result


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_what_is_right_passes(name: str, seed: int) -> None:
    result = judge(CASES[name](seed))
    assert result.ok, result.why
    assert result.why == ""
    assert 0 < result.n <= 2 * N
    json.dumps(asdict(result))


def test_no_uncertainty_at_all_fails() -> None:
    for case, component in ((normal(), "x_random"), (consistent(), "x_systematic")):
        layout, product, truth = case
        result = judge((layout, product.assign({component: product[component] * 0.0}), truth))
        assert "uncertainty" in result.why


@pytest.mark.parametrize("name", RANDOM)
@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_a_wrong_sigma_fails(name: str, factor: float) -> None:
    layout, product, truth = CASES[name]()
    assert not judge((layout, product.assign(x_random=product["x_random"] * factor), truth)).ok


@pytest.mark.parametrize("name", RANDOM)
def test_a_sigma_off_by_a_fifth_fails(name: str) -> None:
    layout, product, truth = CASES[name]()
    assert not judge((layout, product.assign(x_random=product["x_random"] * 0.8), truth)).ok


@pytest.mark.parametrize("name", CASES)
def test_a_doubled_gain_fails(name: str) -> None:
    layout, product, truth = CASES[name]()
    doubled = {v: product[v] * 2 for v in ("x", "x_random", "x_quantum") if v in product}
    result = judge((layout, product.assign(doubled), truth))
    assert not result.ok
    assert result.why


@pytest.mark.parametrize("name", CASES)
def test_a_shift_by_one_sample_fails(name: str) -> None:
    layout, product, truth = CASES[name]()
    late = product.assign_coords(et=ET + 1 / 64)
    times, result = compare_to_truth(late, truth, layout)
    assert times.n == N - 1
    assert not result.ok


def test_a_millisecond_fails() -> None:
    layout, product, truth = normal()
    times, result = compare_to_truth(product.assign_coords(et=ET + 1e-3), truth, layout)
    assert not times.ok
    assert "0.001 s" in times.why
    assert result.ok
    assert compare_to_truth(product.assign_coords(et=ET + 1e-3), truth.assign_attrs(et_tolerance=2e-3), layout)[0].ok


@pytest.mark.parametrize("name", RANDOM)
def test_a_small_bias_fails(name: str) -> None:
    layout, product, truth = CASES[name]()
    result = judge((layout, product.assign(x=product["x"] + 0.2 * product["x_random"]), truth))
    # Beside a structured error three times as large a fifth of the random one cannot be told.
    assert not result.ok or name == "structured"


def test_correlated_errors_are_not_independent() -> None:
    layout, product, truth = normal()
    slow = np.repeat(np.random.default_rng(0).normal(0, 2.0, N // 50), 50)
    result = judge((layout, product.assign(x=("et", SIGNAL + slow)), truth))
    assert "correlated over" in result.why


def test_wrong_distribution_fails() -> None:
    """Uniform errors of the right variance, said to be normal."""
    layout, product, truth = normal()
    uniform = np.random.default_rng(0).uniform(-1, 1, N) * 2.0 * np.sqrt(3)
    assert "68 %" in judge((layout, product.assign(x=("et", SIGNAL + uniform)), truth)).why


@pytest.mark.parametrize("name", RANDOM)
def test_a_gain_off_by_little_fails(name: str) -> None:
    """So little that neither mean nor deviation tells."""
    layout, product, truth = CASES[name]()
    size = float(np.std(truth["x"] / product["x_random"]))
    scale = 10.0 if name == "structured" else 1.0  # beside the structured error only as much again is seen
    off = product["x"] + 0.12 * scale / size * (truth["x"] - float(truth["x"].mean()))
    assert "goes with" in judge((layout, product.assign(x=off), truth)).why


def test_flipped_bins_fail() -> None:
    layout, product, truth = poisson()
    assert not judge((layout, product.assign(x=("et", product["x"].values[::-1])), truth)).ok


# Flags, gaps, ends of the scale


def flagged(where: slice, bit: int, value: float, seed: int = 0) -> Case:
    layout, product, truth = normal(seed)
    bits, x = product["quality"].values.copy(), product["x"].values.copy()
    bits[where] |= np.uint32(bit)
    x[where] = value
    return layout, product.assign(quality=product["quality"].copy(data=bits), x=("et", x)), truth


def test_flagged_samples_are_left_out_and_counted() -> None:
    layout, product, truth = flagged(slice(0, 1000), Quality.SUSPECT, 1e9)
    result = judge((layout, product, truth))
    assert result.flagged == 0.05
    assert result.n == N - 1000
    assert result.why == "5.0 % flagged, 0.0 % have injected defects"
    assert judge((layout, product, truth.assign_attrs(injected=0.045))).ok


def test_missing_samples_are_flagged() -> None:
    assert judge(flagged(slice(0, 1000), Quality.MISSING, np.nan)).flagged == 0.05


def test_circumstances_do_not_disqualify() -> None:
    layout, product, truth = normal()
    product["quality"].values[:] = Quality.GEOMETRY_PREDICTED | 1 << 17
    result = judge((layout, product, truth))
    assert result.ok
    assert result.flagged == 0.0
    product["quality"].values[:] |= np.uint32(1 << 18)
    assert (
        judge((layout, product, truth)).why == "100.0 % flagged, 0.0 % have injected defects; no sample left to judge"
    )


def test_big_variables_are_thinned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.testing.samples.MOST_SAMPLES", 3 * N)
    rng = np.random.default_rng(0)
    true = np.repeat(SIGNAL[:, None], 10, axis=1)
    product = dataset(x=true + rng.normal(0, 1, true.shape), x_random=np.ones(true.shape))
    layout = schema(Uncertainty("random", ("et", "c")), dims=("et", "c"))
    _, result = compare_to_truth(product.isel(et=np.arange(N) % 200 != 7), dataset(x=true), layout)
    assert result.ok, result.why
    assert result.n == 2 * N * 0.995
    assert result.flagged == 0.005


def test_lost_records_count() -> None:
    layout, product, truth = normal()
    times, result = compare_to_truth(product.isel(et=np.arange(N) % 20 != 7), truth, layout)
    assert times.flagged == result.flagged == 0.05
    assert result.n == 0.95 * N
    assert "flagged" in result.why
    assert "mean" not in result.why


def test_unknown_truth_is_left_out() -> None:
    layout, product, truth = normal()
    truth["x"].values[: N // 2] = np.nan
    result = judge((layout, product, truth))
    assert (result.n, result.ok, result.flagged) == (N // 2, True, 0.0)


@pytest.mark.parametrize("level", [0.0, 2990.0])
def test_clipped_samples_do_not_bias_the_rest(level: float) -> None:
    layout, product, truth = normal()
    x, true = product["x"].values - level, truth["x"].values - level
    low = x < 0
    bits = np.where(low, np.uint32(Quality.CLIPPED_LOW), np.uint32(0))
    clipped = product.assign(x=("et", np.maximum(x, 0)), quality=product["quality"].copy(data=bits))
    result = judge((layout, clipped, truth.assign(x=("et", true))))
    assert result.ok, result.why
    assert result.clipped == low.mean()
    assert result.flagged == 0.0
    assert result.n < (~low).sum()


def test_saturation_at_both_ends() -> None:
    layout, product, truth = normal()
    high = np.abs(product["x"].values) > 2900
    bits = np.where(high, np.uint32(Quality.SATURATED), np.uint32(0))
    x = np.where(high, np.nan, product["x"].values)
    result = judge((layout, product.assign(x=("et", x), quality=product["quality"].copy(data=bits)), truth))
    assert result.ok, result.why
    assert result.clipped == high.mean()
    assert (~high).sum() > result.n > 0.9 * (~high).sum()


# What is not there


def test_helpers_must_be_there() -> None:
    for case, helper in ((quantised(), "x_quantum"), (poisson(), "x_expected")):
        layout, product, truth = case
        assert judge((layout, product.drop_vars(helper), truth)).why == f"needs {helper}, which the product has not"


def test_absent_and_misshapen_variables() -> None:
    layout, product, truth = normal()
    assert judge((layout, product.drop_vars(["x", "x_random"]), truth)).why == "the product has no such variable"
    twice = product.assign(x=(("et", "c"), np.ones((N, 2))))
    assert "shape" in judge((layout, twice, truth)).why


def test_no_record_in_common() -> None:
    layout, product, truth = normal()
    times, result = compare_to_truth(product.assign_coords(et=ET + 1e6), truth, layout)
    assert not times.ok
    assert not result.ok


def test_zero_sigma_of_a_wrong_value() -> None:
    layout, product, truth = normal()
    product["x_random"].values[5] = 0.0
    assert "sigma is 0 in 1 samples" in judge((layout, product, truth)).why


def test_integers_are_equal_but_for_defects() -> None:
    mode = Variable("mode", ("et",), "int8", "1", "mode (identifier)")
    layout = Schema(1, "et", (mode,))
    product = dataset(mode=np.ones(N, np.int8))
    assert compare_to_truth(product, product, layout)[1].ok
    wrong = product.assign(mode=("et", (np.arange(N) % 10 > 0).astype(np.int8)))
    assert compare_to_truth(wrong, product, layout)[1].why == "10.0 % are not equal"


def test_texts_are_not_compared() -> None:
    layout, product, truth = normal()
    layout = Schema(1, "et", (*layout.variables, Variable("mode", ("et",), "str", "1", "mode (identifier)")))
    product, truth = (d.assign(mode=("et", np.full(N, "on", object))) for d in (product, truth))
    assert [r.variable for r in compare_to_truth(product, truth, layout)] == ["et", "x"]


def test_a_flag_of_several_components_stands_for_the_largest() -> None:
    """The second component is small throughout; that the first saturates must not bar it."""
    rng = np.random.default_rng(0)
    true = np.stack([SIGNAL, 0.1 * SIGNAL[::-1]], axis=1)
    high = np.abs(true).max(axis=1) > 2900
    x = np.where(high[:, None], np.nan, true + rng.normal(0, 2, true.shape))
    product = dataset(x=x, x_random=np.full((N, 2), 2.0), quality=np.where(high, np.uint32(4), np.uint32(0)))
    result = judge((schema(Uncertainty("random", ("et", "c")), dims=("et", "c")), product, dataset(x=true)))
    assert result.ok, result.why
    assert result.n == 2 * (~high).sum()


def test_images_are_paired_by_place() -> None:
    x = Variable("x", ("frame", "line"), "float32", "1", "x", uncertainties=(Uncertainty("random", ()),))
    layout = Schema(1, "frame", (x,))
    rng = np.random.default_rng(0)
    true = rng.normal(0, 100, (60, 500))
    et = ("frame", np.repeat(np.arange(20.0), 3))
    truth = xr.Dataset({"x": (("frame", "line"), true)}, coords={"et": et})
    product = truth.assign(x=truth["x"] + rng.normal(0, 1, true.shape), x_random=1.0)
    assert all(r.ok for r in compare_to_truth(product, truth, layout))
    assert not compare_to_truth(product.roll(frame=1), truth.roll(frame=0), layout)[1].ok
    (short,) = compare_to_truth(product.isel(frame=slice(50)), truth, layout)
    assert short.why == "50 records, the truth has 60"


# The parts


def test_false_alarms_are_rare() -> None:
    """200 right products of each kind: at most a few rejections."""
    for make in (quantised, poisson, normal):
        wrong = sum(not judge(make(seed)).ok for seed in range(100, 140))
        assert wrong <= 2, make.__name__


def test_correlation_length_of_an_autoregressive_process() -> None:
    rng = np.random.default_rng(0)
    for a in (0.0, 0.5, 0.8):
        x = np.zeros(100_000)
        e = rng.normal(size=x.size)
        for i in range(1, x.size):
            x[i] = a * x[i - 1] + e[i]
        assert distributions.correlation_length(x) == pytest.approx((1 + a) / (1 - a), rel=0.1)
    both = np.repeat(rng.normal(size=(5000, 1)), 4, axis=1)
    assert distributions.correlation_length(both) == pytest.approx(4.0, rel=0.1)


def test_kolmogorov_smirnov_agrees_with_scipy() -> None:
    rng = np.random.default_rng(0)
    u = rng.random(3000) ** 1.02
    p, _ = distributions.kolmogorov_smirnov(lambda at: u[at], np.arange(u.size), 1.0, rng)
    assert p == pytest.approx(stats.kstest(u, "uniform", method="asymp").pvalue, rel=1e-6)


def test_it_is_deterministic() -> None:
    assert judge(quantised()) == judge(quantised())


# Systematic


def drawn(stated: float, seed: int = 0) -> dict[str, float]:
    """Products whose one table value, a gain, is drawn with 1 %."""
    rng = np.random.default_rng(seed)
    nominal = dataset(x=SIGNAL, x_systematic=np.abs(SIGNAL) * stated)
    layout = schema(Uncertainty("systematic", ("et",)))
    return systematic_pulls((nominal.assign(x=nominal["x"] * rng.normal(1, 0.01)) for _ in range(200)), nominal, layout)


def test_draws_of_tables() -> None:
    result = judge(normal())
    assert result.systematic_pull_std is None
    (good,) = judge_systematic([result], drawn(0.01))
    assert good.ok
    assert good.systematic_pull_std == pytest.approx(1.0, abs=0.15)
    for stated in (0.005, 0.02):
        (bad,) = judge_systematic([result], drawn(stated))
        assert not bad.ok
        assert "systematic" in bad.why
    with pytest.raises(ValueError, match="no draws"):
        systematic_pulls([], dataset(x=SIGNAL), schema())


def few_steps(gain: float = 1.0) -> Case:
    """Rounding alone, of a signal that is spread evenly over three steps: what is cut off goes with the signal."""
    step = 4.0
    true = 1.5 * step * (2.0 * np.abs(2.0 * np.mod(np.arange(N) * 0.0618034, 1.0) - 1.0) - 1.0)
    product = dataset(
        x=np.round(gain * true / step) * step, x_random=np.full(N, step / np.sqrt(12.0)), x_quantum=np.full(N, step)
    )
    return schema(Uncertainty("random", ("et",), distribution="quantised")), product, dataset(x=true)


def test_what_rounding_cuts_off_may_go_with_the_truth(monkeypatch: pytest.MonkeyPatch) -> None:
    assert judge(few_steps()).ok, judge(few_steps()).why
    monkeypatch.setattr("pipeline.testing.pulls.ROUNDED", 0.0)
    assert "goes with the truth" in judge(few_steps()).why


@pytest.mark.parametrize("gain", [0.7, 1.3, 2.0])
def test_a_wrong_gain_of_few_steps_fails(gain: float) -> None:
    assert not judge(few_steps(gain)).ok


def test_rounding_excuses_nothing_where_there_is_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gain that is off by little is seen through noise of a third of a step as without the excuse."""
    layout, product, truth = quantised()
    off = product.assign(x=product["x"] * 1.05)
    assert not judge((layout, off, truth)).ok
    monkeypatch.setattr("pipeline.testing.pulls.ROUNDED", 0.0)
    assert not judge((layout, off, truth)).ok
