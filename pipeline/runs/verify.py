"""Checking a run: that every product still is what it says, and that it agrees with a simulation's truth."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from pipeline import registry
from pipeline.dataset import netcdf
from pipeline.errors import InputError, StoreError
from pipeline.files import file_sha256
from pipeline.runs.keys import key_of
from pipeline.runs.store import Identity, Store
from pipeline.testing.pulls import compare_to_truth


def verify(store: Store, run_name: str | None, truth: Path | None) -> dict[str, Any]:
    """Check a run.

    Returns
    -------
    dict
        ``{"ok", "run", "products": [{"identity", "ok", "problem"}], "variables": [...]}``; `variables` only with
        `truth`, one entry per variable as `pipeline.testing.pulls` describes it.
    """
    record = store.run(run_name)
    hashes: dict[str, str] = {}
    for one in store.runs():  # newest first; only the run that made a product says its hash
        for p in one["products"]:
            if p.get("sha256"):
                hashes.setdefault(p["key"], p["sha256"])
    products = [_integrity(p, hashes.get(p["key"])) for p in record["products"] if p["path"]]
    document: dict[str, Any] = {"ok": all(p["ok"] for p in products), "run": record["run"], "products": products}
    if truth is not None:
        variables, problems = _against_truth(record, truth)
        products += problems
        document["variables"] = variables
        document["ok"] = document["ok"] and not problems and bool(variables) and all(v["ok"] for v in variables)
    return document


def _integrity(product: dict[str, Any], sha256: str | None) -> dict[str, Any]:
    path = Path(product["path"])
    problem = None
    if not path.exists():
        problem = None if product["status"] not in ("made", "kept") else "its file is gone"
    elif sha256 and file_sha256(path) != sha256:
        problem = "its bytes have changed since it was made"
    else:
        try:
            attrs = netcdf.read_attrs(path)
            if key_of(json.loads(attrs["recipe"])) != product["key"] or attrs["product_key"] != product["key"]:
                problem = "its key does not follow from its recipe"
        except (StoreError, KeyError, ValueError) as error:
            problem = f"it cannot be read: {error}"
    return {"identity": product["identity"], "ok": problem is None, "problem": problem}


def _against_truth(record: dict[str, Any], truth: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    files = sorted(truth.rglob("*.nc"))
    if not files:
        raise InputError(truth, "holds no truth; `perijove simulate` writes DIR/truth")
    made = {p["identity"]: p for p in record["products"] if p["status"] in ("made", "kept")}
    planned = {p["identity"] for p in record["products"]}
    instruments = {p["instrument"] for p in record["products"]}
    variables: list[dict[str, Any]] = []
    problems: list[dict[str, Any]] = []
    for file in files:
        identity = Identity.parse(str(netcdf.read_attrs(file)["product"]))
        if str(identity) not in made:
            if str(identity) in planned or identity.type.split(".")[0] in instruments:
                problems.append({"identity": str(identity), "ok": False, "problem": "has a truth but was not made"})
            continue
        schema = registry.product_type(identity.type)[1].schema
        product = netcdf.open_product(Path(made[str(identity)]["path"]))
        results = compare_to_truth(product, netcdf.open_product(file), schema)
        variables += [
            {"instrument": identity.type.split(".")[0], "product": str(identity)}
            | {k: v for k, v in dataclasses.asdict(r).items() if k not in ("instrument", "product")}
            for r in results
        ]
    return variables, problems
