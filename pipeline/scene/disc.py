"""Jupiter in sunlight, for cameras: belts and zones, an oval, limb darkening and the terminator.

Not a measurement: bands lie where Jupiter's do and have about its albedo (Chanover et al. 1996, Icarus 121, 351);
limb darkening is Minnaert's law, ``I/F = A mu0^k mu^(k-1)``. What matters is that it is known everywhere and has
structure in latitude and longitude at all scales a camera sees.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.geometry.surface import Surface

Floats = NDArray[np.float64]

# Wavelength in nm: albedo of a zone at disc centre, share the belts take from it, exponent of Minnaert's law. The last
# is the methane band, where the poles are brighter than the belts.
WAVELENGTHS = np.array([480.0, 553.0, 699.0, 890.0])
ALBEDO = np.array([0.46, 0.52, 0.55, 0.06])
BELTS = np.array([0.34, 0.26, 0.16, 0.45])
MINNAERT = np.array([0.90, 0.93, 0.96, 0.88])
POLES = np.array([-0.35, -0.30, -0.22, 0.80])
# Planetographic latitude of the middle and half-width of the belts, degrees (Rogers 1995, The Giant Planet Jupiter).
BELT_PLACES = np.array([[-68.0, 2.5], [-56.0, 2.0], [-42.0, 2.5], [-30.0, 2.5], [-13.5, 6.5], [12.5, 5.0], [27.5, 3.0],
                        [40.0, 2.5], [53.0, 2.0], [65.0, 3.0]])  # fmt: skip
# Planetographic latitude and east longitude of an oval's centre, its half-axes, and the share it takes.
OVAL = (-22.5, 265.0, 5.0, 9.0, 0.5)
# Waves along the belts: wave number in longitude, degrees of phase per degree of latitude, relative size.
WAVES = ((9.0, 50.0, 0.06), (34.0, -130.0, 0.04), (120.0, 400.0, 0.03))


def i_over_f(surface: Surface, wavelength: float) -> Floats:
    """I/F of points of the surface as seen from where `surface` was computed; 0 on the night side, NaN off the disc.

    Parameters
    ----------
    wavelength : nm; between those of the table what depends on it is interpolated.
    """
    zone, belts, exponent, poles = (
        float(np.interp(wavelength, WAVELENGTHS, values)) for values in (ALBEDO, BELTS, MINNAERT, POLES)
    )
    pattern = _pattern(surface.latitude_planetographic, surface.longitude_east)
    edge = 0.5 + 0.5 * np.tanh((np.abs(surface.latitude_planetographic) - 58.0) / 6.0)
    albedo = zone * (1.0 - belts * pattern) * (1.0 + poles * edge)
    mu0, mu = (np.cos(np.radians(angle)) for angle in (surface.incidence, surface.emission))
    with np.errstate(invalid="ignore", divide="ignore"):
        lit = albedo * np.maximum(mu0, 0.0) ** exponent * np.maximum(mu, 1e-3) ** (exponent - 1.0)
        return np.where(mu0 > 0.0, lit, np.where(np.isfinite(mu0), 0.0, np.nan))


def _pattern(latitude: ArrayLike, longitude: ArrayLike) -> Floats:
    """Darkness by place, about 0 in zones and 1 in belts."""
    lat, lon = np.asarray(latitude, np.float64), np.radians(np.asarray(longitude, np.float64))
    wavy = np.asarray(sum(size * np.sin(number * lon + np.radians(turn * lat)) for number, turn, size in WAVES))
    dark = np.zeros(np.broadcast(lat, lon).shape)
    for middle, half in BELT_PLACES:
        square = ((lat - middle) / half + 1.5 * wavy) ** 2
        dark += np.exp(-(square * square))  # a power of 4 takes ten times as long
    centre, meridian, high, wide, share = OVAL
    off = np.degrees(np.angle(np.exp(1j * (lon - np.radians(meridian)))))
    oval = np.exp(-((((lat - centre) / high) ** 2 + (off / wide) ** 2) ** 2))
    return np.asarray(dark * (1.0 - oval) + share * oval + wavy)
