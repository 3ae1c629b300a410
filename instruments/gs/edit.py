"""Counts that stand out: phases that were damaged, slips the receiver did not tell of, ramps that were not sent.

Nothing in tracking files protects their numbers, and what stations mark as good is not always so.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Floats = NDArray[np.float64]

NEAR = 5  # counts compared with one another; of so many, two may be wrong
TIMES = 10.0  # errors by which a count stands out
MAD = 1.4826  # standard deviation of a normal distribution over its median absolute deviation
ABSURD = 1e-5  # relative: no trajectory is wrong by 1.5 km/s


def outliers(residual: Floats, sigma: Floats, received: Floats) -> NDArray[np.bool_]:
    """Residuals, Hz (n, link), that are off from the median of five by ten times the error, stated or found.

    The error found is the median absolute deviation, of the five and of the whole link: a trajectory that is not known
    well bends the residuals of long counts, and is no outlier.
    """
    out = np.abs(residual) > ABSURD * received
    for k in range(residual.shape[1]):
        there = np.flatnonzero(np.isfinite(residual[:, k]))
        if there.size < NEAR:
            continue
        r = residual[there, k]
        near = sliding_window_view(np.pad(r, NEAR // 2, mode="reflect"), NEAR)
        middle = np.median(near, axis=1)
        off = np.abs(r - middle)
        spread = np.maximum(np.median(np.abs(near - middle[:, None]), axis=1), np.median(off))
        out[there, k] |= off > TIMES * np.maximum(MAD * spread, sigma[there, k])
    return out
