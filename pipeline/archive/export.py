"""A run as PDS4 bundles, one per instrument."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import registry
from pipeline.archive import context, products
from pipeline.archive.bundle import Bundle, Previous, manifest, previous_products
from pipeline.archive.document import algorithm, guide, readme
from pipeline.archive.label import Subject, stamp
from pipeline.archive.labels import bundles_in, is_bundle
from pipeline.archive.place import folder_aside
from pipeline.clock import et_to_utc
from pipeline.dataset import netcdf
from pipeline.dataset.parts import ends
from pipeline.errors import InputError, StoreError, UsageError, nearest
from pipeline.instrument import Granule, Instrument
from pipeline.passes import get_pass
from pipeline.runs.discover import discover
from pipeline.runs.granules import Opener
from pipeline.runs.run import clock_of
from pipeline.runs.store import Store

PREFIX = "urn:nasa:pds:perijove"


@dataclass(frozen=True)
class Options:
    """What ``perijove archive`` was asked for.

    Parameters
    ----------
    out : folder in which the bundles are made, one folder each.
    prefix : identifier of the bundles without ``_<instrument>``.
    previous : folder of an earlier export: a bundle, or a folder of bundles.
    date : UTC day of the labels; default: that of the run.
    """

    out: Path
    instruments: tuple[str, ...] = ()
    prefix: str = PREFIX
    previous: Path | None = None
    date: datetime | None = None


def archive(store: Store, run_name: str | None, options: Options) -> dict[str, Any]:
    """Write the bundles of a run.

    Returns
    -------
    dict
        ``{"run", "bundles": [{"instrument", "lid", "path", "manifest", "products", "bytes", "not_drawn"}]}``.

    Raises
    ------
    UsageError
        for an instrument without products in the run.
    InputError
        for raw data that are no longer there or have changed, or a previous bundle that is none.
    StoreError
        if a bundle is there already or cannot be written.
    """
    record = store.run(run_name)
    if not re.fullmatch(r"urn:[a-z0-9-]+:[a-z0-9-]+:[a-z][a-z0-9._-]*", options.prefix):
        raise UsageError(f"--lid-prefix {options.prefix}: it looks like {PREFIX}")
    made = [p for p in record["products"] if p["status"] in ("made", "kept") and Path(p["path"]).exists()]
    known = sorted({p["instrument"] for p in made})
    for name in options.instruments:
        if name not in known:
            raise UsageError(f"run {record['run']} made nothing of {name!r}; {nearest(name, known)}")
    sources = [
        Source(store, record, registry.load(name), [p for p in made if p["instrument"] == name])
        for name in options.instruments or known
    ]
    refuse_existing([_place(source, options)[1] for source in sources])
    return {"run": record["run"], "bundles": [_bundle(source, options) for source in sources]}


def refuse_existing(folders: Iterable[Path]) -> None:
    """Before anything is written, raise StoreError if any of these is there."""
    there = [str(folder) for folder in folders if folder.exists()]
    if there:
        advice = "remove what is there, name the other instruments, or choose another place"
        raise StoreError(f"{', '.join(there)}: there already; {advice}")


@dataclass
class Source:
    """What a run made of one instrument, and from what."""

    store: Store
    record: dict[str, Any]
    instrument: Instrument
    made: list[dict[str, Any]]

    @cached_property
    def attrs(self) -> dict[str, dict[str, Any]]:
        """Attributes of each product, by identity."""
        return {p["identity"]: netcdf.read_attrs(Path(p["path"])) for p in self.made}

    @property
    def pass_name(self) -> str:
        """``pj01``."""
        return f"pj{self.record['pass']:02d}"

    @cached_property
    def spans(self) -> dict[str, tuple[float, float]]:
        """First and last et of each product that has any, by identity."""
        found = {p["identity"]: ends(Path(p["path"])) for p in self.made}
        return {identity: span for identity, span in found.items() if span}

    def times(self, identity: str | None = None) -> tuple[str, str]:
        """UTC of the first and the last record of a product, or of all; without any, of the pass's two hours."""
        spans = [self.spans[identity]] if identity in self.spans else list(self.spans.values())
        middle = get_pass(self.record["pass"]).et
        first = min((s for s, _ in spans), default=middle - 3600)
        last = max((s for _, s in spans), default=middle + 3600)
        return utc(first, up=False), utc(last, up=True)

    @cached_property
    def granules(self) -> list[Granule]:
        """The raw granules its products were made from; raises InputError if they are not there as they were."""
        wanted: dict[str, dict[str, Any]] = {}
        for attrs in self.attrs.values():
            wanted |= products.recipe_of(attrs)["raw"]
        if not wanted:
            return []
        kernels = Path(self.record["kernels"]) if self.record["kernels"] else None
        found = discover(
            Path(self.record["raw"]), [self.instrument], self.record["pass"], Opener(self.store, clock_of(kernels))
        )
        granules = {(g.id, g.format): g for g in found.granules}
        chosen = []
        for name, entry in sorted(wanted.items()):
            granule = granules.get((name, entry["format"]))
            if granule is None:
                raise InputError(Path(self.record["raw"]), f"granule {name} ({entry['format']}) is no longer there")
            for role, digest in entry["files"].items():
                if self.store.sha256(granule.files[role]) != digest:
                    raise InputError(granule.files[role], "has changed since the run read it")
            chosen.append(granule)
        return chosen

    @property
    def simulated(self) -> bool:
        """Whether any of it was made from simulated data."""
        return any("simulated" in a for a in self.attrs.values())


def utc(et: float, *, up: bool) -> str:
    """UTC to the millisecond, not inside the interval it ends."""
    time = et_to_utc(np.array([et]))[0][0]
    milli = time.astype("datetime64[ms]")
    return f"{milli + np.timedelta64(1, 'ms') if up and milli < time else milli}Z"


def _place(source: Source, options: Options) -> tuple[str, Path]:
    """Identifier of a bundle, and its folder."""
    lid = f"{options.prefix}_{source.instrument.name}{'_simulated' if source.simulated else ''}"
    return lid, options.out.resolve() / lid.rpartition(":")[2]


def _bundle(source: Source, options: Options) -> dict[str, Any]:
    instrument = source.instrument
    lid, target = _place(source, options)
    date = options.date or datetime.fromisoformat(source.record["finished"]).astimezone(UTC)
    start, stop = source.times()
    registered = context.instrument(instrument.pds4.context or f"{instrument.name}.jno")
    subject = Subject(instrument.title, registered, instrument.pds4, lid, source.simulated, date, start, stop)
    previous = _previous(options.previous, lid) if options.previous else {}
    with folder_aside(target) as place:
        bundle = Bundle(place, subject, f"Made from run {source.record['run']}.", previous)
        not_drawn = _fill(bundle, source)
        bundle.carry_over()
        title = f"Juno {instrument.title}: data of perijove passes"
        bundle.close(title, readme(title, subject, bundle.members))
        # Before the bundle has its name: one without a manifest would look whole, a manifest alone does not.
        listed = manifest(place, target, bundle.digests)
    files = [p for p in target.rglob("*") if p.is_file()]
    return {
        "instrument": instrument.name,
        "lid": lid,
        "date": stamp(date),
        "path": str(target),
        "manifest": str(listed),
        "products": sum(map(len, bundle.members.values())),
        "bytes": sum(p.stat().st_size for p in files),
        "not_drawn": not_drawn,
    }


def _previous(folder: Path, lid: str) -> dict[str, Previous]:
    """What a folder holds of an earlier version of a bundle: it is one, or holds some, of which this may be none."""
    own = folder if is_bundle(folder) else folder / lid.rpartition(":")[2]
    if is_bundle(own):
        return previous_products(own, lid)
    if folder.is_dir() and bundles_in(folder):
        return {}
    raise InputError(folder, "holds no bundle label (bundle*.xml), nor do its folders")


def _fill(bundle: Bundle, source: Source) -> list[str]:
    """All products of a bundle; returns the figures that could not be drawn."""
    documents = [products.text(bundle, "user_guide", "User's guide", guide(source.instrument))]
    told = algorithm(_home(source.instrument))
    if told is not None:
        documents.append(products.text(bundle, "algorithm", "Formats, algorithm and sources", told))
    made = products.Lids(documents=documents)
    for granule in source.granules:
        made.raw[granule.id] = products.raw(bundle, source, granule, made)
    for digest in sorted({d for a in source.attrs.values() for d in products.tables_of(a)}):
        made.tables[digest] = products.table(bundle, source.store.root / "tables" / f"{digest}.yaml", made)
    geometry = source.store.root / source.record["geometry"] if source.record["geometry"] else None
    if geometry is not None and geometry.exists():
        made.geometry = products.trajectory(bundle, source, geometry, made)
    for product in _inputs_first(source):
        made.products[source.attrs[product["identity"]]["product_key"]] = products.dataset(
            bundle, source, product, made
        )
    return products.browse(bundle, source, made)


def _inputs_first(source: Source) -> Sequence[dict[str, Any]]:
    """Products in the order of the run, which makes inputs before what is made of them."""
    order = {p["identity"]: n for n, p in enumerate(source.record["products"])}
    return sorted(source.made, key=lambda p: order[p["identity"]])


def _home(instrument: Instrument) -> Path:
    """The folder of an instrument's package."""
    return Path(inspect.getfile(inspect.unwrap(instrument.steps[0]))).parent
