"""Checking what objects hold: texts are texts, records end as the label says, values are of their type and range."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lxml import etree
from numpy.typing import NDArray

from pipeline.archive.findings import Finding
from pipeline.archive.labels import MOST_FIELDS, Label, ObjectEntry, fields_of
from pipeline.archive.schemas import Schemas

ENDS = {"carriage-return line-feed": b"\r\n", "line-feed": b"\n"}
SEPARATORS = {"comma": ",", "semicolon": ";", "horizontal tab": "\t", "vertical bar": "|"}
TEXTS = {"7-Bit ASCII Text": "ascii", "UTF-8 Text": "utf-8", "PDS3": "ascii"}
FORMAT = re.compile(r"%[+-]?(\d+)(?:\.(\d+))?([doxfeEs])")
# Records whose values are in memory at once.
STEP = 65536

# A field and its values, in order: of one record, or of many.
Column = tuple[etree._Element, list[str]]


def check_contents(label: Label, schemas: Schemas) -> Iterator[Finding]:
    """All texts and tables of a label; what is no file, or too short, is told elsewhere."""
    for entry in label.files:
        path = label.path.parent / entry.name
        if not path.is_file():
            continue
        for one in entry.objects:
            end = one.offset + (one.size if one.size is not None else path.stat().st_size - one.offset)
            if end > path.stat().st_size:
                continue
            try:
                yield from _object(label, one, path, end, schemas)
            except (ValueError, LookupError, csv.Error) as error:
                text = f"{one.kind} {one.name} cannot be understood: {error}"
                yield Finding(label.path, label.line(one.element), "definition", text, "correct its numbers")


def _object(label: Label, one: ObjectEntry, path: Path, end: int, schemas: Schemas) -> Iterator[Finding]:
    if one.kind == "Stream_Text":
        yield from _text(label, one, path, end)
    elif one.kind in ("Table_Delimited", "Inventory"):
        yield from _delimited(label, one, path, end, schemas)
    elif one.kind in ("Table_Character", "Table_Binary"):
        yield from _fixed(label, one, path, schemas)


def _bytes(path: Path, start: int, end: int) -> bytes:
    with path.open("rb") as file:
        file.seek(start)
        return file.read(end - start)


def _text(label: Label, one: ObjectEntry, path: Path, end: int) -> Iterator[Finding]:
    standard = label.text("{*}parsing_standard_id", one.element)
    content = _bytes(path, one.offset, end)
    try:
        content.decode(TEXTS.get(standard, "utf-8"))
    except UnicodeDecodeError as error:
        text = f"is no {standard}: byte {content[error.start]:#x}"
        yield Finding(path, content.count(b"\n", 0, error.start) + 1, "text", text, "correct parsing_standard_id")
    yield from _ends(label, one, path, content)


def _ends(label: Label, one: ObjectEntry, path: Path, content: bytes) -> Iterator[Finding]:
    """Lines end as the label says."""
    stated = label.text("{*}record_delimiter", one.element) or "Carriage-Return Line-Feed"
    end = ENDS.get(stated.lower())
    if end is None:
        return  # the dictionary has no such delimiter
    bad = re.search(rb"(?<!\r)\n|\r(?!\n)" if end == b"\r\n" else rb"\r", content)
    if bad or (one.kind != "Stream_Text" and content and not content.endswith(end)):
        at = bad.start() if bad else len(content)
        text = f"a line does not end in {stated}"
        yield Finding(path, content.count(b"\n", 0, at) + 1, "record-end", text, "correct the file or record_delimiter")


def _delimited(label: Label, one: ObjectEntry, path: Path, end: int, schemas: Schemas) -> Iterator[Finding]:
    content = _bytes(path, one.offset, end)
    yield from _ends(label, one, path, content)
    rows = re.split(r"\r?\n", content.decode("utf-8", "replace"))
    rows = rows[:-1] if rows and not rows[-1] else rows
    stated = label.text("{*}records", one.element)
    if stated != str(len(rows)):
        text = f"records is {stated}, {path.name} has {len(rows)}"
        line = label.line(one.element.find("{*}records"))
        yield Finding(label.path, line, "records", text, "correct the label, or restore the file")
    record = one.element.find("{*}Record_Delimited")
    if record is None:
        return
    longest = label.text("{*}maximum_record_length", record)
    fields = _repeated(label, record)
    separator = SEPARATORS.get(label.text("{*}field_delimiter", one.element).lower(), ",")
    split = list(csv.reader(rows, delimiter=separator))
    for number, (row, values) in enumerate(zip(rows, split, strict=False), 1):
        if len(values) != len(fields):
            text = f"record {number} has {len(values)} fields, the label describes {len(fields)}"
            yield Finding(path, number, "record", text, "correct the file or the label")
        if longest.isdecimal() and len(row.encode()) + 2 > int(longest):
            text = f"record {number} has {len(row.encode()) + 2} bytes, more than {longest}"
            yield Finding(path, number, "record", text, "correct maximum_record_length")
    good = [values for values in split if len(values) == len(fields)]
    for at, field in enumerate(fields):
        column = [values[at] for values in good]
        widest = label.text("{*}maximum_field_length", field)
        for number, value in enumerate(column, 1):
            if widest.isdecimal() and len(value.encode()) > int(widest):
                text = f"{label.text('{*}name', field)} has {len(value.encode())} bytes, more than {widest}"
                yield Finding(path, number, "field", text, "correct maximum_field_length")
        yield from _values(label, field, column, 1, schemas)


def _repeated(label: Label, record: etree._Element) -> list[etree._Element]:
    """The fields of a delimited record, those of a group as often as it repeats them."""
    found: list[etree._Element] = []
    for column in record:
        kind = etree.QName(column).localname if isinstance(column.tag, str) else ""
        if kind == "Group_Field_Delimited":
            count = int(label.text("{*}repetitions", column) or 1)
            if count > MOST_FIELDS:
                raise ValueError(f"{count} repetitions")
            found += _repeated(label, column) * count
        elif kind == "Field_Delimited":
            found.append(column)
    return found


def _fixed(label: Label, one: ObjectEntry, path: Path, schemas: Schemas) -> Iterator[Finding]:
    """A table whose records have one length: how they end, and its fields of text."""
    characters = one.kind == "Table_Character"
    record = one.element.find("{*}Record_Character" if characters else "{*}Record_Binary")
    if record is None or not one.size:
        return
    length = int(label.text("{*}record_length", record))
    fields = [
        (field, starts, int(label.text("{*}field_length", field) or 0))
        for field, starts in fields_of(label, record)
        if label.text("{*}data_type", field).startswith(("ASCII", "UTF8"))
    ]
    rows = np.memmap(path, np.uint8, "r", one.offset, (one.size // length, length)) if fields or characters else None
    if rows is None or any(starts.max(initial=0) + width > length for _, starts, width in fields):
        return
    end = ENDS.get((label.text("{*}record_delimiter", one.element) or "Carriage-Return Line-Feed").lower())
    for first in range(0, len(rows), STEP):
        block = np.asarray(rows[first : first + STEP])
        if characters and end is not None:
            bad = np.flatnonzero((block[:, -len(end) :] != np.frombuffer(end, np.uint8)).any(axis=1))
            if len(bad):
                text = f"record {first + bad[0] + 1} does not end at its byte {length} with the record delimiter"
                yield Finding(path, int(first + bad[0] + 1), "record-end", text, "correct record_length or the file")
                return
        for field, starts, width in fields:
            for start in starts:
                column = np.ascontiguousarray(block[:, start : start + width]).view(f"S{width}")[:, 0]
                texts = [value.decode("utf-8", "replace") for value in column.tolist()]
                yield from _values(label, field, texts, first + 1, schemas)


def _values(
    label: Label, field: etree._Element, values: Sequence[str], first: int, schemas: Schemas
) -> Iterator[Finding]:
    """The first value that is none of the field's type or format; blank ones and special constants are left out."""
    name, kind = label.text("{*}name", field), label.text("{*}data_type", field)
    special = {label.text(".", e) for e in field.iterfind("{*}Special_Constants/*")}
    told = [(n, v.strip()) for n, v in enumerate(values, first) if v.strip() and v.strip() not in special]
    bad = schemas.first_wrong(label.schemas, kind, [v for _, v in told])
    if bad is not None:
        number, value = told[bad]
        text = f"{name} of record {number} is {value[:60]!r}, which is no {kind}"
        yield Finding(label.path, label.line(field), "value", text, "correct data_type or the file")
    stated = label.text("{*}validation_format", field) or label.text("{*}field_format", field)
    pattern = _pattern(stated)
    if pattern is not None and not kind.startswith("UTF8"):
        for number, value in told:
            if not pattern.fullmatch(value):
                text = f"{name} of record {number} is {value[:60]!r}, not in the format {stated}"
                yield Finding(label.path, label.line(field), "format", text, "correct the format or the file")
                return


def _pattern(stated: str) -> re.Pattern[str] | None:
    """What values of a format look like, blanks at either end aside; None if there is no such format."""
    match = FORMAT.fullmatch(stated)
    if match is None:
        return None
    width, digits, kind = int(match[1]), match[2], match[3]
    fraction = r"(?:\.\d*)?" if digits is None else rf"\.\d{{{digits}}}" if int(digits) else r"\.?"
    shapes = {
        "d": r"[+-]?\d+",
        "o": "[0-7]+",
        "x": "[0-9A-Fa-f]+",
        "f": rf"[+-]?\d*{fraction}",
        "e": rf"[+-]?\d{fraction}[eE][+-]?\d+",
        "s": ".+",
    }
    return re.compile(rf"(?=.{{1,{width}}}\Z){shapes[kind.lower()]}")


def out_of_range(label: Label, element: etree._Element, data: NDArray[Any]) -> Iterator[Finding]:
    """Numbers outside the range that an array or field states, special constants aside."""
    limits = {}
    for path, name in (
        ("{*}Special_Constants/{*}valid_minimum", "low"), ("{*}Special_Constants/{*}valid_maximum", "high"),
        ("{*}Object_Statistics/{*}minimum", "low"), ("{*}Object_Statistics/{*}maximum", "high"),
        ("{*}Field_Statistics/{*}minimum", "low"), ("{*}Field_Statistics/{*}maximum", "high"),
    ):  # fmt: skip
        try:
            limits[path] = (name, float(label.text(path, element)))
        except ValueError:
            continue
    if not limits or data.dtype.kind not in "iuf":
        return
    keep = np.isfinite(data)
    for constant in element.iterfind("{*}Special_Constants/*"):
        try:
            keep &= data != data.dtype.type(label.text(".", constant))
        except (ValueError, OverflowError):
            continue
    for path, (name, limit) in limits.items():
        beyond = keep & ((data < limit) if name == "low" else (data > limit))
        if beyond.any():
            at = tuple(int(i) + 1 for i in np.argwhere(beyond)[0])
            text = f"element {at} is {data[beyond][0]}, {path.rpartition('}')[2]} is {limit:g}"
            yield Finding(label.path, label.line(element.find(path)), "range", text, "correct the limit or the file")
