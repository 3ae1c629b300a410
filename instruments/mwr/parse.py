"""Numbers from the text of MWR's CSV files.

The engine is pandas' C parser with the types given: on 30 000 rows of an IRDR it takes as much of a processor as polars
and pyarrow do (``bench/mwr_csv.py``), and is here with xarray.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from instruments.mwr.layout import COLUMNS, TIME
from pipeline.errors import InputError

Floats = NDArray[np.float64]

# No row is longer.
LINE_LIMIT = 1 << 14
# No column has larger numbers: seconds of a clock; words of telemetry, kelvin, degrees. What is beyond is unreadable.
LARGEST_TIME, LARGEST = 2.0**31, 1e7


def text_of(path: Path, low: int, high: int) -> bytes:
    """The bytes of a file between two places."""
    with path.open("rb") as file:
        file.seek(low)
        return file.read(high - low)


class _Part:
    """A part of a file for pandas, which takes bytes as they are only of what is not one of Python's own files."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self.file, self.left = file, size

    def read(self, size: int) -> bytes:
        """The next bytes, none at the end."""
        text = self.file.read(min(size, self.left))
        self.left -= len(text)
        if b'"' in text:
            raise ValueError("a quote")
        return text

    def __iter__(self) -> Iterator[bytes]:
        raise NotImplementedError  # asked for by pandas, not called


def parse(path: Path, kind: str, low: int, high: int) -> tuple[Floats, NDArray[np.int32]]:
    """Numbers of the rows between two bytes (column, n), NaN where blank or no number; how many of each row are none.

    The column of UTC is left out.
    """
    names = COLUMNS[kind]
    use = [k for k, name in enumerate(names) if name != "t_utc_doy"]
    if low == high:
        return np.zeros((len(use), 0)), np.zeros(0, np.int32)
    # The parser takes the first row for the width of all.
    _check_rows(path, kind, text_of(path, low, min(low + LINE_LIMIT, high)).split(b"\n", 1)[:1], low)
    try:
        numbers = _numbers(path, kind, low, high)
        bad = np.zeros(numbers.shape[1], np.int32)
    except (ValueError, pd.errors.ParserError):
        numbers, bad = _words(path, kind, low, high, use)
    limits = [LARGEST_TIME if names[k].startswith("t_") else LARGEST for k in use]
    for column, limit in zip(numbers, limits, strict=True):
        if not (column.max() <= limit and column.min() >= -limit):
            absurd = np.abs(column) > limit
            column[absurd] = np.nan
            bad += absurd
    if 2 * int(bad.sum()) > numbers.size:
        raise InputError(path, "more than half of the values are no numbers", f"byte {low}")
    return numbers, bad


def _numbers(path: Path, kind: str, low: int, high: int) -> Floats:
    """`parse` where every word is a number or nothing; raises ValueError or ParserError elsewhere."""
    names, utc = list(range(len(COLUMNS[kind]))), COLUMNS[kind].index("t_utc_doy")
    # UTC is taken as bytes, at no cost: fields too many are an error only where all columns are read.
    types = dict.fromkeys(names, np.dtype(np.float64)) | {utc: np.dtype(f"S{TIME}")}
    with path.open("rb") as whole:
        whole.seek(low)
        found = pd.read_csv(
            _Part(whole, high - low),  # type: ignore[call-overload]
            names=names,
            index_col=False,
            dtype=types,
            skip_blank_lines=False,
            keep_default_na=False,
            na_values=[""],
        )
    # Fields too few are filled up at the end of the row.
    if found[names[-1]].isna().any():
        rows = text_of(path, low, high).split(b"\n")[:-1]
        _check_rows(path, kind, rows, low)
        if len(rows) != len(found):
            raise ValueError("lines of other ends")
    return found.drop(columns=utc).to_numpy(copy=True).T


def _words(path: Path, kind: str, low: int, high: int, use: Sequence[int]) -> tuple[Floats, NDArray[np.int32]]:
    """`parse` where some words are no numbers."""
    text = text_of(path, low, high)
    rows = text.split(b"\n")[:-1]
    _check_rows(path, kind, rows, low)
    words = pd.read_csv(
        io.BytesIO(text),
        header=None,
        usecols=list(use),
        dtype=str,
        keep_default_na=False,
        encoding="latin-1",
        skip_blank_lines=False,
    )
    if len(words) != len(rows):
        raise InputError(path, "rows cannot be read", f"byte {low}")
    numbers = words.apply(pd.to_numeric, errors="coerce").to_numpy(np.float64).T.copy()
    bad = np.isnan(numbers) & (words != "").to_numpy().T
    return numbers, bad.sum(axis=0, dtype=np.int32)


def _check_rows(path: Path, kind: str, rows: list[bytes], at: int) -> None:
    """Raise InputError for a row that has not as many fields as there are columns, or quotes."""
    columns = len(COLUMNS[kind])
    for row in rows:
        fields = row.count(b",") + 1
        if fields != columns or b'"' in row:
            shown = row[:40].decode("ascii", "replace").strip()
            what = f"has {fields} fields, {columns} are expected" if fields != columns else "has quotes"
            raise InputError(path, f"row {shown!r} {what}", f"byte {at}")
        at += len(row) + 1
