"""SRU: the stellar reference unit, a star camera that also sees the night side and counts particles."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from instruments.sru import calibrate, counts, quicklook, stars
from instruments.sru.count_table import COUNT_TABLE
from instruments.sru.pds4 import PDS4
from instruments.sru.raw import EDR
from instruments.sru.schemas import COUNT_RATE, DARK, FLAGS, HITS, IMAGE, STARS
from pipeline.instrument import Instrument, ProductType, Quicklook, Truth

if TYPE_CHECKING:
    from numpy.random import Generator

    from pipeline.scene import Scene


def _simulate(scene: Scene, raw_folder: Path, scale: Literal["demo", "full"], rng: Generator) -> Iterator[Truth]:
    # The simulator's libraries are not needed to calibrate.
    from instruments.sru.simulate import simulate

    return simulate(scene, raw_folder, scale, rng)


INSTRUMENT = Instrument(
    name="sru",
    title="SRU, the stellar reference unit",
    formats=(EDR, COUNT_TABLE),
    products=(
        ProductType("sru.dark", "Dark level and hot pixels of a pass", "pass", DARK),
        ProductType("sru.image", "Image in electrons per second", "granule", IMAGE),
        ProductType("sru.stars", "Stars measured in an image", "granule", STARS),
        ProductType("sru.hits", "Hits of penetrating particles in an image", "granule", HITS),
        ProductType("sru.count_rate", "Rates of penetrating particles along the pass", "pass", COUNT_RATE),
    ),
    steps=(
        calibrate.dark,
        calibrate.image,
        stars.stars,
        counts.hits,
        counts.count_rate_from_images,
        counts.count_rate_from_archive,
    ),
    tables=Path(__file__).resolve().parents[2] / "calibration" / "tables" / "sru",
    flags=FLAGS,
    quicklooks=(
        Quicklook("sru-rate", "Penetrating particles along the pass", ("sru.count_rate",), quicklook.rate),
        Quicklook("sru-image", "The image, its limb and its stars", ("sru.image", "sru.stars"), quicklook.image),
        Quicklook("sru-clusters", "Hits in an image", ("sru.image", "sru.hits"), quicklook.clusters),
    ),
    simulate=_simulate,
    pds4=PDS4,
)
