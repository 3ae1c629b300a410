"""The plasma along a simulated pass: kappa distributions that drift, each with density, temperature and velocity.

Where the spacecraft is the plasma nearly corotates and swings slowly in density, temperature and flow: smooth functions
of time, of the size found in the inner magnetosphere, with periods that no instrument shares.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln

from pipeline.geometry import Geometry

Floats = NDArray[np.float64]

ELEMENTARY_CHARGE = 1.602176634e-19
ATOMIC_MASS = 1.66053906660e-27
# Rotation of System III, rad/s.
OMEGA = 870.536 / 86400.0 * np.pi / 180.0


@dataclass(frozen=True)
class Population:
    """One population.

    Parameters
    ----------
    mass : u; charge : in elementary charges.
    density : 1/cm3; temperature : eV; both at closest approach.
    kappa : index of the distribution; above 3/2.
    swing : relative amplitude of density, and half as much of temperature; `period` in s.
    lag : of the flow behind corotation, relative; across : flow along +Z of System III, km/s.
    """

    mass: float
    charge: int
    density: float
    temperature: float
    kappa: float
    swing: float
    period: float
    lag: float = 0.05
    across: float = 0.0


POPULATIONS = {
    "electrons": Population(5.48579909e-4, -1, 3.0, 900.0, 5.0, 0.35, 1700.0),
    "protons": Population(1.00728, 1, 8.0, 150.0, 4.0, 0.30, 2100.0, 0.04, 6.0),
    "oxygen": Population(15.9994, 1, 40.0, 240.0, 4.0, 0.30, 1900.0, 0.06, 4.0),
    "sulfur": Population(32.06, 1, 25.0, 400.0, 4.0, 0.30, 2300.0, 0.08, 3.0),
}


@dataclass(frozen=True)
class Plasma:
    """State of a population at times: density 1/cm3 (n), temperature eV (n), velocity in J2000 km/s (n, 3)."""

    population: Population
    density: Floats
    temperature: Floats
    velocity: Floats

    def phase_space_density(self, velocity: Floats) -> Floats:
        """Density of a kappa distribution, s3/m6, at velocities in J2000, m/s (n, ..., 3).

        Vasyliunas 1968, J. Geophys. Res. 73, 2839, with the temperature of its second moment (Livadiotis and McComas
        2009, J. Geophys. Res. 114, A11105). Of relativistic particles the velocity is momentum over mass.
        """
        lead = (slice(None),) + (None,) * (velocity.ndim - 2)
        away = velocity - 1e3 * self.velocity[(*lead, slice(None))]
        kappa = self.population.kappa
        mass = self.population.mass * ATOMIC_MASS
        theta = ((2.0 * kappa - 3.0) / kappa * self.temperature * ELEMENTARY_CHARGE / mass)[lead]
        height = self.density * 1e6 * np.exp(gammaln(kappa + 1.0) - gammaln(kappa - 0.5))
        squared = (away**2).sum(axis=-1)
        return np.asarray(
            height[lead] / (np.pi * kappa * theta) ** 1.5 * (1.0 + squared / (kappa * theta)) ** -(kappa + 1.0)
        )


def plasma(name: str, et: ArrayLike, geometry: Geometry, closest_approach: float) -> Plasma:
    """A population of `POPULATIONS` where Juno is."""
    population = POPULATIONS[name]
    times = np.atleast_1d(np.asarray(et, np.float64))
    wave = np.sin(2.0 * np.pi * (times - closest_approach) / population.period + len(name))
    position = geometry.position("IAU_JUPITER", times)
    flow = np.cross([0.0, 0.0, OMEGA * (1.0 - population.lag)], position)
    flow[:, 2] += population.across
    turn = geometry.rotation("IAU_JUPITER", "J2000", times)
    return Plasma(
        population,
        population.density * (1.0 + population.swing * wave),
        population.temperature * (1.0 + 0.5 * population.swing * wave),
        np.asarray((turn * flow[:, None, :]).sum(axis=2)),
    )
