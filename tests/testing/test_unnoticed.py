"""Finding plausible wrong numbers: unflagged ones are told; flagged, missing ones and noise are not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import xarray as xr

from pipeline.dataset.quality import CONDITIONS, Quality
from pipeline.dataset.schema import Schema, Uncertainty, Variable
from pipeline.testing.unnoticed import unnoticed

SCHEMA = Schema(
    1,
    "et",
    (
        Variable(
            "x", ("et",), "float64", "nT", "x", uncertainties=(Uncertainty("random", ("et",)),), quality="quality"
        ),
        Variable("mode", ("et",), "int32", "1", "mode"),
        Variable("quality", ("et",), "uint32", "1", "quality"),
    ),
)


def product() -> xr.Dataset:
    values = {"x": np.arange(10.0), "x_random": np.full(10, 0.5), "mode": np.ones(10, np.int32)}
    values["quality"] = np.zeros(10, np.uint32)
    made = xr.Dataset({n: ("et", v) for n, v in values.items()}, coords={"et": 5e8 + np.arange(10.0)})
    made["quality"].attrs["flag_conditions"] = np.uint32(CONDITIONS)
    return made


def flagged(made: xr.Dataset, bit: Quality) -> None:
    made["x"][3] += 100.0
    made["quality"][3] = int(bit)


def missing(made: xr.Dataset) -> None:
    made["x"][3] = np.nan
    made["quality"][3] = int(Quality.MISSING)
    made["mode"][3] = -1  # what a lost record says is not believed


def moved(made: xr.Dataset, dt: float) -> None:
    et = made["et"].values.copy()
    et[9] += dt
    made.coords["et"] = et


CASES: dict[str, tuple[Callable[[xr.Dataset], object], list[str]]] = {
    "sound": (lambda d: None, []),
    "noise": (lambda d: d["x"].__setitem__(3, 4.4), []),
    "wrong": (lambda d: d["x"].__setitem__(3, 5.0), ["x: 1 of 10, 5 for 3"]),
    "suspect": (lambda d: flagged(d, Quality.SUSPECT), []),
    "only a condition": (lambda d: flagged(d, Quality.INPUT_MISSING), ["x: 1 of 10, 103 for 3"]),
    "missing": (missing, []),
    "no uncertainty": (lambda d: d["mode"].__setitem__(4, 2), ["mode: 1 of 10, 2 for 1"]),
    "time": (lambda d: moved(d, 0.3), ["1 of 10 records at other times"]),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_told(name: str) -> None:
    change, told = CASES[name]
    damaged = product()
    change(damaged)
    assert unnoticed(damaged, product(), SCHEMA) == told


def test_fewer_records() -> None:
    assert unnoticed(product().isel(et=slice(2, 5)), product(), SCHEMA) == []
    assert unnoticed(product(), product().isel(et=slice(0, 0)), SCHEMA) == ["10 of 10 records at other times"]
