"""The closed loop: Jupiter in sunlight to EDR to radiance and back to the truth; and that it notices what is wrong.

Five images of PJ1: blue, green and red with a lost piece, methane, one bent by the full well and cut short, blue and
red companded linearly, and methane from limb to limb.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from scipy.spatial.transform import Rotation

sys.path.insert(0, str(Path(__file__).parent))
from junocam_samples import CLOCK

from calibration.tables import Table
from instruments.junocam import INSTRUMENT, calibrate, raw
from instruments.junocam.attitude import attitude
from instruments.junocam.schemas import LOST, NONLINEAR, RADIANCE
from instruments.junocam.simulate import DEMO
from pipeline.clock import Span
from pipeline.dataset import check
from pipeline.dataset.quality import Quality
from pipeline.scene import Scene, make_scene
from pipeline.testing.pulls import Result, compare_to_truth
from pipeline.testing.systematic import judge_systematic, systematic_pulls

NAMES = ("companding", "response", "detector", "throughput", "solar", "pixels", "epochs")
TABLES = {n: Table.read(INSTRUMENT.tables / f"{n}.yaml") for n in NAMES}
VALUES = {"radiance", "i_over_f"}
PIXEL = 0.67541e-3  # rad


@dataclass(frozen=True)
class Image:
    """An image of the simulated pass: its label's path, raw data, truth, and product."""

    path: Path
    raw: xr.Dataset
    truth: xr.Dataset
    product: xr.Dataset


def made(data: xr.Dataset, known: dict[str, Table] | None = None, **options: object) -> xr.Dataset:
    product = calibrate.radiance_from_edr(data, *({**TABLES, **(known or {})}.values()), **options)  # type: ignore[arg-type]
    return check.finish(product, RADIANCE, INSTRUMENT.flags, {"product": "junocam.radiance/PJ01"})


@pytest.fixture(scope="module")
def scene() -> Scene:
    return make_scene(1, scale="demo", seed=0)


@pytest.fixture(scope="module")
def images(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Image]:
    """The demonstration's images by the letter and number of their names."""
    folder = tmp_path_factory.mktemp("raw")
    assert INSTRUMENT.simulate is not None
    truths = INSTRUMENT.simulate(scene, folder, "demo", np.random.default_rng(3))
    truth = {t.unit: t.dataset for t in truths}
    found = {}
    for path in sorted(folder.rglob("*.LBL")):
        data = raw.read_edr([raw.open_edr(path, CLOCK)], None, CLOCK)
        found[path.stem[15:21]] = Image(path, data, truth[path.stem[:-4]], made(data))
    return found


def judged(image: Image, product: xr.Dataset | None = None) -> list[Result]:
    return compare_to_truth(image.product if product is None else product, image.truth, RADIANCE)


def failed(results: list[Result]) -> set[str]:
    return {r.variable for r in results if not r.ok}


def test_radiance_agrees_with_the_truth(images: dict[str, Image]) -> None:
    assert sorted(images) == ["C00001", "C00003", "M00002", "M00005", "T00004"]
    for name, image in images.items():
        results = judged(image)
        assert failed(results) == set(), (name, [r.why for r in results if not r.ok])
        tests = {r.variable: r.test for r in results}
        assert tests == {"et": "time", "radiance": "quantised", "i_over_f": "derived"}
        assert all(r.n > 200_000 for r in results if r.variable != "et")


def test_the_loop_saw_what_it_should(images: dict[str, Image]) -> None:
    assert {i.raw.attrs["mode"] for i in images.values()} == {"SQROOT", "LIN8"}
    bits = {n: i.product["quality"].values for n, i in images.items()}
    assert np.count_nonzero(bits["C00001"] & np.uint32(LOST.mask)) == 32 * (208 - 23)  # some without glass
    assert not any((bits[n] & np.uint32(LOST.mask)).any() for n in ("C00003", "M00002", "T00004"))
    assert (bits["C00003"] & np.uint32(NONLINEAR.mask)).any()
    assert (bits["C00003"] & np.uint32(Quality.SATURATED)).any()
    cut = next(s.cut for s in DEMO if s.cut)
    assert images["C00003"].product["lost_fraction"].values.max() == 0
    assert images["C00003"].raw["lines_there"].values.sum() == 6 * 128 - cut
    widths = np.unique(images["C00001"].product["radiance_quantum"].values[0])
    assert np.isfinite(widths).sum() >= 4  # several steps of the companding


def test_hits_are_found(images: dict[str, Image]) -> None:
    """Every planted hit but the few beside each other; nothing else."""
    image = images["T00004"]
    off = image.product["radiance"].values - image.truth["radiance"].values
    planted = off > 20 * image.product["radiance_random"].values
    found = (image.product["quality"].values & np.uint32(Quality.RADIATION)) != 0
    seen = np.isfinite(off)
    assert planted.sum() > 10
    assert (found & planted).sum() >= 0.95 * planted.sum()
    assert (found & ~planted & seen).sum() <= 2


def test_the_limb_gives_the_attitude(images: dict[str, Image], scene: Scene) -> None:
    """No kernel has it; the direction of Jupiter is found as well as stated, 1 pixel."""
    fitted = [Table.read(INSTRUMENT.tables / f"{n}.yaml") for n in ("camera", "limb", "attitude")]
    solution = attitude(images["M00005"].product, scene.geometry, scene.pass_, *fitted)
    assert "steady spin fitted to the limb" in str(solution["basis"].values)
    et = solution["et_pointing"].values
    jupiter = -scene.geometry.position("J2000", et)
    jupiter /= np.linalg.norm(jupiter, axis=1)[:, None]
    found = Rotation.from_quat(solution["quaternion"].values, scalar_first=True).apply(jupiter)
    truth = (scene.geometry.rotation("J2000", "JUNO_SPACECRAFT", et) @ jupiter[:, :, None])[:, :, 0]
    sigma = solution["pointing_sigma"].values
    assert (np.linalg.norm(found - truth, axis=1) < 3.0 * sigma).all()
    assert ((sigma > 0.5 * PIXEL) & (sigma < 2.0 * PIXEL)).all(), sigma / PIXEL


def test_one_segment_or_several_give_the_same(images: dict[str, Image]) -> None:
    image = images["C00001"]
    granule = raw.open_edr(image.path, CLOCK)
    middle = image.raw["et"].values[3]
    parts = [
        made(raw.read_edr([granule], span, CLOCK)) for span in (Span(granule.start, middle), Span(middle, granule.stop))
    ]
    for name in image.product.data_vars:
        joined = np.concatenate([p[name].values for p in parts])
        np.testing.assert_array_equal(joined, image.product[name].values, err_msg=str(name))


# What the loop must notice


def with_response(known: dict[str, Table]) -> dict[str, Table]:
    return {"response": known["response"].replace(response=2.0 * known["response"]["response"].value)}


def with_gain(known: dict[str, Table]) -> dict[str, Table]:
    return {"detector": known["detector"].replace(gain=2.0 * known["detector"]["gain"].value)}


def with_black(known: dict[str, Table]) -> dict[str, Table]:
    return {"detector": known["detector"].replace(black_clipped=1.0)}


@pytest.mark.parametrize("change", [with_response, with_gain, with_black])
def test_a_wrong_table_is_noticed(
    images: dict[str, Image], change: Callable[[dict[str, Table]], dict[str, Table]]
) -> None:
    for name in ("C00001", "M00002"):
        assert failed(judged(images[name], made(images[name].raw, change(TABLES)))) == VALUES, name


def test_half_a_companding_step_is_noticed(images: dict[str, Image]) -> None:
    for name in ("C00001", "C00003", "T00004"):
        assert failed(judged(images[name], made(images[name].raw, convention="archive"))) == VALUES, name


def test_codes_taken_as_stretched_are_noticed(images: dict[str, Image]) -> None:
    lossy = images["C00001"].raw.assign_attrs(compression="INTEGER COSINE TRANSFORM")
    assert failed(judged(images["C00001"], made(lossy))) == VALUES


def test_a_halved_uncertainty_is_noticed(images: dict[str, Image]) -> None:
    for name in ("C00001", "M00002", "C00003", "T00004"):
        image = images[name]
        halved = image.product.assign(
            {f"{v}_random": image.product[f"{v}_random"] * np.float32(0.5) for v in sorted(VALUES)}
        )
        assert failed(judged(image, halved)) == VALUES, name


def test_leakage_left_in_is_noticed(images: dict[str, Image]) -> None:
    known = {"response": TABLES["response"].replace(leakage=np.zeros(4))}
    assert failed(judged(images["M00002"], made(images["M00002"].raw, known))) == VALUES


def test_filters_in_the_wrong_order_are_noticed(images: dict[str, Image]) -> None:
    data = images["C00001"].raw
    turned = data.assign_coords(filter=("framelet", np.tile(["RED", "GREEN", "BLUE"], 3).astype(object)))
    assert failed(judged(images["C00001"], made(turned))) & VALUES


def test_clock_off_by_a_millisecond_is_noticed(images: dict[str, Image]) -> None:
    late = images["C00001"].raw.assign_coords(et=images["C00001"].raw["et"] + 1e-3)
    assert failed(judged(images["C00001"], made(late))) == {"et"}


def test_a_line_shifted_is_noticed(images: dict[str, Image]) -> None:
    data = images["C00003"].raw.copy(deep=True)
    data["value"].values[:] = np.roll(data["value"].values, 1, axis=2)
    assert failed(judged(images["C00003"], made(data))) & VALUES


# Systematic


@pytest.mark.parametrize("name", ["C00001", "M00002"])
def test_systematic_uncertainty_is_what_the_tables_make(images: dict[str, Image], name: str) -> None:
    """Two hundred draws of all tables on some lines of the first frame."""
    data = images[name].raw.isel(framelet=slice(0, 3), line=slice(60, 68))
    data = data.assign(lines_there=("framelet", np.full(3, 8, np.int16)))
    rng = np.random.default_rng(11)
    draws = (made(data, {n: t.draw(rng) for n, t in TABLES.items()}) for _ in range(200))
    nominal = made(data)
    found = systematic_pulls(draws, nominal, RADIANCE, ("systematic", "structured"))
    assert set(found) == VALUES
    assert all(0.85 < s < 1.15 for s in found.values()), found
    assert failed(judge_systematic(judged(images[name]), found)) == set()
