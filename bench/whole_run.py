"""A whole pass of one instrument at full rate: simulated, run by the command, compared with the truth.

    python bench/whole_run.py INSTRUMENT [PJ]

Prints seconds of wall clock and of processors, the size of the raw data, MB of raw data per second of either, and the
peak memory of the largest process (each worker is one) of simulation and run.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

COMMAND = (sys.executable, "-c", "import perijove; perijove.main()")


def megabytes(folder: Path) -> float:
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) / 1e6


def called(what: str, *arguments: object) -> tuple[dict[str, Any], float, float]:
    """The answer of a command, its seconds, and those of processors; in a process whose children are its alone."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(_called, what, list(map(str, arguments))).result()


def _called(what: str, arguments: list[str]) -> tuple[dict[str, Any], float, float]:
    start = time.perf_counter()
    done = subprocess.run([*COMMAND, *arguments, "--json"], capture_output=True, text=True, check=False)
    seconds, used = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    processors, peak = used.ru_utime + used.ru_stime, used.ru_maxrss / 1024
    print(
        f"{what:10s} {seconds:7.1f} s   {processors:7.1f} s of processors   largest process {peak:5.0f} MB", flush=True
    )
    if done.returncode:
        print(f"status {done.returncode}\n{done.stderr[-2000:]}")
    return json.loads(done.stdout or "{}"), seconds, processors


def main(instrument: str, number: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder, store = Path(name), Path(name) / "store"
        own = ("--instrument", instrument)
        called("simulate", "simulate", number, *own, "--scale", "full", "--out", folder)
        size = megabytes(folder / "raw")
        print(f"raw data {size:.0f} MB, truth {megabytes(folder / 'truth'):.0f} MB", flush=True)
        _, seconds, used = called("run", "run", number, *own, "--raw", folder / "raw", "--store", store)
        print(f"{size / seconds:.2f} MB/s, {size / used:.2f} MB per second of processors", flush=True)
        print(f"products {megabytes(store):.0f} MB", flush=True)
        answer, *_ = called("verify", "verify", "--store", store, "--truth", folder / "truth")
        compared = answer.get("variables", [])
        print(f"{sum(v['ok'] for v in compared)} of {len(compared)} variables agree with the truth")
        for v in compared:
            if not v["ok"]:
                print(v["product"], v["variable"], v["why"])


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 1)
