"""From images to electrons per second (README.md, steps 1 to 5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from calibration.tables import Quantity, Table
from instruments.sru.camera import (
    Shot,
    planet_mask,
    row_exposure,
    row_exposure_sigma,
    star_mask,
    star_tracks,
)
from instruments.sru.detector import (
    CLIP,
    MAD,
    SIZE,
    clipped_moments,
    grown,
    local_background,
    robust_mode,
    row_level,
    row_noise,
    valid_pixels,
)
from instruments.sru.schemas import CORE, DAY, HOT, NO_STACK, OFFSET_ODD, PLANET, STAR, TIME_CONFLICT
from pipeline.dataset.quality import Quality, flag
from pipeline.geometry import Geometry
from pipeline.instrument import Product, Raw, step

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Flags = NDArray[np.uint32]

# Images of one setting that make a dark level, and of those at a pixel.
STACK, AT_PIXEL = 5, 3
# Share of outlying pixels above which an image is left out of the dark level.
CROWDED = 0.1
HOT_SIGMAS = 8.0
ROWS = 64  # of a block of the stack
# Electrons in the brightest pixel below which a star is not masked: less than half the noise.
FAINT = 15.0
# Sigmas above the sky that make the day side and its twilight bright.
BRIGHT = 10.0
# Sigmas of the table by which an offset may be off.
ODD = 5.0


def shots_of(raw: xr.Dataset) -> list[Shot]:
    """How each image was taken."""
    columns = (raw[name].values.tolist() for name in ("unit", "et", "exposure", "tdi"))
    return [Shot(int(u), float(t), float(s), bool(d)) for u, t, s, d in zip(*columns, strict=True)]


@dataclass(frozen=True)
class Seen:
    """What an image shows where: pixels read out, at the end of the scale, of stars, of Jupiter and its day side."""

    valid: Mask
    saturated: Mask
    stars: Mask
    planet: Mask
    lit: Mask

    @property
    def sky(self) -> Mask:
        """Pixels of the dark sky."""
        return self.valid & ~self.saturated & ~self.stars & ~self.planet


def seen_in(
    dn: NDArray[np.int16], shot: Shot, geometry: Geometry, camera: Table, readout: Table, stars: Table,
    photometry: Table,
) -> Seen:  # fmt: skip
    """Step 1: the mask. Without geometry nothing is known of stars and planet."""
    valid = valid_pixels(dn, readout)
    nothing = np.zeros(dn.shape, bool)
    known = bool(np.isfinite(geometry.rotation("J2000", shot.frame, shot.et)).all())
    tracks = star_tracks(shot, geometry, stars, camera, readout, photometry, margin=-8.0) if known else None
    planet, lit = planet_mask(shot, geometry, camera) if known else (nothing, nothing)
    starry = star_mask(tracks, float(photometry["psf"].value), FAINT) if tracks else nothing
    return Seen(valid, valid & (dn >= readout["saturation"].value), starry, planet, lit)


# Dark level


@step(produces="sru.dark", over="unit", version=1)
def dark(
    raw: Annotated[xr.Dataset, Raw("sru.edr")],
    geometry: Geometry,
    camera: Table,
    readout: Table,
    stars: Table,
    photometry: Table,
) -> xr.Dataset:
    """Dark level and hot pixels from the images of a pass that were taken alike (step 3).

    The mean of all images of one unit, exposure and mode, less their offsets, without stars, Jupiter and hits. What is
    the same in all of them goes with it: the mean sky, and with time delay integration the dark current along a column.
    """
    shots = shots_of(raw)
    dn = raw["dn"].values
    views = [seen_in(dn[i], s, geometry, camera, readout, stars, photometry) for i, s in enumerate(shots)]
    modes = [robust_mode(dn[i][view.sky]) for i, view in enumerate(views)]
    offset, _, width = (np.array(column) for column in zip(*modes, strict=True))
    settings = sorted({(s.unit, s.seconds, s.tdi) for s in shots})
    level = np.full((len(settings), SIZE, SIZE), np.nan, np.float32)
    error = np.full(level.shape, np.nan, np.float32)
    number = np.zeros(level.shape, np.int16)
    quality = np.full(level.shape, int(Quality.MISSING), np.uint32)
    used = np.zeros(len(shots), bool)
    for k, setting in enumerate(settings):
        alike = [i for i, s in enumerate(shots) if (s.unit, s.seconds, s.tdi) == setting and np.isfinite(offset[i])]
        if len(alike) < STACK:
            continue
        sky = np.stack([views[i].sky for i in alike])
        mean, count, good = clipped_mean(dn[alike], offset[alike], width[alike], sky)
        if good.sum() < STACK:
            continue
        used[np.array(alike)[good]] = True
        enough = count >= AT_PIXEL
        level[k] = np.where(enough, mean, np.nan)
        sigma = float(np.sqrt(np.mean(width[alike][good] ** 2)))
        error[k] = np.where(enough, sigma / np.sqrt(np.maximum(count, 1)), np.nan)
        number[k] = count
        quality[k] = flag(~enough, Quality.MISSING) | flag(hot_pixels(mean, enough), HOT.mask)
    unit, seconds, tdi = zip(*settings, strict=True)
    return xr.Dataset(
        {
            "level": (("setting", "row", "column"), level),
            "level_random": (("setting", "row", "column"), error),
            "number": (("setting", "row", "column"), number),
            "quality": (("setting", "row", "column"), quality),
            "setting_unit": (("setting",), np.array(unit, np.int8)),
            "setting_exposure": (("setting",), np.array(seconds, float)),
            "setting_tdi": (("setting",), np.array(tdi, np.int8)),
            "image_et": (("image",), np.array([s.et for s in shots])),
            "image_unit": (("image",), np.array([s.unit for s in shots], np.int8)),
            "image_used": (("image",), used.astype(np.int8)),
            "image_offset": (("image",), np.nan_to_num(offset)),
        }
    )


def clipped_mean(
    dn: NDArray[np.int16], offset: Floats, width: Floats, sky: Mask
) -> tuple[Floats, NDArray[np.int16], Mask]:
    """Mean of images (n, 512, 512) less their offsets, without outliers, which are seen by the median, and neighbours.

    Returns
    -------
    mean, number, good
        number of images in the mean of each pixel; which images are in it.
    """
    median = np.full(dn.shape[1:], np.nan)
    with np.errstate(all="ignore"):
        for first in range(0, SIZE, ROWS):
            rows = slice(first, first + ROWS)
            block = np.where(sky[:, rows], dn[:, rows] - offset[:, None, None], np.nan)
            there = sky[:, rows].any(axis=0)
            median[rows][there] = np.nanmedian(block[:, there], axis=0)
    total, number, good = np.zeros(dn.shape[1:]), np.zeros(dn.shape[1:], np.int16), np.zeros(len(dn), bool)
    for i, image in enumerate(dn):
        value = image - offset[i]
        outlying = sky[i] & ~(np.abs(value - median) <= CLIP * width[i])
        good[i] = outlying.sum() <= CROWDED * max(sky[i].sum(), 1)
        if good[i]:
            use = sky[i] & ~grown(outlying)
            total[use] += value[use]
            number += use
    return total / np.maximum(number, 1), number, good


def hot_pixels(mean: Floats, known: Mask) -> Mask:
    """Pixels far above the level of their row: eight times the median absolute deviation of all."""
    if not known.any():
        return np.zeros(mean.shape, bool)
    above = mean - row_level(mean, known)[:, None]
    return known & (above > HOT_SIGMAS * MAD * float(np.median(np.abs(above[known]))))


# Image


@dataclass(frozen=True)
class Darkness:
    """Dark level of an image, DN (512, 512), how many images are in it (0: not known), and whether this one is."""

    level: Floats
    number: Floats
    own: bool
    hot: Mask


def darkness_for(dark: xr.Dataset | None, shot: Shot) -> Darkness | None:
    """The dark level of the settings of an image; None if there is none."""
    if dark is None:
        return None
    same = (dark["setting_unit"].values == shot.unit) & (dark["setting_tdi"].values == shot.tdi)
    same &= np.abs(dark["setting_exposure"].values - shot.seconds) < 1e-9
    if not same.any():
        return None
    k = int(np.flatnonzero(same)[0])
    level, number = dark["level"].values[k].astype(float), dark["number"].values[k].astype(float)
    if not np.isfinite(level).any():
        return None
    mine = (dark["image_et"].values == shot.et) & (dark["image_unit"].values == shot.unit)
    own = bool((mine & (dark["image_used"].values == 1)).any())
    return Darkness(level, np.where(np.isfinite(level), number, 0.0), own, (dark["quality"].values[k] & HOT.mask) != 0)


@step(produces="sru.image", over="unit", version=3)
def image(
    raw: Annotated[xr.Dataset, Raw("sru.edr")],
    dark: Annotated[xr.Dataset | None, Product("sru.dark")],
    geometry: Geometry,
    camera: Table,
    readout: Table,
    gain: Table,
    stars: Table,
    photometry: Table,
    *,
    threshold: float = 5.0,
) -> xr.Dataset:
    """Electrons per second above the dark sky, with hits of particles flagged (steps 1 to 5).

    ``rate = gain (DN - offset - dark) / exposure of the row``
    """
    shot, dn = shots_of(raw)[0], raw["dn"].values[0]
    view = seen_in(dn, shot, geometry, camera, readout, stars, photometry)
    darkness = darkness_for(dark, shot)
    mode, sigma, odd = offset_of(dn[view.sky], gain["offset"], shot.unit)
    value = dn - mode
    level, by_row = level_of(darkness, value, view.sky)
    value = value - level
    per_dn = float(gain["gain"].value[shot.unit - 1])
    found = find_hits(value, view, darkness, per_dn, threshold)
    value, error = value - found.rest, found.rest_error
    t = row_exposure(shot, readout)
    signal = np.clip(np.where(found.outlying, value, found.background - found.rest), 0.0, None)
    variance = stack_variance(found.noise, darkness, view, found.outlying) + signal / per_dn
    quality = quality_of(view, found, darkness, by_row)
    quality |= np.uint32(
        OFFSET_ODD.mask * (odd or not np.isfinite(error)) | TIME_CONFLICT.mask * bool(raw["conflict"].values[0])
    )
    error = error if np.isfinite(error) else float(sigma)
    # Hits and stars are not in the stack: theirs is the noise of one image and of the stack.
    noise = noise_of(found, darkness, view, otherwise=sigma)
    scale = (per_dn / t)[:, None]
    lost = ~view.valid
    systematic = np.hypot(float(gain["gain"].sigma[shot.unit - 1]) / per_dn, row_exposure_sigma(shot, readout) / t)
    return xr.Dataset(
        {
            "rate": (("row", "column"), np.where(lost, np.nan, scale * value)),
            "rate_random": (("row", "column"), np.where(lost, np.nan, scale * np.sqrt(variance))),
            "rate_systematic": (("row",), systematic),
            "rate_structured": (("row",), scale[:, 0] * error),
            "row_exposure": (("row",), t),
            "noise": (("row",), noise),
            "quality": (("row", "column"), quality),
            "unit": np.int8(shot.unit),
            "start_et": shot.et,
            "exposure": shot.seconds,
            "tdi": np.int8(shot.tdi),
            "gain": per_dn,
            "offset": mode + found.rest,
            "offset_error": error,
            "threshold": threshold,
        },
        coords={"et": (("row",), shot.et + t / 2.0)},
        attrs={"pixels_damaged": int(raw["damaged"].values[0])},
    )


def offset_of(sky: NDArray[np.int16], known: Quantity, unit: int) -> tuple[float, float, bool]:
    """Offset of an image by its dark sky, DN, sigma of its unit's, and whether it is far from that.

    Without a dark sky the offset is the unit's; the error of the image's, which is then not known, says so.
    """
    expected, sigma = float(known.value[unit - 1]), float(known.sigma[unit - 1])
    mode, _, _ = robust_mode(sky)
    mode = mode if np.isfinite(mode) else expected
    return mode, sigma, not abs(mode - expected) <= ODD * sigma


def noise_of(found: Found, darkness: Darkness | None, view: Seen, otherwise: float) -> Floats:
    """Noise of the rows, DN, that of the dark level of a usual pixel included; `otherwise` where it is not known."""
    usual = float(np.median(share_of(darkness, view.valid.shape)[view.valid])) if view.valid.any() else 0.0
    return np.where(np.isfinite(found.noise), found.noise * np.sqrt(1.0 + usual), otherwise)


def quality_of(view: Seen, found: Found, darkness: Darkness | None, by_row: Mask) -> Flags:
    """Quality bits of the pixels; `by_row`: where the dark level is the row's."""
    bits = flag(~view.valid, Quality.MISSING) | flag(view.saturated, Quality.SATURATED)
    bits |= flag(found.hits, Quality.RADIATION) | flag(found.core, CORE.mask) | flag(by_row & view.valid, NO_STACK.mask)
    bits |= flag(view.stars, STAR.mask) | flag(view.planet, PLANET.mask) | flag(found.day, DAY.mask)
    return bits | (flag(darkness.hot, HOT.mask) if darkness else np.uint32(0))


def level_of(darkness: Darkness | None, value: Floats, sky: Mask) -> tuple[Floats, Mask]:
    """Dark level of each pixel, DN; where no stack has it, of its row in this image, and where that is."""
    if darkness is not None and np.isfinite(darkness.level[sky]).all():
        by_row = ~np.isfinite(darkness.level)
        return np.where(by_row, 0.0, darkness.level), np.zeros(value.shape, bool)
    rows = np.nan_to_num(row_level(value, sky))[:, None]
    if darkness is None:
        return np.broadcast_to(rows, value.shape), np.ones(value.shape, bool)
    by_row = ~np.isfinite(darkness.level)
    return np.where(by_row, rows, darkness.level), by_row


@dataclass(frozen=True)
class Found:
    """Hits of particles in an image.

    Parameters
    ----------
    core, hits : pixels above the threshold, and those with their neighbours.
    day : the bright part of the day side and twilight, where hits are not told from clouds.
    outlying : pixels off their surroundings by more than the threshold, stars included.
    background : level about each pixel, DN.
    noise : one sigma of a dark pixel of each row in one image, DN (512).
    rest, rest_error : what the offset lacks, DN: mean of the sky without hits, and its standard error.
    """

    core: Mask
    hits: Mask
    day: Mask
    outlying: Mask
    background: Floats
    noise: Floats
    rest: float
    rest_error: float


def find_hits(value: Floats, view: Seen, darkness: Darkness | None, per_dn: float, threshold: float) -> Found:
    """Step 4: pixels far above the median of the 5 x 5 about them, where no star is expected and no hot pixel is.

    The noise is that of the sky without hits, so it is found twice.
    """
    background = local_background(value, view.valid)  # saturated pixels are bright: what is beside them is no hit
    above = value - background
    hot = darkness.hot if darkness else np.zeros(value.shape, bool)
    sky = view.sky & ~hot
    # A hit is not in the stack that was taken off; what is measured of the sky mostly is.
    share = share_of(darkness, value.shape)
    within = 1.0 - share if darkness is not None and darkness.own else 1.0 + share
    hits = np.zeros(value.shape, bool)
    for _ in range(2):
        noise = row_noise(value / np.sqrt(within), sky & ~hits)
        # At its border the median of the surroundings is still dark.
        day = grown(grown(view.lit & (background > BRIGHT * noise[:, None]))) & view.valid
        variance = noise[:, None] ** 2 * (1.0 + share) + np.clip(background, 0.0, None) / per_dn * view.planet
        outlying = view.valid & (np.abs(above) > threshold * np.sqrt(variance))
        core = outlying & (above > 0.0) & ~view.stars & ~hot & ~day
        hits = grown(core) & view.valid & ~view.stars
    clean = value[sky & ~hits][None]
    (rest,), (width,) = clipped_moments(clean, np.ones(clean.shape, bool)) if clean.size else ([0.0], [np.nan])
    error = float(width) / np.sqrt(max(clean.size, 1))
    return Found(core, hits, day, outlying, background, noise, float(rest), error)


def share_of(darkness: Darkness | None, shape: tuple[int, ...]) -> Floats:
    """One over the number of images in the dark level of each pixel; 0 where there is no stack."""
    if darkness is None:
        return np.zeros(shape)
    return np.where(darkness.number > 0, 1.0 / np.maximum(darkness.number, 1.0), 0.0)


def stack_variance(noise: Floats, darkness: Darkness | None, view: Seen, outlying: Mask) -> Floats:
    """Variance of a dark pixel less the stack, DN^2 (512, 512).

    Of n images of variance v the mean has v / n; less it, an image has v (1 - 1/n) if it is one of them, v (1 + 1/n) if
    not, as pixels of hits and stars are not. `noise` is that of one image.
    """
    share = share_of(darkness, view.valid.shape)
    in_stack = view.sky & ~outlying & (darkness is not None and darkness.own)
    return np.asarray(noise[:, None] ** 2 * (1.0 + np.where(in_stack, -share, share)))
