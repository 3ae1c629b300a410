"""The errors a user meets: each names the file, the place in it and the reason.

Everything here derives from `PerijoveError`; the command line turns it into one message and an exit status,
never a traceback. Any other exception that reaches a user is a defect of this project.
"""

from __future__ import annotations

from pathlib import Path


class PerijoveError(Exception):
    """Base of every error that is the user's to act on."""

    exit_status = 1


class UsageError(PerijoveError):
    """A wrong request: unknown pass, instrument, product, parameter; the message offers the nearest names."""

    exit_status = 2


class InputError(PerijoveError):
    """A file that cannot be used.

    Parameters
    ----------
    path : path of the file.
    reason : what is wrong and, where it helps, what would be right.
    place : where in the file (``"line 12"``, ``"byte 4096"``, ``"packet 17"``), if known.
    """

    exit_status = 3

    def __init__(self, path: str | Path, reason: str, place: str | None = None) -> None:
        super().__init__(str(path), reason, place)
        self.path = Path(path)
        self.reason = reason
        self.place = place

    def __str__(self) -> str:
        where = f"{self.path}, {self.place}" if self.place else str(self.path)
        return f"{where}: {self.reason}"


class OtherFormatError(InputError):
    """A file of another format than the one asked for, as its own content says, whatever lies beside it."""


class CalibrationError(PerijoveError):
    """A calibration table that is missing, ambiguous or inconsistent."""

    exit_status = 3


class GeometryError(PerijoveError):
    """Geometry that cannot be had: no kernel, no state, a time outside what is covered."""

    exit_status = 3


class StoreError(PerijoveError):
    """The store cannot be read or written."""

    exit_status = 3


class WorkerLostError(PerijoveError):
    """A piece of work that takes the process it runs in with it."""


class SchedulerLostError(PerijoveError):
    """The scheduler that a run was given is gone: nothing more can be made in this run."""


# Names that a message may list; of more it says how to list them.
FEW = 20


def nearest(name: str, names: list[str], command: str = "") -> str:
    """Sentence part that offers the nearest of `names`; where none is near all, or the `command` that lists them.

    Parameters
    ----------
    command : shows the names; only said where they are more than fit into a message.
    """
    import difflib

    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    if near:
        return f"did you mean {', '.join(near)}?"
    if command and len(names) > FEW:
        return f"`{command}` lists all {len(names)}"
    return f"known: {', '.join(sorted(names))}"
