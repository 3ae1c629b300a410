"""The steps on telemetry made by the tests' own forward model: values to the digit, flags, errors, parameters."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

sys.path.insert(0, str(Path(__file__).parent))
from mag_forward import CA, CHAIN, GEOMETRY, MEAN, PASS, SpinningGeometry, ambient, tables, telemetry

from calibration.tables import Table
from instruments.mag import average, calibrate, schemas
from pipeline.clock import Span
from pipeline.dataset.quality import Quality
from pipeline.errors import CalibrationError

SPAN = Span(CA - 1e4, CA + 1e4)
KNOWN = tables()
ET = CA + 100.0 + np.arange(1280) / 64


def with_events(data: xr.Dataset) -> xr.Dataset:
    empty = np.zeros((0, 1), np.int32)
    return data.assign(events=(("record", "event"), empty)).assign_coords(et_event=("record", np.zeros(0)), event=["x"])


def made(
    data: xr.Dataset, known: dict[str, Table] = KNOWN, geometry: object = GEOMETRY, **parameters: str
) -> xr.Dataset:
    chosen = [known[name] for name in CHAIN]
    return calibrate.field_from_telemetry(with_events(data), geometry, PASS, SPAN, *chosen, **parameters)  # type: ignore[arg-type]


def sample(size: float = 2e5, code: int = 5, seed: int | None = None, rate: float = 64.0, n: int = 1280) -> xr.Dataset:
    rng = None if seed is None else np.random.default_rng(seed)
    return telemetry(KNOWN, CA + 100.0 + np.arange(n) / rate, size, code, rng, rate)


@pytest.mark.parametrize(("size", "code"), [(1e3, 1), (5e3, 2), (2e4, 3), (8e4, 4), (3e5, 5), (8e5, 6)])
@pytest.mark.parametrize("sensor", ["ob", "ib"])
def test_noiseless_telemetry_gives_the_field_back(size: float, code: int, sensor: str) -> None:
    """Temperatures are rounded in the housekeeping, and samples are not smeared here, so a few ppm are left."""
    field = made(sample(size, code), sensor=sensor)
    et = field["et"].values
    np.testing.assert_allclose(et, ET, atol=1e-7)
    off = field["b_j2000"].values - ambient(et, size)
    smear = 1.0 / np.sinc(GEOMETRY.rate / 64 / (2 * np.pi)) - 1.0
    assert np.abs(off).max() < size * (smear + 1.5e-6) + 1e-3
    for name, (frame, _) in schemas.FRAMES.items():
        turn = GEOMETRY.rotation("J2000", frame, et) if name != "j2000" else np.tile(np.eye(3), (et.size, 1, 1))
        np.testing.assert_allclose(
            field[f"b_{name}"].values,
            np.einsum("nij,nj->ni", turn, ambient(et, size) + off),
            rtol=1e-5,
            atol=size * 2e-7,
        )
    assert set(field["range"].values) == {code - 1}
    assert set(field["sensor"].values) == {0 if sensor == "ob" else 1}


@pytest.mark.parametrize("rate", [64.0, 32.0, 8.0, 1.0])
def test_every_rate_has_its_delay_and_noise(rate: float) -> None:
    field = made(sample(1e3, 1, rate=rate, n=60))
    np.testing.assert_allclose(field["et"].values, CA + 100.0 + np.arange(60) / rate, atol=1e-7)
    noise, step = KNOWN["noise"]["rms"].value[0, 0], 1600.0 * 2 / 65536
    expected = np.sqrt(noise**2 * rate / 64 + step**2 / 12)
    np.testing.assert_allclose(field["b_payload_random"].values, expected, rtol=2e-3)


def test_an_unknown_rate_is_an_error() -> None:
    data = sample(n=64)
    data["rate"][:] = 5.0
    with pytest.raises(CalibrationError, match="no rate of 5 samples/s"):
        made(data)
    data["present"][:] = False
    assert np.isnan(made(data)["b_payload"].values).all()  # a rate that nothing was measured with does not matter


def test_what_is_missing_is_missing_and_flagged() -> None:
    data = sample()
    data["present"].values[0, 200:210] = False
    data["range_code"].values[0, 300] = 0  # means no range
    data["range_code"].values[0, 301] = 14  # not in the table
    data["counts"].values[0, 400, 1] = 32767
    field = made(data)
    quality = field["quality"].values
    gone = np.flatnonzero(np.isnan(field["b_j2000"].values).all(axis=1))
    assert gone.tolist() == [*range(200, 210), 300, 301]
    assert np.flatnonzero(quality & Quality.MISSING).tolist() == gone.tolist()
    assert np.flatnonzero(quality & schemas.RANGE_UNKNOWN.mask).tolist() == [300, 301]
    assert np.flatnonzero(quality & Quality.SATURATED).tolist() == [400]
    assert np.flatnonzero(quality & Quality.NEAR_GAP).tolist() == [0, 199, 210, 1279]
    assert (field["range"].values[gone] == -1).all()


def test_samples_about_a_change_of_range_are_flagged() -> None:
    data = sample()
    data["range_code"].values[0, 500:] = 6
    flagged = np.flatnonzero(made(data)["quality"].values & schemas.RANGE_CHANGE.mask)
    assert flagged.tolist() == [499, 500, 501]


def test_without_housekeeping_the_reference_temperature_is_used_and_flagged() -> None:
    data = sample()
    data["temperature_counts"] = data["temperature_counts"] * np.nan
    field = made(data)
    assert np.isnan(field["temperature"].values).all()
    assert (field["quality"].values & Quality.CALIBRATION_EXTRAPOLATED != 0).all()
    off = field["b_j2000"].values - ambient(field["et"].values, 2e5)
    assert 0.5 < np.abs(off).max() < 2e5 * 2e-5 * 10


def test_time_outside_the_bench_table_is_flagged() -> None:
    late = telemetry(KNOWN, CA + 2e6 + np.arange(64) / 64, 1e3, 1, None)
    assert (made(late)["quality"].values & Quality.CALIBRATION_EXTRAPOLATED != 0).all()


def test_without_attitude_nothing_but_the_payload_frame_is_known() -> None:
    class Lost(SpinningGeometry):
        def rotation(self, source: str, target: str, et: np.ndarray) -> np.ndarray:
            turn = super().rotation(source, target, et)
            return np.where((np.asarray(et) < CA + 110.0)[:, None, None], np.nan, turn)

    field = made(sample(), geometry=Lost())
    lost = field["et"].values < CA + 109.0
    assert np.isnan(field["b_j2000"].values[lost]).all()
    assert np.isfinite(field["b_payload"].values).all()
    bits = field["quality"].values[lost]
    assert (bits & Quality.GEOMETRY_MISSING != 0).all()
    assert (bits & schemas.EDDY_UNCORRECTED.mask != 0).all()


def test_corrections_can_be_left_out_and_the_product_says_so() -> None:
    data = sample(1e3, 1)
    field = made(data)
    plain = made(data, spacecraft_correction="none")
    static = KNOWN["spacecraft_field"]["static"].value
    np.testing.assert_allclose((plain["b_payload"] - field["b_payload"]).values, np.tile(static, (1280, 1)), atol=2e-3)
    assert (plain["quality"].values & schemas.SPACECRAFT_UNCORRECTED.mask != 0).all()
    assert (made(data, eddy_correction="none")["quality"].values & schemas.EDDY_UNCORRECTED.mask != 0).all()


def test_gradiometry_finds_the_static_field_the_table_would_give() -> None:
    data = sample(1e3, 1, seed=5, n=64 * 120)
    table, found = made(data), made(data, spacecraft_correction="gradiometry")
    off = (found["b_payload"] - table["b_payload"]).values[1000:-1000]
    assert np.abs(off).max() < 0.1
    # sqrt(ratio^2 + 1) / (ratio - 1) = 2.74 times the errors of one sensor; those of the static field are not in it
    larger = found["b_payload_systematic"].values / table["b_payload_systematic"].values
    assert (larger > 1.5).all()
    assert (larger < 2.74).all()


def test_systematic_uncertainty_has_the_size_that_corrections_give() -> None:
    """20 arcsec and 100 ppm of the field, and the zero of its range (corrections.md 7: 20 arcsec is 78 nT at 8 G)."""
    field = made(sample(8e5, 6))
    size = np.linalg.norm(ambient(field["et"].values, 8e5), axis=1)
    total = np.sqrt((field["b_payload_systematic"].values.astype(float) ** 2).sum(axis=1))
    least = np.hypot(np.radians(20 / 3600) * size, 1e-4 * size / 3**0.5)
    assert (total > 0.9 * least).all()
    assert (total < 2.0 * least).all()


# Means


def averaged(field: xr.Dataset, width: float) -> xr.Dataset:
    return average.mean_field(field, GEOMETRY, PASS.et, width, tuple(KNOWN[n] for n in MEAN))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def minutes() -> xr.Dataset:
    """Field of three minutes at 64 samples/s, from the start of a minute in et."""
    start = np.floor(CA / 60) * 60 + 60.0
    return made(telemetry(KNOWN, start + (np.arange(64 * 180) + 0.5) / 64, 7e5, 6, None))


def test_a_mean_is_formed_in_an_inertial_frame(minutes: xr.Dataset) -> None:
    """A mean in the spinning frame would lose 0.18 % of the spin plane in 1 s (1.3 uT of 713 uT), and all in 60 s."""
    for width, number in ((1.0, 180), (60.0, 3)):
        mean = averaged(minutes, width)
        assert mean.sizes["et"] == number
        fine = mean["et"].values[:, None] + ((np.arange(600) + 0.5) / 600 - 0.5) * width
        expected = ambient(fine.ravel(), 7e5).reshape(number, 600, 3).mean(axis=1)
        np.testing.assert_allclose(mean["b_j2000"].values, expected, atol=7e5 * 4e-6)
        turn = GEOMETRY.rotation("J2000", "JUNO_SPACECRAFT", mean["et"].values)
        np.testing.assert_allclose(mean["b_payload"].values, np.einsum("nij,nj->ni", turn, expected), atol=7e5 * 4e-6)
        assert not (mean["quality"].values & schemas.PARTIAL.mask).any()
        assert mean["number"].values.tolist() == [64 * width] * number
    spinning = minutes["b_payload"].values[:64].mean(axis=0)
    centre = averaged(minutes, 1.0)["b_payload"].values[0]
    assert 1.0 - np.hypot(*spinning[:2]) / np.hypot(*centre[:2]) == pytest.approx(0.0018, abs=1e-4)


def test_a_gap_does_not_shift_a_mean(minutes: xr.Dataset) -> None:
    whole = averaged(minutes, 60.0)
    keep = np.ones(minutes.sizes["et"], bool)
    keep[64 * 5 : 64 * 7] = keep[64 * 119 : 64 * 121] = False
    mean = averaged(minutes.isel(et=keep), 60.0)
    np.testing.assert_allclose(mean["b_j2000"].values, whole["b_j2000"].values, atol=0.5)
    assert not (mean["quality"].values & schemas.PARTIAL.mask).any()
    # a plain mean of what is left is off by more
    left = minutes["b_j2000"].values[keep][: 64 * 58].mean(axis=0)
    assert np.abs(left - whole["b_j2000"].values[0]).max() > 5.0


def test_a_change_of_rate_does_not_shift_a_mean(minutes: xr.Dataset) -> None:
    keep = np.arange(minutes.sizes["et"])
    keep = np.concatenate([keep[: 64 * 30], keep[64 * 30 :: 4]])
    mixed = minutes.isel(et=keep)
    mixed["rate"].values[64 * 30 :] = 16.0
    np.testing.assert_allclose(
        averaged(mixed, 60.0)["b_j2000"].values, averaged(minutes, 60.0)["b_j2000"].values, atol=2.0
    )


def test_a_mean_of_too_little_says_so(minutes: xr.Dataset) -> None:
    part = minutes.isel(et=slice(64 * 10, 64 * 130))
    mean = averaged(part, 60.0)
    assert (mean["quality"].values & schemas.PARTIAL.mask != 0).tolist() == [True, False, True]
    nothing = minutes.isel(et=slice(0, 64 * 70)).copy(deep=True)
    nothing["quality"].values[:] |= np.uint32(Quality.MISSING)
    mean = averaged(nothing, 60.0)
    assert np.isnan(mean["b_payload"].values).all()
    assert (mean["quality"].values & Quality.MISSING != 0).all()
    assert mean["number"].values.tolist() == [0, 0]


def test_error_of_a_constant_is_not_averaged_away() -> None:
    """Along the spin axis the field stands still: what noise below a count does not dither stays in the mean."""
    known = {**KNOWN, "noise": KNOWN["noise"].replace(rms=KNOWN["noise"]["rms"].value * 0.01)}
    start = np.floor(CA / 60) * 60 + 60.0
    still = telemetry(known, start + (np.arange(64 * 60) + 0.5) / 64, 1e3, 1, np.random.default_rng(2))
    still["counts"].values[:, :, 2] = still["counts"].values[:, :1, 2]
    mean = averaged(made(still, known), 60.0)
    step = 1600.0 * 2 / 65536
    assert mean["b_payload_random"].values[0, 2] == pytest.approx(step / (np.pi * 2**0.5), rel=0.02)
    assert mean["b_payload_random"].values[0, 0] < step / 60
