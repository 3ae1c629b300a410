"""Counts: what to expect of each from those around it, the dead time of counters."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def correct_dead_time(rate: Array, dead_time: Array | float) -> Array:
    """True rate of a counter that is dead for a fixed time after each count: ``R / (1 - R tau)``.

    Non-paralysable, Knoll, Radiation Detection and Measurement, ch. 4. NaN from 1 / tau on.

    Parameters
    ----------
    rate : recorded, 1/s, any shape.
    dead_time : s, of a shape that goes with `rate`.
    """
    live = 1.0 - rate * dead_time
    return np.divide(rate, live, out=np.full(rate.shape, np.nan), where=live > 0)


def expected_counts(counts: Array, exposure: Array, around: tuple[Array, Array]) -> Array:
    """Expected counts of each sample from the others around it, in proportion to exposure.

    The sum S over neighbours counts as S + 1: the mean of ``mu K / (S + 1)`` over Poisson's distribution is
    ``1 - exp(-mu K)``, so that the variance of a sample over this estimate is right on average from a few counts on.
    The sample itself is left out, which would pull the estimate toward it.

    Parameters
    ----------
    counts, exposure : of the samples, any shape; exposure in any unit, 0 where nothing was looked at.
    around : sums of counts and of exposures over the neighbours, of the shape of `counts`.
    """
    total, reach = around
    alone = reach <= 0
    return np.where(alone, np.maximum(counts, 1.0), (total + 1.0) * exposure / np.where(alone, 1.0, reach))


def along_axis(array: Array, steps: int, axis: int) -> Array:
    """Sum over up to so many steps to either side along an axis."""
    return np.asarray(sum(shifted(array, up, axis) for up in range(-steps, steps + 1)))


def along_time(array: Array, et: Array, records: int, seconds: float) -> Array:
    """Sum over the records up to so many to either side that are less than so many seconds away (n, ...)."""
    total, place = np.zeros(array.shape), np.arange(et.size)
    for later in range(-records, records + 1):
        at = np.clip(place + later, 0, max(et.size - 1, 0))
        near = (place + later == at) & (np.abs(et[at] - et) < seconds)
        total += near.reshape(-1, *(1,) * (array.ndim - 1)) * array[at]
    return total


def shifted(array: Array, step: int, axis: int) -> Array:
    """An array moved along an axis, 0 where nothing moves in."""
    out = np.zeros_like(array)
    source, target = [slice(None)] * array.ndim, [slice(None)] * array.ndim
    source[axis] = slice(max(0, -step), array.shape[axis] - max(0, step))
    target[axis] = slice(max(0, step), array.shape[axis] - max(0, -step))
    out[tuple(target)] = array[tuple(source)]
    return out
