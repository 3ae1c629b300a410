"""The frequency a station transmits: straight pieces in time, integrated exactly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Extended = NDArray[Any]  # of long doubles

# Hz between the end of a ramp and the start of the next: a real file's differ by 1e-6; this is 0.02 mm/s.
MEETS = 1e-3


@dataclass(frozen=True, eq=False)
class Ramps:
    """Pieces ``f = frequency + rate (s - start)`` of one station's uplink, in time order.

    Parameters
    ----------
    start, stop : offsets of the station's clock (n); pieces do not overlap.
    frequency : at the start, Hz (n).
    rate : Hz/s (n).
    suspect : whether it does not go with its neighbours (n).
    """

    start: Extended
    stop: Extended
    frequency: Floats
    rate: Floats
    suspect: NDArray[np.bool_]

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

    def doubtful(self, first: Extended, last: Extended) -> NDArray[np.bool_]:
        """Whether a suspect piece was sent between two times."""
        (i, inside_first), (j, inside_last) = self._piece(first), self._piece(last)
        before = np.append(0, np.cumsum(self.suspect))
        return inside_first & inside_last & (before[np.minimum(j + 1, self.start.size)] > before[i])


def misfits(frequency: Floats, rate: Floats, length: Floats, follows: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Ramps that do not go with their neighbours: a number is wrong, or the record of one in between is lost.

    Where a ramp ends the next one begins; only a station that sends a constant frequency is tuned to another at once,
    as in a real file (MESSENGER, 2007-06-05: 9 of 168 ramps, and all others meet). Where two ramps do not meet, the
    rate or the length of the first is wrong, or, if they would without the second, the frequency of that one.

    Parameters
    ----------
    frequency, rate, length : at the start, Hz; Hz/s; s (n), in order of time.
    follows : whether a ramp begins where the one before it ends, in time (n); False for the first.
    """
    constant = rate == 0.0
    # Of each ramp with the one before it.
    off = np.append(0.0, frequency[1:] - (frequency + rate * length)[:-1])
    broken = follows & ~(np.abs(off) < MEETS)
    tuned = np.append(False, constant[1:] & constant[:-1])
    at_end, after = np.append(broken[1:], False), np.append(off[1:], 0.0)
    alone = broken & at_end & (np.abs(off + after) < MEETS)
    unmet = broken & ~tuned & ~alone
    # The last of a row of ramps has no other witness than the one before.
    last = ~np.append(follows[1:], False)
    # A ramp that stands out alone is met again by the one that follows.
    unmet[1:] &= ~alone[:-1]
    return alone | np.append(unmet[1:], False) | (unmet & last)
