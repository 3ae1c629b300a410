"""Oxygen that JEDI measured from 2017-10-17 to 20 (das2 streams), beside channels, tables and scene of this project."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

sys.path.insert(0, str(Path(__file__).parent))
from jedi_scene import tables
from loops import PASS

from pipeline.formats.das2 import read_das2
from pipeline.scene.energetic import SPECTRA, mean_intensity

pytestmark = pytest.mark.real
INTERVAL = 255.6  # seconds between records of the streams


@pytest.fixture(scope="module")
def real(real_data: Path) -> dict[str, xr.Dataset]:
    names = {"energy": "En_O", "pitch": "PA_O", "counts": "PA_O_counts"}
    paths = {n: real_data / "jedi" / f"17-20_10_{f}.d2s" for n, f in names.items()}
    if not all(p.is_file() for p in paths.values()):
        pytest.skip(f"real spectra of JEDI not present in {real_data / 'jedi'}")
    return {n: read_das2(p)[0] for n, p in paths.items()}


def spectrum(real: dict[str, xr.Dataset]) -> tuple[np.ndarray, np.ndarray]:
    return real["energy"]["data_y"].values, real["energy"]["data"].values


def test_channels_are_those_of_the_tables(real: dict[str, xr.Dataset]) -> None:
    """Five of the six energies are the table's; the sixth (1690) is a channel of other bounds."""
    energies, _ = spectrum(real)
    own = tables()["channels"]["oxygen_energy"].value
    near = np.abs(own[:, None] / energies - 1.0).min(axis=0)
    assert (near < 1e-4).tolist() == [True, True, True, False, True, True]


def test_one_count_tells_widths(real: dict[str, xr.Dataset]) -> None:
    """The least intensity times the published width, one over G eps T, is the same over a factor of 25 in width."""
    energies, intensity = spectrum(real)
    channels = tables()["channels"]
    least = []
    for k in (0, 4, 5):
        width = channels["oxygen_width"].value[np.argmin(np.abs(channels["oxygen_energy"].value - energies[k]))]
        least.append(width * intensity[:, k][intensity[:, k] > 0].min())
    assert np.ptp(least) / np.mean(least) < 0.05
    # One telescope cannot have counted longer than the interval: that bounds G eps from below.
    bound = 1.0 / np.mean(least) / INTERVAL
    table = tables()["geometric_factor"]["ions"].value.mean() * tables()["efficiency"]["oxygen"].value[[3, 8, 9]]
    assert bound == pytest.approx(2.3e-5, rel=0.05)
    assert (table > bound).all()
    assert (table < 100.0 * bound).all()


def test_intensities_of_the_scene_are_of_the_size_and_slope_measured(real: dict[str, xr.Dataset]) -> None:
    energies, intensity = spectrum(real)
    mean = np.nanmean(intensity, axis=0)
    slope = np.log(mean[4] / mean[0]) / np.log(energies[4] / energies[0])
    assert -slope == pytest.approx(SPECTRA["oxygen"].index, abs=0.3)
    edges = (tables()["channels"][f"oxygen_{n}"].value[[3, 4, 5, 8]] for n in ("lower", "upper"))
    scene = mean_intensity("oxygen", [PASS.et - 1200.0], PASS.et, *edges)[0]
    measured = mean[[0, 1, 2, 4]]
    assert (np.abs(np.log(scene / measured)) < np.log(2.0)).all()


def test_pitch_angles_measured_are_even_about_90_degrees(real: dict[str, xr.Dataset]) -> None:
    """Within 20 % from 48 to 132 degrees, where most records have data: neither half is favoured by a wrong sign."""
    angle, intensity = real["pitch"]["data_y"].values, real["pitch"]["data"].values
    counts = real["counts"]["data"].values
    mean = np.nanmean(intensity, axis=0)
    low, high = (angle > 48) & (angle < 90), (angle > 90) & (angle < 132)
    assert mean[low].mean() / mean[high].mean() == pytest.approx(1.0, abs=0.2)
    assert mean[low | high].std() / mean[low | high].mean() < 0.2
    both = (counts > 0) & (intensity > 0)
    per_count = intensity[both] / counts[both]
    assert 0.4 < np.median(per_count) < 1.0
