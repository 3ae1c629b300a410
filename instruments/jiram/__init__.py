"""JIRAM: the infrared imager and spectrometer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from instruments.jiram import archive, calibrate, pixels, quicklook, schemas
from instruments.jiram.pds4 import PDS4
from instruments.jiram.raw import IMAGE, IMAGE_BACKGROUND, SPECTRUM, SPECTRUM_BACKGROUND
from instruments.jiram.rdr import IMAGE_RDR, SPECTRUM_RDR
from pipeline.instrument import Instrument, ProductType, Quicklook, Truth

if TYPE_CHECKING:
    from numpy.random import Generator

    from pipeline.scene import Scene

# A frame lasts a second at most: nothing is cut, but tables may change between frames.
SEGMENT = 86400.0


def _simulate(scene: Scene, raw_folder: Path, scale: Literal["demo", "full"], rng: Generator) -> Iterator[Truth]:
    # The simulator's libraries are not needed to calibrate.
    from instruments.jiram.simulate import simulate

    return simulate(scene, raw_folder, scale, rng)


INSTRUMENT = Instrument(
    name="jiram",
    title="JIRAM, the infrared auroral mapper",
    formats=(IMAGE, IMAGE_BACKGROUND, SPECTRUM, SPECTRUM_BACKGROUND, IMAGE_RDR, SPECTRUM_RDR),
    products=(
        ProductType(
            "jiram.image_background", "Background frames of the imager", "pass", schemas.IMAGE_BACKGROUND, 600.0
        ),
        ProductType(
            "jiram.spectrum_background",
            "Background frames of the spectrometer",
            "pass",
            schemas.SPECTRUM_BACKGROUND,
            600.0,
        ),
        ProductType("jiram.radiance", "Radiance of an image in its bands", "granule", schemas.RADIANCE, SEGMENT),
        ProductType("jiram.spectra", "Spectral radiance along the slit", "granule", schemas.SPECTRAL_RADIANCE, SEGMENT),
        ProductType(
            "jiram.geometry", "What every pixel of an image sees", "granule", schemas.GEOMETRY, SEGMENT, on_request=True
        ),
        ProductType(
            "jiram.slit_geometry",
            "What every pixel of the slit sees",
            "granule",
            schemas.SLIT_GEOMETRY,
            SEGMENT,
            on_request=True,
        ),
    ),
    steps=(
        calibrate.image_background,
        calibrate.spectrum_background,
        calibrate.radiance,
        calibrate.spectra,
        archive.radiance_from_archive,
        archive.spectra_from_archive,
        pixels.geometry,
        pixels.slit_geometry,
    ),
    tables=Path(__file__).resolve().parents[2] / "calibration" / "tables" / "jiram",
    flags=schemas.FLAGS,
    quicklooks=(
        Quicklook("jiram-image", "The image in its bands", ("jiram.radiance",), quicklook.image),
        Quicklook("jiram-map", "The image on the planet", ("jiram.radiance",), quicklook.planet_map),
        Quicklook("jiram-spectrum", "Spectrum and its noise", ("jiram.spectra",), quicklook.spectrum),
    ),
    simulate=_simulate,
    pds4=PDS4,
)
