"""A bundle: products, collections with their inventories, the bundle's own label, and versions of all of them."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lxml import etree

from pipeline.archive import context
from pipeline.archive.files import md5_of
from pipeline.archive.label import (
    History,
    Subject,
    circumstances,
    citation,
    file_of,
    identification,
    text_area,
)
from pipeline.archive.layout import Written, write_bytes
from pipeline.archive.xml import DICTIONARIES, Element, document, make
from pipeline.errors import InputError, StoreError

# Collection to its type, the end of the reference type of a member entry, processing levels, and what it holds.
COLLECTIONS: dict[str, tuple[str, str, tuple[str, ...], str]] = {
    "data_raw": ("Data", "data", ("Raw",), "Raw data as they came, and decoded; nothing is corrected."),
    "data_calibrated": ("Data", "data", ("Calibrated",), "Calibrated data with uncertainties and quality flags."),
    "data_derived": ("Data", "data", ("Derived",), "Data derived from the calibrated data."),
    "calibration": ("Calibration", "calibration", ("Calibrated",), "The calibration tables that were read."),
    "geometry": ("Geometry", "geometry", ("Derived",), "Position and attitude of the spacecraft and its instruments."),
    "browse": ("Browse", "browse", ("Calibrated",), "Quick looks: figures of the data."),
    "document": ("Document", "document", ("Calibrated",), "The user's guide and the description of the algorithm."),
    "context": ("Context", "context", ("Calibrated",), "The registered context products that the labels refer to."),
    "xml_schema": ("XML Schema", "schema", ("Calibrated",), "The dictionaries that the labels keep to."),
}
LABEL_ALONE = "The label alone has changed, not its files."
# Days, the times that a run covers, the software.
PASSING = re.compile(
    rb"<(?:creation_date_time|publication_date|publication_year|start_date_time|stop_date_time|proc:software_version_id)>"
    rb"[^<]*"
)
SCHEMA_PRODUCTS = "urn:nasa:pds:system_bundle:xml_schema"


@dataclass(frozen=True)
class Previous:
    """A product of the bundle's previous version.

    Parameters
    ----------
    files : name to MD5 of the files its label describes.
    """

    label: Path
    version: str
    history: History
    files: dict[str, str]


def previous_products(bundle: Path, lid: str) -> dict[str, Previous]:
    """Products, collections and bundle of an earlier export of a bundle, by identifier.

    Raises
    ------
    InputError
        if it is another bundle, or a label is no XML or has no version.
    """
    found = {}
    for label in sorted(bundle.rglob("*.xml")):
        try:
            root = etree.parse(label).getroot()
        except etree.XMLSyntaxError as error:
            raise InputError(label, f"no XML: {error.msg}") from error

        def text(path: str, element: Any = root) -> str:
            return " ".join((element.findtext(path) or "").split())

        details = root.findall(".//{*}Modification_Detail")
        history = [
            (text("{*}modification_date", d), text("{*}version_id", d), text("{*}description", d)) for d in details
        ]
        files = {text("{*}file_name", f): text("{*}md5_checksum", f) for f in root.iter("{*}File", "{*}Document_File")}
        version = text(".//{*}version_id")
        if not re.fullmatch(r"[1-9]\d*\.\d+", version):
            raise InputError(label, f"its version_id is {version!r}, which is no version")
        found[text(".//{*}logical_identifier")] = Previous(label, version, history, files)
    if lid not in found:
        top = next((name for name in found if name.count(":") == 3), "no bundle")
        raise InputError(bundle, f"is {top}, no earlier version of {lid}")
    return found


@dataclass
class Bundle:
    """A bundle being written into a folder.

    Parameters
    ----------
    why : text of the entries in the modification history.
    previous : what was exported before: what has the same bytes keeps its version and label.
    """

    root: Path
    subject: Subject
    why: str
    previous: dict[str, Previous] = field(default_factory=dict)
    members: dict[str, dict[str, str]] = field(default_factory=dict)
    digests: dict[Path, str] = field(default_factory=dict)
    _dictionaries: set[str] = field(default_factory=set)
    _times: dict[str, tuple[str, str]] = field(default_factory=dict)

    def lid(self, collection: str, name: str = "") -> str:
        """Identifier of a collection or of a product in it."""
        return ":".join(filter(None, (self.subject.bundle, collection, name)))

    def add(
        self,
        collection: str,
        folder: str,
        name: str,
        write: Callable[[Path], list[Written]],
        label: Callable[[str, History, list[Written]], Element],
    ) -> str:
        """Write a product and its label; returns its identifier.

        Parameters
        ----------
        write : given the folder, writes the files.
        label : given identifier, history and files, makes the label.
        """
        lid = self.lid(collection, name)
        if lid in self.members.setdefault(collection, {}):
            raise StoreError(f"two products would be called {lid}")
        place = self.root / collection / folder
        files = write(place)
        twice = [w.path.name for w in files if w.path.relative_to(self.root) in self.digests]
        if twice:
            raise StoreError(f"two files of {collection} would be called {', '.join(twice)}")
        self.digests |= {w.path.relative_to(self.root): w.md5 for w in files}
        version = self._label(place / f"{name}.xml", lid, files, lambda history: label(lid, history, files))
        self.members[collection][lid] = version
        return lid

    def _label(self, path: Path, lid: str, files: Sequence[Written], make_label: Callable[[History], Element]) -> str:
        """Write the label, or the previous one again where nothing of the product has changed; returns the version."""
        old = self.previous.get(lid)
        version, why = "1.0", self.why
        if old:
            major, minor = old.version.split(".")
            version = f"{int(major) + 1}.0"
            if old.files == {w.path.name: w.md5 for w in files}:
                before = old.label.read_bytes()
                if _lasting(document(make_label(old.history))) == _lasting(before):
                    write_bytes(path, before)
                    return old.version
                version, why = f"{major}.{int(minor) + 1}", f"{LABEL_ALONE} {self.why}"
        history = [(f"{self.subject.date:%Y-%m-%d}", version, why), *(old.history if old else [])]
        write_bytes(path, document(make_label(history)))
        return version

    def carry_over(self) -> None:
        """Take over the previous bundle's products that this one has not made: other passes, tables no longer read."""
        for lid, old in self.previous.items():
            parts = lid.split(":")
            if len(parts) != 6 or lid in self.members.get(parts[4], {}):
                continue
            source = old.label.parent
            place = self.root.joinpath(*source.parts[len(self._old_root(old.label).parts) :])
            place.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(old.label, place / old.label.name)
            for name, md5 in old.files.items():
                self.digests[(place / name).relative_to(self.root)] = _copy(source / name, place / name, md5)
            self.members.setdefault(parts[4], {})[lid] = old.version

    @staticmethod
    def _old_root(label: Path) -> Path:
        return next(p for p in label.parents if list(p.glob("bundle*.xml")))

    def close(self, title: str, readme: str) -> None:
        """Write collections, readme and the bundle's label."""
        entries = []
        self._look()
        for collection in COLLECTIONS:
            rows = [("P", f"{lid}::{v}") for lid, v in sorted(self.members.get(collection, {}).items())]
            rows += self._secondary(collection)
            if rows:
                lid, version = self._collection(collection, rows, title)
                entries.append((collection, f"{lid}::{version}"))
        written = write_bytes(self.root / "readme.txt", _crlf(readme))
        name = self.subject.bundle.rpartition(":")[2]
        label = self.root / f"bundle_{name}.xml"
        lid = self.subject.bundle
        old = self.previous.get(lid)
        if old and {f"{v}" for _, v in entries} != _entries_of(old.label):
            self.previous = {**self.previous, lid: Previous(old.label, old.version, old.history, {})}
        self._label(label, lid, [written], lambda history: self._bundle_label(lid, history, written, entries, title))

    def _secondary(self, collection: str) -> list[tuple[str, str]]:
        if collection == "context":
            known = context.registered()
            return [("S", f"{lid}::{known[lid].version}") for lid in sorted(self._used_contexts())]
        if collection == "xml_schema":
            return [("S", f"{SCHEMA_PRODUCTS}:{prefix}-xml_schema") for prefix in sorted(self._dictionaries)]
        return []

    def _used_contexts(self) -> set[str]:
        subject = self.subject
        used = {context.INVESTIGATION, context.HOST, *(context.target(t).lid for t in subject.pds4.targets)}
        return used | ({subject.registered.lid} if subject.registered else set())

    def _look(self) -> None:
        """Note what the labels of the products keep to, and of what times they are: other passes' are among them."""
        namespaces = {namespace: prefix for prefix, (namespace, _) in DICTIONARIES.items()}
        self._dictionaries = {"pds"}
        self._times = {}
        for path in self.root.rglob("*.xml"):
            root = etree.parse(path).getroot()
            self._dictionaries |= {namespaces[n] for n in root.nsmap.values() if n in namespaces}
            collection = path.relative_to(self.root).parts[0]
            start, stop = (root.findtext(f".//{{*}}Time_Coordinates/{{*}}{n}_date_time") for n in ("start", "stop"))
            for key in (collection, "") if collection.startswith("data_") else (collection,):
                first, last = self._times.get(key, (start, stop))
                self._times[key] = min(first, start), max(last, stop)

    def _collection(self, collection: str, rows: list[tuple[str, str]], title: str) -> tuple[str, str]:
        place = self.root / collection
        inventory = "".join(f"{status},{lidvid}\r\n" for status, lidvid in rows)
        written = write_bytes(place / f"collection_{collection}_inventory.csv", inventory.encode("ascii"))
        lid = self.lid(collection)
        version = self._label(
            place / f"collection_{collection}.xml",
            lid,
            [written],
            lambda history: self._collection_label(collection, lid, history, written, len(rows), title),
        )
        return lid, version

    def _collection_label(
        self, collection: str, lid: str, history: History, written: Written, records: int, title: str
    ) -> Element:
        kind, _, levels, text = COLLECTIONS[collection]
        subject = self.subject
        return make(
            "Product_Collection",
            identification(
                lid, subject.title(f"{title}: {text[:-1]}"), "Product_Collection", history, citation(subject, text)
            ),
            circumstances(
                "Context_Area",
                subject,
                "collection",
                purpose=_purpose(collection),
                levels=levels,
                times=self._times.get(collection),
            ),
            make("Collection", make("collection_type", kind), make("description", subject.said(text))),
            make("File_Area_Inventory", file_of(written, subject.date), _inventory(records)),
        )

    def _bundle_label(
        self, lid: str, history: History, readme: Written, entries: Iterable[tuple[str, str]], title: str
    ) -> Element:
        subject = self.subject
        text = f"{title}: raw, calibrated and derived data, the tables and the geometry they were made with."
        levels = [lv for c, _ in entries if c.startswith("data_") for lv in COLLECTIONS[c][2]]
        return make(
            "Product_Bundle",
            identification(lid, subject.title(title), "Product_Bundle", history, citation(subject, text)),
            circumstances("Context_Area", subject, "bundle", levels=levels, times=self._times.get("")),
            make("Bundle", make("bundle_type", "Archive"), make("description", subject.said(text))),
            text_area("File_Area_Text", readme, subject.date, "readme", "What is in this bundle."),
            *(
                make(
                    "Bundle_Member_Entry",
                    make("lidvid_reference", lidvid),
                    make("member_status", "Primary"),
                    make("reference_type", f"bundle_has_{COLLECTIONS[c][1]}_collection"),
                )
                for c, lidvid in entries
            ),
        )


def _copy(source: Path, place: Path, md5: str) -> str:
    """Copy a file as its label describes it, with its checksum; raises InputError if it is no longer that file."""
    if not source.is_file():
        raise InputError(source, "is not there, but its label is; restore it")
    shutil.copyfile(source, place)
    if md5_of(place) != md5:
        raise InputError(source, f"is not the file that its label describes (md5_checksum {md5}); restore it")
    return md5


def _purpose(collection: str) -> str:
    return {"calibration": "Calibration", "geometry": "Observation Geometry"}.get(collection, "Science")


def _lasting(label: bytes) -> bytes:
    """A label without what differs between exports of one product of which nothing has changed."""
    return PASSING.sub(b"", label)


def _entries_of(label: Path) -> set[str]:
    return {e.text.strip() for e in etree.parse(label).getroot().iter("{*}lidvid_reference") if e.text}


def _crlf(text: str) -> bytes:
    return text.replace("\n", "\r\n").encode("utf-8")


def _inventory(records: int) -> Element:
    fields = (("Member Status", "ASCII_String", 1), ("LIDVID_LID", "ASCII_LIDVID_LID", 255))
    return make(
        "Inventory",
        make("offset", 0, unit="byte"),
        make("parsing_standard_id", "PDS DSV 1"),
        make("records", records),
        make("record_delimiter", "Carriage-Return Line-Feed"),
        make("field_delimiter", "Comma"),
        make(
            "Record_Delimited",
            make("fields", 2),
            make("groups", 0),
            *(
                make(
                    "Field_Delimited",
                    make("name", name),
                    make("field_number", number),
                    make("data_type", kind),
                    make("maximum_field_length", width, unit="byte"),
                )
                for number, (name, kind, width) in enumerate(fields, 1)
            ),
        ),
        make("reference_type", "inventory_has_member_product"),
    )


def manifest(place: Path, bundle: Path, known: Mapping[Path, str]) -> Path:
    """Write ``<bundle>.md5`` beside a bundle, for ``md5sum -c``; inside it would be a file without a label.

    Parameters
    ----------
    place : where the bundle is while it is being written.
    known : checksums of files in it, as they were written.
    """
    lines = []
    for path in sorted(p for p in place.rglob("*") if p.is_file()):
        name = path.relative_to(place)
        lines.append(f"{known.get(name) or md5_of(path)}  {(bundle.name / name).as_posix()}\n")
    target = bundle.with_name(f"{bundle.name}.md5")
    write_bytes(target, "".join(lines).encode())
    return target
