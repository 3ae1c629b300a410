"""Step: where every sample of the framelets looks, how it is seen and lit."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from calibration.tables import Table
from instruments.junocam.attitude import image_of, solved
from instruments.junocam.camera import FRAME, Camera
from instruments.junocam.geometry_schemas import ANGLES, OFF_PLANET
from instruments.junocam.layout import ACTIVE_COLUMNS, FILTERS, columns_within
from pipeline.dataset.quality import Quality
from pipeline.geometry import Geometry
from pipeline.geometry.surface import Correction, Surface, surface_points
from pipeline.instrument import Product, step
from pipeline.jupiter.shape import EQUATORIAL_RADIUS

Floats = NDArray[np.float64]

# Above this cosine of the emission angle an error of the line of sight moves the point by that over the cosine; nearer
# to the limb the second order counts, and the uncertainty stays as it is there.
LEAST_COSINE = 0.02


@step(produces="junocam.geometry", over="segment", version=1)
def geometry(
    radiance: Annotated[xr.Dataset, Product("junocam.radiance")],
    attitude: Annotated[xr.Dataset, Product("junocam.attitude")],
    geometry: Geometry,
    camera: Table,
    *,
    correction: Correction = "LT+S",
) -> xr.Dataset:
    """Planetary coordinates and photometric angles of the samples.

    Parameters
    ----------
    correction : for light time and stellar aberration (see `pipeline.geometry.surface`).
    """
    image = image_of(radiance, attitude, camera)
    n, (lines, samples) = len(image), image.camera.shape
    out = {name: np.full((n, lines, samples), np.nan, np.float32) for name in (*ANGLES, *_SIGMAS)}
    quality = np.full((n, lines, samples), Quality.MISSING, np.uint32)
    quality |= attitude["quality"].values[:, None, None]
    known = np.isfinite(attitude["quaternion"].values[:, 0]) & np.isfinite(attitude["position"].values[:, 0])
    if known.any():
        seen = solved(attitude, geometry)
        looks = lines_of_sight(image.camera, np.unique(image.filters))
        for i in np.flatnonzero(known).tolist():
            _fill(i, looks[image.filters[i]], image.et[i], seen, attitude, correction, out, quality)
    quality[:, :, ~columns_within(ACTIVE_COLUMNS, image.camera.summing)] |= np.uint32(Quality.MISSING)
    data: dict[str, Any] = {name: (("framelet", "line", "sample"), values) for name, values in out.items()}
    data["range_systematic"] = (), float(attitude["position_systematic"])
    data["quality"] = ("framelet", "line", "sample"), quality
    coords = {name: ("framelet", radiance[name].values) for name in ("et", "filter", "frame")}
    return xr.Dataset(data, coords=coords)


_SIGMAS = tuple(f"{name}_systematic" for name in ANGLES if name not in ("range", "phase"))


def lines_of_sight(camera: Camera, filters: NDArray[np.intp]) -> dict[int, Floats]:
    """Directions in the camera's frame of all samples of a framelet, by filter; NaN for those without glass."""
    lines, samples = camera.shape
    seeing = columns_within(ACTIVE_COLUMNS, camera.summing)
    out = {}
    for number in filters.tolist():
        looks = camera.unproject(np.arange(lines)[:, None], np.arange(samples), FILTERS[number])
        out[number] = np.where(seeing[:, None], looks, np.nan)
    return out


def _fill(
    i: int,
    looks: Floats,
    et: float,
    geometry: Geometry,
    attitude: xr.Dataset,
    correction: Correction,
    out: dict[str, Any],
    quality: NDArray[np.uint32],
) -> None:
    """Geometry of one framelet, computed for the samples that may meet the planet only."""
    near = _near(looks, et, geometry)
    surface = surface_points(geometry, np.array([et]), looks[near][None], frame=FRAME, correction=correction)
    hit = np.zeros(near.shape, bool)
    hit[near] = np.isfinite(surface.range[0])
    for name in ANGLES:
        out[name][i][near] = getattr(surface, name)[0]
    pointing, twist = (float(attitude[f"{n}_sigma"].values[i]) for n in ("pointing", "twist"))
    toward = geometry.position(FRAME, et)[0]
    apart = 1.0 - (looks[near] @ toward / np.linalg.norm(toward)) ** 2
    angle = np.sqrt(pointing**2 + twist**2 * apart)
    for name, sigma in _uncertainties(surface, angle, float(attitude["position_systematic"])).items():
        out[f"{name}_systematic"][i][near] = sigma
    quality[i] &= ~np.uint32(Quality.MISSING) | ~hit * np.uint32(Quality.MISSING)
    quality[i][~hit] |= np.uint32(OFF_PLANET.mask)


def _near(looks: Floats, et: float, geometry: Geometry) -> NDArray[np.bool_]:
    """Samples that look within the disc of a sphere around the planet, and a little beyond."""
    juno = geometry.position(FRAME, et)[0]
    distance = float(np.linalg.norm(juno))
    reach = np.arcsin(min(EQUATORIAL_RADIUS / distance, 1.0)) + 2e-3
    with np.errstate(invalid="ignore"):
        return looks @ (-juno / distance) > np.cos(reach)


def _uncertainties(surface: Surface, angle: Floats, position: float) -> dict[str, Floats]:
    """One sigma of the coordinates and angles, degrees, from those of the line of sight (rad) and of Juno (km)."""
    slant = np.maximum(np.cos(np.radians(surface.emission[0])), LEAST_COSINE)
    moved = np.degrees(np.hypot(angle * surface.range[0], position) / slant / EQUATORIAL_RADIUS)
    latitude = surface.latitude_planetocentric[0]
    return {
        "latitude_planetocentric": moved,
        "latitude_planetographic": moved,
        "longitude_east": np.minimum(moved / np.maximum(np.cos(np.radians(latitude)), 1e-6), 180.0),
        "emission": moved,
        "incidence": moved,
    }
