"""The closed loop: scene to telemetry to products and back to the truth; and that it notices what is wrong.

Twenty-four minutes before PJ1's closest approach: three sample rates, a change of range, lost packets.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

sys.path.insert(0, str(Path(__file__).parent))
from mag_forward import tables
from mag_scene import CLOCK, Loop, field_of, finished, looped, mean_of, scene

from calibration.tables import Table
from instruments.mag import INSTRUMENT, calibrate, chain, simulate, sts
from instruments.mag.frames import transpose
from instruments.mag.schemas import FIELD, RANGE_UNKNOWN
from pipeline.clock import Span
from pipeline.dataset import check
from pipeline.dataset.context import add_context
from pipeline.dataset.quality import Quality
from pipeline.testing.pulls import Result, compare_to_truth
from pipeline.testing.systematic import judge_systematic, systematic_pulls

WIDTHS = {"mag.field_1s": 1.0, "mag.field_60s": 60.0}
VECTORS = {"b_payload", "b_j2000", "b_pc", "b_ss"}


def judged(loop: Loop, field: xr.Dataset, product: str = "mag.field") -> list[Result]:
    return compare_to_truth(finished(field, product), loop.truth[product], INSTRUMENT.product(product).schema)


def failed(results: list[Result]) -> set[str]:
    return {r.variable for r in results if not r.ok}


def test_field_agrees_with_the_truth(loop: Loop) -> None:
    results = judged(loop, loop.field)
    assert failed(results) == set(), [r.why for r in results if not r.ok]
    tests = {r.variable: r.test for r in results}
    assert tests == {"et": "time", **dict.fromkeys(VECTORS, "derived"), "b_sensor": "quantised", "range": "exact"}
    assert all(r.n > 30_000 for r in results)


@pytest.mark.parametrize("product", WIDTHS)
def test_means_agree_with_the_truth(loop: Loop, product: str) -> None:
    results = judged(loop, mean_of(loop.field, loop.scene, WIDTHS[product]), product)
    assert failed(results) == set(), [r.why for r in results if not r.ok]
    assert {r.variable for r in results} == {"et", *VECTORS}


def test_the_loop_saw_what_it_should(loop: Loop) -> None:
    field = loop.field
    assert set(np.unique(field["rate"])) == {16.0, 32.0, 64.0}
    assert set(np.unique(field["range"])) == {-1, 4, 5}
    assert field.attrs["packets_lost"] == 6
    assert field.attrs["packets_duplicate"] == 1
    assert field.attrs["packets_truncated"] == 1
    changes = (field["quality"].values & (1 << 16)) != 0
    assert changes.sum() == 3
    # the transient is really there, and only in flagged samples
    off = np.abs(field["b_sensor"].values - loop.truth["mag.field"]["b_sensor"].values).max(axis=1)
    off = off / field["b_sensor_quantum"].values.max(axis=1)
    assert np.nanmax(off[changes]) > 100
    assert np.nanmax(off[~changes]) < 5


def test_the_inboard_sensor_gives_the_same_field(loop: Loop) -> None:
    field = finished(field_of(loop.raw, loop.scene, sensor="ib"), "mag.field")
    truth = loop.truth["mag.field"][["b_payload", "b_j2000"]].assign_attrs(injected=0.01)
    results = compare_to_truth(field, truth, FIELD)
    assert failed(results) == set(), [r.why for r in results if not r.ok]


def test_level_3_gives_the_same_field(loop: Loop) -> None:
    path = next(loop.folder.rglob("*.sts"))
    data = sts.read_sts([sts.open_sts(path, CLOCK)], None, CLOCK)
    known = {name: Table.read(INSTRUMENT.tables / f"{name}.yaml") for name in ("ranges", "noise", "archive")}
    field = calibrate.field_from_archive(data, loop.scene.geometry, loop.scene.span, *known.values())
    names = ["b_j2000", "b_pc", "b_ss"]
    truth = loop.truth["mag.field"][names].assign_attrs(injected=0.01, et_tolerance=1e-4)
    # The rounded time adds to the random error of every frame, but shows in the spinning one alone.
    results = compare_to_truth(finished(field, "mag.field"), truth, FIELD)
    stated = field["b_pc_random"].values[field["range"].values == 5]
    assert np.all(stated > 14.4)
    assert {r.variable for r in results} == {"et", *names}
    assert all(0.9 < r.pull_std < 1.02 and abs(r.pull_mean) < 0.03 for r in results if r.pull_std), results
    assert field["sensor"].values[0] == 0
    spinning = loop.truth["mag.field"][["b_payload"]].assign_attrs(injected=0.01, et_tolerance=1e-4)
    assert failed(compare_to_truth(finished(field, "mag.field"), spinning, FIELD)) == set()


def test_a_wrong_digit_of_level_3_is_suspect_and_nothing_else(loop: Loop) -> None:
    path = next(loop.folder.rglob("*.sts"))
    data = sts.read_sts([sts.open_sts(path, CLOCK)], None, CLOCK)
    known = {name: Table.read(INSTRUMENT.tables / f"{name}.yaml") for name in ("ranges", "noise", "archive")}

    def suspect() -> list[int]:
        field = calibrate.field_from_archive(data, loop.scene.geometry, loop.scene.span, *known.values())
        return np.flatnonzero(field["quality"].values & int(Quality.SUSPECT)).tolist()

    assert suspect() == []
    data["b"].values[data.sizes["et"] // 2, 2] += 9000.0
    assert suspect() == [data.sizes["et"] // 2]


def test_what_level_3_cannot_say_is_flagged(loop: Loop) -> None:
    path = next(loop.folder.rglob("*.sts"))
    span = Span(loop.scene.span.start + 100.0, loop.scene.span.start + 110.0)
    data = sts.read_sts([sts.open_sts(path, CLOCK)], span, CLOCK)
    data["b"].values[10:12] = np.nan
    data["range_code"].values[20] = 0
    data["time_conflict"].values[30] = True
    known = [Table.read(INSTRUMENT.tables / f"{name}.yaml") for name in ("ranges", "noise", "archive")]
    field = calibrate.field_from_archive(data, loop.scene.geometry, span, *known)
    bits, b = field["quality"].values, field["b_pc"].values
    assert np.flatnonzero(np.isnan(b).any(axis=1)).tolist() == [10, 11]
    assert np.flatnonzero(bits & Quality.MISSING).tolist() == [10, 11]
    assert np.flatnonzero(bits & RANGE_UNKNOWN.mask).tolist() == [20]
    assert np.flatnonzero(bits & Quality.SUSPECT).tolist() == [30]
    assert field["range"].values[20] == -1
    stated = field["b_pc_random"].values
    np.testing.assert_allclose(stated[20], stated[19], rtol=2e-3)  # judged by its size
    check.check(
        check.finish(
            add_context(field, FIELD, loop.scene.geometry, CLOCK), FIELD, INSTRUMENT.flags, {}
        ), FIELD, INSTRUMENT.flags
    )  # fmt: skip


def test_the_sensor_may_be_unknown(loop: Loop) -> None:
    path = next(loop.folder.rglob("*.sts"))
    span = Span(loop.scene.span.start + 100.0, loop.scene.span.start + 180.0)
    data = sts.read_sts([sts.open_sts(path, CLOCK)], span, CLOCK)
    data["sensor"].values[:] = sts.NOT_STATED
    known = [Table.read(INSTRUMENT.tables / f"{name}.yaml") for name in ("ranges", "noise", "archive")]
    field = calibrate.field_from_archive(data, loop.scene.geometry, span, *known)
    mean = mean_of(field, loop.scene, 1.0)
    assert set(mean["sensor"].values) == {255}
    stated = np.abs(field["b_pc_systematic"].values).mean()
    assert 0.3 * stated < np.abs(mean["b_pc_systematic"].values).mean() < 1.2 * stated


def test_midnight_makes_two_files_and_one_product(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(simulate.RATES, "demo", ((np.inf, 4),))
    two = looped(scene(39_600.0, 40_800.0), tmp_path)
    assert [g.id for g in two.granules] == ["fgm_jno_l1_2016240", "fgm_jno_l1_2016241"]
    assert failed(judged(two, two.field)) == set()
    assert two.field.attrs["packets_truncated"] == 2
    assert set(np.unique(two.field["range"])) <= {-1, 0, 1}


# What the loop must notice


def with_gain(known: dict[str, Table]) -> dict[str, Table]:
    correction = known["gain"]["correction"].value.copy()
    correction[0, :, 1] = 2.0 * (1.0 + correction[0, :, 1]) - 1.0
    return {**known, "gain": known["gain"].replace(correction=correction)}


def with_delay(known: dict[str, Table]) -> dict[str, Table]:
    return {**known, "timing": known["timing"].replace(delay=-known["timing"]["delay"].value)}


@pytest.mark.parametrize("change", [with_gain, with_delay])
def test_a_wrong_table_is_noticed(loop: Loop, change: Callable[[dict[str, Table]], dict[str, Table]]) -> None:
    assert failed(judged(loop, field_of(loop.raw, loop.scene, change(tables())))) & {"b_payload", "b_j2000", "b_sensor"}


def test_filter_delay_of_the_wrong_sign_is_noticed_by_the_values_too(loop: Loop) -> None:
    field = field_of(loop.raw, loop.scene, with_delay(tables()))
    truth = loop.truth["mag.field"].assign_attrs(et_tolerance=1.0)
    assert failed(compare_to_truth(finished(field, "mag.field"), truth, FIELD)) >= {"b_j2000", "b_pc", "b_ss"}


def test_clock_off_by_a_millisecond_is_noticed(loop: Loop) -> None:
    late = loop.raw.assign_coords(et=loop.raw["et"] + 1e-3)
    assert failed(judged(loop, field_of(late, loop.scene))) >= {"et", "b_j2000", "b_pc"}


def test_time_shifted_by_one_sample_is_noticed(loop: Loop) -> None:
    et = loop.raw["et"].values
    late = loop.raw.isel(et=slice(0, -1)).assign_coords(et=et[1:])
    assert failed(judged(loop, field_of(late, loop.scene))) >= {"b_payload", "b_j2000", "b_sensor"}


@pytest.mark.parametrize("product", ["mag.field", *WIDTHS])
def test_a_halved_uncertainty_is_noticed(loop: Loop, product: str) -> None:
    field = loop.field if product == "mag.field" else mean_of(loop.field, loop.scene, WIDTHS[product])
    names = [str(n) for n in field if str(n).endswith("_random")]
    halved = field.assign({n: field[n] * np.float32(0.5) for n in names})
    assert failed(judged(loop, halved, product)) >= {n.removesuffix("_random") for n in names}


def test_eddy_currents_left_out_are_noticed(loop: Loop) -> None:
    field = field_of(loop.raw, loop.scene, eddy_correction="none")
    assert failed(judged(loop, field)) >= VECTORS
    strongest = np.abs(field["b_payload"].values - loop.field["b_payload"].values)
    assert 50.0 < np.nanmax(strongest) < 500.0  # the order of 100 nT near closest approach


def test_a_transposed_bench_is_noticed(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    right = chain.cube_to_spacecraft

    def transposed(bench: np.ndarray, cube: np.ndarray) -> np.ndarray:
        fixed = right(np.zeros_like(bench), cube)
        return np.einsum("nji,njk->nik", np.einsum("nij,nkj->nik", right(bench, cube), fixed), fixed)

    monkeypatch.setattr(chain, "cube_to_spacecraft", transposed)
    assert failed(judged(loop, field_of(loop.raw, loop.scene))) >= VECTORS


def test_a_frame_turned_the_wrong_way_is_noticed(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    from instruments.mag import attitude

    right = attitude.rotations_from
    monkeypatch.setattr(
        attitude, "rotations_from", lambda *a: {n: transpose(m) if n == "pc" else m for n, m in right(*a).items()}
    )
    assert failed(judged(loop, field_of(loop.raw, loop.scene))) == {"b_pc"}


def test_means_in_the_spinning_frame_would_be_noticed(loop: Loop) -> None:
    spun = loop.field.assign(b_j2000=loop.field["b_payload"])
    assert failed(judged(loop, mean_of(spun, loop.scene, 1.0), "mag.field_1s")) >= VECTORS


# Systematic


def test_systematic_uncertainty_is_what_the_tables_make(loop: Loop) -> None:
    """Two hundred draws of all tables on twelve seconds of the pass."""
    et = loop.field["et"].values
    # not so near the edges of the seconds that a drawn delay carries a sample into the next one
    inside = np.abs(et % 1.0 - 0.5) < 0.49
    seconds = np.isin(np.floor(et), np.floor(loop.scene.span.start) + np.arange(40, 1440, 120))
    some = loop.raw.isel(et=seconds & inside)
    rng = np.random.default_rng(11)
    truth = tables()
    sets = [{name: table.draw(rng) for name, table in truth.items()} for _ in range(200)]
    nominal = field_of(some, loop.scene)
    fields = [field_of(some, loop.scene, known) for known in sets]
    both = ("systematic", "structured")
    results = judge_systematic(judged(loop, nominal), systematic_pulls(fields, nominal, FIELD, both))
    found = {r.variable: r.systematic_pull_std for r in results if r.systematic_pull_std is not None}
    assert set(found) == VECTORS
    assert all(0.85 < s < 1.15 for s in found.values()), found
    for product, width in WIDTHS.items():
        schema = INSTRUMENT.product(product).schema
        one = mean_of(nominal, loop.scene, width)
        means = (mean_of(f, loop.scene, width, k) for f, k in zip(fields, sets, strict=True))
        found = systematic_pulls(means, one, schema, both)
        assert all(0.85 < s < 1.15 for s in found.values()), (product, found)


# The simulator's own parts


def test_ranges_go_up_and_down_with_hysteresis() -> None:
    full = np.array([1600.0 * 4**k for k in range(6)])
    spin = 1.0 + 0.17 * np.cos(np.arange(60_000) / 150.0)
    size = 8e5 / (1.0 + (np.arange(-30_000, 30_000) / 3000.0) ** 2) ** 1.5 * spin
    k = simulate.choose_ranges(size, full)
    assert k.max() == 5
    assert k.min() <= 2
    assert np.all(np.abs(np.diff(k)) <= 1)
    assert np.all(size <= full[k])  # never saturated
    up = np.flatnonzero(np.diff(k) > 0)
    down = np.flatnonzero(np.diff(k) < 0)
    assert up[-1] < down[0]  # no flapping
    for rise, fall in zip(up, down[::-1], strict=False):
        assert size[fall] < size[rise] / 1.5
