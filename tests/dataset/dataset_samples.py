"""A schema with everything in it, datasets that keep it, and a geometry that needs no kernel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from pipeline.clock import Sclk
from pipeline.dataset import check
from pipeline.dataset.context import add_context
from pipeline.dataset.quality import Flag, Quality
from pipeline.dataset.schema import Schema, Uncertainty, Variable

FLAGS = (Flag(16, "transient", "after a switch"), Flag(17, "uncorrected", "not corrected", condition=True))
T0 = 525574312.0  # PJ1

SCHEMA = Schema(
    version=1,
    index="et",
    variables=(
        Variable(
            "field",
            ("et", "xyz"),
            "float32",
            "nT",
            "field",
            source="here",
            uncertainties=(
                Uncertainty("random", ("et", "xyz")),
                Uncertainty("systematic", (), relative=True),
                Uncertainty("structured", ("et",), err_scale="60 s"),
            ),
            quality="quality",
        ),
        Variable("label", ("et",), "str", "1", "name of the mode (identifier)"),
        Variable("counts", ("et",), "int16", "1", "counts (diagnostic)"),
        Variable(
            "extra",
            ("et",),
            "float64",
            "K",
            "temperature",
            standard_name="air_temperature",
            source="here",
            uncertainties=(Uncertainty("random", ("et",)),),
            quality="quality",
            optional=True,
        ),
        Variable("quality", ("et",), "uint32", "1", "quality bits"),
    ),
    coords=(Variable("axis_name", ("xyz",), "str", "1", "name of the axis"),),
    sizes={"xyz": 3},
    chunk=1000,
    attrs={"note": "same for all"},
)


@dataclass
class FakeGeometry:
    """Straight flight at constant speed along the equator; nothing is known from `lost` on."""

    closest_approach: float = T0
    lost: float = np.inf
    start: tuple[float, float, float] = (80000.0, 10000.0, -5000.0)
    speed: tuple[float, float, float] = (10.0, 30.0, 2.0)

    def position(self, frame: str, et: np.ndarray, target: str = "JUNO", observer: str = "JUPITER") -> np.ndarray:
        assert (frame, target, observer) == ("IAU_JUPITER", "JUNO", "JUPITER")
        track = np.array(self.start) + (et - self.closest_approach)[:, None] * np.array(self.speed)
        return np.where((et < self.lost)[:, None], track, np.nan)

    def rotation(self, source: str, target: str, et: np.ndarray) -> np.ndarray:
        assert (source, target) == ("JUNO_JSO", "IAU_JUPITER")
        # The Sun at 90 degrees east.
        return np.broadcast_to(np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]), (len(et), 3, 3))

    def quality(self, et: np.ndarray) -> np.ndarray:
        return np.full(et.shape, Quality.GEOMETRY_PREDICTED, np.uint32)

    def m_shell(self, et: np.ndarray) -> np.ndarray:
        return np.where(et < self.lost, 7.0, np.nan)

    def spin_phase(self, et: np.ndarray) -> np.ndarray:
        return (et - self.closest_approach) * 12.0 % 360.0


def step_result(n: int = 3456, *, extra: bool = True, seed: int = 0) -> xr.Dataset:
    """What a step would return: in its own precision, without context or attributes."""
    rng = np.random.default_rng(seed)
    et = T0 + np.arange(n) / 64
    field = rng.normal(0, 1000, (n, 3))
    quality = np.zeros(n, np.uint32)
    quality[10:20] |= np.uint32(Quality.MISSING)
    quality[30:40] |= np.uint32(FLAGS[0].mask)
    field[10:20] = np.nan
    variables = {
        "field": (("et", "xyz"), field),
        "field_random": (("et", "xyz"), np.full((n, 3), 2.5)),
        "field_systematic": ((), 0.01),
        "field_structured": (("et",), np.full(n, 1.5)),
        "label": (("et",), np.array(["on", "off", "stand-by"], object)[np.arange(n) % 3]),
        "counts": (("et",), rng.poisson(20, n)),
        "quality": (("et",), quality),
    }
    if extra:
        kelvin = np.where(quality & Quality.MISSING, np.nan, rng.normal(300, 1, n))
        variables |= {"extra": (("et",), kelvin), "extra_random": (("et",), np.full(n, 1.0))}
    return xr.Dataset(variables, coords={"et": et, "axis_name": ("xyz", ["x", "y", "z"])})


def finished(n: int = 3456, *, extra: bool = True) -> xr.Dataset:
    """The same as it goes to the file."""
    dataset = add_context(step_result(n, extra=extra), SCHEMA, FakeGeometry(), Sclk.default())
    return check.finish(dataset, SCHEMA, FLAGS, {})
