"""The limb of Jupiter: where it should appear in a framelet, and where the picture has it.

The apparent outline of a spheroid is an ellipse in space: in coordinates in which the spheroid is the unit sphere, the
circle along which the tangents from the observer touch it. Light time and stellar aberration displace it as they do the
surface (`pipeline.geometry.surface`); the turn of the planet does not matter.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from instruments.junocam.camera import Camera
from instruments.junocam.layout import ACTIVE_COLUMNS
from pipeline.geometry import Geometry
from pipeline.geometry.attitude import apply
from pipeline.geometry.surface import LIGHT
from pipeline.jupiter.shape import RADII, nearest_point

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

# Points of the outline: less than a pixel apart wherever Juno takes pictures of it, and thinned to one a pixel.
POINTS = 6000
# A profile across the limb reaches so many pixels to either side, in steps.
REACH, STEP = 12.0, 0.25
# Where along it the level of the disc and that of the sky are taken, pixels inward.
DISC, SKY = (3.0, 6.0), (-12.0, -6.0)
# A limb is used where the Sun stands at least so high above it (cosine of the incidence) and the disc is so many times
# as bright as the sky beside it varies.
LIT, CONTRAST = 0.15, 12.0
# Kilometres by which two outlines differ whose images give the direction across the limb.
LIFT = 200.0


@dataclass(frozen=True, eq=False)
class View:
    """Jupiter as Juno sees it at times: what of the geometry does not depend on the attitude.

    Parameters
    ----------
    et : times (n).
    observer : Juno from where Jupiter was when the light left it, km (n, 3), J2000.
    velocity : of Juno relative to the barycentre of the solar system, km/s (n, 3), for aberration.
    sun : direction of the Sun from Jupiter (n, 3).
    drift : velocity of Jupiter relative to that barycentre, km/s (n, 3).
    to_body : rotations from J2000 to IAU_JUPITER when the light left (n, 3, 3).
    """

    et: Floats
    observer: Floats
    velocity: Floats
    sun: Floats
    drift: Floats
    to_body: Floats

    @classmethod
    def at(cls, geometry: Geometry, et: Floats) -> View:
        """The view at times."""
        juno = geometry.position("J2000", et)
        delay = (np.linalg.norm(juno, axis=1) - RADII[0]) / LIGHT
        drift = geometry.velocity("J2000", et, target="JUPITER", observer="SSB")
        sun = geometry.position("J2000", et, target="SUN")
        return cls(
            et,
            juno + delay[:, None] * drift,
            geometry.velocity("J2000", et, observer="SSB"),
            sun / np.linalg.norm(sun, axis=1)[:, None],
            drift,
            geometry.rotation("J2000", "IAU_JUPITER", et - delay),
        )

    def one(self, index: int) -> View:
        """The view at one of the times."""
        return View(*(getattr(self, name)[index : index + 1] for name in View.__dataclass_fields__))

    def outline(self, height: float) -> tuple[Floats, Floats]:
        """Directions in J2000 in which the limb of a given height is seen, and cosines of the incidence there.

        Parameters
        ----------
        height : of the limb above the 1 bar level, km.

        Returns
        -------
        tuple
            unit vectors (n, `POINTS`, 3) and cosines (n, `POINTS`).
        """
        radii = np.array([RADII[0], RADII[0], RADII[1]]) + height
        observer = apply(self.to_body, self.observer)
        p = observer / radii
        square = (p * p).sum(axis=1)[:, None]
        first = np.cross(p, [0.0, 0.0, 1.0])
        first /= np.linalg.norm(first, axis=1)[:, None]
        second = np.cross(p / np.sqrt(square), first)
        angle = np.arange(POINTS) * (2.0 * np.pi / POINTS)
        ring = np.cos(angle)[:, None] * first[:, None] + np.sin(angle)[:, None] * second[:, None]
        point = (p / square)[:, None] + np.sqrt(1.0 - 1.0 / square)[..., None] * ring
        normal = point / radii
        normal /= np.linalg.norm(normal, axis=-1)[..., None]
        lit = np.einsum("nmx,nx->nm", normal, apply(self.to_body, self.sun))
        true = np.einsum("nyx,nmy->nmx", self.to_body, point * radii - observer[:, None])
        true /= np.linalg.norm(true, axis=-1)[..., None]
        seen = true + self.velocity[:, None] / LIGHT
        return seen / np.linalg.norm(seen, axis=-1)[..., None], lit

    def passing(self, index: NDArray[np.intp], seen: Floats) -> tuple[Floats, Floats]:
        """Where lines of sight pass Jupiter: points of the 1 bar level (k, 3) and heights above, km (k).

        The height is negative where a line meets the planet.

        Parameters
        ----------
        index : of the time of each line of sight (k).
        seen : directions as seen, J2000 (k, 3).
        """
        true = seen - self.velocity[index] / LIGHT
        true /= np.linalg.norm(true, axis=1)[:, None]
        turn = self.to_body[index]
        radii = np.array([RADII[0], RADII[0], RADII[1]])
        observer, look = apply(turn, self.observer[index]), apply(turn, true)
        p, d = observer / radii, look / radii
        along = -(p * d).sum(axis=1) / (d * d).sum(axis=1)
        return nearest_point(observer + along[:, None] * look)


@dataclass(frozen=True, eq=False)
class Edges:
    """Places on the limb as measured in the framelets of an image, all (k).

    Parameters
    ----------
    framelet : number of the framelet in the image.
    line, sample : where the brightness is half-way between disc and sky.
    across : unit vectors (k, 2) in line and sample that point from the disc to the sky.
    noise : uncertainty of the place along them from the noise of the pixels, pixels.
    """

    framelet: NDArray[np.intp]
    line: Floats
    sample: Floats
    across: Floats
    noise: Floats

    def __len__(self) -> int:
        return int(self.framelet.size)

    def select(self, where: Bools) -> Edges:
        """Those where a condition holds."""
        return Edges(self.framelet[where], self.line[where], self.sample[where], self.across[where], self.noise[where])


def join(parts: list[Edges]) -> Edges:
    """All edges of several framelets."""
    if not parts:
        return Edges(np.zeros(0, np.intp), np.zeros(0), np.zeros(0), np.zeros((0, 2)), np.zeros(0))
    return Edges(*(np.concatenate([getattr(p, n) for p in parts]) for n in Edges.__dataclass_fields__))


def expected(camera: Camera, filter_: str, seen: Floats, higher: Floats, lit: Floats) -> tuple[Floats, Floats, Floats]:
    """Lit limb in a framelet: line, sample and direction outward (k, 2), one place a pixel.

    Parameters
    ----------
    seen, higher : outlines at the limb's height and `LIFT` above, along the axes of the camera, (m, 3).
    lit : cosines of the incidence (m).
    """
    line, sample = camera.project(seen, filter_)
    lines = camera.shape[0]
    with np.errstate(invalid="ignore"):
        inside = (line > 0.0) & (line < lines - 1.0) & (lit > LIT)
        inside &= (sample * camera.summing > ACTIVE_COLUMNS[0]) & (sample * camera.summing < ACTIVE_COLUMNS[1] - 2)
    line, sample = line[inside], sample[inside]
    other = camera.project(higher[inside], filter_)
    across = np.stack([other[0] - line, other[1] - sample], axis=-1)
    across /= np.linalg.norm(across, axis=1)[:, None]
    step = np.hypot(np.diff(line, prepend=np.inf), np.diff(sample, prepend=np.inf))
    kept = np.diff(np.floor(np.cumsum(np.minimum(step, 1.0))), prepend=-1.0) > 0
    return line[kept], sample[kept], across[kept]


def measure(picture: Floats, noise: float, number: int, line: Floats, sample: Floats, across: Floats) -> Edges:
    """Find the limb near where it is expected: the outermost place half as bright as the disc just inside.

    Parameters
    ----------
    picture : linear brightness of a framelet, NaN where it is missing or damaged.
    noise : of a dark pixel, in the picture's units.
    number : of the framelet.
    line, sample, across : of `expected`.
    """
    inward = np.arange(-REACH, REACH + STEP, STEP)
    places = np.stack([line, sample])[:, :, None] - across.T[:, :, None] * inward
    inside = ((places[0] >= 0) & (places[0] <= picture.shape[0] - 1)).all(axis=1)
    profile = map_coordinates(picture, places[:, inside].reshape(2, -1), order=1, cval=np.nan)
    profile = profile.reshape(-1, inward.size)
    good = np.isfinite(profile).all(axis=1)
    profile, kept = profile[good], np.flatnonzero(inside)[good]
    if not kept.size:
        return join([])
    edge, sigma = _crossing(profile, inward, noise)
    found = np.isfinite(edge)
    kept, edge = kept[found], edge[found]
    place = np.stack([line, sample])[:, kept] - across[kept].T * edge
    return Edges(np.full(kept.size, number, np.intp), place[0], place[1], across[kept], sigma[found])


def _crossing(profile: Floats, inward: Floats, noise: float) -> tuple[Floats, Floats]:
    """Where along profiles (k, m) the limb lies, pixels inward, and its noise; NaN where there is none.

    The level of the disc is taken just inside of the crossing itself, in a second step.
    """
    rows = np.arange(len(profile))
    sky = np.median(profile[:, inward <= SKY[1]], axis=1)
    spread = np.maximum(np.median(np.abs(profile[:, inward <= SKY[1]] - sky[:, None]), axis=1), noise)
    edge = np.zeros(len(profile))
    disc = np.median(profile[:, inward >= DISC[1]], axis=1)
    slope = np.ones(len(profile))
    for _ in range(3):
        half = 0.5 * (sky + disc)
        above = profile >= half[:, None]
        first = np.clip(np.argmax(above, axis=1), 1, inward.size - 1)
        rise = profile[rows, first] - profile[rows, first - 1]
        with np.errstate(invalid="ignore", divide="ignore"):
            edge = inward[first] - STEP * (profile[rows, first] - half) / rise
        crossed = above.any(axis=1) & ~above[:, 0] & (rise > 0)
        edge = np.where(crossed, edge, np.nan)
        window = (inward > edge[:, None] + DISC[0]) & (inward < edge[:, None] + DISC[1])
        count = window.sum(axis=1)
        disc = np.where(count > 0, (profile * window).sum(axis=1) / np.maximum(count, 1), np.nan)
        slope = rise / STEP
    contrast = disc - sky
    with np.errstate(invalid="ignore"):
        good = (contrast > CONTRAST * spread) & (sky < 0.25 * disc) & (slope > 0.1 * contrast)
    return np.where(good, edge, np.nan), noise / np.where(good, slope, 1.0)
