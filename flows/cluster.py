"""Where segments are computed: a local Dask cluster of single-threaded processes, or any scheduler's."""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any, TypeVar, cast

from dask import config
from distributed import Client, KilledWorker, LocalCluster

from flows.settings import SINGLE_THREAD
from flows.signals import block, kept
from pipeline.errors import PerijoveError, UsageError

Result = TypeVar("Result")

# Seconds between two looks at what the workers are doing.
POLL = 0.5
# Seconds to wait for a worker when there is none: a dead one is replaced in some.
PATIENCE = 120.0
# Of a local cluster.
SETTINGS = {
    "distributed.nanny.pre-spawn-environ": SINGLE_THREAD,
    "distributed.worker.memory.terminate": 0.98,
    # A call that took a worker with it is made once more, in case it was not its fault.
    "distributed.scheduler.allowed-failures": 1,
    # One call at a worker at a time: none is lost with a worker that another one killed.
    "distributed.scheduler.worker-saturation": 1.0,
}


class OnDask:
    """Executor that sends segments to the workers of a Dask client."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self._futures: weakref.WeakSet[Any] = weakref.WeakSet()
        self._stopped = False

    def submit(self, function: Callable[..., Result], *arguments: Any) -> Future[Result]:
        """Start a call on a worker; a worker that dies is replaced, and the call made again."""
        if self._stopped:
            raise InterruptedError("the run was stopped")
        future = self.client.submit(function, *arguments, pure=False)
        self._futures.add(future)
        return cast("Future[Result]", future)

    def result(self, future: Future[Result], timeout: float | None) -> Result:
        """Wait for a call; its time counts from when a worker begins with it.

        Raises
        ------
        PerijoveError
            if it runs longer than `timeout` seconds (its worker is started anew then), or took its worker with it every
            time, or no worker is left.
        """
        key = cast("Any", future).key
        at: str | None = None
        began = seen = time.monotonic()
        # Not by asking for the result with a time limit: Dask's own does not always survive it.
        finished = threading.Event()
        future.add_done_callback(lambda _: finished.set())
        while not finished.wait(POLL):
            at_work = self.client.processing()
            seen = time.monotonic() if at_work else seen
            if time.monotonic() - seen > PATIENCE:
                future.cancel()
                raise PerijoveError(f"the cluster has had no worker for {PATIENCE:g} s")
            worker = next((w for w, keys in at_work.items() if key in keys), None)
            if worker != at:  # it has begun, or begun anew because its worker died
                at, began = worker, time.monotonic()
            if at and timeout and time.monotonic() - began > timeout:
                future.cancel()
                # A running call cannot be stopped, only its process.
                self.client.restart_workers([at], timeout=10, raise_for_error=False)
                raise PerijoveError(f"not done after {timeout:g} s: given up (--timeout)")
        try:
            return future.result()
        except KilledWorker as error:
            raise PerijoveError("the worker process died on it each time: out of memory, or a crash") from error

    def drop(self, futures: list[Future[Any]], timeout: float | None) -> None:
        """Take back calls that have not begun; wait for those that have, which would go on at their worker unseen."""
        at_work = set().union(*self.client.processing().values())
        begun = [f for f in futures if f.done() or cast("Any", f).key in at_work]
        for future in futures:
            if future not in begun:
                future.cancel()
        for future in begun:
            with suppress(Exception):
                self.result(future, timeout)

    def stop(self) -> None:
        """Give up all calls; those who wait for them go on with an error."""
        self._stopped = True
        for future in list(self._futures):
            future.cancel()


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
    wrong = sorted({v for v in found.values() if v != own})
    if not found or wrong:
        there = f"have perijove {', '.join(wrong)}, this is {own}" if wrong else "are none"
        raise UsageError(f"the workers of {address} {there}")
