"""The uncertainty of a variable as a whole, from the components stored beside it."""

from __future__ import annotations

import numpy as np
import xarray as xr

COMPONENTS = ("random", "systematic", "structured")


def component(dataset: xr.Dataset, name: str, which: str) -> xr.DataArray | None:
    """One component of the one-sigma uncertainty in the variable's units, in float64; None if it is not stated.

    Parameters
    ----------
    which : ``random``, ``systematic`` or ``structured``.

    Returns
    -------
    xr.DataArray
        with the dimensions of the variable, also where it is stored with fewer; a relative one is multiplied by the
        variable's magnitude.
    """
    stored = dataset.get(f"{name}_{which}")
    if stored is None:
        return None
    value = dataset[name]
    sigma = stored.astype(np.float64)
    if stored.attrs.get("err_relative"):
        sigma = sigma * np.abs(value.astype(np.float64))
    return sigma.broadcast_like(value).transpose(*value.dims)


def sigma(dataset: xr.Dataset, name: str) -> xr.DataArray:
    """Total one-sigma uncertainty of a variable: its components, added in quadrature.

    Returns
    -------
    xr.DataArray
        float64, dimensions and units of the variable.

    Raises
    ------
    KeyError
        if the dataset states no uncertainty of it.
    """
    parts = [part for which in COMPONENTS if (part := component(dataset, name, which)) is not None]
    if not parts:
        raise KeyError(f"{name} states no uncertainty")
    variance = parts[0] ** 2
    for part in parts[1:]:
        variance = variance + part**2
    total = variance.copy(data=np.sqrt(variance.values)).rename(f"{name}_sigma")
    return total.assign_attrs(units=dataset[name].attrs.get("units", "1"), long_name=f"one-sigma uncertainty of {name}")
