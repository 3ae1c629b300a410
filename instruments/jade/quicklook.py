"""Figures of a pass: energy-time spectrograms, pitch angles, moments."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline.figures import BLACK, blank
from pipeline.particles.figures import COLOURS, finish, good, mean, panels, spectrogram, step_edges

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[np.float64]

# Angles of the bins of a pitch-angle spectrogram, degrees.
PITCH = np.linspace(0.0, 180.0, 19)
PANELS = 4


UNIT = "DEF  (cm$^{-2}$ s$^{-1}$ sr$^{-1}$)"


def electrons(flux: xr.Dataset) -> Figure:
    """Differential energy flux over energy, mean over looks, of all records and of closest approach."""
    figure, axes = panels(1, 3.2)
    energy = flux["energy_per_charge"][0].values.astype(float)
    values = mean(good(flux, "energy_flux"), 2)[:, np.argsort(energy)]
    spectrogram(axes[0], flux, values, step_edges(energy), UNIT, "energy  (eV)")
    axes[0].set_yscale("log")
    axes[0].set_title(
        "electrons, mean over looks; narrow columns: high rate; white: no data, or background above the signal",
        fontsize=9,
    )
    finish(axes)
    return figure


def pitch(flux: xr.Dataset) -> Figure:
    """Differential energy flux over pitch angle in bands of energy."""
    if "pitch_angle" not in flux:
        figure, axes = panels(1)
        axes[0].text(0.5, 0.5, "no magnetic field: no pitch angles", transform=axes[0].transAxes, ha="center")
        return figure
    values, angle = good(flux, "energy_flux"), flux["pitch_angle"].values.astype(float)
    energy = flux["energy_per_charge"][0].values.astype(float)
    order = np.argsort(energy)
    figure, axes = panels(PANELS)
    for panel, band in zip(axes, np.array_split(order, PANELS), strict=True):
        binned = np.full((flux.sizes["et"], PITCH.size - 1), np.nan)
        for k, (low, high) in enumerate(pairwise(PITCH)):
            inside = (angle[:, band] >= low) & (angle[:, band] < high)
            binned[:, k] = mean(np.where(inside, values[:, band], np.nan), (1, 2))
        spectrogram(panel, flux, binned, PITCH, UNIT, "pitch angle  (°)")
        panel.set_title(f"{energy[band].min():.0f} to {energy[band].max():.0f} eV", fontsize=9)
        panel.set_yticks([0, 45, 90, 135, 180])
    finish(axes)
    return figure


def ions(flux: xr.Dataset) -> Figure:
    """Differential energy flux of each species over energy per charge, mean over looks."""
    kinds = np.unique(flux["species"].values)
    figure, axes = panels(kinds.size)
    energy = flux["energy_per_charge"][0].values.astype(float)
    for panel, kind in zip(axes, kinds, strict=True):
        own = flux.isel(record=flux["species"].values == kind)
        own["quality"].attrs = flux["quality"].attrs
        spectrogram(
            panel, own, mean(good(own, "energy_flux"), 2)[:, np.argsort(energy)], step_edges(energy), UNIT, "E/q  (V)"
        )
        panel.set_yscale("log")
        panel.set_title(f"species SP{kind}, mean over looks", fontsize=9)
    finish(axes)
    return figure


def moments(electron: xr.Dataset | None, ion: xr.Dataset | None) -> Figure:
    """Density and temperature of electrons and ions with their uncertainty, and the ions' speed beyond corotation."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    figure, axes = panels(3, 2.4)
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
    finish(axes)
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
    from matplotlib.ticker import FixedLocator, NullFormatter

    figure = blank(6.4)
    spectra, lines = figure.subplots(2, 1, height_ratios=(3, 2))
    energy, flight = (flights[n][0].values.astype(float) for n in ("energy_per_charge", "flight_time"))
    order = np.argsort(energy)
    image = np.ma.masked_less_equal(np.nan_to_num(mean(good(flights, "rate"), 0)[order]), 0.0)
    high = float(image.max()) if image.count() else 1e-3
    norm = LogNorm(max(high * 1e-4, 1e-3), max(high, 1e-2))
    mesh = spectra.pcolormesh(step_edges(flight), step_edges(energy), image, norm=norm, cmap="viridis", rasterized=True)
    figure.colorbar(mesh, ax=spectra, pad=0.01).set_label("rate  (s$^{-1}$)", fontsize=8)
    spectra.set(xscale="log", yscale="log", xlabel="flight time  (ns)", ylabel="E/q  (V)")
    spectra.set_xticks([20, 50, 100, 200, 500], ["20", "50", "100", "200", "500"])
    spectra.xaxis.set_minor_formatter(NullFormatter())
    spectra.set_title("rate, mean over the pass; each trace is a mass per charge", fontsize=9)
    for colour, name, flux in zip(COLOURS, flights.attrs.get("masses", "").split(" (")[0].split(", "), np.moveaxis(
        flights["energy_flux"].values.astype(float), 2, 0), strict=False):  # fmt: skip
        lines.plot(flights["time"].values, mean(flux, 1), color=colour, lw=1.0, label=name)
    lines.set_ylabel(UNIT)
    lines.set_yscale("symlog", linthresh=1e3)
    lines.yaxis.set_major_locator(FixedLocator([-1e3, 0.0, *(10.0**k for k in range(3, 10))]))
    lines.legend(ncols=4, fontsize=8, frameon=False)
    finish([lines])
    return figure
