"""What a line of sight meets: points on a planet's ellipsoid and how they are seen and lit.

The observer sees the target where it was when the light left it, turned as it was then, and displaced by its own motion
(stellar aberration). ``LT+S`` corrects for both, as SPICE does, by default: at 270 000 km light takes 0.9 s, in which
Jupiter turns by 0.009 degree, and at 58 km/s aberration is 1.9e-4 rad. The Sun in the photometric angles is where it
is at the time of observation: the time of light moves it by less than 1e-4 rad.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.geometry.attitude import apply
from pipeline.geometry.model import CENTER, Geometry
from pipeline.jupiter.rotation import orientations
from pipeline.jupiter.shape import RADII, longitude_latitude, normal, planetographic

Floats = NDArray[np.float64]
Correction = Literal["LT+S", "LT", "NONE"]

LIGHT = 299792.458
# The time of light to the surface converges by v/c a step.
LIGHT_STEPS = 3


@dataclass(frozen=True, eq=False)
class Surface:
    """Points where lines of sight meet the ellipsoid, all of the shape of the lines; NaN where they miss it.

    Parameters
    ----------
    point : body-fixed, km (..., 3).
    longitude_east, latitude_planetocentric, latitude_planetographic : degrees.
    emission, incidence, phase : degrees.
    range : from the observer, km.
    """

    point: Floats
    longitude_east: Floats
    latitude_planetocentric: Floats
    latitude_planetographic: Floats
    emission: Floats
    incidence: Floats
    phase: Floats
    range: Floats


def intercept(origin: Floats, direction: Floats, radii: tuple[float, float] = RADII) -> Floats:
    """First point of a ray on a spheroid, km (..., 3), NaN where it misses or the spheroid lies behind.

    Parameters
    ----------
    origin, direction : body-fixed, (..., 3); the direction of any length.
    radii : equatorial and polar, km.
    """
    return origin + _distance(origin, direction, radii)[..., None] * direction


def _distance(origin: Floats, direction: Floats, radii: tuple[float, float]) -> Floats:
    """Way to the first point, in lengths of the direction."""
    scale = np.array([radii[0], radii[0], radii[1]])
    p, d = origin / scale, direction / scale
    dd, pd, pp = _dot(d, d), _dot(p, d), _dot(p, p)
    with np.errstate(invalid="ignore"):
        # The distance of the line from the centre of the unit sphere, which keeps its digits far away.
        nearest = p - (pd / dd)[..., None] * d
        root = np.sqrt((1.0 - _dot(nearest, nearest)) / dd)
        distance = np.where(pp > 1.0, -pd / dd - root, -pd / dd + root)
        return np.where(distance >= 0.0, distance, np.nan)


def surface_points(
    geometry: Geometry,
    et: ArrayLike,
    directions: ArrayLike,
    *,
    frame: str = "J2000",
    correction: Correction = "LT+S",
    target: str = CENTER,
    radii: tuple[float, float] = RADII,
) -> Surface:
    """Where lines of sight from Juno meet a body.

    Parameters
    ----------
    et : times of observation (n).
    directions : lines of sight as they are seen, (n, ..., 3), along the axes of `frame` at `et`.
    correction : ``LT+S`` light time and stellar aberration, ``LT`` light time alone, ``NONE``.
    target, radii : body (of which the frame ``IAU_<target>`` is known) and its radii.
    """
    times = np.atleast_1d(np.asarray(et, np.float64))
    looks = np.asarray(directions, np.float64)
    extra = looks.ndim - 2
    juno = geometry.position("J2000", times, observer=target)
    looks = apply(_spread(geometry.rotation(frame, "J2000", times), extra), looks)
    looks = looks / np.sqrt(_dot(looks, looks))[..., None]
    if correction == "LT+S":
        looks = _unaberrated(looks, _rows(geometry.velocity("J2000", times, observer="SSB"), extra))
    # All in the body's frame as it was when light left its near side; the ellipsoid looks the same at any turn.
    near = np.zeros(times.shape)
    if correction != "NONE":
        near = np.maximum(np.sqrt(_dot(juno, juno)) - radii[0], 0.0) / LIGHT
    turn = geometry.rotation("J2000", f"IAU_{target}", times - near)
    sun = geometry.position("J2000", times, target="SUN", observer=target)
    drift = geometry.velocity("J2000", times, target=target, observer="SSB")
    juno, sun, drift = (_rows(apply(turn, v), extra) for v in (juno, sun, drift))
    looks = apply(_spread(turn, extra), looks)
    early = near.reshape(-1, *[1] * extra)
    delay = np.broadcast_to(early, looks.shape[:-1])
    for _ in range(1 if correction == "NONE" else LIGHT_STEPS):
        # The body was elsewhere on its way when the light left it.
        observer = juno + delay[..., None] * drift
        distance = _distance(observer, looks, radii)
        if correction != "NONE":
            delay = np.where(np.isfinite(distance), distance / LIGHT, delay)
    point = observer + distance[..., None] * looks
    seen = _seen(point, observer, sun + delay[..., None] * drift, radii)
    later = np.degrees(orientations()[target].rate) * (delay - early)
    # It turned on before the light from its near side left.
    longitude = (seen.longitude_east + later) % 360.0
    c, s = np.cos(np.radians(later)), np.sin(np.radians(later))
    x, y = c * point[..., 0] - s * point[..., 1], s * point[..., 0] + c * point[..., 1]
    return replace(seen, point=np.stack([x, y, point[..., 2]], axis=-1), longitude_east=longitude)


def _seen(point: Floats, observer: Floats, sun: Floats, radii: tuple[float, float]) -> Surface:
    longitude, latitude, _ = longitude_latitude(point)
    up = normal(point, radii)
    away, light = observer - point, sun - point
    return Surface(
        point,
        longitude,
        latitude,
        planetographic(latitude, radii),
        _angle(up, away),
        _angle(up, light),
        _angle(away, light),
        np.sqrt(_dot(away, away)),
    )


def _unaberrated(looks: Floats, velocity: Floats) -> Floats:
    """Directions less stellar aberration: what is seen at u came from where u - v/c points (first order)."""
    true = looks - velocity / LIGHT
    return true / np.sqrt(_dot(true, true))[..., None]


def _rows(vectors: Floats, extra: int) -> Floats:
    return vectors.reshape(vectors.shape[0], *[1] * extra, 3)


def _spread(matrices: Floats, extra: int) -> Floats:
    return matrices.reshape(matrices.shape[0], *[1] * extra, 3, 3)


def _dot(a: Floats, b: Floats) -> Floats:
    return np.asarray(a[..., 0] * b[..., 0] + a[..., 1] * b[..., 1] + a[..., 2] * b[..., 2])


def _angle(a: Floats, b: Floats) -> Floats:
    """Angle between vectors, degrees; exact also where it is small."""
    cross = np.cross(a, b)
    return np.degrees(np.arctan2(np.sqrt(_dot(cross, cross)), _dot(a, b)))
