"""How far a framelet is damaged: what was lost on the way, hit by radiation, or is out of line with its neighbours.

All are told from the framelet itself. Limits are multiples of the noise expected of an undamaged detector.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from instruments.junocam.layout import BLOCK

Values = NDArray[Any]
Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]

# Sigmas above zero from which a sample is lit, above all its neighbours from which it is a hit, and between a block and
# all blocks around it from which it is corrupt.
LIT, HIT, CORRUPT = 6.0, 7.0, 8.0
# Sides of the square of zeros that is no accident of the noise, and share of lit samples around lost ones.
SOLID, ENCLOSED = 5, 0.5
# Share of short edges (less than a side of that square) by which the limb is told from the straight edges of lost data.
STEPS = 0.25


def lost(values: Values, lit: int) -> Mask:
    """Where zeros were filled in for data that did not arrive (SIS 4.3.2).

    Solid areas of zeros that end in lit samples for the most part, and framelets of nothing but zeros: the noise of
    dark sky leaves no framelet without a count. An area reaching from the planet far into the sky is not recognised.
    Sky that was rounded to zero (wide bins, smoothed in transmission) reaches the rim and ends at the limb, in steps
    of single samples, unlike lost blocks and lines.

    Parameters
    ----------
    values : stored values of the columns with glass, (line, sample).
    lit : lowest value that is not noise about zero.
    """
    zero = values == 0
    if np.count_nonzero(zero) < SOLID**2:
        return np.zeros(values.shape, bool)
    if zero.all():
        return zero
    # At the rim of the framelet nothing says what lies beyond.
    solid = _in_square(_in_square(zero, np.logical_and, beyond=True), np.logical_or, beyond=False)
    area, number = ndimage.label(solid)
    if number == 0:
        return solid
    around, bright, edges, steps = (np.zeros(number + 1) for _ in range(4))
    for axis, inner, outer in _neighbours(area):
        edge = (area[inner] > 0) & ~solid[outer]
        of = area[inner][edge]
        around += np.bincount(of, minlength=number + 1)
        bright += np.bincount(area[inner][edge & (values[outer] >= lit)], minlength=number + 1)
        (same, _), length = np.unique(np.stack([of, np.nonzero(edge)[axis]]), axis=1, return_counts=True)
        edges += np.bincount(same, minlength=number + 1)
        steps += np.bincount(same[length < SOLID], minlength=number + 1)
    at_rim = np.isin(np.arange(number + 1), np.concatenate([area[0], area[-1], area[:, 0], area[:, -1]]))
    gone = (around > 0) & (bright >= ENCLOSED * around) & (~at_rim | (steps <= STEPS * edges))
    gone[0] = False
    return np.asarray(gone[area])


def _in_square(mask: Mask, combine: np.ufunc, *, beyond: bool) -> Mask:
    """All or any of the samples in the square about each."""
    for axis, size in enumerate(mask.shape):
        around = [(0, 0), (0, 0)]
        around[axis] = (SOLID // 2, SOLID // 2)
        padded = np.moveaxis(np.pad(mask, around, constant_values=beyond), axis, 0)
        mask = np.moveaxis(combine.reduce([padded[k : k + size] for k in range(SOLID)]), 0, axis)
    return mask


def _neighbours(array: Values) -> list[tuple[int, tuple[slice, slice], tuple[slice, slice]]]:
    """Samples and their neighbours in the four directions: the axis across and a pair of slices."""
    everything, first, last = slice(None), slice(None, -1), slice(1, None)
    return [
        (0, (first, everything), (last, everything)),
        (0, (last, everything), (first, everything)),
        (1, (everything, first), (everything, last)),
        (1, (everything, last), (everything, first)),
    ]


def hits(values: Values, limit: Values) -> Mask:
    """Where a sample stands out of all its four neighbours, as one hit by a particle (or a star, or a hot pixel) does.

    Parameters
    ----------
    values : stored values, (line, sample).
    limit : for every stored value of the brightest neighbour, the highest one that noise explains.
    """
    padded = np.pad(values, 1, mode="edge")
    padded[0], padded[-1], padded[:, 0], padded[:, -1] = 0, 0, 0, 0
    brightest = np.maximum(
        np.maximum(padded[:-2, 1:-1], padded[2:, 1:-1]), np.maximum(padded[1:-1, :-2], padded[1:-1, 2:])
    )
    return np.asarray(values > limit[brightest])


def corrupt_blocks(dn: Floats, sigma: Floats) -> Mask:
    """Blocks of 16 by 16 samples that do not fit to any of the blocks around them, (line, sample).

    Parameters
    ----------
    dn, sigma : signal and its noise, (line, sample); whole blocks.
    """
    lines, samples = (n // BLOCK for n in dn.shape)
    fits = np.zeros((lines, samples), bool)
    for axis in (0, 1):
        along, noise = (np.moveaxis(a, axis, 0) for a in (dn, sigma))
        jump = (along[BLOCK::BLOCK] - along[BLOCK - 1 : -1 : BLOCK]) / noise[BLOCK::BLOCK]
        # Slopes inside the blocks are not the edge's fault.
        slope = np.abs(along[BLOCK - 1 : -1 : BLOCK] - along[BLOCK - 2 : -1 : BLOCK][: len(jump)]) / noise[BLOCK::BLOCK]
        at_edge, inside = (np.median(a.reshape(len(jump), -1, BLOCK), axis=2) for a in (jump, slope))
        smooth = np.moveaxis(np.abs(at_edge) < CORRUPT + 3.0 * inside, 0, axis)
        before, after = [slice(None)] * 2, [slice(None)] * 2
        before[axis], after[axis] = slice(None, -1), slice(1, None)
        fits[tuple(before)] |= smooth
        fits[tuple(after)] |= smooth
    return np.repeat(np.repeat(~fits, BLOCK, axis=0), BLOCK, axis=1)


def streaks(dn: Floats, axis: int) -> float:
    """Streaks along an axis: how far the medians of lines (1) or columns (0) stand out of their neighbours', DN.

    The 99th percentile of the size of their second differences.
    """
    middle = np.median(dn, axis=axis)
    return float(np.percentile(np.abs(middle[1:-1] - 0.5 * (middle[:-2] + middle[2:])), 99.0))


def blockiness(dn: Floats) -> float:
    """Mean step between samples at the edges of blocks over that elsewhere, along the lines; 1 where none shows."""
    step = np.abs(np.diff(dn, axis=1)).mean(axis=0)
    at_edge = np.arange(1, dn.shape[1]) % BLOCK == 0
    elsewhere = step[~at_edge].mean()
    return float(step[at_edge].mean() / elsewhere) if elsewhere > 0 else 1.0
