"""Products of other instruments that a closed loop takes as input, made from the truth."""

from __future__ import annotations

import numpy as np
import xarray as xr

from pipeline.scene import Scene


def field_of(scene: Scene) -> xr.Dataset:
    """The scene's field as mag.field_1s would give it: J2000, nT, by ``et`` (s), with a systematic uncertainty."""
    et = np.arange(np.floor(scene.span.start), np.ceil(scene.span.stop)) + 0.5
    b = scene.magnetic_field(et)
    return xr.Dataset(
        {"b_j2000": (("et", "xyz"), b), "b_j2000_systematic": (("et", "xyz"), 1e-3 * np.abs(b) + 1.0)},
        coords={"et": et},
    )
