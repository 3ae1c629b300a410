"""Making products: segments computed one by one wherever the executor puts them, joined by the last task.

Only paths, keys and small plain objects travel; arrays stay in files. What a worker needs is in its `SegmentJob`.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from calibration.tables import Table
from pipeline import registry
from pipeline.clock import Sclk, Span
from pipeline.dataset import check, netcdf
from pipeline.dataset.context import add_context
from pipeline.dataset.summary import covers, flag_shares
from pipeline.errors import CalibrationError, InputError, PerijoveError, SchedulerLostError, WorkerLostError
from pipeline.files import file_sha256
from pipeline.geometry import Geometry
from pipeline.instrument import Granule, Instrument, Step
from pipeline.passes import get_pass
from pipeline.runs.keys import canonical
from pipeline.runs.monitor import forget_peak, peak_mb
from pipeline.runs.plan import Input, Plan, Planned
from pipeline.runs.store import Store

Result = TypeVar("Result")


class Executor(Protocol):
    """Where segments are computed."""

    def submit(self, function: Callable[..., Result], *arguments: Any) -> Future[Result]:
        """Start a call."""
        ...

    def result(self, future: Future[Result], timeout: float | None) -> Result:
        """Wait for a call's result.

        Raises
        ------
        PerijoveError
            if it has been running for longer than `timeout` seconds; the call is stopped then.
        """
        ...

    def drop(self, futures: list[Future[Any]], timeout: float | None) -> None:
        """Take back calls that have not begun, and see those end that have."""
        ...


class InProcess:
    """Computes at once, in this process."""

    def submit(self, function: Callable[..., Result], *arguments: Any) -> Future[Result]:
        """Call now; the future is done when this returns."""
        future: Future[Result] = Future()
        try:
            future.set_result(function(*arguments))
        except Exception as error:
            future.set_exception(error)
        return future

    def result(self, future: Future[Result], timeout: float | None) -> Result:
        """The call is done already; nothing in this process could have stopped it."""
        del timeout
        return future.result()

    def drop(self, futures: list[Future[Any]], timeout: float | None) -> None:
        """All calls are done already."""


@dataclass(frozen=True)
class SegmentJob:
    """All a worker needs to compute one segment."""

    product: str
    step: str
    pass_number: int
    span: Span
    whole: bool
    granules: tuple[Granule, ...]
    tables: dict[str, Path]
    inputs: dict[str, Path | dict[str, Path] | None]
    parameters: dict[str, Any]
    geometry: Path | None
    clock: Sclk
    out: Path


@dataclass(frozen=True)
class SegmentDone:
    """What a worker says of a segment; `path` is None if it held no record."""

    path: Path | None
    records: int
    seconds: float
    peak_mb: float


def jobs_of(planned: Planned, plan: Plan, store: Store) -> list[SegmentJob]:
    """The segment jobs of a product, in time order; the tables they read are kept in the store."""
    folder = store.work_folder(planned.key)
    library = plan.context.library
    kept = {t.hash: library.keep(t) for chosen in planned.tables.values() for t, _ in chosen}
    shared = {
        "product": planned.product.name,
        "step": planned.step.name,
        "pass_number": plan.pass_.number,
        "whole": planned.step.over == "unit" or planned.product.segment is None,
        "inputs": {argument: _paths(value) for argument, value in planned.inputs.items()},
        "parameters": planned.parameters,
        "geometry": plan.geometry_path,
        "clock": plan.clock,
    }
    jobs = []
    for number, span in enumerate(planned.segments):
        tables = {
            argument: kept[next(t.hash for t, s in chosen if s.overlaps(span))]
            for argument, chosen in planned.tables.items()
        }
        reach = span.pad(planned.step.halo)
        granules = tuple(g for g in planned.granules if g.start < reach.stop and g.stop > reach.start)
        out = folder / f"{number:05d}.nc"
        jobs.append(SegmentJob(span=span, granules=granules, tables=tables, out=out, **shared))  # type: ignore[arg-type]
    return jobs


def _paths(value: Input) -> Path | dict[str, Path] | None:
    if isinstance(value, dict):
        return {unit: one.path for unit, one in value.items()}
    return value.path if value else None


def compute_segment(job: SegmentJob) -> SegmentDone:
    """Read, call the step, trim, check and write one segment.

    Raises
    ------
    InputError
        if a raw file cannot be used.
    """
    started = time.perf_counter()
    forget_peak()
    instrument, product = registry.product_type(job.product)
    step = next(s for s in instrument.steps_for(job.product) if s.name == job.step)
    arguments = _arguments(job, instrument, step)
    dataset = None if arguments is None else step.function(*arguments, **job.parameters)
    index = product.schema.index
    if dataset is not None and index and not job.whole:
        et = dataset["et"].values
        dataset = dataset.isel({index: (et >= job.span.start) & (et < job.span.stop)})
    if dataset is None or (index and dataset.sizes[index] == 0):
        return SegmentDone(None, 0, time.perf_counter() - started, peak_mb())
    if product.schema.context:
        dataset = add_context(dataset, product.schema, _geometry(job), job.clock)
    dataset = check.finish(dataset, product.schema, instrument.flags, {})
    check.check(dataset, product.schema, instrument.flags)
    netcdf.write_segment(job.out, dataset, product.schema)
    records = dataset.sizes[index] if index else 1
    return SegmentDone(job.out, records, time.perf_counter() - started, peak_mb())


def _arguments(job: SegmentJob, instrument: Instrument, step: Step) -> list[Any] | None:
    """Positional arguments of the step; None if the segment holds no raw record."""
    reach = job.span if job.whole else job.span.pad(step.halo)
    values: list[Any] = []
    for need in step.needs:
        if need.kind == "raw":
            form = instrument.format(need.name)
            raw = form.read(job.granules, None if job.whole else reach, job.clock)
            if raw.sizes[form.index] == 0:
                return None
            values.append(raw)
        elif need.kind == "product":
            path = job.inputs[need.argument]
            assert not isinstance(path, dict)
            values.append(None if path is None else netcdf.open_product(path, span=reach))
        elif need.kind == "products":
            paths = job.inputs[need.argument]
            assert not isinstance(paths, Path)
            values.append(None if paths is None else {u: netcdf.open_product(p) for u, p in paths.items()})
        elif need.kind == "table":
            values.append(_load_table(job.tables[need.argument]))
        elif need.kind == "geometry":
            values.append(_geometry(job))
        else:
            values.append(job.span if need.kind == "span" else get_pass(job.pass_number))
    return values


@lru_cache(maxsize=64)
def _load_table(path: Path) -> Table:
    """A table of the store; raises CalibrationError if its content is not the one it is named after."""
    table = Table.read(path)
    if table.hash != path.stem:
        raise CalibrationError(f"{path}: damaged, its content has the hash {table.hash}; delete it to go on")
    return table


@lru_cache(maxsize=2)
def _load_geometry(path: Path) -> Geometry:
    return Geometry.from_dataset(netcdf.open_product(path))


def _geometry(job: SegmentJob) -> Geometry:
    assert job.geometry is not None
    return _load_geometry(job.geometry)


@dataclass(frozen=True)
class Made:
    """Outcome of one product: ``made``, ``failed`` or ``quarantined``."""

    status: str
    seconds: float
    sha256: str | None = None
    size: int = 0
    segments: int = 0
    records: int = 0
    peak_mb: float = 0.0
    reason: str | None = None
    bad_file: str | None = None
    flagged: dict[str, float] = field(default_factory=dict)
    covers: list[list[float]] = field(default_factory=list)


def make_product(
    planned: Planned,
    plan: Plan,
    store: Store,
    executor: Executor,
    *,
    timeout: float | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Made:
    """Make one product: compute its segments, join them, put the file in its place.

    Parameters
    ----------
    timeout : seconds a segment may run before the product is given up.
    progress : called with the number of segments done and their total.

    Returns
    -------
    Made
        ``failed`` with its reason if the step or the data did not allow it, ``quarantined`` if its raw data cannot be
        read or it takes its worker process with it; never raises for that.

    Raises
    ------
    SchedulerLostError
        if nothing at all can be made any more.
    InterruptedError
        if the run was stopped.
    """
    started = time.perf_counter()

    def failed(reason: str, status: str = "failed", bad_file: str | None = None) -> Made:
        return Made(status, time.perf_counter() - started, reason=reason, bad_file=bad_file)

    try:
        jobs = jobs_of(planned, plan, store)
        done: list[SegmentDone] = []
        for result in _in_order(executor, jobs, timeout):
            done.append(result)
            progress(len(done), len(jobs))
        paths = [d.path for d in done if d.path]
        if not paths:
            what = "the raw data hold no record" if planned.step.raw else "no record can be made of its inputs"
            return failed(f"{what} in this span")
        attrs = attributes_of(planned, plan)
        joined = executor.submit(finish_product, planned.path, paths, planned.product.name, attrs)
        finished = executor.result(joined, timeout)
    except InputError as error:
        return failed(str(error), "quarantined", str(error.path))
    except (SchedulerLostError, InterruptedError):  # of the run, not of this product
        raise
    except WorkerLostError as error:
        return failed(f"step {planned.step.name}: {error}", "quarantined")
    except PerijoveError as error:
        return failed(f"step {planned.step.name}: {error}")
    except Exception as error:  # a defect of a step must not take the other products with it
        return failed(f"step {planned.step.name}: {type(error).__name__}: {error}")
    finally:
        shutil.rmtree(store.work_folder(planned.key), ignore_errors=True)
    took, records, peak = time.perf_counter() - started, sum(d.records for d in done), max(d.peak_mb for d in done)
    return Made("made", took, segments=len(jobs), records=records, peak_mb=peak, **finished)


# Segments submitted ahead of the oldest unfinished one: enough to keep workers busy, few enough to bound what waits.
IN_FLIGHT = 16


def _in_order(executor: Executor, jobs: list[SegmentJob], timeout: float | None) -> Iterator[SegmentDone]:
    waiting: list[Future[SegmentDone]] = []
    try:
        for job in jobs:
            waiting.append(executor.submit(compute_segment, job))
            if len(waiting) >= IN_FLIGHT:
                yield executor.result(waiting.pop(0), timeout)
        while waiting:
            yield executor.result(waiting.pop(0), timeout)
    except Exception:
        executor.drop(waiting, timeout)
        raise


def finish_product(path: Path, segments: list[Path], product_name: str, attrs: dict[str, Any]) -> dict[str, Any]:
    """Join the segments into the product's file; returns what `Made` says of it. Runs where segments run."""
    _, product = registry.product_type(product_name)
    path.parent.mkdir(parents=True, exist_ok=True)
    netcdf.assemble(path, segments, product.schema, attrs)
    described = {"flagged": flag_shares(path), "covers": covers(path)}
    return {"sha256": file_sha256(path), "size": path.stat().st_size, **described}


def attributes_of(planned: Planned, plan: Plan) -> dict[str, Any]:
    """Attributes of the product's file: what it is, from what it was made, and how far to trust the numbers."""
    tables = {table.hash: table for chosen in planned.tables.values() for table, _ in chosen}
    pedigrees: dict[str, int] = {}
    for table in tables.values():
        for pedigree, count in table.pedigrees.items():
            pedigrees[pedigree] = pedigrees.get(pedigree, 0) + count
    granules = _granules(planned)
    lines = [f"{t.instrument}.{t.name} {t.worst_pedigree} {t.hash}" for t in tables.values()]
    attrs: dict[str, Any] = {
        "title": planned.product.title,
        "product": str(planned.identity),
        "product_type": planned.product.name,
        "product_key": planned.key,
        "schema_version": np.int32(planned.product.schema.version),
        "mission": "Juno",
        "pass": np.int32(plan.pass_.number),
        "closest_approach": plan.pass_.utc,
        "instrument": registry.load(planned.identity.type.split(".")[0]).title,
        "recipe": canonical(planned.recipe).decode(),
        "calibration_tables": "\n".join(sorted(lines)),
        "pedigree_counts": " ".join(f"{name}={pedigrees[name]}" for name in sorted(pedigrees)),
        "raw_granules": "\n".join(sorted({g.id for g in granules})),
        **planned.product.schema.attrs,
    }
    if any(g.meta.get("simulated") for g in granules):
        attrs["simulated"] = "SIMULATED DATA, not a measurement"
    return attrs


def _granules(planned: Planned) -> list[Granule]:
    return [*planned.granules, *(g for needed in planned.needed() for g in _granules(needed))]
