"""The flow of one pass: a Prefect task per product, ordered by what each needs, its segments on Dask.

Tasks are given names and return outcomes; data stay in files. The store is the only state: Prefect's caching,
result persistence and retries are off, and Prefect never runs inside a Dask worker.
"""

from __future__ import annotations

from concurrent.futures import Future
from contextlib import ExitStack
from typing import Any

from distributed import Client
from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from flows.artifacts import Shown
from flows.cluster import OnDask, cluster
from flows.server import prefect_api, server_needed
from flows.signals import exit_at_once
from pipeline.runs.execute import Made
from pipeline.runs.plan import Plan
from pipeline.runs.run import Engine, Progress, Rounds, Session, make_if_ready, no_progress


def run_pass(
    session: Session,
    plan: Plan,
    rounds: Rounds,
    *,
    workers: int,
    address: str | None,
    progress: Progress,
    timeout: float | None,
) -> None:
    """Make what a session needs as a Prefect flow on a Dask cluster.

    Parameters
    ----------
    plan : what is known to be made, for the progress.
    rounds : of `pipeline.runs.run.carry_out`; calls back with the products of each round, then draws the pictures.
    workers : processes of the local cluster.
    address : scheduler to use instead.
    progress : called with a product's identity, its segments done and their number.
    timeout : seconds a segment may run before its product is given up.
    """
    with ExitStack() as stack:
        with exit_at_once():
            client = stack.enter_context(cluster(workers, address))
            stack.enter_context(prefect_api())
            executor = _executor(client, session)

        threads: TaskRunner[Any] = ThreadPoolTaskRunner(max_workers=max(4, 2 * workers))

        @flow(name="perijove pass", flow_run_name=f"PJ{session.pass_.number:02d}", validate_parameters=False,
              task_runner=threads)  # fmt: skip
        def pass_flow(pass_number: int) -> None:
            del pass_number  # shown in Prefect's interface
            _carry_out(session, plan, rounds, executor, progress, timeout)

        # A synchronous flow waits a second for its heartbeat to end; the pass needs none.
        with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}), server_needed():
            pass_flow(session.pass_.number)


def _executor(client: Future[Client], session: Session) -> OnDask:
    executor = OnDask(client.result())
    executor.check_shared(session.store.root / "work")
    return executor


def inside_flow(workers: int, address: str | None, timeout: float | None) -> Engine:
    """An engine for use within a flow that runs already: its tasks are that flow's."""

    def engine(session: Session, plan: Plan, rounds: Rounds) -> None:
        with cluster(workers, address) as client:
            _carry_out(session, plan, rounds, _executor(client, session), no_progress, timeout)

    return engine


def _carry_out(
    session: Session, plan: Plan, rounds: Rounds, executor: OnDask, progress: Progress, timeout: float | None
) -> None:
    """Go through the rounds within a flow; its progress is told and shown in Prefect's interface."""
    with Shown(plan) as shown:

        def tell(name: str, done: int, total: int) -> None:
            progress(name, done, total)
            shown.update(name, done, total)

        rounds(lambda round_plan: _round(round_plan, session, executor, tell, timeout), executor, tell)


def _round(
    plan: Plan, session: Session, executor: OnDask, progress: Progress, timeout: float | None
) -> dict[str, Made]:
    by_name = {str(p.identity): p for p in plan.to_make()}

    @task(name="product", task_run_name="{identity}", cache_policy=NO_CACHE, persist_result=False)
    def make(identity: str) -> Made:
        return make_if_ready(by_name[identity], plan, session.store, executor, progress, timeout)

    futures: dict[str, Any] = {}
    try:
        for name, planned in by_name.items():
            before = [futures[str(p.identity)] for p in planned.needed() if str(p.identity) in futures]
            futures[name] = make.submit(name, return_state=False, wait_for=before)
        return {name: future.result() for name, future in futures.items()}
    except BaseException:
        # An interrupted flow waits for its tasks, and those for their segments.
        executor.stop()
        raise
