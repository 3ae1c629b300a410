"""The equations from counts to radiance, on arrays; the steps are in `calibrate`.

A frame is modelled as ``DN = offset + t (dark 2^((T_d - T_d0) / D) + emission W(T_t) + ITF S)``: the offset alternates
between odd and even columns, dark current goes with the detector's temperature, the instrument's own thermal emission
with that of the telescope by Wien's law, S is the radiance. What a background frame shows beyond the model is
interpolated in time (README.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.tables import Table
from instruments.jiram.layout import BANDS, LINES, SAMPLES
from instruments.jiram.planck import C2

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

DETECTOR_SENSOR, TELESCOPE_SENSOR, SPECTROMETER_SENSOR = 0, 1, 5
# Levels into which pixels are scaled before they are compressed on board.
SCALED_LEVELS = 4095.0
# The share of what stands out that a smooth surface through the neighbours does not predict: 0.2 of a peak of waves 10
# pixels long, 0.4 of 7, a half of two equal hits side by side, all of a single hit.
UNPREDICTED = 0.45
# The same in differences between the neighbours, the highest aside.
CONTRAST = 0.25


@dataclass(frozen=True)
class Focal:
    """One focal plane; arrays broadcast against a frame, (band, line, sample) or (slit, channel).

    Parameters
    ----------
    offset, offset_sigma : level at no exposure and no light, counts.
    dark, emission : counts/s at the reference temperatures.
    dark_reference, dark_doubling : K.
    emission_reference, wavelength : K and um.
    drift : random walk of the emission, counts/s per square root of a second.
    sensor : whose temperature the emission goes with.
    gain, read_noise : electrons per count, electrons.
    saturation, linear : counts, background included.
    """

    offset: Array
    offset_sigma: Array
    dark: Array
    emission: Array
    dark_reference: float
    dark_doubling: float
    emission_reference: float
    wavelength: Array
    drift: Array
    sensor: int
    gain: float
    read_noise: float
    saturation: float
    linear: float

    def model(self, exposure: float, temperatures: Array) -> Array:
        """Counts of a frame without light."""
        dark = self.dark * 2.0 ** ((temperatures[DETECTOR_SENSOR] - self.dark_reference) / self.dark_doubling)
        hot = 1.0 / self.emission_reference - 1.0 / temperatures[self.sensor]
        return np.asarray(self.offset + exposure * (dark + self.emission * np.exp(C2 / self.wavelength * hot)))

    def variance(self, level: Array, quantum: float) -> Array:
        """Variance of the counts at a level: shot noise, read-out, rounding, compression by steps `quantum`."""
        electrons = np.maximum(level - self.offset, 0.0) * self.gain
        return np.asarray((electrons + self.read_noise**2) / self.gain**2 + (1.0 + quantum**2) / 12.0)


def _shaped(values: Array, *shape: int) -> Array:
    return np.asarray(values, np.float64).reshape(shape)


def imager(detector: Table, background: Table, bands: Table) -> Focal:
    """The imager: (band, line, sample)."""
    offset = background["offset"]
    return Focal(
        offset=offset.value[:, None, :],
        offset_sigma=offset.sigma[:, None, :],
        wavelength=_shaped(bands["centre"].value, 2, 1, 1),
        sensor=TELESCOPE_SENSOR,
        dark=_shaped(background["dark"].value, 2, 1, 1),
        emission=_shaped(background["emission"].value, 2, 1, 1),
        drift=_shaped(background["drift"].value, 2, 1, 1),
        **_scalars(detector, background),
    )


def spectrometer(detector: Table, background: Table, wavelength: Array) -> Focal:
    """The spectrometer: (slit, channel)."""
    parity = np.arange(wavelength.size) % 2
    offset = background["offset"]
    return Focal(
        offset=offset.value[parity][None],
        offset_sigma=offset.sigma[parity][None],
        dark=np.asarray(background["dark"].value)[None, None],
        emission=background["emission"].value[None],
        drift=background["drift"].value[None],
        wavelength=wavelength[None],
        sensor=SPECTROMETER_SENSOR,
        **_scalars(detector, background),
    )


def _scalars(detector: Table, background: Table) -> dict[str, Any]:
    own = ("gain", "read_noise", "saturation", "linear")
    also = ("dark_reference", "dark_doubling", "emission_reference")
    return {n: float(detector[n].value) for n in own} | {n: float(background[n].value) for n in also}


def hot_pixels(detector: Table) -> Mask:
    """Pixels of the imager, (band, line, sample), that table image_detector lists."""
    hot = np.zeros((2, LINES, SAMPLES), bool)
    line, sample = detector["hot"].value.astype(np.intp).T
    hot[line // LINES, line % LINES, sample] = True
    return hot


def nominal_wavelength(table: Table) -> Array:
    """Wavelengths of the channels at the reference temperature, um."""
    return np.asarray(table["first"].value + table["step"].value * np.arange(BANDS))


def temperatures(counts: NDArray[np.int64], table: Table) -> Array:
    """Temperatures of the sensors, K (..., sensor): polynomials of the counts."""
    coefficient = table["coefficient"].value
    return np.asarray(coefficient[:, 0] + coefficient[:, 1] * counts)


def compression_step(scale: NDArray[np.int64], compressed: bool, table: Table) -> float:
    """Step, in counts, to which the orthonormal cosine transform of a compressed image was rounded; 0 if it was not.

    Pixels are scaled from their smallest and largest to 4095 levels and transformed in blocks; with equal steps for
    all coefficients the errors of the pixels are white, of variance step^2 / 12.
    """
    # Words are unsigned in the table; after subtraction on board the smallest pixel is negative.
    low, high = ((int(v) + 32768) % 65536 - 32768 for v in scale)
    return float(table["step"].value) * (high - low) / SCALED_LEVELS if compressed else 0.0


@dataclass(frozen=True)
class Background:
    """The background of one frame.

    Parameters
    ----------
    level : counts.
    variance : of its noise, counts^2.
    walk : seconds; the variance of the drift is ``(drift exposure)^2 walk``.
    frame, age : the last frame before, counts, spikes included, and seconds since it; None where there is none.
    measured : where frames give it; elsewhere the table alone.
    one_sided : where only frames of one side do.
    """

    level: Array
    variance: Array
    walk: Array
    frame: Array | None
    age: float
    measured: Mask
    one_sided: Mask


def background_at(et: float, model: Array, times: Array, residual: Array, variance: Array, counts: Array) -> Background:
    """Background at a time: the model, and the residuals of the frames next to it, interpolated in time pixel by pixel.

    The emission drifts as a random walk; between two frames its variance is that of a Brownian bridge,
    ``(t - t1)(t2 - t) / (t2 - t1)``, beside them the distance in time.

    Parameters
    ----------
    model : counts without light at `et`.
    times : of the background frames, ascending (n).
    residual, variance : of the frames, less the model at their own time (n, ...); NaN where a pixel is not to be used.
    counts : the frames themselves, spikes included.
    """
    before, after = _neighbour(times, residual, times <= et, -1), _neighbour(times, residual, times > et, 0)
    (t1, i1), (t2, i2) = before, after
    has1, has2 = np.isfinite(t1), np.isfinite(t2)
    with np.errstate(invalid="ignore"):
        second = np.where(has1 & has2, (et - t1) / (t2 - t1), np.where(has2, 1.0, 0.0))
        first = np.where(has1, 1.0 - second, 0.0)
        walk = np.where(has1 & has2, (et - t1) * (t2 - et) / (t2 - t1), np.where(has1, et - t1, t2 - et))
    measured = has1 | has2
    value, spread = np.zeros(model.shape), np.zeros(model.shape)
    for weight, index in ((first, i1), (second, i2)):
        value += weight * np.nan_to_num(_pick(residual, index))
        spread += weight**2 * np.nan_to_num(_pick(variance, index))
    last = np.flatnonzero(times <= et)
    frame = counts[last[-1]] if last.size else None
    level = model + np.where(measured, value, 0.0)
    age = et - float(times[last[-1]]) if last.size else np.inf
    return Background(level, spread, np.where(measured, walk, np.nan), frame, age, measured, measured & ~(has1 & has2))


def _neighbour(times: Array, residual: Array, side: Mask, place: int) -> tuple[Array, NDArray[np.intp]]:
    """Time (NaN if none) and index of the nearest usable frame on one side, for every pixel."""
    shape = residual.shape[1:]
    time, index = np.full(shape, np.nan), np.zeros(shape, np.intp)
    order = np.flatnonzero(side)
    # The nearest is written last.
    for k in order if place == -1 else order[::-1]:
        good = np.isfinite(residual[k])
        time[good], index[good] = times[k], k
    return time, index


def _pick(stack: Array, index: NDArray[np.intp]) -> Array:
    if stack.shape[0] == 0:
        return np.zeros(index.shape)
    return np.take_along_axis(stack, index[None], axis=0)[0]


def spikes(value: Array, sigma: Array, threshold: float) -> Mask:
    """Pixels hit by radiation: they stand out from their eight neighbours as no feature does that optics have blurred.

    A hit of one or two pixels is above the second highest neighbour by `threshold` sigmas of the difference; an edge or
    a slope has bright neighbours on its bright side. A peak of the scene is told from a hit by what its neighbours
    predict of a smooth surface, half the sum of the four next ones less a quarter of that of the four at the corners:
    of what stands out a good part must be unpredicted, and some of what the neighbours differ by themselves. Looked for
    twice, since a hit hides the weaker one beside it.

    Parameters
    ----------
    value, sigma : the last two dimensions are the image; pixels that are NaN do not count, and beside them the
        prediction is not asked for.
    """
    first, smooth = _spikes(value, sigma, threshold)
    again, _ = _spikes(np.where(first & np.isfinite(smooth), smooth, value), sigma, threshold)
    return first | again


def _spikes(value: Array, sigma: Array, threshold: float) -> tuple[Mask, Array]:
    highest = np.full(value.shape, -np.inf)
    second, lowest = highest.copy(), -highest
    for _, other in _neighbours(value, constant_values=np.nan):
        known = np.where(np.isfinite(other), other, -np.inf)
        second = np.maximum(second, np.minimum(highest, known))
        highest = np.maximum(highest, known)
        lowest = np.fmin(lowest, other)
    # Mirrored at the border, where a slope and a peak keep their prediction.
    smooth = np.zeros(value.shape)
    for weight, other in _neighbours(value, mode="reflect"):
        smooth += weight * other
    with np.errstate(invalid="ignore"):
        above = value - second
        left = np.where(np.isfinite(smooth), value - smooth, np.inf)
        peak = np.isfinite(value) & np.isfinite(second) & (above > threshold * np.sqrt(2.0) * sigma)
        structure = np.maximum(UNPREDICTED * above, CONTRAST * (second - lowest))
        return peak & (left > np.maximum(structure, threshold * 1.5 * sigma)), smooth


def _neighbours(value: Array, **padding: Any) -> Iterator[tuple[float, Array]]:
    """The eight neighbours of all pixels, with their weights in a smooth surface through them."""
    padded = np.pad(value, [(0, 0)] * (value.ndim - 2) + [(1, 1), (1, 1)], **padding)
    rows, columns = value.shape[-2:]
    for i in range(3):
        for j in range(3):
            if (i, j) != (1, 1):
                yield 0.5 if 1 in (i, j) else -0.25, padded[..., i : i + rows, j : j + columns]


def hits_between(frames: Array, sigma: Array, threshold: float) -> Mask:
    """Pixels of background frames that radiation hit: above the same pixel of the lowest other frame.

    Within one frame hits cannot be told from the fixed pattern of single pixels. What all pixels of a band or channel
    share, the drift, is taken off before. In one frame alone only what stands out from the pattern itself is seen.

    Parameters
    ----------
    frames : less their model (n, ...), NaN where unusable.
    """
    if len(frames) == 0:
        return np.zeros(frames.shape, bool)
    # Over lines and samples of a band, or over the slit of a channel.
    common = np.median(np.nan_to_num(frames), axis=(2, 3) if frames.ndim == 4 else 1, keepdims=True)
    even = frames - common
    if len(frames) == 1:
        scatter = np.median(np.abs(np.nan_to_num(even))) / 0.6745  # a standard deviation, if normal
        return np.asarray(even > threshold * scatter)
    lowest = np.min(np.where(np.isfinite(even), even, np.inf), axis=0)
    return np.asarray(even - lowest > threshold * np.sqrt(2.0) * sigma)


def coarse(sigma: Array) -> NDArray[np.float32]:
    """The sigma as float32 with 10 bits of mantissa (0.1 %): it then compresses."""
    bits = np.ascontiguousarray(sigma, np.float32).view(np.uint32)
    rounded = ((bits + np.uint32(1 << 12)) >> np.uint32(13)) << np.uint32(13)
    return np.where(np.isfinite(sigma), rounded.view(np.float32), np.float32(np.nan))
