"""Hostile input: names that lead out, labels that are bombs, links; a small disk, a clock that jumps, two runs."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from core_fixtures import environment, invoke, product_bytes, run, statuses

import perijove
from pipeline.errors import InputError
from pipeline.formats.pds3 import read_label
from pipeline.runs.store import Store

ROOT = Path(perijove.__file__).parent
RATE, DOSE = "tally.rate/PJ01", "tally.dose/PJ01"


# Labels


@pytest.mark.parametrize(
    "name", ["../secret.dat", "/etc/passwd", "..", "a/b.dat", "C:\\x.dat", "a\\b.dat", "x\0.dat", "", "~/x", "$HOME"]
)
def test_pointer_out_of_the_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret.dat").write_text("secret")
    (tmp_path / "in").mkdir()
    label = tmp_path / "in" / "x.lbl"
    label.write_text(f'PDS_VERSION_ID = PDS3\r\n^TABLE = "{name}"\r\nEND\r\n')
    with pytest.raises(InputError):
        read_label(label).pointer("TABLE")


@pytest.mark.parametrize(
    "text",
    [
        "OBJECT = A\r\n" * 5000,
        "A = " + "(" * 20000,
        "A = " + "{" * 20000 + "1" + "}" * 20000,
        "".join(f"GROUP = G{k}\r\n" for k in range(3000)) + "END\r\n",
        "A = " + "9" * 100_000 + "\r\nEND\r\n",
        "A = 2#" + "1" * 100_000 + "#\r\nEND\r\n",
        "A = 1e99999999\r\nEND\r\n",
        'A = "' + "x" * 900_000,
        "/*" * 100_000,
        "A = <<<<<<\r\nEND\r\n",
        "\0" * 100_000,
        "A = " + "1 <" * 10_000,
    ],
    ids=[
        "objects",
        "parentheses",
        "braces",
        "groups",
        "digits",
        "bits",
        "exponent",
        "text",
        "comments",
        "units",
        "zeros",
        "angles",
    ],
)
@pytest.mark.timeout(60)
def test_label_that_is_a_bomb(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.lbl"
    path.write_text(text)
    with suppress(InputError):  # anything else is a defect; so is a minute
        assert len(read_label(path)) <= 3000


XML = {
    "entities": f"<!DOCTYPE a [<!ENTITY a '{'x' * 1000}'><!ENTITY b '{'&a;' * 1000}'>]><a>{'&b;' * 1000}</a>",
    "file": '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>',
    "network": '<!DOCTYPE a SYSTEM "http://127.0.0.1:9/x.dtd"><a/>',
    "deep": "<a>" * 100_000,
}  # fmt: skip


@pytest.mark.parametrize("kind", XML)
def test_xml_beside_raw_data_is_not_expanded(raw: Path, tmp_path: Path, kind: str) -> None:
    """Arrivals look for a checksum in labels, as text; no entity is resolved, nothing is fetched."""
    from core_fixtures import CLOCK

    from pipeline.runs.arrivals import Arrivals

    incoming = tmp_path / "incoming"
    shutil.copytree(raw, incoming)
    (incoming / "TALLY" / "TLY_000_V01.xml").write_text(XML[kind])
    arrivals = Arrivals(incoming, Store(tmp_path / "s").prepare(), CLOCK)
    arrivals.look()
    taken = arrivals.look()
    assert taken is not None
    assert [g["granule"] for g in taken.granules] == ["TLY_000", "TLY_001"]


def test_huge_file_is_refused_by_its_size(raw: Path, tmp_path: Path) -> None:
    """A terabyte that is not there: a sparse file."""
    os.truncate(raw / "TALLY" / "TLY_001_V01.TLY", 1 << 40)
    record = run(raw, tmp_path / "s")
    assert [q["path"] for q in record["quarantined"]] == [str(raw / "TALLY" / "TLY_001_V01.TLY")]
    assert statuses(record)[RATE] == "made"


def test_swapped_files(raw: Path, tmp_path: Path) -> None:
    """What is data stands under the name of a label, and the label's under that of data."""
    folder = raw / "TALLY"
    one, two = folder / "TLY_000_V01.TLY", folder / "TLY_001_V01.LBL"
    one.rename(folder / "x")
    two.rename(one)
    (folder / "x").rename(two)
    answer = invoke("run", 1, "--instrument", "tally", "--raw", raw, "--store", tmp_path / "s")
    assert answer.status == 3
    assert answer.err.count("not usable") == 2


def test_links_that_circle(raw: Path, tmp_path: Path) -> None:
    (raw / "TALLY" / "again").symlink_to(raw)
    (raw / "TALLY" / "TLY_002_V01.TLY").symlink_to("TLY_002_V01.TLY")
    assert set(statuses(run(raw, tmp_path / "s")).values()) == {"made"}


# The store


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=640k", "tmpfs", place], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"mounting is not permitted here ({mounted.stderr.strip()})")
    yield place
    subprocess.run(["umount", "--lazy", place], check=False)


@pytest.mark.slow
def test_disk_that_is_full(small_disk: Path, raw: Path, store: Path) -> None:
    """A real one: what fits is made, what does not is named or the run ends; with room again all is as it should be."""
    place, filler = small_disk / "s", small_disk / "filler"
    whole = product_bytes(store)
    for kilobytes in (600, 500, 400, 300, 200):
        filler.write_bytes(b"x" * 1024 * kilobytes)
        answer = run_apart(raw, place)
        assert answer.returncode in (0, 1, 3), answer.stderr
        assert "Traceback" not in answer.stderr
        there = product_bytes(place) if (place / "products").is_dir() else {}
        assert there.items() <= whole.items()
        filler.unlink()
    subprocess.run(["mount", "-o", "remount,size=64m", small_disk], check=True)
    assert run_apart(raw, place).returncode == 0
    assert product_bytes(place) == whole
    assert not list(place.rglob("*.part"))


def test_store_mounted_to_be_read(small_disk: Path, store: Path, raw: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=64m", small_disk], check=True)
    place = shutil.copytree(store, small_disk / "s")
    before = product_bytes(place)
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    answer = run_apart(raw, place)
    assert answer.returncode == 3
    assert "cannot be written: Read-only file system" in answer.stderr
    assert invoke("plan", 1, "--instrument", "tally", "--raw", raw, "--store", place).status == 0
    assert product_bytes(place) == before


IN_PROCESS = """
import sys
from core_fixtures import made_here
sys.argv[0] = "perijove"
with made_here():
    from pipeline.cli import main
    main()
"""


def run_apart(raw: Path, place: Path) -> subprocess.CompletedProcess[str]:
    """The command, with its products made in its own process."""
    here = str(Path(__file__).parent.parent / "plugin")
    env = environment()
    return subprocess.run(
        [sys.executable, "-c", "import perijove\n" + IN_PROCESS, "run", "1", "--instrument", "tally", "--raw", raw,
         "--store", place],
        capture_output=True, text=True, timeout=240, check=False,
        env=env | {"PYTHONPATH": f"{here}{os.pathsep}{env['PYTHONPATH']}"},
    )  # fmt: skip


def test_two_runs_of_one_pass_at_once(raw: Path, store: Path, tmp_path: Path) -> None:
    """The second waits; everything is made once."""
    records = []
    threads = [threading.Thread(target=lambda: records.append(run(raw, tmp_path / "s"))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(sum(p["made"] for p in r["products"]) for r in records) == [0, 4]
    assert product_bytes(tmp_path / "s") == product_bytes(store)


@pytest.mark.parametrize("year", [1970, 2001, 2095])
def test_clock_that_jumps(raw: Path, store: Path, tmp_path: Path, year: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Back or forth between runs: the newest run is the one that was last, and no byte knows."""
    import datetime as real

    class Jumped(real.datetime):
        @classmethod
        def now(cls, tz: real.tzinfo | None = None) -> Jumped:
            return cls(year, 1, 1, tzinfo=tz)

    before = run(raw, tmp_path / "s")["run"]
    monkeypatch.setattr("pipeline.runs.record.datetime.datetime", Jumped)
    jumped = run(raw, tmp_path / "s", settings={"tally.rate.smooth": "3"})["run"]
    monkeypatch.undo()
    last = run(raw, tmp_path / "s")
    names = [r["run"] for r in Store(tmp_path / "s").runs()]
    assert names == [last["run"], jumped, before]
    assert product_bytes(store).items() <= product_bytes(tmp_path / "s").items()


# What nothing in the project may do


def _calls() -> list[tuple[str, str, ast.Call]]:
    found = []
    for folder in ("pipeline", "calibration", "flows", "instruments"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_bytes())):
                if isinstance(node, ast.Call):
                    found.append((str(path.relative_to(ROOT)), ast.unparse(node.func), node))
    return found


def test_nothing_dangerous_is_called() -> None:
    """No pickle, no eval, no YAML that makes objects, no shell, no XML that fetches or expands."""
    forbidden = re.compile(
        r"eval|exec|compile|__import__|os\.system|os\.popen|(c?pickle|marshal|shelve|dill|joblib|cloudpickle)\..*"
        r"|.*read_pickle|.*\.allow_pickle|yaml\.(unsafe_load|full_load)(_all)?|.*\.(unpickle|from_pickle)"
    )
    bad = [f"{path}: {name}" for path, name, _ in _calls() if forbidden.fullmatch(name)]
    assert [b for b in bad if not b.endswith("__import__")] == []
    for path, name, call in _calls():
        arguments = {k.arg: ast.unparse(k.value) for k in call.keywords}
        assert arguments.get("allow_pickle", "False") == "False", path
        assert arguments.get("shell", "False") == "False", path
        assert arguments.get("resolve_entities", "False") == "False", path
        if name == "yaml.load":
            loader = arguments.get("Loader") or ast.unparse(call.args[1])
            assert "Safe" in loader or loader.startswith("_"), f"{path}: {loader}"
        if name.endswith(("np.load", "numpy.load")):
            assert arguments.get("allow_pickle") == "False", path


def test_no_pickle_is_imported() -> None:
    for folder in ("pipeline", "calibration", "flows", "instruments"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            assert not re.search(r"^\s*(?:from|import) (?:pickle|marshal|shelve|dill)\b", path.read_text(), re.M), path
