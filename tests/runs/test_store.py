"""The folder that is the only state."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from core_fixtures import CLOCK, made, run

from pipeline.clock import Sclk
from pipeline.errors import InputError, OtherFormatError, StoreError, UsageError
from pipeline.instrument import Granule, RawFormat
from pipeline.runs import store as module
from pipeline.runs.granules import Opener
from pipeline.runs.store import Identity, Store


def test_identity_text() -> None:
    for text in ("mag.field/PJ01", "junocam.radiance/PJ43/JNCE_2022186_43C00001", "x.y/PJ07/a/b"):
        assert str(Identity.parse(text)) == text
    for text in ("mag.field", "mag.field/1", "PJ01/mag.field", ""):
        with pytest.raises(UsageError, match=r"one looks like mag\.field/PJ01"):
            Identity.parse(text)


def test_reading_makes_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path / "absent")
    assert list(store.products()) == []
    assert list(store.runs()) == []
    with pytest.raises(UsageError, match="no run in"):
        store.run(None)
    with pytest.raises(UsageError, match="nothing was made there yet"):
        store.find("tally.rate/PJ01")
    assert not store.root.exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_store_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir(mode=0o555)
    with pytest.raises(StoreError, match="cannot be written: Permission denied"):
        Store(tmp_path / "store").prepare()


def test_store_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("")
    with pytest.raises(StoreError, match="cannot be written"):
        Store(tmp_path / "store").prepare()


def test_find(store: Path) -> None:
    there = Store(store)
    rate = there.find("tally.rate/PJ01")
    key = json.loads(sorted((store / "runs").iterdir())[0].read_bytes())["products"][0]["key"]
    assert there.find(key) == there.find(key[:8]) == there.find(str(rate)) == rate
    with pytest.raises(UsageError, match=r"did you mean tally\.rate/PJ01"):
        there.find("tally.rates/PJ01")
    with pytest.raises(UsageError, match="no product has a key that begins 00000000"):
        there.find("00000000")


def test_store_may_be_moved(store: Path, raw: Path, tmp_path: Path) -> None:
    moved = store.rename(tmp_path / "moved")
    assert Store(moved).find("tally.rate/PJ01").is_relative_to(moved)
    assert not made(run(raw, moved))
    assert Store(moved).garbage(1) == []


def test_run_by_its_beginning(store: Path, raw: Path) -> None:
    run(raw, store)
    names = sorted(p.stem for p in (store / "runs").iterdir())
    there = Store(store)
    assert there.run(None)["run"] == names[-1]
    assert there.run(names[0])["run"] == names[0]
    with pytest.raises(UsageError, match="several runs begin"):
        there.run(names[0][:2])
    with pytest.raises(UsageError, match="no run begins"):
        there.run("x")


def test_damaged_record_is_named(store: Path) -> None:
    record = next((store / "runs").iterdir())
    record.write_text(record.read_text()[:-100])
    with pytest.raises(StoreError, match=f"{record}: damaged run record"):
        Store(store).run(None)


# Catalogue


def test_hashes_are_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "raw"
    file.write_bytes(b"1")
    digest = Store(tmp_path / "store").prepare().sha256(file)
    with monkeypatch.context() as patch:
        patch.setattr(module, "file_sha256", lambda path: pytest.fail("hashed again"))
        assert Store(tmp_path / "store").sha256(file) == digest
    file.write_bytes(b"2")
    assert Store(tmp_path / "store").sha256(file) != digest
    file.unlink()
    with pytest.raises(InputError, match="cannot be read"):
        Store(tmp_path / "store").sha256(file)


def test_file_of_another_format_is_remembered(tmp_path: Path) -> None:
    """Until it changes; what is wrong otherwise is looked at again, since it may be about files beside it."""
    file, opened = tmp_path / "x.txt", []
    file.write_text("b")

    def opener(path: Path, clock: Sclk) -> Granule:
        opened.append(path.read_text())
        if opened[-1] == "b":
            raise OtherFormatError(path, "is a b")
        raise InputError(path, "is broken")

    form = RawFormat("tally.a", "a", ".*", opener, lambda *_: pytest.fail("never read"))
    store = Store(tmp_path / "store").prepare()

    def refused() -> str:
        one = Opener(store, CLOCK)
        with pytest.raises(InputError) as caught:
            one.open(form, file)
        one.remember()
        assert caught.value.path == file
        return caught.value.reason

    assert [refused(), refused()] == ["is a b", "is a b"]
    assert opened == ["b"]
    file.write_text("c, which is longer")
    assert [refused(), refused()] == ["is broken", "is broken"]
    assert len(opened) == 3


@pytest.mark.parametrize("damage", [b"no database at all, but long enough to be looked at" * 9, b""])
def test_catalogue_is_rebuilt(store: Path, raw: Path, damage: bytes) -> None:
    catalogue = store / "catalogue.sqlite"
    catalogue.write_bytes(damage)
    assert not made(run(raw, store))
    with sqlite3.connect(catalogue) as database:
        assert database.execute("select count(*) from raw").fetchone() == (4,)


def test_catalogue_is_never_asked_for_existence(store: Path, raw: Path) -> None:
    (store / "catalogue.sqlite").unlink()
    product = Store(store).find("tally.dose/PJ01")
    product.unlink()
    assert made(run(raw, store)) == {"tally.dose/PJ01"}


# Lease


def test_second_run_of_a_pass_waits(tmp_path: Path) -> None:
    store = Store(tmp_path / "store").prepare()
    heard: list[str] = []
    entered = threading.Event()

    def second() -> None:
        with Store(tmp_path / "store").lease(1, heard.append):
            entered.set()

    with store.lease(1), store.lease(2):
        thread = threading.Thread(target=second)
        thread.start()
        assert not entered.wait(0.3)
        assert heard == [str(os.getpid())]
    thread.join(10)
    assert entered.is_set()


def test_lease_of_a_dead_process_is_free(tmp_path: Path) -> None:
    code = (
        "import perijove, os; from pathlib import Path; from pipeline.runs.store import Store\n"
        f"with Store(Path({str(tmp_path)!r})).prepare().lease(1): os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 9
    with Store(tmp_path).lease(1, lambda holder: pytest.fail(f"waits for {holder}")):
        pass


# Housekeeping


def test_garbage(store: Path, raw: Path) -> None:
    old = Store(store).find("tally.rate/PJ01")
    new = run(raw, store, settings={"tally.rate.smooth": "3"})
    abandoned = store / "work" / "abc"
    abandoned.mkdir()
    (abandoned / "00000.nc").write_bytes(b"1234")
    there = Store(store).prepare()
    assert there.garbage(2) == [abandoned]
    files, freed = there.collect(1)
    assert not old.exists()
    assert not abandoned.exists()
    assert files == 3
    assert freed > 1000
    assert not made(run(raw, store, settings={"tally.rate.smooth": "3"}))
    assert all(Path(p["path"]).exists() for p in new["products"])
    there.collect(0)
    assert not list(there.products())
    assert list((store / "tables").iterdir())
    assert len(list(there.runs())) == 3


def test_nothing_is_collected_while_a_run_goes_on(store: Path) -> None:
    there = Store(store).prepare()
    with there.lease(1), pytest.raises(StoreError, match="a run of PJ01 goes on"):
        Store(store).collect(0)


def test_size(store: Path) -> None:
    size = Store(store).size()
    assert size["products"] == sum(p.stat().st_size for p in (store / "products").rglob("*.nc"))
    assert size["raw"] == 0 if "raw" in size else True
    shutil.rmtree(store)
    assert Store(store).size() == {}
