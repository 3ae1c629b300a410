"""The closed loop's judge where structured errors are the same in many samples of a record, as in an image's pixels."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from pipeline.dataset.schema import Schema, Uncertainty, Variable
from pipeline.testing.distributions import shared_means
from pipeline.testing.pulls import Result, compare_to_truth

DIMS = ("et", "band", "line", "sample")
SHAPE = (1, 2, 60, 100)
SCHEMA = Schema(
    1,
    "et",
    (
        Variable(
            "x",
            DIMS,
            "float64",
            "1",
            "x",
            source="s",
            uncertainties=(
                Uncertainty("random", DIMS),
                Uncertainty("structured", ("et", "band"), err_scale="one frame"),
            ),
            quality="quality",
        ),
        Variable("quality", DIMS, "uint32", "1", "quality"),
    ),
)


def truth() -> np.ndarray:
    line, sample = np.meshgrid(np.arange(60), np.arange(100), indexing="ij")
    scene = 100.0 + 30.0 * np.sin(line / 9.0) * np.cos(sample / 13.0)
    return np.stack([0.1 * scene, scene])[None]


def judge(seed: int = 0, *, drift: float = 6.0, noise: float = 2.0, gain: float = 1.0) -> Result:
    """A frame whose bands have drifts of their own; random errors of 2 and structured ones of 6 are stated."""
    rng = np.random.default_rng(seed)
    scale = rng.uniform(0.5, 1.5, SHAPE)
    x = gain * truth() + drift * np.array([0.3, -1.1])[None, :, None, None] + noise * scale * rng.normal(size=SHAPE)
    data = {
        "x": (DIMS, x),
        "x_random": (DIMS, 2.0 * scale),
        "x_structured": (("et", "band"), np.full((1, 2), 6.0)),
        "quality": (DIMS, np.zeros(SHAPE, np.uint32)),
    }
    product = xr.Dataset(data, coords={"et": [0.0]})
    (_, result) = compare_to_truth(product, xr.Dataset({"x": (DIMS, truth())}, coords={"et": [0.0]}), SCHEMA)
    return result


def test_a_drift_of_the_size_stated_passes() -> None:
    for seed in range(20):
        result = judge(seed)
        assert result.ok, result.why
    assert abs(result.pull_mean or 0.0) > 0.5  # seen, and allowed for


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"noise": 2.2}, "deviation of pulls"),
        ({"noise": 1.0}, "deviation of pulls"),
        ({"drift": 30.0}, "shared errors beyond"),
        ({"gain": 1.05}, "goes with the truth"),
    ],
)
def test_what_is_wrong_fails(wrong: dict[str, float], says: str) -> None:
    result = judge(**wrong)
    assert not result.ok
    assert says in result.why


def test_means_leave_out_what_is_not_judged() -> None:
    values = np.array([[[1.0, np.nan], [3.0, np.nan]]])
    np.testing.assert_array_equal(shared_means(values, (1,)), [[[2.0, 0.0]]])
