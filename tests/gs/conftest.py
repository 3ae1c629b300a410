"""Simulated stretches that several tests look at."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from gs_scene import Loop, scene, simulated


@pytest.fixture(scope="session")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Loop:
    """PJ1: X/X at DSS-55, half an hour, with lost lock and a slip."""
    return simulated(scene(1, -900.0, 900.0), tmp_path_factory.mktemp("pj1"))


@pytest.fixture(scope="session")
def loop6(tmp_path_factory: pytest.TempPathFactory) -> Loop:
    """PJ6: all three links at DSS-25, twenty minutes."""
    return simulated(scene(6, -600.0, 600.0), tmp_path_factory.mktemp("pj6"))
