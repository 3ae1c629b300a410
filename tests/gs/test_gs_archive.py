"""A run of Gravity Science as a PDS4 bundle, complex samples of recordings among it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from gs_scene import Loop

from instruments.gs import INSTRUMENT
from pipeline.archive.check import check
from pipeline.archive.export import Options, archive
from pipeline.runs.execute import InProcess
from pipeline.runs.run import Request, carry_out, prepare, with_executor
from pipeline.runs.store import Store


def test_the_bundle_of_a_pass_with_three_links_has_no_findings(loop6: Loop, tmp_path: Path) -> None:
    schemas = Path(
        os.environ.get("PERIJOVE_PDS4_SCHEMAS", Path(__file__).resolve().parents[3] / "shared" / "pds4" / "IM_1P00")
    )
    if not schemas.is_dir():
        pytest.skip(f"PDS4 schemas not present ({schemas}); set PERIJOVE_PDS4_SCHEMAS")
    request = Request(pass_number=6, store=tmp_path / "store", raw=loop6.folder, instruments=("gs",))
    carry_out(prepare(request), with_executor(InProcess()))
    store = Store(tmp_path / "store")
    [bundle] = archive(store, None, Options(tmp_path / "bundles"))["bundles"]
    told = check(Path(bundle["path"]), schemas, store)
    assert told["findings"] == []
    names = {p.stem for p in Path(bundle["path"]).rglob("data_*/pj06/*.xml")}
    for product in INSTRUMENT.products:
        assert any(n.startswith(product.name.split(".")[1]) for n in names), product.name
    assert {n.split("_")[0] for n in names} >= {"tnf", "csp", "eop", "rsr"}
