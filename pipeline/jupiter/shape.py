"""The ellipsoid of Jupiter and of other bodies: longitudes, latitudes, altitudes.

Positions are body-fixed and in km. Longitudes are degrees east (right-handed), 0 to 360; `west` turns them into
System III as the community counts it. The ellipsoid is a spheroid about Z: equatorial and polar radius.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

# 1 bar level, IAU Working Group 2009 (pck00010.tpc), km.
EQUATORIAL_RADIUS = 71492.0
POLAR_RADIUS = 66854.0
RADII = (EQUATORIAL_RADIUS, POLAR_RADIUS)


def longitude_latitude(position: ArrayLike) -> tuple[Floats, Floats, Floats]:
    """East longitude and planetocentric latitude in degrees, and distance from the centre in km, of (..., 3)."""
    x, y, z = np.moveaxis(np.asarray(position, np.float64), -1, 0)
    across = np.hypot(x, y)
    return np.degrees(np.arctan2(y, x)) % 360.0, np.degrees(np.arctan2(z, across)), np.hypot(across, z)


def rectangular(longitude: ArrayLike, latitude: ArrayLike, distance: ArrayLike) -> Floats:
    """Inverse of `longitude_latitude`."""
    lon, lat, r = np.broadcast_arrays(np.radians(longitude), np.radians(latitude), np.asarray(distance, np.float64))
    return np.stack([r * np.cos(lat) * np.cos(lon), r * np.cos(lat) * np.sin(lon), r * np.sin(lat)], axis=-1)


def west(longitude: ArrayLike) -> Floats:
    """West longitude (System III of the left-handed kind) of an east longitude, and back; degrees, 0 to 360."""
    return np.asarray(-np.asarray(longitude, np.float64) % 360.0)


def planetographic(latitude: ArrayLike, radii: tuple[float, float] = RADII) -> Floats:
    """Planetographic latitude of a point *on the ellipsoid* from its planetocentric latitude, degrees."""
    ratio = (radii[0] / radii[1]) ** 2
    lat = np.radians(np.asarray(latitude, np.float64))
    return np.degrees(np.arctan2(ratio * np.sin(lat), np.cos(lat)))


def planetocentric(latitude: ArrayLike, radii: tuple[float, float] = RADII) -> Floats:
    """Inverse of `planetographic`."""
    return planetographic(latitude, (radii[1], radii[0]))


def surface_radius(latitude: ArrayLike, radii: tuple[float, float] = RADII) -> Floats:
    """Distance of the ellipsoid from the centre at a planetocentric latitude, km."""
    lat = np.radians(np.asarray(latitude, np.float64))
    return np.asarray(1.0 / np.hypot(np.cos(lat) / radii[0], np.sin(lat) / radii[1]))


def nearest_point(position: ArrayLike, radii: tuple[float, float] = RADII) -> tuple[Floats, Floats]:
    """Point of the ellipsoid nearest to a position, and the altitude above it.

    Newton's method on the scale ``s`` of ``(rho a / (a^2 + s), z b / (b^2 + s))`` on the unit circle, which converges
    from below for points outside (Eberly, "Distance from a point to an ellipse").

    Parameters
    ----------
    position : km (..., 3), outside the ellipsoid or not deeper than its evolute.

    Returns
    -------
    tuple
        point km (..., 3) and altitude km (...), negative inside.
    """
    x, y, z = np.moveaxis(np.asarray(position, np.float64), -1, 0)
    a, b = radii
    rho = np.hypot(x, y)
    # The foot of the radius vector is inside the solution, so Newton's steps are monotonic from there.
    scale = np.hypot(rho / a, z / b)
    s = np.minimum(a, b) ** 2 * np.minimum(scale - 1.0, 0.0)
    s = np.where(scale > 1.0, np.minimum(a, b) * (np.hypot(rho, z) - np.maximum(a, b)).clip(0.0), s)
    for _ in range(40):
        u, w = rho * a / (a * a + s), z * b / (b * b + s)
        slope = 2.0 * (u * u / (a * a + s) + w * w / (b * b + s))
        change = (u * u + w * w - 1.0) / slope
        # A point that has converged stays, so that it does not depend on the others of the call.
        change = np.where(np.abs(change) > 1e-14 * (a * a + np.abs(s)), change, 0.0)
        if not change.any():
            break
        s = s + change
    along, up = a * a / (a * a + s), b * b / (b * b + s)
    point = np.stack([x * along, y * along, z * up], axis=-1)
    altitude = np.hypot(rho * (1.0 - along), z * (1.0 - up)) * np.where(scale >= 1.0, 1.0, -1.0)
    return point, altitude


def normal(point: ArrayLike, radii: tuple[float, float] = RADII) -> Floats:
    """Outward unit normal at points of the ellipsoid, (..., 3)."""
    scaled = np.asarray(point, np.float64) / np.array([radii[0] ** 2, radii[0] ** 2, radii[1] ** 2])
    x, y, z = np.moveaxis(scaled, -1, 0)
    return np.asarray(scaled / np.sqrt(x * x + y * y + z * z)[..., None])
