"""Layouts of the MWR products and the instrument's own quality bits."""

from __future__ import annotations

from pipeline.dataset.quality import Flag
from pipeline.dataset.schema import Schema, Uncertainty, Variable

DIODE_FAILED = Flag(
    16, "diode_left_out", "a noise diode disagrees with the other two and is left out of the gain", condition=True
)
REFERENCE_LOST = Flag(17, "no_reference", "no counts of the internal load, no temperatures or no gain near this time")
EQUATION = Flag(18, "equation_differs", "TA of the archive is not TOFF + (AntCnt - RefCnt) / G of its own columns")
UNRESOLVED = Flag(19, "disc_unresolved", "Jupiter is too small in the sky for the model of the beam to resolve it")
NO_INFORMATION = Flag(20, "not_determined", "the records of the pass hardly constrain this coefficient")
BELTS_BRIGHT = Flag(21, "belts_bright", "synchrotron emission is a large part of the uncertainty", condition=True)
FLAGS = (DIODE_FAILED, REFERENCE_LOST, EQUATION, UNRESOLVED, NO_INFORMATION, BELTS_BRIGHT)

README = "instruments/mwr/README.md"
SMOOTHING_SCALE = "30 s (load) to 240 s (gain)"


def _quality(*dims: str, name: str = "quality") -> Variable:
    return Variable(name, dims, "uint32", "1", "quality bits")


STREAM = Variable("stream", ("stream",), "str", "1", "output of a receiver; of R1 and R2 _1 has low and _2 high gain")
CHANNEL = Variable("channel", ("channel",), "str", "1", "channel, one per receiver and antenna")

DEFLECTIONS = Schema(
    version=1,
    index="et",
    variables=(
        Variable(
            "deflection", ("et", "stream"), "float32", "1", "counts with a noise diode on less counts without",
            source=f"{README}, step 1", uncertainties=(Uncertainty("random", ("et", "stream")),), quality="quality",
        ),
        Variable("base", ("et", "stream"), "float32", "1", "counts without the diode, less the offset (diagnostic)"),
        Variable(
            "tnd", ("et", "stream"), "float32", "K", "brightness of the diode referred to the aperture",
            source=f"{README}, step 2", uncertainties=(Uncertainty("systematic", ("et", "stream")),), quality="quality",
        ),
        Variable("diode", ("et", "stream"), "uint8", "1", "number of the diode that is on; 0 none (identifier)"),
        Variable("position", ("et", "stream"), "uint8", "1", "0 antenna, 1 internal load (identifier)"),
        _quality("et", "stream"),
    ),
    coords=(STREAM,),
    sizes={"stream": 8},
    context=False,
    chunk=4096,
)  # fmt: skip

GAIN = Schema(
    version=1,
    index="et",
    variables=(
        Variable(
            "gain", ("et", "stream"), "float64", "K-1", "counts per kelvin at the aperture, linear scale",
            source=f"{README}, step 3",
            uncertainties=(
                Uncertainty("systematic", ("et", "stream")),
                Uncertainty("structured", ("et", "stream"), err_scale="240 s"),
            ),
            quality="quality",
        ),
        Variable("smoothing_error", ("et", "stream"), "float64", "1", "relative sigma of smoothed noise (diagnostic)"),
        Variable("diode_error", ("et", "stream"), "float64", "1", "relative sigma of the diodes used (diagnostic)"),
        Variable("diode_used", ("et", "stream", "diode"), "int8", "1", "1 where a diode is in the gain (flag)"),
        Variable(
            "diode_ratio", ("et", "stream", "diode"), "float32", "1",
            "gain by one diode over the median of the three (diagnostic)",
        ),
        Variable(
            "compression", ("stream",), "float64", "1", "a of y = x (1 + a x), per count",
            source=f"{README}, step 3",
            uncertainties=(Uncertainty("random", ("stream",)), Uncertainty("systematic", ("stream",))),
            quality="stream_quality",
            comment="Table value and what the diodes say, weighted.",
        ),
        Variable("compression_diodes", ("stream",), "float64", "1", "compression by the diodes alone (diagnostic)"),
        Variable("compression_diodes_sigma", ("stream",), "float64", "1", "its one sigma (diagnostic)"),
        Variable(
            "coupling", ("stream",), "float64", "1", "antenna over load position deflection (diagnostic)"
        ),
        Variable("level", ("stream",), "float64", "1", "mean of 2 x + d over the deflections used (diagnostic)"),
        _quality("et", "stream"),
        _quality("stream", name="stream_quality"),
    ),
    coords=(STREAM,),
    sizes={"stream": 8, "diode": 3},
    context=False,
    chunk=1024,
)  # fmt: skip


def _temperature(name: str, dims: tuple[str, ...], text: str, step: int, quality: str) -> Variable:
    return Variable(
        name, dims, "float32", "K", text, source=f"{README}, step {step}",
        uncertainties=(
            Uncertainty("random", dims),
            Uncertainty("systematic", dims),
            Uncertainty("structured", dims, err_scale=SMOOTHING_SCALE),
        ),
        quality=quality,
    )  # fmt: skip


ANTENNA_TEMPERATURE = Schema(
    version=1,
    index="et",
    variables=(
        _temperature("ta", ("et", "channel"), "antenna temperature at the aperture (Rayleigh-Jeans)", 6, "quality"),
        _temperature("ta_stream", ("et", "stream"), "antenna temperature by each output", 5, "stream_quality"),
        Variable("ta_scale", ("et", "channel"), "float32", "K", "signed systematic error by the diodes (diagnostic)"),
        Variable("toff", ("et", "channel"), "float32", "K", "load referred to the aperture (diagnostic)"),
        _quality("et", "channel"),
        _quality("et", "stream", name="stream_quality"),
    ),
    coords=(CHANNEL, STREAM),
    sizes={"channel": 6, "stream": 8},
    chunk=8192,
)

_COMPONENT = (Uncertainty("systematic", ("et", "channel")),)
COMPONENTS = Schema(
    version=1,
    index="et",
    variables=(
        _temperature("ta_planet", ("et", "channel"), "antenna temperature less galaxy, sky and belts", 8, "quality"),
        Variable(
            "background", ("et", "channel"), "float32", "K", "galaxy and cosmic background in the beam (model)",
            source=f"{README}, step 7", uncertainties=_COMPONENT, quality="model_quality",
        ),
        Variable(
            "synchrotron", ("et", "channel"), "float32", "K", "radiation belts in the beam (model)",
            source=f"{README}, step 7", uncertainties=_COMPONENT, quality="model_quality",
        ),
        Variable(
            "planet_model", ("et", "channel"), "float32", "K", "Jupiter in the beam, by its mean brightness (model)",
            source=f"{README}, step 7", uncertainties=_COMPONENT, quality="model_quality",
        ),
        Variable("planet_fraction", ("et", "channel"), "float32", "1", "part of the beam on Jupiter (diagnostic)"),
        Variable("emission", ("et", "channel"), "float32", "degree", "emission angle at the boresight (diagnostic)"),
        Variable("longitude", ("et", "channel"), "float32", "degree", "System III east longitude there (diagnostic)"),
        Variable("latitude", ("et", "channel"), "float32", "degree", "planetocentric latitude there (diagnostic)"),
        _quality("et", "channel"),
        _quality("et", "channel", name="model_quality"),
    ),
    coords=(CHANNEL,),
    sizes={"channel": 6},
    chunk=8192,
)  # fmt: skip

ANCHOR = Schema(
    version=1,
    index=None,
    variables=(
        Variable(
            "residual",
            ("channel",),
            "float64",
            "K",
            "antenna temperature of the open sky, measured less modelled",
            source=f"{README}, step 9",
            uncertainties=(Uncertainty("random", ("channel",)), Uncertainty("systematic", ("channel",))),
            quality="quality",
            comment="The systematic part is that of the model of the sky.",
        ),
        Variable("sky", ("channel",), "float64", "K", "modelled brightness of that sky (diagnostic)"),
        Variable(
            "slope",
            ("channel",),
            "float64",
            "1",
            "factor on TA - TOFF that makes the residual vanish",
            source=f"{README}, step 9",
            uncertainties=(Uncertainty("random", ("channel",)), Uncertainty("systematic", ("channel",))),
            quality="quality",
        ),
        Variable("records", ("channel",), "int32", "1", "records of open sky (count)"),
        _quality("channel"),
    ),
    coords=(CHANNEL,),
    sizes={"channel": 6},
    context=False,
)

_ON_MAP = ("channel", "latitude")
_FITTED = (
    Uncertainty("random", ("channel", "latitude", "coefficient")),
    Uncertainty("systematic", ("channel", "latitude", "coefficient")),
)
_SEEN = (Uncertainty("random", (*_ON_MAP, "angle")), Uncertainty("systematic", (*_ON_MAP, "angle")))
BRIGHTNESS = Schema(
    version=1,
    index=None,
    variables=(
        Variable(
            "c", (*_ON_MAP, "coefficient"), "float64", "K", "c0, c1, c2 of the brightness by emission angle",
            source=f"{README}, step 10", uncertainties=_FITTED, quality="quality",
            comment="T(mu) = c0 - c1 (1 - mu) / 0.2 + c2 / 2 (mu - 0.8) (1 - mu) / 0.04, to 53 degrees; c0 is nadir.",
        ),
        Variable(
            "covariance", (*_ON_MAP, "coefficient", "coefficient_other"), "float64", "K2",
            "random covariance of c at one latitude (diagnostic)",
        ),
        Variable(
            "tb", (*_ON_MAP, "angle"), "float64", "K", "brightness temperature (Rayleigh-Jeans) at emission angles",
            source=f"{README}, step 10", uncertainties=_SEEN, quality="quality",
        ),
        Variable("resolution", _ON_MAP, "float64", "1", "diagonal of the averaging kernel of c0 (diagnostic)"),
        Variable("records", ("channel",), "int32", "1", "records used (count)"),
        Variable("chi_square", ("channel",), "float64", "1", "reduced chi square of the fit (diagnostic)"),
        _quality(*_ON_MAP),
    ),
    coords=(
        CHANNEL,
        Variable("latitude", ("latitude",), "float64", "degree", "planetocentric; brightness is linear between"),
        Variable("angle", ("angle",), "float64", "degree", "emission angle"),
    ),
    sizes={"channel": 6, "coefficient": 3, "coefficient_other": 3},
    context=False,
)  # fmt: skip
