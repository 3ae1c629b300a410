"""Segments on Dask: the same bytes for any number of workers, and whatever a step does costs only its product."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from core_fixtures import product_bytes, request, run, statuses, write_faulty

from flows.cluster import OnDask, cluster
from pipeline.errors import PerijoveError, UsageError
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


def test_step_that_hangs_is_given_up(two_workers: OnDask, tmp_path: Path) -> None:
    write_faulty(tmp_path / "raw", minutes=3)
    options = {"products": ALL, "settings": {"faulty.bad.how": "hang", "faulty.bad.at": "2"}}
    record = run_on(two_workers, tmp_path / "raw", tmp_path, "faulty", timeout=8.0, **options)
    assert statuses(record) == {GOOD: "made", WITHOUT: "made", BAD: "failed", AFTER: "blocked"}
    reason = next(p["reason"] for p in record["products"] if p["identity"] == BAD)
    assert reason == "step bad: not done after 8 s: given up (--timeout)"


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


def test_stop_ends_what_waits(two_workers: OnDask) -> None:
    executor = OnDask(two_workers.client)
    future = executor.submit(time.sleep, 3.0)
    timer = threading.Timer(0.5, executor.stop)
    timer.start()
    with pytest.raises(BaseException, match="cancelled"):
        executor.result(future, None)
    with pytest.raises(InterruptedError):
        executor.submit(time.sleep, 0.0)


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
