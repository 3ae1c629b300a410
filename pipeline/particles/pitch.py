"""Pitch angles of particles from where they are seen and the measured field."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

Array = NDArray[np.float64]

FIELD_ERRORS = ("b_j2000_random", "b_j2000_systematic", "b_j2000_structured")
# Seconds between samples of the field across which it is interpolated.
LONGEST = 5.0


def pitch_angles(look: Array, times: Array, field: xr.Dataset) -> tuple[Array, Array]:
    """Pitch angles of what comes from look directions, and their uncertainty, degrees.

    ``cos alpha = -(look . B) / |B|``: a particle flies against the direction it is seen in.

    Parameters
    ----------
    look : unit vectors in J2000 (..., 3).
    times : et, of the shape of `look` without its last axis.
    field : ``b_j2000(et, xyz)`` with its uncertainties; interpolated linearly across at most `LONGEST` seconds.
    """
    et, b = field["et"].values, field["b_j2000"].values.astype(float)
    parts = [field[n].values.astype(float) ** 2 for n in FIELD_ERRORS if n in field]
    variance = np.broadcast_to(np.sum(parts, axis=0) if parts else np.zeros(3), b.shape)
    good = np.isfinite(b).all(axis=1) & np.isfinite(variance).all(axis=1)
    et, b, variance = et[good], b[good], variance[good]
    if et.size < 2:
        return np.full(times.shape, np.nan), np.full(times.shape, np.nan)
    flat, where = np.unique(times, return_inverse=True)
    after = np.clip(np.searchsorted(et, flat), 1, et.size - 1)
    near = (et[after] - et[after - 1] <= LONGEST) & (flat >= et[0] - LONGEST) & (flat <= et[-1] + LONGEST)
    at = np.stack([np.interp(flat, et, column) for column in b.T], axis=1)
    size = np.linalg.norm(at, axis=1)
    error = np.sqrt(np.interp(flat, et, variance.max(axis=1))) / size
    at = np.where(near[:, None], at / size[:, None], np.nan)[where].reshape(look.shape)
    cosine = -(look * at).sum(axis=-1)
    return np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))), np.degrees(error)[where].reshape(times.shape)
