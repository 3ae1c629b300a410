"""The closed loop: how a calibrated product compares with the truth it was simulated from.

Tables are at their true values, so what is left between product and truth is the random error, whose size and
distribution the product states. What is tested depends on the distribution (`schema.Uncertainty`):

============== ======================================================================================================
``normal``     pulls, residual over ``x_random``: ``|mean| < 0.05``, deviation 0.95 to 1.05, 68 % and 95 % coverage
               within 2 %, each widened by three standard errors of the effective number of samples. That number comes
               from the pulls' autocorrelation; errors declared independent must not be correlated over more than 10
               samples. Where a structured component is stated the random one is judged by differences of neighbours
               along the records, in which it cancels, and the mean against both; where it is the same along further
               dimensions, as in all pixels of an image, by what is left of the mean along them, and these means within
               four sigma.
``quantised``  as normal where the noise is a step or more; else the randomised probability integral transform of
               normal noise rounded to ``x_quantum`` is uniform (Kolmogorov-Smirnov, 1 %).
``poisson``    samples of 400 or more expected counts as normal (if there are 100 or more of them); the others by the
               transform of the Poisson distribution, and by sums over fixed groups of 400 expected counts as normal.
               One count is ``x_random / sqrt(x_expected)``; where counts were compressed ``x_quantum`` is the width of
               the bin, and its share, width / sqrt(12), is in ``x_random``. The expected counts of the truth are used
               if it has them.
``derived``    an exact transformation of another variable keeps mean and variance but not the distribution: mean and
               deviation as normal, coverage reported.
no random one  residuals lie within three times the total uncertainty in 95 % of the samples.
none, integer  equal, but for the injected defects.
============== ======================================================================================================

Residuals of all but the last two must not go with the truth or with its change from record to record either: that is
how a gain or a time that is slightly off shows in a noisy variable (correlation below 0.05, widened in the same way).
The Kolmogorov-Smirnov test takes at most 10 000 samples, which gives it the power of the limits above; where there are
twice as many, a rejection must be repeated by as many others, so that a run of dozens of variables does not fail by
chance. Flagged samples are left out, but for the bits that only tell circumstances, and are at most the injected ones
and 1 %. Samples clipped at an end of the scale are counted apart; where there are more than 0.2 % of them, all whose
truth lies beyond the first clipped one are left out, because leaving out the clipped alone would bias the rest. NaN in
the truth is not known and left out. Of more than 4 million samples every n-th along the last dimension is judged.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline.dataset.schema import Schema, Variable
from pipeline.dataset.uncertainty import component, sigma
from pipeline.testing.distributions import (
    EXPECTED,
    correlation_length,
    dependence_faults,
    gaussian_faults,
    poisson_faults,
    quantised_faults,
    shared_faults,
    shared_means,
    structured_faults,
)
from pipeline.testing.samples import Samples, over, samples_of, thinning

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

# Sigma in steps below which an error is rounding and little else.
ROUNDED = 0.3
LONGEST_CORRELATION = 10.0
EXTRA_FLAGGED = 0.01
# Two ticks of the spacecraft clock.
TIME_TOLERANCE = 2 / 65536


@dataclass(frozen=True)
class Result:
    """Verdict on one variable.

    Parameters
    ----------
    test : ``time``, ``normal``, ``quantised``, ``poisson``, ``derived``, ``consistent``, ``exact`` or ``absent``.
    n, n_eff : samples judged, and how many independent ones they are worth.
    flagged, clipped : fractions of the samples whose truth is known.
    pull_mean, pull_std, coverage68, coverage95 : of residual over ``x_random`` (``consistent``: over the total).
    ks_p : probability of the Kolmogorov-Smirnov test, where it decides.
    systematic_pull_std : see `systematic.judge_systematic`.
    why : what is wrong; empty if `ok`.
    """

    instrument: str
    product: str
    variable: str
    test: str
    n: int
    n_eff: float | None
    flagged: float
    clipped: float
    pull_mean: float | None
    pull_std: float | None
    coverage68: float | None
    coverage95: float | None
    ks_p: float | None
    systematic_pull_std: float | None
    ok: bool
    why: str


def compare_to_truth(product: xr.Dataset, truth: xr.Dataset, schema: Schema) -> list[Result]:
    """Compare a product with its truth.

    Parameters
    ----------
    product : as `netcdf.open_product` gives it.
    truth : variables as in the product. Attributes: ``injected``, the fraction of samples with injected defects (0);
        ``et_tolerance``, seconds by which times may differ (two ticks of the clock).

    Returns
    -------
    list of Result
        the times, then every variable of the schema that the truth knows.
    """
    name = str(product.attrs.get("product", ""))
    blank = Result(name.split(".")[0], name, "", "", 0, None, 0.0, 0.0, *(None,) * 6, ok=False, why="")
    product, known, lost, time = _align(product, truth, schema, blank)
    results = [time] if time else []
    if known is None:
        return results
    qualities = {v.quality for v in schema.variables}
    injected = float(truth.attrs.get("injected", 0.0))
    for variable in schema.variables:
        if variable.name not in known or variable.name in qualities:
            continue
        head = replace(blank, variable=variable.name)
        if variable.name not in product:
            if not variable.optional:
                results.append(replace(head, test="absent", why="the product has no such variable"))
        elif product[variable.name].shape != known[variable.name].shape:
            shapes = f"{product[variable.name].shape}, its truth {known[variable.name].shape}"
            results.append(replace(head, test="absent", why=f"the product's shape is {shapes}"))
        else:
            results += _compare(head, variable, schema, product, known, lost, injected)
    return results


# Records


def _align(
    product: xr.Dataset, truth: xr.Dataset, schema: Schema, blank: Result
) -> tuple[xr.Dataset, xr.Dataset | None, xr.Dataset, Result | None]:
    """Product and truth at common records, the truth of records the product has not, and the verdict on the times.

    Records along ``et`` are paired by nearest time, others by their place; the truth is None if they cannot be paired.
    """
    index = schema.index
    # What does not go along the records is not lost with them.
    none_lost = truth[[name for name, v in truth.items() if index in v.dims]]
    none_lost = none_lost.isel({index: slice(0, 0)}, missing_dims="ignore")
    if index is None or "et" not in truth.variables:
        return product, truth, none_lost, None
    et, true = (np.asarray(d["et"].values, np.float64) for d in (product, truth))
    if index == "et":
        nearest, found = _nearest(et, true)
        lost = truth[list(none_lost)].isel(et=~found, missing_dims="ignore")
        product, truth = product.isel(et=nearest[found]), truth.isel(et=found)
        et, true = product["et"].values, truth["et"].values
    elif et.size != true.size:
        why = f"{et.size} records, the truth has {true.size}"
        return product, None, none_lost, replace(blank, variable="et", test="time", n=et.size, why=why)
    else:
        lost = none_lost
    tolerance = float(truth.attrs.get("et_tolerance", TIME_TOLERANCE))
    off = float(np.max(np.abs(et - true), initial=0.0))
    why = f"times differ by up to {off:.2g} s" if off > tolerance else "" if et.size else "no record in common"
    missing = lost.sizes.get(index, 0) / max(1, et.size + lost.sizes.get(index, 0))
    verdict = replace(blank, variable="et", test="time", n=int(et.size), flagged=missing, ok=not why, why=why)
    return product, truth, lost, verdict


def _nearest(et: Floats, true: Floats) -> tuple[NDArray[np.intp], Mask]:
    """Record of the product nearest to each of the truth, and whether it is nearer than half way to the next one."""
    if et.size == 0:
        return np.zeros(true.size, np.intp), np.zeros(true.size, bool)
    right = np.clip(np.searchsorted(et, true), 1, max(1, et.size - 1))
    left = right - 1
    right = np.minimum(right, et.size - 1)
    nearest = np.where(np.abs(et[right] - true) < np.abs(et[left] - true), right, left)
    gaps = np.diff(true, prepend=-np.inf, append=np.inf)
    return nearest, np.abs(et[nearest] - true) < np.minimum(gaps[1:], gaps[:-1]) / 2


# Verdicts


def _compare(
    head: Result,
    variable: Variable,
    schema: Schema,
    product: xr.Dataset,
    truth: xr.Dataset,
    lost: xr.Dataset,
    injected: float,
) -> list[Result]:
    integers = all(d[variable.name].dtype.kind in "iu" for d in (product, truth))
    if not variable.uncertainties and not integers:
        return []
    thin = thinning(product[variable.name], schema.index)
    product, truth, lost = (d.isel(thin) for d in (product, truth, lost))
    samples = samples_of(variable, product, truth, lost)
    head = replace(head, flagged=samples.flagged, clipped=samples.clipped)
    random = component(product, variable.name, "random")
    faults = []
    if samples.flagged > injected + EXTRA_FLAGGED:
        faults.append(f"{100 * samples.flagged:.1f} % flagged, {100 * injected:.1f} % have injected defects")
    if not samples.judged.any():
        return [replace(head, test="absent", why="; ".join([*faults, "no sample left to judge"]))]
    if not variable.uncertainties:
        result, own = _exact(head, samples, injected)
    elif random is None:
        result, own = _consistent(head, samples, sigma(product, variable.name).values)
    else:
        result, own = _random(head, variable, samples, random.values, product, truth)
    faults += own
    return [replace(result, ok=not faults, why="; ".join(faults))]


def _exact(head: Result, samples: Samples, injected: float) -> tuple[Result, list[str]]:
    other = float(np.mean(samples.delta[samples.judged] != 0))
    faults = [f"{100 * other:.1f} % are not equal"] if other > injected + EXTRA_FLAGGED else []
    return replace(head, test="exact", n=int(samples.judged.sum())), faults


def _consistent(head: Result, samples: Samples, total: Floats) -> tuple[Result, list[str]]:
    head = replace(head, test="consistent")
    pulls = over(samples, total)
    if not np.isfinite(pulls).any():
        return head, ["no sample with an uncertainty"]
    n_eff = float(np.isfinite(pulls).sum() / correlation_length(pulls))
    result = _summary(head, pulls, n_eff)
    within = float(np.mean(np.abs(pulls[np.isfinite(pulls)]) <= 3))
    faults = [f"only {100 * within:.1f} % within three sigma"] if within < 0.95 else []
    return result, faults


def _random(
    head: Result, variable: Variable, samples: Samples, random: Floats, product: xr.Dataset, truth: xr.Dataset
) -> tuple[Result, list[str]]:
    """Judge the random component by its distribution."""
    distribution = next(u.distribution for u in variable.uncertainties if u.component == "random")
    head = replace(head, test=distribution)
    pulls = over(samples, random)
    usable = np.isfinite(pulls)
    zero = int((samples.judged & (random == 0) & (samples.delta != 0)).sum())
    faults = [f"sigma is 0 in {zero} samples that are off"] if zero else []
    if not usable.any():
        return head, [*faults, "no sample with a random uncertainty"]
    length = correlation_length(pulls)
    n_eff = float(usable.sum() / length)
    result = _summary(head, pulls, n_eff)
    delta = np.where(usable, samples.delta, np.nan)
    true, along = truth[variable.name].values.astype(np.float64), _shared(product, variable)
    if along and distribution == "normal":
        structured = component(product, variable.name, "structured")
        assert structured is not None
        rest = (delta - shared_means(delta, along)) / random
        faults += dependence_faults(rest, true - shared_means(true, along), random, float(usable.sum()))
        return result, faults + shared_faults(delta, random, structured.values, along)
    goes = dependence_faults(pulls, true, random, n_eff)
    if goes and _rounded(variable, product, random):
        # What was cut off goes with the truth and not with what was read; a gain or a time goes with both.
        goes = goes if dependence_faults(pulls, product[variable.name].values.astype(np.float64), random, n_eff) else []
    faults += goes
    if distribution == "derived":
        return result, faults + gaussian_faults(pulls, n_eff, coverage=False)
    if distribution == "normal":
        structured = component(product, variable.name, "structured")
        if structured is not None:
            return result, faults + structured_faults(delta, random, structured.values)
        if length > LONGEST_CORRELATION:
            faults.append(f"errors said to be independent are correlated over {length:.0f} samples")
        return result, faults + gaussian_faults(pulls, n_eff)
    p, own = _discrete(distribution, variable.name, delta, random, length, product, truth)
    return replace(result, ks_p=p), faults + own


def _rounded(variable: Variable, product: xr.Dataset, random: Floats) -> bool:
    """Whether rounding is nearly all of the error: its sigma is 0.289 of a step."""
    if f"{variable.name}_quantum" not in product:
        return False
    quantum = product[f"{variable.name}_quantum"].broadcast_like(product[variable.name])
    wide = quantum.transpose(*product[variable.name].dims).values
    stepped = np.isfinite(random) & (wide > 0)
    return bool(np.median(random[stepped] / wide[stepped]) < ROUNDED) if stepped.any() else False


def _shared(product: xr.Dataset, variable: Variable) -> tuple[int, ...]:
    """Places of the dimensions along which a variable's structured error is the same, beside the records."""
    parts = [u for u in variable.uncertainties if u.component == "structured" and not u.relative]
    dims = product[variable.name].dims
    return tuple(k for k, d in enumerate(dims) if k and d not in parts[0].dims) if parts else ()


def _discrete(
    distribution: str,
    name: str,
    delta: Floats,
    random: Floats,
    length: float,
    product: xr.Dataset,
    truth: xr.Dataset,
) -> tuple[float | None, list[str]]:
    """Quantised values and counts, with the variables beside them that tell the steps and the expected counts."""

    def beside(which: str, dataset: xr.Dataset) -> Floats | None:
        if f"{name}_{which}" not in dataset:
            return None
        # Times of product and truth differ by ticks of the clock: each is broadcast like its own.
        part = dataset[f"{name}_{which}"].astype(np.float64).broadcast_like(dataset[name])
        return np.asarray(part.transpose(*product[name].dims).values)

    rng = np.random.default_rng([20160827, zlib.crc32(name.encode())])
    quantum = beside("quantum", product)
    if distribution == "quantised":
        if quantum is None:
            return None, [f"needs {name}_quantum, which the product has not"]
        return quantised_faults(delta, random, quantum, length, rng)
    stated = beside("expected", product)
    if stated is None:
        return None, [f"needs {name}_expected, which the product has not"]
    true = beside("expected", truth)
    bins = np.zeros(delta.shape) if quantum is None else quantum
    return poisson_faults(delta, random, stated, stated if true is None else true, bins, length, rng)


def _summary(head: Result, pulls: Floats, n_eff: float) -> Result:
    p = pulls[np.isfinite(pulls)]
    if not p.size:
        return replace(head, n=0, n_eff=n_eff)
    within = {name: float(np.mean(np.abs(p) <= reach)) for name, (reach, _) in EXPECTED.items()}
    return replace(
        head,
        n=int(p.size),
        n_eff=n_eff,
        pull_mean=float(p.mean()),
        pull_std=float(p.std()),
        coverage68=within["68 %"],
        coverage95=within["95 %"],
    )
