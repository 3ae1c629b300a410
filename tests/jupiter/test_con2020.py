from __future__ import annotations

from importlib import import_module
from itertools import pairwise
from types import ModuleType

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import j0, j1

from pipeline.jupiter import con2020, jrm33

RADIUS = 71492.0
model = import_module("pipeline.jupiter.con2020")


def relative(a: np.ndarray, b: np.ndarray) -> float:
    return float((np.linalg.norm(a - b, axis=1) / np.linalg.norm(b, axis=1)).max())


def disc(peer: ModuleType, position: np.ndarray, **settings: object) -> np.ndarray:
    peer.Con2020.Config("default")
    peer.Con2020.Config(**settings)
    return np.array(peer.Con2020.Field(*(position / RADIUS).T)).T


def test_published_vector() -> None:
    """README of con2020 1.2.9: the default (hybrid) model at (5, 10, 6) radii."""
    ours = con2020(RADIUS * np.array([[5.0, 10.0, 6.0]]))[0]
    assert ours == pytest.approx([15.58367964, 36.8963783, 63.04540543], abs=5e-9)


def test_agrees_with_the_peer_library(track: np.ndarray, cloud: np.ndarray, peer: ModuleType) -> None:
    """The library blends the two approximations in its analytic form only, which the hybrid is outside the integral."""
    outside = ~near(cloud) & (np.linalg.norm(cloud, axis=1) > RADIUS)
    for places in (track, cloud[outside]):
        assert relative(con2020(places), disc(peer, places, equation_type="analytic", Smooth=True, DeltaZ=1e-6)) < 1e-9


@pytest.mark.real
def test_total_field_agrees_along_the_real_track(real_track: np.ndarray, peer: ModuleType) -> None:
    """With the library's defaults, which do not blend, and which move the disc's field by 1e-5 of itself here."""
    peer.Internal.Config("default")
    peer.Internal.Config(Model="jrm33", Degree=13)
    internal = np.array(peer.Internal.Field(*(real_track / RADIUS).T)).T
    total = jrm33(real_track) + con2020(real_track)
    assert relative(total, internal + disc(peer, real_track)) < 1e-7
    assert relative(con2020(real_track), disc(peer, real_track)) < 2e-5


def near(position: np.ndarray) -> np.ndarray:
    x, y, z = (position / RADIUS @ model._to_disc().T).T
    return (np.abs(np.hypot(x, y) - 7.8) <= 2.0) & (np.abs(z) <= 5.4)


def test_integral_agrees_with_the_peer_library(peer: ModuleType) -> None:
    """The library's sum over Bessel functions begins at 5e-5, which leaves out 0.05 nT."""
    rho, height, around = np.array([[6.0, 0.5, 1.0], [7.5, 3.0, 4.0], [9.0, -5.0, 2.0]]).T
    places = RADIUS * np.stack([rho * np.cos(around), rho * np.sin(around), height], axis=1) @ model._to_disc()
    assert near(places).all()
    assert np.abs(con2020(places) - disc(peer, places)).max() < 0.08


@pytest.mark.parametrize(("rho", "z"), [(5.9, 5.3), (7.8, 4.8), (9.7, 5.0), (7.0, 5.39)])
def test_integral_is_that_over_bessel_functions(rho: float, z: float) -> None:
    """Eqs. 14 and 15 of Connerney et al. 1981, above the sheet, where they converge."""

    def kernel(x: float) -> float:
        return float(j0(7.8 * x) * np.sinh(3.6 * x) / x * np.exp(-z * x)) if x else 3.6

    radial = 2.0 * quad(lambda x: kernel(x) * j1(rho * x), 0.0, 25.0, limit=2000, epsabs=1e-11)[0]
    axial = 2.0 * quad(lambda x: kernel(x) * j0(rho * x), 0.0, 25.0, limit=2000, epsabs=1e-11)[0]
    ours = model._integral(np.array([rho]), np.array([z]), 7.8)
    assert ours[0][0] == pytest.approx(radial, abs=1e-8)
    assert ours[1][0] == pytest.approx(axial, abs=1e-8)


def test_integral_has_the_sheets_current_and_no_sources() -> None:
    """``curl B = 2 CURRENT / rho`` inside the sheet, 0 elsewhere; ``div B = 0``."""
    rng = np.random.default_rng(1)
    rho, z = rng.uniform(5.9, 9.7, 400), rng.uniform(0.02, 5.3, 400)
    away = (np.abs(rho - 7.8) > 0.05) & (np.abs(z - 3.6) > 0.05)
    rho, z, h = rho[away], z[away], 1e-3

    def slope(axis: int) -> tuple[np.ndarray, np.ndarray]:
        def at(k: int) -> np.ndarray:
            return np.array(model._integral(rho + k * h * (axis == 0), z + k * h * (axis == 1), 7.8))

        r, a = (8.0 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12.0 * h)
        return r, a

    (radial_rho, axial_rho), (radial_z, axial_z) = slope(0), slope(1)
    sheet = (rho > 7.8) & (z < 3.6)
    assert sheet.any()
    assert not sheet.all()
    assert np.abs(radial_z - axial_rho - np.where(sheet, 2.0 / rho, 0.0)).max() < 1e-6
    radial = model._integral(rho, z, 7.8)[0]
    assert np.abs(radial_rho + radial / rho + axial_z).max() < 1e-6


def test_quadrature_has_converged() -> None:
    rho, z = (
        a.ravel() for a in np.meshgrid(7.8 + np.array([-2, -0.1, -1e-3, 0, 1e-5, 0.3]), [0, 3.5, 3.6, 3.601, 5.4])
    )

    def refined(i: int) -> float:
        square = lambda t: (rho[i] - 7.8) ** 2 + 4 * 7.8 * rho[i] * np.sin(t / 2) ** 2  # noqa: E731
        f = lambda t: np.arcsinh((3.6 + z[i]) / square(t) ** 0.5) + np.arcsinh((3.6 - z[i]) / square(t) ** 0.5)  # noqa: E731
        edges = [1e-12, 1e-6, 1e-4, 1e-3, 1e-2, 0.1, 0.5, np.pi]
        return sum(quad(f, a, b, epsabs=1e-12)[0] for a, b in pairwise(edges)) / np.pi

    expected = np.array([refined(i) for i in range(rho.size)])
    assert np.abs(model._integral(rho, z, 7.8)[1] - expected).max() * model.CURRENT < 1e-6


def test_azimuthal_field_bends_back_on_both_sides() -> None:
    """Published constant: 2.7975 i_rho / rho, negative above, scaled inside the sheet."""
    x_axis, normal = model._to_disc()[0], model._to_disc()[2]
    places = RADIUS * (20.0 * x_axis + np.array([5.0, 1.8, -5.0])[:, None] * normal)
    around = con2020(places) @ model._to_disc()[1]
    expected = 2.7975 * 16.7 / 20.0
    assert around == pytest.approx([-expected, -expected / 2, expected], rel=1e-12)


def test_a_point_does_not_depend_on_the_others(cloud: np.ndarray) -> None:
    assert near(cloud).sum() > 1000
    whole = con2020(cloud)
    order = np.random.default_rng(0).permutation(len(cloud))
    assert np.array_equal(con2020(cloud[order]), whole[order], equal_nan=True)
    assert np.array_equal(con2020(np.asfortranarray(cloud)), whole, equal_nan=True)
    for start, count in ((0, 1), (3, 2), (11, 7), (5, 100), (17, 8193)):
        piece = slice(start, start + count)
        assert np.array_equal(con2020(cloud[piece]), whole[piece], equal_nan=True)


def test_nothing_near_the_centre_or_without_a_position(cloud: np.ndarray) -> None:
    inside = np.linalg.norm(cloud, axis=1) < 0.5 * RADIUS
    assert np.array_equal(np.isnan(con2020(cloud)).all(axis=1), inside)
    assert np.isnan(con2020([[np.nan, 1e6, 1e6], [0.0, 0.0, 0.0]])).all()
    assert con2020(np.zeros((0, 3))).shape == (0, 3)
