"""From raw counts, or the archive's RDR, to deflections and antenna temperatures (equations: `radiometer`)."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from calibration.tables import Table
from instruments.mwr import radiometer
from instruments.mwr.layout import CHANNELS, DIODE_BITS, LOAD_BIT, RECEIVER_OF_STREAM, RECEIVERS, STREAMS, UNKNOWN_STATE
from instruments.mwr.radiometer import Array
from instruments.mwr.schemas import EQUATION, REFERENCE_LOST
from instruments.mwr.states import HALO, interpolated, physical_temperatures, stands_out, windows
from pipeline.clock import Span
from pipeline.dataset.events import counted
from pipeline.dataset.quality import Quality, flag
from pipeline.errors import CalibrationError
from pipeline.instrument import Product, Raw, step

Flags = NDArray[np.uint32]

OF_STREAM = list(RECEIVER_OF_STREAM)
# First and last stream of each receiver: where a record of the first is lost the other one serves.
FIRST = [OF_STREAM.index(n) for n in range(RECEIVERS)]
LAST = [len(OF_STREAM) - 1 - OF_STREAM[::-1].index(n) for n in range(RECEIVERS)]
# Neighbours are looked for within this many seconds: antenna records surround each diode, the load is seen every 1.2 s.
ANTENNA_REACH, LOAD_REACH = 0.75, 3.0
# Share of a count by which one stands out of its neighbours: on the load nothing but the gain drifts; the beam may turn
# over the limb. Lightning is seen in single records at 0.6 GHz (Brown et al. 2018, Nature 558, 87) and may be at 1.2:
# there no record that looks is judged.
ODD_ON_LOAD, ODD_LOOKING, LIGHTNING = 0.02, 0.1, 2
# A converter's rounding, counts squared.
ROUNDING = 1.0 / 12.0
# Gain products reach this far beyond their last node, seconds.
GAIN_REACH = 120.0
# The absolute accuracy that the archive states for its TA (PDS catalogue of the RDR).
ARCHIVE_ACCURACY = 0.02
# Disagreement of the archive's columns that is flagged, K: they are printed to 0.01 counts and 1e-4 K or so.
EQUATION_TOLERANCE = 0.5


@step(produces="mwr.deflections", over="segment", halo=HALO, version=2)
def deflections(
    raw: Annotated[xr.Dataset, Raw("mwr.edr")],
    span: Span,
    receiver: Table,
    detector: Table,
    chain: Table,
    noise_diode: Table,
    thermal: Table,
) -> xr.Dataset:
    """Deflection of every record with a noise diode on: its counts less those without it, interpolated to its time.

    In the antenna position the scene turns by 1.2 degrees a record, so a cubic through four neighbours is taken; on the
    load a line through two.

    Parameters
    ----------
    raw : counts(et, stream), state(et, stream), housekeeping(et, sensor), events(record, event).
    """
    et, state = raw["et"].values, raw["state"].values
    x, lost, full = _counts(raw, detector)
    odd = _odd(x, state, receiver, detector)
    x, lost = np.where(odd, np.nan, x), lost | odd
    on = (state != UNKNOWN_STATE) & ((state & DIODE_BITS) > 0)
    rows = np.flatnonzero(on.any(axis=1))
    base, weights = np.full((len(rows), len(STREAMS)), np.nan), np.full((len(rows), len(STREAMS)), np.nan)
    for s in range(len(STREAMS)):
        for off, side, reach in ((0, 2, ANTENNA_REACH), (LOAD_BIT, 1, LOAD_REACH)):
            known = (state[:, s] == off) & ~lost[:, s] & ~full[:, s]
            mine = on[rows, s] & ((state[rows, s] & LOAD_BIT) == off)
            here = rows[mine]
            base[mine, s], weights[mine, s] = interpolated(et[here], et[known], x[known, s], side, reach)
    value, used = x[rows], on[rows]
    bits = flag(lost[rows] | ~used, Quality.MISSING) | flag(full[rows] & used, Quality.SATURATED)
    deflection = np.where(used & ~lost[rows], value - base, np.nan)
    bits |= flag(np.isnan(deflection), Quality.MISSING)
    noise = _noise(value, receiver, detector) ** 2 + weights * _noise(base, receiver, detector) ** 2

    temperatures = physical_temperatures(et, raw["housekeeping"].values, thermal, et[rows])
    front = radiometer.front(temperatures, chain, receiver["frequency"].value)
    tnd, error = _diodes(temperatures["diode"], (state[rows] & DIODE_BITS).astype(np.uint8), front, chain, noise_diode)
    bits |= flag(np.isnan(tnd) & ~np.isnan(deflection), REFERENCE_LOST.mask | Quality.MISSING)
    gone = (bits & np.uint32(Quality.MISSING)) != 0
    per = ("et", "stream")
    return xr.Dataset(
        {
            "deflection": (per, np.where(gone, np.nan, deflection)),
            "deflection_random": (per, np.where(gone, np.nan, np.sqrt(noise))),
            "base": (per, base),
            "tnd": (per, np.where(gone, np.nan, tnd)),
            "tnd_systematic": (per, np.where(gone, np.nan, tnd * error)),
            "diode": (per, np.where(used, state[rows] & DIODE_BITS, 0).astype(np.uint8)),
            "position": (per, (used & ((state[rows] & LOAD_BIT) != 0)).astype(np.uint8)),
            "quality": (per, bits),
        },
        coords={"et": et[rows], "stream": list(STREAMS)},
        attrs=counted(raw, span),
    )


def _counts(raw: xr.Dataset, detector: Table) -> tuple[Array, NDArray[np.bool_], NDArray[np.bool_]]:
    """Counts less offset, NaN where lost; where they are lost; where they are at the end of the scale."""
    counts = raw["counts"].values
    lost = ~np.isfinite(counts) | (raw["state"].values == UNKNOWN_STATE)
    with np.errstate(invalid="ignore"):
        full = ~lost & (counts >= detector["full_scale"].value)
    return np.where(lost, np.nan, counts - detector["offset"].value), lost, full


def _odd(x: Array, state: NDArray[np.uint8], receiver: Table, detector: Table) -> NDArray[np.bool_]:
    """Counts that stand out of those of their stream about them in the same state: words have no checksum of their own.

    On the load, with and without each diode, and looking without one; with a diode the scene changes between records.
    """
    out, sigma = np.zeros(x.shape, bool), _noise(x, receiver, detector)
    for s, number in enumerate(OF_STREAM):
        for one in np.unique(state[:, s]):
            looking = one == 0
            if one == UNKNOWN_STATE or not (one & LOAD_BIT or looking) or (looking and number < LIGHTNING):
                continue
            mine = np.flatnonzero(state[:, s] == one)
            out[mine, s] = stands_out(x[mine, s], sigma[mine, s], ODD_LOOKING if looking else ODD_ON_LOAD)
    return out


def _noise(x: Array, receiver: Table, detector: Table) -> Array:
    """One sigma of counts less offset (n, stream): ``x / sqrt(B tau)``, the readout's noise, and rounding."""
    return np.sqrt((x * _radiometric(receiver)) ** 2 + detector["readout"].value ** 2 + ROUNDING)


def _radiometric(receiver: Table) -> Array:
    """Relative noise of one record (stream): ``1 / sqrt(B tau)``, of a total power radiometer.

    Ulaby and Long 2014, Microwave Radar and Radiometric Remote Sensing, ch. 7.

    Raises
    ------
    CalibrationError
        for no bandwidth or integration.
    """
    samples = receiver["bandwidth"].value * 1e6 * float(receiver["integration"].value)
    if not (samples > 0.0).all():
        raise CalibrationError("table mwr.receiver: bandwidth and integration must be positive")
    return np.asarray(1.0 / np.sqrt(samples[OF_STREAM]))


def _diodes(
    temperature: Array, number: NDArray[np.uint8], front: radiometer.Front, chain: Table, noise_diode: Table
) -> tuple[Array, Array]:
    """Brightness at the aperture of the diode that is on, K (n, stream), and its relative systematic error."""
    at_aperture = radiometer.diode(temperature, noise_diode) * front.referral[:, None]
    which = np.maximum(number.astype(np.intp), 1) - 1
    tnd = np.take_along_axis(at_aperture[:, OF_STREAM], which[:, :, None], axis=2)[:, :, 0]
    own = (noise_diode["brightness"].sigma / noise_diode["brightness"].value)[OF_STREAM]
    losses = ((radiometer.PER_DECIBEL * chain["loss"].sigma) ** 2).sum(axis=1)
    mismatch = (chain["reflection"].sigma / (1.0 - front.reflection)) ** 2
    common = (losses + mismatch + noise_diode["scale"].sigma ** 2)[OF_STREAM]
    return tnd, np.sqrt(common + np.take_along_axis(own, which.T, axis=1).T ** 2)


@step(produces="mwr.antenna_temperature", over="segment", halo=HALO, version=2)
def antenna_temperature(
    raw: Annotated[xr.Dataset, Raw("mwr.edr")],
    span: Span,
    gain: Annotated[xr.Dataset, Product("mwr.gain")],
    receiver: Table,
    detector: Table,
    chain: Table,
    noise_diode: Table,
    thermal: Table,
) -> xr.Dataset:
    """Antenna temperature at the aperture of every record that looks at the antenna, by stream and by channel.

    Counts of the load and temperatures are running means over a spin, brought to the record's time; the gain is that of
    the pass. Outputs of one receiver are combined by the variances of what they do not share.

    Parameters
    ----------
    raw : counts(et, stream), state(et, stream), housekeeping(et, sensor), events(record, event).
    gain : product of the whole pass.
    """
    et, state = raw["et"].values, raw["state"].values
    x, lost, full = _counts(raw, detector)
    odd = _odd(x, state, receiver, detector)
    looking = (state & LOAD_BIT) == 0
    looking &= (state & DIODE_BITS) == 0
    rows = np.flatnonzero(looking.any(axis=1))
    compression = gain["compression"].values
    y, at = radiometer.linear(x, compression), et[rows]
    reference, number = _of_load(et, y, (state == LOAD_BIT) & ~full & ~odd, at)
    temperatures = physical_temperatures(et, raw["housekeeping"].values, thermal, at)
    front = radiometer.front(temperatures, chain, receiver["frequency"].value)
    g, smoothing_error, diode_error, left_out = gain_at(gain, at)
    ta = radiometer.antenna_temperature(y[rows], reference, g, front.offset[:, OF_STREAM])
    gone = lost[rows] | ~looking[rows]
    unknown = ~gone & np.isnan(ta)
    bits = flag(gone | unknown, Quality.MISSING) | flag(unknown, REFERENCE_LOST.mask)
    bits |= flag(full[rows] & ~gone, Quality.SATURATED) | flag(odd[rows] & ~gone, Quality.SUSPECT) | left_out

    relative = _radiometric(receiver)
    slope = np.abs(1.0 + 2.0 * compression * x[rows]) / g
    shared = y[rows] * relative / g
    own = np.sqrt(detector["readout"].value ** 2 + ROUNDING) * slope
    difference = (y[rows] - reference) / g
    bend = (x[rows] + reference - gain["level"].values) * difference
    with np.errstate(invalid="ignore", divide="ignore"):
        of_load = reference * relative / g / np.sqrt(number)
    parts = {
        "ta": ta,
        "shared": shared,
        "own": own,
        "structured": np.sqrt(
            of_load**2 + (difference * smoothing_error) ** 2 + (bend * gain["compression_random"].values) ** 2
        ),
        "bend": bend * gain["compression_systematic"].values,
    }
    by_receiver = np.where(np.isnan(ta[:, FIRST]), ta[:, LAST], ta[:, FIRST])
    diode_error = diode_error[:, FIRST]
    common = radiometer.systematic(by_receiver, front, chain, thermal, diode_error)
    scale = (by_receiver - front.offset) * diode_error
    return _finished(at, parts, common, scale, front.offset, bits).assign_attrs(counted(raw, span))


def _of_load(et: Array, y: Array, load: NDArray[np.bool_], at: Array) -> tuple[Array, Array]:
    """Counts on the load, and of how many records, at times (n, stream)."""
    parts = [windows(et[load[:, s]], y[load[:, s], s]).at(at) for s in range(len(STREAMS))]
    reference, number = (np.stack(part, axis=1) for part in zip(*parts, strict=True))
    return reference, number


def gain_at(gain: xr.Dataset, et: Array) -> tuple[Array, Array, Array, Flags]:
    """Gain at times (n, stream), the relative errors of its smoothing and of the diodes, bits of the nearer node."""
    nodes, many = gain["et"].values, len(STREAMS)
    names = ("gain", "smoothing_error", "diode_error")
    out = {name: np.full((len(et), many), np.nan) for name in names}
    bits = np.zeros((len(et), many), np.uint32)
    for s in range(many):
        good = np.isfinite(gain["gain"].values[:, s])
        if not good.any():
            continue
        t = nodes[good]
        after = np.clip(np.searchsorted(t, et), 1, max(1, len(t) - 1))
        low, high = after - 1, np.minimum(after, len(t) - 1)
        nearer = np.where(np.abs(et - t[low]) <= np.abs(et - t[high]), low, high)
        far = np.abs(et - t[nearer]) > GAIN_REACH
        for name in names:
            out[name][:, s] = np.where(far, np.nan, np.interp(et, t, gain[name].values[good, s].astype(float)))
        bits[:, s] = gain["quality"].values[good, s][nearer]
    return out["gain"], out["smoothing_error"], out["diode_error"], bits


def _finished(
    et: Array, parts: dict[str, Array], common: Array, scale: Array, offset: Array, bits: Flags
) -> xr.Dataset:
    """The product from what is known of each stream.

    Parameters
    ----------
    parts : (n, stream): ``ta``; random errors ``shared`` by the outputs of a receiver and its ``own``; ``structured``;
        systematic error of the nonlinearity ``bend``.
    common, scale : systematic error of a receiver, and the part of it that goes with TA - TOFF, K (n, receiver).
    """
    gone = (bits & np.uint32(Quality.MISSING)) != 0
    full = (bits & np.uint32(Quality.SATURATED)) != 0
    p = {name: np.where(gone, np.nan, value) for name, value in parts.items()}
    combined = {name: np.full((len(et), RECEIVERS), np.nan) for name in ("ta", "random", "systematic", "structured")}
    quality = np.zeros((len(et), RECEIVERS), np.uint32)
    for n in range(RECEIVERS):
        mine = [s for s, r in enumerate(OF_STREAM) if r == n]
        usable = ~gone[:, mine]
        # One that is not saturated is enough; if all are, they are combined as they are.
        usable &= ~full[:, mine] | full[:, mine].all(axis=1, keepdims=True)
        weight = np.where(usable, 1.0 / p["own"][:, mine] ** 2, 0.0)
        total = weight.sum(axis=1, keepdims=True)
        weight = np.divide(weight, total, out=np.zeros_like(weight), where=total > 0)
        there = total[:, 0] > 0

        def mixed(name: str, weight: Array = weight, mine: list[int] = mine) -> Array:
            return np.asarray(np.where(weight > 0, weight * p[name][:, mine], 0.0).sum(axis=1))

        own = np.where(weight > 0, (weight * p["own"][:, mine]) ** 2, 0.0).sum(axis=1)
        bend = np.where(weight > 0, (weight * p["bend"][:, mine]) ** 2, 0.0).sum(axis=1)
        values = {
            "ta": mixed("ta"),
            "random": np.sqrt(mixed("shared") ** 2 + own),
            "systematic": np.sqrt(common[:, n] ** 2 + bend),
            "structured": mixed("structured"),
        }
        for name, value in values.items():
            combined[name][:, n] = np.where(there, value, np.nan)
        every, some = np.bitwise_and.reduce(bits[:, mine], axis=1), np.bitwise_or.reduce(bits[:, mine], axis=1)
        alone = np.uint32(Quality.MISSING | Quality.SATURATED | REFERENCE_LOST.mask)
        quality[:, n] = (every & alone) | (some & ~alone) | flag(~there, Quality.MISSING)
    per, each = ("et", "stream"), ("et", "channel")
    data = {
        "ta": (each, combined["ta"]),
        **{f"ta_{k}": (each, combined[k]) for k in ("random", "systematic", "structured")},
        "ta_stream": (per, p["ta"]),
        "ta_stream_random": (per, np.hypot(p["shared"], p["own"])),
        "ta_stream_systematic": (per, np.where(gone, np.nan, np.hypot(common[:, OF_STREAM], p["bend"]))),
        "ta_stream_structured": (per, p["structured"]),
        "ta_scale": (each, scale),
        "toff": (each, offset),
        "quality": (each, quality),
        "stream_quality": (per, bits),
    }
    return xr.Dataset(data, coords={"et": et, "channel": list(CHANNELS), "stream": list(STREAMS)})


@step(produces="mwr.antenna_temperature", over="segment", version=1)
def antenna_temperature_from_archive(
    raw: Annotated[xr.Dataset, Raw("mwr.irdr")], span: Span, receiver: Table, detector: Table
) -> xr.Dataset:
    """Antenna temperature as the archive's instrument RDR has it, with the uncertainty that it does not state.

    Noise by the radiometer equation from its counts and the gain of its diodes; 2 % of absolute accuracy, as the
    catalogue states. Where its TA is not what its own columns make, ``TOFF + (AntCnt - RefCnt) / G`` with G the mean of
    NDkRCnt / TNDkR, a bit says so: the archive's nonlinearity is not public.

    Parameters
    ----------
    raw : ta, toff, antenna_counts, reference_counts (et, stream), deflection, tnd (et, position, diode, stream).
    """
    et, ta, toff = raw["et"].values, raw["ta"].values, raw["toff"].values
    with np.errstate(invalid="ignore", divide="ignore"):
        by_diode = raw["deflection"].values[:, 1] / raw["tnd"].values[:, 1]
    by_diode = np.where(np.isfinite(by_diode) & (by_diode > 0), by_diode, np.nan)
    there = np.isfinite(by_diode)
    with np.errstate(invalid="ignore", divide="ignore"):
        g = np.where(there, by_diode, 0.0).sum(axis=1) / there.sum(axis=1)
    x = raw["antenna_counts"].values - detector["offset"].value
    equation = radiometer.antenna_temperature(raw["antenna_counts"].values, raw["reference_counts"].values, g, toff)
    gone = ~np.isfinite(ta) | np.isnan(x) | np.isnan(g)
    with np.errstate(invalid="ignore"):
        differs = ~gone & ~(np.abs(equation - ta) < EQUATION_TOLERANCE)
    parts = {
        "ta": ta,
        "shared": x * _radiometric(receiver) / g,
        "own": np.sqrt(detector["readout"].value ** 2 + ROUNDING) / g,
        "structured": np.zeros(ta.shape),
        "bend": np.zeros(ta.shape),
    }
    bits = flag(gone, Quality.MISSING) | flag(differs, EQUATION.mask)
    common = ARCHIVE_ACCURACY * np.abs(np.where(np.isfinite(ta), ta, 0.0)[:, FIRST])
    return _finished(et, parts, common, common, toff[:, FIRST], bits).assign_attrs(counted(raw, span))
