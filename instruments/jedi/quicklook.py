"""Figures of a pass: spectrograms over energy and pitch angle, basic rates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from instruments.jedi.layout import EVENT, SPECIES, SSD, START, STOP, UNITS
from pipeline.figures import BLACK
from pipeline.particles.figures import COLOURS, finish, good, mean, panels, spectrogram

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

UNIT = "cm$^{-2}$ s$^{-1}$ sr$^{-1}$ keV$^{-1}$"
# Bands of energy of which pitch angles are drawn, and edges of the bins of pitch angle.
BANDS = 3
EDGES = np.linspace(0.0, 180.0, 19)


def energy(spectra: xr.Dataset) -> Figure:
    """Intensity of each species over energy, mean over all looks."""
    kinds = np.unique(spectra["species"].values)
    figure, axes = panels(kinds.size, 3.0 if kinds.size == 1 else 2.0)
    values = good(spectra, "intensity")
    for panel, kind in zip(axes, kinds, strict=True):
        own = _channels(spectra, values, int(kind))
        _over_energy(panel, spectra, values[:, own], own)
        panel.set_title(f"{SPECIES[kind]}, mean over looks; white: no data, or background above the counts", fontsize=9)
    finish(axes)
    return figure


def pitch(spectra: xr.Dataset) -> Figure:
    """Intensity over pitch angle, of each species in bands of energy."""
    if "pitch_intensity" not in spectra:
        figure, axes = panels(1)
        axes[0].text(0.5, 0.5, "no magnetic field: no pitch angles", transform=axes[0].transAxes, ha="center")
        return figure
    bits = np.uint32(~int(spectra["pitch_quality"].attrs.get("flag_conditions", 0)) & 0xFFFFFFFF)
    values = np.where(spectra["pitch_quality"].values & bits, np.nan, spectra["pitch_intensity"].values.astype(float))
    kinds = np.unique(spectra["species"].values)
    wanted = [(k, b) for k in kinds for b in _bands(_channels(spectra, values, int(k)), kinds.size)]
    figure, axes = panels(len(wanted), 1.9)
    edges = spectra["energy_lower"].values, spectra["energy_upper"].values
    for panel, (kind, band) in zip(axes, wanted, strict=True):
        spectrogram(panel, spectra, mean(values[:, :, band], 2), EDGES, UNIT, "pitch angle  (°)")
        title = f"{SPECIES[kind]}, {edges[0][band].min():.0f} to {edges[1][band].max():.0f} keV"
        panel.set_title(title, fontsize=9)
        panel.set_yticks([0, 45, 90, 135, 180])
    finish(axes)
    return figure


def activity(electrons: xr.Dataset | None, ions: xr.Dataset | None) -> Figure:
    """Basic rates and fractions of live time, mean over telescopes: electrons of all units, ions of the last."""
    figure, axes = panels(2, 2.6)
    if electrons is not None:
        for unit, colour in zip(np.unique(electrons["unit"].values), (BLACK, *COLOURS), strict=False):
            own = electrons.isel(record=electrons["unit"].values == unit)
            _basic(axes, own, f"JEDI-{UNITS[unit]} electrons", {SSD: "detector"}, [colour], "-")
    if ions is not None:
        unit = int(ions["unit"].values.max()) if ions.sizes["record"] else 0
        own = ions.isel(record=ions["unit"].values == unit)
        names = {START: "start", STOP: "stop", SSD: "detector", EVENT: "events"}
        _basic(axes, own, f"JEDI-{UNITS[unit]} ions", names, COLOURS[2:], "--")
    for panel, label in zip(axes, ("pulses per second", "live fraction"), strict=True):
        panel.set_ylabel(label)
        if panel.lines:
            panel.legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    axes[0].set_yscale("log")
    finish(axes)
    return figure


def _basic(
    axes: list[Axes], own: xr.Dataset, who: str, names: dict[int, str], colours: Sequence[str], style: str
) -> None:
    """Draw basic rates and the live fraction of one unit."""
    time, rates = own["time"].values, mean(own["basic_rate"].values.astype(float), 1)
    for (counter, name), colour in zip(names.items(), colours, strict=False):
        axes[0].plot(time, rates[:, counter], style, color=colour, lw=1.0, label=f"{who}: {name}")
    live = mean(own["live_time"].values.astype(float), 1) / own["accumulation"].values
    axes[1].plot(time, live, style, color=colours[0], lw=1.0, label=who)


def _channels(spectra: xr.Dataset, values: NDArray[np.float64], kind: int) -> NDArray[np.intp]:
    """Channels of a species of which anything was measured, by energy."""
    own = np.flatnonzero(spectra["species"].values == kind)
    measured = own[np.isfinite(values[..., own]).reshape(-1, own.size).any(axis=0)] if own.size else own
    return measured if measured.size else own


def _bands(own: NDArray[np.intp], kinds: int) -> list[NDArray[np.intp]]:
    """Channels in bands of energy: fewer where there are several species."""
    return [b for b in np.array_split(own, BANDS if kinds == 1 else 1) if b.size]


def _over_energy(panel: Axes, spectra: xr.Dataset, values: NDArray[np.float64], own: NDArray[np.intp]) -> None:
    """Draw a species; where channels overlap the border is half way."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    lower, upper = spectra["energy_lower"].values[own], spectra["energy_upper"].values[own]
    inner = np.sqrt(lower[1:] * upper[:-1])
    spectrogram(panel, spectra, values, np.concatenate([lower[:1], inner, upper[-1:]]), UNIT, "energy  (keV)")
    panel.set_yscale("log")
    panel.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    panel.yaxis.set_minor_formatter(NullFormatter())
