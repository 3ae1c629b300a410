"""Where a product came from, read from the product itself and the runs that had it."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

from calibration.tables import Table
from pipeline import registry
from pipeline.dataset import netcdf
from pipeline.errors import PerijoveError, StoreError
from pipeline.runs.store import Identity, Store


def explain(store: Store, name: str) -> dict[str, Any]:
    """Explain a product.

    Returns
    -------
    dict
        ``{"identity", "key", "path", "title", "step": {"name", "version", "does"}, "raw": {granule: files},
        "tables": [{"name", "title", "hash", "pedigrees", "sources", "interval"}], "inputs": {argument: ...},
        "parameters", "window", "geometry", "runs": [...], "pedigree_counts", "simulated"}``;
        inputs that are in the store are explained in the same way.
    """
    path = store.find(name)
    attrs = netcdf.read_attrs(path)
    recipe = json.loads(attrs["recipe"])
    identity = Identity.parse(recipe["product"])
    instrument, product = registry.product_type(identity.type)
    step = next((s for s in instrument.steps_for(product.name) if s.name == recipe["code"]["step"]), None)
    return {
        "identity": str(identity),
        "key": attrs["product_key"],
        "path": str(path),
        "title": attrs["title"],
        "simulated": "simulated" in attrs,
        "step": {**recipe["code"], "does": inspect.getdoc(step.function) if step else None},
        "raw": recipe["raw"],
        "tables": [
            _table(store, table, entry) for table, entries in recipe["tables"].items() for entry in entries
        ],
        "inputs": {argument: _input(store, key) for argument, key in recipe["inputs"].items()},
        "parameters": recipe["parameters"],
        "window": recipe["window"],
        "geometry": recipe.get("geometry"),
        "pedigree_counts": attrs.get("pedigree_counts", ""),
        "runs": [r["run"] for r in store.runs() if any(p["key"] == attrs["product_key"] for p in r["products"])],
    }  # fmt: skip


def _table(store: Store, name: str, entry: list[Any]) -> dict[str, Any]:
    digest, start, stop = entry
    described: dict[str, Any] = {"name": name, "hash": digest, "interval": [start, stop]}
    try:
        table = Table.read(store.root / "tables" / f"{digest}.yaml")
    except PerijoveError as error:
        return described | {"problem": str(error)}
    sources = sorted({q.source for q in table.quantities.values()})
    return described | {"title": table.title, "pedigrees": table.pedigrees, "sources": sources}


def _input(store: Store, key: Any) -> Any:
    if isinstance(key, dict):
        return {unit: _input(store, one) for unit, one in key.items()}
    if key is None:
        return None
    try:
        return explain(store, key)
    except PerijoveError:
        return {"key": key, "path": None}


def export_product(store: Store, name: str, out: Path | None) -> Path:
    """Write a product as a plain CF file; raises StoreError if the place cannot be written."""
    path = store.find(name)
    identity = netcdf.read_attrs(path)["product"]
    target = out or Path(str(identity).replace("/", "_") + ".nc")
    if target.resolve().is_relative_to(store.root):
        raise StoreError(f"{target} lies in the store: export to another place")
    netcdf.export(path, target)
    return target.resolve()
