"""Numbers and times in texts of one form, read in columns."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from pipeline.clock import utc_to_et

# Places of digits in "2016-240T12:50:44.060", by field.
_UTC = {"year": (0, 4), "day": (5, 8), "hour": (9, 11), "minute": (12, 14), "second": (15, 17), "milli": (18, 21)}


def digits(
    text: NDArray[np.bytes_], width: int, places: Mapping[str, tuple[int, int]]
) -> tuple[dict[str, NDArray[np.int64]], NDArray[np.bool_]]:
    """Numbers at fixed places of texts (n), and whether all of these places hold digits."""
    letters = np.frombuffer(text.astype(f"S{width}").tobytes(), np.uint8).reshape(-1, width).astype(np.int64) - 48
    good = np.ones(len(letters), bool)
    numbers = {}
    for name, (first, last) in places.items():
        part = letters[:, first:last]
        good &= ((part >= 0) & (part <= 9)).all(axis=1)
        numbers[name] = part @ 10 ** np.arange(last - first - 1, -1, -1)
    return numbers, good


def utc_times(text: NDArray[np.bytes_]) -> NDArray[np.float64]:
    """Et of texts ``YYYY-DDDThh:mm:ss.sss`` (n); NaN where one is not of that form."""
    utc, good = digits(text, 21, _UTC)
    good &= (utc["day"] >= 1) & (utc["day"] <= 366)
    year = np.where(good, utc["year"], 2000) - 1970
    since = (((utc["day"] - 1) * 24 + utc["hour"]) * 60 + utc["minute"]) * 60_000 + utc["second"] * 1000 + utc["milli"]
    days = year.astype("datetime64[Y]").astype("datetime64[ms]") + np.where(good, since, 0)
    return np.where(good, utc_to_et(days.astype("datetime64[ns]")), np.nan)
