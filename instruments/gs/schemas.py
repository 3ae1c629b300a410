"""Layouts of the Gravity Science products and the instrument's own quality bits."""

from __future__ import annotations

from pipeline.dataset.quality import Flag
from pipeline.dataset.schema import Component, Schema, Uncertainty, Variable

CYCLE_SLIP = Flag(16, "cycle_slip", "the receiver slipped a cycle in this interval, or was out of lock at an end of it")
NO_RAMP = Flag(17, "no_ramp", "the uplink frequency is not known for all of the interval; nothing is computed")
LOW_ELEVATION = Flag(18, "low_elevation", "Juno is below 10 degrees at an end of the link: not used")
MEDIA_SEASONAL = Flag(
    19, "media_seasonal", "no calibration of the troposphere: its seasonal mean is used", condition=True
)
PLASMA_LEFT = Flag(
    20, "plasma_left", "one link alone: the plasma is not removed, its size is in the structured error", condition=True
)
PLASMA_TWO = Flag(21, "plasma_two_links", "two links: up- and downlink plasma taken as equal", condition=True)
PARTIAL = Flag(22, "partial", "less than 95 % of the interval of the mean is covered by good counts")
NO_SIGNAL = Flag(23, "no_signal", "no carrier stands out of the noise; no frequency is given")
REJECTED = Flag(24, "rejected", "the residuals after the fit are not what the stated errors allow: do not use")
FLAGS = (
    CYCLE_SLIP,
    NO_RAMP,
    LOW_ELEVATION,
    MEDIA_SEASONAL,
    PLASMA_LEFT,
    PLASMA_TWO,
    PARTIAL,
    NO_SIGNAL,
    REJECTED,
)
COMPONENTS: tuple[Component, ...] = ("random", "systematic", "structured")
README = "instruments/gs/README.md"
# Over which media and plasma are correlated; see table `noise`.
CORRELATION = "600 s"
PARAMETERS = ("x", "y", "z", "vx", "vy", "vz", "J2", "J3", "J4", "J5", "J6")
PARAMETER_UNITS = ("km",) * 3 + ("km/s",) * 3 + ("1",) * 5
STAGES = ("none", "troposphere", "spin", "plasma")


def _sigma(component: Component, *dims: str) -> Uncertainty:
    return Uncertainty(component, dims, err_scale=CORRELATION if component == "structured" else None)


_TIMES = (
    Variable("utc_day", ("et",), "int32", "d", "middle of the count: modified Julian day of UTC (identifier)"),
    Variable(
        "utc_second", ("et",), "float64", "s", "middle of the count: second of that day (identifier)",
        comment="et in one float64 is resolved to 60 ns only",
    ),
    Variable("count_time", ("et",), "float64", "s", "length of the count (identifier)"),
    Variable("receiver", ("et",), "int16", "1", "receiving station, DSS number (identifier)"),
    Variable("transmitter", ("et", "link"), "int16", "1", "transmitting station, DSS number; 0 none (identifier)"),
)  # fmt: skip
_LINK = (Variable("link_name", ("link",), "str", "1", "bands of uplink and downlink (identifier)"),)
_QUALITY = Variable("quality", ("et", "link"), "uint32", "1", "quality bits")
# Records whose et is not Juno's say so.
_ATTRS = {"et_is": "time of reception at the station, the middle of the interval"}
_ON_EARTH = {"et_is": "time on Earth"}

TRACKING = Schema(
    version=1,
    index="et",
    variables=(
        *_TIMES,
        Variable(
            "sky_frequency", ("et", "link"), "float64", "Hz", "mean received frequency of the carrier over the count",
            source=f"{README}, step 1", uncertainties=(_sigma("random", "et", "link"),), quality="quality",
        ),
        Variable("power", ("et", "link"), "float32", "dB", "carrier power to noise density, dB-Hz (diagnostic)"),
        Variable("delay", ("et", "link"), "float64", "s", "from the antenna to the receiver's time tag (identifier)"),
        *_LINK,
        _QUALITY,
    ),
    sizes={"link": 3}, context=False, chunk=7200, attrs=_ATTRS,
)  # fmt: skip

UPLINK = Schema(
    version=1,
    index="ramp",
    variables=(
        Variable("utc_day", ("ramp",), "int32", "d", "start of the ramp: modified Julian day of UTC (identifier)"),
        Variable("utc_second", ("ramp",), "float64", "s", "start of the ramp: second of that day (identifier)"),
        Variable("duration", ("ramp",), "float64", "s", "length of the ramp (identifier)"),
        Variable(
            "frequency", ("ramp",), "float64", "Hz", "transmitted frequency at the start of the ramp",
            source=f"{README}, step 2", uncertainties=(Uncertainty("systematic", ("ramp",)),), quality="quality",
        ),
        Variable("rate", ("ramp",), "float64", "Hz s-1", "rate of the transmitted frequency (identifier)"),
        Variable("station", ("ramp",), "int16", "1", "transmitting station, DSS number (identifier)"),
        Variable("band", ("ramp",), "int8", "1", "band as in TRK-2-34: 1 S, 2 X, 3 Ka (identifier)"),
        Variable("delay", ("ramp",), "float64", "s", "from the transmitter's time tag to the antenna (identifier)"),
        Variable("quality", ("ramp",), "uint32", "1", "quality bits"),
    ),
    context=False, chunk=1024, attrs={"et_is": "time of transmission at the station"},
)  # fmt: skip

_ZENITH = (_sigma("structured", "et", "complex"),)
MEDIA = Schema(
    version=1,
    index="et",
    variables=(
        Variable(
            "zenith_dry", ("et", "complex"), "float64", "m", "hydrostatic delay of the troposphere at the zenith",
            source=f"{README}, step 3", uncertainties=_ZENITH, quality="quality",
        ),
        Variable(
            "zenith_wet", ("et", "complex"), "float64", "m", "wet delay of the troposphere at the zenith",
            source=f"{README}, step 3", uncertainties=_ZENITH, quality="quality",
        ),
        Variable("complex_name", ("complex",), "str", "1", "complex of the DSN (identifier)"),
        Variable("quality", ("et", "complex"), "uint32", "1", "quality bits"),
    ),
    sizes={"complex": 3}, context=False, chunk=4096, attrs=_ON_EARTH,
)  # fmt: skip


def _orientation(name: str, units: str, words: str) -> Variable:
    random = Uncertainty("systematic", ("et",))
    return Variable(
        name, ("et",), "float64", units, words, source=f"{README}, step 4", uncertainties=(random,), quality="quality"
    )


ORIENTATION = Schema(
    version=1,
    index="et",
    variables=(
        Variable("mjd", ("et",), "float64", "d", "modified Julian day of UTC (identifier)"),
        _orientation("x", "mas", "pole, x"),
        _orientation("y", "mas", "pole, y"),
        _orientation("ut1_tai", "s", "UT1 less TAI"),
        _orientation("dx", "mas", "celestial pole from IAU 2006/2000A, dX"),
        _orientation("dy", "mas", "celestial pole from IAU 2006/2000A, dY"),
        Variable("quality", ("et",), "uint32", "1", "quality bits"),
    ),
    context=False, chunk=4096, attrs=_ON_EARTH,
)  # fmt: skip


def _effect(name: str, words: str, component: Component) -> Variable:
    return Variable(
        name, ("et", "link"), "float64", "Hz", f"what the {words} adds to the received frequency",
        source=f"{README}, step 6", uncertainties=(_sigma(component, "et", "link"),), quality="quality",
    )  # fmt: skip


RESIDUALS = Schema(
    version=1,
    index="et",
    variables=(
        *_TIMES,
        Variable(
            "computed", ("et", "link"), "float64", "Hz", "computed frequency in vacuum, mean over the count",
            source=f"{README}, step 5", uncertainties=(_sigma("systematic", "et", "link"),), quality="quality",
        ),
        _effect("effect_troposphere", "troposphere", "structured"),
        _effect("effect_spin", "spacecraft's spin in circular polarisation", "systematic"),
        _effect("effect_antenna", "motion of the antenna about the centre of mass", "systematic"),
        Variable(
            "residual", ("et", "link"), "float64", "Hz", "received less computed frequency and the effects above",
            source=f"{README}, step 6", quality="quality",
            uncertainties=tuple(_sigma(c, "et", "link") for c in COMPONENTS),
            comment="the plasma is still in it",
        ),
        Variable(
            "range_rate", ("et",), "float64", "mm s-1", "residual range rate of the links together, plasma removed",
            source=f"{README}, step 7", quality="range_rate_quality",
            uncertainties=tuple(_sigma(c, "et") for c in COMPONENTS),
            comment="half the two-way rate: -c/2 times the relative shift of the frequency",
        ),
        Variable(
            "stage", ("et", "stages"), "float64", "mm s-1",
            "residual range rate of the best link after each calibration in turn (diagnostic)",
        ),
        Variable("stage_name", ("stages",), "str", "1", "last calibration applied (identifier)"),
        Variable("plasma_up", ("et",), "float64", "1", "relative shift by the plasma of the uplink at X (diagnostic)"),
        Variable("plasma_down", ("et",), "float64", "1", "the same of the downlink, at the uplink's X (diagnostic)"),
        Variable("links", ("et",), "int8", "1", "number of links combined (count)"),
        Variable("light_time", ("et",), "float64", "s", "round trip in the station's time (diagnostic)"),
        Variable("et_spacecraft", ("et",), "float64", "s", "time at which the signal was at Juno, TDB (identifier)"),
        Variable("elevation_down", ("et",), "float32", "degree", "elevation at reception (diagnostic)"),
        Variable("elevation_up", ("et", "link"), "float32", "degree", "elevation at transmission (diagnostic)"),
        Variable("range_rate_quality", ("et",), "uint32", "1", "quality bits of range_rate"),
        *_LINK,
        _QUALITY,
    ),
    sizes={"link": 3, "stages": 4}, context=False, chunk=7200, attrs=_ATTRS,
)  # fmt: skip

RANGE_RATE = Schema(
    version=2,
    index="et",
    variables=(
        Variable(
            "range_rate", ("et",), "float64", "mm s-1", "residual range rate, mean over the interval",
            source=f"{README}, step 8", quality="quality",
            uncertainties=tuple(_sigma(c, "et") for c in COMPONENTS),
        ),
        Variable("stage", ("et", "stages"), "float64", "mm s-1", "the same after each calibration (diagnostic)"),
        Variable("stage_name", ("stages",), "str", "1", "last calibration applied (identifier)"),
        Variable("interval", (), "float64", "s", "length of the intervals (identifier)"),
        Variable("weight", ("et",), "float64", "s2 mm-2", "inverse variance, random and structured (diagnostic)"),
        Variable("coverage", ("et",), "float32", "1", "fraction of the interval with good counts (diagnostic)"),
        Variable("receiver", ("et",), "int16", "1", "receiving station, DSS number (identifier)"),
        Variable("transmitter", ("et",), "int16", "1", "transmitting station of the best link (identifier)"),
        Variable("links", ("et",), "int8", "1", "number of links combined (count)"),
        Variable("et_spacecraft", ("et",), "float64", "s", "time at which the signal was at Juno, TDB (identifier)"),
        Variable("quality", ("et",), "uint32", "1", "quality bits"),
    ),
    sizes={"stages": 4}, context=False, chunk=4096, attrs=_ATTRS,
)  # fmt: skip

STABILITY = Schema(
    version=1,
    index=None,
    variables=(
        Variable("averaging_time", ("tau",), "float64", "s", "averaging time (identifier)"),
        Variable("series_name", ("series",), "str", "1", "residuals of a link, or combined (identifier)"),
        Variable(
            "deviation", ("series", "tau"), "float64", "1", "overlapping Allan deviation of the relative frequency",
            source=f"{README}, step 9", uncertainties=(Uncertainty("random", ("series", "tau")),), quality="quality",
        ),
        Variable("number", ("series", "tau"), "int32", "1", "differences averaged (count)"),
        Variable("quality", ("series", "tau"), "uint32", "1", "quality bits"),
    ),
    sizes={"series": 4}, context=False,
)  # fmt: skip

GRAVITY = Schema(
    version=1,
    index=None,
    variables=(
        Variable("parameter_name", ("parameter",), "str", "1", "state at closest approach, harmonics (identifier)"),
        Variable("unit", ("parameter",), "str", "1", "unit of each parameter (identifier)"),
        Variable(
            "correction", ("parameter",), "float64", "1", "correction to the trajectory's model, in the unit of each",
            source=f"{README}, step 10", uncertainties=(Uncertainty("random", ("parameter",)),), quality="quality",
        ),
        Variable("prior", ("parameter",), "float64", "1", "a priori uncertainty (identifier)"),
        Variable("information", ("parameter",), "float64", "1", "part of the estimate from these data (diagnostic)"),
        Variable(
            "covariance", ("parameter", "parameter_other"), "float64", "1", "covariance of the corrections (diagnostic)"
        ),
        Variable("epoch", (), "float64", "s", "et of the state (identifier)"),
        Variable("chi2", (), "float64", "1", "weighted sum of squares of the residuals after the fit (diagnostic)"),
        Variable("freedom", (), "float64", "1", "its expectation (diagnostic)"),
        Variable("probability", (), "float64", "1", "of a larger chi2, if model and errors are right (diagnostic)"),
        Variable("runs_probability", (), "float64", "1", "of fewer or more runs of sign (diagnostic)"),
        Variable("accepted", (), "int8", "1", "1 where the residuals are those of the stated errors (flag)"),
        Variable("record_et", ("record",), "float64", "s", "reception of the residuals used (identifier)"),
        Variable("before", ("record",), "float64", "mm s-1", "residuals before the fit (diagnostic)"),
        Variable("after", ("record",), "float64", "mm s-1", "residuals after the fit (diagnostic)"),
        Variable("quality", ("parameter",), "uint32", "1", "quality bits"),
    ),
    sizes={"parameter": 11, "parameter_other": 11}, context=False,
)  # fmt: skip

OPEN_LOOP = Schema(
    version=1,
    index="et",
    variables=(
        Variable("utc_day", ("et",), "int32", "d", "middle of the interval: modified Julian day of UTC (identifier)"),
        Variable("utc_second", ("et",), "float64", "s", "middle of the interval: second of that day (identifier)"),
        Variable(
            "sky_frequency", ("et",), "float64", "Hz", "mean received frequency of the carrier over the interval",
            source=f"{README}, step 11", uncertainties=(Uncertainty("random", ("et",)),), quality="quality",
        ),
        Variable("power", ("et",), "float32", "dB", "carrier power to noise density, dB-Hz (diagnostic)"),
        Variable("quality", ("et",), "uint32", "1", "quality bits"),
    ),
    context=False, chunk=4096, attrs=_ATTRS,
)  # fmt: skip
