"""Rates as level 3 of the archive (README.md, "Level 3"); the readers are in `level3`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from instruments.jade import chain, looks
from instruments.jade.layout import ENERGIES, KINDS, L3_KINDS, level3
from instruments.jade.level3 import COUNTS_PER_SECOND, FILL
from instruments.jade.moments import JADE_I
from instruments.jade.raw import SIMULATED
from instruments.jade.raw_write import LEVEL_3, UNITS_3, folder_of, write_product
from pipeline.archive.declaration import Legacy
from pipeline.clock import format_utc
from pipeline.geometry import Geometry
from pipeline.jupiter.shape import longitude_latitude

Array = NDArray[np.float64]

RADIUS = 71492.0
MISSING_DATA = -1.0e31
# Records that are written at once.
BLOCK = 256
ELECTRONS = {looks.HRS: "HRS_ELC_ALL", looks.LRS: "LRS_ELC_ANY"}
IONS = {looks.HRS: "HRS_ION_ANY", looks.LRS: "LRS_ION_ANY"}
# SOURCE_BACKGROUND: the background anode; coefficients that do not depend on time.
BY_ANODE, BY_COEFFICIENT = 1, 3
_PARTS = {"": 0.0, "_UPPER": 0.5, "_LOWER": -0.5}


def write_level_3(given: Legacy) -> list[Path]:
    """Write the rates of a pass as the archive's level 3 in its folders; returns the labels.

    Rates that came from level 3 themselves are left out: the archive has them.
    """
    tables, labels = given.tables, []
    electrons, ions = (given.products.get(f"jade.{n}_rate") for n in ("electron", "ion"))
    if electrons is not None and "jade.energy_electrons" in tables:
        edges = chain.energies(tables["jade.energy_electrons"])[1]
        labels += write_electrons(given.folder, electrons, given.geometry, edges, simulated=given.simulated)
    if ions is not None and "jade.energy_ions" in tables:
        level = tables["jade.background"]["unmeasured"]
        labels += write_ions(
            given.folder, ions, given.geometry, looks.ion_looks(tables["jade.look_ions"]),
            chain.energies(tables["jade.energy_ions"])[1], (float(level.value[JADE_I]), float(level.sigma[JADE_I])),
            simulated=given.simulated,
        )  # fmt: skip
    return labels


def write_electrons(
    root: Path, rate: xr.Dataset, geometry: Geometry, edges: Array, *, version: int = 4, simulated: bool = True
) -> list[Path]:
    """Write ``jade.electron_rate`` as level 3 files below `root`, one for each mode and UTC day; returns the labels.

    Parameters
    ----------
    edges : of the energies, eV, descending (65).
    version : of the archive's layout, 3 or 4.
    """
    half = looks.SECTOR / 2.0

    def columns(kind: str, part: xr.Dataset) -> dict[str, Any]:
        volts = part["mcp_voltage"].values
        own = {
            "PACKETID": KINDS[kind].packet,
            "PACKET_SPECIES": -1,
            "SOURCE_BACKGROUND": np.where((part["background"].values > 0).any(axis=1), BY_ANODE, 0),
            "MCP_VOLTAGE": volts if kind == "HRS_ELC_ALL" else volts.max(axis=1)[:, None],
            "BACKGROUND": part["background"].values[:, None, :],
            "BACKGROUND_SIGMA": part["background_error"].values[:, None, :],
        }
        if kind == "HRS_ELC_ALL":
            own["MAG_VECTOR"] = FILL
        return {**_header(part, geometry), **_arrays(part, _turn(part, geometry), edges, half, half), **own}

    return list(_written(root, rate, ELECTRONS, columns, version, simulated))


def write_ions(
    root: Path,
    rate: xr.Dataset,
    geometry: Geometry,
    look: looks.IonLooks,
    edges: Array,
    background: tuple[float, float],
    *,
    version: int = 4,
    simulated: bool = True,
) -> list[Path]:
    """Write ``jade.ion_rate`` as level 3 files below `root`, one for each mode and UTC day; returns the labels.

    Parameters
    ----------
    look, edges : the look directions; edges of the energies per charge, V, descending (65).
    background : level that was subtracted from the rates and its uncertainty, 1/s.
    version : of the archive's layout, 2 to 4.
    """
    half = (look.azimuth_upper - look.azimuth_lower) / 2.0, (look.elevation_upper - look.elevation_lower) / 2.0

    def columns(kind: str, part: xr.Dataset) -> dict[str, Any]:
        own = {
            "PACKETID": KINDS["LRS_ION_ANY"].packet,
            "PACKET_SPECIES": part["species"].values,
            "SOURCE_BACKGROUND": BY_COEFFICIENT,
            "MCP_VOLTAGE": part["mcp_voltage"].values[:, None],
            "BACKGROUND": background[0],
            "BACKGROUND_SIGMA": background[1],
        }
        return {**_header(part, geometry), **_arrays(part, np.zeros(()), edges, *half), **own}

    return list(_written(root, rate, IONS, columns, version, simulated))


def _written(
    root: Path,
    rate: xr.Dataset,
    kinds: Mapping[int, str],
    columns: Callable[[str, xr.Dataset], dict[str, Any]],
    version: int,
    simulated: bool,
) -> Iterator[Path]:
    """Write a file of each mode and UTC day, some records at a time."""
    index = str(rate["rate"].dims[0])
    day = np.array([t[:4] + t[5:8] for t in np.atleast_1d(format_utc(rate["et"].values, 0, day_of_year=True))])
    mode = rate["mode"].values
    for code, kind in kinds.items():
        for one in np.unique(day[mode == code]):
            rows = np.flatnonzero((mode == code) & (day == one))
            parts = (rate.isel({index: rows[k : k + BLOCK]}) for k in range(0, rows.size, BLOCK))
            blocks = ((columns(kind, part), part.sizes[index]) for part in parts)
            folder = folder_of(root, LEVEL_3, str(one), L3_KINDS[kind].folder)
            name = f"JAD_L30_{kind}_CNT_{one}_V{version:02d}"
            description = SIMULATED if simulated else "Count rates by perijove, not of the instrument's team"
            yield write_product(folder, name, level3(kind, version), blocks, LEVEL_3, UNITS_3, description)


def _utc(et: Array) -> NDArray[np.bytes_]:
    return np.char.encode(np.atleast_1d(format_utc(et, 3, day_of_year=True)), "ascii")


def _header(part: xr.Dataset, geometry: Geometry) -> dict[str, Any]:
    """Objects of the header that all kinds have: times, place, attitude."""
    et, length = part["et"].values, part["accumulation"].values.astype(float)
    out: dict[str, Any] = {
        "PACKET_MODE": part["mode"].values,
        "ACCUMULATION_TIME": part["accumulation"].values,
        "DATA_UNITS": COUNTS_PER_SECOND,
        "ISSUES": part["issues"].values,
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
    return out | {
        "SC_POS_JUPITER_J2000XYZ": geometry.position("J2000", et),
        "SC_VEL_JUPITER_J2000XYZ": geometry.velocity("J2000", et),
        "SC_SPIN_PERIOD": 360.0 / ((geometry.spin_phase(et + 1.0) - geometry.spin_phase(et)) % 360.0),
        "DESPUN_SC_TO_J2000": looks.despun_to("J2000", et, geometry).reshape(-1, 9),
        "J2000_TO_JSSXYZ": jss.reshape(-1, 9),
        "J2000_TO_JSSRTP": (_spherical(geometry.position("JUNO_JSS", et)) @ jss).reshape(-1, 9),
    }


def _spherical(position: Array) -> Array:
    """Rotations from Cartesian axes to radius, colatitude, longitude at positions; rows the unit vectors (n, 3, 3)."""
    r = position / np.linalg.norm(position, axis=1, keepdims=True)
    phi = np.stack([-r[:, 1], r[:, 0], np.zeros(len(r))], axis=1) / np.hypot(r[:, 0], r[:, 1])[:, None]
    return np.stack([r, np.cross(phi, r), phi], axis=1)


def _turn(part: xr.Dataset, geometry: Geometry) -> Array:
    """Degrees that the looks of electron records have turned since their middle, (n, energy, 1)."""
    if part["mode"].values[0] != looks.HRS:
        return np.zeros((part.sizes["et"], ENERGIES, 1))
    times = looks.view_times(part["et"].values, 1)[:, 0]
    phase = geometry.spin_phase(times.ravel()).reshape(times.shape)
    return np.asarray((phase - geometry.spin_phase(part["et"].values)[:, None])[:, :, None])


def _arrays(part: xr.Dataset, turn: Array, edges: Array, aside: float | Array, above: float | Array) -> dict[str, Any]:
    """Rates, and bounds of energy and look for each sample; looks reach so far to either side and up and down."""
    shape = part["rate"].shape

    def filled(values: Array) -> Array:
        return np.where(np.isfinite(values), values, MISSING_DATA)

    azimuth = np.broadcast_to((part["azimuth_despun"].values[:, None, :].astype(float) + turn) % 360.0, shape)
    elevation = np.broadcast_to(part["elevation"].values[:, None, :].astype(float), shape)
    middle = np.sqrt(edges[1:] * edges[:-1])
    energy = {"": middle, "_UPPER": edges[:-1], "_LOWER": edges[1:]}
    return {
        "DATA": filled(part["rate"].values),
        "DATA_SIGMA": filled(part["rate_random"].values),
        **{f"DIM1_E{s}": np.broadcast_to(e[None, :, None], shape) for s, e in energy.items()},
        "DIM2_ELEVATION": elevation,
        "DIM2_ELEVATION_UPPER": elevation + above,
        "DIM2_ELEVATION_LOWER": elevation - above,
        "DIM2_AZIMUTH_DESPUN": azimuth,
        "DIM2_AZIMUTH_DESPUN_UPPER": (azimuth + aside) % 360.0,
        "DIM2_AZIMUTH_DESPUN_LOWER": (azimuth - aside) % 360.0,
    }
