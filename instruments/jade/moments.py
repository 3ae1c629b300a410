"""Moments of electrons, corrected for the potential of the spacecraft (README.md, step 8)."""

from __future__ import annotations

from typing import Annotated, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from calibration.tables import Table
from instruments.jade import chain, looks
from instruments.jade.chain import Array
from instruments.jade.schemas import BY_TABLE, NO_DEFLECTION, PARTIAL
from pipeline.dataset.quality import Quality, flag
from pipeline.instrument import Product, step

# Bits under which a sample does not enter a moment.
BAD = int(Quality.MISSING | Quality.SUSPECT | Quality.SATURATED)
COVERED = 0.95
EV = chain.ELEMENTARY_CHARGE
# Steps at the low end whose trend is taken to go on below them.
FLOOR = 14


@step(produces="jade.electron_moments", over="segment", version=3)
def electron_moments(
    flux: Annotated[xr.Dataset, Product("jade.electron_flux")],
    energy_electrons: Table,
    efficiency_electrons: Table,
    spacecraft: Table,
    *,
    low_energy_cut: float = 100.0,
) -> xr.Dataset:
    """Density, pressure and temperature of electrons from the mean over all looks, taken as isotropic.

    Energies are lowered by what the potential adds. Below the cut (at the instrument, eV) and below twice the
    potential nothing is used: photoelectrons. The trend of the phase-space density at the lowest energies used is
    taken to go on to zero energy; half of what this adds is the ``structured`` uncertainty.
    """
    edges = chain.energies(energy_electrons)[1]
    density = flux["phase_space_density"].values.astype(float)
    good = np.isfinite(density) & ((flux["quality"].values & np.uint32(BAD)) == 0)
    number = good.sum(axis=2)
    energy, mode = flux["energy_per_charge"].values.astype(float), flux["mode"].values
    relative = relative_efficiency(energy, flux["et"].values, efficiency_electrons)
    known = isotropic(flux, density, good, relative, float(energy_electrons["scale"].sigma))
    potential, volts = float(spacecraft["potential"].value), float(spacecraft["potential"].sigma)
    scale = 1.0 + float(energy_electrons["scale"].sigma)
    used = edges[1:] >= max(low_energy_cut, 2.0 * potential) * (1.0 - 1e-9)
    found = spherical(known.mean, edges, used, potential)
    random = spherical_errors(found, known)
    bare = spherical(known.mean, edges, used, potential, floor=False)
    others = [
        spherical(known.mean / scale**2, edges * scale, used, potential),
        spherical(known.mean, edges, used, potential + volts),
        spherical(known.mean * (1.0 + relative), edges, used, potential),
    ]
    single = anode_errors(found, known, mode)
    coverage = (good & used[None, :, None]).sum(axis=(1, 2)) / max(1, int(used.sum()) * density.shape[2])
    quality = np.bitwise_or.reduce(flux["quality"].values & np.uint32(KEPT), axis=(1, 2))
    # A density that is positive by one of the assumptions only has no temperature that its errors could be told of.
    missing = ~np.all([each.density > 0 for each in (found, bare, *others)], axis=0)
    missing |= ((number > 0) & used).sum(axis=1) < used.sum() / 2
    quality |= flag(missing, Quality.MISSING) | flag(coverage < COVERED, PARTIAL.mask)
    data: dict[str, tuple[tuple[str, ...], NDArray[np.generic]]] = {"quality": (("et",), quality)}
    for name in ("density", "pressure", "temperature"):
        value = getattr(found, name)
        moves = [getattr(other, name) - value for other in others]
        floor = getattr(bare, name) - value
        for suffix, array in (
            ("", value),
            ("_random", random[name]),
            ("_systematic", np.sqrt(sum(m**2 for m in moves) + single[name] ** 2)),
            ("_structured", np.hypot(floor / 2.0, GRID * value)),
        ):
            data[name + suffix] = ("et",), np.where(missing, np.nan, array)
    low = np.full(missing.shape, edges[1:][used].min(initial=np.inf))
    data |= {"coverage": (("et",), coverage), "low_energy": (("et",), np.where(np.isfinite(low), low, np.nan))}
    data |= {name: (("et",), flux[name].values) for name in ("mode", "accumulation", "issues")}
    return xr.Dataset(data, coords={"et": ("et", flux["et"].values)})


# Bits that a moment inherits from its samples: circumstances.
KEPT = int(Quality.CALIBRATION_EXTRAPOLATED | Quality.INTERPOLATED) | BY_TABLE.mask | NO_DEFLECTION.mask
# Place of JADE-I in table background.
JADE_I = 1
# Relative error of sums over the grid of energies, from kappa distributions summed on it (README.md, step 8).
GRID = 0.003


class Isotropic(NamedTuple):
    """Mean phase-space densities over looks, s3/m6.

    Attributes
    ----------
    mean, variance : mean (n, energy) and its variance by counts.
    single : what each look's own systematic error adds to it, one for all energies (n, energy, look).
    shared : its error by each sensor's background, common to all energies of a record (n, energy, sensor).
    """

    mean: Array
    variance: Array
    single: Array
    shared: Array


def relative_efficiency(per_charge: Array, et: Array, table: Table, species: int | None = None) -> Array:
    """Relative uncertainty of the efficiency, common to all looks (n, energy)."""
    return chain.efficiency(chain.levels(per_charge), np.zeros(et.shape), et, table, species)[1]


def own_errors(total: Array, density: Array, relative: Array, scale: float) -> Array:
    """Systematic error of each look by itself: less what efficiency and energy scale do to all looks alike."""
    common = (relative[:, :, None] ** 2 + 4.0 * scale**2) * density**2
    return np.sqrt(np.maximum(total**2 - common, 0.0))


def isotropic(flux: xr.Dataset, density: Array, good: NDArray[np.bool_], relative: Array, scale: float) -> Isotropic:
    """Means over the looks that are good."""
    number = np.maximum(good.sum(axis=2), 1)

    def part(component: str) -> Array:
        return np.where(good, np.nan_to_num(flux[f"phase_space_density_{component}"].values.astype(float)), 0.0)

    shared = part("structured").reshape(*density.shape[:2], len(looks.SENSORS), looks.PER_SENSOR).sum(axis=3)
    return Isotropic(
        np.where(good, density, 0.0).sum(axis=2) / number,
        (part("random") ** 2).sum(axis=2) / number**2,
        own_errors(part("systematic"), np.where(good, density, 0.0), relative, scale) / number[:, :, None],
        shared / number[:, :, None],
    )


class Spherical(NamedTuple):
    """Moments of isotropic distributions: density 1/cm3, pressure Pa, temperature eV (n); weights (energy)."""

    density: Array
    pressure: Array
    temperature: Array
    of_density: Array
    of_pressure: Array


def spherical(mean: Array, edges: Array, used: NDArray[np.bool_], potential: float, *, floor: bool = True) -> Spherical:
    """Moments of phase-space densities (n, energy), s3/m6, at the middles between edges of energy, eV, descending.

    ``n = 4 pi int f w^2 dw``, ``P = (4 pi m / 3) int f w^4 / gamma dw`` in proper speeds w. What is measured in a step
    is the mean of f w^4, so this is taken as constant in it. `floor`: with what is below the lowest step used, where f
    goes on as in the lowest steps.
    """
    w = chain.proper_speed(edges - potential, chain.ELECTRON_MASS)
    upper, lower = w[:-1], np.maximum(w[1:], 1.0)
    middle = upper * lower
    gamma = np.sqrt(1.0 + middle / chain.LIGHT**2)
    of_density = np.where(used, 4.0 * np.pi * middle**2 * (1.0 / lower - 1.0 / upper), 0.0)
    of_pressure = np.where(used, 4.0 * np.pi * chain.ELECTRON_MASS / 3.0 * middle**2 * (upper - lower) / gamma, 0.0)
    if floor and used.any():
        last = np.flatnonzero(used)[-FLOOR:]
        below, square = lower[last[-1]], middle[last]
        # Least squares of f = a + b w^2 + c w^4 at the lowest steps, integrated from 0 on: weights of these steps.
        powers = np.arange(3)
        fit = np.linalg.pinv((square / below**2)[:, None] ** powers).T
        of_density[last] += 4.0 * np.pi * below**3 * (fit @ (1.0 / (2 * powers + 3)))
        of_pressure[last] += 4.0 * np.pi * chain.ELECTRON_MASS / 3.0 * below**5 * (fit @ (1.0 / (2 * powers + 5)))
    n, pressure = mean @ of_density, mean @ of_pressure
    temperature = np.divide(pressure, n, out=np.full(n.shape, np.nan), where=n > 0) / EV
    return Spherical(n * 1e-6, pressure, temperature, of_density, of_pressure)


def weights_of(found: Spherical) -> dict[str, Array]:
    """Derivatives of the moments by the mean phase-space density of each energy (n, energy)."""
    with np.errstate(invalid="ignore", divide="ignore"):
        heat = (found.of_pressure / EV - found.temperature[:, None] * found.of_density) / (found.density[:, None] * 1e6)
    return {
        "density": np.broadcast_to(found.of_density * 1e-6, heat.shape),
        "pressure": np.broadcast_to(found.of_pressure, heat.shape),
        "temperature": heat,
    }


def spherical_errors(found: Spherical, known: Isotropic) -> dict[str, Array]:
    """Random errors of `Spherical` moments: of counts, and of the background that all energies of a record share."""
    out = {}
    for name, weight in weights_of(found).items():
        shared = np.einsum("ne,nes->ns", weight, known.shared)
        out[name] = np.sqrt((known.variance * weight**2).sum(axis=1) + (shared**2).sum(axis=1))
    return out


def anode_errors(found: Spherical, known: Isotropic, mode: NDArray[np.int8]) -> dict[str, Array]:
    """What the looks' own systematic errors do: independent between anodes; sectors share theirs, which add up."""
    out = {}
    for name, weight in weights_of(found).items():
        each = np.einsum("ne,nel->nl", weight, known.single)
        out[name] = np.where(mode == looks.HRS, np.sqrt((each**2).sum(axis=1)), np.abs(each.sum(axis=1)))
    return out
