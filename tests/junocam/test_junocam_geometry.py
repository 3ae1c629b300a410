"""Where samples look: against SPICE-free derivations of the same, and the inverse."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from junocam_planted import PASS, TABLES, Scene, image, known, pattern

from instruments.junocam import INSTRUMENT
from instruments.junocam.attitude import attitude, image_of, solved
from instruments.junocam.camera import FRAME
from instruments.junocam.geometry import geometry, lines_of_sight
from instruments.junocam.geometry_schemas import GEOMETRY, OFF_PLANET
from instruments.junocam.resample import eye
from pipeline.dataset import check
from pipeline.dataset.quality import Quality
from pipeline.geometry import Geometry
from pipeline.geometry.surface import surface_points
from pipeline.jupiter.shape import planetographic


@pytest.fixture(scope="module")
def planted() -> tuple[xr.Dataset, Geometry, xr.Dataset, xr.Dataset]:
    """Image, true geometry, solution, product."""
    radiance, truth = image(Scene())
    solution = attitude(radiance, known(), PASS, *TABLES.values())
    return radiance, truth, solution, geometry(radiance, solution, known(), TABLES["camera"])


def test_it_keeps_the_schema(planted: tuple[xr.Dataset, Geometry, xr.Dataset, xr.Dataset]) -> None:
    check.check(check.finish(planted[3], GEOMETRY, INSTRUMENT.flags, {}), GEOMETRY, INSTRUMENT.flags)


def test_points_are_those_of_the_scene(planted: tuple[xr.Dataset, Geometry, xr.Dataset, xr.Dataset]) -> None:
    """The albedo at the coordinates, lit at the incidence, is the brightness planted."""
    radiance, _, _, found = planted
    seen = (found["emission"].values < 70.0) & (found["incidence"].values < 80.0)
    assert seen.sum() > 50_000
    albedo = pattern(found["longitude_east"].values, found["latitude_planetocentric"].values)
    expected = albedo * np.cos(np.radians(found["incidence"].values))
    left = (radiance["i_over_f"].values - expected)[seen]
    # Noise of 0.004; a pixel of the pattern is 0.006 at its steepest.
    assert abs(left.mean()) < 1e-3
    assert left.std() < 0.006


def test_coordinates_are_consistent(planted: tuple[xr.Dataset, Geometry, xr.Dataset, xr.Dataset]) -> None:
    found = planted[3]
    hit = np.isfinite(found["range"].values)
    graphic = planetographic(found["latitude_planetocentric"].values[hit])
    np.testing.assert_allclose(found["latitude_planetographic"].values[hit], graphic, atol=1e-4)
    emission, incidence, phase = (np.radians(found[n].values[hit]) for n in ("emission", "incidence", "phase"))
    assert (phase <= emission + incidence + 1e-5).all()
    assert (phase >= np.abs(emission - incidence) - 1e-5).all()


def test_samples_past_the_limb_have_none(planted: tuple[xr.Dataset, Geometry, xr.Dataset, xr.Dataset]) -> None:
    found = planted[3]
    past = (found["quality"].values & OFF_PLANET.mask) != 0
    assert past.any()
    assert np.isnan(found["range"].values[past]).all()
    missing = (found["quality"].values & Quality.MISSING) != 0
    np.testing.assert_array_equal(missing, np.isnan(found["range"].values))


def test_inverse_is_exact(planted: tuple[xr.Dataset, Geometry, xr.Dataset, xr.Dataset]) -> None:
    """Body-fixed points of samples are seen at these samples, light time and aberration included."""
    radiance, _, solution, _ = planted
    seen, picture = solved(solution, known()), image_of(radiance, solution, TABLES["camera"])
    number = 8  # blue
    looks = lines_of_sight(picture.camera, picture.filters)[0]
    surface = surface_points(seen, picture.et[number : number + 1], looks[None], frame=FRAME)
    line, sample, mu, mu0, _ = eye(picture.camera, 0, seen, float(picture.et[number])).see(surface.point[0])
    hit = np.isfinite(surface.range[0])
    assert hit.sum() > 10_000
    lines, samples = np.mgrid[:128, :1648]
    np.testing.assert_allclose(line[hit], lines[hit], atol=1e-3)
    np.testing.assert_allclose(sample[hit], samples[hit], atol=1e-3)
    np.testing.assert_allclose(mu[hit], np.cos(np.radians(surface.emission[0][hit])), atol=1e-6)
    np.testing.assert_allclose(mu0[hit], np.cos(np.radians(surface.incidence[0][hit])), atol=2e-4)


def test_corrections_matter_as_they_should(planted: tuple[xr.Dataset, Geometry, xr.Dataset, xr.Dataset]) -> None:
    """Aberration at 25 km/s and light time of 0.9 s: a tenth of a pixel each, some 20 km."""
    radiance, _, solution, found = planted
    bare = geometry(radiance, solution, known(), TABLES["camera"], correction="NONE")
    moved = np.radians(found["latitude_planetocentric"].values - bare["latitude_planetocentric"].values) * 7e4
    seen = found["emission"].values < 60.0
    assert 2.0 < np.nanmedian(np.abs(moved[seen])) < 60.0


def test_without_attitude_there_is_none(planted: tuple[xr.Dataset, Geometry, xr.Dataset, xr.Dataset]) -> None:
    radiance, _, solution, _ = planted
    unknown = solution.assign(quaternion=solution["quaternion"] * np.nan)
    found = geometry(radiance, unknown, known(), TABLES["camera"])
    assert np.isnan(found["emission"]).all()
    assert (found["quality"].values & Quality.MISSING).all()
