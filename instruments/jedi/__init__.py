"""JEDI: electrons of 30 keV to 1 MeV, ions of 10 keV to 10 MeV told apart by mass."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from instruments.jedi import calibrate, quicklook, spectrograms
from instruments.jedi.raw import FORMATS
from instruments.jedi.schemas import FLAGS, INTENSITIES, SPECTROGRAMS
from pipeline.instrument import Instrument, ProductType, Quicklook, Truth

if TYPE_CHECKING:
    from numpy.random import Generator

    from pipeline.scene import Scene


def _simulate(scene: Scene, raw_folder: Path, scale: Literal["demo", "full"], rng: Generator) -> Iterator[Truth]:
    # The simulator's libraries are not needed to calibrate.
    from instruments.jedi.simulate import simulate

    return simulate(scene, raw_folder, scale, rng)


INSTRUMENT = Instrument(
    name="jedi",
    title="JEDI, energetic electrons and ions",
    formats=FORMATS,
    products=(
        ProductType("jedi.electrons", "Electron intensities", "pass", INTENSITIES, segment=1200.0),
        ProductType("jedi.ion_singles", "Ion intensities, species together", "pass", INTENSITIES, segment=1200.0),
        ProductType("jedi.ions", "Intensities of ion species", "pass", INTENSITIES, segment=1200.0),
        ProductType("jedi.low_ions", "Intensities of ion species of low energy", "pass", INTENSITIES, segment=1200.0),
        ProductType("jedi.electron_spectrogram", "Spectrograms of electrons", "pass", SPECTROGRAMS, segment=2400.0),
        ProductType("jedi.ion_spectrogram", "Spectrograms of ion species", "pass", SPECTROGRAMS, segment=2400.0),
    ),
    steps=(*calibrate.STEPS, spectrograms.electron_spectrogram, spectrograms.ion_spectrogram),
    tables=Path(__file__).resolve().parents[2] / "calibration" / "tables" / "jedi",
    flags=FLAGS,
    quicklooks=(
        Quicklook("jedi-electrons", "Electrons over energy", ("jedi.electron_spectrogram",), quicklook.energy),
        Quicklook("jedi-electron-pitch", "Electrons over pitch angle", ("jedi.electron_spectrogram",), quicklook.pitch),
        Quicklook("jedi-ions", "Ion species over energy", ("jedi.ion_spectrogram",), quicklook.energy),
        Quicklook("jedi-ion-pitch", "Ion species over pitch angle", ("jedi.ion_spectrogram",), quicklook.pitch),
        Quicklook(
            "jedi-rates", "Basic rates and live time", ("jedi.electrons", "jedi.ions"), quicklook.activity
        ),
    ),
    simulate=_simulate,
)  # fmt: skip
