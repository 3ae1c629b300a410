"""A served deployment that really fires: by the schedule, by arrivals, and by hand."""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from core_fixtures import CLOCK, command, environment, free_port, invoke, product_bytes, statuses

from pipeline.clock import parse_utc
from pipeline.passes import get_pass
from pipeline.runs.arrivals import Arrivals
from pipeline.runs.store import Store

FIRST, SECOND = "TLY_000_V01", "TLY_001_V01"
PATIENCE = 400.0


def until(true: Callable[[], Any], process: subprocess.Popen[bytes], log: Path) -> Any:
    deadline = time.monotonic() + PATIENCE
    while not (found := true()):
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.5)
    return found


class Served:
    """`perijove serve` as a process, and Prefect's interface for programs."""

    def __init__(self, tmp_path: Path, *options: str, **env: str) -> None:
        self.store, self.incoming, self.log = tmp_path / "served", tmp_path / "incoming", tmp_path / "serve.log"
        (self.incoming / "TALLY").mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.api = env.get("PREFECT_API_URL", f"http://127.0.0.1:{self.port}/api")
        arguments = (
            "serve", "--arrivals", self.incoming, "--store", self.store, "--port", self.port, "--poll", "1",
            "--workers", "1", *options,
        )  # fmt: skip
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-c", "import perijove; perijove.main()", *map(str, arguments)],
                stdout=out, stderr=out, cwd=tmp_path, start_new_session=True,
                env=environment(PREFECT_RUNNER_POLL_FREQUENCY="2", **env),
            )  # fmt: skip

    def wait(self, true: Callable[[], Any]) -> Any:
        return until(true, self.process, self.log)

    def says(self, words: str) -> bool:
        return words in self.log.read_text()

    def records(self) -> list[dict[str, Any]]:
        return [r for r in Store(self.store).runs() if r["ended"] == "done"]

    def ask(self, path: str, body: dict[str, Any]) -> Any:
        content = json.dumps(body).encode()
        question = urllib.request.Request(
            f"{self.api}/{path}", content, {"Content-Type": "application/json"}, method="POST"
        )
        with urllib.request.urlopen(question, timeout=30) as answer:
            return json.load(answer)

    def deployment(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.api}/deployments/name/perijove%20pass/perijove", timeout=30) as answer:
            found: dict[str, Any] = json.load(answer)
            return found

    def flow_runs(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.ask("flow_runs/filter", {"sort": "START_TIME_ASC"})
        return found

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(180)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Served]]:
    started: list[Served] = []

    def start(*options: str, **env: str) -> Served:
        started.append(Served(tmp_path, *options, **env))
        return started[-1]

    yield start
    for one in started:
        one.end()


def deliver(raw: Path, served: Served, name: str, damaged: bool = False) -> None:
    for suffix in (".LBL", ".TLY"):
        content = bytearray((raw / "TALLY" / (name + suffix)).read_bytes())
        digest = hashlib.md5(content).hexdigest()
        # Before the data: without it they would be taken as they are, if this process were to wait here.
        (served.incoming / f"{name}{suffix}.md5").write_text(f"{digest}  TALLY/{name}{suffix}\n")
        if damaged and suffix == ".TLY":
            content[900] ^= 8
        (served.incoming / "TALLY" / (name + suffix)).write_bytes(content)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_delivery_in_three_parts(serve: Callable[..., Served], raw: Path, store: Path, tmp_path: Path) -> None:
    """A granule; another one that is damaged; that one again as it should be. In the end: as if never disturbed."""
    served = serve()
    served.wait(lambda: served.says("serving perijove pass"))
    deliver(raw, served, FIRST)
    (first,) = served.wait(served.records)
    assert statuses(first)["tally.histogram/PJ01/TLY_000"] == "made"
    deliver(raw, served, SECOND, damaged=True)
    served.wait(lambda: served.says(f"not taken: {served.incoming / 'TALLY' / (SECOND + '.TLY')}: damaged"))
    (refused,) = json.loads((served.store / "arrived" / "refused.json").read_text())
    assert "its checksum is" in refused["reason"]
    rows = invoke("list", "arrivals", "--store", served.store, "--json").document
    assert [(r["granule"], r["problem"] is None) for r in rows] == [("TLY_000", True), (None, False)]
    deliver(raw, served, SECOND)
    second = served.wait(lambda: len(served.records()) == 2 and served.records()[0])
    assert statuses(second) == {
        "tally.rate/PJ01": "made", "tally.dose/PJ01": "made",
        "tally.histogram/PJ01/TLY_000": "kept", "tally.histogram/PJ01/TLY_001": "made",
    }  # fmt: skip
    undisturbed = product_bytes(store)
    assert {name: product_bytes(served.store)[name] for name in undisturbed} == undisturbed
    # By hand, as the interface does it, with a parameter of a step.
    parameters = {"pass_number": 1, "settings": {"tally.rate.smooth": "5"}}
    served.ask(f"deployments/{served.deployment()['id']}/create_flow_run", {"parameters": parameters})
    third = served.wait(lambda: len(served.records()) == 3 and served.records()[0])
    assert third["settings"] == {"tally.rate.smooth": "5"}
    assert statuses(third)["tally.rate/PJ01"] == "made"
    served.wait(lambda: all(r["state"]["type"] == "COMPLETED" for r in served.flow_runs()))
    names = [r["name"] for r in served.flow_runs()]
    assert names == ["PJ01 delivery 1", "PJ01 delivery 2", "PJ01 by hand"]
    artifacts = {a["key"] for a in served.ask("artifacts/filter", {})}
    assert {"progress", "pj01-products"} <= artifacts
    served.end()
    assert served.process.returncode == 0
    assert served.log.read_text().splitlines()[-1].endswith("ended")
    assert "Traceback" not in served.log.read_text()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_schedule_fires(serve: Callable[..., Served], raw: Path, tmp_path: Path) -> None:
    """Runs of a pass from so long after its closest approach on that the first is in some seconds; every 15 s then.

    A busy machine may miss the first of them: Prefect schedules nothing that is over.
    """
    store = Store(tmp_path / "served").prepare()
    shutil.copytree(raw / "TALLY", tmp_path / "incoming" / "TALLY")
    watch = Arrivals(tmp_path / "incoming", store, CLOCK)
    watch.look()
    assert watch.look() is not None
    now = datetime.datetime.now(datetime.UTC)
    first = parse_utc((now + datetime.timedelta(seconds=40)).strftime("%Y-%m-%dT%H:%M:%S")) - get_pass(1).et
    served = serve("--first", f"{first:.0f}", "--every", "15s", "--repeat", "20m", "--quiet", "1h", "--poll", "1d")
    served.wait(lambda: served.says("passes scheduled"))
    record = served.wait(served.records)[0]
    assert set(statuses(record).values()) == {"made"}
    again = served.wait(lambda: len(served.records()) > 1 and served.records()[0])
    assert set(statuses(again).values()) == {"kept"}
    scheduled = [r for r in served.flow_runs() if r["parameters"].get("pass_number") == 1]
    assert {r["parameters"]["why"] for r in scheduled} == {"scheduled"}
    assert "Traceback" not in served.log.read_text()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_server_of_ones_own(serve: Callable[..., Served], raw: Path, tmp_path: Path) -> None:
    """PREFECT_API_URL: that server has the deployment and the run; a browser finds its interface there."""
    port = free_port()
    home = tmp_path / "prefect"
    env = environment(
        PREFECT_HOME=str(home), DO_NOT_TRACK="1", PREFECT_SERVER_ANALYTICS_ENABLED="false",
        PREFECT_UI_STATIC_DIRECTORY=str(home / "ui"),
    )  # fmt: skip
    with (tmp_path / "server.log").open("wb") as out:
        server = subprocess.Popen(
            [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)],
            stdout=out, stderr=out, env=env, start_new_session=True,
        )  # fmt: skip
    try:
        api = f"http://127.0.0.1:{port}/api"

        def healthy() -> bool:
            try:
                with urllib.request.urlopen(f"{api}/health", timeout=5) as answer:
                    return bool(answer.status == 200)
            except OSError:
                return False

        until(healthy, server, tmp_path / "server.log")
        served = serve(PREFECT_API_URL=api)
        served.wait(lambda: served.says(f"at {api}"))
        deliver(raw, served, FIRST)
        served.wait(served.records)
        served.wait(lambda: [r["state"]["type"] for r in served.flow_runs()] == ["COMPLETED"])
        served.end()
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def test_schedules_of_the_table() -> None:
    """One per pass that is not over, from the closest approach on; nothing before."""
    from prefect.client.schemas.schedules import RRuleSchedule

    from flows.serve import schedules

    day = 86400.0
    now = datetime.datetime(2016, 12, 11, 12, tzinfo=datetime.UTC)
    made = schedules(3 * day, day, 10 * day, now)
    assert [s.slug for s in made[:2]] == ["pj03", "pj04"]
    third = made[0]
    assert third.parameters == {"pass_number": 3, "why": "scheduled"}
    assert third.rrule is not None
    times = list(RRuleSchedule(rrule=third.rrule, timezone="UTC").to_rrule())
    assert len(times) == 11
    closest = datetime.datetime.fromisoformat(get_pass(3).utc).replace(tzinfo=datetime.UTC)
    assert abs((times[0].replace(tzinfo=datetime.UTC) - closest).total_seconds() - 3 * day) < 1.5
    assert (times[1] - times[0]).total_seconds() == day


def test_scheduled_runs_go_on_while_data_arrive(raw: Path, tmp_path: Path) -> None:
    """Nothing before the first delivery of the pass, and nothing once none has come for long; by hand always."""
    from flows.deployed import _idle

    store = Store(tmp_path / "s").prepare()
    assert _idle(store, 1, "scheduled", 3600.0) == "no raw data have arrived yet"
    watch = Arrivals(raw, store, CLOCK)
    watch.look()
    assert watch.look() is not None
    assert _idle(store, 1, "scheduled", 3600.0) is None
    assert _idle(store, 3, "scheduled", 3600.0) == "no raw data have arrived yet"
    assert _idle(store, 1, "scheduled", 0.0) == "no raw data have arrived for 0.0 days"
    assert _idle(store, 1, "by hand", 0.0) is None


@pytest.mark.slow
def test_port_that_is_taken(tmp_path: Path) -> None:
    import socket

    (tmp_path / "in").mkdir()
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        taken = str(holder.getsockname()[1])
        process = command("serve", "--arrivals", tmp_path / "in", "--store", tmp_path / "s", "--port", taken)
    assert process.returncode == 2
    assert process.stderr.splitlines()[-1].startswith("perijove: port ")
