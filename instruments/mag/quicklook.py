"""Figures of a pass: the field, what the models leave, range and flags, zeros."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline.dataset.quality import raised
from pipeline.dataset.uncertainty import sigma
from pipeline.figures import BLACK, BLUE, GREEN, GREY, ORANGE, blank

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[np.float64]

RADIUS = 71492.0
MINUTE = np.timedelta64(60, "s")


def field(means: xr.Dataset) -> Figure:
    """Magnitude and the components along radius, colatitude and longitude of System III."""
    from matplotlib.ticker import LogFormatterMathtext

    figure, (top, middle) = _panels(2, (1.0, 1.4))
    time, b = means["time"].values, means["b_pc"].values.astype(float)
    top.semilogy(time, np.linalg.norm(b, axis=1), color=BLACK, lw=1.2)
    top.yaxis.set_major_formatter(LogFormatterMathtext())
    top.set_ylabel("|B|  (nT)")
    scale = np.max(np.nan_to_num(np.abs(b)), initial=0.0)
    unit, name = (1e-3, "µT") if scale > 2e4 else (1.0, "nT")
    for part, colour, label in zip(
        _spherical(means, b), (ORANGE, BLUE, GREEN), ("r", "\\theta", "\\varphi"), strict=True
    ):
        middle.plot(time, part * unit, color=colour, lw=1.0, label=f"$B_{label}$")
    middle.axhline(0.0, color=GREY, lw=0.5)
    middle.set_ylabel(f"System III  ({name})")
    _legend(middle)
    _along(middle, means)
    return figure


def residual(model: xr.Dataset, means: xr.Dataset | None) -> Figure:
    """Components of measured less modelled field over time with their uncertainty, and the magnitude over latitude."""
    figure, (top, low) = _panels(2, (1.5, 1.0), share=False)
    good = np.asarray(~raised(model["quality"].values, ~_conditions(model) & 0xFFFFFFFF))
    time, left = model["time"].values, model["residual"].values.astype(float)
    total = sigma(model, "residual").values
    for i, colour in enumerate((ORANGE, BLUE, GREEN)):
        shown = np.where(good, left[:, i], np.nan)
        top.fill_between(time, shown - total[:, i], shown + total[:, i], color=colour, alpha=0.2, lw=0)
        top.plot(time, shown, color=colour, lw=0.9, label=f"$\\Delta B_{'xyz'[i]}$")
    top.axhline(0.0, color=GREY, lw=0.5)
    top.set_yscale("symlog", linthresh=10.0)
    top.set_ylabel("measured - modelled\nSystem III  (nT)")
    title = f"JRM33 degree {int(model['degree'].values[0])} + con2020"
    _legend(top, title)
    _along(top, model)
    modelled = np.linalg.norm(model["b_internal"].values.astype(float) + model["b_disc"].values, axis=1)
    latitude = model["latitude_planetocentric"].values
    percent = 100.0 * model["residual_magnitude"].values / modelled
    low.plot(latitude, np.where(good, percent, np.nan), color=BLACK, lw=1.0)
    low.axhline(0.0, color=GREY, lw=0.5)
    low.set_xlim(90, -90)
    low.set_xticks(np.arange(90, -91, -30), [f"{abs(d)}°{'NS'[d < 0] if d else ''}" for d in range(90, -91, -30)])
    low.set_xlabel("planetocentric latitude of Juno")
    low.set_ylabel("|B| measured -\nmodelled  (%)")
    return figure


def quality(means: xr.Dataset, full: xr.Dataset | None) -> Figure:
    """The range, the uncertainty by component, and a timeline of the quality bits that are set."""
    figure, (top, middle, low) = _panels(3, (0.7, 1.2, 1.0))
    source = means if full is None else full
    time = source["time"].values
    known = np.where(source["range"].values >= 0, source["range"].values.astype(float), np.nan)
    top.step(time, known, where="mid", color=BLACK, lw=1.0)
    top.set_ylabel("range")
    top.set_yticks(range(6))
    top.set_ylim(-0.5, 5.5)
    styles = (("random", GREEN), ("systematic", BLUE), ("structured", ORANGE))
    for component, colour in styles:
        size = np.sqrt((means[f"b_payload_{component}"].values.astype(float) ** 2).sum(axis=1))
        middle.semilogy(means["time"].values, size, color=colour, lw=1.0, label=component)
    middle.set_ylabel("one sigma of the\n1 s mean, three axes  (nT)")
    _legend(middle)
    _flags(low, source)
    _along(low, means)
    return figure


def zeros(spins: xr.Dataset) -> Figure:
    """Zeros of the spins with what the field's curvature feigns, and which are offered."""
    figure, (top, low) = _panels(2, (1.0, 1.0))
    time = spins["et"].values
    hours = (time - time[0]) / 3600.0 if len(time) else time
    offered = spins["offered"].values == 1
    for i, colour in enumerate((ORANGE, BLUE)):
        z = spins["zero_spin"].values[:, i]
        top.plot(hours, z, ".", ms=2.5, color=colour, alpha=0.25)
        top.plot(hours[offered], z[offered], ".", ms=3.5, color=colour, label=f"$z_{'xy'[i]}$")
    top.set_yscale("symlog", linthresh=1.0)
    top.set_ylabel("zero of a spin  (nT)")
    _legend(top, f"offered: {int(offered.sum())} of {len(offered)} spins")
    low.semilogy(hours, spins["leakage"].values, ".", ms=2.5, color=BLACK, label="leakage of the field's curvature")
    low.semilogy(hours, spins["zero_spin_random"].values[:, 0], ".", ms=2.5, color=GREEN, label="formal error")
    low.set_ylabel("nT")
    low.set_xlabel("hours from the first spin")
    _legend(low)
    return figure


def _spherical(dataset: xr.Dataset, b: Array) -> tuple[Array, Array, Array]:
    """Components along radius, colatitude and east longitude of a field in System III."""
    east = np.radians(dataset["longitude_iii_east"].values.astype(float))
    north = np.radians(dataset["latitude_planetocentric"].values.astype(float))
    out = np.stack([np.cos(north) * np.cos(east), np.cos(north) * np.sin(east), np.sin(north)], axis=1)
    south = np.stack([np.sin(north) * np.cos(east), np.sin(north) * np.sin(east), -np.cos(north)], axis=1)
    along = np.stack([-np.sin(east), np.cos(east), np.zeros_like(east)], axis=1)
    radial, colatitude, longitude = ((b * unit).sum(axis=1) for unit in (out, south, along))
    return radial, colatitude, longitude


def _panels(number: int, heights: tuple[float, ...], *, share: bool = True) -> tuple[Figure, list[Axes]]:
    figure = blank(0.9 + 2.1 * sum(heights))
    axes = list(np.atleast_1d(figure.subplots(number, 1, sharex=share, height_ratios=heights)))
    for axis in axes:
        axis.grid(True, color="#e5e5e5", lw=0.5)
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _legend(axis: Axes, title: str = "") -> None:
    """Names of the lines above a panel, and a title at its other end."""
    axis.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=3, frameon=False, borderaxespad=0.1, markerscale=2.0)
    axis.set_title(title, loc="right", fontsize=9)


def _along(axis: Axes, dataset: xr.Dataset) -> None:
    """Time ticks that also say where the spacecraft was."""
    time = dataset["time"].values
    minutes = int((time[-1] - time[0]) / MINUTE)
    step = next((s for s in (1, 2, 5, 10, 15, 20, 30, 60, 120, 240, 360) if minutes / s <= 8), 720)
    start = time[0].astype("datetime64[h]")
    ticks = np.arange(start, time[-1] + MINUTE, step * MINUTE)
    ticks = ticks[(ticks >= time[0]) & (ticks <= time[-1])]
    place = np.clip(np.searchsorted(time, ticks), 0, len(time) - 1)
    distance = dataset["radial_distance"].values[place] / RADIUS
    latitude, east = dataset["latitude_planetocentric"].values[place], dataset["longitude_iii_east"].values[place]
    labels = [
        f"{str(t)[11:16]}\n{r:.2f}\n{lat:.0f}\n{lon:.0f}"
        for t, r, lat, lon in zip(ticks, distance, latitude, east, strict=True)
    ]
    axis.set_xticks(ticks, labels, fontsize=8)
    if time[-1] > time[0]:
        axis.set_xlim(time[0], time[-1])
    day = str(time[len(time) // 2])[:10]
    axis.annotate(
        f"UTC {day}\nradius ($R_J$)\nlatitude (°)\nSIII east (°)", (0, 0), (-8, -4), xycoords="axes fraction",
        textcoords="offset points", ha="right", va="top", fontsize=8,
    )  # fmt: skip


def _conditions(dataset: xr.Dataset) -> int:
    """Mask of the bits that do not disqualify a sample."""
    return int(dataset["quality"].attrs.get("flag_conditions", 0))


def _flags(axis: Axes, dataset: xr.Dataset) -> None:
    """A row for every bit that is set somewhere: where it is."""
    bits, time = dataset["quality"].values, dataset["time"].values
    masks = np.atleast_1d(dataset["quality"].attrs["flag_masks"])
    names = dataset["quality"].attrs["flag_meanings"].split()
    conditions = _conditions(dataset)
    there = [(n, int(m)) for n, m in zip(names, masks, strict=True) if (bits & np.uint32(m)).any()]
    for row, (_, mask) in enumerate(there):
        at = np.flatnonzero((bits & np.uint32(mask)) != 0)
        runs = np.split(at, np.flatnonzero(np.diff(at) > 1) + 1)
        colour = GREY if mask & conditions else ORANGE
        for run in runs:
            axis.plot(time[run[[0, -1]]], [row, row], "-s", color=colour, lw=5, ms=4)
    axis.set_yticks(range(len(there)), [f"{n.replace('_', ' ')}" for n, _ in there], fontsize=8)
    axis.set_ylim(len(there) - 0.5, -0.5)
    if not there:
        axis.text(0.5, 0.5, "no bit is set", transform=axis.transAxes, ha="center", va="center", color=GREY)
