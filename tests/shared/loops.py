"""What the closed loops of several instruments share: a stretch of PJ1, its field, tables, finished products."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import NamedTuple

import xarray as xr

from calibration.tables import Table
from pipeline import registry
from pipeline.clock import Sclk, Span
from pipeline.dataset import check
from pipeline.passes import get_pass
from pipeline.scene import Scene

CLOCK = Sclk.default()
PASS = get_pass(1)
Tables = dict[str, Table]


class Loop(NamedTuple):
    """A simulated stretch of a pass: raw data, truth, and the products made of it."""

    scene: Scene
    folder: Path
    raw: dict[str, xr.Dataset]
    truth: dict[str, xr.Dataset]
    products: dict[str, xr.Dataset]


@cache
def _tables(instrument: str) -> Tables:
    folder = registry.load(instrument).tables
    return {p.stem: Table.read(p) for p in folder.glob("*.yaml") if p.stem != "context"}


def tables_of(instrument: str) -> Tables:
    """The project's tables of an instrument; the caller may exchange some."""
    return dict(_tables(instrument))


def scene(start: float, stop: float) -> Scene:
    """A stretch of PJ1 between seconds from closest approach."""
    return Scene(PASS, Span(PASS.et + start, PASS.et + stop), "demo", 0)


def finished(dataset: xr.Dataset, product: str) -> xr.Dataset:
    """As the core finishes it, but for the record coordinates."""
    instrument, kind = registry.product_type(product)
    return check.finish(dataset, kind.schema, instrument.flags, {"product": f"{product}/PJ01"})
