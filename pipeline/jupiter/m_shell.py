"""M-shell: how far from the planet's centre the field line through a point reaches.

Lines are traced in JRM33 of degree 13 with the magnetodisc con2020, from the point both ways down to the planet. Where
a line is farthest is where it crosses the magnetic equator; near the planet it may rise more than once, and the highest
counts, so that all points of one line have one M-shell.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.jupiter.con2020 import con2020
from pipeline.jupiter.jrm33 import jrm33
from pipeline.jupiter.shape import EQUATORIAL_RADIUS, POLAR_RADIUS

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

# Error of a step, and its greatest length, over the distance from the centre.
TOLERANCE, LONGEST = 1e-6, 0.2
# Lines that reach further, in radii, leave the models' range. Closed ones take fewer steps, of 20 000 tried; what takes
# more winds about the disc's axis, where its azimuthal field is infinite.
FARTHEST = 100.0
STEPS = 300
# Dormand and Prince 1980, J. Comput. Appl. Math. 6, 19: the last stage is the first of the next step.
STAGES = (
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
ERROR = (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)


def m_shell(position_km_iau: ArrayLike) -> Floats:
    """M-shell of points.

    Parameters
    ----------
    position_km_iau : IAU_JUPITER, km (n, 3).

    Returns
    -------
    ndarray
        radii of 71492 km (n); NaN where the line is not closed within 100 radii, and for points inside the planet.
        Traced to about 1e-5 of itself, to 1e-3 where a line runs along a seam of con2020's approximations. A point's
        value does not depend on the other points of the call.
    """
    position = np.asarray(position_km_iau, np.float64) / EQUATORIAL_RADIUS
    count = len(position)
    highest, closed = np.full(2 * count, -np.inf), np.zeros(2 * count, bool)
    x, along = np.concatenate([position, position]), np.repeat([1.0, -1.0], count)
    line = np.flatnonzero(~_below(x) & (_distance(x) < FARTHEST))
    x, along = x[line], along[line]
    h, k = np.full(line.size, 0.05 * LONGEST), _direction(x, along)
    for _ in range(STEPS):
        if not line.size:
            break
        reached, turned, error = _step(x, k, h * _distance(x), along)
        good = error <= TOLERANCE
        rising, falling = _dot(x, k) >= 0.0, _dot(reached, turned) < 0.0
        peak = good & rising & falling
        top = _top(x[peak], k[peak], reached[peak], turned[peak], (h * _distance(x))[peak])
        highest[line[peak]] = np.maximum(highest[line[peak]], top)
        h = np.minimum(h * np.clip(0.9 * (TOLERANCE / np.maximum(error, 1e-20)) ** 0.2, 0.2, 4.0), LONGEST)
        x, k = np.where(good[:, None], reached, x), np.where(good[:, None], turned, k)
        down = _below(x)
        closed[line[down]] = True
        # The error is NaN where a line meets the axis of the disc.
        going = ~down & (_distance(x) < FARTHEST) & ~np.isnan(error)
        x, k, h, along, line = x[going], k[going], h[going], along[going], line[going]
    both = closed[:count] & closed[count:]
    return np.where(both, np.maximum(highest[:count], highest[count:]), np.nan)


def _below(x: Floats) -> Bools:
    """Where points in radii are inside the planet, or are none."""
    flattened = x[:, 2] * (EQUATORIAL_RADIUS / POLAR_RADIUS)
    return ~(x[:, 0] ** 2 + x[:, 1] ** 2 + flattened**2 >= 1.0)


def _direction(x: Floats, along: Floats) -> Floats:
    """Unit vectors along or against the field at points in radii, (n, 3)."""
    km = x * EQUATORIAL_RADIUS
    b = jrm33(km) + con2020(km)
    return b * (along / _distance(b))[:, None]


def _step(x: Floats, k: Floats, h: Floats, along: Floats) -> tuple[Floats, Floats, Floats]:
    """Points one step of length h further, the direction there, and the error over the distance from the centre."""
    slopes = [k]
    for row in STAGES:
        reached = x + h[:, None] * _sum(row, slopes)
        slopes.append(_direction(reached, along))
    error = h * _distance(_sum(ERROR, slopes))
    return reached, slopes[-1], error / _distance(x)


def _sum(weights: tuple[float, ...], slopes: list[Floats]) -> Floats:
    total = np.zeros_like(slopes[0])
    for weight, slope in zip(weights, slopes, strict=True):
        if weight:
            total += weight * slope
    return total


def _top(x: Floats, k: Floats, reached: Floats, turned: Floats, h: Floats) -> Floats:
    """Greatest distance from the centre on a step, whose square is a cubic with the slopes at its ends."""
    a, b = _dot(x, x), _dot(reached, reached)
    p, q = 2.0 * h * _dot(x, k), 2.0 * h * _dot(reached, turned)
    # a + p t + c t^2 + d t^3; the root of its slope p + 2 c t + 3 d t^2 where that falls
    c, d = 3.0 * (b - a) - 2.0 * p - q, 2.0 * (a - b) + p + q
    t = p / (np.sqrt(np.maximum(c * c - 3.0 * d * p, 0.0)) - c)
    return np.sqrt(a + t * (p + t * (c + t * d)))


def _dot(a: Floats, b: Floats) -> Floats:
    return a[:, 0] * b[:, 0] + a[:, 1] * b[:, 1] + a[:, 2] * b[:, 2]


def _distance(x: Floats) -> Floats:
    return np.sqrt(_dot(x, x))
