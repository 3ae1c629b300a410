"""How fast a full-rate hour of IRDR (30 000 rows, 201 columns) is read and written, beside pyarrow and polars.

``python bench/mwr_csv.py [hours]``: with hours, so many files are read in segments of 600 s as the core does, with
the peak memory. Engines that are not installed are said to be absent.
"""

from __future__ import annotations

import importlib.util
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from instruments.mwr import layout, raw, raw_write, rdr
from pipeline.clock import Sclk, Span
from pipeline.passes import get_pass

CLOCK = Sclk.default()
ROWS, STEP, RUNS = 30_000, 0.12, 3
# et of a whole UTC hour modulo 3600: leap seconds and 32.184 s, and a little so that none falls on the edge.
FIRST = 68.185
NUMBERS = [k for k, name in enumerate(layout.IRDR) if name != "t_utc_doy"]


def timed(what: str, call: Callable[[], object]) -> None:
    """The best of some runs, of wall clock and of processor time."""
    wall, cpu = [], []
    for _ in range(RUNS):
        start, used = time.perf_counter(), time.process_time()
        call()
        wall.append(time.perf_counter() - start)
        cpu.append(time.process_time() - used)
    print(f"{what:44s} {min(wall):7.2f} s   {min(cpu):7.2f} s of processor")


def hour(folder: Path, number: int) -> tuple[Path, dict[str, np.ndarray], np.ndarray]:
    rng = np.random.default_rng(number)
    et = np.ceil(get_pass(1).et / 3600.0) * 3600.0 + 3600.0 * number + FIRST + STEP * np.arange(ROWS)
    columns = {name: rng.normal(300.0, 50.0, et.size) for name in layout.IRDR[2:]}
    return raw_write.write_csv(folder, "irdr", 1, columns, et, CLOCK, simulated=True)[0], columns, et


def there(name: str) -> bool:
    if importlib.util.find_spec(name):
        return True
    print(f"{name} is not installed")
    return False


def compare(folder: Path) -> None:
    path, columns, et = hour(folder, 0)
    size = path.stat().st_size
    print(f"{et.size} rows, {size / 1e6:.1f} MB")
    granule = raw.open_csv(path, CLOCK)
    timed("read: this project, to a dataset", lambda: rdr.read_irdr([granule], None, CLOCK))
    timed("read: pandas, numbers of a given type", lambda: pd.read_csv(path, usecols=NUMBERS, dtype=np.float64))
    timed("read: pandas as it comes", lambda: pd.read_csv(path))
    if there("polars"):
        import polars

        names = [layout.IRDR[k] for k in NUMBERS]
        types = dict.fromkeys(names, polars.Float64)
        timed("read: polars", lambda: polars.read_csv(path, columns=names, schema_overrides=types).to_numpy())
    if there("pyarrow"):
        from pyarrow import csv

        timed("read: pyarrow", lambda: [c.to_numpy() for c in csv.read_csv(path).columns[2:]])
    with tempfile.TemporaryDirectory() as other:
        timed(
            "write: this project, labels included",
            lambda: raw_write.write_csv(Path(other), "irdr", 1, columns, et, CLOCK, simulated=True),
        )
        frame = pd.DataFrame(columns)
        timed("write: pandas, numbers alone", lambda: frame.to_csv(Path(other) / "a.csv", float_format="%.4f"))
        if importlib.util.find_spec("polars"):
            import polars

            table = polars.DataFrame(columns)
            timed("write: polars, numbers alone", lambda: table.write_csv(Path(other) / "b.csv", float_precision=4))


def stream(folder: Path, hours: int) -> None:
    granules = []
    for number in range(hours):
        granules += [raw.open_csv(hour(folder, number)[0], CLOCK)]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    start, rows = time.perf_counter(), 0
    first, last = granules[0].start, granules[-1].stop
    for k in range(int(first // 600), int(last // 600) + 1):
        span = Span(600.0 * k, 600.0 * (k + 1))
        near = [g for g in granules if g.start < span.stop and g.stop > span.start]
        rows += rdr.read_irdr(near, span, CLOCK).sizes["et"] if near else 0
    size = sum(g.files["data"].stat().st_size for g in granules)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{hours} files, {rows} rows, {size / 1e6:.0f} MB in segments: {time.perf_counter() - start:.1f} s,", end=" ")
    print(f"peak {peak:.0f} MB ({before:.0f} MB before)")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        compare(Path(scratch))
        if len(sys.argv) > 1:
            stream(Path(scratch), int(sys.argv[1]))
