"""How long JEDI takes for two hours at full rate, seconds, MB/s and peak memory; alone, in one process.

Electrons every half second, ions every second, of three units. The tables are written by a process of its own, read and
calibrated in segments as the core cuts them; results are dropped, as workers drop them.
"""

from __future__ import annotations

import multiprocessing
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from measure import timed

from calibration.tables import Table
from instruments.jedi import INSTRUMENT, calibrate, raw, spectrograms
from pipeline.clock import Sclk, Span
from pipeline.scene import Scene, make_scene
from pipeline.testing.inputs import field_of

CLOCK = Sclk.default()
SEGMENT = 1200.0


def scene() -> Scene:
    return make_scene(1, scale="full", seed=0)


def simulated(folder: Path) -> None:
    list(INSTRUMENT.simulate(scene(), folder, "full", np.random.default_rng(0)))  # type: ignore[misc]


def segments(span: Span) -> Iterator[Span]:
    for k in range(int(span.start // SEGMENT), int(span.stop // SEGMENT) + 1):
        yield Span(k * SEGMENT, (k + 1) * SEGMENT)


def main() -> None:
    where = scene()
    tables = {p.stem: Table.read(p) for p in INSTRUMENT.tables.glob("*.yaml") if p.stem != "context"}
    with timed("geometry and field"):
        field = field_of(where)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with timed("simulate (another process)"):
            child = multiprocessing.get_context("spawn").Process(target=simulated, args=(folder,))
            child.start()
            child.join()
        for function in calibrate.STEPS:
            step = function.__perijove_step__  # type: ignore[attr-defined]
            kind = str(step.raw).partition(".")[2].upper()
            labels = sorted(folder.rglob(f"JED_*_{kind}_EDR_*.LBL"))
            size = sum(p.with_suffix(".TAB").stat().st_size for p in labels) / 1e6
            with timed(f"{kind}: open {size:.0f} MB", size):
                granules = [raw.open_edr(p, CLOCK) for p in labels]
            chosen = {n.argument: tables[n.name.split(".", 1)[1]] for n in step.needs if n.kind == "table"}
            records = 0
            with timed(f"{kind}: {step.produces}", size):
                for span in segments(where.span):
                    data = raw.read_edr(granules, span.pad(step.halo), CLOCK)
                    if data.sizes["record"] == 0:
                        continue
                    made = step.function(data, field, where.geometry, span, **chosen)
                    records += int(span.contains(made["et"].values).sum())
                    if kind in ("HIERSESP", "HIERSTOFXER"):
                        spectrograms.spectrogram(made)
            print(f"  {records} records", flush=True)


if __name__ == "__main__":
    main()
