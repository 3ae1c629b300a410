"""Record coordinates: against SPICE's own functions and by hand."""

from __future__ import annotations

import numpy as np
import pytest
import spiceypy
import xarray as xr
from dataset_samples import FLAGS, SCHEMA, T0, FakeGeometry, step_result
from numpy.testing import assert_allclose, assert_array_equal

from pipeline.clock import Sclk, parse_utc
from pipeline.dataset import check, netcdf
from pipeline.dataset.context import add_context, record_variables
from pipeline.dataset.quality import Quality, raised
from pipeline.dataset.schema import Schema, Variable
from pipeline.geometry import Geometry, make_geometry
from pipeline.passes import get_pass


def at(et: np.ndarray, geometry: FakeGeometry | Geometry) -> xr.Dataset:
    dataset = step_result(len(et)).assign_coords(et=et)
    return add_context(dataset, SCHEMA, geometry, Sclk.default())  # type: ignore[arg-type]


def test_place_agrees_with_spice() -> None:
    geometry = FakeGeometry(start=(40000.0, -50000.0, 60000.0), speed=(30.0, 20.0, -50.0))
    et = T0 + np.linspace(-600, 600, 25)
    dataset = at(et, geometry)
    for place, record in zip(geometry.position("IAU_JUPITER", et), range(len(et)), strict=True):
        one = dataset.isel(et=record)
        radius, longitude, latitude = spiceypy.reclat(place)
        assert float(one["radial_distance"]) == pytest.approx(radius, rel=1e-7)
        assert float(one["longitude_iii_east"]) == pytest.approx(np.degrees(longitude) % 360, rel=1e-6)
        assert float(one["latitude_planetocentric"]) == pytest.approx(np.degrees(latitude), rel=1e-6)
        _, height = spiceypy.nearpt(place, 71492.0, 71492.0, 66854.0)
        assert float(one["altitude"]) == pytest.approx(height, rel=1e-6)


def test_local_time_is_twelve_under_the_sun_and_grows_eastward() -> None:
    # The Sun of the fake stands at 90 degrees east.
    for east, hour in ((90.0, 12.0), (105.0, 13.0), (270.0, 0.0), (0.0, 6.0), (180.0, 18.0)):
        place = (80000 * np.cos(np.radians(east)), 80000 * np.sin(np.radians(east)), 0.0)
        found = at(np.array([T0]), FakeGeometry(start=place))["local_time"].item()
        assert (found - hour + 12) % 24 == pytest.approx(12.0, abs=1e-4)


def test_times() -> None:
    et = T0 + np.arange(640) / 64
    dataset = at(et, FakeGeometry())
    assert dataset["time"].dtype == "datetime64[ns]"
    assert_array_equal(dataset["time_from_closest_approach"], et - T0)
    assert_allclose(dataset["sclk"], Sclk.default().to_ticks(et), atol=0.5)
    # closest approach of PJ1 by the IK of NAIF: 5/0525574420:18916 (encoded 34444044906769.98) at et 525574312.242697
    exact = at(np.array([525574312.242697]), FakeGeometry())
    assert int(exact["sclk"].item()) == 34444044906770
    assert Sclk.default().format(float(exact["sclk"].item())) == "5/0525574420:18916"


def test_clock_and_leap_second_are_flagged() -> None:
    leap = parse_utc("2016-12-31T23:59:60.5")
    bits = at(np.array([leap - 1.0, leap, leap + 1.0]), FakeGeometry())["quality"].values
    assert raised(bits, Quality.LEAP_SECOND).tolist() == [False, True, False]
    assert not raised(bits, Quality.CLOCK_EXTRAPOLATED).any()
    late = at(np.array([Sclk.default().last - 1.0, Sclk.default().last + 1.0]), FakeGeometry())["quality"].values
    assert raised(late, Quality.CLOCK_EXTRAPOLATED).tolist() == [False, True]
    assert raised(late, Quality.GEOMETRY_PREDICTED).all()


def test_where_geometry_is_missing() -> None:
    dataset = at(T0 + np.arange(100.0), FakeGeometry(lost=T0 + 40))
    lost = np.arange(100) >= 40
    for name in (
        "longitude_iii_east",
        "latitude_planetocentric",
        "radial_distance",
        "altitude",
        "local_time",
        "m_shell",
    ):
        assert_array_equal(np.isnan(dataset[name]), lost)
    assert_array_equal(raised(dataset["quality"].values, Quality.GEOMETRY_MISSING), lost)
    assert np.isfinite(dataset["time_from_closest_approach"]).all()
    check.check(check.finish(dataset, SCHEMA, FLAGS, {}), SCHEMA, FLAGS)


def test_bits_of_the_step_stay() -> None:
    before = step_result(50)["quality"].values
    after = at(T0 + np.arange(50.0), FakeGeometry())["quality"].values
    assert_array_equal(after & before, before)


def test_every_coordinate_is_described() -> None:
    names = [v.name for v in record_variables(SCHEMA)]
    assert names[0] == "et"
    assert set(names) <= set(at(T0 + np.arange(3.0), FakeGeometry()).coords)
    assert all(v.long_name for v in record_variables(SCHEMA))
    assert record_variables(Schema(1, None, ())) == ()


def test_a_schema_without_quality_is_refused() -> None:
    schema = Schema(1, "et", (Variable("x", ("et",), "float32", "1", "x"),))
    with pytest.raises(ValueError, match="quality"):
        add_context(step_result(3), schema, FakeGeometry(), Sclk.default())  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def pj1(tmp_path_factory: pytest.TempPathFactory) -> Geometry:
    """Propagated, and through a file of the store."""
    made = make_geometry(get_pass(1), get_pass(1).window(0.5), None)
    path = tmp_path_factory.mktemp("geometry") / "g.nc"
    netcdf.write_dataset(path, made.to_dataset(), {})
    return Geometry.from_dataset(netcdf.open_product(path))


def test_closest_approach_of_pj1(pj1: Geometry) -> None:
    """Figures of the reconstructed trajectory (spk_rec_160729_160923_161027 with pck00010)."""
    one = at(np.array([525574312.242697]), pj1).isel(et=0)
    assert float(one["longitude_iii_east"]) == pytest.approx(264.2193, abs=1e-3)
    assert float(one["latitude_planetocentric"]) == pytest.approx(3.778, abs=1e-3)
    assert float(one["radial_distance"]) == pytest.approx(75632.7314, abs=0.1)
    assert float(one["altitude"]) == pytest.approx(4162.8, abs=0.2)
    assert float(one["time_from_closest_approach"]) == pytest.approx(0.0, abs=1.0)
    assert 1.0 < float(one["m_shell"]) < 3.0


def test_context_does_not_depend_on_the_segment(pj1: Geometry) -> None:
    et = np.arange(T0 - 300, T0 + 300, 1 / 8)
    whole = at(et, pj1)
    parts = [at(et[a:b], pj1) for a, b in ((0, 17), (17, 2000), (2000, et.size))]
    joined = xr.concat(parts, "et", data_vars="minimal", coords="minimal", compat="override", join="outer")
    for name in ("altitude", "local_time", "m_shell", "spin_phase", "sclk", "time", "longitude_iii_east"):
        assert_array_equal(joined[name], whole[name])
