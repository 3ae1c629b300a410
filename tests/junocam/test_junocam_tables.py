"""The numbers of the radiometric tables that are public, against where they are from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from calibration.library import audit
from calibration.tables import Table
from instruments.junocam import band
from instruments.junocam.layout import FILTERS

FOLDER = Path(__file__).resolve().parents[2] / "calibration" / "tables" / "junocam"


def read(name: str) -> Table:
    return Table.read(FOLDER / f"{name}.yaml")


def test_folder_is_sound() -> None:
    assert audit(FOLDER) == []


def test_electrons_of_the_sphere_test_give_the_uncertainty_of_the_response() -> None:
    """Predicted and measured electrons per ms in MSSS-JUNOCAM-DOC-0102, in the order of the filters."""
    predicted, measured = np.array([6789, 25913, 66698, 1069]), np.array([6077, 24150, 60245, 1108])
    response = read("response")["response"]
    assert dict(zip(FILTERS, response.value, strict=True)) == {
        "BLUE": 262186, "GREEN": 332944, "RED": 217239, "METHANE": 57761,
    }  # fmt: skip
    assert np.abs(measured / predicted - 1).max() == pytest.approx(0.105, abs=0.001)
    np.testing.assert_allclose(response.sigma / response.value, 0.10, rtol=1e-4)


@pytest.mark.parametrize(("name", "loss"), [("RED", 0.23), ("GREEN", 0.47), ("BLUE", 0.64)])
def test_losses_stated_for_orbit_60_lie_within_the_fit_s_uncertainty(name: str, loss: float) -> None:
    place = FILTERS.index(name)
    value, sigma, known = band.throughput_of(place, 60, read("throughput"))
    assert known
    assert value == pytest.approx(1 - loss, abs=1.05 * sigma)
    assert sigma < 0.1
    at_launch, at_launch_sigma, _ = band.throughput_of(place, 0, read("throughput"))
    assert at_launch == pytest.approx(1.0, abs=1.05 * at_launch_sigma)


def test_sunlight_is_that_of_the_effective_bands() -> None:
    """Top-hat bands of 100, 100 and 200 nm would put blue 2.2 times off."""
    mean = read("solar")["irradiance"].value / np.array([45.5, 79.3, 175.4, 20.0])
    np.testing.assert_allclose(mean, [1.99, 1.87, 1.40, 0.93], rtol=2e-3)


def test_linear_limit_is_the_full_well_of_the_report() -> None:
    detector = read("detector")
    assert float(detector["linear_limit"].value * detector["gain"].value) == pytest.approx(30_500, rel=1e-3)
    assert detector["plateau"].value > detector["linear_limit"].value


def test_what_is_not_public_is_a_placeholder() -> None:
    assert set(read("pixels").pedigrees) == {"placeholder"}
    assert read("response")["summed_signal"].pedigree == "placeholder"
    assert read("throughput")["methane_slope"].pedigree == "placeholder"
