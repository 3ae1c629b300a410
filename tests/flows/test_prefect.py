"""The command through the real flow: Prefect in the process, Dask workers beside it, nothing else anywhere."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from core_fixtures import (
    SITE,
    command,
    environment,
    left_behind,
    made,
    product_bytes,
    run,
    start,
    statuses,
    write_faulty,
)

# A process that notes every attempt to reach anything but this machine, and to start a server beside it.
NO_NETWORK = """
import socket, subprocess, sys, perijove
noted = open(sys.argv.pop(1), "a")
def watched(method):
    def call(self, address, *rest):
        if isinstance(address, tuple) and not str(address[0]).startswith(("127.", "localhost", "::1")):
            print("connect", address, file=noted, flush=True)
            raise OSError("no network here")
        return method(self, address, *rest)
    return call
socket.socket.connect = watched(socket.socket.connect)
socket.socket.connect_ex = watched(socket.socket.connect_ex)
look_up = socket.getaddrinfo
def getaddrinfo(host, *rest, **more):
    if host not in (None, "", "localhost", "127.0.0.1", "::1", socket.gethostname()):
        print("look up", host, file=noted, flush=True)
        raise OSError("no network here")
    return look_up(host, *rest, **more)
socket.getaddrinfo = getaddrinfo
class Popen(subprocess.Popen):
    def __init__(self, command, *rest, **more):
        if "uvicorn" in command:
            print("server", command, file=noted, flush=True)
        super().__init__(command, *rest, **more)
subprocess.Popen = Popen
perijove.main()
"""


def test_run_in_a_hostile_place(raw: Path, store: Path, tmp_path: Path) -> None:
    """A folder with modules of our names, no home, no network: the same bytes, no word on standard error but progress,
    nothing left behind, and the second time nothing is started at all."""
    hostile = tmp_path / "folder"
    hostile.mkdir()
    for name in ("pipeline", "calibration", "flows", "instruments", "prefect_home"):
        (hostile / f"{name}.py").write_text("raise SystemExit('the wrong module was imported')\n")
    noted = tmp_path / "network"
    marker = str(tmp_path)
    env = environment(HOME="/proc/nowhere", PERIJOVE_TEST=marker)
    arguments = [
        "run",
        "1",
        "--instrument",
        "tally",
        "--raw",
        raw,
        "--store",
        tmp_path / "flow",
        "--workers",
        "2",
        "--json",
    ]
    process = subprocess.run(
        [sys.executable, "-c", NO_NETWORK, str(noted), *map(str, arguments)],
        capture_output=True, text=True, cwd=hostile, env=env, timeout=240, check=False,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    record = json.loads(process.stdout)
    assert set(statuses(record).values()) == {"made"}
    assert sorted(process.stderr.splitlines()) == sorted(
        ["tally.rate/PJ01: 4 segments", "tally.dose/PJ01: 3 segments", "1 picture"]
        + [f"tally.histogram/PJ01/TLY_00{k}: 1 segment" for k in (0, 1)]
    )
    assert product_bytes(tmp_path / "flow") == product_bytes(store)
    assert artifacts(tmp_path / "flow" / "prefect") == [("progress", 100.0)]
    assert noted.read_text() == ""
    assert left_behind(marker) == []
    assert record["peak_mb"] > 200
    assert sorted(f.name for f in hostile.iterdir() if f.is_dir()) == []

    nothing = (
        "import perijove, sys\ntry:\n    perijove.main()\nfinally:\n"
        "    heavy = {'prefect', 'distributed', 'matplotlib', 'uvicorn', 'spiceypy'} & set(sys.modules)\n"
        "    print(sorted(heavy), file=sys.stderr)"
    )
    process = subprocess.run(
        [sys.executable, "-c", nothing, *map(str, arguments)],
        capture_output=True, text=True, cwd=hostile, env=env, timeout=60, check=False,
    )  # fmt: skip
    assert process.stderr == "[]\n"
    assert set(statuses(json.loads(process.stdout)).values()) == {"kept"}


@pytest.mark.slow
def test_failures_are_named(faulty_raw: Path, tmp_path: Path) -> None:
    products = [o for n in ("good", "bad", "after", "without") for o in ("--product", f"faulty.{n}")]
    process = command(
        "run", 1, "--raw", faulty_raw, "--store", tmp_path / "s", *products, "--set", "faulty.bad.how=die"
    )
    assert process.returncode == 1
    assert "the worker process died on it each time" in process.stdout
    assert "Traceback" not in process.stdout + process.stderr


@pytest.mark.slow
def test_two_passes_at_once(tmp_path: Path) -> None:
    from faulty_instrument import write_raw

    write_faulty(tmp_path / "raw")
    write_raw(tmp_path / "raw" / "FLT_2.TXT", "2016-12-11T16:30:00", 360)
    runs = [
        start("run", n, "--instrument", "faulty", "--raw", tmp_path / "raw", "--store", tmp_path / "s", "--json")
        for n in (1, 3)
    ]
    for process, number in zip(runs, ("PJ01", "PJ03"), strict=True):
        out, err = process.communicate(timeout=240)
        assert process.returncode == 0, err
        assert statuses(json.loads(out)) == {f"faulty.good/{number}": "made"}


@pytest.mark.slow
def test_two_runs_of_one_pass(raw: Path, tmp_path: Path) -> None:
    """The second waits for the first, and finds everything made."""
    arguments = ("run", 1, "--instrument", "tally", "--raw", raw, "--store", tmp_path / "s", "--json")
    outputs = [p.communicate(timeout=240) for p in [start(*arguments), start(*arguments)]]
    records = [json.loads(out) for out, _ in outputs]
    assert sorted(len(made(r)) for r in records) == [0, 4]
    assert any("waiting for another run of this pass" in err for _, err in outputs)


@pytest.mark.slow
def test_scheduler_of_ones_own(raw: Path, store: Path, tmp_path: Path) -> None:
    from flows.cluster import cluster

    with cluster(1, None) as client:
        dask = ("--dask", client.result().scheduler.address)
        process = command("run", 1, "--instrument", "tally", "--raw", raw, "--store", tmp_path / "s", *dask)
    assert process.returncode == 0, process.stderr
    assert product_bytes(tmp_path / "s") == product_bytes(store)


def test_scheduler_that_is_not_there(raw: Path, tmp_path: Path) -> None:
    """Found before Prefect is started, and said in one line."""
    process = command(
        "run", 1, "--instrument", "tally", "--raw", raw, "--store", tmp_path / "s", "--dask", "tcp://127.0.0.1:9"
    )
    assert process.returncode == 2
    assert process.stderr.splitlines()[-1].startswith("perijove: no Dask scheduler answers at tcp://127.0.0.1:9")
    assert "Traceback" not in process.stderr


@pytest.mark.slow
def test_server_of_ones_own_is_used(raw: Path, tmp_path: Path) -> None:
    """PREFECT_API_URL stands: a server that is not there is an error, not a reason to start another."""
    process = command(
        "run", 1, "--instrument", "tally", "--raw", raw, "--store", tmp_path / "s",
        PREFECT_API_URL="http://127.0.0.1:9/api",
    )  # fmt: skip
    assert process.returncode != 0


def artifacts(home: Path) -> list[tuple[str, float]]:
    """Progress artifacts of Prefect's database: key and value."""
    with closing(sqlite3.connect(home / "prefect.db")) as database:
        rows = database.execute("select key, data from artifact where type = 'progress'").fetchall()
    return [(key, float(data)) for key, data in rows]


def test_environment_of_the_user_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from flows.settings import prefect_environment, prepare_environment

    for name in prefect_environment(tmp_path):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "mine"))
    prepare_environment(tmp_path / "store")
    import os

    assert os.environ["PREFECT_HOME"] == str(tmp_path / "mine")
    assert os.environ["DO_NOT_TRACK"] == "1"
    assert SITE.exists()
    assert run is not None
