"""Pictures of what a run made: drawn once, named by what they were drawn from, kept as long as a run names them."""

from __future__ import annotations

import json
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib.image
import netCDF4
import numpy as np
import pytest
from core_fixtures import run
from matplotlib.figure import Figure

from pipeline import registry
from pipeline.errors import SchedulerLostError
from pipeline.report.page import write_page
from pipeline.runs import pictures as module
from pipeline.runs.execute import InProcess
from pipeline.runs.pictures import Picture, draw_all
from pipeline.runs.record import exit_status
from pipeline.runs.store import Store


@pytest.fixture
def drawn(raw: Path, store: Path) -> dict[str, object]:
    (picture,) = run(raw, store, pictures=True)["pictures"]
    return picture


def test_a_run_draws_what_is_there_once(raw: Path, store: Path, drawn: dict[str, object]) -> None:
    """The products were made by an earlier run, which drew nothing."""
    path = Path(str(drawn["path"]))
    assert drawn == {"caption": "Particle rates", "path": str(path), "status": "drawn", "reason": None}
    assert path.parent == store / "pictures" / "PJ01"
    assert path.name.startswith("tally-rate-")
    assert np.ptp(matplotlib.image.imread(path)[..., :3]) > 0.5
    before = path.stat()
    (again,) = run(raw, store, pictures=True)["pictures"]
    assert again == drawn | {"status": "kept"}
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert run(raw, store)["pictures"] == []


def test_equal_products_give_equal_bytes(raw: Path, tmp_path: Path, drawn: dict[str, object]) -> None:
    (other,) = run(raw, tmp_path / "other", pictures=True)["pictures"]
    first, second = Path(str(drawn["path"])), Path(other["path"])
    assert first.name == second.name
    assert first.read_bytes() == second.read_bytes()


def test_what_no_run_names_is_collected(
    raw: Path, store: Path, drawn: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other code that draws it makes another picture, beside the first."""
    monkeypatch.setattr(module, "sources", lambda instrument: "other code")
    (new,) = run(raw, store, pictures=True)["pictures"]
    assert (new["status"], new["path"] != drawn["path"]) == ("drawn", True)
    Store(store).collect(keep_runs=2)
    assert Path(str(drawn["path"])).exists()
    Store(store).collect(keep_runs=1)
    assert [p.name for p in (store / "pictures" / "PJ01").iterdir()] == [Path(new["path"]).name]


def test_a_picture_that_cannot_be_drawn_costs_nothing_else(
    raw: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = []

    def broken(*datasets: object) -> Figure:
        tries.append(datasets)
        raise ValueError("no ink")

    tally = registry.load("tally")
    looks = tuple(replace(look, draw=broken) for look in tally.quicklooks)
    monkeypatch.setattr(module.registry, "load", lambda name: replace(tally, quicklooks=looks))
    record = run(raw, store, pictures=True)
    assert [(p["status"], p["reason"]) for p in record["pictures"]] == [("failed", "ValueError: no ink")]
    assert exit_status(record) == 0
    assert run(raw, store, pictures=True)["pictures"] == record["pictures"]
    assert len(tries) == 1
    page = write_page(Store(store), None, store / "page").read_text()
    assert "Particle rates: not drawn (ValueError: no ink)" in page


def test_the_page_takes_what_is_drawn(
    store: Path, drawn: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.report.page.render", lambda picture: pytest.fail("drawn twice"))
    page = write_page(Store(store), None, tmp_path / "page")
    assert (page.parent / "tally-rate.png").read_bytes() == Path(str(drawn["path"])).read_bytes()
    assert 'src="tally-rate.png"' in page.read_text()


def test_a_store_that_was_moved_knows_its_pictures(store: Path, drawn: dict[str, object], tmp_path: Path) -> None:
    moved = store.rename(tmp_path / "moved")
    (picture,) = Store(moved).run(None)["pictures"]
    assert picture["path"] == str(moved / "pictures" / "PJ01" / Path(str(drawn["path"])).name)
    record = next(iter(sorted((moved / "runs").iterdir())))
    document = json.loads(record.read_bytes())
    document.pop("pictures")
    record.write_text(json.dumps(document))
    assert Store(moved).run(record.stem)["pictures"] == []  # of a version that drew none


def test_a_picture_of_simulated_data_says_so(raw: Path, store: Path, drawn: dict[str, object]) -> None:
    (picture,) = module.pictures_of(run(raw, store)["products"], Store(store))
    told = module.render(picture)
    for path in filter(None, picture.products):
        with netCDF4.Dataset(path, "a") as file:
            assert file.simulated
            del file.simulated
    assert module.render(picture) != told == Path(str(drawn["path"])).read_bytes()


def test_lost_scheduler_is_no_picture_s_fault(tmp_path: Path) -> None:
    """The run ends: the picture is drawn by the next one."""

    class Lost(InProcess):
        def submit(self, function: Any, *arguments: Any) -> Future[Any]:
            return Future()

        def result(self, future: Future[Any], timeout: float | None) -> Any:
            raise SchedulerLostError("the Dask scheduler is gone")

    picture = Picture("tally", "rate", "rate", "rate", (), tmp_path / "rate.png")
    with pytest.raises(SchedulerLostError):
        draw_all([picture], Lost(), lambda done, total: None)
    assert not picture.done
