"""A simulated stretch of PJ1 that several tests look at."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import xarray as xr

sys.path.insert(0, str(Path(__file__).parent))
from sru_scene import Loop, hits_of, looped, scene

from instruments.sru.simulate import Setting


@pytest.fixture(scope="session")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Loop:
    """Eight images with time delay integration and five without, about closest approach, few to many particles."""
    return looped(scene(1, -250.0, 700.0), tmp_path_factory.mktemp("raw"))


@pytest.fixture(scope="session")
def night(tmp_path_factory: pytest.TempPathFactory) -> Loop:
    """Six images of PJ50, which passes over the night side."""
    folder = tmp_path_factory.mktemp("night")
    return looped(scene(50, 1060.0, 1300.0), folder, (Setting(1, 0.3, True, 6, 6),))


@pytest.fixture(scope="session")
def hits(loop: Loop) -> dict[str, xr.Dataset]:
    """Hits in every image of the loop."""
    return {unit: hits_of(image) for unit, image in loop.images.items()}
