"""Where a bundle is while it is being written: a folder that is whole, or not there under its name."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline.errors import StoreError


@contextmanager
def folder_aside(folder: Path) -> Iterator[Path]:
    """A place beside `folder` to fill, whose files are synced and which gets its name if all went well, else goes.

    What a process that was killed left of an earlier one goes first: one that is at work holds a lock on its place.

    Raises
    ------
    StoreError
        if it cannot be written, or is there already.
    """
    part = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.part")
    try:
        for left in folder.parent.glob(f".{folder.name}.*.part"):
            with suppress(OSError), _held(left):
                shutil.rmtree(left)
        part.mkdir(parents=True)
        with _held(part):
            yield part
            for path in part.rglob("*"):
                if path.is_file():
                    with path.open("rb") as file:
                        os.fsync(file.fileno())
            part.replace(folder)
    except OSError as error:
        raise StoreError(f"{folder} cannot be written: {error.strerror}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder, which ends with the process; raises OSError if another has it."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(opened)
