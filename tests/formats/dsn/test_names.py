"""File names of the archive, those of the real index among them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from pipeline.formats.dsn import ANCILLARY_NAME, FILE_NAME

NAMES = {
    "GRV_JUGR_2016240_0635X55MC001V01.TNF": ("X", "55", "M", None, "C001", "TNF"),
    "GRV_JUGR_2017192_1250XMMMC005V01.ODF": ("X", "MM", "M", None, "C005", "ODF"),
    "GRV_OCRU_2016081_0320K25K25001KV01.RSR": ("K", "25", "K", "25", "001K", "RSR"),
    "GRV_JUGR_2025290_1550X25K25016KV05.RSR": ("X", "25", "K", "25", "016K", "RSR"),
    "grv_ocru_2015064_0305m25mc001v01.tnf": ("m", "25", "m", None, "c001", "tnf"),
}


@pytest.mark.parametrize("name", NAMES)
def test_the_parts_of_a_name(name: str) -> None:
    match = FILE_NAME.fullmatch(name)
    assert match is not None
    assert match.group("up_band", "up_station", "down_band", "down_station", "rate", "kind") == NAMES[name]


@pytest.mark.parametrize("name", ["GRV_JUGR_2016240_0635X55MC001V01.LBL", "GRV_JUGR_2016240_0635X55MV01.TNF", "a.odf"])
def test_what_is_no_such_name(name: str) -> None:
    assert FILE_NAME.fullmatch(name) is None
    assert ANCILLARY_NAME.fullmatch(name) is None


def test_names_of_the_real_index(real_data: Path) -> None:
    found = 0
    for path in sorted((real_data / "index").glob("juno_gs.*.csv")):
        with path.open(newline="") as text:
            for row in csv.DictReader(text):
                for name in json.loads(row["files"]):
                    if not name.lower().endswith((".lbl", ".xml", ".txt")):
                        assert FILE_NAME.fullmatch(name) or ANCILLARY_NAME.fullmatch(name), name
                        found += 1
    assert found >= 4
