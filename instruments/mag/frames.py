"""Rotations of vectors and of their covariances, sample by sample.

All sums are written out: BLAS may order them by the number of samples, and a segment must give the whole unit's bytes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def matrices(shape: tuple[int, ...]) -> Array:
    """Zero matrices, (..., 3, 3), each element of which is contiguous over the samples: four times as fast."""
    return np.moveaxis(np.zeros((3, 3, *shape)), (0, 1), (-2, -1))


def axis_rotation(axis: int, angle: Array) -> Array:
    """Coordinate rotation ``[angle]_axis`` (NAIF Rotation Required Reading), radians, (...) to (..., 3, 3)."""
    i, j = axis % 3, (axis + 1) % 3
    matrix = matrices(np.shape(angle))
    matrix[..., axis - 1, axis - 1] = 1.0
    matrix[..., i, i] = matrix[..., j, j] = np.cos(angle)
    matrix[..., i, j] = np.sin(angle)
    matrix[..., j, i] = -matrix[..., i, j]
    return matrix


def from_angles(angles: Array, axes: tuple[int, int, int]) -> Array:
    """Matrix from a fixed frame to the frame it is relative to, from its ``TKFRAME ANGLES`` and ``AXES``.

    ``v_relative = [a1]_axis1 [a2]_axis2 [a3]_axis3 v_frame`` (NAIF Frames Required Reading, "TK frames").

    Parameters
    ----------
    angles : degrees, (..., 3).
    axes : 1..3 each.

    Returns
    -------
    Array
        (..., 3, 3)
    """
    turns = [axis_rotation(axis, np.radians(angles[..., k])) for k, axis in enumerate(axes)]
    return compose(compose(turns[0], turns[1]), turns[2])


def compose(left: Array, right: Array) -> Array:
    """Product of matrices, (..., 3, 3)."""
    out = matrices(np.broadcast_shapes(left.shape[:-2], right.shape[:-2]))
    for i in range(3):
        for j in range(3):
            out[..., i, j] = sum_of_three(*(left[..., i, k] * right[..., k, j] for k in range(3)))
    return out


def rotate(matrix: Array, vector: Array) -> Array:
    """Matrix times vector, (..., 3, 3) and (..., 3) to (..., 3)."""
    return vector_of(*(sum_of_three(*(matrix[..., i, k] * vector[..., k] for k in range(3))) for i in range(3)))


def rotate_variance(matrix: Array, variance: Array) -> Array:
    """Variances of the rotated components of a vector whose components are independent, (..., 3)."""
    return rotate(matrix * matrix, variance)


def rotate_covariance(matrix: Array, covariance: Array) -> Array:
    """Variances of the components, diag(M C M^T), (..., 3), of a vector of covariance (..., 3, 3)."""
    turned = compose(matrix, covariance)
    return vector_of(*(sum_of_three(*(turned[..., i, k] * matrix[..., i, k] for k in range(3))) for i in range(3)))


def cross_matrix(vector: Array) -> Array:
    """Matrix [v]x with ``[v]x u = v x u``, (..., 3) to (..., 3, 3)."""
    matrix = matrices(vector.shape[:-1])
    for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        matrix[..., j, i] = vector[..., k]
        matrix[..., i, j] = -vector[..., k]
    return matrix


def vector_of(x: Array, y: Array, z: Array) -> Array:
    """Vectors from their components, (..., 3)."""
    return np.stack([x, y, z], axis=-1)


def transpose(matrix: Array) -> Array:
    """Inverse of a rotation, (..., 3, 3)."""
    return np.swapaxes(matrix, -1, -2)


def sum_of_three(first: Array, second: Array, third: Array) -> Array:
    """Sum in a fixed order."""
    return first + second + third
