"""FAULTY: an instrument whose steps hang, crash, and break their schema. Raw data: text files of seconds."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import xarray as xr

from calibration.tables import Table
from pipeline.clock import Sclk, Span, parse_utc
from pipeline.dataset.schema import Schema, Uncertainty, Variable
from pipeline.errors import InputError
from pipeline.instrument import Granule, Instrument, Product, ProductType, Raw, RawFormat, step

SCHEMA = Schema(
    version=1,
    index="et",
    variables=(
        Variable("value", ("et",), "float64", "1", "value", source="here", quality="quality",
                 uncertainties=(Uncertainty("random", ("et",)),)),
        Variable("quality", ("et",), "uint32", "1", "quality bits"),
    ),
    context=False,
)  # fmt: skip


def write_raw(path: Path, start: str, seconds: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{start} {seconds}\n")
    return path


def open_raw(path: Path, clock: Sclk) -> Granule:
    words = path.read_text(errors="replace").split()
    if len(words) < 2:
        raise InputError(path, "a start and a number of seconds are expected")
    start = parse_utc(words[0])
    return Granule("faulty", "faulty.text", path.stem, 1, start, start + int(words[1]), {"data": path})


def read_raw(granules: Sequence[Granule], span: Span | None, clock: Sclk) -> xr.Dataset:
    for granule in granules:
        if "BAD" in granule.files["data"].read_text():
            raise InputError(granule.files["data"], "says that it is bad", "word 3")
    et = np.concatenate([np.arange(np.ceil(g.start), g.stop) for g in granules])
    return xr.Dataset(coords={"et": et if span is None else et[span.contains(et)]})


def _made(et: np.ndarray) -> xr.Dataset:
    zero = np.zeros(len(et))
    return xr.Dataset(
        {"value": ("et", et % 60), "value_random": ("et", zero + 1), "quality": ("et", zero.astype(np.uint32))},
        {"et": et},
    )


@step(produces="faulty.good", over="segment", version=1)
def good(raw: Annotated[xr.Dataset, Raw("faulty.text")], constant: Table, *, wait: float = 0.0) -> xr.Dataset:
    """Seconds of the minute, after a wait."""
    time.sleep(wait)
    return _made(raw["et"].values)


def _fill_memory() -> None:
    """Take 2 MB more every hundredth of a second, until something ends the process; at most 8 GB."""
    held = []
    for _ in range(4000):
        held.append(np.ones(1 << 18))
        time.sleep(0.01)


@step(produces="faulty.bad", over="segment", version=1)
def bad(
    raw: Annotated[xr.Dataset, Raw("faulty.text")], span: Span,
    *, how: Literal["hang", "die", "raise", "schema", "memory", "fill"] = "raise", at: int = 1,
) -> xr.Dataset:  # fmt: skip
    """Fails in every third segment, in one of several ways."""
    if int(span.start // 60) % 3 == at:
        match how:
            case "hang":
                time.sleep(1e6)
            case "die":
                os._exit(11)
            case "raise":
                raise ZeroDivisionError("as told")
            case "memory":
                raise MemoryError("as told")
            case "fill":
                _fill_memory()
            case "schema":
                return _made(raw["et"].values).drop_vars("value_random")
    return _made(raw["et"].values)


@step(produces="faulty.after", over="segment", version=1)
def after(bad: Annotated[xr.Dataset, Product("faulty.bad")]) -> xr.Dataset:
    """Needs what fails."""
    return _made(bad["et"].values)


@step(produces="faulty.without", over="segment", version=1)
def without(
    raw: Annotated[xr.Dataset, Raw("faulty.text")], bad: Annotated[xr.Dataset | None, Product("faulty.bad")]
) -> xr.Dataset:
    """Can do without what fails."""
    return _made(raw["et"].values)


def _product(name: str) -> ProductType:
    return ProductType(f"faulty.{name}", name, "pass", SCHEMA, segment=60.0, on_request=name != "good")


INSTRUMENT = Instrument(
    name="faulty",
    title="Faulty Instrument",
    formats=(RawFormat("faulty.text", "seconds", r"FLT_\w+\.TXT", open_raw, read_raw),),
    products=tuple(map(_product, ("good", "bad", "after", "without"))),
    steps=(good, bad, after, without),
    tables=Path(__file__).parent / "tables",
)
