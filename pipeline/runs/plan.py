"""The plan: which products a request leads to, under which keys, and which of them must be made and why.

Inputs enter a product's recipe by key, so the whole plan is known before anything runs.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from calibration.library import Context
from calibration.tables import Table
from pipeline import registry
from pipeline.clock import Sclk, Span
from pipeline.errors import CalibrationError, UsageError, nearest
from pipeline.geometry import Geometry
from pipeline.instrument import Granule, Instrument, Need, ProductType, Step
from pipeline.passes import Pass
from pipeline.runs.discover import Discovery
from pipeline.runs.fingerprint import code_part
from pipeline.runs.keys import Recipe, canonical, key_of, why
from pipeline.runs.store import Identity, Store

# Geometry is hashed and handed over with this margin in seconds beyond the segment and its halo: light time within
# the Jupiter system, filter delays, the last sample's length.
GEOMETRY_MARGIN = 10.0


@dataclass(frozen=True)
class Given:
    """An input product the user brings as a file instead of having it made."""

    path: Path
    key: str


@dataclass
class Planned:
    """One product of the plan."""

    identity: Identity
    product: ProductType
    step: Step
    span: Span
    segments: tuple[Span, ...]
    granules: tuple[Granule, ...]
    tables: dict[str, list[tuple[Table, Span]]]
    inputs: dict[str, Input]
    parameters: dict[str, Any]
    recipe: Recipe
    key: str
    path: Path
    status: str
    why: list[dict[str, Any]] = field(default_factory=list)

    def needed(self) -> list[Planned]:
        """The planned input products, whether made or kept."""
        flat: list[Planned] = []
        for value in self.inputs.values():
            if isinstance(value, dict):
                flat.extend(value.values())
            elif isinstance(value, Planned):
                flat.append(value)
        return flat


Input = Planned | dict[str, Planned] | Given | None


@dataclass
class Plan:
    """All products of a request, inputs before what needs them, and what could not be planned."""

    pass_: Pass
    products: list[Planned]
    blocked: list[dict[str, Any]]
    discovery: Discovery
    geometry: Geometry | None
    geometry_path: Path | None
    clock: Sclk

    def to_make(self) -> list[Planned]:
        """Products that must be made."""
        return [p for p in self.products if p.status == "make"]


@dataclass(frozen=True)
class Selection:
    """What the user chose, resolved.

    Without `products`, all types of the instruments are made that are not on request; with them, only those. Either
    way with everything they need, except what is `given`.
    """

    instruments: tuple[Instrument, ...]
    products: tuple[str, ...]
    given: dict[str, Path]
    window: Span | None
    source: str | None
    context: Context
    parameters: dict[str, dict[str, Any]]


def resolve_parameters(instruments: Iterable[Instrument], settings: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Values of ``--set`` by product type and parameter; raises UsageError offering the nearest names."""
    steps = [s for i in instruments for p in i.products for s in i.steps_for(p.name)]
    known = {f"{s.produces}.{p.name}": p for s in steps for p in s.parameters}
    resolved: dict[str, dict[str, Any]] = {}
    for name, text in settings.items():
        if name not in known:
            raise UsageError(f"no parameter {name!r}; {nearest(name, list(known))}")
        try:
            value = known[name].parse(text)
        except ValueError as error:
            raise UsageError(f"{name}: {error}") from error
        product, parameter = name.rsplit(".", 1)
        resolved.setdefault(product, {})[parameter] = value
    return resolved


def ordered_types(selection: Selection) -> list[str]:
    """Product types to plan, inputs first; raises RuntimeError if the declarations form a circle."""
    order: list[str] = []
    visiting: list[str] = []

    def visit(name: str) -> None:
        if name in order or name in selection.given:
            return
        if name in visiting:
            raise RuntimeError(f"products need each other: {' -> '.join([*visiting, name])}")
        visiting.append(name)
        instrument, _ = registry.product_type(name)
        for step in instrument.steps_for(name):
            for need in step.needs:
                if need.kind in ("product", "products") and need.name.split(".")[0] in registry.names():
                    visit(need.name)
        visiting.pop()
        order.append(name)

    everything = [p.name for i in selection.instruments for p in i.products if not p.on_request]
    for name in selection.products or everything:
        visit(name)
    return order


def make_plan(
    selection: Selection,
    pass_: Pass,
    discovery: Discovery,
    geometry: Geometry | None,
    geometry_path: Path | None,
    clock: Sclk,
    store: Store,
    failed: frozenset[str] = frozenset(),
) -> Plan:
    """Plan every product of the selection.

    Parameters
    ----------
    failed : identities that failed already in this run; products that can do without them are planned without,
        those that cannot are blocked.
    """
    planner = _Planner(selection, pass_, discovery, geometry, clock, store, failed)
    for name in ordered_types(selection):
        planner.add(name)
    products = [p for units in planner.done.values() for p in units.values()]
    return Plan(pass_, products, planner.blocked, discovery, geometry, geometry_path, clock)


class _Planner:
    def __init__(
        self,
        selection: Selection,
        pass_: Pass,
        discovery: Discovery,
        geometry: Geometry | None,
        clock: Sclk,
        store: Store,
        failed: frozenset[str],
    ) -> None:
        self.selection, self.pass_, self.discovery = selection, pass_, discovery
        self.geometry, self.clock, self.store, self.failed = geometry, clock, store, failed
        self.done: dict[str, dict[str, Planned]] = {}
        self.blocked: list[dict[str, Any]] = []

    def add(self, name: str) -> None:
        """Plan all units of a product type."""
        instrument, product = registry.product_type(name)
        self.done[name] = {}
        for step in self._candidates(instrument, product):
            units = self._units(step, product)
            for unit, (granules, inputs_span) in units.items():
                self._add_unit(instrument, product, step, unit, granules, inputs_span)
            if units:
                return

    def _candidates(self, instrument: Instrument, product: ProductType) -> tuple[Step, ...]:
        steps = instrument.steps_for(product.name)
        source = self.selection.source
        if source and any(s.raw == source for s in steps):
            return tuple(s for s in steps if s.raw == source)
        return steps

    def _units(self, step: Step, product: ProductType) -> dict[str, tuple[tuple[Granule, ...], Span | None]]:
        if step.raw is None:
            return self._units_of_inputs(step, product)
        units: dict[str, list[Granule]] = {}
        for granule in self.discovery.of(step.raw):
            unit = {"granule": granule.id, "group": granule.group or granule.id, "pass": ""}[product.unit]
            units.setdefault(unit, []).append(granule)
        return {unit: (tuple(granules), None) for unit, granules in units.items()}

    def _units_of_inputs(self, step: Step, product: ProductType) -> dict[str, tuple[tuple[Granule, ...], Span | None]]:
        needs = [n for n in step.needs if n.kind in ("product", "products")]
        needs.sort(key=lambda n: n.optional)
        for need in needs:
            planned = self.done.get(need.name, {})
            if not planned:
                continue
            if product.unit == "pass":
                spans = [p.span for p in planned.values()]
                hull = Span(min(s.start for s in spans), max(s.stop for s in spans))
                granules = tuple(g for p in planned.values() for g in p.granules)
                return {"": (granules, hull)}
            if registry.product_type(need.name)[1].unit == product.unit:
                return {unit: (p.granules, p.span) for unit, p in planned.items()}
        return {}

    def _add_unit(
        self,
        instrument: Instrument,
        product: ProductType,
        step: Step,
        unit: str,
        granules: tuple[Granule, ...],
        hull: Span | None,
    ) -> None:
        identity = Identity(product.name, self.pass_.number, unit)
        if str(identity) in self.failed:
            return
        hull = hull or Span(min(g.start for g in granules), max(g.stop for g in granules))
        occupied = [Span(g.start, g.stop) for g in granules] or [hull]
        try:
            inputs = {n.argument: self._input(n, unit) for n in step.needs if n.kind in ("product", "products")}
            tables = {n.argument: self._tables(n, step, hull) for n in step.needs if n.kind == "table"}
        except (_BlockedError, CalibrationError) as error:
            self.blocked.append(
                {"identity": str(identity), "instrument": instrument.name, "type": product.name, "unit": unit,
                 "reason": str(error)}
            )  # fmt: skip
            return
        segments, window = self._segments(product, step, hull, occupied, tables)
        if not segments:
            return
        span = Span(segments[0].start, segments[-1].stop)
        reach = Span(span.start - step.halo, span.stop + step.halo)
        used = tuple(g for g in granules if g.start < reach.stop and g.stop > reach.start) if step.raw else ()
        tables = {a: [(t, s) for t, s in chosen if s.overlaps(span)] for a, chosen in tables.items()}
        parameters = {p.name: p.default for p in step.parameters}
        chosen = self.selection.parameters.get(product.name, {})
        parameters.update({name: value for name, value in chosen.items() if name in parameters})
        recipe = self._recipe(identity, instrument, product, step, used, tables, inputs, parameters, window, reach)
        key = key_of(recipe)
        path = self.store.product_path(identity, key)
        kept = path.exists()
        reasons = [] if kept else why(recipe, self.store.last_recipe(identity)) or [
            {"kind": "missing", "name": str(identity), "old": None, "new": None}
        ]  # fmt: skip
        self.done[product.name][unit] = Planned(
            identity, product, step, span, segments, used, tables, inputs, parameters, recipe, key, path,
            "keep" if kept else "make", reasons,
        )  # fmt: skip

    def _input(self, need: Need, unit: str) -> Input:
        if need.name in self.selection.given:
            path = self.selection.given[need.name]
            return Given(path, self.store.sha256(path))
        planned = self.done.get(need.name, {})
        if need.kind == "products":
            if not planned and not need.optional:
                raise _BlockedError(f"needs {need.name}, of which there is none")
            return dict(planned) if planned else None
        found = planned.get("" if "" in planned else unit)
        if found is None and not need.optional:
            identity = Identity(need.name, self.pass_.number, unit if "" not in planned else "")
            state = "failed" if str(identity) in self.failed else "is not there"
            raise _BlockedError(f"needs {identity}, which {state}")
        return found

    def _tables(self, need: Need, step: Step, hull: Span) -> list[tuple[Table, Span]]:
        folder, name = need.name.split(".", 1)
        if step.over == "unit":
            # A unit computed whole takes the table valid at its middle.
            middle = (hull.start + hull.stop) / 2
            selected = self.selection.context.select(folder, name, Span(middle, math.nextafter(middle, math.inf)))
            return [(selected[0][0], hull)]
        return self.selection.context.select(folder, name, hull)

    def _segments(
        self,
        product: ProductType,
        step: Step,
        hull: Span,
        occupied: list[Span],
        tables: dict[str, list[tuple[Table, Span]]],
    ) -> tuple[tuple[Span, ...], list[float] | str]:
        window = self.selection.window
        if step.over == "unit" or product.segment is None:
            return ((hull,) if window is None or hull.overlaps(window) else ()), "all"
        length = product.segment
        edges = {length * k for k in range(math.floor(hull.start / length), math.ceil(hull.stop / length) + 1)}
        edges |= {s.start for chosen in tables.values() for _, s in chosen if hull.start < s.start < hull.stop}
        grid = sorted(edges)
        segments = [Span(a, b) for a, b in itertools.pairwise(grid)]
        segments = [s for s in segments if any(s.overlaps(o) for o in occupied)]
        inside = [s for s in segments if window is None or s.overlaps(window)]
        whole = len(inside) == len(segments)
        return tuple(inside), "all" if whole or not inside else [inside[0].start, inside[-1].stop]

    def _recipe(
        self,
        identity: Identity,
        instrument: Instrument,
        product: ProductType,
        step: Step,
        granules: tuple[Granule, ...],
        tables: dict[str, list[tuple[Table, Span]]],
        inputs: dict[str, Input],
        parameters: dict[str, Any],
        window: list[float] | str,
        reach: Span,
    ) -> Recipe:
        raw = {
            g.id: {"format": g.format, "files": {role: self.store.sha256(path) for role, path in g.files.items()}}
            for g in granules
        }
        recipe: Recipe = {
            "product": str(identity),
            "schema": product.schema.version,
            "code": code_part(instrument, step),
            "raw": raw,
            "tables": {
                need.name: [[table.hash, *_within(validity, reach)] for table, validity in tables[need.argument]]
                for need in step.needs
                if need.kind == "table"
            },
            "inputs": {argument: _keys(value) for argument, value in inputs.items()},
            "parameters": parameters,
            "window": window,
        }
        if self._uses_geometry(product, step):
            assert self.geometry is not None
            reach = Span(reach.start - GEOMETRY_MARGIN, reach.stop + GEOMETRY_MARGIN)
            recipe["geometry"] = {"values": self.geometry.values_hash(reach)}
        if raw or product.schema.context:
            recipe["geometry"] = {**recipe.get("geometry", {}), "clock": _clock_hash(self.clock, reach)}
        return recipe

    @staticmethod
    def _uses_geometry(product: ProductType, step: Step) -> bool:
        return product.schema.context or any(n.kind == "geometry" for n in step.needs)


class _BlockedError(Exception):
    pass


def _keys(value: Input) -> Any:
    if isinstance(value, dict):
        return {unit: planned.key for unit, planned in value.items()}
    return value.key if value else None


def _within(validity: Span, span: Span) -> list[float | None]:
    """Ends of a validity that lie inside `span`: what lies outside does not matter to the product."""
    return [x if span.start < x < span.stop else None for x in (validity.start, validity.stop)]


def _clock_hash(clock: Sclk, span: Span) -> str:
    ticks = np.asarray(clock.to_ticks(np.linspace(span.start, span.stop, 65)), "<f8")
    return key_of({"ticks": canonical(ticks.tolist()).decode()})[:32]
