"""Labels of any PDS4 bundle, parsed: what they name and where their objects lie."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from lxml import etree
from numpy.typing import NDArray

from pipeline.archive.xml import XSI
from pipeline.errors import InputError

SUFFIXES = (".xml", ".lblx")
MOST_FIELDS = 1_000_000
# Bytes of a number; fields of tables state their own length.
WIDTHS = re.compile(r"(?:IEEE754[LM]SB(?P<ieee>Single|Double)|(?:Uns|S)igned(?:[LM]SB(?P<int>\d)|(?P<byte>Byte))"
                    r"|Complex[LM]SB(?P<complex>\d+))$")  # fmt: skip


@dataclass(frozen=True)
class ObjectEntry:
    """An object of a file: its class, place, and size in bytes (None: the label does not say)."""

    element: etree._Element
    name: str
    kind: str
    offset: int
    size: int | None


@dataclass(frozen=True)
class FileEntry:
    """A file a label describes, with its objects in the order of the label."""

    element: etree._Element
    name: str
    size: int | None
    md5: str | None
    objects: tuple[ObjectEntry, ...]


@dataclass(frozen=True)
class Label:
    """A label as it stands."""

    path: Path
    root: etree._Element

    @classmethod
    def read(cls, path: Path) -> Label:
        """Parse a label; raises InputError naming the line."""
        parser = etree.XMLParser(no_network=True, resolve_entities=False, huge_tree=True)
        try:
            return cls(path, etree.fromstring(path.read_bytes(), parser))
        except etree.XMLSyntaxError as error:
            raise InputError(path, f"no XML: {error.msg}", f"line {error.lineno}") from error
        except OSError as error:
            raise InputError(path, f"cannot be read: {error.strerror}") from error

    def text(self, path: str, element: etree._Element | None = None) -> str:
        """Text of the first element at a path, without line breaks."""
        found = (self.root if element is None else element).findtext(path)
        return " ".join((found or "").split())

    def line(self, element: etree._Element | None) -> int | None:
        """Line of an element."""
        return None if element is None else element.sourceline

    @property
    def kind(self) -> str:
        """``Product_Observational``, ..."""
        return str(etree.QName(self.root).localname)

    @cached_property
    def lid(self) -> str:
        """Logical identifier."""
        return self.text("{*}Identification_Area/{*}logical_identifier")

    @cached_property
    def version(self) -> str:
        """Version of the product."""
        return self.text("{*}Identification_Area/{*}version_id")

    @property
    def lidvid(self) -> str:
        """Identifier with the version."""
        return f"{self.lid}::{self.version}"

    @property
    def models(self) -> list[str]:
        """Addresses of the Schematrons it names."""
        found = []
        node = self.root.getprevious()
        while node is not None:
            if isinstance(node, etree._ProcessingInstruction) and node.target == "xml-model":
                found += re.findall(r'href\s*=\s*["\']([^"\']+)["\']', node.text or "")
            node = node.getprevious()
        return found[::-1]

    @property
    def schemas(self) -> list[str]:
        """Addresses of the schemas it names."""
        return (self.root.get(f"{{{XSI}}}schemaLocation") or "").split()[1::2]

    @cached_property
    def files(self) -> list[FileEntry]:
        """The files it describes."""
        found = []
        for element in self.root.iter("{*}File", "{*}Document_File"):
            area = element.getparent()
            objects = tuple(self._objects(area)) if element.tag.endswith("}File") else ()
            size, md5 = self.text("{*}file_size", element), self.text("{*}md5_checksum", element)
            found.append(
                FileEntry(
                    element,
                    self.text("{*}directory_path_name", element) + self.text("{*}file_name", element),
                    int(size) if size.isdecimal() else None,
                    md5.lower() or None,
                    objects,
                )
            )
        return found

    def _objects(self, area: etree._Element) -> Iterator[ObjectEntry]:
        for element in area:
            offset = self.text("{*}offset", element)
            if offset.isdecimal():
                kind = str(etree.QName(element).localname)
                name = self.text("{*}local_identifier", element) or self.text("{*}name", element) or kind
                yield ObjectEntry(element, name, kind, int(offset), self._size(element, kind))

    def _size(self, element: etree._Element, kind: str) -> int | None:
        stated = self.text("{*}object_length", element)
        if stated.isdecimal():
            return int(stated)
        if kind.startswith("Array"):
            factors = [self.text(".", axis) for axis in element.findall("{*}Axis_Array/{*}elements")]
            width = width_of(self.text("{*}Element_Array/{*}data_type", element))
            factors.append("" if width is None else str(width))
        else:
            length = self.text("{*}Record_Binary/{*}record_length", element)
            length = length or self.text("{*}Record_Character/{*}record_length", element)
            factors = [length, self.text("{*}records", element)]
        return math.prod(map(int, factors)) if all(f.isdecimal() for f in factors) else None


def fields_of(label: Label, record: etree._Element) -> Iterator[tuple[etree._Element, NDArray[np.int64]]]:
    """Fields of a record or group, with the bytes at which each begins: one, or as many as its groups repeat it.

    Raises
    ------
    ValueError
        for what is no number, and for more repetitions than anybody means.
    """
    for column in record:
        kind = etree.QName(column).localname if isinstance(column.tag, str) else ""
        at = label.text("{*}group_location" if kind.startswith("Group_") else "{*}field_location", column)
        first = np.array([int(at or 1) - 1])
        if kind.startswith("Group_Field"):
            count = int(label.text("{*}repetitions", column) or 1)
            if count > MOST_FIELDS:
                raise ValueError(f"{count} repetitions")
            step = int(label.text("{*}group_length", column) or 0) // max(1, count)
            for field, inner in fields_of(label, column):
                yield field, np.add.outer(first + step * np.arange(count), inner).ravel()
        elif kind.startswith("Field_"):
            yield column, first


def width_of(data_type: str) -> int | None:
    """Bytes of a number of that PDS4 type; None if it is no number of fixed width."""
    match = WIDTHS.match(data_type)
    if not match:
        return None
    if match["ieee"]:
        return {"Single": 4, "Double": 8}[match["ieee"]]
    return 1 if match["byte"] else int(match["int"] or match["complex"])


def labels_of(bundle: Path) -> list[Path]:
    """Files that are labels, by their suffix, sorted."""
    return sorted(p for p in bundle.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())


def is_bundle(folder: Path) -> bool:
    """Whether a folder holds the label of a bundle."""
    return any(p.suffix.lower() in SUFFIXES for p in folder.glob("bundle*"))


def bundles_in(folder: Path) -> list[Path]:
    """Bundles in a folder, sorted; what is being written, or was left by a killed export, is hidden and none."""
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".") and is_bundle(p))


def references(label: Label) -> Iterator[tuple[Any, str, str]]:
    """Every reference to another product: element, identifier, and its type."""
    for element in label.root.iter("{*}lid_reference", "{*}lidvid_reference"):
        parent = element.getparent()
        kind = label.text("{*}reference_type", parent) if parent is not None else ""
        yield element, " ".join((element.text or "").split()), kind
