"""The arrays of the simulated instrument: single electrons of stars and particles, whole-row shifts, readout.

Every electron of a star has its own moment, at which the star is somewhere on the array and the charge has been shifted
by a whole number of rows; every particle has a moment, a track and electrons of its own along it. What no table says
(noise of the readout, dark current, sky) is this module's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from instruments.sru.raw import SIZE, Exposure

Floats = NDArray[np.float64]
# Table to quantity to array.
Known = dict[str, dict[str, Floats]]

# Of the array, electrons: noise of the readout, dark current and sky per pixel and second, and hot pixels of each unit.
READ_NOISE, DARK, SKY = 30.0, 40.0, 20.0
HOT_PIXELS, HOT_RATE = 30, (2e3, 4e4)
OFFSET_DRIFT = 3.0  # DN, from image to image
CHUNK = 4_000_000  # electrons at a time


@dataclass(frozen=True)
class Light:
    """What falls into an image without particles.

    Parameters
    ----------
    planet : electrons per pixel and second of Jupiter (512, 512).
    way : seconds after the begin at which stars were followed (m).
    rows, columns : on the array, not moved with the charge (m, n).
    stars : their place in the catalogue (n).
    rate : electrons per second (n).
    """

    planet: Floats
    way: Floats
    rows: Floats
    columns: Floats
    stars: NDArray[np.intp]
    rate: Floats


class Taken(NamedTuple):
    """An image: numbers read out, and electrons of particles and of hot pixels in each pixel."""

    dn: NDArray[np.int16]
    hit: Floats
    hot: Floats


def collecting(shot: Exposure, readout: dict[str, Floats]) -> Floats:
    """Seconds for which each row of the image collects light: with TDI until it has been shifted out."""
    t = np.full(SIZE, shot.seconds)
    if shot.tdi:
        leaving = readout["first_row"] + readout["row_period"] * np.arange(SIZE)
        t = np.where(leaving < shot.seconds, leaving, shot.seconds)
    return t


@dataclass(frozen=True)
class Array:
    """Both units' arrays: hot pixels (unit, place) and their electrons per second, and the tables."""

    hot_row: NDArray[np.intp]
    hot_column: NDArray[np.intp]
    hot_rate: Floats
    known: Known

    @classmethod
    def of(cls, known: Known, rng: Generator) -> Array:
        """Arrays with hot pixels anywhere."""
        shape = (2, HOT_PIXELS)
        low, high = np.log(HOT_RATE)
        rate = np.exp(rng.uniform(low, high, shape))
        return cls(rng.integers(0, 510, shape), rng.integers(2, SIZE, shape), rate, known)

    def shifts(self, shot: Exposure, since: Floats) -> NDArray[np.intp]:
        """Rows by which charge has been moved at moments of the exposure."""
        if not shot.tdi:
            return np.zeros(since.shape, np.intp)
        readout = self.known["readout"]
        return np.floor(since / readout["row_period"] + 1.0 - readout["shift_phase"]).astype(np.intp)

    def gathered(self, shot: Exposure, row: Floats, column: Floats, since: Floats) -> Floats:
        """Electrons that fell at places of the array at moments, by the pixel of the image they end in (512, 512)."""
        r = np.rint(row).astype(np.intp) + self.shifts(shot, since)
        c = np.rint(column).astype(np.intp)
        inside = (r >= 0) & (r < 510) & (c >= 2) & (c < SIZE) & (row < 509.5)
        inside &= since < collecting(shot, self.known["readout"])[np.clip(r, 0, SIZE - 1)]
        counts = np.bincount(r[inside] * SIZE + c[inside], minlength=SIZE * SIZE)
        return counts.reshape(SIZE, SIZE).astype(np.float64)

    def star_electrons(self, shot: Exposure, light: Light, rng: Generator) -> Floats:
        """Of all stars, one by one."""
        psf = float(self.known["photometry"]["psf"])
        number = rng.poisson(light.rate * shot.seconds)
        which = np.repeat(np.arange(len(number)), number)
        since = rng.uniform(0.0, shot.seconds, len(which))
        # Between the moments at which stars were followed their way is straight to 1e-3 pixel.
        after = since / shot.seconds * (len(light.way) - 1)
        k = np.minimum(after.astype(np.intp), len(light.way) - 2)
        rest = after - k
        row, column = ((1.0 - rest) * p[k, which] + rest * p[k + 1, which] for p in (light.rows, light.columns))
        blur = psf * rng.standard_normal((2, len(which)))
        return self.gathered(shot, row + blur[0], column + blur[1], since)

    def hit_electrons(self, shot: Exposure, flux: float, rng: Generator) -> Floats:
        """Of all particles: a moment, a place, a track, and the electrons along it."""
        hits, cell = self.known["hits"], float(self.known["camera"]["pitch"]) ** 2
        # The charge of row 0 lies some rows below the array's first before it leaves.
        below = 4.0
        number = rng.poisson(flux * cell * (510.0 + below) * 510.0 * shot.seconds)
        row, column = rng.uniform(-below - 0.5, 509.5, number), rng.uniform(1.5, 511.5, number)
        since = rng.uniform(0.0, shot.seconds, number)
        # -ln of a squared normal number has the Moyal distribution.
        charge = hits["charge"] - hits["width"] * np.log(rng.normal(size=number) ** 2)
        electrons = np.rint(np.maximum(charge, 0.0)).astype(np.intp)
        length, angle = rng.exponential(hits["track"], number), rng.uniform(0.0, 2.0 * np.pi, number)
        sine, cosine = np.sin(angle), np.cos(angle)
        frame = np.zeros((SIZE, SIZE))
        for part in np.array_split(np.arange(number), 1 + int(electrons.sum()) // CHUNK):
            which = np.repeat(part, electrons[part])
            along = (rng.random(len(which), np.float32) - 0.5) * length[which]
            cloud = hits["diffusion"] * rng.standard_normal((2, len(which)), np.float32)
            r = row[which] + along * sine[which] + cloud[0]
            c = column[which] + along * cosine[which] + cloud[1]
            frame += self.gathered(shot, np.minimum(r, 509.49), c, since[which])
        return frame

    def hot_electrons(self, shot: Exposure) -> Floats:
        """Expected of hot pixels: with TDI each leaves a trail, in every charge that is moved over it."""
        frame = np.zeros((SIZE, SIZE))
        steps = np.linspace(0.0, shot.seconds, 2001)[:-1] + shot.seconds / 4000.0
        rows = self.hot_row[shot.unit - 1][:, None] + self.shifts(shot, steps)
        columns = np.broadcast_to(self.hot_column[shot.unit - 1][:, None], rows.shape)
        share = np.broadcast_to(self.hot_rate[shot.unit - 1][:, None] * shot.seconds / steps.size, rows.shape)
        there = (rows < 510) & (steps < collecting(shot, self.known["readout"])[np.clip(rows, 0, SIZE - 1)])
        np.add.at(frame, (rows[there], columns[there]), share[there])
        return frame

    def take(self, shot: Exposure, light: Light, flux: float, rng: Generator) -> Taken:
        """Numbers of an image."""
        t = collecting(shot, self.known["readout"])[:, None]
        hot = self.hot_electrons(shot)
        smooth = rng.poisson((light.planet + DARK + SKY) * t + hot).astype(np.float64)
        hit = self.hit_electrons(shot, flux, rng)
        electrons = smooth + hit + self.star_electrons(shot, light, rng) + rng.normal(0.0, READ_NOISE, smooth.shape)
        gain = self.known["gain"]
        offset = gain["offset"][shot.unit - 1] + rng.normal(0.0, OFFSET_DRIFT)
        dn = np.clip(np.rint(electrons / gain["gain"][shot.unit - 1] + offset), 1, 16383).astype(np.int16)
        dn[510:], dn[:, :2] = 0, 0
        return Taken(dn, hit, hot)
