"""What the residuals say of gravity: planted harmonics come back, what is not modelled is noticed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

sys.path.insert(0, str(Path(__file__).parent))
from gs_planted import io_tide, sectorial, trajectory
from gs_scene import Loop, scene, simulated

from instruments.gs import gravity
from instruments.gs.schemas import PARAMETERS, REJECTED
from pipeline.jupiter.gravity import ZONAL

REACH = 3600.0
# Of the size by which models differed before Juno: Iess et al. 2018.
PLANTED = {"J2": 2e-7, "J3": -1.5e-7, "J4": 1e-7, "J5": 8e-8, "J6": -8e-8}


def estimated(folder: Path, *modes: str, seed: int = 11, **planted: Any) -> list[xr.Dataset]:
    """Estimates from two hours of PJ6, phases every 10 s."""
    where = scene(6, -REACH, REACH)
    juno = trajectory(where.pass_, where.span.pad(600.0), **planted) if planted else None
    made = simulated(where, folder, seed, juno=juno, quiet=True, every=10)
    return [made.estimated(made.products["gs.range_rate"], mode) for mode in modes]


def test_nothing_planted_nothing_found(tmp_path: Path) -> None:
    for made in estimated(tmp_path, "published", "free"):
        pulls = made["correction"].values / made["correction_random"].values
        assert made["accepted"].values == 1
        assert np.all(np.abs(pulls) < 3.5)
        assert (made["quality"].values == 0).all()


def test_planted_harmonics_come_back_within_three_sigma(tmp_path: Path) -> None:
    zonal = np.array(ZONAL)
    zonal[:5] += list(PLANTED.values())
    state = np.array([2e-4, -5e-3, 3e-3, 1e-6, -4e-6, 5e-6])
    (made,) = estimated(tmp_path, "free", zonal=zonal, state=state)
    true = np.concatenate([state, list(PLANTED.values())])
    sigma = made["correction_random"].values
    assert made["accepted"].values == 1
    assert np.all(np.abs(made["correction"].values - true) < 3.0 * sigma), (made["correction"].values - true) / sigma
    # They are seen, not merely allowed for.
    significance = np.abs(true / sigma)[PARAMETERS.index("J2") :]
    assert np.all(significance > 5.0), significance
    assert np.all(made["information"].values > 0.99)


def test_the_tide_of_io_rejects_the_solution(tmp_path: Path) -> None:
    """Where the harmonics are known; free ones swallow it, because one pass cannot tell it from J2."""
    known, free = estimated(tmp_path, "published", "free", extra=io_tide(scene(6, -REACH, REACH).geometry))
    assert known["accepted"].values == 0, float(known["chi2"])
    assert (known["quality"].values == REJECTED.mask).all()
    assert free["accepted"].values == 1
    assert abs(free["correction"].values[6] / free["correction_random"].values[6]) > 5.0


def test_a_bulge_that_turns_with_jupiter_rejects_the_solution(tmp_path: Path) -> None:
    (known,) = estimated(tmp_path, "published", extra=sectorial(6e-8))
    assert known["accepted"].values == 0, float(known["chi2"])


def test_a_harmonic_beyond_the_model_rejects_the_solution_even_where_all_are_free(tmp_path: Path) -> None:
    zonal = np.array(ZONAL)
    zonal[6] += 3e-7  # J8
    (free,) = estimated(tmp_path, "free", zonal=zonal)
    assert free["accepted"].values == 0, float(free["chi2"])


def test_partials_are_the_changes_of_the_trajectory(loop6: Loop) -> None:
    """Against trajectories that are integrated one by one."""
    pass_, geometry = loop6.scene.pass_, loop6.geometry
    et = pass_.et + np.array([-500.0, -40.0, 300.0])
    got = gravity.displacements(geometry, pass_.et, et)
    for name, step in (("x", 1e-2), ("vz", 1e-5), ("J4", 1e-6)):
        k = PARAMETERS.index(name)
        sides = []
        for sign in (1.0, -1.0):
            state, zonal = np.zeros(6), np.array(ZONAL)
            if k < 6:
                state[k] = sign * step
            else:
                zonal[k - 6] += sign * step
            sides.append(trajectory(pass_, loop6.scene.span.pad(600.0), zonal, state).position(et))
        expected = (sides[0] - sides[1]) / (2.0 * step)
        scale = np.abs(expected).max()
        assert np.allclose(got[:, k], expected, rtol=0, atol=5e-5 * scale), name


def test_chi_squares_are_uniform_if_errors_are_as_stated() -> None:
    rng = np.random.default_rng(4)
    matrix = rng.normal(size=(80, 11))
    draws = [gravity.least_squares(rng.normal(size=80), matrix, np.eye(80), np.full(11, 1e3)) for _ in range(300)]
    p = np.array([d.probability for d in draws])
    assert abs(p.mean() - 0.5) < 3.0 / np.sqrt(12 * 300)
    assert 0.05 < np.mean(p < 0.1) < 0.16
    assert abs(draws[0].freedom - 69.0) < 1e-3
    # A sine left in the residuals gives few runs of sign.
    assert gravity.runs_probability(np.sin(np.arange(80) / 8.0)) < 1e-6
    assert gravity.runs_probability(rng.normal(size=80)) > 1e-3
