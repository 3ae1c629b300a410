"""The signal the other way round: sent by a station, turned round by Juno, received; in the order in which it travels.

Derived on its own: transmission times are sought whose signals arrive at the times of reception, by solving forward;
what delays the signal makes it leave earlier; phases are added up in cycles.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.clock import Span
from pipeline.earth.orientation import EarthOrientation
from pipeline.earth.station import GM_SUN, in_barycentric_scale, topocentric
from pipeline.earth.times import StationClock
from pipeline.errors import UsageError
from pipeline.geometry import Geometry
from pipeline.geometry.propagate import tabulated_track
from pipeline.geometry.smooth import SmoothTrack
from pipeline.geometry.track import Track
from pipeline.jupiter.gravity import GM as GM_JUPITER

Floats = NDArray[np.float64]
Extended = NDArray[Any]  # of long doubles
Known = Mapping[str, Mapping[str, Floats]]

C = 299792.458  # km/s
HORIZON = 10.0  # degrees; no link is simulated below
# The longest way of a signal, one way, s.
ONE_WAY = 3400.0
CLOSE = 1e-13  # s; what is left after a last correction of this size is 1e-16 s
# Delays between antennas and the clocks' time tags, s.
DOWN_DELAY, UP_DELAY = 77e-6, 61e-6


@dataclass(frozen=True, eq=False)
class Sky:
    """The bodies of a pass in smooth tracks about an epoch.

    Parameters
    ----------
    juno : overrides the trajectory of the geometry.
    """

    epoch: float
    span: Span
    geometry: Geometry
    juno: Track | None = None

    @cached_property
    def tracks(self) -> dict[str, SmoothTrack]:
        """JUNO, EARTH, SUN, SSB relative to Jupiter."""
        wide = Span(self.span.start - 2 * ONE_WAY, self.span.stop + 2 * ONE_WAY)
        tabulated = str(self.geometry.attrs.get("tabulated", ""))
        found = {}
        for name in ("EARTH", "SUN", "SSB"):
            track = tabulated_track(name, wide) if name in tabulated else self.geometry.tracks[name]
            found[name] = SmoothTrack.of(track, self.epoch)
        found["JUNO"] = SmoothTrack.of(self.juno or self.geometry.tracks["JUNO"], self.epoch)
        return found

    def at(self, body: str, t: Extended) -> Extended:
        """From the barycentre of the solar system, km (n, 3); Jupiter itself is ``JUPITER``."""
        origin = self.tracks["SSB"].position(t)
        return -origin if body == "JUPITER" else self.tracks[body].position(t) - origin

    def earth_velocity(self, t: Extended) -> Floats:
        """Of the Earth from the barycentre, km/s (n, 3)."""
        return self.tracks["EARTH"].velocity(t) - self.tracks["SSB"].velocity(t)


@dataclass(frozen=True, eq=False)
class Dish:
    """A station."""

    number: int
    itrf: Floats
    sky: Sky
    orientation: EarthOrientation

    @cached_property
    def clock(self) -> StationClock:
        """Its clock."""
        reach = 2 * ONE_WAY + 1000.0
        start, stop = (x - self.sky.epoch for x in (self.sky.span.start, self.sky.span.stop))
        return StationClock(self.sky.epoch, self.itrf, start - reach, stop + reach)

    def place(self, t: Extended) -> tuple[Extended, Floats, Floats]:
        """Place from the barycentre and from the Earth's centre, km, and between them the zenith."""
        earth = self.sky.at("EARTH", t)
        sun = np.asarray(self.sky.at("SUN", t) - earth, np.float64)
        here = topocentric(self.itrf, self.clock.station(t), self.sky.epoch, self.orientation, sun)
        scaled = in_barycentric_scale(here.position, self.sky.earth_velocity(t), sun)
        return earth + scaled, here.zenith, here.position

    def elevation(self, t: Extended, target: Extended) -> Floats:
        """Elevation of a place from the barycentre, degrees."""
        here, zenith, _ = self.place(t)
        away = np.asarray(target - here, np.float64)
        return np.degrees(np.arcsin((zenith * away).sum(axis=1) / np.linalg.norm(away, axis=1)))


def retardation(sky: Sky, a: Extended, t_a: Extended, b: Extended, t_b: Extended) -> Floats:
    """Delay by the gravity of Sun and Jupiter between two places, s.

    As the integral of ``2 GM / (c^3 r)`` along the straight line: with x measured along it from the body's nearest
    point, ``asinh(x_b / d) - asinh(x_a / d)``.
    """
    total = np.zeros(len(a))
    for body, gm in (("SUN", GM_SUN), ("JUPITER", GM_JUPITER)):
        from_a = np.asarray(a - sky.at(body, t_a), np.float64)
        from_b = np.asarray(b - sky.at(body, t_b), np.float64)
        line = from_b - from_a
        along = line / np.linalg.norm(line, axis=1)[:, None]
        x_a, x_b = (from_a * along).sum(axis=1), (from_b * along).sum(axis=1)
        d = np.linalg.norm(np.cross(from_a, along), axis=1)
        total += 2.0 * gm / C**3 * (np.arcsinh(x_b / d) - np.arcsinh(x_a / d))
    return total


def forward(
    sky: Sky, sender: Dish, receiver: Dish, t1: Extended, near: Extended, rounds: int = 3
) -> tuple[Extended, Extended]:
    """When signals sent at t1 are at Juno and at the receiver.

    Parameters
    ----------
    near : guess of the reception; every round makes its error a ten-thousandth.
    """
    start, _, _ = sender.place(t1)
    t2 = (t1 + near) / 2
    for _ in range(6):
        juno = sky.at("JUNO", t2)
        t2 = t1 + _norm(juno - start) / C + retardation(sky, start, t1, juno, t2)
    juno = sky.at("JUNO", t2)
    t3 = near
    for _ in range(rounds):
        end, _, _ = receiver.place(t3)
        t3 = t2 + _norm(end - juno) / C + retardation(sky, juno, t2, end, t3)
    return t2, t3


def sent_to_arrive(sky: Sky, sender: Dish, receiver: Dish, t3: Extended) -> tuple[Extended, Extended]:
    """When signals that arrive at t3 were sent and turned round, by secants."""
    middle = t3[len(t3) // 2 : len(t3) // 2 + 1]
    distance = _norm(sky.at("EARTH", middle) - sky.at("JUPITER", middle)) / C
    t1 = t3 - 2.0 * distance[0]
    off = np.ones(1, np.longdouble)
    # What is sent a second later arrives a second later, but for 2 v / c: every round makes the error a thousandth.
    while np.abs(off).max() > CLOSE:
        t2, arrived = forward(sky, sender, receiver, t1, t3)
        off = t3 - arrived
        t1 = t1 + off
    return t1, t2


def _norm(v: Extended) -> Extended:
    return np.sqrt((v * v).sum(axis=1))


# Who tracks


def choose_stations(sky: Sky, known: Known, orientation: EarthOrientation) -> tuple[Dish, Dish, tuple[int, ...]]:
    """Sender, receiver and links of a pass: all three at DSS-25 where it sees Juno both ways, else X/X at the best."""
    places = known["stations"]
    dishes = [
        Dish(int(n), p / 1e3, sky, orientation) for n, p in zip(places["number"], places["position"], strict=True)
    ]
    rows = [heights(sky, dish) for dish in dishes]
    by_number = {d.number: (up, down) for d, (up, down) in zip(dishes, rows, strict=True)}
    if min(by_number[25]) >= HORIZON:
        dish = next(d for d in dishes if d.number == 25)
        return dish, dish, (0, 1, 2)
    both = [min(row) for row in rows]
    if max(both) >= HORIZON:
        dish = dishes[int(np.argmax(both))]
        return dish, dish, (0,)
    sender, receiver = (dishes[int(np.argmax([row[k] for row in rows]))] for k in (0, 1))
    return check_horizon(sky, sender, receiver), receiver, (0,)


def heights(sky: Sky, dish: Dish) -> tuple[float, float]:
    """Lowest elevation of Juno at transmission and at reception of the pass, degrees."""
    t2 = np.linspace(sky.span.start, sky.span.stop, 5).astype(np.longdouble) - np.longdouble(sky.epoch)
    juno = sky.at("JUNO", t2)
    light = _norm(juno - sky.at("EARTH", t2)) / C
    up, down = (float(dish.elevation(t2 + sign * light, juno).min()) for sign in (-1, 1))
    return up, down


def check_horizon(sky: Sky, sender: Dish, receiver: Dish) -> Dish:
    """The sender; raises UsageError where Juno is too low for it or the receiver."""
    up, down = heights(sky, sender)[0], heights(sky, receiver)[1]
    if min(up, down) < HORIZON:
        raise UsageError(
            f"Juno is at {up:.1f} deg for DSS-{sender.number} sending and {down:.1f} deg for DSS-{receiver.number} "
            f"receiving: no link below {HORIZON:.0f} deg is simulated"
        )
    return sender


# Phases


@dataclass(frozen=True, eq=False)
class Carrier:
    """What a station sends: frequencies at nodes, linear between them.

    Parameters
    ----------
    nodes : offsets of its clock, s (n); `frequency` there, Hz.
    """

    nodes: Extended
    frequency: Floats

    def cycles(self, s: Extended) -> Extended:
        """Cycles sent since the first node: the trapezoids before, and the one begun."""
        width = np.diff(self.nodes)
        whole = width * (self.frequency[1:] + self.frequency[:-1]) / 2
        before = np.concatenate([np.zeros(1, np.longdouble), np.cumsum(whole)])
        k = np.clip(np.searchsorted(self.nodes, s, side="right") - 1, 0, width.size - 1)
        into = s - self.nodes[k]
        now = self.frequency[k] + (self.frequency[k + 1] - self.frequency[k]) / width[k] * into
        return before[k] + into * (self.frequency[k] + now) / 2

    def just_before(self, s: Extended, seconds: Floats) -> Extended:
        """Cycles sent in some microseconds before s: their length times the frequency in their middle."""
        at = np.asarray(self.nodes - self.nodes[0], np.float64)
        middle = np.asarray(s - self.nodes[0], np.float64) - seconds / 2.0
        return (np.interp(middle, at, self.frequency) * seconds).astype(np.longdouble)


@dataclass(frozen=True, eq=False)
class Received:
    """One link at the times of reception: cycles of its phase, and the parts of it.

    Parameters
    ----------
    vacuum : without media, antenna and spin.
    parts : cycles added by ``troposphere``, ``antenna``, ``spin``, ``plasma``.
    """

    vacuum: Extended
    parts: dict[str, Extended] = field(default_factory=dict)

    @property
    def whole(self) -> Extended:
        """Cycles as they would be received without noise."""
        return self.vacuum + sum(self.parts.values())


def slow_noise(rng: np.random.Generator, rms: float, scale: float, step: float, number: int) -> Floats:
    """A stationary process with covariance ``rms^2 exp(-|t| / scale)`` at even steps (Ornstein and Uhlenbeck)."""
    from scipy.signal import lfilter

    keep = np.exp(-step / scale)
    kicks = rng.normal(0.0, rms * np.sqrt(1.0 - keep**2), number)
    kicks[0] = rng.normal(0.0, rms)
    return np.asarray(lfilter([1.0], [1.0, -keep], kicks))
