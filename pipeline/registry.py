"""Which instruments there are: the packages of the `instruments` folder, and those other distributions bring.

A foreign plugin announces itself by an entry point in the group ``perijove.instruments`` that loads to its
`Instrument`. Names are known without importing anything of an instrument.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from contextlib import suppress
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from calibration.library import Library
from pipeline.errors import PerijoveError, UsageError, nearest
from pipeline.instrument import Instrument, ProductType

GROUP = "perijove.instruments"
BUILT_IN = "instruments"


class PluginError(PerijoveError):
    """An instrument whose package is broken."""

    exit_status = 2


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
    """The declaration of an instrument; raises UsageError offering the nearest names, PluginError if it is broken."""
    source = _sources().get(name)
    if source is None:
        raise UsageError(f"no instrument {name!r}; {nearest(name, names())}")
    try:
        loaded = importlib.import_module(source).INSTRUMENT if isinstance(source, str) else source.load()
    except Exception as error:  # of whoever wrote the plugin
        what = source if isinstance(source, str) else source.value
        raise PluginError(f"instrument {name} ({what}) cannot be loaded: {type(error).__name__}: {error}") from error
    if not isinstance(loaded, Instrument) or loaded.name != name:
        raise PluginError(f"instrument {name}: {source} does not declare an Instrument of that name")
    return loaded


def available() -> list[Instrument]:
    """All instruments that can be loaded."""
    found = []
    for name in names():
        with suppress(PluginError):
            found.append(load(name))
    return found


def library(store: Path) -> Library:
    """The tables of all instruments, with the contexts certified in a store."""
    return Library({i.name: i.tables for i in available()}, store)


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
        known = [p.name for i in available() for p in i.products]
    raise UsageError(f"no product type {name!r}; {nearest(name, known, 'perijove list instruments')}")
