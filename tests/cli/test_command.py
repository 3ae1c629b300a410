"""The command as a process, its exit statuses, and what it loads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cli_world import ask
from core_fixtures import SITE, environment, invoke, statuses

HEAVY = {
    "numpy", "scipy", "xarray", "pandas", "h5py", "h5netcdf", "netCDF4", "yaml", "rich", "matplotlib", "spiceypy",
    "dask", "distributed", "prefect", "sqlalchemy", "fastapi",
}  # fmt: skip
HOSTILE = ("pipeline", "calibration", "flows", "instruments")

HELP = """
import io, sys, contextlib, perijove
from pipeline.cli import cli
def words(command, so_far=()):
    yield so_far
    for name, sub in getattr(command, "commands", {}).items():
        yield from words(sub, (*so_far, name))
for arguments in words(cli):
    with contextlib.redirect_stdout(io.StringIO()) as out:
        cli.main([*arguments, "--help"], "perijove", standalone_mode=False)
    assert out.getvalue().startswith("Usage: perijove"), arguments
print(" ".join(sorted({name.partition(".")[0] for name in sys.modules})))
"""


def script(text: str, *arguments: Any, cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", text, *map(str, arguments)],
        capture_output=True, text=True, timeout=120, cwd=cwd, env=environment(**env), check=False,
    )  # fmt: skip


def test_help_loads_nothing_heavy() -> None:
    """Of the command and of everything it can do."""
    process = script(HELP)
    assert process.returncode == 0, process.stderr
    loaded = set(process.stdout.split())
    assert {"click", "pipeline"} <= loaded
    assert not loaded & HEAVY


# A folder with modules of our names


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    folder = tmp_path / "hostile"
    folder.mkdir()
    for name in HOSTILE:
        (folder / f"{name}.py").write_text("raise SystemExit('the wrong module was imported')\n")
    return folder


WHERE = """
import sys
from pathlib import Path
own = {n: m.__file__ for n, m in sys.modules.items() if n.split(".")[0] in %r and m.__file__}
assert own and all(Path(f).is_relative_to(Path(perijove.__file__).parent) for f in own.values()), own
print(sorted(%r & set(sys.modules)), file=sys.stderr)
""" % (HOSTILE, {"prefect", "distributed", "matplotlib"})  # noqa: UP031
COMMAND = (
    f"import perijove\ntry:\n    perijove.main()\nfinally:\n{'    '.join(['', *WHERE.strip().splitlines(True)])}\n"
)
NOTEBOOK = (
    """
import json, sys, perijove
raw, store = sys.argv[1:]
plan = perijove.plan(1, raw=raw, store=store, instruments=["tally"])
record = perijove.run(1, raw=raw, store=store, instruments=["tally"], settings={"tally.rate.smooth": 2})
rate = perijove.open_product("tally.rate/PJ01", store=store)
print(json.dumps([plan["keep"], {p["identity"]: p["status"] for p in record["products"]}, rate.sizes["et"]]))
"""
    + WHERE
)


def test_command_in_a_hostile_folder(raw: Path, store: Path, hostile: Path) -> None:
    """With nothing to do, and therefore without Prefect; the path says twice to look there first."""
    arguments = ("run", 1, "--instrument", "tally", "--raw", raw, "--store", store, "--no-pictures", "--json")
    process = script(COMMAND, *arguments, cwd=hostile, PYTHONPATH=f".{os.pathsep}{SITE}")
    assert process.returncode == 0, process.stderr
    assert set(statuses(json.loads(process.stdout)).values()) == {"kept"}
    assert process.stderr == "[]\n"
    assert sorted(p.name for p in hostile.iterdir() if p.is_dir()) == []


def test_notebook_in_a_hostile_folder(raw: Path, store: Path, hostile: Path) -> None:
    process = script(NOTEBOOK, raw, store, cwd=hostile)
    assert process.returncode == 0, process.stderr
    keep, done, records = json.loads(process.stdout)
    assert keep == 4
    assert (done["tally.rate/PJ01"], done["tally.histogram/PJ01/TLY_000"]) == ("made", "kept")
    assert records == 1200
    assert process.stderr == "[]\n"


def test_module_that_was_there_first_is_named(hostile: Path) -> None:
    (hostile / "flows.py").write_text("")
    process = script("import flows, perijove", cwd=hostile)
    assert process.returncode == 1
    expected = f"ImportError: a module named 'flows' is loaded already ({hostile / 'flows.py'}): import perijove before"
    assert expected in process.stderr


# Wrong use: status 2, one line, the nearest names


RUN = ("run", 1, "--instrument", "tally")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((*RUN, "--set", "tally.rate.smoth=3"), "no parameter 'tally.rate.smoth'; did you mean tally.rate.smooth"),
        ((*RUN, "--set", "tally.rate.smooth"), "--set tally.rate.smooth: write it as KEY=VALUE"),
        ((*RUN, "--set", "tally.rate.smooth=wide"), "tally.rate.smooth: 'wide' is no number"),
        ((*RUN, "--set", "tally.rate.correct=all"), "'all' is not one of dead time, nothing"),
        (("plan", 1, "--set", "xyzzy=1"), "no parameter 'xyzzy'; `perijove list instruments` lists all "),
        (("run", 1, "--source", "xyzzy"), "no raw format 'xyzzy'; `perijove list instruments` lists all "),
        (("run", 1, "--product", "xyzzy"), "no product type 'xyzzy'; `perijove list instruments` lists all "),
        (("table", "show", "xyzzy.zero"), "no table 'xyzzy.zero' in context default; "),
        (("run", 99), "no pass PJ99: the table has PJ0 to PJ76"),
        (("run", 1, "--instrument", "tall"), "no instrument 'tall'; did you mean tally?"),
        (("run", 1, "--product", "tally.rates"), "no product type 'tally.rates'; did you mean tally.rate"),
        ((*RUN, "--window", "europa"), "no window 'europa' in PJ01"),
        ((*RUN, "--source", "tally.pack"), "no raw format 'tally.pack'; did you mean tally.packed"),
        ((*RUN, "--context", "defalt"), "no calibration context 'defalt'; did you mean default?"),
        (("run", 2, "--instrument", "tally"), "PJ2 has not been run in"),
        (("plan", 1, "--instrument", "tally", "--set", "rate.smooth=3"), "did you mean tally.rate.smooth"),
        (("simulate", 99, "--out", "x"), "no pass PJ99"),
        (("simulate", 1, "--out", "x", "--instrument", "faulty"), "no simulator for faulty"),
        (("explain", "tally.rat/PJ01"), "no product tally.rat/PJ01 in"),
        (("explain", "rate"), "'rate' is no product identity; one looks like mag.field/PJ01"),
        (("explain", "0123456789"), "no product has a key that begins 0123456789"),
        (("export", "tally.rate/PJ02"), "did you mean tally.rate/PJ01"),
        (("verify", "1999"), "no run begins with '1999'; known: 20"),
        (("compare", "20", "1999"), "no run begins with '1999'"),
        (("report", "1999"), "no run begins with '1999'"),
        (("table", "show", "tally.factr"), "no table 'tally.factr' in context default; did you mean tally.factor"),
        (("table", "show", "factor"), "'factor': a table is named instrument.name, or by its file"),
        (("table", "show", "tally.factor", "--time", "noon"), "'noon' is no UTC time; write 2016-08-27T12:50:44.060"),
        (("run", "one"), "Invalid value for 'PJ'"),
        (("run", 1, "--sett", "x=1"), "No such option"),
        (("lst",), "No such command"),
        (("list", "planets"), "'planets' is not one of"),
        (("store", "gc"), "Missing option '--keep-runs'"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_wrong_use(raw: Path, store: Path, arguments: tuple[Any, ...], words: str) -> None:
    options = () if arguments[0] == "simulate" else ("--store", store)
    before = sorted(store.rglob("*"))
    answer = invoke(*arguments, *options)
    assert answer.status == 2, answer.err
    assert words in answer.err
    assert answer.out == ""
    assert "Traceback" not in answer.err
    assert sorted(store.rglob("*")) == before


def test_wrong_time_of_a_certified_table(world: Any, tmp_path: Path) -> None:
    words = ("table", "certify", world.table, "--alias", "x", "--comment", "x", "--start", "2016-13-01")
    answer = invoke(*words, "--store", tmp_path)
    assert (answer.status, answer.err) == (2, "perijove: '2016-13-01' is no day of the calendar\n")


def test_listing_of_a_store_that_is_not_there(tmp_path: Path) -> None:
    for what in ("runs", "products"):
        answer = invoke("list", what, "--store", tmp_path / "absent", "--json")
        assert (answer.status, answer.document) == (0, [])
    assert not (tmp_path / "absent").exists()


def test_store_of_the_environment(world: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PERIJOVE_STORE", str(world.store))
    assert invoke("list", "runs", "--json").document == ask(world, "list", "runs")
    monkeypatch.delenv("PERIJOVE_STORE")
    monkeypatch.chdir(tmp_path)
    assert invoke("list", "runs", "--json").document == []
