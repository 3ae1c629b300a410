"""Labels of products: what all of them have, and the description of the bytes of a file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import metadata
from typing import Any

import numpy as np

from pipeline.archive import context, xml
from pipeline.archive.context import Context
from pipeline.archive.declaration import Pds4
from pipeline.archive.layout import MISSING, Array, Object, Stored, Table, Written
from pipeline.archive.units import scaled
from pipeline.archive.xml import Element, make, short

SIMULATED = "SIMULATED DATA, not a measurement. "
TDB = "et is ephemeris time: seconds of TDB past 2000-01-01T12:00:00 TDB."


@dataclass(frozen=True)
class Subject:
    """What all labels of a bundle share.

    Parameters
    ----------
    instrument : its full name, as its plugin says it.
    bundle : identifier of the bundle.
    date : the day on which the archive is made, UTC.
    start, stop : UTC of the data, with the letter Z.
    """

    instrument: str
    registered: Context | None
    pds4: Pds4
    bundle: str
    simulated: bool
    date: datetime
    start: str
    stop: str

    def title(self, text: str) -> str:
        """A title; a simulated product says so in it."""
        return short(f"Simulated: {text}" if self.simulated else text)

    def said(self, text: str) -> str:
        """A description; a simulated product says so in it."""
        return f"{SIMULATED}{text}" if self.simulated else text


def stamp(date: datetime) -> str:
    """Date and time of a label."""
    return f"{date:%Y-%m-%dT%H:%M:%SZ}"


History = list[tuple[str, str, str]]


def identification(
    lid: str, title: str, product_class: str, history: History, citation: Element | None = None
) -> Element:
    """``Identification_Area``; the version is that of the newest entry (date, version, text) of the history."""
    details = [
        make(
            "Modification_Detail",
            make("modification_date", date),
            make("version_id", version),
            make("description", text),
        )
        for date, version, text in history
    ]
    return make(
        "Identification_Area",
        make("logical_identifier", lid),
        make("version_id", history[0][1]),
        make("title", title),
        make("information_model_version", xml.MODEL),
        make("product_class", product_class),
        citation,
        make("Modification_History", *details),
    )


def citation(subject: Subject, text: str) -> Element:
    """``Citation_Information``. There is no DOI: PDS gives one when it accepts the bundle."""
    authors = metadata("perijove")["Author"]
    return make(
        "Citation_Information",
        make("publication_year", subject.date.year),
        make("keyword", "Juno"),
        make("keyword", "Jupiter"),
        make("description", subject.said(text)),
        make("List_Author", make("Organization", make("organization_name", str(authors)), make("sequence_number", 1))),
    )


def reference(lid: str, kind: str) -> Element:
    """``Internal_Reference``."""
    return make("Internal_Reference", make("lid_reference", lid), make("reference_type", kind))


def references(pairs: Iterable[tuple[str, str]]) -> Element | None:
    """``Reference_List`` of (identifier, type) without repetition; None if there is none."""
    found = [reference(lid, kind) for lid, kind in dict.fromkeys(pairs)]
    return make("Reference_List", *found) if found else None


def circumstances(
    area: str,
    subject: Subject,
    prefix: str,
    *,
    purpose: str = "Science",
    levels: Sequence[str],
    times: tuple[str, str] | None = None,
    comment: str | None = None,
    discipline: Sequence[Element] = (),
    product_type: str | None = None,
) -> Element:
    """``Observation_Area`` or ``Context_Area``: when, what for, by what, of what.

    Parameters
    ----------
    prefix : ``data``, ``collection``, ``bundle`` or ``browse``: begins the types of references.
    product_type : leaves out the facets of others; None: all are named.
    """
    start, stop = times or (subject.start, subject.stop)
    facets = [_facet(f) for f in subject.pds4.facets if product_type is None or f.of in product_type]
    mission, host = (context.registered()[lid] for lid in (context.INVESTIGATION, context.HOST))
    targets = [context.target(t) for t in subject.pds4.targets]
    return make(
        area,
        make("comment", comment) if comment else None,
        make("Time_Coordinates", make("start_date_time", start), make("stop_date_time", stop)),
        make(
            "Primary_Result_Summary",
            make("purpose", purpose),
            *(make("processing_level", level) for level in levels),
            make("description", subject.said(f"From {subject.instrument}, on Juno in orbit about Jupiter.")),
            *facets,
        ),
        make(
            "Investigation_Area",
            make("name", mission.name),
            make("type", mission.type),
            reference(mission.lid, f"{prefix}_to_investigation"),
        ),
        make("Observing_System", _component(host, "is_instrument_host"), _instrument(subject)),
        *(
            make(
                "Target_Identification",
                make("name", t.name),
                make("type", t.type),
                reference(t.lid, f"{prefix}_to_target"),
            )
            for t in targets
        ),
        make("Discipline_Area", *discipline) if discipline else None,
    )


def _facet(facet: Any) -> Element:
    return make(
        "Science_Facets",
        *(make("wavelength_range", w) for w in facet.wavelengths),
        *(make("domain", d) for d in facet.domains),
        make("discipline_name", facet.discipline),
        make("facet1", facet.facet1) if facet.facet1 else None,
        make("facet2", facet.facet2) if facet.facet2 else None,
    )


def _component(entry: Context, kind: str) -> Element:
    return make(
        "Observing_System_Component", make("name", entry.name), make("type", entry.type), reference(entry.lid, kind)
    )


def _instrument(subject: Subject) -> Element:
    if subject.registered:
        return _component(subject.registered, "is_instrument")
    return make("Observing_System_Component", make("name", short(subject.instrument)), make("type", "Instrument"))


# The bytes of a file


def file_of(written: Written, date: datetime, *, identifier: str | None = None, comment: str | None = None) -> Element:
    """``File``, from the file as written."""
    return make(
        "File",
        make("file_name", written.path.name),
        make("local_identifier", identifier) if identifier else None,
        make("creation_date_time", stamp(date)),
        make("file_size", written.size, unit="byte"),
        make("md5_checksum", written.md5),
        make("comment", comment) if comment else None,
    )


def objects_of(written: Written, pds4: Pds4) -> list[Element]:
    """The objects of a file of data."""
    return [_table(o, at) if isinstance(o, Table) else array(o, at, pds4) for o, at in written.objects]


def array_class(one: Array, pds4: Pds4) -> str:
    """The class of an array that says most about it."""
    dims, n = one.stored.part.dims, len(one.stored.part.dims)
    if any(d in pds4.spectral for d in dims) and n <= 3 and one.name not in pds4.axes:
        return f"Array_{n}D_Spectrum"
    if pds4.image and dims[-2:] == pds4.image and n in (2, 3):
        return f"Array_{n}D_Image"
    return f"Array_{n}D" if n <= 3 else "Array"


def axis_names(one: Array, pds4: Pds4) -> tuple[str, ...]:
    """Names of the axes: those of the dimensions; a picture's are Line and Sample."""
    image = dict(zip(pds4.image, ("Line", "Sample"), strict=True)) if pds4.image else {}
    return tuple(image.get(dim, dim) for dim in one.stored.part.dims)


def array(one: Array, offset: int, pds4: Pds4) -> Element:
    """An array where it lies."""
    part = one.stored.part
    axes = [
        make("Axis_Array", make("axis_name", name), make("elements", n), make("sequence_number", i))
        for i, (name, n) in enumerate(zip(axis_names(one, pds4), part.shape, strict=True), 1)
    ]
    return make(
        array_class(one, pds4),
        make("name", part.name),
        make("local_identifier", part.name),
        make("offset", offset, unit="byte"),
        make("axes", len(axes)),
        make("axis_index_order", "Last Index Fastest"),
        _description(one.stored),
        make("Element_Array", make("data_type", one.stored.pds4_type), *_unit(one.stored)),
        *axes,
        _constants(one.stored),
    )


def _table(table: Table, offset: int) -> Element:
    columns: list[Element] = []
    fields = [c for c in table.columns if len(c.part.shape) < 2]
    at = 1
    for stored in table.columns:
        width = stored.dtype.itemsize
        if len(stored.part.shape) < 2:
            columns.append(_field(stored, at, len([c for c in columns if c.tag.endswith("}Field_Binary")]) + 1))
        else:
            columns.append(
                make(
                    "Group_Field_Binary",
                    make("name", f"{stored.part.name}_{stored.part.dims[1]}"),
                    make("repetitions", stored.repetitions),
                    make("fields", 1),
                    make("groups", 0),
                    make("group_location", at, unit="byte"),
                    make("group_length", width * stored.repetitions, unit="byte"),
                    _field(stored, 1, 1),
                )
            )
        at += width * stored.repetitions
    return make(
        "Table_Binary",
        make("name", table.name),
        make("local_identifier", table.name),
        make("offset", offset, unit="byte"),
        make("records", table.records),
        make("description", _of_table(table)),
        make(
            "Record_Binary",
            make("fields", len(fields)),
            make("groups", len(columns) - len(fields)),
            make("record_length", table.dtype.itemsize, unit="byte"),
            *columns,
        ),
    )


def _of_table(table: Table) -> str:
    if table.dim == "scalars":
        return "Numbers that are the same for the whole product."
    text = f"One record for each element of the axis {table.dim}, in its order."
    return f"{text} {TDB}" if any(c.part.name == "et" for c in table.columns) else text


def _field(stored: Stored, location: int, count: int) -> Element:
    return make(
        "Field_Binary",
        make("name", stored.part.name),
        make("field_number", count),
        make("field_location", location, unit="byte"),
        make("data_type", stored.pds4_type),
        make("field_length", stored.dtype.itemsize, unit="byte"),
        *_unit(stored),
        _description(stored),
        _constants(stored),
    )


def _unit(stored: Stored) -> list[Element]:
    """``unit``, and ``scaling_factor`` where a number stands before it."""
    factor, unit = scaled(str(stored.part.attrs.get("units", "")))
    if unit in ("", "1"):
        return []
    return [make("unit", short(unit)), *([make("scaling_factor", factor)] if factor else [])]


def _description(stored: Stored) -> Element | None:
    attrs = stored.part.attrs
    said = [str(attrs[n]) for n in ("long_name", "comment") if attrs.get(n)]
    if attrs.get("references"):
        said.append(f"Source: {attrs['references']}")
    if stored.part.dtype.kind == "b":
        said.append("0 false, 1 true")
    if "flag_descriptions" in attrs and "flag_masks" in attrs:
        meanings = str(attrs["flag_descriptions"]).split("; ")
        said.append("Bits: " + "; ".join(f"{int(m)} {t}" for m, t in zip(attrs["flag_masks"], meanings, strict=False)))
    if attrs.get("ancillary_variables"):
        said.append(f"See also {', '.join(str(attrs['ancillary_variables']).split())}")
    return make("description", ". ".join(text.rstrip(".") for text in said)) if said else None


def _constants(stored: Stored) -> Element | None:
    return make("Special_Constants", make("missing_constant", missing_text(stored.dtype))) if stored.missing else None


def missing_text(dtype: np.dtype[Any]) -> str:
    """`MISSING` in the shortest decimal of its precision; NASA's validate knows a constant by Java's spelling of it."""
    return np.format_float_scientific(dtype.type(MISSING), exp_digits=1).replace("e+", "E")


def text_area(kind: str, written: Written, date: datetime, name: str, description: str) -> Element:
    """A file area with one text, line ends as on Unix or, in a readme, as PDS likes them."""
    standard, delimiter = (
        ("UTF-8 Text", "Carriage-Return Line-Feed")
        if written.path.suffix == ".txt"
        else ("7-Bit ASCII Text", "Line-Feed")
    )
    return make(kind, file_of(written, date), text_object(written, name, description, standard, delimiter))


def text_object(written: Written, name: str, description: str, standard: str, delimiter: str) -> Element:
    """``Stream_Text``: a file that is one text."""
    return make(
        "Stream_Text",
        make("name", name),
        make("offset", 0, unit="byte"),
        make("object_length", written.size, unit="byte"),
        make("parsing_standard_id", standard),
        make("description", description),
        make("record_delimiter", delimiter),
    )


def names(objects: Iterable[Object]) -> list[str]:
    """Local identifiers of objects."""
    return [o.name for o in objects]
