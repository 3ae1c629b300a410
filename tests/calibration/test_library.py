"""Contexts: which table holds when, overrides, certification, and the audit of a folder."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import pytest

from calibration.library import Library, audit
from calibration.tables import Table
from pipeline.clock import Span, parse_utc
from pipeline.errors import CalibrationError, UsageError

QUANTITY = (
    "{value: %s, dims: [], units: nT, uncertainty: 0.1, correlation: random, pedigree: placeholder, source: nobody}"
)
EARLY, CHANGE, LATE = (
    float(parse_utc(t)) for t in ("2016-08-27T00:00:00", "2017-01-01T00:00:00", "2020-01-01T00:00:00")
)


def table_text(name: str, value: float, instrument: str = "mag") -> str:
    return f"instrument: {instrument}\nname: {name}\ntitle: A {name}\nquantities:\n  x: {QUANTITY % value}\n"


CONTEXT = """\
tables:
  gain:
  - file: gain_2.yaml
    start: '2017-01-01T00:00:00'
  - file: gain_1.yaml
    start: '2016-07-05T00:00:00'
    stop: '2017-001T00:00:00'
  zero:
  - file: zero.yaml
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "mag"
    folder.mkdir()
    (folder / "context.yaml").write_text(CONTEXT)
    for file, text in (
        ("gain_1", table_text("gain", 1)),
        ("gain_2", table_text("gain", 2)),
        ("zero", table_text("zero", 0)),
    ):
        (folder / f"{file}.yaml").write_text(text)
    return folder


@pytest.fixture
def library(folder: Path, tmp_path: Path) -> Library:
    return Library({"mag": folder}, tmp_path / "store")


def found(chosen: list[tuple[Table, Span]]) -> list[tuple[float, float, float]]:
    return [(float(table["x"].value), span.start, span.stop) for table, span in chosen]


def test_select_gives_the_tables_of_the_span_with_their_validity(library: Library) -> None:
    context = library.context("default")
    begin = float(parse_utc("2016-07-05T00:00:00"))
    first, second = (1.0, begin, CHANGE), (2.0, CHANGE, math.inf)
    assert found(context.select("mag", "gain", Span(EARLY, EARLY + 1))) == [first]
    assert found(context.select("mag", "gain", Span(EARLY, CHANGE))) == [first]
    assert found(context.select("mag", "gain", Span(CHANGE, LATE))) == [second]
    assert found(context.select("mag", "gain", Span(CHANGE, CHANGE))) == [second]
    assert found(context.select("mag", "gain", Span(EARLY, LATE))) == [first, second]
    assert found(context.select("mag", "zero", Span(-1e9, 1e9))) == [(0.0, -math.inf, math.inf)]
    assert found(context.intervals("mag", "gain")) == [first, second]


def test_what_is_not_there_is_named_with_the_nearest(library: Library, folder: Path) -> None:
    context = library.context("default")
    with pytest.raises(CalibrationError, match=r"default has no table mag\.gian; did you mean mag\.gain"):
        context.select("mag", "gian", Span(EARLY, LATE))
    early = (
        r"no table mag\.gain holds from 2016-07-01T00:00:00.000000 until 2016-07-05T.*nearest holds from 2016-07-05T"
    )
    with pytest.raises(CalibrationError, match=early):
        context.select("mag", "gain", Span(float(parse_utc("2016-07-01T00:00:00")), LATE))
    (folder / "context.yaml").write_text(CONTEXT.replace("start: '2017-01-01", "start: '2018-01-01"))
    hole = r"holds from 2017-01-01T.* until 2018-01-01T.*nearest holds .* until 2017-01-01T.* or from 2018-01-01T"
    with pytest.raises(CalibrationError, match=hole):
        library.context("default").select("mag", "gain", Span(EARLY, LATE))
    instant = float(parse_utc("2017-06-01T00:00:00"))
    with pytest.raises(CalibrationError, match="nearest"):
        library.context("default").select("mag", "gain", Span(instant, instant))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("tables:", "table:", "tables: a mapping"),
        ("zero:\n  - file: zero.yaml", "zero: zero.yaml", "tables: a mapping"),
        ("file: zero.yaml", "files: zero.yaml", "table zero: .*file, start and stop are expected"),
        ("2017-001", "2017-002", "table gain: one holds .*another"),
        ("stop: '2017-001T00:00:00'", "", "table gain: one holds .*another"),
        ("stop: '2017-001T00:00:00'", "stop: '2016-001T00:00:00'", "table gain: it ends .* before it begins"),
        ("'2017-001T00:00:00'", "someday", "table gain: 'someday'"),
        ("'2017-001T00:00:00'", "2017", "table gain: 2017: UTC text is expected"),
    ],
)
def test_malformed_contexts(library: Library, folder: Path, old: str, new: str, said: str) -> None:
    assert old in CONTEXT
    (folder / "context.yaml").write_text(CONTEXT.replace(old, new))
    with pytest.raises(CalibrationError, match=said) as error:
        library.context("default")
    assert str(folder / "context.yaml") in str(error.value)


def test_overrides_hold_always(library: Library, tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text(table_text("gain", 7))
    context = library.context("default")
    over = library.with_overrides(context, [mine])
    assert found(over.select("mag", "gain", Span(EARLY, LATE))) == [(7.0, -math.inf, math.inf)]
    assert over.select("mag", "zero", Span(EARLY, LATE))[0][0] is context.select("mag", "zero", Span(EARLY, LATE))[0][0]
    assert over.alias == "default + mag.gain"
    assert over.hash != context.hash
    with pytest.raises(CalibrationError, match=r"table mag\.gain is given twice"):
        library.with_overrides(context, [mine, mine])
    mine.write_text(table_text("gian", 7))
    with pytest.raises(
        CalibrationError, match=r"mine\.yaml: no table mag\.gian to stand in for; did you mean mag\.gain"
    ):
        Library(library.folders, None).with_overrides(context, [mine])


def gain(library: Library, value: float) -> Table:
    return library.context("default").intervals("mag", "gain")[1][0].replace(x=value)


def test_certified_tables_cut_into_the_base(library: Library, folder: Path, tmp_path: Path) -> None:
    before = sorted((p.name, p.read_bytes()) for p in folder.iterdir())
    start, stop = CHANGE + 86400, CHANGE + 2 * 86400
    mine = library.certify([gain(library, 7)], start, stop, alias="mine", comment="a test")
    assert [v for v, _, _ in found(mine.intervals("mag", "gain"))] == [1, 2, 7, 2]
    assert found(mine.select("mag", "gain", Span(start, stop - 1))) == [
        (7.0, pytest.approx(start, abs=1e-6), pytest.approx(stop, abs=1e-6))
    ]
    assert found(mine.select("mag", "gain", Span(CHANGE, CHANGE + 1)))[0][:2] == (2, CHANGE)
    assert sorted((p.name, p.read_bytes()) for p in folder.iterdir()) == before
    # Nothing of the package is needed any more, and it may change.
    (folder / "zero.yaml").write_text(table_text("zero", 99))
    again = Library({}, tmp_path / "store")
    for name in ("mine", mine.hash, mine.hash[:8]):
        context = again.context(name)
        assert (context.hash, context.comment) == (mine.hash, "a test")
        assert found(context.intervals("mag", "gain")) == found(mine.intervals("mag", "gain"))
        assert found(context.intervals("mag", "zero")) == [(0.0, -math.inf, math.inf)]
    kept = tmp_path / "store" / "tables"
    assert {Table.read(p).hash for p in kept.iterdir()} == {p.stem for p in kept.iterdir()}


def test_certified_upon_certified_keeps_the_edges(library: Library) -> None:
    edges = [CHANGE + 0.123456 + 86400 * k for k in range(4)]
    library.certify([gain(library, 7)], edges[0], None, alias="a")
    library.certify([gain(library, 8)], edges[1], None, alias="b", base="a")
    context = library.certify([gain(library, 9)], edges[1], edges[2], alias="c", base="b")
    intervals = found(context.intervals("mag", "gain"))
    assert [v for v, _, _ in intervals] == [1, 2, 7, 9, 8]
    assert all(a[2] == b[1] for a, b in itertools.pairwise(intervals))
    assert context.base == library.context("b").hash
    same = library.certify([gain(library, 9)], edges[1], edges[2], alias="c", base="b")
    assert same.hash == context.hash
    rows = library.list_contexts()
    assert [row["context"] for row in rows] == ["default", "a", "b", "c"]
    assert rows[3]["hash"] == context.hash


def test_what_cannot_be_certified(library: Library, folder: Path) -> None:
    table = gain(library, 7)
    reach = {"first": EARLY, "last": LATE}
    for tables, span, alias, said in (
        (
            [table],
            reach,
            "mine",
            r"mag\.gain cannot hold from 2016-08-27.*base has one that holds from .* and from 2017",
        ),
        ([table], {"first": EARLY - 9e7, "last": EARLY}, "mine", "cannot hold"),
        ([table, table], {"first": LATE, "last": None}, "mine", r"mag\.gain is given twice"),
        ([table], {"first": LATE, "last": EARLY}, "mine", "ends .* before it begins"),
        ([table], {"first": LATE, "last": LATE}, "mine", "ends .* before it begins"),
        ([table], {"first": LATE, "last": None}, "default", "cannot name a context"),
        ([table], {"first": LATE, "last": None}, "../mine", "cannot name a context"),
        ([table], {"first": LATE, "last": None}, "deadbeef", "cannot name a context"),
        ([Table("mag", "gian", "x", table.quantities)], {"first": LATE, "last": None}, "mine", "did you mean mag.gain"),
    ):
        with pytest.raises(CalibrationError, match=said):
            library.certify(tables, **span, alias=alias)
    with pytest.raises(UsageError, match="no calibration context 'bsae'"):
        library.certify([table], LATE, None, alias="mine", base="bsae")
    assert library.store is not None
    assert not (library.store / "contexts").exists()
    filled = library.certify([table], None, float(parse_utc("2016-07-05T00:00:00")), alias="mine")
    assert [v for v, _, _ in found(filled.intervals("mag", "gain"))] == [7, 1, 2]
    with pytest.raises(CalibrationError, match="'mine' is there already and says something else"):
        library.certify([table], LATE, None, alias="mine")
    with pytest.raises(CalibrationError, match="no store"):
        Library({"mag": folder}, None).certify([table], LATE, None, alias="mine")


def test_what_is_damaged_in_the_store_is_seen(library: Library, tmp_path: Path) -> None:
    context = library.certify([gain(library, 7)], LATE, None, alias="mine")
    store = tmp_path / "store"
    path = store / "contexts" / f"{context.hash}.yaml"
    text = path.read_text()
    path.write_text(text.replace("2020-01-01", "2020-01-02"))
    with pytest.raises(CalibrationError, match="damaged"):
        library.context("mine")
    path.write_text(text)
    (kept,) = (p for p in (store / "tables").iterdir() if Table.read(p)["x"].value == 7)
    kept.write_text(kept.read_text().replace("7.0", "7.5"))
    with pytest.raises(CalibrationError, match=r"damaged"):
        Library({}, store).context("mine").select("mag", "gain", Span(LATE, LATE + 1))


def test_context_of_an_unknown_name(library: Library) -> None:
    library.certify([gain(library, 7)], LATE, None, alias="mine")
    with pytest.raises(UsageError, match="no calibration context 'mien'; did you mean mine"):
        library.context("mien")
    with pytest.raises(UsageError, match="no calibration context 'abcdef012'"):
        library.context("abcdef012")


def test_kept_tables_with_arrays_read_by_themselves(tmp_path: Path, folder: Path) -> None:
    (folder / "zero.csv").write_text("\n".join(map(str, range(2000))))
    (folder / "zero.yaml").write_text(
        table_text("zero", 0).replace("value: 0, dims: []", "value: {csv: zero.csv}, dims: [n]")
    )
    library = Library({"mag": folder}, tmp_path / "store")
    table = library.context("default").intervals("mag", "zero")[0][0]
    path = library.keep(table)
    assert path == library.keep(table) == tmp_path / "store" / "tables" / f"{table.hash}.yaml"
    (folder / "zero.csv").unlink()
    assert Table.read(path).hash == table.hash


def test_listing(library: Library, folder: Path) -> None:
    rows = library.list_tables(library.context("default"))
    assert [(r["name"], r["start"], r["stop"]) for r in rows] == [
        ("mag.gain", "2016-07-05T00:00:00.000000", "2017-01-01T00:00:00.000000"),
        ("mag.gain", "2017-01-01T00:00:00.000000", None),
        ("mag.zero", None, None),
    ]
    assert rows[0]["pedigree"] == "placeholder"
    # A table that nobody uses does not stop a run: the context's hash does without it, choosing it does not.
    (folder / "zero.yaml").write_text("no table")
    context = Library({"mag": folder}, None).context("default")
    assert len(context.hash) == 64
    with pytest.raises(CalibrationError, match=r"zero\.yaml"):
        context.select("mag", "zero", Span(EARLY, LATE))


def test_tables_are_read_when_asked_for_and_once(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    original = Table.read
    monkeypatch.setattr(Table, "read", lambda path: (read.append(Path(path).name), original(path))[1])
    context = library.context("default")
    assert not read
    for _ in range(2):
        context.select("mag", "gain", Span(EARLY, EARLY + 1))
    assert read == ["gain_1.yaml"]


def test_audit(folder: Path) -> None:
    assert audit(folder) == []
    (folder / "README.md").write_text("words")
    (folder / "zero.yaml").write_text(
        table_text("zero", 0).replace("value: 0, dims: []", "value: {csv: z.csv}, dims: [n]")
    )
    (folder / "z.csv").write_text("1\n2\n")
    assert audit(folder) == []
    (folder / "stray.csv").write_text("1")
    (folder / "gain_2.yaml").write_text(table_text("gains", 2, "jade"))
    (folder / "context.yaml").write_text(
        CONTEXT.replace("'2017-001", "'2016-300") + "  offset:\n  - file: offset.yaml\n"
    )
    said = "\n".join(audit(folder))
    assert said.count("\n") == 4
    for problem in (
        "no table gain holds from 2016-10-26T00:00:00.000000 until 2017-01-01T00:00:00.000000",
        "gain_2.yaml: calls itself gains, the context gain",
        "tables of several instruments: jade, mag",
        "stray.csv: nothing refers to it",
        "offset.yaml: cannot be read",
    ):
        assert problem in said
    (folder / "context.yaml").write_text("tables: 1")
    assert len(audit(folder)) == 1
