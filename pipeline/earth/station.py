"""Where a tracking station is: in inertial axes, with the tides of the solid Earth, and among the planets.

Tides of degree 2 and 3 with nominal Love numbers and degree 2 with its permanent part, as ITRF positions want it (IERS
Conventions 2010, 7.1.1, step 1: some 0.3 m; step 2, ocean loading and the pole's tide, mm to cm in half a day, are left
out: below 1e-3 mm/s). The Moon is Meeus's (ERFA ``moon98``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import erfa
import numpy as np
from numpy.typing import NDArray

from pipeline.earth.orientation import EarthOrientation, itrf_to_gcrf
from pipeline.earth.times import DAY, J2000_JD

Floats = NDArray[np.float64]
Extended = NDArray[Any]  # of long doubles

LIGHT = 299792.458  # km/s
AU = 149597870.7  # km
# GM in km^3/s^2: DE440 (Park et al. 2021, 10.3847/1538-3881/abd414).
GM_SUN, GM_EARTH, GM_MOON = 132712440041.279419, 398600.435507, 4902.800118
EARTH_RADIUS = 6378.1366
H2, L2, H3, L3 = 0.6078, 0.0847, 0.292, 0.015
# 1 - L of the scale of TDB-compatible coordinates against geocentric ones, without the Sun's potential
# (Moyer 2000, Formulation for Observed and Computed Values, 4.3.1).
SCALE = 1.4808e-8


@dataclass(frozen=True, eq=False)
class Topocentric:
    """A station at n times, in axes of GCRF.

    Parameters
    ----------
    position : from the centre of the Earth, km (n, 3).
    zenith : normal of the ellipsoid (n, 3).
    """

    position: Floats
    zenith: Floats

    def elevation(self, direction: NDArray) -> Floats:
        """Elevation, rad, of directions (n, 3) from the station; geometric, without refraction."""
        d = np.asarray(direction, np.float64)
        return np.arcsin((self.zenith * d).sum(axis=1) / np.sqrt((d * d).sum(axis=1)))


def topocentric(
    position: Floats, s: Extended, epoch: float, known: EarthOrientation, sun: Floats, *, tides: bool = True
) -> Topocentric:
    """A station at times.

    Parameters
    ----------
    position : ITRF, km (3).
    s : offsets of TT from the epoch (n).
    sun : from the Earth, km (n, 3).
    """
    turn = itrf_to_gcrf(s, epoch, known)
    still = np.einsum("nij,j->ni", turn, position)
    if tides:
        still = still + solid_tide(still, sun, GM_SUN) + solid_tide(still, moon(s, epoch), GM_MOON)
    longitude, latitude, _ = erfa.gc2gd(1, position * 1e3)
    normal = np.array(erfa.s2c(longitude, latitude))
    return Topocentric(still, np.einsum("nij,j->ni", turn, normal))


def moon(s: Extended, epoch: float) -> Floats:
    """Moon from the Earth, km (n, 3)."""
    state = erfa.moon98(J2000_JD, (np.asarray(s, np.float64) + epoch) / DAY)
    return np.asarray(state["p"]) * AU


def solid_tide(station: Floats, body: Floats, gm: float) -> Floats:
    """By how much a body displaces a station, km (n, 3); both from the centre of the Earth, km (n, 3)."""
    r, R = (np.sqrt((v * v).sum(axis=1))[:, None] for v in (station, body))
    up, out = station / r, body / R
    c = (up * out).sum(axis=1)[:, None]
    second = gm / GM_EARTH * EARTH_RADIUS**4 / R**3
    third = second * EARTH_RADIUS / R
    across = out - c * up
    degree_2 = H2 * up * (1.5 * c * c - 0.5) + 3.0 * L2 * c * across
    degree_3 = H3 * up * (2.5 * c**3 - 1.5 * c) + L3 * (7.5 * c * c - 1.5) * across
    return np.asarray(second * degree_2 + third * degree_3)


def in_barycentric_scale(station: Floats, velocity: Floats, sun: Floats) -> Floats:
    """A station's place from the Earth's centre in the coordinates of the ephemerides, km (Moyer 2000, 4-10).

    Parameters
    ----------
    velocity : of the Earth relative to the barycentre of the solar system, km/s (n, 3).
    sun : from the Earth, km (n, 3).
    """
    potential = GM_SUN / np.sqrt((sun * sun).sum(axis=1)) / LIGHT**2
    along = (station * velocity).sum(axis=1) / (2.0 * LIGHT**2)
    return np.asarray(station * (1.0 - SCALE - potential)[:, None] - along[:, None] * velocity)
