"""Scenes of the tests' own, and products made of raw data without the core."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import xarray as xr

from calibration.tables import Table
from instruments.sru import INSTRUMENT, calibrate, counts, simulate, stars
from instruments.sru.raw import open_edr, read_edr
from pipeline.clock import Sclk, Span
from pipeline.dataset import check
from pipeline.instrument import Granule
from pipeline.passes import get_pass
from pipeline.scene import Scene
from pipeline.testing.pulls import Result, compare_to_truth

CLOCK = Sclk.default()
NAMES = ("camera", "readout", "gain", "hits", "photometry", "stars", "archive")
SETTINGS = (simulate.Setting(1, 0.3, True, 8, 8), simulate.Setting(1, 0.005, False, 5, 5))


def scene(number: int, start: float, stop: float) -> Scene:
    """A stretch of a pass between seconds from closest approach."""
    pass_ = get_pass(number)
    return Scene(pass_, Span(pass_.et + start, pass_.et + stop), "demo", 0)


def tables() -> dict[str, Table]:
    return {name: Table.read(INSTRUMENT.tables / f"{name}.yaml") for name in NAMES}


class Loop(NamedTuple):
    """A simulated stretch of a pass: granules, truth by product and unit, and the products made."""

    scene: Scene
    folder: Path
    granules: list[Granule]
    truth: dict[tuple[str, str], xr.Dataset]
    dark: xr.Dataset
    images: dict[str, xr.Dataset]

    def judged(self, product: str, dataset: xr.Dataset, unit: str) -> list[Result]:
        schema = INSTRUMENT.product(product).schema
        done = check.finish(dataset, schema, INSTRUMENT.flags, {"product": f"{product}/PJ01/{unit}"})
        return compare_to_truth(done, self.truth[product, unit], schema)


def pick(names: tuple[str, ...], known: dict[str, Table] | None) -> list[Table]:
    chosen = known or tables()
    return [chosen[name] for name in names]


def dark_of(granules: list[Granule], where: Scene) -> xr.Dataset:
    raw = read_edr(granules, None, CLOCK)
    return calibrate.dark(raw, where.geometry, *pick(("camera", "readout", "stars", "photometry"), None))


def image_of(
    granule: Granule, dark: xr.Dataset | None, where: Scene, known: dict[str, Table] | None = None, **more: Any
) -> xr.Dataset:
    raw = read_edr([granule], None, CLOCK)
    chosen = pick(("camera", "readout", "gain", "stars", "photometry"), known)
    return calibrate.image(raw, dark, where.geometry, *chosen, **more)


def stars_of(image: xr.Dataset, where: Scene, known: dict[str, Table] | None = None) -> xr.Dataset:
    return stars.stars(image, where.geometry, *pick(("camera", "readout", "stars", "photometry"), known))


def hits_of(image: xr.Dataset, known: dict[str, Table] | None = None) -> xr.Dataset:
    return counts.hits(image, *pick(("camera", "readout", "hits", "stars", "photometry"), known))


def looped(where: Scene, folder: Path, settings: tuple[simulate.Setting, ...] = SETTINGS, seed: int = 4) -> Loop:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(simulate, "SETTINGS", settings)
        made = simulate.simulate(where, folder, "demo", np.random.default_rng(seed))
        truth = {(t.type, t.unit): t.dataset for t in made}
    granules = sorted((open_edr(p, CLOCK) for p in folder.rglob("*.FIT")), key=lambda g: g.start)
    dark = dark_of(granules, where)
    images = {g.id: image_of(g, dark, where) for g in granules}
    return Loop(where, folder, granules, truth, dark, images)


def failed(results: list[Result]) -> set[str]:
    return {r.variable for r in results if not r.ok}
