"""Records as numpy structured arrays, and as datasets with units."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr
from numpy.typing import NDArray


def as_dataset(records: NDArray[np.void], units: Mapping[str, str], dim: str = "record") -> xr.Dataset:
    """Return the fields of structured records as variables in the machine's byte order; reserved bytes are left out.

    A unit of ``?`` in `units`, one the public tables do not state, is left unsaid.
    """
    variables: dict[str, tuple[str, NDArray[np.generic], dict[str, str]]] = {}
    for name in records.dtype.names or ():
        kind = records.dtype[name]
        if kind.kind == "V":
            continue
        attrs = {"units": units[name]} if units.get(name, "?") not in ("", "?") else {}
        variables[name] = (dim, records[name].astype(kind.newbyteorder("=")), attrs)
    return xr.Dataset(variables)
