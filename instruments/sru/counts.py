"""Hits of penetrating particles: clusters counted, charge summed, rates (README.md, steps 8 and 9)."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from calibration.tables import Table
from instruments.sru.camera import SIZE, row_exposure_sigma, shot_of
from instruments.sru.detector import HitModel, Trials, clusters, completeness, of_table
from instruments.sru.schemas import CORE, DAY, HOT, OVERLAP, PLANET, SHALLOW, SPARSE, STAR
from pipeline.clock import Span
from pipeline.dataset.quality import Quality, flag
from pipeline.instrument import Product, Raw, step

Floats = NDArray[np.float64]

# Bits of pixels in which hits are not looked for, and over which charge is not summed.
NOT_COUNTED = int(Quality.MISSING | Quality.SATURATED) | HOT.mask | STAR.mask | DAY.mask
NOT_SUMMED = NOT_COUNTED | PLANET.mask
# B - V of the reddest stars: of all of one Hp these are the brightest in the band.
REDDEST = 1.6
# Clusters gained per hit gained below which a count says nothing.
FLAT = 0.4
# Sizes of the clock count and the UTC of the archive's table may differ by so many seconds.
AGREE = 0.5


@step(produces="sru.hits", over="unit", version=1)
def hits(
    image: Annotated[xr.Dataset, Product("sru.image")],
    camera: Table,
    readout: Table,
    hits: Table,
    stars: Table,
    photometry: Table,
    *,
    density_limit: float = 0.01,
) -> xr.Dataset:
    """Rates of hits and of the charge they leave in one image (step 8).

    ``cluster_rate = clusters / completeness / (area x exposure)``, ``noise_rate = sum of DN / (area x exposure)``
    """
    quality, t = image["quality"].values, image["row_exposure"].values
    gain, threshold = float(image["gain"]), float(image["threshold"])
    dn = image["rate"].values.astype(float) * (t / gain)[:, None]
    look, add = ((quality & np.uint32(m)) == 0 for m in (NOT_COUNTED, NOT_SUMMED))
    cell = float(camera["pitch"].value) ** 2
    area, sum_area = (cell * float((use * t[:, None]).sum()) for use in (look, add))
    core = ((quality & np.uint32(CORE.mask)) != 0) & look
    found = clusters(core)[1]
    last, first = int(readout["rows"].value), int(readout["first_column"].value)
    whole = np.where(np.arange(SIZE) < last, t, 0.0)
    share = area / (cell * whole.sum() * (SIZE - first))
    noise, model = image["noise"].values, HitModel.of(hits, gain)
    trials = Trials(noise, whole, (first, SIZE), threshold, _seed(image))
    known = completeness(found / max(share, 1e-3), trials, hits, gain)
    number = found / known.value
    density = number / max(int(look.sum()), 1)
    injecting = number / max(share, 1e-3)
    pixels = float((add * noise[:, None] ** 2).sum()) + (add.sum() * float(image["offset_error"])) ** 2
    deposited, deposited_sigma, charge = _deposited(float(dn[add].sum()), pixels, injecting, trials, model)
    charge_table = of_table(lambda m: trials.charge(injecting, m, 1)[0], hits, gain)
    exposure = float((cell * look * row_exposure_sigma(shot_of(image), readout)[:, None]).sum() / max(area, 1e-12))
    limit, deep = _depth(threshold * float(np.median(noise)) * gain, float(t.max()), stars, photometry)
    crowded = density > density_limit or known.slope < FLAT
    counted = Quality.MISSING if area <= 0 else (OVERLAP.mask if crowded else 0) | (SHALLOW.mask if limit > deep else 0)
    number_sigma = np.hypot(np.sqrt(max(number, 1.0) / known.value), number * known.error / known.value)
    return xr.Dataset(
        {
            **_rate("cluster", number, float(number_sigma), area),
            "cluster_rate_systematic": float(np.hypot(known.table / known.value, exposure)),
            **_rate("noise", deposited, deposited_sigma, sum_area),
            "noise_rate_systematic": float(np.hypot(charge_table / charge, exposure)),
            "cluster_quality": np.uint32(counted),
            "noise_quality": np.uint32(0 if sum_area > 0 else Quality.MISSING),
            "middle_et": float(image["start_et"]) + float(image["exposure"]) / 2.0,
            **{name: image[name].values for name in ("unit", "start_et", "exposure", "tdi")},
            "clusters": np.int32(found),
            "deposited": deposited,
            "cluster_area": area,
            "noise_area": sum_area,
            "completeness": known.value,
            "completeness_slope": known.slope,
            "charge_share": charge,
            "density": density,
            "limiting_magnitude": limit,
        }
    )


def _seed(image: xr.Dataset) -> tuple[int, int, int]:
    return 2017, int(image["unit"]), int(np.round(float(image["start_et"]) * 65536.0))


def _deposited(
    summed: float, pixels: float, injecting: float, trials: Trials, model: HitModel
) -> tuple[float, float, float]:
    """Charge that hits left, DN, its sigma, and the share of it that is summed.

    Parameters
    ----------
    summed, pixels : DN summed, and their variance by noise and offset of the pixels.
    injecting : hits in a whole frame.
    """
    share, error = trials.charge(injecting, model)
    deposited = summed / share
    shot = max(deposited, 0.0) * model.effective_charge
    return deposited, float(np.sqrt(shot + pixels + (deposited * error / share) ** 2)), share


def _depth(peak: float, seconds: float, stars: Table, photometry: Table) -> tuple[float, float]:
    """Magnitude of the faintest star taken for a hit, and down to which all stars are known.

    Parameters
    ----------
    peak : electrons in the brightest pixel that are taken for a hit.
    """
    faintest = peak * 2.0 * np.pi * float(photometry["psf"].value) ** 2
    limit = -2.5 * np.log10(faintest / (float(photometry["zero_point"].value) * seconds))
    return float(limit), float(stars["magnitude"].value.max()) + float(photometry["colour_term"].value) * REDDEST


def _rate(name: str, amount: float, sigma: float, area: float) -> dict[str, float]:
    known = area > 0.0
    return {
        f"{name}_rate": amount / area if known else np.nan,
        f"{name}_rate_random": sigma / area if known else np.nan,
    }


@step(produces="sru.count_rate", over="unit", version=1)
def count_rate_from_images(hits: Annotated[dict[str, xr.Dataset], Product("sru.hits")]) -> xr.Dataset:
    """Rates along the pass, one of the two for each image: of clusters unless they overlap, else of charge (step 9).

    Images of which neither is known are left out and counted.
    """
    single = [h for h in hits.values() if not (int(h["noise_quality"]) | int(h["cluster_quality"])) & Quality.MISSING]
    ordered = sorted(single, key=lambda h: (float(h["middle_et"]), int(h["unit"])))
    columns = {str(n): np.array([h[n].values[()] for h in ordered]) for n in next(iter(hits.values())).data_vars}
    overlapping = (columns["cluster_quality"] & np.uint32(OVERLAP.mask)) != 0
    dataset = one_of_two(columns, overlapping)
    return (
        dataset.assign(
            unit=(("image",), columns["unit"].astype(np.int8)),
            clusters=(("image",), columns["clusters"].astype(np.int32)),
            detected_rate=(("image",), columns["clusters"] / columns["cluster_area"]),
            completeness=(("image",), columns["completeness"]),
        )
        .assign_coords(et=(("image",), columns["middle_et"]))
        .assign_attrs(images_without_rate=len(hits) - len(single))
    )


@step(produces="sru.count_rate", over="unit", version=1)
def count_rate_from_archive(
    raw: Annotated[xr.Dataset, Raw("sru.count_table")], span: Span, archive: Table
) -> xr.Dataset:
    """The archive's own table: rates as stated, their uncertainty from table ``archive`` (it states none)."""
    del span
    n = raw.sizes["image"]
    values = {name: raw[name].values.astype(float) for name in ("cluster_rate", "noise_rate")}
    columns = {
        **values,
        **{f"{name}_random": np.zeros(n) for name in values},
        **{f"{name}_systematic": np.full(n, float(archive[name].sigma)) for name in values},
        **{f"{kind}_quality": np.zeros(n, np.uint32) for kind in ("cluster", "noise")},
    }
    dataset = one_of_two(columns, np.isnan(values["cluster_rate"]))
    given = np.isfinite(values["cluster_rate"]).astype(int) + np.isfinite(values["noise_rate"])
    odd = (given != 1) | (np.abs(raw["clock_off"].values) > AGREE)
    for kind in ("cluster", "noise"):
        bits = flag(odd, Quality.SUSPECT)
        bits |= flag(np.isnan(dataset[f"{kind}_rate"].values), Quality.MISSING)
        dataset[f"{kind}_quality"] = dataset[f"{kind}_quality"] | xr.DataArray(bits, dims="image")
    return dataset.assign(unit=(("image",), raw["unit"].values)).assign_coords(et=(("image",), raw["et"].values))


def one_of_two(columns: dict[str, NDArray[np.generic]], overlapping: NDArray[np.bool_]) -> xr.Dataset:
    """Both rates of every image, the one that is not valid missing and saying why."""
    out: dict[str, tuple[tuple[str], NDArray[np.generic]]] = {}
    for kind, void, why in (("cluster", overlapping, OVERLAP), ("noise", ~overlapping, SPARSE)):
        for name in (f"{kind}_rate", f"{kind}_rate_random", f"{kind}_rate_systematic"):
            out[name] = ("image",), np.where(void, np.nan, columns[name])
        bits = flag(void, Quality.MISSING | why.mask)
        out[f"{kind}_quality"] = ("image",), columns[f"{kind}_quality"].astype(np.uint32) | bits
    return xr.Dataset(out)
