"""Checking bundles: this project's and anybody's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.archive.content import check_contents
from pipeline.archive.decode import Decoder
from pipeline.archive.definitions import check_definitions
from pipeline.archive.files import check_files, check_manifest, check_names
from pipeline.archive.findings import Finding
from pipeline.archive.integrity import check_integrity
from pipeline.archive.labels import Label, bundles_in, is_bundle, labels_of
from pipeline.archive.schemas import Schemas
from pipeline.errors import InputError
from pipeline.runs.store import Store

# More of one rule in one file say nothing more.
MOST = 20


def check(target: Path, schemas: Path | None, store: Store | None) -> dict[str, Any]:
    """Check a bundle, or every bundle in a folder.

    Parameters
    ----------
    schemas : folder of the dictionaries' schemas; None: they are fetched once into a cache.
    store : the store with the products it was made from, which are compared with; None, or without them: what is read
        is only checked for plausibility.

    Returns
    -------
    dict
        ``{"ok", "bundles": [{"path", "labels", "objects", "compared", "bytes"}], "errors", "warnings", "findings"}``.

    Raises
    ------
    InputError
        if there is no bundle, or a schema cannot be had.
    """
    target = target.resolve()
    if not target.is_dir():
        raise InputError(target, "there is no such folder")
    bundles = [target] if is_bundle(target) else bundles_in(target)
    if not bundles:
        raise InputError(target, "holds no bundle: no file bundle*.xml in it or in a folder of it")
    dictionaries = Schemas(schemas)
    findings: list[Finding] = []
    told = []
    for bundle in bundles:
        decoder = Decoder(store)
        paths = labels_of(bundle)
        findings += _limited(_bundle(bundle, paths, dictionaries, decoder))
        tally = decoder.tally
        counts = {"objects": tally.objects, "compared": tally.compared, "bytes": tally.bytes}
        told.append({"path": str(bundle), "labels": len(paths), **counts})
    errors = sum(f.severity == "error" for f in findings)
    return {
        "ok": not errors,
        "bundles": told,
        "errors": errors,
        "warnings": len(findings) - errors,
        "findings": [f.shown(target) for f in findings],
    }


def _bundle(bundle: Path, paths: list[Path], schemas: Schemas, decoder: Decoder) -> Iterator[Finding]:
    labels = []
    for path in paths:
        try:
            labels.append(Label.read(path))
        except InputError as error:
            line = int(error.place.split()[1]) if error.place else None
            yield Finding(path, line, "xml", error.reason, "correct the label")
    yield from check_names(bundle)
    digests: dict[Path, str] = {}
    yield from check_files(bundle, labels, digests)
    yield from check_manifest(bundle, digests)
    yield from check_integrity(bundle, labels)
    for label in labels:
        yield from check_definitions(label)
        yield from check_contents(label, schemas)
        yield from _by_dictionaries(label, schemas)
        yield from decoder.check(label)


def _by_dictionaries(label: Label, schemas: Schemas) -> Iterator[Finding]:
    if not label.schemas:
        yield Finding(label.path, 1, "schema", "names no schema (xsi:schemaLocation)", "name those it keeps to")
        return
    if not label.models:
        yield Finding(label.path, 1, "schema", "names no Schematron (xml-model)", "name those it keeps to", "warning")
    yield from schemas.label(label.path, label.root, label.models, label.schemas)


def _limited(findings: Iterator[Finding]) -> list[Finding]:
    """Findings without those of one rule in one file beyond the first `MOST`."""
    counts: dict[tuple[Path, str], int] = {}
    kept = []
    for finding in findings:
        key = (finding.path, finding.rule)
        counts[key] = counts.get(key, 0) + 1
        if counts[key] <= MOST:
            kept.append(finding)
    return kept
