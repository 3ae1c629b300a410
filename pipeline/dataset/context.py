"""The record coordinates: when and where every record was taken, added by the core to what a step returns.

Angles, distances and the M-shell are stored as float32, which resolves 8 m at closest approach and is far below the
uncertainty of the trajectory; times are not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline.clock import TICKS, et_to_utc
from pipeline.dataset.quality import Quality, flag
from pipeline.dataset.schema import Schema, Variable
from pipeline.jupiter.shape import longitude_latitude, nearest_point

if TYPE_CHECKING:
    from pipeline.clock import Sclk
    from pipeline.geometry import Geometry

Floats = NDArray[np.float64]

_ET = ("et", "float64", "s", "ephemeris time: TDB past J2000 (2000-01-01 12:00:00 TDB)", None)
_CONTEXT = (
    ("time", "datetime64[ns]", "", "UTC; et is the time of record and this is derived from it", "time"),
    ("sclk", "int64", f"{1 / TICKS} s", "spacecraft clock, encoded: counts on across partitions", None),
    ("longitude_iii_east", "float32", "degree", "System III (1965) longitude of Juno, eastward, 0 to 360", None),
    ("latitude_planetocentric", "float32", "degree", "planetocentric latitude of Juno", None),
    ("radial_distance", "float32", "km", "distance of Juno from the centre of Jupiter", None),
    ("altitude", "float32", "km", "height of Juno above the ellipsoid of 71492 and 66854 km, along its normal", None),
    ("local_time", "float32", "h", "local solar time of Juno at Jupiter: 12 at the meridian that faces the Sun", None),
    ("m_shell", "float32", "1", "M-shell of Juno, in radii of 71492 km", None),
    ("spin_phase", "float32", "degree", "phase of Juno's spin, 0 to 360", None),
    ("time_from_closest_approach", "float64", "s", "time after closest approach, negative before it", None),
)  # fmt: skip
_COMMENTS = {
    "sclk": "SPICE clock -61999; text p/sssssssss:fffff by pipeline.clock.Sclk.format",
    "longitude_iii_east": "frame IAU_JUPITER; the west longitude lambda_III is 360 less this",
    "latitude_planetocentric": "frame IAU_JUPITER",
    "m_shell": "see pipeline.geometry for the field it is traced in",
    "spin_phase": "see pipeline.geometry for its zero",
}


def record_variables(schema: Schema) -> tuple[Variable, ...]:
    """The coordinates every record of a product carries besides the schema's own: et, and the context if asked for."""
    if schema.index is None:
        return ()
    rows = (_ET, *_CONTEXT) if schema.context else (_ET,)
    return tuple(
        Variable(name, (schema.index,), dtype, units, text, standard_name=standard, comment=_COMMENTS.get(name))
        for name, dtype, units, text, standard in rows
    )


def add_context(dataset: xr.Dataset, schema: Schema, geometry: Geometry, clock: Sclk) -> xr.Dataset:
    """Add the record coordinates at the times of the records, and their quality bits.

    Parameters
    ----------
    dataset : as a step returned it; with ``et`` along the schema's index.

    Returns
    -------
    xr.Dataset
        with the coordinates of `record_variables`; where geometry is missing they are NaN. Every quality variable along
        the index has the bits of clock and geometry set where they hold.

    Raises
    ------
    ValueError
        if the schema has no quality variable along the index that could carry those bits.
    """
    index = schema.index
    names = {v.quality for v in schema.variables if v.quality and index in schema[v.quality].dims}
    if index is None or not names:
        raise ValueError("a product with record coordinates needs an index and a quality variable along it")
    et = np.asarray(dataset["et"].values, np.float64)
    time, in_leap = et_to_utc(et)
    position = geometry.position("IAU_JUPITER", et)
    values = {
        "time": time,
        "sclk": np.rint(clock.to_ticks(et)).astype(np.int64),
        **_place(position, geometry.rotation("JUNO_JSO", "IAU_JUPITER", et)[:, :, 0]),
        "m_shell": geometry.m_shell(et),
        "spin_phase": geometry.spin_phase(et),
        "time_from_closest_approach": et - geometry.closest_approach,
    }
    bits = (
        geometry.quality(et).astype(np.uint32)
        | flag(np.isnan(position[:, 0]), Quality.GEOMETRY_MISSING)
        | flag(clock.extrapolated(et), Quality.CLOCK_EXTRAPOLATED)
        | flag(in_leap, Quality.LEAP_SECOND)
    )
    flags = xr.DataArray(bits, dims=index)
    flagged = {n: (dataset[n] | flags).transpose(*dataset[n].dims) for n in sorted(names) if n in dataset}
    coords = {v.name: (index, values[v.name].astype(v.dtype)) for v in record_variables(schema) if v.name != "et"}
    return dataset.assign(flagged).assign_coords(coords)


def _place(position: Floats, sun: Floats) -> dict[str, Floats]:
    """Coordinates that follow from the position (n, 3) and the direction to the Sun (n, 3), both in IAU_JUPITER."""
    longitude, latitude, distance = longitude_latitude(position)
    noon = longitude_latitude(sun)[0]
    return {
        "longitude_iii_east": longitude,
        "latitude_planetocentric": latitude,
        "radial_distance": distance,
        "altitude": nearest_point(position)[1],
        "local_time": ((longitude - noon) / 15.0 + 12.0) % 24.0,
    }
