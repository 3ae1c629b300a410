"""Step: where Juno was and how it was turned when it took an image, as well as kernels, label and limb tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from calibration.tables import Table
from instruments.junocam.camera import FRAME, Instant, Model
from instruments.junocam.geometry_schemas import LABEL_POSITION, LIMB_ATTITUDE, LIMB_POOR
from instruments.junocam.layout import FILTERS
from instruments.junocam.limb import View
from instruments.junocam.limb_fit import Limb, compare_limb, first_guess, fit_limb, prior_of
from instruments.junocam.observation import Image
from instruments.junocam.position import Shift, Stated, along_track, label_shift, shifted
from instruments.junocam.spin import NAMES, TURN, Spin, table_of, toward, turned
from pipeline.clock import Span
from pipeline.dataset.quality import Quality, flag
from pipeline.geometry import Geometry
from pipeline.geometry.attitude import Attitude, apply, compose, to_quaternion
from pipeline.geometry.frames import SPACECRAFT
from pipeline.geometry.propagate import despun
from pipeline.instrument import Product, step
from pipeline.passes import Pass

Floats = NDArray[np.float64]
PositionSource = Literal["auto", "trajectory", "label"]
PointingSource = Literal["auto", "kernel", "limb"]

# One sigma of positions, km: reconstructed, of a label (rest of `position`'s comparison), predicted.
POSITION_SIGMA = {"reconstructed trajectory": 1.0, "label": 5.0, "predicted trajectory": 300.0}
# Deviation of the edges beyond which a solution is not to be trusted, pixels, and share of edges it must explain.
POOR, EXPLAINED = 1.5, 0.3


@step(produces="junocam.attitude", over="unit", version=1)
def attitude(
    radiance: Annotated[xr.Dataset, Product("junocam.radiance")],
    geometry: Geometry,
    pass_: Pass,
    camera: Table,
    limb: Table,
    attitude: Table,
    *,
    instant: Instant = "middle",
    camera_model: Model = "refined",
    position_source: PositionSource = "auto",
    pointing_source: PointingSource = "auto",
) -> xr.Dataset:
    """Position and attitude at the framelets of an image, with what they rest on.

    Parameters
    ----------
    instant : what of the exposure stands for a framelet.
    camera_model : ``refined`` by stars, or as the instrument ``kernel`` has it.
    position_source : ``auto`` takes the label's only where the trajectory is predicted.
    pointing_source : ``auto`` corrects the kernel's attitude by the limb, or finds it from the limb where no kernel has
        it; ``kernel`` takes it as it is; ``limb`` leaves it aside.
    """
    tables = Tables(camera, limb, attitude)
    first = Image.of(radiance, camera, instant, camera_model)
    place = _place(geometry, first, position_source)
    kernel = pointing_source != "limb" and _known(place.geometry, first.et)
    wanted = pointing_source != "kernel"
    earth = pass_.attitude.startswith("GRAV")
    images = [Image.of(radiance, camera, instant, camera_model, moved) for moved in _strips(radiance, camera)]
    solutions = [_solve(image, place, tables, kernel=kernel, earth=earth, wanted=wanted) for image in images]
    best = min(solutions, key=lambda s: s.found.fit.scale if s.found else np.inf)
    edge = float(limb["edge_systematic"].value) / first.camera.focal_length if best.by_limb else 0.0
    out = _dataset(best, place, edge)
    out["start_offset"] = (), best.values[TURN] / float(attitude["rate"].value) if kernel else np.nan
    out["basis"] = (), f"position: {place.basis}; attitude: {best.basis}"
    out["instant"], out["camera_model"] = ((), instant), ((), camera_model)
    out["quality"] = "framelet", _quality(out, place, best)
    coords = {name: ("framelet", radiance[name].values) for name in ("et", "filter", "frame")}
    return xr.Dataset(out, coords={**coords, "parameter_name": np.array(NAMES, object)})


@dataclass(frozen=True)
class Tables:
    """The tables a solution needs."""

    camera: Table
    limb: Table
    attitude: Table


def _strips(radiance: xr.Dataset, camera: Table) -> list[dict[str, float]]:
    """Where the methane strip may have been read out: as the kernel has it, and where it was moved to.

    Labels rarely say that it was; with the wrong one of the two the limb does not fit.
    """
    methane = radiance["filter"].values == "METHANE"
    if methane.any() and np.isnan(radiance["stated_centre"].values[methane]).all():
        return [{}, {"METHANE": float(camera["moved_methane_line"].value)}]
    return [{}]


@dataclass(frozen=True, eq=False)
class _Place:
    """Where Juno was, and how that is known."""

    geometry: Geometry
    basis: str
    shift: Shift
    label_difference: Floats


def _place(geometry: Geometry, image: Image, source: PositionSource) -> _Place:
    et, stated = image.label_time, image.stated
    nowhere = Shift(0.0, np.zeros(3))
    known = bool(np.isfinite(geometry.position("J2000", np.append(image.et, et))).all())
    predicted = bool(geometry.position_predicted[geometry.tracks["JUNO"].interval(image.et)[0]].any())
    basis = "predicted trajectory" if predicted else "reconstructed trajectory"
    if not known or not _complete(stated):
        return _Place(geometry, basis if known else "unknown", nowhere, np.full(3, np.nan))
    truth = geometry.rotation("IAU_JUPITER", "J2000", et)[0] @ stated.position()
    difference = along_track(geometry, et, truth - geometry.position("J2000", et)[0])
    if source == "trajectory" or (source == "auto" and not predicted):
        return _Place(geometry, basis, nowhere, difference)
    shift = label_shift(geometry, et, stated)
    return _Place(shifted(geometry, shift), "label", shift, difference)


def _complete(stated: Stated) -> bool:
    return bool(np.isfinite([stated.altitude, stated.latitude, stated.longitude_west]).all())


def _known(geometry: Geometry, et: Floats) -> bool:
    """Whether a kernel has the attitude at all times."""
    there = np.isfinite(geometry.attitude.quaternion(et)).all()
    index = np.clip(np.searchsorted(geometry.attitude.et, et, side="right") - 1, 0, None)
    made_up = geometry.attitude_predicted
    return bool(there) and not made_up[np.minimum(index, made_up.size - 1)].any()


@dataclass(frozen=True, eq=False)
class _Solution:
    """How an image was turned: parameters with their prior and covariance, NaN where it is not known."""

    image: Image
    spin: Spin
    kernel: bool
    found: Limb | None
    prior: Floats
    sigma: Floats
    values: Floats
    covariance: Floats
    by_camera: Floats
    basis: str

    @property
    def by_limb(self) -> bool:
        """Whether the limb made or corrected it."""
        return "limb" in self.basis


def _solve(image: Image, place: _Place, tables: Tables, *, kernel: bool, earth: bool, wanted: bool) -> _Solution:
    """Find the parameters of an image's spin.

    Parameters
    ----------
    kernel : whether a kernel's attitude is the nominal one.
    earth : whether the antenna was at Earth in this pass.
    wanted : whether the limb shall correct the attitude; if not, it is only compared.
    """
    spin, rate = _spin(place.geometry, image, tables.attitude, kernel=kernel)
    prior, sigma = prior_of(tables.limb, tables.attitude, kernel=kernel, earth=earth, interframe=image.interframe)
    found = None
    if place.basis != "unknown" and (kernel or wanted):
        view = View.at(place.geometry, image.et)
        start = prior if kernel else first_guess(image, view, spin, prior, sigma, rate)
        if start is not None and wanted:
            found = fit_limb(image, view, spin, start, prior, sigma, tables.limb)
        elif start is not None:
            found = compare_limb(image, view, spin, start, sigma)
    by_camera = np.zeros((0, prior.size))
    if found is not None and wanted:
        by_camera = found.fit.by_camera
        values, covariance = found.fit.values, found.fit.covariance
        basis = "attitude kernel corrected by the limb" if kernel else "steady spin fitted to the limb"
    elif kernel:
        values, covariance, basis = prior, np.diag(sigma**2), "attitude kernel"
    else:
        values, covariance = np.full(prior.shape, np.nan), np.full((prior.size, prior.size), np.nan)
        basis = "unknown"
    return _Solution(image, spin, kernel, found, prior, sigma, values, covariance, by_camera, basis)


def _spin(geometry: Geometry, image: Image, attitude: Table, *, kernel: bool) -> tuple[Spin, float]:
    """The nominal attitude at the framelets, and its rate."""
    middle = float(image.et.mean())
    rate, place = float(attitude["rate"].value), tuple(attitude["spin_axis"].value.tolist())
    mount = geometry.rotation(SPACECRAFT, FRAME, middle)[0]
    if kernel:
        nominal = geometry.rotation("J2000", SPACECRAFT, image.et)
        axis = nominal[len(image) // 2].T @ toward(*place)[:, 2]
    else:
        earth = geometry.position("J2000", middle, target="EARTH", observer="JUNO")[0]
        axis = earth / np.linalg.norm(earth)
    x, y = despun(axis)
    despinning = np.stack([x, y, axis])
    if not kernel:
        about = compose(turned(rate * (image.et - middle)), despinning[None])
        nominal = compose(toward(*place)[None], about)
    return Spin(image.et, middle, nominal, despinning, place, mount), rate


def _dataset(solution: _Solution, place: _Place, edge: float) -> dict[str, Any]:
    image, spin, covariance = solution.image, solution.spin, solution.covariance
    if np.isfinite(solution.values).all():
        quaternion = to_quaternion(spin.spacecraft(solution.values)).T
    else:
        quaternion = np.full((len(image), 4), np.nan)
    centres = np.array([image.camera.centre_line[FILTERS[f]] for f in image.filters])
    return {
        "quaternion": (("framelet", "q"), quaternion),
        "position": (("framelet", "xyz"), place.geometry.position("J2000", image.et)),
        "position_systematic": ((), POSITION_SIGMA.get(place.basis, np.nan)),
        "et_pointing": ("framelet", image.et),
        "centre_line": ("framelet", centres),
        "parameter": ("parameter_name", solution.values),
        "parameter_systematic": ("parameter_name", np.sqrt(np.diag(covariance))),
        "parameter_quality": (
            "parameter_name",
            flag(np.isnan(solution.values), Quality.MISSING),
        ),
        "prior": ("parameter_name", solution.prior),
        "prior_sigma": ("parameter_name", np.where(np.isfinite(solution.sigma), solution.sigma, -1.0)),
        "covariance": (("parameter_name", "parameter_other"), covariance),
        "position_time_shift": ((), place.shift.time),
        "label_difference": ("orbital", place.label_difference),
        **_angle_sigmas(solution, place.geometry.position("J2000", image.et), edge),
        **_limb_variables(solution.found, len(image)),
    }


def _angle_sigmas(solution: _Solution, observer: Floats, edge: float) -> dict[str, Any]:
    """How far the attitude may be off: about any axis (halved: of the quaternion), at Jupiter's centre, about it.

    Parameters
    ----------
    observer : Juno from Jupiter, J2000 (n, 3).
    edge : error common to all edges, rad.
    """
    spin, n = solution.spin, len(solution.image)
    if not np.isfinite(solution.values).all():
        absent = ("framelet", np.full(n, np.nan))
        return {"quaternion_systematic": absent, "pointing_sigma": absent, "twist_sigma": absent}
    by = spin.rotations(solution.values)
    turn = by @ solution.covariance @ np.swapaxes(by, -1, -2)
    centre = apply(spin.spacecraft(solution.values), -observer / np.linalg.norm(observer, axis=1)[:, None])
    total = np.trace(turn, axis1=1, axis2=2)
    twist = np.einsum("ni,nij,nj->n", centre, turn, centre)
    # An error of the camera turns the attitude by as much, which does not matter, and about Jupiter, which does.
    aside = np.einsum("ni,nip,mp->nm", centre, by, solution.by_camera)
    return {
        "quaternion_systematic": ("framelet", 0.5 * np.sqrt(total / 3.0)),
        "pointing_sigma": ("framelet", np.sqrt(np.maximum(total - twist, 0.0) / 2.0 + edge**2)),
        "twist_sigma": ("framelet", np.sqrt(np.maximum(twist, 0.0) + (aside**2).sum(axis=1))),
    }


def _limb_variables(found: Limb | None, n: int) -> dict[str, Any]:
    """Variables that say how well the limb fits `n` framelets."""
    if found is None:
        zeros, absent = np.zeros(n, np.int32), np.full(n, np.nan)
        counts = {"limb_points": zeros, "limb_used": zeros}
        values = {f"limb_{k}": absent for k in ("mean", "rms", "rms_all")}
        return {**{k: ("framelet", v) for k, v in (counts | values).items()}, "limb_scale": ((), np.nan)}
    used = table_of(found.fit, found.edges, n)
    everything = table_of(replace(found.fit, weights=np.ones(len(found.edges))), found.edges, n)
    columns = {
        "limb_points": everything["count"],
        "limb_used": used["count"],
        "limb_mean": used["mean"],
        "limb_rms": used["rms"],
        "limb_rms_all": everything["rms"],
    }
    return {**{k: ("framelet", v) for k, v in columns.items()}, "limb_scale": ((), found.fit.scale)}


def _quality(out: Mapping[str, Any], place: _Place, solution: _Solution) -> NDArray[np.uint32]:
    found = solution.found
    unknown = np.isnan(out["quaternion"][1][:, 0]) | np.isnan(out["position"][1][:, 0])
    bits = flag(unknown, Quality.GEOMETRY_MISSING)
    if place.basis == "label":
        bits |= np.uint32(LABEL_POSITION.mask)
    if place.basis == "predicted trajectory":
        bits |= np.uint32(Quality.GEOMETRY_PREDICTED)
    if not solution.kernel:
        bits |= np.uint32(LIMB_ATTITUDE.mask)
    if found is None or found.fit.scale > POOR or (found.fit.weights > 0).mean() < EXPLAINED:
        bits |= np.uint32(LIMB_POOR.mask)
    return bits


def solved(solution: xr.Dataset, geometry: Geometry) -> Geometry:
    """The geometry as a solution of type ``junocam.attitude`` has it; valid at its ``et_pointing`` alone."""
    et, first = np.unique(solution["et_pointing"].values, return_index=True)
    quaternions = solution["quaternion"].values[first]
    # One more instant, as a single one has no interval.
    instants = np.append(et, et[-1] + 1.0)
    turning = Attitude(instants, np.append(quaternions, quaternions[-1:], axis=0), np.ones(et.size, bool))
    shift = Shift(float(solution["position_time_shift"]), np.zeros(3))
    moved = shifted(geometry, shift)
    offset = (solution["position"].values[first] - moved.position("J2000", et)).mean(axis=0)
    return replace(
        shifted(geometry, Shift(shift.time, offset)),
        attitude=turning,
        attitude_predicted=np.zeros(et.size, bool),
        span=Span(float(instants[0]), float(instants[-1])),
    )


def image_of(radiance: xr.Dataset, solution: xr.Dataset, camera: Table) -> Image:
    """The image, or framelets of it, as a solution of type ``junocam.attitude`` has its camera and times."""
    names, centres = radiance["filter"].values.astype(str), solution["centre_line"].values
    moved = dict(zip(names.tolist(), centres.tolist(), strict=True))
    model: Model = "kernel" if str(solution["camera_model"].values) == "kernel" else "refined"
    image = Image.of(radiance, camera, "middle", model, moved)
    return replace(image, et=solution["et_pointing"].values)
