"""Quality bits: 0-15 mean the same for every instrument, 16-31 are the instrument's own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntFlag, unique

import numpy as np
from numpy.typing import NDArray

INSTRUMENT_BITS = range(16, 32)
DTYPE = np.dtype("uint32")


@unique
class Quality(IntFlag):
    """The shared bits of every ``quality`` variable."""

    MISSING = 1 << 0
    SUSPECT = 1 << 1
    SATURATED = 1 << 2
    CLIPPED_LOW = 1 << 3
    CALIBRATION_EXTRAPOLATED = 1 << 4
    CLOCK_EXTRAPOLATED = 1 << 5
    LEAP_SECOND = 1 << 6
    GEOMETRY_MISSING = 1 << 7
    GEOMETRY_PREDICTED = 1 << 8
    INPUT_MISSING = 1 << 9
    INTERPOLATED = 1 << 10
    CORRECTED = 1 << 11
    EDGE = 1 << 12
    RADIATION = 1 << 13
    NEAR_GAP = 1 << 14


MEANINGS: dict[Quality, str] = {
    Quality.MISSING: "no data: not acquired, lost or unreadable; the value is missing",
    Quality.SUSPECT: "use with care: fails a plausibility check",
    Quality.SATURATED: "at or above the linear range",
    Quality.CLIPPED_LOW: "clipped at the lower end of the scale",
    Quality.CALIBRATION_EXTRAPOLATED: "a calibration table is used outside the times or values it was made for",
    Quality.CLOCK_EXTRAPOLATED: "time from a clock correlation beyond its last coefficient",
    Quality.LEAP_SECOND: "UTC lies in a leap second; the time coordinate is clamped, et is right",
    Quality.GEOMETRY_MISSING: "no position or attitude at this time",
    Quality.GEOMETRY_PREDICTED: "position or attitude is predicted, propagated or nominal, not reconstructed",
    Quality.INPUT_MISSING: "an optional input product was not there",
    Quality.INTERPOLATED: "value interpolated from neighbours",
    Quality.CORRECTED: "value repaired by a step that says how",
    Quality.EDGE: "a filter or window reaches beyond the data",
    Quality.RADIATION: "hit by penetrating radiation",
    Quality.NEAR_GAP: "next to a gap in the data",
}


# Bits that tell under what circumstances a sample was made, often for a whole product; they do not disqualify it.
CONDITIONS = (
    Quality.CALIBRATION_EXTRAPOLATED
    | Quality.CLOCK_EXTRAPOLATED
    | Quality.LEAP_SECOND
    | Quality.GEOMETRY_MISSING
    | Quality.GEOMETRY_PREDICTED
    | Quality.INPUT_MISSING
)


@dataclass(frozen=True)
class Flag:
    """One of an instrument's own bits.

    Parameters
    ----------
    bit : 16 to 31.
    name : lower case, one word with underscores.
    meaning : a sentence for the reader of a product.
    condition : True if the bit tells under what circumstances a sample was made without disqualifying it (a correction
        left out whose size the systematic uncertainty holds); False if the sample is not to be trusted like others.
    """

    bit: int
    name: str
    meaning: str
    condition: bool = False

    def __post_init__(self) -> None:
        if self.bit not in INSTRUMENT_BITS:
            raise ValueError(f"flag {self.name}: bit {self.bit} is not in 16..31")

    @property
    def mask(self) -> int:
        """The bit as a mask."""
        return 1 << self.bit


def cf_attributes(flags: Iterable[Flag]) -> dict[str, object]:
    """CF ``flag_masks`` and ``flag_meanings`` of a quality variable.

    Beside them ``flag_descriptions``, a sentence per bit, and ``flag_conditions``, the mask of all bits that do not
    disqualify a sample: ``quality & ~flag_conditions == 0`` selects the good ones.
    """
    own = sorted(flags, key=lambda flag: flag.bit)
    bits = [flag.bit for flag in own]
    if len(set(bits)) != len(bits):
        raise ValueError(f"instrument flags share a bit: {bits}")
    names = [q.name.lower() for q in Quality if q.name] + [flag.name for flag in own]
    if len(set(names)) != len(names):
        raise ValueError(f"flag names are not unique: {names}")
    masks = [int(q) for q in Quality] + [flag.mask for flag in own]
    sentences = [MEANINGS[q] for q in Quality] + [flag.meaning for flag in own]
    conditions = int(CONDITIONS) | sum(flag.mask for flag in own if flag.condition)
    return {
        "flag_masks": np.array(masks, DTYPE),
        "flag_meanings": " ".join(names),
        "flag_descriptions": "; ".join(f"{n}: {s}" for n, s in zip(names, sentences, strict=True)),
        "flag_conditions": DTYPE.type(conditions),
    }


def flag(where: NDArray[np.bool_] | np.bool_ | bool, mask: int) -> NDArray[np.uint32]:
    """Quality bits where a condition holds."""
    return np.where(where, np.uint32(mask), np.uint32(0))


def raised(quality: NDArray[np.uint32], mask: int) -> NDArray[np.bool_]:
    """Where any bit of `mask` is set."""
    return (quality & np.uint32(mask)) != 0
