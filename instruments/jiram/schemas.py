"""Layouts of the JIRAM products and the instrument's own quality bits."""

from __future__ import annotations

from instruments.jiram.layout import BANDS, LINES, SAMPLES, SLIT
from pipeline.dataset.quality import Flag
from pipeline.dataset.schema import Schema, Uncertainty, Variable

HOT_PIXEL = Flag(16, "hot_pixel", "pixel of the detector whose dark signal is far above that of the others")
BACKGROUND_TABLE = Flag(
    17, "background_by_table", "no background frame of this exposure within reach: table alone", condition=True
)
BACKGROUND_ONE_SIDED = Flag(
    18,
    "background_one_sided",
    "background frame on one side in time only: drift grows with its distance",
    condition=True,
)
NONLINEAR = Flag(19, "nonlinear", "above the level that is safely linear, below saturation")
INCOMPLETE = Flag(20, "incomplete_product", "the label calls the product incomplete", condition=True)
EXPOSURE_DIFFERS = Flag(21, "exposure_differs", "exposure of label and LOG table differ by more than a count")
FLAGS = (HOT_PIXEL, BACKGROUND_TABLE, BACKGROUND_ONE_SIDED, NONLINEAR, INCOMPLETE, EXPOSURE_DIFFERS)

README = "instruments/jiram/README.md"
FRAME = "one frame"
PIXELS = ("et", "band", "line", "sample")
SPECTRA = ("et", "slit", "channel")
# Nodes of the grid of footprints: edges of every 16th pixel.
TIE_STEP = 16


def _background(dims: tuple[str, ...], sizes: dict[str, int]) -> Schema:
    return Schema(
        version=1,
        index="et",
        variables=(
            Variable(
                "residual",
                dims,
                "float32",
                "1",
                "background frame less the table's model of it, counts of the converter",
                source=f"{README}, step 2",
                uncertainties=(Uncertainty("random", dims),),
                quality="quality",
            ),
            Variable("quality", dims, "uint32", "1", "quality bits"),
            Variable("exposure", ("et",), "float64", "s", "exposure of the frame (identifier)"),
            Variable("lines", ("et",), "int16", "1", "lines that were read out (identifier)"),
            Variable("temperature", ("et", "sensor"), "float32", "K", "temperatures by the LOG table (diagnostic)"),
        ),
        sizes=sizes,
        chunk=1,
        attrs={"sensors": "detector, telescope, slit, interface, cold radiator, spectrometer, motor, source, diffuser"},
    )


IMAGE_BACKGROUND = _background(PIXELS, {"band": 2, "line": LINES, "sample": SAMPLES})
SPECTRUM_BACKGROUND = _background(SPECTRA, {"slit": SLIT, "channel": BANDS})

_EXPOSURE = Variable("exposure", ("et",), "float64", "s", "exposure by the label (identifier)")
_DETECTOR = Variable("detector_temperature", ("et",), "float32", "K", "temperature of the detector (diagnostic)")
_FRAME_QUALITY = Variable("frame_quality", ("et",), "uint32", "1", "quality bits of the frame as a whole")
_BAND = Variable("band", ("band",), "str", "1", "band of the imager: L 3.3 to 3.6 um, M 4.5 to 5.0 um")
_TIE = ("et", "band", "tie_line", "tie_sample")

RADIANCE = Schema(
    version=1,
    index="et",
    variables=(
        Variable(
            "radiance",
            PIXELS,
            "float32",
            "W m-2 sr-1",
            "radiance integrated over the band",
            source=f"{README}, steps 1 to 8; JIRAM SIS 7.5, eq. 8",
            uncertainties=(
                Uncertainty("random", PIXELS),
                Uncertainty("systematic", PIXELS),
                Uncertainty("structured", ("et", "band"), err_scale=FRAME),
            ),
            quality="quality",
            comment="Spectral radiance is this over band_width. Noise of the background frames, which neighbouring "
            "frames share, is in the random component.",
        ),
        Variable("quality", PIXELS, "uint32", "1", "quality bits"),
        Variable(
            "band_width",
            ("et", "band"),
            "float32",
            "um",
            "width by which radiance is to be divided for spectral radiance",
            source="table bands",
            uncertainties=(Uncertainty("systematic", ("et", "band")),),
            quality="frame_quality",
        ),
        _EXPOSURE,
        _DETECTOR,
        _FRAME_QUALITY,
        Variable(
            "tie_latitude", _TIE, "float32", "degree", "planetocentric latitude of the corners of blocks of pixels "
            "(diagnostic); NaN off the planet",
        ),
        Variable("tie_longitude", _TIE, "float32", "degree", "System III longitude, east, of the same (diagnostic)"),
        Variable("tie_emission", _TIE, "float32", "degree", "emission angle there (diagnostic)"),
    ),
    coords=(_BAND,),
    sizes={"line": LINES, "sample": SAMPLES},
    chunk=1,
    attrs={"ties": f"nodes every {TIE_STEP} pixels from the outer edge of the first one; per pixel: jiram.geometry"},
)  # fmt: skip

SPECTRAL_RADIANCE = Schema(
    version=1,
    index="et",
    variables=(
        Variable(
            "spectral_radiance",
            SPECTRA,
            "float32",
            "W m-2 um-1 sr-1",
            "spectral radiance",
            source=f"{README}, steps 1 to 8; JIRAM SIS 7.5, eq. 6",
            uncertainties=(
                Uncertainty("random", SPECTRA),
                Uncertainty("systematic", SPECTRA),
                Uncertainty("structured", ("et", "channel"), err_scale=FRAME),
            ),
            quality="quality",
        ),
        Variable("quality", SPECTRA, "uint32", "1", "quality bits"),
        Variable(
            "wavelength",
            ("et", "channel"),
            "float64",
            "um",
            "wavelength of the channel's centre",
            source="JIRAM SIS 7.5, section 4.1; table wavelength",
            uncertainties=(Uncertainty("systematic", ("et", "channel")),),
            quality="frame_quality",
        ),
        _EXPOSURE,
        _DETECTOR,
        _FRAME_QUALITY,
    ),
    sizes={"channel": BANDS},
    chunk=1,
)


def _geometry(dims: tuple[str, ...], coords: tuple[Variable, ...], sizes: dict[str, int]) -> Schema:
    source = f"{README}, Geometry"

    def angle(name: str, text: str, units: str = "degree", measured: bool = False) -> Variable:
        parts = (Uncertainty("systematic", dims),) if measured else ()
        kind = text if measured else f"{text} (diagnostic)"
        return Variable(name, dims, "float32", units, kind, source=source, uncertainties=parts, quality="quality")

    return Schema(
        version=1,
        index="et",
        variables=(
            angle("longitude", "System III longitude, east, of the pixel's centre", measured=True),
            angle("latitude", "planetocentric latitude of the pixel's centre", measured=True),
            angle("latitude_planetographic", "planetographic latitude of the pixel's centre"),
            angle("emission", "emission angle"),
            angle("incidence", "solar incidence angle"),
            angle("phase", "phase angle"),
            angle("range", "distance from Juno to the point seen", "km"),
            Variable("quality", dims, "uint32", "1", "quality bits: geometry missing where the line of sight misses"),
        ),
        coords=coords,
        sizes=sizes,
        chunk=1,
        attrs={"ellipsoid": "71492 km, 66854 km (1 bar)", "epoch": "START_TIME of the label"},
    )


GEOMETRY = _geometry(PIXELS, (_BAND,), {"line": LINES, "sample": SAMPLES})
SLIT_GEOMETRY = _geometry(("et", "slit"), (), {})
