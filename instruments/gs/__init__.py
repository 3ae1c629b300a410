"""GS: Gravity Science, radio tracking of Juno by the Deep Space Network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from instruments.gs import calibrate, gravity, means, media, open_loop, quicklook, tracking
from instruments.gs.open_loop import RSR
from instruments.gs.raw import ODF, TNF
from instruments.gs.raw_media import CSP, EOP
from instruments.gs.schemas import (
    FLAGS,
    GRAVITY,
    MEDIA,
    OPEN_LOOP,
    ORIENTATION,
    RANGE_RATE,
    RESIDUALS,
    STABILITY,
    TRACKING,
    UPLINK,
)
from pipeline.instrument import Instrument, ProductType, Quicklook, Truth

if TYPE_CHECKING:
    from numpy.random import Generator

    from pipeline.scene import Scene


def _simulate(scene: Scene, raw_folder: Path, scale: Literal["demo", "full"], rng: Generator) -> Iterator[Truth]:
    # The simulator's libraries are not needed to calibrate.
    from instruments.gs.simulate import simulate

    return simulate(scene, raw_folder, scale, rng)


INSTRUMENT = Instrument(
    name="gs",
    title="Gravity Science, radio tracking by the Deep Space Network",
    formats=(TNF, ODF, CSP, EOP, RSR),
    products=(
        ProductType("gs.tracking", "Received sky frequencies", "pass", TRACKING),
        ProductType("gs.uplink", "Transmitted frequencies", "pass", UPLINK),
        ProductType("gs.media", "Zenith delays of the troposphere", "pass", MEDIA),
        ProductType("gs.orientation", "Orientation of the Earth", "pass", ORIENTATION),
        ProductType("gs.residuals", "Received less computed frequencies", "pass", RESIDUALS),
        ProductType("gs.range_rate", "Residual range rate, means over 60 s", "pass", RANGE_RATE),
        ProductType("gs.stability", "Allan deviation of the residuals", "pass", STABILITY),
        ProductType("gs.gravity", "What the pass says of gravity and state", "pass", GRAVITY),
        ProductType("gs.open_loop", "Carrier frequency of open-loop recordings", "granule", OPEN_LOOP, segment=300.0),
    ),
    steps=(
        tracking.tracking_from_tnf,
        tracking.tracking_from_odf,
        tracking.uplink_from_tnf,
        tracking.uplink_from_odf,
        media.media_from_csp,
        media.orientation_from_eop,
        calibrate.residuals,
        means.range_rate,
        means.stability,
        gravity.gravity,
        open_loop.open_loop,
    ),
    tables=Path(__file__).resolve().parents[2] / "calibration" / "tables" / "gs",
    flags=FLAGS,
    quicklooks=(
        Quicklook("gs-residuals", "Residuals before and after calibration", ("gs.range_rate",), quicklook.residuals),
        Quicklook("gs-stability", "Allan deviation", ("gs.stability",), quicklook.stability),
        Quicklook("gs-effects", "What was calibrated", ("gs.residuals",), quicklook.effects),
        Quicklook("gs-gravity", "What the pass says of gravity", ("gs.gravity",), quicklook.gravity),
        Quicklook("gs-open-loop", "Open-loop frequency", ("gs.open_loop",), quicklook.open_loop),
    ),
    simulate=_simulate,
)
