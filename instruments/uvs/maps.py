"""The step that maps the swath in System III: brightness of bands and a colour ratio (README.md, step 10)."""

from __future__ import annotations

import re
from typing import Annotated

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from calibration.tables import Table
from instruments.uvs import detector, radiometry
from instruments.uvs.layout import CELL, LATITUDES, LONGITUDES, WAVELENGTH_EDGES, WAVELENGTHS, Array
from instruments.uvs.tables import Tables
from pipeline.dataset.quality import Quality, flag
from pipeline.errors import UsageError
from pipeline.instrument import Product, TableOf, step
from pipeline.passes import Pass

CELLS = len(LATITUDES) * len(LONGITUDES)
SHAPE = len(LATITUDES), len(LONGITUDES)
# Pixels whose spectra are summed at once.
CHUNK = 200_000
# Cells about one over which the variance of its counts is averaged.
AROUND = 5
# Signal over noise that both bands of a ratio must have for it to be said.
CLEAR = 3.0
# Counts that are expected at least of a cell.
LEAST = 0.1


def band(text: str) -> tuple[float, float]:
    """Ends of a band written ``155-162``, whole nm; raises UsageError for what is none."""
    match = re.fullmatch(r"\s*(\d+)(?:\.0*)?\s*-\s*(\d+)(?:\.0*)?\s*", text)
    ends = (float(match[1]), float(match[2])) if match else (0.0, 0.0)
    if not WAVELENGTH_EDGES[0] <= ends[0] < ends[1] <= WAVELENGTH_EDGES[-1]:
        raise UsageError(f"{text!r} is no band: write 155-162, whole nm from 68 to 210")
    return ends


@step(produces="uvs.map", over="unit", version=1)
def aurora(
    swath: Annotated[xr.Dataset, Product("uvs.swath")],
    pass_: Pass,
    detector_: Annotated[Table, TableOf("uvs.detector")],
    wavelength: Table,
    effective_area: Table,
    dead_time: Table,
    pulse_height: Table,
    radiation: Table,
    flat: Table,
    pointing_: Annotated[Table, TableOf("uvs.pointing")],
    *,
    bands: str = "119-124, 125-165, 123-130, 155-162",
    ratio: str = "155-162 / 123-130",
    emission: float = 80.0,
) -> xr.Dataset:
    """Map of `bands`, and the ratio of two; pixels seen at a slant of more than `emission` degrees are left out."""
    tables = Tables(detector_, wavelength, effective_area, dead_time, pulse_height, radiation, flat, pointing_)
    ends = [band(text) for text in bands.split(",")]
    over = [band(text) for text in ratio.split("/")]
    if len(over) != 2:
        raise UsageError(f"{ratio!r} is no ratio: write 155-162 / 123-130")
    every = [*ends, *over]
    use = np.flatnonzero(swath["emission_angle"].values <= emission)
    sums = Sums(len(every))
    for start in range(0, len(use), CHUNK):
        sums.add(swath.isel(pixel=use[start : start + CHUNK]), every, pass_.et, tables)
    value, random, systematic = sums.brightness(tables)
    dims = ("band", "latitude", "longitude")
    unseen = flag(np.asarray(sums.solid == 0, np.bool_), Quality.MISSING)
    bits = np.broadcast_to(unseen, (len(ends), *SHAPE)).copy()
    n = len(ends)
    with np.errstate(divide="ignore", invalid="ignore"):
        angle = sums.emission / sums.solid
        quotient = value[n] / value[n + 1]
        clear = np.asarray((value[n:] > CLEAR * random[n:]).all(axis=0), np.bool_)
        relative = [np.hypot(*(e[n:] / value[n:])) for e in (random, systematic)]
    cell = dims[1:]
    variables = {
        "brightness": (dims, value[:n]),
        "brightness_random": (dims, random[:n]),
        "brightness_systematic": (dims, systematic[:n]),
        "colour_ratio": (cell, np.where(clear, quotient, np.nan)),
        "colour_ratio_random": (cell, np.where(clear, np.abs(quotient) * relative[0], np.nan)),
        "colour_ratio_systematic": (cell, np.where(clear, np.abs(quotient) * relative[1], np.nan)),
        "exposure": (cell, sums.solid),
        "emission_angle": (cell, angle),
        "quality": (dims, bits),
        "ratio_quality": (cell, flag(~clear, Quality.MISSING)),
    }
    low, high = np.transpose(ends)
    coords = {"latitude": LATITUDES, "longitude": LONGITUDES, "band_low": ("band", low), "band_high": ("band", high)}
    return xr.Dataset(variables, coords=coords)


class Sums:
    """What is summed over the pixels of each cell, band by band.

    Photons over their effective area, less those of radiation; their squares; solid angle times live time.
    """

    def __init__(self, bands: int) -> None:
        shape = (bands, *SHAPE)
        self.photons, self.squares, self.weighted = np.zeros(shape), np.zeros(shape), np.zeros(shape)
        self.solid, self.emission = np.zeros(SHAPE), np.zeros(SHAPE)
        self.area_error, self.least = np.zeros(shape), np.zeros((bands, 1, 1))

    def add(
        self, pixels: xr.Dataset, bands: list[tuple[float, float]], closest_approach: float, tables: Tables
    ) -> None:
        """Add pixels."""
        area, relative = radiometry.effective_area(WAVELENGTHS, closest_approach, tables)
        cell = cells(pixels["latitude"].values, pixels["longitude"].values)
        counts = pixels["counts"].values.astype(np.float64)
        share = detector.radiation_share(tables)[0][pixels["slit_bin"].values]
        sag = pixels["gain_sag"].values.astype(np.float64)[:, None]
        rays = pixels["radiation"].values[:, None] * share
        for k, (low, high) in enumerate(bands):
            inside = (low < WAVELENGTHS) & (high > WAVELENGTHS)
            per = 1.0 / area[inside]
            self.least[k] = LEAST * (per**2).mean()
            net = counts[:, inside] * sag - rays[:, inside]
            self.photons[k] += binned(cell, net @ per)
            self.squares[k] += binned(cell, (counts[:, inside] * sag**2) @ per**2)
            # Errors of the area of neighbouring wavelengths go together.
            self.area_error[k] += binned(cell, net @ (per * relative[inside]))
        solid = pixels["exposure"].values.astype(np.float64)
        self.solid += binned(cell, solid)
        self.emission += binned(cell, solid * pixels["emission_angle"].values)

    def brightness(self, tables: Tables) -> tuple[Array, Array, Array]:
        """Brightness in kR, its random and systematic errors (band, latitude, longitude)."""
        with np.errstate(divide="ignore", invalid="ignore"):
            scale = np.where(self.solid > 0, radiometry.TO_KILORAYLEIGH / self.solid, np.nan)
            # Of the counts expected: the mean rate about a cell, since few counts tell their own variance badly.
            variance = np.stack([smooth(s) for s in self.squares + self.least * (self.solid > 0)])
            variance = variance / smooth(self.solid) * self.solid
        slit = float(radiometry.solid_sigma(radiometry.slit(tables).solid, tables))
        value = self.photons * scale
        return value, np.sqrt(variance) * scale, np.hypot(np.abs(self.area_error) * scale, slit * np.abs(value))


def cells(latitude: Array, longitude: Array) -> NDArray[np.int64]:
    """Number of the map's cell of points, degrees."""
    row = np.clip(np.floor((latitude.astype(np.float64) + 90.0) / CELL), 0, SHAPE[0] - 1).astype(np.int64)
    return row * SHAPE[1] + np.floor(longitude.astype(np.float64) % 360.0 / CELL).astype(np.int64) % SHAPE[1]


def binned(cell: NDArray[np.int64], values: Array) -> Array:
    """Sums over the cells of a map."""
    return np.bincount(cell, values, CELLS).reshape(SHAPE).astype(np.float64)


def smooth(values: Array) -> Array:
    """Sums over `AROUND` cells either way, around the planet along longitude."""
    half = AROUND // 2
    wrapped = np.pad(np.pad(values, ((0, 0), (half, half)), mode="wrap"), ((half, half), (0, 0)))
    for axis in (0, 1):
        total = np.cumsum(wrapped, axis=axis)
        total = np.concatenate([np.zeros_like(np.take(total, [0], axis)), total], axis=axis)
        n = values.shape[axis]
        wrapped = np.take(total, np.arange(n) + AROUND, axis) - np.take(total, np.arange(n), axis)
    return np.maximum(wrapped, 0.0)
