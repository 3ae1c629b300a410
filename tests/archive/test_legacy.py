"""The mission's older forms, read back by pdr and by the project's own readers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from archive_world import World
from core_fixtures import invoke

import perijove

pdr = pytest.importorskip("pdr")


def test_level_3_of_the_magnetometer(world: World, tmp_path: Path) -> None:
    result = invoke("archive", "--store", world.store, "--out", tmp_path, "--format", "pds3", "--json")
    assert result.status == 0
    assert [b["instrument"] for b in result.document["bundles"]] == ["mag"]
    files = {p.name[18:20]: p for p in tmp_path.rglob("*.sts")}
    assert set(files) == {"pc", "ss", "pl"}
    field = perijove.open_product("mag.field/PJ01", store=world.store)
    good = field.isel(et=np.isfinite(field["b_pc"].values).all(axis=1))
    for frame, variable in (("pc", "b_pc"), ("ss", "b_ss"), ("pl", "b_payload")):
        own = perijove.open_raw(files[frame])
        np.testing.assert_allclose(own["b"].values, good[variable].values, atol=0.0051)
        np.testing.assert_allclose(own["et"].values, good["et"].values, atol=0.0011)
        table = _by_pdr(files[frame])
        columns = [c for c in table.columns if c.upper().startswith(("BX", "BY", "BZ"))]
        np.testing.assert_allclose(table[columns].to_numpy(np.float64), good[variable].values, atol=0.0051)


def _by_pdr(path: Path):  # type: ignore[no-untyped-def]
    data = pdr.read(str(path.with_suffix(".lbl")))
    [name] = [k for k in data.keys() if "TABLE" in k.upper()]  # noqa: SIM118
    return data[name]


def test_an_instrument_without_an_older_form_is_refused(world: World, tmp_path: Path) -> None:
    result = invoke("archive", "--store", world.store, "--out", tmp_path, "--format", "pds3", "--instrument", "jiram")
    assert result.status == 2
    assert "known: mag" in result.err
