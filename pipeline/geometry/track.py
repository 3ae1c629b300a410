"""A trajectory as Chebyshev polynomials over intervals of time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Track:
    """Position of one body relative to another in J2000, km.

    Parameters
    ----------
    edges : et at which the intervals begin and end, (m + 1).
    coefficients : of the Chebyshev polynomials over each interval, (degree + 1, 3, m); NaN where nothing is known.
    """

    edges: Floats
    coefficients: Floats

    @classmethod
    def fit(cls, function: Callable[[Floats], Floats], edges: Floats, degree: int) -> Track:
        """Interpolate ``function(et (n,)) -> (n, 3)`` at the Chebyshev nodes of each interval."""
        count = degree + 1
        angle = np.pi * (np.arange(count) + 0.5) / count
        middle, half = (edges[1:] + edges[:-1]) / 2, (edges[1:] - edges[:-1]) / 2
        values = function((middle + half * np.cos(angle)[:, None]).ravel()).reshape(count, middle.size, 3)
        weights = np.cos(np.arange(count)[:, None] * angle) * 2.0 / count
        weights[0] /= 2.0
        # The middle value is taken off so that digits are not lost in the sums.
        origin = values[count // 2]
        coefficients = np.einsum("kn,nmx->kxm", weights, values - origin)
        coefficients[0] += origin.T
        return cls(edges, coefficients)

    def interval(self, et: Floats) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """Index of the interval of each time, and whether it lies in any."""
        index = np.searchsorted(self.edges, et, side="right") - 1
        index = np.where(et == self.edges[-1], self.edges.size - 2, index)
        inside = (index >= 0) & (index < self.edges.size - 1)
        return np.clip(index, 0, self.edges.size - 2), inside

    def position(self, et: ArrayLike) -> Floats:
        """Positions, km (n, 3); NaN where not covered."""
        return self._clenshaw(np.asarray(et, np.float64), self.coefficients)

    def velocity(self, et: ArrayLike) -> Floats:
        """Velocities, km/s (n, 3); NaN where not covered."""
        half = (self.edges[1:] - self.edges[:-1]) / 2
        return self._clenshaw(np.asarray(et, np.float64), _derivative(self.coefficients) / half)

    def _clenshaw(self, et: Floats, coefficients: Floats) -> Floats:
        index, inside = self.interval(et)
        start, stop = self.edges[index], self.edges[index + 1]
        x = np.where(inside, ((et - start) - (stop - et)) / (stop - start), np.nan)
        b1 = np.zeros((3, et.size))
        b2 = np.zeros((3, et.size))
        for c in coefficients[:0:-1]:
            b1, b2 = c[:, index] + 2.0 * x * b1 - b2, b1
        return np.ascontiguousarray((coefficients[0][:, index] + x * b1 - b2).T)


def _derivative(c: Floats) -> Floats:
    """Chebyshev coefficients of the derivative with respect to the normalised time."""
    degree = c.shape[0] - 1
    out = np.zeros_like(c[: max(degree, 1)])
    above = np.zeros_like(c[0])
    for k in range(degree, 0, -1):
        following = out[k + 1] if k + 1 < degree else above
        out[k - 1] = 2.0 * k * c[k] + following
    out[0] = out[0] / 2.0
    return out
