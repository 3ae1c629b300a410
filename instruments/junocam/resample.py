"""Framelets brought onto a grid by an inverse map: for every cell the place in the framelet that saw it.

The place is computed exactly at nodes some cells apart and interpolated between them; how far apart they may be is told
by the exact places in the middle of four nodes, for every framelet.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

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

# Cells between nodes to begin with, and pixels by which interpolated places may be off.
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


class Nodes:
    """Body-fixed points of a grid at nodes `spacing` cells apart, the last ones at or beyond its edges."""

    def __init__(self, grid: Grid, spacing: int) -> None:
        self.spacing, self.shape = spacing, grid.shape
        rows, columns = (np.arange(0, n - 1 + spacing, spacing, dtype=np.float64) for n in grid.shape)
        self.points = grid.points(rows[:, None], columns)
        # Middles of four nodes, to check.
        self.middles = grid.points(rows[:-1, None] + spacing / 2, columns[:-1] + spacing / 2)


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


def placed(eye: Eye, levels: Iterator[Nodes], *, beyond: bool) -> Placed:
    """Cells that a framelet sees.

    Parameters
    ----------
    levels : nodes of the grid, each closer than the last; the first that are close enough are used.
    beyond : whether points off the planet count as well.
    """
    for nodes in levels:
        at_nodes = eye.see(nodes.points)
        corners = [at_nodes[:, a : a + nodes.points.shape[0] - 1, b : b + nodes.points.shape[1] - 1]
                   for a in (0, 1) for b in (0, 1)]  # fmt: skip
        wanted = _touched(eye.camera, corners, beyond)
        if nodes.spacing == 1 or not wanted.any():
            break
        exact = eye.see(nodes.middles[wanted])
        mean = np.mean([c[:, wanted] for c in corners], axis=0)
        if float(np.nanmax(np.abs(exact[:2] - mean[:2]), initial=0.0)) < TOLERANCE:
            break
    return _between(eye.camera, nodes, corners, wanted, beyond)


def _touched(camera: Camera, corners: list[Floats], beyond: bool) -> NDArray[np.bool_]:
    """Squares between nodes that the framelet may see part of."""
    lines, samples = camera.shape
    stack = np.stack(corners)
    with np.errstate(invalid="ignore"):
        low, high = stack[:, :2].min(axis=0), stack[:, :2].max(axis=0)
        inside = (high[0] > 0) & (low[0] < lines - 1) & (high[1] > 0) & (low[1] < samples - 1)
        return inside & (beyond | (stack[:, 2].max(axis=0) > 0.0))


def _between(camera: Camera, nodes: Nodes, corners: list[Floats], wanted: NDArray[np.bool_], beyond: bool) -> Placed:
    """The cells between nodes, by bilinear interpolation."""
    step = nodes.spacing
    part = np.arange(step) / step
    down, right = np.repeat(part, step), np.tile(part, step)
    weights = [(1 - down) * (1 - right), (1 - down) * right, down * (1 - right), down * right]
    values = np.zeros((5, np.count_nonzero(wanted), part.size**2))
    for corner, weight in zip(corners, weights, strict=True):
        values += corner[:, wanted][:, :, None] * weight
    row, column = (
        (i[:, None] * step + (offset * step).astype(np.intp))
        for i, offset in zip(np.nonzero(wanted), (down, right), strict=True)
    )
    lines, samples = camera.shape
    first, last = (c / camera.summing for c in ACTIVE_COLUMNS)
    with np.errstate(invalid="ignore"):
        good = (
            (values[0] >= 0) & (values[0] <= lines - 1) & (values[1] >= first) & (values[1] <= min(last, samples) - 1)
        )
        good &= beyond | (values[2] > 0.0)
    good &= (row < nodes.shape[0]) & (column < nodes.shape[1])
    return Placed((row * nodes.shape[1] + column)[good], *(v[good] for v in values))


def interpolated(picture: Floats, where: Placed) -> Floats:
    """Values of a framelet at places, bilinear; NaN next to missing ones."""
    return map_coordinates(picture, [where.line, where.sample], order=1, mode="nearest")
