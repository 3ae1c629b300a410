"""How fast a run becomes PDS4 bundles and how fast they are checked: ``bench/archive_export.py STORE [SCHEMAS]``.

Of the export the figures (matplotlib) are timed apart: they are pictures of the data, not data. Beside it what no
export can do without: inflating the products of the store, and copying the bytes of the bundles while hashing them; and
the disk: as many bytes written in blocks of 8 MB and synced. Peak memory is that of a process that does nothing else.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import perijove  # noqa: F401  (claims the project's package names)
from pipeline.runs.monitor import peak_mb

BLOCK = bytes(8 << 20)


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


def remember(store: Path, answer: Any) -> None:
    """Open the raw granules, as the run did: the store remembers them while neither they nor the code change."""
    from pipeline import registry
    from pipeline.runs.discover import discover
    from pipeline.runs.granules import Opener
    from pipeline.runs.run import clock_of
    from pipeline.runs.store import Store

    opened = Store(store).prepare()
    run = opened.run(None)
    opener = Opener(opened, clock_of(Path(run["kernels"]) if run["kernels"] else None))
    instruments = [registry.load(name) for name in sorted({p["instrument"] for p in run["products"]})]
    answer.put(len(discover(Path(run["raw"]), instruments, run["pass"], opener).granules))


def floor(store: Path, out: Path, answer: Any) -> None:
    """Times of inflating, and of copying with MD5."""
    from pipeline.archive.layout import BLOCK as PIECE
    from pipeline.dataset.parts import open_parts
    from pipeline.runs.store import Store

    opened = Store(store)
    start = now()
    for product in opened.run(None)["products"]:
        if product["status"] not in ("made", "kept"):
            continue
        with open_parts(Path(product["path"])) as (parts, _):
            for part in (p for p in parts if 0 not in p.shape):
                rows = part.shape[0] if part.shape else 1
                width = max(1, int(np.prod(part.shape[1:])) * part.dtype.itemsize)
                step = max(1, PIECE // (width * part.rows)) * part.rows
                for first in range(0, rows, step):
                    part.read(first, min(first + step, rows))
    inflated = since(start)
    start = now()
    copy = out.with_name("copy")
    for path in (p for p in out.rglob("*") if p.is_file()):
        digest = hashlib.md5(usedforsecurity=False)
        target = copy / path.relative_to(out)
        target.parent.mkdir(parents=True, exist_ok=True)
        with path.open("rb") as source, target.open("wb") as file:
            while block := source.read(PIECE):
                digest.update(block)
                file.write(block)
    answer.put((inflated, since(start)))


def disk(folder: Path, size: int) -> Times:
    """Times to write that many bytes."""
    path = folder / "bytes"
    start = now()
    with path.open("wb") as file:
        for _ in range(-(-size // len(BLOCK))):
            file.write(BLOCK)
        file.flush()
        os.fsync(file.fileno())
    wrote = since(start)
    path.unlink()
    return wrote


def row(name: str, times: Times, size: int, memory: float | None = None) -> None:
    rates = " ".join(f"{seconds:8.2f} s {size / 1e6 / seconds:7.1f} MB/s" for seconds in times)
    peak = "" if memory is None else f"{memory:7.0f} MB"
    print(f"{name:<24} {rates} {peak}", flush=True)


def main() -> None:
    store, schemas = Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as scratch:
        folder = Path(scratch)
        apart(remember, store)
        seconds, memory, bundles = apart(export, store, folder / "data", False)
        size = sum(b["bytes"] for b in bundles)
        print(f"{len(bundles)} bundles, {sum(b['products'] for b in bundles)} products, {size / 1e6:.1f} MB")
        print(f"{'':<24} {'clock':>10} {'':>12} {'processor':>10} {'':>12} {'peak':>10}")
        row("export without figures", seconds, size, memory)
        exported = seconds
        inflated, copied = apart(floor, store, folder / "data")
        shutil.rmtree(folder / "copy")
        row("floor: inflate", inflated, size)
        row("floor: hash and copy", copied, size)
        least = [a + b for a, b in zip(inflated, copied, strict=True)]
        print(f"{'export / floor':<24} {exported[0] / least[0]:8.2f} {exported[1] / least[1]:25.2f}")
        row("disk: write and sync", disk(folder, size), size)
        seconds, memory, _ = apart(export, store, folder / "all", True)
        row("export with figures", seconds, size, memory)
        shutil.rmtree(folder / "all")
        if schemas:
            seconds, memory, document = apart(check, store, folder / "data", schemas)
            row("check", seconds, size, memory)
            print(f"{document['errors']} errors, {document['warnings']} warnings")


if __name__ == "__main__":
    main()
