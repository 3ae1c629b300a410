"""Corrections of an attitude by the limb: the model of the spin, its parameters and the fit.

A nominal attitude, a kernel's or a steady spin about the nominal axis, is corrected by a turn about the spin axis,
growing with time, by a tilt of that axis in space and by its place in the spacecraft. The residual of an edge is the
height at which its line of sight passes Jupiter less that of the limb, in pixels across the limb.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from instruments.junocam.camera import Camera
from instruments.junocam.layout import FILTERS
from instruments.junocam.limb import Edges, View
from pipeline.geometry.attitude import apply, compose

Floats = NDArray[np.float64]

# Parameters: turn (rad), rate (rad/s), tilt of the axis in space toward the despun x and y (rad), place of the axis in
# the spacecraft along x and y (rad), heights of the limb (km).
NAMES = ("turn", "rate", "tilt_x", "tilt_y", "axis_x", "axis_y", *(f"height_{name.lower()}" for name in FILTERS))
TURN, RATE, HEIGHT = 0, 1, 6
_STEPS = np.array([1e-5, 1e-5, 1e-5, 1e-5, 1e-5, 1e-5, 1.0, 1.0, 1.0, 1.0])
ITERATIONS = 12
# Residuals beyond so many deviations count for nothing (Tukey's biweight, 95 % efficient).
TUKEY = 4.685
FLOOR = 0.05
# Pixels over which the height's slope across the limb is taken.
ACROSS = 0.5


def turned(angle: Floats) -> Floats:
    """Rotations of the coordinate frame about Z, (n, 3, 3)."""
    c, s, zero, one = np.cos(angle), np.sin(angle), np.zeros_like(angle), np.ones_like(angle)
    rows = ((c, s, zero), (-s, c, zero), (zero, zero, one))
    return np.moveaxis(np.array(rows), (0, 1), (-2, -1))


def toward(x: float, y: float) -> Floats:
    """Rotation of vectors that takes Z to a direction near it, without twist, (3, 3)."""
    angle = np.hypot(x, y)
    if angle == 0.0:
        return np.eye(3)
    k = np.array([[0.0, 0.0, x], [0.0, 0.0, y], [-x, -y, 0.0]]) / angle
    return np.asarray(np.eye(3) + np.sin(angle) * k + (1.0 - np.cos(angle)) * k @ k)


@dataclass(frozen=True, eq=False)
class Spin:
    """An attitude that depends on parameters.

    Parameters
    ----------
    et, middle : times of the framelets (n), and the one from which the turn grows.
    nominal : rotations J2000 to JUNO_SPACECRAFT at these times (n, 3, 3).
    despun : rotation J2000 to axes of which Z is the nominal spin axis (3, 3).
    place : of the spin axis in the spacecraft as the nominal attitude has it, along x and y, rad.
    mount : rotation JUNO_SPACECRAFT to JUNO_JUNOCAM (3, 3).
    """

    et: Floats
    middle: float
    nominal: Floats
    despun: Floats
    place: tuple[float, float]
    mount: Floats

    def spacecraft(self, parameters: Floats) -> Floats:
        """Rotations J2000 to JUNO_SPACECRAFT (n, 3, 3)."""
        turn, rate, tilt_x, tilt_y, x, y = parameters[:HEIGHT]
        about = turned(turn + rate * (self.et - self.middle))
        left = compose((toward(x, y))[None], compose(about, toward(*self.place).T[None]))
        right = self.despun.T @ toward(tilt_x, tilt_y).T @ self.despun
        return compose(left, compose(self.nominal, right[None]))

    def rotations(self, parameters: Floats) -> Floats:
        """Small rotations of the spacecraft about its own axes per change of the parameters, (n, 3, p)."""
        back = np.swapaxes(self.spacecraft(parameters), -1, -2)
        rates = []
        for index in range(HEIGHT):
            change = np.zeros(parameters.size)
            change[index] = _STEPS[index]
            moved = compose(self.spacecraft(parameters + change), back) / _STEPS[index]
            rates.append(0.5 * np.stack([moved[:, i, j] - moved[:, j, i] for i, j in ((1, 2), (2, 0), (0, 1))], axis=1))
        still = np.zeros((self.et.size, 3, parameters.size - HEIGHT))
        return np.concatenate([np.stack(rates, axis=2), still], axis=2)

    def camera(self, parameters: Floats) -> Floats:
        """Rotations J2000 to JUNO_JUNOCAM (n, 3, 3)."""
        return compose(self.mount[None], self.spacecraft(parameters))


@dataclass(frozen=True, eq=False)
class Fit:
    """Parameters with their covariance, and what is left.

    Parameters
    ----------
    values, covariance : (p), (p, p), in the order of `NAMES`.
    by_camera : by how much the values differ with each of the other cameras, (m, p).
    residuals, weights : of the edges, pixels (k), and how far each counts, 0 to 1.
    scale : robust deviation of the residuals, pixels.
    """

    values: Floats
    covariance: Floats
    by_camera: Floats
    residuals: Floats
    weights: Floats
    scale: float


@dataclass(frozen=True, eq=False)
class Problem:
    """Edges to be explained.

    Parameters
    ----------
    spin, view, camera : the model.
    filters : of the framelets, as numbers in `FILTERS` (n).
    edges : as measured.
    prior, sigma : of the parameters (p); sigma infinite where nothing is known beforehand.
    """

    spin: Spin
    view: View
    camera: Camera
    filters: NDArray[np.intp]
    edges: Edges
    prior: Floats
    sigma: Floats
    looks: tuple[Floats, Floats] = field(init=False)

    def __post_init__(self) -> None:
        first = self._looks(self.edges.line, self.edges.sample)
        second = self._looks(
            self.edges.line + ACROSS * self.edges.across[:, 0], self.edges.sample + ACROSS * self.edges.across[:, 1]
        )
        object.__setattr__(self, "looks", (first, second))

    def _looks(self, line: Floats, sample: Floats) -> Floats:
        """Directions in the camera (k, 3)."""
        out = np.empty((len(self.edges), 3))
        own = self.filters[self.edges.framelet]
        for number, name in enumerate(FILTERS):
            of = own == number
            out[of] = self.camera.unproject(line[of], sample[of], name)
        return out

    def heights(self, parameters: Floats, looks: Floats) -> Floats:
        """Heights at which the lines of sight pass, less the limb's, km (k)."""
        turn = np.swapaxes(self.spin.camera(parameters), -1, -2)[self.edges.framelet]
        limb = parameters[HEIGHT:][self.filters[self.edges.framelet]]
        return self.view.passing(self.edges.framelet, apply(turn, looks))[1] - limb

    def patterns(self, parameters: Floats, slope: Floats) -> Floats:
        """Residuals of the edges, pixels (2, k), if the limb stood higher by P1 and P2 of the sine of latitude, km."""
        turn = np.swapaxes(self.spin.camera(parameters), -1, -2)[self.edges.framelet]
        point, _ = self.view.passing(self.edges.framelet, apply(turn, self.looks[0]))
        sine = point[:, 2] / np.linalg.norm(point, axis=1)
        return np.stack([sine, 1.5 * sine**2 - 0.5]) / slope

    def residuals(self, parameters: Floats) -> tuple[Floats, Floats]:
        """Pixels by which the edges lie outside of the model's limb, and kilometres a pixel across it (k)."""
        height = self.heights(parameters, self.looks[0])
        slope = (self.heights(parameters, self.looks[1]) - height) / ACROSS
        return height / slope, slope

    def jacobian(self, parameters: Floats, slope: Floats) -> Floats:
        """Derivatives of the residuals (k, p)."""
        columns = []
        for index, step in enumerate(_STEPS):
            if index >= HEIGHT:
                of = self.filters[self.edges.framelet] == index - HEIGHT
                columns.append(-1.0 / slope * of)
                continue
            change = np.zeros(parameters.size)
            change[index] = step
            after, before = (self.heights(parameters + s * change, self.looks[0]) for s in (1.0, -1.0))
            columns.append((after - before) / (2.0 * step * slope))
        return np.stack(columns, axis=1)

    def solve(
        self, start: Floats, edge_sigma: float, latitude_sigma: Floats, others: Sequence[Camera] = (), wide: float = 0.0
    ) -> Fit:
        """Fit by iteratively reweighted least squares.

        Parameters
        ----------
        start : parameters to begin with.
        edge_sigma : of a single edge besides the noise, pixels.
        latitude_sigma : of the limb's height varying as P1 and P2 of the sine of latitude, km (2).
        others : cameras off by one sigma each.
        wide : pixels below which the scale of the weights is not let fall.
        """
        values = start.copy()
        sigma = np.hypot(edge_sigma, self.edges.noise)
        known = np.isfinite(self.sigma)
        inverse = np.where(known, 1.0 / np.where(known, self.sigma, 1.0) ** 2, 0.0)
        for _ in range(ITERATIONS):
            residual, slope = self.residuals(values)
            scale = max(_scale(residual), wide)
            weight = _biweight(residual / (TUKEY * scale))
            jacobian = self.jacobian(values, slope)
            weighted = jacobian * (weight / sigma**2)[:, None]
            normal = weighted.T @ jacobian + np.diag(inverse)
            step = np.linalg.solve(normal, weighted.T @ residual + inverse * (values - self.prior))
            values = values - step
            if (np.abs(step) < 1e-3 * _STEPS).all():
                break
        whitened = weight / sigma**2
        common = latitude_sigma[:, None] * self.patterns(values, slope)
        covariance, gain = self._covariance(jacobian, residual, whitened, np.diag(inverse), common)
        changed = [replace(self, camera=camera).residuals(values)[0] - residual for camera in others]
        by_camera = -np.reshape(changed, (-1, residual.size)) @ gain.T
        return Fit(values, covariance, by_camera, residual, weight, scale)

    def compare(self) -> Fit:
        """What is left of the edges if the parameters are the prior ones."""
        residual, _ = self.residuals(self.prior)
        scale = _scale(residual)
        nothing = np.zeros((0, self.prior.size))
        return Fit(self.prior, np.diag(self.sigma**2), nothing, residual, _biweight(residual / (TUKEY * scale)), scale)

    def _covariance(
        self, jacobian: Floats, residual: Floats, weight: Floats, inverse: Floats, common: Floats
    ) -> tuple[Floats, Floats]:
        """Covariance of the parameters, and what turns errors of the edges into errors of the parameters (p, k).

        Errors of the edges of one framelet are taken as wholly correlated. The cluster-robust (sandwich) form: the
        scatter of the framelets' own gradients stands for the errors' true covariance, as neighbouring edges share
        clouds, haze and distortion (Liang and Zeger 1986, Biometrika 73, 13). To it is added what errors `common` to
        all framelets (each (k), one sigma) do.
        """
        bread = np.linalg.inv((jacobian * weight[:, None]).T @ jacobian + inverse)
        gradients = np.zeros((self.spin.et.size, jacobian.shape[1]))
        np.add.at(gradients, self.edges.framelet, jacobian * (weight * residual)[:, None])
        used = int((np.abs(gradients) > 0).any(axis=1).sum())
        factor = used / max(used - 1, 1)
        shared = common @ (jacobian * weight[:, None])
        covariance = bread @ (factor * gradients.T @ gradients + shared.T @ shared + inverse) @ bread
        return covariance, bread @ (jacobian * weight[:, None]).T


def _scale(residual: Floats) -> float:
    """Robust deviation from zero."""
    return max(1.4826 * float(np.median(np.abs(residual))), FLOOR)


def _biweight(u: Floats) -> Floats:
    return np.where(np.abs(u) < 1.0, (1.0 - u * u) ** 2, 0.0)


def table_of(fit: Fit, edges: Edges, framelets: int) -> Mapping[str, Floats]:
    """Residuals by framelet: number of edges used, their mean and root mean square, pixels; NaN where there is none."""
    used = fit.weights > 0.0
    count = np.bincount(edges.framelet[used], minlength=framelets).astype(np.float64)
    total = np.bincount(edges.framelet[used], fit.residuals[used], minlength=framelets)
    square = np.bincount(edges.framelet[used], fit.residuals[used] ** 2, minlength=framelets)
    with np.errstate(invalid="ignore", divide="ignore"):
        return {"count": count, "mean": total / count, "rms": np.sqrt(square / count)}
