"""A run on workers that are on hosts of their own: network namespaces, a shared folder as the store."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from core_fixtures import environment, left_behind, product_bytes, statuses

SCRIPT = Path(__file__).parents[2] / "scripts" / "two_hosts"


def spaces_permitted() -> bool:
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return False
    made = subprocess.run(["ip", "netns", "add", "perijove-probe"], capture_output=True, check=False)
    subprocess.run(["ip", "netns", "del", "perijove-probe"], capture_output=True, check=False)
    return made.returncode == 0


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_hosts(raw: Path, store: Path, tmp_path: Path) -> None:
    """Scheduler, two workers and the command each in a network of its own; the bytes are those of one process."""
    if not spaces_permitted():
        pytest.skip("network namespaces are not permitted here (ip netns add needs root)")
    logs = tmp_path / "logs"
    logs.mkdir()
    run = 'exec "$0" -c "import perijove; perijove.main()" run 1 --dask "$DASK_ADDRESS" "$@"'
    arguments = ("--instrument", "tally", "--raw", raw, "--store", tmp_path / "s", "--json")
    bin_ = Path(sys.executable).parent
    process = subprocess.run(
        [SCRIPT, logs, "sh", "-c", run, sys.executable, *map(str, arguments)],
        capture_output=True, text=True, timeout=500, check=False,
        env=environment(PATH=f"{bin_}:{os.environ['PATH']}", PERIJOVE_TEST=str(tmp_path)),
    )  # fmt: skip
    assert process.returncode == 0, process.stderr + (logs / "scheduler.log").read_text()
    assert set(statuses(json.loads(process.stdout)).values()) == {"made"}
    assert product_bytes(tmp_path / "s") == product_bytes(store)
    scheduler = (logs / "scheduler.log").read_text()
    assert "10.86.0.2" in scheduler
    assert "10.86.0.3" in scheduler
    assert left_behind(str(tmp_path)) == []
