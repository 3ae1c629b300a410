"""Ctrl-C and SIGTERM while servers and workers start and end: libraries cannot be interrupted there and stay whole."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from types import FrameType

NUMBERS = (signal.SIGINT, signal.SIGTERM)
SHOW_CURSOR = "\x1b[?25h"


@contextmanager
def _handled(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in NUMBERS}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


@contextmanager
def exit_at_once() -> Iterator[None]:
    """End the process on the spot: nothing is being made yet. Worker processes see that it is gone and end too."""

    def leave(number: int, frame: FrameType | None) -> None:
        word = "interrupted" if number == signal.SIGINT else "terminated"
        cursor = SHOW_CURSOR if sys.stderr.isatty() else ""
        os.write(2, f"{cursor}\nperijove: {word}; the next run goes on from here\n".encode())
        os._exit(128 + number)

    with _handled(leave):
        yield


@contextmanager
def kept() -> Iterator[None]:
    """Keep signals until the end of the block: what is being closed is closed as a whole."""
    received: list[int] = []
    with _handled(lambda number, frame: received.append(number)):
        yield
    if received:
        signal.raise_signal(received[0])


def block() -> None:
    """Keep signals from this thread and the processes it starts: a terminal sends Ctrl-C to all of them."""
    # Starting the tracker of semaphores, a process of multiprocessing's, would let signals through again; and if this
    # process is killed, the tracker need not tell the user that it cleaned up.
    sys.warnoptions.append("ignore:resource_tracker:UserWarning")
    try:
        resource_tracker.ensure_running()
    finally:
        sys.warnoptions.pop()
    signal.pthread_sigmask(signal.SIG_BLOCK, NUMBERS)
