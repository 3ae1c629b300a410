"""Which raw granules a folder holds for a pass, and which of them are used."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.errors import InputError
from pipeline.instrument import Granule, Instrument, RawFormat
from pipeline.passes import pass_of
from pipeline.runs.granules import Opener

# Seconds; an orbit has at most 53 days. What says it is longer has a damaged label.
LONGEST = 100 * 86400.0


@dataclass
class Discovery:
    """What was found: granules to use, and the others with the reason they are not used.

    `versions` has those that others supersede, by format and identity, the best last.
    """

    granules: list[Granule] = field(default_factory=list)
    superseded: list[dict[str, Any]] = field(default_factory=list)
    other_passes: list[dict[str, Any]] = field(default_factory=list)
    quarantined: list[dict[str, Any]] = field(default_factory=list)
    versions: dict[tuple[str, str], list[Granule]] = field(default_factory=dict)

    def set_aside(self, granule: Granule, path: str, reason: str | None) -> bool:
        """Quarantine a granule that could not be read; True if its next best version stands in its place now."""
        place = (granule.format, granule.id)
        if granule in self.granules:
            self.granules.remove(granule)
            self.quarantined.append({"path": path, "instrument": granule.instrument, "reason": reason})
            if self.versions.get(place):
                next_best = self.versions[place].pop()
                self.granules = sorted([*self.granules, next_best], key=_order)
                self.superseded = [s for s in self.superseded if s["path"] != _data(next_best)]
        return any((g.format, g.id) == place for g in self.granules)

    def of(self, format_name: str) -> list[Granule]:
        """Granules in one format, in time order."""
        return [g for g in self.granules if g.format == format_name]


def discover(folder: Path, instruments: Iterable[Instrument], pass_number: int, opener: Opener) -> Discovery:
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
    found = Discovery()
    forms = patterns(instruments)
    for path in files_below(folder):
        granule, bad = open_granule(path, folder, [f for p, f in forms if p.fullmatch(path.name)], opener)
        found.quarantined += bad[:1] if granule is None else []
        if granule is None:
            continue
        if int(pass_of((granule.start + granule.stop) / 2)) != pass_number:
            found.other_passes.append({"path": str(path), "granule": granule.id})
        else:
            found.versions.setdefault((granule.format, granule.id), []).append(granule)
    opener.remember()
    for versions in found.versions.values():
        versions.sort(key=lambda g: (g.version, _data(g)))
        found.granules.append(versions.pop())
        found.superseded += [_superseded(g, found.granules[-1]) for g in versions]
    found.granules.sort(key=_order)
    return found


def patterns(instruments: Iterable[Instrument]) -> list[tuple[re.Pattern[str], RawFormat]]:
    """The formats of instruments with the names of their files."""
    return [(re.compile(f.pattern, re.IGNORECASE), f) for i in instruments for f in i.formats]


def open_granule(
    path: Path, root: Path, forms: Iterable[RawFormat], opener: Opener
) -> tuple[Granule | None, list[dict[str, Any]]]:
    """The granule a file stands for, in the first of the formats that can open it, and why the others could not."""
    bad: list[dict[str, Any]] = []
    for form in forms:
        try:
            granule = opener.open(form, path)
            if not 0 < granule.stop - granule.start < LONGEST:
                raise InputError(path, f"covers {granule.stop - granule.start:.3f} s, which no granule does")
            for file in granule.files.values():
                if not file.resolve().is_relative_to(root.resolve()):
                    raise InputError(path, f"names {file}, which lies outside the folder of raw products")
                with file.open("rb"):
                    pass
            return granule, bad
        except InputError as error:
            reason = str(error)
        except OSError as error:
            reason = f"{error.filename}: cannot be read: {error.strerror}"
        except Exception as error:  # a defect of one reader must not take the other granules with it
            reason = f"{path}: the reader of {form.name} failed ({type(error).__name__}: {error})"
        bad.append({"path": str(path), "instrument": form.name.split(".")[0], "reason": reason})
    return None, bad


def _data(granule: Granule) -> str:
    return str(next(iter(granule.files.values())))


def _order(granule: Granule) -> tuple[Any, ...]:
    return granule.instrument, granule.format, granule.start, granule.id


def _superseded(granule: Granule, better: Granule) -> dict[str, Any]:
    return {"granule": granule.id, "version": granule.version, "by": better.version, "path": _data(granule)}


def files_below(folder: Path) -> Iterator[Path]:
    """All regular files below a folder in sorted order; links that lead out of it are not followed."""
    root = folder.resolve()
    for where, folders, names in os.walk(root):
        folders.sort()
        for name in sorted(names):
            path = Path(where) / name
            if path.is_file() and path.resolve().is_relative_to(root):
                yield path
