"""A simulated stretch of PJ1 and products made of it without the core."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import xarray as xr

from calibration.library import Library
from calibration.tables import Table
from instruments.jiram import INSTRUMENT, calibrate, raw, simulate
from pipeline.clock import Sclk, Span
from pipeline.dataset import check
from pipeline.instrument import Granule
from pipeline.passes import get_pass
from pipeline.scene import Scene
from pipeline.testing.pulls import Result, compare_to_truth

CLOCK = Sclk.default()
PASS = get_pass(1)
IMAGER = ("image_detector", "image_dark", "image_responsivity", "bands", "exposure", "temperature", "compression")
SPECTROMETER = (
    *("spectrum_detector", "spectrum_dark", "spectrum_responsivity", "wavelength", "exposure", "temperature"),
    "compression",
)


def tables(et: float = PASS.et) -> dict[str, Table]:
    """The tables that hold at a time."""
    context = Library({"jiram": INSTRUMENT.tables}, None).context("default")
    names = {*IMAGER, *SPECTROMETER, "pointing"}
    return {name: context.select("jiram", name, Span(et, et + 1.0))[0][0] for name in names}


class Loop(NamedTuple):
    """Raw data of one kind of frame, background frames, and the truth by unit."""

    scene: Scene
    granules: dict[str, list[Granule]]
    truth: dict[str, xr.Dataset]
    folder: Path


def looped(start: float, stop: float, folder: Path, *, every: int, cycle: int, seed: int = 4) -> Loop:
    """Simulate between seconds from closest approach."""
    where = Scene(PASS, Span(PASS.et + start, PASS.et + stop), "demo", seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(simulate.EVERY, "demo", every)
        patch.setitem(simulate.CYCLE, "demo", cycle)
        truth = {t.unit: t.dataset for t in simulate.simulate(where, folder, "demo", np.random.default_rng(seed))}
    return Loop(where, granules_below(folder), truth, folder)


def granules_below(folder: Path) -> dict[str, list[Granule]]:
    """All granules below a folder by format, in time order."""
    found: dict[str, list[Granule]] = {form.name: [] for form in INSTRUMENT.formats}
    for path in sorted(folder.rglob("JIR_[IS]*.LBL")):
        for form in INSTRUMENT.formats:
            try:
                found[form.name].append(form.open(path, CLOCK))
                break
            except raw.InputError:
                continue
    return {name: sorted(granules, key=lambda g: g.start) for name, granules in found.items()}


def backgrounds(loop: Loop, kind: str, known: dict[str, Table] | None = None) -> xr.Dataset:
    """The background product of ``image`` or ``spectrum``."""
    t = known or tables()
    read = raw.read_images if kind == "image" else raw.read_spectra
    data = read(loop.granules[f"jiram.{kind}_background_edr"], None, CLOCK)
    if kind == "image":
        names = ("image_detector", "image_dark", "bands", "temperature", "compression")
        return calibrate.image_background(data, *(t[n] for n in names))
    names = ("spectrum_detector", "spectrum_dark", "wavelength", "temperature", "compression")
    return calibrate.spectrum_background(data, *(t[n] for n in names))


def image_of(
    loop: Loop,
    granule: Granule,
    background: xr.Dataset | None,
    known: dict[str, Table] | None = None,
    data: xr.Dataset | None = None,
    **parameters: object,
) -> xr.Dataset:
    """jiram.radiance of one granule."""
    t = known or tables()
    data = raw.read_images([granule], None, CLOCK) if data is None else data
    chosen = [t[n] for n in (*IMAGER, "pointing")]
    return calibrate.radiance(data, background, loop.scene.geometry, *chosen, **parameters)


def spectra_of(
    granule: Granule, background: xr.Dataset | None, known: dict[str, Table] | None = None, **parameters: object
) -> xr.Dataset:
    """jiram.spectra of one granule."""
    t = known or tables()
    data = raw.read_spectra([granule], None, CLOCK)
    return calibrate.spectra(data, background, *(t[n] for n in SPECTROMETER), **parameters)


def finished(dataset: xr.Dataset, product: str) -> xr.Dataset:
    """As the core finishes it, but for the record coordinates."""
    schema = INSTRUMENT.product(product).schema
    return check.finish(dataset, schema, INSTRUMENT.flags, {"product": f"{product}/PJ01/unit"})


def judged(dataset: xr.Dataset, truth: xr.Dataset, product: str) -> list[Result]:
    """Verdicts of the closed loop."""
    return compare_to_truth(finished(dataset, product), truth, INSTRUMENT.product(product).schema)


def failed(results: list[Result]) -> set[str]:
    """Variables that do not agree."""
    return {r.variable for r in results if not r.ok}
