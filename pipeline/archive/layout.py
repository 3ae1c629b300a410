"""Which PDS4 objects a dataset becomes, and its bytes.

Variables that share their only dimension are the fields of one binary table, and so are short vectors along it, as
groups; a table of one record holds the scalars. Everything else is an array. Tables come first; objects follow one
another without a gap. Numbers are stored little-endian, UTC as text, a missing number as `MISSING`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.dataset.parts import Part
from pipeline.errors import StoreError

# PDS4 has no NaN. This number has the same value in single and double precision, each read from its own decimal text.
MISSING = -(2.0**100)
TYPES = {
    "f4": "IEEE754LSBSingle",
    "f8": "IEEE754LSBDouble",
    "i1": "SignedByte",
    "u1": "UnsignedByte",
    **{f"{'u' * unsigned}{'i' * (not unsigned)}{n}": f"{'Uns' if unsigned else 'S'}ignedLSB{n}"
       for unsigned in (0, 1) for n in (2, 4, 8)},
    "c8": "ComplexLSB8",
    "c16": "ComplexLSB16",
}  # fmt: skip
TIME_TYPE, TIME_WIDTH = "ASCII_Date_Time_YMD_UTC", 30
# Vectors up to this length stand in the table of their records.
GROUPED = 16
SCALARS = "scalars"
BLOCK = 8 << 20


@dataclass(frozen=True)
class Stored:
    """A variable as stored: the type of one element, and how PDS4 calls it."""

    part: Part
    dtype: np.dtype[Any]
    pds4_type: str

    @property
    def repetitions(self) -> int:
        """Elements in a record of a table."""
        return self.part.shape[1] if len(self.part.shape) > 1 else 1

    @property
    def missing(self) -> bool:
        """Whether it may hold `MISSING`."""
        return self.dtype.kind == "f"

    def encoded(self, start: int, stop: int) -> NDArray[Any]:
        """Records as stored.

        Raises
        ------
        StoreError
            for a number that PDS4 has no way to write.
        """
        values = self.part.read(start, stop)
        if self.part.dtype.kind == "M":
            text = np.datetime_as_string(values, unit="ns", timezone="UTC").astype(self.dtype)
            nat = np.isnat(values)
            return np.where(nat, np.bytes_(b""), text) if nat.any() else text
        if self.part.text:
            return np.char.encode(values.astype(str), "utf-8").astype(self.dtype)
        if self.missing:
            nan = np.isnan(values)
            if (~nan & ~(np.abs(values) < -MISSING)).any():
                raise StoreError(f"{self.part.name} holds infinite or huge numbers, which PDS4 cannot write")
            if nan.any():
                values = np.where(nan, self.dtype.type(MISSING), values)
        if self.dtype.kind == "c" and not np.isfinite(values).all():
            raise StoreError(f"{self.part.name} holds complex numbers that are missing or infinite: PDS4 has none")
        return values.astype(self.dtype, copy=False)


@dataclass(frozen=True)
class Table:
    """A binary table: one record per element of a dimension."""

    name: str
    dim: str
    records: int
    columns: tuple[Stored, ...]

    @property
    def dtype(self) -> np.dtype[Any]:
        """A record, packed; text is padded with blanks."""
        return np.dtype([(c.part.name, c.dtype, (c.repetitions,) if c.part.shape[1:] else ()) for c in self.columns])

    @property
    def size(self) -> int:
        """Bytes."""
        return self.records * self.dtype.itemsize

    def blocks(self) -> Iterator[bytes]:
        """Its bytes."""
        dtype = self.dtype
        step = step_of(dtype.itemsize, max(c.part.rows for c in self.columns))
        for start in range(0, self.records, step):
            stop = min(start + step, self.records)
            block = np.zeros(stop - start, dtype)
            for column in self.columns:
                values = column.encoded(start, stop)
                block[column.part.name] = _padded(values) if column.dtype.kind == "S" else values
            yield block.tobytes()


@dataclass(frozen=True)
class Array:
    """An array, last index fastest."""

    stored: Stored

    @property
    def name(self) -> str:
        """Name of the variable."""
        return self.stored.part.name

    @property
    def size(self) -> int:
        """Bytes."""
        return int(np.prod(self.stored.part.shape)) * self.stored.dtype.itemsize

    def blocks(self) -> Iterator[bytes]:
        """Its bytes."""
        part = self.stored.part
        records = part.shape[0]
        step = step_of(self.size // records, part.rows)
        for start in range(0, records, step):
            yield np.ascontiguousarray(self.stored.encoded(start, min(start + step, records))).tobytes()


Object = Table | Array


def step_of(record: int, rows: int) -> int:
    """Records of a block, of so many bytes each: whole multiples of those stored together."""
    return max(1, BLOCK // max(1, record * rows)) * rows


def _padded(values: NDArray[Any]) -> NDArray[Any]:
    """Text padded with blanks to its width; NumPy pads with zeros, which no text holds."""
    padded = np.array(values, order="C", ndmin=1)
    bytes_ = padded.view(np.uint8)
    bytes_[bytes_ == 0] = ord(" ")
    return padded.reshape(values.shape)


def lay_out(parts: Sequence[Part], apart: Collection[str] = ()) -> list[Object]:
    """The objects of a dataset, in the order of the file; variables without an element are left out.

    Parameters
    ----------
    apart : variables that become arrays of their own, because something refers to them.

    Raises
    ------
    StoreError
        for a variable that no PDS4 object can hold.
    """
    tables: dict[str, list[Stored]] = {}
    arrays: list[Object] = []
    for part in parts:
        if 0 in part.shape:
            continue
        stored = stored_as(part)
        if part.name in apart:
            arrays.append(Array(stored))
        elif len(part.shape) <= 1 or (len(part.shape) == 2 and part.shape[1] <= GROUPED):
            tables.setdefault(part.dims[0] if part.dims else SCALARS, []).append(stored)
        elif stored.dtype.kind == "S":
            raise StoreError(f"{part.name}: text of more than {GROUPED} in a row fits no PDS4 object")
        else:
            arrays.append(Array(stored))
    rows = {dim: columns[0].part.shape[0] if columns[0].part.shape else 1 for dim, columns in tables.items()}
    return [*(Table(f"table_{dim}", dim, rows[dim], tuple(c)) for dim, c in tables.items()), *arrays]


def stored_as(part: Part) -> Stored:
    """How a variable is stored; raises StoreError for one that PDS4 cannot hold."""
    if part.dtype.kind == "M":
        return Stored(part, np.dtype(f"S{TIME_WIDTH}"), TIME_TYPE)
    if part.text:
        texts = [str(text) for text in part.whole().ravel()]
        bad = next((t for t in texts if t != t.rstrip(" ") or "\0" in t), None)
        if bad is not None:
            raise StoreError(f"{part.name} holds the text {bad!r}, whose end would be lost")
        ascii_only = all(t.isascii() for t in texts)
        width = max(1, *(len(t.encode()) for t in texts))
        return Stored(part, np.dtype(f"S{width}"), "ASCII_String" if ascii_only else "UTF8_String")
    dtype = np.dtype("u1") if part.dtype.kind == "b" else part.dtype.newbyteorder("<")
    name = f"{dtype.kind}{dtype.itemsize}"
    if name not in TYPES:
        raise StoreError(f"{part.name} is {part.dtype}, which PDS4 has no type for")
    return Stored(part, dtype, TYPES[name])


@dataclass(frozen=True)
class Written:
    """A file as written: every number in its label comes from here."""

    path: Path
    size: int
    md5: str
    objects: tuple[tuple[Object, int], ...]


def write_objects(path: Path, objects: Sequence[Object]) -> Written:
    """Write objects one after the other; returns where each lies.

    Raises
    ------
    StoreError
        if the file cannot be written, or an object has other bytes than its layout says.
    """
    digest = hashlib.md5(usedforsecurity=False)
    placed: list[tuple[Object, int]] = []
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            for one in objects:
                offset = file.tell()
                for block in one.blocks():
                    digest.update(block)
                    file.write(block)
                if file.tell() - offset != one.size:
                    raise StoreError(f"{path}: {one.name} took {file.tell() - offset} bytes, not {one.size}")
                placed.append((one, offset))
            size = file.tell()
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror}") from error
    return Written(path, size, digest.hexdigest(), tuple(placed))


def write_bytes(path: Path, content: bytes) -> Written:
    """Write a file of one piece."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror}") from error
    return Written(path, len(content), hashlib.md5(content, usedforsecurity=False).hexdigest(), ())
