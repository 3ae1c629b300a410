"""Steps from EDR counts to intensities and pitch angles (README.md, "Algorithm")."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from calibration.tables import Table
from instruments.jedi import chain
from instruments.jedi.chain import Array, Background, Channels, Live
from instruments.jedi.layout import EVENT, FRAMES, SSD
from instruments.jedi.schemas import (
    MOSTLY_BACKGROUND,
    PENETRATING,
    ROLLED,
    SMALL_PIXEL,
    SMEARED,
    STATE_UNKNOWN,
)
from pipeline.clock import Span
from pipeline.dataset.events import counted
from pipeline.dataset.quality import Quality, flag
from pipeline.geometry import Geometry
from pipeline.instrument import Product, Raw, step
from pipeline.particles.pitch import pitch_angles

HALO = chain.REACH + 1.0
SPACECRAFT = "JUNO_SPACECRAFT"
DIMS = ("record", "telescope", "channel")

Field = Annotated[xr.Dataset | None, Product("mag.field_1s")]


def solid_state(
    raw: xr.Dataset,
    field: Field,
    geometry: Geometry,
    span: Span,
    channels: Table,
    look: Table,
    dead_time: Table,
    geometric_factor: Table,
    efficiency: Table,
    penetrators: Table,
) -> xr.Dataset:
    """Intensities by the energy left in a solid-state detector alone, less what penetrating particles leave there."""
    own = chain.channels_of(_kind(raw), channels, efficiency)
    live = chain.live_time(raw, dead_time, SSD)
    gain = chain.response(raw, own, geometric_factor, efficiency)
    behind = chain.penetrators(raw, live.seconds, own, gain.small, penetrators)
    made = intensities(raw, own, live, behind, gain)
    return with_directions(made, field, geometry, look).assign_attrs(counted(raw, span))


def time_of_flight(
    raw: xr.Dataset,
    field: Field,
    geometry: Geometry,
    span: Span,
    channels: Table,
    look: Table,
    dead_time: Table,
    geometric_factor: Table,
    efficiency: Table,
    coincidence: Table,
) -> xr.Dataset:
    """Intensities of species told apart by time of flight, less accidental coincidences."""
    own = chain.channels_of(_kind(raw), channels, efficiency)
    live = chain.live_time(raw, dead_time, EVENT)
    gain = chain.response(raw, own, geometric_factor, efficiency)
    # Accidental coincidences are sorted like events, so they are lost like them: both are rates per live time.
    behind = chain.accidentals(raw, live.basic, own, coincidence, dead_time)
    made = intensities(raw, own, live, behind, gain)
    return with_directions(made, field, geometry, look).assign_attrs(counted(raw, span))


def _declared(function: Callable[..., xr.Dataset], product: str, kind: str) -> Callable[..., xr.Dataset]:
    """The step of a product from tables of one type, which differ in nothing else."""

    def made(*inputs: Any, **named: Any) -> xr.Dataset:
        return function(*inputs, **named)

    made.__name__ = made.__qualname__ = f"{product.partition('.')[2]}_from_{kind.lower()}"
    made.__doc__ = f"{function.__doc__} From tables {kind}."
    made.__annotations__ = {
        **function.__annotations__, "raw": Annotated[xr.Dataset, Raw(f"jedi.{kind.lower()}")],
    }  # fmt: skip
    made.__wrapped__ = function  # type: ignore[attr-defined]
    return step(produces=product, over="segment", halo=HALO, version=1)(made)


_PRODUCTS = (
    (solid_state, "jedi.electrons", "ESP"),
    (solid_state, "jedi.ion_singles", "ISP"),
    (time_of_flight, "jedi.ions", "TOFXER"),
    (time_of_flight, "jedi.low_ions", "TOFXPHR"),
)
STEPS = tuple(
    _declared(function, product, f"{resolution}{family}")
    for function, product, family in _PRODUCTS
    for resolution in ("HIERS", "LOERS")
)


def _kind(raw: xr.Dataset) -> str:
    return str(raw.attrs["kind"])


# Parts of the steps


def intensities(
    raw: xr.Dataset, channels: Channels, live: Live, behind: Background, gain: chain.Response
) -> xr.Dataset:
    """Counts, rates and intensities with their uncertainties and quality (steps 1 to 5)."""
    counts, et = raw["counts"].values, raw["et"].values
    seconds = live.seconds[:, :, None]
    exposure = gain.value * seconds
    expected = chain.expected(counts, np.nan_to_num(exposure), raw["unit"].values, et)
    gross = counts / seconds
    rate = gross - behind.rate
    quality = _quality(counts, channels, live, behind, gain, expected / seconds)
    quality |= flag(~np.isfinite(rate), Quality.MISSING)
    missing = (quality & np.uint32(Quality.MISSING)) != 0
    # Where background is measured by the same detector it goes with the live time as the counts do.
    goes = rate if channels.family.monitor else gross
    parts = {
        "random": np.sqrt(expected) / seconds,
        "systematic": np.hypot(behind.systematic, goes * live.relative[:, :, None]),
        "structured": np.hypot(behind.structured, goes * live.counted[:, :, None]),
    }
    values: dict[str, Array] = {"counts": counts, "counts_random": np.sqrt(expected), "rate": rate}
    values |= {f"rate_{name}": sigma for name, sigma in parts.items()}
    values["intensity"] = rate / gain.value
    values |= {f"intensity_{name}": sigma / gain.value for name, sigma in parts.items()}
    values["intensity_systematic"] = np.hypot(values["intensity_systematic"], values["intensity"] * gain.relative)
    data: dict[str, Any] = {name: (DIMS, np.where(missing, np.nan, array)) for name, array in values.items()}
    data |= {"counts_expected": (DIMS, expected), "background": (DIMS, behind.rate), "response": (DIMS, gain.value)}
    data |= {"quality": (DIMS, quality), "live_time": (DIMS[:2], live.seconds)}
    data["basic_rate"] = (*DIMS[:2], "counter"), live.basic
    for name in ("pixel", "gain", "unit", "accumulation"):
        data[name] = raw[name].dims, raw[name].values
    return xr.Dataset(data | described(channels), coords={"et": ("record", et)})


def described(channels: Channels) -> dict[str, tuple[tuple[str], NDArray[Any]]]:
    """What is said of channels."""
    names: dict[str, NDArray[Any]] = {
        "species": channels.species, "energy": channels.energy, "energy_lower": channels.lower,
        "energy_upper": channels.upper, "energy_width": channels.width, "energy_per_nucleon": channels.per_nucleon,
    }  # fmt: skip
    return {name: (("channel",), array) for name, array in names.items()}


def _quality(
    counts: Array, channels: Channels, live: Live, behind: Background, gain: chain.Response, gross: Array
) -> NDArray[np.uint32]:
    """Quality bits (record, telescope, channel)."""
    quality = flag(np.isnan(counts), Quality.MISSING)
    quality |= flag(channels.monitor, PENETRATING.mask)
    with np.errstate(invalid="ignore"):
        quality |= flag(behind.rate > 0.5 * gross, MOSTLY_BACKGROUND.mask)
    quality |= flag(gain.outside, Quality.CALIBRATION_EXTRAPOLATED)[:, None, None]
    per = flag(live.saturated, Quality.SATURATED) | flag(live.rolled, ROLLED.mask | Quality.MISSING)
    per |= flag(gain.unknown, STATE_UNKNOWN.mask | Quality.MISSING)
    per |= flag((gain.small != 1.0) & ~gain.unknown, SMALL_PIXEL.mask)
    return quality | per[:, :, None]


def telescopes(look: Table, geometry: Geometry) -> Array:
    """Unit vectors along which telescopes look, spacecraft frame (unit, telescope, 3): in the fans' X-Y planes."""
    fan = np.radians(look["fan"].value)
    own = np.stack([np.cos(fan), np.sin(fan), np.zeros_like(fan)], axis=1)
    return np.stack([own @ geometry.rotation(frame, SPACECRAFT, 0.0)[0].T for frame in FRAMES])


def with_directions(dataset: xr.Dataset, field: xr.Dataset | None, geometry: Geometry, look: Table) -> xr.Dataset:
    """Add look directions in System III and pitch angles (step 6); without a field there are none, which is flagged."""
    et, unit = dataset["et"].values, dataset["unit"].values
    own = telescopes(look, geometry)[unit]
    iii = np.einsum("nij,ntj->nti", geometry.rotation(SPACECRAFT, "IAU_JUPITER", et), own)
    inertial = np.einsum("nij,ntj->nti", geometry.rotation(SPACECRAFT, "J2000", et), own)
    angle, error = np.full(inertial.shape[:2], np.nan), np.full(inertial.shape[:2], np.nan)
    if field is not None:
        angle, error = pitch_angles(inertial, np.broadcast_to(et[:, None], angle.shape), field)
    unknown = np.isnan(angle) | np.isnan(error)
    angle[unknown], error[unknown] = np.nan, np.nan
    turn = (geometry.spin_phase(et + 0.5) - geometry.spin_phase(et - 0.5) + 180.0) % 360.0 - 180.0
    wide = np.abs(turn) * dataset["accumulation"].values > 2.0 * float(look["half_width"].value)
    quality = flag(unknown, Quality.INPUT_MISSING) | flag(wide, SMEARED.mask)[:, None]
    out = dataset.assign(look_iii=((*DIMS[:2], "xyz"), iii), pitch_quality=(DIMS[:2], quality))
    if field is None:
        return out
    return out.assign(pitch_angle=(DIMS[:2], angle), pitch_angle_systematic=(DIMS[:2], error))
