"""Residuals: received less computed frequency, and what troposphere, spin, antenna and plasma explain of it.

The order matters: the bias by the spin is dispersive and differs between links, so it is removed from each before they
are combined; left in, the combination would keep 0.24 mm/s that a fit takes for a velocity.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from calibration.tables import Table
from instruments.gs.edit import outliers
from instruments.gs.layout import LIGHT, LINKS, LOWEST, MM_PER_S, complex_of
from instruments.gs.lighttime import Bodies
from instruments.gs.link import Link, World, ramps_of
from instruments.gs.plasma import combine, sensitivity
from instruments.gs.schemas import LOW_ELEVATION, MEDIA_SEASONAL, NO_RAMP, PLASMA_LEFT, PLASMA_TWO, STAGES
from pipeline.dataset.quality import CONDITIONS, Quality, flag
from pipeline.earth.orientation import EarthOrientation
from pipeline.earth.times import from_utc
from pipeline.geometry import Geometry
from pipeline.instrument import Product, step
from pipeline.passes import Pass

Floats = NDArray[np.float64]
Flags = NDArray[np.uint32]

# Rotation of the Earth, rad/s: what an error of a station's place changes in rate.
EARTH_RATE = 7.292115e-5
MARGIN = 600.0  # seconds by which clocks reach beyond the data
PER_LINK = (
    "computed", "computed_systematic", "effect_troposphere", "effect_troposphere_structured", "effect_spin",
    "effect_spin_systematic", "effect_antenna", "effect_antenna_systematic", "elevation_up", "wet", "doubtful",
)  # fmt: skip
PER_COUNT = ("light_time", "et_spacecraft", "elevation_down")


@step(produces="gs.residuals", over="unit", version=3)
def residuals(
    tracking: Annotated[xr.Dataset, Product("gs.tracking")],
    uplink: Annotated[xr.Dataset, Product("gs.uplink")],
    media: Annotated[xr.Dataset | None, Product("gs.media")],
    orientation: Annotated[xr.Dataset | None, Product("gs.orientation")],
    geometry: Geometry,
    pass_: Pass,
    stations: Table,
    earth_orientation: Table,
    transponder: Table,
    troposphere: Table,
    mapping: Table,
    antenna: Table,
    spin: Table,
    plasma: Table,
) -> xr.Dataset:
    """Residuals of every link and of their combination.

    Without product gs.media the seasonal troposphere is used and flagged; without gs.orientation the table's (IERS).
    """
    epoch = float(np.floor(pass_.et))
    known = orientation if orientation is not None and orientation["et"].size > 3 else None
    world = World(
        epoch, Bodies.of(geometry, epoch), geometry, orientation_of(known, earth_orientation), media, stations,
        troposphere, mapping, antenna,
    )  # fmt: skip
    out = blank(tracking)
    for k in range(len(LINKS)):
        for station in np.unique(tracking["transmitter"].values[:, k]):
            rows = np.flatnonzero(
                (tracking["transmitter"].values[:, k] == station)
                & np.isfinite(tracking["sky_frequency"].values[:, k])
                & (station > 0)
            )
            if rows.size:
                model_link(out, rows, k, int(station), tracking, uplink, world, transponder, spin)
    return _assembled(out, tracking, media, transponder, troposphere, plasma)


def orientation_of(measured: xr.Dataset | None, table: Table) -> EarthOrientation:
    """Orientation of the Earth from its product, else from the table."""
    names = ("mjd", "x", "y", "ut1_tai", "dx", "dy")
    return EarthOrientation(*(table[n].value if measured is None else measured[n].values for n in names))


def blank(tracking: xr.Dataset) -> dict[str, Floats]:
    """Arrays of what is known of each link and count: nothing."""
    n = tracking.sizes["et"]
    return {name: np.full((n, 3), np.nan) for name in PER_LINK} | {name: np.full(n, np.nan) for name in PER_COUNT}


def model_link(
    out: dict[str, Floats],
    rows: NDArray[np.intp],
    k: int,
    transmitter: int,
    tracking: xr.Dataset,
    uplink: xr.Dataset,
    world: World,
    transponder: Table,
    spin: Table,
) -> None:
    """Compute one link with one transmitter at some counts, into the arrays of all."""
    rows = rows[
        world.bodies.known(from_utc(tracking["utc_day"].values, tracking["utc_second"].values, world.epoch)[rows])
    ]
    if rows.size == 0:
        return
    mine = tracking.isel(et=rows, link=k)
    middle = from_utc(mine["utc_day"].values, mine["utc_second"].values, world.epoch) - mine["delay"].values
    half = mine["count_time"].values / 2
    reach = float(middle[0] - half[0]) - 7200.0 - MARGIN, float(middle[-1] + half[-1]) + MARGIN
    ramps, delay = ramps_of(uplink, transmitter, LINKS[k][1], world.epoch)
    receiver, sender = (world.station(int(n), *reach) for n in (tracking["receiver"].values[0], transmitter))
    ratio = float(transponder["ratio"].value[k])
    link = Link(world, receiver, sender, ratio, ramps, delay, middle - half, middle + half)

    wide = (1.0 + ratio) * float(spin["sign"].value[k])
    shift, mapped = link.troposphere
    moved, moved_error = link.antenna
    place = float(np.max(world.stations["position"].sigma))
    values = {
        "computed": link.computed,
        "computed_systematic": 2.0 * place * EARTH_RATE / LIGHT * link.computed,
        "effect_troposphere": shift,
        "effect_troposphere_structured": np.zeros(rows.size),
        "effect_spin": wide * link.turns(),
        "effect_spin_systematic": np.full(rows.size, abs(wide) * float(spin["rate"].sigma)),
        "effect_antenna": moved,
        "effect_antenna_systematic": moved_error,
        "elevation_up": np.degrees(link.lowest(link.up.elevation)),
        "wet": mapped,
        "doubtful": link.doubtful,
    }
    for name, value in values.items():
        out[name][rows, k] = value
    out["elevation_down"][rows] = np.degrees(link.lowest(link.trip.down.elevation))
    out["et_spacecraft"][rows] = link.et_at_juno
    out["light_time"][rows] = link.first(receiver.clock.station(link.trip.down.t) - (link.sent + delay))


def _assembled(
    out: dict[str, Floats],
    tracking: xr.Dataset,
    media: xr.Dataset | None,
    transponder: Table,
    troposphere: Table,
    plasma: Table,
) -> xr.Dataset:
    """Residuals of the links, their combination, and everything that is said of them."""
    received = tracking["sky_frequency"].values
    low = (out["elevation_up"] < LOWEST) | (out["elevation_down"] < LOWEST)[:, None]
    quality = tracking["quality"].values.astype(np.uint32)
    there = np.isfinite(received)
    placed = np.isfinite(out["et_spacecraft"])[:, None]
    quality |= flag(there & placed & np.isnan(out["computed"]), NO_RAMP.mask) | flag(there & low, LOW_ELEVATION.mask)
    seasonal = _seasonal(media, tracking, out["light_time"])
    quality |= flag(there & seasonal, MEDIA_SEASONAL.mask | Quality.INPUT_MISSING * (media is None))
    quality |= flag(there & np.isnan(out["effect_spin"]), Quality.GEOMETRY_MISSING)
    quality |= flag(there & (out.pop("doubtful") > 0.0), Quality.SUSPECT)

    wet = np.where(seasonal, *(float(troposphere[f"rate_{n}"].value) for n in ("seasonal", "calibrated")))
    media_error = np.abs(out["computed"]) / LIGHT * wet * out.pop("wet")
    out["effect_troposphere_structured"] = media_error
    stages = [received - out["computed"]]
    stages.append(stages[0] - out["effect_troposphere"])
    stages.append(stages[1] - out["effect_spin"] - out["effect_antenna"])
    residual = np.where(low, np.nan, stages[2])
    random = tracking["sky_frequency_random"].values
    quality |= flag(np.isnan(residual), Quality.MISSING) | flag(outliers(residual, random, received), Quality.SUSPECT)
    ab = sensitivity(transponder["ratio"].value, float(transponder["uplinks"].value))
    rate = float(plasma["rate"].value)
    structured = np.hypot(media_error, received * rate * np.sqrt((ab**2).sum(axis=1)))
    systematic = np.sqrt(sum(out[f"{name}_systematic"] ** 2 for name in ("computed", "effect_spin", "effect_antenna")))
    combined = _combined(received, residual, quality, (random, systematic, media_error), stages, ab, rate)

    for name in PER_LINK:
        if name in out and name != "elevation_up":
            out[name] = np.where(np.isnan(residual), np.nan, out[name])
    pair = ("et", "link")
    keep = ("utc_day", "utc_second", "count_time", "receiver", "transmitter", "link_name")
    data: dict[str, object] = {name: tracking[name] for name in keep}
    data |= {name: (pair if value.ndim == 2 else "et", value) for name, value in out.items()}
    data |= {
        "residual": (pair, residual),
        "residual_random": (pair, np.where(np.isnan(residual), np.nan, random)),
        "residual_structured": (pair, np.where(np.isnan(residual), np.nan, structured)),
        "residual_systematic": (pair, np.where(np.isnan(residual), np.nan, systematic)),
        "quality": (pair, quality),
    }
    return xr.Dataset(data | combined, coords={"et": tracking["et"]})


def _combined(
    received: Floats,
    residual: Floats,
    quality: Flags,
    errors: tuple[Floats, Floats, Floats],
    stages: list[Floats],
    ab: Floats,
    rate: float,
) -> dict[str, object]:
    """Range rate by the combination of the links, its errors, what the corrections did to it, and its quality.

    Parameters
    ----------
    errors : random and systematic, and that of the media, of each link, Hz.
    stages : residuals (n, link) after each correction, Hz.
    rate : of the plasma, one sigma.
    """
    # A slip or a bad sample is not combined.
    sound = np.where((quality & ~np.uint32(_harmless())) == 0, residual, np.nan) / received
    random, systematic, media_error = errors
    y, error, links, left = combine(sound, random / received, ab)
    bits, best = _of_best(quality, sound)
    bits |= flag(links == 1, PLASMA_LEFT.mask) | flag(links == 2, PLASMA_TWO.mask)

    def of_best(values: Floats) -> Floats:
        return np.take_along_axis(values / received, best[:, None], axis=1)[:, 0]

    lost = np.isnan(y[:, 0])
    structured = np.hypot(of_best(media_error), rate * np.sqrt((left**2).sum(axis=1)))
    steps = np.stack([*(MM_PER_S * of_best(s) for s in stages), MM_PER_S * y[:, 0]], axis=1)
    steps[lost] = np.nan
    return {
        "range_rate": ("et", MM_PER_S * y[:, 0]),
        "range_rate_random": ("et", np.abs(MM_PER_S) * error),
        "range_rate_systematic": ("et", np.where(lost, np.nan, np.abs(MM_PER_S) * of_best(systematic))),
        "range_rate_structured": ("et", np.where(lost, np.nan, np.abs(MM_PER_S) * structured)),
        "stage": (("et", "stages"), steps),
        "stage_name": ("stages", np.array(STAGES)),
        "plasma_up": ("et", y[:, 1]),
        "plasma_down": ("et", y[:, 2]),
        "links": ("et", links),
        "range_rate_quality": ("et", bits),
    }


def _harmless() -> int:
    """Bits that do not keep a residual from being combined."""
    return int(CONDITIONS) | MEDIA_SEASONAL.mask


def _seasonal(media: xr.Dataset | None, tracking: xr.Dataset, light_time: Floats) -> NDArray[np.bool_]:
    """Where no calibration of the troposphere was there, at reception or at transmission (n, link)."""
    et, sender = tracking["et"].values, tracking["transmitter"].values
    if media is None or media["et"].size < 4:
        return np.ones(sender.shape, bool)
    bad = (media["quality"].values != 0).astype(np.float64)

    def at(time: Floats) -> NDArray[np.bool_]:
        columns = [np.interp(time, media["et"].values, column, left=1.0, right=1.0) for column in bad.T]
        return np.stack(columns, axis=1) > 0.0

    receiver = int(complex_of(int(tracking["receiver"].values[0])))
    return at(et)[:, [receiver]] | np.take_along_axis(at(et - light_time), complex_of(sender), axis=1)


def _of_best(quality: Flags, sound: Floats) -> tuple[Flags, NDArray[np.intp]]:
    """Quality of the combination, and which link is the best that is there: Ka/Ka, X/Ka, X/X."""
    there = np.isfinite(sound)
    best = 2 - np.argmax(there[:, ::-1], axis=1)
    best = np.where(there.any(axis=1), best, 0)
    all_of = np.bitwise_or.reduce(np.where(there, quality, np.uint32(0)), axis=1)
    none = np.bitwise_or.reduce(quality, axis=1) | np.uint32(Quality.MISSING)
    return np.where(there.any(axis=1), all_of, none).astype(np.uint32), best
