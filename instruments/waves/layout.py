"""What every part of Waves agrees on: receivers, channels, on-board spectra, codes of the telemetry.

Channels are the 126 of the electric survey in the archive's order and the 43 of the magnetic one. The groups of Fourier
bins and the centre frequencies are those of the archive's survey files (README.md, "Channels").
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

POINTS = 1024  # of the on-board transform
LFR_LO, LFR_HI, HFR_LO, HFR_HI, LFR_B = range(5)
RECEIVERS = ("LFR-Lo E", "LFR-Hi E", "HFR-Lo E", "HFR-Hi E", "LFR B")
ELECTRIC = (LFR_LO, LFR_HI, HFR_LO, HFR_HI)
# Samples per second of the receivers that transform; the swept one has none.
SAMPLE_RATES = (50e3, 375e3, 7e6, np.nan, 50e3)
FIRST_BINS = (1, 52, 20)
WIDTHS = (
    (1,) * 13
    + (2, 2, 2, 2, 3, 3, 3, 4, 4, 5, 5, 6, 7, 7, 8, 10, 10, 12, 13, 15, 17, 19, 21, 23, 27, 30, 33, 37, 42, 47),
    (6, 7, 8, 9, 10, 11, 13, 14, 15, 18, 20, 22, 25, 28, 32, 35, 40, 44),
    (2, 3, 3, 3, 4, 4, 5, 5, 6, 7, 8, 8, 10, 10, 12, 14, 15, 16, 19, 22, 23, 27, 30, 34, 37, 43, 47),
)
SWEPT = np.arange(3.5e6, 41e6, 1e6)  # centres of the swept receiver, Hz
SWEPT_BANDWIDTH = 1e6
CHANNELS = (43, 18, 27, 38, 43)  # by receiver
NUMBER_E = sum(CHANNELS[:4])
NUMBER_B = CHANNELS[LFR_B]
# Seconds by which the two times of a row, clock and UTC, may run apart within an archived file.
CLOCKS_DIFFER = 1.0

# Types of minipackets, the project's own: 1 to 5 survey spectra in the order of the receivers, 8 to 11 bursts.
FILL = 0
SURVEY_TYPES = (1, 2, 3, 4, 5)


@dataclass(frozen=True)
class Burst:
    """A kind of burst waveform.

    Parameters
    ----------
    name : as in product names.
    receiver : its receiver.
    samples : of one capture in telemetry.
    most : of one capture, also in the archive's records.
    type : of its minipackets.
    """

    name: str
    receiver: int
    samples: int
    most: int
    type: int

    @property
    def rate(self) -> float:
        """Samples per second."""
        return SAMPLE_RATES[self.receiver]

    @property
    def magnetic(self) -> bool:
        """Whether it is of the search coil."""
        return self.receiver == LFR_B


BURSTS = (
    Burst("low_e", LFR_LO, 6144, 6208, 8),
    Burst("low_b", LFR_B, 6144, 6208, 9),
    Burst("mid_e", LFR_HI, 6144, 6208, 10),
    Burst("high_e", HFR_LO, 4096, 4096, 11),
)
MOST_SAMPLES = max(b.most for b in BURSTS)
ADC_BITS = 12
ADC_LIMITS = (-(1 << (ADC_BITS - 1)), (1 << (ADC_BITS - 1)) - 1)


def bin_edges(receiver: int) -> Ints:
    """First bin of each channel of a receiver that transforms, and the bin after the last."""
    kind = LFR_LO if receiver == LFR_B else receiver
    return FIRST_BINS[kind] + np.concatenate([[0], np.cumsum(WIDTHS[kind])])


def bin_width(receiver: int) -> float:
    """Distance of the bins, Hz."""
    return SAMPLE_RATES[receiver] / POINTS


def frequencies(receiver: int) -> Floats:
    """Centres of a receiver's channels, Hz."""
    if receiver == HFR_HI:
        return SWEPT.copy()
    edges = bin_edges(receiver)
    return np.asarray(bin_width(receiver) * (edges[:-1] + edges[1:] - 1) / 2.0, np.float64)


def bandwidths(receiver: int) -> Floats:
    """Noise bandwidths of a receiver's channels, Hz: the bins summed, or that of the swept receiver."""
    if receiver == HFR_HI:
        return np.full(CHANNELS[HFR_HI], SWEPT_BANDWIDTH)
    return np.asarray(bin_width(receiver) * np.diff(bin_edges(receiver)), np.float64)


def receiver_of_channel() -> Ints:
    """Receiver of each electric channel."""
    return np.repeat(np.array(ELECTRIC), CHANNELS[:4])


def channels_of(receiver: int) -> slice:
    """Channels of a receiver among the electric ones, or all magnetic ones."""
    if receiver == LFR_B:
        return slice(0, NUMBER_B)
    start = sum(CHANNELS[:receiver])
    return slice(start, start + CHANNELS[receiver])


def times_agree(sclk: Floats, et: Floats) -> NDArray[np.bool_]:
    """Rows whose clock (s) and UTC are as far apart as in the other rows of an archived file, or that have no clock."""
    apart = sclk - et
    known = np.isfinite(apart)
    return ~(np.abs(apart - np.median(apart[known])) > CLOCKS_DIFFER) if known.any() else ~known


FREQUENCY_E = np.concatenate([frequencies(r) for r in ELECTRIC])
FREQUENCY_B = frequencies(LFR_B)
BANDWIDTH_E = np.concatenate([bandwidths(r) for r in ELECTRIC])
BANDWIDTH_B = bandwidths(LFR_B)
