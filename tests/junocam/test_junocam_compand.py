"""Decompanding: the SIS's table, bins that meet, and what the real images say of both."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import least_squares
from scipy.special import ndtr

from calibration.tables import Table
from instruments.junocam import imageset
from instruments.junocam.compand import FIRST, archive_values, levels
from instruments.junocam.layout import LOSSY
from pipeline.clock import Sclk

FOLDER = Path(__file__).resolve().parents[2] / "calibration" / "tables" / "junocam"
COMPANDING = Table.read(FOLDER / "companding.yaml")
# Of the SIS's 256 values: both sides of every change of step, and the last.
SIS = {0: 0, 23: 23, 24: 25, 43: 63, 44: 67, 89: 247, 90: 255, 184: 1007, 185: 1023, 209: 1407, 210: 1439, 255: 2879}


def test_the_archive_s_values_are_the_sis_s() -> None:
    values = archive_values("SQROOT")
    assert {c: int(values[c]) for c in SIS} == SIS
    assert set(np.unique(np.diff(values))) == {1, 2, 4, 8, 16, 32}
    np.testing.assert_array_equal(archive_values("LIN16"), 16 * np.arange(256))


@pytest.mark.parametrize("mode", ["SQROOT", "LIN1", "LIN8", "LIN16"])
def test_every_dn_lies_in_the_bin_of_its_code(mode: str) -> None:
    found = levels(mode, "HUFFMAN", COMPANDING, "centre")
    lower, upper = found.dn - found.width / 2, found.dn + found.width / 2
    assert lower[0] == -0.5
    np.testing.assert_array_equal(lower[1:], upper[:-1])
    assert np.all(found.width == np.rint(found.width))
    if mode == "SQROOT":  # its value is the highest DN of the bin
        np.testing.assert_array_equal(archive_values(mode), upper - 0.5)


def test_the_archive_s_convention_is_half_a_step_higher() -> None:
    centre = levels("SQROOT", "HUFFMAN", COMPANDING, "centre")
    archive = levels("SQROOT", LOSSY, COMPANDING, "archive")
    np.testing.assert_array_equal(archive.dn - centre.dn, (centre.width - 1) / 2)
    # What its values are off by lies within what it states.
    stretched = levels("SQROOT", LOSSY, COMPANDING, "centre")
    assert np.abs(archive.dn / stretched.dn - 1)[24:].max() < 2 * archive.relative
    assert centre.relative == 0


def test_codes_of_the_lossy_transmission_are_stretched() -> None:
    plain, lossy = (levels("SQROOT", how, COMPANDING, "centre") for how in ("HUFFMAN", LOSSY))
    np.testing.assert_allclose(lossy.dn[128], plain.dn[127], atol=0.1)  # 128 / 1.0079
    assert lossy.code_noise == 0.5
    assert plain.code_noise == 0.0


def histogram(folder: Path, name: str, filter_: str) -> NDArray[np.int64]:
    path = next(folder.rglob(f"{name}_V01-raw.png"))
    data = imageset.read_imageset([imageset.open_imageset(path, Sclk.default())], None, Sclk.default())
    value = data["value"].values[data["filter"].values == filter_]
    return np.bincount(value[..., 23:1631].ravel(), minlength=256)


@pytest.mark.real
def test_bins_of_a_lossless_image_are_the_table_s(real_data: Path) -> None:
    """Code 24 holds twice as many samples as 23, and 23 as many as 22: were the values centres, 23 would hold 1.5."""
    count = histogram(real_data / "junocam" / "imagesets", "JNCE_2022186_43M00081", "METHANE").astype(float)
    before = np.polyval(np.polyfit(np.arange(17, 23), count[17:23], 1), [23, 24])
    after = np.polyval(np.polyfit(np.arange(25, 30), count[25:30], 1), 24)
    assert count[23] / before[0] == pytest.approx(1.0, abs=0.1)
    assert count[24] / before[1] == pytest.approx(2.0, abs=0.25)
    assert count[24] / after == pytest.approx(1.0, abs=0.15)


def step_in(count: NDArray[np.int64], first: int) -> tuple[float, float]:
    """Code at which the density of samples doubles, and its error, from a smeared step on a smooth slope."""
    code = np.arange(first - 9, first + 11)
    seen = count[code].astype(float)

    def misfit(p: NDArray[np.float64]) -> NDArray[np.float64]:
        t = (code - first) / 10
        model = np.exp(p[2] + p[3] * t + p[4] * t**2) * (1 + ndtr((code - p[0]) / p[1]))
        return (model - seen) / np.sqrt(9 * seen)

    fit = least_squares(
        misfit,
        [first - 0.5, 0.6, np.log(seen[:6].mean()), 0, 0],
        bounds=([first - 4, 0.3, 0, -9, -9], [first + 6, 2, 20, 9, 9]),
    )
    covariance = np.linalg.inv(fit.jac.T @ fit.jac)
    return float(fit.x[0]), float(np.sqrt(covariance[0, 0]))


@pytest.mark.real
def test_codes_of_real_lossy_images_are_stretched(real_data: Path) -> None:
    """Bins widen at codes 0.8 % above the table's."""
    folder = real_data / "junocam" / "imagesets"
    steps = {
        ("JNCE_2022229_44C00030", "GREEN"): (44,),
        ("JNCE_2022229_44C00030", "RED"): (90,),
        ("JNCE_2022186_43C00078", "BLUE"): (90, 185),
        ("JNCE_2022186_43C00078", "GREEN"): (185, 210),
        ("JNCE_2022186_43C00078", "RED"): (185, 210),
    }
    ratios, errors = [], []
    for (name, filter_), firsts in steps.items():
        count = histogram(folder, name, filter_)
        for first in firsts:
            assert first in FIRST
            at, error = step_in(count, first)
            ratios.append(at / (first - 0.5))
            errors.append(error / (first - 0.5))
    weight = 1 / np.square(errors)
    mean = np.average(ratios, weights=weight)
    stretch = COMPANDING["lossy_stretch"]
    assert mean == pytest.approx(float(stretch.value), abs=2 * float(stretch.sigma))
    assert (mean - 1) * np.sqrt(weight.sum()) > 5  # and not those of the table
    assert np.all(np.abs(np.array(ratios) - mean) < 3.5 * np.array(errors))


@pytest.mark.real
def test_noise_of_a_lossless_image_does_not_jump_where_bins_widen(real_data: Path) -> None:
    """Second differences along the lines of 43M00081, against photons, read-out and rounding."""
    path = next((real_data / "junocam" / "imagesets").rglob("JNCE_2022186_43M00081_V01-raw.png"))
    data = imageset.read_imageset([imageset.open_imageset(path, Sclk.default())], None, Sclk.default())
    found = levels("SQROOT", "HUFFMAN", COMPANDING, "centre")
    ratio = {}
    for name, dn in (("dn", found.dn), ("codes", np.arange(256.0))):
        a, b, c = (dn[data["value"].values[..., 30 + k : 1620 : 3]][..., :529] for k in range(3))
        mean, bend = (a + b + c) / 3, (a - 2 * b + c) / np.sqrt(6)
        spread: list[float] = []
        for low, high in ((19.0, 23.0), (25.5, 29.5) if name == "dn" else (25.0, 27.0)):
            inside = bend[(mean > low) & (mean < high)]
            spread.append(inside[np.abs(inside) < 8].std())
        ratio[name] = spread[1] / spread[0]
    # Photons alone make it 1.11; what is left of the slopes of the scene adds.
    assert ratio["dn"] == pytest.approx(1.1, abs=0.12)
    assert ratio["codes"] < 0.8
