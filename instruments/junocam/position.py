"""Where Juno was: from the trajectory, or from an image's label where the trajectory is only predicted.

A predicted trajectory errs along the orbit foremost (seconds, at up to 58 km/s). A label states altitude and
sub-spacecraft point; the track is moved along by the time that brings it nearest to them and by the small rest in
space.

What a label's numbers mean is not documented; the 23 labels of PJ43 and PJ44 tell, for one shift in time along a
predicted trajectory explains those of one pass to 5 km rms only so: the altitude is that above the nearest point of the
ellipsoid, the latitude that point's planetographic one, the longitude west in System III, all at the middle of the
image (44 km rms or more at its start). Whether the longitude is corrected for light time they do not tell; it is taken
as not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipeline.geometry import Geometry
from pipeline.geometry.track import Track
from pipeline.jupiter.shape import normal, planetocentric, rectangular, surface_radius

Floats = NDArray[np.float64]

STEPS = 5


@dataclass(frozen=True)
class Stated:
    """Altitude (km) and planetographic latitude and west longitude (degrees) below Juno, of a label; NaN if absent."""

    altitude: float
    latitude: float
    longitude_west: float

    def position(self) -> Floats:
        """In IAU_JUPITER, km (3)."""
        latitude = planetocentric(self.latitude)
        point = rectangular(-self.longitude_west, latitude, surface_radius(latitude))
        return np.asarray(point + self.altitude * normal(point))


@dataclass(frozen=True, eq=False)
class Shift:
    """How a trajectory is moved to pass where a label has Juno.

    Parameters
    ----------
    time : seconds by which the trajectory is ahead: what it says of then + time is true of then.
    offset : what remains, km (3), J2000.
    """

    time: float
    offset: Floats


def label_shift(geometry: Geometry, et: float, stated: Stated) -> Shift:
    """The shift that brings Juno's track to where a label has it at a time."""
    turn = geometry.rotation("IAU_JUPITER", "J2000", et)[0]
    true = turn @ stated.position()
    time = 0.0
    for _ in range(STEPS):
        position, velocity = (f("J2000", et + time)[0] for f in (geometry.position, geometry.velocity))
        time += float(velocity @ (true - position) / (velocity @ velocity))
    return Shift(time, true - geometry.position("J2000", et + time)[0])


def along_track(geometry: Geometry, et: float, offset: Floats) -> Floats:
    """A difference of positions (3) in J2000 along the velocity, along the orbit's normal and across both, km."""
    position, velocity = geometry.position("J2000", et)[0], geometry.velocity("J2000", et)[0]
    along = velocity / np.linalg.norm(velocity)
    normal_ = np.cross(position, velocity)
    normal_ /= np.linalg.norm(normal_)
    return np.array([offset @ along, offset @ normal_, offset @ np.cross(normal_, along)])


def shifted(geometry: Geometry, shift: Shift) -> Geometry:
    """The geometry with Juno's track moved."""
    track = geometry.tracks["JUNO"]
    coefficients = track.coefficients.copy()
    coefficients[0] += shift.offset[:, None]
    return replace(geometry, tracks={**geometry.tracks, "JUNO": Track(track.edges - shift.time, coefficients)})
