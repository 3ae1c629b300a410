"""From antenna temperatures of a pass: the anchor on open sky, and brightness by latitude and emission angle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from calibration.tables import Table
from instruments.mwr import beam as beams
from instruments.mwr.layout import CHANNELS, RECEIVERS
from instruments.mwr.radiometer import Array
from instruments.mwr.schemas import NO_INFORMATION, UNRESOLVED
from instruments.mwr.sky import blocks
from pipeline.dataset.quality import Quality, flag
from pipeline.geometry import Geometry
from pipeline.instrument import Product, step
from pipeline.jupiter.shape import EQUATORIAL_RADIUS

# Open sky: less of the beam than this is on Jupiter.
OPEN_SKY = 0.02
# Nodes of latitude, degrees; brightness is linear between them.
NODES = np.arange(-90.0, 91.0, 5.0)
TERMS = 3
# Angles at which brightness is given: the law holds to 53 degrees (Oyafuso et al. 2020).
ANGLES = np.array([0.0, 15.0, 30.0, 45.0, 53.0])
# Records are used whose boresight meets Jupiter at less than this angle, nearer to its centre than so many radii (the
# footprint of a beam of 12 degrees is then some 10 degrees of latitude).
HIGHEST_EMISSION, FARTHEST = 48.0, 2.0
# The a priori spread is widened so that data decide wherever there are any.
PRIOR_WIDTH = 3.0
# Part of a coefficient that comes from the data, not from the constraint (averaging kernel); c2 may have less.
NARROWED = 0.8
# Errors of gain and reference are common to records within this many seconds.
COMMON = 240.0
BELONG = np.uint32(Quality.MISSING | Quality.SATURATED | Quality.GEOMETRY_MISSING | UNRESOLVED.mask)


@step(produces="mwr.anchor", over="unit", version=1)
def anchor(
    components: Annotated[xr.Dataset, Product("mwr.components")],
    temperature: Annotated[xr.Dataset, Product("mwr.antenna_temperature")],
) -> xr.Dataset:
    """Antenna temperature of the open sky against its model: what losses, load and diodes together are off.

    Records are used where the beam is off Jupiter and the uncertainty of the modelled belts is below that of the
    measurement. With the load as the other point, ``(TOFF - sky) / (TOFF - measured)`` is the factor on ``TA - TOFF``
    that makes them agree.

    Parameters
    ----------
    components : models of the sky in the beam.
    temperature : ta(et, channel), toff(et, channel).
    """
    own = components["ta_planet_systematic"].values
    belts = components["synchrotron_systematic"].values
    bits = components["quality"].values
    names = ("sky", "residual", "residual_random", "residual_systematic", "slope", "slope_random", "slope_systematic")
    out = {name: np.full(RECEIVERS, np.nan) for name in names}
    records = np.zeros(RECEIVERS, np.int32)
    ta, toff = temperature["ta"].values.astype(float), temperature["toff"].values.astype(float)
    parts = ("background", "synchrotron", "planet_model")
    model = np.sum([components[name].values.astype(float) for name in parts], axis=0)
    error = np.sqrt(np.sum([components[f"{name}_systematic"].values.astype(float) ** 2 for name in parts], axis=0))
    with np.errstate(invalid="ignore"):
        good = (components["planet_fraction"].values < OPEN_SKY) & (belts < own / np.sqrt(2.0)) & ((bits & BELONG) == 0)
    good &= np.isfinite(ta) & np.isfinite(model)
    for n in range(RECEIVERS):
        use = good[:, n]
        records[n] = use.sum()
        if not use.any():
            continue
        random, structured = (temperature[f"ta_{k}"].values[use, n].astype(float) for k in ("random", "structured"))
        sky, residual = model[use, n].mean(), (ta[use, n] - model[use, n]).mean()
        # The structured part hardly averages out.
        noise = np.hypot(np.sqrt((random**2).sum()) / use.sum(), structured.mean())
        load = toff[use, n].mean()
        slope = (load - sky) / (load - sky - residual)
        out["sky"][n], out["residual"][n], out["slope"][n] = sky, residual, slope
        per_kelvin = abs(slope / (load - sky - residual))
        for part, value in (("random", noise), ("systematic", error[use, n].mean())):
            out[f"residual_{part}"][n], out[f"slope_{part}"][n] = value, per_kelvin * value
    per = ("channel",)
    return xr.Dataset(
        {
            **{name: (per, value) for name, value in out.items()},
            "records": (per, records),
            "quality": (per, flag(records == 0, Quality.MISSING)),
        },
        coords={"channel": list(CHANNELS)},
    )


@step(produces="mwr.brightness", over="unit", version=1)
def brightness(
    components: Annotated[xr.Dataset, Product("mwr.components")],
    temperature: Annotated[xr.Dataset, Product("mwr.antenna_temperature")],
    anchored: Annotated[xr.Dataset, Product("mwr.anchor")],
    geometry: Geometry,
    beam: Table,
    limb: Table,
    *,
    anchor: Literal["none", "sky"] = "none",
) -> xr.Dataset:
    """Nadir brightness and limb darkening by latitude: least squares on bases convolved with the beam.

    ``T_B(latitude, mu) = sum_j h_j(latitude) (c0_j + c1_j u(mu) + c2_j v(mu)) + departure(mu)`` with hats h_j between
    nodes 5 degrees apart is integrated over the whole beam, averaged over the record, and fitted to all records of
    small emission angle at once, with a wide a priori constraint that decides nothing where there are data.

    Parameters
    ----------
    components : ta_planet(et, channel), emission(et, channel).
    temperature : toff(et, channel).
    anchored : factor on TA - TOFF by channel.
    anchor : ``sky`` applies that factor; by default the diodes alone give the scale.
    """
    et = components["et"].values
    r = np.sqrt((geometry.position("IAU_JUPITER", et) ** 2).sum(axis=1))
    planet = components["ta_planet"].values.astype(np.float64)
    whole = components["ta_planet_systematic"].values.astype(np.float64)
    scale = temperature["ta_scale"].values.astype(np.float64)
    rest = np.sqrt(np.maximum(whole**2 - scale**2, 0.0))
    if anchor == "sky":
        ta, toff = (temperature[name].values.astype(np.float64) for name in ("ta", "toff"))
        planet = planet + (anchored["slope"].values - 1.0) * (ta - toff)
        of_slope = np.hypot(anchored["slope_random"].values, anchored["slope_systematic"].values)
        models = [components[f"{name}_systematic"].values.astype(float) for name in ("background", "synchrotron")]
        scale, rest = (ta - toff) * of_slope, np.sqrt(np.sum(np.square(models), axis=0))
    with np.errstate(invalid="ignore"):
        good = (components["emission"].values < HIGHEST_EMISSION) & (r < FARTHEST * EQUATORIAL_RADIUS)[:, None]
    good &= ((components["quality"].values & BELONG) == 0) & np.isfinite(planet) & np.isfinite(scale + rest)
    fits: list[Fit | None] = [None] * RECEIVERS
    sampled = beams.rays(beam)
    for frame, receivers in beams.boresights(geometry):
        for n in receivers:
            use = good[:, n]
            if not use.any():
                continue
            design = convolved(geometry, frame, n, et[use], sampled, limb)
            sigma = {k: components[f"ta_planet_{k}"].values[use, n].astype(float) for k in ("random", "structured")}
            sigma |= {"scale": scale[use, n], "rest": rest[use, n]}
            fits[n] = fit(design, planet[use, n], et[use], sigma, n, limb)
    return _product(fits)


@dataclass(frozen=True)
class Design:
    """Rows of the fit: bases (m, node x term) and what is known before (m); the same of the beams of `Rays.moved`."""

    rows: Array
    known: Array
    moved: list[tuple[Array, Array]]


def convolved(geometry: Geometry, frame: str, n: int, et: Array, sampled: beams.Rays, limb: Table) -> Design:
    """Bases of the brightness in the beam of receiver n, averaged over the records."""
    knots = beams.Knots.around(et, beams.KNOT)
    size = len(NODES) * TERMS
    weights = [sampled.weights[n], *(moved[n] for moved in sampled.moved)]
    rows = [np.empty((len(knots.et), size)) for _ in weights]
    known = [np.empty(len(knots.et)) for _ in weights]
    for part, _, _, met in blocks(geometry, frame, knots.et, sampled):
        hit = met.hit
        record = np.broadcast_to(np.arange(len(hit))[:, None], hit.shape)[hit]
        mu = met.mu[hit]
        place = (met.latitude[hit] - NODES[0]) / (NODES[1] - NODES[0])
        below = np.clip(place.astype(np.intp), 0, len(NODES) - 2)
        share = place - below
        more = beams.departure(limb, n, mu)
        terms = (np.ones(mu.shape), *beams.limb_terms(mu))
        for which, weight in enumerate(weights):
            w = np.broadcast_to(weight, hit.shape)[hit]
            block = np.zeros((len(hit), len(NODES), TERMS))
            flat = block.reshape(-1, TERMS)
            for k, term in enumerate(terms):
                for node, part_of in ((below, 1.0 - share), (below + 1, share)):
                    at = record * len(NODES) + node
                    flat[:, k] += np.bincount(at, w * term * part_of, minlength=len(flat))
            rows[which][part] = block.reshape(len(hit), size)
            known[which][part] = np.bincount(record, w * more, minlength=len(hit))
    means = [(knots.mean(a), knots.mean(b)) for a, b in zip(rows, known, strict=True)]
    return Design(*means[0], means[1:])


@dataclass(frozen=True)
class Fit:
    """Coefficients (node x term), their random and systematic covariance, diagonal of the averaging kernel, quality."""

    c: Array
    random: Array
    systematic: Array
    kernel: Array
    records: int
    chi_square: float


def fit(design: Design, planet: Array, et: Array, sigma: dict[str, Array], n: int, limb: Table) -> Fit:
    """Least squares with a priori constraint (Rodgers 2000, Inverse Methods for Atmospheric Sounding, eq. 4.5).

    What is common to many records goes through the fit as it is: structured errors as one per `COMMON` seconds,
    systematic ones one each: what goes with TA - TOFF, the rest of receivers and sky, the departure from the law, the
    width of the beam, its sidelobes.

    Parameters
    ----------
    planet : antenna temperature of the planet (m), K, at times `et`, with its `sigma` by component.
    """
    random = sigma["random"]
    prior = np.tile(limb["mean"].value[n], len(NODES))
    inverse = np.tile((PRIOR_WIDTH * limb["mean"].sigma[n]) ** -2.0, len(NODES))
    left = planet - design.known - design.rows @ prior
    normal = (design.rows / random[:, None] ** 2).T @ design.rows
    covariance = np.linalg.inv(normal + np.diag(inverse))
    solve = covariance @ (design.rows / random[:, None] ** 2).T
    change = solve @ left
    kernel = covariance @ normal
    residual = left - design.rows @ change
    degrees = max(1.0, len(left) - float(np.trace(kernel)))
    chi_square = float(((residual / random) ** 2).sum()) / degrees
    # Rays and nodes do not represent the scene exactly: what the residuals show of that is part of the noise.
    noise = max(1.0, chi_square) * covariance
    epoch = np.unique(np.floor(et / COMMON), return_inverse=True)[1]
    slow = np.stack([solve @ np.where(epoch == k, sigma["structured"], 0.0) for k in range(epoch.max() + 1)])
    c = prior + change
    departure = limb["departure_scale"]
    modes = [
        solve @ sigma["scale"],
        solve @ sigma["rest"],
        solve @ (design.known * departure.sigma[n] / departure.value[n]),
        *(solve @ ((rows - design.rows) @ c + known - design.known) for rows, known in design.moved),
    ]
    common = np.stack(modes)
    return Fit(c, noise + slow.T @ slow, common.T @ common, np.diag(kernel), len(left), chi_square)


def _product(fits: list[Fit | None]) -> xr.Dataset:
    nodes, angles = len(NODES), len(ANGLES)
    c, random, systematic = (np.full((RECEIVERS, nodes, TERMS), np.nan) for _ in range(3))
    covariance = np.full((RECEIVERS, nodes, TERMS, TERMS), np.nan)
    tb, tb_random, tb_systematic = (np.full((RECEIVERS, nodes, angles), np.nan) for _ in range(3))
    resolution, chi_square = np.zeros((RECEIVERS, nodes)), np.full(RECEIVERS, np.nan)
    records, bits = np.zeros(RECEIVERS, np.int32), np.full((RECEIVERS, nodes), np.uint32(Quality.MISSING))
    mu = np.cos(np.radians(ANGLES))
    basis = np.stack([np.ones(angles), *beams.limb_terms(mu)], axis=1)
    for n, found in enumerate(fits):
        if found is None:
            continue
        own = (found.random.reshape(nodes, TERMS, nodes, TERMS), found.systematic.reshape(nodes, TERMS, nodes, TERMS))
        noise, common = (np.stack([part[j, :, j] for j in range(nodes)]) for part in own)
        resolution[n] = found.kernel.reshape(nodes, TERMS)[:, 0]
        known = _determined(found)
        bits[n] = flag(~known, Quality.MISSING | NO_INFORMATION.mask)
        c[n, known] = found.c.reshape(nodes, TERMS)[known]
        covariance[n, known] = noise[known]
        for target, part in ((random, noise), (systematic, common)):
            target[n, known] = np.sqrt(np.diagonal(part, axis1=1, axis2=2))[known]
        tb[n] = c[n] @ basis.T
        for target, part in ((tb_random, noise), (tb_systematic, common)):
            target[n, known] = np.sqrt(np.einsum("ai,jik,ak->ja", basis, part, basis))[known]
        records[n], chi_square[n] = found.records, found.chi_square
    per = ("channel", "latitude")
    return xr.Dataset(
        {
            "c": ((*per, "coefficient"), c),
            "c_random": ((*per, "coefficient"), random),
            "c_systematic": ((*per, "coefficient"), systematic),
            "covariance": ((*per, "coefficient", "coefficient_other"), covariance),
            "tb": ((*per, "angle"), tb),
            "tb_random": ((*per, "angle"), tb_random),
            "tb_systematic": ((*per, "angle"), tb_systematic),
            "resolution": (per, resolution),
            "records": (("channel",), records),
            "chi_square": (("channel",), chi_square),
            "quality": (per, bits),
        },
        coords={"channel": list(CHANNELS), "latitude": NODES, "angle": ANGLES},
    )


def _determined(found: Fit) -> NDArray[np.bool_]:
    """Nodes whose c0 and c1 the data, not the constraint, decide: averaging kernel above `NARROWED`."""
    return np.asarray((found.kernel.reshape(len(NODES), TERMS)[:, :2] > NARROWED).all(axis=1))
