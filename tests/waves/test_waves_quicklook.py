"""The figures are drawn from whatever a run may hold, without a warning."""

from __future__ import annotations

import io
import warnings

import numpy as np
import pytest
import xarray as xr
from loops import CLOCK
from waves_scene import Loop

from instruments.waves import INSTRUMENT
from pipeline.dataset.context import add_context


@pytest.fixture(scope="module")
def products(loop: Loop) -> dict[str, xr.Dataset]:
    steps = {"waves.survey": "survey_from_telemetry", "waves.survey_archive": "survey_from_csv"}
    for kind in ("low_e", "low_b", "mid_e", "high_e"):
        steps |= {f"waves.burst_{kind}": f"waveform_{kind}", f"waves.spectrum_{kind}": f"spectrum_{kind}"}
    made = {name: loop.make(step) for name, step in steps.items()}
    loop.given.update({k: made[k] for k in ("waves.survey", "waves.survey_archive")})
    made["waves.differences"] = loop.make("differences")
    for name, dataset in made.items():
        schema = INSTRUMENT.product(name).schema
        if schema.context:
            dataset = add_context(dataset, schema, loop.scene.geometry, CLOCK)
        made[name] = dataset.assign_attrs(simulated="SIMULATED")
    return made


def drawn(name: str, products: dict[str, xr.Dataset]) -> bytes:
    look = next(q for q in INSTRUMENT.quicklooks if q.name == name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        out = io.BytesIO()
        look.draw(*(products.get(p) for p in look.products)).savefig(out, dpi=40)
    return out.getvalue()


@pytest.mark.parametrize("name", [q.name for q in INSTRUMENT.quicklooks])
def test_figures_of_all_products(products: dict[str, xr.Dataset], name: str) -> None:
    assert len(drawn(name, products)) > 3000


def test_a_survey_of_one_receiver(products: dict[str, xr.Dataset]) -> None:
    survey = products["waves.survey"].copy(deep=True)
    for letter, first in (("e", 88), ("b", 43)):
        survey[f"psd_{letter}"].values[:, :first] = np.nan
        survey[f"quality_{letter}"].values[:, :first] |= 1
    assert len(drawn("waves-spectra", {"waves.survey": survey})) > 3000
    assert len(drawn("waves-spectra", {"waves.survey": survey.isel(et=slice(0, 1))})) > 2000


def test_bursts_of_one_kind_or_of_none(products: dict[str, xr.Dataset]) -> None:
    one = {"waves.burst_low_b": products["waves.burst_low_b"]}
    assert len(drawn("waves-bursts", one)) > 3000
    empty = {"waves.burst_low_b": products["waves.burst_low_b"].isel(et=slice(0, 0))}
    assert len(drawn("waves-bursts", empty)) > 500
