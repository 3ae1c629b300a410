"""XSD and Schematron of the dictionaries a label names, and checking labels against them.

The files are taken from a folder, or fetched once from the address that the label gives into a cache.
Schematron (ISO 19757-3, query binding xslt2) is turned into XSLT and run by Saxon. Of Schematron exactly what PDS4's
files hold is supported: titles, namespaces, patterns, rules, assertions, reports, variables, value-of.
"""

from __future__ import annotations

import os
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal
from xml.sax.saxutils import escape, quoteattr

from lxml import etree

from pipeline.archive.findings import Finding
from pipeline.archive.xml import legal
from pipeline.errors import InputError

SCH = "{http://purl.oclc.org/dsdl/schematron}"
XS = "{http://www.w3.org/2001/XMLSchema}"
CORE = re.compile(r"/PDS4_PDS_\w+\.xsd$")
HUGE = etree.XMLParser(huge_tree=True)
LINES = 32768
# Of the private use area: stands in no label, and is legal in XML.
MARK = "\ue000"
TIMEOUT = 60.0
# Who publishes dictionaries. Their rules are run: where these come from must not be a label's to choose.
HOSTS = ("pds.nasa.gov", "psa.esa.int")
# Where a node is, as an expression that XPath 1 reads as well.
PLACE = "string-join(for $a in ancestor-or-self::* return concat('/*[', count($a/preceding-sibling::*) + 1, ']'), '')"


def cache_folder() -> Path:
    """Where fetched schemas are kept: ``XDG_CACHE_HOME``, else ``~/.cache``."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "perijove" / "pds4"


class Schemas:
    """Schemas by file name; those of one address are fetched and compiled once.

    Parameters
    ----------
    folder : folder that holds the files, at any depth; None: they are fetched into the cache.
    """

    def __init__(self, folder: Path | None) -> None:
        if folder is not None and not folder.is_dir():
            raise InputError(folder, "there is no such folder of schemas")
        self.folder = folder
        self._files = {p.name: p for p in sorted((folder or cache_folder()).rglob("*.*"))}
        self._compiled: dict[tuple[str, ...], etree.XMLSchema] = {}
        self._types: dict[tuple[str, str], etree.XMLSchema | None] = {}
        self._rules: dict[str, Any] = {}
        self._saxon: Any = None

    def file(self, address: str) -> Path:
        """The file of a public address; raises InputError if it cannot be had."""
        name = address.rpartition("/")[2]
        if name not in self._files:
            if self.folder is not None:
                raise InputError(self.folder, f"holds no {name}, which a label names ({address})")
            self._files[name] = _fetch(address, cache_folder() / name)
        return self._files[name]

    def label(self, path: Path, root: etree._Element, models: list[str], schemas: list[str]) -> Iterator[Finding]:
        """What is wrong with a label by the schemas and Schematrons it names."""
        key = tuple(sorted(schemas))
        if key not in self._compiled:
            self._compiled[key] = self._schema(key)
        schema = self._compiled[key]
        if not schema.validate(root):
            for error in schema.error_log:
                text = re.sub(r"\{http[^}]*\}", "", error.message)
                yield Finding(path, error.line, "schema", text, "see the dictionary's schema")
        for address in models:
            yield from self._schematron(path, root, address)

    def first_wrong(self, schemas: Sequence[str], kind: str, values: Sequence[str]) -> int | None:
        """Number of the first value that is none of a type of the core dictionary, as the label's own version has it.

        None: all are, or the dictionary has no such type, of which its Schematron tells.
        """
        address = next((a for a in schemas if CORE.search(a)), None)
        if address is None or not values:
            return None
        if (address, kind) not in self._types:
            self._types[address, kind] = self._type(address, kind)
        schema = self._types[address, kind]
        # A value a line: the parser counts few lines.
        for start in range(0, 0 if schema is None else len(values), LINES):
            lines = "".join(f"<v>{escape(legal(v))}</v>\n" for v in values[start : start + LINES])
            if schema is not None and not schema.validate(etree.fromstring(f"<l>{lines}</l>", HUGE)):
                return start + int(schema.error_log[0].line) - 1
        return None

    def _type(self, address: str, kind: str) -> etree.XMLSchema | None:
        """A schema of lists of values of one type."""
        core = etree.parse(self.file(address)).getroot()
        if core.find(f"{XS}simpleType[@name='{kind}']") is None:
            return None
        parser = etree.XMLParser(no_network=True)
        parser.resolvers.add(_ByName(self))
        space = core.get("targetNamespace")
        driver = (
            f'<xs:schema xmlns:xs="{XS[1:-1]}" xmlns:c="{space}"><xs:import namespace="{space}" '
            f'schemaLocation="{address}"/><xs:element name="l"><xs:complexType><xs:sequence>'
            f'<xs:element name="v" type="c:{kind}" minOccurs="0" maxOccurs="unbounded"/>'
            "</xs:sequence></xs:complexType></xs:element></xs:schema>"
        )
        return etree.XMLSchema(etree.fromstring(driver, parser))

    def _schema(self, addresses: tuple[str, ...]) -> etree.XMLSchema:
        """One schema that imports those of all the dictionaries."""
        parser = etree.XMLParser(no_network=True)
        parser.resolvers.add(_ByName(self))
        imports = []
        for address in addresses:
            file = self.file(address)
            namespace = etree.parse(file).getroot().get("targetNamespace")
            imports.append(f'<xs:import namespace="{namespace}" schemaLocation="{address}"/>')
        driver = f'<xs:schema xmlns:xs="{XS[1:-1]}">{"".join(imports)}</xs:schema>'
        try:
            return etree.XMLSchema(etree.fromstring(driver, parser))
        except etree.XMLSchemaParseError as error:
            raise InputError(self.folder or cache_folder(), f"schemas cannot be compiled: {error}") from error

    def _schematron(self, path: Path, root: etree._Element, address: str) -> Iterator[Finding]:
        import saxonche

        if self._saxon is None:
            self._saxon = saxonche.PySaxonProcessor(license=False)
        if address not in self._rules:
            sheet = stylesheet(etree.parse(self.file(address)).getroot())
            self._rules[address] = self._saxon.new_xslt30_processor().compile_stylesheet(stylesheet_text=sheet)
        document = self._saxon.parse_xml(xml_text=etree.tostring(root, encoding="unicode"))
        said = self._rules[address].transform_to_string(xdm_node=document) or ""
        for entry in said.split("\n" + MARK):
            if not entry.strip():
                continue
            place, role, text = entry.strip(MARK + "\n").split(MARK)
            found = root.xpath(place) if place else []
            line = found[0].sourceline if found else None
            where = "/".join(_name(e) for e in [*reversed(list(found[0].iterancestors())), *found]) if found else "it"
            severity: Literal["error", "warning"] = "warning" if role.lower().startswith(("warn", "info")) else "error"
            yield Finding(path, line, "schematron", " ".join(text.split()), f"change {where}", severity)


def _name(element: etree._Element) -> str:
    return str(etree.QName(element).localname)


class _ByName(etree.Resolver):
    """Resolves an import by the name of the file it points to."""

    def __init__(self, schemas: Schemas) -> None:
        super().__init__()
        self.schemas = schemas

    def resolve(self, url: str, public: str, context: Any) -> Any:
        del public
        if not url.endswith(".xsd"):
            return None
        return self.resolve_filename(str(self.schemas.file(url)), context)


def _fetch(address: str, target: Path) -> Path:
    parts = urllib.parse.urlsplit(address)
    if parts.scheme not in ("http", "https") or parts.netloc not in HOSTS:
        raise InputError(address, f"is not fetched, only from {', '.join(HOSTS)}; --schemas DIR names a folder with it")
    try:
        with urllib.request.urlopen(parts._replace(scheme="https").geturl(), timeout=TIMEOUT) as answer:
            content = answer.read()
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name}.part")
        part.write_bytes(content)
        part.replace(target)
    except (urllib.error.URLError, OSError) as error:
        reason = getattr(error, "reason", error)
        raise InputError(
            address, f"cannot be fetched ({reason}); --schemas DIR names a folder that holds it"
        ) from error
    return target


def stylesheet(schematron: etree._Element) -> str:
    """An XSLT that says, for every assertion that fails: where, role and text, parted by `MARK`."""
    spaces = " ".join(f"xmlns:{n.get('prefix')}={quoteattr(n.get('uri'))}" for n in schematron.iter(f"{SCH}ns"))
    modes, calls = [], []
    for number, pattern in enumerate(schematron.iter(f"{SCH}pattern")):
        rules = pattern.findall(f"{SCH}rule")
        # Of the rules of a pattern the first that matches a node is the one that counts.
        lets = _lets(pattern, "root()/({})")
        modes += [_rule(rule, lets, f"m{number}", len(rules) - at) for at, rule in enumerate(rules)]
        modes.append(f'<xsl:mode name="m{number}" on-no-match="shallow-skip"/>')
        modes.append(
            f'<xsl:template match="*" mode="m{number}" priority="0">'
            f'<xsl:apply-templates select="@*|*" mode="m{number}"/></xsl:template>'
        )
        calls.append(f'<xsl:apply-templates select="/" mode="m{number}"/>')
    return (
        '<xsl:stylesheet version="3.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform" '
        f'xmlns:xs="{XS[1:-1]}" {spaces}><xsl:output method="text"/>{_lets(schematron)}'
        f'<xsl:template match="/" priority="1000">{"".join(calls)}</xsl:template>{"".join(modes)}</xsl:stylesheet>'
    )


def _lets(parent: etree._Element, form: str = "{}") -> str:
    """Variables; those of a pattern are values at the root of the document, those of a rule at its node."""
    return "".join(
        f"<xsl:variable name={quoteattr(e.get('name'))} select={quoteattr(form.format(e.get('value')))}/>"
        for e in parent.findall(f"{SCH}let")
    )


def _rule(rule: etree._Element, lets: str, mode: str, priority: int) -> str:
    role = rule.get("role", "")
    tests = []
    for test in rule:
        if test.tag not in (f"{SCH}assert", f"{SCH}report"):
            continue
        condition = test.get("test")
        condition = f"not({condition})" if test.tag == f"{SCH}assert" else condition
        message = f'<xsl:value-of select="{PLACE}"/><xsl:text>{MARK}{escape(test.get("role", role))}{MARK}</xsl:text>'
        tests.append(
            f"<xsl:if test={quoteattr(condition)}><xsl:text>&#10;{MARK}</xsl:text>{message}{_text(test)}</xsl:if>"
        )
    return (
        f'<xsl:template match={quoteattr(rule.get("context"))} mode="{mode}" priority="{priority}">{lets}{_lets(rule)}'
        f'{"".join(tests)}<xsl:apply-templates select="@*|*" mode="{mode}"/></xsl:template>'
    )


def _text(test: etree._Element) -> str:
    """Text of an assertion, with the values it asks for; its title is not part of the message."""
    parts = [escape(test.text or "")]
    for child in test:
        if child.tag == f"{SCH}value-of":
            parts.append(f"</xsl:text><xsl:value-of select={quoteattr(child.get('select'))}/><xsl:text>")
        parts.append(escape(child.tail or ""))
    return f"<xsl:text>{''.join(parts)}</xsl:text>"
