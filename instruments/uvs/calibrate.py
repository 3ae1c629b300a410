"""The steps from events to photons, count rates, spectra by spin and the swath on the ground (README.md, steps)."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from calibration.tables import Table
from instruments.uvs import detector, pointing, radiometry
from instruments.uvs.detector import DeadTime, Events, Index, State
from instruments.uvs.layout import (
    SECOND,
    SECTION_OF_BIN,
    SLOW,
    STEP,
    Array,
)
from instruments.uvs.schemas import BLIND, BRIGHT, BROKEN, DEAD_TIME_TABLE, HEIGHT, NO_STIM, STIM, UNLIT
from instruments.uvs.tables import Tables
from pipeline.clock import Span
from pipeline.dataset.quality import Quality, flag
from pipeline.geometry import Geometry
from pipeline.geometry.surface import Surface
from pipeline.instrument import Raw, TableOf, step

# All 30 s that a record takes part in are to be complete.
HALO = SLOW + SECOND
# Photons whose geometry is computed at once.
CHUNK = 100_000

RawEvents = Annotated[xr.Dataset, Raw("uvs.edr")]


@step(produces="uvs.photons", over="segment", halo=HALO, version=2)
def photons(
    raw: RawEvents,
    geometry: Geometry,
    span: Span,
    detector_: Annotated[Table, TableOf("uvs.detector")],
    wavelength: Table,
    effective_area: Table,
    dead_time: Table,
    pulse_height: Table,
    radiation: Table,
    flat: Table,
    pointing_: Annotated[Table, TableOf("uvs.pointing")],
    *,
    dead_time_from: DeadTime = "rates",
) -> xr.Dataset:
    """Every event with wavelength, weight and what it looks at; steps 1 to 4 and 6 to 9 of the README."""
    tables = Tables(detector_, wavelength, effective_area, dead_time, pulse_height, radiation, flat, pointing_)
    state, events = detector.observe(raw, tables, dead_time_from)
    photon = events.photon
    quality = (
        flag(~photon, Quality.MISSING)
        | flag(events.stim, STIM.mask)
        | flag((events.slit_bin < 0) & ~events.stim, UNLIT.mask)
        | flag(~events.window, HEIGHT.mask)
        | flag(~events.good, BROKEN.mask)
        | flag(events.unplaced, NO_STIM.mask)
        | state_flags(state)[events.step]
        | flag(events.efficiency < 0.9, BRIGHT.mask)
    )
    at = ("photon",)
    variables = {
        "live": (at, state.live[events.step]),
        "efficiency": (at, events.efficiency),
        "row": (at, events.y),
        "slit_bin": (at, events.slit_bin.astype(np.int8)),
        "pulse_height": (at, events.height),
        "quality": (at, quality),
        **{n: (at, v) for n, v in _wavelength(events, tables).items()},
        **{n: (at, v) for n, v in _ground(raw, geometry, span, state, events, tables).items()},
    }
    return xr.Dataset(variables, coords={"et": (at, events.et)})


def state_flags(state: State) -> NDArray[np.uint32]:
    """Quality bits of the steps of time."""
    return flag(state.from_table, DEAD_TIME_TABLE.mask) | flag(state.live < 0.5, BLIND.mask)


def _wavelength(events: Events, tables: Tables) -> dict[str, Array]:
    """Wavelength and its errors; NaN where there is no photon."""
    good = events.photon
    law = tables.wavelength
    width = tables.detector["section_width"].value[SECTION_OF_BIN[np.maximum(events.slit_bin, 0)]]
    spread = float(tables.detector["spread"].value[0])
    per_column = float(law["dispersion"].value)
    # Across a slit that is filled evenly; of a point; of the column's width, twice: it was cut off and spread again.
    random = np.sqrt(
        (tables.number("detector", "slit_dispersion") * width) ** 2 / 12.0 + per_column**2 * (spread**2 + 2.0 / 12.0)
    )
    row = events.y - float(law["row"].value)
    systematic = wavelength_error(events.wavelength, row, tables)
    values = {
        "wavelength": events.wavelength, "wavelength_random": random, "wavelength_systematic": systematic,
        "wavelength_structured": per_column * events.place_sigma,
    }  # fmt: skip
    return {name: np.where(good, v, np.nan) for name, v in values.items()}


def wavelength_error(wavelength: Array, row: Array | float, tables: Tables) -> Array:
    """Systematic error of wavelengths from the table's law, nm; rows from the middle of the slit."""
    law = tables.wavelength
    column = (wavelength - float(law["origin"].value)) / float(law["dispersion"].value)
    parts = float(law["origin"].sigma), float(law["dispersion"].sigma) * column, float(law["curvature"].sigma) * row**2
    return np.sqrt(parts[0] ** 2 + parts[1] ** 2 + parts[2] ** 2)


def _ground(
    raw: xr.Dataset, geometry: Geometry, span: Span, state: State, events: Events, tables: Tables
) -> dict[str, NDArray[np.generic]]:
    """Weights of the photons, and where on Jupiter they come from."""
    names = ("weight", "weight_systematic", "weight_structured", "latitude", "latitude_systematic", "longitude",
             "longitude_systematic", "emission_angle", "solar_zenith")  # fmt: skip
    out = {name: np.full(len(events.et), np.nan) for name in names}
    ground = np.full(len(events.et), np.uint32(Quality.MISSING))
    # What lies in the halo is left out afterwards.
    which = np.flatnonzero(events.photon & span.contains(events.et))
    for start in range(0, len(which), CHUNK):
        part = which[start : start + CHUNK]
        et = events.et[part]
        mirror = pointing.mirror_angle(raw, et, tables.pointing)
        along = (events.y[part] - tables.number("detector", "row_center")) * tables.number("detector", "row_scale")
        width = tables.detector["section_width"].value[SECTION_OF_BIN[events.slit_bin[part]]]
        for name, value in _weight(geometry, state, events, part, mirror, along, width, tables).items():
            out[name][part] = value
        surface = _surface(geometry, et, mirror, along, tables)
        reach = np.hypot(
            width / 2.0, np.hypot(tables.pointing["mirror_offset"].sigma, tables.pointing["spin_offset"].sigma)
        )
        # An angle seen from afar covers more ground where it is seen at a slant.
        slant = np.maximum(np.cos(np.radians(surface.emission)), 0.02)
        radius = np.sqrt((surface.point**2).sum(axis=-1))
        error = np.minimum(reach * surface.range / radius / slant, 180.0)
        level = np.maximum(np.cos(np.radians(surface.latitude_planetocentric)), 1e-3)
        out["latitude"][part], out["longitude"][part] = surface.latitude_planetocentric, surface.longitude_east
        out["latitude_systematic"][part] = error
        out["longitude_systematic"][part] = np.minimum(error / level, 180.0)
        out["emission_angle"][part], out["solar_zenith"][part] = surface.emission, surface.incidence
        ground[part] = flag(np.isnan(surface.emission), Quality.MISSING)
    return {**out, "ground_quality": ground}


def _weight(
    geometry: Geometry,
    state: State,
    events: Events,
    part: Index,
    mirror: Array,
    along: Array,
    width: Array,
    tables: Tables,
) -> dict[str, Array]:
    """Brightness that a photon within the time of dwell stands for: 4 pi / (A Omega t live efficiency)."""
    area, relative = radiometry.effective_area(events.wavelength[part], geometry.closest_approach, tables)
    scale = tables.number("detector", "row_scale")
    section = SECTION_OF_BIN[events.slit_bin[part]]
    seconds = pointing.dwell(geometry, events.et[part], mirror, along, width)
    at = events.step[part]
    weight = radiometry.TO_KILORAYLEIGH / (
        area * np.radians(width) * np.radians(scale) * seconds * state.live[at] * events.efficiency[part]
    )
    of_width = tables.detector["section_width"]
    lost = dead_time_error(state)[at]
    table = (
        np.where(state.from_table[at], state.recorded[at] * float(tables.dead_time["tau"].sigma), 0.0) / state.live[at]
    )
    return {
        "weight": weight,
        "weight_systematic": weight
        * np.sqrt(relative**2 + (2.0 * (of_width.sigma / of_width.value)[section]) ** 2 + table**2),
        "weight_structured": weight * lost,
    }


def dead_time_error(state: State) -> Array:
    """Relative error of the live share from the dead time's random one."""
    return state.recorded * state.tau_sigma * state.gain


def _surface(geometry: Geometry, et: Array, mirror: Array, along: Array, tables: Tables) -> Surface:
    turn = tables.number("pointing", "spin_offset")
    return pointing.points(geometry, et, pointing.directions(mirror, along, turn))


@step(produces="uvs.rates", over="segment", halo=HALO, version=2)
def rates(
    raw: RawEvents,
    detector_: Annotated[Table, TableOf("uvs.detector")],
    wavelength: Table,
    effective_area: Table,
    dead_time: Table,
    pulse_height: Table,
    radiation: Table,
    flat: Table,
    pointing_: Annotated[Table, TableOf("uvs.pointing")],
    *,
    dead_time_from: DeadTime = "rates",
) -> xr.Dataset:
    """Count rates by second, corrected for dead time, and the radiation among them; steps 4 and 5 of the README."""
    tables = Tables(detector_, wavelength, effective_area, dead_time, pulse_height, radiation, flat, pointing_)
    state, _ = detector.observe(raw, tables, dead_time_from)
    per = round(SECOND / STEP)
    second = (state.first + np.arange(len(state.exposure))) // per
    base, number = second[0], int(second[-1] - second[0]) + 1
    exposure = np.bincount(second - base, state.exposure).astype(np.float64)

    def mean(values: Array) -> Array:
        total = np.bincount(second - base, values * state.exposure)
        return np.divide(total, exposure, out=np.full(number, np.nan), where=exposure > 0)

    first = np.searchsorted(second, base + np.arange(number))
    arriving, recorded, live = mean(state.arriving), mean(state.recorded), mean(state.live)
    tau, table = state.tau[first], state.from_table[first]
    sigma_table = np.where(table, float(tables.dead_time["tau"].sigma), 0.0)
    pair = float(tables.dead_time["pair_resolution"].sigma)
    with np.errstate(invalid="ignore", divide="ignore"):
        # Counting with dead time: variance of n is N T live^3 of the events that arrive, and dN/dn is 1 / (T live^2).
        random = np.sqrt(arriving / (exposure * np.maximum(1.0 - recorded * tau, detector.LEAST_LIVE)))
        variables = {
            "rate": arriving,
            "rate_random": random,
            "rate_systematic": np.hypot(arriving * arriving * sigma_table, arriving**2 * pair),
            "rate_structured": arriving * arriving * state.tau_sigma[first],
            **_radiation(state, first, exposure, live, tables),
            "recorded": recorded,
            "live": live,
            "dead_time": tau,
            "mirror": pointing.mirror_angle(raw, (base + np.arange(number) + 0.5) * SECOND, tables.pointing),
            "exposure": exposure,
            "quality": flag(exposure == 0, Quality.MISSING)
            | state_flags(state)[first]
            | flag(exposure < 0.5 * SECOND, Quality.EDGE),
        }
    there = exposure > 0
    dataset = xr.Dataset(
        {n: (("et",), v) for n, v in variables.items()}, coords={"et": (base + np.arange(number) + 0.5) * SECOND}
    )
    return dataset.isel(et=there)


def _radiation(state: State, first: Index, exposure: Array, live: Array, tables: Tables) -> dict[str, Array]:
    """Rate of penetrating radiation over the whole detector by second, and its errors; `first`: step of each second."""
    share = detector.radiation_share(tables)[1]
    rate, dark = (np.where(exposure > 0, values[first], np.nan) for values in (state.radiation, state.dark))
    expected = np.maximum(running(dark, 11), 1.0)
    slope = float(np.sqrt(sum((wrong / share - 1.0) ** 2 for _, wrong in detector.radiation_errors(tables))))
    return {
        "radiation": rate,
        "radiation_random": np.sqrt(expected) / (share * (live * exposure)),
        "radiation_systematic": rate * slope,
        "radiation_expected": expected,
    }


def running(values: Array, width: int) -> Array:
    """Mean over neighbours, NaN left out."""
    known = np.isfinite(values)
    kernel, inside = np.ones(width), slice(width // 2, width // 2 + len(values))
    total = np.convolve(np.where(known, values, 0.0), kernel)[inside]
    number = np.convolve(known.astype(float), kernel)[inside]
    return np.divide(total, number, out=np.full(values.shape, np.nan), where=number > 0)
