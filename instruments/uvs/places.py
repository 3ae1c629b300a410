"""Places on the detector: put right by the stim pixels, spread over pixels, as wavelengths (README.md, 2 and 3)."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from instruments.uvs.layout import SLOW, Array
from instruments.uvs.tables import Tables

Bools = NDArray[np.bool_]

# Fewest events of a stim pixel in 30 s from which its place is taken.
FEWEST_STIM = 20
# Units about a stim pixel's pulse height, and standard deviations about its place, within which its events are taken.
STIM_HEIGHT, STIM_REACH = 2.0, 4.0
# An event is spread over its column, its row and its hack, or bins that cut them would beat with them. The numbers that
# fill a cube evenly are multiples of these (Roberts 2018, the R sequence in three dimensions), the same for an event
# whatever the segment.
SPREAD = (0.8191725133961645, 0.6710436067037893, 0.5497004779019703)


def spread(raw: xr.Dataset, axis: int) -> Array:
    """Numbers between -0.5 and 0.5, one for each event."""
    return np.asarray((raw["number"].values * SPREAD[axis]) % 1.0 - 0.5)


def places(raw: xr.Dataset, tables: Tables) -> tuple[Array, Array, Array, Bools, Bools]:
    """Columns and rows that the stim pixels put right, the column's error, where there were none, and their events."""
    x, y = raw["x"].values + spread(raw, 0), raw["y"].values + spread(raw, 1)
    slow = np.floor(raw["et"].values / SLOW).astype(np.int64)
    slow = slow - slow.min() if len(slow) else slow
    bins = int(slow.max()) + 1 if len(slow) else 0
    reference = np.stack([tables.detector["stim_column"].value, tables.detector["stim_row"].value])
    reach = STIM_REACH * tables.detector["stim_spread"].value
    height = np.abs(raw["pulse_height"].values.astype(float) - tables.number("pulse_height", "stim")) <= STIM_HEIGHT
    stim, found, sigma2, lost = np.zeros(len(x), bool), [], np.zeros(bins), np.zeros(bins, bool)
    for k in range(2):
        middle = np.repeat(reference[:, k, None], bins, axis=1)
        near = inside = height & in_box(raw, tables, k)
        for _ in range(3):  # at last of what lies near it, so that radiation does not pull it to the box's middle
            count = np.bincount(slow[near], minlength=bins).astype(float)
            mean = [np.bincount(slow[near], c[near], bins) / np.maximum(count, 1) for c in (x, y)]
            middle = np.where(count >= FEWEST_STIM, np.stack(mean), reference[:, k, None])
            near = inside & (np.abs(np.stack([x, y]) - middle[:, slow]) <= reach[:, None]).all(axis=0)
        stim |= inside
        found.append(middle)
        lost |= count < FEWEST_STIM
        sigma2 += tables.detector["stim_spread"].value[0] ** 2 / np.maximum(count, 1) / 4.0
    first, second = (f[:, slow] for f in found)
    scale = (reference[:, 1] - reference[:, 0])[:, None] / (second - first)
    place = reference[:, 0, None] + (np.stack([x, y]) - first) * scale
    return place[0], place[1], np.sqrt(sigma2)[slow], lost[slow], stim


def in_box(raw: xr.Dataset, tables: Tables, k: int) -> Bools:
    """Events in the box about stim pixel `k`."""
    wide, high = tables.box
    x, y = tables.detector["stim_column"].value[k], tables.detector["stim_row"].value[k]
    return np.asarray((np.abs(raw["x"].values - x) <= wide) & (np.abs(raw["y"].values - y) <= high))


def in_stim_box(raw: xr.Dataset, tables: Tables) -> Bools:
    """Events in the box about either of them."""
    return in_box(raw, tables, 0) | in_box(raw, tables, 1)


def dark(x: Array, y: Array, tables: Tables) -> Bools:
    """Where no light falls."""
    left, right = tables.detector["dark_columns"].value
    low, high = tables.detector["dark_rows"].value
    return np.asarray((x < left) | (x > right) | (y < low) | (y > high))


def wavelengths(x: Array, y: Array, tables: Tables) -> Array:
    """Wavelength of places, nm: linear in the column, with the curvature of the slit's image."""
    law = tables.wavelength.values
    return np.asarray(
        law["origin"] + law["dispersion"] * (x - law["column"]) + law["curvature"] * (y - law["row"]) ** 2
    )
