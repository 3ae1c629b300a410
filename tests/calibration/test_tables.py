"""Tables: what is read, what is refused, the hash, interpolation in time, overrides and draws."""

from __future__ import annotations

import dataclasses
import itertools
import pickle
import subprocess
import sys
from pathlib import Path

import h5netcdf
import numpy as np
import pytest
import xarray as xr

from calibration.tables import Table
from pipeline.clock import parse_utc
from pipeline.errors import CalibrationError

TEXT = """\
instrument: mag
name: gain
title: A gain
quantities:
  gain:
    value: [[1, 2.0, 3e0], [4, 5, 6]]
    dims: [sensor, axis]
    units: nT
    uncertainty: [0.1, 0.2, 1e-1]
    correlation: random
    pedigree: published
    source: A paper
  offset:
    value: 0.5
    dims: []
    units: counts of the ADC
    uncertainty: null
    correlation: systematic
    pedigree: placeholder
    source: Nobody knows
"""
RNG = np.random.default_rng(3)


def write(folder: Path, text: str, name: str = "gain.yaml") -> Path:
    (folder / name).write_text(text)
    return folder / name


@pytest.fixture
def table(tmp_path: Path) -> Table:
    return Table.read(write(tmp_path, TEXT))


def test_what_is_read(table: Table) -> None:
    assert (table.instrument, table.name, table.title) == ("mag", "gain", "A gain")
    gain = table["gain"]
    np.testing.assert_array_equal(gain.value, [[1, 2, 3], [4, 5, 6]])
    np.testing.assert_array_equal(gain.sigma, [[0.1, 0.2, 0.1]] * 2)
    assert gain.uncertainty is not None
    assert gain.uncertainty.shape == (3,)
    assert (gain.dims, gain.units, gain.correlation) == (("sensor", "axis"), "nT", "random")
    assert table["offset"].value.shape == ()
    assert table["offset"].uncertainty is None
    assert table.pedigrees == {"published": 1, "placeholder": 1}
    assert table.worst_pedigree == "placeholder"
    assert dict(table.values)["offset"] == 0.5
    assert "gain (sensor 2, axis 3) nT, published" in repr(table)
    with pytest.raises(CalibrationError, match=r"quantity offset: its uncertainty is not known.*Nobody knows"):
        _ = table["offset"].sigma
    with pytest.raises(CalibrationError, match=r"mag\.gain has no quantity 'gian'; did you mean gain"):
        table["gian"]


def test_arrays_are_read_only_also_when_they_come_from_another_process(table: Table) -> None:
    for one in (table, pickle.loads(pickle.dumps(table))):
        assert one.hash == table.hash
        with pytest.raises(ValueError, match="read-only"):
            one["gain"].value[0, 0] = 9


def test_the_hash_is_of_the_values_not_of_the_file(tmp_path: Path, table: Table) -> None:
    other = """\
# the same said otherwise
name: "gain"
instrument: mag
quantities:
  offset: {value: 5.0e-1, dims: [], units: "counts of the ADC", uncertainty: ~, correlation: systematic,
           pedigree: placeholder, source: Nobody
             knows}
  gain: {value: {csv: gain.csv}, dims: [sensor, axis], units: nT, uncertainty: {netcdf: u.nc, variable: u},
         correlation: random, pedigree: published, source: A paper}
title: Another title
"""
    (tmp_path / "gain.csv").write_text("# of the laboratory\n1,2,3\n4.0, 5,6\n")
    with h5netcdf.File(tmp_path / "u.nc", "w") as file:
        file.dimensions = {"sensor": 2, "axis": 3}
        file.create_variable("u", ("sensor", "axis"), data=np.array([[0.1, 0.2, 0.1]] * 2))
    same = Table.read(write(tmp_path, other, "other.yaml"))
    assert same.hash == table.hash
    changes = [
        ("2.0", "2.0000000000000004"),
        ("units: nT", "units: T"),
        ("1e-1]", "1e-2]"),
        ("correlation: random", "correlation: systematic"),
        ("pedigree: published", "pedigree: derived"),
        ("A paper", "Another paper"),
        ("[sensor, axis]", "[sensor, component]"),
        ("uncertainty: null", "uncertainty: 0"),
        ("name: gain", "name: gains"),
        ("instrument: mag", "instrument: jade"),
    ]
    hashes = {Table.read(write(tmp_path, TEXT.replace(old, new, 1))).hash for old, new in changes}
    assert len(hashes) == len(changes)
    assert table.hash not in hashes


def test_the_hash_does_not_depend_on_the_process(tmp_path: Path, table: Table) -> None:
    code = "import sys; from calibration.tables import Table; print(Table.read(sys.argv[1]).hash)"
    path = tmp_path / "gain.yaml"
    found = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == table.hash
    # Moves only with the definition of the hash, and with it every key.
    assert table.hash == "a2b4e535cd8efe638f0d1f2e15772a970b9cc3dca8d586de70e158dff456dda0"


def test_written_and_read_again(tmp_path: Path, table: Table) -> None:
    flat = dataclasses.replace(table["gain"], value=RNG.normal(size=(40, 30)), uncertainty=RNG.random((40, 30)))
    large = Table("junocam", "flat", "Flat: 1e5", {"flat": flat, "offset": table["offset"]})
    folder = tmp_path / "new" / "place"
    for one in (table, large):
        path = one.write(folder / f"{one.name}.yaml")
        again = Table.read(path)
        assert again.hash == one.hash
        assert again.title == one.title
    assert sorted(p.name for p in folder.iterdir()) == ["flat.nc", "flat.yaml", "gain.yaml"]
    assert (folder / "flat.yaml").stat().st_size < 1000
    np.testing.assert_array_equal(xr.open_dataset(folder / "flat.nc", engine="h5netcdf").flat, flat.value)
    with pytest.raises(CalibrationError, match="cannot be written"):
        table.write(path / "below_a_file.yaml")


def test_a_column_of_a_csv_file(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text("name,low, high\na,1,2\nb,3,4\n")
    text = TEXT.replace("[[1, 2.0, 3e0], [4, 5, 6]]", "{csv: c.csv, column: high}").replace("[0.1, 0.2, 1e-1]", "0")
    text = text.replace("[sensor, axis]", "[channel]")
    assert Table.read(write(tmp_path, text))["gain"].value.tolist() == [2, 4]
    with pytest.raises(CalibrationError, match=r"gain.*no column 'hihg'; did you mean high"):
        Table.read(write(tmp_path, text.replace("column: high", "column: hihg")))
    with pytest.raises(CalibrationError, match=r"quantity gain: c\.csv: could not convert string 'a'"):
        Table.read(write(tmp_path, text.replace("column: high", "column: name")))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("instrument: mag", "", "instrument missing"),
        ("title: A gain", "title: 3", "title is 3"),
        ("quantities:", "quantitys:", "quantities missing"),
        ("units: nT", "", "quantity gain: units missing"),
        ("    units: nT", "    units: nT\n    unit: nT", "quantity gain: 'unit' is not known; did you mean units"),
        ("units: nT", "units: 1", "quantity gain: units is 1, text is expected"),
        ("pedigree: published", "pedigree: guessed", "quantity gain: pedigree 'guessed' is none of flight, published"),
        ("correlation: random", "correlation: none", "quantity gain: correlation 'none'"),
        ("source: A paper", "source: ' '", "quantity gain: source is ' '"),
        ("[sensor, axis]", "[sensor]", r"quantity gain: value has shape \(2, 3\), which does not fit"),
        ("[sensor, axis]", "[axis, axis]", "quantity gain: dims.*distinct"),
        ("[sensor, axis]", "[[axis], sensor]", "quantity gain: dims.*distinct"),
        ("[sensor, axis]", "axis", "quantity gain: dims is 'axis'"),
        ("[0.1, 0.2, 1e-1]", "[0.1, 0.2]", r"quantity gain: uncertainty has shape \(2,\), value \(2, 3\)"),
        ("[0.1, 0.2, 1e-1]", "-0.1", "quantity gain: uncertainty is negative"),
        ("[0.1, 0.2, 1e-1]", ".nan", "quantity gain: uncertainty is negative or not finite"),
        ("2.0", ".nan", "quantity gain: value is not finite"),
        ("2.0", "1e999", "quantity gain: value is not finite"),
        ("2.0", "two", "quantity gain: 'two' is no number"),
        ("2.0", "true", "quantity gain: 'True' is no number"),
        ("2.0", "12:30", "quantity gain: '12:30' is no number"),
        ("2.0", "2016-08-27", "quantity gain: '2016-08-27' is no number"),
        ("2.0", "0x10", "quantity gain: '0x10' is no number"),
        ("2.0", "1" + 400 * "0", "quantity gain: .*too large"),
        ("2.0", "[2.0]", r"quantity gain: '\[2.0\]' is no number"),
        ("2.0, ", "", "quantity gain: rows of different lengths"),
        ("value: 0.5", "value: []", r"quantity offset: '\[\]' is no number"),
        ("value: 0.5", "value: &x [*x]", "quantity offset: .* is no number"),
        ("value: 0.5", "value: {csv: ../gain.csv}", "quantity offset: '../gain.csv': arrays stand in a file beside"),
        ("value: 0.5", "value: {csv: a.csv}", "quantity offset: a.csv: a CSV file cannot hold 0 dimensions"),
        ("value: 0.5", "value: {netcdf: a.nc, variable: x}", "quantity offset: .*a.nc cannot be read"),
        ("value: 0.5", "value: {netcdf: a.nc}", "quantity offset: .* is expected"),
        ("dims: []", "dims: [axis]", "quantity offset: value has shape"),
        ("value: 0.5\n    dims: []", "value: [1, 2]\n    dims: [axis]", "axis has 3 elements in gain, 2 in offset"),
        ("  offset:", "  gain:", "'gain' stands there twice"),
        ("quantities:", "quantities: []\nx:", "x.* is not known"),
        ("A paper", "A paper: [", r"gain\.yaml: .*line"),
    ],
)  # fmt: skip
def test_malformed_tables(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in TEXT
    path = write(tmp_path, TEXT.replace(old, new, 1))
    with pytest.raises(CalibrationError, match=said) as error:
        Table.read(path)
    assert str(error.value).startswith(str(path))


def test_files_that_are_no_tables(tmp_path: Path) -> None:
    for content in (b"", b"- 1", b"\xff\xfe", b"[" * 10000, b"a: !!python/object/apply:os.getcwd []"):
        (tmp_path / "t.yaml").write_bytes(content)
        with pytest.raises(CalibrationError, match=r"t\.yaml"):
            Table.read(tmp_path / "t.yaml")
    with pytest.raises(CalibrationError, match="no_such"):
        Table.read(tmp_path / "no_such.yaml")


def test_references_to_references_do_not_fill_the_memory(tmp_path: Path) -> None:
    names = "abcdefghi"
    lists = [f"&{b} [{','.join([f'*{a}'] * 8)}]" for a, b in itertools.pairwise(names)]
    bomb = f"dims: [&a {[1] * 8}, {', '.join(lists)}]\n    value: *i"
    path = write(tmp_path, TEXT.replace("value: 0.5\n    dims: []", bomb))
    with pytest.raises(CalibrationError, match=r"quantity offset: .* numbers written out"):
        Table.read(path)


def test_packed_netcdf_is_refused(tmp_path: Path) -> None:
    with h5netcdf.File(tmp_path / "u.nc", "w") as file:
        file.dimensions = {"sensor": 2, "axis": 3}
        file.create_variable("u", ("sensor", "axis"), data=np.ones((2, 3), "i2")).attrs["scale_factor"] = 0.1
    text = TEXT.replace("[[1, 2.0, 3e0], [4, 5, 6]]", "{netcdf: u.nc, variable: u}")
    with pytest.raises(CalibrationError, match=r"quantity gain: u\.nc: u has scale_factor"):
        Table.read(write(tmp_path, text))
    with pytest.raises(CalibrationError, match="no numeric variable 'v'; it has sensor, axis, u"):
        Table.read(write(tmp_path, text.replace("variable: u", "variable: v")))


DRIFT = """\
instrument: uvs
name: drift
title: A drift
quantities:
  time:
    value: ['2016-08-27T00:00:00', '2016-240T12:00:00', '2016-08-28T00:00:00']
    dims: [time]
    units: s
    uncertainty: 0
    correlation: random
    pedigree: placeholder
    source: x
  gain:
    value: [[10, 20, 40], [1, 3, 2]]
    dims: [channel, time]
    units: '1'
    uncertainty: [1, 2, 2]
    correlation: random
    pedigree: placeholder
    source: x
"""


def test_values_at_times(tmp_path: Path) -> None:
    drift = Table.read(write(tmp_path, DRIFT))
    assert drift["time"].value[1] == parse_utc("2016-08-27T12:00:00")
    assert Table.read(drift.write(tmp_path / "again.yaml")).hash == drift.hash
    first, noon, last = drift["time"].value
    times = np.array([(noon + last) / 2, first, first - 1e-6, noon, last, last + 9e9])
    at = drift.at(times)
    np.testing.assert_allclose(at["gain"].value, [[30, 10, 10, 20, 40, 40], [2.5, 1, 1, 3, 2, 2]], rtol=1e-9)
    np.testing.assert_allclose(at["gain"].sigma[0], [2, 1, 1, 2, 2, 2])
    assert drift.covers(times).tolist() == [True, True, False, True, True, False]
    single = drift.at("2016-08-27T06:00:00")["gain"]
    assert single.dims == ("channel",)
    np.testing.assert_allclose(single.value, [15, 2], rtol=1e-9)
    same = drift.at(np.array(["2016-08-27T06:00:00"], "datetime64[ns]"))["gain"].value[:, 0]
    np.testing.assert_allclose(same, single.value, rtol=1e-9)
    assert not drift.covers("2016-08-26T00:00:00")
    with pytest.raises(CalibrationError, match="finite"):
        drift.at([np.nan])
    one = DRIFT.replace(", '2016-240T12:00:00', '2016-08-28T00:00:00'", "").replace(
        "[[10, 20, 40], [1, 3, 2]]", "[[10], [1]]"
    )
    held = Table.read(write(tmp_path, one.replace("[1, 2, 2]", "1")))
    assert held.at(times)["gain"].value[:, 4].tolist() == [10, 1]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("'2016-240T12:00:00'", "'2016-07-27T12:00:00'", "ascending"),
        ("'2016-240T12:00:00'", "'2016-17-27T12:00:00'", "neither numbers nor UTC"),
        ("'2016-240T12:00:00'", "3.0", "is no number"),
        ("units: s", "units: d", "in s"),
        ("[[10, 20, 40], [1, 3, 2]]", "[[x, y, z], [x, y, z]]", "'x' is no number"),
    ],
)
def test_malformed_times(tmp_path: Path, old: str, new: str, said: str) -> None:
    with pytest.raises(CalibrationError, match=said):
        Table.read(write(tmp_path, DRIFT.replace(old, new)))


def test_a_table_without_times_has_none(table: Table) -> None:
    with pytest.raises(CalibrationError, match="no quantity 'time'"):
        table.at(0.0)


def test_replace(table: Table) -> None:
    new = table.replace(gain=table["gain"].value * 2)
    assert new.hash != table.hash
    assert new["gain"].pedigree == new.worst_pedigree == "override"
    assert new["gain"].source == "override of: A paper"
    assert new.replace(gain=table["gain"].value)["gain"].source == "override of: A paper"
    np.testing.assert_array_equal(new["gain"].sigma, table["gain"].sigma)
    assert table["gain"].value[0, 0] == 1
    sharper = table.replace(gain=dataclasses.replace(table["gain"], uncertainty=0.0))
    assert not sharper["gain"].sigma.any()
    assert table.replace(offset=3)["offset"].value == 3
    array = xr.DataArray(np.ones((2, 3)), attrs={"units": "nT"})
    assert table.replace(gain=array)["gain"].value[0, 0] == 1
    for quantities, said in (
        ({"gian": 1}, "mag.gain has no quantity 'gian'; did you mean gain"),
        ({"gain": [1, 2, 3]}, r"mag\.gain, quantity gain: shape \(3,\), \(2, 3\) is expected"),
        ({"gain": np.full((2, 3), np.inf)}, "quantity gain: value is not finite"),
        ({"gain": array.assign_attrs(units="T")}, "quantity gain: units 'T', 'nT' is expected"),
        ({"gain": "much"}, "quantity gain: could not convert"),
    ):
        with pytest.raises(CalibrationError, match=said):
            table.replace(**quantities)


def test_draws_have_the_stated_scatter_and_correlation(table: Table) -> None:
    quantities = {
        "random": dataclasses.replace(table["gain"], uncertainty=[[0.1, 0.2, 0.3], [1, 2, 0]]),
        "common": dataclasses.replace(
            table["gain"], uncertainty=[[0.1, 0.2, 0.3], [1, 2, 0]], correlation="systematic"
        ),
        "offset": table["offset"],
    }
    known = Table("mag", "x", "x", quantities)
    rng = np.random.default_rng(1)
    draws = [known.draw(rng) for _ in range(2000)]
    for name in ("random", "common"):
        values = np.array([d[name].value for d in draws]) - known[name].value
        np.testing.assert_allclose(values.std(axis=0), known[name].sigma, rtol=0.06)
        assert not values[:, 1, 2].any()
        between = np.corrcoef(values[:, 0, 0], values[:, 1, 1])[0, 1]
        assert between == pytest.approx(0 if name == "random" else 1, abs=0.08)
        assert draws[0][name].pedigree == "override"
    across = np.corrcoef([d["random"].value[0, 0] for d in draws], [d["common"].value[0, 0] for d in draws])[0, 1]
    assert abs(across) < 0.08
    assert all(d["offset"] is known["offset"] for d in draws)
    assert known.draw(np.random.default_rng(1)).hash == draws[0].hash
