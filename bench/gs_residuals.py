"""Gravity Science: residuals of simulated passes against the noise put in, numerical noise, and time and memory.

    python bench/gs_residuals.py [residuals|noise|scale]

With the mission's files (``../shared/data`` or ``PERIJOVE_REAL_DATA``) also on reconstructed trajectories.
"""

from __future__ import annotations

import os
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "gs"))
from gs_scene import CLOCK, Loop, rms, scene, simulated
from test_gs_physics import SPK, computed_range_rate, geometry, noise, station

from instruments.gs import open_loop, raw, simulate
from instruments.gs.lighttime import Bodies
from pipeline.passes import get_pass

DATA = Path(os.environ.get("PERIJOVE_REAL_DATA", Path(__file__).resolve().parents[2] / "shared" / "data")) / "spice"


def trajectories(number: int) -> list[tuple[str, Path | None]]:
    kernel = DATA / SPK[number]
    return [("propagated", None), *([("reconstructed", kernel)] if kernel.exists() else [])]


def residuals() -> None:
    """Residual range rate at 60 s after each calibration, two hours, mm/s."""
    print("| pass | trajectory | link | none | + troposphere | + spin, antenna | + plasma | stated | noise put in |")
    print("|---|---|---|---|---|---|---|---|---|")
    cases = [(n, *t, 1.0) for n in (1, 6) for t in trajectories(n)]
    whole_truth = simulate.truth_tables
    for number, name, kernel, plasma in [*cases, (6, "propagated", None, 30.0)]:

        def truth(et: float, plasma: float = plasma) -> dict:
            known = whole_truth(et)
            return known | {"plasma": {"rate": plasma * known["plasma"]["rate"]}}

        simulate.truth_tables = truth
        with tempfile.TemporaryDirectory() as folder:
            loop = simulated(scene(number, -3600.0, 3600.0, kernel), Path(folder))
            made = loop.products["gs.range_rate"]
        whole = made["coverage"].values > 0.95
        stages = " | ".join(f"{rms(made['stage'].values[whole, k]):.4f}" for k in range(4))
        random, structured = (made[f"range_rate_{c}"].values[whole] for c in ("random", "structured"))
        links = "X/X" if made["links"].values.max() == 1 else "X/X, X/Ka, Ka/Ka"
        stated = rms(np.hypot(random, structured))
        what = name if plasma == 1.0 else f"{name}, plasma x {plasma:.0f}"
        print(f"| PJ{number} | {what} | {links} | {stages} | {stated:.4f} | {rms(random):.4f} |")
    simulate.truth_tables = whole_truth


def numerical() -> None:
    """Noise of the computed two-way range rate at 60 s, what polynomials over twenty minutes leave, mm/s."""
    print("| pass | trajectory | degree 30 | degree 50 |")
    print("|---|---|---|---|")
    for number, dss in ((1, 55), (6, 25)):
        epoch = float(np.floor(get_pass(number).et))
        for name, kernel in trajectories(number):
            bodies = Bodies.of(geometry(number, kernel), epoch)
            values = computed_range_rate(bodies, station(dss, bodies, epoch))
            print(f"| PJ{number} | {name} | {noise(values, 30):.1e} | {noise(values, 50):.1e} |")


def scale() -> None:
    """A pass of two hours, three links every second, and a recording of 16 kHz."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        where = scene(6, -3600.0, 3600.0)
        begun = time.perf_counter()
        truth = {t.type: t.dataset for t in simulate.simulate(where, folder, "full", np.random.default_rng(0))}
        print(f"simulated in {time.perf_counter() - begun:.1f} s")
        loop = Loop(where, folder, truth)
        timed("read TNF", loop.path("TNF"), lambda: loop.read(raw.TNF))
        timed("read ODF", loop.path("ODF"), lambda: loop.read(raw.ODF))
        timed("TNF to residuals and means, geometry made", loop.path("TNF"), lambda: loop.products)
        timed("estimate", loop.path("TNF"), lambda: loop.gravity)
        path = loop.path("RSR")
        granule = open_loop.open_recording(path, CLOCK)
        timed("read RSR", path, lambda: open_loop.read_recording([granule], None, CLOCK))
        timed("RSR to frequencies at 1 s", path, lambda: loop.open_loop)
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


def timed(what: str, path: Path, work) -> None:
    begun = time.perf_counter()
    work()
    seconds = time.perf_counter() - begun
    size = path.stat().st_size / 1e6
    print(f"{what}: {size:.1f} MB, {seconds:.2f} s, {size / seconds:.1f} MB/s")


if __name__ == "__main__":
    parts = {"residuals": residuals, "noise": numerical, "scale": scale}
    for part in sys.argv[1:] or list(parts):
        parts[part]()
