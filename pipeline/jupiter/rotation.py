"""Orientation of Jupiter (System III), of its large satellites and of the Sun, in the form of the IAU working group.

``alpha = a0 + a1 T + sum c sin J``, ``delta`` with cosines, ``W = w0 + w1 d + sum c sin J``, ``J = J0 + J1 T``; the
matrix from J2000 to the body is ``[W]_3 [90 - delta]_1 [90 + alpha]_3`` (Archinal et al. 2011,
10.1007/s10569-010-9320-4).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.clock import read_csv

Floats = NDArray[np.float64]
DAY = 86400.0
CENTURY = 36525.0 * DAY


@dataclass(frozen=True)
class Orientation:
    """Pole and prime meridian of a body; all in degrees, see the module's text."""

    right_ascension: tuple[float, ...]
    declination: tuple[float, ...]
    meridian: tuple[float, ...]
    angles: tuple[float, ...] = ()
    nutation_right_ascension: tuple[float, ...] = ()
    nutation_declination: tuple[float, ...] = ()
    nutation_meridian: tuple[float, ...] = ()

    @property
    def rate(self) -> float:
        """Rotation about the pole in radians per second."""
        return float(np.radians(self.meridian[1]) / DAY)

    def euler(self, et: ArrayLike) -> tuple[Floats, Floats, Floats]:
        """Right ascension and declination of the pole, and W; radians, each of the shape of `et`."""
        t = np.asarray(et, np.float64)
        century, day = t / CENTURY, t / DAY
        phases = [np.radians(j0 + j1 * century) for j0, j1 in zip(self.angles[::2], self.angles[1::2], strict=True)]
        alpha = _series(self.right_ascension, century) + _trigonometric(self.nutation_right_ascension, phases, np.sin)
        delta = _series(self.declination, century) + _trigonometric(self.nutation_declination, phases, np.cos)
        # The turns are taken off before the conversion, which would lose digits of a large angle.
        w = _series(self.meridian, day) % 360.0 + _trigonometric(self.nutation_meridian, phases, np.sin)
        return np.radians(alpha), np.radians(delta), np.radians(w)

    def matrix(self, et: ArrayLike) -> Floats:
        """Rotation from J2000 to the body-fixed frame, shape (..., 3, 3): v_body = M v_J2000."""
        alpha, delta, w = self.euler(et)
        sa, ca, sd, cd, sw, cw = (f(x) for x in (alpha, delta, w) for f in (np.sin, np.cos))
        rows = (
            (-sa * cw - ca * sd * sw, ca * cw - sa * sd * sw, cd * sw),
            (sa * sw - ca * sd * cw, -ca * sw - sa * sd * cw, cd * cw),
            (ca * cd, sa * cd, sd + 0.0 * w),
        )
        return np.moveaxis(np.array(rows), (0, 1), (-2, -1))

    def pole(self, et: ArrayLike) -> Floats:
        """Direction of the pole in J2000, (..., 3)."""
        alpha, delta, _ = self.euler(et)
        return np.stack([np.cos(delta) * np.cos(alpha), np.cos(delta) * np.sin(alpha), np.sin(delta)], axis=-1)


def _series(coefficients: tuple[float, ...], x: Floats) -> Floats:
    total = np.zeros_like(x)
    for c in reversed(coefficients):
        total = total * x + c
    return total


def _trigonometric(coefficients: tuple[float, ...], phases: list[Floats], function: np.ufunc) -> Floats | float:
    return sum((c * function(p) for c, p in zip(coefficients, phases, strict=False) if c), 0.0)


@cache
def orientations() -> Mapping[str, Orientation]:
    """The tabulated bodies by name: ``JUPITER``, ``IO``, ``EUROPA``, ``GANYMEDE``, ``CALLISTO``, ``SUN``."""
    bodies: dict[str, dict[str, tuple[float, ...]]] = {}
    for row in read_csv("orientation.csv"):
        bodies.setdefault(row["body"], {})[row["item"]] = tuple(float(v) for v in row["values"].split())
    angles = bodies["JUPITER"]["angles"]
    return {name: Orientation(**({"angles": angles} | items)) for name, items in bodies.items()}


def iau_jupiter(et: ArrayLike) -> Floats:
    """Rotation from J2000 to IAU_JUPITER (System III, right-handed), (..., 3, 3)."""
    return orientations()["JUPITER"].matrix(et)
