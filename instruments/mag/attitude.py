"""The field in every frame, and the spin, from the attitude of the spacecraft."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from instruments.mag.frames import Array, compose, rotate, rotate_variance, transpose
from instruments.mag.schemas import FRAMES
from instruments.mag.uncertainty import coarse, sigmas
from pipeline.dataset.quality import Quality, flag
from pipeline.geometry import Geometry

# The spin is so steady that one value a minute, on whole minutes in et, serves all samples.
SPIN_INTERVAL = 60.0
SPIN_STEP = 0.25


def spin(et: Array, geometry: Geometry) -> Array:
    """Angular velocity of the spacecraft in its own frame, rad/s (n, 3); NaN without attitude.

    From M = R(spacecraft <- J2000): ``M(t + h) M(t - h)^T = exp(-[omega]x 2 h)``.
    """
    minutes, inverse = np.unique(np.floor(et / SPIN_INTERVAL), return_inverse=True)
    centre = (minutes + 0.5) * SPIN_INTERVAL
    after = geometry.rotation("J2000", "JUNO_SPACECRAFT", centre + SPIN_STEP)
    before = geometry.rotation("J2000", "JUNO_SPACECRAFT", centre - SPIN_STEP)
    turn = compose(after, transpose(before))
    axial = 0.5 * np.stack([turn[:, i, j] - turn[:, j, i] for i, j in ((1, 2), (2, 0), (0, 1))], 1)
    sine = np.sqrt((axial**2).sum(axis=1))
    factor = np.where(sine > 0.0, np.arcsin(np.minimum(sine, 1.0)) / np.where(sine > 0.0, sine, 1.0), 1.0)
    return (axial * (factor / (2.0 * SPIN_STEP))[:, None])[inverse]


def rotations_from(frame: str, et: Array, geometry: Geometry) -> dict[str, Array]:
    """Rotations from ``payload`` or ``j2000`` to each frame of the products, (n, 3, 3)."""
    inertial = {name: geometry.rotation("J2000", FRAMES[name][0], et) for name in ("payload", "pc", "ss")}
    if frame == "j2000":
        return {"j2000": np.broadcast_to(np.eye(3), (et.size, 3, 3)), **inertial}
    out = transpose(inertial["payload"])
    return {
        "payload": np.broadcast_to(np.eye(3), (et.size, 3, 3)),
        "j2000": out,
        **{name: compose(inertial[name], out) for name in ("pc", "ss")},
    }


def in_all_frames(
    et: Array,
    b: Array,
    random: Array,
    common: Array,
    bent: Array,
    quality: NDArray[np.uint32],
    geometry: Geometry,
    *,
    frame: str = "payload",
) -> xr.Dataset:
    """The field and its uncertainties in every frame.

    Parameters
    ----------
    b : nT (n, 3), in `frame`, as are the others.
    random, common, bent : covariances of the random, systematic and structured error, nT^2 (n, 3, 3); of the random
        one (n, 3) where the components are independent.
    frame : ``payload`` or ``j2000``.
    """
    dataset = xr.Dataset(coords={"et": et})
    missing = np.zeros(et.shape, bool)
    for name, turn in rotations_from(frame, et, geometry).items():
        missing |= np.isnan(turn[:, 0, 0])
        for suffix, values in (
            ("", rotate(turn, b).astype(np.float32)),
            ("_random", coarse(np.sqrt(rotate_variance(turn, random)) if random.ndim == 2 else sigmas(random, turn))),
            ("_systematic", coarse(sigmas(common, turn))),
            ("_structured", coarse(sigmas(bent, turn))),
        ):
            dataset[f"b_{name}{suffix}"] = ("et", "xyz"), values
    quality = quality | flag(missing, Quality.GEOMETRY_MISSING)
    quality = quality | flag(np.isnan(b[:, 0]), Quality.MISSING)
    return dataset.assign(quality=(("et",), quality | geometry.quality(et)))
