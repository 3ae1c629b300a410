"""The microwave sky of a simulated pass: Jupiter's thermal emission and radiation belts, galaxy and background.

Brightness is in K of the Rayleigh-Jeans law, at MWR's six frequencies. The thermal emission is the published mean; the
belts and the galaxy are of the size and shape known, in simple closed forms: what an instrument makes of them is tested
against these forms, not against the real sky.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

from pipeline.jupiter.shape import EQUATORIAL_RADIUS, RADII

Floats = NDArray[np.float64]

FREQUENCIES = np.array([0.600, 1.248, 2.597, 5.215, 10.004, 21.900])  # GHz
# h/k, K per GHz; temperature of the background (Fixsen 2009, Astrophys. J. 707, 916).
PLANCK_OVER_BOLTZMANN = 0.04799243
BACKGROUND = 2.725
FAR = 1e4  # radii, in place of an infinite path
STEP = 5.0  # degrees between the latitudes of the table

# Rows of the rotation from J2000 to galactic axes (Hipparcos catalogue, vol. 1, section 1.5.3).
GALACTIC = np.array(
    [
        [-0.0548755604, -0.8734370902, -0.4838350155],
        [0.4941094279, -0.4448296300, 0.7469822445],
        [-0.8676661490, -0.1980763734, 0.4559837762],
    ]
)


@cache
def _rows(name: str) -> tuple[tuple[str, ...], Floats]:
    with (Path(__file__).parent / "data" / name).open() as file:
        lines = list(csv.reader(line for line in file if not line.startswith("#")))
    return tuple(lines[0]), np.array(lines[1:], np.float64)


@dataclass(frozen=True)
class Belts:
    """Synchrotron emission: a ring of Gaussian clouds in the plane of the magnetic equator, fixed to System III.

    Parameters
    ----------
    brightness : along a path through the middle of a cloud, K at 1 GHz.
    radius, width : of the ring, and one sigma of a cloud, radii of Jupiter.
    tilt, azimuth : of the magnetic pole: degrees from the pole of rotation, toward this east longitude.
    index : brightness goes with this power of the frequency.
    number : of clouds.
    """

    brightness: float = 150.0
    radius: float = 1.5
    width: float = 0.25
    tilt: float = 10.25
    azimuth: float = 163.62
    index: float = -2.4
    number: int = 20

    def centres(self) -> Floats:
        """Centres of the clouds, System III, radii of Jupiter (number, 3)."""
        angle = 2.0 * np.pi * np.arange(self.number) / self.number
        t, a = np.radians(self.tilt), np.radians(self.azimuth)
        across = np.array([np.cos(t) * np.cos(a), np.cos(t) * np.sin(a), -np.sin(t)])
        along = np.array([-np.sin(a), np.cos(a), 0.0])
        return np.asarray(self.radius * (np.cos(angle)[:, None] * across + np.sin(angle)[:, None] * along))

    def at_1_ghz(self, origin: Floats, direction: Floats, length: Floats) -> Floats:
        """Brightness along paths in System III: from `origin` (n, 3), km, along unit vectors (n, k, 3), K (n, k).

        Parameters
        ----------
        length : of the paths, km (n, k); infinite in the open.
        """
        # Single precision is 1e-6 of the brightness and twice as fast.
        start, looks = origin / EQUATORIAL_RADIUS, [direction[..., i].astype(np.float32) for i in range(3)]
        end = np.minimum(length / EQUATORIAL_RADIUS, FAR).astype(np.float32)
        total, scale = np.zeros(direction.shape[:2], np.float32), np.float32(np.sqrt(2.0) * self.width)
        for centre in self.centres():
            away = (centre - start).astype(np.float32)
            along = looks[0] * away[:, 0, None] + looks[1] * away[:, 1, None] + looks[2] * away[:, 2, None]
            miss = (away * away).sum(axis=1)[:, None] - along * along
            along /= scale
            total += np.exp(-miss / scale**2) * (erf(end / scale - along) + erf(along))
        total *= np.float32(0.5)
        return self.brightness * total.astype(np.float64)


def coefficients() -> Floats:
    """Published c0, c1, c2 of the brightness, K (latitude, channel, 3), every `STEP` degrees from -90."""
    return _rows("jupiter_microwave.csv")[1][:, 1:].reshape(-1, 6, 3)


@dataclass(frozen=True)
class MicrowaveSky:
    """The sky at MWR's frequencies.

    Parameters
    ----------
    table : c0, c1, c2 of the thermal emission, K (latitude, channel, 3), every `STEP` degrees of planetocentric
        latitude from -90 on; linear between. The law is the published one and beyond 53 degrees of emission has the
        published departure from it.
    belts : the radiation belts.
    """

    table: Floats
    belts: Belts = Belts()

    @cached_property
    def _departure(self) -> tuple[Floats, Floats]:
        rows = _rows("jupiter_limb.csv")[1]
        mu = np.cos(np.radians(np.linspace(90.0, 0.0, 361)))
        emission = np.degrees(np.arccos(mu))
        return mu, np.stack([np.interp(emission, rows[:, 0], column) for column in rows[:, 1:].T])

    def thermal(self, latitude: Floats, mu: Floats, channels: tuple[int, ...]) -> Floats:
        """Brightness of Jupiter at planetocentric latitudes, seen at emission angles of cosine `mu`, K (channel, n)."""
        place = (latitude + 90.0) / STEP
        below = np.clip(place.astype(np.intp), 0, len(self.table) - 2)
        part = place - below
        u, v = -(1.0 - mu) / 0.2, 0.5 * (mu - 0.8) * (1.0 - mu) / 0.04
        grid, departures = self._departure
        out = np.empty((len(channels), latitude.size))
        for row, channel in enumerate(channels):
            low, step = self.table[:-1, channel], np.diff(self.table[:, channel], axis=0)
            c0, c1, c2 = (low[below, k] + part * step[below, k] for k in range(3))
            out[row] = c0 + c1 * u + c2 * v + np.interp(mu, grid, departures[channel])
        return out

    def background(self, direction: Floats) -> Floats:
        """Galaxy and cosmic background in directions of J2000 (n, 3), K (channel, n).

        A disc, a bulge and a halo, of the sizes seen at 408 MHz (Haslam et al. 1982, Astron. Astrophys. Suppl. 47, 1),
        with the spectral index -2.7 of the synchrotron emission of the galaxy.
        """
        x, y, z = GALACTIC @ direction.T
        latitude, longitude = np.degrees(np.arcsin(np.clip(z, -1.0, 1.0))), np.degrees(np.arctan2(y, x))
        halo = 15.0 + 10.0 * (1.0 + x) / 2.0
        disc = (60.0 + 140.0 * np.exp(-((longitude / 50.0) ** 2))) * np.exp(-np.abs(latitude) / 4.0)
        at_408 = halo + disc
        quantum = PLANCK_OVER_BOLTZMANN * FREQUENCIES
        cosmic = quantum / np.expm1(quantum / BACKGROUND)
        return cosmic[:, None] + at_408 * (FREQUENCIES[:, None] / 0.408) ** -2.7


def seen(origin: Floats, direction: Floats) -> tuple[Floats, Floats, Floats]:
    """What rays meet: distance to Jupiter (infinite: none), planetocentric latitude and cosine of emission there.

    Light time and aberration are left out, 0.01 degree.

    Parameters
    ----------
    origin : body-fixed, km (n, 3).
    direction : unit vectors (n, k, 3).

    Returns
    -------
    distance, latitude, mu
        km, degrees, each (n, k); NaN where the ray meets nothing.
    """
    scale = 1.0 / np.array([RADII[0], RADII[0], RADII[1]])
    p, d = (origin * scale)[:, None, :], direction * scale
    a = np.einsum("nkx,nkx->nk", d, d)
    b = np.einsum("nkx,nkx->nk", d, np.broadcast_to(p, d.shape))
    c = (p * p).sum(axis=2) - 1.0
    with np.errstate(invalid="ignore"):
        distance = c / (-b + np.sqrt(b * b - a * c))
    distance = np.where(distance > 0.0, distance, np.nan)
    point = origin[:, None, :] + distance[..., None] * direction
    latitude = np.degrees(np.arctan2(point[..., 2], np.hypot(point[..., 0], point[..., 1])))
    up = point * scale**2
    mu = -np.einsum("nkx,nkx->nk", up, direction) / np.sqrt(np.einsum("nkx,nkx->nk", up, up))
    return np.where(np.isnan(distance), np.inf, distance), latitude, mu


def microwave_sky() -> MicrowaveSky:
    """The sky with the published brightness of Jupiter."""
    return MicrowaveSky(coefficients())
