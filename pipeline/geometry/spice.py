"""Geometry from SPICE kernels.

The only module that calls SPICE, whose pool is global: one caller at a time, and it is emptied after. What is read:
Juno, Sun, Earth and the large satellites relative to 599 from SPK files, JUNO_SPACECRAFT from C-kernels. Where a
kernel has a gap nothing is known; nothing is extrapolated.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import spiceypy
from numpy.typing import NDArray
from spiceypy.utils.exceptions import NotFoundError, SpiceyError

from pipeline.clock import Span, format_utc
from pipeline.errors import GeometryError
from pipeline.geometry.attitude import Attitude
from pipeline.geometry.frames import FixedFrame, tabulated
from pipeline.geometry.kernels import is_predicted
from pipeline.geometry.propagate import DEGREE, INTERVAL, edges_over
from pipeline.geometry.track import Track

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

JUNO, JUPITER, SPACECRAFT_ID, CLOCK_ID = -61, 599, -61000, -61
TARGETS = {"JUNO": JUNO, "SUN": 10, "SSB": 0, "EARTH": 399, "IO": 501, "EUROPA": 502, "GANYMEDE": 503, "CALLISTO": 504}
# C-kernels that are not of type 3 are sampled at this interval, seconds.
SAMPLE = 1.0
# Elements of two rotations that differ by less than this are equal but for the digits they are given to.
SAME = 1e-9
_LOCK = threading.RLock()


@contextmanager
def _pool(files: Sequence[Path]) -> Iterator[None]:
    """SPICE with these kernels and no others, for this caller alone; the caller's own are loaded again after."""
    with _LOCK:
        before = [spiceypy.kdata(i, "ALL") for i in range(spiceypy.ktotal("ALL"))]
        spiceypy.kclear()
        try:
            for path in files:
                try:
                    spiceypy.furnsh(str(path))
                except SpiceyError as error:
                    raise GeometryError(f"{path}: no SPICE kernel, or a damaged one ({_short(error)})") from error
            yield
        except SpiceyError as error:
            # SPICE's text names the file.
            raise GeometryError(f"SPICE cannot use the kernels: {_short(error)}") from error
        finally:
            spiceypy.kclear()
            for name, _, source, _ in before:
                # What a meta-kernel loaded comes with it.
                if not source:
                    spiceypy.furnsh(name)


def _short(error: SpiceyError) -> str:
    return " ".join(str(getattr(error, "long", "") or error).split())[:300]


def coverage(files: Sequence[Path]) -> list[tuple[float, float]]:
    """Intervals of et for which the files have Juno's position."""
    with _pool(files):
        return _coverage_of([p for p in files if p.suffix.lower() == ".bsp"], JUNO)


def listed(meta_kernel: Path) -> list[Path]:
    """The kernels a meta-kernel names, in its order."""
    with _pool([meta_kernel]):
        kernels = [spiceypy.kdata(i, "ALL")[:2] for i in range(spiceypy.ktotal("ALL"))]
        return [Path(name) for name, kind in kernels if kind != "META"]


def read_tracks(files: Sequence[Path], span: Span) -> tuple[dict[str, Track], Bools]:
    """Tracks of what the SPK files hold over a span, relative to Jupiter; NaN in gaps.

    Returns
    -------
    tuple
        the tracks by body, and for each interval of Juno's whether it comes from a predicted file.

    Raises
    ------
    GeometryError
        if the kernels have Juno at no time of the span.
    """
    spk = [p for p in files if p.suffix.lower() == ".bsp"]
    with _pool(files):
        covered = _coverage_of(spk, JUNO)
        if not any(Span(a, b).overlaps(span) for a, b in covered):
            known = ", ".join(f"{format_utc(a, 0)} to {format_utc(b, 0)}" for a, b in covered) or "at no time"
            wanted = f"{format_utc(span.start, 0)} to {format_utc(span.stop, 0)}"
            raise GeometryError(
                f"the trajectory kernels ({', '.join(p.name for p in spk) or 'none'}) have Juno {known}, not {wanted}"
            )
        # The planet is as much a part of a position as the spacecraft is.
        edges = _edges(span, covered + _coverage_of(spk, JUPITER))
        tracks = {}
        for name, number in TARGETS.items():
            track = Track.fit(lambda et, number=number: _states(number, et), edges, DEGREE)  # type: ignore[misc]
            if np.isfinite(track.coefficients).any():
                tracks[name] = track
        if "JUNO" not in tracks:
            raise GeometryError("the kernels have Juno, but not Jupiter (599) at the same times")
        return tracks, np.array([_from_predicted(et) for et in (edges[1:] + edges[:-1]) / 2])


def read_frames(files: Sequence[Path]) -> dict[str, FixedFrame]:
    """Fixed frames (class 4) of Juno that the kernels define otherwise than the package does."""
    known = tabulated()
    with _pool(files):
        found = [frame for number in _fixed_frames() if (frame := _fixed_frame(number)) is not None]
    return {
        frame.name: frame
        for frame in found
        if frame.name not in known
        or frame.relative != known[frame.name].relative
        or np.abs(frame.matrix() - known[frame.name].matrix()).max() > SAME
    }


def _fixed_frames() -> list[str]:
    """Numbers of the frames in SPICE's pool that are Juno's own (-61xxx) and fixed to another."""
    try:
        names = spiceypy.gnpool("TKFRAME_-61*_SPEC", 0, 1000)
    except (SpiceyError, NotFoundError):
        return []
    return sorted(name.split("_")[1] for name in names)


def _fixed_frame(number: str) -> FixedFrame | None:
    """A frame's definition; None if it has no name, or comes as a quaternion or in other units (none does)."""
    prefix = f"TKFRAME_{number}"
    try:
        name = spiceypy.gcpool(f"FRAME_{number}_NAME", 0, 1)[0]
        kind, relative = (spiceypy.gcpool(f"{prefix}_{item}", 0, 1)[0] for item in ("SPEC", "RELATIVE"))
        if kind == "MATRIX":
            return FixedFrame(name, relative, tuple(map(float, spiceypy.gdpool(f"{prefix}_MATRIX", 0, 9))))
        if kind != "ANGLES" or spiceypy.gcpool(f"{prefix}_UNITS", 0, 1)[0] != "DEGREES":
            return None
        angles, axes = spiceypy.gdpool(f"{prefix}_ANGLES", 0, 3), spiceypy.gipool(f"{prefix}_AXES", 0, 3)
    except (SpiceyError, NotFoundError):
        return None
    return FixedFrame(name, relative, tuple(map(float, angles)), tuple(map(int, axes)))


def _from_predicted(et: float) -> bool:
    """Whether the file that gives Juno's position at a time is a predicted one."""
    try:
        handle = spiceypy.spksfs(JUNO, float(et), 200)[0]
    except (SpiceyError, NotFoundError):
        return False
    loaded = (spiceypy.kdata(i, "SPK") for i in range(spiceypy.ktotal("SPK")))
    return any(is_predicted(Path(name).name) for name, _, _, number in loaded if number == handle)


def _edges(span: Span, covered: list[tuple[float, float]]) -> Floats:
    """Intervals of whole multiples in et, cut where coverage begins or ends."""
    edges = edges_over(span, INTERVAL)
    cuts = [x for window in covered for x in window if edges[0] < x < edges[-1]]
    return np.unique(np.concatenate([edges, cuts]))


def _states(target: int, et: Floats) -> Floats:
    out = np.full((et.size, 6), np.nan)
    for i, time in enumerate(et):
        try:
            out[i] = spiceypy.spkgeo(target, float(time), "J2000", JUPITER)[0]
        except SpiceyError:  # not covered
            continue
    return out


def _coverage_of(spk: Sequence[Path], body: int) -> list[tuple[float, float]]:
    cover = spiceypy.cell_double(20000)
    for path in spk:
        spiceypy.spkcov(str(path), body, cover)
    return [spiceypy.wnfetd(cover, i) for i in range(spiceypy.wncard(cover))]


def read_attitude(files: Sequence[Path], span: Span) -> tuple[Attitude, Bools] | None:
    """Attitude of JUNO_SPACECRAFT over a span, at the instants the C-kernels have.

    Returns
    -------
    tuple or None
        the attitude, and between which instants it is predicted; None if no kernel has any attitude at any time.

    Raises
    ------
    GeometryError
        if there are C-kernels but not what reads their times: leap seconds and a spacecraft clock kernel.
    """
    ck = [p for p in files if p.suffix.lower() == ".bc"]
    if not ck:
        return None
    for suffix, what in ((".tls", "leap seconds (.tls)"), (".tsc", "a spacecraft clock (.tsc)")):
        if not any(p.suffix.lower() == suffix for p in files):
            raise GeometryError(f"{ck[0].parent}: C-kernels cannot be read without {what}")
    with _pool(files):
        ck = [p for p in ck if SPACECRAFT_ID in spiceypy.ckobj(str(p))]
        if not ck:
            return None
        windows = _attitude_windows(ck, span)
        if not windows:
            empty = Attitude(np.array([span.start, span.stop]), np.full((2, 4), np.nan), np.zeros(1, bool))
            return empty, np.zeros(1, bool)
        known = _attitude_windows([p for p in ck if not is_predicted(p.name)], span)
        instants = np.unique(np.concatenate([_instants(ck, a, b) for a, b in windows]))
        quaternions = np.array([_quaternion(et) for et in instants])
    good = np.isfinite(quaternions[:, 0])
    attitude = Attitude(instants[good], quaternions[good], _within(instants[good], windows))
    return attitude, ~_within(attitude.et, known)


def _within(instants: Floats, windows: list[tuple[float, float]]) -> Bools:
    """Whether each interval between instants lies in one of the windows."""
    inside = np.zeros(max(instants.size - 1, 0), bool)
    for a, b in windows:
        inside |= (instants[:-1] >= a - 1e-6) & (instants[1:] <= b + 1e-6)
    return inside


def _attitude_windows(ck: Sequence[Path], span: Span) -> list[tuple[float, float]]:
    cover = spiceypy.cell_double(200000)
    for path in ck:
        spiceypy.ckcov(str(path), SPACECRAFT_ID, False, "INTERVAL", 0.0, "TDB", cover)
    found = [spiceypy.wnfetd(cover, i) for i in range(spiceypy.wncard(cover))]
    return [(max(a, span.start), min(b, span.stop)) for a, b in found if a < span.stop and b > span.start]


def _instants(ck: Sequence[Path], start: float, stop: float) -> Floats:
    """Times of the discrete pointing instances between two times, and these themselves."""
    first, last = (spiceypy.sce2c(CLOCK_ID, t) for t in (start, stop))
    ticks: list[float] = []
    for path in ck:
        handle = spiceypy.dafopr(str(path))
        try:
            spiceypy.dafbfs(handle)
            while spiceypy.daffna():
                descriptor = spiceypy.dafgs(5)
                reach, integers = spiceypy.dafus(descriptor, 2, 6)
                if integers[0] != SPACECRAFT_ID or reach[0] > last or reach[1] < first:
                    continue
                if integers[2] != 3:
                    return np.append(np.arange(start, stop, SAMPLE), stop)
                ticks += _records(handle, descriptor, first, last)
        finally:
            spiceypy.dafcls(handle)
    inside = sorted({t for t in ticks if first < t < last})
    return np.array([start, *(spiceypy.sct2e(CLOCK_ID, t) for t in inside), stop])


def _records(handle: int, descriptor: Floats, first: float, last: float) -> list[float]:
    """Clock times of a type 3 segment's instances in an interval, by bisection."""
    number = spiceypy.cknr03(handle, descriptor)

    def time(index: int) -> float:
        return float(spiceypy.ckgr03(handle, descriptor, index)[0])

    low, high = 1, number + 1
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if time(middle) < first else (low, middle)
    found = []
    for index in range(low, number + 1):
        value = time(index)
        if value > last:
            break
        found.append(value)
    return found


def _quaternion(et: float) -> Floats:
    ticks = spiceypy.sce2c(CLOCK_ID, float(et))
    try:
        matrix, _ = spiceypy.ckgp(SPACECRAFT_ID, ticks, 0.5, "J2000")
    except SpiceyError:
        return np.full(4, np.nan)
    return np.asarray(spiceypy.m2q(matrix))
