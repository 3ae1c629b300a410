"""Bringing a dataset into the form its schema declares, and refusing one that does not keep it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline.dataset.context import record_variables
from pipeline.dataset.quality import Flag, Quality, cf_attributes, raised
from pipeline.dataset.schema import Schema, Uncertainty, Variable

# A value may be absent for one of these reasons; under MISSING it must be.
ABSENT = int(Quality.MISSING | Quality.GEOMETRY_MISSING | Quality.INPUT_MISSING)


class SchemaError(ValueError):
    """A dataset that does not keep its schema: a defect of the step that made it."""


@dataclass(frozen=True)
class Stored:
    """A variable as it stands in the file: one of the schema's, a record coordinate, or an uncertainty component.

    Parameters
    ----------
    attrs : CF attributes; those that depend on what else is there are added by `finish`.
    coordinate, optional : whether it is a coordinate, and whether it may be absent.
    of : the variable whose uncertainty it is a component of.
    """

    name: str
    dims: tuple[str, ...]
    dtype: str
    attrs: dict[str, Any]
    coordinate: bool
    optional: bool
    of: str | None = None


def stored(schema: Schema) -> Iterator[Stored]:
    """Everything a file of this schema holds, in order: coordinates, then each variable before its uncertainties."""
    for variable in (*record_variables(schema), *schema.coords):
        yield Stored(variable.name, variable.dims, variable.dtype, _attributes(variable), True, variable.optional)
    for variable in schema.variables:
        yield Stored(variable.name, variable.dims, variable.dtype, _attributes(variable), False, variable.optional)
        for part in variable.uncertainties:
            dtype = variable.dtype if np.dtype(variable.dtype).kind == "f" else "float32"
            name = f"{variable.name}_{part.component}"
            attrs = _component_attributes(variable, part)
            yield Stored(name, part.dims, dtype, attrs, False, variable.optional, of=variable.name)


def _attributes(variable: Variable) -> dict[str, Any]:
    attrs = {
        # xarray writes the units of a datetime itself.
        "units": None if variable.dtype.startswith("datetime64") else variable.units,
        "long_name": variable.long_name,
        "standard_name": variable.standard_name,
        "references": variable.source,
        "comment": variable.comment,
    }
    return {name: value for name, value in attrs.items() if value is not None}


def _component_attributes(variable: Variable, part: Uncertainty) -> dict[str, Any]:
    attrs: dict[str, Any] = {
        "units": "1" if part.relative else variable.units,
        "long_name": f"{part.component} uncertainty (one sigma) of {variable.long_name}",
        "err_corr": part.err_corr,
    }
    if variable.standard_name and not part.relative:
        attrs["standard_name"] = f"{variable.standard_name} standard_error"
    if part.err_scale:
        attrs["err_scale"] = part.err_scale
    if part.relative:
        attrs["err_relative"] = np.int8(1)
        attrs["comment"] = f"a fraction of {variable.name}"
    if part.component == "random":
        attrs["distribution"] = part.distribution
    return attrs


def finish(dataset: xr.Dataset, schema: Schema, flags: Iterable[Flag], attrs: dict[str, Any]) -> xr.Dataset:
    """The dataset in the order, types and attributes of its schema.

    Parameters
    ----------
    dataset : as a step returned it, with the record coordinates. Its own attributes that are integers are counts
        (packets lost, ...), add up over the segments and are kept; others are left out.
    flags : the instrument's own quality bits.
    attrs : attributes to add to the dataset.

    Raises
    ------
    SchemaError
        if a value cannot be stored in the type declared, or a variable carries units that are not the schema's.
    """
    qualities = {v.quality for v in schema.variables}
    meanings = cf_attributes(flags)
    variables: dict[str, xr.Variable] = {}
    for entry in stored(schema):
        if entry.name not in dataset.variables:
            continue
        variable = dataset.variables[entry.name]
        units, given = entry.attrs.get("units"), variable.attrs.get("units")
        if given is not None and units is not None and given != units:
            raise SchemaError(f"{entry.name} has units {given!r}, its schema says {units!r}")
        extra = meanings if entry.name in qualities else {}
        values = _cast(entry.name, variable.values, entry.dtype)
        variables[entry.name] = xr.Variable(variable.dims, values, {**entry.attrs, **extra})
    for declared in schema.variables:
        there = [n for n in declared.ancillary() if n in dataset.variables]
        if there and declared.name in variables:
            variables[declared.name].attrs["ancillary_variables"] = " ".join(there)
    unknown = {str(n): v for n, v in dataset.variables.items() if n not in variables}
    coordinates = [e.name for e in stored(schema) if e.coordinate and e.name in variables]
    counts = {name: value for name, value in dataset.attrs.items() if isinstance(value, int | np.integer)}
    finished = xr.Dataset({**variables, **unknown}, attrs={**counts, **attrs})
    return finished.set_coords(coordinates)


def _cast(name: str, values: NDArray[Any], dtype: str) -> NDArray[Any]:
    """Values in the type declared; raises SchemaError where that would change what they say."""
    target = np.dtype(dtype)
    if dtype == "str" and values.dtype.kind in "OU":
        return np.asarray(values, object)
    if values.dtype == target:
        return values
    if target.kind == "M" or values.dtype.kind not in "biuf":
        raise SchemaError(f"{name} is {values.dtype}, its schema says {dtype}")
    with np.errstate(over="ignore", invalid="ignore"):
        cast = values.astype(target)
        changed = np.isinf(cast) & np.isfinite(values) if target.kind == "f" else cast != values
    if changed.any():
        raise SchemaError(f"{name} holds {values[changed].flat[0]!r}, which {dtype} of its schema cannot hold")
    return cast


def check(dataset: xr.Dataset, schema: Schema, flags: Iterable[Flag]) -> None:
    """Refuse a finished dataset that does not keep its schema.

    Raises
    ------
    SchemaError
        that lists every variable at fault and why.
    """
    problems = list(_layout_problems(dataset, schema))
    if not problems:  # values are compared only where the layout allows it
        problems += _time_problems(dataset, schema)
        problems += _quality_problems(dataset, schema, flags)
        for variable in schema.variables:
            if variable.name in dataset:
                problems += _value_problems(dataset, variable)
    if problems:
        raise SchemaError("the dataset does not keep its schema: " + "; ".join(problems))


def _layout_problems(dataset: xr.Dataset, schema: Schema) -> Iterator[str]:
    expected = {entry.name: entry for entry in stored(schema)}
    for name, entry in expected.items():
        variable = dataset.variables.get(name)
        if variable is None:
            # Components may be left out only with the optional variable they belong to.
            if not entry.optional or entry.of in dataset.variables:
                yield f"{name} is missing"
            continue
        if variable.dims != entry.dims:
            yield f"{name} has dimensions {variable.dims}, not {entry.dims}"
        if schema.index in entry.dims[1:]:
            yield f"{name} has the index {schema.index} not as its first dimension"
        text = variable.dtype.kind in "OU" and entry.dtype == "str"
        if not text and variable.dtype != np.dtype(entry.dtype):
            yield f"{name} is {variable.dtype}, not {entry.dtype}"
        if variable.attrs.get("units") != entry.attrs.get("units"):
            yield f"{name} has units {variable.attrs.get('units')!r}, not {entry.attrs.get('units')!r}"
        if (name in dataset.coords) != entry.coordinate:
            yield f"{name} is {'a' if name in dataset.coords else 'no'} coordinate"
    for unknown in dataset.variables:
        if unknown not in expected:
            yield f"{unknown} is not in the schema"
    for declared in schema.variables:
        if declared.quality and declared.name in dataset and declared.quality not in dataset:
            yield f"{declared.quality}, which qualifies {declared.name}, is missing"
    for dim, size in schema.sizes.items():
        if dataset.sizes.get(dim, size) != size:
            yield f"dimension {dim} has size {dataset.sizes[dim]}, not {size}"


def _time_problems(dataset: xr.Dataset, schema: Schema) -> Iterator[str]:
    if schema.index is None:
        return
    et = dataset["et"].values
    steps = np.diff(et)
    # Framelets of one frame share a time; records along et itself do not.
    bad = ~(steps > 0) if schema.index == "et" else ~(steps >= 0)
    if not np.isfinite(et).all():
        yield "et is not finite"
    elif bad.any():
        at = int(np.flatnonzero(bad)[0])
        yield f"et does not increase from record {at} to {at + 1} ({et[at]:.6f}, {et[at + 1]:.6f})"


def _quality_problems(dataset: xr.Dataset, schema: Schema, flags: Iterable[Flag]) -> Iterator[str]:
    known = np.bitwise_or.reduce([int(q) for q in Quality] + [flag.mask for flag in flags])
    for name in sorted({v.quality for v in schema.variables if v.quality and v.quality in dataset}):
        unknown = int(np.bitwise_or.reduce(dataset[name].values, axis=None)) & ~int(known)
        if unknown:
            bits = [b for b in range(32) if unknown >> b & 1]
            yield f"{name} has bits that nobody declared: {', '.join(map(str, bits))}"


def _value_problems(dataset: xr.Dataset, variable: Variable) -> Iterator[str]:
    value = dataset[variable.name]
    number = value.dtype.kind == "f"
    finite, infinite, nan = (
        value.copy(data=test(value.values) if number else np.full(value.shape, otherwise))
        for test, otherwise in ((np.isfinite, True), (np.isinf, False), (np.isnan, False))
    )
    if infinite.any():
        yield f"{variable.name} is infinite in {_count(infinite)}"
    if variable.quality:
        bits = dataset[variable.quality]
        missing, absent = (bits.copy(data=raised(bits.values, mask)) for mask in (Quality.MISSING, ABSENT))
        if (missing & finite).any():
            why = "is finite" if number else f"is {value.dtype}, which cannot be missing,"
            yield f"{variable.name} {why} in {_count(missing & finite)} flagged missing"
        if (nan & ~absent).any():
            yield f"{variable.name} is NaN in {_count(nan & ~absent)} not flagged missing"
    for part in variable.uncertainties:
        sigma = dataset[f"{variable.name}_{part.component}"]
        bad = ~sigma.copy(data=np.isfinite(sigma.values) & (sigma.values >= 0)) & finite
        if bad.any():
            yield f"{sigma.name} is NaN, infinite or negative in {_count(bad)} whose value is good"


def _count(where: xr.DataArray) -> str:
    return f"{int(where.sum())} of {where.size} samples"
