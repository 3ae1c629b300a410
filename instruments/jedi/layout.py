"""What JEDI's archived tables hold: units, table types, species, channels, columns (README.md, "Raw tables")."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

UNITS = ("090", "180", "270")
FRAMES = ("JUNO_JEDI_090", "JUNO_JEDI_A180", "JUNO_JEDI_270")
TELESCOPES = 6
# Basic rates: counters of all pulses, whether or not they make an event that is sorted into a channel.
COUNTERS = ("START", "STOP", "SSD", "EVENT")
START, STOP, SSD, EVENT = range(4)
LARGE, SMALL = 0, 1
MISSING = -1
DATASET = "JNO-J-JED-2-EDR-V1.0"

# Species in the order of their codes, and the number of nucleons of those that are one nuclide.
SPECIES = ("electrons", "ions", "protons", "helium", "oxygen", "sulfur", "heavies")
NUCLEONS = {"protons": 1.0, "helium": 4.0, "oxygen": 16.0, "sulfur": 32.0}


@dataclass(frozen=True)
class Group:
    """Channels of one species in a table.

    Parameters
    ----------
    letter : in the names of columns, as in ``T0EXF14``.
    species : one of `SPECIES`.
    name : of its quantities in the calibration tables.
    channels : how many.
    energies : the name under which table ``channels`` has their energies.
    """

    letter: str
    species: str
    name: str
    channels: int
    energies: str


@dataclass(frozen=True)
class Family:
    """Tables that measure in one way.

    Parameters
    ----------
    title : what.
    detector : ``electrons`` or ``ions``: whose pixels and geometric factor.
    monitor : whether the last channel counts penetrating particles (spectra of solid-state detectors alone).
    """

    title: str
    detector: str
    monitor: bool
    groups: tuple[Group, ...]


FAMILIES = {
    "ESP": Family("electron spectra", "electrons", True, (Group("E", "electrons", "electrons", 19, "electrons"),)),
    "ISP": Family("ion spectra, species together", "ions", True, (Group("I", "ions", "ions", 17, "ions"),)),
    "TOFXER": Family(
        "ion species by time of flight and energy",
        "ions",
        False,
        (
            Group("P", "protons", "protons", 12, "protons"),
            Group("A", "helium", "helium", 8, "helium"),
            Group("O", "oxygen", "oxygen", 10, "oxygen"),
            Group("S", "sulfur", "sulfur", 10, "oxygen"),
        ),
    ),
    "TOFXPHR": Family(
        "ion species by time of flight and pulse height",
        "ions",
        False,
        (
            Group("P", "protons", "low_protons", 6, "low_protons"),
            Group("M", "heavies", "low_heavies", 6, "low_heavies"),
        ),
    ),
}
# The ten table types: two resolutions, and those that on-board priorities have not touched.
KINDS = {f"{r}{name}": name for r in ("HIERS", "LOERS") for name in FAMILIES} | {
    "NONPTOFXER": "TOFXER",
    "NONPTOFXPHR": "TOFXPHR",
}


def merged(family: Family, kind: str) -> NDArray[np.intp]:
    """Channel of a table into which each of the family's fine channels is counted: itself, or pairs where coarse."""
    sizes = [g.channels for g in family.groups]
    if not kind.startswith("LOERS"):
        return np.arange(sum(sizes))
    out, first = [], 0
    for size in sizes:
        own = np.arange(size - family.monitor) // 2
        own = np.append(own, own[-1] + 1) if family.monitor else own
        out.append(own + first)
        first = int(out[-1][-1]) + 1
    return np.concatenate(out)


def channel_columns(kind: str) -> list[list[str]]:
    """Names of the columns of counts, by telescope and channel."""
    family = FAMILIES[KINDS[kind]]
    letters = np.repeat([g.letter for g in family.groups], [g.channels for g in family.groups])
    place = merged(family, kind)
    first = np.unique(place, return_index=True)[1]
    own = letters[first]
    number = [int((own[:k] == letter).sum()) for k, letter in enumerate(own)]
    return [[f"T{t}{a}XF{k:02d} COUNTS" for a, k in zip(own, number, strict=True)] for t in range(TELESCOPES)]


def basic_column(telescope: int, counter: str) -> str:
    """Name of the column of a basic rate."""
    return f"T{telescope} {counter} COUNTS"


def pixel_column(telescope: int) -> str:
    """Name of the column of a telescope's pixel."""
    return f"T{telescope} PIXEL"


def columns(kind: str) -> Iterator[dict[str, Any]]:
    """COLUMN objects of a table's format file."""
    fields: list[tuple[str, str, str, str, str]] = [
        ("UTC", "TIME", "A21", "N/A", "UTC at which the integration begins"),
        ("SCLK", "CHARACTER", "A18", "N/A", "Spacecraft clock at which the integration begins"),
        ("INTEGRATION TIME", "ASCII_REAL", "F9.4", "SECOND", "Length of the integration"),
        ("MCP GAIN", "ASCII_INTEGER", "I2", "N/A", "Gain state of the microchannel plate"),
    ]
    for t in range(TELESCOPES):
        fields += [(pixel_column(t), "ASCII_INTEGER", "I2", "N/A", "0 large, 1 small pixel")]
        fields += [
            (basic_column(t, c), "ASCII_INTEGER", "I9", "COUNT", f"Basic rate, {c.lower()} pulses") for c in COUNTERS
        ]
    fields += [
        (name, "ASCII_INTEGER", "I8", "COUNT", "Counts in the channel") for row in channel_columns(kind) for name in row
    ]
    start = 1
    for number, (name, data_type, form, unit, text) in enumerate(fields):
        size = int(form[1:].split(".")[0])
        constant = {"MISSING_CONSTANT": MISSING} if form[0] == "I" else {}
        yield {
            "NAME": name, "COLUMN_NUMBER": number + 1, "DATA_TYPE": data_type, "START_BYTE": start, "BYTES": size,
            "FORMAT": form, "UNIT": unit, **constant, "DESCRIPTION": text,
        }  # fmt: skip
        start += size + 1


def row_bytes(kind: str) -> int:
    """Bytes of a row: the columns, a space after each, and CR LF in place of the last."""
    last = list(columns(kind))[-1]
    return int(last["START_BYTE"] + last["BYTES"] - 1 + 2)
