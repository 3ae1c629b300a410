"""Means over whole seconds and minutes, formed in an inertial frame and turned by the attitude at the centre time.

In the spinning frame a mean over 1 s loses 0.18 % of the field in the spin plane, and a mean over 60 s all of it.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
import xarray as xr

from calibration.tables import Table
from instruments.mag.attitude import in_all_frames
from instruments.mag.chain import Index, bench_angles
from instruments.mag.frames import Array, compose, sum_of_three, transpose
from instruments.mag.groups import Groups
from instruments.mag.schemas import MIXED_RANGE, PARTIAL, RANGE_CHANGE, flag
from instruments.mag.uncertainty import ErrorModel, of_mean, of_rotation, systematic, undithered
from pipeline.dataset.quality import Quality, raised
from pipeline.geometry import Geometry
from pipeline.instrument import Product, step
from pipeline.passes import Pass

# Samples with these bits do not enter a mean; the other bits of those that do are handed on.
EXCLUDED = int(Quality.MISSING | Quality.SUSPECT | Quality.SATURATED | Quality.GEOMETRY_MISSING) | RANGE_CHANGE.mask
COVERED = 0.95
FEWEST = 4
# Place of table bench among the tables of `ErrorModel.of_tables`.
BENCH = 4


@step(produces="mag.field_1s", over="segment", version=1)
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


@step(produces="mag.field_60s", over="segment", version=1)
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
    centre = (bins[groups.start] + 0.5) * width
    coverage = groups.sum(1.0 / np.where(good, field["rate"].values, 1.0).astype(float)) / width
    covered = (coverage >= COVERED) & (groups.number >= FEWEST)

    inertial = field["b_j2000"].values.astype(float)
    after_centre = groups.mean(et - (bins + 0.5) * width)
    b = groups.mean(inertial) - np.where(covered, after_centre, 0.0)[:, None] * groups.secant(et, inertial)
    magnitude = groups.mean(np.sqrt(sum_of_three(*(inertial[:, i] ** 2 for i in range(3)))))

    ranges = field["range"].values.astype(np.intp)
    k = groups.reduce(np.maximum, ranges, -1)
    mixed = (groups.reduce(np.minimum, ranges, 127) < k) & (groups.number > 0)
    quality = groups.reduce(np.bitwise_or, field["quality"].values, np.uint32(0))
    quality = quality | flag(~covered, PARTIAL.mask) | flag(mixed, MIXED_RANGE.mask)

    sensor = int(field["sensor"].values[0])
    common, bent = systematic_covariances(
        field, groups, turns, k, et - closest_approach, centre - closest_approach, tables
    )
    at_centre = transpose(geometry.rotation("J2000", "JUNO_SPACECRAFT", centre))
    random = compose(at_centre * random_variance(field, groups)[:, None, :], transpose(at_centre))
    dataset = in_all_frames(centre, b, random, common, bent, quality, geometry, frame="j2000")
    return dataset.assign(
        number=(("et",), groups.number.astype(np.int32)),
        coverage=(("et",), coverage.astype(np.float32)),
        magnitude=(("et",), magnitude.astype(np.float32)),
        range=(("et",), k.astype(np.int8)),
        sensor=(("et",), np.full(k.shape, sensor, np.uint8)),
    )


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
    sensor = int(field["sensor"].values[0])
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


def random_variance(field: xr.Dataset, groups: Groups) -> Array:
    """Variance of the means' random error along the spacecraft's axes, nT^2 (m, 3).

    Errors of rounding are independent while the field moves by a count or more within the interval, and average like
    noise. Where it stands still along an axis, what the noise does not dither away stays (`undithered`).
    """
    variance = groups.mean(field["b_payload_random"].values.astype(float) ** 2) / groups.number[:, None]
    if "b_sensor" not in field:
        return variance
    quantum = groups.mean(field["b_sensor_quantum"].values.astype(float))
    noise = groups.mean(field["b_sensor_random"].values.astype(float) ** 2) - quantum**2 / 12.0
    b = field["b_sensor"].values
    sweep = groups.reduce(np.maximum, b, -np.inf) - groups.reduce(np.minimum, b, np.inf)
    return variance + np.where(sweep < quantum, undithered(quantum, np.maximum(noise, 0.0)), 0.0)
