"""Positions to evaluate fields at, and the library they are compared with."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

RADIUS = 71492.0
PJ1 = 525574312.242697
# Seconds from closest approach, radii, planetocentric latitude, east longitude: the reconstructed trajectory.
TRACK = np.array(
    [
        (-7200, 3.5293, 62.05, 157.04),
        (-3600, 2.1468, 84.96, 122.08),
        (-1800, 1.4474, 66.67, 282.04),
        (-600, 1.1106, 29.18, 270.20),
        (0, 1.0579, 3.78, 264.22),
        (600, 1.1105, -21.64, 258.24),
        (1800, 1.4470, -59.19, 246.32),
        (3600, 2.1458, -87.59, 231.26),
        (7200, 3.5281, -69.47, 11.31),
    ]
)


@pytest.fixture(scope="session")
def track() -> np.ndarray:
    """Nine places along PJ1, IAU_JUPITER, km."""
    _, r, latitude, longitude = TRACK.T
    lat, lon = np.radians(latitude), np.radians(longitude)
    return RADIUS * r[:, None] * np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=1)


@pytest.fixture(scope="session")
def real_track(real_data: Path) -> np.ndarray:
    """The two hours of PJ1 every 10 s from the reconstructed trajectory, IAU_JUPITER, km."""
    import spiceypy

    kernels = [str(real_data / "spice" / n) for n in ("pck00010.tpc", "spk_rec_160729_160923_161027.bsp")]
    for kernel in kernels:
        spiceypy.furnsh(kernel)
    try:
        ets = PJ1 + np.arange(-3600.0, 3601.0, 10.0)
        return np.array([spiceypy.spkgps(-61, et, "IAU_JUPITER", 599)[0] for et in ets])
    finally:
        for kernel in kernels:
            spiceypy.unload(kernel)


@pytest.fixture(scope="session")
def peer() -> ModuleType:
    """The community's C++ library."""
    return pytest.importorskip("JupiterMag")


@pytest.fixture(scope="session")
def cloud() -> np.ndarray:
    """Places in all directions from the planet's inside to beyond the disc's inner edge, km."""
    rng = np.random.default_rng(5)
    direction = rng.normal(size=(20011, 3))
    direction[:, 2] *= 0.5
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    return direction * RADIUS * rng.uniform(0.3, 14.0, (20011, 1))
