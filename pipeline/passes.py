"""The perijove passes, what happened near them, and which pass a time belongs to."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.clock import Span, parse_utc, read_csv
from pipeline.errors import UsageError, nearest


@dataclass(frozen=True)
class Pass:
    """One perijove.

    Parameters
    ----------
    number : 0 is the orbit insertion.
    et, utc : closest approach, known to `accuracy` seconds.
    attitude : what the spin axis was turned to.
    span : from half-way after the last closest approach to half-way before the next: the times that belong to it.
    """

    number: int
    et: float
    utc: str
    accuracy: float
    attitude: str
    span: Span

    @property
    def name(self) -> str:
        """``PJ01``."""
        return f"PJ{self.number:02d}"

    def window(self, hours: float = 2.0) -> Span:
        """So many hours about closest approach: one before and one after, by default."""
        return Span(self.et - hours * 1800, self.et + hours * 1800)


@dataclass(frozen=True)
class Encounter:
    """A flyby of a satellite: a named window inside its pass.

    Only its date is tabulated, so the window is the whole day and `accuracy` says so in seconds.
    """

    name: str
    target: str
    pass_number: int
    window: Span
    accuracy: float


@cache
def passes() -> tuple[Pass, ...]:
    """All tabulated passes, in order."""
    rows = read_csv("passes.csv")
    times = np.array([parse_utc(r["utc"]) for r in rows])
    half = np.diff(times) / 2
    starts = times - np.concatenate([half[:1], half])
    stops = np.append(starts[1:], times[-1] + half[-1])
    return tuple(
        Pass(int(r["pass"]), float(t), r["utc"], float(r["accuracy"]), r["attitude"], Span(float(a), float(b)))
        for r, t, a, b in zip(rows, times, starts, stops, strict=True)
    )


def get_pass(number: int) -> Pass:
    """The pass of that number; raises UsageError if it is not tabulated."""
    known = passes()
    if not known[0].number <= number <= known[-1].number:
        raise UsageError(f"no pass PJ{number}: the table has PJ{known[0].number} to PJ{known[-1].number}")
    return known[number - known[0].number]


def pass_of(et: ArrayLike) -> NDArray[np.int64]:
    """Number of the pass a time belongs to; -1 outside all."""
    known = passes()
    times = np.asarray(et, np.float64)
    index = np.searchsorted([p.span.start for p in known], times, side="right") - 1
    outside = (index < 0) | (times >= known[-1].span.stop)
    return np.where(outside, -1, index + known[0].number)


@cache
def encounters() -> tuple[Encounter, ...]:
    """The satellite flybys."""
    found = []
    for row in read_csv("encounters.csv"):
        start = parse_utc(row["date"])
        number = int(pass_of(start + 43200))
        window = Span(start, start + 86400)
        found.append(Encounter(row["name"], row["target"], number, window, 43200.0))
    return tuple(found)


def parse_window(text: str, pass_: Pass) -> Span | None:
    """A window from its text.

    Parameters
    ----------
    text : ``all`` (None is returned: no restriction), a length about closest approach (``2h``, ``90m``, ``600s``), or
        the name of an encounter inside the pass.

    Raises
    ------
    UsageError
        if it is none of these.
    """
    if text == "all":
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([hms])", text)
    if match and float(match[1]) > 0:
        return pass_.window(float(match[1]) / {"h": 1, "m": 60, "s": 3600}[match[2]])
    named = {e.name: e.window for e in encounters() if e.pass_number == pass_.number}
    if text.lower() in named:
        return named[text.lower()]
    raise UsageError(f"no window {text!r} in {pass_.name}; {nearest(text, ['all', '2h', *named])}")


@dataclass(frozen=True)
class Gap:
    """Something known to be missing from a pass for reasons outside this pipeline."""

    pass_number: int
    instrument: str
    what: str
    source: str


def mission_gaps(number: int, instrument: str | None = None) -> list[Gap]:
    """What is known to be missing from a pass, for one instrument or all."""
    rows = [Gap(int(r["pass"]), r["instrument"], r["what"], r["source"]) for r in read_csv("mission_gaps.csv")]
    return [g for g in rows if g.pass_number == number and (instrument is None or g.instrument in (instrument, "all"))]
