"""Who may import whom, and that no room is entered by another door."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
OWN = ("pipeline", "calibration", "instruments", "flows")


def imports(path: Path) -> Iterator[str]:
    package = ".".join(path.relative_to(ROOT).parent.parts)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parts, base] if base else parts)
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def modules(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def allowed(path: Path, name: str) -> bool:
    """The rules of docs/architecture.md."""
    own = path.relative_to(ROOT).parts
    top, _, rest = name.partition(".")
    if top not in OWN:
        return not (top == "spiceypy" and own[:2] != ("pipeline", "geometry")) and not (
            top in ("prefect", "distributed", "dask") and own[0] != "flows"
        )
    if own[0] == "calibration":
        return top == "calibration" or rest.split(".")[0] in ("", "errors", "clock")
    if own[0] == "pipeline":
        return top in ("pipeline", "calibration") or (top == "flows" and own == ("pipeline", "cli.py"))
    if own[0] == "instruments":
        return top in ("pipeline", "calibration") or rest.split(".")[0] in ("", own[1])
    return top in ("flows", "pipeline")


@pytest.mark.parametrize("path", [p for folder in OWN for p in modules(folder)], ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_follow_the_house_rules(path: Path) -> None:
    wrong = {name for name in imports(path) if not allowed(path, name)}
    assert not wrong


def test_a_forbidden_import_is_seen() -> None:
    assert not allowed(ROOT / "pipeline/runs/plan.py", "instruments.mag")
    assert not allowed(ROOT / "instruments/mag/calibrate.py", "instruments.junocam.raw")
    assert not allowed(ROOT / "instruments/mag/raw.py", "spiceypy")
    assert not allowed(ROOT / "calibration/tables.py", "pipeline.runs.store")
    assert allowed(ROOT / "pipeline/cli.py", "flows.pass_flow")


def reached(path: Path, seen: set[Path]) -> set[Path]:
    """Modules of the same instrument that a module imports, directly or not."""
    for name in imports(path):
        parts = name.split(".")
        for candidate in (ROOT.joinpath(*parts).with_suffix(".py"), ROOT.joinpath(*parts[:-1]).with_suffix(".py")):
            if candidate.exists() and candidate.parent == path.parent and candidate not in seen:
                seen.add(candidate)
                reached(candidate, seen)
    return seen


@pytest.mark.parametrize("simulator", sorted((ROOT / "instruments").glob("*/simulate.py")), ids=lambda p: p.parent.name)
def test_simulators_share_nothing_with_the_calibration(simulator: Path) -> None:
    calibrate = simulator.with_name("calibrate.py")
    # Telemetry layouts and names of variables are shared on purpose; equations must not be.
    shared = {
        simulator.with_name(n) for n in ("raw.py", "packets.py", "sts.py", "schemas.py", "layout.py", "labels.py")
    }
    common = (reached(simulator, set()) | {simulator}) & (reached(calibrate, set()) | {calibrate})
    assert not common - shared
