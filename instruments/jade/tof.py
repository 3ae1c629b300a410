"""Steps from logical counters and time-of-flight spectra to rates, efficiencies and masses (README.md, steps 9, 10)."""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.special import ndtr

from calibration.tables import Table
from instruments.jade import chain
from instruments.jade.calibrate import IONS_AROUND, IONS_REACH, JADE_I, LARGEST_DEAD, rates
from instruments.jade.chain import Array
from instruments.jade.layout import ENERGIES, TOF_BINS
from instruments.jade.quality import issue_flags, voltages
from instruments.jade.schemas import BY_TABLE
from pipeline.clock import Span
from pipeline.dataset.events import counted
from pipeline.dataset.quality import Quality, flag
from pipeline.instrument import Product, Raw, step
from pipeline.particles.counting import along_time, expected_counts, shifted

# Kinds of counters in table logicals; place of JADE-I in table mcp.
START, COINCIDENCE, STOP = 0, 1, 2
ION_PLATE = 3
# Sigma of its counts that a rate of particles must have to be divided by: the ratio is biased by the inverse square.
ENOUGH = 20.0
# Steps towards the likeliest heights of peaks.
ITERATIONS = 25
# Logicals whose middle is no further away are of the same time as a spectrum, seconds.
TOGETHER = 1.0
NANO = 1e-9


@step(produces="jade.ion_logicals", over="segment", halo=IONS_REACH, version=2)
def ion_logicals(
    raw: Annotated[xr.Dataset, Raw("jade.l20_logicals")],
    span: Span,
    compression: Table,
    timing: Table,
    energy_ions: Table,
    logicals: Table,
) -> xr.Dataset:
    """Rates of the logical counters less dead time, and the efficiencies of start and stop that they measure.

    A particle that makes a start is seen by the stop with the efficiency of the stop, whatever its flux: coincidences
    over starts; and the other way round (Knoll, Radiation Detection and Measurement, ch. 17).

    Parameters
    ----------
    raw : as `raw.read_logicals` gives it.
    """
    et = raw["et"].values
    counts, mean, width, top = chain.decompress(raw["code"].values, raw["compression"].values, compression)
    exposure = _exposure(raw, timing, counts.shape)
    expected = expected_counts(counts, exposure, _around(counts, exposure, et))
    rate, sigma, dead, saturated = rates(mean, expected, width, exposure, timing, JADE_I)
    slow = float(timing["live"].sigma[JADE_I] / timing["live"].value[JADE_I])
    quality = _quality(raw, top | saturated, rate)
    dims = ("et", "energy", "counter")
    values = {
        "rate": rate,
        "rate_random": sigma,
        "rate_systematic": np.hypot(dead, rate * slow),
        "counts": counts,
        "counts_random": np.sqrt(expected + width**2 / 12.0),
    }
    gone = (quality & np.uint32(Quality.MISSING)) != 0
    data: dict[str, Any] = {name: (dims, np.where(gone, np.nan, array)) for name, array in values.items()}
    data |= {"counts_expected": (dims, expected), "counts_quantum": (dims, width), "quality": (dims, quality)}
    data |= _efficiencies(np.where(gone, np.nan, rate), exposure[:, :, 0], quality, logicals)
    return xr.Dataset(data | _head(raw, energy_ions), coords={"et": et}).assign_attrs(counted(raw, span))


def _efficiencies(
    rate: Array, exposure: Array, quality: NDArray[np.uint32], logicals: Table
) -> dict[str, tuple[tuple[str, ...], NDArray[np.generic]]]:
    """Efficiencies of start and stop (n, energy) from sums over the anodes, less dark counts and accidentals.

    With P particles that made both and U single counts, the ratio r = P / (P + U) has the variance
    ``((1 - r)^2 P + r^2 U) / (P + U - dark)^2``.
    """
    kind, dark, doubt = logicals["kind"].value, logicals["dark"].value, logicals["dark"].sigma
    sums = [rate[:, :, kind == k].sum(axis=2) for k in (START, COINCIDENCE, STOP)]
    window, its_sigma = (float(a) * NANO for a in (logicals["window"].value, logicals["window"].sigma))
    accidental = sums[START] * sums[STOP] * window
    pairs = sums[COINCIDENCE] - accidental
    out: dict[str, tuple[tuple[str, ...], NDArray[np.generic]]] = {}
    bits = np.bitwise_or.reduce(quality, axis=2)
    for end, of in (("stop", START), ("start", STOP)):
        name = f"{end}_efficiency"
        number = int((kind == of).sum())
        particles = sums[of] - number * dark[of]
        with np.errstate(invalid="ignore"):
            known = np.isfinite(pairs) & (particles * exposure > ENOUGH * np.sqrt(sums[of] * exposure))
        base = np.where(known, particles, np.nan)
        r = pairs / base
        variance = ((1.0 - r) ** 2 * sums[COINCIDENCE] + r**2 * (sums[of] - sums[COINCIDENCE])) / exposure
        systematic = np.hypot(r * number * doubt[of], accidental * its_sigma / window) / base
        out[name] = ("et", "energy"), r
        out[f"{name}_random"] = ("et", "energy"), np.sqrt(np.maximum(variance, 0.0)) / base
        out[f"{name}_systematic"] = ("et", "energy"), systematic
        out[f"{end}_quality"] = ("et", "energy"), bits | flag(~known, Quality.MISSING)
    return out


@step(produces="jade.ion_masses", over="segment", halo=IONS_REACH, version=3)
def ion_masses(
    raw: Annotated[xr.Dataset, Raw("jade.l20_tof")],
    singles: Annotated[xr.Dataset | None, Product("jade.ion_logicals")],
    span: Span,
    compression: Table,
    timing: Table,
    energy_ions: Table,
    efficiency_ions: Table,
    geometric_factor: Table,
    mcp: Table,
    time_of_flight: Table,
    logicals: Table,
) -> xr.Dataset:
    """Time-of-flight spectra less dead time and accidental coincidences; rates and fluxes of the masses in them.

    All anodes look at once, so rates are sums over them and fluxes means over what they saw through a spin. Each
    spectrum is the sum of the masses' peaks, whose heights are the weighted least squares.

    Parameters
    ----------
    raw : as `raw.read_tof` gives it.
    singles : starts and stops, which make the accidentals; without them a level by table goes.
    """
    et = raw["et"].values
    counts, mean, width, top = chain.decompress(raw["code"].values, raw["compression"].values, compression)
    exposure = _exposure(raw, timing, counts.shape)
    level, error, doubt, by_table = accidentals(et, singles, time_of_flight, logicals)
    busy = (mean / exposure).sum(axis=2, keepdims=True) * float(time_of_flight["dead_time"].value)
    live = np.where(busy < 1.0, 1.0 - busy, np.nan)
    expected = modelled(counts, exposure * live, level, et, (energy_ions, time_of_flight))
    sigma = np.sqrt(expected + width**2 / 12.0) / exposure / live
    rate = mean / exposure / live - level
    quality = _quality(raw, top | (busy > LARGEST_DEAD), rate) | flag(by_table, BY_TABLE.mask)[:, None, None]
    slow = float(timing["live"].sigma[JADE_I] / timing["live"].value[JADE_I])
    # Of the one processor that measures all flights.
    dead = (rate + level) * busy / live * float(time_of_flight["dead_time"].sigma / time_of_flight["dead_time"].value)
    found = masses(rate, sigma, error, (energy_ions, time_of_flight))
    dims = ("et", "energy", "tof")
    values = {
        "rate": rate,
        "rate_random": sigma,
        "rate_systematic": np.sqrt(dead**2 + doubt**2 + (rate * slow) ** 2),
        "rate_structured": error,
        "counts": counts,
        "counts_random": np.sqrt(expected + width**2 / 12.0),
    }
    gone = (quality & np.uint32(Quality.MISSING)) != 0
    data: dict[str, Any] = {name: (dims, np.where(gone, np.nan, array)) for name, array in values.items()}
    data |= {"counts_expected": (dims, expected), "counts_quantum": (dims, width), "quality": (dims, quality)}
    edges = bin_edges(time_of_flight)
    data["flight_time"] = ("et", "tof"), np.broadcast_to(np.sqrt(edges[1:] * edges[:-1]), (et.size, TOF_BINS))
    common = [found.by_table, found.of(dead), found.of(doubt), found.rate * slow]
    parts = {"random": found.random, "structured": found.structured, "systematic": np.sqrt(sum(c**2 for c in common))}
    volts = voltages(raw["mcp_dac"].values[:, :1], mcp, slice(ION_PLATE, None))[:, 0]
    response, relative, outside = responses(et, volts, energy_ions, efficiency_ions, geometric_factor, time_of_flight)
    bits = np.bitwise_or.reduce(quality, axis=2)[:, :, None] | flag(np.isnan(found.rate), Quality.MISSING)
    bits |= flag(outside, Quality.CALIBRATION_EXTRAPOLATED)[:, None, None]
    data |= _of_masses(found.rate, parts, response, relative, bits)
    return xr.Dataset(data | _head(raw, energy_ions), coords={"et": et}).assign_attrs(counted(raw, span))


def modelled(number: Array, live: Array, level: Array, et: Array, tables: tuple[Table, Table]) -> Array:
    """Expected counts: of the masses that the records before and after have in these energies, and of accidentals.

    The heights of the peaks are those of greatest likelihood for counts (Shepp and Vardi 1982, IEEE Trans. Med. Imaging
    1, 113). The sample itself is left out, which would pull its own expectation.

    Parameters
    ----------
    live : counting time less dead time, s. level : rate of accidentals. Both of the shape of `number` or one bin wide.
    """
    energy_ions, tof = tables
    shape = peaks(chain.energies(energy_ions)[0], tof)
    live = np.nan_to_num(live[:, :, :1])
    seen, reach, by_chance = (
        along_time(a, et, IONS_AROUND, IONS_REACH) - a for a in (number, live, live * level)
    )  # fmt: skip
    alone = reach <= 0
    seen, reach, by_chance = (
        np.where(alone, own, a) for a, own in ((seen, number), (reach, live), (by_chance, live * level))
    )
    # One height for the spectra of an energy and of those beside it.
    beside = [
        (shifted(shape, aside, 0), *(shifted(a, aside, 1) for a in (seen, reach, by_chance))) for aside in (-1, 0, 1)
    ]
    weight = np.maximum(sum(own.sum(axis=1) * time for own, _, time, _ in beside), 1e-30)
    height = np.broadcast_to(sum(counts.sum(axis=2, keepdims=True) for _, counts, *_ in beside) + 1.0, weight.shape)
    height = height / weight
    for _ in range(ITERATIONS):
        pull = np.zeros(height.shape)
        for own, counts, time, chance in beside:
            model = np.maximum(np.einsum("ebk,nek->neb", own, height) * time + chance, 1e-30)
            pull += np.einsum("ebk,neb->nek", own, counts / model) * time
        height = height * pull / weight
    return (np.einsum("ebk,nek->neb", shape, height) + level) * live


def accidentals(
    et: Array, singles: xr.Dataset | None, tof: Table, logicals: Table
) -> tuple[Array, Array, Array, NDArray[np.bool_]]:
    """Accidental coincidences in each bin (n, energy, bin): level, statistical and systematic error; by table (n).

    ``r = R_start R_stop dt``: a start is followed by a stop that has nothing to do with it at any time alike. Where
    logicals of the same time are lost, those before and after are interpolated, and half of their difference is an
    error as well; where there are none, the table's level goes.
    """
    dt = np.diff(bin_edges(tof))
    unmeasured = tof["unmeasured"]
    level, doubt = (np.full((et.size, ENERGIES, 1), float(a)) for a in (unmeasured.value, unmeasured.sigma))
    error, by_table = np.zeros(level.shape), np.ones(et.size, bool)
    if singles is not None and singles.sizes["et"]:
        times, (own, its_error, its_doubt) = singles["et"].values, _chance(singles, logicals)
        after = np.minimum(np.searchsorted(times, et - TOGETHER), times.size - 1)
        before = np.where(np.abs(times[after] - et) <= TOGETHER, after, np.maximum(after - 1, 0))
        apart = times[after] - times[before]
        share = np.where(apart > 0, (et - times[before]) / np.where(apart > 0, apart, 1.0), 0.0)[:, None]
        mixed = own[before] * (1.0 - share) + own[after] * share
        near = np.abs(np.stack([times[before] - et, times[after] - et])).max(axis=0) < IONS_REACH
        by_table = ~(near & (share >= 0).all(axis=1) & (share <= 1).all(axis=1) & np.isfinite(mixed).all(axis=1))
        keep, aside = ~by_table, np.abs(own[after] - own[before]) / 2.0
        level[keep, :, 0], doubt[keep, :, 0] = mixed[keep], its_doubt[before][keep]
        error[keep, :, 0] = np.hypot(its_error[before], aside)[keep]
    return level * dt, error * dt, doubt * dt, by_table


def _chance(singles: xr.Dataset, logicals: Table) -> tuple[Array, Array, Array]:
    """Product of starts and stops, 1/s per ns (n, energy), its statistical and its systematic error."""
    kind = logicals["kind"].value

    def sums(name: str, power: int = 1) -> tuple[Array, Array]:
        values = singles[name].values.astype(float) ** power
        first, second = (values[:, :, kind == k].sum(axis=2) ** (1.0 / power) for k in (START, STOP))
        return first, second

    start, stop = sums("rate")
    a, b = sums("rate_random", 2)
    c, d = sums("rate_systematic")
    return NANO * start * stop, NANO * np.hypot(start * b, stop * a), NANO * (start * d + stop * c)


def bin_edges(tof: Table) -> Array:
    """Edges of the bins of flight time, ns."""
    return np.asarray(float(tof["first"].value) * float(tof["ratio"].value) ** np.arange(TOF_BINS + 1))


def flight_times(per_charge: Array, tof: Table) -> Array:
    """Mean flight time, ns (energy, mass): ``t = L / v`` with ``m v^2 / 2 = q (E/q + U) - loss``."""
    kinetic = tof["charge"].value * (per_charge[:, None] + float(tof["acceleration"].value)) - tof["loss"].value
    mass = tof["mass"].value * chain.ATOMIC_MASS
    speed = np.sqrt(2.0 * np.maximum(kinetic, 1.0) * chain.ELEMENTARY_CHARGE / mass)
    return np.asarray(float(tof["path"].value) / speed / NANO)


def peaks(per_charge: Array, tof: Table) -> Array:
    """Share of each mass's flights that ends in each bin (energy, bin, mass), normally distributed."""
    middle = flight_times(per_charge, tof)[:, None, :]
    below = ndtr((bin_edges(tof)[:, None] - middle) / (middle * tof["spread"].value))
    return np.asarray(np.diff(below, axis=1))


class Masses(NamedTuple):
    """Rates of masses (n, energy, mass) and their errors.

    Attributes
    ----------
    random, structured : by counts, and by the level of accidentals.
    by_table : systematic, by where the peaks are and how wide.
    solution : what a rate in each bin adds to each mass (n, energy, mass, bin).
    """

    rate: Array
    random: Array
    structured: Array
    by_table: Array
    solution: Array

    def of(self, change: Array) -> Array:
        """What a change of all bins of a spectrum does (n, energy, mass)."""
        return np.asarray(np.einsum("nekb,neb->nek", self.solution, change))


def masses(rate: Array, sigma: Array, error: Array, tables: tuple[Table, Table]) -> Masses:
    """Weighted least squares of the peaks in each spectrum (Press et al. 2007, Numerical Recipes, ch. 15.4)."""
    energy_ions, tof = tables
    per_charge = chain.energies(energy_ions)[0]
    shape = peaks(per_charge, tof)
    # A spectrum of a processor that was dead all the time has no weight.
    known = np.isfinite(rate) & (sigma > 0)
    rate, sigma = np.where(known, rate, 0.0), np.where(known, sigma, 0.0)
    weight = np.where(known, 1.0 / np.where(known, sigma, 1.0) ** 2, 0.0)
    solution = _solution(shape, weight)
    found = np.einsum("nekb,neb->nek", solution, rate)
    moves = []
    for name in ("path", "acceleration", "loss", "spread"):
        value, doubt = tof[name].value, tof[name].sigma
        for one in np.eye(value.size):
            # Found again, as what is not there at all has no other error than where noise is looked for.
            moved = peaks(per_charge, tof.replace(**{name: value + doubt * one.reshape(value.shape)}))
            moves.append(np.einsum("nekb,neb->nek", _solution(moved, weight), rate) - found)
    return Masses(
        found,
        np.sqrt(np.einsum("nekb,neb->nek", solution**2, sigma**2)),
        np.abs(np.einsum("nekb,neb->nek", solution, error)),
        np.sqrt(np.asarray(sum(m**2 for m in moves))),
        solution,
    )


def _solution(shape: Array, weight: Array) -> Array:
    """What each bin adds to each mass by weighted least squares (n, energy, mass, bin)."""
    weighted = np.einsum("ebk,neb->nekb", shape, weight)
    normal = weighted @ shape
    # A peak outside of all bins leaves nothing to solve for.
    scale = np.sqrt(np.maximum(np.einsum("nekk->nek", normal), 1e-300))
    inverse = np.linalg.pinv(normal / scale[..., None] / scale[..., None, :], hermitian=True)
    return np.asarray((inverse / scale[..., None] / scale[..., None, :]) @ weighted)


def responses(
    et: Array, volts: Array, energy_ions: Table, efficiency_ions: Table, geometric_factor: Table, tof: Table
) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Rate over energy flux of each mass, cm2 sr (n, energy, mass), its relative error, and where extrapolated (n)."""
    factor = geometric_factor["ions"]
    rows = tof["efficiency_row"].value.astype(int)
    middle = chain.energies(energy_ions)[0]
    curves = [chain.efficiency(middle, volts, et, efficiency_ions, int(row)) for row in rows]
    efficient, relative = (np.stack(part, axis=2) for part in zip(*curves, strict=True))
    spread = np.sqrt((factor.sigma**2).sum()) / factor.value.sum()
    return factor.value.sum() * efficient, np.hypot(relative, spread), chain.outside(volts, et, efficiency_ions)


def _of_masses(
    rate: Array, parts: dict[str, Array], response: Array, relative: Array, bits: NDArray[np.uint32]
) -> dict[str, tuple[tuple[str, ...], NDArray[np.generic]]]:
    """Variables of the masses: rates, and energy fluxes by their response."""
    dims = ("et", "energy", "mass")
    gone = ((bits & np.uint32(Quality.MISSING)) != 0) | ~(response > 0)
    bits = bits | flag(gone, Quality.MISSING)
    out: dict[str, tuple[tuple[str, ...], NDArray[np.generic]]] = {"mass_quality": (dims, bits)}
    per = 1.0 / np.where(response > 0, response, np.nan)
    for name, factor in (("mass_rate", np.ones(rate.shape)), ("energy_flux", per)):
        out[name] = dims, np.where(gone, np.nan, rate * factor)
        for component, sigma in parts.items():
            extra = rate * relative if (name, component) == ("energy_flux", "systematic") else 0.0
            out[f"{name}_{component}"] = dims, np.where(gone, np.nan, np.hypot(sigma, extra) * factor)
    return out


# Parts of both steps


def _exposure(raw: xr.Dataset, timing: Table, shape: tuple[int, ...]) -> Array:
    """Counting time: of each energy one view a second."""
    seconds = raw["accumulation"].values.astype(float) * float(timing["live"].value[JADE_I])
    return np.broadcast_to(seconds[:, None, None], shape)


def _around(counts: Array, exposure: Array, et: Array) -> tuple[Array, Array]:
    """Counts and exposures of the same sample in the records before and after."""
    near = (along_time(a, et, IONS_AROUND, IONS_REACH) - a for a in (counts, exposure))
    first, second = near
    return first, second


def _quality(raw: xr.Dataset, saturated: NDArray[np.bool_], rate: Array) -> NDArray[np.uint32]:
    """Bits by the header of each record, and of each sample."""
    record = issue_flags(raw["issues"].values, raw["mode"].values)[:, None, None]
    return np.asarray(record | flag(saturated, Quality.SATURATED) | flag(np.isnan(rate), Quality.MISSING))


def _head(raw: xr.Dataset, energy_ions: Table) -> dict[str, tuple[tuple[str, ...], NDArray[np.generic]]]:
    """What both products say of their records."""
    n = raw.sizes["et"]
    middle = np.broadcast_to(chain.energies(energy_ions)[0], (n, ENERGIES))
    names = ("mode", "accumulation", "issues")
    return {"energy_per_charge": (("et", "energy"), middle), **{name: (("et",), raw[name].values) for name in names}}
