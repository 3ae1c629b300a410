"""Opened granules, remembered: labels are parsed once, not in every plan.

An entry of the catalogue holds while every file of the granule and their folders are the ones it was made from (inode,
size, times), and so are the reader's code and the clock. It is only a shortcut: what is not there is opened. That a
file is another format's is remembered as well; other refusals are not, since they may be about files beside it.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from pipeline.clock import Sclk
from pipeline.errors import OtherFormatError
from pipeline.instrument import Granule, RawFormat
from pipeline.runs.fingerprint import sources
from pipeline.runs.store import Store


class Opener:
    """Opens granules, by what the store remembers of them where that still holds."""

    def __init__(self, store: Store, clock: Sclk) -> None:
        self.store, self.clock = store, clock
        arrays = (clock.partitions, clock.ticks, clock.tdt, clock.rates)
        self._clock = hashlib.sha256(b"".join(a.tobytes() for a in arrays)).hexdigest()
        self._known = store.remembered_granules()
        self._new: dict[tuple[bytes, str], str] = {}
        self._stamps: dict[str, list[int] | None] = {}

    def open(self, form: RawFormat, path: Path) -> Granule:
        """The granule a file stands for in a format; raises what the format's reader raises."""
        place = (os.fsencode(path), form.name)
        found = self._remembered(self._known.get(place), form, path)
        if found is None:
            self._stamp(path)  # before it is read: a file that changes meanwhile is not what was remembered
            try:
                found = form.open(path, self.clock)
            except OtherFormatError as error:
                found = error
            entry = self._entry(form, path, found)
            if entry is not None:
                self._new[place] = json.dumps(entry)
        if isinstance(found, OtherFormatError):
            raise found
        return found

    def remember(self) -> None:
        """Keep what was opened, if the store can be written."""
        if self._new and self.store.writable:
            self.store.remember_granules(self._new)
            self._new = {}

    def _remembered(self, text: str | None, form: RawFormat, path: Path) -> Granule | OtherFormatError | None:
        if text is None:
            return None
        try:
            entry = json.loads(text)
            if entry["code"] != sources(form.name.split(".")[0]) or entry["clock"] != self._clock:
                return None
            if any(self._stamp(Path(name)) != stamp for name, stamp in entry["stamps"].items()):
                return None
            return OtherFormatError(path, entry["refused"]) if "refused" in entry else _decoded(entry["granule"])
        except (ValueError, KeyError, TypeError, AttributeError):
            return None  # a damaged entry is none

    def _entry(self, form: RawFormat, path: Path, found: Granule | OtherFormatError) -> dict[str, Any] | None:
        files = {path} if isinstance(found, OtherFormatError) else {path, *found.files.values()}
        stamps = {str(p): self._stamp(p) for p in sorted(files | {f.parent for f in files})}
        entry: dict[str, Any] = {"code": sources(form.name.split(".")[0]), "clock": self._clock, "stamps": stamps}
        if isinstance(found, OtherFormatError):
            return entry | {"refused": found.reason}
        try:
            encoded = json.loads(json.dumps(_encoded(found)))
            if _decoded(encoded) != found:
                return None
        except (TypeError, ValueError):
            return None  # its meta holds what is no plain value
        return entry | {"granule": encoded}

    def _stamp(self, path: Path) -> list[int] | None:
        """Inode, size and times of a file or folder, looked at once: a thousand granules share theirs."""
        name = str(path)
        if name not in self._stamps:
            try:
                stat = path.stat()
                self._stamps[name] = [stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]
            except OSError:
                self._stamps[name] = None
        return self._stamps[name]


def _encoded(granule: Granule) -> dict[str, Any]:
    files = {role: str(path) for role, path in granule.files.items()}
    return vars(granule) | {"files": files, "meta": _plain(dict(granule.meta))}


def _decoded(entry: dict[str, Any]) -> Granule:
    files = {role: Path(path) for role, path in entry["files"].items()}
    return Granule(**(entry | {"files": files, "meta": _restored(entry["meta"])}))


def _plain(value: Any) -> Any:
    """JSON has no tuples: they are marked."""
    if isinstance(value, dict):
        return {name: _plain(v) for name, v in value.items()}
    if isinstance(value, tuple):
        return {"()": [_plain(v) for v in value]}
    return [_plain(v) for v in value] if isinstance(value, list) else value


def _restored(value: Any) -> Any:
    if isinstance(value, dict):
        if value.keys() == {"()"}:
            return tuple(_restored(v) for v in value["()"])
        return {name: _restored(v) for name, v in value.items()}
    return [_restored(v) for v in value] if isinstance(value, list) else value
