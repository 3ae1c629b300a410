"""How many calls are in flight: as many as the memory of the machines holds, by what calls of their kind have taken.

A call's kind is what it makes. The first of a kind goes ahead of the others of its kind, and tells what they will need;
later ones may tell more. Edges of segments never depend on this: only how many are computed at a time does.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# Of a machine's memory, or of the limits of its workers; the rest is for what is not measured.
USABLE = 0.8


class Admission:
    """Lets calls begin, one by one.

    Parameters
    ----------
    workers : processes, each of which does one call at a time.
    capacity_mb : what they may take together.
    """

    def __init__(self, workers: int, capacity_mb: float) -> None:
        self.workers, self.capacity = max(1, workers), USABLE * capacity_mb
        self.known: dict[str, float] = {}
        self.running: list[str] = []
        self.stopped = False
        self._alone = False
        self._changed = threading.Condition()

    def enter(self, kind: str, timeout: float | None = None) -> bool:
        """Wait until there is room for a call of a kind, for so many seconds; True if there is.

        Raises
        ------
        InterruptedError
            if there will be none any more.
        """
        with self._changed:
            room = self._changed.wait_for(lambda: self.stopped or (not self._alone and self._fits(kind)), timeout)
            if self.stopped:
                raise InterruptedError("the run was stopped")
            if room:
                self.running.append(kind)
            return room

    def leave(self, kind: str) -> None:
        """A call has ended."""
        with self._changed:
            self.running.remove(kind)
            self._changed.notify_all()

    def tell(self, kind: str, peak_mb: float) -> None:
        """Say what a call's process took at most."""
        with self._changed:
            self.known[kind] = max(peak_mb, self.known.get(kind, 0.0))
            self._changed.notify_all()

    def stop(self) -> None:
        """No call begins any more."""
        with self._changed:
            self.stopped = True
            self._changed.notify_all()

    @contextmanager
    def alone(self, alive: Callable[[], object], poll: float) -> Iterator[None]:
        """While inside, nothing else runs.

        Parameters
        ----------
        alive : called every `poll` seconds while what runs is waited for; raises if it will never end.

        Raises
        ------
        InterruptedError
            if the run was stopped.
        """
        with self._changed:
            self._changed.wait_for(lambda: self.stopped or not self._alone)
            self._alone = True
        try:
            while not self._emptied(poll):
                alive()
            yield
        finally:
            with self._changed:
                self._alone = False
                self._changed.notify_all()

    def _emptied(self, timeout: float) -> bool:
        with self._changed:
            empty = self._changed.wait_for(lambda: self.stopped or not self.running, timeout)
            if self.stopped:
                raise InterruptedError("the run was stopped")
            return empty

    def _fits(self, kind: str) -> bool:
        if not self.running:
            return True
        if len(self.running) >= self.workers or (kind not in self.known and kind in self.running):
            return False
        share = self.capacity / self.workers
        return sum(self.known.get(k, share) for k in [*self.running, kind]) <= self.capacity
