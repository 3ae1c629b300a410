"""Sums over the samples of intervals, in the order of time whatever else is in memory."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


class Groups:
    """Samples that follow one another in the same bin.

    Parameters
    ----------
    bins : number of the bin of each sample; equal numbers stand together.
    good : samples that count; a group may hold none.

    Attributes
    ----------
    start : place of the first sample of each group (m).
    inverse : group of each sample (n).
    number : good samples of each group (m).
    """

    def __init__(self, bins: NDArray[np.int64], good: NDArray[np.bool_]) -> None:
        first = np.ones(bins.shape, bool)
        first[1:] = bins[1:] != bins[:-1]
        self.start = np.flatnonzero(first)
        self.inverse = np.cumsum(first) - 1
        self.good = good
        self.number = np.bincount(self.inverse[good], minlength=self.start.size)

    def sum(self, values: NDArray[Any]) -> NDArray[Any]:
        """Sums of the good samples of each group, (n, ...) to (m, ...)."""
        if np.iscomplexobj(values):
            return self.sum(values.real) + 1j * self.sum(values.imag)
        flat = values.reshape(len(values), -1)[self.good]
        place = self.inverse[self.good]
        sums = [np.bincount(place, column, self.start.size) for column in flat.T]
        return np.stack(sums, 1).reshape(-1, *values.shape[1:])

    def mean(self, values: NDArray[Any]) -> NDArray[Any]:
        """Means of the good samples, NaN where there is none."""
        number = self.number.reshape(-1, *[1] * (values.ndim - 1))
        with np.errstate(invalid="ignore"):
            return self.sum(values) / number

    def reduce(self, operation: np.ufunc, values: NDArray[Any], nothing: Any) -> NDArray[Any]:
        """Reduction by an operation that does not mind the order; `nothing` stands for samples that are not good."""
        masked = np.where(self.good.reshape(-1, *[1] * (values.ndim - 1)), values, nothing)
        return operation.reduceat(masked, self.start, axis=0) if self.start.size else masked[:0]
