"""Grids on which pictures are assembled: maps in System III, and the common grid of a camera that turns.

A grid gives the body-fixed point of any row and column, whole numbers being the centres of its cells.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from instruments.junocam.camera import Camera
from instruments.junocam.limb import View
from pipeline.geometry.attitude import apply
from pipeline.geometry.surface import LIGHT, intercept
from pipeline.jupiter.shape import RADII, planetocentric, rectangular, surface_radius

Floats = NDArray[np.float64]
Projection = Literal["equirectangular", "north", "south"]

ECCENTRICITY = float(np.sqrt(1.0 - (RADII[1] / RADII[0]) ** 2))
# Steps of the conformal latitude's inverse, which converges by e^2 a step.
STEPS = 8
# Pixels of sky around the planet on the camera's grid.
MARGIN = 20


class Grid(Protocol):
    """What a grid must tell."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        ...

    def points(self, row: Floats, column: Floats) -> Floats:
        """Points in IAU_JUPITER, km (..., 3)."""
        ...


@dataclass(frozen=True)
class Equirectangular:
    """Planetocentric latitude from north to south, east longitude from 0 to 360 degrees.

    Parameters
    ----------
    per_degree : cells per degree.
    """

    per_degree: float

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return round(180 * self.per_degree), round(360 * self.per_degree)

    def points(self, row: Floats, column: Floats) -> Floats:
        """Points in IAU_JUPITER, km (..., 3)."""
        latitude = 90.0 - (row + 0.5) / self.per_degree
        return rectangular((column + 0.5) / self.per_degree, latitude, surface_radius(latitude))


@dataclass(frozen=True)
class Polar:
    """Polar stereographic on the ellipsoid, true to scale at the pole (Snyder 1987, USGS Prof. Paper 1395, 21-33, 3-4).

    Seen from above the pole; east longitude 0 is down for the north, up for the south.

    Parameters
    ----------
    north : which pole.
    per_degree : cells per degree of latitude at the pole.
    reach : planetographic latitude, degrees from the equator, that the middles of the edges lie at.
    """

    north: bool
    per_degree: float
    reach: float

    @property
    def cell(self) -> float:
        """Size of a cell at the pole, km."""
        radius = RADII[0] ** 2 / RADII[1]  # of curvature
        return float(np.radians(1.0 / self.per_degree) * radius)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        size = 2 * int(np.ceil(self._distance(np.radians(self.reach)) / self.cell))
        return size, size

    def _distance(self, latitude: float) -> float:
        """Distance from the pole on the map, km, of a planetographic latitude in radians."""
        e = ECCENTRICITY
        scale = 2.0 * RADII[0] / np.sqrt((1 + e) ** (1 + e) * (1 - e) ** (1 - e))
        sine = e * np.sin(latitude)
        return float(scale * np.tan(np.pi / 4 - latitude / 2) / ((1 - sine) / (1 + sine)) ** (e / 2))

    def points(self, row: Floats, column: Floats) -> Floats:
        """Points in IAU_JUPITER, km (..., 3)."""
        e, (rows, columns) = ECCENTRICITY, self.shape
        down, right = (row - (rows - 1) / 2) * self.cell, (column - (columns - 1) / 2) * self.cell
        t = np.hypot(right, down) * np.sqrt((1 + e) ** (1 + e) * (1 - e) ** (1 - e)) / (2.0 * RADII[0])
        latitude = np.pi / 2 - 2.0 * np.arctan(t)
        for _ in range(STEPS):
            sine = e * np.sin(latitude)
            latitude = np.pi / 2 - 2.0 * np.arctan(t * ((1 - sine) / (1 + sine)) ** (e / 2))
        central = planetocentric(np.degrees(latitude)) * (1.0 if self.north else -1.0)
        longitude = np.degrees(np.arctan2(right, down if self.north else -down))
        return rectangular(longitude, central, surface_radius(central))


@dataclass(frozen=True, eq=False)
class CameraGrid:
    """What a camera would have seen at one time that turned about the spin axis: columns are samples, rows angles.

    Past the limb the point is the one of the line of sight nearest to the planet.

    Parameters
    ----------
    camera : its optics; the rows run through its optical axis.
    view : of Jupiter at the one time.
    to_camera : rotation from J2000 then (3, 3).
    axis : of the spin in the camera's frame, near -X; rows grow as the lines of a framelet do.
    first, rows : number of the first row, and how many there are; row 0 is at the optical axis.
    columns : first sample and number of samples.
    """

    camera: Camera
    view: View
    to_camera: Floats
    axis: Floats
    first: int
    rows: int
    columns: tuple[int, int]

    @classmethod
    def around(cls, camera: Camera, view: View, to_camera: Floats, axis: Floats) -> CameraGrid:
        """The grid that just holds the planet."""
        whole = cls(camera, view, to_camera, axis, 0, 0, (0, camera.shape[1]))
        seen, _ = view.outline(0.0)
        row, column = whole.places(seen[0] @ to_camera.T)
        samples = camera.shape[1]
        left, right = (int(np.clip(f(column) + m, 0, samples - 1)) for f, m in ((np.min, -MARGIN), (np.max, MARGIN)))
        top, bottom = int(np.floor(row.min())) - MARGIN, int(np.ceil(row.max())) + MARGIN
        return cls(camera, view, to_camera, axis, top, bottom - top + 1, (left, right - left + 1))

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.rows, self.columns[1]

    def _straight(self, column: Floats) -> Floats:
        """Directions at the optical axis's row."""
        name = next(iter(self.camera.centre_line))
        line = self.camera.project(np.array([0.0, 0.0, 1.0]), name)[0]
        return self.camera.unproject(line, column + self.columns[0], name)

    @property
    def _angle(self) -> float:
        """Angle of a row, rad."""
        return self.camera.summing / self.camera.focal_length

    def looks(self, row: Floats, column: Floats) -> Floats:
        """Directions in the camera's frame (..., 3)."""
        return _turn(self._straight(column), self.axis, (row + self.first) * self._angle)

    def places(self, looks: Floats) -> tuple[Floats, Floats]:
        """Row (counted from the optical axis's) and column of directions in the camera's frame, to some pixels.

        Used for the extent alone.
        """
        across = looks @ self.axis
        zero = np.array([0.0, 0.0, 1.0]) - self.axis[2] * self.axis
        zero /= np.linalg.norm(zero)
        side = np.cross(self.axis, zero)
        row = np.arctan2(looks @ side, looks @ zero) / self._angle
        flat = np.sqrt(1.0 - across**2)[:, None] * zero + across[:, None] * self.axis
        name = next(iter(self.camera.centre_line))
        return row, self.camera.project(flat, name)[1]

    def points(self, row: Floats, column: Floats) -> Floats:
        """Points in IAU_JUPITER, km (..., 3)."""
        row, column = np.broadcast_arrays(row, column)
        seen = self.looks(row.ravel(), column.ravel()) @ self.to_camera
        true = seen - self.view.velocity[0] / LIGHT
        turn = self.view.to_body
        observer = apply(turn, self.view.observer)
        look = true @ turn[0].T
        scale = np.array([RADII[0], RADII[0], RADII[1]])
        p, d = observer / scale, look / scale
        along = -(p * d).sum(axis=1) / (d * d).sum(axis=1)
        point = intercept(observer, look)
        missed = np.isnan(point[:, 0])
        point[missed] = (observer + np.maximum(along, 0.0)[:, None] * look)[missed]
        return point.reshape(*row.shape, 3)


def _turn(vectors: Floats, axis: Floats, angle: Floats) -> Floats:
    """Vectors turned about an axis (Rodrigues)."""
    c, s = np.cos(angle)[..., None], np.sin(angle)[..., None]
    along = (vectors @ axis)[..., None]
    return c * vectors + s * np.cross(axis, vectors) + (1.0 - c) * along * axis
