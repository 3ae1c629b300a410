"""Scenes of the tests' own, and products made of raw data without the core."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xarray as xr

sys.path.insert(0, str(Path(__file__).parent))
from mag_forward import CHAIN, MEAN, tables

from calibration.tables import Table
from instruments.mag import INSTRUMENT, average, calibrate, raw
from pipeline.clock import Sclk, Span
from pipeline.dataset import check
from pipeline.instrument import Granule
from pipeline.passes import get_pass
from pipeline.scene import Scene

CLOCK = Sclk.default()
PASS = get_pass(1)


def scene(start: float, stop: float) -> Scene:
    """Jupiter's field between seconds from closest approach."""
    return Scene(PASS, Span(PASS.et + start, PASS.et + stop), "demo", 0)


def field_of(
    data: xr.Dataset,
    scene: Scene,
    known: dict[str, Table] | None = None,
    span: Span | None = None,
    **parameters: str,
) -> xr.Dataset:
    """mag.field as a step makes it."""
    known = known or tables()
    chosen = [known[name] for name in CHAIN]
    return calibrate.field_from_telemetry(data, scene.geometry, scene.pass_, span or scene.span, *chosen, **parameters)


def mean_of(field: xr.Dataset, scene: Scene, width: float, known: dict[str, Table] | None = None) -> xr.Dataset:
    known = known or tables()
    chosen = tuple(known[name] for name in MEAN)
    return average.mean_field(field, scene.geometry, scene.pass_.et, width, chosen)


def finished(dataset: xr.Dataset, product: str) -> xr.Dataset:
    """As the core finishes it, but for the record coordinates."""
    schema = INSTRUMENT.product(product).schema
    return check.finish(dataset, schema, INSTRUMENT.flags, {"product": f"{product}/PJ01"})


class Loop(NamedTuple):
    """A simulated stretch of a pass: its raw data, its truth, and the field made of it."""

    scene: Scene
    raw: xr.Dataset
    truth: dict[str, xr.Dataset]
    folder: Path
    field: xr.Dataset

    @property
    def granules(self) -> list[Granule]:
        return [raw.open_telemetry(p, CLOCK) for p in sorted(self.folder.rglob("*.pkt"))]


def looped(where: Scene, folder: Path, scale: str = "demo", seed: int = 4) -> Loop:
    truth = {t.type: t.dataset for t in INSTRUMENT.simulate(where, folder, scale, np.random.default_rng(seed))}  # type: ignore[misc]
    granules = [raw.open_telemetry(p, CLOCK) for p in sorted(folder.rglob("*.pkt"))]
    data = raw.read_telemetry(granules, None, CLOCK)
    return Loop(where, data, truth, folder, field_of(data, where))
