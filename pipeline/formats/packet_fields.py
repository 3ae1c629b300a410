"""Fields of space packets to columns and back by a table of fields; reader and writer stand side by side."""

from __future__ import annotations

import math
from binascii import crc_hqx
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

from pipeline.formats.packets import COUNTS, HEADER, PacketIndex, PacketReport, index_packets, order_packets

CHUNK = 4096  # packets decoded at a time: a megabyte of 256-byte packets stays in the cache
CRC_BYTES = 2


class Ragged(NamedTuple):
    """A variable number of values per packet: all of them in a row, and how many belong to each packet."""

    values: NDArray[np.generic]
    counts: NDArray[np.int64]


Columns = dict[str, NDArray[np.generic] | Ragged]


@dataclass(frozen=True)
class Field:
    """One field of a packet, big-endian, most significant bit first.

    Parameters
    ----------
    name : of the column.
    bit : offset from the first bit of the packet data field (the bit after the 48 of the primary header).
    bits : length of one item; floats have 32 or 64.
    kind : ``"u"`` unsigned, ``"i"`` two's complement, ``"f"`` IEEE 754.
    count : items, next to each other; None for all that are left (last field, whole bytes of 1, 2, 4 or 8).
    """

    name: str
    bit: int
    bits: int
    kind: Literal["u", "i", "f"] = "u"
    count: int | None = 1

    def __post_init__(self) -> None:
        if self.bit < 0 or not 1 <= self.bits <= 64 or (self.count is not None and self.count < 1):
            raise ValueError(f"field {self.name}: offset, length or count out of range")
        if self.kind == "f" and (self.bits not in (32, 64) or self.bit % 8):
            raise ValueError(f"field {self.name}: a float has 32 or 64 bits and begins at a byte")
        if self.count is None and (self.bits not in (8, 16, 32, 64) or self.bit % 8):
            raise ValueError(f"field {self.name}: items of a variable field are whole bytes")

    @property
    def end(self) -> int:
        """Offset of the bit after the field (after its fixed part, nothing, if its count is variable)."""
        return self.bit + self.bits * (self.count or 0)

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Native type of the column."""
        size = max(8, 1 << (self.bits - 1).bit_length())
        return np.dtype(f"{self.kind}{size // 8}")


@dataclass(frozen=True)
class Layout:
    """The fields of one kind of packet, and whether a checksum ends it.

    The checksum is CRC-16-CCITT over all before it: polynomial 0x1021, seed 0xFFFF (ECSS-E-ST-70-41C, annex B).
    """

    fields: tuple[Field, ...]
    crc: bool = False

    def __post_init__(self) -> None:
        if len({f.name for f in self.fields}) != len(self.fields):
            raise ValueError("two fields have the same name")
        ordered = sorted(self.fields, key=lambda f: f.bit)
        for one, two in pairwise(ordered):
            if one.count is None or one.end > two.bit:
                raise ValueError(f"fields {one.name} and {two.name} overlap")

    @property
    def variable(self) -> Field | None:
        """The field whose count varies, if there is one."""
        return next((f for f in self.fields if f.count is None), None)

    @property
    def fixed(self) -> int:
        """Bytes from the start of a packet to the end of its fixed fields, header included."""
        return HEADER + -(-max(f.end for f in self.fields) // 8)

    @property
    def tail(self) -> int:
        """Bytes of the checksum."""
        return CRC_BYTES if self.crc else 0


def read_packets(
    source: str | Path | bytes, apid: int, layout: Layout, *, time: tuple[str, ...] = (), chunk: int = CHUNK
) -> tuple[Columns, PacketReport]:
    """Read a file or buffer of packets of one APID: index, check, order, decode.

    Of a file of several, use `index_packets` with their APIDs and `unpack` what is selected of each: here, packets
    of others count as bytes skipped.

    Parameters
    ----------
    time : fixed fields that order the packets, most significant first.

    Returns
    -------
    The columns as from `decode`, and everything that happened to the packets on the way.
    """
    index = index_packets(source, {apid})
    columns, report = unpack(index, layout, time=time, chunk=chunk)
    return columns, index.report + report


def unpack(
    index: PacketIndex, layout: Layout, *, time: tuple[str, ...] = (), chunk: int = CHUNK
) -> tuple[Columns, PacketReport]:
    """Check, order and decode packets of one layout; the report covers these stages."""
    index, checked = check_packets(index, layout)
    keys = Layout(tuple(f for f in layout.fields if f.name in time)) if time else None
    found = decode(index, keys, chunk) if keys else {}
    index, ordered = order_packets(index, [np.asarray(found[name]) for name in time])
    return decode(index, layout, chunk), checked + ordered


def check_packets(index: PacketIndex, layout: Layout) -> tuple[PacketIndex, PacketReport]:
    """Drop packets too short for their layout or with a wrong checksum; count those and the ones too long.

    A packet longer than its layout is kept (its fields stand where they should); so is one whose variable part is no
    whole number of items.
    """
    report = PacketReport(received=len(index))
    enough = index.length >= layout.fixed + layout.tail
    report.truncated = int((~enough).sum())
    index = index if enough.all() else index.take(enough)
    variable = layout.variable
    rest = index.length - layout.fixed - layout.tail
    report.overlong = int((rest % (variable.bits // 8) if variable else rest).astype(bool).sum())
    if layout.crc:
        right = crc_residue(index) == 0
        report.crc_failed = int((~right).sum())
        index = index if right.all() else index.take(right)
    return index, report


def crc_residue(index: PacketIndex) -> NDArray[np.uint16]:
    """CRC-16-CCITT over each whole packet; zero where the checksum at its end is right."""
    crc = np.empty(len(index), np.uint16)
    order = np.argsort(index.length, kind="stable")
    for group in np.split(order, np.flatnonzero(np.diff(index.length[order])) + 1):
        if len(group) < 64:
            spans = zip(index.offset[group].tolist(), index.length[group].tolist(), strict=True)
            crc[group] = [crc_hqx(index.buffer.data[a : a + n], 0xFFFF) for a, n in spans]
            continue
        window = sliding_window_view(index.buffer, int(index.length[group[0]]))
        for first in range(0, len(group), CHUNK):
            part = group[first : first + CHUNK]
            crc[part] = _crc_of_rows(window[index.offset[part]])
    return crc


@cache
def _crc_table() -> NDArray[np.uint16]:
    """Remainders of all 16-bit words."""
    word = np.arange(65536)
    for _ in range(16):
        word = (word << 1 & 0xFFFF) ^ np.where(word & 0x8000, 0x1021, 0)
    return word.astype(np.uint16)


def _crc_of_rows(rows: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """CRC of all rows at once, two bytes at a time."""
    table, odd = _crc_table(), rows.shape[1] % 2
    crc = np.full(len(rows), 0xFFFF, np.uint16)
    for pair in rows[:, : rows.shape[1] - odd].view(">u2").T.astype(np.uint16, order="C"):
        crc = table[crc ^ pair]
    if odd:
        # The table of a byte b is that of the word (0, b): a leading zero leaves a remainder of zero as it is.
        crc = (crc << np.uint16(8)) ^ table[(crc >> np.uint16(8)) ^ rows[:, -1]]
    return crc


def decode(index: PacketIndex, layout: Layout, chunk: int = CHUNK) -> Columns:
    """Decode fields to native columns.

    Returns
    -------
    By field name: shape ``(n,)``, ``(n, count)``, or a `Ragged` for the field of variable count.

    Raises
    ------
    ValueError : a packet is shorter than the layout; `check_packets` drops such packets.
    """
    columns: Columns = {}
    for f in layout.fields:
        if f.count is not None:
            columns[f.name] = np.empty((len(index), f.count) if f.count > 1 else len(index), f.dtype)
    ragged: list[Ragged] = []
    for first in range(0, len(index), chunk):
        part = index.take(slice(first, first + chunk))
        rows = _rows(part, layout)
        for f in layout.fields:
            if f.count is None:
                ragged.append(_ragged(part, layout, f))
            else:
                out = np.asarray(columns[f.name])[first : first + chunk]
                _decode_field(rows, f, out.reshape(len(part), f.count))
    if layout.variable:
        values = [r.values for r in ragged] or [np.empty(0, layout.variable.dtype)]
        counts = [r.counts for r in ragged] or [np.empty(0, np.int64)]
        columns[layout.variable.name] = Ragged(np.concatenate(values), np.concatenate(counts))
    return columns


def iter_decode(index: PacketIndex, layout: Layout, chunk: int = CHUNK) -> Iterator[Columns]:
    """Decode `chunk` packets at a time, for files larger than memory."""
    for first in range(0, len(index), chunk):
        yield decode(index.take(slice(first, first + chunk)), layout, chunk)


def _rows(index: PacketIndex, layout: Layout) -> NDArray[np.uint8]:
    """Return the fixed part of the packets, shape (n, bytes), as a view where they are evenly spaced."""
    if np.any(index.length < layout.fixed + layout.tail):
        raise ValueError(f"a packet is shorter than the {layout.fixed + layout.tail} bytes of its layout")
    if len(index) == 0:
        return np.empty((0, layout.fixed), np.uint8)
    window = sliding_window_view(index.buffer, layout.fixed)
    step = int(index.offset[1] - index.offset[0]) if len(index) > 1 else 1
    if step > 0 and np.all(np.diff(index.offset) == step):
        return window[index.offset[0] : index.offset[-1] + 1 : step]
    return window[index.offset]


def _decode_field(rows: NDArray[np.uint8], f: Field, out: NDArray[np.generic]) -> None:
    """Decode one fixed field of all rows into `out`, shape (n, count)."""
    assert f.count is not None
    first, size = HEADER + f.bit // 8, f.bits // 8
    if f.bit % 8 == 0 and f.bits in (8, 16, 32, 64):
        out[...] = rows[:, first : first + size * f.count].view(f">{f.kind}{size}")
        return
    period = 8 // math.gcd(f.bits, 8)  # items after which the position within a byte repeats
    for item in range(min(period, f.count)):
        out[:, item::period] = _bits(rows, f, item, period)


def _bits(rows: NDArray[np.uint8], f: Field, item: int, period: int) -> NDArray[np.generic]:
    """Return items `item`, ``item + period``, ... of a field that is not whole bytes."""
    assert f.count is not None
    start = HEADER * 8 + f.bit + item * f.bits
    first, last = start // 8, (start + f.bits - 1) // 8
    stride, number = period * f.bits // 8, len(range(item, f.count, period))
    shift = 8 * (last + 1) - start - f.bits
    word = np.dtype(f"u{f.dtype.itemsize}")
    value = np.zeros((len(rows), number), word)
    for byte in range(first, last + 1):
        part = rows[:, byte : byte + (number - 1) * stride + 1 : stride]
        up = 8 * (last - byte) - shift
        value |= part.astype(word) << up if up >= 0 else (part >> -up).astype(word)
    value <<= 8 * word.itemsize - f.bits
    value = value.view(f.dtype)
    value >>= 8 * word.itemsize - f.bits
    return value


def _ragged(index: PacketIndex, layout: Layout, f: Field) -> Ragged:
    """Return the items of the variable field of all packets."""
    size = f.bits // 8
    start = index.offset + HEADER + f.bit // 8
    counts = (index.offset + index.length - layout.tail - start) // size
    view = index.buffer.data
    spans = zip(start.tolist(), (start + counts * size).tolist(), strict=True)
    values = np.frombuffer(b"".join([view[a:b] for a, b in spans]), f">{f.kind}{size}")
    return Ragged(values.astype(f.dtype), counts)


def encode(
    layout: Layout,
    columns: Mapping[str, ArrayLike | Ragged],
    apid: int,
    *,
    count: int | ArrayLike = 0,
    flags: int | ArrayLike = 3,
    secondary: bool = True,
) -> bytes:
    """Write packets; `read_packets` gives the columns back.

    Parameters
    ----------
    columns : one per field, as `decode` returns them; bits between fields are zero.
    count : sequence count of the first packet, or of each.
    flags : sequence flags of all packets, or of each.

    Raises
    ------
    ValueError : a column is missing or of the wrong shape, a value does not fit its field, a packet is too long.
    """
    variable = layout.variable
    ragged = columns[variable.name] if variable else None
    assert ragged is None or isinstance(ragged, Ragged)
    size = variable.bits // 8 if variable else 0
    n = len(ragged.counts) if ragged else len(np.asarray(columns[layout.fields[0].name]))
    length = (ragged.counts * size if ragged else np.zeros(n, np.int64)) + layout.fixed + layout.tail
    if n and (length.max() - HEADER > 65536 or length.max() <= HEADER):
        raise ValueError(f"a packet data field has 1 to 65536 bytes, not {length.max() - HEADER}")
    rows = np.zeros((n, layout.fixed), np.uint8)
    _encode_header(rows, apid, secondary, flags, count, length)
    for f in layout.fields:
        if f.count is not None:
            _encode_field(rows, f, np.asarray(columns[f.name]))
    offset = np.cumsum(length) - length
    out = np.zeros(int(length.sum()), np.uint8)
    if n:
        sliding_window_view(out, layout.fixed, writeable=True)[offset] = rows
    if variable and ragged:
        body = np.ones(len(out), bool)
        head = np.arange(layout.fixed) if n else np.zeros(0, int)
        body[(offset[:, None] + head).ravel()] = False
        body[((offset + length)[:, None] - 1 - np.arange(layout.tail)).ravel()] = False
        out[body] = _fitting(variable, np.asarray(ragged.values)).astype(f">{variable.kind}{size}").view(np.uint8)
    if layout.crc:
        view = out.data
        spans = zip(offset.tolist(), (offset + length - CRC_BYTES).tolist(), strict=True)
        crc = np.array([crc_hqx(view[a:b], 0xFFFF) for a, b in spans], ">u2")
        out[(offset + length)[:, None] - [2, 1]] = crc.view(np.uint8).reshape(n, 2)
    return out.tobytes()


def _encode_header(
    rows: NDArray[np.uint8], apid: int, secondary: bool, flags: ArrayLike, count: ArrayLike, length: NDArray[np.int64]
) -> None:
    """Write the primary headers of telemetry packets into the first six bytes of `rows`."""
    if not 0 <= apid < 2048:
        raise ValueError(f"APID {apid} does not fit 11 bits")
    number = np.asarray(count, np.int64)
    number = number + np.arange(len(rows)) if number.ndim == 0 else number
    words = np.empty((len(rows), 3), ">u2")
    words[:, 0] = secondary << 11 | apid
    words[:, 1] = np.asarray(flags) << 14 | number % COUNTS
    words[:, 2] = length - HEADER - 1
    rows[:, :HEADER] = words.view(np.uint8)


def _fitting(f: Field, value: NDArray[np.generic]) -> NDArray[np.generic]:
    """Return the values in the type of the field; refuse what it cannot hold."""
    if f.kind == "f":
        return value.astype(f.dtype)
    low, high = (-(1 << (f.bits - 1)), (1 << (f.bits - 1)) - 1) if f.kind == "i" else (0, (1 << f.bits) - 1)
    if value.dtype.kind not in "iub":
        raise ValueError(f"field {f.name}: integers wanted, not {value.dtype}")
    if value.size and (int(value.min()) < low or int(value.max()) > high):
        raise ValueError(f"field {f.name}: {value.min()}..{value.max()} does not fit {f.bits} bits ({f.kind})")
    return value.astype(f.dtype)


def _encode_field(rows: NDArray[np.uint8], f: Field, value: NDArray[np.generic]) -> None:
    """Write one fixed field into all rows."""
    assert f.count is not None
    value = _fitting(f, value)
    if value.size != len(rows) * f.count:
        raise ValueError(f"field {f.name}: shape {value.shape}, {f.count} for each of {len(rows)} packets wanted")
    value = value.reshape(len(rows), f.count)
    first, size = HEADER + f.bit // 8, f.bits // 8
    if f.bit % 8 == 0 and f.bits in (8, 16, 32, 64):
        rows[:, first : first + size * f.count] = value.astype(f">{f.kind}{size}").view(np.uint8)
        return
    bits = value.astype(">i8" if f.kind == "i" else ">u8").view(np.uint8).reshape(len(rows), f.count, 8)
    flat = np.unpackbits(bits, axis=2)[:, :, 64 - f.bits :].reshape(len(rows), -1)
    before = f.bit % 8
    packed = np.packbits(np.pad(flat, ((0, 0), (before, 0))), axis=1)
    rows[:, first : first + packed.shape[1]] |= packed
