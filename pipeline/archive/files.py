"""Checking the files of a bundle: names, sizes, checksums, and that objects cover their bytes."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from pipeline.archive.findings import Finding
from pipeline.archive.labels import FileEntry, Label, is_bundle

COLLECTION_FOLDERS = ("browse", "calibration", "context", "data", "document", "geometry", "miscellaneous", "xml_schema",
                      "spice_kernels")  # fmt: skip
NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?")
# Standards to the suffixes of their files and what a file begins with.
STANDARDS: dict[str, tuple[tuple[str, ...], bytes]] = {
    "GIF": ((".gif",), b"GIF8"),
    "HTML": ((".htm", ".html"), b""),
    "JPEG": ((".jpg", ".jpeg"), b"\xff\xd8\xff"),
    "PDF": ((".pdf",), b"%PDF-"),
    "PDF/A": ((".pdf",), b"%PDF-"),
    "PNG": ((".png",), b"\x89PNG\r\n\x1a\n"),
    "Postscript": ((".ps",), b"%!PS"),
    "Rich Text": ((".rtf",), b"{\\rtf"),
    "TIFF": ((".tif", ".tiff"), b""),
}
RESERVED = {"aux", "con", "core", "nul", "prn", *(f"{d}{n}" for d in ("com", "lpt") for n in range(1, 10))}


def check_names(bundle: Path) -> Iterator[Finding]:
    """Names of files and folders, and what may lie in the root."""
    seen: dict[str, Path] = {}
    for path in sorted(bundle.rglob("*")):
        if not _allowed(path):
            advice = "letters, digits, _ . - between letters or digits; files have a suffix, folders no dot"
            yield Finding(path, None, "name", f"{path.name!r} is no name PDS4 allows", advice)
        folded = str(path.relative_to(bundle)).lower()
        if folded in seen:
            text = f"differs from {seen[folded].name} only in its case"
            yield Finding(path, None, "name", text, "rename one of them")
        seen[folded] = path
        if path.is_dir() and path.parent == bundle and not path.name.startswith(COLLECTION_FOLDERS):
            allowed = ", ".join(COLLECTION_FOLDERS)
            yield Finding(path, None, "folder", "is no folder of a collection", f"begin its name with {allowed}")
        if path.is_dir() and not any(path.iterdir()):
            yield Finding(path, None, "folder", "is empty", "remove it")
        if path.is_file() and path.parent == bundle and not path.name.lower().startswith(("bundle", "readme")):
            yield Finding(path, None, "stray-file", "lies in the root of the bundle", "only bundle* and readme* may")


def _allowed(path: Path) -> bool:
    """Whether a file or folder may be called so: Standards Reference, 6C."""
    name = path.name
    plain = NAME.fullmatch(name) is not None and len(name) <= 255 and name.lower() != "a.out"
    return plain and path.stem.lower() not in RESERVED and ("." in name) == path.is_file()


def check_files(bundle: Path, labels: Iterable[Label], digests: dict[Path, str]) -> Iterator[Finding]:
    """Every file of every label, and files that no label describes; `digests` gets the checksums found."""
    described: dict[Path, Label] = {}
    for label in labels:
        described[label.path] = label
        for entry in label.files:
            path = label.path.parent / entry.name
            if (other := described.setdefault(path, label)) is not label:
                text = f"{entry.name} is also described by {other.path.name}"
                yield Finding(label.path, label.line(entry.element), "shared-file", text, "one label describes a file")
            yield from _check_file(label, entry, path, digests)
    for path in sorted(p for p in bundle.rglob("*") if p.is_file() and p not in described):
        if is_bundle(bundle) and path.name.lower().startswith("readme") and path.parent == bundle:
            continue
        yield Finding(path, None, "stray-file", "no label describes this file", "label it, or remove it")


def _check_file(label: Label, entry: FileEntry, path: Path, digests: dict[Path, str]) -> Iterator[Finding]:
    line = label.line(entry.element)
    if not path.is_file():
        near = next((p.name for p in path.parent.glob("*") if p.name.lower() == path.name.lower()), None)
        text = f"{entry.name} is not there" + (f", but {near} is" if near else "")
        yield Finding(label.path, line, "missing-file", text, "restore the file or correct file_name")
        return
    size = path.stat().st_size
    if entry.size is not None and entry.size != size:
        how = "cut off or replaced" if size < entry.size else "changed"
        text = f"file_size is {entry.size}, {entry.name} has {size} bytes"
        yield Finding(label.path, line, "file-size", text, f"the file was {how}: restore it, or label it anew")
    if entry.md5 is not None:
        digest = digests[path] = md5_of(path)
        if digest != entry.md5:
            text = f"md5_checksum is {entry.md5}, that of {entry.name} is {digest}"
            yield Finding(label.path, line, "checksum", text, "the file or its label was changed: restore it")
    yield from _check_objects(label, entry, size)
    yield from _check_standard(label, entry, path)
    if path.suffix.lower() in (".png", ".jpg", ".jpeg"):
        yield from _check_picture(path)


def md5_of(path: Path) -> str:
    """MD5 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _check_objects(label: Label, entry: FileEntry, size: int) -> Iterator[Finding]:
    """Objects lie in the file, in order, without overlap, and leave no byte undescribed."""
    end = 0
    known = True
    for one in entry.objects:
        line = label.line(one.element)
        what = f"{one.kind} {one.name}"
        if one.offset < end:
            text = f"{what} begins at byte {one.offset}, the object before it ends at {end}"
            yield Finding(label.path, line, "object-overlap", text, "correct its offset; objects stand in their order")
        elif one.offset > end and known:
            text = f"no object describes bytes {end} to {one.offset} of {entry.name}, before {what}"
            yield Finding(
                label.path, line, "undescribed-bytes", text, "correct the offset, or describe the bytes", "warning"
            )
        known = one.size is not None
        if one.offset + (one.size or 0) > size:
            text = f"{what} would end at byte {one.offset + (one.size or 0)}, {entry.name} has {size}"
            yield Finding(label.path, line, "object-size", text, "correct offset, elements, records or data type")
        end = max(end, one.offset + (one.size or 0))
    if entry.objects and known and end < size:
        text = f"no object describes the last {size - end} bytes of {entry.name}"
        yield Finding(label.path, label.line(entry.element), "undescribed-bytes", text, "describe them", "warning")


def _check_standard(label: Label, entry: FileEntry, path: Path) -> Iterator[Finding]:
    """A document or picture is what its label says; of PDF/A, that the file says so itself."""
    element = entry.element if entry.element.tag.endswith("}Document_File") else entry.element.getparent()
    for standard in element.iter("{*}encoding_standard_id", "{*}document_standard_id"):
        name = label.text(".", standard)
        suffixes, begins = STANDARDS.get(name, ((), b""))
        if suffixes and path.suffix.lower() not in suffixes:
            text = f"{path.name} is described as {name}, whose files end in {' or '.join(suffixes)}"
            yield Finding(label.path, label.line(standard), "standard", text, "rename or describe it anew", "warning")
        content = path.read_bytes() if begins else b""
        if not content.startswith(begins):
            yield Finding(label.path, label.line(standard), "standard", f"{path.name} is no {name}", "restore the file")
        elif name == "PDF/A" and b"pdfaid:part" not in content:
            text = f"{path.name} does not say that it is PDF/A"
            yield Finding(label.path, label.line(standard), "standard", text, "write it as PDF/A")


def _check_picture(path: Path) -> Iterator[Finding]:
    from PIL import Image

    try:
        with Image.open(path) as picture:
            picture.verify()
    except Exception as error:  # whatever the library raises on a damaged file
        yield Finding(path, None, "picture", f"is no picture of its kind ({error})", "restore the file")


def check_manifest(bundle: Path, digests: Mapping[Path, str]) -> Iterator[Finding]:
    """The manifest beside the bundle, if there is one; `digests` are checksums known already."""
    path = bundle.with_name(f"{bundle.name}.md5")
    if not path.is_file():
        return
    listed = set()
    for number, row in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        digest, _, name = row.partition("  ")
        listed.add(file := bundle.parent / name)
        if not file.is_file():
            yield Finding(path, number, "manifest", f"{name} is not there", "restore it, or write the manifest anew")
        elif (digests.get(file) or md5_of(file)) != digest:
            yield Finding(path, number, "manifest", f"{name} has another checksum", "restore it")
    for file in sorted(p for p in bundle.rglob("*") if p.is_file() and p not in listed):
        name = file.relative_to(bundle.parent).as_posix()
        yield Finding(path, None, "manifest", f"{name} is not listed", "remove it, or write the manifest anew")
