from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from pipeline.clock import read_csv
from pipeline.jupiter import jrm33

RADIUS = 71492.0


def relative(a: np.ndarray, b: np.ndarray) -> float:
    return float((np.linalg.norm(a - b, axis=1) / np.linalg.norm(b, axis=1)).max())


def internal(peer: ModuleType, position: np.ndarray, degree: int) -> np.ndarray:
    peer.Internal.Config("default")
    peer.Internal.Config(Model="jrm33", CartesianIn=True, CartesianOut=True, Degree=degree)
    return np.array(peer.Internal.Field(*(position / RADIUS).T, MaxDeg=degree)).T


@pytest.mark.parametrize("degree", [1, 2, 7, 13, 18, 30])
def test_agrees_with_the_peer_library(track: np.ndarray, peer: ModuleType, degree: int) -> None:
    assert relative(jrm33(track, degree=degree), internal(peer, track, degree)) < 1e-12


@pytest.mark.real
@pytest.mark.parametrize("degree", [13, 18, 30])
def test_agrees_along_the_real_track(real_track: np.ndarray, peer: ModuleType, degree: int) -> None:
    assert relative(jrm33(real_track, degree=degree), internal(peer, real_track, degree)) < 1e-12


@pytest.mark.real
def test_coefficients_are_the_published_ones(real_data: Path) -> None:
    published = {}
    for line in (real_data / "mag" / "jupiter_jrm33.dat").read_text().splitlines():
        _, value, _, kind, n, m = line.split()
        published[kind, int(n), int(m)] = float(value)
    ours = {
        (kind, int(row["n"]), int(row["m"])): float(row[kind])
        for row in read_csv("jrm33.csv")
        for kind in "gh"
        if kind == "g" or int(row["m"])
    }
    assert len(ours) == 960
    assert ours == published


def test_degree_1_is_the_dipole(track: np.ndarray) -> None:
    moment = np.array([-71305.9, 20958.4, 410993.4])
    r = np.linalg.norm(track, axis=1, keepdims=True)
    unit = track / r
    dipole = (RADIUS / r) ** 3 * (3.0 * unit * (unit @ moment)[:, None] - moment)
    assert relative(jrm33(track, degree=1), dipole) < 1e-14


def test_degree_moves_the_field_at_closest_approach(track: np.ndarray) -> None:
    """Differences computed with another program, at the position to four digits."""
    ca = track[4:5]
    field = {n: jrm33(ca, degree=n)[0] for n in (13, 18, 30)}
    assert np.linalg.norm(field[13]) == pytest.approx(746218, rel=2e-4)
    for (a, b), expected in {(13, 18): 13103, (13, 30): 31563, (18, 30): 18605}.items():
        assert np.linalg.norm(field[a] - field[b]) == pytest.approx(expected, rel=5e-3)


def test_has_neither_sources_nor_currents(track: np.ndarray) -> None:
    step = 100.0
    gradient = np.empty((len(track), 3, 3))
    for i in range(3):
        offset = step * np.eye(3)[i]
        far, near = (jrm33(track + k * offset, degree=18) - jrm33(track - k * offset, degree=18) for k in (2, 1))
        gradient[:, i] = (8.0 * near - far) / (12.0 * step)
    size = np.abs(gradient).max(axis=(1, 2))
    divergence = np.trace(gradient, axis1=1, axis2=2)
    curl = (gradient - np.swapaxes(gradient, 1, 2)).max(axis=(1, 2))
    assert (np.abs(divergence) / size).max() < 1e-8
    assert (curl / size).max() < 1e-8


def test_is_regular_at_the_poles() -> None:
    poles = np.array([[0.0, 0.0, 1.1], [0.0, 0.0, -1.1]]) * RADIUS
    assert relative(jrm33(poles), jrm33(poles + 1e-4)) < 1e-7


def test_a_point_does_not_depend_on_the_others(cloud: np.ndarray) -> None:
    whole = jrm33(cloud)
    order = np.random.default_rng(0).permutation(len(cloud))
    assert np.array_equal(jrm33(cloud[order]), whole[order], equal_nan=True)
    assert np.array_equal(jrm33(np.asfortranarray(cloud)), whole, equal_nan=True)
    for start, count in ((0, 1), (3, 2), (11, 7), (5, 1023), (17, 1025)):
        piece = slice(start, start + count)
        assert np.array_equal(jrm33(cloud[piece]), whole[piece], equal_nan=True)


def test_nothing_near_the_centre_or_without_a_position(cloud: np.ndarray) -> None:
    inside = np.linalg.norm(cloud, axis=1) < 0.5 * RADIUS
    assert np.array_equal(np.isnan(jrm33(cloud)).all(axis=1), inside)
    assert inside.any()
    assert np.isfinite(jrm33(cloud)[~inside]).all()
    assert np.isnan(jrm33([[np.nan, 1e5, 1e5], [0.0, 0.0, 0.0]])).all()
    assert jrm33(np.zeros((0, 3))).shape == (0, 3)


@pytest.mark.parametrize("degree", [0, 31])
def test_unknown_degrees_are_refused(track: np.ndarray, degree: int) -> None:
    with pytest.raises(ValueError, match=f"degrees 1 to 30, not {degree}"):
        jrm33(track, degree=degree)
