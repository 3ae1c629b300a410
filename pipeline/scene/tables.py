"""The project's own calibration tables, of whose values simulators make raw data."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calibration.library import Library
from calibration.tables import Table
from pipeline.clock import Span

FOLDER = Path(__file__).resolve().parents[2] / "calibration" / "tables"


def tables_at(instrument: str, names: Iterable[str], et: float) -> dict[str, Table]:
    """An instrument's tables that hold at a time."""
    context = Library({instrument: FOLDER / instrument}, None).context("default")
    return {name: context.select(instrument, name, Span(et, et + 1.0))[0][0] for name in names}


def values_at(instrument: str, names: Iterable[str], et: float) -> dict[str, dict[str, NDArray[np.float64]]]:
    """Their values alone: table to quantity to array."""
    return {name: dict(table.values) for name, table in tables_at(instrument, names, et).items()}
