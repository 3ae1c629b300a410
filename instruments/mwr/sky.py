"""What of the antenna temperature is Jupiter's, the galaxy's, the radiation belts' (README.md, steps 7 and 8)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import numpy as np
import xarray as xr

from calibration.tables import Table
from instruments.mwr import beam as beams
from instruments.mwr.beam import BELT_KNOT, KNOT, Knots, Met, Rays, weighted
from instruments.mwr.layout import CHANNELS, RECEIVERS
from instruments.mwr.radiometer import Array
from instruments.mwr.schemas import BELTS_BRIGHT, UNRESOLVED
from pipeline.clock import Span
from pipeline.dataset.quality import Quality, flag
from pipeline.geometry import Geometry
from pipeline.geometry.surface import surface_points
from pipeline.instrument import Product, step
from pipeline.jupiter.shape import EQUATORIAL_RADIUS

# Rays evaluated at a time: knots times rays of each.
BLOCK = 300_000
GALAXY_FREQUENCY = 0.408
# The belts are thin where Juno crosses them: with rays no closer than for the rest of the sky they are off by up to 5 K
# from one of their knots to the next (PJ62, 0.6 GHz), ten times the noise; with these by 0.5 K.
BELT_RAYS = 2
# Rays are some degrees apart: of a disc of less than this radius, in degrees (beyond 2 radii), and of the belts about
# it they miss more than the noise.
SMALLEST_DISC = 30.0
# Part of a beam that rays put on the wrong side of the limb, root mean square along a spin (tests: finer rays).
QUADRATURE = 0.005
MODELS = ("background", "synchrotron", "planet_model")


@step(produces="mwr.components", over="segment", version=2)
def components(
    temperature: Annotated[xr.Dataset, Product("mwr.antenna_temperature")],
    geometry: Geometry,
    span: Span,
    receiver: Table,
    beam: Table,
    sky: Table,
    limb: Table,
) -> xr.Dataset:
    """Antenna temperature of the planet alone: less the galaxy with the cosmic background, and the radiation belts.

    All of it is in the beam as a whole, sidelobes included. Models that stand in for measured beams, maps and a fitted
    belt have uncertainties of their own, which go into the systematic one here; at C1 and C2 they may exceed the
    receivers'.

    Parameters
    ----------
    temperature : ta(et, channel) with its uncertainties.
    """
    temperature = temperature.isel(et=span.contains(temperature["et"].values))
    et = temperature["et"].values
    values = {name: np.full((len(et), RECEIVERS), np.nan) for name in (*MODELS, "galaxy", "planet_fraction")}
    spread = np.full((len(et), RECEIVERS), np.nan)
    pointing = {name: np.full((len(et), RECEIVERS), np.nan) for name in ("emission", "longitude", "latitude")}
    knots, coarse = Knots.around(et, KNOT), Knots.around(et, BELT_KNOT)
    sampled, close = beams.rays(beam), beams.rays(beam, BELT_RAYS)
    for frame, receivers in beams.boresights(geometry):
        found = in_beam(geometry, frame, receivers, knots.et, sampled, receiver, sky, limb)
        for name, value in found.items():
            target = spread if name == "spread" else values[name]
            # A cubic may dip below nothing.
            target[:, receivers] = np.maximum(knots.mean(value), 0.0)
        of_belts = belts_in_beam(geometry, frame, receivers, coarse.et, close, receiver, sky)
        values["synchrotron"][:, receivers] = np.maximum(coarse.mean(of_belts), 0.0)
        axis = np.broadcast_to([0.0, 0.0, 1.0], (len(et), 3))
        seen = surface_points(geometry, et, axis, frame=frame)
        for name, value in (
            ("emission", seen.emission), ("longitude", seen.longitude_east), ("latitude", seen.latitude_planetocentric)
        ):  # fmt: skip
            pointing[name][:, receivers] = value[:, None]
    return _finished(temperature, geometry, values, spread, pointing, sky)


def in_beam(
    geometry: Geometry,
    frame: str,
    receivers: list[int],
    et: Array,
    sampled: Rays,
    receiver: Table,
    sky: Table,
    limb: Table,
) -> dict[str, Array]:
    """Models of the sky through the beams of receivers whose antennas look one way, K (n, receiver).

    ``spread`` is the uncertainty of the planet's a priori brightness in the beam, that of the beam included.
    """
    names = ("background", "planet_model", "galaxy", "planet_fraction", "spread")
    out = {name: np.empty((len(et), len(receivers))) for name in names}
    frequency = receiver["frequency"].value
    scale = (frequency / GALAXY_FREQUENCY) ** float(sky["galaxy_index"].value) * float(sky["galaxy_scale"].value)
    cosmic = beams.cosmic(sky, frequency)
    for part, _, _, met in blocks(geometry, frame, et, sampled):
        open_sky = ~met.hit
        at_408 = np.where(
            open_sky, beams.galaxy(beams.looks(geometry, frame, "J2000", et[part], sampled.directions), sky), 0.0
        )
        u, v = (np.where(met.hit, term, 0.0) for term in beams.limb_terms(met.mu))
        for k, n in enumerate(receivers):
            weights = sampled.weights[n]
            fraction = weighted(met.hit.astype(np.float64), weights)
            out["planet_fraction"][part, k] = fraction
            out["galaxy"][part, k] = scale[n] * weighted(at_408, weights)
            out["background"][part, k] = cosmic[n] * (1.0 - fraction) + out["galaxy"][part, k]
            more = np.where(met.hit, beams.departure(limb, n, np.where(met.hit, met.mu, 1.0)), 0.0)
            terms = np.stack([fraction, weighted(u, weights), weighted(v, weights)], axis=1)
            c0, c1, c2 = limb["mean"].value[n]
            seen = np.where(met.hit, c0 + c1 * u + c2 * v + more, 0.0)
            out["planet_model"][part, k] = weighted(seen, weights)
            variance = ((terms * limb["mean"].sigma[n]) ** 2).sum(axis=1)
            variance += sum(weighted(seen, moved[n] - weights) ** 2 for moved in sampled.moved)
            out["spread"][part, k] = np.sqrt(variance)
    return out


def belts_in_beam(
    geometry: Geometry, frame: str, receivers: list[int], et: Array, sampled: Rays, receiver: Table, sky: Table
) -> Array:
    """Radiation belts through the beams of receivers whose antennas look one way, K (n, receiver)."""
    out = np.empty((len(et), len(receivers)))
    spectrum = receiver["frequency"].value ** float(sky["belts_index"].value)
    for part, position, look, met in blocks(geometry, frame, et, sampled):
        at_1_ghz = beams.belts(position, look, met.distance, sky)
        for k, n in enumerate(receivers):
            out[part, k] = spectrum[n] * weighted(at_1_ghz, sampled.weights[n])
    return out


def blocks(geometry: Geometry, frame: str, et: Array, sampled: Rays) -> Iterator[tuple[slice, Array, Array, Met]]:
    """Parts of the times with Juno's position, directions of the rays and what they meet, in System III."""
    rows = BLOCK // len(sampled.directions)
    for start in range(0, len(et), rows):
        part = slice(start, min(start + rows, len(et)))
        position = geometry.position("IAU_JUPITER", et[part])
        look = beams.looks(geometry, frame, "IAU_JUPITER", et[part], sampled.directions)
        yield part, position, look, beams.meet(position, look)


def _finished(
    temperature: xr.Dataset,
    geometry: Geometry,
    values: dict[str, Array],
    spread: Array,
    pointing: dict[str, Array],
    sky: Table,
) -> xr.Dataset:
    et = temperature["et"].values
    galaxy_error = np.hypot(float(sky["galaxy_scale"].sigma), np.log(2.0) * float(sky["galaxy_index"].sigma))
    open_sky = np.maximum(1.0 - values["planet_fraction"], QUADRATURE)
    misplaced = values["background"] / open_sky * QUADRATURE
    errors = {
        "background": np.sqrt(
            (values["galaxy"] * galaxy_error) ** 2 + float(sky["background"].sigma) ** 2 + misplaced**2
        ),
        "synchrotron": values["synchrotron"] * float(sky["belts_scale"].sigma) / float(sky["belts_scale"].value),
        "planet_model": spread,
    }
    ta = temperature["ta"].values.astype(np.float64)
    own = temperature["ta_systematic"].values.astype(np.float64)
    planet = ta - values["background"] - values["synchrotron"]
    systematic = np.sqrt(own**2 + errors["background"] ** 2 + errors["synchrotron"] ** 2)
    r = np.sqrt((geometry.position("IAU_JUPITER", et) ** 2).sum(axis=1))
    with np.errstate(invalid="ignore"):
        small = np.degrees(np.arcsin(np.minimum(EQUATORIAL_RADIUS / r, 1.0))) < SMALLEST_DISC
        bright = errors["synchrotron"] > own
    unknown = np.isnan(values["background"])
    model_bits = flag(np.broadcast_to(small[:, None], unknown.shape), UNRESOLVED.mask)
    model_bits |= flag(unknown, Quality.GEOMETRY_MISSING)
    bits = temperature["quality"].values | model_bits | flag(bright, BELTS_BRIGHT.mask)
    each = ("et", "channel")
    return xr.Dataset(
        {
            "ta_planet": (each, planet),
            "ta_planet_random": (each, temperature["ta_random"].values),
            "ta_planet_systematic": (each, systematic),
            "ta_planet_structured": (each, temperature["ta_structured"].values),
            **{name: (each, values[name]) for name in (*MODELS, "planet_fraction")},
            **{f"{name}_systematic": (each, error) for name, error in errors.items()},
            **{name: (each, value) for name, value in pointing.items()},
            "quality": (each, bits),
            "model_quality": (each, model_bits),
        },
        coords={"et": et, "channel": list(CHANNELS)},
    )
