"""Times in columns of text."""

from __future__ import annotations

import numpy as np

from pipeline.clock import parse_utc
from pipeline.formats.digits import digits, utc_times


def test_times_are_those_of_the_clock_or_none() -> None:
    good = [b"2016-240T12:50:44.060", b"2000-001T00:00:00.000", b"2020-366T23:59:59.999"]
    bad = [b"2016-240T12:5x:44.060", b"2016-000T12:50:44.060", b"2016-367T12:50:44.060", b"2016-240T12:50:44", b""]
    found = utc_times(np.array(good + bad))
    np.testing.assert_allclose(found[: len(good)], [parse_utc(t.decode()) for t in good], atol=1e-6)
    assert np.isnan(found[len(good) :]).all()


def test_numbers_stand_at_their_places() -> None:
    numbers, whole = digits(np.array([b"5/0042", b"7/00a1"]), 6, {"left": (0, 1), "right": (2, 6)})
    assert numbers["left"].tolist() == [5, 7]
    assert numbers["right"][0] == 42
    assert whole.tolist() == [True, False]
