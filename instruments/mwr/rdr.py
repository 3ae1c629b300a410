"""Readers of the archive's instrument and geometry RDR (README.md); the writer is `raw_write`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from instruments.mwr.layout import COLUMNS, DIODES, NAME, RECEIVERS, SENSORS, STREAMS
from instruments.mwr.raw import Floats, open_csv, read_rows
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
    columns, et, told = read_rows(granules, span, clock)

    def block(name: str) -> Floats:
        return np.stack([columns[f"{s}{name}"] for s in STREAMS], axis=1)

    def diodes(form: str) -> Floats:
        return np.stack([np.stack([block(form.format(d, p)) for d in DIODES], 1) for p in "AR"], axis=1)

    per, each = ("et", "stream"), ("et", "position", "diode", "stream")
    dataset = xr.Dataset(
        {
            "temperature": (("et", "sensor"), np.stack([columns[name] for name in SENSORS], axis=1)),
            "antenna_counts": (per, block("AntCnt"), {"units": "1"}),
            "reference_counts": (per, block("RefCnt"), {"units": "1"}),
            "ta": (per, block("TA"), {"units": "K"}),
            "toff": (per, block("TOFF"), {"units": "K"}),
            "deflection": (each, diodes("ND{}{}Cnt"), {"units": "1"}),
            "tnd": (each, diodes("TND{}{}"), {"units": "K"}),
        },
        coords={"et": ("et", et, {"units": "s"}), "stream": list(STREAMS), "sensor": list(SENSORS)},
    )
    return dataset.merge(told).assign_attrs(told.attrs)


def read_grdr(granules: Sequence[Granule], span: Span | None, clock: Sclk) -> xr.Dataset:
    """Read GRDR files: `RawFormat.read`.

    Returns
    -------
    xr.Dataset
        per antenna (et, antenna): ``gal_lon``, ``gal_lat``, ``gal_rot``, ``j2000_lon``, ``j2000_lat``, ``j2000_rot``,
        ``pg_lon``, ``pg_lat``, ``pc_lon``, ``pc_lat``, ``emission``, ``range`` (NaN off the planet), ``angle`` (rad);
        ``centre``, ``jdss``, ``jmag``, ``s3rh`` (et, antenna, xyz); of the spacecraft (et): the other columns by name.
    """
    columns, et, told = read_rows(granules, span, clock)
    antennas = range(1, RECEIVERS + 1)

    def per(form: str) -> tuple[tuple[str, ...], Floats]:
        return ("et", "antenna"), np.stack([columns[form.format(n)] for n in antennas], axis=1)

    def vectors(form: str) -> tuple[tuple[str, ...], Floats]:
        stacked = [np.stack([columns[form.format(x, n)] for x in "xyz"], axis=1) for n in antennas]
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
    rest = [name for name in COLUMNS["grdr"] if name in columns and name.endswith(("JnJc", "JcJn")) and name[0] != "F"]
    data |= {name: (("et",), columns[name]) for name in rest}
    dataset = xr.Dataset(data, coords={"et": ("et", et, {"units": "s"})})
    return dataset.merge(told).assign_attrs(told.attrs)


IRDR_FORMAT = RawFormat(
    "mwr.irdr", "Instrument RDR of the archive", NAME.pattern.replace("DR|RI|RG", "RI"), open_csv, read_irdr,
    level="calibrated",
)  # fmt: skip
GRDR_FORMAT = RawFormat(
    "mwr.grdr", "Geometry RDR of the archive", NAME.pattern.replace("DR|RI|RG", "RG"), open_csv, read_grdr,
    level="calibrated",
)  # fmt: skip
