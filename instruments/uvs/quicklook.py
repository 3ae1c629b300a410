"""Figures of a pass: aurora over the poles, spectra, the spectral image along the spin, count rates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline.figures import BLACK, BLUE, GREEN, ORANGE, blank

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[np.float64]

POLEWARD = 50.0  # degrees of latitude that the polar maps begin at
# Bands of the false colours, nm: red what methane absorbs least, blue what it absorbs most.
FALSE = {"red": (155.0, 162.0), "green": (125.0, 165.0), "blue": (123.0, 130.0)}


def aurora(map_: xr.Dataset) -> Figure:
    """Both poles: false colours, brightness of the widest band, colour ratio; poles that were not seen are left out."""
    low, high = map_["band_low"].values, map_["band_high"].values
    value = map_["brightness"].values.astype(float)
    widest = int(np.argmax(high - low))
    channels = [np.flatnonzero((low == a) & (high == b)) for a, b in FALSE.values()]
    shown: list[tuple[str, Array, str | None]] = []
    if all(len(c) for c in channels):
        shown.append(("false colours", _colours(np.stack([value[c[0]] for c in channels], axis=-1)), None))
    shown.append((f"{low[widest]:.0f} to {high[widest]:.0f} nm (kR)", value[widest], "inferno"))
    shown.append(("colour ratio", map_["colour_ratio"].values.astype(float), "viridis"))
    latitude, seen = map_["latitude"].values, map_["exposure"].values > 0
    poles = [p for p in (1.0, -1.0) if seen[p * latitude > POLEWARD].any()] or [1.0]
    figure = blank(0.5 + 3.0 * len(poles))
    axes = figure.subplots(len(poles), len(shown), subplot_kw={"projection": "polar"}, squeeze=False)
    for k, (title, values, colours) in enumerate(shown):
        polar = values[(np.abs(latitude) > POLEWARD) & np.isfinite(latitude)]
        finite = polar[np.isfinite(polar)]
        top = max(float(np.percentile(finite, 99.0)), 1e-3) if finite.size else 1.0
        for pole, axis in zip(poles, axes[:, k], strict=True):
            mesh = _polar(axis, map_, values, pole, colours, top)
            axis.set_title(f"{title}, {'north' if pole > 0 else 'south'}", fontsize=9)
        if colours is not None:
            figure.colorbar(mesh, ax=list(axes[:, k]), shrink=0.7, pad=0.08, location="bottom")
    return figure


def _colours(channels: Array) -> Array:
    """Brightness of three bands as colours, each by the square root of its share of its 99.5th percentile."""
    top = np.nanpercentile(channels.reshape(-1, 3), 99.5, axis=0)
    out = np.sqrt(np.clip(channels / np.where(top > 0, top, 1.0), 0.0, 1.0))
    alpha = np.isfinite(channels).all(axis=-1, keepdims=True).astype(float)
    return np.concatenate([np.nan_to_num(out), alpha], axis=-1)


def _polar(axis: Axes, map_: xr.Dataset, shown: Array, pole: float, colours: str | None, top: float) -> Any:
    """One pole, seen from above; west longitudes as the community counts them."""
    latitude, longitude = map_["latitude"].values, map_["longitude"].values
    step = latitude[1] - latitude[0]
    use = pole * latitude > POLEWARD
    colat = 90.0 - pole * latitude[use]
    order = np.argsort(colat)
    edges = np.append(colat[order] - step / 2, colat[order][-1] + step / 2)
    axis.set_facecolor("#f0f0f0")
    angle = np.radians(np.append(longitude - step / 2, longitude[-1] + step / 2))
    # Seen from above the north east longitude runs counter-clockwise, seen from below the south clockwise.
    axis.set_theta_direction(1 if pole > 0 else -1)  # type: ignore[attr-defined]
    part = shown[use][order]
    if colours is None:
        mesh = axis.pcolormesh(angle, edges, part, shading="flat")
    else:
        mesh = axis.pcolormesh(angle, edges, part, shading="flat", cmap=colours, vmin=0.0, vmax=top)
    axis.set_ylim(0.0, 90.0 - POLEWARD)
    axis.set_yticks([10, 20, 30], [f"{90 - c}°{'N' if pole > 0 else 'S'}" for c in (10, 20, 30)], fontsize=7)
    east = np.arange(0, 360, 45)
    axis.set_xticks(np.radians(east), [f"{(-e) % 360}°W" for e in east], fontsize=7)
    axis.grid(True, color="#bbbbbb", lw=0.4)
    return mesh


def spectra(spins: xr.Dataset) -> Figure:
    """Mean spectra of all spins with their noise, and the spectra of Jupiter spin by spin."""
    figure = blank(6.5)
    top, low = figure.subplots(2, 1, sharex=True, height_ratios=(1.3, 1.0))
    w = spins["wavelength"].values
    for k, (name, colour) in enumerate((("Jupiter", ORANGE), ("sky", BLUE))):
        value, sigma = (spins[n].values[:, k].astype(float) for n in ("radiance", "radiance_random"))
        number = np.isfinite(value).sum(axis=0)
        if not number.any():
            continue
        mean, noise = np.nanmean(value, axis=0), np.sqrt(np.nansum(sigma**2, axis=0)) / np.maximum(number, 1)
        top.fill_between(w, mean - noise, mean + noise, color=colour, alpha=0.3, lw=0, step="mid")
        top.step(w, mean, where="mid", color=colour, lw=1.0, label=f"{name}, mean of {number.max()} spins")
    top.set_yscale("symlog", linthresh=0.01)
    top.set_ylabel("brightness (kR/nm)")
    top.legend(frameon=False)
    shown = np.maximum(spins["radiance"].values[:, 0].astype(float), 1e-3)
    mesh = low.pcolormesh(
        np.append(w - 0.5, w[-1] + 0.5), np.arange(len(shown) + 1), np.log10(shown), cmap="magma", vmin=-2
    )
    figure.colorbar(mesh, ax=low, label="log10 kR/nm")
    low.set_ylabel("spin")
    low.set_xlabel("wavelength (nm)")
    return figure


def image(swath: xr.Dataset) -> Figure:
    """Counts over wavelength and time, all bins along the slit together, of the steps that look at Jupiter."""
    figure = blank(5.5)
    axis = figure.subplots()
    et = swath["et"].values
    steps, of = np.unique(et, return_inverse=True)
    group = of // max(1, -(-len(steps) // 600))
    counts = np.zeros((int(group.max()) + 1 if len(group) else 1, swath.sizes["wavelength"]))
    np.add.at(counts, group, swath["counts"].values.astype(float))
    w = swath["wavelength"].values
    mesh = axis.pcolormesh(
        np.append(w - 0.5, w[-1] + 0.5), np.arange(len(counts) + 1), np.log10(counts + 1), cmap="magma"
    )
    figure.colorbar(mesh, ax=axis, label="log10(1 + counts)")
    axis.set_xlabel("wavelength (nm)")
    axis.set_ylabel("time on Jupiter, first to last")
    return figure


def rates(seconds: xr.Dataset) -> Figure:
    """Events that came and that were recorded, the live share, and radiation."""
    figure = blank(6.0)
    axes = figure.subplots(3, 1, sharex=True)
    seconds = seconds.isel(et=seconds["exposure"].values > 0.5)
    minutes = seconds["time_from_closest_approach"].values / 60.0
    axes[0].plot(minutes, seconds["rate"].values, ".", ms=3, color=ORANGE, label="arriving")
    axes[0].plot(minutes, seconds["recorded"].values, ".", ms=2, color=BLACK, label="recorded")
    axes[0].set_yscale("log")
    axes[0].set_ylabel("events/s")
    axes[0].legend(frameon=False, ncols=2)
    axes[1].plot(minutes, seconds["live"].values, ".", ms=3, color=BLUE)
    axes[1].set_ylabel("live share")
    value, sigma = seconds["radiation"].values.astype(float), seconds["radiation_random"].values
    axes[2].errorbar(minutes, value, sigma, fmt=".", ms=3, lw=0.5, color=GREEN)
    axes[2].set_ylabel("radiation (events/s)")
    axes[2].set_xlabel("minutes from closest approach")
    for axis in axes:
        axis.grid(True, color="#e5e5e5", lw=0.5)
    return figure
