"""Codes to radiance and I/F, framelet by framelet (README.md, steps 1 to 6).

A stored value has few hundred levels, so what depends on the level alone is computed once per framelet and level and
looked up for the samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy import ndimage

from calibration.tables import Quantity, Table
from instruments.junocam import damage
from instruments.junocam.compand import Convention, Levels, levels
from instruments.junocam.layout import ACTIVE_COLUMNS, BLOCK, DARK_COLUMNS, FILTERS, columns_within
from instruments.junocam.schemas import (
    BLACK_UNKNOWN,
    CORRUPT_BLOCK,
    DAMAGED_EPOCH,
    DARK_COLUMN,
    HOT,
    LOST,
    NO_CONTENT,
    NONLINEAR,
    RADIANCE,
)
from pipeline.dataset.quality import Quality
from pipeline.errors import CalibrationError
from pipeline.instrument import Raw, step

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

AU = 149597870.7
# The archive's level 3: I/F 1 reads this.
WHITE = 10000.0
# Variables that repeat what the raw data say, by name there.
SAID = {
    "exposure": "exposure",
    "tdi_stages": "tdi_stages",
    "interframe_delay": "interframe",
    "label_start": "start",
    "clock_difference": "clock_difference",
    "summing": "summing",
    "label_altitude": "altitude",
    "label_latitude": "latitude",
    "label_longitude": "longitude",
    "solar_distance": "solar_distance",
    "focal_plane_temperature": "temperature",
}


@dataclass(frozen=True)
class Tables:
    """The tables of the radiometric chain."""

    response: Table
    detector: Table
    throughput: Table
    solar: Table
    pixels: Table
    epochs: Table


@dataclass(frozen=True)
class Band:
    """What makes radiance and I/F of the DN of one filter of one image.

    Parameters
    ----------
    place : of the filter in the tables.
    per_dn : radiance of one DN, W m^-2 sr^-1.
    i_over_f : I/F of a radiance of 1.
    relative, relative_i_over_f : systematic uncertainties as fractions.
    throughput : as divided out; `extrapolated` where no value is known for filter and orbit.
    """

    place: int
    per_dn: float
    i_over_f: float
    relative: float
    relative_i_over_f: float
    throughput: float
    extrapolated: bool


@step(produces="junocam.radiance", over="segment", version=1)
def radiance_from_edr(
    raw: Annotated[xr.Dataset, Raw("junocam.edr")],
    companding: Table,
    response: Table,
    detector: Table,
    throughput: Table,
    solar: Table,
    pixels: Table,
    epochs: Table,
    *,
    convention: Convention = "centre",
    throughput_correction: bool = True,
) -> xr.Dataset:
    """Radiance and I/F from the archive's EDR.

    Parameters
    ----------
    raw : value(framelet, line, sample), lines_there(framelet).
    convention : a code stands for the ``centre`` of its bin; ``archive``: for the value of the SIS's table, as in RDR.
    throughput_correction : whether the loss of throughput since launch is divided out.
    """
    decoded = levels(raw.attrs["mode"], raw.attrs["compression"], companding, convention)
    tables = Tables(response, detector, throughput, solar, pixels, epochs)
    return radiance(raw, decoded, tables, throughput_correction)


@step(produces="junocam.radiance", over="segment", version=1)
def radiance_from_imageset(
    raw: Annotated[xr.Dataset, Raw("junocam.imageset")],
    companding: Table,
    response: Table,
    detector: Table,
    throughput: Table,
    solar: Table,
    pixels: Table,
    epochs: Table,
    *,
    convention: Convention = "centre",
    throughput_correction: bool = True,
) -> xr.Dataset:
    """Radiance and I/F from the public site's image sets; see `radiance_from_edr`."""
    decoded = levels(raw.attrs["mode"], raw.attrs["compression"], companding, convention)
    tables = Tables(response, detector, throughput, solar, pixels, epochs)
    return radiance(raw, decoded, tables, throughput_correction)


@step(produces="junocam.radiance", over="segment", version=1)
def radiance_from_rdr(
    raw: Annotated[xr.Dataset, Raw("junocam.rdr")],
    companding: Table,
    response: Table,
    detector: Table,
    throughput: Table,
    solar: Table,
    pixels: Table,
    epochs: Table,
    *,
    throughput_correction: bool = True,
) -> xr.Dataset:
    """I/F as the archive's level 3 gives it, and the radiance that follows, with the uncertainties it does not state.

    The archive's scale factors are not public: DN are those that our response would have made of its I/F. Its codes are
    taken as SQROOT's; loss of throughput and leakage, which it leaves, are taken out as for the EDR.

    Parameters
    ----------
    raw : value(framelet, line, sample), 10 000 I/F.
    """
    tables = Tables(response, detector, throughput, solar, pixels, epochs)
    steps = levels("SQROOT", raw.attrs["compression"], companding, "archive")
    by_filter = {}
    for name in np.unique(raw["filter"].values.astype(str)):
        band = band_of(str(name), raw.attrs, tables, throughput_correction=False)
        whole = 1.0 - float(response["leakage"].value[band.place])  # the archive leaves the leakage in
        dn = np.arange(1 << 16) / WHITE / band.i_over_f / (band.per_dn / whole)
        width = np.maximum(np.interp(dn, steps.dn, steps.width), dn[1])
        by_filter[str(name)] = Levels(dn, width, steps.code_noise, 0.0, steps.relative)
    return radiance(raw, by_filter, tables, throughput_correction)


def radiance(
    raw: xr.Dataset, decoded: Levels | dict[str, Levels], tables: Tables, throughput_correction: bool
) -> xr.Dataset:
    """The product from stored values and what they stand for, by filter where that differs."""
    filters = raw["filter"].values.astype(str)
    bands = {f: band_of(f, raw.attrs, tables, throughput_correction) for f in np.unique(filters).tolist()}
    condition = condition_of(raw.attrs["orbit"], raw.attrs["number"], tables.epochs)
    shape = raw["value"].shape
    out: dict[str, NDArray[Any]] = {
        name: np.empty(shape, np.float32)
        for name in ("radiance", "radiance_random", "radiance_quantum", "i_over_f", "i_over_f_random")
    }
    out["quality"] = np.empty(shape, np.uint32)
    each: list[dict[str, float]] = []
    for k, name in enumerate(filters):
        level = decoded[name] if isinstance(decoded, dict) else decoded
        there = int(raw["lines_there"].values[k])
        framelet = Framelet(raw["value"].values[k], there, level, bands[name], tables, raw.attrs["summing"])
        each.append(framelet.calibrate({variable: array[k] for variable, array in out.items()}, condition))
    variables: dict[str, Any] = {name: (("framelet", "line", "sample"), values) for name, values in out.items()}
    variables |= {name: ("framelet", np.array([e[name] for e in each])) for name in (each[0] if each else ())}
    for name, source in SAID.items():
        variables[name] = ("framelet", np.full(len(filters), raw.attrs[source], RADIANCE[name].dtype))
    variables["stated_centre"] = ("framelet", raw["stated_centre"].values)
    return xr.Dataset(variables, coords={n: raw[n] for n in ("et", "et_start", "filter", "frame")})


def band_of(name: str, said: dict[str, Any], tables: Tables, throughput_correction: bool) -> Band:
    """Step 4 to 6: DN per radiance of a filter, with the loss of throughput, the leakage, and the Sun.

    ``L = DN (1 - leakage) / (response exposure throughput)``, ``I/F = pi L d^2 / F``, d in au.
    """
    place = FILTERS.index(name)
    loss, loss_sigma, known = throughput_of(place, said["orbit"], tables.throughput)
    if not throughput_correction:
        # What is left in is an error as large as the loss itself.
        loss, loss_sigma = 1.0, abs(1.0 - loss)
    response, leakage = (tables.response[n] for n in ("response", "leakage"))
    summed = tables.response["summed_signal"]
    signal = float(summed.value) if said["summing"] == 2 else 1.0
    per_second = float(response.value[place]) * signal * loss
    passed = 1.0 - float(leakage.value[place])
    relative = [
        response.sigma[place] / response.value[place],
        loss_sigma / loss,
        leakage.sigma[place] / passed,
        float(summed.sigma) / signal if said["summing"] == 2 else 0.0,
        float(np.sqrt(np.mean(np.square(tables.pixels["flat"].sigma)))),
    ]
    solar = tables.solar["irradiance"]
    factor = np.pi * (said["solar_distance"] / AU) ** 2 / float(solar.value[place])
    own = float(np.sqrt(np.sum(np.square(relative))))
    of_sun = float(solar.sigma[place] / solar.value[place])
    return Band(
        place,
        passed / (per_second * said["exposure"]),
        float(factor),
        own,
        float(np.hypot(own, of_sun)),
        loss,
        not known or said["summing"] == 2,
    )


def throughput_of(place: int, orbit: int, throughput: Table) -> tuple[float, float, bool]:
    """Throughput of a filter at an orbit, its uncertainty, and whether it is known for that filter and orbit."""
    first, last = throughput["orbits"].value
    if place == FILTERS.index("METHANE"):
        slope = throughput["methane_slope"]
        return 1.0 + float(slope.value) * orbit, float(slope.sigma) * orbit, False
    intercept, slope = throughput["intercept"], throughput["slope"]
    value = float(intercept.value[place] + slope.value[place] * orbit)
    if not value > 0.0:
        raise CalibrationError(f"table junocam.throughput gives {value:.3f} for {FILTERS[place]} at orbit {orbit}")
    sigma = float(np.hypot(intercept.sigma[place], slope.sigma[place] * orbit))
    return value, sigma, bool(first <= orbit <= last)


def condition_of(orbit: int, number: int, epochs: Table) -> int:
    """Condition of the camera: the worst of the epochs that hold an image; 0: nominal."""
    place = orbit * 1e5 + number
    first, last = (epochs[f"{end}_orbit"].value * 1e5 + epochs[f"{end}_image"].value for end in ("first", "last"))
    inside = (first <= place) & (place <= last)
    return int(np.max(epochs["condition"].value, where=inside, initial=0.0))


@dataclass(frozen=True, eq=False)
class Framelet:
    """One framelet as stored, and all that is needed to calibrate it.

    Parameters
    ----------
    value : stored values (line, sample).
    lines : how many of its lines are there.
    """

    value: NDArray[Any]
    lines: int
    levels: Levels
    band: Band
    tables: Tables
    summing: int

    def calibrate(self, out: dict[str, NDArray[Any]], condition: int) -> dict[str, float]:
        """Fill the arrays of the framelet; returns its single numbers."""
        decoded, band = self.levels, self.band
        black, black_sigma, clipped = self.black_level()
        dn = decoded.dn - black
        noise = self.noise(dn)
        flat, dark = (self.of_pixels(name) for name in ("flat", "dark"))
        for name, level in (("", dn), ("_quantum", decoded.width)):
            np.take((band.per_dn * level).astype(np.float32), self.value, out=out[f"radiance{name}"], mode="clip")
        out["radiance_random"][...] = np.float32(band.per_dn) * self.random(dn)
        if dark.any():
            out["radiance"] -= np.float32(band.per_dn) * dark
        if (flat != 1.0).any():
            for name in ("", "_random", "_quantum"):
                out[f"radiance{name}"] /= flat
        gone, corrupt = self.damage(dn, noise)
        hit = self.hits(noise)
        quality = np.take(self.level_flags(dn), self.value)
        quality |= np.uint32(self.circumstances(condition, clipped))
        quality |= _bits(gone, Quality.MISSING | LOST.mask) | _bits(corrupt, CORRUPT_BLOCK.mask)
        quality |= _bits(hit, Quality.RADIATION) | _bits(self.of_pixels("hot") != 0, HOT.mask)
        quality[:, ~self.active] = Quality.MISSING | DARK_COLUMN.mask
        quality[self.lines :] = Quality.MISSING
        out["quality"][...] = quality
        absent = (quality & np.uint32(Quality.MISSING)) != 0
        for name in ("radiance", "radiance_random", "radiance_quantum"):
            out[name][absent] = np.nan
        for name in ("", "_random"):
            np.multiply(out[f"radiance{name}"], np.float32(band.i_over_f), out=out[f"i_over_f{name}"])
        structured = float(np.hypot(black_sigma, decoded.offset)) * band.per_dn
        seen = dn.astype(np.float32)[self.seen]
        return {
            "radiance_systematic": float(np.hypot(band.relative, decoded.relative)),
            "radiance_structured": structured,
            "i_over_f_systematic": float(np.hypot(band.relative_i_over_f, decoded.relative)),
            "i_over_f_structured": structured * band.i_over_f,
            "black_level": np.nan if clipped else black,
            "throughput": band.throughput,
            "condition": condition,
            "zero_fraction": _share(self.seen == 0),
            "saturated_fraction": self.share_of(quality, Quality.SATURATED),
            "nonlinear_fraction": self.share_of(quality, NONLINEAR.mask),
            "lost_fraction": self.share_of(quality, LOST.mask),
            "hit_fraction": self.share_of(quality, Quality.RADIATION),
            "corrupt_blocks": int(np.count_nonzero(corrupt)) // BLOCK**2,
            "line_streaks": damage.streaks(seen, 1),
            "column_streaks": damage.streaks(seen, 0),
            "blockiness": damage.blockiness(seen),
        }

    @property
    def active(self) -> Mask:
        """Samples of a line that see the scene."""
        return columns_within(ACTIVE_COLUMNS, self.summing)

    @property
    def seen(self) -> NDArray[Any]:
        """Stored values of the lines that are there and see the scene."""
        return self.value[: self.lines, self.active]

    def black_level(self) -> tuple[float, float, bool]:
        """Step 2: black level by the dark columns, its uncertainty, and whether they are clipped too far to tell it."""
        detector = self.tables.detector
        value = self.value[: self.lines, columns_within(DARK_COLUMNS, self.summing)].ravel()
        dark = self.levels.dn[value]
        middle = float(np.median(dark))
        if np.median(value) < 1 or middle <= float(detector["black_threshold"].value):
            clipped = detector["black_clipped"]
            return float(clipped.value), float(clipped.sigma), True
        spread = 1.4826 * float(np.median(np.abs(dark - middle))) or float(np.std(dark))
        usual = dark[np.abs(dark - middle) <= 3.0 * max(spread, 1.0)]
        return float(usual.mean()), float(usual.std() / np.sqrt(usual.size)), False

    def noise(self, dn: Floats) -> Floats:
        """Step 3: one sigma of the random error of each level, DN: photons, read-out, rounding and transmission."""
        detector, width = self.tables.detector, self.levels.width
        gain = float(detector["gain"].value)
        electrons = np.maximum(dn, 0.0) * gain + float(detector["read_noise"].value) ** 2
        return np.sqrt(electrons / gain**2 + width**2 / 12.0 + (self.levels.code_noise * width) ** 2)

    def random(self, dn: Floats) -> NDArray[np.float32]:
        """Step 3: the same of each sample, (line, sample).

        Photons are those expected, by the mean of the codes around: from its own count a sample that has too few would
        have too small an error as well.
        """
        around = ndimage.uniform_filter(self.value.astype(np.float32), 3, mode="nearest")
        photons = (np.maximum(dn, 0.0) / float(self.tables.detector["gain"].value)).astype(np.float32)
        rest = (self.noise(dn) ** 2 - photons).astype(np.float32)
        return np.sqrt(np.take(photons, np.rint(around).astype(np.intp)) + np.take(rest, self.value))

    def level_flags(self, dn: Floats) -> NDArray[np.uint32]:
        """Quality bits of each level."""
        detector = self.tables.detector
        full = (dn >= float(detector["plateau"].value)) | (np.arange(dn.size) == dn.size - 1)
        bits = _bits(full, Quality.SATURATED)
        bits |= _bits(~full & (dn > float(detector["linear_limit"].value)), NONLINEAR.mask)
        bits[0] |= np.uint32(Quality.CLIPPED_LOW)
        return bits

    def circumstances(self, condition: int, clipped: bool) -> int:
        """Quality bits of the whole framelet."""
        bits = Quality.CALIBRATION_EXTRAPOLATED if self.band.extrapolated else 0
        bits |= DAMAGED_EPOCH.mask if condition else 0
        bits |= NO_CONTENT.mask if condition == 4 else 0
        return int(bits) | (BLACK_UNKNOWN.mask if clipped else 0)

    def damage(self, dn: Floats, noise: Floats) -> tuple[Mask, Mask]:
        """Where samples were lost and where blocks are corrupt."""
        gone, corrupt = (np.zeros(self.value.shape, bool) for _ in range(2))
        lit = int(np.searchsorted(self.levels.dn, damage.LIT * noise[0]))
        inside = np.ix_(np.arange(self.lines), np.flatnonzero(self.active))
        gone[inside] = damage.lost(self.seen, lit)
        whole = self.lines // BLOCK * BLOCK
        if whole >= 2 * BLOCK:
            value = self.value[:whole]
            corrupt[:whole] = damage.corrupt_blocks(dn[value], noise[value])
        return gone, corrupt & ~gone

    def hits(self, noise: Floats) -> Mask:
        """Where single samples stand out."""
        highest = np.searchsorted(self.levels.dn, self.levels.dn + damage.HIT * noise)
        hit = np.zeros(self.value.shape, bool)
        hit[: self.lines] = damage.hits(self.value[: self.lines], np.minimum(highest, noise.size - 1))
        return hit

    def of_pixels(self, name: str) -> NDArray[np.float32]:
        """What table pixels has for the pixels of this framelet: one number, or (line, sample)."""
        quantity: Quantity = self.tables.pixels[name]
        if not quantity.dims:
            return quantity.value.astype(np.float32)
        shape = (len(FILTERS), *self.value.shape)
        if quantity.value.shape != shape:
            raise CalibrationError(
                f"table junocam.pixels, quantity {name}: shape {quantity.value.shape}, {shape} is needed for this image"
            )
        return quantity.value[self.band.place].astype(np.float32)

    def share_of(self, quality: NDArray[np.uint32], mask: int) -> float:
        """Share of samples that are there and see the scene with a bit set."""
        return _share((quality[: self.lines, self.active] & np.uint32(mask)) != 0)


def _bits(where: NDArray[np.bool_], mask: int) -> NDArray[np.uint32]:
    return np.where(where, np.uint32(mask), np.uint32(0))


def _share(where: NDArray[np.bool_]) -> float:
    return float(np.count_nonzero(where)) / where.size
