"""How a pass, and many of them, scale with workers: two measured points, and the model of docs/scaling.md between them.

``python bench/scaling.py [--instrument NAME]... [--workers 1 2] [--small NAME] [--passes N] [--folder DIR]`` simulates
PJ1 and runs it on local clusters of 1 and 2 workers; then N small passes (an even number) of one instrument, one after
the other and two at a time on one worker each, and holds them against what the first of them predicts; then prints what
the model says for 1, 2, 8 and 64 workers and for 76 passes. On two quiet cores it takes some ten minutes.

The model: ``T(n) = F + max(C / n, L)``. F is what no worker helps (start of Prefect and workers, the plan, waits
between products), C the seconds of workers that all products take, L the longest chain of products that need each
other. C and F follow from the two measured points, L from the recorded times and inputs of the products.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import perijove  # noqa: F401  (claims the project's package names)

PASSES, AT_ONCE = 76, 8


def start(*arguments: Any) -> subprocess.Popen[str]:
    """``perijove ...`` as a process."""
    return subprocess.Popen(
        [sys.executable, "-c", "import perijove; perijove.main()", *map(str, arguments), "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def document(process: subprocess.Popen[str]) -> dict[str, Any]:
    """What a command says when it is done."""
    out, err = process.communicate()
    if process.returncode:
        raise SystemExit(f"{process.args}: {err}")
    found: dict[str, Any] = json.loads(out)
    return found


def command(*arguments: Any) -> tuple[float, dict[str, Any]]:
    """Seconds that ``perijove ...`` takes, and its document."""
    began = time.perf_counter()
    found = document(start(*arguments))
    return time.perf_counter() - began, found


def longest_chain(record: dict[str, Any], store: Path) -> float:
    """Seconds of the slowest chain of products that need each other, each on as many workers as it has segments."""
    full = json.loads((store / "runs" / f"{record['run']}.json").read_text())
    by_key = {p["key"]: p for p in full["products"] if p.get("seconds")}
    known: dict[str, float] = {}

    def until(key: str) -> float:
        if key not in known:
            product = by_key[key]
            needed = [
                k for v in product["recipe"]["inputs"].values() for k in (v.values() if isinstance(v, dict) else [v])
            ]
            own = product["seconds"] / max(1, product["segments"])
            known[key] = own + max((until(k) for k in needed if k in by_key), default=0.0)
        return known[key]

    return max(map(until, by_key), default=0.0)


def small_passes(scratch: Path, name: str, count: int) -> None:
    """Passes of one instrument: one after the other, then two at a time; what one takes alone predicts both."""
    numbers = [3, 4, 5, 6, 7, 8, 9, 10][:count]
    for number in numbers:
        command("simulate", number, "--out", scratch / f"small-{number}", "--instrument", name)

    def options(number: int, store: str) -> tuple[Any, ...]:
        raw = scratch / f"small-{number}" / "raw"
        return "run", number, "--instrument", name, "--raw", raw, "--store", scratch / store, "--workers", 1

    took = [command(*options(number, "one-by-one"))[0] for number in numbers]
    print(f"{count} small passes ({name}), one after the other: {', '.join(f'{t:.1f}' for t in took)} s; "
          f"{sum(took):.1f} s in all, {count * took[0]:.1f} s predicted by the first")  # fmt: skip
    began = time.perf_counter()
    for pair in zip(numbers[::2], numbers[1::2], strict=True):
        for process in [start(*options(number, "side-by-side")) for number in pair]:
            document(process)
    print(f"two at a time: {time.perf_counter() - began:.1f} s in all, {sum(took) / 2:.1f} s if nothing were shared")


def model(rest: float, work: float, chain: float, workers: int) -> float:
    return rest + max(work / workers, chain)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--instrument", action="append", help="only this one; may be repeated; default: all")
    parser.add_argument("--workers", type=int, nargs=2, default=[1, 2])
    parser.add_argument("--small", default="mag", help="instrument of the small passes; default: mag")
    parser.add_argument("--passes", type=int, default=4)
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    chosen = [o for name in arguments.instrument or () for o in ("--instrument", name)]
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.folder or Path(scratch)
        if not (folder / "raw").is_dir():
            command("simulate", 1, "--out", folder, *chosen)
        measured: dict[int, float] = {}
        for workers in arguments.workers:
            store = Path(scratch) / f"store-{workers}"
            options = ("--raw", folder / "raw", "--store", store, *chosen)
            measured[workers], record = command("run", 1, *options, "--workers", workers)
            busy = sum(p.get("seconds", 0.0) for p in record["products"])
            peak = max(p.get("peak_mb", 0.0) for p in record["products"])
            print(
                f"{workers} worker(s): {measured[workers]:.1f} s; products {busy:.1f} s; {peak:.0f} MB a worker at most"
            )
        again, _ = command("run", 1, *options, "--workers", 1)
        one, two = sorted(measured)
        # Products that are made already: what remains is what a run costs without work, and without starting anything.
        work = (measured[one] - measured[two]) / (1 / one - 1 / two)
        chain = longest_chain(record, store)
        rest = measured[one] - work / one
        print(f"a run with nothing to do: {again:.1f} s")
        print(f"C = {work:.1f} s of workers, F = {rest:.1f} s, L = {chain:.1f} s")
        small_passes(Path(scratch), arguments.small, arguments.passes)
        for workers in (1, 2, 8, 64):
            once = model(rest, work, chain, workers)
            many = max(PASSES * work / workers, PASSES * rest / AT_ONCE, once)
            print(f"model, {workers} workers: one pass {once:.1f} s; {PASSES} passes one after the other "
                  f"{PASSES * once:.0f} s, {AT_ONCE} at a time {many:.0f} s")  # fmt: skip


if __name__ == "__main__":
    main()
