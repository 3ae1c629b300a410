"""MWR: the microwave radiometer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from instruments.mwr import brightness, calibrate, gain, quicklook, sky
from instruments.mwr.pds4 import PDS4
from instruments.mwr.raw import EDR_FORMAT
from instruments.mwr.rdr import GRDR_FORMAT, IRDR_FORMAT
from instruments.mwr.schemas import ANCHOR, ANTENNA_TEMPERATURE, BRIGHTNESS, COMPONENTS, DEFLECTIONS, FLAGS, GAIN
from pipeline.instrument import Instrument, ProductType, Quicklook, Truth

if TYPE_CHECKING:
    from numpy.random import Generator

    from pipeline.scene import Scene


def _simulate(scene: Scene, raw_folder: Path, scale: Literal["demo", "full"], rng: Generator) -> Iterator[Truth]:
    # The simulator's libraries are not needed to calibrate.
    from instruments.mwr.simulate import simulate

    return simulate(scene, raw_folder, scale, rng)


INSTRUMENT = Instrument(
    name="mwr",
    title="MWR, the microwave radiometer",
    formats=(EDR_FORMAT, IRDR_FORMAT, GRDR_FORMAT),
    products=(
        ProductType("mwr.deflections", "Deflections of the noise diodes", "pass", DEFLECTIONS, segment=600.0),
        ProductType("mwr.gain", "Gain and nonlinearity of the receivers through the pass", "pass", GAIN),
        ProductType("mwr.antenna_temperature", "Antenna temperatures", "pass", ANTENNA_TEMPERATURE, segment=600.0),
        ProductType("mwr.components", "Jupiter, galaxy and belts in the beam", "pass", COMPONENTS, segment=600.0),
        ProductType("mwr.anchor", "Open sky, measured less modelled", "pass", ANCHOR),
        ProductType("mwr.brightness", "Nadir brightness and limb darkening by latitude", "pass", BRIGHTNESS),
    ),
    steps=(
        calibrate.deflections,
        gain.gain,
        calibrate.antenna_temperature,
        calibrate.antenna_temperature_from_archive,
        sky.components,
        brightness.anchor,
        brightness.brightness,
    ),
    tables=Path(__file__).resolve().parents[2] / "calibration" / "tables" / "mwr",
    flags=FLAGS,
    quicklooks=(
        Quicklook("mwr-ta", "Antenna temperatures", ("mwr.antenna_temperature",), quicklook.temperatures),
        Quicklook("mwr-nadir", "Brightness and limb darkening by latitude", ("mwr.brightness",), quicklook.latitudes),
        Quicklook("mwr-gain", "Gain and diodes", ("mwr.gain", "mwr.anchor"), quicklook.gains),
        Quicklook("mwr-sky", "What is in the beam", ("mwr.components",), quicklook.sky),
    ),
    simulate=_simulate,
    pds4=PDS4,
)
