"""Each function of the chain against an independent derivation or a published number."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.spatial.transform import Rotation

from instruments.mag import chain, frames

RNG = np.random.default_rng(5)
N = 400
K = RNG.integers(0, 6, N)
B = RNG.normal(0.0, 1e4, (N, 3))
WARM = RNG.normal(0.0, 8.0, N)
SPIN = np.tile([1.3e-4, -0.9e-4, 2 * np.pi / 30.3], (N, 1))

# pxform of SPICE with juno_v12.tf, frames -61135 and -61155, to 8 digits
MOB_FROM_FGM_OB = [
    [-0.9997933, 0.01757115, -0.0102281],
    [0.01750696, 0.99982669, 0.00633209],
    [0.01033759, 0.00615171, -0.99992764],
]
SC_FROM_MOB_OB = [
    [-0.99970765, 0.00875616, 0.02253747],
    [0.00864005, 0.99994892, -0.00524412],
    [-0.02258224, -0.00504786, -0.99973224],
]


def test_fixed_rotations_are_those_of_spice():
    cube = frames.from_angles(np.array([179.63717677, 0.58603721, 178.99314287]), (1, 2, 3))
    bench = frames.from_angles(np.array([-179.50482902, -1.29397715, 179.71070379]), (3, 2, 1))
    assert_allclose(cube, MOB_FROM_FGM_OB, atol=6e-9)
    assert_allclose(bench, SC_FROM_MOB_OB, atol=6e-9)
    assert np.abs(cube - cube.T).max() > 0.02  # a transposed matrix would be seen


def test_outboard_sensor_is_parallel_to_the_spacecraft_within_a_degree():
    turn = chain.cube_to_spacecraft(
        np.array([[-179.50482902, -1.29397715, 179.71070379]]), np.array([179.63717677, 0.58603721, 178.99314287])
    )
    assert_allclose(turn[0], np.eye(3), atol=0.0175)


def test_covariance_and_vector_rotate_alike():
    turns = Rotation.random(N, rng=1).as_matrix()
    root = RNG.normal(size=(N, 3, 3))
    covariance = root @ np.swapaxes(root, 1, 2)
    expected = np.einsum("nii->ni", turns @ covariance @ np.swapaxes(turns, 1, 2))
    assert_allclose(frames.rotate_covariance(turns, covariance), expected, rtol=1e-12)
    assert_allclose(frames.rotate(turns, B), np.einsum("nij,nj->ni", turns, B), rtol=1e-12, atol=1e-9)
    assert_allclose(frames.rotate(frames.cross_matrix(B), SPIN), np.cross(B, SPIN), atol=1e-9)
    assert_allclose(chain.cross(B, SPIN), np.cross(B, SPIN), atol=1e-9)


def test_counts_to_nanotesla_by_range_and_temperature():
    lsb = np.array([1600.0 * 4**k * 2 / 65536 for k in range(6)])
    correction = RNG.normal(0, 5e-4, (6, 3))
    slope = np.array([1.4e-5, -0.9e-5, 2.1e-5])
    got = chain.count_size(K, WARM, lsb, correction, slope)
    for n in (0, 17, N - 1):
        for axis in range(3):
            size = lsb[K[n]] * (1 + correction[K[n], axis] + slope[axis] * WARM[n])
            assert got[n, axis] == pytest.approx(size, rel=1e-15)
    assert lsb[0] == 0.048828125
    assert lsb[5] == 50.0


def test_zero_and_orthogonality_undo_a_sensor_built_the_other_way_round():
    # a sensor whose axes are the rows of U reads U B + z; the calibration matrix is the inverse of U
    matrix = np.eye(3) + RNG.normal(0, 1e-3, (6, 3, 3))
    slope = RNG.normal(0, 5e-7, (3, 3))
    zero, zero_slope = RNG.normal(0, 5, (6, 3)), np.array([0.02, -0.03, 0.01])
    axes = np.linalg.inv(matrix[K] + slope * WARM[:, None, None])
    read = (axes @ B[:, :, None])[:, :, 0] + zero[K] + zero_slope * WARM[:, None]
    cube = chain.orthogonalise(chain.remove_zero(read, K, WARM, zero, zero_slope), K, WARM, matrix, slope)
    assert_allclose(cube, B, atol=1e-9)
    transposed = np.swapaxes(matrix, 1, 2)
    wrong = chain.orthogonalise(chain.remove_zero(read, K, WARM, zero, zero_slope), K, WARM, transposed, slope)
    assert np.abs(wrong - B).max() > 1.0


def test_eddy_currents_are_undone_to_the_digit():
    matrix = RNG.normal(0, 1e-3, (6, 3, 3))
    measured = B + np.einsum("nij,nj->ni", matrix[K], np.cross(SPIN, B))
    assert_allclose(chain.remove_eddy_currents(measured, K, SPIN, matrix), B, atol=1e-5)
    assert np.abs(measured - B).max() > 1.0


def test_smearing_of_a_boxcar_is_undone():
    # average of an inertial field over T in the spinning frame, by the midpoint rule
    length, axis = 1.0, np.array([0.02, -0.01, 1.0])
    omega = axis / np.linalg.norm(axis) * 2 * np.pi / 30
    times = (np.arange(2000) + 0.5) / 2000 * length - length / 2
    turned = Rotation.from_rotvec(-times[:, None] * omega).apply([300.0, -120.0, 55.0])
    mean = turned.mean(axis=0)[None]
    got = chain.undo_smearing(mean, omega[None], np.array([length]))
    assert_allclose(got, [[300.0, -120.0, 55.0]], atol=1e-4)
    assert 1 - np.hypot(*mean[0, :2]) / np.hypot(300, 120) == pytest.approx(0.00183, abs=2e-5)  # corrections: 0.183 %


def test_temperature_is_interpolated_held_and_then_unknown():
    hk = np.array([0.0, 10.0, 20.0, 300.0])
    counts = np.array([1000.0, 1100.0, np.nan, 1200.0])
    coefficient = np.array([-50.0, 0.05])
    got = chain.temperature_at(np.array([-70.0, -5.0, 0.0, 5.0, 10.0, 40.0, 75.0, 290.0]), hk, counts, coefficient)
    assert_allclose(got, [np.nan, 0.0, 0.0, 2.5, 5.0, 5.0, np.nan, 10.0])
    assert np.isnan(chain.temperature_at(hk, hk, np.full(4, np.nan), coefficient)).all()


def test_bench_is_interpolated_and_says_where_the_table_ends():
    offset, angles = np.array([-600.0, 0.0, 600.0]), np.array([[1.0, 2, 3], [2.0, 2, 0], [4.0, 2, 9]])
    values, leverage, outside = chain.bench_angles(np.array([-700.0, -600.0, 300.0, 600.0]), offset, angles)
    assert_allclose(values, [[1, 2, 3], [1, 2, 3], [3, 2, 4.5], [4, 2, 9]])
    assert_allclose(leverage, [1, 1, np.sqrt(0.5), 1])
    assert outside.tolist() == [True, False, False, False]


def test_gradiometry_finds_the_spacecraft_field():
    ambient, own = RNG.normal(0, 50, (N, 3)), np.array([0.42, -0.31, 0.67])
    bins = np.arange(N) // 100
    noise = RNG.normal(0, 0.02, (2, N, 3))
    got = chain.spacecraft_field_by_gradiometry(ambient + own + noise[0], ambient + 1.728 * own + noise[1], 1.728, bins)
    assert_allclose(got, np.tile(own, (N, 1)), atol=4 * 0.02 * np.sqrt(2) / 0.728 / 10)
    assert len(np.unique(got[:, 0])) == 4


def test_one_vector_that_stands_out_is_found_and_no_step_or_slope() -> None:
    """A field that rises by 1 uT/s and turns, with noise of 5 nT; a step of 3 uT; wrong digits in one vector."""
    et = np.arange(2000) / 64.0
    rng = np.random.default_rng(3)
    b = 5e5 * np.stack([np.cos(0.002 * et), np.sin(0.002 * et), 0.002 * et], axis=1) + rng.normal(0.0, 5.0, (2000, 3))
    b[900:] += [3000.0, 0.0, 0.0]
    rate, sigma = np.full(2000, 64.0), np.full(2000, 9.0)
    assert not chain.stands_out(et, rate, b, sigma).any()
    wrong = b.copy()
    wrong[500, 1] += 1000.0
    wrong[1500, 0] -= 200.0
    assert np.flatnonzero(chain.stands_out(et, rate, wrong, sigma)).tolist() == [500, 1500]
    # Means of a second may hold a boundary, and beside a gap there are no two neighbours.
    assert not chain.stands_out(64.0 * et, rate / 64.0, wrong, sigma).any()
    gap = np.r_[:500, 505:2000]
    late = wrong.copy()
    late[505, 1] += 1000.0
    assert np.flatnonzero(chain.stands_out(et[gap], rate[gap], late[gap], sigma[gap])).tolist() == [1495]
    lost = wrong.copy()
    lost[[499, 600]] = np.nan
    assert np.flatnonzero(chain.stands_out(et, rate, lost, sigma)).tolist() == [1500]
