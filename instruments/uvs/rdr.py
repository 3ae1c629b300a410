"""The archive's RDR, for comparison: the team's own photons and wavelengths, found by the index of their part.

No product is made of it: of its columns only those are known that users of it read (README.md, "RDR"), so all columns
are given as they are named, and what the weight's unit is stays open.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import xarray as xr

from instruments.uvs.raw import opened
from pipeline.errors import InputError

# Parts in order: name, and whether it is a table.
PARTS = (
    ("CALIBRATED_SPECTRAL", False), ("ACQUISITION_LIST", True), ("CALIBRATED_PHOTON_LIST", True),
    ("ANCILLARY_DATA", True), ("CALIBRATED_ANALOG_COUNT_RATE", True), ("CALIBRATED_DIGITAL_COUNT_RATE", True),
    ("HOUSEKEEPING", True), ("WAVELENGTH_LOOKUP", False), ("MASK_INFORMATION", True),
)  # fmt: skip
PHOTONS, LOOKUP = 2, 7
# What users of the photon list read of it.
NEEDED = ("WAVELENGTH", "JUPITER_LAT_400km", "JUPITER_LON_400km", "EMISSION_ANGLE", "WEIGHTED_COUNT")


def read_rdr(path: Path, first: int = 0, last: int | None = None) -> xr.Dataset:
    """Photons of an RDR from row `first` up to `last`, all columns, and its lookup image of wavelengths.

    Raises
    ------
    InputError
        for a file that is incomplete, has other parts, or no such columns.
    """
    path = Path(path)
    with opened(path) as parts:
        if len(parts) != len(PARTS):
            raise InputError(path, f"{len(parts)} HDUs; an RDR has {len(PARTS)}: {', '.join(n for n, _ in PARTS)}")
        place = f"HDU {PHOTONS} ({PARTS[PHOTONS][0]})"
        if not hasattr(parts[PHOTONS], "columns"):
            raise InputError(path, "a table is expected", place)
        table = parts[PHOTONS].data
        missing = [name for name in NEEDED if name.upper() not in map(str.upper, table.names)]
        if missing:
            raise InputError(path, f"no column {', '.join(missing)}; there are {', '.join(table.names)}", place)
        rows = slice(first, last)
        columns = {name: np.asarray(table[name][rows]) for name in table.names}
        lookup = np.array(parts[LOOKUP].data, np.float64)
    variables = {}
    for name, values in columns.items():
        short = re.sub(r"\W+", "_", name).lower()
        dims = ("photon", *(f"{short}_{k}" for k in range(1, values.ndim)))
        variables[short] = dims, values.astype(values.dtype.newbyteorder("="))
    dataset = xr.Dataset(variables)
    dataset["wavelength_lookup"] = ("plane", "row", "column")[-lookup.ndim :], lookup, {"units": "nm"}
    return dataset
