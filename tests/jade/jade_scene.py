"""Scenes of the tests' own, and products made of raw data without the core."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr
from loops import CLOCK, Loop, Tables, tables_of

from calibration.tables import Table
from instruments.jade import INSTRUMENT, calibrate, flux, ion_moments, moments, raw, tof
from pipeline.clock import Span
from pipeline.instrument import Granule
from pipeline.scene import Scene
from pipeline.testing.inputs import field_of


def tables(**changed: Table) -> Tables:
    return {**tables_of("jade"), **changed}


def called(function, known: Tables, **inputs):
    """A step with the tables of its arguments' names."""
    needs = function.__perijove_step__.needs
    chosen = {n.argument: known[n.name.split(".", 1)[1]] for n in needs if n.kind == "table"}
    return function(**chosen, **inputs)


def electron_rate(data: xr.Dataset, where: Scene, known: Tables | None = None, span: Span | None = None, **parameters):
    return called(
        calibrate.electron_rate,
        known or tables(),
        raw=data,
        geometry=where.geometry,
        span=span or where.span,
        **parameters,
    )


def ion_rate(data: xr.Dataset, where: Scene, known: Tables | None = None, span: Span | None = None):
    return called(calibrate.ion_rate, known or tables(), raw=data, geometry=where.geometry, span=span or where.span)


def ion_logicals(data: xr.Dataset, where: Scene, known: Tables | None = None):
    return called(tof.ion_logicals, known or tables(), raw=data, span=where.span)


def ion_masses(data: xr.Dataset, where: Scene, singles: xr.Dataset | None, known: Tables | None = None):
    return called(tof.ion_masses, known or tables(), raw=data, singles=singles, span=where.span)


def fluxes(rate: xr.Dataset, where: Scene, field: xr.Dataset | None, known: Tables | None = None):
    step = flux.ion_flux if "species" in rate else flux.electron_flux
    return called(step, known or tables(), rate=rate, field=field, geometry=where.geometry)


def moments_of(found: xr.Dataset, where: Scene, known: Tables | None = None, **parameters):
    if "species" in found:
        step = ion_moments.ion_moments
        return called(step, known or tables(), flux=found, geometry=where.geometry, **parameters)
    return called(moments.electron_moments, known or tables(), flux=found, **parameters)


def granules(folder: Path, kind: str) -> list[Granule]:
    return [raw.open_level2(p, CLOCK) for p in sorted(folder.rglob(f"JAD_L20_*{kind}*.LBL"))]


def looped(where: Scene, folder: Path, seed: int = 4) -> Loop:
    """Simulate, read, calibrate."""
    rng = np.random.default_rng(seed)
    truth = {t.type: t.dataset for t in INSTRUMENT.simulate(where, folder, "demo", rng)}
    data = {
        "electron": raw.read_electrons(granules(folder, "ELC"), None, CLOCK),
        "ion": raw.read_ions(granules(folder, "ION_ANY"), None, CLOCK),
        "logicals": raw.read_logicals(granules(folder, "ION_LOG"), None, CLOCK),
        "tof": raw.read_tof(granules(folder, "ION_TOF"), None, CLOCK),
    }
    field = field_of(where)
    products = {
        "jade.electron_rate": electron_rate(data["electron"], where),
        "jade.ion_rate": ion_rate(data["ion"], where),
        "jade.ion_logicals": ion_logicals(data["logicals"], where),
    }
    for kind in ("electron", "ion"):
        products[f"jade.{kind}_flux"] = fluxes(products[f"jade.{kind}_rate"], where, field)
        products[f"jade.{kind}_moments"] = moments_of(products[f"jade.{kind}_flux"], where)
    products["jade.ion_masses"] = ion_masses(data["tof"], where, products["jade.ion_logicals"])
    return Loop(where, folder, data, truth, products)
