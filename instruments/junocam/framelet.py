"""One framelet: stored values to radiance, I/F, errors, quality and measures of damage (README.md, steps 2 to 6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from calibration.tables import Quantity
from instruments.junocam import damage
from instruments.junocam.band import Band, Tables
from instruments.junocam.compand import Levels
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
)
from pipeline.dataset.quality import Quality, flag, raised
from pipeline.errors import CalibrationError

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


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
        black, black_sigma, clipped = self.black_level()
        dn = self.levels.dn - black
        self.fill(out, dn)
        noise = self.noise(dn)
        gone, corrupt = self.damage(dn, noise)
        quality = np.take(self.level_flags(dn), self.value)
        quality |= np.uint32(self.circumstances(condition, clipped))
        quality |= flag(gone, Quality.MISSING | LOST.mask) | flag(corrupt, CORRUPT_BLOCK.mask)
        quality |= flag(self.hits(noise), Quality.RADIATION) | flag(self.of_pixels("hot") != 0, HOT.mask)
        quality[:, ~self.active] = Quality.MISSING | DARK_COLUMN.mask
        quality[self.lines :] = Quality.MISSING
        out["quality"][...] = quality
        absent = raised(quality, Quality.MISSING)
        for name in ("radiance", "radiance_random", "radiance_quantum", "i_over_f", "i_over_f_random"):
            out[name][absent] = np.nan
        structured = float(np.hypot(black_sigma, self.levels.offset)) * self.band.per_dn
        return {
            "radiance_systematic": float(np.hypot(self.band.relative, self.levels.relative)),
            "radiance_structured": structured,
            "i_over_f_systematic": float(np.hypot(self.band.relative_i_over_f, self.levels.relative)),
            "i_over_f_structured": structured * self.band.i_over_f,
            "black_level": np.nan if clipped else black,
            "throughput": self.band.throughput,
            "condition": condition,
            "corrupt_blocks": int(np.count_nonzero(corrupt)) // BLOCK**2,
            **self.measures(dn, quality),
        }

    def fill(self, out: dict[str, NDArray[Any]], dn: Floats) -> None:
        """Steps 4 to 6: radiance and I/F with their random errors."""
        per_dn, i_over_f = np.float32(self.band.per_dn), np.float32(self.band.i_over_f)
        for name, level in (("radiance", dn), ("radiance_quantum", self.levels.width)):
            np.take((self.band.per_dn * level).astype(np.float32), self.value, out=out[name], mode="clip")
        np.multiply(self.random(dn), per_dn, out=out["radiance_random"])
        flat, dark = (self.of_pixels(name) for name in ("flat", "dark"))
        if dark.any():
            out["radiance"] -= per_dn * dark
        if (flat != 1.0).any():
            for name in ("radiance", "radiance_random", "radiance_quantum"):
                out[name] /= flat
        for end in ("", "_random"):
            np.multiply(out[f"radiance{end}"], i_over_f, out=out[f"i_over_f{end}"])

    def measures(self, dn: Floats, quality: NDArray[np.uint32]) -> dict[str, float]:
        """How far the framelet is damaged, of the samples that are there and see the scene."""
        bits, seen = quality[: self.lines, self.active], dn.astype(np.float32)[self.seen]

        def share(where: Mask) -> float:
            return float(np.count_nonzero(where)) / where.size

        return {
            "zero_fraction": share(self.seen == 0),
            "saturated_fraction": share(raised(bits, Quality.SATURATED)),
            "nonlinear_fraction": share(raised(bits, NONLINEAR.mask)),
            "lost_fraction": share(raised(bits, LOST.mask)),
            "hit_fraction": share(raised(bits, Quality.RADIATION)),
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
        bits = flag(full, Quality.SATURATED)
        bits |= flag(~full & (dn > float(detector["linear_limit"].value)), NONLINEAR.mask)
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
