"""The calibrated field as level 3 files (.sts) of the archive, for tools that read those."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from instruments.mag.sts_write import write_sts
from pipeline.archive.declaration import Legacy
from pipeline.clock import et_to_utc

# Frame of the file's name to variable and to the SPICE frame of the positions; payload files have no position.
FRAMES = {"pc": ("b_pc", "IAU_JUPITER"), "ss": ("b_ss", "JUNO_JSO"), "pl": ("b_payload", None)}
PRODUCT = "mag.field"
OUTBOARD = 0


def write_level_3(given: Legacy) -> list[Path]:
    """Write a file per day and frame in the archive's folders; returns their paths.

    Samples without a field, in a leap second, or with an unknown sensor have no place in the format and are left out.
    """
    field = given.products.get(PRODUCT)
    if field is None:
        return []
    et = field["et"].values
    time, leap = et_to_utc(et)
    good = np.isfinite(field["b_pc"].values).all(axis=1) & ~leap & (field["sensor"].values != 255)
    paths = []
    for sensor in np.unique(field["sensor"].values[good]):
        of_sensor = good & (field["sensor"].values == sensor)
        days = time.astype("datetime64[D]")
        for day in np.unique(days[of_sensor]):
            rows = np.flatnonzero(of_sensor & (days == day))
            for frame, (name, axes) in FRAMES.items():
                path = given.folder / _path(frame, day, given.pass_.number)
                position = given.geometry.position(axes, et[rows]) if axes else None
                code = field["range_code"].values[rows]
                which = "ob" if sensor == OUTBOARD else "ib"
                write_sts(
                    path,
                    et[rows],
                    field[name].values[rows].astype(np.float64),
                    code,
                    position,
                    sensor=which,
                    simulated=given.simulated,
                )
                paths.append(path)
    return paths


def _path(frame: str, day: np.datetime64, number: int) -> Path:
    year = day.astype("datetime64[Y]")
    doy = (day - year.astype("datetime64[D]")).astype(int) + 1
    folder = Path("JNO-J-3-FGM-CAL-V1.0", "DATA", "JUPITER", frame.upper(), f"PERI-{number:02d}")
    return folder / f"fgm_jno_l3_{year}{doy:03d}{frame}_pj{number:02d}_v01.sts"
