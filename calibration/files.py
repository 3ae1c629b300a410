"""Files of calibration: YAML as its version 1.2 reads it, and arrays in CSV or netCDF files beside it."""

from __future__ import annotations

import math
import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml
from numpy.typing import NDArray

from pipeline.clock import parse_utc
from pipeline.errors import CalibrationError, nearest

Array = NDArray[np.float64]
LIMIT = 1 << 22  # numbers written out in a YAML file; references to references may say more than memory holds
# Attributes by which the stored numbers of a netCDF variable are not its values.
_PACKED = ("scale_factor", "add_offset", "_FillValue", "missing_value")


class _Loader(yaml.CSafeLoader):
    """YAML 1.2 scalars: 1e-6 is a number, 12:30 and 2016-08-27 are text; a key twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        for key, _ in node.value:
            if keys.count(key.value) > 1:
                raise yaml.MarkedYAMLError(None, None, f"{key.value!r} stands there twice", key.start_mark)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {}
_SCALARS = (
    ("tag:yaml.org,2002:null", r"null|~|", ["n", "~", ""]),
    ("tag:yaml.org,2002:bool", r"true|false", ["t", "f"]),
    ("tag:yaml.org,2002:int", r"[-+]?(0|[1-9][0-9]*)", list("-+0123456789")),
    (
        "tag:yaml.org,2002:float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf)|\.(nan|NaN)",
        list("-+.0123456789"),
    ),
)


class _Dumper(yaml.SafeDumper):
    """Quotes text that either version of YAML would read as something else."""


for _tag, _pattern, _first in _SCALARS:
    _Loader.add_implicit_resolver(_tag, re.compile(f"^(?:{_pattern})$"), _first)
    _Dumper.add_implicit_resolver(_tag, re.compile(f"^(?:{_pattern})$"), _first)


def read_yaml(path: Path) -> dict[str, Any]:
    """Document of a file, a mapping; raises CalibrationError."""
    try:
        document = yaml.load(path.read_bytes(), _Loader)
    except OSError as error:
        raise CalibrationError(f"{path}: cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, ValueError) as error:
        raise CalibrationError(f"{path}: {' '.join(str(error).split())}") from error
    if not isinstance(document, dict):
        raise CalibrationError(f"{path}: a mapping is expected, this is {type(document).__name__}")
    return document


def check_keys(where: str, entry: Any, expected: tuple[str, ...]) -> None:
    """See that an entry is a mapping with exactly these keys; raises CalibrationError."""
    if not isinstance(entry, dict):
        raise CalibrationError(f"{where}: a mapping with {', '.join(expected)} is expected")
    missing = [key for key in expected if key not in entry]
    if missing:
        raise CalibrationError(f"{where}: {', '.join(missing)} missing")
    unknown = [str(key) for key in entry if key not in expected]
    if unknown:
        raise CalibrationError(f"{where}: {unknown[0]!r} is not known; {nearest(unknown[0], list(expected))}")


def write_yaml(path: Path, document: dict[str, Any]) -> None:
    """Write a document; readers see the old file or the whole new one."""
    text = yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120, default_flow_style=None)
    write_aside(path, lambda aside: aside.write_text(text, encoding="utf-8"))


def write_aside(path: Path, write: Callable[[Path], Any]) -> None:
    """Let `write` fill a file that then takes the place of `path`; raises CalibrationError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".", dir=path.parent) as folder:
            aside = Path(folder) / path.name
            write(aside)
            with aside.open("rb") as file:
                os.fsync(file.fileno())
            aside.replace(path)
    except OSError as error:
        raise CalibrationError(f"{path}: cannot be written: {error.strerror or error}") from error


def read_array(value: Any, ndim: int, folder: Path, *, utc: bool = False) -> Array:
    """Numbers of a table's quantity.

    Parameters
    ----------
    value : a number or nested lists of numbers, or where an array stands: ``{csv: FILE}`` (one row per line, one or
        two dimensions), ``{csv: FILE, column: NAME}`` (the first line names the columns) or
        ``{netcdf: FILE, variable: NAME}``; files lie in `folder`.
    utc : a list of UTC texts is taken as well, as et.

    Raises
    ------
    CalibrationError : without the name of the table, which the caller knows.
    """
    if not isinstance(value, dict):
        return _numbers(value, utc)
    match value:
        case {"csv": str(file), **more} if set(more) <= {"column"}:
            return _csv(_beside(folder, file), ndim, more.get("column"))
        case {"netcdf": str(file), "variable": str(variable)} if len(value) == 2:
            return _netcdf(_beside(folder, file), variable)
    raise CalibrationError(f"{value!r}: {{csv: FILE}}, with column, or {{netcdf: FILE, variable: NAME}} is expected")


def array_files(path: Path) -> set[str]:
    """Names of the files beside a table's that its arrays stand in; raises CalibrationError."""
    entries = read_yaml(path).get("quantities")
    values = entries.values() if isinstance(entries, dict) else ()
    return {f for e in values if isinstance(e, dict) for k in ("value", "uncertainty") for f in _files_of(e.get(k))}


def _files_of(value: Any) -> list[str]:
    """Names of the files that a quantity's value or uncertainty stands in."""
    return [str(value[k]) for k in ("csv", "netcdf") if k in value] if isinstance(value, dict) else []


def _beside(folder: Path, file: str) -> Path:
    if Path(file).name != file:
        raise CalibrationError(f"{file!r}: arrays stand in a file beside the table")
    return folder / file


def _numbers(value: Any, utc: bool) -> Array:
    shape: list[int] = []
    inner = value
    while isinstance(inner, list) and inner and len(shape) < 32:
        shape.append(len(inner))
        inner = inner[0]
    if math.prod(shape) > LIMIT:
        raise CalibrationError(f"{math.prod(shape)} numbers written out: put them into a netCDF file")
    flat = [value]
    for length in shape:
        if not all(isinstance(part, list) and len(part) == length for part in flat):
            raise CalibrationError("rows of different lengths")
        flat = [number for part in flat for number in part]
    if utc and all(isinstance(number, str) for number in flat):
        try:
            return np.asarray(parse_utc(flat), np.float64).reshape(shape)
        except ValueError as error:
            raise CalibrationError(f"neither numbers nor UTC: {error}") from error
    wrong = [n for n in flat if isinstance(n, bool) or not isinstance(n, int | float)]
    if wrong:
        raise CalibrationError(f"{str(wrong[0])[:80]!r} is no number")
    try:
        return np.array(flat, np.float64).reshape(shape)
    except OverflowError as error:
        raise CalibrationError(str(error)) from error


def _csv(path: Path, ndim: int, column: str | None) -> Array:
    if ndim not in (1, 2) or (column is not None and ndim != 1):
        raise CalibrationError(f"{path.name}: a CSV {'column' if column else 'file'} cannot hold {ndim} dimensions")
    try:
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.split("#")[0].strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise CalibrationError(f"{path} cannot be read: {error}") from error
    if column is None:
        wanted = None
    else:
        names = [name.strip() for name in lines.pop(0).split(",")] if lines else []
        if column not in names:
            raise CalibrationError(f"{path.name} has no column {column!r}; {nearest(column, names)}")
        wanted = names.index(column)
    try:
        if not lines:
            raise ValueError("no numbers")
        axes: Literal[1, 2] = 1 if ndim == 1 else 2
        return np.loadtxt(lines, np.float64, delimiter=",", usecols=wanted, ndmin=axes)
    except ValueError as error:
        raise CalibrationError(f"{path.name}: {error}") from error


def _netcdf(path: Path, variable: str) -> Array:
    import h5py

    try:
        with h5py.File(path) as file:
            stored = file.get(variable)
            if not isinstance(stored, h5py.Dataset) or stored.dtype.kind not in "iuf":
                raise CalibrationError(f"{path.name} has no numeric variable {variable!r}; it has {', '.join(file)}")
            packed = [name for name in _PACKED if name in stored.attrs]
            if packed:
                raise CalibrationError(f"{path.name}: {variable} has {packed[0]}; store the values themselves")
            return np.asarray(stored[()], np.float64)
    except OSError as error:
        raise CalibrationError(f"{path} cannot be read: {error}") from error


def write_netcdf(path: Path, arrays: dict[str, tuple[tuple[str, ...], Array]]) -> None:
    """Write arrays with their dimensions."""

    def write(aside: Path) -> None:
        import h5netcdf

        with h5netcdf.File(aside, "w") as file:
            for name, (dims, array) in arrays.items():
                for dim, size in zip(dims, array.shape, strict=True):
                    if dim not in file.dimensions:
                        file.dimensions[dim] = size
                file.create_variable(name, dims, data=array, compression="gzip", compression_opts=1, shuffle=True)

    write_aside(path, write)
