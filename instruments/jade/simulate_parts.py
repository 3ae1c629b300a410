"""What the simulators of electrons and of ions share: tables, records, days of files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from instruments.jade.forward import Array, Known
from instruments.jade.raw_write import write_level2
from pipeline.clock import format_utc
from pipeline.scene.tables import values_at

if TYPE_CHECKING:
    from pipeline.scene import Scene

Columns = dict[str, tuple[tuple[str, ...], Array]]

NAMES = (
    "compression", "timing", "energy_electrons", "energy_ions", "look_electrons", "look_ions", "geometric_factor",
    "efficiency_electrons", "efficiency_ions", "mcp", "background", "species", "spacecraft", "time_of_flight",
    "logicals",
)  # fmt: skip
# Commanded to the plates that are on.
PLATE_DAC = 3000


@dataclass(frozen=True)
class Counted:
    """What a set of records holds: times (n) and arrays over (n, energy, look); of ions rates by (n, energy, anode)."""

    et: Array
    flux: Array
    rate: Array
    expected: Array
    counts: NDArray[np.int64]
    by_anode: Array | None = None


def truth_tables(et: float) -> Known:
    """Values of the tables that hold at closest approach: table to quantity to array."""
    return values_at("jade", NAMES, et)


def write_days(folder: Path, kind: str, middle: Array, columns: dict[str, object], scene: Scene) -> None:
    """One product for each UTC day of records about times; accumulations last so many seconds of the clock."""
    if len(middle) == 0:
        return
    half = float(np.asarray(columns["ACCUMULATION_TIME"])) * 32768.0
    start = scene.clock.to_et(scene.clock.to_ticks(middle) - half)
    day = np.array([t[:8] for t in np.atleast_1d(format_utc(start, 0, day_of_year=True))])
    for one in np.unique(day):
        use = day == one
        part = {
            n: v[use] if isinstance(v, np.ndarray) and v.ndim and len(v) == len(start) else v
            for n, v in columns.items()
        }
        write_level2(folder, kind, start[use], part, scene.clock)  # type: ignore[arg-type]


def dataset(
    values: Columns, et: Array, keep: NDArray[np.bool_], attrs: dict[str, float], index: str = "et"
) -> xr.Dataset:
    """Truth at the records that were delivered."""
    return xr.Dataset(values, coords={"et": (index, et)}).isel({index: keep}).assign_attrs(attrs)
