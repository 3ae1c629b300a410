"""Files of random values for the tests of readers and writers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr
from mwr_scene import CLOCK, PASS

from instruments.mwr import layout, raw, raw_write, rdr
from pipeline.clock import Span

READERS = {"edr": raw.read_edr, "irdr": rdr.read_irdr, "grdr": rdr.read_grdr}
ROWS = 400


def written(
    folder: Path, kind: str, rows: int = ROWS, start: float = -600.0
) -> tuple[Path, dict[str, np.ndarray], np.ndarray]:
    """A file of random values with its labels: path, columns by name, times."""
    rng = np.random.default_rng(1)
    et = PASS.et + start + 0.1 * np.arange(rows)
    columns = {name: np.round(rng.normal(300.0, 90.0, rows), 4) for name in layout.COLUMNS[kind]}
    for name in columns:
        if name.endswith("Cnt"):
            columns[name] = np.round(columns[name], 2)
        if kind == "grdr" and raw_write._decimals(kind, name) == 6:
            columns[name] = np.round(rng.uniform(-1, 1, rows), 6)
    if kind == "edr":
        columns = {name: rng.integers(0, 65536, rows).astype(float) for name in layout.EDR}
        columns |= {f"{s}State": rng.integers(0, 8, rows).astype(float) for s in layout.STREAMS}
        columns["crc_error"] = np.zeros(rows)
    paths = raw_write.write_csv(folder, kind, 1, columns, et, CLOCK, simulated=True)
    assert len(paths) == 1
    return paths[0], columns, et


def read(path: Path, kind: str, span: Span | None = None) -> xr.Dataset:
    """A file opened and read."""
    return READERS[kind]([raw.open_csv(path, CLOCK)], span, CLOCK)
