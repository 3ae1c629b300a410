"""A simulated instrument RDR: what the archive would have made of the counts, by the simulator's own two-ports."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from instruments.mwr import simulate
from instruments.mwr.layout import SENSORS, STREAMS, THERMISTORS
from instruments.mwr.raw_write import irdr_columns, write_csv

if TYPE_CHECKING:
    from pipeline.scene import Scene

Array = NDArray[np.float64]


def write_irdr(
    scene: Scene, folder: Path, et: Array, ta: Array, counts: Array, gains: Array, known: simulate.Known
) -> None:
    """Write the records of antenna slots as an IRDR.

    Load and diodes are as they would be without noise; TA is made of the noisy antenna counts in the linear scale.

    Parameters
    ----------
    ta, counts, gains : at the slots: truth (n, channel), counts and counts per kelvin (n, stream).
    """
    now = simulate.physical(et)
    frequency, own = known["receiver"]["frequency"], simulate.OF_STREAM
    # What arrives goes with TA as a straight line, which two points give.
    dark, unit = (simulate.through(np.full_like(ta, value), now, known["chain"], frequency) for value in (0.0, 1.0))
    lets = unit - dark
    toff = (simulate.photons(now.load, frequency) - dark) / lets
    tnd = simulate.diode_brightness(now.diode, known["noise_diode"]) / lets[:, :, None]

    def read(state: int) -> Array:
        return simulate.detected(ta, np.full(len(et), state, np.uint8), gains, now, known, None)

    quiet = {state: read(state) for state in range(8)}
    deflection = np.stack([np.stack([quiet[p + d] - quiet[p] for d in (1, 2, 3)], 1) for p in (0, simulate.LOAD)], 1)
    detector = known["detector"]
    x, load = counts - detector["offset"], quiet[simulate.LOAD] - detector["offset"]
    difference = x * (1.0 + detector["compression"] * x) - load * (1.0 + detector["compression"] * load)
    sensors = simulate.housekeeping(now, known["thermal"], np.random.default_rng(0))
    coefficient = known["thermal"]["coefficient"][[0 if t else 1 for t in THERMISTORS]]
    per, each = ("et", "stream"), ("et", "position", "diode", "stream")
    dataset = xr.Dataset(
        {
            "temperature": (("et", "sensor"), coefficient[:, 0] + sensors * coefficient[:, 1]),
            "antenna_counts": (per, counts),
            "reference_counts": (per, quiet[simulate.LOAD]),
            "ta": (per, toff[:, own] + difference / (gains * lets[:, own])),
            "toff": (per, toff[:, own]),
            "deflection": (each, deflection),
            "tnd": (each, np.stack([np.moveaxis(tnd[:, own], 2, 1)] * 2, axis=1)),
        },
        coords={"et": et, "stream": list(STREAMS), "sensor": list(SENSORS)},
    )
    write_csv(folder, "irdr", scene.pass_.number, irdr_columns(dataset), et, scene.clock, simulated=True)
