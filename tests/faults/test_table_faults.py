"""Damaged tables, contexts that contradict themselves, kernels and truths that are none."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from core_fixtures import invoke

import perijove
from pipeline import registry
from pipeline.runs.geometry import geometry_of

pytestmark = pytest.mark.usefixtures("without_prefect")
RUN = ("run", 1, "--instrument", "tally")


def refused(answer: SimpleNamespace, *words: str) -> None:
    """Status 3, one message, nothing on standard output."""
    assert answer.status == 3, answer
    assert answer.err.startswith("perijove: ")
    assert len(answer.err.splitlines()) == 1
    assert answer.out == ""
    for word in words:
        assert word in answer.err
    assert "Traceback" not in answer.err


def factor(path: Path, **quantities: Any) -> Path:
    return perijove.table("tally", "factor", 0.0).replace(**quantities).write(path)


# Tables


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("instrument: tally\n", "", "instrument missing"),
        ("units: rad", "", "quantity dose: units missing"),
        ("quantities:", "quantites:", "quantities missing"),
        ("- 2.0e-07", "- two", "'two' is no number"),
        ("- 2.0e-07", "- .nan", "not finite"),
        ("- 2.0e-07", "- .inf", "not finite"),
        ("- 2.0e-07", "- [2.0e-07]", "'[2e-07]' is no number"),
        ("- detector", "- detector\n    - range", "does not fit dims"),
        ("pedigree: placeholder", "pedigree: certain", "pedigree"),
        ("correlation: systematic", "correlation: some", "correlation"),
        ("uncertainty: 1.0e-09", "uncertainty: -1.0e-09", "uncertainty"),
        ("title:", "title: A table\ntitle:", "'title' stands there twice"),
        ("title:", "title: [", "line"),
    ],
)
def test_damaged_table_file(raw: Path, tmp_path: Path, old: str, new: str, reason: str) -> None:
    path = factor(tmp_path / "factor.yaml")
    # One number or word per line, whatever the writer prefers.
    text = path.read_text().replace("[detector]", "\n    - detector")
    text = text.replace(
        "[1.0e-07, 2.0e-07, 4.0e-07, 8.0e-07]", "\n    - 1.0e-07\n    - 2.0e-07\n    - 4.0e-07\n    - 8.0e-07"
    )
    assert text.count(old) >= 1, text
    path.write_text(text.replace(old, new))
    store = ("--store", tmp_path / "s")
    for command in ("run", "plan"):
        refused(invoke(command, *RUN[1:], "--raw", raw, "--table", path, *store), str(path), reason)
    refused(invoke("table", "show", path), str(path), reason)
    assert not (tmp_path / "s").exists()
    refused(invoke("table", "certify", path, "--alias", "x", "--comment", "x", *store), str(path), reason)
    assert not (tmp_path / "s" / "contexts").exists()


def test_table_of_an_unknown_name(raw: Path, tmp_path: Path) -> None:
    path = factor(tmp_path / "factor.yaml")
    path.write_text(path.read_text().replace("name: factor", "name: facter"))
    store = ("--store", tmp_path / "s")
    refused(
        invoke(*RUN, "--raw", raw, "--table", path, *store), str(path), "no table tally.facter to stand in for; did"
    )
    said = "no table tally.facter; did you mean tally.factor"
    refused(invoke("table", "certify", path, "--alias", "x", "--comment", "x", *store), said)


def test_array_beside_a_table_that_is_not_there(raw: Path, tmp_path: Path) -> None:
    path = factor(tmp_path / "factor.yaml")
    text = path.read_text()
    path.write_text(text.replace("value: [1.0e-07, 2.0e-07, 4.0e-07, 8.0e-07]", "value: {csv: absent.csv}"))
    assert path.read_text() != text
    answer = invoke(*RUN, "--raw", raw, "--table", path, "--store", tmp_path / "s")
    refused(answer, f"{path}, quantity dose", f"{tmp_path / 'absent.csv'} cannot be read")


@pytest.mark.parametrize("content", [b"", b"\0\1\2\3" * 100, b"[1, 2, 3]\n", b"\xff\xfe\x00", b"&a [*a]\n", b"a: *b\n"])
def test_file_that_is_no_table(raw: Path, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    refused(invoke(*RUN, "--raw", raw, "--table", path, "--store", tmp_path / "s"), f"{path}: ")
    refused(invoke("table", "show", path), f"{path}: ")


def test_table_that_is_not_there(raw: Path, tmp_path: Path) -> None:
    path = tmp_path / "absent.yaml"
    said = f"{path}: cannot be read: No such file or directory"
    refused(invoke(*RUN, "--raw", raw, "--table", path, "--store", tmp_path / "s"), said)
    refused(invoke("table", "show", path), said)
    refused(invoke(*RUN, "--raw", raw, "--table", tmp_path, "--store", tmp_path / "s"), f"{tmp_path}: cannot be read")


def test_two_tables_of_one_name(raw: Path, tmp_path: Path) -> None:
    tables = [factor(tmp_path / "a.yaml"), factor(tmp_path / "b.yaml")]
    options = [o for t in tables for o in ("--table", t)]
    refused(invoke(*RUN, "--raw", raw, *options, "--store", tmp_path / "s"), "table tally.factor is given twice")


def test_table_of_other_detectors(raw: Path, tmp_path: Path) -> None:
    """Whole in itself, but not what the step reckons with: the step fails, nothing else."""
    path = factor(tmp_path / "factor.yaml")
    text = path.read_text()
    assert "[1.0e-07, 2.0e-07, 4.0e-07, 8.0e-07]" in text
    path.write_text(text.replace("[1.0e-07, 2.0e-07, 4.0e-07, 8.0e-07]", "[1.0e-07, 2.0e-07, 4.0e-07]"))
    answer = invoke(*RUN, "--raw", raw, "--table", path, "--store", tmp_path / "s", "--json")
    assert answer.status == 1
    failed = [p for p in answer.document["products"] if p["status"] == "failed"]
    assert [p["identity"] for p in failed] == ["tally.dose/PJ01"]
    assert "could not be broadcast" in failed[0]["reason"]


# Contexts


@pytest.fixture
def tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The instrument's tables, to be damaged."""
    instrument = registry.load("tally")
    folder = shutil.copytree(instrument.tables, tmp_path / "tables")
    load = registry.load
    damaged = dataclasses.replace(instrument, tables=folder)
    monkeypatch.setattr(registry, "load", lambda name: damaged if name == "tally" else load(name))
    return folder


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (
            "start: '2016-08-27T12:50:00'",
            "start: '2016-08-27T12:40:00'",
            "table efficiency: one holds until 2016-08-27T",
        ),
        ("start: '2016-08-27T12:50:00'", "", "table efficiency: one holds"),
        ("start: '2016-08-27T12:50:00'", "start: noon", "table efficiency: 'noon'"),
        ("start:", "begin:", "file, start and stop are expected"),
        ("tables:", "tablets:", "tables: a mapping of names to lists of entries is expected"),
        ("- file: factor.yaml", "- [", "context.yaml"),
    ],
)
def test_damaged_context(raw: Path, tmp_path: Path, tables: Path, old: str, new: str, reason: str) -> None:
    path = tables / "context.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    refused(invoke(*RUN, "--raw", raw, "--store", tmp_path / "s"), str(path), reason)
    refused(invoke("list", "tables", "--store", tmp_path / "s"), str(path), reason)
    assert not (tmp_path / "s").exists()


def test_hole_in_a_context(raw: Path, tmp_path: Path, tables: Path) -> None:
    """What needs a table at a time at which none holds is blocked, with the nearest that does."""
    path = tables / "context.yaml"
    path.write_text(path.read_text().replace("start: '2016-08-27T12:50:00'", "start: '2016-08-27T12:55:00'"))
    answer = invoke(*RUN, "--raw", raw, "--store", tmp_path / "s", "--json")
    assert answer.status == 1
    reasons = {p["identity"]: p["reason"] for p in answer.document["products"] if p["status"] == "blocked"}
    assert set(reasons) == {"tally.rate/PJ01", "tally.dose/PJ01"}
    said = "no table tally.efficiency holds from 2016-08-27T12:50:00.000000 until 2016-08-27T12:55:00.000000"
    assert said in reasons["tally.rate/PJ01"]


def test_table_file_of_a_context_that_is_damaged(raw: Path, tmp_path: Path, tables: Path) -> None:
    """Only what reads it is blocked."""
    (tables / "factor.yaml").write_text("instrument: tally\n")
    answer = invoke(*RUN, "--raw", raw, "--store", tmp_path / "s", "--json")
    assert answer.status == 1
    (blocked,) = [p for p in answer.document["products"] if p["status"] != "made"]
    assert (blocked["identity"], blocked["status"]) == ("tally.dose/PJ01", "blocked")
    assert blocked["reason"].startswith(f"{tables / 'factor.yaml'}: ")


def test_certified_contexts_do_not_contradict(tmp_path: Path) -> None:
    store = ("--store", tmp_path / "s")
    mine = factor(tmp_path / "mine.yaml")
    certify = ("table", "certify", "--comment", "x", *store)
    assert invoke(*certify, mine, "--alias", "mine", "--start", "2016-08-01", "--stop", "2016-09-01").status == 0
    other = factor(tmp_path / "other.yaml", dose=[1.0, 2.0, 3.0, 4.0])
    # Over the edge between two tables of its base.
    answer = invoke(
        *certify, other, "--alias", "over", "--base", "mine", "--start", "2016-08-15", "--stop", "2017-01-01"
    )
    refused(answer, "table tally.factor cannot hold from 2016-08-15", "the base has one that holds")
    # Under a name that says something else already; the same again is no contradiction.
    refused(invoke(*certify, other, "--alias", "mine"), "context 'mine' is there already and says something else")
    assert invoke(*certify, mine, "--alias", "mine", "--start", "2016-08-01", "--stop", "2016-09-01").status == 0
    assert invoke(*certify, mine, "--alias", "later", "--start", "2017-01-01", "--stop", "2016-01-01").status != 0
    names = [r["context"] for r in invoke("list", "contexts", "--json", *store).document]
    assert names == ["default", "mine"]


def test_certified_context_that_was_edited(raw: Path, tmp_path: Path) -> None:
    store = ("--store", tmp_path / "s")
    mine = factor(tmp_path / "mine.yaml", dose=[1.0, 2.0, 3.0, 4.0])
    assert invoke("table", "certify", mine, "--alias", "mine", "--comment", "x", *store).status == 0
    (path,) = (tmp_path / "s" / "contexts").iterdir()
    path.write_text(path.read_text().replace("alias: mine", "alias: yours"))
    refused(invoke(*RUN, "--raw", raw, "--context", "yours", *store), f"{path}: damaged, its content has the hash")


# Kernels, truth


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        (None, b"", "holds no SPICE kernel"),
        ("x.bsp", np.random.default_rng(4).bytes(4096), "x.bsp"),
        ("x.bsp", b"", "x.bsp"),
        ("x.tm", b"KPL/MK\n\\begindata\nKERNELS_TO_LOAD = ( '/nowhere/juno.bsp' )\n", "/nowhere/juno.bsp"),
        ("x.tsc", b"KPL/SCLK\n\\begindata\nSCLK_DATA = (\n", "x.tsc"),
    ],
)
def test_kernels_that_are_none(
    raw: Path, tmp_path: Path, name: str | None, content: bytes, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.runs.run.geometry_of", geometry_of)
    path = tmp_path / "kernels"
    path.mkdir()
    if name is not None:
        (path / name).write_bytes(content)
    named = path / name if name == "x.tm" else path
    answer = invoke(*RUN, "--raw", raw, "--kernels", named, "--store", tmp_path / "s")
    refused(answer, str(path), reason)
    refused(invoke(*RUN, "--raw", raw, "--kernels", tmp_path / "no", "--store", tmp_path / "s"), str(tmp_path / "no"))


@pytest.mark.parametrize("damage", ["absent", "empty", "garbage"])
def test_truth_that_is_none(store: Path, tmp_path: Path, damage: str) -> None:
    truth = tmp_path / "truth"
    if damage != "absent":
        truth.mkdir()
    if damage == "garbage":
        (truth / "pass.nc").write_bytes(b"not a truth")
    reason = f"{truth}: holds no truth" if damage != "garbage" else f"{truth / 'pass.nc'}: no product of this project"
    refused(invoke("verify", "--truth", truth, "--store", store), reason)
