"""The calibration tables of the chain."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from calibration.tables import Table
from instruments.uvs.layout import Array, row_edges


@dataclass(frozen=True)
class Tables:
    """The tables of the chain."""

    detector: Table
    wavelength: Table
    effective_area: Table
    dead_time: Table
    pulse_height: Table
    radiation: Table
    flat: Table
    pointing: Table

    def number(self, table: str, quantity: str) -> float:
        """Value of a scalar."""
        return float(getattr(self, table)[quantity].value)

    @property
    def box(self) -> Array:
        """Half width and height of the boxes about stim pixels, to the edges of the outermost pixels."""
        return np.asarray(np.floor(self.detector["stim_box"].value) + 0.5)

    @property
    def edges(self) -> Array:
        """Edges in rows of the bins along the slit."""
        return row_edges(self.detector["section_first"].value, self.detector["section_last"].value)
