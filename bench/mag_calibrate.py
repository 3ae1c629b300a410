"""How long MAG takes for two hours of PJ1 at full rate (460 800 vectors of two sensors), seconds and peak memory.

Everything by itself in one process: simulate, read, calibrate in segments as the core cuts them, write.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import xarray as xr
from measure import timed

from calibration.tables import Table
from instruments.mag import INSTRUMENT, average, calibrate, model, raw, sts
from pipeline.clock import Sclk, Span
from pipeline.dataset import check, netcdf
from pipeline.dataset.context import add_context
from pipeline.geometry import Geometry, make_geometry
from pipeline.instrument import Granule, ProductType
from pipeline.jupiter import con2020, jrm33
from pipeline.passes import Pass, get_pass

CLOCK = Sclk.default()
FIELD = ("ranges", "gain", "zero", "orthogonality", "alignment", "bench", "temperature", "timing", "eddy",
         "spacecraft_field", "noise")  # fmt: skip
MEAN = ("gain", "zero", "orthogonality", "alignment", "bench", "timing", "eddy", "spacecraft_field")


def chosen(names: tuple[str, ...]) -> list[Table]:
    return [Table.read(INSTRUMENT.tables / f"{name}.yaml") for name in names]


def segments(span: Span, length: float) -> list[Span]:
    first, last = int(span.start // length), int(span.stop // length) + 1
    return [Span(k * length, (k + 1) * length) for k in range(first, last)]


def trimmed(dataset: xr.Dataset, span: Span) -> xr.Dataset:
    return dataset.isel(et=span.contains(dataset["et"].values))


def field(granules: list[Granule], geometry: Geometry, pass_: Pass, span: Span) -> xr.Dataset:
    tables, parts = chosen(FIELD), []
    for part in segments(span, 600.0):
        data = raw.read_telemetry(granules, part.pad(calibrate.HALO), CLOCK)
        parts.append(trimmed(calibrate.field_from_telemetry(data, geometry, pass_, part, *tables), part))
    return xr.concat(parts, "et", combine_attrs="drop")


def means(full: xr.Dataset, geometry: Geometry, pass_: Pass, span: Span, width: float) -> xr.Dataset:
    tables = tuple(chosen(MEAN))
    made = [
        trimmed(average.mean_field(trimmed(full, s.pad(average.HALO)), geometry, pass_.et, width, tables), s)
        for s in segments(span, 1800.0)
    ]
    return xr.concat(made, "et", combine_attrs="drop")


def write(folder: Path, dataset: xr.Dataset, product: ProductType, geometry: Geometry) -> None:
    dataset = add_context(dataset, product.schema, geometry, CLOCK)
    dataset = check.finish(dataset, product.schema, INSTRUMENT.flags, {})
    check.check(dataset, product.schema, INSTRUMENT.flags)
    netcdf.write_segment(folder / f"{product.name}.nc", dataset, product.schema)


def main() -> None:
    pass_ = get_pass(1)
    span = pass_.window(2.0)
    with timed("geometry"):
        geometry = make_geometry(pass_, span.pad(200.0), None)

    def jovian(et: np.ndarray) -> np.ndarray:
        position, turn = geometry.position("IAU_JUPITER", et), geometry.rotation("J2000", "IAU_JUPITER", et)
        return np.einsum("nji,nj->ni", turn, jrm33(position, degree=18) + con2020(position))

    scene = SimpleNamespace(pass_=pass_, span=span, geometry=geometry, clock=CLOCK, magnetic_field=jovian)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with timed("simulate, level 3 included"):
            list(INSTRUMENT.simulate(scene, folder, "full", np.random.default_rng(0)))  # type: ignore[misc,arg-type]
        with timed("open telemetry"):
            granules = [raw.open_telemetry(p, CLOCK) for p in folder.rglob("*.pkt")]
        with timed("read telemetry whole"):
            raw.read_telemetry(granules, None, CLOCK)
        with timed("mag.field, 13 segments of 600 s"):
            full = field(granules, geometry, pass_, span)
        with timed("mag.field_1s"):
            one = means(full, geometry, pass_, span, 1.0)
        with timed("mag.field_60s"):
            means(full, geometry, pass_, span, 60.0)
        with timed("mag.model"):
            model.model(one, geometry)
        with timed("write mag.field"):
            write(folder, full, INSTRUMENT.product("mag.field"), geometry)
        with timed("read level 3 whole"):
            sts.read_sts([sts.open_sts(p, CLOCK) for p in folder.rglob("*.sts")], None, CLOCK)
        size = (folder / "mag.field.nc").stat().st_size / full.sizes["et"]
        print(f"{full.sizes['et']} vectors of {size:.0f} bytes each in the file")


if __name__ == "__main__":
    main()
