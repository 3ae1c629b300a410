"""Checking how the products of a bundle refer to one another: identifiers, members, inventories, context, versions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from pipeline.archive import context
from pipeline.archive.findings import Finding
from pipeline.archive.labels import Label, references

LID = re.compile(r"urn(:[a-z0-9._-]+){3,5}")
CONTEXT = f"{context.ROOT}:"


def check_integrity(bundle: Path, labels: Sequence[Label]) -> Iterator[Finding]:
    """Everything that needs more than one label."""
    yield from _identifiers(labels)
    yield from _model_versions(labels)
    collections = [c for c in labels if c.kind == "Product_Collection"]
    listed: set[str] = set()
    for collection in collections:
        yield from _inventory(collection, labels, listed)
    tops = [b for b in labels if b.kind == "Product_Bundle"]
    if len(tops) != 1:
        text = "there is no label of the bundle" if not tops else f"{len(tops)} labels of bundles"
        yield Finding(bundle, None, "bundle", text, "a bundle has exactly one bundle*.xml in its root")
    for top in tops:
        yield from _members(top, collections)
    for label in labels:
        if label.kind in ("Product_Collection", "Product_Bundle"):
            continue
        if label.lidvid not in listed:
            yield Finding(
                label.path, None, "unlisted", f"{label.lidvid} is in no inventory", "add it to its collection's"
            )
    for label in labels:
        yield from _references(label, labels)
        yield from _context(label)
    yield from _contexts_named(labels, tops + collections)


def _identifiers(labels: Sequence[Label]) -> Iterator[Finding]:
    seen: dict[str, Label] = {}
    for label in labels:
        line = label.line(label.root.find("{*}Identification_Area/{*}logical_identifier"))
        if not LID.fullmatch(label.lid):
            text = f"{label.lid!r} is no logical identifier"
            yield Finding(label.path, line, "identifier", text, "urn:nasa:pds:bundle:collection:product, lower case")
        other = seen.setdefault(label.lidvid, label)
        if other is not label:
            text = f"{label.lidvid} is also that of {other.path}"
            yield Finding(
                label.path, line, "duplicate-identifier", text, "give one of them another identifier or version"
            )


def _model_versions(labels: Sequence[Label]) -> Iterator[Finding]:
    path = "{*}Identification_Area/{*}information_model_version"
    versions = {label.text(path) for label in labels}
    if len(versions) > 1:
        first = labels[0].text(path)
        for label in labels:
            if label.text(path) != first:
                text = f"information model {label.text(path)}, others have {first}"
                line = label.line(label.root.find(path))
                yield Finding(label.path, line, "model-version", text, "use one version in a bundle", "warning")


def _inventory(collection: Label, labels: Sequence[Label], listed: set[str]) -> Iterator[Finding]:
    """Members of a collection; those of it are added to `listed`."""
    area = collection.root.find("{*}File_Area_Inventory")
    if area is None or not collection.files:
        return
    path = collection.path.parent / collection.files[0].name
    if not path.is_file():
        return  # told with the files
    known = {label.lidvid: label for label in labels}
    rows = path.read_bytes().decode("utf-8", "replace").splitlines()
    seen: set[str] = set()
    for number, row in enumerate(rows, 1):
        status, _, lidvid = (part.strip().strip('"') for part in row.partition(","))
        if status not in ("P", "S"):
            yield Finding(path, number, "inventory", f"member status is {status!r}", "P primary, S secondary")
        if lidvid in seen:
            yield Finding(path, number, "inventory", f"{lidvid} is listed twice", "remove one")
        seen.add(lidvid)
        if status == "P":
            if "::" not in lidvid:
                yield Finding(path, number, "inventory", f"{lidvid} has no version", "primary members have one")
            listed.add(lidvid)
            if lidvid not in known:
                versions = [v for v in known if v.split("::")[0] == lidvid.split("::")[0]]
                there = f", but {versions[0]} is" if versions else ""
                advice = "restore the product with its label, or remove the line"
                yield Finding(path, number, "missing-member", f"{lidvid} is not there{there}", advice)
            if not lidvid.startswith(f"{collection.lid}:"):
                text = f"{lidvid} is primary, but not of {collection.lid}"
                yield Finding(path, number, "inventory", text, "list it as S, or correct its identifier")


def _members(top: Label, collections: Sequence[Label]) -> Iterator[Finding]:
    known = {c.lidvid for c in collections} | {c.lid for c in collections}
    named = set()
    for entry in top.root.findall("{*}Bundle_Member_Entry"):
        lid = top.text("{*}lidvid_reference", entry) or top.text("{*}lid_reference", entry)
        named.add(lid.split("::")[0])
        if top.text("{*}member_status", entry) == "Primary" and lid not in known:
            text = f"member {lid} is not there"
            yield Finding(
                top.path, top.line(entry), "missing-member", text, "restore the collection, or remove the entry"
            )
    for collection in collections:
        if collection.lid not in named:
            text = f"{collection.lid} is no member of the bundle"
            yield Finding(collection.path, None, "unlisted", text, f"add it to {top.path.name}")
        if not collection.lid.startswith(f"{top.lid}:"):
            text = f"{collection.lid} is not of bundle {top.lid}"
            yield Finding(collection.path, None, "identifier", text, "correct its identifier")


def _references(label: Label, labels: Sequence[Label]) -> Iterator[Finding]:
    """References to products of this bundle, which must be there."""
    known = {one.lid for one in labels} | {one.lidvid for one in labels}
    own = {one.lid.split(":")[3] for one in labels if one.kind == "Product_Bundle" and one.lid.count(":") == 3}
    for element, lid, _ in references(label):
        parts = lid.split("::")[0].split(":")
        if label.kind != "Product_Bundle" and len(parts) >= 4 and parts[3] in own and lid not in known:
            text = f"refers to {lid}, which is not there"
            yield Finding(
                label.path, label.line(element), "reference", text, "restore the product, or correct the reference"
            )


def _context(label: Label) -> Iterator[Finding]:
    """Context products are registered, under the name that the label writes."""
    registered = context.registered()
    for element, lidvid, _ in references(label):
        lid, _, version = lidvid.partition("::")
        if not lid.startswith(CONTEXT):
            continue
        line = label.line(element)
        entry = registered.get(lid)
        if entry is None:
            text = f"{lid} is not among the registered context products known here"
            yield Finding(
                label.path, line, "context", text, "see data/juno_context.json of pipeline/archive", "warning"
            )
            continue
        if version and tuple(map(int, version.split("."))) > tuple(map(int, entry.version.split("."))):
            yield Finding(
                label.path, line, "context", f"version {version}; registered is {entry.version}", "leave it out"
            )
        holder = element.getparent().getparent()
        name = label.text("{*}name", holder)
        if name and name.lower() not in {n.lower() for n in entry.names}:
            text = f"{lid} is called {name!r}"
            advice = f"its registered names: {', '.join(entry.names)}"
            yield Finding(label.path, label.line(holder.find("{*}name")), "context-name", text, advice)
        kinds = [" ".join((k.text or "").split()) for k in holder.findall("{*}type")]
        if kinds and entry.type.lower() not in {k.lower() for k in kinds} | ({"host"} & {entry.type.lower()}):
            text = f"{lid} has type {kinds[0]!r}"
            yield Finding(label.path, label.line(holder.find("{*}type")), "context-type", text, f"it is {entry.type}")


def _contexts_named(labels: Sequence[Label], holders: Sequence[Label]) -> Iterator[Finding]:
    """A collection and the bundle name every context product that their members use."""
    used = {
        label.lidvid: {r.split("::")[0] for _, r, _ in references(label) if r.startswith(CONTEXT)} for label in labels
    }
    for holder in holders:
        below = {c for one in labels if one.lid.startswith(f"{holder.lid}:") for c in used[one.lidvid]}
        for lid in sorted(below - used[holder.lidvid]):
            text = f"its members refer to {lid}, it does not"
            yield Finding(holder.path, None, "missing-context", text, "add it to its Context_Area", "warning")
