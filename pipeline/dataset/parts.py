"""A dataset as a list of parts that are read piece by piece: what is written elsewhere need not be in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline.dataset.hdf5 import attributes_of, coordinates_of, decode, described, readable, variables_of


@dataclass(frozen=True)
class Part:
    """A variable of a dataset.

    Parameters
    ----------
    dtype : as in memory; text has dtype object.
    read : the records from one to before another along the first dimension; a scalar ignores them.
    rows : records that are stored together; reading whole multiples of them is fastest.
    """

    name: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    attrs: Mapping[str, Any]
    coordinate: bool
    read: Callable[[int, int], NDArray[Any]]
    rows: int = 1

    @property
    def text(self) -> bool:
        """Whether it holds text."""
        return self.dtype.kind in "OU"

    def whole(self) -> NDArray[Any]:
        """All of it."""
        return self.read(0, self.shape[0] if self.shape else 1)


def parts_of(dataset: xr.Dataset) -> list[Part]:
    """Parts of a dataset in memory."""

    def reader(values: NDArray[Any]) -> Callable[[int, int], NDArray[Any]]:
        return lambda start, stop: values[start:stop] if values.ndim else values

    parts = []
    for name, variable in dataset.variables.items():
        values = np.asarray(variable.values)
        if values.dtype.kind == "U":
            values = values.astype(object)
        dims = tuple(map(str, variable.dims))
        coordinate = name in dataset.coords
        parts.append(
            Part(str(name), dims, values.shape, values.dtype, dict(variable.attrs), coordinate, reader(values))
        )
    return parts


@contextmanager
def open_parts(path: Path) -> Iterator[tuple[list[Part], dict[str, Any]]]:
    """Parts and attributes of a product's file, while it is open; raises StoreError.

    Together they are what `netcdf.open_product` returns at once.
    """
    with readable(path), h5py.File(path) as file:
        named = coordinates_of(file)
        attrs = attributes_of(file)
        attrs.pop("coordinates", None)
        parts = [_part(name, part, named) for name, part in variables_of(file).items()]
        yield parts, attrs


def ends(path: Path) -> tuple[float, float] | None:
    """First and last et of a product's file, without looking at anything else; None if it has none."""
    with readable(path), h5py.File(path) as file:
        et = file.get("et")
        return None if et is None or not et.size else (float(et[0]), float(et[-1]))


def _part(name: str, part: h5py.Dataset, named: set[str]) -> Part:
    dims, dtype, attrs = described(part)

    def read(start: int, stop: int) -> NDArray[Any]:
        return decode(part, (slice(start, stop),) if dims else ())

    rows = part.chunks[0] if part.chunks else 1
    return Part(name, dims, part.shape, dtype, attrs, name in named or name in dims, read, rows)
