"""A product made in one piece and in seven are the same to the bit."""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

sys.path.insert(0, str(Path(__file__).parent))
from mag_forward import MEAN, tables
from mag_scene import CLOCK, Loop, field_of

from calibration.tables import Table
from instruments.mag import INSTRUMENT, average, calibrate, model, raw, sts
from pipeline.clock import Span

PARTS = 7


def segments(loop: Loop, multiple: float) -> list[Span]:
    """Seven slices with edges at whole multiples, as the core cuts them."""
    first, last = loop.scene.span.start // multiple, loop.scene.span.stop // multiple + 1
    edges = np.unique(np.round(np.linspace(first, last, PARTS + 1))) * multiple
    return [Span(a, b) for a, b in pairwise(edges)]


def trimmed(dataset: xr.Dataset, span: Span) -> xr.Dataset:
    return dataset.isel(et=span.contains(dataset["et"].values))


def assert_same(parts: list[xr.Dataset], whole: xr.Dataset) -> None:
    assert sum(p.sizes["et"] > 0 for p in parts) >= PARTS - 1
    for name in whole.variables:
        joined = np.concatenate([p[name].values for p in parts])
        assert joined.tobytes() == np.ascontiguousarray(whole[name].values).tobytes(), name


def assert_same_counts(parts: list[xr.Dataset], whole: xr.Dataset) -> None:
    assert {k: sum(p.attrs[k] for p in parts) for k in whole.attrs} == whole.attrs


@pytest.mark.parametrize("spacecraft", ["table", "gradiometry"])
def test_field_from_telemetry(loop: Loop, spacecraft: str) -> None:
    whole = field_of(loop.raw, loop.scene, spacecraft_correction=spacecraft)
    parts = []
    for span in segments(loop, 60.0):
        data = raw.read_telemetry(loop.granules, span.pad(calibrate.HALO), CLOCK)
        parts.append(trimmed(field_of(data, loop.scene, span=span, spacecraft_correction=spacecraft), span))
    assert_same(parts, whole)
    assert_same_counts(parts, whole)


def test_field_from_archive(loop: Loop) -> None:
    granules = [sts.open_sts(p, CLOCK) for p in loop.folder.rglob("*.sts")]
    chosen = [Table.read(INSTRUMENT.tables / f"{name}.yaml") for name in ("ranges", "noise", "archive")]

    def made(span: Span, reach: Span | None) -> xr.Dataset:
        return calibrate.field_from_archive(sts.read_sts(granules, reach, CLOCK), loop.scene.geometry, span, *chosen)

    whole = made(loop.scene.span, None)
    parts = [trimmed(made(span, span.pad(calibrate.HALO)), span) for span in segments(loop, 60.0)]
    assert_same(parts, whole)
    assert_same_counts(parts, whole)


@pytest.mark.parametrize("width", [1.0, 60.0])
def test_means_and_model(loop: Loop, width: float) -> None:
    chosen = tuple(tables()[name] for name in MEAN)

    def made(field: xr.Dataset) -> xr.Dataset:
        return average.mean_field(field, loop.scene.geometry, loop.scene.pass_.et, width, chosen)

    spans = segments(loop, 60.0)
    # gaps across the edges of segments, of which the means must see the other side
    et = loop.field["et"].values
    gap = np.logical_or.reduce([np.abs(et - span.start - 0.4) < 1.5 for span in spans])
    field = loop.field.isel(et=~gap)
    whole = made(field)
    parts = [trimmed(made(trimmed(field, span.pad(average.HALO))), span) for span in spans]
    assert_same(parts, whole)
    models = [model.model(part, loop.scene.geometry) for part in parts if part.sizes["et"]]
    assert_same(models, model.model(whole, loop.scene.geometry))
