"""Steps from count rates to fluxes, phase-space density and pitch angles (README.md, steps 5 to 7)."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from calibration.tables import Table
from instruments.jade import chain, looks
from instruments.jade.chain import Array
from instruments.jade.layout import ANODES, BACKGROUND_ANODES, ENERGIES
from pipeline.dataset.quality import Quality, flag
from pipeline.geometry import Geometry
from pipeline.instrument import Product, step
from pipeline.particles.pitch import pitch_angles

SENSORS = BACKGROUND_ANODES


@step(produces="jade.electron_flux", over="segment", version=1)
def electron_flux(
    rate: Annotated[xr.Dataset, Product("jade.electron_rate")],
    field: Annotated[xr.Dataset | None, Product("mag.field_1s")],
    geometry: Geometry,
    look_electrons: Table,
    geometric_factor: Table,
    efficiency_electrons: Table,
    energy_electrons: Table,
) -> xr.Dataset:
    """Fluxes, phase-space density and pitch angles of electrons."""
    et, mode = rate["et"].values, rate["mode"].values
    volts = rate["mcp_voltage"].values.astype(float)
    active = np.argmax(volts > 0, axis=1)
    views = looks.electron_views(mode, rate["accumulation"].values, et, active, look_electrons, geometry)
    factor, doubt = (
        a.reshape(SENSORS, looks.PER_SENSOR)
        for a in (geometric_factor["electrons"].value, geometric_factor["electrons"].sigma)
    )
    sensor = np.where((mode == looks.HRS)[:, None], np.arange(ANODES) // looks.PER_SENSOR, active[:, None])
    # Views of a look are those of one sensor's anodes; the mean factor and its uncertainty by their shares.
    share = views / np.maximum(views.sum(axis=3, keepdims=True), 1.0)
    mean = np.einsum("nela,nla->nel", share, factor[sensor])
    spread = np.sqrt(np.einsum("nela,nla->nel", share**2, doubt[sensor] ** 2))
    energy = rate["energy_per_charge"].values.astype(float)
    volt = np.take_along_axis(volts, sensor, axis=1)
    when = np.broadcast_to(et[:, None], volt.shape)
    efficient, relative = chain.efficiency(chain.levels(energy), volt, when, efficiency_electrons)
    response = mean * np.swapaxes(efficient, 1, 2)
    doubtful = np.hypot(spread / np.where(mean > 0, mean, 1.0), np.swapaxes(relative, 1, 2))
    extra = flag(chain.outside(volt, when, efficiency_electrons), Quality.CALIBRATION_EXTRAPOLATED)[:, None, :]
    scale = float(energy_electrons["scale"].sigma)
    mass = np.full(et.shape, chain.ELECTRON_MASS)
    dataset = _fluxes("et", rate, response, doubtful, energy, mass, scale, extra)
    anodes = looks.electron_anodes(look_electrons, geometry)
    return with_pitch_angles(dataset, rate, field, geometry, anodes)


@step(produces="jade.ion_flux", over="segment", version=1)
def ion_flux(
    rate: Annotated[xr.Dataset, Product("jade.ion_rate")],
    field: Annotated[xr.Dataset | None, Product("mag.field_1s")],
    geometry: Geometry,
    look_ions: Table,
    geometric_factor: Table,
    efficiency_ions: Table,
    energy_ions: Table,
    species: Table,
) -> xr.Dataset:
    """Fluxes, phase-space density and pitch angles of ion species."""
    et, kind = rate["et"].values, rate["species"].values.astype(np.intp)
    views = looks.ion_views(rate["accumulation"].values, et, look_ions, geometry)
    share = views / np.maximum(views.sum(axis=3, keepdims=True), 1.0)
    mean = share @ geometric_factor["ions"].value
    spread = np.sqrt(share**2 @ geometric_factor["ions"].sigma ** 2)
    per_charge = rate["energy_per_charge"].values.astype(float)
    volts = rate["mcp_voltage"].values.astype(float)
    efficient, relative = np.full((et.size, ENERGIES), np.nan), np.full((et.size, ENERGIES), np.nan)
    known = (kind >= 0) & (kind < species["mass"].value.size)
    for one in np.unique(kind[known]):
        of = kind == one
        efficient[of], relative[of] = chain.efficiency(per_charge[0], volts[of], et[of], efficiency_ions, int(one))
    response = mean * efficient[:, :, None]
    doubtful = np.hypot(spread / np.where(mean > 0, mean, 1.0), relative[:, :, None])
    extra = flag(chain.outside(volts, et, efficiency_ions), Quality.CALIBRATION_EXTRAPOLATED)
    extra |= flag(~known, Quality.MISSING)  # sums of species have no mass of their own
    at = np.where(known, kind, 0)
    mass, charge = species["mass"].value[at] * chain.ATOMIC_MASS, species["charge"].value[at]
    scale = float(energy_ions["scale"].sigma)
    dataset = _fluxes(
        "record", rate, response, doubtful, per_charge * charge[:, None], mass, scale, extra[:, None, None]
    )
    return with_pitch_angles(dataset, rate, field, geometry, None).assign(species=rate["species"])


def _fluxes(
    index: str,
    rate: xr.Dataset,
    response: Array,
    doubtful: Array,
    energy: Array,
    mass: Array,
    scale: float,
    extra: NDArray[np.uint32],
) -> xr.Dataset:
    """Differential energy flux, number flux and phase-space density from rates (steps 5 and 6).

    Parameters
    ----------
    response : geometric factor times efficiency, cm2 sr eV/eV, shape of the rates; `doubtful` is its relative error.
    energy : kinetic, eV (n, energy); relative uncertainty `scale`. mass : kg (n).
    """
    dims = (index, "energy", "look")
    gone = ~np.isfinite(response) | (response <= 0)
    per = np.where(gone, np.nan, 1.0 / np.where(gone, 1.0, response))
    value = rate["rate"].values * per
    parts = {c: rate[f"rate_{c}"].values * per for c in ("random", "structured") if f"rate_{c}" in rate}
    parts["systematic"] = np.hypot(rate["rate_systematic"].values * per, value * doubtful)
    at, heavy = energy[:, :, None], mass[:, None, None]
    one = np.ones(value.shape)
    factors = {
        "energy_flux": (one, 0.0),
        "number_flux": (chain.number_flux(one, at), 1.0),
        "phase_space_density": (chain.phase_space_density(one, at, heavy), 2.0),
    }
    quality = rate["quality"].values | extra | flag(gone, Quality.MISSING)
    data: dict[str, Any] = {"quality": (dims, quality), "response": (dims, np.where(gone, np.nan, response))}
    missing = (quality & np.uint32(Quality.MISSING)) != 0
    for name, (factor, power) in factors.items():
        data[name] = dims, np.where(missing, np.nan, value * factor)
        for component, sigma in parts.items():
            total = np.hypot(sigma, power * scale * value) if component == "systematic" else sigma
            data[f"{name}_{component}"] = dims, np.where(missing, np.nan, total * factor)
    kept = ("mode", "accumulation", "issues", "azimuth_despun", "elevation", "energy_per_charge")
    out = xr.Dataset(data, coords={"et": (index, rate["et"].values)})
    return out.assign({name: (rate[name].dims, rate[name].values) for name in kept})


def with_pitch_angles(
    dataset: xr.Dataset, rate: xr.Dataset, field: xr.Dataset | None, geometry: Geometry, anodes: Array | None
) -> xr.Dataset:
    """Add look directions in System III and pitch angles (step 7); without a field there are none, which is flagged.

    Directions of high rate records are those of the anodes at the time of each energy, others are despun sectors.
    """
    index = str(rate["rate"].dims[0])
    et, mode = rate["et"].values, rate["mode"].values
    own = looks.unit(rate["azimuth_despun"].values.astype(float), rate["elevation"].values.astype(float))
    iii = np.einsum("nij,nlj->nli", looks.despun_to("IAU_JUPITER", et, geometry), own)
    angle, error = np.full(rate["rate"].shape, np.nan), np.full(rate["rate"].shape, np.nan)
    if field is not None:
        hrs = (mode == looks.HRS) if anodes is not None else np.zeros(et.shape, bool)
        inertial = np.einsum("nij,nlj->nli", looks.despun_to("J2000", et[~hrs], geometry), own[~hrs])
        times = np.broadcast_to(et[~hrs, None], inertial.shape[:2])
        slow, doubt = pitch_angles(inertial, times, field)
        angle[~hrs], error[~hrs] = slow[:, None, :], doubt[:, None, :]
        if anodes is not None and hrs.any():
            times = looks.view_times(et[hrs], 1)[:, 0]
            turn = geometry.rotation(looks.SPACECRAFT, "J2000", times.ravel())
            seen = np.einsum("kij,lj->kli", turn, anodes).reshape(*times.shape, ANODES, 3)
            when = np.broadcast_to(times[:, :, None], seen.shape[:3])
            angle[hrs], error[hrs] = pitch_angles(seen, when, field)
    unknown = np.isnan(angle) | np.isnan(error)
    missing = (dataset["quality"].values & np.uint32(Quality.MISSING)) != 0
    angle[unknown | missing], error[unknown | missing] = np.nan, np.nan
    dims = (index, "energy", "look")
    out = dataset.assign(
        look_iii=((index, "look", "xyz"), iii),
        quality=(dims, dataset["quality"].values | flag(unknown, Quality.INPUT_MISSING)),
    )
    if field is None:
        return out
    return out.assign(pitch_angle=(dims, angle), pitch_angle_systematic=(dims, error))
