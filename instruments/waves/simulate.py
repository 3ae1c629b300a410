"""The other way round: the scene's waves to counts, on-board spectra, packets and archived survey, and the truth.

Derived from how receivers work, not by turning the calibration round: circuits are sums over their poles, and bursts
go through them in time, one recursion per pole at sixteen times the sampling rate (impulse invariance). The values of
the calibration tables are the truth of the instrument.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Literal

import numpy as np
import xarray as xr
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.signal import lfilter

from instruments.waves.layout import (
    ADC_LIMITS,
    BURSTS,
    CHANNELS,
    HFR_HI,
    LFR_B,
    LFR_LO,
    POINTS,
    SAMPLE_RATES,
    SURVEY_TYPES,
    Burst,
    bin_edges,
    bin_width,
    channels_of,
    frequencies,
)
from instruments.waves.packets import RTI, Packet
from instruments.waves.simulate_files import Captures, clock_seconds, write_files
from pipeline.instrument import Truth
from pipeline.scene.tables import values_at
from pipeline.scene.waves import WaveScene

if TYPE_CHECKING:
    from pipeline.scene import Scene

Array = NDArray[np.float64]
Known = dict[str, dict[str, Array]]

NAMES = ("survey_codes", "receivers", "attenuators", "antenna", "transfer", "hfr_high")
# Ticks of 25 ms after the second at which each receiver's spectrum is taken, as in the archive's survey.
OFFSETS = (16, 28, 8, 12, 16)
# Seconds between captures of each kind.
EVERY = {"demo": 60, "full": 2}
# The attenuator is switched on above this many counts, root mean square.
LOUD = 350.0
OVER = 16
BEFORE, AFTER = 1024, 512  # samples of the field made on either side of a capture
CHUNK = 240
# Seconds the clock is ahead of its whole seconds, 1/65536 s: told by housekeeping alone.
SUBSECONDS = 21_845
# Periods of the lowest frequency at either end of a capture that no correction can know.
PERIODS = 5.0
HALF = 0  # hypothesis of the effective length that is true here


@dataclass(frozen=True)
class Circuit:
    """A receiver with its sensor: poles p and residues r, ``H = sum r / (s - p)``; V per V/m or nT."""

    receiver: int
    poles: NDArray[np.complex128]
    residues: NDArray[np.complex128]
    volts: float
    noise: float
    loss: float

    def response(self, frequency: Array) -> NDArray[np.complex128]:
        """Response to exp(2 pi i f t)."""
        s = 2j * np.pi * np.asarray(frequency)[..., None]
        return np.asarray((self.residues / (s - self.poles)).sum(axis=-1))

    def filtered(self, field: Array, step: float) -> Array:
        """Voltage of a field sampled every `step` seconds, by one recursion per pole; conjugate pairs at once."""
        out = np.zeros(field.shape)
        for pole, residue in zip(self.poles, self.residues, strict=True):
            if pole.imag < -1e-9 * abs(pole):
                continue
            part = lfilter([residue * step], [1.0, -np.exp(pole * step)], field)
            out += part.real * (1.0 if abs(pole.imag) <= 1e-9 * abs(pole) else 2.0)
        return out


def circuit(receiver: int, known: Known) -> Circuit:
    """Poles and residues of one receiver's chain."""
    table = known["transfer"]
    high = 2.0 * np.pi * float(table["high_pass"][receiver])
    low = 2.0 * np.pi * float(table["low_pass"][receiver])
    poles = [complex(-high), *(low * np.exp(1j * np.pi * (0.5 + (2 * k + 1) / 8.0)) for k in range(4))]
    zeros, lead = 1, float(table["gain"][receiver]) * low**4
    if receiver == LFR_B:
        own, quality = 2.0 * np.pi * float(table["coil_resonance"]), float(table["coil_quality"])
        root = np.sqrt(complex(1.0 / (4.0 * quality**2) - 1.0))
        poles += [own * (-0.5 / quality + root), own * (-0.5 / quality - root)]
        zeros, lead = 2, lead * float(table["coil_sensitivity"]) / (2.0 * np.pi) * own**2
    else:
        lead *= float(known["antenna"]["effective_length"][HALF])
    p = np.array(poles)
    residues = [lead * a**zeros / np.prod([a - b for b in np.delete(p, k)]) for k, a in enumerate(p)]
    own_values = known["receivers"]
    return Circuit(
        receiver, p, np.array(residues), float(own_values["volts_per_count"][receiver]),
        float(own_values["noise"][receiver]), float(known["attenuators"]["loss"][receiver]),
    )  # fmt: skip


def simulate(scene: Scene, raw_folder: Path, scale: Literal["demo", "full"], rng: Generator) -> Iterator[Truth]:
    """Write packets, housekeeping and archived survey of the scene below `raw_folder`; yields the truth.

    Some frames are lost, one comes twice, the last is cut short.
    """
    known = truth_tables(scene.pass_.et)
    world = WaveScene(scene)
    seconds, begin = clock_seconds(scene, SUBSECONDS)
    circuits = {r: circuit(r, known) for r in range(len(SURVEY_TYPES)) if r != HFR_HI}
    loud = attenuators(world, begin, circuits)
    packets, truth = survey(world, seconds, begin, circuits, loud, known, rng)
    with ExitStack() as files:
        captures = {b.name: Captures(b, files.enter_context(TemporaryFile(dir=raw_folder))) for b in BURSTS}
        for taken in captures.values():
            bursts(taken, world, seconds, begin, circuits[taken.burst.receiver], loud, EVERY[scale], rng, known)
        lost = write_files(raw_folder, scene, packets, captures, truth, SUBSECONDS, rng)
        yield Truth("waves.survey", "", truth.assign_attrs(injected=lost["survey"]))
        for burst in BURSTS:
            taken, own = captures[burst.name], circuits[burst.receiver]
            told = capture_truth(taken)
            edge = 2.0 * PERIODS * burst.rate / float(known["transfer"]["passband"][burst.receiver][0]) / burst.samples
            bad = lost[burst.name] + float(np.mean(taken.clipped))
            yield Truth(f"waves.burst_{burst.name}", "", told.assign_attrs(injected=bad + edge))
            spectra = spectrum_truth(burst, told, own, known)
            yield Truth(f"waves.spectrum_{burst.name}", "", spectra.assign_attrs(injected=bad))


def truth_tables(et: float) -> Known:
    """Values of the tables that hold at closest approach: table to quantity to array."""
    return values_at("waves", NAMES, et)


def density(world: WaveScene, receiver: int, et: Array, frequency: Array) -> Array:
    """Density of the field a receiver measures (n, m)."""
    return world.magnetic_density(et, frequency) if receiver == LFR_B else world.electric_density(et, frequency)


def attenuators(world: WaveScene, et: Array, circuits: dict[int, Circuit]) -> NDArray[np.uint8]:
    """Where each receiver's attenuator is on (n, receiver): where the broadband field alone would be loud."""
    on = np.zeros((len(et), len(SURVEY_TYPES)), np.uint8)
    for receiver, own in circuits.items():
        f = bin_width(receiver) * np.arange(1, POINTS // 2, dtype=np.float64)
        power = density(world, receiver, et, f) * np.abs(own.response(f)) ** 2
        counts = np.sqrt(power.sum(axis=1) * bin_width(receiver)) / own.volts
        on[:, receiver] = (counts > LOUD) & (own.loss > 0)
    # The swept receiver shares the preamplifier's band with the one below it.
    on[:, HFR_HI] = on[:, HFR_HI - 1]
    return on


# Survey


def survey(
    world: WaveScene,
    seconds: NDArray[np.int64],
    begin: Array,
    circuits: dict[int, Circuit],
    loud: NDArray[np.uint8],
    known: Known,
    rng: Generator,
) -> tuple[list[Packet], xr.Dataset]:
    """Packets of the survey's spectra, and their truth."""
    number = sum(CHANNELS[:4])
    psd = {"e": np.full((len(begin), number), np.nan), "b": np.empty((len(begin), CHANNELS[LFR_B]))}
    level = {"e": np.empty((len(begin), number)), "b": np.empty((len(begin), CHANNELS[LFR_B]))}
    packets: list[Packet] = []
    for receiver, kind in enumerate(SURVEY_TYPES):
        letter, place = "b" if receiver == LFR_B else "e", channels_of(receiver)
        codes = np.empty((len(begin), CHANNELS[receiver]), np.uint8)
        et = begin + OFFSETS[receiver] / RTI
        for start in range(0, len(begin), CHUNK):
            part = slice(start, start + CHUNK)
            if receiver == HFR_HI:
                codes[part], level[letter][part, place] = swept_codes(world, et[part], known, rng)
            else:
                found = transformed_codes(world, et[part], circuits[receiver], loud[part, receiver], known, rng)
                codes[part], level[letter][part, place], psd[letter][part, place] = found
        ticks = seconds * RTI + OFFSETS[receiver]
        on = loud[:, receiver]
        packets += [
            Packet(kind, int(t), bytes([int(a), 0, 0]), c.tobytes()) for t, a, c in zip(ticks, on, codes, strict=True)
        ]
    packets.sort(key=lambda p: (p.ticks, p.kind))
    truth = {f"psd_{k}": (("et", f"channel_{k}"), v) for k, v in psd.items()}
    truth |= {f"code_{k}": (("et", f"channel_{k}"), v) for k, v in level.items()}
    return packets, xr.Dataset({**truth, "attenuator": (("et", "receiver_index"), loud)}, coords={"et": begin})


def transformed_codes(
    world: WaveScene, et: Array, own: Circuit, loud: NDArray[np.uint8], known: Known, rng: Generator
) -> tuple[NDArray[np.uint8], Array, Array]:
    """Codes, the level before it is rounded to one, and the true density, (n, channel)."""
    rate = SAMPLE_RATES[own.receiver]
    f = bin_width(own.receiver) * np.arange(POINTS // 2 + 1, dtype=np.float64)
    response = own.response(f)
    size = np.sqrt(density(world, own.receiver, et, np.maximum(f, 1.0)) * rate * POINTS / 4.0)
    wave = rng.normal(size=(2, *size.shape)) * size
    wave[:, :, [0, -1]] = 0.0
    analog = np.fft.irfft((wave[0] + 1j * wave[1]) * response, axis=1)
    times = et[:, None] + np.arange(POINTS) / rate
    analog += coherent(world, times, own)
    weaker = np.where(loud > 0, 10.0 ** (-own.loss / 20.0), 1.0)[:, None]
    counts = analog * weaker / own.volts + own.noise * rng.normal(size=analog.shape)
    window = np.sin(np.pi * np.arange(POINTS) / POINTS) ** 2
    edges = bin_edges(own.receiver)
    inside = slice(0, edges[-1])

    def grouped(power: Array) -> Array:
        return np.asarray(np.add.reduceat(power[..., inside], edges[:-1], axis=-1))

    # What the field and the noise, seen as a field, had in the bins, as the receiver weighs them.
    seen = grouped(np.abs(np.fft.rfft(counts * window, axis=1)) ** 2) * (own.volts / weaker) ** 2
    truth = 2.0 * seen / (rate * 0.375 * POINTS * grouped(np.abs(response) ** 2))
    digital = np.clip(np.round(counts), *ADC_LIMITS)
    power = grouped(np.abs(np.fft.rfft(digital * window, axis=1)) ** 2)
    reading = power / known["receivers"]["counts2_per_reading"][own.receiver]
    return *pseudo_float(reading), truth


def coherent(world: WaveScene, times: Array, own: Circuit) -> Array:
    """Voltage of the line and of whistlers at times (n, samples), as slow as their frequency is for the circuit."""
    out = np.zeros(times.shape)
    nyquist = SAMPLE_RATES[own.receiver] / 2.0
    if own.receiver != LFR_B:
        frequency, phase, amplitude = world.line(times)
        response = own.response(frequency)
        out += np.where(frequency < nyquist, amplitude * np.abs(response) * np.cos(phase + np.angle(response)), 0.0)
    if own.receiver in (LFR_LO, LFR_B):
        for row, (start, stop) in enumerate(times[:, [0, -1]].tolist()):
            for whistler in world.whistlers_within(start, stop):
                frequency, phase, envelope = whistler.signal(times[row])
                size = whistler.magnetic if own.receiver == LFR_B else whistler.electric
                response = own.response(frequency)
                out[row] += size * envelope * np.abs(response) * np.cos(phase + np.angle(response))
    return out


def pseudo_float(value: Array) -> tuple[NDArray[np.uint8], Array]:
    """Eight bits: three of mantissa behind a leading one, five of exponent, cut off; below 8 the whole number.

    Returns
    -------
    code, level
        and where between the codes the value lies, at a code's own number in the middle of its step.
    """
    whole = np.floor(value).astype(np.int64)
    exponent = np.clip(np.frexp(np.maximum(whole, 1))[1] - 4, 0, None)
    code = np.where(whole < 8, whole, ((exponent + 1) << 3) | ((whole >> exponent) & 7))
    part = value / 2.0**exponent
    return np.clip(code, 0, 255).astype(np.uint8), code + (part - np.floor(part)) - 0.5


def swept_codes(world: WaveScene, et: Array, known: Known, rng: Generator) -> tuple[NDArray[np.uint8], Array]:
    """Codes of the swept receiver and its reading before it is rounded.

    Between the table's codes the detector is taken to go straight in power; what it sees within its
    dwell fluctuates by some per cent.
    """
    table = known["hfr_high"]["psd"]
    wanted = world.electric_density(et, frequencies(HFR_HI)) + 3e-17
    wanted = wanted * rng.gamma(30.0, 1.0 / 30.0, wanted.shape)
    reading = np.empty(wanted.shape)
    for channel, values in enumerate(table):
        first = int(np.count_nonzero(values <= 0.0)) - 1 if values[0] <= 0.0 else 0
        reading[:, channel] = np.interp(wanted[:, channel], values[first:], np.arange(first, len(values)))
    return np.clip(np.round(reading), 0, 255).astype(np.uint8), reading


# Bursts


def bursts(
    taken: Captures,
    world: WaveScene,
    seconds: NDArray[np.int64],
    begin: Array,
    own: Circuit,
    loud: NDArray[np.uint8],
    every: int,
    rng: Generator,
    known: Known,
) -> None:
    """Take captures of one kind, one every so many seconds, at a tick of their own and a part of a tick."""
    burst = taken.burst
    for at in range(7, len(begin) - 2, every):
        ticks = int(seconds[at]) * RTI + 2 + 5 * BURSTS.index(burst)
        part = int(rng.integers(0, 65536))
        et = float(begin[at]) + (2 + 5 * BURSTS.index(burst)) / RTI + part * 0.025 / 65536
        field, voltage = through(burst, world, et, own, rng)
        on = int(loud[at, burst.receiver])
        weaker = 10.0 ** (-own.loss / 20.0) if on else 1.0
        counts = voltage * weaker / own.volts + own.noise * rng.normal(size=burst.samples)
        digital = np.clip(np.round(counts), *ADC_LIMITS).astype(np.int16)
        banded = in_passband(field, burst.rate, known["transfer"]["passband"][burst.receiver])
        kept = banded[BEFORE : BEFORE + burst.samples]
        taken.add(ticks, part, et, on, (digital, kept, voltage * weaker))


def through(burst: Burst, world: WaveScene, et: float, own: Circuit, rng: Generator) -> tuple[Array, Array]:
    """Field of a capture and around it at the sampling rate, and the voltage of the capture."""
    size = BEFORE + burst.samples + AFTER
    f = np.fft.rfftfreq(size, 1.0 / burst.rate)
    sigma = np.sqrt(density(world, burst.receiver, np.array([et]), np.maximum(f, 1.0))[0] * burst.rate * size / 4.0)
    sigma[(f < 20.0) | (f > 0.48 * burst.rate)] = 0.0
    spectrum = sigma * (rng.normal(size=f.size) + 1j * rng.normal(size=f.size))
    fine = np.fft.irfft(spectrum, size * OVER) * OVER
    times = et + (np.arange(size * OVER) / OVER - BEFORE) / burst.rate
    fine += coherent_field(burst, world, times)
    voltage = own.filtered(fine, 1.0 / (OVER * burst.rate))[::OVER]
    return fine[::OVER], voltage[BEFORE : BEFORE + burst.samples]


def coherent_field(burst: Burst, world: WaveScene, times: Array) -> Array:
    """Line and whistlers as fields."""
    out = np.zeros(times.shape)
    if not burst.magnetic:
        frequency, phase, amplitude = world.line(times)
        out += np.where(frequency < 0.45 * burst.rate, amplitude * np.cos(phase), 0.0)
    for whistler in world.whistlers_within(times[0], times[-1]) if burst.rate < 1e5 else ():
        _, phase, envelope = whistler.signal(times)
        out += (whistler.magnetic if burst.magnetic else whistler.electric) * envelope * np.cos(phase)
    return out


def in_passband(field: Array, rate: float, edges: Array) -> Array:
    """Field within the passband: cosine tapers over the logarithm, an octave below, half of one above."""
    f = np.fft.rfftfreq(field.size, 1.0 / rate)
    away = np.zeros(f.shape)
    away[f < edges[0]] = np.log2(edges[0] / np.maximum(f[f < edges[0]], 1e-9))
    away[f > edges[1]] = 2.0 * np.log2(f[f > edges[1]] / edges[1])
    keep = np.where(away < 1.0, np.cos(0.5 * np.pi * np.minimum(away, 1.0)) ** 2, 0.0)
    return np.fft.irfft(np.fft.rfft(field) * keep, field.size)


# Truth


def capture_truth(taken: Captures) -> xr.Dataset:
    """Truth of the waveforms."""
    return xr.Dataset(
        {
            "waveform": (("et", "sample"), taken.samples("waveform")),
            "voltage": (("et", "sample"), taken.samples("voltage")),
            "attenuator": ("et", np.array(taken.attenuator, np.uint8)),
            "samples": ("et", np.full(len(taken.ticks), taken.burst.samples, np.int32)),
        },
        coords={"et": np.array(taken.et)},
    )


def spectrum_truth(burst: Burst, told: xr.Dataset, own: Circuit, known: Known) -> xr.Dataset:
    """Truth of the spectra: mean of modified periodograms of the true waveform, and the expected noise."""
    low, high = known["transfer"]["passband"][burst.receiver].tolist()
    reach = int(np.ceil(PERIODS * burst.rate / low))
    inner = told["waveform"].values[:, reach : burst.samples - reach]
    size = 1024
    f = np.fft.rfftfreq(size, 1.0 / burst.rate)
    use = (f >= low) & (f <= high)
    window = np.sin(np.pi * np.arange(size) / size) ** 2
    starts = range(0, inner.shape[1] - size + 1, size // 2)
    power = np.zeros((len(inner), int(use.sum())))
    for first in range(0, len(inner), CHUNK):
        part = slice(first, first + CHUNK)
        for s in starts:
            power[part] += np.abs(np.fft.rfft(inner[part, s : s + size] * window, axis=1)[:, use]) ** 2 / len(starts)
    field = 2.0 * power / (burst.rate * 0.375 * size)
    weaker = np.where(told["attenuator"].values > 0, 10.0 ** (-own.loss / 10.0), 1.0)[:, None]
    variance = (own.noise**2 + 1.0 / 12.0) * own.volts**2 / weaker
    noise = variance * 2.0 / burst.rate / np.abs(own.response(f[use])) ** 2
    return xr.Dataset({"psd": (("et", "frequency"), field + noise)}, coords={"et": told["et"].values})
