"""Optics, time of rows, and where stars are: against the published formula, SPICE, and the sky's own derivation."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import spiceypy

sys.path.insert(0, str(Path(__file__).parent))
from sru_scene import scene, tables

from instruments.sru import camera
from instruments.sru.camera import Shot
from instruments.sru.simulate import projected
from pipeline.scene.stars import Stars

KNOWN = tables()
SCENE = scene(1, -100.0, 100.0)
SHOT = Shot(1, SCENE.pass_.et, 0.3, True)


def test_distortion_is_the_published_one() -> None:
    """JUNO_SRU_EDR_CRT_SIS, 5.4.1, at the first real pixel, by hand: R = 0.203954, F = 1.001424."""
    x, y = (2 - 255.5) / 1760.21137, (0 - 255.5) / 1760.21137
    r = np.hypot(x, y)
    factor = 0.999432579 - 0.0295412410 * r + 0.2733020107 * r**2 - 1.9368112951 * r**4
    assert factor == pytest.approx(1.0014, abs=2e-4)
    vector = camera.directions(np.array(0.0), np.array(2.0), KNOWN["camera"])
    np.testing.assert_allclose(vector[1:] / vector[0], [-x * factor, -y * factor], rtol=1e-14)
    np.testing.assert_allclose(camera.directions(np.array(255.5), np.array(255.5), KNOWN["camera"]), [1, 0, 0])


def test_inverse_of_the_distortion() -> None:
    row, column = np.meshgrid(np.linspace(-0.5, 511.5, 65), np.linspace(-0.5, 511.5, 65), indexing="ij")
    back = camera.places(camera.directions(row, column, KNOWN["camera"]), KNOWN["camera"])
    # asked for is 0.01 pixel
    np.testing.assert_allclose(back, [row, column], atol=1e-9)
    # the simulator's, from a table of the distortion
    vectors = camera.directions(row, column, KNOWN["camera"])
    values = {name: q.value for name, q in KNOWN["camera"].quantities.items()}
    np.testing.assert_allclose(projected(vectors, values), [row, column], atol=1e-6)


def test_what_is_not_in_front_has_no_place() -> None:
    vectors = np.array([[-1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 0.6, 0.0]])
    assert np.isnan(camera.places(vectors, KNOWN["camera"])).all()


def test_frames_are_those_of_the_kernel() -> None:
    """Rows of the matrices printed in juno_v12.tf: spacecraft to unit."""
    matrix = SCENE.geometry.rotation("JUNO_SPACECRAFT", "JUNO_SRU2", SHOT.et)[0]
    np.testing.assert_allclose(matrix[0], [0.5720852, 0.8201927, -0.0015696], atol=1e-6)
    np.testing.assert_allclose(matrix[2], [0.8201928, -0.5720867, -0.0007496], atol=1e-6)


def test_the_sky_moves_with_the_charge() -> None:
    """A star near the middle falls by a row in a row period: towards the row that is read out first."""
    fixed = camera.star_tracks(Shot(1, SHOT.et, 0.02, False), SCENE.geometry, *stars_tables(), margin=150.0)
    speed = (fixed.rows[:, -1] - fixed.rows[:, 0]) / (fixed.seconds * (camera.NODES - 1) / camera.NODES)
    period = float(KNOWN["readout"]["row_period"].value)
    assert len(speed) > 3
    np.testing.assert_allclose(speed * period, -1.0, atol=0.02)
    moved = camera.star_tracks(SHOT, SCENE.geometry, *stars_tables(), margin=150.0)
    assert np.ptp(moved.rows, axis=1).max() < 1.5


def stars_tables() -> list:
    return [KNOWN[name] for name in ("stars", "camera", "readout", "photometry")]


def test_exposure_of_rows() -> None:
    t = camera.row_exposure(SHOT, KNOWN["readout"])
    assert t[0] == pytest.approx(8.1e-3)
    assert t[100] == pytest.approx(8.1e-3 + 100 * 2.7125e-3)
    assert t[108] == t[511] == pytest.approx(0.3)
    assert (camera.row_exposure(Shot(1, SHOT.et, 0.3, False), KNOWN["readout"]) == 0.3).all()
    sigma = camera.row_exposure_sigma(SHOT, KNOWN["readout"])
    assert sigma[0] == pytest.approx(5e-5)
    assert sigma[200] == pytest.approx(3e-4)


def test_aberration_is_that_of_spice() -> None:
    et = SHOT.et
    seen = camera.apparent(KNOWN["stars"], et, SCENE.geometry)
    velocity = SCENE.geometry.velocity("J2000", et, observer="SSB")[0]
    still = camera.apparent(KNOWN["stars"].replace(parallax=0.0 * KNOWN["stars"]["parallax"].value), et, SCENE.geometry)
    ra, dec = (np.radians(KNOWN["stars"][n].value) for n in ("right_ascension", "declination"))
    years = (et / 86400 / 365.25) - (1991.25 - 2000.0)
    mas = np.pi / 180 / 3600e3
    # far stars, moved on the sphere by their proper motion
    ra = ra + years * mas * KNOWN["stars"]["proper_motion_east"].value / np.cos(dec)
    dec = dec + years * mas * KNOWN["stars"]["proper_motion_north"].value
    for i in range(0, len(ra), 997):
        far = 1e15 * np.array([np.cos(dec[i]) * np.cos(ra[i]), np.cos(dec[i]) * np.sin(ra[i]), np.sin(dec[i])])
        expected = spiceypy.stelab(far, velocity) / 1e15
        assert np.linalg.norm(still[i] - expected) < 1e-8
    # 58 km/s and more: a third of a pixel
    assert 1.0e-4 < np.linalg.norm(velocity) / 299792.458 < 2.8e-4
    assert np.linalg.norm(seen - still, axis=1).max() < 2e-5


def test_the_sky_is_where_its_other_derivation_has_it() -> None:
    et = np.array([SHOT.et])
    place, velocity = (getattr(SCENE.geometry, n)("J2000", et, observer="SSB")[0] for n in ("position", "velocity"))
    sky = Stars.of({name: q.value for name, q in KNOWN["stars"].quantities.items()})
    other = sky.seen(SHOT.et, place, velocity)
    # first order in v/c against all orders, and motions along lines against great circles: 1e-4 pixel
    np.testing.assert_allclose(camera.apparent(KNOWN["stars"], SHOT.et, SCENE.geometry), other, atol=6e-8)


def test_the_catalogue_is_the_sky() -> None:
    """Sirius, Vega and Barnard's neighbourhood: places at J1991.25 as everyone has them."""
    stars = KNOWN["stars"]
    hip = stars["hip"].value.astype(int).tolist()
    for number, ra, dec, magnitude in ((32349, 101.28854, -16.71314, -1.09), (91262, 279.23411, 38.78299, 0.09)):
        i = hip.index(number)
        assert stars["right_ascension"].value[i] == pytest.approx(ra, abs=2e-5)
        assert stars["declination"].value[i] == pytest.approx(dec, abs=2e-5)
        assert stars["magnitude"].value[i] == pytest.approx(magnitude, abs=0.02)
    assert len(hip) == 13943


def test_planet_and_limb() -> None:
    """Fifteen moments of a spin close to the planet: in some it fills the field, in most it is not there."""
    shares = [
        camera.planet_mask(Shot(1, SHOT.et + 2.0 * k, 0.1, True), SCENE.geometry, KNOWN["camera"])[0].mean()
        for k in range(15)
    ]
    assert max(shares) == 1.0
    assert sum(s == 0.0 for s in shares) >= 5
    assert any(0.02 < s < 0.98 for s in shares)
