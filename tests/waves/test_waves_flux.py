"""Flux densities: a planted modulation is removed, what is no modulation stays."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from loops import finished
from waves_scene import Loop, call

from instruments.waves.schemas import SPIN_KEPT
from pipeline.dataset.quality import Quality


@pytest.fixture
def survey(loop: Loop) -> xr.Dataset:
    """A survey whose electric densities are planted: constant in time, but for the modulation and a burst."""
    made = loop.make("survey_from_telemetry")
    et = made["et"].values
    phase = np.degrees(2.0 * np.pi * et / 30.3) % 360.0
    turn = 1.0 + 0.6 * np.cos(2.0 * np.radians(phase) + 0.4)
    psd = 1e-13 * turn[:, None] * np.ones(126)
    psd[200:203] *= 10.0
    psd[made["psd_e"].isnull().values] = np.nan
    made["psd_e"].values[:] = psd
    made["psd_e_random"].values[:] = 0.02 * psd
    made["psd_e_systematic"].values[:] = 0.1 * psd
    distance = np.full(et.size, 2.0 * 149_597_870.7)
    return made.assign_coords(spin_phase=("et", phase), radial_distance=("et", distance))


def test_the_planted_modulation_is_removed_and_the_burst_stays(survey: xr.Dataset) -> None:
    made = finished(call("flux", {"waves.survey": survey}, {}, harmonics=5), "waves.flux")
    got, want = made["flux"].values[:, 50], 4.0 * 1e-13 / 376.730313668
    there = np.isfinite(got)
    quiet = there.copy()
    quiet[199:204] = False
    done = (made["quality_e"].values[:, 50] & np.uint32(SPIN_KEPT.mask)) == 0
    level = got[quiet & done] / np.median(got[quiet & done])
    assert level.std() < 0.05  # it was 0.42; the burst disturbs the fit a little
    burst = got[200:203][np.isfinite(got[200:203])]
    np.testing.assert_allclose(burst / np.median(got[quiet & done]), 10.0, rtol=0.25)
    assert 0.7 * want < np.median(got[quiet & done]) < 1.3 * want


def test_kept_is_the_density_over_the_impedance(survey: xr.Dataset) -> None:
    made = finished(call("flux", {"waves.survey": survey}, {}, spin="kept"), "waves.flux")
    np.testing.assert_allclose(made["flux"].values, survey["psd_e"].values * 4.0 / 376.730313668, rtol=1e-5)
    np.testing.assert_allclose(made["flux_systematic"].values, 0.1 * made["flux"].values, rtol=1e-5)
    there = np.isfinite(made["flux"].values)
    assert np.all((made["quality_e"].values[there] & np.uint32(SPIN_KEPT.mask)) != 0)


def test_few_samples_are_not_fitted_and_say_so(survey: xr.Dataset) -> None:
    made = finished(call("flux", {"waves.survey": survey.isel(et=slice(0, 60))}, {}), "waves.flux")
    there = np.isfinite(made["flux"].values)
    assert there.any()
    assert np.all((made["quality_e"].values[there] & np.uint32(SPIN_KEPT.mask)) != 0)
    assert np.all(np.isfinite(made["flux"].values) | ((made["quality_e"].values & Quality.MISSING) != 0))
