"""Figures: rates along the pass, an image with its stars, the hits in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from instruments.sru.schemas import CORE, DAY, PLANET
from pipeline.dataset.quality import Quality
from pipeline.figures import BLACK, BLUE, GREY, ORANGE, blank

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[np.float64]

RADIUS = 71492.0
NAMED = 8  # stars that are labelled


def rate(counts: xr.Dataset) -> Figure:
    """Rate of clusters, rate of deposited charge, and how many of the hits are counted, along the pass."""
    figure = blank(6.0)
    top, middle, low = figure.subplots(3, 1, sharex=True, height_ratios=(1.4, 1.4, 1.0))
    minutes = counts["time_from_closest_approach"].values / 60.0
    for axis, name, label in (
        (top, "cluster_rate", "hits\n(cm$^{-2}$ s$^{-1}$)"),
        (middle, "noise_rate", "charge left\n(DN cm$^{-2}$ s$^{-1}$)"),
    ):
        value = counts[name].values
        total = np.hypot(counts[f"{name}_random"].values, counts[f"{name}_systematic"].values * value)
        for unit, colour in ((1, BLUE), (2, ORANGE)):
            mine = (counts["unit"].values == unit) & np.isfinite(value)
            axis.errorbar(
                minutes[mine], value[mine], np.minimum(total[mine], 0.95 * value[mine]), fmt="o", ms=4, lw=1,
                color=colour, label=f"unit {unit}",
            )  # fmt: skip
        known = value[np.isfinite(value)]
        if known.size and known.min() > 0 and known.max() > 5.0 * known.min():
            axis.set_yscale("log")
        else:
            axis.ticklabel_format(axis="y", style="sci", scilimits=(-2, 4), useMathText=True)
        axis.set_ylabel(label)
    top.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2, frameon=False, borderaxespad=0.1)
    top.set_title("one of the two rates for each image", loc="right", fontsize=9)
    if "completeness" in counts:
        low.plot(minutes, counts["completeness"].values, "o", ms=4, color=BLACK)
        low.axhline(1.0, color=GREY, lw=0.5)
    low.set_ylabel("clusters counted\nper hit")
    low.set_xlabel(f"minutes from closest approach, {str(counts['time'].values[0])[:10]}")
    for axis in (top, middle, low):
        axis.grid(True, color="#e5e5e5", lw=0.5)
        axis.spines[["top", "right"]].set_visible(False)
    return figure


def image(picture: xr.Dataset, stars: xr.Dataset | None) -> Figure:
    """The image, hits taken out, with the stars measured; rows and columns as in the archive."""
    figure, (axis, side) = _frame(picture)
    value = np.where(_bit(picture, int(Quality.RADIATION)), np.nan, picture["rate"].values)
    sky = picture["rate_random"].values
    limit = 4.0 * float(np.nanmedian(sky))
    dark_side = value[_bit(picture, PLANET.mask) & ~_bit(picture, DAY.mask)]
    if dark_side.size > 1000:
        limit = max(limit, float(np.nanpercentile(dark_side, 90)))
    _show(figure, axis, value, -0.5 * limit, limit, "electrons per second, hits left out (grey)")
    if stars is not None and stars.sizes["star"]:
        _mark(axis, stars)
        _offsets(side, stars)
    return figure


def clusters(picture: xr.Dataset, hits: xr.Dataset | None) -> Figure:
    """The image in sigmas of its noise with the cores of hits marked, and the charges of the clusters."""
    from scipy import ndimage

    figure, (axis, side) = _frame(picture)
    significance = picture["rate"].values / picture["rate_random"].values
    _show(figure, axis, significance, -5.0, 20.0, "sigma")
    core = _bit(picture, CORE.mask)
    row, column = np.nonzero(core)
    axis.plot(column, row, ".", ms=1.5, color=ORANGE, alpha=0.6)
    labels, count = ndimage.label(_bit(picture, int(Quality.RADIATION)), np.ones((3, 3)))
    if count:
        scale = picture["row_exposure"].values[:, None] / float(picture["gain"])
        charge = ndimage.sum_labels(np.nan_to_num(picture["rate"].values * scale), labels, np.arange(1, count + 1))
        side.hist(np.clip(charge, 1.0, None), np.geomspace(10.0, 1e4, 40).tolist(), color=BLUE)
        side.set_xscale("log")
    side.set_xlabel("charge of a cluster (DN)")
    side.set_ylabel("number")
    if hits is not None:
        text = (
            f"{int(hits['clusters'])} clusters\n{100 * float(hits['completeness']):.0f} % of hits counted\n"
            f"{float(hits['cluster_rate']):.3g} ± {float(hits['cluster_rate_random']):.2g} cm$^{{-2}}$ s$^{{-1}}$"
        )
        side.text(0.97, 0.97, text, transform=side.transAxes, ha="right", va="top", fontsize=8)
    return figure


def _frame(picture: xr.Dataset) -> tuple[Figure, tuple[Axes, Axes]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.0, 5.6), layout="constrained")
    axis, side = figure.subplots(1, 2, width_ratios=(2.2, 1.0))
    mode = "TDI" if int(picture["tdi"]) else "no TDI"
    place = f"{float(picture['radial_distance'][0]) / RADIUS:.2f} $R_J$"
    axis.set_title(
        f"unit {int(picture['unit'])}, {1e3 * float(picture['exposure']):g} ms, {mode}; "
        f"{str(picture['time'].values[0])[:19]} UTC, {place}",
        fontsize=9,
    )
    axis.set_xlabel("column")
    axis.set_ylabel("row")
    side.spines[["top", "right"]].set_visible(False)
    return figure, (axis, side)


def _show(figure: Figure, axis: Axes, value: Array, low: float, high: float, label: str) -> None:
    from matplotlib import colormaps

    colours = colormaps["cividis"].with_extremes(bad="#777777")
    drawn = axis.imshow(value, cmap=colours, vmin=low, vmax=high, origin="lower", interpolation="nearest")
    figure.colorbar(drawn, ax=axis, shrink=0.9, label=label)


def _bit(picture: xr.Dataset, mask: int) -> NDArray[np.bool_]:
    return np.asarray((picture["quality"].values & np.uint32(mask)) != 0)


def _mark(axis: Axes, stars: xr.Dataset) -> None:
    """Circles at the stars measured, crosses at those expected only; the brightest by number."""
    measured = np.isfinite(stars["place"].values[:, 0])
    row, column = stars["expected_place"].values.T
    axis.scatter(column[measured], row[measured], s=70, facecolors="none", edgecolors="white", lw=0.8)
    axis.plot(column[~measured], row[~measured], "x", color="white", ms=3, mew=0.5)
    for i in np.argsort(stars["expected_magnitude"].values)[:NAMED]:
        text = f"HIP {int(stars['hip'][i])} ({float(stars['expected_magnitude'][i]):.1f})"
        left = column[i] > 380
        axis.annotate(
            text, (column[i], row[i]), color="white", fontsize=6.5, xytext=(-5 if left else 5, 3),
            textcoords="offset points", ha="right" if left else "left",
        )  # fmt: skip


def _offsets(axis: Axes, stars: xr.Dataset) -> None:
    """Places measured less expected."""
    off = stars["place"].values - stars["expected_place"].values
    error = stars["place_random"].values
    axis.errorbar(off[:, 1], off[:, 0], error[:, 0], error[:, 1], fmt="o", ms=3, lw=0.8, color=BLUE)
    axis.axhline(0.0, color=GREY, lw=0.5)
    axis.axvline(0.0, color=GREY, lw=0.5)
    reach = 1.2 * max(0.5, float(np.nanmax(np.abs(off) + error, initial=0.0)))
    axis.set_xlim(-reach, reach)
    axis.set_ylim(-reach, reach)
    axis.set_aspect("equal")
    axis.set_xlabel("columns, measured - expected")
    axis.set_ylabel("rows, measured - expected")
    axis.set_title(f"{int(stars['matched'])} stars measured", fontsize=9)
