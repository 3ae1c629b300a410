"""Ctrl-C, SIGTERM and SIGKILL: a clean end, nothing left behind, and the next run goes on."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from core_fixtures import command, environment, product_bytes, run, start, statuses, write_faulty

from pipeline.runs.store import Store

SLOW = ("run", 1, "--instrument", "faulty", "--workers", "2", "--set", "faulty.good.wait=600", "--timeout", "1e6")


def session_of(pid: int) -> list[int]:
    """Living processes of a session."""
    listing = subprocess.run(["ps", "-eo", "pid=,sid=,stat="], capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in listing.splitlines()]
    return [int(p) for p, sid, stat in rows if int(sid) == pid and not stat.startswith("Z")]


def working(store: Path, process: subprocess.Popen[str]) -> None:
    """Wait until segments are being computed."""
    deadline = time.monotonic() + 120
    while not any((store / "work").glob("*/")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    time.sleep(2.0)


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)]
)
def test_signal_ends_a_run(tmp_path: Path, number: int, status: int) -> None:
    """While two workers sit in a step that takes ten minutes."""
    write_faulty(tmp_path / "raw")
    store = tmp_path / "store"
    process = start(*SLOW, "--raw", tmp_path / "raw", "--store", store)
    working(store, process)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == status
    assert err.splitlines()[-1].startswith("perijove: ")
    assert "the next run goes on" in err
    assert "Traceback" not in err
    assert session_of(process.pid) == []
    assert Store(store).run(None)["ended"] == "interrupted"
    assert not any((store / "work").glob("*/"))
    record = run(tmp_path / "raw", store, "faulty")
    assert statuses(record) == {"faulty.good/PJ01": "made"}


def test_sigterm_before_anything_started(tmp_path: Path) -> None:
    """A run that waits for another one of the same pass."""
    write_faulty(tmp_path / "raw")
    with Store(tmp_path / "store").prepare().lease(1):
        process = start(*SLOW, "--raw", tmp_path / "raw", "--store", tmp_path / "store")
        assert process.stderr is not None
        assert process.stderr.readline().startswith("waiting for another run of this pass")
        process.terminate()
        process.communicate(timeout=30)
    assert process.returncode == 143
    assert session_of(process.pid) == []


# Killed at any moment

IN_PROCESS = """
import sys, perijove
perijove.run(1, instruments=["tally"], raw=sys.argv[1], store=sys.argv[2])
"""


def killed(arguments: list[str], seconds: float) -> bool:
    """Start a run and kill it; True if it was still going on."""
    process = subprocess.Popen(
        [sys.executable, "-c", *arguments], start_new_session=True, env=environment(),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        process.wait(seconds)
        return False
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return True


def test_killed_run_goes_on(raw: Path, store: Path, tmp_path: Path) -> None:
    """Killed three times within what it takes, each time later; then left alone: as if it had never been disturbed."""
    began = time.monotonic()
    subprocess.run(
        [sys.executable, "-c", IN_PROCESS, raw, tmp_path / "whole"], env=environment(), timeout=120, check=True
    )
    whole = time.monotonic() - began
    place = tmp_path / "killed"
    for share in (0.5, 0.75, 0.9):
        killed([IN_PROCESS, str(raw), str(place)], share * whole)
        whole_files_only(place)
    run(raw, place)
    assert product_bytes(place) == product_bytes(store)
    assert not [f for f in place.rglob("*.part") if "work" not in f.parts]


def whole_files_only(place: Path) -> None:
    from pipeline.dataset import netcdf

    for path in Store(place).products():
        assert netcdf.read_attrs(path)["product_key"].startswith(path.stem)
    for path in (place / "runs").glob("*.json"):
        json.loads(path.read_bytes())


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_command_killed_at_ten_random_moments(raw: Path, store: Path, tmp_path: Path) -> None:
    """The whole command, Prefect and workers and all; each time in a store of its own, so that it is in the midst."""
    arguments = ["run", "1", "--instrument", "tally", "--raw", str(raw), "--workers", "2", "--store"]
    began = time.monotonic()
    assert command(*arguments, tmp_path / "whole").returncode == 0
    whole = time.monotonic() - began
    expected = product_bytes(store)
    assert product_bytes(tmp_path / "whole") == expected
    unfinished = 0
    for number, moment in enumerate(np.random.default_rng(2016).uniform(0.05, 0.95, 10)):
        place = tmp_path / f"killed-{number}"
        process = subprocess.Popen(
            [sys.executable, "-c", "import perijove; perijove.main()", *arguments, str(place)],
            start_new_session=True, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        time.sleep(moment * whole)
        process.kill()
        process.wait()
        # Nothing outlives it for long: workers see that their parent is gone.
        deadline = time.monotonic() + 30
        while session_of(process.pid) and time.monotonic() < deadline:
            time.sleep(0.2)
        assert session_of(process.pid) == []
        whole_files_only(place)
        unfinished += len(product_bytes(place)) < len(expected)
        run(raw, place)
        assert product_bytes(place) == expected
        assert not list(place.rglob("*.part"))
    assert unfinished, "it was never killed in the midst of a run"
    # Once through the command itself.
    assert command(*arguments, tmp_path / "killed-0").returncode == 0
