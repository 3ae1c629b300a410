"""A simulated pass that was run twice, for the tests that only look."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from core_fixtures import invoke, made_here

import perijove

RATE, DOSE = "tally.rate/PJ01", "tally.dose/PJ01"
HISTOGRAMS = {"tally.histogram/PJ01/TLY_000", "tally.histogram/PJ01/TLY_001"}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, plugins: None) -> SimpleNamespace:
    """A simulated pass; a run of it; a plan and a run with twice the dose per particle. Not to be changed."""
    return _made(tmp_path_factory.getbasetemp() / "world")


@cache
def _made(folder: Path) -> SimpleNamespace:
    store, tables = folder / "store", folder / "factor.yaml"
    simulation = invoke("simulate", 1, "--out", folder, "--instrument", "tally", "--json")
    factor = perijove.table("tally", "factor", "2016-08-27T12:50")
    factor.replace(dose=2 * factor.values["dose"]).write(tables)
    options = ("--instrument", "tally", "--store", store, "--json")
    with made_here():
        first = invoke("run", 1, "--raw", folder / "raw", *options)
        plan = invoke("plan", 1, "--table", tables, *options)
        second = invoke("run", 1, "--table", tables, *options)
    return SimpleNamespace(
        folder=folder, truth=folder / "truth", store=store, table=tables, simulation=simulation, first=first,
        plan=plan, second=second,
    )  # fmt: skip


def ask(world: SimpleNamespace, *arguments: Any, status: int = 0) -> Any:
    answer = invoke(*arguments, "--store", world.store, "--json")
    assert answer.status == status, answer.err
    assert answer.err == ""
    return answer.document


def by_identity(document: dict[str, Any], part: str = "products") -> dict[str, dict[str, Any]]:
    return {p["identity"]: p for p in document[part]}
