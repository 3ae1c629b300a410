"""The mission's older forms, read back by pdr and by the project's own readers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from archive_world import World
from astropy.coordinates import SkyCoord
from core_fixtures import invoke

import perijove
from instruments.mwr.rdr_export import _galactic
from pipeline.scene.simulate import simulate_pass

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
    [name] = [k for k in data.keys() if "TABLE" in k.upper() or "SPREADSHEET" in k.upper()]  # noqa: SIM118
    return data[name]


@pytest.mark.slow
def test_rdr_of_the_radiometer(tmp_path: Path) -> None:
    simulate_pass(1, tmp_path, ("mwr",), "demo", 0)
    wanted = ["mwr.antenna_temperature"]
    perijove.run(1, raw=tmp_path / "raw", store=tmp_path / "store", products=wanted)
    product = perijove.open_product("mwr.antenna_temperature/PJ01", store=tmp_path / "store")
    result = invoke("archive", "--store", tmp_path / "store", "--out", tmp_path / "out", "--format", "pds3")
    assert result.status == 0
    at = 0
    for file in sorted((tmp_path / "out").rglob("*RI*.CSV")):
        own, table = perijove.open_raw(file), _by_pdr(file)
        rows = slice(at, at := at + len(table))
        np.testing.assert_allclose(own["ta"].values, product["ta_stream"].values[rows], atol=6e-5)
        np.testing.assert_allclose(table["R1_1TA"].to_numpy(float), own["ta"].values[:, 0], atol=1e-9)
        np.testing.assert_allclose(table["t_ephem_time"].to_numpy(float), product["et"].values[rows], atol=1e-5)
    assert at == product.sizes["et"]
    for file in sorted((tmp_path / "out").rglob("*RG*.CSV")):
        own, table = perijove.open_raw(file), _by_pdr(file)
        np.testing.assert_allclose(table["range_JnJc"].to_numpy(float), own["range_JnJc"].values)
        latitude = np.interp(own["et"].values, product["et"].values, product["latitude_planetocentric"].values)
        np.testing.assert_allclose(own["PC_lat_JsJnJc"].values, latitude, atol=1e-3)


def test_galactic_coordinates_are_those_of_a_peer() -> None:
    directions = np.random.default_rng(0).normal(size=(200, 3))
    directions /= np.linalg.norm(directions, axis=1)[:, None]
    longitude, latitude = _galactic(directions)
    peer = SkyCoord(*directions.T, representation_type="cartesian", frame="icrs").galactic
    assert np.abs((longitude - peer.l.deg + 180.0) % 360.0 - 180.0).max() < 1e-4
    assert np.abs(latitude - peer.b.deg).max() < 1e-4


def test_an_instrument_without_an_older_form_is_refused(world: World, tmp_path: Path) -> None:
    result = invoke("archive", "--store", world.store, "--out", tmp_path, "--format", "pds3", "--instrument", "jiram")
    assert result.status == 2
    assert "known: mag" in result.err
