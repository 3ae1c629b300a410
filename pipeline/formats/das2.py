"""das2 streams, version 2.2: text headers, and records as the headers describe them (das2 ICD, University of Iowa).

A stream is a row of chunks. A header chunk is ``[xx]`` and six digits, its length, and XML; a data chunk is ``:xx:``
and one record of the packet described by header ``xx``: the planes in order, each of fixed width.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import xarray as xr
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from pipeline.clock import et_to_utc, parse_utc
from pipeline.errors import InputError

FILL = -1.0e31  # the ICD's value for no data; less than it, too, is no value
_BINARY = {"sun_real4": ">f4", "sun_real8": ">f8", "little_endian_real4": "<f4", "little_endian_real8": "<f8"}
# Nanoseconds of one unit and the epoch; das2 time counts have no leap seconds.
_EPOCHS = {
    "us2000": (1e3, "2000-01-01"),
    "t2000": (1e9, "2000-01-01"),
    "t1970": (1e9, "1970-01-01"),
    "ms1970": (1e6, "1970-01-01"),
    "mj1958": (86400e9, "1958-01-01"),
}
_PREFIXED = re.compile(r"(\s)([A-Za-z]+):([A-Za-z_]\w*\s*=\s*\")")


@dataclass(frozen=True)
class Plane:
    """One plane of a packet: `kind` x, y, z or yscan; `items` values of `width` bytes."""

    kind: str
    name: str
    type: str
    width: int
    items: int
    units: str
    tags: NDArray[np.float64]
    tag_units: str
    attrs: dict[str, Any]

    @property
    def size(self) -> int:
        """Bytes in a record."""
        return self.width * self.items


def read_das2(path: str | Path) -> list[xr.Dataset]:
    """Read a das2 stream.

    Returns
    -------
    One dataset per packet type, in the order of their headers: dimension ``time`` (``x`` if x is no time) and, for
    each yscan plane, ``<plane>_y`` with its tags; NaN where the stream has fill. Units are as written; the properties
    of stream, packet and plane are attributes, ``bytes_skipped`` is what was cut off at the end.

    Raises
    ------
    InputError : unreadable, no das2 stream of version 2.2, compressed, a packet without header, a malformed record.
    """
    path = Path(path)
    try:
        data = np.fromfile(path, np.uint8)
    except OSError as error:
        raise InputError(path, f"cannot be read: {error.strerror or error}") from error
    return _Stream(path, data).datasets()


class _Stream:
    def __init__(self, path: Path, data: NDArray[np.uint8]) -> None:
        self.path, self.data = path, data
        self.attrs: dict[str, Any] = {}
        self.packets: dict[bytes, tuple[list[Plane], dict[str, Any]]] = {}
        self.records: dict[bytes, list[NDArray[np.int64]]] = {}
        self.closed: list[xr.Dataset] = []
        self.skipped = 0

    def datasets(self) -> list[xr.Dataset]:
        text, here = self.data.tobytes(), 0
        while here < len(text):
            if text[here : here + 1].isspace():
                here += 1
            elif text[here : here + 1] == b"[":
                here = self.header(text, here)
            elif text[here : here + 1] == b":" == text[here + 3 : here + 4]:
                here = self.run(text, here)
            else:
                known = (
                    "das2.3 tags are not read here" if text[here : here + 1] == b"|" else "neither header nor record"
                )
                raise InputError(self.path, f"{text[here : here + 12]!r}: {known}", f"byte {here}")
        if not self.attrs.get("_stream"):
            raise InputError(self.path, "no das2 stream: it does not begin with a stream header")
        return [*self.closed, *(self.dataset(tag) for tag in self.packets)]

    def header(self, text: bytes, here: int) -> int:
        """Take in one header chunk and return where the next begins."""
        head = re.match(rb"\[(\w\w)\](\d{6})", text[here : here + 10])
        if head is None or here + 10 + int(head[2]) > len(text):
            raise InputError(self.path, f"{text[here : here + 10]!r}: no header, or cut short", f"byte {here}")
        tag, end = head[1], here + 10 + int(head[2])
        xml = _PREFIXED.sub(r"\1\2.\3", text[here + 10 : end].decode("utf-8", "replace"))
        if "<!" in re.sub(r"<!--.*?-->", "", xml, flags=re.DOTALL):
            raise InputError(self.path, "declarations are not allowed in headers", f"byte {here}")
        try:
            element = ElementTree.fromstring(xml.strip())
        except ElementTree.ParseError as error:
            raise InputError(self.path, f"header [{tag.decode()}]: {error}", f"byte {here}") from error
        if element.tag == "stream":
            if element.get("compression", "none") != "none":
                raise InputError(self.path, f"compression {element.get('compression')} is not read", f"byte {here}")
            self.attrs = {**_properties(element), "_stream": True}
        elif element.tag == "packet":
            if tag in self.packets:
                self.closed.append(self.dataset(tag))
            self.packets[tag] = self.planes(element, here), _properties(element)
            self.records[tag] = []
        elif element.tag == "exception":
            raise InputError(self.path, f"the stream ends in an exception: {element.attrib}", f"byte {here}")
        return end

    def planes(self, packet: ElementTree.Element, here: int) -> list[Plane]:
        planes: list[Plane] = []
        for element in packet:
            if element.tag == "properties":
                continue
            match = re.fullmatch(r"(ascii|time)(\d{1,3})|(\w+)", element.get("type", ""))
            coded = _BINARY.get(element.get("type", ""))
            known = element.tag in ("x", "y", "z", "yscan") and match and (match[1] or coded)
            if not known or match is None:
                raise InputError(self.path, f"plane <{element.tag} type={element.get('type')!r}>", f"byte {here}")
            width = np.dtype(coded).itemsize if coded else int(match[2])
            room = (len(self.data) - sum(p.size for p in planes)) // max(width, 1)
            if width < 1 or room < 1:
                raise InputError(self.path, f"plane <{element.tag}> of {width} bytes", f"byte {here}")
            tags = self.tags(element, here, room) if element.tag == "yscan" else np.zeros(1)
            units = element.get("zUnits" if element.tag == "yscan" else "units", "")
            name = element.get("name") or ("data" if element.tag == "yscan" else element.tag)
            names = [p.name for p in planes]
            name = name if name not in names else f"{name}_{sum(n.startswith(name) for n in names) + 1}"
            kind, attrs = element.get("type", ""), _properties(element)
            unit = element.get("yUnits", "")
            planes.append(Plane(element.tag, name, kind, width, len(tags), units, tags, unit, attrs))
        if not planes or planes[0].kind != "x" or sum(p.kind == "x" for p in planes) != 1:
            raise InputError(self.path, "a packet begins with its one x plane", f"byte {here}")
        return planes

    def tags(self, element: ElementTree.Element, here: int, room: int) -> NDArray[np.float64]:
        """Return the y tags of a yscan: listed, or at an interval."""
        try:
            items = int(element.get("nitems", ""))
            if not 1 <= items <= room:
                raise ValueError(f"nitems is {items}, there is room for {room}")
            listed = element.get("yTags")
            if listed is None:
                step, first = float(element.get("yTagInterval", "1")), float(element.get("yTagMin", "0"))
                return first + step * np.arange(items, dtype=np.float64)
            tags = np.array([float(tag) for tag in listed.split(",")], np.float64)
            if len(tags) != items:
                raise ValueError(f"{len(tags)} yTags for nitems {items}")
        except ValueError as error:
            raise InputError(self.path, f"yscan: {error}", f"byte {here}") from error
        return tags

    def run(self, text: bytes, here: int) -> int:
        """Take in the records of one packet type that follow each other, and return where they end."""
        tag = text[here + 1 : here + 3]
        if tag not in self.packets:
            raise InputError(self.path, f"record of packet {tag!r}, which has no header", f"byte {here}")
        step = 4 + sum(plane.size for plane in self.packets[tag][0])
        window = sliding_window_view(self.data, 4)
        many, alike = 8, 0
        while True:  # look at more records the longer the run is: streams that alternate shall cost nothing extra
            at = here + step * np.arange(min(many, (len(text) - here) // step))
            same = np.all(window[at] == window[here], axis=1)
            alike = len(same) if same.all() else int(np.argmin(same))
            if alike < many:
                break
            many *= 8
        if alike == 0:
            self.skipped += len(text) - here
            return len(text)
        self.records[tag].append(here + 4 + step * np.arange(alike))
        return here + step * alike

    def dataset(self, tag: bytes) -> xr.Dataset:
        """Return the records of a packet type gathered so far as a dataset."""
        planes, attrs = self.packets[tag]
        at = np.concatenate([*self.records[tag], np.zeros(0, np.int64)])
        stream = {k: v for k, v in self.attrs.items() if k != "_stream"}
        found = xr.Dataset(attrs={**stream, **attrs, "bytes_skipped": self.skipped})
        dim, start = "x", 0
        for plane in planes:
            raw = sliding_window_view(self.data, plane.size)[at + start]
            start += plane.size
            if plane.kind == "x":
                timed = plane.type.startswith("time") or plane.units in _EPOCHS
                dim = "time" if timed else "x"
                value = self.times(plane, raw) if timed else self.values(plane, raw, attrs)[:, 0]
                found = found.assign_coords({dim: (dim, value, {} if timed else {"units": plane.units})})
            elif plane.kind == "yscan":
                y = f"{plane.name}_y"
                found[plane.name] = ((dim, y), self.values(plane, raw, attrs), {**plane.attrs, "units": plane.units})
                found = found.assign_coords({y: (y, plane.tags, {"units": plane.tag_units})})
            else:
                found[plane.name] = (dim, self.values(plane, raw, attrs)[:, 0], {**plane.attrs, "units": plane.units})
        return found

    def values(self, plane: Plane, raw: NDArray[np.uint8], attrs: dict[str, Any]) -> NDArray[np.float64]:
        """Decode the numbers of a plane, shape (records, items); fill is NaN."""
        kind = _BINARY.get(plane.type, f"S{plane.width}")
        try:
            value = raw.view(kind).astype(np.float64)
        except ValueError as error:
            raise InputError(self.path, f"plane {plane.name!r}: {error}") from error
        fill = {**self.attrs, **attrs, **plane.attrs}.get("zFill")
        value[value <= FILL * (1 - 1e-6)] = np.nan
        if isinstance(fill, float):
            value[np.isclose(value, fill, rtol=1e-6, atol=0.0)] = np.nan
        return value

    def times(self, plane: Plane, raw: NDArray[np.uint8]) -> NDArray[np.datetime64]:
        """Decode a plane of times to UTC."""
        if plane.type.startswith("time"):
            text = np.char.decode(np.char.strip(raw.view(f"S{plane.width}")[:, 0]), "latin-1")
            try:
                return _calendar(text)
            except ValueError as error:
                raise InputError(self.path, f"plane {plane.name!r}: {error}") from error
        if plane.units not in _EPOCHS:
            raise InputError(self.path, f"time unit {plane.units!r} is not known")
        scale, epoch = _EPOCHS[plane.units]
        count = self.values(plane, raw, {})[:, 0]
        if not np.all(np.abs(count) < 9e18 / scale):
            raise InputError(self.path, f"plane {plane.name!r}: times out of range")
        whole = np.floor(count)
        ns = (whole * scale).astype(np.int64) + np.rint((count - whole) * scale).astype(np.int64)
        return np.datetime64(epoch, "ns") + ns.astype("timedelta64[ns]")


def _calendar(text: NDArray[np.str_]) -> NDArray[np.datetime64]:
    """Return UTC of texts with month and day or day of year; a leap second is clamped to before its end."""
    text = np.char.rstrip(text, "Z")
    parts = np.char.partition(text, "T")
    # numpy would take today's date by name, and shift times by what looks like a time zone.
    odd = [t for t, clock in zip(text, parts[:, 2], strict=True) if not t[:4].isdecimal() or {"+", "-"} & set(clock)]
    if odd:
        raise ValueError(f"{str(odd[0])!r} is no UTC time")
    try:
        return text.astype("datetime64[ns]")
    except ValueError:  # day of year, or a leap second
        pass
    days, where = np.unique(parts[:, 0], return_inverse=True)
    dates = np.array([_date(day) for day in days])[where]
    leap = np.char.find(parts[:, 2], ":60") >= 0
    parts[leap, 2] = "00:00"
    found = np.char.add(np.char.add(dates, parts[:, 1]), parts[:, 2]).astype("datetime64[ns]")
    found[leap] = et_to_utc(parse_utc(text[leap]))[0]
    return found


def _date(day: str) -> str:
    """Return the date with month and day of one that may have day of year."""
    if re.fullmatch(r"\d{4}-\d{3}", day) is None:
        return day
    date = np.datetime64(day[:4], "D") + np.timedelta64(int(day[5:]) - 1, "D")
    if str(date)[:4] != day[:4]:
        raise ValueError(f"{str(day)!r} is no day of the calendar")
    return str(date)


def _properties(element: ElementTree.Element) -> dict[str, Any]:
    """Return the properties below an element, without the prefixes that name their type; doubles as float."""
    found: dict[str, Any] = {}
    for child in element.findall("properties"):
        for key, value in child.attrib.items():
            kind, _, name = key.rpartition(".")
            try:
                found[name] = float(value) if kind == "double" else value
            except ValueError:
                found[name] = value
    return found
