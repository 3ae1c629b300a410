"""A simulated stretch of a pass and what is made of it, without the core."""

from __future__ import annotations

import re
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from loops import CLOCK, finished, tables_of

from calibration.tables import Table
from instruments.waves import INSTRUMENT
from pipeline.clock import Span
from pipeline.errors import InputError
from pipeline.instrument import Granule, Step
from pipeline.scene import Scene


def tables() -> dict[str, Table]:
    return tables_of("waves")


def step_named(name: str) -> Step:
    return next(s for p in INSTRUMENT.products for s in INSTRUMENT.steps_for(p.name) if s.name == name)


def granules(folder: Path, form: str) -> list[Granule]:
    found = INSTRUMENT.format(form)
    out = []
    for path in sorted(p for p in folder.rglob("*") if re.fullmatch(found.pattern, p.name, re.I)):
        # Two forms share the names of das2 streams: which it is, opening it tells.
        with suppress(InputError) if "das2" in form else nullcontext():
            out.append(found.open(path, CLOCK))
    return out


def read(folder: Path, form: str, span: Span | None = None) -> xr.Dataset:
    return INSTRUMENT.format(form).read(granules(folder, form), span, CLOCK)


def call(name: str, given: dict[str, Any], known: dict[str, Table] | None = None, **parameters: str) -> xr.Dataset:
    """A step by its name; `given`: span, raw data by format, products by type."""
    known = known or tables()
    step = step_named(name)
    arguments = [
        known[n.argument] if n.kind == "table" else given["span"] if n.kind == "span" else given[n.name]
        for n in step.needs
    ]
    return step.function(*arguments, **parameters)


class Loop(NamedTuple):
    scene: Scene
    folder: Path
    truth: dict[str, xr.Dataset]
    given: dict[str, Any]

    def make(self, name: str, known: dict[str, Table] | None = None, **parameters: str) -> xr.Dataset:
        """Product of a step, finished."""
        return finished(call(name, self.given, known, **parameters), step_named(name).produces)


def looped(where: Scene, folder: Path, seed: int = 4) -> Loop:
    assert INSTRUMENT.simulate is not None
    truth = {t.type: t.dataset for t in INSTRUMENT.simulate(where, folder, "demo", np.random.default_rng(seed))}
    given = {form: read(folder, form) for form in ("waves.lrs", "waves.hrs", "waves.survey_csv")}
    loop = Loop(where, folder, truth, {"span": where.span, **given})
    for kind in ("low_e", "low_b", "mid_e", "high_e"):
        loop.given[f"waves.burst_{kind}"] = loop.make(f"waveform_{kind}")
    return loop
