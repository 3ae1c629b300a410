"""What fails is named and takes nothing else with it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from core_fixtures import made, product_bytes, request, run, statuses, write_dark

from pipeline.errors import InputError
from pipeline.runs.execute import InProcess
from pipeline.runs.record import exit_status
from pipeline.runs.run import carry_out, prepare, with_executor

GOOD, BAD, AFTER, WITHOUT = (f"faulty.{n}/PJ01" for n in ("good", "bad", "after", "without"))
ALL = ("faulty.good", "faulty.bad", "faulty.after", "faulty.without")


def faulty(raw: Path, store: Path, how: str = "raise") -> dict:
    return run(raw, store, "faulty", products=ALL, settings={"faulty.bad.how": how})


def reason(record: dict, identity: str) -> str:
    return next(p["reason"] for p in record["products"] if p["identity"] == identity)


def test_failed_blocked_and_done_without(faulty_raw: Path, tmp_path: Path) -> None:
    record = faulty(faulty_raw, tmp_path / "store")
    assert statuses(record) == {GOOD: "made", WITHOUT: "made", BAD: "failed", AFTER: "blocked"}
    assert reason(record, BAD) == "step bad: ZeroDivisionError: as told"
    assert reason(record, AFTER) == f"needs {BAD}, which failed"
    assert exit_status(record) == 1
    without = next(p for p in record["products"] if p["identity"] == WITHOUT)
    assert without["recipe"]["inputs"] == {"bad": None}
    assert not any((tmp_path / "store" / "work").glob("*/"))


def test_next_run_tries_again(faulty_raw: Path, tmp_path: Path) -> None:
    faulty(faulty_raw, tmp_path / "store")
    record = faulty(faulty_raw, tmp_path / "store")
    assert statuses(record) == {GOOD: "kept", WITHOUT: "kept", BAD: "failed", AFTER: "blocked"}


@pytest.mark.parametrize(("how", "words"), [("schema", "value_random is missing"), ("memory", "MemoryError: as told")])
def test_step_that_breaks_its_schema_or_memory(faulty_raw: Path, tmp_path: Path, how: str, words: str) -> None:
    record = faulty(faulty_raw, tmp_path / "store", how)
    assert statuses(record)[BAD] == "failed"
    assert words in reason(record, BAD)


# Files that cannot be used


def test_granule_that_cannot_be_opened(raw: Path, tmp_path: Path) -> None:
    data = raw / "TALLY" / "TLY_001_V01.TLY"
    data.write_bytes(data.read_bytes()[:-7])
    record = run(raw, tmp_path / "store")
    assert set(statuses(record)) == {"tally.rate/PJ01", "tally.dose/PJ01", "tally.histogram/PJ01/TLY_000"}
    assert [q["path"] for q in record["quarantined"]] == [str(data)]
    assert record["quarantined"][0]["reason"].startswith(f"{data}: has 7193 bytes, its label says 600 records")
    assert exit_status(record) == 1


def test_granule_that_cannot_be_read_is_set_aside(raw: Path, tmp_path: Path) -> None:
    """Its label is right, what is inside is not: found when it is read; the rest is made without it."""
    data = raw / "TALLY" / "TLY_001_V01.TLY"
    content = bytearray(data.read_bytes())
    content[100:110] = content[0:10]
    data.write_bytes(content)
    record = run(raw, tmp_path / "store")
    assert statuses(record) == {
        "tally.rate/PJ01": "made",
        "tally.dose/PJ01": "made",
        "tally.histogram/PJ01/TLY_000": "made",
        "tally.histogram/PJ01/TLY_001": "quarantined",
    }
    assert [q["path"] for q in record["quarantined"]] == [str(data)]
    assert "record 10: intervals do not follow one another" in record["quarantined"][0]["reason"]
    rate = next(p for p in record["products"] if p["type"] == "tally.rate")
    assert set(rate["recipe"]["raw"]) == {"TLY_000"}
    # The same as if the granule had never been there.
    data.unlink()
    data.with_suffix(".LBL").unlink()
    run(raw, tmp_path / "clean")
    assert product_bytes(tmp_path / "clean") == product_bytes(tmp_path / "store")


def test_only_granule_that_cannot_be_read(faulty_raw: Path, tmp_path: Path) -> None:
    path = faulty_raw / "FLT_1.TXT"
    path.write_text(path.read_text().strip() + " BAD\n")
    record = run(faulty_raw, tmp_path / "store", "faulty")
    assert statuses(record) == {GOOD: "quarantined"}
    assert reason(record, GOOD) == f"{path}, word 3: says that it is bad"
    assert [q["path"] for q in record["quarantined"]] == [str(path)]


def test_unreadable_companion(raw: Path, tmp_path: Path) -> None:
    (raw / "TALLY" / "TLY_000_V01.LBL").unlink()
    record = run(raw, tmp_path / "store")
    assert "has no label (TLY_000_V01.LBL)" in record["quarantined"][0]["reason"]
    assert "tally.histogram/PJ01/TLY_001" in made(record)


def test_reader_with_a_defect(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tally_instrument import raw as reader

    monkeypatch.setattr(reader, "_label", lambda path: {})
    with pytest.raises(InputError, match=r"reader of tally\.packed failed \(KeyError: 'START_SCLK'\)"):
        prepare(request(raw, tmp_path / "store"))


def test_file_of_another_pass_is_said(raw: Path, tmp_path: Path) -> None:
    wrong = dataclasses.replace(request(raw, tmp_path / "store"), pass_number=3)
    with pytest.raises(InputError, match="no raw data of PJ3 for tally; 2 granules belong to other passes"):
        prepare(wrong)


def test_label_that_says_a_year(raw: Path, tmp_path: Path) -> None:
    label = raw / "TALLY" / "TLY_000_V01.LBL"
    label.write_text(label.read_text().replace("INTERVALS = 600", "INTERVALS = 60000000"))
    assert "which no granule does" in run(raw, tmp_path / "store")["quarantined"][0]["reason"]


# Interruption


def test_interrupted_run_is_recorded_and_the_next_goes_on(raw: Path, tmp_path: Path) -> None:
    class Stops(InProcess):
        calls = 0

        def submit(self, function, *arguments):  # type: ignore[no-untyped-def]
            Stops.calls += 1
            if Stops.calls == 7:
                raise KeyboardInterrupt
            return super().submit(function, *arguments)

    store = tmp_path / "store"
    with pytest.raises(KeyboardInterrupt):
        carry_out(prepare(request(raw, store)), with_executor(Stops()))
    record = json.loads(next((store / "runs").iterdir()).read_bytes())
    assert record["ended"] == "interrupted"
    assert statuses(record)["tally.rate/PJ01"] == "made"
    assert statuses(record)["tally.dose/PJ01"] == "failed"
    again = run(raw, store)
    assert statuses(again)["tally.rate/PJ01"] == "kept"
    assert made(again) == set(statuses(again)) - {"tally.rate/PJ01"}
    run(raw, tmp_path / "undisturbed")
    assert product_bytes(store) == product_bytes(tmp_path / "undisturbed")


def test_keep_raw(raw: Path, tmp_path: Path) -> None:
    write_dark(raw)
    run(raw, tmp_path / "store", keep_raw=True)
    kept = sorted((tmp_path / "store" / "raw").iterdir())
    assert len(kept) == 5
    from pipeline.files import file_sha256

    assert all(file_sha256(f) == f.name for f in kept)
    run(raw, tmp_path / "store", keep_raw=True)


def test_engine_is_not_asked_for_nothing(raw: Path, store: Path) -> None:
    def never(*_: object) -> None:
        raise AssertionError("there was nothing to make")

    assert exit_status(carry_out(prepare(request(raw, store)), never)) == 0
