"""Geometry without kernels: trajectory from the state at closest approach, attitude from the nominal spin."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import DOP853

from pipeline.clock import Span, read_csv
from pipeline.geometry.attitude import Attitude, to_quaternion
from pipeline.geometry.frames import axis_rotation
from pipeline.geometry.track import Track
from pipeline.jupiter.gravity import acceleration
from pipeline.jupiter.rotation import DAY, orientations
from pipeline.passes import Pass

Floats = NDArray[np.float64]

# State of PJ1: J2000, km and km/s, relative to 599; NAIF's reconstructed trajectory spk_rec_160729_160923_161027.
PJ1_ET = 525574312.242697
PJ1_STATE = (899.7818663314533, 65966.1638130861, 36986.02012733655,
             0.7516263067716001, 28.259606829606586, -50.420521541181785)  # fmt: skip
# Spin in the science orbits: 2 rpm, right-handed about +Z (Connerney et al. 2017, 10.1007/s11214-017-0334-z). Its phase
# is not public.
SPIN_RATE = 2.0 * np.pi / 30.0
# Instants of the attitude in seconds: a sixth of a spin apart.
INSTANT = 5.0
# Intervals in seconds, on whole multiples in et, and degree of the polynomials: 3 mm from a kernel's positions, whose
# own steps are as large.
INTERVAL, DEGREE = 600.0, 14


def edges_over(span: Span, interval: float) -> Floats:
    """Whole multiples of an interval that enclose a span."""
    first, last = np.floor(span.start / interval), np.ceil(span.stop / interval)
    return np.arange(first, max(last, first + 1) + 1) * interval


def state_at_perijove(pass_: Pass) -> tuple[float, Floats, str]:
    """Et, state (6) in J2000 and pedigree: PJ1 published, others from the elements of ``perijove_states.csv``.

    Between tabulated passes the elements are linear in the pass's number; beyond the ends the last ones are held.
    """
    if pass_.number == 1:
        return PJ1_ET, np.array(PJ1_STATE), "published"
    rows = read_csv("perijove_states.csv")
    numbers = [float(r["pass"]) for r in rows]
    names = ("radius", "speed", "inclination", "node", "argument")
    radius, speed, *angles = (np.interp(pass_.number, numbers, [float(r[n]) for r in rows]) for n in names)
    alpha, delta, _ = orientations()["JUPITER"].euler(pass_.et)
    inclination, node, argument = np.radians(angles)
    # From J2000 to Jupiter's equator, to the plane of the orbit, to the direction of perijove.
    equator = axis_rotation(1, np.pi / 2 - float(delta)) @ axis_rotation(3, np.pi / 2 + float(alpha))
    orbit = axis_rotation(3, argument) @ axis_rotation(1, inclination) @ axis_rotation(3, node) @ equator
    pedigree = {int(r["pass"]): r["pedigree"] for r in rows}.get(pass_.number, "placeholder")
    return pass_.et, np.concatenate([radius * orbit[0], speed * orbit[1]]), pedigree


def propagated(pass_: Pass, span: Span) -> tuple[Track, str]:
    """Trajectory of Juno about Jupiter with J2 to J10, and the pedigree of its state.

    For PJ1 within 0.06 km and 36 mm/s of the reconstructed one over +-1 h.
    """
    et, state, pedigree = state_at_perijove(pass_)
    pole = orientations()["JUPITER"].pole(et)
    edges = edges_over(span, INTERVAL)

    def slope(t: float, y: Floats) -> Floats:
        return np.concatenate([y[3:], acceleration(y[:3], pole)])

    forward = _integrate(slope, state, max(edges[-1] - et, 0.0))
    backward = _integrate(slope, state, min(edges[0] - et, 0.0))

    def position(times: Floats) -> Floats:
        t = times - et
        out = np.empty((t.size, 3))
        for dense, where in ((forward, t >= 0), (backward, t < 0)):
            out[where] = dense(t[where])
        return out

    return Track.fit(position, edges, DEGREE), pedigree


def _integrate(slope: Callable[[float, Floats], Floats], state: Floats, until: float) -> Callable[[Floats], Floats]:
    """Positions as a function of time from 0 to `until`."""
    solver = DOP853(slope, 0.0, state, until, rtol=1e-12, atol=1e-9)
    steps = [0.0]
    pieces = []
    while solver.status == "running":
        solver.step()
        pieces.append(solver.dense_output())
        steps.append(solver.t)
    if solver.status == "failed":
        raise RuntimeError(f"trajectory cannot be propagated to {until} s from closest approach")
    reach = np.abs(steps)

    def position(t: Floats) -> Floats:
        index = np.clip(np.searchsorted(reach, np.abs(t), side="right") - 1, 0, max(len(pieces) - 1, 0))
        out = np.empty((t.size, 3))
        for i in np.unique(index):
            out[index == i] = pieces[i](t[index == i])[:3].T if pieces else state[:3]
        return out

    return position


def spin_axis(pass_: Pass, earth: Floats, state: Floats) -> tuple[Floats, str]:
    """Direction of +Z in J2000 at closest approach and what it rests on.

    Parameters
    ----------
    earth : from Juno to Earth.
    state : of Juno, (6).
    """
    if pass_.attitude.startswith("MWR"):
        normal = np.cross(state[:3], state[3:])
        sign = 1.0 if normal @ earth > 0 else -1.0
        return sign * normal / np.linalg.norm(normal), "normal of the orbit, so that the beams of MWR sweep the nadir"
    return earth / np.linalg.norm(earth), "antenna at Earth"


def spinning(axis: Floats, et: float, span: Span) -> Attitude:
    """Attitude of nominal rate about a fixed axis; at `et` +X is in the plane of the axis and Jupiter's pole."""
    north = orientations()["JUPITER"].pole(et)
    y = np.cross(axis, north)
    y /= np.linalg.norm(y)
    start = np.stack([np.cross(y, axis), y, axis])
    times = edges_over(span, INSTANT)
    angle = SPIN_RATE * (times - et)
    c, s, zero, one = np.cos(angle), np.sin(angle), np.zeros_like(angle), np.ones_like(angle)
    turn = np.moveaxis(np.array([[c, s, zero], [-s, c, zero], [zero, zero, one]]), -1, 0)
    return Attitude(times, to_quaternion(turn @ start).T.copy(), np.ones(times.size - 1, bool))


# Ephemerides of the Sun and Earth


@cache
def _ephemeris() -> dict[str, tuple[Floats, list[Floats]]]:
    """Body to edges in et and coefficients (order, axis) of each interval."""
    rows = read_csv("ephemeris.csv")
    out: dict[str, tuple[Floats, list[Floats]]] = {}
    for body in ("SSB", "SUN", "EARTH"):
        own = [r for r in rows if r["body"] == body]
        starts = np.array([float(r["start"]) for r in own[::3]]) * DAY
        numbers = [np.array([[float(v) for v in own[i + k]["coefficients"].split()] for k in range(3)]).T
                   for i in range(0, len(own), 3)]  # fmt: skip
        out[body] = np.append(starts, starts[-1] + float(own[-1]["days"]) * DAY), numbers
    return out


def _tabulated(body: str, et: Floats) -> Floats:
    edges, numbers = _ephemeris()[body]
    index = np.searchsorted(edges, et, side="right") - 1
    out = np.full((et.size, 3), np.nan)
    for i in np.unique(index[(index >= 0) & (index < len(numbers))]):
        where = index == i
        x = (2.0 * et[where] - edges[i] - edges[i + 1]) / (edges[i + 1] - edges[i])
        out[where] = np.polynomial.chebyshev.chebval(x, numbers[i]).T
    return out


def tabulated_track(body: str, span: Span) -> Track:
    """Track of ``SUN`` or ``EARTH`` relative to Jupiter (its system's barycentre, up to 250 km away), J2000."""
    return Track.fit(lambda et: _tabulated("SSB", et) + _tabulated(body, et), edges_over(span, DAY), 8)
