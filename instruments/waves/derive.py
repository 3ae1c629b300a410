"""The tables of the swept receiver (3 to 41 MHz) from the archive itself: raw codes and calibrated survey of one time.

Every (channel, code) pair that occurs has one calibrated value; a table of pairs predicts the pairs it came from and
proves nothing. What is fitted instead has a structure (README.md, "The swept receiver"):

1. the calibrated amplitudes are multiples of one unit with three digits, PSD = (amplitude unit)^2 / bandwidth;
2. channels fall into classes; those of a class give the same amplitude for the same code;
3. a logarithmic detector that also sees its own noise: ``amplitude^2 + noise^2 = gain 10^(slope code / 10)``, one slope
   for all, gain and noise by class.

``python -m instruments.waves.derive FOLDER TABLE`` recomputes ``calibration/tables/waves/hfr_high.yaml``.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from calibration.tables import Quantity, Table
from instruments.waves.layout import CHANNELS, HFR_HI
from pipeline.formats.das2 import read_das2

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

RAW, CALIBRATED = "hfr_high_raw_20170101T0000_0100.d2t", "survey_calibrated_20170101T0000_0003.d2t"
CODES = 256
NUMBER = CHANNELS[HFR_HI]
# Square of the amplitude unit over 1 MHz, V^2 m^-2 Hz^-1: to it all values are squares of numbers of three digits.
UNIT = 2.607e-17
# The calibrated values are printed with four digits, the amplitudes behind them have three.
PRINTED = 5e-4
# A class of fewer codes than this takes noise and gain of the largest: three parameters cannot be fitted to one code.
FEWEST = 2


@dataclass(frozen=True)
class Pairs:
    """Sweeps that are there both raw and calibrated: seconds from the first, codes and PSD (n, channel)."""

    seconds: Floats
    code: Ints
    psd: Floats

    def take(self, which: NDArray[np.bool_]) -> Pairs:
        """Some of the sweeps."""
        return Pairs(self.seconds[which], self.code[which], self.psd[which])


@dataclass(frozen=True)
class Structure:
    """The fitted structure.

    Parameters
    ----------
    of_channel : class of each channel.
    amplitude : of each class and code in units, NaN where it did not occur (class, 256).
    slope : dB of power per code.
    gain, noise : by class; power of code 0 and of the noise, units^2.
    spread : by class, root mean square of what leave-one-code-out leaves, in codes; that of all counts as one more.
    """

    of_channel: Ints
    amplitude: Floats
    slope: float
    gain: Floats
    noise: Floats
    spread: Floats

    @property
    def parameters(self) -> int:
        """Amplitudes that stand for the observed cells."""
        return int(np.isfinite(self.amplitude).sum())


def read_pairs(folder: Path) -> Pairs:
    """Match by the nearest second: calibrated times are printed to 0.1 s, raw ones to 1 ms."""
    raw = read_das2(folder / RAW)[0]
    calibrated = next(d for d in read_das2(folder / CALIBRATED) if d.sizes["spec_dens_y"] == NUMBER)
    time, other = raw["time"].values, calibrated["time"].values
    place = np.clip(np.searchsorted(time, other - np.timedelta64(500, "ms")), 0, time.size - 1)
    near = np.abs(time[place] - other) < np.timedelta64(500, "ms")
    code = raw["HFRH"].values[place[near]].astype(np.int64)
    seconds = (other[near] - other[0]) / np.timedelta64(1, "s")
    return Pairs(seconds, code, calibrated["spec_dens"].values[near])


def cells(pairs: Pairs) -> Floats:
    """Amplitude of every (channel, code), NaN where it does not occur; raises ValueError where one has two values."""
    out = np.full((NUMBER, CODES), np.nan)
    amplitude = np.sqrt(pairs.psd / UNIT)
    for channel in range(NUMBER):
        for code in np.unique(pairs.code[:, channel]).tolist():
            values = np.unique(amplitude[pairs.code[:, channel] == code, channel])
            if len(values) > 1:
                raise ValueError(f"channel {channel}, code {code}: several values {values}")
            out[channel, code] = three_digits(values[0])
    return out


def three_digits(value: Floats | float) -> Floats:
    """Rounded to three significant digits."""
    scale = 10.0 ** (2 - np.floor(np.log10(value)))
    return np.asarray(np.round(value * scale) / scale)


def classes(observed: Floats) -> tuple[Ints, Floats]:
    """Class of each channel and amplitudes by class.

    Channels with most codes choose first, each the class it shares most codes with and contradicts nowhere.
    """
    known: list[Floats] = []
    of_channel = np.zeros(NUMBER, np.int64)
    many = np.argsort(-np.isfinite(observed).sum(axis=1), kind="stable")
    for channel in many.tolist():
        own = observed[channel]
        shared = [np.isfinite(k) & np.isfinite(own) for k in known]
        fits = [int(s.sum()) if (k[s] == own[s]).all() else 0 for k, s in zip(known, shared, strict=True)]
        if known and max(fits) > 0:
            best = int(np.argmax(fits))
            known[best] = np.where(np.isfinite(own), own, known[best])
        else:
            best = len(known)
            known.append(own.copy())
        of_channel[channel] = best
    return of_channel, np.array(known)


def fit(amplitude: Floats) -> tuple[float, Floats, Floats]:
    """Slope, gain and noise by class of the detector, from amplitudes by class and code.

    Residuals are in codes: the level of the power seen, less the code.
    """
    group, code = np.nonzero(np.isfinite(amplitude))
    power = amplitude[group, code] ** 2
    number = len(amplitude)
    enough = np.isfinite(amplitude).sum(axis=1) >= FEWEST
    largest = int(np.argmax(np.isfinite(amplitude).sum(axis=1)))
    noise_of = np.where(enough, np.arange(number), largest)

    def unpack(x: Floats) -> tuple[float, Floats, Floats]:
        return float(np.exp(x[0])), np.exp(x[1 : 1 + number]), np.exp(x[1 + number :])[noise_of]

    def residual(x: Floats) -> Floats:
        slope, gain, noise = unpack(x)
        level = 10.0 * np.log10((power + noise[group]) / gain[group]) / slope
        # Noise is hardly known from high codes alone: the broad prior holds it near what the others say.
        return np.concatenate([level - code, 0.3 * (x[1 + number :] - np.log(120.0))])

    start = np.concatenate([[np.log(0.37)], np.full(number, np.log(40.0)), np.full(number, np.log(120.0))])
    return unpack(least_squares(residual, start, x_scale=0.1).x)


def level(power: Floats, gain: Floats | float, noise: Floats | float, slope: float) -> Floats:
    """Reading of the detector, in codes."""
    return np.asarray(10.0 * np.log10((power + noise) / gain) / slope)


def power_of(amplitude: Floats, gain: float, noise: float, slope: float) -> Floats:
    """Power in units^2 of all codes of a class, anchored: observed where there is one, else by the detector's law.

    Between observed codes what the law leaves there, in codes, is interpolated; beyond them it stays.
    """
    codes = np.arange(CODES, dtype=np.float64)
    seen = np.isfinite(amplitude)
    left = level(amplitude[seen] ** 2, gain, noise, slope) - codes[seen]
    shift = np.interp(codes, codes[seen], left) if seen.any() else np.zeros(CODES)
    law = np.maximum(gain * 10.0 ** (slope * (codes + shift) / 10.0) - noise, 0.0)
    return np.where(seen, np.where(seen, amplitude, 0.0) ** 2, law)


def left_out(amplitude: Floats) -> tuple[Ints, Floats, Floats]:
    """Leave-one-code-out, of every class and code.

    Returns
    -------
    The class, by how many codes its prediction from all others is off, and the distance of the nearest code of its
    class that is left. Classes of one code have nothing left.
    """
    groups, off, distance = [], [], []
    for group, code in zip(*np.nonzero(np.isfinite(amplitude)), strict=True):
        rest = amplitude.copy()
        rest[group, code] = np.nan
        remaining = np.flatnonzero(np.isfinite(rest[group]))
        if len(remaining) == 0:
            continue
        slope, gain, noise = fit(rest)
        power = power_of(rest[group], gain[group], noise[group], slope)[code]
        levels = level(np.array([power, amplitude[group, code] ** 2]), gain[group], noise[group], slope)
        groups.append(int(group))
        off.append(float(levels[0] - levels[1]))
        distance.append(float(np.abs(remaining - code).min()))
    return np.array(groups), np.array(off), np.array(distance)


def spreads(number: int, group: Ints, off: Floats, distance: Floats) -> Floats:
    """Spread of each class, in codes at a distance of one."""
    square = off**2 / distance
    many = np.bincount(group, minlength=number)
    return np.sqrt((np.bincount(group, square, number) + square.mean()) / (many + 1))


def structure(pairs: Pairs) -> Structure:
    """Fit the structure."""
    of_channel, amplitude = classes(cells(pairs))
    slope, gain, noise = fit(amplitude)
    spread = spreads(len(amplitude), *left_out(amplitude))
    return Structure(of_channel, amplitude, slope, gain, noise, spread)


def predicted(found: Structure, seen: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Power in units^2 of every (channel, code) and its uncertainty.

    The detector's reading is uncertain by `spread` times the square root of the distance, in codes, to the nearest
    code that the channel itself showed (`seen`: channel, code); the detector's noise is in the power it reads and
    therefore in the uncertainty.
    """
    power, sigma = np.empty((NUMBER, CODES)), np.empty((NUMBER, CODES))
    codes = np.arange(CODES)
    for channel, group in enumerate(found.of_channel.tolist()):
        gain, noise = float(found.gain[group]), float(found.noise[group])
        power[channel] = power_of(found.amplitude[group], gain, noise, found.slope)
        there = np.flatnonzero(seen[channel])
        distance = np.abs(codes[:, None] - there).min(axis=1)
        reading = found.spread[group] * np.sqrt(distance) * found.slope * np.log(10.0) / 10.0
        law = np.expm1(reading) * (power[channel] + noise)
        sigma[channel] = np.where(seen[channel], PRINTED * power[channel], law)
    return power, sigma


def table_of(found: Structure, pairs: Pairs) -> Table:
    """The calibration table."""
    observed = np.isfinite(cells(pairs))
    power, sigma = predicted(found, observed)
    source = (
        "Derived from raw codes and calibrated survey of 2017-01-01T00:00:01 to 00:03:00 (das2 streams of the "
        f"University of Iowa, {len(pairs.seconds)} sweeps, {int(observed.sum())} cells), instruments/waves/derive.py: "
        f"{len(found.gain)} classes, {found.parameters} amplitudes, slope {found.slope:.4f} dB per code, spread "
        f"{found.spread.min():.2f} to {found.spread.max():.2f} codes; the archive's effective length and bandwidth of "
        "1 MHz are in the values."
    )

    def quantity(name: str, value: Floats, units: str, uncertainty: Floats | None, dims: tuple[str, ...]) -> Quantity:
        sigma = np.zeros(()) if uncertainty is None else uncertainty
        return Quantity(
            value=value, dims=dims, units=units, uncertainty=sigma, correlation="random", pedigree="derived",
            source=source, name=name,
        )  # fmt: skip

    by = ("channel", "code")
    quantities = {
        "psd": quantity("psd", power * UNIT, "V2 m-2 Hz-1", sigma * UNIT, by),
        "observed": quantity("observed", observed.astype(float), "1", None, by),
        "class": quantity("class", found.of_channel.astype(float), "1", None, ("channel",)),
        "noise": quantity("noise", found.noise[found.of_channel] * UNIT, "V2 m-2 Hz-1", None, ("channel",)),
    }
    return Table("waves", "hfr_high", "Swept receiver: codes to power spectral density, by channel", quantities)


def main() -> None:
    """Recompute the table."""
    parser = argparse.ArgumentParser(description="tables of the swept receiver from raw and calibrated streams")
    parser.add_argument("folder", type=Path, help=f"holds {RAW} and {CALIBRATED}")
    parser.add_argument("table", type=Path, help="YAML file to write")
    arguments = parser.parse_args()
    pairs = read_pairs(arguments.folder)
    table_of(structure(pairs), pairs).write(arguments.table)


if __name__ == "__main__":
    main()
