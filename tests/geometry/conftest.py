"""Kernels of the mission in folders, as a user would lay them out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.clock import Span
from pipeline.geometry import Geometry, make_geometry
from pipeline.passes import get_pass

PJ1 = get_pass(1)
BASE = ("juno_v12.tf", "pck00010.tpc", "naif0012.tls", "JNO_SCLKSCET.00061.tsc", "juno_struct_v04.bsp")


def linked(folder: Path, files: list[Path]) -> Path:
    for file in files:
        (folder / file.name).symlink_to(file)
    return folder


@pytest.fixture
def link() -> Callable[[Path, list[Path]], Path]:
    """Makes a folder of links to kernels."""
    return linked


@pytest.fixture(scope="session")
def kernels(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Reconstructed trajectory of PJ1, no attitude."""
    spice = real_data / "spice"
    files = [spice / name for name in (*BASE, "spk_rec_160729_160923_161027.bsp")]
    return linked(tmp_path_factory.mktemp("kernels"), files)


@pytest.fixture(scope="session")
def image_kernels(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The slices of trajectory and attitude about one image, as the camera model of it was made from."""
    camera = real_data / "junocam" / "camera_model_JNCR_2016240_01M06152"
    slices = sorted((real_data / "spice" / "slices_PJ1").iterdir())
    texts = [camera / name for name in ("jno_sclkscet_00090.tsc", "juno_v12.tf", "naif0012.tls")]
    return linked(tmp_path_factory.mktemp("image-kernels"), [*texts, *slices])


@pytest.fixture(scope="session")
def propagated() -> Geometry:
    return make_geometry(PJ1, PJ1.window(), None)


@pytest.fixture(scope="session")
def from_kernels(kernels: Path) -> Geometry:
    return make_geometry(PJ1, Span(PJ1.et - 14000, PJ1.et + 4000), kernels)
