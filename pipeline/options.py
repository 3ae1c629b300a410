"""Options that commands share."""

from __future__ import annotations

import os
import re
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


class _Duration(click.ParamType):
    """Seconds, or a number with a unit: ``90m``, ``12h``, ``3d``."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        match = re.fullmatch(r"(\d+(?:\.\d*)?)\s*([smhd]?)", str(value))
        if match is None:
            self.fail(f"{value!r} is no duration; one looks like 600, 90m, 12h or 3d", param, ctx)
        return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}[match[2]]


DURATION = _Duration()
STORE = click.option(
    "--store",
    type=click.Path(path_type=Path),
    default=default_store,
    show_default="PERIJOVE_STORE or perijove-store",
    help="Folder of everything made.",
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON document; progress goes to standard error.")
REQUEST = options(
    click.argument("pass_number", metavar="PJ", type=PASS, required=False),
    click.option("--all-passes", is_flag=True, help="Every pass that was run in the store, as it was run last."),
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
    click.option(
        "--source",
        metavar="FORMAT",
        help="Raw format to take where several lead to one product; `list instruments` names all.",
    ),
    STORE,
    click.option("--context", default="default", show_default=True, help="Calibration context."),
    click.option(
        "--set",
        "settings",
        multiple=True,
        metavar="KEY=VALUE",
        help="Parameter of a step, e.g. mag.field.sensor=ib; `list instruments` names all.",
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
SERVE = options(
    click.option("--arrivals", required=True, type=click.Path(path_type=Path), help="Folder in which raw data arrive."),
    click.option("--kernels", type=click.Path(path_type=Path), help="Folder of SPICE kernels, or a meta-kernel."),
    click.option(
        "--first", type=DURATION, default="3d", show_default=True, help="From closest approach to the first run."
    ),
    click.option("--every", type=DURATION, default="1d", show_default=True, help="Between runs."),
    click.option("--repeat", type=DURATION, default="60d", show_default=True, help="From the first run to the last."),
    click.option(
        "--quiet",
        type=DURATION,
        default="14d",
        show_default=True,
        help="Without arrivals for so long, scheduled runs of a pass have nothing to do.",
    ),
    click.option(
        "--poll", type=DURATION, default="30s", show_default=True, help="Between looks at the folder of arrivals."
    ),
    click.option(
        "--patience",
        type=DURATION,
        default="1d",
        show_default=True,
        help="How long incomplete files may rest before they are reported.",
    ),
    click.option(
        "--port",
        type=click.IntRange(1, 65535),
        default=4200,
        show_default=True,
        help="Of Prefect's server on this machine, unless PREFECT_API_URL names another.",
    ),
    click.option("--at-once", type=click.IntRange(1), default=1, show_default=True, help="Passes run at a time."),
)
