"""Steps from level 3 of the archive, counts per second, to count rates of electrons and ions (README.md, "Level 3")."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from calibration.tables import Table
from instruments.jade import looks
from instruments.jade.calibrate import JADE_E, JADE_I, SENSORS, assembled
from instruments.jade.chain import Array
from instruments.jade.layout import ENERGIES
from instruments.jade.quality import issue_flags
from instruments.jade.schemas import BACKGROUND_KEPT, FIELD_WRONG
from pipeline.clock import Span
from pipeline.dataset.events import counted
from pipeline.dataset.quality import Quality, flag
from pipeline.geometry import Geometry
from pipeline.instrument import Raw, step

MIDDLE = (ENERGIES - 1) // 2


@step(produces="jade.electron_rate", over="segment", version=3)
def electron_rate_from_archive(
    raw: Annotated[xr.Dataset, Raw("jade.l30_electrons")],
    geometry: Geometry,
    span: Span,
    timing: Table,
    look_electrons: Table,
) -> xr.Dataset:
    """Electron count rates as level 3 of the archive gives them; it states neither counts nor systematic errors.

    The uncertainty of the counting time is added; the archive's sigma is the random one.
    """
    et, mode = raw["et"].values, raw["mode"].values
    sensor = np.zeros(et.shape, np.intp)
    views = looks.electron_views(mode, raw["accumulation"].values, et, sensor, look_electrons, geometry)
    quality = archived_flags(raw) | flag(raw["mag_wrong"].values, FIELD_WRONG.mask)[:, None, None]
    sizes = archived(raw, views, timing, JADE_E)
    sizes["rate_structured"] = np.nan_to_num(raw["background_sigma"].values)
    azimuth, elevation = (raw[n].values[:, MIDDLE] for n in ("azimuth", "elevation"))
    dataset = assembled("et", sizes, quality, et, raw["energy_per_charge"].values[:, :, 0], azimuth, elevation, raw)
    wrong = int(raw["mag_wrong"].values[span.contains(et)].sum())
    return dataset.assign(
        background=(("et", "look"), raw["background"].values.mean(axis=1)),
        background_error=(("et", "look"), raw["background_sigma"].values.mean(axis=1)),
        mcp_voltage=(("et", "sensor"), np.broadcast_to(raw["mcp_voltage"].values, (et.size, SENSORS))),
        mag_vector=(("et", "xyz"), raw["mag_vector"].values),
    ).assign_attrs(counted(raw, span), records_mag_vector_wrong=wrong)


@step(produces="jade.ion_rate", over="segment", version=2)
def ion_rate_from_archive(
    raw: Annotated[xr.Dataset, Raw("jade.l30_ions")],
    geometry: Geometry,
    span: Span,
    timing: Table,
    look_ions: Table,
) -> xr.Dataset:
    """Count rates of ion species as level 3 of the archive gives them.

    The error of the background subtracted, common to a level, is systematic. A look whose direction by the file lies
    outside of the look that table ``look_ions`` has in its place is suspect: its solid angle and anodes are not known.
    """
    et = raw["et"].values
    views = looks.ion_views(raw["accumulation"].values, et, look_ions, geometry)
    quality = archived_flags(raw) | flag(elsewhere(raw, looks.ion_looks(look_ions)), Quality.SUSPECT)[:, None, :]
    sizes = archived(raw, views, timing, JADE_I)
    doubt = np.nan_to_num(raw["background_sigma"].values)
    sizes["rate_systematic"] = np.hypot(sizes["rate_systematic"], doubt)
    azimuth, elevation = (raw[n].values[:, MIDDLE] for n in ("azimuth", "elevation"))
    dataset = assembled("record", sizes, quality, et, raw["energy_per_charge"].values[:, :, 0], azimuth, elevation, raw)
    return dataset.assign(
        species=(("record",), raw["species"].values), mcp_voltage=(("record",), raw["mcp_voltage"].values[:, 0])
    ).assign_attrs(counted(raw, span))


def archived_flags(raw: xr.Dataset) -> NDArray[np.uint32]:
    """Quality of each sample; missing where it lacks rate, error or energy."""
    good = np.isfinite(raw["rate"].values) & (raw["rate_sigma"].values >= 0) & (raw["energy_per_charge"].values > 0)
    record = issue_flags(raw["issues"].values, raw["mode"].values)
    record |= flag(raw["source_background"].values == 0, BACKGROUND_KEPT.mask)
    return np.asarray(record[:, None, None] | flag(~good, Quality.MISSING))


def archived(raw: xr.Dataset, views: NDArray[np.float32], timing: Table, sensor: int) -> dict[str, Array]:
    """Rates and their errors; exposure by the views (n, energy, look, anode) of this project's tables."""
    rate, live = raw["rate"].values, float(timing["live"].value[sensor])
    return {
        "rate": rate,
        "rate_random": raw["rate_sigma"].values,
        "rate_systematic": np.abs(rate) * float(timing["live"].sigma[sensor]) / live,
        "exposure": views.sum(axis=3) * live,
    }


def elsewhere(raw: xr.Dataset, look: looks.IonLooks) -> NDArray[np.bool_]:
    """Looks (n, look) that the file has in another place than the table."""
    azimuth, elevation = (raw[n].values[:, MIDDLE] for n in ("azimuth", "elevation"))
    aside = np.abs((azimuth - look.azimuth + 180.0) % 360.0 - 180.0)
    across = (elevation >= look.elevation_lower) & (elevation <= look.elevation_upper)
    return np.asarray(~((aside <= (look.azimuth_upper - look.azimuth_lower) / 2.0) & across))
