"""Recipes and keys: what a product is made of, and the name that follows from it.

A recipe is a plain JSON document; the key is the SHA-256 of its canonical text. Equal recipes give equal bytes, so
a product exists already if one with its key does. `why` says in which parts two recipes differ.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

Recipe = dict[str, Any]

# Part of the recipe -> the kind of reason given when it changed.
_KINDS = {
    "raw": "raw",
    "tables": "table",
    "inputs": "input",
    "parameters": "parameter",
    "window": "parameter",
    "geometry": "geometry",
    "code": "code",
    "schema": "code",
}


def canonical(document: Any) -> bytes:
    """JSON with sorted keys and no spaces; floats in their shortest exact form."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def key_of(recipe: Recipe) -> str:
    """Key of the product a recipe describes: 64 hexadecimal digits."""
    return hashlib.sha256(canonical(recipe)).hexdigest()


def why(new: Recipe, old: Recipe | None) -> list[dict[str, Any]]:
    """Reasons for making `new` when `old` was there: ``[{"kind", "name", "old", "new"}]``; empty if equal."""
    if old is None:
        return [{"kind": "missing", "name": new["product"], "old": None, "new": None}]
    reasons: list[dict[str, Any]] = []
    for part, kind in _KINDS.items():
        before, after = old.get(part), new.get(part)
        if before == after:
            continue
        if isinstance(before, dict) and isinstance(after, dict):
            for name in sorted(before.keys() | after.keys()):
                if before.get(name) != after.get(name):
                    reasons.append({"kind": kind, "name": name, "old": before.get(name), "new": after.get(name)})
        else:
            reasons.append({"kind": kind, "name": part, "old": before, "new": after})
    return reasons
