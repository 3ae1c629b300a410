"""Images written as the archive and as the public site have them; readers: `raw`, `imageset`."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from instruments.junocam.camera import NAIF
from instruments.junocam.labels import KINDS, SIMULATED, ImageLabel
from pipeline.clock import Sclk, format_utc
from pipeline.formats.pds3 import Quantity, write_label

_DATA_SETS = {"E": "JUNO-J-JUNOCAM-2-EDR-L0-V1.0", "R": "JUNO-J-JUNOCAM-3-RDR-L1A-V1.0"}


def write_edr(folder: Path, label: ImageLabel, codes: NDArray[np.uint8], clock: Sclk) -> Path:
    """Write label and image below a volume's folder; returns the path of the label.

    Parameters
    ----------
    codes : (lines, samples), as `label` has them.
    """
    return _write(folder, label, codes, clock, "E")


def write_rdr(folder: Path, label: ImageLabel, values: NDArray[np.uint16], clock: Sclk) -> Path:
    """Write label and image of 10 000 I/F, as `write_edr`."""
    return _write(folder, label, values.astype(">u2"), clock, "R")


def _write(folder: Path, label: ImageLabel, strip: NDArray[Any], clock: Sclk, kind: str) -> Path:
    where = folder / "DATA" / f"{kind}DR" / "JUPITER" / f"ORBIT_{label.orbit:02d}"
    where.mkdir(parents=True, exist_ok=True)
    name = product_id(label, kind)
    content = np.ascontiguousarray(strip).tobytes()
    (where / f"{name}.IMG").write_bytes(content)
    path = where / f"{name}.LBL"
    path.write_text(write_label(_keywords(label, kind, clock, content)), "ascii", newline="")
    return path


def write_imageset(folder: Path, label: ImageLabel, codes: NDArray[np.uint8], clock: Sclk, number: int) -> Path:
    """Write the raw picture and, under the site's number, its JSON; returns the path of the picture."""
    from PIL import Image

    name = product_id(label, "E")
    where, metadata = folder / name, folder / "metadata"
    for one in (where, metadata):
        one.mkdir(parents=True, exist_ok=True)
    path = where / f"{name}-raw.png"
    Image.fromarray(codes).save(path, optimize=False)
    pairs = _keywords(label, "E", clock, codes.tobytes())
    image = pairs.pop("IMAGE")
    del pairs["^IMAGE"], image["MD5_CHECKSUM"]
    pairs |= {**image, "FILE_NAME": path.name, "PJ": str(label.orbit)}
    texts = {key: _site_text(value) for key, value in sorted(pairs.items())}
    (metadata / f"{number}.json").write_text(json.dumps(texts, indent=2) + "\n")
    return path


def product_id(label: ImageLabel, kind: str) -> str:
    """Name of the product: ``JNCE_2022186_43C00078_V01``."""
    return f"JNC{kind}{label.id[4:]}_V{label.version:02d}"


def _site_text(value: Any) -> Any:
    return f"{value.value} <{value.unit}>" if isinstance(value, Quantity) else value


def _clock_count(start: float, clock: Sclk) -> str:
    """Count of the start in seconds and 1/256 s, without the partition."""
    seconds, part = clock.format(float(clock.to_ticks(start)), fraction=256, partition=False).split(".")
    return f"{int(seconds)}:{int(part)}"


def _keywords(label: ImageLabel, kind: str, clock: Sclk, content: bytes) -> dict[str, Any]:
    size = 1 if kind == "E" else 2
    name, start = product_id(label, kind), format_utc(label.start)
    frames = -(-label.framelets // len(label.filters))
    centres = [f"INS-6150{n}_DISTORTION_Y = {label.centres[f]}" for f, n in NAIF.items() if f in label.centres]
    pairs: dict[str, Any] = {
        "PDS_VERSION_ID": "PDS3",
        "RECORD_TYPE": "FIXED_LENGTH",
        "RECORD_BYTES": label.samples * size,
        "FILE_RECORDS": label.lines,
        "^IMAGE": f"{name}.IMG",
        "FILE_NAME": f"{name}.IMG",
        "SPACECRAFT_NAME": "JUNO",
        "MISSION_PHASE_NAME": f"PERIJOVE {label.orbit}",
        "TARGET_NAME": "JUPITER",
        "INSTRUMENT_ID": "JNC",
        "INSTRUMENT_HOST_NAME": "JUNO",
        "INSTRUMENT_NAME": "JUNO EPO CAMERA",
        "PRODUCER_ID": "JUNO_JUNOCAM_TEAM",
        "DATA_SET_ID": _DATA_SETS[kind],
        "STANDARD_DATA_PRODUCT_ID": KINDS[kind],
        "PRODUCT_CREATION_TIME": start[:19],
        "PRODUCT_VERSION_ID": f"{label.version:02d}",
        "PRODUCT_ID": name,
        "START_TIME": start,
        "IMAGE_TIME": start,
        "STOP_TIME": format_utc(label.start + frames * label.interframe),
        "SPACECRAFT_CLOCK_START_COUNT": _clock_count(label.start, clock),
        "SPACECRAFT_CLOCK_STOP_COUNT": "N/A",
        "ORBIT_NUMBER": label.orbit,
        "PROCESSING_LEVEL_ID": "2" if kind == "E" else "3",
        "FOCAL_PLANE_TEMPERATURE": Quantity(273.0 if np.isnan(label.temperature) else label.temperature, "K"),
        "INTERFRAME_DELAY": Quantity(label.interframe, "s"),
        "SUB_SPACECRAFT_LATITUDE": label.latitude,
        "SUB_SPACECRAFT_LONGITUDE": label.longitude,
        "SPACECRAFT_ALTITUDE": Quantity(label.altitude, "km"),
        "SOLAR_DISTANCE": Quantity(label.solar_distance, "km"),
        "SAMPLE_BIT_MODE_ID": label.mode,
        "EXPOSURE_DURATION": Quantity(label.exposure * 1000.0, "ms"),
        "JNO:TDI_STAGES_COUNT": label.tdi_stages,
        "SAMPLING_FACTOR": label.summing,
        "FILTER_NAME": list(label.filters),
        "COMPRESSION_TYPE": label.compression,
        "RATIONALE_DESC": "; ".join(["Simulated imaging" if label.simulated else "Jupiter imaging", *centres]),
    }
    if label.simulated:
        pairs["NOTE"] = SIMULATED
    pairs["IMAGE"] = {
        "LINES": label.lines,
        "LINE_SAMPLES": label.samples,
        "SAMPLE_TYPE": "UNSIGNED_INTEGER",
        "LINE_PREFIX_BYTES": 0,
        "LINE_SUFFIX_BYTES": 0,
        "SAMPLE_BITS": 8 * size,
        "SAMPLE_BIT_MASK": f"2#{'1' * 8 * size}#",
        "MD5_CHECKSUM": hashlib.md5(content, usedforsecurity=False).hexdigest(),
    }
    return pairs
