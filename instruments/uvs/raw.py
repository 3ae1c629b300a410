"""The archive's EDR: a FITS file of twelve parts with a detached label (README.md, "EDR"); writer: `raw_write`.

Parts are found by their index: start records in labels are sometimes wrong (PDS3) or always (PDS4). The file is read
through a memory map, so that a span costs what it holds.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from instruments.uvs.layout import COLUMNS, LEVELS, ROWS
from pipeline.clock import TICKS, Sclk, Span
from pipeline.errors import InputError
from pipeline.formats.defects import corrected
from pipeline.formats.pds3 import read_label
from pipeline.instrument import Granule, RawFormat

NAME = re.compile(
    r"(?P<id>UVS_S(?P<part>\d{2})_(?P<sclk>\d{9})_(?P<day>\d{7})_P(?P<pass>\d{2})(?P<code>[A-Z0-9]{3}))"
    r"_V(?P<version>\d{2})\.FIT",
    re.IGNORECASE,
)
# Parts of the file in order: name, and whether it is a table.
PARTS = (
    ("SPECTRAL_VS_SPATIAL", False), ("SPATIAL_VS_TIME", False), ("FRAME_LIST", True), ("SCAN_MIRROR_POSITIONS", True),
    ("RAW_FRAME", True), ("ANALOG_COUNT_RATE", True), ("DIGITAL_COUNT_RATE", True),
    ("PULSE_HEIGHT_DISTRIBUTION_LA", False), ("PULSE_HEIGHT_DISTRIBUTION_STELLAR", False),
    ("PULSE_HEIGHT_DISTRIBUTION_STIM", False), ("HOUSEKEEPING", True), ("PARAMETER_LIST", True),
)  # fmt: skip
IMAGE, FRAMES, MIRROR, EVENTS, ANALOG, DIGITAL, HOUSEKEEPING = 0, 2, 3, 4, 5, 6, 10
# Columns of the tables that are read: name to FITS format. The archive's are not public; these are this project's.
CLOCK = {"SCLK_SECONDS": "J", "SCLK_SUBSECONDS": "J"}
FRAME_COLUMNS = CLOCK | {
    "DURATION": "D", "HACK_PERIOD": "D", "FIRST_ROW": "K", "ROWS": "J", "EVENTS": "J", "SPIN_PHASE": "E",
    "MODE": "8A", "FRAME_QUALITY": "J",
}  # fmt: skip
COLUMN_FORMATS: dict[int, dict[str, str]] = {
    FRAMES: FRAME_COLUMNS,
    MIRROR: CLOCK | {"ANGLE": "E"},
    EVENTS: {"TYPE": "B", "X": "I", "Y": "B", "PULSE_HEIGHT": "B"},
    ANALOG: CLOCK | {"INTERVAL": "D", "COUNTS": "J"},
    DIGITAL: CLOCK | {"INTERVAL": "D", "COUNTS": "J"},
    HOUSEKEEPING: CLOCK | {"DETECTOR_TEMPERATURE": "E", "HIGH_VOLTAGE": "E"},
}
EVENT, HACK = 0, 1
SIMULATED = "SIMULATED DATA, NOT A MEASUREMENT"
# Seconds by which a table's row may lie outside the span and still be of use within it.
AROUND = 5.0


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """The parts of a FITS file; whatever is wrong with it becomes an InputError."""
    from astropy.io import fits

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # a file cut short is but a warning
            # opened here, as a file that turns out to be none would be left open there
            with path.open("rb") as file, fits.open(file, memmap=True, lazy_load_hdus=False) as parts:
                last = parts[-1].fileinfo()
                end, size = last["datLoc"] + last["datSpan"], path.stat().st_size
                if end > size:
                    raise InputError(path, f"cut short: {size} bytes, {end} expected")
                yield parts
    except InputError:
        raise
    except (fits.VerifyError, OSError, ValueError, TypeError, KeyError, IndexError, AttributeError, Warning) as error:
        text = " ".join(str(error).split())[:160] or type(error).__name__
        raise InputError(path, f"is no complete FITS file: {text}") from error


@contextmanager
def _edr(path: Path) -> Iterator[Any]:
    """The parts of an EDR, checked for number, kind and columns."""
    with opened(path) as parts:
        _check_parts(path, parts)
        yield parts


def _check_parts(path: Path, parts: Any) -> None:
    if len(parts) != len(PARTS):
        raise InputError(path, f"{len(parts)} HDUs; an EDR has {len(PARTS)}: {', '.join(n for n, _ in PARTS)}")
    for index, (name, table) in enumerate(PARTS):
        part, place = parts[index], f"HDU {index} ({name})"
        if hasattr(part, "columns") != table:
            raise InputError(path, f"{'a table' if table else 'an image'} is expected", place)
        for column, form in COLUMN_FORMATS.get(index, {}).items():
            found = dict(zip(part.columns.names, part.columns.formats, strict=True)).get(column)
            if found is None or str(found).removeprefix("1") != form:
                raise InputError(path, f"column {column} of format {form} is expected, not {found}", place)
    if parts[IMAGE].header.get("NAXIS") != 2 or parts[IMAGE].shape != (ROWS, COLUMNS):
        raise InputError(path, f"shape {parts[IMAGE].shape}, {(ROWS, COLUMNS)} is expected", f"HDU 0 ({PARTS[0][0]})")


def _ticks(path: Path, index: int, table: Any, clock: Sclk) -> NDArray[np.float64]:
    """Et of the rows of a table by its clock columns."""
    seconds, fraction = (np.asarray(table[c], np.int64) for c in CLOCK)
    bad = np.flatnonzero((seconds < 0) | (fraction < 0) | (fraction >= TICKS))
    place = f"HDU {index} ({PARTS[index][0]})"
    if bad.size:
        raise InputError(path, f"clock {seconds[bad[0]]}:{fraction[bad[0]]} is none", f"{place}, row {bad[0] + 1}")
    try:
        et = clock.to_et(clock.encode(seconds * TICKS + fraction))
    except ValueError as error:
        raise InputError(path, f"clock not understood: {error}", place) from error
    if np.any(np.diff(et) <= 0):
        at = int(np.flatnonzero(np.diff(et) <= 0)[0])
        raise InputError(path, "times do not increase", f"{place}, row {at + 2}")
    return et


def open_edr(path: Path, clock: Sclk) -> Granule:
    """A file as a granule: its label and its list of frames are read."""
    match = NAME.fullmatch(path.name)
    if match is None:
        raise InputError(path, "name is not UVS_Snn_<clock>_<yyyyddd>_Pnn<code>_Vnn.FIT")
    beside = {p.name.upper(): p for p in path.parent.iterdir()}
    label_path = beside.get(f"{path.stem}.LBL".upper())
    if label_path is None:
        raise InputError(path, "its label is missing")
    label, _ = corrected(read_label(label_path))
    if str(label.need("FILE_NAME", str)).upper() != path.name.upper():
        raise InputError(label_path, f"describes {label['FILE_NAME']!r}, not {path.name}", "FILE_NAME")
    if str(label.need("PRODUCT_TYPE", str)).upper() != "EDR":
        raise InputError(label_path, f"{label['PRODUCT_TYPE']!r}: an EDR is expected", "PRODUCT_TYPE")
    with _edr(path) as parts:
        frames = parts[FRAMES].data
        if len(frames) == 0:
            raise InputError(path, "holds no frame", "HDU 2 (FRAME_LIST)")
        et = _ticks(path, FRAMES, frames, clock)
        _check_frames(path, frames, et, len(parts[EVENTS].data))
        total, histogram = int(frames["EVENTS"].sum()), int(np.asarray(parts[IMAGE].data, np.int64).sum())
        if total != histogram:
            raise InputError(path, f"the histogram holds {histogram} events, the frames {total}", "HDU 0")
        start, stop = float(et[0]), float(et[-1] + frames["DURATION"][-1])
        simulated = SIMULATED in str(parts[IMAGE].header.get("ORIGIN", ""))
    return Granule(
        "uvs", "uvs.edr", match["id"].upper(), int(match["version"]), start, stop,
        {"data": path, "label": label_path}, meta={"simulated": simulated, "part": int(match["part"])},
    )  # fmt: skip


def _check_frames(path: Path, frames: Any, et: NDArray[np.float64], rows: int) -> None:
    place = "HDU 2 (FRAME_LIST)"
    first, count = np.asarray(frames["FIRST_ROW"], np.int64), np.asarray(frames["ROWS"], np.int64)
    duration, period = np.asarray(frames["DURATION"]), np.asarray(frames["HACK_PERIOD"])
    checks = (
        ("rows outside the list of events", (first < 0) | (count < 0) | (first + count > rows)),
        ("rows that belong to the frame before", np.append(False, first[1:] < (first + count)[:-1])),
        ("a duration that is none", ~(np.isfinite(duration) & (duration > 0) & (duration < 3600))),
        ("a hack period that is none", ~(np.isfinite(period) & (period > 0) & (period <= duration))),
        ("begins before the frame before ends", np.append(False, np.diff(et) < duration[:-1] - 1e-3)),
    )
    for what, bad in checks:
        if bad.any():
            raise InputError(path, what, f"{place}, row {int(np.argmax(bad)) + 1}")


def read_edr(granules: Sequence[Granule], span: Span | None, clock: Sclk) -> xr.Dataset:
    """Events, frames, count rates, mirror and housekeeping of a span, in time order.

    An event's ``et`` is the middle of its hack. ``number`` counts the rows of its file's list. Frames are whole: their
    ``hacks_lost`` says how many of their time hacks are missing.
    """
    parts = [_read_one(g, span, clock) for g in granules]
    if not parts:
        return _empty()
    out = {}
    for name in parts[0].variables:
        first = parts[0].variables[name]
        out[name] = (first.dims, np.concatenate([p.variables[name].values for p in parts]), first.attrs)
    dataset = xr.Dataset(out)
    dataset = dataset.isel({dim: np.argsort(dataset[key].values, kind="stable") for key, dim in _TIMES.items()})
    start, stop = dataset["frame_et"].values, dataset["frame_stop"].values
    late = np.flatnonzero(start[1:] < stop[:-1] - 1e-3)
    if late.size:
        raise InputError(
            granules[0].files["data"], f"frames overlap with those of another file at et {start[late[0] + 1]:.3f}"
        )
    return dataset


_TIMES = {"et": "event", "frame_et": "frame", "analog_et": "analog", "digital_et": "digital", "mirror_et": "mirror",
          "housekeeping_et": "housekeeping"}  # fmt: skip


def _read_one(granule: Granule, span: Span | None, clock: Sclk) -> xr.Dataset:
    path = granule.files["data"]
    with _edr(path) as parts:
        frames = parts[FRAMES].data
        start = _ticks(path, FRAMES, frames, clock)
        stop = start + np.asarray(frames["DURATION"])
        use = np.ones(len(start), bool) if span is None else (start < span.stop) & (stop > span.start)
        chosen = np.flatnonzero(use)
        variables = _events(path, parts[EVENTS].data, frames[chosen], start[chosen], chosen)
        if span is not None:
            inside = span.contains(variables["et"][1])
            for name in [n for n, (dims, _) in variables.items() if dims == ("event",)]:
                variables[name] = (("event",), variables[name][1][inside])
        for name, index, columns in (
            ("analog", ANALOG, {"interval": "INTERVAL", "counts": "COUNTS"}),
            ("digital", DIGITAL, {"interval": "INTERVAL", "counts": "COUNTS"}),
            ("mirror", MIRROR, {"angle": "ANGLE"}),
            ("housekeeping", HOUSEKEEPING, {"temperature": "DETECTOR_TEMPERATURE", "voltage": "HIGH_VOLTAGE"}),
        ):
            table = parts[index].data
            et = _ticks(path, index, table, clock) if len(table) else np.zeros(0)
            near = (
                slice(None) if span is None else slice(*np.searchsorted(et, [span.start - AROUND, span.stop + AROUND]))
            )
            variables[f"{name}_et"] = ((name,), et[near])
            for short, column in columns.items():
                variables[f"{name}_{short}"] = ((name,), np.asarray(table[column][near], np.float64))
    return xr.Dataset(variables)


def _events(path: Path, rows: Any, frames: Any, start: NDArray[np.float64], chosen: NDArray[np.intp]) -> dict[str, Any]:
    """Events of consecutive frames with the times of their hacks, and the frames."""
    place = f"HDU {EVENTS} ({PARTS[EVENTS][0]})"
    first, count = np.asarray(frames["FIRST_ROW"], np.int64), np.asarray(frames["ROWS"], np.int64)
    begin = int(first[0]) if len(first) else 0
    block = rows[begin : int(first[-1] + count[-1]) if len(first) else 0]
    kind, x = np.asarray(block["TYPE"]), np.asarray(block["X"], np.int16)
    y, height = np.asarray(block["Y"], np.uint8), np.asarray(block["PULSE_HEIGHT"], np.uint8)
    frame = np.repeat(np.arange(len(first)), count)
    at = first.repeat(count) - begin + np.arange(len(frame)) - np.repeat(np.cumsum(count) - count, count)
    kind, x, y, height = kind[at], x[at], y[at], height[at]
    if len(kind) and (kind > HACK).any():
        raise InputError(
            path, f"type {kind[kind > HACK][0]} of a row is not known", f"{place}, row {_row(kind > HACK, at, begin)}"
        )
    hack, event = kind == HACK, kind != HACK
    number = np.rint(np.asarray(frames["DURATION"]) / np.asarray(frames["HACK_PERIOD"])).astype(np.int64)
    wrong = _hacks_wrong(x, hack, frame, count, number)
    if wrong is not None:
        raise InputError(path, wrong[0], f"{place}, row {at[wrong[1]] + begin + 1}")
    outside = event & ((x < 0) | (x >= COLUMNS) | (height >= LEVELS))
    if outside.any():
        raise InputError(
            path,
            f"an event outside {COLUMNS} columns or {LEVELS} pulse heights",
            f"{place}, row {_row(outside, at, begin)}",
        )
    held = np.bincount(frame[event], minlength=len(first))
    if (held != np.asarray(frames["EVENTS"])).any():
        bad = int(np.argmax(held != np.asarray(frames["EVENTS"])))
        raise InputError(
            path, f"frame {chosen[bad] + 1} holds {held[bad]} events, its list says {frames['EVENTS'][bad]}", place
        )
    last = x[hack].astype(np.int64)[np.cumsum(hack)[event] - 1] if hack.any() else np.zeros(0, np.int64)
    mine = frame[event]
    period = np.asarray(frames["HACK_PERIOD"])
    return {
        "et": (("event",), start[mine] + (last + 0.5) * period[mine]),
        "x": (("event",), x[event]),
        "y": (("event",), y[event]),
        "pulse_height": (("event",), height[event]),
        "number": (("event",), at[event] + begin),
        "frame_et": (("frame",), start),
        "frame_stop": (("frame",), start + np.asarray(frames["DURATION"])),
        "frame_quality": (("frame",), np.asarray(frames["FRAME_QUALITY"], np.int32)),
        "hacks_lost": (("frame",), (number - np.bincount(frame[hack], minlength=len(first))).astype(np.int32)),
        "hack_period": (("frame",), period.astype(np.float64)),
    }


def _hacks_wrong(
    x: NDArray[np.int16],
    hack: NDArray[np.bool_],
    frame: NDArray[np.intp],
    count: NDArray[np.int64],
    number: NDArray[np.int64],
) -> tuple[str, int] | None:
    """What is wrong with the time hacks among rows of frames, and at which row; `number` of hacks belongs to each."""
    opening = (np.cumsum(count) - count)[count > 0]
    if not hack[opening].all():
        return "a frame does not begin with a time hack", int(opening[~hack[opening]][0])
    counter, owner = x[hack].astype(np.int64), frame[hack]
    wrong = (counter < 0) | (counter >= number[owner])
    wrong[1:] |= (owner[1:] == owner[:-1]) & (np.diff(counter) <= 0)
    if wrong.any():
        return "hacks of a frame do not count up", int(np.flatnonzero(hack)[np.argmax(wrong)])
    return None


def _row(where: NDArray[np.bool_], at: NDArray[np.int64], begin: int) -> int:
    return int(at[np.argmax(where)]) + begin + 1


def _empty() -> xr.Dataset:
    names = {
        "event": ("et", "x", "y", "pulse_height", "number"),
        "frame": ("frame_et", "frame_stop", "frame_quality", "hacks_lost", "hack_period"),
    }
    return xr.Dataset({n: ((dim,), np.zeros(0)) for dim, members in names.items() for n in members})


EDR = RawFormat(
    name="uvs.edr",
    title="EDR (FITS, 12 parts; the columns of its tables are this project's own: the archive's are not public)",
    pattern=NAME.pattern,
    open=open_edr,
    read=read_edr,
    index="event",
)
