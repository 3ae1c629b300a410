"""Media and the Earth's orientation, from their files; the delay of the troposphere along the line of sight."""

from __future__ import annotations

from typing import Annotated

import erfa
import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from calibration.tables import Table
from instruments.gs.layout import COMPLEXES
from instruments.gs.raw import et_of
from instruments.gs.raw_media import utc_of
from instruments.gs.schemas import MEDIA_SEASONAL
from pipeline.clock import Span
from pipeline.dataset.quality import flag
from pipeline.earth.orientation import EarthOrientation, offsets_of_1980
from pipeline.instrument import Raw, step

Floats = NDArray[np.float64]

# Epoch of the seasonal model, 1972-01-01, as modified Julian day, and its period (TRK-2-23).
SEASONS, YEAR = 41317, 31557600.0
GRID = 120.0  # seconds between values of the Earth's orientation


def seasonal(coefficient: Floats, day: NDArray[np.int64], second: Floats) -> Floats:
    """Seasonal zenith delay, m (n): ``a0, c1, s1, ...`` of a trigonometric series of a year (TRK-2-23, BY TRIG)."""
    angle = 2.0 * np.pi * ((day - SEASONS) * 86400.0 + second) / YEAR
    total = np.full(angle.shape, coefficient[0])
    for k, (cosine, sine) in enumerate(zip(coefficient[1::2], coefficient[2::2], strict=True), start=1):
        total = total + cosine * np.cos(k * angle) + sine * np.sin(k * angle)
    return total


@step(produces="gs.media", over="unit", version=2)
def media_from_csp(raw: Annotated[xr.Dataset, Raw("gs.csp")], troposphere: Table) -> xr.Dataset:
    """Zenith delays of the troposphere: the seasonal model and what the calibration file adds to it."""
    day, second = utc_of(raw["et"].values)
    pair = ("et", "complex")
    data: dict[str, object] = {"complex_name": ("complex", np.array(COMPLEXES))}
    quality = np.zeros((day.size, len(COMPLEXES)), np.uint32)
    for part in ("dry", "wet"):
        base = np.stack([seasonal(c, day, second) for c in troposphere[f"seasonal_{part}"].value], axis=1)
        adjust = raw[f"adjust_{part}"].values
        known = np.isfinite(adjust)
        quality |= flag(~known, MEDIA_SEASONAL.mask)
        sigma = [float(troposphere[f"{part}_{kind}"].value) for kind in ("calibrated", "seasonal")]
        data[f"zenith_{part}"] = (pair, base + np.where(known, adjust, 0.0))
        data[f"zenith_{part}_structured"] = (pair, np.where(known, *sigma))
    return xr.Dataset({**data, "quality": (pair, quality)}, coords={"et": raw["et"]})


@step(produces="gs.orientation", over="unit", version=2)
def orientation_from_eop(raw: Annotated[xr.Dataset, Raw("gs.eop")], span: Span, earth_orientation: Table) -> xr.Dataset:
    """Orientation of the Earth from its file, at steps of 120 s, with the celestial pole against IAU 2006/2000A."""
    mjd = raw["mjd"].values
    dx, dy = offsets_of_1980(mjd, raw["dpsi"].values, raw["deps"].values)
    columns = {"x": raw["pole_x"].values, "y": raw["pole_y"].values, "ut1_tai": -raw["tai_minus_ut1"].values}
    columns |= {"dx": dx, "dy": dy}
    # A calendar of days of 86400 s: a leap second does not show in UT1 - TAI.
    first, last = ((d - 51544.5) * 86400.0 for d in _days(span))
    grid = np.arange(np.ceil(first / GRID) + 1, np.floor(last / GRID)) * GRID / 86400.0 + 51544.5
    known = EarthOrientation(mjd, **columns)
    data: dict[str, object] = {"mjd": ("et", grid), "quality": ("et", np.zeros(grid.size, np.uint32))}
    for name, column in zip(columns, known.at(grid), strict=True):
        data[name] = ("et", column)
        sigma = float(np.max(earth_orientation[name].sigma))
        data[f"{name}_systematic"] = ("et", np.full(grid.size, sigma))
    whole = np.floor(grid)
    return xr.Dataset(data, coords={"et": ("et", et_of(whole.astype(np.int64), (grid - whole) * 86400.0))})


def _days(span: Span) -> tuple[float, float]:
    day, second = utc_of(np.array([span.start, span.stop]))
    first, last = (day + second / 86400.0).tolist()
    return first, last


# Along the line of sight


def niell(elevation: ArrayLike, latitude: float, height: float, day: ArrayLike, table: Table) -> tuple[Floats, Floats]:
    """Hydrostatic and wet mapping functions (Niell 1996, J. Geophys. Res. 101, 3227).

    Parameters
    ----------
    elevation : rad.
    latitude, height : degrees, km; the south has its seasons half a year later.
    day : of the year.
    """
    sine = np.sin(np.asarray(elevation, np.float64))
    phase = 2.0 * np.pi * (np.asarray(day, np.float64) - 28.0) / 365.25 + (np.pi if latitude < 0 else 0.0)

    def at(name: str) -> Floats:
        return np.array([np.interp(abs(latitude), table["latitude"].value, row) for row in table[name].value])

    mean, wave = at("dry"), at("dry_amplitude")
    dry = _marini(sine, *(mean[:, None] - wave[:, None] * np.cos(phase)))
    dry = dry + (1.0 / sine - _marini(sine, *table["height"].value)) * height
    return dry, _marini(sine, *at("wet"))


def _marini(sine: Floats, a: ArrayLike, b: ArrayLike, c: ArrayLike) -> Floats:
    """Continued fraction in the sine of the elevation, one at the zenith."""
    a, b, c = (np.asarray(v, np.float64) for v in (a, b, c))
    return np.asarray((1.0 + a / (1.0 + b / (1.0 + c))) / (sine + a / (sine + b / (sine + c))))


def geodetic(itrf: Floats) -> tuple[float, float]:
    """Latitude in degrees and height in km of a station (WGS84)."""
    _, latitude, height = erfa.gc2gd(1, itrf * 1e3)
    return float(np.degrees(latitude)), float(height) / 1e3


def day_of_year(mjd: Floats) -> Floats:
    """Day of the year, 1 at the beginning of 1 January."""
    date = (np.floor(mjd).astype(np.int64) - 40587).astype("datetime64[D]")
    first = date.astype("datetime64[Y]").astype("datetime64[D]")
    return np.asarray((date - first).astype(np.float64) + 1.0 + mjd - np.floor(mjd))
