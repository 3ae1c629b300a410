"""The figures are drawn from whatever a run may hold, without a warning."""

from __future__ import annotations

import io
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

sys.path.insert(0, str(Path(__file__).parent))
from mag_forward import tables
from mag_scene import CLOCK, Loop, finished, mean_of

from instruments.mag import INSTRUMENT, model, zeros
from pipeline.dataset.context import add_context


@pytest.fixture(scope="module")
def products(loop: Loop) -> dict[str, xr.Dataset]:
    means = mean_of(loop.field, loop.scene, 1.0)
    chosen = [tables()[name] for name in ("orthogonality", "alignment", "bench", "zero")]
    made = {
        "mag.field": loop.field,
        "mag.field_1s": means,
        "mag.model": model.model(means, loop.scene.geometry),
        "mag.zeros": zeros.zeros(means, loop.scene.geometry, loop.scene.pass_, *chosen),
    }
    for name, dataset in made.items():
        schema = INSTRUMENT.product(name).schema
        whole = add_context(dataset, schema, loop.scene.geometry, CLOCK) if schema.context else dataset
        made[name] = finished(whole, name).assign_attrs(simulated="SIMULATED DATA")
    return made


def drawn(number: int, *datasets: xr.Dataset | None) -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = INSTRUMENT.quicklooks[number].draw(*datasets)
        out = io.BytesIO()
        figure.savefig(out, format="png", dpi=40)
    assert any(axis.has_data() for axis in figure.axes)
    return out.getvalue()


@pytest.mark.parametrize("number", range(len(INSTRUMENT.quicklooks)))
def test_figures_are_drawn(products: dict[str, xr.Dataset], number: int) -> None:
    look = INSTRUMENT.quicklooks[number]
    assert drawn(number, *(products[name] for name in look.products)).startswith(b"\x89PNG")
    if len(look.products) > 1:
        drawn(number, products[look.products[0]], None)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_one_record_and_missing_values_are_drawn(products: dict[str, xr.Dataset], number: int) -> None:
    look = INSTRUMENT.quicklooks[number]
    few = [products[name].isel(et=slice(0, 3)).copy(deep=True) for name in look.products]
    for dataset in few:
        for name in dataset:
            if dataset[name].dtype.kind == "f":
                dataset[name].values[0] = np.nan
    drawn(number, *few)
    drawn(number, *(d.isel(et=slice(0, 1)) for d in few[:1]), *(None for _ in few[1:]))


def test_flagged_samples_show_in_the_timeline(products: dict[str, xr.Dataset]) -> None:
    figure = INSTRUMENT.quicklooks[2].draw(products["mag.field_1s"], products["mag.field"])
    shown = [t.get_text() for t in figure.axes[2].get_yticklabels()]
    assert {"missing", "near gap", "range change"} <= set(shown)
