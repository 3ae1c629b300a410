"""The steps from reduced products of the archive to the same products, with errors that the archive does not state."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from calibration.tables import Table
from instruments.jiram import chain
from instruments.jiram.calibrate import BANDS
from instruments.jiram.pixels import tie_points
from instruments.jiram.schemas import INCOMPLETE, PIXELS, SPECTRA
from pipeline.dataset.quality import Quality, flag
from pipeline.geometry import Geometry
from pipeline.instrument import Raw, step

Array = NDArray[np.float64]


def _with_errors(value: Array, per_unit: Array, detector: Table, archive: Table) -> tuple[Array, Array]:
    """Random and systematic sigma: noise of the signal and of two read-outs, accuracy of the archive's calibration."""
    gain, read = float(detector["gain"].value), float(detector["read_noise"].value)
    electrons = np.maximum(np.nan_to_num(value) * per_unit, 0.0) * gain
    counts = np.sqrt((electrons + 2.0 * read**2) / gain**2 + float(archive["other_noise"].value) ** 2)
    return counts / per_unit, np.abs(np.nan_to_num(value)) * float(archive["accuracy"].value)


def _frame(raw: xr.Dataset) -> tuple[dict[str, Any], np.uint32]:
    bits = np.uint32(0 if raw["complete"].values[0] else INCOMPLETE.mask)
    own = {
        "exposure": ("et", raw["exposure"].values),
        "detector_temperature": ("et", np.full(1, np.nan, np.float32)),
        "frame_quality": ("et", np.array([bits], np.uint32)),
    }
    return own, bits


@step(produces="jiram.radiance", over="segment", version=1)
def radiance_from_archive(
    raw: Annotated[xr.Dataset, Raw("jiram.image_rdr")],
    geometry: Geometry,
    image_detector: Table,
    image_dark: Table,
    image_responsivity: Table,
    bands: Table,
    pointing: Table,
    archive: Table,
) -> xr.Dataset:
    """Radiance of an image as the archive has it; spectral radiance is multiplied by the width of the band.

    The archive states no uncertainty, no spikes and no saturation: noise is that of the light and of two read-outs,
    accuracy that of table archive, drift that of a cycle.

    Parameters
    ----------
    raw : one image; see `instruments.jiram.rdr.read_images`.
    """
    width = bands["width"]
    value = raw["radiance"].values[0].astype(np.float64)
    if raw["per_micron"].values[0]:
        value = value * width.value[:, None, None]
    exposure = float(raw["exposure"].values[0])
    per_unit = exposure * image_responsivity["rate"].value[:, None, None]
    random, systematic = _with_errors(value, per_unit, image_detector, archive)
    drift = image_dark["drift"].value * np.sqrt(float(archive["cycle"].value)) * exposure / per_unit[:, 0, 0]
    lost = raw["lost"].values[0].repeat(value.shape[-1] // raw.sizes["subframe"], axis=-1)[:, None, :] | np.isnan(value)
    own, bits = _frame(raw)
    et = float(raw["et"].values[0])
    dataset = xr.Dataset(
        {
            "radiance": (PIXELS, np.where(lost, np.nan, value)[None].astype(np.float32)),
            "radiance_random": (PIXELS, chain.coarse(random)[None]),
            "radiance_systematic": (PIXELS, chain.coarse(systematic)[None]),
            "radiance_structured": (("et", "band"), drift[None].astype(np.float32)),
            "quality": (PIXELS, (flag(lost, Quality.MISSING) | bits)[None]),
            "band_width": (("et", "band"), width.value[None].astype(np.float32)),
            "band_width_systematic": (("et", "band"), width.sigma[None].astype(np.float32)),
            **own,
            **tie_points(geometry, et, pointing),
        },
        coords={"et": [et], "band": np.array(BANDS, object)},
    )
    return dataset.isel(band=raw["present"].values[0])


@step(produces="jiram.spectra", over="segment", version=1)
def spectra_from_archive(
    raw: Annotated[xr.Dataset, Raw("jiram.spectrum_rdr")],
    spectrum_detector: Table,
    spectrum_dark: Table,
    spectrum_responsivity: Table,
    wavelength: Table,
    archive: Table,
) -> xr.Dataset:
    """Spectral radiance as the archive has it, with the errors of `radiance_from_archive`.

    Parameters
    ----------
    raw : one set of spectra; see `instruments.jiram.rdr.read_spectra`.
    """
    value = raw["radiance"].values[0].astype(np.float64)
    exposure = float(raw["exposure"].values[0])
    per_unit = exposure * spectrum_responsivity["rate"].value[None] * 256.0 / value.shape[0]
    random, systematic = _with_errors(value, per_unit, spectrum_detector, archive)
    drift = spectrum_dark["drift"].value * np.sqrt(float(archive["cycle"].value)) * exposure / per_unit[0]
    lost = raw["lost"].values[0].repeat(value.shape[-1] // raw.sizes["subframe"], axis=-1)[None, :] | np.isnan(value)
    um = chain.nominal_wavelength(wavelength)[None]
    own, bits = _frame(raw)
    return xr.Dataset(
        {
            "spectral_radiance": (SPECTRA, np.where(lost, np.nan, value)[None].astype(np.float32)),
            "spectral_radiance_random": (SPECTRA, chain.coarse(random)[None]),
            "spectral_radiance_systematic": (SPECTRA, chain.coarse(systematic)[None]),
            "spectral_radiance_structured": (("et", "channel"), drift[None].astype(np.float32)),
            "quality": (SPECTRA, (flag(lost, Quality.MISSING) | bits)[None]),
            "wavelength": (("et", "channel"), um),
            "wavelength_systematic": (("et", "channel"), np.full(um.shape, float(wavelength["first"].sigma))),
            **own,
        },
        coords={"et": raw["et"].values},
    )
