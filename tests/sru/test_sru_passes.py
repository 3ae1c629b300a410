"""What the first pass does not show: bright stars in rows with exposures of their own, and a saturated day side."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

sys.path.insert(0, str(Path(__file__).parent))
from sru_scene import CLOCK, hits_of, image_of, stars_of

from instruments.sru import simulate
from instruments.sru.forward import Array, Known, Light, collecting
from instruments.sru.raw import Exposure, open_edr, write_edr
from instruments.sru.schemas import CORE, DAY
from pipeline.dataset.quality import Quality
from pipeline.scene import Scene, make_scene

# So many times the light of the real stars, without a converter that would end.
BRIGHTER = 20.0


@pytest.fixture(scope="module")
def pj33() -> tuple[Scene, Known, list[Exposure]]:
    where = make_scene(33, scale="demo", seed=0)
    return where, simulate.truth_tables(where.pass_.et), simulate.planned(where, "demo")


def electrons_of_stars(shot: Exposure, light: Light, known: Known) -> xr.Dataset:
    """An image of stars alone, as the step is given it."""
    rng = np.random.default_rng(33)
    shining = dataclasses.replace(light, rate=BRIGHTER * light.rate)
    electrons = Array.of(known, rng).star_electrons(shot, shining, rng)
    t = collecting(shot, known["readout"])
    rate = (electrons + rng.normal(0.0, 30.0, electrons.shape)) / t[:, None]
    rate[510:], rate[:, :2] = np.nan, np.nan
    return xr.Dataset(
        {
            "rate": (("row", "column"), rate),
            "rate_systematic": (("row",), np.zeros(512)),
            "quality": (("row", "column"), np.zeros(rate.shape, np.uint32)),
            "row_exposure": (("row",), t),
            "noise": (("row",), np.full(512, 2.0)),
            "gain": 15.0,
            "unit": shot.unit,
            "start_et": shot.et,
            "exposure": shot.seconds,
            "tdi": int(shot.tdi),
        }
    )


@pytest.mark.slow
def test_stars_in_the_first_rows_are_not_dimmed(pj33: tuple[Scene, Known, list[Exposure]]) -> None:
    """Where each row has an exposure of its own a star that drifts over the charge was up to 1 % too faint.

    One of them has a neighbour of a twentieth of its light 5 pixels away, for which it was 0.7 % too faint.
    """
    where, known, plan = pj33
    shot = next(s for s in plan if s.unit == 2)
    light = simulate.light_of(where, shot, simulate.Stars.of(known["stars"]), known)
    measured = stars_of(electrons_of_stars(shot, light, known), where)
    true = dict(zip(simulate.Stars.of(known["stars"]).hip[light.stars].tolist(), light.rate.tolist(), strict=True))
    expected = BRIGHTER * np.array([true[h] for h in measured["hip"].values.tolist()])
    off, sigma = measured["rate"].values - expected, measured["rate_random"].values
    # The shape of a star's image is known to 3e-3: whole rows for a steady shift.
    pulls = off / np.hypot(sigma, 3e-3 * expected)
    good = (measured["quality"].values & int(Quality.MISSING)) == 0
    first = good & (measured["place"].values[:, 0] < 105.0)
    assert first.sum() >= 7
    assert (good & ~first).sum() >= 10
    assert np.abs(pulls[good]).max() < 3.5, pulls
    assert abs(pulls[first].mean()) < 3.0 / np.sqrt(first.sum())


@pytest.mark.slow
def test_the_rim_of_a_saturated_day_side_is_no_hit(pj33: tuple[Scene, Known, list[Exposure]], tmp_path: Path) -> None:
    """Half of the field is the overexposed day side; there were twice as many clusters as particles."""
    where, known, plan = pj33
    shot = min((s for s in plan if s.unit == 2), key=lambda s: abs(s.et - where.pass_.et))
    light = simulate.light_of(where, shot, simulate.Stars.of(known["stars"]), known)
    assert (light.planet > simulate.NIGHT).mean() > 0.3
    flux = float(simulate.particle_flux(shot.et - where.pass_.et))
    rng = np.random.default_rng(34)
    taken = Array.of(known, rng).take(shot, light, flux, rng)
    path = write_edr(tmp_path, taken.dn, shot, 33, where.clock, target="JUPITER", simulated=True)
    image = image_of(open_edr(path, CLOCK), None, where)
    bits = image["quality"].values
    saturated = (bits & int(Quality.SATURATED)) != 0
    assert saturated.mean() > 0.3
    assert ((bits[saturated] & DAY.mask) != 0).mean() > 0.99
    assert ((bits[saturated] & CORE.mask) != 0).mean() < 0.01
    found = hits_of(image)
    assert float(found["cluster_rate"]) == pytest.approx(flux, abs=4.0 * float(found["cluster_rate_random"]))
