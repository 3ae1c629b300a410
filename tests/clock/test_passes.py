from __future__ import annotations

import numpy as np
import pytest

from pipeline.clock import Span
from pipeline.errors import UsageError
from pipeline.passes import encounters, get_pass, mission_gaps, parse_window, pass_of, passes


def test_table_is_whole_and_in_order() -> None:
    assert [p.number for p in passes()] == list(range(77))
    assert (np.diff([p.et for p in passes()]) > 30 * 86400).all()
    for earlier, later in zip(passes(), passes()[1:], strict=False):
        assert earlier.span.stop == later.span.start


def test_a_time_belongs_to_one_pass() -> None:
    assert pass_of([p.et for p in passes()]).tolist() == list(range(77))
    boundary = get_pass(1).span.stop
    assert pass_of([np.nextafter(boundary, 0), boundary]).tolist() == [1, 2]
    assert pass_of([0.0, 1e9]).tolist() == [-1, -1]


def test_unknown_pass() -> None:
    with pytest.raises(UsageError, match="PJ0 to PJ76"):
        get_pass(77)


def test_windows() -> None:
    pj1 = get_pass(1)
    assert parse_window("all", pj1) is None
    assert parse_window("2h", pj1) == Span(pj1.et - 3600, pj1.et + 3600)
    assert parse_window("90m", pj1) == Span(pj1.et - 2700, pj1.et + 2700)
    assert parse_window("ganymede", get_pass(34)) is not None
    for text in ("2 days", "ganymede", "0h", "-1h"):
        with pytest.raises(UsageError, match="no window"):
            parse_window(text, pj1)


def test_encounters_lie_in_their_passes() -> None:
    assert {e.name: e.pass_number for e in encounters()} == {"ganymede": 34, "europa": 45, "io-1": 57, "io-2": 58}


def test_known_gaps() -> None:
    assert {g.instrument for g in mission_gaps(2)} == {"all", "gs"}
    assert [g.instrument for g in mission_gaps(2, "mag")] == ["all"]
    assert not mission_gaps(1)
