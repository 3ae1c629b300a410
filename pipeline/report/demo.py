"""The demo: a simulated pass through everything, in one folder."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.errors import UsageError
from pipeline.report.page import write_page
from pipeline.report.terminal import ERR
from pipeline.runs.monitor import Monitor
from pipeline.runs.run import Request
from pipeline.runs.store import Store
from pipeline.runs.verify import verify
from pipeline.scene.simulate import simulate_pass

PASS = 1


def demo(out: Path, run: Callable[[Request], dict[str, Any]]) -> dict[str, Any]:
    """Simulate PJ1, run it, verify it against its truth and draw its page, below `out`.

    Returns
    -------
    dict
        ``{"ok", "seconds", "peak_mb", "raw", "truth", "store", "page", "run", "verification"}``
    """
    out = out.resolve()
    if out.exists() and any(out.iterdir()) and not (out / "raw").is_dir():
        raise UsageError(f"{out} holds something else: name another folder with --out")
    started = time.perf_counter()
    with Monitor() as monitor:
        ERR.print(f"simulating PJ{PASS} (2016-08-27) ...")
        simulation = simulate_pass(PASS, out, (), "demo", 0)
        ERR.print("calibrating through the flow ...")
        record = run(Request(pass_number=PASS, store=out / "store", raw=out / "raw", pictures=True))
        ERR.print("verifying against the truth ...")
        store = Store(out / "store")
        verification = verify(store, record["run"], out / "truth")
        ERR.print("drawing the page ...")
        page = write_page(store, record["run"], out / "page")
    return {
        "ok": verification["ok"],
        "seconds": round(time.perf_counter() - started, 1),
        "peak_mb": round(max(monitor.peak_mb, record["peak_mb"]), 1),
        "raw": simulation["raw"],
        "truth": simulation["truth"],
        "store": str(store.root),
        "page": str(page),
        "run": record["run"],
        "verification": verification,
    }
