"""A simulated stretch of PJ1 that several tests look at."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "shared"))
from loops import scene
from waves_scene import Loop, looped


@pytest.fixture(scope="session")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Loop:
    """Fourteen minutes around closest approach: attenuators on and off, lost frames."""
    return looped(scene(-660.0, 180.0), tmp_path_factory.mktemp("raw"))


@pytest.fixture(scope="session")
def stream(real_data: Path) -> Path:
    """Folder of the real streams."""
    folder = real_data / "waves"
    if not (folder / "hfr_high_raw_20170101T0000_0100.d2t").is_file():
        pytest.skip(f"real streams of Waves not present ({folder})")
    return folder
