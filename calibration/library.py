"""Which table holds when: contexts of the package and of a store, overrides, certification.

A folder of tables says in its ``context.yaml`` which table holds when; both ends may be left out, for always and ever::

    tables:
      gain:
      - file: gain_cruise.yaml
        stop: '2016-07-05T00:00:00'    # UTC; the first time at which it holds no longer
      - file: gain.yaml
        start: '2016-07-05T00:00:00'

All folders together are the context ``default``. A certified context stands in the store's ``contexts`` under its own
hash; it names every table, as ``instrument.name``, by hash, and all of them are kept in the store's ``tables``.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from calibration.entries import ALWAYS, Entry, cut_into, entries_of, of_folder, span_of, text_of, utc_of
from calibration.files import array_files, read_yaml, write_yaml
from calibration.tables import Table
from pipeline.clock import Span
from pipeline.errors import CalibrationError, UsageError, nearest

DEFAULT = "default"
# Shows the tables there are.
LIST = "perijove list tables"
_ALIAS = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
_HASH = re.compile(r"[0-9a-f]{8,64}")


class Library:
    """Tables of several folders, and the contexts that choose among them; files are read when asked for, once.

    Parameters
    ----------
    folders : instrument to its folder of tables.
    store : where tables are kept and contexts certified; None: nowhere.
    """

    def __init__(self, folders: Mapping[str, Path], store: Path | None) -> None:
        self.folders, self.store = dict(folders), store
        self._tables: dict[Path, Table] = {}

    def read(self, entry: Entry) -> Table:
        """The table of an entry; raises CalibrationError if it is malformed or no longer what was certified."""
        if entry.path not in self._tables:
            self._tables[entry.path] = Table.read(entry.path)
        table = self._tables[entry.path]
        if entry.hash not in (None, table.hash):
            raise CalibrationError(f"{entry.path}: damaged, its content has the hash {table.hash}")
        return table

    def context(self, name: str) -> Context:
        """Context by alias or hash (8 digits or more).

        Raises
        ------
        UsageError : there is none of that name.
        CalibrationError : its file, or a folder's ``context.yaml``, is malformed, or two tables hold at once.
        """
        if name == DEFAULT:
            parts = [of_folder(instrument, folder) for instrument, folder in self.folders.items()]
            return Context(self, DEFAULT, {name: entries for part in parts for name, entries in part.items()})
        files = self._certified()
        found = [p for p in files if _HASH.fullmatch(name) and p.stem.startswith(name)] or [
            p for p in files if read_yaml(p).get("alias") == name
        ]
        if not found:
            aliases = [DEFAULT, *(str(read_yaml(p).get("alias")) for p in files)]
            raise UsageError(f"no calibration context {name!r}; {nearest(name, aliases)}")
        if len(found) > 1:
            raise UsageError(f"several calibration contexts {name!r}: {', '.join(p.stem for p in found)}")
        return self._read_context(found[0])

    def _certified(self) -> list[Path]:
        return [] if self.store is None else sorted((self.store / "contexts").glob("*.yaml"))

    def _read_context(self, path: Path) -> Context:
        document = read_yaml(path)
        tables = path.parent.parent / "tables"
        entries = entries_of(path, document, lambda e: (tables / f"{e['table']}.yaml", str(e["table"])), "table")
        words = {key: str(document.get(key) or "") for key in ("alias", "base", "comment")}
        context = Context(self, words["alias"], entries, words["base"], words["comment"])
        if context.hash != path.stem:
            raise CalibrationError(f"{path}: damaged, its content has the hash {context.hash}")
        return context

    def with_overrides(self, context: Context, paths: Iterable[Path]) -> Context:
        """The context with the tables of these files in place of its own, at all times.

        Raises
        ------
        CalibrationError : a malformed file, a table the context does not know, two of the same name.
        """
        entries = dict(context.entries)
        over: dict[str, Path] = {}
        for path in paths:
            entry = Entry(ALWAYS, Path(path))
            table = self.read(entry)
            name = f"{table.instrument}.{table.name}"
            if name in over:
                raise CalibrationError(f"{path}: table {name} is given twice, also by {over[name]}")
            if name not in context.entries:
                near = nearest(name, list(entries), LIST)
                raise CalibrationError(f"{path}: no table {name} to stand in for; {near}")
            over[name], entries[name] = Path(path), (entry,)
        alias = " + ".join([context.alias, *sorted(over)])
        return Context(self, alias, entries, context.base, context.comment)

    def keep(self, table: Table) -> Path:
        """Keep a table in the store, by its hash, with the arrays beside it; returns its file."""
        path = self._need_store() / "tables" / f"{table.hash}.yaml"
        return path if path.exists() else table.write(path)

    def certify(
        self,
        tables: Sequence[Table],
        first: float | None,
        last: float | None,
        *,
        alias: str,
        base: str = DEFAULT,
        comment: str = "",
    ) -> Context:
        """Make a new context in the store: that of `base`, with `tables` in force from `first` to before `last`.

        A new table must cut into one interval of the base's (which goes on before and after it) or fill a hole; one
        that reaches over the edge between two is refused, because it would quietly move that edge. Ends are kept to
        the microsecond.

        Parameters
        ----------
        first, last : et; None: always, ever.
        alias : name of the new context; it never changes its meaning.

        Raises
        ------
        CalibrationError : no store, an alias in use, no duration, an unknown table, one table twice, overlaps.
        """
        self._need_store()
        if not _ALIAS.fullmatch(alias) or _HASH.fullmatch(alias) or alias == DEFAULT:
            raise CalibrationError(f"{alias!r} cannot name a context: a letter, then letters, digits, _ . -; no hash")
        span = span_of(utc_of(-math.inf if first is None else first), utc_of(math.inf if last is None else last))
        before = self.context(base)
        entries = dict(before.entries)
        for table in tables:
            name = f"{table.instrument}.{table.name}"
            if name not in before.entries:
                near = nearest(name, list(entries), LIST)
                raise CalibrationError(f"context {before.alias} has no table {name}; {near}")
            if entries[name] is not before.entries[name]:
                raise CalibrationError(f"table {name} is given twice")
            entries[name] = cut_into(name, before.entries[name], Entry(span, self.keep(table), table.hash))
        entries = {name: tuple(self._kept(entry) for entry in chosen) for name, chosen in entries.items()}
        context = Context(self, alias, entries, before.hash, comment)
        same = [path for path in self._certified() if read_yaml(path).get("alias") == alias]
        if same and same != [self._path_of(context)]:
            raise CalibrationError(f"context {alias!r} is there already and says something else ({same[0]})")
        if not same:
            write_yaml(self._path_of(context), context.document())
        return self._read_context(self._path_of(context))

    def _kept(self, entry: Entry) -> Entry:
        table = self.read(entry)
        return Entry(entry.span, self.keep(table), table.hash)

    def _path_of(self, context: Context) -> Path:
        return self._need_store() / "contexts" / f"{context.hash}.yaml"

    def _need_store(self) -> Path:
        if self.store is None:
            raise CalibrationError("there is no store to keep tables and contexts in")
        return self.store

    def list_contexts(self) -> list[dict[str, Any]]:
        """Rows ``{context, tables, base, comment, hash}``: the default one, then the certified ones by alias."""
        certified = sorted((self._read_context(path) for path in self._certified()), key=lambda c: c.alias)
        return [
            {"context": c.alias, "tables": len(c.entries), "base": c.base, "comment": c.comment, "hash": c.hash}
            for c in (self.context(DEFAULT), *certified)
        ]

    def list_tables(self, context: Context) -> list[dict[str, Any]]:
        """Rows ``{name, start, stop, pedigree, title, hash}`` of all tables, with the least trusted pedigree."""
        rows = [
            (name, entry.span, self.read(entry)) for name in sorted(context.entries) for entry in context.entries[name]
        ]
        return [
            {
                "name": name,
                "start": utc_of(span.start),
                "stop": utc_of(span.stop),
                "pedigree": table.worst_pedigree,
                "title": table.title,
                "hash": table.hash,
            }
            for name, span, table in rows
        ]


@dataclass(frozen=True, eq=False)
class Context:
    """A named, immutable choice of tables with their validity.

    Attributes
    ----------
    library : where its tables are read.
    alias : its name; overrides are appended to it.
    entries : ``instrument.name`` to entries in time order, which do not overlap.
    base, comment : hash of the context it was made from, and why.
    """

    library: Library
    alias: str
    entries: dict[str, tuple[Entry, ...]]
    base: str = ""
    comment: str = ""

    @cached_property
    def hash(self) -> str:
        """SHA-256 over alias, tables and validity. A table that cannot be read has no hash; it is refused when used."""
        document = self.document()
        text = json.dumps([document["alias"], document["tables"]], sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def document(self) -> dict[str, Any]:
        """What a certified context's file says."""
        tables = {
            name: [
                {"table": self._hash(e), "start": utc_of(e.span.start), "stop": utc_of(e.span.stop)}
                for e in self.entries[name]
            ]
            for name in sorted(self.entries)
        }
        return {"alias": self.alias, "base": self.base, "comment": self.comment, "tables": tables}

    def _hash(self, entry: Entry) -> str | None:
        try:
            return entry.hash or self.library.read(entry).hash
        except CalibrationError:
            return None

    def select(self, folder: str, name: str, span: Span) -> list[tuple[Table, Span]]:
        """Tables that hold during a span, each with its whole validity, in time order.

        Raises
        ------
        CalibrationError : no such table, or none that holds at some time of the span; says the nearest there is.
        """
        chosen = self._chosen(folder, name)
        inside = [e for e in chosen if e.span.overlaps(span) or e.span.contains(span.start)]
        edges = [span.start, *(e.span.stop for e in inside)]
        ends = [*(e.span.start for e in inside), span.stop]
        hole = next(((a, b) for a, b in zip(edges, ends, strict=True) if a < b), None)
        if hole or not inside:
            gap = Span(*(hole or (span.start, span.stop)))
            near = [e.span for e in chosen if e.span.stop <= gap.start][-1:]
            near += [e.span for e in chosen if e.span.start >= gap.stop][:1]
            raise CalibrationError(
                f"context {self.alias}: no table {folder}.{name} holds {text_of(gap)}; "
                f"the nearest holds {' or '.join(map(text_of, near))}"
            )
        return [(self.library.read(e), e.span) for e in inside]

    def intervals(self, folder: str, name: str) -> list[tuple[Table, Span]]:
        """All tables of that name with their validity, in time order; raises CalibrationError if there is none."""
        return [(self.library.read(e), e.span) for e in self._chosen(folder, name)]

    def _chosen(self, folder: str, name: str) -> tuple[Entry, ...]:
        full = f"{folder}.{name}"
        if full not in self.entries:
            near = nearest(full, list(self.entries), LIST)
            raise CalibrationError(f"context {self.alias} has no table {full}; {near}")
        return self.entries[full]


def audit(folder: Path) -> list[str]:
    """Problems of an instrument's folder of tables; empty if it is sound.

    A ``context.yaml`` or table that cannot be read, overlaps, holes between intervals, a table under another name
    than its own, tables of several instruments, files that nothing refers to.
    """
    try:
        entries = of_folder("", folder)
    except CalibrationError as error:
        return [str(error)]
    problems: list[str] = []
    instruments: set[str] = set()
    used = {"context.yaml"}
    for full, chosen in entries.items():
        name = full.lstrip(".")
        for a, b in itertools.pairwise(chosen):
            if a.span.stop < b.span.start:
                problems.append(f"{folder}: no table {name} holds {text_of(Span(a.span.stop, b.span.start))}")
        for path in {entry.path for entry in chosen}:
            used.add(path.name)
            try:
                table = Table.read(path)
                used |= array_files(path)
            except CalibrationError as error:
                problems.append(str(error))
                continue
            instruments.add(table.instrument)
            if table.name != name:
                problems.append(f"{path}: calls itself {table.name}, the context {name}")
    if len(instruments) > 1:
        problems.append(f"{folder}: tables of several instruments: {', '.join(sorted(instruments))}")
    stray = sorted(p.name for p in folder.iterdir() if p.is_file() and p.suffix != ".md" and p.name not in used)
    return problems + [f"{folder / name}: nothing refers to it" for name in stray]
