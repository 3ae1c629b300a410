"""Figures of TALLY."""

from __future__ import annotations

from typing import TYPE_CHECKING

import xarray as xr

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def rates(rate: xr.Dataset, dose: xr.Dataset | None) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4))
    axes = figure.subplots()
    axes.plot(rate["time_from_closest_approach"] / 60, rate["rate"])
    axes.set_xlabel("minutes from closest approach")
    axes.set_ylabel("particles per second" + ("" if dose is None else ", dose is there too"))
    return figure
