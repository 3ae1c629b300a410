"""Writer of the archive's raw products, side by side with their readers in `raw`: labels, samples, LOG tables.

Labels hold the keywords of real ones (JIRAM SIS 7.5, sections 10.1, 10.2 and 10.13) with their known defects: 512 bytes
for the rows of spectra, bit 15 for the sign of the nadir offset.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from instruments.jiram.layout import BANDS, ROW, SCIENCE, TEXPO, log_table
from instruments.jiram.raw import SIMULATED
from pipeline.clock import TICKS, Sclk, format_utc
from pipeline.formats.pds3 import Label, Quantity, write_label
from pipeline.formats.pds3_columns import columns_of
from pipeline.formats.pds3_write import write_table

# The name of a product has the time its telemetry was made, some seconds after the acquisition.
TELEMETRY_DELAY = 2.5


@dataclass(frozen=True)
class Acquisition:
    """One image or spectrum to be written.

    Parameters
    ----------
    et, exposure : start and length, s.
    counts : lines and samples of the image, or pixels of the slit and bands, int16.
    mode : tens and units of the submode: image and spectrum, e.g. 11.
    kind : ACQ_TYPE of the LOG table.
    orbit, sequence, samples : ORBIT_NUMBER, SEQUENCE_NUMBER, SEQUENCE_SAMPLES.
    log : further fields of the LOG table, by name.
    """

    et: float
    exposure: float
    counts: NDArray[np.int16]
    mode: int
    kind: int
    orbit: int
    sequence: int
    samples: int
    log: Mapping[str, int] = field(default_factory=dict)


def write_acquisition(root: Path, acquisition: Acquisition, channel: str, clock: Sclk) -> str:
    """Write one product with its label and LOG table below a volume's folder; returns the identity of its granule."""
    folder = root / f"JNOJIR_1{acquisition.orbit:03d}" / "DATA"
    folder.mkdir(parents=True, exist_ok=True)
    time = format_utc(acquisition.et + TELEMETRY_DELAY, 0, day_of_year=True)
    time = time.replace("-", "").replace(":", "")
    name = f"JIR_{channel.upper()}_EDR_{time}_V01"
    content = np.ascontiguousarray(acquisition.counts, "<i2").tobytes()
    data = name + (".IMG" if channel == "img" else ".DAT")
    (folder / data).write_bytes(content)
    digest = hashlib.md5(content).hexdigest()
    label = _label(acquisition, channel, name, data, digest, clock)
    (folder / f"{name}.LBL").write_text(write_label(label), newline="")
    log = f"JIR_LOG_{channel.upper()}_EDR_{time}_V01"
    (folder / f"{log}.TAB").write_bytes(log_row(acquisition, channel, clock))
    (folder / f"{log}.LBL").write_text(write_label(_log_label(log)), newline="")
    return f"jir_{channel}_{time}".lower()


def log_row(acquisition: Acquisition, channel: str, clock: Sclk) -> bytes:
    """The row of a LOG table."""
    fields = dict.fromkeys(_log_fields(), 0)
    start = divmod(round(_counter(clock, acquisition.et)), TICKS)
    made = divmod(round(_counter(clock, acquisition.et + TELEMETRY_DELAY)), TICKS)
    fields |= {
        "PACKET_IDENTIFICATION": 0xAAAA,
        "LENGTH": ROW + 2 * acquisition.counts.size // 6,
        "SUBSECONDS": made[1],
        "SUBSECONDS_2": start[1],
        "SUBMODE": int(str(acquisition.mode), 16),
        "MODE": 0x60,
        "ACQ_NUMBER": acquisition.samples,
        "ACQ_COUNT": acquisition.sequence,
        "SUBFRAME_NUMBER": 6 if acquisition.counts.shape[0] == 256 else 3,
        "ACQ_TYPE": acquisition.kind,
        "CHANNEL_ID": int(channel == "img"),
        "TEXPO": round(acquisition.exposure / TEXPO),
        "MOTOR_MODE": 1,
        "MOTOR_POWER": 1,
        "ON_OFF": 1,
        **acquisition.log,
    }
    columns = {name: np.array([value]) for name, value in fields.items()}
    columns |= {n: np.array([divmod(v[0], 65536)]) for n, v in (("SECONDS", made), ("SECONDS_2", start))}
    return write_table(log_table(), columns)


def _log_fields() -> list[str]:
    columns = columns_of(Label([], Path("log"), ""), log_table(), text=False)
    strings = {(c.start, c.size) for c in columns if c.bits}
    return [c.name for c in columns if c.bits or (c.start, c.size) not in strings]


def _counter(clock: Sclk, et: float) -> float:
    text = clock.format(float(clock.to_ticks(et)), partition=False)
    seconds, part = text.split(":")
    return int(seconds) * TICKS + int(part)


def _mode(mode: int) -> tuple[str, str]:
    image, spectrum = divmod(mode, 10)
    images = {
        0: "no IMAGE",
        1: "IMAGE(256x432) L-Band and M-Band",
        2: "IMAGE(128x432) M-Band",
        3: "IMAGE(128x432) L-Band",
    }
    spectra = {0: "no SPECTRUM", 1: "SPECTRUM (256x336)", 2: "SPECTRUM (64x336)", 3: "SPECTRUM (16x336)"}
    name = f"SCI_I{image}_S{spectrum}"
    return name, f"{name}: Science, {images[image]}, {spectra[spectrum]}"


def _label(a: Acquisition, channel: str, name: str, data: str, digest: str, clock: Sclk) -> dict[str, Any]:
    mode, described = _mode(a.mode)
    image = channel == "img"
    lines, width = a.counts.shape
    times = [clock.to_ticks(t) for t in (a.et, a.et + a.exposure)]
    ticks = [clock.format(float(t)).replace("/0", "/") for t in times]
    return {
        "PDS_VERSION_ID": "PDS3",
        "DATA_SET_NAME": "JUNO JUPITER JIRAM EXPERIMENT DATA RECORD V1.0",
        "DATA_SET_ID": "JNO-J-JIRAM-2-EDR-V1.0",
        "PRODUCT_ID": name,
        "PRODUCT_TYPE": "EDR",
        "PROCESSING_LEVEL_ID": "2",
        "START_TIME": format_utc(a.et, 3),
        "STOP_TIME": format_utc(a.et + a.exposure, 3),
        "SPACECRAFT_CLOCK_START_COUNT": ticks[0],
        "SPACECRAFT_CLOCK_STOP_COUNT": ticks[1],
        "STANDARD_DATA_PRODUCT_ID": "IMAGE" if image else "SPECTRAL",
        "PRODUCER_FULL_NAME": SIMULATED,
        "PRODUCT_VERSION_ID": "01",
        "SEQUENCE_NUMBER": a.sequence,
        "SEQUENCE_SAMPLES": a.samples,
        "MD5_CHECKSUM": digest,
        "INSTRUMENT_HOST_NAME": "JUNO",
        "INSTRUMENT_HOST_ID": "JNO",
        "MISSION_PHASE_NAME": "SCIENCE ORBITS",
        "INSTRUMENT_NAME": "JOVIAN INFRARED AURORAL MAPPER",
        "INSTRUMENT_ID": "JIR",
        "INSTRUMENT_TYPE": "INFRARED IMAGING SPECTROMETER",
        "SOFTWARE_VERSION_ID": ["EGSE_208", "PDS_EDR_V7"],
        "ORBIT_NUMBER": a.orbit,
        "TARGET_NAME": "JUPITER",
        "TARGET_TYPE": "PLANET",
        "CHANNEL_ID": "1" if image else "0",
        "FRAME_PARAMETER": [1, 0],
        "FRAME_PARAMETER_DESC": ["FRAME_ACQUISITION_RATE", "EXTERNAL_REPETITION_TIME"],
        "EXPOSURE_DURATION": Quantity(round(a.exposure, 7), "second"),
        "INSTRUMENT_MODE_ID": mode,
        "INSTRUMENT_MODE_DESC": described,
        "FILE": {
            "RECORD_TYPE": "FIXED_LENGTH",
            "FILE_RECORDS": lines,
            "RECORD_BYTES": 2 * width,
            "FRAME_TYPE": "SCIENCE" if a.kind == SCIENCE else "BACKGROUND",
            "NOTE": "HSSL : High Speed Serial Link",
            "DATA_QUALITY_ID": "1",
            **(_image_object(lines, width, data) if image else _table_object(lines, data)),
        },
    }


def _image_object(lines: int, width: int, data: str) -> dict[str, Any]:
    return {
        "^IMAGE": data,
        "IMAGE": {"LINES": lines, "LINE_SAMPLES": width, "SAMPLE_TYPE": "LSB_INTEGER", "SAMPLE_BITS": 16},
    }


def _table_object(lines: int, data: str) -> dict[str, Any]:
    return {
        "^TABLE": data,
        "TABLE": {
            "ROWS": lines,
            "ROW_BYTES": 512,  # as in the archive's labels; a row is 672 bytes
            "INTERCHANGE_FORMAT": "BINARY",
            "^STRUCTURE": "JIR_SPE_EDR_V02.FMT",
            "COLUMNS": BANDS,
        },
    }


def _log_label(name: str) -> dict[str, Any]:
    return {
        "PDS_VERSION_ID": "PDS3",
        "DATA_SET_ID": "JNO-J-JIRAM-2-EDR-V1.0",
        "PRODUCT_ID": name,
        "INSTRUMENT_HOST_NAME": "JUNO",
        "INSTRUMENT_NAME": "JOVIAN INFRARED AURORAL MAPPER",
        "INSTRUMENT_ID": "JIR",
        "PRODUCER_FULL_NAME": SIMULATED,
        "RECORD_TYPE": "FIXED_LENGTH",
        "RECORD_BYTES": ROW,
        "FILE_RECORDS": 1,
        "^TABLE": f"{name}.TAB",
        "TABLE": log_table(as_archived=True),
    }
