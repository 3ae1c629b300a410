"""Writer of the archive's level 3 files and their labels; the reader is `sts`."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from instruments.mag.sts import Floats, named
from pipeline.clock import et_to_utc, format_utc
from pipeline.formats.pds3 import Quantity, write_label

SIMULATED = "SIMULATED DATA, NOT A MEASUREMENT"


class _Column(NamedTuple):
    """A column after SAMPLE UTC: name, format, width, decimals, unit, and the spaces before it."""

    name: str
    format: str
    width: int
    decimals: int
    unit: str
    before: int


_SYSTEM = {"pc": "Planetocentric", "ss": "Sun-State", "pl": "Payload", "se": "Sun-Spacecraft"}
_STANDARD = {"pc": "PCENTRIC", "ss": "SUNSTATE", "pl": "PAYLOAD", "se": "SE"}
_COLUMNS = (
    _Column("DECIMAL DAY", "F13.9", 13, 9, "N/A", 1),
    *(_Column(f"B{axis} {{}}", "F12.2", 12, 2, "NT", 2 if axis == "X" else 1) for axis in "XYZ"),
    _Column("INSTRUMENT RANGE", "F3.0", 3, 0, "N/A", 1),
    *(_Column(axis, "F14.3", 14, 3, "KILOMETERS", 2 if axis == "X" else 1) for axis in "XYZ"),
)
_UTC = (("YEAR", "2X,I4"), ("DOY", "1X,I3"), ("HOUR", "1X,I2"), ("MIN", "1X,I2"), ("SEC", "1X,I2"), ("MSEC", "1X,I3"))


def write_sts(
    path: Path,
    et: Floats,
    b: Floats,
    range_code: NDArray[np.uint8],
    position: Floats | None = None,
    *,
    sensor: str,
    simulated: bool,
) -> None:
    """Write a file and its detached label; the name says the frame. `read_sts` gives the columns back.

    Parameters
    ----------
    et : s (n); b : nT (n, 3); range_code : (n); position : km (n, 3), left out if None.
    sensor : ``ob`` or ``ib``.

    Raises
    ------
    InputError
        for a name that is not the archive's; ValueError for a number that has no place in its column, or a leap second.
    """
    match = named(path)
    frame = match["frame"].lower()
    columns = _COLUMNS if position is not None else _COLUMNS[:5]
    header = "".join(f"{line}\r\n" for line in _header_lines(frame, columns, sensor, simulated)).encode("ascii")
    values = np.column_stack([b, range_code, *([] if position is None else [position])])
    body = _rows_of(et, values, columns).tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(header + body)
    label = _label_of(path, match, et, columns, len(header), hashlib.md5(header + body).hexdigest(), simulated)
    path.with_suffix(".lbl").write_text(write_label(label), "ascii", newline="")


def _rows_of(et: Floats, values: Floats, columns: Sequence[_Column]) -> NDArray[np.uint8]:
    """Rows as text, (n, bytes)."""
    utc, leap = et_to_utc(et)
    if np.any(leap):
        raise ValueError("a time lies in a leap second")
    day = utc.astype("datetime64[D]")
    year = day.astype("datetime64[Y]")
    doy = (day - year.astype("datetime64[D]")).astype(np.int64) + 1
    nanosecond = (utc - day).astype("timedelta64[ns]").astype(np.int64)
    milli = nanosecond // 1_000_000
    integers = (
        (year.astype(np.int64) + 1970, 4, 2), (doy, 3, 1), (milli // 3_600_000, 2, 1), (milli // 60_000 % 60, 2, 1),
        (milli // 1000 % 60, 2, 1), (milli % 1000, 3, 1),
    )  # fmt: skip
    parts = [_fixed(value.astype(np.float64), width, -1, before) for value, width, before in integers]
    numbers = np.column_stack([doy + nanosecond / 86.4e12, values])
    parts += [
        _fixed(column, width, decimals, before)
        for column, (_, _, width, decimals, _, before) in zip(numbers.T, columns, strict=True)
    ]
    parts.append(np.broadcast_to(np.frombuffer(b"\r\n", np.uint8), (len(et), 2)))
    return np.hstack(parts)


def _fixed(value: Floats, width: int, decimals: int, before: int) -> NDArray[np.uint8]:
    """Numbers as fixed-point text (n, before + width), to the right, with `decimals` after a point; -1: no point."""
    if not np.isfinite(value).all():
        raise ValueError("a value is not finite")
    rest = np.rint(np.abs(value) * 10.0 ** max(decimals, 0)).astype(np.int64)
    negative = (value < 0) & (rest > 0)
    text = np.full((len(value), before + width), ord(" "), np.uint8)
    column = before + width - 1
    sign = np.full(len(value), column)
    for place in range(width):
        if place == decimals:
            text[:, column - place] = ord(".")
            continue
        written = (rest > 0) | (place <= decimals + 1)
        text[written, column - place] = (rest[written] % 10 + ord("0")).astype(np.uint8)
        sign[written] = column - place - 1
        rest //= 10
    if (rest > 0).any() or (negative & (sign < before)).any():
        raise ValueError(f"a value does not fit {width} characters")
    rows = np.flatnonzero(negative)
    text[rows, sign[rows]] = ord("-")
    return text


def _header_lines(frame: str, columns: Sequence[_Column], sensor: str, simulated: bool) -> Iterator[str]:
    with_position = len(columns) > 5
    yield "OBJECT           = FILE"
    yield " OBJECT          = HEADER"
    yield "  PROGRAM        = perijove"
    yield f"  CMD_LINE       = -odl -jupiter -{frame} time dday {sensor}_b{' posn' if with_position else ''}"
    yield f"  TITLE          = JUNO FGM, {_SYSTEM[frame]} coordinates"
    if simulated:
        yield f"  COMMENT        = {SIMULATED}"
    yield " END_OBJECT"
    yield " OBJECT          = RECORD"
    yield from _vector("TIME", "INTEGER", _UTC)
    yield from _scalar("DDAY", "1X,F13.9", 2)
    axes = tuple((axis, "2X,F12.2" if axis == "X" else "1X,F12.2") for axis in "XYZ")
    yield from _vector(f"{sensor.upper()}_B", "REAL", (*axes, ("RANGE", "1X,F3.0")), "NT")
    if with_position:
        axes = tuple((axis, "2X,F14.3" if axis == "X" else "1X,F14.3") for axis in "XYZ")
        yield from _vector("POSN", "REAL", axes, "KILOMETERS")
    yield " END_OBJECT"
    yield "END_OBJECT"


def _vector(name: str, kind: str, scalars: Sequence[tuple[str, str]], units: str | None = None) -> Iterator[str]:
    yield "  OBJECT         = VECTOR"
    yield f"   NAME          = {name}"
    yield f"   TYPE          = {kind}"
    if units:
        yield f"   UNITS         = {units}"
    for scalar, form in scalars:
        yield from _scalar(scalar, form, 3)
    yield "  END_OBJECT"


def _scalar(name: str, form: str, indent: int) -> Iterator[str]:
    pad = " " * indent
    yield f"{pad}OBJECT        = SCALAR"
    yield f"{pad} NAME         = {name}"
    yield f"{pad} FORMAT       = {form}"
    yield f"{pad}END_OBJECT"


def _label_of(
    path: Path, match: re.Match[str], et: Floats, columns: Sequence[_Column], header: int, md5: str, simulated: bool
) -> dict[str, Any]:
    frame, mean = match["frame"].lower(), match["mean"]
    cadence = {None: "", "_r1s": " 1 SECOND", "_r60s": " 1 MINUTE"}.get(mean, f" {str(mean)[2:].upper()}")
    described = _described(columns, _SYSTEM[frame].upper())
    return {
        "PDS_VERSION_ID": "PDS3",
        "RECORD_TYPE": "STREAM",
        "DATA_SET_ID": "JNO-J-3-FGM-CAL-V1.0",
        "TARGET_NAME": "JUPITER",
        "SPACECRAFT_NAME": "JUNO",
        "START_TIME": format_utc(float(et[0]), day_of_year=True),
        "STOP_TIME": format_utc(float(et[-1]), day_of_year=True),
        "SPACECRAFT_CLOCK_START_COUNT": "UNK",
        "SPACECRAFT_CLOCK_STOP_COUNT": "UNK",
        "INSTRUMENT_ID": "FGM",
        "INSTRUMENT_NAME": "MAGNETOMETER",
        "^HEADER": [path.name, Quantity(1, "BYTES")],
        "^TABLE": [path.name, Quantity(header + 1, "BYTES")],
        "PRODUCT_ID": match["id"].upper(),
        "ORIGINAL_PRODUCT_ID": path.name,
        "STANDARD_DATA_PRODUCT_ID": (frame.upper() if cadence and frame in ("pc", "ss") else _STANDARD[frame])
        + cadence,
        "PRODUCT_VERSION_ID": match["version"],
        "MD5_CHECKSUM": md5,
        "PROCESSING_LEVEL_ID": "3",
        "DESCRIPTION": f"{SIMULATED}." if simulated else f"Magnetic field, {_SYSTEM[frame]} coordinates.",
        "HEADER": {"BYTES": header, "HEADER_TYPE": "TEXT"},
        "TABLE": {
            "NAME": "MAG DATA",
            "INTERCHANGE_FORMAT": "ASCII",
            "ROWS": len(et),
            "ROW_BYTES": described[-1]["START_BYTE"] + described[-1]["BYTES"] + 1,
            "COLUMNS": len(described),
            "COLUMN": described,
        },
    }


def _described(columns: Sequence[_Column], system: str) -> list[dict[str, Any]]:
    """COLUMN objects of the label."""
    described: list[dict[str, Any]] = [
        {"NAME": "SAMPLE UTC", "DATA_TYPE": "CHARACTER", "START_BYTE": 3, "BYTES": 21, "UNIT": "N/A"}
    ]
    for column in columns:
        end = described[-1]["START_BYTE"] + described[-1]["BYTES"]
        described.append(
            {
                "NAME": column.name.format(system),
                "DATA_TYPE": "ASCII_REAL",
                "FORMAT": column.format,
                "START_BYTE": end + column.before,
                "BYTES": column.width,
                "UNIT": column.unit,
            }
        )
    return [{"NAME": d["NAME"], "COLUMN_NUMBER": k + 1, **d} for k, d in enumerate(described)]
