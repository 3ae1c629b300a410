"""Where pixels look: against the archive's own geometry, against the simulator's, and what goes wrong if it is late."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

sys.path.insert(0, str(Path(__file__).parent))
from jiram_scene import CLOCK, PASS, Loop, finished, image_of, tables

from instruments.jiram import INSTRUMENT, pixels, quicklook, raw, simulate
from pipeline.clock import Span, parse_utc
from pipeline.dataset import check
from pipeline.dataset.context import add_context
from pipeline.errors import CalibrationError
from pipeline.geometry import make_geometry
from pipeline.jupiter.shape import rectangular

CENTRE = ([64.5], [216.5])


def apart(a: tuple[float, float], b: tuple[float, float]) -> float:
    """Great circle between two longitudes and latitudes, degrees."""
    first, second = rectangular(*a, 1.0), rectangular(*b, 1.0)
    return float(np.degrees(np.arctan2(np.linalg.norm(np.cross(first, second)), first @ second)))


def label_frames(real_data: Path) -> list[dict[str, str]]:
    with (real_data / "jiram" / "PJ4_label_geometry.csv").open() as file:
        return list(csv.DictReader(file))


def centre(row: dict[str, str], late: float = 0.0) -> tuple[float, float]:
    quaternion = np.array([float(row[f"QUATERNION{k}"]) for k in range(1, 5)])
    position = np.array([float(row[f"SC_TARGPOS{k}"]) for k in range(1, 4)])
    look = pixels.directions(*CENTRE, (128, 432), float(tables()["pointing"]["ifov"].value))
    et = parse_utc(row["IMAGE_TIME"]) + late
    seen = pixels.by_label(et, quaternion / np.linalg.norm(quaternion), position, look)
    return float(seen.longitude_east[0, 0]), float(seen.latitude_planetocentric[0, 0])


@pytest.mark.real
def test_centres_of_six_label_frames(real_data: Path) -> None:
    rows = label_frames(real_data)
    off = [apart(centre(row), (float(row["CENLON"]), float(row["CENLAT"]))) for row in rows]
    assert len(off) == 6
    assert max(off) < 0.0085
    # Turned the other way no line of sight meets the planet.
    for row in rows:
        for k in (2, 3, 4):
            row[f"QUATERNION{k}"] = str(-float(row[f"QUATERNION{k}"]))
        assert np.isnan(centre(row)[0])


@pytest.mark.real
def test_the_step_reads_the_attitude_of_a_label(real_data: Path, loop: Loop) -> None:
    label = raw.label_of(real_data / "jiram" / "JIR_IMG_RDR_2017033T114006_V02.LBL")
    data = raw.read_images([loop.granules["jiram.image_edr"][1]], None, CLOCK)  # M alone, as the label's
    data = data.assign_coords(et=[raw.interval(label)[0]]).assign(
        quaternion=(("et", "q"), raw.vector(label, "QUATERNION", 4)[None]),
        position=(("et", "xyz"), raw.vector(label, "SC_TARGET_POSITION_VECTOR", 3)[None]),
    )
    seen = pixels.geometry(data, loop.scene.geometry, tables()["pointing"], source="label")
    group = label["FILE"] if "M_BAND_PARAMETERS" in label["FILE"] else label
    stated = group["M_BAND_PARAMETERS"]
    assert seen["latitude"].max() == pytest.approx(stated["MAXIMUM_LATITUDE"].value, abs=0.03)
    assert seen["latitude"].min() == pytest.approx(stated["MINIMUM_LATITUDE"].value, abs=0.03)
    middle = seen.isel(et=0, band=0, line=64, sample=216)
    assert float(middle["emission"]) == pytest.approx(stated["EMISSION_ANGLE"].value, abs=0.05)
    assert float(middle["range"]) == pytest.approx(stated["SLANT_DISTANCE"].value, rel=1e-4)
    assert np.isnan(middle["incidence"])


def test_a_label_without_attitude_is_refused(loop: Loop) -> None:
    data = raw.read_images([loop.granules["jiram.image_edr"][0]], None, CLOCK)
    with pytest.raises(CalibrationError, match="states no attitude"):
        pixels.geometry(data, loop.scene.geometry, tables()["pointing"], source="label")


def test_pixels_see_what_the_simulator_drew(loop: Loop) -> None:
    """Focal length and pitch there, angle of a pixel here; corners would tell a flipped axis."""
    granule = loop.granules["jiram.image_edr"][0]
    data = raw.read_images([granule], None, CLOCK)
    product = pixels.geometry(data, loop.scene.geometry, tables()["pointing"])
    drawn = simulate.look(loop.scene.geometry, granule.start)
    for k in range(2):
        lon, lat = product["longitude"].values[0, k], product["latitude"].values[0, k]
        there = np.isfinite(lat)
        assert (there == np.isfinite(drawn[k].latitude_planetocentric[0])).all()
        assert np.nanmax(np.abs(lat - drawn[k].latitude_planetocentric[0])) < 1e-4
        assert np.nanmax(np.abs((lon - drawn[k].longitude_east[0] + 180.0) % 360.0 - 180.0)) < 2e-4
    data = raw.read_spectra([loop.granules["jiram.spectrum_edr"][0]], None, CLOCK)
    slit = pixels.slit_geometry(data, loop.scene.geometry, tables()["pointing"])
    drawn_slit = simulate.look_along_slit(loop.scene.geometry, float(data["et"].values[0]))
    assert np.nanmax(np.abs(slit["latitude"].values - drawn_slit.latitude_planetocentric)) < 1e-4


def test_bands_are_apart_by_their_frames(loop: Loop) -> None:
    """L and M look 1.88 degrees apart across the slit, either side of the imager's axis."""
    geometry = loop.scene.geometry
    et = [geometry.closest_approach - 600.0]
    axes = [geometry.rotation(f, "J2000", et)[0][:, 2] for f in ("JUNO_JIRAM_I_LBAND", "JUNO_JIRAM_I_MBAND")]
    assert np.degrees(np.arccos(axes[0] @ axes[1])) == pytest.approx(2 * 0.94012, abs=1e-6)


def test_a_late_epoch_moves_the_frame_by_degrees() -> None:
    """The mirror is frozen at the start: taken 1.25 s later, the spinning boresight is 15 degrees away."""
    geometry = make_geometry(PASS, Span(PASS.et - 700.0, PASS.et - 500.0), None)
    et = PASS.et - 600.0 + np.array([0.0, 1.25])
    axis = geometry.rotation("JUNO_JIRAM_I_MBAND", "J2000", et)[:, :, 2]
    assert 14.0 < np.degrees(np.arccos(axis[0] @ axis[1])) < 16.0


@pytest.mark.parametrize(("lines", "first"), [(256, 1.0), (64, 2.5), (16, 8.5)])
def test_pixels_of_a_binned_slit_are_in_the_middle_of_those_they_sum(lines: int, first: float) -> None:
    ifov = 2.37767e-4
    look = pixels.slit_directions(lines, ifov)
    assert look.shape == (lines, 3)
    assert look[0, 1] == pytest.approx(ifov * (128.5 - first))
    assert look[-1, 1] == pytest.approx(-look[0, 1])
    assert not look[:, 0].any()


def test_uncertainty_of_places_follows_range_and_emission(loop: Loop) -> None:
    data = raw.read_images([loop.granules["jiram.image_edr"][0]], None, CLOCK)
    product = pixels.geometry(data, loop.scene.geometry, tables()["pointing"])
    one = product.isel(et=0, band=1, line=64, sample=216)
    km = 2.4e-4 * float(one["range"]) / np.cos(np.radians(float(one["emission"])))
    assert float(one["latitude_systematic"]) == pytest.approx(np.degrees(km / 69_000.0), rel=0.05)
    assert float(one["longitude_systematic"]) > float(one["latitude_systematic"])
    schema = INSTRUMENT.product("jiram.geometry").schema
    whole = add_context(product, schema, loop.scene.geometry, CLOCK)
    check.check(check.finish(whole, schema, INSTRUMENT.flags, {}), schema, INSTRUMENT.flags)


def test_figures_are_drawn(loop: Loop, image_background: xr.Dataset, tmp_path: Path) -> None:
    product = image_of(loop, loop.granules["jiram.image_edr"][0], image_background)
    schema = INSTRUMENT.product("jiram.radiance").schema
    whole = finished(add_context(product, schema, loop.scene.geometry, CLOCK), "jiram.radiance")
    for draw in (quicklook.image, quicklook.planet_map):
        figure = draw(whole)
        assert [a.get_xlabel() for a in figure.axes]
        figure.savefig(tmp_path / "figure.png", dpi=50)
    # The nodes are as good as every pixel's own geometry.
    x, y, z = quicklook.corners(whole, 1)
    data = raw.read_images([loop.granules["jiram.image_edr"][0]], None, CLOCK)
    pixel = pixels.geometry(data, loop.scene.geometry, tables()["pointing"]).isel(et=0, band=1)
    corner = np.degrees(np.arcsin(z / np.sqrt(x * x + y * y + z * z)))
    middle = 0.25 * (corner[1:, 1:] + corner[:-1, 1:] + corner[1:, :-1] + corner[:-1, :-1])
    size = np.nanmedian(np.abs(np.diff(pixel["latitude"].values, axis=0)))
    assert np.nanmax(np.abs(middle - pixel["latitude"].values)) < size
