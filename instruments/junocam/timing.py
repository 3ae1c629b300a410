"""The archive's list of images whose start times it checked by the limb: EXTRAS/EDR_TIMING_OFFSETS.TXT of a volume.

START_TIME holds the offset already (TIMING_OFFSETS_DESCRIPTION.TXT beside the list), so nothing is applied here: the
list says how far a start time is to be trusted. Of its columns the product and the last one are read: pixels, of which
311.2 make a second; 0 where none were needed; NULL where the limb did not tell. Images off the swath are not in it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from pipeline.errors import InputError

State = Literal["no list", "not listed", "not needed", "corrected", "undetermined"]

PIXELS_PER_SECOND = 311.2
# Folders from a label up to its volume: DATA/EDR/JUPITER/ORBIT_nn and one more.
DEEPEST = 6


def timing_list(label: Path, kind: str) -> Path | None:
    """The list of the volume a label lies in; `kind` is ``E`` or ``R``."""
    names = [Path(folder) / f"{kind}DR_TIMING_OFFSETS.TXT" for folder in ("EXTRAS", "extras")]
    places = (parent / name for parent in label.resolve().parents[:DEEPEST] for name in names)
    return next((place for place in places if place.is_file()), None)


def timing_of(path: Path | None, image: str) -> tuple[State, float]:
    """What a list says of an image, and the offset in its start time, s; NaN where there is none.

    Parameters
    ----------
    image : name of the EDR without the archive's version, also for an RDR.

    Raises
    ------
    InputError
        if the image's line ends in neither a number nor NULL.
    """
    if path is None:
        return "no list", float("nan")
    named = re.compile(rf"\bJNC[ER]_{image.removeprefix('JNCE_')}_V\d\d\b", re.IGNORECASE)
    for number, line in enumerate(path.read_text("latin-1").splitlines(), 1):
        if not named.search(line):
            continue
        last = re.split(r"[\s,;|]+", line.strip().rstrip(",;|"))[-1].strip('"')
        if last.upper() == "NULL":
            return "undetermined", float("nan")
        try:
            offset = float(last) / PIXELS_PER_SECOND
        except ValueError:
            raise InputError(path, f"{last!r} is neither a number of pixels nor NULL", f"line {number}") from None
        return ("corrected" if offset else "not needed"), offset
    return "not listed", float("nan")
