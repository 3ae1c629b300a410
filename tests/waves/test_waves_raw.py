"""Science packets and housekeeping: the reader gives back what was written, whatever span is asked for."""

from __future__ import annotations

import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from loops import CLOCK
from waves_scene import Loop, granules, read

from instruments.waves import raw
from instruments.waves.housekeeping import COLUMNS, RECORD, read_housekeeping, write_housekeeping
from instruments.waves.packets import frames
from instruments.waves.simulate import OFFSETS, SUBSECONDS
from pipeline.clock import Span
from pipeline.errors import InputError
from pipeline.runs.run import Request, prepare


def fractions(survey: xr.Dataset) -> set[int]:
    """Parts of a clock second, 1/65536 s, at which records begin."""
    ticks = np.rint(CLOCK.to_ticks(survey["et"].values)).tolist()
    return {int(CLOCK.format(t, partition=False).split(":")[1]) for t in ticks}


def test_times_carry_the_subseconds_of_housekeeping(loop: Loop) -> None:
    survey = loop.given["waves.lrs"]
    assert fractions(survey) == {SUBSECONDS}
    assert not survey["coarse"].values.any()
    np.testing.assert_allclose(survey["offset"].values[0], np.array(OFFSETS) / 40)


def test_without_housekeeping_times_are_coarse(loop: Loop, tmp_path: Path) -> None:
    path = next(loop.folder.rglob("*_LRS_*.PKT"))
    shutil.copy(path, tmp_path)
    survey = read(tmp_path, "waves.lrs")
    assert survey["coarse"].values.all()
    assert fractions(survey) == {0}
    assert "simulated" not in survey.attrs


@pytest.mark.parametrize("form", ["waves.lrs", "waves.hrs"])
def test_spans_put_together_are_the_whole(loop: Loop, form: str) -> None:
    whole, found = loop.given[form], granules(loop.folder, form)
    reader = raw.SURVEY.read if form == "waves.lrs" else raw.BURST.read
    edges = np.linspace(loop.scene.span.start - 2, loop.scene.span.stop + 2, 6)
    parts = [reader(found, Span(a, b), CLOCK) for a, b in pairwise(edges)]
    kept = [
        p.isel(et=(p["et"].values >= a) & (p["et"].values < b))
        for p, a, b in zip(parts, edges, edges[1:], strict=False)
    ]
    joined = xr.concat([p.drop_dims("record") for p in kept], "et", data_vars="minimal", coords="minimal")
    xr.testing.assert_identical(joined.drop_attrs(), whole.drop_dims("record").drop_attrs())
    assert sum(p["events"].values.sum(axis=0) for p in parts).tolist() == whole["events"].values.sum(axis=0).tolist()


def test_captures_are_those_simulated(loop: Loop) -> None:
    bursts = loop.given["waves.hrs"]
    truth = loop.truth["waves.burst_mid_e"]
    own = bursts.isel(et=bursts["kind"].values == 2)
    place = np.argmin(np.abs(truth["et"].values - own["et"].values[:, None]), axis=1)
    assert np.max(np.abs(truth["et"].values[place] - own["et"].values)) < 1e-6
    assert len(own["et"]) in (len(truth["et"]), len(truth["et"]) - 1)
    assert set(own["samples"].values) == {6144}


def test_two_files_of_one_time_make_one_survey(loop: Loop, tmp_path: Path) -> None:
    for path in next(loop.folder.rglob("*_LRS_*.PKT")).parent.iterdir():
        shutil.copy(path, tmp_path)
    other = next(tmp_path.glob("*_LRS_*.PKT"))
    shutil.copy(other, tmp_path / "WAV_2016240T000000_LRS_V01.PKT")
    twice = read(tmp_path, "waves.lrs")
    xr.testing.assert_identical(twice.drop_dims("record"), loop.given["waves.lrs"].drop_dims("record"))


def test_frames_of_the_other_source_are_refused(loop: Loop, tmp_path: Path) -> None:
    shutil.copy(next(loop.folder.rglob("*_HRS_*.PKT")), tmp_path / "WAV_2016240T000000_LRS_V01.PKT")
    with pytest.raises(InputError, match="source 1, not 2"):
        read(tmp_path, "waves.lrs")


def test_a_spectrum_of_another_length_is_refused(tmp_path: Path) -> None:
    from instruments.waves.packets import Packet

    path = tmp_path / "WAV_2016240T000000_LRS_V01.PKT"
    path.write_bytes(b"".join(frames(2, [Packet(1, 525_574_420 * 40, bytes(3), bytes(42))])))
    with pytest.raises(InputError, match="has not 43 codes"):
        read(tmp_path, "waves.lrs")


# Housekeeping


def test_housekeeping_round_trip(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    columns = {name: rng.integers(0, 200, 5) for name in COLUMNS if name != "CRC_CCITT"}
    path = tmp_path / "WAV_2016240_HSK_V01.DAT"
    write_housekeeping(path, columns, {})
    assert path.stat().st_size == 5 * RECORD
    found, bad = read_housekeeping(path.with_suffix(".LBL"))
    assert bad.size == 0
    for name, value in columns.items():
        np.testing.assert_array_equal(found[name], value, name)


def test_a_damaged_record_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "WAV_2016240_HSK_V01.DAT"
    write_housekeeping(path, {"SCLK_AND_TSF": np.arange(1, 5) << 1, "SCLK_SUBSEC": np.arange(4)}, {})
    data = bytearray(path.read_bytes())
    data[RECORD + 300] ^= 1
    path.write_bytes(data)
    found, bad = read_housekeeping(path.with_suffix(".LBL"))
    assert bad.tolist() == [1]
    assert found["SCLK_SUBSEC"].tolist() == [0, 2, 3]
    path.write_bytes(b"\1" * (4 * RECORD))
    with pytest.raises(InputError, match="right checksum") as error:
        read_housekeeping(path.with_suffix(".LBL"))
    assert "HSK_V01.DAT" in str(error.value)


def test_housekeeping_of_zeros_is_none(tmp_path: Path) -> None:
    """Zeros have a right checksum; they must not set the clock."""
    path = tmp_path / "WAV_2016240_HSK_V01.DAT"
    write_housekeeping(path, {"SCLK_AND_TSF": np.array([2, 4]), "SCLK_SUBSEC": np.array([7, 8])}, {})
    content = path.read_bytes()
    path.write_bytes(bytes(RECORD) + content[RECORD:])
    columns, bad = read_housekeeping(path.with_suffix(".LBL"))
    assert columns["SCLK_SUBSEC"].tolist() == [8]
    assert bad.tolist() == [0]
    path.write_bytes(bytes(len(content)))
    with pytest.raises(InputError, match="right checksum"):
        read_housekeeping(path.with_suffix(".LBL"))


def test_telemetry_alone(loop: Loop, tmp_path: Path) -> None:
    """What compares with the archive's survey is not made where there is none, and only blocked when asked for."""
    for granule in granules(loop.folder, "waves.lrs"):
        for path in granule.files.values():
            copy = tmp_path / "raw" / path.relative_to(loop.folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
    request = Request(1, tmp_path / "store", tmp_path / "raw", ("waves",))
    plan = prepare(request).plan()
    assert "waves.survey/PJ01" in {str(p.identity) for p in plan.products}
    assert not plan.blocked
    plan = prepare(replace(request, products=("waves.differences",))).plan()
    [blocked] = plan.blocked
    assert blocked["reason"] == "there are no raw data in waves.survey_archive"
