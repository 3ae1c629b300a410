"""The calibration chain of one fluxgate: plain functions of arrays, each one equation.

n samples; `k` is the index of the range of each sample (0..5). Steps are numbered as in the instrument's README.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from instruments.mag.frames import Array, compose, from_angles, rotate, sum_of_three
from instruments.mag.groups import Groups

Index = NDArray[np.intp]

# Housekeeping further away than this says nothing of a sample's temperature; a segment reads further.
TEMPERATURE_REACH = 60.0
# A single vector stands out of its neighbours: from this rate on, samples/s; by so many errors and medians of this many
# samples about it.
FAST, TIMES, AROUND = 8.0, 10.0, 33


def temperature_at(et: Array, et_hk: Array, counts: Array, coefficient: Array) -> Array:
    """Temperature of a sensor at the samples, degC.

    ``T = sum_p coefficient[p] counts^p``, linear in time between neighbouring readings, held where there is one on one
    side only; NaN where none is within `TEMPERATURE_REACH`.

    Parameters
    ----------
    et, et_hk : times of the samples (n) and of the readings (m), increasing.
    counts : readings (m); NaN where lost.
    coefficient : ascending powers.
    """
    known = np.isfinite(counts)
    if not known.any():
        return np.full(et.shape, np.nan)
    when = et_hk[known]
    degrees = np.polynomial.polynomial.polyval(counts[known], coefficient)
    after = np.searchsorted(when, et, side="right")
    left, right = np.maximum(after - 1, 0), np.minimum(after, when.size - 1)
    has_left = (after > 0) & (et - when[left] <= TEMPERATURE_REACH)
    has_right = (after < when.size) & (when[right] - et <= TEMPERATURE_REACH)
    length = np.where(right > left, when[right] - when[left], 1.0)
    between = degrees[left] + (et - when[left]) / length * (degrees[right] - degrees[left])
    one_sided = np.where(has_left, degrees[left], np.where(has_right, degrees[right], np.nan))
    return np.where(has_left & has_right, between, one_sided)


def count_size(k: Index, warm: Array, lsb: Array, correction: Array, slope: Array) -> Array:
    """Field per count, nT, (n, 3): ``g = lsb_k (1 + correction_k + slope (T - T0))`` (step 1).

    Parameters
    ----------
    warm : T - T0 of each sample, K.
    lsb : nominal count by range, nT.
    correction : (range, axis).
    slope : (axis), 1/K.
    """
    return lsb[k, None] * (1.0 + correction[k] + slope * warm[:, None])


def remove_zero(b: Array, k: Index, warm: Array, zero: Array, slope: Array) -> Array:
    """Field without the sensor's zero, nT: ``b' = b - (z_k + slope (T - T0))`` (step 2)."""
    return b - (zero[k] + slope * warm[:, None])


def orthogonalise(b: Array, k: Index, warm: Array, matrix: Array, slope: Array) -> Array:
    """Field in the orthogonal frame of the optical cube: ``B_FGM = (A_k + C (T - T0)) b'`` (step 3).

    Parameters
    ----------
    matrix : A, (range, 3, 3).
    slope : C, (3, 3), 1/K.
    """
    return rotate(matrix[k], b) + warm[:, None] * rotate(slope, b)


def bench_angles(since: Array, offset: Array, angles: Array) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Attitude angles of a bench, linear between the table's nodes and held outside.

    Parameters
    ----------
    since : seconds from closest approach (n).
    offset, angles : nodes (m) and angles at them (m, 3), degrees.

    Returns
    -------
    angles, leverage, outside
        (n, 3); the factor ``sqrt((1 - w)^2 + w^2)`` by which interpolation reduces independent errors of the nodes
        (n); where the table does not reach (n).
    """
    held = np.clip(since, offset[0], offset[-1])
    node = np.clip(np.searchsorted(offset, held, side="right") - 1, 0, offset.size - 2)
    weight = (held - offset[node]) / (offset[node + 1] - offset[node])
    values = angles[node] + weight[:, None] * (angles[node + 1] - angles[node])
    return values, np.sqrt((1.0 - weight) ** 2 + weight**2), held != since


def cube_to_spacecraft(bench: Array, cube: Array) -> Array:
    """Rotation JUNO_SPACECRAFT <- FGM, (n, 3, 3): bench in the spacecraft, then cube on the bench (step 4).

    Parameters
    ----------
    bench : angles of the bench, degrees (n, 3), axes 3, 2, 1 as in juno_v12.tf frames -61155 and -61156.
    cube : angles of the cube, degrees (3), axes 1, 2, 3 as in frames -61135 and -61136.
    """
    return compose(from_angles(bench, (3, 2, 1)), from_angles(cube, (1, 2, 3)))


def remove_eddy_currents(b: Array, k: Index, omega: Array, matrix: Array) -> Array:
    """Ambient field from ``B_measured = B + M_k (omega x B)``, nT, spacecraft frame (step 5).

    Linear form after Kotsiaros, Connerney and Martos 2020, Earth and Space Science 7, e2019EA001061. Two fixed-point
    steps leave (|M| omega)^3, 1e-11 of the field.

    Parameters
    ----------
    omega : angular velocity of the spacecraft in its own frame, rad/s (n, 3).
    matrix : M, seconds (range, 3, 3).
    """
    m = matrix[k]
    ambient = b
    for _ in range(2):
        ambient = b - rotate(m, cross(omega, ambient))
    return ambient


def undo_smearing(b: Array, omega: Array, integration: Array) -> Array:
    """Field at the centre of a sample that was averaged on board while the spacecraft turned, nT (step 6).

    A boxcar of length T shortens what is perpendicular to the axis of the spin by ``sinc(omega T / 2)``.

    Parameters
    ----------
    omega : angular velocity, rad/s (n, 3).
    integration : T, seconds (n).
    """
    rate = np.sqrt(sum_of_three(*(omega[:, i] ** 2 for i in range(3))))
    axis = omega / np.where(rate > 0.0, rate, 1.0)[:, None]
    along = axis * sum_of_three(*(axis[:, i] * b[:, i] for i in range(3)))[:, None]
    return along + (b - along) / np.sinc(rate * integration / (2.0 * np.pi))[:, None]


def cross(a: Array, b: Array) -> Array:
    """Vector product, (n, 3)."""
    return np.stack(
        [a[:, (i + 1) % 3] * b[:, (i + 2) % 3] - a[:, (i + 2) % 3] * b[:, (i + 1) % 3] for i in range(3)], 1
    )


def spacecraft_field_by_gradiometry(outboard: Array, inboard: Array, ratio: float, bins: NDArray[np.int64]) -> Array:
    """Field of the spacecraft at the outboard sensor, nT (n, 3), spacecraft frame; one value per bin (step 7).

    ``B_OB = B + S`` and ``B_IB = B + ratio S`` give ``S = <B_IB - B_OB> / (ratio - 1)`` (dual-magnetometer method,
    Ness et al. 1971, J. Geophys. Res. 76, 3564, with the dipole's r^-3).

    Parameters
    ----------
    bins : number of the averaging interval of each sample, on an absolute grid.
    """
    difference = inboard - outboard
    groups = Groups(bins, np.isfinite(difference[:, 0]))
    return groups.mean(difference)[groups.inverse] / (ratio - 1.0)


def stands_out(et: Array, rate: Array, b: Array, sigma: Array) -> NDArray[np.bool_]:
    """Samples whose field is off from the middle of their two neighbours, and alone so: no field does that in 0.1 s.

    A step, as at a change of range, shows in two samples alike; a wrong one in itself twice as much as in either
    neighbour. Means of a second and more are not judged, since boundaries are crossed within one.

    Parameters
    ----------
    b : nT (n, 3), in axes that do not spin; `sigma` : its random error, nT (n).
    """
    out = np.zeros(et.shape, bool)
    if et.size < 5:
        return out
    off = np.full(et.shape, np.nan)
    off[1:-1] = np.linalg.norm(b[1:-1] - (b[2:] + b[:-2]) / 2.0, axis=1)
    step = np.diff(et) * rate[1:]
    even = (step > 0.5) & (step < 1.5) & (rate[1:] >= FAST)
    off[1:-1][~(even[1:] & even[:-1])] = np.nan
    with np.errstate(invalid="ignore"):
        found = off[2:-2] > np.maximum(TIMES * sigma[2:-2], 1.5 * np.maximum(off[1:-3], off[3:-1]))
    candidates = np.flatnonzero(found) + 2
    near = np.clip(candidates[:, None] + np.arange(AROUND) - AROUND // 2, 1, et.size - 2)
    usual = np.median(np.nan_to_num(off[near]), axis=1)
    out[candidates] = off[candidates] > TIMES * usual
    return out
