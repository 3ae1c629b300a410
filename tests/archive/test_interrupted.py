"""Exports that end before their end, or may not begin: what is there is whole, what is not is clearly none, and the
next export ends right.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from archive_world import World, as_another_pass, edit, files, made_bundle

from pipeline.archive.check import check
from pipeline.archive.export import Options, archive
from pipeline.archive.place import folder_aside
from pipeline.errors import InputError, StoreError
from pipeline.runs.store import Store

ROOT = Path(__file__).resolve().parents[2]
FULL = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))"  # no file may become larger
DIE = "(lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL))"
KILLED = {
    "among the products": f"import pipeline.archive.products as p; p.trajectory = {DIE}",
    "before the manifest": f"import pipeline.archive.export as e; e.manifest = {DIE}",
    "before the rename": f"import pathlib; pathlib.Path.replace = {DIE}",
}


def exported(world: World, out: Path, fault: str, *options: str) -> subprocess.CompletedProcess[str]:
    """An export of the magnetometer in a process of its own that something happens to."""
    code = f"import perijove, os, signal; {fault}; perijove.main()"
    words = ("archive", "--store", world.store, "--out", out, "--instrument", "mag", *options)
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, words)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


def again(world: World, out: Path) -> None:
    """The next export gives the bundle that an undisturbed one gives, and leaves nothing else behind."""
    archive(Store(world.store), None, Options(out, instruments=("mag",)))
    [bundle] = [p for p in out.iterdir() if p.is_dir()]
    assert files(bundle) == files(world.bundle("mag"))
    assert sorted(p.name for p in out.iterdir()) == [bundle.name, f"{bundle.name}.md5"]
    subprocess.run(["md5sum", "--quiet", "-c", f"{bundle.name}.md5"], cwd=out, check=True)


@pytest.mark.parametrize("form", ["pds4", "pds3"])
def test_a_full_disk_is_told_and_leaves_nothing(form: str, world: World, tmp_path: Path) -> None:
    result = exported(world, tmp_path / "out", FULL, "--format", form)
    assert result.returncode == 3, result.stderr
    assert "cannot be written: File too large" in " ".join(result.stderr.split())
    assert list((tmp_path / "out").iterdir()) == []
    again(world, tmp_path / "out")


@pytest.mark.parametrize("when", KILLED)
def test_what_a_killed_export_leaves_is_no_bundle_and_goes_with_the_next(
    when: str, world: World, tmp_path: Path
) -> None:  # fmt: skip
    assert exported(world, tmp_path, KILLED[when]).returncode == -signal.SIGKILL
    left = [p.name for p in tmp_path.iterdir() if p.is_dir()]
    assert left
    assert all(re.fullmatch(r"\.perijove_mag_simulated\.\w+\.part", name) for name in left)
    with pytest.raises(InputError, match="holds no bundle"):
        check(tmp_path, None, None)
    again(world, tmp_path)


def test_an_export_that_is_at_work_is_left_alone(tmp_path: Path) -> None:
    target = tmp_path / "bundle"
    with ExitStack() as at_work:
        slower = at_work.enter_context(folder_aside(target))
        (slower / "mine").write_text("slower")
        with folder_aside(target) as faster:
            (faster / "mine").write_text("faster")
        assert (slower / "mine").read_text() == "slower"
        with pytest.raises(StoreError, match="cannot be written"):
            at_work.close()
    assert (target / "mine").read_text() == "faster"
    assert list(tmp_path.iterdir()) == [target]


def test_what_is_in_the_way_is_told_before_anything_is_written(world: World, tmp_path: Path) -> None:
    mine = tmp_path / "out" / "perijove_mag_simulated"
    mine.mkdir(parents=True)
    with pytest.raises(StoreError, match="perijove_mag_simulated: there already"):
        archive(Store(world.store), None, Options(tmp_path / "out"))  # jiram, then mag
    assert list((tmp_path / "out").iterdir()) == [mine]
    assert not list(mine.iterdir())


def test_a_bundle_whose_manifest_cannot_be_written_is_none(store: Path, tmp_path: Path) -> None:
    (tmp_path / "perijove_tally_simulated.md5").mkdir()
    with pytest.raises(StoreError, match=r"md5 cannot be written"):
        made_bundle(store, tmp_path)
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith((".", "perijove"))] == [
        "perijove_tally_simulated.md5"
    ]


def test_a_place_that_cannot_be_written_is_told(store: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for place in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/perijove")):
        with pytest.raises(StoreError, match="cannot be written"):
            made_bundle(store, place)
    if os.geteuid():  # root may write everywhere
        closed = tmp_path / "closed"
        closed.mkdir(mode=0o500)
        with pytest.raises(StoreError, match="cannot be written: Permission denied"):
            made_bundle(store, closed)


def test_a_bundle_of_another_instrument_is_no_earlier_version(world: World, store: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is urn:nasa:pds:perijove_mag_simulated, no earlier version of .*tally"):
        made_bundle(store, tmp_path / "out", previous=world.bundle("mag"))
    assert not list((tmp_path / "out").iterdir() if (tmp_path / "out").exists() else ())


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [("<version_id>1.0", "<version_id>first", "'first', which is no version"), ("</title>", "", "no XML")],
)
def test_an_earlier_label_that_says_nothing_is_named(
    old: str, new: str, why: str, label: Path, bundle: Path, store: Path, tmp_path: Path
) -> None:  # fmt: skip
    edit(label, old, new)
    with pytest.raises(InputError, match=rf"rate_pj01\.xml.*{why}"):
        made_bundle(store, tmp_path / "out", previous=bundle)


def test_an_instrument_that_is_new_to_an_archive_begins(
    world: World, bundle: Path, store: Path, tmp_path: Path
) -> None:  # fmt: skip
    assert files(made_bundle(store, tmp_path / "out", previous=world.bundles)) == files(bundle)


def test_damage_of_an_earlier_export_is_not_carried_on(bundle: Path, store: Path, tmp_path: Path) -> None:
    as_another_pass(bundle)
    data = bundle / "data_calibrated" / "pj00" / "rate_pj00.dat"
    content = data.read_bytes()
    data.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(InputError, match=r"rate_pj00\.dat.*not the file that its label describes"):
        made_bundle(store, tmp_path / "new", previous=bundle)
    data.unlink()
    with pytest.raises(InputError, match=r"rate_pj00\.dat.*is not there"):
        made_bundle(store, tmp_path / "new", previous=bundle)
    data.write_bytes(content)
    new = made_bundle(store, tmp_path / "new", previous=bundle)
    assert (new / "data_calibrated" / "pj00" / "rate_pj00.dat").read_bytes() == content
