"""Two instruments that come from other distributions, their raw data, and ways to run the command.

`tally` is honest, `faulty` is not; both are announced by entry points in ``tests/plugin/site``, put on the path.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest

import perijove  # noqa: F401  (claims the project's package names)
from pipeline import registry
from pipeline.clock import Sclk
from pipeline.passes import get_pass
from pipeline.runs.execute import InProcess, Made
from pipeline.runs.geometry import geometry_of
from pipeline.runs.run import Request, carry_out, make_if_ready, prepare, with_executor
from pipeline.runs.store import Store

SITE = Path(__file__).parent / "site"
START = get_pass(1).et - 600.0


def _forget() -> None:
    registry._sources.cache_clear()
    registry.load.cache_clear()


@pytest.fixture(scope="module", autouse=True)
def plugins() -> Iterator[None]:
    """Both instruments are installed, for this process and the ones it starts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SITE))
        patch.setenv("PYTHONPATH", str(SITE), prepend=os.pathsep)
        _forget()
        yield
    _forget()


@pytest.fixture(autouse=True)
def quick_geometry(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Runs in this process find the geometry made already; it is the real one."""
    cache = Store(tmp_path_factory.getbasetemp() / "geometry").prepare()

    def cached(pass_: Any, spans: Any, kernels: Any, store: Store) -> Any:
        geometry, path = geometry_of(pass_, spans, kernels, cache)
        place = store.root / path.relative_to(cache.root)
        if store.writable and not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, place)
        return geometry, place

    monkeypatch.setattr("pipeline.runs.run.geometry_of", cached)


@contextmanager
def made_here() -> Iterator[None]:
    """The command makes its products in this process: the flow, which has tests of its own, takes ten seconds."""

    def run_pass(session: Any, plan: Any, rounds: Any, *, progress: Any, timeout: float, **_: Any) -> None:
        del plan

        def make(plan: Any) -> dict[str, Made]:
            ready = (session.store, InProcess(), progress, timeout)
            return {str(p.identity): make_if_ready(p, plan, *ready) for p in plan.to_make()}

        rounds(make, InProcess(), progress)

    module = ModuleType("flows.pass_flow")
    module.run_pass = run_pass  # type: ignore[attr-defined]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "flows.pass_flow", module)
        patch.setattr("flows.settings.prepare_environment", lambda store: None)
        yield


@pytest.fixture
def without_prefect() -> Iterator[None]:
    with made_here():
        yield


def write_tally(folder: Path, seed: int = 0) -> Path:
    """Twenty minutes about closest approach, in two granules."""
    from tally_instrument import simulate

    scene = SimpleNamespace(pass_=get_pass(1))
    for _ in simulate.simulate(scene, folder, "demo", np.random.default_rng(seed)):
        pass
    return folder


def write_dark(folder: Path, mean: float = 2.0) -> Path:
    """A dark measurement, of which the background is made."""
    from tally_instrument import raw

    counts = np.random.default_rng(5).poisson(mean, (60, 4))
    return raw.write_text(folder / "DRK_1.CSV", START - 300.0 + np.arange(60.0), counts)


def write_faulty(folder: Path, minutes: int = 6) -> Path:
    from faulty_instrument import write_raw

    return write_raw(folder / "FLT_1.TXT", "2016-08-27T12:00:00", 60 * minutes)


@pytest.fixture
def raw(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Raw data of `tally`, without a dark measurement; a copy of what is simulated once."""
    made = tmp_path_factory.getbasetemp() / "tally"
    if not made.exists():
        write_tally(made)
    return shutil.copytree(made, tmp_path / "raw")


@pytest.fixture(scope="module")
def first_run(tmp_path_factory: pytest.TempPathFactory, plugins: None) -> tuple[Path, Path]:
    raw = write_tally(tmp_path_factory.mktemp("first") / "raw")
    return raw, Path(run(raw, raw.parent / "store")["products"][0]["path"]).parents[4]


@pytest.fixture
def store(raw: Path, tmp_path: Path, first_run: tuple[Path, Path]) -> Path:
    """A store in which the raw data were run once; the copy of one that really was."""
    copy = tmp_path / "store"
    shutil.copytree(first_run[1], copy)
    for record in (copy / "runs").iterdir():
        record.write_text(record.read_text().replace(str(first_run[0]), str(raw)))
    return copy


@pytest.fixture
def faulty_raw(tmp_path: Path) -> Path:
    folder = tmp_path / "raw"
    write_faulty(folder)
    return folder


def request(raw: Path | None, store: Path, instrument: str = "tally", **options: Any) -> Request:
    return Request(pass_number=1, raw=raw, store=store, instruments=(instrument,), **options)


def run(raw: Path | None, store: Path, instrument: str = "tally", **options: Any) -> dict[str, Any]:
    """A run in this process; the whole record."""
    return carry_out(prepare(request(raw, store, instrument, **options)), with_executor(InProcess()))


def statuses(record: dict[str, Any]) -> dict[str, str]:
    return {p["identity"]: p["status"] for p in record["products"]}


def made(record: dict[str, Any]) -> set[str]:
    return {p["identity"] for p in record["products"] if p["made"]}


def reasons(record: dict[str, Any]) -> dict[str, set[tuple[str, str]]]:
    """Kind and name of why each product was made."""
    return {p["identity"]: {(w["kind"], w["name"]) for w in p["why"]} for p in record["products"] if p["why"]}


def product_bytes(store: Path) -> dict[str, str]:
    """Digest of every product file by its place in the store."""
    files = sorted((store / "products").rglob("*"))
    return {str(f.relative_to(store)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files if f.is_file()}


def environment(**more: str) -> dict[str, str]:
    unset = ("PREFECT_HOME", "PREFECT_API_URL", "PERIJOVE_STORE")
    kept = {k: v for k, v in os.environ.items() if k not in unset}
    return kept | {"COLUMNS": "200"} | more


def command(*arguments: Any, cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    """``perijove ...`` as a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", "import perijove; perijove.main()", *map(str, arguments)],
        capture_output=True, text=True, timeout=240, cwd=cwd, env=environment(**env), check=False,
    )  # fmt: skip


def start(*arguments: Any, **env: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", "import perijove; perijove.main()", *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(**env), start_new_session=True,
    )  # fmt: skip


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def invoke(*arguments: Any) -> SimpleNamespace:
    """``perijove ...`` in this process: exit status, output, and the document of ``--json``."""
    from click.testing import CliRunner

    from pipeline.cli import cli

    result = CliRunner().invoke(cli, [str(a) for a in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    document = json.loads(result.stdout) if "--json" in arguments and result.stdout else None
    return SimpleNamespace(status=result.exit_code, out=result.stdout, err=result.stderr, document=document)


CLOCK = Sclk.default()


def left_behind(marker: str) -> list[str]:
    """Command lines of processes that were started with a marker in their environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("PERIJOVE_TEST") == marker and process.pid != psutil.Process().pid:
                found.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return found
