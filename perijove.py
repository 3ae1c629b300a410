"""The face of perijove: the few names a notebook needs.

>>> import perijove
>>> perijove.run(1, raw="raw", instruments=["mag"])                     # doctest: +SKIP
>>> field = perijove.open_product("mag.field/PJ01")                     # doctest: +SKIP

Everything returned is an `xarray.Dataset` or a plain document; nothing here needs a server.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import xarray as xr
    from distributed import Client

    from calibration.tables import Table

_HOME = Path(__file__).resolve().parent
_OWN = ("pipeline", "calibration", "instruments", "flows")


class _OwnPackages(importlib.abc.MetaPathFinder):
    """Finds the project's packages beside this file, whatever lies in the working folder under their names."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if path is None and name in _OWN:
            return importlib.machinery.PathFinder.find_spec(name, [str(_HOME)])
        return None


def _claim_packages() -> None:
    for name in _OWN:
        loaded = sys.modules.get(name)
        origin = getattr(loaded, "__file__", None)
        if loaded is not None and (origin is None or Path(origin).resolve().parent.parent != _HOME):
            raise ImportError(f"a module named {name!r} is loaded already ({origin}): import perijove before it")
    if not any(isinstance(finder, _OwnPackages) for finder in sys.meta_path):
        sys.meta_path.insert(0, _OwnPackages())


_claim_packages()


def open_raw(path: str | Path) -> xr.Dataset:
    """Raw dataset of the granule a file stands for, as telemetered.

    Raises
    ------
    InputError
        if no instrument knows the file's name, or the file cannot be read.
    """
    from pipeline import notebook

    return notebook.open_raw(Path(path))


def open_product(name: str | Path, *, store: str | Path | None = None) -> xr.Dataset:
    """Product by identity (``mag.field/PJ01``), key (8 digits or more) or path."""
    from pipeline import notebook

    return notebook.open_product(str(name), store)


def table(
    instrument: str, name: str, time: str | float, *, context: str = "default", store: str | Path | None = None
) -> Table:
    """Calibration table in force at a time (UTC text or et)."""
    from pipeline import notebook

    return notebook.table(instrument, name, time, context, store)


def calibrate(
    source: str | Path,
    product: str,
    *,
    tables: Iterable[Table | str | Path] | None = None,
    context: str | None = None,
    kernels: str | Path | None = None,
    inputs: Mapping[str, str | Path] | None = None,
    parameters: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Make one product from raw data in this process, without a store.

    Parameters
    ----------
    source : raw file, or folder of raw files, of one pass.
    product : product type (``mag.field``); with ``/unit`` behind it one unit of several.
    tables : tables that stand in place of the context's.
    context : name of the calibration context.
    kernels : folder or meta-kernel of SPICE kernels.
    inputs : product type to file, for inputs that shall not be made.
    parameters : parameters of the step that makes it, by name.
    """
    from pipeline import notebook

    return notebook.calibrate(Path(source), product, tables, context, kernels, inputs, parameters)


def plan(pass_number: int, **options: Any) -> dict[str, Any]:
    """Which products would be made and why; options as of `run`. Changes nothing."""
    from pipeline import notebook

    return notebook.plan(pass_number, **options)


def run(pass_number: int, *, client: Client | None = None, **options: Any) -> dict[str, Any]:
    """Make the products of a pass in this process, or on a Dask client; returns the run's record.

    Options: ``raw``, ``instruments``, ``products``, ``kernels``, ``window``, ``source``, ``store``, ``context``,
    ``settings``, ``tables``, ``keep_raw``, named and meant as on the command line; ``pictures`` are not drawn unless
    it is true.
    """
    from pipeline import notebook

    executor = None
    if client is not None:
        from flows.cluster import OnDask

        executor = OnDask(client)
    return notebook.run(pass_number, executor=executor, **options)


def compare(a: str, b: str, *, store: str | Path | None = None) -> dict[str, Any]:
    """How far the products of two runs are apart, per variable, in its units and in sigma."""
    from pipeline import notebook

    return notebook.compare(a, b, store)


def main() -> None:
    """Run the command line."""
    from pipeline.cli import main as command_line

    command_line()
