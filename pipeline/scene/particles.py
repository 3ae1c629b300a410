"""What simulators of particle instruments share: penetrating particles, counters, angles to the scene's field."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import CubicSpline

if TYPE_CHECKING:
    from pipeline.scene.scene import Scene

Floats = NDArray[np.float64]


def penetrating(et: ArrayLike, closest_approach: float) -> Floats:
    """Counts per second of penetrating particles on a detector of the size of an anode: most in the belts."""
    since = (np.atleast_1d(np.asarray(et, np.float64)) - closest_approach) / 500.0
    return np.asarray(40.0 + 900.0 * np.exp(-0.5 * (since - 0.3) ** 2))


def counter(rate: Floats, dead_time: Floats | float) -> Floats:
    """Counts per second of a counter that waits: each event takes its own mean waiting time and the dead time (s)."""
    waiting = 1.0 / np.maximum(rate, 1e-12)
    return 1.0 / (waiting + dead_time)


def angle_between(flight: Floats, field: Floats) -> Floats:
    """Angles in degrees between vectors (..., 3), by the chord."""
    a, b = (v / np.linalg.norm(v, axis=-1, keepdims=True) for v in (flight, field))
    return np.asarray(np.degrees(2.0 * np.arctan2(np.linalg.norm(a - b, axis=-1), np.linalg.norm(a + b, axis=-1))))


def field_through(scene: Scene, et: Floats) -> CubicSpline:
    """The scene's field in J2000, nT, as a spline over the times `et` (s)."""
    knots = np.arange(et.min() - 5.0, et.max() + 6.0, 1.0 if np.ptp(et) < 1e4 else 10.0)
    return CubicSpline(knots, scene.magnetic_field(knots))
