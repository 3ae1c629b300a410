"""The map's parameters and cells, its colour ratio, and the figures."""

from __future__ import annotations

import io
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

sys.path.insert(0, str(Path(__file__).parent))
from uvs_world import CLOCK, Loop, finished

from calibration.library import audit
from instruments.uvs import INSTRUMENT, maps
from pipeline.dataset import check
from pipeline.dataset.context import add_context
from pipeline.errors import UsageError


@pytest.fixture(scope="module")
def swath(loop: Loop) -> xr.Dataset:
    return loop.make("uvs.swath")


def test_bands_are_read() -> None:
    assert maps.band(" 155-162") == (155.0, 162.0)
    for text in ("155", "162-155", "155-162.5", "20-90", "155-212", ""):
        with pytest.raises(UsageError, match="write 155-162"):
            maps.band(text)


def test_bands_and_ratio_are_parameters(loop: Loop, swath: xr.Dataset) -> None:
    made = loop.map(swath=swath, bands="120-123", ratio="155-162 / 135-140")
    assert made["band_low"].values.tolist() == [120.0]
    assert made["brightness"].shape == (1, 180, 360)
    other = loop.map(swath=swath)
    both = np.isfinite(made["colour_ratio"].values) & np.isfinite(other["colour_ratio"].values)
    assert both.sum() > 5
    assert not np.array_equal(made["colour_ratio"].values[both], other["colour_ratio"].values[both])
    with pytest.raises(UsageError, match="is no ratio"):
        loop.map(swath=swath, ratio="155-162")


def test_colour_ratio_is_that_of_the_truth(loop: Loop, swath: xr.Dataset) -> None:
    """Where it is said, it is the ratio of the true bands within its errors."""
    made, true = loop.map(swath=swath), loop.truth["uvs.map"]["brightness"].values
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = true[3] / true[2]
    there = np.isfinite(made["colour_ratio"].values)
    pulls = ((made["colour_ratio"] - expected) / made["colour_ratio_random"]).values[there]
    assert there.sum() > 10
    assert np.abs(pulls).max() < 5
    assert abs(np.median(pulls)) < 1.0
    systematic = (made["colour_ratio_systematic"] / made["colour_ratio"]).values[there]
    assert np.all((systematic > 0.15) & (systematic < 0.35))  # 20 % of the area at 160 nm, 10 % at 125


def test_steep_pixels_are_left_out(loop: Loop, swath: xr.Dataset) -> None:
    steep, all_ = (np.isfinite(loop.map(swath=swath, emission=e)["brightness"].values[0]).sum() for e in (60.0, 90.0))
    assert 0 < steep < all_


def test_cells() -> None:
    place = maps.cells(np.array([-90.0, 89.9, 90.0, 0.0]), np.array([0.0, 359.9, 360.0, -0.5]))
    assert place.tolist() == [0, 179 * 360 + 359, 179 * 360, 90 * 360 + 359]


def test_sums_about_a_cell_go_round_the_planet() -> None:
    one = np.zeros((180, 360))
    one[100, 0] = 1.0
    total = maps.smooth(one)
    assert total.sum() == pytest.approx(maps.AROUND**2)
    assert total[100, 359] == total[102, 2] == 1.0


def test_tables_are_sound() -> None:
    assert audit(INSTRUMENT.tables) == []


@pytest.mark.parametrize("number", range(len(INSTRUMENT.quicklooks)))
def test_figures_are_drawn(loop: Loop, swath: xr.Dataset, number: int) -> None:
    look = INSTRUMENT.quicklooks[number]
    (name,) = look.products
    made = {"uvs.swath": lambda: swath, "uvs.map": lambda: loop.map(swath=swath)}.get(name, lambda: loop.make(name))()
    schema = INSTRUMENT.product(name).schema
    if schema.context:
        made = add_context(made, schema, loop.scene.geometry, CLOCK)
    whole = finished(made, name).assign_attrs(simulated="SIMULATED DATA")
    check.check(whole, schema, INSTRUMENT.flags)
    index = schema.index
    for dataset in [whole, *([whole.isel({index: slice(0, 2)})] if index else [])]:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            figure = look.draw(dataset)
            out = io.BytesIO()
            figure.savefig(out, format="png", dpi=40)
        assert out.getvalue().startswith(b"\x89PNG")
        assert any(axis.has_data() for axis in figure.axes)
