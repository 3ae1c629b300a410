"""A whole pass of one instrument at full rate: simulated, run by the command, compared with the truth.

    python bench/whole_run.py INSTRUMENT [PJ]

Prints seconds, the size of the raw data, MB of raw data per second, and the peak memory of the largest process (each
worker is one) of simulation and run.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

COMMAND = (sys.executable, "-c", "import perijove; perijove.main()")


def megabytes(folder: Path) -> float:
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) / 1e6


def called(what: str, *arguments: object) -> tuple[dict[str, Any], float]:
    """The answer of a command and its seconds; the kernel's peak of children only grows, so print it after each."""
    start = time.perf_counter()
    done = subprocess.run([*COMMAND, *map(str, arguments), "--json"], capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"{what:10s} {seconds:8.1f} s   largest process so far {peak:6.0f} MB   status {done.returncode}", flush=True)
    if done.returncode:
        print(done.stderr[-2000:])
    return json.loads(done.stdout or "{}"), seconds


def main(instrument: str, number: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder, store = Path(name), Path(name) / "store"
        own = ("--instrument", instrument)
        pid = os.fork()
        if pid == 0:  # its children's peak is its own
            called("simulate", "simulate", number, *own, "--scale", "full", "--out", folder)
            os._exit(0)
        os.waitpid(pid, 0)
        size = megabytes(folder / "raw")
        print(f"raw data {size:.0f} MB, truth {megabytes(folder / 'truth'):.0f} MB")
        _, seconds = called("run", "run", number, *own, "--raw", folder / "raw", "--store", store)
        print(f"{'':10s} {size / seconds:8.2f} MB/s, products {megabytes(store):.0f} MB")
        answer, _ = called("verify", "verify", "--store", store, "--truth", folder / "truth")
        print(json.dumps(answer)[:3000])


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 1)
