"""Times of DSN records in two parts: modified Julian day and seconds of that day, both UTC.

The parts are what the records hold, so nothing is lost, and what `erfa` takes: a leap second is second 86400.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

MJD_1950 = 33282  # 1950-01-01, day 0 of ODF seconds

Time = tuple[int, float]
"""One time: modified Julian day and seconds of that day."""


def mjd_of(year: ArrayLike, day_of_year: ArrayLike) -> NDArray[np.int64]:
    """Return the modified Julian day of a day of the year (1 is 1 January)."""
    before = np.asarray(year, np.int64) - 1
    since_year_1 = 365 * before + before // 4 - before // 100 + before // 400
    return since_year_1 - 678576 + np.asarray(day_of_year, np.int64)


def year_and_day(mjd: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return year and day of the year of modified Julian days."""
    day = np.asarray(mjd, np.int64)
    date = (day - 40587).astype("datetime64[D]")
    year = date.astype("datetime64[Y]")
    return year.astype(np.int64) + 1970, (date - year.astype("datetime64[D]")).astype(np.int64) + 1


def valid_time(year: ArrayLike, day_of_year: ArrayLike, second: ArrayLike) -> NDArray[np.bool_]:
    """Return which times can be: 1958 to 2199, a day of that year, seconds from 0 to before 86401."""
    y, d, s = np.asarray(year, np.int64), np.asarray(day_of_year, np.int64), np.asarray(second, np.float64)
    last = mjd_of(y + 1, 1) - mjd_of(y, 1)
    return (y >= 1958) & (y < 2200) & (d >= 1) & (d <= last) & (s >= 0.0) & (s < 86401.0)
