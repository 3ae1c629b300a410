"""Other passes than the first: what they showed to be wrong."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from jade_scene import fluxes, granules, ion_rate, moments_of
from loops import CLOCK

from instruments.jade import raw
from instruments.jade.simulate import ions, truth_tables
from pipeline.clock import Span
from pipeline.passes import get_pass
from pipeline.runs.execute import InProcess
from pipeline.runs.run import Request, carry_out, prepare, with_executor
from pipeline.scene import Scene
from pipeline.scene.simulate import simulate_pass

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("number", [5, 29])
def test_moments_of_the_true_distribution_are_the_true_moments(tmp_path: Path, number: int) -> None:
    """Without noise; kappa distributions, so that slow ions missed are more than a Maxwellian has."""
    one = get_pass(number)
    where = Scene(one, Span(one.et - 300.0, one.et + 300.0), "demo", 0)
    rng = np.random.default_rng(number)
    truth = {t.type: t.dataset for t in ions(where, tmp_path, truth_tables(one.et), rng)}
    flux = fluxes(ion_rate(raw.read_ions(granules(tmp_path, "ION_ANY"), None, CLOCK), where), where, None)
    true = truth["jade.ion_flux"]
    np.testing.assert_allclose(flux["et"].values, true["et"].values, atol=0.01)
    density = np.where(np.isnan(flux["phase_space_density"]), np.nan, true["phase_space_density"])
    found = moments_of(flux.assign(phase_space_density=flux["phase_space_density"].copy(data=density)), where)
    for name in ("density", "temperature"):
        off = (found[name].values / truth["jade.ion_moments"][name].values - 1.0)[:, 3:6]
        assert np.isfinite(off).any(axis=0).all()
        assert np.abs(np.nanmedian(off, axis=0)).max() < 5e-3, (name, np.nanmedian(off, axis=0))


def test_a_pass_with_a_segment_without_electrons_is_made(tmp_path: Path) -> None:
    """In the demo of PJ20 a segment of low rate records ends before the first of them."""
    simulate_pass(20, tmp_path, ("jade",), "demo", 0)
    request = Request(20, tmp_path / "store", tmp_path / "raw", ("jade",), ("jade.electron_moments",))
    record = carry_out(prepare(request), with_executor(InProcess()))
    assert {p["status"] for p in record["products"]} == {"made"}, [p["reason"] for p in record["products"]]
