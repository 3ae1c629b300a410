"""Opening a product of a bundle as an xarray dataset: bytes by the label, what PDS4 has no words for by the text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from lxml import etree
from numpy.typing import NDArray

from pipeline.archive.labels import Label, ObjectEntry, fields_of
from pipeline.archive.layout import TIME_TYPE
from pipeline.archive.supplement import unpacked
from pipeline.errors import InputError

NUMBER = re.compile(
    r"(?P<sign>Signed|Unsigned)(?:(?P<order>[LM])SB(?P<bytes>\d)|Byte)|IEEE754(?P<ieee>[LM])SB(?P<p>Single|Double)"
    r"|Complex(?P<complex>[LM])SB(?P<pair>8|16)"
)


def open_product(path: Path) -> xr.Dataset:
    """The dataset of a product's label.

    A bundle of this project gives back the store's dataset. Of another one variables are named as in the label, along
    dimensions named as its axes and tables; numbers that the label calls missing are NaN, those it scales are scaled.

    Raises
    ------
    InputError
        if the label holds no array or binary table, or its file does not hold what it says.
    """
    label = Label.read(path)
    try:
        return _opened(path, label)
    except (ValueError, TypeError, LookupError, OverflowError, MemoryError) as error:
        raise InputError(path, f"does not fit its data: {error}") from error


def _opened(path: Path, label: Label) -> xr.Dataset:
    variables: dict[str, xr.Variable] = {}
    texts = [
        e.name for e in label.files if e.name.endswith(".json") and e.objects and e.objects[0].name == "attributes"
    ]
    about = _about(path.parent / texts[0]) if texts else {}
    for entry in label.files:
        for one in entry.objects:
            for name, variable in _variables(label, one, path.parent / entry.name, scale=not about):
                # Tables of others may have fields of one name.
                variables[name if name not in variables else f"{one.name}: {name}"] = variable
    if not variables and not about:
        raise InputError(path, "describes no array and no binary table; pds4_tools opens the rest")
    return _restored(path, variables, about) if about else xr.Dataset(variables)


def _about(file: Path) -> dict[str, Any]:
    try:
        document: dict[str, Any] = json.loads(file.read_bytes())
        if not isinstance(document["variables"], dict) or not isinstance(document["attributes"], dict):
            raise TypeError("variables or attributes are no mapping")
    except OSError as error:
        raise InputError(file, f"cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(file, f"is no text of attributes ({error})") from error
    return document


def _variables(label: Label, one: ObjectEntry, file: Path, *, scale: bool) -> Iterator[tuple[str, xr.Variable]]:
    if one.kind.startswith("Array"):
        values = np.frombuffer(_bytes(label, one, file), number_type(label, one.element))
        axes = sorted(one.element.findall("{*}Axis_Array"), key=lambda a: int(label.text("{*}sequence_number", a)))
        shape = tuple(int(label.text("{*}elements", a)) for a in axes)
        names = [label.text("{*}axis_name", a) for a in axes]
        dims = tuple(n if names.count(n) == 1 else f"{n}_{i}" for i, n in enumerate(names))
        attrs = _told(label, one.element, one.element.find("{*}Element_Array"))
        yield (
            label.text("{*}name", one.element) or one.name,
            xr.Variable(dims, _native(label, one.element, values.reshape(shape), scale=scale), attrs),
        )
    elif one.kind == "Table_Binary":
        yield from _fields(label, one, file, scale=scale)


def _bytes(label: Label, one: ObjectEntry, file: Path) -> bytes:
    size = one.size or 0
    try:
        with file.open("rb") as opened:
            opened.seek(one.offset)
            content = opened.read(size)
    except OSError as error:
        raise InputError(file, f"cannot be read: {error.strerror}") from error
    if len(content) != size:
        place = f"byte {one.offset}"
        raise InputError(file, f"ends before {one.name}, which takes {size} bytes ({label.path.name})", place)
    return content


def number_type(label: Label, element: etree._Element) -> np.dtype[Any]:
    """Type of an array's elements or of a field; raises InputError for one that NumPy has not."""
    holder = element.find("{*}Element_Array")
    name = label.text("{*}data_type", element if holder is None else holder)
    match = NUMBER.fullmatch(name)
    if not match:
        length = label.text("{*}field_length", element)
        if length.isdigit():
            return np.dtype(f"S{length}")
        raise InputError(label.path, f"data type {name} is not supported", f"line {element.sourceline}")
    if match["ieee"]:
        return np.dtype(f"{'<' if match['ieee'] == 'L' else '>'}f{4 if match['p'] == 'Single' else 8}")
    if match["complex"]:
        return np.dtype(f"{'<' if match['complex'] == 'L' else '>'}c{match['pair']}")
    kind = "i" if match["sign"] == "Signed" else "u"
    return np.dtype(f"{'>' if match['order'] == 'M' else '<'}{kind}{match['bytes'] or 1}")


def _fields(label: Label, one: ObjectEntry, file: Path, *, scale: bool) -> Iterator[tuple[str, xr.Variable]]:
    record = one.element.find("{*}Record_Binary")
    length, records = int(label.text("{*}record_length", record)), int(label.text("{*}records", one.element))
    rows = np.frombuffer(_bytes(label, one, file), np.uint8).reshape(records, length)
    dim = one.name.removeprefix("table_")
    for field, starts in fields_of(label, record) if record is not None else ():
        dtype = number_type(label, field)
        values = np.ascontiguousarray(rows[:, np.add.outer(starts, np.arange(dtype.itemsize)).ravel()]).view(dtype)
        grouped = field.getparent() is not record
        name = label.text("{*}name", field)
        values = _native(label, field, values if grouped else values[:, 0], scale=scale)
        yield name, xr.Variable((dim, f"{name}_element")[: values.ndim], values, _told(label, field, field))


def _told(label: Label, element: etree._Element, unit: etree._Element | None) -> dict[str, Any]:
    told = {
        "units": label.text("{*}unit", unit) if unit is not None else "",
        "long_name": label.text("{*}description", element),
    }
    return {name: text for name, text in told.items() if text}


def _native(label: Label, element: etree._Element, values: NDArray[Any], *, scale: bool) -> NDArray[Any]:
    """Values in this machine's order: missing numbers NaN, scaled if so, UTC as times, text as text."""
    holder = element.find("{*}Element_Array")
    kind = label.text("{*}data_type", element if holder is None else holder)
    if values.dtype.kind == "S" and not kind.startswith(("ASCII", "UTF8")):
        return values  # packed bits: bytes as they are
    if values.dtype.kind == "S":
        text = np.char.rstrip(values, b" ")
        if kind == TIME_TYPE:
            stripped = np.char.rstrip(text, b"Z").astype(str)
            return np.where(stripped == "", "NaT", stripped).astype("datetime64[ns]")
        try:
            return np.char.decode(text, "utf-8").astype(object)
        except UnicodeDecodeError as error:
            raise InputError(label.path, f"its data hold no {kind} ({error})", f"line {element.sourceline}") from error
    values = values.astype(values.dtype.newbyteorder("="))
    constant = label.text("{*}Special_Constants/{*}missing_constant", element)
    factor, offset = (
        float(label.text(f"{{*}}{n}", element if holder is None else holder) or none)
        for n, none in (("scaling_factor", 1.0), ("value_offset", 0.0))
    )
    scaled = values.astype(np.float64) * factor + offset if scale and (factor, offset) != (1.0, 0.0) else values
    if constant and scaled.dtype.kind == "f":
        scaled[values == values.dtype.type(constant)] = np.nan
    return scaled


def _restored(path: Path, found: dict[str, xr.Variable], about: dict[str, Any]) -> xr.Dataset:
    """The dataset as it was: dimensions, types and attributes as the text says, values as the label says."""
    variables: dict[str, xr.Variable] = {}
    coordinates = []
    for name, told in about["variables"].items():
        dims, shape, text = tuple(told["dims"]), tuple(told["shape"]), told["dtype"] == "str"
        dtype = np.dtype(object) if text else np.dtype(told["dtype"])
        if 0 in shape:
            values = np.empty(shape, dtype)
        elif name not in found:
            raise InputError(path, f"describes no {name}, which the text beside it names")
        else:
            values = found[name].values.reshape(shape)
            if values.dtype.kind != ("u" if dtype.kind == "b" else dtype.kind):
                raise InputError(path, f"{name} is stored as {values.dtype}, the text beside it says {dtype}")
            values = values.astype(dtype, copy=False)
        plain = str(values[()]) if text and not shape else values
        variables[name] = xr.Variable(dims, plain, unpacked(told["attributes"]))
        if told["coordinate"]:
            coordinates.append(name)
    attrs = unpacked(about["attributes"])
    return xr.Dataset(variables, attrs=attrs).set_coords(coordinates)
