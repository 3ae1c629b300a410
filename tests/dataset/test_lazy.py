"""Large variables of a product: read when they are used, only what is used, and never anything else than was opened."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import xarray as xr

from pipeline.clock import Span
from pipeline.dataset import hdf5, netcdf
from pipeline.errors import StoreError

N = 1000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Images of 20 MB with times, bits and a text."""
    rng = np.random.default_rng(0)
    et = np.arange(float(N))
    dataset = xr.Dataset(
        {
            "image": (("et", "line", "sample"), rng.normal(size=(N, 50, 50)).astype(np.float32), {"units": "K"}),
            "bits": (("et", "line"), rng.integers(0, 9, (N, 50)).astype(np.uint32)),
            "taken": (("et", "line"), hdf5.EPOCH + rng.integers(0, 10**17, (N, 50)).astype("timedelta64[ns]")),
            "name": ("et", [f"r{k}" for k in range(N)]),
        },
        {"et": et, "time": ("et", hdf5.EPOCH + et.astype("timedelta64[ns]"))},
        {"title": "images"},
    )
    netcdf.write_dataset(tmp_path / "images.nc", dataset, {})
    return tmp_path / "images.nc"


@pytest.fixture
def eager(path: Path, monkeypatch: pytest.MonkeyPatch) -> xr.Dataset:
    """The same product as it is if nothing is large."""
    with monkeypatch.context() as patch:
        patch.setattr(hdf5, "LARGE", 1 << 40)
        return netcdf.open_product(path)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Names and number of values of what is read."""
    told: list[tuple[str, int]] = []

    def counted(part: h5py.Dataset, key: Any) -> Any:
        values = inner(part, key)
        told.append((part.name, values.size))
        return values

    inner = hdf5.decode
    monkeypatch.setattr(hdf5, "decode", counted)
    return told


def in_memory(dataset: xr.Dataset, name: str) -> bool:
    return isinstance(dataset.variables[name]._data, np.ndarray)


def test_it_is_read_when_it_is_used_and_once(path: Path, reads: list[tuple[str, int]]) -> None:
    product = netcdf.open_product(path)
    assert "/image" not in dict(reads)
    assert {"/bits", "/taken", "/name", "/et", "/time"} == {name for name, _ in reads}
    reads.clear()
    assert (product["image"].shape, product["image"].dtype) == ((N, 50, 50), np.float32)
    assert not reads
    first, second = product["image"].values, product["image"].values
    assert np.shares_memory(first, second)
    assert reads == [("/image", N * 2500)]


def test_only_what_is_used_is_read(path: Path, eager: xr.Dataset, reads: list[tuple[str, int]]) -> None:
    product = netcdf.open_product(path)
    reads.clear()
    image, known = product["image"], eager["image"].values
    assert np.array_equal(image.isel(et=700), known[700])
    assert np.array_equal(image[10:20, ::7].isel(sample=-1), known[10:20, ::7, -1])
    assert np.array_equal(image[::-1, 3, 4], known[::-1, 3, 4])
    assert np.array_equal(image.isel(et=[5, 3, 5], line=2), known[[5, 3, 5], 2])
    assert np.array_equal(image.isel(et=np.array(eager["et"] < 0)), known[:0])
    assert [size for _, size in reads] == [2500, 80, N, 3 * 50, 0]


def test_a_span_is_not_read_either(path: Path, eager: xr.Dataset, reads: list[tuple[str, int]]) -> None:
    part = netcdf.open_product(path, Span(10.0, 990.0))
    assert "/image" not in dict(reads)
    assert part.sizes["et"] == 980
    reads.clear()
    assert np.array_equal(part["image"].isel(et=slice(0, 2)), eager["image"][10:12])
    assert reads == [("/image", 5000)]
    # What is left of a large variable may be small.
    assert in_memory(netcdf.open_product(path, Span(10.0, 20.0)), "image")


@pytest.mark.parametrize("name", ["image", "bits", "taken"])
def test_it_is_what_it_would_be_in_memory(
    path: Path, eager: xr.Dataset, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hdf5, "LARGE", 0)
    product = netcdf.open_product(path)
    assert in_memory(eager, name)
    assert not in_memory(product, name)
    assert in_memory(product, "name")
    ours, known = product[name].variable, eager[name].variable
    assert (ours.dims, ours.dtype, ours.attrs, ours.encoding) == (known.dims, known.dtype, known.attrs, known.encoding)
    xr.testing.assert_identical(product, eager)


def test_it_travels(path: Path, eager: xr.Dataset) -> None:
    product = netcdf.open_product(path)
    sent = pickle.dumps(product)
    assert len(sent) < 2_000_000
    xr.testing.assert_identical(pickle.loads(sent), eager)
    xr.testing.assert_identical(product.copy(deep=True), eager)


def test_it_is_found_from_another_folder(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    product = netcdf.open_product(Path(path.name))
    monkeypatch.chdir("/")
    assert product["image"].values.size == N * 2500


def test_no_file_stays_open(path: Path) -> None:
    def opened() -> bool:
        return any(link.is_symlink() and link.resolve() == path for link in Path("/proc/self/fd").iterdir())

    with path.open("rb"):
        assert opened()
    product = netcdf.open_product(path)
    product["image"].isel(et=3).load()
    assert not opened()


def test_what_is_changed_in_memory_is_not_in_the_file(path: Path, eager: xr.Dataset) -> None:
    content = path.read_bytes()
    product = netcdf.open_product(path)
    product["image"][3] = 7.0
    assert (product["image"].isel(et=3) == 7.0).all()
    assert np.array_equal(product["image"][4], eager["image"][4])
    assert path.read_bytes() == content


def spoiled(path: Path) -> None:
    """Other bytes, of the same age and size, in the middle of the images."""
    state = path.stat()
    with h5py.File(path) as file:
        chunk = file["image"].id.get_chunk_info(0)
    with path.open("r+b") as file:
        file.seek(chunk.byte_offset + 10)
        file.write(b"\xff" * 1000)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


CHANGES = {
    "gone": (lambda path: path.unlink(), "there is no such file"),
    "cut": (lambda path: os.truncate(path, 100_000), "has changed since it was opened"),
    "another": (lambda path: netcdf.write_dataset(path, xr.Dataset({"x": 1}), {}), "has changed since it was opened"),
    "spoiled": (spoiled, "no product of this project, or damaged"),
}


@pytest.mark.parametrize("how", CHANGES)
def test_a_file_that_changes_before_it_is_read(path: Path, how: str) -> None:
    product = netcdf.open_product(path)
    change, told = CHANGES[how]
    change(path)
    for use in (lambda: product["image"].isel(et=0).load(), product.load, lambda: product["image"].mean()):
        with pytest.raises(StoreError, match=rf"images\.nc: {told}"):
            use()


def test_a_large_product_that_is_no_file(tmp_path: Path, path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(StoreError, match=r"images\.nc"):
        netcdf.open_product(path)
