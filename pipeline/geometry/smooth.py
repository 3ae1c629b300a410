"""A trajectory without jumps, evaluated in extended precision: what Doppler to micrometres per second needs.

The polynomials of a `Track` are smooth in velocity, but their intervals do not meet by some millimetres (a kernel's
positions are known no better: et in a double is resolved to 6e-8 s), and 1 mm over a count of 60 s is 0.017 mm/s. Here
every interval is moved to where the one before it ends, and times are offsets from an epoch near the pass, because a
double holding seconds since J2000 would move a spacecraft by 3 mm (Zannoni and Tortora 2013, J. Guid. Control Dyn. 36,
1008).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import GeometryError
from pipeline.geometry.track import Track, _derivative

Floats = NDArray[np.float64]
Extended = NDArray[Any]  # of long doubles

# Machine epsilon that is needed: of the 80-bit numbers of x86-64, or of quadruple precision.
EPSILON = 2e-19


@dataclass(frozen=True, eq=False)
class SmoothTrack:
    """Position of one body relative to another in J2000, km, without jumps.

    Parameters
    ----------
    edges : of the intervals, seconds from the epoch (m + 1).
    coefficients : Chebyshev, of position, (degree + 1, 3, m), in extended precision.
    rates : of velocity, (degree, 3, m).
    """

    edges: Floats
    coefficients: Extended
    rates: Floats

    @classmethod
    def of(cls, track: Track, epoch: float) -> SmoothTrack:
        """The track with its intervals joined, the one of the epoch left where it is.

        Parameters
        ----------
        epoch : et from which times are counted; a whole number of seconds.

        Raises
        ------
        GeometryError
            if this machine has no extended precision or the epoch is outside the track.
        """
        if np.finfo(np.longdouble).eps > EPSILON:
            raise GeometryError("Doppler needs numbers of extended precision, which this machine does not have")
        anchor, inside = track.interval(np.array([epoch]))
        if not inside[0]:
            raise GeometryError("the epoch of the Doppler lies outside the trajectory")
        c = track.coefficients.astype(np.longdouble)
        signs = (-1.0) ** np.arange(c.shape[0])
        ends, starts = c.sum(axis=0), (c * signs[:, None, None]).sum(axis=0)
        # Where nothing is known there is nothing to join.
        jumps = np.nan_to_num(starts[:, 1:] - ends[:, :-1])
        moved = np.concatenate([np.zeros((3, 1), np.longdouble), -np.cumsum(jumps, axis=1)], axis=1)
        c[0] = c[0] + moved - moved[:, anchor]
        half = (track.edges[1:] - track.edges[:-1]) / 2
        return cls(track.edges - epoch, c, _derivative(track.coefficients) / half)

    def position(self, t: Extended) -> Extended:
        """Positions at offsets from the epoch, km (n, 3); NaN where not covered."""
        return self._clenshaw(t, self.coefficients)

    def velocity(self, t: Extended) -> Floats:
        """Velocities at offsets from the epoch, km/s (n, 3); NaN where not covered."""
        return self._clenshaw(np.asarray(t, np.float64), self.rates)

    def _clenshaw(self, t: NDArray, coefficients: NDArray) -> NDArray:
        index = np.searchsorted(self.edges, np.asarray(t, np.float64), side="right") - 1
        inside = (index >= 0) & (index < self.edges.size - 1)
        index = np.clip(index, 0, self.edges.size - 2)
        start, stop = self.edges[index], self.edges[index + 1]
        x = np.where(inside, ((t - start) - (stop - t)) / (stop - start), np.nan)
        b1 = np.zeros((3, t.size), coefficients.dtype)
        b2 = np.zeros_like(b1)
        for c in coefficients[:0:-1]:
            b1, b2 = c[:, index] + 2.0 * x * b1 - b2, b1
        return np.ascontiguousarray((coefficients[0][:, index] + x * b1 - b2).T)
