"""Units in labels: as the information model lists them, with a factor apart from them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pds4_tools
import pytest
from archive_world import PDS, World, labels, tree
from lxml import etree

import perijove
from pipeline.archive.units import scaled

XS = "{http://www.w3.org/2001/XMLSchema}"


def listed(schemas: Path) -> set[str]:
    """Every unit of the information model's lists."""
    root = etree.parse(schemas / "PDS4_PDS_1P00.xsd").getroot()
    kinds = [t for t in root.iter(f"{XS}simpleType") if str(t.get("name")).startswith("Units_of_")]
    return {str(e.get("value")) for kind in kinds for e in kind.iter(f"{XS}enumeration")}


@pytest.mark.parametrize(
    ("given", "spelt"),
    [
        ("W m-2 sr-1", "W/(m**2*sr)"), ("W m-2 um-1 sr-1", "W/m**2/sr/μm"), ("km s-1", "km/s"), ("m/s", "m/s"),
        ("rad/s", "rad/s"), ("degree", "deg"), ("h", "hr"), ("d", "day"), ("um", "micrometer"), ("px", "pixel"),
        ("nm", "nm"), ("cm-1", "1/cm"), ("K", "K"),
    ],
)  # fmt: skip
def test_what_the_lists_have_is_spelt_as_they_do(given: str, spelt: str, schemas: Path) -> None:
    assert scaled(given) == (None, spelt)
    assert spelt in listed(schemas)


@pytest.mark.parametrize(
    ("given", "spelt"),
    [
        ("s-1", "1/s"), ("1/s^1.5", "1/s**1.5"), ("cm-2 s-1 sr-1 keV-1", "1/cm**2/s/sr/keV"), ("nT2 Hz-1", "nT**2/Hz"),
        ("m2 sr/(W s)", "m**2*sr/W/s"), ("s^-1 W^-1 m^2 sr", "m**2*sr/s/W"), ("cm2 sr eV/eV", "cm**2*sr*eV/eV"),
        ("px^-2, px^-4", "1/pixel**2, 1/pixel**4"), ("1", "1"), ("counts per frame?", "counts per frame?"),
    ],
)  # fmt: skip
def test_other_units_follow_the_same_rule(given: str, spelt: str) -> None:
    assert scaled(given) == (None, spelt)


def test_a_factor_is_no_part_of_a_unit() -> None:
    assert scaled("1.52587890625e-05 s") == ("1.52587890625e-05", "s")


def test_no_label_has_a_unit_with_a_factor_or_in_another_spelling(world: World) -> None:
    units = {e.text for label in labels(world.bundles) for e in tree(label).iter(f"{PDS}unit")}
    assert {"deg", "hr", "W/(m**2*sr)"} <= units
    assert {u for u in units if scaled(u) != (None, u)} <= {"W/(m**2*sr)", "W/m**2/sr/μm"}


def test_ticks_of_the_clock_are_seconds_to_any_reader(world: World) -> None:
    [label] = (world.bundle("mag") / "data_calibrated" / "pj01").glob("field_60s_*.xml")
    table = next(s for s in pds4_tools.read(str(label), quiet=True) if s.is_table())
    stored = perijove.open_product("mag.field_60s/PJ01", store=world.store)
    np.testing.assert_array_equal(table["sclk"], stored["sclk"].values / 65536.0)
