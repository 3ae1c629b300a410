"""A simulated acquisition that several tests look at."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from uvs_world import Loop, looped


@pytest.fixture(scope="session")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Loop:
    """Three spins over the northern aurora of PJ1, the mirror at three angles, two frames that are not whole."""
    return looped(tmp_path_factory.mktemp("uvs"), -1190.0, 90.0)
