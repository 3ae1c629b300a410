"""How far two runs are apart: per variable, in its own units and in sigma."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline import registry
from pipeline.dataset import netcdf
from pipeline.dataset.uncertainty import sigma
from pipeline.runs.keys import why
from pipeline.runs.store import Store

QUANTILES = (0.0, 0.01, 0.05, 0.16, 0.5, 0.84, 0.95, 0.99, 1.0)


def compare_runs(store: Store, first: str, second: str) -> dict[str, Any]:
    """Compare the products two runs have in common.

    Returns
    -------
    dict
        ``{"a", "b", "same": N, "only_a": [...], "only_b": [...], "products": [{"identity", "why", "same_values",
        "variables": [{"variable", "units", "n", "changed", "max_abs", "rms", "quantiles", "max_sigma", "rms_sigma",
        "quantiles_sigma"}]}]}``;
        `same` counts equal keys, `why` says in what the second recipe differs from the first, `changed` counts
        samples, also those that are missing in one; `quantiles` are those of the differences (second less first) at
        `QUANTILES`; sigma is the first run's total uncertainty. A product that is no longer in the store has
        ``problem`` instead of ``same_values``.
    """
    a, b = store.run(first), store.run(second)
    made_a, made_b = ({p["identity"]: p for p in r["products"] if p["key"]} for r in (a, b))
    common = [i for i in made_a if i in made_b]
    differing = [i for i in common if made_a[i]["key"] != made_b[i]["key"]]
    return {
        "a": a["run"],
        "b": b["run"],
        "same": len(common) - len(differing),
        "only_a": sorted(made_a.keys() - made_b.keys()),
        "only_b": sorted(made_b.keys() - made_a.keys()),
        "products": [_compare(i, made_a[i], made_b[i]) for i in differing],
    }


def _compare(identity: str, a: dict[str, Any], b: dict[str, Any]) -> dict[str, Any]:
    entry: dict[str, Any] = {"identity": identity, "why": [], "variables": []}
    paths = [Path(p["path"]) for p in (a, b)]
    if not all(p.exists() for p in paths):
        return entry | {"problem": "one of the two is no longer in the store"}
    first, second = (netcdf.open_product(p) for p in paths)
    entry["why"] = why(json.loads(second.attrs["recipe"]), json.loads(first.attrs["recipe"]))
    schema = registry.product_type(a["type"])[1].schema
    if schema.index:
        first, second = xr.align(first, second, join="inner")
    for variable in schema.variables:
        if variable.name in first and variable.name in second and first[variable.name].dtype.kind in "fiu":
            # Of copies, which take along what they have read when they go.
            entry["variables"].append(_difference(first.copy(deep=True), second.copy(deep=True), variable.name))
    entry["same_values"] = all(v["changed"] == 0 for v in entry["variables"])
    return entry


def _difference(first: xr.Dataset, second: xr.Dataset, name: str) -> dict[str, Any]:
    a, b = first[name], second[name]
    x, y = (np.asarray(v.values, np.float64) for v in (a, b))
    one_missing = np.isnan(x) != np.isnan(y)
    delta = np.where(np.isnan(x) | np.isnan(y), 0.0, y - x)
    row: dict[str, Any] = {
        "variable": name,
        "units": a.attrs.get("units", "1"),
        "n": int(x.size),
        "changed": int(np.count_nonzero(delta) + np.count_nonzero(one_missing)),
        "max_abs": float(np.max(np.abs(delta), initial=0.0)),
        "rms": float(np.sqrt(np.mean(delta**2))) if x.size else 0.0,
        "quantiles": _quantiles(delta, ~(np.isnan(x) | np.isnan(y))),
    }
    if any(str(v).startswith(f"{name}_") for v in first.data_vars if str(v).endswith(("_random", "_systematic"))):
        total = np.asarray(sigma(first, name).values)
        pulls = np.divide(delta, total, out=np.zeros_like(delta), where=np.isfinite(total) & (total > 0))
        row["max_sigma"] = float(np.max(np.abs(pulls), initial=0.0))
        row["rms_sigma"] = float(np.sqrt(np.mean(pulls**2))) if x.size else 0.0
        row["quantiles_sigma"] = _quantiles(pulls, ~(np.isnan(x) | np.isnan(y)))
    return row


def _quantiles(values: NDArray[np.float64], there: NDArray[np.bool_]) -> list[float] | None:
    """The distribution of what is in both; None if nothing is."""
    return np.quantile(values[there], QUANTILES).tolist() if there.any() else None
