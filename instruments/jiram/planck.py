"""Radiance of blackbodies in the imager's bands, and the temperature of a radiance.

Planck's law in wavelength, ``B = c1 / lambda^5 / (exp(c2 / (lambda T)) - 1)`` with the constants of CODATA 2018.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

# 2 h c^2 in W um^4 m^-2 sr^-1 and h c / k in um K.
C1, C2 = 1.191042972e8, 14387.76877
# Grid of temperatures on which bands are tabulated; the colour of what is outside is that of the ends.
TEMPERATURES = np.linspace(100.0, 600.0, 2001)
NODES, WEIGHTS = np.polynomial.legendre.leggauss(16)


def spectral_radiance(wavelength: ArrayLike, temperature: ArrayLike) -> Array:
    """Planck's law, W m^-2 um^-1 sr^-1, of wavelengths in um and temperatures in K."""
    um, kelvin = np.asarray(wavelength, np.float64), np.asarray(temperature, np.float64)
    return np.asarray(C1 / um**5 / np.expm1(C2 / (um * kelvin)))


def band_table(edges: Array) -> tuple[Array, Array]:
    """Radiance of blackbodies between two wavelengths, W m^-2 sr^-1, and their mean wavelength, um, at `TEMPERATURES`.

    The mean is weighted by energy: photons, which the detector counts, are as many as if all came at this wavelength.
    """
    half = (edges[1] - edges[0]) / 2.0
    um = (edges[0] + edges[1]) / 2.0 + half * NODES
    density = spectral_radiance(um, TEMPERATURES[:, None]) * WEIGHTS * half
    total = density.sum(axis=1)
    return total, (density * um).sum(axis=1) / total


def brightness_temperature(radiance: ArrayLike, edges: ArrayLike) -> Array:
    """Temperature of the blackbody of a band's radiance, K; NaN outside 100 to 600 K.

    Parameters
    ----------
    radiance : W m^-2 sr^-1 within the band.
    edges : of the band, um.
    """
    total, _ = band_table(np.asarray(edges, np.float64))
    value = np.asarray(radiance, np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        # Nearly linear in 1/T against log of radiance.
        inverse = np.interp(np.log(value), np.log(total), 1.0 / TEMPERATURES, left=np.nan, right=np.nan)
    return np.asarray(1.0 / inverse)


def colour(radiance: Array, edges: Array, reference: float) -> Array:
    """Mean wavelength of the blackbody of a radiance over `reference`: by so much a photon counter reads too much."""
    total, mean = band_table(edges)
    return np.interp(np.nan_to_num(radiance), total, mean / reference)
