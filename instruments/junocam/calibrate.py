"""The steps: stored values to radiance and I/F (README.md, "Algorithm")."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from calibration.tables import Table
from instruments.junocam.band import Tables, band_of, condition_of
from instruments.junocam.compand import Convention, Levels, levels
from instruments.junocam.framelet import Framelet
from instruments.junocam.schemas import RADIANCE
from pipeline.instrument import Raw, step

# The archive's level 3: I/F 1 reads this.
WHITE = 10000.0
# Variables that repeat what the raw data say, by name there.
SAID = {
    "exposure": "exposure",
    "tdi_stages": "tdi_stages",
    "interframe_delay": "interframe",
    "label_start": "start",
    "clock_difference": "clock_difference",
    "timing_state": "timing_state",
    "timing_offset": "timing_offset",
    "summing": "summing",
    "label_altitude": "altitude",
    "label_latitude": "latitude",
    "label_longitude": "longitude",
    "solar_distance": "solar_distance",
    "focal_plane_temperature": "temperature",
}


@step(produces="junocam.radiance", over="segment", version=2)
def radiance_from_edr(
    raw: Annotated[xr.Dataset, Raw("junocam.edr")],
    companding: Table,
    response: Table,
    detector: Table,
    throughput: Table,
    solar: Table,
    pixels: Table,
    epochs: Table,
    *,
    convention: Convention = "centre",
    throughput_correction: bool = True,
) -> xr.Dataset:
    """Radiance and I/F from the archive's EDR.

    Parameters
    ----------
    raw : value(framelet, line, sample), lines_there(framelet).
    convention : a code stands for the ``centre`` of its bin; ``archive``: for the value of the SIS's table, as in RDR.
    throughput_correction : whether the loss of throughput since launch is divided out.
    """
    decoded = levels(raw.attrs["mode"], raw.attrs["compression"], companding, convention)
    tables = Tables(response, detector, throughput, solar, pixels, epochs)
    return radiance(raw, decoded, tables, throughput_correction)


@step(produces="junocam.radiance", over="segment", version=2)
def radiance_from_imageset(
    raw: Annotated[xr.Dataset, Raw("junocam.imageset")],
    companding: Table,
    response: Table,
    detector: Table,
    throughput: Table,
    solar: Table,
    pixels: Table,
    epochs: Table,
    *,
    convention: Convention = "centre",
    throughput_correction: bool = True,
) -> xr.Dataset:
    """Radiance and I/F from the public site's image sets, which hold the codes of the EDR: see `radiance_from_edr`."""
    return radiance_from_edr(
        raw, companding, response, detector, throughput, solar, pixels, epochs,
        convention=convention, throughput_correction=throughput_correction,
    )  # fmt: skip


@step(produces="junocam.radiance", over="segment", version=2)
def radiance_from_rdr(
    raw: Annotated[xr.Dataset, Raw("junocam.rdr")],
    companding: Table,
    response: Table,
    detector: Table,
    throughput: Table,
    solar: Table,
    pixels: Table,
    epochs: Table,
    *,
    throughput_correction: bool = True,
) -> xr.Dataset:
    """I/F as the archive's level 3 gives it, and the radiance that follows, with the uncertainties it does not state.

    The archive's scale factors are not public: DN are those that our response would have made of its I/F. Its codes are
    taken as SQROOT's; loss of throughput and leakage, which it leaves, are taken out as for the EDR.

    Parameters
    ----------
    raw : value(framelet, line, sample), 10 000 I/F.
    """
    tables = Tables(response, detector, throughput, solar, pixels, epochs)
    steps = levels("SQROOT", raw.attrs["compression"], companding, "archive")
    by_filter = {}
    for name in np.unique(raw["filter"].values.astype(str)):
        band = band_of(str(name), raw.attrs, tables, throughput_correction=False)
        whole = 1.0 - float(response["leakage"].value[band.place])  # the archive leaves the leakage in
        dn = np.arange(1 << 16) / WHITE / band.i_over_f / (band.per_dn / whole)
        width = np.maximum(np.interp(dn, steps.dn, steps.width), dn[1])
        by_filter[str(name)] = Levels(dn, width, steps.code_noise, 0.0, steps.relative)
    return radiance(raw, by_filter, tables, throughput_correction)


def radiance(
    raw: xr.Dataset, decoded: Levels | dict[str, Levels], tables: Tables, throughput_correction: bool
) -> xr.Dataset:
    """The product from stored values and what they stand for, by filter where that differs."""
    filters = raw["filter"].values.astype(str)
    bands = {f: band_of(f, raw.attrs, tables, throughput_correction) for f in np.unique(filters).tolist()}
    condition = condition_of(raw.attrs["orbit"], raw.attrs["number"], tables.epochs)
    shape = raw["value"].shape
    out: dict[str, NDArray[Any]] = {
        name: np.empty(shape, np.float32)
        for name in ("radiance", "radiance_random", "radiance_quantum", "i_over_f", "i_over_f_random")
    }
    out["quality"] = np.empty(shape, np.uint32)
    each: list[dict[str, float]] = []
    for k, name in enumerate(filters):
        level = decoded[name] if isinstance(decoded, dict) else decoded
        there = int(raw["lines_there"].values[k])
        framelet = Framelet(raw["value"].values[k], there, level, bands[name], tables, raw.attrs["summing"])
        each.append(framelet.calibrate({variable: array[k] for variable, array in out.items()}, condition))
    variables: dict[str, Any] = {name: (("framelet", "line", "sample"), values) for name, values in out.items()}
    variables |= {name: ("framelet", np.array([e[name] for e in each])) for name in (each[0] if each else ())}
    for name, source in SAID.items():
        kind = RADIANCE[name].dtype
        variables[name] = ("framelet", np.full(len(filters), raw.attrs[source], object if kind == "str" else kind))
    variables["stated_centre"] = ("framelet", raw["stated_centre"].values)
    return xr.Dataset(variables, coords={n: raw[n] for n in ("et", "et_start", "filter", "frame")})
