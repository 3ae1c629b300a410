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
"""

from __future__ import annotations

import json
import os
import re
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

from pipeline import registry
from pipeline.clock import Sclk
from pipeline.errors import InputError, PerijoveError
from pipeline.instrument import Granule, Instrument
from pipeline.runs.discover import discover
from pipeline.runs.execute import InProcess, compute_segment, jobs_of
from pipeline.runs.granules import Opener
from pipeline.runs.run import Request, carry_out, prepare, with_executor
from pipeline.runs.store import Store
from pipeline.scene.simulate import simulate_pass

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


# Mutations of bytes: each takes the content and a generator, and gives the content back damaged.

Mutation = Callable[[bytes, np.random.Generator], bytes]


def _place(content: bytes, rng: np.random.Generator) -> int:
    """Somewhere; in half of the cases near the beginning, where headers are."""
    reach = len(content) if rng.random() < 0.5 else min(len(content), 4096)
    return int(rng.integers(0, max(1, reach)))


def flip(content: bytes, rng: np.random.Generator) -> bytes:
    """Between one and 64 bits turned."""
    changed = bytearray(content)
    for _ in range(int(2 ** rng.uniform(0, 6)) if content else 0):
        changed[_place(content, rng)] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def truncate(content: bytes, rng: np.random.Generator) -> bytes:
    """The end is missing."""
    return content[: _place(content, rng)]


def lengthen(content: bytes, rng: np.random.Generator) -> bytes:
    """Random bytes at the end."""
    return content + rng.bytes(int(2 ** rng.uniform(0, 14)))


def cut(content: bytes, rng: np.random.Generator) -> bytes:
    """A stretch is missing in the midst."""
    start = _place(content, rng)
    return content[:start] + content[start + int(2 ** rng.uniform(0, 12)) :]


def repeat(content: bytes, rng: np.random.Generator) -> bytes:
    """A stretch stands there twice."""
    start, length = _place(content, rng), int(2 ** rng.uniform(0, 12))
    return content[: start + length] + content[start:]


def fill(content: bytes, rng: np.random.Generator) -> bytes:
    """A stretch of zeros, ones, or noise."""
    start, length = _place(content, rng), int(2 ** rng.uniform(0, 12))
    length = min(length, len(content) - start)
    filling = [b"\0" * length, b"\xff" * length, rng.bytes(length)][int(rng.integers(3))]
    return content[:start] + filling + content[start + length :]


def swap(content: bytes, rng: np.random.Generator) -> bytes:
    """Two stretches have changed places."""
    length = int(2 ** rng.uniform(2, 10))
    a, b = sorted((_place(content, rng), _place(content, rng)))
    if b - a < length:
        return content[::-1]
    return (
        content[:a]
        + content[b : b + length]
        + content[a + length : b]
        + content[a : a + length]
        + content[b + length :]
    )


def empty(content: bytes, rng: np.random.Generator) -> bytes:
    """Nothing, or noise in place of everything."""
    return b"" if rng.random() < 0.5 else rng.bytes(min(len(content), 65536))


# Mutations of text, for labels and tables of text.

NUMBER = re.compile(rb"(?<![\w.])[-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?")
VALUES = (
    b"0",
    b"-1",
    b"4294967296",
    b"9" * 30,
    b"1e308",
    b"-1e400",
    b"nan",
    b"inf",
    b"1e-320",
    b"2147483647",
    b"x",
    b"",
)
TEXTS = (
    b"../../../etc/passwd", b"/etc/passwd", b"/dev/zero", b"CON", b"{" * 3000, b"(" * 3000, b'"', b"/*", b"%s%n", b"\0",
    b"&a;" * 100, b"NULL", b"OBJECT = X\r\n" * 400, b"'" * 100, b"16#FFFFFFFFFFFF#", b"9999-366T99:99:99", b"..",
)  # fmt: skip


def number(content: bytes, rng: np.random.Generator) -> bytes:
    """A number is another one: absurd, none at all, or off by a little."""
    found = list(NUMBER.finditer(content[:200_000]))
    if not found:
        return flip(content, rng)
    match = found[int(rng.integers(len(found)))]
    new = VALUES[int(rng.integers(len(VALUES)))]
    if rng.random() < 0.3 and match[0].isdigit() and len(match[0]) < 15:
        new = str(int(match[0]) + int(rng.integers(-3, 4))).encode()
    return content[: match.start()] + new + content[match.end() :]


def line(content: bytes, rng: np.random.Generator) -> bytes:
    """A line is missing, stands there twice, or at another place."""
    lines = content.splitlines(keepends=True)
    if len(lines) < 3:
        return cut(content, rng)
    a, b = (int(rng.integers(len(lines))) for _ in range(2))
    how = rng.integers(3)
    taken = lines[a] if how == 1 else lines.pop(a)
    if how:
        lines.insert(b, taken)
    return b"".join(lines)


def value(content: bytes, rng: np.random.Generator) -> bytes:
    """A value of a label is a hostile one."""
    found = list(re.finditer(rb"=[ \t]*([^\r\n]*)|>([^<]*)<", content[:200_000]))
    if not found:
        return fill(content, rng)
    match = found[int(rng.integers(len(found)))]
    group = 1 if match[1] is not None else 2
    return content[: match.start(group)] + TEXTS[int(rng.integers(len(TEXTS)))] + content[match.end(group) :]


BYTES: tuple[Mutation, ...] = (flip, flip, truncate, lengthen, cut, repeat, fill, swap, empty)
TEXT: tuple[Mutation, ...] = (number, number, number, line, line, value, value)


def mutate(content: bytes, rng: np.random.Generator) -> tuple[str, bytes]:
    """A mutation's name and the damaged content; text is mostly damaged as text."""
    is_text = not re.search(rb"[^\t\r\n\x20-\x7e]", content[:2000])
    chosen = TEXT if is_text and rng.random() < 0.7 else BYTES
    mutation = chosen[int(rng.integers(len(chosen)))]
    return mutation.__name__, mutation(content, rng)


# Trying


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
        self.granules = discover(self.raw, [self.instrument], PASS, opener).granules
        owned = {f for g in self.granules for f in g.files.values()}
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
        with tempfile.TemporaryDirectory(prefix="perijove-fuzz-") as scratch:
            raw = self._copy(granule, path, content, Path(scratch) / "raw")
            outcome, detail, seconds, peak = _apart(lambda: self._whole_way(raw, form, Path(scratch) / "store"))
        detail = detail.replace(scratch, "")
        return Try(self.name, form, path.name, mutation, seed, outcome, round(seconds, 2), round(peak, 1), detail)

    def _copy(self, granule: Granule, damaged: Path, content: bytes, raw: Path) -> Path:
        for file in {*granule.files.values(), *self.loose}:
            place = raw / file.relative_to(self.raw)
            place.parent.mkdir(parents=True, exist_ok=True)
            if file == damaged:
                place.write_bytes(content)
            else:
                shutil.copyfile(file, place)
        return raw

    def _whole_way(self, raw: Path, form: str, store: Path) -> str:
        """Open, plan, read and calibrate; raises what went wrong."""
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
        for planned in plan.to_make():
            jobs = jobs_of(planned, plan, session.store)
            for job in [jobs[0], *jobs[1:][-(SEGMENTS - 1) :]]:
                compute_segment(job)
        return f"{len(plan.to_make())} products"


def _needed(instrument: Instrument) -> set[str]:
    steps = [s for p in instrument.products for s in instrument.steps_for(p.name)]
    return {n.name for s in steps if s.raw for n in s.needs if n.kind in ("product", "products")}


def _apart(work: Callable[[], str]) -> tuple[str, str, float, float]:
    """Do something in a child process within the limits; outcome, detail, processor seconds and peak memory in MB."""
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


def _in_child(work: Callable[[], str], writing: int) -> None:
    outcome, detail = "defect", ""
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(PATIENCE * SECONDS)
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 5))
        size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY_MB * 2**20,) * 2)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        outcome, detail = "product", work()
    except PerijoveError as error:
        outcome, detail = "refused", str(error)
    except MemoryError as error:
        outcome, detail = "memory", f"{error} {traceback.format_exc(limit=-4)}"
    except BaseException as error:
        outcome, detail = "defect", f"{type(error).__name__}: {error}\n{traceback.format_exc(limit=-5)}"
    finally:
        os.write(writing, json.dumps([outcome, detail[:3000]]).encode())
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
            | {"seconds": round(max(t.seconds for t in own), 1), "peak_mb": round(max(t.peak_mb for t in own), 1)}
        )
    return rows
