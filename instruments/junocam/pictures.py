"""Pictures of maps and of the colour assembly, and how well the limb fits.

``natural``: I/F of red, green and blue to one scale under the sRGB curve, so that a white cloud is white: what an eye
would see. ``enhanced``: each band stretched between its own 2nd and 98th percentile where the planet is seen and lit
well, and the differences of the bands from their mean doubled: colours that tell apart, not colours that are there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from instruments.junocam.layout import FILTERS
from instruments.junocam.quicklook import COLOURS
from pipeline.figures import WIDTH, blank

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]

# Percentile of I/F that is white, percentiles of the stretch, factor on the colour.
WHITE, STRETCH, CHROMA = 99.8, (2.0, 98.0), 2.0
# Angles in degrees to which the stretch looks.
SEEN, SUNLIT = 75.0, 80.0
# Longest side of a picture in the figure.
LARGEST = 1400
SKY = "#20242c"
NOWHERE = "nothing has a known place:\nno attitude from kernels or a limb in view"


def colours(sheet: xr.Dataset) -> Floats:
    """I/F as (row, column, red green blue): one band is grey, of two the mean stands for green; thinned."""
    names = list(sheet["band"].values)
    thin = max(1, -(-max(sheet["i_over_f"].shape[1:]) // LARGEST))
    bands = {n: sheet["i_over_f"].values[i, ::thin, ::thin].astype(np.float64) for i, n in enumerate(names)}
    visible = [bands[n] for n in ("RED", "GREEN", "BLUE") if n in bands]
    if len(visible) < 2:
        return np.stack([next(iter(bands.values()))] * 3, axis=-1)
    if len(visible) == 2:
        visible.insert(1, (visible[0] + visible[1]) / 2)
    return np.stack(visible, axis=-1)


def natural(values: Floats) -> Floats:
    """Values (row, column, 3) to one scale under the sRGB curve (IEC 61966-2-1), 0 to 1; NaN stays."""
    if not np.isfinite(values).any():
        return values
    top = float(np.nanpercentile(values, WHITE)) or 1.0
    linear = np.clip(values / top, 0.0, 1.0)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def enhanced(values: Floats, well: NDArray[np.bool_]) -> Floats:
    """Each band stretched by itself and the colours exaggerated, 0 to 1.

    Parameters
    ----------
    well : cells (row, column) seen and lit well.
    """
    inside = values[well & np.isfinite(values).all(axis=-1)]
    if inside.size == 0:
        return natural(values)
    low, high = np.percentile(inside, STRETCH, axis=0)
    flat = (values - low) / np.where(high > low, high - low, 1.0)
    mean = flat.mean(axis=-1, keepdims=True)
    return np.clip(mean + CHROMA * (flat - mean), 0.0, 1.0)


def _well(sheet: xr.Dataset) -> NDArray[np.bool_]:
    thin = max(1, -(-max(sheet["i_over_f"].shape[1:]) // LARGEST))
    with np.errstate(invalid="ignore"):
        good = (sheet["emission"].values < SEEN) & (sheet["incidence"].values < SUNLIT)
    return np.asarray(good[::thin, ::thin])


def assembly(colour: xr.Dataset) -> Figure:
    """The colour assembly, natural and enhanced."""
    values = colours(colour)
    figure, axes = _panels(values.shape, 2, side_by_side=True)
    _show(axes[0], natural(values), "natural")
    _show(axes[1], enhanced(values, _well(colour)), "enhanced")
    return figure


def maps(map_: xr.Dataset) -> Figure:
    """The map, natural and enhanced."""
    values = colours(map_)
    projection = str(map_["projection"].values)
    figure, axes = _panels(values.shape, 2, side_by_side=projection != "equirectangular")
    for axis, picture, title in zip(
        axes, (natural(values), enhanced(values, _well(map_))), ("natural", "enhanced"), strict=True
    ):
        _show(axis, picture, title)
        if projection == "equirectangular":
            _degrees(axis, values.shape)
    return figure


def _panels(shape: tuple[int, ...], number: int, *, side_by_side: bool) -> tuple[Figure, NDArray[np.object_]]:
    rows, columns = (1, number) if side_by_side else (number, 1)
    height = WIDTH / columns * shape[0] / max(shape[1], 1) * rows
    figure = blank(min(max(height, 2.0), 14.0) + 0.6)
    return figure, figure.subplots(rows, columns, squeeze=False).ravel()


def _show(axis: Axes, picture: Floats, title: str) -> None:
    axis.set_facecolor(SKY)
    seen = np.isfinite(picture).all(axis=-1)
    if not seen.any():
        axis.text(0.5, 0.5, NOWHERE, transform=axis.transAxes, ha="center", va="center", color="white", fontsize=8)
    else:
        axis.imshow(np.dstack([np.nan_to_num(picture), seen]), interpolation="nearest")
    axis.set_title(title, fontsize=9)
    axis.set_xticks([])
    axis.set_yticks([])


def _degrees(axis: Axes, shape: tuple[int, ...]) -> None:
    """Ticks of planetocentric latitude and west longitude."""
    east = np.arange(0, 361, 60)
    axis.set_xticks(east / 360.0 * shape[1] - 0.5, [f"{(360 - e) % 360}" for e in east])
    north = np.arange(90, -91, -30)
    axis.set_yticks((90 - north) / 180.0 * shape[0] - 0.5, [f"{n}" for n in north])
    axis.tick_params(labelsize=7)
    axis.set_xlabel("west longitude, System III (degrees)", fontsize=8)


def limb(attitude: xr.Dataset) -> Figure:
    """Residuals of the limb by frame and filter, and what the geometry rests on."""
    figure = blank(3.2)
    axis = figure.subplots()
    names = attitude["filter"].values.astype(str)
    for name in (f for f in FILTERS if f in set(names)):
        use = (names == name) & (attitude["limb_used"].values > 0)
        frame, mean, rms = (attitude[n].values[use] for n in ("frame", "limb_mean", "limb_rms"))
        axis.errorbar(frame, mean, rms, fmt="o", ms=3, lw=0.8, color=COLOURS[name], label=name.lower())
    axis.axhline(0.0, color="#8c8c8c", lw=0.5)
    axis.set_xlabel("frame")
    axis.set_ylabel("limb found outside\nof the model's (px)")
    axis.set_title(str(attitude["basis"].values), fontsize=9)
    if axis.get_legend_handles_labels()[0]:
        axis.legend(fontsize=7, ncols=4, frameon=False)
    axis.spines[["top", "right"]].set_visible(False)
    return figure
