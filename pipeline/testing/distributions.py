"""Whether errors are of the size and distribution they are said to be; see `pulls` for what is asked of which.

Arrays are residuals or pulls (residual over its sigma) of one variable, NaN where a sample is not judged. What is wrong
is told in words; no words, no fault.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import kolmogorov, ndtr, pdtr

Floats = NDArray[np.float64]

MEAN, DEVIATION, COVERAGE = 0.05, 0.05, 0.02
EXPECTED = {"68 %": (1.0, 0.6827), "95 %": (1.96, 0.95)}
GAUSSIAN_COUNTS, FEW = 400.0, 100
SHARED = 4.0
KS_LEVEL, KS_SAMPLES = 0.01, 10_000


def correlation_length(pulls: Floats) -> float:
    """Samples per independent one: integrated autocorrelation along every dimension, multiplied.

    Parameters
    ----------
    pulls : NaN where not judged.

    Notes
    -----
    A lag counts as long as its correlation is three standard errors from zero.
    """
    rows = max(2, 400_000 // max(1, int(np.prod(pulls.shape[1:]))))
    p = pulls[:rows] - np.nanmean(pulls)
    variance, length = np.nanmean(p**2), 1.0
    for axis in range(p.ndim):
        along, total = np.moveaxis(p, axis, 0), 1.0
        for lag in range(1, min(len(along), 2000)):
            products = along[lag:] * along[:-lag]
            n = np.count_nonzero(np.isfinite(products))
            if n < FEW or not variance > 0:
                break
            rho = float(np.nansum(products)) / n / variance
            if rho < 3 / np.sqrt(n):
                break
            total += 2 * (1 - lag / len(along)) * rho
        length *= total
    return length


def gaussian_faults(pulls: Floats, n_eff: float, *, coverage: bool = True) -> list[str]:
    """What keeps pulls from being standard normal, within the limits and three standard errors of each.

    Parameters
    ----------
    pulls : NaN where not judged.
    n_eff : independent samples among them.
    """
    p = pulls[np.isfinite(pulls)]
    mean, deviation = float(p.mean()), float(p.std())
    faults = []
    if not abs(mean) < MEAN + 3 / np.sqrt(n_eff):
        faults.append(f"mean pull {mean:.3f}")
    if not abs(deviation - 1) < DEVIATION + 3 / np.sqrt(2 * n_eff):
        faults.append(f"deviation of pulls {deviation:.3f}")
    for name, (reach, share) in EXPECTED.items() if coverage else ():
        within = float(np.mean(np.abs(p) <= reach))
        if not abs(within - share) < COVERAGE + 3 * np.sqrt(share * (1 - share) / n_eff):
            faults.append(f"{100 * within:.1f} % within the {name} interval")
    return faults


def dependence_faults(pulls: Floats, truth: Floats, sigma: Floats, n_eff: float) -> list[str]:
    """Whether residuals go with the truth (a gain) or with its change from record to record (a time).

    In a noisy variable neither mean nor deviation would tell: the correlation is below 0.05 and three standard errors.
    """
    scale = np.where(sigma > 0, sigma, np.nan)
    faults = []
    for name in ("the truth", "the truth's change") if len(truth) > 2 else ("the truth",):
        regressor = (truth if name == "the truth" else np.gradient(truth, axis=0)) / scale
        there = np.isfinite(pulls) & np.isfinite(regressor)
        p, x = pulls[there], regressor[there]
        if p.size < FEW or not np.std(x) > 1e-6 * np.max(np.abs(x)):
            continue
        correlation = float(np.mean((p - p.mean()) * (x - x.mean())) / (np.std(p) * np.std(x)))
        if not abs(correlation) < MEAN + 3 / np.sqrt(n_eff):
            faults.append(f"goes with {name} (correlation {correlation:.3f})")
    return faults


def structured_faults(delta: Floats, random: Floats, structured: Floats) -> list[str]:
    """Normal errors beside structured ones: the random ones by differences of neighbours, the mean by both.

    Parameters
    ----------
    delta : residuals; `random` and `structured` are their sigmas.
    """
    both = delta / np.hypot(random, structured)
    n_eff = np.isfinite(both).sum() / correlation_length(both)
    mean = float(np.nanmean(both))
    faults = [] if abs(mean) < MEAN + 3 / np.sqrt(n_eff) else [f"mean pull {mean:.3f} of random and structured"]
    neighbours = np.diff(delta / random, axis=0) / np.sqrt(2.0)
    n = int(np.isfinite(neighbours).sum())
    if n == 0:
        return [*faults, "no two neighbours to judge the random error by"]
    # Differences are centred, and every sample is in two of them.
    return faults + [f"{fault}, from neighbours" for fault in gaussian_faults(neighbours, n / 1.5)]


def shared_faults(delta: Floats, random: Floats, structured: Floats, along: tuple[int, ...]) -> list[str]:
    """Normal errors beside structured ones that are the same along some dimensions, as in all pixels of an image.

    What is shared is the mean along them: the random errors are judged by what is left, the means by both.

    Parameters
    ----------
    delta : residuals; `random` and `structured` are their sigmas.
    along : the dimensions.
    """
    usable = np.isfinite(delta)
    number = np.maximum(usable.sum(axis=along, keepdims=True), 1)
    left = np.where(number > 1, np.sqrt(1.0 - 1.0 / number), np.nan)  # one alone is its own mean
    faults = gaussian_faults((delta - shared_means(delta, along)) / (random * left), int(usable.sum()))
    noise = np.where(usable, random**2, 0.0).sum(axis=along, keepdims=True) / number**2
    wide = np.max(np.where(usable, structured, 0.0), axis=along, keepdims=True)
    sigma = np.sqrt(wide**2 + noise)
    there = number > 1
    means = shared_means(delta, along)[there] / sigma[there]
    beyond = float(np.mean(np.abs(means) > SHARED))
    return faults + ([f"{100 * beyond:.0f} % of shared errors beyond {SHARED:.0f} sigma"] if beyond > 0.01 else [])


def shared_means(values: Floats, along: tuple[int, ...]) -> Floats:
    """Means along dimensions, which are kept; 0 where there is nothing."""
    usable = np.isfinite(values)
    return np.asarray(np.where(usable, values, 0.0).sum(axis=along, keepdims=True) / np.maximum(
        usable.sum(axis=along, keepdims=True), 1
    ))  # fmt: skip


def quantised_faults(
    delta: Floats, sigma: Floats, quantum: Floats, length: float, rng: np.random.Generator
) -> tuple[float | None, list[str]]:
    """Normal errors rounded to steps of `quantum`, which are part of `sigma`.

    Parameters
    ----------
    length : samples per independent one.

    Returns
    -------
    tuple
        probability of the Kolmogorov-Smirnov test (None where the noise is a step or more), and the faults.
    """
    usable = np.isfinite(delta)
    noise = np.sqrt(np.maximum(sigma**2 - quantum**2 / 12, 0.0))
    if (noise[usable] >= quantum[usable]).all():
        return None, gaussian_faults(delta / sigma, usable.sum() / length)
    if (sigma[usable] < 0.999 * quantum[usable] / np.sqrt(12)).any():
        return None, ["sigma is smaller than the step alone makes it"]

    def transform(at: NDArray[np.intp]) -> Floats:
        half, d = quantum.flat[at] / 2, delta.flat[at]
        scale = np.maximum(noise.flat[at], 1e-6 * half)
        return _between(ndtr((d - half) / scale), ndtr((d + half) / scale), rng)

    return kolmogorov_smirnov(transform, np.flatnonzero(usable), length, rng)


def poisson_faults(
    delta: Floats,
    sigma: Floats,
    stated: Floats,
    expected: Floats,
    quantum: Floats,
    length: float,
    rng: np.random.Generator,
) -> tuple[float | None, list[str]]:
    """Counts, in the variable's units.

    Parameters
    ----------
    stated : expected counts from which `sigma` was made, so that one count is ``sigma / sqrt(stated)``.
    expected : expected counts of the truth.
    quantum : width of the compression's bin; 0 where there is none.

    Returns
    -------
    tuple
        as of `quantised_faults`.
    """
    usable = np.isfinite(delta) & (expected > 0) & (stated > 0)
    faults: list[str] = []
    many = usable & (expected >= GAUSSIAN_COUNTS)
    if many.sum() >= FEW:
        faults += gaussian_faults(np.where(many, delta / sigma, np.nan), many.sum() / length)
        usable &= ~many
    with np.errstate(invalid="ignore", divide="ignore"):
        count = np.sqrt((sigma**2 - quantum**2 / 12) / stated)
        number = delta / count + expected
        width = np.rint(np.maximum(quantum / count, 1.0))
    if not usable.any():
        return None, faults
    if not np.isfinite(number[usable]).all():
        return None, [*faults, "sigma is smaller than the bin alone makes it"]
    faults += _sums(number[usable], expected[usable], width[usable])

    def transform(at: NDArray[np.intp]) -> Floats:
        n, mu, w = (a.flat[at] for a in (number, expected, width))
        below, top = np.rint(n - (w + 1) / 2), np.rint(n + (w - 1) / 2)
        lower, upper = (np.where(k >= 0, pdtr(np.maximum(k, 0), mu), 0.0) for k in (below, top))
        return _between(lower, upper, rng)

    p, own = kolmogorov_smirnov(transform, np.flatnonzero(usable), length, rng)
    return p, faults + own


def _sums(number: Floats, expected: Floats, width: Floats) -> list[str]:
    """Counts summed over fixed groups until 400 are expected, as normal; a bias of few counts shows nowhere else."""
    ends = np.floor(np.cumsum(expected) / GAUSSIAN_COUNTS)
    group = np.unique(ends, return_inverse=True)[1]
    # The last group is not full.
    excess = np.bincount(group, number - expected)[:-1]
    variance = np.bincount(group, expected + (width**2 - 1) / 12)[:-1]
    if excess.size < 30:
        return []
    faults = gaussian_faults(excess / np.sqrt(variance), excess.size)
    return [f"{fault}, of sums of {GAUSSIAN_COUNTS:.0f} counts" for fault in faults]


def _between(lower: Floats, upper: Floats, rng: np.random.Generator) -> Floats:
    return lower + rng.random(lower.shape) * (upper - lower)


def kolmogorov_smirnov(
    transform: Callable[[NDArray[np.intp]], Floats], usable: NDArray[np.intp], length: float, rng: np.random.Generator
) -> tuple[float, list[str]]:
    """Whether the transform of the samples is uniform.

    Parameters
    ----------
    transform : from places of samples to values in 0 to 1.
    usable : places of the samples to choose from.

    Returns
    -------
    tuple
        probability, and the fault if it is below 1 %: of at most 10 000 samples, and if there are as many others, of
        these too.
    """
    independent = max(1, int(usable.size / length))
    chosen = rng.permutation(usable)[: min(independent, 2 * KS_SAMPLES)]
    p = 1.0
    for part in np.split(chosen, [KS_SAMPLES]) if chosen.size == 2 * KS_SAMPLES else [chosen[:KS_SAMPLES]]:
        u = np.sort(transform(part))
        steps = np.arange(u.size + 1) / u.size
        distance = max(float(np.max(steps[1:] - u)), float(np.max(u - steps[:-1])))
        p = float(kolmogorov(distance * np.sqrt(u.size)))
        if p >= KS_LEVEL:
            return p, []
    return p, [f"not of the stated distribution (Kolmogorov-Smirnov p = {p:.1g})"]
