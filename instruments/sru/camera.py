"""Optics of the camera and where stars fall (README.md, steps 6 and 7).

Pixels are counted from 0, their centres are whole numbers. A *place* is row and column in the image as archived; with
time delay integration that is where a scene point was when the exposure began, because its charge is moved along.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from calibration.tables import Table
from pipeline.geometry import Geometry
from pipeline.geometry.attitude import apply
from pipeline.geometry.surface import surface_points

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

SIZE = 512
LIGHT = 299792.458  # km/s
ASTRONOMICAL_UNIT = 149597870.7  # km
YEAR = 365.25 * 86400.0
EPOCH = (1991.25 - 2000.0) * YEAR  # of the catalogue, et
MAS = np.pi / 180.0 / 3600e3
NEWTON_STEPS = 8
# Tangent beyond which nothing is in the field; the corners of the array are at 0.21, the distortion folds over at 0.6.
WIDEST = 0.35
# Moments of the exposure at which a star's way is sampled.
NODES = 24
# Rows and columns between those at which the planet is looked for.
COARSE = 4


@dataclass(frozen=True)
class Shot:
    """How an image was taken: unit, et of its begin, duration in s, and whether rows were shifted with the spin."""

    unit: int
    et: float
    seconds: float
    tdi: bool

    @property
    def frame(self) -> str:
        """SPICE frame of the unit."""
        return f"JUNO_SRU{self.unit}"


def shot_of(image: xr.Dataset) -> Shot:
    """How the image of a product ``sru.image`` was taken."""
    return Shot(int(image["unit"]), float(image["start_et"]), float(image["exposure"]), bool(image["tdi"]))


# Optics


def directions(row: Floats, column: Floats, camera: Table) -> Floats:
    """Unit vectors in the frame of a unit along which places look, (..., 3).

    Tangents times F(R), ``F = a0 + a1 R + a2 R^2 + a3 R^4``; boresight +X, columns along -Y, rows along -Z
    (JUNO_SRU_EDR_CRT_SIS, section 5.4.1).
    """
    y, x = (
        (np.asarray(p, np.float64) - c) / float(camera["focal_length"].value)
        for p, c in zip((row, column), camera["boresight"].value, strict=True)
    )
    factor = _factor(np.hypot(x, y), camera["distortion"].value)
    vector = np.stack([np.ones_like(x), -x * factor, -y * factor], axis=-1)
    return np.asarray(vector / np.sqrt((vector**2).sum(axis=-1, keepdims=True)))


def _factor(r: Floats, a: Floats) -> Floats:
    return np.asarray(a[0] + a[1] * r + a[2] * r**2 + a[3] * r**4)


def places(vectors: Floats, camera: Table) -> tuple[Floats, Floats]:
    """Row and column at which directions of a unit's frame appear: the inverse of `directions`; NaN far off the field.

    Newton's method on ``R F(R)``, which grows steadily over the field.
    """
    a, f = camera["distortion"].value, float(camera["focal_length"].value)
    with np.errstate(invalid="ignore", divide="ignore"):
        ahead = np.where(vectors[..., 0] > 0.0, vectors[..., 0], np.nan)
        x, y = -vectors[..., 1] / ahead, -vectors[..., 2] / ahead
        wanted = np.hypot(x, y)
        wanted = np.where(wanted < WIDEST, wanted, np.nan)
        r = wanted
        for _ in range(NEWTON_STEPS):
            slope = a[0] + 2 * a[1] * r + 3 * a[2] * r**2 + 5 * a[3] * r**4
            r = r - (r * _factor(r, a) - wanted) / slope
        scale = f / _factor(r, a)
    row0, column0 = camera["boresight"].value
    return np.asarray(row0 + y * scale), np.asarray(column0 + x * scale)


# Time


def row_exposure(shot: Shot, readout: Table) -> Floats:
    """Seconds for which each row collects light, (512): with TDI the first rows leave the array early.

    ``min(exposure, first_row + row x row_period)``; derived from the 8.1 ms stated for the first row.
    """
    whole = shot.seconds * float(readout["exposure_scale"].value)
    if not shot.tdi:
        return np.full(SIZE, whole)
    ramp = float(readout["first_row"].value) + np.arange(SIZE) * float(readout["row_period"].value)
    return np.minimum(whole, ramp)


def row_exposure_sigma(shot: Shot, readout: Table) -> Floats:
    """One sigma of `row_exposure`, s (512)."""
    whole = shot.seconds * float(readout["exposure_scale"].sigma)
    if not shot.tdi:
        return np.full(SIZE, whole)
    ramp = np.hypot(float(readout["first_row"].sigma), np.arange(SIZE) * float(readout["row_period"].sigma))
    early = row_exposure(shot, readout) < shot.seconds * float(readout["exposure_scale"].value)
    return np.where(early, ramp, whole)


# Stars


@dataclass(frozen=True)
class Tracks:
    """Stars in the field and the way they take over the image.

    Parameters
    ----------
    index : of the catalogue (n), ordered by row.
    rows, columns : places at equal steps of the exposure (n, `NODES`); charge is moved along with TDI.
    magnitude : in the band (n).
    electrons : expected (n).
    seconds : of exposure (n).
    """

    index: NDArray[np.intp]
    rows: Floats
    columns: Floats
    magnitude: Floats
    electrons: Floats
    seconds: Floats

    @property
    def row(self) -> Floats:
        """Mean row (n)."""
        return np.asarray(self.rows.mean(axis=1))

    @property
    def column(self) -> Floats:
        """Mean column (n)."""
        return np.asarray(self.columns.mean(axis=1))

    def take(self, which: NDArray[np.intp]) -> Tracks:
        """Some of the stars."""
        return Tracks(*(getattr(self, name)[which] for name in self.__dataclass_fields__))


def apparent(stars: Table, et: float, geometry: Geometry) -> Floats:
    """Unit vectors, J2000, towards the stars of a catalogue as they appear from Juno, (n, 3).

    Proper motion and parallax to first order; stellar aberration turns a direction towards the velocity by the angle
    ``asin(v sin(theta) / c)`` (SPICE, ``stelab``).
    """
    ra, dec = (np.radians(stars[name].value) for name in ("right_ascension", "declination"))
    years = (et - EPOCH) / YEAR
    sin_ra, cos_ra, sin_dec, cos_dec = np.sin(ra), np.cos(ra), np.sin(dec), np.cos(dec)
    out = np.stack([cos_dec * cos_ra, cos_dec * sin_ra, sin_dec], axis=1)
    east = np.stack([-sin_ra, cos_ra, np.zeros_like(ra)], axis=1)
    north = np.stack([-sin_dec * cos_ra, -sin_dec * sin_ra, cos_dec], axis=1)
    moved = out + years * MAS * (
        stars["proper_motion_east"].value[:, None] * east + stars["proper_motion_north"].value[:, None] * north
    )
    times = np.array([et])
    place = geometry.position("J2000", times, observer="SSB")[0] / ASTRONOMICAL_UNIT
    moved = _unit(moved - MAS * np.maximum(stars["parallax"].value, 0.0)[:, None] * place)
    beta = geometry.velocity("J2000", times, observer="SSB")[0] / LIGHT
    speed = np.sqrt((beta**2).sum())
    across = beta - (moved @ beta)[:, None] * moved
    length = np.sqrt((across**2).sum(axis=1, keepdims=True))
    angle = np.arcsin(np.minimum(length, speed))
    return np.cos(angle) * moved + np.sin(angle) * across / np.maximum(length, 1e-300)


def _unit(v: Floats) -> Floats:
    return np.asarray(v / np.sqrt((v**2).sum(axis=-1, keepdims=True)))


def star_tracks(
    shot: Shot, geometry: Geometry, stars: Table, camera: Table, readout: Table, photometry: Table, *, margin: float
) -> Tracks:
    """Stars of the catalogue whose mean place is `margin` pixels or more inside the pixels that are read out."""
    vectors = apparent(stars, shot.et, geometry)
    turn = np.repeat(geometry.rotation("J2000", shot.frame, shot.et), len(vectors), axis=0)
    row, column = places(apply(turn, vectors), camera)
    near = np.flatnonzero((row > -16) & (row < SIZE + 16) & (column > -16) & (column < SIZE + 16))
    exposures = row_exposure(shot, readout)
    seconds = exposures[np.clip(np.rint(row[near]), 0, SIZE - 1).astype(np.intp)]
    since = seconds[:, None] * (np.arange(NODES) + 0.5) / NODES
    turns = geometry.rotation("J2000", shot.frame, shot.et + since.ravel())
    seen = apply(turns, np.repeat(vectors[near], NODES, axis=0))
    rows, columns = (p.reshape(since.shape) for p in places(seen, camera))
    if shot.tdi:
        rows = rows + since / float(readout["row_period"].value) + 0.5 - float(readout["shift_phase"].value)
    magnitude = stars["magnitude"].value + float(photometry["colour_term"].value) * stars["colour"].value
    electrons = float(photometry["zero_point"].value) * 10.0 ** (-0.4 * magnitude[near]) * seconds
    tracks = Tracks(near, rows, columns, magnitude[near], electrons, seconds)
    last, first = float(readout["rows"].value) - 1.0, float(readout["first_column"].value)
    inside = (tracks.row >= margin) & (tracks.row <= last - margin)
    inside &= (tracks.column >= first + margin) & (tracks.column <= SIZE - 1 - margin)
    chosen = np.flatnonzero(inside)
    return tracks.take(chosen[np.argsort(tracks.row[chosen], kind="stable")])


def star_mask(tracks: Tracks, psf: float, faint: float) -> Mask:
    """Pixels (512, 512) in which stars leave more than `faint` electrons, along their whole way."""
    mask = np.zeros((SIZE, SIZE), bool)
    peak = tracks.electrons / (2.0 * np.pi * psf**2)
    shown = peak > faint
    if not shown.any():
        return mask
    reach = psf * np.sqrt(2.0 * np.log(peak[shown] / faint)) + 1.5
    far = int(np.ceil(reach.max()))
    dy, dx = (g.ravel() for g in np.mgrid[-far : far + 1, -far : far + 1])
    rows, columns = (np.rint(p[shown]).astype(np.intp)[:, :, None] for p in (tracks.rows, tracks.columns))
    inside = np.broadcast_to((np.hypot(dy, dx) <= reach[:, None])[:, None, :], (*rows.shape[:2], dy.size))
    r, c = (rows + dy)[inside], (columns + dx)[inside]
    there = (r >= 0) & (r < SIZE) & (c >= 0) & (c < SIZE)
    mask[r[there], c[there]] = True
    return mask


# The planet


def planet_mask(shot: Shot, geometry: Geometry, camera: Table) -> tuple[Mask, Mask]:
    """Pixels (512, 512) that look at Jupiter or close to its limb, and those of its day side.

    Looked for at every fourth row and column; what lies between or beside a hit counts as one.
    """
    grid = np.arange(0, SIZE + COARSE, COARSE, dtype=np.float64)
    row, column = np.meshgrid(grid, grid, indexing="ij")
    looks = directions(row, column, camera)
    seen = surface_points(geometry, shot.et, looks[None], frame=shot.frame)
    hit = np.isfinite(seen.incidence[0])
    lit = hit & (seen.incidence[0] < 100.0)  # twilight reaches beyond the terminator
    return _grown(hit), _grown(lit)


def _grown(coarse: Mask) -> Mask:
    """Fine pixels whose coarse cell, or a neighbour of it, has a corner set."""
    cells = coarse[1:, 1:] | coarse[:-1, 1:] | coarse[1:, :-1] | coarse[:-1, :-1]
    padded = np.pad(cells, 1)
    near = np.zeros_like(cells)
    for dy in range(3):
        for dx in range(3):
            near |= padded[dy : dy + cells.shape[0], dx : dx + cells.shape[1]]
    return np.repeat(np.repeat(near, COARSE, axis=0), COARSE, axis=1)[:SIZE, :SIZE]
