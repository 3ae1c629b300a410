"""The beam on the sky: rays with weights, what they meet, and what that makes of models of the sky (README.md, step 7).

Everything is evaluated on grids of times on whole multiples in et and carried to the records, averaged over
their 100 ms, so that it does not depend on where a segment begins.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

from calibration.tables import Table
from instruments.mwr.layout import RECEIVERS
from instruments.mwr.radiometer import Array, brightness
from pipeline.errors import CalibrationError
from pipeline.geometry import Geometry
from pipeline.jupiter.shape import EQUATORIAL_RADIUS, RADII

# Seconds between the times at which the sky is evaluated, 2.4 degrees of spin; the belts, which matter in the wide
# beams of C1 and C2 alone, half as often.
KNOT, BELT_KNOT = 0.2, 0.4
# Half the length of a record.
HALF = 0.05
# Rings of rays: edges of panels in degrees from the boresight, Gauss-Legendre nodes in each, rays on a ring.
PANELS = (
    (0, 4, 2, 8), (4, 9, 2, 14), (9, 16, 2, 20), (16, 26, 2, 24), (26, 45, 2, 24), (45, 90, 3, 24), (90, 180, 3, 16),
)  # fmt: skip
# Narrower beams, degrees, fall between the rays.
NARROWEST = 4.0
# Widths of a cloud, in place of an infinite path.
OPEN = 1e4
# J2000 to galactic axes (Hipparcos catalogue, vol. 1, section 1.5.3, eq. 1.5.11, transposed).
GALACTIC = np.array(
    [
        [-0.0548755604, -0.8734370902, -0.4838350155],
        [0.4941094279, -0.4448296300, 0.7469822445],
        [-0.8676661490, -0.1980763734, 0.4559837762],
    ]
)


@dataclass(frozen=True)
class Rays:
    """Directions of an antenna's frame (k, 3), boresight +Z, and weights of the beams, (receiver, k), which sum to 1.

    `moved` are the weights of beams that are one sigma wider, and of beams whose sidelobes are one sigma stronger.
    """

    directions: Array
    weights: Array
    moved: tuple[Array, ...]


def rays(beam: Table, finer: int = 1) -> Rays:
    """Quadrature over the sphere: Gauss-Legendre in the angle from the boresight, even in azimuth.

    Parameters
    ----------
    finer : times as many nodes in each panel, and times as many rays on a ring.

    Raises
    ------
    CalibrationError
        for a beam without width, which rays cannot resolve, or nodes that do not ascend.
    """
    if not (beam["half_power_width"].value > NARROWEST).all() or not (np.diff(beam["angle"].value) > 0.0).all():
        raise CalibrationError(f"table mwr.beam: widths above {NARROWEST:g} degrees, ascending angles are expected")
    theta, solid, azimuth = [], [], []
    for number, (low, high, few, sparse) in enumerate(PANELS):
        nodes, around = finer * few, finer * sparse
        x, w = np.polynomial.legendre.leggauss(nodes)
        at = np.radians((high - low) / 2.0 * x + (high + low) / 2.0)
        weight = np.radians((high - low) / 2.0) * w * np.sin(at) * 2.0 * np.pi / around
        for k in range(nodes):
            theta.append(np.full(around, at[k]))
            solid.append(np.full(around, weight[k]))
            azimuth.append(2.0 * np.pi * (np.arange(around) + 0.38 * (number + k)) / around)
    t, s, a = (np.concatenate(part) for part in (theta, solid, azimuth))
    directions = np.stack([np.sin(t) * np.cos(a), np.sin(t) * np.sin(a), np.cos(t)], axis=1)
    decibels = np.stack([np.interp(np.degrees(t), beam["angle"].value, row) for row in beam["floor"].value])

    def weights(width: Array, scale: Array) -> Array:
        main = np.exp(-4.0 * np.log(2.0) * (np.degrees(t) / width[:, None]) ** 2)
        pattern = (main + scale[:, None] * 10.0 ** (decibels / 10.0)) * s
        return np.asarray(pattern / pattern.sum(axis=1, keepdims=True))

    width, scale = beam["half_power_width"], beam["floor_scale"]
    moved = weights(width.value + width.sigma, scale.value), weights(width.value, scale.value + scale.sigma)
    return Rays(directions, weights(width.value, scale.value), moved)


def boresights(geometry: Geometry) -> list[tuple[str, list[int]]]:
    """Frames of the antennas that look different ways, each with the receivers whose antennas look that way."""
    found: list[tuple[str, list[int], Array]] = []
    for n in range(RECEIVERS):
        matrix = geometry.rotation(f"JUNO_MWR_A{n + 1}", "JUNO_SPACECRAFT", [0.0])[0]
        same = next((f for f in found if np.array_equal(f[2], matrix)), None)
        if same is None:
            found.append((f"JUNO_MWR_A{n + 1}", [n], matrix))
        else:
            same[1].append(n)
    return [(frame, receivers) for frame, receivers, _ in found]


def looks(geometry: Geometry, frame: str, to: str, et: Array, directions: Array) -> Array:
    """Directions of an antenna's frame along the axes of another, (3, n, k), components apart."""
    turn = geometry.rotation(frame, to, et)
    x, y, z = directions.T
    return np.stack([turn[:, i, 0, None] * x + turn[:, i, 1, None] * y + turn[:, i, 2, None] * z for i in range(3)])


@dataclass(frozen=True)
class Met:
    """What rays meet, (n, k): distance in km (infinite: nothing), planetocentric latitude, cosine of emission.

    Geometric: light time and aberration (0.01 degree) are far below the width of a beam.
    """

    distance: Array
    latitude: Array
    mu: Array

    @property
    def hit(self) -> NDArray[np.bool_]:
        """Whether a ray meets the planet."""
        return np.isfinite(self.distance)


def meet(position: Array, look: Array) -> Met:
    """Where rays from positions (n, 3), km, in directions (3, n, k) meet the ellipsoid; System III."""
    a, c = RADII
    p = [position[:, i, None] / r for i, r in enumerate((a, a, c))]
    d = [look[i] / r for i, r in enumerate((a, a, c))]
    dd = d[0] ** 2 + d[1] ** 2 + d[2] ** 2
    pd = p[0] * d[0] + p[1] * d[1] + p[2] * d[2]
    pp = p[0] ** 2 + p[1] ** 2 + p[2] ** 2
    with np.errstate(invalid="ignore"):
        distance = -pd / dd - np.sqrt((pd / dd) ** 2 - (pp - 1.0) / dd)
        distance = np.where(distance > 0.0, distance, np.inf)
        ux, uy, uz = (p[i] + distance * d[i] for i in range(3))
        across = np.hypot(ux, uy)
        # Of a point u of the unit sphere the latitude has tan = (c / a) u_z / u_xy, the normal is (u_xy / a, u_z / c).
        latitude = np.degrees(np.arctan2(c * uz, a * across))
        slope = np.sqrt((ux / a) ** 2 + (uy / a) ** 2 + (uz / c) ** 2)
        mu = -(ux / a * look[0] + uy / a * look[1] + uz / c * look[2]) / slope
    return Met(distance, latitude, mu)


def limb_terms(mu: Array) -> tuple[Array, Array]:
    """What c1 and c2 are multiplied by: ``-(1 - mu) / 0.2`` and ``(mu - 0.8) (1 - mu) / 0.08``.

    Oyafuso et al. 2020, Earth and Space Science 7, e2020EA001254; Fletcher et al. 2021.
    """
    return -(1.0 - mu) / 0.2, (mu - 0.8) * (1.0 - mu) / 0.08


def departure(limb: Table, receiver: int, mu: Array) -> Array:
    """What the published brightness has more than the law of c0, c1, c2 at large emission angles, K."""
    emission = np.degrees(np.arccos(np.clip(mu, -1.0, 1.0)))
    value = np.interp(emission, limb["emission"].value, limb["departure"].value[receiver])
    return np.asarray(limb["departure_scale"].value[receiver] * value)


def galaxy(look: Array, sky: Table) -> Array:
    """Brightness of the galaxy at 408 MHz in directions of J2000 (3, n, k), K (README.md, step 7)."""
    along, across, north = (row[0] * look[0] + row[1] * look[1] + row[2] * look[2] for row in GALACTIC)
    halo, side, disc, inner = sky["galaxy"].value
    wide, thick = sky["galaxy_shape"].value
    latitude = np.degrees(np.arcsin(np.clip(north, -1.0, 1.0)))
    longitude = np.degrees(np.arctan2(across, along))
    return np.asarray(
        halo + side * (1.0 + along) / 2.0
        + (disc + inner * np.exp(-((longitude / wide) ** 2))) * np.exp(-np.abs(latitude) / thick)
    )  # fmt: skip


def belts(position: Array, look: Array, distance: Array, sky: Table) -> Array:
    """Brightness of the radiation belts at 1 GHz along rays, K (n, k): a ring of Gaussian clouds in closed form.

    In the frame of the dipole the ring lies in the plane z = 0. A cloud of width s at a distance m from the ray,
    abreast of it after l, gives ``exp(-m^2 / 2 s^2) (erf(l / s sqrt 2) + erf((D - l) / s sqrt 2)) / 2``
    up to a distance D.
    """
    tilt, azimuth = np.radians(float(sky["belts_tilt"].value)), np.radians(float(sky["belts_azimuth"].value))
    st, ct, sa, ca = np.sin(tilt), np.cos(tilt), np.sin(azimuth), np.cos(azimuth)
    axes = ((ct * ca, ct * sa, -st), (-sa, ca, 0.0), (st * ca, st * sa, ct))
    p = [sum(axes[i][j] * position[:, j] for j in range(3)) / EQUATORIAL_RADIUS for i in range(3)]
    d = [axes[i][0] * look[0] + axes[i][1] * look[1] + axes[i][2] * look[2] for i in range(3)]
    width, radius = float(sky["belts_width"].value), float(sky["belts_radius"].value)
    unit = width * np.sqrt(2.0)
    # Single precision is 1e-6 of the brightness and twice as fast.
    reach = np.minimum(distance / (EQUATORIAL_RADIUS * unit), OPEN).astype(np.float32)
    total = np.zeros(distance.shape, np.float32)
    ahead = [part.astype(np.float32) for part in d]
    clouds = int(sky["belts_clouds"].value)
    for phase in 2.0 * np.pi * np.arange(clouds) / clouds:
        centre = (radius * np.cos(phase) - p[0], radius * np.sin(phase) - p[1], -p[2])
        x, y, z = ((part / unit).astype(np.float32)[:, None] for part in centre)
        abreast = x * ahead[0] + y * ahead[1] + z * ahead[2]
        total += np.exp(abreast * abreast - (x * x + y * y + z * z)) * (erf(abreast) + erf(reach - abreast))
    return float(sky["belts_scale"].value) * float(sky["belts"].value) * 0.5 * total.astype(np.float64)


def cosmic(sky: Table, frequency: Array) -> Array:
    """Rayleigh-Jeans brightness of the cosmic background (receiver): 2.711 K at 0.6 GHz, 2.235 K at 21.9 GHz."""
    return brightness(sky["background"].value, frequency)


def weighted(values: Array, weights: Array) -> Array:
    """Sums over the rays, (n): of (n, k) by (k)."""
    return np.asarray((values * weights).sum(axis=1))


@dataclass(frozen=True)
class Knots:
    """A grid of times that covers records, and how values on it become means over the records."""

    et: Array
    records: Array
    step: float

    @classmethod
    def around(cls, records: Array, step: float) -> Knots:
        """Knots on whole multiples of a step, of which four surround every record."""
        near = np.floor(records / step).astype(np.int64)
        wanted = np.unique(near[:, None] + np.arange(-2, 4))
        return cls(wanted * step, records, step)

    def mean(self, values: Array) -> Array:
        """Means over 100 ms about the records (m, ...) of values at the knots (n, ...).

        A cubic through four knots, at the two Gauss points of the record.
        """
        total = 0.0
        whole = np.rint(self.et / self.step).astype(np.int64)
        for side in (-1.0, 1.0):
            t = self.records + side * HALF / np.sqrt(3.0)
            first = np.floor(t / self.step).astype(np.int64) - 1
            place = np.searchsorted(whole, first)
            u = t / self.step - first
            weights = (
                -(u - 1.0) * (u - 2.0) * (u - 3.0) / 6.0,
                u * (u - 2.0) * (u - 3.0) / 2.0,
                -u * (u - 1.0) * (u - 3.0) / 2.0,
                u * (u - 1.0) * (u - 2.0) / 6.0,
            )
            shape = (-1, *(1,) * (values.ndim - 1))
            total = total + sum(w.reshape(shape) * values[place + k] for k, w in enumerate(weights))
        return np.asarray(0.5 * total)
