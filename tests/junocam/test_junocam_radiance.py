"""Radiance and I/F: the equations against hand calculation, what is flagged, and the real images."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

sys.path.insert(0, str(Path(__file__).parent))
from junocam_samples import CLOCK, label

from calibration.tables import Quantity, Table
from instruments.junocam import INSTRUMENT, band, calibrate, imageset
from instruments.junocam.labels import ImageLabel
from instruments.junocam.layout import LOSSY
from instruments.junocam.raw import framelets
from instruments.junocam.schemas import (
    BLACK_UNKNOWN,
    CORRUPT_BLOCK,
    DAMAGED_EPOCH,
    DARK_COLUMN,
    HOT,
    LOST,
    NO_CONTENT,
    NONLINEAR,
    RADIANCE,
)
from pipeline.dataset import check
from pipeline.dataset.quality import Quality
from pipeline.errors import CalibrationError

NAMES = ("companding", "response", "detector", "throughput", "solar", "pixels", "epochs")
TABLES = {n: Table.read(INSTRUMENT.tables / f"{n}.yaml") for n in NAMES}


def calibrated(
    described: ImageLabel, codes: int | np.ndarray, known: dict[str, Table] | None = None, **options: object
) -> xr.Dataset:
    raw = framelets(described, np.broadcast_to(np.uint8(codes), (described.lines, described.samples)), None)
    return calibrate.radiance_from_edr(raw, *({**TABLES, **(known or {})}.values()), **options)  # type: ignore[arg-type]


def at(data: xr.Dataset, name: str, framelet: int = 0) -> float:
    return float(data[name].values[framelet, 60, 800])


def test_radiance_by_hand() -> None:
    """Code 100 is DN 328..335, 331.5 in the middle; PJ32 at 7.5973e8 km."""
    data = calibrated(label(frames=1), 100)
    d = 7.5973e8 / 149597870.7
    bands = (
        (262186, 1.07 - 0.0108 * 32, 90.5),
        (332944, 1.05 - 0.00787 * 32, 148.3),
        (217239, 1.01 - 0.00391 * 32, 245.6),
    )
    for k, (response, fit, sun) in enumerate(bands):
        black = 331.5  # the dark columns have the same code: all of it is black level
        assert at(data, "radiance", k) == pytest.approx(0.0, abs=1e-6)
        assert data["black_level"].values[k] == black
        raw = framelets(label(frames=1), np.full((384, 1648), 100, np.uint8), None)
        raw["value"].values[:, :, :23] = 0
        lit = calibrate.radiance_from_edr(raw, *TABLES.values())
        expected = 331.5 / (response * 0.0032 * fit)
        assert at(lit, "radiance", k) == pytest.approx(expected, rel=1e-6)
        assert at(lit, "i_over_f", k) == pytest.approx(np.pi * expected * d**2 / sun, rel=1e-6)
        noise = np.sqrt(331.5 / 16.3 + (16.6 / 16.3) ** 2 + 64 / 12)
        assert at(lit, "radiance_random", k) / at(lit, "radiance", k) == pytest.approx(noise / 331.5, rel=1e-6)
        assert at(lit, "radiance_quantum", k) / at(lit, "radiance", k) == pytest.approx(8 / 331.5, rel=1e-6)
        assert lit["throughput"].values[k] == pytest.approx(fit)
        assert lit["radiance_systematic"].values[k] > 0.10
        assert lit["i_over_f_systematic"].values[k] == pytest.approx(
            np.hypot(lit["radiance_systematic"].values[k], 0.2)
        )


def lit_image(described: ImageLabel, code: int) -> np.ndarray:
    strip = np.full((described.lines, described.samples), code, np.uint8)
    strip[:, : 23 // described.summing] = 0
    return strip


def test_the_black_level_is_taken_off_where_the_dark_columns_show_it() -> None:
    described = label(frames=1)
    strip = lit_image(described, 100)
    rng = np.random.default_rng(0)
    strip[:, :23] = np.clip(np.rint(rng.normal(12.3, 1.1, (described.lines, 23))), 0, 255)
    strip[5, 3] = 250  # hit
    data = calibrated(described, strip)
    assert data["black_level"].values[0] == pytest.approx(12.3, abs=0.1)
    plain = calibrated(described, lit_image(described, 100))
    assert np.isnan(plain["black_level"].values).all()
    assert at(data, "radiance") / at(plain, "radiance") == pytest.approx(1 - 12.3 / 331.5, abs=1e-3)
    assert not at(data, "quality") and at(plain, "quality") == BLACK_UNKNOWN.mask  # noqa: PT018
    assert data["radiance_structured"].values[0] < 0.05 * plain["radiance_structured"].values[0]


def test_methane_less_what_leaks_in() -> None:
    described = label(("METHANE",), frames=1, exposure=0.1024, tdi_stages=32)
    data = calibrated(described, lit_image(described, 40))
    assert at(data, "radiance") == pytest.approx(0.816 * 56.5 / (57761 * 0.1024), rel=1e-6)
    assert data["radiance_systematic"].values[0] == pytest.approx(
        np.sqrt(0.1**2 + (0.184 / 0.816) ** 2 + (32 * 0.00391) ** 2 + 0.02**2), rel=1e-5
    )
    assert int(at(data, "quality")) & Quality.CALIBRATION_EXTRAPOLATED


def test_throughput_left_out_is_in_the_uncertainty() -> None:
    described = label(frames=1)
    strip = lit_image(described, 100)
    with_, without = calibrated(described, strip), calibrated(described, strip, throughput_correction=False)
    ratio = at(without, "radiance") / at(with_, "radiance")
    assert ratio == pytest.approx(1.07 - 0.0108 * 32)
    assert without["radiance_systematic"].values[0] > 1 - ratio


@pytest.mark.parametrize(("orbit", "flagged"), [(1, False), (60, False), (61, True), (0, True)])
def test_throughput_outside_the_fit_is_flagged(orbit: int, flagged: bool) -> None:
    described = label(frames=1, orbit=orbit)
    bits = int(at(calibrated(described, lit_image(described, 100)), "quality"))
    assert bool(bits & Quality.CALIBRATION_EXTRAPOLATED) == flagged


def test_throughput_that_runs_out_is_an_error() -> None:
    described = label(frames=1, orbit=100)
    with pytest.raises(CalibrationError, match="BLUE at orbit 100"):
        calibrated(described, lit_image(described, 100))


def test_linearity_and_saturation_are_two_flags() -> None:
    described = label(frames=1)
    strip = lit_image(described, 100)
    codes = {210: 0, 223: 0, 225: NONLINEAR.mask, 236: NONLINEAR.mask, 240: Quality.SATURATED, 255: Quality.SATURATED}
    for place, code in enumerate(codes):
        strip[64, 100 + 200 * place : 300 + 200 * place] = code
    data = calibrated(described, strip)
    bits = data["quality"].values[0, 64, 200 + 200 * np.arange(len(codes))] & ~np.uint32(BLACK_UNKNOWN.mask)
    assert bits.tolist() == [int(b) for b in codes.values()]
    assert data["saturated_fraction"].values[0] == pytest.approx(400 / (128 * 1608), rel=1e-4)
    assert data["nonlinear_fraction"].values[0] == pytest.approx(400 / (128 * 1608), rel=1e-4)


def test_columns_without_glass_see_nothing() -> None:
    for described in (label(frames=1), label(("METHANE",), frames=1, summing=2)):
        data = calibrated(described, lit_image(described, 100))
        bits = data["quality"].values[0]
        dark = (bits & np.uint32(DARK_COLUMN.mask)) != 0
        columns = np.flatnonzero(~dark[0])
        first = {1: (23, 1630), 2: (12, 814)}[described.summing]
        assert (columns[0], columns[-1]) == first
        assert np.isnan(data["radiance"].values[0][dark]).all()
        assert np.isfinite(data["radiance"].values[0][~dark]).all()


def test_a_summed_sample_has_the_signal_of_four() -> None:
    one, two = (label(("METHANE",), frames=1, summing=s, exposure=0.1) for s in (1, 2))
    plain, summed = (calibrated(d, lit_image(d, 40)) for d in (one, two))
    assert summed["radiance"].values[0, 30, 400] == pytest.approx(at(plain, "radiance") / 4, rel=1e-6)
    assert summed["radiance_systematic"].values[0] > 0.75  # not known whether it is summed or averaged


def test_what_was_not_sent_is_missing() -> None:
    described = label(lines=672)
    strip = lit_image(described, 100)
    strip[3 * 128 + 32 : 3 * 128 + 64, 800:1008] = 0
    strip[64:80, 160:176] = 200
    data = calibrated(described, strip)
    bits, value = data["quality"].values, data["radiance"].values
    assert (bits[5, 32:] == Quality.MISSING).all()
    assert (bits[3, 32:64, 800:1008] & np.uint32(LOST.mask)).all()
    assert np.isnan(value[5, 32:]).all()
    assert np.isnan(value[3, 32:64, 800:1008]).all()
    np.testing.assert_allclose(data["lost_fraction"].values, [0, 0, 0, 32 * 208 / (128 * 1608), 0, 0], atol=1e-6)
    assert (bits[0, 64:80, 160:176] & np.uint32(CORRUPT_BLOCK.mask)).all()
    assert data["corrupt_blocks"].values.tolist() == [1, 0, 0, 0, 0, 0]


def test_pixels_of_the_user_s_own(tmp_path: Path) -> None:
    described = label(frames=1)
    shape = (4, 128, 1648)
    flat, dark, hot = np.ones(shape), np.zeros(shape), np.zeros(shape)
    flat[1, 60, 800], dark[1, 60, 800], hot[2, 60, 800] = 0.5, 31.5, 1.0
    dims = ("filter", "line", "sample")
    new = {
        name: Quantity(v, dims, "1", np.array(0.0), "systematic", "override", "test", name)
        for name, v in (("flat", flat), ("dark", dark), ("hot", hot))
    }
    table = Table.read(Table("junocam", "pixels", "mine", new).write(tmp_path / "pixels.yaml"))
    strip = lit_image(described, 100)
    data, plain = calibrated(described, strip, {"pixels": table}), calibrated(described, strip)
    assert at(data, "radiance", 1) == pytest.approx(2 * 300 / 331.5 * at(plain, "radiance", 1), rel=1e-6)
    assert at(data, "radiance", 0) == at(plain, "radiance", 0)
    assert int(at(data, "quality", 2)) & HOT.mask
    small = label(frames=1, summing=2)
    with pytest.raises(CalibrationError, match=r"\(4, 64, 816\) is needed"):
        calibrated(small, lit_image(small, 100), {"pixels": table})


@pytest.mark.parametrize(
    ("orbit", "number", "condition"),
    [(43, 78, 0), (47, 2, 4), (47, 3, 1), (48, 214, 4), (48, 215, 1), (49, 116, 3), (56, 5, 2), (73, 12, 2),
     (73, 13, 3), (74, 7, 0), (74, 8, 4), (80, 1, 4), (81, 1, 0)],
)  # fmt: skip
def test_epochs_of_the_errata(orbit: int, number: int, condition: int) -> None:
    assert band.condition_of(orbit, number, TABLES["epochs"]) == condition


def test_an_image_without_content_says_so() -> None:
    described = label(frames=1, orbit=48, number=10)
    bits = int(at(calibrated(described, lit_image(described, 100)), "quality"))
    assert bits & NO_CONTENT.mask
    assert bits & DAMAGED_EPOCH.mask


def test_the_archive_s_i_over_f_comes_through() -> None:
    described = label(frames=1, mode=None)
    values = np.full((384, 1648), 4567, np.uint16)
    values[:, :23] = 0
    raw = framelets(described, values, None)
    data = calibrate.radiance_from_rdr(raw, *TABLES.values(), throughput_correction=False)
    corrected = calibrate.radiance_from_rdr(raw, *TABLES.values())
    for k, name in enumerate(("BLUE", "GREEN", "RED")):
        assert at(data, "i_over_f", k) == pytest.approx(0.4567, rel=1e-5), name
    assert at(corrected, "i_over_f") == pytest.approx(0.4567 / (1.07 - 0.0108 * 32), rel=1e-5)
    # The step of a code at its signal is what it would be in an EDR of the same radiance.
    dn = at(data, "radiance") * 262186 * 0.0032
    width = next(w for edge, w in ((1407, 32), (1007, 16), (247, 8), (63, 4)) if dn > edge)
    assert at(data, "radiance_quantum") / at(data, "radiance") * dn == pytest.approx(width, rel=0.2)


def test_products_keep_their_schema() -> None:
    described = label(lines=672)
    rng = np.random.default_rng(0)
    data = calibrated(described, rng.integers(0, 256, (672, 1648), np.uint8))
    schema = replace(RADIANCE, context=False)
    check.check(check.finish(data, schema, INSTRUMENT.flags, {}), schema, INSTRUMENT.flags)


@pytest.mark.real
def test_jupiter_looks_like_jupiter(real_data: Path) -> None:
    """The brightest 0.1 % of 44C00030: a bound, not a calibration (one image, one phase angle)."""
    path = next((real_data / "junocam" / "imagesets").rglob("JNCE_2022229_44C00030_V01-raw.png"))
    raw = imageset.read_imageset([imageset.open_imageset(path, CLOCK)], None, CLOCK)
    assert raw.attrs["compression"] == LOSSY
    data = calibrate.radiance_from_imageset(raw, *TABLES.values())
    top = {
        name: float(np.nanpercentile(data["i_over_f"].values[data["filter"].values == name], 99.9))
        for name in ("BLUE", "GREEN", "RED")
    }
    assert all(0.35 < v < 0.6 for v in top.values()), top
    assert 0.8 < top["BLUE"] / top["GREEN"] < 1.0
    assert 1.0 < top["RED"] / top["GREEN"] < 1.15
