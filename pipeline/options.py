"""Options that commands share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from pipeline.runs.store import default_store

PASS = click.IntRange(0)


def options(*chosen: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Several options as one decorator."""

    def decorate(function: Any) -> Any:
        for option in reversed(chosen):
            function = option(function)
        return function

    return decorate


def cores() -> int:
    """Cores this process may use, which a batch system may have limited."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


STORE = click.option(
    "--store",
    type=click.Path(path_type=Path),
    default=default_store,
    show_default="PERIJOVE_STORE or perijove-store",
    help="Folder of everything made.",
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON document; progress goes to standard error.")
REQUEST = options(
    click.argument("pass_number", metavar="PJ", type=PASS),
    click.option(
        "--instrument", "instruments", multiple=True, metavar="X", help="Only these instruments (and what they need)."
    ),
    click.option(
        "--product", "products", multiple=True, metavar="TYPE", help="Only these product types (and what they need)."
    ),
    click.option("--raw", type=click.Path(path_type=Path), help="Folder of raw products; default: the last run's."),
    click.option("--kernels", type=click.Path(path_type=Path), help="Folder of SPICE kernels, or a meta-kernel."),
    click.option(
        "--window", default="all", show_default=True, help="'2h' about closest approach, an encounter's name, or 'all'."
    ),
    click.option("--source", metavar="FORMAT", help="Raw format to take where several lead to one product."),
    STORE,
    click.option("--context", default="default", show_default=True, help="Calibration context."),
    click.option(
        "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Parameter of a step, e.g. mag.field.sensor=ib."
    ),
    click.option(
        "--table", "tables", multiple=True, type=click.Path(path_type=Path), help="Calibration table to use instead."
    ),
    click.option("--keep-raw", is_flag=True, help="Keep the raw files in the store."),
    JSON,
)
WORKERS = options(
    click.option(
        "--workers",
        type=click.IntRange(1),
        default=cores,
        show_default="number of cores",
        help="Worker processes of the local Dask cluster.",
    ),
    click.option("--dask", "address", metavar="ADDRESS", help="Dask scheduler to use instead of a local cluster."),
    click.option(
        "--timeout",
        type=click.FloatRange(0, min_open=True),
        default=1800.0,
        show_default=True,
        help="Seconds a segment may take before its product is given up.",
    ),
)
