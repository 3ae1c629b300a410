"""Numbers that are wrong in files that are whole: found by what goes before and after them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

sys.path.insert(0, str(Path(__file__).parent))
from gs_scene import CLOCK, Loop, recording, tables

from instruments.gs import open_loop, raw, raw_media, tracking
from instruments.gs.calibrate import orientation_of
from instruments.gs.ramps import misfits
from instruments.gs.simulate_files import nutation_corrections
from pipeline.dataset.quality import Quality
from pipeline.errors import InputError
from pipeline.formats.dsn import eop, tnf

SUSPECT = int(Quality.SUSPECT)
RESIDUALS = "gs.residuals"


# Ramps


def suspect_ramps(uplink: xr.Dataset) -> list[int]:
    return np.flatnonzero(uplink["quality"].values & SUSPECT).tolist()


def uplink_of(loop: Loop, folder: Path, change: Callable[[np.ndarray], np.ndarray | None]) -> xr.Dataset:
    """Ramps of a file whose ramp records were changed."""
    content = tnf.read_tnf(loop.path("TNF"))
    changed = change(content.records[9])
    if changed is not None:
        lost = content.records[9].size - changed.size
        content.records[9], content.order = changed, content.order[lost:]
    path = folder / loop.path("TNF").name
    tnf.write_tnf(path, content)
    data = raw.read_tnf([raw.open_tnf(path, CLOCK)], None, CLOCK)
    return tracking.uplink_from_tnf(data, tables()["noise"])


def put(name: str, value: float, place: int = 20) -> Callable[[np.ndarray], None]:
    def change(records: np.ndarray) -> None:
        records[name][place] = value

    return change


CHANGED: dict[str, tuple[Callable[[np.ndarray], np.ndarray | None], list[int]]] = {
    "nothing": (lambda _: None, []),
    "a frequency": (put("ramp_freq", 7.15001e9), [20]),
    "a frequency by little": (lambda r: r["ramp_freq"].__setitem__(20, r["ramp_freq"][20] + 0.01), [20]),
    "a rate": (put("ramp_rate", -132.1), [20]),
    "the first frequency that changes": (put("ramp_freq", 7.15001e9, 2), [2]),
    "a time": (lambda r: r["sec"].__setitem__(20, r["sec"][20] + 32.0), [19, 20]),
    "a delay": (put("transmit_time_tag_delay", 1.4e-14), [20]),
    "two frequencies apart": (
        lambda r: r["ramp_freq"].__setitem__([10, 20], [7.15001e9, 7.16e9]),
        [10, 20],
    ),
    "a lost record": (lambda r: np.delete(r, 20), [19]),
    "two lost records": (lambda r: np.delete(r, [20, 21]), [19]),
}


@pytest.mark.parametrize("case", CHANGED)
def test_ramps_that_do_not_meet_are_suspect_and_no_others(loop: Loop, tmp_path: Path, case: str) -> None:
    change, wrong = CHANGED[case]
    uplink = uplink_of(loop, tmp_path, change)
    assert suspect_ramps(uplink) == wrong
    assert np.isfinite(uplink["frequency"].values).all()


def test_no_station_sends_beyond_its_band(loop: Loop, tmp_path: Path) -> None:
    """7.11974 GHz, two bits from 7.15327."""
    uplink = uplink_of(loop, tmp_path, put("ramp_freq", 7.11974e9))
    assert np.flatnonzero(np.isnan(uplink["frequency"].values)).tolist() == [20]
    assert suspect_ramps(uplink) == []


def test_a_station_may_tune_and_begin_anew(loop6: Loop) -> None:
    """Constant frequencies jump, ramps after a pause too; and the three links of PJ6 have nothing suspect."""
    frequency = np.array([7.1774e9, 7.17701672e9, 7.17701672e9, 7.17700975e9, 7.17700975e9])
    constant, length = np.zeros(5), np.full(5, 8.0)
    follows = np.array([False, True, True, True, True])
    assert not misfits(frequency, constant, length, follows).any()
    assert misfits(frequency, np.full(5, 1e-9), length, follows).tolist() == [True, False, True, False, False]
    # The last has one witness: either may be wrong.
    ramped = 7.15e9 + 60.0 * np.array([0.0, 1.0, 2.0, 3.0, 5.0])
    assert misfits(ramped, np.ones(5), np.full(5, 60.0), follows).tolist() == [False, False, False, True, True]
    paused = np.array([False, False, True, False, True])
    assert not misfits(frequency, np.full(5, 1e-9), length, paused).any()
    # Away for one ramp and back is no tuning.
    away = np.array([7.15e9, 7.15e9, 7.16e9, 7.15e9, 7.15e9])
    assert misfits(away, constant, length, follows).tolist() == [False, False, True, False, False]
    assert suspect_ramps(loop6.products["gs.uplink"]) == []


@pytest.mark.real
def test_the_ramps_of_a_real_file_meet(real_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """168 ramps of three stations, with handovers, a sweep and nine times tuned."""
    path = real_data / "gravity" / "odf07155.dat"
    if not path.exists():
        pytest.skip(f"{path} not present")
    monkeypatch.setattr(raw, "SPACECRAFT", 236)
    uplink = tracking.uplink_from_odf(raw._joined([raw._read_odf(path)], None), tables()["noise"])
    assert uplink.sizes["ramp"] == 168
    assert np.unique(uplink["station"].values).tolist() == [14, 43, 63]
    assert not uplink["quality"].values.any()


def test_counts_of_a_suspect_ramp_are_flagged_and_not_combined(loop: Loop, tmp_path: Path) -> None:
    """A rate that is off by so little that no residual stands out of its neighbours."""
    rate = float(loop.products["gs.uplink"]["rate"].values[20])
    uplink = uplink_of(loop, tmp_path, put("ramp_rate", rate + 1e-4))
    made, sound = (m[RESIDUALS] for m in (loop.made(tables(), **{"gs.uplink": uplink}), loop.products))
    new = (made["quality"].values[:, 0] & SUSPECT) > (sound["quality"].values[:, 0] & SUSPECT)
    assert 55 <= new.sum() <= 62
    assert np.isfinite(made["residual"].values[new, 0]).mean() > 0.9
    assert np.isnan(made["range_rate"].values[new]).all()
    assert np.array_equal(made["residual"].values[~new, 0], sound["residual"].values[~new, 0], equal_nan=True)


def test_one_delay_that_is_off_moves_nothing(loop: Loop, tmp_path: Path) -> None:
    uplink = uplink_of(loop, tmp_path, put("transmit_time_tag_delay", 0.5, 0))
    assert suspect_ramps(uplink) == [0]
    made = loop.made(tables(), **{"gs.uplink": uplink})[RESIDUALS]
    assert np.array_equal(made["computed"].values, loop.products[RESIDUALS]["computed"].values, equal_nan=True)


def test_a_delay_of_a_receiver_that_is_off_is_suspect(loop: Loop, tmp_path: Path) -> None:
    content = tnf.read_tnf(loop.path("TNF"))
    content.records[1]["rcv_time_tag_delay"][300] = 2 * 77e-6
    path = tmp_path / loop.path("TNF").name
    tnf.write_tnf(path, content)
    data = raw.read_tnf([raw.open_tnf(path, CLOCK)], None, CLOCK)
    made = tracking.tracking_from_tnf(data, tables()["noise"])
    assert np.flatnonzero(made["quality"].values[:, 0] & SUSPECT).tolist() == [300]


# Earth orientation


def spoiled_orientation(loop: Loop, folder: Path, name: str, by: float) -> Path:
    content = eop.read_eop(loop.path("EOP"))
    content.table[name][4] += by
    path = folder / loop.path("EOP").name
    eop.write_eop(path, content)
    return path


@pytest.mark.parametrize(
    ("name", "by", "reason"),
    [
        ("deps", 11.6, "MJD 57627: .*celestial pole 1.* mas"),
        ("dpsi", -12.0, "MJD 57627: .*celestial pole"),
        ("pole_x", 4.0, r"line 8: .*curve"),
        ("pole_y", -4.0, r"line 8: .*curve"),
        ("tai_minus_ut1", 2e-3, r"line 8: .*curve"),
    ],
)
def test_a_day_of_orientation_that_is_off_is_refused(
    loop: Loop, tmp_path: Path, name: str, by: float, reason: str
) -> None:
    with pytest.raises(InputError, match=reason):
        raw_media.open_eop(spoiled_orientation(loop, tmp_path, name, by), CLOCK)


def test_ten_years_of_measured_orientation_are_not_refused(loop: Loop, tmp_path: Path) -> None:
    """IERS C04, all days of the table."""
    known = orientation_of(None, tables()["earth_orientation"])
    head = eop.read_eop(loop.path("EOP"))
    dpsi, deps = nutation_corrections(known.mjd, known.dx, known.dy)
    rows = np.zeros(known.mjd.size, eop.DTYPE)
    columns = {"mjd": known.mjd, "pole_x": known.x, "pole_y": known.y, "dpsi": dpsi, "deps": deps}
    columns |= {"tai_minus_ut1": -known.ut1_tai, "tai_minus_utc": np.round(-known.ut1_tai)}
    for name, column in columns.items():
        rows[name] = column
    path = tmp_path / loop.path("EOP").name
    eop.write_eop(path, eop.Eop(head.labels, rows))
    read = eop.read_eop(path).table
    assert read.size > 3600
    raw_media._check_pole(path, read)


# Open loop


@pytest.mark.parametrize("how", ["repeated", "foreign"])
def test_a_unit_that_goes_on_beyond_its_length_costs_its_second(tmp_path: Path, how: str) -> None:
    """100 bytes more in the samples of the fifth unit: those after are 25 ms late."""
    path = recording(tmp_path, lambda t: 40.0 * t, 50.0)
    content = path.read_bytes()
    size = len(content) // 10
    place = 4 * size + 2000
    more = content[place : place + 100] if how == "repeated" else bytes(100)
    path.write_bytes(content[: place + 100] + more + content[place + 100 :])
    data = open_loop.read_recording([open_loop.open_recording(path, CLOCK)], None, CLOCK)
    assert data["second"].values.tolist() == [50000.0 + k for k in range(10) if k != 4]
    assert data.attrs["units_damaged"] == 2
    made = open_loop.open_loop(data)
    assert made.sizes["et"] == 9
    assert not made["quality"].values.any()
