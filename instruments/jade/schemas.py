"""Layouts of the JADE products and the instrument's own quality bits."""

from __future__ import annotations

from typing import Literal

from pipeline.dataset.quality import Flag
from pipeline.dataset.schema import Schema, Uncertainty, Variable

MCP_OFF_COMMAND = Flag(16, "mcp_not_at_commanded", "microchannel plate not at the commanded voltage (ISSUES bit 17)")
UNOBSERVED = Flag(17, "unobserved", "no view fell into this look direction during the accumulation")
BLANKED = Flag(18, "blanked", "an anode or sensor was blanked or set to fill (ISSUES bits 13, 21, 22)")
BY_TABLE = Flag(
    19, "background_by_table", "no background anode in these data: a level of table background is subtracted", True
)
TIMING = Flag(20, "time_stutter", "time stamp affected by a stutter, perhaps one tick too large (ISSUES bit 10)", True)
NO_DEFLECTION = Flag(
    21, "deflection_unknown", "deflectors may have raised the look directions by up to 35 degrees; not modelled", True
)
FIELD_WRONG = Flag(22, "mag_vector_wrong", "MAG_VECTOR of version 01 was despun with a wrong clock; left out", True)
PARTIAL = Flag(23, "partial_coverage", "moment from less than 95 % of the phase space it needs")
REVERSED = Flag(24, "anodes_reversed", "order of the electron anodes reversed (ISSUES bit 15)")
E300 = Flag(
    25, "energy_doubtful", "sensor E300: energies may be wrong after a fault of its high voltage (ISSUES bit 18)"
)
BACKGROUND_KEPT = Flag(26, "background_kept", "background not subtracted, as asked for or as archived")
FLAGS = (
    MCP_OFF_COMMAND,
    UNOBSERVED,
    BLANKED,
    BY_TABLE,
    BACKGROUND_KEPT,
    TIMING,
    NO_DEFLECTION,
    FIELD_WRONG,
    PARTIAL,
    REVERSED,
    E300,
)

README = "instruments/jade/README.md"


def _errors(
    dims: tuple[str, ...], scale: str | None, kind: Literal["derived", "normal"] = "derived"
) -> tuple[Uncertainty, ...]:
    structured = (Uncertainty("structured", dims, err_scale=scale),) if scale else ()
    return (Uncertainty("random", dims, distribution=kind), Uncertainty("systematic", dims), *structured)


def _value(
    name: str,
    dims: tuple[str, ...],
    units: str,
    text: str,
    step: str,
    scale: str | None = None,
    comment: str | None = None,
    quality: str = "quality",
) -> Variable:
    source = f"{README}, {step}"
    errors = _errors(dims, scale)
    return Variable(name, dims, "float32", units, text, None, source, errors, quality, comment=comment)


def _head(index: str) -> tuple[Variable, ...]:
    return (
        Variable("mode", (index,), "int8", "1", "1 low rate, 2 high rate science (identifier)"),
        Variable("accumulation", (index,), "int32", "s", "length of the accumulation (identifier)"),
        Variable("issues", (index,), "uint32", "1", "ISSUES as archived (flag)"),
    )


def _directions(index: str) -> tuple[Variable, ...]:
    return (
        Variable(
            "azimuth_despun",
            (index, "look"),
            "float32",
            "degree",
            "azimuth of the look direction about the spin axis from ecliptic north, at the middle (diagnostic)",
            comment="Right-handed about +Z. Of HRS records it goes on with the spin through the sweep.",
        ),
        Variable(
            "elevation", (index, "look"), "float32", "degree", "elevation above the spin plane, +90 is +Z (diagnostic)"
        ),
    )


def _energy(index: str) -> Variable:
    text = "energy per charge, middle, as swept (identifier)"
    return Variable("energy_per_charge", (index, "energy"), "float32", "V", text)


def _counts(dims: tuple[str, ...]) -> tuple[Variable, ...]:
    poisson = (Uncertainty("random", dims, distribution="poisson"),)
    text, step = "counts in the accumulation, decompressed", f"{README}, step 1"
    expected = "expected counts, from neighbours (diagnostic)"
    quantum = "width of the bin of the compression, 0: none (diagnostic)"
    return (
        Variable("counts", dims, "float32", "1", text, None, step, poisson, "quality", optional=True),
        Variable("counts_expected", dims, "float32", "1", expected, optional=True),
        Variable("counts_quantum", dims, "float32", "1", quantum, optional=True),
    )


def _rate_variables(index: str, scale: str | None) -> tuple[Variable, ...]:
    dims = (index, "energy", "look")
    return (
        _value("rate", dims, "s-1", "count rate, less dead time and background", "steps 2 to 4", scale),
        *_counts(dims),
        Variable("exposure", dims, "float32", "s", "counting time in all (diagnostic)"),
        _energy(index),
        *_head(index),
        *_directions(index),
    )


_QUALITY3 = {i: Variable("quality", (i, "energy", "look"), "uint32", "1", "quality bits") for i in ("et", "record")}
_SPECIES = Variable("species", ("record",), "int8", "1", "species: SP0 to SP7, see table species (identifier)")
SWEEP = "one sweep of one sensor"

ELECTRON_RATE = Schema(
    1,
    "et",
    (
        *_rate_variables("et", SWEEP),
        Variable("background", ("et", "look"), "float32", "s-1", "background that was subtracted (diagnostic)"),
        Variable("background_error", ("et", "look"), "float32", "s-1", "its statistical uncertainty (diagnostic)"),
        Variable("mcp_voltage", ("et", "sensor"), "float32", "V", "commanded voltage of E060, E180, E300 (diagnostic)"),
        Variable(
            "mag_vector", ("et", "xyz"), "float32", "nT", "MAG_VECTOR of level 3, despun (diagnostic)", optional=True
        ),
        _QUALITY3["et"],
    ),
    sizes={"energy": 64, "look": 48, "sensor": 3},
    chunk=300,
    attrs={"looks": "HRS: anodes 0-15 of E060, of E180, of E300; LRS: 48 sectors of despun azimuth from 0 on"},
)

ION_RATE = Schema(
    1,
    "record",
    (
        *_rate_variables("record", None),
        _SPECIES,
        Variable("mcp_voltage", ("record",), "float32", "V", "commanded voltage of JADE-I (diagnostic)"),
        _QUALITY3["record"],
    ),
    sizes={"energy": 64, "look": 78},
    chunk=64,
)


# name, unit, text, step, comment
_FLUXES = (
    ("energy_flux", "cm-2 s-1 sr-1", "differential energy flux (archive: DEF, units code 6)", "step 5",
     "per eV/eV; times 1e4 in the units of code 3"),
    ("number_flux", "cm-2 s-1 sr-1 keV-1", "differential number flux (archive: DNF, units code 7)", "step 6", None),
    ("phase_space_density", "s3 m-6", "phase-space density (archive: PSD, units code 5)", "step 6",
     "in momentum over mass, relativistically; in the frame of the spacecraft"),
)  # fmt: skip


def _flux_variables(index: str, scale: str | None) -> tuple[Variable, ...]:
    dims = (index, "energy", "look")
    pitch = Variable(
        "pitch_angle",
        dims,
        "float32",
        "degree",
        "pitch angle of the particles, by mag.field_1s",
        None,
        f"{README}, step 7",
        (Uncertainty("systematic", dims),),
        "quality",
        optional=True,
        comment="NaN where there is no field; angle between velocity and field, opposite to the look direction",
    )
    response = "geometric factor times efficiency, rate over energy flux (diagnostic)"
    look = "look direction in System III at the middle (diagnostic)"
    return (
        *(_value(name, dims, unit, text, of, scale, comment) for name, unit, text, of, comment in _FLUXES),
        pitch,
        Variable("response", dims, "float32", "cm2 sr", response),
        _energy(index),
        Variable("look_iii", (index, "look", "xyz"), "float32", "1", look),
        *_head(index),
        *_directions(index),
    )


ELECTRON_FLUX = Schema(
    2,
    "et",
    (*_flux_variables("et", SWEEP), _QUALITY3["et"]),
    sizes={"energy": 64, "look": 48, "xyz": 3},
    chunk=300,
    attrs=ELECTRON_RATE.attrs,
)
ION_FLUX = Schema(
    2,
    "record",
    (*_flux_variables("record", None), _SPECIES, _QUALITY3["record"]),
    sizes={"energy": 64, "look": 78, "xyz": 3},
    chunk=64,
)

_LEFT_OUT = "Corrected for the spacecraft's velocity and potential; see README.md, step 8, for what is not observed."


NUMERIC = "as long as the distribution keeps its shape"


def _moment(name: str, dims: tuple[str, ...], units: str, text: str) -> Variable:
    source = f"{README}, step 8"
    errors = _errors(dims, NUMERIC, "normal")
    return Variable(name, dims, "float32", units, text, None, source, errors, "quality", comment=_LEFT_OUT)


ELECTRON_MOMENTS = Schema(
    1,
    "et",
    (
        _moment("density", ("et",), "cm-3", "electron density, distribution taken as isotropic"),
        _moment("pressure", ("et",), "Pa", "electron pressure, distribution taken as isotropic"),
        _moment("temperature", ("et",), "eV", "electron temperature, pressure over density"),
        Variable("coverage", ("et",), "float32", "1", "fraction of the samples that are good (diagnostic)"),
        Variable(
            "low_energy", ("et",), "float32", "eV", "lower end of the energies used, at the instrument (diagnostic)"
        ),
        *_head("et"),
        Variable("quality", ("et",), "uint32", "1", "quality bits"),
    ),
    chunk=4096,
)

_S = ("et", "species")
ION_MOMENTS = Schema(
    1,
    "et",
    (
        _moment("density", _S, "cm-3", "ion density"),
        _moment("velocity", (*_S, "xyz"), "km s-1", "bulk velocity, inertial, along the axes of System III"),
        _moment("velocity_corotating", (*_S, "xyz"), "km s-1", "bulk velocity less rigid corotation, System III"),
        _moment("temperature", _S, "eV", "ion temperature, a third of the trace of pressure over density"),
        Variable(
            "pressure",
            (*_S, "xyz", "xyz_other"),
            "float32",
            "Pa",
            "pressure tensor along the axes of System III (diagnostic)",
        ),
        Variable("coverage", _S, "float32", "1", "fraction of the samples that are good (diagnostic)"),
        *_head("et"),
        Variable("quality", _S, "uint32", "1", "quality bits"),
    ),
    sizes={"xyz": 3, "xyz_other": 3, "species": 8},
    chunk=4096,
    attrs={"species_overlap": "SP4: O+ and S++ have one mass per charge and are not told apart; mass of O+ assumed"},
)

# Logicals and times of flight


def _quality(name: str, dims: tuple[str, ...]) -> Variable:
    return Variable(name, dims, "uint32", "1", "quality bits")


_PLANE, _COUNTER, _TOF, _MASS = (
    ("et", "energy"),
    ("et", "energy", "counter"),
    ("et", "energy", "tof"),
    ("et", "energy", "mass"),
)
ONE_ENERGY = "the bins of one energy"
COUNTERS = "0 to 11 starts, 12 to 23 coincidences, by anode; 24 stops (placeholder: table logicals)"
MASSES = "H+, He++, O++, S+++, O+ and S++, Na+, S+ (table time_of_flight)"

ION_LOGICALS = Schema(
    1,
    "et",
    (
        _value("rate", _COUNTER, "s-1", "rate of a logical counter, less dead time", "step 9"),
        *_counts(_COUNTER),
        _quality("quality", _COUNTER),
        _value("stop_efficiency", _PLANE, "1", "coincidences over starts", "step 9", quality="stop_quality"),
        _value("start_efficiency", _PLANE, "1", "coincidences over stops", "step 9", quality="start_quality"),
        _quality("stop_quality", _PLANE),
        _quality("start_quality", _PLANE),
        _energy("et"),
        *_head("et"),
    ),
    sizes={"energy": 64, "counter": 25},
    chunk=128,
    attrs={"counters": COUNTERS},
)

ION_MASSES = Schema(
    1,
    "et",
    (
        _value("rate", _TOF, "s-1", "rate by flight time, less dead time and accidentals", "step 10", ONE_ENERGY),
        *_counts(_TOF),
        _quality("quality", _TOF),
        Variable("flight_time", ("et", "tof"), "float32", "ns", "flight time, middle of the bin (identifier)"),
        _value("mass_rate", _MASS, "s-1", "rate of a mass, all anodes", "step 10", ONE_ENERGY, quality="mass_quality"),
        _value(
            "energy_flux", _MASS, "cm-2 s-1 sr-1", "differential energy flux of a mass, mean over all views", "step 10",
            ONE_ENERGY, quality="mass_quality",
        ),
        _quality("mass_quality", _MASS),
        _energy("et"),
        *_head("et"),
    ),
    sizes={"energy": 64, "tof": 96, "mass": 7},
    chunk=64,
    attrs={"masses": MASSES, "species_overlap": "S++ flies as long as O+, nearly; they are not told apart"},
)  # fmt: skip
