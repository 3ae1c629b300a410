"""Layouts of the SRU products and the instrument's own quality bits."""

from __future__ import annotations

from pipeline.dataset.quality import Flag
from pipeline.dataset.schema import Schema, Uncertainty, Variable

HOT = Flag(16, "hot_pixel", "dark level of the pixel far above its neighbours'")
STAR = Flag(17, "star", "light of a star of the catalogue is expected here", condition=True)
PLANET = Flag(18, "planet", "looks at Jupiter or close to its limb", condition=True)
NO_STACK = Flag(
    19, "dark_by_row", "too few images of these settings in the pass: dark level by row, not by pixel", condition=True
)
CORE = Flag(20, "hit_core", "above the threshold for hits of particles: part of a cluster")
TIME_CONFLICT = Flag(21, "time_conflict", "clock count and UTC of the label contradict each other")
OFFSET_ODD = Flag(22, "offset_odd", "offset of the image far from that of its unit")
OCCULTED = Flag(23, "occulted", "the star is behind Jupiter or close to its limb")
BLENDED = Flag(24, "blended", "another star is within the pixels that are fitted")
SMEARED = Flag(25, "smeared", "the star moves over more of the image than is fitted")
FAINT = Flag(26, "faint", "the star is expected to be too faint to be measured")
OVERLAP = Flag(27, "overlap", "so many hits that they overlap: clusters cannot be counted")
SHALLOW = Flag(
    28, "shallow", "stars too faint for the catalogue reach the threshold of hits: some clusters may be stars",
    condition=True,
)  # fmt: skip
SPARSE = Flag(29, "sparse", "so few hits that clusters are counted rather than charge summed")
DAY = Flag(30, "day_side", "bright part of Jupiter: hits are not looked for")
CROWDED = Flag(31, "crowded", "so many hits in the image that one may lie unnoticed under the star")
FLAGS = (
    HOT, STAR, PLANET, NO_STACK, CORE, TIME_CONFLICT, OFFSET_ODD, OCCULTED, BLENDED, SMEARED, FAINT, OVERLAP, SHALLOW,
    SPARSE, DAY, CROWDED,
)  # fmt: skip

README = "instruments/sru/README.md"
PIXELS = {"row": 512, "column": 512}


def _scalar(name: str, dtype: str, units: str, text: str) -> Variable:
    return Variable(name, (), dtype, units, text)


_SHOT = (
    _scalar("unit", "int8", "1", "unit of the SRU, 1 or 2 (identifier)"),
    _scalar("start_et", "float64", "s", "begin of the exposure, TDB past J2000 (identifier)"),
    _scalar("exposure", "float64", "s", "duration of the exposure (identifier)"),
    _scalar("tdi", "int8", "1", "1 where rows were shifted with the spin (flag)"),
)

DARK = Schema(
    version=1,
    index=None,
    variables=(
        Variable(
            "level",
            ("setting", "row", "column"),
            "float32",
            "1",
            "dark level with mean sky, DN above the offset of the image",
            source=f"{README}, step 3",
            uncertainties=(Uncertainty("random", ("setting", "row", "column")),),
            quality="quality",
        ),
        Variable("number", ("setting", "row", "column"), "int16", "1", "images in the mean (count)"),
        Variable("quality", ("setting", "row", "column"), "uint32", "1", "quality bits"),
        Variable("setting_unit", ("setting",), "int8", "1", "unit (identifier)"),
        Variable("setting_exposure", ("setting",), "float64", "s", "exposure (identifier)"),
        Variable("setting_tdi", ("setting",), "int8", "1", "1 with time delay integration (identifier)"),
        Variable("image_et", ("image",), "float64", "s", "begin of the images looked at, TDB past J2000 (identifier)"),
        Variable("image_unit", ("image",), "int8", "1", "their unit (identifier)"),
        Variable("image_used", ("image",), "int8", "1", "1 where an image is in the mean (flag)"),
        Variable("image_offset", ("image",), "float64", "1", "their offset, DN (diagnostic)"),
    ),
    sizes=PIXELS,
    context=False,
    chunk=1,
)

IMAGE = Schema(
    version=1,
    index="row",
    variables=(
        Variable(
            "rate",
            ("row", "column"),
            "float32",
            "s-1",
            "electrons per second above the dark sky",
            source=f"{README}, steps 1 to 5",
            uncertainties=(
                Uncertainty("random", ("row", "column")),
                Uncertainty("systematic", ("row",), relative=True),
                Uncertainty("structured", ("row",), err_scale="one image"),
            ),
            quality="quality",
            comment="The random error holds that of the dark level, which images of one setting share pixel by pixel. "
            "A uniform sky goes with the offset: the array has no masked pixels.",
        ),
        Variable("row_exposure", ("row",), "float64", "s", "time for which a row collected light (diagnostic)"),
        Variable(
            "noise",
            ("row",),
            "float64",
            "1",
            "one sigma of a dark pixel of the row that is not in the dark level, DN (diagnostic)",
        ),
        Variable("quality", ("row", "column"), "uint32", "1", "quality bits"),
        *_SHOT,
        _scalar("gain", "float64", "1", "electrons per DN (diagnostic)"),
        _scalar("offset", "float64", "1", "offset of the image, DN (diagnostic)"),
        _scalar("offset_error", "float64", "1", "one sigma of the offset, DN (diagnostic)"),
        _scalar("threshold", "float64", "1", "sigmas above its surroundings that make a pixel a hit (identifier)"),
    ),
    sizes=PIXELS,
    chunk=512,
    attrs={"record": "a row of the image; et is the middle of the time for which it collected light"},
)

STARS = Schema(
    version=1,
    index="star",
    variables=(
        Variable(
            "place",
            ("star", "axis"),
            "float64",
            "1",
            "mean row and column of the star's light, from 0 at the centre of the first pixel",
            source=f"{README}, step 7",
            uncertainties=(Uncertainty("random", ("star", "axis")),),
            quality="quality",
        ),
        Variable(
            "expected_place", ("star", "axis"), "float64", "1", "place expected by attitude and catalogue (diagnostic)"
        ),
        Variable(
            "rate",
            ("star",),
            "float64",
            "s-1",
            "electrons per second of the star",
            source=f"{README}, step 7",
            uncertainties=(
                Uncertainty("random", ("star",)),
                Uncertainty("systematic", ("star",), relative=True),
            ),
            quality="quality",
        ),
        Variable(
            "magnitude",
            ("star",),
            "float64",
            "1",
            "magnitude in the band of the camera, as measured",
            source=f"{README}, step 7",
            uncertainties=(
                Uncertainty("random", ("star",), distribution="derived"),
                Uncertainty("systematic", ("star",)),
            ),
            quality="quality",
        ),
        Variable(
            "expected_magnitude", ("star",), "float64", "1", "magnitude in the band, by the catalogue (diagnostic)"
        ),
        Variable("hip", ("star",), "int32", "1", "number in the Hipparcos catalogue (identifier)"),
        Variable("chi2", ("star",), "float64", "1", "misfit per degree of freedom (diagnostic)"),
        Variable("quality", ("star",), "uint32", "1", "quality bits"),
        Variable(
            "pointing",
            ("angle",),
            "float64",
            "1",
            "rows, columns and turn (times 256 pixels) by which stars are off what is expected",
            source=f"{README}, step 7",
            uncertainties=(Uncertainty("random", ("angle",)),),
            quality="pointing_quality",
        ),
        Variable("pointing_quality", ("angle",), "uint32", "1", "quality bits"),
        _scalar("matched", "int32", "1", "stars measured (count)"),
    ),
    sizes={"axis": 2, "angle": 3},
    chunk=1024,
    attrs={"record": "a star in the field; et is the middle of the time for which its light was collected"},
)

_COUNT = "so many per square centimetre of the array and second"


def _rates(dims: tuple[str, ...], source: str, *, suffix: str = "") -> tuple[Variable, ...]:
    both = (Uncertainty("random", dims), Uncertainty("systematic", dims, relative=True))
    return (
        Variable(
            "cluster_rate",
            dims,
            "float64",
            "cm-2 s-1",
            f"hits of penetrating particles, {_COUNT}{suffix}",
            source=source,
            uncertainties=both,
            quality="cluster_quality",
        ),
        Variable(
            "noise_rate",
            dims,
            "float64",
            "cm-2 s-1",
            f"charge they leave in DN, {_COUNT}{suffix}",
            source=source,
            uncertainties=both,
            quality="noise_quality",
        ),
        Variable("cluster_quality", dims, "uint32", "1", "quality bits"),
        Variable("noise_quality", dims, "uint32", "1", "quality bits"),
    )


HITS = Schema(
    version=1,
    index=None,
    variables=(
        *_rates((), f"{README}, step 8"),
        _scalar("middle_et", "float64", "s", "middle of the exposure, TDB past J2000 (identifier)"),
        *_SHOT,
        _scalar("clusters", "int32", "1", "clusters found (count)"),
        _scalar("deposited", "float64", "1", "charge left by hits, DN (diagnostic)"),
        _scalar(
            "cluster_area", "float64", "cm2 s", "area times exposure in which clusters are looked for (diagnostic)"
        ),
        _scalar("noise_area", "float64", "cm2 s", "area times exposure over which charge is summed (diagnostic)"),
        _scalar("completeness", "float64", "1", "clusters counted per hit (diagnostic)"),
        _scalar("completeness_slope", "float64", "1", "clusters gained per hit gained (diagnostic)"),
        _scalar(
            "charge_share", "float64", "1", "share of the charge of hits found above the level of the sky (diagnostic)"
        ),
        _scalar("density", "float64", "1", "hits per pixel of those looked at (diagnostic)"),
        _scalar(
            "limiting_magnitude", "float64", "1", "magnitude of a star that just reaches the threshold (diagnostic)"
        ),
    ),
    context=False,
)

COUNT_RATE = Schema(
    version=1,
    index="image",
    variables=(
        *_rates(("image",), f"{README}, step 9", suffix="; exactly one of both rates is given"),
        Variable("unit", ("image",), "int8", "1", "unit of the SRU, 1 or 2 (identifier)"),
        Variable("clusters", ("image",), "int32", "1", "clusters found (count)", optional=True),
        Variable(
            "detected_rate",
            ("image",),
            "float64",
            "cm-2 s-1",
            "clusters found, not corrected for what is missed or merged (diagnostic): what the archive's table holds",
            optional=True,
        ),
        Variable("completeness", ("image",), "float64", "1", "clusters counted per hit (diagnostic)", optional=True),
    ),
    chunk=1024,
    attrs={"record": "an image; et is the middle of its exposure"},
)
