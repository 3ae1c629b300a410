"""Orbit data files of the DSN (TRK-2-18 revision E): compressed Doppler, range, angles, ramps of transmitters.

A file is 36-byte records of nine big-endian words, in groups. A group begins with a header: key, secondary key, records
per logical record, packet number of the header itself, five spare words. After the last group the block is filled up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from pipeline.errors import InputError
from pipeline.formats.dsn.columns import as_dataset
from pipeline.formats.dsn.times import MJD_1950

RECORD = 36
BLOCK = 8064  # bytes a file is filled up to a multiple of
LABEL, IDENTIFIER, ORBIT, RAMP, CLOCK, SUMMARY, END = 101, 107, 109, 2030, 2040, 105, -1
_NAMES = {LABEL: "file label", IDENTIFIER: "identifier", ORBIT: "orbit data", RAMP: "ramp", CLOCK: "clock offset"}
_NAMES |= {SUMMARY: "data summary", END: "end of file"}

# Name, bits (negative: signed; text: bytes of ASCII), unit. Items in the order of the document, from the first bit on.
Field = tuple[str, int | str, str]
_HEADER: list[Field] = [
    ("key", -32, ""),
    ("secondary_key", 32, ""),
    ("record_packets", 32, ""),
    ("start_packet", 32, ""),
    *((f"suffix_{k}", 32, "") for k in range(5, 10)),
]
_ORBIT: list[Field] = [
    ("time_second", 32, "s since the reference date"),
    ("time_millisecond", 10, "ms"),
    ("downlink_delay", 22, "ns"),
    ("observable_whole", -32, ""),
    ("observable_fraction", -32, ""),
    ("format_id", 3, ""),
    ("receiver", 7, ""),
    ("transmitter", 7, ""),
    ("network", 2, ""),
    ("data_type", 6, ""),
    ("downlink_band", 2, ""),
    ("uplink_band", 2, ""),
    ("reference_band", 2, ""),
    ("invalid", 1, ""),
    ("item_15", 7, ""),
    ("spacecraft", 10, ""),
    ("item_17", 1, ""),
    ("reference_high", 22, "2^24 mHz"),
    ("reference_low", 24, "mHz"),
    ("item_20", -20, ""),
    ("item_21", 22, ""),
    ("uplink_delay", 22, "ns"),
]
_RAMP: list[Field] = [
    ("start_second", 32, "s since the reference date"),
    ("start_nanosecond", 32, "ns"),
    ("rate_whole", -32, "Hz/s"),
    ("rate_fraction", -32, "nHz/s"),
    ("frequency_ghz", 22, "GHz"),
    ("station", 10, ""),
    ("frequency_whole", 32, "Hz"),
    ("frequency_fraction", 32, "nHz"),
    ("end_second", 32, "s since the reference date"),
    ("end_nanosecond", 32, "ns"),
]
_LAYOUTS: dict[int, list[Field]] = {
    LABEL: [
        ("system", "S8", ""),
        ("program", "S8", ""),
        ("spacecraft", 32, ""),
        ("creation_date", 32, ""),
        ("creation_time", 32, ""),
        ("reference_date", 32, ""),
        ("reference_time", 32, ""),
    ],
    IDENTIFIER: [("identifier_1", "S8", ""), ("identifier_2", "S8", ""), ("identifier_3", "S20", "")],
    ORBIT: _ORBIT,
    RAMP: _RAMP,
    CLOCK: [
        ("start_second", 32, "s since the reference date"),
        ("start_nanosecond", 32, "ns"),
        ("offset_whole", -32, "s"),
        ("offset_fraction", -32, "ns"),
        ("primary_station", 32, ""),
        ("secondary_station", 32, ""),
        ("reserved", 32, ""),
        ("end_second", 32, "s since the reference date"),
        ("end_nanosecond", 32, "ns"),
    ],
    SUMMARY: [(f"word_{k}", 32, "") for k in range(1, 10)],
    END: [],
}


@cache
def record_dtype(key: int) -> np.dtype[np.void]:
    """Return the type in which the records of a group are decoded: one number per item, wide enough, or text."""
    return _dtype(_LAYOUTS[key])


def _dtype(layout: list[Field]) -> np.dtype[np.void]:
    return np.dtype([(n, b if isinstance(b, str) else _integer(b)) for n, b, _ in layout])


def _integer(bits: int) -> str:
    return ("u" if bits > 0 else "i") + str(1 if abs(bits) <= 8 else 2 if abs(bits) <= 16 else 4)


def units(key: int) -> dict[str, str]:
    """Return the unit of every item of a group's records; of the observable see `OBSERVABLE_UNITS`."""
    return {name: unit for name, _, unit in _LAYOUTS[key]}


OBSERVABLE_UNITS = (
    {1: "Hz", 2: "cycles", 3: "Hz", 4: "cycles", 5: "ns", 6: "ns"}
    | dict.fromkeys((11, 12, 13), "Hz")
    | dict.fromkeys((21, 22, 23), "cycles")
    | {36: "RU", 37: "RU", 41: "ns"}
    | dict.fromkeys(range(51, 59), "deg")
)
"""Unit of the observable by data type; `observable_fraction` is in 1e-9 of it."""


@dataclass
class Group:
    """One group: its header and its records, decoded."""

    header: NDArray[np.void]
    records: NDArray[np.void]

    @property
    def key(self) -> int:
        """Which group it is (`ORBIT`, `RAMP`, ...)."""
        return int(self.header["key"])


@dataclass
class Odf:
    """The content of a file, bit for bit.

    Attributes
    ----------
    groups : in file order, the end-of-file group last.
    filling : what follows that group, to the end of the block.
    path : the file, for messages.
    """

    groups: list[Group]
    filling: bytes = b""
    path: str = field(default="<memory>", compare=False)

    def records(self, key: int) -> NDArray[np.void]:
        """Return the records of all groups of a key, one after another."""
        return np.concatenate([np.zeros(0, record_dtype(key)), *(g.records for g in self.groups if g.key == key)])

    def dataset(self, key: int) -> xr.Dataset:
        """Return the records of a key as variables with units."""
        return as_dataset(self.records(key), units(key))


def read_odf(path: str | Path) -> Odf:
    """Read a file whole.

    Records carry no mark of their own, so a file with a record too few or too many has no part that can be trusted.

    Raises
    ------
    InputError : cannot be read, not such a file, cut short, or a header that contradicts its place.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise InputError(path, f"cannot be read: {error.strerror or error}") from error
    if data[:4] != LABEL.to_bytes(4, "big"):
        swapped = ": its bytes are swapped" if data[:4] in (b"\x65\0\0\0", b"\0\0\x65\0") else ""
        raise InputError(path, f"not an orbit data file, the first word is not {LABEL}{swapped}", "byte 0")
    words = np.frombuffer(data, ">u4", len(data) // RECORD * 9).reshape(-1, 9).astype(np.uint32)
    heads = _headers(words)
    headers = _decode(_HEADER, words[heads])
    _check_headers(path, headers, heads, len(data))
    stops = np.append(heads[1:], heads[-1] + 1)
    groups = []
    for header, first, stop in zip(headers, heads + 1, stops, strict=True):
        groups.append(Group(header, _decode(_LAYOUTS[int(header["key"])], words[first:stop])))
        _check_records(path, groups[-1], int(first))
    return Odf(groups, data[(int(heads[-1]) + 1) * RECORD :], str(path))


def _headers(words: NDArray[np.uint32]) -> NDArray[np.int64]:
    """Return the packet numbers of the group headers up to the end-of-file group.

    A header is known by its key, by the number of its own packet, and by its spare words: all zero.
    """
    keys = np.array(list(_LAYOUTS), np.int32).view(np.uint32)
    alike = np.isin(words[:, 0], keys) & (words[:, 4:] == 0).all(axis=1) & (words[:, 2] <= 1)
    heads = np.flatnonzero(alike)
    ends = np.flatnonzero(words[heads, 0] == np.uint32(0xFFFFFFFF))
    return heads[: ends[0] + 1] if len(ends) else heads


def _check_headers(path: str | Path, headers: NDArray[np.void], heads: NDArray[np.int64], size: int) -> None:
    """Raise unless the headers are those of one whole file."""
    wrong = np.flatnonzero(headers["start_packet"] != heads)
    if len(wrong):
        at, says = int(heads[wrong[0]]), int(headers["start_packet"][wrong[0]])
        name = _NAMES[int(headers["key"][wrong[0]])]
        reason = f"the {name} group says it begins with packet {says}, but it is packet {at}: records are lost or added"
        raise InputError(path, reason, f"byte {at * RECORD}")
    keys = headers["key"].tolist()
    stray = np.flatnonzero((headers["secondary_key"] != 0) & ~np.isin(headers["key"], (RAMP, CLOCK, SUMMARY)))
    if len(stray):
        at = int(heads[stray[0]])
        raise InputError(path, f"the {_NAMES[keys[stray[0]]]} group has a secondary key", f"byte {at * RECORD + 4}")
    if not keys or keys[-1] != END:
        raise InputError(path, "the file is cut short: it has no end-of-file group", f"byte {size}")
    if keys[:2] != [LABEL, IDENTIFIER] or ORBIT not in keys:
        names = ", ".join(_NAMES[k] for k in keys)
        raise InputError(
            path, f"a file has a label, an identifier and orbit data; this one has groups {names}", "byte 0"
        )


def _check_records(path: str | Path, group: Group, first: int) -> None:
    """Raise at the first record that cannot be one of its group."""
    records = group.records
    if group.key in (LABEL, IDENTIFIER) and len(records) != 1:
        raise InputError(
            path, f"the {_NAMES[group.key]} group has {len(records)} records, not 1", f"byte {first * RECORD}"
        )
    checks: list[tuple[NDArray[np.bool_], str]] = []
    if group.key == ORBIT:
        checks = [
            (records["format_id"] != 2, "format is not 2 (TRK-2-18 of 1997 and later)"),
            (records["time_millisecond"] > 999, "time tag has more than 999 ms"),
            (
                np.abs(records["observable_fraction"].astype(np.int64)) > 999_999_999,
                "fraction of the observable exceeds 1",
            ),
            (~np.isin(records["data_type"], list(OBSERVABLE_UNITS)), "unknown data type"),
        ]
    elif group.key == RAMP:
        giga = 999_999_999
        late = records["end_second"] < records["start_second"]
        checks = [
            ((records["start_nanosecond"] > giga) | (records["end_nanosecond"] > giga), "time has more than 1e9 ns"),
            (
                (records["frequency_whole"] > giga) | (records["frequency_fraction"] > giga),
                "frequency part exceeds 1e9",
            ),
            (np.abs(records["rate_fraction"].astype(np.int64)) > giga, "fraction of the rate exceeds 1"),
            (late, "the ramp ends before it starts"),
            (records["station"] != int(group.header["secondary_key"]), "the ramp is not of the station of its group"),
        ]
    for bad, reason in checks:
        if bad.any():
            at = int(np.argmax(bad))
            raise InputError(path, f"{_NAMES[group.key]} record {at}: {reason}", f"byte {(first + at) * RECORD}")


def _places(layout: list[Field]) -> Iterable[tuple[str, int, int | str]]:
    """Return name, first bit and bits of every item."""
    bit = 0
    for name, bits, _ in layout:
        yield name, bit, bits
        bit += 8 * int(bits[1:]) if isinstance(bits, str) else abs(bits)


def _decode(layout: list[Field], words: NDArray[np.uint32]) -> NDArray[np.void]:
    """Return the items of records given as words in the machine's byte order."""
    out = np.zeros(len(words), _dtype(layout))
    wide = np.zeros((10, len(words)), np.uint64)
    wide[:9] = words.T
    for name, bit, bits in _places(layout):
        word, shift = divmod(bit, 32)
        if isinstance(bits, str):
            length = int(bits[1:]) // 4
            text = words[:, word : word + length].astype(">u4")
            out[name] = np.ascontiguousarray(text).view(bits)[:, 0]
            continue
        pair = (wide[word] << np.uint64(32)) | wide[word + 1]
        top = pair << np.uint64(shift)
        out[name] = top.view(np.int64) >> (64 + bits) if bits < 0 else top >> np.uint64(64 - bits)
    return out


def _encode(layout: list[Field], records: NDArray[np.void]) -> bytes:
    """Return the records as bytes; the reverse of `_decode`."""
    wide = np.zeros((len(records), 10), np.uint64)
    for name, bit, bits in _places(layout):
        word, shift = divmod(bit, 32)
        if isinstance(bits, str):
            text = np.ascontiguousarray(records[name]).view(">u4").reshape(len(records), -1)
            wide[:, word : word + text.shape[1]] = text
            continue
        value, width = records[name].astype(np.int64), abs(bits)
        low, high = (-(1 << (width - 1)), (1 << (width - 1)) - 1) if bits < 0 else (0, (1 << width) - 1)
        if len(value) and (value.min() < low or value.max() > high):
            raise ValueError(f"{name}: {value.min()}..{value.max()} does not fit {width} bits")
        pair = (value.view(np.uint64) << np.uint64(64 - width)) >> np.uint64(shift)
        wide[:, word] |= pair >> np.uint64(32)
        wide[:, word + 1] |= pair & np.uint64(0xFFFFFFFF)
    return wide[:, :9].astype(">u4").tobytes()


def make_records(key: int, columns: Mapping[str, ArrayLike]) -> NDArray[np.void]:
    """Return records of a group; items not named are zero, and format and data type of orbit data are the caller's.

    Raises
    ------
    ValueError : an item the group does not have, or a value beyond its type.
    """
    dtype = record_dtype(key)
    unknown = set(columns) - set(dtype.names or ())
    if unknown:
        raise ValueError(f"the {_NAMES[key]} group has no item {', '.join(sorted(unknown))}")
    values = {name: np.asarray(value) for name, value in columns.items()}
    out = np.zeros(np.broadcast_shapes((1,), *(v.shape for v in values.values())), dtype)
    for name, value in values.items():
        out[name] = value
        if dtype[name].kind in "ui" and not np.array_equal(out[name], np.broadcast_to(value, out.shape)):
            raise ValueError(f"{name}: values do not fit {dtype[name]}")
    return out


def make_odf(groups: Iterable[tuple[int, int, NDArray[np.void]]]) -> Odf:
    """Return a file of groups given as key, secondary key (the station of a ramp group) and records.

    Headers, the end-of-file group and the filling are made here.
    """
    out, packet = [], 0
    for key, secondary, records in [*groups, (END, 0, np.zeros(0, record_dtype(END)))]:
        header = np.zeros((), _dtype(_HEADER))
        header["key"], header["secondary_key"], header["start_packet"] = key, secondary, packet
        header["record_packets"] = key != END
        out.append(Group(header[()], records))
        packet += 1 + len(records)
    return Odf(out, bytes(-packet * RECORD % BLOCK))


def write_odf(path: str | Path, odf: Odf) -> None:
    """Write a file; what `read_odf` gave comes out byte for byte.

    Raises
    ------
    ValueError : a value does not fit its bits.
    """
    parts = []
    for group in odf.groups:
        parts.append(_encode(_HEADER, np.atleast_1d(np.asarray(group.header))))
        parts.append(_encode(_LAYOUTS[group.key], group.records))
    Path(path).write_bytes(b"".join([*parts, odf.filling]))


def utc(second: ArrayLike, fraction: ArrayLike, per_second: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return modified Julian day and seconds of the day of a time counted from 1950 in days of 86400 s.

    `fraction` is in units of 1 / `per_second` s: 1000 for orbit data, 1000000000 for ramps.
    """
    day, rest = np.divmod(np.asarray(second, np.int64), 86400)
    return day + MJD_1950, rest + np.asarray(fraction, np.float64) / per_second


def reference_frequency(orbit: NDArray[np.void]) -> NDArray[np.float64]:
    """Return the reference frequency in Hz; the record has it in mHz, exact here below 9 THz."""
    return (orbit["reference_high"].astype(np.int64) * (1 << 24) + orbit["reference_low"]) / 1000.0


def ramp_frequency(ramps: NDArray[np.void]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the frequency at the start of each ramp as whole Hz and the fraction of a Hz."""
    whole = ramps["frequency_ghz"].astype(np.int64) * 1_000_000_000 + ramps["frequency_whole"]
    return whole, ramps["frequency_fraction"] * 1e-9


def ramp_rate(ramps: NDArray[np.void]) -> NDArray[np.float64]:
    """Return the rate of each ramp in Hz/s."""
    return ramps["rate_whole"] + ramps["rate_fraction"] * 1e-9
