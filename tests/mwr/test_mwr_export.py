"""What is written into the archive's geometry RDR, against the core's geometry."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from mwr_scene import scene

from instruments.mwr import layout, rdr_export
from pipeline.geometry.surface import surface_points
from pipeline.jupiter.shape import RADII


def test_geometry_of_the_boresights() -> None:
    where = scene(-300.0, 300.0)
    et = np.linspace(where.span.start, where.span.stop, 60)
    columns = rdr_export._geometry(where.geometry, et)
    assert set(columns) == set(layout.GRDR) - {"t_ephem_time", "t_utc_doy"}
    axis = np.broadcast_to([0.0, 0.0, 1.0], (len(et), 3))
    position = where.geometry.position("IAU_JUPITER", et)
    for n in range(1, 7):
        seen = surface_points(where.geometry, et, axis, frame=f"JUNO_MWR_A{n}", correction="NONE")
        hit = np.isfinite(seen.emission)
        assert 5 < hit.sum() < 55
        np.testing.assert_array_equal(np.isfinite(columns[f"PC_lon_JsB{n}"]), hit)
        pairs = (
            ("PC_lon_Js", seen.longitude_east % 360.0),
            ("PC_lat_Js", seen.latitude_planetocentric),
            ("emssn_angle_Js", seen.emission),
            ("range_Js", seen.range),
        )
        for name, value in pairs:
            np.testing.assert_allclose(columns[f"{name}B{n}"][hit], value[hit], rtol=1e-8, atol=2e-5, err_msg=name)
        # Planetographic longitude goes west; latitude is that of the normal.
        np.testing.assert_allclose((columns[f"PG_lon_JsB{n}"] + columns[f"PC_lon_JsB{n}"])[hit] % 360.0, 0.0, atol=1e-9)
        centric, graphic = (np.tan(np.radians(columns[f"{p}_lat_JsB{n}"][hit])) for p in ("PC", "PG"))
        np.testing.assert_allclose(graphic, centric * (RADII[0] / RADII[1]) ** 2)
        # The direction of the centre, by its cosines and by its angle; a boresight is of unit length in every frame.
        centre = np.stack([columns[f"F{n}_dc{x}_JnJc"] for x in "xyz"], axis=1)
        np.testing.assert_allclose(np.linalg.norm(centre, axis=1), 1.0)
        np.testing.assert_allclose(np.cos(columns[f"angle_JnJc_B{n}"]), centre[:, 2], atol=1e-12)
        sight = np.stack([columns[f"S3RH_{x}_B{n}"] for x in "xyz"], axis=1)
        np.testing.assert_allclose((sight * -position).sum(axis=1) / columns["range_JnJc"], centre[:, 2], atol=1e-9)
        met = position + columns[f"range_JsB{n}"][:, None] * sight
        np.testing.assert_allclose(
            np.degrees(np.arctan2(met[hit, 1], met[hit, 0])) % 360.0, seen.longitude_east[hit] % 360.0
        )
        for frame in ("JDSS", "JMag"):
            np.testing.assert_allclose(sum(columns[f"{frame}_{x}_B{n}"] ** 2 for x in "xyz"), 1.0)
    for name in ("gal_ra_JnJc", "gal_dec_JnJc", "gal_rot_A1", "J2000_rot_A6"):
        assert np.isnan(columns[name]).all()  # not public
