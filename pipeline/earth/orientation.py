"""Orientation of the Earth: from its fixed frame (ITRF) to inertial axes (GCRF).

IAU 2006/2000A precession and nutation with observed pole offsets, Earth rotation angle, polar motion (IERS Conventions
2010, chapter 5), by SOFA/ERFA. The celestial pole moves little in a day: it is taken at knots and interpolated.
"""

from __future__ import annotations

from dataclasses import dataclass

import erfa
import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.earth.times import DAY, J2000_JD, TT_MINUS_TAI
from pipeline.errors import CalibrationError

Floats = NDArray[np.float64]

KNOT = 1800.0
MAS = np.pi / 180.0 / 3600e3


@dataclass(frozen=True, eq=False)
class EarthOrientation:
    """Measured orientation at even steps of time, a day in published series.

    Parameters
    ----------
    mjd : days of UTC, ascending (n).
    x, y : pole, milliarcseconds (n).
    ut1_tai : UT1 - TAI, s (n); without the leaps of UTC.
    dx, dy : offsets of the celestial pole from IAU 2006/2000A, milliarcseconds (n).
    """

    mjd: Floats
    x: Floats
    y: Floats
    ut1_tai: Floats
    dx: Floats
    dy: Floats

    def __post_init__(self) -> None:
        steps = np.diff(self.mjd)
        if steps.size < 3 or not np.allclose(steps, steps[0], atol=1e-7) or not steps[0] > 0:
            raise CalibrationError("Earth orientation: four or more values at even steps of time are needed")

    def at(self, mjd: ArrayLike) -> tuple[Floats, ...]:
        """Pole x, y; UT1 - TAI; offsets dx, dy at times, in the units of the fields.

        By Lagrange's cubic through the four values about each time.

        Parameters
        ----------
        mjd : modified Julian days, as those of the field.

        Raises
        ------
        CalibrationError
            for a time that has not two values before and after it.
        """
        day = np.asarray(mjd, np.float64)
        step = (self.mjd[-1] - self.mjd[0]) / (self.mjd.size - 1)
        first = np.floor((day - self.mjd[0]) / step).astype(np.intp) - 1
        if (first < 0).any() or (first + 3 >= self.mjd.size).any():
            wanted = f"{day.min():.2f} to {day.max():.2f}"
            reach = f"{self.mjd[1]:.2f} to {self.mjd[-2]:.2f}"
            raise CalibrationError(f"Earth orientation is known for MJD {reach}, {wanted} is needed")
        u = (day - self.mjd[first + 1]) / step
        weights = (
            -u * (u - 1.0) * (u - 2.0) / 6.0,
            (u + 1.0) * (u - 1.0) * (u - 2.0) / 2.0,
            -(u + 1.0) * u * (u - 2.0) / 2.0,
            (u + 1.0) * u * (u - 1.0) / 6.0,
        )
        columns = (self.x, self.y, self.ut1_tai, self.dx, self.dy)
        return tuple(sum(w * c[first + k] for k, w in enumerate(weights)) for c in columns)


def itrf_to_gcrf(s: ArrayLike, epoch: float, known: EarthOrientation) -> Floats:
    """Rotations (n, 3, 3) from ITRF to GCRF at offsets ``s`` of TT from the epoch."""
    offset = np.asarray(s, np.float64)
    # Whole days and the rest of a day apart, or the angle loses 0.01 mm at the equator.
    days = np.floor((offset + epoch) / DAY)
    rest = offset + (epoch - days * DAY)
    mjd_tai = J2000_JD - 2400000.5 + days + (rest - TT_MINUS_TAI) / DAY
    x, y, ut1_tai, dx, dy = known.at(mjd_tai)
    era = erfa.era00(J2000_JD + days, (rest - TT_MINUS_TAI + ut1_tai) / DAY)
    pole = erfa.pom00(x * MAS, y * MAS, erfa.sp00(J2000_JD, days + rest / DAY))
    celestial = _celestial(offset, epoch, dx * MAS, dy * MAS)
    return np.asarray(erfa.rxr(erfa.tr(celestial), erfa.tr(erfa.rxr(pole, erfa.rz(era, np.eye(3))))))


def _celestial(offset: Floats, epoch: float, dx: Floats, dy: Floats) -> Floats:
    """Rotations from GCRF to the celestial intermediate frame."""
    from scipy.interpolate import CubicSpline  # loads much that a run with nothing to do does not need

    knots = np.arange(np.floor(offset.min() / KNOT) - 2, np.ceil(offset.max() / KNOT) + 3) * KNOT
    xys = CubicSpline(knots, np.stack(erfa.xys06a(J2000_JD, (knots + epoch) / DAY), axis=1))(offset)
    return np.asarray(erfa.c2ixys(xys[:, 0] + dx, xys[:, 1] + dy, xys[:, 2]))


def offsets_of_1980(mjd: Floats, dpsi: Floats, deps: Floats) -> tuple[Floats, Floats]:
    """Offsets dx, dy from IAU 2006/2000A, mas, of corrections to the nutation of IAU 1980, mas.

    Old files of Earth orientation (TRK-2-21) give corrections to the IAU 1976 precession and IAU 1980 nutation; the
    pole that follows is the same, and its difference to the pole of IAU 2006/2000A is what is wanted.
    """
    jd, day = 2400000.5, mjd
    psi, eps = erfa.nut80(jd, day)
    matrix = erfa.rxr(erfa.numat(erfa.obl80(jd, day), psi + dpsi * MAS, eps + deps * MAS), erfa.pmat76(jd, day))
    x, y = erfa.xy06(jd, day)
    return (matrix[:, 2, 0] - x) / MAS, (matrix[:, 2, 1] - y) / MAS
