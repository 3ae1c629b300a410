"""Jupiter's gravity: potential and acceleration of a point mass with zonal harmonics.

``U = (GM / r) [1 - sum J_n (R / r)^n P_n(sin phi)]`` with R = 71492 km; the acceleration is its gradient.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

RADIUS = 71492.0
# km^3/s^2 and J2 to J10: Iess et al. 2018 (10.1038/nature25776), GM of the satellite solution jup329 used with them.
GM = 126686534.1921
ZONAL = (14696.572e-6, -0.042e-6, -586.609e-6, -0.069e-6, 34.198e-6, 0.124e-6, -2.426e-6, -0.106e-6, 0.172e-6)


def potential(position: ArrayLike, *, gm: float = GM, zonal: Sequence[float] = ZONAL) -> Floats:
    """Potential U in km^2/s^2 (positive) at positions relative to the equator and pole, km (..., 3)."""
    x, y, z = np.moveaxis(np.asarray(position, np.float64), -1, 0)
    r = np.sqrt(x * x + y * y + z * z)
    sine, ratio = z / r, RADIUS / r
    total, power = np.ones_like(r), ratio
    for j, (p, _) in zip(zonal, _legendre(sine, len(zonal)), strict=True):
        power = power * ratio
        total = total - j * power * p
    return np.asarray(gm / r * total)


def acceleration(position: ArrayLike, pole: ArrayLike, *, gm: float = GM, zonal: Sequence[float] = ZONAL) -> Floats:
    """Gradient of the potential in any inertial frame, km/s^2.

    Parameters
    ----------
    position : relative to the centre of Jupiter, km (..., 3).
    pole : unit vector of the pole in the same frame, (3,) or (..., 3).
    gm, zonal : GM in km^3/s^2 and J_2, J_3, ...

    Returns
    -------
    Floats
        (..., 3). With s = sin(phi): ``-GM/r^2 { u [1 - sum (n+1) J (R/r)^n P_n] + (k - s u) sum J (R/r)^n P'_n }``.
    """
    vector, axis = np.asarray(position, np.float64), np.asarray(pole, np.float64)
    x, y, z = np.moveaxis(vector, -1, 0)
    kx, ky, kz = np.moveaxis(axis, -1, 0)
    r = np.sqrt(x * x + y * y + z * z)
    sine, ratio = (x * kx + y * ky + z * kz) / r, RADIUS / r
    radial, across, power = np.ones_like(r), np.zeros_like(r), ratio
    for n, (j, (p, slope)) in enumerate(zip(zonal, _legendre(sine, len(zonal)), strict=True), start=2):
        power = power * ratio
        radial = radial - (n + 1) * j * power * p
        across = across + j * power * slope
    factor = -gm / (r * r)
    along = factor * (radial - across * sine) / r
    return np.asarray(along[..., None] * vector + (factor * across)[..., None] * axis)


def _legendre(s: Floats, count: int) -> list[tuple[Floats, Floats]]:
    """P_n and dP_n/ds for n = 2 .. count + 1, by recurrence."""
    before, p, slope_before, slope = np.ones_like(s), s, np.zeros_like(s), np.ones_like(s)
    out = []
    for n in range(2, count + 2):
        before, p = p, ((2 * n - 1) * s * p - (n - 1) * before) / n
        slope_before, slope = slope, slope_before + (2 * n - 1) * before
        out.append((p, slope))
    return out
