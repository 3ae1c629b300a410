"""Scenes of the tests' own, and products made of raw data without the core."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xarray as xr

from calibration.tables import Table
from instruments.mwr import INSTRUMENT, brightness, calibrate, gain, raw, simulate, sky
from pipeline.clock import Sclk, Span
from pipeline.dataset import check
from pipeline.passes import get_pass
from pipeline.scene import Scene
from pipeline.testing.pulls import Result, compare_to_truth

CLOCK = Sclk.default()
PASS = get_pass(1)
CHAIN = ("receiver", "detector", "chain", "noise_diode", "thermal")
Tables = Mapping[str, Table]


def scene(start: float, stop: float) -> Scene:
    """Between seconds from closest approach."""
    return Scene(PASS, Span(PASS.et + start, PASS.et + stop), "demo", 0)


def tables() -> dict[str, Table]:
    return {p.stem: Table.read(p) for p in sorted(INSTRUMENT.tables.glob("*.yaml")) if p.stem != "context"}


def finished(dataset: xr.Dataset, product: str) -> xr.Dataset:
    """As the core finishes and checks it, but for the record coordinates."""
    schema = replace(INSTRUMENT.product(product).schema, context=False)
    done = check.finish(dataset, schema, INSTRUMENT.flags, {"product": f"{product}/PJ01"})
    check.check(done, schema, INSTRUMENT.flags)
    return done


def deflections_of(data: xr.Dataset, span: Span, known: Tables) -> xr.Dataset:
    return finished(calibrate.deflections(data, span, *(known[n] for n in CHAIN)), "mwr.deflections")


def gain_of(deflections: xr.Dataset, known: Tables, **parameters: float) -> xr.Dataset:
    chosen = (known[n] for n in ("detector", "chain", "noise_diode"))
    return finished(gain.gain(deflections, *chosen, **parameters), "mwr.gain")


def temperature_of(data: xr.Dataset, span: Span, known: Tables, gains: xr.Dataset | None = None) -> xr.Dataset:
    gains = gain_of(deflections_of(data, span, known), known) if gains is None else gains
    made = calibrate.antenna_temperature(data, span, gains, *(known[n] for n in CHAIN))
    return finished(made, "mwr.antenna_temperature")


def drawn_temperature(data: xr.Dataset, span: Span, known: Tables) -> xr.Dataset:
    """As `temperature_of`, without the core's finishing and checks, which for many draws take longer than the steps."""
    deflected = calibrate.deflections(data, span, *(known[n] for n in CHAIN))
    gains = gain.gain(deflected, *(known[n] for n in ("detector", "chain", "noise_diode")))
    return calibrate.antenna_temperature(data, span, gains, *(known[n] for n in CHAIN))


def components_of(temperature: xr.Dataset, where: Scene, known: Tables, span: Span | None = None) -> xr.Dataset:
    chosen = (known[n] for n in ("receiver", "beam", "sky", "limb"))
    return finished(sky.components(temperature, where.geometry, span or where.span, *chosen), "mwr.components")


def brightness_of(
    components: xr.Dataset, temperature: xr.Dataset, where: Scene, known: Tables, **parameters: str
) -> xr.Dataset:
    anchored = finished(brightness.anchor(components, temperature), "mwr.anchor")
    chosen = (known[n] for n in ("beam", "limb"))
    made = brightness.brightness(components, temperature, anchored, where.geometry, *chosen, **parameters)
    return finished(made, "mwr.brightness")


class Loop(NamedTuple):
    """A simulated stretch of a pass: its raw data, its truth, and the products made of it."""

    scene: Scene
    raw: xr.Dataset
    truth: dict[str, xr.Dataset]
    folder: Path
    products: dict[str, xr.Dataset]

    def judged(self, product: str, dataset: xr.Dataset | None = None) -> list[Result]:
        made = self.products[product] if dataset is None else dataset
        return compare_to_truth(made, self.truth[product], INSTRUMENT.product(product).schema)


def simulated(where: Scene, folder: Path, seed: int = 5) -> tuple[xr.Dataset, dict[str, xr.Dataset]]:
    """Raw data and truth of a scene."""
    truth = {t.type: t.dataset for t in simulate.simulate(where, folder, "demo", np.random.default_rng(seed))}
    granules = [raw.open_csv(p, CLOCK) for p in sorted(folder.rglob("*DR*.CSV"))]
    return raw.read_edr(granules, None, CLOCK), truth


def looped(where: Scene, folder: Path) -> Loop:
    data, truth = simulated(where, folder)
    known = tables()
    made = {"mwr.deflections": deflections_of(data, where.span, known)}
    made["mwr.gain"] = gain_of(made["mwr.deflections"], known)
    made["mwr.antenna_temperature"] = temperature_of(data, where.span, known, made["mwr.gain"])
    made["mwr.components"] = components_of(made["mwr.antenna_temperature"], where, known)
    return Loop(where, data, truth, folder, made)


def failed(results: list[Result]) -> set[str]:
    return {r.variable for r in results if not r.ok}
