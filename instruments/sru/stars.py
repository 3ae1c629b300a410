"""Stars of the catalogue measured in an image (README.md, steps 6 and 7)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.special import ndtr

from calibration.tables import Table
from instruments.sru.camera import SIZE, Tracks, planet_mask, shot_of, star_tracks
from instruments.sru.detector import clusters
from instruments.sru.schemas import BLENDED, CORE, CROWDED, FAINT, HOT, OCCULTED, SMEARED
from pipeline.dataset.quality import Quality, flag
from pipeline.geometry import Geometry
from pipeline.instrument import Product, step

Floats = NDArray[np.float64]
Flags = NDArray[np.uint32]

HALF = 6  # pixels on either side that are fitted
MARGIN = HALF + 1.0
ITERATIONS = 8
OUTLIER = 5.0  # sigmas
# Pixels within which a star is taken for the one expected, and by which it may move over the image.
NEAR, FAR = 2.0, 5.0
# Magnitudes by which a neighbour may be fainter to disturb, and pixels about the star in which it does.
DISTURBING, BESIDE = 3.0, 9.0
# Pixels beyond the box from which a star's light reaches into it.
BLUR = 4.0
# Pixels about the middle whose misfit is judged: a particle's charge there is not told from the star's light.
INNER = 3.5
# Error of the shape of a star's image, a part of its light; misfit per degree of freedom that is not believed; share of
# the light that bad pixels may take.
SHAPE, MISFIT, LOST_LIGHT = 0.03, 1.7, 0.3
# Hits expected within `INNER` of a star above which one may be there unnoticed.
UNNOTICED = 0.1
POGSON = 2.5 / np.log(10.0)
UNUSABLE = int(Quality.MISSING | Quality.SATURATED | Quality.RADIATION) | HOT.mask | CORE.mask


@dataclass(frozen=True)
class Fit:
    """Of each star: rows and columns off what is expected, electrons, covariance (n, 3, 3), misfit, light lost."""

    shift: Floats
    electrons: Floats
    covariance: Floats
    chi2: Floats
    lost: Floats


@step(produces="sru.stars", over="unit", version=2)
def stars(
    image: Annotated[xr.Dataset, Product("sru.image")],
    geometry: Geometry,
    camera: Table,
    readout: Table,
    stars: Table,
    photometry: Table,
    *,
    brightest: int = 30,
) -> xr.Dataset:
    """Places and brightness of the brightest stars of the catalogue in the field (steps 6 and 7).

    Where a star is expected follows from attitude, proper motion, parallax, aberration and distortion, at moments all
    over the exposure. Its light along that way, blurred, is fitted to the image.
    """
    shot = shot_of(image)
    found = star_tracks(shot, geometry, stars, camera, readout, photometry, margin=-BESIDE)
    alone = neighbours(found)
    inside = np.flatnonzero(
        (np.minimum(found.row, found.column - readout["first_column"].value) >= MARGIN)
        & (found.row <= readout["rows"].value - 1 - MARGIN)
        & (found.column <= SIZE - 1 - MARGIN)
    )
    chosen = np.sort(inside[np.argsort(found.magnitude[inside], kind="stable")[:brightest]])
    tracks, quality = found.take(chosen), alone[chosen]
    quality |= circumstances(tracks, planet_mask(shot, geometry, camera)[0], float(photometry["detectable"].value))
    per_second, seconds = image["rate"].values.astype(float), image["row_exposure"].values
    bad = (image["quality"].values & np.uint32(UNUSABLE)) != 0
    rate = np.where(bad, np.nan, per_second)
    noise = image["noise"].values * float(image["gain"]) / seconds
    psf = float(photometry["psf"].value)
    core = (image["quality"].values & np.uint32(CORE.mask)) != 0
    density = clusters(core)[1] / max(int(np.isfinite(per_second).sum()), 1)
    quality |= np.uint32(CROWDED.mask * (density * np.pi * INNER**2 > UNNOTICED))
    fit, wider = (
        fit_stars(tracks, found, rate, noise, seconds, width, tdi=shot.tdi)
        for width in (psf, psf + float(photometry["psf"].sigma))
    )
    quality |= flag(fit.lost > LOST_LIGHT, Quality.MISSING)
    quality |= flag(fit.chi2 > MISFIT, Quality.SUSPECT)
    reasons = OCCULTED.mask | SMEARED.mask | FAINT.mask
    off = ~(np.hypot(*fit.shift.T) <= NEAR) | ~(fit.electrons > 0.0) | ((quality & np.uint32(reasons)) != 0)
    quality |= flag(off, Quality.MISSING)
    return described(image, tracks, fit, wider, quality, stars, photometry)


def neighbours(tracks: Tracks) -> Flags:
    """Bit of those that another star, not much fainter, is close to."""
    dy, dx = tracks.row[:, None] - tracks.row, tracks.column[:, None] - tracks.column
    close = (np.hypot(dy, dx) < BESIDE) & (tracks.magnitude < tracks.magnitude[:, None] + DISTURBING)
    np.fill_diagonal(close, False)
    return flag(close.any(axis=1), BLENDED.mask)


def circumstances(tracks: Tracks, planet: NDArray[np.bool_], detectable: float) -> Flags:
    """Bits of those that are behind the planet, move too far, or are too faint."""
    r, c = (np.rint(p).astype(np.intp) for p in (tracks.row, tracks.column))
    moving = np.maximum(np.ptp(tracks.rows, axis=1), np.ptp(tracks.columns, axis=1))
    bits = flag(planet[r, c], OCCULTED.mask)
    bits |= flag(moving > FAR, SMEARED.mask)
    bits |= flag(tracks.electrons < detectable, FAINT.mask)
    return bits


# Fit


def fit_stars(
    tracks: Tracks, field: Tracks, rate: Floats, noise: Floats, seconds: Floats, psf: float, *, tdi: bool
) -> Fit:
    """Shift, brightness and background of each star by least squares (Gauss-Newton).

    Parameters
    ----------
    field : all stars: what a neighbour leaves in the box goes with the star's light as the catalogue says.
    rate : electrons per second (512, 512), NaN where not usable. With TDI rows close to the first have exposures of
        their own, so it is rates that are fitted.
    noise : electrons per second, one sigma of a dark pixel of each row (512).
    seconds : exposure of each row (512).
    psf : one sigma of a star's image, pixels. With TDI a row more is taken by the steps of the charge: a variance 1/12.
    """
    offsets = np.arange(-HALF, HALF + 1)
    r0, c0 = (np.rint(p).astype(np.intp) for p in (tracks.row, tracks.column))
    data = rate[r0[:, None, None] + offsets[:, None], c0[:, None, None] + offsets] * tracks.seconds[:, None, None]
    rows = r0[:, None, None] + offsets[:, None]
    floor = np.broadcast_to((noise[rows] * tracks.seconds[:, None, None]) ** 2, data.shape)
    use = np.isfinite(data)
    value = np.where(use, data, 0.0)
    sigma = (np.sqrt(psf**2 + (1.0 / 12.0 if tdi else 0.0)), psf)
    exposures = seconds[r0[:, None] + offsets]
    ways = ways_by_row(tracks, r0, c0, exposures)
    of, other = np.nonzero(
        (np.maximum(*(np.abs(a[:, None] - b) for a, b in ((r0, field.row), (c0, field.column)))) < HALF + BLUR)
        & (tracks.index[:, None] != field.index)
    )
    beside = ways_by_row(field.take(other), r0[of], c0[of], exposures[of])
    fainter = 10.0 ** (0.4 * (tracks.magnitude[of] - field.magnitude[other]))[:, None, None]
    shift, flux, level = np.zeros((len(r0), 2)), np.zeros(len(r0)), np.zeros(len(r0))
    for iteration in range(ITERATIONS):
        shape, by_row, by_column = profile(ways, shift, sigma)
        for part, more in zip((shape, by_row, by_column), profile(beside, shift[of], sigma), strict=True):
            np.add.at(part, of, fainter * more)
        variance = floor + np.maximum(flux, 0.0)[:, None, None] * shape
        if iteration == ITERATIONS // 2:
            misfit = value - flux[:, None, None] * shape - level[:, None, None]
            use = use & (np.abs(misfit) < OUTLIER * np.sqrt(variance + (SHAPE * flux[:, None, None] * shape) ** 2))
        columns = [shape, flux[:, None, None] * by_row, flux[:, None, None] * by_column, np.ones_like(shape)]
        if iteration < 2:
            columns = [columns[0], columns[3]]
        step_, covariance = _solve(columns, value - flux[:, None, None] * shape - level[:, None, None], variance, use)
        flux, level = flux + step_[:, 0], level + step_[:, -1]
        if iteration >= 2:
            shift = np.clip(shift + step_[:, 1:3], -HALF, HALF)
    misfit = value - flux[:, None, None] * shape - level[:, None, None]
    inner = np.isfinite(data) & (np.hypot(offsets[:, None], offsets) <= INNER)
    chi2 = (inner * misfit**2 / (variance + (SHAPE * flux[:, None, None] * shape) ** 2)).sum(axis=(1, 2))
    chi2 /= np.maximum(inner.sum(axis=(1, 2)) - 3, 1)
    lost = 1.0 - np.where(use, shape, 0.0).sum(axis=(1, 2)) / np.maximum(shape.sum(axis=(1, 2)), 1e-9)
    return Fit(shift, flux, covariance[:, :3, :3], chi2, lost)


def ways_by_row(tracks: Tracks, r0: NDArray[np.intp], c0: NDArray[np.intp], seconds: Floats) -> tuple[Floats, Floats]:
    """Rows and columns from the middle of the box, as each of its rows sees the star: (n, 13, node).

    With TDI the first rows of an image are shifted out one after the other: where a star drifts over the charge, each
    of them has its mean place over an exposure of its own. Ways are nearly straight over that difference.

    Parameters
    ----------
    seconds : exposure of the rows of the box (n, 13).
    """
    nodes = tracks.rows.shape[1]
    later = (seconds / tracks.seconds[:, None] - 1.0)[:, :, None] * (np.arange(nodes) + 0.5)
    rows, columns = (
        (place - whole[:, None])[:, None, :] + later * np.gradient(place, axis=1)[:, None, :]
        for place, whole in ((tracks.rows, r0), (tracks.columns, c0))
    )
    return rows, columns


def profile(ways: tuple[Floats, Floats], shift: Floats, sigma: tuple[float, float]) -> tuple[Floats, Floats, Floats]:
    """Share of a star's light in each pixel, and its derivatives by row and column, (n, 13, 13)."""
    edges = np.arange(-HALF, HALF + 2) - 0.5
    # Of each row of the box its own two edges; of its columns all.
    beside = (np.stack([edges[:-1], edges[1:]], axis=1)[:, None, :], edges)
    parts = []
    for way, edge, move, s in zip(ways, beside, shift.T, sigma, strict=True):
        x = (edge - (way + move[:, None, None])[..., None]) / s
        parts.append((np.diff(ndtr(x), axis=-1), -np.diff(np.exp(-0.5 * x**2), axis=-1) / (s * np.sqrt(2.0 * np.pi))))
    (row, row_slope), (column, column_slope) = parts
    return tuple((a * b).mean(axis=2) for a, b in ((row, column), (row_slope, column), (row, column_slope)))


def _solve(columns: list[Floats], misfit: Floats, variance: Floats, use: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Weighted least squares of each star: step (n, m) and covariance (n, m, m)."""
    design = np.stack([c.reshape(len(misfit), -1) for c in columns], axis=-1)
    weight = np.where(use, 1.0 / variance, 0.0).reshape(len(misfit), -1)
    flat = misfit.reshape(len(misfit), -1)
    normal = np.einsum("npi,np,npj->nij", design, weight, design)
    # What the data say nothing of stays as it is.
    scale = np.sqrt(np.maximum(np.einsum("nii->ni", normal), 1e-30))
    scaled = normal / scale[:, :, None] / scale[:, None, :] + 1e-12 * np.eye(len(columns))
    covariance = np.linalg.inv(scaled) / scale[:, :, None] / scale[:, None, :]
    step_ = np.einsum("nij,npj,np,np->ni", covariance, design, weight, flat)
    return step_, covariance


# Product


def described(
    image: xr.Dataset, tracks: Tracks, fit: Fit, wider: Fit, quality: Flags, stars: Table, photometry: Table
) -> xr.Dataset:
    """The product: places, rates, magnitudes with uncertainties, and how the whole image is turned."""
    there = (quality & np.uint32(Quality.MISSING)) == 0
    expected = np.stack([tracks.row, tracks.column], axis=1)
    flux = np.where(there, fit.electrons, np.nan)
    sigma = np.sqrt(np.einsum("nii->ni", fit.covariance))
    relative = np.sqrt(
        image["rate_systematic"].values[np.rint(tracks.row).astype(np.intp)].astype(float) ** 2
        + (wider.electrons / np.where(fit.electrons > 0, fit.electrons, np.nan) - 1.0) ** 2
    )
    zero, zero_sigma = float(photometry["zero_point"].value), float(photometry["zero_point"].sigma)
    pointing, error = turned(fit.shift, sigma[:, 1:], tracks, there & ((quality & np.uint32(Quality.SUSPECT)) == 0))
    lost = np.isnan(pointing)
    return xr.Dataset(
        {
            "place": (("star", "axis"), np.where(there[:, None], expected + fit.shift, np.nan)),
            "place_random": (("star", "axis"), np.where(there[:, None], sigma[:, 1:], np.nan)),
            "expected_place": (("star", "axis"), expected),
            "rate": (("star",), flux / tracks.seconds),
            "rate_random": (("star",), np.where(there, sigma[:, 0] / tracks.seconds, np.nan)),
            "rate_systematic": (("star",), np.where(there, relative, np.nan)),
            "magnitude": (("star",), -POGSON * np.log(flux / tracks.seconds / zero)),
            "magnitude_random": (("star",), np.where(there, POGSON * sigma[:, 0] / flux, np.nan)),
            "magnitude_systematic": (
                ("star",),
                POGSON * np.hypot(np.where(there, relative, np.nan), zero_sigma / zero),
            ),
            "expected_magnitude": (("star",), tracks.magnitude),
            "hip": (("star",), stars["hip"].value[tracks.index].astype(np.int32)),
            "chi2": (("star",), fit.chi2),
            "quality": (("star",), quality),
            "pointing": (("angle",), pointing),
            "pointing_random": (("angle",), error),
            "pointing_quality": (("angle",), flag(lost, Quality.MISSING)),
            "matched": np.int32(there.sum()),
        },
        coords={"et": (("star",), float(image["start_et"]) + tracks.seconds / 2.0)},
    )


def turned(shift: Floats, sigma: Floats, tracks: Tracks, use: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Rows, columns and turn (in pixels at 256 from the middle) by which all stars are off, and their sigmas."""
    if use.sum() < 2:
        return np.full(3, np.nan), np.full(3, np.nan)
    y, x = (tracks.row[use] - SIZE / 2) / 256.0, (tracks.column[use] - SIZE / 2) / 256.0
    one, none = np.ones_like(x), np.zeros_like(x)
    design = np.concatenate([np.stack([one, none, x], axis=1), np.stack([none, one, -y], axis=1)])
    weight = 1.0 / sigma[use].T.ravel() ** 2
    normal = design.T @ (design * weight[:, None])
    covariance = np.linalg.pinv(normal)
    return covariance @ (design.T @ (weight * shift[use].T.ravel())), np.sqrt(np.diag(covariance))
