"""What the header of a record says of its quality."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from calibration.tables import Table
from instruments.jade.looks import HRS
from instruments.jade.schemas import BLANKED, E300, MCP_OFF_COMMAND, NO_DEFLECTION, REVERSED, TIMING
from pipeline.dataset.quality import Quality, flag

# Bits of ISSUES, from the archive's labels, and what they mean here; the others do not touch the values.
ISSUES: dict[int, int] = {
    1: Quality.GEOMETRY_PREDICTED,
    4: Quality.INTERPOLATED,
    5: Quality.CORRECTED,
    7: Quality.LEAP_SECOND,
    10: TIMING.mask,
    13: BLANKED.mask,
    14: Quality.SUSPECT,
    15: REVERSED.mask,
    16: Quality.SUSPECT,
    17: MCP_OFF_COMMAND.mask,
    18: E300.mask,
    19: Quality.MISSING,
    20: MCP_OFF_COMMAND.mask,
    21: BLANKED.mask,
    22: BLANKED.mask,
}


def issue_flags(issues: NDArray[np.uint32], mode: NDArray[np.int8]) -> NDArray[np.uint32]:
    """Quality bits of records (n) by their ISSUES; high rate records may have been deflected."""
    out = flag(mode == HRS, NO_DEFLECTION.mask)
    for bit, mask in ISSUES.items():
        out |= flag((issues >> np.uint32(bit)) & np.uint32(1) != 0, mask)
    return out


def voltages(dac: NDArray[np.int32], mcp: Table, plates: slice) -> NDArray[np.float64]:
    """Voltages of microchannel plates from what they were commanded to, (n, plate): 0 where that is 0."""
    slope, offset = (mcp[n].value[plates] for n in ("slope", "offset"))
    return np.where(dac == 0, 0.0, slope * dac + offset)
