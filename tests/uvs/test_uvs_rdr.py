"""The archive's RDR: found by index, columns by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from instruments.uvs import rdr
from pipeline.errors import InputError


def written(path: Path, drop: int | None = None, names: tuple[str, ...] = rdr.NEEDED) -> Path:
    parts: list[fits.hdu.base.ExtensionHDU] = []
    for index, (name, table) in enumerate(rdr.PARTS):
        if index == rdr.PHOTONS:
            columns = [fits.Column(n, "E", array=np.arange(5) + 10.0 * k) for k, n in enumerate(names)]
            part = fits.BinTableHDU.from_columns(columns)
        elif index == rdr.LOOKUP:
            part = fits.ImageHDU(np.full((256, 2048), 121.567))
        elif table:
            part = fits.BinTableHDU.from_columns([fits.Column("A", "J", array=np.arange(2))])
        else:
            part = fits.PrimaryHDU(np.zeros((256, 2048), np.float32)) if index == 0 else fits.ImageHDU()
        part.header["EXTNAME"] = name
        parts.append(part)
    fits.HDUList([p for i, p in enumerate(parts) if i != drop]).writeto(path)
    return path


def test_photons_and_wavelengths(tmp_path: Path) -> None:
    got = rdr.read_rdr(written(tmp_path / "UVS_S01_525573236_2016240_P01OBS_V01.FIT"), 1, 4)
    assert got["wavelength"].values.tolist() == [1.0, 2.0, 3.0]
    assert got["weighted_count"].values.tolist() == [41.0, 42.0, 43.0]
    assert got["jupiter_lat_400km"].dims == ("photon",)
    assert got["wavelength_lookup"].shape == (256, 2048)


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="8 HDUs; an RDR has 9"):
        rdr.read_rdr(written(tmp_path / "a.fit", drop=5))
    with pytest.raises(InputError, match="no column WEIGHTED_COUNT"):
        rdr.read_rdr(written(tmp_path / "b.fit", names=rdr.NEEDED[:-1]))
    (tmp_path / "c.fit").write_bytes(b"SIMPLE")
    with pytest.raises(InputError, match="complete FITS"):
        rdr.read_rdr(tmp_path / "c.fit")
