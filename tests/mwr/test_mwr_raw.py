"""The hourly CSV files: layout, written and read back, cut by time."""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import xarray as xr

sys.path.insert(0, str(Path(__file__).parent))
from mwr_files import READERS, ROWS, read, written
from mwr_scene import CLOCK, PASS

from instruments.mwr import INSTRUMENT, decimals, layout, raw, raw_write
from pipeline.clock import Span
from pipeline.formats.pds3 import read_label
from pipeline.formats.pds3_table import read_table
from pipeline.testing import pulls

# Layout


def test_header_lines_are_those_of_the_archive() -> None:
    """1752 and 1924 bytes, 201 and 166 columns, in real labels of PJ62."""
    assert (len(layout.header("irdr")), len(layout.IRDR)) == (1752, 201)
    assert (len(layout.header("grdr")), len(layout.GRDR)) == (1924, 166)
    assert len(layout.SENSORS) == 71
    places = {name: k + 1 for k, name in enumerate(layout.IRDR)}
    assert [places[n] for n in ("R1_1AntCnt", "R1_1RefCnt", "R1_1ND1ACnt", "R1_1TA", "R1_1TND1A", "R1_1TOFF")] == [
        74, 82, 90, 138, 146, 194,
    ]  # fmt: skip
    assert layout.IRDR[2:5] == ("R1T1", "R1T2", "R1T3")
    assert layout.GRDR[152:157] == ("range_JnJc", "gal_ra_JnJc", "gal_dec_JnJc", "PC_lon_JsJnJc", "PC_lat_JsJnJc")


def test_names_and_folders_are_those_of_the_archive(tmp_path: Path) -> None:
    """As in the file lists of a reader of the archive: ``.../EDR/2017/2017065/MWR05DR2017065140000_R05140_V02.CSV``."""
    path, _, _ = written(tmp_path, "edr")
    parts = path.relative_to(tmp_path).parts
    assert parts == ("JNOMWR_0100", "data_raw", "EDR", "2016", "2016240", "MWR01DR2016240120000_R00400_V01.CSV")
    for name in ("MWR05DR2017065140000_R05140_V02.CSV", "MWR11RI2018037140000_R04112_V03.CSV"):
        assert layout.NAME.fullmatch(name)
    names = {f.name: f.pattern for f in INSTRUMENT.formats}
    assert len(set(names.values())) == 3


# Written and read back


@pytest.mark.parametrize("kind", READERS)
def test_what_is_written_is_read(tmp_path: Path, kind: str) -> None:
    path, columns, et = written(tmp_path, kind)
    data = read(path, kind)
    np.testing.assert_allclose(data["et"].values, et, atol=2e-5)
    assert data.attrs["simulated"]
    assert data["events"].shape == (0, 5)
    if kind == "edr":
        for k, s in enumerate(layout.STREAMS):
            np.testing.assert_array_equal(data["counts"].values[:, k], columns[f"{s}Cnt"])
            np.testing.assert_array_equal(data["state"].values[:, k], columns[f"{s}State"])
        np.testing.assert_array_equal(data["housekeeping"].values, np.stack([columns[n] for n in layout.SENSORS], 1))
        return
    made = raw_write.irdr_columns(data) if kind == "irdr" else grdr_columns(data)
    assert set(made) == set(layout.COLUMNS[kind]) - {"t_ephem_time", "t_utc_doy"}
    for name, values in made.items():
        np.testing.assert_allclose(values, columns[name], rtol=1e-12, atol=1e-12, err_msg=name)


def grdr_columns(data: xr.Dataset) -> dict[str, np.ndarray]:
    """Columns by the rule of the label, independent of the reader's."""
    out = {}
    short = {"gal": "gal", "J2000": "j2000", "PG": "pg", "PC": "pc"}
    for name in layout.GRDR[2:]:
        n = int(name[-1]) - 1 if name[-1].isdigit() else int(name[1]) - 1 if name[0] == "F" else None
        if n is None:
            out[name] = data[name].values
        elif name.startswith("F"):
            out[name] = data["centre"].values[:, n, "xyz".index(name[5])]
        elif name.startswith("angle"):
            out[name] = data["angle"].values[:, n]
        elif name.startswith(("emssn", "range")):
            out[name] = data[{"emssn": "emission", "range": "range"}[name.split("_")[0]]].values[:, n]
        elif name.startswith(("JDSS", "JMag", "S3RH")):
            frame, axis, _ = name.split("_")
            out[name] = data[frame.lower()].values[:, n, "xyz".index(axis)]
        else:
            frame, what, _ = name.split("_")
            out[name] = data[f"{short[frame]}_{what}"].values[:, n]
    return out


def test_off_the_planet_fields_are_empty(tmp_path: Path) -> None:
    et = PASS.et + 0.1 * np.arange(5)
    columns = {name: np.ones(5) for name in layout.GRDR}
    columns["emssn_angle_JsB3"] = np.array([1.0, np.nan, np.nan, 2.0, 3.0])
    path = raw_write.write_csv(tmp_path, "grdr", 1, columns, et, CLOCK, simulated=True)[0]
    assert b",," in path.read_bytes()
    data = read(path, "grdr")
    np.testing.assert_array_equal(data["emission"].values[:, 2], columns["emssn_angle_JsB3"])


def test_hours_are_files_and_one_dataset(tmp_path: Path) -> None:
    et = PASS.et + 570.0 + 0.1 * np.arange(ROWS)  # 12:59:44 to 13:00:24 UTC
    columns = {name: np.zeros(ROWS) for name in layout.EDR}
    columns["sequence"] = np.arange(ROWS, dtype=float)
    paths = raw_write.write_csv(tmp_path, "edr", 1, columns, et - 15.0, CLOCK, simulated=True)
    assert [p.name[14:16] for p in paths] == ["12", "13"]
    granules = [raw.open_csv(p, CLOCK) for p in paths]
    data = raw.read_edr(granules[::-1], None, CLOCK)
    np.testing.assert_allclose(data["et"].values, et - 15.0, atol=2e-5)


def test_a_span_is_what_the_whole_has_inside(tmp_path: Path) -> None:
    path, _, et = written(tmp_path, "edr", rows=3000)
    whole = read(path, "edr")
    for low, high in ((10.0, 20.0), (-50.0, 5.0), (295.0, 500.0), (1000.0, 1001.0)):
        span = Span(et[0] + low, et[0] + high)
        part = read(path, "edr", span)
        xr.testing.assert_identical(part, whole.isel(et=span.contains(whole["et"].values)))


def test_the_label_describes_the_file(tmp_path: Path) -> None:
    """The core's own PDS3 reader finds every column through label and format file."""
    path, columns, _ = written(tmp_path, "irdr", rows=20)
    table = read_table(read_label(path.with_suffix(".LBL")), "SPREADSHEET")
    assert list(table) == list(layout.IRDR)
    np.testing.assert_allclose(table["R3TA"], columns["R3TA"], atol=1e-9)
    root = ElementTree.parse(path.with_suffix(".xml")).getroot()
    space = {"p": "http://pds.nasa.gov/pds4/pds/v1"}
    names = [e.text for e in root.findall(".//p:Field_Delimited/p:name", space)]
    assert names == list(layout.IRDR)
    assert root.find(".//p:Table_Delimited/p:offset", space).text == "1752"  # type: ignore[union-attr]
    assert root.find(".//p:Table_Delimited/p:records", space).text == "20"  # type: ignore[union-attr]


def test_time_of_the_rdr_may_count_from_midnight(tmp_path: Path) -> None:
    """Its label says "since 12:00 AM Jan. 1, 2000": noon or midnight is told by the UTC beside it."""
    path, _, et = written(tmp_path, "irdr", rows=5)
    lines = path.read_bytes().split(b"\r\n")
    late = [
        b",".join([b"%.5f" % (float(line.split(b",", 1)[0]) + 43200.0), line.split(b",", 1)[1]]) for line in lines[1:-1]
    ]
    path.write_bytes(b"\r\n".join([lines[0], *late, b""]))
    np.testing.assert_allclose(read(path, "irdr")["et"].values, et, atol=2e-5)


@pytest.mark.parametrize("places", range(7))
def test_numbers_are_printed_as_python_prints_them(places: int) -> None:
    rng = np.random.default_rng(places)
    values = rng.normal(0.0, 10.0 ** rng.uniform(-7.0, 11.0, 3000))
    values = np.append(values, [0.0, -0.0, np.nan, 9999.99999, 1e4, 99999999.5, 1e8, 123400005678.0, 0.5, 1.5, 2.5])
    found = decimals.lines({"a": values, "b": np.full(len(values), b"2016"), "c": values}, {"a": places, "c": 0})
    printed = [["" if v != v else f"{v:.{p}f}" for v in values.tolist()] for p in (places, 0)]
    assert found.decode() == "".join(f"{a},2016,{c}\r\n" for a, c in zip(*printed, strict=True))


@pytest.mark.parametrize("value", [np.inf, -1e12])
def test_numbers_too_large_for_a_field_are_not_printed(value: float) -> None:
    with pytest.raises(ValueError, match="column a has a number too large"):
        decimals.lines({"a": np.array([1.0, value])}, {"a": 2})


def test_the_judge_counts_lost_records_of_their_own_variables_only() -> None:
    """A variable without the records' dimension is not lost with them (pipeline.testing.pulls)."""
    gain = INSTRUMENT.product("mwr.gain").schema
    truth = xr.Dataset({"compression": (("stream",), np.full(8, 5e-8))}, coords={"et": np.arange(3.0)})
    parts = {"compression": 5e-8, "compression_random": 1e-9, "compression_systematic": 1e-9}
    made = xr.Dataset({n: (("stream",), np.full(8, v)) for n, v in parts.items()}, coords={"et": np.arange(1.0, 3.0)})
    made["stream_quality"] = ("stream",), np.zeros(8, np.uint32)
    results = pulls.compare_to_truth(made, truth, gain)
    assert next(r for r in results if r.variable == "compression").flagged == 0.0
