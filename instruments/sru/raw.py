"""The archive's EDR images: one FITS file with a PDS3 label for each; reader and writer (README.md, "Images").

The FITS headers are stripped to the minimum, everything about an image stands in its label.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from astropy.io import fits
from numpy.typing import NDArray

from pipeline.clock import Sclk, Span, format_utc, parse_utc
from pipeline.errors import InputError
from pipeline.formats.defects import corrected
from pipeline.formats.pds3 import Label, Quantity, read_label, write_label
from pipeline.instrument import Granule, RawFormat

NAME = re.compile(r"(SRU_(?P<unit>[12])_20\d{5}T\d{6}_(?P<orbit>\d{2}))_V(?P<version>\d{2})\.FIT", re.IGNORECASE)
DATA_SET = "JNO-J-SRU-EDR-2-L0-V1.0"
SIMULATED = "SIMULATED, NOT A MEASUREMENT"
SIZE = 512  # rows and columns
LARGEST = 2**14 - 1
RECORD = 2880  # bytes of a FITS block
# More pixels than this beyond 14 bits are no bit errors.
DAMAGED_SHARE = 0.01
# Seconds by which the two times of a label may differ.
AGREE = 0.5
# The longest exposure that is believed, s.
LONGEST_EXPOSURE = 60.0

Pixels = NDArray[np.int16]


class Exposure(NamedTuple):
    """What a label says of an image.

    Parameters
    ----------
    unit : 1 or 2.
    et : begin of the exposure.
    seconds : its duration.
    tdi : whether rows were shifted with the spin.
    conflict : whether clock and UTC contradict each other.
    """

    unit: int
    et: float
    seconds: float
    tdi: bool
    conflict: bool


# Reader


def open_edr(path: Path, clock: Sclk) -> Granule:
    """Open an image by its label: `RawFormat.open`."""
    match = NAME.fullmatch(path.name)
    if match is None:
        raise InputError(path, "is not named like SRU_1_2024100T045333_60_V01.FIT")
    label, corrections = _label(path)
    exposure = _exposure(label, int(match["unit"]), clock)
    meta = {
        "simulated": "SIMULATED" in str(label.get("NOTE", "")).upper(),
        "exposure": exposure._asdict(),
        "target": str(label.get("TARGET_NAME", "")),
        "corrections": "; ".join(map(str, corrections)),
    }
    stop = exposure.et + exposure.seconds
    files = {"data": path, "label": label.path}
    return Granule("sru", "sru.edr", match[1].upper(), int(match["version"]), exposure.et, stop, files, meta=meta)


def _label(path: Path) -> tuple[Label, tuple[Any, ...]]:
    """The label beside an image, put right."""
    beside = next((p for s in (".LBL", ".lbl") if (p := path.with_suffix(s)).is_file()), None)
    if beside is None:
        raise InputError(path, f"its label {path.with_suffix('.LBL').name} is not beside it")
    label, corrections = corrected(read_label(beside))
    product = label.need("PRODUCT_ID", str)
    if product.upper() != path.stem.upper():
        raise InputError(beside, f"describes {product}, not {path.stem}", "PRODUCT_ID")
    named, _ = label.pointer("IMAGE")
    if named.name.upper() != path.name.upper():
        raise InputError(beside, f"points at {named.name}, not {path.name}", "^IMAGE")
    image = label.need("IMAGE")
    for key in ("LINES", "LINE_SAMPLES"):
        if label.need(key, int, image) != SIZE:
            raise InputError(beside, f"{image[key]}, {SIZE} expected", key)
    return label, corrections


def _exposure(label: Label, unit: int, clock: Sclk) -> Exposure:
    start, stop = (_utc(label, key) for key in ("START_TIME", "STOP_TIME"))
    seconds = _seconds(label) if "EXPOSURE_DURATION" in label else stop - start
    if not 0.0 < seconds <= LONGEST_EXPOSURE:
        raise InputError(label.path, f"an exposure of {seconds:g} s", "EXPOSURE_DURATION")
    et, conflict = _start(label, start, clock)
    tdi = str(label.need("JNO:TDI_ON")).upper()
    if tdi not in ("YES", "NO", "TRUE", "FALSE"):
        raise InputError(label.path, f"{tdi!r}, YES or NO expected", "JNO:TDI_ON")
    return Exposure(unit, et, seconds, tdi in ("YES", "TRUE"), conflict)


def _utc(label: Label, key: str) -> float:
    try:
        return parse_utc(label.need(key, str))
    except ValueError as error:
        raise InputError(label.path, str(error), key) from error


def _seconds(label: Label) -> float:
    value: Any = label["EXPOSURE_DURATION"]
    scale = 1.0
    if isinstance(value, Quantity):
        units = {"S": 1.0, "SECOND": 1.0, "SECONDS": 1.0, "MS": 1e-3, "MILLISECOND": 1e-3, "MILLISECONDS": 1e-3}
        if value.unit.upper() not in units:
            raise InputError(label.path, f"unit {value.unit!r} is none of time", "EXPOSURE_DURATION")
        value, scale = value.value, units[value.unit.upper()]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(label.path, f"{value!r} is no number", "EXPOSURE_DURATION")
    return float(value) * scale


def _start(label: Label, utc: float, clock: Sclk) -> tuple[float, bool]:
    """Begin of the exposure: by the clock count where it resolves more than the UTC and its correlation is known."""
    text = label.need("SPACECRAFT_CLOCK_START_COUNT", str)
    try:
        counted = float(clock.to_et(clock.parse(text)))
    except ValueError as error:
        raise InputError(label.path, str(error), "SPACECRAFT_CLOCK_START_COUNT") from error
    known = not bool(clock.extrapolated(utc))
    conflict = known and abs(counted - utc) > AGREE
    # A row lasts 2.7 ms, a count of 1/256 s 3.9 ms.
    fine = re.search(r":\d{5}\s*$", text) is not None
    return (counted if known and fine and not conflict else utc), conflict


def read_edr(granules: Sequence[Granule], span: Span | None, clock: Sclk) -> xr.Dataset:
    """Read images: `RawFormat.read`.

    Returns
    -------
    xr.Dataset
        ``dn(frame, row, column)`` as archived, 0 where a pixel was not read out; ``damaged(frame)``, pixels beyond 14
        bits, which are 0 too; at the begin of the exposures ``et(frame)``: ``exposure`` in s, ``tdi``, ``unit``,
        ``conflict``.

    Raises
    ------
    InputError
        if a file cannot be used.
    """
    del clock
    used = [g for g in granules if span is None or (g.start < span.stop and g.stop > span.start)]
    images = [read_pixels(g.files["data"]) for g in used]
    told = [Exposure(**g.meta["exposure"]) for g in used]
    dn = np.stack([image for image, _ in images]) if images else np.zeros((0, SIZE, SIZE), np.int16)
    return xr.Dataset(
        {
            "dn": (("frame", "row", "column"), dn, {"units": "1", "long_name": "output of the converter"}),
            "damaged": (("frame",), np.array([n for _, n in images], np.int64), {"long_name": "impossible pixels"}),
            "exposure": (("frame",), np.array([t.seconds for t in told], float), {"units": "s"}),
            "tdi": (("frame",), np.array([t.tdi for t in told], bool), {"long_name": "rows shifted with the spin"}),
            "unit": (("frame",), np.array([t.unit for t in told], np.int8), {"long_name": "unit, 1 or 2"}),
            "conflict": (("frame",), np.array([t.conflict for t in told], bool), {"long_name": "two times differ"}),
        },
        coords={"et": (("frame",), np.array([t.et for t in told], float), {"units": "s", "long_name": "begin"})},
    )


def read_pixels(path: Path) -> tuple[Pixels, int]:
    """Pixels of a file, and how many were impossible (those are 0, not valid).

    Raises
    ------
    InputError
        if it is no FITS file with an image of 512 x 512 16-bit numbers, is cut short, has bytes too few or too many, or
        many of its pixels are beyond 14 bits.
    """
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of astropy, about what is refused below
            header = fits.Header.fromfile(file)
            begin = file.tell()
            stored, rest = file.read(2 * SIZE * SIZE), file.read()
        shape = tuple(header.get(f"NAXIS{i + 1}") for i in range(int(header.get("NAXIS", 0))))
        form = header.get("BITPIX"), shape
        scaled = header.get("BSCALE", 1) != 1 or header.get("BZERO", 0) != 0
    except OSError as error:
        raise InputError(path, f"is no FITS file: {error.strerror or error}") from error
    except Exception as error:  # astropy raises almost anything for a damaged header
        raise InputError(path, f"is no FITS file: {error or type(error).__name__}") from error
    if header.get("SIMPLE") is not True:
        raise InputError(path, "is no FITS file: it does not begin with SIMPLE")
    if form != (16, (SIZE, SIZE)) or scaled:
        raise InputError(path, f"BITPIX {form[0]} and size {form[1]}: {SIZE} x {SIZE} plain 16-bit numbers expected")
    if len(stored) < 2 * SIZE * SIZE:
        raise InputError(path, f"ends after {len(stored)} of {2 * SIZE * SIZE} bytes of pixels", f"byte {begin}")
    filling = -len(stored) % RECORD
    if rest and (len(rest) % RECORD != filling or any(rest[:filling])):
        reason = "behind the pixels its last block is not filled with zeros: bytes are lost, or stand twice"
        raise InputError(path, reason, f"byte {begin + len(stored)}")
    pixels = np.frombuffer(stored, ">i2").reshape(SIZE, SIZE).astype(np.int16)
    wrong = (pixels < 0) | (pixels > LARGEST)
    count = int(wrong.sum())
    if count > DAMAGED_SHARE * pixels.size:
        first = np.argwhere(wrong)[0].tolist()
        reason = f"{count} pixels are beyond 14 bits, the first is {pixels[tuple(first)]}; are its bytes swapped?"
        raise InputError(path, reason, f"row {first[0]}, column {first[1]}")
    return np.where(wrong, np.int16(0), pixels), count


# Writer


def product_id(unit: int, et: float, orbit: int, version: int = 1) -> str:
    """Identifier of an image, by the UTC second its exposure began in."""
    day, time = format_utc(et, 6, day_of_year=True).rstrip("Z")[:17].split("T")
    return f"SRU_{unit}_{day.replace('-', '')}T{time.replace(':', '')}_{orbit:02d}_V{version:02d}"


def write_edr(
    folder: Path, pixels: Pixels, exposure: Exposure, orbit: int, clock: Sclk, *, target: str, simulated: bool
) -> Path:
    """Write an image and its label as the archive has them; `open_edr` and `read_edr` give all of it back.

    Keywords that peers read from real labels; the complete label is not public.
    """
    name = product_id(exposure.unit, exposure.et, orbit)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.FIT"
    header = fits.Header([("SIMPLE", True), ("BITPIX", 16), ("NAXIS", 2), ("NAXIS1", SIZE), ("NAXIS2", SIZE)])
    text = header.tostring(sep="", endcard=True, padding=True).encode("ascii")
    data = np.ascontiguousarray(pixels, ">i2").tobytes()
    path.write_bytes(text + data + bytes(-len(data) % RECORD))
    start, stop = exposure.et, exposure.et + exposure.seconds
    label = {
        "PDS_VERSION_ID": "PDS3",
        "RECORD_TYPE": "FIXED_LENGTH",
        "RECORD_BYTES": RECORD,
        "FILE_RECORDS": path.stat().st_size // RECORD,
        "^HEADER": [path.name, 1],
        "^IMAGE": [path.name, len(text) // RECORD + 1],
        "DATA_SET_ID": DATA_SET,
        "PRODUCT_ID": name,
        "STANDARD_DATA_PRODUCT_ID": "SRU-EDR",
        "PRODUCT_VERSION_ID": "01",
        "PRODUCT_CREATION_TIME": format_utc(stop, 0).rstrip("Z"),
        "INSTRUMENT_HOST_NAME": "JUNO",
        "INSTRUMENT_NAME": "STELLAR REFERENCE UNIT",
        "INSTRUMENT_ID": "SRU",
        "TARGET_NAME": target,
        "ORBIT_NUMBER": orbit,
        "START_TIME": format_utc(start, 3).rstrip("Z"),
        "STOP_TIME": format_utc(stop, 3).rstrip("Z"),
        "SPACECRAFT_CLOCK_START_COUNT": clock.format(float(clock.to_ticks(start))),
        "SPACECRAFT_CLOCK_STOP_COUNT": clock.format(float(clock.to_ticks(stop))),
        "EXPOSURE_DURATION": Quantity(exposure.seconds, "s"),
        "JNO:TDI_ON": "YES" if exposure.tdi else "NO",
        **({"NOTE": SIMULATED} if simulated else {}),
        "HEADER": {"BYTES": len(text), "HEADER_TYPE": "FITS", "RECORDS": len(text) // RECORD},
        "IMAGE": {
            "LINES": SIZE,
            "LINE_SAMPLES": SIZE,
            "SAMPLE_TYPE": "MSB_INTEGER",
            "SAMPLE_BITS": 16,
            "UNIT": "DN",
        },
    }
    path.with_suffix(".LBL").write_bytes(write_label(label).encode("ascii"))
    return path


EDR = RawFormat(
    "sru.edr",
    "Images (FITS with PDS3 label)",
    NAME.pattern,
    open_edr,
    read_edr,
    index="frame",
)
