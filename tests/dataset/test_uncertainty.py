from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from dataset_samples import SCHEMA, finished
from numpy.testing import assert_allclose

from pipeline.dataset import netcdf
from pipeline.dataset.uncertainty import component, sigma


def test_components_add_in_quadrature_with_their_dimensions(tmp_path: Path) -> None:
    dataset = finished()
    netcdf.write_segment(tmp_path / "0.nc", dataset, SCHEMA)
    for one in (dataset, netcdf.open_product(tmp_path / "0.nc")):
        total = sigma(one, "field")
        value = one["field"].values.astype(float)
        assert total.dims == ("et", "xyz")
        assert total.dtype == np.float64
        assert total.attrs["units"] == "nT"
        assert_allclose(total, np.sqrt(2.5**2 + (0.01 * value) ** 2 + 1.5**2), rtol=1e-6)


def test_dimensions_follow_the_variable() -> None:
    dataset = xr.Dataset(
        {"x": (("a", "b", "c"), np.ones((2, 3, 4))), "x_random": (("c", "a"), np.arange(8.0).reshape(4, 2))}
    )
    total = sigma(dataset, "x")
    assert total.dims == ("a", "b", "c")
    assert total.values[1, 2, 3] == 7.0


def test_nothing_stated() -> None:
    with pytest.raises(KeyError, match="counts states no uncertainty"):
        sigma(finished(), "counts")
    assert component(finished(), "counts", "random") is None
