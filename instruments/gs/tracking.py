"""From tracking files to frequencies: received ones from phases or Doppler, transmitted ones from ramps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from calibration.tables import Table
from instruments.gs.layout import LINK_NAMES, ONE_WAY, RECEIVED, THREE_WAY, TRANSMITTED, TWO_WAY, link_of
from instruments.gs.ramps import misfits
from instruments.gs.raw import TOTAL_PHASE, et_of
from instruments.gs.schemas import CYCLE_SLIP
from pipeline.dataset.quality import Quality, flag
from pipeline.errors import CalibrationError
from pipeline.instrument import Raw, step

Floats = NDArray[np.float64]

MICRO = 1_000_000  # times of counts are compared in microseconds
SAME_DELAY = 1e-6  # s between delays of one station; more would be 0.02 mm/s where Juno is accelerated most


@dataclass(frozen=True, eq=False)
class Counts:
    """Count intervals of one receiver: edges in microseconds from the first day, length (n); see `tracking`."""

    day: int
    start: NDArray[np.int64]
    length: NDArray[np.int64]

    @property
    def middle(self) -> tuple[NDArray[np.int64], Floats]:
        """Day and second of the middle."""
        at = self.start + self.length / 2
        days = np.floor(at / (86400.0 * MICRO)).astype(np.int64)
        return self.day + days, (at - days * 86400.0 * MICRO) / MICRO


def _micro(day: NDArray[np.int64], second: Floats, first: int) -> NDArray[np.int64]:
    return (day - first) * 86400 * MICRO + np.rint(second * MICRO).astype(np.int64)


def choose_receiver(receiver: NDArray[np.int16], usable: NDArray[np.bool_], wanted: int | None) -> int:
    """The station asked for, else that with the most usable records; raises CalibrationError if there is none."""
    numbers, counts = np.unique(receiver[usable], return_counts=True)
    if wanted is not None and wanted in numbers:
        return wanted
    if wanted is not None or numbers.size == 0:
        there = ", ".join(f"DSS-{n}" for n in numbers) or "none"
        asked = f"DSS-{wanted}" if wanted is not None else "any station"
        raise CalibrationError(f"no coherent carrier received at {asked}; received at: {there}")
    return int(numbers[np.argmax(counts)])


@step(produces="gs.tracking", over="unit", version=3)
def tracking_from_tnf(
    raw: Annotated[xr.Dataset, Raw("gs.tnf")],
    noise: Table,
    *,
    count_time: float = 1.0,
    station: int | None = None,
) -> xr.Dataset:
    """Mean received frequencies from the phases of a tracking file.

    The phase that was gained in a count interval is formed in whole cycles and fractions apart, so that nothing is lost
    of 1e13 cycles. Where a carrier has total-count phases (type 17) they are used, else those of the receiver (type 1).

    Parameters
    ----------
    count_time : seconds; a multiple of the interval of the records.
    station : receiver; by default that with the most records.
    """
    link = link_of(raw["up_band"].values, raw["down_band"].values)
    mode = raw["mode"].values
    usable = (link >= 0) & np.isin(mode, (TWO_WAY, THREE_WAY))
    receiver = choose_receiver(raw["receiver"].values, usable, station)
    left_out = {
        "records_one_way": int((mode == ONE_WAY).sum()),
        "records_of_other_stations": int((usable & (raw["receiver"].values != receiver)).sum()),
        "units_damaged": raw.attrs["units_damaged"],
    }
    rows = raw.isel(et=np.flatnonzero(usable & (raw["receiver"].values == receiver)))
    link = link_of(rows["up_band"].values, rows["down_band"].values)
    first = int(rows["day"].values.min())
    tags = _micro(rows["day"].values, rows["second"].values, first)
    counts = _counts(first, np.unique(tags), count_time)
    columns = [_differences(rows.isel(et=_best(link == k, rows["kind"].values)), first, counts) for k in range(3)]
    for k, column in enumerate(columns):
        column["power"] = _power(rows.isel(et=np.flatnonzero(link == k)), first, counts)
    return _tracking(counts, receiver, columns, noise).assign_attrs(left_out)


def _best(of_link: NDArray[np.bool_], kind: NDArray[np.int8]) -> NDArray[np.intp]:
    total = of_link & (kind == TOTAL_PHASE)
    return np.flatnonzero(total if total.any() else of_link)


def _power(rows: xr.Dataset, first: int, counts: Counts) -> Floats:
    """Carrier to noise density at the start of the counts, as the receiver's records (type 1) say; NaN elsewhere."""
    said = rows.isel(et=np.flatnonzero(np.isfinite(rows["power"].values)))
    out = np.full(counts.start.shape, np.nan)
    if said.sizes["et"]:
        tags, where = np.unique(_micro(said["day"].values, said["second"].values, first), return_index=True)
        place = np.minimum(np.searchsorted(tags, counts.start), tags.size - 1)
        out = np.where(tags[place] == counts.start, said["power"].values[where[place]], np.nan)
    return out


def _counts(first: int, tags: NDArray[np.int64], count_time: float) -> Counts:
    """Intervals between tags that are whole multiples of the count time, where both ends are there."""
    length = round(count_time * MICRO)
    if length <= 0 or abs(length / MICRO - count_time) > 1e-9:
        raise CalibrationError(f"count_time {count_time} s is no positive number of microseconds")
    edges = tags[tags % length == 0]
    start = edges[np.isin(edges + length, edges)]
    if start.size == 0:
        raise CalibrationError(f"no two phases are {count_time} s apart: choose a multiple of the records' interval")
    return Counts(first, start, np.full(start.shape, length))


def _differences(rows: xr.Dataset, first: int, counts: Counts) -> dict[str, NDArray[Any]]:
    """Frequency and what goes with it of one link at the count intervals.

    Out of lock at any record of a count, ends included, the phase is not known; a slip at any but the first is in it.
    """
    tags, where = np.unique(_micro(rows["day"].values, rows["second"].values, first), return_index=True)
    if tags.size == 0:
        nothing = np.full(counts.start.shape, np.nan)
        zero = np.zeros(counts.start.shape, np.int16)
        return {"frequency": nothing, "delay": np.zeros(nothing.shape), "transmitter": zero, "bad": zero > 0}
    value = {
        name: rows[name].values[where] for name in ("cycles", "fraction", "locked", "slipped", "transmitter", "delay")
    }
    edges = (counts.start, counts.start + counts.length)
    a, b = (np.minimum(np.searchsorted(tags, edge), tags.size - 1) for edge in edges)
    there = (tags[a] == edges[0]) & (tags[b] == edges[1])
    lost, slips = (np.concatenate([[0], np.cumsum(bad)]) for bad in (~value["locked"], value["slipped"]))
    good = there & (lost[b + 1] == lost[a]) & (value["transmitter"][a] == value["transmitter"][b])
    whole, part = value["cycles"][b] - value["cycles"][a], value["fraction"][b] - value["fraction"][a]
    seconds = counts.length / MICRO
    return {
        "frequency": np.where(good, whole / seconds + part / seconds, np.nan),
        "delay": np.where(there, value["delay"][a], 0.0),
        "transmitter": np.where(there, value["transmitter"][a], 0).astype(np.int16),
        "bad": there & ((slips[b + 1] > slips[a + 1]) | ~good),
    }


@step(produces="gs.tracking", over="unit", version=3)
def tracking_from_odf(
    raw: Annotated[xr.Dataset, Raw("gs.odf")],
    noise: Table,
    transponder: Table,
    *,
    station: int | None = None,
) -> xr.Dataset:
    """Mean received frequencies from the Doppler of an orbit data file.

    The observable is ``M2 f_reference - f_received`` (Moyer 2000, 13.3.2), M2 from the band of the reference to that of
    the downlink.
    """
    link = link_of(raw["up_band"].values, raw["down_band"].values)
    usable = (link >= 0) & (link_of(raw["reference_band"].values, raw["down_band"].values) >= 0)
    receiver = choose_receiver(raw["receiver"].values, usable, station)
    rows = raw.isel(et=np.flatnonzero(usable & (raw["receiver"].values == receiver)))
    first = int(rows["day"].values.min())
    middle = _micro(rows["day"].values, rows["second"].values, first)
    length = np.rint(rows["count_time"].values * MICRO).astype(np.int64)
    starts, place, back = np.unique(middle - length // 2, return_index=True, return_inverse=True)
    counts = Counts(first, starts, length[place])
    ratio = transponder["ratio"].value[link_of(rows["reference_band"].values, rows["down_band"].values)]
    frequency = ratio * rows["reference"].values - rows["observable"].values
    link = link_of(rows["up_band"].values, rows["down_band"].values)
    agreed = length == counts.length[back]
    columns = []
    for k in range(3):
        mine = np.flatnonzero((link == k) & agreed)
        column = {
            "frequency": np.full(starts.shape, np.nan),
            "power": np.full(starts.shape, np.nan),
            "delay": np.zeros(starts.shape),
            "transmitter": np.zeros(starts.shape, np.int16),
            "bad": np.zeros(starts.shape, bool),
        }
        good = rows["valid"].values[mine]
        column["frequency"][back[mine]] = np.where(good, frequency[mine], np.nan)
        column["bad"][back[mine]] = ~good
        for name in ("delay", "transmitter"):
            column[name][back[mine]] = rows[name].values[mine]
        columns.append(column)
    left_out = int((raw["receiver"].values[usable] != receiver).sum()) + int((~agreed).sum())
    made = _tracking(counts, receiver, columns, noise)
    return made.assign_attrs(records_of_other_stations=left_out, units_damaged=raw.attrs["units_damaged"])


def _tracking(counts: Counts, receiver: int, columns: list[dict[str, NDArray[Any]]], noise: Table) -> xr.Dataset:
    table = {name: np.stack([c[name] for c in columns], axis=1) for name in columns[0]}
    day, second = counts.middle
    seconds = counts.length / MICRO
    white, phase = noise["white_frequency"].value, noise["phase"].value
    low, high = np.transpose(RECEIVED)
    absurd = (table["frequency"] < low) | (table["frequency"] > high)
    frequency = np.where(absurd, np.nan, table["frequency"])
    variance = (white * frequency) ** 2 / seconds[:, None] + 2.0 * (phase / seconds[:, None]) ** 2
    quality = flag(np.isnan(frequency), Quality.MISSING)
    links = np.broadcast_to(np.arange(frequency.shape[1]), frequency.shape)
    odd = _odd_delays(table["delay"].ravel(), links.ravel()).reshape(frequency.shape)
    quality |= flag(table["bad"], CYCLE_SLIP.mask) | flag(absurd | odd, Quality.SUSPECT)
    pair = ("et", "link")
    return xr.Dataset(
        {
            "utc_day": ("et", day),
            "utc_second": ("et", second),
            "count_time": ("et", seconds),
            "receiver": ("et", np.full(second.shape, receiver)),
            "transmitter": (pair, table["transmitter"]),
            "sky_frequency": (pair, frequency),
            "sky_frequency_random": (pair, np.sqrt(variance)),
            "power": (pair, table["power"]),
            "delay": (pair, table["delay"]),
            "link_name": ("link", np.array(LINK_NAMES)),
            "quality": (pair, quality),
        },
        coords={"et": ("et", et_of(day, second))},
    )


# Ramps


@step(produces="gs.uplink", over="unit", version=3)
def uplink_from_tnf(raw: Annotated[xr.Dataset, Raw("gs.tnf")], noise: Table) -> xr.Dataset:
    """Transmitted frequency from the ramp records (type 9) of tracking files."""
    return _uplink(raw, noise)


@step(produces="gs.uplink", over="unit", version=3)
def uplink_from_odf(raw: Annotated[xr.Dataset, Raw("gs.odf")], noise: Table) -> xr.Dataset:
    """Transmitted frequency from the ramp groups of orbit data files."""
    return _uplink(raw, noise)


def _uplink(raw: xr.Dataset, noise: Table) -> xr.Dataset:
    """Ramps: each from its record to the next one of its station and band, the last to the end of the data."""
    if "ramp_day" not in raw or raw["ramp_day"].size == 0:
        raise CalibrationError("the tracking data hold no ramp of a transmitter: the uplink frequency is not known")
    table = {str(n).removeprefix("ramp_"): raw[n].values for n in raw if str(n).startswith("ramp_")}
    et = et_of(table["day"], table["second"])
    # Of records at one time an end comes before a start.
    order = np.lexsort((~table["ends"], et, table["band"], table["station"]))
    table, et = {n: column[order] for n, column in table.items()}, et[order]
    instant = _micro(table["day"], table["second"], int(table["day"].min()))
    last = _micro(raw["day"].values, raw["second"].values, int(table["day"].min())).max()
    following = np.append(instant[1:], last)
    other = np.append((table["station"][1:] != table["station"][:-1]) | (table["band"][1:] != table["band"][:-1]), True)
    duration = np.where(other, np.maximum(last, instant), following) - instant
    keep = np.flatnonzero(~table["ends"] & (duration > 0))
    bad, suspect = _judged_ramps({n: c[keep] for n, c in table.items()}, instant[keep], duration[keep])
    by_time = np.argsort(et[keep], kind="stable")
    keep, bad, suspect = keep[by_time], bad[by_time], suspect[by_time]
    frequency = table["frequency"][keep]
    offset = float(noise["station_frequency"].value)
    return xr.Dataset(
        {
            "utc_day": ("ramp", table["day"][keep]),
            "utc_second": ("ramp", table["second"][keep]),
            "duration": ("ramp", duration[keep] / MICRO),
            "frequency": ("ramp", np.where(bad, np.nan, frequency)),
            "frequency_systematic": ("ramp", np.where(bad, np.nan, offset * frequency)),
            "rate": ("ramp", table["rate"][keep]),
            "station": ("ramp", table["station"][keep]),
            "band": ("ramp", table["band"][keep]),
            "delay": ("ramp", table["delay"][keep]),
            "quality": ("ramp", flag(bad, Quality.MISSING) | flag(suspect, Quality.SUSPECT)),
        },
        coords={"et": ("ramp", et[keep])},
    )


def _judged_ramps(
    table: dict[str, NDArray[Any]], instant: NDArray[np.int64], duration: NDArray[np.int64]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which ramps, in order of station, band and time, leave their band, and which are suspect.

    Parameters
    ----------
    instant, duration : microseconds.
    """
    frequency, rate, length = table["frequency"], table["rate"], duration / MICRO
    low, high = np.transpose([TRANSMITTED.get(int(b), (np.inf, -np.inf)) for b in table["band"]]).reshape(2, -1)
    last = frequency + rate * length
    bad = ~((np.minimum(frequency, last) > low) & (np.maximum(frequency, last) < high))
    group = table["station"].astype(np.int64) * 256 + table["band"]
    touches = (instant + duration)[:-1] == instant[1:]
    follows = np.append(False, touches & (group[1:] == group[:-1]) & ~bad[1:] & ~bad[:-1])[: group.size]
    with np.errstate(over="ignore", invalid="ignore"):  # of ramps that are no ramps
        return bad, misfits(frequency, rate, length, follows) | _odd_delays(table["delay"], group)


def _odd_delays(delay: Floats, group: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Which delays are not those of their group, of one station and band: cables do not change in a pass.

    Zero, a delay that is not stated, is none.
    """
    odd = np.zeros(delay.shape, bool)
    for one in np.unique(group):
        mine = np.flatnonzero((group == one) & (delay != 0.0))
        if mine.size:
            odd[mine] = np.abs(delay[mine] - np.median(delay[mine])) > SAME_DELAY
    return odd
