"""CCSDS space packets: where they are in a file, and what is missing between them (CCSDS 133.0-B-2).

A file is indexed once (offsets and primary headers as arrays); fields are decoded from the index in columns by
`pipeline.formats.packet_fields`. Nothing that is lost, repeated or damaged passes in silence: every stage returns a
`PacketReport`, and a product carries their sum.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError

HEADER = 6  # bytes of the primary header
COUNTS = 16384  # the sequence count has 14 bits
LATE = 1024  # a step back of up to this many counts is a late packet, more is a gap across the wrap
CHAIN = 3  # headers in a row that must be plausible before a damaged file is trusted again
BLOCK = 65536  # packets looked at in one go


@dataclass
class PacketReport:
    """What happened to the packets of a product; reports of stages, files and APIDs add up with ``+``.

    Attributes
    ----------
    received : packets that reached the checks, before any was dropped.
    lost : sequence counts that never came (modulo 16384).
    duplicate : bit-identical repeats, dropped.
    conflicting : packets that share a sequence count with another of different content; kept.
    truncated : packets cut short, by the end of the file or by a length too small for their layout; dropped.
    overlong : packets whose length runs into the next header (dropped) or beyond their layout (kept).
    crc_failed : packets whose checksum is wrong, dropped.
    out_of_order : packets that came after one with a later sequence count.
    incomplete : segments of a group of which another segment is missing, dropped.
    bytes_skipped : bytes of the file that belong to no packet.
    """

    received: int = 0
    lost: int = 0
    duplicate: int = 0
    conflicting: int = 0
    truncated: int = 0
    overlong: int = 0
    crc_failed: int = 0
    out_of_order: int = 0
    incomplete: int = 0
    bytes_skipped: int = 0

    def __add__(self, other: PacketReport) -> PacketReport:
        return PacketReport(**{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)})


@dataclass
class PacketIndex:
    """Places and primary headers of packets; all arrays have the length of the index.

    Attributes
    ----------
    buffer : the bytes, uint8 (a memory map for a file).
    offset, length : first byte and total bytes (header included) of each packet, int64.
    version, type, secondary : packet version number, type (1 telecommand) and secondary header flag, uint8.
    apid, flags, count : application process, sequence flags (3 whole, 1 first, 0 middle, 2 last) and sequence count.
    report : what the walk through the file found.
    path : the file, for messages.
    """

    buffer: NDArray[np.uint8]
    offset: NDArray[np.int64]
    length: NDArray[np.int64]
    version: NDArray[np.uint8]
    type: NDArray[np.uint8]
    secondary: NDArray[np.uint8]
    apid: NDArray[np.uint16]
    flags: NDArray[np.uint8]
    count: NDArray[np.uint16]
    report: PacketReport
    path: str

    def __len__(self) -> int:
        return len(self.offset)

    def take(self, which: NDArray[np.int64] | NDArray[np.bool_] | slice) -> PacketIndex:
        """Return the packets `which` selects, in that order; the walk's report stays with the whole index."""
        columns = {
            name: getattr(self, name)[which]
            for name in ("offset", "length", "version", "type", "secondary", "apid", "flags", "count")
        }
        return PacketIndex(buffer=self.buffer, report=PacketReport(), path=self.path, **columns)

    def select(self, apid: int) -> PacketIndex:
        """Return the packets of one application process."""
        return self.take(self.apid == apid)


def index_packets(source: str | Path | bytes | NDArray[np.uint8], apids: Collection[int] | None = None) -> PacketIndex:
    """Find every packet of a file or buffer in one linear pass.

    A header is plausible if its version is 0, its APID is one of `apids` (any, if None) and it is not all zero. Where
    the end of a packet does not meet a plausible header, the pass resumes at the nearest place from which a chain of
    `CHAIN` plausible headers leads on (or reaches the end of the file exactly); what lies between is counted.

    Parameters
    ----------
    source : path, or the bytes themselves.
    apids : the application processes that can occur; naming them makes recovery from damage far surer.

    Raises
    ------
    InputError : the file cannot be opened, is empty, or is damaged so often that it cannot be a packet file.
    """
    buffer, path = _open(source)
    walk = _Walk(buffer, path, apids)
    offset = walk.run()
    word, sequence, size = _header_words(buffer, offset)
    return PacketIndex(
        buffer=buffer,
        offset=offset,
        length=size.astype(np.int64) + HEADER + 1,
        version=(word >> 13).astype(np.uint8),
        type=((word >> 12) & 1).astype(np.uint8),
        secondary=((word >> 11) & 1).astype(np.uint8),
        apid=word & np.uint16(0x7FF),
        flags=(sequence >> 14).astype(np.uint8),
        count=sequence & np.uint16(0x3FFF),
        report=walk.report,
        path=path,
    )


def _open(source: str | Path | bytes | NDArray[np.uint8]) -> tuple[NDArray[np.uint8], str]:
    if isinstance(source, np.ndarray):
        return np.ascontiguousarray(source, np.uint8), "<memory>"
    if isinstance(source, bytes | bytearray | memoryview):
        return np.frombuffer(source, np.uint8), "<memory>"
    try:
        if Path(source).stat().st_size == 0:
            raise InputError(source, "the packet file is empty")
        return np.memmap(source, np.uint8, "r"), str(source)
    except OSError as error:
        raise InputError(source, f"cannot be read: {error.strerror or error}") from error


def _header_words(buffer: NDArray[np.uint8], offset: NDArray[np.int64]) -> list[NDArray[np.uint16]]:
    """Return the three 16-bit words of the headers at `offset`."""
    big, small = np.uint16(256), np.uint16(1)
    return [buffer[offset + k] * big + buffer[offset + k + 1] * small for k in (0, 2, 4)]


def _leading(good: NDArray[np.bool_]) -> int:
    """Return how many elements at the start are true."""
    return len(good) if good.all() else int(np.argmin(good))


class _Walk:
    """The pass through a file: runs of equal length by guess and check, the rest packet by packet."""

    def __init__(self, buffer: NDArray[np.uint8], path: str, apids: Collection[int] | None) -> None:
        self.buffer, self.path, self.size = buffer, path, len(buffer)
        self.report = PacketReport()
        word = np.arange(65536)
        self.plausible = word >> 13 == 0
        if apids is not None:
            self.plausible &= np.isin(word & 0x7FF, list(apids))
        self.seen = np.zeros(65536, np.int64)  # how often each first header word was met
        self.trusted = self.seen >= CHAIN

    def run(self) -> NDArray[np.int64]:
        """Return the offsets of all packets."""
        blocks: list[NDArray[np.int64]] = []
        here, packets, repairs, block = 0, 0, 0, 1024
        while (here := self._hidden(here, blocks)) + HEADER <= self.size:
            offset = self._equal(here, block)
            if len(offset) < 8:
                offset = self._chain(self._step(here, block))
            if len(offset) == 0:
                here = self._repair(here, blocks)
                repairs, block = repairs + 1, 64
                if repairs > 1000 and repairs > packets / 10:
                    raise InputError(self.path, f"not a file of space packets: damaged {repairs} times", f"byte {here}")
                continue
            block = min(2 * block, BLOCK)
            blocks.append(offset)
            packets += len(offset)
            here = int(offset[-1]) + self._length_at(int(offset[-1]))
        if here < self.size:
            self.report.truncated += 1
            self.report.bytes_skipped += self.size - here
        return np.concatenate([*blocks, np.zeros(0, np.int64)])

    def _length_at(self, here: int) -> int:
        return (int(self.buffer[here + 4]) << 8 | int(self.buffer[here + 5])) + HEADER + 1

    def _headers(self, offset: NDArray[np.int64]) -> tuple[NDArray[np.bool_], NDArray[np.uint16], NDArray[np.int64]]:
        """Return whether the headers at `offset` are plausible, their first words, and where their packets end."""
        word, sequence, size = _header_words(self.buffer, offset)
        return self.plausible[word] & ((word | sequence | size) != 0), word, offset + size + HEADER + 1

    def _equal(self, here: int, block: int) -> NDArray[np.int64]:
        """Return the run of at most `block` packets that equal the one at `here` in length and first word."""
        length = self._length_at(here)
        offset = here + length * np.arange(min(block, (self.size - here) // length))
        good, word, end = self._headers(offset)
        good &= (end - offset == length) & (word == word[:1])
        return offset[: _leading(good)]

    def _step(self, here: int, block: int) -> NDArray[np.int64]:
        """Follow the length fields from `here` for at most `block` packets; each step is 7 bytes or more."""
        view, last, found = self.buffer.data, self.size - HEADER, []
        for _ in range(block):
            if here > last:
                break
            found.append(here)
            here += (view[here + 4] << 8 | view[here + 5]) + HEADER + 1
        return np.array(found, np.int64)

    def _chain(self, offset: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the leading part of `offset` that can be packets."""
        good, word, end = self._headers(offset)
        n = _leading(good & (end <= self.size))
        known = self.trusted[word[:n]]
        if known.any():  # cut before a word that is new: `_hidden` looks at it first
            new = int(np.argmax(known))
            n = new + _leading(known[new:])
        self.seen += np.bincount(word[:n], minlength=65536)
        self.trusted = self.seen >= CHAIN
        return offset[:n]

    def _hidden(self, here: int, blocks: list[NDArray[np.int64]]) -> int:
        """Return `here`, or the place within the packet before it at which a chain of known packets begins.

        Asked at the end of the file and where a header is of a kind not met before: it may be chance at the end of a
        wrong length.
        """
        if not blocks or not self.trusted.any():
            return here
        if here + HEADER <= self.size and self.trusted[int(self.buffer[here]) << 8 | int(self.buffer[here + 1])]:
            return here
        before = int(blocks[-1][-1])
        found = self._find_chain(before + 1, here)
        return here if found is None else self._drop_last(blocks, found)

    def _drop_last(self, blocks: list[NDArray[np.int64]], found: int) -> int:
        """Take the last packet out: its length is wrong, it runs into the packet at `found`."""
        self.report.overlong += 1
        self.report.bytes_skipped += found - int(blocks[-1][-1])
        blocks[-1] = blocks[-1][:-1]
        if len(blocks[-1]) == 0:
            blocks.pop()
        return found

    def _repair(self, here: int, blocks: list[NDArray[np.int64]]) -> int:
        """Return where packets go on after damage at `here`; the packet before it is dropped if it hides them."""
        good, _, end = self._headers(np.array([here]))
        too_long = bool(good[0]) and int(end[0]) > self.size
        before = int(blocks[-1][-1]) if blocks and not too_long else here
        found = self._find_chain(before + 1, self.size)
        if found is not None and found < here:
            return self._drop_last(blocks, found)
        self.report.truncated += too_long and found is None
        self.report.overlong += too_long and found is not None
        resume = self.size if found is None else found
        self.report.bytes_skipped += resume - here
        return resume

    def _find_chain(self, start: int, limit: int) -> int | None:
        """Return the first place from `start` to before `limit` at which a chain of headers begins."""
        known = self.trusted if self.trusted.any() else self.plausible
        limit = min(limit, self.size - HEADER + 1)
        width = 4096
        while start < limit:
            stop = min(start + width, limit)
            part = self.buffer[start : stop + 1].astype(np.uint16)
            place = start + np.flatnonzero(known[part[:-1] << 8 | part[1:]])
            at, alive = place, np.ones(len(place), bool)
            for _ in range(CHAIN):
                inside = at <= self.size - HEADER
                good, word, end = self._headers(np.where(inside, at, 0))
                alive &= (inside & good & known[word]) | (at == self.size)
                at = np.where(inside & alive, end, at)
            if alive.any():
                return int(place[np.argmax(alive)])
            start, width = stop, min(2 * width, 1 << 22)
        return None


def order_packets(index: PacketIndex, time: Sequence[NDArray[np.generic]] = ()) -> tuple[PacketIndex, PacketReport]:
    """Drop repeats, put the packets of each APID in order, and count what is missing.

    Counts are unwrapped modulo 16384. Without times, a step back of up to `LATE` counts is a late packet and anything
    else a gap, so a replay of more than `LATE` packets needs times to be recognised.

    Parameters
    ----------
    index : packets, of one or several APIDs; those of several keep the slots they had.
    time : columns of length ``len(index)`` that order the packets, most significant first (seconds, subseconds).

    Returns
    -------
    The packets that remain, ordered, and the report of this stage (`received` is left to the checks).
    """
    report = PacketReport()
    slot = np.full(len(index), -1, np.int64)
    for apid in np.unique(index.apid):
        member = np.flatnonzero(index.apid == apid)
        if time:
            member = member[np.lexsort([np.asarray(key)[member] for key in reversed(time)])]
        number = _unwrap(index.count[member].astype(np.int64))
        sort = np.lexsort((member, number))
        keep, conflicting = _distinct(index, member[sort], number[sort])
        kept, number = member[sort][keep], number[sort][keep]
        arrival = number[np.argsort(kept)]
        report.duplicate += len(member) - len(kept)
        report.conflicting += conflicting
        report.lost += int((np.diff(number) - 1).clip(0).sum())
        report.out_of_order += int((arrival < np.maximum.accumulate(arrival)).sum())
        slot[np.sort(kept)] = kept
    slot = slot[slot >= 0]
    unchanged = len(slot) == len(index) and bool(np.all(np.diff(slot) > 0))
    return (index if unchanged else index.take(slot)), report


def _unwrap(count: NDArray[np.int64]) -> NDArray[np.int64]:
    """Continue 14-bit counts without wrap, relative to the first."""
    step = (np.diff(count) + LATE) % COUNTS - LATE
    # One packet far off its neighbours on both sides is a stray from the past, not two gaps of nearly a whole turn.
    stray = np.flatnonzero((step[:-1] > LATE) & (step[1:] > LATE) & (step[:-1] + step[1:] >= COUNTS))
    step[stray[np.diff(stray, prepend=-2) > 1]] -= COUNTS
    return np.concatenate([np.zeros(min(len(count), 1), np.int64), np.cumsum(step)])


def _distinct(
    index: PacketIndex, member: NDArray[np.int64], number: NDArray[np.int64]
) -> tuple[NDArray[np.bool_], int]:
    """Return which of the sorted packets to keep, and how many share a number without being identical."""
    keep, conflicting, first = np.ones(len(member), bool), 0, -1
    view = index.buffer.data
    start, stop = index.offset[member], index.offset[member] + index.length[member]
    for later in (np.flatnonzero(np.diff(number) == 0) + 1).tolist():
        if first < 0 or number[first] != number[later]:
            first = later - 1
        same = view[start[later] : stop[later]] == view[start[first] : stop[first]]
        keep[later] = not same
        conflicting += not same
    return keep, conflicting


def join_segments(index: PacketIndex, skip: int = 0) -> tuple[PacketIndex, PacketReport]:
    """Join the segments of each group into one packet under the first segment's header.

    Parameters
    ----------
    index : ordered packets.
    skip : bytes of secondary header that each continuing segment repeats, to be left out.

    Returns
    -------
    Whole packets in a buffer of their own (the index itself if none is segmented), and the report of this stage.
    A joined packet may be longer than the 65542 bytes of one packet.
    """
    if np.all(index.flags == 3):
        return index, PacketReport()
    order = np.argsort(index.apid, kind="stable")
    flags, count, apid = index.flags[order], index.count[order].astype(np.int64), index.apid[order]
    begins = np.ones(len(order), bool)
    follows = ((count[1:] - count[:-1]) % COUNTS == 1) & (apid[1:] == apid[:-1])
    begins[1:] = ~follows | np.isin(flags[1:], (1, 3)) | np.isin(flags[:-1], (2, 3))
    first = np.flatnonzero(begins)
    last = np.append(first[1:], len(order)) - 1
    whole = (flags[first] == 3) | ((flags[first] == 1) & (flags[last] == 2))
    group = np.cumsum(begins) - 1
    member = whole[group]
    start = index.offset[order] + np.where(begins, 0, HEADER + skip)
    start, stop = start[member], (index.offset + index.length)[order][member]
    view = index.buffer.data
    buffer = np.frombuffer(b"".join([view[a:b] for a, b in zip(start, stop, strict=True)]), np.uint8)
    size = np.bincount(group[member], (stop - start).clip(0), len(first))[whole].astype(np.int64)
    joined = index.take(order[first[whole]])
    joined.buffer, joined.length, joined.offset = buffer, size, np.cumsum(size) - size
    return joined, PacketReport(incomplete=int((~member).sum()))
