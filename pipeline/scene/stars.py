"""The sky of a scene: real stars, as they are seen from a moving spacecraft.

Directions follow from the astrometric catalogue by a chain of its own: places in space (the distance from the parallax)
moved on in straight lines, and the aberration as the Lorentz transformation of the photon's direction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

SPEED_OF_LIGHT = 299792.458  # km/s
ASTRONOMICAL_UNIT = 149597870.7  # km (IAU 2012)
YEAR = 365.25 * 86400.0
# J1991.25, the epoch of the Hipparcos catalogue, as et.
EPOCH = (1991.25 - 2000.0) * YEAR
# Milliarcseconds in a radian; stars without a positive parallax are put this far away, mas.
MAS = 3600e3 * 180.0 / np.pi
FAR = 0.01


@dataclass(frozen=True, eq=False)
class Stars:
    """Stars of a catalogue.

    Parameters
    ----------
    hip : numbers of the Hipparcos catalogue (n).
    place : from the barycentre of the solar system at `EPOCH`, km (n, 3), ICRS axes.
    velocity : km/s (n, 3), without the unknown part along the line of sight.
    magnitude, colour : Hp and B - V (n).
    """

    hip: NDArray[np.int64]
    place: Floats
    velocity: Floats
    magnitude: Floats
    colour: Floats

    @classmethod
    def of(cls, catalogue: Mapping[str, Floats]) -> Stars:
        """Stars from the quantities of a catalogue, named as in table ``stars``."""
        ra, dec = np.radians(catalogue["right_ascension"]), np.radians(catalogue["declination"])
        out = np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=1)
        east = np.stack([-np.sin(ra), np.cos(ra), np.zeros_like(ra)], axis=1)
        north = np.cross(out, east)
        distance = ASTRONOMICAL_UNIT * MAS / np.maximum(catalogue["parallax"], FAR)
        moving = catalogue["proper_motion_east"][:, None] * east + catalogue["proper_motion_north"][:, None] * north
        return cls(
            catalogue["hip"].astype(np.int64),
            distance[:, None] * out,
            distance[:, None] * moving / MAS / YEAR,
            catalogue["magnitude"],
            catalogue["colour"],
        )

    def seen(self, et: float, observer: ArrayLike, velocity: ArrayLike) -> Floats:
        """Unit vectors, J2000, in which the stars appear (n, 3).

        Parameters
        ----------
        observer, velocity : of the spacecraft relative to the barycentre of the solar system, km and km/s (3).
        """
        away = self.place + self.velocity * (et - EPOCH) - np.asarray(observer, np.float64)
        true = away / np.linalg.norm(away, axis=1, keepdims=True)
        beta = np.asarray(velocity, np.float64) / SPEED_OF_LIGHT
        gamma = 1.0 / np.sqrt(1.0 - beta @ beta)
        # The photon travels along -true; boosted into the frame of the spacecraft and turned round again.
        along = true @ beta
        boosted = true / gamma + beta + (gamma / (gamma + 1.0)) * along[:, None] * beta
        return np.asarray(boosted / np.linalg.norm(boosted, axis=1, keepdims=True))
