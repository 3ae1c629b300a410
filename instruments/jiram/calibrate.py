"""The steps from raw frames to radiance (equations: `chain`; numbers of steps: README.md)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from calibration.tables import Table
from instruments.jiram import chain, planck
from instruments.jiram.chain import Array, Background, Focal, Mask
from instruments.jiram.layout import TEXPO
from instruments.jiram.pixels import tie_points
from instruments.jiram.schemas import (
    BACKGROUND_ONE_SIDED,
    BACKGROUND_TABLE,
    EXPOSURE_DIFFERS,
    HOT_PIXEL,
    INCOMPLETE,
    NONLINEAR,
    PIXELS,
    SPECTRA,
)
from pipeline.dataset.quality import Quality, flag, raised
from pipeline.errors import CalibrationError
from pipeline.geometry import Geometry
from pipeline.instrument import Product, Raw, step

Flags = NDArray[np.uint32]

BANDS = ("L", "M")
# Background frames are looked for so far in time: 50 acquisitions of one a spin are the longest cycle.
REACH = 1800.0
# Frames on either side that are looked at for a pixel that is hit in the nearest one.
NEAREST = 3
SPIKE = 6.0  # standard deviations
SPIN = 30.0  # s, nominal: one acquisition at most in each
# A compressed pixel that was saturated may come back so many of the compression's standard deviations lower.
RINGING = 4.0


@dataclass(frozen=True)
class Frame:
    """One frame of raw data: counts and where they can be used.

    Parameters
    ----------
    counts : (band, line, sample) or (slit, channel).
    lost : pixels whose packets are missing, or bands that were not acquired.
    """

    et: float
    exposure: float
    counts: Array
    lost: Mask
    temperatures: Array
    quantum: float
    subtracted: bool
    quality: int

    @classmethod
    def of(cls, raw: xr.Dataset, record: int, temperature: Table, compression: Table) -> Frame:
        """Record `record` of a raw dataset."""
        one = raw.isel(et=record)
        counts = one["counts"].values.astype(np.float64)
        lost = one["lost"].values.repeat(counts.shape[-1] // raw.sizes["subframe"], axis=-1)
        if "present" in one:
            lost = np.broadcast_to(lost[:, None, :] | ~one["present"].values[:, None, None], counts.shape)
        else:
            lost = lost | (np.arange(len(counts)) >= int(one["slit_lines"]))[:, None]
        differs = abs(float(one["exposure"]) - float(one["exposure_log"])) > TEXPO
        bits = (0 if one["complete"] else INCOMPLETE.mask) | (EXPOSURE_DIFFERS.mask if differs else 0)
        return cls(
            float(one["et"]),
            float(one["exposure"]),
            counts,
            lost,
            chain.temperatures(one["temperature_counts"].values, temperature),
            chain.compression_step(one["scale"].values, bool(one["compressed"]), compression),
            bool(one["subtracted"]),
            bits,
        )


# Background frames


def _background_frames(
    raw: xr.Dataset, focal: Focal, hot: Mask, dims: tuple[str, ...], temperature: Table, compression: Table
) -> xr.Dataset:
    """Residuals of background frames, one by one."""
    frames = [Frame.of(raw, k, temperature, compression) for k in range(raw.sizes["et"])]
    residual, sigma, quality = [], [], []
    for frame in frames:
        model = focal.model(frame.exposure, frame.temperatures)
        over = frame.counts >= focal.saturation
        value = np.where(frame.lost, np.nan, frame.counts - model)
        noise = np.sqrt(focal.variance(frame.counts, frame.quantum))
        bits = flag(frame.lost, Quality.MISSING) | flag(over, Quality.SATURATED)
        bits |= flag(hot, HOT_PIXEL.mask) | np.uint32(frame.quality)
        if frame.subtracted:
            value = np.full(value.shape, np.nan)
            bits |= np.uint32(Quality.MISSING)
        residual.append(value.astype(np.float32))
        sigma.append(chain.coarse(np.where(np.isnan(value), np.nan, noise)))
        quality.append(bits)
    lines = raw["slit_lines"].values if "slit_lines" in raw else raw["present"].values.sum(axis=1) * raw.sizes["line"]
    return xr.Dataset(
        {
            "residual": (dims, np.stack(residual)),
            "residual_random": (dims, np.stack(sigma)),
            "quality": (dims, np.stack(quality)),
            "exposure": ("et", raw["exposure"].values),
            "lines": ("et", lines.astype(np.int16)),
            "temperature": (("et", "sensor"), np.stack([f.temperatures for f in frames]).astype(np.float32)),
        },
        coords={"et": raw["et"].values},
    )


@step(produces="jiram.image_background", over="segment", version=1)
def image_background(
    raw: Annotated[xr.Dataset, Raw("jiram.image_background_edr")],
    image_detector: Table,
    image_dark: Table,
    bands: Table,
    temperature: Table,
    compression: Table,
) -> xr.Dataset:
    """Background frames of the imager, less the table's model of them: what drifts."""
    focal = chain.imager(image_detector, image_dark, bands)
    return _background_frames(raw, focal, chain.hot_pixels(image_detector), PIXELS, temperature, compression)


@step(produces="jiram.spectrum_background", over="segment", version=1)
def spectrum_background(
    raw: Annotated[xr.Dataset, Raw("jiram.spectrum_background_edr")],
    spectrum_detector: Table,
    spectrum_dark: Table,
    wavelength: Table,
    temperature: Table,
    compression: Table,
) -> xr.Dataset:
    """Background frames of the spectrometer, less the table's model of them."""
    focal = chain.spectrometer(spectrum_detector, spectrum_dark, chain.nominal_wavelength(wavelength))
    hot = np.zeros(raw["counts"].shape[1:], bool)
    return _background_frames(raw, focal, hot, SPECTRA, temperature, compression)


# Science frames


def background_of(frame: Frame, focal: Focal, frames: xr.Dataset | None, slit_lines: int | None = None) -> Background:
    """Background of a science frame: of the frames about it those with the same exposure and read-out."""
    model = np.broadcast_to(focal.model(frame.exposure, frame.temperatures), frame.counts.shape)
    if frames is None:
        empty = np.zeros((0, *model.shape))
        return chain.background_at(frame.et, model, np.zeros(0), empty, empty, empty)
    same = np.abs(frames["exposure"].values - frame.exposure) <= TEXPO / 2
    if slit_lines is not None:
        same &= frames["lines"].values == slit_lines
    times = frames["et"].values
    before = np.flatnonzero(same & (times <= frame.et) & (times >= frame.et - REACH))[-NEAREST:]
    after = np.flatnonzero(same & (times > frame.et) & (times <= frame.et + REACH))[:NEAREST]
    near = frames.isel(et=np.concatenate([before, after]))
    counts = near["residual"].values.astype(np.float64)
    for k, sensors in enumerate(near["temperature"].values.astype(np.float64)):
        counts[k] += focal.model(frame.exposure, sensors)
    bad = raised(near["quality"].values, Quality.MISSING | Quality.SATURATED)
    residual = np.where(bad, np.nan, near["residual"].values)
    sigma = near["residual_random"].values.astype(np.float64)
    residual[chain.hits_between(residual, sigma, SPIKE)] = np.nan
    return chain.background_at(frame.et, model, near["et"].values, residual, sigma**2, counts)


@dataclass(frozen=True)
class Light:
    """Counts of the light alone, and what is known of them, counts: (band, line, sample) or (slit, channel).

    Parameters
    ----------
    random, systematic : one sigma.
    drift : of the emission, one sigma common to a band (band, 1, 1) or channel (1, channel).
    """

    counts: Array
    random: Array
    systematic: Array
    drift: Array
    quality: Flags


def light_of(frame: Frame, focal: Focal, background: Background, cycle: float) -> Light:
    """Counts less background, with noise, saturation and spikes (steps 3 to 6).

    Where background was subtracted on board the frame that was subtracted is added again if it is known, so that the
    interpolated one can take its place; else its noise stays, and the drift since its time, at most a cycle ago. A
    frame that is older than a cycle is not the one that was subtracted.
    """
    level, noise, walk = frame.counts, background.variance, background.walk
    by_table = unsure = ~background.measured
    if frame.subtracted:
        there = background.frame is not None and background.age <= cycle
        taken = background.frame if there and background.frame is not None else np.full(level.shape, np.nan)
        level = level + np.where(np.isfinite(taken), taken, background.level)
        # Where that frame was hit or full what it took away is no background.
        unsure = np.isfinite(taken) & ~background.measured
        by_table = np.isnan(taken) | ~background.measured
        noise = np.where(by_table, focal.variance(background.level, 0.0), noise)
    light = level - background.level
    random = np.sqrt(focal.variance(level, frame.quantum) + noise)
    saturated = level >= focal.saturation - RINGING * frame.quantum / np.sqrt(12.0)
    quality = np.full(level.shape, np.uint32(frame.quality)) | flag(frame.lost, Quality.MISSING)
    quality |= flag(saturated, Quality.SATURATED) | flag((level >= focal.linear) & ~saturated, NONLINEAR.mask)
    quality |= flag(by_table, BACKGROUND_TABLE.mask) | flag(background.one_sided & ~by_table, BACKGROUND_ONE_SIDED.mask)
    quality |= flag(unsure & frame.subtracted, Quality.SUSPECT)
    # What the table's level is off by is not seen where background was subtracted on board.
    offset = np.where(unsure, focal.offset_sigma, 0.0)
    drift = np.sqrt(np.where(by_table, cycle, walk)) * focal.drift * frame.exposure
    # Pixels that were hit in a background frame have another one; what this adds is their own.
    common = np.median(drift, axis=(1, 2) if drift.ndim == 3 else 0, keepdims=True)
    random = np.sqrt(random**2 + np.maximum(drift**2 - common**2, 0.0))
    return Light(np.where(frame.lost, np.nan, light), random, offset, common, quality)


def gain_of(
    frame: Frame, rate: Array, rate_sigma: Array, exposure: Table, read_time: float | None
) -> tuple[Array, Array]:
    """Counts per unit of radiance, and its relative systematic error: responsivity and effective exposure (step 7)."""
    table = exposure["read_time"]
    effective = frame.exposure - (float(table.value) if read_time is None else read_time)
    if effective <= 0.0:
        raise CalibrationError(f"exposure of {frame.exposure:g} s is not longer than the time of read-out")
    relative = np.hypot(rate_sigma / rate, float(table.sigma) / effective)
    return effective * rate, relative


def hits(frame: Frame, value: Array, sigma: Array) -> Mask:
    """Pixels that radiation hit, in the frame or in the background frame that was subtracted on board (step 9)."""
    found = chain.spikes(value, sigma, SPIKE)
    return found | chain.spikes(-value, sigma, SPIKE) if frame.subtracted else found


def _cycle(raw: xr.Dataset) -> float:
    """Seconds since the last background at most, by the cycle of acquisitions."""
    return max(float(raw["cycle"].values[0]), SPIN)


@step(produces="jiram.radiance", over="segment", halo=REACH, version=1)
def radiance(
    raw: Annotated[xr.Dataset, Raw("jiram.image_edr")],
    background: Annotated[xr.Dataset | None, Product("jiram.image_background")],
    geometry: Geometry,
    image_detector: Table,
    image_dark: Table,
    image_responsivity: Table,
    bands: Table,
    exposure: Table,
    temperature: Table,
    compression: Table,
    pointing: Table,
    *,
    read_time: float | None = None,
    colour_correction: bool = True,
) -> xr.Dataset:
    """Radiance of an image in the bands it holds.

    Parameters
    ----------
    raw : one image; see `instruments.jiram.raw.read_images`.
    background : background frames about it.
    read_time : seconds of the exposure that do not count; None: by the table.
    colour_correction : photons are counted, but energy is wanted: on by default, for the spectrum of a blackbody.

    Raises
    ------
    CalibrationError
        for an exposure that is not longer than the time of read-out.
    """
    focal = chain.imager(image_detector, image_dark, bands)
    hot = chain.hot_pixels(image_detector)
    frame = Frame.of(raw, 0, temperature, compression)
    light = light_of(frame, focal, background_of(frame, focal, background), _cycle(raw))
    per_unit, error = gain_of(frame, *_responsivity(image_responsivity), exposure, read_time)
    value = light.counts / per_unit
    if colour_correction:
        factor = _colour_factor(value, bands)
        error = np.hypot(error, bands["colour"].value[:, None, None])
        value, per_unit = value / factor, per_unit * factor
    sigma = light.random / per_unit
    hit = hits(frame, np.where(hot, np.nan, value), sigma)
    quality = light.quality | flag(hit, Quality.RADIATION) | flag(hot, HOT_PIXEL.mask)
    systematic = np.hypot(np.nan_to_num(error * value), light.systematic / per_unit)
    drift = light.drift[:, 0, 0] / per_unit.mean(axis=(1, 2))
    dataset = xr.Dataset(
        {
            "radiance": (PIXELS, value[None].astype(np.float32)),
            "radiance_random": (PIXELS, chain.coarse(sigma)[None]),
            "radiance_systematic": (PIXELS, chain.coarse(systematic)[None]),
            "radiance_structured": (("et", "band"), drift[None].astype(np.float32)),
            "quality": (PIXELS, quality[None]),
            "band_width": (("et", "band"), bands["width"].value[None].astype(np.float32)),
            "band_width_systematic": (("et", "band"), bands["width"].sigma[None].astype(np.float32)),
            **_of_frame(frame),
            **tie_points(geometry, frame.et, pointing),
        },
        coords={"et": [frame.et], "band": np.array(BANDS, object)},
    )
    return dataset.isel(band=raw["present"].values[0])


def _colour_factor(value: Array, bands: Table) -> Array:
    """What photons of a blackbody's spectrum count over what its energy would, in each band."""
    edges, reference = bands["edges"].value, bands["reference"].value
    return np.stack([planck.colour(*each) for each in zip(value, edges, reference.tolist(), strict=True)])


def _responsivity(table: Table) -> tuple[Array, Array]:
    """Counts per second and unit of radiance, and their error: of each band, odd and even columns apart."""
    overall, parity = table["rate"], table["parity"]
    rate = overall.value[:, None, None] * np.tile(parity.value, 216)
    relative = np.hypot((overall.sigma / overall.value)[:, None, None], np.tile(parity.sigma / parity.value, 216))
    return rate, relative * rate


def _of_frame(frame: Frame) -> dict[str, Any]:
    return {
        "exposure": ("et", [frame.exposure]),
        "detector_temperature": ("et", frame.temperatures[[chain.DETECTOR_SENSOR]].astype(np.float32)),
        "frame_quality": ("et", np.array([frame.quality], np.uint32)),
    }


@step(produces="jiram.spectra", over="segment", halo=REACH, version=1)
def spectra(
    raw: Annotated[xr.Dataset, Raw("jiram.spectrum_edr")],
    background: Annotated[xr.Dataset | None, Product("jiram.spectrum_background")],
    spectrum_detector: Table,
    spectrum_dark: Table,
    spectrum_responsivity: Table,
    wavelength: Table,
    exposure: Table,
    temperature: Table,
    compression: Table,
    *,
    read_time: float | None = None,
) -> xr.Dataset:
    """Spectral radiance of the pixels along the slit.

    Parameters
    ----------
    raw : one set of spectra; see `instruments.jiram.raw.read_spectra`.
    background : background frames about it.
    read_time : seconds of the exposure that do not count; None: by the table.

    Raises
    ------
    CalibrationError
        for an exposure that is not longer than the time of read-out.
    """
    nominal = chain.nominal_wavelength(wavelength)
    focal = chain.spectrometer(spectrum_detector, spectrum_dark, nominal)
    frame = Frame.of(raw, 0, temperature, compression)
    lines = int(raw["slit_lines"].values[0])
    light = light_of(frame, focal, background_of(frame, focal, background, lines), _cycle(raw))
    responsivity = spectrum_responsivity["rate"]
    # Pixels of the slit are summed on the chip where fewer of them are sent.
    binned = 256.0 / lines
    per_unit, error = gain_of(
        frame, binned * responsivity.value[None], binned * responsivity.sigma[None], exposure, read_time
    )
    value, sigma = light.counts / per_unit, light.random / per_unit
    quality = light.quality | flag(hits(frame, value, sigma), Quality.RADIATION)
    systematic = np.hypot(np.nan_to_num(error * value), light.systematic / per_unit)
    drift = light.drift[0] / per_unit[0]
    warm = frame.temperatures[chain.SPECTROMETER_SENSOR] - float(wavelength["reference_temperature"].value)
    shift = wavelength["temperature_coefficient"]
    um = nominal + float(shift.value) * warm
    um_sigma = np.hypot(float(wavelength["first"].sigma), float(shift.sigma) * warm)
    dataset = xr.Dataset(
        {
            "spectral_radiance": (SPECTRA, value[None].astype(np.float32)),
            "spectral_radiance_random": (SPECTRA, chain.coarse(sigma)[None]),
            "spectral_radiance_systematic": (SPECTRA, chain.coarse(systematic)[None]),
            "spectral_radiance_structured": (("et", "channel"), drift[None].astype(np.float32)),
            "quality": (SPECTRA, quality[None]),
            "wavelength": (("et", "channel"), um[None]),
            "wavelength_systematic": (("et", "channel"), np.full((1, um.size), um_sigma)),
            **_of_frame(frame),
        },
        coords={"et": [frame.et]},
    )
    return dataset.isel(slit=slice(0, lines))
