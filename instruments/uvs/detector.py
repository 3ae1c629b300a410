"""What the detector did: times covered, dead time, places, pulse heights, radiation (README.md, steps 1 to 7)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.special import ndtr

from instruments.uvs import places
from instruments.uvs.layout import (
    BLOCK_COLUMNS,
    BLOCK_ROWS,
    COLUMNS,
    ROWS,
    SECOND,
    SLIT_BINS,
    SLOW,
    STEP,
    WAVELENGTH_EDGES,
    Array,
)
from instruments.uvs.tables import Tables

Index = NDArray[np.int64]
Bools = NDArray[np.bool_]
DeadTime = Literal["rates", "table"]

LEAST_LIVE = 0.02
# Parts of a step in which the events' rate is taken as steady.
FINE = 4
# The longest dead time that is looked for, s, and how often the interval is halved in which it is.
LONGEST, HALVINGS = 1e-4, 30


@dataclass(frozen=True)
class State:
    """The detector over consecutive steps of time.

    Parameters
    ----------
    first : number of the first step, from et 0.
    exposure : seconds of good frames in each step (n).
    recorded : events recorded per second (n).
    live : share of the events that is recorded where it fell (n): dead time and pile-up.
    arriving : events per second that reach the electronics (n).
    tau, tau_sigma : dead time of each step and its random error from the count rates, s (n).
    from_table : whether it is the table's (n).
    radiation, dark : events of radiation per second within the window on the whole detector, if none were lost, and the
        events it is counted from; by second (n).
    """

    first: int
    exposure: Array
    recorded: Array
    live: Array
    arriving: Array
    tau: Array
    tau_sigma: Array
    from_table: Bools
    radiation: Array
    dark: Array

    @property
    def gain(self) -> Array:
        """Inverse of the live share; 0 where nothing was exposed."""
        return np.divide(1.0, self.live, out=np.zeros(len(self.live)), where=self.live > 0)

    @property
    def et(self) -> Array:
        """Middles of the steps."""
        return np.asarray((self.first + np.arange(len(self.exposure)) + 0.5) * STEP)


@dataclass(frozen=True)
class Events:
    """Events with their places put right; arrays over n events.

    Parameters
    ----------
    step : place in `State`.
    x, y : column and row, spread over the pixel.
    wavelength : nm.
    slit_bin : place along the slit, -1 beside it.
    stim, window, good : event of a stim pixel; pulse height of a photon; in a whole frame of good quality.
    efficiency : share of pulse heights within the window, relative to low rates.
    place_sigma : error of x from the stim pixels' places.
    unplaced : stim pixels not found.
    """

    et: Array
    step: Index
    x: Array
    y: Array
    height: NDArray[np.uint8]
    wavelength: Array
    slit_bin: Index
    stim: Bools
    window: Bools
    good: Bools
    efficiency: Array
    place_sigma: Array
    unplaced: Bools

    @property
    def photon(self) -> Bools:
        """Events that are taken for photons."""
        return self.good & self.window & ~self.stim & (self.slit_bin >= 0)


@dataclass(frozen=True)
class Timeline:
    """Fine steps of time, `FINE` to a step, and the events in them.

    Parameters
    ----------
    first : number of the first step.
    time, count : seconds of good frames and events recorded in them, of fine steps.
    step, good : step of each event, and whether its frame is good.
    """

    first: int
    time: Array
    count: Array
    step: Index
    good: Bools

    @property
    def exposure(self) -> Array:
        """Seconds of good frames in each step."""
        return np.asarray(self.time.reshape(-1, FINE).sum(axis=1))

    def mean(self, values: Array) -> Array:
        """Means of fine steps' values over steps, 0 where nothing was exposed."""
        total, exposure = (values * self.time).reshape(-1, FINE).sum(axis=1), self.exposure
        return np.divide(total, exposure, out=np.zeros(len(exposure)), where=exposure > 0)


def _timeline(raw: xr.Dataset) -> Timeline:
    et, start, stop = (raw[n].values for n in ("et", "frame_et", "frame_stop"))
    whole = (raw["frame_quality"].values == 0) & (raw["hacks_lost"].values == 0)
    first, last = int(np.floor(start.min() / STEP)), int(np.ceil(stop.max() / STEP))
    edges = np.arange(first * FINE, last * FINE + 1, dtype=np.float64) * (STEP / FINE)
    time = covered(start[whole], stop[whole], edges)
    frame = np.clip(np.searchsorted(start, et, side="right") - 1, 0, len(start) - 1)
    good = whole[frame]
    within = et + raw["hack_period"].values[frame] * places.spread(raw, 2)
    place = np.clip(np.floor(within / (STEP / FINE)).astype(np.int64) - first * FINE, 0, len(time) - 1)
    count = np.bincount(place[good], minlength=len(time)).astype(np.float64)
    return Timeline(first, time, count, place // FINE, good)


def live_share(rate: Array, tau: Array | float, pair: float) -> tuple[Array, Array]:
    """Events that arrive per second, and the share of them that is recorded where it fell, at a rate recorded.

    The electronics wait for the next event from the end of a dead time on, merged or not. Its place is right only if no
    other pulse follows within `pair`; if one comes before it within that, that one is recorded.
    """
    electronic = np.maximum(1.0 - rate * tau, LEAST_LIVE)
    arriving = rate / electronic
    return arriving, electronic * np.exp(-arriving * pair)


def observe(raw: xr.Dataset, tables: Tables, dead_time: DeadTime) -> tuple[State, Events]:
    """State and events of raw data."""
    line = _timeline(raw)
    tau, tau_sigma, from_table = _dead_time(raw, line, tables, dead_time)
    rate = np.divide(line.count, line.time, out=np.zeros(len(line.time)), where=line.time > 0)
    arriving, share = live_share(rate, tau, tables.number("dead_time", "pair_resolution"))
    live = line.mean(share)
    x, y, place_sigma, unplaced, stim = places.places(raw, tables)
    low, high = tables.pulse_height["window"].value
    window = (raw["pulse_height"].values >= low) & (raw["pulse_height"].values < high)
    second = _seconds(line.first, len(live))
    open_time = np.bincount(second, line.exposure * live).astype(np.float64)
    radiation, dark = _radiation(raw, line, x, y, window, second, open_time, tables)
    state = State(
        line.first, line.exposure, line.mean(rate), live, line.mean(arriving), tau[::FINE], tau_sigma[::FINE],
        from_table[::FINE], radiation[second], dark[second],
    )  # fmt: skip
    wavelength = places.wavelengths(x, y, tables)
    return state, Events(
        raw["et"].values, line.step, x, y, raw["pulse_height"].values, wavelength, _slit_bin(wavelength, y, tables),
        stim, window, line.good, _sag(x, y, second[line.step], line.good & window, open_time, tables), place_sigma,
        unplaced,
    )  # fmt: skip


def _radiation(
    raw: xr.Dataset, line: Timeline, x: Array, y: Array, window: Bools, second: Index, open_time: Array, tables: Tables
) -> tuple[Array, Array]:
    """Events of radiation per second of live time on the whole detector, and those in the dark part, of each second."""
    counted = line.good & window & ~places.in_stim_box(raw, tables) & places.dark(x, y, tables)
    dark = np.bincount(second[line.step[counted]], minlength=len(open_time)).astype(np.float64)
    share = radiation_share(tables)[1]
    return np.divide(dark, share * open_time, out=np.zeros(len(dark)), where=open_time > 0), dark


def _slit_bin(wavelength: Array, y: Array, tables: Tables) -> Index:
    """Bin along the slit of rows, -1 where no light falls."""
    place = np.searchsorted(tables.edges, y, side="right") - 1
    lit = (place >= 0) & (place < SLIT_BINS)
    lit &= (wavelength >= WAVELENGTH_EDGES[0]) & (wavelength < WAVELENGTH_EDGES[-1])
    return np.where(lit, place, -1)


def covered(start: Array, stop: Array, edges: Array, density: Array | None = None) -> Array:
    """Seconds of intervals in each bin (n) of edges (n + 1), times what the intervals hold per second.

    Intervals are in order and do not overlap. Each bin is summed by itself, so that it does not depend on the others.
    """
    first = np.searchsorted(stop, edges[:-1], side="right")
    last = np.searchsorted(start, edges[1:], side="left")
    out = np.zeros(len(edges) - 1)
    for k in range(int(np.max(last - first, initial=0))):
        inside = np.flatnonzero(first + k < last)
        which = first[inside] + k
        time = np.minimum(edges[1:][inside], stop[which]) - np.maximum(edges[:-1][inside], start[which])
        out[inside] += time if density is None else time * density[which]
    return out


def _seconds(first: int, number: int) -> Index:
    """Which second each step lies in, from 0."""
    per = round(SECOND / STEP)
    return (first + np.arange(number)) // per - first // per


def _dead_time(raw: xr.Dataset, line: Timeline, tables: Tables, choice: DeadTime) -> tuple[Array, Array, Bools]:
    """Dead time, its random error, and whether it is the table's, of fine steps; from count rates over 30 s each.

    For a detector that a lost event does not keep dead (non-paralysable), N = d / (1 - d tau) events arrive where d are
    recorded, and the analog counter sees N less those that merge, N^2 t: the counts differ by the integral of
    N d tau - N^2 t. The rates change within an interval of the counters, so it is taken over the events themselves;
    n (n - 1) is the square without the noise of n.
    """
    steps = (line.first * FINE + np.arange(len(line.time)) + 0.5) * (STEP / FINE)
    slow = np.floor(steps / SLOW).astype(np.int64)
    slow -= slow[0]
    value, sigma, number = tables.number("dead_time", "tau"), float(tables.dead_time["tau"].sigma), int(slow[-1]) + 1
    tau, spread, from_table = np.full(number, value), np.zeros(number), np.ones(number, bool)
    if choice == "rates":
        difference, used = _lost(raw, line.first, len(line.time))
        exposed = line.time > 0
        both = np.divide(line.count * (line.count - 1.0), line.time, out=np.zeros(len(used)), where=exposed) * used
        rate = np.divide(line.count, line.time, out=np.zeros(len(used)), where=exposed)
        lost = np.bincount(slow, difference * exposed, number).astype(np.float64)

        def pairs_at(tau: Array, power: int) -> Array:
            share = np.maximum(1.0 - rate * tau[slow], LEAST_LIVE)
            return np.bincount(slow, both / share**power, number).astype(np.float64)

        # What is lost grows with tau: halving the interval that holds the solution.
        low, high, pair = np.zeros(number), np.full(number, LONGEST), tables.number("dead_time", "pair_resolution")
        for _ in range(HALVINGS):
            middle = 0.5 * (low + high)
            less = middle * pairs_at(middle, 1) - pair * pairs_at(middle, 2) < lost
            low, high = np.where(less, middle, low), np.where(less, high, middle)
        fitted = 0.5 * (low + high)
        pairs = pairs_at(fitted, 1)
        error = np.divide(np.sqrt(np.maximum(lost, 1.0)), pairs, out=np.full(number, np.inf), where=pairs > 0)
        known = error < sigma
        tau, spread, from_table = np.where(known, fitted, tau), np.where(known, error, 0.0), ~known
    return tau[slow], spread[slow], from_table[slow]


def _lost(raw: xr.Dataset, first: int, number: int) -> tuple[Array, Array]:
    """Analog less digital counts, spread evenly over the fine steps of each interval, and the share that has both."""
    analog, digital = raw["analog_et"].values, raw["digital_et"].values
    if len(analog) == 0 or len(digital) == 0:
        return np.zeros(number), np.zeros(number)
    place = np.clip(np.searchsorted(digital, analog - 1e-4), 0, len(digital) - 1)
    a, d = raw["analog_counts"].values, raw["digital_counts"].values[place]
    length = raw["analog_interval"].values
    same = (
        (np.abs(digital[place] - analog) < 1e-4)
        & (raw["digital_interval"].values[place] == length)
        & (length > 0)
        & (a >= d)
    )
    edges = (first * FINE + np.arange(number + 1, dtype=np.float64)) * (STEP / FINE)
    start, stop = analog[same], (analog + length)[same]
    return covered(start, stop, edges, (a - d)[same] / length[same]), covered(start, stop, edges) / (STEP / FINE)


def radiation_share(tables: Tables, shift: tuple[float, float] = (0.0, 0.0)) -> tuple[Array, float]:
    """Share of the detector's radiation in each bin along the slit and of wavelength, and in the dark part.

    Parameters
    ----------
    shift : added to the slopes of its density.
    """
    slope = tables.radiation["slope"].value + shift

    def within(left: Array, right: Array, low: Array, high: Array) -> Array:
        """Share in rectangles: the integral of 1 + s u + t v over them, u and v from -1 to 1 over the detector."""
        x, y = (
            np.stack([2.0 * a + 1.0 - n, 2.0 * b + 1.0 - n]) / n
            for a, b, n in ((left, right, COLUMNS), (low, high, ROWS))
        )
        wide, tall = x[1] - x[0], y[1] - y[0]
        return np.asarray(wide * tall * (1.0 + slope[0] * x.mean(axis=0) + slope[1] * y.mean(axis=0)) / 4.0)

    table, law = tables.detector, tables.wavelength.values
    rows = np.arange(ROWS, dtype=np.float64)[:, None]
    columns = (
        law["column"]
        + (WAVELENGTH_EDGES - law["origin"] - law["curvature"] * (rows - law["row"]) ** 2) / law["dispersion"]
    )
    by_row = within(columns[:, :-1], columns[:, 1:], rows - 0.5, rows + 0.5)
    edges = tables.edges[:, None]
    overlap = np.minimum(edges[1:], rows.T + 0.5) - np.maximum(edges[:-1], rows.T - 0.5)
    boxes = [
        within(x - tables.box[0], x + tables.box[0], y - tables.box[1], y + tables.box[1])
        for x, y in zip(table["stim_column"].value, table["stim_row"].value, strict=True)
    ]
    lit = within(*table["dark_columns"].value, *table["dark_rows"].value)
    share = np.einsum("br,rw->bw", np.maximum(overlap, 0.0), by_row)
    return share, float(1.0 - lit - sum(boxes))


def radiation_errors(tables: Tables) -> list[tuple[Array, float]]:
    """`radiation_share` with each of the slopes one sigma off."""
    first, second = (float(s) for s in tables.radiation["slope"].sigma)
    return [radiation_share(tables, (first, 0.0)), radiation_share(tables, (0.0, second))]


def efficiency_at(rate: Array, tables: Tables, sag_rate: float | None = None) -> Array:
    """Share of photons' pulse heights within the window at local rates (events/s in a block), relative to none."""
    scale = tables.number("pulse_height", "sag_rate") if sag_rate is None else sag_rate
    mean, spread = (tables.number("pulse_height", n) for n in ("mean", "spread"))
    low, high = tables.pulse_height["window"].value

    def within(at: Array) -> Array:
        return np.asarray(ndtr((high - at) / (spread * at)) - ndtr((low - at) / (spread * at)))

    return within(mean / (1.0 + rate / scale)) / within(np.asarray(mean))


def _sag(x: Array, y: Array, second: Index, use: Bools, open_time: Array, tables: Tables) -> Array:
    """Efficiency of each event at the rate of its block in its second."""
    across, down = COLUMNS // BLOCK_COLUMNS, ROWS // BLOCK_ROWS
    column = np.clip(x / BLOCK_COLUMNS, 0, across - 1).astype(np.int64)
    block = (second * down + np.clip(y / BLOCK_ROWS, 0, down - 1).astype(np.int64)) * across + column
    count = np.bincount(block[use], minlength=len(open_time) * down * across).reshape(len(open_time), -1).astype(float)
    rate = np.divide(count, open_time[:, None], out=np.zeros(count.shape), where=open_time[:, None] > 0)
    true = rate / efficiency_at(rate, tables)
    true = rate / efficiency_at(true, tables)
    return efficiency_at(true, tables).ravel()[block]
