"""The frequency a station transmits: straight pieces in time, integrated exactly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Extended = NDArray[Any]  # of long doubles


@dataclass(frozen=True, eq=False)
class Ramps:
    """Pieces ``f = frequency + rate (s - start)`` of one station's uplink, in time order.

    Parameters
    ----------
    start, stop : offsets of the station's clock (n); pieces do not overlap.
    frequency : at the start, Hz (n).
    rate : Hz/s (n).
    """

    start: Extended
    stop: Extended
    frequency: Floats
    rate: Floats

    def _piece(self, s: Extended) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        index = np.searchsorted(self.start, s, side="right") - 1
        inside = (index >= 0) & (s <= self.stop[np.maximum(index, 0)]) if self.start.size else np.zeros(s.shape, bool)
        return np.clip(index, 0, max(self.start.size - 1, 0)), inside

    def phase(self, s: Extended) -> Extended:
        """Cycles transmitted since the first piece began; NaN where nothing is known.

        A stretch without a ramp is not bridged: phases on its two sides must not be subtracted (see `joined`).
        """
        if self.start.size == 0:
            return np.full(s.shape, np.nan, np.longdouble)
        length = self.stop - self.start
        cycles = (self.frequency + self.rate * length / 2) * length
        before = np.concatenate([np.zeros(1, np.longdouble), np.cumsum(cycles)[:-1]])
        index, inside = self._piece(s)
        since = s - self.start[index]
        phase = before[index] + (self.frequency[index] + self.rate[index] * since / 2) * since
        return np.where(inside, phase, np.longdouble("nan"))

    def at(self, s: Extended) -> Floats:
        """Frequency, Hz; NaN where nothing is known."""
        if self.start.size == 0:
            return np.full(s.shape, np.nan)
        index, inside = self._piece(s)
        value = self.frequency[index] + self.rate[index] * np.asarray(s - self.start[index], np.float64)
        return np.where(inside, value, np.nan)

    def joined(self, first: Extended, last: Extended) -> NDArray[np.bool_]:
        """Whether every moment between two times lies in a piece."""
        (i, inside_first), (j, inside_last) = self._piece(first), self._piece(last)
        gap = np.append(0, np.cumsum(self.start[1:] != self.stop[:-1])) if self.start.size else np.zeros(1, np.intp)
        return inside_first & inside_last & (gap[i] == gap[j])
