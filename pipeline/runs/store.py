"""The store: a folder whose files are the only state.

====================================  ==============================================================
``products/<type>/PJnn/<unit>/<key>.nc``  a product; it exists if and only if this file does
``geometry/PJnn/<hash>.nc``           geometry of a pass, by the hash of what it was made from
``tables/``, ``contexts/``            every calibration table ever read, certified contexts
``raw/<sha256>``                      raw files, where asked to keep them
``runs/<run>.json``                   append-only records of what was run
``work/<key>/``                       segments of products being made; removed when done
``catalogue.sqlite``                  an index of this host, rebuilt by scanning; never asked for existence
====================================  ==============================================================
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import StoreError, UsageError, nearest
from pipeline.runs.keys import file_sha256

KEY_DIGITS = 32


@dataclass(frozen=True)
class Identity:
    """What a product is, whatever its content: type, pass and unit; written ``mag.field/PJ01`` or with ``/unit``."""

    type: str
    pass_number: int
    unit: str = ""

    def __str__(self) -> str:
        head = f"{self.type}/PJ{self.pass_number:02d}"
        return f"{head}/{self.unit}" if self.unit else head

    @classmethod
    def parse(cls, text: str) -> Identity:
        """Identity from its text; raises UsageError."""
        parts = text.strip("/").split("/", 2)
        try:
            if len(parts) < 2 or not parts[1].upper().startswith("PJ"):
                raise ValueError
            return cls(parts[0], int(parts[1][2:]), parts[2] if len(parts) == 3 else "")
        except ValueError:
            raise UsageError(f"{text!r} is no product identity; one looks like mag.field/PJ01") from None


class Store:
    """The store at `root`, made if it does not exist; raises StoreError if it cannot be written."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        try:
            for folder in ("products", "geometry", "runs", "work"):
                (self.root / folder).mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.root / "work"):
                pass
        except OSError as error:
            raise StoreError(f"store {self.root} cannot be written: {error.strerror}") from error

    # Products

    def product_path(self, identity: Identity, key: str) -> Path:
        """Where the product of that identity and key is, or will be."""
        unit = identity.unit.replace("/", "_") or "pass"
        folder = self.root / "products" / identity.type / f"PJ{identity.pass_number:02d}" / unit
        return folder / f"{key[:KEY_DIGITS]}.nc"

    def work_folder(self, key: str) -> Path:
        """Folder for the segments of a product being made."""
        folder = self.root / "work" / key[:KEY_DIGITS]
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def products(self) -> Iterator[Path]:
        """All product files, sorted."""
        yield from sorted((self.root / "products").glob("*/PJ*/*/*.nc"))

    def find(self, name: str) -> Path:
        """Product file by identity (the newest run's), key (8 digits or more) or path; raises UsageError."""
        if name.endswith(".nc") and Path(name).exists():
            return Path(name).resolve()
        if "/" not in name and len(name) >= 8 and all(c in "0123456789abcdef" for c in name):
            found = sorted((self.root / "products").glob(f"*/PJ*/*/{name[:KEY_DIGITS]}*.nc"))
            if len(found) == 1:
                return found[0]
            raise UsageError(f"{'no product has' if not found else 'several products have'} a key that begins {name}")
        identity = str(Identity.parse(name))
        known: set[str] = set()
        for record in reversed(self.runs()):
            for product in record["products"]:
                known.add(product["identity"])
                if product["identity"] == identity and Path(product["path"] or "").exists():
                    return Path(product["path"])
        raise UsageError(
            f"no product {identity} in {self.root}; {nearest(identity, sorted(known)) if known else 'it is empty'}"
        )

    # Runs

    def write_run(self, record: dict[str, Any]) -> Path:
        """Append a run's record."""
        path = self.root / "runs" / f"{record['run']}.json"
        write_aside(path, json.dumps(record, indent=1).encode())
        return path

    def runs(self) -> list[dict[str, Any]]:
        """All run records, oldest first; raises StoreError on a damaged one."""
        records = []
        for path in sorted((self.root / "runs").glob("*.json")):
            try:
                records.append(json.loads(path.read_bytes()))
            except ValueError as error:
                raise StoreError(f"{path}: damaged run record ({error}); move it away to go on") from error
        return records

    def run(self, name: str | None) -> dict[str, Any]:
        """One run's record by name or unique beginning; the newest if None."""
        records = self.runs()
        if not records:
            raise UsageError(f"no run in {self.root} yet")
        if name is None:
            return records[-1]
        found = [r for r in records if r["run"].startswith(name)]
        if len(found) != 1:
            raise UsageError(f"no single run {name!r}; {nearest(name, [r['run'] for r in records])}")
        return found[0]

    def last_recipe(self, identity: Identity) -> dict[str, Any] | None:
        """Recipe of the product of that identity in the newest run that had it."""
        for record in reversed(self.runs()):
            for product in record["products"]:
                if product["identity"] == str(identity) and product.get("recipe"):
                    recipe: dict[str, Any] = product["recipe"]
                    return recipe
        return None

    @contextmanager
    def lease(self, pass_number: int) -> Iterator[None]:
        """Hold the pass for one run at a time; waits for another run to end."""
        path = self.root / "work" / f"PJ{pass_number:02d}.lease"
        with path.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.write(f"{os.getpid()}\n")
            file.flush()
            yield

    # Raw files

    def sha256(self, path: Path) -> str:
        """SHA-256 of a raw file, remembered by inode, size and times."""
        try:
            stat = path.stat()
        except OSError as error:
            raise StoreError(f"{path} cannot be read: {error.strerror}") from error
        identity = (str(path), stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
        with self._catalogue() as database:
            row = database.execute(
                "select sha256 from raw where path=? and inode=? and size=? and mtime=? and ctime=?", identity
            ).fetchone()
            if row:
                return str(row[0])
            digest = file_sha256(path)
            database.execute("insert or replace into raw values (?,?,?,?,?,?)", (*identity, digest))
            return digest

    def keep_raw(self, path: Path, sha256: str) -> None:
        """Copy a raw file into the store, once."""
        kept = self.root / "raw" / sha256
        if not kept.exists():
            kept.parent.mkdir(exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=kept.parent, delete=False) as aside, path.open("rb") as source:
                shutil.copyfileobj(source, aside)
            Path(aside.name).replace(kept)

    @contextmanager
    def _catalogue(self) -> Iterator[sqlite3.Connection]:
        path = self.root / "catalogue.sqlite"
        try:
            database = sqlite3.connect(path, timeout=60)
            try:
                database.execute(
                    "create table if not exists raw"
                    " (path text primary key, inode int, size int, mtime int, ctime int, sha256 text)"
                )
                yield database
                database.commit()
            finally:
                database.close()
        except sqlite3.DatabaseError as error:
            raise StoreError(f"{path}: {error}; it is only an index and may be deleted") from error

    # Housekeeping

    def size(self) -> dict[str, int]:
        """Bytes by folder."""
        total: dict[str, int] = {}
        for folder in sorted(p for p in self.root.iterdir() if p.is_dir()):
            total[folder.name] = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
        return total

    def garbage(self, keep_runs: int) -> list[Path]:
        """Product and geometry files that none of the newest `keep_runs` runs names, and abandoned work."""
        named = set()
        for record in self.runs()[-keep_runs:] if keep_runs else []:
            named.update(p["path"] for p in record["products"] if p["path"])
            named.add(record.get("geometry", ""))
        geometry = sorted((self.root / "geometry").glob("PJ*/*.nc"))
        unnamed = [p for p in [*self.products(), *geometry] if str(p) not in named]
        day_ago = time.time() - 86400
        abandoned = [p for p in (self.root / "work").iterdir() if p.is_dir() and p.stat().st_mtime < day_ago]
        return unnamed + abandoned

    def collect(self, keep_runs: int) -> tuple[int, int]:
        """Delete what `garbage` lists; returns the number of files and bytes freed."""
        count = freed = 0
        for path in self.garbage(keep_runs):
            files = [f for f in path.rglob("*") if f.is_file()] if path.is_dir() else [path]
            count, freed = count + len(files), freed + sum(f.stat().st_size for f in files)
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
        return count, freed


def write_aside(path: Path, content: bytes) -> None:
    """Write a file beside its place, sync it, and rename it there: it is whole or not there at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as aside:
        aside.write(content)
        aside.flush()
        os.fsync(aside.fileno())
    Path(aside.name).replace(path)
