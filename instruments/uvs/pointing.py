"""Where the slit looks: mirror, slit and spin to directions, points 400 km above Jupiter, and time of dwell.

Directions are along the axes of JUNO_UVS for the mirror at zero (boresight +X, slit along +Z), the frame that
`Geometry` knows. At a mirror angle the frame is turned by it about +Y, then about +X (juno_v12.tf).
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from calibration.tables import Table
from instruments.uvs.layout import EMISSION_ALTITUDE, Array
from pipeline.geometry import Geometry
from pipeline.geometry.surface import Surface, surface_points
from pipeline.jupiter.shape import RADII

FRAME = "JUNO_UVS"
ABOVE = (RADII[0] + EMISSION_ALTITUDE, RADII[1] + EMISSION_ALTITUDE)


def mirror_angle(raw: xr.Dataset, et: Array, pointing: Table) -> Array:
    """Angle of the scan mirror at times in degrees: telemetered, linear between rows, plus the table's offset."""
    if raw.sizes.get("mirror", 0) == 0:
        return np.full(et.shape, np.nan)
    known = np.interp(et, raw["mirror_et"].values, raw["mirror_angle"].values)
    return known + float(pointing["mirror_offset"].value)


def _back(v: Array, angle: Array) -> Array:
    """Vectors (..., 3) of the turned frame along the axes of the one at zero; angle in degrees (...)."""
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    x, y, z = np.moveaxis(v, -1, 0)
    y, z = c * y - s * z, s * y + c * z
    return np.stack([c * x + s * z, y, -s * x + c * z], axis=-1)


def directions(mirror: Array, along: Array, turn: float = 0.0) -> Array:
    """Lines of sight (..., 3) of places along the slit.

    Parameters
    ----------
    mirror, along : angles in degrees, of the mirror and along the slit, of one shape.
    turn : degrees about +Z.
    """
    offset = np.radians(along)
    look = _back(np.stack([np.cos(offset), np.zeros_like(offset), np.sin(offset)], axis=-1), mirror)
    c, s = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    x, y, z = np.moveaxis(look, -1, 0)
    return np.stack([c * x - s * y, s * x + c * y, z], axis=-1)


def points(geometry: Geometry, et: Array, looks: Array) -> Surface:
    """What lines of sight (n, ..., 3) meet 400 km above the ellipsoid; NaN where they miss it."""
    return surface_points(geometry, et, looks, frame=FRAME, radii=ABOVE)


def spin_rate(geometry: Geometry, et: Array) -> Array:
    """Degrees per second, over a second about each time."""
    before, after = (geometry.spin_phase(et + shift) for shift in (-0.5, 0.5))
    return np.asarray((after - before + 180.0) % 360.0 - 180.0)


def dwell(geometry: Geometry, et: Array, mirror: Array, along: Array, width: Array) -> Array:
    """Seconds for which a point of the sky is within the slit: its width over the speed across it.

    The speed is the spin rate times the part of ``axis x look`` across the slit. For an axis along the slit that is
    ``cos(mirror)^2`` in its middle: the spin's circle is smaller there, and the mirror turned the slit against it too.

    Parameters
    ----------
    et, mirror, along, width : times, angles of mirror and place along the slit, width of the slit there, degrees (n).
    """
    axis = geometry.rotation("JUNO_SPACECRAFT", FRAME, et[:1])[0, :, 2]
    look = directions(mirror, along)
    across = _back(np.broadcast_to([0.0, 1.0, 0.0], look.shape), mirror)
    moved = np.stack(
        [axis[1] * look[:, 2] - axis[2] * look[:, 1], axis[2] * look[:, 0] - axis[0] * look[:, 2],
         axis[0] * look[:, 1] - axis[1] * look[:, 0]], axis=-1,
    )  # fmt: skip
    speed = np.abs((moved * across).sum(axis=-1) * spin_rate(geometry, et))
    return np.asarray(width / speed)


def spins(geometry: Geometry, et: Array) -> NDArray[np.int64]:
    """Number of the spin of each of consecutive times; one begins where the spin phase passes zero."""
    phase = geometry.spin_phase(et)
    return np.append(0, np.cumsum(np.diff(phase) < -180.0)).astype(np.int64)
