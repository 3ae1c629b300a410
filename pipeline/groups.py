"""Commands in groups: those of calibration tables, and those that look after the store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pipeline.options import JSON, STORE
from pipeline.output import print_document


@click.group()
def table() -> None:
    """Look at calibration tables and certify new ones."""


@table.command(name="show")
@click.argument("name", metavar="INSTRUMENT.NAME|FILE")
@click.option("--time", help="UTC; default: all validity intervals.")
@click.option("--context", default="default", show_default=True, help="Calibration context.")
@STORE
@JSON
def table_show(name: str, time: str | None, context: str, store: Path, as_json: bool) -> None:
    """Show a table's values with units, uncertainty, pedigree and source."""
    from pipeline.report import terminal
    from pipeline.runs.listing import show_table

    print_document(show_table(name, time, context, store), as_json, terminal.show_table)


@table.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--alias", required=True, help="Name of the new context.")
@click.option("--start", help="UTC from which the tables hold; default: always.")
@click.option("--stop", help="UTC up to which they hold, exclusive; default: for ever.")
@click.option("--base", default="default", show_default=True, help="Context to start from.")
@click.option("--comment", required=True, help="Why.")
@STORE
@JSON
def certify(files: tuple[Path, ...], store: Path, as_json: bool, **options: Any) -> None:
    """Make a new calibration context in the store, with FILES in force from --start to --stop."""
    from pipeline.report import terminal
    from pipeline.runs.listing import certify_tables

    print_document(certify_tables(files, store, **options), as_json, terminal.show_certified)


@click.group()
def store() -> None:
    """Look after the store."""


@store.command()
@STORE
@JSON
def size(store: Path, as_json: bool) -> None:
    """Bytes in the store by folder."""
    from pipeline.report import terminal
    from pipeline.runs.store import Store

    print_document(Store(store).size(), as_json, terminal.show_size)


@store.command()
@click.option("--keep-runs", type=click.IntRange(0), required=True, help="Keep what the newest N runs name.")
@STORE
@JSON
def gc(store: Path, keep_runs: int, as_json: bool) -> None:
    """Delete products that no recent run names; tables, contexts, raw files and records stay."""
    from pipeline.report import terminal
    from pipeline.runs.store import Store

    files, freed = Store(store).collect(keep_runs)
    print_document({"files": files, "bytes": freed}, as_json, terminal.show_collected)
