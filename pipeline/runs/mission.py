"""All passes of a store: what a request means for each of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.errors import UsageError
from pipeline.runs.run import Request
from pipeline.runs.store import Store


def requests_of_all(options: dict[str, Any]) -> list[Request]:
    """A request for every pass that was run in a store, in order.

    Parameters
    ----------
    options : of `Request`, with no pass. What they leave open is taken from the pass's last run, so that nothing
        changes but what was asked for: raw data, kernels, window, settings; and the instruments it has products of.

    Raises
    ------
    UsageError
        if nothing was run in the store, or a pass is named.
    """
    if options.get("pass_number") is not None:
        raise UsageError("either a pass or --all-passes")
    last: dict[int, dict[str, Any]] = {}
    instruments: dict[int, set[str]] = {}
    for record in Store(options["store"]).runs():
        last.setdefault(record["pass"], record)
        instruments.setdefault(record["pass"], set()).update(p["instrument"] for p in record["products"] if p["key"])
    if not last:
        raise UsageError(f"no run in {options['store']} yet")
    return [_request(number, last[number], instruments[number], options) for number in sorted(last)]


def _request(number: int, record: dict[str, Any], instruments: set[str], options: dict[str, Any]) -> Request:
    kernels = options.get("kernels") or (Path(record["kernels"]) if record["kernels"] else None)
    window = options.get("window", "all")
    chosen = {
        "raw": options.get("raw") or Path(record["raw"]),
        "kernels": kernels,
        "window": record["window"] if window == "all" else window,
        "settings": record["settings"] | (options.get("settings") or {}),
        "instruments": options.get("instruments") or (() if options.get("products") else tuple(sorted(instruments))),
    }
    return Request(**(options | chosen | {"pass_number": number}))
