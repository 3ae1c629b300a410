"""The samples of a variable that the closed loop judges: product less truth, without what is flagged or clipped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline.dataset.quality import CONDITIONS, Quality
from pipeline.dataset.schema import Variable
from pipeline.testing.distributions import FEW

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

CLIPPED_SHARE = 0.002
MOST_SAMPLES = 4_000_000


@dataclass(frozen=True)
class Samples:
    """Residuals of one variable: product less truth, and which of them are judged."""

    delta: Floats
    judged: Mask
    flagged: float
    clipped: float


def samples_of(variable: Variable, product: xr.Dataset, truth: xr.Dataset, lost: xr.Dataset) -> Samples:
    """Which samples are judged, and what share of them is flagged, clipped, or lost with its record."""
    value, true = product[variable.name], truth[variable.name].astype(np.float64)
    known = np.isfinite(true.values)
    bad, low, high = (np.zeros(true.shape, bool) for _ in range(3))
    qualified = product[variable.quality].dims if variable.quality else value.dims
    own = [str(d) for d in value.dims if d not in qualified]
    if variable.quality:
        quality = product[variable.quality]
        conditions = int(quality.attrs.get("flag_conditions", CONDITIONS))
        bits = quality.broadcast_like(value).transpose(*value.dims).values
        ends = Quality.SATURATED | Quality.CLIPPED_LOW
        bad = (bits & np.uint32(~(conditions | int(ends)) & 0xFFFFFFFF)) != 0
        high, low = ((bits & np.uint32(bit)) != 0 for bit in (Quality.SATURATED, Quality.CLIPPED_LOW))
    delta = np.asarray(value.values, np.float64) - true.values
    bad |= np.isnan(delta) & ~high & ~low
    total = int(known.sum())
    gone = int(np.isfinite(lost[variable.name].values.astype(np.float64)).sum()) if variable.name in lost else 0
    beyond = _beyond(true, np.abs, own, high & known & ~bad) | _beyond(true, np.negative, own, low & known & ~bad)
    judged = known & np.isfinite(delta) & ~bad & ~high & ~low & ~beyond
    flagged = (int((bad & known).sum()) + gone) / max(1, total + gone)
    return Samples(delta, judged, flagged, int(((high | low) & known).sum()) / max(1, total))


def thinning(value: xr.DataArray, index: str | None) -> dict[str, slice]:
    """Which samples of a big variable are judged: every n-th along the last dimension; records stay neighbours."""
    last = str(value.dims[-1]) if value.dims else index
    if value.size <= MOST_SAMPLES or last == index:
        return {}
    # An odd step meets odd and even columns.
    return {str(last): slice(None, None, int(np.ceil(value.size / MOST_SAMPLES)) | 1)}


def _beyond(true: xr.DataArray, measure: Callable[[Floats], Floats], own: list[str], clipped: Mask) -> Mask:
    """Where the truth, so measured, reaches what was clipped elsewhere.

    Every channel is taken by itself if there are 100 records. A flag that covers several components, along the
    dimensions `own`, stands for the largest of them.
    """
    if clipped.sum() <= CLIPPED_SHARE * clipped.size:
        return clipped
    level = true.copy(data=measure(true.values)).max(own).broadcast_like(true).transpose(*true.dims).values
    axis = 0 if level.ndim and len(level) >= FEW else None
    return np.asarray(level >= np.min(np.where(clipped, level, np.inf), axis=axis, keepdims=axis is not None))


def over(samples: Samples, scale: Floats) -> Floats:
    """Residual over `scale` where judged, else NaN."""
    usable = samples.judged & np.isfinite(scale) & (scale > 0)
    return np.divide(samples.delta, scale, out=np.full(samples.delta.shape, np.nan), where=usable)
