"""What the functions of `perijove` do; kept apart so that importing `perijove` stays cheap."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from calibration.library import Library
from calibration.tables import Table
from pipeline import registry
from pipeline.clock import Sclk, Span, parse_utc
from pipeline.dataset import netcdf
from pipeline.errors import InputError, UsageError
from pipeline.passes import pass_of
from pipeline.runs.compare import compare_runs
from pipeline.runs.execute import Executor, InProcess
from pipeline.runs.run import Request, carry_out, prepare, product_entry, round_with
from pipeline.runs.store import Store


def default_store() -> Path:
    """The store when none is named: ``PERIJOVE_STORE``, else ``perijove-store`` in the working folder."""
    return Path(os.environ.get("PERIJOVE_STORE", "perijove-store"))


def open_raw(path: Path) -> xr.Dataset:
    """See `perijove.open_raw`."""
    if not path.is_file():
        raise InputError(path, "there is no such file")
    clock = Sclk.default()
    for name in registry.names():
        for form in registry.load(name).formats:
            if re.fullmatch(form.pattern, path.name, re.IGNORECASE):
                return form.read([form.open(path, clock)], None, clock)
    raise InputError(path, "no instrument knows a raw file of this name")


def open_product(name: str, store: str | Path | None) -> xr.Dataset:
    """See `perijove.open_product`."""
    if name.endswith(".nc"):
        return netcdf.open_product(Path(name))
    return netcdf.open_product(Store(Path(store or default_store())).find(name))


def table(instrument: str, name: str, time: str | float, context: str, store: str | Path | None) -> Table:
    """See `perijove.table`."""
    et = float(parse_utc(time)) if isinstance(time, str) else float(time)
    registry.load(instrument)
    folders = {n: registry.load(n).tables for n in registry.names()}
    library = Library(folders, Path(store or default_store()))
    return library.context(context).select(instrument, name, Span(et, float(np.nextafter(et, np.inf))))[0][0]


def calibrate(
    source: Path,
    product: str,
    tables: Iterable[Table | str | Path] | None,
    context: str | None,
    kernels: str | Path | None,
    inputs: Mapping[str, str | Path] | None,
    parameters: Mapping[str, Any] | None,
) -> xr.Dataset:
    """See `perijove.calibrate`."""
    kind, _, unit = product.partition("/")
    instrument, _ = registry.product_type(kind)
    with tempfile.TemporaryDirectory(prefix="perijove-") as scratch:
        folder = Path(scratch)
        overrides = []
        for number, entry in enumerate(tables or ()):
            if isinstance(entry, Table):
                entry = entry.write(folder / f"{number}-{entry.name}.yaml")
            overrides.append(Path(entry))
        request = Request(
            pass_number=_pass_of_source(source),
            store=folder / "store",
            raw=source if source.is_dir() else source.parent,
            instruments=(instrument.name,),
            products=(kind,),
            kernels=Path(kernels) if kernels else None,
            context=context or "default",
            settings={f"{kind}.{name}": str(value) for name, value in (parameters or {}).items()},
            tables=tuple(overrides),
            given={name: Path(path) for name, path in (inputs or {}).items()},
        )
        session = prepare(request)
        if source.is_file():
            session.discovery.granules = [
                g for g in session.discovery.granules if source.resolve() in {p.resolve() for p in g.files.values()}
            ]
        record = carry_out(session, round_with(InProcess(), session, lambda name, done, total: None, None))
        found = [p for p in record["products"] if p["type"] == kind and (not unit or p["unit"] == unit)]
        if len(found) != 1:
            raise UsageError(f"{product}: choose one of {', '.join(p['identity'] for p in found) or 'none'}")
        if found[0]["status"] != "made":
            raise InputError(source, found[0].get("reason") or f"{product} is {found[0]['status']}")
        return netcdf.open_product(Path(found[0]["path"]))


def _pass_of_source(source: Path) -> int:
    """The pass of the first granule found."""
    files = [source] if source.is_file() else sorted(p for p in source.rglob("*") if p.is_file())
    clock = Sclk.default()
    forms = [f for name in registry.names() for f in registry.load(name).formats]
    for path in files:
        for form in forms:
            if re.fullmatch(form.pattern, path.name, re.IGNORECASE):
                granule = form.open(path, clock)
                return int(pass_of((granule.start + granule.stop) / 2))
    raise InputError(source, "no instrument knows a raw file here")


def request_of(pass_number: int, **options: Any) -> Request:
    """A `Request` from a notebook's options: paths may be text, lists may be lists."""
    store = Path(options.pop("store", None) or default_store())
    for name in ("raw", "kernels"):
        if options.get(name) is not None:
            options[name] = Path(options[name])
    for name in ("instruments", "products"):
        options[name] = tuple(options.get(name) or ())
    options["tables"] = tuple(Path(t) for t in options.get("tables") or ())
    options["settings"] = {name: str(value) for name, value in (options.get("settings") or {}).items()}
    return Request(pass_number=pass_number, store=store, **options)


def plan(pass_number: int, **options: Any) -> dict[str, Any]:
    """See `perijove.plan`."""
    planned = prepare(request_of(pass_number, **options)).plan()
    make = [product_entry(p, None) | {"status": "make"} for p in planned.to_make()]
    return {"make": make, "keep": len(planned.products) - len(make), "blocked": planned.blocked}


def run(pass_number: int, *, executor: Executor | None, **options: Any) -> dict[str, Any]:
    """See `perijove.run`."""
    session = prepare(request_of(pass_number, **options))
    return carry_out(session, round_with(executor or InProcess(), session, lambda name, done, total: None, None))


def compare(a: str, b: str, store: str | Path | None) -> dict[str, Any]:
    """See `perijove.compare`."""
    return compare_runs(Store(Path(store or default_store())), a, b)
