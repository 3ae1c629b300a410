"""The swept receiver's tables: the structure on made-up pairs, and on the real ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from loops import finished
from waves_scene import call, read, tables

from instruments.waves import derive
from instruments.waves.derive import UNIT, Pairs, cells, fit, left_out, predicted, read_pairs, structure
from instruments.waves.differences import lines
from instruments.waves.schemas import CODE_UNSEEN
from pipeline.clock import Span
from pipeline.dataset.quality import Quality

real = pytest.mark.real


def test_a_planted_detector_is_found() -> None:
    amplitude = np.full((2, 256), np.nan)
    for group, (gain, noise) in enumerate(((40.0, 120.0), (60.0, 90.0))):
        codes = np.arange(16, 60, 4)
        amplitude[group, codes] = np.sqrt(gain * 10.0 ** (0.37 * codes / 10.0) - noise)
    slope, gain, noise = fit(amplitude)
    assert slope == pytest.approx(0.37, rel=0.02)
    np.testing.assert_allclose(gain, [40.0, 60.0], rtol=0.05)
    np.testing.assert_allclose(noise, [120.0, 90.0], rtol=0.1)


def test_one_code_with_two_values_is_refused() -> None:
    code = np.full((2, 38), 13)
    psd = np.full((2, 38), UNIT)
    psd[1, 4] = 4 * UNIT
    with pytest.raises(ValueError, match="channel 4, code 13"):
        cells(Pairs(np.arange(2.0), code, psd))


@pytest.fixture(scope="module")
def pairs(stream: Path) -> Pairs:
    return read_pairs(stream)


@real
def test_real_pairs_have_one_value_each(pairs: Pairs) -> None:
    assert len(pairs.seconds) == 179
    assert int(np.isfinite(cells(pairs)).sum()) == 95


@real
def test_minutes_1_and_2_give_minute_3(pairs: Pairs) -> None:
    train, test = pairs.take(pairs.seconds < 120.0), pairs.take(pairs.seconds >= 120.0)
    assert len(test.seconds) == 60
    known, wanted = np.isfinite(cells(train)), cells(test)
    power, sigma = predicted(structure(train), known)
    there = np.isfinite(wanted)
    exact = there & known
    np.testing.assert_allclose(np.sqrt(power[exact]), wanted[exact], rtol=1e-12)  # to the printed digits
    assert exact.sum() >= 85
    unseen = there & ~known
    off = np.abs(power[unseen] - wanted[unseen] ** 2)
    assert np.all(off <= 3.0 * sigma[unseen])


@real
def test_the_structure_stands_for_all_cells_with_a_third_of_the_numbers(pairs: Pairs) -> None:
    found = structure(pairs)
    observed = cells(pairs)
    there = np.isfinite(observed)
    power, _ = predicted(found, there)
    np.testing.assert_allclose(np.sqrt(power[there]), observed[there], rtol=1e-12)
    assert found.parameters == 31
    assert len(found.gain) == 8
    assert found.parameters + len(found.gain) <= 28 + 38 // 2 < there.sum()


@real
def test_leave_one_code_out_stays_within_its_uncertainty(pairs: Pairs) -> None:
    found = structure(pairs)
    group, off, distance = left_out(found.amplitude)
    pull = off / np.sqrt(distance) / found.spread[group]
    assert len(pull) == 31
    assert np.mean(np.abs(pull) <= 1.0) >= 0.68
    assert np.abs(pull).max() < 3.0


@real
def test_a_gain_without_noise_does_not_do(pairs: Pairs) -> None:
    """One table of amplitudes times a gain by channel, nothing else, misses cells by far more than the digits."""
    amplitude = structure(pairs).amplitude
    group, code = np.nonzero(np.isfinite(amplitude))
    # log amplitude = table[code] + gain[class], least squares
    matrix = np.zeros((group.size, 256 + 8))
    matrix[np.arange(group.size), code] = matrix[np.arange(group.size), 256 + group] = 1.0
    wanted = np.log(amplitude[group, code])
    off = matrix @ np.linalg.lstsq(matrix, wanted, rcond=None)[0] - wanted
    assert np.abs(off).max() > 0.2


@real
def test_the_table_of_the_project_is_what_the_script_makes(pairs: Pairs) -> None:
    made, kept = derive.table_of(structure(pairs), pairs), tables()["hfr_high"]
    for name, quantity in kept.quantities.items():
        np.testing.assert_allclose(made[name].value, quantity.value, rtol=1e-6, err_msg=name)
        np.testing.assert_allclose(made[name].sigma, quantity.sigma, rtol=1e-5, err_msg=name)
        assert quantity.pedigree == "derived"


@real
def test_the_real_hour_and_its_differences(stream: Path) -> None:
    everything = Span(-1e12, 1e12)
    given = {f: read(stream, f) for f in ("waves.das2_codes", "waves.das2_survey")} | {"span": everything}
    survey = finished(call("survey_from_codes", given), "waves.survey")
    archive = finished(call("survey_from_stream", given), "waves.survey_archive")
    assert survey.sizes["et"] == 3600
    bits, psd = survey["quality_e"].values[:, 88:], survey["psd_e"].values[:, 88:]
    assert np.isfinite(psd).all()
    unseen = (bits & np.uint32(CODE_UNSEEN.mask)) != 0
    assert 0.015 < unseen.mean() < 0.02
    relative = (survey["psd_e_systematic"].values[:, 88:] / np.maximum(psd, 1e-30))[unseen & (psd > 0)]
    assert np.median(relative) > 0.05  # an interpolated code is not sold as an observed one
    assert ((bits & Quality.MISSING) == 0).all()
    table = finished(
        call("differences", {"waves.survey": survey, "waves.survey_archive": archive}), "waves.differences"
    )
    assert table["matched"].values[88:].tolist() == [179] * 38
    assert table["matched"].values[:88].tolist() == [0] * 88
    assert table["largest"].values[88:].max() < 5e-4  # half of the last printed digit
    printed = list(lines(table))
    assert len(printed) == 40
    assert printed[-1].startswith("38 channels, 6802 densities")
