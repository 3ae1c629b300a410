"""Position and attitude of planted scenes, and of the mission's own images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from junocam_planted import PASS, TABLES, Scene, image, known, off_by

from calibration.tables import Table
from instruments.junocam import INSTRUMENT
from instruments.junocam.attitude import attitude, solved
from instruments.junocam.camera import Camera
from instruments.junocam.geometry_schemas import ATTITUDE, LIMB_ATTITUDE, LIMB_POOR
from instruments.junocam.imageset import open_imageset, read_imageset
from instruments.junocam.limb import View
from instruments.junocam.position import Stated, label_shift
from pipeline.clock import Sclk, parse_utc
from pipeline.dataset import check
from pipeline.dataset.quality import Quality
from pipeline.geometry import Geometry, make_geometry
from pipeline.geometry.attitude import Attitude
from pipeline.passes import get_pass

PIXEL = 0.67541e-3


def solve(radiance: xr.Dataset, geometry: Geometry, **parameters: str) -> xr.Dataset:
    return attitude(radiance, geometry, PASS, *TABLES.values(), **parameters)


@pytest.fixture(scope="module")
def planted() -> tuple[xr.Dataset, Geometry]:
    return image(Scene())


@pytest.fixture(scope="module")
def solution(planted: tuple[xr.Dataset, Geometry]) -> xr.Dataset:
    return solve(planted[0], known())


def test_planted_attitude_is_found(planted: tuple[xr.Dataset, Geometry], solution: xr.Dataset) -> None:
    """Phase and rate unknown, axis, trajectory and limb height off: Jupiter's centre comes out within 0.2 pixel."""
    assert off_by(solution, planted[1]).max() < 0.2
    assert str(solution["basis"].values) == "position: label; attitude: steady spin fitted to the limb"
    rate = float(TABLES["attitude"]["rate"].value) + float(solution["parameter"][1])
    assert rate == pytest.approx(Scene().rate, abs=4.0 * float(solution["parameter_systematic"][1]))
    assert float(np.nanmax(solution["limb_rms"])) < 1.0
    assert (solution["quality"] == solution["quality"][0]).all()
    assert int(solution["quality"][0]) & LIMB_ATTITUDE.mask


def test_its_uncertainty_covers_its_error(planted: tuple[xr.Dataset, Geometry], solution: xr.Dataset) -> None:
    error = off_by(solution, planted[1]) * PIXEL
    assert np.sqrt(np.mean((error / solution["pointing_sigma"].values) ** 2)) < 2.0


def test_it_keeps_the_schema(solution: xr.Dataset) -> None:
    finished = check.finish(solution, ATTITUDE, INSTRUMENT.flags, {})
    check.check(finished, ATTITUDE, INSTRUMENT.flags)


def test_label_moves_the_trajectory(planted: tuple[xr.Dataset, Geometry], solution: xr.Dataset) -> None:
    et = solution["et_pointing"].values
    truth = planted[1].position("J2000", et)
    np.testing.assert_allclose(solution["position"].values, truth, atol=1.0)
    assert float(solution["position_time_shift"]) == pytest.approx(-Scene().late, abs=0.05)
    assert float(solution["label_difference"][0]) == pytest.approx(-Scene().late * 25.0, rel=0.2)
    uncorrected = known().position("J2000", et)
    assert np.linalg.norm(uncorrected - truth, axis=1).min() > 30.0


def test_solved_geometry_has_what_the_solution_says(solution: xr.Dataset) -> None:
    geometry, et = solved(solution, known()), solution["et_pointing"].values
    np.testing.assert_allclose(geometry.position("J2000", et), solution["position"].values, atol=1e-6)
    np.testing.assert_allclose(geometry.attitude.quaternion(et).T, solution["quaternion"].values, atol=1e-12)


def test_kernel_is_corrected_by_start_time_and_axis(planted: tuple[xr.Dataset, Geometry]) -> None:
    """A reconstructed attitude, read 15 ms late and tilted by half a pixel, of an image whose start time jitters."""
    radiance, truth = planted
    nominal = truth.attitude
    tilt = np.array([np.cos(1.5e-4), *(np.sin(1.5e-4) * np.array([0.0, 0.6, 0.8]))])
    q = _times(nominal.quaternions, tilt)
    kernel = replace(
        truth,
        attitude=Attitude(nominal.et + 0.015, q, nominal.joined),
        position_predicted=np.zeros_like(truth.position_predicted),
    )
    found = solve(radiance, kernel)
    assert (
        str(found["basis"].values)
        == "position: reconstructed trajectory; attitude: attitude kernel corrected by the limb"
    )
    assert float(found["start_offset"]) == pytest.approx(0.015, abs=0.001)
    assert off_by(found, truth).max() < 0.2
    taken = solve(radiance, kernel, pointing_source="kernel")
    assert off_by(taken, truth).max() > 3.0
    assert float(np.nanmax(taken["limb_rms_all"])) > 1.0


def _times(q: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Rows q (n, 4) of unit quaternions, each after the rotation p of space."""
    w, x, y, z = q.T
    a, b, c, d = p
    return np.stack(
        [
            w * a - x * b - y * c - z * d,
            w * b + x * a + y * d - z * c,
            w * c - x * d + y * a + z * b,
            w * d + x * c - y * b + z * a,
        ],
        axis=1,
    )


def test_damage_does_not_spoil_it() -> None:
    """A framelet half lost, and zeros there as they arrive."""
    radiance, truth = image(Scene(frames=7, lost=7))
    assert off_by(solve(radiance, known()), truth).max() < 0.2


def test_moved_methane_strip_is_noticed() -> None:
    """The label does not say that the strip was moved; 32 stages of TDI."""
    scene = Scene(filters=("METHANE",), frames=8, stages=32, moved=405.48, height=110.0)
    radiance, truth = image(scene)
    found = solve(radiance, known())
    assert (found["centre_line"] == 405.48).all()
    assert off_by(found, truth).max() < 0.3
    other = solve(image(replace(scene, moved=None))[0], known())
    assert (other["centre_line"] == 315.48).all()


def test_dark_image_has_no_attitude() -> None:
    """No limb, no kernel: nothing is made up."""
    radiance, _ = image(Scene(frames=2))
    dark = radiance.assign(i_over_f=radiance["i_over_f"] * 0.0)
    found = solve(dark, known())
    assert np.isnan(found["quaternion"]).all()
    assert (found["quality"].values & Quality.GEOMETRY_MISSING).all()
    assert (found["quality"].values & LIMB_POOR.mask).all()
    assert str(found["basis"].values).endswith("attitude: unknown")
    check.check(check.finish(found, ATTITUDE, INSTRUMENT.flags, {}), ATTITUDE, INSTRUMENT.flags)


def test_outline_is_where_lines_of_sight_graze(planted: tuple[xr.Dataset, Geometry]) -> None:
    """Two derivations of the limb: the ellipse of tangency, and the height at which a line of sight passes."""
    et = planted[0]["et"].values[:4]
    view = View.at(planted[1], et)
    seen, _ = view.outline(80.0)
    for i in range(et.size):
        _, height = view.passing(np.full(50, i), seen[i, ::120])
        np.testing.assert_allclose(height, 80.0, atol=0.05)


def test_tdi_moves_the_place_of_exposure() -> None:
    one, many = (Camera.from_table(TABLES["camera"], stages=s) for s in (1, 33))
    np.testing.assert_allclose(many.unproject(50.0, 700.0, "METHANE"), one.unproject(34.0, 700.0, "METHANE"))


# The mission's images

REAL = {"JNCE_2022186_43C00078": 43, "JNCE_2022186_43M00081": 43, "JNCE_2022229_44C00030": 44}


def radiometric() -> list[Table]:
    """Tables of the radiometric chain, in the order of its steps."""
    names = ("companding", "response", "detector", "throughput", "solar", "pixels", "epochs")
    return [Table.read(INSTRUMENT.tables / f"{n}.yaml") for n in names]


@pytest.fixture(scope="session")
def real_radiance(real_data: Path) -> dict[str, xr.Dataset]:
    """The three images as products."""
    from instruments.junocam.calibrate import radiance_from_imageset

    out = {}
    for name in REAL:
        path = real_data / "junocam" / "imagesets" / name / f"{name}_V01-raw.png"
        raw = read_imageset([open_imageset(path, Sclk.default())], None, Sclk.default())
        out[name] = radiance_from_imageset(raw, *radiometric())
    return out


@pytest.mark.real
@pytest.mark.parametrize("name", list(REAL))
def test_limb_of_real_images_fits(real_data: Path, real_radiance: dict[str, xr.Dataset], name: str) -> None:
    """Within 1 pixel root mean square in every framelet that shows it, without any attitude known beforehand."""
    pass_ = get_pass(REAL[name])
    geometry = make_geometry(pass_, pass_.window(8.0), real_data / "spice")
    found = attitude(real_radiance[name], geometry, pass_, *TABLES.values())
    used = found["limb_used"].values > 20
    assert used.sum() >= 6
    assert found["limb_rms"].values[used].max() < 1.0
    assert float(found["limb_scale"]) < 0.3
    assert str(found["basis"].values) == "position: label; attitude: steady spin fitted to the limb"
    if name.endswith("M00081"):
        assert (found["centre_line"] == 405.48).all()


@pytest.mark.real
def test_labels_hold_for_the_middle_of_an_image(real_data: Path) -> None:
    """Labels of PJ43 explained by one shift along the predicted trajectory: at their middle, not at their start."""
    pass_ = get_pass(43)
    geometry = make_geometry(pass_, pass_.window(8.0), real_data / "spice")
    rows = [
        ("2022-07-05T12:13:37.407", 12, 269171.4, -83.2812, 152.5940),
        ("2022-07-05T12:16:02.958", 42, 272726.5, -83.2886, 156.8164),
        ("2022-07-05T12:17:39.223", 12, 274852.7, -83.2861, 159.3245),
    ]
    shifts = {
        share: [label_shift(geometry, parse_utc(t) + share * n * 0.372, Stated(*where)).time for t, n, *where in rows]
        for share in (0.0, 0.5)
    }
    assert np.ptp(shifts[0.5]) < 0.3
    assert np.ptp(shifts[0.0]) > 5.0


@pytest.mark.slow
def test_simulated_image_turns_as_its_scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the simulator's EDR, with its noise, codes and label, near enough for half of the sky to be planet."""
    from instruments.junocam import raw, simulate
    from instruments.junocam.calibrate import radiance_from_edr
    from pipeline.scene import make_scene

    monkeypatch.setattr(simulate, "DEMO", (simulate.Shot(-3400.0, "T", 2, 14),))
    scene = make_scene(PASS.number, scale="full", seed=0)
    list(simulate.simulate(scene, tmp_path, "demo", np.random.default_rng(3)))
    (path,) = tmp_path.rglob("*.LBL")
    granule = raw.open_edr(path, Sclk.default())
    radiance = radiance_from_edr(raw.read_edr([granule], None, Sclk.default()), *radiometric())
    found = solve(radiance, scene.geometry)
    assert off_by(found, scene.geometry).max() < 0.5
