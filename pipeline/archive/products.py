"""The products of a bundle, each from what the run made or read."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from calibration.tables import Table
from pipeline.archive.bundle import Bundle
from pipeline.archive.dictionaries import discipline
from pipeline.archive.label import (
    History,
    circumstances,
    citation,
    file_of,
    identification,
    objects_of,
    references,
    text_area,
)
from pipeline.archive.layout import Object, Written, lay_out, write_bytes, write_objects
from pipeline.archive.originals import Original, originals_of
from pipeline.archive.supplement import supplement
from pipeline.archive.xml import Element, make, short
from pipeline.dataset import netcdf
from pipeline.dataset.parts import Part, open_parts, parts_of
from pipeline.instrument import Granule
from pipeline.runs.pictures import Picture, pictures_of, render
from pipeline.runs.run import clock_of

if TYPE_CHECKING:
    from pipeline.archive.export import Source

ABOUT = "Attributes, dimensions and provenance of the dataset that the other file holds (JSON)."


@dataclass
class Lids:
    """Identifiers of what is in the bundle: raw data by granule and by file, tables by hash, products by key."""

    documents: list[str]
    raw: dict[str, str] = field(default_factory=dict)
    tables: dict[str, str] = field(default_factory=dict)
    products: dict[str, str] = field(default_factory=dict)
    originals: dict[Path, str] = field(default_factory=dict)
    geometry: str | None = None

    def of(self, attrs: Mapping[str, Any]) -> list[tuple[str, str]]:
        """References to what a product was made from, with their type; other instruments' are in their own bundles."""
        recipe = recipe_of(attrs)
        pairs = [_to_granule(self.raw[g]) for g in recipe["raw"] if g in self.raw]
        pairs += [(self.tables[d], "data_to_calibration_product") for d in tables_of(attrs) if d in self.tables]
        keys = [k for key in recipe["inputs"].values() for k in (key.values() if isinstance(key, dict) else [key])]
        pairs += [(self.products[k], "data_to_calibrated_product") for k in keys if k in self.products]
        if recipe.get("geometry") and self.geometry:
            pairs.append((self.geometry, "data_to_geometry"))
        return pairs


def _to_granule(lid: str) -> tuple[str, str]:
    """Reference to a granule that was read: a raw one, or a calibrated one of the mission's archive."""
    return lid, "data_to_raw_product" if ":data_raw:" in lid else "data_to_calibrated_product"


def recipe_of(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """What a product was made from, as its file says; without a recipe: nothing."""
    recipe: dict[str, Any] = json.loads(str(attrs.get("recipe", "{}")))
    return {"raw": {}, "tables": {}, "inputs": {}} | recipe


def tables_of(attrs: Mapping[str, Any]) -> list[str]:
    """Hashes of the tables a product was made with."""
    return [entry[0] for entries in recipe_of(attrs)["tables"].values() for entry in entries]


def slug(text: str) -> str:
    """Text as a part of an identifier and a file's name."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in text.lower())


def dataset(bundle: Bundle, source: Source, product: dict[str, Any], lids: Lids) -> str:
    """A product of the run."""
    kind, attrs = product["type"], source.attrs[product["identity"]]
    level = source.instrument.pds4.levels.get(kind, "Calibrated")
    collection = {"Geometry": "geometry", "Derived": "data_derived"}.get(level, "data_calibrated")
    name = slug("_".join(filter(None, (kind.split(".")[1], source.pass_name, product["unit"]))))
    pairs = lids.of(attrs)
    kernels = _kernels(source)
    with open_parts(Path(product["path"])) as (parts, own):
        described = _Described(
            bundle,
            title=f"{attrs['title']}, {source.pass_name.upper()} {product['unit']}".strip(),
            level="Derived" if level == "Geometry" else level,
            purpose="Observation Geometry" if level == "Geometry" else "Science",
            times=source.times(product["identity"]),
            comment=f"Product {attrs['product']}, key {attrs['product_key']}.",
            references=[*pairs, *((d, "data_to_document") for d in lids.documents)],
            kernels=kernels,
            inputs=[lid for lid, _ in pairs],
        )
        return described.add(collection, source.pass_name, name, parts, own)


def raw(bundle: Bundle, source: Source, granule: Granule, lids: Lids) -> str:
    """A granule that was read, decoded as its reader decodes it, and its files as they came."""
    kernels = Path(source.record["kernels"]) if source.record["kernels"] else None
    form = source.instrument.format(granule.format)
    found = form.read([granule], None, clock_of(kernels))
    files = "; ".join(f"{p.name} (SHA-256 {source.store.sha256(p)})" for p in granule.files.values())
    name = slug(f"{granule.format.split('.')[1]}_{granule.id}")
    elsewhere = sorted({lids.originals[p] for p in granule.files.values() if p in lids.originals})
    own = [o for o in originals_of(granule.files) if o.path not in lids.originals]
    described = _Described(
        bundle,
        title=f"{form.title}: {granule.id}",
        level="Raw" if form.level == "raw" else "Calibrated",
        times=_utc_ends(granule),
        comment=f"Decoded from the mission's own files, which stand beside as they came: {files}.",
        references=[*map(_to_granule, elsewhere), *((d, "data_to_document") for d in lids.documents)],
        originals=own,
    )
    told = {"granule": granule.id, "raw_format": granule.format}
    collection = "data_raw" if form.level == "raw" else "data_calibrated"
    lid = described.add(collection, source.pass_name, name, parts_of(found), {**found.attrs, **told})
    lids.originals |= {o.path: lid for o in own}
    return lid


def _utc_ends(granule: Granule) -> tuple[str, str]:
    from pipeline.archive.export import utc

    return utc(granule.start, up=False), utc(granule.stop, up=True)


def trajectory(bundle: Bundle, source: Source, path: Path, lids: Lids) -> str:
    """The geometry of the pass."""
    with open_parts(path) as (parts, attrs):
        described = _Described(
            bundle,
            title=f"Position and attitude of Juno, {source.pass_name.upper()}",
            level="Derived",
            purpose="Observation Geometry",
            comment=". ".join(f"{n.capitalize()}: {attrs[n]}" for n in ("trajectory", "attitude") if n in attrs),
            references=[(d, "data_to_document") for d in lids.documents],
            kernels=_kernels(source),
        )
        told = {**attrs, "geometry": source.record["geometry"]}
        return described.add("geometry", source.pass_name, f"trajectory_{source.pass_name}", parts, told)


def _kernels(source: Source) -> list[str]:
    """Names of the SPICE kernels the geometry was made from."""
    path = source.store.root / source.record["geometry"] if source.record["geometry"] else None
    if path is None or not path.exists():
        return []
    lines = str(netcdf.read_attrs(path).get("made_kernels", "")).splitlines()
    return [line.rpartition(" ")[0] for line in lines]


@dataclass
class _Described:
    """A ``Product_Observational`` of a dataset: what its label says besides its bytes."""

    bundle: Bundle
    title: str
    level: str
    comment: str
    references: Sequence[tuple[str, str]]
    purpose: str = "Science"
    times: tuple[str, str] | None = None
    kernels: Sequence[str] = ()
    inputs: Sequence[str] = ()
    originals: Sequence[Original] = ()

    def add(self, collection: str, folder: str, name: str, parts: Sequence[Part], attrs: Mapping[str, Any]) -> str:
        """Write it; returns its identifier."""
        subject = self.bundle.subject
        objects = lay_out(parts, subject.pds4.axes)

        def label(lid: str, history: History, files: list[Written]) -> Element:
            data, text, *originals = files
            return make(
                "Product_Observational",
                identification(lid, subject.title(self.title), "Product_Observational", history),
                circumstances(
                    "Observation_Area",
                    subject,
                    "data",
                    purpose=self.purpose,
                    levels=[self.level],
                    times=self.times,
                    comment=subject.said(self.comment),
                    product_type=str(attrs["product_type"]) if "product_type" in attrs else None,
                    discipline=discipline(objects, parts, attrs, subject.pds4, self.kernels, self.inputs),
                ),
                references(self.references),
                make("File_Area_Observational", file_of(data, subject.date), *objects_of(data, subject.pds4)),
                text_area("File_Area_Observational_Supplemental", text, subject.date, "attributes", ABOUT),
                *(o.area(w, subject.date, subject.pds4) for o, w in zip(self.originals, originals, strict=True)),
            )

        write = _writer(name, objects, parts, attrs, self.originals)
        return self.bundle.add(collection, folder, name, write, label)


def _writer(
    name: str,
    objects: Sequence[Object],
    parts: Sequence[Part],
    attrs: Mapping[str, Any],
    originals: Sequence[Original] = (),
) -> Callable[[Path], list[Written]]:
    def write(folder: Path) -> list[Written]:
        data = write_objects(folder / f"{name}.dat", objects)
        text = write_bytes(folder / f"{name}.json", supplement(parts, attrs))
        return [data, text, *(o.write(folder) for o in originals)]

    return write


def table(bundle: Bundle, path: Path, lids: Lids) -> str:
    """A calibration table: its quantities and their uncertainties as objects."""
    read = Table.read(path)
    parts = parts_of(table_dataset(read))
    attrs = {"instrument": read.instrument, "name": read.name, "title": read.title, "hash": path.stem}
    subject = bundle.subject

    def label(lid: str, history: History, files: list[Written]) -> Element:
        data, text = files
        said = (
            f"Calibration table {read.instrument}.{read.name}; hash {path.stem}. Least trusted: {read.worst_pedigree}."
        )
        area = [file_of(data, subject.date, comment=said), *objects_of(data, subject.pds4)]
        return make(
            "Product_Ancillary",
            identification(lid, subject.title(f"Table {read.name}: {read.title}"), "Product_Ancillary", history),
            circumstances("Context_Area", subject, "ancillary", purpose="Calibration", levels=["Calibrated"]),
            references((d, "ancillary_to_document") for d in lids.documents),
            make("File_Area_Ancillary", *area),
            text_area("File_Area_Ancillary", text, subject.date, "attributes", ABOUT),
        )

    name = slug(f"{read.instrument}_{read.name}_{path.stem[:12]}")
    return bundle.add("calibration", "", name, _writer(name, lay_out(parts), parts, attrs), label)


def table_dataset(read: Table) -> xr.Dataset:
    """A calibration table as a dataset: every quantity, and its one-sigma uncertainty where one is stated."""
    variables: dict[str, xr.Variable] = {}
    for name, quantity in read.quantities.items():
        told = {"units": quantity.units, "long_name": name.replace("_", " "), "references": quantity.source}
        attrs = told | {"pedigree": quantity.pedigree, "comment": f"pedigree: {quantity.pedigree}"}
        variables[name] = xr.Variable(quantity.dims, quantity.value, attrs)
        if quantity.uncertainty is not None:
            sigma = np.asarray(quantity.uncertainty, np.float64)
            dims = quantity.dims if sigma.ndim == len(quantity.dims) else ()
            words = f"uncertainty (one sigma) of {name.replace('_', ' ')}"
            own = {"units": quantity.units, "long_name": words, "correlation": str(quantity.correlation)}
            variables[f"{name}_uncertainty"] = xr.Variable(dims, sigma, own)
    return xr.Dataset(variables)


def text(bundle: Bundle, name: str, title: str, content: str) -> str:
    """A document of plain text."""
    subject = bundle.subject
    heading = f"{subject.instrument}: {title[0].lower()}{title[1:]}"

    def label(lid: str, history: History, files: list[Written]) -> Element:
        (written,) = files
        return make(
            "Product_Document",
            identification(lid, subject.title(heading), "Product_Document", history, citation(subject, f"{heading}.")),
            circumstances("Context_Area", subject, "document", levels=["Calibrated"]),
            make(
                "Document",
                make("document_name", short(heading)),
                make("publication_date", f"{subject.date:%Y-%m-%d}"),
                make("description", subject.said(f"{heading}.")),
                make(
                    "Document_Edition",
                    make("edition_name", "Plain text"),
                    make("language", "English"),
                    make("files", 1),
                    make(
                        "Document_File",
                        make("file_name", written.path.name),
                        make("creation_date_time", f"{subject.date:%Y-%m-%dT%H:%M:%SZ}"),
                        make("file_size", written.size, unit="byte"),
                        make("md5_checksum", written.md5),
                        make("document_standard_id", "UTF-8 Text"),
                    ),
                ),
            ),
        )

    def write(folder: Path) -> list[Written]:
        return [write_bytes(folder / f"{name}.txt", content.replace("\n", "\r\n").encode())]

    return bundle.add("document", "", name, write, label)


def browse(bundle: Bundle, source: Source, lids: Lids) -> list[str]:
    """The quick looks; returns those that could not be drawn, with the reason."""
    failed = []
    entries = {Path(p["path"]): p for p in source.made}
    for picture in pictures_of(source.made, source.store):
        try:
            content = picture.path.read_bytes() if picture.path.exists() else render(picture)
        except Exception as error:  # one picture must not cost the bundle
            failed.append(f"{picture.caption}: {type(error).__name__}: {error}")
            continue
        products = [entries[path] for path in picture.products if path]
        shown = [lids.products[p["key"]] for p in products if p["key"] in lids.products]
        _picture(bundle, source, picture, content, shown, [p["identity"] for p in products])
    return failed


def _picture(
    bundle: Bundle, source: Source, picture: Picture, content: bytes, shown: Iterable[str], identities: Sequence[str]
) -> None:
    subject, caption = bundle.subject, picture.caption
    name = slug(f"{picture.label}_{source.pass_name}")

    def write(folder: Path) -> list[Written]:
        return [write_bytes(folder / f"{name}.png", content)]

    def label(lid: str, history: History, files: list[Written]) -> Element:
        (written,) = files
        return make(
            "Product_Browse",
            identification(lid, subject.title(f"{caption}, {source.pass_name.upper()}"), "Product_Browse", history),
            circumstances("Context_Area", subject, "browse", levels=["Calibrated"], times=source.times(identities[0])),
            references((lid, "browse_to_data") for lid in shown),
            make(
                "File_Area_Browse",
                file_of(written, subject.date),
                make(
                    "Encoded_Image",
                    make("name", "quick look"),
                    make("offset", 0, unit="byte"),
                    make("object_length", written.size, unit="byte"),
                    make("encoding_standard_id", "PNG"),
                    make("description", subject.said(f"{caption}. Shows {', '.join(identities)}.")),
                ),
            ),
        )

    bundle.add("browse", source.pass_name, name, write, label)
