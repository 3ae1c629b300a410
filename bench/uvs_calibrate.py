"""How long UVS takes for two hours with some 5e7 events, seconds and peak memory; alone, in one process.

Ten minutes are simulated as in a full pass, and written twelve times over with later clocks: twelve files of one
acquisition. They are read and calibrated in segments as the core cuts them; results are dropped, as workers drop them.
"""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import xarray as xr
from astropy.io import fits
from measure import timed

from calibration.tables import Table
from instruments.uvs import INSTRUMENT, calibrate, raw, simulate, spectra
from pipeline.clock import Sclk, Span
from pipeline.geometry import make_geometry
from pipeline.instrument import Granule
from pipeline.passes import get_pass
from pipeline.scene import Scene

CLOCK = Sclk.default()
MINUTES, COPIES = 10, 12
STEPS: tuple[tuple[str, Callable[..., xr.Dataset], float], ...] = (
    ("uvs.photons", calibrate.photons, calibrate.HALO),
    ("uvs.rates", calibrate.rates, calibrate.HALO),
    ("uvs.spectra", spectra.spectra, spectra.SPIN_HALO),
    ("uvs.swath", spectra.swath, calibrate.HALO),
)


def copied(path: Path, number: int) -> None:
    """The file once more, with its clocks later."""
    shift = number * MINUTES * 60
    match = raw.NAME.fullmatch(path.name)
    assert match
    name = path.name.replace("_S01_", f"_S{number + 1:02d}_").replace(match["sclk"], str(int(match["sclk"]) + shift))
    with fits.open(path) as parts:
        for index in raw.COLUMN_FORMATS:
            if "SCLK_SECONDS" in parts[index].columns.names:
                parts[index].data["SCLK_SECONDS"] += shift
        parts.writeto(path.with_name(name))
    label = path.with_suffix(".LBL").read_text().replace(path.name, name)
    path.with_name(name).with_suffix(".LBL").write_text(label)


def simulated(folder: Path, span: Span) -> None:
    simulate.ACQUISITIONS["full"] = ((-3600.0, MINUTES * 60.0),)
    list(simulate.simulate(Scene(get_pass(1), span, "full", 0), folder, "full", np.random.default_rng(0)))


def segments(granules: list[Granule], length: float) -> Iterator[Span]:
    first, last = int(granules[0].start // length), int(granules[-1].stop // length)
    for k in range(first, last + 1):
        yield Span(k * length, (k + 1) * length)


def main() -> None:
    pass_ = get_pass(1)
    span = pass_.window(2.0).pad(300.0)
    tables = [Table.read(INSTRUMENT.tables / f"{name}.yaml") for name in simulate.NAMES]
    with timed("geometry"):
        geometry = make_geometry(pass_, span.pad(200.0), None)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with timed(f"simulate {MINUTES} minutes"):
            # By a process of its own, so that the memory told below is the calibration's.
            child = multiprocessing.get_context("spawn").Process(target=simulated, args=(folder, span))
            child.start()
            child.join()
        path = next(folder.rglob("*.FIT"))
        with timed(f"copy {COPIES - 1} times"):
            for k in range(1, COPIES):
                copied(path, k)
        with timed("open"):
            granules = [raw.open_edr(p, CLOCK) for p in sorted(folder.rglob("*.FIT"))]
        size = sum(g.files["data"].stat().st_size for g in granules) / 1e6
        for product, step, halo in STEPS:
            length, records, events, start = INSTRUMENT.product(product).segment, 0, 0, time.process_time()
            assert length
            with timed(product):
                for segment in segments(granules, length):
                    reach = segment.pad(halo)
                    near = [g for g in granules if g.start < reach.stop and g.stop > reach.start]
                    data = raw.read_edr(near, reach, CLOCK)
                    further = {"uvs.rates": [], "uvs.photons": [geometry, segment]}.get(product, [geometry])
                    made = step(data, *further, *tables)
                    et = made["et"].values
                    records += int(segment.contains(et).sum())
                    events += int(segment.contains(data["et"].values).sum())
            seconds = time.process_time() - start  # of the processor, whatever else it does
            rate = f"{events / seconds:.3g} events/s, {size / seconds:.1f} MB/s raw"
            print(f"  {events:.3g} events, {records} records, {rate}", flush=True)


if __name__ == "__main__":
    main()
