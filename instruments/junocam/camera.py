"""The camera: pixels of a framelet to directions and back, and when each frame was taken.

The model of the instrument kernel juno_junocam_v03.ti: a pinhole with two radial terms, one centre per filter. A place
in a framelet is given by 0-based line and sample of the product, so that whole numbers are the centres of pixels; the
kernel counts from the upper left edge, half a pixel more. Directions are in JUNO_JUNOCAM: +X along increasing samples,
+Y along increasing lines, +Z the boresight.

Stars and limbs show that the optical axis, about which the lens distorts, lies 26 lines from where the kernel has it.
The ``refined`` model has it there, turned so that the kernel's boresight stays; the two differ by nothing at the
boresight and by some pixels in the corners of the field. It also knows that with time delay integration a pixel's
charge came to its line only at the end of the exposure: on average it lay half the stages before it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from calibration.tables import Table
from instruments.junocam.layout import FILTERS, framelet_lines, line_samples

Floats = NDArray[np.float64]
Instant = Literal["middle", "start"]
Model = Literal["refined", "kernel"]

FRAME = "JUNO_JUNOCAM"
# The last number of a filter's NAIF id, as in INS-61504_DISTORTION_Y.
NAIF = {"BLUE": 1, "GREEN": 2, "RED": 3, "METHANE": 4}
# Newton's steps to undo the distortion: four reach 1e-12 pixels over the whole field.
STEPS = 4


@dataclass(frozen=True, eq=False)
class Camera:
    """Optics and timing as one image used them.

    Parameters
    ----------
    focal_length : unsummed pixels.
    radial : factors of r^2 and r^4, r in pixels from the optical axis.
    centre_sample : of the optical axis, pixels from the left edge.
    centre_line : the same by filter from the upper edge of its framelet, which may lie outside of it.
    start_bias, interframe_delta : to be added to a label's start time and interframe delay, s.
    summing : pixels summed along each axis, 1 or 2.
    axis_shift : samples and lines from `centre_sample` and `centre_line` to the optical axis; +Z is the direction seen
        at these centres themselves.
    tdi_shift : lines by which the charge of a pixel lay before its own line on average over the exposure.
    """

    focal_length: float
    radial: tuple[float, float]
    centre_sample: float
    centre_line: Mapping[str, float]
    start_bias: float
    interframe_delta: float
    summing: int = 1
    axis_shift: tuple[float, float] = (0.0, 0.0)
    tdi_shift: float = 0.0

    @classmethod
    def from_table(
        cls,
        table: Table,
        *,
        summing: int = 1,
        stages: int = 1,
        centre_line: Mapping[str, float] | None = None,
        model: Model = "refined",
    ) -> Camera:
        """The camera of table ``camera``.

        Parameters
        ----------
        summing, stages : SAMPLING_FACTOR and TDI_STAGES_COUNT of the label.
        centre_line : filters whose read-out was moved, as `stated_centres` finds them in a label.
        model : ``refined`` by stars, or the ``kernel``'s.
        """
        value = {name: q.value for name, q in table.quantities.items()}
        lines = dict(zip(FILTERS, value["centre_line"].tolist(), strict=True)) | dict(centre_line or {})
        focal = float(value["focal_length"] / value["pixel_size"])
        k1, k2 = value["radial"].tolist()
        shift, early = (0.0, 0.0), 0.0
        if model == "refined":
            focal *= float(value["focal_scale"])
            across, along = value["axis_shift"].tolist()
            shift, early = (across, along), float(value["tdi_shift"]) * (stages - 1)
        bias, delta = float(value["start_bias"]), float(value["interframe_delta"])
        return cls(focal, (k1, k2), float(value["centre_sample"]), lines, bias, delta, summing, shift, early)

    @staticmethod
    def perturbed(table: Table) -> list[Table]:
        """The table with one of what the refined model rests on off by one sigma, each in turn."""
        shift, scale = table["axis_shift"], table["focal_scale"]
        moved = [table.replace(axis_shift=shift.value + np.array(e) * shift.sigma) for e in ((1.0, 0.0), (0.0, 1.0))]
        return [*moved, table.replace(focal_scale=scale.value + scale.sigma)]

    def _axis(self, filter_: str) -> float:
        """Lines from the upper edge of a framelet to the optical axis, as its charge was exposed."""
        return self.centre_line[filter_] + self.axis_shift[1] + self.tdi_shift

    @cached_property
    def _turn(self) -> Floats:
        """Rotation from the optical axis's frame to JUNO_JUNOCAM: the shortest that keeps the kernel's boresight."""
        x, y = (-shift / self.focal_length for shift in self.axis_shift)
        z = 1.0 / np.sqrt(1.0 + x * x + y * y)
        x, y = x * z, y * z
        k = 1.0 / (1.0 + z)
        return np.array([[1.0 - k * x * x, -k * x * y, -x], [-k * x * y, 1.0 - k * y * y, -y], [x, y, z]])

    @property
    def shape(self) -> tuple[int, int]:
        """Lines and samples of a framelet."""
        return framelet_lines(self.summing), line_samples(self.summing)

    def unproject(self, line: ArrayLike, sample: ArrayLike, filter_: str) -> Floats:
        """Unit vectors (..., 3) along which places in a filter's framelet look."""
        x = (np.asarray(sample, np.float64) + 0.5) * self.summing - self.centre_sample - self.axis_shift[0]
        y = (np.asarray(line, np.float64) + 0.5) * self.summing - self._axis(filter_)
        x, y = np.broadcast_arrays(x, y)
        distorted = np.hypot(x, y)
        k1, k2 = self.radial
        r = distorted
        for _ in range(STEPS):
            square = r * r
            r = r - (r * (1.0 + square * (k1 + square * k2)) - distorted) / (
                1.0 + square * (3.0 * k1 + square * 5.0 * k2)
            )
        factor = 1.0 / (1.0 + r * r * (k1 + r * r * k2))
        length = np.hypot(r, self.focal_length)
        axis = np.stack([x * factor / length, y * factor / length, self.focal_length / length], axis=-1)
        return axis @ self._turn.T

    def project(self, direction: ArrayLike, filter_: str) -> tuple[Floats, Floats]:
        """Line and sample at which a filter's framelet would see directions (..., 3); NaN behind the camera.

        They may lie outside of the framelet: the model holds as far as the detector reaches.
        """
        vx, vy, vz = np.moveaxis(np.asarray(direction, np.float64) @ self._turn, -1, 0)
        scale = self.focal_length / np.where(vz > 0.0, vz, np.nan)
        x, y = vx * scale, vy * scale
        square = x * x + y * y
        factor = 1.0 + square * (self.radial[0] + square * self.radial[1])
        line = (y * factor + self._axis(filter_)) / self.summing - 0.5
        return line, (x * factor + self.centre_sample + self.axis_shift[0]) / self.summing - 0.5

    def epochs(self, start: float, frames: ArrayLike, interframe: float, exposure: float, instant: Instant) -> Floats:
        """Et of frames; all framelets of a frame share it.

        Parameters
        ----------
        start : et of the label's start time, or better of its clock count, whose text is not rounded to 1 ms.
        frames : 0-based numbers of frames.
        interframe, exposure : of the label, s.
        instant : what of the exposure stands for a frame: its ``middle`` (ISIS) or its ``start`` (the kernel's text).
            With 64 stages of TDI they are 0.1 s apart, 32 pixels.
        """
        late = 0.5 * exposure if instant == "middle" else 0.0
        return start + self.start_bias + late + np.asarray(frames, np.float64) * (interframe + self.interframe_delta)


def stated_centres(rationale: str) -> dict[str, float]:
    """Filters whose read-out strip was moved, from ``INS-6150#_DISTORTION_Y`` in a label's RATIONALE_DESC."""
    found = dict(re.findall(r"INS-6150([1-4])_DISTORTION_Y\s*[=:]?\s*\(?\s*(-?\d+(?:\.\d*)?)", rationale))
    return {name: float(found[str(number)]) for name, number in NAIF.items() if str(number) in found}
