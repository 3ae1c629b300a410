"""The equations from counts to intensities, each with its source (README.md, "Algorithm")."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from calibration.tables import Table
from instruments.jedi.layout import (
    FAMILIES,
    KINDS,
    NUCLEONS,
    SMALL,
    SPECIES,
    SSD,
    START,
    STOP,
    Family,
    merged,
)
from pipeline.errors import CalibrationError
from pipeline.particles.counting import along_time, correct_dead_time, expected_counts

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

# Records of one unit to either side, and the seconds these may be away, that tell what a sample expects and how many
# penetrating particles there are.
AROUND, REACH = 4, 30.0
# What the other channels of a telescope say of a sample's level counts as much as so many counts of its neighbours.
WEIGHT = 10.0
# A rate times its dead time beyond which a counter is not linear any more.
LARGEST_DEAD = 0.3


@dataclass(frozen=True)
class Channels:
    """Channels of a table, coarse ones merged of fine ones; arrays (channel) unless said otherwise.

    Attributes
    ----------
    efficient : efficiency times width, added up over the fine channels, keV; `doubt` is its relative uncertainty,
        independent between channels.
    place : (fine channel) into which channel each fine one is counted.
    """

    family: Family
    species: NDArray[np.int8]
    energy: Array
    lower: Array
    upper: Array
    width: Array
    efficient: Array
    doubt: Array
    place: NDArray[np.intp]

    @property
    def monitor(self) -> Mask:
        """Which channels count penetrating particles."""
        last = np.arange(self.energy.size) == self.energy.size - 1
        return last & self.family.monitor

    @property
    def per_nucleon(self) -> Array:
        """Energy over the number of nucleons; computed, as the printed ones of sulfur are not of these energies."""
        nucleons = np.array([NUCLEONS.get(SPECIES[s], np.nan) for s in self.species])
        return self.energy / nucleons

    def together(self, fine: Array) -> Array:
        """Values of fine channels added up (channel); raises CalibrationError where a table has others."""
        if fine.size != self.place.size:
            raise CalibrationError(f"JEDI {self.family.title}: {self.place.size} channels, the table has {fine.size}")
        return np.asarray(np.bincount(self.place, fine), np.float64)


def channels_of(kind: str, channels: Table, efficiency: Table) -> Channels:
    """Channels of a table type: energies, widths, efficiencies.

    Raises
    ------
    CalibrationError
        if a table has another number of channels than the archive's tables.
    """
    family = FAMILIES[KINDS[kind]]
    place = merged(family, kind)

    for g in family.groups:
        for table, name in ((channels, f"{g.energies}_width"), (efficiency, g.name)):
            size = table[name].value.size
            if size != g.channels:
                raise CalibrationError(f"{table.instrument}.{table.name}: {name} has {size} channels, not {g.channels}")

    def fine(of: str) -> Array:
        return np.concatenate([channels[f"{g.energies}_{of}"].value for g in family.groups])

    width = fine("width")
    doubt = np.concatenate([channels[f"{g.energies}_width"].sigma for g in family.groups]) / width
    eps = np.concatenate([efficiency[g.name].value for g in family.groups])
    error = np.concatenate([efficiency[g.name].sigma for g in family.groups]) / eps
    first = np.unique(place, return_index=True)[1]
    last = np.append(first[1:], place.size) - 1
    lower, upper = fine("lower")[first], fine("upper")[last]
    number = np.bincount(place)
    product = np.asarray(np.bincount(place, eps * width), np.float64)
    spread = np.sqrt(np.bincount(place, (eps * width) ** 2 * (doubt**2 + error**2))) / product
    code = np.concatenate([np.full(g.channels, SPECIES.index(g.species)) for g in family.groups])
    return Channels(
        family, code[first].astype(np.int8), np.where(number > 1, np.sqrt(lower * upper), fine("energy")[first]),
        lower, upper, np.asarray(np.bincount(place, width), np.float64), product, spread, place,
    )  # fmt: skip


class Live(NamedTuple):
    """Live time and what it rests on; arrays (record, telescope) unless said otherwise.

    Attributes
    ----------
    basic : true rates of the counters, 1/s (record, telescope, counter).
    seconds : live time.
    relative : of the live time, by the uncertainties of both dead times.
    counted : relative, by the counting statistics of the basic rate.
    saturated, rolled : beyond the linear range; counter below what was sorted.
    """

    basic: Array
    seconds: Array
    relative: Array
    counted: Array
    saturated: Mask
    rolled: Mask


def live_time(raw: xr.Dataset, dead_time: Table, counter: int) -> Live:
    """Live time from the basic rate of what is sorted: ``T / (1 + R tau)`` with R the counter's true rate (step 2).

    A sorter that is dead for tau after each pulse it takes, and sees pulses at a rate R, is live for 1 / (1 + R tau) of
    the time (Knoll, Radiation Detection and Measurement, ch. 4). The counter of basic rates has a shorter dead time
    of its own; where it runs over, or is not linear any more, the live time is not to be trusted.
    """
    seconds = raw["accumulation"].values[:, None]
    tau = float(dead_time["spectrum" if counter == SSD else "event"].value)
    doubt = float(dead_time["spectrum" if counter == SSD else "event"].sigma)
    fast = dead_time["counter"]
    seen = raw["basic"].values / seconds[:, :, None]
    basic = correct_dead_time(seen, fast.value)
    rate, own = basic[:, :, counter], raw["basic"].values[:, :, counter]
    relative = np.hypot(rate * doubt, rate**2 * tau * fast.sigma[counter]) / (1.0 + rate * tau)
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = rate / np.where(own > 0, seen[:, :, counter], np.nan)
        counted = rate * tau / (1.0 + rate * tau) * slope / np.sqrt(np.maximum(own, 1.0))
        loss = np.maximum(seen[:, :, counter] * fast.value[counter], rate * tau / (1.0 + rate * tau))
        saturated = ~(loss <= LARGEST_DEAD) & ~np.isnan(own)
        sorted_ = np.nansum(raw["counts"].values, axis=2)
        rolled = own < sorted_ - 5.0 * np.sqrt(sorted_)
    return Live(basic, seconds / (1.0 + rate * tau), relative, np.nan_to_num(counted), saturated, rolled)


class Background(NamedTuple):
    """Background (record, telescope, channel), 1/s: level, systematic and statistical error."""

    rate: Array
    systematic: Array
    structured: Array


def penetrators(raw: xr.Dataset, live: Array, channels: Channels, small: Array, table: Table) -> Background:
    """Counts that penetrating particles leave in the channels of a solid-state detector (step 4).

    They come through walls from everywhere, so the monitor channels of a unit's telescopes, and of the records around,
    measure one level; a small pixel sees fewer of them as it is smaller.

    Parameters
    ----------
    small : area of the pixel in use over that of the large one (record, telescope).
    """
    name, unit, et = channels.family.detector, raw["unit"].values, raw["et"].values
    share, sens = table[f"{name}_share"], table[f"{name}_sensitivity"]
    counts = raw["counts"].values[:, :, channels.monitor][:, :, 0]
    area = small * sens.value[unit]
    exposure = np.where(np.isnan(counts) | ~np.isfinite(live), 0.0, live * area)
    total, reach = np.zeros(et.shape), np.zeros(et.shape)
    for one in np.unique(unit):
        own = unit == one
        for target, values in ((total, np.nan_to_num(counts)), (reach, exposure)):
            target[own] = along_time(np.where(exposure > 0, values, 0.0).sum(axis=1)[own], et[own], AROUND, REACH)
    with np.errstate(divide="ignore", invalid="ignore"):
        level, error = total / reach, np.sqrt(total + 1.0) / reach
    fine = np.where(np.arange(share.value.size) == share.value.size - 1, 0.0, share.value)
    per, spread = channels.together(fine), np.sqrt(channels.together(np.where(fine > 0, share.sigma, 0.0) ** 2))
    here = (level[:, None] * area)[:, :, None]
    relative = (sens.sigma[unit] / sens.value[unit])[:, :, None]
    return Background(
        here * per,
        here * np.hypot(spread, per * relative),
        (error[:, None] * area)[:, :, None] * per,
    )


def accidentals(raw: xr.Dataset, basic: Array, channels: Channels, table: Table, dead_time: Table) -> Background:
    """Coincidences of pulses of different particles that are sorted into channels (step 4).

    ``R_start R_stop W`` of double coincidences; of triple ones times ``R_detector W_detector`` (Knoll, ch. 17), times
    the share of the channel.
    """
    triple = channels.family is FAMILIES["TOFXER"]
    used = (START, STOP, SSD) if triple else (START, STOP)
    window = float(table["tof_window"].value) * (float(table["ssd_window"].value) if triple else 1.0)
    doubts = ["tof_window", "ssd_window"] if triple else ["tof_window"]
    relative = sum((float(table[n].sigma) / float(table[n].value)) ** 2 for n in doubts)
    rate = window * np.prod(basic[:, :, used], axis=2)
    by_dead_time = ((basic * dead_time["counter"].sigma)[:, :, used] ** 2).sum(axis=2)
    with np.errstate(divide="ignore", invalid="ignore"):
        by_counts = (1.0 / np.maximum(raw["basic"].values[:, :, used], 1.0)).sum(axis=2)
    share = channels.together(np.concatenate([table[g.name].value for g in channels.family.groups]))
    spread = channels.together(np.concatenate([table[g.name].sigma for g in channels.family.groups]) ** 2)
    common = (relative + by_dead_time)[:, :, None]
    return Background(
        rate[:, :, None] * share,
        rate[:, :, None] * np.sqrt(common * share**2 + spread),
        rate[:, :, None] * share * np.sqrt(by_counts)[:, :, None],
    )


def expected(counts: Array, exposure: Array, unit: NDArray[np.int8], et: Array) -> Array:
    """Expected counts of samples (record, telescope, channel), for their random error (step 1).

    From all telescopes of the unit and the records around, in proportion to exposure, times what the telescope's other
    channels have over that: intensities go with pitch angle, spectra much less.
    """
    there = np.isfinite(counts) & (exposure > 0)
    known, reach = np.where(there, counts, 0.0), np.where(there, exposure, 0.0)
    sums = []
    for values in (known, reach):
        around = np.empty(values.shape)
        for one in np.unique(unit):
            own = unit == one
            near = along_time(values[own].sum(axis=1), et[own], AROUND, REACH)
            around[own] = near[:, None, :] - values[own]
        sums.append(np.maximum(around, 0.0))
    pooled = expected_counts(known, reach, (sums[0], sums[1]))
    others = (a.sum(axis=2, keepdims=True) - a for a in (known, pooled))
    counted, foretold = others
    return pooled * (counted + WEIGHT) / (foretold + WEIGHT)


class Response(NamedTuple):
    """Rate over intensity, cm2 sr keV (record, telescope, channel): value, relative error, where extrapolated."""

    value: Array
    relative: Array
    small: Array
    unknown: Mask
    outside: Mask


def response(raw: xr.Dataset, channels: Channels, geometric_factor: Table, efficiency: Table) -> Response:
    """``G eps dE``: geometric factor of the pixel, efficiency by species, channel, gain and epoch, width (step 5).

    Parameters
    ----------
    raw : ``pixel``, ``gain``, ``unit`` and ``et``.
    """
    unit, et, pixel, gain = (raw[n].values for n in ("unit", "et", "pixel", "gain"))
    name, tof = channels.family.detector, not channels.family.monitor
    large, ratio = geometric_factor[name], geometric_factor[f"{name}_small"]
    is_small = pixel == SMALL
    small = np.where(is_small, ratio.value[unit], 1.0)
    relative = (large.sigma / large.value)[unit] ** 2 + np.where(is_small, (ratio.sigma / ratio.value)[unit] ** 2, 0.0)
    epoch, factor = efficiency["epoch"].value, efficiency["tof_epoch_factor" if tof else "ssd_epoch_factor"]
    age, aging = np.interp(et, epoch, factor.value), np.interp(et, epoch, factor.sigma)
    states = efficiency["gain_factor"]
    known = (gain >= 0) & (gain < states.value.size)
    state = np.where(known, gain, 0)
    by_gain = states.value[state] if tof else np.ones(et.shape)
    by_time = (aging / age) ** 2 + ((states.sigma / states.value)[state] ** 2 if tof else 0.0)
    value = (large.value[unit] * small * (age * by_gain)[:, None])[:, :, None] * channels.efficient
    total = np.sqrt((relative + by_time[:, None])[:, :, None] + channels.doubt**2)
    unknown = ~np.isin(pixel, (0, SMALL)) | ~known[:, None]
    return Response(value, total, small, unknown, (et < epoch[0]) | (et > epoch[-1]))
