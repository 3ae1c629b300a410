"""Diodes, gain and nonlinearity: planted drifts, failing diodes, saturation; the archive's RDR."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

sys.path.insert(0, str(Path(__file__).parent))
from mwr_scene import CLOCK, PASS, Loop, deflections_of, failed, finished, gain_of, scene, tables, temperature_of

from instruments.mwr import INSTRUMENT, calibrate, gain, raw, rdr, simulate
from instruments.mwr.layout import SENSORS, STREAMS, UNKNOWN_STATE
from instruments.mwr.schemas import DIODE_FAILED, EQUATION, REFERENCE_LOST
from instruments.mwr.states import BIN, interpolated, windows
from pipeline.clock import Span
from pipeline.dataset.quality import Quality
from pipeline.testing.pulls import compare_to_truth

LENGTH = 1200.0


def counted(
    gains: np.ndarray | None = None, broken: tuple[int, float] | None = None, seed: int = 3
) -> tuple[xr.Dataset, np.ndarray]:
    """Raw data of twenty minutes of a scene that swings between open sky and Jupiter, with gains of one's own.

    Parameters
    ----------
    broken : a diode of R3 that gives only half from this time on.
    """
    where = scene(-LENGTH / 2, LENGTH / 2)
    et, state = simulate.slots(where.span)
    swing = 0.5 - 0.5 * np.cos(2 * np.pi * et / 30.0)
    ta = 5.0 + swing[:, None] * np.array([800.0, 440.0, 320.0, 240.0, 180.0, 135.0])
    known = simulate.truth_tables(PASS.et)
    factors = simulate.receiver_gains(et, PASS.et) if gains is None else gains
    rng = np.random.default_rng(seed)
    counts = simulate.detected(ta, state, factors, simulate.physical(et), known, rng)
    if broken:
        number, since = broken
        weak = dict(known["noise_diode"])
        weak["brightness"] = weak["brightness"].copy()
        weak["brightness"][2, number - 1] *= 0.5
        late = et > since
        again = simulate.detected(ta, state, factors, simulate.physical(et), {**known, "noise_diode": weak}, rng)
        counts = np.where(late[:, None], again, counts)
    sensors = simulate.housekeeping(simulate.physical(et), known["thermal"], rng)
    data = xr.Dataset(
        {
            "counts": (("et", "stream"), counts),
            "state": (("et", "stream"), np.repeat(state[:, None], 8, axis=1)),
            "housekeeping": (("et", "sensor"), sensors),
            "events": (("record", "event"), np.zeros((0, 5), np.int32)),
        },
        coords={
            "et": et,
            "stream": list(STREAMS),
            "sensor": list(SENSORS),
            "et_event": ("record", np.zeros(0)),
            "event": list(raw.EVENTS),
        },
    )
    return data, ta


def at_aperture(et: np.ndarray, gains: np.ndarray, at: np.ndarray) -> np.ndarray:
    chain = simulate.truth_tables(PASS.et)["chain"]
    lets = 10.0 ** (-chain["loss"].sum(axis=1) / 10.0) * (1.0 - chain["reflection"])
    return np.stack([np.interp(at, et, column) for column in (gains * lets[simulate.OF_STREAM]).T], axis=1)


SPAN = Span(PASS.et - LENGTH, PASS.et + LENGTH)


def test_a_drifting_gain_is_followed() -> None:
    """Two per cent in twenty minutes, and a bend of it."""
    where = scene(-LENGTH / 2, LENGTH / 2)
    et, _ = simulate.slots(where.span)
    since = ((et - PASS.et) / LENGTH)[:, None]
    gains = simulate.GAINS * (1.0 + 0.02 * since + 0.01 * since**2)
    data, ta = counted(gains)
    known = tables()
    found = gain_of(deflections_of(data, SPAN, known), known)
    true = at_aperture(et, gains, found["et"].values)
    inside = slice(1, -1)
    pulls = (found["gain"].values / true - 1.0)[inside] / (found["gain_structured"] / found["gain"]).values[inside]
    assert np.abs(pulls).max() < 4.0
    made = temperature_of(data, SPAN, known, found)
    looking = data["state"].values[:, 0] == 0
    off = np.nanmean(made["ta"].values - ta[looking], axis=0)
    assert np.all(np.abs(off) < 0.3 + 5e-4 * ta.mean(axis=0))


def test_a_gain_held_constant_would_be_noticed() -> None:
    where = scene(-LENGTH / 2, LENGTH / 2)
    et, _ = simulate.slots(where.span)
    gains = simulate.GAINS * (1.0 + 0.02 * ((et - PASS.et) / LENGTH)[:, None])
    data, ta = counted(gains)
    known = tables()
    found = gain_of(deflections_of(data, SPAN, known), known)
    constant = found.assign(gain=found["gain"].mean("et").broadcast_like(found["gain"]).transpose("et", "stream"))
    made = temperature_of(data, SPAN, known, constant)
    looking = data["state"].values[:, 0] == 0
    off = (made["ta"].values - ta[looking])[:500, 0]
    assert np.abs(np.nanmean(off)) > 0.6  # over the criterion of 0.3 K + 0.05 %


def test_compression_is_found_by_the_diodes() -> None:
    """Against a table that is one sigma off, and wrong by more than the diodes' own error."""
    known = tables()
    table = known["detector"]
    truth = table["compression"].value
    known["detector"] = table.replace(compression=truth + 1.5 * table["compression"].sigma)
    data, _ = counted()
    found = gain_of(deflections_of(data, SPAN, known), known)
    by_diodes, sigma = found["compression_diodes"].values, found["compression_diodes_sigma"].values
    pulls = (by_diodes - truth) / sigma
    assert np.all(np.abs(pulls) < 4.0), pulls
    assert np.all(sigma < 0.5 * table["compression"].sigma)
    assert np.all(np.abs(found["compression"].values - truth) < np.abs(known["detector"]["compression"].value - truth))


def test_compression_pulls_over_seeds() -> None:
    known = tables()
    truth = known["detector"]["compression"].value
    pulls = []
    for seed in range(12):
        found = gain_of(deflections_of(counted(seed=seed)[0], SPAN, known), known)
        pulls.append((found["compression_diodes"].values - truth) / found["compression_diodes_sigma"].values)
    every = np.array(pulls)
    assert 0.75 < every.std() < 1.25  # 96 values, streams of a receiver share their noise
    assert abs(every.mean()) < 0.35


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_failing_diode_is_left_out_and_flagged(number: int) -> None:
    data, ta = counted(broken=(number, PASS.et))
    known = tables()
    found = gain_of(deflections_of(data, SPAN, known), known)
    late = found["et"].values > PASS.et + 30.0
    used = found["diode_used"].values[:, 4]
    assert (used[late, number - 1] == 0).all()
    others = [k for k in range(3) if k != number - 1]
    assert used[:, others].all()
    flagged = (found["quality"].values & DIODE_FAILED.mask) != 0
    assert flagged[late, 4].all()
    assert not flagged[~late][:-2, 4].any()
    assert not flagged[:, [0, 1, 2, 3, 5, 6, 7]].any()
    made = temperature_of(data, SPAN, known, found)
    looking = data["state"].values[:, 0] == 0
    off = np.nanmean(made["ta"].values[:, 2] - ta[looking, 2])
    assert abs(off) < 0.3
    # It tells, but does not disqualify.
    assert made["quality"].attrs["flag_conditions"] & DIODE_FAILED.mask


def test_swapped_diodes_leave_the_middle_one() -> None:
    known = tables()
    swapped = known["noise_diode"].replace(brightness=known["noise_diode"]["brightness"].value[:, ::-1])
    found = gain_of(deflections_of(counted()[0], SPAN, known | {"noise_diode": swapped}), known)
    assert (found["diode_used"].values == [0, 1, 0]).all(axis=2).mean() > 0.9
    assert (found["quality"].values & DIODE_FAILED.mask).all()


def test_without_load_there_is_nothing() -> None:
    data, _ = counted()
    known = tables()
    gains = gain_of(deflections_of(data, SPAN, known), known)
    state = data["state"].values.copy()
    state[(state == 4) & (np.abs(data["et"].values - PASS.et) < 120.0)[:, None]] = UNKNOWN_STATE
    made = temperature_of(data.assign(state=(("et", "stream"), state)), SPAN, known, gains)
    hole = np.abs(made["et"].values - PASS.et) < 60.0
    assert np.isnan(made["ta"].values[hole]).all()
    assert (made["quality"].values[hole] & REFERENCE_LOST.mask).all()
    far = np.abs(made["et"].values - PASS.et) > 200.0
    assert np.isfinite(made["ta"].values[far]).all()


def test_counts_at_the_end_of_the_scale_are_flagged_and_do_not_count() -> None:
    data, ta = counted()
    counts = data["counts"].values.copy()
    hot = ta[:, 0] > 500.0
    counts[hot, 1] = 65535.0
    known = tables()
    gains = gain_of(deflections_of(data, SPAN, known), known)
    made = temperature_of(data.assign(counts=(("et", "stream"), counts)), SPAN, known, gains)
    looking = data["state"].values[:, 0] == 0
    assert ((made["stream_quality"].values[:, 1] & Quality.SATURATED) != 0).tolist() == hot[looking].tolist()
    assert not ((made["quality"].values[:, 0] & Quality.SATURATED) != 0).any()
    assert abs(np.nanmean(made["ta"].values[:, 0] - ta[looking, 0])) < 0.3


def spoiled(data: xr.Dataset, stream: int, state: int, by: float) -> tuple[xr.Dataset, int]:
    """A digit of one count in a state is another; its row."""
    counts = data["counts"].values.copy()
    row = int(np.flatnonzero(data["state"].values[:, stream] == state)[20])
    counts[row, stream] += by
    return data.assign(counts=(("et", "stream"), counts)), row


def suspects(made: xr.Dataset) -> list[list[int]]:
    return np.argwhere((made["stream_quality"].values & int(Quality.SUSPECT)) != 0).tolist()


def test_a_wrong_count_that_looks_is_suspect_but_where_lightning_is_seen() -> None:
    data, _ = counted()
    known = tables()
    gains = gain_of(deflections_of(data, SPAN, known), known)
    assert suspects(temperature_of(data, SPAN, known, gains)) == []
    looking = np.flatnonzero((data["state"].values == 0).any(axis=1)).tolist()
    for stream, found in ((4, True), (7, True), (0, False), (3, False)):
        wrong, row = spoiled(data, stream, 0, 8000.0)
        made = temperature_of(wrong, SPAN, known, gains)
        assert suspects(made) == ([[looking.index(row), stream]] if found else [])


@pytest.mark.parametrize("state", [4, 5, 6, 7])
def test_a_wrong_count_on_the_load_is_not_used(state: int) -> None:
    """Taken into its spin's mean it would shift the reference by kelvins, and a deflection the gain."""
    data, _ = counted()
    known = tables()
    wrong, row = spoiled(data, 4, state, 9000.0)
    before, after = (deflections_of(d, SPAN, known) for d in (data, wrong))
    at = np.flatnonzero(np.isin(before["et"].values, data["et"].values[row]))
    gone = np.isnan(after["deflection"].values[:, 4]) & np.isfinite(before["deflection"].values[:, 4])
    assert np.flatnonzero(gone).tolist() == (at.tolist() if state > 4 else [])
    ta = [temperature_of(d, SPAN, known)["ta"].values[:, 2] for d in (data, wrong)]
    assert np.nanmax(np.abs(ta[1] - ta[0])) < 0.1


# Parts


def test_neighbours_are_interpolated_exactly_where_the_scene_is_a_cubic() -> None:
    t = np.arange(20.0)
    at = np.array([5.0, 5.5, 10.25])
    known = np.delete(t, 5)
    for side, power in ((1, 1), (2, 3)):
        value, weight = interpolated(at, known, known**power, side, 3.0)
        np.testing.assert_allclose(value, at**power)
        assert np.all((weight > 0.4) & (weight < 1.01))
    assert np.isnan(interpolated(np.array([0.5, 19.5]), known, known, 2, 3.0)[0]).all()
    assert np.isnan(interpolated(np.array([5.0]), known, known, 1, 0.9)[0]).all()
    twice = np.array([1.0, 2.0, 2.0, 3.0])
    assert np.isnan(interpolated(np.array([2.0]), twice, twice, 2, 3.0)).all()


def test_windows_keep_a_drift_and_do_not_depend_on_the_beginning() -> None:
    et = 5e8 + 1.2 * np.arange(400)
    line = 3.0 + 0.01 * (et - et[0])
    at = et[50:-50]
    mean, number = windows(et, line).at(at)
    np.testing.assert_allclose(mean, line[50:-50], rtol=1e-9)
    assert np.all(np.abs(number - 25) <= 1)
    cut = et >= et[50] - 4 * BIN
    later, _ = windows(et[cut], line[cut]).at(at)
    np.testing.assert_array_equal(later[20:], mean[20:])
    assert np.isnan(windows(et[:0], line[:0]).at(at)[0]).all()


def test_a_local_line_follows_a_drift_with_its_error() -> None:
    rng = np.random.default_rng(0)
    t = np.sort(rng.uniform(0, 3000, 100))
    truth = 10.0 + 2e-3 * t
    nodes = np.array([0.0, 1500.0, 3000.0])
    off = []
    for _ in range(300):
        value, sigma = gain.local_line(t, truth + 0.1 * rng.standard_normal(100), np.full(100, 0.01), nodes, 500.0)
        off.append((value - 10.0 - 2e-3 * nodes) / sigma)
    pulls = np.array(off)
    assert np.all(np.abs(pulls.mean(axis=0)) < 0.25)
    assert np.all(np.abs(pulls.std(axis=0) - 1.0) < 0.15)
    assert np.isnan(gain.local_line(t, truth, np.ones(100), np.array([1e5]), 500.0)[0]).all()


# The archive's RDR


def test_the_archives_rdr_gives_the_same_antenna_temperature(quiet_loop: Loop) -> None:
    path = next(quiet_loop.folder.rglob("*RI*.CSV"))
    data = rdr.read_irdr([raw.open_csv(path, CLOCK)], None, CLOCK)
    known = tables()
    made = calibrate.antenna_temperature_from_archive(data, quiet_loop.scene.span, known["receiver"], known["detector"])
    made = finished(made, "mwr.antenna_temperature")
    truth = quiet_loop.truth["mwr.antenna_temperature"]
    there = np.isin(np.round(truth["et"].values, 3), np.round(made["et"].values, 3))
    near = truth.isel(et=there).assign_attrs(injected=0.0, et_tolerance=1e-4)
    # Its nonlinearity is not in the equation of the columns, but makes less than half a kelvin.
    assert not (made["quality"].values & EQUATION.mask).any()
    results = compare_to_truth(made, near, INSTRUMENT.product("mwr.antenna_temperature").schema)
    assert failed(results) == set(), [r.why for r in results if not r.ok]


def test_a_wrong_column_of_the_archive_is_flagged(quiet_loop: Loop) -> None:
    path = next(quiet_loop.folder.rglob("*RI*.CSV"))
    data = rdr.read_irdr([raw.open_csv(path, CLOCK)], None, CLOCK)
    data["toff"].values[3] += 30.0
    data["ta"].values[5] = np.nan
    known = tables()
    made = calibrate.antenna_temperature_from_archive(data, quiet_loop.scene.span, known["receiver"], known["detector"])
    assert (made["quality"].values[3] & EQUATION.mask).all()
    assert (made["quality"].values[5] & Quality.MISSING).all()
    assert np.isnan(made["ta"].values[5]).all()
