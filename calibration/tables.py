"""A calibration table: quantities with units, uncertainty, pedigree and source, in a YAML file.

::

    instrument: mag
    name: gain
    title: Gain corrections; sensors in the order ob, ib, axes x, y, z of the sensor
    quantities:
      temperature_coefficient:
        value:                       # or {csv: FILE}, {csv: FILE, column: NAME}, {netcdf: FILE, variable: NAME}
        - [1.4e-05, -9.0e-06, 2.1e-05]
        - [-1.1e-05, 1.7e-05, 8.0e-06]
        dims: [sensor, axis]
        units: 1/K
        uncertainty: 1.0e-06         # one sigma: 0 if exact, null if not known; of any shape that fits the value's
        correlation: random          # the errors of the elements are independent; systematic: they are one and the same
        pedigree: placeholder        # flight, published, derived, placeholder or override
        source: Of the size usual for feedback fluxgates; the flight values are not public.

A dimension has one size in all of a table. A quantity ``time`` along the dimension ``time`` holds the times, ascending,
of those that depend on it: as et in s, or UTC texts, which become et.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

from calibration.files import Array, check_keys, read_array, read_yaml, write_netcdf, write_yaml
from pipeline.clock import parse_utc, utc_to_et
from pipeline.errors import CalibrationError, nearest

PEDIGREES = ("flight", "published", "derived", "placeholder", "override")  # from the most trusted to the least
INLINE = 500  # numbers of an array that are still written into the YAML file itself
_KEYS = ("value", "dims", "units", "uncertainty", "correlation", "pedigree", "source")
Times = str | ArrayLike


@dataclass(frozen=True, eq=False)
class Quantity:
    """One quantity of a table; its arrays are read-only.

    Attributes
    ----------
    value : float64, one axis for each of `dims`.
    uncertainty : one sigma as stated, of a shape that broadcasts to the value's; None: not known.
    correlation : ``random``: errors of the elements are independent; ``systematic``: one error common to all.
    """

    value: Array
    dims: tuple[str, ...]
    units: str
    uncertainty: Array | None
    correlation: Literal["random", "systematic"]
    pedigree: str
    source: str
    name: str = ""

    def __post_init__(self) -> None:
        for field in ("value", "uncertainty"):
            given = getattr(self, field)
            if given is not None:
                array = np.asarray(np.array(given, np.float64) + 0.0)  # no negative zero
                array.flags.writeable = False
                object.__setattr__(self, field, array)
        object.__setattr__(self, "dims", tuple(self.dims))
        problem = self._problem()
        if problem:
            raise CalibrationError(problem)

    def _problem(self) -> str | None:
        if not all(isinstance(dim, str) and dim for dim in self.dims) or len(set(self.dims)) < len(self.dims):
            return f"dims {list(self.dims)}: distinct names are expected"
        if self.value.ndim != len(self.dims):
            return f"value has shape {self.value.shape}, which does not fit dims {list(self.dims)}"
        if not np.isfinite(self.value).all():
            return "value is not finite everywhere"
        for field in ("units", "source"):
            if not isinstance(getattr(self, field), str) or not getattr(self, field).strip():
                return f"{field} is {getattr(self, field)!r}, text is expected"
        if self.pedigree not in PEDIGREES:
            return f"pedigree {self.pedigree!r} is none of {', '.join(PEDIGREES)}"
        if self.correlation not in ("random", "systematic"):
            return f"correlation {self.correlation!r} is neither random nor systematic"
        if self.uncertainty is None:
            return None
        try:
            np.broadcast_to(self.uncertainty, self.value.shape)
        except ValueError:
            return f"uncertainty has shape {self.uncertainty.shape}, value {self.value.shape}"
        if not (np.isfinite(self.uncertainty) & (self.uncertainty >= 0)).all():
            return "uncertainty is negative or not finite"
        return None

    @property
    def sigma(self) -> Array:
        """Uncertainty with the value's shape; raises CalibrationError where it is not known."""
        if self.uncertainty is None:
            raise CalibrationError(f"quantity {self.name}: its uncertainty is not known (source: {self.source})")
        return np.broadcast_to(self.uncertainty, self.value.shape)

    def __reduce__(self) -> tuple[Any, ...]:
        # Pickled arrays come back writable.
        return Quantity, tuple(getattr(self, field.name) for field in dataclasses.fields(self))


@dataclass(frozen=True, eq=False, repr=False)
class Table:
    """A calibration table; immutable. ``table["gain"]`` is a `Quantity`.

    Parameters
    ----------
    instrument, name : what it is called: ``instrument.name``.
    title : one line.
    quantities : by name.
    """

    instrument: str
    name: str
    title: str
    quantities: dict[str, Quantity]

    def __post_init__(self) -> None:
        sizes: dict[str, tuple[int, str]] = {}
        for name, quantity in self.quantities.items():
            for dim, size in zip(quantity.dims, quantity.value.shape, strict=True):
                known, other = sizes.setdefault(dim, (size, name))
                if size != known:
                    raise CalibrationError(f"dimension {dim} has {known} elements in {other}, {size} in {name}")

    @classmethod
    def read(cls, path: str | Path) -> Table:
        """Read a table's file.

        Raises
        ------
        CalibrationError : naming file, quantity and reason.
        """
        path = Path(path)
        document = read_yaml(path)
        check_keys(f"{path}", document, ("instrument", "name", "title", "quantities"))
        given = document["quantities"]
        if not isinstance(given, dict) or not given:
            raise CalibrationError(f"{path}: quantities: a mapping of names to quantities is expected")
        for key in ("instrument", "name", "title"):
            if not isinstance(document[key], str) or not document[key]:
                raise CalibrationError(f"{path}: {key} is {document[key]!r}, text is expected")
        quantities = {str(name): _quantity(path, str(name), entry) for name, entry in given.items()}
        try:
            table = cls(document["instrument"], document["name"], document["title"], quantities)
            if "time" in quantities:
                table._times()
        except CalibrationError as error:
            raise CalibrationError(f"{path}: {error}") from error
        return table

    def write(self, path: str | Path) -> Path:
        """Write the table to a YAML file, arrays of more than 500 numbers to a netCDF file of the same stem beside it.

        Returns
        -------
        The path. Raises CalibrationError if it cannot be written.
        """
        path = Path(path)
        arrays: dict[str, tuple[tuple[str, ...], Array]] = {}

        def placed(name: str, array: Array | None, dims: tuple[str, ...]) -> Any:
            if array is None or array.size <= INLINE:
                return None if array is None else array.tolist()
            arrays[name] = dims, np.broadcast_to(array, self._shape(dims))
            return {"netcdf": path.with_suffix(".nc").name, "variable": name}

        quantities = {
            name: {
                "value": placed(name, q.value, q.dims),
                "dims": list(q.dims),
                "units": q.units,
                "uncertainty": placed(f"{name}_uncertainty", q.uncertainty, q.dims),
                "correlation": q.correlation,
                "pedigree": q.pedigree,
                "source": q.source,
            }
            for name, q in self.quantities.items()
        }
        if arrays:
            write_netcdf(path.with_suffix(".nc"), arrays)
        head = {"instrument": self.instrument, "name": self.name, "title": self.title}
        write_yaml(path, head | {"quantities": quantities})
        return path

    def _shape(self, dims: tuple[str, ...]) -> tuple[int, ...]:
        sizes = {d: n for q in self.quantities.values() for d, n in zip(q.dims, q.value.shape, strict=True)}
        return tuple(sizes[d] for d in dims)

    def __getitem__(self, name: str) -> Quantity:
        try:
            return self.quantities[name]
        except KeyError:
            known = nearest(name, list(self.quantities))
            raise CalibrationError(f"table {self.instrument}.{self.name} has no quantity {name!r}; {known}") from None

    def __repr__(self) -> str:
        lines = [f"<Table {self.instrument}.{self.name} {self.hash[:12]}: {self.title}>"]
        for name, q in self.quantities.items():
            shape = ", ".join(f"{d} {n}" for d, n in zip(q.dims, q.value.shape, strict=True)) or q.value.item()
            lines.append(f"  {name} ({shape}) {q.units}, {q.pedigree}")
        return "\n".join(lines)

    @property
    def values(self) -> Mapping[str, Array]:
        """Values by the name of their quantity."""
        return MappingProxyType({name: q.value for name, q in self.quantities.items()})

    @property
    def pedigrees(self) -> dict[str, int]:
        """How many quantities there are of each pedigree."""
        count = [q.pedigree for q in self.quantities.values()]
        return {pedigree: count.count(pedigree) for pedigree in PEDIGREES if pedigree in count}

    @property
    def worst_pedigree(self) -> str:
        """The least trusted pedigree."""
        return max((q.pedigree for q in self.quantities.values()), key=PEDIGREES.index)

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the parsed content without the title; layout of the file and place of the arrays do not matter."""

        def digest(array: Array) -> list[Any]:
            return [array.shape, hashlib.sha256(np.ascontiguousarray(array, "<f8").tobytes()).hexdigest()]

        payload = {
            name: {
                "value": digest(q.value),
                "dims": q.dims,
                "units": q.units,
                "uncertainty": None if q.uncertainty is None else digest(q.sigma),
                "correlation": q.correlation,
                "pedigree": q.pedigree,
                "source": q.source,
            }
            for name, q in self.quantities.items()
        }
        document = {"instrument": self.instrument, "name": self.name, "quantities": payload}
        text = json.dumps(document, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    # Times

    def _times(self) -> Array:
        """Times of the dimension ``time``, et."""
        times = self["time"]
        if times.dims != ("time",) or times.units != "s" or not (np.diff(times.value) > 0).all():
            raise CalibrationError(
                f"table {self.instrument}.{self.name}, quantity time: ascending, in s, along the dimension time"
            )
        return times.value

    def covers(self, times: Times) -> NDArray[np.bool_]:
        """Where times (et, datetime64 or UTC text) lie between the first and the last of the table."""
        et, known = _et(times), self._times()
        return np.asarray((et >= known[0]) & (et <= known[-1]))

    def at(self, times: Times) -> Table:
        """The table at times: what has the dimension ``time`` is interpolated linearly.

        Before the first time and after the last the end values hold; `covers` says where that is, for the caller to
        flag. Uncertainties are interpolated too, an upper bound where neighbours err independently.

        Parameters
        ----------
        times : et, datetime64 or UTC text; one, or an array in any order. For a single time the dimension drops out.
        """
        et, known = _et(times), self._times()
        if not np.isfinite(et).all() or et.ndim > 1:
            raise CalibrationError(f"table {self.instrument}.{self.name}: times to interpolate at must be finite, 1-d")
        below = np.clip(np.searchsorted(known, et, "right") - 1, 0, max(known.size - 2, 0))
        above = np.minimum(below + 1, known.size - 1)
        step = np.where(above > below, known[above] - known[below], 1.0)
        weight = np.clip((et - known[below]) / step, 0.0, 1.0)

        def interpolated(array: Array, axis: int) -> Array:
            front = np.moveaxis(array, axis, 0)
            w = weight.reshape(et.shape + (1,) * (array.ndim - 1))
            mixed = (1.0 - w) * front[below] + w * front[above]
            return np.moveaxis(mixed, 0, axis) if et.ndim else mixed

        def moved(quantity: Quantity) -> Quantity:
            if "time" not in quantity.dims:
                return quantity
            axis = quantity.dims.index("time")
            sigma = None if quantity.uncertainty is None else interpolated(quantity.sigma, axis)
            dims = quantity.dims if et.ndim else tuple(d for d in quantity.dims if d != "time")
            value = interpolated(quantity.value, axis)
            return dataclasses.replace(quantity, value=value, uncertainty=sigma, dims=dims)

        quantities = {name: moved(q) for name, q in self.quantities.items()}
        quantities["time"] = dataclasses.replace(quantities["time"], value=et)
        return dataclasses.replace(self, quantities=quantities)

    # Variants

    def replace(self, **quantities: Any) -> Table:
        """The table with other values, of pedigree ``override``.

        Parameters
        ----------
        quantities : name to array of the same shape, in the same units, whose uncertainty stays; or to a `Quantity`,
            which brings its own. An array that says its ``units`` (xarray) must have the table's.

        Raises
        ------
        CalibrationError : unknown name (with the nearest), another shape, other units.
        """
        changed = dict(self.quantities)
        for name, new in quantities.items():
            old, where = self[name], f"table {self.instrument}.{self.name}, quantity {name}"
            units = getattr(new, "units", old.units)
            if units != old.units:
                raise CalibrationError(f"{where}: units {units!r}, {old.units!r} is expected")
            sigma = new.uncertainty if isinstance(new, Quantity) else old.uncertainty
            source = f"override of: {old.source.removeprefix('override of: ')}"
            try:
                value = np.array(new.value if isinstance(new, Quantity) else new, np.float64)
                if value.shape != old.value.shape:
                    raise CalibrationError(f"shape {value.shape}, {old.value.shape} is expected")
                changed[name] = dataclasses.replace(
                    old, value=value, uncertainty=sigma, pedigree="override", source=source
                )
            except (CalibrationError, ValueError, TypeError) as error:
                raise CalibrationError(f"{where}: {error}") from error
        return dataclasses.replace(self, quantities=changed)

    def draw(self, rng: Generator) -> Table:
        """One realisation of the table within its uncertainties, normally distributed.

        Each element deviates by itself where errors are ``random``; where they are ``systematic`` all deviate by the
        same number of sigmas. What is exact or of unknown uncertainty stays. What changed has the pedigree
        ``override``.
        """
        drawn = dict(self.quantities)
        for name in sorted(self.quantities):
            quantity = self.quantities[name]
            if quantity.uncertainty is None or not quantity.uncertainty.any():
                continue
            shape = quantity.value.shape if quantity.correlation == "random" else ()
            value = quantity.value + quantity.sigma * rng.standard_normal(shape)
            source = f"one draw within the uncertainty of: {quantity.source}"
            drawn[name] = dataclasses.replace(quantity, value=value, pedigree="override", source=source)
        return dataclasses.replace(self, quantities=drawn)


def _quantity(path: Path, name: str, entry: Any) -> Quantity:
    where = f"{path}, quantity {name}"
    check_keys(where, entry, _KEYS)
    dims = entry["dims"]
    if not isinstance(dims, list):
        raise CalibrationError(f"{where}: dims is {dims!r}, a list of names is expected")
    try:
        value = read_array(entry["value"], len(dims), path.parent, utc=name == "time")
        stated = entry["uncertainty"]
        uncertainty = None if stated is None else read_array(stated, len(dims), path.parent)
        rest = {key: entry[key] for key in ("units", "correlation", "pedigree", "source")}
        return Quantity(value=value, dims=tuple(dims), uncertainty=uncertainty, name=name, **rest)
    except CalibrationError as error:
        raise CalibrationError(f"{where}: {error}") from error


def _et(times: Times) -> Array:
    """Et of times given as et, datetime64 or UTC text."""
    array = np.asarray(times)
    if array.dtype.kind == "U":
        return np.asarray(parse_utc(str(times) if array.ndim == 0 else array.tolist()), np.float64)
    return utc_to_et(array) if array.dtype.kind == "M" else array.astype(np.float64)
