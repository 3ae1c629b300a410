"""Damaged files of every form: refused in one line that names the file, or read with the damage counted; never else."""

from __future__ import annotations

import re
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from loops import CLOCK
from waves_scene import Loop, call, granules, step_named

from instruments.waves import INSTRUMENT
from instruments.waves.burst_files import write_bursts
from instruments.waves.layout import LFR_LO
from pipeline.errors import InputError
from pipeline.instrument import Granule
from pipeline.testing.damage import damaged

TRIES = 20


def folder_of(loop: Loop, form: str, tmp_path: Path) -> Path:
    """A folder with one undamaged granule of a form; returns the file to damage."""
    if form in ("waves.lrs", "waves.hrs"):
        source = next(loop.folder.rglob(f"*_{form[-3:].upper()}_*.PKT"))
        shutil.copy(source, tmp_path)
        return tmp_path / source.name
    if form == "waves.survey_csv":
        source = next(loop.folder.rglob("*_E_V*.CSV"))
        (tmp_path / source.name).write_bytes(b"".join(source.read_bytes().splitlines(keepends=True)[:40]))
        return tmp_path / source.name
    if form == "waves.rec":
        path = tmp_path / "WAV_2016240T120000_E_REC_V02.LBL"
        bursts = loop.given["waves.burst_low_e"].isel(et=slice(0, 3))
        given = bursts[["waveform", "samples", "attenuator", "clipped_fraction"]].assign(kind=("et", [LFR_LO] * 3))
        write_bursts(path, given, CLOCK, 24_908)
        return path
    path = tmp_path / "a.d2t"
    head = b'<stream version="2.2"></stream>'
    units = b"" if form == "waves.das2_codes" else b"V**2 m**-2 Hz**-1"
    tags = b",".join(b"%.1f" % (3500 + 1000 * k) for k in range(38))
    packet = b'<packet><x type="time24" units="UTC"/><yscan name="v" type="ascii9" zUnits="%s" yUnits="kHz"' % units
    packet += b' nitems="38" yTags="%s"/></packet>' % tags
    rows = b"".join(b":05:2016-08-27T12:%02d:10.309 " % k + b"13       " * 38 for k in range(20))
    path.write_bytes(b"[00]%06d%s[05]%06d%s" % (len(head), head, len(packet), packet) + rows)
    return path


FORMS = [f.name for f in INSTRUMENT.formats]
STEPS = {
    "waves.lrs": "survey_from_telemetry",
    "waves.hrs": "waveform_mid_e",
    "waves.survey_csv": "survey_from_csv",
    "waves.rec": "archived_low_e",
    "waves.das2_codes": "survey_from_codes",
    "waves.das2_survey": "survey_from_stream",
}


@pytest.mark.parametrize("form", FORMS)
def test_damage_is_refused_or_counted(loop: Loop, tmp_path: Path, form: str) -> None:
    path = folder_of(loop, form, tmp_path)
    whole = path.read_bytes()
    rng = np.random.default_rng([7, FORMS.index(form)])
    read, said = 0, [str(tmp_path)]
    for _ in range(TRIES):
        path.write_bytes(damaged(whole, rng))
        try:
            found = granules_of(tmp_path, form)
            data = INSTRUMENT.format(form).read(found, None, CLOCK)
        except InputError as error:
            said.append(str(error))
            continue
        read += 1
        made = call_on(loop, form, data)
        assert np.all(np.diff(made["et"].values) > 0)
    assert all(str(tmp_path) in text and "\n" not in text for text in said)
    assert read or form in ("waves.survey_csv", "waves.das2_codes", "waves.das2_survey", "waves.rec")


def in_bytes(old: bytes, new: bytes) -> Callable[[Path], None]:
    """Other bytes in place of the first of these."""

    def edit(path: Path) -> None:
        whole = path.read_bytes()
        assert old in whole
        path.write_bytes(whole.replace(old, new, 1))

    return edit


def in_capture(offset: int, new: bytes) -> Callable[[Path], None]:
    """Other bytes in the second of the records, of 24908 bytes, behind the file's header."""

    def edit(label: Path) -> None:
        path = label.with_suffix(".DAT")
        whole = bytearray(path.read_bytes())
        start = 2 * 24_908 + offset
        whole[start : start + len(new)] = new
        path.write_bytes(whole)

    return edit


def no_time(path: Path) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    lines[20] = re.sub(rb",2016-[^,]*,", b",,", lines[20], count=1)
    path.write_bytes(b"".join(lines))


def lost(place: int, size: int = 100) -> Callable[[Path], None]:
    """Bytes are missing at a place of the data; below 0 there are some more at the end."""

    def edit(label: Path) -> None:
        path = label.with_suffix(".DAT")
        whole = path.read_bytes()
        path.write_bytes(whole + bytes(size) if place < 0 else whole[:place] + whole[place + size :])

    return edit


CSV, REC, CODES = "waves.survey_csv", "waves.rec", "waves.das2_codes"
REFUSED: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "survey: another header": (CSV, in_bytes(b"48.83,97.66", b"48.83,99.66"), "frequencies"),
    "survey: a field too many": (CSV, in_bytes(b"2016-240T12", b"5,2016-240T12"), "line 6: is no survey of 154"),
    "survey: a word that is no number": (CSV, in_bytes(b"e-1", b"x-1"), "not readable"),
    "survey: a time that is none": (CSV, in_bytes(b"2016-240T12", b"2016-240T32"), "not readable"),
    "survey: a time that is not there": (CSV, no_time, "not readable"),
    "das2: bytes that are no packet": (CODES, in_bytes(b":05:2016-08-27T12:07", b"#05:2016-08-27T12:07"), "byte "),
    "das2: another number of values": (CODES, in_bytes(b'nitems="38"', b'nitems="37"'), "yscan|nitems|values"),
    "das2: no code": (CODES, in_bytes(b"13       13", b"13.5     13"), "no code of 8 bits"),
    "burst: kind": (REC, in_capture(64, struct.pack("<f", 1e-3)), "no sampling interval"),
    "burst: count": (REC, in_capture(72, struct.pack("<I", 7000)), "more than its record"),
    "burst: time": (REC, in_capture(24, b"2016-940T12"), "TRIG_SCET"),
    "burst: length of records": (REC, in_bytes(b"= 24908", b"= 24904"), "records of 24904 bytes hold rows of 24908"),
    "burst: bytes lost, the rest has moved up": (REC, lost(2 * 24_908 - 9000), "TRIG_SCET"),
    "burst: more than its records": (REC, lost(-1), "records end at byte"),
    "burst: label without data": (REC, lambda p: p.with_suffix(".DAT").unlink(), "DAT"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_damage_is_refused_by_name(loop: Loop, tmp_path: Path, what: str) -> None:
    form, damage, reason = REFUSED[what]
    path = folder_of(loop, form, tmp_path)
    damage(path)
    with pytest.raises(InputError, match=reason) as caught:
        INSTRUMENT.format(form).read(granules_of(tmp_path, form), None, CLOCK)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def granules_of(folder: Path, form: str) -> list[Granule]:
    if "das2" in form:
        return [INSTRUMENT.format(form).open(folder / "a.d2t", CLOCK)]
    return granules(folder, form)


def call_on(loop: Loop, form: str, data: xr.Dataset) -> xr.Dataset:
    name = STEPS[form]
    assert step_named(name).raw == form
    return call(name, {form: data, "span": loop.scene.span})


def test_the_capture_before_one_cut_short_is_left_out_and_counted(loop: Loop, tmp_path: Path) -> None:
    label = folder_of(loop, REC, tmp_path)
    whole = INSTRUMENT.format(REC).read(granules(tmp_path, REC), None, CLOCK)
    lost(3 * 24_908 - 9000)(label)  # within the second of three captures
    data = INSTRUMENT.format(REC).read(granules(tmp_path, REC), None, CLOCK)
    np.testing.assert_array_equal(data["et"].values, whole["et"].values[:1])
    np.testing.assert_array_equal(data["waveform"].values, whole["waveform"].values[:1])
    told = dict(zip(data["event"].values.tolist(), data["events"].values.sum(axis=0).tolist(), strict=True))
    assert told == {"captures_received": 1, "captures_damaged": 1, "captures_truncated": 1}


def test_a_capture_whose_times_run_apart_is_left_out_and_counted(loop: Loop, tmp_path: Path) -> None:
    label = folder_of(loop, REC, tmp_path)
    whole = INSTRUMENT.format(REC).read(granules(tmp_path, REC), None, CLOCK)
    in_capture(24, b"2016-240T13")(label)
    data = INSTRUMENT.format(REC).read(granules(tmp_path, REC), None, CLOCK)
    np.testing.assert_array_equal(data["et"].values, whole["et"].values[[0, 2]])
    assert data["events"].values.sum(axis=0).tolist() == [2, 1, 0]


def test_records_of_bursts_with_damaged_data_are_refused_or_read(loop: Loop, tmp_path: Path) -> None:
    label = folder_of(loop, "waves.rec", tmp_path)
    path = label.with_suffix(".DAT")
    whole, rng, read = path.read_bytes(), np.random.default_rng(3), 0
    said = [str(tmp_path)]
    for _ in range(TRIES):
        path.write_bytes(damaged(whole, rng))
        try:
            data = INSTRUMENT.format("waves.rec").read(granules(tmp_path, "waves.rec"), None, CLOCK)
            read += data.sizes["et"] > 0
        except InputError as error:
            said.append(str(error))
    assert read
    assert all(str(tmp_path) in text for text in said)
