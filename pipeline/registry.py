"""Which instruments there are: the packages of the `instruments` folder, and those other distributions bring.

A foreign plugin announces itself by an entry point in the group ``perijove.instruments`` that loads to its
`Instrument`. Names are known without importing anything of an instrument.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from functools import cache
from importlib.metadata import EntryPoint, entry_points

from pipeline.errors import UsageError, nearest
from pipeline.instrument import Instrument, ProductType

GROUP = "perijove.instruments"
BUILT_IN = "instruments"


@cache
def _sources() -> dict[str, str | EntryPoint]:
    spec = importlib.util.find_spec(BUILT_IN)
    folders = spec.submodule_search_locations if spec and spec.submodule_search_locations else []
    found: dict[str, str | EntryPoint] = {
        m.name: f"{BUILT_IN}.{m.name}" for m in pkgutil.iter_modules(folders) if m.ispkg
    }
    for point in entry_points(group=GROUP):
        if point.name in found:
            raise UsageError(f"plugin {point.value}: an instrument named {point.name} exists already")
        found[point.name] = point
    return found


def names() -> list[str]:
    """Names of all instruments, sorted."""
    return sorted(_sources())


@cache
def load(name: str) -> Instrument:
    """The declaration of an instrument; raises UsageError offering the nearest names."""
    source = _sources().get(name)
    if source is None:
        raise UsageError(f"no instrument {name!r}; {nearest(name, names())}")
    loaded = importlib.import_module(source).INSTRUMENT if isinstance(source, str) else source.load()
    if not isinstance(loaded, Instrument) or loaded.name != name:
        raise UsageError(f"plugin {name}: {source} does not declare an Instrument of that name")
    return loaded


def product_type(name: str) -> tuple[Instrument, ProductType]:
    """The product type of that name and its instrument; raises UsageError offering the nearest names."""
    owner = name.split(".")[0]
    if owner in names():
        instrument = load(owner)
        for product in instrument.products:
            if product.name == name:
                return instrument, product
        known = [p.name for p in instrument.products]
    else:
        known = [p.name for n in names() for p in load(n).products]
    raise UsageError(f"no product type {name!r}; {nearest(name, known)}")
