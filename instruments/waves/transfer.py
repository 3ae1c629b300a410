"""Transfer functions of antenna, search coil, preamplifier and receiver, and their removal in the Fourier domain.

Time factor exp(+2 pi i f t); a waveform's time is zero at its first sample.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft, rfftfreq

from calibration.tables import Quantity, Table
from instruments.waves.layout import HFR_HI, LFR_B, POINTS, bin_edges, bin_width

Floats = NDArray[np.float64]
Complex = NDArray[np.complex128]

# Widths of the passband's tapers, octaves.
BELOW, ABOVE = 1.0, 0.5
# Periods of the passband's lowest frequency after which the correction has forgotten the end of the capture.
PERIODS = 5.0
HYPOTHESES = ("half", "short")  # of the effective length, in the order of table antenna


@dataclass(frozen=True)
class Instrument:
    """Values of one receiver's chain; `sigma` of the same names where they are uncertain.

    Parameters
    ----------
    volts : V per count at the preamplifier's input, mid-band.
    loss : of the attenuator when on, dB.
    length : effective length, m; of the search coil 1.
    gain, high_pass, low_pass : of the receiver; `sensitivity`, `resonance`, `quality` of the search coil.
    """

    receiver: int
    volts: float
    loss: float
    length: float
    gain: float
    high_pass: float
    low_pass: float
    sensitivity: float
    resonance: float
    quality: float
    passband: tuple[float, float]
    sigma: Mapping[str, float]

    @classmethod
    def of_tables(
        cls, receiver: int, hypothesis: str, receivers: Table, attenuators: Table, antenna: Table, transfer: Table
    ) -> Instrument:
        """The chain of one receiver under a hypothesis of the effective length."""
        magnetic = receiver == LFR_B
        places: dict[str, tuple[Quantity, Any]] = {
            "volts": (receivers["volts_per_count"], receiver),
            "loss": (attenuators["loss"], receiver),
            "length": (antenna["effective_length"], HYPOTHESES.index(hypothesis)),
            "gain": (transfer["gain"], receiver),
            "high_pass": (transfer["high_pass"], receiver),
            "low_pass": (transfer["low_pass"], receiver),
            "sensitivity": (transfer["coil_sensitivity"], ()),
            "resonance": (transfer["coil_resonance"], ()),
            "quality": (transfer["coil_quality"], ()),
        }
        values = {name: float(q.value[at]) for name, (q, at) in places.items()}
        unused = {"length"} if magnetic else {"sensitivity", "resonance", "quality"}
        sigma = {name: float(q.sigma[at]) for name, (q, at) in places.items() if name not in unused}
        if magnetic:
            values["length"] = 1.0
        low, high = transfer["passband"].value[receiver].tolist()
        return cls(receiver=receiver, passband=(low, high), sigma=sigma, **values)

    def response(self, frequency: Floats) -> Complex:
        """Volts at the converter, in units of `volts` counts, per V/m or nT; attenuator off."""
        s = 2j * np.pi * np.asarray(frequency, np.float64)
        w1, w2 = 2.0 * np.pi * self.high_pass, 2.0 * np.pi * self.low_pass
        x = s / w2
        # Butterworth of fourth order as two quadratic factors.
        butterworth = (x * x + 2.0 * np.sin(np.pi / 8.0) * x + 1.0) * (x * x + 2.0 * np.cos(np.pi / 8.0) * x + 1.0)
        receiver = self.gain * s / (s + w1) / butterworth
        if self.receiver != LFR_B:
            return np.asarray(receiver * self.length)
        w0 = 2.0 * np.pi * self.resonance
        induced = self.sensitivity * s / (2.0 * np.pi)
        return np.asarray(receiver * induced / (1.0 + s / (self.quality * w0) + (s / w0) ** 2))

    def attenuation(self, on: NDArray[Any]) -> Floats:
        """Factor of the voltage by the attenuator."""
        return np.where(on > 0, 10.0 ** (-self.loss / 20.0), 1.0)

    def moved(self) -> Iterator[tuple[str, Instrument]]:
        """The chain with each uncertain value one sigma higher."""
        for name, size in self.sigma.items():
            if size > 0.0:
                yield name, replace(self, **{name: getattr(self, name) + size})

    def power_response(self) -> Floats:
        """Mean of |H|^2 over the bins of each survey channel."""
        if self.receiver == HFR_HI:
            raise ValueError("the swept receiver has no bins")
        edges = bin_edges(self.receiver)
        squared = np.abs(self.response(bin_width(self.receiver) * np.arange(POINTS // 2, dtype=np.float64))) ** 2
        return np.add.reduceat(squared[: edges[-1]], edges[:-1]) / np.diff(edges)

    def window(self, frequency: Floats) -> Floats:
        """1 in the passband, cosine tapers over an octave below and half an octave above it, else 0."""
        low, high = self.passband
        f = np.maximum(np.abs(frequency), 1e-30)
        outside = np.maximum(np.log2(low / f) / BELOW, np.log2(f / high) / ABOVE)
        return np.asarray(0.5 * (1.0 + np.cos(np.pi * np.clip(outside, 0.0, 1.0))))

    def reach(self, rate: float) -> int:
        """Samples at an end of a capture that what lies beyond it still reaches."""
        return int(np.ceil(PERIODS * rate / self.passband[0]))


def correct(voltage: Floats, rate: float, chain: Instrument) -> Floats:
    """Field in the passband from voltage (n, samples), the attenuator already undone.

    Both ends are continued by their odd reflection, faded out, so that what the transform joins there is continuous;
    the samples within `Instrument.reach` of an end are not to be trusted all the same.
    """
    number = voltage.shape[1]
    pad = number // 4
    mean = voltage.mean(axis=1, keepdims=True)
    extended = np.pad(voltage - mean, ((0, 0), (pad, pad)), "reflect", reflect_type="odd")
    fade = 0.5 - 0.5 * np.cos(np.pi * (np.arange(pad) + 0.5) / pad)
    extended[:, :pad] *= fade
    extended[:, -pad:] *= fade[::-1]
    size = next_fast_len(number + 2 * pad, real=True)
    frequency = rfftfreq(size, 1.0 / rate)
    inverse = np.zeros(frequency.shape, np.complex128)
    use = chain.window(frequency) > 0
    inverse[use] = chain.window(frequency[use]) / chain.response(frequency[use])
    return np.asarray(irfft(rfft(extended, size, axis=1) * inverse, size, axis=1)[:, pad : pad + number])


def noise_gain(rate: float, samples: int, chain: Instrument) -> float:
    """Standard deviation of the corrected waveform for white noise of one volt at the converter."""
    frequency = rfftfreq(samples, 1.0 / rate)
    use = chain.window(frequency) > 0
    power = (chain.window(frequency[use]) / np.abs(chain.response(frequency[use]))) ** 2
    return float(np.sqrt(2.0 * power.sum() / samples))
