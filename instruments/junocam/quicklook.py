"""Figures of an image: its framelets as they lie in the file, and how far they are damaged."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from instruments.junocam.layout import FILTERS
from pipeline.figures import WIDTH, blank

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Colours that are told apart by all eyes (Okabe and Ito 2008).
COLOURS = {"BLUE": "#0072B2", "GREEN": "#009E73", "RED": "#D55E00", "METHANE": "#000000"}
# Every so many samples are drawn.
THIN = 4


def framelets(radiance: xr.Dataset) -> Figure:
    """I/F of the framelets by filter, one below the other, to a common scale; missing samples are blue."""
    import matplotlib as mpl

    names = [f for f in FILTERS if f in set(radiance["filter"].values)]
    strips = {n: _strip(radiance, n) for n in names}
    top = max((float(np.nanpercentile(s, 99.9)) for s in strips.values() if np.isfinite(s).any()), default=1.0)
    height = max(s.shape[0] for s in strips.values()) / (1648 / THIN) * WIDTH / max(len(names), 2)
    figure = blank(min(height, 14.0) + 0.8)
    axes = figure.subplots(1, len(names), squeeze=False)[0]
    map_ = mpl.colormaps["gray"].with_extremes(bad="#3b5b92")
    for axis, name in zip(axes, names, strict=True):
        image = axis.imshow(strips[name], cmap=map_, vmin=0.0, vmax=top or 1.0, aspect="auto", interpolation="nearest")
        axis.set_title(f"{name.lower()}, {int((radiance['filter'] == name).sum())} framelets", fontsize=9)
        axis.set_xticks([])
        axis.set_yticks([])
    figure.colorbar(image, ax=axes, label="I/F", shrink=0.6)
    return figure


def _strip(radiance: xr.Dataset, name: str) -> NDArray[np.float32]:
    """Framelets of one filter below each other, thinned."""
    chosen = np.flatnonzero(radiance["filter"].values == name)
    values = radiance["i_over_f"].values[chosen][:, ::THIN, ::THIN]
    return np.asarray(values.reshape(-1, values.shape[2]))


def damage(radiance: xr.Dataset) -> Figure:
    """Shares of lost, saturated, nonlinear and hit samples over the frames, and the measures of streaks and blocks."""
    figure = blank(4.6)
    top, low = figure.subplots(2, 1, sharex=True)
    frame, filters = radiance["frame"].values, radiance["filter"].values
    styles = {"saturated": "-", "nonlinear": "--", "lost": ":", "hit": "-."}
    for name in (f for f in FILTERS if f in set(filters)):
        use = filters == name
        for measure, style in styles.items():
            share = 100.0 * radiance[f"{measure}_fraction"].values[use]
            if share.any():
                label = f"{name.lower()}, {measure}"
                top.plot(frame[use], share, style, color=COLOURS[name], lw=1.0, marker=".", ms=3, label=label)
        for measure, style in {"line_streaks": "-", "column_streaks": "--"}.items():
            low.plot(frame[use], radiance[measure].values[use], style, color=COLOURS[name], lw=1.0, marker=".", ms=3)
    top.set_ylabel("samples (%)")
    if top.get_lines():
        top.legend(fontsize=7, ncols=4, frameon=False)
    low.set_ylabel("lines (-) and columns (--)\nout of line (DN)")
    low.set_xlabel("frame")
    for axis in (top, low):
        axis.spines[["top", "right"]].set_visible(False)
    return figure
