"""How long JADE takes for two hours at real rates, and peak memory.

A record of all three electron sensors each second, three ion species, logicals and times of flight every 30 s.
Everything by itself in one process: write records of random counts, index, read, calibrate in segments as the core cuts
them. The counts do not matter to the time, so no scene is simulated.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from measure import timed

from calibration.tables import Table
from instruments.jade import INSTRUMENT
from instruments.jade.layout import KINDS
from instruments.jade.raw_write import write_level2
from pipeline.clock import Sclk, Span
from pipeline.dataset import check, netcdf
from pipeline.dataset.context import add_context
from pipeline.geometry import Geometry, make_geometry
from pipeline.instrument import Granule, ProductType, Step
from pipeline.passes import get_pass

CLOCK = Sclk.default()
EVERY = 30.0
TABLES = {p.stem: Table.read(p) for p in INSTRUMENT.tables.glob("*.yaml") if p.stem != "context"}


def write(folder: Path, span: Span) -> float:
    """Records of all kinds; MB of them."""
    rng = np.random.default_rng(0)
    fast, slow = np.arange(span.start, span.stop), np.arange(span.start, span.stop - EVERY, EVERY)
    species, packets = np.array([3, 4, 5]), 6
    times = {"HRS_ELC_ALL": fast, "LRS_ION_ANY": np.repeat(slow, packets), "HLS_ION_LOG": slow, "HLC_ION_TOF": slow}
    for kind, start in times.items():
        n = len(start)
        own: dict[str, Any] = {
            "DATA": rng.integers(0, 120, (n, *KINDS[kind].shape), np.uint8), "MCP_COMMANDED_VALUE": 3000,
            "ACCUMULATION_TIME": 1 if kind[:3] == "HRS" else int(EVERY), "PACKET_MODE": 2 if kind[:3] == "HRS" else 1,
            "COMPRESSION": 0 if kind == "HLS_ION_LOG" else 1,
        }  # fmt: skip
        if kind == "LRS_ION_ANY":
            own["PACKET_SPECIES"] = np.tile(np.repeat(species, 2), n // packets)
            own["SWEEP_TABLE"] = np.repeat(np.tile([0, 1], n // 2)[:, None], 3, axis=1)
        write_level2(folder, kind, start, own, CLOCK)
    return sum(p.stat().st_size for p in folder.rglob("*.DAT")) / 1e6


def made(
    step: Step, product: ProductType, granules: list[Granule], geometry: Geometry, span: Span, store: Path
) -> Iterator[Path]:
    """Segments of a product, each written to a file."""
    assert product.segment is not None
    for k in range(int(span.start // product.segment), int(span.stop // product.segment) + 1):
        part = Span(k * product.segment, (k + 1) * product.segment)
        near = part.pad(step.halo)
        given: list[object] = []
        for need in step.needs:
            if need.kind == "raw":
                given.append(INSTRUMENT.format(need.name).read(granules, near, CLOCK))
            elif need.kind == "product":
                path = store / f"{need.name}.nc"
                given.append(netcdf.open_product(path, near) if path.exists() else None)
            else:
                given.append({"geometry": geometry, "span": part}.get(need.kind, TABLES.get(need.argument)))
        first = next(d for d in given if isinstance(d, xr.Dataset))
        if first["et"].size == 0:
            continue
        dataset = step.function(*given)
        index = product.schema.index or "et"
        dataset = dataset.isel({index: part.contains(dataset["et"].values)})
        dataset = check.finish(
            add_context(dataset, product.schema, geometry, CLOCK), product.schema, INSTRUMENT.flags, {}
        )
        check.check(dataset, product.schema, INSTRUMENT.flags)
        path = store / f"{k:09d}.nc"
        netcdf.write_segment(path, dataset, product.schema)
        yield path


def main() -> None:
    pass_ = get_pass(1)
    span = pass_.window(2.0)
    geometry = make_geometry(pass_, span.pad(600.0), None)
    with tempfile.TemporaryDirectory() as name:
        folder, store = Path(name) / "raw", Path(name)
        with timed("write"):
            size = write(folder, span)
        print(f"{size:.0f} MB of raw data")
        labels = list(folder.rglob("*.LBL"))
        with timed("index"):
            forms = {f.name: f for f in INSTRUMENT.formats if f.level == "raw"}
            granules = {
                n: [f.open(p, CLOCK) for p in labels if f.open(p, CLOCK).format == n]
                for n, f in forms.items()
            }  # fmt: skip
        for product in INSTRUMENT.products:
            step = next(s for s in INSTRUMENT.steps_for(product.name) if s.raw is None or s.raw in forms)
            path = store / f"{product.name}.nc"
            with timed(product.name):
                segments = list(made(step, product, granules.get(step.raw or "", []), geometry, span, store))
                netcdf.assemble(path, segments, product.schema, {})
            print(f"{'':24s} {len(segments)} segments, {path.stat().st_size / 1e6:.0f} MB", flush=True)


if __name__ == "__main__":
    main()
