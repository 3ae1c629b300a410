"""Means over whole seconds and minutes, formed in an inertial frame and turned by the attitude at the centre time.

In the spinning frame a mean over 1 s loses 0.18 % of the field in the spin plane, and a mean over 60 s all of it.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from calibration.tables import Table
from instruments.mag.attitude import in_all_frames
from instruments.mag.chain import Index, bench_angles
from instruments.mag.frames import Array, compose, sum_of_three, transpose
from instruments.mag.groups import Groups
from instruments.mag.schemas import MIXED_RANGE, PARTIAL, RANGE_CHANGE
from instruments.mag.uncertainty import ErrorModel, of_mean, of_rotation, sensor_of, systematic, undithered
from pipeline.dataset.quality import Quality, flag, raised
from pipeline.geometry import Geometry
from pipeline.instrument import Product, step
from pipeline.passes import Pass

# Samples with these bits do not enter a mean; the other bits of those that do are handed on.
EXCLUDED = int(Quality.MISSING | Quality.SUSPECT | Quality.SATURATED | Quality.GEOMETRY_MISSING) | RANGE_CHANGE.mask
COVERED = 0.95
FEWEST = 4
# Seconds beyond an edge of the interval within which the sample must lie that the field at the edge is taken from.
REACH = 5.0
HALO = REACH + 1.0
# Place of table bench among the tables of `ErrorModel.of_tables`.
BENCH = 4


@step(produces="mag.field_1s", over="segment", halo=HALO, version=1)
def field_1s(
    field: Annotated[xr.Dataset, Product("mag.field")],
    geometry: Geometry,
    pass_: Pass,
    gain: Table,
    zero: Table,
    orthogonality: Table,
    alignment: Table,
    bench: Table,
    timing: Table,
    eddy: Table,
    spacecraft_field: Table,
) -> xr.Dataset:
    """Means over 1 s."""
    tables = (gain, zero, orthogonality, alignment, bench, timing, eddy, spacecraft_field)
    return mean_field(field, geometry, pass_.et, 1.0, tables)


@step(produces="mag.field_60s", over="segment", halo=HALO, version=1)
def field_60s(
    field: Annotated[xr.Dataset, Product("mag.field")],
    geometry: Geometry,
    pass_: Pass,
    gain: Table,
    zero: Table,
    orthogonality: Table,
    alignment: Table,
    bench: Table,
    timing: Table,
    eddy: Table,
    spacecraft_field: Table,
) -> xr.Dataset:
    """Means over 60 s."""
    tables = (gain, zero, orthogonality, alignment, bench, timing, eddy, spacecraft_field)
    return mean_field(field, geometry, pass_.et, 60.0, tables)


def mean_field(
    field: xr.Dataset, geometry: Geometry, closest_approach: float, width: float, tables: tuple[Table, ...]
) -> xr.Dataset:
    """Means of the field over intervals of `width` seconds, whole multiples of it in et (step 10).

    Parameters
    ----------
    field : mag.field.
    tables : as `ErrorModel.of_tables` takes them.

    Returns
    -------
    xr.Dataset
        mag.field_1s or mag.field_60s.
    """
    et = field["et"].values
    turns = transpose(geometry.rotation("J2000", "JUNO_SPACECRAFT", et))
    good = ~raised(field["quality"].values, EXCLUDED) & np.isfinite(turns[:, 0, 0])
    bins = np.floor(et / width).astype(np.int64)
    groups = Groups(bins, good)
    centre: Array = np.asarray((bins[groups.start] + 0.5) * width, np.float64)
    coverage = groups.sum(1.0 / np.where(good, field["rate"].values, 1.0).astype(float)) / width
    inertial = field["b_j2000"].values.astype(float)
    b, weight, bracketed = integrated(et, inertial, field["rate"].values.astype(float), groups, centre, width)
    covered = (coverage >= COVERED) & (groups.number >= FEWEST) & bracketed
    magnitude = groups.sum(weight * np.sqrt(sum_of_three(*(inertial[:, i] ** 2 for i in range(3)))))
    magnitude = np.where(groups.number > 0, magnitude, np.nan)

    ranges = field["range"].values.astype(np.intp)
    k = groups.reduce(np.maximum, ranges, -1)
    mixed = (groups.reduce(np.minimum, ranges, 127) < k) & (groups.number > 0)
    quality = groups.reduce(np.bitwise_or, field["quality"].values, np.uint32(0))
    quality = quality | flag(~covered, PARTIAL.mask) | flag(mixed, MIXED_RANGE.mask)

    common, bent = systematic_covariances(
        field, groups, turns, k, et - closest_approach, centre - closest_approach, tables
    )
    at_centre = transpose(geometry.rotation("J2000", "JUNO_SPACECRAFT", centre))
    random = compose(at_centre * random_variance(field, groups, weight)[:, None, :], transpose(at_centre))
    dataset = in_all_frames(centre, b, random, common, bent, quality, geometry, frame="j2000")
    return dataset.assign(
        number=(("et",), groups.number.astype(np.int32)),
        coverage=(("et",), coverage.astype(np.float32)),
        magnitude=(("et",), magnitude.astype(np.float32)),
        range=(("et",), k.astype(np.int8)),
        sensor=(("et",), np.full(k.shape, field["sensor"].values[0], np.uint8)),
    )


def integrated(
    et: Array, values: Array, rate: Array, groups: Groups, centre: Array, width: float
) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Means over intervals by the trapezoidal rule, so that neither gaps nor changes of rate shift them.

    To an edge within one and a half sample intervals, as where nothing is missing, the field goes on with its mean
    slope over the interval; else it is interpolated to the sample beyond the edge if that is within `REACH`.

    Parameters
    ----------
    et, values, rate : of the samples, (n), (n, 3), (n).
    groups : their intervals; `centre` : of those (m).

    Returns
    -------
    mean, weight, bracketed
        (m, 3), NaN without samples; of each sample in its mean (n); where the field at both edges is known (m).
    """
    used = np.flatnonzero(groups.good)
    if used.size == 0:
        return np.full((centre.size, 3), np.nan), np.zeros(et.shape), np.zeros(centre.size, bool)
    t, v, group = et[used], values[used], groups.inverse[used]
    low, high = centre[group] - 0.5 * width, centre[group] + 0.5 * width
    together = group[1:] == group[:-1]
    middle = 0.5 * (t[1:] + t[:-1])
    left = np.append(low[:1], np.where(together, middle, low[1:]))
    right = np.append(np.where(together, middle, high[:-1]), high[-1:])
    starts, stops = (np.flatnonzero(x) for x in (np.append(True, ~together), np.append(~together, True)))
    lasting = t[stops] - t[starts]
    slope = (v[stops] - v[starts]) / np.where(lasting > 0.0, lasting, 1.0)[:, None]
    total = np.zeros((centre.size, 3))
    bracketed = np.ones(centre.size, bool)
    for at, beyond, edge in ((starts, starts - 1, low), (stops, stops + 1, high)):
        beyond = np.clip(beyond, 0, t.size - 1)
        out = edge[at] - t[at]
        near = np.abs(out) <= 1.5 / rate[used][at]
        across = ~near & (beyond != at) & (np.abs(t[beyond] - edge[at]) <= REACH)
        chord = (v[beyond] - v[at]) / np.where(across, t[beyond] - t[at], 1.0)[:, None]
        change = np.where(across[:, None], chord, np.where(near[:, None], slope, 0.0)) * out[:, None]
        total[group[at]] += (v[at] + 0.5 * change) * np.abs(out)[:, None]
        bracketed[group[at]] &= near | across
    pieces = np.where(together, np.diff(t), 0.0)[:, None] * 0.5 * (v[1:] + v[:-1])
    total += np.stack([np.bincount(group[:-1], column, centre.size) for column in pieces.T], axis=1)
    weight: Array = np.zeros(et.shape)
    weight[used] = (right - left) / width
    mean: Array = np.where(groups.number[:, None] > 0, total / width, np.nan)
    return mean, weight, bracketed


def systematic_covariances(
    field: xr.Dataset,
    groups: Groups,
    turns: Array,
    k: Index,
    since: Array,
    centre_since: Array,
    tables: tuple[Table, ...],
) -> tuple[Array, Array]:
    """Covariances of the means' systematic and structured errors in J2000, nT^2 (m, 3, 3).

    Parameters
    ----------
    turns : R(J2000 <- spacecraft) of the samples.
    k : range of the means.
    since, centre_since : seconds from closest approach of the samples and of the means.
    """
    sensor = sensor_of(field)
    model = ErrorModel.of_tables(sensor, *tables)
    nodes, angles = tables[BENCH]["offset"].value, tables[BENCH]["angles"].value[sensor]
    payload = field["b_payload"].values.astype(float)
    arms = groups.mean(turns[:, :, :, None] * payload[:, None, None, :])
    at_centre = model.bench * bench_angles(centre_since, nodes, angles)[1][:, None] ** 2
    common, bent = of_mean(model, k, arms, groups.mean(turns), at_centre)
    of_samples = model.bench * bench_angles(since, nodes, angles)[1][:, None] ** 2
    common *= excess(field, groups, "systematic", systematic(model, payload, field["range"].values.astype(np.intp)))
    bent *= excess(field, groups, "structured", of_rotation(payload, of_samples))
    return common, bent


def excess(field: xr.Dataset, groups: Groups, component: str, covariance: Array) -> Array:
    """By how much the field states more variance than its tables alone give (gradiometry), (m, 1, 1)."""
    stated = groups.mean((field[f"b_payload_{component}"].values.astype(float) ** 2).sum(axis=1))
    modelled = groups.mean(covariance[:, 0, 0] + covariance[:, 1, 1] + covariance[:, 2, 2])
    return (stated / modelled)[:, None, None]


def random_variance(field: xr.Dataset, groups: Groups, weight: Array) -> Array:
    """Variance of the means' random error along the spacecraft's axes, nT^2 (m, 3).

    Errors of rounding are independent while the field moves by a count or more within the interval, and average like
    noise. Where it stands still along an axis, what the noise does not dither away stays (`undithered`).
    """
    variance = groups.sum((weight[:, None] * field["b_payload_random"].values.astype(float)) ** 2)
    if "b_sensor" not in field:
        return variance
    quantum = groups.mean(field["b_sensor_quantum"].values.astype(float))
    noise = groups.mean(field["b_sensor_random"].values.astype(float) ** 2) - quantum**2 / 12.0
    b = field["b_sensor"].values
    sweep = groups.reduce(np.maximum, b, -np.inf) - groups.reduce(np.minimum, b, np.inf)
    return variance + np.where(sweep < quantum, undithered(quantum, np.maximum(noise, 0.0)), 0.0)
