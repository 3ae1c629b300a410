"""How fast segments are written, joined and read, and how much memory joining takes: two hours of full-rate MAG.

``aligned``: every segment holds a whole number of chunks and is copied compressed. ``as cut``: the first segment holds
less, as it does when data begin inside a segment, so that everything is compressed anew. Bytes must be equal.
"""

from __future__ import annotations

import hashlib
import itertools
import multiprocessing
import tempfile
import time
from pathlib import Path

import numpy as np
import xarray as xr

from instruments.mag.schemas import FIELD, FLAGS
from pipeline.clock import Span
from pipeline.dataset import check, netcdf
from pipeline.runs.monitor import peak_mb

RATE, SECONDS, SEGMENT = 64, 7200, 600
T0 = 525574312.0


def sample() -> xr.Dataset:
    n = RATE * SECONDS
    rng = np.random.default_rng(0)
    seconds = np.arange(n) / RATE
    variables = {}
    for entry in check.stored(FIELD):
        shape = tuple({"et": n, "xyz": 3, "axis": 3}[d] for d in entry.dims)
        smooth = 1e4 * np.sin(seconds / 300).reshape((n,) + (1,) * (len(shape) - 1))
        if entry.name == "et":
            values = T0 + seconds
        elif entry.name == "time":
            values = np.datetime64("2016-08-27T12:00:00", "ns") + (seconds * 1e9).astype("timedelta64[ns]")
        elif entry.dtype.startswith("float"):
            noise = rng.normal(0, 1, shape) if entry.name.startswith("b_") and not entry.of else 0.0
            values = np.abs(np.broadcast_to(smooth, shape)) + noise
        else:
            values = np.broadcast_to(np.arange(n) if entry.name == "sclk" else 0, shape)
        variables[entry.name] = xr.Variable(entry.dims, values)
    return check.finish(xr.Dataset(variables), FIELD, FLAGS, {})


def join(out: Path, paths: list[Path], results: multiprocessing.Queue) -> None:
    before = peak_mb()
    start = time.perf_counter()
    netcdf.assemble(out, paths, FIELD, {"title": "bench"})
    seconds = time.perf_counter() - start
    results.put((seconds, peak_mb() - before))


def main() -> None:
    dataset = sample()
    megabytes = dataset.nbytes / 1e6
    print(f"{dataset.sizes['et']} records, {len(dataset.variables)} variables, {megabytes:.0f} MB in memory")
    print(f"{'':24} {'segments':>8} {'write s':>8} {'join s':>8} {'MB/s':>6} {'MB more':>8} {'file MB':>8}  sha256")
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for name, first in (("one segment", None), ("aligned", RATE * SEGMENT), ("as cut", RATE * SEGMENT // 3)):
            n = dataset.sizes["et"]
            edges = [0, *(range(first, n, RATE * SEGMENT) if first else ()), n]
            start = time.perf_counter()
            paths = []
            for number, (a, b) in enumerate(itertools.pairwise(edges)):
                paths.append(folder / f"{number}.nc")
                netcdf.write_segment(paths[-1], dataset.isel(et=slice(a, b)), FIELD)
            written = time.perf_counter() - start
            results = context.Queue()
            process = context.Process(target=join, args=(folder / "out.nc", paths, results))
            process.start()
            seconds, memory = results.get()
            process.join()
            content = (folder / "out.nc").read_bytes()
            print(
                f"{name:24} {len(paths):8d} {written:8.2f} {seconds:8.2f} {megabytes / seconds:6.0f} {memory:8.0f}"
                f" {len(content) / 1e6:8.1f}  {hashlib.sha256(content).hexdigest()[:12]}"
            )
        for name, span in (("open whole", None), ("open 60 s", Span(T0 + 3000, T0 + 3060)), ("attributes", ())):
            start = time.perf_counter()
            if span == ():
                netcdf.read_attrs(folder / "out.nc")
            else:
                netcdf.open_product(folder / "out.nc", span)
            print(f"{name:24} {1e3 * (time.perf_counter() - start):8.1f} ms")


if __name__ == "__main__":
    main()
