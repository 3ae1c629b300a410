"""Reader of the archive's reduced products (RDR), for comparison and where raw products are not at hand.

Samples are 32-bit floats, little-endian whatever the label says (`pipeline.formats.defects`). Images are in
W m^-2 sr^-1 since products of mid-2021, before in W m^-2 um^-1 sr^-1: the label's UNIT tells.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from instruments.jiram.layout import BANDS, LINES, SAMPLES, SLIT_LINES, SPECTRAL_SUBFRAME, SUBFRAME
from instruments.jiram.raw import file_block, image_shape, interval, label_of, product_name, samples
from pipeline.clock import Sclk, Span
from pipeline.errors import InputError
from pipeline.formats.pds3 import Block, Label
from pipeline.formats.pds3_columns import columns_of, expanded, stored_type
from pipeline.instrument import Granule, RawFormat

# Largest radiance that Jupiter or its moons may have in these bands; beyond, bytes were read in the wrong order.
PLAUSIBLE = 1e4
PER_MICRON = {"W/(M^2*SR*MICRON)": True, "W/(M^2*SR*UM)": True, "W/(M^2*SR)": False}


def open_rdr(path: Path, channel: str) -> Granule:
    """Open one reduced product; raises InputError for what is none."""
    own, level, time, version = product_name(path)
    label = label_of(path)
    frame = str(file_block(label).get("FRAME_TYPE", "missing")).upper()
    if (own, level) != (channel, "rdr") or frame != "SCIENCE":
        raise InputError(path, f"{own.upper()} {level.upper()} of frame type {frame}: not a reduced {channel} product")
    data = label.pointer("IMAGE" if channel == "img" else "TABLE")[0]
    start, stop = interval(label)
    name = "jiram.image_rdr" if channel == "img" else "jiram.spectrum_rdr"
    meta = {"simulated": "SIMULATED" in label.text}
    files = {"label": path, "data": data}
    return Granule("jiram", name, f"jir_{channel}_{time}".lower(), version, start, stop, files, meta=meta)


def per_micron(label: Label) -> bool:
    """Whether the label's UNIT is one of spectral radiance; raises InputError for another unit."""
    unit = str(label.need("UNIT", str, file_block(label))).upper().replace(" ", "")
    if unit not in PER_MICRON:
        raise InputError(label.path, f"{unit!r} is no unit of radiance that is known", "UNIT")
    return PER_MICRON[unit]


def _floats(label: Label, pointer: str, shape: tuple[int, int], kind: np.dtype[Any] | None) -> NDArray[np.float32]:
    if kind is None or kind.kind != "f" or kind.itemsize != 4:
        raise InputError(label.path, f"samples of type {kind}, 32-bit reals are expected", pointer)
    values = samples(label, pointer, shape, kind).astype(np.float32)
    bad = ~(np.abs(values) < PLAUSIBLE)
    if bad.mean() > 0.01:
        raise InputError(label.path, f"{100 * bad.mean():.0f} % of the samples are no radiance: order of their bytes?")
    return np.where(bad, np.float32(np.nan), values)


def _image(label: Label) -> dict[str, Any]:
    block, shape, bands = image_shape(label)
    kind = stored_type(str(block.get("SAMPLE_TYPE")), label.need("SAMPLE_BITS", int, block) // 8, text=False)
    raster = _floats(label, "IMAGE", shape, kind)
    values, present = np.full((2, LINES, SAMPLES), np.nan, np.float32), np.zeros(2, bool)
    for half, band in enumerate(bands):
        place = "LM".index(band)
        values[place], present[place] = raster[half * LINES : (half + 1) * LINES], True
    there = values.reshape(2, LINES, SAMPLES // SUBFRAME, SUBFRAME)
    return {"radiance": values, "present": present, "lost": ~(np.nan_to_num(there) != 0).any(axis=(1, 3))}


def _spectrum(label: Label) -> dict[str, Any]:
    block = Block(list(expanded(label, label.need("TABLE", Block, file_block(label)))))
    lines = label.need("ROWS", int, block)
    columns = columns_of(label, block, text=False)
    number = sum(int(np.prod(c.shape, dtype=int)) for c in columns)
    if lines not in SLIT_LINES.values() or lines == 0 or number != BANDS:
        raise InputError(label.path, f"{lines} rows of {number} samples are no spectra of this instrument", "TABLE")
    values = _floats(label, "TABLE", (lines, BANDS), columns[0].dtype)
    there = values.reshape(lines, BANDS // SPECTRAL_SUBFRAME, SPECTRAL_SUBFRAME)
    return {"radiance": values, "lost": ~(np.nan_to_num(there) != 0).any(axis=(0, 2))}


def _read(granules: Sequence[Granule], span: Span | None, channel: str) -> xr.Dataset:
    dims = ("et", "band", "line", "sample") if channel == "img" else ("et", "slit", "channel")
    chosen = [g for g in granules if span is None or span.contains(g.start)]
    if len(chosen) > 1:
        raise InputError(chosen[1].files["label"], "one reduced product is read at a time")
    if not chosen:
        return xr.Dataset({"radiance": (dims, np.zeros((0,) * len(dims), np.float32))})
    label = label_of(chosen[0].files["label"])
    content = (_image if channel == "img" else _spectrum)(label)
    start, stop = interval(label)
    each = {
        **content,
        "exposure": stop - start,
        "per_micron": per_micron(label),
        "complete": str(file_block(label).get("DATA_QUALITY_ID", "1")) != "0",
    }
    named = {"radiance": dims, "present": ("et", "band")}
    named["lost"] = ("et", "band", "subframe") if channel == "img" else ("et", "subframe")
    data = {name: (named.get(name, ("et",)), np.asarray(value)[None]) for name, value in each.items()}
    return xr.Dataset(data, coords={"et": [start]})


def read_images(granules: Sequence[Granule], span: Span | None, clock: Sclk) -> xr.Dataset:
    """Read one image: `RawFormat.read`.

    Returns
    -------
    xr.Dataset
        ``radiance(et, band, line, sample)`` as archived, NaN where it is none; ``present(et, band)``,
        ``lost(et, band, subframe)``, ``exposure(et)`` (stop less start), ``per_micron(et)``: spectral radiance or
        radiance of the band; ``complete(et)``.
    """
    del clock
    return _read(granules, span, "img")


def read_spectra(granules: Sequence[Granule], span: Span | None, clock: Sclk) -> xr.Dataset:
    """Read one set of spectra: like `read_images`, with ``radiance(et, slit, channel)`` and ``lost(et, subframe)``."""
    del clock
    return _read(granules, span, "spe")


def _open_image(path: Path, clock: Sclk) -> Granule:
    del clock
    return open_rdr(path, "img")


def _open_spectrum(path: Path, clock: Sclk) -> Granule:
    del clock
    return open_rdr(path, "spe")


PATTERN = r"jir_{}_rdr_\d{{7}}t\d{{6}}_v\d\d\.lbl"
IMAGE_RDR = RawFormat(
    "jiram.image_rdr", "PDS3 reduced images (RDR)", PATTERN.format("img"), _open_image, read_images, level="calibrated"
)
SPECTRUM_RDR = RawFormat(
    "jiram.spectrum_rdr",
    "PDS3 reduced spectra (RDR)",
    PATTERN.format("spe"),
    _open_spectrum,
    read_spectra,
    level="calibrated",
)
