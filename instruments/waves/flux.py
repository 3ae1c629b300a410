"""Flux density of radio emissions at a standard distance, the modulation by the spin taken off (README.md, step 10)."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from instruments.waves.calibrate import channels
from instruments.waves.schemas import SPIN_KEPT
from pipeline.dataset.quality import Quality, flag
from pipeline.instrument import Product, step

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

IMPEDANCE = 376.730313668  # of free space, ohm (CODATA 2018)
AU = 149_597_870.7  # km
BLOCK = 600.0  # seconds over which the modulation is taken to stay the same, some twenty spins
FEWEST = 90  # samples, three spins
DEGREE = 2  # of the background's course within a block


@step(produces="waves.flux", over="unit", version=1)
def flux(
    survey: Annotated[xr.Dataset, Product("waves.survey")],
    *,
    spin: Literal["removed", "kept"] = "removed",
    harmonics: int = 3,
) -> xr.Dataset:
    """Flux density of the electric survey as at 1 au from Jupiter: ``S = psd / Z0 (r / 1 au)^2``.

    True for waves that come from Jupiter freely, along a direction across the antenna; which the modulation by the spin
    tells in part. Louis et al. 2021 remove that modulation in the Fourier domain, at twice the spin and its harmonics;
    here harmonics of twice the spin phase are fitted to the logarithm, block by block, which gaps do not disturb.

    Parameters
    ----------
    survey : with spin phase and distance.
    harmonics : of twice the spin, 1 to 7.
    """
    psd = survey["psd_e"].values.astype(np.float64)
    good = np.isfinite(psd) & (psd > 0) & ((survey["quality_e"].values & np.uint32(Quality.SUSPECT)) == 0)
    factor, spread, done = np.ones(psd.shape), np.zeros(psd.shape), np.zeros(psd.shape, bool)
    if spin == "removed":
        phase = np.radians(survey["spin_phase"].values.astype(np.float64))
        factor, spread, done = modulation(survey["et"].values, phase, psd, good, min(max(harmonics, 1), 7))
    scale = (survey["radial_distance"].values.astype(np.float64) / AU)[:, None] ** 2 / IMPEDANCE / factor
    random = np.hypot(survey["psd_e_random"].values, psd * spread)
    by = ("et", "channel_e")
    lost = np.isnan(scale) & np.isfinite(psd)
    quality = survey["quality_e"].values | flag(~done & np.isfinite(psd), SPIN_KEPT.mask)
    quality |= flag(lost, Quality.GEOMETRY_MISSING)
    coords = {name: value for name, value in channels().items() if value[0] == "channel_e"}
    return xr.Dataset(
        {
            "flux": (by, (psd * scale).astype(np.float32)),
            "flux_random": (by, (random * scale).astype(np.float32)),
            "flux_systematic": (by, (survey["psd_e_systematic"].values * scale).astype(np.float32)),
            "quality_e": (by, quality.astype(np.uint32)),
        },
        coords={"et": survey["et"].values, **coords},
    )


def modulation(et: Floats, phase: Floats, psd: Floats, good: Mask, harmonics: int) -> tuple[Floats, Floats, Mask]:
    """Factor by which the spin modulates each density, its relative uncertainty, and where it could be fitted."""
    factor, spread, done = np.ones(psd.shape), np.zeros(psd.shape), np.zeros(psd.shape, bool)
    block = np.floor(et / BLOCK)
    for number in np.unique(block):
        rows = np.flatnonzero((block == number) & np.isfinite(phase))
        if rows.size < FEWEST:
            continue
        course = np.polynomial.legendre.legvander(2.0 * (et[rows] / BLOCK - number) - 1.0, DEGREE)
        turns = 2.0 * phase[rows, None] * np.arange(1, harmonics + 1)
        waves = np.concatenate([np.cos(turns), np.sin(turns)], axis=1)
        for channel in range(psd.shape[1]):
            use = good[rows, channel]
            if np.count_nonzero(use) < FEWEST:
                continue
            design = np.concatenate([course[use], waves[use]], axis=1)
            wanted = np.log(psd[rows[use], channel])
            found, *_ = np.linalg.lstsq(design, wanted, rcond=None)
            left = wanted - design @ found
            number_of = design.shape[1]
            factor[rows, channel] = np.exp(waves @ found[DEGREE + 1 :])
            error = np.sqrt((left**2).sum() / max(use.sum() - number_of, 1) * 2 * harmonics / use.sum())
            spread[rows, channel] = error
            done[rows, channel] = True
    return factor, spread, done
