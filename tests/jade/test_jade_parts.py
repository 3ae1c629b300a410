"""Single equations, each against numbers from elsewhere or a derivation of its own."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import gamma

sys.path.insert(0, str(Path(__file__).parent))
from jade_scene import electron_rate, fluxes, ion_masses, moments_of, tables
from loops import PASS, Loop, scene

from instruments.jade import (
    INSTRUMENT,
    cells,
    chain,
    forward,
    looks,
    moments,
    quality,
    quicklook,
    simulate,
    simulate_tof,
    tof,
)
from instruments.jade.schemas import BACKGROUND_KEPT, BLANKED, BY_TABLE, ION_MASSES, NO_DEFLECTION
from pipeline.dataset.quality import Quality, cf_attributes
from pipeline.particles import counting
from pipeline.particles.pitch import pitch_angles
from pipeline.testing.inputs import field_of

# Decompression and counts


@given(st.integers(0, 65535), st.sampled_from([(1, "lower_16"), (2, "lower_32")]))
@settings(max_examples=200, deadline=None)
def test_counts_lie_in_the_bin_of_their_code(count: int, which: tuple[int, str]) -> None:
    number, name = which
    code = forward.packed(np.array([[count]]), tables()["compression"][name].value)
    found = chain.decompress(code.astype(np.uint32), np.array([number], np.uint8), tables()["compression"])
    assert abs(found.counts[0, 0] - count) <= max(found.width[0, 0] - 1, 0) / 2
    assert found.width[0, 0] != 1


def test_decompression_keeps_sums_where_the_middle_does_not() -> None:
    """Counts of any level over an octave: the mean of what is read is the mean of what was counted to 0.03 %."""
    rng = np.random.default_rng(5)
    level = np.exp(rng.uniform(np.log(100.0), np.log(800.0), (400_000, 1)))
    counts = rng.poisson(level)
    code = forward.packed(counts, tables()["compression"]["lower_32"].value).astype(np.uint32)
    found = chain.decompress(code, np.full(len(code), 2, np.uint8), tables()["compression"])
    assert abs(found.mean.sum() / counts.sum() - 1.0) < 3e-4
    assert found.counts.sum() / counts.sum() - 1.0 > 8e-4


def test_expected_counts_make_pulls_of_deviation_one() -> None:
    rng = np.random.default_rng(6)
    for level in (0.2, 1.0, 20.0):
        counts = rng.poisson(level, (200, 64, 40)).astype(float)
        exposure = np.ones_like(counts)
        around = tuple(counting.along_axis(a, 2, 1) - a for a in (counts, exposure))
        wide = tuple(sum(np.roll(a, k, axis=2) for k in range(-3, 4)) for a in around)
        expected = counting.expected_counts(counts, exposure, wide)
        pulls = (counts - level) / np.sqrt(expected)
        assert pulls.std() == pytest.approx(1.0, abs=0.02)
        assert abs(pulls.mean()) < 0.02


def test_dead_time_is_that_of_simulated_events() -> None:
    """Events of a Poisson process, each killing those within the dead time: rate, and its random error."""
    rng = np.random.default_rng(8)
    true, tau, length = 2e5, 1e-6, 0.0125
    seen = []
    for _ in range(300):
        times = np.cumsum(rng.exponential(1.0 / true, 4000))
        count, free = 0, 0.0
        for t in times[times < length]:
            if t >= free:
                count, free = count + 1, t + tau
        seen.append(count)
    rate = counting.correct_dead_time(np.array(seen) / length, tau)
    assert rate.mean() == pytest.approx(true, rel=4 * rate.std() / true / np.sqrt(300))
    assert np.mean(seen) / length < 0.85 * true
    assert np.isnan(counting.correct_dead_time(np.array([1.1 / tau]), tau)).all()


# Phase space


def test_phase_space_density_of_a_textbook_flux() -> None:
    """Protons of 1 keV, 1e6 1/(cm2 s sr keV): f = m^2 J / 2 E in SI by hand."""
    joule, mass = 1.602176634e-16, 1.67262192e-27
    flux = 1e6 * 1.0
    by_hand = mass**2 * (1e6 * 1e4 / 1.602176634e-16) / (2.0 * joule)
    assert chain.phase_space_density(np.array(flux), np.array(1000.0), mass) == pytest.approx(by_hand, rel=1e-5)
    assert chain.number_flux(np.array(flux), np.array(1000.0)) == pytest.approx(1e6)


def test_efficiency_goes_with_energy_species_voltage_and_epoch() -> None:
    """By hand between the nodes of the tables: linear in the logarithm of the energy, in the voltage, in time."""
    electrons, ions = tables()["efficiency_electrons"], tables()["efficiency_ions"]
    energy = np.array([200.0, 1000.0 * 5.0**0.5])
    found, relative = chain.efficiency(energy, np.array([2500.0, 2400.0]), np.array([5.2e8, 5.7e8]), electrons)
    np.testing.assert_allclose(found[0], [0.8, 0.59])
    np.testing.assert_allclose(found[1], np.array([0.8, 0.59]) * 0.95 * 0.985)
    np.testing.assert_allclose(relative[0], np.hypot([0.1, 0.1], 0.02))
    at = ions["energy"].value[[1]]
    for kind, row in enumerate(ions["efficiency"].value):
        own = chain.efficiency(at, np.array([2500.0]), np.array([5.2e8]), ions, kind)[0]
        np.testing.assert_allclose(own, row[1] * np.interp(2500.0, ions["voltage"].value, ions["voltage_factor"].value))
    beyond = chain.outside(
        np.array([2500.0, 2000.0, 2800.0, 2500.0]), np.array([5.3e8, 5.3e8, 5.3e8, 5.1e8]), electrons
    )
    assert beyond.tolist() == [False, True, True, True]


def test_ram_energies_of_the_ions() -> None:
    """279 eV for O+ and 558 eV for S+ at 57.8 km/s."""
    for mass, energy in ((15.9994, 279.0), (32.06, 558.0)):
        speed = chain.proper_speed(np.array(energy), mass * chain.ATOMIC_MASS)
        assert speed == pytest.approx(57.9e3, rel=4e-3)


# Directions


def test_anodes_look_where_the_frames_kernel_says() -> None:
    where = scene(-10.0, 10.0)
    known = simulate.truth_tables(PASS.et)
    np.testing.assert_allclose(
        looks.electron_anodes(tables()["look_electrons"], where.geometry), forward.electron_vectors(known), atol=1e-9
    )
    np.testing.assert_allclose(
        looks.ion_anodes(tables()["look_ions"], where.geometry), forward.ion_vectors(known), atol=1e-9
    )


def test_views_are_those_of_sorting_second_by_second() -> None:
    """Against dot products with the despun axes, views by views: two derivations, one count."""
    where = scene(-200.0, 200.0)
    et = PASS.et + np.array([-90.0, 3.3, 77.7])
    known, axes = simulate.truth_tables(PASS.et), forward.despun_axes(where, et)
    seconds, sensor = np.arange(30) - 15.0, np.full(3, 1)
    own = looks.electron_views(
        np.full(3, 1, np.int8), np.full(3, 30, np.int32), et, sensor, tables()["look_electrons"], where.geometry
    )
    other = np.zeros_like(own)
    anodes = forward.electron_vectors(known)[16:32]
    for place in forward.sector_hits(where, et, seconds, axes, anodes, lambda a: forward.turn_of(a) * 48):
        np.add.at(other, (np.arange(3)[:, None, None], np.arange(64)[:, None], place, np.arange(16)), 1.0)
    # The sensors are tilted by half a degree out of the spin plane, which moves a view now and then across an edge.
    assert np.abs(own - other).sum() / own.sum() < 2e-3
    assert own.sum() == other.sum() == 3 * 30 * 64 * 16


def test_despun_axes_point_north() -> None:
    where = scene(-200.0, 200.0)
    et = PASS.et + np.linspace(-100.0, 100.0, 7)
    own = looks.despun_to("J2000", et, where.geometry)
    np.testing.assert_allclose(np.swapaxes(own, 1, 2), forward.despun_axes(where, et), atol=1e-7)


def test_a_beam_along_the_field_has_pitch_angle_zero() -> None:
    """What is seen when looking against the field flies along it."""
    et = np.arange(10.0)
    b = np.tile([0.0, 3.0, 4.0], (10, 1))
    field = xr.Dataset({"b_j2000": (("et", "xyz"), b)}, coords={"et": et})
    look = np.array([[0.0, -0.6, -0.8], [0.0, 0.6, 0.8], [1.0, 0.0, 0.0]])
    angle, error = pitch_angles(look, np.array([2.5, 2.5, 2.5]), field)
    np.testing.assert_allclose(angle, [0.0, 180.0, 90.0], atol=1e-6)
    np.testing.assert_array_equal(error, 0.0)


def test_a_gap_in_the_field_leaves_no_pitch_angle(loop: Loop) -> None:
    field = field_of(loop.scene)
    middle = float(field["et"].values.mean())
    gap = field.isel(et=np.abs(field["et"].values - middle) > 10.0)
    found = fluxes(loop.products["jade.electron_rate"], loop.scene, gap)
    none = np.isnan(found["pitch_angle"].values).all(axis=(1, 2))
    assert 15 <= none.sum() <= 25
    assert (found["quality"].values[none] & np.uint32(Quality.INPUT_MISSING)).all()


def test_without_a_field_there_is_everything_but_pitch_angles(loop: Loop) -> None:
    found = fluxes(loop.products["jade.electron_rate"], loop.scene, None)
    assert "pitch_angle" not in found
    assert (found["quality"].values & np.uint32(Quality.INPUT_MISSING)).all()
    other = loop.products["jade.electron_flux"]
    np.testing.assert_array_equal(found["energy_flux"].values, other["energy_flux"].values)


# Moments


@pytest.mark.parametrize("drift", [0.0, 60e3])
def test_sums_over_cells_are_the_moments_of_a_maxwellian(drift: float) -> None:
    mass = np.array([15.9994 * chain.ATOMIC_MASS])
    thermal = 300.0 * chain.ELEMENTARY_CHARGE / mass
    velocity = np.array([[drift, 0.3 * drift, -0.5 * drift]])
    given_ = cells.Moments(np.array([2e7]), velocity, thermal[:, None, None] * np.eye(3))
    look = looks.ion_looks(tables()["look_ions"])
    edges = chain.energies(tables()["energy_ions"])[1][None]
    grid = cells.cells_of(edges, look, mass, np.zeros(1))
    f = cells.maxwellian(given_, grid, look)
    plain = grid.sums(f)
    assert grid.solid.sum() == pytest.approx(4.0 * np.pi)
    assert plain.density[0] == pytest.approx(2e7, rel=0.02)
    better = cells.corrected(plain, f, np.zeros_like(f), grid, look, np.ones_like(f))
    assert better.density[0] == pytest.approx(2e7, rel=3e-3)
    assert better.temperature[0] == pytest.approx(thermal[0], rel=1e-2)
    np.testing.assert_allclose(better.velocity, velocity, atol=300.0)


def kappa(given_: cells.Moments, grid: cells.Cells, look: looks.IonLooks, index: float = 4.0) -> np.ndarray:
    """Mean over each cell of a drifting kappa distribution (Livadiotis and McComas 2013, Space Sci. Rev. 175, 183)."""
    direction, weight = cells.quadrature(look)
    wide = 2.0 * (index - 1.5) * given_.temperature[:, None, None, None]
    total = 0.0
    for node, part in zip(cells.NODES, cells.WEIGHTS / 2.0, strict=True):
        speed = (grid.upper + grid.lower) / 2.0 + (grid.upper - grid.lower) / 2.0 * node
        away = speed[:, :, None, None, None] * direction - given_.velocity[:, None, None, None, :]
        f = (1.0 + (away**2).sum(axis=-1) / wide) ** (-index - 1.0)
        total = total + part * (f * weight).sum(axis=-1) / weight.sum(axis=-1)
    size = given_.density[:, None, None] * gamma(index + 1.0) / gamma(index - 0.5)
    return size / (np.pi * wide[..., 0]) ** 1.5 * total


@pytest.mark.parametrize(("electronvolts", "nuclide"), [(130.0, 1.008), (170.0, 1.008), (240.0, 15.9994)])
def test_ions_slower_than_the_cut_are_as_many_as_a_kappa_distribution_has(electronvolts: float, nuclide: float) -> None:
    mass = np.array([nuclide * chain.ATOMIC_MASS])
    thermal = electronvolts * chain.ELEMENTARY_CHARGE / mass
    given_ = cells.Moments(np.array([2e7]), np.array([[50e3, 20e3, -15e3]]), thermal[:, None, None] * np.eye(3))
    look = looks.ion_looks(tables()["look_ions"])
    # Ions that the potential of 5 V keeps below 5 V at the instrument are not measured.
    grid = cells.cells_of(chain.energies(tables()["energy_ions"])[1][None], look, mass, np.full(1, 5.0))
    f = kappa(given_, grid, look)
    found = cells.corrected(grid.sums(f), f, 0.1 * f, grid, look, np.ones_like(f))
    assert found.density[0] == pytest.approx(2e7, rel=4e-3)
    assert found.temperature[0] == pytest.approx(thermal[0], rel=5e-3)


def test_errors_of_moments_are_those_of_many_draws() -> None:
    rng = np.random.default_rng(9)
    mass = np.full(300, 15.9994 * chain.ATOMIC_MASS)
    thermal = 300.0 * chain.ELEMENTARY_CHARGE / mass
    velocity = np.tile([40e3, -20e3, 10e3], (300, 1))
    given_ = cells.Moments(np.full(300, 2e7), velocity, thermal[:, None, None] * np.eye(3))
    look = looks.ion_looks(tables()["look_ions"])
    grid = cells.cells_of(chain.energies(tables()["energy_ions"])[1][None], look, mass[:1], np.zeros(1))
    one = cells.maxwellian(cells.Moments(*(np.asarray(a)[:1] for a in given_)), grid, look)
    grid = grid._replace(lower=np.repeat(grid.lower, 300, 0), upper=np.repeat(grid.upper, 300, 0))
    sigma = np.repeat(0.3 * np.sqrt(one * one.max()) + 1e-20, 300, 0)
    found = grid.sums(np.repeat(one, 300, 0) + sigma * rng.normal(size=sigma.shape))
    stated = cells.random_errors(cells.response(grid.sums(np.repeat(one, 300, 0)), grid), sigma)
    assert found.density.std() * 1e-6 == pytest.approx(stated["density"][0], rel=0.15)
    assert found.temperature.std() == pytest.approx(stated["temperature"][0], rel=0.15)
    spread = np.sqrt(np.diagonal(stated["velocity"][0]))
    np.testing.assert_allclose(found.velocity.std(axis=0), spread, rtol=0.15)


@pytest.mark.parametrize("temperature", [500.0, 900.0, 3000.0])
def test_electron_moments_of_a_kappa_distribution(temperature: float) -> None:
    """Noise-free, seen through the pass bands, with the spacecraft at 5 V: to 0.3 %."""
    from pipeline.scene.plasma import POPULATIONS, Plasma

    state = Plasma(POPULATIONS["electrons"], np.array([3.0]), np.array([temperature]), np.zeros((1, 3)))
    known = simulate.truth_tables(PASS.et)
    middle, energy, weights = forward.bands(known["energy_electrons"])
    look, still = np.array([[[1.0, 0.0, 0.0]]]), np.zeros((1, 3))
    flux = [
        sum(
            w * forward.energy_flux(state, look, np.asarray(e), -5.0, still, forward.M_E)[0, 0]
            for e, w in zip(row, weights, strict=True)
        )
        for row in energy
    ]
    density = chain.phase_space_density(np.array([flux]), middle, chain.ELECTRON_MASS)
    edges = chain.energies(tables()["energy_electrons"])[1]
    found = moments.spherical(density, edges, np.ones(64, bool), 5.0)
    assert found.density[0] == pytest.approx(3.0, rel=3e-3)
    assert found.temperature[0] == pytest.approx(forward.relativistic_temperature(state)[0], rel=3e-3)
    assert moments.spherical(density, edges, np.ones(64, bool), 0.0).density[0] != pytest.approx(3.0, rel=2e-3)


@pytest.mark.parametrize("kind", ["electron", "ion"])
def test_moments_of_noise_alone_are_missing_or_have_errors(loop: Loop, kind: str) -> None:
    """Less the background, counts of nothing are as often negative as not: a density then hangs on assumptions."""
    rng = np.random.default_rng(8)
    flux = loop.products[f"jade.{kind}_flux"].copy()
    noise = rng.normal(size=(len(flux["et"]), *flux["phase_space_density"].shape[1:]))
    flux["phase_space_density"] = flux["phase_space_density_random"] * noise
    found = moments_of(flux, loop.scene)
    names = [n for n in found if f"{n}_random" in found]
    assert "temperature" in names
    gone = np.isnan(found["density"].values)
    assert 0 < gone.sum() < gone.size
    for name in names:
        good = np.isfinite(found[name].values)
        for component in ("random", "systematic", "structured"):
            assert np.isfinite(found[f"{name}_{component}"].values[good]).all(), (name, component)


# Times of flight


def test_an_ion_flies_as_long_as_its_energy_says() -> None:
    """O+ of 240 eV falls through 8 kV and loses 3 keV: 5240 eV are 251.4 km/s, 50 mm take 198.9 ns."""
    found = tof.flight_times(np.array([240.0]), tables()["time_of_flight"])[0]
    assert found[4] == pytest.approx(0.05 / 251.4e3 * 1e9, rel=1e-3)
    assert np.all(np.diff(found[[0, 1, 2, 3, 4, 5, 6]]) > 0)
    shares = tof.peaks(np.array([240.0]), tables()["time_of_flight"])[0]
    np.testing.assert_allclose(shares.sum(axis=0), 1.0, atol=1e-6)


def test_shares_of_bins_are_those_of_quadrature() -> None:
    known = simulate.truth_tables(PASS.et)
    middle = chain.energies(tables()["energy_ions"])[0]
    shares = tof.peaks(middle, tables()["time_of_flight"])
    for place in (0, 4, 6):
        np.testing.assert_allclose(simulate_tof.expected_shares(known, place), shares[:, :, place], atol=1e-6)


def test_chance_makes_as_many_pairs_as_it_does_event_by_event() -> None:
    """Starts and stops drawn one by one over a second, a thousand times; pairs within 600 ns, in four parts of it."""
    rng = np.random.default_rng(5)
    starts, stops = 2e5, 1e5
    found = np.zeros(4)
    for _ in range(100):
        at, end = (np.sort(rng.uniform(0.0, 1.0, rng.poisson(r))) for r in (starts, stops))
        after = end[np.minimum(np.searchsorted(end, at), end.size - 1)] - at
        found += np.histogram(after, np.linspace(0.0, 600e-9, 5))[0]
    singles = xr.Dataset(
        {n: (("et", "energy", "counter"), np.zeros((1, 64, 25))) for n in ("rate_random", "rate_systematic")},
        coords={"et": [0.0]},
    )
    singles["rate"] = singles["rate_random"].copy(
        data=np.array([starts / 12.0] * 12 + [0.0] * 12 + [stops]) + np.zeros((1, 64, 1))
    )
    table = tables()["time_of_flight"]
    level, _, _, by_table = tof.accidentals(np.zeros(1), singles, table, tables()["logicals"])
    density = level[0, 0] / np.diff(tof.bin_edges(table))
    np.testing.assert_allclose(density, density[0])
    assert not by_table[0]
    # A stop before takes the place of a later one: 1 - R dt.
    assert found.sum() / 100.0 == pytest.approx(density[0] * 600.0 * (1.0 - stops * 300e-9), rel=0.01)


def test_without_logicals_accidentals_are_by_table(loop: Loop) -> None:
    made = ion_masses(loop.raw["tof"], loop.scene, None)
    assert ((made["quality"].values & np.uint32(BY_TABLE.mask)) != 0).all()
    other = loop.products["jade.ion_masses"]
    assert not (other["quality"].values & np.uint32(BY_TABLE.mask)).any()
    # The record whose logicals were lost has what lies between those before and after, with an error.
    lost = np.setdiff1d(np.round(loop.raw["tof"]["et"].values), np.round(loop.raw["logicals"]["et"].values))
    here = np.flatnonzero(np.isin(np.round(other["et"].values), lost))
    assert here.size == 1
    error = other["rate_structured"].values.mean(axis=(1, 2))
    assert error[here] > 1.3 * np.delete(error, here).mean()


def test_expected_counts_of_flights_are_those_of_the_truth(loop: Loop) -> None:
    """The heights of peaks are shared by three energies, which does not let them run away where counts are many."""
    true, found = (d["jade.ion_masses"]["counts_expected"].values for d in (loop.truth, loop.products))
    many = true > 100.0
    assert many.sum() > 50
    assert np.abs(found[many] / true[many] - 1.0).max() < 0.6


def test_a_processor_dead_all_the_time_tells_nothing(loop: Loop) -> None:
    data = loop.raw["tof"].copy(deep=True)
    data["code"].values[2, 10] = 255
    made = ion_masses(data, loop.scene, loop.products["jade.ion_logicals"])
    assert np.isnan(made["rate"].values[2, 10]).all()
    assert np.isnan(made["mass_rate"].values[2, 10]).all()
    assert np.isfinite(made["mass_rate"].values[2, 14:]).all()


# Quality


# Of the archive's labels; bits that are not here touch no value: 0, 2, 3, 8, 9, 12 and the reserved ones.
ISSUES = {
    1: "geometry_predicted", 4: "interpolated", 5: "corrected", 7: "leap_second", 10: "time_stutter", 13: "blanked",
    14: "suspect", 15: "anodes_reversed", 16: "suspect", 17: "mcp_not_at_commanded", 18: "energy_doubtful",
    19: "missing", 20: "mcp_not_at_commanded", 21: "blanked", 22: "blanked",
}  # fmt: skip


@pytest.mark.parametrize("bit", range(32))
def test_issues_become_quality_bits(bit: int) -> None:
    named = cf_attributes(INSTRUMENT.flags)
    masks = dict(zip(str(named["flag_meanings"]).split(), named["flag_masks"], strict=True))
    (bits,) = quality.issue_flags(np.array([1 << bit], np.uint32), np.ones(1, np.int8))
    assert bits == (masks[ISSUES[bit]] if bit in ISSUES else 0)


def test_issues_of_a_record_add_up() -> None:
    """131329 of the archive's labels: bits 17, 8 and 0."""
    bits = quality.issue_flags(np.array([131329, 1 << 13 | 1 << 1], np.uint32), np.array([1, looks.HRS], np.int8))
    assert bits[0] == 1 << 16
    assert bits[1] == Quality.GEOMETRY_PREDICTED | BLANKED.mask | NO_DEFLECTION.mask


def test_background_is_subtracted_only_where_asked_for(loop: Loop) -> None:
    kept = electron_rate(loop.raw["electron"], loop.scene, subtract="none")
    rate = loop.products["jade.electron_rate"]
    assert (kept["quality"].values & np.uint32(BACKGROUND_KEPT.mask)).all()
    assert not kept["background"].values.any()
    total = rate["rate"].values + rate["background"].values[:, None, :]
    np.testing.assert_allclose(kept["rate"].values, total, rtol=1e-9, atol=1e-9)
    table = (rate["quality"].values & np.uint32(BY_TABLE.mask)) != 0
    np.testing.assert_array_equal(table.all(axis=(1, 2)), rate["mode"].values == looks.LRS)


# Figures


def test_figures_show_what_is_there(loop: Loop, tmp_path: Path) -> None:
    products = {}
    for name, dataset in loop.products.items():
        index = "record" if "record" in dataset.dims else "et"
        if dataset.sizes[index] > 100:  # drawing takes its time
            dataset = dataset.isel({index: slice(None, None, 5)})
        time = np.datetime64("2016-08-27T12:50:00") + (dataset["et"].values - PASS.et).astype("timedelta64[s]")
        products[name] = dataset.assign_coords(time=(index, time))
        products[name]["quality"].attrs["flag_conditions"] = np.uint32(1 << 19 | 1 << 21)
    figures = [
        quicklook.electrons(products["jade.electron_flux"]),
        quicklook.pitch(products["jade.electron_flux"]),
        quicklook.pitch(products["jade.electron_flux"].drop_vars("pitch_angle")),
        quicklook.ions(products["jade.ion_flux"]),
        quicklook.moments(products["jade.electron_moments"], products["jade.ion_moments"]),
        quicklook.moments(None, None),
        quicklook.masses(products["jade.ion_masses"].assign_attrs(ION_MASSES.attrs)),
    ]
    for number, figure in enumerate(figures):
        figure.savefig(tmp_path / f"{number}.png", dpi=30)
        assert (tmp_path / f"{number}.png").stat().st_size > 2000
    assert len(figures[3].axes) == 6  # three species and their colour bars
