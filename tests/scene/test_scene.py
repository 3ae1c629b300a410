from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import UsageError
from pipeline.jupiter import con2020, jrm33
from pipeline.scene import QuietScene, Scene, make_quiet_scene, make_scene


@pytest.fixture(scope="module")
def demo() -> Scene:
    return make_scene(1, scale="demo", seed=0)


@pytest.fixture(scope="module")
def quiet() -> QuietScene:
    return make_quiet_scene(1, hours=2.0, seed=0)


def test_spans_are_about_closest_approach(demo: Scene) -> None:
    full = make_scene(1, scale="full", seed=0)
    assert full.span == full.pass_.window(2.0)
    assert full.span.start < demo.span.start < demo.pass_.et < demo.span.stop < full.span.stop


def test_unknown_passes_are_refused() -> None:
    with pytest.raises(UsageError, match="PJ99"):
        make_scene(99, scale="demo", seed=0)


def test_geometry_and_field_reach_beyond_the_span(demo: Scene) -> None:
    et = np.array([demo.span.start - 10.0, demo.span.stop + 10.0])
    assert np.isfinite(demo.magnetic_field(et)).all()
    assert np.isfinite(demo.geometry.rotation("J2000", "JUNO_SPACECRAFT", et)).all()
    assert np.isnan(demo.magnetic_field([demo.span.stop + 86400.0])).all()


@pytest.mark.real
def test_field_is_jupiters_where_juno_really_was(demo: Scene, real_data: Path) -> None:
    """Trajectory, and rotation to J2000 and back, by SPICE; the error is the propagated trajectory's."""
    import spiceypy

    kernels = [str(real_data / "spice" / n) for n in ("pck00010.tpc", "spk_rec_160729_160923_161027.bsp")]
    et = np.linspace(demo.span.start, demo.span.stop, 25)
    for kernel in kernels:
        spiceypy.furnsh(kernel)
    try:
        position = np.array([spiceypy.spkgps(-61, t, "IAU_JUPITER", 599)[0] for t in et])
        back = np.array([spiceypy.pxform("IAU_JUPITER", "J2000", t) for t in et])
    finally:
        for kernel in kernels:
            spiceypy.unload(kernel)
    field = np.einsum("nij,nj->ni", back, jrm33(position, degree=18) + con2020(position))
    difference = np.linalg.norm(demo.magnetic_field(et) - field, axis=1)
    assert (difference / np.linalg.norm(field, axis=1)).max() < 5e-6


def test_truth_differs_from_the_diagnostic_model(demo: Scene) -> None:
    """Or the residual of the diagnostics would be zero by construction."""
    at = np.array([demo.pass_.et])
    position = demo.geometry.position("IAU_JUPITER", at)
    model = np.linalg.norm(jrm33(position) + con2020(position))
    assert 0.005 < abs(np.linalg.norm(demo.magnetic_field(at)) / model - 1.0) < 0.05


def test_a_time_does_not_depend_on_the_others(demo: Scene, quiet: QuietScene) -> None:
    for scene in (demo, quiet):
        et = np.linspace(scene.span.start, scene.span.stop, 3001)
        whole = scene.magnetic_field(et)
        for part in (slice(0, 1), slice(7, 16), slice(1500, None), slice(None, None, -1)):
            assert np.array_equal(scene.magnetic_field(et[part]), whole[part])


def test_the_clock_reads_the_scenes_times(demo: Scene) -> None:
    ticks = np.rint(demo.clock.to_ticks(demo.pass_.et))
    assert demo.clock.format(float(ticks)) == "5/0525574420:18916"


def test_quiet_field_keeps_its_strength_and_turns() -> None:
    day = make_quiet_scene(1, hours=24.0, seed=0)
    field = day.magnetic_field(np.arange(day.span.start, day.span.stop, 10.0))
    size = np.linalg.norm(field, axis=1)
    assert size.mean() == pytest.approx(5.0, rel=0.01)
    assert 0.005 < size.std() / size.mean() < 0.03
    direction = field / size[:, None]
    spread = np.degrees(np.arccos(np.clip(direction @ direction.mean(axis=0), -1.0, 1.0)))
    assert 15.0 < spread.mean() < 45.0
    # Slow against the spin of 30 s: within one it turns by little.
    turned = np.degrees(np.arccos(np.clip((direction[3:] * direction[:-3]).sum(axis=1), -1.0, 1.0)))
    assert np.median(turned) < 10.0


def test_quiet_time_is_far_out_and_of_the_seed(quiet: QuietScene) -> None:
    et = np.linspace(quiet.span.start, quiet.span.stop, 5)
    assert quiet.span.stop - quiet.span.start == pytest.approx(7200.0)
    assert (np.linalg.norm(quiet.geometry.position("IAU_JUPITER", et), axis=1) > 60 * 71492.0).all()
    assert np.array_equal(make_quiet_scene(1, hours=2.0, seed=0).magnetic_field(et), quiet.magnetic_field(et))
    for other in (make_quiet_scene(1, hours=2.0, seed=1), make_quiet_scene(2, hours=2.0, seed=0)):
        shift = other.pass_.et - quiet.pass_.et
        assert not np.allclose(other.magnetic_field(et + shift), quiet.magnetic_field(et), atol=0.1)
