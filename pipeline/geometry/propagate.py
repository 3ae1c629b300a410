"""Geometry without kernels: a trajectory from the state at closest approach, a nominal attitude."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import solve_ivp

from pipeline.clock import Span, read_csv
from pipeline.geometry import ephemeris
from pipeline.geometry.attitude import Attitude, to_quaternion
from pipeline.geometry.frames import OBLIQUITY
from pipeline.jupiter.gravity import GM, acceleration, potential
from pipeline.jupiter.rotation import orientations
from pipeline.jupiter.shape import longitude_latitude, rectangular, surface_radius
from pipeline.passes import Pass, get_pass, passes

Floats = NDArray[np.float64]

# Integrated in stages of this length from closest approach, so that a wider span never changes what lies inside.
STAGE = 3600.0
TOLERANCE = 1e-12
SPIN_RATE = 2.0 * 360.0 / 60.0
KNOT = 5.0
ECLIPTIC_NORTH = np.array([0.0, -np.sin(OBLIQUITY), np.cos(OBLIQUITY)])


@dataclass(frozen=True)
class State:
    """Where Juno was at closest approach.

    Parameters
    ----------
    et, position, velocity : relative to Jupiter in J2000, km and km/s.
    pedigree : ``published`` (a reconstructed or predicted trajectory's own numbers) or ``placeholder``.
    source : a sentence.
    """

    et: float
    position: Floats
    velocity: Floats
    pedigree: str
    source: str


def state_of(pass_: Pass) -> State:
    """State at the closest approach of a pass: published where it is, else made up of time and orbit family."""
    rows = [r for r in read_csv("states.csv") if int(r["pass"]) == pass_.number]
    for row in rows:
        if row["kind"] == "cartesian":
            et, *values = map(float, row["values"].split())
            text = f"state of a {row['source']} trajectory at closest approach"
            return State(et, np.array(values[:3]), np.array(values[3:]), "published", text)
    if rows:
        radius, latitude, longitude, speed, inclination, _ = map(float, rows[0]["values"].split())
        text = f"elements of a {rows[0]['source']} trajectory at closest approach, to 0.01 km and 0.001 degree"
        pedigree = "published"
    else:
        radius, latitude, longitude, speed, inclination = _family(pass_)
        text = "orbit family: elements interpolated between six passes, speed from the period"
        pedigree = "placeholder"
    position, velocity = _cartesian(pass_.et, radius, latitude, longitude, speed, inclination)
    return State(pass_.et, position, velocity, pedigree, text)


def _family(pass_: Pass) -> tuple[float, float, float, float, float]:
    """Radius, latitude, east longitude, speed, inclination of a pass whose state is not public.

    Latitude, altitude, inclination and node change slowly and are interpolated (beyond the last, the latitude goes on by
    0.9 degree a pass); the speed follows from the energy of an orbit of the period to the next pass, in the potential at
    that place; the longitude from the node and System III.
    """
    known = {
        int(r["pass"]): [float(v) for v in r["values"].split()]
        for r in read_csv("states.csv")
        if r["kind"] == "elements"
    }
    numbers = sorted(known)
    beyond = max(pass_.number - numbers[-1], 0)
    heights = [known[n][0] - float(surface_radius(known[n][1])) for n in numbers]
    latitude = float(np.interp(pass_.number, numbers, [known[n][1] for n in numbers])) + 0.9 * beyond
    radius = float(np.interp(pass_.number, numbers, heights)) + float(surface_radius(latitude))
    inclination, node = (float(np.interp(pass_.number, numbers, [known[n][k] for n in numbers])) for k in (4, 5))
    last = passes()[-1].number
    first = min(pass_.number, last - 1)
    period = get_pass(first + 1).et - get_pass(first).et
    axis = (GM * (period / (2.0 * np.pi)) ** 2) ** (1.0 / 3.0)
    place = rectangular(0.0, latitude, radius)
    speed = float(np.sqrt(2.0 * (potential(place) - GM / (2.0 * axis))))
    along = np.pi - np.arcsin(np.sin(np.radians(latitude)) / np.sin(np.radians(inclination)))
    east = np.arctan2(np.cos(np.radians(inclination)) * np.sin(along), np.cos(along))
    meridian = orientations()["JUPITER"].euler(pass_.et)[2]
    return radius, latitude, float(np.degrees(east - meridian) + node) % 360.0, speed, inclination


def _cartesian(
    et: float, radius: float, latitude: float, longitude: float, speed: float, inclination: float
) -> tuple[Floats, Floats]:
    """J2000 state at closest approach, going south: the velocity is horizontal there.

    The east component follows from ``cos i = cos(latitude) sin(azimuth)``.
    """
    lat, lon = np.radians(latitude), np.radians(longitude)
    east = np.array([-np.sin(lon), np.cos(lon), 0.0])
    north = np.array([-np.sin(lat) * np.cos(lon), -np.sin(lat) * np.sin(lon), np.cos(lat)])
    sine = np.cos(np.radians(inclination)) / np.cos(lat)
    velocity = speed * (sine * east - np.sqrt(1.0 - sine * sine) * north)
    back = orientations()["JUPITER"].matrix(et).T
    return back @ rectangular(longitude, latitude, radius), back @ velocity


def propagate(state: State, span: Span) -> Callable[[Floats], Floats]:
    """Trajectory in J2000 relative to Jupiter: a function of et (n) inside the span, km (n, 3).

    Point mass and J2 to J10 about the pole at closest approach; DOP853 to 1e-12. Against the reconstructed trajectory
    of PJ1 over +-1 h: 0.06 km and 0.04 m/s.
    """
    pole = orientations()["JUPITER"].pole(state.et)

    def rate(_: float, y: Floats) -> Floats:
        return np.concatenate([y[3:], acceleration(y[:3], pole)])

    stages: list[tuple[float, float, Callable[[Floats], Floats]]] = []
    for direction, reach in ((1.0, span.stop - state.et), (-1.0, state.et - span.start)):
        y = np.concatenate([state.position, state.velocity])
        for number in range(max(int(np.ceil(reach / STAGE)), 0)):
            ends = direction * STAGE * number, direction * STAGE * (number + 1)
            # Scales of the errors: 1e-12 of the radius and of the speed at closest approach.
            scale = np.repeat([TOLERANCE * 7e4, TOLERANCE * 60.0], 3)
            solution = solve_ivp(rate, ends, y, "DOP853", rtol=TOLERANCE, atol=scale, dense_output=True)
            stages.append((min(ends), max(ends), solution.sol))
            y = solution.y[:, -1]

    def position(et: Floats) -> Floats:
        out = np.full((et.size, 3), np.nan)
        t = et - state.et
        for start, stop, solution in stages:
            inside = (t >= start) & (t <= stop)
            if inside.any():
                out[inside] = solution(t[inside])[:3].T
        return out

    return position


# Attitude


def spin_axis(pass_: Pass, state: State) -> tuple[Floats, str]:
    """Direction of the spin axis (+Z, the high-gain antenna) in J2000 during a pass, and where it is from.

    At gravity passes the antenna points to the Earth. At microwave passes the axis is taken normal to the orbit, on the
    Earth's side, so that the antennas sweep through nadir; other offsets are not public and the Earth is taken.
    """
    earth = ephemeris.position("EARTH", np.array([state.et]))[0] - state.position
    earth = earth / np.linalg.norm(earth)
    if pass_.attitude.startswith("MWR"):
        normal = np.cross(state.position, state.velocity)
        normal = normal / np.linalg.norm(normal)
        return normal * np.sign(normal @ earth), f"spin axis normal to the orbit ({pass_.attitude}), placeholder"
    if pass_.attitude == "GRAV":
        return earth, "spin axis to the Earth (GRAV), derived"
    return earth, f"spin axis to the Earth instead of {pass_.attitude or 'an unknown attitude'!r}, placeholder"


def despun(axis: Floats) -> tuple[Floats, Floats]:
    """Directions of +X and +Y at spin phase zero, (..., 3) each: +X towards the north of the ecliptic."""
    along = (axis * ECLIPTIC_NORTH).sum(axis=-1, keepdims=True)
    x = ECLIPTIC_NORTH - along * axis
    x = x / np.sqrt((x * x).sum(axis=-1, keepdims=True))
    return x, np.cross(axis, x)


def nominal_attitude(pass_: Pass, state: State, span: Span) -> tuple[Attitude, str]:
    """Uniform spin of 2 rpm about a fixed axis, spin phase zero at closest approach, and what it rests on."""
    axis, text = spin_axis(pass_, state)
    et = KNOT * np.arange(np.floor(span.start / KNOT), np.ceil(span.stop / KNOT) + 1)
    phase = np.radians(SPIN_RATE * (et - state.et))[:, None]
    x0, y0 = despun(axis)
    x, y = x0 * np.cos(phase) + y0 * np.sin(phase), y0 * np.cos(phase) - x0 * np.sin(phase)
    matrix = np.stack([x, y, np.broadcast_to(axis, x.shape)], axis=1)
    joined = np.ones(et.size - 1, bool)
    text += "; spin 2 rpm, phase zero at closest approach, placeholder"
    return Attitude(et, np.ascontiguousarray(to_quaternion(matrix).T), joined), text
