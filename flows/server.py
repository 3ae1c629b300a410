"""Prefect's API, in a thread of this process.

Prefect would start a server as a process of its own, which outlives a run that is killed and keeps its pipes open. In a
thread it ends with the run, however that ends. A server that the user set (``PREFECT_API_URL``) is used instead.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from prefect.events.worker import EventsWorker
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.signals import kept

STARTUP, SHUTDOWN = 120.0, 3.0


class _Server(uvicorn.Server):
    def __init__(self) -> None:
        from prefect.server.api.server import create_app

        app = create_app(ephemeral=True, final=True)
        super().__init__(uvicorn.Config(app, log_level="critical", lifespan="on", timeout_graceful_shutdown=1))
        self.socket = socket.socket()
        self.socket.bind(("127.0.0.1", 0))
        self.thread = threading.Thread(
            target=self.run, kwargs={"sockets": [self.socket]}, name="prefect-api", daemon=True
        )

    def __enter__(self) -> str:
        self.thread.start()
        deadline = time.monotonic() + STARTUP
        while not self.started:
            if not self.thread.is_alive() or time.monotonic() > deadline:
                raise RuntimeError("Prefect's API did not start; is PREFECT_HOME writable?")
            time.sleep(0.02)
        return f"http://127.0.0.1:{self.socket.getsockname()[1]}/api"

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
    with _Server() as url, temporary_settings({PREFECT_API_URL: url}):
        yield
