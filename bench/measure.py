"""What benches measure with: wall clock, processor time, the block's own peak memory and rate."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.runs.monitor import forget_peak, peak_mb


@contextmanager
def timed(what: str, megabytes: float = 0.0) -> Iterator[None]:
    """Print what a block took; with its size, also the rate at which a processor goes through it."""
    forget_peak()
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    rate = f"   {megabytes / cpu:7.1f} MB/s" if megabytes and cpu else ""
    print(f"{what:38s} {wall:7.2f} s   {cpu:7.2f} s of processor   {peak_mb():6.0f} MB{rate}", flush=True)
