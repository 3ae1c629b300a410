"""Figures of a pass: antenna temperatures, brightness by latitude, gain and diodes, what is in the beam."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline.clock import format_utc
from pipeline.dataset.quality import Quality, raised
from pipeline.figures import GREY, blank

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[np.float64]

RADIUS = 71492.0
# Told apart by all eyes (Okabe and Ito 2008); from the longest wavelength to the shortest.
COLOURS = ("#D55E00", "#E69F00", "#009E73", "#56B4E9", "#0072B2", "#CC79A7")
SPIN = 30.0
GIGAHERTZ = ("0.6", "1.25", "2.6", "5.2", "10", "21.9")
BAD = int(Quality.MISSING | Quality.SATURATED)


def temperatures(product: xr.Dataset) -> Figure:
    """Antenna temperature by spin phase and time of C1 and C4 as images, and the coldest and hottest of each spin."""
    figure, axes = _panels(3, (1.2, 1.2, 1.5))
    minutes, phase = product["time_from_closest_approach"].values / 60.0, product["spin_phase"].values
    ta = _good(product, "ta")
    for axis, channel in zip(axes[:2], (0, 3), strict=True):
        image, extent = _by_phase(minutes, phase, ta[:, channel])
        shown = axis.imshow(
            image, aspect="auto", origin="lower", extent=extent, cmap="inferno", interpolation="nearest"
        )
        figure.colorbar(shown, ax=axis, label=f"C{channel + 1} TA (K)", pad=0.01)
        axis.set_ylabel("spin phase (°)")
        axis.set_yticks([0, 90, 180, 270, 360])
        axis.grid(visible=False)
    spin = np.floor(minutes * 60.0 / SPIN).astype(np.int64)
    numbers = np.unique(spin)
    edges = np.append(np.searchsorted(spin, numbers), len(spin))
    middle = (numbers + 0.5) * SPIN / 60.0
    for n, colour in enumerate(COLOURS):
        low, high = (_each(edges, ta[:, n], share) for share in (2.0, 98.0))
        axes[2].plot(middle, high, color=colour, lw=1.2, label=_name(n))
        axes[2].plot(middle, low, color=colour, lw=0.8, ls=":")
    axes[2].set_yscale("log")
    axes[2].set_ylabel("highest and\nlowest of a spin (K)")
    _legend(axes[2], 6)
    _along(axes[2], product)
    return figure


def latitudes(brightness: xr.Dataset) -> Figure:
    """Nadir brightness less its mean, and the drop of brightness at 45 degrees, by latitude."""
    figure, (left, right) = _panels(1, (3.0,), columns=2)
    latitude, angle = brightness["latitude"].values, brightness["angle"].values
    tb = brightness["tb"].values
    at = int(np.argmin(np.abs(angle - 45.0)))
    random, systematic = brightness["tb_random"].values, brightness["tb_systematic"].values
    for n, colour in enumerate(COLOURS):
        nadir = tb[n, :, 0]
        if not np.isfinite(nadir).any():
            continue
        mean = np.nanmean(nadir)
        shown, error = 100.0 * (nadir / mean - 1.0) + 6.0 * n, 100.0 * random[n, :, 0] / mean
        left.errorbar(latitude, shown, error, color=colour, marker=".", lw=1)
        sigma = f" ± {np.nanmean(systematic[n, :, 0]):.1f}"
        left.annotate(
            f"{_name(n)}\n{mean:.0f}{sigma} K", (1.02, 6.0 * n), xycoords=("axes fraction", "data"), color=colour,
            fontsize=7.5, va="center",
        )  # fmt: skip
        drop = 100.0 * (1.0 - tb[n, :, at] / nadir)
        error = 100.0 * np.hypot(random[n, :, at], random[n, :, 0]) / nadir
        right.errorbar(latitude, drop, error, color=colour, marker=".", lw=1, label=_name(n))
    for axis in (left, right):
        axis.set_xlim(-90, 90)
        axis.set_xticks(range(-90, 91, 30), [f"{abs(d)}°{'SN'[d > 0] if d else ''}" for d in range(-90, 91, 30)])
        axis.set_xlabel("planetocentric latitude")
    left.set_ylabel("nadir brightness less its mean (%), C2 to C6 shifted by 6 each")
    right.set_ylabel(f"limb darkening: drop from nadir to {angle[at]:.0f}° (%)")
    _legend(right, 3)
    used = ", ".join(str(int(v)) for v in brightness["records"].values)
    left.set_title(f"records of C1 to C6: {used}", fontsize=8, loc="left")
    return figure


def gains(gain: xr.Dataset, anchor: xr.Dataset | None) -> Figure:
    """Gain of each stream against its mean, diodes against one another, and the residual of the open sky."""
    figure, axes = _panels(3, (1.2, 1.2, 1.0), share=False)
    first = gain["et"].values[:1]
    minutes = (gain["et"].values - first) / 60.0
    value, ratio = gain["gain"].values, gain["diode_ratio"].values
    for s, name in enumerate(gain["stream"].values.tolist()):
        colour = COLOURS[int(name[1]) - 1]
        style = "--" if name.endswith("_2") else "-"
        mean = np.nanmean(value[:, s])
        error = gain["gain_structured"].values[:, s] / mean * 100.0
        shown = 100.0 * (value[:, s] / mean - 1.0)
        axes[0].plot(minutes, shown, color=colour, ls=style, lw=1.0, label=f"{name}  {mean:.1f}/K")
        axes[0].fill_between(minutes, shown - error, shown + error, color=colour, alpha=0.12, lw=0)
        for d, mark in enumerate("o^s"):
            axes[1].plot(minutes, 100.0 * (ratio[:, s, d] - 1.0), mark, ms=2, color=colour, alpha=0.5)
    axes[0].set_ylabel("gain less its mean (%)")
    axes[1].set_ylabel("diode 1 (o), 2 (^), 3 (s)\nless median (%)")
    _legend(axes[0], 4)
    for axis in axes[:2]:
        axis.set_xlabel(f"minutes from {format_utc(first)[0][:19].replace('T', ' ')} UTC")
    if anchor is not None:
        where = np.arange(6)
        residual = anchor["residual"].values
        error = np.hypot(anchor["residual_random"].values, anchor["residual_systematic"].values)
        axes[2].errorbar(where, residual, error, fmt="o", ms=4, color="black", capsize=3)
        axes[2].axhline(0.0, color=GREY, lw=0.5)
        axes[2].set_xticks(
            where, [f"{_name(n)}\n{int(k)} records" for n, k in enumerate(anchor["records"].values)], fontsize=8
        )
        axes[2].set_ylabel("open sky: measured\nless modelled (K)")
    else:
        axes[2].text(0.5, 0.5, "no open sky", transform=axes[2].transAxes, ha="center", color=GREY)
    return figure


def sky(components: xr.Dataset) -> Figure:
    """Three spins about closest approach: what of the antenna temperature is Jupiter, belts, galaxy."""
    figure, axes = _panels(3, (1.2, 1.2, 1.0))
    since = components["time_from_closest_approach"].values
    near = np.argsort(np.abs(since), kind="stable")[:1]
    start = since[near[0]] - 1.5 * SPIN if len(near) else 0.0
    use = (since >= start) & (since <= start + 3.0 * SPIN)
    for axis, n in zip(axes, (0, 1, 5), strict=True):
        parts = {
            "measured less belts and sky": (components["ta_planet"], "black"),
            "Jupiter, mean brightness": (components["planet_model"], COLOURS[4]),
            "radiation belts": (components["synchrotron"], COLOURS[0]),
            "galaxy and background": (components["background"], COLOURS[2]),
        }
        for name, (value, colour) in parts.items():
            axis.plot(since[use], value.values[use, n], color=colour, lw=1.0, label=name)
        belts, error = (components[k].values[use, n] for k in ("synchrotron", "synchrotron_systematic"))
        axis.fill_between(since[use], belts - error, belts + error, color=COLOURS[0], alpha=0.2, lw=0)
        axis.set_ylabel(f"{_name(n)}\nTA (K)")
        axis.set_yscale("symlog", linthresh=5.0)
    _legend(axes[0], 4)
    axes[2].set_xlabel("seconds from closest approach")
    return figure


def _good(dataset: xr.Dataset, name: str) -> Array:
    bad = raised(dataset["quality"].values, BAD)
    return np.where(bad, np.nan, dataset[name].values.astype(np.float64))


def _name(channel: int) -> str:
    return f"C{channel + 1}, {GIGAHERTZ[channel]} GHz"


def _by_phase(minutes: Array, phase: Array, value: Array) -> tuple[Array, tuple[float, float, float, float]]:
    """Mean by spin phase (rows) and spin (columns), and the edges of that."""
    first, last = np.floor(minutes[[0, -1]] * 60.0 / SPIN).astype(int)
    columns, rows = int(last - first + 1), 120
    good = np.isfinite(value)
    column = np.floor(minutes[good] * 60.0 / SPIN).astype(int) - first
    row = np.minimum((phase[good] / 360.0 * rows).astype(int), rows - 1)
    place, size = row * columns + column, rows * columns
    count = np.bincount(place, minlength=size)
    total = np.bincount(place, value[good], minlength=size)
    with np.errstate(invalid="ignore", divide="ignore"):
        image = (total / count).reshape(rows, columns)
    return image, (first * SPIN / 60.0, (last + 1) * SPIN / 60.0, 0.0, 360.0)


def _each(edges: NDArray[np.intp], value: Array, share: float) -> Array:
    """A percentile of every stretch between edges."""
    out = np.full(len(edges) - 1, np.nan)
    for k, (low, high) in enumerate(pairwise(edges)):
        part = value[low:high]
        part = part[np.isfinite(part)]
        out[k] = np.percentile(part, share) if len(part) else np.nan
    return out


def _panels(
    number: int, heights: tuple[float, ...], *, share: bool = True, columns: int = 1
) -> tuple[Figure, list[Axes]]:
    figure = blank(0.9 + 2.0 * sum(heights))
    axes = list(np.atleast_1d(figure.subplots(number, columns, sharex=share, height_ratios=heights)).ravel())
    for axis in axes:
        axis.grid(True, color="#e5e5e5", lw=0.5)
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _legend(axis: Axes, columns: int) -> None:
    axis.legend(
        loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=columns, frameon=False, borderaxespad=0.1, fontsize=7.5
    )


def _along(axis: Axes, dataset: xr.Dataset) -> None:
    """Ticks in minutes from closest approach that also say where the spacecraft was."""
    minutes = dataset["time_from_closest_approach"].values / 60.0
    length = minutes[-1] - minutes[0]
    step = next((s for s in (1, 2, 5, 10, 20, 30, 60, 120) if length / s <= 9), 240)
    ticks = np.arange(np.ceil(minutes[0] / step), np.floor(minutes[-1] / step) + 1) * step
    place = np.clip(np.searchsorted(minutes, ticks), 0, len(minutes) - 1)
    distance = dataset["radial_distance"].values[place] / RADIUS
    latitude = dataset["latitude_planetocentric"].values[place]
    labels = [f"{t:.0f}\n{r:.2f}\n{lat:.0f}" for t, r, lat in zip(ticks, distance, latitude, strict=True)]
    axis.set_xticks(ticks, labels, fontsize=8)
    axis.annotate(
        "minutes\nradius ($R_J$)\nlatitude (°)", (0, 0), (-8, -4), xycoords="axes fraction", textcoords="offset points",
        ha="right", va="top", fontsize=8,
    )  # fmt: skip
