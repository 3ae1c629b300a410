"""Steps of the survey: codes to power spectral densities (README.md, steps 1 to 6), and the archive's own survey."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from calibration.tables import Table
from instruments.waves.layout import (
    BANDWIDTH_B,
    BANDWIDTH_E,
    CHANNELS,
    FREQUENCY_B,
    FREQUENCY_E,
    HFR_HI,
    LFR_B,
    NUMBER_E,
    POINTS,
    RECEIVERS,
    SAMPLE_RATES,
    bin_edges,
    channels_of,
    receiver_of_channel,
)
from instruments.waves.schemas import ATTENUATOR_CHANGE, CODE_UNSEEN, CROSSTALK, LENGTH_HYPOTHESIS, TIME_COARSE
from instruments.waves.transfer import HYPOTHESES, Instrument
from pipeline.clock import Span
from pipeline.dataset.events import counted
from pipeline.dataset.quality import Quality, flag
from pipeline.instrument import Product, Raw, step

Floats = NDArray[np.float64]
Flags = NDArray[np.uint32]

HALO = 2.0
WINDOW = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(POINTS) / POINTS)  # Hann, periodic
WINDOW_POWER = float((WINDOW**2).sum())
# Correlation of neighbouring bins of white noise under this window: 2/3 at one bin, 1/6 at two.
NEIGHBOURS = ((1, (2.0 / 3.0) ** 2), (2, (1.0 / 6.0) ** 2))
ROUNDING = 1.0 / 12.0  # counts^2
LAST = 255


@dataclass(frozen=True)
class Tables:
    """The tables of the survey."""

    survey_codes: Table
    receivers: Table
    attenuators: Table
    antenna: Table
    transfer: Table
    hfr_high: Table
    crosstalk: Table

    def chain(self, receiver: int, hypothesis: str) -> Instrument:
        """Values of one receiver's chain."""
        return Instrument.of_tables(receiver, hypothesis, self.receivers, self.attenuators, self.antenna, self.transfer)


@dataclass(frozen=True)
class Spectra:
    """One receiver's spectra (n, channel): density, its uncertainties and its step from code to code, codes, flags."""

    psd: Floats
    random: Floats
    systematic: Floats
    quantum: Floats
    code: NDArray[np.uint8]
    quality: Flags


@step(produces="waves.survey", over="segment", halo=HALO, version=1)
def survey_from_telemetry(
    raw: Annotated[xr.Dataset, Raw("waves.lrs")],
    span: Span,
    survey_codes: Table,
    receivers: Table,
    attenuators: Table,
    antenna: Table,
    transfer: Table,
    hfr_high: Table,
    crosstalk: Table,
    *,
    effective_length: Literal["half", "short"] = "half",
) -> xr.Dataset:
    """Power spectral densities of all receivers from the low-rate packets.

    Parameters
    ----------
    raw : as `raw.read_survey` returns it.
    effective_length : half of the tip-to-tip length, or a short antenna loaded by its base capacitance; neither is
        published. The swept receiver's table holds the archive's own.
    """
    tables = Tables(survey_codes, receivers, attenuators, antenna, transfer, hfr_high, crosstalk)
    return survey(raw, span, tables, effective_length)


@step(produces="waves.survey", over="segment", halo=HALO, version=2)
def survey_from_codes(
    raw: Annotated[xr.Dataset, Raw("waves.das2_codes")],
    span: Span,
    survey_codes: Table,
    receivers: Table,
    attenuators: Table,
    antenna: Table,
    transfer: Table,
    hfr_high: Table,
    crosstalk: Table,
    *,
    effective_length: Literal["half", "short"] = "half",
) -> xr.Dataset:
    """Power spectral densities from a das2 stream of raw codes; receivers that are not in it are missing."""
    tables = Tables(survey_codes, receivers, attenuators, antenna, transfer, hfr_high, crosstalk)
    return survey(raw, span, tables, effective_length)


def survey(raw: xr.Dataset, span: Span, tables: Tables, hypothesis: str) -> xr.Dataset:
    """Calibrate the spectra of all receivers (steps 1 to 6)."""
    attenuator = raw["attenuator"].values
    spectra = [
        swept(raw["codes_3"].values, tables.hfr_high)
        if receiver == HFR_HI
        else transformed(raw[f"codes_{receiver}"].values, attenuator[:, receiver], receiver, tables, hypothesis)
        for receiver in range(len(RECEIVERS))
    ]
    changed = np.zeros(attenuator.shape, bool)
    present = raw["present"].values
    changed[1:] = (attenuator[1:] != attenuator[:-1]) & present[1:] & present[:-1]
    doubtful = flag(raw["bad"].values, Quality.SUSPECT) | flag(changed, ATTENUATOR_CHANGE.mask)
    common = doubtful | flag(raw["coarse"].values, TIME_COARSE.mask)[:, None] | flag(~present, Quality.MISSING)
    common = common | crossed(spectra, present, tables.crosstalk)
    variables: dict[str, tuple[tuple[str, ...], Any]] = {}
    for letter, which in (("e", range(4)), ("b", (LFR_B,))):
        dims = ("et", f"channel_{letter}")
        there = np.concatenate([np.repeat(present[:, [r]], CHANNELS[r], axis=1) for r in which], axis=1)

        def joined(part: str, which: tuple[int, ...] | range = which, there: NDArray[np.bool_] = there) -> Floats:
            values = np.concatenate([getattr(spectra[r], part) for r in which], axis=1)
            return np.where(there, values, np.nan).astype(np.float32)

        bits = [np.where(present[:, [r]], spectra[r].quality, 0) | common[:, [r]] for r in which]
        variables[f"psd_{letter}"] = dims, joined("psd")
        variables[f"psd_{letter}_random"] = dims, joined("random")
        variables[f"psd_{letter}_systematic"] = dims, joined("systematic")
        variables[f"psd_{letter}_quantum"] = dims, joined("quantum")
        variables[f"code_{letter}"] = dims, joined("code")
        variables[f"code_{letter}_random"] = (), np.float32(1.0 / np.sqrt(12.0))
        variables[f"code_{letter}_quantum"] = (), np.float32(1.0)
        variables[f"quality_{letter}"] = dims, np.concatenate(bits, axis=1).astype(np.uint32)
    lengths = tables.antenna["effective_length"].value
    at = HYPOTHESES.index(hypothesis)
    return xr.Dataset(
        {
            **variables,
            "offset": (("et", "receiver_index"), raw["offset"].values),
            "attenuator": (("et", "receiver_index"), attenuator),
            "other_hypothesis": ((), float((lengths[at] / lengths[1 - at]) ** 2)),
        },
        coords={"et": raw["et"].values, **channels()},
        attrs=counted(raw, span),
    )


def transformed(
    codes: NDArray[np.uint8], attenuator: NDArray[np.uint8], receiver: int, tables: Tables, hypothesis: str
) -> Spectra:
    """Spectra of a receiver that transforms 1024 samples on board (steps 1, 2, 4 and 5).

    The sum of the squared spectrum of n bins in counts^2 under window w gives the one-sided density
    ``2 volts^2 sum |X|^2 / (rate sum w^2 n)``, over the mean of |H|^2 in these bins.
    """
    reading = tables.survey_codes["reading"].value[codes]
    quantum = tables.survey_codes["quantum"].value[codes]
    scale = float(tables.receivers["counts2_per_reading"].value[receiver])
    bins = np.diff(bin_edges(receiver)).astype(float)
    chain = tables.chain(receiver, hypothesis)
    factor = density_factor(chain, bins)
    loss = chain.attenuation(attenuator)[:, None] ** 2
    # Rounding to counts adds its own power, which is known, and beats with the signal.
    rounding = ROUNDING * WINDOW_POWER * bins / scale
    alike = 1.0 + 2.0 * sum(rho2 * np.clip(bins - lag, 0.0, None) / bins for lag, rho2 in NEIGHBOURS)
    beating = (2.0 * reading * rounding + rounding**2) * alike / bins
    psd = (reading - rounding) * scale * factor / loss
    random = np.sqrt(quantum**2 / 12.0 + beating) * scale * factor / loss
    relative = np.zeros((2, len(bins)))
    on = np.ones(1)
    for name, moved in chain.moved():
        if name == "loss":
            relative[1] += ((chain.attenuation(on) / moved.attenuation(on)) ** 2 - 1.0) ** 2
        else:
            relative += (density_factor(moved, bins) / factor - 1.0) ** 2
    quality = flag(codes == LAST, Quality.SATURATED) | flag(codes == 0, Quality.CLIPPED_LOW)
    quality |= flag(receiver != LFR_B, LENGTH_HYPOTHESIS.mask)
    systematic = np.abs(psd) * np.sqrt(relative)[(attenuator > 0).astype(np.intp)]
    return Spectra(psd, random, systematic, quantum * scale * factor / loss, codes, quality)


def density_factor(chain: Instrument, bins: Floats) -> Floats:
    """Power spectral density of a sum of squares of 1 count^2, by channel; attenuator off."""
    rate = SAMPLE_RATES[chain.receiver]
    return np.asarray(2.0 * chain.volts**2 / (rate * WINDOW_POWER * bins * chain.power_response()))


def swept(codes: NDArray[np.uint8], table: Table) -> Spectra:
    """Spectra of the swept receiver, whose codes mean different things in its channels (step 3)."""
    channel = np.arange(codes.shape[1])
    value, sigma = table["psd"].value, table["psd"].sigma
    seen = table["observed"].value > 0
    width = np.gradient(value, axis=1)
    first = np.where(seen.any(axis=0))[0]
    quality = flag(~seen[channel, codes], CODE_UNSEEN.mask)
    quality |= flag((codes < first[0]) | (codes > first[-1]), Quality.CALIBRATION_EXTRAPOLATED)
    quality |= flag(codes == LAST, Quality.SATURATED) | flag(value[channel, codes] <= 0.0, Quality.CLIPPED_LOW)
    step_size = width[channel, codes]
    return Spectra(value[channel, codes], step_size / np.sqrt(12.0), sigma[channel, codes], step_size, codes, quality)


def crossed(spectra: list[Spectra], present: NDArray[np.bool_], crosstalk: Table) -> Flags:
    """Quality bits by receiver where another one's whole power times the coupling exceeds all of a receiver's own."""
    widths = [BANDWIDTH_B if r == LFR_B else BANDWIDTH_E[channels_of(r)] for r in range(len(RECEIVERS))]
    power = np.stack([(s.psd * w).sum(axis=1) for s, w in zip(spectra, widths, strict=True)], axis=1)
    power = np.where(present, power, 0.0)
    leaked = power[:, None, :] * crosstalk["coupling"].value
    return flag((leaked > power[:, :, None]).any(axis=2) & present, CROSSTALK.mask)


def channels() -> dict[str, tuple[str, NDArray[np.generic]]]:
    """Coordinates of the channels."""
    return {
        "frequency_e": ("channel_e", FREQUENCY_E),
        "bandwidth_e": ("channel_e", BANDWIDTH_E),
        "receiver": ("channel_e", receiver_of_channel().astype(np.int8)),
        "frequency_b": ("channel_b", FREQUENCY_B),
        "bandwidth_b": ("channel_b", BANDWIDTH_B),
    }


# The archive's own survey


@step(produces="waves.survey_archive", over="segment", version=2)
def survey_from_csv(raw: Annotated[xr.Dataset, Raw("waves.survey_csv")], span: Span, archive: Table) -> xr.Dataset:
    """The archive's calibrated survey, with the uncertainty that it does not state."""
    return archived(raw, span, archive)


@step(produces="waves.survey_archive", over="segment", version=2)
def survey_from_stream(raw: Annotated[xr.Dataset, Raw("waves.das2_survey")], span: Span, archive: Table) -> xr.Dataset:
    """The archive's calibrated survey from a das2 stream."""
    return archived(raw, span, archive)


def archived(raw: xr.Dataset, span: Span, archive: Table) -> xr.Dataset:
    """Densities as archived: what is zero, negative or empty is missing."""
    relative = np.hypot(float(archive["amplitude"].value), float(archive["printed"].value))
    variables: dict[str, tuple[tuple[str, ...], NDArray[np.generic]]] = {}
    for letter in "eb":
        dims = ("et", f"channel_{letter}")
        psd = np.where(raw[f"psd_{letter}"].values > 0, raw[f"psd_{letter}"].values, np.nan).astype(np.float32)
        bits = flag(np.isnan(psd), Quality.MISSING) | flag(raw[f"bad_{letter}"].values, Quality.SUSPECT)
        variables[f"psd_{letter}"] = dims, psd
        variables[f"psd_{letter}_systematic"] = dims, np.float32(relative) * psd
        variables[f"quality_{letter}"] = dims, bits
    variables["offset"] = ("et", "receiver_index"), raw["offset"].values
    return xr.Dataset(variables, coords={"et": raw["et"].values, **channels()}, attrs=counted(raw, span))


@step(produces="waves.differences", over="unit", version=1)
def differences(
    survey: Annotated[xr.Dataset, Product("waves.survey")],
    archive: Annotated[xr.Dataset, Product("waves.survey_archive")],
) -> xr.Dataset:
    """How this calibration differs from the archive's, channel by channel, over the seconds that both have."""
    _, ours, theirs = np.intersect1d(np.rint(survey["et"].values), np.rint(archive["et"].values), return_indices=True)
    own, other = survey["psd_e"].values[ours].astype(float), archive["psd_e"].values[theirs].astype(float)
    both = np.isfinite(own) & np.isfinite(other)
    relative = np.where(both, own / np.where(both, other, 1.0) - 1.0, np.nan)
    sigma = np.hypot(survey["psd_e_random"].values[ours], survey["psd_e_systematic"].values[ours])
    pull = np.where(both, np.abs(own - other) / np.where(sigma > 0, sigma, np.nan), np.nan)
    number = both.sum(axis=0)
    known = number > 0
    unseen = (survey["quality_e"].values[ours] & np.uint32(CODE_UNSEEN.mask)) != 0

    def over(function: str, values: Floats) -> Floats:
        out = np.full(NUMBER_E, np.nan)
        out[known] = getattr(np, function)(values[:, known], axis=0)
        return out

    coords = {name: value for name, value in channels().items() if value[0] == "channel_e"}
    by = ("channel_e",)
    return xr.Dataset(
        {
            "matched": (by, number.astype(np.int32)),
            "unseen": (by, (unseen & both).sum(axis=0).astype(np.int32)),
            "difference": (by, over("nanmean", relative)),
            "difference_random": (by, over("nanstd", relative) / np.sqrt(np.maximum(number, 1))),
            "largest": (by, over("nanmax", np.abs(relative))),
            "largest_in_sigma": (by, over("nanmax", pull)),
            "quality": (by, flag(~known, Quality.MISSING)),
        },
        coords=coords,
    )
