"""Segments on Dask: the same bytes for any number of workers, and whatever a step does costs only its product."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from core_fixtures import product_bytes, request, run, statuses, write_faulty
from dask import config
from distributed import Client, LocalCluster

from flows.admission import USABLE
from flows.cluster import SETTINGS, OnDask, cluster
from pipeline.errors import PerijoveError, SchedulerLostError, UsageError
from pipeline.runs.run import carry_out, prepare, with_executor

GOOD, BAD, AFTER, WITHOUT = (f"faulty.{n}/PJ01" for n in ("good", "bad", "after", "without"))
ALL = ("faulty.good", "faulty.bad", "faulty.after", "faulty.without")


@pytest.fixture(scope="module")
def two_workers(plugins: None) -> Iterator[OnDask]:
    with cluster(2, None) as client:
        yield OnDask(client.result())


def run_on(
    executor: OnDask, raw: Path, store: Path, instrument: str = "tally", timeout: float | None = None, **options
):
    return carry_out(prepare(request(raw, store, instrument, **options)), with_executor(executor, timeout))


def test_two_workers_make_the_same_bytes(two_workers: OnDask, raw: Path, store: Path, tmp_path: Path) -> None:
    record = run_on(two_workers, raw, tmp_path / "dask")
    assert set(statuses(record).values()) == {"made"}, [p["reason"] for p in record["products"]]
    assert product_bytes(tmp_path / "dask") == product_bytes(store)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 4])
def test_any_number_of_workers_makes_the_same_bytes(raw: Path, store: Path, tmp_path: Path, workers: int) -> None:
    with cluster(workers, None) as client:
        run_on(OnDask(client.result()), raw, tmp_path / "dask")
    assert product_bytes(tmp_path / "dask") == product_bytes(store)


def test_worker_that_dies_costs_only_its_product(two_workers: OnDask, faulty_raw: Path, tmp_path: Path) -> None:
    record = run_on(two_workers, faulty_raw, tmp_path, "faulty", products=ALL, settings={"faulty.bad.how": "die"})
    assert statuses(record) == {GOOD: "made", WITHOUT: "made", BAD: "quarantined", AFTER: "blocked"}
    reason = next(p["reason"] for p in record["products"] if p["identity"] == BAD)
    assert reason.startswith("step bad: the worker process died on it each time, also when it ran alone")


LIMIT_MB = 800.0


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_worker_at_its_memory_limit(faulty_raw: Path, tmp_path: Path) -> None:
    """A segment that goes on allocating: tried once more alone, set aside; its neighbours are made; the limit holds."""
    filled: list[int] = []
    with config.set(SETTINGS), LocalCluster(
        n_workers=2, threads_per_worker=1, memory_limit=f"{LIMIT_MB:.0f}MiB", preload=["perijove"],
        dashboard_address=None, silence_logs=logging.CRITICAL,
    ) as own, cluster(2, own.scheduler_address) as client:  # fmt: skip
        executor = OnDask(client.result())
        assert executor.admission.capacity == pytest.approx(USABLE * 2 * LIMIT_MB, rel=1e-3)
        ended = threading.Event()
        watch = threading.Thread(target=watch_memory, args=(ended, filled))
        watch.start()
        record = run_on(executor, faulty_raw, tmp_path, "faulty", products=ALL, settings={"faulty.bad.how": "fill"})
        ended.set()
        watch.join()
    assert statuses(record) == {GOOD: "made", WITHOUT: "made", BAD: "quarantined", AFTER: "blocked"}
    reason = next(p["reason"] for p in record["products"] if p["identity"] == BAD)
    assert reason.startswith("step bad: the worker process died on it each time, also when it ran alone: out of memory")
    peaks = sorted(p / 2**20 for p in filled)[-2:]
    # The nanny looks ten times a second, and the step takes at most 20 MB meanwhile; more on a busy machine.
    assert 0.75 * LIMIT_MB < peaks[0] <= peaks[1] < 1.4 * LIMIT_MB


def watch_memory(ended: threading.Event, peaks: list[int]) -> None:
    """Collect the largest resident memory of every process below this one."""
    largest: dict[int, int] = {}
    while not ended.wait(0.02):
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                largest[process.pid] = max(largest.get(process.pid, 0), process.memory_info().rss)
    peaks.extend(largest.values())


def test_step_that_hangs_is_given_up(two_workers: OnDask, tmp_path: Path) -> None:
    write_faulty(tmp_path / "raw", minutes=3)
    options = {"products": ALL, "settings": {"faulty.bad.how": "hang", "faulty.bad.at": "2"}}
    record = run_on(two_workers, tmp_path / "raw", tmp_path, "faulty", timeout=20.0, **options)
    assert statuses(record) == {GOOD: "made", WITHOUT: "made", BAD: "failed", AFTER: "blocked"}
    reason = next(p["reason"] for p in record["products"] if p["identity"] == BAD)
    assert reason == "step bad: not done after 20 s: given up (--timeout)"


def test_waiting_for_a_worker_is_not_running(two_workers: OnDask) -> None:
    """A call that waits four seconds for a worker has not run for three."""
    busy = [two_workers.submit(time.sleep, 2.0) for _ in range(4)]
    assert two_workers.result(two_workers.submit(time.sleep, 0.0), timeout=3.0) is None
    for future in busy:
        future.result()


def test_errors_come_back_as_they_were(two_workers: OnDask, faulty_raw: Path, tmp_path: Path) -> None:
    path = faulty_raw / "FLT_1.TXT"
    path.write_text(path.read_text().strip() + " BAD\n")
    record = run_on(two_workers, faulty_raw, tmp_path / "store", "faulty")
    assert [q["reason"] for q in record["quarantined"]] == [f"{path}, word 3: says that it is bad"]


def test_cluster_without_workers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.cluster.PATIENCE", 1.0)
    with cluster(1, None) as started:
        client = started.result()
        client.cluster.scale(0)
        while client.processing():
            time.sleep(0.1)
        executor = OnDask(client)
        with pytest.raises(PerijoveError, match=r"the cluster has had no worker for 1 s"):
            executor.result(executor.submit(time.sleep, 0.0), timeout=60.0)


def test_nanny_that_gave_up_is_replaced(tmp_path: Path) -> None:
    with cluster(1, None) as started:
        client = started.result()
        executor = OnDask(client)
        (nanny,) = client.cluster.workers.values()
        client.sync(nanny.close)
        assert executor.result(executor.submit(sum, [1, 2]), timeout=None) == 3


def test_stop_ends_what_waits(two_workers: OnDask) -> None:
    executor = OnDask(two_workers.client)
    future = executor.submit(time.sleep, 3.0)
    timer = threading.Timer(0.5, executor.stop)
    timer.start()
    with pytest.raises(InterruptedError, match="the run was stopped"):
        executor.result(future, None)
    with pytest.raises(InterruptedError):
        executor.submit(time.sleep, 0.0)


def test_connection_to_the_scheduler_is_lost(two_workers: OnDask) -> None:
    """Whatever its client says of it, and of a call that was going on."""
    with Client(two_workers.client.scheduler.address, set_as_default=False) as client:
        executor = OnDask(client)
        going_on = executor.submit(time.sleep, 2.0)
        client.close()
        for lost in (
            lambda: executor.result(going_on, None),
            lambda: executor.submit(time.sleep, 0.0),
            lambda: executor._at_work(time.monotonic()),
        ):
            with pytest.raises(SchedulerLostError, match=r"the Dask scheduler at tcp://.* does not answer any more"):
                lost()
        executor.drop([going_on], None)
        executor.stop()


@pytest.mark.parametrize("error", [OSError("no space"), TimeoutError("late"), RuntimeError("closed"), KeyError("x")])
def test_error_of_a_call_is_not_the_scheduler_s(two_workers: OnDask, error: Exception) -> None:
    def step() -> None:
        raise error

    with pytest.raises(type(error), match=str(error.args[0])):
        two_workers.result(two_workers.submit(step), None)


def test_scheduler_at_an_address(two_workers: OnDask, raw: Path, store: Path, tmp_path: Path) -> None:
    with cluster(1, two_workers.client.scheduler.address) as client:
        run_on(OnDask(client.result()), raw, tmp_path / "dask")
    assert product_bytes(tmp_path / "dask") == product_bytes(store)
    assert two_workers.client.ncores(), "somebody else's workers go on"


@pytest.mark.parametrize("address", [pytest.param("tcp://127.0.0.1:9", marks=pytest.mark.slow), "nonsense://x"])
def test_no_scheduler_there(address: str) -> None:
    with pytest.raises(UsageError, match=f"no Dask scheduler answers at {address}"), cluster(1, address):
        pass


def test_workers_of_another_version(two_workers: OnDask, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.metadata

    version = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "9.9" if name == "perijove" else version(name))
    expected = pytest.raises(UsageError, match=r"have perijove 0\.1\.0, this is 9\.9")
    with expected, cluster(1, two_workers.client.scheduler.address):
        pass


def test_in_process_is_the_same_error_class(faulty_raw: Path, tmp_path: Path) -> None:
    record = run(faulty_raw, tmp_path, "faulty", products=("faulty.bad",))
    assert statuses(record) == {BAD: "failed"}
    assert issubclass(UsageError, PerijoveError)
