"""Charged particles along the way: what they shift each link by, and the combination of links that is free of them.

A shift by plasma goes as the inverse square of the frequency. With y the relative shift of the received frequency, of
the uplink at X band (up) and of the downlink as if it were at that frequency (down), ``y = y_nd + a up + b down`` with
(Bertotti, Comoretto and Iess 1993, Astron. Astrophys. 269, 608; Mariotti and Tortora 2013, Radio Sci. 48, 111)::

    X/X    a = 1           b = 1 / M_XX^2
    X/Ka   a = 1           b = 1 / M_XKa^2
    Ka/Ka  a = 1 / beta^2  b = 1 / (beta M_KaKa)^2

M the turn-around ratios, beta the ratio of the uplinks. Three links give y_nd; two, if the plasma is taken as equal
both ways; one leaves it in.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def sensitivity(ratio: Floats, uplinks: float) -> Floats:
    """Rows of (a, b) of each link.

    Parameters
    ----------
    ratio : turn-around ratios of X/X, X/Ka, Ka/Ka.
    uplinks : frequency of the Ka uplink over that of the X uplink.
    """
    up = np.array([1.0, 1.0, uplinks])
    return np.stack([1.0 / up**2, 1.0 / (up * ratio) ** 2], axis=1)


def weights(use: Sequence[bool], ab: Floats) -> Floats:
    """Weights of the links for y_nd, up and down (3, 3) from those in use; rows of NaN where they do not say it."""
    out = np.full((3, 3), np.nan)
    chosen = np.flatnonzero(use)
    matrix = np.column_stack([np.ones(chosen.size), ab[chosen]])
    if chosen.size == 3:
        return np.asarray(np.linalg.inv(matrix))
    out[0] = 0.0
    if chosen.size == 2:
        inverse = np.linalg.inv(np.column_stack([matrix[:, 0], matrix[:, 1:].sum(axis=1)]))
        out[1:] = 0.0
        out[:, chosen] = inverse[[0, 1, 1]]
    elif chosen.size == 1:
        out[0, chosen] = 1.0
    else:
        out[0] = np.nan
    return out


def combine(y: Floats, sigma: Floats, ab: Floats) -> tuple[Floats, Floats, NDArray[np.int8], Floats]:
    """Combine relative shifts.

    Parameters
    ----------
    y, sigma : shifts of the links and their random errors, NaN where a link is not there (n, 3).

    Returns
    -------
    tuple
        y_nd, up, down (n, 3); random error of y_nd (n); number of links (n); by how much plasma that is left in y_nd,
        up and down, weighs (n, 2).
    """
    there = np.isfinite(y)
    out, error = np.full((len(y), 3), np.nan), np.full(len(y), np.nan)
    left = np.zeros((len(y), 2))
    for use in itertools.product((False, True), repeat=3):
        rows = (there == np.array(use)).all(axis=1)
        if not rows.any() or not any(use):
            continue
        w = weights(use, ab)
        chosen = list(use)
        out[rows] = y[np.ix_(rows, chosen)] @ w[:, chosen].T
        error[rows] = np.sqrt((sigma[np.ix_(rows, chosen)] ** 2) @ (w[0, chosen] ** 2))
        left[rows] = w[0, chosen] @ ab[chosen]
    return out, error, there.sum(axis=1).astype(np.int8), left
