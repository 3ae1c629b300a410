"""Damaged files of every form: refused in one line that names the file, or read with the damage counted; never else."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

sys.path.insert(0, str(Path(__file__).parent))
from jade_scene import electron_rate, ion_logicals, ion_masses, ion_rate
from loops import CLOCK, PASS, scene

from instruments.jade import INSTRUMENT, layout
from instruments.jade.raw_write import write_level2, write_level3
from pipeline.errors import InputError
from pipeline.testing.damage import damaged

RNG = np.random.default_rng(23)
TRIES = 8
WHERE = scene(-60.0, 60.0)
# What makes a product of each form, and how many records its file has here.
KINDS = {
    "jade.l20_electrons": ("HRS_ELC_ALL", lambda data: electron_rate(data, WHERE)),
    "jade.l20_ions": ("LRS_ION_ANY", lambda data: ion_rate(data, WHERE)),
    "jade.l20_logicals": ("HLS_ION_LOG", lambda data: ion_logicals(data, WHERE)),
    "jade.l20_tof": ("HLC_ION_TOF", lambda data: ion_masses(data, WHERE, None)),
    "jade.l30_electrons": ("HRS_ELC_ALL", None),
    "jade.l30_ions": ("LRS_ION_ANY", None),
}


def written(folder: Path, form: str, records: int = 6) -> Path:
    """A sound file of a form; returns its label."""
    kind = KINDS[form][0]
    start = PASS.et + np.arange(float(records))
    if "l20" in form:
        own = {
            "DATA": RNG.integers(0, 120, (records, *layout.KINDS[kind].shape)),
            "ACCUMULATION_TIME": 1, "PACKET_MODE": 2 if kind[:3] == "HRS" else 1, "COMPRESSION": 1,
            "PACKET_SPECIES": 3, "MCP_COMMANDED_VALUE": 3000,
            "SWEEP_TABLE": np.repeat(np.arange(records)[:, None] % 2, 3, axis=1),
        }  # fmt: skip
        return write_level2(folder, kind, np.repeat(start[::2], 2) if "ions" in form else start, own, CLOCK)
    cube = RNG.uniform(1.0, 100.0, (records, 64, layout.L3_KINDS[kind].looks)).astype(np.float32)
    utc = np.array([b"2016-240T12:50:%02d.500" % k for k in range(records)])
    own = {
        "DIM0_UTC": utc, "DATA_UNITS": 2, "PACKET_MODE": 2 if kind[:3] == "HRS" else 1, "ACCUMULATION_TIME": 1,
        "SOURCE_BACKGROUND": 1, **dict.fromkeys(layout.ARRAYS, cube),
    }  # fmt: skip
    return write_level3(folder, kind, "2016240", own, records, version=4)


def without_checksum(path: Path) -> Path:
    """The label states no checksum of the data: what guards them then are the records."""
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(line for line in lines if b"MD5_CHECKSUM" not in line))
    return path


def read(path: Path, form: str) -> xr.Dataset:
    raw = INSTRUMENT.format(form)
    return raw.read([raw.open(path, CLOCK)], None, CLOCK)


def in_label(old: str, new: str) -> Callable[[Path], None]:
    def edit(path: Path) -> None:
        text = path.read_text("ascii")
        assert old in text
        path.write_text(text.replace(old, new), "ascii")

    return edit


def in_record(name: str, value: object, form: str, row: int = 2) -> Callable[[Path], None]:
    """Another value of an object in one record, or in all (row < 0)."""
    kind = KINDS[form][0]
    objects = layout.level2(kind) if "l20" in form else layout.level3(kind, 4)
    record = np.dtype([(n, t, s) for n, (t, s) in objects.items()])

    def edit(path: Path) -> None:
        data = np.fromfile(path.with_suffix(".DAT"), record)
        data[name][slice(None) if row < 0 else row] = value
        data.tofile(path.with_suffix(".DAT"))

    return edit


def cut(to: int | None) -> Callable[[Path], None]:
    def edit(path: Path) -> None:
        data = path.with_suffix(".DAT").read_bytes()
        path.with_suffix(".DAT").write_bytes(data[:to])

    return edit


def moved(lost: int, doubled: int | None, size: int = 100) -> Callable[[Path], None]:
    """A stretch is lost at one place and another one stands twice behind, or none: what is between has moved."""

    def edit(path: Path) -> None:
        data = path.with_suffix(".DAT").read_bytes()
        cut_out = data[:lost] + data[lost + size :]
        end = len(data) if doubled is None else doubled
        path.with_suffix(".DAT").write_bytes(cut_out[: end - size] + data[end - size :] if doubled else cut_out)

    return edit


def drop(suffix: str) -> Callable[[Path], None]:
    return lambda path: path.with_suffix(suffix).unlink()


def add(path: Path, content: bytes) -> None:
    with path.with_suffix(".DAT").open("ab") as file:
        file.write(content)


L2, L2I, L3, L3I = "jade.l20_electrons", "jade.l20_ions", "jade.l30_electrons", "jade.l30_ions"
REFUSED: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "no label": (L2, drop(".LBL"), "LBL"),
    "no data": (L2, drop(".DAT"), "DAT"),
    "label of rubbish": (L2, lambda p: p.write_bytes(b"\x00\xff" * 400), "not a PDS label|keyword missing"),
    "empty data": (L2, cut(0), "the file has 0"),
    "half of the data": (L2, cut(10_000), "the file has 10000"),
    "comments against objects": (L2, in_label("RJW, SYNC, I,", "RJW, SYNC, H,"), "RJW comments say"),
    "no such object": (L2, in_label("= ISSUES", "= ISSUEX"), "no column|no such column"),
    "type unknown": (L2, in_label("LSB_UNSIGNED_INTEGER", "LSB_UNSIGNED_INTEGEX"), "data type"),
    "no record begins with SYNC": (L2, in_record("SYNC", 0, L2, -1), "none of 6 records is sound"),
    "times of another day": (L2, in_record("TIMESTAMP_WHOLE", 0xFFFFFFFF, L2, -1), "none of 6 records is sound"),
    "time that is none": (L3, in_record("DIM0_UTC", b"2016-400T12:50:02.500", L3), "DIM0_UTC"),
    "other units": (L3, in_record("DATA_UNITS", 6, L3), "counts per second"),
    "other mode": (L3I, in_record("PACKET_MODE", 2, L3I), "modes of code"),
    "no accumulation": (L3I, in_record("ACCUMULATION_TIME", 0, L3I), "without accumulation"),
    "bytes lost, the rest has moved up (level 3)": (L3, lambda p: moved(3 * ROW_3 + 9000, None)(p), "DIM0_UTC"),
    "no whole record": (L3, cut(1000), "the file has 1000"),
    "more than its records": (L2, lambda p: add(p, b"\0"), "records end at byte .*, the file has"),
    "more than its records (level 3)": (L3I, lambda p: add(p, b"\0"), "records end at byte .*, the file has"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_damage_is_refused_by_name(tmp_path: Path, name: str) -> None:
    form, damage, says = REFUSED[name]
    path = without_checksum(written(tmp_path, form))
    damage(path)
    with pytest.raises(InputError, match=says) as caught:
        read(path, form)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


COUNTED: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "a first record without SYNC": (L2, in_record("SYNC", 7, L2, 0), "records_damaged"),
    "an accumulation of no length": (L2, in_record("ACCUMULATION_TIME", 0, L2), "records_damaged"),
    "a time of another day": (L2, in_record("TIMESTAMP_WHOLE", 0xFFFFFFFF, L2), "records_damaged"),
    "a time that its UTC contradicts": (L2, in_record("UTC", b"2016-240T12:53:02.500", L2), "records_damaged"),
    "a record of the other rate": (L2, in_record("PACKET_MODE", 1, L2), "records_damaged"),
    "a last record cut short": (L2, cut(-10), "records_truncated"),
    "a last record cut short (level 3)": (L3, cut(-10), "records_truncated"),
    "a ping packet lost": (L2I, in_record("SYNC", 7, L2I, 0), "records_unpaired"),
}  # fmt: skip


@pytest.mark.parametrize("name", COUNTED)
def test_damage_is_counted(tmp_path: Path, name: str) -> None:
    form, damage, what = COUNTED[name]
    path = without_checksum(written(tmp_path, form))
    damage(path)
    data = read(path, form)
    told = dict(zip(data["event"].values.tolist(), data["events"].values.sum(axis=0).tolist(), strict=True))
    assert told[what] == 1


ROW, ROW_3 = (layout.row_bytes(o) for o in (layout.level2("HRS_ELC_ALL"), layout.level3("HRS_ELC_ALL", 4)))
SHIFTED: dict[str, tuple[str, Callable[[Path], None], list[int]]] = {
    "bytes lost, the rest has moved up": (L2, moved(3 * ROW + 500, None), [0, 1, 2]),
    "bytes lost and others doubled": (L2, moved(1 * ROW + 500, 3 * ROW + 900), [0, 4, 5]),
    "bytes lost in the last whole record (level 3)": (L3, moved(4 * ROW_3 + 9000, None), [0, 1, 2, 3]),
}


@pytest.mark.parametrize("name", SHIFTED)
def test_records_with_bytes_lost_are_left_out(tmp_path: Path, name: str) -> None:
    form, damage, kept = SHIFTED[name]
    path = without_checksum(written(tmp_path, form))
    whole = read(path, form)["et"].values
    damage(path)
    np.testing.assert_array_equal(read(path, form)["et"].values, whole[kept])


@pytest.mark.parametrize("form", KINDS)
def test_one_bit_against_the_checksum_is_refused(tmp_path: Path, form: str) -> None:
    path = written(tmp_path, form)
    data = bytearray(path.with_suffix(".DAT").read_bytes())
    data[-700] ^= 1  # within a record's values, which nothing else guards
    path.with_suffix(".DAT").write_bytes(data)
    with pytest.raises(InputError, match="MD5"):
        read(path, form)


@pytest.mark.parametrize("value", [-1e31, 1e13, np.nan, np.inf])
def test_rates_that_are_none_are_missing(tmp_path: Path, value: float) -> None:
    path = without_checksum(written(tmp_path, L3I))
    in_record("DATA", value, L3I)(path)
    rate = read(path, L3I)["rate"].values
    assert np.isnan(rate[2]).all()
    assert np.isfinite(rate[[0, 1, 3]]).all()


@pytest.mark.parametrize("suffix", [".LBL", ".DAT"])
@pytest.mark.parametrize("form", KINDS)
def test_random_damage_is_refused_or_counted(tmp_path: Path, form: str, suffix: str) -> None:
    path = written(tmp_path, form, 4)
    file = path.with_suffix(suffix)
    whole = file.read_bytes()
    rng, said = np.random.default_rng([7, list(KINDS).index(form)]), [str(tmp_path)]
    for _ in range(TRIES):
        file.write_bytes(damaged(whole, rng))
        try:
            data = read(path, form)
        except InputError as error:
            said.append(str(error))
            continue
        make = KINDS[form][1]
        made = make(data) if make is not None and data["et"].size else data
        assert np.isfinite(made["et"].values).all()
        assert np.all(np.diff(made["et"].values) >= 0)
        value = made["rate"].values
        assert not np.isinf(value).any()
        if make is not None and data["et"].size:
            np.testing.assert_array_equal(np.isnan(value), (made["quality"].values & np.uint32(1)) != 0)
    assert all(str(tmp_path) in text and "\n" not in text for text in said)
