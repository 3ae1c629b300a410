"""kill -9 at random moments: of the process, of workers, of the scheduler, of Prefect's server.

After each: no half-written product, none lost, the catalogue consistent, the next run completes, and the bytes are
those of a run that nobody disturbed.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from core_fixtures import (
    SITE,
    command,
    environment,
    free_port,
    product_bytes,
    request,
    run,
    start,
    statuses,
    write_faulty,
)
from distributed import Client

import perijove
from flows.cluster import OnDask, cluster
from pipeline.dataset import netcdf
from pipeline.errors import SchedulerLostError
from pipeline.passes import get_pass
from pipeline.runs.execute import InProcess
from pipeline.runs.run import Request, carry_out, prepare, with_executor
from pipeline.runs.store import Store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def consistent(place: Path, before: dict[str, str], whole: dict[str, str]) -> None:
    """What is there is whole, what was there still is, and the catalogue can be read and tells no lie."""
    there = product_bytes(place) if (place / "products").is_dir() else {}
    finished = {name: digest for name, digest in there.items() if not name.endswith(".part")}
    kept = {name: digest for name, digest in before.items() if not name.endswith(".part")}
    assert kept.items() <= finished.items(), "a product was lost"
    assert finished.items() <= whole.items(), "a product is not what it should be"
    for path in Store(place).products():
        assert netcdf.read_attrs(path)["product_key"].startswith(path.stem)
    for path in (place / "runs").glob("*.json"):
        json.loads(path.read_bytes())
    catalogue = place / "catalogue.sqlite"
    if catalogue.exists():
        with closing(sqlite3.connect(catalogue)) as database:
            assert database.execute("pragma integrity_check").fetchone() == ("ok",)


def completes(raw: Path, place: Path, whole: dict[str, str]) -> None:
    record = run(raw, place)
    assert set(statuses(record).values()) <= {"made", "kept"}
    assert product_bytes(place) == whole
    assert not list(place.rglob("*.part"))
    assert not list((place / "work").glob("*/"))


# The process: children that have everything imported, killed within what a run takes

FORKING = """
import os, sys, perijove
from pathlib import Path
from pipeline.runs.execute import InProcess
from pipeline.runs.run import Request, carry_out, prepare, with_executor
raw = Path(sys.argv[1])
print("ready", flush=True)
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        carry_out(prepare(Request(1, Path(line.strip()), raw, ("tally",))), with_executor(InProcess()))
        os._exit(0)
    print(child, flush=True)
    print(os.waitpid(child, 0)[1], flush=True)
"""


def test_process_killed_at_fifty_moments(raw: Path, store: Path, tmp_path: Path) -> None:
    """Each within what a whole run takes; every fifth in a new store, the others where the last one was killed."""
    whole = product_bytes(store)
    rng = np.random.default_rng(50)
    with subprocess.Popen(
        [sys.executable, "-c", FORKING, str(raw)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env=environment(),
    ) as parent:  # fmt: skip
        assert parent.stdin is not None
        assert parent.stdout is not None
        assert parent.stdout.readline() == "ready\n"

        def run_child(place: Path, seconds: float) -> tuple[bool, float]:
            began = time.monotonic()
            print(place, file=parent.stdin, flush=True)
            child = int(parent.stdout.readline())  # type: ignore[union-attr]
            timer = threading.Timer(seconds, os.kill, (child, signal.SIGKILL))
            timer.start()
            status = int(parent.stdout.readline())  # type: ignore[union-attr]
            timer.cancel()
            timer.join()
            assert status in (0, signal.SIGKILL)
            return status != 0, time.monotonic() - began

        # The shortest of three: where the first is slow, most kills would come after the end of the others.
        undisturbed = [tmp_path / f"undisturbed-{k}" for k in range(3)]
        runs = [run_child(place, 600.0) for place in undisturbed]
        assert not any(died for died, _ in runs)
        assert all(product_bytes(place) == whole for place in undisturbed)
        takes = min(seconds for _, seconds in runs)
        killed = unfinished = 0
        for number in range(50):
            place = tmp_path / f"killed-{number // 5}"
            before = product_bytes(place) if place.exists() else {}
            died, _ = run_child(place, float(rng.uniform(0.02, 1.0)) * takes)
            killed += died
            unfinished += len(product_bytes(place)) < len(whole) if (place / "products").exists() else 1
            consistent(place, before, whole)
            if number % 5 == 4:
                completes(raw, place, whole)
        parent.stdin.close()
    assert killed > 10
    assert unfinished > 5, "it was never killed in the midst of a run"


def test_worker_killed_at_fifty_moments(raw: Path, store: Path, tmp_path: Path) -> None:
    """A worker of two, while runs go on; what it had in hand is made by another."""
    whole = product_bytes(store)
    chance = random.Random(50)
    kills = 0
    with cluster(2, None) as started:
        executor = OnDask(started.result())
        while kills < 50:
            place = tmp_path / f"store-{kills}"
            done = threading.Event()

            def kill(done: threading.Event = done) -> None:
                nonlocal kills
                while kills < 50 and not done.wait(chance.uniform(0.05, 1.5)):
                    pids = list(executor.client.run(os.getpid, on_error="ignore").values())
                    pids = [p for p in pids if isinstance(p, int)]
                    if pids and not done.is_set():
                        os.kill(chance.choice(pids), signal.SIGKILL)
                        kills += 1

            killer = threading.Thread(target=kill)
            killer.start()
            try:
                record = carry_out(prepare(request(raw, place)), with_executor(executor))
            finally:
                done.set()
                killer.join()
            # One that lost its worker twice, also alone, is set aside; nothing else may happen to it.
            told = [(p["identity"], p["reason"]) for p in record["products"] if p["status"] == "failed"]
            assert told == []
            consistent(place, {}, whole)
            completes(raw, place, whole)


# A scheduler and a server of one's own


def wait_for(true: Callable[[], bool], every: float = 0.1) -> None:
    deadline = time.monotonic() + 300.0
    while not true():
        assert time.monotonic() < deadline
        time.sleep(every)


@contextmanager
def process(*arguments: str, **env: str) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        [sys.executable, "-m", *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env=environment(**env), start_new_session=True,
    ) as started:  # fmt: skip
        try:
            yield started
        finally:
            with suppress(ProcessLookupError):
                os.killpg(started.pid, signal.SIGKILL)


def listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Killing(OnDask):
    """Kills the scheduler at one of its calls: before it is sent, or so many seconds later."""

    def __init__(self, client: Client, scheduler: subprocess.Popen[bytes], call: int, later: float) -> None:
        super().__init__(client)
        self.scheduler, self.left, self.later = scheduler, call, later

    def submit(self, *call: Any) -> Any:
        self.left -= 1
        if self.left == 0 and self.later == 0:
            self.scheduler.kill()
        future = super().submit(*call)
        if self.left == 0 and self.later > 0:
            threading.Timer(self.later, self.scheduler.kill).start()
        return future


@pytest.mark.parametrize(("share", "later"), [(0.0, 0.01), (0.3, 0.0), (0.5, 0.03), (0.8, 0.001), (1.0, 0.0)])
def test_scheduler_killed(raw: Path, store: Path, tmp_path: Path, share: float, later: float) -> None:
    """At one of the calls of a run, wherever that is then: it ends with one message; the next one completes."""
    whole = product_bytes(store)
    port = free_port()
    address = f"tcp://127.0.0.1:{port}"
    scheduler = process("distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard")
    worker = ("distributed.cli.dask_worker", address, "--nthreads", "1", "--preload", "perijove", "--no-dashboard")
    with scheduler as killed, process(*worker):
        wait_for(lambda: listening(port))
        with Client(address, set_as_default=False) as waiting:
            waiting.wait_for_workers(1, timeout=120)
        with cluster(1, address) as started:
            session = prepare(request(raw, tmp_path / "s"))
            calls = sum(len(p.segments) + 1 for p in session.plan().to_make())  # segments, and what joins them
            executor = Killing(started.result(), killed, max(1, round(share * calls)), later)
            with pytest.raises(SchedulerLostError, match=r"the Dask scheduler at tcp://.* does not answer any more"):
                carry_out(session, with_executor(executor))
    record = Store(tmp_path / "s").run(None)
    assert record["ended"].startswith("the Dask scheduler at ")
    assert {p["reason"] for p in record["products"] if p["status"] != "made"} == {"the run was interrupted"}
    consistent(tmp_path / "s", {}, whole)
    completes(raw, tmp_path / "s", whole)


def test_scheduler_of_a_command_killed(tmp_path: Path) -> None:
    """With Prefect and several products at a time: one message, and not one of them is blamed."""
    port = free_port()
    address = f"tcp://127.0.0.1:{port}"
    scheduler = process("distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard")
    worker = ("distributed.cli.dask_worker", address, "--nthreads", "1", "--preload", "perijove", "--no-dashboard")
    write_faulty(tmp_path / "raw")
    products = [o for name in ("good", "bad", "without") for o in ("--product", f"faulty.{name}")]
    slow = ("--set", "faulty.good.wait=600", "--timeout", "1e6")
    store = tmp_path / "s"
    with scheduler as killed, process(*worker):
        wait_for(lambda: listening(port))
        with Client(address, set_as_default=False) as waiting:
            waiting.wait_for_workers(1, timeout=240)
        command_ = start("run", 1, "--raw", tmp_path / "raw", "--store", store, *products, *slow, "--dask", address)
        wait_for(lambda: len(list((store / "work").glob("*/"))) >= 2 or command_.poll() is not None)
        killed.kill()
        _, err = command_.communicate(timeout=300)
    assert command_.returncode == 1, err
    assert err.splitlines()[-1].startswith(f"perijove: the Dask scheduler at {address} does not answer any more")
    assert "Traceback" not in err
    (log,) = (store / "logs").glob("*.log")
    told = [event for event in map(json.loads, log.read_text().splitlines()) if event["event"] == "product"]
    assert [event for event in told if event["status"] != "made"] == []


@contextmanager
def prefect_server(home: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    env = {"PREFECT_HOME": str(home), "DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    arguments = ("prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port), "--no-ui")
    with process(*arguments, **env) as server:

        def healthy() -> bool:
            assert server.poll() is None
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/health", timeout=5) as answer:
                    return bool(answer.status == 200)
            except OSError:
                return False

        wait_for(healthy)
        yield server


@pytest.mark.parametrize("share", [0.2, 0.4, 0.5, 0.6, 0.8])
def test_prefect_server_killed(raw: Path, store: Path, tmp_path: Path, share: float) -> None:
    """A run ends, done or with one message; the next one, with another server, completes."""
    whole = product_bytes(store)
    port = free_port()
    # Its client would try for minutes whether the server comes back.
    api = {"PREFECT_API_URL": f"http://127.0.0.1:{port}/api", "PREFECT_CLIENT_MAX_RETRIES": "1"}
    arguments: list[Any] = ["run", 1, "--instrument", "tally", "--raw", raw, "--workers", "1", "--store"]
    with prefect_server(tmp_path / "home", port) as server:
        process_ = start(*arguments, tmp_path / "s", **api)
        wait_for(lambda: any((tmp_path / "s" / "logs").glob("*.log")))
        time.sleep(share * 12.0)
        server.kill()
        _, err = process_.communicate(timeout=300)
    assert process_.returncode in (0, 1), err
    assert "Traceback" not in err
    consistent(tmp_path / "s", {}, whole)
    answer = command(*arguments, tmp_path / "s")
    assert answer.returncode == 0, answer.stderr
    assert product_bytes(tmp_path / "s") == whole


# All passes of a mission

WHOLE_MISSION = """
import os, sys
sys.path.insert(0, sys.argv.pop(1))
import perijove
from core_fixtures import made_here
with made_here():
    from pipeline.cli import main
    main()
"""


def test_reprocessing_killed_goes_on(tmp_path: Path) -> None:
    """`run --all-passes` under a new context, killed three times in the midst: the next command makes only the rest."""
    from tally_instrument.simulate import simulate

    passes = (1, 3, 4, 5)
    store = tmp_path / "store"
    for number in passes:
        raw = tmp_path / f"raw-{number}"
        for _ in simulate(SimpleNamespace(pass_=get_pass(number)), raw, "demo", np.random.default_rng(number)):
            pass
        asked = Request(pass_number=number, raw=raw, store=store, instruments=("tally",))
        assert set(statuses(carry_out(prepare(asked), with_executor(InProcess()))).values()) == {"made"}
    before = product_bytes(store)
    table = perijove.table("tally", "dead_time", get_pass(1).et)
    changed = table.replace(tau=table["tau"].value * 1.01).write(tmp_path / "dead_time.yaml")
    assert command("table", "certify", changed, "--alias", "new", "--comment", "x", "--store", store).returncode == 0
    arguments = (str(SITE.parent), "run", "--all-passes", "--context", "new", "--json", "--store")
    undisturbed = shutil.copytree(store, tmp_path / "undisturbed")
    planned = json.loads(command("plan", "--all-passes", "--context", "new", "--json", "--store", store).stdout)
    changes = {p["identity"] for one in planned["passes"] for p in one["make"]}
    assert len(changes) == 2 * len(passes), "rate and dose of every pass"

    def reprocess(place: Path) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", WHOLE_MISSION, *arguments, str(place)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(),
        )  # fmt: skip

    def made_by(process: subprocess.Popen[str]) -> set[str]:
        out, err = process.communicate(timeout=600)
        assert process.returncode == 0, err
        return {p["identity"] for r in json.loads(out)["runs"] for p in r["products"] if p["made"]}

    def finished() -> set[str]:
        there = (store / "products").rglob("*.nc")
        return {name for p in there if not p.name.startswith(".") and (name := str(p.relative_to(store))) not in before}

    assert made_by(reprocess(undisturbed)) == changes
    whole = product_bytes(undisturbed)

    def killed_after(wanted: int) -> None:
        with reprocess(store) as process:
            wait_for(lambda: process.poll() is not None or len(finished()) >= wanted, every=0.003)
            process.kill()

    for wanted in (1, 3, 6):
        killed_after(wanted)
        consistent(store, before, whole)
    there = finished()
    assert 6 <= len(there) < len(changes), "it was never killed in the midst"
    rest = made_by(reprocess(store))
    assert len(rest) == len(changes) - len(there)
    assert rest <= changes
    assert product_bytes(store) == whole
    assert made_by(reprocess(store)) == set()
