"""Deliveries: taken when whole, at rest and as their checksums say; late, twice, replaced, damaged."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest
from core_fixtures import CLOCK, made, product_bytes, run, statuses, write_tally

from pipeline.errors import InputError
from pipeline.runs.arrivals import Arrivals, Delivery, deliveries, newest
from pipeline.runs.store import Store

FIRST, SECOND = "TLY_000_V01", "TLY_001_V01"


@pytest.fixture
def incoming(tmp_path: Path) -> Path:
    folder = tmp_path / "incoming"
    folder.mkdir()
    return folder


def watch(incoming: Path, tmp_path: Path, patience: float = 86400.0) -> Arrivals:
    return Arrivals(incoming, Store(tmp_path / "arrived-store").prepare(), CLOCK, patience)


def deliver(raw: Path, incoming: Path, *names: str) -> None:
    (incoming / "TALLY").mkdir(exist_ok=True)
    for name in names:
        shutil.copy(raw / "TALLY" / name, incoming / "TALLY" / name)


def look(arrivals: Arrivals) -> Delivery | None:
    """Twice: what the first look sees must be at rest at the second."""
    arrivals.look()
    return arrivals.look()


def granules(delivery: Delivery | None) -> list[str]:
    assert delivery is not None
    return [g["granule"] for g in delivery.granules]


def test_taken_when_whole_and_at_rest(raw: Path, incoming: Path, tmp_path: Path) -> None:
    arrivals = watch(incoming, tmp_path)
    deliver(raw, incoming, FIRST + ".TLY")
    assert look(arrivals) is None, "its label is missing"
    deliver(raw, incoming, FIRST + ".LBL")
    assert arrivals.look() is None, "not at rest yet"
    taken = arrivals.look()
    assert granules(taken) == ["TLY_000"]
    assert taken is not None
    assert (taken.number, taken.passes) == (1, (1,))
    assert look(arrivals) is None, "it was taken already"
    place = arrivals.store.root / "arrived" / "000001" / "TALLY" / (FIRST + ".TLY")
    assert place.read_bytes() == (raw / "TALLY" / (FIRST + ".TLY")).read_bytes()
    assert arrivals.refused == {}


def test_file_that_grows_waits(raw: Path, incoming: Path, tmp_path: Path) -> None:
    arrivals = watch(incoming, tmp_path)
    deliver(raw, incoming, FIRST + ".LBL")
    content = (raw / "TALLY" / (FIRST + ".TLY")).read_bytes()
    for size in (2000, 5000):
        (incoming / "TALLY" / (FIRST + ".TLY")).write_bytes(content[:size])
        assert look(arrivals) is None
    (incoming / "TALLY" / (FIRST + ".TLY")).write_bytes(content)
    assert arrivals.look() is None
    assert granules(arrivals.look()) == ["TLY_000"]


def test_what_stays_incomplete_is_given_up(raw: Path, incoming: Path, tmp_path: Path) -> None:
    arrivals = watch(incoming, tmp_path, patience=0.0)
    deliver(raw, incoming, FIRST + ".LBL", FIRST + ".TLY")
    data = incoming / "TALLY" / (FIRST + ".TLY")
    os.truncate(data, 5000)
    assert look(arrivals) is None
    assert arrivals.refused == {data: f"{data}: has 5000 bytes, its label says 600 records of 12 bytes"}
    deliver(raw, incoming, FIRST + ".TLY")
    assert granules(look(arrivals)) == ["TLY_000"]
    assert arrivals.refused == {}


@pytest.mark.parametrize("kind", ["md5", "sha256"])
def test_checksum_that_does_not_agree(raw: Path, incoming: Path, tmp_path: Path, kind: str) -> None:
    """One bit: no size says so, only the manifest. The good copy that comes after it is taken."""
    arrivals = watch(incoming, tmp_path)
    deliver(raw, incoming, FIRST + ".LBL", FIRST + ".TLY", SECOND + ".LBL", SECOND + ".TLY")
    lines = [
        f"{hashlib.new(kind, (incoming / 'TALLY' / name).read_bytes()).hexdigest()}  TALLY/{name}"
        for name in (FIRST + ".TLY", FIRST + ".LBL", SECOND + ".TLY")
    ]
    (incoming / f"delivery.{kind}").write_text("\n".join(lines) + "\n")
    data = incoming / "TALLY" / (FIRST + ".TLY")
    content = bytearray(data.read_bytes())
    content[700] ^= 4
    data.write_bytes(content)
    assert granules(look(arrivals)) == ["TLY_001"]
    (reason,) = arrivals.refused.values()
    assert reason.startswith(f"{data}: damaged, its checksum is ")
    deliver(raw, incoming, FIRST + ".TLY")
    assert granules(look(arrivals)) == ["TLY_000"]
    assert arrivals.refused == {}


def test_checksum_of_the_label(raw: Path, incoming: Path, tmp_path: Path) -> None:
    arrivals = watch(incoming, tmp_path)
    deliver(raw, incoming, FIRST + ".LBL", FIRST + ".TLY")
    label = incoming / "TALLY" / (FIRST + ".LBL")
    label.write_text(label.read_text() + f'MD5_CHECKSUM = "{"0" * 32}"\n')
    assert look(arrivals) is None
    (reason,) = arrivals.refused.values()
    assert "0" * 32 in reason


@pytest.mark.parametrize("path", ["../outside", "/etc/passwd", "TALLY/../../outside"])
def test_manifest_that_leads_out(raw: Path, incoming: Path, tmp_path: Path, path: str) -> None:
    arrivals = watch(incoming, tmp_path)
    (incoming / "x.md5").write_text(f"{'0' * 32}  {path}\n")
    look(arrivals)
    assert list(arrivals.refused.values()) == [f"{incoming / 'x.md5'}, line 1: {path!r} lies outside the folder"]


def test_link_out_of_the_folder_is_not_taken(raw: Path, incoming: Path, tmp_path: Path) -> None:
    arrivals = watch(incoming, tmp_path)
    for suffix in (".LBL", ".TLY"):
        (incoming / (FIRST + suffix)).symlink_to(raw / "TALLY" / (FIRST + suffix))
    assert look(arrivals) is None
    deliver(raw, incoming, FIRST + ".LBL")
    (incoming / "TALLY" / (FIRST + ".TLY")).symlink_to(raw / "TALLY" / (FIRST + ".TLY"))
    assert look(arrivals) is None


def test_late_twice_and_replaced(raw: Path, incoming: Path, tmp_path: Path) -> None:
    """Only what depends on a delivery is made again; what came twice changes nothing; a new watch remembers all."""
    arrivals = watch(incoming, tmp_path)
    store = arrivals.store.root
    deliver(raw, incoming, FIRST + ".LBL", FIRST + ".TLY")
    assert granules(look(arrivals)) == ["TLY_000"]
    record = run(store / "arrived", store)
    assert record["delivery"] == 1
    assert made(record) == {"tally.rate/PJ01", "tally.dose/PJ01", "tally.histogram/PJ01/TLY_000"}
    # Late.
    deliver(raw, incoming, SECOND + ".LBL", SECOND + ".TLY")
    arrivals = watch(incoming, tmp_path)
    assert granules(look(arrivals)) == ["TLY_001"]
    record = run(store / "arrived", store)
    assert statuses(record)["tally.histogram/PJ01/TLY_000"] == "kept"
    assert made(record) == {"tally.rate/PJ01", "tally.dose/PJ01", "tally.histogram/PJ01/TLY_001"}
    whole = product_bytes(store)
    # Twice, under another path.
    (incoming / "AGAIN").mkdir()
    for suffix in (".LBL", ".TLY"):
        shutil.copy(raw / "TALLY" / (SECOND + suffix), incoming / "AGAIN" / (SECOND + suffix))
    assert look(arrivals) is None
    # Replaced, without a new version in its name.
    other = write_tally(tmp_path / "other", seed=1)
    deliver(other, incoming, SECOND + ".LBL", SECOND + ".TLY")
    (third,) = look(arrivals).granules  # type: ignore[union-attr]
    assert (third["granule"], third["replaces"]) == ("TLY_001", True)
    record = run(store / "arrived", store)
    assert made(record) == {"tally.rate/PJ01", "tally.dose/PJ01", "tally.histogram/PJ01/TLY_001"}
    assert [s["path"] for s in record["superseded"]] == [str(store / "arrived/000002/TALLY" / (SECOND + ".TLY"))]
    assert whole.items() <= product_bytes(store).items(), "what was made before is still there"
    assert newest(arrivals.store, 1) == 3
    assert newest(arrivals.store, 2) == 0
    assert [d.number for d in deliveries(arrivals.store)] == [1, 2, 3]


def test_replacement_that_cannot_be_read(raw: Path, incoming: Path, tmp_path: Path) -> None:
    """Its label fits, so that it is taken; the run sets it aside and the delivery before it serves again."""
    arrivals = watch(incoming, tmp_path)
    deliver(raw, incoming, FIRST + ".LBL", FIRST + ".TLY", SECOND + ".LBL", SECOND + ".TLY")
    look(arrivals)
    store = arrivals.store.root
    run(store / "arrived", store)
    whole = product_bytes(store)
    data = incoming / "TALLY" / (SECOND + ".TLY")
    data.write_bytes(bytes(reversed(data.read_bytes())))
    assert granules(look(arrivals)) == ["TLY_001"]
    record = run(store / "arrived", store)
    (bad,) = record["quarantined"]
    assert bad["path"] == str(store / "arrived/000002/TALLY" / (SECOND + ".TLY"))
    assert set(statuses(record).values()) == {"kept"}
    assert product_bytes(store) == whole


def test_killed_while_taking(raw: Path, incoming: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is there, or all."""
    arrivals = watch(incoming, tmp_path)
    deliver(raw, incoming, FIRST + ".LBL", FIRST + ".TLY")
    left = arrivals.store.root / "work" / "arrival-0000"
    (left / "TALLY").mkdir(parents=True)
    (left / "TALLY" / (FIRST + ".TLY")).write_bytes(b"half")
    assert granules(look(arrivals)) == ["TLY_000"]
    assert not left.exists()
    record = arrivals.store.root / "arrived" / "000001" / "delivery.json"
    assert json.loads(record.read_text())["delivery"] == 1


def test_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder of arrivals"):
        watch(tmp_path / "no", tmp_path)
