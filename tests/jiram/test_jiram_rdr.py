"""The archive's reduced products: byte order and units as they are, not as labels say."""

from __future__ import annotations

import hashlib
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from jiram_scene import CLOCK, Loop, finished, tables

from instruments.jiram import INSTRUMENT, archive, rdr
from pipeline.dataset import check
from pipeline.dataset.context import add_context
from pipeline.errors import InputError
from pipeline.formats.pds3 import write_label

RNG = np.random.default_rng(17)
IMAGE = RNG.uniform(0.01, 0.4, (128, 432)).astype("<f4")
SPECTRA = RNG.uniform(0.01, 0.4, (256, 336)).astype("<f4")
FMT = "\r\n".join(
    f"OBJECT = COLUMN\r\n NAME = BAND_{n}\r\n DATA_TYPE = IEEE_REAL\r\n START_BYTE = {4 * n + 1}\r\n BYTES = 4\r\n"
    "END_OBJECT = COLUMN"
    for n in range(336)
)


def common(name: str, data: bytes) -> dict[str, Any]:
    return {
        "PDS_VERSION_ID": "PDS3",
        "PRODUCT_ID": name,
        "START_TIME": "2016-08-27T12:40:03.870",
        "STOP_TIME": "2016-08-27T12:40:03.882",
        "MD5_CHECKSUM": hashlib.md5(data).hexdigest(),
        "INSTRUMENT_HOST_NAME": "JUNO",
        "INSTRUMENT_ID": "JIR",
        "INSTRUMENT_MODE_ID": "SCI_I2_S1",
    }


def write_image(folder: Path, data: bytes, unit: str = "W/(m^2*sr*micron)") -> Path:
    name = "JIR_IMG_RDR_2016240T124006_V02"
    (folder / f"{name}.IMG").write_bytes(data)
    image = {"LINES": 128, "LINE_SAMPLES": 432, "SAMPLE_TYPE": "IEEE_REAL", "SAMPLE_BITS": 32}
    file = {"FRAME_TYPE": "SCIENCE", "DATA_QUALITY_ID": "1", "UNIT": unit, "^IMAGE": f"{name}.IMG", "IMAGE": image}
    path = folder / f"{name}.LBL"
    path.write_text(write_label({**common(name, data), "FILE": file}), newline="")
    return path


def write_spectra(folder: Path, data: bytes) -> Path:
    name = "JIR_SPE_RDR_2016240T124007_V02"
    (folder / "DATA").mkdir()
    (folder / "LABEL").mkdir()
    (folder / "LABEL" / "JIR_SPE_RDR_V02.FMT").write_text(FMT + "\r\nEND\r\n", newline="")
    (folder / "DATA" / f"{name}.DAT").write_bytes(data)
    table = {"ROWS": 256, "ROW_BYTES": 1344, "INTERCHANGE_FORMAT": "BINARY", "^STRUCTURE": "JIR_SPE_RDR_V02.FMT"}
    file = {"FRAME_TYPE": "SCIENCE", "UNIT": "W/(m^2*sr*micron)", "^TABLE": f"{name}.DAT", "TABLE": table}
    path = folder / "DATA" / f"{name}.LBL"
    path.write_text(write_label({**common(name, data), "FILE": file}), newline="")
    return path


def test_images_are_little_endian_though_the_label_says_ieee_real(tmp_path: Path) -> None:
    path = write_image(tmp_path, IMAGE.tobytes())
    assert "IEEE_REAL" in path.read_text()
    granule = rdr.IMAGE_RDR.open(path, CLOCK)
    assert granule.id == "jir_img_2016240t124006"  # as of the raw product
    data = rdr.read_images([granule], None, CLOCK)
    np.testing.assert_array_equal(data["radiance"].values[0, 1], IMAGE)
    assert data["present"].values.tolist() == [[False, True]]
    assert bool(data["per_micron"].values[0])


def test_spectra_are_little_endian_too(tmp_path: Path) -> None:
    data = rdr.read_spectra([rdr.SPECTRUM_RDR.open(write_spectra(tmp_path, SPECTRA.tobytes()), CLOCK)], None, CLOCK)
    np.testing.assert_array_equal(data["radiance"].values[0], SPECTRA)


def test_samples_in_the_other_order_are_refused(tmp_path: Path) -> None:
    path = write_image(tmp_path, IMAGE.astype(">f4").tobytes())
    with pytest.raises(InputError, match="no radiance: order of their bytes"):
        rdr.read_images([rdr.IMAGE_RDR.open(path, CLOCK)], None, CLOCK)


def test_a_format_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = write_spectra(tmp_path, SPECTRA.tobytes())
    (tmp_path / "LABEL" / "JIR_SPE_RDR_V02.FMT").unlink()
    with pytest.raises(InputError, match=r"JIR_SPE_RDR_V02\.FMT"):
        rdr.SPECTRUM_RDR.open(path, CLOCK)


def test_both_units_give_one_radiance(tmp_path: Path, loop: Loop) -> None:
    """Spectral radiance over 0.4975 um is the radiance of the band; another unit is refused."""
    t = tables()
    known = {**t, "archive": archive.Table.read(INSTRUMENT.tables / "archive.yaml")}
    names = ("image_detector", "image_dark", "image_responsivity", "bands", "pointing", "archive")
    made = []
    for unit, values in (("W/(m^2*sr*micron)", IMAGE), ("W/(m^2*sr)", IMAGE * np.float32(0.4975))):
        path = write_image(tmp_path, values.tobytes(), unit)
        raw = rdr.read_images([rdr.IMAGE_RDR.open(path, CLOCK)], None, CLOCK)
        made.append(archive.radiance_from_archive(raw, loop.scene.geometry, *(known[n] for n in names)))
    np.testing.assert_allclose(made[0]["radiance"].values, made[1]["radiance"].values, rtol=3e-7)
    assert made[0]["band"].values.tolist() == ["M"]
    schema = INSTRUMENT.product("jiram.radiance").schema
    whole = add_context(made[0], schema, loop.scene.geometry, CLOCK)
    check.check(finished(whole, "jiram.radiance"), schema, INSTRUMENT.flags)
    # 12 ms at 2e6 counts per unit: shot noise of the light, two read-outs of 400 electrons, 3 counts besides
    signal = 0.1 * 2e6 * 0.012
    counts = np.sqrt(signal / 122.0 + 2 * (400.0 / 122.0) ** 2 + 9.0)
    bright = np.abs(made[0]["radiance"].values - 0.1) < 1e-4
    assert made[0]["radiance_random"].values[bright].mean() == pytest.approx(counts / (2e6 * 0.012), rel=2e-3)
    path = write_image(tmp_path, IMAGE.tobytes(), "DN")
    with pytest.raises(InputError, match="no unit of radiance"):
        rdr.read_images([rdr.IMAGE_RDR.open(path, CLOCK)], None, CLOCK)


def test_spectra_from_the_archive_keep_their_schema(tmp_path: Path, loop: Loop) -> None:
    raw = rdr.read_spectra([rdr.SPECTRUM_RDR.open(write_spectra(tmp_path, SPECTRA.tobytes()), CLOCK)], None, CLOCK)
    t = {**tables(), "archive": archive.Table.read(INSTRUMENT.tables / "archive.yaml")}
    names = ("spectrum_detector", "spectrum_dark", "spectrum_responsivity", "wavelength", "archive")
    product = archive.spectra_from_archive(raw, *(t[n] for n in names))
    schema = INSTRUMENT.product("jiram.spectra").schema
    whole = add_context(product, schema, loop.scene.geometry, CLOCK)
    check.check(finished(whole, "jiram.spectra"), schema, INSTRUMENT.flags)


@pytest.mark.real
def test_the_real_label_reads_a_file_of_its_size(real_data: Path, tmp_path: Path) -> None:
    """The mission's own label over samples of ours: only the checksum is another."""
    source = real_data / "jiram" / "JIR_IMG_RDR_2017033T114006_V02.LBL"
    text = source.read_text()
    text = re.sub(r'(MD5_CHECKSUM\s*= ")\w{32}', lambda m: m[1] + hashlib.md5(IMAGE.tobytes()).hexdigest(), text)
    (tmp_path / source.name).write_text(text)
    (tmp_path / source.with_suffix(".IMG").name).write_bytes(IMAGE.tobytes())
    granule = rdr.IMAGE_RDR.open(tmp_path / source.name, CLOCK)
    data = rdr.read_images([granule], None, CLOCK)
    np.testing.assert_array_equal(data["radiance"].values[0, 1], IMAGE)
    assert bool(data["per_micron"].values[0])
    assert data["exposure"].values[0] == pytest.approx(0.012, abs=1e-6)
    assert granule.version == 2
