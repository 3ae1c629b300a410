"""Registered context products: the mission, the spacecraft, its instruments, targets, by the names PDS knows them.

``data/juno_context.json`` is an extract of ``registered_context_products.json`` of NASA's validate (2026-08).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

REGISTRY = Path(__file__).parent / "data" / "juno_context.json"
ROOT = "urn:nasa:pds:context"
INVESTIGATION = f"{ROOT}:investigation:mission.juno"
HOST = f"{ROOT}:instrument_host:spacecraft.jno"


@dataclass(frozen=True)
class Context:
    """A registered context product.

    Parameters
    ----------
    version : the registered one; of the identifier without it any is meant.
    names : the names that may stand in a label; the first is the one written here.
    type : its type, as a label says it.
    """

    lid: str
    version: str
    names: tuple[str, ...]
    type: str

    @property
    def name(self) -> str:
        """The name written in labels."""
        return self.names[0]


@cache
def registered() -> dict[str, Context]:
    """All registered context products known here, by identifier."""
    found = {}
    for entry in json.loads(REGISTRY.read_text(encoding="utf-8")):
        lid, version = entry["lidvid"].split("::")
        good = [n for n in entry["name"] if not n.startswith(("NAIF ID", "urn:"))]
        # Of a satellite the plain name is the shortest; an instrument's full name is given first.
        names = tuple(sorted(good, key=len)) if ":target:" in lid else tuple(good)
        kind = "Instrument" if ":instrument:" in lid else "Host" if ":instrument_host:" in lid else entry["type"][0]
        found[lid] = Context(lid, version, names, kind)
    return found


def instrument(identifier: str) -> Context | None:
    """The instrument of that identifier (``fgm.jno``), if it is registered."""
    return registered().get(f"{ROOT}:instrument:{identifier}")


def target(identifier: str) -> Context:
    """The target of that identifier (``planet.jupiter``); raises KeyError."""
    return registered()[f"{ROOT}:target:{identifier}"]
