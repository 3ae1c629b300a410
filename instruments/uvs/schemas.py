"""Layouts of the UVS products and the instrument's own quality bits."""

from __future__ import annotations

from instruments.uvs.layout import LATITUDES, LONGITUDES, SLIT_BINS, TARGETS, WAVELENGTHS
from pipeline.dataset.quality import Flag
from pipeline.dataset.schema import Schema, Uncertainty, Variable

STIM = Flag(16, "stim", "event of a stim pixel, no photon", condition=True)
UNLIT = Flag(17, "unlit", "event where no light falls: radiation", condition=True)
HEIGHT = Flag(
    18, "pulse_height", "pulse height outside the photons' window: radiation or merged pulses", condition=True
)
BROKEN = Flag(
    19, "broken_frame", "in a frame that misses time hacks or is marked bad by the instrument; not used further"
)
NO_STIM = Flag(20, "no_stim", "stim pixels not found: place from the nominal scale")
DEAD_TIME_TABLE = Flag(
    21, "dead_time_from_table", "dead time from the table: no count rates to tell it", condition=True
)
BLIND = Flag(22, "blind", "more than half of the events are lost to dead time", condition=True)
BRIGHT = Flag(23, "gain_sag", "more than a tenth of the efficiency lost to local gain sag", condition=True)
FLAGS = (STIM, UNLIT, HEIGHT, BROKEN, NO_STIM, DEAD_TIME_TABLE, BLIND, BRIGHT)

SLOW_SCALE = "30 s"
README = "instruments/uvs/README.md"


_QUALITY = "quality bits"

PHOTONS = Schema(
    version=1,
    index="photon",
    variables=(
        Variable(
            "wavelength",
            ("photon",),
            "float32",
            "nm",
            "wavelength of a photon at the middle of the slit",
            standard_name="radiation_wavelength",
            source=f"{README}, steps 2 and 3",
            quality="quality",
            uncertainties=(
                Uncertainty("random", ("photon",), distribution="derived"),
                Uncertainty("systematic", ("photon",)),
                Uncertainty("structured", ("photon",), err_scale=SLOW_SCALE),
            ),
            comment="random: image of the slit's width and of a point; merged pulses lie anywhere between their places",
        ),
        Variable(
            "weight",
            ("photon",),
            "float32",
            "kR",
            "brightness that one photon within the time of dwell stands for",
            source=f"{README}, step 8",
            quality="quality",
            uncertainties=(
                Uncertainty("systematic", ("photon",)),
                Uncertainty("structured", ("photon",), err_scale=SLOW_SCALE),
            ),
        ),
        Variable(
            "latitude",
            ("photon",),
            "float32",
            "degree",
            "planetocentric latitude seen, 400 km above the ellipsoid",
            source=f"{README}, step 9",
            quality="ground_quality",
            uncertainties=(Uncertainty("systematic", ("photon",)),),
            comment="uncertainty: pointing and half the width of the slit",
        ),
        Variable(
            "longitude",
            ("photon",),
            "float32",
            "degree",
            "System III longitude seen, eastward, 400 km above the ellipsoid",
            source=f"{README}, step 9",
            quality="ground_quality",
            uncertainties=(Uncertainty("systematic", ("photon",)),),
            comment="uncertainty: as of latitude; not wrapped at 360",
        ),
        Variable(
            "emission_angle",
            ("photon",),
            "float32",
            "degree",
            "angle of emission (diagnostic)",
            quality="ground_quality",
        ),
        Variable(
            "solar_zenith",
            ("photon",),
            "float32",
            "degree",
            "solar zenith angle (diagnostic)",
            quality="ground_quality",
        ),
        Variable("live", ("photon",), "float32", "1", "share of the events that were recorded then (diagnostic)"),
        Variable("efficiency", ("photon",), "float32", "1", "share left by local gain sag (diagnostic)"),
        Variable("row", ("photon",), "float32", "1", "row of the detector, put right by the stim pixels (diagnostic)"),
        Variable("slit_bin", ("photon",), "int8", "1", "bin along the slit, -1 beside it (identifier)"),
        Variable("pulse_height", ("photon",), "uint8", "1", "pulse height as telemetered (identifier)"),
        Variable("quality", ("photon",), "uint32", "1", _QUALITY),
        Variable(
            "ground_quality", ("photon",), "uint32", "1", f"{_QUALITY} of what is seen: missing where it is not Jupiter"
        ),
    ),
    context=False,
    chunk=65536,
    attrs={"time": "et is the middle of the time hack the event came in"},
)

RATES = Schema(
    version=1,
    index="et",
    variables=(
        Variable(
            "rate",
            ("et",),
            "float32",
            "s-1",
            "events per second that reach the electronics, corrected for dead time",
            source=f"{README}, step 4",
            quality="quality",
            uncertainties=(
                Uncertainty("random", ("et",)),
                Uncertainty("systematic", ("et",)),
                Uncertainty("structured", ("et",), err_scale=SLOW_SCALE),
            ),
        ),
        Variable(
            "radiation",
            ("et",),
            "float32",
            "s-1",
            "events of radiation per second within the pulse-height window, all rows",
            source=f"{README}, step 5",
            quality="quality",
            uncertainties=(Uncertainty("random", ("et",), distribution="poisson"), Uncertainty("systematic", ("et",))),
        ),
        Variable("radiation_expected", ("et",), "float32", "1", "expected counts in the dark part (diagnostic)"),
        Variable("recorded", ("et",), "float32", "s-1", "events recorded per second (diagnostic)"),
        Variable("live", ("et",), "float32", "1", "share of the events that is recorded where it fell (diagnostic)"),
        Variable("dead_time", ("et",), "float64", "s", "dead time of an event (diagnostic)"),
        Variable("mirror", ("et",), "float32", "degree", "angle of the scan mirror (diagnostic)"),
        Variable("exposure", ("et",), "float32", "s", "seconds of good frames (diagnostic)"),
        Variable("quality", ("et",), "uint32", "1", _QUALITY),
    ),
    chunk=3600,
)

_WAVELENGTH = Variable(
    "wavelength", ("wavelength",), "float64", "nm", "middle of the bin", standard_name="radiation_wavelength"
)

_SPECTRUM = ("et", "target", "wavelength")

SPECTRA = Schema(
    version=1,
    index="et",
    variables=(
        Variable(
            "radiance",
            _SPECTRUM,
            "float32",
            "kR nm-1",
            "mean spectral brightness over a spin, weighted with the live exposure",
            source=f"{README}, steps 5 to 8",
            quality="quality",
            uncertainties=(
                Uncertainty("random", _SPECTRUM, distribution="derived"),
                Uncertainty("systematic", _SPECTRUM),
                Uncertainty("structured", _SPECTRUM, err_scale=SLOW_SCALE),
            ),
            comment="at the instrument's resolution; target 0: nothing but Jupiter in sight, 1: nothing but sky",
        ),
        Variable(
            "counts",
            _SPECTRUM,
            "float32",
            "1",
            "photons recorded, radiation among them",
            source=f"{README}, step 6",
            quality="quality",
            uncertainties=(Uncertainty("random", _SPECTRUM, distribution="poisson"),),
        ),
        Variable("counts_expected", _SPECTRUM, "float32", "1", "expected counts (diagnostic)"),
        Variable("radiation", _SPECTRUM, "float32", "1", "counts of radiation among them (diagnostic)"),
        Variable(
            "exposure", ("et", "target"), "float32", "sr s", "solid angle of the slit times live time (diagnostic)"
        ),
        Variable("quality", _SPECTRUM, "uint32", "1", _QUALITY),
    ),
    coords=(_WAVELENGTH,),
    sizes={"target": len(TARGETS), "wavelength": len(WAVELENGTHS)},
    chunk=64,
)

SWATH = Schema(
    version=1,
    index="pixel",
    variables=(
        Variable(
            "count_rate",
            ("pixel",),
            "float32",
            "s-1",
            "photons per second of live time in a band, radiation subtracted",
            source=f"{README}, steps 4 to 6",
            quality="quality",
            uncertainties=(
                Uncertainty("random", ("pixel",), distribution="poisson"),
                Uncertainty("systematic", ("pixel",)),
                Uncertainty("structured", ("pixel",), err_scale=SLOW_SCALE),
            ),
        ),
        Variable("count_rate_expected", ("pixel",), "float32", "1", "expected counts, radiation included (diagnostic)"),
        Variable("counts", ("pixel", "wavelength"), "uint16", "1", "photons recorded (count)"),
        Variable(
            "gain_sag",
            ("pixel",),
            "float32",
            "1",
            "counts that gain sag would have let pass, over those counted (diagnostic)",
        ),
        Variable(
            "radiation", ("pixel",), "float32", "1", "counts of radiation on the whole detector meanwhile (diagnostic)"
        ),
        Variable("exposure", ("pixel",), "float32", "sr s", "solid angle times response times live time (diagnostic)"),
        Variable(
            "latitude",
            ("pixel",),
            "float32",
            "degree",
            "planetocentric latitude, 400 km above the ellipsoid (diagnostic)",
        ),
        Variable(
            "longitude",
            ("pixel",),
            "float32",
            "degree",
            "System III longitude, eastward, 400 km above the ellipsoid (diagnostic)",
        ),
        Variable("emission_angle", ("pixel",), "float32", "degree", "angle of emission (diagnostic)"),
        Variable("solar_zenith", ("pixel",), "float32", "degree", "solar zenith angle (diagnostic)"),
        Variable("range", ("pixel",), "float32", "km", "distance from Juno (diagnostic)"),
        Variable("slit_bin", ("pixel",), "int8", "1", "bin along the slit (identifier)"),
        Variable("quality", ("pixel",), "uint32", "1", _QUALITY),
    ),
    coords=(_WAVELENGTH,),
    sizes={"wavelength": len(WAVELENGTHS)},
    context=False,
    chunk=16384,
    attrs={"pixel": "1/32 s of one bin along the slit that looks at Jupiter"},
)

_MAP = ("band", "latitude", "longitude")

MAP = Schema(
    version=1,
    index=None,
    variables=(
        Variable(
            "brightness",
            _MAP,
            "float32",
            "kR",
            "mean brightness of a band, 400 km above the ellipsoid, System III",
            source=f"{README}, step 10",
            quality="quality",
            uncertainties=(Uncertainty("random", _MAP, distribution="derived"), Uncertainty("systematic", _MAP)),
        ),
        Variable(
            "colour_ratio",
            ("latitude", "longitude"),
            "float32",
            "1",
            "brightness of one band over that of another",
            source=f"{README}, step 10",
            quality="ratio_quality",
            uncertainties=(
                Uncertainty("random", ("latitude", "longitude"), distribution="derived"),
                Uncertainty("systematic", ("latitude", "longitude")),
            ),
        ),
        Variable("exposure", ("latitude", "longitude"), "float32", "sr s", "solid angle times live time (diagnostic)"),
        Variable(
            "emission_angle", ("latitude", "longitude"), "float32", "degree", "mean angle of emission (diagnostic)"
        ),
        Variable("quality", _MAP, "uint32", "1", _QUALITY),
        Variable("ratio_quality", ("latitude", "longitude"), "uint32", "1", f"{_QUALITY} of the colour ratio"),
    ),
    coords=(
        Variable("latitude", ("latitude",), "float64", "degree", "planetocentric latitude of the cell's middle"),
        Variable(
            "longitude", ("longitude",), "float64", "degree", "System III longitude of the cell's middle, eastward"
        ),
        Variable("band_low", ("band",), "float64", "nm", "lower end of the band"),
        Variable("band_high", ("band",), "float64", "nm", "upper end of the band"),
    ),
    sizes={"latitude": len(LATITUDES), "longitude": len(LONGITUDES)},
    context=False,
)
assert SLIT_BINS < 128  # slit_bin is an int8
