"""Making label documents: elements of the dictionaries, and the bytes of a label."""

from __future__ import annotations

import re
import textwrap
from typing import Any

from lxml import etree

# The information model, and the dictionaries that fit it: prefix to (namespace, file name of schema and Schematron).
MODEL = "1.25.0.0"
DICTIONARIES = {
    "pds": ("http://pds.nasa.gov/pds4/pds/v1", "PDS4_PDS_1P00"),
    "disp": ("http://pds.nasa.gov/pds4/disp/v1", "PDS4_DISP_1P00_1510"),
    "geom": ("http://pds.nasa.gov/pds4/geom/v1", "PDS4_GEOM_1P00_19B0"),
    "img": ("http://pds.nasa.gov/pds4/img/v1", "PDS4_IMG_1P00_1930"),
    "particle": ("http://pds.nasa.gov/pds4/particle/v2", "PDS4_PARTICLE_1P00_2030"),
    "proc": ("http://pds.nasa.gov/pds4/proc/v1", "PDS4_PROC_1P00_1500"),
    "sp": ("http://pds.nasa.gov/pds4/sp/v1", "PDS4_SP_1P00_1330"),
}
XSI = "http://www.w3.org/2001/XMLSchema-instance"
WIDTH = 110
Element = Any


def _address(prefix: str) -> str:
    namespace, name = DICTIONARIES[prefix]
    return f"{namespace.replace('http://', 'https://')}/{name}"


def make(tag: str, *content: Element | str | float | None, **attributes: str) -> Element:
    """An element of the core dictionary, or with ``prefix:`` of another one.

    Parameters
    ----------
    content : children and text; None stands for nothing.
    """
    prefix, _, name = tag.rpartition(":")
    element = etree.Element(f"{{{DICTIONARIES[prefix or 'pds'][0]}}}{name}")
    for attribute, value in attributes.items():
        element.set(attribute, value)
    for child in content:
        if child is None:
            continue
        if isinstance(child, str | int | float):
            element.text = legal(str(child))
        else:
            element.append(child)
    return element


def legal(text: str) -> str:
    """Text without the control characters that XML does not allow."""
    return re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]", " ", text)


def short(text: str, limit: int = 255) -> str:
    """One line of at most `limit` bytes."""
    line = " ".join(text.split())
    while len(line.encode()) > limit:
        line = line[:-1]
    return line


def number(value: float) -> str:
    """A number in the shortest decimal that reads back exactly, in its own precision."""
    text = repr(float(str(value)))
    return text[:-2] if text.endswith(".0") else text


def document(root: Element) -> bytes:
    """A label: its models, its schemas, and every element on a line of its own."""
    spaces = {_namespace(e) for e in root.iter()}
    used = [p for p, (namespace, _) in DICTIONARIES.items() if namespace in spaces]
    top = etree.Element(root.tag, nsmap={None if p == "pds" else p: DICTIONARIES[p][0] for p in used} | {"xsi": XSI})
    locations = [f"{DICTIONARIES[p][0]} {_address(p)}.xsd" for p in used]
    top.set(f"{{{XSI}}}schemaLocation", " ".join(locations))
    top.extend(root)
    etree.cleanup_namespaces(top, keep_ns_prefixes=[p for p in used if p != "pds"])
    for element in top.iter():
        if element.text and len(element.text) > WIDTH and "\n" not in element.text:
            depth = 2 * (len(list(element.iterancestors())) + 1)
            if " " in element.text and _prose(element):
                lines = textwrap.wrap(element.text, WIDTH - depth, break_long_words=False, break_on_hyphens=False)
                element.text = "".join(f"\n{' ' * depth}{line}" for line in lines) + f"\n{' ' * (depth - 2)}"
    body = etree.tostring(top, encoding="unicode", pretty_print=True)
    models = "".join(
        f'<?xml-model href="{_address(p)}.sch" schematypens="http://purl.oclc.org/dsdl/schematron"?>\n' for p in used
    )
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{models}{body}'.encode()


def _namespace(element: Element) -> str | None:
    return etree.QName(element).namespace if isinstance(element.tag, str) else None


def _prose(element: Element) -> bool:
    """Whether line ends in the text mean nothing."""
    return etree.QName(element).localname in ("description", "comment", "reference_text")
