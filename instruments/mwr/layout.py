"""Names and order of the columns of MWR's hourly CSV files, and of the streams and sensors in them.

IRDR and GRDR are the archive's, complete: the list stands in the PDS4 labels of ``mwr62ri2024166030000_r04112_v04`` and
``mwr62rg2024166030000_r04112_v04`` and in MWR_IRDR_V05.FMT and MWR_GRDR_V04.FMT; their header lines have 1752 and 1924
bytes. The columns of the EDR are not public: `EDR` is this project's own list (README.md, "EDR").
"""

from __future__ import annotations

import re

RECEIVERS = 6
CHANNELS = ("C1", "C2", "C3", "C4", "C5", "C6")
# Outputs of the receivers; of R1 and R2 the one of low and the one of high gain.
STREAMS = ("R1_1", "R1_2", "R2_1", "R2_2", "R3", "R4", "R5", "R6")
RECEIVER_OF_STREAM = (0, 0, 1, 1, 2, 3, 4, 5)
DIODES = (1, 2, 3)

# Switch state of a stream: bit 2 set looks at the internal load; bits 1 and 0 are the number of the diode that is on.
LOAD_BIT = 4
DIODE_BITS = 3
UNKNOWN_STATE = 255

_EXTERNAL_PRTS = (3, 3, 3, 4, 3, 3)
_ANTENNA_PRTS = (4, 3, 3, 3, 2, 1)


def _sensors() -> tuple[str, ...]:
    names: list[str] = []
    for n, (external, antenna) in enumerate(zip(_EXTERNAL_PRTS, _ANTENNA_PRTS, strict=True), 1):
        names += [f"R{n}T{k}" for k in range(1, 5)]
        names += [f"INT_RFTL{n}T{k}" for k in (1, 2)]
        names += [f"RFTL{n}T{k}" for k in range(1, external + 1)]
        names += [f"A{n}T{k}" for k in range(1, antenna + 1)]
    return tuple(names)


# The temperature sensors of all receivers, lines and antennas, in the order of the IRDR.
SENSORS = _sensors()
# R<n>T<k> and INT_RFTL<n>T<k> are thermistors, RFTL<n>T<k> and A<n>T<k> platinum resistors (IRDR label).
THERMISTORS = tuple(bool(re.match(r"R\dT|INT_", name)) for name in SENSORS)


def sensors_of(part: str, receiver: int) -> list[int]:
    """Places in `SENSORS` of the sensors of ``R``, ``INT_RFTL``, ``RFTL`` or ``A`` of a receiver (from 0)."""
    return [k for k, name in enumerate(SENSORS) if re.fullmatch(rf"{part}{receiver + 1}T\d", name)]


def _irdr() -> tuple[str, ...]:
    blocks = ["AntCnt", "RefCnt", *(f"ND{d}{p}Cnt" for p in "AR" for d in DIODES), "TA"]
    blocks += [f"TND{d}{p}" for p in "AR" for d in DIODES] + ["TOFF"]
    return ("t_ephem_time", "t_utc_doy", *SENSORS, *(f"{s}{b}" for b in blocks for s in STREAMS))


def _grdr() -> tuple[str, ...]:
    antennas = range(1, RECEIVERS + 1)
    names = ["t_ephem_time", "t_utc_doy"]
    for n in antennas:
        names += [f"gal_lon_B{n}", f"gal_lat_B{n}", f"gal_rot_A{n}"]
    for n in antennas:
        names += [f"J2000_lon_B{n}", f"J2000_lat_B{n}", f"J2000_rot_A{n}"]
    for system in ("PG", "PC"):
        for n in antennas:
            names += [f"{system}_lon_JsB{n}", f"{system}_lat_JsB{n}"]
    for n in antennas:
        names += [f"emssn_angle_JsB{n}", f"range_JsB{n}"]
    for n in antennas:
        names += [*(f"F{n}_dc{x}_JnJc" for x in "xyz"), f"angle_JnJc_B{n}"]
    for frame in ("JDSS", "JMag", "S3RH"):
        for n in antennas:
            names += [f"{frame}_{x}_B{n}" for x in "xyz"]
    names += ["range_JnJc", "gal_ra_JnJc", "gal_dec_JnJc", "PC_lon_JsJnJc", "PC_lat_JsJnJc"]
    return (*names, *(f"{frame}_{x}_JcJn" for frame in ("JDSS", "JMag", "S3RH") for x in "xyz"))


IRDR = _irdr()
GRDR = _grdr()
EDR = (
    "t_sclk_s",
    "t_sclk_tick",
    "t_utc_doy",
    "sequence",
    *(f"{s}Cnt" for s in STREAMS),
    *(f"{s}State" for s in STREAMS),
    *SENSORS,
    "crc_error",
)

COLUMNS = {"edr": EDR, "irdr": IRDR, "grdr": GRDR}
# Letters in the file name, folder of the volume, format file.
CODES = {"edr": "DR", "irdr": "RI", "grdr": "RG"}
FOLDERS = {"edr": "data_raw/EDR", "irdr": "DATA/IRDR", "grdr": "DATA/GRDR"}
FORMATS = {"edr": "MWR_EDR_V04.FMT", "irdr": "MWR_IRDR_V05.FMT", "grdr": "MWR_GRDR_V04.FMT"}
DATA_SETS = {"edr": "JNO-J-MWR-2-EDR-V2.0", "irdr": "JNO-J-MWR-3-RDR-V2.1", "grdr": "JNO-J-MWR-3-RDR-V2.1"}
VOLUMES = {"edr": "JNOMWR_0100", "irdr": "JNOMWR_1100", "grdr": "JNOMWR_1100"}
# Widest field in bytes (IRDR label: reals 20, counts 10, times 21).
REAL, COUNT, TIME = 20, 10, 21

NAME = re.compile(
    r"(?P<id>MWR(?P<pass>\d{2})(?P<code>DR|RI|RG)(?P<year>\d{4})(?P<doy>\d{3})(?P<time>\d{6}))"
    r"_R(?P<rows>\d{5})_V(?P<version>\d{2})\.CSV",
    re.IGNORECASE,
)
SIMULATED = "SIMULATED, NOT A MEASUREMENT"


def header(kind: str) -> bytes:
    """Header line of a file, CR LF included."""
    return ",".join(COLUMNS[kind]).encode("ascii") + b"\r\n"
