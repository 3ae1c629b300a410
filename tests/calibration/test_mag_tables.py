"""The numbers of the MAG tables that are public, against where they are from."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from calibration.library import audit
from calibration.tables import Table

FOLDER = Path(__file__).resolve().parents[2] / "calibration" / "tables" / "mag"


def read(name: str) -> Table:
    return Table.read(FOLDER / f"{name}.yaml")


def kernel_angles(kernel: Path, frame: int) -> list[float]:
    """Angles of a fixed-offset frame; the last assignment stands."""
    found = re.findall(rf"^ *TKFRAME_-{frame}_ANGLES *= *\(([^)]*)\)", kernel.read_text(), re.MULTILINE)
    return [float(number) for number in found[-1].split(",")]


def test_folder_is_sound() -> None:
    assert audit(FOLDER) == []


@pytest.mark.real
def test_angles_are_the_frames_kernel_s(real_data: Path) -> None:
    kernel = real_data / "spice" / "juno_v12.tf"
    alignment, bench = read("alignment")["angles"], read("bench")["angles"]
    np.testing.assert_array_equal(alignment.value, [kernel_angles(kernel, frame) for frame in (61135, 61136)])
    assert alignment.pedigree == "published"
    assert bench.pedigree == "placeholder"
    snapshot = np.array([kernel_angles(kernel, frame) for frame in (61155, 61156)])
    moved = bench.value - snapshot[:, None, :]
    # Before and after the pass it lies about the snapshot; the pulse is the kernel's 0.08 deg, about Y.
    np.testing.assert_allclose(moved[:, 0] + moved[:, -1], 0.0, atol=1e-8)
    assert np.abs(moved[..., 1]).max(axis=1) == pytest.approx([0.08, 0.065], abs=0.002)
    assert np.abs(moved[..., [0, 2]]).max() < 0.006


def test_ranges_are_a_factor_four_apart_in_sixteen_bits() -> None:
    ranges = read("ranges")
    np.testing.assert_array_equal(ranges["full_scale"].value, 1600.0 * 4.0 ** np.arange(6))
    np.testing.assert_array_equal(ranges["lsb"].value, ranges["full_scale"].value / 32768)


def test_times_are_of_the_rates() -> None:
    timing = read("timing")
    np.testing.assert_array_equal(timing["rate"].value * timing["integration"].value, 1.0)
    np.testing.assert_allclose(timing["delay"].value - timing["integration"].value / 2, 1.47e-3, rtol=1e-12)


def test_accuracies_are_the_published_ones() -> None:
    assert read("alignment")["angles"].sigma[0, 0] * 3600 == pytest.approx(20, rel=1e-4)
    assert np.unique(read("gain")["correction"].sigma) == 1e-4
    assert np.abs(read("gain")["correction"].value).max() < 1e-3
    assert np.linalg.norm(read("spacecraft_field")["static"].value) < 2.0
