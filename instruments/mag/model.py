"""Comparison with the models of Jupiter's field: a diagnostic, never an input of anything."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import xarray as xr

from pipeline.geometry import Geometry
from pipeline.instrument import Product, step
from pipeline.jupiter import con2020, jrm33


@step(produces="mag.model", over="segment", version=1)
def model(field: Annotated[xr.Dataset, Product("mag.field_1s")], geometry: Geometry, *, degree: int = 13) -> xr.Dataset:
    """Residual of the 1 s field against JRM33 and the magnetodisc con2020, in System III.

    Parameters
    ----------
    degree : of JRM33, up to 30. At closest approach 13 and 18 differ by 2 % of the field, 13 and 30 by 4 %.
    """
    et = field["et"].values
    position = geometry.position("IAU_JUPITER", et)
    internal, disc = jrm33(position, degree=degree), con2020(position)
    measured = field["b_pc"].values.astype(float)
    modelled = internal + disc
    residual = measured - modelled
    magnitude = np.linalg.norm(measured, axis=1) - np.linalg.norm(modelled, axis=1)
    components = ("random", "systematic", "structured")
    return xr.Dataset(
        {
            **{f"residual_{c}": (("et", "xyz"), field[f"b_pc_{c}"].values) for c in components},
            "b_internal": (("et", "xyz"), internal.astype(np.float32)),
            "b_disc": (("et", "xyz"), disc.astype(np.float32)),
            "residual": (("et", "xyz"), residual.astype(np.float32)),
            "residual_magnitude": (("et",), magnitude.astype(np.float32)),
            "degree": (("et",), np.full(et.shape, degree, np.int8)),
            "quality": (("et",), field["quality"].values),
        },
        coords={"et": et},
    )
