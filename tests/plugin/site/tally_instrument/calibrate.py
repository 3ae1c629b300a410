"""The steps of TALLY.

A detector is dead for tau after each count, so that n counts in t seconds are a rate of n / (t - n tau)
(Knoll, Radiation Detection and Measurement, 4th ed., eq. 4.23).
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
import xarray as xr

from calibration.tables import Table
from pipeline.clock import Span
from pipeline.dataset.quality import Quality
from pipeline.instrument import Product, Raw, step
from tally_instrument.schemas import PILE_UP

HALO = 10.0


def _boxcar(raw: xr.Dataset, width: float) -> tuple[np.ndarray, np.ndarray]:
    """Counts within `width` seconds about each record, and the seconds in which they were counted."""
    et, counts = raw["et"].values, raw["counts"].values.astype(np.float64)
    first, last = np.searchsorted(et, et - width / 2), np.searchsorted(et, et + width / 2, side="right")
    running = np.concatenate([np.zeros((1, 4)), np.cumsum(counts, axis=0)])
    return running[last] - running[first], (last - first)[:, None].astype(np.float64)


def _rates(
    raw: xr.Dataset, dead_time: Table, efficiency: Table, span: Span, smooth: float, correct: bool
) -> xr.Dataset:
    """Boxcar means over `smooth` seconds, corrected for dead time and efficiency."""
    n, seconds = _boxcar(raw, smooth)
    # The expected number, not the one that was counted: an error must not depend on the value it belongs to.
    near, around = _boxcar(raw, 2 * HALO)
    expected = np.maximum(near / around * seconds, 1.0)
    dead = n * dead_time["tau"].value if correct else np.zeros_like(n)
    scale = 1.0 / ((seconds - dead) * efficiency["fraction"].value)
    relative = efficiency["fraction"].sigma / efficiency["fraction"].value
    et = raw["et"].values
    return xr.Dataset(
        {
            "rate": (("et", "detector"), n * scale),
            "rate_random": (("et", "detector"), np.sqrt(expected) * scale),
            "rate_systematic": (("et", "detector"), np.broadcast_to(relative, n.shape)),
            "quality": ("et", np.where((dead > 0.1 * seconds).any(axis=1), np.uint32(PILE_UP.mask), np.uint32(0))),
        },
        {"et": et},
        {"records_read": int(span.contains(et).sum())},
    )


@step(produces="tally.rate", over="segment", halo=HALO, version=1)
def rate(
    raw: Annotated[xr.Dataset, Raw("tally.packed")], dead_time: Table, efficiency: Table, span: Span,
    *, smooth: float = 1.0, correct: Literal["dead time", "nothing"] = "dead time",
) -> xr.Dataset:  # fmt: skip
    """Rates from packed counts."""
    return _rates(raw, dead_time, efficiency, span, smooth, correct == "dead time")


@step(produces="tally.rate", over="segment", halo=HALO, version=1)
def rate_of_text(
    raw: Annotated[xr.Dataset, Raw("tally.text")], dead_time: Table, efficiency: Table, span: Span,
    *, smooth: float = 1.0,
) -> xr.Dataset:  # fmt: skip
    """Rates from counts as text."""
    return _rates(raw, dead_time, efficiency, span, smooth, True)


@step(produces="tally.background", over="unit", version=1)
def background(raw: Annotated[xr.Dataset, Raw("tally.dark")], dead_time: Table) -> xr.Dataset:
    """Mean rate behind the closed door."""
    n, seconds = raw["counts"].values.sum(axis=0, dtype=np.float64), float(raw.sizes["et"])
    live = seconds - n * dead_time["tau"].value
    sigma = np.sqrt(np.maximum(n, 1.0)) / live
    return xr.Dataset(
        {
            "background": ("detector", n / live),
            "background_random": ("detector", sigma),
            "quality": ("detector", np.zeros(4, np.uint32)),
        }
    )


@step(produces="tally.dose", over="segment", halo=5.0, version=1)
def dose(
    rate: Annotated[xr.Dataset, Product("tally.rate")],
    background: Annotated[xr.Dataset | None, Product("tally.background")],
    factor: Table,
) -> xr.Dataset:
    """Dose rate, without the background where that is known."""
    value, random = rate["rate"].values.astype(np.float64), rate["rate_random"].values.astype(np.float64)
    quality = rate["quality"].values
    if background is None:
        quality = quality | np.uint32(Quality.INPUT_MISSING)
    else:
        value = value - background["background"].values
        random = np.hypot(random, background["background_random"].values)
    scale = factor["dose"].value
    return xr.Dataset(
        {
            "dose_rate": (("et", "detector"), value * scale),
            "dose_rate_random": (("et", "detector"), random * scale),
            "dose_rate_systematic": (
                ("et", "detector"),
                np.hypot(rate["rate_systematic"].values, factor["dose"].sigma / scale),
            ),
            "quality": ("et", quality),
        },
        {"et": rate["et"].values},
    )


@step(produces="tally.histogram", over="unit", version=1)
def histogram(raw: Annotated[xr.Dataset, Raw("tally.packed")]) -> xr.Dataset:
    """How often so many particles were counted."""
    counts = raw["counts"].values
    bins = np.where(counts > 0, np.floor(np.log2(np.maximum(counts, 1))).astype(int), 0)
    value = np.stack([np.bincount(bins[:, k], minlength=16) for k in range(4)]).astype(np.float64)
    return _whole("histogram", ("detector", "bin"), value)


@step(produces="tally.total", over="unit", version=1)
def total(raw: Annotated[xr.Dataset, Raw("tally.packed")]) -> xr.Dataset:
    """All particles of the group."""
    return _whole("total", ("detector",), raw["counts"].values.sum(axis=0, dtype=np.float64))


def _whole(name: str, dims: tuple[str, ...], value: np.ndarray) -> xr.Dataset:
    sigma = np.sqrt(np.maximum(value, 1.0))
    quality = ("detector", np.zeros(4, np.uint32))
    return xr.Dataset({name: (dims, value), f"{name}_random": (dims, sigma), "quality": quality})
