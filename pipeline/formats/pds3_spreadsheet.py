"""Delimited text of a PDS3 SPREADSHEET (Standards Reference 3.8, appendix A.28)."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.formats.pds3 import Block, Label
from pipeline.formats.pds3_columns import Column, expanded, meaning, numbered, stored_type

CHUNK = 4096  # rows parsed at a time

DELIMITERS = {"COMMA": ",", "SEMICOLON": ";", "TAB": "\t", "VERTICAL_BAR": "|"}


def fields_of(label: Label, block: Block) -> list[Column]:
    """Return the fields of a spreadsheet as columns; `shape` is the number of items, if there are several."""
    found = []
    for field in block.objects("FIELD"):
        full = Block(list(expanded(label, field)))
        name, items = str(label.need("NAME", block=full)), full.get("ITEMS", 1)
        dtype = stored_type(str(full.get("DATA_TYPE", "missing")), 1, text=True)
        if dtype is None:
            raise InputError(label.path, f"field {name!r}: data type {full.get('DATA_TYPE')} is not known")
        if not isinstance(items, int) or not 1 <= items <= 100_000:
            raise InputError(label.path, f"field {name!r}: ITEMS is {items!r}")
        found.append(Column(name, 0, 0, dtype, (items,) if items > 1 else (), **meaning(full)))
    if not found:
        raise InputError(label.path, "the spreadsheet has no fields")
    return numbered(found)


def read_delimited(
    label: Label, block: Block, columns: list[Column], place: tuple[Path, int, int]
) -> tuple[dict[str, NDArray[Any]], dict[str, int], int]:
    """Read the values of a spreadsheet.

    Parameters
    ----------
    place : file, first byte and rows that the label states.

    Returns
    -------
    Values by column (text as bytes, integers as int64, or float64 where some are missing), the number of unreadable
    values by column, and 1 if the last row is cut short (it is left out).

    Raises
    ------
    InputError : rows missing, a row with another number of fields, a column most of whose values are no numbers.
    """
    path, start, rows = place
    mark = str(block.get("FIELD_DELIMITER", "missing")).upper()
    if mark not in DELIMITERS:
        raise InputError(label.path, f"{mark}: one of {', '.join(DELIMITERS)} expected", "FIELD_DELIMITER")
    with path.open("rb") as file:
        file.seek(start)
        lines = file.read().splitlines()
    if len(lines) < rows:
        raise InputError(path, f"{rows} rows expected from byte {start} on, the file has {len(lines)}")
    names = [c for c in columns for _ in range(int(np.prod(c.shape, dtype=int)))]
    lines, truncated = _checked(lines[:rows], DELIMITERS[mark], len(names), path)
    parts: list[list[NDArray[Any]]] = [[] for _ in names]
    bad = [0] * len(names)
    for first in range(0, len(lines), CHUNK):
        cells = _cells(lines[first : first + CHUNK], DELIMITERS[mark])
        for k, column in enumerate(names):
            text = np.char.strip(cells[:, k])
            value, more = (text, 0) if column.dtype.kind == "S" else numbers(text, column.dtype)
            parts[k].append(value)
            bad[k] += more
    values: dict[str, NDArray[Any]] = {}
    unreadable: dict[str, int] = {}
    for column in columns:
        mine = [k for k, other in enumerate(names) if other is column]
        if 2 * (wrong := sum(bad[k] for k in mine)) > len(lines) * len(mine):
            raise InputError(path, f"field {column.name!r}: {wrong} of {len(lines) * len(mine)} values are no numbers")
        unreadable |= {column.name: wrong} if wrong else {}
        found = [np.concatenate(parts[k]) if lines else np.empty(0, column.dtype) for k in mine]
        values[column.name] = np.stack(found, axis=1) if column.shape else found[0]
    return values, unreadable, truncated


def _checked(lines: list[bytes], mark: str, fields: int, path: Path) -> tuple[list[bytes], int]:
    """Refuse rows with another number of fields; a last one with fewer is taken off."""
    for k, line in enumerate(lines):
        found = line.count(mark.encode()) + 1
        if b'"' in line:
            found = len(next(csv.reader([line.decode("latin-1")], delimiter=mark)))
        if found < fields and k == len(lines) - 1:
            return lines[:-1], 1
        if found != fields:
            raise InputError(path, f"{found} fields, {fields} expected", f"row {k + 1} of the table")
    return lines, 0


def _cells(lines: list[bytes], mark: str) -> NDArray[np.bytes_]:
    """Return the fields of all lines, shape (lines, fields)."""
    whole = mark.encode().join(lines)
    if b'"' in whole:
        rows = csv.reader([line.decode("latin-1") for line in lines], delimiter=mark, skipinitialspace=True)
        return np.array([[cell.encode("latin-1") for cell in row] for row in rows])
    return np.array(whole.split(mark.encode())).reshape(len(lines), -1)


def numbers(text: NDArray[Any], dtype: np.dtype[Any]) -> tuple[NDArray[Any], int]:
    """Parse stripped text; where not all is numbers, as float with NaN.

    Returns
    -------
    The values, and how many were neither number nor blank.
    """
    try:
        return text.astype(dtype), 0
    except (ValueError, OverflowError):
        pass
    value, bad = np.full(text.shape, np.nan), 0
    for place, word in np.ndenumerate(text):
        try:
            value[place] = float(word.replace(b"D", b"E").replace(b"d", b"e")) if word else np.nan
        except ValueError:
            bad += 1
    return value, bad
