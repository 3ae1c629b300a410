"""PDS3 tables to columns: binary, fixed-width text, and delimited text (SPREADSHEET)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.formats.pds3 import Block, Label
from pipeline.formats.pds3_columns import Column, columns_of, expanded
from pipeline.formats.pds3_spreadsheet import fields_of, numbers, read_delimited


@dataclass(eq=False)
class Table(Mapping[str, NDArray[Any]]):
    """A table whose columns are read when asked for: ``table["BX"]`` has the values as stored, in native types.

    Attributes
    ----------
    path : the data file.
    rows : whole rows.
    truncated : 1 if the last row of the label is cut short in the file (it is left out).
    columns : what the label says of each column.
    unreadable : of text tables, how many values of a column are no number (they count as missing), as found so far.
    """

    path: Path
    rows: int
    truncated: int
    columns: dict[str, Column]
    _data: NDArray[np.uint8] | dict[str, NDArray[Any]]
    unreadable: dict[str, int] = field(default_factory=dict)
    binary: bool = True

    def __len__(self) -> int:
        return len(self.columns)

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)

    def __getitem__(self, name: str) -> NDArray[Any]:
        column = self.columns[name]
        if isinstance(self._data, dict):
            return self._data[name]
        stored = self._stored(column)
        if column.dtype.kind == "S":
            return np.char.strip(stored)
        if stored.dtype.kind == "S":
            return self._number(column, stored)
        if column.bits:
            return _bits(stored, column)
        return stored.astype(stored.dtype.newbyteorder("="))

    def _stored(self, column: Column) -> NDArray[Any]:
        """Return the bytes of a column as they lie in the file, shape (rows, ...)."""
        data = np.asarray(self._data)
        kind = column.dtype if self.binary else np.dtype(f"S{column.size}")
        strides = (data.strides[0], *column.strides)
        view = np.ndarray((self.rows, *column.shape), kind, data, column.start, strides) if self.rows else None
        return np.empty((0, *column.shape), kind) if view is None else np.ascontiguousarray(view)

    def missing(self, name: str) -> NDArray[np.bool_]:
        """Return where a column has no value: a constant the label declares, NaN, or no readable number."""
        value, column = self[name], self.columns[name]
        gone = np.isnan(value) if value.dtype.kind == "f" else np.zeros(value.shape, bool)
        for constant in column.missing:
            if value.dtype.kind == "S":
                gone |= value == str(constant).strip().encode("latin-1", "replace")
            elif isinstance(constant, int | float):
                with np.errstate(over="ignore"):
                    gone |= value == (value.dtype.type(constant) if value.dtype.kind == "f" else constant)
        return gone

    def physical(self, name: str) -> NDArray[np.float64]:
        """Return a column in the label's unit, scaled, NaN where it has no value."""
        column = self.columns[name]
        return np.where(self.missing(name), np.nan, self[name] * column.scale + column.offset)

    def part(self, first: int, last: int) -> Table:
        """Return rows `first` to before `last`; nothing is read yet."""
        rows = slice(first, last)
        data = {n: v[rows] for n, v in self._data.items()} if isinstance(self._data, dict) else self._data[rows]
        count = len(range(self.rows)[rows])
        return Table(self.path, count, 0, self.columns, data, {}, self.binary)

    def _number(self, column: Column, stored: NDArray[Any]) -> NDArray[Any]:
        """Parse numbers of fixed width; blanks and what is no number become NaN (float) and are counted."""
        value, bad = numbers(np.char.strip(stored), column.dtype)
        self.unreadable |= {column.name: bad} if bad else {}
        if 2 * bad > value.size:
            raise InputError(self.path, f"column {column.name!r}: {bad} of {value.size} values are no numbers")
        return value


def _bits(stored: NDArray[Any], column: Column) -> NDArray[Any]:
    """Return a bit column: unsigned, counted from the most significant bit of the value it is part of."""
    assert column.bits is not None
    first, count = column.bits
    whole = stored.astype(stored.dtype.newbyteorder("=")).view(f"u{column.size}")
    return (whole >> (8 * column.size - first - count)) & ((1 << count) - 1)


def read_table(label: Label, pointer: str = "TABLE", block: Block | None = None) -> Table:
    """Open the table that ``^POINTER`` points at; a label known to be wrong goes through `defects.corrected` before.

    Parameters
    ----------
    block : its description; by default the object of the pointer's name, in the label or its FILE object.

    Raises
    ------
    InputError : the label is wrong or of a kind not known, or the file is more than one row shorter than it says.
    """
    path, start = label.pointer(pointer)
    if block is None:
        block = next((b[pointer] for b in (label, *label.objects("FILE")) if isinstance(b.get(pointer), Block)), None)
    if block is None:
        raise InputError(label.path, "object missing", pointer)
    block = Block(list(expanded(label, block)))
    rows = label.need("ROWS", int, block)
    if block.get("FIELDS") is not None or block.objects("FIELD"):
        columns = fields_of(label, block)
        values, bad, truncated = read_delimited(label, block, columns, (path, start, rows))
        return Table(path, rows - truncated, truncated, {c.name: c for c in columns}, values, bad, binary=False)
    form = str(block.get("INTERCHANGE_FORMAT", "nothing")).upper()
    if form not in ("BINARY", "ASCII"):
        raise InputError(label.path, f"{form}: BINARY or ASCII expected", "INTERCHANGE_FORMAT")
    width = label.need("ROW_BYTES", int, block)
    before, after = (int(block.get(k) or 0) for k in ("ROW_PREFIX_BYTES", "ROW_SUFFIX_BYTES"))
    columns = columns_of(label, block, text=form == "ASCII")
    _check_fit(label, columns, width)
    data, whole = _rows_in(label, path, start, rows, (before, width, after))
    placed = {c.name: replace(c, start=c.start + before) for c in columns}
    return Table(path, whole, rows - whole, placed, data, {}, form == "BINARY")


def _check_fit(label: Label, columns: list[Column], width: int) -> None:
    total = 0
    for column in columns:
        total += 0 if column.bits else column.size * int(np.prod([1, *column.shape], dtype=object))
        end = column.start + column.size + column.reach()
        if end > width:
            reason = f"column {column.name!r} ends at byte {end} of rows of {width}"
            raise InputError(label.path, reason, "ROW_BYTES")
    if total > 8 * width:
        raise InputError(label.path, f"columns of {total} bytes in rows of {width}")


def _rows_in(
    label: Label, path: Path, start: int, rows: int, row: tuple[int, int, int]
) -> tuple[NDArray[np.uint8], int]:
    """Return the whole rows of the file as bytes, prefix and suffix included, and their number."""
    before, width, after = row
    step = before + width + after
    size = path.stat().st_size
    if rows < 0 or width < 1 or min(before, after) < 0:
        raise InputError(label.path, f"ROWS {rows}, bytes of a row {row}: impossible")
    if start + rows * step > size + step - 1:
        reason = f"{rows} rows of {step} bytes from byte {start} need {start + rows * step} bytes, the file has {size}"
        raise InputError(path, reason)
    whole = min(rows, max(size - start, 0) // step)
    if whole == 0:
        return np.zeros((0, step), np.uint8), 0
    return np.memmap(path, np.uint8, "r", start, (whole, step)), whole
