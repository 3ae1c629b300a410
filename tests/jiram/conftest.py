"""A simulated stretch of PJ1 that several tests look at."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import xarray as xr

sys.path.insert(0, str(Path(__file__).parent))
from jiram_scene import Loop, backgrounds, looped


@pytest.fixture(scope="session")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Loop:
    """Three cycles of three: as sent, compressed, and with the background subtracted on board; the last is open."""
    return looped(-900.0, -60.0, tmp_path_factory.mktemp("jiram"), every=3, cycle=3)


@pytest.fixture(scope="session")
def image_background(loop: Loop) -> xr.Dataset:
    return backgrounds(loop, "image")


@pytest.fixture(scope="session")
def spectrum_background(loop: Loop) -> xr.Dataset:
    return backgrounds(loop, "spectrum")
