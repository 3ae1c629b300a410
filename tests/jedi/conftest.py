"""A simulated stretch of PJ1 that several tests look at."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "shared"))
from jedi_scene import looped
from loops import Loop, scene


@pytest.fixture(scope="session")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Loop:
    """Ten minutes about closest approach: large and small pixels, lost and spoilt records."""
    return looped(scene(-300.0, 300.0), tmp_path_factory.mktemp("raw"))
