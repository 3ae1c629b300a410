"""Which raw granules a folder holds for a pass, and which of them are used."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.clock import Sclk
from pipeline.errors import InputError
from pipeline.instrument import Granule, Instrument, RawFormat
from pipeline.passes import pass_of

# Seconds; an orbit has at most 53 days. What says it is longer has a damaged label.
LONGEST = 100 * 86400.0


@dataclass
class Discovery:
    """What was found: granules to use, and the others with the reason they are not used."""

    granules: list[Granule] = field(default_factory=list)
    superseded: list[dict[str, Any]] = field(default_factory=list)
    other_passes: list[dict[str, Any]] = field(default_factory=list)
    quarantined: list[dict[str, Any]] = field(default_factory=list)

    def of(self, format_name: str) -> list[Granule]:
        """Granules in one format, in time order."""
        return [g for g in self.granules if g.format == format_name]


def discover(folder: Path, instruments: Iterable[Instrument], pass_number: int, clock: Sclk) -> Discovery:
    """Find the granules of a pass below `folder`.

    A file belongs to the first format whose pattern its whole name matches and that can open it; a file that none can
    open is quarantined with its reason. Of several versions of one granule in one format the highest is used.

    Raises
    ------
    InputError
        if the folder does not exist.
    """
    if not folder.is_dir():
        raise InputError(folder, "there is no such folder of raw products")
    formats = [(re.compile(f.pattern, re.IGNORECASE), f) for i in instruments for f in i.formats]
    found = Discovery()
    best: dict[tuple[str, str], Granule] = {}
    for path in _files(folder):
        granule = _granule(path, [f for pattern, f in formats if pattern.fullmatch(path.name)], clock, found)
        if granule is None:
            continue
        if int(pass_of((granule.start + granule.stop) / 2)) != pass_number:
            found.other_passes.append({"path": str(path), "granule": granule.id})
        else:
            _keep_best(best, granule, found)
    found.granules = sorted(best.values(), key=lambda g: (g.instrument, g.format, g.start, g.id))
    return found


def _granule(path: Path, forms: Iterable[RawFormat], clock: Sclk, found: Discovery) -> Granule | None:
    """The granule a file stands for, in the first of the formats that can open it."""
    bad: list[dict[str, Any]] = []
    for form in forms:
        try:
            granule = form.open(path, clock)
            if not 0 < granule.stop - granule.start < LONGEST:
                raise InputError(path, f"covers {granule.stop - granule.start:.3f} s, which no granule does")
            for file in granule.files.values():
                with file.open("rb"):
                    pass
            return granule
        except InputError as error:
            reason = str(error)
        except OSError as error:
            reason = f"{error.filename}: cannot be read: {error.strerror}"
        except Exception as error:  # a defect of one reader must not take the other granules with it
            reason = f"{path}: the reader of {form.name} failed ({type(error).__name__}: {error})"
        bad.append({"path": str(path), "instrument": form.name.split(".")[0], "reason": reason})
    found.quarantined += bad[:1]
    return None


def _keep_best(best: dict[tuple[str, str], Granule], granule: Granule, found: Discovery) -> None:
    place = (granule.format, granule.id)
    other = best.get(place)
    if other is not None:
        rank = [(g.version, str(next(iter(g.files.values())))) for g in (other, granule)]
        best[place], loser = (granule, other) if rank[1] > rank[0] else (other, granule)
        found.superseded.append(
            {
                "granule": loser.id,
                "version": loser.version,
                "by": best[place].version,
                "path": str(next(iter(loser.files.values()))),
            }
        )
    else:
        best[place] = granule


def _files(folder: Path) -> Iterator[Path]:
    """All regular files below a folder in sorted order; links that lead out of it are not followed."""
    root = folder.resolve()
    for where, folders, names in os.walk(root):
        folders.sort()
        for name in sorted(names):
            path = Path(where) / name
            if path.is_file() and path.resolve().is_relative_to(root):
                yield path
