"""Jupiter in the thermal infrared, 2 to 5 um: what a simulator of an infrared instrument needs of the world.

The planet glows through the window about 5 um, where its brightness temperature is that of a deck of clouds with holes:
200 to 270 K, belts warmer than zones (Grassi et al. 2018, doi:10.1029/2018JE005697, show the range). Elsewhere methane
hides it. Aurorae of H3+ shine between 3.2 and 4 um in ovals about the magnetic poles. The values are a plausible
picture, not a model of the atmosphere; everything is a function of place, direction and wavelength.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

# 2 h c^2 in W um^4 m^-2 sr^-1 and h c / k in um K (CODATA 2018).
RADIATION_1, RADIATION_2 = 1.191042972e8, 14387.76877
# Transparency of the atmosphere at wavelengths in um; grey over the window from 4.5 to 5.05.
WINDOW = ((1.9, 0.01), (4.1, 0.01), (4.5, 1.0), (5.05, 1.0), (5.3, 0.3))
# Lines of H3+, um, and their share of the emission (the strongest of the R branch, rounded).
LINES = ((3.2150, 0.06), (3.4128, 0.26), (3.4208, 0.10), (3.4555, 0.08), (3.5310, 0.20), (3.5422, 0.12), (3.6675, 0.18))
AURORA = 2.0e-3  # W m^-2 sr^-1 of all lines at the brightest
# Centre (east longitude, latitude) and radius of the ovals, and their width, degrees.
OVALS = ((180.0, 74.0, 14.0, 2.0), (20.0, -82.0, 12.0, 2.0))
# The weather: waves about the planet, root mean square in K, and the power of the wavenumber their height goes with.
WAVES, WAVENUMBERS, WEATHER, SLOPE = 60, (5.0, 1500.0), 14.0, -0.25


@dataclass(frozen=True)
class ThermalScene:
    """The glow of one pass; its weather follows from the seed."""

    seed: int

    def temperature(self, longitude: ArrayLike, latitude: ArrayLike) -> Floats:
        """Brightness temperature in the window at vertical view, K; east longitude and latitude in degrees."""
        lon, lat = np.radians(np.asarray(longitude, np.float64)), np.radians(np.asarray(latitude, np.float64))
        rng = np.random.default_rng([self.seed, 5])
        number = np.exp(rng.uniform(np.log(WAVENUMBERS[0]), np.log(WAVENUMBERS[1]), WAVES))
        angle, phase = rng.uniform(0.0, 2.0 * np.pi, (2, WAVES))
        size = number**SLOPE
        size *= np.sqrt(2.0) * WEATHER / np.sqrt((size**2).sum())
        kelvin = 238.0 + 14.0 * np.cos(12.0 * lat) * np.cos(lat)
        for k, a, p, s in zip(number, angle, phase, size, strict=True):
            # A whole number of waves about the axis; their height goes to nothing where the circle of latitude does.
            along, across = np.rint(k * np.cos(a)), k * np.sin(a)
            kelvin = kelvin + s * np.cos(lat) * np.cos(along * lon + across * lat + p)
        return np.asarray(np.clip(kelvin, 195.0, 272.0))

    def limb(self, emission: ArrayLike) -> Floats:
        """Darkening toward the limb: transmission of thin clouds along the slant, 0 to 1; emission in degrees."""
        cosine = np.cos(np.radians(np.asarray(emission, np.float64)))
        return np.asarray(np.exp(-0.25 * (1.0 / np.maximum(cosine, 0.05) - 1.0)))

    def aurora(self, longitude: ArrayLike, latitude: ArrayLike) -> Floats:
        """Emission of H3+ of all lines, W m^-2 sr^-1; east longitude and latitude in degrees."""
        lon, lat = np.radians(np.asarray(longitude, np.float64)), np.radians(np.asarray(latitude, np.float64))
        total = np.zeros(np.broadcast(lon, lat).shape)
        for east, north, radius, width in OVALS:
            a, b = np.radians(east), np.radians(north)
            cosine = np.sin(lat) * np.sin(b) + np.cos(lat) * np.cos(b) * np.cos(lon - a)
            distance = np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0)))
            total += AURORA * np.exp(-0.5 * ((distance - radius) / width) ** 2)
        return total

    def transparency(self, wavelength: ArrayLike) -> Floats:
        """Transmission (0 to 1) of the atmosphere above the clouds, by wavelength in um."""
        um, value = np.transpose(WINDOW)
        return np.interp(np.asarray(wavelength, np.float64), um, value)


def planck(wavelength: ArrayLike, temperature: ArrayLike) -> Floats:
    """Spectral radiance of a blackbody, W m^-2 um^-1 sr^-1; um and K."""
    um, kelvin = np.asarray(wavelength, np.float64), np.asarray(temperature, np.float64)
    return np.asarray(RADIATION_1 * um**-5.0 / (np.exp(RADIATION_2 / (um * kelvin)) - 1.0))
