"""Another context over every pass of the store: what it would change and why; making it; what it changed by."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from core_fixtures import invoke, product_bytes, run, statuses, write_faulty

import perijove
from pipeline import registry
from pipeline.runs.store import Store

RATE, DOSE = "tally.rate/PJ01", "tally.dose/PJ01"
pytestmark = pytest.mark.usefixtures("without_prefect")


@pytest.fixture
def mission(store: Path, tmp_path: Path) -> Path:
    """A store with two passes, of different instruments."""
    from faulty_instrument import write_raw

    write_raw(tmp_path / "raw3" / "FLT_2.TXT", "2016-12-11T16:30:00", 360)
    assert invoke("run", 3, "--instrument", "faulty", "--raw", tmp_path / "raw3", "--store", store).status == 0
    factor = perijove.table("tally", "factor", 0.0)
    changed = factor.replace(dose=factor["dose"].value * 1.01).write(tmp_path / "factor.yaml")
    certify = ("table", "certify", changed, "--alias", "new", "--comment", "one per cent", "--store", store)
    assert invoke(*certify).status == 0
    return store


def test_plan_of_all_passes(mission: Path) -> None:
    before = product_bytes(mission), len(list((mission / "runs").iterdir()))
    document = invoke("plan", "--all-passes", "--context", "new", "--store", mission, "--json").document
    assert [p["pass"] for p in document["passes"]] == [1, 3]
    first, third = document["passes"]
    assert [(m["identity"], [(w["kind"], w["name"]) for w in m["why"]]) for m in first["make"]] == [
        (DOSE, [("table", "tally.factor")])
    ]
    assert (third["make"], third["keep"]) == ([], 1)
    assert (document["make"], document["keep"]) == (1, 4)
    assert before == (product_bytes(mission), len(list((mission / "runs").iterdir())))
    shown = invoke("plan", "--all-passes", "--context", "new", "--store", mission)
    assert "1 product to make, 4 kept as they are" in shown.out


def test_rerun_of_all_passes_makes_what_was_planned(mission: Path, raw: Path) -> None:
    options = ("--all-passes", "--context", "new", "--store", mission, "--json")
    answer = invoke("run", *options)
    assert answer.status == 0
    runs = answer.document["runs"]
    assert [(r["pass"], [p["identity"] for p in r["products"] if p["made"]]) for r in runs] == [(1, [DOSE]), (3, [])]
    # Once more, as after it was stopped: nothing is left to do.
    assert not [p for r in invoke("run", *options).document["runs"] for p in r["products"] if p["made"]]
    assert invoke("plan", *options).document["make"] == 0


def test_pass_that_cannot_be_run_does_not_keep_the_others(mission: Path, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "raw")
    options = ("--all-passes", "--context", "new", "--store", mission, "--json")
    first, third = invoke("plan", *options).document["passes"]
    assert "there is no such folder of raw products" in first["error"]
    assert (third["error"], third["keep"]) == (None, 1)
    answer = invoke("run", *options)
    assert answer.status == 1
    assert list(answer.document["errors"]) == ["1"]
    assert [r["pass"] for r in answer.document["runs"]] == [3]


def test_distribution_of_the_differences(mission: Path, tmp_path: Path) -> None:
    """One per cent more of everything: in units the values' own, in sigma what the errors make of it."""
    old = next(r["run"] for r in Store(mission).runs() if r["pass"] == 1)
    new = invoke("run", 1, "--instrument", "tally", "--context", "new", "--store", mission, "--json").document["run"]
    figure = tmp_path / "differences.png"
    document = invoke("compare", old, new, "--figure", figure, "--store", mission, "--json").document
    (product,) = document["products"]
    (rate,) = [v for v in product["variables"] if v["variable"] == "dose_rate"]
    quantiles = rate["quantiles"]
    assert quantiles == sorted(quantiles)
    assert rate["max_abs"] == pytest.approx(max(map(abs, (quantiles[0], quantiles[-1]))))
    values = perijove.open_product(DOSE, store=mission)["dose_rate"].values
    assert quantiles[4] == pytest.approx(0.01 / 1.01 * float(sorted(values.ravel())[values.size // 2]), rel=0.05)
    assert 0 < rate["quantiles_sigma"][4] < 1
    assert figure.read_bytes().startswith(b"\x89PNG")


def test_old_context_gives_the_old_bytes(mission: Path, raw: Path) -> None:
    """Whatever was run since: with the same code its products come out as they were."""
    before = product_bytes(mission)
    run(raw, mission, context="new")
    for path in Store(mission).products():
        path.unlink()
    assert set(statuses(run(raw, mission, context="default")).values()) == {"made"}
    after = product_bytes(mission)
    assert after == {name: digest for name, digest in before.items() if "tally" in name}


def test_newer_code_is_named(mission: Path, raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    instrument = registry.load("tally")
    (step,) = [f for f in instrument.steps if f.__name__ == "dose"]
    newer = dataclasses.replace(step.__perijove_step__, version=2)  # type: ignore[attr-defined]
    monkeypatch.setattr(step, "__perijove_step__", newer)
    document = invoke("plan", "--all-passes", "--context", "default", "--store", mission, "--json").document
    (planned,) = document["passes"][0]["make"]
    assert planned["identity"] == DOSE
    assert {w["kind"] for w in planned["why"]} == {"code"}


def test_either_a_pass_or_all(mission: Path) -> None:
    assert "either a pass or --all-passes" in invoke("plan", 1, "--all-passes", "--store", mission).err
    assert "say which pass" in invoke("run", "--store", mission).err
    answer = invoke("plan", "--all-passes", "--store", mission / "other")
    assert (answer.status, "no run in" in answer.err) == (2, True)


# At a glance


def test_list_of_runs_says_what_is_wrong(raw: Path, store: Path) -> None:
    data = raw / "TALLY" / "TLY_001_V01.TLY"
    data.write_bytes(bytes(reversed(data.read_bytes())))
    run(raw, store)
    (store / "logs" / "20991231T235959999-PJ01-dead.log").write_text("{}\n")
    killed, newest, _ = invoke("list", "runs", "--store", store, "--json").document
    assert killed["ended"] == "killed, or not yet"
    assert newest["quarantined"] == 1
    assert newest["gaps"] > 0
    from pipeline.report.page import write_page
    from pipeline.runs.summary import missing, missing_at_a_glance

    gaps = missing(Store(store).run(newest["run"]))
    times = [(g["start"], g["stop"]) for g in gaps]
    assert missing_at_a_glance(Store(store).run(newest["run"])) == [("tally", times, gaps[0]["why"])]
    page = write_page(Store(store), newest["run"], None).read_text()
    assert page.count('<rect class="hole"') == len(gaps)
    assert all(f"{start[11:19]} to {stop[11:19]}" in page for start, stop in times)
    assert all(g["instrument"] == "tally" for g in gaps)
    assert any("TLY_001_V01.TLY" in g["why"] for g in gaps)


def test_log_of_a_run(raw: Path, tmp_path: Path) -> None:
    record = run(raw, tmp_path / "s")
    lines = (tmp_path / "s" / "logs" / f"{record['run']}.log").read_text().splitlines()
    events: list[dict[str, Any]] = [json.loads(line) for line in lines]
    assert [e["event"] for e in events] == ["run begins", *["product"] * 4, "run ends"]
    assert {"time", "level", "product", "status", "seconds", "peak_mb", "size"} <= events[1].keys()
    assert events[-1]["statuses"] == {"made": 4}
    assert write_faulty is not None
