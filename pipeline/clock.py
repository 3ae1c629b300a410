"""Time: UTC, ephemeris time and the spacecraft clock.

``et`` is TDB in seconds past J2000 (float64), as in SPICE. Nothing here needs a kernel: leap seconds and the clock's
coefficients are package data, and a kernel's numbers may take the latter's place.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.errors import InputError

Floats = NDArray[np.float64]
DATA = Path(__file__).parent / "data"
J2000 = np.datetime64("2000-01-01T12:00:00", "ns")
TDT_MINUS_TAI = 32.184
# TDB - TDT = K sin E, E = M + EB sin M, M = M0 + M1 t: the constants of NAIF's leap second kernels.
K, EB, M0, M1 = 1.657e-3, 1.671e-2, 6.239996, 1.99096871e-7


@dataclass(frozen=True, order=True)
class Span:
    """Half-open interval of et: `start` belongs to it, `stop` does not."""

    start: float
    stop: float

    def __post_init__(self) -> None:
        if not self.start <= self.stop:
            raise ValueError(f"span ends before it begins: {self.start} .. {self.stop}")

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.stop - self.start

    def contains(self, et: ArrayLike) -> NDArray[np.bool_]:
        """Where times lie inside."""
        times = np.asarray(et)
        return (times >= self.start) & (times < self.stop)

    def overlaps(self, other: Span) -> bool:
        """Whether the two have a time in common."""
        return self.start < other.stop and other.start < self.stop

    def intersection(self, other: Span) -> Span | None:
        """What they have in common, if anything."""
        return Span(max(self.start, other.start), min(self.stop, other.stop)) if self.overlaps(other) else None

    def pad(self, seconds: float) -> Span:
        """Wider by so much at both ends."""
        return Span(self.start - seconds, self.stop + seconds)


# Time scales


def read_csv(name: str) -> list[dict[str, str]]:
    """Rows of a package data file; lines that begin with # are its source."""
    lines = [line for line in (DATA / name).read_text().splitlines() if line and not line.startswith("#")]
    head = lines[0].split(",")
    return [dict(zip(head, line.split(","), strict=True)) for line in lines[1:]]


@cache
def _leap_seconds() -> tuple[Floats, Floats]:
    """UTC (continuous seconds past J2000) of each step, and TAI - UTC from it on."""
    rows = read_csv("leap_seconds.csv")
    steps = np.array([r["utc"] for r in rows], "datetime64[ns]")
    return _seconds(steps), np.array([float(r["tai_minus_utc"]) for r in rows])


def _seconds(utc: NDArray[np.datetime64]) -> Floats:
    """Seconds past J2000 noon of a calendar without leap seconds; exact to the nanosecond near the epoch."""
    ns = (utc - J2000).astype("int64")
    whole = ns // 1_000_000_000
    return whole.astype(np.float64) + (ns - whole * 1_000_000_000) * 1e-9


def tdt_to_et(tdt: ArrayLike) -> Floats:
    """TDB from terrestrial (dynamical) time, both in seconds past J2000."""
    t = np.asarray(tdt, np.float64)
    return t + _tdb_minus_tdt(t)


def et_to_tdt(et: ArrayLike) -> Floats:
    """Inverse of `tdt_to_et`, by the same three iterations as SPICE."""
    t = np.asarray(et, np.float64)
    tdt = t
    for _ in range(3):
        tdt = t - _tdb_minus_tdt(tdt)
    return tdt


def _tdb_minus_tdt(t: Floats) -> Floats:
    m = M0 + M1 * t
    return np.asarray(K * np.sin(m + EB * np.sin(m)))


def utc_to_et(utc: ArrayLike) -> Floats:
    """Et of UTC given as datetime64; a datetime64 cannot name a time inside a leap second."""
    seconds = _seconds(np.asarray(utc, "datetime64[ns]"))
    return _utc_seconds_to_et(seconds)


def _utc_seconds_to_et(seconds: ArrayLike, extra: ArrayLike = 0.0) -> Floats:
    """Et of continuous UTC seconds, `extra` seconds later (which may lie in a leap second)."""
    steps, offsets = _leap_seconds()
    utc = np.asarray(seconds, np.float64)
    index = np.clip(np.searchsorted(steps, utc, side="right") - 1, 0, None)
    # SPICE takes the relativistic term at et itself.
    et = utc + (offsets[index] + TDT_MINUS_TAI) + np.asarray(extra, np.float64)
    return tdt_to_et(et)


def et_to_utc(et: ArrayLike) -> tuple[NDArray[np.datetime64], NDArray[np.bool_]]:
    """UTC as datetime64[ns], and where it lies in a leap second.

    A datetime64 cannot hold a leap second; such times are clamped to the last nanosecond before it ends.
    """
    steps, offsets = _leap_seconds()
    tai = et_to_tdt(et) - TDT_MINUS_TAI
    index = np.clip(np.searchsorted(steps + offsets, tai, side="right") - 1, 0, None)
    utc = tai - offsets[index]
    following = np.append(steps[1:], np.inf)[index]
    in_leap = utc >= following
    whole = np.floor(utc)
    nanoseconds = whole.astype("int64") * 1_000_000_000 + np.rint((utc - whole) * 1e9).astype("int64")
    limit = np.where(np.isfinite(following), following, 0).astype("int64") * 1_000_000_000 - 1
    return J2000 + np.where(in_leap, limit, nanoseconds).astype("timedelta64[ns]"), in_leap


_UTC = re.compile(
    r"\s*(?P<y>\d{4})-(?:(?P<doy>\d{3})|(?P<m>\d{2})-(?P<d>\d{2}))"
    r"(?:[T ](?P<H>\d{2}):(?P<M>\d{2})(?::(?P<S>\d{2})(?P<f>\.\d*)?)?)?Z?\s*"
)


def _parse_one(text: str) -> float:
    match = _UTC.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no UTC time; write 2016-08-27T12:50:44.060 or 2016-240T12:50:44.060")
    part = match.groupdict()
    try:
        year = np.datetime64(part["y"], "D")
        if part["doy"]:
            day = year + np.timedelta64(int(part["doy"]) - 1, "D")
            if day.astype("datetime64[Y]") != year.astype("datetime64[Y]"):
                raise ValueError
        else:
            day = np.datetime64(f"{part['y']}-{part['m']}-{part['d']}", "D")
    except ValueError:
        raise ValueError(f"{text!r} is no day of the calendar") from None
    hour, minute, second = (int(part[k] or 0) for k in "HMS")
    fraction = float("0" + part["f"]) if part["f"] else 0.0
    midnight = float(_seconds(np.asarray(day, "datetime64[ns]")))
    of_day = hour * 3600 + minute * 60 + min(second, 59)
    leap = second == 60 and of_day == 86399 and midnight + 86400 in set(_leap_seconds()[0])
    if hour > 23 or minute > 59 or (second > 59 and not leap):
        raise ValueError(f"{text!r} is no time of day" + (" (no leap second there)" if second == 60 else ""))
    return float(_utc_seconds_to_et(midnight + of_day, fraction + (1.0 if second == 60 else 0.0)))


@overload
def parse_utc(text: str) -> float: ...
@overload
def parse_utc(text: list[str] | tuple[str, ...] | NDArray[np.str_]) -> Floats: ...
def parse_utc(text: str | list[str] | tuple[str, ...] | NDArray[np.str_]) -> float | Floats:
    """Et of UTC text: ``YYYY-MM-DD[Thh:mm[:ss.f]]`` or ``YYYY-DDD...``, with second 60 in a leap second.

    Raises
    ------
    ValueError
        naming the text, if it is none.
    """
    if isinstance(text, str):
        return _parse_one(text)
    return np.array([_parse_one(t) for t in text], np.float64)


@overload
def format_utc(et: float, digits: int = 3, day_of_year: bool = False) -> str: ...
@overload
def format_utc(et: Floats, digits: int = 3, day_of_year: bool = False) -> NDArray[np.str_]: ...
def format_utc(et: float | Floats, digits: int = 3, day_of_year: bool = False) -> str | NDArray[np.str_]:
    """UTC text of et, rounded to `digits` decimals (0 to 9)."""
    times = np.asarray(et, np.float64)
    # Rounding before the split lets 59.9996 become the next minute, or second 60 of a leap second.
    step = 10.0**-digits
    utc, in_leap = et_to_utc(np.asarray(times + step / 2))
    floor = utc.astype("int64") // 10 ** (9 - digits) * 10 ** (9 - digits)
    text = np.datetime_as_string(floor.astype("datetime64[ns]"), unit="ns")
    text = np.array([t[: 19 + (digits + 1 if digits else 0)] for t in np.ravel(text)], dtype=str)
    if in_leap.any():
        steps, offsets = _leap_seconds()
        tai = et_to_tdt(times + step / 2) - TDT_MINUS_TAI
        index = np.searchsorted(steps + offsets, np.ravel(tai), side="right") - 1
        into = np.ravel(tai) - offsets[index] - np.append(steps[1:], np.nan)[index]
        width = digits + 3 if digits else 2
        for i in np.flatnonzero(in_leap):
            fraction = np.floor(into[i] / step) * step
            text[i] = text[i][:17] + f"{60 + fraction:0{width}.{digits}f}"
    if day_of_year:
        text = np.array([_with_day_of_year(t) for t in text], dtype=str)
    return str(text[0]) if times.ndim == 0 else text.reshape(times.shape)


def _with_day_of_year(text: str) -> str:
    day = np.datetime64(text[:10], "D")
    number = (day - day.astype("datetime64[Y]").astype("datetime64[D]")).astype(int) + 1
    return f"{text[:4]}-{number:03d}{text[10:]}"


# The spacecraft clock

TICKS = 65536
# Beyond the last coefficient a clock correlation drifts off; measured on the labels of PJ43 and PJ44 (2022) against the
# kernels of 2017 and 2019: 0.5 to 1.7 s.
DRIFT_PER_SECOND = 0.5 / (365.25 * 86400)
INSIDE_SIGMA = 1e-3


@dataclass(frozen=True, eq=False)
class Sclk:
    """Juno's clock (NAIF -61 and -61999, one clock): 32-bit seconds, counted here in ticks of 1/65536 s.

    *Encoded* ticks count on across partitions, as in SPICE, and are what all methods but `parse` and `format` use.

    Parameters
    ----------
    name : where the numbers come from.
    partitions : start and end of each partition in ticks of the counter, shape (n, 2).
    ticks, tdt, rates : encoded ticks at which a linear piece begins, TDT there (seconds past J2000), and TDT seconds
        per clock second.
    """

    name: str
    partitions: Floats
    ticks: Floats
    tdt: Floats
    rates: Floats

    @classmethod
    @cache
    def default(cls) -> Sclk:
        """The clock as tabulated in the package (to July 2019; extrapolated, and flagged, beyond)."""
        rows = read_csv("sclk_coefficients.csv")
        parts = [r for r in rows if r["kind"] == "partition"]
        pieces = [r for r in rows if r["kind"] == "coefficient"]
        return cls(
            "tabulated (jno_sclkscet_00090)",
            np.array([[float(r["ticks"]), float(r["value"])] for r in parts]),
            *(np.array([float(r[c]) for r in pieces]) for c in ("ticks", "value", "rate")),
        )

    @classmethod
    def from_kernel(cls, path: Path) -> Sclk:
        """The clock of a NAIF text kernel (type 1, id -61999, else -61); raises InputError if it holds none."""
        try:
            text = path.read_text("ascii", errors="replace")
        except OSError as error:
            raise InputError(path, f"cannot be read: {error.strerror}") from error
        data = "".join(re.findall(r"\\begindata(.*?)(?:\\begintext|\Z)", text, re.DOTALL))
        for number, scale in (("61999", 1.0), ("61", 256.0)):
            values = {}
            for key in (
                f"SCLK_PARTITION_START_{number}",
                f"SCLK_PARTITION_END_{number}",
                f"SCLK01_COEFFICIENTS_{number}",
            ):
                match = re.search(rf"\b{key}\s*=\s*\(([^)]*)\)", data)
                if match:
                    try:
                        values[key] = np.array([float(v.replace("D", "E")) for v in match[1].replace(",", " ").split()])
                    except ValueError as error:
                        raise InputError(path, f"{key}: {error}") from error
            if len(values) == 3:
                start, end, pieces = values.values()
                if pieces.size == 0 or pieces.size % 3 or start.shape != end.shape:
                    raise InputError(path, f"clock {number}: {pieces.size} coefficients, {start.size} partitions")
                pieces = pieces.reshape(-1, 3)
                parts = np.stack([start, end], axis=1) * scale
                return cls(path.name, parts, pieces[:, 0] * scale, pieces[:, 1].copy(), pieces[:, 2].copy())
        raise InputError(path, "holds no clock -61999 or -61")

    def to_et(self, ticks: ArrayLike) -> Floats:
        """Et of encoded ticks; beyond the last coefficient the last rate goes on (see `extrapolated`)."""
        t = np.asarray(ticks, np.float64)
        i = np.clip(np.searchsorted(self.ticks, t, side="right") - 1, 0, None)
        return tdt_to_et(self.tdt[i] + (t - self.ticks[i]) / TICKS * self.rates[i])

    def to_ticks(self, et: ArrayLike) -> Floats:
        """Encoded ticks, with their fraction, at et."""
        tdt = et_to_tdt(et)
        i = np.clip(np.searchsorted(self.tdt, tdt, side="right") - 1, 0, None)
        return np.asarray(self.ticks[i] + (tdt - self.tdt[i]) / self.rates[i] * TICKS)

    @property
    def last(self) -> float:
        """Et of the last coefficient."""
        return float(tdt_to_et(self.tdt[-1]))

    def extrapolated(self, et: ArrayLike) -> NDArray[np.bool_]:
        """Where et lies beyond the last coefficient."""
        return np.asarray(et, np.float64) > self.last

    def sigma(self, et: ArrayLike) -> Floats:
        """One-sigma uncertainty of the correlation in seconds: 1 ms inside, growing by 0.5 s a year beyond."""
        beyond = np.clip(np.asarray(et, np.float64) - self.last, 0, None)
        return np.hypot(INSIDE_SIGMA, beyond * DRIFT_PER_SECOND)

    @property
    def _before(self) -> Floats:
        """Encoded ticks before each partition."""
        lengths = self.partitions[:, 1] - self.partitions[:, 0]
        return np.concatenate([[0.0], np.cumsum(lengths)[:-1]])

    def encode(self, counter: ArrayLike, partition: int | None = None) -> Floats:
        """Encoded ticks of the counter's ticks, in the partition named or, if None, the last that contains them.

        Raises
        ------
        ValueError
            if no partition contains a count.
        """
        count = np.asarray(counter, np.float64)
        numbers = range(len(self.partitions), 0, -1) if partition is None else [partition]
        out = np.full(count.shape, np.nan)
        for number in numbers:
            if not 1 <= number <= len(self.partitions):
                raise ValueError(f"the clock has partitions 1 to {len(self.partitions)}, not {number}")
            start, end = self.partitions[number - 1]
            inside = np.isnan(out) & (count >= start) & (count <= end)
            out = np.where(inside, count - start + self._before[number - 1], out)
        if np.isnan(out).any():
            raise ValueError(f"clock count {count[np.isnan(out)].flat[0] / TICKS:.4f} s lies in no partition")
        return out

    def parse(self, text: str, *, fraction: int | None = None) -> float:
        """Encoded ticks of ``[p/]sssssssss[:fffff]``.

        Parameters
        ----------
        fraction : into how many parts the fraction divides a second: 256 or 65536. If None, five digits after a
            ``:`` mean 65536 and fewer, or any after a ``.``, 256: ``5/0525574420:18916`` is ``5/0525574420.074``.

        Raises
        ------
        ValueError
            naming the text.
        """
        match = re.fullmatch(r"\s*(?:(\d+)/)?(\d+)(?:([.:])(\d+))?\s*", text)
        if match is None:
            raise ValueError(f"{text!r} is no spacecraft clock count; one looks like 5/0525574420:18916")
        partition, seconds, mark, part = match.groups()
        parts = fraction or (TICKS if mark == ":" and len(part) == 5 else 256)
        if part and int(part) >= parts:
            raise ValueError(f"{text!r}: its fraction is not below {parts}")
        counter = int(seconds) * TICKS + int(part or 0) * (TICKS // parts)
        try:
            return float(self.encode(counter, int(partition) if partition else None))
        except ValueError as error:
            raise ValueError(f"{text!r}: {error}") from None

    def format(self, ticks: float, *, fraction: int = TICKS, partition: bool = True) -> str:
        """Text of encoded ticks, to the nearest part: ``5/0525574420:18916``, with 256 parts ``5/0525574420.074``."""
        number = int(np.searchsorted(self._before, ticks, side="right"))
        counter = ticks - self._before[number - 1] + self.partitions[number - 1, 0]
        seconds, part = divmod(round(counter * fraction / TICKS), fraction)
        head = f"{number}/" if partition else ""
        return f"{head}{seconds:010d}:{part:05d}" if fraction == TICKS else f"{head}{seconds:010d}.{part:03d}"
