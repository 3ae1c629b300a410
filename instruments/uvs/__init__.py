"""UVS: the ultraviolet spectrograph."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from instruments.uvs import calibrate, maps, quicklook, spectra
from instruments.uvs.pds4 import PDS4
from instruments.uvs.raw import EDR
from instruments.uvs.schemas import FLAGS, MAP, PHOTONS, RATES, SPECTRA, SWATH
from pipeline.instrument import Instrument, ProductType, Quicklook, Truth

if TYPE_CHECKING:
    from numpy.random import Generator

    from pipeline.scene import Scene


def _simulate(scene: Scene, raw_folder: Path, scale: Literal["demo", "full"], rng: Generator) -> Iterator[Truth]:
    # The simulator's libraries are not needed to calibrate.
    from instruments.uvs.simulate import simulate

    return simulate(scene, raw_folder, scale, rng)


INSTRUMENT = Instrument(
    name="uvs",
    title="UVS, the ultraviolet spectrograph",
    formats=(EDR,),
    products=(
        ProductType("uvs.photons", "Photons: wavelength, weight, place on Jupiter", "pass", PHOTONS, segment=120.0),
        ProductType("uvs.rates", "Count rates corrected for dead time, and radiation", "pass", RATES, segment=300.0),
        ProductType("uvs.spectra", "Spectra of Jupiter and of the sky, by spin", "pass", SPECTRA, segment=300.0),
        ProductType("uvs.swath", "Spectra of the pixels of the swath on Jupiter", "pass", SWATH, segment=120.0),
        ProductType("uvs.map", "Map of bands and colour ratio in System III", "pass", MAP),
    ),
    steps=(calibrate.photons, calibrate.rates, spectra.spectra, spectra.swath, maps.aurora),
    tables=Path(__file__).resolve().parents[2] / "calibration" / "tables" / "uvs",
    flags=FLAGS,
    quicklooks=(
        Quicklook("uvs-aurora", "Ultraviolet aurora in System III", ("uvs.map",), quicklook.aurora),
        Quicklook("uvs-spectra", "Spectra of Jupiter and the sky", ("uvs.spectra",), quicklook.spectra),
        Quicklook("uvs-image", "Wavelength along the spin", ("uvs.swath",), quicklook.image),
        Quicklook("uvs-rates", "Count rates, dead time and radiation", ("uvs.rates",), quicklook.rates),
    ),
    simulate=_simulate,
    pds4=PDS4,
)
