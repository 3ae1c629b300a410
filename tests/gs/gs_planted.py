"""Trajectories with something planted that the calibration does not know of."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import solve_ivp

from pipeline.clock import Span
from pipeline.geometry import Geometry
from pipeline.geometry.propagate import DEGREE, INTERVAL, edges_over, state_at_perijove
from pipeline.geometry.track import Track
from pipeline.jupiter.gravity import GM, RADIUS, ZONAL, acceleration
from pipeline.jupiter.rotation import iau_jupiter, orientations
from pipeline.passes import Pass

Floats = NDArray[np.float64]
Pull = Callable[[float, Floats], Floats]

GM_IO, K2, IO_DISTANCE = 5959.9155, 0.58, 421800.0


def trajectory(
    pass_: Pass, span: Span, zonal: Sequence[float] = ZONAL, state: Floats | None = None, extra: Pull | None = None
) -> Track:
    """Juno about Jupiter, with other harmonics, another state at closest approach, or a further pull."""
    et, nominal, _ = state_at_perijove(pass_)
    pole = orientations()["JUPITER"].pole(et)
    start = nominal if state is None else nominal + state
    edges = edges_over(span, INTERVAL)

    def slope(t: float, y: Floats) -> Floats:
        pull = acceleration(y[:3], pole, gm=GM, zonal=zonal)
        if extra is not None:
            pull = pull + extra(t + et, y[:3])
        return np.concatenate([y[3:], pull])

    scale = 1e-13 * np.repeat([np.linalg.norm(start[:3]), np.linalg.norm(start[3:])], 3)
    sides = []
    for end in (edges[0] - et, edges[-1] - et):
        found = solve_ivp(slope, (0.0, end), start, "DOP853", rtol=1e-12, atol=scale, dense_output=True)
        assert found.sol is not None
        sides.append(found.sol)

    def states(times: Floats) -> Floats:
        t = times - et
        return np.where((t < 0)[:, None], sides[0](np.minimum(t, 0.0)).T, sides[1](np.maximum(t, 0.0)).T)

    return Track.fit(states, edges, DEGREE)


def io_tide(geometry: Geometry) -> Pull:
    """Pull of the bulge that Io raises: ``U = k2 GM_Io / d (R / d)^2 (R / r)^3 P2(cos)``, Io in a circular orbit."""
    # Its place is that of a circular orbit in Jupiter's equator through an arbitrary longitude.
    pole = orientations()["JUPITER"].pole(geometry.closest_approach)
    x = np.cross([0.0, 0.0, 1.0], pole)
    x /= np.linalg.norm(x)
    y = np.cross(pole, x)
    rate = 2.0 * np.pi / 152853.5
    factor = K2 * GM_IO / IO_DISTANCE**3 * RADIUS**5

    def pull(et: float, r: Floats) -> Floats:
        angle = rate * (et - geometry.closest_approach) + 0.7
        io = np.cos(angle) * x + np.sin(angle) * y
        size = np.linalg.norm(r)
        c = r @ io / size
        # Gradient of r^-3 (3 c^2 - 1) / 2.
        return factor * size**-4 * (3.0 * c * io - (7.5 * c**2 - 1.5) * r / size)

    return pull


def sectorial(c22: float) -> Pull:
    """Pull of ``U = GM / r (R / r)^2 C22 P22(sin) cos(2 lon)``: a bulge that turns with Jupiter."""

    def pull(et: float, r: Floats) -> Floats:
        turn = iau_jupiter(np.array([et]))[0]
        x, y, z = turn @ r
        size = np.linalg.norm(r)
        # 3 C22 GM R^2 (x^2 - y^2) / r^5
        a, s = x * x - y * y, 3.0 * c22 * GM * RADIUS**2
        gradient = s * (np.array([2 * x, -2 * y, 0.0]) / size**5 - 5.0 * a / size**7 * np.array([x, y, z]))
        return turn.T @ gradient

    return pull
