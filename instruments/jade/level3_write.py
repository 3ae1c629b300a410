"""Electron rates as level 3 of the archive (README.md, "Level 3"); the reader is `level3`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from instruments.jade import looks
from instruments.jade.layout import ANODES, ENERGIES, KINDS
from instruments.jade.level3 import COUNTS_PER_SECOND, FILL
from instruments.jade.raw_write import LEVEL_3, folder_of, write_level3
from pipeline.clock import format_utc
from pipeline.geometry import Geometry
from pipeline.jupiter.shape import longitude_latitude

Array = NDArray[np.float64]

RADIUS = 71492.0
MISSING_DATA = -1.0e31
KIND = {looks.HRS: "HRS_ELC_ALL", looks.LRS: "LRS_ELC_ANY"}
_PARTS = {"": 0.0, "_UPPER": 0.5, "_LOWER": -0.5}


def write_electrons(root: Path, rate: xr.Dataset, geometry: Geometry, edges: Array, *, version: int = 4) -> list[Path]:
    """Write ``jade.electron_rate`` as level 3 files below `root`, one for each mode and UTC day; returns the labels.

    Parameters
    ----------
    edges : of the energies, eV, descending (65).
    version : of the archive's layout, 3 or 4.
    """
    labels = []
    day = np.array([t[:4] + t[5:8] for t in np.atleast_1d(format_utc(rate["et"].values, 0, day_of_year=True))])
    for mode, kind in KIND.items():
        for one in np.unique(day[rate["mode"].values == mode]):
            part = rate.isel(et=(rate["mode"].values == mode) & (day == one))
            folder = folder_of(root, LEVEL_3, str(one), "ELECTRONS")
            columns = {**_header(part, geometry, kind), **_arrays(part, geometry, edges)}
            labels.append(write_level3(folder, kind, str(one), columns, part.sizes["et"], version=version))
    return labels


def _utc(et: Array) -> NDArray[np.bytes_]:
    return np.char.encode(np.atleast_1d(format_utc(et, 3, day_of_year=True)), "ascii")


def _header(part: xr.Dataset, geometry: Geometry, kind: str) -> dict[str, Any]:
    """Objects of the header: times, place, attitude."""
    et, length = part["et"].values, part["accumulation"].values.astype(float)
    out: dict[str, Any] = {
        "PACKETID": KINDS[kind].packet,
        "PACKET_MODE": part["mode"].values,
        "PACKET_SPECIES": -1,
        "ACCUMULATION_TIME": part["accumulation"].values,
        "DATA_UNITS": COUNTS_PER_SECOND,
        "SOURCE_BACKGROUND": np.where((part["background"].values > 0).any(axis=1), 1, 0),
        "ISSUES": part["issues"].values,
        "MCP_VOLTAGE": part["mcp_voltage"].values
        if kind == "HRS_ELC_ALL"
        else part["mcp_voltage"].values.max(1)[:, None],
        "MAG_VECTOR": FILL,
    }
    for suffix, share in _PARTS.items():
        at = et + share * length
        longitude, latitude, distance = longitude_latitude(geometry.position("IAU_JUPITER", at))
        noon = longitude_latitude(geometry.rotation("JUNO_JSO", "IAU_JUPITER", at)[:, :, 0])[0]
        out |= {
            f"DIM0_UTC{suffix}": _utc(at),
            f"SC_POS_R{suffix}": distance / RADIUS,
            f"SC_POS_LAT{suffix}": latitude,
            f"SC_POS_SYSIII_ELONG{suffix}": longitude,
            f"SC_POS_LOCAL_TIME{suffix}": ((longitude - noon) / 15.0 + 12.0) % 24.0,
            f"SC_SPIN_PHASE{suffix}": geometry.spin_phase(at),
        }
    jss = geometry.rotation("J2000", "JUNO_JSS", et)
    out |= {
        "SC_POS_JUPITER_J2000XYZ": geometry.position("J2000", et),
        "SC_VEL_JUPITER_J2000XYZ": geometry.velocity("J2000", et),
        "SC_SPIN_PERIOD": 360.0 / ((geometry.spin_phase(et + 1.0) - geometry.spin_phase(et)) % 360.0),
        "DESPUN_SC_TO_J2000": looks.despun_to("J2000", et, geometry).reshape(-1, 9),
        "J2000_TO_JSSXYZ": jss.reshape(-1, 9),
        "J2000_TO_JSSRTP": (_spherical(geometry.position("JUNO_JSS", et)) @ jss).reshape(-1, 9),
    }
    return {name: value for name, value in out.items() if not (name == "MAG_VECTOR" and kind != "HRS_ELC_ALL")}


def _spherical(position: Array) -> Array:
    """Rotations from Cartesian axes to radius, colatitude, longitude at positions; rows the unit vectors (n, 3, 3)."""
    r = position / np.linalg.norm(position, axis=1, keepdims=True)
    phi = np.stack([-r[:, 1], r[:, 0], np.zeros(len(r))], axis=1) / np.hypot(r[:, 0], r[:, 1])[:, None]
    return np.stack([r, np.cross(phi, r), phi], axis=1)


def _arrays(part: xr.Dataset, geometry: Geometry, edges: Array) -> dict[str, Any]:
    """Rates, and bounds of energy and look for each sample."""
    n = part.sizes["et"]
    shape = (n, ENERGIES, ANODES)

    def filled(values: Array) -> Array:
        return np.where(np.isfinite(values), values, MISSING_DATA)

    hrs = part["mode"].values[0] == looks.HRS
    turn = np.zeros((n, ENERGIES, 1))
    if hrs:
        times = looks.view_times(part["et"].values, 1)[:, 0]
        phase = geometry.spin_phase(times.ravel()).reshape(times.shape)
        turn = (phase - geometry.spin_phase(part["et"].values)[:, None])[:, :, None]
    azimuth = (part["azimuth_despun"].values[:, None, :].astype(float) + turn) % 360.0
    half = looks.SECTOR / 2.0
    elevation = np.broadcast_to(part["elevation"].values[:, None, :].astype(float), shape)
    energy = np.sqrt(edges[1:] * edges[:-1])
    return {
        "DATA": filled(part["rate"].values),
        "DATA_SIGMA": filled(part["rate_random"].values),
        "BACKGROUND": np.broadcast_to(part["background"].values[:, None, :], shape),
        "BACKGROUND_SIGMA": np.broadcast_to(part["background_error"].values[:, None, :], shape),
        "DIM1_E": np.broadcast_to(energy[None, :, None], shape),
        "DIM1_E_UPPER": np.broadcast_to(edges[None, :-1, None], shape),
        "DIM1_E_LOWER": np.broadcast_to(edges[None, 1:, None], shape),
        "DIM2_ELEVATION": elevation,
        "DIM2_ELEVATION_UPPER": elevation + half,
        "DIM2_ELEVATION_LOWER": elevation - half,
        "DIM2_AZIMUTH_DESPUN": azimuth,
        "DIM2_AZIMUTH_DESPUN_UPPER": (azimuth + half) % 360.0,
        "DIM2_AZIMUTH_DESPUN_LOWER": (azimuth - half) % 360.0,
    }
