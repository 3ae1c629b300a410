"""Readers of the archive's raw products: images and spectra, each with its label and LOG table; writer: `raw_write`.

Facts: JIRAM SIS 7.5 (JIR-IFSI-SY-001-2010), sections 6, 10.1, 10.2, 10.13. A product's label is detached; the table
that logs its acquisition has the same time in its name. Science and background frames are formats of their own, so that
a science frame becomes a product with the background frames about it as an input.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from instruments.jiram.layout import (
    BACKGROUND,
    BACKGROUND_SUBTRACTED,
    BANDS,
    COMPRESSED,
    DOUBLE_2,
    IMAGE_BANDS,
    LINES,
    SAMPLES,
    SLIT,
    SLIT_LINES,
    SPECTRAL_SUBFRAME,
    SUBFRAME,
    TEMPERATURES,
    TEXPO,
)
from pipeline.clock import Sclk, Span, parse_utc
from pipeline.errors import InputError, OtherFormatError
from pipeline.formats.checksum import check_md5
from pipeline.formats.defects import corrected
from pipeline.formats.pds3 import Block, Label, Quantity, parse, read_label
from pipeline.formats.pds3_columns import stored_type
from pipeline.formats.pds3_table import read_table
from pipeline.instrument import Granule, RawFormat

NAME = re.compile(r"jir_(img|spe)_(edr|rdr)_(\d{7}t\d{6})_v(\d\d)\.lbl", re.IGNORECASE)
EDR = r"jir_{}_edr_\d{{7}}t\d{{6}}_v\d\d\.lbl"
HOST, INSTRUMENT = "JUNO", "JIR"
SIMULATED = "SIMULATED, NOT A MEASUREMENT"
FRAMES = {"SCIENCE": "science", "BACKGROUND": "background"}
# What is needed of a LOG table.
FIELDS = {
    *("ACQ_TYPE", "ROW_BACK_SUBTRACTION", "EN_DIS_SUB", "COMP_STATUS", "MIN_PIXEL_JPEG", "MAX_PIXEL_JPEG", "TEXPO"),
    *("BKG_REPETITION", "ACQ_REPETITION", "FRAME_ERROR_FLAG"),
    *TEMPERATURES,
}
# A frame is a point in time, but a granule must last.
SHORTEST = 1e-3

Counts = NDArray[np.int16]


def label_of(path: Path) -> Label:
    """The label at a path with what is known to be wrong in it put right; format files may be in a LABEL folder."""
    folder = next((p / "LABEL" for p in path.parents[:4] if (p / "LABEL").is_dir()), None)
    label = corrected(read_label(path, folder))[0]
    for key, wanted in (("INSTRUMENT_HOST_NAME", HOST), ("INSTRUMENT_ID", INSTRUMENT)):
        if label.need(key, str).upper() != wanted:
            raise InputError(path, f"{key} is {label[key]!r}, not {wanted}")
    return label


def product_name(path: Path) -> tuple[str, str, str, int]:
    """Channel (img, spe), level (edr, rdr), time and version in a product's name; raises InputError."""
    match = NAME.fullmatch(path.name)
    if match is None:
        raise InputError(path, "is not named JIR_{IMG,SPE}_{EDR,RDR}_YYYYDDDThhmmss_Vnn.LBL")
    return match[1].lower(), match[2].lower(), match[3].upper(), int(match[4])


def file_block(label: Label) -> Block:
    """The FILE object of a label."""
    block = label.need("FILE", Block)
    assert isinstance(block, Block)
    return block


def interval(label: Label) -> tuple[float, float]:
    """Start and stop in et by the label's UTC, which is right where clock kernels are not."""
    try:
        start, stop = (parse_utc(text) for text in label.times)
    except ValueError as error:
        raise InputError(label.path, str(error), "START_TIME, STOP_TIME") from error
    return start, max(stop, start + SHORTEST)


def open_edr(path: Path, channel: str, kind: str) -> Granule:
    """Open one raw product, of one channel and kind of frame; raises InputError for what is no such product."""
    own, level, time, version = product_name(path)
    label = label_of(path)
    frame = str(file_block(label).get("FRAME_TYPE", "missing")).upper()
    if FRAMES.get(frame) != kind or (own, level) != (channel, "edr"):
        raise OtherFormatError(
            path, f"{own.upper()} {level.upper()} of frame type {frame}: not a {channel} {kind} frame"
        )
    data = label.pointer("IMAGE" if channel == "img" else "TABLE")[0]
    log = log_of(path)
    start, stop = interval(label)
    files = {"label": path, "data": data, "log_label": log, "log": label.resolve(f"{log.stem}.TAB")}
    meta = {"simulated": "SIMULATED" in label.text}
    name = f"jir_{channel}_{time}".lower()
    return Granule("jiram", _format(channel, kind), name, version, start, stop, files, meta=meta)


def _format(channel: str, kind: str) -> str:
    what = "image" if channel == "img" else "spectrum"
    return f"jiram.{what}_edr" if kind == "science" else f"jiram.{what}_background_edr"


def log_of(path: Path) -> Path:
    """Label of the LOG table of a product, in its folder; raises InputError if there is none."""
    channel, level, time, _ = product_name(path)
    pattern = re.compile(rf"jir_log_{channel}_{level}_{time}_v\d\d\.lbl", re.IGNORECASE)
    found = sorted(p for p in path.parent.iterdir() if pattern.fullmatch(p.name))
    if not found:
        wanted = f"JIR_LOG_{channel.upper()}_{level.upper()}_{time}"
        reason = f"its LOG table {wanted} is not there: whether background was subtracted on board is not known"
        raise InputError(path, reason)
    return found[-1]


def read_log(path: Path) -> dict[str, int]:
    """Every field of a LOG table, bit columns included; its second times are SECONDS_2, SUBSECONDS_2."""
    label = read_label_like_others(path)
    table = read_table(corrected(label)[0])
    if table.rows != 1:
        raise InputError(path, f"{table.rows} rows, one is expected")
    values: dict[str, int] = {}
    for name in table:
        row = table[name][0]
        values[name] = int(row) if np.ndim(row) == 0 else int(row[0]) * 65536 + int(row[1])
    missing = sorted(FIELDS - set(values))
    if missing:
        raise InputError(path, f"has no column {', '.join(missing)}")
    return values


def read_label_like_others(path: Path) -> Label:
    """A label whose TABLE object is parsed once for all labels that have the same: LOG labels differ in their head."""
    try:
        text = path.read_text("latin-1")
    except OSError as error:
        raise InputError(path, f"cannot be read: {error.strerror}") from error
    match = re.search(r"^ *OBJECT *= *TABLE\s.*^ *END_OBJECT *= *TABLE *$", text, re.MULTILINE | re.DOTALL)
    if match is None:
        return read_label(path)
    try:
        head = parse(text[: match.start()] + text[match.end() :], path)
        return Label([*head, *_parsed(match[0])], path, text)
    except InputError:
        return read_label(path)  # which says where it is wrong


@lru_cache(maxsize=16)
def _parsed(text: str) -> list[tuple[str, Any]]:
    return parse(text)


# The samples


def samples(label: Label, pointer: str, shape: tuple[int, int], kind: np.dtype[Any]) -> NDArray[Any]:
    """A raster of one kind of sample; raises InputError if the file is not that of the label."""
    path, start = label.pointer(pointer)
    try:
        content = path.read_bytes()[start:]
    except OSError as error:
        raise InputError(path, f"cannot be read: {error.strerror}") from error
    size = shape[0] * shape[1] * kind.itemsize
    if len(content) != size:
        raise InputError(path, f"has {len(content)} bytes; {shape[0]} lines of {shape[1]} samples are {size}")
    check_md5(label, path)
    return np.frombuffer(content, kind).reshape(shape)


def image_shape(label: Label) -> tuple[Block, tuple[int, int], tuple[str, ...]]:
    """IMAGE object, lines and samples, and the bands of an image: of 256 lines L comes first."""
    block = label.need("IMAGE", Block, file_block(label))
    shape = (label.need("LINES", int, block), label.need("LINE_SAMPLES", int, block))
    mode = str(label.get("INSTRUMENT_MODE_ID", ""))
    match = re.match(r"(?:SCI|CAL)_I(\d)", mode)
    bands = IMAGE_BANDS.get(int(match[1]), ()) if match else ()
    if shape != (LINES * len(bands), SAMPLES) or not bands:
        raise InputError(label.path, f"{shape[0]} lines of {shape[1]} samples in mode {mode!r}", "IMAGE")
    return block, shape, bands


def _sample_type(label: Label, block: Block) -> np.dtype[Any]:
    bits = label.need("SAMPLE_BITS", int, block)
    kind = stored_type(str(block.get("SAMPLE_TYPE")), bits // 8, text=False)
    if kind is None or kind.str not in ("<i2", ">i2"):
        raise InputError(label.path, f"SAMPLE_TYPE {block.get('SAMPLE_TYPE')} of {bits} bits", "IMAGE")
    return kind


def _image(granule: Granule) -> tuple[dict[str, Any], Label, dict[str, int]]:
    label = label_of(granule.files["label"])
    log = read_log(granule.files["log_label"])
    block, shape, bands = image_shape(label)
    raster = samples(label, "IMAGE", shape, _sample_type(label, block))
    counts = np.zeros((2, LINES, SAMPLES), np.int16)
    present = np.zeros(2, bool)
    for half, band in enumerate(bands):
        place = "LM".index(band)
        counts[place], present[place] = raster[half * LINES : (half + 1) * LINES], True
    lost = ~counts.reshape(2, LINES, SAMPLES // SUBFRAME, SUBFRAME).any(axis=(1, 3)) & present[:, None]
    return {"counts": counts, "present": present, "lost": lost}, label, log


def _spectrum(granule: Granule) -> tuple[dict[str, Any], Label, dict[str, int]]:
    label = label_of(granule.files["label"])
    log = read_log(granule.files["log_label"])
    block = label.need("TABLE", Block, file_block(label))
    lines, width = label.need("ROWS", int, block), label.need("ROW_BYTES", int, block)
    if lines not in SLIT_LINES.values() or lines == 0 or width != 2 * BANDS:
        raise InputError(label.path, f"{lines} rows of {width} bytes are no spectra of this instrument", "TABLE")
    counts = np.zeros((SLIT, BANDS), np.int16)
    counts[:lines] = samples(label, "TABLE", (lines, BANDS), np.dtype("<i2"))
    lost = ~counts[:lines].reshape(lines, BANDS // SPECTRAL_SUBFRAME, SPECTRAL_SUBFRAME).any(axis=(0, 2))
    return {"counts": counts, "slit_lines": np.int64(lines), "lost": lost}, label, log


# What comes with them


# Seconds; an exposure is a fraction of a turn of the spacecraft.
LONGEST = 60.0


def quantity(label: Label, name: str, unit: str) -> float:
    """A number of a label, with or without its unit; raises InputError."""
    value = label.need(name)
    if isinstance(value, Quantity):
        if value.unit.lower() not in (unit, unit[0]):
            raise InputError(label.path, f"unit {value.unit!r}, {unit} is expected", name)
        value = value.value
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < LONGEST:
        raise InputError(label.path, f"{value!r} is no number of {unit}s between 0 and {LONGEST:g}", name)
    return float(value)


def vector(label: Label, name: str, size: int) -> NDArray[np.float64]:
    """A vector of a label, NaN where it has none."""
    values = label.get(name)
    plain = [v.value if isinstance(v, Quantity) else v for v in values] if isinstance(values, list) else []
    good = len(plain) == size and all(isinstance(v, int | float) and math.isfinite(v) for v in plain)
    return np.array(plain, np.float64) if good else np.full(size, np.nan)


def _circumstances(granule: Granule, label: Label, log: dict[str, int]) -> dict[str, Any]:
    exposure = quantity(label, "EXPOSURE_DURATION", "second")
    kind = log["ACQ_TYPE"]
    wanted = range(BACKGROUND, BACKGROUND + 1) if granule.format.endswith("background_edr") else range(DOUBLE_2 + 1)
    if kind not in wanted:
        frame = file_block(label).get("FRAME_TYPE")
        raise InputError(granule.files["log"], f"ACQ_TYPE {kind}, but the label's FRAME_TYPE is {frame}")
    return {
        "et": granule.start,
        "exposure": exposure,
        "exposure_log": log["TEXPO"] * TEXPO,
        "subtracted": np.int64(log["ROW_BACK_SUBTRACTION"] if log["EN_DIS_SUB"] == 0 else 0),
        "cycle": 30.0 * log["BKG_REPETITION"] * max(log["ACQ_REPETITION"], 1),  # one acquisition a spin at most
        "compressed": log["COMP_STATUS"] == COMPRESSED,
        "scale": np.array([log["MIN_PIXEL_JPEG"], log["MAX_PIXEL_JPEG"]], np.int64),
        "temperature_counts": np.array([log[name] for name in TEMPERATURES], np.int64),
        "complete": str(file_block(label).get("DATA_QUALITY_ID", "1")) != "0" and not log["FRAME_ERROR_FLAG"],
        "quaternion": vector(label, "QUATERNION", 4),
        "position": vector(label, "SC_TARGET_POSITION_VECTOR", 3),
    }


DIMS = {
    "scale": ("et", "end"),
    "temperature_counts": ("et", "sensor"),
    "quaternion": ("et", "q"),
    "position": ("et", "xyz"),
    "present": ("et", "band"),
}
IMAGE_DIMS = {"counts": ("et", "band", "line", "sample"), "lost": ("et", "band", "subframe")}
SPECTRUM_DIMS = {"counts": ("et", "slit", "channel"), "lost": ("et", "subframe")}


def _read(granules: Sequence[Granule], span: Span | None, image: bool) -> xr.Dataset:
    rows = []
    for granule in sorted(granules, key=lambda g: (g.start, g.id)):
        if span is None or span.contains(granule.start):
            content, label, log = (_image if image else _spectrum)(granule)
            rows.append({**content, **_circumstances(granule, label, log)})
            if log["ROW_BACK_SUBTRACTION"] > BACKGROUND_SUBTRACTED and log["EN_DIS_SUB"] == 0:
                raise InputError(granule.files["log"], "a reference row was subtracted on board: not supported")
    dims = {**DIMS, **(IMAGE_DIMS if image else SPECTRUM_DIMS)}
    if not rows:
        return xr.Dataset({"counts": (dims["counts"], np.zeros((0,) * len(dims["counts"]), np.int16))})
    stacked = {name: np.stack([np.asarray(row[name]) for row in rows]) for name in rows[0]}
    dataset = xr.Dataset({name: (dims.get(name, ("et",)), value) for name, value in stacked.items()})
    times, first = np.unique(stacked["et"], return_index=True)
    simulated = {"simulated": SIMULATED} if any(g.meta.get("simulated") for g in granules) else {}
    dataset = dataset.isel(et=first) if len(times) < len(rows) else dataset
    return dataset.set_coords("et").assign_attrs(simulated)


def read_images(granules: Sequence[Granule], span: Span | None, clock: Sclk) -> xr.Dataset:
    """Read images: `RawFormat.read`.

    Returns
    -------
    xr.Dataset
        ``counts(et, band, line, sample)`` int16, bands L and M, ``present(et, band)``, ``lost(et, band, subframe)``:
        sub-frames of 144 samples that hold nothing but the zeros of missing packets; ``exposure(et)`` in s by the label
        and ``exposure_log(et)``; ``subtracted(et)``, ``cycle(et)`` in s, ``compressed(et)``, ``scale(et, end)``,
        ``temperature_counts(et, sensor)`` of the LOG table; ``complete(et)``; the label's ``quaternion(et, q)`` and
        ``position(et, xyz)`` in IAU_JUPITER, km, NaN where it has none.

    Raises
    ------
    InputError
        if a file is not what its label and LOG table say.
    """
    del clock
    return _read(granules, span, image=True)


def read_spectra(granules: Sequence[Granule], span: Span | None, clock: Sclk) -> xr.Dataset:
    """Read spectra: like `read_images`, with ``counts(et, slit, channel)``, ``slit_lines``, ``lost(et, subframe)``."""
    del clock
    return _read(granules, span, image=False)


def _raw_format(channel: str, kind: str) -> RawFormat:
    what = {"img": "images", "spe": "spectra"}[channel]

    def opened(path: Path, clock: Sclk) -> Granule:
        del clock
        return open_edr(path, channel, kind)

    return RawFormat(
        name=_format(channel, kind),
        title=f"PDS3 raw {what} (EDR), {kind} frames",
        pattern=EDR.format(channel),
        open=opened,
        read=read_images if channel == "img" else read_spectra,
    )


IMAGE = _raw_format("img", "science")
IMAGE_BACKGROUND = _raw_format("img", "background")
SPECTRUM = _raw_format("spe", "science")
SPECTRUM_BACKGROUND = _raw_format("spe", "background")
