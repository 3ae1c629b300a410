"""Sun, Earth and the solar system's barycentre as tabulated in the package, for use without kernels."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from pipeline.clock import read_csv
from pipeline.geometry.track import Track

Floats = NDArray[np.float64]
DAY = 86400.0
ACCURACY = "DE440 to 1 km and 0.1 m/s, and Jupiter taken at the barycentre of its system (up to 250 km, 15 m/s)"


@cache
def _tables() -> dict[str, tuple[str, Track]]:
    """Body to the body it is relative to, and its track."""
    pieces: dict[tuple[str, str], list[tuple[float, float, int, list[float]]]] = {}
    for row in read_csv("ephemeris.csv"):
        start, days = float(row["start"]) * DAY, float(row["days"]) * DAY
        values = [float(v) for v in row["coefficients"].split()]
        pieces.setdefault((row["body"], row["center"]), []).append((start, start + days, int(row["axis"]), values))
    tables = {}
    for (body, center), rows in pieces.items():
        starts = sorted({row[0] for row in rows})
        edges = np.array([*starts, max(row[1] for row in rows)])
        coefficients = np.zeros((max(len(row[3]) for row in rows), 3, len(starts)))
        for start, _, axis, values in rows:
            coefficients[: len(values), axis, starts.index(start)] = values
        tables[body] = (center, Track(edges, coefficients))
    return tables


def position(body: str, et: Floats) -> Floats:
    """Position of ``SUN``, ``EARTH`` or ``SSB`` relative to Jupiter in J2000, km (n, 3); NaN outside 2016-06 to 2026-01."""
    total = np.zeros((et.size, 3))
    while body != "JUPITER_BARYCENTER":
        body, track = _tables()[body]
        total = total + track.position(et)
    return total
