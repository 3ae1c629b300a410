"""The face for notebooks: everything it hands out, and that it makes the same bytes as the command."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from core_fixtures import START, environment, run, statuses, write_dark, write_faulty

import perijove
from calibration.tables import Table
from pipeline.clock import Span, parse_utc
from pipeline.dataset import hdf5
from pipeline.errors import CalibrationError, InputError, StoreError, UsageError
from pipeline.files import file_sha256
from pipeline.passes import get_pass
from pipeline.runs.store import Store
from pipeline.scene import Scene

RATE, DOSE = "tally.rate/PJ01", "tally.dose/PJ01"
NOON = "2016-08-27T12:49:00"


def test_importing_costs_nothing() -> None:
    code = "import perijove, sys; print(' '.join({n.partition('.')[0] for n in sys.modules}))"
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment(), check=True, timeout=60
    )
    assert not {"numpy", "xarray", "h5py", "prefect", "distributed", "click", "rich"} & set(process.stdout.split())


# Looking


def test_open_raw(raw: Path) -> None:
    path = raw / "TALLY" / "TLY_001_V01.TLY"
    dataset = perijove.open_raw(path)
    assert isinstance(dataset, xr.Dataset)
    assert dataset["counts"].dtype == np.uint16
    stored = np.fromfile(path, np.dtype([("interval", ">u4"), ("counts", ">u2", (4,))]))["counts"]
    np.testing.assert_array_equal(dataset["counts"].values, stored)
    assert dataset["et"].values[0] == pytest.approx(START + 600, abs=0.01)
    assert "counts" in repr(dataset)
    xr.testing.assert_identical(perijove.open_raw(str(path)), dataset)


def test_open_raw_of_what_is_none(raw: Path, tmp_path: Path) -> None:
    label = raw / "TALLY" / "TLY_001_V01.LBL"
    with pytest.raises(InputError, match=f"{label}: no instrument knows a raw file of this name"):
        perijove.open_raw(label)
    with pytest.raises(InputError, match="there is no such file"):
        perijove.open_raw(tmp_path / "absent.TLY")
    label.unlink()
    with pytest.raises(InputError, match=r"TLY_001_V01\.TLY: has no label"):
        perijove.open_raw(label.with_suffix(".TLY"))


def test_open_product_by_any_name(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = Store(store).find(RATE)
    dataset = perijove.open_product(RATE, store=store)
    key = dataset.attrs["product_key"]
    for name in (key, key[:8], str(path), path):
        xr.testing.assert_identical(perijove.open_product(name, store=store), dataset)
    monkeypatch.setenv("PERIJOVE_STORE", str(store))
    xr.testing.assert_identical(perijove.open_product(RATE), dataset)
    assert dataset["time"].dtype == "datetime64[ns]"
    assert (dataset["rate"].attrs["units"], dataset["rate"].dims) == ("1/s", ("et", "detector"))
    assert {"rate_random", "rate_systematic", "quality"} <= set(dataset.data_vars)
    for words in (RATE, "rate_random", "sclk", "Particle rates"):
        assert words in repr(dataset)


def test_open_product_of_what_is_none(store: Path) -> None:
    with pytest.raises(UsageError, match=r"no product tally\.rate/PJ02 .* did you mean tally\.rate/PJ01"):
        perijove.open_product("tally.rate/PJ02", store=store)
    with pytest.raises(UsageError, match="no product has a key that begins 01234567"):
        perijove.open_product("01234567", store=store)
    with pytest.raises(StoreError, match=r"absent\.nc: there is no such file"):
        perijove.open_product("absent.nc", store=store)


# Tables


def test_table(tmp_path: Path) -> None:
    early, late = (perijove.table("tally", "efficiency", f"2016-08-27T12:{minute}") for minute in (49, 50))
    np.testing.assert_array_equal(early.values["fraction"], [0.9, 0.8, 0.7, 0.6])
    np.testing.assert_array_equal(late.values["fraction"], [0.85, 0.75, 0.65, 0.55])
    assert perijove.table("tally", "efficiency", parse_utc(NOON)).hash == early.hash
    fraction = early["fraction"]
    assert (fraction.units, fraction.pedigree, fraction.dims) == ("1", "placeholder", ("detector",))
    assert "tally.efficiency" in repr(early)
    assert "fraction (detector 4) 1, placeholder" in repr(early)


def test_table_replaced_and_written(tmp_path: Path) -> None:
    table = perijove.table("tally", "efficiency", NOON)
    other = table.replace(fraction=table.values["fraction"] / 2)
    np.testing.assert_array_equal(other.values["fraction"], [0.45, 0.4, 0.35, 0.3])
    assert (other["fraction"].pedigree, table["fraction"].pedigree) == ("override", "placeholder")
    path = other.write(tmp_path / "mine.yaml")
    assert Table.read(path).hash == other.hash != table.hash
    with pytest.raises(ValueError, match="read-only"):
        table.values["fraction"][0] = 1.0
    with pytest.raises(CalibrationError, match="did you mean fraction"):
        table.replace(fractoin=1.0)


def test_table_at_times(tmp_path: Path) -> None:
    """Of a context of the store, with a gain that drifts."""
    mine = tmp_path / "mine.yaml"
    mine.write_text(
        "instrument: tally\nname: factor\ntitle: Drifting\nquantities:\n"
        "  time: {value: ['2016-08-27T12:00:00', '2016-08-27T13:00:00'], dims: [time], units: s, uncertainty: 0,\n"
        "    correlation: systematic, pedigree: placeholder, source: The instrument never flew.}\n"
        "  dose: {value: [[1, 2, 3, 4], [2, 4, 6, 8]], dims: [time, detector], units: rad, uncertainty: 0.1,\n"
        "    correlation: systematic, pedigree: placeholder, source: The instrument never flew.}\n"
    )
    from pipeline.runs.listing import certify_tables

    store = tmp_path / "store"
    certify_tables((mine,), store, alias="drift", start=None, stop=None, base="default", comment="a test")
    table = perijove.table("tally", "factor", NOON, context="drift", store=store)
    np.testing.assert_allclose(table.at("2016-08-27T12:30:00").values["dose"], [1.5, 3, 4.5, 6])
    times = parse_utc("2016-08-27T12:00:00") + np.array([0.0, 900.0, 1e6])
    np.testing.assert_allclose(table.at(times).values["dose"][:, 0], [1, 1.25, 2])
    np.testing.assert_array_equal(table.covers(times), [True, True, False])


def test_table_of_what_is_none() -> None:
    with pytest.raises(UsageError, match="no instrument 'tely'; did you mean tally"):
        perijove.table("tely", "factor", NOON)
    with pytest.raises(CalibrationError, match=r"no table tally\.factr; did you mean tally\.factor"):
        perijove.table("tally", "factr", NOON)
    with pytest.raises(UsageError, match="'noon' is no UTC time"):
        perijove.table("tally", "factor", "noon")
    with pytest.raises(UsageError, match="no calibration context 'mine'"):
        perijove.table("tally", "factor", NOON, context="mine")


# Making one product, without a store


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What `calibrate` makes and removes again is left here, to be looked at."""
    folder = tmp_path / "scratch"

    removed = tempfile.TemporaryDirectory

    def kept(*arguments: Any, **options: Any) -> Any:
        if options.get("prefix") != "perijove-":
            return removed(*arguments, **options)
        folder.mkdir()
        return contextlib.nullcontext(str(folder))

    monkeypatch.setattr(tempfile, "TemporaryDirectory", kept)
    return folder


def test_same_bytes_both_ways(raw: Path, store: Path, scratch: Path) -> None:
    made = perijove.calibrate(raw, "tally.dose")
    path = Store(store).find(DOSE)
    assert file_sha256(Store(scratch / "store").find(DOSE)) == file_sha256(path)
    xr.testing.assert_identical(made, perijove.open_product(DOSE, store=store))


def test_what_is_calibrated_needs_no_file(raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hdf5, "LARGE", 0)
    made = perijove.calibrate(raw, "tally.rate")
    assert np.isfinite(made["rate"].values).any()
    assert len(made.load()["rate_random"]) == made.sizes["et"]


def test_same_bytes_both_ways_with_everything_changed(raw: Path, tmp_path: Path, scratch: Path) -> None:
    write_dark(raw)
    factor = perijove.table("tally", "factor", NOON)
    factor = factor.replace(dose=3 * factor.values["dose"])
    path = factor.write(tmp_path / "factor.yaml")
    efficiency = perijove.table("tally", "efficiency", NOON)
    made = perijove.calibrate(raw, "tally.rate", tables=[factor, efficiency], parameters={"smooth": 5})
    assert made.attrs["product"] == RATE
    scratch.rename(tmp_path / "first")
    made = perijove.calibrate(raw, "tally.dose", tables=[factor])
    run(raw, tmp_path / "store", tables=(path,))
    there = Store(tmp_path / "store").find(DOSE)
    assert file_sha256(Store(scratch / "store").find(DOSE)) == file_sha256(there)
    xr.testing.assert_identical(made, perijove.open_product(there))


def test_same_bytes_both_ways_of_the_magnetometer(tmp_path: Path, scratch: Path) -> None:
    from pipeline import registry

    at = get_pass(1).et
    simulate = registry.load("mag").simulate
    assert simulate is not None
    scene = Scene(get_pass(1), Span(at - 60, at + 60), "demo", 0)
    for _ in simulate(scene, tmp_path / "raw", "demo", np.random.default_rng(0)):
        pass
    made = perijove.calibrate(tmp_path / "raw", "mag.field", parameters={"eddy_correction": "none"})
    store = tmp_path / "store"
    record = perijove.run(
        1, raw=tmp_path / "raw", products=["mag.field"], store=store, settings={"mag.field.eddy_correction": "none"}
    )
    assert statuses(record) == {"mag.field/PJ01": "made"}
    (product,) = record["products"]
    assert file_sha256(Store(scratch / "store").find("mag.field/PJ01")) == product["sha256"]
    xr.testing.assert_identical(made, perijove.open_product("mag.field/PJ01", store=store))
    assert made.sizes["et"] > 7000


def test_calibrate_leaves_nothing(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert perijove.calibrate(raw, "tally.histogram/TLY_000")["histogram"].sizes["detector"] == 4
    assert sorted(tmp_path.rglob("*")) == before


def test_calibrate_with_another_table_and_parameter(raw: Path) -> None:
    plain = perijove.calibrate(raw, "tally.rate")
    efficiency = perijove.table("tally", "efficiency", NOON)
    half = perijove.calibrate(
        raw, "tally.rate", tables=[efficiency.replace(fraction=efficiency.values["fraction"] / 2)]
    )
    first = plain["et"].values < parse_utc("2016-08-27T12:50:00")
    np.testing.assert_allclose(half["rate"].values[first], 2 * plain["rate"].values[first], rtol=1e-6)
    raised = perijove.calibrate(raw, "tally.rate", parameters={"correct": "nothing"})
    assert (raised["rate"].values < plain["rate"].values).all()


def test_calibrate_with_inputs_brought_along(raw: Path, tmp_path: Path) -> None:
    run(raw, tmp_path / "store")
    rate = Store(tmp_path / "store").find(RATE)
    brought = perijove.calibrate(raw, "tally.dose", inputs={"tally.rate": rate})
    made = perijove.calibrate(raw, "tally.dose")
    np.testing.assert_array_equal(brought["dose_rate"].values, made["dose_rate"].values)
    assert file_sha256(rate) in brought.attrs["recipe"]
    with pytest.raises(InputError, match=r"absent\.nc: there is no such file"):
        perijove.calibrate(raw, "tally.dose", inputs={"tally.rate": tmp_path / "absent.nc"})


def test_calibrate_of_one_file(raw: Path) -> None:
    one = perijove.calibrate(raw / "TALLY" / "TLY_001_V01.TLY", "tally.rate")
    whole = perijove.calibrate(raw, "tally.rate")
    assert (one.sizes["et"], whole.sizes["et"]) == (600, 1200)
    inner = slice(20, None)  # within the halo of the edge fewer seconds are known
    np.testing.assert_array_equal(one["rate"].values[inner], whole["rate"].values[600:][inner])


@pytest.mark.parametrize(
    ("product", "options", "error", "words"),
    [
        ("tally.rat", {}, UsageError, r"no product type 'tally\.rat'; did you mean tally\.rate"),
        ("tally.histogram", {}, UsageError, r"tally\.histogram: choose one unit; did you mean .*TLY_00"),
        ("tally.histogram/TLY_007", {}, UsageError, "choose one unit; did you mean .*TLY_00"),
        ("tally.rate", {"parameters": {"smoth": 1}}, UsageError, r"did you mean tally\.rate\.smooth"),
        ("tally.rate", {"parameters": {"smooth": "wide"}}, UsageError, r"tally\.rate\.smooth: 'wide' is no number"),
        ("tally.rate", {"context": "mine"}, UsageError, "no calibration context 'mine'"),
        ("tally.rate", {"tables": ["absent.yaml"]}, CalibrationError, r"absent\.yaml: cannot be read"),
        ("tally.rate", {"kernels": "absent"}, Exception, "absent"),
        ("tally.background", {}, InputError, r"there are no raw data in tally\.dark"),
        ("faulty.good", {}, InputError, "no raw data of PJ1 for faulty"),
    ],
)
def test_calibrate_what_cannot_be(
    raw: Path, product: str, options: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        perijove.calibrate(raw, product, **options)


def test_calibrate_from_where_nothing_is(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="absent: there is no such file or folder"):
        perijove.calibrate(tmp_path / "absent", "tally.rate")
    with pytest.raises(InputError, match="no instrument knows a raw file here"):
        perijove.calibrate(tmp_path, "tally.rate")
    (tmp_path / "TLY_000_V01.TLY").write_bytes(b"")
    with pytest.raises(InputError, match=r"TLY_000_V01\.TLY: has no label"):
        perijove.calibrate(tmp_path, "tally.rate")


def test_step_that_fails_says_so(tmp_path: Path) -> None:
    write_faulty(tmp_path / "raw")
    with pytest.raises(InputError, match="step bad: ZeroDivisionError: as told"):
        perijove.calibrate(tmp_path / "raw", "faulty.bad")


# Plan, run, compare


def test_plan_run_compare(raw: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"raw": str(raw), "store": str(tmp_path / "store"), "instruments": ["tally"]}
    plan = perijove.plan(1, **options)
    assert (len(plan["make"]), plan["keep"]) == (4, 0)
    first = perijove.run(1, **options)
    assert {p["identity"]: (p["key"], p["path"]) for p in first["products"]} == {
        p["identity"]: (p["key"], p["path"]) for p in plan["make"]
    }
    assert set(statuses(first).values()) == {"made"}
    second = perijove.run(1, **options, settings={"tally.rate.smooth": 3}, window="5m")
    third = perijove.run(1, **options, settings={"tally.rate.correct": "nothing"}, keep_raw=True)
    assert len(list((tmp_path / "store" / "raw").iterdir())) == 4
    document = perijove.compare(first["run"], third["run"], store=tmp_path / "store")
    assert document["same"] == 2
    rate = next(p for p in document["products"] if p["identity"] == RATE)
    assert [(w["kind"], w["name"], w["old"], w["new"]) for w in rate["why"]] == [
        ("parameter", "correct", "dead time", "nothing")
    ]
    a, b = (perijove.open_product(next(p["path"] for p in r["products"] if p["type"] == "tally.rate"))
            for r in (first, third))  # fmt: skip
    largest = float(np.abs(b["rate"].values.astype(float) - a["rate"].values).max())
    assert rate["variables"][0]["max_abs"] == pytest.approx(largest)
    window = perijove.compare(first["run"], second["run"], store=tmp_path / "store")
    shorter = next(p for p in window["products"] if p["identity"] == RATE)
    assert {(w["kind"], w["name"]) for w in shorter["why"]} >= {("parameter", "smooth"), ("parameter", "window")}
    assert shorter["variables"][0]["n"] < 4 * a.sizes["et"], "the records both have"


def test_options_that_are_none(raw: Path, tmp_path: Path) -> None:
    for function in (perijove.plan, perijove.run):
        with pytest.raises(UsageError, match="no option 'instrument'; did you mean instruments"):
            function(1, raw=raw, store=tmp_path / "s", instrument="tally")
    with pytest.raises(UsageError, match="no pass PJ99"):
        perijove.plan(99, raw=raw, store=tmp_path / "s")
    with pytest.raises(UsageError, match="no run in"):
        perijove.compare("a", "b", store=tmp_path / "s")
    assert not (tmp_path / "s").exists()
