"""Images as the archive has them: a detached PDS3 label and a file of samples without a header; writer: `raw_write`.

EDR: one byte per sample, as companded on board. RDR: two bytes, most significant first (the label's SAMPLE_TYPE says
nothing of the order), scaled so that I/F 1 reads 10 000. Of either only the framelets asked for are read.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from instruments.junocam.labels import SIMULATED, ImageLabel, image_label
from instruments.junocam.layout import framelet_lines
from instruments.junocam.timing import timing_list, timing_of
from pipeline.clock import Sclk, Span
from pipeline.errors import InputError
from pipeline.formats.checksum import check_md5
from pipeline.formats.pds3 import Label, read_label
from pipeline.instrument import Granule, RawFormat

BYTES = {"E": 1, "R": 2}


def granule_of(described: ImageLabel, format_name: str, files: dict[str, Path]) -> Granule:
    """The granule an image is."""
    meta = {
        "filters": " ".join(described.filters),
        "lines": described.lines,
        "samples": described.samples,
        "exposure": described.exposure,
        "clock_difference": described.clock_difference,
    }
    if described.simulated:
        meta["simulated"] = SIMULATED
    start = described.frame_start(0)
    return Granule("junocam", format_name, described.id, described.version, start, described.stop, files, meta=meta)


def _open(path: Path, clock: Sclk, kind: str) -> Granule:
    label = read_label(path)
    described = image_label(label, kind, clock)
    data = _image_file(label)
    wanted = described.lines * described.samples * BYTES[kind]
    size = data.stat().st_size
    if size != wanted:
        reason = f"{size} bytes; {described.lines} lines of {described.samples} samples have {wanted}"
        raise InputError(data, reason)
    files = {"label": path, "data": data}
    if timing := timing_list(path, kind):
        files["timing"] = timing
    return granule_of(described, f"junocam.{'edr' if kind == 'E' else 'rdr'}", files)


def open_edr(path: Path, clock: Sclk) -> Granule:
    """Granule of an EDR's label; raises InputError."""
    return _open(path, clock, "E")


def open_rdr(path: Path, clock: Sclk) -> Granule:
    """Granule of an RDR's label, with the identity of the EDR it was made from; raises InputError."""
    return _open(path, clock, "R")


def _image_file(label: Label) -> Path:
    path, offset = label.pointer("IMAGE")
    if offset:
        raise InputError(label.path, f"the image begins at byte {offset}; it has no header", "^IMAGE")
    return path


def _read(granules: Sequence[Granule], span: Span | None, clock: Sclk, kind: str) -> xr.Dataset:
    (granule,) = granules
    label = read_label(granule.files["label"])
    described = image_label(label, kind, clock)
    data = granule.files["data"]
    check_md5(label, data)
    samples = np.memmap(data, ">u2" if kind == "R" else "u1", "r", shape=(described.lines, described.samples))
    state, offset = timing_of(granule.files.get("timing"), described.id)
    return framelets(described, samples, span).assign_attrs(timing_state=state, timing_offset=offset)


def read_edr(granules: Sequence[Granule], span: Span | None, clock: Sclk) -> xr.Dataset:
    """Codes of an image's framelets (see `framelets`); raises InputError."""
    return _read(granules, span, clock, "E")


def read_rdr(granules: Sequence[Granule], span: Span | None, clock: Sclk) -> xr.Dataset:
    """The archive's 10 000 I/F of an image's framelets (see `framelets`); raises InputError."""
    return _read(granules, span, clock, "R")


def framelets(label: ImageLabel, strip: NDArray[Any], span: Span | None) -> xr.Dataset:
    """The framelets of an image whose middle lies in a span.

    Parameters
    ----------
    strip : the image as it is sent, (lines, samples).

    Returns
    -------
    xr.Dataset
        value(framelet, line, sample) as sent, lines_there(framelet): how many lines of it were sent; the rest is 0.
        Coordinates along the framelets: et (middle of the exposure), et_start, filter, frame, stated_centre (of the
        optical axis, where the label states it). Attributes:
        what the label says.
    """
    height, number = framelet_lines(label.summing), np.arange(label.framelets)
    frame = number // len(label.filters)
    start = np.array([label.frame_start(int(f)) for f in frame])
    middle = start + label.exposure / 2
    use = number if span is None else number[span.contains(middle)]
    there = np.minimum(height, label.lines - use * height)
    value = np.zeros((use.size, height, label.samples), strip.dtype.newbyteorder("="))
    for place, (k, lines) in enumerate(zip(use, there, strict=True)):
        value[place, :lines] = strip[k * height : k * height + lines]
    names = [label.filters[k % len(label.filters)] for k in use]
    along = {
        "et": middle[use],
        "et_start": start[use],
        "filter": np.array(names, object),
        "frame": frame[use].astype(np.int32),
        "stated_centre": np.array([label.centres.get(n, np.nan) for n in names]),
    }
    return xr.Dataset(
        {
            "value": (("framelet", "line", "sample"), value),
            "lines_there": ("framelet", there.astype(np.int16)),
        },
        coords={name: ("framelet", values) for name, values in along.items()},
        attrs=_said(label),
    )


def _said(label: ImageLabel) -> dict[str, Any]:
    """What a label says of the image as a whole."""
    return {
        "image": label.id,
        "orbit": label.orbit,
        "number": label.number,
        "start": label.start,
        "clock_difference": label.clock_difference,
        "timing_state": "no list",
        "timing_offset": float("nan"),
        "exposure": label.exposure,
        "interframe": label.interframe,
        "tdi_stages": label.tdi_stages,
        "mode": label.mode,
        "compression": label.compression,
        "summing": label.summing,
        "solar_distance": label.solar_distance,
        "altitude": label.altitude,
        "latitude": label.latitude,
        "longitude": label.longitude,
        "temperature": label.temperature,
        "label_corrections": label.corrections,
    }


EDR = RawFormat(
    "junocam.edr",
    "EDR: codes as sent, PDS3",
    r"JNCE_\d{7}_\d{2}[A-Z]\d{5}_V\d{2}\.LBL",
    open_edr,
    read_edr,
    index="framelet",
)
RDR = RawFormat(
    "junocam.rdr",
    "RDR: the archive's I/F, PDS3",
    r"JNCR_\d{7}_\d{2}[A-Z]\d{5}_V\d{2}\.LBL",
    open_rdr,
    read_rdr,
    index="framelet",
    level="calibrated",
)
