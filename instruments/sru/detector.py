"""What the array itself does: offset, noise, hits of particles (README.md, steps 1 to 3 and 8). All in DN."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage
from scipy.special import ndtr
from scipy.stats import moyal

from calibration.tables import Table

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

SIZE = 512
MAD = 1.4826  # sigma of a normal distribution over its median absolute deviation
# Rows over which the noise is averaged, and pixels that a row needs to be asked.
NOISE_ROWS, FEWEST = 31, 30
# Neighbours at corners belong together.
TOUCHING = np.ones((3, 3), bool)
BOX = 5
# Points that stand for a track, and pixels about each that its charge reaches.
POINTS, REACH = 5, 2
# Frames simulated for one number of hits, and steps towards the number that gives the clusters counted.
TRIALS, STEPS = 4, 4
# Clusters in a frame of the trials at the least, so that few counts do not make the completeness uncertain.
LEAST = 200


def valid_pixels(dn: NDArray[np.int16], readout: Table) -> Mask:
    """Pixels that were read out: no dummies, not zero."""
    mask = dn > 0
    mask[int(readout["rows"].value) :] = False
    mask[:, : int(readout["first_column"].value)] = False
    return mask


def robust_mode(values: NDArray[np.integer]) -> tuple[float, float, float]:
    """Most frequent of integers with a normal core and a tail above: its place, its sigma, and the core's width.

    A parabola through the logarithm of the histogram within 1.5 widths, weighted by the counts: the logarithm of a
    normal distribution is one. NaN where there is too little to tell.
    """
    if values.size < 100:
        return np.nan, np.nan, np.nan
    low = int(values.min())
    counts = np.bincount(values.astype(np.int64) - low).astype(np.float64)
    peak = int(np.argmax(np.convolve(counts, np.ones(3), "same")))
    below = peak - np.repeat(np.arange(peak + 1), counts[: peak + 1].astype(np.int64))
    width = max(float(np.quantile(below, 0.6827)), 1.0)
    reach = int(np.ceil(max(1.5 * width, 2.0)))
    at = np.arange(max(peak - reach, 0), min(peak + reach + 1, counts.size))
    at = at[counts[at] > 0]
    if at.size < 4:
        return np.nan, np.nan, np.nan
    x, weight = (at - peak).astype(np.float64), counts[at]
    design = np.stack([np.ones_like(x), x, x * x], axis=1)
    covariance = np.linalg.inv(design.T @ (design * weight[:, None]))
    _, b, c = covariance @ (design.T @ (weight * np.log(weight)))
    if c >= 0.0:
        return np.nan, np.nan, np.nan
    slope = np.array([0.0, -0.5 / c, 0.5 * b / c**2])
    core = float(np.sqrt(max(-0.5 / c - 1.0 / 12.0, 1.0 / 12.0)))
    return low + peak - 0.5 * b / c, float(np.sqrt(slope @ covariance @ slope)), core


def row_noise(values: Floats, use: Mask) -> Floats:
    """One sigma of the pixels of each row, (512): median absolute deviation, averaged over 31 rows.

    Rows without enough pixels take the nearest ones'.
    """
    # The 512 medians are one call; what is not used is NaN.
    masked = np.where(use, values, np.nan)
    enough = use.sum(axis=1) >= FEWEST
    out = np.full(SIZE, np.nan)
    if not enough.any():
        return out
    some = masked[enough]
    middle = np.nanmedian(some, axis=1, keepdims=True)
    out[enough] = MAD * np.nanmedian(np.abs(some - middle), axis=1)
    known = np.flatnonzero(enough)
    filled = np.interp(np.arange(SIZE), known, out[known])
    return np.asarray(np.sqrt(ndimage.uniform_filter1d(filled**2, NOISE_ROWS, mode="nearest")))


def row_level(values: Floats, use: Mask) -> Floats:
    """Median of the pixels of each row, (512), averaged over 9 rows; rows without enough take the nearest ones'."""
    enough = use.sum(axis=1) >= FEWEST
    if not enough.any():
        return np.full(SIZE, np.nan)
    known = np.flatnonzero(enough)
    level = np.nanmedian(np.where(use, values, np.nan)[enough], axis=1)
    return np.asarray(ndimage.uniform_filter1d(np.interp(np.arange(SIZE), known, level), 9, mode="nearest"))


# Hits


def local_background(values: Floats, valid: Mask) -> Floats:
    """Median of the 5 x 5 pixels about each; what is not valid counts as zero."""
    return np.asarray(ndimage.median_filter(np.where(valid, values, 0.0).astype(np.float32), BOX), np.float64)


def grown(mask: Mask) -> Mask:
    """A mask and all neighbours of it."""
    return np.asarray(ndimage.binary_dilation(mask, TOUCHING))


def clusters(mask: Mask) -> tuple[NDArray[np.int32], int]:
    """Connected pixels, corners included: their number in each pixel, 0 for none, and how many there are."""
    labels, count = ndimage.label(mask, TOUCHING)
    return np.asarray(labels, np.int32), int(count)


# Completeness


@dataclass(frozen=True)
class HitModel:
    """What particles leave, in DN and pixels (table ``hits``)."""

    charge: float
    width: float
    diffusion: float
    track: float

    @classmethod
    def of(cls, hits: Table, gain: float, shift: dict[str, float] | None = None) -> HitModel:
        """From the table; `shift` moves quantities by so many of their sigmas."""
        moved = {n: float(q.value) + (shift or {}).get(n, 0.0) * float(q.sigma) for n, q in hits.quantities.items()}
        return cls(
            moved["charge"] / gain, moved["width"] / gain, max(moved["diffusion"], 0.05), max(moved["track"], 0.0)
        )

    @property
    def mean_charge(self) -> float:
        """Mean of a hit's charge."""
        return float(moyal.mean(self.charge, self.width))

    @property
    def effective_charge(self) -> float:
        """Mean square over mean of the charge: the variance of a sum of hits is this times the sum."""
        return float(moyal.var(self.charge, self.width) / self.mean_charge + self.mean_charge)


def injected(count: int, exposures: Floats, columns: tuple[int, int], model: HitModel, rng: Generator) -> Floats:
    """Charge of that many hits, DN (512, 512): a row's share goes with its exposure.

    A track is five points, each a normal cloud integrated over pixels.
    """
    frame = np.zeros((SIZE, SIZE))
    if count == 0:
        return frame
    row = rng.choice(SIZE, count, p=exposures / exposures.sum()) + rng.random(count) - 0.5
    column = rng.uniform(columns[0] - 0.5, columns[1] - 0.5, count)
    charge = np.maximum(moyal.rvs(model.charge, model.width, count, random_state=rng), 0.0)
    along = rng.exponential(model.track, count) if model.track > 0.0 else np.zeros(count)
    angle = rng.uniform(0.0, 2.0 * np.pi, count)
    step = ((np.arange(POINTS) + 0.5) / POINTS - 0.5) * along[:, None]
    y, x = row[:, None] + step * np.sin(angle)[:, None], column[:, None] + step * np.cos(angle)[:, None]
    offsets = np.arange(-REACH, REACH + 1)
    shares = []
    for place in (y, x):
        edges = np.rint(place)[..., None] + np.append(offsets, REACH + 1) - 0.5 - place[..., None]
        shares.append(np.diff(ndtr(edges / model.diffusion), axis=-1))
    weights = charge[:, None, None, None] / POINTS * shares[0][..., :, None] * shares[1][..., None, :]
    r = np.rint(y).astype(np.intp)[..., None, None] + offsets[:, None]
    c = np.rint(x).astype(np.intp)[..., None, None] + offsets
    r, c = np.broadcast_arrays(r, c)
    there = (r >= 0) & (r < SIZE) & (c >= columns[0]) & (c < columns[1])
    frame += np.bincount(r[there] * SIZE + c[there], weights[there], SIZE * SIZE).reshape(SIZE, SIZE)
    return frame


def counted_clusters(
    count: int, noise: Floats, exposures: Floats, columns: tuple[int, int], threshold: float, model: HitModel,
    rng: Generator, trials: int = TRIALS,
) -> tuple[float, float]:  # fmt: skip
    """Clusters found where that many hits are, on average of some trials, and the standard error of that."""
    found = np.empty(trials)
    inside = np.zeros((SIZE, SIZE), bool)
    inside[exposures > 0, columns[0] : columns[1]] = True
    for trial in range(trials):
        frame = injected(count, exposures, columns, model, rng)
        frame += rng.normal(size=frame.shape) * noise[:, None]
        found[trial] = clusters((frame > threshold * noise[:, None]) & inside)[1]
    return float(found.mean()), float(found.std(ddof=1) / np.sqrt(trials))


@dataclass(frozen=True)
class Completeness:
    """Clusters counted per hit, its standard error, and how it moves with the table's uncertainty (one sigma).

    `slope`: clusters gained per hit gained, 0 where more hits give no more clusters.
    """

    value: float
    error: float
    table: float
    slope: float


def completeness(
    found: float, noise: Floats, exposures: Floats, columns: tuple[int, int], threshold: float, hits: Table,
    gain: float, rng: Generator,
) -> Completeness:  # fmt: skip
    """How many of the hits are counted where `found` clusters are counted in a whole frame.

    Hits are injected into the image's own noise and counted as in the image; their number is adjusted until as many
    clusters are found as were counted. Small hits are missed, and close ones merge.
    """

    def ratio(count: float, model: HitModel) -> tuple[float, float]:
        number = max(round(count), 1)
        mean, error = counted_clusters(number, noise, exposures, columns, threshold, model, rng)
        return mean / number, error / number

    model = HitModel.of(hits, gain)
    wanted = max(found, LEAST)
    count = wanted
    for _ in range(STEPS):
        value, error = ratio(count, model)
        count = min(wanted / max(value, 0.1), 5.0 * wanted)
    further, _ = ratio(1.2 * count, model)
    table = 0.0
    for name in hits.quantities:
        up, down = (ratio(count, HitModel.of(hits, gain, {name: s}))[0] for s in (1.0, -1.0))
        table += ((up - down) / 2.0) ** 2
    return Completeness(value, error, float(np.sqrt(table)), (1.2 * further - value) / 0.2)
