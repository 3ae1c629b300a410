"""Settings of Prefect and of numerical libraries, made before they are imported.

Prefect keeps its database in the store unless the user chose a place, stays silent, and sends nothing anywhere.
"""

from __future__ import annotations

import os
from pathlib import Path

# One thread per worker process: equal keys must give equal bytes for any number of workers.
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
SINGLE_THREAD = dict.fromkeys(_THREADS, "1")


def prefect_environment(store: Path) -> dict[str, str]:
    """What the environment should say, as far as the user has not said otherwise."""
    return {
        "PREFECT_HOME": str(store / "prefect"),
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY": "false",
        "PREFECT_LOGGING_LEVEL": "CRITICAL",
        "PREFECT_LOGGING_TO_API_ENABLED": "false",
        "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL",
        "PREFECT_SERVER_UI_ENABLED": "false",
        "PREFECT_API_BLOCKS_REGISTER_ON_START": "false",
        "PREFECT_RESULTS_PERSIST_BY_DEFAULT": "false",
    }


# What is different where Prefect's interface is to be looked at and a schedule kept.
SERVED = {
    "PREFECT_LOGGING_LEVEL": "WARNING",
    "PREFECT_LOGGING_TO_API_ENABLED": "true",
    "PREFECT_SERVER_UI_ENABLED": "true",
}


def prepare_environment(store: Path, *, served: bool = False) -> None:
    """Put the settings into this process's environment; values that are set already stand."""
    chosen = prefect_environment(store) | (SERVED if served else {})
    for name, value in chosen.items():
        os.environ.setdefault(name, value)
    home = Path(os.environ["PREFECT_HOME"]).resolve()
    if served:
        # Prefect unpacks its interface there; its own folder may not be ours to write.
        os.environ.setdefault("PREFECT_UI_STATIC_DIRECTORY", str(home / "ui"))
    home.mkdir(parents=True, exist_ok=True)
