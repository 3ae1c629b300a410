"""How fast JunoCam images are read, calibrated and written, MB of raw data per second, and peak memory.

One image of 31 488 lines, as the longest of the archive, in segments as the core cuts them, in one process; as EDR and
as PNG. A pass has some 40 images of half that length.
"""

from __future__ import annotations

import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from calibration.tables import Table
from instruments.junocam import INSTRUMENT, calibrate, imageset, raw
from instruments.junocam.labels import ImageLabel
from instruments.junocam.layout import FILTERS
from instruments.junocam.raw_write import write_edr, write_imageset
from pipeline.clock import Sclk, Span, parse_utc
from pipeline.dataset import check, netcdf
from pipeline.dataset.context import add_context
from pipeline.geometry import make_geometry
from pipeline.instrument import RawFormat
from pipeline.passes import get_pass

CLOCK = Sclk.default()
NAMES = ("companding", "response", "detector", "throughput", "solar", "pixels", "epochs")
PRODUCT = INSTRUMENT.product("junocam.radiance")
LINES = 31488 // 384 * 384


def image() -> tuple[ImageLabel, np.ndarray]:
    """A planet with noise that fills half of the lines."""
    label = ImageLabel(
        "JNCE_2022186_43C00078", 1, 43, 78, parse_utc("2022-07-05T12:13:37.407"), 0.0, 0.0032, 0.372, 1, FILTERS[:3],
        {}, "SQROOT", "HUFFMAN", 1, LINES, 1648, 7.4e8, 1e5, -80.0, 150.0, float("nan"), True, "",
    )  # fmt: skip
    rng = np.random.default_rng(0)
    codes = np.empty((LINES, 1648), np.uint8)
    for line in range(0, LINES, 128):
        signal = 120.0 * np.clip(np.sin(np.arange(line, line + 128) / 3000.0), 0.0, 1.0)
        codes[line : line + 128] = np.clip(np.rint(signal[:, None] + rng.normal(0.0, 1.0, (128, 1648))), 0, 255)
    return label, codes


def made(form: RawFormat, path: Path, folder: Path) -> tuple[float, float, float, int]:
    """Seconds for reading, calibrating and writing, and bytes written."""
    granule = form.open(path, CLOCK)
    tables = [Table.read(INSTRUMENT.tables / f"{name}.yaml") for name in NAMES]
    geometry = make_geometry(get_pass(43), Span(granule.start, granule.stop).pad(60.0), None)
    length = PRODUCT.segment or 1.0
    spent, written = [0.0, 0.0, 0.0], 0
    for k in range(int(granule.start // length), int(granule.stop // length) + 1):
        marks = [time.perf_counter()]
        data = form.read([granule], Span(k * length, (k + 1) * length), CLOCK)
        marks.append(time.perf_counter())
        product = calibrate.radiance_from_edr(data, *tables)
        marks.append(time.perf_counter())
        product = add_context(product, PRODUCT.schema, geometry, CLOCK)
        product = check.finish(product, PRODUCT.schema, INSTRUMENT.flags, {})
        check.check(product, PRODUCT.schema, INSTRUMENT.flags)
        out = folder / f"{k}.nc"
        netcdf.write_segment(out, product, PRODUCT.schema)
        marks.append(time.perf_counter())
        written += out.stat().st_size
        out.unlink()
        spent = [s + b - a for s, a, b in zip(spent, marks[:-1], marks[1:], strict=True)]
    return spent[0], spent[1], spent[2], written


def main() -> None:
    """Print the table."""
    label, codes = image()
    size = codes.nbytes / 1e6
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = {
            raw.EDR: write_edr(folder, label, codes, CLOCK),
            imageset.IMAGESET: write_imageset(folder, label, codes, CLOCK, 1),
        }
        del codes
        print(f"{size:.0f} MB of codes; MB/s: read, calibrate, check and write, all; MB written; peak MB")
        for form, path in paths.items():
            *seconds, written = made(form, path, folder)
            rates = "  ".join(f"{size / s:7.1f}" for s in (*seconds, sum(seconds)))
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(f"{form.name:18s} {rates}  {written / 1e6:7.0f}  {peak:6.0f}")


if __name__ == "__main__":
    main()
