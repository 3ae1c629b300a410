"""Mutated raw data: whatever a file holds, a reader refuses it with the project's own error or a product comes out.

Works on any instrument of the registry that has a simulator. One granule of its simulated pass is damaged in one file
and taken, alone, through opening, planning, reading and the steps that read it, in a process of its own with a limit of
time and memory. Outcomes:

========== ===================================================================================================
``refused`` the project's own error: the granule is set aside with a reason
``product`` products were made; they went through the check of their schema, quality flags included
``defect``  any other exception
``slow``    not done within the time limit
``memory``  beyond the memory limit, or MemoryError
``died``    the process ended by a signal
========== ===================================================================================================

What products of damaged data say, unflagged, that those of the sound data do not, is told beside. No format guards
every bit: a bit turned in a sample is what the sample says. But what remains of a file that lost its end must be right.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from pipeline import registry
from pipeline.clock import Sclk
from pipeline.dataset import netcdf
from pipeline.errors import CalibrationError, InputError
from pipeline.instrument import Granule, Instrument
from pipeline.runs.discover import discover
from pipeline.runs.execute import InProcess, compute_segment, finish_product, jobs_of
from pipeline.runs.granules import Opener
from pipeline.runs.plan import Planned
from pipeline.runs.run import Request, carry_out, prepare, with_executor
from pipeline.runs.store import Store
from pipeline.scene.simulate import simulate_pass
from pipeline.testing.mutate import mutate
from pipeline.testing.unnoticed import unnoticed

PASS = 1
# Of processor time; a call that waits for ever is ended after so many times as long.
SECONDS, PATIENCE = 60, 10
MEMORY_MB = 2048
SEGMENTS = 2  # of a product; more would try the same code again
GOOD = ("refused", "product")


@dataclass(frozen=True)
class Try:
    """What became of one mutated input."""

    instrument: str
    format: str
    file: str
    mutation: str
    seed: int
    outcome: str
    seconds: float
    peak_mb: float
    detail: str = ""
    unnoticed: tuple[str, ...] = ()


class Fuzzer:
    """Mutates the simulated pass of one instrument, below `folder`."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder = name, folder
        self.raw = folder / "raw"
        if not self.raw.is_dir():
            simulate_pass(PASS, folder, (name,), "demo", 0)
        self.instrument = registry.load(name)
        # Products that a step needs besides the damaged granule are taken from an undisturbed run.
        record = carry_out(prepare(Request(PASS, folder / "store", self.raw, (name,))), with_executor(InProcess()))
        made = {p["type"]: Path(p["path"]) for p in record["products"] if p["status"] in ("made", "kept")}
        self.given = {t: p for t, p in made.items() if t in _needed(self.instrument)}
        opener = Opener(Store(folder / "store"), Sclk.default())
        found = discover(self.raw, [self.instrument], PASS, opener).granules
        read = {s.raw for p in self.instrument.products for s in self.instrument.steps_for(p.name)}
        self.granules = [g for g in found if g.format in read]
        owned = {f for g in found for f in g.files.values()}
        self.loose = [f for f in sorted(self.raw.rglob("*")) if f.is_file() and f not in owned]

    def tries(self, seeds: range) -> Iterator[Try]:
        """One try per seed."""
        for seed in seeds:
            yield self.attempt(seed)

    def attempt(self, seed: int) -> Try:
        """Damage one file of one granule as `seed` says, and see what becomes of it."""
        rng = np.random.default_rng([seed, *self.name.encode()])
        formats = sorted({g.format for g in self.granules})
        form = formats[int(rng.integers(len(formats)))]
        candidates = [g for g in self.granules if g.format == form]
        granule = candidates[int(rng.integers(len(candidates)))]
        roles = sorted(granule.files)
        path = granule.files[roles[int(rng.integers(len(roles)))]]
        mutation, content = mutate(path.read_bytes(), rng)
        sound = self._sound(granule)
        with tempfile.TemporaryDirectory(prefix="perijove-fuzz-") as scratch:
            raw = self._copy(granule, path, content, Path(scratch) / "raw")
            outcome, said, seconds, peak = _apart(lambda: self._differences(raw, form, Path(scratch) / "store", sound))
        detail = "" if outcome == "product" else str(said).replace(scratch, "")
        changed = tuple(said) if outcome == "product" else ()
        return Try(
            self.name, form, path.name, mutation, seed, outcome, round(seconds, 2), round(peak, 1), detail, changed
        )

    def _sound(self, granule: Granule) -> Path:
        """Folder of the segments that come of a granule undamaged, in folders of their products' types."""
        folder = self.folder / "sound" / granule.format / granule.id
        if not folder.is_dir():
            with tempfile.TemporaryDirectory(prefix="perijove-fuzz-") as scratch:
                raw = self._copy(granule, Path(), b"", Path(scratch) / "raw")
                made = self._whole_way(raw, granule.format, Path(scratch) / "store", segments=None)
                for product, paths in made.items():
                    (folder / product).mkdir(parents=True)
                    for path in paths:
                        shutil.copyfile(path, folder / product / path.name)
        return folder

    def _differences(self, raw: Path, form: str, store: Path, sound: Path) -> list[str]:
        """What products of damaged data hold unnoticed."""
        found = []
        for name, paths in self._whole_way(raw, form, store, SEGMENTS).items():
            schema = registry.product_type(name)[1].schema
            right = [netcdf.open_product(p) for p in sorted((sound / name).glob("*.nc"))]
            if not right:
                found += [f"{name} is not there undamaged"] if paths else []
                continue
            whole = (
                xr.concat(right, schema.index, data_vars="minimal", coords="minimal", compat="override")
                if schema.index
                else right[0]
            )
            found += [f"{name}: {line}" for p in paths for line in unnoticed(netcdf.open_product(p), whole, schema)]
        return found

    def _copy(self, granule: Granule, damaged: Path, content: bytes, raw: Path) -> Path:
        for file in {*granule.files.values(), *self.loose}:
            place = raw / file.relative_to(self.raw)
            place.parent.mkdir(parents=True, exist_ok=True)
            if file == damaged:
                place.write_bytes(content)
            else:
                shutil.copyfile(file, place)
        return raw

    def _whole_way(self, raw: Path, form: str, store: Path, segments: int | None) -> dict[str, list[Path]]:
        """Open, plan, read and calibrate so many segments; files by product type. Raises what went wrong."""
        steps = [s for p in self.instrument.products for s in self.instrument.steps_for(p.name)]
        reading = {s.produces for s in steps if s.raw == form}
        # That of the undisturbed granules need not be made anew.
        shutil.copytree(self.folder / "store" / "geometry", store / "geometry")
        given = {t: p for t, p in self.given.items() if t not in reading}
        session = prepare(Request(PASS, store, raw, (self.name,), tuple(sorted(reading)), given=given))
        for bad in session.discovery.quarantined:
            if "the reader of" in bad["reason"]:
                raise AssertionError(bad["reason"])
        if not session.discovery.granules:
            raise InputError(raw, str(session.discovery.quarantined or session.discovery.other_passes))
        session.store.prepare()
        plan = session.plan()
        blocked = "; ".join(b["reason"] for b in plan.blocked)
        if not plan.to_make():
            raise InputError(raw, blocked or "nothing to make")
        made: dict[str, list[Path]] = {}
        needed = {path for p in plan.to_make() for path in _inputs(p)}
        for planned in plan.to_make():
            jobs, name = jobs_of(planned, plan, session.store), planned.product.name
            if segments is not None and planned.path not in needed:
                jobs = [jobs[0], *jobs[1:][-(segments - 1) :]]
            done = [path for job in jobs if (path := compute_segment(job).path)]
            if planned.path in needed and done:
                finish_product(planned.path, done, name, {})
            made.setdefault(name, []).extend(done)
        return made


def _inputs(planned: Planned) -> list[Path]:
    inputs = [x for x in planned.inputs.values() if x]
    return [one.path for x in inputs for one in (x.values() if isinstance(x, dict) else (x,))]


def _needed(instrument: Instrument) -> set[str]:
    steps = [s for p in instrument.products for s in instrument.steps_for(p.name)]
    return {n.name for s in steps if s.raw for n in s.needs if n.kind in ("product", "products")}


def _apart(work: Callable[[], list[str]]) -> tuple[str, str | list[str], float, float]:
    """Do something in a child process within the limits.

    Returns outcome, what was done or went wrong, processor seconds and peak memory in MB.
    """
    reading, writing = os.pipe()
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _in_child(work, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        answer = pipe.read()
    _, status, usage = os.wait4(child, 0)
    seconds, peak = usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024
    if os.WIFSIGNALED(status):
        number_ = os.WTERMSIG(status)
        return (
            ("slow" if number_ in (signal.SIGALRM, signal.SIGXCPU) else "died"),
            signal.Signals(number_).name,
            seconds,
            peak,
        )
    outcome, detail = json.loads(answer)
    return outcome, detail, seconds, peak


def _in_child(work: Callable[[], list[str]], writing: int) -> None:
    outcome: str = "defect"
    said: str | list[str] = ""
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(PATIENCE * SECONDS)
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 5))
        size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY_MB * 2**20,) * 2)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        outcome, said = "product", work()
    except (InputError, CalibrationError) as error:
        outcome, said = "refused", str(error)[:3000]
    except MemoryError as error:
        outcome, said = "memory", f"{error} {traceback.format_exc(limit=-4)}"
    except BaseException as error:
        outcome, said = "defect", f"{type(error).__name__}: {str(error)[:2000]}\n{traceback.format_exc(limit=-5)}"
    finally:
        with os.fdopen(writing, "w") as pipe:
            json.dump([outcome, said], pipe)
        os._exit(0)


def table(tries: list[Try]) -> list[dict[str, Any]]:
    """A row per instrument: inputs, outcomes, time and memory."""
    rows = []
    for name in sorted({t.instrument for t in tries}):
        own = [t for t in tries if t.instrument == name]
        outcomes = sorted({t.outcome for t in own} | set(GOOD))
        rows.append(
            {"instrument": name, "inputs": len(own)}
            | {o: sum(t.outcome == o for t in own) for o in outcomes}
            | {"unnoticed": sum(bool(t.unnoticed) for t in own)}
            | {"seconds": round(max(t.seconds for t in own), 1), "peak_mb": round(max(t.peak_mb for t in own), 1)}
        )
    return rows
