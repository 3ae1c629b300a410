"""Keys, and the reasons for making a product: one thing changed, exactly what depends on it is made."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from core_fixtures import CLOCK, START, made, product_bytes, reasons, request, run, statuses, write_dark, write_tally

import perijove
from calibration.library import Library
from calibration.tables import Table
from pipeline import registry
from pipeline.clock import Span
from pipeline.errors import CalibrationError, InputError, UsageError
from pipeline.passes import get_pass
from pipeline.runs import fingerprint
from pipeline.runs.keys import key_of, why
from pipeline.runs.run import prepare

RATE, DOSE, BACKGROUND = "tally.rate/PJ01", "tally.dose/PJ01", "tally.background/PJ01"
HISTOGRAMS = {"tally.histogram/PJ01/TLY_000", "tally.histogram/PJ01/TLY_001"}


def keys(record: dict) -> dict[str, str]:
    return {p["identity"]: p["key"] for p in record["products"]}


def overridden(tmp_path: Path, name: str, quantity: str, factor: float) -> Path:
    library = Library({"tally": registry.load("tally").tables}, None)
    et = get_pass(1).et
    table = library.context("default").select("tally", name, Span(et, et + 1))[0][0]
    return table.replace(**{quantity: table.values[quantity] * factor}).write(tmp_path / f"{name}.yaml")


def test_everything_is_made_once_and_then_kept(raw: Path, tmp_path: Path) -> None:
    first = run(raw, tmp_path / "store")
    assert statuses(first) == dict.fromkeys({RATE, DOSE} | HISTOGRAMS, "made")
    assert all(w["kind"] == "missing" for p in first["products"] for w in p["why"])
    second = run(raw, tmp_path / "store")
    assert set(statuses(second).values()) == {"kept"}
    assert keys(second) == keys(first)
    assert not reasons(second)


def test_plan_changes_nothing(raw: Path, store: Path, tmp_path: Path) -> None:
    absent = tmp_path / "absent"
    document = perijove.plan(1, raw=raw, store=absent, instruments=["tally"])
    assert {p["identity"] for p in document["make"]} == {RATE, DOSE} | HISTOGRAMS
    assert document["keep"] == 0
    assert not absent.exists()
    before = {f: f.stat().st_mtime_ns for f in store.rglob("*")}
    document = perijove.plan(1, store=store, instruments=["tally"], settings={"tally.rate.smooth": 3})
    assert {p["identity"] for p in document["make"]} == {RATE, DOSE}
    assert document["keep"] == 2
    assert {f: f.stat().st_mtime_ns for f in store.rglob("*")} == before


def test_keys_do_not_depend_on_the_place(raw: Path, store: Path, tmp_path: Path) -> None:
    first = run(raw, store)
    moved = tmp_path / "elsewhere" / "deep"
    moved.parent.mkdir()
    raw.rename(moved)
    second = run(moved, tmp_path / "other")
    assert keys(second) == keys(first)
    assert product_bytes(tmp_path / "other") == product_bytes(store)


def test_changed_table_remakes_what_reads_it(store: Path, tmp_path: Path) -> None:
    old = run(None, store)
    table = overridden(tmp_path, "factor", "dose", 2.0)
    document = perijove.plan(1, store=store, instruments=["tally"], tables=[table])
    assert [(p["identity"], [(w["kind"], w["name"]) for w in p["why"]]) for p in document["make"]] == [
        (DOSE, [("table", "tally.factor")])
    ]
    new = run(None, store, tables=(table,))
    assert made(new) == {DOSE}
    assert keys(new)[RATE] == keys(old)[RATE]
    assert run(None, store)["products"][0]["status"] == "kept", "the old one is still there"


def test_changed_table_upstream_is_an_input_downstream(raw: Path, store: Path, tmp_path: Path) -> None:
    new = run(raw, store, tables=(overridden(tmp_path, "dead_time", "tau", 2.0),))
    assert reasons(new) == {RATE: {("table", "tally.dead_time")}, DOSE: {("input", "rate")}}


def test_override_holds_at_all_times(raw: Path, tmp_path: Path) -> None:
    """The package's table changes inside the pass; a table given instead does not."""
    assert len(planned(raw, tmp_path, RATE).segments) == 4, "three of the grid, one more for the change"
    plan = prepare(request(raw, tmp_path / "s", tables=(overridden(tmp_path, "efficiency", "fraction", 1.1),))).plan()
    rate = next(p for p in plan.products if str(p.identity) == RATE)
    assert len(rate.segments) == 3
    assert [t.worst_pedigree for t, _ in rate.tables["efficiency"]] == ["override"]


def planned(raw: Path, tmp_path: Path, identity: str, **options: object):
    plan = prepare(request(raw, tmp_path / "nostore", **options)).plan()
    return next(p for p in plan.products if str(p.identity) == identity)


def test_parameter(raw: Path, store: Path) -> None:
    new = run(raw, store, settings={"tally.rate.correct": "nothing"})
    assert reasons(new) == {RATE: {("parameter", "correct")}, DOSE: {("input", "rate")}}
    change = next(p for p in new["products"] if p["identity"] == RATE)["why"][0]
    assert (change["old"], change["new"]) == ("dead time", "nothing")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"tally.rate.smoth": "1"}, "did you mean tally.rate.smooth"),
        ({"tally.rate.smooth": "wide"}, "tally.rate.smooth: 'wide' is no number"),
        ({"tally.rate.correct": "all"}, "not one of dead time, nothing"),
    ],
)
def test_wrong_parameter(raw: Path, tmp_path: Path, setting: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        prepare(request(raw, tmp_path / "store", settings=setting))


def test_changed_raw_file(raw: Path, store: Path) -> None:
    write_tally(raw, seed=1)
    new = run(raw, store)
    assert reasons(new)[RATE] == {("raw", "TLY_000"), ("raw", "TLY_001")}
    assert reasons(new)["tally.histogram/PJ01/TLY_000"] == {("raw", "TLY_000")}


def test_label_alone_is_raw_too(raw: Path, store: Path) -> None:
    label = raw / "TALLY" / "TLY_001_V01.LBL"
    label.write_text(label.read_text() + "NOTE = corrected\n")
    assert made(run(raw, store)) == {RATE, DOSE, "tally.histogram/PJ01/TLY_001"}


def test_geometry(raw: Path, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.geometry import Geometry

    monkeypatch.setattr(Geometry, "values_hash", lambda self, span: "other")
    new = run(raw, store)
    assert reasons(new) == {RATE: {("geometry", "values")}, DOSE: {("geometry", "values"), ("input", "rate")}}


def test_code(raw: Path, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part = fingerprint.code_part
    monkeypatch.setattr(
        "pipeline.runs.plan.code_part",
        lambda i, s: part(i, s) | ({"version": 2} if s.name == "dose" else {}),
    )
    new = run(raw, store)
    assert reasons(new) == {DOSE: {("code", "version")}}


def test_deleted_product_is_missing(raw: Path, store: Path) -> None:
    first = run(raw, store)
    Path(next(p["path"] for p in first["products"] if p["identity"] == RATE)).unlink()
    new = run(raw, store)
    assert reasons(new) == {RATE: {("missing", RATE)}}
    assert keys(new) == keys(first)


def test_reasons_of_every_part() -> None:
    old = {"product": "x.y/PJ01", "schema": 1, "raw": {"a": 1}, "tables": {}, "window": "all"}
    new = {"product": "x.y/PJ01", "schema": 2, "raw": {"a": 1, "b": 2}, "tables": {}, "window": [0.0, 1.0]}
    assert why(new, old) == [
        {"kind": "raw", "name": "b", "old": None, "new": 2},
        {"kind": "parameter", "name": "window", "old": "all", "new": [0.0, 1.0]},
        {"kind": "code", "name": "schema", "old": 1, "new": 2},
    ]
    assert key_of(old) != key_of(new)


# Windows and segments


def test_window_takes_whole_segments_and_enters_the_key(raw: Path, tmp_path: Path) -> None:
    whole = planned(raw, tmp_path, RATE)
    assert whole.recipe["window"] == "all"
    wide, narrow = (planned(raw, tmp_path, RATE, window=w) for w in ("2h", "2m"))
    assert wide.key == whole.key, "it holds all there is"
    assert narrow.key != whole.key
    assert set(narrow.segments) < set(whole.segments)
    assert narrow.recipe["window"] == [narrow.segments[0].start, narrow.segments[-1].stop]
    assert narrow.span.start <= get_pass(1).et - 60
    assert narrow.span.stop >= get_pass(1).et + 60


def test_granules_outside_the_window_are_left_out(raw: Path, tmp_path: Path) -> None:
    from tally_instrument.raw import write_packed

    write_packed(raw / "TLY_900_V01.TLY", CLOCK, START + 7200, np.full((60, 4), 7, np.uint16))
    record = run(raw, tmp_path / "store", window="1h")
    assert statuses(record) == dict.fromkeys({RATE, DOSE} | HISTOGRAMS, "made")
    with pytest.raises(UsageError, match="no window 'europa' in PJ01"):
        run(raw, tmp_path / "store", window="europa")


def test_nothing_inside_the_window(tmp_path: Path) -> None:
    from tally_instrument.raw import write_packed

    write_packed(tmp_path / "raw" / "TLY_900_V01.TLY", CLOCK, START + 7200, np.full((60, 4), 7, np.uint16))
    with pytest.raises(InputError, match="no data in the window '1h'"):
        run(tmp_path / "raw", tmp_path / "store", window="1h")


def test_gaps_hold_no_segment(raw: Path, tmp_path: Path) -> None:
    from tally_instrument.raw import write_packed

    write_packed(raw / "TLY_900_V01.TLY", CLOCK, START + 72000, np.full((60, 4), 7, np.uint16))
    segments = planned(raw, tmp_path, RATE).segments
    assert len(segments) in (5, 6)
    assert sum(s.duration for s in segments) < 4000


# Versions and forms


def test_highest_version_is_used(raw: Path, tmp_path: Path) -> None:
    folder = raw / "TALLY"
    for suffix in ("TLY", "LBL"):
        (folder / f"TLY_000_V02.{suffix}").write_bytes((folder / f"TLY_000_V01.{suffix}").read_bytes())
    record = run(raw, tmp_path / "store")
    assert [(s["granule"], s["version"], s["by"]) for s in record["superseded"]] == [("TLY_000", 1, 2)]
    used = next(p for p in record["products"] if p["identity"] == RATE)["recipe"]["raw"]
    assert set(used) == {"TLY_000", "TLY_001"}


def text_form(raw: Path) -> Path:
    from tally_instrument import raw as form

    granules = [form.open_packed(p, CLOCK) for p in sorted((raw / "TALLY").glob("*.TLY"))]
    dataset = form.read_packed(granules, None, CLOCK)
    return form.write_text(raw / "TLY_DAY.CSV", dataset["et"].values, dataset["counts"].values)


def test_best_form_is_used_and_source_chooses(raw: Path, tmp_path: Path) -> None:
    text_form(raw)
    record = run(raw, tmp_path / "store")
    rate = next(p for p in record["products"] if p["identity"] == RATE)
    assert rate["recipe"]["code"]["step"] == "rate"
    assert [(s["granule"], s["by"]) for s in record["superseded"]] == [("TLY_DAY", "tally.packed")]
    chosen = run(raw, tmp_path / "store", source="tally.text")
    rate = next(p for p in chosen["products"] if p["identity"] == RATE)
    assert rate["recipe"]["code"]["step"] == "rate_of_text"
    assert {("code", "step"), ("raw", "TLY_DAY")} <= reasons(chosen)[RATE]


def test_source_that_is_not_there(raw: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean"):
        prepare(request(raw, tmp_path / "store", source="tally.texts"))
    with pytest.raises(InputError, match=r"no raw data of PJ1 for tally\.text"):
        prepare(request(raw, tmp_path / "store", source="tally.text"))


# Inputs


def test_optional_input_is_a_flag_and_part_of_the_key(raw: Path, store: Path) -> None:
    from pipeline.dataset.quality import Quality

    without = run(raw, store)
    dose = perijove.open_product(DOSE, store=store)
    assert (dose["quality"].values & int(Quality.INPUT_MISSING)).all()
    write_dark(raw)
    complete = run(raw, store)
    assert reasons(complete) == {BACKGROUND: {("missing", BACKGROUND)}, DOSE: {("input", "background")}}
    assert keys(complete)[DOSE] != keys(without)[DOSE]
    dose = perijove.open_product(DOSE, store=store)
    assert not (dose["quality"].values & int(Quality.INPUT_MISSING)).any()


def test_on_request(raw: Path, tmp_path: Path) -> None:
    record = run(raw, tmp_path / "store", products=("tally.total",))
    assert made(record) == {"tally.total/PJ01/A", "tally.total/PJ01/B"}


def test_product_makes_what_it_needs(raw: Path, tmp_path: Path) -> None:
    assert made(run(raw, tmp_path / "store", products=("tally.dose",))) == {RATE, DOSE}


def test_product_without_raw_data_is_blocked_when_named(raw: Path, tmp_path: Path) -> None:
    record = run(raw, tmp_path / "store", products=("tally.background", "tally.rate"))
    assert statuses(record) == {RATE: "made", BACKGROUND: "blocked"}
    reason = next(p for p in record["products"] if p["identity"] == BACKGROUND)["reason"]
    assert reason == "there are no raw data in tally.dark"


def test_product_whose_required_input_has_no_raw_data_is_left_out(raw: Path, tmp_path: Path) -> None:
    write_dark(raw)  # which the dose can use, but not be made of
    for path in (raw / "TALLY").glob("TLY_0*"):
        path.unlink()
    assert statuses(run(raw, tmp_path / "store")) == {BACKGROUND: "made"}


def test_table_that_does_not_hold_blocks(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from calibration.library import Context

    select = Context.select

    def missing(self: Context, folder: str, name: str, span: Span) -> list[tuple[Table, Span]]:
        if name == "dead_time":
            raise CalibrationError("no table tally.dead_time holds")
        return select(self, folder, name, span)

    monkeypatch.setattr(Context, "select", missing)
    record = run(raw, tmp_path / "store")
    assert statuses(record) == dict.fromkeys(HISTOGRAMS, "made") | {RATE: "blocked", DOSE: "blocked"}
    assert {p["identity"]: p["reason"] for p in record["products"] if p["status"] == "blocked"} == {
        RATE: "no table tally.dead_time holds",
        DOSE: f"needs {RATE}, which is blocked",
    }
