"""How fast a run becomes PDS4 bundles and how fast they are checked: ``bench/archive_export.py STORE [SCHEMAS]``.

Of the export the figures (matplotlib) are timed apart: they are pictures of the data, not data. Beside it the disk: the
same number of bytes written in blocks of 8 MB and synced, and read again. Peak memory is that of a process that does
nothing else.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import perijove  # noqa: F401  (claims the project's package names)

BLOCK = bytes(8 << 20)


def peak_mb() -> float:
    """Largest resident size since this program began (getrusage would count the parent's)."""
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024


Times = tuple[float, float]


def now() -> Times:
    """Seconds on the clock, and of the processor: the second do not depend on who else is at work."""
    return time.perf_counter(), time.process_time()


def since(start: Times) -> Times:
    wall, processor = now()
    return wall - start[0], processor - start[1]


def export(store: Path, out: Path, figures: bool, answer: Any) -> None:
    from pipeline.archive import products
    from pipeline.archive.export import Options, archive
    from pipeline.runs.store import Store

    if not figures:
        products.browse = lambda bundle, source, lids: []  # type: ignore[assignment]
    start = now()
    document = archive(Store(store), None, Options(out))
    answer.put((since(start), peak_mb(), document["bundles"]))


def check(store: Path, out: Path, schemas: Path, answer: Any) -> None:
    from pipeline.archive.check import check as body
    from pipeline.runs.store import Store

    start = now()
    document = body(out, schemas, Store(store))
    answer.put((since(start), peak_mb(), document))


def apart(function: Any, *arguments: Any) -> Any:
    """In a process of its own."""
    context = multiprocessing.get_context("spawn")
    answer = context.Queue()
    process = context.Process(target=function, args=(*arguments, answer))
    process.start()
    result = answer.get()
    process.join()
    return result


def disk(folder: Path, size: int) -> tuple[Times, Times]:
    """Times to write and to read that many bytes."""
    path = folder / "bytes"
    start = now()
    with path.open("wb") as file:
        for _ in range(-(-size // len(BLOCK))):
            file.write(BLOCK)
        file.flush()
        os.fsync(file.fileno())
    wrote = since(start)
    start = now()
    with path.open("rb") as file:
        while file.read(len(BLOCK)):
            pass
    read = since(start)
    path.unlink()
    return wrote, read


def row(name: str, times: Times, size: int, memory: float | None = None) -> None:
    rates = " ".join(f"{seconds:8.2f} s {size / 1e6 / seconds:7.1f} MB/s" for seconds in times)
    peak = "" if memory is None else f"{memory:7.0f} MB"
    print(f"{name:<24} {rates} {peak}", flush=True)


def main() -> None:
    store, schemas = Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as scratch:
        folder = Path(scratch)
        seconds, memory, bundles = apart(export, store, folder / "data", False)
        size = sum(b["bytes"] for b in bundles)
        print(f"{len(bundles)} bundles, {sum(b['products'] for b in bundles)} products, {size / 1e6:.1f} MB")
        print(f"{'':<24} {'clock':>10} {'':>12} {'processor':>10} {'':>12} {'peak':>10}")
        row("export without figures", seconds, size, memory)
        seconds, memory, _ = apart(export, store, folder / "all", True)
        row("export with figures", seconds, size, memory)
        shutil.rmtree(folder / "all")
        if schemas:
            seconds, memory, document = apart(check, store, folder / "data", schemas)
            row("check", seconds, size, memory)
            print(f"{document['errors']} errors, {document['warnings']} warnings")
        for name, seconds in zip(("disk: write and sync", "disk: read (cached)"), disk(folder, size), strict=True):
            row(name, seconds, size)


if __name__ == "__main__":
    main()
