"""What there is, as plain rows and documents; certification of tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from calibration.tables import Table
from pipeline import registry
from pipeline.clock import format_utc, parse_utc
from pipeline.dataset import netcdf
from pipeline.errors import StoreError, UsageError, nearest
from pipeline.passes import passes
from pipeline.runs.arrivals import deliveries, refused
from pipeline.runs.store import Identity, Store
from pipeline.runs.summary import counts, flagged, missing


def et_of(utc: str) -> float:
    """Et of a UTC text that the user wrote; raises UsageError."""
    try:
        return float(parse_utc(utc))
    except ValueError as error:
        raise UsageError(str(error)) from error


def listing(what: str, store: Path, context: str) -> list[dict[str, Any]]:
    """Rows of one kind: passes, instruments, products, runs, arrivals, tables or contexts."""
    if what == "passes":
        return [{"pass": p.number, "closest_approach": p.utc, "attitude": p.attitude} for p in passes()]
    if what == "instruments":
        return [_instrument(n) for n in registry.names()]
    if what == "products":
        return [_product(p) for p in Store(store).products()]
    if what == "runs":
        return _runs(Store(store))
    if what == "arrivals":
        return _arrivals(Store(store))
    library = registry.library(store)
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


def _runs(store: Store) -> list[dict[str, Any]]:
    """Recorded runs, and those of which there is a log alone: killed, or still going on."""
    rows = {r["run"]: _run(r) for r in store.runs()}
    for path in (store.root / "logs").glob("*.log"):
        if path.stem not in rows:
            number = int(path.stem.split("-")[1].removeprefix("PJ"))
            unknown = dict.fromkeys(("seconds", "peak_mb", "context"))
            rows[path.stem] = {"run": path.stem, "pass": number, "ended": "killed, or not yet"} | unknown
            rows[path.stem] |= {"products": {}, "quarantined": 0, "flagged": 0, "gaps": 0}
    return [rows[name] for name in sorted(rows, reverse=True)]


def _run(record: dict[str, Any]) -> dict[str, Any]:
    return {
        "run": record["run"],
        "pass": record["pass"],
        "ended": record["ended"],
        "seconds": record["seconds"],
        "peak_mb": record["peak_mb"],
        "context": record["context"]["name"],
        "products": counts(record),
        "quarantined": len(record["quarantined"]),
        "flagged": len(flagged(record)),
        "gaps": len(missing(record)),
    }


def _arrivals(store: Store) -> list[dict[str, Any]]:
    """What was taken, in order; then what is refused, with the reason."""
    rows: list[dict[str, Any]] = [
        {"delivery": d.number, "taken": d.taken.isoformat(), "granule": g["granule"], "format": g["format"],
         "version": g["version"], "pass": g["pass"], "replaces": g["replaces"], "problem": None}
        for d in deliveries(store)
        for g in d.granules
    ]  # fmt: skip
    empty = dict.fromkeys(("delivery", "taken", "granule", "format", "version", "pass", "replaces"))
    return rows + [empty | {"problem": bad["reason"]} for bad in refused(store)]


def show_table(name: str, time: str | None, context: str, store: Path) -> dict[str, Any]:
    """A table's content as a document: from a file, or by ``instrument.name`` from a context."""
    if name.endswith((".yaml", ".yml")):
        return {"name": name, "entries": [{"start": None, "stop": None, "table": _document(Table.read(Path(name)))}]}
    folder, _, table = name.partition(".")
    if not table:
        raise UsageError(f"{name!r}: a table is named instrument.name, or by its file")
    et = None if time is None else et_of(time)
    chosen = registry.library(store).context(context)
    if name not in chosen.entries:
        known = nearest(name, list(chosen.entries), "perijove list tables")
        raise UsageError(f"no table {name!r} in context {chosen.alias}; {known}")
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
    context = registry.library(store).certify(
        [Table.read(f) for f in files], first, last, alias=alias, base=base, comment=comment
    )
    return {"context": context.alias, "hash": context.hash}
