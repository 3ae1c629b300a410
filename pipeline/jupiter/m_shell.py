"""M-shell: how far out the field line through a point reaches.

Lines are traced in JRM33 of degree 13 with the magnetodisc con2020, from the point away from the planet to where the
line is farthest from its centre, which is where it crosses the magnetic equator.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.jupiter.con2020 import con2020
from pipeline.jupiter.jrm33 import jrm33
from pipeline.jupiter.shape import EQUATORIAL_RADIUS

Floats = NDArray[np.float64]

# Length of a step over the distance from the centre: the M-shell is good to 1e-4 of itself.
STEP = 0.04
# Lines that reach further, in radii, leave the models' range; no closed line inside it takes more steps.
FARTHEST = 100.0
STEPS = 500


def m_shell(position_km_iau: ArrayLike) -> Floats:
    """M-shell of points.

    Parameters
    ----------
    position_km_iau : IAU_JUPITER, km (n, 3).

    Returns
    -------
    ndarray
        radii of 71492 km (n); NaN where the line does not turn back within 100 radii.
    """
    x = np.asarray(position_km_iau, np.float64) / EQUATORIAL_RADIUS
    out = np.full(len(x), np.nan)
    alive = np.flatnonzero(np.isfinite(x).all(axis=1))
    x = x[alive]
    if not alive.size:
        return out
    outward = np.where(_radial(x, _direction(x)) < 0.0, -1.0, 1.0)
    before = here = _distance(x)
    for _ in range(STEPS):
        x = _step(x, outward)
        after = _distance(x)
        turned = after < here
        out[alive[turned]] = _vertex(before[turned], here[turned], after[turned])
        going = ~turned & (after < FARTHEST)
        alive, outward, x = alive[going], outward[going], x[going]
        before, here = here[going], after[going]
        if not alive.size:
            break
    return out


def _direction(x: Floats) -> Floats:
    """Unit vectors along the field at points in radii, (n, 3)."""
    b = jrm33(x * EQUATORIAL_RADIUS) + con2020(x * EQUATORIAL_RADIUS)
    return b / np.sqrt(b[:, 0] ** 2 + b[:, 1] ** 2 + b[:, 2] ** 2)[:, None]


def _step(x: Floats, outward: Floats) -> Floats:
    """Points one step further, by the classical Runge-Kutta method of fourth order."""
    h = (STEP * _distance(x) * outward)[:, None]
    k1 = _direction(x)
    k2 = _direction(x + h / 2 * k1)
    k3 = _direction(x + h / 2 * k2)
    k4 = _direction(x + h * k3)
    return x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


def _distance(x: Floats) -> Floats:
    return np.sqrt(x[:, 0] ** 2 + x[:, 1] ** 2 + x[:, 2] ** 2)


def _radial(x: Floats, v: Floats) -> Floats:
    return x[:, 0] * v[:, 0] + x[:, 1] * v[:, 1] + x[:, 2] * v[:, 2]


def _vertex(before: Floats, here: Floats, after: Floats) -> Floats:
    """Height of the parabola through three equidistant values whose middle one is the highest."""
    curvature = before - 2.0 * here + after
    return np.where(
        curvature < 0.0, here - (after - before) ** 2 / (8.0 * np.where(curvature < 0, curvature, 1.0)), here
    )
