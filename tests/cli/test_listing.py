"""What there is to list, tables and contexts, the store, pages and exports: their ``--json``."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from cli_world import DOSE, HISTOGRAMS, RATE, ask, by_identity

import perijove

# Lists


def test_list_passes(world: SimpleNamespace) -> None:
    rows = ask(world, "list", "passes")
    assert [r["pass"] for r in rows] == list(range(77))
    assert rows[1]["closest_approach"] == "2016-08-27T12:50:44.060"


def test_list_instruments(world: SimpleNamespace) -> None:
    rows = {r["instrument"]: r for r in ask(world, "list", "instruments")}
    assert {"mag", "tally"} <= set(rows)
    assert rows["tally"] == {
        "instrument": "tally",
        "title": "Penetrating Particle Tally",
        "formats": ["tally.packed", "tally.text", "tally.dark"],
        "products": ["tally.background", "tally.rate", "tally.dose", "tally.histogram", "tally.total"],
        "parameters": {"tally.rate.smooth": 1.0, "tally.rate.correct": "dead time"},
    }


def test_list_products_and_runs(world: SimpleNamespace) -> None:
    products = ask(world, "list", "products")
    ran = {p["key"]: p for w in (world.first, world.second) for p in w.document["products"]}
    assert {p["key"] for p in products} == set(ran)
    for product in products:
        assert set(product) == {"identity", "key", "bytes", "path", "problem"}
        assert product["problem"] is None
        assert (product["identity"], product["path"]) == (ran[product["key"]]["identity"], ran[product["key"]]["path"])
    rows = ask(world, "list", "runs")
    assert [r["run"] for r in rows] == [world.second.document["run"], world.first.document["run"]]
    shared = {k: world.second.document[k] for k in ("run", "pass", "ended", "seconds", "peak_mb")}
    counted = {"products": {"made": 1, "kept": 3}, "quarantined": 0, "context": "default + tally.factor"}
    seen = {name: rows[0][name] for name in ("flagged", "gaps")}
    assert rows[0] == shared | counted | seen
    # The simulated twenty minutes leave the rest of the two hours open; geometry without kernels is flagged.
    assert (seen["flagged"], seen["gaps"]) == (2, 2)


def test_list_tables(world: SimpleNamespace) -> None:
    rows = [r for r in ask(world, "list", "tables") if r["name"].startswith("tally.")]
    assert [(r["name"], r["start"], r["stop"]) for r in rows] == [
        ("tally.dead_time", None, None),
        ("tally.efficiency", None, "2016-08-27T12:50:00.000000"),
        ("tally.efficiency", "2016-08-27T12:50:00.000000", None),
        ("tally.factor", None, None),
    ]
    assert {r["pedigree"] for r in rows} == {"placeholder"}
    assert all(set(r) == {"name", "start", "stop", "pedigree", "title", "hash"} for r in rows)


# Tables and contexts


def test_table_show(world: SimpleNamespace) -> None:
    document = ask(world, "table", "show", "tally.efficiency")
    assert document["name"] == "tally.efficiency"
    early, late = document["entries"]
    assert (early["start"], early["stop"], late["stop"]) == (None, late["start"], None)
    assert late["table"]["quantities"]["fraction"] == {
        "dims": ["detector"], "units": "1", "value": [0.85, 0.75, 0.65, 0.55], "uncertainty": 0.001,
        "pedigree": "placeholder", "source": "The instrument never flew.",
    }  # fmt: skip
    at = ask(world, "table", "show", "tally.efficiency", "--time", "2016-08-27T12:50:00")
    assert at["entries"] == [late]
    before = ask(world, "table", "show", "tally.efficiency", "--time", "2016-240T12:49:59.9")
    assert before["entries"] == [early]
    own = ask(world, "table", "show", world.table)["entries"][0]["table"]
    assert own["quantities"]["dose"]["pedigree"] == "override"


def test_certified_context(world: SimpleNamespace, tmp_path: Path) -> None:
    store = shutil.copytree(world.store, tmp_path / "store")
    own = SimpleNamespace(store=store)
    words = ("--alias", "doubled", "--comment", "a try", "--start", "2016-08-01", "--stop", "2016-09-01")
    document = ask(own, "table", "certify", world.table, *words)
    assert set(document) == {"context", "hash"}
    default, certified = ask(own, "list", "contexts")
    assert certified == {
        "context": "doubled", "tables": default["tables"], "base": default["hash"], "comment": "a try",
        "hash": document["hash"],
    }  # fmt: skip
    rows = ask(own, "list", "tables", "--context", "doubled")
    edges = ["2016-08-01T00:00:00.000000", "2016-09-01T00:00:00.000000"]
    assert [(r["start"], r["stop"]) for r in rows if r["name"] == "tally.factor"] == [
        (None, edges[0]), (edges[0], edges[1]), (edges[1], None)
    ]  # fmt: skip
    plan = ask(own, "plan", 1, "--instrument", "tally", "--context", document["hash"][:10])
    assert (plan["make"], plan["keep"]) == ([], 4), "the same table at these times is the same product"


# Store, page, export, doctor


def test_store_size_and_collection(world: SimpleNamespace, tmp_path: Path) -> None:
    own = SimpleNamespace(store=shutil.copytree(world.store, tmp_path / "store"))
    size = ask(own, "store", "size")
    assert size["products"] == sum(p["bytes"] for p in ask(own, "list", "products"))
    old = by_identity(world.first.document)[DOSE]
    assert ask(own, "store", "gc", "--keep-runs", 2) == {"files": 0, "bytes": 0}
    drawn = Path(world.first.document["pictures"][0]["path"])  # of the old dose too
    freed = old["bytes"] + drawn.stat().st_size
    assert ask(own, "store", "gc", "--keep-runs", 1) == {"files": 2, "bytes": freed}
    assert old["key"] not in {p["key"] for p in ask(own, "list", "products")}
    runs = (world.first.document["run"], world.second.document["run"])
    (dose,) = ask(own, "compare", *runs)["products"]
    assert dose["problem"] == "one of the two is no longer in the store"
    assert ask(SimpleNamespace(store=tmp_path / "absent"), "store", "gc", "--keep-runs", 1)["files"] == 0
    assert not (tmp_path / "absent").exists()


# netCDF4 brings an HDF5 library of its own, which does not share a process with h5py's.
READ = """
import json, sys, netCDF4
with netCDF4.Dataset(sys.argv[1]) as d:
    rate = d["rate"]
    print(json.dumps({"conventions": d.Conventions, "product": d.product, "units": rate.units, "dims": rate.dimensions,
        "ancillary": rate.ancillary_variables.split(), "sum": float(rate[:].sum()), "missing": int(rate[:].mask.sum()),
        "time": [d["time"].units, int(d["time"][0])]}))
"""


def test_export_opens_anywhere(world: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    document = ask(world, "export", RATE, "--format", "netcdf")
    assert document == {"path": str(tmp_path / "tally.rate_PJ01.nc")}
    output = subprocess.run([sys.executable, "-c", READ, document["path"]], capture_output=True, text=True, check=True)
    read = json.loads(output.stdout)
    product = perijove.open_product(RATE, store=world.store)
    assert read["conventions"].startswith("CF-1.")
    assert (read["product"], read["units"], read["dims"]) == (RATE, "1/s", ["et", "detector"])
    assert read["ancillary"] == ["rate_random", "rate_systematic", "quality"]
    assert read["sum"] == pytest.approx(float(product["rate"].values.sum(dtype=float)), rel=1e-6)
    assert read["missing"] == 0
    units, first = read["time"]
    assert units == "nanoseconds since 2000-01-01 00:00:00"
    assert np.datetime64("2000-01-01", "ns") + np.timedelta64(first, "ns") == product["time"].values[0]
    assert ask(world, "export", RATE, "--out", tmp_path / "x.nc") == {"path": str(tmp_path / "x.nc")}


def test_report(world: SimpleNamespace, tmp_path: Path) -> None:
    document = ask(world, "report", world.first.document["run"], "--out", tmp_path / "page")
    page = Path(document["page"])
    assert page == tmp_path / "page" / "index.html"
    text = page.read_text()
    for words in (*HISTOGRAMS, RATE, "Simulated data", world.first.document["run"], "placeholder"):
        assert words in text
    assert (tmp_path / "page" / "tally-rate.png").read_bytes().startswith(b"\x89PNG")
    default = Path(ask(world, "report")["page"])
    assert default == world.store / "reports" / world.second.document["run"] / "index.html"


def test_doctor(world: SimpleNamespace) -> None:
    document = ask(world, "doctor")
    assert document["ok"]
    checks = {c["what"]: c for c in document["checks"]}
    assert all(set(c) == {"what", "ok", "found", "advice"} for c in document["checks"])
    assert {"numpy", "prefect", "store", "instrument tally", "kernels"} <= set(checks)
    assert str(world.store) in checks["store"]["found"]
    bad = ask(world, "doctor", "--kernels", world.truth, status=1)
    assert [c["what"] for c in bad["checks"] if not c["ok"]] == ["kernels"]
    assert next(c["advice"] for c in bad["checks"] if not c["ok"])
