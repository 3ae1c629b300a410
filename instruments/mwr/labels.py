"""PDS3 and PDS4 labels of MWR's CSV files as the archive has them (README.md, sources); PDS4's are read here too."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from instruments.mwr.layout import COLUMNS, COUNT, DATA_SETS, FORMATS, REAL, SIMULATED, TIME, header
from pipeline.errors import InputError
from pipeline.formats.pds3 import Quantity

NAMESPACE = "http://pds.nasa.gov/pds4/pds/v1"
MODEL = "1.7.0.0"
TITLES = {
    "edr": "raw counts of every 100 ms integration",
    "irdr": "calibrated antenna temperatures, one record per 100 ms integration on the antenna",
    "grdr": "geometry, one record per record of the instrument RDR",
}
LEVELS = {"edr": ("Raw", "data_raw")} | dict.fromkeys(("irdr", "grdr"), ("Calibrated", "data_calibrated"))


@dataclass(frozen=True)
class Times:
    """First and last record: UTC (year and day of year) and spacecraft clock."""

    start: str
    stop: str
    start_count: str
    stop_count: str


def _width(name: str) -> int:
    if name == "t_utc_doy":
        return TIME
    counted = name.endswith(("Cnt", "State")) or name in ("sequence", "crc_error", "t_sclk_s", "t_sclk_tick")
    return COUNT if counted else REAL


def pds3(name: str, kind: str, rows: int, times: Times, md5: str, simulated: bool) -> dict[str, Any]:
    """The detached label of a file, for `write_label`."""
    size = len(header(kind))
    return {
        "PDS_VERSION_ID": "PDS3",
        "RECORD_TYPE": "STREAM",
        "FILE_RECORDS": rows + 1,
        "MD5_CHECKSUM": md5,
        "DATA_SET_ID": DATA_SETS[kind],
        "PRODUCT_ID": name,
        "PRODUCT_TYPE": kind.upper(),
        "INSTRUMENT_HOST_NAME": "JUNO",
        "INSTRUMENT_NAME": "MICROWAVE RADIOMETER",
        "INSTRUMENT_ID": "MWR",
        "TARGET_NAME": "JUPITER",
        "START_TIME": times.start,
        "STOP_TIME": times.stop,
        "SPACECRAFT_CLOCK_START_COUNT": times.start_count.replace(":", "."),
        "SPACECRAFT_CLOCK_STOP_COUNT": times.stop_count.replace(":", "."),
        "DESCRIPTION": f"{SIMULATED}. {TITLES[kind]}." if simulated else f"{TITLES[kind]}.",
        "^HEADER": [name, Quantity(1, "BYTES")],
        "^SPREADSHEET": [name, Quantity(size + 1, "BYTES")],
        "HEADER": {"BYTES": size, "HEADER_TYPE": "TEXT"},
        "SPREADSHEET": {
            "ROWS": rows,
            "ROW_BYTES": sum(_width(n) + 1 for n in COLUMNS[kind]) + 1,
            "FIELDS": len(COLUMNS[kind]),
            "FIELD_DELIMITER": "COMMA",
            "^STRUCTURE": FORMATS[kind],
        },
    }


def format_file(kind: str) -> dict[str, Any]:
    """The format file: a FIELD object for every column."""
    types = {"t_utc_doy": "TIME"}
    return {
        "FIELD": [
            {"NAME": name, "DATA_TYPE": types.get(name, "ASCII_REAL"), "FIELD_NUMBER": k, "BYTES": _width(name)}
            for k, name in enumerate(COLUMNS[kind], 1)
        ]
    }


def pds4(path: Path, kind: str, rows: int, times: Times, md5: str, simulated: bool) -> bytes:
    """The PDS4 label: the structure of the archive's (Table_Delimited, the PDS3 label as supplement)."""
    level, collection = LEVELS[kind]
    identifier = path.stem.lower()
    size = len(header(kind))
    text = ET.Element("Product_Observational", {"xmlns": NAMESPACE})
    _tree(
        _tag(text, "Identification_Area"),
        logical_identifier=f"urn:nasa:pds:juno_mwr:{collection}:{identifier}",
        version_id="1.0",
        title="JUNO MICROWAVE RADIOMETER" + (f", {SIMULATED}" if simulated else ""),
        information_model_version=MODEL,
        product_class="Product_Observational",
    )
    area = _tag(text, "Observation_Area")
    _tree(_tag(area, "Time_Coordinates"), start_date_time=f"{times.start}Z", stop_date_time=f"{times.stop}Z")
    summary = _tag(area, "Primary_Result_Summary")
    _tree(summary, purpose="Science", processing_level=level)
    _tree(_tag(summary, "Science_Facets"), domain="Atmosphere", discipline_name="Atmospheres", facet1="Structure")
    _context(area, "Investigation_Area", "JUNO", "Mission", "investigation:mission.juno", "data_to_investigation")
    system = _tag(area, "Observing_System")
    component = "Observing_System_Component"
    _context(system, component, "JUNO", "Spacecraft", "instrument_host:spacecraft.jno", "is_instrument_host")
    _context(system, component, "MWR", "Instrument", "instrument:mwr.jno", "is_instrument")
    _context(area, "Target_Identification", "JUPITER", "Planet", "target:planet.jupiter", "data_to_target")
    reference = _tag(_tag(text, "Reference_List"), "Internal_Reference")
    document = FORMATS[kind].lower()
    _tree(reference, lid_reference=f"urn:nasa:pds:juno_mwr:document:{document}", reference_type="data_to_document")
    files = _tag(text, "File_Area_Observational")
    _file(files, path, md5, records=rows + 1)
    head = _tag(files, "Header")
    _size(head, 0, size)
    _tree(head, parsing_standard_id="PDS DSV 1")
    _table(files, kind, rows, size)
    label = path.with_suffix(".LBL")
    more = _tag(text, "File_Area_Observational_Supplemental")
    _file(more, label, hashlib.md5(label.read_bytes()).hexdigest())
    stream = _tag(more, "Stream_Text")
    _size(stream, 0, label.stat().st_size)
    _tree(stream, parsing_standard_id="7-Bit ASCII Text", record_delimiter="Carriage-Return Line-Feed")
    ET.indent(text)
    return b'<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(text) + b"\n"


def read_pds4(path: Path, data: str, kind: str, rows: int) -> bool:
    """Check a PDS4 label against the name, the kind and the rows of its file; whether it says that they are simulated.

    Raises
    ------
    InputError
        for what is no XML, or describes another file.
    """
    try:
        root = ET.parse(path).getroot()
    except (ET.ParseError, ValueError, LookupError) as error:
        raise InputError(path, f"is no XML: {error}") from error
    size, columns = len(header(kind)), COLUMNS[kind]
    area, table = "File_Area_Observational", "File_Area_Observational/Table_Delimited"
    expected = {
        f"{area}/File/file_name": data.upper(),
        f"{area}/Header/object_length": str(size),
        f"{table}/offset": str(size),
        f"{table}/records": str(rows),
        f"{table}/Record_Delimited/fields": str(len(columns)),
    }
    for place, value in expected.items():
        said = _said(root, place)
        if said[:1] != [value]:
            raise InputError(path, f"{(said or ['nothing'])[0][:40]!r}, the file has {value!r}", place)
    names = _said(root, f"{table}/Record_Delimited/Field_Delimited/name")
    if names != [name.upper() for name in columns]:
        raise InputError(path, f"has not the {len(columns)} columns of the {kind.upper()}", table)
    return any(SIMULATED in title for title in _said(root, "Identification_Area/title"))


def _said(root: ET.Element, place: str) -> list[str]:
    """Texts at a place, in capitals."""
    path = "/".join(f"{{{NAMESPACE}}}{part}" for part in place.split("/"))
    return [(element.text or "").strip().upper() for element in root.findall(path)]


def _tag(parent: ET.Element, name: str) -> ET.Element:
    return ET.SubElement(parent, name)


def _tree(parent: ET.Element, **texts: str) -> None:
    for name, value in texts.items():
        ET.SubElement(parent, name).text = value


def _size(parent: ET.Element, offset: int, length: int) -> None:
    for name, value in (("offset", offset), ("object_length", length)):
        ET.SubElement(parent, name, {"unit": "byte"}).text = str(value)


def _context(area: ET.Element, what: str, name: str, kind: str, identifier: str, relation: str) -> None:
    block = _tag(area, what)
    _tree(block, name=name, type=kind)
    reference = _tag(block, "Internal_Reference")
    _tree(reference, lid_reference=f"urn:nasa:pds:context:{identifier}", reference_type=relation)


def _file(area: ET.Element, path: Path, md5: str, records: int | None = None) -> None:
    file = _tag(area, "File")
    _tree(file, file_name=path.name)
    ET.SubElement(file, "file_size", {"unit": "byte"}).text = str(path.stat().st_size)
    if records is not None:
        _tree(file, records=str(records))
    _tree(file, md5_checksum=md5)


def _table(area: ET.Element, kind: str, rows: int, offset: int) -> None:
    table = _tag(area, "Table_Delimited")
    ET.SubElement(table, "offset", {"unit": "byte"}).text = str(offset)
    _tree(table, parsing_standard_id="PDS DSV 1", records=str(rows), record_delimiter="Carriage-Return Line-Feed")
    _tree(table, field_delimiter="Comma")
    record = _tag(table, "Record_Delimited")
    _tree(record, fields=str(len(COLUMNS[kind])), groups="0")
    for number, name in enumerate(COLUMNS[kind], 1):
        field = _tag(record, "Field_Delimited")
        data_type = "ASCII_Date_Time_DOY" if name == "t_utc_doy" else "ASCII_Real"
        _tree(field, name=name, field_number=str(number), data_type=data_type)
        ET.SubElement(field, "maximum_field_length", {"unit": "byte"}).text = str(_width(name))
