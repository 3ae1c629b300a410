"""Residual range rate as means over a minute, and the stability of the residuals."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from instruments.gs.layout import LINK_NAMES, MM_PER_S
from instruments.gs.schemas import CYCLE_SLIP, FLAGS, PARTIAL
from pipeline.dataset.quality import Quality, flag, raised
from pipeline.errors import CalibrationError
from pipeline.instrument import Product, step

Floats = NDArray[np.float64]

FULL = 0.95  # part of an interval that counts as all of it


@dataclass(frozen=True)
class Intervals:
    """Counts by the intervals they fall into.

    Parameters
    ----------
    of : interval of each count, among those that hold any.
    good : counts whose residual is known.
    length : seconds of each count.
    n : number of intervals.
    """

    of: NDArray[np.intp]
    good: NDArray[np.intp]
    length: Floats
    n: int

    def total(self, values: Floats) -> Floats:
        """Sum over the good counts of each interval."""
        return np.asarray(np.bincount(self.of[self.good], values[self.good], self.n), np.float64)

    @cached_property
    def covered(self) -> Floats:
        """Seconds of the good counts."""
        return self.total(self.length)

    def mean(self, values: Floats) -> Floats:
        """Mean over the good counts; NaN of none."""
        return self.total(values * self.length) / np.where(self.covered > 0, self.covered, np.nan)

    def random(self, sigma: Floats) -> Floats:
        """Error of such a mean by independent errors of the counts."""
        return np.sqrt(self.total((sigma * self.length) ** 2)) / np.where(self.covered > 0, self.covered, np.nan)


def _seconds(residuals: xr.Dataset) -> Floats:
    """Middles of the counts, seconds of UTC."""
    return residuals["utc_day"].values.astype(np.float64) * 86400.0 + residuals["utc_second"].values


@step(produces="gs.range_rate", over="unit", version=2)
def range_rate(
    residuals: Annotated[xr.Dataset, Product("gs.residuals")],
    *,
    interval: float = 60.0,
) -> xr.Dataset:
    """Means of the residual range rate over intervals of UTC.

    A mean of neighbouring counts is the count over all of them, so nothing is lost by it.

    Parameters
    ----------
    interval : seconds.
    """
    if not interval > 0.0:
        raise CalibrationError(f"interval {interval} s is not positive")
    good = np.flatnonzero(np.isfinite(residuals["range_rate"].values))
    if good.size == 0:
        raise CalibrationError(f"there is no residual that could be averaged; flagged: {_why(residuals)}")
    bins, of = np.unique(np.floor(_seconds(residuals) / interval), return_inverse=True)
    n = bins.size
    intervals = Intervals(of, good, residuals["count_time"].values, n)
    mean, some = intervals.mean, intervals.covered > 0
    random = intervals.random(residuals["range_rate_random"].values)
    structured = mean(residuals["range_rate_structured"].values)
    stage = np.stack([mean(s) for s in residuals["stage"].values.T], axis=1)
    coverage = intervals.covered / interval
    bits = np.zeros(n, np.uint32)
    np.bitwise_or.at(bits, of[good], residuals["range_rate_quality"].values[good])
    bits |= flag(~some, Quality.MISSING)
    bits |= flag(some & (coverage < FULL), PARTIAL.mask)
    links = np.zeros(n, np.int8)
    np.maximum.at(links, of[good], residuals["links"].values[good])
    sent = np.zeros(n, np.int16)
    np.maximum.at(sent, of, residuals["transmitter"].values.max(axis=1))
    # Of a bin that holds nothing good the times are those of its counts.
    every = np.bincount(of, minlength=n)
    et = np.where(some, mean(residuals["et"].values), np.bincount(of, residuals["et"].values, n) / every)
    return xr.Dataset(
        {
            "range_rate": ("et", mean(residuals["range_rate"].values)),
            "range_rate_random": ("et", random),
            "range_rate_systematic": ("et", mean(residuals["range_rate_systematic"].values)),
            "range_rate_structured": ("et", structured),
            "stage": (("et", "stages"), stage),
            "stage_name": residuals["stage_name"],
            "interval": ((), np.float64(interval)),
            "weight": ("et", 1.0 / (random**2 + structured**2)),
            "coverage": ("et", coverage),
            "receiver": ("et", np.full(n, residuals["receiver"].values[0])),
            "transmitter": ("et", sent),
            "links": ("et", links),
            "et_spacecraft": ("et", mean(residuals["et_spacecraft"].values)),
            "quality": ("et", bits),
        },
        coords={"et": ("et", et)},
    )


def _why(residuals: xr.Dataset) -> str:
    """Names of the bits that are set where a link was received."""
    quality = residuals["quality"].values
    bits = int(np.bitwise_or.reduce(quality[residuals["transmitter"].values > 0], initial=0))
    names = [q.name.lower() for q in Quality if bits & q and q.name] + [f.name for f in FLAGS if bits & f.mask]
    return ", ".join(names) or "nothing"


@step(produces="gs.stability", over="unit", version=2)
def stability(residuals: Annotated[xr.Dataset, Product("gs.residuals")]) -> xr.Dataset:
    """Overlapping Allan deviation of the residuals of each link and of their combination.

    ``s^2(m T) = <(x_{k+2m} - 2 x_{k+m} + x_k)^2> / (2 m^2 T^2)``, x the phase in s. Differences across gaps are left
    out. The error is that of white frequency noise (Riley 2008, NIST SP 1065, 5.4).
    """
    count = residuals["count_time"].values
    values, numbers = np.unique(count, return_counts=True)
    step_length = float(values[np.argmax(numbers)])
    second = _seconds(residuals)
    place = np.rint((second - second[0]) / step_length).astype(np.intp)
    use = (count == step_length) & (np.abs((second - second[0]) / step_length - place) < 1e-6)
    shift = residuals["residual"].values / (residuals["computed"].values + residuals["residual"].values)
    shift[raised(residuals["quality"].values, CYCLE_SLIP.mask | Quality.SUSPECT)] = np.nan
    columns = [*shift.T, residuals["range_rate"].values / MM_PER_S]
    size = int(place.max()) + 1
    steps = [2**k for k in range(max(1, int(np.log2(max(size / 4, 1))) + 1))]
    made = [_allan(_even(column[use], place[use], size), step_length, steps) for column in columns]
    deviation, error, number = (np.stack(part) for part in zip(*made, strict=True))
    missing = flag(np.isnan(deviation), Quality.MISSING)
    pair = ("series", "tau")
    return xr.Dataset(
        {
            "averaging_time": ("tau", step_length * np.array(steps, np.float64)),
            "series_name": ("series", np.array([*LINK_NAMES, "combined"])),
            "deviation": (pair, deviation),
            "deviation_random": (pair, error),
            "number": (pair, number),
            "quality": (pair, missing),
        }
    )


def _even(y: Floats, place: NDArray[np.intp], size: int) -> Floats:
    out = np.full(size, np.nan)
    out[place] = y
    return out


def _allan(y: Floats, length: float, steps: list[int]) -> tuple[Floats, Floats, NDArray[np.int32]]:
    """Deviation, its error and the number of differences at multiples of the length of a count."""
    there = np.isfinite(y)
    x = np.concatenate([[0.0], np.cumsum(np.where(there, y, 0.0))]) * length
    gaps = np.concatenate([[0], np.cumsum(~there)])
    out = [np.full(len(steps), np.nan), np.full(len(steps), np.nan)]
    number = np.zeros(len(steps), np.int32)
    for i, m in enumerate(steps):
        if x.size <= 2 * m:
            continue
        second = x[2 * m :] - 2.0 * x[m:-m] + x[: -2 * m]
        whole = gaps[2 * m :] == gaps[: -2 * m]
        number[i] = int(whole.sum())
        if number[i] == 0:
            continue
        out[0][i] = np.sqrt(np.mean(second[whole] ** 2) / 2.0) / (m * length)
        n = number[i] + 2 * m
        freedom = (1.5 * (n - 1) / m - 2.0 * (n - 2) / n) * 4.0 * m**2 / (4.0 * m**2 + 5.0)
        out[1][i] = out[0][i] / np.sqrt(2.0 * max(freedom, 1.0))
    return out[0], out[1], number
