"""The geometry of a pass as a file of the store, made once for given kernels and times."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipeline.clock import Span
from pipeline.dataset import netcdf
from pipeline.geometry import Geometry, kernel_files, make_geometry
from pipeline.passes import Pass
from pipeline.runs.fingerprint import reached_digest
from pipeline.runs.keys import key_of
from pipeline.runs.store import KEY_DIGITS, Store

# Geometry reaches this far beyond the data: halos, light time, filter delays; then to whole multiples of the grid,
# so that a granule more or less inside changes nothing.
PADDING = 120.0
GRID = 3600.0


def geometry_of(pass_: Pass, spans: Sequence[Span], kernels: Path | None, store: Store) -> tuple[Geometry, Path]:
    """The geometry over all the spans, and the file that holds it, or will: a store that is only read gets none.

    Raises
    ------
    GeometryError
        for kernels that cannot be used or do not cover the spans.
    """
    first = np.floor((min(s.start for s in spans) - PADDING) / GRID) * GRID
    last = np.ceil((max(s.stop for s in spans) + PADDING) / GRID) * GRID
    span = Span(float(first), float(last))
    # The order matters: later kernels rule over earlier ones.
    hashes = [[p.name, store.sha256(p)] for p in kernel_files(kernels)] if kernels else None
    recipe = {
        "pass": pass_.number,
        "span": [span.start, span.stop],
        "kernels": hashes,
        "code": reached_digest("pipeline.geometry"),
    }
    path = store.root / "geometry" / pass_.name / f"{key_of(recipe)[:KEY_DIGITS]}.nc"
    if not path.exists():
        geometry = make_geometry(pass_, span, kernels)
        if not store.writable:
            return geometry, path
        made = geometry.to_dataset()
        if hashes:
            made.attrs["made_kernels"] = "\n".join(f"{name} {digest}" for name, digest in hashes)
        path.parent.mkdir(parents=True, exist_ok=True)
        netcdf.write_dataset(path, made, {})
    return Geometry.from_dataset(netcdf.open_product(path)), path
