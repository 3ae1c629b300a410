"""Standard output of the command line."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

import click

from pipeline.errors import StoreError


def print_document(document: Any, as_json: bool, show: Callable[[Any], None]) -> None:
    """Print a document as JSON, or as `show` shows it to people; raises StoreError if that cannot be written."""
    try:
        if as_json:
            click.echo(json.dumps(document, indent=1, default=str))
        else:
            show(document)
    except BrokenPipeError:
        raise
    except OSError as error:
        drop_output()
        raise StoreError(f"standard output cannot be written: {error.strerror}") from error


def drop_output() -> None:
    """Let what is left of the output, which Python writes at its end, go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
