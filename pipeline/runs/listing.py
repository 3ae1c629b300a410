"""What there is to list, as plain rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from calibration.library import Library
from calibration.tables import Table
from pipeline import registry
from pipeline.clock import format_utc, parse_utc
from pipeline.dataset import netcdf
from pipeline.errors import StoreError, UsageError, nearest
from pipeline.passes import passes
from pipeline.runs.store import Identity, Store


def et_of(utc: str) -> float:
    """Et of a UTC text that the user wrote; raises UsageError."""
    try:
        return float(parse_utc(utc))
    except ValueError as error:
        raise UsageError(str(error)) from error


def library_of(store: Path) -> Library:
    """All instruments' tables, with the contexts certified in a store."""
    return Library({i.name: i.tables for i in registry.available()}, store)


def listing(what: str, store: Path, context: str) -> list[dict[str, Any]]:
    """Rows of one kind: passes, instruments, products, runs, tables or contexts."""
    if what == "passes":
        return [{"pass": p.number, "closest_approach": p.utc, "attitude": p.attitude} for p in passes()]
    if what == "instruments":
        return [_instrument(n) for n in registry.names()]
    if what == "products":
        return [_product(p) for p in Store(store).products()]
    if what == "runs":
        return [_run(r) for r in Store(store).runs()]
    library = library_of(store)
    if what == "contexts":
        return library.list_contexts()
    return library.list_tables(library.context(context))


def _instrument(name: str) -> dict[str, Any]:
    instrument = registry.load(name)
    return {
        "instrument": name,
        "title": instrument.title,
        "formats": [f.name for f in instrument.formats],
        "products": [p.name for p in instrument.products],
        "parameters": {
            f"{s.produces}.{p.name}": p.default
            for product in instrument.products
            for s in instrument.steps_for(product.name)
            for p in s.parameters
        },
    }


def _product(path: Path) -> dict[str, Any]:
    """A product as its file says; of one that cannot be read, what its place in the store says, and the problem."""
    row: dict[str, Any] = {"bytes": path.stat().st_size, "path": str(path), "problem": None}
    try:
        attrs = netcdf.read_attrs(path)
        return {"identity": attrs["product"], "key": attrs["product_key"]} | row
    except (StoreError, KeyError) as error:
        unit = "" if path.parent.name == "pass" else path.parent.name
        identity = Identity(path.parents[2].name, int(path.parents[1].name[2:]), unit)
        return {"identity": str(identity), "key": path.stem} | row | {"problem": str(error)}


def _run(record: dict[str, Any]) -> dict[str, Any]:
    count: dict[str, int] = {}
    for product in record["products"]:
        count[product["status"]] = count.get(product["status"], 0) + 1
    return {
        "run": record["run"],
        "pass": record["pass"],
        "ended": record["ended"],
        "seconds": record["seconds"],
        "peak_mb": record["peak_mb"],
        "products": count,
        "quarantined": len(record["quarantined"]),
        "context": record["context"]["name"],
    }


def show_table(name: str, time: str | None, context: str, store: Path) -> dict[str, Any]:
    """A table's content as a document: from a file, or by ``instrument.name`` from a context."""
    if name.endswith((".yaml", ".yml")):
        return {"name": name, "entries": [{"start": None, "stop": None, "table": _document(Table.read(Path(name)))}]}
    folder, _, table = name.partition(".")
    if not table:
        raise UsageError(f"{name!r}: a table is named instrument.name, or by its file")
    et = None if time is None else et_of(time)
    chosen = library_of(store).context(context)
    if name not in chosen.entries:
        raise UsageError(f"no table {name!r} in context {chosen.alias}; {nearest(name, list(chosen.entries))}")
    entries = [
        {"start": _utc(span.start), "stop": _utc(span.stop), "table": _document(found)}
        for found, span in chosen.intervals(folder, table)
        if et is None or span.start <= et < span.stop
    ]
    return {"name": name, "entries": entries}


def _document(table: Table) -> dict[str, Any]:
    return {
        "title": table.title,
        "hash": table.hash,
        "quantities": {
            name: {
                "dims": list(q.dims),
                "units": q.units,
                "value": q.value.tolist(),
                "uncertainty": None if q.uncertainty is None else q.uncertainty.tolist(),
                "pedigree": q.pedigree,
                "source": q.source,
            }
            for name, q in table.quantities.items()
        },
    }


def _utc(et: float) -> str | None:
    return str(format_utc(et)) if abs(et) < 1e12 else None


def certify_tables(
    files: tuple[Path, ...], store: Path, *, alias: str, start: str | None, stop: str | None, base: str, comment: str
) -> dict[str, Any]:
    """Certify tables into a new context of the store."""
    Store(store).prepare()
    first, last = (None if t is None else et_of(t) for t in (start, stop))
    context = library_of(store).certify(
        [Table.read(f) for f in files], first, last, alias=alias, base=base, comment=comment
    )
    return {"context": context.alias, "hash": context.hash}
