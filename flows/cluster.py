"""Where segments are computed: a local Dask cluster of single-threaded processes, or any scheduler's."""

from __future__ import annotations

import logging
import os
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar, cast

from dask import config
from distributed import Client, KilledWorker, LocalCluster
from distributed.core import Status

from flows.admission import Admission
from flows.settings import SINGLE_THREAD
from flows.signals import block, kept
from pipeline.errors import PerijoveError, SchedulerLostError, UsageError, WorkerLostError

Result = TypeVar("Result")

# Seconds between two looks at what the workers are doing.
POLL = 0.5
# Seconds within which a scheduler answers.
ANSWER = 60.0
# Seconds to wait for a worker when there is none: a dead one is replaced in some.
PATIENCE = 120.0
# Of a local cluster.
SETTINGS = {
    "distributed.nanny.pre-spawn-environ": SINGLE_THREAD,
    "distributed.worker.memory.terminate": 0.98,
    # A busy machine needs more than Dask's 15 seconds to start another worker in a dead one's place.
    "distributed.deploy.lost-worker-timeout": "10 minutes",
    # A call that took a worker with it is made once more by us, alone, in case it was not its fault.
    "distributed.scheduler.allowed-failures": 0,
    # One call at a worker at a time: none is lost with a worker that another one killed.
    "distributed.scheduler.worker-saturation": 1.0,
}


class OnDask:
    """Executor that sends segments to the workers of a Dask client."""

    def __init__(self, client: Client) -> None:
        self.client, self._address = client, client.scheduler.address
        self._calls: weakref.WeakKeyDictionary[Any, tuple[Any, ...]] = weakref.WeakKeyDictionary()
        with scheduler_needed(client, self._address):
            workers = client.scheduler_info(n_workers=-1)["workers"]
            self.admission = Admission(len(workers), _capacity_mb(client, workers))
        self._reviving = threading.Lock()

    def check_shared(self, folder: Path) -> None:
        """See that all workers see a folder of this machine's; raises UsageError naming those that do not."""
        with (
            tempfile.NamedTemporaryFile(dir=folder, prefix="seen-") as mark,
            scheduler_needed(self.client, self._address),
        ):
            seen = self.client.run(os.path.exists, mark.name, on_error="ignore")
        blind = sorted(worker for worker, sees in seen.items() if not sees)
        if blind:
            named = ", ".join(blind)
            raise UsageError(f"{named}: cannot see {folder}; the store must be a folder that all workers share")

    def submit(self, function: Callable[..., Result], *arguments: Any) -> Future[Result]:
        """Start a call on a worker when there is memory for it; if its worker dies, it is made again on another.

        Raises
        ------
        SchedulerLostError
            if the scheduler is gone.
        """
        kind = f"{function.__name__} {getattr(arguments[0], 'product', '') if arguments else ''}"
        seen = time.monotonic()
        while not self.admission.enter(kind, POLL):
            _, seen = self._at_work(seen)  # there may be no worker left that could make room
        try:
            future = self._send(kind, function, *arguments)
        except BaseException:
            self.admission.leave(kind)
            raise
        cast("Any", future).add_done_callback(lambda done: self._left(kind, done))
        return future

    def _send(self, kind: str, function: Callable[..., Result], *arguments: Any) -> Future[Result]:
        with scheduler_needed(self.client, self._address):
            future = cast("Future[Result]", self.client.submit(function, *arguments, pure=False))
        self._calls[future] = (kind, function, *arguments)
        return future

    def result(self, future: Future[Result], timeout: float | None) -> Result:
        """Wait for a call; its time counts from when a worker begins with it.

        A call that took its worker with it is made once more while nothing else runs: it may have been a neighbour's
        fault, or the memory's that it shared.

        Raises
        ------
        WorkerLostError
            if it took its worker with it alone as well.
        PerijoveError
            if it runs longer than `timeout` seconds (its worker is started anew then), or no worker is left.
        SchedulerLostError
            if the scheduler is gone.
        """
        try:
            return self._result(future, timeout)
        except KilledWorker:
            seen = time.monotonic()

            def alive() -> None:
                nonlocal seen
                _, seen = self._at_work(seen)

            with self.admission.alone(alive, POLL):
                try:
                    return self._result(self._send(*self._calls[future]), timeout)
                except KilledWorker as error:
                    why = "the worker process died on it each time, also when it ran alone: out of memory, or a crash"
                    raise WorkerLostError(why) from error

    def _left(self, kind: str, future: Any) -> None:
        if future.status == "finished":
            with suppress(Exception):  # lost with its worker meanwhile
                self.admission.tell(kind, getattr(future.result(), "peak_mb", 0.0))
        self.admission.leave(kind)

    def _result(self, future: Future[Result], timeout: float | None) -> Result:
        key = cast("Any", future).key
        at: str | None = None
        began = seen = time.monotonic()
        # Not by asking for the result with a time limit: Dask's own does not always survive it.
        finished = threading.Event()
        future.add_done_callback(lambda _: finished.set())
        while not finished.wait(POLL):
            try:
                at_work, seen = self._at_work(seen)
            except PerijoveError:
                _cancel(future)
                raise
            worker = next((w for w, keys in at_work.items() if key in keys), None)
            if worker != at:  # it has begun, or begun anew because its worker died
                at, began = worker, time.monotonic()
            if at and timeout and time.monotonic() - began > timeout:
                _cancel(future)
                # A running call cannot be stopped, only its process.
                with scheduler_needed(self.client, self._address):
                    self.client.restart_workers([at], timeout=10, raise_for_error=False)
                raise PerijoveError(f"not done after {timeout:g} s: given up (--timeout)")
        if self.admission.stopped and future.cancelled():
            raise InterruptedError("the run was stopped")
        with scheduler_needed(self.client, self._address, future):
            return future.result()

    def _at_work(self, seen: float) -> tuple[dict[str, Any], float]:
        """What every worker does, and when there was one last, `seen` if there is none; raises if that is long ago."""
        self._revive()
        at_work, now = self._processing(), time.monotonic()
        if at_work:
            return at_work, now
        if now - seen > PATIENCE:
            raise PerijoveError(f"the cluster has had no worker for {PATIENCE:g} s")
        return at_work, seen

    def _revive(self) -> None:
        """Replace the nannies of a local cluster that gave up, as one does whose worker dies while it starts."""
        local = self.client.cluster
        if local is None:
            return
        with self._reviving:
            nannies = list(local.workers.items())
            gone = [name for name, nanny in nannies if nanny.status in (Status.closed, Status.failed)]
            for name in gone:
                del local.workers[name]
            if gone:
                local.scale(self.admission.workers)

    def _processing(self) -> dict[str, Any]:
        with scheduler_needed(self.client, self._address):
            found: dict[str, Any] = self.client.sync(
                self.client.scheduler.processing, workers=None, callback_timeout=ANSWER
            )
        return found

    def drop(self, futures: list[Future[Any]], timeout: float | None) -> None:
        """Take back calls that have not begun; wait for those that have, which would go on at their worker unseen."""
        with suppress(SchedulerLostError):
            at_work = set().union(*self._processing().values())
            begun = [f for f in futures if f.done() or cast("Any", f).key in at_work]
            for future in futures:
                if future not in begun:
                    _cancel(future)
            for future in begun:
                with suppress(Exception):
                    self._result(future, timeout)

    def stop(self) -> None:
        """Give up all calls; those who wait for them go on with an error."""
        self.admission.stop()
        for future in list(self._calls):
            _cancel(future)


def _cancel(future: Any) -> None:
    with suppress(Exception):  # with the scheduler gone there is nothing to take back
        future.cancel()


@contextmanager
def scheduler_needed(client: Client, address: str, future: Any = None) -> Iterator[None]:
    """Say in one message that the scheduler is gone, where its client would raise any of several errors.

    Parameters
    ----------
    future : a call whose own error, if it has one, stays as it is.

    Raises
    ------
    SchedulerLostError
        for a lost connection, a call cancelled by nobody here, or any error while the scheduler does not answer.
    """
    try:
        yield
    except PerijoveError:
        raise
    except Exception as error:
        if future is not None and future.status == "error":
            raise
        # One that was started anew at the same address answers, but knows nothing of this run's calls.
        if not isinstance(error, (OSError, CancelledError)) and _answers(client):
            raise
        raise SchedulerLostError(f"the Dask scheduler at {address} does not answer any more: {error}") from error


def _answers(client: Client) -> bool:
    try:
        return client.status == "running" and bool(client.sync(client.scheduler.identity, callback_timeout=ANSWER))
    except Exception:  # any of several
        return False


def _capacity_mb(client: Client, workers: dict[str, Any]) -> float:
    """What all workers may take: their limits, but on no machine more than it has."""
    machines: dict[str, list[float]] = {}
    for address, total in client.run(_memory, on_error="ignore").items():
        limit = workers.get(address, {}).get("memory_limit") or total
        machines.setdefault(workers.get(address, {}).get("host", address), [total]).append(min(limit, total))
    return sum(min(total, sum(limits)) for total, *limits in machines.values()) / 2**20


def _memory() -> int:
    import psutil

    return int(psutil.virtual_memory().total)


@contextmanager
def cluster(workers: int, address: str | None) -> Iterator[Future[Client]]:
    """Client of the scheduler at `address`, or of a local cluster of `workers` processes that ends with it.

    A local cluster is there when the future is done; other things may be started meanwhile.

    Raises
    ------
    UsageError
        if no scheduler answers at the address, or its workers cannot do the work.
    """
    client: Future[Client] = Future()
    if address is not None:
        with _connected(address) as connected:
            client.set_result(connected)
            yield client
        return
    for name in ("distributed", "distributed.client", "distributed.gc"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with config.set(SETTINGS), ThreadPoolExecutor(1, "cluster", initializer=block) as starter:
        client = starter.submit(_start, workers)
        try:
            yield client
        finally:
            with kept():
                started = client.result()
                started.close()
                started.cluster.close()


def _start(workers: int) -> Client:
    local = LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        processes=True,
        # Without a dashboard the scheduler still listens for its health; not on a port that others want.
        dashboard_address="127.0.0.1:0",
        scheduler_kwargs={"dashboard": False},
        silence_logs=logging.CRITICAL,
        # Worker processes import the project from where it is installed, whatever the working folder holds.
        preload=["perijove"],
    )
    return Client(local, set_as_default=False)


@contextmanager
def _connected(address: str) -> Iterator[Client]:
    try:
        client = Client(address, timeout="5s", set_as_default=False)
    except (OSError, ValueError) as error:
        raise UsageError(f"no Dask scheduler answers at {address}: {error}") from error
    with client:
        _check_workers(client, address)
        yield client


def _check_workers(client: Client, address: str) -> None:
    """Let the workers claim the project's package names, and see that they have this version of the project."""
    import importlib.metadata

    def claim() -> str:  # sent by value: nothing of this project needs to be imported for it
        import importlib.metadata

        __import__("perijove")
        return importlib.metadata.version("perijove")

    own = importlib.metadata.version("perijove")
    try:
        found = client.run(claim)
    except Exception as error:
        raise UsageError(f"the workers of {address} have no perijove: {error}") from error
    threads = {w["nthreads"] for w in client.scheduler_info(n_workers=-1)["workers"].values()}
    if threads - {1}:
        # The libraries that read and write are not for threads, and memory is reckoned by the process.
        raise UsageError(f"the workers of {address} have {max(threads)} threads: start them with --nthreads 1")
    wrong = sorted({v for v in found.values() if v != own})
    if not found or wrong:
        there = f"have perijove {', '.join(wrong)}, this is {own}" if wrong else "are none"
        raise UsageError(f"the workers of {address} {there}")
