"""The store: a folder whose files are the only state.

==========================================  ==============================================================
``products/<type>/PJnn/<unit>/<key>.nc``    a product; it exists if and only if this file does
``geometry/PJnn/<hash>.nc``                 geometry of a pass, by the hash of what it was made from
``pictures/PJnn/<look>-<unit>-<hash>.png``  quick looks of products, by what they were drawn from
``tables/``, ``contexts/``                  every calibration table ever read, certified contexts
``raw/<sha256>``                            raw files, where asked to keep them
``runs/<run>.json``                         append-only records of what was run
``logs/<run>.log``                          what happened in it, a JSON object per line
``reports/<run>/``                          pages of runs
``arrived/<delivery>/``                     raw data that arrived, as they came
``work/<key>/``                             segments of products being made; removed when done
``prefect/``                                Prefect's database, unless the user chose another place
``catalogue.sqlite``                        an index of this host, rebuilt by scanning; never asked for existence
==========================================  ==============================================================
"""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import InputError, StoreError, UsageError, nearest
from pipeline.files import copy_checked, file_sha256, locked, write_aside

KEY_DIGITS = 32
# Folder of the pictures, and their name in what is told of progress.
PICTURES = "pictures"
# Seconds after which a file that has not got its name will never get it.
UNFINISHED = 86400.0
_CATALOGUE = (
    "raw (path text primary key, inode int, size int, mtime int, ctime int, sha256 text)",
    "granule (path blob, format text, entry text, primary key (path, format))",
)


def default_store() -> Path:
    """The store when none is named: ``PERIJOVE_STORE``, else ``perijove-store`` in the working folder."""
    return Path(os.environ.get("PERIJOVE_STORE", "perijove-store"))


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
    """The store at `root`. Nothing is written before `prepare`; one that is not there reads as an empty one."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        if self.root.exists() and not self.root.is_dir():
            raise StoreError(f"store {self.root} cannot be written or read: it is no folder")
        self.writable = False
        self._hashes: dict[tuple[bytes, int, int, int, int], str] = {}

    def prepare(self) -> Store:
        """Make the store, or see that it can be written; raises StoreError if not."""
        try:
            for folder in ("products", "geometry", "runs", "logs", "work"):
                (self.root / folder).mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.root / "work"):
                pass
        except OSError as error:
            raise StoreError(f"store {self.root} cannot be written: {error.strerror}") from error
        self.writable = True
        return self

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
        identity = Identity.parse(name)
        known: set[str] = set()
        for record in self.runs():
            for product in record["products"]:
                known.add(product["identity"])
                if product["identity"] == str(identity) and product["key"]:
                    path = self.product_path(identity, product["key"])
                    if path.exists():
                        return path
        there = nearest(str(identity), sorted(known), "perijove list products")
        raise UsageError(f"no product {identity} in {self.root}; {there if known else 'nothing was made there yet'}")

    # Runs

    def write_run(self, record: dict[str, Any]) -> Path:
        """Append a run's record."""
        path = self.root / "runs" / f"{record['run']}.json"
        write_aside(path, json.dumps(record, indent=1).encode())
        return path

    def runs(self) -> Iterator[dict[str, Any]]:
        """All run records, newest first; raises StoreError on a damaged one."""
        for path in sorted((self.root / "runs").glob("*.json"), reverse=True):
            yield self._read_run(path)

    def _read_run(self, path: Path) -> dict[str, Any]:
        try:
            record: dict[str, Any] = json.loads(path.read_bytes())
            for product in record["products"]:
                # A store may have been moved since.
                identity = Identity.parse(product["identity"])
                product["path"] = str(self.product_path(identity, product["key"])) if product["key"] else None
            for picture in record.setdefault("pictures", []):
                picture["path"] = str(self.root.joinpath(*Path(picture["path"]).parts[-3:]))
        except (OSError, ValueError, KeyError, TypeError, UsageError) as error:
            raise StoreError(f"{path}: damaged run record ({error}); move it away to go on") from error
        return record

    def run(self, name: str | None) -> dict[str, Any]:
        """One run's record by name or unique beginning; the newest if None."""
        names = sorted(path.stem for path in (self.root / "runs").glob("*.json"))
        if not names:
            raise UsageError(f"no run in {self.root} yet")
        found = [n for n in names if n == name] or [n for n in names if name is None or n.startswith(name)]
        if name is not None and len(found) != 1:
            which = "several runs begin" if found else "no run begins"
            raise UsageError(f"{which} with {name!r}; {nearest(name, names, 'perijove list runs')}")
        return self._read_run(self.root / "runs" / f"{found[-1]}.json")

    def last_recipes(self) -> dict[str, dict[str, Any]]:
        """Recipe of the product each identity had last, by identity."""
        keys: dict[str, str] = {}
        recipes: dict[str, dict[str, Any]] = {}
        for record in self.runs():
            for product in record["products"]:
                if product["status"] in ("made", "kept"):
                    keys.setdefault(product["identity"], product["key"])
                if product.get("recipe"):  # only what a run made it says in full
                    recipes[product["key"]] = product["recipe"]
        return {identity: recipes[key] for identity, key in keys.items() if key in recipes}

    @contextmanager
    def lease(self, pass_number: int, waiting: Callable[[str], None] = lambda holder: None) -> Iterator[None]:
        """Hold the pass for one run at a time; calls `waiting` with the other run's process, and waits for its end."""
        name = f"PJ{pass_number:02d}"
        with self.locked(name, waiting):
            for pattern in ("products/*/{}/*/.*.part", "geometry/{}/.*.part", "pictures/{}/.*.part"):
                for left in self.root.glob(pattern.format(name)):
                    left.unlink()  # by a run that was killed
            yield

    @contextmanager
    def locked(self, name: str, waiting: Callable[[str], None] = lambda holder: None) -> Iterator[None]:
        """Hold a lock of that name, which ends with the process; garbage is not collected meanwhile."""
        with locked(self.root / "work" / f"{name}.lease", waiting):
            yield

    # Raw files

    def sha256(self, path: Path) -> str:
        """SHA-256 of a raw file, remembered by inode, size and times; raises InputError if it cannot be read."""
        try:
            stat = path.stat()
        except OSError as error:
            raise InputError(path, f"cannot be read: {error.strerror}") from error
        identity = (os.fsencode(path), stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
        if identity not in self._hashes:
            self._hashes[identity] = self._remembered(identity) or file_sha256(path)
            self._remember(identity, self._hashes[identity])
        return self._hashes[identity]

    def keep_raw(self, path: Path, sha256: str) -> None:
        """Copy a raw file into the store, once; raises InputError if it is no longer the one with that hash."""
        kept = self.root / "raw" / sha256
        if not kept.exists():
            copy_checked(path, kept, sha256)

    def _remembered(self, identity: tuple[bytes, int, int, int, int]) -> str | None:
        question = "select sha256 from raw where path=? and inode=? and size=? and mtime=? and ctime=?"
        rows = self._catalogue(lambda database: database.execute(question, identity).fetchall())
        return str(rows[0][0]) if rows else None

    def _remember(self, identity: tuple[bytes, int, int, int, int], digest: str) -> None:
        if self.writable:
            row = (*identity, digest)
            self._catalogue(lambda database: database.execute("insert or replace into raw values (?,?,?,?,?,?)", row))

    def remembered_granules(self) -> dict[tuple[bytes, str], str]:
        """What `pipeline.runs.granules` remembers, by path and format."""
        rows = self._catalogue(lambda database: database.execute("select * from granule").fetchall())
        return {(path, form): entry for path, form, entry in rows or ()}

    def remember_granules(self, entries: dict[tuple[bytes, str], str]) -> None:
        """Keep entries of `pipeline.runs.granules`."""
        rows = [(*place, entry) for place, entry in entries.items()]
        self._catalogue(lambda database: database.executemany("insert or replace into granule values (?,?,?)", rows))

    def _catalogue(self, ask: Callable[[sqlite3.Connection], Any]) -> Any:
        """What the catalogue says, None if nothing. A damaged one is only an index: it is put away and begun anew."""
        path = self.root / "catalogue.sqlite"
        if not self.writable and not path.exists():
            return None
        try:
            return self._ask(path, ask)
        except sqlite3.OperationalError:
            return None  # locked too long, not writable, or without the table: go on without
        except sqlite3.DatabaseError:
            if not self.writable:
                return None
            path.unlink(missing_ok=True)
            return self._ask(path, ask)

    def _ask(self, path: Path, ask: Callable[[sqlite3.Connection], Any]) -> Any:
        with closing(sqlite3.connect(path, timeout=60)) as database, database:
            if self.writable:
                database.execute("pragma synchronous = off")
                for table in _CATALOGUE:
                    database.execute(f"create table if not exists {table}")
            return ask(database)

    # Housekeeping

    def size(self) -> dict[str, int]:
        """Bytes by folder."""
        total: dict[str, int] = {}
        for folder in sorted(p for p in self.root.glob("*") if p.is_dir()):
            total[folder.name] = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
        return total

    def garbage(self, keep_runs: int) -> list[Path]:
        """Products, pictures and geometry that none of the newest `keep_runs` runs names, and what is unfinished."""
        named: set[str] = set()
        for record in itertools.islice(self.runs(), keep_runs):
            named.update(p["path"] for p in (*record["products"], *record["pictures"]) if p["path"])
            named.add(str(self.root / record["geometry"]) if record["geometry"] else "")
        geometry = sorted((self.root / "geometry").glob("PJ*/*.nc"))
        pictures = sorted((self.root / PICTURES).glob("PJ*/[!.]*"))
        unnamed = [p for p in [*self.products(), *geometry] if str(p) not in named]
        unnamed += [p for p in pictures if str(p.with_suffix(".png")) not in named]
        work = sorted((self.root / "work").glob("*/"))
        parts = [p for p in self.root.rglob(".*.part") if not p.is_relative_to(self.root / "work")]
        # A younger one may be on its way: pages and tables are written without a lease.
        return unnamed + work + sorted(p for p in parts if time.time() - p.stat().st_mtime > UNFINISHED)

    def collect(self, keep_runs: int) -> tuple[int, int]:
        """Delete what `garbage` lists; returns the number of files and bytes freed.

        Raises
        ------
        StoreError
            while a run goes on: what it made is not in any record yet.
        """
        with ExitStack() as leases:
            for path in sorted((self.root / "work").glob("*.lease")):
                file = leases.enter_context(path.open("a"))
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise StoreError(f"a run of {path.stem} goes on in {self.root}: try again after it") from None
            count = freed = 0
            for path in self.garbage(keep_runs):
                files = [f for f in path.rglob("*") if f.is_file()] if path.is_dir() else [path]
                count, freed = count + len(files), freed + sum(f.stat().st_size for f in files)
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink()
        return count, freed
