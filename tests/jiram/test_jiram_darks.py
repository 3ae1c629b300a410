"""The tables of offset, dark current and hot pixels, recomputed from dark frames of the real detector."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parent))
from jiram_scene import tables

from instruments.jiram import chain
from pipeline.clock import parse_utc

LABEL = 65536  # bytes of the cube's own label


@pytest.fixture
def darks(real_data: Path) -> dict[int, NDArray[np.float64]]:
    """Mean raw frames at 1, 2, 3 ms: (band, line, sample)."""
    folder = real_data / "jiram" / "darks"
    frames = {}
    for ms in (1, 2, 3):
        cube = (folder / f"dark_{ms}ms.cub").read_bytes()
        assert b"ByteOrder  = Lsb" in cube[:LABEL]
        assert b"TileSamples = 432" in cube[:LABEL]
        assert b"TileLines   = 256" in cube[:LABEL]
        pixels = np.frombuffer(cube, "<f4", 256 * 432, LABEL)
        frames[ms] = pixels.reshape(2, 128, 432).astype(np.float64)
    return frames


@pytest.mark.real
def test_offsets_of_the_columns(darks: dict[int, NDArray[np.float64]]) -> None:
    column = {ms: np.median(frame, axis=1) for ms, frame in darks.items()}
    offset = tables()["image_dark"]["offset"]
    np.testing.assert_allclose(offset.value, 2.0 * column[1] - column[2], atol=0.006)
    assert offset.pedigree == "derived"
    even, odd = np.median(offset.value[:, ::2], axis=1), np.median(offset.value[:, 1::2], axis=1)
    assert np.all((even - odd > 335.0) & (even - odd < 345.0))
    # The frame of another epoch lies beside the line of the two by less than twice what the table states.
    rate = tables(parse_utc("2024-06-13T15:23:32"))["image_dark"]["dark"].value
    beside = np.median(column[3] - offset.value - 3e-3 * rate[:, None], axis=1)
    assert np.all(np.abs(beside) < 2.0 * offset.sigma[:, 0])


@pytest.mark.real
def test_dark_current_of_2024(darks: dict[int, NDArray[np.float64]]) -> None:
    column = {ms: np.median(frame, axis=1) for ms, frame in darks.items()}
    rate = np.median(column[2] - column[1], axis=1) / 1e-3
    dark = tables(parse_utc("2024-06-13T15:23:32"))["image_dark"]["dark"]
    np.testing.assert_allclose(dark.value, rate, rtol=1e-4)
    assert dark.pedigree == "derived"
    assert tables()["image_dark"]["dark"].pedigree == "placeholder"  # nothing is known of earlier years


@pytest.mark.real
def test_hot_pixels(darks: dict[int, NDArray[np.float64]]) -> None:
    above = [frame - np.median(frame, axis=1)[:, None, :] for frame in darks.values()]
    hot = np.any([a > 500.0 for a in above], axis=0)
    listed = chain.hot_pixels(tables()["image_detector"])
    np.testing.assert_array_equal(listed, hot)
    assert hot.sum() == 102
    # The hottest are full: that level is the table's saturation, within what means of frames blur.
    full = float(tables()["image_detector"]["saturation"].value)
    assert all(full <= frame.max() < full + 20.0 for frame in darks.values())
