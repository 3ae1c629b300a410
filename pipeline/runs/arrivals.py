"""Raw data as they arrive: taken when whole, kept for ever, each delivery a folder of its own in the store.

Files appear in a folder as whoever delivers them pleases: bit by bit, labels before data, late, twice, replaced,
damaged. A granule is taken when all its files are there and at rest, its reader opens it, and every checksum that came
with it agrees: of a manifest (lines of MD5 or SHA-256 and a path, as ``md5sum`` writes them) or of its label
(``MD5_CHECKSUM``, ``<md5_checksum>``). Taking is copying into ``arrived/000001/``, ``arrived/000002/``, ... with the
paths it came under. So a replacement stands beside what it replaces, and discovery takes the later of two deliveries
of one version; what came twice the same is not taken again.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import re
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import registry
from pipeline.clock import Sclk
from pipeline.errors import InputError, StoreError
from pipeline.files import copy_checked, write_aside
from pipeline.instrument import Granule
from pipeline.passes import pass_of
from pipeline.runs.discover import files_below, open_granule, patterns
from pipeline.runs.granules import Opener
from pipeline.runs.store import Store

FOLDER = "arrived"
RECORD = "delivery.json"
REFUSED = "refused.json"
# What labels point at for the layout of their tables comes along with every granule of its tree.
LAYOUTS = (".FMT",)
_MANIFEST = re.compile(r".*(?:md5|sha256|checksum|manifest).*\.(?:txt|tab|lst|md5|sha256)|.*\.(?:md5|sha256)", re.I)
_LINE = re.compile(r"\s*([0-9a-fA-F]{32}|[0-9a-fA-F]{64})[\s,]+\*?(\S.*?)\s*")
_IN_LABEL = re.compile(rb"MD5_CHECKSUM\s*=\s*\"?([0-9a-fA-F]{32})|<md5_checksum>\s*([0-9a-fA-F]{32})\s*</md5_checksum>")
_LABEL_BYTES = 1 << 20

Stamp = tuple[int, int, int]


@dataclass(frozen=True)
class Delivery:
    """What was taken at one time.

    Parameters
    ----------
    number : of the folder below ``arrived``.
    passes : to which its granules belong.
    granules : as its record lists them.
    taken : UTC.
    """

    number: int
    passes: tuple[int, ...]
    granules: list[dict[str, Any]]
    taken: datetime.datetime


class Arrivals:
    """The watch on a folder; `look` at it from time to time.

    Parameters
    ----------
    patience : seconds that files at rest may be incomplete before they are given up and reported; they are still taken
        if they become whole later.
    """

    def __init__(self, folder: Path, store: Store, clock: Sclk, patience: float = 86400.0) -> None:
        if not folder.is_dir():
            raise InputError(folder, "there is no such folder of arrivals")
        self.folder, self.store, self.clock, self.patience = folder.resolve(), store, clock, patience
        self.refused: dict[Path, str] = {}
        self._seen: dict[Path, Stamp] = {}
        self._bad: dict[Path, tuple[Stamp, float]] = {}
        self._digests: dict[tuple[Path, str], tuple[Stamp, str]] = {}
        self._known = {_content(g) for d in deliveries(store) for g in d.granules}

    def look(self) -> Delivery | None:
        """Take what is whole and has not changed since the last look; None if there is nothing new."""
        before, self._seen = self._seen, {p: s for p in files_below(self.folder) if (s := _stamp(p))}
        resting = {p for p, s in self._seen.items() if before.get(p) == s}
        self.refused = {}
        sums = self._manifests(resting)
        whole = [g for g in self._granules(resting) if self._agrees(g, sums)]
        new = [g for g in whole if _content(self._described(g)) not in self._known]
        return self._take(new) if new else None

    def _granules(self, resting: set[Path]) -> Iterator[Granule]:
        """Granules that can be opened, with all files at rest; others are refused when patience is at an end."""
        opener = Opener(self.store, self.clock)
        forms = patterns(registry.available())
        for path in sorted(resting):
            known = [f for p, f in forms if p.fullmatch(path.name)]
            if not known:
                continue
            granule, bad = open_granule(path, self.folder, known, opener)
            if granule is None:
                self._wait(path, bad[0]["reason"])
            elif {f.resolve() for f in granule.files.values()} <= resting:
                self._bad.pop(path, None)
                yield granule
        opener.remember()

    def _wait(self, path: Path, reason: str) -> None:
        """Note that a file is not whole: it may be on its way, until it has rested for too long."""
        stamp, now = self._seen[path], time.monotonic()
        since = self._bad[path][1] if path in self._bad and self._bad[path][0] == stamp else now
        self._bad[path] = (stamp, since)
        if now - since >= self.patience:
            self.refused[path] = reason

    def _manifests(self, resting: set[Path]) -> dict[Path, str]:
        """Checksums by file, of all manifests at rest."""
        sums: dict[Path, str] = {}
        for path in sorted(p for p in resting if _MANIFEST.fullmatch(p.name)):
            for number, line in enumerate(path.read_text("utf-8", "replace").splitlines(), 1):
                match = _LINE.fullmatch(line)
                if match is None:
                    continue
                # Relative to the manifest, or to the top of the delivery.
                places = [(base / match[2]).resolve() for base in (path.parent, self.folder)]
                inside = [p for p in places if p.is_relative_to(self.folder)]
                if not inside:
                    self.refused[path] = f"{path}, line {number}: {match[2]!r} lies outside the folder"
                    continue
                sums[next((p for p in inside if p.is_file()), inside[0])] = match[1].lower()
        return sums

    def _agrees(self, granule: Granule, sums: dict[Path, str]) -> bool:
        """Whether all checksums that are known of a granule's files are theirs."""
        expected = {f.resolve(): sums[f.resolve()] for f in granule.files.values() if f.resolve() in sums}
        expected = _label_sum(granule) | expected
        for path, digest in expected.items():
            found = self._digest(path, "md5" if len(digest) == 32 else "sha256")
            if found != digest:
                self.refused[path] = f"{path}: damaged, its checksum is {found}, {digest} was delivered with it"
                return False
        return True

    def _digest(self, path: Path, name: str) -> str:
        """A file's digest, reckoned once: every look asks for that of all files that are there."""
        stamp, found = self._digests.get((path, name), (None, ""))
        if stamp != self._seen[path]:
            with path.open("rb") as file:
                found = hashlib.file_digest(file, name).hexdigest()
            self._digests[path, name] = (self._seen[path], found)
        return found

    def _described(self, granule: Granule) -> dict[str, Any]:
        files = {
            role: {"path": str(f.resolve().relative_to(self.folder)), "sha256": self.store.sha256(f)}
            for role, f in granule.files.items()
        }
        middle = (granule.start + granule.stop) / 2
        return {
            "granule": granule.id,
            "format": granule.format,
            "version": granule.version,
            "pass": int(pass_of(middle)),
            "files": files,
        }

    def _take(self, granules: list[Granule]) -> Delivery:
        """Copy granules into a new folder of the store: whole, or not at all."""
        described = [self._described(g) for g in granules]
        aside = self.store.root / "work" / f"arrival-{secrets.token_hex(4)}"
        root = self.store.root / FOLDER
        with self.store.locked("arrivals"):
            for left in self.store.root.glob("work/arrival-*"):
                shutil.rmtree(left)  # by a process that was killed
            number = max((d.number for d in deliveries(self.store)), default=0) + 1
            known = {(g["format"], g["granule"]) for d in deliveries(self.store) for g in d.granules}
            for entry in described:
                entry["replaces"] = (entry["format"], entry["granule"]) in known
            taken = datetime.datetime.now(datetime.UTC)
            record = {
                "delivery": number,
                "taken": taken.isoformat(timespec="seconds"),
                "from": str(self.folder),
                "granules": described,
            }
            try:
                for path, digest in self._files(described).items():
                    copy_checked(self.folder / path, aside / path, digest)
                write_aside(aside / RECORD, json.dumps(record, indent=1).encode())
                root.mkdir(exist_ok=True)
                aside.rename(root / f"{number:06d}")
            except OSError as error:
                raise StoreError(f"{root} cannot be written: {error.strerror}") from error
            finally:
                shutil.rmtree(aside, ignore_errors=True)
        self._known |= {_content(g) for g in described}
        return Delivery(number, tuple(sorted({g["pass"] for g in described})), described, taken)

    def _files(self, described: Iterable[dict[str, Any]]) -> dict[str, str]:
        """Files to copy with their hashes: those of the granules, and the layouts of tables near them."""
        files = {f["path"]: f["sha256"] for g in described for f in g["files"].values()}
        tops = {Path(p).parts[0] for p in files}
        for path in self._seen:
            relative = path.relative_to(self.folder)
            near = relative.parts[0] in tops or len(relative.parts) == 1
            if near and path.suffix.upper() in LAYOUTS:
                files.setdefault(str(relative), self.store.sha256(path))
        return files


def _stamp(path: Path) -> Stamp | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def _content(described: dict[str, Any]) -> tuple[Any, ...]:
    """What makes a delivery of a granule the same as another one, wherever it lies."""
    hashes = tuple(sorted(f["sha256"] for f in described["files"].values()))
    return described["format"], described["granule"], described["version"], hashes


def _label_sum(granule: Granule) -> dict[Path, str]:
    """The checksum that a granule's detached label has of its data."""
    label, data = granule.files.get("label"), granule.files.get("data")
    if label is None or data is None or label == data:
        return {}
    with label.open("rb") as file:
        found = _IN_LABEL.findall(file.read(_LABEL_BYTES))
    return {data.resolve(): (found[0][0] or found[0][1]).decode().lower()} if len(found) == 1 else {}


def deliveries(store: Store) -> list[Delivery]:
    """All deliveries in a store, in order; raises StoreError for a damaged record."""
    found = []
    for path in sorted((store.root / FOLDER).glob(f"[0-9]*/{RECORD}")):
        try:
            record = json.loads(path.read_bytes())
            granules = record["granules"]
            passes = tuple(sorted({g["pass"] for g in granules}))
            taken = datetime.datetime.fromisoformat(record["taken"])
            found.append(Delivery(int(record["delivery"]), passes, granules, taken))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{path}: damaged record of a delivery ({error})") from error
    return found


def newest(store: Store, pass_number: int) -> int:
    """Number of the newest delivery for a pass; 0 if there is none."""
    return max((d.number for d in deliveries(store) if pass_number in d.passes), default=0)


def last_arrival(store: Store, pass_number: int) -> datetime.datetime | None:
    """When something arrived last for a pass."""
    return max((d.taken for d in deliveries(store) if pass_number in d.passes), default=None)


def refused(store: Store) -> list[dict[str, str]]:
    """What the last watch did not take: ``[{"path", "reason"}]``."""
    path = store.root / FOLDER / REFUSED
    try:
        told: list[dict[str, str]] = json.loads(path.read_bytes()) if path.exists() else []
    except ValueError as error:
        raise StoreError(f"{path}: damaged ({error}); delete it to go on") from error
    return told


def tell_refused(store: Store, reasons: dict[Path, str]) -> None:
    """Write down what is not taken, for `refused`."""
    document = [{"path": str(path), "reason": reason} for path, reason in sorted(reasons.items())]
    write_aside(store.root / FOLDER / REFUSED, json.dumps(document, indent=1).encode())
