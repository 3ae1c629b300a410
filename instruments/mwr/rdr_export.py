"""Antenna temperatures and geometry as the archive's RDR (IRDR, GRDR), for tools that read those.

IRDR: one record per record that looks at the antenna. Of what the instrument did between them (load, diodes) columns
hold the value of that time on the line between neighbours. GRDR: boresights of the antennas at the same times. Those
columns whose convention is not public (rotations of the antennas, ``gal_ra_JnJc``, ``gal_dec_JnJc``) are left empty.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from instruments.mwr.beam import meet
from instruments.mwr.layout import (
    COLUMNS,
    DIODES,
    LOAD_BIT,
    RECEIVER_OF_STREAM,
    RECEIVERS,
    SENSORS,
    STREAMS,
)
from instruments.mwr.raw_write import irdr_columns, write_csv
from instruments.mwr.states import kelvins
from pipeline.archive.declaration import Legacy
from pipeline.geometry import Geometry
from pipeline.jupiter.shape import RADII

Array = NDArray[np.float64]
# The frames of the archive's column names (facts in README.md, "GRDR").
FRAMES = {"JDSS": "JUNO_JSS", "JMag": "JUNO_MAG_VIP4", "S3RH": "IAU_JUPITER"}
# The north galactic pole and the longitude of the ascending node, J2000: the Hipparcos catalogue, vol. 1, 1.5.3.
POLE, NODE = (192.85948, 27.12825), 32.93192


def write_rdr(given: Legacy) -> list[Path]:
    """Write IRDR and GRDR by the hour; returns the CSV files. Needs products made from the EDR."""
    needed = ("mwr.antenna_temperature", "mwr.deflections")
    if any(name not in given.products for name in needed) or "mwr.edr" not in given.raw:
        return []
    et = given.products["mwr.antenna_temperature"]["et"].values
    both = {"irdr": irdr_columns(_instrument(given)), "grdr": _geometry(given.geometry, et)}
    paths: list[Path] = []
    for kind, columns in both.items():
        paths += write_csv(given.folder, kind, given.pass_.number, columns, et, given.clock, simulated=given.simulated)
    return paths


def _instrument(given: Legacy) -> xr.Dataset:
    """An IRDR as `rdr.read_irdr` gives one."""
    product, raw = given.products["mwr.antenna_temperature"], given.raw["mwr.edr"]
    diodes = given.products["mwr.deflections"]
    et, state, counts = product["et"].values, raw["state"].values, raw["counts"].values
    place = np.searchsorted(raw["et"].values, et)
    sensors = kelvins(raw["housekeeping"].values, given.tables["mwr.thermal"])
    shape = (len(et), 2, len(DIODES), len(STREAMS))
    deflection, tnd = np.full(shape, np.nan), np.full(shape, np.nan)
    reference = np.empty((len(et), len(STREAMS)))
    for s in range(len(STREAMS)):
        reference[:, s] = _along(et, raw["et"].values, np.where(state[:, s] == LOAD_BIT, counts[:, s], np.nan))
        for p in (0, 1):
            for d in DIODES:
                mine = (diodes["position"].values[:, s] == p) & (diodes["diode"].values[:, s] == d)
                for out, name in ((deflection, "deflection"), (tnd, "tnd")):
                    values = np.where(mine, diodes[name].values[:, s], np.nan)
                    out[:, p, d - 1, s] = _along(et, diodes["et"].values, values)
    per, each = ("et", "stream"), ("et", "position", "diode", "stream")
    return xr.Dataset(
        {
            "temperature": (("et", "sensor"), sensors[place]),
            "antenna_counts": (per, np.where(state[place] == 0, counts[place], np.nan)),
            "reference_counts": (per, reference),
            "ta": (per, product["ta_stream"].values.astype(np.float64)),
            "toff": (per, product["toff"].values.astype(np.float64)[:, list(RECEIVER_OF_STREAM)]),
            "deflection": (each, deflection),
            "tnd": (each, tnd),
        },
        coords={"et": et, "stream": list(STREAMS), "sensor": list(SENSORS)},
    )


def _along(et: Array, at: Array, values: Array) -> Array:
    """Values on the line between neighbours that are not missing; all missing where there are none."""
    good = np.isfinite(values)
    return np.interp(et, at[good], values[good]) if good.any() else np.full(et.shape, np.nan)


def _geometry(geometry: Geometry, et: Array) -> dict[str, Array]:
    """Columns of a GRDR."""
    columns = {name: np.full(len(et), np.nan) for name in COLUMNS["grdr"] if not name.startswith("t_")}
    position = geometry.position("IAU_JUPITER", et)
    distance = np.linalg.norm(position, axis=1)
    to_jupiter = -position / distance[:, None]
    for n in range(1, RECEIVERS + 1):
        antenna = f"JUNO_MWR_A{n}"
        sight = {name: geometry.rotation(antenna, frame, et)[:, :, 2] for name, frame in FRAMES.items()}
        inertial = geometry.rotation(antenna, "J2000", et)[:, :, 2]
        columns[f"J2000_lon_B{n}"], columns[f"J2000_lat_B{n}"] = _angles(inertial)
        columns[f"gal_lon_B{n}"], columns[f"gal_lat_B{n}"] = _galactic(inertial)
        for name, vector in sight.items():
            columns |= {f"{name}_{x}_B{n}": vector[:, k] for k, x in enumerate("xyz")}
        columns |= _intercept(position, sight["S3RH"], n)
        own = np.einsum("nij,nj->ni", geometry.rotation("IAU_JUPITER", antenna, et), to_jupiter)
        columns |= {f"F{n}_dc{x}_JnJc": own[:, k] for k, x in enumerate("xyz")}
        columns[f"angle_JnJc_B{n}"] = np.arccos(np.clip(own[:, 2], -1.0, 1.0))
    columns["range_JnJc"] = distance
    columns["PC_lon_JsJnJc"], columns["PC_lat_JsJnJc"] = _angles(position)
    for name, frame in FRAMES.items():
        vector = geometry.position(frame, et)
        columns |= {f"{name}_{x}_JcJn": vector[:, k] for k, x in enumerate("xyz")}
    return columns


def _intercept(position: Array, look: Array, n: int) -> dict[str, Array]:
    """Where a boresight meets the planet; NaN where it does not."""
    met = meet(position, look.T[:, :, None])
    distance = np.where(np.isfinite(met.distance[:, 0]), met.distance[:, 0], np.nan)
    point = position + distance[:, None] * look
    longitude, latitude = _angles(point)
    graphic = np.degrees(np.arctan(np.tan(np.radians(latitude)) * (RADII[0] / RADII[1]) ** 2))
    return {
        f"PC_lon_JsB{n}": longitude,
        f"PC_lat_JsB{n}": latitude,
        f"PG_lon_JsB{n}": (360.0 - longitude) % 360.0,
        f"PG_lat_JsB{n}": graphic,
        f"emssn_angle_JsB{n}": np.where(np.isfinite(distance), np.degrees(np.arccos(met.mu[:, 0])), np.nan),
        f"range_JsB{n}": distance,
    }


def _angles(vector: Array) -> tuple[Array, Array]:
    """Longitude 0 to 360 and latitude, degrees."""
    x, y, z = vector.T
    return np.degrees(np.arctan2(y, x)) % 360.0, np.degrees(np.arctan2(z, np.hypot(x, y)))


def _galactic(j2000: Array) -> tuple[Array, Array]:
    """Galactic longitude and latitude of directions."""
    right, up = np.radians(POLE)
    z = np.array([np.cos(up) * np.cos(right), np.cos(up) * np.sin(right), np.sin(up)])
    # The ascending node of the galactic plane on the equator lies 90 degrees from the pole's meridian.
    node = np.array([-np.sin(right), np.cos(right), 0.0])
    other = np.cross(z, node)
    longitude = NODE + np.degrees(np.arctan2(j2000 @ other, j2000 @ node))
    return longitude % 360.0, np.degrees(np.arcsin(np.clip(j2000 @ z, -1.0, 1.0)))
