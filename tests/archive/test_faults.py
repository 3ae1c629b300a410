"""Faults planted in a good bundle: each is found, by its rule, in the file and on the line where it is."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from archive_world import edit, found, labels
from core_fixtures import invoke

import perijove
from pipeline.archive.decode import Decoder
from pipeline.archive.files import check_files
from pipeline.archive.labels import Label


def told(bundle: Path, schemas: Path, store: Path | None, rule: str) -> list[dict[str, Any]]:
    """Findings of a rule."""
    findings = found(bundle, schemas, store)
    of_rule = [f for f in findings if f["rule"] == rule]
    assert of_rule, f"no {rule} among {findings}"
    return of_rule


def test_a_shifted_offset(label: Path, bundle: Path, schemas: Path, store: Path) -> None:
    line = edit(label, r'<offset unit="byte">0</offset>', '<offset unit="byte">4</offset>')
    findings = found(bundle, schemas, store)
    assert {f["rule"] for f in findings} == {"undescribed-bytes", "object-size", "unreadable"}
    assert all(f["file"].endswith("rate_pj01.xml") for f in findings)
    assert all(0 <= line - f["line"] <= 4 for f in findings if f["line"])


def test_a_field_that_is_shifted_without_a_gap(label: Path, bundle: Path, schemas: Path, store: Path) -> None:
    """Two fields of one width exchanged: only the comparison with the product can see it."""
    content = label.read_text()
    names = re.findall(r"<Field_Binary>\s*<name>(\w+)</name>", content)
    first, second = "altitude", "local_time"
    assert {first, second} <= set(names)
    swapped = content.replace(f"<name>{first}</name>", "<name>?</name>")
    swapped = swapped.replace(f"<name>{second}</name>", f"<name>{first}</name>").replace("<name>?<", f"<name>{second}<")
    label.write_text(swapped)
    assert [f["text"].split("[")[0] for f in told(bundle, schemas, store, "values")] == [first, second]


def test_a_wrong_size(label: Path, bundle: Path, schemas: Path, store: Path) -> None:
    line = edit(label, r'<file_size unit="byte">\d+', '<file_size unit="byte">12345')
    [finding] = told(bundle, schemas, store, "file-size")
    assert abs(finding["line"] - line) <= 4
    assert "12345" in finding["text"]


def test_the_wrong_byte_order(label: Path, bundle: Path, schemas: Path, store: Path) -> None:
    line = edit(label, "IEEE754LSBSingle", "IEEE754MSBSingle")
    [finding] = told(bundle, schemas, store, "values")
    assert 0 <= line - finding["line"] < 8
    assert "IEEE754LSBSingle" in finding["advice"]


def test_the_wrong_byte_order_without_the_store(bundle: Path, schemas: Path) -> None:
    label = bundle / "data_calibrated" / "pj01" / "histogram_pj01_tly_0001.xml"
    label = next((bundle / "data_calibrated" / "pj01").glob("histogram*.xml")) if not label.exists() else label
    edit(label, "IEEE754LSB", "IEEE754MSB", count=0)
    assert found(bundle, schemas, None)


def test_a_missing_member(label: Path, bundle: Path, schemas: Path, store: Path) -> None:
    label.unlink()
    findings = found(bundle, schemas, store)
    [member] = [f for f in findings if f["rule"] == "missing-member"]
    assert member["file"].endswith("collection_data_calibrated_inventory.csv")
    assert "rate_pj01::1.0" in member["text"]
    # Its data have no label any more, and what was made of it refers to nothing.
    assert {f["rule"] for f in findings} == {"missing-member", "stray-file", "reference"}


def test_a_deprecated_value(label: Path, bundle: Path, schemas: Path, store: Path) -> None:
    line = edit(label, "<type>Host</type>", "<type>Spacecraft</type>")
    [finding] = told(bundle, schemas, store, "schematron")
    assert finding["severity"] == "warning"
    assert "deprecated" in finding["text"]
    assert 0 <= line - finding["line"] <= 3


def test_a_duplicate_identifier(label: Path, bundle: Path, schemas: Path, store: Path) -> None:
    line = edit(label, ":rate_pj01</logical_identifier>", ":dose_pj01</logical_identifier>")
    [finding] = told(bundle, schemas, store, "duplicate-identifier")
    assert finding["file"].endswith("rate_pj01.xml")
    assert finding["line"] == line
    assert "dose_pj01.xml" in finding["text"]


def test_a_wrong_name_of_a_context_product(label: Path, bundle: Path, schemas: Path, store: Path) -> None:
    line = edit(label, r"<name>JUNO</name>(?=\s*<type>Host)", "<name>JUNO Orbiter</name>")
    [finding] = told(bundle, schemas, store, "context-name")
    assert finding["line"] == line
    assert "JUNO" in finding["advice"]


def test_a_stray_file(label: Path, bundle: Path, schemas: Path, store: Path) -> None:
    (bundle / "data_calibrated" / "pj01" / "notes.txt").write_text("mine")
    (bundle / "todo.txt").write_text("mine")
    files = {f["file"] for f in told(bundle, schemas, store, "stray-file")}
    assert files == {"data_calibrated/pj01/notes.txt", "todo.txt"}


def test_a_bad_checksum(label: Path, bundle: Path, schemas: Path, store: Path) -> None:
    data = label.with_suffix(".dat")
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 1
    data.write_bytes(content)
    [finding] = told(bundle, schemas, store, "checksum")
    assert finding["file"].endswith("rate_pj01.xml")
    # And the comparison says which number it is.
    assert told(bundle, schemas, store, "values")


def test_truncated_data(label: Path, bundle: Path, schemas: Path, store: Path) -> None:
    data = label.with_suffix(".dat")
    data.write_bytes(data.read_bytes()[:-10])
    assert "cut off" in told(bundle, schemas, store, "file-size")[0]["advice"]
    assert told(bundle, schemas, store, "object-size")


def test_a_manifest_that_no_longer_holds(bundle: Path, schemas: Path, store: Path) -> None:
    (bundle / "readme.txt").write_bytes((bundle / "readme.txt").read_bytes() + b"more\r\n")
    assert any("readme.txt" in f["text"] for f in told(bundle, schemas, store, "manifest"))


def test_a_label_that_is_no_xml(label: Path, bundle: Path, schemas: Path, store: Path) -> None:
    edit(label, "</Identification_Area>", "")
    [finding] = told(bundle, schemas, store, "xml")
    assert finding["file"].endswith("rate_pj01.xml")
    assert finding["line"] > 1


def test_members_of_the_inventory_are_counted(label: Path, bundle: Path, schemas: Path, store: Path) -> None:
    inventory = bundle / "data_calibrated" / "collection_data_calibrated_inventory.csv"
    rows = inventory.read_bytes()
    inventory.write_bytes(rows + rows.splitlines(True)[0])
    assert any("twice" in f["text"] for f in told(bundle, schemas, store, "inventory"))
    [counted] = told(bundle, schemas, store, "records")
    assert counted["text"].startswith("records is")


def test_findings_are_printed_like_a_compilers(label: Path, bundle: Path, schemas: Path, store: Path) -> None:
    line = edit(label, r"<name>JUNO</name>(?=\s*<type>Host)", "<name>JUNO Orbiter</name>")
    result = invoke("check", bundle, "--schemas", schemas, "--store", store)
    assert result.status == 1
    unbroken = result.out.replace("\n", " ")
    assert f"data_calibrated/pj01/rate_pj01.xml:{line}: error [context-name]" in unbroken


def test_a_bundle_of_others_is_read_without_our_texts(label: Path, bundle: Path, schemas: Path, store: Path) -> None:
    """Without the text of attributes a bundle is like anybody's: checked by its labels alone."""
    rest = r"(?:(?!</?File_Area).)*"
    text = rf"<(?P<area>File_Area\w*)>{rest}<Stream_Text>\s*<name>attributes<{rest}</(?P=area)>"
    for path in labels(bundle):
        if path.parent != bundle:
            path.write_text(re.sub(rf"\s*{text}", "", path.read_text(), flags=re.DOTALL))
    for path in bundle.rglob("*.json"):
        path.unlink()
    assert found(bundle, schemas, store) == []
    opened = perijove.open_product(label)
    known = perijove.open_product("tally.rate/PJ01", store=store)
    assert opened["rate"].dims[0] == "et"
    assert (opened["rate"].values == known["rate"].values).all()
    assert (opened["rate"].attrs["units"], known["rate"].attrs["units"]) == ("1/s", "1/s")
    # Ticks of the clock, which the label scales to seconds.
    assert opened["sclk"].attrs["units"] == "s"
    assert (opened["sclk"].values == known["sclk"].values / 65536.0).all()


@pytest.mark.real
def test_a_product_of_another_mission(real_data: Path, tmp_path: Path) -> None:
    """MESSENGER's tracking data, of information model 1.11 with a mission dictionary and packed fields."""
    for name in ("VALID_odf07155_msgr_11.xml", "odf07155.dat"):
        shutil.copy(real_data / "gravity" / name, tmp_path / name)
    label = Label.read(tmp_path / "VALID_odf07155_msgr_11.xml")
    decoder = Decoder(None)
    # Its label leaves out the zeros that fill the last block.
    assert [f.rule for f in check_files(tmp_path, [label], {})] == ["undescribed-bytes"]
    assert list(decoder.check(label)) == []
    assert decoder.tally.objects == len(label.files[0].objects) > 10
    opened = perijove.open_product(label.path)
    assert sum(v.size > 1000 for v in opened.variables.values()) > 2
    content = bytearray((tmp_path / "odf07155.dat").read_bytes())
    content[50_000] ^= 1
    (tmp_path / "odf07155.dat").write_bytes(content)
    assert {f.rule for f in check_files(tmp_path, [label], {})} == {"undescribed-bytes", "checksum"}
