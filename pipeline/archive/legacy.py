"""The mission's older forms with PDS3 labels, of the instruments that have a writer of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import xarray as xr

from calibration.tables import Table
from pipeline import registry
from pipeline.archive.declaration import Legacy
from pipeline.archive.export import Options, Source, refuse_existing
from pipeline.archive.place import folder_aside
from pipeline.archive.products import tables_of
from pipeline.clock import Sclk
from pipeline.dataset import netcdf
from pipeline.errors import StoreError, UsageError, nearest
from pipeline.geometry import Geometry
from pipeline.instrument import Granule
from pipeline.passes import get_pass
from pipeline.runs.run import clock_of
from pipeline.runs.store import Store


def archive_pds3(store: Store, run_name: str | None, options: Options) -> dict[str, Any]:
    """Write a run's products in the mission's older forms below ``out/<instrument>``; returns what `archive` does.

    Raises
    ------
    UsageError
        for an instrument that has no such form, or none with one in the run.
    StoreError
        if a folder is there already or cannot be written.
    """
    record = store.run(run_name)
    made = [p for p in record["products"] if p["status"] in ("made", "kept") and Path(p["path"]).exists()]
    able = sorted({p["instrument"] for p in made if registry.load(p["instrument"]).pds4.legacy})
    for name in options.instruments:
        if name not in able:
            raise UsageError(f"{name!r} has no form with PDS3 labels in run {record['run']}; {nearest(name, able)}")
    if not able:
        raise UsageError(f"no instrument of run {record['run']} has a form with PDS3 labels")
    if not record["geometry"]:
        raise StoreError(f"run {record['run']} has no geometry, which the files need")
    geometry = Geometry.from_dataset(netcdf.open_product(store.root / record["geometry"]))
    clock = clock_of(Path(record["kernels"]) if record["kernels"] else None)
    names = options.instruments or tuple(able)
    folders = [options.out.resolve() / name for name in names]
    refuse_existing(folders)
    bundles: list[dict[str, Any]] = []
    for name, folder in zip(names, folders, strict=True):
        source = Source(store, record, registry.load(name), [p for p in made if p["instrument"] == name])
        products = {p["type"]: netcdf.open_product(Path(p["path"])) for p in source.made}
        write = source.instrument.pds4.legacy
        assert write is not None
        given = (products, _raw(source, clock), _tables(source), geometry, clock, get_pass(record["pass"]))
        with folder_aside(folder) as place:
            files = write(Legacy(*given, place, source.simulated))
        size = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
        entry = {"instrument": name, "lid": None, "path": str(folder), "products": len(files), "bytes": size}
        bundles.append(entry | {"not_drawn": []})
    return {"run": record["run"], "bundles": bundles}


def _raw(source: Source, clock: Sclk) -> dict[str, xr.Dataset]:
    """The raw data the products were made from, by format."""
    by_format: dict[str, list[Granule]] = {}
    for granule in sorted(source.granules, key=lambda g: g.start):
        by_format.setdefault(granule.format, []).append(granule)
    return {name: source.instrument.format(name).read(of_it, None, clock) for name, of_it in by_format.items()}


def _tables(source: Source) -> dict[str, Table]:
    """The tables the products were made with; of several of one name the last."""
    hashes = {digest for attrs in source.attrs.values() for digest in tables_of(attrs)}
    read = [Table.read(source.store.root / "tables" / f"{digest}.yaml") for digest in sorted(hashes)]
    return {f"{t.instrument}.{t.name}": t for t in read}
