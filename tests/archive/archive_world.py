"""A small pass of two real instruments, run once, and bundles made of it and of the instrument `tally`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

import perijove
from pipeline.archive.check import check
from pipeline.archive.export import Options, archive
from pipeline.runs.store import Store
from pipeline.scene.simulate import simulate_pass

PDS = "{http://pds.nasa.gov/pds4/pds/v1}"


@dataclass(frozen=True)
class World:
    """A run of a simulated pass and its bundles."""

    raw: Path
    store: Path
    bundles: Path
    document: dict[str, Any]

    def bundle(self, instrument: str) -> Path:
        return Path(next(b["path"] for b in self.document["bundles"] if b["instrument"] == instrument))


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """MAG whole; of JIRAM the background frames, an image and a spectrum."""
    folder = tmp_path_factory.mktemp("archive")
    simulate_pass(1, folder, ("mag", "jiram"), "demo", 0)
    keep = ("T123145", "T123544", "T124342")
    for file in (folder / "raw").rglob("JIR_*"):
        if not any(k in file.name for k in keep):
            file.unlink()
    wanted = ["mag.field_60s", "mag.zeros", "jiram.radiance", "jiram.spectra"]
    perijove.run(1, raw=folder / "raw", store=folder / "store", products=wanted)
    document = archive(Store(folder / "store"), None, Options(folder / "bundles"))
    return World(folder / "raw", folder / "store", folder / "bundles", document)


@pytest.fixture
def bundle(store: Path, tmp_path: Path) -> Path:
    """A bundle of `tally`, an instrument that declares nothing for PDS4."""
    return made_bundle(store, tmp_path / "bundles")


def made_bundle(store: Path, out: Path, **options: Any) -> Path:
    return Path(archive(Store(store), None, Options(out, **options))["bundles"][0]["path"])


def found(bundle: Path, schemas: Path, store: Path | None) -> list[dict[str, Any]]:
    """Findings of the checker."""
    findings: list[dict[str, Any]] = check(bundle, schemas, Store(store) if store else None)["findings"]
    return findings


def tree(label: Path) -> Any:
    return etree.parse(label).getroot()


def text(root: Any, path: str) -> str:
    """Text at a path of core elements, without line breaks."""
    return " ".join((root.findtext("/".join(f"{PDS}{p}" for p in path.split("/"))) or "").split())


def labels(bundle: Path) -> list[Path]:
    return sorted(bundle.rglob("*.xml"))


def files(bundle: Path) -> dict[str, bytes]:
    """Everything a bundle holds."""
    return {p.relative_to(bundle).as_posix(): p.read_bytes() for p in sorted(bundle.rglob("*")) if p.is_file()}


def as_another_pass(bundle: Path) -> None:
    """Change a bundle as if it held another pass: its products have other identifiers, files and folders."""
    for path in labels(bundle):
        path.write_bytes(path.read_bytes().replace(b"pj01", b"pj00"))
    for path in sorted(bundle.rglob("*pj01*"), reverse=True):
        path.rename(path.with_name(path.name.replace("pj01", "pj00")))
    for path in bundle.rglob("*inventory.csv"):
        path.write_bytes(path.read_bytes().replace(b"pj01", b"pj00"))


def edit(path: Path, old: str, new: str, count: int = 1) -> int:
    """Replace text in a label; returns the line of the first place."""
    content = path.read_text(encoding="utf-8")
    assert re.search(old, content), f"{old} is not in {path.name}"
    line = content[: re.search(old, content).start()].count("\n") + 1  # type: ignore[union-attr]
    path.write_text(re.sub(old, new, content, count=count), encoding="utf-8")
    return line


@pytest.fixture
def label(bundle: Path) -> Path:
    """The label of the rates."""
    # A changed label shows in the manifest as well; that is not what is tested here.
    bundle.with_name(f"{bundle.name}.md5").unlink()
    return bundle / "data_calibrated" / "pj01" / "rate_pj01.xml"
