"""Transfer frames and minipackets of Waves: where they are in a file, checked, joined and timed; and their writer.

The framing is that of the flight software as its reuse for HERCI and FLEXI describes it (README.md, "Telemetry"). All
numbers are big-endian. Frames are walked one by one, measurements are decoded in columns.
"""

from __future__ import annotations

import struct
from binascii import crc_hqx
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from instruments.waves.layout import ADC_LIMITS, FILL, Ints
from pipeline.errors import InputError
from pipeline.formats.state import file_state

SYNC = b"\xfa\xf3\x34\x03"
FRAME_HEADER = 16
HIGH_RATE, LOW_RATE, HOUSEKEEPING = 1, 2, 3  # sources
SEQUENCE = 1 << 14
HEADERS = (8, 10, 12, 16)  # octets of a minipacket's header, by its MSF
# A minipacket is its header, Length and this many bytes; one text about the same software says two less.
LENGTH_BIAS = 1
DATA_MOST = 4096
SEGMENTS_MOST = 16
RTI = 40  # ticks of 25 ms in a second
TRUNCATED = 1024  # seconds after which truncated times repeat
FUTURE = 16  # seconds by which a measurement may be later than its frame
FRAME_MOST = 8192
EVENTS = (
    "frames_received", "frames_lost", "frames_crc_failed", "frames_duplicate", "frames_out_of_order",
    "frames_time_suspect", "frames_malformed", "measurements_incomplete", "measurements_duplicate", "bytes_skipped",
)  # fmt: skip


@dataclass(frozen=True)
class Measurements:
    """What a file of frames holds, by measurement (n), ordered in time.

    Parameters
    ----------
    kind : type of the minipacket.
    ticks : time in ticks of 25 ms of the clock's seconds.
    status : first status byte on (n, 11), zero beyond the header's length.
    bad : whether the instrument marked the data bad, or the frame its time.
    pieces : offset and length of every segment's data in the file, (m, 2).
    first : place of the first piece of each measurement (n + 1).
    seconds, events : clock seconds of each good frame and what happened there, (k,) and (k, event).
    """

    kind: Ints
    ticks: Ints
    status: NDArray[np.uint8]
    bad: NDArray[np.bool_]
    pieces: Ints
    first: Ints
    seconds: Ints
    events: NDArray[np.int32]
    source: int


def scan(path: Path) -> Measurements:
    """Check and order what a file holds; remembered while the file stays the same.

    Raises
    ------
    InputError : it cannot be read or holds no frame.
    """
    return _scan(path, *file_state(path))


@lru_cache(maxsize=4)
def _scan(path: Path, _modified: int, _size: int) -> Measurements:
    try:
        data = path.read_bytes() if _size < 1 << 16 else np.memmap(path, np.uint8, "r").data
    except OSError as error:
        raise InputError(path, f"cannot be read: {error.strerror}") from error
    frames, events, source = _frames(memoryview(data), path)
    pieces: list[tuple[int, ...]] = []
    status: list[bytes] = []
    for number, (start, length, second, suspect) in enumerate(frames):
        for piece, words in segments_of(memoryview(data), start, length, second):
            if piece is None:
                events[number][EVENTS.index("frames_malformed")] += 1
                break
            pieces.append((*piece, suspect, number))
            status.append(words)
    seconds = np.array([f[2] for f in frames], np.int64)
    return _joined(pieces, status, seconds, np.array(events, np.int32).reshape(-1, len(EVENTS)), source)


def _frames(data: memoryview, path: Path) -> tuple[list[tuple[int, int, int, int]], list[list[int]], int]:
    """Start, length, seconds and time flag of the good frames; what happened at each; their source."""
    frames: list[tuple[int, int, int, int]] = []
    events: list[list[int]] = []
    seen: dict[int, int] = {}
    waiting = [0] * len(EVENTS)
    last, here, source, size = None, 0, 0, len(data)
    whole = bytes(data) if size < 1 << 16 else None
    while here + FRAME_HEADER <= size:
        if data[here : here + 4] != SYNC:
            found = _find(data, whole, here + 1)
            waiting[EVENTS.index("bytes_skipped")] += found - here
            here = found
            continue
        crc, word, time, _, length = struct.unpack_from(">HHIHH", data, here + 4)
        good = FRAME_HEADER <= length <= size - here and crc_hqx(data[here + 6 : here + length], 0) == crc
        if not good:
            waiting[EVENTS.index("frames_crc_failed")] += 1
            found = _find(data, whole, here + 4)
            waiting[EVENTS.index("bytes_skipped")] += found - here
            here = found
            continue
        key = hash(bytes(data[here : here + length]))
        if seen.get(word) == key:
            waiting[EVENTS.index("frames_duplicate")] += 1
        else:
            seen[word] = key
            sequence, source = word % SEQUENCE, word >> 14
            step = 1 if last is None else (sequence - last) % SEQUENCE
            waiting[EVENTS.index("frames_received")] += 1
            waiting[EVENTS.index("frames_time_suspect")] += time & 1
            if step < SEQUENCE // 2:
                waiting[EVENTS.index("frames_lost")] += step - 1 if step else 0
                last = sequence
            else:  # a late one was counted as lost before
                waiting[EVENTS.index("frames_out_of_order")] += 1
                waiting[EVENTS.index("frames_lost")] -= 1
            frames.append((here, length, time >> 1, time & 1))
            events.append(waiting)
            waiting = [0] * len(EVENTS)
        here += length
    if not frames:
        raise InputError(path, "holds no transfer frame of Waves")
    waiting[EVENTS.index("bytes_skipped")] += size - here
    events[-1] = [a + b for a, b in zip(events[-1], waiting, strict=True)]
    return frames, events, source


def _find(data: memoryview, whole: bytes | None, start: int) -> int:
    """Place of the next sync word from `start` on, or the end."""
    step = 1 << 16
    while start < len(data):
        part = whole[start:] if whole is not None else bytes(data[start : start + step + 3])
        found = part.find(SYNC)
        if found >= 0:
            return start + found
        start = len(data) if whole is not None else start + step
    return len(data)


def segments_of(
    data: memoryview, start: int, length: int, second: int
) -> Iterator[tuple[tuple[int, int, int, int, int, int] | None, bytes]]:
    """Type, ticks, segment, flags, offset and length of each minipacket of a frame, and its status; None: malformed."""
    here, end = start + FRAME_HEADER, start + length
    while here + HEADERS[0] <= end and data[here] >> 4 != FILL:
        word, truncated, segment = struct.unpack_from(">HHB", data, here)
        header = HEADERS[segment >> 5 & 3]
        number = (word & 0xFFF) + LENGTH_BIAS
        if here + header + number > end or truncated >= TRUNCATED * RTI:
            yield None, b""
            return
        place = here + header
        piece = (word >> 12, unwound(truncated, second), segment & 0xF, segment & 0x90, place, number)
        yield piece, bytes(data[here + 5 : place])
        here = place + number


def unwound(truncated: int, second: int) -> int:
    """Ticks of 25 ms of the clock, from a time truncated to 1024 s and the seconds of its frame."""
    behind = (second + FUTURE - truncated // RTI) % TRUNCATED - FUTURE
    return (second - behind) * RTI + truncated % RTI


def _joined(
    pieces: list[tuple[int, ...]], status: list[bytes], seconds: Ints, events: NDArray[np.int32], source: int
) -> Measurements:
    """Measurements of which every segment is there, once."""
    table = np.array(pieces, np.int64).reshape(-1, 8)
    kind, ticks, segment, flags, offset, number, suspect, frame = table.T
    words = np.zeros((len(pieces), 11), np.uint8)
    for row, text in zip(words, status, strict=True):
        row[: len(text)] = np.frombuffer(text, np.uint8)
    order = np.lexsort((offset, segment, kind, ticks))
    same = _equal_to_next(order, ticks, kind, segment)
    np.add.at(events[:, EVENTS.index("measurements_duplicate")], frame[order[1:][same]], 1)
    order = order[np.append(True, ~same)] if len(order) else order
    new = np.append(True, ~_equal_to_next(order, ticks, kind)) if len(order) else np.zeros(0, bool)
    first = np.flatnonzero(new)
    last = np.append(first[1:], len(order)) - 1
    ends = (flags[order[last]] & 0x10) != 0
    whole = ends & (segment[order[first]] == 0) & (segment[order[last]] == last - first)
    np.add.at(events[:, EVENTS.index("measurements_incomplete")], frame[order[first[~whole]]], 1)
    group = np.cumsum(new) - 1
    kept = order[whole[group]] if len(order) else order
    head = order[first[whole]]
    bad = np.zeros(len(first), bool)
    np.logical_or.at(bad, group, (flags[order] & 0x80 != 0) | (suspect[order] != 0))
    places = np.concatenate([[0], np.cumsum((last - first + 1)[whole])])
    return Measurements(
        kind[head], ticks[head], words[head], bad[whole],
        np.stack([offset[kept], number[kept]], axis=1), places.astype(np.int64), seconds, events, source,
    )  # fmt: skip


def _equal_to_next(order: Ints, *columns: Ints) -> NDArray[np.bool_]:
    return np.logical_and.reduce([c[order][1:] == c[order][:-1] for c in columns])


def content(path: Path, found: Measurements, which: Ints, size: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Data bytes of measurements (n, size), and which of them have that size; the others are zero."""
    out = np.zeros((len(which), size), np.uint8)
    fits = np.zeros(len(which), bool)
    data = np.memmap(path, np.uint8, "r")
    for row, measurement in enumerate(which.tolist()):
        part = found.pieces[found.first[measurement] : found.first[measurement + 1]]
        fits[row] = part[:, 1].sum() == size
        if fits[row]:
            out[row] = np.concatenate([data[a : a + n] for a, n in part.tolist()])
    return out, fits


# 12-bit samples: two in three bytes, the more significant bits first, offset binary


def unpack12(data: NDArray[np.uint8]) -> NDArray[np.int16]:
    """Samples (n, m) of packed bytes (n, 3 m / 2)."""
    a, b, c = (data[:, k::3].astype(np.int16) for k in range(3))
    out = np.empty((len(data), 2 * a.shape[1]), np.int16)
    out[:, 0::2], out[:, 1::2] = a << 4 | b >> 4, (b & 0xF) << 8 | c
    return out + np.int16(ADC_LIMITS[0])


def pack12(samples: NDArray[np.int16]) -> NDArray[np.uint8]:
    """Bytes of samples of 12 bits, of which there is an even number per row."""
    value = (samples - np.int16(ADC_LIMITS[0])).astype(np.uint16)
    if value.size and int(value.max()) >> 12:
        raise ValueError("a sample does not fit 12 bits")
    even, odd = value[:, 0::2], value[:, 1::2]
    out = np.empty((len(value), 3 * even.shape[1]), np.uint8)
    out[:, 0::3], out[:, 1::3], out[:, 2::3] = even >> 4, (even & 0xF) << 4 | odd >> 8, odd & 0xFF
    return out


# Writer


@dataclass(frozen=True)
class Packet:
    """One measurement to be written; `status` has 3, 5, 7 or 11 bytes."""

    kind: int
    ticks: int
    status: bytes
    data: bytes
    bad: bool = False


def minipackets(packet: Packet) -> Iterator[bytes]:
    """The segments of a measurement; raises ValueError for more data than 16 can hold."""
    header = 5 + len(packet.status)
    parts = [packet.data[k : k + DATA_MOST] for k in range(0, len(packet.data), DATA_MOST)]
    if len(parts) > SEGMENTS_MOST or not parts or header not in HEADERS:
        raise ValueError(f"{len(packet.data)} bytes with {len(packet.status)} of status make no minipackets")
    truncated = packet.ticks // RTI % TRUNCATED * RTI + packet.ticks % RTI
    for number, part in enumerate(parts):
        mark = packet.bad << 7 | HEADERS.index(header) << 5 | (number == len(parts) - 1) << 4 | number
        word = packet.kind << 12 | (len(part) - LENGTH_BIAS)
        yield struct.pack(">HHB", word, truncated, mark) + packet.status + part


def frame(source: int, sequence: int, second: int, body: bytes, *, suspect: bool = False) -> bytes:
    """One transfer frame, filled to an even length."""
    body += b"\0" * (len(body) % 2)
    word = source << 14 | sequence % SEQUENCE
    tail = struct.pack(">HIHH", word, second << 1 | suspect, 0, FRAME_HEADER + len(body)) + body
    return SYNC + struct.pack(">H", crc_hqx(tail, 0)) + tail


def frames(source: int, packets: Iterable[Packet], first: int = 0, most: int = FRAME_MOST) -> Iterator[bytes]:
    """Frames of measurements in order, of at most so many bytes; a frame is as late as its last minipacket."""
    body, second, sequence = b"", 0, first
    for packet in packets:
        for part in minipackets(packet):
            far = body and packet.ticks // RTI - second > FUTURE
            if body and (len(body) + len(part) > most - FRAME_HEADER or far):
                yield frame(source, sequence, second, body)
                body, sequence = b"", sequence + 1
            body, second = body + part, packet.ticks // RTI
    if body:
        yield frame(source, sequence, second, body)
