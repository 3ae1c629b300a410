"""Layout of the radiometric product and the instrument's own quality bits."""

from __future__ import annotations

from pipeline.dataset.quality import Flag
from pipeline.dataset.schema import Schema, Uncertainty, Variable

NONLINEAR = Flag(16, "nonlinear", "above the linear range of the detector, below its saturation: the value is too low")
DARK_COLUMN = Flag(17, "dark_column", "a column without glass before it: it sees no scene")
LOST = Flag(18, "lost", "zeros filled in for data that did not arrive")
CORRUPT_BLOCK = Flag(19, "corrupt_block", "a block of 16 by 16 samples that fits to none of its neighbours")
HOT = Flag(20, "hot_pixel", "named in table pixels as not to be trusted")
NO_CONTENT = Flag(21, "no_content", "of an image that is without usable content by the archive's ERRATA")
DAMAGED_EPOCH = Flag(
    22, "damaged_epoch", "of an image made while the camera was impaired (see condition)", condition=True
)
BLACK_UNKNOWN = Flag(
    23,
    "black_unknown",
    "the dark columns are clipped at zero: the black level is taken as table detector",
    condition=True,
)
FLAGS = (NONLINEAR, DARK_COLUMN, LOST, CORRUPT_BLOCK, HOT, NO_CONTENT, DAMAGED_EPOCH, BLACK_UNKNOWN)

_SAMPLES = ("framelet", "line", "sample")
_EACH = ("framelet",)
_SYSTEMATIC = Uncertainty("systematic", _EACH, relative=True)
_STRUCTURED = Uncertainty("structured", _EACH, err_scale="1 framelet")


def _each(name: str, dtype: str, units: str, text: str, comment: str | None = None) -> Variable:
    return Variable(name, _EACH, dtype, units, text, comment=comment)


TIMING = "no list, not listed, not needed, corrected or undetermined; by EXTRAS/*_TIMING_OFFSETS.TXT; not applied again"

RADIANCE = Schema(
    version=2,
    index="framelet",
    variables=(
        Variable(
            "radiance",
            _SAMPLES,
            "float32",
            "W m-2 sr-1",
            "radiance within the band of the framelet's filter",
            source="instruments/junocam/README.md, steps 1 to 5",
            uncertainties=(Uncertainty("random", _SAMPLES, distribution="quantised"), _SYSTEMATIC, _STRUCTURED),
            quality="quality",
            comment="The structured part is the error of the black level.",
        ),
        Variable("radiance_quantum", _SAMPLES, "float32", "W m-2 sr-1", "radiance of the width of a code (diagnostic)"),
        Variable(
            "i_over_f",
            _SAMPLES,
            "float32",
            "1",
            "radiance over that of a white Lambert surface under the Sun overhead at Jupiter's distance",
            source="instruments/junocam/README.md, step 6",
            uncertainties=(Uncertainty("random", _SAMPLES, distribution="derived"), _SYSTEMATIC, _STRUCTURED),
            quality="quality",
        ),
        Variable("quality", _SAMPLES, "uint32", "1", "quality bits"),
        _each("black_level", "float32", "1", "black level in DN by the dark columns; NaN: clipped (diagnostic)"),
        _each("throughput", "float32", "1", "throughput over that of the calibration, divided out (diagnostic)"),
        _each("condition", "int8", "1", "condition of the camera by the ERRATA (identifier)", "see table epochs"),
        _each("zero_fraction", "float32", "1", "share of samples with code 0 (diagnostic)"),
        _each("saturated_fraction", "float32", "1", "share of samples on the plateau of saturation (diagnostic)"),
        _each("nonlinear_fraction", "float32", "1", "share of samples above the linear limit (diagnostic)"),
        _each("lost_fraction", "float32", "1", "share of samples that did not arrive (diagnostic)"),
        _each("hit_fraction", "float32", "1", "share of samples far above all their neighbours (diagnostic)"),
        _each("corrupt_blocks", "int16", "1", "blocks that fit to none of their neighbours (count)"),
        _each("line_streaks", "float32", "1", "99th percentile of how far lines stand out, DN (diagnostic)"),
        _each("column_streaks", "float32", "1", "99th percentile of how far columns stand out, DN (diagnostic)"),
        _each("blockiness", "float32", "1", "steps at the edges of blocks over steps elsewhere (diagnostic)"),
        _each("exposure", "float32", "s", "exposure, all stages of the TDI (identifier)"),
        _each("tdi_stages", "int16", "1", "stages of the time delay integration (identifier)"),
        _each("interframe_delay", "float64", "s", "interframe delay of the label, without the kernel's millisecond"),
        _each("label_start", "float64", "s", "start time of the label, et, without the kernel's bias (identifier)"),
        _each("clock_difference", "float64", "s", "label's UTC less its clock count; NaN: not both there (diagnostic)"),
        _each("timing_state", "str", "1", "whether the archive corrected START_TIME by the limb (identifier)", TIMING),
        _each("timing_offset", "float32", "s", "offset that START_TIME holds already; NaN: none stated (diagnostic)"),
        _each("summing", "int8", "1", "pixels summed along either axis (identifier)"),
        _each("stated_centre", "float64", "1", "line of the optical axis in the label; NaN: not stated (identifier)"),
        _each("label_altitude", "float64", "km", "altitude of Juno in the label; NaN: not stated (diagnostic)"),
        _each("label_latitude", "float64", "degree", "sub-spacecraft latitude in the label (diagnostic)"),
        _each("label_longitude", "float64", "degree", "sub-spacecraft longitude in the label (diagnostic)"),
        _each("solar_distance", "float64", "km", "distance of the Sun in the label (diagnostic)"),
        _each("focal_plane_temperature", "float32", "K", "temperature of the focal plane; NaN: not known (diagnostic)"),
    ),
    coords=(
        _each("filter", "str", "1", "filter: BLUE, GREEN, RED or METHANE"),
        _each("frame", "int32", "1", "number of the frame in the image, from 0; its filters share it"),
        _each("et_start", "float64", "s", "et at which the exposure begins; et is its middle"),
    ),
    chunk=64,
    attrs={"timing": "START_TIME + 61.88 ms + frame (INTERFRAME_DELAY + 1 ms), juno_junocam_v03.ti; +-20 ms"},
)  # fmt: skip
