"""What the array itself does: offset, noise, hits of particles (README.md, steps 1 to 3 and 8). All in DN."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage
from scipy.special import ndtr

from calibration.tables import Table

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

SIZE = 512
MAD = 1.4826  # sigma of a normal distribution over its median absolute deviation
# Sigmas beyond which pixels are left out of means, and how often that is repeated.
CLIP, CLIPPINGS = 4.0, 3
# Rows over which noise and level are averaged; pixels that a row, and those rows together, need to be asked.
NOISE_ROWS, LEVEL_ROWS, FEWEST, ENOUGH = 31, 9, 30, 1000
# Neighbours at corners belong together.
TOUCHING = np.ones((3, 3), bool)
BOX = 5
# Points that stand for a track, and pixels about each that its charge reaches.
POINTS, REACH = 5, 2
# Frames simulated for one number of hits, and steps towards the number that gives the clusters counted.
TRIALS, STEPS = 3, 3
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


def clipped_moments(values: Floats, use: Mask) -> tuple[Floats, Floats]:
    """Mean and standard deviation of the pixels of each row (n, m) in use, without what is beyond four of the latter.

    Numbers of the converter are whole: their median and its deviation would be, too, and off by up to half a step.
    """
    masked = np.where(use, values, np.nan)
    middle = np.nanmedian(masked, axis=1, keepdims=True)
    width = np.maximum(MAD * np.nanmedian(np.abs(masked - middle), axis=1, keepdims=True), 0.5)
    for _ in range(CLIPPINGS):
        kept = np.where(np.abs(masked - middle) <= CLIP * width, masked, np.nan)
        middle, width = np.nanmean(kept, axis=1, keepdims=True), np.nanstd(kept, axis=1, keepdims=True)
    return middle[:, 0], width[:, 0]


def row_noise(values: Floats, use: Mask) -> Floats:
    """One sigma of the pixels of each row, averaged over 31 rows (512)."""
    return np.sqrt(_by_row(values, use, NOISE_ROWS, lambda middle, width: width**2))


def row_level(values: Floats, use: Mask) -> Floats:
    """Mean of the pixels of each row, averaged over 9 rows (512)."""
    return _by_row(values, use, LEVEL_ROWS, lambda middle, width: middle)


def _by_row(values: Floats, use: Mask, rows: int, of: Callable[[Floats, Floats], Floats]) -> Floats:
    """A moment of the pixels of each row, averaged over some rows by the number of pixels.

    Where there are too few pixels it is that of all rows; NaN where there are none at all.
    """
    number = use.sum(axis=1).astype(np.float64)
    some = number >= FEWEST
    total = np.zeros(SIZE)
    if not some.any():
        return np.full(SIZE, np.nan)
    total[some] = number[some] * of(*clipped_moments(values[some], use[some]))
    number[~some] = 0.0
    near, weight = (ndimage.uniform_filter1d(x, rows, mode="constant") for x in (total, number))
    enough = weight * rows >= ENOUGH
    return np.where(enough, near / np.maximum(weight, 1e-9), total.sum() / number.sum())


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
        return self.charge + self.width * (np.euler_gamma + np.log(2.0))

    @property
    def effective_charge(self) -> float:
        """Mean square over mean of the charge: the variance of a sum of hits is this times the sum."""
        return 0.5 * (np.pi * self.width) ** 2 / self.mean_charge + self.mean_charge


def injected(count: int, exposures: Floats, columns: tuple[int, int], model: HitModel, rng: Generator) -> Floats:
    """Charge of that many hits, DN (512, 512): a row's share goes with its exposure.

    A track is five points, each a normal cloud integrated over pixels.
    """
    frame = np.zeros((SIZE, SIZE))
    if count == 0:
        return frame
    row = rng.choice(SIZE, count, p=exposures / exposures.sum()) + rng.random(count) - 0.5
    column = rng.uniform(columns[0] - 0.5, columns[1] - 0.5, count)
    # A Moyal distribution: minus the logarithm of a square of normal numbers.
    charge = np.maximum(model.charge - model.width * np.log(rng.standard_normal(count) ** 2), 0.0)
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


@dataclass(frozen=True)
class Completeness:
    """Clusters counted per hit, its standard error, and how it moves with the table's uncertainty (one sigma).

    `slope`: clusters gained per hit gained, about 0 where more hits give no more clusters.
    """

    value: float
    error: float
    table: float
    slope: float


@dataclass(frozen=True)
class Trials:
    """Frames of an image's own noise into which hits are injected.

    Parameters
    ----------
    noise : one sigma of each row, DN (512).
    exposures : of each row, s; 0 where it is not read out (512).
    columns : first column and the one after the last.
    threshold : sigmas.
    seed : the same frames and hits are drawn for every model, so that their difference is that of the models.
    """

    noise: Floats
    exposures: Floats
    columns: tuple[int, int]
    threshold: float
    seed: tuple[int, ...]

    @cached_property
    def frames(self) -> NDArray[np.float32]:
        """Noise in sigmas, (trial, 512, 512); nothing where nothing is read out."""
        rng = np.random.default_rng(self.seed)
        frames = rng.standard_normal((TRIALS, SIZE, SIZE), np.float32)
        frames[:, self.exposures <= 0.0] = 0.0
        frames[:, :, : self.columns[0]] = frames[:, :, self.columns[1] :] = 0.0
        return frames

    @property
    def per_sigma(self) -> Floats:
        """One over the noise of each row, 0 where nothing is read out (512, 1)."""
        with np.errstate(divide="ignore"):
            return np.where(self.exposures > 0.0, 1.0 / self.noise, 0.0)[:, None]

    def hits(self, count: int, model: HitModel, trial: int) -> Floats:
        """Charge of hits in a frame, in sigmas."""
        rng = np.random.default_rng([*self.seed, trial])
        return injected(count, self.exposures, self.columns, model, rng) * self.per_sigma

    def charge(self, count: float, model: HitModel, trials: int = TRIALS) -> tuple[float, float]:
        """Share of the charge that is found above the level of the sky, and its standard error.

        That level is the mean of pixels beside hits, which the faintest parts of hits raise.
        """
        share = np.empty(trials)
        read = np.zeros((SIZE, SIZE), bool)
        read[self.exposures > 0.0, self.columns[0] : self.columns[1]] = True
        for trial, frame in enumerate(self.frames[:trials]):
            left = self.hits(max(round(count), LEAST), model, trial)
            clean = read & ~grown(frame + left > self.threshold)
            share[trial] = 1.0 - left[clean].mean() * read.sum() / max(left[read].sum(), 1e-9)
        return float(share.mean()), float(share.std() / np.sqrt(max(trials - 1, 1)))

    def ratio(self, count: float, model: HitModel, trials: int = TRIALS) -> tuple[float, float]:
        """Clusters counted per hit where there are so many, and the standard error of that."""
        number = max(round(count), 1)
        found = np.empty(trials)
        for trial, frame in enumerate(self.frames[:trials]):
            found[trial] = clusters(frame + self.hits(number, model, trial) > self.threshold)[1]
        return float(found.mean()) / number, float(found.std()) / np.sqrt(max(trials - 1, 1)) / number


def of_table(result: Callable[[HitModel], float], hits: Table, gain: float) -> float:
    """One sigma of a result by the uncertainties of the table of hits, each moved up and down."""
    halves = [
        (result(HitModel.of(hits, gain, {n: 1.0})) - result(HitModel.of(hits, gain, {n: -1.0}))) / 2.0
        for n in hits.quantities
    ]
    return float(np.hypot.reduce(halves))


def completeness(found: float, trials: Trials, hits: Table, gain: float) -> Completeness:
    """How many of the hits are counted where `found` clusters are counted in a whole frame.

    Hits are injected into the image's own noise and counted as in the image; their number is adjusted until as many
    clusters are found as were counted. Small hits are missed, and close ones merge.
    """
    model = HitModel.of(hits, gain)
    wanted = max(found, LEAST)
    count, value, error = wanted, 1.0, 0.0
    for _ in range(STEPS):
        value, error = trials.ratio(count, model)
        count = min(wanted / max(value, 0.1), 5.0 * wanted)
    further, _ = trials.ratio(1.2 * count, model)
    table = of_table(lambda m: trials.ratio(count, m, 1)[0], hits, gain)
    return Completeness(value, error, table, (1.2 * further - value) / 0.2)
