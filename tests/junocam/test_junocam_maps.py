"""Maps and the colour assembly of a planted scene."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from junocam_planted import PASS, TABLES, Scene, image, known, pattern

from instruments.junocam import INSTRUMENT, pictures
from instruments.junocam.attitude import attitude
from instruments.junocam.geometry_schemas import COLOUR, MAP
from instruments.junocam.grids import Equirectangular, Polar
from instruments.junocam.maps import colour, map_
from instruments.junocam.resample import Squares, eye, placed
from pipeline.dataset import check
from pipeline.dataset.quality import Quality
from pipeline.jupiter.shape import longitude_latitude, planetographic, surface_radius


@pytest.fixture(scope="module")
def planted() -> tuple[xr.Dataset, xr.Dataset]:
    """Image and solution."""
    radiance, _ = image(Scene())
    return radiance, attitude(radiance, known(), PASS, *TABLES.values())


@pytest.fixture(scope="module")
def flat(planted: tuple[xr.Dataset, xr.Dataset]) -> xr.Dataset:
    """Map with the light divided out."""
    parameters = {"cells_per_degree": 4.0, "illumination": "lambert", "emission_limit": 70.0}
    return map_(*planted, known(), TABLES["camera"], **parameters)


def test_map_shows_the_albedo_where_it_is(planted: tuple[xr.Dataset, xr.Dataset], flat: xr.Dataset) -> None:
    """Displacement of the map against the pattern planted, in pixels of the camera: under 0.2.

    All the way: attitude from the limb alone, position from the label.
    """
    longitude, latitude = flat["longitude_east"].values, flat["latitude_planetocentric"].values
    truth = pattern(longitude, latitude)
    # Degrees on the planet of a pixel, foreshortened.
    altitude = float(planted[0]["label_altitude"][0])
    pixel = np.degrees(0.67541e-3 * altitude / 7e4) / np.cos(np.radians(flat["emission"].values))
    step = 0.02
    by_longitude = (pattern(longitude + step, latitude) - truth) / step
    by_latitude = (pattern(longitude, latitude + step) - truth) / step
    for band in range(2):
        value = flat["i_over_f"].values[band]
        good = np.isfinite(value) & (flat["incidence"].values < 75.0) & (np.abs(latitude) < 75.0)
        assert good.sum() > 20_000
        east = by_longitude / np.cos(np.radians(latitude))
        design = np.stack([east * pixel, by_latitude * pixel, truth], axis=-1)[good]
        found, *_ = np.linalg.lstsq(design, value[good] - truth[good], rcond=None)
        assert np.abs(found[:2]).max() < 0.2
        assert abs(found[2]) < 0.02


def test_bands_agree(flat: xr.Dataset) -> None:
    """No colour fringes: both bands saw the same planet, in different frames."""
    difference = flat["i_over_f"].values[0] - flat["i_over_f"].values[1]
    sigma = np.hypot(flat["i_over_f_random"].values[0], flat["i_over_f_random"].values[1])
    both = np.isfinite(difference) & (flat["incidence"].values < 70.0)
    assert both.sum() > 20_000
    assert np.std(difference[both]) < 2.0 * np.median(sigma[both])


def test_overlaps_are_weighted(flat: xr.Dataset) -> None:
    number, weight = flat["framelets"].values, flat["weight"].values
    assert number.max() >= 2
    assert ((number > 0) == (weight > 0)).all()
    np.testing.assert_array_equal((flat["quality"].values & Quality.MISSING) != 0, number == 0)


def test_products_keep_their_schemas(planted: tuple[xr.Dataset, xr.Dataset], flat: xr.Dataset) -> None:
    together = colour(*planted, known(), TABLES["camera"])
    for product, schema in ((flat, MAP), (together, COLOUR)):
        check.check(check.finish(product, schema, INSTRUMENT.flags, {}), schema, INSTRUMENT.flags)


def test_colour_assembly_has_the_whole_disc(planted: tuple[xr.Dataset, xr.Dataset]) -> None:
    together = colour(*planted, known(), TABLES["camera"])
    lit = np.nan_to_num(together["i_over_f"].values) > 0.1
    rows, _ = np.nonzero(lit[0])
    assert rows.min() > 5
    assert rows.max() < lit.shape[1] - 5
    # Both bands see the same disc.
    assert (lit[0] ^ lit[1]).sum() < 0.02 * lit[0].sum()
    emission = together["emission"].values
    assert np.nanmin(emission) < 5.0
    assert np.nanmax(emission) > 85.0


def test_polar_map_and_equirectangular_agree(planted: tuple[xr.Dataset, xr.Dataset], flat: xr.Dataset) -> None:
    south = map_(*planted, known(), TABLES["camera"], projection="south", cells_per_degree=3.0, illumination="lambert")
    good = np.isfinite(south["i_over_f"].values[0]) & (south["incidence"].values < 75.0)
    good &= south["emission"].values < 60.0
    assert good.sum() > 5_000
    longitude, latitude = (south[n].values[good] for n in ("longitude_east", "latitude_planetocentric"))
    np.testing.assert_allclose(south["i_over_f"].values[0][good], pattern(longitude, latitude), atol=0.05)


def test_minnaert_with_exponent_one_is_lambert(planted: tuple[xr.Dataset, xr.Dataset]) -> None:
    one, other = (
        map_(*planted, known(), TABLES["camera"], cells_per_degree=1.0, illumination=law, minnaert_exponent=1.0)
        for law in ("lambert", "minnaert")
    )
    np.testing.assert_allclose(one["i_over_f"], other["i_over_f"])


def test_unknown_attitude_maps_nothing(planted: tuple[xr.Dataset, xr.Dataset]) -> None:
    radiance, solution = planted
    unknown = solution.assign(quaternion=solution["quaternion"] * np.nan)
    empty = map_(radiance, unknown, known(), TABLES["camera"], cells_per_degree=1.0)
    assert (empty["quality"].values & Quality.MISSING).all()
    nothing = colour(radiance, unknown, known(), TABLES["camera"])
    check.check(check.finish(nothing, COLOUR, INSTRUMENT.flags, {}), COLOUR, INSTRUMENT.flags)


@pytest.mark.parametrize("north", [True, False])
def test_polar_grid_is_conformal(north: bool) -> None:
    """Steps along rows and columns are equal and at right angles, on the ellipsoid; the pole is in the middle."""
    grid = Polar(north, 2.0, 30.0)
    rows, columns = grid.shape
    row, column = np.meshgrid(np.linspace(5, rows - 6, 7), np.linspace(5, columns - 6, 7))
    here = grid.points(row, column)
    down, right = grid.points(row + 0.01, column) - here, grid.points(row, column + 0.01) - here
    np.testing.assert_allclose(np.linalg.norm(down, axis=-1), np.linalg.norm(right, axis=-1), rtol=1e-4)
    np.testing.assert_allclose((down * right).sum(axis=-1) / (down * down).sum(axis=-1), 0.0, atol=1e-4)
    middle = grid.points(np.array((rows - 1) / 2), np.array((columns - 1) / 2))
    assert middle[2] == pytest.approx(66854.0 if north else -66854.0)
    edge = longitude_latitude(grid.points(np.array(0.0), np.array((columns - 1) / 2)))[1]
    assert abs(planetographic(edge)) == pytest.approx(30.0, abs=0.6)
    # Seen from above: down, then right, is against the outward normal.
    assert ((np.cross(right, down) * here).sum(axis=-1) < 0).all()


def test_equirectangular_grid_lies_on_the_ellipsoid() -> None:
    grid = Equirectangular(2.0)
    points = grid.points(np.arange(360.0)[:, None], np.array([0.0, 100.0]))
    longitude, latitude, distance = longitude_latitude(points)
    np.testing.assert_allclose(latitude[:, 0], np.linspace(89.75, -89.75, 360), atol=1e-9)
    np.testing.assert_allclose(longitude[180], [0.25, 50.25])
    np.testing.assert_allclose(distance, surface_radius(latitude))


def test_interpolated_places_are_within_the_bound(planted: tuple[xr.Dataset, xr.Dataset]) -> None:
    """Squares that would be off are cut until the exact places agree; each cell is seen once."""
    from instruments.junocam.attitude import image_of, solved

    radiance, solution = planted
    picture, seen = image_of(radiance, solution, TABLES["camera"]), solved(solution, known())
    one = eye(picture.camera, 0, seen, float(picture.et[8]))
    grid = Equirectangular(4.0)
    where = placed(one, Squares.over(grid, 64), beyond=False)
    assert where.cell.size > 5_000
    assert np.unique(where.cell).size == where.cell.size
    row, column = np.divmod(where.cell, grid.shape[1])
    line, sample, *_ = one.see(grid.points(row.astype(float), column.astype(float)))
    assert np.abs(line - where.line).max() < 0.06
    assert np.abs(sample - where.sample).max() < 0.06


def test_pictures(planted: tuple[xr.Dataset, xr.Dataset], flat: xr.Dataset) -> None:
    """Two bands: the mean stands for green; a grey planet stays grey in the natural rendering."""
    values = pictures.colours(flat)
    shown = pictures.natural(values)
    inside = np.isfinite(shown).all(axis=-1)
    assert shown[inside].min() >= 0.0
    assert shown[inside].max() <= 1.0
    assert np.abs(shown[inside][:, 0] - shown[inside][:, 2]).mean() < 0.02
    for figure in (pictures.maps(flat), pictures.limb(planted[1])):
        assert len(figure.axes) >= 1
