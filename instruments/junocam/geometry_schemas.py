"""Layouts of the products of geometry: attitude, per-pixel geometry, maps; and their quality bits."""

from __future__ import annotations

from instruments.junocam.spin import NAMES
from pipeline.dataset.quality import Flag
from pipeline.dataset.schema import Schema, Uncertainty, Variable

LABEL_POSITION = Flag(24, "label_position", "position of Juno from the image's label", condition=True)
LIMB_ATTITUDE = Flag(25, "limb_attitude", "attitude from the limb, no kernel has it", condition=True)
LIMB_POOR = Flag(26, "limb_poor", "the limb was not found, or does not fit")
OFF_PLANET = Flag(27, "off_planet", "looks past Jupiter's 1 bar level")
SEAM = Flag(28, "seam", "seen by the rim of a framelet only")
NIGHT = Flag(29, "low_sun", "the Sun is too low for its light to be divided out")
GEOMETRY_FLAGS = (LABEL_POSITION, LIMB_ATTITUDE, LIMB_POOR, OFF_PLANET, SEAM, NIGHT)

_EACH = ("framelet",)
_FILTER = Variable("filter", _EACH, "str", "1", "filter: BLUE, GREEN, RED or METHANE")
_FRAME = Variable("frame", _EACH, "int32", "1", "number of the frame in the image, from 0; its filters share it")


def _scalar(name: str, units: str, text: str, dtype: str = "float64", comment: str | None = None) -> Variable:
    return Variable(name, (), dtype, units, text, comment=comment)


ATTITUDE = Schema(
    version=1,
    index="framelet",
    variables=(
        Variable(
            "quaternion",
            ("framelet", "q"),
            "float64",
            "1",
            "rotation v_spacecraft = M v_J2000 at et_pointing, scalar first",
            source="instruments/junocam/README.md, geometry",
            uncertainties=(Uncertainty("systematic", _EACH),),
            quality="quality",
            comment="SPICE frame JUNO_SPACECRAFT. The uncertainty is half the angle's, of any component.",
        ),
        Variable(
            "position",
            ("framelet", "xyz"),
            "float64",
            "km",
            "Juno from the centre of Jupiter at et_pointing, J2000",
            source="instruments/junocam/README.md, geometry",
            uncertainties=(Uncertainty("systematic", ()),),
            quality="quality",
        ),
        Variable("et_pointing", _EACH, "float64", "s", "et that stands for the framelet (see instant)"),
        Variable("centre_line", _EACH, "float64", "1", "line of the kernel's optical axis in the framelet, px"),
        Variable("pointing_sigma", _EACH, "float64", "rad", "one sigma of Jupiter's direction (diagnostic)"),
        Variable("twist_sigma", _EACH, "float64", "rad", "one sigma of the turn about that direction (diagnostic)"),
        Variable("limb_points", _EACH, "int32", "1", "places where the limb was found (count)"),
        Variable("limb_used", _EACH, "int32", "1", "of these, places that agree with the solution (count)"),
        Variable("limb_mean", _EACH, "float32", "1", "mean distance of those used from the limb, px (diagnostic)"),
        Variable("limb_rms", _EACH, "float32", "1", "root mean square of the same, px (diagnostic)"),
        Variable("limb_rms_all", _EACH, "float32", "1", "root mean square of all places found, px (diagnostic)"),
        Variable(
            "parameter",
            ("parameter_name",),
            "float64",
            "1",
            "corrections of the nominal attitude, heights of the limb; rad, rad/s, km",
            source="instruments/junocam/spin.py",
            uncertainties=(Uncertainty("systematic", ("parameter_name",)),),
            quality="parameter_quality",
        ),
        Variable("parameter_quality", ("parameter_name",), "uint32", "1", "quality bits of the parameters"),
        Variable("prior", ("parameter_name",), "float64", "1", "their values before the fit (diagnostic)"),
        Variable("prior_sigma", ("parameter_name",), "float64", "1", "and deviations; -1: not known (diagnostic)"),
        Variable("covariance", ("parameter_name", "parameter_other"), "float64", "1", "covariance (diagnostic)"),
        _scalar("start_offset", "s", "turn as an offset of the start time; NaN: no kernel has the phase (diagnostic)"),
        _scalar("limb_scale", "1", "robust deviation of the places from the limb, px (diagnostic)"),
        _scalar("position_time_shift", "s", "by how much the trajectory was taken later than et (diagnostic)"),
        Variable(
            "label_difference",
            ("orbital",),
            "float64",
            "km",
            "label less trajectory: along the velocity, the orbit's normal, across both; NaN: not both (diagnostic)",
        ),
        _scalar("basis", "1", "what the geometry rests on", "str"),
        _scalar("instant", "1", "what of the exposure stands for a framelet", "str"),
        _scalar("camera_model", "1", "model of the camera", "str"),
        Variable("quality", _EACH, "uint32", "1", "quality bits"),
    ),
    coords=(
        _FILTER,
        _FRAME,
        Variable("parameter_name", ("parameter_name",), "str", "1", "name of the parameter"),
    ),
    sizes={"q": 4, "xyz": 3, "orbital": 3, "parameter_name": len(NAMES), "parameter_other": len(NAMES)},
    context=False,
    chunk=256,
)  # fmt: skip

_SAMPLES = ("framelet", "line", "sample")
_MOVED = (Uncertainty("systematic", _SAMPLES),)
_SURFACE = "instruments/junocam/README.md, geometry; ellipsoid of 71492 and 66854 km"
# Name in `pipeline.geometry.surface.Surface`: unit, meaning, uncertainties.
ANGLES = {
    "latitude_planetocentric": ("degree", "planetocentric latitude of the point seen, System III", _MOVED),
    "latitude_planetographic": ("degree", "planetographic latitude of the point seen", _MOVED),
    "longitude_east": ("degree", "longitude of the point seen, System III, east, 0 to 360", _MOVED),
    "emission": ("degree", "emission angle", _MOVED),
    "incidence": ("degree", "incidence angle of sunlight", _MOVED),
    "phase": ("degree", "phase angle (diagnostic)", ()),
    "range": ("km", "distance from Juno to the point seen", (Uncertainty("systematic", ()),)),
}

GEOMETRY = Schema(
    version=1,
    index="framelet",
    variables=(
        *(
            Variable(name, _SAMPLES, "float32", units, text, source=_SURFACE, uncertainties=parts, quality="quality")
            for name, (units, text, parts) in ANGLES.items()
        ),
        Variable("quality", _SAMPLES, "uint32", "1", "quality bits"),
    ),
    coords=(_FILTER, _FRAME),
    context=False,
    chunk=8,
    attrs={"longitude": "east; west longitude is 360 less it"},
)

_LAYERED, _FLAT = ("band", "row", "column"), ("row", "column")


def _sheet(*others: Variable, coords: tuple[Variable, ...] = ()) -> Schema:
    """Layout of a picture on a grid."""
    return Schema(
        version=1,
        index=None,
        variables=(
            Variable(
                "i_over_f",
                _LAYERED,
                "float32",
                "1",
                "I/F, illumination divided out where `illumination` says so",
                source="instruments/junocam/README.md, maps",
                uncertainties=(
                    Uncertainty("random", _LAYERED, distribution="derived"),
                    Uncertainty("systematic", ("band",), relative=True),
                ),
                quality="quality",
            ),
            Variable("weight", _LAYERED, "float32", "1", "weight of all framelets in the mean (diagnostic)"),
            Variable("framelets", _LAYERED, "uint8", "1", "framelets in the mean (count)"),
            Variable("emission", _FLAT, "float32", "degree", "emission angle, mean; NaN: not seen (diagnostic)"),
            Variable("incidence", _FLAT, "float32", "degree", "incidence angle, mean; NaN: not seen (diagnostic)"),
            Variable(
                "place_sigma", _FLAT, "float32", "km", "one sigma of the place across the line of sight (diagnostic)"
            ),
            Variable("illumination", (), "str", "1", "light that was divided out: none, lambert or minnaert"),
            Variable("basis", (), "str", "1", "what the geometry rests on"),
            *others,
            Variable("quality", _LAYERED, "uint32", "1", "quality bits"),
        ),
        coords=(Variable("band", ("band",), "str", "1", "filter: BLUE, GREEN, RED or METHANE"), *coords),
        context=False,
    )


MAP = _sheet(
    Variable("projection", (), "str", "1", "equirectangular, or polar stereographic of the north or south"),
    coords=(
        Variable("longitude_east", _FLAT, "float32", "degree", "longitude in System III, east", "longitude"),
        Variable("latitude_planetocentric", _FLAT, "float32", "degree", "planetocentric latitude", "latitude"),
    ),
)
COLOUR = _sheet()
