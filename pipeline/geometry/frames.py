"""Frames fixed to the spacecraft or to a body, as the frames kernel defines them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.clock import read_csv
from pipeline.errors import GeometryError

Floats = NDArray[np.float64]
SPACECRAFT = "JUNO_SPACECRAFT"
# Built from vectors (frames kernel, class 5): primary axis and vector, secondary axis and vector.
DYNAMIC = ("JUNO_JSS", "JUNO_JSO", "JUNO_JH", "JUNO_SUN_EQU_RTN")
OBLIQUITY = np.radians(84381.448 / 3600.0)


@dataclass(frozen=True)
class FixedFrame:
    """A frame of constant orientation relative to another one.

    Parameters
    ----------
    values, axes : three angles in degrees and their axes (1 to 3), or nine elements, columns first, and no axes; of the
        rotation from this frame to `relative`, as in a frames kernel.
    """

    name: str
    relative: str
    values: tuple[float, ...]
    axes: tuple[int, ...] = ()

    def matrix(self) -> Floats:
        """Rotation from `relative` to this frame, (3, 3)."""
        if not self.axes:
            return _orthogonal(np.reshape(self.values, (3, 3)).T).T
        turns = [axis_rotation(a, np.radians(v)) for a, v in zip(self.axes, self.values, strict=True)]
        return np.asarray((turns[0] @ turns[1] @ turns[2]).T)


def axis_rotation(axis: int, angle: float) -> Floats:
    """Rotation of the coordinate frame about an axis, ``[angle]_axis`` (3, 3)."""
    i, j = axis % 3, (axis + 1) % 3
    m = np.eye(3)
    m[i, i] = m[j, j] = np.cos(angle)
    m[i, j] = np.sin(angle)
    m[j, i] = -m[i, j]
    return m


def _orthogonal(m: Floats) -> Floats:
    """A rotation from one given to few digits, as SPICE sharpens it: first column, third, second."""
    x = m[:, 0] / np.linalg.norm(m[:, 0])
    z = np.cross(x, m[:, 1])
    z = z / np.linalg.norm(z)
    y = np.cross(z, x)
    return np.stack([x, y / np.linalg.norm(y), z], axis=1)


def tabulated() -> dict[str, FixedFrame]:
    """The frames of ``juno_v12.tf`` and what stands for those that only C-kernels give."""
    return {
        row["name"]: FixedFrame(
            row["name"],
            row["relative"],
            tuple(float(v) for v in row["values"].split()),
            tuple(int(a) for a in row["axes"].split()),
        )
        for row in read_csv("frames.csv")
    }


def resolve(frames: Mapping[str, FixedFrame], roots: Iterable[str]) -> dict[str, tuple[str, Floats]]:
    """Chains followed down to the nearest root: frame to (root, rotation from root to frame).

    Frames whose chain ends elsewhere are left out.

    Raises
    ------
    GeometryError
        for a chain that closes on itself.
    """
    ends = set(roots)
    out: dict[str, tuple[str, Floats]] = {}
    for name in frames:
        if name in ends:
            continue
        matrix, at, seen = np.eye(3), name, [name]
        while at not in ends and at in frames:
            matrix, at = matrix @ frames[at].matrix(), frames[at].relative
            if at in seen:
                raise GeometryError(f"frame {name} is defined by itself: {' -> '.join([*seen, at])}")
            seen.append(at)
        if at in ends:
            out[name] = (at, matrix)
    return out


def two_vector(primary: Floats, axis: int, secondary: Floats, other: int) -> Floats:
    """Rotation (n, 3, 3) to the frame whose `axis` is along `primary` and whose `other` axis is nearest to `secondary`.

    Axes are 0 to 2, vectors (n, 3).
    """
    third = 3 - axis - other
    sign = 1.0 if (other - axis) % 3 == 1 else -1.0
    rows: dict[int, Floats] = {axis: _unit(primary)}
    rows[third] = _unit(sign * _cross(rows[axis], secondary))
    rows[other] = sign * _cross(rows[third], rows[axis])
    return np.stack([rows[0], rows[1], rows[2]], axis=-2)


def _unit(v: Floats) -> Floats:
    x, y, z = np.moveaxis(v, -1, 0)
    return np.asarray(v / np.sqrt(x * x + y * y + z * z)[..., None])


def _cross(a: Floats, b: Floats) -> Floats:
    a, b = np.broadcast_arrays(a, b)
    (ax, ay, az), (bx, by, bz) = np.moveaxis(a, -1, 0), np.moveaxis(b, -1, 0)
    return np.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], axis=-1)
