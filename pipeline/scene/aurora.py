"""Jupiter's ultraviolet light, 66 to 214 nm, as a scene has it: aurora, airglow, reflected sunlight, the sky.

Made up to be of the right size and kind; none of it is a measurement, but for the wavelength of Lyman alpha. The
spectrum is the sum of `COMPONENTS`, each a brightness that depends on where one looks, times a spectrum that does not.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

# H2 bands, H2 bands behind methane, hydrogen Lyman alpha, sunlight reflected above 155 nm.
COMPONENTS = ("h2", "h2_absorbed", "lyman_alpha", "sunlight")
LYMAN_ALPHA = 121.567
SPECTRUM_STEP = 0.05
# Rings about a point, north and south: latitude and east longitude of the middle, radius and width in degrees, kR; and
# a glow within the ring, kR.
RINGS = ((81.0, 172.0, 16.0, 1.2, 90.0, 20.0), (-83.0, 35.0, 13.5, 1.2, 80.0, 15.0))
AIRGLOW = (1.0, 5.0)  # kR of Lyman alpha, at night and with the Sun overhead
SUNLIGHT = 6.0  # kR, 155 to 214 nm, the Sun overhead
SKY = 0.3  # kR of interplanetary Lyman alpha


def brightness(longitude: ArrayLike, latitude: ArrayLike, incidence: ArrayLike) -> Floats:
    """Brightness of the components in kR, (..., 4), at points 400 km above Jupiter; NaN (no point) is the sky.

    Parameters
    ----------
    longitude, latitude, incidence : System III east longitude, planetocentric latitude, solar zenith angle; degrees.
    """
    lon, lat, sun = (np.asarray(v, np.float64) for v in (longitude, latitude, incidence))
    day = np.maximum(np.cos(np.radians(sun)), 0.0)
    main, polar = np.zeros(lon.shape), np.zeros(lon.shape)
    for pole_lat, pole_lon, radius, width, peak, glow in RINGS:
        away = separation(lon, lat, pole_lon, pole_lat)
        # Brighter and fainter along the oval.
        uneven = 1.0 + 0.5 * np.cos(np.radians(2.0 * (lon - pole_lon)))
        main += peak * uneven * np.exp(-0.5 * ((away - radius) / width) ** 2)
        polar += glow / (1.0 + np.exp((away - radius + 2.0) / 0.7))
    light = np.stack([main, polar, AIRGLOW[0] + AIRGLOW[1] * day + 0.08 * (main + polar), SUNLIGHT * day], axis=-1)
    return np.where(np.isfinite(lon)[..., None], light, np.array([0.0, 0.0, SKY, 0.0]))


def separation(lon: Floats, lat: Floats, pole_lon: float, pole_lat: float) -> Floats:
    """Angle between directions, degrees."""
    a, b, c = np.radians(lat), np.radians(pole_lat), np.radians(lon - pole_lon)
    return np.degrees(np.arccos(np.clip(np.sin(a) * np.sin(b) + np.cos(a) * np.cos(b) * np.cos(c), -1.0, 1.0)))


@cache
def spectra() -> tuple[Floats, Floats]:
    """Wavelengths (n) in nm, the middles of steps, and the shares of each component's photons in them, (4, n).

    The bands of H2 stand about where low resolution shows strong groups of the Lyman and Werner systems; methane takes
    those below 140 nm.
    """
    grid = np.arange(66.0, 214.0, SPECTRUM_STEP) + SPECTRUM_STEP / 2
    groups = (
        (103.0, 1.5, 4.0), (106.0, 1.5, 4.0), (110.0, 1.5, 5.0), (116.2, 1.2, 8.0), (119.0, 1.0, 4.0),
        (123.3, 1.2, 7.0), (125.5, 1.2, 7.0), (128.0, 1.2, 7.0), (133.5, 1.3, 6.0), (136.5, 1.5, 5.0),
        (139.5, 1.5, 5.0), (143.5, 1.6, 5.0), (149.0, 1.6, 5.0), (152.5, 1.5, 5.0), (157.8, 0.9, 9.0),
        (160.8, 1.0, 9.0), (164.0, 1.0, 2.0),
    )  # fmt: skip
    h2 = sum(h / w * np.exp(-0.5 * ((grid - c) / w) ** 2) for c, w, h in groups)
    methane = np.exp(-1.6 / (1.0 + np.exp((grid - 140.0) / 1.5)))
    line = np.exp(-0.5 * ((grid - LYMAN_ALPHA) / 0.05) ** 2)
    sunlight = np.maximum(grid - 155.0, 0.0) ** 1.5
    shapes = np.stack([h2, h2 * methane, line, sunlight])
    return grid, shapes / shapes.sum(axis=1, keepdims=True)
