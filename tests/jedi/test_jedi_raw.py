"""EDR tables: what is written is read, by label and format file; what is damaged is refused or counted."""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from loops import CLOCK, PASS

from instruments.jedi import layout, raw, raw_write
from pipeline.clock import Span
from pipeline.errors import InputError
from pipeline.formats.pds3 import read_label

RNG = np.random.default_rng(7)
START = PASS.et + 2.0 * np.arange(6)
# The table type with the fewest columns.
SMALL = "LOERSTOFXPHR"
# What the format file says of the columns of basic rates.
NINE = "BYTES                        = 9"


def values(kind: str, n: int = 6) -> dict[str, np.ndarray]:
    channels = len(layout.channel_columns(kind)[0])
    return {
        "counts": RNG.integers(0, 5000, (n, 6, channels)).astype(float),
        "basic": RNG.integers(10_000, 10_000_000, (n, 6, 4)).astype(float),
        "pixel": RNG.integers(0, 2, (n, 6)),
        "gain": RNG.integers(0, 2, n),
        "accumulation": np.full(n, 2.0),
    }


def written(folder: Path, kind: str = "HIERSESP", unit: int = 2, start: np.ndarray = START, **changed) -> Path:
    own = values(kind, len(start)) | changed
    return raw_write.write_edr(folder, kind, unit, start, own, CLOCK)[0]


def read(path: Path, span: Span | None = None):
    return raw.read_edr([raw.open_edr(path, CLOCK)], span, CLOCK)


def events(dataset) -> dict[str, int]:
    return dict(zip(dataset["event"].values.tolist(), dataset["events"].values.sum(axis=0).tolist(), strict=True))


def signed(path: Path) -> None:
    """Give the label the checksum of what the data are now."""
    found = hashlib.md5(path.with_suffix(".TAB").read_bytes()).hexdigest()
    path.write_text(re.sub(r"[0-9a-f]{32}", found, path.read_text("ascii")), "ascii")


# Layout


def test_bytes_are_where_the_document_says(tmp_path: Path) -> None:
    own = values("HIERSESP")
    own["counts"][0, 5, 18] = 4321
    path = written(tmp_path, **own)
    rows = path.with_suffix(".TAB").read_bytes().split(b"\r\n")
    assert rows.pop() == b""
    assert {len(row) for row in rows} == {layout.row_bytes("HIERSESP") - 2}
    assert rows[0].startswith(b"2016-240T12:50:44.060 5/0525574420:18916")
    assert rows[0].endswith(b" 4321")
    assert path.parent.parts[-4:] == ("JNO-J-JED-2-EDR-V1.0", "DATA", "2016", "240")
    assert path.name == "JED_270_HIERSESP_EDR_2016240_V01.LBL"
    label = read_label(path)
    assert label["SPACECRAFT_CLOCK_START_COUNT"].startswith("5/0525574420:")
    assert label["ASCII_TABLE"]["^STRUCTURE"] == "JED_HIERSESP_EDR_V02.FMT"
    assert (path.parent / "JED_HIERSESP_EDR_V02.FMT").is_file()


@pytest.mark.parametrize(
    "name",
    [
        "JED_270_NONPTOFXER_EDR_2016204_V01.LBL",  # of the archive
        "jed_090_hierstofxphr_edr_2017362_v03.lbl",
    ],
)
def test_names_of_the_archive_are_known(name: str) -> None:
    assert raw.kind_of(Path(name)) in layout.KINDS
    assert sum(bool(re.fullmatch(f.pattern, name, re.IGNORECASE)) for f in raw.FORMATS) == 1


def test_there_are_ten_types_with_telescope_and_channel_in_their_columns() -> None:
    assert len(layout.KINDS) == 10
    assert "T0EXF14 COUNTS" in layout.channel_columns("HIERSESP")[0]  # T0EXF14 FLUX in the calibrated table
    sizes = {kind: len(layout.channel_columns(kind)[0]) for kind in layout.KINDS}
    assert (sizes["HIERSESP"], sizes["LOERSESP"], sizes["HIERSTOFXER"], sizes["LOERSTOFXER"]) == (19, 10, 40, 20)


# Reading what was written


@pytest.mark.parametrize("kind", list(layout.KINDS))
def test_tables_are_read_as_written(tmp_path: Path, kind: str) -> None:
    own = values(kind)
    own["counts"][1, 2, 3] = own["basic"][2, 0, 1] = np.nan
    path = written(tmp_path, kind, **own)
    found = read(path)
    for name in ("counts", "basic", "pixel", "gain", "accumulation"):
        np.testing.assert_array_equal(found[name].values, own[name], name)
    np.testing.assert_allclose(found["et"].values, START + 1.0, atol=1e-5)
    assert set(found["unit"].values) == {2}
    assert events(found)["values_missing"] == 2
    part = read(path, Span(START[2], START[4]))
    np.testing.assert_array_equal(part["counts"].values, own["counts"][2:4])
    again = written(
        tmp_path / "again", kind, start=found["et"].values - 1.0, **{n: found[n].values for n in own}
    )  # fmt: skip
    for suffix in (".TAB", ".LBL"):
        assert again.with_suffix(suffix).read_bytes() == path.with_suffix(suffix).read_bytes()


def test_columns_may_stand_elsewhere(tmp_path: Path) -> None:
    """By label and format file alone: every column but the first three bytes further on."""
    path = written(tmp_path)
    before, size = read(path), layout.row_bytes("HIERSESP")
    structure = next(path.parent.glob("*.FMT"))
    text = structure.read_text("ascii")
    starts = sorted(int(m) for m in re.findall(r"START_BYTE\s*= (\d+)", text))
    at = starts[1]
    moved = re.sub(r"(START_BYTE\s*= )(\d+)", lambda m: m[1] + str(int(m[2]) + 3 * (int(m[2]) >= at)), text)
    structure.write_text(moved, "ascii")
    data = path.with_suffix(".TAB").read_bytes()
    rows = [data[k : k + size] for k in range(0, len(data), size)]
    path.with_suffix(".TAB").write_bytes(b"".join(r[: at - 1] + b"   " + r[at - 1 :] for r in rows))
    replaced(f"= {size}", f"= {size + 3}")(path)
    signed(path)
    after = read(path)
    assert after.equals(before)


def test_units_come_in_order_of_time(tmp_path: Path) -> None:
    paths = [written(tmp_path, unit=u, start=START + 0.5 * (2 - u)) for u in range(3)]
    found = raw.read_edr([raw.open_edr(p, CLOCK) for p in paths], None, CLOCK)
    assert found["unit"].values[:4].tolist() == [2, 1, 0, 2]
    assert (np.diff(found["et"].values) > 0).all()


def test_a_day_ends_a_file(tmp_path: Path) -> None:
    midnight = PASS.et + 11 * 3600 + 9 * 60 + 15.94
    start = midnight + np.array([-4.0, -2.0, 1.0])
    labels = raw_write.write_edr(tmp_path, "LOERSESP", 0, start, values("LOERSESP", 3), CLOCK)
    assert [p.parent.name for p in labels] == ["240", "241"]
    assert [raw.open_edr(p, CLOCK).id for p in labels][1] == "jed_090_loersesp_edr_2016241"


# Damage


def test_rows_repeated_damaged_and_cut_are_counted(tmp_path: Path) -> None:
    path = written(tmp_path, SMALL, start=START[[0, 1, 1, 2, 3, 4]])
    data = bytearray(path.with_suffix(".TAB").read_bytes())
    size = layout.row_bytes(SMALL)
    data[3 * size + 25] = ord("x")  # in the clock count of the fourth row
    path.with_suffix(".TAB").write_bytes(bytes(data[:-10]))
    found = read(path)
    assert found.sizes["record"] == 3
    told = events(found)
    assert (told["records_repeated"], told["records_damaged"], told["records_truncated"]) == (1, 1, 1)


@pytest.mark.parametrize("place", [3, 6, 22, 30, 44])  # year, day of UTC; partition and seconds of the clock; length
def test_a_row_whose_times_disagree_is_no_record(tmp_path: Path, place: int) -> None:
    path = written(tmp_path, SMALL)
    data = bytearray(path.with_suffix(".TAB").read_bytes())
    at = layout.row_bytes(SMALL) + place
    data[at : at + 1] = b"x" if place == 44 else b"9"
    path.with_suffix(".TAB").write_bytes(bytes(data))
    signed(path)
    found = read(path)
    assert found.sizes["record"] == 5
    assert events(found)["records_damaged"] == 1


def test_what_is_no_number_is_missing(tmp_path: Path) -> None:
    path = written(tmp_path, SMALL)
    data = bytearray(path.with_suffix(".TAB").read_bytes())
    size = layout.row_bytes(SMALL)
    data[2 * size - 3] = ord("?")  # last digit of the last column of the second row
    path.with_suffix(".TAB").write_bytes(bytes(data))
    signed(path)
    found = read(path)
    assert np.isnan(found["counts"].values[1, 5, 5])
    assert np.isnan(found["counts"].values).sum() == 1


def replaced(old: str, new: str, suffix: str = ".LBL") -> Callable[[Path], None]:
    def change(path: Path) -> None:
        file = path if suffix == ".LBL" else next(path.parent.glob(f"*{suffix}"))
        text = file.read_text("ascii")
        assert old in text
        file.write_text(text.replace(old, new), "ascii")

    return change


def swapped(path: Path) -> None:
    data = np.frombuffer(path.with_suffix(".TAB").read_bytes(), np.uint8)
    data = data[: data.size // 2 * 2].reshape(-1, 2)[:, ::-1].tobytes()
    path.with_suffix(".TAB").write_bytes(data.ljust(6 * layout.row_bytes(SMALL), b" "))
    signed(path)


def cut(path: Path) -> None:
    data = path.with_suffix(".TAB").read_bytes()
    path.with_suffix(".TAB").write_bytes(data[: len(data) // 2])


def flipped(path: Path) -> None:
    data = bytearray(path.with_suffix(".TAB").read_bytes())
    data[1000] ^= 1
    path.with_suffix(".TAB").write_bytes(bytes(data))


DAMAGE: dict[str, tuple[Callable[[Path], None], str]] = {
    "data cut in half": (cut, "need .* bytes, the file has"),
    "one bit of the data": (flipped, "MD5 checksum"),
    "bytes swapped, checksum right": (swapped, "no numbers|none of 6 rows is sound"),
    "no data": (lambda p: p.with_suffix(".TAB").unlink(), "not in its folder"),
    "no format file": (lambda p: next(p.parent.glob("*.FMT")).unlink(), "V02.FMT.*not in its folder"),
    "empty format file": (lambda p: next(p.parent.glob("*.FMT")).write_text("END\r\n"), "no columns"),
    "format file of another type": (replaced("LOERSTOFXPHR_EDR_V02.FMT", "LOERSESP_EDR_V02.FMT"), "not in its folder"),
    "a column by another name": (replaced("T3MXF01 COUNTS", "T3MXF1 COUNTS", ".FMT"), "T3MXF01 COUNTS"),
    "type of a column": (replaced("ASCII_INTEGER", "ASCII_INTEGEX", ".FMT"), "data type"),
    "rows": (replaced("ROWS                         = 6", "ROWS                         = 9"), "need .* bytes"),
    "length of a row": (replaced("= 637", "= 636"), "no numbers|ends at"),
    "fewer rows": (replaced("ROWS                         = 6", "ROWS                         = 4"), "more than the 4"),
    "a column moved": (replaced(NINE, NINE.replace("9", "5"), ".FMT"), "between"),
    "columns overlap": (replaced("= 619", "= 621", ".FMT"), "overlap"),
    "no table": (replaced("ASCII_TABLE", "ASCII_TABLX"), "ASCII_TABLE"),
    "no label language": (lambda p: p.write_bytes(bytes(range(256)) * 20), "label|MISSING|missing"),
}  # fmt: skip


@pytest.mark.parametrize("what", list(DAMAGE))
def test_what_is_damaged_is_refused(tmp_path: Path, what: str) -> None:
    spoil, reason = DAMAGE[what]
    path = written(tmp_path, SMALL)
    spoil(path)
    with pytest.raises(InputError, match=reason) as caught:
        read(path)
    assert caught.value.path.parent == path.parent


def test_a_table_of_another_type_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "LOERSESP")
    other = path.with_name(path.name.replace("LOERSESP", "HIERSESP"))
    path.rename(other)
    with pytest.raises(InputError, match="no such column"):
        raw.open_edr(other, CLOCK)


def test_flipped_bits_never_change_a_count(tmp_path: Path) -> None:
    """In label, format file and data alike: refused, or read as before."""
    path = written(tmp_path, SMALL)
    before = read(path)
    rng = np.random.default_rng(1)
    refused = 0
    for name in (path.name, path.with_suffix(".TAB").name, "JED_LOERSTOFXPHR_EDR_V02.FMT"):
        whole = (path.parent / name).read_bytes()
        for _ in range(12):
            data = bytearray(whole)
            data[rng.integers(len(data))] ^= 1 << rng.integers(8)
            (path.parent / name).write_bytes(bytes(data))
            try:
                after = read(path)
            except InputError:
                refused += 1
                continue
            if "TAB" in name:
                pytest.fail("a changed byte of the data was read")
            for variable in before:
                np.testing.assert_array_equal(after[variable].values, before[variable].values)
        (path.parent / name).write_bytes(whole)
    assert refused > 12
