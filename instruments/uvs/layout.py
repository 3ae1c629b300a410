"""What the detector's image and the products are cut into: steps of time, bins along the slit, of wavelength and map.

Definitions only, shared by the calibration, which fills them from what was measured, and the simulator, which fills
them from what is true.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

COLUMNS, ROWS, LEVELS = 2048, 256, 32  # spectral, spatial, pulse height
# Seconds in et, edges on whole multiples: of a sample of the sky, of the detector's state, of what drifts slowly.
STEP, SECOND, SLOW = 1.0 / 32.0, 1.0, 30.0
# Blocks of columns and rows within which the gain of the plates sags alike.
BLOCK_COLUMNS, BLOCK_ROWS = 32, 16
# Sections of the slit in the order of rows: wide, narrow, wide; parts of equal length each is divided into.
SECTIONS = ("wide_low", "narrow", "wide_high")
PARTS = (8, 6, 8)
SLIT_BINS = sum(PARTS)
SECTION_OF_BIN = np.repeat(np.arange(len(PARTS)), PARTS)
WAVELENGTH_EDGES = np.arange(68.0, 211.0)  # nm
WAVELENGTHS = 0.5 * (WAVELENGTH_EDGES[1:] + WAVELENGTH_EDGES[:-1])
# What a bin of the slit sees: nothing but Jupiter, nothing but sky, with all its neighbours in time and along the slit.
TARGETS = ("jupiter", "sky")
JUPITER, SKY, LIMB = 0, 1, 2
# Km above the ellipsoid where the light is taken to come from, and the map's cells in degrees.
EMISSION_ALTITUDE = 400.0
CELL = 1.0
LATITUDES = np.arange(-90.0 + CELL / 2, 90.0, CELL)
LONGITUDES = np.arange(CELL / 2, 360.0, CELL)
# Photons per square centimetre, second and 4 pi steradian that make a kilorayleigh.
KILORAYLEIGH = 1e9


def row_edges(first: Array, last: Array) -> Array:
    """Edges of the bins along the slit in rows (SLIT_BINS + 1), from the first and last row of each section."""
    parts = [np.linspace(a - 0.5, b + 0.5, n + 1)[:-1] for a, b, n in zip(first, last, PARTS, strict=True)]
    return np.concatenate([*parts, [last[-1] + 0.5]])


def seen(hit: NDArray[np.bool_], known: NDArray[np.bool_]) -> NDArray[np.int8]:
    """What each bin (step, slit bin) sees: `JUPITER` or `SKY` where it and all its neighbours do, else `LIMB`.

    Parameters
    ----------
    hit, known : whether its middle looks at Jupiter, and whether where it looks is known; steps are consecutive.
    """
    out = np.full(hit.shape, LIMB, np.int8)
    for target, here in ((JUPITER, hit & known), (SKY, ~hit & known)):
        padded = np.pad(here, 1, mode="edge")
        inside = np.ones(hit.shape, bool)
        for i in range(3):
            for j in range(3):
                inside &= padded[i : i + hit.shape[0], j : j + hit.shape[1]]
        out[inside] = target
    return out
