"""A request carried out: prepared, planned, made in rounds, recorded.

Who makes the products is the caller's: `in_process` here, a Prefect flow in `flows`. Both run the same rounds: what a
product needs is made before it; when something fails, the rest is planned again without it until nothing changes.
"""

from __future__ import annotations

import datetime
import platform
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from calibration.library import Library
from pipeline import registry
from pipeline.clock import Sclk, Span
from pipeline.errors import InputError, UsageError, nearest
from pipeline.passes import Pass, get_pass, parse_window
from pipeline.runs.discover import Discovery, discover
from pipeline.runs.execute import Executor, InProcess, Made, make_product
from pipeline.runs.geometry import geometry_of
from pipeline.runs.monitor import Monitor
from pipeline.runs.plan import Plan, Planned, Selection, make_plan, ordered_types, resolve_parameters
from pipeline.runs.store import Store


@dataclass(frozen=True)
class Request:
    """What the user asked for; the options of ``perijove run`` and ``perijove plan``."""

    pass_number: int
    store: Path
    raw: Path | None = None
    instruments: tuple[str, ...] = ()
    products: tuple[str, ...] = ()
    kernels: Path | None = None
    window: str = "all"
    source: str | None = None
    context: str = "default"
    settings: dict[str, str] = field(default_factory=dict)
    tables: tuple[Path, ...] = ()
    keep_raw: bool = False
    given: dict[str, Path] = field(default_factory=dict)


@dataclass
class Session:
    """A request with everything it rests on looked up: store, raw granules, clock, context."""

    request: Request
    store: Store
    pass_: Pass
    selection: Selection
    discovery: Discovery
    clock: Sclk
    raw: Path

    def plan(self, failed: frozenset[str] = frozenset()) -> Plan:
        """Plan the request; `failed` products are left out."""
        spans = [Span(g.start, g.stop) for g in self.discovery.granules]
        geometry, path = geometry_of(self.pass_, spans, self.request.kernels, self.store) if spans else (None, None)
        return make_plan(self.selection, self.pass_, self.discovery, geometry, path, self.clock, self.store, failed)


def prepare(request: Request) -> Session:
    """Look up all that a request names.

    Raises
    ------
    UsageError
        for an unknown pass, instrument, product, source, parameter, context or window.
    InputError
        if there are no raw data of the pass.
    """
    pass_ = get_pass(request.pass_number)
    instruments = tuple(registry.load(name) for name in request.instruments or registry.names())
    store = Store(request.store)
    library = Library({i.name: i.tables for i in map(registry.load, registry.names())}, store.root)
    context = library.context(request.context)
    if request.tables:
        context = library.with_overrides(context, list(request.tables))
    selection = Selection(
        instruments=instruments,
        products=request.products,
        given=request.given,
        window=parse_window(request.window, pass_),
        source=request.source,
        context=context,
        parameters={},
    )
    needed = tuple(registry.load(n) for n in dict.fromkeys(t.split(".")[0] for t in ordered_types(selection)))
    _check_source(request.source, needed)
    selection = replace(selection, parameters=resolve_parameters(needed, request.settings))
    clock = clock_of(request.kernels)
    raw = _raw_folder(request, store)
    discovery = discover(raw, needed, pass_.number, clock)
    if not discovery.granules:
        raise InputError(raw, _nothing_found(discovery, needed, pass_.number))
    return Session(request, store, pass_, selection, discovery, clock, raw)


def clock_of(kernels: Path | None) -> Sclk:
    """The spacecraft clock: from the kernels' SCLK file if there is one, else tabulated."""
    if kernels is None:
        return Sclk.default()
    from pipeline.geometry import kernel_clock

    return kernel_clock(kernels) or Sclk.default()


def _check_source(name: str | None, instruments: Iterable[Any]) -> None:
    known = [f.name for i in instruments for f in i.formats]
    if name is not None and name not in known:
        raise UsageError(f"no raw format {name!r}; {nearest(name, known)}")


def _raw_folder(request: Request, store: Store) -> Path:
    if request.raw is not None:
        return request.raw.resolve()
    for record in reversed(store.runs()):
        if record["pass"] == request.pass_number:
            return Path(record["raw"])
    raise UsageError(
        f"PJ{request.pass_number} has not been run in {store.root} yet: say where its raw data are (--raw)"
    )


def _nothing_found(discovery: Discovery, instruments: Iterable[Any], number: int) -> str:
    text = f"no raw data of PJ{number} for {', '.join(i.name for i in instruments)}"
    if discovery.other_passes:
        text += f"; {len(discovery.other_passes)} granules belong to other passes"
    if discovery.quarantined:
        text += "; " + "; ".join(q["reason"] for q in discovery.quarantined[:3])
    return text


# Rounds

MakeRound = Callable[[Plan], dict[str, Made]]


def in_process(session: Session, progress: Callable[[str, int, int], None], timeout: float | None) -> MakeRound:
    """Rounds made one product after the other in this process."""
    return round_with(InProcess(), session, progress, timeout)


def round_with(
    executor: Executor, session: Session, progress: Callable[[str, int, int], None], timeout: float | None
) -> MakeRound:
    """Rounds made one product after the other, segments by `executor`."""

    def make(plan: Plan) -> dict[str, Made]:
        made: dict[str, Made] = {}
        for planned in plan.to_make():
            made[str(planned.identity)] = make_if_ready(planned, plan, session.store, executor, progress, timeout)
        return made

    return make


def make_if_ready(
    planned: Planned,
    plan: Plan,
    store: Store,
    executor: Executor,
    progress: Callable[[str, int, int], None],
    timeout: float | None,
) -> Made:
    """Make a product unless an input of it was not made in this round."""
    missing = [str(p.identity) for p in planned.needed() if not p.path.exists()]
    if missing:
        return Made("blocked", 0.0, reason=f"needs {', '.join(missing)}, which failed")
    name = str(planned.identity)
    return make_product(planned, plan, store, executor, timeout=timeout, progress=lambda d, t: progress(name, d, t))


def carry_out(session: Session, make: MakeRound, plan: Plan | None = None) -> dict[str, Any]:
    """Make everything the request needs and record it; returns the run's record.

    The record is written in any case; after an interruption it says so and the next run goes on.
    """
    started, monitor = time.perf_counter(), Monitor()
    outcome: dict[str, Made] = {}
    failed: frozenset[str] = frozenset()
    ended = "interrupted"
    with session.store.lease(session.pass_.number), monitor:
        plan = plan or session.plan()
        try:
            while plan.to_make():
                results = make(plan)
                outcome.update(results)
                bad = frozenset(n for n, m in results.items() if m.status in ("failed", "quarantined"))
                removed = _quarantine(session.discovery, plan, results)
                if not bad:
                    break
                failed |= bad - removed
                plan = session.plan(failed)
            ended = "done"
        finally:
            _keep(session, plan)
            record = _record(session, plan, outcome, time.perf_counter() - started, monitor.peak_mb, ended)
            session.store.write_run(record)
    return record


def _quarantine(discovery: Discovery, plan: Plan, results: dict[str, Made]) -> frozenset[str]:
    """Set bad granules of products with several granules aside; returns the products to try again without them."""
    again = set()
    for planned in plan.to_make():
        made = results.get(str(planned.identity))
        if made is None or made.status != "quarantined" or len(planned.granules) < 2:
            continue
        bad = [g for g in planned.granules if made.bad_file in {str(p) for p in g.files.values()}]
        for granule in bad:
            if granule in discovery.granules:
                discovery.granules.remove(granule)
                discovery.quarantined.append(
                    {"path": made.bad_file, "instrument": granule.instrument, "reason": made.reason}
                )
        if bad:
            again.add(str(planned.identity))
    return frozenset(again)


def _keep(session: Session, plan: Plan) -> None:
    """Keep every table that was read, and raw files if asked, in the store."""
    tables = {t.hash: t for p in plan.products for chosen in p.tables.values() for t, _ in chosen}
    for table in tables.values():
        session.selection.context.library.keep(table)
    if session.request.keep_raw:
        for path in {p for g in session.discovery.granules for p in g.files.values()}:
            session.store.keep_raw(path, session.store.sha256(path))


def _record(
    session: Session, plan: Plan, outcome: dict[str, Made], seconds: float, peak_mb: float, ended: str
) -> dict[str, Any]:
    now = datetime.datetime.now(datetime.UTC)
    products = [product_entry(p, outcome.get(str(p.identity))) for p in plan.products]
    listed = {p["identity"] for p in products}
    for blocked in plan.blocked:
        if blocked["identity"] not in listed:
            products.append(_absent(blocked, "blocked"))
            listed.add(blocked["identity"])
    for name, made in outcome.items():
        if name not in listed:
            products.append(_absent({"identity": name, "reason": made.reason}, made.status))
    return {
        "run": f"{now:%Y%m%dT%H%M%S}-PJ{session.pass_.number:02d}-{secrets.token_hex(3)}",
        "pass": session.pass_.number,
        "ended": ended,
        "finished": now.isoformat(timespec="seconds"),
        "seconds": round(seconds, 3),
        "peak_mb": round(peak_mb, 1),
        "raw": str(session.raw),
        "kernels": str(session.request.kernels) if session.request.kernels else None,
        "context": {"name": session.selection.context.alias, "hash": session.selection.context.hash},
        "geometry": str(plan.geometry_path) if plan.geometry_path else None,
        "window": session.request.window,
        "settings": session.request.settings,
        "versions": _versions(),
        "quarantined": session.discovery.quarantined,
        "superseded": session.discovery.superseded,
        "products": products,
    }


def product_entry(planned: Planned, made: Made | None) -> dict[str, Any]:
    """A product as run records, ``run --json`` and ``plan --json`` show it."""
    status = "kept" if planned.status == "keep" else made.status if made else "blocked"
    entry: dict[str, Any] = {
        "identity": str(planned.identity),
        "key": planned.key,
        "instrument": planned.identity.type.split(".")[0],
        "type": planned.identity.type,
        "unit": planned.identity.unit,
        "path": str(planned.path),
        "status": status,
        "made": status == "made",
        "why": planned.why,
        "recipe": planned.recipe,
    }
    if made:
        entry |= {"seconds": round(made.seconds, 3), "records": made.records, "segments": made.segments}
        entry |= {"sha256": made.sha256, "bytes": made.size, "peak_mb": round(made.peak_mb, 1), "reason": made.reason}
    return entry


def _absent(blocked: dict[str, Any], status: str) -> dict[str, Any]:
    kind, _, unit = blocked["identity"].partition("/")
    return {
        "identity": blocked["identity"],
        "key": None,
        "instrument": kind.split(".")[0],
        "type": kind,
        "unit": unit.partition("/")[2],
        "path": None,
        "status": status,
        "made": False,
        "why": [],
        "recipe": None,
        "reason": blocked["reason"],
    }


def _versions() -> dict[str, str]:
    names = ("perijove", "numpy", "scipy", "xarray", "h5py", "h5netcdf")
    return {"python": platform.python_version(), "machine": platform.machine(), **{n: version(n) for n in names}}


def exit_status(record: dict[str, Any]) -> int:
    """0 if everything was made or kept, 1 otherwise."""
    good = all(p["status"] in ("made", "kept") for p in record["products"])
    return 0 if good and not record["quarantined"] and record["ended"] == "done" else 1
