"""JunoCam: the visible-light camera."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from instruments.junocam import attitude, calibrate, geometry, maps, pictures, quicklook
from instruments.junocam.geometry_schemas import ATTITUDE, COLOUR, GEOMETRY, GEOMETRY_FLAGS, MAP
from instruments.junocam.imageset import IMAGESET
from instruments.junocam.raw import EDR, RDR
from instruments.junocam.schemas import FLAGS, RADIANCE
from pipeline.instrument import Instrument, ProductType, Quicklook, Truth

if TYPE_CHECKING:
    from numpy.random import Generator

    from pipeline.scene import Scene


def _simulate(scene: Scene, raw_folder: Path, scale: Literal["demo", "full"], rng: Generator) -> Iterator[Truth]:
    # The simulator's libraries are not needed to calibrate.
    from instruments.junocam.simulate import simulate

    return simulate(scene, raw_folder, scale, rng)


INSTRUMENT = Instrument(
    name="junocam",
    title="JunoCam, the visible-light camera",
    formats=(EDR, IMAGESET, RDR),
    products=(
        # Some five frames: what a worker holds at a time.
        ProductType("junocam.radiance", "Radiance and I/F of the framelets", "granule", RADIANCE, segment=2.0),
        ProductType("junocam.attitude", "Position and attitude at the framelets", "granule", ATTITUDE),
        ProductType("junocam.geometry", "Where the samples look", "granule", GEOMETRY, segment=1.0, on_request=True),
        ProductType("junocam.colour", "All filters on one camera grid", "granule", COLOUR),
        ProductType("junocam.map", "Map in System III", "granule", MAP),
    ),
    steps=(
        calibrate.radiance_from_edr,
        calibrate.radiance_from_imageset,
        calibrate.radiance_from_rdr,
        attitude.attitude,
        geometry.geometry,
        maps.colour,
        maps.map_,
    ),
    tables=Path(__file__).resolve().parents[2] / "calibration" / "tables" / "junocam",
    flags=(*FLAGS, *GEOMETRY_FLAGS),
    quicklooks=(
        Quicklook("junocam-radiance", "Framelets of", ("junocam.radiance",), quicklook.framelets),
        Quicklook("junocam-limb", "Limb of", ("junocam.attitude",), pictures.limb),
        Quicklook("junocam-colour", "Colours of", ("junocam.colour",), pictures.assembly),
        Quicklook("junocam-map", "Map of", ("junocam.map",), pictures.maps),
        Quicklook("junocam-damage", "Damage and saturation of", ("junocam.radiance",), quicklook.damage),
    ),
    simulate=_simulate,
)
