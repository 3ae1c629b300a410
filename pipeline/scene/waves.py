"""The waves of a simulated pass: spectral densities of the fields where Juno is, a narrowband line, whistlers.

Shapes and sizes are of the order reported for Jupiter (Kurth et al. 2017, Geophys. Res. Lett. 44, 6951; Imai et al.
2018, Nature Astron. 2, 544 for whistlers; Louis et al. 2021); nothing is a measurement. As functions of time they are
the same for whoever asks.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.scene.scene import Scene

Floats = NDArray[np.float64]

# Electron gyrofrequency per field, Hz/nT.
GYRO = 27.99249
KNOTS = 5.0
WHISTLER_BAND = (500.0, 18e3)


@dataclass(frozen=True)
class Whistler:
    """A dispersed pulse: ``f = (dispersion / (t - start))^2``; peak amplitudes in V/m and nT.

    Parameters
    ----------
    start : et of the lightning.
    dispersion : s Hz^0.5.
    """

    start: float
    dispersion: float
    electric: float
    magnetic: float

    @property
    def times(self) -> tuple[float, float]:
        """First and last time in its band."""
        low, high = WHISTLER_BAND
        return self.start + self.dispersion / high**0.5, self.start + self.dispersion / low**0.5

    def signal(self, et: Floats) -> tuple[Floats, Floats, Floats]:
        """Frequency, phase and envelope (0 to 1) at times; the envelope is 0 outside its band.

        The phase is the integral of the frequency, ``-2 pi D^2 / (t - start)``.
        """
        first, last = self.times
        inside = (et > first) & (et < last)
        since = np.where(inside, et - self.start, last - self.start)
        envelope = np.where(inside, np.sin(np.pi * (np.clip(et, first, last) - first) / (last - first)) ** 2, 0.0)
        return (self.dispersion / since) ** 2, -2.0 * np.pi * self.dispersion**2 / since, envelope


@dataclass(frozen=True)
class WaveScene:
    """Wave fields of a scene."""

    scene: Scene

    @cached_property
    def _strength(self) -> tuple[Floats, Floats]:
        et = np.arange(self.scene.span.start - 10.0 * KNOTS, self.scene.span.stop + 10.0 * KNOTS, KNOTS)
        return et, np.linalg.norm(self.scene.magnetic_field(et), axis=1)

    @cached_property
    def _phases(self) -> Floats:
        return np.random.default_rng([self.scene.seed, self.scene.pass_.number, 1886]).uniform(0.0, 2.0 * np.pi, 8)

    def gyrofrequency(self, et: ArrayLike) -> Floats:
        """Electron gyrofrequency where Juno is, Hz."""
        return np.asarray(GYRO * np.interp(np.asarray(et, np.float64), *self._strength))

    def _activity(self, et: Floats) -> Floats:
        """Slow fluctuation of the emissions about 1, and a hundredfold rise near closest approach."""
        since = et - self.scene.pass_.et
        slow = sum(
            0.25 * np.sin(2.0 * np.pi * since / period + phase)
            for period, phase in zip((53.0, 131.0, 307.0), self._phases[:3], strict=True)
        )
        return np.asarray(np.exp(slow) * (1.0 + 99.0 * np.exp(-((since / 60.0) ** 2))))

    def electric_density(self, et: ArrayLike, frequency: ArrayLike) -> Floats:
        """Broadband electric power spectral density, V^2 m^-2 Hz^-1, (n, m)."""
        times, f = np.atleast_1d(np.asarray(et, np.float64))[:, None], np.asarray(frequency, np.float64)[None, :]
        plasma = 6e-10 / (1.0 + (f / 100.0) ** 2) * self._activity(times)
        above = np.log10(np.maximum(f, 1.0) / (1.02 * self.gyrofrequency(times)))
        width = np.where(above < 0.0, 0.01, 0.12)
        flicker = 1.0 + 0.8 * np.sin(2.0 * np.pi * times / 17.0 + self._phases[3])
        auroral = 3e-12 * flicker * np.exp(-((above / width) ** 2))
        return np.asarray(plasma + auroral + 1e-16)

    def magnetic_density(self, et: ArrayLike, frequency: ArrayLike) -> Floats:
        """Broadband magnetic power spectral density, nT^2 Hz^-1, (n, m): whistler-mode hiss."""
        times, f = np.atleast_1d(np.asarray(et, np.float64))[:, None], np.asarray(frequency, np.float64)[None, :]
        return np.asarray(1e-7 / (1.0 + (f / 200.0) ** 2) * self._activity(times) ** 0.5)

    def line(self, et: ArrayLike) -> tuple[Floats, Floats, Floats]:
        """Frequency (Hz), phase and peak amplitude (V/m) of a narrowband electric line that drifts slowly.

        The phase is the integral of the frequency, so that it is coherent whenever it is looked at.
        """
        since = np.asarray(et, np.float64) - self.scene.pass_.et
        rate = 2.0 * np.pi / 900.0
        frequency = 7e4 + 2.5e4 * np.sin(rate * since + self._phases[4])
        turns = 7e4 * since - 2.5e4 / rate * np.cos(rate * since + self._phases[4])
        return frequency, 2.0 * np.pi * np.mod(turns, 1.0), np.full(since.shape, 4e-5)

    @cached_property
    def whistlers(self) -> tuple[Whistler, ...]:
        """All of the span, one in 8 s on average."""
        rng = np.random.default_rng([self.scene.seed, self.scene.pass_.number, 1979])
        number = rng.poisson(self.scene.span.duration / 8.0)
        starts = np.sort(rng.uniform(self.scene.span.start, self.scene.span.stop, number))
        columns = (rng.uniform(1.0, 4.0, number), rng.uniform(1e-4, 5e-4, number), rng.uniform(3e-3, 2e-2, number))
        return tuple(Whistler(*map(float, row)) for row in zip(starts, *columns, strict=True))

    def whistlers_within(self, start: float, stop: float) -> list[Whistler]:
        """Those with a part between two times."""
        return [w for w in self.whistlers if w.times[0] < stop and w.times[1] > start]
