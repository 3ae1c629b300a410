"""Single equations, each against numbers from elsewhere or a derivation of its own."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

sys.path.insert(0, str(Path(__file__).parent))
from jedi_scene import made, scaled, tables
from loops import CLOCK, PASS, Loop, finished, scene

from instruments.jedi import INSTRUMENT, calibrate, chain, layout, spectrograms
from instruments.jedi.schemas import PENETRATING, ROLLED, SMALL_PIXEL, SMEARED, STATE_UNKNOWN
from pipeline.dataset.context import add_context
from pipeline.dataset.quality import Quality
from pipeline.errors import CalibrationError

KNOWN = tables()


def channels(kind: str) -> chain.Channels:
    return chain.channels_of(kind, KNOWN["channels"], KNOWN["efficiency"])


# Channels


def test_sulfur_energies_are_those_of_oxygen_over_32() -> None:
    """The printed ones (6, 8, 10, 15, 24, ...) are off by up to 13 %: corrections to the published list."""
    own = channels("HIERSTOFXER")
    per = own.per_nucleon[own.species == layout.SPECIES.index("sulfur")]
    np.testing.assert_allclose(per, [5.31, 7.51, 10.1, 14.9, 23.3, 29.9, 38.8, 60.3, 109, 228], rtol=5e-3)
    oxygen = own.per_nucleon[own.species == layout.SPECIES.index("oxygen")]
    np.testing.assert_allclose(
        oxygen, [10.625, 15.017, 20.225, 29.783, 46.653, 59.77, 77.522, 120.647, 218.125, 456.25], rtol=1e-6
    )


def test_oxygen_channels_are_the_published_ones() -> None:
    """Within 1.5 % of 135.62 to 10 000 keV, limits used in literature; widths as published."""
    own = channels("HIERSTOFXER")
    of = own.species == layout.SPECIES.index("oxygen")
    np.testing.assert_array_equal(own.width[of], [66, 71, 105, 216, 346, 251, 300, 880, 2280, 5340])
    np.testing.assert_allclose([own.lower[of][0], own.upper[of][-1]], [135.62, 10_000.0], rtol=0.015)


def test_electron_channels_are_the_published_ones_with_widths_of_half_the_distance_of_their_neighbours() -> None:
    own = channels("HIERSESP")
    published = [
        32.07, 37.67, 44.82, 53.9, 64.905, 78.18, 94.045, 113.52, 136.81, 164.77, 198.5, 238.255, 285.27, 340.895,
        407.13, 487.005, 584.575, 705.93, 1000.0,
    ]  # fmt: skip
    np.testing.assert_array_equal(own.energy, published)
    np.testing.assert_allclose(own.width[1:-1], (own.energy[2:] - own.energy[:-2]) / 2.0, rtol=1e-9)
    np.testing.assert_allclose(own.width[[0, -1]], [37.67 - 32.07, 1000.0 - 705.93], rtol=1e-9)
    assert np.flatnonzero(own.monitor).tolist() == [18]


@pytest.mark.parametrize("family", list(layout.FAMILIES))
def test_coarse_channels_are_pairs(family: str) -> None:
    fine, coarse = channels(f"HIERS{family}"), channels(f"LOERS{family}")
    assert coarse.width.sum() == pytest.approx(fine.width.sum(), rel=1e-12)
    assert coarse.efficient.sum() == pytest.approx(fine.efficient.sum(), rel=1e-12)
    first = np.flatnonzero(coarse.species == coarse.species[0])[0]
    assert coarse.lower[first] == fine.lower[0]
    assert coarse.upper[first] == fine.upper[1]
    assert coarse.monitor.sum() == fine.monitor.sum()


# Live time


def pulses(rate: float, seconds: float, rng: np.random.Generator) -> np.ndarray:
    return np.cumsum(rng.exponential(1.0 / rate, int(rate * seconds * 1.1)))


def taken(times: np.ndarray, dead: float, until: float) -> int:
    """Pulses a counter takes that is dead for so long after each it takes, one by one."""
    number, free = 0, 0.0
    for time in times[times < until].tolist():
        if time >= free:
            number, free = number + 1, time + dead
    return number


def test_live_time_is_what_single_pulses_have() -> None:
    """Pulses at random times through a counter and a slower sorter: sorted over live time is the true rate."""
    rng, seconds, true = np.random.default_rng(3), 20.0, 4.0e4
    table = KNOWN["dead_time"]
    times = pulses(true, seconds, rng)
    basic = taken(times, float(table["counter"].value[layout.SSD]), seconds)
    got = taken(times, float(table["spectrum"].value), seconds)
    raw = xr.Dataset(
        {
            "accumulation": (("record",), [seconds]),
            "basic": (("record", "telescope", "counter"), np.full((1, 1, 4), float(basic))),
            "counts": (("record", "telescope", "channel"), np.full((1, 1, 1), float(got))),
        }
    )
    live = chain.live_time(raw, table, layout.SSD)
    assert got / seconds < 0.92 * true
    assert got / live.seconds[0, 0] == pytest.approx(true, rel=4.0 / np.sqrt(true * seconds))
    assert live.basic[0, 0, layout.SSD] == pytest.approx(true, rel=4.0 / np.sqrt(true * seconds))
    assert not live.saturated.any()
    assert not live.rolled.any()


def test_accidental_coincidences_are_what_independent_pulses_make() -> None:
    """Starts and stops of different particles at random times: pairs within the window, counted one by one."""
    rng, seconds, rates = np.random.default_rng(9), 40.0, (6.0e4, 5.0e4)
    starts, stops = (np.sort(rng.uniform(0.0, seconds, rng.poisson(r * seconds))) for r in rates)
    window = float(KNOWN["coincidence"]["tof_window"].value)
    pairs = int((np.searchsorted(stops, starts + window) - np.searchsorted(stops, starts)).sum())
    basic = np.zeros((1, 1, 4))
    basic[0, 0, :2] = rates
    own = channels("HIERSTOFXPHR")
    raw = xr.Dataset({"basic": (("record", "telescope", "counter"), basic * seconds)})
    found = chain.accidentals(raw, basic, own, KNOWN["coincidence"], KNOWN["dead_time"])
    share = sum(float(KNOWN["coincidence"][g.name].value.sum()) for g in own.family.groups)
    assert found.rate.sum() / share * seconds == pytest.approx(pairs, rel=5.0 / np.sqrt(pairs))


def spoilt(loop: Loop, product: str, **changed) -> xr.Dataset:
    return made(loop.raw[product].assign({n: (loop.raw[product][n].dims, v) for n, v in changed.items()}), loop.scene)


def bits(dataset: xr.Dataset, mask: int, name: str = "quality") -> np.ndarray:
    return (dataset[name].values & np.uint32(mask)) != 0


def test_a_counter_beyond_its_range_is_flagged_and_one_that_ran_over_is_missing(loop: Loop) -> None:
    basic = loop.raw["jedi.electrons"]["basic"].values.copy()
    tau = float(KNOWN["dead_time"]["counter"].value[layout.SSD])
    basic[50, 0, layout.SSD] = 2.0 * 0.4 / tau
    basic[51, 0, layout.SSD] = 2.0 * 1.1 / tau
    basic[52, 0, layout.SSD] = 3.0
    basic[53, 0, layout.SSD] = np.nan
    found = spoilt(loop, "jedi.electrons", basic=basic)
    assert bits(found, Quality.SATURATED)[50:52, 0].all()
    assert np.isfinite(found["intensity"].values[50, 0]).all()
    assert np.isnan(found["intensity"].values[51:54, 0]).all()
    assert bits(found, Quality.MISSING)[51:54, 0].all()
    assert bits(found, ROLLED.mask)[52, 0].all()
    assert not bits(found, Quality.SATURATED)[:50].any()


def test_states_that_no_table_has_are_missing(loop: Loop) -> None:
    pixel, gain = (loop.raw["jedi.ions"][n].values.copy() for n in ("pixel", "gain"))
    pixel[20, 3], gain[21] = 2, 5
    found = spoilt(loop, "jedi.ions", pixel=pixel, gain=gain)
    assert bits(found, STATE_UNKNOWN.mask)[20, 3].all()
    assert bits(found, STATE_UNKNOWN.mask)[21].all()
    assert not bits(found, STATE_UNKNOWN.mask)[20, :3].any()
    assert np.isnan(found["intensity"].values[21]).all()


def test_a_time_beyond_the_epochs_of_the_tables_is_flagged(loop: Loop) -> None:
    late = KNOWN["efficiency"].replace(epoch=KNOWN["efficiency"]["epoch"].value + 1.0e8)
    found = made(loop.raw["jedi.ions"], loop.scene, tables(efficiency=late))
    assert bits(found, Quality.CALIBRATION_EXTRAPOLATED).all()


@pytest.mark.parametrize(
    ("table", "dim"),
    [("channels", "electron_channel"), ("efficiency", "electron_channel"), ("penetrators", "electron_channel")],
)
def test_tables_of_other_channels_are_refused(loop: Loop, table: str, dim: str) -> None:
    known = KNOWN[table]
    short = {
        name: dataclasses.replace(q, value=q.value[:18], uncertainty=q.sigma[:18]) if q.dims == (dim,) else q
        for name, q in known.quantities.items()
    }
    wrong = dataclasses.replace(known, quantities=short)
    with pytest.raises(CalibrationError, match="18"):
        made(loop.raw["jedi.electrons"], loop.scene, tables(**{table: wrong}))


# Directions


def test_telescopes_look_where_the_frames_kernel_says() -> None:
    """Fans of 160 degrees in six; JEDI-A180's holds the spin axis, those of 90 and 270 lie near the spin plane."""
    own = calibrate.telescopes(KNOWN["look"], scene(0.0, 10.0).geometry)
    np.testing.assert_allclose(np.linalg.norm(own, axis=2), 1.0)
    steps = np.degrees(np.arccos((own[:, 1:] * own[:, :-1]).sum(axis=2)))
    np.testing.assert_allclose(steps, 160.0 / 6.0, rtol=1e-6)
    middle = own.sum(axis=1) / np.linalg.norm(own.sum(axis=1), axis=1, keepdims=True)
    np.testing.assert_allclose(middle[1], [-1.0, 0.0, 0.0], atol=1e-9)
    np.testing.assert_allclose(own[1, :, 1], 0.0, atol=1e-9)
    np.testing.assert_allclose(np.abs(own[1, [0, 5], 2]), np.sin(np.radians(66.6667)), atol=1e-6)
    # 8 degrees about X and 10 about Y away from +Y and -Y of the spacecraft.
    angle = np.degrees(np.arccos(middle[[0, 2], 1] * [1.0, -1.0]))
    np.testing.assert_allclose(angle, 10.0, atol=1e-6)
    assert np.abs(np.degrees(np.arcsin(own[[0, 2], :, 2]))).max() < 15.0


def test_without_a_field_there_is_all_but_pitch_angles(loop: Loop) -> None:
    found = made(loop.raw["jedi.electrons"], loop.scene, field=None)
    assert "pitch_angle" not in found
    assert bits(found, Quality.INPUT_MISSING, "pitch_quality").all()
    np.testing.assert_array_equal(found["intensity"].values, loop.products["jedi.electrons"]["intensity"].values)
    spectrogram = spectrograms.spectrogram(finished(found, "jedi.electrons"))
    assert "pitch_intensity" not in spectrogram
    np.testing.assert_array_equal(
        spectrogram["intensity"].values, loop.products["jedi.electron_spectrogram"]["intensity"].values
    )


def test_a_gap_in_the_field_leaves_a_gap_in_pitch_angles(loop: Loop) -> None:
    from pipeline.testing.inputs import field_of

    field = field_of(loop.scene)
    keep = np.abs(field["et"].values - PASS.et) > 30.0
    found = made(loop.raw["jedi.electrons"], loop.scene, field=field.isel(et=keep))
    near = np.abs(found["et"].values - PASS.et) < 28.0
    assert np.isnan(found["pitch_angle"].values[near]).all()
    assert bits(found, Quality.INPUT_MISSING, "pitch_quality")[near].all()
    assert np.isfinite(found["pitch_angle"].values[np.abs(found["et"].values - PASS.et) > 31.0]).all()


def test_long_integrations_are_flagged_as_smeared(loop: Loop) -> None:
    """12 degrees a second: 2 s are less than the 26.7 degrees of a telescope, 10 s more."""
    assert not bits(loop.products["jedi.electrons"], SMEARED.mask, "pitch_quality").any()
    assert bits(loop.products["jedi.ion_singles"], SMEARED.mask, "pitch_quality").all()


# Quality


def test_pixels_and_the_monitor_are_flagged(loop: Loop) -> None:
    found, data = loop.products["jedi.electrons"], loop.raw["jedi.electrons"]
    small = data["pixel"].values == layout.SMALL
    assert 0.05 < small.mean() < 0.95
    np.testing.assert_array_equal(bits(found, SMALL_PIXEL.mask)[:, :, 0], small)
    assert bits(found, PENETRATING.mask)[:, :, -1].all()
    assert not bits(found, PENETRATING.mask)[:, :, :-1].any()


def test_missing_is_nan_and_flagged(loop: Loop) -> None:
    for product in ("jedi.electrons", "jedi.ions", "jedi.low_ions", "jedi.ion_singles"):
        found = loop.products[product]
        missing = bits(found, Quality.MISSING)
        for name in ("intensity", "rate", "counts"):
            np.testing.assert_array_equal(np.isnan(found[name].values), missing, f"{product} {name}")
        assert 0 < missing.sum() <= 1 + 2 * found.sizes["channel"]


def test_products_keep_their_schema(loop: Loop) -> None:
    from pipeline.dataset import check

    for product, dataset in loop.products.items():
        schema = INSTRUMENT.product(product).schema
        whole = add_context(dataset, schema, loop.scene.geometry, CLOCK)
        whole = check.finish(whole, schema, INSTRUMENT.flags, {"product": f"{product}/PJ01"})
        check.check(whole, schema, INSTRUMENT.flags)


@pytest.mark.parametrize("product", ["jedi.electrons", "jedi.ions"])
def test_figures_are_drawn_with_and_without_a_field(loop: Loop, product: str) -> None:
    name = product.removesuffix("s") + "_spectrogram"
    bare = spectrograms.spectrogram(finished(made(loop.raw[product], loop.scene, field=None), product))
    for dataset in (loop.products[name], bare):
        schema = INSTRUMENT.product(name).schema
        seen = finished(add_context(dataset, schema, loop.scene.geometry, CLOCK), name)
        for look in (q for q in INSTRUMENT.quicklooks if q.products == (name,)):
            figure = look.draw(seen)
            figure.canvas.draw() if hasattr(figure.canvas, "draw") else None
            assert len(figure.axes) >= 1
    activity = next(q for q in INSTRUMENT.quicklooks if q.name == "jedi-rates")
    schema = INSTRUMENT.product(product).schema
    whole = finished(add_context(loop.products[product], schema, loop.scene.geometry, CLOCK), product)
    given = (whole, None) if product == "jedi.electrons" else (None, whole)
    assert any(panel.lines for panel in activity.draw(*given).axes)


def test_scaling_a_table_scales_intensities(loop: Loop) -> None:
    found = made(loop.raw["jedi.ions"], loop.scene, scaled("geometric_factor", "ions", 2.0))
    np.testing.assert_allclose(
        found["intensity"].values, loop.products["jedi.ions"]["intensity"].values / 2.0, rtol=1e-12
    )
