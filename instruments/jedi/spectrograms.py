"""Steps from intensities to spectrograms over energy and over pitch angle (README.md, step 7)."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.sparse import csr_array

from instruments.jedi.schemas import PITCH, SPECTROGRAMS
from pipeline.dataset.quality import CONDITIONS, Quality, flag
from pipeline.instrument import Product, step

Array = NDArray[np.float64]

# Length of a bin in seconds: a turn of the spacecraft at two per minute.
BIN = 30.0
WIDTH = float(PITCH[1] - PITCH[0])
COMPONENTS = ("random", "systematic", "structured")
DESCRIBED = tuple(v.name for v in SPECTROGRAMS.variables if v.dims == ("channel",))


@step(produces="jedi.electron_spectrogram", over="segment", version=1)
def electron_spectrogram(spectra: Annotated[xr.Dataset, Product("jedi.electrons")]) -> xr.Dataset:
    """Mean intensities of electrons over turns of the spacecraft, by energy, and by pitch angle and energy."""
    return spectrogram(spectra)


@step(produces="jedi.ion_spectrogram", over="segment", version=1)
def ion_spectrogram(spectra: Annotated[xr.Dataset, Product("jedi.ions")]) -> xr.Dataset:
    """Mean intensities of ion species over turns of the spacecraft, by energy, and by pitch angle and energy."""
    return spectrogram(spectra)


def spectrogram(spectra: xr.Dataset) -> xr.Dataset:
    """Means of the good samples, weighted by exposure, which is best for counts.

    What is systematic or common to the samples of a bin does not become less by averaging.
    """
    shape = spectra["intensity"].shape
    looks, channels = shape[0] * shape[1], shape[2]
    bits = spectra["quality"].values.reshape(looks, channels)
    allowed = np.uint32(int(spectra["quality"].attrs.get("flag_conditions", CONDITIONS)))
    weight = (spectra["response"].values * spectra["live_time"].values[:, :, None]).reshape(looks, channels)
    good = ((bits & ~allowed) == 0) & np.isfinite(weight) & (weight > 0)
    weight = np.where(good, weight, 0.0).astype(np.float64)
    names = ("intensity", *(f"intensity_{c}" for c in COMPONENTS))
    values = {n: np.where(good, spectra[n].values.reshape(looks, channels), 0.0).astype(np.float64) for n in names}
    number = np.floor(spectra["et"].values / BIN).astype(np.int64)
    bins, place = np.unique(number, return_inverse=True)
    row = np.repeat(place, shape[1])
    out: dict[str, Any] = {}
    _add(out, "intensity", "quality", ("et", "channel"), _means(values, weight, row, bins.size))
    if "pitch_angle" in spectra:
        angle = spectra["pitch_angle"].values.reshape(looks).astype(np.float64)
        there = np.isfinite(angle)
        column = np.clip(np.nan_to_num(angle) // WIDTH, 0, PITCH.size - 1).astype(np.int64)
        mean = _means(values, np.where(there[:, None], weight, 0.0), row * PITCH.size + column, bins.size * PITCH.size)
        mean = {n: a.reshape(bins.size, PITCH.size, channels) for n, a in mean.items()}
        _add(out, "pitch_intensity", "pitch_quality", ("et", "pitch", "channel"), mean)
        out["looks"] = ("et", "pitch", "channel"), mean["number"].astype(np.int32)
    out["accumulation"] = ("et",), np.full(bins.size, BIN)
    out |= {n: (("channel",), spectra[n].values) for n in DESCRIBED}
    return xr.Dataset(out, coords={"et": ("et", (bins + 0.5) * BIN), "pitch": ("pitch", PITCH)})


def _means(values: dict[str, Array], weight: Array, row: NDArray[np.int64], rows: int) -> dict[str, Array]:
    """Weighted means over the samples of each row, their uncertainties, and how many samples there were."""
    into = csr_array((np.ones(row.size), (row, np.arange(row.size))), shape=(rows, row.size))

    def summed(array: Array) -> Array:
        return np.asarray(into @ array, np.float64)

    total = summed(weight)
    scale = np.divide(1.0, total, out=np.full(total.shape, np.nan), where=total > 0)
    out = {"number": summed((weight > 0).astype(np.float64))}
    for name, array in values.items():
        independent = name.endswith("_random")
        both = np.sqrt(summed((array * weight) ** 2)) if independent else summed(array * weight)
        out[name.replace("intensity", "mean")] = both * scale
    return out


def _add(out: dict[str, Any], name: str, quality: str, dims: tuple[str, ...], mean: dict[str, Array]) -> None:
    empty = np.isnan(mean["mean"])
    out[name] = dims, mean["mean"]
    out |= {f"{name}_{c}": (dims, mean[f"mean_{c}"]) for c in COMPONENTS}
    out[quality] = dims, flag(empty, Quality.MISSING)
