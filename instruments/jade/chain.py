"""The equations from counts to phase-space density, each with its source (README.md, "Algorithm")."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from calibration.tables import Table

Array = NDArray[np.float64]

# CODATA 2018.
ELEMENTARY_CHARGE = 1.602176634e-19
LIGHT = 299_792_458.0
ATOMIC_MASS = 1.66053906660e-27
ELECTRON_MASS = 9.1093837015e-31


class Decompressed(NamedTuple):
    """Counts of codes, arrays of one shape.

    Attributes
    ----------
    counts : middle of the bin of counts that a code stands for.
    mean : the same, less what keeps sums right: beside a change of the bins' width from w to W it is (W - w) / 12
        less, because more of a smooth distribution is carried up within the wide bins than down within the narrow ones
        (the first term of the Euler-Maclaurin formula; 0.1 % of all counts for the 32-bit table).
    width : of the bin; 0 where the code is the number itself.
    top : whether the last bin is reached.
    """

    counts: Array
    mean: Array
    width: Array
    top: NDArray[np.bool_]


def decompress(code: NDArray[np.uint32], compression: NDArray[np.uint8], table: Table) -> Decompressed:
    """Counts of codes (n, ...) by the table each record was compressed with (n): 0 none, 1 16-bit, 2 32-bit.

    Codes above 255 are only there with 0.
    """
    counts, width = code.astype(float), np.zeros(code.shape)
    mean, top = counts.copy(), code >= np.uint32(0xFFFFFFFF)
    for number, name in ((1, "lower_16"), (2, "lower_32")):
        use = compression == number
        lower = table[name].value
        size = np.diff(lower, append=2.0 * lower[-1] - lower[-2])
        step = np.diff(size) / 12.0
        shift = np.append(step, 0.0) + np.append(0.0, step)
        own = np.minimum(code[use], 255)
        counts[use] = lower[own] + (size[own] - 1.0) / 2.0
        mean[use] = counts[use] - shift[own]
        width[use] = np.where(size[own] > 1.0, size[own], 0.0)
        top[use] = code[use] >= 255
    return Decompressed(counts, mean, width, top)


def energies(table: Table) -> tuple[Array, Array]:
    """Middle (geometric) and edges of a sweep's energies, eV (64), (65)."""
    edges = table["edges"].value * float(table["scale"].value)
    return np.sqrt(edges[1:] * edges[:-1]), edges


def levels(per_charge: Array) -> Array:
    """Energies per charge that all records (n, energy) share; where a segment has none, any do."""
    return per_charge[0] if len(per_charge) else np.ones(per_charge.shape[1])


def efficiency(
    energy: Array, voltage: Array, et: Array, table: Table, species: int | None = None
) -> tuple[Array, Array]:
    """Efficiency (..., energy) at voltages and times of one shape (...), and its relative uncertainty.

    A product of what depends on energy (linear in its logarithm), on the voltage and on the epoch; beyond the nodes the
    end values hold.
    """
    nodes = np.log(table["energy"].value)
    at = np.log(energy)
    of_energy, sigma = (
        a if species is None else a[species] for a in (table["efficiency"].value, table["efficiency"].sigma)
    )
    curve = np.interp(at, nodes, of_energy)
    relative = np.interp(at, nodes, sigma) / curve
    gain = np.interp(voltage, table["voltage"].value, table["voltage_factor"].value)
    epoch, factor = table["epoch"].value, table["epoch_factor"]
    age, aging = np.interp(et, epoch, factor.value), np.interp(et, epoch, factor.sigma)
    return (gain * age)[..., None] * curve, np.hypot(relative, (aging / age)[..., None])


def outside(voltage: Array, et: Array, table: Table) -> NDArray[np.bool_]:
    """Where a voltage or a time lies outside what the efficiencies were made for."""
    volts, epoch = table["voltage"].value, table["epoch"].value
    return (voltage < volts[0]) | (voltage > volts[-1]) | (et < epoch[0]) | (et > epoch[-1])


def number_flux(flux: Array, energy: Array) -> Array:
    """Differential number flux, 1/(cm2 s sr keV), from differential energy flux, 1/(cm2 s sr), and energy, eV."""
    return flux / (energy * 1e-3)


def phase_space_density(flux: Array, energy: Array, mass: Array | float) -> Array:
    """Phase-space density, s3/m6, from differential energy flux, 1/(cm2 s sr), kinetic energy, eV, and mass, kg.

    ``f = m^3 J / p^2`` with ``p^2 c^2 = E (E + 2 m c^2)`` and J the number flux per energy: density in momentum over
    mass; below the energy at rest ``f = m^2 J / (2 E)``.
    """
    joule = energy * ELEMENTARY_CHARGE
    momentum = joule * (joule + 2.0 * mass * LIGHT**2) / LIGHT**2
    return flux * 1e4 / joule * mass**3 / momentum


def proper_speed(energy: Array, mass: Array | float) -> Array:
    """Momentum over mass, m/s, at a kinetic energy in eV; 0 below 0."""
    joule = np.maximum(energy, 0.0) * ELEMENTARY_CHARGE
    return np.sqrt(joule * (joule + 2.0 * mass * LIGHT**2)) / (mass * LIGHT)
