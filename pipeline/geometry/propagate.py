"""Geometry without kernels: trajectory from the state at closest approach, attitude from the nominal spin."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache

import numpy as np
from numpy.typing import NDArray

from pipeline.clock import Span, format_utc, read_csv
from pipeline.errors import GeometryError
from pipeline.geometry.attitude import Attitude, to_quaternion
from pipeline.geometry.frames import OBLIQUITY, axis_rotation
from pipeline.geometry.track import Track
from pipeline.jupiter.gravity import GM, acceleration, potential
from pipeline.jupiter.rotation import DAY, orientations
from pipeline.jupiter.shape import rectangular, surface_radius
from pipeline.passes import Pass, get_pass, passes

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
# Intervals in seconds, on whole multiples in et, and degree of the polynomials: within 2 mm and 0.001 mm/s of a kernel,
# whose own positions jump by as much.
INTERVAL, DEGREE = 600.0, 14
STAGE, TOLERANCE = 3600.0, 1e-12
ELEMENTS = ("radius", "speed", "inclination", "node", "argument")
# Degrees north by which perijove moves from pass to pass.
DRIFT = 0.9
ECLIPTIC_NORTH = np.array([0.0, -np.sin(OBLIQUITY), np.cos(OBLIQUITY)])


def edges_over(span: Span, interval: float) -> Floats:
    """Whole multiples of an interval that enclose a span."""
    first, last = np.floor(span.start / interval), np.ceil(span.stop / interval)
    return np.arange(first, max(last, first + 1) + 1) * interval


def state_at_perijove(pass_: Pass) -> tuple[float, Floats, str]:
    """Et, state (6) in J2000 and pedigree: PJ1 published, others from the elements of ``perijove_states.csv``."""
    if pass_.number == 1:
        return PJ1_ET, np.array(PJ1_STATE), "published"
    known = {int(r["pass"]): r for r in read_csv("perijove_states.csv")}
    if pass_.number in known:
        row = known[pass_.number]
        radius, speed, *angles = (float(row[n]) for n in ELEMENTS)
        pedigree = row["pedigree"]
    else:
        radius, speed, *angles = _family(pass_, known)
        pedigree = "placeholder"
    alpha, delta, _ = orientations()["JUPITER"].euler(pass_.et)
    inclination, node, argument = np.radians(angles)
    # From J2000 to Jupiter's equator, to the plane of the orbit, to the direction of perijove.
    equator = axis_rotation(1, np.pi / 2 - float(delta)) @ axis_rotation(3, np.pi / 2 + float(alpha))
    orbit = axis_rotation(3, argument) @ axis_rotation(1, inclination) @ axis_rotation(3, node) @ equator
    return pass_.et, np.concatenate([radius * orbit[0], speed * orbit[1]]), pedigree


def _family(pass_: Pass, known: Mapping[int, Mapping[str, str]]) -> tuple[float, float, float, float, float]:
    """Radius, speed, inclination, node and argument of perijove (degrees) of a pass whose state is not public.

    Altitude, inclination, node and latitude change slowly and are interpolated in the pass's number; beyond the last
    known pass the latitude goes on north by `DRIFT`. The speed follows from the energy: that of an orbit with the
    period to the next perijove, in the potential at that place; on the six known passes it is right to 1 m/s.
    """
    numbers = sorted(known)
    columns = {n: np.array([float(known[i][n]) for i in numbers]) for n in ELEMENTS}
    sine = np.sin(np.radians(columns["inclination"])) * np.sin(np.radians(columns["argument"]))
    latitudes = np.degrees(np.arcsin(sine))

    def between(values: Floats) -> float:
        return float(np.interp(pass_.number, numbers, values))

    latitude = between(latitudes) + DRIFT * max(pass_.number - numbers[-1], 0)
    radius = between(columns["radius"] - surface_radius(latitudes)) + float(surface_radius(latitude))
    inclination = between(columns["inclination"])
    # Perijove lies on the way south.
    argument = 180.0 - np.degrees(np.arcsin(np.sin(np.radians(latitude)) / np.sin(np.radians(inclination))))
    first = min(pass_.number, passes()[-2].number)
    period = get_pass(first + 1).et - get_pass(first).et
    axis = (GM * (period / (2.0 * np.pi)) ** 2) ** (1.0 / 3.0)
    speed = np.sqrt(2.0 * float(potential(rectangular(0.0, latitude, radius))) - GM / axis)
    return radius, float(speed), inclination, between(columns["node"]), float(argument)


def propagated(pass_: Pass, span: Span) -> tuple[Track, str]:
    """Trajectory of Juno about Jupiter with J2 to J10, and the pedigree of its state.

    For PJ1 within 0.06 km and 36 mm/s of the reconstructed one over +-1 h, 31 km and 2 m/s over +-12 h.
    """
    et, state, pedigree = state_at_perijove(pass_)
    pole = orientations()["JUPITER"].pole(et)
    edges = edges_over(span, INTERVAL)

    def slope(t: float, y: Floats) -> Floats:
        return np.concatenate([y[3:], acceleration(y[:3], pole)])

    forward = _integrate(slope, state, max(edges[-1] - et, 0.0))
    backward = _integrate(slope, state, min(edges[0] - et, 0.0))

    def states(times: Floats) -> Floats:
        t = times - et
        out = np.full((t.size, 6), np.nan)
        for start, stop, dense in (*backward, *forward):
            inside = (t >= start) & (t <= stop)
            if inside.any():
                out[inside] = dense(t[inside]).T
        return out

    return Track.fit(states, edges, DEGREE), pedigree


def _integrate(
    slope: Callable[[float, Floats], Floats], state: Floats, until: float
) -> list[tuple[float, float, Callable[[Floats], Floats]]]:
    """States as functions of time, stage by stage, from 0 to at least `until`.

    Every stage is integrated to its own end, so that a wider span never changes what lies inside a narrower one.
    """
    from scipy.integrate import solve_ivp  # half a second that only this needs

    stages: list[tuple[float, float, Callable[[Floats], Floats]]] = []
    # Errors relative to the distance and the speed at closest approach.
    scale = TOLERANCE * np.repeat([np.linalg.norm(state[:3]), np.linalg.norm(state[3:])], 3)
    for number in range(int(np.ceil(abs(until) / STAGE))):
        ends = np.sign(until) * STAGE * number, np.sign(until) * STAGE * (number + 1)
        solution = solve_ivp(slope, ends, state, "DOP853", rtol=TOLERANCE, atol=scale, dense_output=True)
        if not solution.success:
            raise GeometryError(f"trajectory cannot be propagated to {ends[1]} s from closest approach")
        assert solution.sol is not None
        stages.append((float(min(ends)), float(max(ends)), solution.sol))
        state = solution.y[:, -1]
    return stages


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


def despun(axis: Floats) -> tuple[Floats, Floats]:
    """Where +X (to the ecliptic north) and +Y point at spin phase zero, for spin axes in J2000, (..., 3) each."""
    along = axis[..., :1] * ECLIPTIC_NORTH[0] + axis[..., 1:2] * ECLIPTIC_NORTH[1] + axis[..., 2:] * ECLIPTIC_NORTH[2]
    x = ECLIPTIC_NORTH - along * axis
    x = x / np.sqrt(x[..., :1] ** 2 + x[..., 1:2] ** 2 + x[..., 2:] ** 2)
    return x, np.cross(axis, x)


def spinning(axis: Floats, et: float, span: Span) -> Attitude:
    """Attitude of nominal rate about a fixed axis; the spin phase is zero at `et`."""
    x, y = despun(axis)
    times = edges_over(span, INSTANT)
    phase = (SPIN_RATE * (times - et))[:, None]
    matrix = np.stack(
        [x * np.cos(phase) + y * np.sin(phase), y * np.cos(phase) - x * np.sin(phase), np.tile(axis, (times.size, 1))],
        axis=1,
    )
    return Attitude(times, to_quaternion(matrix).T.copy(), np.ones(times.size - 1, bool))


# Ephemerides of the Sun and Earth


@cache
def _ephemeris() -> dict[str, tuple[str, Track]]:
    """Body to what it is relative to, and its track."""
    rows: dict[tuple[str, str], list[dict[str, str]]] = {}
    for row in read_csv("ephemeris.csv"):
        rows.setdefault((row["body"], row["center"]), []).append(row)
    out = {}
    for (body, center), own in rows.items():
        # Three rows an interval, one for each axis.
        starts = np.array([float(r["start"]) for r in own[::3]]) * DAY
        numbers = [[float(v) for v in r["coefficients"].split()] for r in own]
        coefficients = np.zeros((max(map(len, numbers)), 3, starts.size))
        for i, values in enumerate(numbers):
            coefficients[: len(values), i % 3, i // 3] = values
        out[body] = center, Track(np.append(starts, starts[-1] + float(own[-1]["days"]) * DAY), coefficients)
    return out


def _tabulated(body: str, et: Floats) -> Floats:
    """State (n, 6) relative to the barycentre of Jupiter's system; NaN outside the table."""
    total = np.zeros((et.size, 6))
    while body != "JUPITER_BARYCENTER":
        body, track = _ephemeris()[body]
        total = total + np.hstack([track.position(et), track.velocity(et)])
    return total


def tabulated_track(body: str, span: Span) -> Track:
    """Track of ``SUN``, ``EARTH`` or ``SSB`` relative to Jupiter, J2000.

    The table is within 1 km and 0.1 m/s of DE440; Jupiter is taken at the barycentre of its system, up to 250 km away.

    Raises
    ------
    GeometryError
        outside 2016-06-05 to 2026-01-08.
    """
    track = Track.fit(lambda et: _tabulated(body, et), edges_over(span, DAY), 9)
    if np.isnan(track.coefficients).any():
        reach = _ephemeris()["EARTH"][1].edges
        text = f"{format_utc(reach[0], 0)[:10]} to {format_utc(reach[-1], 0)[:10]}"
        raise GeometryError(f"Sun and Earth are tabulated from {text}; beyond, kernels are needed")
    return track
