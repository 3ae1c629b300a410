"""The beam on the sky, and brightness by latitude: against finer integration, planted belts, published tables."""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

sys.path.insert(0, str(Path(__file__).parent))
from mwr_scene import PASS, Loop, brightness_of, components_of, failed, finished, scene, tables

from instruments.mwr import INSTRUMENT, beam, brightness, simulate
from instruments.mwr.layout import CHANNELS
from instruments.mwr.schemas import UNRESOLVED
from instruments.mwr.sky import QUADRATURE, in_beam
from pipeline.clock import Sclk, Span
from pipeline.dataset.context import add_context
from pipeline.jupiter.shape import EQUATORIAL_RADIUS
from pipeline.scene import microwave
from pipeline.testing.pulls import compare_to_truth

REAL = Path(os.environ.get("PERIJOVE_REAL_DATA", Path(__file__).parents[3] / "shared" / "data")) / "mwr"


def seen_brightness(
    where, sky: microwave.MicrowaveSky, seed: int = 2, noise: float = 1.0
) -> tuple[xr.Dataset, xr.Dataset]:  # type: ignore[no-untyped-def]
    """Antenna temperatures of a scene as the receivers would give them, without going through counts."""
    known = simulate.truth_tables(PASS.et)
    et, state = simulate.slots(where.span)
    et = et[state == 0]
    ta = simulate.in_beam(where.geometry, sky, et, known).total
    receiver = known["receiver"]
    sigma = (ta + 500.0) / np.sqrt(receiver["bandwidth"] * 1e6 * 0.1)
    made = ta + noise * sigma * np.random.default_rng(seed).normal(size=ta.shape)
    each = ("et", "channel")
    values = {"ta": made, "ta_random": sigma, "ta_systematic": 0.02 * np.abs(ta - 290.0), "ta_structured": 0.0 * sigma}
    temperature = xr.Dataset(
        {
            **{name: (each, value) for name, value in values.items()},
            "toff": (each, np.full(ta.shape, 290.0)),
            "quality": (each, np.zeros(ta.shape, np.uint32)),
        },
        coords={"et": et, "channel": list(CHANNELS)},
    )
    return temperature, components_of(temperature, where, tables())


@pytest.fixture(scope="module")
def pass_() -> tuple[xr.Dataset, xr.Dataset, xr.Dataset]:
    """Temperatures, components and brightness of eleven minutes about closest approach."""
    where = scene(-330.0, 330.0)
    temperature, components = seen_brightness(where, microwave.microwave_sky())
    return temperature, components, brightness_of(components, temperature, where, tables())


def truth_at(table: np.ndarray) -> np.ndarray:
    return table.transpose(1, 0, 2)


def test_brightness_and_limb_darkening_are_recovered(pass_: tuple[xr.Dataset, ...]) -> None:
    """c0 to some tenths of a kelvin, c1 likewise; pulls of all coefficients as they should be."""
    found = pass_[2]
    known = np.isfinite(found["c"].values[:, :, 0])
    assert known.sum() > 40
    off = found["c"].values - truth_at(microwave.coefficients())
    pulls = off / found["c_random"].values
    assert 0.7 < np.nanstd(pulls) < 1.25
    assert abs(np.nanmean(pulls)) < 0.3
    assert np.nanmedian(np.abs(off[0, :, 0])) < 0.6
    assert np.nanmedian(np.abs(off[2:, :, 0])) < 0.1
    assert np.nanmax(np.abs(pulls)) < 4.5
    assert np.all(found["chi_square"].values < 2.0)


def test_brightness_holds_to_53_degrees(pass_: tuple[xr.Dataset, ...]) -> None:
    found = pass_[2]
    assert found["angle"].values[-1] == 53.0
    mu = np.cos(np.radians(found["angle"].values))
    law = np.stack([np.ones_like(mu), -(1 - mu) / 0.2, (mu - 0.8) * (1 - mu) / 0.08])
    true = truth_at(microwave.coefficients()) @ law
    off = found["tb"].values - true
    assert np.nanmax(np.abs(off / true)) < 0.01
    total = np.hypot(found["tb_random"].values, found["tb_systematic"].values)
    there = np.isfinite(off)
    assert np.mean(np.abs(off[there]) < 2.0 * total[there]) > 0.97


def test_a_planted_cold_belt_is_found(pass_: tuple[xr.Dataset, ...]) -> None:
    """Twenty kelvin colder at 10 degrees south in C3 alone."""
    where = scene(-330.0, 330.0)
    table = microwave.coefficients().copy()
    node = 16  # -10 degrees
    table[node, 2, 0] -= 20.0
    temperature, components = seen_brightness(where, dataclasses.replace(microwave.microwave_sky(), table=table))
    found = brightness_of(components, temperature, where, tables())
    change = found["c"].values[:, :, 0] - pass_[2]["c"].values[:, :, 0]
    assert abs(change[2, node] + 20.0) < 1.0
    others = np.delete(change[2], node)
    assert np.nanmax(np.abs(others)) < 1.0
    assert np.nanmax(np.abs(np.delete(change, 2, axis=0))) < 3.0


def test_a_colder_limb_is_found(pass_: tuple[xr.Dataset, ...]) -> None:
    """c1 half as large again in C4."""
    where = scene(-330.0, 330.0)
    table = microwave.coefficients().copy()
    table[:, 3, 1] *= 1.5
    temperature, components = seen_brightness(where, dataclasses.replace(microwave.microwave_sky(), table=table))
    found = brightness_of(components, temperature, where, tables())
    ratio = found["c"].values[3, :, 1] / pass_[2]["c"].values[3, :, 1]
    assert np.nanmax(np.abs(ratio - 1.5)) < 0.08


def test_a_beam_too_narrow_is_noticed(pass_: tuple[xr.Dataset, ...]) -> None:
    """Brightness fitted with a beam of half the width does not fit."""
    where = scene(-330.0, 330.0)
    known = tables()
    known["beam"] = known["beam"].replace(half_power_width=known["beam"]["half_power_width"].value / 2.0)
    found = brightness_of(pass_[1], pass_[0], where, known)
    assert np.all(found["chi_square"].values[2:] > 1.2 * pass_[2]["chi_square"].values[2:])


def test_the_anchor_takes_out_an_error_of_the_diodes(pass_: tuple[xr.Dataset, ...]) -> None:
    """Diodes 2 % too strong: the open sky shows it, and with ``anchor=sky`` the brightness is right again."""
    where = scene(-330.0, 330.0)
    known = tables()
    temperature = pass_[0].copy()
    toff = temperature["toff"].values
    temperature["ta"] = temperature["ta"].dims, toff + 1.02 * (temperature["ta"].values - toff)
    components = components_of(temperature, where, known)
    anchored = finished(brightness.anchor(components, temperature), "mwr.anchor")
    np.testing.assert_allclose(anchored["slope"].values[3:], 1 / 1.02, atol=2e-3)
    assert np.all(np.abs(anchored["residual"].values[3:] + 0.02 * 287.0) < 0.6)
    truth = truth_at(microwave.coefficients())[..., 0]
    off = {
        a: brightness_of(components, temperature, where, known, anchor=a)["c"].values[5, :, 0] - truth[5]
        for a in ("none", "sky")
    }
    assert np.nanmean(np.abs(off["none"])) > 2.0
    assert np.nanmean(np.abs(off["sky"])) < 0.4


def test_the_anchor_of_a_right_calibration_is_zero(pass_: tuple[xr.Dataset, ...]) -> None:
    anchored = finished(brightness.anchor(pass_[1], pass_[0]), "mwr.anchor")
    total = np.hypot(anchored["residual_random"].values, anchored["residual_systematic"].values)
    assert np.all(np.abs(anchored["residual"].values[1:]) < 3 * total[1:])
    assert np.all(anchored["records"].values[1:] > 100)
    # So near the equator the belts are in every record of C1.
    assert anchored["records"].values[0] == 0
    assert anchored["quality"].values[0] != 0


# The rays


def test_weights_are_a_beam() -> None:
    sampled = beam.rays(tables()["beam"])
    np.testing.assert_allclose(sampled.weights.sum(axis=1), 1.0)
    np.testing.assert_allclose(sampled.floor.sum(axis=1), 1.0)
    np.testing.assert_allclose(np.linalg.norm(sampled.directions, axis=1), 1.0)
    assert np.all((sampled.floor_share > 0.002) & (sampled.floor_share < 0.03))
    # The mean of cos(theta) of a Gaussian beam, and of a quantity that turns with azimuth.
    theta = np.linspace(0.0, np.pi, 200_001)
    for n in range(6):
        pattern = simulate.pattern(simulate.truth_tables(PASS.et)["beam"], n, theta) * np.sin(theta)
        fine = (pattern * np.cos(theta)).sum() / pattern.sum()
        assert abs((sampled.weights[n] * sampled.directions[:, 2]).sum() - fine) < 2e-4
    np.testing.assert_allclose(sampled.weights @ sampled.directions[:, :2], 0.0, atol=1e-12)


def test_quadrature_is_as_good_as_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """The part of the beam on Jupiter along one spin, against nine times as many rays."""
    where, known = scene(-100.0, -70.0), tables()
    et = np.arange(where.span.start, where.span.stop, 0.2)
    chosen = (known["receiver"], known["sky"], known["limb"])

    def fraction() -> np.ndarray:
        sampled = beam.rays(known["beam"])
        return np.concatenate(
            [
                in_beam(where.geometry, f, r, et, sampled, *chosen)["planet_fraction"]
                for f, r in beam.boresights(where.geometry)
            ],
            1,
        )

    coarse = fraction()
    monkeypatch.setattr(beam, "PANELS", tuple((a, b, 3 * n, 3 * k) for a, b, n, k in beam.PANELS))
    assert np.all(np.std(coarse - fraction(), axis=0) < 2.0 * QUADRATURE)


def test_rays_meet_the_ellipsoid_where_the_core_says() -> None:
    from pipeline.geometry.surface import surface_points

    where = scene(-300.0, 300.0)
    et = np.linspace(where.span.start, where.span.stop, 50)
    axis = np.array([[0.0, 0.0, 1.0]])
    look = beam.looks(where.geometry, "JUNO_MWR_A3", "IAU_JUPITER", et, axis)
    met = beam.meet(where.geometry.position("IAU_JUPITER", et), look)
    same = surface_points(where.geometry, et, np.repeat(axis, 50, 0), frame="JUNO_MWR_A3", correction="NONE")
    np.testing.assert_array_equal(met.hit[:, 0], np.isfinite(same.emission))
    hit = met.hit[:, 0]
    assert 5 < hit.sum() < 45
    np.testing.assert_allclose(met.latitude[hit, 0], same.latitude_planetocentric[hit], atol=1e-8)
    np.testing.assert_allclose(np.degrees(np.arccos(met.mu[hit, 0])), same.emission[hit], atol=1e-5)
    np.testing.assert_allclose(met.distance[hit, 0], same.range[hit], rtol=1e-9)


def test_the_antennas_look_where_the_frames_kernel_says() -> None:
    """Across the spin axis; A1 120 degrees from the others (facts A.1)."""
    where = scene(-10.0, 10.0)
    found = beam.boresights(where.geometry)
    assert [receivers for _, receivers in found] == [[0], [1, 2, 3, 4, 5]]
    axes = [where.geometry.rotation(frame, "JUNO_SPACECRAFT", [PASS.et])[0][:, 2] for frame, _ in found]
    np.testing.assert_allclose([a[2] for a in axes], 0.0, atol=1e-12)
    np.testing.assert_allclose(axes[0] @ axes[1], -0.5, atol=1e-12)


def test_the_belts_in_closed_form_are_the_integral_along_the_ray() -> None:
    """Both forms, the calibration's and the scene's, against a sum over small steps."""
    sky = tables()["sky"]
    rng = np.random.default_rng(4)
    start = np.array([[1.2, 0.4, 0.3], [0.2, -1.1, 0.6]]) * EQUATORIAL_RADIUS
    look = rng.normal(size=(2, 5, 3))
    look /= np.linalg.norm(look, axis=2, keepdims=True)
    length = np.array([[0.7, 1.5, 3.0, 0.2, np.inf]] * 2) * EQUATORIAL_RADIUS
    centres = microwave.Belts().centres()
    width = microwave.Belts().width
    s = np.linspace(0.0, 8.0, 16_001)
    expected = np.empty((2, 5))
    for i in range(2):
        for j in range(5):
            at = start[i] / EQUATORIAL_RADIUS + s[:, None] * look[i, j]
            density = sum(np.exp(-((at - c) ** 2).sum(axis=1) / (2 * width**2)) for c in centres)
            density = np.where(s <= length[i, j] / EQUATORIAL_RADIUS, density, 0.0)
            expected[i, j] = 150.0 * density.sum() * (s[1] - s[0]) / (width * np.sqrt(2 * np.pi))
    closed = beam.belts(start, np.moveaxis(look, 2, 0), length, sky)
    world = microwave.Belts().at_1_ghz(start, look, length)
    np.testing.assert_allclose(closed, expected, atol=0.2)
    np.testing.assert_allclose(world, expected, atol=0.2)


def test_galaxy_and_background_are_the_scenes(pass_: tuple[xr.Dataset, ...]) -> None:
    rng = np.random.default_rng(0)
    look = rng.normal(size=(50, 3))
    look /= np.linalg.norm(look, axis=1, keepdims=True)
    known = tables()
    frequency = known["receiver"]["frequency"].value
    at_408 = beam.galaxy(look.T[:, :, None], known["sky"])[:, 0]
    made = beam.cosmic(known["sky"], frequency)[:, None] + at_408 * (frequency[:, None] / 0.408) ** -2.7
    np.testing.assert_allclose(made, microwave.microwave_sky().background(look), rtol=1e-6)
    pole = np.array([192.85948, 27.12825])  # of the galaxy, J2000 degrees
    direction = [
        np.cos(np.radians(pole[1])) * np.cos(np.radians(pole[0])),
        np.cos(np.radians(pole[1])) * np.sin(np.radians(pole[0])),
        np.sin(np.radians(pole[1])),
    ]
    np.testing.assert_allclose(beam.GALACTIC @ direction, [0.0, 0.0, 1.0], atol=1e-6)


def test_means_over_a_record_are_those_of_the_smooth_curve() -> None:
    records = PASS.et + np.array([0.05, 3.21, 7.77])
    knots = beam.Knots.around(records, 0.2)
    turn = 2 * np.pi / 30.0

    def curve(t: np.ndarray) -> np.ndarray:
        return np.cos(3 * turn * (t - PASS.et))

    smeared = np.sinc(3 * turn * 0.1 / (2 * np.pi))
    np.testing.assert_allclose(knots.mean(curve(knots.et)), smeared * curve(records), atol=2e-5)


def test_a_small_disc_is_flagged() -> None:
    """Five hours out Jupiter falls between the rays."""
    where = scene(-5.0 * 3600.0, -5.0 * 3600.0 + 20.0)
    _, components = seen_brightness(where, microwave.microwave_sky())
    assert (components["quality"].values & UNRESOLVED.mask).all()
    near = scene(0.0, 10.0)
    _, components = seen_brightness(near, microwave.microwave_sky())
    assert not (components["quality"].values & UNRESOLVED.mask).any()


def test_brightness_of_a_pass_without_jupiter_is_missing() -> None:
    where = scene(-5.0 * 3600.0, -5.0 * 3600.0 + 20.0)
    temperature, components = seen_brightness(where, microwave.microwave_sky())
    found = brightness_of(components, temperature, where, tables())
    assert np.isnan(found["c"].values).all()
    assert (found["quality"].values != 0).all()


# Published


@pytest.mark.real
@pytest.mark.skipif(not REAL.is_dir(), reason=f"no published brightness in {REAL}")
def test_the_scene_is_the_published_brightness() -> None:
    """Coefficients and limb law against the published tables: 0.2 K to 53 degrees, 1 K or 1 % to 85."""
    import h5py

    with h5py.File(REAL / "TBmu_submit.h5") as file:
        latitude, tb = file["latitudes"][0], file["TBmu"][:]
    sky = microwave.microwave_sky()
    nodes = np.arange(-85.0, 86.0, 5.0)
    for angle, tolerance in ((0, 0.2), (30, 0.2), (53, 0.5), (75, 1.5)):
        mu = np.full(nodes.shape, np.cos(np.radians(angle)))
        made = sky.thermal(nodes, mu, tuple(range(6)))
        for n in range(6):
            published = np.interp(nodes, latitude, tb[n, :, angle])
            assert np.abs(made[n] - published).max() < tolerance, (n, angle)


@pytest.mark.real
@pytest.mark.skipif(not REAL.is_dir(), reason=f"no published brightness in {REAL}")
def test_the_limb_law_is_that_of_the_published_tables() -> None:
    """0.17 K in all channels to 53 degrees, and off by kelvins at 70 (corrections to the facts)."""
    import h5py

    with h5py.File(REAL / "TBmu_submit.h5") as file:
        c, tb = file["meancoeff"][:], file["TBmu"][:]
    mu = np.cos(np.radians(np.arange(91)))
    u, v = beam.limb_terms(mu)
    law = c[:, 0, :, None] + c[:, 1, :, None] * u + c[:, 2, :, None] * v
    off = np.abs(law - tb)
    assert off[:, :, :54].max() < 0.17
    assert off[1, :, 70].min() > 3.0


# Figures


def with_context(product: str, dataset: xr.Dataset, loop: Loop) -> xr.Dataset:
    schema = INSTRUMENT.product(product).schema
    full = add_context(dataset, schema, loop.scene.geometry, Sclk.default()) if schema.context else dataset
    return full.assign_attrs(simulated="SIMULATED DATA")


def test_figures_are_drawn(loop: Loop, pass_: tuple[xr.Dataset, ...], tmp_path: Path) -> None:
    made = {name: with_context(name, dataset, loop) for name, dataset in loop.products.items()}
    made["mwr.brightness"] = pass_[2]
    made["mwr.anchor"] = finished(brightness.anchor(pass_[1], pass_[0]), "mwr.anchor")
    for look in INSTRUMENT.quicklooks:
        for optional in (True, False):
            given = [made[p] if k == 0 or optional else None for k, p in enumerate(look.products)]
            figure = look.draw(*given)
            assert isinstance(figure, Figure)
            figure.savefig(tmp_path / f"{look.name}.png", dpi=50)
            assert any(axis.has_data() for axis in figure.axes)


def test_judged_brightness_of_a_shifted_latitude_fails(pass_: tuple[xr.Dataset, ...]) -> None:
    """One node further north is not the truth."""
    found = pass_[2]
    schema = INSTRUMENT.product("mwr.brightness").schema
    known = np.isfinite(found["c"].values)
    axes = {"channel": list(CHANNELS), "latitude": found["latitude"].values}
    right = np.where(known, truth_at(microwave.coefficients()), np.nan)
    wrong = np.where(known, np.roll(truth_at(microwave.coefficients()), 1, axis=1), np.nan)
    for value, expected in ((right, set()), (wrong, {"c"})):
        truth = xr.Dataset({"c": (("channel", "latitude", "coefficient"), value)}, coords=axes)
        assert failed(compare_to_truth(found, truth, schema)) == expected


def test_span_is_kept(loop: Loop) -> None:
    """Components of a part of the pass have that part's records."""
    span = Span(loop.scene.span.start + 60.0, loop.scene.span.start + 70.0)
    made = components_of(loop.products["mwr.antenna_temperature"], loop.scene, tables(), span)
    assert span.contains(made["et"].values).all()
    assert made.sizes["et"] > 70
