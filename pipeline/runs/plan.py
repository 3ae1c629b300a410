"""The plan: which products a request leads to, under which keys, and which of them must be made and why.

Inputs enter a product's recipe by key, so the whole plan is known before anything runs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from calibration.entries import ALWAYS
from calibration.library import Context
from calibration.tables import Table
from pipeline import registry
from pipeline.clock import Sclk, Span
from pipeline.errors import CalibrationError
from pipeline.geometry import Geometry
from pipeline.instrument import Granule, Instrument, Need, ProductType, Step
from pipeline.passes import Pass
from pipeline.runs.discover import Discovery
from pipeline.runs.fingerprint import code_part
from pipeline.runs.keys import Recipe, canonical, key_of, why
from pipeline.runs.segments import hull, segments_of
from pipeline.runs.store import Identity, Store

# Geometry is hashed and handed over with this margin in seconds beyond the segment and its halo: light time within
# the Jupiter system, filter delays, the last sample's length.
GEOMETRY_MARGIN = 10.0


@dataclass(frozen=True)
class Given:
    """An input product the user brings as a file instead of having it made: its key is the file's hash."""

    path: Path
    key: str
    unit: str
    span: Span


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
            inputs = value.values() if isinstance(value, dict) else [value]
            flat.extend(i for i in inputs if isinstance(i, Planned))
        return flat


Input = Planned | Given | dict[str, Planned | Given] | None


@dataclass
class Plan:
    """All products of a request, inputs before what needs them, and what could not be planned.

    `superseded` lists granules that are not used because a better form of the same unit is there.
    """

    pass_: Pass
    products: list[Planned]
    blocked: list[dict[str, Any]]
    superseded: list[dict[str, Any]]
    context: Context
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
    given: dict[str, Given]
    window: Span | None
    source: str | None
    context: Context
    parameters: dict[str, dict[str, Any]]


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
    return Plan(pass_, products, planner.blocked, planner.superseded, selection.context, geometry, geometry_path, clock)


# What a unit is made from: its granules and the time it covers.
Unit = tuple[tuple[Granule, ...], Span]


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
        self.superseded: list[dict[str, Any]] = []

    @cached_property
    def last_recipes(self) -> dict[str, Recipe]:
        return self.store.last_recipes()

    def add(self, name: str) -> None:
        """Plan all units of a product type, each by the best step that has what it reads."""
        instrument, product = registry.product_type(name)
        self.done[name] = {}
        taken: dict[str, Step] = {}
        for step in self._candidates(instrument, product):
            for unit, made_from in self._units(step, product).items():
                if unit not in taken:
                    taken[unit] = step
                    self._add_unit(instrument, product, step, unit, made_from)
                elif step.raw != taken[unit].raw:
                    self._supersede(made_from[0], taken[unit])
            if step.raw is None:
                self._block_units_of_inputs(step, product, set(taken))
        if (
            not taken
            and name in self.selection.products
            and not any(Identity.parse(b["identity"]).type == name for b in self.blocked)
        ):
            sources = [s.raw or " and ".join(self._lacking(s)) for s in self._candidates(instrument, product)]
            reason = f"there are no raw data in {', or in '.join(filter(None, sources)) or 'what it needs'}"
            self._block(Identity(name, self.pass_.number), reason)

    def _candidates(self, instrument: Instrument, product: ProductType) -> tuple[Step, ...]:
        steps = instrument.steps_for(product.name)
        source = self.selection.source
        if source and any(s.raw == source for s in steps):
            return tuple(s for s in steps if s.raw == source)
        return steps

    def _supersede(self, granules: tuple[Granule, ...], better: Step) -> None:
        for granule in granules:
            path = str(next(iter(granule.files.values())))
            entry = {"granule": granule.id, "version": granule.version, "by": better.raw, "path": path}
            if entry not in self.superseded:
                self.superseded.append(entry)

    def _block(self, identity: Identity, reason: str) -> None:
        self.blocked.append({"identity": str(identity), "reason": reason})

    def _units(self, step: Step, product: ProductType) -> dict[str, Unit]:
        if step.raw is None:
            return self._units_of_inputs(step, product)
        units: dict[str, list[Granule]] = {}
        for granule in self.discovery.of(step.raw):
            unit = {"granule": granule.id, "group": granule.group or granule.id, "pass": ""}[product.unit]
            units.setdefault(unit, []).append(granule)
        return {u: (tuple(g), hull(Span(x.start, x.stop) for x in g)) for u, g in units.items()}

    def _units_of_inputs(self, step: Step, product: ProductType) -> dict[str, Unit]:
        """Units of a step without raw data: those of its first input, if all required ones are there in some unit."""
        needs = [n for n in step.needs if n.kind in ("product", "products")]
        if self._lacking(step):
            return {}
        for need in [n for n in needs if not n.optional] or needs:
            given = self.selection.given.get(need.name)
            if given is not None:
                return {"" if product.unit == "pass" else given.unit: ((), given.span)}
            planned = self.done.get(need.name, {})
            if planned and product.unit == "pass":
                granules = tuple(g for p in planned.values() for g in p.granules)
                return {"": (granules, hull(p.span for p in planned.values()))}
            if planned and registry.product_type(need.name)[1].unit == product.unit:
                return {unit: (p.granules, p.span) for unit, p in planned.items()}
        return {}

    def _lacking(self, step: Step) -> list[str]:
        """Product types that a step requires and of which there is none."""
        required = [n.name for n in step.needs if n.kind in ("product", "products") and not n.optional]
        return [n for n in required if n not in self.selection.given and not self.done.get(n)]

    def _block_units_of_inputs(self, step: Step, product: ProductType, there: set[str]) -> None:
        """Name the units that are not there because a required input could not be made."""
        required = {n.name for n in step.needs if n.kind in ("product", "products") and not n.optional}
        bad = dict.fromkeys(sorted(self.failed), "failed") | {b["identity"]: "is blocked" for b in self.blocked}
        for name, state in bad.items():
            identity = Identity.parse(name)
            unit = "" if product.unit == "pass" else identity.unit
            if identity.type in required and unit not in there:
                there.add(unit)
                self._block(Identity(product.name, self.pass_.number, unit), f"needs {name}, which {state}")

    def _add_unit(self, instrument: Instrument, product: ProductType, step: Step, unit: str, made_from: Unit) -> None:
        identity = Identity(product.name, self.pass_.number, unit)
        granules, whole = made_from
        window = self.selection.window
        if str(identity) in self.failed or (window is not None and not whole.overlaps(window)):
            return
        try:
            tables = {n.argument: self._tables(n, step, whole) for n in step.needs if n.kind == "table"}
            segments, cut = segments_of(product, step, whole, granules, tables, window)
            if not segments:
                return
            inputs = {n.argument: self._input(n, unit) for n in step.needs if n.kind in ("product", "products")}
        except (_BlockedError, CalibrationError) as error:
            self._block(identity, str(error))
            return
        span = Span(segments[0].start, segments[-1].stop)
        reach = span.pad(step.halo)
        used = tuple(g for g in granules if g.start < reach.stop and g.stop > reach.start) if step.raw else ()
        tables = {a: [(t, s) for t, s in chosen if s.overlaps(span)] for a, chosen in tables.items()}
        parameters = {p.name: p.default for p in step.parameters}
        chosen = self.selection.parameters.get(product.name, {})
        parameters.update({name: value for name, value in chosen.items() if name in parameters})
        recipe = self._recipe(identity, instrument, product, step, used, tables, inputs, parameters, cut, reach)
        key = key_of(recipe)
        path = self.store.product_path(identity, key)
        kept = path.exists()
        self.done[product.name][unit] = Planned(
            identity, product, step, span, segments, used, tables, inputs, parameters, recipe, key, path,
            "keep" if kept else "make", [] if kept else self._why(identity, recipe),
        )  # fmt: skip

    def _why(self, identity: Identity, recipe: Recipe) -> list[dict[str, Any]]:
        # A recipe that did not change although the product is not there: its file was deleted.
        return why(recipe, self.last_recipes.get(str(identity))) or why(recipe, None)

    def _input(self, need: Need, unit: str) -> Input:
        given = self.selection.given.get(need.name)
        if given is not None:
            return {given.unit: given} if need.kind == "products" else given
        planned = self.done.get(need.name, {})
        if need.kind == "products":
            if not planned and not need.optional:
                raise _BlockedError(f"needs {need.name}, of which there is none")
            return dict(planned) if planned else None
        found = planned.get("" if "" in planned else unit)
        if found is None and not need.optional:
            raise _BlockedError(self._missing(need, unit))
        return found

    def _missing(self, need: Need, unit: str) -> str:
        """Why an input is not there: it failed, or is itself blocked."""
        whole = Identity(need.name, self.pass_.number)
        names = [str(i) for i in (whole, Identity(need.name, self.pass_.number, unit))]
        failed = next((n for n in names if n in self.failed), None)
        blocked = next((b["identity"] for b in self.blocked if b["identity"] in names), None)
        if failed or blocked:
            return f"needs {failed or blocked}, which {'failed' if failed else 'is blocked'}"
        return f"needs {need.name}, for which there are no raw data"

    def _tables(self, need: Need, step: Step, span: Span) -> list[tuple[Table, Span]]:
        folder, name = need.name.split(".", 1)
        if step.over == "unit":
            # A unit computed whole takes the table valid at its middle.
            middle = (span.start + span.stop) / 2
            selected = self.selection.context.select(folder, name, Span(middle, math.nextafter(middle, math.inf)))
            return [(selected[0][0], ALWAYS)]
        return self.selection.context.select(folder, name, span)

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
