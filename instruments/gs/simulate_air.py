"""The troposphere of a simulated pass: what its calibration files say of it, and what they do not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import erfa
import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from instruments.gs.layout import COMPLEXES, LAST_OF_COMPLEX
from instruments.gs.simulate_link import Dish, Sky
from pipeline.clock import et_to_tdt
from pipeline.earth.times import to_utc

Floats = NDArray[np.float64]
Extended = NDArray[Any]  # of long doubles

PARTS = ("dry", "wet")
# Commands of the calibration file hold for so many seconds each, whole multiples of it in UTC, so many about the pass.
PIECE, PIECES = 21600.0, 9
# Size of the coefficients of their power series, m.
SIZES = {"dry": (8e-3, 2e-3, 5e-4, 1e-4), "wet": (2e-2, 5e-3, 2e-3, 5e-4)}
REACH = 8 * 3600.0
MINUTE = 60.0


@dataclass(frozen=True, eq=False)
class Air:
    """Zenith delays of the three complexes.

    Parameters
    ----------
    turbulence : wet delay in m that no calibration knows, by complex, of the offset from the epoch.
    draws : normal numbers (part, complex, piece, power).
    """

    sky: Sky
    known: Mapping[str, Mapping[str, Floats]]
    turbulence: Mapping[str, CubicSpline]
    draws: Floats = field(repr=False)

    @cached_property
    def first(self) -> tuple[int, float]:
        """Day and second of UTC at which the first piece begins."""
        day, second = to_utc(np.array([0.0]), self.sky.epoch)
        at = day[0] * 86400.0 + np.floor(second[0] / PIECE) * PIECE - PIECES // 2 * PIECE
        return int(at // 86400.0), float(at % 86400.0)

    def coefficients(self, part: str, place: int) -> Floats:
        """Of the power series of each piece (piece, power), m, as printed; where one ends the next begins."""
        c = np.round(self.draws[PARTS.index(part), place] * np.array(SIZES[part]), 5)
        begins, ends = c @ (-1.0) ** np.arange(4), c.sum(axis=1)
        c[1:, 0] -= np.cumsum(begins[1:] - ends[:-1])
        return np.round(c, 5)

    def zenith(self, part: str, place: int, day: NDArray[np.int64], second: Floats) -> Floats:
        """Zenith delay that the calibration knows, m; NaN outside its pieces."""
        years = ((day - 41317) + second / 86400.0) / 365.25
        wave = self.known["troposphere"][f"seasonal_{part}"][place]
        harmonics = np.arange(1, 5)
        angle = 2.0 * np.pi * years[:, None] * harmonics
        season = wave[0] + np.cos(angle) @ wave[1::2] + np.sin(angle) @ wave[2::2]
        since = (day - self.first[0]) * 86400.0 + (second - self.first[1])
        piece = np.floor(since / PIECE).astype(np.intp)
        inside = (piece >= 0) & (piece < PIECES)
        x = 2.0 * (since / PIECE - piece) - 1.0
        powers = x[:, None] ** np.arange(4)
        added = (powers * self.coefficients(part, place)[np.clip(piece, 0, PIECES - 1)]).sum(axis=1)
        return np.where(inside, season + added, np.nan)

    def unknown(self, place: int, offset: Floats) -> Floats:
        """Wet delay at the zenith that the calibration misses, m."""
        spline = self.turbulence.get(COMPLEXES[place])
        return np.zeros(offset.shape) if spline is None else np.asarray(spline(offset))

    def delay(self, dish: Dish, t: Extended, target: Extended) -> Floats:
        """Delay of a signal between a station and a place from the barycentre, s."""
        place = int(np.searchsorted(LAST_OF_COMPLEX, dish.number))
        offset = np.asarray(t, np.float64)
        day, second = to_utc(dish.clock.station(t), self.sky.epoch)
        elevation = dish.elevation(t, target)
        _, latitude, height = erfa.gc2gd(1, dish.itrf * 1e3)
        date = (day - 40587).astype("datetime64[D]")
        doy = (date - date.astype("datetime64[Y]").astype("datetime64[D]")).astype(float) + 1.0 + second / 86400.0
        m_dry, m_wet = self._mapped(elevation, float(np.degrees(latitude)), float(height) / 1e3, doy)
        wet = self.zenith("wet", place, day, second) + self.unknown(place, offset)
        return (self.zenith("dry", place, day, second) * m_dry + wet * m_wet) / 299792458.0

    def _mapped(self, elevation: Floats, latitude: float, height: float, doy: Floats) -> tuple[Floats, Floats]:
        """Niell's functions, as continued fractions worked out from the inside."""
        table = self.known["mapping"]

        def fraction(sine: Floats, coefficients: Floats) -> Floats:
            value, top = sine, np.ones_like(sine)
            inner, inner_top = coefficients[-1], coefficients[-1]
            for c in coefficients[-2::-1]:
                inner, inner_top = c / (sine + inner), c / (1.0 + inner_top)
            return (top + inner_top) / (value + inner)

        def between(name: str) -> Floats:
            return np.array([np.interp(abs(latitude), table["latitude"], row) for row in table[name]])

        sine = np.sin(np.radians(elevation))
        season = np.cos(2.0 * np.pi * ((doy - 28.0) / 365.25 + (0.5 if latitude < 0 else 0.0)))
        abc = between("dry")[:, None] - between("dry_amplitude")[:, None] * season
        dry = fraction(sine, abc)
        dry += (1.0 / sine - fraction(sine, table["height"][:, None] + 0.0 * sine)) * height
        return dry, fraction(sine, between("wet")[:, None] + 0.0 * sine)

    def truth(self) -> xr.Dataset:
        """Zenith delays as product gs.media has them."""
        middle = self.sky.epoch
        start, stop = self.sky.span.start - 5400.0, self.sky.span.stop + 5400.0
        et = (
            np.arange(np.ceil(max(start, middle - REACH) / MINUTE), np.floor(min(stop, middle + REACH) / MINUTE))
            * MINUTE
        )
        day, second = to_utc(et_to_tdt(et), 0.0)
        # Turbulence is only there between the first transmission and the last reception.
        offset = np.clip(et - self.sky.epoch, *self._known_turbulence())
        data = {}
        for part in PARTS:
            columns = [self.zenith(part, k, day, second) for k in range(len(COMPLEXES))]
            if part == "wet":
                columns = [c + self.unknown(k, offset) for k, c in enumerate(columns)]
            data[f"zenith_{part}"] = (("et", "complex"), np.stack(columns, axis=1))
        return xr.Dataset(data, coords={"et": et})

    def _known_turbulence(self) -> tuple[float, float]:
        spline = next(iter(self.turbulence.values()))
        return float(spline.x[0]), float(spline.x[-1])
