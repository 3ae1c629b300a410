"""Scenes of the tests' own, and products made of raw data without the core."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xarray as xr

from calibration.tables import Table
from instruments.jedi import INSTRUMENT, raw, spectrograms
from pipeline.clock import Sclk, Span
from pipeline.dataset import check
from pipeline.instrument import Granule
from pipeline.passes import get_pass
from pipeline.scene import Scene

CLOCK = Sclk.default()
PASS = get_pass(1)
KINDS = {
    "jedi.electrons": "HIERSESP",
    "jedi.ion_singles": "HIERSISP",
    "jedi.ions": "HIERSTOFXER",
    "jedi.low_ions": "HIERSTOFXPHR",
}
SPECTROGRAMS = {"jedi.electrons": "jedi.electron_spectrogram", "jedi.ions": "jedi.ion_spectrogram"}
Tables = dict[str, Table]


@cache
def _tables() -> Tables:
    return {p.stem: Table.read(p) for p in INSTRUMENT.tables.glob("*.yaml") if p.stem != "context"}


def tables(**changed: Table) -> Tables:
    return {**_tables(), **changed}


def scaled(table: str, quantity: str, factor) -> Tables:
    """The tables with one quantity multiplied."""
    known = tables()[table]
    return tables(**{table: known.replace(**{quantity: known[quantity].value * factor})})


def scene(start: float, stop: float) -> Scene:
    """A stretch of PJ1 between seconds from closest approach."""
    return Scene(PASS, Span(PASS.et + start, PASS.et + stop), "demo", 0)


def field_of(where: Scene) -> xr.Dataset:
    """The scene's field as mag.field_1s would give it."""
    et = np.arange(np.floor(where.span.start), np.ceil(where.span.stop)) + 0.5
    b = where.magnetic_field(et)
    return xr.Dataset(
        {"b_j2000": (("et", "xyz"), b), "b_j2000_systematic": (("et", "xyz"), 1e-3 * np.abs(b) + 1.0)},
        coords={"et": et},
    )


def made(data: xr.Dataset, where: Scene, known: Tables | None = None, span: Span | None = None, field=True):
    """Intensities of raw data by the step for their type."""
    form = f"jedi.{data.attrs['kind'].lower()}"
    step = next(s for s in (f.__perijove_step__ for f in INSTRUMENT.steps) if s.raw == form)
    known = known or tables()
    chosen = {n.argument: known[n.name.split(".", 1)[1]] for n in step.needs if n.kind == "table"}
    seen = field_of(where) if field is True else field
    return step.function(data, seen, where.geometry, span or where.span, **chosen)


def finished(dataset: xr.Dataset, product: str) -> xr.Dataset:
    """As the core finishes it, but for the record coordinates."""
    schema = INSTRUMENT.product(product).schema
    return check.finish(dataset, schema, INSTRUMENT.flags, {"product": f"{product}/PJ01"})


class Loop(NamedTuple):
    """A simulated stretch of a pass: raw data by type, truth, and the products made of it."""

    scene: Scene
    folder: Path
    raw: dict[str, xr.Dataset]
    truth: dict[str, xr.Dataset]
    products: dict[str, xr.Dataset]


def granules(folder: Path, kind: str) -> list[Granule]:
    return [raw.open_edr(p, CLOCK) for p in sorted(folder.rglob(f"JED_*_{kind}_EDR_*.LBL"))]


def looped(where: Scene, folder: Path, seed: int = 4) -> Loop:
    """Simulate, read, calibrate."""
    rng = np.random.default_rng(seed)
    truth = {t.type: t.dataset for t in INSTRUMENT.simulate(where, folder, "demo", rng)}
    data = {product: raw.read_edr(granules(folder, kind), None, CLOCK) for product, kind in KINDS.items()}
    products = {product: made(one, where) for product, one in data.items()}
    for product, spectrogram in SPECTROGRAMS.items():
        products[spectrogram] = spectrograms.spectrogram(finished(products[product], product))
    return Loop(where, folder, data, truth, products)
