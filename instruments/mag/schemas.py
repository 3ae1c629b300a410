"""Layouts of the MAG products and the instrument's own quality bits."""

from __future__ import annotations

from typing import Literal

from pipeline.dataset.quality import Flag
from pipeline.dataset.schema import Component, Schema, Uncertainty, Variable

RANGE_CHANGE = Flag(
    16, "range_change", "within one sample of a change of the instrument's range: may carry a transient"
)
EDDY_UNCORRECTED = Flag(17, "eddy_uncorrected", "field of eddy currents in the spacecraft not removed")
SPACECRAFT_UNCORRECTED = Flag(18, "spacecraft_uncorrected", "static field of the spacecraft not removed")
PARTIAL = Flag(
    19,
    "partial_average",
    "less than 95 % of the interval of the average is covered by good samples, or an edge of it lies in a gap, or "
    "fewer than 4 samples are averaged",
)
MIXED_RANGE = Flag(20, "mixed_range", "the average combines samples of more than one range", condition=True)
RANGE_UNKNOWN = Flag(21, "range_unknown", "range code without a meaning in table ranges")
FLAGS = (RANGE_CHANGE, EDDY_UNCORRECTED, SPACECRAFT_UNCORRECTED, PARTIAL, MIXED_RANGE, RANGE_UNKNOWN)


# Nodes of table bench; the errors of neighbouring nodes are independent.
BENCH_SCALE = "600 s"

FRAMES = {
    "payload": ("JUNO_SPACECRAFT", "spinning spacecraft frame (archive: payload)"),
    "j2000": ("J2000", "inertial frame J2000"),
    "pc": ("IAU_JUPITER", "System III (1965), right-handed (archive: planetocentric)"),
    "ss": ("JUNO_JSO", "Sun-state frame: X toward the Sun, Z near the orbit's northward normal (archive: sun-state)"),
}


def _component(component: Component) -> Uncertainty:
    scale = BENCH_SCALE if component == "structured" else None
    distribution: Literal["derived", "normal"] = "derived" if component == "random" else "normal"
    return Uncertainty(component, ("et", "xyz"), err_scale=scale, distribution=distribution)


def _vectors(kind: str, source: str, *, mean: bool = False) -> tuple[Variable, ...]:
    random = Uncertainty("random", ("et", "xyz")) if mean else _component("random")
    return tuple(
        Variable(
            f"b_{name}",
            ("et", "xyz"),
            "float32",
            "nT",
            f"{kind} in {words}",
            source=source,
            uncertainties=(random, _component("systematic"), _component("structured")),
            quality="quality",
            comment=f"SPICE frame {frame}",
        )
        for name, (frame, words) in FRAMES.items()
    )


_RANGE = Variable(
    "range", ("et",), "int8", "1", "dynamic range, 0 the most sensitive; -1 unknown (identifier)", source="table ranges"
)
_SENSOR = Variable("sensor", ("et",), "uint8", "1", "sensor: 0 outboard, 1 inboard, 255 not stated (identifier)")
_QUALITY = Variable("quality", ("et",), "uint32", "1", "quality bits")

FIELD = Schema(
    version=1,
    index="et",
    variables=(
        *_vectors("magnetic field", "instruments/mag/README.md, steps 1 to 9"),
        Variable(
            "b_sensor",
            ("et", "axis"),
            "float32",
            "nT",
            "magnetic field along the sensor's own axes, the spacecraft's field included",
            source="instruments/mag/README.md, steps 1 and 2",
            uncertainties=(Uncertainty("random", ("et", "axis"), distribution="quantised"),),
            quality="quality",
            optional=True,
            comment="Here the converter rounds, so here the random errors are independent and of known distribution.",
        ),
        Variable("b_sensor_quantum", ("et", "axis"), "float32", "nT", "field of one count (diagnostic)", optional=True),
        _RANGE,
        Variable("range_code", ("et",), "uint8", "1", "range code as telemetered or archived (identifier)"),
        _SENSOR,
        Variable("rate", ("et",), "float32", "s-1", "samples per second (identifier)"),
        Variable("temperature", ("et",), "float32", "degC", "temperature of the sensor (diagnostic)", optional=True),
        _QUALITY,
    ),
    sizes={"xyz": 3, "axis": 3},
    chunk=38400,
    attrs={"zero_levels": "from table zero, or the archive's; not estimated within a pass: see product mag.zeros"},
)


def _mean(seconds: int) -> Schema:
    source = "instruments/mag/README.md, step 10"
    return Schema(
        version=1,
        index="et",
        variables=(
            *_vectors(
                f"mean magnetic field over {seconds} s, formed in J2000, turned at the centre time,", source, mean=True
            ),
            Variable("number", ("et",), "int32", "1", "samples in the mean (count)"),
            Variable(
                "coverage", ("et",), "float32", "1", "fraction of the interval covered by good samples (diagnostic)"
            ),
            Variable(
                "magnitude", ("et",), "float32", "nT", "mean of the field's magnitude over the interval (diagnostic)"
            ),
            _RANGE,
            _SENSOR,
            _QUALITY,
        ),
        sizes={"xyz": 3},
        chunk=3600,
        attrs={"interval": f"{seconds} s, edges at whole multiples of it in et; et is the centre"},
    )


FIELD_1S = _mean(1)
FIELD_60S = _mean(60)

MODEL = Schema(
    version=1,
    index="et",
    variables=(
        Variable(
            "b_internal",
            ("et", "xyz"),
            "float32",
            "nT",
            "field of JRM33 in System III (diagnostic, a model)",
            source="Connerney et al. 2022, J. Geophys. Res. Planets 127, e2021JE007055",
        ),
        Variable(
            "b_disc",
            ("et", "xyz"),
            "float32",
            "nT",
            "field of the magnetodisc con2020 in System III (diagnostic, a model)",
            source="Connerney et al. 2020, J. Geophys. Res. Space Physics 125, e2020JA028138",
        ),
        Variable(
            "residual",
            ("et", "xyz"),
            "float32",
            "nT",
            "measured less modelled field in System III (diagnostic)",
            source="instruments/mag/README.md, step 13",
            uncertainties=(_component("random"), _component("systematic"), _component("structured")),
            quality="quality",
            comment="Uncertainty of the measurement; harmonics above the model's degree are 2 to 4 % at perijove.",
        ),
        Variable(
            "residual_magnitude",
            ("et",),
            "float32",
            "nT",
            "measured less modelled magnitude (diagnostic)",
            quality="quality",
        ),
        Variable("degree", ("et",), "int8", "1", "degree of JRM33 (identifier)"),
        _QUALITY,
    ),
    sizes={"xyz": 3},
    chunk=3600,
)

ZEROS = Schema(
    version=1,
    index="et",
    variables=(
        Variable(
            "zero_spin",
            ("et", "plane"),
            "float64",
            "nT",
            "spin-plane zero left in the calibrated field, fitted over one spin, spacecraft x and y",
            source="instruments/mag/README.md, step 11",
            uncertainties=(Uncertainty("random", ("et", "plane")),),
            quality="quality",
        ),
        Variable(
            "leakage",
            ("et",),
            "float64",
            "nT",
            "zero that the field's own second derivative feigns in this fit (diagnostic, predicted)",
        ),
        Variable("offered", ("et",), "int8", "1", "1 where the leakage is below the formal error (flag)"),
        _RANGE,
        Variable(
            "zero",
            ("range_index", "xyz"),
            "float64",
            "nT",
            "zero left in the calibrated field, by range, spacecraft frame",
            source="instruments/mag/README.md, steps 11 and 12",
            uncertainties=(Uncertainty("random", ("range_index", "xyz")),),
            quality="zero_quality",
            comment="x and y from spins, z by Davis and Smith; add zero_sensor to table zero to remove it.",
        ),
        Variable(
            "zero_covariance", ("range_index", "xyz", "xyz_other"), "float64", "nT2", "covariance of zero (diagnostic)"
        ),
        Variable(
            "zero_leakage",
            ("range_index", "xyz"),
            "float64",
            "nT",
            "zero feigned by the field's own changes (diagnostic)",
        ),
        Variable(
            "zero_offered", ("range_index", "xyz"), "int8", "1", "1 where the leakage is below the formal error (flag)"
        ),
        Variable(
            "zero_sensor",
            ("range_index", "axis"),
            "float64",
            "nT",
            "zero in the axes of the sensor (diagnostic); NaN unless offered",
        ),
        Variable("zero_quality", ("range_index", "xyz"), "uint32", "1", "quality bits: suspect where not offered"),
        Variable("spins", ("range_index",), "int32", "1", "number of spins (count)"),
        _QUALITY,
    ),
    sizes={"plane": 2, "xyz": 3, "xyz_other": 3, "axis": 3, "range_index": 6},
    context=False,
    chunk=1024,
)
