"""Wrong raw data of each kind: what the user is told, and with which exit status."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from core_fixtures import invoke, statuses, write_faulty, write_tally

pytestmark = pytest.mark.usefixtures("without_prefect")
RATE, HISTOGRAM = "tally.rate/PJ01", "tally.histogram/PJ01/TLY_00{}"


def command(name: str, raw: Path, store: Path, *options: Any, instrument: str = "tally") -> SimpleNamespace:
    return invoke(name, 1, "--instrument", instrument, "--raw", raw, "--store", store, *options)


def refused(answer: SimpleNamespace, *words: str) -> None:
    """Status 3, one message, nothing on standard output."""
    assert answer.status == 3, answer
    assert answer.err.startswith("perijove: ")
    assert answer.out == ""
    for word in words:
        assert word in answer.err
    assert "Traceback" not in answer.err


# Nothing there


def test_folder_that_is_not_there(tmp_path: Path) -> None:
    for name in ("run", "plan"):
        refused(command(name, tmp_path / "raw", tmp_path / "s"), f"{tmp_path / 'raw'}: there is no such folder of raw")
    assert not (tmp_path / "s").exists()


def test_file_in_place_of_a_folder(raw: Path, tmp_path: Path) -> None:
    file = raw / "TALLY" / "TLY_000_V01.TLY"
    refused(command("run", file, tmp_path / "s"), f"{file}: there is no such folder of raw products")


def test_folder_without_raw_data(tmp_path: Path) -> None:
    (tmp_path / "raw" / "deep").mkdir(parents=True)
    (tmp_path / "raw" / "deep" / "notes.txt").write_text("to do")
    refused(command("run", tmp_path / "raw", tmp_path / "s"), f"{tmp_path / 'raw'}: no raw data of PJ1 for tally")
    assert not (tmp_path / "s").exists()


def test_raw_data_of_another_instrument(tmp_path: Path) -> None:
    write_faulty(tmp_path / "raw")
    refused(command("run", tmp_path / "raw", tmp_path / "s"), "no raw data of PJ1 for tally")


def test_one_of_two_instruments_that_were_named(raw: Path, tmp_path: Path) -> None:
    answer = invoke(
        "run", 1, "--instrument", "tally", "--instrument", "faulty", "--raw", raw, "--store", tmp_path / "s"
    )
    refused(answer, "no raw data of PJ1 for faulty")


def test_raw_data_of_another_pass(raw: Path, tmp_path: Path) -> None:
    answer = invoke("run", 3, "--instrument", "tally", "--raw", raw, "--store", tmp_path / "s")
    refused(answer, "no raw data of PJ3 for tally; 2 granules belong to other passes")


def test_folder_that_went_away(raw: Path, store: Path) -> None:
    shutil.rmtree(raw)
    refused(invoke("run", 1, "--instrument", "tally", "--store", store), f"{raw}: there is no such folder")


def test_link_out_of_the_folder_is_not_followed(raw: Path, tmp_path: Path) -> None:
    """A folder of raw products is what it holds, and nothing beside it."""
    linked = tmp_path / "linked"
    linked.mkdir()
    for file in (raw / "TALLY").iterdir():
        (linked / file.name).symlink_to(file)
    refused(command("run", linked, tmp_path / "s"), "no raw data of PJ1 for tally")


# Damaged: the granule is set aside and named, the others are used; without any other, nothing goes on

DATA, LABEL = "TLY_001_V01.TLY", "TLY_001_V01.LBL"


def _drop_label(folder: Path) -> None:
    (folder / LABEL).unlink()


def _truncate(folder: Path) -> None:
    os.truncate(folder / DATA, 5000)


def _empty(folder: Path) -> None:
    os.truncate(folder / DATA, 0)


def _longer(folder: Path) -> None:
    with (folder / DATA).open("ab") as file:
        file.write(b"\0" * 12)


def _garbage_label(folder: Path) -> None:
    (folder / LABEL).write_bytes(np.random.default_rng(1).bytes(4000))


def _empty_label(folder: Path) -> None:
    (folder / LABEL).write_text("")


def _other_instrument(folder: Path) -> None:
    (folder / LABEL).write_text((folder / LABEL).read_text().replace("TALLY", "TAILY"))


def _no_number(folder: Path) -> None:
    (folder / LABEL).write_text((folder / LABEL).read_text().replace("RECORDS = 600", "RECORDS = many"))


def _no_time(folder: Path) -> None:
    text = (folder / LABEL).read_text().splitlines()
    text[1] = "START_SCLK = yesterday"
    (folder / LABEL).write_text("\n".join(text) + "\n")


def _a_year(folder: Path) -> None:
    (folder / LABEL).write_text((folder / LABEL).read_text().replace("INTERVALS = 600", "INTERVALS = 60000000"))


def _folder_for_a_label(folder: Path) -> None:
    (folder / LABEL).unlink()
    (folder / LABEL).mkdir()


DAMAGES = [
    (_drop_label, DATA, f"has no label ({LABEL})"),
    (_folder_for_a_label, DATA, f"has no label ({LABEL})"),
    (_truncate, DATA, "has 5000 bytes, its label says 600 records of 12 bytes"),
    (_empty, DATA, "has 0 bytes, its label says 600 records"),
    (_longer, DATA, "has 7212 bytes, its label says 600 records"),
    (_garbage_label, LABEL, "INSTRUMENT, START_SCLK"),
    (_empty_label, LABEL, "INSTRUMENT, START_SCLK"),
    (_other_instrument, LABEL + ", line 1", "is of TAILY, not of TALLY"),
    (_no_number, LABEL, "invalid literal for int() with base 10: 'many'"),
    (_no_time, LABEL, "yesterday"),
    (_a_year, DATA, "which no granule does"),
]


@pytest.mark.parametrize(("damage", "place", "reason"), DAMAGES, ids=[d.__name__.strip("_") for d, *_ in DAMAGES])
def test_damaged_granule(raw: Path, tmp_path: Path, damage: Callable[[Path], None], place: str, reason: str) -> None:
    folder = raw / "TALLY"
    damage(folder)
    answer = command("run", raw, tmp_path / "s", "--json")
    assert answer.status == 1
    assert statuses(answer.document) == dict.fromkeys((RATE, "tally.dose/PJ01", HISTOGRAM.format(0)), "made")
    (bad,) = answer.document["quarantined"]
    assert bad["path"] == str(folder / DATA)
    assert bad["instrument"] == "tally"
    assert bad["reason"].startswith(f"{folder / place}: ")
    assert reason in bad["reason"]
    assert "Traceback" not in answer.err
    # Said to people as well, by the plan too, and on the page.
    shown = command("plan", raw, tmp_path / "s")
    assert shown.status == 0
    assert f"not usable {bad['reason']}" in shown.out
    # Alone it is an error.
    for suffix in ("TLY", "LBL"):
        (folder / f"TLY_000_V01.{suffix}").unlink()
    refused(command("run", raw, tmp_path / "other"), f"no raw data of PJ1 for tally\n  not usable: {bad['reason']}")
    assert not (tmp_path / "other").exists()


def test_granule_whose_records_are_garbage(raw: Path, tmp_path: Path) -> None:
    """Its label fits; what is wrong shows when it is read, and is treated in the same way."""
    data = raw / "TALLY" / DATA
    data.write_bytes(np.random.default_rng(2).bytes(data.stat().st_size))
    answer = command("run", raw, tmp_path / "s", "--json")
    assert answer.status == 1
    assert statuses(answer.document) == {
        RATE: "made", "tally.dose/PJ01": "made", HISTOGRAM.format(0): "made", HISTOGRAM.format(1): "quarantined"
    }  # fmt: skip
    (bad,) = answer.document["quarantined"]
    assert bad["reason"].startswith(f"{data}, record ")
    page = Path(invoke("report", "--store", tmp_path / "s", "--json").document["page"])
    assert str(data) in page.read_text()


def test_all_that_is_wrong_is_named_up_to_three(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / "raw").mkdir(exist_ok=True)
        (tmp_path / "raw" / f"TLY_{number}_V01.TLY").write_bytes(b"")
    answer = command("run", tmp_path / "raw", tmp_path / "s")
    refused(answer, "has no label (TLY_0_V01.LBL)")
    assert answer.err.count("not usable: ") == 3


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no table of numbers|et ascending and four counts"),
        (b"et,a,b,c,d\n", "et ascending and four counts are expected"),
        (b"et,a,b,c,d\n1,2,3\n", "et ascending and four counts are expected"),
        (b"et,a,b,c,d\n1,2,3,4,five\n", "no table of numbers (could not convert string 'five'"),
        (b"et,a,b,c,d\n2,0,0,0,0\n1,0,0,0,0\n", "et ascending and four counts are expected"),
        (bytes(range(256)) * 8, "no table of numbers"),
    ],
)
@pytest.mark.filterwarnings("ignore:loadtxt")
def test_text_that_is_no_table(tmp_path: Path, content: bytes, reason: str) -> None:
    file = tmp_path / "raw" / "TLY_DAY.CSV"
    file.parent.mkdir()
    file.write_bytes(content)
    answer = command("run", tmp_path / "raw", tmp_path / "s")
    refused(answer, f"not usable: {file}: ")
    assert any(words in answer.err for words in reason.split("|"))


# A real instrument

PACKETS, LEVEL_3 = "fgm_jno_l1_2016240_v01.pkt", "fgm_jno_l3_2016240pc_pj01_v01.sts"


@pytest.mark.parametrize("name", [PACKETS, LEVEL_3])
@pytest.mark.parametrize(
    "content",
    [b"", b"\0" * 5000, np.random.default_rng(3).bytes(5000), b"OBJECT = FILE\r\n" * 300, b"PDS_VERSION_ID = PDS3\n"],
    ids=["empty", "zeros", "random", "no_end", "label"],
)
def test_magnetometer_file_that_is_none(tmp_path: Path, name: str, content: bytes) -> None:
    file = tmp_path / "raw" / name
    file.parent.mkdir()
    file.write_bytes(content)
    answer = command("run", tmp_path / "raw", tmp_path / "s", instrument="mag")
    refused(answer, "no raw data of PJ1 for mag\n", f"not usable: {file}")
    assert "failed (" not in answer.err, "a reader says what is wrong itself"


def test_packets_under_the_name_of_level_3(tmp_path: Path) -> None:
    write_tally(tmp_path / "raw")
    (tmp_path / "raw" / "TALLY" / "TLY_000_V01.TLY").rename(tmp_path / "raw" / LEVEL_3)
    answer = command("run", tmp_path / "raw", tmp_path / "s", instrument="mag")
    refused(answer, f"not usable: {tmp_path / 'raw' / LEVEL_3}")


def test_name_that_is_no_text(raw: Path, tmp_path: Path) -> None:
    """A folder that was named in another encoding, with a file that cannot be used in it."""
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/r\xe4w"))
    raw.rename(odd)
    _truncate(odd / "TALLY")
    answer = command("run", odd, tmp_path / "s", "--json")
    assert answer.status == 1
    assert answer.document["quarantined"][0]["path"] == str(odd / "TALLY" / DATA)
    assert set(statuses(command("run", odd, tmp_path / "s", "--json").document).values()) == {"kept"}
