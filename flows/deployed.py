"""The flow that is served: one pass, started by the schedule, by an arrival, or by hand from Prefect's interface.

What it runs on (store, kernels, workers) is the server's and comes by the environment; what a person may choose are its
parameters, so that no path can be named from the interface.
"""

from __future__ import annotations

import datetime
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed

import perijove  # noqa: F401  (claims the project's package names)
from flows.artifacts import show_outcome
from flows.pass_flow import inside_flow
from pipeline.errors import PerijoveError
from pipeline.runs.arrivals import FOLDER, last_arrival
from pipeline.runs.record import exit_status
from pipeline.runs.run import Request, carry_out, prepare
from pipeline.runs.store import Store
from pipeline.runs.summary import sentence

ENVIRONMENT = "PERIJOVE_SERVED"


@dataclass(frozen=True)
class Place:
    """What served runs run on: set by `perijove serve`, read by the processes that Prefect starts for them."""

    store: str
    kernels: str | None
    workers: int
    address: str | None
    timeout: float
    quiet: float

    def announce(self) -> None:
        """Put it into the environment of processes to come."""
        os.environ[ENVIRONMENT] = json.dumps(asdict(self))

    @classmethod
    def given(cls) -> Place:
        """The one of this process."""
        return cls(**json.loads(os.environ[ENVIRONMENT]))


@flow(name="perijove pass", flow_run_name="PJ{pass_number:02d} {why}")
def calibrate_pass(
    pass_number: int,
    instruments: list[str] | None = None,
    products: list[str] | None = None,
    context: str = "default",
    window: str = "all",
    source: str | None = None,
    settings: dict[str, str] | None = None,
    why: str = "by hand",
) -> State[Any]:
    """Make the calibrated products of a pass from the raw data that have arrived.

    Parameters are those of `perijove run`; what is there already under the same key is kept.

    Parameters
    ----------
    pass_number : the perijove.
    instruments, products : only these, with everything they need.
    context : calibration context.
    window : length about closest approach, an encounter's name, or "all".
    source : raw format to take where several lead to one product.
    settings : parameters of steps, as {"mag.field.sensor": "ib"}.
    why : what started the run.
    """
    place, log = Place.given(), get_run_logger()
    store = Store(Path(place.store))
    idle = _idle(store, pass_number, why, place.quiet)
    if idle:
        log.info("PJ%02d: %s", pass_number, idle)
        return Completed(message=idle, name="Idle")
    request = Request(
        pass_number=pass_number,
        store=store.root,
        raw=store.root / FOLDER,
        instruments=tuple(instruments or ()),
        products=tuple(products or ()),
        kernels=Path(place.kernels) if place.kernels else None,
        window=window,
        source=source,
        pictures=True,
        context=context,
        settings=dict(settings or {}),
    )
    try:
        record = carry_out(prepare(request), inside_flow(place.workers, place.address, place.timeout))
    except PerijoveError as error:
        log.error("PJ%02d: %s", pass_number, error)
        return Failed(message=str(error))
    show_outcome(record)
    said = sentence(record)
    for bad in record["quarantined"]:
        log.warning("PJ%02d: not usable: %s", pass_number, bad["reason"])
    log.info("PJ%02d: run %s: %s", pass_number, record["run"], said)
    if exit_status(record) == 0:
        return Completed(message=said)
    failed = any(p["status"] not in ("made", "kept") for p in record["products"])
    return Failed(message=said) if failed else Completed(message=said, name="BadInput")


def _idle(store: Store, pass_number: int, why: str, quiet: float) -> str | None:
    """Why a scheduled run has nothing to do: nothing has arrived, or nothing does any more."""
    if why != "scheduled":
        return None
    arrived = last_arrival(store, pass_number)
    if arrived is None:
        return "no raw data have arrived yet"
    age = (datetime.datetime.now(datetime.UTC) - arrived).total_seconds()
    return None if age < quiet else f"no raw data have arrived for {age / 86400:.1f} days"
