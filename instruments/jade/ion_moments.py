"""Moments of ion species in three dimensions, corrected for the spacecraft's velocity and potential (step 8)."""

from __future__ import annotations

from typing import Annotated, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from calibration.tables import Table
from instruments.jade import chain, looks
from instruments.jade.cells import Cells, Moments, cells_of, corrected, moved, random_errors, response
from instruments.jade.chain import Array
from instruments.jade.moments import BAD, COVERED, EV, GRID, JADE_I, KEPT, own_errors, relative_efficiency
from instruments.jade.schemas import PARTIAL
from pipeline.dataset.quality import Quality, flag
from pipeline.geometry import Geometry
from pipeline.instrument import Product, step

# System III (1965): 870.536 degrees per day of 86400 s (Seidelmann and Divine 1977, Geophys. Res. Lett. 4, 65).
OMEGA = np.radians(870.536) / 86400.0
Moves = list[dict[str, Array]]


@step(produces="jade.ion_moments", over="segment", version=5)
def ion_moments(
    flux: Annotated[xr.Dataset, Product("jade.ion_flux")],
    geometry: Geometry,
    energy_ions: Table,
    look_ions: Table,
    efficiency_ions: Table,
    background: Table,
    species: Table,
    spacecraft: Table,
    *,
    low_energy_cut: float = 5.0,
) -> xr.Dataset:
    """Density, bulk velocity, pressure and temperature of each ion species, in three dimensions.

    Sums over cells of speed and direction in the frame of the spacecraft, energies raised by what the potential took,
    then moved by the spacecraft's velocity: at closest approach rest is 279 eV for O+. Energies per charge below
    the cut (V, at the instrument) are left out. What the grid and the cut do is taken off as they do it to a Maxwellian
    of the moments found; half of that is the ``structured`` uncertainty.
    """
    edges, look = chain.energies(energy_ions)[1], looks.ion_looks(look_ions)
    low = edges[1:] >= low_energy_cut
    known = Measured.of(flux, edges, look, species, low)
    found, plain, cells = known.moments(known.f, 1.0, float(spacecraft["potential"].value))
    moves = systematic(known, flux, (found, plain, cells), energy_ions, efficiency_ions, background, spacecraft)
    random = random_errors(response(plain, cells), known.sigma)
    data = {
        name: _parts(unit * value, unit * random[name], unit * (value - bare), [unit * move[name] for move in moves])
        for name, unit, value, bare in (
            ("density", 1.0, found.density * 1e-6, plain.density * 1e-6),
            ("temperature", known.mass / EV, found.temperature, plain.temperature),
        )
    }
    turn = looks.despun_to("IAU_JUPITER", flux["et"].values, geometry)
    velocity, corotating = velocities(found, plain, random["velocity"], moves, turn, flux["et"].values, geometry)
    data |= {"velocity": velocity, "velocity_corotating": corotating}
    heavy = (found.density * known.mass)[:, None, None]
    pressure = np.einsum("nij,njk,nlk->nil", turn, found.spread, turn) * heavy
    coverage = known.used.sum(axis=(1, 2)) / max(1, int(low.sum()) * known.f.shape[2])
    inside = (known.kind >= 0) & (known.kind < species["mass"].value.size)
    missing = ~inside | ~(plain.density > 0) | ~(found.temperature > 0) | (coverage < 0.5)
    quality = np.bitwise_or.reduce(flux["quality"].values & np.uint32(KEPT), axis=(1, 2))
    quality |= flag(missing, Quality.MISSING) | flag(coverage < COVERED, PARTIAL.mask)
    flat = {f"{n}{'_' if c else ''}{c}": a for n, parts in data.items() for c, a in parts.items()}
    return by_species(flux, {**flat, "pressure": pressure, "coverage": coverage}, quality, missing, known.kind)


class Measured(NamedTuple):
    """What moments are made of.

    Attributes
    ----------
    f, sigma, used : phase-space density and its random error, s3/m6, 0 where it is not used, and 1 where it is
        (n, energy, look).
    kind, mass, charge : species, kg and elementary charges of each record (n).
    edges, look : of the energies per charge, V, descending (65), and the look directions.
    """

    f: Array
    sigma: Array
    used: Array
    kind: NDArray[np.intp]
    mass: Array
    charge: Array
    edges: Array
    look: looks.IonLooks

    @classmethod
    def of(
        cls, flux: xr.Dataset, edges: Array, look: looks.IonLooks, species: Table, low: NDArray[np.bool_]
    ) -> Measured:
        """Good samples at the energies used."""
        kind = flux["species"].values.astype(np.intp)
        at = np.clip(kind, 0, species["mass"].value.size - 1)
        f = flux["phase_space_density"].values.astype(float)
        good = np.isfinite(f) & ((flux["quality"].values & np.uint32(BAD)) == 0)
        used = (good & low[None, :, None]).astype(float)
        mass, charge = species["mass"].value[at] * chain.ATOMIC_MASS, species["charge"].value[at]
        sigma = np.where(used > 0, np.nan_to_num(flux["phase_space_density_random"].values.astype(float)), 0.0)
        return cls(np.where(used > 0, f, 0.0), sigma, used, kind, mass, charge, edges, look)

    def part(self, flux: xr.Dataset, component: str) -> Array:
        """A component of the uncertainty of what is used."""
        sigma = flux[f"phase_space_density_{component}"].values.astype(float)
        return np.where(self.used > 0, np.nan_to_num(sigma), 0.0)

    def moments(self, f: Array, scale: float, volts: float) -> tuple[Moments, Moments, Cells]:
        """Moments, those before correction for the grid, and the cells, with energies times `scale` and a potential."""
        cells = cells_of(self.edges * scale * self.charge[:, None], self.look, self.mass, self.charge * volts)
        plain = cells.sums(f)
        return corrected(plain, f, self.sigma, cells, self.look, self.used), plain, cells


def systematic(
    known: Measured,
    flux: xr.Dataset,
    made: tuple[Moments, Moments, Cells],
    energy_ions: Table,
    efficiency_ions: Table,
    background: Table,
    spacecraft: Table,
) -> Moves:
    """What one sigma of each independent systematic error moves: 1/cm3, m/s and m2/s2."""
    found, plain, cells = made
    per_charge, response_of = (flux[n].values.astype(float) for n in ("energy_per_charge", "response"))
    rows = range(efficiency_ions["efficiency"].value.shape[0])
    each = np.stack([relative_efficiency(per_charge, flux["et"].values, efficiency_ions, k) for k in rows])
    relative = each[np.clip(known.kind, 0, len(rows) - 1), np.arange(known.kind.size)]
    energy = per_charge * known.charge[:, None]
    dark = float(background["unmeasured"].sigma[JADE_I]) / response_of
    dark = chain.phase_space_density(dark, energy[:, :, None], known.mass[:, None, None])
    dark = np.where(known.used > 0, dark, 0.0)
    scale, potential = float(energy_ions["scale"].sigma), spacecraft["potential"]
    volts = float(potential.value)
    # The background is a large part of the hot end and its two sides are not alike: mean square by three points of
    # Gauss and Hermite, 0 and sqrt(3) sigma to either side, the latter with a weight of 1/6.
    others = [
        (1.0, known.moments(known.f / (1.0 + scale) ** 2, 1.0 + scale, volts)[0]),
        (1.0, known.moments(known.f, 1.0, volts + float(potential.sigma))[0]),
        *((6.0**-0.5, known.moments(known.f + side * dark, 1.0, volts)[0]) for side in (-(3.0**0.5), 3.0**0.5)),
    ]
    single = np.sqrt(np.maximum(own_errors(known.part(flux, "systematic"), known.f, relative, scale) ** 2 - dark**2, 0))
    # A row of looks is one anode's (two at some elevations): its own error is one.
    lower = known.look.elevation_lower
    changes = [known.f * relative[:, :, None], *(np.where(lower == row, single, 0.0) for row in np.unique(lower))]
    by = response(plain, cells)
    return [_difference(share, other, found) for share, other in others] + [moved(by, change) for change in changes]


def _difference(share: float, other: Moments, found: Moments) -> dict[str, Array]:
    return {
        "density": share * (other.density - found.density) * 1e-6,
        "velocity": share * (other.velocity - found.velocity),
        "temperature": share * (other.temperature - found.temperature),
    }


def velocities(
    found: Moments, plain: Moments, covariance: Array, moves: Moves, turn: Array, et: Array, geometry: Geometry
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Bulk velocities along the axes of System III, km/s, inertial and less rigid corotation, with their components."""

    def turned(vector: Array) -> Array:
        return np.einsum("nij,nj->ni", turn, vector) * 1e-3

    velocity = turned(found.velocity) + geometry.velocity("IAU_JUPITER", et)
    rigid = np.cross([0.0, 0.0, OMEGA], geometry.position("IAU_JUPITER", et))
    error = np.sqrt(np.einsum("nij,njk,nik->ni", turn, covariance, turn)) * 1e-3
    thermal = np.sqrt(found.temperature)[:, None] * 1e-3
    grid, changes = turned(found.velocity - plain.velocity), [turned(move["velocity"]) for move in moves]
    parts = _parts(velocity, error, grid, changes, thermal)
    return parts, {**parts, "": velocity - rigid}


def _parts(
    value: Array, random: Array, grid: Array, moves: list[Array], scale: Array | None = None
) -> dict[str, Array]:
    """A moment and its components; the numerical one at least `GRID` of the value (of the thermal speed)."""
    least = 3.0 * GRID * (np.abs(value) if scale is None else scale)
    return {
        "": value,
        "random": random,
        "systematic": np.sqrt(np.asarray(sum(m**2 for m in moves))),
        "structured": np.hypot(grid / 2.0, least),
    }


SPECIES = 8


def by_species(
    flux: xr.Dataset,
    values: dict[str, Array],
    quality: NDArray[np.uint32],
    missing: NDArray[np.bool_],
    kind: NDArray[np.intp],
) -> xr.Dataset:
    """Records to (et, species); a species that was not measured at a time is missing."""
    et, first, row = np.unique(flux["et"].values, return_index=True, return_inverse=True)
    column = np.clip(kind, 0, SPECIES - 1)
    axes: dict[int, tuple[str, ...]] = {1: (), 2: ("xyz",), 3: ("xyz", "xyz_other")}
    data: dict[str, tuple[tuple[str, ...], NDArray[np.generic]]] = {}
    inside = (kind >= 0) & (kind < SPECIES)
    for name, array in values.items():
        grid = np.full((et.size, SPECIES, *array.shape[1:]), np.nan)
        keep = inside & ~missing if name != "coverage" else inside
        grid[row[keep], column[keep]] = array[keep]
        data[name] = ("et", "species", *axes[array.ndim]), grid
    bits = np.full((et.size, SPECIES), np.uint32(Quality.MISSING))
    bits[row[inside], column[inside]] = quality[inside]
    data["quality"] = ("et", "species"), bits
    for name in ("mode", "accumulation", "issues"):
        data[name] = ("et",), flux[name].values[first]
    return xr.Dataset(data, coords={"et": ("et", et)})
