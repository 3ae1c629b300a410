"""The columns of a PDS3 TABLE, SERIES or SPREADSHEET, as its label and format files lay them out.

Standards Reference 3.8, appendix A (COLUMN, BIT_COLUMN, CONTAINER, FIELD) and C (data types).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pipeline.errors import InputError
from pipeline.formats.pds3 import Block, Label, Quantity, read_label

_ORDERS = {"MSB": ">", "SUN": ">", "MAC": ">", "LSB": "<", "PC": "<", "VAX": "<"}
_TEXT = {"CHARACTER", "TIME", "DATE", "ASCII_STRING"}
_NUMBERS = {"ASCII_INTEGER": "i", "INTEGER": "i", "ASCII_REAL": "f", "REAL": "f", "FLOAT": "f"}
_CONSTANTS = ("MISSING_CONSTANT", "INVALID_CONSTANT", "NOT_APPLICABLE_CONSTANT", "UNKNOWN_CONSTANT", "NULL_CONSTANT")
_DEPTH = 6  # of containers and of format files within format files


@dataclass(frozen=True)
class Column:
    """Where a column stands in each row and what its values mean.

    Attributes
    ----------
    name : as in the label; of several of one name the later ones get ``_2``, ``_3``, ...
    start, size : first byte in the row (from 0) and bytes of one value.
    dtype : ``>i2``, ``<f4``, ``S23``, ... as stored; in a text table the type the text is parsed to.
    shape, strides : values per row (repetitions of containers, then items) and the bytes from one to the next.
    bits : first bit (from 0, most significant first) and number of bits within the value, of a BIT_COLUMN.
    unit, description : as in the label.
    missing : constants that stand for no value.
    scale, offset : physical value = stored value x scale + offset.
    """

    name: str
    start: int
    size: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...] = ()
    strides: tuple[int, ...] = ()
    bits: tuple[int, int] | None = None
    unit: str = ""
    description: str = ""
    missing: tuple[Any, ...] = ()
    scale: float = 1.0
    offset: float = 0.0

    def reach(self, level: int = 0) -> int:
        """Bytes from the first value to the last, over the dimensions from `level` on."""
        return sum((n - 1) * step for n, step in zip(self.shape[level:], self.strides[level:], strict=True))


def stored_type(data_type: str, size: int, *, text: bool) -> np.dtype[Any] | None:
    """Return the numpy type of a PDS3 data type of `size` bytes, or None if it is not known or has no such size."""
    name = data_type.upper().strip()
    if name in _TEXT:
        return np.dtype(f"S{size}")
    if text:
        kind = _NUMBERS.get(name)
        return np.dtype(f"{kind}8") if kind else None
    order, _, rest = name.partition("_")
    if name in ("INTEGER", "UNSIGNED_INTEGER", "REAL", "FLOAT", "IEEE_REAL", "BIT_STRING", "BOOLEAN", "BYTE"):
        order, rest = "MSB", name.removeprefix("IEEE_")
    kind = {"REAL": "f", "FLOAT": "f", "INTEGER": "i"}.get(rest, "u")
    known = rest in ("INTEGER", "UNSIGNED_INTEGER", "REAL", "FLOAT", "BIT_STRING", "BOOLEAN", "BYTE")
    if not known or order not in _ORDERS or (order == "VAX" and kind == "f"):
        return None
    return np.dtype(f"{_ORDERS[order]}{kind}{size}") if size in ((4, 8) if kind == "f" else (1, 2, 4, 8)) else None


def columns_of(label: Label, block: Block, *, text: bool) -> list[Column]:
    """Return all columns of a table block.

    Raises
    ------
    InputError : a keyword missing or impossible, a data type not known, a column beyond its container.
    """
    reader = _Reader(label, text)
    found = list(reader.columns(block, 0, (), (), _DEPTH))
    if not found:
        raise InputError(label.path, "the table has no columns")
    return numbered(found)


def numbered(columns: list[Column]) -> list[Column]:
    """Return the columns with names that occur once."""
    names: dict[str, int] = {}
    for k, column in enumerate(columns):
        names[column.name] = names.get(column.name, 0) + 1
        if names[column.name] > 1:
            columns[k] = replace(column, name=f"{column.name}_{names[column.name]}")
    return columns


def expanded(label: Label, block: Block, depth: int = _DEPTH) -> Iterator[tuple[str, Any]]:
    """Yield the keywords of a block, those of its ``^STRUCTURE`` file in its place."""
    for name, value in block.pairs:
        if name != "^STRUCTURE":
            yield name, value
            continue
        if depth == 0 or not isinstance(value, str):
            raise InputError(label.path, f"{value!r} is no format file, or they name each other in a circle", name)
        folders = () if label.structures is None else (label.structures,)
        yield from expanded(label, Block(read_label(label.resolve(value, *folders)).pairs), depth - 1)


@dataclass
class _Reader:
    label: Label
    text: bool

    def number(self, block: Block, keyword: str, default: int | None = None) -> int:
        """Return a positive integer keyword of a column."""
        name = str(block.get("NAME", ""))
        value = block.get(keyword, default)
        value = value.value if isinstance(value, Quantity) else value
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise InputError(self.label.path, f"column {name!r}: {keyword} is {value!r}, a positive integer expected")
        return value

    def columns(
        self, block: Block, start: int, shape: tuple[int, ...], strides: tuple[int, ...], depth: int
    ) -> Iterator[Column]:
        """Yield the columns of a table or container that begins at `start` of the row and is repeated."""
        for kind, child in expanded(self.label, block):
            if not isinstance(child, Block):
                continue
            if kind == "CONTAINER":
                if depth == 0:
                    raise InputError(self.label.path, "containers are nested too deeply")
                size, times = self.number(child, "BYTES"), self.number(child, "REPETITIONS")
                first = start + self.number(child, "START_BYTE") - 1
                inner = list(self.columns(child, first, (*shape, times), (*strides, size), depth - 1))
                level = len(shape) + 1
                for column in inner:
                    if column.start + column.size + column.reach(level) > first + size:
                        raise InputError(self.label.path, f"column {column.name!r} ends beyond its container")
                yield from inner
            elif kind == "COLUMN":
                yield from self.column(child, start, shape, strides)

    def column(self, block: Block, start: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> Iterator[Column]:
        """Yield one column and, if it is a bit string, its bit columns."""
        full = Block(list(expanded(self.label, block)))
        name = str(self.label.need("NAME", block=full))
        items, length = self.number(full, "ITEMS", 1), self.number(full, "BYTES")
        size = self.number(full, "ITEM_BYTES", length if items == 1 else max(length // items, 1))
        stride = self.number(full, "ITEM_OFFSET", size)
        if stride < size:
            raise InputError(self.label.path, f"column {name!r}: items overlap (ITEM_OFFSET {stride}, bytes {size})")
        data_type = str(full.get("ITEM_TYPE", full.get("DATA_TYPE", "missing")))
        dtype = stored_type(data_type, size, text=self.text)
        if dtype is None:
            raise InputError(self.label.path, f"column {name!r}: data type {data_type} of {size} bytes is not known")
        if items > 1 or "ITEMS" in full:
            shape, strides = (*shape, items), (*strides, stride)
        begin = start + self.number(full, "START_BYTE") - 1
        yield Column(name, begin, size, dtype, shape, strides, None, **meaning(full))
        for bit in full.objects("BIT_COLUMN"):
            yield self.bit_column(bit, Column(name, begin, size, dtype, shape, strides))

    def bit_column(self, block: Block, parent: Column) -> Column:
        name = str(self.label.need("NAME", block=block))
        first, count = self.number(block, "START_BIT") - 1, self.number(block, "BITS")
        if self.number(block, "ITEMS", 1) != 1:
            raise InputError(self.label.path, f"bit column {name!r}: items of bit columns are not supported")
        if first + count > 8 * parent.size or parent.dtype.kind not in "iu":
            raise InputError(self.label.path, f"bit column {name!r}: bits {first + 1} to {first + count} do not fit")
        return replace(parent, name=name, bits=(first, count), **meaning(block))


def meaning(block: Block) -> dict[str, Any]:
    """Return the keywords of a column that say what its values mean."""

    def plain(value: Any, default: float) -> float:
        value = value.value if isinstance(value, Quantity) else value
        return float(value) if isinstance(value, int | float) else default

    missing = []
    for constant in _CONSTANTS:
        value = block.get(constant)
        missing += [v.value if isinstance(v, Quantity) else v for v in ([] if value is None else [value])]
    return {
        "unit": str(block.get("UNIT") or ""),
        "description": str(block.get("DESCRIPTION") or ""),
        "missing": tuple(missing),
        "scale": plain(block.get("SCALING_FACTOR"), 1.0),
        "offset": plain(block.get("OFFSET"), 0.0),
    }
