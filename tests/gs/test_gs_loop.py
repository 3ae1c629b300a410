"""The closed loop: signals to files to residuals and back to the truth; and that it notices what is wrong."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

sys.path.insert(0, str(Path(__file__).parent))
from gs_scene import CHAIN, Loop, failed, replace, rms, scene, simulated, tables

from instruments.gs import INSTRUMENT, calibrate, link, media, simulate, simulate_link
from instruments.gs.edit import outliers
from instruments.gs.ramps import Ramps
from instruments.gs.schemas import CYCLE_SLIP, LOW_ELEVATION, MEDIA_SEASONAL, NO_RAMP, PLASMA_LEFT
from pipeline.clock import Span
from pipeline.dataset.quality import Quality
from pipeline.earth.times import StationClock
from pipeline.errors import CalibrationError, UsageError
from pipeline.runs.execute import InProcess
from pipeline.runs.run import Request, carry_out, prepare, with_executor
from pipeline.runs.summary import missing

PRODUCTS = ("gs.tracking", "gs.uplink", "gs.media", "gs.orientation", "gs.residuals", "gs.open_loop")
RESIDUALS = "gs.residuals"


@pytest.mark.parametrize("product", PRODUCTS)
def test_products_agree_with_the_truth(loop: Loop, loop6: Loop, product: str) -> None:
    for one in (loop, loop6):
        results = one.judged(product)
        assert failed(results) == set(), [r.why for r in results if not r.ok]
        assert len(results) > 1


@pytest.mark.parametrize("number", [3, 20, 76])
def test_residuals_of_other_passes_agree_with_the_truth(tmp_path: Path, number: int) -> None:
    """Earth and Jupiter nearing and parting by 30 km/s, in opposition and conjunction, at other stations."""
    one = simulated(scene(number, -300.0, 300.0), tmp_path)
    results = one.judged(RESIDUALS)
    assert failed(results) == set(), [r.why for r in results if not r.ok]


def test_the_loop_saw_what_it_should(loop: Loop, loop6: Loop) -> None:
    assert loop.truth["gs.tracking"].attrs["injected"] > 0
    slips = loop.products["gs.tracking"]["quality"].values[:, 0] & CYCLE_SLIP.mask
    assert (slips != 0).sum() == 5  # twice lost for two counts, and one slip
    assert (loop.products[RESIDUALS]["links"].values == 1).sum() > 1700
    assert (loop6.products[RESIDUALS]["links"].values == 3).sum() > 1100
    assert np.nanmax(np.abs(loop6.truth[RESIDUALS]["effect_troposphere"].values)) > 0.005
    assert np.isfinite(loop.products["gs.tracking"]["power"].values[:, 0]).mean() > 0.99


def test_computed_frequency_is_that_of_the_truth_far_below_the_noise(loop6: Loop) -> None:
    """At 60 s: 1e-4 mm/s against 0.015; two programs that share nothing but the places of stations and planets."""
    made, true = loop6.products[RESIDUALS]["computed"].values, loop6.truth[RESIDUALS]["computed"].values
    off = (made - true)[: len(made) // 60 * 60].reshape(-1, 60, 3)
    minute = np.nanmean(off, axis=1) / np.nanmean(true, axis=0) * 299792458.0 / 2.0 * 1e3
    assert np.nanmax(np.abs(minute)) < 1e-4


def test_each_calibration_makes_the_residuals_smaller(loop: Loop, loop6: Loop) -> None:
    """X/X keeps its plasma; three links end at their noise, with nothing left of 0.3 mm/s of spin."""
    one, three = ([rms(p["stage"].values[:, k]) for k in range(4)] for p in (
        loop.products["gs.range_rate"], loop6.products["gs.range_rate"]))  # fmt: skip
    assert one[1] == pytest.approx(1.293, abs=0.03)
    assert one[2] < 0.1
    assert one[3] == one[2]
    assert three[1] == pytest.approx(0.301, abs=0.02)
    made = loop6.products["gs.range_rate"]
    stated = np.hypot(made["range_rate_random"].values, made["range_rate_structured"].values)
    assert three[3] == pytest.approx(rms(stated), rel=0.4)
    assert three[3] < 0.03


def test_plasma_is_what_was_planted(loop6: Loop) -> None:
    """Over two minutes, to what the noise of the links allows."""
    made = loop6.products[RESIDUALS]
    rng = np.random.default_rng(5)
    truth = simulate.make_tracking(loop6.scene, rng)
    seconds = np.asarray(truth.tags, float)
    up, down = (np.diff(p(seconds)) for p in truth.plasma)
    n = made.sizes["et"]
    white = tables()["noise"]["white_frequency"].value
    for name, true, of in (("plasma_up", up, (1, 2)), ("plasma_down", down, (0, 1))):
        good = np.isfinite(made[name].values)
        error = np.convolve((made[name].values - true[:n])[good], np.ones(120) / 120, "valid")
        amplified = {"plasma_up": 1.046, "plasma_down": 1.483}[name]
        expected = amplified * np.hypot(*white[list(of)]) / np.sqrt(120.0)
        assert rms(error) == pytest.approx(expected, rel=0.5), name


def strong_plasma(monkeypatch: pytest.MonkeyPatch, factor: float) -> None:
    """Plasma as near conjunction, which the table does not know."""
    whole = simulate.truth_tables

    def stronger(et: float) -> dict:
        known = whole(et)
        known["plasma"] = {"rate": factor * known["plasma"]["rate"]}
        return known

    monkeypatch.setattr(simulate, "truth_tables", stronger)


def test_three_links_remove_a_plasma_thirty_times_stronger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    strong_plasma(monkeypatch, 30.0)
    made = simulated(scene(6, -600.0, 600.0), tmp_path).products["gs.range_rate"]
    best, combined = (rms(made["stage"].values[:, k]) for k in (2, 3))
    assert best > 2.0 * combined  # Ka/Ka alone
    assert combined < 0.03


def test_a_run_of_the_core_makes_everything(loop: Loop, tmp_path: Path) -> None:
    def run(source: str | None, *products: str) -> dict[str, str]:
        request = Request(
            pass_number=1, store=tmp_path, raw=loop.folder, instruments=("gs",), products=products, source=source
        )
        record = carry_out(prepare(request), with_executor(InProcess()))
        assert record["quarantined"] == []
        if source is None:  # what is covered is what Juno's time says: half an hour about closest approach
            gaps = [(g["start"][11:16], g["stop"][11:16]) for g in missing(record)]
            assert gaps == [("11:50", "12:35"), ("13:05", "13:50")]
        return {p["identity"].split("/")[0]: p["status"] for p in record["products"]}

    assert run(None) == dict.fromkeys((p.name for p in INSTRUMENT.products), "made")
    of_odf = run("gs.odf", "gs.tracking", "gs.uplink", "gs.media")
    assert of_odf == {"gs.tracking": "made", "gs.uplink": "made", "gs.media": "kept"}


# What the loop must notice


def remade(loop: Loop, known: dict | None = None, **inputs: xr.Dataset | None) -> set[str]:
    """Variables of the residuals that are found wrong."""
    made = loop.made(known or tables(), **{f"gs.{n}": v for n, v in inputs.items()})
    return failed(loop.judged(RESIDUALS, made[RESIDUALS]))


def test_a_flipped_sign_of_one_links_spin_is_noticed(loop6: Loop) -> None:
    for k in range(3):
        known = tables()
        sign = known["spin"]["sign"].value.copy()
        sign[k] = -1.0
        known["spin"] = known["spin"].replace(sign=sign)
        assert remade(loop6, known) >= {"range_rate", "effect_spin"}


def test_spin_left_for_after_the_combination_is_noticed(loop6: Loop) -> None:
    known = tables()
    known["spin"] = known["spin"].replace(sign=np.zeros(3))
    assert "range_rate" in remade(loop6, known)


def test_wrong_turn_around_ratio_of_the_translator_is_noticed(loop6: Loop) -> None:
    known = tables()
    ratio = known["transponder"]["ratio"].value.copy()
    ratio[2] = 3344 / 3599
    known["transponder"] = known["transponder"].replace(ratio=ratio)
    assert "computed" in remade(loop6, known)


def test_a_station_a_kilometre_off_is_noticed(loop: Loop) -> None:
    known = tables()
    position = known["stations"]["position"].value.copy()
    position[known["stations"]["number"].value == 55] += [0.0, 1000.0, 0.0]
    known["stations"] = known["stations"].replace(position=position)
    assert remade(loop, known) >= {"computed", "residual"}


def test_time_tags_a_millisecond_off_are_noticed(loop: Loop) -> None:
    tracking = loop.products["gs.tracking"].copy(deep=True)
    tracking["delay"] += 1e-3
    assert "residual" in remade(loop, tracking=tracking)


def test_ramps_taken_at_their_start_are_noticed(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Ramps.phase
    monkeypatch.setattr(
        Ramps, "phase", lambda r, s: whole(Ramps(r.start, r.stop, r.frequency, 0.0 * r.rate, r.suspect), s)
    )
    assert remade(loop) >= {"computed", "residual"}


def test_a_station_clock_without_its_place_is_noticed(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    """TDB less TT for the Earth's centre lacks 2 us a day: 20 mm/s."""
    whole = link.StationClock
    monkeypatch.setattr(link, "StationClock", lambda e, p, a, b: whole(e, np.array([1e-9, 0.0, 0.0]), a, b))
    assert remade(loop) >= {"computed", "residual"}
    assert whole is StationClock


def test_mapping_by_the_cosecant_is_noticed(loop6: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    """At 40 to 50 degrees the two differ by parts in a thousand: by what the calibrated troposphere may be wrong."""

    def cosecant(elevation: np.ndarray, *_: object) -> tuple[np.ndarray, np.ndarray]:
        return 1.05 / np.sin(elevation), 1.05 / np.sin(elevation)

    monkeypatch.setattr(link, "niell", cosecant)
    assert "effect_troposphere" in remade(loop6)
    assert media.niell is not cosecant


def test_the_uplinks_troposphere_forgotten_is_noticed(loop6: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = link.World.slant
    calls = []

    def down_only(world: link.World, *arguments: object) -> tuple[np.ndarray, np.ndarray]:
        path, wet = whole(world, *arguments)  # type: ignore[arg-type]
        calls.append(1)
        return path * (len(calls) % 2), wet

    monkeypatch.setattr(link.World, "slant", down_only)
    assert "effect_troposphere" in remade(loop6)


def test_an_antenna_on_the_other_side_of_the_axis_is_noticed(loop6: Loop) -> None:
    known = tables()
    known["antenna"] = known["antenna"].replace(phase_centre=np.array([6.0, 0.0, 2.13]))
    assert "effect_antenna" in remade(loop6, known)


# What nobody marked as bad


def test_counts_that_stand_out_are_flagged_and_not_used(loop6: Loop) -> None:
    """A slip the receiver did not see, a bad phase, a ramp that was not sent; and nothing else."""
    tracking = loop6.products["gs.tracking"].copy(deep=True)
    frequency = tracking["sky_frequency"].values
    bad = np.isnan(frequency)
    frequency[200, 0] += 1.0
    frequency[400:402, 2] += [1024.0, -1024.0]
    frequency[600:660, 1] *= 1.0001
    bad[200, 0] = bad[400:402, 2] = bad[600:660, 1] = True
    made = loop6.made(tables(), **{"gs.tracking": tracking})
    suspect = (made[RESIDUALS]["quality"].values & int(Quality.SUSPECT)) != 0
    slipped = (tracking["quality"].values & CYCLE_SLIP.mask) != 0
    assert suspect[bad & np.isfinite(frequency)].all()
    assert not suspect[~bad & ~slipped].any()
    used = made[RESIDUALS]["links"].values[[200, 400, 401, *range(600, 660)]]
    assert used.max() == 2
    assert (used == 2).sum() >= 61  # the receiver may have lost lock there
    assert rms(made["gs.range_rate"]["stage"].values[:, 3]) < 0.03


def test_a_trajectory_that_bends_the_residuals_leaves_no_count_out() -> None:
    """A second off along the track bends them by metres per second; long counts are not taken for outliers."""
    t = np.arange(120.0)[:, None] * 60.0
    residual = 1e3 * np.sin(t / 600.0) + np.random.default_rng(1).normal(size=(120, 3))
    assert not outliers(residual, np.ones_like(residual), np.full_like(residual, 8.4e9)).any()


def test_an_uplink_without_calibrated_media_is_flagged(loop: Loop) -> None:
    """Three-way, sent from Goldstone, whose troposphere is not calibrated."""
    media = loop.products["gs.media"].copy(deep=True)
    media["quality"][:, 0] = MEDIA_SEASONAL.mask
    tracking = loop.products["gs.tracking"].copy(deep=True)
    two_way = loop.made(tables(), **{"gs.media": media})[RESIDUALS]
    assert not (two_way["quality"].values & MEDIA_SEASONAL.mask).any()
    tracking["transmitter"].values[:, 0] = 25
    known = [tables()[n] for n in CHAIN]
    made = calibrate.residuals(
        tracking, loop.products["gs.uplink"], media, None, loop.geometry, loop.scene.pass_, *known
    )
    there = np.isfinite(tracking["sky_frequency"].values[:, 0])
    assert (made["quality"].values[there, 0] & MEDIA_SEASONAL.mask).all()


# What is not there


def test_without_media_the_season_stands_in_and_is_flagged(loop6: Loop) -> None:
    made = loop6.made(tables(), **{"gs.media": None})[RESIDUALS]
    bits = made["quality"].values[made["links"].values > 0]
    assert (bits & MEDIA_SEASONAL.mask).all()
    assert (bits & int(Quality.INPUT_MISSING)).all()
    calibrated = loop6.products[RESIDUALS]
    assert np.nanmean(made["residual_structured"]) > np.nanmean(calibrated["residual_structured"])
    assert (made["links"].values == calibrated["links"].values).all()


def test_orientation_from_the_table_is_that_of_the_file(loop6: Loop) -> None:
    made = loop6.made(tables(), **{"gs.orientation": None})[RESIDUALS]
    off = made["computed"].values - loop6.products[RESIDUALS]["computed"].values
    # The file has UT1 to 0.1 us and nutation to 0.1 uas.
    assert np.nanmax(np.abs(off)) < 2e-4


def test_without_a_ramp_nothing_is_computed(loop: Loop) -> None:
    uplink = loop.products["gs.uplink"]
    missing = uplink.isel(ramp=np.delete(np.arange(uplink.sizes["ramp"]), 20))
    made = loop.made(tables(), **{"gs.uplink": missing})[RESIDUALS]
    lost = (made["quality"].values[:, 0] & NO_RAMP.mask) != 0
    assert 55 <= lost.sum() <= 62
    assert np.isnan(made["residual"].values[lost, 0]).all()
    assert np.isnan(made["range_rate"].values[lost]).all()


def test_where_a_kernel_has_a_gap_nothing_is_computed(loop: Loop) -> None:
    geometry, et = loop.geometry, loop.truth["gs.tracking"]["et"].values
    track = geometry.tracks["JUNO"]
    coefficients = track.coefficients.copy()
    gap = int(np.searchsorted(track.edges, loop.scene.pass_.et)) - 1
    coefficients[:, :, gap] = np.nan
    broken = replace(geometry, tracks={**geometry.tracks, "JUNO": replace(track, coefficients=coefficients)})
    products = [loop.products[f"gs.{n}"] for n in ("tracking", "uplink", "media", "orientation")]
    made = calibrate.residuals(*products, broken, loop.scene.pass_, *[tables()[n] for n in CHAIN])
    missing = (made["quality"].values[:, 0] & int(Quality.GEOMETRY_MISSING)) != 0
    turned = loop.products[RESIDUALS]["et_spacecraft"].values
    inside = (turned > track.edges[gap] - 30.0) & (turned < track.edges[gap + 1] + 30.0)
    received = np.isfinite(loop.products["gs.tracking"]["sky_frequency"].values[:, 0])
    assert missing[inside & received].all()
    assert not missing[(turned < track.edges[gap] - 60.0) & (et < et.max())].any()
    assert not ((made["quality"].values[:, 0] & NO_RAMP.mask) != 0).any()
    assert np.isnan(made["residual"].values[missing, 0]).all()
    assert np.isfinite(made["residual"].values[~missing & received, 0]).all()


def test_two_links_and_one_are_combined_as_far_as_they_go(loop6: Loop) -> None:
    tracking = loop6.products["gs.tracking"].copy(deep=True)
    tracking["sky_frequency"].values[:300, 1] = np.nan
    tracking["sky_frequency"].values[300:600, 1:] = np.nan
    made = loop6.made(tables(), **{"gs.tracking": tracking})[RESIDUALS]
    assert set(made["links"].values[:299]) == {2}
    assert set(made["links"].values[301:599]) <= {0, 1}  # the receiver lost lock there
    alone = made["links"].values == 1
    assert alone.sum() > 290
    assert (made["range_rate_quality"].values[alone] & PLASMA_LEFT.mask).all()
    size = made["range_rate_structured"].values
    assert np.nanmean(size[700:]) < np.nanmean(size[:299]) < np.nanmean(size[301:599])


def test_a_link_below_ten_degrees_is_refused(loop: Loop) -> None:
    """DSS-25 has Juno 17 degrees below its horizon at PJ1: not simulated, and not calibrated."""
    et = loop.scene.pass_.et
    sky = simulate_link.Sky(float(np.floor(et)), Span(et - 1.0, et + 1.0), loop.scene.geometry)
    known = simulate.truth_tables(loop.scene.pass_.et)
    place = known["stations"]["position"][known["stations"]["number"] == 25][0] / 1e3
    goldstone = simulate_link.Dish(25, place, sky, calibrate.orientation_of(None, tables()["earth_orientation"]))
    with pytest.raises(UsageError, match=r"-17\.\d deg for DSS-25 receiving"):
        simulate_link.check_horizon(sky, goldstone, goldstone)
    tracking = loop.products["gs.tracking"].copy(deep=True)
    tracking["receiver"][:] = 25
    made = loop.made
    with pytest.raises(CalibrationError, match="no residual"):
        made(tables(), **{"gs.tracking": tracking})
    arguments = [tracking, *(loop.products[f"gs.{n}"] for n in ("uplink", "media", "orientation"))]
    chosen = [tables()[n] for n in CHAIN]
    residuals = calibrate.residuals(*arguments, loop.geometry, loop.scene.pass_, *chosen)
    there = np.isfinite(tracking["sky_frequency"].values[:, 0])
    assert (residuals["quality"].values[there, 0] & LOW_ELEVATION.mask).all()
    assert np.isnan(residuals["residual"].values).all()


def test_a_station_that_is_not_in_the_table_is_named(loop: Loop) -> None:
    tracking = loop.products["gs.tracking"].copy(deep=True)
    tracking["receiver"][:] = 99
    with pytest.raises(CalibrationError, match="no DSS-99"):
        loop.made(tables(), **{"gs.tracking": tracking})


def test_links_of_passes_are_those_of_the_mission() -> None:
    """PJ1 X/X at Madrid, PJ6 all links at Goldstone; every pass finds somebody."""
    for number, links in ((1, (0,)), (6, (0, 1, 2))):
        where = scene(number, -600.0, 600.0)
        tracking = simulate.make_tracking(where, np.random.default_rng(0))
        assert tracking.links == links
        assert tracking.receiver.number in ({1: (54, 55, 63, 65), 6: (25,)}[number])
    assert isinstance(where.span, Span)


# Real trajectories


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.parametrize("number", [1, 6])
def test_loop_on_reconstructed_trajectories(real_data: Path, tmp_path: Path, number: int) -> None:
    name = {1: "spk_rec_160729_160923_161027.bsp", 6: "spk_rec_170422_170608_170621.bsp"}[number]
    one = simulated(scene(number, -1200.0, 1200.0, real_data / "spice" / name), tmp_path)
    results = one.judged(RESIDUALS)
    assert failed(results) == set(), [r.why for r in results if not r.ok]
