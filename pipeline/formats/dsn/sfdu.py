"""Standard formatted data units: where they are in a file (CCSDS 620.0-B; the labels of TRK-2-34 and 0159-Science).

A unit is a label of 20 bytes (``NJPL``, version ``2``, class ``I``, two spare bytes, the data description, the length
of what follows as u64) and CCSDS header data objects (CHDO): type u16, length u16, content. Nothing carries a checksum.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.lib.stride_tricks import as_strided, sliding_window_view
from numpy.typing import NDArray

from pipeline.errors import InputError

LABEL = 20
_BLOCK = 1 << 24  # bytes searched in one go
_BEGIN = b"NJPL2I"
_LONGER = "the unit goes on beyond its length: bytes in it stand twice, or are foreign"
OnDamage = Literal["raise", "skip"]


@dataclass(frozen=True)
class Damage:
    """A stretch of a file that was left out: first byte, number of bytes, and why."""

    offset: int
    size: int
    reason: str


@dataclass
class SfduIndex:
    """Places of the units of a file, in file order.

    Attributes
    ----------
    buffer : the bytes of the file (a memory map).
    offset, size : first byte and total bytes, label included, of each unit.
    damage : what belongs to no unit, or to one that was refused.
    path : the file, for messages.
    """

    buffer: NDArray[np.uint8]
    offset: NDArray[np.int64]
    size: NDArray[np.int64]
    damage: list[Damage]
    path: str

    def gather(self, which: NDArray[np.generic] | slice, first: int, size: int) -> NDArray[np.uint8]:
        """Return `size` bytes from `first` on of the units `which`, one row each; `first` < 0 counts from the end."""
        start = self.offset[which] + (first if first >= 0 else self.size[which] + first)
        return sliding_window_view(self.buffer, size)[start]

    def refuse(self, verdict: NDArray[np.integer], reasons: Sequence[str], on_damage: OnDamage) -> None:
        """Take the units out of which `verdict` is not 0 but 1 + the number of a reason, or raise for the first."""
        bad = np.flatnonzero(verdict)
        found = [Damage(int(self.offset[k]), int(self.size[k]), reasons[int(verdict[k]) - 1]) for k in bad]
        if found and on_damage == "raise":
            raise InputError(self.path, found[0].reason, f"byte {found[0].offset}")
        self.damage += found
        self.offset, self.size = self.offset[verdict == 0], self.size[verdict == 0]
        if len(self.offset) == 0:
            raise InputError(self.path, f"no unit is whole; the first: {self.damage[0].reason}", "byte 0")


def index_sfdus(path: str | Path, descriptions: Collection[bytes], longest: int, on_damage: OnDamage) -> SfduIndex:
    """Find the units of a file.

    Units of one size, the rule for samples, are found by that size; others by their labels, each of which must lie
    where the unit before it ends. A unit whose length runs into the next label, and what lies between units, is damage.

    Parameters
    ----------
    descriptions : the data descriptions the format knows (``b"C123"``).
    longest : most bytes a unit of the format can have, label included.
    on_damage : raise at the first damage, or leave out and report in `SfduIndex.damage`.

    Raises
    ------
    InputError : cannot be read, is empty, holds no unit, or is damaged and `on_damage` is ``"raise"``.
    """
    try:
        if Path(path).stat().st_size == 0:
            raise InputError(path, "the file is empty")
        buffer = np.memmap(path, np.uint8, "r")
    except OSError as error:
        raise InputError(path, f"cannot be read: {error.strerror or error}") from error
    offset = _equal(buffer, descriptions, longest)
    if offset is None:
        offset = _labelled(buffer, descriptions)
    if len(offset) == 0:
        swapped = "its bytes are swapped in pairs" if bytes(buffer[:4]) == b"JNLP" else "no unit begins with NJPL2I"
        known = ", ".join(sorted(d.decode() for d in descriptions))
        raise InputError(path, f"not a file of SFDUs with description {known}: {swapped}", "byte 0")
    index = SfduIndex(buffer, offset, _sizes(buffer, offset), [], str(path))
    _resolve(index, longest, on_damage)
    return index


def _sizes(buffer: NDArray[np.uint8], offset: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the total size that the labels at `offset` state; a length beyond 2^62 is kept there."""
    length = sliding_window_view(buffer, 8)[offset + 12].view(">u8")[:, 0]
    return np.minimum(length, np.uint64(1 << 62)).astype(np.int64) + LABEL


def _equal(buffer: NDArray[np.uint8], descriptions: Collection[bytes], longest: int) -> NDArray[np.int64] | None:
    """Return the offsets of the units if the file is nothing but units of one label, else None."""
    first = bytes(buffer[:LABEL])
    if len(first) < LABEL or first[:6] != _BEGIN or first[8:12] not in descriptions:
        return None
    size = int.from_bytes(first[12:], "big") + LABEL
    if size > longest or len(buffer) % size:
        return None
    labels = as_strided(buffer, (len(buffer) // size, LABEL), (size, 1), writeable=False)
    same = (labels == labels[0]).all()
    return np.arange(0, len(buffer), size) if same else None


def _labelled(buffer: NDArray[np.uint8], descriptions: Collection[bytes]) -> NDArray[np.int64]:
    """Return every place at which a label of the format stands."""
    found = [np.zeros(0, np.int64)]
    for start in range(0, len(buffer) - LABEL + 1, _BLOCK):
        block = buffer[start : start + _BLOCK + LABEL - 1]
        place = np.flatnonzero(block[: len(block) - LABEL + 1] == ord("N"))
        for k, letter in enumerate(_BEGIN):
            place = place[block[place + k] == letter]
        text = sliding_window_view(block, 4)[place + 8].view("S4")
        found.append(start + place[np.isin(text[:, 0], list(descriptions))])
    return np.concatenate(found)


def _resolve(index: SfduIndex, longest: int, on_damage: OnDamage) -> None:
    """Keep the units that fit between their neighbours; report every stretch of the file that is in none of them."""
    total = len(index.buffer)
    end = index.offset + index.size
    places = np.append(index.offset, total)
    next_ = np.searchsorted(places, np.minimum(end, total))
    meets = (index.size <= longest) & (places[next_] == end)
    # A label inside a unit that ends where another begins is chance: count the units around each label.
    step = np.zeros(len(end) + 1, np.int64)
    step[1:] += meets
    np.subtract.at(step, next_[meets], 1)
    outside = np.cumsum(step)[:-1] == 0
    offset, size = index.offset[outside], index.size[outside]
    fits = (size <= longest) & (offset + size <= np.append(offset[1:], total))
    longer = _longer(index.buffer, offset, size, fits)
    cut, kept = set(offset[~fits].tolist()), fits & ~longer
    index.damage += [Damage(o, s, _LONGER) for o, s in zip(*(v[longer].tolist() for v in (offset, size)), strict=True)]
    index.offset, index.size = offset[fits], size[fits]
    begin, until = np.append(0, index.offset + index.size), np.append(index.offset, total)
    for k in np.flatnonzero(until > begin):
        start = int(begin[k])
        reason = "the unit is cut short, or its length is wrong" if start in cut else "no SFDU label where one is due"
        index.damage.append(Damage(start, int(until[k]) - start, reason))
    index.offset, index.size = offset[kept], size[kept]
    index.damage.sort(key=lambda d: d.offset)
    if index.damage and on_damage == "raise":
        first = index.damage[0]
        raise InputError(index.path, f"{first.reason} ({first.size} bytes)", f"byte {first.offset}")


def _longer(
    buffer: NDArray[np.uint8], offset: NDArray[np.int64], size: NDArray[np.int64], fits: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Return which units go on beyond their length: bytes stand twice in them, and those after are shifted.

    What follows such a unit is neither the beginning of a label nor as long as units whose labels are lost.
    """
    end = offset + size
    until = np.append(offset[1:], len(buffer))
    over = fits & (until > end)
    sizes = np.unique(size[fits])
    for k in np.flatnonzero(over):
        begun = bytes(buffer[end[k] : min(end[k] + len(_BEGIN), until[k])])
        over[k] = not _BEGIN.startswith(begun) and ((until[k] - end[k]) % sizes != 0).all()
    return over
