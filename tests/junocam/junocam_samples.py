"""Images of the tests' own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from instruments.junocam.labels import ImageLabel
from instruments.junocam.layout import FILTERS, framelet_lines, line_samples
from pipeline.clock import Sclk, parse_utc

CLOCK = Sclk.default()
VISIBLE = FILTERS[:3]


def label(
    filters: tuple[str, ...] = VISIBLE, *, frames: int = 2, summing: int = 1, lines: int | None = None, **other: object
) -> ImageLabel:
    """Label of an image of PJ32, of whole frames unless `lines` says otherwise."""
    plain = ImageLabel(
        id="JNCE_2021052_32C00054",
        version=1,
        orbit=32,
        number=54,
        start=parse_utc("2021-02-21T18:29:46.903"),
        clock_difference=0.0,
        exposure=0.0032,
        interframe=0.370,
        tdi_stages=1,
        filters=filters,
        centres={},
        mode="SQROOT",
        compression="HUFFMAN",
        summing=summing,
        lines=lines or frames * len(filters) * framelet_lines(summing),
        samples=line_samples(summing),
        solar_distance=7.5973e8,
        altitude=66525.5,
        latitude=-55.8434,
        longitude=79.5828,
        temperature=float("nan"),
        simulated=False,
        corrections="",
    )
    return replace(plain, **other)  # type: ignore[arg-type]


def codes(described: ImageLabel, seed: int = 0) -> NDArray[np.uint8]:
    """Codes of any kind."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (described.lines, described.samples), np.uint8)
