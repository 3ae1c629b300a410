"""An image as geometry needs it: camera, times and brightness of its framelets, from the radiometric product."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from calibration.tables import Table
from instruments.junocam.camera import Camera, Instant, Model
from instruments.junocam.layout import FILTERS
from instruments.junocam.position import Stated
from instruments.junocam.schemas import CORRUPT_BLOCK, HOT
from pipeline.dataset.quality import Quality, raised

Floats = NDArray[np.float64]

# Samples that say nothing of the scene; those that are saturated or nonlinear still do. Single ones among them are
# filled from their neighbours.
SINGLE = int(Quality.RADIATION) | HOT.mask
UNUSABLE = int(Quality.MISSING) | CORRUPT_BLOCK.mask | SINGLE


@dataclass(frozen=True, eq=False)
class Image:
    """An image, or some framelets of it.

    Parameters
    ----------
    product : of type ``junocam.radiance``.
    camera : as the image used it.
    others : the same, off by one sigma of what it rests on, each in turn.
    filters : of the framelets, as numbers in `FILTERS` (n).
    et : times that stand for them (n).
    """

    product: xr.Dataset
    camera: Camera
    others: tuple[Camera, ...]
    filters: NDArray[np.intp]
    et: Floats

    @classmethod
    def of(
        cls,
        product: xr.Dataset,
        camera: Table,
        instant: Instant,
        model: Model,
        moved: Mapping[str, float] | None = None,
    ) -> Image:
        """The image of a radiometric product.

        Parameters
        ----------
        camera : table ``camera``.
        instant : what of the exposure stands for a framelet.
        moved : centres of filters whose read-out was moved without the label's saying so.
        """
        names = product["filter"].values.astype(str)
        stated = product["stated_centre"].values
        centres = {n: float(c) for n, c in zip(names, stated, strict=True) if np.isfinite(c)}
        summing, stages = (int(product[n].values[0]) for n in ("summing", "tdi_stages"))
        centres = {**(moved or {}), **centres}
        optics, *others = (
            Camera.from_table(table, summing=summing, stages=stages, centre_line=centres, model=model)
            for table in (camera, *Camera.perturbed(camera))
        )
        et = product["et" if instant == "middle" else "et_start"].values
        return cls(
            product,
            optics,
            tuple(others),
            np.array([FILTERS.index(n) for n in names], np.intp),
            np.asarray(et, np.float64),
        )

    def __len__(self) -> int:
        return int(self.et.size)

    def picture(self, number: int) -> Floats:
        """I/F of a framelet (line, sample), NaN where it says nothing of the scene.

        Single samples that were hit or are hot are the mean of those of their four neighbours that are good.
        """
        values = self.product["i_over_f"].values[number].astype(np.float64)
        quality = self.product["quality"].values[number]
        values[raised(quality, UNUSABLE)] = np.nan
        line, sample = np.nonzero(raised(quality, SINGLE))
        padded = np.pad(values, 1, constant_values=np.nan)
        around = np.stack([padded[line + a, sample + b] for a, b in ((0, 1), (2, 1), (1, 0), (1, 2))])
        known = np.isfinite(around)
        with np.errstate(invalid="ignore"):
            mean = np.where(known, around, 0.0).sum(axis=0) / known.sum(axis=0)
        values[line, sample] = np.where(raised(quality[line, sample], UNUSABLE & ~SINGLE), np.nan, mean)
        return values

    def noise(self, number: int) -> float:
        """Random uncertainty of the darkest samples of a framelet, I/F; infinite where all is missing."""
        sigma = self.product["i_over_f_random"].values[number]
        return float(np.nanmin(sigma)) if np.isfinite(sigma).any() else np.inf

    def _label(self, name: str) -> float:
        return float(self.product[name].values[0])

    @property
    def interframe(self) -> float:
        """Time between frames, s."""
        return self._label("interframe_delay") + self.camera.interframe_delta

    @property
    def label_time(self) -> float:
        """Et of the middle of the image as a whole, to which its label's geometry belongs (see `position`)."""
        frames = int(self.product["frame"].values.max()) + 1
        return self._label("label_start") + 0.5 * frames * self._label("interframe_delay")

    @property
    def stated(self) -> Stated:
        """Where the label has Juno."""
        return Stated(*(self._label(f"label_{name}") for name in ("altitude", "latitude", "longitude")))
