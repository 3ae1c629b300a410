"""Where the anodes look, and how views are sorted into look directions on board."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.tables import Table
from instruments.jade.layout import ANODES, ENERGIES, ION_LOOKS
from pipeline.geometry import Geometry

Array = NDArray[np.float64]

SENSORS = ("JUNO_JADE_E060", "JUNO_JADE_E180", "JUNO_JADE_E300")
PER_SENSOR = ANODES // len(SENSORS)
ION_ANODES = 12
VIEWS = 64
SECTOR = 360.0 / ANODES
SPACECRAFT = "JUNO_SPACECRAFT"
HRS, LRS = 2, 1


def electron_anodes(look: Table, geometry: Geometry) -> Array:
    """Unit vectors along which the 48 electron anodes look, spacecraft frame (48, 3)."""
    azimuth, elevation = (np.radians(look[n].value) for n in ("azimuth", "elevation"))
    flat = np.cos(elevation)
    own = np.stack([flat * np.cos(azimuth), flat * np.sin(azimuth), np.sin(elevation)], axis=1)
    return np.concatenate([own @ geometry.rotation(s, SPACECRAFT, 0.0)[0].T for s in SENSORS])


def ion_anodes(look: Table, geometry: Geometry) -> Array:
    """Unit vectors along which the 12 ion anodes look, spacecraft frame (12, 3)."""
    fan = np.radians(look["fan"].value)
    x, y = (np.cos(fan) + np.sin(fan)) / np.sqrt(2.0), (np.cos(fan) - np.sin(fan)) / np.sqrt(2.0)
    return np.stack([x, y, np.zeros_like(x)], axis=1) @ geometry.rotation("JUNO_JADE_I", SPACECRAFT, 0.0)[0].T


def angles(direction: Array) -> tuple[Array, Array]:
    """Azimuth (0 to 360) and elevation in degrees of unit vectors (..., 3)."""
    azimuth = np.degrees(np.arctan2(direction[..., 1], direction[..., 0])) % 360.0
    return azimuth, np.degrees(np.arcsin(np.clip(direction[..., 2], -1.0, 1.0)))


@dataclass(frozen=True)
class IonLooks:
    """The 78 look directions: bounds in degrees of despun azimuth and of elevation (78)."""

    azimuth_lower: Array
    azimuth_upper: Array
    elevation_lower: Array
    elevation_upper: Array

    @property
    def azimuth(self) -> Array:
        """Middle."""
        return (self.azimuth_lower + self.azimuth_upper) / 2.0

    @property
    def elevation(self) -> Array:
        """Middle."""
        return (self.elevation_lower + self.elevation_upper) / 2.0


def ion_looks(look: Table) -> IonLooks:
    """Look directions by row of elevation, then by sector."""
    sectors, edges = look["sectors"].value.astype(int), look["row_edges"].value
    row = np.repeat(np.arange(sectors.size), sectors)
    sector = np.arange(ION_LOOKS) - np.repeat(np.cumsum(sectors) - sectors, sectors)
    width = 360.0 / sectors[row]
    return IonLooks(sector * width, (sector + 1) * width, edges[row], edges[row + 1])


def ring_neighbours(look: Table) -> NDArray[np.intp]:
    """Looks before and after each in its row, (2, 78)."""
    sectors = look["sectors"].value.astype(int)
    first = np.repeat(np.cumsum(sectors) - sectors, sectors)
    number = np.repeat(sectors, sectors)
    place = np.arange(ION_LOOKS) - first
    return np.stack([first + (place - 1) % number, first + (place + 1) % number])


def view_times(centre: Array, seconds: int) -> Array:
    """Times of all views of records that last so many seconds, (n, seconds, 64)."""
    view = (np.arange(VIEWS) + 0.5) / VIEWS
    return centre[:, None, None] - seconds / 2.0 + np.arange(seconds)[None, :, None] + view


def electron_views(mode: NDArray[np.int8], seconds: NDArray[np.int32], centre: Array, sensor: NDArray[np.intp],
                   look: Table, geometry: Geometry) -> NDArray[np.float32]:  # fmt: skip
    """Views that each anode contributes to each look, (n, energy, look, anode of the sensor).

    HRS: each look is an anode, and gets all views. LRS: an anode's views go to the sector of despun azimuth it looks
    into at the time.
    """
    views = np.zeros((centre.size, ENERGIES, ANODES, PER_SENSOR), np.float32)
    look_index = np.arange(ANODES)
    hrs = mode == HRS
    views[np.flatnonzero(hrs)[:, None], :, look_index, look_index % PER_SENSOR] = seconds[hrs][:, None, None]
    own = angles(electron_anodes(look, geometry))[0].reshape(len(SENSORS), PER_SENSOR)
    for length in np.unique(seconds[~hrs]):
        some = np.flatnonzero(~hrs & (seconds == length))
        phase = geometry.spin_phase(view_times(centre[some], int(length)).ravel())
        azimuth = phase.reshape(some.size, int(length), VIEWS, 1) + own[sensor[some]][:, None, None, :]
        sector = np.floor(azimuth % 360.0 / SECTOR).astype(np.int64) % ANODES
        record, _, step, anode = np.ogrid[: some.size, : int(length), :VIEWS, :PER_SENSOR]
        place = ((record * ENERGIES + step) * ANODES + sector) * PER_SENSOR + anode
        size = some.size * ENERGIES * ANODES * PER_SENSOR
        views[some] = np.bincount(place.ravel(), minlength=size).reshape(some.size, *views.shape[1:])
    return views


def ion_views(seconds: NDArray[np.int32], centre: Array, look: Table, geometry: Geometry) -> NDArray[np.float32]:
    """Views that each anode contributes to each look, (n, energy, look, anode).

    Ping and pong sweeps alternate by the second; either looks at each of its 32 energies for two views in turn.
    """
    views = np.zeros((centre.size, ENERGIES, ION_LOOKS, ION_ANODES), np.float32)
    body, elevation = angles(ion_anodes(look, geometry))
    edges, sectors = look["row_edges"].value, look["sectors"].value.astype(int)
    row = np.clip(np.searchsorted(edges, elevation, side="right") - 1, 0, sectors.size - 1)
    first = (np.cumsum(sectors) - sectors)[row]
    for length in np.unique(seconds):
        some = np.flatnonzero(seconds == length)
        phase = geometry.spin_phase(view_times(centre[some], int(length)).ravel())
        azimuth = (phase.reshape(some.size, int(length), VIEWS, 1) + body) % 360.0
        number = sectors[row]
        at = first + np.floor(azimuth * number / 360.0).astype(np.int64) % number
        record, second, view, anode = np.ogrid[: some.size, : int(length), :VIEWS, :ION_ANODES]
        step = view // 2 * 2 + second % 2
        place = ((record * ENERGIES + step) * ION_LOOKS + at) * ION_ANODES + anode
        size = some.size * ENERGIES * ION_LOOKS * ION_ANODES
        views[some] = np.bincount(place.ravel(), minlength=size).reshape(some.size, *views.shape[1:])
    return views


def despun_to(frame: str, et: Array, geometry: Geometry) -> Array:
    """Rotations from the despun spacecraft frame to another, (n, 3, 3): +Z the spin axis, +X toward ecliptic north."""
    phase = np.radians(geometry.spin_phase(et))
    cosine, sine, zero = np.cos(phase), np.sin(phase), np.zeros_like(phase)
    unspin = np.stack([cosine, sine, zero, -sine, cosine, zero, zero, zero, zero + 1.0], axis=-1).reshape(-1, 3, 3)
    return np.asarray(np.matmul(geometry.rotation(SPACECRAFT, frame, et), unspin))


def unit(azimuth: Array, elevation: Array) -> Array:
    """Unit vectors (..., 3) of angles in degrees."""
    a, e = np.radians(azimuth), np.radians(elevation)
    return np.stack([np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)], axis=-1)
