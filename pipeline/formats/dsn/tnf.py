"""Tracking and navigation files of the DSN (TRK-2-34 revision N and later): closed-loop phase, ranging, observables.

A file is SFDUs of 18 data types, big-endian. The fields of every type stand in ``tnf_fields.csv`` by byte from the
start of the unit, as NASA's trk234 reader and the interface document (New Horizons ``tnfsis.asc``) have them. By the
document an observable of types 16 and 17 ends with 4 reserved bytes, and the unit with 8.

Codes: bands 0 unknown, 1 S, 2 X, 3 Ka, 4 Ku, 5 L; ``prdx_mode`` 0 none, 1 to 3 one- to three-way, 4 invalid;
``carr_lock_stat`` 4 in lock; ``ramp_type`` 1 start, 4 and 5 end of ramps. A time-tag delay of -1 and a z-height
correction of -99 mean not known. Records hold them as they came.

Units of times, phases, frequencies and delays are those public readers use. Units of power, range and merit are the
usual ones of these quantities, not read in the document; ``?`` in ``tnf_fields.csv`` is where even that is open.
"""

from __future__ import annotations

import csv
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from pipeline.formats.dsn.columns import as_dataset
from pipeline.formats.dsn.sfdu import LABEL, Damage, OnDamage, SfduIndex, index_sfdus
from pipeline.formats.dsn.times import Time, mjd_of, valid_time

# Of each data type: the data description, the secondary CHDO, the bytes of the fixed part.
_UPLINK, _DOWNLINK, _DERIVED = (b"C123", "uplink", 132), (b"C124", "downlink", 133), (b"C125", "derived", 134)
_VLBI, _FILTERED = (b"C126", "interferometric", 135), (b"C127", "filtered", 136)
_KIND = {0: _UPLINK, 1: _DOWNLINK, 2: _UPLINK, 3: _DOWNLINK, 4: _UPLINK, 5: _DOWNLINK, 9: _UPLINK, 10: _VLBI}
_KIND |= {12: _FILTERED, 13: _FILTERED} | dict.fromkeys((6, 7, 8, 11, 14, 15, 16, 17), _DERIVED)
DATA_TYPES = range(18)
WITH_OBSERVABLES = (16, 17)
_TAIL = 8  # reserved bytes after the observables
_SHORTEST, _LONGEST = 144, 214 + 22 * 65535
_FORMAT_CODE, _NUM_OBS = 31, 188  # first byte in a unit
_BLOCK = 1 << 16  # units decoded in one go
_CHDOS = ("aggregation", "primary", "secondary", "tracking")
_REASONS = (
    "format code is not a data type 0..17",
    "the length is not that of the data type",
    "the data description is not that of the data type",
    "types and lengths of the CHDOs are not those of the data type",
    "the time tag is no time",
)


@cache
def _sections() -> dict[str, list[tuple[str, str, int, str]]]:
    """Return name, type, first byte and unit of the fields of every section of ``tnf_fields.csv``."""
    sections: dict[str, list[tuple[str, str, int, str]]] = {}
    with files(__package__).joinpath("tnf_fields.csv").open() as text:
        for row in csv.DictReader(text):
            sections.setdefault(row["section"], []).append((row["field"], row["type"], int(row["byte"]), row["unit"]))
    return sections


@cache
def _fields(data_type: int) -> list[tuple[str, str, int, str]]:
    """Return the fields of a unit but its observables; CHDO headers and reserved bytes are named by section."""
    out = []
    for section in ("label", "aggregation", "primary", _KIND[data_type][1], f"type_{data_type:02d}"):
        prefix = {_KIND[data_type][1]: "secondary", f"type_{data_type:02d}": "tracking"}.get(section, section)
        for name, kind, byte, unit in _sections()[section]:
            own = name.startswith(("chdo_", "reserve"))
            out.append((f"{prefix}_{name}" if own else name, kind, byte, unit))
    if data_type in WITH_OBSERVABLES:
        out.append(("tracking_reserve8", f"V{_TAIL}", out[-1][2] + np.dtype(out[-1][1]).itemsize, ""))
    return out


@cache
def record_dtype(data_type: int) -> np.dtype[np.void]:
    """Return the big-endian layout of a unit without its observables, which stand before the last 8 reserved bytes."""
    fields_ = _fields(data_type)
    return np.dtype(
        {
            "names": [name for name, *_ in fields_],
            "formats": [">" + kind if kind[0] in "uif" else kind for _, kind, *_ in fields_],
            "offsets": [byte for *_, byte, _ in fields_],
        }
    )


@cache
def observable_dtype(data_type: int) -> np.dtype[np.void]:
    """Return the big-endian layout of one observable of type 16 or 17."""
    rows = _sections()[f"observable_{data_type}"]
    return np.dtype([(name, ">" + kind if kind[0] in "uif" else kind) for name, kind, *_ in rows])


def units(data_type: int) -> dict[str, str]:
    """Return the unit of every field of a data type; empty for codes, counts and flags, ``?`` where not published."""
    rows = _fields(data_type) + _sections().get(f"observable_{data_type}", [])
    return {name: unit for name, _, _, unit in rows}


@dataclass
class Tnf:
    """The content of a file, bit for bit.

    Attributes
    ----------
    records : of each data type present, its units in file order, in `record_dtype`.
    observables : of types 16 and 17, the observables of all units, one after another, ``num_obs`` of each.
    order : data type of every unit, in file order.
    damage : what was left out; empty unless damage was to be skipped.
    path : the file, for messages.
    """

    records: dict[int, NDArray[np.void]]
    observables: dict[int, NDArray[np.void]] = field(default_factory=dict)
    order: NDArray[np.uint8] = field(default_factory=lambda: np.zeros(0, np.uint8))
    damage: list[Damage] = field(default_factory=list)
    path: str = "<memory>"

    def dataset(self, data_type: int) -> xr.Dataset:
        """Return the records of a data type as variables with units (observables on their own dimension)."""
        out = as_dataset(self.records[data_type], units(data_type))
        if data_type in WITH_OBSERVABLES:
            out = out.merge(as_dataset(self.observables[data_type], units(data_type), "observable"))
        return out


def read_tnf(
    path: str | Path,
    on_damage: OnDamage = "raise",
    data_types: Collection[int] = DATA_TYPES,
    between: tuple[Time, Time] | None = None,
) -> Tnf:
    """Read a file, or some of its data types, or some of its time; memory is what is read and a block of units.

    Parameters
    ----------
    on_damage : raise at the first damaged unit, or leave damaged ones out and report them in `Tnf.damage`; the whole
        file is looked at, whatever is asked for.
    data_types : types wanted.
    between : first time wanted and first time no longer wanted: modified Julian day and seconds of the day, UTC.

    Raises
    ------
    InputError : not such a file, or damaged (``"raise"``), or nothing in it is whole.
    """
    index = index_sfdus(path, {kind[0] for kind in _KIND.values()}, _LONGEST, on_damage)
    index.refuse((index.size < _SHORTEST).astype(np.uint8), ["the unit is shorter than any data type"], on_damage)
    index.refuse(_judge_size(index), _REASONS, on_damage)
    order = index.gather(slice(None), _FORMAT_CODE, 1)[:, 0]
    verdict, wanted = np.zeros(len(order), np.uint8), np.zeros(len(order), bool)
    blocks: dict[int, list[NDArray[np.void]]] = {}
    for first in range(0, len(order), _BLOCK):
        for data_type in np.flatnonzero(np.bincount(order[first : first + _BLOCK])).tolist():
            which = first + np.flatnonzero(order[first : first + _BLOCK] == data_type)
            rows = _decode(index, which, data_type)
            verdict[which] = _judge_record(rows, data_type)
            chosen = (verdict[which] == 0) & (data_type in data_types) & _within(rows, between)
            wanted[which] = chosen
            if chosen.any():
                blocks.setdefault(data_type, []).append(rows if chosen.all() else rows[chosen])
    observables = {
        t: _decode_observables(index, np.flatnonzero(wanted & (order == t)), t) for t in WITH_OBSERVABLES if t in blocks
    }
    index.refuse(verdict, _REASONS, on_damage)
    records = {t: _joined(blocks[t]) for t in sorted(blocks)}
    return Tnf(records, observables, order[wanted], sorted(index.damage, key=lambda d: d.offset), str(path))


def _joined(blocks: list[NDArray[np.void]]) -> NDArray[np.void]:
    """Return the records of all blocks, as bytes: numpy would turn joined numbers to the machine's byte order."""
    dtype = blocks[0].dtype
    return np.concatenate([b.view(f"V{dtype.itemsize}") for b in blocks]).view(dtype)


def _within(records: NDArray[np.void], between: tuple[Time, Time] | None) -> NDArray[np.bool_]:
    """Return which records have their time tag in the span."""
    if between is None:
        return np.ones(len(records), bool)
    day, second = time_tag(records)
    (first, since), (last, until) = between
    return ((day > first) | ((day == first) & (second >= since))) & ((day < last) | ((day == last) & (second < until)))


def _judge_size(index: SfduIndex) -> NDArray[np.uint8]:
    """Return 1 + the number of the reason why the size of a unit contradicts its data type, or 0."""
    data_type = index.gather(slice(None), _FORMAT_CODE, 1)[:, 0]
    fixed = np.array([record_dtype(t).itemsize for t in DATA_TYPES])
    item = np.array([observable_dtype(t).itemsize if t in WITH_OBSERVABLES else 0 for t in DATA_TYPES])
    known = data_type < len(DATA_TYPES)
    t = np.where(known, data_type, 0)
    # Every unit is long enough for the place of num_obs only if it is of a type that has it.
    long = np.flatnonzero(known & (item[t] > 0) & (index.size >= fixed[t]))
    count = np.zeros(len(t), np.int64)
    count[long] = index.gather(long, _NUM_OBS, 2).view(">u2")[:, 0]
    return np.where(known, 2 * (index.size != fixed[t] + item[t] * count), 1).astype(np.uint8)


def _judge_record(records: NDArray[np.void], data_type: int) -> NDArray[np.uint8]:
    """Return 1 + the number of the reason why the headers of a record contradict one another, or 0."""
    types, lengths = _chdo_headers(data_type)
    more = records["sfdu_length"].astype(np.int64) + LABEL - record_dtype(data_type).itemsize
    right = np.ones(len(records), bool)
    for name, kind, length in zip(_CHDOS, types, lengths, strict=True):
        right &= records[f"{name}_chdo_type"] == kind
        right &= records[f"{name}_chdo_length"] == length + (more if name == "tracking" else 0)
    verdict = np.where(right, 0, 4)
    verdict[(verdict == 0) & ~valid_time(records["year"], records["doy"], records["sec"])] = 5
    verdict[records["data_description_id"] != _KIND[data_type][0]] = 3
    return verdict.astype(np.uint8)


def _chdo_headers(data_type: int) -> tuple[list[int], list[int]]:
    """Return types and lengths of the four CHDOs; the length of the last counts no observables."""
    dtype = record_dtype(data_type)
    assert dtype.fields is not None
    tracking = dtype.fields["tracking_chdo_type"][1]
    return [1, 2, _KIND[data_type][2], 10], [tracking - 24, 4, tracking - 36, dtype.itemsize - tracking - 4]


def _decode(index: SfduIndex, which: NDArray[np.int64], data_type: int) -> NDArray[np.void]:
    dtype = record_dtype(data_type)
    if data_type not in WITH_OBSERVABLES:
        return index.gather(which, 0, dtype.itemsize).view(dtype)[:, 0]
    head = index.gather(which, 0, dtype.itemsize - _TAIL)
    return np.concatenate([head, index.gather(which, -_TAIL, _TAIL)], axis=1).view(dtype)[:, 0]


def _observable_rows(size: NDArray[np.int64], offset: NDArray[np.int64], data_type: int) -> NDArray[np.int64]:
    """Return the first byte of every observable of the units at `offset`."""
    fixed, item = record_dtype(data_type).itemsize, observable_dtype(data_type).itemsize
    count = (size - fixed) // item
    number = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    return np.repeat(offset, count) + fixed - _TAIL + item * number


def _decode_observables(index: SfduIndex, which: NDArray[np.int64], data_type: int) -> NDArray[np.void]:
    dtype = observable_dtype(data_type)
    rows = _observable_rows(index.size[which], index.offset[which], data_type)
    if len(rows) == 0:
        return np.zeros(0, dtype)
    view = np.lib.stride_tricks.sliding_window_view(index.buffer, dtype.itemsize)
    return view[rows].view(dtype)[:, 0]


def make_records(data_type: int, columns: Mapping[str, ArrayLike], num_obs: ArrayLike = 0) -> NDArray[np.void]:
    """Return records with their headers filled in.

    Parameters
    ----------
    columns : values by field; fields not named are zero.
    num_obs : observables of each record (types 16 and 17).

    Raises
    ------
    ValueError : a field the data type does not have, or a value that does not fit its field.
    """
    dtype, kind = record_dtype(data_type), _KIND[data_type]
    unknown = set(columns) - set(dtype.names or ())
    if unknown or not columns:
        raise ValueError(f"data type {data_type} has no field {', '.join(sorted(unknown)) or 'given'}")
    values = {name: np.asarray(value) for name, value in columns.items()}
    out = np.zeros(np.broadcast_shapes(*(v.shape for v in values.values()), np.shape(num_obs)) or (1,), dtype)
    for name, value in values.items():
        _fill(out, name, value)
    out["control_auth_id"], out["sfdu_version_id"], out["sfdu_class_id"] = b"NJPL", b"2", b"I"
    out["label_reserve2"], out["data_description_id"], out["format_code"] = b"00", kind[0], data_type
    more: ArrayLike = 0
    if data_type in WITH_OBSERVABLES:
        _fill(out, "num_obs", np.asarray(num_obs))
        more = np.asarray(num_obs, np.int64) * observable_dtype(data_type).itemsize
    out["sfdu_length"] = dtype.itemsize - LABEL + np.asarray(more)
    for name, type_, length in zip(
        ("aggregation", "primary", "secondary", "tracking"), *_chdo_headers(data_type), strict=True
    ):
        out[f"{name}_chdo_type"] = type_
        out[f"{name}_chdo_length"] = length + (np.asarray(more) if name == "tracking" else 0)
    return out


def _fill(out: NDArray[np.void], name: str, value: NDArray[np.generic]) -> None:
    """Set a field; integers must fit it exactly."""
    out[name] = value
    if out.dtype[name].kind in "ui" and not np.array_equal(out[name], np.broadcast_to(value, out.shape)):
        raise ValueError(f"field {name}: values do not fit {out.dtype[name]}")


def write_tnf(path: str | Path, tnf: Tnf) -> None:
    """Write a file of the units in `Tnf.order`; what `read_tnf` gave comes out byte for byte.

    Raises
    ------
    ValueError : records, observables and order do not agree.
    """
    order = np.asarray(tnf.order, np.uint8)
    size = np.zeros(len(order), np.int64)
    for data_type, records in tnf.records.items():
        if np.count_nonzero(order == data_type) != len(records):
            raise ValueError(f"order has not the {len(records)} records of data type {data_type}")
        size[order == data_type] = records["sfdu_length"].astype(np.int64) + LABEL
    if (size == 0).any():
        raise ValueError("order names a data type of which there are no records")
    offset = np.cumsum(size) - size
    out = np.zeros(int(size.sum()), np.uint8)
    for data_type, records in tnf.records.items():
        which = order == data_type
        _scatter(out, offset[which], size[which], records, tnf.observables.get(data_type), data_type)
    Path(path).write_bytes(out.data)


def _scatter(
    out: NDArray[np.uint8],
    offset: NDArray[np.int64],
    size: NDArray[np.int64],
    records: NDArray[np.void],
    observables: NDArray[np.void] | None,
    data_type: int,
) -> None:
    """Put the units of one data type at their places."""
    window = np.lib.stride_tricks.sliding_window_view
    rows = np.ascontiguousarray(records).view(np.uint8).reshape(len(records), -1)
    tail = _TAIL if data_type in WITH_OBSERVABLES else 0
    head = rows.shape[1] - tail
    window(out, head, writeable=True)[offset] = rows[:, :head]
    if observables is None:
        return
    window(out, tail, writeable=True)[offset + size - tail] = rows[:, head:]
    places = _observable_rows(size, offset, data_type)
    if len(places) != len(observables):
        raise ValueError(f"data type {data_type}: {len(observables)} observables, {len(places)} by the lengths")
    item = observables.dtype.itemsize
    if len(places):
        window(out, item, writeable=True)[places] = np.ascontiguousarray(observables).view(np.uint8).reshape(-1, item)


def time_tag(records: NDArray[np.void]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the time tag as modified Julian day and seconds of the day, UTC, both exactly as recorded."""
    return mjd_of(records["year"], records["doy"]), records["sec"].astype(np.float64)


def phase(high: ArrayLike, low: ArrayLike, fraction: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return a phase as whole cycles and fraction of a cycle, exactly: high 2^32 + low, fraction / 2^32.

    Cycles are counted modulo 2^64 in two's complement, so that differences are right across a wrap.
    """
    whole = (np.asarray(high, np.uint64) << np.uint64(32)) | np.asarray(low, np.uint64)
    return whole.view(np.int64), np.asarray(fraction, np.float64) * 2.0**-32
