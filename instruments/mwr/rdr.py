"""Readers of the archive's instrument and geometry RDR (README.md); the writer is `raw_write`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from instruments.mwr.layout import DIODES, NAME, RECEIVERS, SENSORS, STREAMS
from instruments.mwr.parse import Floats
from instruments.mwr.raw import open_csv, read_rows
from pipeline.clock import Sclk, Span
from pipeline.instrument import Granule, RawFormat


def read_irdr(granules: Sequence[Granule], span: Span | None, clock: Sclk) -> xr.Dataset:
    """Read IRDR files: `RawFormat.read`.

    Returns
    -------
    xr.Dataset
        ``temperature(et, sensor)``; ``antenna_counts``, ``reference_counts``, ``ta``, ``toff`` (et, stream);
        ``deflection`` and ``tnd`` (et, position, diode, stream), position 0 the antenna, 1 the load.
    """
    rows = read_rows(granules, span, clock)
    first, many, three = STREAMS[0], len(STREAMS), len(DIODES)
    per, each = ("et", "stream"), ("et", "position", "diode", "stream")
    return rows.dataset(
        {
            "temperature": (("et", "sensor"), rows.block(SENSORS[0], len(SENSORS))),
            "antenna_counts": (per, rows.block(f"{first}AntCnt", many), {"units": "1"}),
            "reference_counts": (per, rows.block(f"{first}RefCnt", many), {"units": "1"}),
            "ta": (per, rows.block(f"{first}TA", many), {"units": "K"}),
            "toff": (per, rows.block(f"{first}TOFF", many), {"units": "K"}),
            "deflection": (each, rows.block(f"{first}ND1ACnt", 2, three, many), {"units": "1"}),
            "tnd": (each, rows.block(f"{first}TND1A", 2, three, many), {"units": "K"}),
        },
        stream=list(STREAMS),
        sensor=list(SENSORS),
    )


def read_grdr(granules: Sequence[Granule], span: Span | None, clock: Sclk) -> xr.Dataset:
    """Read GRDR files: `RawFormat.read`.

    Returns
    -------
    xr.Dataset
        per antenna (et, antenna): ``gal_lon``, ``gal_lat``, ``gal_rot``, ``j2000_lon``, ``j2000_lat``, ``j2000_rot``,
        ``pg_lon``, ``pg_lat``, ``pc_lon``, ``pc_lat``, ``emission``, ``range`` (NaN off the planet), ``angle`` (rad);
        ``centre``, ``jdss``, ``jmag``, ``s3rh`` (et, antenna, xyz); of the spacecraft (et): the other columns by name.
    """
    rows = read_rows(granules, span, clock)
    antennas = range(1, RECEIVERS + 1)

    def per(form: str) -> tuple[tuple[str, ...], Floats]:
        return ("et", "antenna"), np.stack([rows[form.format(n)] for n in antennas], axis=1)

    def vectors(form: str) -> tuple[tuple[str, ...], Floats]:
        stacked = [np.stack([rows[form.format(x, n)] for x in "xyz"], axis=1) for n in antennas]
        return ("et", "antenna", "xyz"), np.stack(stacked, axis=1)

    data = {
        **{f"gal_{k}": per(f"gal_{k}_{b}{{}}") for k, b in (("lon", "B"), ("lat", "B"), ("rot", "A"))},
        **{f"j2000_{k}": per(f"J2000_{k}_{b}{{}}") for k, b in (("lon", "B"), ("lat", "B"), ("rot", "A"))},
        **{f"{s.lower()}_{k}": per(f"{s}_{k}_JsB{{}}") for s in ("PG", "PC") for k in ("lon", "lat")},
        "emission": per("emssn_angle_JsB{}"),
        "range": per("range_JsB{}"),
        "angle": per("angle_JnJc_B{}"),
        "centre": vectors("F{1}_dc{0}_JnJc"),
        **{f.lower(): vectors(f"{f}_{{}}_B{{}}") for f in ("JDSS", "JMag", "S3RH")},
    }
    rest = [name for name in rows.place if name.endswith(("JnJc", "JcJn")) and name[0] != "F"]
    return rows.dataset(data | {name: (("et",), rows[name]) for name in rest})


IRDR_FORMAT = RawFormat(
    "mwr.irdr", "Instrument RDR of the archive", NAME.pattern.replace("DR|RI|RG", "RI"), open_csv, read_irdr,
    level="calibrated",
)  # fmt: skip
GRDR_FORMAT = RawFormat(
    "mwr.grdr", "Geometry RDR of the archive", NAME.pattern.replace("DR|RI|RG", "RG"), open_csv, read_grdr,
    level="calibrated",
)  # fmt: skip
