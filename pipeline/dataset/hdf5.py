"""What netCDF-4 says in terms of HDF5, read by h5py: xarray takes 4 ms for each variable."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import xarray as xr

from pipeline.errors import PerijoveError, StoreError

TIME_ATTRS = {"units": "nanoseconds since 2000-01-01 00:00:00", "calendar": "standard"}
EPOCH = np.datetime64("2000-01-01T00:00:00", "ns")
HIDDEN = {"CLASS", "NAME", "DIMENSION_LIST", "REFERENCE_LIST"}


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


def decode(part: h5py.Dataset, rows: Mapping[str, slice]) -> xr.Variable:
    """A variable in memory, of these rows along those dimensions."""
    dims = dims_of(part)
    values = (part.asstr() if part.dtype.kind == "O" else part)[tuple(rows.get(d, slice(None)) for d in dims)]
    attrs = attributes_of(part)
    attrs.pop("coordinates", None)
    if attrs.items() >= TIME_ATTRS.items():
        values = EPOCH + np.asarray(values).astype("timedelta64[ns]")
        attrs = {name: value for name, value in attrs.items() if name not in TIME_ATTRS}
    return xr.Variable(dims, values, attrs)
