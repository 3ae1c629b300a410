"""JADE: electrons of 0.1 to 100 keV and ions of 5 eV to 50 keV per charge."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from instruments.jade import archive, calibrate, flux, ion_moments, moments, quicklook, tof
from instruments.jade.level3 import LEVEL_3, LEVEL_3_IONS
from instruments.jade.raw import ELECTRON_DATA, ION_DATA, LOGICAL_DATA, TOF_DATA
from instruments.jade.schemas import (
    ELECTRON_FLUX,
    ELECTRON_MOMENTS,
    ELECTRON_RATE,
    FLAGS,
    ION_FLUX,
    ION_LOGICALS,
    ION_MASSES,
    ION_MOMENTS,
    ION_RATE,
)
from pipeline.instrument import Instrument, ProductType, Quicklook, Truth

if TYPE_CHECKING:
    from numpy.random import Generator

    from pipeline.scene import Scene


def _simulate(scene: Scene, raw_folder: Path, scale: Literal["demo", "full"], rng: Generator) -> Iterator[Truth]:
    # The simulator's libraries are not needed to calibrate.
    from instruments.jade.simulate import simulate

    return simulate(scene, raw_folder, scale, rng)


INSTRUMENT = Instrument(
    name="jade",
    title="JADE, electrons and ions of the auroral plasma",
    formats=(ELECTRON_DATA, ION_DATA, LOGICAL_DATA, TOF_DATA, LEVEL_3, LEVEL_3_IONS),
    products=(
        ProductType("jade.electron_rate", "Electron count rates", "pass", ELECTRON_RATE, segment=300.0),
        ProductType("jade.electron_flux", "Electron fluxes and pitch angles", "pass", ELECTRON_FLUX, segment=300.0),
        ProductType("jade.electron_moments", "Electron moments", "pass", ELECTRON_MOMENTS, segment=300.0),
        ProductType("jade.ion_rate", "Count rates of ion species", "pass", ION_RATE, segment=1200.0),
        ProductType("jade.ion_flux", "Fluxes and pitch angles of ion species", "pass", ION_FLUX, segment=1200.0),
        ProductType("jade.ion_moments", "Moments of ion species", "pass", ION_MOMENTS, segment=1200.0),
        ProductType("jade.ion_logicals", "Logical counters, efficiencies", "pass", ION_LOGICALS, segment=1200.0),
        ProductType("jade.ion_masses", "Times of flight, fluxes of masses", "pass", ION_MASSES, segment=1200.0),
    ),
    steps=(
        calibrate.electron_rate,
        archive.electron_rate_from_archive,
        calibrate.ion_rate,
        archive.ion_rate_from_archive,
        flux.electron_flux,
        flux.ion_flux,
        moments.electron_moments,
        ion_moments.ion_moments,
        tof.ion_logicals,
        tof.ion_masses,
    ),
    tables=Path(__file__).resolve().parents[2] / "calibration" / "tables" / "jade",
    flags=FLAGS,
    quicklooks=(
        Quicklook("jade-electrons", "Electrons over energy and time", ("jade.electron_flux",), quicklook.electrons),
        Quicklook("jade-pitch", "Electrons over pitch angle and time", ("jade.electron_flux",), quicklook.pitch),
        Quicklook("jade-ions", "Ion species over energy and time", ("jade.ion_flux",), quicklook.ions),
        Quicklook(
            "jade-moments",
            "Densities, temperatures, flow",
            ("jade.electron_moments", "jade.ion_moments"),
            quicklook.moments,
        ),
        Quicklook("jade-masses", "Times of flight and fluxes of masses", ("jade.ion_masses",), quicklook.masses),
    ),
    simulate=_simulate,
)
