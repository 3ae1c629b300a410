"""A simulated stretch of PJ1 that several tests look at."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from mag_scene import Loop, looped, scene


@pytest.fixture(scope="session")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Loop:
    """Twenty-four minutes before closest approach: three sample rates, a change of range, lost packets."""
    return looped(scene(-1500.0, -60.0), tmp_path_factory.mktemp("raw"))
