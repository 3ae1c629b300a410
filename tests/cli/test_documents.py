"""What ``--json`` prints: the shapes that docs/command-line.md promises, filled with what is true."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from cli_world import DOSE, HISTOGRAMS, RATE, ask, by_identity
from core_fixtures import invoke

import perijove
from pipeline import registry
from pipeline.clock import parse_utc
from pipeline.dataset import netcdf
from pipeline.dataset.uncertainty import sigma
from pipeline.files import file_sha256
from pipeline.runs.compare import QUANTILES
from pipeline.runs.store import Store

PRODUCT = {"identity", "key", "instrument", "type", "unit", "path", "status", "made", "why", "reason"}
SUMMARY = {"flagged", "covers"}
OUTCOME = {"seconds", "records", "segments", "sha256", "bytes", "peak_mb"} | SUMMARY


# run, plan


def test_simulate(world: SimpleNamespace) -> None:
    document = world.simulation.document
    assert set(document) == {"raw", "truth", "files", "bytes", "products"}
    files = [f for f in Path(document["raw"]).rglob("*") if f.is_file()]
    assert (document["files"], document["bytes"]) == (4, sum(f.stat().st_size for f in files))
    assert document["truth"] == str(world.truth)
    assert document["products"] == [RATE]


def test_run(world: SimpleNamespace) -> None:
    assert world.first.status == 0
    document = world.first.document
    assert {"run", "seconds", "peak_mb", "products", "quarantined", "superseded", "ended"} <= set(document)
    assert 0 < document["seconds"] < 300
    assert document["peak_mb"] > 50
    products = by_identity(document)
    assert set(products) == {RATE, DOSE} | HISTOGRAMS
    for identity, product in products.items():
        assert set(product) == PRODUCT | OUTCOME
        assert (product["status"], product["made"], product["reason"]) == ("made", True, None)
        assert product["why"] == [{"kind": "missing", "name": identity, "old": None, "new": None}]
        assert (product["instrument"], product["type"]) == ("tally", identity.split("/")[0])
        path = Path(product["path"])
        assert path.is_absolute()
        assert (file_sha256(path), path.stat().st_size) == (product["sha256"], product["bytes"])
        assert netcdf.read_attrs(path)["product_key"] == product["key"]
    assert {p["unit"] for p in document["products"]} == {"", "TLY_000", "TLY_001"}
    assert (products[RATE]["records"], products[RATE]["segments"]) == (1200, 4)
    (picture,) = document["pictures"]
    assert set(picture) == {"caption", "path", "status", "reason"}
    assert (picture["caption"], picture["status"], picture["reason"]) == ("Particle rates", "drawn", None)
    assert Path(picture["path"]).read_bytes().startswith(b"\x89PNG")


def test_progress_goes_to_standard_error(world: SimpleNamespace) -> None:
    assert world.first.out.startswith("{")
    assert sorted(world.first.err.splitlines()) == sorted(
        [f"{RATE}: 4 segments", f"{DOSE}: 3 segments", *(f"{h}: 1 segment" for h in HISTOGRAMS), "1 picture"]
    )


def test_run_with_one_table_changed(world: SimpleNamespace) -> None:
    products = by_identity(world.second.document)
    assert {i: p["status"] for i, p in products.items()} == dict.fromkeys({RATE} | HISTOGRAMS, "kept") | {DOSE: "made"}
    for identity in {RATE} | HISTOGRAMS:
        assert set(products[identity]) == PRODUCT | SUMMARY
        assert products[identity]["flagged"] == by_identity(world.first.document)[identity]["flagged"]
        assert not products[identity]["made"]
        assert products[identity]["why"] == []
    (reason,) = products[DOSE]["why"]
    assert (reason["kind"], reason["name"]) == ("table", "tally.factor")
    (old,), (new,) = reason["old"], reason["new"]
    default = perijove.table("tally", "factor", "2016-08-27T12:50")
    assert old == [default.hash, None, None]
    assert new == [perijove.table("tally", "factor", 0.0).replace(dose=2 * default.values["dose"]).hash, None, None]


def test_plan_says_what_run_then_does(world: SimpleNamespace) -> None:
    document = world.plan.document
    assert set(document) == {"make", "keep", "blocked", "quarantined"}
    assert document["keep"] == 3
    (planned,) = document["make"]
    assert set(planned) == PRODUCT
    assert (planned["status"], planned["made"], planned["reason"]) == ("make", False, None)
    done = by_identity(world.second.document)[DOSE]
    same = ("identity", "key", "instrument", "type", "unit", "path", "why")
    assert {k: planned[k] for k in same} == {k: done[k] for k in same}


def test_run_is_its_record(world: SimpleNamespace) -> None:
    document = world.second.document
    record = json.loads((world.store / "runs" / f"{document['run']}.json").read_bytes())
    for product in record["products"]:
        del product["recipe"]
    assert record == document


@pytest.mark.usefixtures("without_prefect")
def test_run_that_fails_says_which(faulty_raw: Path, tmp_path: Path) -> None:
    names = [o for n in ("good", "bad", "after") for o in ("--product", f"faulty.{n}")]
    options = ("--raw", faulty_raw, "--store", tmp_path / "s", *names)
    answer = invoke("run", 1, "--json", *options)
    assert answer.status == 1
    products = by_identity(answer.document)
    assert {i: p["status"] for i, p in products.items()} == {
        "faulty.good/PJ01": "made", "faulty.bad/PJ01": "failed", "faulty.after/PJ01": "blocked"
    }  # fmt: skip
    assert products["faulty.bad/PJ01"]["reason"] == "step bad: ZeroDivisionError: as told"
    assert not products["faulty.bad/PJ01"]["made"]
    blocked = products["faulty.after/PJ01"]
    assert (blocked["key"], blocked["path"], blocked["reason"]) == (None, None, "needs faulty.bad/PJ01, which failed")
    shown = invoke("run", 1, *options)
    assert shown.status == 1
    for words in ("ZeroDivisionError: as told", "needs faulty.bad/PJ01, which failed"):
        assert words in shown.out


# verify, explain, compare


def test_verify(world: SimpleNamespace) -> None:
    document = ask(world, "verify")
    assert set(document) == {"ok", "run", "products"}
    assert document["run"] == world.second.document["run"]
    everything = {RATE, DOSE} | HISTOGRAMS
    assert by_identity(document) == {i: {"identity": i, "ok": True, "problem": None} for i in everything}


def test_verify_against_truth(world: SimpleNamespace) -> None:
    document = ask(world, "verify", world.first.document["run"], "--truth", world.truth)
    assert document["ok"]
    fields = {"instrument", "product", "variable", "n", "flagged", "pull_mean", "pull_std", "coverage68", "coverage95"}
    assert all(fields | {"systematic_pull_std", "ok", "why"} <= set(v) for v in document["variables"])
    time, rate = document["variables"]
    assert (time["variable"], time["n"], time["pull_std"]) == ("et", 1200, None)
    assert (rate["instrument"], rate["product"], rate["variable"], rate["n"]) == ("tally", RATE, "rate", 4800)
    product = perijove.open_product(RATE, store=world.store)
    truth = netcdf.open_product(next(world.truth.rglob("*.nc")))
    pulls = (product["rate"].values - truth["rate"].values) / product["rate_random"].values
    assert rate["pull_mean"] == pytest.approx(pulls.mean(), abs=1e-6)
    assert rate["pull_std"] == pytest.approx(pulls.std(), abs=1e-3)
    assert rate["coverage68"] == pytest.approx(np.mean(np.abs(pulls) <= 1), abs=1e-3)


@pytest.mark.usefixtures("without_prefect")
def test_verify_sees_a_wrong_calibration(world: SimpleNamespace, tmp_path: Path) -> None:
    table = perijove.table("tally", "dead_time", "2016-08-27T12:50")
    table.replace(tau=2 * table.values["tau"]).write(tmp_path / "dead_time.yaml")
    options = ("--instrument", "tally", "--store", tmp_path / "s", "--json")
    invoke("run", 1, "--raw", world.folder / "raw", "--table", tmp_path / "dead_time.yaml", *options)
    answer = invoke("verify", "--truth", world.truth, "--store", tmp_path / "s", "--json")
    assert answer.status == 1
    assert not answer.document["ok"]
    assert {v["variable"]: v["ok"] for v in answer.document["variables"]} == {"et": True, "rate": False}


def test_explain(world: SimpleNamespace) -> None:
    document = ask(world, "explain", DOSE)
    assert set(document) == {
        "identity", "key", "path", "title", "simulated", "step", "raw", "tables", "inputs", "parameters", "window",
        "geometry", "pedigree_counts", "runs",
    }  # fmt: skip
    assert document["identity"] == DOSE
    assert document["step"]["step"] == "dose"
    assert document["step"]["does"].startswith("Dose rate, without the background")
    (table,) = document["tables"]
    assert table["name"] == "tally.factor"
    assert (table["title"], table["pedigrees"]) == ("Dose per particle", {"override": 1})
    assert document["inputs"]["background"] is None
    assert document["runs"] == [world.second.document["run"]]
    assert document["simulated"]
    rate = document["inputs"]["rate"]
    assert rate["identity"] == RATE
    assert rate["parameters"] == {"correct": "dead time", "smooth": 1.0}
    assert rate["runs"] == [world.second.document["run"], world.first.document["run"]]
    label = world.folder / "raw" / "TALLY" / "TLY_000_V01.LBL"
    assert rate["raw"]["TLY_000"]["files"]["label"] == file_sha256(label)
    edges = [t["interval"] for t in rate["tables"] if t["name"] == "tally.efficiency"]
    change = parse_utc("2016-08-27T12:50:00")
    assert edges == [[None, change], [change, None]]


def test_product_by_any_name(world: SimpleNamespace) -> None:
    document = ask(world, "explain", RATE)
    for name in (document["key"], document["key"][:8], document["path"], "tally.rate/pj1"):
        assert ask(world, "explain", name) == document


def test_compare(world: SimpleNamespace) -> None:
    names = [world.first.document["run"], world.second.document["run"]]
    document = ask(world, "compare", *names)
    assert set(document) == {"a", "b", "same", "only_a", "only_b", "products"}
    assert (document["a"], document["b"], document["same"]) == (*names, 3)
    assert document["only_a"] == document["only_b"] == []
    (dose,) = document["products"]
    assert set(dose) == {"identity", "why", "variables", "same_values"}
    assert dose["identity"] == DOSE
    assert dose["why"] == by_identity(world.second.document)[DOSE]["why"]
    assert not dose["same_values"]
    variables = {v["variable"]: v for v in dose["variables"]}
    assert set(variables) == {"dose_rate", "quality"}
    assert variables["quality"]["changed"] == 0
    one, other = (netcdf.open_product(Path(by_identity(w.document)[DOSE]["path"])) for w in (world.first, world.second))
    delta = other["dose_rate"].values.astype(float) - one["dose_rate"].values
    pulls = delta / sigma(one, "dose_rate").values
    assert variables["dose_rate"] == {
        "variable": "dose_rate", "units": "rad/s", "n": 4800, "changed": 4800,
        "max_abs": pytest.approx(np.abs(delta).max()), "rms": pytest.approx(np.sqrt(np.mean(delta**2))),
        "max_sigma": pytest.approx(np.abs(pulls).max()), "rms_sigma": pytest.approx(np.sqrt(np.mean(pulls**2))),
        "quantiles": pytest.approx(np.quantile(delta, QUANTILES)),
        "quantiles_sigma": pytest.approx(np.quantile(pulls, QUANTILES)),
    }  # fmt: skip


def test_compare_says_why_in_its_own_direction(world: SimpleNamespace) -> None:
    first, second = world.first.document["run"], world.second.document["run"]
    (forth,) = ask(world, "compare", first, second)["products"]
    (back,) = ask(world, "compare", second, first)["products"]
    assert [(w["new"], w["old"]) for w in back["why"]] == [(w["old"], w["new"]) for w in forth["why"]]
    assert ask(world, "compare", first, first) == {
        "a": first, "b": first, "same": 4, "only_a": [], "only_b": [], "products": []
    }  # fmt: skip


# demo


@pytest.mark.usefixtures("without_prefect")
def test_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "names", lambda: ["tally"])
    answer = invoke("demo", "--out", tmp_path / "demo", "--json")
    assert answer.status == 0, answer.err
    document = answer.document
    assert set(document) == {"ok", "seconds", "peak_mb", "raw", "truth", "store", "page", "run", "verification"}
    assert document["ok"]
    assert all(Path(document[k]).is_relative_to(tmp_path / "demo") for k in ("raw", "truth", "store", "page"))
    assert Path(document["page"]).exists()
    assert document["run"] == Store(Path(document["store"])).run(None)["run"] == document["verification"]["run"]
    assert {v["product"] for v in document["verification"]["variables"]} == {RATE}
    assert "verifying against the truth ..." in answer.err
    again = invoke("demo", "--out", tmp_path / "demo", "--json")
    assert again.status == 0, "its own folder is used again"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years")
    refused = invoke("demo", "--out", tmp_path / "mine")
    assert refused.status == 2
    assert "holds something else" in refused.err
