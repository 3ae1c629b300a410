"""What the first pass does not show: the camera over the day side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from calibration.tables import Table
from instruments.junocam import INSTRUMENT, calibrate, raw, simulate
from instruments.junocam.schemas import RADIANCE
from pipeline.clock import Sclk
from pipeline.dataset import check
from pipeline.dataset.quality import Quality
from pipeline.scene import make_scene
from pipeline.testing.pulls import compare_to_truth

NAMES = ("companding", "response", "detector", "throughput", "solar", "pixels", "epochs")


@pytest.mark.slow
@pytest.mark.parametrize("number", [7, 33])
def test_images_of_the_day_side_are_not_overexposed(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At closest approach 24 stages of the TDI are as much as the dusk of PJ1 takes; at noon all was saturated."""
    shot = next(s for s in simulate.DEMO if s.cut)
    monkeypatch.setattr(simulate, "DEMO", (shot,))
    scene = make_scene(number, scale="demo", seed=0)
    (truth,) = simulate.simulate(scene, tmp_path, "demo", np.random.default_rng(3))
    (label,) = tmp_path.rglob("*.LBL")
    clock = Sclk.default()
    tables = [Table.read(INSTRUMENT.tables / f"{n}.yaml") for n in NAMES]
    product = calibrate.radiance_from_edr(raw.read_edr([raw.open_edr(label, clock)], None, clock), *tables)
    product = check.finish(product, RADIANCE, INSTRUMENT.flags, {"product": f"junocam.radiance/PJ{number:02d}"})
    results = {r.variable: r for r in compare_to_truth(product, truth.dataset, RADIANCE)}
    assert all(r.ok for r in results.values()), [r.why for r in results.values() if not r.ok]
    assert min(results[name].n for name in ("radiance", "i_over_f")) > 100_000
    seen = np.isfinite(truth.dataset["radiance"].values)
    saturated = (product["quality"].values & int(Quality.SATURATED)) != 0
    assert saturated[seen].mean() < 0.1


def test_no_image_is_taken_of_the_night_side() -> None:
    """At closest approach of PJ62 all in the field is dark: an image of zeros, of which nothing can be judged."""
    number, shot = next((n, s) for n, s in enumerate(simulate.DEMO, 1) if s.cut)
    scene = make_scene(62, scale="demo", seed=0)
    assert simulate.metered(shot, number, scene, simulate.truth_tables(scene.pass_.et)) is None
