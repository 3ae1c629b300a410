"""Files on disk: written so that they are whole or not there at all, and told apart by their hashes."""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from pipeline.errors import InputError, StoreError


@contextmanager
def aside(path: Path) -> Iterator[Path]:
    """A place beside `path` to write a file at, which is synced and gets its name if all went well, else removed."""
    # Without the suffix: what is unfinished must not be taken for a product.
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        yield part
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        with suppress(OSError):
            part.unlink()


@contextmanager
def locked(path: Path, waiting: Callable[[str], None] = lambda holder: None) -> Iterator[None]:
    """Hold the lock of a file, which ends with the process; calls `waiting` with the process that has it, and waits.

    Raises
    ------
    StoreError
        if the file cannot be written.
    """
    with ExitStack() as opened:
        try:
            file = opened.enter_context(path.open("ab+", buffering=0))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                waiting(file.read().decode().strip())
                fcntl.flock(file, fcntl.LOCK_EX)
            file.truncate(0)
            file.write(f"{os.getpid()}\n".encode())
        except OSError as error:
            raise StoreError(f"{path} cannot be written: {error.strerror}") from error
        yield


def write_aside(path: Path, content: bytes) -> None:
    """Write a file beside its place, sync it, and rename it there: it is whole or not there at all.

    Raises
    ------
    StoreError
        if it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with aside(path) as part:
            part.write_bytes(content)
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror}") from error


def copy_checked(source: Path, place: Path, sha256: str) -> None:
    """Copy a file as `write_aside` writes one.

    Raises
    ------
    InputError
        if it is no longer the one with that hash.
    StoreError
        if the copy cannot be written.
    """
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with aside(place) as part:
            shutil.copyfile(source, part)
            if file_sha256(part) != sha256:
                raise InputError(source, "changed while it was read")
    except OSError as error:
        raise StoreError(f"{place} cannot be written: {error.strerror}") from error


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's content; raises InputError if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(path, f"cannot be read: {error.strerror}") from error
