"""PDS3 tables written by the same layout that reads them: arrays and a table block to bytes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.formats.pds3 import Block, Label
from pipeline.formats.pds3_columns import Column, columns_of

_FORMAT = re.compile(r"([IFE])\d+(?:\.(\d+))?")
_TYPES = {">i": "MSB_INTEGER", ">u": "MSB_UNSIGNED_INTEGER", ">f": "IEEE_REAL"}
_TYPES |= {"<i": "LSB_INTEGER", "<u": "LSB_UNSIGNED_INTEGER", "<f": "PC_REAL"}


def write_table(block: Mapping[str, Any], columns: Mapping[str, ArrayLike], folder: str | Path = ".") -> bytes:
    """Write the rows of a TABLE object; `read_table` gives the columns back.

    Parameters
    ----------
    block : the object, as for `write_label`; ROWS and ROW_BYTES must be there. A column of a text table is written by
        its FORMAT (``F12.2``, ``I4``, ``E15.7``, ``A21``), numbers to the right; a text table's rows end in CR LF.
    columns : values by column name, first dimension ROWS. Bytes of no column are zero, or spaces in a text table.
    folder : where ``^STRUCTURE`` files are.

    Raises
    ------
    ValueError : a column is missing or does not fit.
    """
    root = Label([("TABLE", _as_block(block))], Path(folder) / "<table>", "")
    table: Block = root["TABLE"]
    text = str(table["INTERCHANGE_FORMAT"]).upper() == "ASCII"
    rows, width = int(table["ROWS"]), int(table["ROW_BYTES"])
    data = np.full((rows, width), 32 if text else 0, np.uint8)
    formats = {str(c["NAME"]): str(c.get("FORMAT", "")) for c in table.objects("COLUMN")}
    if text:
        data[:, -2:] = (13, 10)
    found = columns_of(root, table, text=text)
    parents = {(c.start, c.strides) for c in found if c.bits}
    for column in found:
        if column.bits is None and (column.start, column.strides) in parents and column.name not in columns:
            continue  # made of its bit columns
        if column.name not in columns:
            raise ValueError(f"column {column.name} is missing")
        value = np.asarray(columns[column.name])
        if value.shape != (rows, *column.shape):
            raise ValueError(f"column {column.name}: shape {value.shape}, {(rows, *column.shape)} wanted")
        _put(data, column, value, formats.get(column.name, "") if text else None)
    return data.tobytes()


def _put(data: NDArray[np.uint8], column: Column, value: NDArray[Any], form: str | None) -> None:
    kind = column.dtype if form is None else np.dtype(f"S{column.size}")
    strides = (data.strides[0], *column.strides)
    if len(data) == 0:
        return
    view = np.ndarray((len(data), *column.shape), kind, data, column.start, strides)
    if column.bits:
        first, count = column.bits
        if value.size and (value.min() < 0 or int(value.max()) >> count):
            raise ValueError(f"bit column {column.name}: {value.min()}..{value.max()} does not fit {count} bits")
        view |= (value.astype(f"u{column.size}") << (8 * column.size - first - count)).astype(column.dtype)
    elif kind.kind == "S":
        words = [_word(v, form or "", column) for v in value.ravel().tolist()]
        view[...] = np.array(words, kind).reshape(value.shape)
    else:
        if kind.kind in "iu" and value.size:
            info = np.iinfo(kind)
            if value.dtype.kind not in "iub" or int(value.min()) < info.min or int(value.max()) > info.max:
                raise ValueError(f"column {column.name}: values do not fit {kind}")
        view[...] = value


def _word(value: Any, form: str, column: Column) -> bytes:
    """Return one value as text of the column's width."""
    if isinstance(value, bytes | str):
        word = value if isinstance(value, bytes) else value.encode("ascii")
        word = word.ljust(column.size)
    else:
        match = _FORMAT.fullmatch(form)
        if match is None:
            raise ValueError(f"column {column.name}: no FORMAT for numbers: {form!r}")
        letter, digits = match[1], match[2] or "0"
        word = format(value, "d" if letter == "I" else f".{digits}{letter}").rjust(column.size).encode()
    if len(word) > column.size:
        raise ValueError(f"column {column.name}: {word.decode()!r} is wider than {column.size} bytes")
    return word


def table_object(
    columns: Mapping[str, ArrayLike], units: Mapping[str, str] | None = None, order: Literal[">", "<"] = ">"
) -> tuple[dict[str, Any], bytes]:
    """Return a binary TABLE object for `write_label` made from arrays, and its bytes.

    Dimensions beyond the first become containers, the last one items.
    """
    rows, start, described = 0, 1, []
    for name, value in columns.items():
        array = np.asarray(value)
        kind = array.dtype if array.dtype.kind == "S" else array.dtype.newbyteorder(order)
        rows, size = len(array), kind.itemsize
        data_type = "CHARACTER" if kind.kind == "S" else _TYPES[order + kind.kind]
        items = array.shape[-1] if array.ndim > 1 else 1
        inner: dict[str, Any] = {"NAME": name, "DATA_TYPE": data_type, "START_BYTE": 1, "BYTES": items * size}
        inner |= {"ITEMS": items, "ITEM_BYTES": size} if array.ndim > 1 else {}
        inner |= {"UNIT": units[name]} if units and name in units else {}
        key, length = "COLUMN", items * size
        for depth, times in enumerate(reversed(array.shape[1:-1])):
            holder = {"NAME": f"{name}_{depth + 1}", "START_BYTE": 1, "BYTES": length, "REPETITIONS": times}
            key, inner, length = "CONTAINER", {**holder, key: inner}, length * times
        inner["START_BYTE"] = start
        described.append((key, inner))
        start += length
    head = {"INTERCHANGE_FORMAT": "BINARY", "ROWS": rows, "ROW_BYTES": start - 1, "COLUMNS": len(described)}
    table = _as_block(head)
    table = Block([*table.pairs, *((key, _as_block(inner)) for key, inner in described)])
    return {"TABLE": table}, write_table(table, columns)


def _as_block(pairs: Mapping[str, Any]) -> Block:
    """Return a mapping, and those in it, as a `Block`."""
    if isinstance(pairs, Block):
        return pairs
    flat: list[tuple[str, Any]] = []
    for name, value in pairs.items():
        several = value if isinstance(value, list) and value and isinstance(value[0], Mapping) else [value]
        flat += [(name, _as_block(v) if isinstance(v, Mapping) else v) for v in several]
    return Block(flat)
