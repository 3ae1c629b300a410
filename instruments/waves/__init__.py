"""Waves: the radio and plasma wave instrument."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from instruments.waves import bursts, calibrate, flux, quicklook
from instruments.waves.burst_files import REC
from instruments.waves.layout import BURSTS
from instruments.waves.pds4 import PDS4
from instruments.waves.raw import BURST, SURVEY
from instruments.waves.schemas import DIFFERENCES, FLAGS, FLUX, SPECTRUM, SURVEY_ARCHIVE, WAVEFORM
from instruments.waves.schemas import SURVEY as SURVEY_SCHEMA
from instruments.waves.survey_files import CODES, CSV, STREAM
from pipeline.instrument import Instrument, ProductType, Quicklook, Truth

if TYPE_CHECKING:
    from numpy.random import Generator

    from pipeline.scene import Scene

TITLES = {
    "low_e": "electric, 50 kHz",
    "low_b": "magnetic, 50 kHz",
    "mid_e": "electric, 375 kHz",
    "high_e": "electric, 7 MHz",
}
BURST_PRODUCTS = tuple(f"waves.{kind}_{b.name}" for kind in ("burst", "spectrum") for b in BURSTS)


def _simulate(scene: Scene, raw_folder: Path, scale: Literal["demo", "full"], rng: Generator) -> Iterator[Truth]:
    # The simulator's libraries are not needed to calibrate.
    from instruments.waves.simulate import simulate

    return simulate(scene, raw_folder, scale, rng)


INSTRUMENT = Instrument(
    name="waves",
    title="Waves, the radio and plasma wave instrument",
    formats=(SURVEY, BURST, CODES, STREAM, CSV, REC),
    products=(
        ProductType("waves.survey", "Power spectral density, all receivers", "pass", SURVEY_SCHEMA, segment=600.0),
        ProductType("waves.survey_archive", "The archive's own survey", "pass", SURVEY_ARCHIVE, segment=600.0),
        ProductType("waves.differences", "Survey less the archive's", "pass", DIFFERENCES),
        ProductType("waves.flux", "Flux density at 1 au", "pass", FLUX, on_request=True),
        *(
            ProductType(
                f"waves.burst_{b.name}", f"Waveforms, {TITLES[b.name]}", "pass", WAVEFORM[b.name], segment=300.0
            )
            for b in BURSTS
        ),
        *(
            ProductType(
                f"waves.spectrum_{b.name}",
                f"Spectra of bursts, {TITLES[b.name]}",
                "pass",
                SPECTRUM[b.name],
                segment=600.0,
            )
            for b in BURSTS
        ),
    ),
    steps=(
        calibrate.survey_from_telemetry,
        calibrate.survey_from_codes,
        calibrate.survey_from_csv,
        calibrate.survey_from_stream,
        calibrate.differences,
        flux.flux,
        *bursts.WAVEFORM_STEPS,
        *bursts.SPECTRUM_STEPS,
    ),
    tables=Path(__file__).resolve().parents[2] / "calibration" / "tables" / "waves",
    flags=FLAGS,
    quicklooks=(
        Quicklook("waves-spectra", "Dynamic spectra", ("waves.survey",), quicklook.spectra),
        Quicklook("waves-bursts", "Bursts: waveforms and spectra", BURST_PRODUCTS, quicklook.bursts),
        Quicklook("waves-differences", "Survey less the archive's", ("waves.differences",), quicklook.differences),
    ),
    simulate=_simulate,
    pds4=PDS4,
)
