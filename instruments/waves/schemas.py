"""Layouts of the Waves products and the instrument's own quality bits."""

from __future__ import annotations

from instruments.waves.layout import BURSTS, NUMBER_B, NUMBER_E, RECEIVERS, Burst
from pipeline.dataset.quality import Flag
from pipeline.dataset.schema import Schema, Uncertainty, Variable

CODE_UNSEEN = Flag(
    16,
    "code_unseen",
    "code of the swept receiver that its channel did not show when its table was derived: value by the detector's law, "
    "with that law's uncertainty",
    condition=True,
)
CROSSTALK = Flag(17, "crosstalk", "suspected to be a strong signal of another receiver")
LENGTH_HYPOTHESIS = Flag(
    18,
    "length_hypothesis",
    "rests on one of two hypotheses of the antenna's effective length, which differ by a factor: see other_hypothesis",
    condition=True,
)
ATTENUATOR_CHANGE = Flag(
    19, "attenuator_change", "first after a change of the attenuator: the receiver may not have settled"
)
RECORD_CLIPPED = Flag(
    20, "record_clipped", "in a capture of which samples are clipped: the correction spreads their error"
)
TIME_COARSE = Flag(21, "time_coarse", "no housekeeping: the time may be late by up to one second", condition=True)
SCALAR = Flag(
    22, "scalar_calibrated", "calibrated by one factor of mid-band: amplitudes elsewhere and the phase are not valid"
)
SPIN_KEPT = Flag(23, "spin_kept", "modulation by the spin not removed", condition=True)
FLAGS = (CODE_UNSEEN, CROSSTALK, LENGTH_HYPOTHESIS, ATTENUATOR_CHANGE, RECORD_CLIPPED, TIME_COARSE, SCALAR, SPIN_KEPT)

README = "instruments/waves/README.md"


def _channels(letter: str) -> tuple[Variable, ...]:
    name = {"e": "electric", "b": "magnetic"}[letter]
    dims = (f"channel_{letter}",)
    return (
        Variable(f"frequency_{letter}", dims, "float64", "Hz", f"centre of the {name} channels"),
        Variable(f"bandwidth_{letter}", dims, "float64", "Hz", f"noise bandwidth of the {name} channels"),
    )


_RECEIVER = Variable(
    "receiver", ("channel_e",), "int8", "1", f"receiver (identifier): 0 to 3, {', '.join(RECEIVERS[:4])}"
)
_OFFSET = Variable(
    "offset",
    ("et", "receiver_index"),
    "float64",
    "s",
    "time of each receiver's spectrum after et (diagnostic); NaN: none",
)
_OTHER = Variable(
    "other_hypothesis",
    (),
    "float64",
    "1",
    "psd_e times this under the other hypothesis of the effective length (diagnostic); not for the swept receiver",
)
_SIZES = {"channel_e": NUMBER_E, "channel_b": NUMBER_B, "receiver_index": len(RECEIVERS)}


def _psd(letter: str, source: str, *, random: Uncertainty | None) -> Variable:
    what = {"e": "electric", "b": "magnetic"}[letter]
    dims = ("et", f"channel_{letter}")
    return Variable(
        f"psd_{letter}",
        dims,
        "float32",
        _units(letter),
        f"power spectral density of the {what} field, the receiver's own noise included",
        source=source,
        uncertainties=(*((random,) if random else ()), Uncertainty("systematic", dims)),
        quality=f"quality_{letter}",
    )


def _code(letter: str) -> tuple[Variable, ...]:
    dims = ("et", f"channel_{letter}")
    return (
        Variable(
            f"code_{letter}",
            dims,
            "float32",
            "1",
            "code as telemetered",
            source=f"{README}, step 1",
            uncertainties=(Uncertainty("random", (), distribution="quantised"),),
            quality=f"quality_{letter}",
            comment="What a code means is in tables survey_codes and hfr_high; between codes lies what was cut off.",
        ),
        Variable(f"code_{letter}_quantum", (), "float32", "1", "step of the codes (diagnostic)"),
        Variable(
            f"psd_{letter}_quantum",
            dims,
            "float32",
            _units(letter),
            "step of the density from code to code (diagnostic)",
        ),
    )


def _units(letter: str) -> str:
    return {"e": "V2 m-2 Hz-1", "b": "nT2 Hz-1"}[letter]


def _quality(letter: str) -> Variable:
    return Variable(f"quality_{letter}", ("et", f"channel_{letter}"), "uint32", "1", "quality bits")


def _derived(letter: str) -> Uncertainty:
    return Uncertainty("random", ("et", f"channel_{letter}"), distribution="derived")


SURVEY = Schema(
    version=1,
    index="et",
    variables=(
        _psd("e", f"{README}, steps 1 to 6", random=_derived("e")),
        *_code("e"),
        _quality("e"),
        _psd("b", f"{README}, steps 1 to 6", random=_derived("b")),
        *_code("b"),
        _quality("b"),
        _OFFSET,
        Variable("attenuator", ("et", "receiver_index"), "uint8", "1", "1 where the attenuator is on (identifier)"),
        _OTHER,
    ),
    coords=(*_channels("e"), _RECEIVER, *_channels("b")),
    sizes=_SIZES,
    chunk=600,
    attrs={"record": "the spectra of one second; et is its beginning, offset says when each was taken"},
)

SURVEY_ARCHIVE = Schema(
    version=1,
    index="et",
    variables=(
        _psd("e", "the archive's calibrated survey", random=None),
        _quality("e"),
        _psd("b", "the archive's calibrated survey", random=None),
        _quality("b"),
        _OFFSET,
    ),
    coords=(*_channels("e"), _RECEIVER, *_channels("b")),
    sizes=_SIZES,
    chunk=600,
    attrs={"effective_length": "the archive's own, which is in its values, is not known here"},
)

DIFFERENCES = Schema(
    version=1,
    index=None,
    variables=(
        Variable("matched", ("channel_e",), "int32", "1", "spectra compared (count)"),
        Variable("unseen", ("channel_e",), "int32", "1", "of them with codes new to the derived table (count)"),
        Variable(
            "difference",
            ("channel_e",),
            "float64",
            "1",
            "mean of survey less archive over the archive's value",
            source=f"{README}, Differences",
            uncertainties=(Uncertainty("random", ("channel_e",)),),
            quality="quality",
        ),
        Variable("largest", ("channel_e",), "float64", "1", "largest relative difference (diagnostic)"),
        Variable(
            "largest_in_sigma", ("channel_e",), "float64", "1", "largest difference over its uncertainty (diagnostic)"
        ),
        Variable("quality", ("channel_e",), "uint32", "1", "quality bits"),
    ),
    coords=(*_channels("e"), _RECEIVER),
    sizes={"channel_e": NUMBER_E},
    context=False,
)  # fmt: skip


FLUX = Schema(
    version=1,
    index="et",
    variables=(
        Variable(
            "flux",
            ("et", "channel_e"),
            "float32",
            "W m-2 Hz-1",
            "flux density as at 1 au from Jupiter, were it radio waves from there",
            source="Louis et al. 2021, J. Geophys. Res. Space Physics 126, e2021JA029435",
            uncertainties=(_derived("e"), Uncertainty("systematic", ("et", "channel_e"))),
            quality="quality_e",
        ),
        _quality("e"),
    ),
    coords=(*_channels("e"), _RECEIVER),
    sizes={"channel_e": NUMBER_E},
    chunk=600,
)


def _waveform(burst: Burst) -> Schema:
    units, what = ("nT", "magnetic field") if burst.magnetic else ("V m-1", "electric field along the antenna")
    dims = ("et", "sample")
    return Schema(
        version=1,
        index="et",
        variables=(
            Variable(
                "waveform",
                dims,
                "float32",
                units,
                f"{what} within the passband",
                source=f"{README}, step 8",
                uncertainties=(
                    Uncertainty("random", ("et",), distribution="derived"),
                    Uncertainty("systematic", dims),
                ),
                quality="quality",
                comment="Phases are those of exp(+2 pi i f t) with t = 0 at the first sample.",
            ),
            Variable(
                "voltage",
                dims,
                "float32",
                "V",
                "voltage at the converter referred to mid-band at the preamplifier's input",
                source=f"{README}, step 7",
                uncertainties=(Uncertainty("random", ("et",), distribution="quantised"),),
                quality="quality",
                optional=True,
            ),
            Variable("voltage_quantum", ("et",), "float32", "V", "voltage of one count (diagnostic)", optional=True),
            Variable("samples", ("et",), "int32", "1", "samples of the capture (count)"),
            Variable("clipped_fraction", ("et",), "float32", "1", "part of the samples that is clipped (diagnostic)"),
            Variable("attenuator", ("et",), "uint8", "1", "1 where the attenuator is on (identifier)"),
            Variable("phase_valid", ("et",), "int8", "1", "1 where the phase is corrected (flag)"),
            Variable("quality", dims, "uint32", "1", "quality bits"),
            *(() if burst.magnetic else (_OTHER,)),
        ),
        coords=(Variable("sample_time", ("sample",), "float64", "s", "time of the samples after et"),),
        sizes={"sample": burst.most},
        chunk=16,
    )  # fmt: skip


def _spectrum(burst: Burst) -> Schema:
    units = "nT2 Hz-1" if burst.magnetic else "V2 m-2 Hz-1"
    dims = ("et", "frequency")
    return Schema(
        version=1,
        index="et",
        variables=(
            Variable(
                "psd",
                dims,
                "float32",
                units,
                "power spectral density of a burst (Welch), the receiver's own noise included",
                source="Welch 1967, IEEE Trans. Audio Electroacoust. 15, 70",
                uncertainties=(
                    Uncertainty("random", dims, distribution="derived"),
                    Uncertainty("systematic", dims, relative=True),
                ),
                quality="quality",
                comment="The uncertainty is that of the measurement; as an estimate of a process's density it "
                "has the statistical error psd/sqrt(averages) besides.",
            ),
            Variable("psd_noise", dims, "float32", units, "expected part of the receiver's own noise (diagnostic)"),
            Variable("averages", ("et",), "int16", "1", "overlapping blocks averaged (count)"),
            Variable("quality", dims, "uint32", "1", "quality bits"),
        ),
        coords=(Variable("frequency", ("frequency",), "float64", "Hz", "frequency"),),
        chunk=64,
    )


WAVEFORM = {b.name: _waveform(b) for b in BURSTS}
SPECTRUM = {b.name: _spectrum(b) for b in BURSTS}
