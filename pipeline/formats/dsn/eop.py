"""Earth orientation files of the DSN (TRK-2-21, EOP form): pole, UT1 and nutation corrections by day.

Labels ``NAME='text'``, then rows of seven numbers separated by commas; ``$`` begins a comment. Whether UT1 is given as
it is or without its zonal tides stands in the label ``EOPUT1``. JPL's later EOP2 form has other columns and is refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.formats.dsn.columns import as_dataset
from pipeline.formats.dsn.times import mjd_of

COLUMNS = {
    "mjd": "d",
    "pole_x": "mas",
    "pole_y": "mas",
    "tai_minus_ut1": "s",
    "tai_minus_utc": "s",
    "dpsi": "mas",
    "deps": "mas",
}
# Most by which the slope changes in a day: 2.5 times what it did from 2011 to 2026 (IERS EOP 20 C04).
MOST_BENT = {"pole_x": 3.0, "pole_y": 3.0, "tai_minus_ut1": 1e-3}
DTYPE = np.dtype([(name, "f8") for name in COLUMNS])
_LABEL = re.compile(r"([A-Z][A-Z0-9]*)\s*=\s*(?:'([^']*)')?\s*,?\s*", re.IGNORECASE)


@dataclass
class Eop:
    """The content of a file: `labels` by name, the `table` in `DTYPE`, and the `comments`."""

    labels: dict[str, str]
    table: NDArray[np.void]
    comments: list[str] = field(default_factory=list)

    @property
    def regularised(self) -> bool:
        """Whether the zonal tides of UT1 are taken out (``EOPUT1='UT1R'``)."""
        return self.labels["EOPUT1"].strip().upper() != "UT1"

    def dataset(self) -> xr.Dataset:
        """Return the table as variables with units."""
        return as_dataset(self.table, COLUMNS, "day")


def read_eop(path: str | Path) -> Eop:
    """Read a file.

    Raises
    ------
    InputError : cannot be read, not such a file, or a row that cannot be, with its line.
    """
    try:
        text = Path(path).read_bytes().decode("ascii")
    except OSError as error:
        raise InputError(path, f"cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise InputError(path, "not an Earth orientation file: not ASCII", f"byte {error.start}") from error
    eop, rows, places = Eop({}, np.zeros(0, DTYPE)), [], []
    for number, line in enumerate(text.splitlines(), 1):
        code, mark, comment = line.partition("$")
        if mark:
            eop.comments.append(comment.strip())
        label = _LABEL.match(code.strip())
        if label is not None:
            eop.labels[label[1].upper()] = label[2] or ""
            code = code.strip()[label.end() :]
        if code.strip():
            rows.append(_row(path, number, code))
            places.append(number)
    if "EOPUT1" not in eop.labels:
        raise InputError(path, "no label EOPUT1: not an Earth orientation file of TRK-2-21 (EOP form)", "line 1")
    if eop.labels["EOPUT1"].strip().upper() not in ("UT1", "UT1R"):
        raise InputError(path, f"EOPUT1 is {eop.labels['EOPUT1']!r}, neither UT1 nor UT1R")
    if not rows:
        raise InputError(path, "no row of Earth orientation in the file")
    if code.strip() and not text.endswith("\n"):
        raise InputError(path, "the last row has no end of line: the file is cut short", f"line {number}")
    eop.table = np.array(rows, DTYPE)
    _check(path, eop.table, places)
    return eop


def _row(path: str | Path, number: int, text: str) -> tuple[float, ...]:
    try:
        row = tuple(float(v.upper().replace("D", "E")) for v in text.strip().rstrip(",").split(","))
    except ValueError as error:
        raise InputError(path, f"not a row of numbers: {text.strip()[:60]!r}", f"line {number}") from error
    if len(row) != len(COLUMNS):
        raise InputError(path, f"{len(row)} numbers, not {len(COLUMNS)}: {', '.join(COLUMNS)}", f"line {number}")
    return row


@np.errstate(over="ignore", invalid="ignore", divide="ignore")  # numbers of any size may stand in a file
def _check(path: str | Path, table: NDArray[np.void], places: list[int]) -> None:
    """Raise at the first row that cannot be: out of order, too far off, or too far from the row before."""
    days = np.diff(table["mjd"])
    back = np.append(False, days <= 0.0)
    finite = np.all([np.isfinite(table[name]) for name in COLUMNS], axis=0)
    calendar = (table["mjd"] >= mjd_of(1958, 1)) & (table["mjd"] < mjd_of(2200, 1))
    far = np.hypot(table["pole_x"], table["pole_y"]) > 2000.0
    ut1 = np.abs(table["tai_minus_ut1"] - table["tai_minus_utc"]) > 1.0
    nutation = np.hypot(table["dpsi"], table["deps"]) > 1000.0
    # A day is longer or shorter by up to 4 ms, the pole moves by some 4 mas.
    jump = np.append(False, np.abs(np.diff(table["tai_minus_ut1"])) > 0.01 * days)
    jump |= np.append(False, np.hypot(np.diff(table["pole_x"]), np.diff(table["pole_y"])) > 20.0 * days)
    bent = np.max([_bend(table[name], days) / most for name, most in MOST_BENT.items()], axis=0)
    for bad, reason in (
        (~finite, "a number that is not finite"),
        (~calendar, "the day is not one of the years 1958 to 2199"),
        (back, "the day is not after the one before"),
        (far, "the pole is more than 2 arcseconds off"),
        (ut1, "UT1 is more than 1 s from UTC"),
        (nutation, "corrections of nutation of more than 1 arcsecond"),
        (jump, "pole or UT1 jump by more than the Earth can in that time"),
        # The row that is wrong bends most.
        ((bent > 1.0) & (bent == bent.max()), "pole or UT1 is not on the curve of the days around it"),
    ):
        if bad.any():
            raise InputError(path, reason, f"line {places[int(np.argmax(bad))]}")


def _bend(value: NDArray[np.float64], days: NDArray[np.float64]) -> NDArray[np.float64]:
    """Change of the slope at every row, per day; at the ends that of the neighbour is the only one."""
    if days.size < 2:
        return np.zeros(value.size)
    bend = np.abs(np.diff(np.diff(value) / days)) / ((days[1:] + days[:-1]) / 2.0)
    return np.concatenate([[0.0], bend, [0.0]])


def write_eop(path: str | Path, eop: Eop) -> None:
    """Write a file that `read_eop` gives back equal; comments come first."""
    head = [f"$ {c}" if c else "$" for c in eop.comments] + [f"{name}='{text}'" for name, text in eop.labels.items()]
    rows = [",".join(map(repr, row)) + "," for row in eop.table.tolist()]
    Path(path).write_text("\n".join([*head, *rows, ""]), encoding="ascii")
