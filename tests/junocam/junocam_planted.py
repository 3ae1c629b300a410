"""An image of a scene that is known: where Juno is, how it turns, where the limb lies, what the planet looks like.

The turn of the spacecraft is built with scipy's rotations and the picture by tracing lines of sight, so that nothing of
the fit under test is used.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from calibration.tables import Table
from instruments.junocam.camera import FRAME, Camera
from instruments.junocam.layout import ACTIVE_COLUMNS
from instruments.junocam.schemas import LOST
from pipeline.clock import Span
from pipeline.dataset.quality import Quality
from pipeline.geometry import Geometry, make_geometry
from pipeline.geometry.attitude import Attitude, to_quaternion
from pipeline.geometry.surface import surface_points
from pipeline.geometry.track import Track
from pipeline.jupiter.shape import RADII, longitude_latitude, nearest_point, planetographic, west
from pipeline.passes import get_pass

Floats = NDArray[np.float64]

TABLES = {
    name: Table.read(Path(__file__).resolve().parents[2] / "calibration" / "tables" / "junocam" / f"{name}.yaml")
    for name in ("camera", "limb", "attitude")
}
PASS = get_pass(43)
INTERFRAME, NOISE = 0.372, 0.004


@dataclass(frozen=True)
class Scene:
    """What is planted.

    Parameters
    ----------
    after : seconds from closest approach to the middle of the image.
    rate, axis, tilt : of the spin, rad/s; along X and Y in the spacecraft, rad; off the direction of Earth, rad.
    late : seconds by which the true trajectory runs behind the one that is known.
    height : of the limb, km.
    filters, frames, stages : of the image.
    moved : centre of the methane strip, where it is not the kernel's.
    lost : framelet of which half is lost.
    """

    after: float = 9000.0
    rate: float = 0.2079
    axis: tuple[float, float] = (4e-4, 8e-4)
    tilt: tuple[float, float] = (6e-4, -9e-4)
    late: float = 1.7
    height: float = 60.0
    filters: tuple[str, ...] = ("BLUE", "RED")
    frames: int = 9
    stages: int = 1
    moved: float | None = None
    lost: int | None = None


@cache
def known() -> Geometry:
    """The geometry as it is known: propagated, the attitude a model without phase."""
    return make_geometry(PASS, PASS.window(8.0), None)


def truth_of(scene: Scene) -> tuple[Geometry, float]:
    """The true geometry about the image, and the label's start time."""
    nominal = known()
    track = nominal.tracks["JUNO"]
    tracks = {**nominal.tracks, "JUNO": Track(track.edges + scene.late, track.coefficients)}
    middle = PASS.et + scene.after
    geometry = replace(nominal, tracks=tracks)
    earth = geometry.position("J2000", middle, target="EARTH", observer="JUNO")[0]
    axis = earth / np.linalg.norm(earth)
    side = np.cross(axis, [0.0, 0.0, 1.0])
    side /= np.linalg.norm(side)
    axis = Rotation.from_rotvec(scene.tilt[0] * side + scene.tilt[1] * np.cross(axis, side)).apply(axis)
    own = np.array([*scene.axis, 1.0]) / np.sqrt(1.0 + scene.axis[0] ** 2 + scene.axis[1] ** 2)
    still, _ = Rotation.align_vectors([own, [1.0, 0.0, 0.0]], [axis, np.cross(axis, [0.0, 0.0, 1.0])], [np.inf, 1.0])
    # In the middle the camera looks across the planet.
    mount = geometry.rotation("JUNO_SPACECRAFT", FRAME, middle)[0]
    planet = -geometry.position("J2000", middle)[0]
    turns = np.linspace(0.0, 2.0 * np.pi, 4000, endpoint=False)
    looks = (Rotation.from_rotvec(-turns[:, None] * own) * still).apply(planet / np.linalg.norm(planet)) @ mount.T
    phase = turns[np.argmax(looks[:, 2])]
    times = middle + np.arange(-12.0, 12.0, 0.5)
    about = Rotation.from_rotvec(-(phase + scene.rate * (times - middle))[:, None] * own) * still
    attitude = Attitude(times, to_quaternion(about.as_matrix()).T, np.ones(times.size - 1, bool))
    made_up = np.zeros(times.size - 1, bool)
    span = Span(float(times[0]), float(times[-1]))
    return replace(geometry, attitude=attitude, attitude_predicted=made_up, span=span), middle


def pattern(longitude: Floats, latitude: Floats) -> Floats:
    """Albedo by east longitude and planetocentric latitude, degrees."""
    return 0.5 + 0.15 * np.sin(np.radians(24.0 * longitude)) * np.cos(np.radians(30.0 * latitude))


@cache
def image(scene: Scene) -> tuple[xr.Dataset, Geometry]:
    """The image as a product of type ``junocam.radiance``, as far as geometry needs it; and the true geometry."""
    truth, middle = truth_of(scene)
    centre = {"METHANE": scene.moved} if scene.moved else None
    camera = Camera.from_table(TABLES["camera"], stages=scene.stages, centre_line=centre)
    exposure = 0.0032 * scene.stages
    step = INTERFRAME + camera.interframe_delta
    start = middle - (scene.frames - 1) / 2 * step - exposure / 2 - camera.start_bias
    frame = np.repeat(np.arange(scene.frames), len(scene.filters))
    names = np.array(scene.filters * scene.frames, object)
    et = camera.epochs(start, frame, INTERFRAME, exposure, "middle")
    radii = (RADII[0] + scene.height, RADII[1] + scene.height)
    pictures = np.stack([_picture(camera, str(n), t, truth, radii) for n, t in zip(names, et, strict=True)])
    pictures += np.random.default_rng(1).normal(0.0, NOISE, pictures.shape)
    quality = np.zeros(pictures.shape, np.uint32)
    quality[:, :, : ACTIVE_COLUMNS[0]] = quality[:, :, ACTIVE_COLUMNS[1] :] = Quality.MISSING
    if scene.lost is not None:
        quality[scene.lost, 40:100] = Quality.MISSING | LOST.mask
        pictures[scene.lost, 40:100] = 0.0
    each = {
        "i_over_f_systematic": 0.1,
        "exposure": exposure,
        "tdi_stages": scene.stages,
        "summing": 1,
        "stated_centre": np.nan,
        "interframe_delay": INTERFRAME,
        "label_start": start,
        **_label(truth, start + 0.5 * scene.frames * INTERFRAME),
    }
    samples = ("framelet", "line", "sample")
    data = {
        "i_over_f": (samples, pictures.astype(np.float32)),
        "i_over_f_random": (samples, np.full(pictures.shape, NOISE, np.float32)),
        "quality": (samples, quality),
        **{name: ("framelet", np.full(frame.size, value)) for name, value in each.items()},
    }
    coords = {
        "et": ("framelet", et),
        "et_start": ("framelet", et - exposure / 2),
        "filter": ("framelet", names),
        "frame": ("framelet", frame.astype(np.int32)),
    }
    return xr.Dataset(data, coords=coords), truth


def _label(truth: Geometry, et: float) -> dict[str, float]:
    """What a label would say."""
    point, altitude = nearest_point(truth.position("IAU_JUPITER", et)[0])
    longitude, latitude, _ = longitude_latitude(point)
    return {
        "label_altitude": round(float(altitude), 1),
        "label_latitude": round(float(planetographic(latitude)), 4),
        "label_longitude": round(float(west(longitude)), 4),
    }


def _picture(camera: Camera, name: str, et: float, truth: Geometry, radii: tuple[float, float]) -> Floats:
    """I/F of a framelet: the mean of four lines of sight to a sample; past the planet the haze up to the limb."""
    lines, samples = camera.shape
    total = np.zeros((lines, samples))
    planet = -truth.position(FRAME, et)[0]
    distance = np.linalg.norm(planet)
    edge = np.sqrt(distance**2 - 72e3**2)
    for down in (-0.25, 0.25):
        for right in (-0.25, 0.25):
            looks = camera.unproject(np.arange(lines)[:, None] + down, np.arange(samples) + right, name)
            near = looks @ planet > edge
            if not near.any():
                continue
            bright = _bright(looks[near], et, truth, RADII)
            past = np.isnan(bright)
            bright[past] = _bright(looks[near][past], et, truth, radii)
            total[near] += 0.25 * np.nan_to_num(bright)
    return total


def _bright(looks: Floats, et: float, truth: Geometry, radii: tuple[float, float]) -> Floats:
    """I/F along lines of sight; NaN where they miss."""
    seen = surface_points(truth, np.array([et]), looks[None], frame=FRAME, radii=radii)
    light = np.clip(np.cos(np.radians(seen.incidence[0])), 0.0, None)
    return np.asarray(pattern(seen.longitude_east[0], seen.latitude_planetocentric[0]) * light)


def off_by(solution: xr.Dataset, truth: Geometry) -> Floats:
    """Pixels by which a solution turns the direction of Jupiter's centre wrong at the framelets (n)."""
    et = solution["et_pointing"].values
    true = truth.rotation("J2000", "JUNO_SPACECRAFT", et)
    w, x, y, z = solution["quaternion"].values.T
    found = Rotation.from_quat(np.stack([x, y, z, w], axis=1)).as_matrix()
    planet = -truth.position("J2000", et)
    planet /= np.linalg.norm(planet, axis=1)[:, None]
    here, there = (np.einsum("nij,nj->ni", m, planet) for m in (true, found))
    return np.asarray(np.linalg.norm(here - there, axis=1) * 1480.6)
