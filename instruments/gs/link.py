"""One link between stations and Juno: the frequency that is computed for it, and what media and antenna add to it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from calibration.tables import Table
from instruments.gs.layout import LIGHT, complex_of
from instruments.gs.lighttime import Bodies, End, RoundTrip, Station, solve
from instruments.gs.media import day_of_year, geodetic, niell, seasonal
from instruments.gs.ramps import Ramps
from instruments.gs.raw_media import utc_of
from pipeline.dataset.quality import Quality
from pipeline.earth.orientation import EarthOrientation
from pipeline.earth.times import StationClock, from_utc
from pipeline.errors import CalibrationError
from pipeline.geometry import Geometry

Floats = NDArray[np.float64]
Extended = NDArray[Any]  # of long doubles

# Half the interval over which the spin rate is taken, s.
SPIN_STEP = 0.5


@dataclass(frozen=True, eq=False)
class World:
    """What is known of a pass besides the tracking data.

    Parameters
    ----------
    epoch : et from which offsets count, a whole number.
    media : product gs.media, or None.
    """

    epoch: float
    bodies: Bodies
    geometry: Geometry
    orientation: EarthOrientation
    media: xr.Dataset | None
    stations: Table
    troposphere: Table
    mapping: Table
    antenna: Table

    def station(self, number: int, start: float, stop: float) -> Station:
        """A station of the table, its clock good between two offsets; raises CalibrationError if it is not in it."""
        known = self.stations["number"].value
        if number not in known:
            raise CalibrationError(f"table gs.stations has no DSS-{number}")
        place = self.stations["position"].value[known == number][0] / 1e3
        clock = StationClock(self.epoch, place, start, stop)
        return Station(number, place, clock, self.orientation, self.bodies)

    def zenith(self, number: int, et: Floats) -> tuple[Floats, Floats]:
        """Dry and wet zenith delays at a station, m (n): calibrated, else seasonal."""
        from scipy.interpolate import CubicSpline  # loads much that a run with nothing to do does not need

        place = int(complex_of(number))
        day, second = utc_of(et)
        out = []
        for part in ("dry", "wet"):
            value = seasonal(self.troposphere[f"seasonal_{part}"].value[place], day, second)
            if self.media is not None and self.media["et"].size > 3:
                grid = self.media["et"].values
                spline = CubicSpline(grid, self.media[f"zenith_{part}"].values[:, place], extrapolate=False)
                calibrated = spline(et)
                value = np.where(np.isfinite(calibrated), calibrated, value)
            out.append(value)
        return out[0], out[1]

    def slant(self, station: Station, end: End) -> tuple[Floats, Floats]:
        """Tropospheric delay in m toward Juno, and the wet mapping function."""
        et = np.asarray(end.t, np.float64) + self.epoch
        latitude, height = geodetic(station.itrf)
        day = day_of_year(et / 86400.0 + 51544.5)
        # Below the horizon there is no delay to speak of; such links are refused.
        elevation = np.maximum(end.elevation, np.radians(1.0))
        m_dry, m_wet = niell(elevation, latitude, height, day, self.mapping)
        dry, wet = self.zenith(station.number, et)
        return dry * m_dry + wet * m_wet, m_wet


@dataclass(frozen=True, eq=False)
class Link:
    """A link over n counts: start and end of each, offsets of the receiver's clock at its antenna.

    Parameters
    ----------
    ratio : turn-around ratio.
    ramps : of the transmitter, in its own time tags; `up_delay` from there to its antenna.
    """

    world: World
    receiver: Station
    transmitter: Station
    ratio: float
    ramps: Ramps
    up_delay: float
    start: Extended
    stop: Extended

    @cached_property
    def _edges(self) -> tuple[Extended, NDArray[np.intp], NDArray[np.intp]]:
        edges, place = np.unique(np.concatenate([self.start, self.stop]), return_inverse=True)
        n = self.start.size
        return edges, place[:n], place[n:]

    @cached_property
    def trip(self) -> RoundTrip:
        """Light-time solution at the edges."""
        return solve(self.world.bodies, self.receiver, self.transmitter, self.receiver.clock.tdb(self._edges[0]))

    @cached_property
    def up(self) -> End:
        """The transmitting end at the edges."""
        assert self.trip.up is not None
        return self.trip.up

    @cached_property
    def sent(self) -> Extended:
        """Time tags of the transmitter at the edges."""
        return self.transmitter.clock.station(self.up.t) - self.up_delay

    def gained(self, path: NDArray) -> Floats:
        """What a quantity known at the edges gains per second of the count."""
        _, first, last = self._edges
        return np.asarray((path[last] - path[first]) / (self.stop - self.start), np.float64)

    def first(self, value: NDArray) -> Floats:
        """A quantity at the start of each count."""
        return np.asarray(value[self._edges[1]], np.float64)

    def lowest(self, value: Floats) -> Floats:
        """The lower of a quantity at the two ends of each count."""
        _, first, last = self._edges
        return np.minimum(value[first], value[last])

    @cached_property
    def computed(self) -> Floats:
        """Mean received frequency in vacuum, Hz: the phase sent in the count, times the ratio (Moyer 13-54)."""
        _, first, last = self._edges
        frequency = self.ratio * self.gained(self.ramps.phase(self.sent))
        return np.where(self.ramps.joined(self.sent[first], self.sent[last]), frequency, np.nan)

    @cached_property
    def doubtful(self) -> NDArray[np.bool_]:
        """Counts in which something was sent that does not go with the ramps around it."""
        _, first, last = self._edges
        return self.ramps.doubtful(self.sent[first], self.sent[last])

    def shift(self, path: Floats) -> Floats:
        """Shift of the received frequency, Hz, by a path in m (both legs) known at the edges.

        The cycles that are still under way: a path that is constant shifts what is sent in ramps.
        """
        return -self.ratio / LIGHT * self.gained(self.ramps.at(self.sent) * path)

    @cached_property
    def troposphere(self) -> tuple[Floats, Floats]:
        """Shift by the troposphere of both legs, Hz, and the root sum of squares of the wet mapping functions."""
        down, m_down = self.world.slant(self.receiver, self.trip.down)
        up, m_up = self.world.slant(self.transmitter, self.up)
        return self.shift(down + up), self.first(np.hypot(m_down, m_up))

    @cached_property
    def et_at_juno(self) -> Floats:
        """Et of the turn-round of the middle of each count."""
        t2 = np.asarray(self.trip.t2, np.float64)
        _, first, last = self._edges
        return (t2[first] + t2[last]) / 2 + self.world.epoch

    @cached_property
    def antenna(self) -> tuple[Floats, Floats]:
        """Shift by the motion of the phase centre about the centre of mass, Hz, and its error."""
        offset, sigma = (getattr(self.world.antenna["phase_centre"], n) for n in ("value", "sigma"))
        et = np.asarray(self.trip.t2, np.float64) + self.world.epoch
        turn = self.world.geometry.rotation("J2000", "JUNO_SPACECRAFT", et)
        # Juno's axes in J2000 are the rows; toward Juno the range grows.
        along = np.einsum("nij,nj->ni", turn, self.trip.down.direction + self.up.direction)
        errors = [self.shift(along[:, i] * sigma[i]) ** 2 for i in range(3)]
        return self.shift(along @ offset), np.sqrt(np.sum(errors, axis=0))

    def turns(self) -> Floats:
        """Turns of Juno about the direction from the Earth to it, right-handed, per second of reception."""
        et = self.et_at_juno
        before, after = (
            self.world.geometry.rotation("J2000", "JUNO_SPACECRAFT", et + d) for d in (-SPIN_STEP, SPIN_STEP)
        )
        # What turned the axes, as a small rotation in J2000: its antisymmetric part.
        turned = np.einsum("nki,nkj->nij", after, before)
        axis = np.stack(
            [turned[:, 2, 1] - turned[:, 1, 2], turned[:, 0, 2] - turned[:, 2, 0], turned[:, 1, 0] - turned[:, 0, 1]],
            axis=1,
        )
        sine = np.sqrt((axis**2).sum(axis=1)) / 2.0
        rate = np.arcsin(np.clip(sine, 0.0, 1.0)) / (2.0 * SPIN_STEP) / (2.0 * np.pi)
        direction = axis / np.where(sine > 0, 2.0 * sine, 1.0)[:, None]
        along = (direction * self.trip.down.direction[self._edges[1]]).sum(axis=1)
        return rate * along * self.gained(self.trip.t2)


def ramps_of(uplink: xr.Dataset, station: int, band: int, epoch: float) -> tuple[Ramps, float]:
    """Ramps of a station's band in offsets of its time tags, and its delay."""
    mine = uplink.isel(ramp=np.flatnonzero((uplink["station"].values == station) & (uplink["band"].values == band)))
    good = mine.isel(ramp=np.flatnonzero(np.isfinite(mine["frequency"].values)))
    start = from_utc(good["utc_day"].values, good["utc_second"].values, epoch)
    stop = start + good["duration"].values
    # A ramp ends where another begins, also where two files overlap; times are known to a microsecond.
    following = np.append(start[1:], np.longdouble(np.inf))
    stop = np.where(stop > following - 1e-6, following, stop)
    # A station's delay is one; a record may have lost it.
    delay = float(np.median(good["delay"].values)) if good["frequency"].size else 0.0
    suspect = (good["quality"].values & np.uint32(Quality.SUSPECT)) != 0
    return Ramps(start, stop, good["frequency"].values, good["rate"].values, suspect), delay
