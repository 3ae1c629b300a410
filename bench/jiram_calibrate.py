"""How long JIRAM takes for two hours of PJ1, an image and a spectrum every spin: seconds, MB/s and peak memory.

Everything by itself in one process: simulate, open, read, calibrate one by one as the core does, write.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import xarray as xr
from measure import timed

from calibration.library import Library
from calibration.tables import Table
from instruments.jiram import INSTRUMENT, calibrate, pixels, raw
from pipeline.clock import Sclk, Span
from pipeline.dataset import check, netcdf
from pipeline.dataset.context import add_context
from pipeline.errors import InputError
from pipeline.instrument import Granule
from pipeline.scene import Scene, make_scene

CLOCK = Sclk.default()
IMAGE = ("image_detector", "image_dark", "image_responsivity", "bands", "exposure", "temperature", "compression")
SPECTRUM = (
    *("spectrum_detector", "spectrum_dark", "spectrum_responsivity", "wavelength", "exposure", "temperature"),
    "compression",
)


def opened(folder: Path) -> dict[str, list[Granule]]:
    found: dict[str, list[Granule]] = {form.name: [] for form in INSTRUMENT.formats}
    for path in sorted(folder.rglob("JIR_[IS]*.LBL")):
        for form in INSTRUMENT.formats:
            try:
                found[form.name].append(form.open(path, CLOCK))
                break
            except InputError:
                continue
    return found


def near(background: xr.Dataset, granule: Granule) -> xr.Dataset:
    et = background["et"].values
    return background.isel(et=np.abs(et - granule.start) <= calibrate.REACH)


def write(folder: Path, dataset: xr.Dataset, name: str, scene: Scene) -> None:
    schema = INSTRUMENT.product(name).schema
    dataset = check.finish(add_context(dataset, schema, scene.geometry, CLOCK), schema, INSTRUMENT.flags, {})
    check.check(dataset, schema, INSTRUMENT.flags)
    netcdf.write_segment(folder / f"{name}.nc", dataset, schema)


def main() -> None:
    scene = make_scene(1, scale="full", seed=0)
    context = Library({"jiram": INSTRUMENT.tables}, None).context("default")

    def chosen(*names: str) -> list[Table]:
        return [context.select("jiram", n, Span(scene.pass_.et, scene.pass_.et + 1.0))[0][0] for n in names]

    with timed("geometry"):
        _ = scene.geometry
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with timed("simulate"):
            for _ in INSTRUMENT.simulate(scene, folder, "full", np.random.default_rng(0)):  # type: ignore[misc]
                pass
        sizes = {e: sum(f.stat().st_size for f in folder.rglob(f"*.{e}")) / 1e6 for e in ("IMG", "DAT")}
        with timed("open, labels of four files each", sum(sizes.values())):
            granules = opened(folder)
        print({k: len(v) for k, v in granules.items() if v})
        with timed("jiram.image_background"):
            data = raw.read_images(granules["jiram.image_background_edr"], None, CLOCK)
            names = ("image_detector", "image_dark", "bands", "temperature", "compression")
            background = calibrate.image_background(data, *chosen(*names))
        with timed("jiram.radiance, and written", sizes["IMG"]):
            for granule in granules["jiram.image_edr"]:
                data = raw.read_images([granule], None, CLOCK)
                tables = chosen(*IMAGE, "pointing")
                made = calibrate.radiance(data, near(background, granule), scene.geometry, *tables)
                write(folder, made, "jiram.radiance", scene)
        with timed("jiram.spectrum_background"):
            data = raw.read_spectra(granules["jiram.spectrum_background_edr"], None, CLOCK)
            names = ("spectrum_detector", "spectrum_dark", "wavelength", "temperature", "compression")
            background = calibrate.spectrum_background(data, *chosen(*names))
        with timed("jiram.spectra, and written", sizes["DAT"]):
            for granule in granules["jiram.spectrum_edr"]:
                data = raw.read_spectra([granule], None, CLOCK)
                made = calibrate.spectra(data, near(background, granule), *chosen(*SPECTRUM))
                write(folder, made, "jiram.spectra", scene)
        with timed("jiram.geometry of ten images"):
            for granule in granules["jiram.image_edr"][:10]:
                data = raw.read_images([granule], None, CLOCK)
                write(folder, pixels.geometry(data, scene.geometry, *chosen("pointing")), "jiram.geometry", scene)


if __name__ == "__main__":
    main()
