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
        """Polynomials through states at the Chebyshev nodes of each interval.

        The velocities are interpolated and integrated; the positions only say from where. A velocity of a kernel is
        smooth to 1e-3 mm/s, while its positions jump by some mm: et is resolved to 6e-8 s, at up to 58 km/s.

        Parameters
        ----------
        function : et (n,) to position and velocity (n, 6), km and km/s.
        degree : of the polynomials of position, 1 or more.
        """
        angle = np.pi * (np.arange(degree) + 0.5) / degree
        middle, half = (edges[1:] + edges[:-1]) / 2, (edges[1:] - edges[:-1]) / 2
        states = function((middle + half * np.cos(angle)[:, None]).ravel()).reshape(degree, middle.size, 6)
        weights = np.cos(np.arange(degree)[:, None] * angle) * 2.0 / degree
        weights[0] /= 2.0
        # The middle value is taken off so that digits are not lost in the sums.
        origin = states[degree // 2]
        rates = np.einsum("kn,nmx->kxm", weights, states[:, :, 3:] - origin[:, 3:])
        rates[0] += origin[:, 3:].T
        coefficients = _integral(rates * half)
        lifts = np.cos(np.arange(degree + 1)[:, None] * angle)
        along = np.einsum("kn,kxm->nmx", lifts, coefficients)
        coefficients[0] = (origin[:, :3] + (states[:, :, :3] - origin[:, :3] - along).mean(axis=0)).T
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


def _integral(c: Floats) -> Floats:
    """Chebyshev coefficients of an integral over the normalised time, without constant; inverse of `_derivative`."""
    degree = c.shape[0]
    out = np.zeros((degree + 1, *c.shape[1:]))
    padded = np.concatenate([c, np.zeros((2, *c.shape[1:]))])
    for k in range(1, degree + 1):
        before = 2.0 * padded[0] if k == 1 else padded[k - 1]
        out[k] = (before - padded[k + 1]) / (2.0 * k)
    return out
