"""Files: what they give, and what damaged ones do."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

sys.path.insert(0, str(Path(__file__).parent))
from gs_scene import CLOCK, Loop, finished, recording, tables

from instruments.gs import open_loop, raw, raw_media, tracking
from instruments.gs.schemas import CYCLE_SLIP, NO_SIGNAL
from pipeline.clock import Span, format_utc
from pipeline.dataset.quality import Quality
from pipeline.errors import CalibrationError, InputError
from pipeline.formats.dsn import eop, odf, tnf
from pipeline.instrument import RawFormat
from pipeline.passes import get_pass

FORMATS = {"TNF": raw.TNF, "ODF": raw.ODF, "RSR": open_loop.RSR, "TRO": raw_media.CSP, "EOP": raw_media.EOP}


def tracked(loop: Loop, path: Path, **parameters: float) -> object:
    return tracking.tracking_from_tnf(
        raw.read_tnf([raw.open_tnf(path, CLOCK)], None, CLOCK), tables()["noise"], **parameters
    )


def test_granules_are_named_and_reach_from_the_transmission_on(loop: Loop) -> None:
    granule = raw.open_tnf(loop.path("TNF"), CLOCK)
    assert granule.id.startswith("GRV_JUGR_2016240_13")
    assert granule.version == 1
    first = loop.truth["gs.tracking"]["et"].values[0]
    assert granule.start == pytest.approx(first - 0.5 - 7200.0, abs=0.01)
    assert granule.start < loop.products["gs.uplink"]["et"].values[0]
    assert granule.stop > loop.truth["gs.tracking"]["et"].values[-1]
    assert format_utc(first, 0).startswith("2016-08-27T13:")
    assert all(get_pass(1).span.contains((g := f.open(loop.path(s), CLOCK)).start) and g for s, f in FORMATS.items())


def test_odf_and_tnf_give_the_same_frequencies(loop6: Loop) -> None:
    known = tables()
    of_odf = finished(
        tracking.tracking_from_odf(loop6.read(raw.ODF), known["noise"], known["transponder"]), "gs.tracking"
    )
    of_tnf = finished(tracked(loop6, loop6.path("TNF"), count_time=60.0), "gs.tracking")
    both = np.intersect1d(np.round(of_odf["et"].values, 3), np.round(of_tnf["et"].values, 3), return_indices=True)
    assert both[0].size >= 18
    off = of_odf["sky_frequency"].values[both[1]] - of_tnf["sky_frequency"].values[both[2]]
    # The phases of TNF are cut at 2^-32 cycles, the observables of ODF at 1e-9 Hz, doubles of 3e10 Hz at 4e-6.
    assert np.nanmax(np.abs(off)) < 2e-5
    uplinks = [f(loop6.read(form), known["noise"]) for f, form in (
        (tracking.uplink_from_odf, raw.ODF), (tracking.uplink_from_tnf, raw.TNF))]  # fmt: skip
    assert np.allclose(uplinks[0]["frequency"].values, uplinks[1]["frequency"].values, rtol=0, atol=1e-5)
    assert np.allclose(uplinks[0]["rate"].values, uplinks[1]["rate"].values, rtol=0, atol=1e-9)


def test_total_count_phases_are_preferred_and_say_the_same(loop: Loop, tmp_path: Path) -> None:
    content = tnf.read_tnf(loop.path("TNF"))
    one = content.records[1]
    n = one.size // 60 * 60
    head = one[:n:60]
    columns = {k: head[k] for k in ("scft_id", "year", "doy", "sec", "dl_dss_id", "vld_ul_stn", "vld_dop_mode")}
    columns |= {"ul_band": 2, "vld_dl_band": 2, "carr_lock_stat": 4, "rcv_time_tag_delay": 77e-6}
    columns |= {"dl_zheight_corr": -99.0, "obs_cnt_time": 1.0}
    records = tnf.make_records(17, columns, num_obs=60)
    seen = np.zeros(n, tnf.observable_dtype(17))
    for part in ("hi", "lo", "frac"):
        seen[f"total_cnt_phs_obs_{part}"] = one[f"phs_{part}_0"][:n]
    path = tmp_path / loop.path("TNF").name
    order = np.concatenate([content.order, np.full(records.size, 17, np.uint8)])
    tnf.write_tnf(path, tnf.Tnf({**content.records, 17: records}, {17: seen}, order))
    made, before = tracked(loop, path), loop.products["gs.tracking"]
    n_same = made["et"].size  # type: ignore[attr-defined]
    assert n_same == before.sizes["et"]
    off = made["sky_frequency"].values - before["sky_frequency"].values  # type: ignore[index]
    # Out of lock is a matter of type 1: type 17 bridges it here.
    assert np.nanmax(np.abs(off)) == 0.0
    assert np.isfinite(made["power"].values[:-70, 0]).mean() > 0.99  # type: ignore[index]


def test_one_way_and_other_stations_are_counted_and_left_out(loop: Loop, tmp_path: Path) -> None:
    content = tnf.read_tnf(loop.path("TNF"))
    one = content.records[1]
    one["vld_dop_mode"][:100] = 1
    one["dl_dss_id"][200:300] = 63
    path = tmp_path / loop.path("TNF").name
    tnf.write_tnf(path, content)
    made = tracked(loop, path)
    assert made.attrs["records_one_way"] == 100  # type: ignore[attr-defined]
    assert made.attrs["records_of_other_stations"] == 100  # type: ignore[attr-defined]
    other = tracked(loop, path, station=63)
    assert set(other["receiver"].values) == {63}  # type: ignore[index]
    with pytest.raises(CalibrationError, match="DSS-14"):
        tracked(loop, path, station=14)


def test_phases_that_are_lost_leave_a_hole_and_not_a_jump(loop: Loop, tmp_path: Path) -> None:
    content = tnf.read_tnf(loop.path("TNF"))
    content.records[1] = np.delete(content.records[1], np.arange(500, 520))
    content.order = content.order[: content.order.size - 20]
    path = tmp_path / loop.path("TNF").name
    tnf.write_tnf(path, content)
    made = tracked(loop, path)
    assert made.sizes["et"] == loop.products["gs.tracking"].sizes["et"] - 21  # type: ignore[attr-defined]
    assert np.diff(made["et"].values).max() == pytest.approx(22.0, abs=0.01)  # type: ignore[index]


def test_what_happened_within_a_long_count_is_known(loop: Loop) -> None:
    """Counts of a minute over phases of a second: two losses of lock and a slip in their midst."""
    one = loop.products["gs.tracking"]
    bad = one["et"].values[(one["quality"].values[:, 0] & CYCLE_SLIP.mask) != 0]
    made = tracked(loop, loop.path("TNF"), count_time=60.0)
    flagged = (made["quality"].values[:, 0] & CYCLE_SLIP.mask) != 0  # type: ignore[index]
    near = (np.abs(made["et"].values[:, None] - bad) < 30.0).any(axis=1)  # type: ignore[index]
    assert flagged.tolist() == near.tolist()
    lost = one["et"].values[np.isnan(one["sky_frequency"].values[:, 0])]
    near = (np.abs(made["et"].values[:, None] - lost) < 30.0).any(axis=1)  # type: ignore[index]
    assert np.isnan(made["sky_frequency"].values[:, 0]).tolist() == near.tolist()  # type: ignore[index]
    assert near.sum() > 0


def test_count_times_that_do_not_fit_are_refused(loop: Loop) -> None:
    for wrong in (0.0, -1.0, 0.5, 1e-7, 7200.0):
        with pytest.raises(CalibrationError, match=r"count_time|apart"):
            tracked(loop, loop.path("TNF"), count_time=wrong)


# Open loop


def found(path: Path, interval: float = 1.0) -> object:
    data = open_loop.read_recording([open_loop.open_recording(path, CLOCK)], None, CLOCK)
    return finished(open_loop.open_loop(data, interval=interval), "gs.open_loop")


@pytest.mark.parametrize("interval", [1.0, 5.0])
def test_frequency_of_a_drifting_line_at_the_cramer_rao_bound(tmp_path: Path, interval: float) -> None:
    path = recording(tmp_path, lambda t: 123.4 * t + 0.5 * 2.0 * t**2, 40.0, seconds=60)
    made = found(path, interval)
    middle = (np.arange(60.0 / interval) + 0.5) * interval
    tuned = 8404.1e6 - 3.0 * 0.5  # the oscillator begins anew with every second
    off = made["sky_frequency"].values - (tuned + 123.4 + 2.0 * middle)  # type: ignore[index]
    bound = np.sqrt(12.0 / (2.0 * 10.0**4.0)) / (2.0 * np.pi * interval**1.5)
    stated = made["sky_frequency_random"].values  # type: ignore[index]
    assert np.mean(stated) == pytest.approx(bound, rel=0.05)
    assert np.std(off) == pytest.approx(bound, rel=0.45)
    assert abs(np.mean(off)) < 4.0 * bound / np.sqrt(off.size)
    assert np.allclose(made["power"].values, 40.0, atol=1.0)  # type: ignore[index]
    assert np.mean(made["power"].values) == pytest.approx(40.0, abs=0.2)  # type: ignore[index]


def test_a_strong_line_does_not_lift_the_noise(tmp_path: Path) -> None:
    made = found(recording(tmp_path, lambda t: 123.4 * t + 0.5 * 2.0 * t**2, 50.0, seconds=20))
    assert np.mean(made["power"].values) == pytest.approx(50.0, abs=0.3)  # type: ignore[index]


def test_no_line_no_frequency(tmp_path: Path) -> None:
    made = found(recording(tmp_path, lambda t: 50.0 * t, 5.0))
    assert np.isnan(made["sky_frequency"].values).all()  # type: ignore[index]
    assert (made["quality"].values & NO_SIGNAL.mask).all()  # type: ignore[index]


def test_a_jump_of_the_phase_is_flagged(tmp_path: Path) -> None:
    made = found(recording(tmp_path, lambda t: 50.0 * t + 0.45 * (t > 4.5) * (t < 4.75), 50.0))
    assert np.flatnonzero(made["quality"].values & CYCLE_SLIP.mask).tolist() == [4]  # type: ignore[index]


def test_lost_units_cost_their_interval_alone(tmp_path: Path) -> None:
    path = recording(tmp_path, lambda t: 50.0 * t, 50.0)
    content = bytearray(path.read_bytes())
    size = len(content) // 10
    content[3 * size : 3 * size + 4] = b"XXXX"
    path.write_bytes(content)
    made = found(path)
    assert made.sizes["et"] == 9  # type: ignore[attr-defined]
    assert made.attrs["units_damaged"] == 1  # type: ignore[attr-defined]
    with pytest.raises(CalibrationError, match="interval"):
        found(path, 0.5)


@pytest.mark.parametrize("unit", [0, 5, 9])
@pytest.mark.parametrize(("byte", "wrong"), [(76, 2100), (78, 100), (80, 0x40D0)])
def test_a_unit_of_another_time_costs_its_second(tmp_path: Path, unit: int, byte: int, wrong: int) -> None:
    """Of another year, day, or hour of the day."""
    path = recording(tmp_path, lambda t: 50.0 * t, 50.0)
    content = bytearray(path.read_bytes())
    place = unit * (len(content) // 10) + byte
    content[place : place + 2] = wrong.to_bytes(2, "big")
    path.write_bytes(content)
    granule = open_loop.open_recording(path, CLOCK)
    assert 9.0 <= granule.stop - granule.start < 86400.0
    made = found(path)
    # At another whole second of the day it is a second by itself.
    assert made.sizes["et"] in ((9, 10) if byte == 80 else (9,))  # type: ignore[attr-defined]
    assert made.attrs["units_damaged"] == (byte != 80)  # type: ignore[attr-defined]


# Damage


def damaged(
    loop: Loop, suffix: str, folder: Path, change: Callable[[bytes], bytes], name: str | None = None
) -> InputError:
    source = loop.path(suffix)
    path = folder / (name or source.name)
    path.write_bytes(change(source.read_bytes()))
    form: RawFormat = FORMATS[suffix]
    with pytest.raises(InputError) as caught:
        form.read([form.open(path, CLOCK)], None, CLOCK)
    assert path.name in str(caught.value)
    return caught.value


@pytest.mark.parametrize("suffix", list(FORMATS))
@pytest.mark.parametrize("what", ["empty", "text", "noise", "zeros"])
def test_files_that_are_none_are_refused(loop: Loop, tmp_path: Path, suffix: str, what: str) -> None:
    content = {
        "empty": b"",
        "text": b"<html>404 not found</html>\n" * 100,
        "noise": np.random.default_rng(1).bytes(20000),
        "zeros": bytes(20000),
    }[what]
    damaged(loop, suffix, tmp_path, lambda _: content)


@pytest.mark.parametrize("suffix", list(FORMATS))
def test_names_that_are_not_the_archives_are_refused(loop: Loop, tmp_path: Path, suffix: str) -> None:
    reason = damaged(loop, suffix, tmp_path, lambda b: b, f"tracking.{suffix}")
    assert "named" in str(reason)


def test_a_tracking_file_cut_short_keeps_what_is_whole(loop: Loop, tmp_path: Path) -> None:
    path = tmp_path / loop.path("TNF").name
    path.write_bytes(loop.path("TNF").read_bytes()[:-500])
    data = raw.read_tnf([raw.open_tnf(path, CLOCK)], None, CLOCK)
    assert data.attrs["units_damaged"] == 1
    assert data.sizes["et"] == loop.products["gs.tracking"].sizes["et"] + 1 - 2


@pytest.mark.parametrize("at", ["first", "middle", "last"])
def test_a_flipped_byte_in_a_header_costs_its_unit(loop: Loop, tmp_path: Path, at: str) -> None:
    content = bytearray(loop.path("TNF").read_bytes())
    place = {"first": 0, "middle": len(content) - 378 * 700, "last": len(content) - 378}[at]
    content[place + 9] ^= 0xFF
    path = tmp_path / loop.path("TNF").name
    path.write_bytes(content)
    assert raw.read_tnf([raw.open_tnf(path, CLOCK)], None, CLOCK).attrs["units_damaged"] >= 1


def test_another_spacecraft_is_named(loop: Loop, tmp_path: Path) -> None:
    content = tnf.read_tnf(loop.path("TNF"))
    content.records[1]["scft_id"] = 82
    path = tmp_path / loop.path("TNF").name
    tnf.write_tnf(path, content)
    with pytest.raises(InputError, match="spacecraft 82"):
        raw.open_tnf(path, CLOCK)
    orbit = odf.read_odf(loop.path("ODF"))
    next(g for g in orbit.groups if g.key == odf.ORBIT).records["spacecraft"] = 236
    path = tmp_path / loop.path("ODF").name
    odf.write_odf(path, orbit)
    with pytest.raises(InputError, match="spacecraft 236"):
        raw.open_odf(path, CLOCK)


def test_an_orbit_data_file_cut_short_is_refused_whole(loop: Loop, tmp_path: Path) -> None:
    damaged(loop, "ODF", tmp_path, lambda b: b[:1000])


def test_tracking_without_ramps_is_refused_by_the_step(loop: Loop, tmp_path: Path) -> None:
    content = tnf.read_tnf(loop.path("TNF"))
    path = tmp_path / loop.path("TNF").name
    tnf.write_tnf(path, tnf.Tnf({1: content.records[1]}, order=content.order[content.order == 1]))
    data = raw.read_tnf([raw.open_tnf(path, CLOCK)], None, CLOCK)
    with pytest.raises(CalibrationError, match="no ramp"):
        tracking.uplink_from_tnf(data, tables()["noise"])


def test_nothing_but_ramps_is_refused(loop: Loop, tmp_path: Path) -> None:
    content = tnf.read_tnf(loop.path("TNF"))
    path = tmp_path / loop.path("TNF").name
    tnf.write_tnf(path, tnf.Tnf({9: content.records[9]}, order=content.order[content.order == 9]))
    with pytest.raises(InputError, match="no phase"):
        raw.open_tnf(path, CLOCK)


def test_orientation_without_tides_or_with_holes_is_refused(loop: Loop, tmp_path: Path) -> None:
    reason = damaged(loop, "EOP", tmp_path, lambda b: b.replace(b"'UT1'", b"'UT1R'"))
    assert "zonal tides" in str(reason)
    content = eop.read_eop(loop.path("EOP"))
    content.table = np.delete(content.table, 4)
    eop.write_eop(tmp_path / loop.path("EOP").name, content)
    with pytest.raises(InputError, match="one for each"):
        raw_media.open_eop(tmp_path / loop.path("EOP").name, CLOCK)


def test_files_of_several_passes_are_refused(loop: Loop, tmp_path: Path) -> None:
    content = eop.read_eop(loop.path("EOP"))
    days = np.arange(57600.0, 57800.0)
    table = np.repeat(content.table[:1], days.size)
    table["mjd"] = days
    content.table = table
    path = tmp_path / loop.path("EOP").name
    eop.write_eop(path, content)
    with pytest.raises(InputError, match=r"covers 4 passes \(PJ01 to PJ04\)"):
        raw_media.open_eop(path, CLOCK)


def test_media_that_no_air_has_are_refused(loop: Loop, tmp_path: Path) -> None:
    reason = damaged(loop, "TRO", tmp_path, lambda b: b.replace(b"NRMPOW(", b"NRMPOW(1e30,", 1))
    assert "1e+30 m at the zenith" in str(reason)


def spoiled(loop: Loop, folder: Path, change: Callable[[tnf.Tnf], None]) -> xr.Dataset:
    """The raw tracking of a file in which some numbers are others."""
    content = tnf.read_tnf(loop.path("TNF"))
    change(content)
    path = folder / loop.path("TNF").name
    tnf.write_tnf(path, content)
    return raw.read_tnf([raw.open_tnf(path, CLOCK)], None, CLOCK)


SPOILED: dict[str, tuple[int, str, float]] = {
    "year of a phase": (1, "year", 2100),
    "day of a phase": (1, "doy", 100),
    "delay of a receiver": (1, "rcv_time_tag_delay", np.nan),
    "delay of days": (1, "rcv_time_tag_delay", 1e300),
    "spacecraft of a phase": (1, "scft_id", 63),
    "spacecraft of a ramp": (9, "scft_id", 60),
    "year of a ramp": (9, "year", 1990),
    "delay of a transmitter": (9, "transmit_time_tag_delay", np.inf),
}


@pytest.mark.parametrize("case", SPOILED)
def test_records_whose_times_cannot_be_are_left_out_and_counted(loop: Loop, tmp_path: Path, case: str) -> None:
    kind, name, wrong = SPOILED[case]

    def change(content: tnf.Tnf) -> None:
        content.records[kind][name][20] = wrong

    data, whole = spoiled(loop, tmp_path, change), loop.read(raw.TNF)
    assert data.attrs["units_damaged"] == 1
    assert data.sizes["et" if kind == 1 else "ramp"] == whole.sizes["et" if kind == 1 else "ramp"] - 1
    assert data["et"].values[-1] - data["et"].values[0] < 4000.0


def test_frequencies_of_no_band_are_no_frequencies(loop: Loop, tmp_path: Path) -> None:
    """Phases in which a high bit is turned, ramps that are sent in no band."""

    def change(content: tnf.Tnf) -> None:
        content.records[1]["phs_hi_0"][700] ^= 1 << 31
        content.records[9]["ramp_freq"][10] *= 3.0
        content.records[9]["ramp_rate"][12] = 1e300

    data, known = spoiled(loop, tmp_path, change), tables()
    made = tracking.tracking_from_tnf(data, known["noise"])
    bad = (made["quality"].values[:, 0] & int(Quality.SUSPECT)) != 0
    assert np.flatnonzero(bad).tolist() == [699, 700]
    assert np.isnan(made["sky_frequency"].values[bad, 0]).all()
    uplink = tracking.uplink_from_tnf(data, known["noise"])
    assert np.isnan(uplink["frequency"].values[[10, 12]]).all()
    assert np.isfinite(uplink["frequency"].values).sum() == uplink.sizes["ramp"] - 2


def test_media_commands_that_cannot_be_read_are_named_by_line(loop: Loop, tmp_path: Path) -> None:
    reason = damaged(loop, "TRO", tmp_path, lambda b: b.replace(b"NRMPOW", b"NRMPOX", 1))
    assert "line" in str(reason)
    damaged(loop, "TRO", tmp_path, lambda b: b[: len(b) // 2 + 7])


def test_media_of_other_hours_leave_the_season(loop: Loop) -> None:
    data = loop.read(raw_media.CSP)
    window = Span(data["et"].values[0], data["et"].values[0] + 3600.0)
    granule = raw_media.open_csp(loop.path("TRO"), CLOCK)
    cut = raw_media.read_csp([granule], window, CLOCK)
    assert cut.sizes["et"] == 60
    assert np.isfinite(cut["adjust_dry"].values).all()


def test_every_simulated_file_is_known_as_such_and_no_other(loop: Loop, tmp_path: Path) -> None:
    for suffix, form in FORMATS.items():
        path = loop.path(suffix)
        granule = form.open(path, CLOCK)
        assert granule.meta["simulated"] is True, suffix
        bare = tmp_path / path.name
        for file in granule.files.values():
            (tmp_path / file.name).write_bytes(file.read_bytes())
        assert form.open(bare, CLOCK).meta["simulated"] is True, suffix
        bare.with_suffix(".TXT").unlink(missing_ok=True)
        bare.write_bytes(path.read_bytes().replace(b"SIMULATED DATA", b"MEASURED DATA."))
        assert form.open(bare, CLOCK).meta["simulated"] is False, suffix
