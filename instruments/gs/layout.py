"""What reading, calibration and simulation of Gravity Science agree upon: links, bands, stations, names."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Codes of bands in TRK-2-34; ODF has its own.
S_BAND, X_BAND, KA_BAND = 1, 2, 3
ODF_BANDS = {1: S_BAND, 2: X_BAND, 3: KA_BAND}
# Uplink and downlink band of each link, in the order of the dimension ``link``.
LINKS = (("X/X", X_BAND, X_BAND), ("X/Ka", X_BAND, KA_BAND), ("Ka/Ka", KA_BAND, KA_BAND))
LINK_NAMES = tuple(name for name, *_ in LINKS)
SPACECRAFT = 61
# Doppler modes and lock of TRK-2-34.
ONE_WAY, TWO_WAY, THREE_WAY = 1, 2, 3
IN_LOCK = 4
# Kinds of ramp records: snap, start, medial and periodic report; those that end transmission.
RAMP_START, RAMP_END = 1, 4
RAMP_ENDS = (4, 5)
COMPLEXES = ("C10", "C40", "C60")
# Deep Space Stations below these numbers belong to Goldstone, Canberra, Madrid.
LAST_OF_COMPLEX = (29, 49, 69)
# Frequencies that can be, Hz: received on each link, the bands of deep space with some room; transmitted by band, what
# is allocated to deep space, beyond which no station sends (DSN 810-005, module 201, revision B).
RECEIVED = ((8.3e9, 8.6e9), (31e9, 33e9), (31e9, 33e9))
TRANSMITTED = {S_BAND: (2.110e9, 2.120e9), X_BAND: (7.145e9, 7.190e9), KA_BAND: (34.2e9, 34.7e9)}
# Elevation under which no link is used, degrees: media and horizon masks.
LOWEST = 10.0
LIGHT = 299792458.0  # m/s
# From the relative shift of a two-way frequency to range rate, mm/s.
MM_PER_S = -LIGHT / 2.0 * 1e3
MARK = "SIMULATED DATA"


def link_of(up: NDArray[np.integer], down: NDArray[np.integer]) -> NDArray[np.int8]:
    """Place of each pair of bands in `LINKS`; -1 for others."""
    out = np.full(np.shape(up), -1, np.int8)
    for place, (_, one, other) in enumerate(LINKS):
        out[(up == one) & (down == other)] = place
    return out


def complex_of(station: NDArray[np.integer] | int) -> NDArray[np.intp]:
    """Place of a station's complex in `COMPLEXES`."""
    return np.minimum(np.searchsorted(LAST_OF_COMPLEX, np.asarray(station)), len(COMPLEXES) - 1)
