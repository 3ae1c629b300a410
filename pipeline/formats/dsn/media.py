"""Media calibrations of the DSN (TRK-2-23): delays of troposphere and ionosphere as commands of the CSP language.

A command is a verb, scope limiters and a computation, ended by a full stop, over any number of lines; ``#`` begins a
comment. ``ADJUST(DOPRNG)BY NRMPOW(0.7048,0.0938)MODEL(CHPART)FROM(03/02/01,01:21)TO(03/02/01,15:01)DSN(C10)SCID(77).``

Troposphere: metres at zenith, to be mapped to the elevation. Ionosphere (CHPART): metres along the line of sight at
2295 MHz, scaled by (2295 MHz / f)^2, added to range and subtracted from phase.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.errors import InputError
from pipeline.formats.dsn.times import Time, mjd_of, year_and_day

CHPART_FREQUENCY = 2295.0e6  # Hz, of the delays of MODEL(CHPART)
SERIES = ("NRMPOW", "CONST", "TRIG", "DNRMPOW", "DCONST", "DTRIG")
MODELS = ("DRY NUPART", "WET NUPART", "CHPART", "DRVID")


@dataclass(frozen=True)
class Command:
    """One ADJUST command.

    Attributes
    ----------
    data : data the adjustment is for (``"ALL"``, ``"DOPRNG"``, ...); empty if not said.
    series : how the value is computed: a normalised power series, a constant, a trigonometric series; D for rates.
    coefficients : of the series, metres; TRIG: period in s, then constant, cosine and sine amplitudes.
    model : ``"DRY NUPART"``, ``"WET NUPART"``, ``"CHPART"``, ``"DRVID"``.
    start, end : span, UTC; None if open.
    network : complex or station: ``"C10"``, ``"25"``.
    source : ``"SCID(61)"``, ``"QUASAR(...)"``; empty for all.
    comment : what stands behind the command, or before it on lines of its own, without the ``#``.
    """

    data: str
    series: str
    coefficients: tuple[float, ...]
    model: str
    start: Time | None
    end: Time | None
    network: str
    source: str = ""
    comment: str = ""

    def evaluate(self, day: ArrayLike, second: ArrayLike) -> NDArray[np.float64]:
        """Return the delay in metres at times in the span (NaN outside it), given as in `start`.

        NRMPOW: sum of c_i x^i with x from -1 at the start to 1 at the end. TRIG: a0 + sum of c_k cos + s_k sin of
        2 pi k (t - start) / period. CONST: the constant.

        Raises
        ------
        ValueError : a series whose reference is not published (``D...``), or without the span it needs.
        """
        d, s = np.broadcast_arrays(np.asarray(day, np.int64), np.asarray(second, np.float64))
        inside = np.ones(d.shape, bool)
        for limit, sign in ((self.start, 1.0), (self.end, -1.0)):
            if limit is not None:
                inside &= sign * ((d - limit[0]) * 86400.0 + (s - limit[1])) >= 0.0
        c = np.array(self.coefficients)
        if self.series == "CONST":
            value = np.full(d.shape, c[0])
        elif self.start is None or (self.series == "NRMPOW" and self.end is None) or self.series.startswith("D"):
            raise ValueError(f"BY {self.series} cannot be evaluated from this command")
        else:
            since = (d - self.start[0]) * 86400.0 + (s - self.start[1])
            value = self._trigonometric(since, c) if self.series == "TRIG" else self._power(since, c)
        return np.where(inside, value, np.nan)

    def _power(self, since: NDArray[np.float64], c: NDArray[np.float64]) -> NDArray[np.float64]:
        assert self.start is not None
        assert self.end is not None
        span = (self.end[0] - self.start[0]) * 86400.0 + (self.end[1] - self.start[1])
        return np.asarray(np.polynomial.polynomial.polyval(2.0 * since / span - 1.0, c), np.float64)

    @staticmethod
    def _trigonometric(since: NDArray[np.float64], c: NDArray[np.float64]) -> NDArray[np.float64]:
        angle = 2.0 * np.pi * since[..., None] / c[0] * np.arange(1, (len(c) - 2) // 2 + 1)
        value: NDArray[np.float64] = c[1] + np.cos(angle) @ c[2::2] + np.sin(angle) @ c[3::2]
        return value


_WORD = re.compile(r"\s*(FROM|AFTER|TO|BEFORE|DSN|SCID|QUASAR|MODEL|BY)\s*", re.IGNORECASE)
_SAME = {"AFTER": "FROM", "BEFORE": "TO"}
_ARGUMENT = re.compile(r"\s*\(([^()]*)\)")
_VERB = re.compile(r"\s*ADJUST\s*(?:\(\s*([A-Z0-9 ,]+?)\s*\))?", re.IGNORECASE)
_SERIES = re.compile(rf"({'|'.join(SERIES)})(?=\s*\()", re.IGNORECASE)
_TIME = re.compile(r"\s*(\d{2})/(\d{1,2})/(\d{1,2})(?:\s*,\s*(\d{1,2})(?::(\d{1,2})(?::(\d{1,2}(?:\.\d*)?))?)?)?\s*")


def read_csp(path: str | Path) -> list[Command]:
    """Read every command of a media calibration file.

    Raises
    ------
    InputError : cannot be read, is not text, or holds what is no ADJUST command, with its line.
    """
    try:
        text = Path(path).read_bytes().decode("ascii")
    except OSError as error:
        raise InputError(path, f"cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise InputError(path, "not a file of CSP commands: not ASCII", f"byte {error.start}") from error
    commands = [_parse(path, *statement) for statement in _statements(path, text)]
    if not commands:
        raise InputError(path, "no CSP command in the file")
    return commands


def _statements(path: str | Path, text: str) -> Iterable[tuple[int, str, str]]:
    """Return first line, text and comment of every command: up to a full stop that closes a parenthesis."""
    body, comments, first = "", [], 0
    for number, line in enumerate(text.splitlines(), 1):
        code, mark, remark = line.partition("#")
        if code.strip() and not body:
            first = number
        parts = re.split(r"(?<=\))\s*\.(?=\s|$|ADJUST)", code + " ")
        if mark:
            comments.append(remark.strip())
        for part in parts[:-1]:
            yield first, body + part, "\n".join(comments)
            body, comments, first = "", [], number
        body = body + parts[-1] if (body + parts[-1]).strip() else ""
    if body.strip():
        raise InputError(path, "the command is not ended by a full stop: the file is cut short", f"line {first}")


def _parse(path: str | Path, line: int, text: str, comment: str) -> Command:
    """Return the command of one statement."""
    try:
        return _command(text, comment)
    except ValueError as error:
        raise InputError(path, f"{error}: {' '.join(text.split())[:80]}", f"line {line}") from error


def _command(text: str, comment: str) -> Command:
    """Return the command; ValueError says what is wrong with it."""
    verb = _VERB.match(text)
    if verb is None:
        raise ValueError("not an ADJUST command")
    found = _arguments(text, verb.end())
    missing = [name for name in ("BY", "MODEL", "DSN") if name not in found]
    if missing:
        raise ValueError(f"no {', '.join(missing)}")
    model, series = found["MODEL"].upper(), found["SERIES"]
    if model not in MODELS:
        raise ValueError(f"unknown model {found['MODEL']!r}")
    coefficients = tuple(float(c) for c in found["BY"].split(","))
    start, end = (_time(found[name]) if name in found else None for name in ("FROM", "TO"))
    if not np.isfinite(coefficients).all():
        raise ValueError("a coefficient is not finite")
    if start is not None and end is not None and start >= end:
        raise ValueError("the span ends before it begins")
    if series == "CONST" and len(coefficients) != 1:
        raise ValueError("CONST needs one number")
    if series == "TRIG" and (len(coefficients) % 2 or coefficients[0] <= 0):
        raise ValueError("TRIG needs a period, a constant and pairs of amplitudes")
    source = next((f"{k}({found[k]})" for k in ("SCID", "QUASAR") if k in found), "")
    data, network = (verb[1] or "").upper(), found["DSN"].upper()
    return Command(data, series, coefficients, model, start, end, network, source, comment)


def _arguments(text: str, at: int) -> dict[str, str]:
    """Return the arguments of the limiters from `at` on by name, and the name of the series as ``SERIES``."""
    found: dict[str, str] = {}
    while text[at:].strip():
        word = _WORD.match(text, at)
        if word is None:
            raise ValueError(f"unknown limiter {text[at:].split()[0][:20]!r}")
        name, at = _SAME.get(word[1].upper(), word[1].upper()), word.end()
        if name == "BY":
            series = _SERIES.match(text, at)
            if series is None:
                raise ValueError("unknown series after BY")
            found["SERIES"], at = series[1].upper(), series.end()
        argument = _ARGUMENT.match(text, at)
        if argument is None or name in found:
            raise ValueError(f"{name} without argument" if argument is None else f"{name} given twice")
        found[name], at = " ".join(argument[1].split()), argument.end()
    return found


def _time(text: str) -> Time:
    """Return a time of the form yy/mm/dd[,hh[:mm[:ss]]]; years 50 to 99 are of the 20th century."""
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no time yy/mm/dd,hh:mm:ss")
    year, month, day, hour, minute = (int(match[k] or 0) for k in range(1, 6))
    year += 1900 if year >= 50 else 2000
    date = np.datetime64(f"{year}-{month:02d}-{day:02d}")  # ValueError for a date that is none
    second = float(match[6] or 0)
    if hour > 24 or minute > 59 or second >= 61.0:
        raise ValueError(f"{text!r} is no time of a day")
    mjd = int(mjd_of(year, 1)) + int((date - np.datetime64(f"{year}-01-01")).astype(int))
    return mjd, 3600.0 * hour + 60.0 * minute + second


def write_csp(path: str | Path, commands: Iterable[Command]) -> None:
    """Write commands, one to a line, so that `read_csp` gives them back equal."""
    Path(path).write_text("".join(map(_text, commands)), encoding="ascii")


def _text(command: Command) -> str:
    scope = f"({command.data})" if command.data else ""
    series = ",".join(map(repr, command.coefficients))
    limits = "".join(f"{k}({_when(t)})" for k, t in (("FROM", command.start), ("TO", command.end)) if t is not None)
    where = f"{limits}DSN({command.network}){command.source}."
    line = f"ADJUST{scope}BY {command.series}({series})MODEL({command.model}){where}"
    *before, last = command.comment.split("\n")
    return "".join(f"# {c}\n" for c in before) + line + (f" # {last}\n" if last else "\n")


def _when(time: Time) -> str:
    year, day = (int(v) for v in year_and_day(time[0]))
    date = np.datetime64(f"{year}-01-01") + np.timedelta64(day - 1, "D")
    minute, second = divmod(time[1], 60.0)
    minute = min(minute, 1439.0)  # a leap second belongs to the last minute
    second = time[1] - 60.0 * minute
    text = f"{second:02.0f}" if second == int(second) else repr(float(second)).rjust(2, "0")
    if not text[:2].isdigit():
        text = "0" + text
    return f"{str(date)[2:].replace('-', '/')},{int(minute) // 60:02d}:{int(minute) % 60:02d}:{text}"
