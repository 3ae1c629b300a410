"""Image sets of the mission's public site: the codes as PNG, and the label as JSON (missionjuno.swri.edu/junocam).

The JSON is named by a number of the site, so it is found by the PRODUCT_ID it states: beside the picture, in the folder
above, or in a folder ``metadata`` of either.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from instruments.junocam.labels import image_label
from instruments.junocam.raw import framelets, granule_of
from pipeline.clock import Sclk, Span
from pipeline.errors import InputError
from pipeline.formats.pds3 import Label, Quantity
from pipeline.instrument import Granule, RawFormat

LIMIT = 1 << 20  # bytes of a JSON; real ones have 2 kB
NAME = re.compile(r"(JNCE_\d{7}_\d{2}[A-Z]\d{5}_V\d{2})-raw\.png", re.IGNORECASE)
_NUMBER = re.compile(r"([-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?)(?:\s*<(\w+)>)?")


def open_imageset(path: Path, clock: Sclk) -> Granule:
    """Granule of a raw PNG and the JSON that belongs to it; raises InputError."""
    match = NAME.fullmatch(path.name)
    if match is None:
        raise InputError(path, "not named like the raw picture of an image set")
    metadata = _metadata_of(path, match[1].upper())
    described = image_label(read_metadata(metadata), "E", clock)
    size = _picture_size(path)
    if size != (described.samples, described.lines):
        reason = f"{size[0]} x {size[1]} pixels; {metadata.name} has {described.samples} x {described.lines}"
        raise InputError(path, reason)
    return granule_of(described, "junocam.imageset", {"data": path, "label": metadata})


def read_imageset(granules: Sequence[Granule], span: Span | None, clock: Sclk) -> xr.Dataset:
    """Codes of an image's framelets (see `raw.framelets`); raises InputError.

    A PNG cannot be read in parts: the codes of the last picture, one byte each, stay in memory.
    """
    (granule,) = granules
    described = image_label(read_metadata(granule.files["label"]), "E", clock)
    path = granule.files["data"]
    stat = path.stat()
    return framelets(described, _codes(path, stat.st_size, stat.st_mtime_ns), span)


def read_metadata(path: Path) -> Label:
    """The JSON as a label: numbers with their units as a PDS3 label has them; raises InputError."""
    try:
        raw = path.read_bytes()[: LIMIT + 1]
        document = json.loads(raw.decode("utf-8-sig")) if len(raw) <= LIMIT else None
    except OSError as error:
        raise InputError(path, f"cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(path, f"not the JSON of an image set: {error}") from error
    if not isinstance(document, dict):
        raise InputError(path, "not the JSON of an image set: a mapping of keywords is expected")
    pairs = [(str(key), _value(str(key), value)) for key, value in document.items()]
    return Label(pairs, path, raw.decode("utf-8-sig"))


# Keywords whose text is a number in the JSON and in a PDS3 label as well.
_NUMERIC = {
    "EXPOSURE_DURATION", "INTERFRAME_DELAY", "FOCAL_PLANE_TEMPERATURE", "SOLAR_DISTANCE", "SPACECRAFT_ALTITUDE",
    "SUB_SPACECRAFT_LATITUDE", "SUB_SPACECRAFT_LONGITUDE", "LINES", "LINE_SAMPLES", "SAMPLING_FACTOR",
    "SAMPLE_BITS", "JNO:TDI_STAGES_COUNT", "ORBIT_NUMBER",
}  # fmt: skip


def _value(key: str, value: Any) -> Any:
    match = _NUMBER.fullmatch(value.strip()) if key in _NUMERIC and isinstance(value, str) else None
    if match is None:
        return value
    number = int(match[1]) if re.fullmatch(r"[-+]?\d+", match[1]) else float(match[1])
    return Quantity(number, match[2]) if match[2] else number


def _metadata_of(path: Path, product: str) -> Path:
    folders = dict.fromkeys(
        folder.resolve() / below for folder in (path.parent, path.parent.parent) for below in ("", "metadata")
    )
    found = []
    for folder in folders:
        state = tuple(
            (p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in sorted(folder.glob("*.json")) if p.is_file()
        )
        found += [folder / name for name in _by_product(folder, state).get(product, [])]
    if not found:
        raise InputError(path, f"no JSON beside it, above it or in a folder metadata states PRODUCT_ID {product}")
    return found[0]


@lru_cache(maxsize=32)
def _by_product(folder: Path, state: tuple[tuple[str, int, int], ...]) -> Mapping[str, list[str]]:
    """Names of the JSON files of a folder by the product they describe; others are left aside."""
    found: dict[str, list[str]] = {}
    for name, _, _ in state:
        try:
            product = read_metadata(folder / name).get("PRODUCT_ID")
        except InputError:
            continue
        found.setdefault(str(product).upper(), []).append(name)
    return found


def _picture_size(path: Path) -> tuple[int, int]:
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path, formats=["PNG"]) as picture:
                if picture.mode != "L":
                    raise InputError(path, f"a picture of mode {picture.mode}; codes are 8 bit grey")
                return picture.size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(path, f"not a readable PNG: {error}") from error


@lru_cache(maxsize=1)
def _codes(path: Path, size: int, changed: int) -> NDArray[np.uint8]:
    """All codes of a picture, (lines, samples); those of the last one are kept."""
    from PIL import Image

    del size, changed
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path, formats=["PNG"]) as picture:
                picture.verify()  # its checksums, which decoding does not look at
            with Image.open(path, formats=["PNG"]) as picture:
                return np.asarray(picture, np.uint8)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(path, f"not a readable PNG: {error}") from error


IMAGESET = RawFormat(
    "junocam.imageset",
    "Image set of the public site: PNG and JSON",
    NAME.pattern,
    open_imageset,
    read_imageset,
    index="framelet",
)
