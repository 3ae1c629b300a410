"""One-sigma uncertainties of the field, from the noise and from the tables' own uncertainties.

What is common to all samples acts on the field B in the spacecraft frame as ``dB = E B + theta x B + z``: a matrix E of
independent elements (gain and orthogonality errors, eddy currents), a small rotation theta (alignment and time) and a
constant z (zeros, static field). Sensor and spacecraft axes agree to 0.02 rad up to sign, which changes these variances
by less than 1 % and is left out, as are the errors of the temperature corrections.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from calibration.tables import Table
from instruments.mag.chain import Index
from instruments.mag.frames import (
    Array,
    compose,
    cross_matrix,
    rotate,
    rotate_covariance,
    transpose,
)

# Nominal spin in the science orbits, 2 rpm (Connerney et al. 2017); here only errors scale with it.
SPIN_RATE = 2.0 * np.pi / 30.0
# Bits of the mantissa kept of a stored sigma (0.1 %): it then compresses.
SIGMA_BITS = 10


@dataclass(frozen=True)
class ErrorModel:
    """Variances, in the spacecraft frame, of what is common to all samples (see the module).

    Parameters
    ----------
    matrix : of the elements of E, (range, 3, 3).
    rotation : of the components of theta that never change, rad^2 (3).
    bench : of the components of the rotation of the bench at one node of its table, rad^2 (3).
    constant : of z, nT^2 (range, 3).
    """

    matrix: Array
    rotation: Array
    bench: Array
    constant: Array

    @classmethod
    def of_tables(
        cls,
        sensor: int,
        gain: Table,
        zero: Table,
        orthogonality: Table,
        alignment: Table,
        bench: Table,
        timing: Table,
        eddy: Table,
        spacecraft_field: Table,
    ) -> ErrorModel:
        """Errors of sensor 0 (outboard) or 1 (inboard), by the uncertainties that the tables state."""
        scale = float(spacecraft_field["ratio"].value) if sensor else 1.0
        # E = -dM [omega]x with omega along z: its columns are those of dM, exchanged
        eddies = (scale * SPIN_RATE * eddy["matrix"].sigma) ** 2
        matrix = np.stack([eddies[..., 1], eddies[..., 0], np.zeros(eddies.shape[:-1])], -1)
        matrix = matrix + orthogonality["matrix"].sigma[sensor] ** 2
        matrix = matrix + gain["correction"].sigma[sensor][:, :, None] ** 2 * np.eye(3)
        constant = zero["zero"].sigma[sensor] ** 2 + (scale * spacecraft_field["static"].sigma) ** 2
        rotation = np.radians(alignment["angles"].sigma[sensor]) ** 2
        rotation = rotation + np.array([0.0, 0.0, (SPIN_RATE * timing["delay"].sigma.max()) ** 2])
        # axes 3, 2, 1: the first angle turns about z
        about = np.radians(bench["angles"].sigma[sensor].max(axis=0)[::-1]) ** 2
        return cls(matrix, rotation, about, constant)


def sensor_of(field: xr.Dataset) -> int:
    """Number of the sensor in the tables; the outboard one where the archive does not state it."""
    return 1 if field["sensor"].values[0] == 1 else 0


def systematic(model: ErrorModel, b: Array, k: Index) -> Array:
    """Covariance of what is common to all samples, nT^2 (n, 3, 3), spacecraft frame.

    ``diag(sum_j var(E_ij) B_j^2 + var(z_i)) + [B]x diag(var theta) [B]x^T``
    """
    covariance = of_rotation(b, model.rotation)
    diagonal = rotate(model.matrix[k], b * b) + model.constant[k]
    for i in range(3):
        covariance[:, i, i] += diagonal[:, i]
    return covariance


def of_rotation(b: Array, variance: Array) -> Array:
    """Covariance of ``theta x b`` for independent small angles, (n, 3, 3); `variance` (3) or (n, 3), rad^2."""
    lever = cross_matrix(b)
    return compose(lever * variance[..., None, :], transpose(lever))


def sigmas(covariance: Array, matrix: Array) -> Array:
    """Standard deviations of the components after rotation by `matrix`, (n, 3)."""
    return np.sqrt(rotate_covariance(matrix, covariance))


def of_mean(model: ErrorModel, k: Index, arms: Array, turns: Array, rotation: Array) -> tuple[Array, Array]:
    """Covariances of the mean of many samples, nT^2: of what is common to all, and of the bench's rotation.

    An error fixed in the spinning spacecraft partly averages out in an inertial mean. With R(t) the rotation from the
    spacecraft to the frame of the mean, ``<dB>_p = sum_ij E_ij <R_pi B_j> + sum_i z_i <R_pi>``, and for a rotation
    theta_a about the spacecraft's axis a ``<dB>_p = theta_a (<R_pc B_b> - <R_pb B_c>)``, (a, b, c) cyclic.

    Parameters
    ----------
    k : range of each mean (m).
    arms : <R_pi B_j> with B in the spacecraft frame, nT (m, p, i, j).
    turns : <R_pi>, (m, p, i).
    rotation : variance of the bench's angles for each mean, rad^2 (m, 3).

    Returns
    -------
    systematic, structured
        (m, 3, 3) each.
    """
    common = np.zeros((k.size, 3, 3))
    bent = np.zeros((k.size, 3, 3))
    for i in range(3):
        for j in range(3):
            common += model.matrix[k, i, j, None, None] * _outer(arms[:, :, i, j])
        common += model.constant[k, i, None, None] * _outer(turns[:, :, i])
        b, c = (i + 1) % 3, (i + 2) % 3
        lever = _outer(arms[:, :, c, b] - arms[:, :, b, c])
        common += model.rotation[i] * lever
        bent += rotation[:, i, None, None] * lever
    return common, bent


def _outer(v: Array) -> Array:
    return v[:, :, None] * v[:, None, :]


def undithered(quantum: Array, noise_variance: Array) -> Array:
    """Variance of the mean error of rounding a constant, nT^2, which no averaging removes.

    Noise of standard deviation s before rounding to steps q leaves a mean error of first harmonic
    ``(q / pi) exp(-2 pi^2 s^2 / q^2) sin(2 pi x / q)`` (Widrow and Kollar 2008, Quantization Noise, ch. 6).
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        return quantum**2 / (2.0 * np.pi**2) * np.exp(-4.0 * np.pi**2 * noise_variance / quantum**2)


def coarse(sigma: Array) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """The sigma as float32 with only the leading bits of its mantissa, rounded to nearest."""
    bits = np.ascontiguousarray(sigma, np.float32).view(np.uint32)
    drop = 23 - SIGMA_BITS
    rounded = ((bits + np.uint32(1 << (drop - 1))) >> np.uint32(drop)) << np.uint32(drop)
    return np.where(np.isfinite(sigma), rounded.view(np.float32), np.float32(np.nan))
