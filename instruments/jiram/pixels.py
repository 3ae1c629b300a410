"""Where pixels look, with the despinning mirror frozen at the label's start time, and what they see.

The mirror holds the line of sight while a frame is exposed, so that every pixel of it has the direction of the start:
the archive's own geometry agrees with START_TIME, and not with the middle of the exposure. Line 1 is on the +X side
of the band's frame and sample 1 on the +Y side, as is slit pixel 1: ``x = f (n_lines / 2 + 1/2 - line)``, where f is
the angle of a pixel (instrument kernel, focal length 159.82 mm).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from calibration.tables import Table
from instruments.jiram.layout import LINES, SAMPLES, SLIT
from instruments.jiram.schemas import PIXELS, TIE_STEP
from pipeline.dataset.quality import Quality, flag
from pipeline.errors import CalibrationError
from pipeline.geometry import Geometry
from pipeline.geometry.attitude import apply, to_matrix
from pipeline.geometry.surface import Surface, intercept, surface_points
from pipeline.instrument import Raw, step
from pipeline.jupiter.rotation import iau_jupiter
from pipeline.jupiter.shape import longitude_latitude, normal, planetographic, surface_radius

Array = NDArray[np.float64]

BAND_FRAMES = {"L": "JUNO_JIRAM_I_LBAND", "M": "JUNO_JIRAM_I_MBAND"}
SLIT_FRAME = "JUNO_JIRAM_S"
# Smallest cosine of the emission angle by which an error of pointing is spread on the surface.
GRAZING = 0.02


def directions(lines: ArrayLike, samples: ArrayLike, number: tuple[int, int], ifov: float) -> Array:
    """Directions of places on the detector in its frame, (lines, samples, 3).

    Parameters
    ----------
    lines, samples : from 1 at the centre of the first pixel.
    number : of all lines and samples.
    """
    x = ifov * (number[0] / 2.0 + 0.5 - np.asarray(lines, np.float64))[:, None]
    y = ifov * (number[1] / 2.0 + 0.5 - np.asarray(samples, np.float64))[None, :]
    return np.stack(np.broadcast_arrays(x, y, 1.0), axis=-1)


def image_directions(ifov: float) -> Array:
    """Directions of the centres of an image's pixels in the frame of their band."""
    return directions(np.arange(1, LINES + 1), np.arange(1, SAMPLES + 1), (LINES, SAMPLES), ifov)


def slit_directions(lines: int, ifov: float) -> Array:
    """Directions of the pixels of the slit, (lines, 3): of 256, or as many summed into fewer."""
    each = SLIT // lines
    centre = each * np.arange(lines) + (each + 1) / 2.0
    return directions([1.0], centre, (1, SLIT), ifov)[0]


def tie_points(geometry: Geometry, et: float, pointing: Table) -> dict[str, Any]:
    """Latitude, longitude and emission at the corners of blocks of pixels, as variables of a dataset."""
    lines, samples = (np.arange(0, n + 1, TIE_STEP) + 0.5 for n in (LINES, SAMPLES))
    look = directions(lines, samples, (LINES, SAMPLES), float(pointing["ifov"].value))
    seen = [surface_points(geometry, [et], look[None], frame=frame) for frame in BAND_FRAMES.values()]
    dims = ("et", "band", "tie_line", "tie_sample")
    values = {"latitude": "latitude_planetocentric", "longitude": "longitude_east", "emission": "emission"}
    return {
        f"tie_{name}": (dims, np.stack([getattr(s, of)[0] for s in seen])[None].astype(np.float32))
        for name, of in values.items()
    }


def by_label(et: float, quaternion: Array, position: Array, look: Array) -> Surface:
    """What pixels see by the position and the attitude that a label states; where the Sun is it does not.

    Parameters
    ----------
    quaternion : scalar first, of the rotation from the band's frame to J2000 (SPICE's ``q2m``).
    position : of Juno in IAU_JUPITER, km.
    look : directions in the band's frame (..., 3).
    """
    frame_to_j2000 = to_matrix(quaternion[:, None])[0]
    turn = iau_jupiter(np.array([et]))[0] @ frame_to_j2000
    look = apply(np.broadcast_to(turn, (*look.shape[:-1], 3, 3)), look)
    point = intercept(np.broadcast_to(position, look.shape), look)
    longitude, latitude, _ = longitude_latitude(point)
    unknown = np.full(longitude.shape, np.nan)
    away = position - point
    distance = np.sqrt((away * away).sum(axis=-1))
    emission = np.degrees(np.arccos(np.clip((away * normal(point)).sum(axis=-1) / distance, -1.0, 1.0)))
    return Surface(point, longitude, latitude, planetographic(latitude), emission, unknown, unknown, distance)


Pointing = Literal["geometry", "label"]


@step(produces="jiram.geometry", over="segment", version=1)
def geometry(
    raw: Annotated[xr.Dataset, Raw("jiram.image_edr")],
    juno: Geometry,
    pointing: Table,
    *,
    source: Pointing = "geometry",
    correction: Literal["LT+S", "LT", "NONE"] = "LT+S",
) -> xr.Dataset:
    """What every pixel of an image sees.

    Parameters
    ----------
    source : position and attitude of the pass's geometry, or those that the label states (labels of 2016 to 2021 do),
        which give no photometric angles.
    correction : light time and stellar aberration; not of what the label states.

    Raises
    ------
    CalibrationError
        if the label states no attitude.
    """
    et = float(raw["et"].values[0])
    look = image_directions(float(pointing["ifov"].value))
    bands = [band for band, there in zip(BAND_FRAMES, raw["present"].values[0], strict=True) if there]
    seen = []
    for band in bands:
        if source == "geometry":
            seen.append(surface_points(juno, [et], look[None], frame=BAND_FRAMES[band], correction=correction))
            continue
        quaternion, position = raw["quaternion"].values[0], raw["position"].values[0]
        if not np.isfinite(quaternion).all() or not np.isfinite(position).all():
            raise CalibrationError("the label states no attitude or position: take it from kernels (source=geometry)")
        seen.append(by_label(et, quaternion / np.linalg.norm(quaternion), position, look))
    stacked = {name: np.stack([np.reshape(getattr(s, name), look.shape[:-1]) for s in seen])[None] for name in SEEN}
    coords = {"et": [et], "band": np.array(bands, object)}
    return seen_dataset(stacked, PIXELS, coords, pointing)


@step(produces="jiram.slit_geometry", over="segment", version=1)
def slit_geometry(
    raw: Annotated[xr.Dataset, Raw("jiram.spectrum_edr")],
    juno: Geometry,
    pointing: Table,
    *,
    correction: Literal["LT+S", "LT", "NONE"] = "LT+S",
) -> xr.Dataset:
    """What every pixel of the slit sees at the start of the exposure.

    Parameters
    ----------
    correction : light time and stellar aberration.
    """
    et = float(raw["et"].values[0])
    look = slit_directions(int(raw["slit_lines"].values[0]), float(pointing["ifov"].value))
    seen = surface_points(juno, [et], look[None], frame=SLIT_FRAME, correction=correction)
    return seen_dataset({name: getattr(seen, name) for name in SEEN}, ("et", "slit"), {"et": [et]}, pointing)


# Variables of the product by the names of `Surface`.
SEEN = {
    "longitude_east": "longitude",
    "latitude_planetocentric": "latitude",
    "latitude_planetographic": "latitude_planetographic",
    "emission": "emission",
    "incidence": "incidence",
    "phase": "phase",
    "range": "range",
}


def seen_dataset(seen: dict[str, Array], dims: tuple[str, ...], coords: dict[str, Any], pointing: Table) -> xr.Dataset:
    """Variables of a geometry product; an error of pointing is spread over the surface by range and emission."""
    angle = float(pointing["direction"].sigma)
    latitude = seen["latitude_planetocentric"]
    with np.errstate(invalid="ignore"):
        across = angle * seen["range"] / np.maximum(np.cos(np.radians(seen["emission"])), GRAZING)
        north = np.degrees(across / surface_radius(latitude))
        east = np.minimum(north / np.maximum(np.cos(np.radians(latitude)), 1e-6), 180.0)
    missed = np.isnan(latitude)
    data = {SEEN[name]: (dims, values.astype(np.float32)) for name, values in seen.items()}
    data["latitude_systematic"] = (dims, north.astype(np.float32))
    data["longitude_systematic"] = (dims, east.astype(np.float32))
    return xr.Dataset({**data, "quality": (dims, flag(missed, Quality.GEOMETRY_MISSING))}, coords=coords)
