"""Framelets brought onto a grid by an inverse map: for every cell the place in the framelet that saw it.

The place is computed exactly at the corners of squares of cells and interpolated between them; a square is cut in four
where the exact place in its middle is not what the corners say, for every framelet.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from instruments.junocam.camera import FRAME, Camera
from instruments.junocam.grids import Grid
from instruments.junocam.layout import ACTIVE_COLUMNS, FILTERS
from instruments.junocam.limb import View
from pipeline.geometry import Geometry
from pipeline.geometry.surface import LIGHT
from pipeline.jupiter.rotation import orientations
from pipeline.jupiter.shape import RADII, normal

Floats = NDArray[np.float64]
Index = NDArray[np.intp]

# Width of the squares in cells to begin with, and pixels by which interpolated places may be off.
SPACING, TOLERANCE = 16, 0.05


@dataclass(frozen=True, eq=False)
class Placed:
    """Cells of a grid that a framelet sees, all (k).

    Parameters
    ----------
    cell : number in the flattened grid.
    line, sample : where.
    mu, mu0 : cosines of emission and incidence.
    range : km.
    """

    cell: Index
    line: Floats
    sample: Floats
    mu: Floats
    mu0: Floats
    range: Floats


@dataclass(frozen=True, eq=False)
class Squares:
    """Squares of a grid's cells, the last ones reaching to its edges or beyond.

    Parameters
    ----------
    size : width in cells.
    row, column : of the first cell of each (k).
    nodes : body-fixed points (n, 3).
    corners : which of them are the corners of each: upper left and right, lower left and right (4, k).
    """

    grid: Grid
    size: int
    row: Index
    column: Index
    nodes: Floats
    corners: Index

    @classmethod
    def over(cls, grid: Grid, size: int) -> Squares:
        """All of a grid."""
        rows, columns = (np.arange(0, n - 1 + size, size) for n in grid.shape)
        number = np.arange(rows.size * columns.size).reshape(rows.size, columns.size)
        corners = [number[a : rows.size - 1 + a, b : columns.size - 1 + b].ravel() for a in (0, 1) for b in (0, 1)]
        row, column = (part.ravel() for part in np.meshgrid(rows[:-1], columns[:-1], indexing="ij"))
        nodes = grid.points(rows[:, None].astype(np.float64), columns.astype(np.float64))
        return cls(grid, size, row, column, nodes.reshape(-1, 3), np.stack(corners))

    def middles(self, chosen: NDArray[np.bool_]) -> Floats:
        """Body-fixed points in the middle of some (..., 3)."""
        row, column = (part[chosen].astype(np.float64) + self.size / 2 for part in (self.row, self.column))
        return self.grid.points(row, column)

    def cut(self, chosen: NDArray[np.bool_]) -> Squares:
        """Some of them, each in four."""
        half, number = self.size // 2, np.arange(9 * np.count_nonzero(chosen)).reshape(9, -1)
        down, right = (half * part[:, None] for part in np.divmod(np.arange(9), 3))
        row, column = self.row[chosen] + down, self.column[chosen] + right
        nodes = self.grid.points(row.astype(np.float64), column.astype(np.float64))
        # The nine nodes of a square, row by row: four of them are first corners of its parts.
        first = np.array([0, 1, 3, 4])
        corners = np.stack([number[first + place].ravel() for place in first])
        return Squares(self.grid, half, row[first].ravel(), column[first].ravel(), nodes.reshape(-1, 3), corners)


@dataclass(frozen=True, eq=False)
class Eye:
    """One framelet as a projection of body-fixed points.

    Parameters
    ----------
    view, to_camera : at its time; rotation from J2000 (3, 3).
    """

    camera: Camera
    filter_: str
    view: View
    to_camera: Floats

    def see(self, points: Floats) -> Floats:
        """Line, sample, cosines of emission and incidence, and range of body-fixed points (..., 3): (5, ...)."""
        turn = self.view.to_body[0]
        observer, sun = turn @ self.view.observer[0], turn @ self.view.sun[0]
        # Light of farther points left earlier: the planet had turned and moved on less.
        early = (np.linalg.norm(points - observer, axis=-1) - self.near) / LIGHT
        turned = orientations()["JUPITER"].rate * early
        x, y = points[..., 0] + turned * points[..., 1], points[..., 1] - turned * points[..., 0]
        moved = np.stack([x, y, points[..., 2]], axis=-1)
        true = moved - observer - early[..., None] * (turn @ self.view.drift[0])
        way = np.linalg.norm(true, axis=-1)
        up = normal(moved)
        mu, mu0 = -(up * true).sum(axis=-1) / way, up @ sun
        seen = (true / way[..., None]) @ turn + self.view.velocity[0] / LIGHT
        line, sample = self.camera.project(seen @ self.to_camera.T, self.filter_)
        return np.stack([line, sample, mu, mu0, way])

    @property
    def near(self) -> float:
        """Distance of the planet's near side as `View` has it, km."""
        return float(np.linalg.norm(self.view.observer[0])) - RADII[0]


def eye(camera: Camera, filter_: int, geometry: Geometry, et: float) -> Eye:
    """The projection of a framelet."""
    time = np.array([et])
    return Eye(camera, FILTERS[filter_], View.at(geometry, time), geometry.rotation("J2000", FRAME, et)[0])


def placed(eye: Eye, squares: Squares, *, beyond: bool) -> Placed:
    """Cells that a framelet sees.

    Parameters
    ----------
    squares : of the grid, as wide as they may be.
    beyond : whether points off the planet count as well.
    """
    found = []
    while squares.row.size:
        corners = eye.see(squares.nodes)[:, squares.corners]
        wanted = _touched(eye.camera, corners, beyond)
        far = np.zeros_like(wanted)
        if squares.size > 1:
            off = np.abs(eye.see(squares.middles(wanted))[:2] - corners[:2, :, wanted].mean(axis=1)).max(axis=0)
            far[wanted] = off >= TOLERANCE
        found.append(_between(eye.camera, squares, corners, wanted & ~far, beyond))
        squares = squares.cut(far)
    return Placed(*(np.concatenate([getattr(f, name.name) for f in found]) for name in fields(Placed)))


def _touched(camera: Camera, corners: Floats, beyond: bool) -> NDArray[np.bool_]:
    """Squares that the framelet may see part of, by what is seen at their corners (5, 4, k)."""
    lines, samples = camera.shape
    with np.errstate(invalid="ignore"):
        low, high = corners[:2].min(axis=1), corners[:2].max(axis=1)
        inside = (high[0] > 0) & (low[0] < lines - 1) & (high[1] > 0) & (low[1] < samples - 1)
        return inside & (beyond | (corners[2].max(axis=0) > 0.0))


def _between(camera: Camera, squares: Squares, corners: Floats, chosen: NDArray[np.bool_], beyond: bool) -> Placed:
    """The cells of some squares, by bilinear interpolation between their corners."""
    part = np.arange(squares.size)
    down, right = np.repeat(part, squares.size), np.tile(part, squares.size)
    row, column = squares.row[chosen, None] + down, squares.column[chosen, None] + right
    y, x = down / squares.size, right / squares.size
    weights = np.stack([(1 - y) * (1 - x), (1 - y) * x, y * (1 - x), y * x])
    values = np.einsum("vck,cp->vkp", corners[:, :, chosen], weights)
    lines, samples = camera.shape
    first, last = (c / camera.summing for c in ACTIVE_COLUMNS)
    with np.errstate(invalid="ignore"):
        good = (
            (values[0] >= 0) & (values[0] <= lines - 1) & (values[1] >= first) & (values[1] <= min(last, samples) - 1)
        )
        good &= beyond | (values[2] > 0.0)
    rows, columns = squares.grid.shape
    good &= (row < rows) & (column < columns)
    return Placed((row * columns + column)[good], *(v[good] for v in values))


def interpolated(picture: Floats, where: Placed) -> Floats:
    """Values of a framelet at places, bilinear; NaN next to missing ones."""
    return map_coordinates(picture, [where.line, where.sample], order=1, mode="nearest")
