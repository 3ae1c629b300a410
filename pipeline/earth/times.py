"""Times of a tracking station: UTC of its tags, terrestrial time, and TDB, the argument of ephemerides.

All are offsets in extended precision from one epoch, a whole number of seconds past J2000 in TT and in TDB: ``s``
counts TT, ``t`` counts TDB. Frequencies and count intervals are those of the station's clock, so they go with ``s``.

TDB - TT is Fairhead and Bretagnon's series as in SOFA/ERFA's ``dtdb`` with the station's own diurnal terms (2 us, of
which the rate, 1.5e-10, is 20 mm/s of Doppler); the short series of SPICE's et differs by up to 30 us.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import erfa
import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from scipy.interpolate import CubicSpline

Floats = NDArray[np.float64]
Extended = NDArray[Any]  # of long doubles

DAY = 86400.0
J2000_JD, J2000_MJD = 2451545.0, 51544
TT_MINUS_TAI = 32.184
# Seconds between knots of TDB - TT; the cubic is within 1e-15 s.
KNOT = 300.0


def tai_minus_utc(mjd: ArrayLike) -> Floats:
    """Leap seconds at the beginning of days of UTC."""
    days = np.asarray(mjd, np.float64)
    year, month, day, _ = erfa.jd2cal(2400000.5, days)
    return np.asarray(erfa.dat(year, month, day, 0.0), np.float64)


def from_utc(mjd: ArrayLike, second: ArrayLike, epoch: float) -> Extended:
    """Offset ``s`` of UTC given as day and second of the day (which may be the 86401st)."""
    days = np.asarray(mjd, np.int64)
    # Days, epoch and leap seconds are whole numbers: only the fraction of a second needs the digits.
    whole = (days - J2000_MJD) * 86400 - 43200 - int(epoch)
    return np.asarray(second, np.longdouble) + whole + tai_minus_utc(days) + np.longdouble("32.184")


def to_utc(s: ArrayLike, epoch: float) -> tuple[NDArray[np.int64], Floats]:
    """Day and second of UTC of an offset ``s``; inverse of `from_utc`, outside leap seconds."""
    offset = np.asarray(s, np.longdouble)
    tai = offset - np.longdouble("32.184") + 43200
    day = J2000_MJD + np.floor((np.asarray(tai, np.float64) + epoch) / DAY).astype(np.int64)
    for _ in range(2):
        second = tai - ((day - J2000_MJD) * 86400 - int(epoch)) - tai_minus_utc(day)
        day = day + np.where(second < 0, -1, np.where(second >= DAY, 1, 0))
    second = tai - ((day - J2000_MJD) * 86400 - int(epoch)) - tai_minus_utc(day)
    return day, np.asarray(second, np.float64)


@dataclass(frozen=True, eq=False)
class StationClock:
    """Conversion between the clock of one station and TDB.

    Parameters
    ----------
    epoch : whole seconds past J2000.
    position : of the station, ITRF, km (3).
    start, stop : offsets that must be covered.
    """

    epoch: float
    position: Floats
    start: float
    stop: float

    @cached_property
    def _spline(self) -> CubicSpline:
        from scipy.interpolate import CubicSpline  # loads much that a run with nothing to do does not need

        knots = np.arange(np.floor(self.start / KNOT) - 3, np.ceil(self.stop / KNOT) + 4) * KNOT
        days = (knots + self.epoch) / DAY
        ut = np.mod(days + 0.5 - (TT_MINUS_TAI + 37.0) / DAY, 1.0)
        x, y, z = self.position
        difference = erfa.dtdb(J2000_JD, days, ut, np.arctan2(y, x), np.hypot(x, y), z)
        return CubicSpline(knots, difference)

    def tdb(self, s: Extended) -> Extended:
        """Offset ``t`` of TDB at offsets ``s`` of the station's clock."""
        return s + self._spline(np.asarray(s, np.float64))

    def station(self, t: Extended) -> Extended:
        """Offset ``s`` at offsets ``t``; what the series changes in 2 ms is below 1e-12 s."""
        s = t - self._spline(np.asarray(t, np.float64))
        return t - self._spline(np.asarray(s, np.float64))
