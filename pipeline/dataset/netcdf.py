"""Datasets in and out of netCDF-4 files.

Equal content gives equal bytes, however many segments it came in. A file's chunks have a fixed number of records, and
its last task fills them in order: a chunk of a segment that happens to be a chunk of the whole is copied compressed;
where edges do not meet (the usual case: segments are cut in time, chunks in records) the records are taken out and
compressed anew. Both give the same bytes, because the filters are the same; without a chunk cache HDF5 puts every chunk
in the file at once, so the order in the file is that of the calls. At most a chunk and a piece of one variable are in
memory. ``bench/netcdf_assemble.py`` has the figures.

zlib 1 with shuffle: what any netCDF or HDF5 reader opens. No time, path or host stands in a file.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5netcdf
import h5py
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline.clock import Span
from pipeline.dataset.check import stored
from pipeline.dataset.hdf5 import (
    EPOCH,
    TIME_ATTRS,
    attributes_of,
    coordinates_of,
    dims_of,
    readable,
    variable_of,
    variables_of,
)
from pipeline.dataset.schema import Schema
from pipeline.errors import StoreError
from pipeline.files import aside

CONVENTIONS = "CF-1.11"
FILTER = {"compression": "gzip", "compression_opts": 1, "shuffle": True}
# A chunk is what a reader must decompress to get at one value.
CHUNK_BYTES = 4 << 20
# Records per chunk where nobody says.
ROWS = 65536


# Writing


@dataclass(frozen=True)
class _Layout:
    """A variable of a file: all but its values. Text has dtype object."""

    name: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    attrs: dict[str, Any]

    def chunks(self, rows: int) -> tuple[int, ...] | None:
        """Shape of a chunk: `rows` along the first dimension, fewer if it grew too big; None: stored in one piece."""
        if not self.shape or self.dtype.kind == "O":
            return None
        row = max(1, int(np.prod(self.shape[1:])) * self.dtype.itemsize)
        first = max(1, min(rows, CHUNK_BYTES // row, self.shape[0]))
        return (first, *(max(1, n) for n in self.shape[1:]))


def write_segment(path: Path, dataset: xr.Dataset, schema: Schema) -> None:
    """Write the dataset of one segment; raises StoreError if it cannot be written."""
    _write(path, dataset, dict(dataset.attrs), schema.chunk)


def write_truth(path: Path, dataset: xr.Dataset, schema: Schema, attrs: Mapping[str, Any]) -> None:
    """Write what a simulator knows to be true, described as the product's schema describes it.

    Parameters
    ----------
    dataset : variables named as in the product, in any precision; its own attributes are kept.

    Raises
    ------
    ValueError
        if a variable is none of the schema's.
    """
    known = {entry.name: entry.attrs for entry in stored(schema)}
    unknown = [str(n) for n in dataset.variables if n not in known and n not in dataset.dims]
    if unknown:
        raise ValueError(f"truth of {', '.join(unknown)}: the product has no such variable")
    described = dataset.copy()
    for name, variable in described.variables.items():
        variable.attrs = {**known.get(str(name), {}), **variable.attrs}
    _write(path, described, {**dataset.attrs, **attrs}, schema.chunk)


def write_dataset(path: Path, dataset: xr.Dataset, attrs: Mapping[str, Any]) -> None:
    """Write any dataset of numbers, times and texts, with `attrs` besides its own."""
    _write(path, dataset, {**dataset.attrs, **attrs}, ROWS)


def _write(path: Path, dataset: xr.Dataset, attrs: Mapping[str, Any], rows: int) -> None:
    encoded = [_encode(str(name), variable) for name, variable in dataset.variables.items()]
    layouts, loose = _with_coordinates(dataset, [layout for layout, _ in encoded])
    if loose:
        attrs = {**attrs, "coordinates": loose}
    with _new_file(path) as file:
        _create(file, layouts, attrs, rows)
        for layout, values in encoded:
            target = file[layout.name]
            for start in range(0, len(values) if values.ndim else 0, step := _rows(target)):
                target[start : start + step] = values[start : start + step]
            if values.ndim == 0:
                target[()] = values


def _encode(name: str, variable: xr.Variable) -> tuple[_Layout, NDArray[Any]]:
    values = np.asarray(variable.values)
    attrs = dict(variable.attrs)
    if values.dtype.kind == "M":
        values = (values.astype("datetime64[ns]") - EPOCH).astype(np.int64)
        attrs |= TIME_ATTRS
    elif values.dtype.kind in "OU":
        values = values.astype(object)
        if not all(isinstance(v, str) for v in values.flat):
            raise TypeError(f"{name} holds objects that are not text")
    elif values.dtype.kind not in "iuf":
        raise TypeError(f"{name} is {values.dtype}, which a netCDF file cannot hold")
    return _Layout(name, tuple(map(str, variable.dims)), values.shape, values.dtype, attrs), values


def _with_coordinates(dataset: xr.Dataset, layouts: list[_Layout]) -> tuple[list[_Layout], str]:
    """Layouts with CF's attribute ``coordinates``, and the names of coordinates that no variable could name."""
    auxiliary = {str(n): set(c.dims) for n, c in dataset.coords.items() if n not in dataset.dims}
    named: set[str] = set()
    described = []
    for layout in layouts:
        names = [n for n, dims in auxiliary.items() if dims <= set(layout.dims)]
        if layout.name in dataset.coords or not names:
            described.append(layout)
            continue
        named.update(names)
        described.append(replace(layout, attrs={**layout.attrs, "coordinates": " ".join(names)}))
    return described, " ".join(n for n in auxiliary if n not in named)


def _create(file: h5py.File, layouts: list[_Layout], attrs: Mapping[str, Any], rows: int) -> None:
    """Dimensions, variables and attributes of a file, without values."""
    with h5netcdf.File(file, "w") as netcdf:
        netcdf.dimensions = {d: n for layout in layouts for d, n in zip(layout.dims, layout.shape, strict=True)}
        for layout in layouts:
            text = layout.dtype.kind == "O"
            chunks = layout.chunks(rows)
            coordinate = layout.dims == (layout.name,)
            variable = netcdf.create_variable(
                layout.name,
                layout.dims,
                h5py.string_dtype() if text else layout.dtype,
                fillvalue=np.nan if layout.dtype.kind == "f" and not coordinate else None,
                chunks=chunks,
                **(FILTER if chunks else {}),
            )
            variable.attrs.update(layout.attrs)
        netcdf.attrs.update({"Conventions": CONVENTIONS, **attrs})


def _rows(dataset: h5py.Dataset) -> int:
    """Records per chunk."""
    return int(dataset.chunks[0]) if dataset.chunks else ROWS


@contextmanager
def _new_file(path: Path) -> Iterator[h5py.File]:
    """A new HDF5 file beside `path`, synced and renamed to it if all went well, removed if not."""
    try:
        with aside(path) as part, h5py.File(part, "w", track_order=True, rdcc_nbytes=0) as file:
            yield file
    except (OSError, RuntimeError) as error:
        # HDF5 puts a report in place of the system's words; closing a file on a full disk it raises a RuntimeError.
        told = re.search(r"errno = (\d+)", str(error))
        number = getattr(error, "errno", None) or (int(told[1]) if told else None)
        if number is None and not isinstance(error, OSError):
            raise
        raise StoreError(f"{path} cannot be written: {os.strerror(number) if number else error}") from error


# Joining


def assemble(path: Path, segments: Sequence[Path], schema: Schema, attrs: Mapping[str, Any]) -> None:
    """Join segment files, in time order, into the file of the product.

    Parameters
    ----------
    segments : files of `write_segment`, at least one; more than one only along the schema's index.
    attrs : attributes of the product. Attributes of the segments that are integers are counts and are added up.

    Raises
    ------
    StoreError
        if the segments do not belong together, naming the variable, or the file cannot be written.
    """
    layouts, lengths = _common_layout(segments, schema.index)
    with _new_file(path) as file:
        _create(file, layouts, {**attrs, **_counts(segments)}, schema.chunk)
        for layout in layouts:
            target = file[layout.name]
            if schema.index in layout.dims:
                _join(target, segments, lengths)
            else:
                target[()] = _the_same(layout.name, segments)


def _common_layout(segments: Sequence[Path], index: str | None) -> tuple[list[_Layout], list[int]]:
    """Layout of the whole, and the number of records of each segment."""
    with readable(segments[0]), h5py.File(segments[0]) as file:
        layouts = [
            _Layout(name, dims_of(part), part.shape, part.dtype, attributes_of(part))
            for name, part in variables_of(file).items()
        ]
    if index is None:
        if len(segments) > 1:
            raise StoreError(f"{segments[1]}: a product without an index is made in one piece")
        return layouts, []
    lengths = []
    for path in segments:
        with readable(path), h5py.File(path) as file:
            for layout in layouts:
                part = file.get(layout.name)
                if part is None or part.shape[1:] != layout.shape[1:] or part.dtype.kind != layout.dtype.kind:
                    raise StoreError(f"{path}: {layout.name} is not as in the first segment")
            if set(file) - {x for layout in layouts for x in (layout.name, *layout.dims)}:
                raise StoreError(f"{path}: holds a variable that the first segment has not")
            lengths.append(len(file["et"]))
    total = sum(lengths)
    along = [replace(la, shape=(total, *la.shape[1:])) if index in la.dims else la for la in layouts]
    return along, lengths


def _counts(segments: Sequence[Path]) -> dict[str, Any]:
    total: dict[str, int] = {}
    for path in segments:
        for name, value in read_attrs(path).items():
            if isinstance(value, np.integer):
                total[name] = total.get(name, 0) + int(value)
    return {name: np.int64(value) for name, value in total.items()}


def _the_same(name: str, segments: Sequence[Path]) -> Any:
    """Value of a variable without the index: that of all segments."""
    value: Any = None
    for number, path in enumerate(segments):
        with readable(path), h5py.File(path) as file:
            own = file[name][()]
        if number == 0:
            value = own
        elif np.asarray(own).tobytes() != np.asarray(value).tobytes() and not np.array_equal(own, value):
            raise StoreError(f"{path}: {name} changes between segments; it needs the dimension of the records")
    return value


def _join(target: h5py.Dataset, segments: Sequence[Path], lengths: Sequence[int]) -> None:
    """Fill one variable from the segments, chunk by chunk."""
    rows, written = _rows(target), 0
    waiting: list[NDArray[Any]] = []
    name = target.name
    for path, length in zip(segments, lengths, strict=True):
        with readable(path), h5py.File(path) as file:
            part, start = file[name], 0
            if not waiting and target.chunks and part.chunks == target.chunks:
                start = length if written + length == len(target) else length // rows * rows
                _copy_chunks(part, target, start, written)
                written += start
            for begin in range(start, length, rows):
                waiting.append(part[begin : min(begin + rows, length)])
                if sum(map(len, waiting)) >= rows:
                    written, waiting = _flush(target, written, waiting, rows)
    if waiting:
        _flush(target, written, waiting, rows)


def _copy_chunks(source: h5py.Dataset, target: h5py.Dataset, stop: int, at: int) -> None:
    """Copy whole chunks, compressed as they are."""
    rest = (0,) * (len(target.shape) - 1)
    for row in range(0, stop, _rows(target)):
        mask, content = source.id.read_direct_chunk((row, *rest))
        target.id.write_direct_chunk((at + row, *rest), content, mask)


def _flush(
    target: h5py.Dataset, written: int, waiting: list[NDArray[Any]], rows: int
) -> tuple[int, list[NDArray[Any]]]:
    """Write one chunk of what waits; returns the records written and what is left."""
    block = np.concatenate(waiting)
    target[written : written + len(block[:rows])] = block[:rows]
    left = block[rows:]
    return written + len(block[:rows]), [left] if len(left) else []


# Reading


def open_product(path: Path, span: Span | None = None) -> xr.Dataset:
    """A product; its large variables are read when they are used, and only what is used of them.

    Parameters
    ----------
    span : only the records with et inside; no others are read.

    Raises
    ------
    StoreError
        if the file is not there, or is none that this project wrote, or is damaged; of large variables when they are
        used, and also if the file has changed since.
    """
    with readable(path), h5py.File(path) as file:
        rows: dict[str, slice] = {}
        if span is not None and "et" in file:
            start, stop = np.searchsorted(file["et"][()], [span.start, span.stop])
            rows[dims_of(file["et"])[0]] = slice(int(start), int(stop))
        variables = {name: variable_of(part, rows) for name, part in variables_of(file).items()}
        attrs = attributes_of(file)
        attrs.pop("coordinates", None)
        return xr.Dataset(variables, attrs=attrs).set_coords(coordinates_of(file))


def read_attrs(path: Path) -> dict[str, Any]:
    """Attributes of the dataset in a file, without reading it; raises StoreError."""
    with readable(path), h5py.File(path) as file:
        return attributes_of(file)


def export(source: Path, target: Path) -> None:
    """Copy a product to `target`: its file is a plain CF file already; raises StoreError."""
    read_attrs(source)
    try:
        with aside(target) as part:
            shutil.copyfile(source, part)
    except OSError as error:
        raise StoreError(f"{target} cannot be written: {error.strerror}") from error
