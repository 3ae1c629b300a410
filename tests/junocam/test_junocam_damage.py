"""Damage planted in framelets is found, and nothing else is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from calibration.tables import Table
from instruments.junocam import damage, imageset
from instruments.junocam.compand import levels
from pipeline.clock import Sclk

FOLDER = Path(__file__).resolve().parents[2] / "calibration" / "tables" / "junocam"
LEVELS = levels("SQROOT", "HUFFMAN", Table.read(FOLDER / "companding.yaml"), "centre")
NOISE = np.sqrt(np.maximum(LEVELS.dn, 0) / 16.3 + (16.6 / 16.3) ** 2 + LEVELS.width**2 / 12)
LIMIT = np.minimum(np.searchsorted(LEVELS.dn, LEVELS.dn + damage.HIT * NOISE), 255)
LIT = 7


def noisy(signal: NDArray[np.float64], seed: int = 0) -> NDArray[np.uint8]:
    """Codes of a signal in DN with its noise."""
    rng = np.random.default_rng(seed)
    dn = np.rint(signal + rng.standard_normal(signal.shape) * np.sqrt(np.maximum(signal, 0) / 16.3 + 1.04))
    edges = LEVELS.dn - LEVELS.width / 2
    return np.clip(np.searchsorted(edges, dn, side="right") - 1, 0, 255).astype(np.uint8)


@pytest.fixture
def planet() -> NDArray[np.uint8]:
    """A limb: dark sky at the left, 0 to 900 DN within three samples, belts to the right."""
    line, sample = np.mgrid[0:128, 0:1648].astype(float)
    limb = 1 / (1 + np.exp(-(sample - 700 - 0.002 * (line - 60) ** 2) / 1.0))
    return noisy(900 * limb * (1 + 0.2 * np.sin(line / 9)))


def test_an_undamaged_limb_has_no_damage(planet: NDArray[np.uint8]) -> None:
    assert not damage.lost(planet, LIT).any()
    assert not damage.corrupt_blocks(LEVELS.dn[planet], NOISE[planet]).any()
    # Seven sigmas above the brightest of four: one in 1e12 and the tails of rounding.
    assert damage.hits(planet, LIMIT).sum() <= 2


def test_zeros_filled_in_are_found(planet: NDArray[np.uint8]) -> None:
    planted = np.zeros(planet.shape, bool)
    planted[32:64, 1008:1200] = True  # blocks
    planted[90:100, 1300:] = True  # the ends of lines
    planet[planted] = 0
    np.testing.assert_array_equal(damage.lost(planet, LIT), planted)


def test_sky_smoothed_to_zero_is_not_lost(planet: NDArray[np.uint8]) -> None:
    planet[:, :640] = 0
    assert not damage.lost(planet, LIT).any()


@pytest.mark.parametrize("slope", [0.01, 0.05, 0.4, 3.0])
def test_sky_within_the_first_bin_is_not_lost(slope: float) -> None:
    """Companded linearly, in bins wider than the noise, sky is nothing but zeros up to the limb; PJ33, image 4."""
    line, sample = np.mgrid[0:128, 0:1608]
    sky = sample < 350 + slope * line
    codes = np.where(sky, 0, 40).astype(np.uint8)
    assert not damage.lost(codes, 2).any()
    codes[96:, 1008:1216] = 0  # what is lost at the rim beside it still is
    np.testing.assert_array_equal(damage.lost(codes, 2), (codes == 0) & ~sky)


def test_a_framelet_of_zeros_is_lost() -> None:
    assert damage.lost(np.zeros((128, 1608), np.uint8), LIT).all()
    assert not damage.lost(noisy(np.zeros((128, 1608))), LIT).any()


def test_hits_are_found(planet: NDArray[np.uint8]) -> None:
    planet[:] = noisy(np.full(planet.shape, 300.0))
    places = np.array([[3, 50], [0, 0], [127, 1647], [60, 900]])
    planet[tuple(places.T)] = 140
    np.testing.assert_array_equal(np.argwhere(damage.hits(planet, LIMIT)), places[np.lexsort(places.T[::-1])])


def test_a_block_of_garbage_is_corrupt(planet: NDArray[np.uint8]) -> None:
    planet[16:32, 1600:1616] = 250
    planet[112:128, 1632:1648] = 30
    found = damage.corrupt_blocks(LEVELS.dn[planet], NOISE[planet])
    assert np.argwhere(found)[::256].shape == (2, 2)
    assert found[16:32, 1600:1616].all()
    assert found[112:128, 1632:1648].all()


def test_measures_of_streaks_and_blocks(planet: NDArray[np.uint8]) -> None:
    dn = LEVELS.dn[planet].astype(np.float64)
    quiet = damage.streaks(dn, 1), damage.streaks(dn, 0), damage.blockiness(dn)
    assert quiet[0] < 20
    assert quiet[2] == pytest.approx(1.0, abs=0.05)
    striped = dn + np.where(np.arange(128) % 7 == 0, 60.0, 0.0)[:, None]
    assert damage.streaks(striped, 1) > quiet[0] + 40
    assert damage.streaks(striped, 0) == pytest.approx(quiet[1], abs=20)
    blocky = dn + 40.0 * (np.arange(1648) // 16 % 2)
    assert damage.blockiness(blocky) > 1.5


@pytest.mark.real
def test_real_images_have_hits_but_no_lost_blocks(real_data: Path) -> None:
    share = {}
    for path in (real_data / "junocam" / "imagesets").rglob("*-raw.png"):
        data = imageset.read_imageset([imageset.open_imageset(path, Sclk.default())], None, Sclk.default())
        found = 0
        for value in data["value"].values[::7]:
            assert not damage.lost(value[:, 23:1631], LIT).any()
            assert not damage.corrupt_blocks(LEVELS.dn[value], NOISE[value]).any()
            found += int(damage.hits(value, LIMIT).sum())
        share[path.name[13:21]] = found / data["value"].values[::7].size
    # Between the poles inside the belts, and above the south pole.
    assert share["44C00030"] > 1e-3
    assert share["43C00078"] < 1e-4
