"""Record layouts of JADE's binary products, and the ``RJW`` comments of their labels.

Level 2: names and order of the objects are the archive's, as are packet length, identifiers and fill values; types and
the place of the UTC within the row are not public (README.md, "Level 2"), so a reader goes by the label. Level 3: the
layout that closes the archive's record sizes, see README.md, "Level 3".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.errors import InputError
from pipeline.formats.pds3 import Label
from pipeline.formats.pds3_columns import Column

SYNC = 0xFAF33403
# Bytes of a packet before its counters.
IDP_HEADER = 20
MODES = {-2: "HSK", -1: "HVE", 0: "CAL", 1: "LRS", 2: "HRS", 3: "DRS"}
MODE = {name: code for code, name in MODES.items()}
ELECTRONS, ALL_IONS, SUMMED_IONS = -1, 9, 8
ISSUES_MISSING = 0xFFFFFFFF
ENERGIES, ANODES, BACKGROUND_ANODES = 64, 48, 3
ION_STEPS, ION_LOOKS = 32, 78
LOGICALS, TOF_BINS = 25, 96

# name: (numpy type, shape)
Objects = dict[str, tuple[str, tuple[int, ...]]]

L2_HEADER: Objects = {
    "SYNC": ("<u4", ()),
    "DPID_COUNT": ("u1", ()),
    "COMPRESSION": ("u1", ()),
    "IDPLENGTH": ("<u2", ()),
    "PACKETID": ("u1", ()),
    "FLIGHT_OR_STL": ("u1", ()),
    "PACKET_MODE": ("i1", ()),
    "PACKET_SPECIES": ("i1", ()),
    "TIMESTAMP_WHOLE": ("<u4", ()),
    "TIMESTAMP_SUB": ("<u2", ()),
    "UTC": ("S21", ()),
    "ACCUMULATION_TIME": ("<u2", ()),
    "TABLES_VERSION": ("<f4", ()),
    "FSW_VERSION": ("<f4", ()),
    "ACCUM_TRUNCATION": ("u1", ()),
    "DATA_UNITS": ("u1", ()),
    "COMPRESSION_RATIO": ("<f4", ()),
    "LEAP_SECOND_VERSION": ("<i2", ()),
    "SCLKSCET_VERSION": ("<i2", ()),
    "ISSUES": ("<u4", ()),
    "MIN_SUBTRACTED_VALUE": ("<u4", ()),
    "MCP_NOT_AT_COMMANDED": ("u1", (3,)),
    "SWEEP_TABLE": ("u1", (3,)),
    "MCP_COMMANDED_VALUE": ("<u2", (3,)),
}


@dataclass(frozen=True)
class Kind:
    """A kind of level 2 product.

    Parameters
    ----------
    folder : below ``DATA/YYYY/YYYYDDD``.
    packet : PACKETID.
    shape : of DATA.
    code : type of DATA in this project's files: the codes of a compression table, or counters.
    """

    folder: str
    packet: int
    shape: tuple[int, ...]
    code: str


# Packet identifiers 0x1E and 0x8E are the archive's, the others this project's.
KINDS = {
    "HVE_ELC_ALL": Kind("ELECTRONS", 0x1E, (ANODES + BACKGROUND_ANODES,), "<u4"),
    "HRS_ELC_ALL": Kind("ELECTRONS", 0x8E, (ENERGIES, ANODES + BACKGROUND_ANODES), "u1"),
    "LRS_ELC_ANY": Kind("ELECTRONS", 0x6E, (ENERGIES, ANODES), "u1"),
    "LRS_ION_ANY": Kind("ION_SPECIES", 0x68, (ION_STEPS, ION_LOOKS), "u1"),
    "HLC_ION_TOF": Kind("ION_TOF", 0x69, (ENERGIES, TOF_BINS), "u1"),
    "HLS_ION_LOG": Kind("ION_LOGICALS", 0x6A, (ENERGIES, LOGICALS), "<u4"),
}


def level2(kind: str) -> Objects:
    """Objects of a level 2 record."""
    return {**L2_HEADER, "DATA": (KINDS[kind].code, KINDS[kind].shape)}


# Level 3

_CENTRED = ("", "_UPPER", "_LOWER")
_HEAD: Objects = {
    "DIM0_UTC": ("S21", ()),
    "PACKETID": ("u1", ()),
    "DIM0_UTC_UPPER": ("S21", ()),
    "PACKET_MODE": ("i1", ()),
    "DIM0_UTC_LOWER": ("S21", ()),
    "PACKET_SPECIES": ("i1", ()),
    "ACCUMULATION_TIME": ("<u2", ()),
    "DATA_UNITS": ("u1", ()),
    "SOURCE_BACKGROUND": ("u1", ()),
}
_SOURCES: Objects = {
    "SOURCE_MAG": ("u1", ()),
    "SOURCE_JADE_METAKERNEL": ("<i2", ()),
    "SOURCE_JADE_CALIB": ("<i2", ()),
}
_VERSIONS: Objects = {
    "FSW_VERSION": ("<f4", ()),
    "LUT_VERSION": ("<f4", ()),
    "LUT_SWEEP_TABLE": ("<u2", ()),
    "FILE_VERSION": ("<u2", ()),
}
_PLACE: Objects = {
    **{f"SC_POS_{n}{s}": ("<f4", ()) for n in ("R", "LAT", "LOCAL_TIME", "SYSIII_ELONG") for s in _CENTRED},
    "SC_POS_JUPITER_J2000XYZ": ("<f4", (3,)),
    "SC_VEL_JUPITER_J2000XYZ": ("<f4", (3,)),
    "SC_VEL_ANGULAR_J2000XYZ": ("<f4", (3,)),
    "SC_SPIN_PERIOD": ("<f4", ()),
    **{f"SC_SPIN_PHASE{s}": ("<f4", ()) for s in _CENTRED},
    "DESPUN_SC_TO_J2000": ("<f4", (9,)),
    "J2000_TO_JSSXYZ": ("<f4", (9,)),
    "J2000_TO_JSSRTP": ("<f4", (9,)),
}
ARRAYS = (
    "DATA",
    "DATA_SIGMA",
    "BACKGROUND",
    "BACKGROUND_SIGMA",
    *(f"{n}{s}" for n in ("DIM1_E", "DIM2_ELEVATION", "DIM2_AZIMUTH_DESPUN") for s in _CENTRED),
)


@dataclass(frozen=True)
class Level3Kind:
    """A kind of level 3 product: directory, looks (or counters), voltages of plates, and the arrays of a record."""

    folder: str
    looks: int
    voltages: int
    arrays: tuple[str, ...] = ARRAYS


L3_KINDS = {
    "HRS_ELC_ALL": Level3Kind("ELECTRONS", ANODES, 3),
    "HRS_ELC_TWO": Level3Kind("ELECTRONS", 32, 2),
    "LRS_ELC_ANY": Level3Kind("ELECTRONS", ANODES, 1),
    "HRS_ION_ANY": Level3Kind("ION_SPECIES", ION_LOOKS, 1),
    "LRS_ION_ANY": Level3Kind("ION_SPECIES", ION_LOOKS, 1),
    # Counters look nowhere: seven arrays.
    "HLS_ION_LOG": Level3Kind("ION_LOGICALS", LOGICALS, 1, tuple(n for n in ARRAYS if not n.startswith("DIM2"))),
}
# Record sizes that real labels and readers of the archive state, by kind and version.
RECORD_BYTES = {("LRS_ION_ANY", 2): 259_872, ("LRS_ELC_ANY", 3): 160_036, ("HLS_ION_LOG", 4): 45_120}


def level3(kind: str, version: int) -> Objects:
    """Objects of a level 3 ``CNT`` record in files of a version, 2 to 4.

    Versions 3 and 4 added objects; V04 replaced the flag of the dead time by a spare. Where ``MAG_VECTOR`` stands in
    V04 is stated for HRS electrons (last); the other kinds are taken to have none. Of the header of the logicals in V04
    (320 bytes, if there are seven arrays) ten bytes are not known; they are named ``UNKNOWN``.
    """
    own = L3_KINDS[kind]
    dead = "SPARE_ZEROS" if version >= 4 else "SOURCE_DEAD_TIME"
    out: Objects = {**_HEAD, dead: ("u1", ()), **_SOURCES}
    if version >= 4:
        out |= _VERSIONS
    out |= {**_PLACE, "MCP_VOLTAGE": ("<f4", (own.voltages,))}
    if version >= 3:
        out |= {"ISSUES": ("<u4", ())}
    if version >= 4:
        out |= {"TIMESTAMP_WHOLE": ("<u4", ()), "TIMESTAMP_SUB": ("<u2", ())}
        if kind == "HLS_ION_LOG":
            out |= {"UNKNOWN": ("u1", (10,))}
    out |= dict.fromkeys(own.arrays, ("<f4", (ENERGIES, own.looks)))
    if kind == "HRS_ELC_ALL":
        out |= {"MAG_VECTOR": ("<f4", (3,))}
    return out


def row_bytes(objects: Objects) -> int:
    """Bytes of a record."""
    return sum(np.dtype(kind).itemsize * int(np.prod(shape)) for kind, shape in objects.values())


# RJW comments

_LETTERS = {"S": "c", "u1": "B", "i1": "b", "u2": "H", "i2": "h", "u4": "I", "i4": "i", "f4": "f", "f8": "d"}
_RJW = re.compile(r"/\*\s*RJW,\s*([^*]*?)\s*\*/")


def _letter(kind: np.dtype[Any]) -> str:
    return "c" if kind.kind == "S" else _LETTERS[kind.str[1:]]


def _described(kind: np.dtype[Any], shape: tuple[int, ...]) -> tuple[str, tuple[int, ...]]:
    """Letter and dimensions by which a comment describes an object; text is an array of characters."""
    dims = (*shape, kind.itemsize) if kind.kind == "S" else shape or (1,)
    return _letter(kind), dims


def rjw_comments(objects: Objects) -> Iterator[str]:
    """Lines of a label that describe a record as the archive's do."""
    yield f"/* RJW, BYTES_PER_RECORD, {row_bytes(objects)} */"
    yield f"/* RJW, OBJECTS_PER_RECORD, {len(objects)} */"
    for name, (kind, shape) in objects.items():
        letter, dims = _described(np.dtype(kind), shape)
        yield f"/* RJW, {name}, {letter}, {len(dims)}, {', '.join(map(str, dims))} */"


def check_rjw(label: Label, columns: Mapping[str, Column], row: int) -> None:
    """Compare the columns of a label's objects with its ``RJW`` comments, if it has any.

    Raises
    ------
    InputError
        naming the first object on which they differ: either may be wrong, and no values are read then.
    """
    found = [[part.strip() for part in m[1].split(",")] for m in _RJW.finditer(label.text)]
    if not found:
        return
    sizes = {f[0]: f[1] for f in found if len(f) == 2}
    if sizes.get("BYTES_PER_RECORD") not in (None, str(row)):
        reason = f"RJW comments say {sizes['BYTES_PER_RECORD']} bytes per record, ROW_BYTES {row}"
        raise InputError(label.path, reason, "BYTES_PER_RECORD")
    start = 0
    for name, letter, _, *dims in (f for f in found if len(f) > 3):
        column = columns.get(name)
        if column is None:
            raise InputError(label.path, "described by an RJW comment, but no column of the table", name)
        own = _described(column.dtype, column.shape)
        said = letter, tuple(int(d) if d.isdecimal() else -1 for d in dims)
        if own != said or column.start != start:
            reason = f"RJW comments say {said} at byte {start}, the column {own} at byte {column.start}"
            raise InputError(label.path, reason, name)
        start += column.size * int(np.prod(column.shape))
