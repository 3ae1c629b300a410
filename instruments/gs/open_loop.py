"""Open-loop recordings: the frequency of the carrier from complex samples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from instruments.gs.raw import et_of, granule_of, name_pattern
from instruments.gs.schemas import CYCLE_SLIP, NO_SIGNAL
from pipeline.clock import Sclk, Span
from pipeline.dataset.quality import Quality, flag
from pipeline.errors import CalibrationError, InputError
from pipeline.formats.dsn import rsr
from pipeline.instrument import Granule, Raw, RawFormat, step

Floats = NDArray[np.float64]
Complex = NDArray[np.complex64]

BLOCKS = 25  # pieces of an interval whose phases are fitted; all sample rates of the receivers are multiples of it
# The line must be this many times the mean of the spectrum, or a peak of noise may be taken for it: among 1e6 bins that
# happens once in 1e5.
THRESHOLD = 25.0
# Middles of the pieces, from -1 to 1 over the interval.
PLACES = (np.arange(BLOCKS) + 0.5) / BLOCKS * 2.0 - 1.0
SLIP = 0.2  # cycles by which a phase may leave the fit, before a slip is suspected


def open_recording(path: Path, clock: Sclk) -> Granule:
    """Open a recording: `RawFormat.open`."""
    del clock
    recording = rsr.open_rsr(path, on_damage="skip")
    et = et_of(*recording.time_tag())
    length = recording.per_record / recording.rate
    return granule_of(path, "gs.rsr", Span(float(et.min()), float(et.max() + length)))


def read_recording(granules: Sequence[Granule], span: Span | None, clock: Sclk) -> xr.Dataset:
    """Read a recording: `RawFormat.read`.

    Returns
    -------
    xr.Dataset
        along ``et``, a record for each unit: ``sample`` (et, n) as complex numbers, ``tuned``, the coefficients of
        the sky frequency at 0 Hz in powers of the fraction of the second (et, 3), ``day``, ``second``, ``rate``.
        Attribute ``units_damaged``.
    """
    del clock
    parts = []
    damaged = 0
    for granule in granules:
        recording = rsr.open_rsr(granule.files["data"], on_damage="skip")
        day, second = recording.time_tag()
        et = et_of(day, second)
        inside = np.flatnonzero(np.ones(et.size, bool) if span is None else span.contains(et))
        damaged += len(recording.damage)
        if inside.size:
            parts.append(_records(recording, int(inside[0]), int(inside[-1]) + 1, et, day, second))
    if not parts:
        return xr.Dataset(coords={"et": ("et", np.zeros(0))}, attrs={"units_damaged": damaged})
    if len({(p.sizes["n"], float(p["rate"][0])) for p in parts}) > 1:
        raise InputError(granules[0].files["data"], "recordings of one unit differ in their sample rate")
    joined = xr.concat(parts, "et")
    # In order of time, of two units of one time the first.
    _, order = np.unique(joined["et"].values, return_index=True)
    return joined.isel(et=order).assign_attrs(units_damaged=damaged + joined.sizes["et"] - order.size)


def _records(
    recording: rsr.Rsr, first: int, last: int, et: Floats, day: NDArray[np.int64], second: Floats
) -> xr.Dataset:
    part = slice(first, last)
    heads = recording.headers[part]
    lo = 1e6 * (heads["rf_if_lo"].astype(np.float64) + heads["ddc_lo"])
    tuned = np.stack([lo - heads["frequency_c1"], -heads["frequency_c2"], -heads["frequency_c3"]], axis=1)
    return xr.Dataset(
        {
            "sample": (("et", "n"), recording.samples(first, last)),
            "tuned": (("et", "power"), tuned.astype(np.float64)),
            "day": ("et", day[part]),
            "second": ("et", second[part]),
            "rate": ("et", np.full(last - first, recording.rate)),
        },
        coords={"et": ("et", et[part], {"units": "s"})},
    )


RSR = RawFormat("gs.rsr", "Open-loop recordings (0159-Science)", name_pattern("RSR"), open_recording, read_recording)


@step(produces="gs.open_loop", over="segment", version=3)
def open_loop(raw: Annotated[xr.Dataset, Raw("gs.rsr")], *, interval: float = 1.0) -> xr.Dataset:
    """Mean frequency of the carrier over intervals, from the samples.

    In every second the line is found in the spectrum, the samples are turned back by it, and a parabola is fitted to
    the phases of 25 pieces by least squares: its slope in the middle is what is left. Longer intervals are turned back
    by the frequencies of their seconds and fitted again as a whole. The estimate reaches the Cramer-Rao bound where the
    line is well above the noise; where none stands out, there is no value.

    Parameters
    ----------
    interval : 1 to 60 s, a whole number of seconds.
    """
    if not 1.0 <= interval <= 60.0 or interval != int(interval):
        raise CalibrationError(f"interval {interval} s is no whole number of seconds from 1 to 60")
    rate, size = float(raw["rate"].values[0]), raw.sizes["n"]
    rows = round(interval * rate / size)
    if abs(rows * size - interval * rate) > 1e-6:
        raise CalibrationError(f"units of {size / rate} s do not fill {interval} s")
    start = _starts(raw, rows, size / rate, interval)
    if start.size == 0:
        # Nothing of this segment is whole; there is no record of it.
        return _open_loop_dataset(np.zeros((0, 6)), raw, start, interval)
    made = np.array([_estimate(raw, slice(s, s + rows), rate, interval) for s in start])
    return _open_loop_dataset(made, raw, start, interval)


def _starts(raw: xr.Dataset, rows: int, length: float, interval: float) -> NDArray[np.intp]:
    """First unit of every interval of which no unit is lost; intervals begin at whole multiples of UTC."""
    second = raw["second"].values
    first = np.flatnonzero(np.abs(np.mod(second + 1e-7, interval)) < 1e-6)
    first = first[first + rows <= second.size]
    time = raw["day"].values * 86400.0 + second
    whole = np.abs(time[first + rows - 1] - time[first] - (rows - 1) * length) < 1e-3 * length
    return first[whole]


def _estimate(raw: xr.Dataset, part: slice, rate: float, interval: float) -> tuple[float, ...]:
    """Frequency in the samples, its error, C/N0, significance, largest misfit; of one interval."""
    z = raw["sample"].values[part].ravel()
    one = [_second(second, rate) for second in z.reshape(round(interval), -1)]
    if interval == 1.0:
        return one[0]
    middle = np.arange(interval) + 0.5 - interval / 2.0
    # A straight line: what is left is a parabola of phase, which the fit takes.
    track = np.polynomial.Polynomial.fit(middle, [s[0] for s in one], 1)
    t = np.arange(z.size) / rate - interval / 2.0
    phase = track.integ()
    mean = float(phase(interval / 2.0) - phase(-interval / 2.0)) / interval
    noise = float(np.mean([10.0 ** (s[2] / 10.0) for s in one]))
    left, amplitude, misfit = _slope(z * np.exp(-2j * np.pi * phase(t)), interval)
    # The line is as strong as in its seconds, or it is not one line.
    strength = noise * (amplitude / float(np.mean([s[5] for s in one]))) ** 2
    return mean + left, _error(strength, interval), 10.0 * np.log10(strength), min(s[3] for s in one), misfit, amplitude


def _second(z: Complex, rate: float) -> tuple[float, ...]:
    """Of one second: as `_estimate`, and the amplitude."""
    spectrum = np.abs(np.fft.fft(z)) ** 2
    peak = int(np.argmax(spectrum))
    # The median of a spectrum of noise is ln 2 of its mean. Without a window the skirts of a line of 45 dB-Hz lift it
    # by a fifth.
    window = np.hanning(z.size)
    noise = float(np.median(np.abs(np.fft.fft(z * window)) ** 2)) / np.log(2.0) / float(np.mean(window**2))
    frequency = np.fft.fftfreq(z.size, 1.0 / rate)[peak]
    t = np.arange(z.size) / rate - 0.5
    left, amplitude, misfit = _slope(z * np.exp(-2j * np.pi * frequency * t), 1.0)
    strength = max(amplitude**2 / (noise / z.size / rate), 1e-30)
    return frequency + left, _error(strength, 1.0), 10.0 * np.log10(strength), spectrum[peak] / noise, misfit, amplitude


def _slope(z: NDArray[np.complexfloating], interval: float) -> tuple[float, float, float]:
    """Frequency in the middle of samples that hardly turn, amplitude, and largest misfit of the phase in cycles."""
    if z.size % BLOCKS:
        raise CalibrationError(f"{z.size} samples of an interval are no multiple of {BLOCKS}")
    pieces = z.reshape(BLOCKS, -1).mean(axis=1)
    cycles = np.unwrap(np.angle(pieces)) / (2.0 * np.pi)
    # Samples are instants: the middle of those of a piece lies half a sample before the middle of its time.
    x = PLACES - 1.0 / z.size
    design = np.stack([np.ones(BLOCKS), x, x**2], axis=1)
    solution, *_ = np.linalg.lstsq(design, cycles, rcond=None)
    misfit = float(np.abs(cycles - design @ solution).max())
    return float(solution[1]) * 2.0 / interval, float(np.mean(np.abs(pieces))), misfit


def _error(strength: float, interval: float) -> float:
    """Error of the slope from the error that noise makes in the phase of each piece."""
    phase = 1.0 / (2.0 * np.pi) / np.sqrt(2.0 * strength * interval / BLOCKS)
    return float(phase / np.sqrt((PLACES**2).sum()) * 2.0 / interval)


def _open_loop_dataset(made: Floats, raw: xr.Dataset, start: NDArray[np.intp], interval: float) -> xr.Dataset:
    frequency, error, strength, peak, misfit, _ = made.T
    second = raw["second"].values[start]
    # The tuning differs from unit to unit, as its polynomial begins anew with every second.
    rate, size = float(raw["rate"].values[0]), raw.sizes["n"]
    rows = round(interval * rate / size)
    tuned = np.array([_mean_tuning(raw, slice(s, s + rows), size / rate) for s in start])
    found = peak > THRESHOLD
    quality = flag(~found, NO_SIGNAL.mask | Quality.MISSING)
    quality |= flag(found & (misfit > SLIP), CYCLE_SLIP.mask)
    day, middle = raw["day"].values[start], second + interval / 2
    over = np.floor(middle / 86400.0)
    day, middle = day + over.astype(np.int64), middle - 86400.0 * over
    return xr.Dataset(
        {
            "utc_day": ("et", day),
            "utc_second": ("et", middle),
            "sky_frequency": ("et", np.where(found, tuned + frequency, np.nan)),
            "sky_frequency_random": ("et", np.where(found, error, np.nan)),
            "power": ("et", np.where(found, strength, np.nan)),
            "quality": ("et", quality),
        },
        coords={"et": ("et", et_of(day, middle))},
        attrs={"units_damaged": int(raw.attrs.get("units_damaged", 0))},
    )


def _mean_tuning(raw: xr.Dataset, part: slice, length: float) -> float:
    """Mean sky frequency at 0 Hz over units, Hz: of the polynomial from fraction a to b of its second."""
    a = np.mod(raw["second"].values[part], 1.0)
    b = a + length
    powers = [(b ** (k + 1) - a ** (k + 1)) / (k + 1) / length for k in range(3)]
    return float(np.mean((raw["tuned"].values[part] * np.stack(powers, axis=1)).sum(axis=1)))
