"""Rules that NASA's validate has as well, each on a sound example and on one with a planted fault."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from archive_world import edit, found

from pipeline.archive.content import check_contents
from pipeline.archive.decode import Decoder
from pipeline.archive.definitions import check_definitions
from pipeline.archive.files import check_files
from pipeline.archive.integrity import check_integrity
from pipeline.archive.labels import Label
from pipeline.archive.opening import open_product
from pipeline.archive.schemas import Schemas
from pipeline.errors import InputError

HEAD = """<?xml version="1.0" encoding="{encoding}"?>
<{kind} xmlns="http://pds.nasa.gov/pds4/pds/v1" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
  xsi:schemaLocation="http://pds.nasa.gov/pds4/pds/v1 https://pds.nasa.gov/pds4/pds/v1/PDS4_PDS_1P00.xsd">
<Identification_Area><logical_identifier>urn:nasa:pds:a:b:c</logical_identifier><version_id>{version}</version_id>
<Modification_History><Modification_Detail><version_id>1.0</version_id></Modification_Detail></Modification_History>
</Identification_Area>{area}</{kind}>"""
FILE = "<File_Area_Observational><File><file_name>{name}</file_name></File>{objects}</File_Area_Observational>"
CHARACTER = """<Table_Character><name>t</name><offset unit="byte">0</offset><records>2</records>
<record_delimiter>Carriage-Return Line-Feed</record_delimiter><Record_Character><fields>2</fields><groups>0</groups>
<record_length unit="byte">20</record_length>
<Field_Character><name>when</name><field_location unit="byte">1</field_location><data_type>ASCII_Date_YMD</data_type>
<field_length unit="byte">10</field_length></Field_Character>
<Field_Character><name>much</name><field_location unit="byte">12</field_location><data_type>ASCII_Real</data_type>
<field_length unit="byte">7</field_length><validation_format>%7.2f</validation_format></Field_Character>
</Record_Character></Table_Character>"""
DELIMITED = """<Table_Delimited><name>t</name><offset unit="byte">0</offset><records>2</records>
<record_delimiter>Carriage-Return Line-Feed</record_delimiter><field_delimiter>Comma</field_delimiter>
<Record_Delimited><fields>2</fields><groups>0</groups><maximum_record_length unit="byte">15</maximum_record_length>
<Field_Delimited><name>n</name><data_type>ASCII_Integer</data_type></Field_Delimited>
<Field_Delimited><name>word</name><data_type>ASCII_String</data_type>
<maximum_field_length unit="byte">8</maximum_field_length></Field_Delimited></Record_Delimited></Table_Delimited>"""
TEXT = """<Stream_Text><name>t</name><offset unit="byte">0</offset><object_length unit="byte">{size}</object_length>
<parsing_standard_id>7-Bit ASCII Text</parsing_standard_id>
<record_delimiter>Carriage-Return Line-Feed</record_delimiter></Stream_Text>"""
ARRAY = """<Array_1D><name>a</name><local_identifier>a</local_identifier><offset unit="byte">0</offset><axes>1</axes>
<axis_index_order>Last Index Fastest</axis_index_order><Element_Array><data_type>IEEE754LSBDouble</data_type>
</Element_Array><Axis_Array><axis_name>x</axis_name><elements>4</elements><sequence_number>1</sequence_number>
</Axis_Array><Special_Constants><missing_constant>-999</missing_constant></Special_Constants>
<Object_Statistics><minimum>1.0</minimum><maximum>3.0</maximum></Object_Statistics></Array_1D>"""
BINARY = """<Table_Binary><offset unit="byte">0</offset><records>2</records><Record_Binary><fields>1</fields>
<groups>1</groups><record_length unit="byte">16</record_length>
<Field_Binary><name>x</name><field_location unit="byte">1</field_location><data_type>SignedLSB4</data_type>
<field_length unit="byte">4</field_length></Field_Binary>
<Group_Field_Binary><repetitions>3</repetitions><fields>1</fields><groups>0</groups>
<group_location unit="byte">5</group_location><group_length unit="byte">12</group_length>
<Field_Binary><name>y</name><field_location unit="byte">1</field_location><data_type>IEEE754LSBSingle</data_type>
<field_length unit="byte">4</field_length></Field_Binary></Group_Field_Binary></Record_Binary></Table_Binary>"""
ROWS = b"2016-08-27   -1.25\r\n2016-08-28   12.50\r\n"
LINES = b'1,one\r\n22,"two, too"\r\n'
NUMBERS = np.array([1.0, 2.0, 3.0, -999.0]).tobytes()


def made(folder: Path, objects: str, content: bytes, name: str = "x.dat", **head: str) -> Label:
    """A file and a label of it."""
    (folder / name).write_bytes(content)
    area = FILE.format(name=name, objects=objects.replace("{size}", str(len(content))))
    head = {"kind": "Product_Observational", "version": "1.0", "encoding": "UTF-8", **head}
    path = folder / head.pop("called", "x.xml")
    path.write_text(HEAD.format(area=area, **head))
    return Label.read(path)


def rules(one: Label, schemas: Path) -> set[str]:
    findings = [
        *check_definitions(one),
        *check_contents(one, Schemas(schemas)),
        *check_files(one.path.parent, [one], {}),
        *Decoder(None).check(one),
    ]
    assert all(f.advice and f.text for f in findings)
    return {f.rule for f in findings}


SOUND = [(CHARACTER, ROWS), (DELIMITED, LINES), (TEXT, b"one\r\ntwo\r\n"), (ARRAY, NUMBERS), (BINARY, bytes(32))]


@pytest.mark.parametrize(("objects", "content"), SOUND)
def test_nothing_is_found_in_what_is_sound(objects: str, content: bytes, schemas: Path, tmp_path: Path) -> None:
    assert rules(made(tmp_path, objects, content), schemas) == set()


@pytest.mark.parametrize(
    ("objects", "content", "rule"),
    [
        (CHARACTER, ROWS.replace(b"-08-28", b"-02-30"), "value"),
        (CHARACTER, ROWS.replace(b"  12.50", b"    NaN"), "value"),
        (CHARACTER, ROWS.replace(b"  12.50", b" 12.500"), "format"),
        (CHARACTER, ROWS.replace(b"50\r\n", b"50 \n"), "record-end"),
        (CHARACTER.replace(">20<", ">19<"), ROWS, "record-end"),
        (CHARACTER.replace(">12<", ">9<"), ROWS, "field"),
        (CHARACTER.replace(">12<", ">17<"), ROWS, "field"),
        (DELIMITED, LINES.replace(b"22", b"2.2"), "value"),
        (DELIMITED, LINES.replace(b'"', b""), "record"),
        (DELIMITED, LINES.replace(b"one\r", b"one"), "record-end"),
        (DELIMITED, LINES[:-2], "record-end"),
        (DELIMITED, LINES + b"3,three\r\n", "records"),
        (DELIMITED.replace(">15<", ">14<"), LINES, "record"),
        (DELIMITED.replace(">8<", ">7<"), LINES, "field"),
        (TEXT, "one\r\ntwö\r\n".encode(), "text"),
        (TEXT, b"one\ntwo\r\n", "record-end"),
        (ARRAY, np.array([1.0, 2.0, 3.5, -999.0]).tobytes(), "range"),
        (ARRAY, np.array([0.5, 2.0, 3.0, -999.0]).tobytes(), "range"),
        (ARRAY.replace(">-999<", ">-998<"), NUMBERS, "range"),
        (BINARY.replace(">5<", ">4<"), bytes(32), "field"),
        (BINARY.replace(">12<", ">11<"), bytes(32), "field"),
        (BINARY.replace(">3<", ">4<").replace(">12<", ">16<"), bytes(32), "field"),
        (BINARY.replace("Signed", "Unsigned").replace("LSB4", "LSB2"), bytes(32), "field"),
        (ARRAY + ARRAY.replace(">0<", ">32<"), NUMBERS * 2, "local-identifier"),
        (ARRAY + ARRAY.replace(">0<", ">16<"), NUMBERS * 2, "object-overlap"),
    ],
)
def test_a_fault_in_an_object_is_found(
    objects: str, content: bytes, rule: str, schemas: Path, tmp_path: Path
) -> None:  # fmt: skip
    assert rule in rules(made(tmp_path, objects, content), schemas)


@pytest.mark.parametrize(
    ("head", "rule"),
    [
        ({"version": "2.0"}, "version"),
        ({"encoding": "ISO-8859-1"}, "encoding"),
        ({"called": "collection_x.xml"}, "label-name"),
        ({"kind": "Product_Collection"}, "label-name"),
        ({"name": "x"}, "name"),
    ],
)
def test_a_fault_of_the_label_is_found(head: dict[str, str], rule: str, schemas: Path, tmp_path: Path) -> None:
    from pipeline.archive.files import check_names

    one = made(tmp_path, ARRAY, NUMBERS, **head)
    assert rule in rules(one, schemas) | {f.rule for f in check_names(tmp_path)}


@pytest.mark.parametrize(
    ("standard", "name", "content", "rule"),
    [
        ("PDF/A", "x.pdf", b"%PDF-1.4 <rdf pdfaid:part='1'/>", None),
        ("PDF/A", "x.pdf", b"%PDF-1.4", "standard"),
        ("PDF/A", "x.pdf", b"PK", "standard"),
        ("PDF/A", "x.doc", b"%PDF-1.4 pdfaid:part", "standard"),
        ("PNG", "x.png", b"GIF89a", "standard"),
    ],
)
def test_documents_are_what_their_label_says(
    standard: str, name: str, content: bytes, rule: str | None, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    area = (
        f"<Document><Document_Edition><Document_File><file_name>{name}</file_name>"
        f"<document_standard_id>{standard}</document_standard_id></Document_File></Document_Edition></Document>"
    )
    path = tmp_path / "x.xml"
    path.write_text(HEAD.format(kind="Product_Document", version="1.0", encoding="UTF-8", area=area))
    told = {f.rule for f in check_files(tmp_path, [Label.read(path)], {})} - {"picture"}
    assert told == ({rule} if rule else set())


def _in_label(old: str, new: str) -> Callable[[Path], Any]:
    return lambda folder: edit(folder / "rate_pj01.xml", old, new)


def _in_collection(old: str, new: str, name: str = "_inventory.csv") -> Callable[[Path], Any]:
    return lambda folder: edit(folder.parent / f"collection_data_calibrated{name}", old, new)


def _two_bundles(folder: Path) -> None:
    [top] = folder.parent.parent.glob("bundle*.xml")
    shutil.copy(top, top.with_name("bundle_2.xml"))


def _two_labels(folder: Path) -> None:
    source = folder / "rate_pj01.xml"
    copy = source.read_text().replace(":rate_pj01<", ":rate_again<")
    (folder / "rate_again.xml").write_text(copy)


@pytest.mark.parametrize(
    ("plant", "rule"),
    [
        (_two_labels, "shared-file"),
        (lambda f: (f / "empty").mkdir(), "folder"),
        (lambda f: (f / "v1.0").mkdir(), "name"),
        (lambda f: (f / "a.out").write_text(""), "name"),
        (lambda f: (f / "noext").write_text(""), "name"),
        (lambda f: (f / "rate_.txt_").write_text(""), "name"),
        (lambda f: (f / "RATE_pj01.dat").write_text(""), "name"),
        (lambda f: (f / "rate_pj01.dat").unlink(), "missing-file"),
        (_two_bundles, "bundle"),
        (_in_label("<local_identifier_reference>[^<]+", "<local_identifier_reference>no"), "local-identifier"),
        (_in_label("IEEE754LSBSingle", "SignedLSB4"), "data-type"),
        (_in_label(":rate_pj01</logical", ":Rate_pj01</logical"), "identifier"),
        (_in_label("<name>altitude<", "<name>height<"), "missing-object"),
        (_in_label(r"<records>\d+<", "<records>1<"), "shape"),
        (_in_label(">1.25.0.0<", ">1.24.0.0<"), "model-version"),
        (_in_label("<product_class>.*</product_class>", ""), "schema"),
        (_in_collection("(?s)<Target_Identification>.*</Target_Identification>", "", ".xml"), "missing-context"),
        (_in_collection("P,[^\n]*:rate_pj01::1.0\n", ""), "unlisted"),
        (_in_collection("::1.0", ""), "inventory"),
        (_in_collection("urn:nasa", "URN:NASA"), "value"),
    ],
)
def test_a_fault_in_the_bundle_is_found(
    plant: Callable[[Path], Any], rule: str, label: Path, bundle: Path, schemas: Path, store: Path
) -> None:  # fmt: skip
    plant(label.parent)
    assert rule in {f["rule"] for f in found(bundle, schemas, store)}


def test_times_of_a_binary_table_are_of_their_type(
    label: Path, bundle: Path, schemas: Path, store: Path
) -> None:  # fmt: skip
    data = label.with_suffix(".dat")
    content = data.read_bytes()
    at = content.index(b"2016-08-27T")
    data.write_bytes(content[:at] + b"2016-08-37T" + content[at + 11 :])
    findings = [f for f in found(bundle, schemas, None) if f["rule"] == "value"]
    assert findings
    assert "2016-08-37T" in findings[0]["text"]
    assert "ASCII_Date_Time_YMD_UTC" in findings[0]["text"]


def test_no_damaged_label_stops_the_checker(bundle: Path, schemas: Path, tmp_path: Path) -> None:
    """Texts of elements replaced by what nobody means: whatever is found, checking and opening come to an end."""
    dictionaries, random = Schemas(schemas), Random(0)
    sources = sorted((bundle / "data_calibrated" / "pj01").glob("*.xml")) + sorted(bundle.rglob("collection*.xml"))
    told = 0
    for number in range(60):
        source = random.choice(sources)
        content, folder = source.read_text(), tmp_path / f"n{number}"
        folder.mkdir()
        for entry in Label.read(source).files:
            shutil.copy(source.parent / entry.name, folder / entry.name)
        spots = list(re.finditer(r">([^<>\n]+)<", content))
        for spot in sorted(random.sample(spots, random.choice([1, 2, 5])), key=lambda m: -m.start()):
            new = random.choice(["x", "", "-1", "0", "9" * 20, "1.5", "3", "²", f"{spot[1]}1", spot[1][:-1], "::"])
            content = content[: spot.start(1)] + new + content[spot.end(1) :]
        (folder / source.name).write_text(content)
        one = Label.read(folder / source.name)
        findings = [
            *check_definitions(one),
            *check_contents(one, dictionaries),
            *check_files(folder, [one], {}),
            *check_integrity(folder, [one]),
            *Decoder(None).check(one),
        ]
        told += any(f.path == one.path for f in findings)
        with contextlib.suppress(InputError):
            open_product(one.path)
    assert told > 30


def test_what_a_label_of_others_scales_is_opened_scaled(tmp_path: Path) -> None:
    kind = "<data_type>SignedLSB2</data_type><unit>K</unit><scaling_factor>0.5</scaling_factor>"
    objects = ARRAY.replace("<data_type>IEEE754LSBDouble</data_type>", f"{kind}<value_offset>100</value_offset>")
    one = made(tmp_path, objects, np.array([2, -4, 0, -999], "<i2").tobytes())
    np.testing.assert_array_equal(open_product(one.path)["a"].values, [101.0, 98.0, 100.0, np.nan])
