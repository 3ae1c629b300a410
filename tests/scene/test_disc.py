"""Jupiter in sunlight: limb darkening, terminator, belts."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.geometry.surface import Surface
from pipeline.scene.disc import ALBEDO, MINNAERT, WAVELENGTHS, i_over_f


def surface(latitude: object, longitude: object, incidence: object, emission: object) -> Surface:
    shape = np.broadcast_arrays(latitude, longitude, incidence, emission)
    lat, lon, inc, em = (np.asarray(a, np.float64) for a in shape)
    blank = np.zeros(lat.shape)
    return Surface(np.zeros((*lat.shape, 3)), lon, lat, lat, em, inc, blank, blank)


def test_limb_darkening_is_minnaert_s() -> None:
    angle = np.array([0.0, 30.0, 60.0, 80.0])
    mu = np.cos(np.radians(angle))
    for wavelength, exponent in zip(WAVELENGTHS, MINNAERT, strict=True):
        lit = i_over_f(surface(20.0, 50.0, angle, angle), wavelength)
        np.testing.assert_allclose(lit / lit[0], mu ** (2 * exponent - 1), rtol=1e-12)


def test_night_is_dark_and_space_unknown() -> None:
    lit = i_over_f(surface(0.0, 0.0, [89.9, 90.1, 120.0, np.nan], [0.0, 10.0, 20.0, np.nan]), 553.0)
    assert lit[0] > 0
    assert lit[1:3].tolist() == [0.0, 0.0]
    assert np.isnan(lit[3])


@pytest.mark.parametrize("wavelength", WAVELENGTHS)
def test_belts_are_darker_than_zones(wavelength: float) -> None:
    longitude = np.linspace(0.0, 360.0, 181)
    belt, zone = (i_over_f(surface(lat, longitude, 0.0, 0.0), wavelength) for lat in (-13.5, 3.0))
    assert belt.mean() < 0.9 * zone.mean()
    assert zone.mean() == pytest.approx(np.interp(wavelength, WAVELENGTHS, ALBEDO), rel=0.15)
    assert belt.std() > 0.005 * belt.mean()  # waves along it
    np.testing.assert_allclose(belt[0], belt[-1], rtol=1e-9)  # closed around the planet


def test_poles_are_bright_in_methane_alone() -> None:
    pole, equator = (float(i_over_f(surface(lat, 40.0, 0.0, 0.0), 480.0)) for lat in (85.0, 3.0))
    assert pole < equator
    assert i_over_f(surface(85.0, 40.0, 0.0, 0.0), 890.0) > i_over_f(surface(3.0, 40.0, 0.0, 0.0), 890.0)
