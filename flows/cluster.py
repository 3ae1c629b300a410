"""Where segments are computed: a local Dask cluster of single-threaded processes, or any scheduler's."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, TypeVar, cast

from dask import config
from distributed import Client, LocalCluster

from flows.settings import SINGLE_THREAD
from pipeline.errors import UsageError

Result = TypeVar("Result")


class OnDask:
    """Executor that sends segments to the workers of a Dask client."""

    def __init__(self, client: Client) -> None:
        self.client = client

    def submit(self, function: Callable[..., Result], *arguments: Any) -> Future[Result]:
        """Start a call on a worker; a worker that dies is replaced and the call made again, three times at most."""
        return cast("Future[Result]", self.client.submit(function, *arguments, pure=False))


@contextmanager
def cluster(workers: int, address: str | None) -> Iterator[Client]:
    """Client of the scheduler at `address`, or of a local cluster of `workers` processes that ends with it.

    Raises
    ------
    UsageError
        if no scheduler answers at the address.
    """
    if address is not None:
        try:
            client = Client(address, timeout="10s", set_as_default=False)
        except OSError as error:
            raise UsageError(f"no Dask scheduler answers at {address}: {error}") from error
        with client:
            yield client
        return
    quiet = {
        "distributed.logging.distributed": "error",
        # Worker processes import the project from where it is installed, whatever the working folder holds.
        "distributed.nanny.pre-spawn-environ": SINGLE_THREAD,
        "distributed.worker.memory.terminate": 0.98,
    }
    with (
        config.set(quiet),
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            dashboard_address=None,
            silence_logs=logging.CRITICAL,
            preload=["perijove"],
        ) as local,
        Client(local, set_as_default=False) as client,
    ):
        yield client
