"""Geometry from real kernels, against SPICE itself and another program's camera model."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import spiceypy
from numpy.testing import assert_allclose

from pipeline.clock import Span, parse_utc
from pipeline.dataset.quality import Quality
from pipeline.errors import GeometryError
from pipeline.geometry import Geometry, describe_kernels, kernel_clock, kernel_files, make_geometry
from pipeline.geometry.attitude import to_matrix
from pipeline.geometry.frames import SPACECRAFT, resolve, tabulated
from pipeline.geometry.surface import intercept
from pipeline.jupiter.rotation import iau_jupiter
from pipeline.jupiter.shape import rectangular
from pipeline.passes import get_pass, passes

pytestmark = pytest.mark.real
PJ1 = get_pass(1)
TIMES = PJ1.et + np.array([-13000.0, -3600.0, -777.7, 0.0, 3333.3])


def pool(folder: Path) -> spiceypy.KernelPool:
    return spiceypy.KernelPool([str(p) for p in folder.iterdir()])


def test_positions_are_those_of_the_kernel_within_4_mm(kernels, from_kernels):
    times = np.linspace(PJ1.et - 13900, PJ1.et + 3900, 500)
    with pool(kernels):
        juno = np.array([spiceypy.spkgeo(-61, t, "J2000", 599)[0] for t in times])
        sun = np.array([spiceypy.spkgeo(10, t, "J2000", 599)[0] for t in times])
    assert_allclose(from_kernels.position("J2000", times), juno[:, :3], atol=4e-6)
    # Doppler needs 0.003 mm/s.
    assert_allclose(from_kernels.velocity("J2000", times), juno[:, 3:], atol=2e-9)
    assert_allclose(from_kernels.position("J2000", times, target="SUN"), sun[:, :3], atol=4e-6)


def test_tabulated_sun_and_earth_are_within_300_km(kernels, propagated):
    times = np.linspace(PJ1.et - 3600, PJ1.et + 3600, 5)
    with pool(kernels):
        for name, number in (("SUN", 10), ("EARTH", 399)):
            real = np.array([spiceypy.spkgeo(number, t, "J2000", 599)[0][:3] for t in times])
            assert np.linalg.norm(propagated.position("J2000", times, target=name) - real, axis=1).max() < 300


@pytest.mark.parametrize(
    ("frame", "tolerance"),
    [("IAU_JUPITER", 1e-11), ("IAU_IO", 1e-11), ("IAU_SUN", 1e-11), ("JUNO_MAG_VIP4", 1e-11), ("JUNO_JSS", 1e-11),
     ("JUNO_JSO", 1e-10), ("JUNO_JH", 1e-11), ("JUNO_SUN_EQU_RTN", 1e-11)],
)  # fmt: skip
def test_moving_frames_are_those_of_spice(kernels, from_kernels, frame, tolerance):
    with pool(kernels):
        real = np.array([spiceypy.pxform("J2000", frame, t) for t in TIMES])
    assert_allclose(from_kernels.rotation("J2000", frame, TIMES), real, atol=tolerance)


def test_every_fixed_frame_is_that_of_spice(kernels):
    fixed = resolve(tabulated(), (SPACECRAFT, "IAU_JUPITER"))
    checked = 0
    with pool(kernels):
        for name, (root, matrix) in fixed.items():
            try:
                real = spiceypy.pxform(root, name, PJ1.et)
            except spiceypy.exceptions.SpiceyError:  # frames that only a C-kernel gives
                continue
            assert_allclose(matrix, real, atol=1e-12, err_msg=name)
            checked += 1
    assert checked > 45
    assert {"JUNO_JUNOCAM", "JUNO_JIRAM_I", "JUNO_MWR_A1", "JUNO_UVS", "JUNO_SRU1", "JUNO_JADE_I"} <= fixed.keys()


def test_frames_of_a_newer_frames_kernel_are_used_and_hashed(real_data, kernels, from_kernels, tmp_path, link):
    text = (real_data / "spice" / "juno_v12.tf").read_text(errors="replace")
    folder = link(tmp_path, [p.resolve() for p in kernels.iterdir() if p.suffix != ".tf"])
    (folder / "juno_v99.tf").write_text(text.replace("0.583", "0.683"))
    inside = Span(PJ1.et - 60, PJ1.et + 60)
    geometry = make_geometry(PJ1, inside, folder)
    with spiceypy.KernelPool([str(folder / "juno_v99.tf")]):
        real = spiceypy.pxform(SPACECRAFT, "JUNO_JUNOCAM", 0.0)
    assert from_kernels.own_frames == {}
    assert set(geometry.own_frames) == {"JUNO_JUNOCAM"}
    for made in (geometry, Geometry.from_dataset(geometry.to_dataset())):
        assert_allclose(made.rotation(SPACECRAFT, "JUNO_JUNOCAM", PJ1.et)[0], real, atol=1e-12)
    assert geometry.values_hash(Span(PJ1.et, PJ1.et + 1)) != from_kernels.values_hash(Span(PJ1.et, PJ1.et + 1))


def test_position_and_attitude_of_the_camera_model(real_data, image_kernels):
    model = json.loads((real_data / "junocam" / "camera_model_JNCR_2016240_01M06152" / "juno_isd.json").read_text())
    et = model["center_ephemeris_time"]
    geometry = make_geometry(PJ1, Span(et - 5, et + 5), image_kernels)
    position = np.array(model["instrument_position"]["positions"][0])
    attitude = to_matrix(np.array(model["instrument_pointing"]["quaternions"][0])[:, None])
    assert_allclose(geometry.position("J2000", et)[0], position, atol=1e-6)
    assert_allclose(geometry.rotation("J2000", SPACECRAFT, et), attitude, atol=1e-8)
    camera = np.reshape(model["instrument_pointing"]["constant_rotation"], (3, 3))
    assert_allclose(geometry.rotation(SPACECRAFT, "JUNO_JUNOCAM", et)[0], camera, atol=1e-9)
    assert geometry.attrs["attitude"] == "SPICE kernels"
    assert not geometry.quality(et).any()


def test_a_gap_is_missing_and_flagged(image_kernels):
    """The two slices of one second each leave most of a minute uncovered."""
    et = 525560475.1286545
    geometry = make_geometry(PJ1, Span(et - 3000, et + 3000), image_kernels)
    known = np.isfinite(geometry.rotation("J2000", SPACECRAFT, np.arange(et - 3000, et + 3000, 1.0))[:, 0, 0])
    assert known.any()
    assert not known.all()
    flagged = geometry.quality(np.arange(et - 3000, et + 3000, 1.0)) & Quality.GEOMETRY_MISSING
    assert np.array_equal(flagged == 0, known & np.isfinite(
        geometry.position("J2000", np.arange(et - 3000, et + 3000, 1.0))[:, 0]))  # fmt: skip


def test_without_attitude_kernels_the_attitude_is_a_flagged_model(from_kernels):
    assert "placeholder" in from_kernels.attrs["attitude"]
    assert (from_kernels.quality(TIMES) == Quality.GEOMETRY_PREDICTED).all()


def test_attitude_of_other_times_is_a_gap_and_no_model(kernels, image_kernels, tmp_path, link):
    names = {p.name: p.resolve() for folder in (kernels, image_kernels) for p in folder.iterdir()}
    folder = link(tmp_path, [p for name, p in names.items() if not name.startswith("JNCR")])
    geometry = make_geometry(PJ1, PJ1.window(), folder)
    assert np.isfinite(geometry.position("J2000", TIMES[1:])).all()
    assert np.isnan(geometry.rotation("J2000", SPACECRAFT, TIMES[1:])).all()
    assert (geometry.quality(TIMES[1:]) == Quality.GEOMETRY_MISSING).all()
    # What is fixed to the spacecraft is so without any attitude.
    assert np.isfinite(geometry.rotation(SPACECRAFT, "JUNO_JUNOCAM", TIMES)).all()
    again = Geometry.from_dataset(geometry.to_dataset())
    assert (again.quality(TIMES[1:]) == Quality.GEOMETRY_MISSING).all()


def test_reconstructed_kernels_rule_over_predicted_ones(tmp_path):
    names = ("spk_rec_160729_160923_161027.bsp", "spk_ref_160729.bsp", "spk_pre_160729.bsp", "de440.bsp",
             "juno_sc_rec_160821_160827_v01.bc", "juno_sc_prl_160821_160827_v01.bc")  # fmt: skip
    for name in names:
        (tmp_path / name).touch()
    order = [p.name for p in kernel_files(tmp_path)]
    assert order.index("spk_rec_160729_160923_161027.bsp") > max(map(order.index, names[1:4]))
    assert order.index(names[4]) > order.index(names[5])


def test_the_callers_own_kernels_stay_loaded(real_data, kernels):
    own = str(real_data / "spice" / "gm_de440.tpc")
    spiceypy.kclear()
    spiceypy.furnsh(own)
    try:
        make_geometry(PJ1, Span(PJ1.et - 60, PJ1.et + 60), kernels)
        assert [spiceypy.kdata(i, "ALL")[0] for i in range(spiceypy.ktotal("ALL"))] == [own]
    finally:
        spiceypy.kclear()


def labels(real_data: Path) -> Iterator[tuple[float, dict[str, str], np.ndarray, np.ndarray]]:
    """Time, label, rotation from J2000 to JIRAM's image frame and position in IAU_JUPITER of six frames of PJ4."""
    lines = (real_data / "jiram" / "PJ4_label_geometry.csv").read_text().splitlines()
    for row in csv.DictReader(lines):
        quaternion = np.array([float(row[f"QUATERNION{i}"]) for i in range(1, 5)])
        matrix = to_matrix((quaternion / np.linalg.norm(quaternion))[:, None])[0].T
        position = np.array([float(row[f"SC_TARGPOS{i}"]) for i in range(1, 4)])
        yield float(parse_utc(row["IMAGE_TIME"])), row, matrix, position


def test_boresights_of_jiram_meet_the_planet_where_its_labels_say(real_data):
    for et, row, matrix, position in labels(real_data):
        boresight = iau_jupiter(et) @ matrix.T @ np.array([0.0, 0.0, 1.0])
        point = intercept(position, boresight)
        expected = rectangular(float(row["CENLON"]), float(row["CENLAT"]), 1.0)
        assert np.degrees(np.arccos(point @ expected / np.linalg.norm(point))) < 0.01


def test_spin_axis_of_a_microwave_pass_is_normal_to_the_orbit(real_data):
    """The model of the attitude against labels of PJ4; the Earth is 24 degrees away from there."""
    root, camera = resolve(tabulated(), (SPACECRAFT,))["JUNO_JIRAM_I"]
    assert root == SPACECRAFT
    geometry = make_geometry(get_pass(4), get_pass(4).window(4), None)
    for et, _, matrix, _ in labels(real_data):
        axis = matrix.T @ camera @ np.array([0.0, 0.0, 1.0])
        model = geometry.rotation(SPACECRAFT, "J2000", et)[0] @ np.array([0.0, 0.0, 1.0])
        assert np.degrees(np.arccos(axis @ model)) < 0.5


def test_a_predicted_trajectory_is_flagged(real_data, tmp_path, link):
    spice = real_data / "spice"
    names = ("naif0012.tls", "JNO_SCLKSCET.00061.tsc", "spk_pre_220614_221109_220810_jm0450.bsp")
    folder = link(tmp_path, [spice / n for n in names])
    pass_ = get_pass(43)
    geometry = make_geometry(pass_, Span(pass_.et - 600, pass_.et + 600), folder)
    assert (geometry.quality(pass_.et) & Quality.GEOMETRY_PREDICTED).all()


def test_clock_and_description(kernels):
    clock = kernel_clock(kernels)
    assert clock is not None
    assert clock.name == "JNO_SCLKSCET.00061.tsc"
    assert "trajectory at 1 of 77 passes" in describe_kernels(kernels, [p.et for p in passes()])


def test_meta_kernel(kernels, tmp_path):
    if len(str(kernels)) > 80:
        pytest.skip("the folder's name is too long for a meta-kernel")
    listed = ",\n".join(f"'$K/{p.name}'" for p in sorted(kernels.iterdir()))
    paths = f"PATH_VALUES = ( '{kernels}' )\nPATH_SYMBOLS = ( 'K' )\n"
    meta = tmp_path / "pj1.tm"
    meta.write_text(f"KPL/MK\n\\begindata\n{paths}KERNELS_TO_LOAD = ( {listed} )\n\\begintext\n")
    geometry = make_geometry(PJ1, Span(PJ1.et - 60, PJ1.et + 60), meta)
    assert np.isfinite(geometry.position("J2000", PJ1.et)).all()


def test_kernels_that_cannot_be_used(kernels, tmp_path, image_kernels, link):
    with pytest.raises(GeometryError, match="no such folder"):
        make_geometry(PJ1, PJ1.window(), tmp_path / "nowhere")
    with pytest.raises(GeometryError, match="holds no SPICE kernel"):
        make_geometry(PJ1, PJ1.window(), tmp_path)
    with pytest.raises(GeometryError, match=r"2016.*not 2017"):
        make_geometry(get_pass(9), get_pass(9).window(), kernels)
    (tmp_path / "bad.bsp").write_bytes(b"not a kernel" * 100)
    with pytest.raises(GeometryError, match=r"bad\.bsp"):
        make_geometry(PJ1, PJ1.window(), tmp_path)
    lonely = tmp_path / "ck"
    lonely.mkdir()
    link(lonely, [p for p in image_kernels.iterdir() if p.suffix in (".bc", ".bsp")])
    with pytest.raises(GeometryError, match="leap seconds"):
        make_geometry(PJ1, Span(525560470.0, 525560480.0), lonely)
