"""Light time: from the reception of a signal back to the spacecraft and to its transmission.

Solved in the coordinates of the ephemerides (Moyer 2000, Formulation for Observed and Computed Values of DSN Data
Types, 8.3.1): ``t2 = t3 - |r(t3) - r_sc(t2)| / c - delay``, then the same for t1, with the relativistic delays of the
Sun and Jupiter. Times are offsets in extended precision, so that light times of two neighbours may be subtracted.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.earth.orientation import EarthOrientation
from pipeline.earth.station import LIGHT, Topocentric, in_barycentric_scale, topocentric
from pipeline.earth.times import StationClock
from pipeline.errors import GeometryError
from pipeline.geometry import Geometry
from pipeline.geometry.smooth import SmoothTrack

Floats = NDArray[np.float64]
Extended = NDArray[Any]  # of long doubles

# 2 GM / c^3 in s of the Sun and Jupiter (DE440; Jupiter's GM as in pipeline.jupiter.gravity).
SHAPIRO_SUN = 2.0 * 132712440041.279419 / LIGHT**3
SHAPIRO_JUPITER = 2.0 * 126686534.1921 / LIGHT**3
# Seconds of light from Jupiter to Juno, at most.
NEAR = 30.0
# Every round makes the error v/c, some 1e-4, of what it was.
ROUNDS = 6


@dataclass(frozen=True, eq=False)
class Bodies:
    """Juno, Earth, Sun and the barycentre of the solar system relative to Jupiter, as functions of the offset ``t``."""

    juno: SmoothTrack
    earth: SmoothTrack
    sun: SmoothTrack
    ssb: SmoothTrack

    @classmethod
    def of(cls, geometry: Geometry, epoch: float) -> Bodies:
        """From the geometry of a pass; raises GeometryError where a body is not in it."""
        missing = [name for name in ("JUNO", "EARTH", "SUN", "SSB") if name not in geometry.tracks]
        if missing:
            raise GeometryError(f"the geometry has no {', '.join(missing)}")
        return cls(*(SmoothTrack.of(geometry.tracks[name], epoch) for name in ("JUNO", "EARTH", "SUN", "SSB")))

    def spacecraft(self, t: Extended) -> Extended:
        """Juno from the barycentre, km (n, 3)."""
        return self.juno.position(t) - self.ssb.position(t)

    def sent_by_jupiter(self, t3: Extended) -> Extended:
        """When Jupiter's light left that is seen on Earth at t3; Juno's, within `NEAR` seconds."""
        return t3 - _length(self.earth.position(t3)) / LIGHT

    def known(self, t3: Extended) -> NDArray[np.bool_]:
        """Whether Juno's place is known at the turn-round of signals received at t3."""
        t2 = self.sent_by_jupiter(t3)
        places = [self.juno.position(t2 + d) for d in (-NEAR, 0.0, NEAR)]
        return np.asarray(np.isfinite(np.asarray(places, np.float64)).all(axis=(0, 2)))


@dataclass(frozen=True, eq=False)
class Station:
    """A station on Earth.

    Parameters
    ----------
    number : of the DSN.
    itrf : position, km (3).
    clock : its times.
    """

    number: int
    itrf: Floats
    clock: StationClock
    orientation: EarthOrientation
    bodies: Bodies
    tides: bool = True

    def topocentric(self, t: Extended) -> Topocentric:
        """Its place and zenith in GCRF at offsets ``t``."""
        earth = self.bodies.earth.position(t)
        sun = np.asarray(self.bodies.sun.position(t) - earth, np.float64)
        s = self.clock.station(t)
        return topocentric(self.itrf, s, self.clock.epoch, self.orientation, sun, tides=self.tides)

    def position(self, t: Extended, place: Topocentric) -> Extended:
        """From the barycentre of the solar system, km (n, 3)."""
        earth, ssb = self.bodies.earth.position(t), self.bodies.ssb.position(t)
        velocity = self.bodies.earth.velocity(t) - self.bodies.ssb.velocity(t)
        sun = np.asarray(self.bodies.sun.position(t) - earth, np.float64)
        return earth - ssb + in_barycentric_scale(place.position, velocity, sun)


@dataclass(frozen=True, eq=False)
class End:
    """One end of a leg: the station at its time, and where it sees the spacecraft.

    Parameters
    ----------
    t : offsets (n).
    place : of the station.
    toward : from the station to the spacecraft, km (n, 3).
    """

    t: Extended
    place: Topocentric
    toward: Extended

    @cached_property
    def elevation(self) -> Floats:
        """Elevation of the spacecraft, rad (n)."""
        return self.place.elevation(self.toward)

    @cached_property
    def direction(self) -> Floats:
        """Unit vectors from the station to the spacecraft (n, 3)."""
        d = np.asarray(self.toward, np.float64)
        return d / np.sqrt((d * d).sum(axis=1))[:, None]


@dataclass(frozen=True, eq=False)
class RoundTrip:
    """Signals that were sent at t1, turned round at t2 and received at t3, offsets of TDB."""

    t2: Extended
    down: End
    up: End | None

    @property
    def light_time(self) -> Extended:
        """Of both legs, s."""
        assert self.up is not None
        return self.down.t - self.up.t


def relativistic_delay(bodies: Bodies, t_sc: Extended, t_st: Extended, station: Extended) -> Floats:
    """Delay of a leg by the gravity of Sun and Jupiter, s (Moyer 2000, 8-55, without bending).

    All three distances are between places relative to the body, each at its own time.

    Parameters
    ----------
    station : from the barycentre at its time, km (n, 3).
    """
    spacecraft = bodies.spacecraft(t_sc)
    total = np.zeros(len(station))
    for gm, at_sc, at_st in (
        (SHAPIRO_SUN, bodies.sun.position(t_sc), bodies.sun.position(t_st)),
        (SHAPIRO_JUPITER, 0.0, 0.0),
    ):
        one = spacecraft + bodies.ssb.position(t_sc) - at_sc
        other = station + bodies.ssb.position(t_st) - at_st
        r1, r2, r12 = _length(one), _length(other), _length(one - other)
        total += gm * np.log((r1 + r2 + r12) / (r1 + r2 - r12))
    return total


def _length(v: NDArray) -> Floats:
    w = np.asarray(v, np.float64)
    return np.sqrt((w * w).sum(axis=1))


def _distance(a: Extended, b: Extended) -> Extended:
    d = a - b
    return np.sqrt((d * d).sum(axis=1))


def solve(
    bodies: Bodies, receiver: Station, transmitter: Station | None, t3: Extended, *, relativity: bool = True
) -> RoundTrip:
    """Light-time solution of receptions at offsets t3 (n).

    Parameters
    ----------
    transmitter : None for a one-way signal.
    """

    def delay(t_sc: Extended, t_st: Extended, station: Extended) -> Floats | float:
        return relativistic_delay(bodies, t_sc, t_st, station) if relativity else 0.0

    place = receiver.topocentric(t3)
    at_3 = receiver.position(t3, place)
    t2 = bodies.sent_by_jupiter(t3)
    for _ in range(ROUNDS):
        t2 = t3 - _distance(at_3, bodies.spacecraft(t2)) / LIGHT - delay(t2, t3, at_3)
    spacecraft = bodies.spacecraft(t2)
    down = End(t3, place, spacecraft - at_3)
    if transmitter is None:
        return RoundTrip(t2, down, None)
    t1 = t2 - (t3 - t2)
    for _ in range(ROUNDS):
        at_1 = transmitter.position(t1, transmitter.topocentric(t1))
        t1 = t2 - _distance(at_1, spacecraft) / LIGHT - delay(t2, t1, at_1)
    place = transmitter.topocentric(t1)
    return RoundTrip(t2, down, End(t1, place, spacecraft - transmitter.position(t1, place)))
