"""Scenes of the tests' own, and products made of raw data without the core."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr
from loops import CLOCK, Loop, Tables, finished, tables_of

from calibration.tables import Table
from instruments.jedi import INSTRUMENT, raw, spectrograms
from pipeline.clock import Span
from pipeline.instrument import Granule
from pipeline.scene import Scene
from pipeline.testing.inputs import field_of

KINDS = {
    "jedi.electrons": "HIERSESP",
    "jedi.ion_singles": "HIERSISP",
    "jedi.ions": "HIERSTOFXER",
    "jedi.low_ions": "HIERSTOFXPHR",
}
SPECTROGRAMS = {"jedi.electrons": "jedi.electron_spectrogram", "jedi.ions": "jedi.ion_spectrogram"}


def tables(**changed: Table) -> Tables:
    return {**tables_of("jedi"), **changed}


def scaled(table: str, quantity: str, factor) -> Tables:
    """The tables with one quantity multiplied."""
    known = tables()[table]
    return tables(**{table: known.replace(**{quantity: known[quantity].value * factor})})


def made(data: xr.Dataset, where: Scene, known: Tables | None = None, span: Span | None = None, field=True):
    """Intensities of raw data by the step for their type."""
    form = f"jedi.{data.attrs['kind'].lower()}"
    step = next(s for s in (f.__perijove_step__ for f in INSTRUMENT.steps) if s.raw == form)
    known = known or tables()
    chosen = {n.argument: known[n.name.split(".", 1)[1]] for n in step.needs if n.kind == "table"}
    seen = field_of(where) if field is True else field
    return step.function(data, seen, where.geometry, span or where.span, **chosen)


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
