"""The translation of Schematron, on rules of its own, and labels that others wrote."""

from __future__ import annotations

import io
from pathlib import Path
from typing import ClassVar

import pytest
from core_fixtures import invoke
from lxml import etree

from pipeline.archive.schemas import Schemas
from pipeline.errors import InputError

RULES = """<?xml version="1.0"?>
<sch:schema xmlns:sch="http://purl.oclc.org/dsdl/schematron" queryBinding="xslt2">
  <sch:title>rules</sch:title>
  <sch:ns uri="urn:x" prefix="x"/>
  <sch:pattern>
    <sch:let name="top" value="x:root/@limit"/>
    <sch:rule context="x:item[@old]" role="warning"><sch:assert test="false()"><title>no message</title>
      old &lt;item&gt; <sch:value-of select="@n"/></sch:assert></sch:rule>
    <sch:rule context="x:item"><sch:let name="n" value="number(@n)"/>
      <sch:assert test="$n &lt;= number($top)">item <sch:value-of select="$n"/> is above <sch:value-of select="$top"/>
      </sch:assert><sch:report test="@bad">bad</sch:report></sch:rule>
  </sch:pattern>
  <sch:pattern><sch:rule context="x:item/@n"><sch:assert test=". != '7'">seven</sch:assert></sch:rule></sch:pattern>
</sch:schema>"""
LABEL = """<root xmlns="urn:x" limit="5">
<item n="1"/>
<item n="6"/>
<item n="6" old="yes"/>
<item n="2" bad="yes"/>
<deep><item n="7"/></deep>
</root>"""


def test_rules_fire_as_schematron_says(tmp_path: Path) -> None:
    (tmp_path / "rules.sch").write_text(RULES)
    root = etree.fromstring(LABEL)
    told = [
        (f.line, f.severity, f.text)
        for f in Schemas(tmp_path)._schematron(Path("x.xml"), root, "https://nowhere/rules.sch")
    ]
    assert sorted(told, key=str) == [
        (3, "error", "item 6 is above 5"),
        (4, "warning", "old <item> 6"),  # of a pattern's rules the first that matches
        (5, "error", "bad"),
        (6, "error", "item 7 is above 5"),
        (6, "error", "seven"),
    ]


def test_a_schema_that_is_not_there_is_named(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    result = invoke("check", bundle, "--schemas", tmp_path / "empty")
    assert result.status == 3
    assert "PDS4_PDS_1P00" in result.err


class Answer(io.BytesIO):
    """Of a server that has every file."""

    asked: ClassVar[list[str]] = []

    def __init__(self, address: str, timeout: float) -> None:
        super().__init__(b"<schema/>")
        self.asked.append(address)


def test_schemas_are_fetched_once_and_only_from_who_publishes_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A label may be hostile, and the rules it names are run."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("urllib.request.urlopen", Answer)
    for _ in range(2):
        found = Schemas(None).file("http://pds.nasa.gov/pds4/pds/v1/PDS4_PDS_1P00.xsd")
        assert found.read_bytes() == b"<schema/>"
        assert found.is_relative_to(tmp_path)
    hostile = (
        "https://pds.nasa.gov.example/a.sch",
        "https://x@10.0.0.1/a.sch",
        "file:///etc/a.sch",
        "ftp://pds.nasa.gov/a",
    )
    for address in hostile:
        with pytest.raises(InputError, match=r"is not fetched, only from pds\.nasa\.gov"):
            Schemas(None).file(address)
    assert Answer.asked == ["https://pds.nasa.gov/pds4/pds/v1/PDS4_PDS_1P00.xsd"]


@pytest.mark.parametrize(("path", "what"), [("no", "no such folder"), (".", "holds no bundle")])
def test_what_is_no_bundle_is_refused(path: str, what: str, tmp_path: Path) -> None:
    result = invoke("check", tmp_path / path)
    assert result.status == 3
    assert what in result.err
