"""Counts of a simulated pass: particles arrive one by one, and find the detector dead or alive."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import xarray as xr
import yaml

from pipeline.clock import TICKS, Sclk, parse_utc
from pipeline.instrument import Truth
from tally_instrument.raw import write_packed

if TYPE_CHECKING:
    from pipeline.scene import Scene

TABLES = Path(__file__).parent / "tables"
HIT = "2016-08-27T12:50:00"


def simulate(scene: Scene, folder: Path, scale: Literal["demo", "full"], rng: np.random.Generator) -> Iterator[Truth]:
    clock = Sclk.default()
    seconds = 1200
    et = clock.to_et(np.rint(clock.to_ticks(scene.pass_.et - 600.0)) + TICKS * np.arange(seconds))
    true = np.outer(1000 + 300 * np.sin(np.arange(seconds) / 200), [1.0, 0.9, 0.8, 0.7])
    late = (et >= parse_utc(HIT))[:, None]
    fraction = np.where(late, _table("efficiency_late", "fraction"), _table("efficiency", "fraction"))
    counts = count(true * fraction, _table("dead_time", "tau"), rng)
    for number in range(2):
        part = slice(600 * number, 600 * (number + 1))
        path = folder / "TALLY" / f"TLY_{number:03d}_V01.TLY"
        write_packed(path, clock, et[part][0], counts[part], group="AB"[number], simulated=True)
    yield Truth("tally.rate", "", xr.Dataset({"rate": (("et", "detector"), true)}, {"et": et}))


def _table(file: str, name: str) -> np.ndarray:
    return np.array(yaml.safe_load((TABLES / f"{file}.yaml").read_text())["quantities"][name]["value"], float)


def count(rate: np.ndarray, tau: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Counts per second at rates (n, 4): the next particle is seen after tau and an exponential wait."""
    counts = np.zeros(rate.shape, np.uint16)
    for k in range(rate.shape[1]):
        waits = rng.exponential(1.0, (len(rate), int(2 * rate[:, k].max()))) / rate[:, k, None] + tau[k]
        counts[:, k] = (np.cumsum(waits, axis=1) < 1.0).sum(axis=1)
    return counts
