"""The gain of the pass from the noise diodes, and what they say of the detector (README.md, step 3)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from calibration.tables import Table
from instruments.mwr import radiometer
from instruments.mwr.layout import DIODES, RECEIVER_OF_STREAM, STREAMS
from instruments.mwr.radiometer import Array
from instruments.mwr.schemas import DIODE_FAILED
from pipeline.dataset.quality import Quality, flag
from pipeline.instrument import Product, step

# Interval of the nodes, seconds: a spin; edges of the bins are whole multiples of it in et.
NODE = 30.0
# A diode is left out where its gain is off the median by this much and by so many of its standard errors.
TOLERANCE, SIGNIFICANCE = 0.02, 5.0
# The line through antenna-position deflections is refitted without what lies further off than this many sigma.
OUTLIER = 5.0
ANTENNA, LOAD = 0, 1


@step(produces="mwr.gain", over="unit", version=1)
def gain(
    deflections: Annotated[xr.Dataset, Product("mwr.deflections")],
    detector: Table,
    chain: Table,
    noise_diode: Table,
    *,
    smoothing: float = 240.0,
) -> xr.Dataset:
    """Gain of every stream through the pass, with the compression of its detector.

    Deflections on the load over the diodes' brightness, averaged by bins of a spin and smoothed by a local line; a
    diode that disagrees with the other two is left out. Against these, deflections in the antenna position at powers
    from open sky to Jupiter give the compression: with the table's a they go as ``1 - da (2 x + d)``.

    Parameters
    ----------
    deflections : deflection, base, tnd, diode, position (et, stream).
    smoothing : seconds on either side over which the line's triangular weights fall to nothing.
    """
    et = deflections["et"].values
    first, last = np.floor(et[[0, -1]] / NODE).astype(np.int64)
    nodes = (np.arange(first, last + 1) + 0.5) * NODE
    place = np.floor(et / NODE).astype(np.int64) - first
    shape = len(nodes), len(STREAMS)
    value, structured, error = np.full(shape, np.nan), np.full(shape, np.nan), np.full(shape, np.nan)
    used, ratio = np.zeros((*shape, len(DIODES)), np.int8), np.full((*shape, len(DIODES)), np.nan)
    scalars = {name: np.full(len(STREAMS), np.nan) for name in SCALARS}
    own = noise_diode["brightness"].sigma / noise_diode["brightness"].value
    for s, receiver in enumerate(RECEIVER_OF_STREAM):
        table, sigma = (float(a[s]) for a in (detector["compression"].value, detector["compression"].sigma))
        data = _Stream.of(deflections, s, place, len(nodes))
        # A diode that fails would bend the line that gives the compression.
        agreeing = data.only(data.checked(table)[1])
        fit = agreeing.compression(table, sigma, nodes, smoothing)
        for name in SCALARS:
            scalars[name][s] = fit[name]
        bins, used[:, s], ratio[:, s] = data.checked(fit["compression"])
        value[:, s], structured[:, s] = local_line(*bins, nodes, smoothing)
        share = used[:, s] / np.maximum(used[:, s].sum(axis=1, keepdims=True), 1)
        error[:, s] = np.sqrt(((share * own[receiver]) ** 2).sum(axis=1) + noise_diode["scale"].sigma[receiver] ** 2)
    bend = {part: scalars["level"] * scalars[f"compression_{part}"] for part in ("random", "systematic")}
    systematic = np.abs(value) * np.sqrt(error**2 + _referred(chain) + bend["systematic"] ** 2)
    gone = np.isnan(value)
    failed = ((used == 0) & np.isfinite(ratio)).any(axis=2)
    per = ("et", "stream")
    return xr.Dataset(
        {
            "gain": (per, value),
            "gain_systematic": (per, systematic),
            "gain_structured": (per, np.hypot(structured, np.abs(value) * bend["random"])),
            "smoothing_error": (per, structured / np.abs(value)),
            "diode_error": (per, np.where(gone, np.nan, error)),
            "diode_used": ((*per, "diode"), used),
            "diode_ratio": ((*per, "diode"), ratio),
            **{name: (("stream",), scalar) for name, scalar in scalars.items()},
            "quality": (per, flag(gone, Quality.MISSING) | flag(failed & ~gone, DIODE_FAILED.mask)),
            "stream_quality": (("stream",), flag(np.isnan(scalars["compression"]), Quality.MISSING)),
        },
        coords={"et": nodes, "stream": list(STREAMS)},
    )


def _referred(chain: Table) -> Array:
    """Square of the relative error of bringing a diode's brightness to the aperture (stream)."""
    losses = ((radiometer.PER_DECIBEL * chain["loss"].sigma) ** 2).sum(axis=1)
    mismatch = (chain["reflection"].sigma / (1.0 - chain["reflection"].value)) ** 2
    return np.asarray((losses + mismatch)[list(RECEIVER_OF_STREAM)])


SCALARS = (
    "compression",
    "compression_random",
    "compression_systematic",
    "compression_diodes",
    "compression_diodes_sigma",
    "coupling",
    "level",
)


def local_line(t: Array, value: Array, variance: Array, nodes: Array, reach: float) -> tuple[Array, Array]:
    """Straight lines fitted with triangular weights about each node: their values there and one sigma.

    Parameters
    ----------
    t, value, variance : of the points, NaN where there is none.
    reach : where the weights become nothing. Nodes with no point within half of it get NaN.
    """
    there = np.isfinite(value) & (variance > 0)
    t, value, variance = t[there], value[there], variance[there]
    away = t - nodes[:, None]
    weight = np.clip(1.0 - np.abs(away) / reach, 0.0, None) / variance
    s0, s1, s2 = (np.sum(weight * away**k, axis=1) for k in range(3))
    # With one point, or all at one time, the line is a constant.
    steep = s0 * s2 - s1**2 > 1e-9 * s0 * s2
    factor = np.where(steep[:, None], weight * (s2[:, None] - s1[:, None] * away), weight)
    total = factor.sum(axis=1)
    known = (np.abs(away) < reach / 2.0).any(axis=1) & (total > 0)
    total = np.where(known, total, np.nan)
    sigma = np.sqrt((factor**2 * variance).sum(axis=1)) / np.abs(total)
    return (factor * value).sum(axis=1) / total, sigma


@dataclass(frozen=True)
class _Stream:
    """Good deflections of one stream; `place` is the bin of each, of `size` bins."""

    et: Array
    deflection: Array
    sigma: Array
    base: Array
    tnd: Array
    diode: NDArray[np.intp]
    position: NDArray[np.uint8]
    place: NDArray[np.int64]
    size: int

    @classmethod
    def of(cls, dataset: xr.Dataset, s: int, place: NDArray[np.int64], size: int) -> _Stream:
        bits = dataset["quality"].values[:, s]
        good = (bits & np.uint32(Quality.MISSING | Quality.SATURATED)) == 0
        names = ("deflection", "deflection_random", "base", "tnd")
        deflection, sigma, base, tnd = (dataset[name].values[good, s].astype(np.float64) for name in names)
        diode = dataset["diode"].values[good, s].astype(np.intp) - 1
        position = dataset["position"].values[good, s]
        et = dataset["et"].values[good]
        return cls(et, deflection, sigma, base, tnd, diode, position, place[good], size)

    def only(self, good: NDArray[np.int8]) -> _Stream:
        """The deflections of those diodes in those bins (bin, diode)."""
        keep = good[self.place, self.diode] == 1
        names = ("et", "deflection", "sigma", "base", "tnd", "diode", "position", "place")
        return replace(self, **{name: getattr(self, name)[keep] for name in names})

    def gains(self, compression: float) -> tuple[Array, Array]:
        """Gain by each deflection and its variance."""
        linear = radiometer.linear_deflection(self.deflection, self.base, compression)
        return linear / self.tnd, (self.sigma / self.tnd) ** 2

    def binned(self, compression: float, diode: int) -> tuple[Array, Array, Array]:
        """Mean time, mean gain and its variance in each bin, by one diode on the load; NaN where there is none."""
        use = (self.position == LOAD) & (self.diode == diode)
        value, variance = (part[use] for part in self.gains(compression))
        place, weight = self.place[use], 1.0 / variance

        def total(values: Array) -> Array:
            return np.asarray(np.bincount(place, weight * values, minlength=self.size), np.float64)

        there = total(np.ones(len(place)))
        with np.errstate(invalid="ignore", divide="ignore"):
            # Times relative to the first keep their digits.
            start = self.et[0] if len(self.et) else 0.0
            return start + total(self.et[use] - start) / there, total(value) / there, 1.0 / there

    def checked(self, compression: float) -> tuple[tuple[Array, Array, Array], NDArray[np.int8], Array]:
        """Bins by all diodes that agree; which do; gain by each over the median."""
        by_diode = [self.binned(compression, d) for d in range(len(DIODES))]
        t, value, variance = (np.stack(part, axis=1) for part in zip(*by_diode, strict=True))
        there = np.isfinite(value)
        middle = np.full(self.size, np.nan)
        some = there.any(axis=1)
        middle[some] = np.nanmedian(value[some], axis=1)
        with np.errstate(invalid="ignore"):
            ratio = value / middle[:, None]
            limit = np.maximum(TOLERANCE, SIGNIFICANCE * np.sqrt(variance) / middle[:, None])
            good = there & (np.abs(ratio - 1.0) <= limit)
        number = good.sum(axis=1)

        def mean(values: Array, power: int = 1) -> Array:
            total = np.where(good, values, 0.0).sum(axis=1)
            return np.asarray(np.where(number > 0, total / np.maximum(number, 1) ** power, np.nan))

        return (mean(t), mean(value), mean(variance, 2)), good.astype(np.int8), ratio

    def compression(self, table: float, sigma: float, nodes: Array, smoothing: float) -> dict[str, float]:
        """Compression by table and diodes together, and what went into it (`SCALARS`).

        With the table's ``a`` the gain by an antenna-position deflection over that on the load, by the same diode at
        the same time, is ``coupling (1 - da z)``, z the difference of their ``2 x + d``: a straight line.
        """
        value, variance = self.gains(table)
        level = 2.0 * self.base + self.deflection
        ratio, z, spread = (np.full(len(value), np.nan) for _ in range(3))
        for d in range(len(DIODES)):
            by_load, its_sigma = local_line(*self.binned(table, d), nodes, smoothing)
            mine = (self.diode == d) & (self.position == ANTENNA)
            on_load = (self.diode == d) & (self.position == LOAD)
            known = np.isfinite(by_load)
            if not known.any() or not on_load.any():
                continue
            load_gain = np.interp(self.et[mine], nodes[known], by_load[known])
            ratio[mine] = value[mine] / load_gain
            its_variance = np.interp(self.et[mine], nodes[known], its_sigma[known]) ** 2
            spread[mine] = (variance[mine] + its_variance) / load_gain**2
            z[mine] = level[mine] - level[on_load].mean()
        load_level = float(level[self.position == LOAD].mean()) if (self.position == LOAD).any() else np.nan
        coupling, change, error = _line(z, ratio, spread)
        by_table, by_diodes = 1.0 / max(sigma, 1e-30) ** 2, 0.0 if np.isnan(error) else 1.0 / error**2
        share = by_diodes / (by_table + by_diodes)
        return {
            "compression": table + (share * change if share > 0 else 0.0),
            "compression_random": share * error if share > 0 else 0.0,
            "compression_systematic": (1.0 - share) * sigma,
            "compression_diodes": table + change,
            "compression_diodes_sigma": error,
            "coupling": coupling,
            "level": load_level,
        }


def _line(z: Array, ratio: Array, variance: Array) -> tuple[float, float, float]:
    """Weighted line ``ratio = r (1 - c z)``, fitted again without outliers: r, c, sigma of c; NaN if too few points."""
    good = np.isfinite(ratio) & np.isfinite(variance)
    for _ in range(2):
        if good.sum() < 10:
            return np.nan, np.nan, np.nan
        w, x, y = 1.0 / variance[good], z[good], ratio[good]
        centre = (w * x).sum() / w.sum()
        moment = (w * (x - centre) ** 2).sum()
        if not moment > 0:
            return np.nan, np.nan, np.nan
        slope = (w * (x - centre) * y).sum() / moment
        middle = (w * y).sum() / w.sum()
        at_zero = middle - slope * centre
        off = np.abs(ratio - at_zero - slope * z)
        with np.errstate(invalid="ignore"):
            good &= off < OUTLIER * np.sqrt(variance)
    return float(at_zero), float(-slope / at_zero), float(1.0 / np.sqrt(moment) / abs(at_zero))
