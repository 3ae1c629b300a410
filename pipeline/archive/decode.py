"""Reading every object of a bundle with pds4_tools, and comparing it bit for bit with what it was made from."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from lxml import etree
from numpy.typing import NDArray

from calibration.tables import Table as CalibrationTable
from pipeline import registry
from pipeline.archive import originals
from pipeline.archive.content import out_of_range
from pipeline.archive.findings import Finding
from pipeline.archive.labels import Label, ObjectEntry
from pipeline.archive.layout import Stored, step_of, stored_as
from pipeline.archive.products import table_dataset
from pipeline.clock import Sclk
from pipeline.dataset.parts import Part, open_parts, parts_of
from pipeline.errors import PerijoveError, UsageError
from pipeline.instrument import Granule, Instrument
from pipeline.runs.discover import discover
from pipeline.runs.granules import Opener
from pipeline.runs.run import clock_of
from pipeline.runs.store import Store

READABLE = ("Array", "Table_Binary", "Table_Character", "Table_Delimited", "Inventory")
# Larger than any number of this kind that is meant; with the wrong byte order they are frequent.
HUGE = 1e30


@dataclass
class Tally:
    """How much was read and compared."""

    objects: int = 0
    compared: int = 0
    bytes: int = 0


@dataclass
class Decoder:
    """Reads the objects of labels.

    Parameters
    ----------
    store : where the products of this project are that the bundle was made from; None: they are only read.
    """

    store: Store | None
    tally: Tally = field(default_factory=Tally)
    _raw: dict[str, dict[tuple[str, str], tuple[Granule, Sclk]]] = field(default_factory=dict)

    def check(self, label: Label) -> Iterator[Finding]:
        """Findings of one label."""
        entries = {e.name: e for f in label.files for e in f.objects if _readable(e)}
        if not entries or any(not (label.path.parent / f.name).is_file() for f in label.files):
            return
        try:
            found = _read(label.path)
        except Exception as error:  # whatever the library raises on a label that does not fit its file
            text = f"pds4_tools cannot read it: {' '.join(str(error).split()) or type(error).__name__}"
            yield Finding(label.path, None, "unreadable", text, "correct offsets, sizes and data types")
            return
        found |= _original_texts(label)
        self.tally.objects += len(found)
        self.tally.bytes += sum(e.size or 0 for e in entries.values())
        for name, data in found.items():
            yield from _ranges(label, entries.get(name), data)
        with self._origin(label) as parts:
            if parts is None:
                for name, data in found.items():
                    yield from _plausible(label, entries.get(name), data)
                return
            yield from self._compare(label, entries, found, parts)

    def _compare(
        self, label: Label, entries: Mapping[str, ObjectEntry], found: Mapping[str, Any], parts: Sequence[Part]
    ) -> Iterator[Finding]:
        """Every variable of the product, wherever the label has it."""
        holders = {name: (one, data) for one, data in found.items() for name in _variables(one, data)}
        for part in parts:
            if 0 in part.shape:
                continue
            holder, data = holders.get(part.name, ("", np.empty(0)))
            if holder not in entries:
                text = f"describes no {part.name}, which the product has"
                yield Finding(label.path, None, "missing-object", text, "label the product anew")
                continue
            values = data if data.dtype.names is None else data[_field(data, part.name)]
            yield from _same(label, entries[holder].element, stored_as(part), np.asarray(values))
        self.tally.compared += len({holders[p.name][0] for p in parts if p.name in holders})

    @contextlib.contextmanager
    def _origin(self, label: Label) -> Iterator[list[Part] | None]:
        """What a label's data were made from, if it is one of this project's and still there."""
        about = _about(label)
        attrs = about.get("attributes", {})
        if self.store is None or not about:
            yield None
        elif "product_key" in attrs:
            with self._product(str(attrs["product_key"])) as parts:
                yield parts
        elif "hash" in attrs:
            path = self.store.root / "tables" / f"{attrs['hash']}.yaml"
            yield parts_of(table_dataset(CalibrationTable.read(path))) if path.is_file() else None
        elif "granule" in attrs:
            yield self._granule(label, str(attrs["granule"]), str(attrs["raw_format"]))
        elif "geometry" in attrs:
            path = self.store.root / str(attrs["geometry"])
            if not path.is_file():
                yield None
                return
            with open_parts(path) as (parts, _):
                yield parts
        else:
            yield None

    @contextlib.contextmanager
    def _product(self, key: str) -> Iterator[list[Part] | None]:
        assert self.store is not None
        try:
            path = self.store.find(key)
        except UsageError:
            yield None
            return
        with open_parts(path) as (parts, _):
            yield parts

    def _granule(self, label: Label, name: str, format_name: str) -> list[Part] | None:
        """A raw granule read again, and its files as they came, where raw data of a run still are there."""
        instrument = registry.load(format_name.split(".")[0])
        if instrument.name not in self._raw:
            self._raw[instrument.name] = self._granules(instrument)
        known = self._raw[instrument.name].get((name, format_name))
        if known is None:
            return None
        granule, clock = known
        there = {e.name for f in label.files for e in f.objects}
        files = [o.part() for o in originals.originals_of(granule.files) if o.identifier in there]
        return [*parts_of(instrument.format(format_name).read([granule], None, clock)), *files]

    def _granules(self, instrument: Instrument) -> dict[tuple[str, str], tuple[Granule, Sclk]]:
        """Granules in the raw folders of all runs, the newest run's first."""
        assert self.store is not None
        found: dict[tuple[str, str], tuple[Granule, Sclk]] = {}
        places = {(r["raw"], r["pass"], r["kernels"]) for r in self.store.runs()}
        for raw, number, kernels in sorted(places, key=str):
            clock = clock_of(Path(kernels) if kernels else None)
            with contextlib.suppress(PerijoveError):
                for granule in discover(Path(raw), [instrument], number, Opener(self.store, clock)).granules:
                    found.setdefault((granule.id, granule.format), (granule, clock))
        return found


def _read(path: Path) -> dict[str, Any]:
    """Objects of a label by name, as pds4_tools reads them: arrays, and structured arrays of tables."""
    import pds4_tools

    structures = pds4_tools.read(str(path), quiet=True, lazy_load=True, no_scale=True, decode_strings=False)
    found = {}
    for structure in structures:
        if structure.is_array() or structure.is_table():
            found[str(structure.meta_data.get("local_identifier") or structure.id)] = structure.data
    return found


def _readable(entry: ObjectEntry) -> bool:
    return entry.kind.startswith(READABLE) or entry.name.startswith(originals.PREFIX)


def _original_texts(label: Label) -> dict[str, NDArray[np.uint8]]:
    """Bytes of the files that came as text, which pds4_tools does not read."""
    return {
        e.name: np.fromfile(label.path.parent / f.name, np.uint8)
        for f in label.files
        for e in f.objects
        if e.kind == "Stream_Text" and _readable(e)
    }


def _variables(name: str, data: NDArray[Any]) -> list[str]:
    """What an object holds: itself, or its fields; of one in a group the library gives the group's name as well."""
    return [name] if data.dtype.names is None else [n.rpartition(", ")[2] for n in data.dtype.names]


def _field(table: NDArray[Any], name: str) -> str:
    return next(n for n in table.dtype.names or () if n.rpartition(", ")[2] == name)


def _same(label: Label, element: etree._Element, stored: Stored, values: NDArray[Any]) -> Iterator[Finding]:
    """Nothing, if the values read are those of the product, bit for bit."""
    name, shape = stored.part.name, stored.part.shape
    line = _line_of(label, element, name)
    values = values if shape else values.reshape(())
    if values.shape != shape:
        text = f"{name} has shape {values.shape}, that of the product is {shape}"
        yield Finding(label.path, line, "shape", text, "correct elements, records or repetitions")
        return
    if stored.dtype.kind != "S" and values.dtype.newbyteorder("=") != stored.dtype.newbyteorder("="):
        text = f"{name} is read as {values.dtype}, the product has {stored.dtype}"
        yield Finding(label.path, line, "data-type", text, f"data_type is {stored.pds4_type}")
        return
    step = step_of(stored.dtype.itemsize * int(np.prod(shape[1:])), stored.part.rows)
    for start in range(0, shape[0] if shape else 1, step):
        expected = stored.encoded(start, start + step)
        own = values[start : start + step] if shape else values
        if stored.dtype.kind == "S":
            same = np.char.rstrip(own.astype(expected.dtype)) == np.char.rstrip(expected)
        else:
            same = own.astype(stored.dtype) == expected
        if not np.all(same):
            at = tuple(int(i) for i in np.argwhere(~np.atleast_1d(same))[0])
            place = (at[0] + start, *at[1:]) if shape else ()
            read, true = np.atleast_1d(own)[at], np.atleast_1d(expected)[at]
            text = f"{name}{list(place)} reads as {read!s}, the product has {true!s}"
            advice = f"correct offset and data_type ({stored.pds4_type}), or restore the file"
            yield Finding(label.path, line, "values", text, advice)
            return


def _ranges(label: Label, entry: ObjectEntry | None, data: NDArray[Any]) -> Iterator[Finding]:
    """Numbers of an array, or of the fields of a table, outside the range that the label states."""
    if entry is None:
        return
    if data.dtype.names is None:
        yield from out_of_range(label, entry.element, data)
        return
    for one in entry.element.iter("{*}Field_Binary", "{*}Field_Character", "{*}Field_Delimited"):
        name = label.text("{*}name", one)
        if name in _variables(entry.name, data):
            yield from out_of_range(label, one, data[_field(data, name)])


def _line_of(label: Label, element: etree._Element, name: str) -> int | None:
    """Line of the field of that name, else of the object."""
    for field_ in element.iter("{*}Field_Binary"):
        if label.text("{*}name", field_) == name:
            return int(field_.sourceline)
    return label.line(element)


def _plausible(label: Label, entry: ObjectEntry | None, data: NDArray[Any]) -> Iterator[Finding]:
    """A suspicion, where there is nothing to compare with: numbers such as the wrong byte order gives."""
    if entry is None or data.dtype.kind != "f" or not data.size:
        return
    with np.errstate(invalid="ignore"):
        odd = ~(np.abs(data) < HUGE) | ((data != 0) & (np.abs(data) < 1 / HUGE))
    constants = entry.element.find("{*}Special_Constants")
    for constant in constants if constants is not None else ():
        with contextlib.suppress(ValueError, TypeError):
            odd &= data != data.dtype.type(constant.text)
    if odd.mean() > 0.01:
        text = f"{100 * odd.mean():.0f} % of {entry.name} are beyond 1e30, below 1e-30 or no numbers"
        yield Finding(label.path, label.line(entry.element), "implausible", text, "is the byte order right?", "warning")


def _about(label: Label) -> dict[str, Any]:
    """The text of attributes beside the data, of bundles of this project."""
    for entry in label.files:
        if entry.objects and entry.objects[0].name == "attributes" and entry.name.endswith(".json"):
            with contextlib.suppress(OSError, ValueError):
                document = json.loads((label.path.parent / entry.name).read_bytes())
                return document if isinstance(document, dict) else {}
    return {}
