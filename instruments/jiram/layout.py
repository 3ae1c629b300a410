"""The LOG table of an acquisition: 72 bytes, 38 columns (JIRAM SIS 7.5, sections 10.7 and 10.13).

Words are little-endian; bits are counted from the most significant of their word. The names of the bit strings
themselves are this project's.
"""

from __future__ import annotations

from pipeline.formats.pds3 import Block

ROW = 72
LINES, SAMPLES = 128, 432  # of one band of the imager
SUBFRAME = 144  # samples of one sub-frame of an image
SLIT, BANDS = 256, 336
# Spectra come in sub-frames of this many bands.
SPECTRAL_SUBFRAME = 112

SCIENCE, DOUBLE_1, DOUBLE_2, BACKGROUND, DARK, READ_NOISE, CALIBRATION = range(7)  # ACQ_TYPE
NOT_SUBTRACTED, BACKGROUND_SUBTRACTED, ROW_SUBTRACTED = range(3)  # ROW_BACK_SUBTRACTION
COMPRESSED = 1  # COMP_STATUS
IMAGE_BANDS = {0: (), 1: ("L", "M"), 2: ("M",), 3: ("L",)}  # tens of the submode
SLIT_LINES = {0: 0, 1: 256, 2: 64, 3: 16}  # units of the submode
TEXPO = 2e-4  # s a count

TEMPERATURES = (
    "DET_TEMP",
    "TELESCOPE_MIRROR_TEMP",
    "SLIT_TEMP",
    "SC_IF_TEMP",
    "COLD_RADIATOR_TEMP",
    "SPECTROMETER_MIRROR_TEMP",
    "MOTOR_TEMP",
    "CAL_SOURCE_TEMP",
    "DIFFUSER_TEMP",
)

# Name, first byte (from 1), bytes, and the bit columns in it: name and number of bits; no name is spare.
COLUMNS: tuple[tuple[str, int, int, tuple[tuple[str, int], ...]], ...] = (
    ("PACKET_IDENTIFICATION", 1, 2, ()),
    ("LENGTH", 3, 2, ()),
    ("SECONDS", 5, 4, ()),
    ("SUBSECONDS", 9, 2, ()),
    ("COUNTER", 11, 2, ()),
    ("SUBMODE", 13, 1, ()),
    ("MODE", 14, 1, ()),
    ("ACQ_NUMBER", 15, 2, ()),
    ("ACQ_COUNT", 17, 2, ()),
    ("ACQ_DURATION", 19, 1, ()),
    ("ACQ_REPETITION", 20, 1, ()),
    ("SUBFRAME_NUMBER", 21, 2, ()),
    (
        "ACQUISITION_BITS",
        23,
        2,
        (
            ("SUBFRAME_COUNT", 3),
            ("DATATION", 1),
            ("WARN_DATATION_STEP", 1),
            ("FRAME_ERROR_FLAG", 1),
            ("ACQ_TYPE", 3),
            ("CHANNEL_ID", 1),
            ("COMP_STATUS", 2),
            ("SUBFRAME_TYPE", 2),
            ("ROW_BACK_SUBTRACTION", 2),
        ),
    ),
    (
        "RICE_BITS",
        25,
        2,
        (("START_NOISY_BITS", 4), ("END_NOISY_BITS", 4), ("CR_ROW", 4), ("NOF_NOISY_BITS", 4)),
    ),
    ("MIN_PIXEL_JPEG", 27, 2, ()),
    ("MAX_PIXEL_JPEG", 29, 2, ()),
    ("TEXPO", 31, 2, ()),
    ("TDELAY", 33, 2, ()),
    ("SECONDS", 35, 4, ()),
    ("SUBSECONDS", 39, 2, ()),
    ("NADIR_OFFSET", 41, 2, ()),
    ("CYCLE_BITS", 43, 2, (("BKG_REPETITION", 8), ("EN_DIS_SUB", 2), ("BKG_RN", 3), ("EN_DIS_DOU_SCI", 3))),
    ("WIN1_X", 45, 1, ()),
    ("WIN1_Y", 46, 1, ()),
    ("WIN2_X", 47, 1, ()),
    ("WIN2_Y", 48, 1, ()),
    ("DET_TEMP", 49, 2, ()),
    (
        "STATUS_BITS",
        51,
        2,
        (
            ("STATUS_DET", 3),
            ("STATUS_GAIN", 1),
            ("LOOP_ERROR", 1),
            ("MOTOR_MODE", 1),
            ("MOTOR_POWER", 1),
            ("ON_OFF", 1),
            ("", 7),
            ("NADIR_OFFSET_SIGN", 1),
        ),
    ),
    *((name, 53 + 2 * k, 2, ()) for k, name in enumerate(TEMPERATURES[1:])),
    ("M_MOTOR_START_POS", 69, 2, ()),
    (
        "LAMP_BITS",
        71,
        2,
        (("LAMP_ID", 2), ("LAMP_GAIN_CURRENT_1", 6), ("LAMP_GAIN_CURRENT_2", 6), ("", 2)),
    ),
)


def log_table(*, as_archived: bool = False) -> Block:
    """The TABLE object of a LOG label.

    Parameters
    ----------
    as_archived : with the archive's wrong START_BIT of NADIR_OFFSET_SIGN, 15 in place of 16.
    """
    head = {"INTERCHANGE_FORMAT": "BINARY", "ROWS": 1, "COLUMNS": len(COLUMNS), "ROW_BYTES": ROW}
    return Block([*head.items(), *(("COLUMN", _column(*column, as_archived)) for column in COLUMNS)])


def _column(name: str, start: int, size: int, bits: tuple[tuple[str, int], ...], as_archived: bool) -> Block:
    kind = "LSB_BIT_STRING" if bits else "LSB_UNSIGNED_INTEGER"
    pairs: list[tuple[str, object]] = [("NAME", name), ("DATA_TYPE", kind), ("START_BYTE", start), ("BYTES", size)]
    if size == 4:  # seconds: two words, the upper one first
        pairs += [("ITEMS", 2), ("ITEM_BYTES", 2)]
    first = 1
    for bit, count in bits:
        if bit:
            wrong = as_archived and bit == "NADIR_OFFSET_SIGN"
            inner = {"NAME": bit, "BIT_DATA_TYPE": "LSB_UNSIGNED_INTEGER", "START_BIT": first - wrong, "BITS": count}
            pairs.append(("BIT_COLUMN", Block(list(inner.items()))))
        first += count
    return Block(pairs)
