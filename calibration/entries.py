"""Which file of a table holds when: the entries of a context's document, their intervals, and cutting one in."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from calibration.files import read_yaml
from pipeline.clock import Span, format_utc, parse_utc
from pipeline.errors import CalibrationError

ALWAYS = Span(-math.inf, math.inf)


@dataclass(frozen=True)
class Entry:
    """A table and when it holds; `hash` is what a certified context says of it."""

    span: Span
    path: Path
    hash: str | None = None


def of_folder(instrument: str, folder: Path) -> dict[str, tuple[Entry, ...]]:
    """Entries that the ``context.yaml`` of an instrument's folder says; raises CalibrationError."""
    path = folder / "context.yaml"
    entries = entries_of(path, read_yaml(path), lambda e: (folder / str(e["file"]), None), "file")
    return {f"{instrument}.{name}": chosen for name, chosen in entries.items()}


def entries_of(path: Path, document: dict[str, Any], place: Any, key: str) -> dict[str, tuple[Entry, ...]]:
    """Entries of a context's document, sorted; raises CalibrationError for what is malformed or overlaps."""
    tables = document.get("tables")
    if not isinstance(tables, dict) or not all(isinstance(chosen, list) and chosen for chosen in tables.values()):
        raise CalibrationError(f"{path}: tables: a mapping of names to lists of entries is expected")
    found = {}
    for name, chosen in tables.items():
        where = f"{path}, table {name}"
        entries = []
        for entry in chosen:
            if (
                not isinstance(entry, dict)
                or not isinstance(entry.get(key), str)
                or set(entry) - {key, "start", "stop"}
            ):
                raise CalibrationError(f"{where}: {entry!r}: {key}, start and stop are expected")
            try:
                entries.append(Entry(span_of(entry.get("start"), entry.get("stop")), *place(entry)))
            except CalibrationError as error:
                raise CalibrationError(f"{where}: {error}") from error
        entries.sort(key=lambda e: e.span)
        for a, b in itertools.pairwise(entries):
            if a.span.stop > b.span.start:
                raise CalibrationError(f"{where}: one holds {text_of(a.span)}, another {text_of(b.span)}")
        found[str(name)] = tuple(entries)
    return found


def cut_into(name: str, old: tuple[Entry, ...], new: Entry) -> tuple[Entry, ...]:
    """Entries with the new one cut into the one it lies in, or in a hole between them."""
    touched = [e for e in old if e.span.overlaps(new.span)]
    if touched and not (touched[0].span.start <= new.span.start and new.span.stop <= touched[0].span.stop):
        holds = " and ".join(text_of(e.span) for e in touched)
        raise CalibrationError(
            f"table {name} cannot hold {text_of(new.span)}: the base has one that holds {holds}; "
            "certify it for each of these, or for what they leave free, by itself"
        )
    rest = [e for e in old if e not in touched]
    for e in touched:
        for start, stop in ((e.span.start, new.span.start), (new.span.stop, e.span.stop)):
            if start < stop:
                rest.append(Entry(Span(start, stop), e.path, e.hash))
    return tuple(sorted([*rest, new], key=lambda e: e.span))


def span_of(start: Any, stop: Any) -> Span:
    """Interval between two UTC texts, None for no end."""
    ends = []
    for text, open_end in ((start, -math.inf), (stop, math.inf)):
        try:
            if text is not None and not isinstance(text, str):
                raise ValueError("UTC text is expected")
            ends.append(open_end if text is None else float(parse_utc(text)))
        except ValueError as error:
            raise CalibrationError(f"{text!r}: {error}") from error
    if not ends[0] < ends[1]:
        raise CalibrationError(f"it ends ({stop}) before it begins ({start})")
    return Span(*ends)


def utc_of(et: float) -> str | None:
    """UTC text of an end of an interval, None for none."""
    # Microseconds are ten times coarser than et in a float: text and et give each other back.
    return str(format_utc(et, 6)) if math.isfinite(et) else None


def text_of(span: Span) -> str:
    """An interval as people read it: ``from ... until ...``."""
    start, stop = utc_of(span.start), utc_of(span.stop)
    if start is None and stop is None:
        return "always"
    return " ".join(([f"from {start}"] if start else []) + ([f"until {stop}"] if stop else []))
