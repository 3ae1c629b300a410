"""A request carried out: prepared, planned, made in rounds, recorded.

Who makes the products is the caller's: `with_executor` here, a Prefect flow in `flows`. Both run the same rounds: what
a product needs is made before it; when something fails, the rest is planned again without it until nothing changes.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import registry
from pipeline.clock import Sclk, Span
from pipeline.dataset import netcdf
from pipeline.errors import InputError, PerijoveError, UsageError, nearest
from pipeline.instrument import Instrument
from pipeline.passes import Pass, get_pass, parse_window
from pipeline.runs.arrivals import newest
from pipeline.runs.discover import Discovery, discover
from pipeline.runs.execute import Executor, Made, make_product
from pipeline.runs.geometry import geometry_of
from pipeline.runs.granules import Opener
from pipeline.runs.log import run_log, say
from pipeline.runs.monitor import Monitor
from pipeline.runs.pictures import Picture, draw_all, picture_entry, pictures_of
from pipeline.runs.plan import Given, Plan, Planned, Selection, make_plan, ordered_types
from pipeline.runs.record import entries, record_of, run_name
from pipeline.runs.store import PICTURES, Identity, Store
from pipeline.runs.summary import counts


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
    opener: Opener
    raw: Path
    delivery: int

    def plan(self, failed: frozenset[str] = frozenset()) -> Plan:
        """Plan the request; `failed` products are left out."""
        spans = [Span(g.start, g.stop) for g in self.discovery.granules]
        spans += [given.span for given in self.selection.given.values()]
        geometry, path = geometry_of(self.pass_, spans, self.request.kernels, self.store) if spans else (None, None)
        return make_plan(
            self.selection, self.pass_, self.discovery, geometry, path, self.opener.clock, self.store, failed
        )


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
    library = registry.library(store.root)
    context = library.context(request.context)
    if request.tables:
        context = library.with_overrides(context, list(request.tables))
    selection = Selection(
        instruments=instruments,
        products=request.products,
        given={name: _given(path, store, pass_) for name, path in request.given.items()},
        window=parse_window(request.window, pass_),
        source=request.source,
        context=context,
        parameters={},
    )
    needed = tuple(registry.load(n) for n in dict.fromkeys(t.split(".")[0] for t in ordered_types(selection)))
    _check_source(request.source, needed)
    selection = replace(selection, parameters=_parameters(needed, request.settings))
    clock = clock_of(request.kernels)
    raw = _raw_folder(request, store)
    # Before it is looked what is there: a delivery that comes meanwhile is one for the next run.
    delivery = newest(store, pass_.number)
    opener = Opener(store, clock)
    discovery = discover(raw, needed, pass_.number, opener)
    if not request.given:
        _check_found(discovery, raw, needed, request)
    return Session(request, store, pass_, selection, discovery, opener, raw, delivery)


def _parameters(instruments: Iterable[Instrument], settings: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Values of ``--set`` by product type and parameter; raises UsageError offering the nearest names."""
    steps = [s for i in instruments for p in i.products for s in i.steps_for(p.name)]
    known = {f"{s.produces}.{p.name}": p for s in steps for p in s.parameters}
    resolved: dict[str, dict[str, Any]] = {}
    for name, text in settings.items():
        if name not in known:
            raise UsageError(f"no parameter {name!r}; {nearest(name, list(known), 'perijove list instruments')}")
        try:
            value = known[name].parse(text)
        except ValueError as error:
            raise UsageError(f"{name}: {error}") from error
        product, parameter = name.rsplit(".", 1)
        resolved.setdefault(product, {})[parameter] = value
    return resolved


def _given(path: Path, store: Store, pass_: Pass) -> Given:
    if not path.is_file():
        raise InputError(path, "there is no such file")
    dataset = netcdf.open_product(path)
    span = pass_.span  # of a product without times, as a dark of the whole pass
    if "et" in dataset.variables:
        et = dataset["et"].values
        if not et.size:
            raise InputError(path, "has no record")
        span = Span(float(np.min(et)), float(np.nextafter(np.max(et), np.inf)))
    unit = Identity.parse(str(dataset.attrs["product"])).unit if "product" in dataset.attrs else ""
    return Given(path.resolve(), store.sha256(path), unit, span)


def clock_of(kernels: Path | None) -> Sclk:
    """The spacecraft clock: from the kernels' SCLK file if there is one, else tabulated."""
    if kernels is None:
        return Sclk.default()
    from pipeline.geometry import kernel_clock

    return kernel_clock(kernels) or Sclk.default()


def _check_source(name: str | None, instruments: Iterable[Instrument]) -> None:
    known = [f.name for i in instruments for f in i.formats]
    if name is not None and name not in known:
        raise UsageError(f"no raw format {name!r}; {nearest(name, known, 'perijove list instruments')}")


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
    made = make_product(planned, plan, store, executor, timeout=timeout, progress=lambda d, t: progress(name, d, t))
    level = logging.INFO if made.status == "made" else logging.ERROR
    told = {field: getattr(made, field) for field in ("status", "reason", "seconds", "segments", "size", "peak_mb")}
    say("product", level, product=name, key=planned.key, **told)
    return made


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
        return pictures_of(self.entries(), self.session.store) if self.session.request.pictures else []

    def entries(self) -> list[dict[str, Any]]:
        """What became of every product."""
        return entries(self.plan, self.tried, self.outcome)

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
        for planned in self.plan.to_make():
            made = results[str(planned.identity)]
            if made.status != "quarantined" or made.bad_file is None:
                continue
            bad = [g for g in planned.granules if made.bad_file in {str(p) for p in g.files.values()}]
            say("raw file set aside", logging.WARNING, path=made.bad_file, reason=made.reason)
            replaced = [self.session.discovery.set_aside(g, made.bad_file, made.reason) for g in bad]
            if bad and (any(replaced) or len(bad) < len(planned.granules)):
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
    store = session.store.prepare()
    with store.lease(session.pass_.number, waiting), Monitor() as monitor:
        session.opener.remember()
        name, rounds = run_name(store, session.pass_.number), _Rounds(session)
        if not rounds.plan.products and not rounds.plan.blocked:
            raise InputError(session.raw, f"nothing to make: no data in the window {session.request.window!r}")
        ended = "interrupted"
        with run_log(store.root / "logs" / f"{name}.log"):
            try:
                to_make = len(rounds.plan.to_make())
                say("run begins", run=name, products=len(rounds.plan.products), to_make=to_make, raw=session.raw)
                _keep_raw(session, rounds.plan)
                if not rounds.idle():
                    engine(session, rounds.plan, rounds)
                ended = "done"
            except PerijoveError as error:
                ended = str(error)
                raise
            finally:
                measured = {"seconds": time.perf_counter() - started, "peak_mb": monitor.peak_mb}
                pictures = [picture_entry(p, rounds.drawn) for p in rounds.pictures()]
                told = {"run": name, "ended": ended, "pictures": pictures}
                record = record_of(session, rounds.plan, rounds.entries(), **told, **measured)
                say("run ends", run=name, ended=ended, statuses=counts(record))
                store.write_run(record)
    return record


def _keep_raw(session: Session, plan: Plan) -> None:
    if session.request.keep_raw:
        for path in {path for planned in plan.products for g in planned.granules for path in g.files.values()}:
            session.store.keep_raw(path, session.store.sha256(path))
