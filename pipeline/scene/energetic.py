"""Energetic particles along a simulated pass: power laws in energy, with a belt near closest approach.

Directions differ: more particles cross the field than follow it, and more come along it than against it, as after a
loss cone on one side. The mean over all directions of `anisotropy` is one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

# Second harmonic across the field, first harmonic along it.
ACROSS, ALONG = 0.5, 0.15
# The belt: seconds from closest approach, and its length.
BELT, LENGTH = 150.0, 250.0


@dataclass(frozen=True)
class Spectrum:
    """Differential intensity of one species, ``level (E / reference)^-index``.

    Parameters
    ----------
    intensity : at the reference energy outside the belt, 1/(cm2 s sr keV).
    reference : keV.
    index : of the power law.
    belt : by how many times the intensity is higher in the middle of the belt.
    swing : relative amplitude of its slow change; `period` in s.
    """

    intensity: float
    reference: float
    index: float
    belt: float
    swing: float
    period: float


# Oxygen: mean and slope of the intensities JEDI measured from 2017-10-17 to 20 (orbit 9), 29 at 477 keV, index 2.5.
SPECTRA = {
    "electrons": Spectrum(5.0e3, 100.0, 1.9, 30.0, 0.25, 1500.0),
    "protons": Spectrum(2000.0, 100.0, 2.2, 6.0, 0.20, 1800.0),
    "helium": Spectrum(20.0, 200.0, 2.4, 6.0, 0.20, 1600.0),
    "oxygen": Spectrum(29.0, 476.525, 2.5, 4.0, 0.25, 1900.0),
    "sulfur": Spectrum(20.0, 476.525, 2.3, 4.0, 0.25, 2100.0),
}


def mean_intensity(name: str, et: ArrayLike, closest_approach: float, lower: Floats, upper: Floats) -> Floats:
    """Intensity averaged over directions and over bands of energy in keV, 1/(cm2 s sr keV) (n, band)."""
    spectrum = SPECTRA[name]
    since = np.atleast_1d(np.asarray(et, np.float64)) - closest_approach
    wave = np.sin(2.0 * np.pi * since / spectrum.period + len(name))
    bump = np.exp(-0.5 * ((since - BELT) / LENGTH) ** 2)
    level = spectrum.intensity * (1.0 + spectrum.swing * wave) * (1.0 + (spectrum.belt - 1.0) * bump)
    low, high = lower / spectrum.reference, upper / spectrum.reference
    power = 1.0 - spectrum.index
    return np.asarray(level[:, None] * (high**power - low**power) / (power * (high - low)))


def anisotropy(cosine: Floats) -> Floats:
    """Intensity over its mean over directions, by the cosine of the pitch angle."""
    return np.asarray(1.0 + ACROSS * (1.0 / 3.0 - cosine**2) + ALONG * cosine)
