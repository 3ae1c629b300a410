"""A simulated acquisition of the tests' own, and products made of it without the core."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import xarray as xr

from calibration.tables import Table
from instruments.uvs import INSTRUMENT, calibrate, maps, raw, simulate, spectra
from instruments.uvs.detector import Tables
from pipeline.clock import Sclk, Span
from pipeline.dataset import check
from pipeline.instrument import Granule
from pipeline.passes import get_pass
from pipeline.scene import Scene, make_scene
from pipeline.testing.pulls import Result, compare_to_truth

CLOCK = Sclk.default()
PASS = get_pass(1)
STEPS: dict[str, Callable[..., xr.Dataset]] = {
    "uvs.photons": calibrate.photons,
    "uvs.rates": calibrate.rates,
    "uvs.spectra": spectra.spectra,
    "uvs.swath": spectra.swath,
}


def tables() -> dict[str, Table]:
    return {name: Table.read(INSTRUMENT.tables / f"{name}.yaml") for name in simulate.NAMES}


def chain(known: dict[str, Table] | None = None) -> Tables:
    return Tables(**(known or tables()))


class Loop(NamedTuple):
    """A simulated acquisition: its raw data and its truth."""

    scene: Scene
    folder: Path
    raw: xr.Dataset
    truth: dict[str, xr.Dataset]

    @property
    def granules(self) -> list[Granule]:
        return granules(self.folder)

    def make(
        self, product: str, known: dict[str, Table] | None = None, data: xr.Dataset | None = None, **parameters: Any
    ) -> xr.Dataset:
        """A product of all of the raw data, as a step makes it."""
        chosen = (known or tables()).values()
        given = [self.raw if data is None else data]
        if product != "uvs.rates":
            given.append(self.scene.geometry)
        return STEPS[product](*given, *chosen, **parameters)

    def map(
        self, known: dict[str, Table] | None = None, swath: xr.Dataset | None = None, **parameters: Any
    ) -> xr.Dataset:
        made = self.make("uvs.swath", known) if swath is None else swath
        return maps.aurora(finished(made, "uvs.swath"), PASS, *(known or tables()).values(), **parameters)

    def judge(self, product: str, dataset: xr.Dataset) -> list[Result]:
        return compare_to_truth(finished(dataset, product), self.truth[product], INSTRUMENT.product(product).schema)


def granules(folder: Path) -> list[Granule]:
    return [raw.open_edr(path, CLOCK) for path in sorted(folder.rglob("*.FIT"))]


def finished(dataset: xr.Dataset, product: str) -> xr.Dataset:
    """As the core finishes it, but for the record coordinates."""
    schema = INSTRUMENT.product(product).schema
    return check.finish(dataset, schema, INSTRUMENT.flags, {"product": f"{product}/PJ01"})


def failed(results: list[Result]) -> set[str]:
    return {r.variable for r in results if not r.ok}


def looped(folder: Path, start: float, length: float, seed: int = 3, **constants: Any) -> Loop:
    """Simulate one acquisition from `start` seconds from closest approach; `constants` of the simulator may differ."""
    scene = make_scene(1, scale="demo", seed=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(simulate.ACQUISITIONS, "demo", ((start, length),))
        for name, value in constants.items():
            patch.setattr(simulate, name, value)
        truth = {t.type: t.dataset for t in simulate.simulate(scene, folder, "demo", np.random.default_rng(seed))}
    return Loop(scene, folder, raw.read_edr(granules(folder), None, CLOCK), truth)


def around(loop: Loop, seconds: float) -> Span:
    """The first seconds of an acquisition."""
    start = float(loop.raw["frame_et"].values[0])
    return Span(start, start + seconds)
