"""JIRAM through the core: planned, run in this process, verified; and with damaged files among the good ones."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from jiram_scene import Loop, looped

from pipeline.dataset import netcdf
from pipeline.dataset.summary import flag_shares, flag_text
from pipeline.runs.execute import InProcess
from pipeline.runs.run import Request, carry_out, prepare, with_executor


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Loop:
    """One background frame, a science frame, and a background frame again."""
    return looped(-400.0, -150.0, tmp_path_factory.mktemp("small"), every=3, cycle=2)


def run(loop: Loop, store: Path, *products: str) -> dict[str, Any]:
    request = Request(
        pass_number=1, store=store, raw=loop.folder, instruments=("jiram",), products=products, kernels=None,
        context="default", settings={}, tables=(), given={},
    )  # fmt: skip
    return dict(carry_out(prepare(request), with_executor(InProcess())))


def status(record: dict[str, Any]) -> dict[str, str]:
    return {p["identity"].split("/PJ01")[0]: p["status"] for p in record["products"]}


def test_a_run_makes_all_and_geometry_on_request(small: Loop, tmp_path: Path) -> None:
    record = run(small, tmp_path)
    assert status(record) == dict.fromkeys(
        ("jiram.image_background", "jiram.spectrum_background", "jiram.radiance", "jiram.spectra"), "made"
    )
    assert record["quarantined"] == []
    again = run(small, tmp_path, "jiram.radiance", "jiram.geometry", "jiram.slit_geometry")
    made = status(again)
    assert made["jiram.geometry"] == made["jiram.slit_geometry"] == "made"
    assert made["jiram.radiance"] == "kept"
    path = next(p["path"] for p in again["products"] if p["type"] == "jiram.radiance")
    product = netcdf.open_product(Path(path))
    assert product.attrs["simulated"]
    assert "placeholder" in product.attrs["pedigree_counts"]
    assert product["longitude_iii_east"].dims == ("et",)


def test_a_damaged_background_frame_costs_itself_alone(small: Loop, tmp_path: Path) -> None:
    bad = small.granules["jiram.image_background_edr"][1].files["data"]
    content = bad.read_bytes()
    bad.write_bytes(content[:-2])
    try:
        record = run(small, tmp_path)
    finally:
        bad.write_bytes(content)
    assert [bad.name in q["reason"] for q in record["quarantined"]] == [True]
    assert status(record)["jiram.radiance"] == "made"
    path = next(p["path"] for p in record["products"] if p["type"] == "jiram.radiance")
    assert "background_one_sided 100 %" in flag_text(flag_shares(Path(path)))
