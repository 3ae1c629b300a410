"""How fast a full-rate hour of IRDR (30 000 rows, 201 columns) is read and written, beside pyarrow, polars and pandas.

``python bench/mwr_csv.py [hours]``: with hours, so many files are read in segments of 600 s as the core does, with the
peak memory. All have one thread, as a worker of this project has, and take turns; the least processor time of each
counts. Engines that are not installed are said to be absent.
"""

from __future__ import annotations

import importlib.util
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

os.environ["POLARS_MAX_THREADS"] = "1"  # read when it is imported

import numpy as np
import pandas as pd

from instruments.mwr import layout, parse, raw, raw_write, rdr
from instruments.mwr.decimals import lines
from pipeline.clock import Sclk, Span, format_utc
from pipeline.passes import get_pass

CLOCK = Sclk.default()
ROWS, STEP, ROUNDS = 30_000, 0.12, 7
# et of a whole UTC hour modulo 3600: leap seconds and 32.184 s, and a little so that none falls on the edge.
FIRST = 68.185
SEGMENT = 600.0
NUMBERS = [k for k, name in enumerate(layout.IRDR) if name != "t_utc_doy"]
NAMES = [layout.IRDR[k] for k in NUMBERS]
Calls = dict[str, Callable[[], object]]


def race(calls: Calls, rounds: int) -> None:
    """The least wall clock and processor time of each, in turns."""
    best = dict.fromkeys(calls, (np.inf, np.inf))
    for _ in range(rounds):
        for name, call in calls.items():
            wall, cpu = time.perf_counter(), time.process_time()
            made = call()
            spent = time.perf_counter() - wall, time.process_time() - cpu
            del made
            best[name] = min(best[name][0], spent[0]), min(best[name][1], spent[1])
    for name, (wall, cpu) in best.items():
        print(f"  {name:52s} {1e3 * wall:7.0f} ms {1e3 * cpu:7.0f} ms of processor")


def hour(folder: Path, number: int) -> tuple[Path, dict[str, np.ndarray], np.ndarray]:
    rng = np.random.default_rng(number)
    et = np.ceil(get_pass(1).et / 3600.0) * 3600.0 + 3600.0 * number + FIRST + STEP * np.arange(ROWS)
    columns = {name: rng.normal(300.0, 50.0, et.size) for name in layout.IRDR[2:]}
    return raw_write.write_csv(folder, "irdr", 1, columns, et, CLOCK, simulated=True)[0], columns, et


def there(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def parsers(path: Path) -> Calls:
    """Parsers of a whole file into one array of numbers, without any check."""
    calls: Calls = {
        "pandas": lambda: pd.read_csv(path, usecols=NUMBERS, dtype=np.float64).to_numpy(),
    }
    if there("polars"):
        import polars

        types = dict.fromkeys(NAMES, polars.Float64)
        calls["polars"] = lambda: polars.read_csv(path, columns=NAMES, schema_overrides=types).to_numpy()
    if there("pyarrow"):
        import pyarrow
        from pyarrow import csv

        reading = csv.ReadOptions(use_threads=False, block_size=1 << 26)
        types_ = dict.fromkeys(NAMES, pyarrow.float64())
        chosen = csv.ConvertOptions(include_columns=NAMES, column_types=types_)
        calls["pyarrow"] = lambda: np.stack(
            [c.to_numpy() for c in csv.read_csv(path, read_options=reading, convert_options=chosen).columns]
        )
    return calls


def compare_reading(path: Path, folder: Path) -> None:
    """A whole hour, and a segment, against parsers of a file of the same rows."""
    granule = raw.open_csv(path, CLOCK)
    file = raw._look(path, CLOCK)
    span = Span(granule.start + SEGMENT, granule.start + 2.0 * SEGMENT)
    for what, chosen in (("an hour", None), ("a segment of 600 s, 6 s more on either side", span)):
        low, high = raw._part(file, chosen, CLOCK)
        rows = folder / "rows.csv"
        rows.write_bytes(layout.header("irdr") + parse.text_of(path, low, high))
        print(f"reading {what}, {(high - low) / 1e6:.1f} MB")
        ours: Calls = {
            "this project: numbers, fields counted": lambda low=low, high=high: parse._numbers(path, "irdr", low, high),  # type: ignore[misc]
            "this project: numbers, checked": lambda low=low, high=high: parse.parse(path, "irdr", low, high),  # type: ignore[misc]
            "this project: checked dataset in time order": lambda chosen=chosen: rdr.read_irdr(
                [granule], chosen, CLOCK
            ),  # type: ignore[misc]
        }
        race(parsers(rows) | ours, ROUNDS if chosen is None else 3 * ROUNDS)


def compare_writing(folder: Path, columns: dict[str, np.ndarray], et: np.ndarray) -> None:
    """Polars and pyarrow print as few digits as a number needs, so those two are given rounded numbers."""
    known = {"t_ephem_time": et, "t_utc_doy": format_utc(et, day_of_year=True), **columns}
    decimals = {name: raw_write._decimals("irdr", name) for name in NAMES}
    text = folder / "written.csv"

    def rounded() -> dict[str, np.ndarray]:
        return {n: np.round(v, decimals[n]) if n in decimals else v for n, v in known.items()}

    def in_blocks() -> bytes:
        parts = (slice(k, k + raw_write.BLOCK) for k in range(0, len(et), raw_write.BLOCK))
        return b"".join(lines({n: v[part] for n, v in known.items()}, decimals) for part in parts)

    frame = pd.DataFrame(known)
    calls: Calls = {
        "this project: text": lambda: text.write_bytes(in_blocks()),
        "this project: files with labels": lambda: raw_write.write_csv(
            folder, "irdr", 1, columns, et, CLOCK, simulated=True
        ),
        "pandas, 4 decimals": lambda: frame.to_csv(text, index=False, float_format="%.4f"),
    }
    if there("polars"):
        import polars

        table = polars.DataFrame(known)
        calls["polars, 4 decimals"] = lambda: table.write_csv(text, float_precision=4)
        calls["polars, rounded"] = lambda: polars.DataFrame(rounded()).write_csv(text)
    if there("pyarrow"):
        import pyarrow
        from pyarrow import csv

        calls["pyarrow, rounded"] = lambda: csv.write_csv(pyarrow.table(rounded()), text)
    print("writing an hour")
    race(calls, 2)


def peak() -> float:
    """The most memory that this process has had so far, MB (Linux)."""
    found = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) / 1024 if found else np.nan


def stream(paths: list[Path]) -> str:
    """What reading files in segments takes, in a process that did nothing before; then parsers on the same."""
    pd.set_option("mode.max_threads", 1)
    granules = [raw.open_csv(path, CLOCK) for path in paths]
    before = peak()
    wall, used, rows = time.perf_counter(), os.times(), 0
    for k in range(int(granules[0].start // SEGMENT), int(granules[-1].stop // SEGMENT) + 1):
        span = Span(SEGMENT * k, SEGMENT * (k + 1))
        near = [g for g in granules if g.start < span.stop and g.stop > span.start]
        rows += rdr.read_irdr(near, span, CLOCK).sizes["et"] if near else 0
    wall = time.perf_counter() - wall
    own, system = (now - then for now, then in zip(os.times()[:2], used[:2], strict=True))
    size = sum(path.stat().st_size for path in paths) / 1e6
    said = [
        f"{len(paths)} hours, {rows} rows, {size:.0f} MB, in segments: {wall:.1f} s, {own:.1f} s of processor and "
        f"{system:.1f} s of the system's, peak {peak():.0f} MB ({before:.0f} MB before)"
    ]
    for name in parsers(paths[0]):
        start = time.process_time()
        for path in paths:
            parsers(path)[name]()
        said.append(f"  {name}, file by file, bare: {time.process_time() - start:.1f} s of processor")
    return "\n".join(said)


if __name__ == "__main__":
    pd.set_option("mode.max_threads", 1)
    with tempfile.TemporaryDirectory() as scratch:
        made, columns, et = hour(Path(scratch), 0)
        compare_reading(made, Path(scratch))
        compare_writing(Path(scratch), columns, et)
        if len(sys.argv) > 1:
            paths = [hour(Path(scratch), number)[0] for number in range(int(sys.argv[1]))]
            with ProcessPoolExecutor(1, get_context("spawn")) as fresh:
                print(fresh.submit(stream, paths).result())
