"""Field of Jupiter's magnetodisc: con2020 (Connerney et al. 2020, 10.1029/2020JA028138), its published mean parameters.

A washer of azimuthal current ``I / rho`` between two radii, and a radial current that bends the field. As in the
community's code (con2020 1.2.9; Wilson et al. 2023, 10.1007/s11214-023-00961-3) the field of each edge is the
approximation of Edwards et al. 2001 (10.1016/S0032-0633(00)00164-1) for small and for large distances from the axis,
blended across the edge, except near the inner edge, where it is integrated.

The integral is over Bessel functions (Connerney et al. 1981, 10.1029/JA086iA10p08370, eqs. 14, 15, 17, 18). With
``J_0(a l) J_0(rho l) = (1/pi) int_0^pi J_0(l R) dtheta``, ``R^2 = a^2 + rho^2 - 2 a rho cos theta``, the integrals over
l and over the sheet's thickness become elementary, and one over theta is left, which converges fast. (The community's
code sums over l from 5e-5, which leaves out 0.05 nT.)

Lengths here are in radii of Jupiter.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.jupiter.shape import EQUATORIAL_RADIUS

Floats = NDArray[np.float64]
# mu_0 I / 2 in nT, radial current in MA, edges, half thickness, tilt and the longitude it is towards (right-handed).
CURRENT, RADIAL_CURRENT = 139.6, 16.7
INNER, OUTER, HALF = 7.8, 51.4, 3.6
TILT, LONGITUDE = np.radians(9.3), np.radians(155.8)
# B_phi of 1 MA at unit distance, nT: mu_0 / (2 pi a), with the current halved to each side of the sheet.
AZIMUTHAL = 2.7975
# tanh((rho - edge) / BLEND) weighs the two approximations; beyond SATURATED it is 1 to the last bit.
BLEND, SATURATED = 1.0, 20.0
# Where the field of the inner edge is integrated.
NEAR_RHO, NEAR_Z = 2.0, 1.5 * HALF
# Nodes of the integral, and the power that crowds them where R is least: 1e-7 nT in the worst place.
NODES, CROWDING = 48, 5
INNERMOST = 0.5
CHUNK = 8192


def con2020(position_km_iau: ArrayLike) -> Floats:
    """Field of the magnetodisc.

    Parameters
    ----------
    position_km_iau : IAU_JUPITER (System III, right-handed), km (n, 3).

    Returns
    -------
    ndarray
        IAU_JUPITER, nT (n, 3); NaN inside half a radius, on the disc's axis and where the position is NaN. A point's
        field does not depend on the other points of the call.
    """
    position = np.asarray(position_km_iau, np.float64) / EQUATORIAL_RADIUS
    out = np.empty_like(position)
    for start in range(0, len(position), CHUNK):
        part = position[start : start + CHUNK]
        out[start : start + CHUNK] = _chunk(np.ascontiguousarray(part.T)).T
    return out


def _chunk(points: Floats) -> Floats:
    """Field (3, n) at points (3, n)."""
    turn = _to_disc()
    x, y, z = (row[0] * points[0] + row[1] * points[1] + row[2] * points[2] for row in turn)
    square = x * x + y * y
    rho = np.sqrt(np.where((square > 0.0) & (square + z * z >= INNERMOST**2), square, np.nan))
    height = np.abs(z)
    radial, axial = _inner_edge(rho, height)
    outer = _edge(rho, height, OUTER)
    # The radial component is odd in z, the axial one even.
    radial = np.copysign(CURRENT, z) * (radial - outer[0])
    axial = CURRENT * (axial - outer[1])
    around = -np.sign(z) * (AZIMUTHAL * RADIAL_CURRENT) / rho * np.minimum(height / HALF, 1.0)
    c, s = x / rho, y / rho
    field = (radial * c - around * s, radial * s + around * c, axial)
    return np.stack([turn[0, i] * field[0] + turn[1, i] * field[1] + turn[2, i] * field[2] for i in range(3)])


@cache
def _to_disc() -> Floats:
    """Rotation from IAU_JUPITER to the disc: about Z to the longitude of its tilt, then about Y."""
    # The disc's normal leans towards LONGITUDE, so its x axis, on the other side, rises.
    c, s = np.cos(LONGITUDE - np.pi), np.sin(LONGITUDE - np.pi)
    ct, st = np.cos(TILT), np.sin(TILT)
    return np.array([[ct * c, ct * s, st], [-s, c, 0.0], [-st * c, -st * s, ct]])


def _inner_edge(rho: Floats, height: Floats) -> tuple[Floats, Floats]:
    """Field of a sheet from the inner edge to infinity in units of CURRENT: radial (for z > 0) and axial."""
    near = (height <= NEAR_Z) & (np.abs(rho - INNER) <= NEAR_RHO)
    if not near.any():
        return _edge(rho, height, INNER)
    radial, axial = np.empty_like(rho), np.empty_like(rho)
    radial[~near], axial[~near] = _edge(rho[~near], height[~near], INNER)
    radial[near], axial[near] = _integral(rho[near], height[near], INNER)
    return radial, axial


def _edge(rho: Floats, height: Floats, edge: float) -> tuple[Floats, Floats]:
    """As `_inner_edge`, approximated: eqs. 9 and 13 of Edwards et al., blended."""
    if not (rho > edge - SATURATED).any():
        return _small(rho, height, edge)
    small, large = _small(rho, height, edge), _large(rho, height, edge)
    weight = 0.5 * (1.0 + np.tanh((rho - edge) / BLEND))
    rest = 1.0 - weight
    return small[0] * rest + large[0] * weight, small[1] * rest + large[1] * weight


def _small(rho: Floats, height: Floats, edge: float) -> tuple[Floats, Floats]:
    """Eq. 9, for rho below the edge."""
    lower, upper, square, quarter = height - HALF, height + HALF, edge * edge, 0.25 * rho * rho
    lower2, upper2 = lower * lower, upper * upper
    f1, f2 = np.sqrt(lower2 + square), np.sqrt(upper2 + square)
    i1, i2 = 1.0 / f1, 1.0 / f2
    p1, p2 = i1 * i1, i2 * i2
    k1, k2 = i1 * p1, i2 * p2
    slope = (square - 2.0 * lower2) * (k1 * p1) - (square - 2.0 * upper2) * (k2 * p2)
    radial = (0.5 * rho) * ((i1 - i2) + (0.5 * quarter) * slope)
    return radial, np.log((upper + f2) / (lower + f1)) + quarter * (upper * k2 - lower * k1)


def _large(rho: Floats, height: Floats, edge: float) -> tuple[Floats, Floats]:
    """Eq. 13, for rho beyond the edge."""
    lower, upper, square, quarter = height - HALF, height + HALF, rho * rho, 0.25 * edge * edge
    f1, f2 = np.sqrt(lower * lower + square), np.sqrt(upper * upper + square)
    i1, i2 = 1.0 / f1, 1.0 / f2
    k1, k2 = i1 * i1 * i1, i2 * i2 * i2
    radial = (f1 - f2 + 2.0 * np.minimum(height, HALF)) / rho + (quarter * rho) * (k2 - k1)
    return radial, np.log((upper + f2) / (lower + f1)) + quarter * (upper * k2 - lower * k1)


def _integral(rho: Floats, height: Floats, edge: float) -> tuple[Floats, Floats]:
    """As `_inner_edge`, exactly: see the module's text."""
    lower, upper, apart = height - HALF, height + HALF, rho - edge
    inside, below = lower < 0.0, np.abs(lower)
    lower2, upper2, apart2, product = lower * lower, upper * upper, apart * apart, 4.0 * edge * rho
    radial, axial = np.zeros_like(rho), np.zeros_like(rho)
    for half_sine2, weight in _nodes():
        square = apart2 + product * half_sine2
        first, second = below + np.sqrt(square + lower2), upper + np.sqrt(square + upper2)
        radial += (weight * (apart + 2.0 * edge * half_sine2)) * (1.0 / first - 1.0 / second)
        axial += weight * np.log(np.where(inside, second * (first / square), second / first))
    return radial, axial


@cache
def _nodes() -> list[tuple[float, float]]:
    """``sin^2(theta/2)`` and weights of the mean over theta from 0 to pi."""
    u, weight = np.polynomial.legendre.leggauss(NODES)
    u, weight = 0.5 * (u + 1.0), 0.5 * weight
    half_sine2 = np.sin(0.5 * np.pi * u**CROWDING) ** 2
    return list(zip(half_sine2.tolist(), (weight * CROWDING * u ** (CROWDING - 1)).tolist(), strict=True))
