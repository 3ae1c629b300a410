"""Steps of the bursts: counts to waveforms of the field, and their spectra (README.md, steps 7 to 9)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.ndimage import median_filter

from calibration.tables import Table
from instruments.waves.calibrate import ROUNDING
from instruments.waves.layout import ADC_LIMITS, BURSTS, Burst
from instruments.waves.schemas import LENGTH_HYPOTHESIS, RECORD_CLIPPED, SCALAR, TIME_COARSE
from instruments.waves.transfer import HYPOTHESES, Instrument, correct, noise_gain
from pipeline.clock import Span
from pipeline.dataset.events import counted
from pipeline.dataset.quality import Quality, flag
from pipeline.instrument import Product, Raw, step

Floats = NDArray[np.float64]
Step = Callable[..., xr.Dataset]

BLOCK = 1024  # samples of a Welch block
# Bins on either side from which a bin's uncertainty is taken; the nearest two go with the bin itself under the window.
NEAREST, FARTHEST = 3, 10
# A bin so many times above those beside is of a line, whose own density is then the better one.
LINE = 4.0


@dataclass(frozen=True)
class Tables:
    """The tables of the bursts."""

    receivers: Table
    attenuators: Table
    antenna: Table
    transfer: Table

    def chain(self, burst: Burst, hypothesis: str) -> Instrument:
        """Values of one burst's receiver."""
        return Instrument.of_tables(
            burst.receiver, hypothesis, self.receivers, self.attenuators, self.antenna, self.transfer
        )


def waveform_step(burst: Burst) -> Step:
    """The step that makes the waveforms of one kind of burst from telemetry."""

    def waveform(
        raw: Annotated[xr.Dataset, Raw("waves.hrs")],
        span: Span,
        receivers: Table,
        attenuators: Table,
        antenna: Table,
        transfer: Table,
        *,
        effective_length: Literal["half", "short"] = "half",
        correction: Literal["complex", "scalar"] = "complex",
    ) -> xr.Dataset:
        """Waveforms of the field from counts.

        Parameters
        ----------
        raw : as `raw.read_bursts` returns it.
        effective_length : as for the survey.
        correction : by the complex transfer function, or by one factor of mid-band, which leaves the phase wrong.
        """
        tables = Tables(receivers, attenuators, antenna, transfer)
        own = raw.isel(et=raw["kind"].values == BURSTS.index(burst))
        return waveforms(own, burst, tables, effective_length, correction).assign_attrs(counted(raw, span))

    waveform.__name__ = waveform.__qualname__ = f"waveform_{burst.name}"
    return step(produces=f"waves.burst_{burst.name}", over="segment", version=1)(waveform)


def waveforms(raw: xr.Dataset, burst: Burst, tables: Tables, hypothesis: str, correction: str) -> xr.Dataset:
    """Calibrate the captures of one kind (steps 7 and 8)."""
    chain = tables.chain(burst, hypothesis)
    number, samples = raw.sizes["et"], raw["samples"].values
    counts = raw["counts"].values[:, : burst.most]
    there = np.arange(burst.most) < samples[:, None]
    clipped = there & ((counts <= ADC_LIMITS[0]) | (counts >= ADC_LIMITS[1]))
    attenuation = chain.attenuation(raw["attenuator"].values)
    field, systematic = np.full(counts.shape, np.nan), np.full(counts.shape, np.nan)
    random = np.zeros(number)
    noise = float(np.sqrt(tables.receivers["noise"].value[burst.receiver] ** 2 + ROUNDING)) * chain.volts
    for size in np.unique(samples).tolist():
        rows = np.flatnonzero(samples == size)
        volts = counts[rows, :size] * chain.volts / attenuation[rows, None]
        field[rows, :size], systematic[rows, :size] = _field(
            volts, burst, chain, raw["attenuator"].values[rows], correction
        )
        gain = noise_gain(burst.rate, size, chain) if correction == "complex" else 1.0 / _middle(chain)
        random[rows] = noise * gain / attenuation[rows]
    quality = flag(~there, Quality.MISSING) | flag(clipped, Quality.SATURATED)
    quality |= flag(np.asarray(clipped.any(axis=1)), RECORD_CLIPPED.mask)[:, None]
    quality |= flag(raw["bad"].values, Quality.SUSPECT)[:, None] | flag(raw["coarse"].values, TIME_COARSE.mask)[:, None]
    quality |= flag(_edges(samples, burst, chain), Quality.EDGE)
    quality |= flag(not burst.magnetic, LENGTH_HYPOTHESIS.mask) | flag(correction == "scalar", SCALAR.mask)
    by, one = ("et", "sample"), ("et",)
    voltage = np.where(there, counts * chain.volts, np.nan)
    out = xr.Dataset(
        {
            "waveform": (by, field.astype(np.float32)),
            "waveform_random": (one, random.astype(np.float32)),
            "waveform_systematic": (by, systematic.astype(np.float32)),
            "voltage": (by, voltage.astype(np.float32)),
            "voltage_random": (one, np.full(number, noise, np.float32)),
            "voltage_quantum": (one, np.full(number, chain.volts, np.float32)),
            "samples": (one, samples.astype(np.int32)),
            "clipped_fraction": (one, (clipped.sum(axis=1) / np.maximum(samples, 1)).astype(np.float32)),
            "attenuator": (one, raw["attenuator"].values.astype(np.uint8)),
            "phase_valid": (one, np.full(number, correction == "complex", np.int8)),
            "quality": (by, quality.astype(np.uint32)),
        },
        coords={"et": raw["et"].values, "sample_time": ("sample", np.arange(burst.most) / burst.rate)},
    )
    return out if burst.magnetic else out.assign(other_hypothesis=((), _other(tables.antenna, hypothesis)))


def archive_step(burst: Burst) -> Step:
    """The step that takes the waveforms of one kind of burst from the archive."""

    def waveform(
        raw: Annotated[xr.Dataset, Raw("waves.rec")],
        span: Span,
        receivers: Table,
        attenuators: Table,
        antenna: Table,
        transfer: Table,
        archive: Table,
    ) -> xr.Dataset:
        """Waveforms as archived: calibrated by one factor of mid-band, the phase not corrected.

        Parameters
        ----------
        raw : as `burst_files.read_bursts` returns it.
        """
        tables = Tables(receivers, attenuators, antenna, transfer)
        own = raw.isel(et=raw["kind"].values == BURSTS.index(burst))
        return archived(own, burst, tables, archive).assign_attrs(counted(raw, span))

    waveform.__name__ = waveform.__qualname__ = f"archived_{burst.name}"
    return step(produces=f"waves.burst_{burst.name}", over="segment", version=2)(waveform)


def archived(raw: xr.Dataset, burst: Burst, tables: Tables, archive: Table) -> xr.Dataset:
    """Archived captures of one kind, with the uncertainties that the archive does not state."""
    chain = tables.chain(burst, HYPOTHESES[0])
    number, samples = raw.sizes["et"], raw["samples"].values
    with np.errstate(over="ignore"):
        field = raw["waveform"].values[:, : burst.most].astype(np.float32)
    field[~np.isfinite(field)] = np.nan
    noise = float(np.sqrt(tables.receivers["noise"].value[burst.receiver] ** 2 + ROUNDING)) * chain.volts
    random = noise / _middle(chain) / chain.attenuation(raw["attenuator"].values)
    clipped = raw["clipped_fraction"].values
    quality = flag(np.isnan(field), Quality.MISSING) | np.uint32(SCALAR.mask)
    quality |= flag(clipped > 0, RECORD_CLIPPED.mask)[:, None]
    quality |= flag(not burst.magnetic, LENGTH_HYPOTHESIS.mask)
    by, one = ("et", "sample"), ("et",)
    out = xr.Dataset(
        {
            "waveform": (by, field),
            "waveform_random": (one, random.astype(np.float32)),
            "waveform_systematic": (by, np.float32(archive["waveform"].value) * np.abs(field)),
            "samples": (one, samples.astype(np.int32)),
            "clipped_fraction": (one, clipped.astype(np.float32)),
            "attenuator": (one, raw["attenuator"].values),
            "phase_valid": (one, np.zeros(number, np.int8)),
            "quality": (by, quality.astype(np.uint32)),
        },
        coords={"et": raw["et"].values, "sample_time": ("sample", np.arange(burst.most) / burst.rate)},
    )
    return out if burst.magnetic else out.assign(other_hypothesis=((), _other(tables.antenna, HYPOTHESES[0])))


def _other(antenna: Table, hypothesis: str) -> float:
    """Ratio of densities under the other hypothesis of the effective length."""
    lengths, at = antenna["effective_length"].value, HYPOTHESES.index(hypothesis)
    return float((lengths[at] / lengths[1 - at]) ** 2)


def _middle(chain: Instrument) -> float:
    """Response at the middle of the passband, the geometric mean of its ends."""
    return float(np.abs(chain.response(np.array([np.sqrt(chain.passband[0] * chain.passband[1])])))[0])


def _field(
    volts: Floats, burst: Burst, chain: Instrument, attenuator: NDArray[Any], correction: str
) -> tuple[Floats, Floats]:
    """Field of voltages (n, samples) without attenuation, and its systematic uncertainty."""

    def by(one: Instrument) -> Floats:
        return correct(volts, burst.rate, one) if correction == "complex" else volts / _middle(one)

    field = by(chain)
    square = np.zeros(field.shape)
    on = np.ones(1)
    scale = {"volts", "loss", "length", "gain", "sensitivity"}
    for name, moved in chain.moved():
        if name == "loss":
            ratio = float((chain.attenuation(on) / moved.attenuation(on))[0])
            square += (field * np.where(attenuator > 0, ratio - 1.0, 0.0)[:, None]) ** 2
        elif name in scale:
            value = getattr(chain, name)
            ratio = getattr(moved, name) / value if name == "volts" else value / getattr(moved, name)
            square += (field * (ratio - 1.0)) ** 2
        else:
            square += (by(moved) - field) ** 2
    return field, np.sqrt(square)


def _edges(samples: NDArray[Any], burst: Burst, chain: Instrument) -> NDArray[np.bool_]:
    """Samples that what lies beyond an end of the capture still reaches."""
    place = np.arange(burst.most)
    reach = chain.reach(burst.rate)
    inside = (place >= reach) & (place < samples[:, None] - reach)
    return ~inside & (place < samples[:, None])


# Spectra


def spectrum_step(burst: Burst) -> Step:
    """The step that makes the spectra of one kind of burst."""

    def spectrum(
        bursts: Annotated[xr.Dataset, Product(f"waves.burst_{burst.name}")],
        receivers: Table,
        attenuators: Table,
        antenna: Table,
        transfer: Table,
        *,
        effective_length: Literal["half", "short"] = "half",
    ) -> xr.Dataset:
        """Power spectral densities of bursts by Welch's method: blocks of 1024 samples, Hann window, half overlapping.

        Parameters
        ----------
        bursts : waveforms; samples at the edges of a capture are not used.
        effective_length : as for the waveforms; here it enters the expected noise alone.
        """
        return spectra(bursts, burst, Tables(receivers, attenuators, antenna, transfer), effective_length)

    # The product's name is known only here; text in an annotation would be evaluated without it.
    spectrum.__annotations__["bursts"] = Annotated[xr.Dataset, Product(f"waves.burst_{burst.name}")]
    spectrum.__name__ = spectrum.__qualname__ = f"spectrum_{burst.name}"
    return step(produces=f"waves.spectrum_{burst.name}", over="segment", version=1)(spectrum)


def welch(waveform: Floats, rate: float, block: int = BLOCK) -> tuple[Floats, int]:
    """One-sided density (n, block / 2 + 1) of waveforms (n, samples), and the number of blocks averaged.

    ``2 |X|^2 / (rate sum w^2)``, of which the first and the last bin have no factor 2 (Welch 1967; Hann, half
    overlapping). With one rectangular block as long as the record, the sum over bins times their distance is the mean
    square exactly (Parseval).
    """
    blocks = np.lib.stride_tricks.sliding_window_view(waveform, block, axis=1)[:, :: block // 2]
    window = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(block) / block)
    return periodogram(blocks, window, rate).mean(axis=1), blocks.shape[1]


def periodogram(blocks: Floats, window: Floats, rate: float) -> Floats:
    """One-sided density of blocks (..., length) under a window."""
    power = np.abs(np.fft.rfft(blocks * window, axis=-1)) ** 2 / (rate * (window**2).sum())
    power[..., 1 : -1 if window.size % 2 == 0 else None] *= 2.0
    return np.asarray(power)


def band(burst: Burst, chain: Instrument) -> tuple[Floats, slice]:
    """Frequencies of the spectra inside the passband, and which bins they are."""
    frequency = np.asarray(np.fft.rfftfreq(BLOCK, 1.0 / burst.rate), np.float64)
    inside = np.flatnonzero((frequency >= chain.passband[0]) & (frequency <= chain.passband[1]))
    bins = slice(int(inside[0]), int(inside[-1]) + 1)
    return frequency[bins], bins


def spectra(bursts: xr.Dataset, burst: Burst, tables: Tables, hypothesis: str) -> xr.Dataset:
    """Spectra of calibrated bursts (step 9)."""
    chain = tables.chain(burst, hypothesis)
    frequency, bins = band(burst, chain)
    samples = bursts["samples"].values
    reach = chain.reach(burst.rate)
    shape = (bursts.sizes["et"], frequency.size)
    psd, averages = np.full(shape, np.nan), np.zeros(shape[0], np.int16)
    for size in np.unique(samples).tolist():
        rows = np.flatnonzero(samples == size)
        if size - 2 * reach < BLOCK:
            continue
        inner = bursts["waveform"].values[rows, reach : size - reach].astype(np.float64)
        density, number = welch(inner, burst.rate)
        psd[rows], averages[rows] = density[:, bins], number
    noise = noise_density(burst, chain, tables, frequency, bursts["attenuator"].values)
    random = density_error(psd, noise, np.maximum(averages, 1)[:, None])
    bits = np.bitwise_or.reduce(
        bursts["quality"].values & np.uint32(~int(Quality.EDGE | Quality.MISSING) & 0xFFFFFFFF), axis=1
    )
    quality = flag(np.isnan(psd), Quality.MISSING) | bits[:, None]
    on = (bursts["attenuator"].values > 0).astype(np.intp)
    relative = np.zeros((2, frequency.size))
    for name, moved in chain.moved():
        if name == "loss":
            ratio = chain.attenuation(np.ones(1)) / moved.attenuation(np.ones(1))
            relative[1] += (ratio**2 - 1.0) ** 2
        else:
            ratio = np.abs(chain.response(frequency) / moved.response(frequency)) * moved.volts / chain.volts
            relative += (ratio**2 - 1.0) ** 2
    by = ("et", "frequency")
    return xr.Dataset(
        {
            "psd": (by, psd.astype(np.float32)),
            "psd_random": (by, random.astype(np.float32)),
            "psd_systematic": (by, np.sqrt(relative)[on].astype(np.float32)),
            "psd_noise": (by, noise.astype(np.float32)),
            "averages": ("et", averages),
            "quality": (by, quality.astype(np.uint32)),
        },
        coords={"et": bursts["et"].values, "frequency": frequency},
    )


def noise_density(
    burst: Burst, chain: Instrument, tables: Tables, frequency: Floats, attenuator: NDArray[Any]
) -> Floats:
    """Expected density of the receiver's noise and the rounding, (n, frequency)."""
    counts2 = float(tables.receivers["noise"].value[burst.receiver]) ** 2 + ROUNDING
    white = 2.0 * counts2 * chain.volts**2 / burst.rate
    return np.asarray(white / chain.attenuation(attenuator)[:, None] ** 2 / np.abs(chain.response(frequency)) ** 2)


def density_error(psd: Floats, noise: Floats, averages: NDArray[Any]) -> Floats:
    """Error that the noise makes in a density: it beats with the signal, and fluctuates by itself.

    The signal is taken from bins beside, for one bin's own fluctuation would go into its uncertainty. Blocks that
    overlap by half under a Hann window are correlated by 1/6 (Welch 1967).
    """
    footprint = (np.abs(np.arange(-FARTHEST, FARTHEST + 1)) >= NEAREST)[None]
    there = np.nan_to_num(psd)
    # The median passes over lines; of a mean of n it lies 1 / 3n below the mean (gamma distribution).
    beside = median_filter(there, footprint=footprint, mode="mirror") / (1.0 - 1.0 / (3.0 * averages))
    seen = np.where(there > LINE * beside, there, beside)
    square = np.maximum(2.0 * (seen - noise) * noise + noise**2, 0.25 * noise**2)
    overlap = 1.0 + 2.0 * (1.0 / 6.0) ** 2 * (1.0 - 1.0 / averages)
    return np.asarray(np.sqrt(square * overlap / averages))


WAVEFORM_STEPS = tuple(make(b) for b in BURSTS for make in (waveform_step, archive_step))
SPECTRUM_STEPS = tuple(spectrum_step(b) for b in BURSTS)
