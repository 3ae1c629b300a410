"""Switch states apart, and each of them carried over to the times of another.

Whatever is averaged in time is averaged in bins of `BIN` seconds on whole multiples in et, and bins in windows, so that
a result does not depend on where a segment begins.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from calibration.tables import Table
from instruments.mwr.layout import RECEIVERS, THERMISTORS, sensors_of

Array = NDArray[np.float64]

BIN = 6.0
# Bins on either side in a window: 30 s, one spin.
SIDE = 2
WINDOW = (2 * SIDE + 1) * BIN
# What a step must be given beyond its span for its windows, and the neighbours of what is in them, to be whole.
HALO = WINDOW / 2 + 3 * BIN
# A count stands out of the five about it by so many errors, and by so many times what those scatter.
NEAR, TIMES, MAD = 5, 10.0, 1.4826


def interpolated(t: Array, known_t: Array, known: Array, side: int, reach: float) -> tuple[Array, Array]:
    """Values at times from the `side` nearest known ones before and after each, by Lagrange's polynomial.

    Parameters
    ----------
    t, known_t : ascending.
    reach : seconds within which those neighbours must lie.

    Returns
    -------
    value, weights
        NaN where there are not enough neighbours, or two of one time; sum of the squares of the weights.
    """
    value, weights = np.full((2, *t.shape), np.nan)
    after = np.searchsorted(known_t, t)
    index = after[:, None] + np.arange(-side, side)
    rows = np.flatnonzero(((index >= 0) & (index < len(known_t))).all(axis=1))
    away = known_t[index[rows]] - t[rows, None]
    usable = (np.abs(away) <= reach).all(axis=1) & (np.diff(away, axis=1) > 0).all(axis=1)
    rows, away = rows[usable], away[usable]
    weight = np.ones(away.shape)
    for i in range(2 * side):
        for j in range(2 * side):
            if j != i:
                weight[:, i] *= away[:, j] / (away[:, j] - away[:, i])
    value[rows] = (weight * known[index[rows]]).sum(axis=1)
    weights[rows] = (weight**2).sum(axis=1)
    return value, weights


@dataclass(frozen=True)
class Windows:
    """Running means: time of their middle of weight, value, number of values; in time order, empty ones left out."""

    et: Array
    mean: Array
    number: Array

    def at(self, et: Array) -> tuple[Array, Array]:
        """Mean at times, linear between windows and held beyond them, NaN far from any; number behind it."""
        if len(self.et) == 0:
            return np.full(et.shape, np.nan), np.zeros(et.shape)
        near = np.clip(np.searchsorted(self.et, et), 1, max(1, len(self.et) - 1))
        low, high = self.et[near - 1], self.et[np.minimum(near, len(self.et) - 1)]
        far = np.minimum(np.abs(et - low), np.abs(et - high)) > WINDOW
        return np.where(far, np.nan, np.interp(et, self.et, self.mean)), np.interp(et, self.et, self.number)


def windows(et: Array, value: Array) -> Windows:
    """Running means of a series over `WINDOW` seconds; NaN are left out."""
    good = np.isfinite(value)
    et, value = et[good], value[good]
    if len(et) == 0:
        return Windows(et, value, value)
    place = np.floor(et / BIN).astype(np.int64)
    first = int(place[0])
    place -= first
    size = int(place[-1]) + 1
    # Times are summed relative to their bin, which keeps the digits.
    middle = (first + np.arange(size) + 0.5) * BIN
    count, sums = (np.bincount(place, w, minlength=size).astype(np.float64) for w in (None, value))
    shift = np.bincount(place, et - middle[place], minlength=size).astype(np.float64)
    number = _over_window(count)
    there = number > 0
    total = np.where(there, number, 1.0)
    mean = _over_window(sums) / total
    steps = np.arange(-SIDE, SIDE + 1) * BIN
    padded = np.pad(count, SIDE)
    lever = sum(s * padded[k : k + size] for k, s in enumerate(steps))
    centre = middle + (_over_window(shift) + lever) / total
    return Windows(centre[there], mean[there], number[there])


def _over_window(values: Array) -> Array:
    padded = np.pad(values, SIDE)
    return np.asarray(sum(padded[k : k + len(values)] for k in range(2 * SIDE + 1)))


def stands_out(value: Array, sigma: Array, share: float) -> NDArray[np.bool_]:
    """Values of a series that are off from the median of five by ten errors, stated or found, and a share of it.

    NaN are passed over; a slope does not stand out.
    """
    out = np.zeros(value.shape, bool)
    there = np.flatnonzero(np.isfinite(value))
    if there.size < NEAR:
        return out
    near = sliding_window_view(np.pad(value[there], NEAR // 2, mode="reflect"), NEAR)
    middle = np.median(near, axis=1)
    off = np.abs(value[there] - middle)
    spread = np.median(np.abs(near - middle[:, None]), axis=1)
    out[there] = (off > TIMES * np.maximum(sigma[there], MAD * spread)) & (off > share * np.abs(middle))
    return out


def physical_temperatures(et: Array, housekeeping: Array, thermal: Table, at: Array) -> dict[str, Array]:
    """Running means at times `at` of what the sensors say, K.

    Parameters
    ----------
    housekeeping : counts (n, sensor) at times `et`; NaN where missing.

    Returns
    -------
    dict
        ``load``, ``diode`` (m, receiver) and ``elements`` (m, receiver, 3): antenna, line outside, line inside; each
        with its `load_offset` or `element_offset`.
    """
    kelvin = kelvins(housekeeping, thermal)
    out = {"load": np.empty((len(at), RECEIVERS)), "diode": np.empty((len(at), RECEIVERS))}
    elements = np.empty((len(at), RECEIVERS, 3))
    for n in range(RECEIVERS):
        for name in ("load", "diode"):
            sensor = sensors_of("R", n)[int(thermal[f"{name}_sensor"].value[n]) - 1]
            out[name][:, n] = windows(et, kelvin[:, sensor]).at(at)[0]
        for k, part in enumerate(("A", "RFTL", "INT_RFTL")):
            elements[:, n, k] = windows(et, _mean(kelvin[:, sensors_of(part, n)])).at(at)[0]
    out["load"] += thermal["load_offset"].value
    return out | {"elements": elements + thermal["element_offset"].value}


def kelvins(housekeeping: Array, thermal: Table) -> Array:
    """What the sensors say, K, from counts (n, sensor)."""
    coefficient = thermal["coefficient"].value[[0 if t else 1 for t in THERMISTORS]]
    return np.asarray(coefficient[:, 0] + housekeeping * (coefficient[:, 1] + housekeeping * coefficient[:, 2]))


def _mean(values: Array) -> Array:
    """Mean over the last axis without what is missing; NaN where all is."""
    there = np.isfinite(values)
    number = there.sum(axis=1)
    return np.where(number > 0, np.where(there, values, 0.0).sum(axis=1) / np.maximum(number, 1), np.nan)
