"""Spectrograms over time for the figures of particle instruments."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline.figures import blank, few_ticks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[np.float64]

# Colours that are told apart by all eyes (Okabe and Ito 2008).
COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8c8c8c", "#000000")


def good(flux: xr.Dataset, name: str) -> Array:
    """A variable where its quality is good, NaN elsewhere."""
    bits = np.uint32(~int(flux["quality"].attrs.get("flag_conditions", 0)) & 0xFFFFFFFF)
    return np.where(flux["quality"].values & bits, np.nan, flux[name].values.astype(float))


def mean(values: Array, axis: int | tuple[int, ...]) -> Array:
    """Mean of what there is, NaN of nothing."""
    there = np.isfinite(values)
    number = there.sum(axis=axis)
    return np.divide(
        np.where(there, values, 0.0).sum(axis=axis), number, out=np.full(number.shape, np.nan), where=number > 0
    )


def record_edges(flux: xr.Dataset) -> NDArray[np.datetime64]:
    """Begin and end of each record."""
    half = (flux["accumulation"].values * 5e8).astype("timedelta64[ns]")
    return np.stack([flux["time"].values - half, flux["time"].values + half], axis=1)


def spectrogram(axes: Axes, flux: xr.Dataset, values: Array, y: Array, unit: str, label: str) -> None:
    """Draw columns (n, y) where records are; gaps stay white."""
    from matplotlib.colors import LogNorm
    from matplotlib.dates import date2num

    edges = date2num(record_edges(flux))
    n = len(edges)
    times = edges.ravel()
    grid = np.full((2 * n - 1, values.shape[1]), np.nan)
    grid[0::2] = values
    grid = np.where(np.diff(times)[:, None] > 0, grid, np.nan)
    times = np.maximum.accumulate(times)
    positive = values[np.isfinite(values) & (values > 0)]
    if positive.size == 0:
        axes.text(0.5, 0.5, "nothing measured", transform=axes.transAxes, ha="center")
        return
    low, high = np.percentile(positive, [5, 99.8])
    norm = LogNorm(max(low, high * 1e-6), max(high, low * 1.01))
    mesh = axes.pcolormesh(times, y, np.ma.masked_invalid(grid.T), norm=norm, cmap="viridis", rasterized=True)
    bar = axes.figure.colorbar(mesh, ax=axes, pad=0.01)
    bar.set_label(unit, fontsize=8)
    few_ticks(bar.ax.yaxis)
    axes.xaxis_date()
    axes.set_ylabel(label)


def step_edges(energy: Array) -> Array:
    """Edges of logarithmic steps from their middles, ascending."""
    steps = np.sort(np.log(energy))
    half = np.diff(steps) / 2.0
    return np.exp(np.concatenate([[steps[0] - half[0]], steps[:-1] + half, [steps[-1] + half[-1]]]))


def panels(rows: int, height: float = 2.2) -> tuple[Figure, list[Axes]]:
    """A figure of panels above one another with one axis of time."""
    figure = blank(height * rows + 0.8)
    return figure, list(np.atleast_1d(figure.subplots(rows, 1, sharex=True)))


def finish(axes: list[Axes]) -> None:
    """Write the axis of time."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator(maxticks=8)
    axes[-1].xaxis.set_major_locator(locator)
    axes[-1].xaxis.set_major_formatter(ConciseDateFormatter(locator))
    axes[-1].set_xlabel("UTC")
