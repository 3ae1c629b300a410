"""netCDF-4 files read as the HDF5 they are; large variables when they are used.

By h5py, since xarray takes 4 ms for each variable.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import xarray as xr
from numpy.typing import NDArray
from xarray.backends import BackendArray
from xarray.core import indexing

from pipeline.errors import PerijoveError, StoreError
from pipeline.formats.state import file_state

TIME_ATTRS = {"units": "nanoseconds since 2000-01-01 00:00:00", "calendar": "standard"}
EPOCH = np.datetime64("2000-01-01T00:00:00", "ns")
HIDDEN = {"CLASS", "NAME", "DIMENSION_LIST", "REFERENCE_LIST"}
# Bytes of a variable above which it is read when it is used.
LARGE = 8 << 20


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn whatever the libraries raise on a file that is not whole into one error that names it."""
    if not path.is_file():
        raise StoreError(f"{path}: there is no such file")
    try:
        yield
    except PerijoveError:
        raise
    except Exception as error:
        raise StoreError(f"{path}: no product of this project, or damaged ({error})") from error


def variables_of(file: h5py.File) -> dict[str, h5py.Dataset]:
    """The variables of a file by name, without what only stands for a dimension."""
    return {name: part for name, part in file.items() if not _only_a_dimension(part)}


def coordinates_of(file: h5py.File) -> set[str]:
    """Names of the variables that CF's attribute ``coordinates`` says are such."""
    return {name for part in (file, *file.values()) for name in str(part.attrs.get("coordinates", "")).split()}


def _only_a_dimension(part: h5py.Dataset) -> bool:
    return bytes(part.attrs.get("NAME", b"")).startswith(b"This is a netCDF dimension but not a netCDF variable")


def dims_of(part: h5py.Dataset) -> tuple[str, ...]:
    """Names of the dimensions: those of the scales that netCDF attaches, or its own where it is a scale itself."""
    if "DIMENSION_LIST" not in part.attrs:
        return (part.name[1:],)[: part.ndim]
    return tuple(part.file[scales[0]].name[1:] for scales in part.attrs["DIMENSION_LIST"])


def attributes_of(part: h5py.File | h5py.Dataset) -> dict[str, Any]:
    """Attributes without those that HDF5 and netCDF keep for themselves."""
    attrs = {}
    for name in part.attrs:
        if name not in HIDDEN and not name.startswith("_"):
            value = part.attrs[name]
            attrs[str(name)] = value[0] if np.shape(value) == (1,) else value
    return attrs


def described(part: h5py.Dataset) -> tuple[tuple[str, ...], np.dtype[Any], dict[str, Any]]:
    """Dimensions, type in memory (of text: object) and attributes of a variable."""
    attrs = attributes_of(part)
    attrs.pop("coordinates", None)
    if _holds_times(part):
        return dims_of(part), EPOCH.dtype, {name: value for name, value in attrs.items() if name not in TIME_ATTRS}
    return dims_of(part), np.dtype(object) if part.dtype.kind == "O" else part.dtype, attrs


def decode(part: h5py.Dataset, key: tuple[Any, ...]) -> NDArray[Any]:
    """What is meant by the values stored there."""
    values = (part.asstr() if part.dtype.kind == "O" else part)[key]
    return np.asarray(EPOCH + np.asarray(values).astype("timedelta64[ns]") if _holds_times(part) else values)


def _holds_times(part: h5py.Dataset) -> bool:
    return part.dtype.kind == "i" and all(part.attrs.get(name) == value for name, value in TIME_ATTRS.items())


# Variables


def variable_of(part: h5py.Dataset, rows: Mapping[str, slice]) -> xr.Variable:
    """A variable, of these rows along those dimensions: in memory, or if it is large read when it is used."""
    dims, dtype, attrs = described(part)
    key = tuple(rows.get(d, slice(None)) for d in dims)
    lengths = (len(range(*k.indices(n))) for k, n in zip(key, part.shape, strict=True))
    if dtype.kind == "O" or math.prod(lengths) * dtype.itemsize <= LARGE:
        return xr.Variable(dims, decode(part, key), attrs)
    array = indexing.LazilyIndexedArray(FileArray(part, dtype))[indexing.BasicIndexer(key)]
    return xr.Variable(dims, indexing.MemoryCachedArray(indexing.CopyOnWriteArray(array)), attrs)


class FileArray(BackendArray):
    """A variable of a file of which what is used is read when it is used, as xarray's backends give theirs.

    The file is opened for each read: a dataset can be sent to other processes and leaves no file open.
    """

    def __init__(self, part: h5py.Dataset, dtype: np.dtype[Any]) -> None:
        self.path, self.name = Path(part.file.filename).absolute(), part.name
        self.shape, self.dtype = part.shape, dtype
        self.state = file_state(self.path)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.BASIC, self._read)

    def _read(self, key: tuple[Any, ...]) -> NDArray[Any]:
        with readable(self.path):
            if file_state(self.path) != self.state:
                raise StoreError(f"{self.path}: has changed since it was opened")
            with h5py.File(self.path) as file:
                return decode(file[self.name], key)
