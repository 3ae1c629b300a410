"""MAG: the fluxgate magnetometer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from instruments.mag import average, calibrate, model, quicklook, zeros
from instruments.mag.pds4 import PDS4
from instruments.mag.raw import CCSDS
from instruments.mag.schemas import FIELD, FIELD_1S, FIELD_60S, FLAGS, MODEL, ZEROS
from instruments.mag.sts import STS
from pipeline.instrument import Instrument, ProductType, Quicklook, Truth

if TYPE_CHECKING:
    from numpy.random import Generator

    from pipeline.scene import Scene


def _simulate(scene: Scene, raw_folder: Path, scale: Literal["demo", "full"], rng: Generator) -> Iterator[Truth]:
    # The simulator's libraries are not needed to calibrate.
    from instruments.mag.simulate import simulate

    return simulate(scene, raw_folder, scale, rng)


INSTRUMENT = Instrument(
    name="mag",
    title="MAG, the fluxgate magnetometer",
    formats=(CCSDS, STS),
    products=(
        ProductType("mag.field", "Magnetic field at full rate", "pass", FIELD, segment=600.0),
        ProductType("mag.field_1s", "Magnetic field, means over 1 s", "pass", FIELD_1S, segment=1800.0),
        ProductType("mag.field_60s", "Magnetic field, means over 60 s", "pass", FIELD_60S, segment=3600.0),
        ProductType("mag.model", "Magnetic field less JRM33 and con2020", "pass", MODEL, segment=3600.0),
        ProductType("mag.zeros", "Zeros left in the field, per spin and per range", "pass", ZEROS),
    ),
    steps=(
        calibrate.field_from_telemetry,
        calibrate.field_from_archive,
        average.field_1s,
        average.field_60s,
        model.model,
        zeros.zeros,
    ),
    tables=Path(__file__).resolve().parents[2] / "calibration" / "tables" / "mag",
    flags=FLAGS,
    quicklooks=(
        Quicklook("mag-field", "The field along the pass", ("mag.field_1s",), quicklook.field),
        Quicklook("mag-residual", "Measured less modelled field", ("mag.model", "mag.field_1s"), quicklook.residual),
        Quicklook("mag-quality", "Range, noise and flags", ("mag.field_1s", "mag.field"), quicklook.quality),
        Quicklook("mag-zeros", "Zeros left in the spin plane", ("mag.zeros",), quicklook.zeros),
    ),
    simulate=_simulate,
    pds4=PDS4,
)
