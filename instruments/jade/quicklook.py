"""Figures of a pass: energy-time spectrograms, pitch angles, moments."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[np.float64]

WIDTH = 9.0
# Colours that are told apart by all eyes (Okabe and Ito 2008).
BLACK, COLOURS = "#000000", ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8c8c8c", "#000000")
# Angles of the bins of a pitch-angle spectrogram, degrees; seconds between columns of which nothing is drawn.
PITCH = np.linspace(0.0, 180.0, 19)
LONGEST = 400.0
PANELS = 4


def _good(flux: xr.Dataset, name: str = "energy_flux") -> Array:
    bits = np.uint32(~int(flux["quality"].attrs.get("flag_conditions", 0)) & 0xFFFFFFFF)
    return np.where(flux["quality"].values & bits, np.nan, flux[name].values.astype(float))


def _mean(values: Array, axis: int | tuple[int, ...]) -> Array:
    """Mean of what there is, NaN of nothing."""
    there = np.isfinite(values)
    number = there.sum(axis=axis)
    return np.divide(
        np.where(there, values, 0.0).sum(axis=axis), number, out=np.full(number.shape, np.nan), where=number > 0
    )


def _edges(flux: xr.Dataset) -> NDArray[np.datetime64]:
    """Begin and end of each record."""
    half = (flux["accumulation"].values * 5e8).astype("timedelta64[ns]")
    return np.stack([flux["time"].values - half, flux["time"].values + half], axis=1)


def _spectrogram(axes: Axes, flux: xr.Dataset, values: Array, y: Array, unit: str, label: str) -> None:
    """Draw columns (n, y) where records are; gaps stay white."""
    from matplotlib.colors import LogNorm
    from matplotlib.dates import date2num

    edges = date2num(_edges(flux))
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
    axes.xaxis_date()
    axes.set_ylabel(label)


def _step_edges(energy: Array) -> Array:
    """Edges of logarithmic steps from their middles, ascending."""
    steps = np.sort(np.log(energy))
    half = np.diff(steps) / 2.0
    return np.exp(np.concatenate([[steps[0] - half[0]], steps[:-1] + half, [steps[-1] + half[-1]]]))


def _panels(rows: int, height: float = 2.2) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height * rows + 0.8), layout="constrained")
    return figure, list(np.atleast_1d(figure.subplots(rows, 1, sharex=True)))


def _finish(axes: list[Axes]) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator(maxticks=8)
    axes[-1].xaxis.set_major_locator(locator)
    axes[-1].xaxis.set_major_formatter(ConciseDateFormatter(locator))
    axes[-1].set_xlabel("UTC")


UNIT = "DEF  (cm$^{-2}$ s$^{-1}$ sr$^{-1}$)"


def electrons(flux: xr.Dataset) -> Figure:
    """Differential energy flux over energy, mean over looks, of all records and of closest approach."""
    figure, axes = _panels(1, 3.2)
    energy = flux["energy_per_charge"].values[0].astype(float)
    values = _mean(_good(flux), 2)[:, np.argsort(energy)]
    _spectrogram(axes[0], flux, values, _step_edges(energy), UNIT, "energy  (eV)")
    axes[0].set_yscale("log")
    axes[0].set_title(
        "electrons, mean over looks; narrow columns: high rate; white: no data, or background above the signal",
        fontsize=9,
    )
    _finish(axes)
    return figure


def pitch(flux: xr.Dataset) -> Figure:
    """Differential energy flux over pitch angle in bands of energy."""
    if "pitch_angle" not in flux:
        figure, axes = _panels(1)
        axes[0].text(0.5, 0.5, "no magnetic field: no pitch angles", transform=axes[0].transAxes, ha="center")
        return figure
    values, angle = _good(flux), flux["pitch_angle"].values.astype(float)
    energy = flux["energy_per_charge"].values[0].astype(float)
    order = np.argsort(energy)
    figure, axes = _panels(PANELS)
    for panel, band in zip(axes, np.array_split(order, PANELS), strict=True):
        binned = np.full((flux.sizes["et"], PITCH.size - 1), np.nan)
        for k, (low, high) in enumerate(pairwise(PITCH)):
            inside = (angle[:, band] >= low) & (angle[:, band] < high)
            binned[:, k] = _mean(np.where(inside, values[:, band], np.nan), (1, 2))
        _spectrogram(panel, flux, binned, PITCH, UNIT, "pitch angle  (°)")
        panel.set_title(f"{energy[band].min():.0f} to {energy[band].max():.0f} eV", fontsize=9)
        panel.set_yticks([0, 45, 90, 135, 180])
    _finish(axes)
    return figure


def ions(flux: xr.Dataset) -> Figure:
    """Differential energy flux of each species over energy per charge, mean over looks."""
    kinds = np.unique(flux["species"].values)
    figure, axes = _panels(kinds.size)
    energy = flux["energy_per_charge"].values[0].astype(float)
    for panel, kind in zip(axes, kinds, strict=True):
        own = flux.isel(record=flux["species"].values == kind)
        own["quality"].attrs = flux["quality"].attrs
        _spectrogram(panel, own, _mean(_good(own), 2)[:, np.argsort(energy)], _step_edges(energy), UNIT, "E/q  (V)")
        panel.set_yscale("log")
        panel.set_title(f"species SP{kind}, mean over looks", fontsize=9)
    _finish(axes)
    return figure


def moments(electron: xr.Dataset | None, ion: xr.Dataset | None) -> Figure:
    """Density and temperature of electrons and ions with their uncertainty, and the ions' speed beyond corotation."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    figure, axes = _panels(3, 2.4)
    if electron is not None:
        for panel, name in zip(axes, ("density", "temperature"), strict=False):
            _band(panel, electron["time"].values, electron, name, None, BLACK, "electrons")
    if ion is not None:
        measured = np.flatnonzero(np.isfinite(ion["density"].values).any(axis=0))
        for colour, kind in zip(COLOURS, measured, strict=False):
            for panel, name in zip(axes, ("density", "temperature"), strict=False):
                _band(panel, ion["time"].values, ion, name, int(kind), colour, f"SP{kind}")
            speed = np.linalg.norm(ion["velocity_corotating"].values[:, kind], axis=1)
            axes[2].plot(ion["time"].values, speed, color=colour, lw=1.0, label=f"SP{kind}")
    for panel, label in zip(
        axes, ("density  (cm$^{-3}$)", "temperature  (eV)", "speed in corotating\nframe  (km/s)"), strict=True
    ):
        panel.set_ylabel(label)
    for panel in axes[:2]:
        panel.set_yscale("log")
        panel.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        panel.yaxis.set_minor_formatter(NullFormatter())
    if axes[0].lines:
        axes[0].legend(ncols=4, fontsize=8, frameon=False)
    _finish(axes)
    return figure


def _band(
    axes: Axes, time: NDArray[np.datetime64], data: xr.Dataset, name: str, kind: int | None, colour: str, label: str
) -> None:
    """A line and its uncertainty of one sigma, all components."""
    pick = (lambda n: data[n].values) if kind is None else (lambda n: data[n].values[:, kind])
    value = pick(name).astype(float)
    sigma = np.sqrt(sum(pick(f"{name}_{c}").astype(float) ** 2 for c in ("random", "systematic", "structured")))
    axes.plot(time, value, color=colour, lw=1.0, label=label)
    axes.fill_between(time, value - sigma, value + sigma, color=colour, alpha=0.2, lw=0)


def masses(flights: xr.Dataset) -> Figure:
    """Mean rate over flight time and energy, and the flux of each mass through the pass, mean over energies."""
    from matplotlib.colors import LogNorm
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, 6.4), layout="constrained")
    spectra, lines = figure.subplots(2, 1, height_ratios=(3, 2))
    energy, flight = (flights[n].values[0].astype(float) for n in ("energy_per_charge", "flight_time"))
    order = np.argsort(energy)
    mean = _mean(_good(flights, "rate"), 0)[order]
    high = np.nanmax(mean, initial=1e-3)
    norm = LogNorm(max(high * 1e-4, 1e-3), max(high, 1e-2))
    image = np.ma.masked_less_equal(np.nan_to_num(mean), 0.0)
    mesh = spectra.pcolormesh(
        _step_edges(flight), _step_edges(energy), image, norm=norm, cmap="viridis", rasterized=True
    )
    figure.colorbar(mesh, ax=spectra, pad=0.01).set_label("rate  (s$^{-1}$)", fontsize=8)
    spectra.set(xscale="log", yscale="log", xlabel="flight time  (ns)", ylabel="E/q  (V)")
    spectra.set_title("rate, mean over the pass; each trace is a mass per charge", fontsize=9)
    for colour, name, flux in zip(COLOURS, flights.attrs.get("masses", "").split(" (")[0].split(", "), np.moveaxis(
        flights["energy_flux"].values.astype(float), 2, 0), strict=False):  # fmt: skip
        lines.plot(flights["time"].values, _mean(flux, 1), color=colour, lw=1.0, label=name)
    lines.set_ylabel(UNIT)
    lines.set_yscale("symlog", linthresh=1e3)
    lines.legend(ncols=4, fontsize=8, frameon=False)
    locator = AutoDateLocator(maxticks=8)
    lines.xaxis.set_major_locator(locator)
    lines.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    lines.set_xlabel("UTC")
    return figure
