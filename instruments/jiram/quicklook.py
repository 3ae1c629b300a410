"""Figures of a frame: the M band as seen and on the planet, the spectrum with its noise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from instruments.jiram.schemas import TIE_STEP
from pipeline.dataset.quality import raised
from pipeline.dataset.uncertainty import sigma
from pipeline.figures import BLACK, BLUE, GREY, ORANGE, blank

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import QuadMesh
    from matplotlib.figure import Figure

Array = NDArray[np.float64]

# From this latitude on a map is drawn about the pole.
POLAR = 45.0


def good(dataset: xr.Dataset, name: str) -> Array:
    """Values of the first record, NaN where a bit disqualifies them."""
    conditions = int(dataset["quality"].attrs.get("flag_conditions", 0))
    bad = raised(dataset["quality"].values[0], ~conditions & 0xFFFFFFFF)
    return np.where(bad, np.nan, dataset[name].values[0].astype(np.float64))


def image(radiance: xr.Dataset) -> Figure:
    """The bands of an image as the detector saw them."""
    bands = radiance["band"].values.tolist()
    figure = blank(0.7 + 2.6 * len(bands))
    rows = np.atleast_1d(figure.subplots(len(bands), 1, sharex=True))
    # M last is M on top: the figure begins with what most come for.
    for axis, band in zip(rows, reversed(bands), strict=True):
        k = bands.index(band)
        seen = good(radiance, "radiance")[k]
        finite = seen[np.isfinite(seen)]
        low, high = np.percentile(finite, [1.0, 99.7]) if finite.size else (0.0, 1.0)
        shown = axis.imshow(seen, cmap="inferno", vmin=low, vmax=max(high, low + 1e-9), interpolation="nearest")
        figure.colorbar(shown, ax=axis, label=f"{band}  (W m$^{{-2}}$ sr$^{{-1}}$)", shrink=0.9)
        axis.set_ylabel("line")
        axis.set_title(_title(radiance) if axis is rows[0] else "", loc="left", fontsize=9)
    rows[-1].set_xlabel("sample")
    return figure


def planet_map(radiance: xr.Dataset) -> Figure:
    """The M band (or L, where it is alone) on the planet: about the pole at high latitudes, else by longitude."""
    bands = radiance["band"].values.tolist()
    k = bands.index("M") if "M" in bands else 0
    x, y, z = corners(radiance, k)
    latitude = np.degrees(np.arctan2(z, np.hypot(x, y)))
    middle = float(np.nanmean(latitude)) if np.isfinite(latitude).any() else 0.0
    seen = good(radiance, "radiance")[k]
    figure = blank(6.0)
    axis = figure.subplots()
    if abs(middle) > POLAR:
        # Seen from above the pole; in the south east longitude runs the other way.
        colatitude = 90.0 - np.abs(latitude)
        angle = np.arctan2(y, x) * np.sign(middle)
        drawn = _mesh(axis, colatitude * np.sin(angle), -colatitude * np.cos(angle), seen)
        _graticule(axis, float(np.sign(middle)))
    else:
        first = np.arctan2(np.nanmean(y), np.nanmean(x)) if np.isfinite(x).any() else 0.0
        away = np.degrees((np.arctan2(y, x) - first + np.pi) % (2.0 * np.pi) - np.pi)
        drawn = _mesh(axis, np.degrees(first) % 360.0 + away, latitude, seen)
        axis.set_xlabel("System III longitude, east (°)")
        axis.set_ylabel("planetocentric latitude (°)")
    axis.set_aspect("equal")
    axis.set_title(f"{bands[k]} band, {_title(radiance)}", loc="left", fontsize=9)
    figure.colorbar(drawn, ax=axis, label="W m$^{-2}$ sr$^{-1}$", shrink=0.7)
    return figure


def corners(radiance: xr.Dataset, k: int) -> tuple[Array, Array, Array]:
    """Unit vectors of the corners of all pixels of a band, between the nodes that the product holds."""
    lat, lon = (np.radians(radiance[f"tie_{n}"].values[0, k].astype(np.float64)) for n in ("latitude", "longitude"))
    nodes = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])
    for axis in (1, 2):
        size = nodes.shape[axis]
        place = np.arange((size - 1) * TIE_STEP + 1) / TIE_STEP
        below = np.minimum(place.astype(int), size - 2)
        part = (place - below).reshape((-1, 1) if axis == 1 else (1, -1))
        nodes = (1.0 - part) * np.take(nodes, below, axis) + part * np.take(nodes, below + 1, axis)
    x, y, z = nodes
    return x, y, z


def _mesh(axis: Axes, x: Array, y: Array, seen: Array) -> QuadMesh:
    """Pixels as quadrilaterals; those with a corner off the planet are left out."""
    off = ~(np.isfinite(x) & np.isfinite(y))
    cut = off[:-1, :-1] | off[1:, :-1] | off[:-1, 1:] | off[1:, 1:]
    shown = np.ma.masked_invalid(np.where(cut, np.nan, seen))
    kept = shown.compressed()
    low, high = np.percentile(kept, [1.0, 99.7]) if kept.size else (0.0, 1.0)
    mesh = axis.pcolormesh(
        np.where(off, 0.0, x), np.where(off, 0.0, y), shown, cmap="inferno", vmin=low, vmax=high, rasterized=True
    )
    there = np.isfinite(x) & np.isfinite(y)
    if there.any():
        for values, limit in ((x[there], axis.set_xlim), (y[there], axis.set_ylim)):
            margin = 0.08 * max(float(np.ptp(values)), 0.5)
            limit(values.min() - margin, values.max() + margin)
    return mesh


def _graticule(axis: Axes, side: float) -> None:
    """Circles of latitude every 10 degrees and meridians every 30 about a pole."""
    around = np.linspace(0.0, 2.0 * np.pi, 361)
    limits = axis.get_xlim(), axis.get_ylim()
    for colatitude in range(5, 90, 5):
        axis.plot(colatitude * np.cos(around), colatitude * np.sin(around), color=GREY, lw=0.5)
        where = (colatitude * np.sin(0.6), -colatitude * np.cos(0.6))
        axis.text(*where, f"{90 - colatitude}°{'N' if side > 0 else 'S'}", fontsize=7, color=GREY, clip_on=True)
    for longitude in range(0, 360, 30):
        angle = np.radians(longitude) * side
        axis.plot([0.0, 90.0 * np.sin(angle)], [0.0, -90.0 * np.cos(angle)], color=GREY, lw=0.5)
        for far in (4.0, 12.0, 25.0, 45.0):
            axis.text(far * np.sin(angle), -far * np.cos(angle), f"{longitude}°E", fontsize=7, color=BLUE, clip_on=True)
    axis.set_xlim(*limits[0])
    axis.set_ylim(*limits[1])
    axis.set_xticks([])
    axis.set_yticks([])


def spectrum(spectra: xr.Dataset) -> Figure:
    """Mean spectrum of the slit, the noise of one pixel of it and its total uncertainty; and the whole slit."""
    um, seen = spectra["wavelength"].values[0], good(spectra, "spectral_radiance")
    noise = np.nanmedian(spectra["spectral_radiance_random"].values[0], axis=0)
    total = np.nanmedian(sigma(spectra, "spectral_radiance").values[0], axis=0)
    mean = np.nanmean(seen, axis=0)
    figure = blank(6.0)
    top, low = figure.subplots(2, 1, sharex=True, height_ratios=(1.4, 1.0))
    top.fill_between(um, np.maximum(mean - total, 1e-9), mean + total, color=BLUE, alpha=0.2, lw=0, label="±1 σ, total")
    top.semilogy(um, np.where(mean > 0.0, mean, np.nan), color=BLACK, lw=1.0, label="mean of the slit")
    top.semilogy(um, noise, color=ORANGE, lw=1.0, label="noise of one pixel, 1 σ")
    top.set_ylim(max(0.3 * np.nanmin(noise), 1e-7), None)
    top.set_ylabel("W m$^{-2}$ µm$^{-1}$ sr$^{-1}$")
    top.legend(loc="upper left", frameon=False, ncols=3, fontsize=8)
    top.set_title(_title(spectra), loc="left", fontsize=9)
    top.grid(True, color="#e5e5e5", lw=0.5)
    floor = np.nanmedian(noise)
    shown = low.pcolormesh(um, np.arange(1, len(seen) + 1), np.log10(np.maximum(seen, floor)), cmap="inferno")
    figure.colorbar(shown, ax=low, label="log$_{10}$ of the same")
    low.set_xlabel("wavelength (µm)")
    low.set_ylabel("pixel of the slit")
    return figure


def _title(dataset: xr.Dataset) -> str:
    time = np.datetime_as_string(dataset["time"].values[0], unit="ms")
    exposure = 1e3 * float(dataset["exposure"].values[0])
    return f"{time} UTC, {exposure:g} ms, {float(dataset['altitude'].values[0]):.0f} km above the planet"
