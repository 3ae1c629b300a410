"""Prefect's API, in a thread of this process.

Prefect would start a server as a process of its own, which outlives a run that is killed and keeps its pipes open. In a
thread it ends with the run, however that ends. A server that the user set (``PREFECT_API_URL``) is used instead.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from prefect.events.worker import EventsWorker
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

from flows.signals import kept
from pipeline.errors import PerijoveError, StoreError, UsageError
from pipeline.files import locked

STARTUP, SHUTDOWN = 120.0, 3.0

# What sends events says when some are left at the end of a run; they are waited for, and nothing is wrong.
logging.getLogger("EventsWorker").setLevel(logging.ERROR)


class Server(uvicorn.Server):
    """Prefect's API on this machine's loopback.

    Parameters
    ----------
    port : 0: any that is free.
    scheduling : with Prefect's scheduler and its interface for browsers.
    """

    def __init__(self, port: int = 0, *, scheduling: bool = False) -> None:
        from prefect.server.api.server import create_app

        app = create_app(ephemeral=not scheduling, final=True)
        super().__init__(uvicorn.Config(app, log_level="critical", lifespan="on", timeout_graceful_shutdown=1))
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self.socket.bind(("127.0.0.1", port))
        except OSError as error:
            self.socket.close()
            raise UsageError(f"port {port} cannot be used: {error.strerror}; name another with --port") from error
        self.thread = threading.Thread(
            target=self.run, kwargs={"sockets": [self.socket]}, name="prefect-api", daemon=True
        )

    def __enter__(self) -> str:
        # Runs that begin together would each bring a new database up to date, and all but one fail.
        with locked(PREFECT_HOME.value() / "perijove.lock"):
            self._start()
        return f"http://127.0.0.1:{self.socket.getsockname()[1]}/api"

    def _start(self) -> None:
        self.thread.start()
        deadline = time.monotonic() + STARTUP
        while not self.started:
            if not self.thread.is_alive() or time.monotonic() > deadline:
                raise StoreError(f"Prefect's API did not start; its home is {PREFECT_HOME.value()}")
            time.sleep(0.02)

    def __exit__(self, *_: object) -> None:
        with kept():
            # What tasks reported is sent in the background: a server that stops before would be waited for in vain.
            EventsWorker.drain_all(timeout=SHUTDOWN)
            self.should_exit = True
            self.thread.join(SHUTDOWN)
            self.socket.close()


@contextmanager
def prefect_api() -> Iterator[None]:
    """While inside, Prefect has an API to talk to."""
    if PREFECT_API_URL.value():
        yield
        return
    with Server() as url, temporary_settings({PREFECT_API_URL: url}):
        yield


@contextmanager
def server_needed() -> Iterator[None]:
    """Say in one message that Prefect's server is gone, where its client would raise any of several errors.

    Raises
    ------
    PerijoveError
        for an error inside, if the server does not answer.
    """
    try:
        yield
    except PerijoveError:
        raise
    except Exception as error:
        url = PREFECT_API_URL.value()
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5):
                pass
        except OSError:
            raise PerijoveError(f"Prefect's server at {url} does not answer; what was made stays") from error
        raise
