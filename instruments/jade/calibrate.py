"""Steps from level 2 to count rates of electrons and ions (README.md, "Algorithm")."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from calibration.tables import Table
from instruments.jade import chain, looks
from instruments.jade.chain import Array
from instruments.jade.layout import ANODES, BACKGROUND_ANODES, ENERGIES, ION_LOOKS, ION_STEPS
from instruments.jade.quality import issue_flags, voltages
from instruments.jade.schemas import BACKGROUND_KEPT, BY_TABLE, E300, UNOBSERVED
from pipeline.clock import Span
from pipeline.dataset.events import counted
from pipeline.dataset.quality import Quality, flag
from pipeline.geometry import Geometry
from pipeline.instrument import Raw, step
from pipeline.particles.counting import along_axis, along_time, correct_dead_time, expected_counts

# What lies around a sample and tells what it expects: steps of energy, records of high rate, sectors of low rate; of
# ions accumulations, and the seconds these may be away.
STEPS_AROUND, AROUND, SECTORS_AROUND = 2, 3, 2
IONS_AROUND, IONS_REACH = 4, 300.0
HALO = AROUND + 1.0
# Places in table timing, and of JADE-I in table mcp.
JADE_E, JADE_I, ION_PLATE = 0, 1, 3
SENSORS = BACKGROUND_ANODES
# A rate times the dead time beyond which the counter is not linear any more.
LARGEST_DEAD = 0.3


@step(produces="jade.electron_rate", over="segment", halo=HALO, version=2)
def electron_rate(
    raw: Annotated[xr.Dataset, Raw("jade.l20_electrons")],
    geometry: Geometry,
    span: Span,
    compression: Table,
    timing: Table,
    energy_electrons: Table,
    look_electrons: Table,
    background: Table,
    mcp: Table,
    *,
    subtract: Literal["anode", "none"] = "anode",
) -> xr.Dataset:
    """Count rates of the electron sensors, less dead time and the background of their background anodes.

    Parameters
    ----------
    raw : as `raw.read_electrons` gives it.
    subtract : whether to subtract the background. Low rate records bring no background anodes: a level by table goes.
    """
    et, mode, seconds = raw["et"].values, raw["mode"].values, raw["accumulation"].values
    counts, mean, width, top = chain.decompress(raw["code"].values, raw["compression"].values, compression)
    live = float(timing["live"].value[JADE_E])
    views = looks.electron_views(mode, seconds, et, active_sensor(raw), look_electrons, geometry)
    exposure = np.concatenate([views.sum(axis=3) * live, _background_exposure(raw, live)], axis=2)
    expected = expected_counts(counts, exposure, electrons_around(counts, exposure, et, mode))
    measured = rates(mean, expected, width, exposure, timing, JADE_E)
    rate, sigma, dead = (a[:, :, :ANODES] for a in measured[:3])
    saturated = measured[3][:, :, :ANODES]
    behind, error = background_rate(measured[0][:, :, ANODES:], measured[1][:, :, ANODES:])
    level, doubt, structured, by_anode = taken_off(behind, error, background, subtract)
    common = [dead, doubt[:, None, :], (rate - level[:, None, :]) * float(timing["live"].sigma[JADE_E]) / live]
    volts = voltages(raw["mcp_dac"].values, mcp, slice(0, SENSORS))
    quality = issue_flags(raw["issues"].values, mode)[:, None, None] & not_e300(mode)
    quality = quality | np.zeros(rate.shape, np.uint32)
    quality |= flag(~by_anode, (BY_TABLE if subtract == "anode" else BACKGROUND_KEPT).mask)[:, None, :]
    quality |= flag(top[:, :, :ANODES] | saturated, Quality.SATURATED)
    quality |= flag(exposure[:, :, :ANODES] <= 0, Quality.MISSING | UNOBSERVED.mask)
    azimuth, elevation = electron_directions(et, mode, look_electrons, geometry)
    sizes = {
        "counts": counts[:, :, :ANODES],
        "counts_expected": expected[:, :, :ANODES],
        "counts_quantum": width[:, :, :ANODES],
        "counts_random": np.sqrt(expected + width**2 / 12.0)[:, :, :ANODES],
        "rate": rate - level[:, None, :],
        "rate_random": sigma,
        "rate_systematic": np.sqrt(np.asarray(sum(c**2 for c in common))),
        "rate_structured": np.broadcast_to(structured[:, None, :], rate.shape),
        "exposure": exposure[:, :, :ANODES],
    }
    dataset = assembled("et", sizes, quality, et, chain.energies(energy_electrons)[0], azimuth, elevation, raw)
    return dataset.assign(
        background=(("et", "look"), level),
        background_error=(("et", "look"), structured),
        mcp_voltage=(("et", "sensor"), volts),
    ).assign_attrs(counted(raw, span))


@step(produces="jade.ion_rate", over="segment", halo=IONS_REACH, version=2)
def ion_rate(
    raw: Annotated[xr.Dataset, Raw("jade.l20_ions")],
    geometry: Geometry,
    span: Span,
    compression: Table,
    timing: Table,
    energy_ions: Table,
    look_ions: Table,
    background: Table,
    mcp: Table,
) -> xr.Dataset:
    """Count rates of ion species, less dead time and a level of background; both sweeps interleaved to 64 energies."""
    et, seconds = raw["et"].values, raw["accumulation"].values
    compressed = raw["compression"].values
    decoded = chain.decompress(_interleaved(raw["code"].values), compressed, compression)
    counts, mean, width, top = decoded
    slow = float(timing["live"].sigma[JADE_I] / timing["live"].value[JADE_I])
    here = np.repeat(raw["present"].values[:, None, :], ION_STEPS, axis=1).reshape(et.size, ENERGIES, 1)
    live = float(timing["live"].value[JADE_I])
    views = looks.ion_views(seconds, et, look_ions, geometry)
    exposure = np.where(here, views.sum(axis=3) * live, 0.0)
    expected = expected_counts(counts, exposure, ions_around(counts, exposure, et, raw["species"].values, look_ions))
    rate, sigma, dead, saturated = rates(mean, expected, width, exposure, timing, JADE_I)
    level, doubt = (float(a[JADE_I]) for a in (background["unmeasured"].value, background["unmeasured"].sigma))
    quality = issue_flags(raw["issues"].values, raw["mode"].values)[:, None, None] | np.zeros(rate.shape, np.uint32)
    quality |= np.uint32(BY_TABLE.mask) | flag(top | saturated, Quality.SATURATED)
    quality |= flag(exposure <= 0, Quality.MISSING) | flag(here & (exposure <= 0), UNOBSERVED.mask)
    sizes = {
        "counts": counts,
        "counts_expected": expected,
        "counts_quantum": width,
        "counts_random": np.sqrt(expected + width**2 / 12.0),
        "rate": rate - level,
        "rate_random": sigma,
        "rate_systematic": np.sqrt(dead**2 + doubt**2 + ((rate - level) * slow) ** 2),
        "exposure": exposure,
    }
    cells = looks.ion_looks(look_ions)
    angles = [np.broadcast_to(a, (et.size, ION_LOOKS)) for a in (cells.azimuth, cells.elevation)]
    dataset = assembled("record", sizes, quality, et, chain.energies(energy_ions)[0], angles[0], angles[1], raw)
    volts = voltages(raw["mcp_dac"].values[:, :1], mcp, slice(ION_PLATE, None))[:, 0]
    return dataset.assign(species=(("record",), raw["species"].values), mcp_voltage=(("record",), volts)).assign_attrs(
        counted(raw, span)
    )


# Parts of the steps


def rates(
    counts: Array, expected: Array, width: Array, exposure: Array, timing: Table, sensor: int
) -> tuple[Array, Array, Array, NDArray[np.bool_]]:
    """Rates less dead time, random error, error by the dead time's own uncertainty, where not linear (steps 1 to 3)."""
    seen = np.where(exposure > 0, exposure, np.nan)
    tau, doubt = (float(a[sensor]) for a in (timing["dead_time"].value, timing["dead_time"].sigma))
    raw = counts / seen
    with np.errstate(invalid="ignore"):
        saturated = raw * tau > LARGEST_DEAD
    rate = correct_dead_time(raw, tau)
    slope = (1.0 - raw * tau) ** -2
    sigma = np.sqrt(expected + width**2 / 12.0) / seen * slope
    gone = np.isnan(rate)
    return rate, np.where(gone, np.nan, sigma), rate**2 * doubt, saturated


def background_rate(rate: Array, sigma: Array) -> tuple[Array, Array]:
    """Rate of each sensor's background anode, mean over the sweep, and its error (n, sensor); NaN where there is none.

    Penetrating particles do not heed the sweep, so all its views measure one rate.
    """
    return rate.mean(axis=1), np.sqrt((sigma**2).sum(axis=1)) / rate.shape[1]


def taken_off(
    rate: Array, error: Array, background: Table, subtract: str
) -> tuple[Array, Array, Array, NDArray[np.bool_]]:
    """Background of each anode (n, 48): level, systematic and statistical error, whether by the background anode.

    ``ratio R_background`` where the background anode was telemetered, else the level of table ``background``.
    """
    of_anode = np.arange(ANODES) // looks.PER_SENSOR
    here, doubt = rate[:, of_anode], error[:, of_anode]
    if subtract != "anode":
        zero = np.zeros(here.shape)
        return zero, zero, zero, np.zeros(here.shape, bool)
    known = np.isfinite(here)
    ratio, level = background["ratio"], background["unmeasured"]
    return (
        np.where(known, ratio.value * here, level.value[JADE_E]),
        np.where(known, ratio.sigma * here, level.sigma[JADE_E]),
        np.where(known, ratio.value * doubt, 0.0),
        known,
    )


def not_e300(mode: NDArray[np.int8]) -> NDArray[np.uint32]:
    """Mask (n, 1, look) that drops the doubt of sensor E300 from the other sensors' anodes in high rate records."""
    other = (mode == looks.HRS)[:, None, None] & (np.arange(ANODES) < 2 * looks.PER_SENSOR)
    return np.where(other, np.uint32(~E300.mask & 0xFFFFFFFF), np.uint32(0xFFFFFFFF))


def electrons_around(counts: Array, exposure: Array, et: Array, mode: NDArray[np.int8]) -> tuple[Array, Array]:
    """Counts and exposures around each sample: in energy, and in time (high rate) or along the sectors (low rate)."""
    hrs = mode == looks.HRS
    out = np.empty(counts.shape), np.empty(counts.shape)
    for target, array in zip(out, (counts, exposure), strict=True):
        near = along_axis(array, STEPS_AROUND, 1)
        target[hrs] = along_time(near[hrs], et[hrs], AROUND, AROUND + 0.5)
        ring = near[~hrs][:, :, :ANODES]
        wide = sum(np.roll(ring, aside, axis=2) for aside in range(-SECTORS_AROUND, SECTORS_AROUND + 1))
        target[~hrs] = near[~hrs]
        target[np.ix_(~hrs, np.arange(ENERGIES), np.arange(ANODES))] = wide
        target -= array
    return out


def ions_around(
    counts: Array, exposure: Array, et: Array, kind: NDArray[np.int8], look_ions: Table
) -> tuple[Array, Array]:
    """Counts and exposures around each sample of the same species: in energy, along the row of looks, and in time."""
    before, after = looks.ring_neighbours(look_ions)
    out = np.empty(counts.shape), np.empty(counts.shape)
    for target, array in zip(out, (counts, exposure), strict=True):
        near = along_axis(array, STEPS_AROUND, 1)
        near = near + near[:, :, before] + near[:, :, after]
        for one in np.unique(kind):
            own = kind == one
            target[own] = along_time(near[own], et[own], IONS_AROUND, IONS_REACH)
        target -= array
    return out


def active_sensor(raw: xr.Dataset) -> NDArray[np.intp]:
    """The sensor a low rate record is of: the first whose plate has voltage."""
    return np.argmax(raw["mcp_dac"].values > 0, axis=1)


def _background_exposure(raw: xr.Dataset, live: float) -> Array:
    """Counting time of the background anodes, (n, energy, sensor); 0 where there are none."""
    there = raw["present"].values[:, ANODES:] * raw["accumulation"].values[:, None] * live
    return np.repeat(there[:, None, :], ENERGIES, axis=1)


def electron_directions(et: Array, mode: NDArray[np.int8], look: Table, geometry: Geometry) -> tuple[Array, Array]:
    """Despun azimuth and elevation of looks at the middle of each record, degrees (n, look)."""
    body, elevation = looks.angles(looks.electron_anodes(look, geometry))
    azimuth = (body + geometry.spin_phase(et)[:, None]) % 360.0
    sector = (np.arange(ANODES) + 0.5) * looks.SECTOR
    hrs = (mode == looks.HRS)[:, None]
    return np.where(hrs, azimuth, sector), np.where(hrs, elevation, 0.0)


def _interleaved(array: NDArray[Any]) -> NDArray[Any]:
    """(n, sweep, step, look) to (n, energy, look): even energies of the ping, odd ones of the pong sweep."""
    return np.swapaxes(array, 1, 2).reshape(array.shape[0], ENERGIES, ION_LOOKS)


def assembled(
    index: str,
    values: dict[str, Array],
    quality: NDArray[np.uint32],
    et: Array,
    energy: Array,
    azimuth: Array,
    elevation: Array,
    raw: xr.Dataset,
) -> xr.Dataset:
    """Dataset of a rate product; what is flagged missing is NaN."""
    dims = (index, "energy", "look")
    quality = quality | flag(~np.isfinite(values["rate"]), Quality.MISSING)
    missing = (quality & np.uint32(Quality.MISSING)) != 0
    exact = ("exposure", "counts_expected", "counts_quantum")
    data: dict[str, Any] = {
        name: (dims, array if name in exact else np.where(missing, np.nan, array)) for name, array in values.items()
    }
    for name in ("mode", "accumulation", "issues"):
        data[name] = (index,), raw[name].values
    data["azimuth_despun"], data["elevation"] = ((index, "look"), azimuth), ((index, "look"), elevation)
    data["energy_per_charge"] = (index, "energy"), np.broadcast_to(energy, (et.size, ENERGIES))
    data["quality"] = dims, quality
    return xr.Dataset(data, coords={"et": (index, et)})
