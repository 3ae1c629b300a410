"""Structured logs: one JSON object per line, with the time, what happened, and to what.

Every run writes ``logs/<run>.log`` in the store while it goes on, so that of a run that was killed there is at least
that. ``PERIJOVE_LOG=json`` puts the same lines on standard error; `perijove serve` writes plain ones there otherwise.
"""

from __future__ import annotations

import datetime
import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

NAME = "perijove"
log = logging.getLogger(NAME)


def say(event: str, level: int = logging.INFO, **fields: Any) -> None:
    """Log an event with its fields, plain values."""
    log.log(level, event, extra={"fields": fields})


class _Lines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        now = datetime.datetime.fromtimestamp(record.created, datetime.UTC).isoformat(timespec="milliseconds")
        line = {"time": now, "level": record.levelname.lower(), "event": record.getMessage()}
        return json.dumps(line | getattr(record, "fields", {}), default=str)


@contextmanager
def run_log(path: Path) -> Iterator[None]:
    """While inside, what this process logs goes to a file as well; one that cannot be written costs no run."""
    log.setLevel(logging.INFO)
    handler: logging.Handler = logging.NullHandler()
    with suppress(OSError):
        handler = logging.FileHandler(path)
        handler.handleError = lambda record: None  # type: ignore[method-assign]  # a full disk
    handler.setFormatter(_Lines())
    log.addHandler(handler)
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(handler)
        with suppress(OSError):
            handler.close()


def show_log() -> None:
    """Show what is logged on standard error: plain lines, or JSON if PERIJOVE_LOG says so."""
    handler = logging.StreamHandler(sys.stderr)
    as_json = os.environ.get("PERIJOVE_LOG") == "json"
    handler.setFormatter(_Lines() if as_json else logging.Formatter("%(asctime)s %(levelname)-7s %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
