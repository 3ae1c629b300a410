"""Internal magnetic field of Jupiter: JRM33 (Connerney et al. 2022, 10.1029/2021JE007055), any degree up to 30.

The potential is ``a sum (a/r)^(n+1) P_nm (g cos m lambda + h sin m lambda)``, ``B = -grad``. With Cunningham's solid
harmonics ``V_nm = (a/r)^(n+1) P_nm exp(i m lambda)`` (Montenbruck and Gill 2000, Satellite Orbits, 3.2.4; no sign
``(-1)^m``) the gradient is a sum over harmonics of one degree more, in Cartesian coordinates, without a singularity at
the poles:

``d_z V_nm = -(n-m+1) V_(n+1)m``, ``(d_x + i d_y) V_nm = -V_(n+1)(m+1)``,
``(d_x - i d_y) V_nm = (n-m+2)(n-m+1) V_(n+1)(m-1)`` for m > 0, lengths in a.
"""

from __future__ import annotations

from functools import cache
from math import factorial, sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.clock import read_csv
from pipeline.jupiter.shape import EQUATORIAL_RADIUS

Floats = NDArray[np.float64]
HIGHEST = 30
# Points at a time: what they need stays in the cache. The last chunk is filled up to whole vectors of any processor, so
# that every point goes through the same operations however many there are in the call.
CHUNK, VECTOR = 1024, 64
# Nearer to the centre, in radii, the series means nothing.
INNERMOST = 0.5


def jrm33(position_km_iau: ArrayLike, *, degree: int = 13) -> Floats:
    """Internal field.

    Parameters
    ----------
    position_km_iau : IAU_JUPITER (System III, right-handed), km (n, 3).
    degree : where the series ends; 13 is what the data determine well, 18 the highest that is of use.

    Returns
    -------
    ndarray
        IAU_JUPITER, nT (n, 3); NaN inside half a radius and where the position is NaN. A point's field does not depend
        on the other points of the call.

    Raises
    ------
    ValueError
        if the degree is not 1 to 30.
    """
    if not 1 <= degree <= HIGHEST:
        raise ValueError(f"JRM33 has degrees 1 to {HIGHEST}, not {degree}")
    position = np.asarray(position_km_iau, np.float64) / EQUATORIAL_RADIUS
    weights, recurrence = _weights(degree)
    out = np.empty_like(position)
    for start in range(0, len(position), CHUNK):
        part = position[start : start + CHUNK]
        points = np.ones((3, -(-len(part) // VECTOR) * VECTOR))
        points[:, : len(part)] = part.T
        out[start : start + CHUNK] = _chunk(points, weights, recurrence)[:, : len(part)].T
    return out


def _chunk(points: Floats, weights: list[Floats], recurrence: Floats) -> Floats:
    """Field (3, n) at points (3, n) in radii; the rest is of `_weights`."""
    square = points[0] * points[0] + points[1] * points[1] + points[2] * points[2]
    s = 1.0 / np.where(square >= INNERMOST**2, square, np.nan)
    x, y, z = points * s
    count, size = len(weights), s.size
    # With V_nm = kappa_nm q_nm (x + i y)^m / r, q[k, m] is q_nm for n = m + k.
    q = np.empty((count, count, size))
    q[0] = 1.0
    q[1, : count - 1] = z
    scratch = np.empty((count, size))
    for k in range(2, count):
        row, term = q[k, : count - k], scratch[: count - k]
        np.multiply(q[k - 2, : count - k], s, out=term)
        np.multiply(term, recurrence[k, : count - k, None], out=term)
        np.multiply(q[k - 1, : count - k], z, out=row)
        np.subtract(row, term, out=row)
    # (x + i y)^m, from halves already known
    powers = np.empty((2, count, size))
    powers[:, 0], powers[:, 1] = np.array([[1.0], [0.0]]), (x, y)
    known = 2
    while known < count:
        more = min(known - 1, count - known)
        (c, d), (u, v) = powers[:, known - 1], powers[:, 1 : more + 1]
        powers[0, known : known + more] = c * u - d * v
        powers[1, known : known + more] = c * v + d * u
        known += more
    # Without `optimize` einsum adds in one fixed order, which no linear algebra library promises.
    sums = np.empty((3, 2, count, size))
    for m, weight in enumerate(weights):
        np.einsum("jtk,kc->jtc", weight, q[: count - m, m], out=sums[:, :, m])
    field: Floats = np.einsum("jtmc,tmc->jc", sums, powers)
    return field * np.sqrt(s)


@cache
def _weights(degree: int) -> tuple[list[Floats], Floats]:
    """Weights of `q` in the field, and the factors of its recurrence.

    Returns
    -------
    weights : per order m, (component, cosine or sine, n - m), up to degree + 1.
    recurrence : ``q_nm = z q_(n-1)m - recurrence[n-m, m] s q_(n-2)m`` (n - m, m).
    """
    top = degree + 1
    g, h = np.zeros((2, top + 2, top + 2))
    for row in read_csv("jrm33.csv"):
        n, m = int(row["n"]), int(row["m"])
        if n <= degree:
            # Schmidt's normalisation of P_nm
            factor = sqrt((2.0 if m else 1.0) * factorial(n - m) / factorial(n + m))
            g[n, m], h[n, m] = factor * float(row["g"]), factor * float(row["h"])
    weights = []
    recurrence = np.zeros((top + 1, top + 1))
    for m in range(top + 1):
        weight = np.zeros((3, 2, top + 1 - m))
        kappa = 1.0
        for odd in range(1, 2 * m, 2):
            kappa *= odd
        for n in range(m, top + 1):
            k = n - m
            if k:
                kappa *= (2 * n - 1) / k
                recurrence[k, m] = (n + m - 1) * (k - 1) / ((2 * n - 1) * max(2 * n - 3, 1))
            if n:
                weight[..., k] = kappa * _terms(g, h, n, m)
        weights.append(weight)
    return weights, recurrence


def _terms(g: Floats, h: Floats, n: int, m: int) -> Floats:
    """Weights (component, cosine or sine) of V_nm in the field, from the coefficients of degree n - 1."""
    k = n - m
    from_below = (1.0 if m == 1 else 0.5) * (m > 0)
    g_below, h_below = from_below * g[n - 1, m - 1], from_below * h[n - 1, m - 1]
    g_above, h_above = 0.5 * k * (k - 1) * g[n - 1, m + 1], 0.5 * k * (k - 1) * h[n - 1, m + 1]
    return np.array(
        [
            [g_below - g_above, h_below - h_above],
            [-h_below - h_above, g_below + g_above],
            [k * g[n - 1, m], k * h[n - 1, m]],
        ]
    )
