"""The systematic uncertainty of the brightness is what perturbed tables make of it, through all steps (long)."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from mwr_scene import Tables, brightness_of, components_of, scene, simulated, tables, temperature_of


@pytest.mark.slow
def test_brightness_of_perturbed_tables(tmp_path: Path) -> None:
    """Twenty draws of all tables; about 2 % of c0 at most, a third at C3."""
    where = scene(-200.0, 200.0)
    data, _ = simulated(where, tmp_path)

    def made(known: Tables) -> tuple[np.ndarray, np.ndarray]:
        temperature = temperature_of(data, where.span, known)
        components = components_of(temperature, where, known)
        found = brightness_of(components, temperature, where, known)
        return found["c"].values, found["c_systematic"].values

    known = tables()
    rng = np.random.default_rng(0)
    nominal, stated = made(known)
    there = np.isfinite(nominal).all(axis=(0, 2))
    draws = [(made({n: t.draw(rng) for n, t in known.items()})[0] - nominal)[:, there] for _ in range(20)]
    ratio = np.sqrt(np.nanmean(np.square(draws), axis=0)) / stated[:, there]
    # Twenty draws of one common error each: 16 % of statistical error, and the latitudes move together.
    middle = np.median(ratio, axis=1)
    assert np.all((middle[:, :2] > 0.55) & (middle[:, :2] < 1.5)), middle
    assert 0.8 < np.mean(middle[:, 0]) < 1.2
    share = np.median(stated[:, there, 0] / nominal[:, there, 0], axis=1)
    assert np.all((share > 0.002) & (share < 0.03)), share
