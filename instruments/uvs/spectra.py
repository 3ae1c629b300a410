"""The steps that bin photons: spectra by spin, and the swath on the ground (README.md, steps 5 to 9)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from calibration.tables import Table
from instruments.uvs import calibrate, detector, pointing, radiometry
from instruments.uvs.calibrate import HALO, RawEvents, running, state_flags
from instruments.uvs.detector import DeadTime, Events, Index, State
from instruments.uvs.layout import (
    SECOND,
    SLIT_BINS,
    STEP,
    TARGETS,
    WAVELENGTH_EDGES,
    WAVELENGTHS,
    Array,
    seen,
)
from instruments.uvs.schemas import BRIGHT
from instruments.uvs.tables import Tables
from pipeline.dataset.quality import Quality, flag
from pipeline.errors import UsageError
from pipeline.geometry import Geometry
from pipeline.geometry.surface import Surface
from pipeline.instrument import TableOf, step

# A spin reaches half its length beyond its middle.
SPIN_HALO = HALO + 16.0
# Bins of wavelength over which expected counts are averaged where there are fewer than so many; steps along time over
# which those of a pixel are; the least that are expected.
SMOOTH, MANY, NEIGHBOURS, LEAST = 9, 100, 7, 0.3
BINS = len(WAVELENGTHS)


@dataclass(frozen=True)
class Sky:
    """What the bins along the slit look at in each step; arrays (step, slit bin), km and degrees; NaN is no point.

    Parameters
    ----------
    known : whether the step is exposed and where it looks is known (n).
    exposure : solid angle times response times live time, sr s.
    """

    surface: Surface
    known: NDArray[np.bool_]
    exposure: Array

    @property
    def hit(self) -> NDArray[np.bool_]:
        """Whether they look at Jupiter."""
        return np.isfinite(self.surface.emission)


def look(raw: xr.Dataset, geometry: Geometry, state: State, tables: Tables) -> Sky:
    """What is in sight in each step and bin."""
    slit = radiometry.slit(tables)
    mirror = pointing.mirror_angle(raw, state.et, tables.pointing)
    angle, along = np.broadcast_arrays(mirror[:, None], slit.along)
    looks = pointing.directions(angle, along, tables.number("pointing", "spin_offset"))
    surface = pointing.points(geometry, state.et, looks)
    known = np.isfinite(mirror) & ((geometry.quality(state.et) & np.uint32(Quality.GEOMETRY_MISSING)) == 0)
    return Sky(surface, known, (state.exposure * state.live)[:, None] * slit.solid)


@step(produces="uvs.spectra", over="segment", halo=SPIN_HALO, version=2)
def spectra(
    raw: RawEvents,
    geometry: Geometry,
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
    """Mean spectra of Jupiter and of the sky beside it, of every spin."""
    tables = Tables(detector_, wavelength, effective_area, dead_time, pulse_height, radiation, flat, pointing_)
    state, events = detector.observe(raw, tables, dead_time_from)
    sky = look(raw, geometry, state, tables)
    target = seen(sky.hit, np.broadcast_to(sky.known[:, None], sky.hit.shape)).astype(np.int64)
    spin = pointing.spins(geometry, state.et)
    spins, kinds = int(spin[-1]) + 1, len(TARGETS)
    group = np.where(target < kinds, spin[:, None] * kinds + target, spins * kinds)
    shape = (spins, kinds)

    def summed(values: Array) -> Array:
        """Sums over the steps of each spin and target, (spin, target, slit bin)."""
        index = group * SLIT_BINS + np.arange(SLIT_BINS)
        total = np.bincount(index.ravel(), values.ravel(), (spins * kinds + 1) * SLIT_BINS).astype(np.float64)
        return total[:-SLIT_BINS].reshape(*shape, SLIT_BINS)

    solid = summed(sky.exposure)
    photon = np.flatnonzero(events.photon)
    place = group[events.step[photon], events.slit_bin[photon]]
    counts, passed = _histogram(events, photon, place, spins * kinds + 1)
    counts, passed = (h[:-1].reshape(*shape, BINS) for h in (counts, passed))
    passing = state.radiation * state.exposure * state.live
    background = summed(np.broadcast_to(passing[:, None], sky.hit.shape))
    variables = _radiance(counts, passed, solid, background, state, events, spin, geometry.closest_approach, tables)
    middle = (np.bincount(spin, state.et) / np.bincount(spin))[:spins]
    quality = np.bitwise_or.reduceat(state_flags(state), np.searchsorted(spin, np.arange(spins)))
    bits = (
        np.broadcast_to(quality[:, None, None], counts.shape)
        | flag(~(solid.sum(axis=-1) > 0), Quality.MISSING)[..., None]
    )
    data = xr.Dataset(
        {**variables, "quality": (("et", "target", "wavelength"), bits)},
        coords={"et": middle, "wavelength": WAVELENGTHS},
    )
    data["exposure"] = ("et", "target"), solid.sum(axis=-1)
    return data.isel(et=np.bincount(spin, state.exposure) > 0)


def _histogram(events: Events, photon: Index, place: Index, groups: int) -> tuple[Array, Array]:
    """Counts (group, wavelength), and the sum of what each would be without gain sag."""
    bin_ = np.floor(events.wavelength[photon] - WAVELENGTH_EDGES[0]).astype(np.int64)
    index = place * BINS + np.clip(bin_, 0, BINS - 1)
    counts = np.bincount(index, minlength=groups * BINS).reshape(groups, BINS).astype(np.float64)
    whole = np.bincount(index, 1.0 / events.efficiency[photon], groups * BINS).reshape(groups, BINS).astype(np.float64)
    return counts, whole


def _radiance(
    counts: Array,
    whole: Array,
    solid: Array,
    background: Array,
    state: State,
    events: Events,
    spin: Index,
    closest_approach: float,
    tables: Tables,
) -> dict[str, tuple[tuple[str, ...], Array]]:
    """Brightness per nm, 4 pi (N k - B) / (A Omega t), with its errors; k is the mean inverse efficiency."""
    area, relative = radiometry.effective_area(WAVELENGTHS, closest_approach, tables)
    factor = np.divide(whole, counts, out=np.ones(counts.shape), where=counts > 0)
    share = detector.radiation_share(tables)
    rays = _spread(background, share[0])
    expected = _expected(counts, rays)
    total = solid.sum(axis=-1)[..., None]
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.where(total > 0, radiometry.TO_KILORAYLEIGH / (area * total), np.nan)
    value = (counts * factor - rays) * scale
    slopes = [_spread(background, w[0] * share[1] / w[1]) - rays for w in detector.radiation_errors(tables)]
    weight = np.bincount(spin, state.exposure)
    loss = _systematic_loss(state, tables), calibrate.dead_time_error(state)
    mean = [np.bincount(spin, v * state.exposure) / np.maximum(weight, STEP) for v in loss]
    mean = [v[:, None, None] for v in mean]
    sag = _sag_error(factor, tables)
    of_slit = radiometry.solid_sigma(solid, tables)[..., None]
    # What a shift of the scale of wavelengths does, per nm: within a bin an edge may be as steep as to both neighbours.
    rise = np.pad(np.abs(np.diff(value, axis=-1)), ((0, 0), (0, 0), (1, 1)))
    steep = rise[..., 1:] + rise[..., :-1]
    shift = calibrate.wavelength_error(WAVELENGTHS, _mean_row(tables), tables)
    of_spin = spin[events.step]
    place = np.bincount(of_spin, events.place_sigma, len(counts)) / np.maximum(
        np.bincount(of_spin, minlength=len(counts)), 1
    )
    place = place[:, None, None] * tables.number("wavelength", "dispersion")
    dark = np.bincount(spin, state.dark * state.exposure / SECOND)[:, None, None]
    dims = ("et", "target", "wavelength")
    values = {
        "radiance": value,
        "radiance_random": np.sqrt(expected) * factor * scale,
        "radiance_systematic": np.sqrt(
            value**2 * (relative**2 + of_slit**2 + mean[0] ** 2 + sag**2)
            + (steep * shift) ** 2
            + (slopes[0] ** 2 + slopes[1] ** 2) * scale**2
        ),
        "radiance_structured": np.sqrt(
            (value * mean[1]) ** 2 + (rays * scale) ** 2 / np.maximum(dark, 1.0) + (steep * place) ** 2
        ),
        "counts": np.where(total > 0, counts, np.nan),
        "counts_random": np.sqrt(expected),
        "counts_expected": expected,
        "radiation": rays,
    }
    return {n: (dims, v) for n, v in values.items()}


def _spread(background: Array, share: Array) -> Array:
    """Radiation (..., slit bin) over the wavelengths; a sum whose order does not depend on how many there are."""
    return np.asarray((background[..., None] * share).sum(axis=-2))


def _mean_row(tables: Tables) -> float:
    """Distance of the light from the middle of the slit, rows, root mean square."""
    slit = radiometry.slit(tables)
    return float(np.sqrt(np.average((slit.along / tables.number("detector", "row_scale")) ** 2, weights=slit.solid)))


def _systematic_loss(state: State, tables: Tables) -> Array:
    """Relative error of the live share: of the table's dead time where it is used, and of pile-up.

    Of merged pulses it is not known whether they fall within the window and on the place of the two.
    """
    tau = np.where(state.from_table, float(tables.dead_time["tau"].sigma), 0.0)
    pair = float(tables.dead_time["pair_resolution"].sigma)
    merged = state.arriving * float(tables.dead_time["pair_resolution"].value)
    return np.sqrt((state.recorded * tau * state.gain) ** 2 + (state.arriving * pair) ** 2 + merged**2)


def _sag_error(factor: Array, tables: Tables) -> Array:
    """Relative error of the correction for gain sag: it goes with the rate over the rate of sag, to first order."""
    sag = tables.pulse_height["sag_rate"]
    return np.asarray(np.abs(factor - 1.0) * float(sag.sigma) / float(sag.value))


def _expected(counts: Array, rays: Array) -> Array:
    """Expected counts: those counted where there are many, else the mean over bins nearby, and at least the rays."""
    kernel = np.ones(SMOOTH) / SMOOTH
    flat = counts.reshape(-1, counts.shape[-1]).astype(float)
    edge = np.convolve(np.ones(flat.shape[1]), kernel, "same")
    smooth = np.stack([np.convolve(row, kernel, "same") / edge for row in flat]).reshape(counts.shape)
    return np.maximum(np.where(counts >= MANY, counts, smooth), np.maximum(rays, LEAST))


@step(produces="uvs.swath", over="segment", halo=HALO, version=2)
def swath(
    raw: RawEvents,
    geometry: Geometry,
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
    low: float = 125.0,
    high: float = 165.0,
) -> xr.Dataset:
    """Spectra of every pixel of the ground; `low` and `high` (nm, whole) bound the band of ``count_rate``."""
    tables = Tables(detector_, wavelength, effective_area, dead_time, pulse_height, radiation, flat, pointing_)
    state, events = detector.observe(raw, tables, dead_time_from)
    sky = look(raw, geometry, state, tables)
    pixels = sky.hit & (sky.known & (state.exposure > 0))[:, None]
    number = np.full(pixels.shape, -1)
    number[pixels] = np.arange(int(pixels.sum()))
    photon = np.flatnonzero(events.photon)
    place = number[events.step[photon], events.slit_bin[photon]]
    photon, place = photon[place >= 0], place[place >= 0]
    counts, whole = _histogram(events, photon, place, int(pixels.sum()))
    band = (low < WAVELENGTHS) & (high > WAVELENGTHS)
    if not band.any():
        raise UsageError(f"no bin of wavelength between {low} and {high} nm")
    at_step, at_bin = np.nonzero(pixels)
    factor = np.divide(whole.sum(axis=1), counts.sum(axis=1), out=np.ones(len(counts)), where=counts.sum(axis=1) > 0)
    surface = sky.surface
    variables = {
        **_count_rate(counts[:, band].sum(axis=1), factor, pixels, band, state, tables),
        "gain_sag": factor,
        "radiation": (state.radiation * state.exposure * state.live)[at_step],
        "exposure": sky.exposure[pixels],
        "latitude": surface.latitude_planetocentric[pixels],
        "longitude": surface.longitude_east[pixels],
        "emission_angle": surface.emission[pixels],
        "solar_zenith": surface.incidence[pixels],
        "range": surface.range[pixels],
        "slit_bin": at_bin.astype(np.int8),
        "quality": state_flags(state)[at_step] | flag(factor > 1.0 / 0.9, BRIGHT.mask),
    }
    data = xr.Dataset(
        {n: (("pixel",), v) for n, v in variables.items()},
        coords={"et": ("pixel", state.et[at_step]), "wavelength": WAVELENGTHS},
    )
    data["counts"] = ("pixel", "wavelength"), counts.astype(np.uint16)
    return data


def _count_rate(
    counts: Array, factor: Array, pixels: NDArray[np.bool_], band: NDArray[np.bool_], state: State, tables: Tables
) -> dict[str, Array]:
    """Rate of photons in a band of wavelength, radiation taken off, and its errors.

    Parameters
    ----------
    counts, factor : in the band, and what gain sag makes of one, by pixel of the ground.
    pixels : which steps and bins of the slit those are.
    """
    at_step, at_bin = np.nonzero(pixels)
    passing = (state.radiation * state.exposure * state.live)[at_step]
    rays = passing * detector.radiation_share(tables)[0][at_bin][:, band].sum(axis=1)
    dense = np.full(pixels.shape, np.nan)
    dense[pixels] = counts
    near = np.stack([running(dense[:, k], NEIGHBOURS) for k in range(SLIT_BINS)], axis=1)
    expected = np.maximum(np.where(counts >= MANY, counts, near[pixels]), np.maximum(rays, LEAST))
    live_time = (state.exposure * state.live)[at_step]
    rate = (counts * factor - rays) / live_time
    slopes = [passing * (w[0] / w[1])[at_bin][:, band].sum(axis=1) * detector.radiation_share(tables)[1] - rays
              for w in detector.radiation_errors(tables)]  # fmt: skip
    return {
        "count_rate": rate,
        "count_rate_random": np.sqrt(expected) * factor / live_time,
        "count_rate_systematic": np.sqrt(
            (rate * np.hypot(_systematic_loss(state, tables)[at_step], _sag_error(factor, tables))) ** 2
            + (slopes[0] ** 2 + slopes[1] ** 2) / live_time**2
        ),
        "count_rate_structured": np.hypot(
            rate * calibrate.dead_time_error(state)[at_step],
            rays / live_time / np.sqrt(np.maximum(state.dark[at_step], 1.0)),
        ),
        "count_rate_expected": expected,
    }
