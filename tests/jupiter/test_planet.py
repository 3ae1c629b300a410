"""Shape, rotation and gravity of Jupiter, against SPICE and by independent derivations."""

from __future__ import annotations

import numpy as np
import pytest
import spiceypy
from numpy.testing import assert_allclose

from pipeline.jupiter import gravity, rotation, shape

RNG = np.random.default_rng(2)
POINTS = RNG.normal(size=(300, 3))
POINTS *= (RNG.uniform(5e4, 4e5, 300) / np.linalg.norm(POINTS, axis=1))[:, None]


@pytest.mark.real
@pytest.mark.parametrize("body", ["JUPITER", "IO", "EUROPA", "GANYMEDE", "CALLISTO", "SUN"])
def test_orientation_is_that_of_spice(real_data, body):
    times = np.linspace(5.2e8, 8.2e8, 30)
    with spiceypy.KernelPool([str(real_data / "spice" / "pck00010.tpc")]):
        real = np.array([spiceypy.pxform("J2000", f"IAU_{body}", t) for t in times])
    assert_allclose(rotation.orientations()[body].matrix(times), real, atol=1e-10)


def test_nearest_point_is_that_of_spice():
    points, altitudes = shape.nearest_point(POINTS)
    for i, p in enumerate(POINTS):
        point, altitude = spiceypy.nearpt(p, *([shape.EQUATORIAL_RADIUS] * 2), shape.POLAR_RADIUS)
        assert_allclose(points[i], point, atol=1e-6)
        assert_allclose(altitudes[i], altitude, atol=1e-6)


def test_latitudes_at_perijove_1_are_those_published():
    point, altitude = shape.nearest_point(shape.rectangular(0.0, 3.778, 75632.73))
    assert altitude == pytest.approx(4162.8, abs=0.1)
    assert shape.planetographic(shape.longitude_latitude(point)[1]) == pytest.approx(4.285, abs=1e-3)
    for latitude in (-80.0, 0.0, 45.0):
        assert shape.planetocentric(shape.planetographic(latitude)) == pytest.approx(latitude, abs=1e-12)
    east, lat, r = shape.longitude_latitude(shape.rectangular(210.0, -33.0, 8e4))
    assert_allclose([east, lat, r], [210.0, -33.0, 8e4])
    assert shape.west(90.0) == 270.0


def test_normal_is_the_gradient_of_the_ellipsoid():
    point, altitude = shape.nearest_point(POINTS)
    assert_allclose(point + altitude[:, None] * shape.normal(point), POINTS, atol=1e-5)


def test_acceleration_is_the_gradient_of_the_potential():
    h = 5.0
    steps = np.eye(3) * h
    slope = np.stack([(gravity.potential(POINTS + s) - gravity.potential(POINTS - s)) / (2 * h) for s in steps], axis=1)
    assert_allclose(gravity.acceleration(POINTS, [0, 0, 1.0]), slope, rtol=2e-6, atol=1e-10)


def test_acceleration_does_not_depend_on_the_frame():
    angle = 0.7
    turn = np.array([[1, 0, 0], [0, np.cos(angle), np.sin(angle)], [0, -np.sin(angle), np.cos(angle)]])
    turned = gravity.acceleration(POINTS @ turn.T, turn @ [0, 0, 1.0])
    assert_allclose(turned, gravity.acceleration(POINTS, [0, 0, 1.0]) @ turn.T, rtol=1e-12)


def test_flattening_pulls_toward_the_equator():
    above = gravity.acceleration(np.array([8e4, 0.0, 1e3]), [0, 0, 1.0])
    sphere = gravity.acceleration(np.array([8e4, 0.0, 1e3]), [0, 0, 1.0], zonal=())
    assert above[2] / sphere[2] > 1.04
