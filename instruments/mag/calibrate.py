"""The steps from telemetry, or from the archive's level 3, to the calibrated field (equations: `chain`)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from calibration.tables import Table
from instruments.mag import chain, uncertainty
from instruments.mag.attitude import in_all_frames, spin
from instruments.mag.chain import Index
from instruments.mag.frames import Array, rotate, rotate_variance, transpose
from instruments.mag.schemas import EDDY_UNCORRECTED, RANGE_CHANGE, RANGE_UNKNOWN, SPACECRAFT_UNCORRECTED
from instruments.mag.sts import FRAMES, SPICE_FRAMES
from instruments.mag.uncertainty import ErrorModel
from pipeline.clock import Span
from pipeline.dataset.events import counted
from pipeline.dataset.quality import Quality, flag
from pipeline.errors import CalibrationError
from pipeline.geometry import Geometry
from pipeline.instrument import Raw, step
from pipeline.passes import Pass

Flags = NDArray[np.uint32]

OUTBOARD, INBOARD = 0, 1
# Vectors per second before any averaging on board.
FULL_RATE = 64.0
SENSORS = {"ob": OUTBOARD, "ib": INBOARD}
# Interval of the gradiometer's mean, on whole multiples in et.
GRADIOMETER_INTERVAL = 60.0
# A segment must see all that its samples use: housekeeping, the neighbouring samples, the delay of the slowest rate.
HALO = chain.TEMPERATURE_REACH + 15.0
ADC_LIMITS = (-32768, 32767)


@dataclass(frozen=True)
class Tables:
    """The tables of the chain."""

    ranges: Table
    gain: Table
    zero: Table
    orthogonality: Table
    alignment: Table
    bench: Table
    temperature: Table
    timing: Table
    eddy: Table
    spacecraft_field: Table
    noise: Table

    def errors(self, number: int) -> ErrorModel:
        """Systematic errors of sensor `number`."""
        return ErrorModel.of_tables(
            number,
            self.gain,
            self.zero,
            self.orthogonality,
            self.alignment,
            self.bench,
            self.timing,
            self.eddy,
            self.spacecraft_field,
        )


@dataclass(frozen=True)
class Measured:
    """One sensor's field in the spacecraft frame, with all that is said of it; arrays over n samples.

    Parameters
    ----------
    k : index of the range, -1 unknown.
    b : field, nT (n, 3), spacecraft frame.
    b_sensor, quantum : field along the sensor's axes and that of one count there, nT (n, 3).
    variance, sensor_variance : of the random error in the spacecraft frame and along the sensor's axes, nT^2 (n, 3).
    common, bent : covariances of what is common to all samples and of the bench's attitude, nT^2 (n, 3, 3).
    temperature : of the sensor, degC.
    """

    k: Index
    b: Array
    b_sensor: Array
    quantum: Array
    variance: Array
    sensor_variance: Array
    common: Array
    bent: Array
    temperature: Array
    quality: Flags


@step(produces="mag.field", over="segment", halo=HALO, version=1)
def field_from_telemetry(
    raw: Annotated[xr.Dataset, Raw("mag.ccsds")],
    geometry: Geometry,
    pass_: Pass,
    span: Span,
    ranges: Table,
    gain: Table,
    zero: Table,
    orthogonality: Table,
    alignment: Table,
    bench: Table,
    temperature: Table,
    timing: Table,
    eddy: Table,
    spacecraft_field: Table,
    noise: Table,
    *,
    sensor: Literal["ob", "ib"] = "ob",
    eddy_correction: Literal["table", "none"] = "table",
    spacecraft_correction: Literal["table", "gradiometry", "none"] = "table",
) -> xr.Dataset:
    """Calibrated field of one sensor from the telemetry packets, at full rate.

    Parameters
    ----------
    raw : counts(sensor, et, axis), present(sensor, et), range_code(sensor, et), rate(et),
        temperature_counts(et_hk, probe), events(record, event).
    sensor : the outboard one by default, where the spacecraft's own field is weaker.
    eddy_correction : on by default; left out, the error is of the order of 100 nT at closest approach.
    spacecraft_correction : static field from the table, from the difference of the two sensors, or none. Gradiometry
        amplifies the sensors' errors nearly threefold: of use only where the field is below some hundred nT.

    Raises
    ------
    CalibrationError
        for a sample rate that table timing does not know.
    """
    tables = Tables(
        ranges, gain, zero, orthogonality, alignment, bench, temperature, timing, eddy, spacecraft_field, noise
    )
    delay, integration = sample_timing(raw, timing)
    et = raw["et"].values - delay
    omega = spin(et, geometry)
    eddies = eddy_correction == "table"

    def measured(number: int) -> Measured:
        return measure(raw, et, integration, omega, pass_.et, number, tables, eddies)

    number = SENSORS[sensor]
    own = measured(number)
    if spacecraft_correction == "table":
        own = less_static_field(own, number, spacecraft_field)
    elif spacecraft_correction == "gradiometry":
        own = less_gradiometer_field(own, measured(1 - number), number, et, spacecraft_field)
    else:
        own = replace(own, quality=own.quality | np.uint32(SPACECRAFT_UNCORRECTED.mask))
    dataset = in_all_frames(et, own.b, own.variance, own.common, own.bent, own.quality, geometry)
    return dataset.assign(of_sensor(raw, own, number)).assign_attrs(counted(raw, span))


def of_sensor(raw: xr.Dataset, own: Measured, number: int) -> dict[str, tuple[tuple[str, ...], NDArray[np.generic]]]:
    """Variables of the product that tell of the sensor itself."""
    per, axes = ("et",), ("et", "axis")
    return {
        "b_sensor": (axes, own.b_sensor.astype(np.float32)),
        "b_sensor_random": (axes, uncertainty.coarse(np.sqrt(own.sensor_variance))),
        "b_sensor_quantum": (axes, own.quantum.astype(np.float32)),
        "range": (per, own.k.astype(np.int8)),
        "range_code": (per, raw["range_code"].values[number]),
        "sensor": (per, np.full(own.k.shape, number, np.uint8)),
        "rate": (per, raw["rate"].values.astype(np.float32)),
        "temperature": (per, own.temperature.astype(np.float32)),
    }


@step(produces="mag.field", over="segment", halo=HALO, version=2)
def field_from_archive(
    raw: Annotated[xr.Dataset, Raw("mag.sts")],
    geometry: Geometry,
    span: Span,
    ranges: Table,
    noise: Table,
    archive: Table,
) -> xr.Dataset:
    """Field as the archive's level 3 gives it, in all frames, with the uncertainties that it does not state.

    Accuracy and attitude are those published of the instrument, noise and counts those of the tables; whether fields of
    eddy currents were removed is not known. A time known to a step adds ``omega x B`` times its error to the random
    error, in every frame, because the frames meet in the spinning spacecraft.

    Parameters
    ----------
    raw : b(et, xyz) in frame(et), range_code(et), rate(et), sensor(et), time_conflict(et), time_step(et).
    """
    et, rate = raw["et"].values, raw["rate"].values.astype(float)
    present = np.isfinite(raw["b"].values[:, 0])
    b = to_j2000(et, raw["b"].values, raw["frame"].values, geometry)
    code = raw["range_code"].values.astype(np.intp)
    k, quality = ranges_of(code, present, ranges)
    # The field is known though its range is not: the range it must have been measured in gives the error.
    size = np.abs(np.nan_to_num(b)).max(axis=1, initial=0.0)
    full = ranges["full_scale"].value
    likely = np.where(k >= 0, k, np.minimum(np.searchsorted(full, size), full.size - 1))
    quality &= ~flag(present, Quality.MISSING)
    quality |= neighbour_flags(et, rate, code, present) | flag(raw["time_conflict"].values & present, Quality.SUSPECT)

    number = np.where(raw["sensor"].values == INBOARD, INBOARD, OUTBOARD)
    read = noise["rms"].value[number, likely] ** 2 * (rate / FULL_RATE)
    rounded = (ranges["lsb"].value[likely] ** 2 + float(archive["print_step"].value) ** 2) / 12.0
    to_inertial = transpose(geometry.rotation("J2000", "JUNO_SPACECRAFT", et))
    sweep = chain.cross(rotate(to_inertial, spin(et, geometry)), b) * (raw["time_step"].values / np.sqrt(12.0))[:, None]
    quality |= flag(
        chain.stands_out(et, rate, b, np.sqrt(3.0 * (read + rounded) + (sweep**2).sum(axis=1))), Quality.SUSPECT
    )
    random = (read + rounded)[:, None, None] * np.eye(3) + np.nan_to_num(sweep[:, :, None] * sweep[:, None, :])
    power = (b**2).sum(axis=1) * float(archive["accuracy"].value) ** 2 / 3.0 + archive["zero"].value[likely] ** 2
    bent = uncertainty.of_rotation(b, np.full(3, np.radians(float(archive["attitude"].value)) ** 2))
    common = power[:, None, None] * np.eye(3)
    dataset = in_all_frames(et, b, random, common, bent, quality, geometry, frame="j2000")
    return dataset.assign(
        range=(("et",), k.astype(np.int8)),
        range_code=(("et",), raw["range_code"].values),
        sensor=(("et",), raw["sensor"].values),
        rate=(("et",), raw["rate"].values),
    ).assign_attrs(counted(raw, span))


def to_j2000(et: Array, b: Array, frame: NDArray[np.uint8], geometry: Geometry) -> Array:
    """Field in J2000, nT (n, 3), from the frame of each sample (its place in `FRAMES`)."""
    out = np.full(b.shape, np.nan)
    for number in np.unique(frame):
        use = frame == number
        turn = geometry.rotation("J2000", SPICE_FRAMES[FRAMES[int(number)]], et[use])
        out[use] = rotate(transpose(turn), b[use])
    return out


def sample_timing(raw: xr.Dataset, timing: Table) -> tuple[Array, Array]:
    """Delay of the time tag after the centre of each sample, and length of the sample, seconds (n).

    Raises
    ------
    CalibrationError
        for a rate that the table does not know.
    """
    rate = raw["rate"].values.astype(float)
    known = timing["rate"].value
    order = np.argsort(known)
    place = order[np.clip(np.searchsorted(known[order], rate), 0, known.size - 1)]
    unknown = (known[place] != rate) & raw["present"].values.any(axis=0)
    if unknown.any():
        rates = ", ".join(f"{r:g}" for r in np.unique(rate[unknown]))
        raise CalibrationError(f"table mag.timing knows no rate of {rates} samples/s")
    return timing["delay"].value[place], timing["integration"].value[place]


def measure(
    raw: xr.Dataset,
    et: Array,
    integration: Array,
    omega: Array,
    closest_approach: float,
    number: int,
    tables: Tables,
    eddies: bool,
) -> Measured:
    """Field of one sensor in the spacecraft frame, the static field of the spacecraft still in it (steps 1 to 6)."""
    present = raw["present"].values[number]
    code = raw["range_code"].values[number].astype(np.intp)
    k, quality = ranges_of(code, present, tables.ranges)
    quality |= neighbour_flags(et, raw["rate"].values, code, present)
    counts = raw["counts"].values[number]
    clipped = ((counts <= ADC_LIMITS[0]) | (counts >= ADC_LIMITS[1])).any(axis=1) & present
    readings = raw["temperature_counts"].values[:, number].astype(float)
    degrees = chain.temperature_at(et, raw["et_hk"].values, readings, tables.temperature["coefficient"].value[number])
    b_sensor, quantum, b = in_cube(counts, k, degrees, number, tables)
    angles, leverage, outside = chain.bench_angles(
        et - closest_approach, tables.bench["offset"].value, tables.bench["angles"].value[number]
    )
    turn = chain.cube_to_spacecraft(angles, tables.alignment["angles"].value[number])
    turning = np.where(np.isfinite(omega), omega, 0.0)
    b = rotate(turn, b)
    if eddies:
        scale = float(tables.spacecraft_field["ratio"].value) if number == INBOARD else 1.0
        b = chain.remove_eddy_currents(b, k, turning, scale * tables.eddy["matrix"].value)
    b = chain.undo_smearing(b, turning, integration)

    quality |= flag(clipped, Quality.SATURATED)
    quality |= flag((np.isnan(degrees) | outside) & present, Quality.CALIBRATION_EXTRAPOLATED)
    quality |= flag(np.isnan(omega[:, 0]) | (not eddies), EDDY_UNCORRECTED.mask)
    noise = tables.noise["rms"].value[number][k] * np.sqrt(raw["rate"].values / FULL_RATE)
    variance = noise[:, None] ** 2 + quantum**2 / 12.0
    lost = ~present | (k < 0)
    for array in (b, b_sensor, quantum, variance):
        array[lost] = np.nan
    model = tables.errors(number)
    return Measured(
        k=k,
        b=b,
        b_sensor=b_sensor,
        quantum=quantum,
        variance=rotate_variance(turn, variance),
        sensor_variance=variance,
        common=uncertainty.systematic(model, b, k),
        bent=uncertainty.of_rotation(b, model.bench * leverage[:, None] ** 2),
        temperature=degrees,
        quality=quality,
    )


def in_cube(
    counts: NDArray[np.int16], k: Index, degrees: Array, number: int, tables: Tables
) -> tuple[Array, Array, Array]:
    """Field along the sensor's axes, field of one count, field in the frame of the cube, nT (n, 3) (steps 1 to 3).

    Where the temperature is not known the coefficients at their reference temperature are used.
    """

    def warm(table: Table) -> Array:
        return np.where(np.isfinite(degrees), degrees - table["reference_temperature"].value[number], 0.0)

    gain, zero, orthogonality = tables.gain, tables.zero, tables.orthogonality
    quantum = chain.count_size(
        k,
        warm(gain),
        tables.ranges["lsb"].value,
        gain["correction"].value[number],
        gain["temperature_coefficient"].value[number],
    )
    b_sensor = chain.remove_zero(
        quantum * counts, k, warm(zero), zero["zero"].value[number], zero["temperature_coefficient"].value[number]
    )
    cube = chain.orthogonalise(
        b_sensor,
        k,
        warm(orthogonality),
        orthogonality["matrix"].value[number],
        orthogonality["temperature_coefficient"].value[number],
    )
    return b_sensor, quantum, cube


def ranges_of(code: Index, present: NDArray[np.bool_], ranges: Table) -> tuple[Index, Flags]:
    """Index of the range of each sample, -1 where there is none or its code means nothing, and quality bits."""
    meaning = ranges["range_of_code"].value.astype(np.intp)
    k = np.where(present & (code < meaning.size), meaning[np.minimum(code, meaning.size - 1)], -1)
    return k, flag(~present, Quality.MISSING) | flag(present & (k < 0), Quality.MISSING | RANGE_UNKNOWN.mask)


def neighbour_flags(et: Array, rate: Array, code: Index, present: NDArray[np.bool_]) -> Flags:
    """Quality bits of samples next to a gap (the ends of the data included) or within one of a change of range."""
    quality = np.zeros(et.shape, np.uint32)
    good = np.flatnonzero(present)
    if good.size == 0:
        return quality
    when, interval = et[good], 1.5 / rate[good]
    gap = np.diff(when) > np.maximum(interval[1:], interval[:-1])
    edge = np.ones(good.size + 1, bool)
    edge[1:-1] = gap
    quality[good] |= flag(edge[1:] | edge[:-1], Quality.NEAR_GAP)
    change = np.zeros(good.size + 3, bool)
    change[2:-2] = (code[good][1:] != code[good][:-1]) & ~gap
    # the last sample before the change, the first after it, and the one after that
    quality[good] |= flag(change[2:-1] | change[1:-2] | (change[:-3] & ~edge[:-1]), RANGE_CHANGE.mask)
    return quality


def less_static_field(own: Measured, number: int, spacecraft_field: Table) -> Measured:
    """The field less the spacecraft's static one by table (step 7)."""
    scale = float(spacecraft_field["ratio"].value) if number == INBOARD else 1.0
    return replace(own, b=own.b - scale * spacecraft_field["static"].value)


def less_gradiometer_field(own: Measured, other: Measured, number: int, et: Array, spacecraft_field: Table) -> Measured:
    """The field less the spacecraft's static one by the difference of the sensors (step 7).

    Either sensor becomes ``(ratio B_OB - B_IB) / (ratio - 1)`` in the mean of an interval; covariances follow.
    """
    ratio = float(spacecraft_field["ratio"].value)
    outboard, inboard = (own, other) if number == OUTBOARD else (other, own)
    bins = np.floor(et / GRADIOMETER_INTERVAL).astype(np.int64)
    field = chain.spacecraft_field_by_gradiometry(outboard.b, inboard.b, ratio, bins)
    slope = float(spacecraft_field["ratio"].sigma) / (ratio - 1.0)
    of_table = np.diag(spacecraft_field["static"].sigma ** 2)  # not used here
    of_ratio = slope**2 * field[:, :, None] * field[:, None, :]

    def combined(out: Array, inner: Array) -> Array:
        return (ratio**2 * out + inner) / (ratio - 1.0) ** 2

    return replace(
        own,
        b=own.b - field * (ratio if number == INBOARD else 1.0),
        common=combined(outboard.common - of_table, inboard.common - ratio**2 * of_table) + of_ratio,
        bent=combined(outboard.bent, inboard.bent),
        quality=own.quality | flag(np.isnan(field[:, 0]), Quality.INPUT_MISSING),
    )
