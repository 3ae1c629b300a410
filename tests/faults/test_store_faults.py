"""A store, or a place to write to, that does not do; and what lies in a store damaged."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import pytest
from core_fixtures import environment, invoke, product_bytes, statuses

from pipeline.runs.geometry import geometry_of
from pipeline.runs.store import Store

pytestmark = pytest.mark.usefixtures("without_prefect")
RATE, DOSE = "tally.rate/PJ01", "tally.dose/PJ01"
TALLY = ("--instrument", "tally")


def refused(answer: SimpleNamespace, *words: str, status: int = 3) -> None:
    """One message, nothing on standard output."""
    assert answer.status == status, answer
    assert answer.err.startswith("perijove: ")
    assert answer.out == ""
    for word in words:
        assert word in answer.err
    assert "Traceback" not in answer.err


def tree(folder: Path) -> dict[str, int]:
    return {str(p.relative_to(folder)): p.stat().st_mtime_ns for p in folder.rglob("*")}


# Not to be written


@pytest.mark.parametrize("place", ["file", "file/below", "/proc/perijove", "/dev/null"])
def test_store_in_an_impossible_place(raw: Path, tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("mine")
    store = tmp_path / place
    refused(invoke("run", 1, *TALLY, "--raw", raw, "--store", store), f"store {store} cannot be written")
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("command", [("list", "runs"), ("list", "products"), ("store", "size"), ("verify",)])
def test_file_is_not_read_as_an_empty_store(tmp_path: Path, command: tuple[str, ...]) -> None:
    (tmp_path / "file").write_text("mine")
    refused(invoke(*command, "--store", tmp_path / "file"), f"store {tmp_path / 'file'} cannot be", "it is no folder")


@pytest.fixture
def read_only(store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file system that is mounted to be read: the system says so whoever asks, root as well."""
    opened, made = os.open, os.mkdir
    writing = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | getattr(os, "O_TMPFILE", 0)

    def refuse(path: Any) -> None:
        if Path(os.fsdecode(path)).resolve().is_relative_to(store):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), os.fspath(path))

    def checked_open(path: Any, flags: int, *rest: Any, **more: Any) -> int:
        if flags & writing:
            refuse(path)
        return opened(path, flags, *rest, **more)

    def checked_mkdir(path: Any, *rest: Any, **more: Any) -> None:
        if not Path(os.fsdecode(path)).exists():
            refuse(path)
        made(path, *rest, **more)

    monkeypatch.setattr(os, "open", checked_open)
    monkeypatch.setattr(os, "mkdir", checked_mkdir)
    return store


def test_store_that_can_only_be_read(raw: Path, read_only: Path, tmp_path: Path) -> None:
    """Everything that looks goes on; what would write says that it cannot."""
    before = tree(read_only)
    options = ("--store", read_only)
    run = Store(read_only).run(None)["run"]
    for command in (
        ("plan", 1, *TALLY, "--raw", raw), ("explain", RATE), ("verify",), ("compare", run, run), ("list", "runs"),
        ("list", "products"), ("list", "tables"), ("list", "contexts"), ("table", "show", "tally.factor"),
        ("store", "size"), ("export", RATE, "--out", tmp_path / "out.nc"), ("report", "--out", tmp_path / "page"),
    ):  # fmt: skip
        answer = invoke(*command, *options)
        assert (answer.status, answer.err) == (0, ""), command
    for command in (
        ("run", 1, *TALLY, "--raw", raw),
        ("table", "certify", tally_table(tmp_path), "--alias", "x", "--comment", "x"),
    ):
        refused(invoke(*command, *options), f"store {read_only} cannot be written: Read-only file system")
    checks = invoke("doctor", *options, "--json")
    assert checks.status == 1
    (bad,) = [c for c in checks.document["checks"] if not c["ok"]]
    assert (bad["what"], bad["advice"]) == ("store", "it cannot be written: name another with --store")
    assert tree(read_only) == before


def tally_table(folder: Path) -> Path:
    import perijove

    return perijove.table("tally", "factor", 0.0).write(folder / "factor.yaml")


@pytest.mark.parametrize(
    "command",
    [("simulate", 1, *TALLY, "--out"), ("demo", "--out"), ("report", "--out"), ("export", RATE, "--out")],
    ids=lambda c: c[0],
)
def test_results_in_an_impossible_place(store: Path, tmp_path: Path, command: tuple[Any, ...]) -> None:
    (tmp_path / "file").write_text("mine")
    options = () if command[0] in ("simulate", "demo") else ("--store", store)
    answer = invoke(*command, tmp_path / "file" / "out", *options)
    assert answer.status == 3
    assert str(tmp_path / "file") in answer.err.splitlines()[-1]
    assert answer.err.splitlines()[-1].endswith("Not a directory")


def test_export_into_the_store(store: Path) -> None:
    refused(invoke("export", RATE, "--out", store / "products" / "x.nc", "--store", store), "lies in the store")


# Full


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """No file may grow beyond so many bytes: the write fails as it does on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("size", [0, 300, 40_000])
def test_full_disk(raw: Path, tmp_path: Path, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Already the geometry does not fit, or the file that says which process makes the pass."""
    store = tmp_path / "s"
    monkeypatch.setattr("pipeline.runs.run.geometry_of", geometry_of)
    with room_for(size):
        answer = invoke("run", 1, *TALLY, "--raw", raw, "--store", store)
    refused(answer, "File too large", str(store))
    assert len(answer.err.splitlines()) == 1
    assert not list(Store(store).products())
    assert not list(store.rglob("*.part"))


def test_disk_that_fills_up(raw: Path, store: Path, tmp_path: Path) -> None:
    """What fits is made; what does not is named; with room again the next run makes what is missing, as always."""
    place = tmp_path / "s"
    with room_for(100_000):
        answer = invoke("run", 1, *TALLY, "--raw", raw, "--store", place, "--json")
    assert answer.status == 1
    made = statuses(answer.document)
    assert (made[RATE], made[DOSE], made["tally.histogram/PJ01/TLY_000"]) == ("failed", "blocked", "made")
    reason = next(p["reason"] for p in answer.document["products"] if p["identity"] == RATE)
    assert reason.startswith(f"step rate: {place}/")
    assert reason.endswith(".nc cannot be written: File too large")
    assert not list(place.rglob("*.part"))
    assert not list((place / "work").glob("*/"))
    again = invoke("run", 1, *TALLY, "--store", place, "--json")
    assert again.status == 0
    assert {i for i, s in statuses(again.document).items() if s == "made"} == {RATE, DOSE}
    assert product_bytes(place) == product_bytes(store)


def test_room_for_products_but_not_for_the_record(raw: Path, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, content: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    answer = invoke("run", 1, *TALLY, "--raw", raw, "--store", store, "--no-pictures")
    refused(answer, f"{store / 'runs'}/", ".json cannot be written: No space left on device")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no such device here")
def test_output_that_goes_nowhere() -> None:
    with Path("/dev/full").open("w") as full:
        process = subprocess.run(
            [sys.executable, "-c", "import perijove; perijove.main()", "list", "passes"],
            stdout=full, stderr=subprocess.PIPE, text=True, env=environment(), timeout=60, check=False,
        )  # fmt: skip
    said = "perijove: standard output cannot be written: No space left on device\n"
    assert (process.returncode, process.stderr) == (3, said)


# Damaged


def _flip(path: Path) -> None:
    """One bit in the stored numbers: no library notices."""
    with h5py.File(path) as file:
        info = file["rate"].id.get_chunk_info(0)
    content = bytearray(path.read_bytes())
    content[info.byte_offset + info.size // 2] ^= 1
    path.write_bytes(content)


def _truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _garbage(path: Path) -> None:
    path.write_bytes(b"not what it was" * 1000)


def _rewrite(path: Path) -> None:
    """The same numbers, touched by another program."""
    with h5py.File(path, "a") as file:
        file.attrs["history"] = "looked at"


CHANGED = "its bytes have changed since it was made"
DAMAGES: list[tuple[Callable[[Path], None], str]] = [
    (_flip, CHANGED), (_truncate, CHANGED), (_garbage, CHANGED), (_rewrite, CHANGED), (Path.unlink, "its file is gone")
]  # fmt: skip


@pytest.mark.parametrize(("damage", "problem"), DAMAGES, ids=[d.__name__.strip("_") for d, _ in DAMAGES])
@pytest.mark.parametrize("runs", [1, 2])
def test_damaged_product_is_found(
    raw: Path, store: Path, damage: Callable[[Path], None], problem: str, runs: int
) -> None:
    """Also by the verification of a run that only kept it."""
    if runs == 2:
        assert invoke("run", 1, *TALLY, "--store", store).status == 0
    damage(Store(store).find(RATE))
    answer = invoke("verify", "--store", store, "--json")
    assert answer.status == 1
    assert {p["identity"]: p["problem"] for p in answer.document["products"] if not p["ok"]} == {RATE: problem}
    assert f"wrong {RATE}: {problem}" in invoke("verify", "--store", store).out


def test_product_under_a_key_that_is_not_its_own(store: Path) -> None:
    """Where no record has its hash, as after an interruption, the key says it."""
    record = next((store / "runs").iterdir())
    document = json.loads(record.read_bytes())
    for product in document["products"]:
        product.pop("sha256", None)
    record.write_text(json.dumps(document))
    assert invoke("verify", "--store", store).status == 0
    path = Store(store).find(RATE)
    with h5py.File(path, "a") as file:
        recipe = json.loads(file.attrs["recipe"])
        recipe["parameters"]["smooth"] = 2.0
        file.attrs["recipe"] = json.dumps(recipe)
    answer = invoke("verify", "--store", store, "--json")
    assert answer.status == 1
    assert [p["problem"] for p in answer.document["products"] if not p["ok"]] == [
        "its key does not follow from its recipe"
    ]
    _truncate(path)
    answer = invoke("verify", "--store", store, "--json")
    assert answer.document["products"][0]["problem"].startswith(f"it cannot be read: {path}: no product of this")


@pytest.mark.parametrize("damage", [_truncate, _garbage], ids=["truncate", "garbage"])
def test_damaged_product_that_is_needed(store: Path, tmp_path: Path, damage: Callable[[Path], None]) -> None:
    """What reads it fails and says which file; deleted, it is made again."""
    path = Store(store).find(RATE)
    damage(path)
    for command in (("explain", RATE), ("export", RATE, "--out", tmp_path / "x.nc"), ("report",)):
        refused(invoke(*command, "--store", store), f"{path}: no product of this project, or damaged")
    Store(store).find(DOSE).unlink()
    answer = invoke("run", 1, *TALLY, "--store", store, "--json")
    assert answer.status == 1
    (dose,) = [p for p in answer.document["products"] if p["identity"] == DOSE]
    assert dose["status"] == "failed"
    assert f"{path}: no product of this project, or damaged" in dose["reason"]
    path.unlink()
    again = invoke("run", 1, *TALLY, "--store", store, "--json")
    assert again.status == 0
    assert {i for i, s in statuses(again.document).items() if s == "made"} == {RATE, DOSE}


def test_damaged_geometry(raw: Path, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.runs.run.geometry_of", geometry_of)
    (path,) = (store / "geometry").rglob("*.nc")
    _truncate(path)
    refused(invoke("run", 1, *TALLY, "--store", store), f"{path}: no product of this project, or damaged")


def test_damaged_record(store: Path) -> None:
    record = next((store / "runs").iterdir())
    record.write_text(record.read_text()[:-200])
    for command in (("list", "runs"), ("verify",), ("explain", RATE), ("run", 1, *TALLY)):
        refused(invoke(*command, "--store", store), f"{record}: damaged run record", "move it away to go on")


def test_damaged_table_in_the_store(raw: Path, store: Path) -> None:
    """It bears the name of its content: never are other numbers taken for those of the key."""
    default = invoke("list", "tables", "--json").document
    digest = next(r["hash"] for r in default if r["name"] == "tally.dead_time")
    path = store / "tables" / f"{digest}.yaml"
    path.write_text(path.read_text().replace("1.0e-05", "1.5e-05"))
    Store(store).find(RATE).unlink()
    answer = invoke("run", 1, *TALLY, "--store", store, "--json")
    assert answer.status == 1
    (rate,) = [p for p in answer.document["products"] if p["identity"] == RATE]
    assert rate["status"] == "failed"
    assert rate["reason"].startswith(f"step rate: {path}: damaged, its content has the hash ")
    path.unlink()
    assert invoke("run", 1, *TALLY, "--store", store).status == 0


def test_unfinished_files_are_collected_when_they_are_old(store: Path) -> None:
    folder = store / "products" / "tally.rate" / "PJ01" / "pass"
    old, young = folder / ".a.nc.0123abcd.part", store / "runs" / ".b.json.0123abcd.part"
    for path in (old, young):
        path.write_bytes(b"12345")
    os.utime(old, (0, 0))
    assert Store(store).garbage(1) == [old]
    answer = invoke("store", "gc", "--keep-runs", 1, "--store", store, "--json")
    assert answer.document == {"files": 1, "bytes": 5}
    assert young.exists()
    assert not old.exists()
    shutil.rmtree(store / "work")
    assert invoke("store", "gc", "--keep-runs", 1, "--store", store, "--json").document == {"files": 0, "bytes": 0}
