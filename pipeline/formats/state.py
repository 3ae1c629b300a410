"""By what a file's content is remembered."""

from __future__ import annotations

from pathlib import Path

from pipeline.errors import InputError


def file_state(path: Path) -> tuple[int, int]:
    """Time of the last change and size: while they stay, so does the content. InputError if it cannot be read."""
    try:
        state = path.stat()
    except OSError as error:
        raise InputError(path, f"cannot be read: {error.strerror}") from error
    return state.st_mtime_ns, state.st_size
