"""Checking what a label says of itself: identifiers it refers to, where fields lie in their records, its versions."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from lxml import etree

from pipeline.archive.findings import Finding
from pipeline.archive.labels import Label, fields_of, width_of

# Classes that are found by the beginning of the name of their label.
NAMED = {"Product_Bundle": "bundle", "Product_Collection": "collection"}


def check_definitions(label: Label) -> Iterator[Finding]:
    """Everything that one label is enough for."""
    yield from _of_the_label(label)
    yield from _local_identifiers(label)
    for record in label.root.iter("{*}Record_Binary", "{*}Record_Character"):
        try:
            yield from _fields(label, record)
        except ValueError as error:
            text = f"the record cannot be understood: {error}"
            yield Finding(label.path, label.line(record), "definition", text, "correct its numbers")


def _of_the_label(label: Label) -> Iterator[Finding]:
    encoding = label.root.getroottree().docinfo.encoding or "UTF-8"
    if encoding.upper() != "UTF-8":
        yield Finding(label.path, 1, "encoding", f"the label is written in {encoding}", "write it in UTF-8")
    wanted = NAMED.get(label.kind)
    for kind, begins in NAMED.items():
        if label.path.name.lower().startswith(begins) != (wanted == begins):
            text = f"is a {label.kind}, but is called {label.path.name}"
            yield Finding(label.path, None, "label-name", text, f"labels of {kind}, and only they, begin with {begins}")
    newest = label.root.find("{*}Identification_Area/{*}Modification_History/{*}Modification_Detail/{*}version_id")
    versions = [label.text(".", e) for e in label.root.iterfind(".//{*}Modification_Detail/{*}version_id")]
    if versions and label.version not in versions:
        text = f"version_id is {label.version}, the modification history tells of {', '.join(versions)}"
        yield Finding(label.path, label.line(newest), "version", text, "add an entry for this version")


def _local_identifiers(label: Label) -> Iterator[Finding]:
    known: set[str] = set()
    for element in label.root.iter("{*}local_identifier"):
        name = label.text(".", element)
        if name in known:
            text = f"local identifier {name} is used twice"
            yield Finding(label.path, label.line(element), "local-identifier", text, "give one of them another")
        known.add(name)
    for element in label.root.iter("{*}local_identifier_reference"):
        name = label.text(".", element)
        if name not in known:
            text = f"refers to {name}, which no object of the label is called"
            yield Finding(label.path, label.line(element), "local-identifier", text, "correct it, or name the object")


def _fields(label: Label, record: etree._Element) -> Iterator[Finding]:
    """Fields lie in the record, one after the other, and are as long as their type."""
    stated = label.text("{*}record_length", record)
    length = int(stated) if stated.isdecimal() else None
    for group in record.iter("{*}Group_Field_Binary", "{*}Group_Field_Character"):
        size, count = (label.text(f"{{*}}{n}", group) for n in ("group_length", "repetitions"))
        if size.isdecimal() and count.isdecimal() and int(size) % max(1, int(count)):
            text = f"group of {size} bytes does not divide into {count} repetitions"
            yield Finding(label.path, label.line(group), "field", text, "correct group_length or repetitions")
    spans: list[tuple[int, int, str]] = []
    for field, starts in fields_of(label, record):
        name, size = label.text("{*}name", field), label.text("{*}field_length", field)
        if not size.isdecimal() or not len(starts):
            continue
        width = width_of(label.text("{*}data_type", field))
        if width is not None and width != int(size):
            text = f"{name} has {size} bytes, its data_type has {width}"
            yield Finding(label.path, label.line(field), "field", text, "correct field_length or data_type")
        end = int(starts.max()) + int(size)
        if starts.min() < 0 or (length is not None and end > length):
            text = f"{name} ends at byte {end} of a record of {stated}"
            yield Finding(label.path, label.line(field), "field", text, "correct its location or record_length")
        for start in starts:
            spans.append((int(start), int(start) + int(size), name))
    spans.sort()
    ends = np.array([end for _, end, _ in spans])
    for at in np.flatnonzero(np.array([start for start, _, _ in spans[1:]]) < ends[:-1]) if spans else ():
        text = f"{spans[at][2]} and {spans[at + 1][2]} share bytes of the record"
        yield Finding(label.path, label.line(record), "field", text, "correct their locations and lengths")
