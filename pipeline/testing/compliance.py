"""What every instrument must keep, whoever wrote it: the declaration, its tables, its steps' signatures.

Run it on any plugin with ``pytest --pyargs pipeline.testing.compliance -p pipeline.testing.plugin --instrument NAME``;
without ``--instrument`` it takes all that are installed.
"""

from __future__ import annotations

import inspect
import re

import pytest

from calibration.library import Library, audit
from pipeline import registry
from pipeline.clock import Span
from pipeline.dataset.quality import cf_attributes
from pipeline.dataset.schema import Schema
from pipeline.instrument import Instrument, Step
from pipeline.passes import get_pass
from pipeline.runs.fingerprint import fingerprint, locked

NAME = re.compile(r"[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*")


def steps_of(instrument: Instrument) -> list[Step]:
    """All declared steps."""
    return [f.__perijove_step__ for f in instrument.steps]  # type: ignore[attr-defined]


def test_declaration_is_complete(instrument: Instrument) -> None:
    assert instrument.title
    assert instrument.formats
    assert instrument.products
    names = [f.name for f in instrument.formats] + [p.name for p in instrument.products]
    assert len(set(names)) == len(names)
    for name in names:
        assert NAME.fullmatch(name)
        assert name.startswith(f"{instrument.name}.")
    for form in instrument.formats:
        re.compile(form.pattern)


def test_every_product_has_a_step_and_every_step_a_product(instrument: Instrument) -> None:
    products = {p.name for p in instrument.products}
    assert {s.produces for s in steps_of(instrument)} == products
    raw = {f.name for f in instrument.formats}
    for step in steps_of(instrument):
        assert step.version >= 1
        assert step.halo >= 0
        assert step.raw is None or step.raw in raw


def test_steps_are_documented(instrument: Instrument) -> None:
    for step in steps_of(instrument):
        assert inspect.getdoc(step.function), f"{step.name} has no docstring"


def test_inputs_of_steps_exist(instrument: Instrument) -> None:
    library = Library({instrument.name: instrument.tables}, None)
    tables = {row["name"] for row in library.list_tables(library.context("default"))}
    for step in steps_of(instrument):
        for need in step.needs:
            if need.kind == "table" and need.name.startswith(f"{instrument.name}."):
                assert need.name in tables, f"{step.name} needs table {need.name}"
            if need.kind in ("product", "products") and not need.optional:
                registry.product_type(need.name)


def test_segments_are_only_for_steps_over_segments(instrument: Instrument) -> None:
    for step in steps_of(instrument):
        product = instrument.product(step.produces)
        if step.over == "segment":
            assert product.segment, f"{product.name} has no segment length"
            assert product.schema.index, f"{product.name} has no index to join segments along"


def test_schemas_are_sound(instrument: Instrument) -> None:
    for product in instrument.products:
        _check_schema(product.name, product.schema)


def _check_schema(name: str, schema: Schema) -> None:
    names = [v.name for v in (*schema.variables, *schema.coords)]
    assert len(set(names)) == len(names), name
    for variable in schema.variables:
        assert variable.long_name, f"{name}: {variable.name}"
        assert variable.units is not None, f"{name}: {variable.name}"
        if variable.quality:
            assert set(schema[variable.quality].dims) <= set(variable.dims), f"{name}: {variable.name}"
            assert schema[variable.quality].dtype == "uint32", f"{name}: {variable.name}"
        if variable.uncertainties:
            assert variable.source, f"{name}: {variable.name} has an uncertainty but no source"
            assert variable.quality, f"{name}: {variable.name} has an uncertainty but no quality"
    measured = [v for v in schema.variables if v.uncertainties]
    assert measured, f"{name}: no variable states an uncertainty"


def test_flags_are_unique(instrument: Instrument) -> None:
    cf_attributes(instrument.flags)


def test_tables_are_sound(instrument: Instrument) -> None:
    assert not audit(instrument.tables)


def test_tables_cover_every_pass(instrument: Instrument) -> None:
    library = Library({instrument.name: instrument.tables}, None)
    context = library.context("default")
    et = get_pass(1).et
    for step in steps_of(instrument):
        for need in step.needs:
            if need.kind == "table" and need.name.startswith(f"{instrument.name}."):
                assert context.select(instrument.name, need.name.split(".", 1)[1], Span(et, et + 1))


def test_fingerprints_are_locked(instrument: Instrument) -> None:
    """Code a step reaches moved: raise its version or, if the bytes are the same, lock again (see CONTRIBUTING)."""
    lock = locked(instrument.name)
    for step in steps_of(instrument):
        entry = {"version": step.version, "fingerprint": fingerprint(instrument, step)}
        assert lock.get(step.name) == entry, f"{instrument.name}.{step.name}: python -m pipeline.runs.fingerprint"


@pytest.mark.usefixtures("instrument")
def test_import_is_light() -> None:
    """Names are known without importing an instrument."""
    assert registry.names()
