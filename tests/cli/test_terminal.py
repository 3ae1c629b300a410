"""What commands show to people: every text as it is, nothing swallowed, folded or counted wrongly."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cli_world import DOSE, HISTOGRAMS, RATE
from core_fixtures import environment, invoke, write_tally


def shown(world: Any, *arguments: Any, status: int = 0) -> str:
    answer = invoke(*arguments, "--store", world.store)
    assert answer.status == status, answer.err
    assert answer.err == ""
    return answer.out


def test_table_names_its_pedigree(world: Any) -> None:
    text = shown(world, "table", "show", "tally.efficiency")
    assert text.count("fraction (detector, 1) [placeholder]") == 2
    assert "valid until 2016-08-27T12:50:00.000, hash " in text
    assert "valid from 2016-08-27T12:50:00.000, hash " in text
    assert "[0.85, 0.75, 0.65, 0.55]" in text
    assert "dose (detector, rad) [override]" in shown(world, "table", "show", world.table)
    assert "valid at all times, hash " in shown(world, "table", "show", world.table)


def test_texts_with_brackets(raw: Path, tmp_path: Path) -> None:
    """Markup in a name or reason is text."""
    folder = raw.rename(tmp_path / "a [bold] place [")
    label = folder / "TALLY" / "TLY_001_V01.LBL"
    label.write_text(label.read_text().replace("TALLY", "[/red] [dim]none[/dim]"))
    answer = invoke("plan", 1, "--instrument", "tally", "--raw", folder, "--store", tmp_path / "s")
    assert answer.status == 0
    assert f"not usable {label}, line 1: is of [/red] [dim]none[/dim], not of TALLY" in answer.out


@pytest.mark.usefixtures("without_prefect")
def test_run(raw: Path, tmp_path: Path) -> None:
    for suffix in ("TLY", "LBL"):
        (raw / "TALLY" / f"TLY_000_V02.{suffix}").write_bytes((raw / "TALLY" / f"TLY_000_V01.{suffix}").read_bytes())
    answer = invoke("run", 1, "--instrument", "tally", "--raw", raw, "--store", tmp_path / "s")
    rows = {line.split()[0]: line.split() for line in answer.out.splitlines()}
    for identity in (RATE, DOSE, *HISTOGRAMS):
        assert rows[identity][1] == "made"
        assert rows[identity][-3:] == ["not", "made", "yet"]
    assert "1 granule not used: another version or form is better" in answer.out
    assert " MB at most" in answer.out
    again = invoke("run", 1, "--instrument", "tally", "--store", tmp_path / "s", "--set", "tally.rate.correct=nothing")
    assert "correct: dead time -> nothing" in again.out
    write_tally(raw, seed=3)
    rows = invoke("plan", 1, "--instrument", "tally", "--store", tmp_path / "s").out.splitlines()
    assert "tally.histogram/PJ01/TLY_001  raw TLY_001" in [row.rstrip() for row in rows]


def test_plan(world: Any, tmp_path: Path) -> None:
    assert shown(world, "plan", 1, "--instrument", "tally") == "nothing to make\nkept as they are: 4 products\n"
    text = shown(world, "plan", 1, "--instrument", "tally", "--set", "tally.rate.smooth=5")
    assert "smooth: 1.0 -> 5.0" in text
    assert "input rate" in text
    assert text.endswith("kept as they are: 2 products\n")


def test_explain_tells_inputs_too(world: Any) -> None:
    text = shown(world, "explain", DOSE)
    for words in (
        f"{DOSE} (simulated)  Dose", "step       dose version 1: Dose rate", "input      background: absent",
        f"    {RATE} (simulated)  Particle rates", "parameter  smooth = 1.0", "TLY_001 (tally.packed, 2 files)",
        "override=1", world.second.document["run"],
    ):  # fmt: skip
        assert words in text


def test_verdicts(world: Any) -> None:
    text = shown(world, "verify", world.first.document["run"], "--truth", world.truth)
    assert "4 of 4 products are what they say" in text
    assert text.endswith("\nverified\n")
    text = shown(world, "compare", world.first.document["run"], world.second.document["run"])
    assert text.startswith(f"the same in both runs: 3 products\n{DOSE}  table tally.factor\n")
    assert "rad/s" in text


@pytest.mark.parametrize("what", ["passes", "instruments", "products", "runs", "tables", "contexts"])
def test_lists(world: Any, what: str) -> None:
    lines = shown(world, "list", what).splitlines()
    rows = invoke("list", what, "--store", world.store, "--json").document
    assert len(lines) >= len(rows) + 1
    for row in rows:
        name = str(next(iter(row.values())))
        assert any(line.split()[0] == name for line in lines)
        for key in ("key", "hash"):
            if key in row:
                assert any(row[key][:12] in line and row[key] not in line.split() for line in lines)


def test_lines_are_not_folded_in_a_pipe(world: Any) -> None:
    command = "import perijove; perijove.main()"
    env = {k: v for k, v in environment().items() if k != "COLUMNS"}
    process = subprocess.run(
        [sys.executable, "-c", command, "list", "tables", "--store", str(world.store)],
        capture_output=True, text=True, env=env, check=True, timeout=60,
    )  # fmt: skip
    line = next(
        line for line in process.stdout.splitlines() if line.startswith("tally.efficiency") and "late" not in line
    )
    assert len(line.rstrip()) > 80
    assert line.split()[-1].isalnum()
    assert len(line.split()[-1]) == 12


def test_nothing_there(tmp_path: Path) -> None:
    assert invoke("list", "runs", "--store", tmp_path).out == "no runs\n"
    assert invoke("store", "size", "--store", tmp_path).out.split() == ["folder", "MB", "all", "0.0"]


def test_doctor(world: Any) -> None:
    text = shown(world, "doctor")
    assert "none named: geometry is propagated and flagged so" in text
    assert "!!" not in text
    assert os.fspath(world.store) in text
