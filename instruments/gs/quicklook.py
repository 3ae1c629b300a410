"""Figures of a tracking pass: residuals before and after calibration, their stability, the effects, the estimate."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from instruments.gs.layout import LINK_NAMES
from pipeline.figures import GREY, blank

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Told apart by all eyes (Okabe and Ito 2008).
COLOURS = ("#D55E00", "#0072B2", "#009E73", "#000000")
STAGE_WORDS = ("as received", "less troposphere", "less spin and antenna", "less plasma, links combined")


def _panels(number: int, height: float = 1.7) -> tuple[Figure, list[Axes]]:
    figure = blank(height * number + 0.6)
    axes = figure.subplots(number, 1, sharex=True, squeeze=False)[:, 0]
    for axis in axes:
        axis.grid(color="#e6e6e6", lw=0.6)
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=8)
    return figure, list(axes)


def _minutes(dataset: xr.Dataset) -> np.ndarray:
    """Minutes from the middle of the pass, at Juno."""
    et = dataset["et_spacecraft"].values
    return (et - _closest(dataset)) / 60.0


def _closest(dataset: xr.Dataset) -> float:
    from pipeline.passes import get_pass

    return get_pass(int(dataset.attrs["pass"])).et


def residuals(product: xr.Dataset) -> Figure:
    """Residual range rate after each calibration in turn, each on a scale of its own."""
    stages = product["stage"].values
    figure, axes = _panels(4)
    minutes = _minutes(product)
    for k, axis in enumerate(axes):
        value = stages[:, k]
        mean = float(np.nanmean(value)) if np.isfinite(value).any() else 0.0
        axis.axhline(0.0, color=GREY, lw=0.8)
        if k == 3:
            error = np.hypot(product["range_rate_random"].values, product["range_rate_structured"].values)
            axis.errorbar(minutes, value, error, fmt=".", ms=4, color=COLOURS[1], ecolor="#b3cde3", lw=0.8)
        else:
            axis.plot(minutes, value, ".", ms=4, color=COLOURS[k])
        rms = float(np.sqrt(np.nanmean(value**2)))
        words = STAGE_WORDS[k] if k < 3 or product["links"].values.max() > 1 else "one link: the plasma is left in"
        axis.set_title(f"{words}: rms {rms:.3g}, mean {mean:.3g} mm/s", fontsize=8.5, loc="left")
        axis.set_ylabel("mm/s", fontsize=8)
    axes[-1].set_xlabel("minutes from closest approach, at Juno", fontsize=8)
    return figure


def stability(product: xr.Dataset) -> Figure:
    """Overlapping Allan deviation of each link and of their combination."""
    figure, (axis,) = _panels(1, 4.0)
    tau, deviation, error = (product[n].values for n in ("averaging_time", "deviation", "deviation_random"))
    seen = np.isfinite(deviation).any(axis=1)
    # Of one link the combination is that link.
    seen[-1] &= seen[:-1].sum() > 1
    for k, name in enumerate((*LINK_NAMES, "combined")):
        if not seen[k]:
            continue
        axis.errorbar(tau * 1.02**k, deviation[k], error[k], fmt="o-", ms=3, lw=1, color=COLOURS[k], label=name)
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xlabel("averaging time (s)", fontsize=8)
    axis.set_ylabel("Allan deviation of the relative frequency", fontsize=8)
    axis.legend(frameon=False, fontsize=8)
    return figure


def effects(product: xr.Dataset) -> Figure:
    """What each calibration removes from each link, and the elevations."""
    figure, axes = _panels(4)
    minutes = _minutes(product)
    words = {"troposphere": "troposphere", "spin": "spin", "antenna": "motion of the antenna"}
    for axis, (name, word) in zip(axes, words.items(), strict=False):
        for k, link in enumerate(LINK_NAMES):
            value = product[f"effect_{name}"].values[:, k]
            if np.isfinite(value).any():
                # Both links that come down at Ka may lie on one another.
                axis.plot(minutes, 1e3 * value, "--" if k == 2 else "-", lw=1, color=COLOURS[k], label=link)
        low, high = axis.get_ylim()
        if high - low < 1e-3 * max(abs(low), abs(high)):
            axis.set_ylim(1.5 * min(low, 0.0), 1.5 * max(high, 0.0))  # a constant is drawn as one
        axis.set_title(word, fontsize=8.5, loc="left")
        axis.set_ylabel("mHz", fontsize=8)
        axis.ticklabel_format(useOffset=False)
    axes[0].legend(frameon=False, fontsize=8, ncols=3)
    axes[3].plot(minutes, product["elevation_down"].values, color=COLOURS[1], lw=1, label="at reception")
    up = product["elevation_up"].values
    for k in range(up.shape[1]):
        if np.isfinite(up[:, k]).any():
            axes[3].plot(minutes, up[:, k], color=COLOURS[0], lw=1, label="at transmission")
            break
    axes[3].axhline(10.0, color=GREY, lw=0.8, ls=":")
    axes[3].set_title("elevation of Juno", fontsize=8.5, loc="left")
    axes[3].set_ylabel("degrees", fontsize=8)
    axes[3].legend(frameon=False, fontsize=8)
    axes[3].set_xlabel("minutes from closest approach, at Juno", fontsize=8)
    return figure


def gravity(product: xr.Dataset) -> Figure:
    """Residuals before and after the fit, and the corrections in units of their errors."""
    figure = blank(4.8)
    top, bottom = figure.subplots(2, 1)
    minutes = (product["record_et"].values - np.mean(product["record_et"].values)) / 60.0
    top.plot(minutes, product["before"].values, ".", ms=4, color=COLOURS[0], label="before")
    top.plot(minutes, product["after"].values, ".", ms=4, color=COLOURS[1], label="after the fit")
    top.set_ylabel("mm/s", fontsize=8)
    top.set_xlabel("minutes from the middle of the data", fontsize=8)
    top.legend(frameon=False, fontsize=8, ncols=2)
    state = "accepted" if int(product["accepted"].values) else "REJECTED"
    chi2, freedom, p = (float(product[n].values) for n in ("chi2", "freedom", "probability"))
    title = f"solution {state}: chi2 {chi2:.1f} for {freedom:.1f}, probability {p:.2g}"
    top.set_title(f"{title}; runs {float(product['runs_probability'].values):.2g}", fontsize=8.5, loc="left")
    value, sigma = product["correction"].values, product["correction_random"].values
    names = [str(n) for n in product["parameter_name"].values]
    place = np.arange(len(names))
    bottom.axhline(0.0, color=GREY, lw=0.8)
    bottom.errorbar(place, value / sigma, np.ones(place.size), fmt="o", ms=4, color=COLOURS[3], lw=1)
    units = [str(u) if u != "1" else "" for u in product["unit"].values]
    labels = [f"{n}\n±{s:.1e}\n{u}" for n, s, u in zip(names, sigma, units, strict=True)]
    bottom.set_xticks(place, labels, fontsize=7.5)
    bottom.set_ylabel("correction / error", fontsize=8)
    for axis in (top, bottom):
        axis.grid(color="#e6e6e6", lw=0.6)
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(axis="y", labelsize=8)
    top.tick_params(axis="x", labelsize=8)
    return figure


def open_loop(product: xr.Dataset) -> Figure:
    """Frequency of the recorded carrier less a parabola, and its power."""
    figure, (top, bottom) = _panels(2)
    second = product["et"].values - product["et"].values[0]
    value = product["sky_frequency"].values
    good = np.isfinite(value)
    left = np.full(value.shape, np.nan)
    if good.sum() > 3:
        x = second / max(second[-1], 1.0)
        base = value - value[good][0]
        left[good] = base[good] - np.polyval(np.polyfit(x[good], base[good], 3), x[good])
    top.errorbar(
        second, 1e3 * left, 1e3 * product["sky_frequency_random"].values, fmt=".", ms=4, color=COLOURS[1], lw=0.8
    )
    top.set_ylabel("mHz", fontsize=8)
    top.set_title("sky frequency less a cubic (it bends where the uplink's ramps do)", fontsize=8.5, loc="left")
    bottom.plot(second, product["power"].values, ".", ms=4, color=COLOURS[0])
    bottom.set_ylabel("dB-Hz", fontsize=8)
    bottom.set_title("carrier to noise density", fontsize=8.5, loc="left")
    bottom.set_xlabel("seconds", fontsize=8)
    return figure
