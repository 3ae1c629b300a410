"""How an image lies in its file: framelets of 128 lines, one below the other, filter by filter and frame by frame.

Facts of the data products shared by readers, calibration and simulator (JunoCam Data Products SIS; juno_junocam_v03.ti,
note 1, for the columns).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FILTERS = ("BLUE", "GREEN", "RED", "METHANE")
LINES, SAMPLES = 128, 1648
# Summed 2 x 2 an image has 816 samples, not 824: dimensions are multiples of 16, so 16 columns are not sent.
# That they are the last ones is an inference.
SUMMED_SAMPLES = 816
# Columns of the detector with glass before them: all others are dark, isolation or overscan.
DARK_COLUMNS, ACTIVE_COLUMNS = (0, 23), (23, 1631)
# Images are sent in blocks of 16 by 16 samples, and lost in whole ones.
BLOCK = 16
MODES = ("SQROOT", "LIN1", "LIN8", "LIN16")
# Names of the transmission; all but the first keep every code.
LOSSY = "INTEGER COSINE TRANSFORM"


def framelet_lines(summing: int) -> int:
    """Lines of a framelet."""
    return LINES // summing


def line_samples(summing: int) -> int:
    """Samples of a line."""
    return SAMPLES if summing == 1 else SUMMED_SAMPLES


def columns_within(span: tuple[int, int], summing: int) -> NDArray[np.bool_]:
    """Samples of a line of which every column of the detector lies in a half-open span."""
    first = np.arange(line_samples(summing)) * summing
    return (first >= span[0]) & (first + summing <= span[1])
