"""Damaged files, row by row of the table in README.md: refused with their place, or put right and counted."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from mwr_files import READERS, read, written
from mwr_scene import CLOCK

from instruments.mwr import layout, raw
from pipeline.errors import InputError
from pipeline.testing.damage import damaged


def test_rows_repeated_or_out_of_order_are_put_right_and_counted(tmp_path: Path) -> None:
    path, _, et = written(tmp_path, "edr", rows=50)
    lines = path.read_bytes().split(b"\r\n")
    lines[10], lines[12] = lines[12], lines[10]
    lines.insert(30, lines[30])
    path.write_bytes(b"\r\n".join(lines))
    data = read(path, "edr")
    np.testing.assert_allclose(data["et"].values, et, atol=2e-5)
    events = dict(zip(raw.EVENTS, data["events"].values.sum(axis=0).tolist(), strict=True))
    assert events["rows_duplicate"] == 1
    assert events["rows_out_of_order"] == 2


def test_a_row_whose_checksum_failed_has_no_values(tmp_path: Path) -> None:
    path, _, _ = written(tmp_path, "edr", rows=20)
    lines = path.read_bytes().split(b"\r\n")
    lines[5] = lines[5][:-1] + b"1"
    path.write_bytes(b"\r\n".join(lines))
    data = read(path, "edr")
    assert np.isnan(data["counts"].values[4]).all()
    assert (data["state"].values[4] == layout.UNKNOWN_STATE).all()
    assert np.isfinite(data["counts"].values[[3, 5]]).all()
    assert data["events"].values.sum(axis=0).tolist() == [0, 0, 0, 1, 0]


def test_a_last_row_cut_short_is_left_out_and_counted(tmp_path: Path) -> None:
    path, _, _ = written(tmp_path, "edr", rows=20)
    path.write_bytes(path.read_bytes()[:-30])
    data = read(path, "edr")
    assert data.sizes["et"] == 19
    assert data["events"].values[:, 2].sum() == 1


def test_words_that_are_no_numbers_are_missing_and_counted(tmp_path: Path) -> None:
    path, columns, _ = written(tmp_path, "irdr", rows=20)
    lines = path.read_bytes().split(b"\r\n")
    fields = lines[4].split(b",")
    at = layout.IRDR.index("R3TA")
    fields[at] = b"garbage"
    fields[at + 1] = b""
    lines[4] = b",".join(fields)
    path.write_bytes(b"\r\n".join(lines))
    data = read(path, "irdr")
    assert np.flatnonzero(np.isnan(data["ta"].values)).tolist() == [3 * 8 + 4, 3 * 8 + 5]
    assert data["events"].values[:, 4].sum() == 1
    np.testing.assert_allclose(data["ta"].values[4, 4], columns["R3TA"][4])


def test_one_bad_word_changes_no_other_number(tmp_path: Path) -> None:
    """Rows with a word that is no number go another way to the same bits."""
    path, _, _ = written(tmp_path, "irdr", rows=300)
    whole = read(path, "irdr")
    path.write_bytes(path.read_bytes().replace(b"\r\n", b"x\r\n", 3).replace(b"TOFFx", b"TOFF", 1))
    data = read(path, "irdr")
    assert data["events"].values[:, 4].sum() == 2
    assert np.isnan(data["toff"].values[:2, 7]).all()
    data["toff"].values[:2, 7] = whole["toff"].values[:2, 7]
    for name in whole.data_vars:
        if name != "events":
            np.testing.assert_array_equal(data[name].values, whole[name].values)


def test_an_empty_last_field_is_missing(tmp_path: Path) -> None:
    path, _, _ = written(tmp_path, "irdr", rows=20)
    lines = path.read_bytes().split(b"\r\n")
    lines[7] = lines[7].rpartition(b",")[0] + b","
    path.write_bytes(b"\r\n".join(lines))
    data = read(path, "irdr")
    assert np.flatnonzero(np.isnan(data["toff"].values)).tolist() == [6 * 8 + 7]
    assert data["events"].values.sum() == 0


@pytest.mark.parametrize(("more", "less"), [(3, 9), (9, 3), (1, 2), (2, 1)])
def test_a_field_more_in_one_row_and_less_in_another_is_refused(tmp_path: Path, more: int, less: int) -> None:
    """As many commas as there should be in all."""
    path, _, _ = written(tmp_path, "irdr", rows=20)
    lines = path.read_bytes().split(b"\r\n")
    lines[more] += b",1.0"
    lines[less] = b"".join(lines[less].rpartition(b",")[::2])
    path.write_bytes(b"\r\n".join(lines))
    with pytest.raises(InputError, match=r"has 20[02] fields, 201 are expected"):
        read(path, "irdr")


@pytest.mark.parametrize("inside", [b"\r", b"\r\n", b"\n\n", b'"', b"\0", b"\xff"])
def test_what_is_no_text_or_ends_a_line_is_refused_or_counted(tmp_path: Path, inside: bytes) -> None:
    path, _, _ = written(tmp_path, "irdr", rows=20)
    whole = read(path, "irdr")
    text = path.read_bytes()
    at = text.index(b"\n", 20_000) - 300
    path.write_bytes(text[:at] + inside + text[at:])
    try:
        data = read(path, "irdr")
    except InputError:
        return
    assert inside in (b"\0", b"\xff")
    assert data["events"].values[:, 4].sum() == 1
    changed = [(data[n].values != whole[n].values) for n in whole.data_vars if n != "events"]
    assert sum(int(c.sum()) for c in changed) == 1


def row(number: int, change: Callable[[list[bytes]], list[bytes]]) -> Callable[[bytes], bytes]:
    """A change of the fields of a row, counted from 1."""

    def changed(text: bytes) -> bytes:
        lines = text.split(b"\r\n")
        lines[number] = b",".join(change(lines[number].split(b",")))
        return b"\r\n".join(lines)

    return changed


def word(number: int, column: str, new: bytes) -> Callable[[bytes], bytes]:
    """A word in place of the one in a row."""
    at = layout.EDR.index(column)
    return row(number, lambda fields: [*fields[:at], new, *fields[at + 1 :]])


def without_numbers(text: bytes) -> bytes:
    """Counts and sensors are words."""
    header, *lines = text.split(b"\r\n")
    fields = [line.split(b",") for line in lines[:-1]]
    return b"\r\n".join([header, *(b",".join([*f[:4], *[b"word"] * 87, b"0"]) for f in fields), b""])


DAMAGE = {
    "empty": (lambda b: b"", "empty"),
    "header only": (lambda b: b.split(b"\n")[0] + b"\n", "no row of data"),
    "no line ends": (lambda b: b.replace(b"\n", b" "), "header"),
    "another header": (lambda b: b.replace(b"R1_2Cnt", b"R1_2Foo", 1), "'R1_2Foo', 'R1_2Cnt' is expected"),
    "a column less": (lambda b: b.replace(b",crc_error", b"", 1), "'nothing', 'crc_error' is expected"),
    "a column more": (lambda b: b.replace(b",crc_error", b",crc_error,x", 1), "'x', 'nothing' is expected"),
    "a field less": (row(9, lambda f: f[:-1]), "byte [0-9]+: row '5255.*has 91 fields, 92"),
    "a field more": (row(9, lambda f: [*f, b"0"]), "byte [0-9]+: row '5255.*has 93 fields, 92"),
    "a field more in the first row": (row(1, lambda f: [*f, b"0"]), "has 93 fields, 92"),
    "quotes": (word(9, "R5Cnt", b'"300"'), "byte [0-9]+: row '5255.*has quotes"),
    "binary": (lambda b: b[:700] + bytes(range(256)) * 50 + b[14000:], "does not begin with a time|fields"),
    "no time": (word(9, "t_sclk_s", b""), "row 9 from byte .*clock nan"),
    "a clock beyond its counter": (word(9, "t_sclk_tick", b"65536"), "row 9 from byte .*clock .*, 65536"),
    "a clock before its counter": (word(9, "t_sclk_s", b"-25"), "row 9 from byte .*clock -25, "),
    "another hour": (word(9, "t_sclk_s", b"525500000"), "row 9 from byte .*a row's time is .*of another hour"),
    "a row too early": (
        row(99, lambda f: [b"%d" % (int(f[0]) - 100), *f[1:]]),
        "row 99 .*100 s earlier than one before",
    ),
    "a row too late": (
        row(99, lambda f: [b"%d" % (int(f[0]) + 100), *f[1:]]),
        "row 100 .*100 s earlier than one before",
    ),
    "no numbers": (without_numbers, "more than half of the values are no numbers"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_refused_with_its_place(tmp_path: Path, name: str) -> None:
    path, _, _ = written(tmp_path, "edr", rows=200)
    change, why = DAMAGE[name]
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(InputError, match=why) as caught:
        read(path, "edr")
    assert caught.value.path == path


@pytest.mark.parametrize("suffix", [".CSV", ".LBL", ".xml"])
@pytest.mark.parametrize("kind", READERS)
def test_random_damage_is_refused_or_counted(tmp_path: Path, kind: str, suffix: str) -> None:
    path, _, et = written(tmp_path, kind, rows=60)
    file = path.with_suffix(suffix)
    whole, said = file.read_bytes(), [str(tmp_path)]
    rng = np.random.default_rng([3, list(READERS).index(kind)])
    for _ in range(12):
        file.write_bytes(damaged(whole, rng))
        try:
            data = read(path, kind)
        except InputError as error:
            said.append(str(error))
            continue
        assert np.all(np.diff(data["et"].values) > 0)
        inside = (data["et"].values > et[0] - 3600.0) & (data["et"].values < et[-1] + 3600.0)
        assert inside.all()
        fewer = et.size - data.sizes["et"]
        assert fewer == 0 or data["events"].values.sum() > 0 or data["et"].values[-1] < et[-1], fewer
    assert len(said) > 1
    assert all(str(tmp_path) in text and "\n" not in text for text in said)


SIZE = len(layout.header("edr"))
LABELS = {
    "pds3: another file": (".LBL", b"R00020", b"R00030", "not in its folder"),
    "pds3: other rows": (".LBL", b" = 20 ", b" = 30 ", "30 rows, the file's name says 20"),
    "pds3: another first byte": (".LBL", b"%d <BYTES>" % (SIZE + 1), b"9 <BYTES>", "rows begin at byte"),
    "pds4: no XML": (".xml", b"</Product_Observational>", b"", "is no XML"),
    "pds4: another file": (
        ".xml",
        b"R00020_V01.CSV<",
        b"R00030_V01.CSV<",
        "R00030_V01.CSV', the file has '.*R00020_V01",
    ),
    "pds4: other rows": (".xml", b"<records>20<", b"<records>30<", "records: '30', the file has '20'"),
    "pds4: another first byte": (".xml", b">%d<" % SIZE, b">9<", "object_length: '9'"),
    "pds4: another column": (".xml", b">R5Cnt<", b">R5Foo<", "has not the 92 columns of the EDR"),
}


@pytest.mark.parametrize("name", LABELS)
def test_a_label_that_does_not_describe_the_file_is_refused(tmp_path: Path, name: str) -> None:
    path, _, _ = written(tmp_path, "edr", rows=20)
    suffix, old, new, why = LABELS[name]
    label = path.with_suffix(suffix)
    text = label.read_bytes()
    assert old in text, text
    label.write_bytes(text.replace(old, new))
    with pytest.raises(InputError, match=why) as caught:
        raw.open_csv(path, CLOCK)
    assert caught.value.path == label


@pytest.mark.parametrize("suffix", [".LBL", ".xml"])
def test_either_label_says_that_the_data_are_simulated(tmp_path: Path, suffix: str) -> None:
    path, _, _ = written(tmp_path, "irdr", rows=20)
    path.with_suffix(suffix).unlink()
    assert raw.open_csv(path, CLOCK).meta["simulated"]
    assert read(path, "irdr").attrs["simulated"]
    for label in path.parent.glob("*.[Lx][Bm][Ll]"):
        label.unlink()
    assert not raw.open_csv(path, CLOCK).meta["simulated"]


def test_times_that_contradict_one_another_are_refused(tmp_path: Path) -> None:
    path, _, _ = written(tmp_path, "irdr", rows=5)
    path.write_bytes(path.read_bytes().replace(b"2016-240T12:4", b"2016-240T15:4"))
    with pytest.raises(InputError, match="differ by"):
        raw.open_csv(path, CLOCK)


def test_a_name_that_is_none(tmp_path: Path) -> None:
    path, _, _ = written(tmp_path, "edr", rows=5)
    moved = path.rename(path.with_name("MWR.CSV"))
    with pytest.raises(InputError, match="is not named like"):
        raw.open_csv(moved, CLOCK)
