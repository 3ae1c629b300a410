"""From 8-bit codes to the 12-bit DN they stand for.

The SIS gives one value for each code (Software Interface Specification JunoCam Standard Data Products, appendix C). For
SQROOT that value is the upper edge of the bin: in 43M00081, which was sent without loss, code 23 holds as many samples
as 22 and code 24 twice as many, so bins widen right after 23, as they do not if the value is the bin's centre or
lower edge. LIN8 and LIN16 are multiples of 8 and 16; that they are rounded down is an inference.

In images sent by the integer cosine transform the bins widen at codes higher than the table's by a constant factor
(README.md, "Companding"): the codes are stretched. They are divided by that factor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from calibration.tables import Table
from instruments.junocam.layout import LOSSY

Floats = NDArray[np.float64]
Convention = Literal["centre", "archive"]

CODES = np.arange(256)
# First codes of each bin width of SQROOT, and the widths: the closed form of the table.
FIRST, WIDTHS = np.array([0, 24, 44, 90, 185, 210]), np.array([1, 2, 4, 8, 16, 32])
LINEAR = {"LIN1": 1, "LIN8": 8, "LIN16": 16}
# By how much the archive's values may be off, relative: half a bin, at most 2.2 %, and the stretch of the codes, 2 %.
ARCHIVE_ERROR = 0.035


@dataclass(frozen=True, eq=False)
class Levels:
    """What stored values stand for, by value.

    Parameters
    ----------
    dn : the middle of each bin, ascending.
    width : of each bin, DN.
    code_noise : error of the transmission in widths of a bin, one sigma.
    offset, relative : uncertainties of all `dn` alike, in DN and as a fraction.
    """

    dn: Floats
    width: Floats
    code_noise: float
    offset: float
    relative: float


def archive_values(mode: str) -> Floats:
    """The SIS's table: the value of each code."""
    if mode in LINEAR:
        return np.asarray(CODES * LINEAR[mode], np.float64)
    return np.asarray(_edge(CODES + 0.5) // 1.0, np.float64)


def levels(mode: str, compression: str, companding: Table, convention: Convention) -> Levels:
    """What the codes of an image stand for.

    Parameters
    ----------
    mode, compression : SAMPLE_BIT_MODE_ID and COMPRESSION_TYPE.
    convention : ``centre`` of the bins, or the ``archive``'s values as they stand, without the stretch of the codes.
    """
    lossy = compression == LOSSY
    stretch = float(companding["lossy_stretch"].value) if lossy and convention == "centre" else 1.0
    noise = float(companding["lossy_noise"].value) if lossy else 0.0
    if mode in LINEAR:
        step = float(LINEAR[mode])
        edges = step * (np.append(CODES, 256) - 0.5) / stretch + (step - 1.0) / 2.0
    else:
        edges = _edge((np.append(CODES, 256) - 0.5) / stretch)
    width = np.diff(edges)
    # Where it is not known how LIN8 and LIN16 were rounded, the values may be off by half a step.
    offset = (LINEAR[mode] - 1.0) / 2.0 if mode in LINEAR else 0.0
    if convention == "archive":
        return Levels(archive_values(mode), width, noise, offset, ARCHIVE_ERROR)
    return Levels(edges[:-1] + width / 2.0, width, noise, offset, 0.0)


def _edge(code: NDArray[np.floating]) -> Floats:
    """DN at places between the codes of SQROOT: whole codes and a half are edges of bins."""
    start = FIRST - 0.5
    at = np.concatenate([[-0.5], np.cumsum(np.diff(FIRST) * WIDTHS[:-1]) - 0.5])
    piece = np.clip(np.searchsorted(start, code, side="right") - 1, 0, None)
    return np.asarray(at[piece] + (code - start[piece]) * WIDTHS[piece])
