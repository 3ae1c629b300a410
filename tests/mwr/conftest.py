"""Simulated stretches of PJ1 that several tests look at."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from mwr_scene import Loop, looped, scene


@pytest.fixture(scope="session")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Loop:
    """Eight minutes before closest approach: lost and damaged rows, open sky, limb, belts and equator."""
    return looped(scene(-480.0, 30.0), tmp_path_factory.mktemp("raw"))


@pytest.fixture(scope="session")
def quiet_loop(tmp_path_factory: pytest.TempPathFactory) -> Loop:
    """Two minutes, for tests that calibrate many times."""
    return looped(scene(-300.0, -180.0), tmp_path_factory.mktemp("raw"))
