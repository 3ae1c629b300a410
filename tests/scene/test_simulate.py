"""What the core does with simulators, on two that write one random number."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from pipeline import registry
from pipeline.dataset import netcdf
from pipeline.dataset.schema import Schema, Variable
from pipeline.errors import UsageError
from pipeline.instrument import Instrument, ProductType, Truth
from pipeline.scene import Scene
from pipeline.scene.simulate import simulate_pass

DICE = Variable("number", ("et",), "float64", "1", "a random number (diagnostic)")


def dice(name: str, simulator: bool = True) -> Instrument:
    def simulate(scene: Scene, raw: Path, scale: str, rng: np.random.Generator) -> Iterator[Truth]:
        number = rng.random(3)
        path = raw / name.upper() / f"{scene.pass_.name}_{scale}.txt"
        path.parent.mkdir(parents=True)
        path.write_text(f"{number}")
        et = scene.span.start + np.arange(3.0)
        yield Truth(f"{name}.roll", "", xr.Dataset({"number": ("et", number)}, {"et": et}))

    product = ProductType(f"{name}.roll", "Roll", "pass", Schema(1, "et", (DICE,), context=False))
    return Instrument(name, name, (), (product,), (), Path(), simulate=simulate if simulator else None)


@pytest.fixture(autouse=True)
def instruments(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {i.name: i for i in (dice("ace"), dice("bee"), dice("cue", simulator=False))}
    monkeypatch.setattr(registry, "names", lambda: sorted(known))
    monkeypatch.setattr(registry, "load", known.__getitem__)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_writes_raw_products_and_their_truth(tmp_path: Path) -> None:
    done = simulate_pass(1, tmp_path, (), "demo", 3)
    raw = contents(tmp_path / "raw")
    assert set(raw) == {"ACE/PJ01_demo.txt", "BEE/PJ01_demo.txt"}
    assert done["products"] == ["ace.roll/PJ01", "bee.roll/PJ01"]
    assert (done["files"], done["bytes"]) == (2, sum(map(len, raw.values())))
    truth = netcdf.open_product(tmp_path / "truth" / "ace.roll" / "PJ01" / "pass.nc")
    assert raw["ACE/PJ01_demo.txt"].decode() == f"{truth['number'].values}"
    assert truth["number"].attrs["long_name"] == "a random number (diagnostic)"


def test_what_one_instrument_draws_depends_on_seed_and_pass_alone(tmp_path: Path) -> None:
    simulate_pass(1, tmp_path / "all", (), "demo", 3)
    simulate_pass(1, tmp_path / "one", ("bee",), "demo", 3)
    simulate_pass(1, tmp_path / "seed", ("bee",), "demo", 4)
    everything, one, seed = (contents(tmp_path / name / "raw") for name in ("all", "one", "seed"))
    assert one == {"BEE/PJ01_demo.txt": everything["BEE/PJ01_demo.txt"]}
    assert everything["ACE/PJ01_demo.txt"] != everything["BEE/PJ01_demo.txt"]
    assert seed != one
    assert contents(tmp_path / "one" / "truth") == {
        k: v for k, v in contents(tmp_path / "all" / "truth").items() if k.startswith("bee")
    }


def test_replaces_only_what_a_simulation_wrote(tmp_path: Path) -> None:
    simulate_pass(1, tmp_path / "out", (), "demo", 3)
    simulate_pass(1, tmp_path / "out", ("ace",), "full", 3)
    assert set(contents(tmp_path / "out" / "raw")) == {"ACE/PJ01_full.txt"}
    downloads = tmp_path / "real" / "raw" / "download.dat"
    downloads.parent.mkdir(parents=True)
    downloads.write_bytes(b"precious")
    with pytest.raises(UsageError, match="holds other raw data"):
        simulate_pass(1, tmp_path / "real", (), "demo", 3)
    assert downloads.read_bytes() == b"precious"


def test_refuses_what_cannot_be_simulated(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no simulator for cue"):
        simulate_pass(1, tmp_path, ("ace", "cue"), "demo", 0)
    with pytest.raises(UsageError, match="PJ99"):
        simulate_pass(99, tmp_path, ("ace",), "demo", 0)
    assert contents(tmp_path) == {}
