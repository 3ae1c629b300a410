"""Layouts of the JEDI products and the instrument's own quality bits."""

from __future__ import annotations

import numpy as np

from instruments.jedi.layout import SPECIES, TELESCOPES
from pipeline.dataset.quality import Flag
from pipeline.dataset.schema import Schema, Uncertainty, Variable

ROLLED = Flag(16, "basic_rate_rolled", "a basic rate is below what was sorted: its counter ran over, no live time")
STATE_UNKNOWN = Flag(17, "state_unknown", "pixel or gain state is none of those in the tables")
PENETRATING = Flag(18, "penetrating_channel", "the channel counts particles that cross the detector; monitor only")
MOSTLY_BACKGROUND = Flag(19, "mostly_background", "more than half of the counts are background", condition=True)
SMALL_PIXEL = Flag(20, "small_pixel", "measured with the small pixel", condition=True)
SMEARED = Flag(21, "smeared", "the telescope turned by more than its width during the integration", condition=True)
FLAGS = (ROLLED, STATE_UNKNOWN, PENETRATING, MOSTLY_BACKGROUND, SMALL_PIXEL, SMEARED)

README = "instruments/jedi/README.md"
SHARED = "records of one unit within 30 s"
# Middles of the bins of pitch angle, degrees.
PITCH = np.arange(5.0, 180.0, 10.0)
UNITS = "cm-2 s-1 sr-1 keV-1"


def _errors(dims: tuple[str, ...], scale: str) -> tuple[Uncertainty, ...]:
    return (
        Uncertainty("random", dims, distribution="derived"),
        Uncertainty("systematic", dims),
        Uncertainty("structured", dims, err_scale=scale),
    )


def _channels() -> tuple[Variable, ...]:
    codes = ", ".join(f"{k} {name}" for k, name in enumerate(SPECIES))
    dims = ("channel",)
    return (
        Variable("species", dims, "int8", "1", f"species of the channel (identifier): {codes}"),
        Variable("energy", dims, "float64", "keV", "energy of the channel, total of the particle"),
        Variable("energy_lower", dims, "float64", "keV", "lower edge of the channel"),
        Variable("energy_upper", dims, "float64", "keV", "upper edge of the channel"),
        Variable("energy_width", dims, "float64", "keV", "width of the channel"),
        Variable(
            "energy_per_nucleon", dims, "float64", "keV", "energy over the number of nucleons (1, 4, 16, 32)",
            comment="NaN where species are not told apart, and of electrons",
        ),
    )  # fmt: skip


def _intensities() -> Schema:
    dims, per = ("record", "telescope", "channel"), ("record", "telescope")
    variables = (
        Variable(
            "intensity", dims, "float32", UNITS, "differential intensity, mean over the channel", None,
            f"{README}, step 5", _errors(dims, SHARED), "quality",
        ),
        Variable(
            "rate", dims, "float32", "s-1", "count rate per live time, less background", None,
            f"{README}, steps 2 to 4", _errors(dims, SHARED), "quality",
        ),
        Variable(
            "counts", dims, "float32", "1", "counts in the integration", None, f"{README}, step 1",
            (Uncertainty("random", dims, distribution="poisson"),), "quality",
        ),
        Variable("counts_expected", dims, "float32", "1", "expected counts, from neighbours (diagnostic)"),
        Variable("background", dims, "float32", "s-1", "background that was subtracted (diagnostic)"),
        Variable("response", dims, "float32", "cm2 sr keV", "rate over intensity (diagnostic)"),
        Variable("live_time", per, "float32", "s", "time in which a pulse would have been sorted (diagnostic)"),
        Variable(
            "basic_rate", (*per, "counter"), "float32", "s-1",
            "rates of start, stop, detector pulses and events, less dead time (diagnostic)",
        ),
        Variable("pixel", per, "int8", "1", "pixel: 0 large, 1 small, -1 not known (identifier)"),
        Variable("gain", ("record",), "int8", "1", "gain state of the microchannel plate (identifier)"),
        Variable("unit", ("record",), "int8", "1", "unit: 0 JEDI-90, 1 JEDI-A180, 2 JEDI-270 (identifier)"),
        Variable("accumulation", ("record",), "float32", "s", "length of the integration (identifier)"),
        Variable("look_iii", (*per, "xyz"), "float32", "1", "look direction in System III at the middle (diagnostic)"),
        Variable(
            "pitch_angle", per, "float32", "degree", "pitch angle of the particles, by mag.field_1s", None,
            f"{README}, step 6", (Uncertainty("systematic", per),), "pitch_quality", optional=True,
            comment="at the middle; angle between velocity and field, opposite to the look direction",
        ),
        Variable("pitch_quality", per, "uint32", "1", "quality bits of the pitch angle"),
        Variable("quality", dims, "uint32", "1", "quality bits"),
        *_channels(),
    )  # fmt: skip
    return Schema(1, "record", variables, sizes={"telescope": TELESCOPES, "counter": 4, "xyz": 3}, chunk=512)


def _spectrograms() -> Schema:
    dims, along = ("et", "channel"), ("et", "pitch", "channel")
    variables = (
        Variable(
            "intensity", dims, "float32", UNITS, "mean intensity of all looks: energy spectrogram", None,
            f"{README}, step 7", _errors(dims, "30 s"), "quality",
        ),
        Variable(
            "pitch_intensity", along, "float32", UNITS, "mean intensity by pitch angle: pitch-angle spectrogram", None,
            f"{README}, step 7", _errors(along, "30 s"), "pitch_quality", optional=True,
        ),
        Variable("looks", along, "int32", "1", "samples in the bin (diagnostic)", optional=True),
        Variable("quality", dims, "uint32", "1", "quality bits"),
        Variable("pitch_quality", along, "uint32", "1", "quality bits of the pitch-angle spectrogram", optional=True),
        Variable("accumulation", ("et",), "float32", "s", "length of the bin (identifier)"),
        *_channels(),
    )  # fmt: skip
    coords = (Variable("pitch", ("pitch",), "float64", "degree", "pitch angle, middle of the bin"),)
    return Schema(1, "et", variables, coords, sizes={"pitch": PITCH.size}, chunk=256)


INTENSITIES, SPECTROGRAMS = _intensities(), _spectrograms()
