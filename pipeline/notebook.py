"""What the functions of `perijove` do; kept apart so that importing `perijove` stays cheap."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from calibration.tables import Table
from pipeline import registry
from pipeline.clock import Sclk, Span
from pipeline.dataset import netcdf
from pipeline.errors import InputError, PerijoveError, UsageError, nearest
from pipeline.instrument import Granule, RawFormat
from pipeline.passes import pass_of
from pipeline.runs.compare import compare_runs
from pipeline.runs.discover import patterns
from pipeline.runs.execute import Executor, InProcess
from pipeline.runs.listing import et_of
from pipeline.runs.mission import requests_of_all
from pipeline.runs.record import absent_entry, product_entry
from pipeline.runs.run import Request, Session, carry_out, prepare, with_executor
from pipeline.runs.store import Store, default_store


def open_raw(path: Path) -> xr.Dataset:
    """See `perijove.open_raw`."""
    if not path.is_file():
        raise InputError(path, "there is no such file")
    for form, granule in _granules([path.resolve()]):
        return form.read([granule], None, Sclk.default())
    raise InputError(path, "no instrument knows a raw file of this name")


def _granules(files: Iterable[Path]) -> Iterator[tuple[RawFormat, Granule]]:
    """Granules that files stand for, with their format; raises InputError if none of a file's formats can open it."""
    clock = Sclk.default()
    forms = patterns(registry.available())
    for path in files:
        known = [f for p, f in forms if p.fullmatch(path.name)]
        for form in known:
            try:
                yield form, form.open(path, clock)
                break
            except InputError:
                if form is known[-1]:
                    raise


def open_product(name: str, store: str | Path | None) -> xr.Dataset:
    """See `perijove.open_product`."""
    if name.endswith((".xml", ".lblx")):
        from pipeline.archive import opening

        return opening.open_product(Path(name))
    if name.endswith(".nc"):
        return netcdf.open_product(Path(name))
    return netcdf.open_product(Store(Path(store or default_store())).find(name))


def table(instrument: str, name: str, time: str | float, context: str, store: str | Path | None) -> Table:
    """See `perijove.table`."""
    et = et_of(time) if isinstance(time, str) else float(time)
    registry.load(instrument)
    library = registry.library(Path(store or default_store()))
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
            pass_number=_pass_of_source(source, (inputs or {}).values()),
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
        return _only_product(session, kind, unit, source)


def _only_product(session: Session, kind: str, unit: str, source: Path) -> xr.Dataset:
    """Make one product of a session; raises UsageError if several could be meant, InputError if it cannot be made."""
    record = carry_out(session, with_executor(InProcess()))
    found = {p["identity"]: p for p in record["products"] if p["type"] == kind}
    chosen = [p for p in found.values() if not unit or p["unit"] == unit]
    if len(chosen) != 1:
        choice = nearest(f"{kind}/PJ{session.pass_.number:02d}/{unit}", list(found))
        raise UsageError(f"{kind}/{unit}: choose one unit; {choice}" if unit else f"{kind}: choose one unit; {choice}")
    if chosen[0]["status"] != "made":
        raise InputError(source, chosen[0]["reason"] or f"{kind} is {chosen[0]['status']}")
    return netcdf.open_product(Path(chosen[0]["path"])).load()  # the store is gone when this returns


def _pass_of_source(source: Path, inputs: Iterable[str | Path]) -> int:
    """The pass of the first granule that can be opened, else of the input products."""
    if not source.exists():
        raise InputError(source, "there is no such file or folder")
    files = [source] if source.is_file() else sorted(p for p in source.rglob("*") if p.is_file())
    problem: InputError | None = None
    for file in files:
        try:
            for _, granule in _granules([file]):
                return int(pass_of((granule.start + granule.stop) / 2))
        except InputError as error:
            problem = problem or error
    for path in inputs:
        return int(netcdf.read_attrs(Path(path)).get("pass", -1))
    raise problem or InputError(source, "no instrument knows a raw file here")


def request_of(pass_number: int, **options: Any) -> Request:
    """A `Request` from a notebook's options: paths may be text, lists may be lists; raises UsageError."""
    known = [f.name for f in dataclasses.fields(Request) if f.name not in ("pass_number", "given")]
    unknown = next((name for name in options if name not in known), None)
    if unknown is not None:
        raise UsageError(f"no option {unknown!r}; {nearest(unknown, known)}")
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
    return plan_of(request_of(pass_number, **options))


def plan_of(request: Request) -> dict[str, Any]:
    """What a request would make: ``{"make": [...], "keep": N, "blocked": [...], "quarantined": [...]}``."""
    session = prepare(request)
    planned = session.plan()
    make = [shown(product_entry(p, None)) | {"status": "make", "reason": None} for p in planned.to_make()]
    blocked = [shown(absent_entry(b["identity"], "blocked", b["reason"])) for b in planned.blocked]
    keep = len(planned.products) - len(make)
    return {"make": make, "keep": keep, "blocked": blocked, "quarantined": session.discovery.quarantined}


def plan_all(options: dict[str, Any]) -> dict[str, Any]:
    """What a request for every pass of a store would make: ``{"passes": [...], "make": N, "keep": N}``.

    An entry is a pass's plan with ``pass`` and ``error``: why its raw data or tables cannot be had any more; the others
    are planned.
    """
    planned: list[dict[str, Any]] = []
    for request in requests_of_all(options):
        entry: dict[str, Any] = {"pass": request.pass_number, "error": None}
        try:
            planned.append(entry | plan_of(request))
        except PerijoveError as error:
            nothing: dict[str, Any] = {"make": [], "keep": 0, "blocked": [], "quarantined": []}
            planned.append(entry | nothing | {"error": str(error)})
    return {
        "passes": planned,
        "make": sum(len(p["make"]) for p in planned),
        "keep": sum(p["keep"] for p in planned),
    }


def run(pass_number: int, *, executor: Executor | None, **options: Any) -> dict[str, Any]:
    """See `perijove.run`."""
    session = prepare(request_of(pass_number, **options))
    return shown_record(carry_out(session, with_executor(executor or InProcess())))


def shown(entry: dict[str, Any]) -> dict[str, Any]:
    """A product's entry without the recipe, which `explain` tells."""
    return {name: value for name, value in entry.items() if name != "recipe"}


def shown_record(record: dict[str, Any]) -> dict[str, Any]:
    """A run's record as it is shown."""
    return record | {"products": [shown(p) for p in record["products"]]}


def compare(a: str, b: str, store: str | Path | None) -> dict[str, Any]:
    """See `perijove.compare`."""
    return compare_runs(Store(Path(store or default_store())), a, b)
