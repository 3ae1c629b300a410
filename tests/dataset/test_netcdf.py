"""netCDF in and out: equal bytes however a product was cut, other readers, damaged files."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray as xr
from dataset_samples import FLAGS, SCHEMA, T0, finished

from pipeline.clock import Span
from pipeline.dataset import check, netcdf
from pipeline.dataset.schema import Schema
from pipeline.dataset.summary import flag_shares, flag_text
from pipeline.errors import StoreError

ATTRS = {"title": "a product", "product": "x.y/PJ01", "recipe": "r" * 200_000, "schema_version": np.int32(1)}


def segments(folder: Path, dataset: xr.Dataset, cuts: list[int], schema: Schema = SCHEMA) -> list[Path]:
    edges = [0, *cuts, dataset.sizes["et"]]
    paths = []
    for number, (a, b) in enumerate(itertools.pairwise(edges)):
        paths.append(folder / f"{number}.nc")
        netcdf.write_segment(paths[-1], dataset.isel(et=slice(a, b)), schema)
    return paths


def product(folder: Path, cuts: list[int] | None = None, name: str = "product.nc", n: int = 3456) -> Path:
    path = folder / name
    netcdf.assemble(path, segments(folder, finished(n), cuts or []), SCHEMA, ATTRS)
    return path


# 3 segments that meet chunks of 1000, 7 that do not, one record alone, and the last chunk whole.
CUTS = [[1000, 2000], [13, 999, 1000, 2001, 2002, 3000], [1], [3455], list(range(100, 3400, 100)), [1000], [2500]]


@pytest.mark.parametrize("cuts", CUTS, ids=len)
def test_bytes_do_not_depend_on_the_segments(tmp_path: Path, cuts: list[int]) -> None:
    whole = product(tmp_path, [], "whole.nc").read_bytes()
    assert product(tmp_path, cuts).read_bytes() == whole


def test_bytes_do_not_depend_on_when_or_where(tmp_path: Path) -> None:
    first = product(tmp_path)
    time.sleep(1.1)  # HDF5 keeps times in whole seconds
    other = tmp_path / "elsewhere"
    other.mkdir()
    assert product(other, name="other name.nc").read_bytes() == first.read_bytes()


def test_whole_chunks_are_copied_compressed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copied: list[int] = []
    inner = netcdf._copy_chunks
    monkeypatch.setattr(netcdf, "_copy_chunks", lambda s, t, stop, at: (copied.append(stop), inner(s, t, stop, at)))
    product(tmp_path, [2000, 2500])
    assert max(copied) == 2000


def test_values_come_back(tmp_path: Path) -> None:
    dataset = finished()
    back = netcdf.open_product(product(tmp_path, [500, 2222]))
    xr.testing.assert_identical(back.drop_attrs(), dataset.drop_attrs())
    assert back["time"].dtype == "datetime64[ns]"
    for name in dataset.variables:
        assert dataset[name].attrs.keys() <= back[name].attrs.keys(), name
        for key, value in dataset[name].attrs.items():
            assert np.array_equal(back[name].attrs[key], value), (name, key)
    check.check(back, SCHEMA, FLAGS)
    assert back.attrs["recipe"] == ATTRS["recipe"]


def test_only_the_records_of_a_span(tmp_path: Path) -> None:
    path = product(tmp_path, [1500])
    whole = netcdf.open_product(path)
    for a, b in ((5.0, 20.0), (15.625, 15.625 + 1 / 64), (100.0, 200.0), (-10.0, 0.0)):
        span = Span(T0 + a, T0 + b)
        part = netcdf.open_product(path, span)
        xr.testing.assert_identical(part, whole.isel(et=span.contains(whole["et"].values)))


def test_the_rest_is_not_read(tmp_path: Path) -> None:
    """Spoil every chunk but those of the first records: these must still open."""
    path = product(tmp_path)
    with h5py.File(path) as file:
        spoiled = [
            file[name].id.get_chunk_info(number)
            for name in ("field", "extra", "quality", "sclk")
            for number in range(1, file[name].id.get_num_chunks())
        ]
    content = bytearray(path.read_bytes())
    for chunk in spoiled:
        content[chunk.byte_offset : chunk.byte_offset + chunk.size] = b"\xff" * chunk.size
    path.write_bytes(content)
    assert netcdf.open_product(path, Span(T0, T0 + 10)).sizes["et"] == 640
    with pytest.raises(StoreError, match="damaged"):
        netcdf.open_product(path)


def test_chunks_have_the_schemas_records(tmp_path: Path) -> None:
    with h5py.File(product(tmp_path)) as file:
        for name in ("field", "quality", "time", "et"):
            assert file[name].chunks[0] == 1000
            assert (file[name].compression, file[name].compression_opts, file[name].shuffle) == ("gzip", 1, True)


def test_a_chunk_does_not_grow_with_the_record(tmp_path: Path) -> None:
    images = xr.Dataset({"x": (("et", "line", "sample"), np.ones((40, 512, 512), np.float32))}, {"et": np.arange(40.0)})
    netcdf.write_dataset(tmp_path / "images.nc", images, {})
    with h5py.File(tmp_path / "images.nc") as file:
        assert file["x"].chunks == (4, 512, 512)


def test_counts_of_segments_add_up_and_other_attributes_go(tmp_path: Path) -> None:
    paths = []
    for number in range(3):
        one = finished().isel(et=slice(100 * number, 100 * number + 100))
        paths.append(tmp_path / f"{number}.nc")
        netcdf.write_segment(paths[-1], one.assign_attrs(packets_lost=number, note="own"), SCHEMA)
    netcdf.assemble(tmp_path / "p.nc", paths, SCHEMA, {"title": "t"})
    attrs = netcdf.read_attrs(tmp_path / "p.nc")
    assert attrs == {"Conventions": netcdf.CONVENTIONS, "title": "t", "packets_lost": 3}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda d: d.assign(field_systematic=((), np.float32(0.02))), "field_systematic changes"),
        (lambda d: d.drop_vars("extra"), "extra is not as"),
        (lambda d: d.assign(more=("et", d["et"].values)), "holds a variable"),
        (lambda d: d.assign(counts=("et", d["et"].values)), "counts is not as"),
    ],
)
def test_segments_that_do_not_belong_together(tmp_path: Path, change, named: str) -> None:  # type: ignore[no-untyped-def]
    paths = segments(tmp_path, finished(), [1000])
    netcdf.write_segment(paths[1], change(finished().isel(et=slice(1000, None))), SCHEMA)
    with pytest.raises(StoreError, match=named):
        netcdf.assemble(tmp_path / "p.nc", paths, SCHEMA, {})
    assert not list(tmp_path.glob("*.part")) + list(tmp_path.glob(".*"))
    assert not (tmp_path / "p.nc").exists()


def test_a_product_without_index(tmp_path: Path) -> None:
    schema = replace(SCHEMA, index=None)
    image = xr.Dataset({"x": (("line", "sample"), np.arange(6.0).reshape(2, 3)), "y": ((), 2.0)})
    netcdf.write_segment(tmp_path / "0.nc", image, schema)
    netcdf.assemble(tmp_path / "p.nc", [tmp_path / "0.nc"], schema, {})
    xr.testing.assert_equal(netcdf.open_product(tmp_path / "p.nc", Span(0, 1)), image)
    with pytest.raises(StoreError, match="in one piece"):
        netcdf.assemble(tmp_path / "q.nc", [tmp_path / "0.nc"] * 2, schema, {})


def test_any_dataset(tmp_path: Path) -> None:
    dataset = xr.Dataset(
        {"position": (("grid", "xyz"), np.random.default_rng(0).normal(size=(70_000, 3)), {"units": "km"})},
        coords={"grid": np.arange(70_000.0), "name": ("xyz", ["x", "y", "z"]), "alone": ((), 3)},
        attrs={"source": "kernels", "n": 4},
    )
    netcdf.write_dataset(tmp_path / "g.nc", dataset, {"hash": "abc"})
    back = netcdf.open_product(tmp_path / "g.nc")
    xr.testing.assert_identical(back.drop_attrs(), dataset.drop_attrs())
    assert back.attrs == {"Conventions": netcdf.CONVENTIONS, "source": "kernels", "n": 4, "hash": "abc"}
    with pytest.raises(TypeError, match="bool"):
        netcdf.write_dataset(tmp_path / "b.nc", xr.Dataset({"x": ("n", [True])}), {})


def test_truth_is_described_by_the_schema(tmp_path: Path) -> None:
    truth = finished()[["field"]].astype(np.float64).drop_vars(["time", "sclk"]).drop_attrs()
    truth.attrs["injected"] = 0.02
    netcdf.write_truth(tmp_path / "t.nc", truth, SCHEMA, {"product": "x.y/PJ01"})
    back = netcdf.open_product(tmp_path / "t.nc")
    assert back["field"].attrs["units"] == "nT"
    assert back["field"].dtype == np.float64
    assert (back.attrs["injected"], back.attrs["product"]) == (0.02, "x.y/PJ01")
    with pytest.raises(ValueError, match="other"):
        netcdf.write_truth(tmp_path / "t.nc", truth.assign(other=("et", truth["et"].values)), SCHEMA, {})


def test_flags_in_words(tmp_path: Path) -> None:
    assert flag_text(flag_shares(product(tmp_path))) == "missing 0.29 %, geometry_predicted 100 %, transient 0.29 %"


# Files that are not whole

DAMAGE = {
    "nothing": lambda b: b"",
    "text": lambda b: b"not a netCDF file\n" * 100,
    "half": lambda b: b[: len(b) // 2],
    "cut by one": lambda b: b[:-1],
    "zeros in the middle": lambda b: b[:2000] + bytes(len(b) - 4000) + b[-2000:],
}


@pytest.mark.parametrize("how", DAMAGE)
def test_damaged_files_are_named(tmp_path: Path, how: str) -> None:
    path = product(tmp_path, n=300)
    path.write_bytes(DAMAGE[how](path.read_bytes()))
    for read in (netcdf.open_product, netcdf.read_attrs):
        with pytest.raises(StoreError, match=r"product\.nc"):
            read(path)


def test_files_that_are_not_there(tmp_path: Path) -> None:
    for read in (netcdf.open_product, netcdf.read_attrs, flag_shares):
        with pytest.raises(StoreError, match=r"none\.nc: there is no such file"):
            read(tmp_path / "none.nc")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(StoreError, match="cannot be written"):
            netcdf.write_dataset(tmp_path / "x.nc", finished(), {})
    finally:
        tmp_path.chmod(0o700)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    path = product(tmp_path)
    with pytest.raises(StoreError, match="cannot be written"):
        netcdf.write_dataset(tmp_path / "no" / "x.nc", finished(), {})
    with pytest.raises(StoreError, match="cannot be written"):
        netcdf.export(path, tmp_path / "no" / "x.nc")


# Readers that are not ours, each in a process of its own: two HDF5 libraries do not mix.

READERS = {
    "netCDF4": """
import netCDF4
d = netCDF4.Dataset(path)
out = {n: summary(np.ma.filled(v[:], np.nan) if v.dtype != str and v.dtype.kind == 'f' else np.asarray(v[:]))
       for n, v in d.variables.items()}
attrs = {'Conventions': d.Conventions, 'units': d['field'].units, 'masks': np.asarray(d['quality'].flag_masks).tolist()}
assert len(d.recipe) == 200000 and d['field'].filters()['zlib'] and d['field'].filters()['shuffle']
assert len(d.dimensions['et']) == 3456 and not d.dimensions['et'].isunlimited()
assert d['field'].dimensions == ('et', 'xyz') and 'time' in d['field'].coordinates.split()
assert all(n in d.variables for n in d['field'].ancillary_variables.split())
""",
    "xarray with netcdf4": """
import xarray as xr
d = xr.open_dataset(path, engine='netcdf4', decode_times=False, decode_timedelta=False)
out = {n: summary(v.values) for n, v in d.variables.items()}
attrs = {'Conventions': d.Conventions, 'units': d.field.units, 'masks': d.quality.flag_masks.tolist()}
assert set(xr.open_dataset(path, engine='netcdf4').coords) >= {'time', 'sclk', 'axis_name', 'altitude'}
""",
    "h5py": """
import h5py
d = h5py.File(path)
out = {n: summary(v.asstr()[()] if v.dtype.kind == 'O' else v[()]) for n, v in d.items() if n != 'xyz'}
attrs = {'Conventions': d.attrs['Conventions'], 'units': d['field'].attrs['units'],
         'masks': d['quality'].attrs['flag_masks'].tolist()}
""",
}
PRELUDE = """
import json, sys, numpy as np
path = sys.argv[1]
def summary(v):
    v = np.asarray(v)
    return ' '.join(map(str, v.ravel()[:5])) if v.dtype.kind in 'OUS' else float(np.nansum(v.astype(float)))
"""


@pytest.mark.parametrize("reader", READERS)
def test_anyone_can_read_an_export(tmp_path: Path, reader: str) -> None:
    target = tmp_path / "export.nc"
    netcdf.export(product(tmp_path, [1234]), target)
    script = PRELUDE + READERS[reader] + "print(json.dumps([out, attrs]))"
    done = subprocess.run([sys.executable, "-c", script, target], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    out, attrs = json.loads(done.stdout)
    own = finished()
    assert set(out) == set(own.variables)
    for name, variable in own.variables.items():
        values = variable.values
        if values.dtype.kind in "OU":
            assert out[name] == " ".join(values.ravel()[:5])
        elif values.dtype.kind == "M":
            assert out[name] == pytest.approx((values - netcdf.EPOCH).astype(np.int64).astype(float).sum())
        else:
            assert out[name] == pytest.approx(np.nansum(values.astype(float)), rel=1e-12), name
    assert attrs["units"] == "nT"
    assert attrs["masks"] == own["quality"].attrs["flag_masks"].tolist()
    assert attrs["Conventions"] == "CF-1.11"
