"""Steps: maps in System III and pictures on a common camera grid, from all framelets of an image.

Where framelets of one filter overlap, the cell is their mean, weighted by the cosine of the emission angle (resolution)
and less toward the first and last lines of a framelet, so that no seam shows.
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from calibration.tables import Table
from instruments.junocam.attitude import image_of, solved
from instruments.junocam.camera import FRAME
from instruments.junocam.geometry_schemas import NIGHT, OFF_PLANET, SEAM
from instruments.junocam.grids import CameraGrid, Equirectangular, Grid, Polar, Projection
from instruments.junocam.layout import FILTERS
from instruments.junocam.limb import View
from instruments.junocam.observation import SINGLE, UNUSABLE, Image
from instruments.junocam.resample import SPACING, Placed, Squares, eye, interpolated, placed
from pipeline.dataset.quality import Quality, flag, raised
from pipeline.geometry import Geometry
from pipeline.instrument import Product, step
from pipeline.jupiter.shape import longitude_latitude

Floats = NDArray[np.float64]
Illumination = Literal["none", "lambert", "minnaert"]

# Lines over which the weight of a framelet rises from its edges, and the weight of the very first line.
FEATHER, RIM = 16.0, 0.02
# Edge of polar maps, planetographic latitude.
POLAR_REACH = 30.0
# Illumination is not divided out where the Sun stands lower (cosine of incidence).
LOW_SUN = 0.05


@step(produces="junocam.map", over="unit", version=2)
def map_(
    radiance: Annotated[xr.Dataset, Product("junocam.radiance")],
    attitude: Annotated[xr.Dataset, Product("junocam.attitude")],
    geometry: Geometry,
    camera: Table,
    *,
    projection: Projection = "equirectangular",
    cells_per_degree: float = 5.0,
    emission_limit: float = 80.0,
    illumination: Illumination = "none",
    minnaert_exponent: float = 0.95,
) -> xr.Dataset:
    """Map of I/F in System III.

    Parameters
    ----------
    projection : ``equirectangular`` in planetocentric latitude, or polar stereographic of the ``north`` or ``south``.
    cells_per_degree : cells per degree of longitude at the equator, or of latitude at the pole.
    emission_limit : degrees beyond which nothing is mapped.
    illumination : what is divided out: nothing, the cosine of incidence (``lambert``), or ``minnaert``'s law
        mu0^k mu^(k-1).
    minnaert_exponent : its k.
    """
    grid: Grid
    if projection == "equirectangular":
        grid = Equirectangular(cells_per_degree)
    else:
        grid = Polar(projection == "north", cells_per_degree, POLAR_REACH)
    image = image_of(radiance, attitude, camera)
    least = float(np.cos(np.radians(emission_limit)))
    sheet = Sheet(image, grid, least, illumination, minnaert_exponent)
    sheet.add_all(attitude, geometry)
    out = sheet.dataset(attitude)
    out["projection"] = (), projection
    out["illumination"] = (), illumination
    rows, columns = grid.shape
    points = grid.points(np.arange(rows, dtype=np.float64)[:, None], np.arange(columns, dtype=np.float64))
    longitude, latitude, _ = longitude_latitude(points)
    return out.assign(
        longitude_east=(("row", "column"), longitude), latitude_planetocentric=(("row", "column"), latitude)
    )


@step(produces="junocam.colour", over="unit", version=2)
def colour(
    radiance: Annotated[xr.Dataset, Product("junocam.radiance")],
    attitude: Annotated[xr.Dataset, Product("junocam.attitude")],
    geometry: Geometry,
    camera: Table,
    *,
    illumination: Illumination = "none",
    minnaert_exponent: float = 0.95,
) -> xr.Dataset:
    """All filters of an image as one camera would have seen them in its middle, turning about the spin axis.

    Parameters
    ----------
    illumination, minnaert_exponent : as for `map_`.
    """
    image = image_of(radiance, attitude, camera)
    sheet = Sheet(image, common_grid(image, attitude, geometry), None, illumination, minnaert_exponent)
    sheet.add_all(attitude, geometry)
    return sheet.dataset(attitude).assign(illumination=((), illumination))


def common_grid(image: Image, attitude: xr.Dataset, geometry: Geometry) -> CameraGrid | None:
    """The camera's grid at the frame nearest to the middle of the image; None where the attitude is not known."""
    times = np.unique(image.et)
    if np.isnan(attitude["quaternion"].values).any() or np.isnan(attitude["position"].values).any():
        return None
    seen = solved(attitude, geometry)
    middle = times[times.size // 2]
    turns = seen.rotation("J2000", FRAME, times)
    axis = np.array([-1.0, 0.0, 0.0])
    if times.size > 1:
        at = min(times.size // 2, times.size - 2)
        change = turns[at] @ turns[at + 1].T  # turns vectors of the sky as the camera turns
        axis = np.array([change[i, j] - change[j, i] for i, j in ((2, 1), (0, 2), (1, 0))])
        axis /= -np.sign(axis[0]) * np.linalg.norm(axis)
    return CameraGrid.around(image.camera, View.at(seen, np.array([middle])), turns[times.size // 2], axis)


class Sheet:
    """Sums over the framelets of an image, cell by cell of a grid.

    Parameters
    ----------
    grid : None: nothing is known of where the image looks.
    least : cosine of the emission angle below which a cell is left out; None: the sky counts as well.
    """

    def __init__(
        self, image: Image, grid: Grid | None, least: float | None, illumination: Illumination, exponent: float
    ) -> None:
        self.image, self.grid, self.least = image, grid, least
        self.illumination, self.exponent = illumination, exponent
        self.bands = np.unique(image.filters)
        self.shape = grid.shape if grid else (0, 0)
        cells, bands = self.shape[0] * self.shape[1], self.bands.size
        self.weight, self.value, self.variance, self.best = (np.zeros((bands, cells)) for _ in range(4))
        self.number = np.zeros((bands, cells), np.uint8)
        self.bits = np.zeros((bands, cells), np.uint32)
        self.lit, self.slant, self.way, self.whole = (np.zeros(cells) for _ in range(4))

    def add_all(self, attitude: xr.Dataset, geometry: Geometry) -> None:
        """Add all framelets whose position and attitude are known."""
        known = np.isfinite(attitude["quaternion"].values[:, 0]) & np.isfinite(attitude["position"].values[:, 0])
        if self.grid is None or not known.any():
            return
        seen, squares = solved(attitude, geometry), Squares.over(self.grid, SPACING)
        for i in np.flatnonzero(known).tolist():
            one = eye(self.image.camera, int(self.image.filters[i]), seen, float(self.image.et[i]))
            where = placed(one, squares, beyond=self.least is None)
            if where.cell.size:
                self._add(i, where)

    def _add(self, number: int, where: Placed) -> None:
        """Add what a framelet sees."""
        band = int(np.searchsorted(self.bands, self.image.filters[number]))
        value = interpolated(self.image.picture(number), where)
        sigma = interpolated(self.image.product["i_over_f_random"].values[number].astype(np.float64), where)
        nearest = np.rint(where.line).astype(np.intp), np.rint(where.sample).astype(np.intp)
        bits = self.image.product["quality"].values[number][nearest]
        bits = np.where(raised(bits, SINGLE), bits | np.uint32(Quality.INTERPOLATED), bits)
        divisor, low = self._light(where)
        lines = self.image.camera.shape[0]
        rim = np.minimum(where.line, lines - 1 - where.line) * self.image.camera.summing
        weight = np.maximum(where.mu, 0.02) * np.clip(rim / FEATHER, RIM, 1.0)
        with np.errstate(invalid="ignore"):
            good = np.isfinite(value) & np.isfinite(sigma) & ~low
            if self.least is not None:
                good &= where.mu > self.least
        cell, weight = where.cell[good], weight[good]
        self.weight[band, cell] += weight
        self.value[band, cell] += weight * value[good] / divisor[good]
        self.variance[band, cell] += (weight * sigma[good] / divisor[good]) ** 2
        self.best[band, cell] = np.maximum(self.best[band, cell], np.clip(rim / FEATHER, 0.0, 1.0)[good])
        self.number[band, cell] += 1
        self.bits[band, cell] |= bits[good] & np.uint32(~UNUSABLE & 0xFFFFFFFF)
        for total, part in ((self.lit, where.mu0), (self.slant, where.mu), (self.way, where.range)):
            total[cell] += weight * part[good]
        self.whole[cell] += weight
        dark = where.cell[low]
        self.bits[band, dark] |= np.uint32(NIGHT.mask)

    def _light(self, where: Placed) -> tuple[Floats, NDArray[np.bool_]]:
        """What is divided by, and where it is not to be."""
        if self.illumination == "none":
            return np.ones(where.mu.shape), np.zeros(where.mu.shape, bool)
        low = (where.mu0 < LOW_SUN) | (where.mu <= 0.0)
        mu0, mu = np.maximum(where.mu0, LOW_SUN), np.maximum(where.mu, 1e-3)
        if self.illumination == "lambert":
            return mu0, low
        return mu0**self.exponent * mu ** (self.exponent - 1.0), low

    def dataset(self, attitude: xr.Dataset) -> xr.Dataset:
        """The sheet as a product."""
        with np.errstate(invalid="ignore", divide="ignore"):
            value = self.value / self.weight
            sigma = np.sqrt(self.variance) / self.weight
            mu, mu0, way = (total / self.whole for total in (self.slant, self.lit, self.way))
            off = mu <= 0.0
            emission = np.where(off, np.nan, np.degrees(np.arccos(np.clip(mu, -1.0, 1.0))))
            incidence = np.where(off, np.nan, np.degrees(np.arccos(np.clip(mu0, -1.0, 1.0))))
        quality = self.bits | np.where(self.weight > 0.0, np.uint32(0), np.uint32(Quality.MISSING))
        quality |= flag((self.weight > 0.0) & (self.best < 0.25), SEAM.mask)
        quality |= flag(off, OFF_PLANET.mask)
        if len(attitude["quality"]):
            quality |= np.bitwise_and.reduce(attitude["quality"].values)
        moved = np.hypot(float(np.nanmax(attitude["pointing_sigma"].values, initial=0.0)) * way, _position(attitude))
        whole = (self.bands.size, *self.shape)
        layered, flat = ("band", "row", "column"), ("row", "column")
        names = np.array([FILTERS[b] for b in self.bands], object)
        of = [int(np.flatnonzero(self.image.filters == b)[0]) for b in self.bands]
        return xr.Dataset(
            {
                "i_over_f": (layered, value.reshape(whole)),
                "i_over_f_random": (layered, sigma.reshape(whole)),
                "i_over_f_systematic": ("band", self.image.product["i_over_f_systematic"].values[of]),
                "weight": (layered, self.weight.reshape(whole)),
                "framelets": (layered, self.number.reshape(whole)),
                "emission": (flat, emission.reshape(self.shape)),
                "incidence": (flat, incidence.reshape(self.shape)),
                "place_sigma": (flat, moved.reshape(self.shape)),
                "basis": ((), str(attitude["basis"].values)),
                "quality": (layered, quality.reshape(whole)),
            },
            coords={"band": ("band", names)},
        )


def _position(attitude: xr.Dataset) -> float:
    return float(attitude["position_systematic"])
