"""A first attitude from the pictures alone, where neither phase nor rate of the spin is known.

Seen from Juno a sphere's limb is a cone about the direction of its centre: u . c = const for all limb directions u.
Turned back by the right rate, edges of all framelets lie on one cone; the rate is searched, the centre follows by
linear least squares, and with it the phase. Jupiter's flattening is left to the fit that follows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from instruments.junocam.limb import Edges
from instruments.junocam.spin import turned
from pipeline.geometry.attitude import apply

Floats = NDArray[np.float64]

# Edges are sought in blocks of so many pixels.
BLOCK = 4
# A block is dark below the first fraction of the bright level (a percentile of the filter's samples) and so many times
# the noise of a sample, and lit above the second; from disc to sky it is `NEAR` blocks.
DARK, LIT, LEVEL = (0.02, 2.5), (0.15, 6.0), 99.0
NEAR = 2
RATES = 61
ROUNDS = 10


def rough_edges(picture: Floats, bright: float, noise: float, number: int) -> Edges:
    """Places where a framelet turns from sky to disc within a few pixels, to some pixels.

    Parameters
    ----------
    picture : linear brightness of a framelet, NaN where missing.
    bright, noise : level of the disc in the image's framelets of this filter; of a dark sample.
    """
    lines, samples = (n // BLOCK for n in picture.shape)
    blocks = picture[: lines * BLOCK, : samples * BLOCK].reshape(lines, BLOCK, samples, BLOCK)
    level = np.nan_to_num(np.median(blocks, axis=(1, 3)), nan=np.inf)
    dark = level < max(DARK[0] * bright, DARK[1] * noise)
    lit = (level > max(LIT[0] * bright, LIT[1] * noise)) & np.isfinite(level)
    found = []
    for axis in (0, 1):
        for sign in (1, -1):
            # Outward is along +axis for sign 1: disc at i, sky at i + NEAR.
            size = level.shape[axis] - NEAR
            inner = np.take(lit, np.arange(size) + (0 if sign > 0 else NEAR), axis)
            outer = np.take(dark, np.arange(size) + (NEAR if sign > 0 else 0), axis)
            place = np.argwhere(inner & outer).astype(np.float64)
            place[:, axis] += NEAR / 2
            across = np.zeros_like(place)
            across[:, axis] = sign
            found.append((place, across))
    place = np.concatenate([p for p, _ in found]) * BLOCK + (BLOCK - 1) / 2
    across = np.concatenate([a for _, a in found])
    return Edges(
        np.full(len(place), number, np.intp), place[:, 0], place[:, 1], across, np.full(len(place), float(BLOCK))
    )


def find_centre(looks: Floats, time: Floats, rates: Floats) -> tuple[float, Floats, float]:
    """Rate of the spin and direction of Jupiter's centre on axes that turn with it.

    Parameters
    ----------
    looks : directions of edges on axes of which Z is the spin axis (k, 3).
    time : of each, s from some instant (k).
    rates : to try, rad/s.

    Returns
    -------
    tuple
        rate; unit vector at time 0; robust deviation of u . c / |c|.
    """
    best = (np.nan, np.full(3, np.nan), np.inf)
    for _ in range(2):
        for rate in rates:
            still = apply(turned(-rate * time), looks)
            centre, scale = _cone(still)
            if scale < best[2]:
                best = float(rate), centre, scale
        width = rates[1] - rates[0]
        rates = np.linspace(best[0] - width, best[0] + width, 21)
    return best


def _cone(looks: Floats) -> tuple[Floats, float]:
    """Axis of the cone on which most directions lie, and the deviation from it."""
    weight = np.ones(len(looks))
    for _ in range(ROUNDS):
        weighted = looks * weight[:, None]
        centre = np.linalg.lstsq(weighted.T @ looks, weighted.sum(axis=0), rcond=None)[0]
        residual = (looks @ centre - 1.0) / np.linalg.norm(centre)
        scale = max(1.4826 * float(np.median(np.abs(residual))), 1e-4)
        weight = np.where(np.abs(residual) < 4.0 * scale, (1.0 - (residual / (4.0 * scale)) ** 2) ** 2, 0.0)
    return centre / np.linalg.norm(centre), scale
