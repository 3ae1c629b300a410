from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest

from pipeline.jupiter import m_shell

RADIUS = 71492.0
FINE = {"MaxStep": 0.01, "MinStep": 1e-5, "ErrMax": 1e-7, "MaxLen": 8000}


@pytest.fixture(scope="module")
def inner() -> np.ndarray:
    """Points on lines that do not reach the disc's inner edge, where the peer library is slow, km."""
    rng = np.random.default_rng(3)
    latitude, longitude, r = rng.uniform(-40, 40, 6), rng.uniform(0, 360, 6), rng.uniform(1.08, 2.5, 6)
    lat, lon = np.radians(latitude), np.radians(longitude)
    return RADIUS * r[:, None] * np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=1)


@pytest.fixture(scope="module")
def traced(inner: np.ndarray, peer: ModuleType) -> list[np.ndarray]:
    """The lines through `inner` as the peer library traces them, in radii."""
    peer.Con2020.Config("default")
    peer.Internal.Config(Model="jrm33", Degree=13)
    trace = peer.TraceField(*(inner / RADIUS).T, IntModel="jrm33", ExtModel="Con2020", **FINE)
    lines = [np.stack([trace.x[i], trace.y[i], trace.z[i]], axis=1) for i in range(len(inner))]
    return [line[np.isfinite(line[:, 0])] for line in lines]


def test_is_the_farthest_point_of_the_peers_line(inner: np.ndarray, traced: list[np.ndarray]) -> None:
    farthest = np.array([np.linalg.norm(line, axis=1).max() for line in traced])
    assert farthest.max() < 5.8
    assert np.abs(m_shell(inner) / farthest - 1.0).max() < 1e-4


def test_points_of_one_line_have_one_m_shell(inner: np.ndarray, traced: list[np.ndarray]) -> None:
    for point, line in zip(inner, traced, strict=True):
        outside = line[np.linalg.norm(line * [1.0, 1.0, 71492 / 66854], axis=1) > 1.001]
        assert m_shell(RADIUS * outside[::100]) == pytest.approx(m_shell(point[None])[0], rel=1e-4)


@pytest.mark.slow
def test_line_through_the_disc_agrees_with_the_peer(peer: ModuleType) -> None:
    """Through the region where the disc is integrated, and where the library takes 20 ms a point."""
    peer.Con2020.Config("default")
    peer.Internal.Config(Model="jrm33", Degree=13)
    start = np.array([[-0.85, 0.5, 1.5]])
    trace = peer.TraceField(*start.T, IntModel="jrm33", ExtModel="Con2020", MaxStep=1.0, ErrMax=1e-4, MaxLen=4000)
    farthest = np.nanmax(np.sqrt(trace.x**2 + trace.y**2 + trace.z**2))
    assert 9.8 < farthest < 30.0
    assert m_shell(RADIUS * start)[0] == pytest.approx(farthest, rel=2e-3)


def test_open_lines_and_no_places_have_none(track: np.ndarray) -> None:
    polar = [[0.0, 0.0, 3.0 * RADIUS]]
    assert np.isnan(m_shell(polar)).all()
    assert np.isnan(m_shell([[np.nan, 0.0, 0.0], [0.5 * RADIUS, 0.0, 0.0], [0.0, 99.9 * RADIUS, 60.0 * RADIUS]])).all()
    assert m_shell(np.zeros((0, 3))).shape == (0,)
    along = m_shell(track)
    assert np.isnan(along[[1, 7]]).all()
    assert along[3:6] == pytest.approx([1.44, 1.07, 1.27], abs=0.4)


def test_a_point_does_not_depend_on_the_others(cloud: np.ndarray) -> None:
    some = cloud[:151]
    whole = m_shell(some)
    assert np.isfinite(whole).sum() > 100
    order = np.random.default_rng(0).permutation(len(some))
    assert np.array_equal(m_shell(some[order]), whole[order], equal_nan=True)
    for start, count in ((0, 1), (3, 2), (40, 70)):
        piece = slice(start, start + count)
        assert np.array_equal(m_shell(some[piece]), whole[piece], equal_nan=True)
