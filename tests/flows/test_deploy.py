"""The files of docs/deploy: what the libraries they are for make of them, and the workers they describe, started here.

No Slurm and no Kubernetes is needed: `sbatch` is a script that runs the job at once, and pods are their containers'
commands. The libraries are not among the project's dependencies; what needs one that is absent is skipped.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dask
import jsonschema
import pytest
import yaml
from core_fixtures import environment, free_port, product_bytes, request
from distributed import Client

import perijove
from flows.cluster import OnDask, cluster
from pipeline.runs.run import carry_out, prepare, with_executor

DEPLOY = Path(perijove.__file__).parent / "docs" / "deploy"
KUBERNETES = yaml.safe_load((DEPLOY / "kubernetes.yaml").read_text())
SLURM = yaml.safe_load((DEPLOY / "slurm.yaml").read_text())


def runs_there(address: str, raw: Path, place: Path) -> None:
    with cluster(1, address) as client:
        carry_out(prepare(request(raw, place)), with_executor(OnDask(client.result())))


# Slurm

SBATCH = """#!/bin/sh
for script; do :; done  # the last argument
cp "$script" {folder}/job.sh
setsid bash {folder}/job.sh > {folder}/job.log 2>&1 &
echo $! > {folder}/job.pid
echo "Submitted batch job 1"
"""


def stand_ins(folder: Path) -> None:
    """`sbatch` and `scancel` that need no Slurm."""
    texts = {"sbatch": SBATCH, "scancel": "#!/bin/sh\nkill -- -$(cat {folder}/job.pid)\n"}
    for name, text in texts.items():
        (folder / name).write_text(text.format(folder=folder))
        (folder / name).chmod(0o755)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore")  # of that library's own
def test_slurm(raw: Path, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs are as the file says, and a pass is made on the worker that such a job starts."""
    jobqueue = pytest.importorskip("dask_jobqueue", reason="dask-jobqueue is not installed")
    own = SLURM["jobqueue"]["slurm"]
    # What only the real cluster has: its network, and where the project is installed there.
    here = {"interface": "lo", "local-directory": str(tmp_path), "python": sys.executable, "job-script-prologue": []}
    stand_ins(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with (
        dask.config.set(dask.config.merge(dask.config.config, SLURM, {"jobqueue": {"slurm": here}})),
        jobqueue.SLURMCluster(scheduler_options={"dashboard": False}) as slurm,
    ):
        slurm.scale(1)
        with Client(slurm.scheduler_address, set_as_default=False) as client:
            client.wait_for_workers(1, timeout=240)
        runs_there(slurm.scheduler_address, raw, tmp_path / "s")
        script = (tmp_path / "job.sh").read_text()
        for line in ("-J perijove", "-p compute", "-n 1", "--cpus-per-task=1", "--mem=4G", "-t 04:00:00"):
            assert f"#SBATCH {line}\n" in script
        assert "--nthreads 1 --memory-limit 4.00GiB" in script
        assert " ".join(own["worker-extra-args"]) in script
    assert product_bytes(tmp_path / "s") == product_bytes(store)


# Kubernetes


def strict(schema: Any) -> Any:
    """A custom resource's schema that knows no other fields: the server would drop what is misspelt, silently."""
    if isinstance(schema, list):
        return [strict(s) for s in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: strict(value) for key, value in schema.items()}
    loose = schema.get("x-kubernetes-preserve-unknown-fields") or schema.get("x-kubernetes-int-or-string")
    if isinstance(schema.get("properties"), dict) and not loose and "additionalProperties" not in schema:
        made["additionalProperties"] = False
    return made


def test_kubernetes_resource() -> None:
    """By the operator's own definition of a DaskCluster."""
    found = importlib.util.find_spec("dask_kubernetes")
    if found is None or found.origin is None:
        pytest.skip("dask-kubernetes is not installed")
    (path,) = Path(found.origin).parent.glob("operator/deployment/helm/*/crds/daskcluster.yaml")
    definition = yaml.safe_load(path.read_text())["spec"]
    assert KUBERNETES["apiVersion"] == f"{definition['group']}/{definition['versions'][0]['name']}"
    assert KUBERNETES["kind"] == definition["names"]["kind"]
    schema = strict(definition["versions"][0]["schema"]["openAPIV3Schema"])
    schema["properties"] |= {"apiVersion": {}, "kind": {}, "metadata": {}}
    jsonschema.validate(KUBERNETES, schema)
    misspelt = {**KUBERNETES, "spec": {**KUBERNETES["spec"], "workers": {}}}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(misspelt, schema)


def container(part: str) -> dict[str, Any]:
    found: dict[str, Any] = KUBERNETES["spec"][part]["spec"]["containers"][0]
    return found


@contextmanager
def pod(part: str, *more: str, **env: str) -> Iterator[None]:
    """A container's command as a process of this machine, with this interpreter."""
    own = container(part)
    assert own["command"][1] == "-m"
    env |= {e["name"]: e["value"] for e in own["env"]}
    arguments = [a.replace("$(DASK_WORKER_NAME)", env.get("DASK_WORKER_NAME", "")) for a in own["args"]]
    with subprocess.Popen(
        [sys.executable, *own["command"][1:], *arguments, *more],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment(**env),
    ) as process:  # fmt: skip
        try:
            yield
        finally:
            process.kill()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_kubernetes_containers(raw: Path, store: Path, tmp_path: Path) -> None:
    """Their commands work, with what the operator puts into their environment: a pass is made on them."""
    port = free_port()
    address = f"tcp://127.0.0.1:{port}"
    operator = {"DASK_WORKER_NAME": "perijove-1", "DASK_SCHEDULER_ADDRESS": address}
    with pod("scheduler", "--host", "127.0.0.1", "--port", str(port)), pod("worker", **operator):
        deadline = time.monotonic() + 240
        while True:
            try:
                client = Client(address, timeout=5, set_as_default=False)
                break
            except OSError:
                assert time.monotonic() < deadline
        with client:
            client.wait_for_workers(1, timeout=240)
            (worker,) = client.scheduler_info(n_workers=-1)["workers"].values()
        assert (worker["name"], worker["nthreads"]) == ("perijove-1", 1)
        limit = container("worker")["resources"]["limits"]["memory"]
        assert 0.9 * 2**30 * float(limit.removesuffix("Gi")) < worker["memory_limit"] < 2**30 * 4
        runs_there(address, raw, tmp_path / "s")
    assert product_bytes(tmp_path / "s") == product_bytes(store)
