"""`perijove serve`: a deployment of Prefect's, its schedule, and the watch on the folder of arrivals.

The deployment is run by this process (Prefect's runner), each run in a process of its own. Started are runs by a
schedule made from the table of perijoves, by the watch for every pass that something arrived for, and by hand.
"""

from __future__ import annotations

import asyncio
import datetime
import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prefect.deployments import run_deployment
from prefect.deployments.runner import RunnerDeployment
from prefect.runner import Runner
from prefect.schedules import Schedule
from prefect.settings import PREFECT_API_URL, PREFECT_UI_API_URL, temporary_settings
from prefect.types.entrypoint import EntrypointType

from flows.deployed import calibrate_pass
from flows.server import Server
from pipeline.clock import format_utc
from pipeline.passes import passes
from pipeline.runs.arrivals import Arrivals, newest, tell_refused
from pipeline.runs.log import NAME as LOGGER
from pipeline.runs.store import Store

NAME = "perijove"
DEPLOYMENT = f"perijove pass/{NAME}"
log = logging.getLogger(LOGGER)


def schedules(first: float, every: float, repeat: float, now: datetime.datetime) -> list[Schedule]:
    """One schedule per pass whose last run is not over yet.

    Parameters
    ----------
    first : seconds from closest approach to the first run.
    every : seconds between runs.
    repeat : seconds from the first run to the last; those in between have nothing to do once nothing arrives any more.
    """
    made = []
    for pass_ in passes():
        begin = datetime.datetime.fromisoformat(str(format_utc(pass_.et + first))).replace(tzinfo=datetime.UTC)
        count = int(repeat // every) + 1
        if begin + datetime.timedelta(seconds=every * (count - 1)) < now:
            continue
        rule = f"DTSTART:{begin:%Y%m%dT%H%M%SZ}\nRRULE:FREQ=SECONDLY;INTERVAL={int(every)};COUNT={count}"
        chosen = {"pass_number": pass_.number, "why": "scheduled"}
        made.append(Schedule(rrule=rule, timezone="UTC", parameters=chosen, slug=pass_.name.lower()))
    return made


class Watch(threading.Thread):
    """Looks at the folder of arrivals, and has every pass run that something arrived for."""

    def __init__(self, arrivals: Arrivals, poll: float) -> None:
        super().__init__(name="arrivals", daemon=True)
        self.arrivals, self.poll = arrivals, poll
        self.due = _behind(arrivals.store)
        self.ended = threading.Event()
        self._reported: dict[Path, str] = {}

    def run(self) -> None:
        """Look until `ended`; whatever goes wrong is said, and tried again at the next look."""
        while not self.ended.wait(self.poll):
            try:
                self.look()
            except Exception as error:  # the disk may be full or the server away for a while
                log.error("arrivals: %s: %s", type(error).__name__, error)

    def look(self) -> None:
        """Take what has arrived, report what cannot be taken, start the runs that are due."""
        delivery = self.arrivals.look()
        if delivery is not None:
            self.due |= dict.fromkeys(delivery.passes, delivery.number)
            for taken in delivery.granules:
                log.info("delivery %06d: %s %s", delivery.number, taken["format"], taken["granule"])
        if self.arrivals.refused != self._reported:
            self._report(self.arrivals.refused)
        for pass_number, number in sorted(self.due.items()):
            run_deployment(
                DEPLOYMENT,
                parameters={"pass_number": pass_number, "why": f"delivery {number}"},
                timeout=0,
                as_subflow=False,
                idempotency_key=f"{self.arrivals.store.root}-{pass_number}-{number}",
            )
            log.info("PJ%02d: run for delivery %06d", pass_number, number)
            del self.due[pass_number]

    def _report(self, refused: dict[Path, str]) -> None:
        for path, reason in refused.items():
            if self._reported.get(path) != reason:
                log.warning("not taken: %s", reason)
        tell_refused(self.arrivals.store, refused)
        self._reported = dict(refused)


def _behind(store: Store) -> dict[int, int]:
    """Passes for which something arrived after their last finished run, with the delivery: a server was killed."""
    seen: dict[int, int] = {}
    for record in store.runs():
        if record["ended"] == "done":
            seen.setdefault(record["pass"], record.get("delivery", 0))
    last = {p.number: newest(store, p.number) for p in passes()}
    return {number: delivery for number, delivery in last.items() if delivery > seen.get(number, 0)}


@contextmanager
def _server(port: int) -> Iterator[str]:
    """Prefect's server: the user's (``PREFECT_API_URL``), else one in this process, on this machine's loopback only."""
    if PREFECT_API_URL.value():
        yield str(PREFECT_API_URL.value())
        return
    url = f"http://127.0.0.1:{port}/api"
    with (
        temporary_settings({PREFECT_UI_API_URL: url}),
        Server(port=port, scheduling=True),
        temporary_settings({PREFECT_API_URL: url}),
    ):
        yield url


class _Runner(Runner):
    """Prefect's, whose own answer to SIGTERM ends in a traceback."""

    def handle_sigterm(self, *_: object) -> None:
        signal.raise_signal(signal.SIGINT)


async def _run(deployment: RunnerDeployment, at_once: int) -> None:
    """Run what is scheduled until a signal: runs that go on are ended then, and recorded as interrupted."""
    runner = _Runner(pause_on_shutdown=True, limit=at_once)
    await runner.aadd_deployment(deployment)
    try:
        await runner.start()
    except asyncio.CancelledError:
        log.info("ended")


def serve(
    arrivals: Arrivals, *, port: int, poll: float, first: float, every: float, repeat: float, at_once: int
) -> None:
    """Serve until the process is told to end.

    Parameters
    ----------
    port : of the server in this process, if there is no other.
    poll : seconds between two looks at the folder of arrivals.
    first, every, repeat : see `schedules`.
    at_once : runs at a time.
    """
    # Prefect's runs start where this process is: nothing there may bear the name of a package.
    os.chdir(os.environ["PREFECT_HOME"])
    watch = Watch(arrivals, poll)
    made = schedules(first, every, repeat, datetime.datetime.now(datetime.UTC))
    with _server(port) as url:
        deployment = calibrate_pass.to_deployment(
            NAME, schedules=made, paused=False, entrypoint_type=EntrypointType.MODULE_PATH
        )
        assert isinstance(deployment, RunnerDeployment)
        log.info("serving %s at %s; %d passes scheduled", DEPLOYMENT, url, len(made))
        watch.start()
        try:
            asyncio.run(_run(deployment, at_once))
        finally:
            watch.ended.set()
            watch.join(10.0)
