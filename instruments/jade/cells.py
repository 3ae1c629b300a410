"""Velocity space in cells of speed and direction: sums, their errors, and what the grid does to a Maxwellian."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from instruments.jade import chain, looks

Array = NDArray[np.float64]

EV = chain.ELEMENTARY_CHARGE
# Energies up to this many times the slowest measured tell how many slower ions there are.
NEAR = 5.0
# Gauss-Legendre points over a cell in speed, elevation and azimuth.
NODES, WEIGHTS = np.polynomial.legendre.leggauss(3)


class Moments(NamedTuple):
    """Density, 1/m3 (n); velocity, m/s (n, 3); tensor of the second moment about it over density, m2/s2 (n, 3, 3)."""

    density: Array
    velocity: Array
    spread: Array

    @property
    def temperature(self) -> Array:
        """A third of the trace, m2/s2."""
        return np.trace(self.spread, axis1=1, axis2=2) / 3.0


class Cells(NamedTuple):
    """Cells of velocity space: bounds of speed (n, energy), and integrals of the direction over each look.

    Attributes
    ----------
    lower, upper : speeds, m/s, at infinity.
    solid, first, second : integrals of 1, d and d d over the solid angle, d the direction of flight (look, ...).
    """

    lower: Array
    upper: Array
    solid: Array
    first: Array
    second: Array

    def sums(self, f: Array) -> Moments:
        """Moments of an f (n, energy, look) that is constant in each cell."""
        power = [(self.upper**k - self.lower**k) / k for k in (3, 4, 5)]
        density = np.einsum("nel,ne,l->n", f, power[0], self.solid)
        flow = np.einsum("nel,ne,li->ni", f, power[1], self.first)
        square = np.einsum("nel,ne,lij->nij", f, power[2], self.second)
        with np.errstate(invalid="ignore", divide="ignore"):
            velocity = flow / density[:, None]
            spread = square / density[:, None, None] - velocity[:, :, None] * velocity[:, None, :]
        return Moments(density, velocity, spread)


def quadrature(cells: looks.IonLooks) -> tuple[Array, Array]:
    """Directions of flight (look, 9, 3) over each look's solid angle and their weights in sr (look, 9)."""
    low, high = (np.sin(np.radians(b)) for b in (cells.elevation_lower, cells.elevation_upper))
    z = (low + high)[:, None] / 2.0 + (high - low)[:, None] / 2.0 * NODES
    width = np.radians(cells.azimuth_upper - cells.azimuth_lower)
    angle = np.radians(cells.azimuth)[:, None] + width[:, None] / 2.0 * NODES
    z, angle = np.broadcast_arrays(z[:, :, None], angle[:, None, :])
    flat = np.sqrt(1.0 - z**2)
    direction = -np.stack([flat * np.cos(angle), flat * np.sin(angle), z], axis=-1)
    weight = ((high - low) * width / 4.0)[:, None, None] * WEIGHTS[:, None] * WEIGHTS
    n = z.shape[0]
    return direction.reshape(n, -1, 3), weight.reshape(n, -1)


def cells_of(edges: Array, cells: looks.IonLooks, mass: Array, lift: Array) -> Cells:
    """Cells of ions of masses (n), kg, whose energies at infinity are the instrument's and `lift`, eV (n).

    Parameters
    ----------
    edges : kinetic energies at the instrument, eV (n, 65), descending.
    """
    speed = np.sqrt(2.0 * np.maximum(edges + lift[:, None], 0.0) * EV / mass[:, None])
    direction, weight = quadrature(cells)
    first = np.einsum("lq,lqi->li", weight, direction)
    second = np.einsum("lq,lqi,lqj->lij", weight, direction, direction)
    return Cells(speed[:, 1:], speed[:, :-1], weight.sum(axis=1), first, second)


def maxwellian(found: Moments, cells: Cells, look: looks.IonLooks) -> Array:
    """Mean over each cell of a drifting Maxwellian with the moments found, (n, energy, look)."""
    direction, weight = quadrature(look)
    share = weight / weight.sum(axis=1, keepdims=True)
    total = np.zeros((*cells.lower.shape, direction.shape[0]))
    thermal = np.maximum(found.temperature, 1.0)[:, None, None]
    drift = np.einsum("ni,lqi->nlq", found.velocity, direction)
    squared = (found.velocity**2).sum(axis=1)[:, None, None]
    for node, part in zip(NODES, WEIGHTS / 2.0, strict=True):
        speed = (cells.upper + cells.lower) / 2.0 + (cells.upper - cells.lower) / 2.0 * node
        for q in range(direction.shape[1]):
            away = speed[:, :, None] ** 2 - 2.0 * speed[:, :, None] * drift[:, None, :, q] + squared
            total += part * share[:, q] * np.exp(-away / (2.0 * thermal))
    return total * (found.density[:, None, None] / (2.0 * np.pi * thermal) ** 1.5)


def corrected(found: Moments, f: Array, sigma: Array, cells: Cells, look: looks.IonLooks, used: Array) -> Moments:
    """Moments less what the grid and the cut do to a Maxwellian of the same moments: one step of iteration.

    Slower ions than those measured are filled in first: a Maxwellian times what is measured over what it has in the
    slowest cells, because a kappa distribution has up to twice as many there; as far as that ratio is known better than
    to its own size (linear estimate of least squared error of a ratio of 1 +- 1).

    Parameters
    ----------
    f, sigma, used : what the moments found are of, its random error, and 1 where it is used (n, energy, look).
    """
    inner = Cells(
        np.append(cells.lower, np.zeros_like(cells.lower[:, :1]), axis=1),
        np.append(cells.upper, cells.lower[:, -1:], axis=1),
        cells.solid,
        cells.first,
        cells.second,
    )
    room = (0, 0), (0, 1), (0, 0)
    f, sigma, used = (np.pad(a, room) for a in (f, sigma, used))
    model = maxwellian(found, inner, look)
    slowest = np.where(used.any(axis=2), inner.lower, np.inf).min(axis=1, keepdims=True)
    slower = (inner.upper <= slowest)[:, :, None]
    near = (inner.upper <= NEAR**0.5 * slowest)[:, :, None] & ~slower
    volume = near * used * ((inner.upper**3 - inner.lower**3) / 3.0)[:, :, None] * inner.solid
    measured, expected = ((part * volume).sum(axis=(1, 2)) for part in (f, model))
    weight = expected**2 + ((sigma * volume) ** 2).sum(axis=(1, 2))
    more = np.divide(expected * (measured - expected), weight, out=np.zeros(weight.shape), where=weight > 0)
    share = (1.0 + more)[:, None, None]
    filled = inner.sums(np.where(slower, share * model, f))
    there = inner.sums(np.where(slower, 1.0, used) * model)
    ratio = np.divide(found.density, there.density, out=np.ones(there.density.shape), where=there.density > 0)
    trace = found.temperature / np.maximum(there.temperature, 1e-9)
    return Moments(
        filled.density * np.clip(ratio, 0.5, 2.0),
        filled.velocity + found.velocity - there.velocity,
        filled.spread * np.clip(trace, 0.5, 2.0)[:, None, None],
    )


class Response(NamedTuple):
    """Derivatives of moments by f in each cell: density, m3/s3 (n, energy, look), velocity (..., 3), temperature."""

    density: Array
    velocity: Array
    temperature: Array


def response(m: Moments, cells: Cells) -> Response:
    """Derivatives of the sums over cells: 1/m3, m/s and m2/s2 by s3/m6."""
    power = [(cells.upper**k - cells.lower**k) / k for k in (3, 4, 5)]
    zero = power[0][:, :, None] * cells.solid
    inverse = (1.0 / np.where(m.density > 0, m.density, np.nan))[:, None, None]
    first = power[1][:, :, None, None] * cells.first - m.velocity[:, None, None, :] * zero[..., None]
    square = power[2][:, :, None] * np.trace(cells.second, axis1=1, axis2=2)
    along = np.einsum("ne,li,ni->nel", power[1], cells.first, m.velocity)
    speed = (m.velocity**2).sum(axis=1)[:, None, None]
    heat = (square - 2.0 * along + speed * zero) / 3.0 - m.temperature[:, None, None] * zero
    return Response(zero, first * inverse[..., None], heat * inverse)


def random_errors(by: Response, sigma: Array) -> dict[str, Array]:
    """Errors of density (1/cm3), velocity (covariance, m2/s2) and temperature (m2/s2) from independent ones of f."""
    variance = sigma**2
    return {
        "density": np.sqrt((variance * by.density**2).sum(axis=(1, 2))) * 1e-6,
        "velocity": np.einsum("nel,neli,nelj->nij", variance, by.velocity, by.velocity),
        "temperature": np.sqrt((variance * by.temperature**2).sum(axis=(1, 2))),
    }


def moved(by: Response, change: Array) -> dict[str, Array]:
    """Change of density (1/cm3), velocity (m/s) and temperature (m2/s2) where f changes."""
    return {
        "density": (change * by.density).sum(axis=(1, 2)) * 1e-6,
        "velocity": np.einsum("nel,neli->ni", change, by.velocity),
        "temperature": (change * by.temperature).sum(axis=(1, 2)),
    }
