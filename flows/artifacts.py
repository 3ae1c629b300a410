"""Progress and outcome of a run as artifacts of Prefect's, shown beside it in the interface."""

from __future__ import annotations

import contextvars
import threading
from types import TracebackType
from typing import Any
from uuid import UUID

from prefect.artifacts import create_progress_artifact, create_table_artifact, update_progress_artifact

from pipeline.runs.plan import Plan
from pipeline.runs.summary import missing

# Seconds between two updates of the progress.
PACE = 2.0


class Shown:
    """Segments done of all that a plan has, as a progress artifact of the flow that runs."""

    def __init__(self, plan: Plan) -> None:
        self._done: dict[str, int] = {}
        self._all = {str(p.identity): len(p.segments) for p in plan.to_make()}
        self._changed = threading.Event()
        self._ended = threading.Event()
        # With this run's settings: without its address of a server Prefect would start another, which outlives a kill.
        context = contextvars.copy_context()
        self._thread = threading.Thread(target=context.run, args=(self._tell,), name="progress", daemon=True)

    def __enter__(self) -> Shown:
        self._id = _uuid(create_progress_artifact(0.0, key="progress", description="segments done"))
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def update(self, name: str, done: int, total: int) -> None:
        """A product's segments done and their number."""
        self._done[name], self._all[name] = done, total
        self._changed.set()

    def _tell(self) -> None:
        # The interface is looked at by people: it is told at their pace, not the workers'.
        while True:
            ended = self._ended.wait(PACE)
            if self._changed.is_set() or ended:
                self._changed.clear()
                share = 100.0 * sum(self._done.values()) / max(1, sum(self._all.values()))
                try:
                    update_progress_artifact(self._id, progress=min(100.0, share))
                except Exception:  # the server is gone: the flow says so, in its own words
                    return
            if ended:
                return


def show_outcome(record: dict[str, Any]) -> None:
    """What became of every product, and what is missing, as tables."""
    products = [
        {
            "product": p["identity"],
            "status": p["status"],
            "seconds": p.get("seconds"),
            "MB": round(p["bytes"] / 1e6, 2) if p.get("bytes") else None,
            "peak MB": p.get("peak_mb"),
            "flagged": ", ".join(f"{n} {100 * s:.2g} %" for n, s in (p.get("flagged") or {}).items()),
            "reason": p["reason"],
        }
        for p in record["products"]
    ]
    name = f"pj{record['pass']:02d}"
    create_table_artifact(table=products, key=f"{name}-products", description=f"run {record['run']}")
    gaps = missing(record)
    if gaps:
        create_table_artifact(table=gaps, key=f"{name}-missing", description="times without records")


def _uuid(value: Any) -> UUID:
    assert isinstance(value, UUID)
    return value
