"""The figures are drawn, of full and of empty products, and show what is in them."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import xarray as xr

sys.path.insert(0, str(Path(__file__).parent))
from sru_scene import CLOCK, Loop, stars_of

from instruments.sru import counts, quicklook
from instruments.sru.schemas import COUNT_RATE, IMAGE
from pipeline.dataset.context import add_context


def test_figures_show_what_they_should(loop: Loop, hits: dict[str, xr.Dataset], tmp_path: Path) -> None:
    unit = next(u for t, u in loop.truth if t == "sru.stars")
    image = add_context(loop.images[unit], IMAGE, loop.scene.geometry, CLOCK).assign_attrs(simulated="yes")
    stars = stars_of(loop.images[unit], loop.scene)
    rates = add_context(counts.count_rate_from_images(hits), COUNT_RATE, loop.scene.geometry, CLOCK)
    figures = {
        "image": quicklook.image(image, stars),
        "alone": quicklook.image(image, None),
        "clusters": quicklook.clusters(image, hits[unit]),
        "rate": quicklook.rate(rates),
    }
    for name, figure in figures.items():
        figure.savefig(tmp_path / f"{name}.png", dpi=40)
        assert (tmp_path / f"{name}.png").stat().st_size > 5000
    shown = figures["image"].axes[0].images[0].get_array()
    assert np.ma.count_masked(np.ma.masked_invalid(shown)) > 0  # hits and dummies
    points = figures["rate"].axes[0].containers + figures["rate"].axes[1].containers
    drawn = sum(len(c[0].get_xdata()) for c in points)
    assert drawn == rates.sizes["image"]
