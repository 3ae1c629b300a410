"""An attitude as orientations at instants, turning at constant rate between them, as C-kernels of type 3 do."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Attitude:
    """Orientation of a frame relative to J2000.

    Parameters
    ----------
    et : instants, increasing (n).
    quaternions : (n, 4), scalar first; of the matrix v_frame = M v_J2000.
    joined : whether the attitude is known between an instant and the next one, (n - 1).
    """

    et: Floats
    quaternions: Floats
    joined: Bools

    @cached_property
    def _turns(self) -> Floats:
        """Rotation vectors from each instant to the next, (n - 1, 3); NaN across gaps."""
        first, second = self.quaternions[:-1], self.quaternions[1:]
        turn = multiply(second.T, conjugate(first.T))
        turn = np.where(turn[0] < 0.0, -turn, turn)
        sine = np.sqrt(turn[1] ** 2 + turn[2] ** 2 + turn[3] ** 2)
        angle = 2.0 * np.arctan2(sine, turn[0])
        factor = np.where(sine > 1e-12, angle / np.where(sine > 1e-12, sine, 1.0), 2.0)
        return np.asarray(np.where(self.joined, factor * turn[1:], np.nan).T)

    def quaternion(self, et: ArrayLike) -> Floats:
        """Quaternions (4, n) at times; NaN where the attitude is unknown."""
        times = np.asarray(et, np.float64)
        if self.et.size < 2:
            return np.full((4, times.size), np.nan)
        index = np.clip(np.searchsorted(self.et, times, side="right") - 1, 0, self.et.size - 2)
        start, stop = self.et[index], self.et[index + 1]
        inside = (times >= start) & (times <= stop)
        # At an instant itself the attitude is known even where what follows is a gap.
        before = (times == start) & ~self.joined[index] & (index > 0)
        index = index - before
        fraction = np.where(before, 1.0, (times - start) / (stop - start))
        half = 0.5 * np.where(inside, fraction, np.nan) * self._turns[index].T
        angle = np.sqrt(half[0] ** 2 + half[1] ** 2 + half[2] ** 2)
        sine = np.sinc(angle / np.pi)
        turn = np.stack([np.cos(angle), sine * half[0], sine * half[1], sine * half[2]])
        return multiply(turn, self.quaternions[index].T)

    def matrix(self, et: ArrayLike) -> Floats:
        """Rotation from J2000 to the frame, (n, 3, 3)."""
        return to_matrix(self.quaternion(et))


def multiply(p: Floats, q: Floats) -> Floats:
    """Hamilton product of quaternions (4, n), scalar first: the rotation q, then p."""
    return np.stack(
        [
            p[0] * q[0] - p[1] * q[1] - p[2] * q[2] - p[3] * q[3],
            p[0] * q[1] + p[1] * q[0] + p[2] * q[3] - p[3] * q[2],
            p[0] * q[2] - p[1] * q[3] + p[2] * q[0] + p[3] * q[1],
            p[0] * q[3] + p[1] * q[2] - p[2] * q[1] + p[3] * q[0],
        ]
    )


def conjugate(q: Floats) -> Floats:
    """Inverse of unit quaternions (4, n)."""
    return np.stack([q[0], -q[1], -q[2], -q[3]])


def to_matrix(q: Floats) -> Floats:
    """Matrices (n, 3, 3) of unit quaternions (4, n), as SPICE's ``q2m``; each element contiguous over n."""
    w, x, y, z = q
    rows = (
        (1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y - w * z), 2.0 * (x * z + w * y)),
        (2.0 * (x * y + w * z), 1.0 - 2.0 * (x * x + z * z), 2.0 * (y * z - w * x)),
        (2.0 * (x * z - w * y), 2.0 * (y * z + w * x), 1.0 - 2.0 * (x * x + y * y)),
    )
    return np.moveaxis(np.array(rows), (0, 1), (-2, -1))


def to_quaternion(matrix: Floats) -> Floats:
    """Quaternions (4, n), scalar first and not negative, of rotation matrices (n, 3, 3); NaN stays NaN."""
    m = np.moveaxis(matrix, (-2, -1), (0, 1))
    trace = m[0, 0] + m[1, 1] + m[2, 2]
    # Of four equivalent forms the one with the largest divisor keeps all digits.
    squares = np.stack([1.0 + trace, *(1.0 + 2.0 * m[i, i] - trace for i in range(3))])
    best = np.argmax(np.nan_to_num(squares), axis=0)
    a, b, c = m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1]
    d, e, f = m[0, 1] + m[1, 0], m[0, 2] + m[2, 0], m[1, 2] + m[2, 1]
    forms = np.stack(
        [
            np.stack([squares[0], a, b, c]),
            np.stack([a, squares[1], d, e]),
            np.stack([b, d, squares[2], f]),
            np.stack([c, e, f, squares[3]]),
        ]
    )
    q = np.take_along_axis(forms, best[None, None], axis=0)[0]
    q = q / np.sqrt((q * q).sum(axis=0))
    return np.where(q[0] < 0.0, -q, q)


def compose(left: Floats, right: Floats) -> Floats:
    """Matrix products (n, 3, 3), written out so that a sample's result does not depend on how many there are."""
    a, b = np.moveaxis(left, (-2, -1), (0, 1)), np.moveaxis(right, (-2, -1), (0, 1))
    rows = [[a[i, 0] * b[0, j] + a[i, 1] * b[1, j] + a[i, 2] * b[2, j] for j in range(3)] for i in range(3)]
    return np.moveaxis(np.array(rows), (0, 1), (-2, -1))


def apply(matrix: Floats, vectors: Floats) -> Floats:
    """Matrices (n, 3, 3) times vectors (n, 3), summed in a fixed order."""
    m, (x, y, z) = np.moveaxis(matrix, (-2, -1), (0, 1)), np.moveaxis(vectors, -1, 0)
    return np.stack([m[i, 0] * x + m[i, 1] * y + m[i, 2] * z for i in range(3)], axis=-1)
