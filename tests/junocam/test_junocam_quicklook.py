"""Figures of an image are drawn and show what is there."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from junocam_samples import label

from calibration.tables import Table
from instruments.junocam import INSTRUMENT, calibrate, quicklook
from instruments.junocam.raw import framelets

NAMES = ("companding", "response", "detector", "throughput", "solar", "pixels", "epochs")


@pytest.mark.parametrize("filters", [("BLUE", "GREEN", "RED"), ("METHANE",)])
@pytest.mark.parametrize("code", [0, 120])
def test_figures(filters: tuple[str, ...], code: int, tmp_path: Path) -> None:
    described = label(filters, frames=2)
    strip = np.full((described.lines, 1648), code, np.uint8)
    strip[:, :23] = 0
    tables = [Table.read(INSTRUMENT.tables / f"{name}.yaml") for name in NAMES]
    data = calibrate.radiance_from_edr(framelets(described, strip, None), *tables)
    figure = quicklook.framelets(data)
    pictures = [axis.images[0] for axis in figure.axes if axis.images]
    assert len(pictures) == len(filters)
    shown = np.ma.masked_invalid(pictures[0].get_array())
    assert shown.shape == (2 * 32, 412)
    # a code of 0 everywhere is a framelet that did not arrive; else columns without glass alone are missing
    assert shown.mask.all() == (code == 0)
    assert shown.mask.any()
    figure.savefig(tmp_path / "framelets.png")
    damage = quicklook.damage(data)
    assert [len(a.get_lines()) for a in damage.axes][1] == 2 * len(filters)
    damage.savefig(tmp_path / "damage.png")
