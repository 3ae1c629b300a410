"""What a label says of an image, whether it is a PDS3 label or the JSON of the public site, checked and typed."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from instruments.junocam.camera import stated_centres
from instruments.junocam.layout import FILTERS, MODES, framelet_lines, line_samples
from pipeline.clock import Sclk, parse_utc
from pipeline.errors import InputError
from pipeline.formats.defects import corrected
from pipeline.formats.pds3 import Block, Label, Quantity

PRODUCT = re.compile(r"JNC([ER])_(\d{7}_\d{2}[A-Z]\d{5})_V(\d{2})", re.IGNORECASE)
KINDS = {"E": "JUNOCAM-EDR", "R": "JUNOCAM-RDR"}
SIMULATED = "SIMULATED, NOT A MEASUREMENT"
# To be added to START_TIME and INTERFRAME_DELAY: juno_junocam_v03.ti, INS-6150#_START_TIME_BIAS, _INTERFRAME_DELTA.
START_BIAS, INTERFRAME_DELTA = 0.06188, 0.001
# Lines; the longest real image has 31 488.
LONGEST = 1 << 18
# Two turns of the spacecraft; frames and exposures are fractions of one. And more rows than move past in a framelet.
MOST_SECONDS, MOST_STAGES = 60.0, 1000


@dataclass(frozen=True)
class ImageLabel:
    """An image as its label describes it.

    Parameters
    ----------
    id, version : of the image: name of the EDR without the archive's version, also for an RDR.
    orbit, number : of the orbit and of the image in it, from the name.
    start : et of START_TIME, or where there is none of the clock count.
    clock_difference : START_TIME less the time by the clock count, s; NaN where there are not both.
    exposure, interframe : s. The exposure counts all stages of the TDI.
    filters : in the order of their framelets.
    centres : places of the optical axis the label itself states, by filter (see `camera.stated_centres`).
    mode, compression : companding, and how it was sent.
    solar_distance, altitude : km. NaN, also below: the label does not say.
    latitude, longitude : of the sub-spacecraft point as the label has them, degrees.
    temperature : of the focal plane, K; NaN: not known.
    corrections : what was known to be wrong in the label and put right.
    """

    id: str
    version: int
    orbit: int
    number: int
    start: float
    clock_difference: float
    exposure: float
    interframe: float
    tdi_stages: int
    filters: tuple[str, ...]
    centres: dict[str, float]
    mode: str | None
    compression: str
    summing: int
    lines: int
    samples: int
    solar_distance: float
    altitude: float
    latitude: float
    longitude: float
    temperature: float
    simulated: bool
    corrections: str

    @property
    def framelets(self) -> int:
        """Number of framelets, the last of which may be cut short."""
        return math.ceil(self.lines / framelet_lines(self.summing))

    def frame_start(self, frame: int) -> float:
        """Et at which the exposure of a frame begins, by the instrument kernel's timing."""
        return self.start + START_BIAS + frame * (self.interframe + INTERFRAME_DELTA)

    @property
    def stop(self) -> float:
        """Et of the end of the last exposure."""
        return self.frame_start((self.framelets - 1) // len(self.filters)) + self.exposure


def image_label(label: Label, kind: str, clock: Sclk) -> ImageLabel:
    """Check a label and take from it what is needed.

    Parameters
    ----------
    kind : ``E`` or ``R``.

    Raises
    ------
    InputError : naming the keyword.
    """
    label, corrections = corrected(label)
    name = _text(label, "PRODUCT_ID")
    match = PRODUCT.fullmatch(name)
    if match is None or match[1].upper() != kind:
        raise InputError(label.path, f"{name!r} is no product of the form JNC{kind}_yyyyddd_ooFnnnnn_Vvv", "PRODUCT_ID")
    _expect(label, "INSTRUMENT_ID", "JNC")
    _expect(label, "STANDARD_DATA_PRODUCT_ID", KINDS[kind])
    image = label.need("IMAGE", Block) if "IMAGE" in label else label
    _expect(label, "SAMPLE_TYPE", "UNSIGNED_INTEGER", image)
    bits = label.need("SAMPLE_BITS", int, image)
    if bits != (8 if kind == "E" else 16):
        raise InputError(label.path, f"{bits} bits per sample, which no {KINDS[kind]} has", "SAMPLE_BITS")
    filters, summing = _filters(label), label.need("SAMPLING_FACTOR", int)
    lines, samples = (label.need(key, int, image) for key in ("LINES", "LINE_SAMPLES"))
    if summing not in (1, 2) or samples != line_samples(summing):
        reason = f"{samples} samples a line with a sampling factor of {summing}; 1648 or, summed by 2, 816 are known"
        raise InputError(label.path, reason, "LINE_SAMPLES")
    if not 0 < lines <= LONGEST:
        raise InputError(label.path, f"{lines} lines", "LINES")
    mode = label.get("SAMPLE_BIT_MODE_ID")
    if kind == "E" and mode not in MODES:
        raise InputError(label.path, f"{mode!r} is none of {', '.join(MODES)}", "SAMPLE_BIT_MODE_ID")
    start, difference = _start(label, clock)
    return ImageLabel(
        id=f"JNCE_{match[2].upper()}",
        version=int(match[3]),
        orbit=int(match[2][8:10]),
        number=int(match[2][11:]),
        start=start,
        clock_difference=difference,
        exposure=_positive(label, "EXPOSURE_DURATION", "ms", 1000.0 * MOST_SECONDS) / 1000.0,
        interframe=_positive(label, "INTERFRAME_DELAY", "s", MOST_SECONDS),
        tdi_stages=_stages(label),
        filters=filters,
        centres=stated_centres(str(label.get("RATIONALE_DESC") or "")),
        mode=mode,
        compression=str(label.get("COMPRESSION_TYPE") or "").upper(),
        summing=summing,
        lines=lines,
        samples=samples,
        solar_distance=_positive(label, "SOLAR_DISTANCE", "km"),
        altitude=_number(label.get("SPACECRAFT_ALTITUDE")),
        latitude=_number(label.get("SUB_SPACECRAFT_LATITUDE")),
        longitude=_number(label.get("SUB_SPACECRAFT_LONGITUDE")),
        temperature=_number(label.get("FOCAL_PLANE_TEMPERATURE")),
        simulated=label.get("NOTE") == SIMULATED,
        corrections="; ".join(map(str, corrections)),
    )


def _text(label: Label, key: str) -> str:
    return str(label.need(key, str))


def _expect(label: Label, key: str, value: str, block: Block | None = None) -> None:
    found = label.need(key, str, block)
    if found != value:
        raise InputError(label.path, f"{found!r}, {value!r} is expected", key)


def _filters(label: Label) -> tuple[str, ...]:
    given = label.need("FILTER_NAME")
    names = tuple(given) if isinstance(given, list) else (given,)
    if not names or not all(name in FILTERS and names.count(name) == 1 for name in names):
        raise InputError(
            label.path, f"{given!r}: names of {', '.join(FILTERS)}, once each, are expected", "FILTER_NAME"
        )
    return names


def _stages(label: Label) -> int:
    stages = label.need("JNO:TDI_STAGES_COUNT", int)
    if not 0 <= stages <= MOST_STAGES:
        raise InputError(label.path, f"{stages} stages", "JNO:TDI_STAGES_COUNT")
    return int(stages)


def _positive(label: Label, key: str, unit: str, most: float = math.inf) -> float:
    value = label.need(key)
    number = _number(value)
    if not 0 < number <= most or (isinstance(value, Quantity) and value.unit.lower() != unit):
        raise InputError(label.path, f"{value!r}: a positive number of {unit} is expected", key)
    return number


def _number(value: Any) -> float:
    """A number with or without its unit; NaN where the label gives none."""
    if isinstance(value, Quantity):
        value = value.value
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else math.nan


def _start(label: Label, clock: Sclk) -> tuple[float, float]:
    """Et of the start, and how much later UTC makes it than the clock count."""
    count, utc = label.get("SPACECRAFT_CLOCK_START_COUNT"), label.get("START_TIME")
    by_clock = by_utc = math.nan
    try:
        if isinstance(count, str) and count[:1].isdigit():
            by_clock = float(clock.to_et(clock.parse(count, fraction=256)))
    except ValueError as error:
        raise InputError(label.path, str(error), "SPACECRAFT_CLOCK_START_COUNT") from error
    try:
        if isinstance(utc, str) and utc[:1].isdigit():
            by_utc = parse_utc(utc)
    except ValueError as error:
        raise InputError(label.path, str(error), "START_TIME") from error
    if math.isnan(by_utc) and math.isnan(by_clock):
        raise InputError(label.path, "neither START_TIME nor SPACECRAFT_CLOCK_START_COUNT has a time", "START_TIME")
    return (by_clock if math.isnan(by_utc) else by_utc), by_utc - by_clock
