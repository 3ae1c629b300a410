"""The archive's known defects: each one in a label as the archive has it, and labels that are right already."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.errors import InputError
from pipeline.formats.defects import Correction, corrected, defects
from pipeline.formats.pds3 import Label, Quantity, read_label, write_label
from pipeline.formats.pds3_table import read_table


def written(folder: Path, pairs: dict[str, Any]) -> Label:
    (folder / "T.LBL").write_text(write_label({"PDS_VERSION_ID": "PDS3", **pairs}), newline="")
    return read_label(folder / "T.LBL")


def column(name: str, kind: str, start: int, size: int, **more: Any) -> dict[str, Any]:
    return {"NAME": name, "DATA_TYPE": kind, "START_BYTE": start, "BYTES": size, **more}


def names(corrections: tuple[Correction, ...]) -> list[str]:
    return [c.defect for c in corrections]


def log_label(folder: Path, first: int, instrument: str = "JIR") -> Label:
    bits = [
        {"NAME": "STATUS_DET", "BIT_DATA_TYPE": "MSB_UNSIGNED_INTEGER", "START_BIT": 1, "BITS": 3},
        {"NAME": "NADIR_OFFSET_SIGN", "BIT_DATA_TYPE": "MSB_UNSIGNED_INTEGER", "START_BIT": first, "BITS": 1},
    ]
    flags = column("FLAGS", "LSB_BIT_STRING", 1, 2, BIT_COLUMN=bits)
    block = {"INTERCHANGE_FORMAT": "BINARY", "ROWS": 2, "ROW_BYTES": 2, "COLUMN": flags}
    (folder / "T.TAB").write_bytes(np.array([0b1010000000000001, 0b0110000000000010], "<u2").tobytes())
    product = "JIR_LOG_IMG_EDR_2016239T173555_V01"
    return written(folder, {"INSTRUMENT_ID": instrument, "PRODUCT_ID": product, "^TABLE": "T.TAB", "TABLE": block})


def test_sign_of_the_nadir_offset(tmp_path: Path) -> None:
    label, corrections = corrected(log_label(tmp_path, 15))
    (correction,) = corrections
    assert (correction.was, correction.now) == (15, 16)
    assert str(correction).startswith("NADIR_OFFSET_SIGN.START_BIT is 15, read as 16: bits 9 to 15 are spare")
    table = read_table(label)
    assert table["NADIR_OFFSET_SIGN"].tolist() == [1, 0]
    assert table["STATUS_DET"].tolist() == [5, 3]


def test_labels_that_are_right_or_of_others_stay_as_they_are(tmp_path: Path) -> None:
    for label in (log_label(tmp_path, 16), log_label(tmp_path, 15, "UVS")):
        same, corrections = corrected(label)
        assert same is label
        assert corrections == ()


def test_reduced_spectra_are_little_endian_whatever_the_format_file_says(tmp_path: Path) -> None:
    values = np.linspace(-1e-4, 0.5, 3 * 336, dtype="<f4").reshape(3, 336)
    (tmp_path / "T.DAT").write_bytes(values.tobytes())
    spectrum = column("SPECTRUM", "IEEE_REAL", 1, 1344, ITEMS=336, ITEM_BYTES=4, ITEM_TYPE="IEEE_REAL")
    structure = write_label({"COLUMN": spectrum})
    (tmp_path / "JIR_SPE_RDR_V02.FMT").write_text(structure.removesuffix(f"{'END':<78}\r\n"), newline="")
    block = {"INTERCHANGE_FORMAT": "BINARY", "ROWS": 3, "ROW_BYTES": 1344, "^STRUCTURE": "JIR_SPE_RDR_V02.FMT"}
    file = {"RECORD_BYTES": 1344, "^TABLE": "T.DAT", "TABLE": block}
    product = "JIR_SPE_RDR_2016202T140657_V01"
    label = written(tmp_path, {"INSTRUMENT_ID": "JIR", "PRODUCT_ID": product, "FILE": file})
    assert np.nanmax(np.abs(read_table(label)["SPECTRUM"])) > 1e20  # as the label says
    fixed, corrections = corrected(label)
    np.testing.assert_array_equal(read_table(fixed)["SPECTRUM"], values)
    assert names(corrections) == ["jiram-rdr-spectrum-type"] * 2
    assert [c.place for c in corrections] == ["SPECTRUM.DATA_TYPE", "SPECTRUM.ITEM_TYPE"]
    assert (fixed.path, fixed.size) == (label.path, label.size)
    (tmp_path / "JIR_SPE_RDR_V02.FMT").unlink()
    with pytest.raises(InputError, match="JIR_SPE_RDR_V02"):
        corrected(label)


def test_rows_of_raw_spectra(tmp_path: Path) -> None:
    (tmp_path / "T.DAT").write_bytes(np.arange(672, dtype="<i2").tobytes())
    spectrum = column("SPECTRUM", "LSB_INTEGER", 1, 672, ITEMS=336, ITEM_BYTES=2)
    block = {"INTERCHANGE_FORMAT": "BINARY", "ROWS": 2, "ROW_BYTES": 512, "COLUMN": spectrum}
    product = "JIR_SPE_EDR_2019043T164208_V01"
    pairs = {"INSTRUMENT_ID": "JIR", "PRODUCT_ID": product, "FILE": {"^TABLE": "T.DAT", "TABLE": block}}
    label, corrections = corrected(written(tmp_path, pairs))
    assert names(corrections) == ["jiram-spectrum-row-bytes"]
    assert read_table(label)["SPECTRUM"][1, 0] == 336


def waves_label(folder: Path, objects: tuple[str, str]) -> Label:
    (folder / "T.DAT").write_bytes(np.array([1.5, 2.5, 7.0], "<f4").tobytes())
    parts = zip(objects, (("WAVEFORM", 2), ("OFFSET", 1)), strict=True)
    blocks = {
        name: {"INTERCHANGE_FORMAT": "BINARY", "ROWS": n, "ROW_BYTES": 4, "COLUMN": column(field, "PC_REAL", 1, 4)}
        for name, (field, n) in parts
    }
    pointers = {"^DATA_TABLE": "T.DAT", "^FREQ_OFFSET_TABLE": ["T.DAT", Quantity(9, "BYTES")]}
    return written(folder, {"DATA_SET_ID": "JNO-E/J/SS-WAV-3-CDR-BSTFULL-V2.0", **pointers, **blocks})


def test_objects_of_waves_bursts(tmp_path: Path) -> None:
    label, corrections = corrected(waves_label(tmp_path, ("TABLE", "DATA_TABLE")))
    assert names(corrections) == ["waves-burst-data-object", "waves-burst-offset-object"]
    assert read_table(label, "DATA_TABLE")["WAVEFORM"].tolist() == [1.5, 2.5]
    assert read_table(label, "FREQ_OFFSET_TABLE")["OFFSET"].tolist() == [7.0]
    right = waves_label(tmp_path, ("DATA_TABLE", "FREQ_OFFSET_TABLE"))
    assert corrected(right) == (right, ())


@pytest.mark.real
def test_real_labels(real_data: Path) -> None:
    label, corrections = corrected(read_label(real_data / "jiram/JIR_IMG_RDR_2017033T114006_V02.LBL"))
    assert label["FILE"]["IMAGE"]["SAMPLE_TYPE"] == "PC_REAL"
    assert label["FILE"]["IMAGE"]["LINES"] == 128
    assert label["M_BAND_PARAMETERS"].group
    assert names(corrections) == ["jiram-rdr-image-type"]
    early, corrections = corrected(read_label(real_data / "junocam/JNCE_2017038_04C00586_V01.LBL"))
    assert names(corrections) == ["junocam-focal-plane-temperature"]
    assert early["FOCAL_PLANE_TEMPERATURE"] is None
    assert early["SAMPLE_BIT_MODE_ID"] == "SQROOT"
    late, corrections = corrected(read_label(real_data / "junocam/JNCR_2024134_61T00209_V01.LBL"))
    assert names(corrections) == ["junocam-rdr-bit-mode"]
    assert late["SAMPLE_BIT_MODE_ID"] is None
    assert late["FOCAL_PLANE_TEMPERATURE"] == Quantity(318.1, "K")
    for path in (real_data / "mag").glob("*.lbl"):
        assert corrected(read_label(path))[1] == ()


def test_entries_say_why_and_whence() -> None:
    for defect in defects():
        for pattern in (defect.block, defect.keyword, defect.was, *defect.label.values()):
            re.compile(pattern)
        assert re.fullmatch(defect.was, str(defect.now)) is None
        assert defect.why
        assert defect.source
