"""The part of a dataset that PDS4 has no words for, as a text beside the data: attributes, dimensions, provenance.

A JSON document in ASCII: ``attributes`` of the dataset, its recipe among them, and for every variable its dimensions,
type and attributes. Numbers that are not Python's own carry their type.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.dataset.parts import Part


def supplement(parts: Sequence[Part], attrs: Mapping[str, Any]) -> bytes:
    """The document of a dataset."""
    variables = {
        p.name: {
            "dims": list(p.dims),
            "shape": list(p.shape),
            "dtype": "str" if p.text else p.dtype.str,
            "coordinate": p.coordinate,
            "attributes": _packed(p.attrs),
        }
        for p in parts
    }
    document = {"attributes": _packed(attrs), "variables": variables}
    return (json.dumps(document, indent=1, ensure_ascii=True) + "\n").encode("ascii")


def _packed(attrs: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _pack(attrs[name]) for name in sorted(attrs)}


def _pack(value: Any) -> Any:
    if isinstance(value, str | bool | int) or (isinstance(value, float) and not isinstance(value, np.generic)):
        return value
    array = np.asarray(value)
    if array.dtype.kind in "OU":
        return {"dtype": "str", "shape": list(array.shape), "value": [str(v) for v in array.ravel()]}
    # Through repr, which reads back exactly.
    values = [repr(v) if array.dtype.kind == "f" else int(v) for v in array.ravel().tolist()]
    return {"dtype": array.dtype.str, "shape": list(array.shape), "value": values}


def unpacked(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes as they were."""
    return {name: _unpack(value) for name, value in attrs.items()}


def _unpack(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if value["dtype"] == "str":
        return np.array(value["value"], object).reshape(value["shape"])
    dtype = np.dtype(value["dtype"])
    numbers = [float(v) for v in value["value"]] if dtype.kind == "f" else value["value"]
    array = np.array(numbers, dtype).reshape(value["shape"])
    return array if array.shape else array[()]
