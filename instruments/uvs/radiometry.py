"""From counts to brightness: effective area, solid angle of the slit, and what is uncertain of them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from instruments.uvs.detector import Tables
from instruments.uvs.layout import KILORAYLEIGH, SECTION_OF_BIN, Array
from pipeline.errors import CalibrationError

# Photons per square centimetre, second and steradian in a kilorayleigh are its inverse.
TO_KILORAYLEIGH = 4.0 * np.pi / KILORAYLEIGH


def effective_area(wavelength: ArrayLike, et: float, tables: Tables) -> tuple[Array, Array]:
    """Effective area in cm2 and its relative uncertainty at wavelengths, at an epoch.

    The logarithm is linear between the nodes, whose errors are independent; the trend is a factor.
    """
    table = tables.effective_area.at(et)
    nodes = np.concatenate([table["published_wavelength"].value, table["other_wavelength"].value])
    area = np.concatenate([table["published_area"].value, table["other_area"].value])
    sigma = np.concatenate([table["published_area"].sigma, table["other_area"].sigma])
    if not (area > 0).all():
        raise CalibrationError(f"table uvs.effective_area: an area of {area.min()} cm2 is none")
    order = np.argsort(nodes)
    nodes, area, relative = nodes[order], area[order], (sigma / area)[order]
    w = np.asarray(wavelength, np.float64)
    above = np.clip(np.searchsorted(nodes, w), 1, len(nodes) - 1)
    share = np.clip((w - nodes[above - 1]) / (nodes[above] - nodes[above - 1]), 0.0, 1.0)
    trend = table["trend"]
    value = float(trend.value) * np.exp((1.0 - share) * np.log(area[above - 1]) + share * np.log(area[above]))
    parts = ((1.0 - share) * relative[above - 1], share * relative[above], float(trend.sigma) / float(trend.value))
    return value, np.sqrt(parts[0] ** 2 + parts[1] ** 2 + parts[2] ** 2)


class Slit(NamedTuple):
    """The bins along the slit (n).

    Parameters
    ----------
    along : angle of their middles along the slit, degrees.
    width : of the slit, degrees.
    solid : solid angle times response, sr.
    """

    along: Array
    width: Array
    solid: Array


def slit(tables: Tables) -> Slit:
    """The bins along the slit."""
    edges, scale = tables.edges, tables.number("detector", "row_scale")
    middle = 0.5 * (edges[1:] + edges[:-1])
    width = tables.detector["section_width"].value[SECTION_OF_BIN]
    response = tables.flat["row_response"].value
    passed = np.interp(edges, np.arange(len(response) + 1) - 0.5, np.append(0.0, np.cumsum(response)))
    solid = np.radians(width) * np.radians(scale) * np.diff(passed)
    return Slit((middle - tables.number("detector", "row_center")) * scale, width, solid)


def solid_sigma(solid: Array, tables: Tables) -> Array:
    """Relative uncertainty of sums (..., slit bin) of solid angles over the bins: width, scale and rows' response."""
    width = tables.detector["section_width"]
    relative = (width.sigma / width.value)[SECTION_OF_BIN]
    sections = np.stack([np.where(k == SECTION_OF_BIN, solid * relative, 0.0).sum(axis=-1) for k in range(3)], axis=-1)
    rows = np.diff(tables.edges)
    response = float(np.max(tables.flat["row_response"].sigma)) / np.sqrt(rows)
    total = solid.sum(axis=-1)
    scale = tables.detector["row_scale"]
    variance = (sections**2).sum(axis=-1) + ((solid * response) ** 2).sum(axis=-1)
    share = np.divide(np.sqrt(variance), total, out=np.zeros(total.shape), where=total > 0)
    return np.asarray(np.hypot(share, float(scale.sigma) / float(scale.value)))
