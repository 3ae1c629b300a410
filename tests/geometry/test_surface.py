"""Points on the ellipsoid, against SPICE."""

from __future__ import annotations

import numpy as np
import pytest
import spiceypy
from numpy.testing import assert_allclose

from pipeline.geometry.surface import intercept, surface_points
from pipeline.jupiter.shape import EQUATORIAL_RADIUS, POLAR_RADIUS
from pipeline.passes import get_pass

PJ1 = get_pass(1)
# SPICE's names; it also corrects the positions of points for the motion of the solar system's barycentre.
SPICE = {"LT+S": "CN+S", "LT": "CN", "NONE": "NONE"}


def looks(geometry, et, count=40):
    """Directions in J2000 that cover the disc and miss it."""
    centre = -geometry.position("J2000", et)[0]
    distance = np.linalg.norm(centre)
    spread = np.random.default_rng(0).normal(size=(count, 3)) * 0.4 * EQUATORIAL_RADIUS / distance
    return centre / distance + spread


@pytest.mark.real
@pytest.mark.parametrize("after", [-13800.0, -1500.0, 20.0, 3000.0])
@pytest.mark.parametrize(("correction", "metres"), [("LT+S", 0.01), ("LT", 0.01), ("NONE", 0.01)])
def test_points_and_angles_are_those_of_spice(kernels, from_kernels, after, correction, metres):
    et = PJ1.et + after
    directions = looks(from_kernels, et)
    surface = surface_points(from_kernels, et, directions[None], correction=correction)
    hits = 0
    with spiceypy.KernelPool([str(p) for p in kernels.iterdir()]):
        for i, direction in enumerate(directions):
            try:
                point, *_ = spiceypy.sincpt(
                    "ELLIPSOID", "JUPITER", et, "IAU_JUPITER", SPICE[correction], "JUNO", "J2000", direction
                )
            except spiceypy.exceptions.NotFoundError:
                assert np.isnan(surface.point[0, i]).all()
                continue
            hits += 1
            assert np.linalg.norm(point - surface.point[0, i]) * 1e3 < metres
            *_, phase, incidence, emission = spiceypy.ilumin(
                "ELLIPSOID", "JUPITER", et, "IAU_JUPITER", SPICE[correction], "JUNO", point
            )
            mine = [surface.phase[0, i], surface.incidence[0, i], surface.emission[0, i]]
            # SPICE turns the way to the observer by the aberration, up to 1.9e-4 rad; here it is the geometric one.
            assert_allclose(mine, np.degrees([phase, incidence, emission]), atol=0.012)
    assert hits > 5


def test_corrections_move_points_by_what_the_physics_says(propagated):
    """At 100 000 km light time turns Jupiter by 0.2 s, and aberration at 50 km/s is 1.7e-4 rad."""
    et = PJ1.et + 2400
    centre = -propagated.position("J2000", et)
    points = {c: surface_points(propagated, et, centre[None], correction=c) for c in ("LT+S", "LT", "NONE")}
    distance = points["NONE"].range[0, 0]
    shift = np.linalg.norm(points["LT+S"].point - points["LT"].point)
    speed = np.linalg.norm(np.cross(propagated.velocity("J2000", et, observer="SUN"), centre)) / np.linalg.norm(centre)
    assert_allclose(shift, speed / 299792.458 * distance, rtol=0.3)


def test_a_ray_from_outside_inside_and_past():
    origin = np.array([[2e5, 0.0, 0.0], [0.0, 0.0, 0.0], [2e5, 0.0, 0.0], [2e5, 0.0, 0.0]])
    direction = np.array([[-1.0, 0.0, 0.0], [0.0, 0.0, 3.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    expected = np.array([[EQUATORIAL_RADIUS, 0, 0], [0, 0, POLAR_RADIUS], [np.nan] * 3, [np.nan] * 3])
    assert_allclose(intercept(origin, direction), expected, atol=1e-9)


def test_shape_of_many_rays_per_time(propagated):
    times = PJ1.et + np.array([0.0, 10.0, 20.0])
    rays = -propagated.position("J2000", times)[:, None, None] * np.ones((1, 2, 4, 1))
    surface = surface_points(propagated, times, rays)
    assert surface.longitude_east.shape == (3, 2, 4)
    assert surface.point.shape == (3, 2, 4, 3)
    assert np.isfinite(surface.incidence).all()
