"""A request carried out: prepared, planned, made in rounds, recorded.

Who makes the products is the caller's: `with_executor` here, a Prefect flow in `flows`. Both run the same rounds: what
a product needs is made before it; when something fails, the rest is planned again without it until nothing changes.
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

import numpy as np

from calibration.library import Library
from pipeline import registry
from pipeline.clock import Sclk, Span
from pipeline.dataset import netcdf
from pipeline.errors import InputError, PerijoveError, UsageError, nearest
from pipeline.instrument import Instrument
from pipeline.passes import Pass, get_pass, parse_window
from pipeline.runs.discover import Discovery, discover
from pipeline.runs.execute import Executor, Made, make_product
from pipeline.runs.geometry import geometry_of
from pipeline.runs.monitor import Monitor
from pipeline.runs.pictures import Picture, draw_all, picture_entry, pictures_of
from pipeline.runs.plan import Given, Plan, Planned, Selection, make_plan, ordered_types, resolve_parameters
from pipeline.runs.store import PICTURES, Identity, Store


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
    pictures: bool = False
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
        spans += [given.span for given in self.selection.given.values()]
        geometry, path = geometry_of(self.pass_, spans, self.request.kernels, self.store) if spans else (None, None)
        return make_plan(self.selection, self.pass_, self.discovery, geometry, path, self.clock, self.store, failed)


def prepare(request: Request) -> Session:
    """Look up all that a request names; changes nothing.

    Raises
    ------
    UsageError
        for an unknown pass, instrument, product, source, parameter, context or window.
    InputError
        if there are no raw data of the pass, of an instrument that was named, or in the source that was named.
    """
    pass_ = get_pass(request.pass_number)
    instruments = tuple(registry.load(name) for name in request.instruments or registry.names())
    store = Store(request.store)
    library = Library({i.name: i.tables for i in registry.available()}, store.root)
    context = library.context(request.context)
    if request.tables:
        context = library.with_overrides(context, list(request.tables))
    selection = Selection(
        instruments=instruments,
        products=request.products,
        given={name: _given(path, store) for name, path in request.given.items()},
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
    if not request.given:
        _check_found(discovery, raw, needed, request)
    return Session(request, store, pass_, selection, discovery, clock, raw)


def _given(path: Path, store: Store) -> Given:
    if not path.is_file():
        raise InputError(path, "there is no such file")
    dataset = netcdf.open_product(path)
    if "et" not in dataset.variables or not dataset["et"].size:
        raise InputError(path, "has no record: no variable et")
    et = dataset["et"].values
    unit = Identity.parse(str(dataset.attrs["product"])).unit if "product" in dataset.attrs else ""
    return Given(path.resolve(), store.sha256(path), unit, Span(float(et[0]), float(np.nextafter(et[-1], np.inf))))


def clock_of(kernels: Path | None) -> Sclk:
    """The spacecraft clock: from the kernels' SCLK file if there is one, else tabulated."""
    if kernels is None:
        return Sclk.default()
    from pipeline.geometry import kernel_clock

    return kernel_clock(kernels) or Sclk.default()


def _check_source(name: str | None, instruments: Iterable[Instrument]) -> None:
    known = [f.name for i in instruments for f in i.formats]
    if name is not None and name not in known:
        raise UsageError(f"no raw format {name!r}; {nearest(name, known)}")


def _raw_folder(request: Request, store: Store) -> Path:
    if request.raw is not None:
        return request.raw.resolve()
    for record in store.runs():
        if record["pass"] == request.pass_number:
            return Path(record["raw"])
    raise UsageError(
        f"PJ{request.pass_number} has not been run in {store.root} yet: say where its raw data are (--raw)"
    )


def _check_found(discovery: Discovery, raw: Path, instruments: Iterable[Instrument], request: Request) -> None:
    """Refuse to go on where what the user named is not there."""
    there = {g.instrument for g in discovery.granules}
    wanted = [n for n in request.instruments if n not in there]
    if request.source and not discovery.of(request.source):
        wanted = [request.source]
    if discovery.granules and not wanted:
        return
    names = wanted or [i.name for i in instruments]
    text = f"no raw data of PJ{request.pass_number} for {', '.join(names)}"
    if discovery.other_passes:
        text += f"; {len(discovery.other_passes)} granules belong to other passes"
    for bad in discovery.quarantined[:3]:
        text += f"\n  not usable: {bad['reason']}"
    raise InputError(raw, text)


# Rounds

MakeRound = Callable[[Plan], dict[str, Made]]
Progress = Callable[[str, int, int], None]
# Called with what makes a round, where pictures are drawn after the last one, and what is told how far they are.
Rounds = Callable[[MakeRound, Executor, Progress], None]
# Sets up what makes the products of a plan and calls the rounds with it.
Engine = Callable[[Session, Plan, Rounds], None]


def no_progress(name: str, done: int, total: int) -> None:
    """Show nothing."""


def with_executor(executor: Executor, timeout: float | None = None) -> Engine:
    """Makes one product after the other, segments by `executor`, without Prefect."""

    def engine(session: Session, plan: Plan, rounds: Rounds) -> None:
        def make(round_plan: Plan) -> dict[str, Made]:
            return {
                str(planned.identity): make_if_ready(planned, round_plan, session.store, executor, no_progress, timeout)
                for planned in round_plan.to_make()
            }

        rounds(make, executor, no_progress)

    return engine


def make_if_ready(
    planned: Planned, plan: Plan, store: Store, executor: Executor, progress: Progress, timeout: float | None
) -> Made:
    """Make a product unless an input of it was not made in this round."""
    missing = [str(p.identity) for p in planned.needed() if not p.path.exists()]
    if missing:
        return Made("blocked", 0.0, reason=f"needs {', '.join(missing)}, which failed")
    name = str(planned.identity)
    return make_product(planned, plan, store, executor, timeout=timeout, progress=lambda d, t: progress(name, d, t))


class _Rounds:
    """Makes everything a session needs, in rounds, and keeps account of it."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.plan = session.plan()
        self.outcome: dict[str, Made] = {}
        self.tried: dict[str, Planned] = {}
        self.drawn: dict[Picture, str | None] = {}

    def __call__(self, make: MakeRound, executor: Executor, progress: Progress) -> None:
        self._make(make)
        missing = [p for p in self.pictures() if not p.done]
        self.drawn = draw_all(missing, executor, lambda done, total: progress(PICTURES, done, total))

    def pictures(self) -> list[Picture]:
        """Of what there is, where they are wanted."""
        return pictures_of(_entries(self), self.session.store) if self.session.request.pictures else []

    def idle(self) -> bool:
        """Whether there is nothing to make or draw."""
        return not self.plan.to_make() and all(p.done for p in self.pictures())

    def _make(self, make: MakeRound) -> None:
        failed: frozenset[str] = frozenset()
        while self.plan.to_make():
            results = make(self.plan)
            self.outcome.update(results)
            self.tried.update({str(p.identity): p for p in self.plan.to_make()})
            bad = frozenset(n for n, m in results.items() if m.status in ("failed", "quarantined"))
            if not bad:
                return
            failed |= bad - self._set_aside(results)
            self.plan = self.session.plan(failed)

    def _set_aside(self, results: dict[str, Made]) -> frozenset[str]:
        """Quarantine granules that could not be read; returns the products to try again with the others."""
        again = set()
        discovery = self.session.discovery
        for planned in self.plan.to_make():
            made = results[str(planned.identity)]
            if made.status != "quarantined":
                continue
            bad = [g for g in planned.granules if made.bad_file in {str(p) for p in g.files.values()}]
            for granule in bad:
                if granule in discovery.granules:
                    discovery.granules.remove(granule)
                    entry = {"path": made.bad_file, "instrument": granule.instrument, "reason": made.reason}
                    discovery.quarantined.append(entry)
            if len(bad) < len(planned.granules) and bad:
                again.add(str(planned.identity))
        return frozenset(again)


def carry_out(session: Session, engine: Engine, waiting: Callable[[str], None] = lambda holder: None) -> dict[str, Any]:
    """Make everything the request needs and record it; returns the run's record.

    The record is written in any case; after an interruption it says so and the next run goes on.

    Parameters
    ----------
    engine : is not called if there is nothing to make or draw.
    waiting : called with the process of another run of this pass if one goes on, whose end is waited for.

    Raises
    ------
    InputError
        if the window holds no data.
    """
    started = time.perf_counter()
    with session.store.prepare().lease(session.pass_.number, waiting), Monitor() as monitor:
        rounds = _Rounds(session)
        if not rounds.plan.products and not rounds.plan.blocked:
            raise InputError(session.raw, f"nothing to make: no data in the window {session.request.window!r}")
        ended = "interrupted"
        try:
            _keep_raw(session, rounds.plan)
            if not rounds.idle():
                engine(session, rounds.plan, rounds)
            ended = "done"
        except PerijoveError as error:
            ended = str(error)
            raise
        finally:
            record = _record(session, rounds, time.perf_counter() - started, monitor.peak_mb, ended)
            session.store.write_run(record)
    return record


def _keep_raw(session: Session, plan: Plan) -> None:
    if session.request.keep_raw:
        for path in {path for planned in plan.products for g in planned.granules for path in g.files.values()}:
            session.store.keep_raw(path, session.store.sha256(path))


def _record(session: Session, rounds: _Rounds, seconds: float, peak_mb: float, ended: str) -> dict[str, Any]:
    now = datetime.datetime.now(datetime.UTC)
    plan, geometry = rounds.plan, rounds.plan.geometry_path
    return {
        "run": f"{now:%Y%m%dT%H%M%S}{now.microsecond // 1000:03d}-PJ{session.pass_.number:02d}-{secrets.token_hex(2)}",
        "pass": session.pass_.number,
        "ended": ended,
        "finished": now.isoformat(timespec="seconds"),
        "seconds": round(seconds, 3),
        "peak_mb": round(peak_mb, 1),
        "raw": str(session.raw),
        "kernels": str(session.request.kernels) if session.request.kernels else None,
        "context": {"name": session.selection.context.alias, "hash": session.selection.context.hash},
        "geometry": str(geometry.relative_to(session.store.root)) if geometry else None,
        "window": session.request.window,
        "settings": session.request.settings,
        "versions": _versions(),
        "quarantined": session.discovery.quarantined,
        "superseded": session.discovery.superseded + plan.superseded,
        "products": _entries(rounds),
        "pictures": [picture_entry(p, rounds.drawn) for p in rounds.pictures()],
    }


def _entries(rounds: _Rounds) -> list[dict[str, Any]]:
    """All products of the plan, then those that are not in it any more because something failed."""
    entries = {}
    for planned in rounds.plan.products:
        name = str(planned.identity)
        tried = rounds.tried.get(name)
        if tried is not None and tried.key == planned.key:
            # What an earlier round made is there for the last one's plan, but was made for reasons all the same.
            entries[name] = product_entry(tried, rounds.outcome.get(name))
        else:
            entries[name] = product_entry(planned, None)
    for blocked in rounds.plan.blocked:
        entries.setdefault(blocked["identity"], absent_entry(blocked["identity"], "blocked", blocked["reason"]))
    for name, made in rounds.outcome.items():
        entries.setdefault(name, absent_entry(name, made.status, made.reason))
    return list(entries.values())


def product_entry(planned: Planned, made: Made | None) -> dict[str, Any]:
    """A product as run records and ``run --json`` show it."""
    status, reason = "kept", None
    if planned.status == "make":
        # Without an outcome the run was interrupted; this one may have been finished even so.
        finished = "made" if planned.path.exists() else "failed"
        status, reason = (made.status, made.reason) if made else (finished, "the run was interrupted")
    entry = {
        "identity": str(planned.identity),
        "key": planned.key,
        "instrument": planned.identity.type.split(".")[0],
        "type": planned.identity.type,
        "unit": planned.identity.unit,
        "path": str(planned.path),
        "status": status,
        "made": status == "made",
        "why": planned.why,
        "reason": reason,
        "recipe": planned.recipe if status == "made" else None,
    }
    if made:
        entry |= {"seconds": round(made.seconds, 3), "records": made.records, "segments": made.segments}
        entry |= {"sha256": made.sha256, "bytes": made.size, "peak_mb": round(made.peak_mb, 1)}
    return entry


def absent_entry(name: str, status: str, reason: str | None) -> dict[str, Any]:
    """A product that has no key, because it could not even be planned."""
    identity = Identity.parse(name)
    return {
        "identity": name,
        "key": None,
        "instrument": identity.type.split(".")[0],
        "type": identity.type,
        "unit": identity.unit,
        "path": None,
        "status": status,
        "made": False,
        "why": [],
        "reason": reason,
        "recipe": None,
    }


def _versions() -> dict[str, Any]:
    """What bytes may depend on besides the keys."""
    names = ("perijove", "numpy", "scipy", "xarray", "h5py", "h5netcdf")
    simd = np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])
    machine = {"python": platform.python_version(), "machine": platform.machine(), "simd": simd}
    return machine | {n: version(n) for n in names}


def exit_status(record: dict[str, Any]) -> int:
    """0 if everything was made or kept and every raw file could be used, 1 otherwise."""
    good = all(p["status"] in ("made", "kept") for p in record["products"])
    return 0 if good and not record["quarantined"] and record["ended"] == "done" else 1
