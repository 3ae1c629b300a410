"""NASA's own tools on our bundles: `validate`, and the reader it is built on.

Both are used where ``scripts/pds/tool fetch`` has put them (continuous integration tries) and skipped elsewhere.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from archive_world import World

from pipeline.archive.labels import Label, fields_of
from pipeline.archive.opening import number_type

pytestmark = pytest.mark.official
TOOL = Path(__file__).resolve().parents[2] / "scripts" / "pds" / "tool"


def tools() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("PERIJOVE_PDS_TOOLS") or cache / "perijove" / "pds-tools")


def need(name: str) -> None:
    if shutil.which("java") is None:
        pytest.skip("no Java")
    installed = name == "validate" and os.environ.get("PERIJOVE_VALIDATE")
    if not installed and not (tools() / f"{name}.complete").exists():
        pytest.skip(f"NASA's {name} is not in {tools()}: scripts/pds/tool fetch {name}")


def run(*arguments: Any) -> str:
    done = subprocess.run([str(TOOL), *map(str, arguments)], capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_validate_finds_no_error_and_no_warning(world: World, schemas: Path, tmp_path: Path) -> None:
    need("validate")
    report = tmp_path / "report.json"
    run("validate", schemas, report, *(b["path"] for b in world.document["bundles"]))
    summary = json.loads(report.read_text())["summary"]
    assert (summary["totalErrors"], summary["totalWarnings"]) == (0, 0)


def test_nasas_reader_reads_the_same_numbers(world: World) -> None:
    """Every array, and every field of every table, element by element as a double or as text."""
    need("reader")
    labels = sorted(world.bundles.rglob("data_*/pj01/*.xml")) + sorted(world.bundles.rglob("geometry/pj01/*.xml"))
    assert len(labels) > 8
    read: dict[str, list[tuple[str, str]]] = {}
    for line in run("read", *labels).splitlines():
        path, name, _, digest = line.split("\t")
        read.setdefault(path, []).append((name, digest))
    for path in labels:
        assert read[str(path)] == list(expected(Label.read(path))), path.name


def expected(label: Label) -> list[tuple[str, str]]:
    """Digests as the reader prints them, of the bytes where the label says they are."""
    found = []
    for entry in label.files:
        content = (label.path.parent / entry.name).read_bytes()
        for one in entry.objects:
            if one.kind.startswith("Array"):
                count = (one.size or 0) // _width(label, one)
                values = np.frombuffer(content, number_type(label, one.element), count, one.offset)
                found.append((one.name, digest(values)))
            elif one.kind == "Table_Binary":
                found += _columns(label, one, content)
    return found


def _columns(label: Label, one: Any, content: bytes) -> list[tuple[str, str]]:
    record = one.element.find("{*}Record_Binary")
    length = int(label.text("{*}record_length", record))
    rows = np.frombuffer(content, np.uint8, one.size or 0, one.offset).reshape(-1, length)
    found = []
    for field, starts in fields_of(label, record):
        dtype = number_type(label, field)
        for start in starts:
            values = np.ascontiguousarray(rows[:, start : start + dtype.itemsize]).view(dtype)[:, 0]
            found.append((label.text("{*}name", field), digest(values)))
    return found


def _width(label: Label, one: Any) -> int:
    return number_type(label, one.element).itemsize


def digest(values: np.ndarray[Any, Any]) -> str:
    if values.dtype.kind == "S":
        text = "".join(f"{v.decode().strip()}\n" for v in values)
        return hashlib.md5(text.encode()).hexdigest()
    if values.dtype.kind == "c":  # of which the reader gives the magnitude
        values = np.sqrt(values.imag.astype(np.float64) ** 2 + values.real.astype(np.float64) ** 2)
    return hashlib.md5(values.astype(">f8").tobytes()).hexdigest()
