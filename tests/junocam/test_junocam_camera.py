"""The camera against the instrument kernel and against what another program computed for one framelet."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from calibration.tables import Table
from instruments.junocam.camera import FRAME, Camera, Model, stated_centres
from instruments.junocam.layout import FILTERS
from pipeline.clock import Sclk, Span, parse_utc
from pipeline.geometry import make_geometry
from pipeline.geometry.attitude import to_matrix
from pipeline.passes import get_pass

TABLES = Path(__file__).resolve().parents[2] / "calibration" / "tables" / "junocam"
# Boresights and corners of juno_junocam_v03.ti, INS-6150#_BORESIGHT and _FOV_BOUNDARY_CORNERS: upper left, lower left,
# lower right, upper right.
KERNEL = {
    "METHANE": [
        (0.00854687, -0.16805056, 0.98574133),
        (-0.47351727, -0.18862601, 0.86034971),
        (-0.47852984, -0.11376363, 0.87067045),
        (0.49067337, -0.11299511, 0.86398596),
        (0.48553839, -0.18735362, 0.85390345),
    ],
    "BLUE": [
        (0.00862523, -0.06371477, 0.99793088),
        (-0.47934991, -0.09577177, 0.87238262),
        (-0.48125208, -0.01885545, 0.87637943),
        (0.49346247, -0.01872799, 0.86956544),
        (0.49151356, -0.09512467, 0.86565912),
    ],
    "GREEN": [
        (0.00863288, 0.04084925, 0.99912803),
        (-0.48132762, -0.00181401, 0.87653889),
        (-0.48010800, 0.07530320, 0.87397125),
        (0.49229026, 0.07479430, 0.86721169),
        (0.49353987, -0.00180175, 0.86972131),
    ],
    "RED": [
        (0.00857099, 0.14442688, 0.98947835),
        (-0.47949606, 0.09218676, 0.87268845),
        (-0.47518685, 0.16768048, 0.86375964),
        (0.48724863, 0.16654879, 0.85723408),
        (0.49166330, 0.09156385, 0.86595800),
    ],
}
# Places of these in the kernel's count from the upper left edge.
X = np.array([827.0, 23.5, 23.5, 1630.5, 1630.5])
Y = np.array([64.0, 0.5, 127.5, 127.5, 0.5])


@pytest.fixture(scope="module")
def table() -> Table:
    return Table.read(TABLES / "camera.yaml")


@pytest.fixture(scope="module")
def camera(table: Table) -> Camera:
    return Camera.from_table(table, model="kernel")


@pytest.mark.parametrize("name", FILTERS)
def test_boresights_and_corners_of_the_kernel(camera: Camera, name: str) -> None:
    looks = camera.unproject(Y - 0.5, X - 0.5, name)
    np.testing.assert_allclose(looks, KERNEL[name], atol=2e-8, rtol=0)


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("summing", [1, 2])
@pytest.mark.parametrize("model", ["refined", "kernel"])
def test_project_undoes_unproject(table: Table, name: str, summing: int, model: Model) -> None:
    camera = Camera.from_table(table, summing=summing, model=model)
    line, sample = np.meshgrid(np.linspace(-1, camera.shape[0], 12), np.linspace(-1, camera.shape[1], 50))
    again = camera.project(camera.unproject(line, sample, name), name)
    np.testing.assert_allclose(again[0], line, atol=1e-6)
    np.testing.assert_allclose(again[1], sample, atol=1e-6)


def test_summed_pixel_looks_between_the_four(table: Table, camera: Camera) -> None:
    summed = Camera.from_table(table, summing=2, model="kernel").unproject(10, 300, "METHANE")
    np.testing.assert_allclose(summed, camera.unproject(20.5, 600.5, "METHANE"), atol=1e-15)


def test_what_lies_behind_is_not_seen(camera: Camera) -> None:
    line, sample = camera.project([[0.0, 0.1, -1.0], [0.0, 0.1, 0.0], [0.0, 0.0, 1.0]], "GREEN")
    assert np.isnan(line[:2]).all()
    assert np.isnan(sample[:2]).all()
    np.testing.assert_allclose([line[2], sample[2]], [2.98, 813.71])


def test_moved_strip(table: Table) -> None:
    text = "Methane imaging; INS-61504_DISTORTION_Y = 405.48 for this image"
    moved = Camera.from_table(table, centre_line=stated_centres(text))
    np.testing.assert_allclose(
        moved.unproject(100.0, 30.0, "METHANE"), Camera.from_table(table).unproject(10.0, 30.0, "METHANE"), atol=1e-15
    )
    assert stated_centres("Jupiter imaging") == {}


def test_refined_axis_keeps_the_boresight(table: Table, camera: Camera) -> None:
    """By design nothing changes where the kernel's axis meets the detector, and little near it."""
    refined = Camera.from_table(table)
    line, sample = camera.project([0.0, 0.0, 1.0], "GREEN")
    np.testing.assert_allclose(refined.unproject(line, sample, "GREEN"), [0.0, 0.0, 1.0], atol=1e-6)
    lines, samples = np.meshgrid(np.arange(128.0), np.arange(23.0, 1631.0, 8.0))
    for name in FILTERS:
        again = refined.project(camera.unproject(lines, samples, name), name)
        moved = np.hypot(again[0] - lines, again[1] - samples)
        assert 0.5 < moved.max() < 5.0


@pytest.mark.real
def test_stars_ask_for_the_refined_axis(real_data: Path, table: Table) -> None:
    """The same stars in successive frames: turned about the spin axis, one place must become the other.

    Of every image the turn per frame is fitted, and for all the spin axis; nothing of the camera is.
    """
    pairs = _star_pairs(real_data / "junocam" / "star_matchpoints_PJ24.csv")
    along = {model: _star_residuals(Camera.from_table(table, model=model), pairs) for model in ("kernel", "refined")}
    assert np.median(np.abs(along["kernel"][:, 1])) > 0.4
    assert np.median(np.abs(along["refined"]), axis=0) == pytest.approx([0.1, 0.2], abs=0.05)


def _star_pairs(path: Path) -> dict[str, np.ndarray]:
    """Image, frames, filters and places (0-based line and sample) of both members of each pair."""
    rows = list(csv.reader(path.read_text().splitlines()))[1:]
    x, y = (np.array([[float(r[i]), float(r[i + 8])] for r in rows]) for i in (3, 4))
    framelet = np.floor(y / 128).astype(int)
    image = np.unique([r[1] for r in rows], return_inverse=True)[1]
    return {
        "image": image,
        "frames": framelet // 3,
        "filter": framelet % 3,
        "line": y - 128 * framelet - 0.5,
        "sample": x - 0.5,
    }


def _star_residuals(camera: Camera, pairs: dict[str, np.ndarray]) -> np.ndarray:
    """Line and sample of the second member less what the first predicts (n, 2)."""

    def looks(member: int) -> np.ndarray:
        line, sample, own = (pairs[k][:, member] for k in ("line", "sample", "filter"))
        each = np.stack([camera.unproject(line, sample, name) for name in FILTERS[:3]])
        return each[own, np.arange(own.size)]

    first, images = looks(0), pairs["image"].max() + 1
    apart = np.diff(pairs["frames"], axis=1)[:, 0]

    def residuals(x: np.ndarray) -> np.ndarray:
        axis = np.array([-1.0, x[-2], x[-1]]) / np.sqrt(1.0 + x[-2] ** 2 + x[-1] ** 2)
        turned = Rotation.from_rotvec(-(x[pairs["image"]] * apart)[:, None] * axis).apply(first)
        each = np.array([camera.project(turned, name) for name in FILTERS[:3]])
        found = each[pairs["filter"][:, 1], :, np.arange(apart.size)]
        return (found - np.stack([pairs["line"][:, 1], pairs["sample"][:, 1]], axis=1)).ravel()

    # In cruise Juno turned once a minute; frames are about 0.76 s apart.
    start = np.append(np.full(images, 0.078), [0.0, 0.0])
    fit = least_squares(residuals, start, loss="soft_l1", f_scale=0.7, x_scale="jac")
    return residuals(fit.x).reshape(-1, 2)


def test_instants(camera: Camera) -> None:
    start = camera.epochs(1000.0, [0, 3], 0.372, 0.1024, "start")
    np.testing.assert_allclose(start, [1000.06188, 1000.06188 + 3 * 0.373])
    np.testing.assert_allclose(camera.epochs(1000.0, [0, 3], 0.372, 0.1024, "middle") - start, 0.0512)


@pytest.mark.real
def test_camera_model_of_another_program(real_data: Path, camera: Camera, tmp_path: Path) -> None:
    """Epoch, position and attitude of JNCR_2016240_01M06152, frame 8, as ISIS and ALE give them (juno_isd.json)."""
    folder = real_data / "junocam" / "camera_model_JNCR_2016240_01M06152"
    isd = json.loads((folder / "juno_isd.json").read_text())
    exact = float(isd["center_ephemeris_time"])
    clock = Sclk.from_kernel(folder / "jno_sclkscet_00090.tsc")
    interframe, exposure = 0.378, 0.2048  # of its label
    counted = camera.epochs(float(clock.to_et(clock.parse("525560580:87"))), 7, interframe, exposure, "middle")
    assert counted == pytest.approx(exact, abs=1e-5)
    # The label's text of the start is rounded to 1 ms.
    text = camera.epochs(parse_utc("2016-08-27T09:00:04.129"), 7, interframe, exposure, "middle")
    assert exact - text == pytest.approx(-3.19e-4, abs=2e-5)

    # Its kernels: cuts of the reconstructed trajectory and attitude.
    names = ("naif0012.tls", "jno_sclkscet_00090.tsc", "juno_v12.tf", "pck00010.tpc")
    for path in (*(folder / n for n in names), *(real_data / "spice" / "slices_PJ1").iterdir()):
        (tmp_path / path.name).symlink_to(path)
    geometry = make_geometry(get_pass(1), Span(exact - 5.0, exact + 5.0), tmp_path)
    np.testing.assert_allclose(
        geometry.position("J2000", exact)[0], isd["instrument_position"]["positions"][0], atol=1e-6, rtol=0
    )
    fixed = np.reshape(isd["instrument_pointing"]["constant_rotation"], (3, 3))
    turning = to_matrix(np.array(isd["instrument_pointing"]["quaternions"]).T)[0]
    np.testing.assert_allclose(geometry.rotation("J2000", FRAME, exact)[0], fixed @ turning, atol=1e-8, rtol=0)
