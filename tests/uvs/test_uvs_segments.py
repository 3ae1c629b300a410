"""A product made in one piece and in three is the same to the bit."""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from uvs_world import CLOCK, Loop

from instruments.uvs import INSTRUMENT, calibrate, raw, spectra
from pipeline.clock import Span

HALOS = {
    "uvs.photons": calibrate.HALO,
    "uvs.rates": calibrate.HALO,
    "uvs.spectra": spectra.SPIN_HALO,
    "uvs.swath": calibrate.HALO,
}


@pytest.mark.parametrize("product", HALOS)
def test_one_segment_and_three(loop: Loop, product: str) -> None:
    whole = loop.make(product)
    start, stop = loop.raw["frame_et"].values[0] - 1.0, loop.raw["frame_stop"].values[-1] + 1.0
    edges = np.linspace(start, stop, 4)
    parts = []
    index = INSTRUMENT.product(product).schema.index
    for a, b in pairwise(edges):
        span = Span(float(a), float(b))
        data = raw.read_edr(loop.granules, span.pad(HALOS[product]), CLOCK)
        made = loop.make(product, data=data)
        parts.append(made.isel({index: span.contains(made["et"].values)}))
    for name in whole.variables:
        if index not in whole[name].dims:
            continue
        joined = np.concatenate([p[name].values for p in parts])
        assert joined.tobytes() == np.ascontiguousarray(whole[name].values).tobytes(), name
