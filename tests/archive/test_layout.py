"""The bytes of PDS4 objects."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from lxml import etree

from pipeline.archive.labels import Label, width_of
from pipeline.archive.layout import MISSING, TYPES, Array, Table, lay_out, write_objects
from pipeline.archive.opening import number_type
from pipeline.archive.supplement import _pack, _unpack
from pipeline.dataset.parts import parts_of
from pipeline.errors import StoreError


def dataset() -> xr.Dataset:
    return xr.Dataset(
        {
            "image": (("et", "line", "sample"), np.arange(3 * 5 * 20, dtype=np.float32).reshape(3, 5, 20)),
            "vector": (("et", "xyz"), np.array([[1.0, np.nan, 3.0]] * 3)),
            "wide": (("et", "channel"), np.zeros((3, 17), np.uint16)),
            "name": ("et", np.array(["a", "long", "ü"], object)),
            "good": ("et", [True, False, True]),
            "scale": ((), np.float64(2.5)),
        },
        {"et": [0.0, 1.0, 2.0], "time": ("et", np.array(["2016-08-27T12:00:00.000000001"] * 3, "datetime64[ns]"))},
    )


def written(tmp_path: Path, found: xr.Dataset) -> Any:
    return write_objects(tmp_path / "x.dat", lay_out(parts_of(found)))


def test_objects_follow_one_another_and_sizes_are_those_of_the_bytes(tmp_path: Path) -> None:
    result = written(tmp_path, dataset())
    content = (tmp_path / "x.dat").read_bytes()
    assert result.size == len(content)
    assert result.md5 == hashlib.md5(content).hexdigest()
    end = 0
    for one, offset in result.objects:
        assert offset == end
        end += one.size
    assert end == len(content)


def test_tables_hold_what_shares_a_dimension(tmp_path: Path) -> None:
    tables = {o.dim: o for o, _ in written(tmp_path, dataset()).objects if isinstance(o, Table)}
    arrays = [o.name for o, _ in written(tmp_path, dataset()).objects if isinstance(o, Array)]
    assert {c.part.name for c in tables["et"].columns} == {"vector", "name", "good", "et", "time"}
    assert [c.part.name for c in tables["scalars"].columns] == ["scale"]
    assert arrays == ["image", "wide"]


def test_values_read_back_from_plain_bytes(tmp_path: Path) -> None:
    result = written(tmp_path, dataset())
    content = (tmp_path / "x.dat").read_bytes()
    objects = {o.name: (o, at) for o, at in result.objects}
    table, at = objects["table_et"]
    rows = np.frombuffer(content, table.dtype, 3, at)
    np.testing.assert_array_equal(rows["vector"][0], [1.0, MISSING, 3.0])
    assert rows["name"].tolist() == [b"a   ", b"long", "ü  ".encode()]
    assert rows["time"][0] == b"2016-08-27T12:00:00.000000001Z"
    assert rows["good"].tolist() == [1, 0, 1]
    _, at = objects["image"]
    np.testing.assert_array_equal(np.frombuffer(content, "<f4", 300, at).reshape(3, 5, 20), dataset()["image"].values)


@pytest.mark.parametrize("name", sorted(TYPES))
def test_every_type_is_little_endian_whatever_it_was(name: str, tmp_path: Path) -> None:
    values = np.array([[1, 2, 3] * 6] * 2, f">{name}")
    written(tmp_path, xr.Dataset({"x": (("a", "b"), values)}))
    np.testing.assert_array_equal(np.frombuffer((tmp_path / "x.dat").read_bytes(), f"<{name}").reshape(2, 18), values)


@pytest.mark.parametrize("name", sorted(TYPES))
def test_every_type_that_is_written_is_one_that_is_opened(name: str) -> None:
    root = etree.fromstring(f"<Field_Binary><data_type>{TYPES[name]}</data_type></Field_Binary>")
    assert number_type(Label(Path("x.xml"), root), root) == np.dtype(f"<{name}")
    assert width_of(TYPES[name]) == np.dtype(name).itemsize


def test_the_missing_constant_is_exact_in_both_precisions() -> None:
    assert float(np.float32(MISSING)) == MISSING == float(f"{MISSING:.0f}")


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (np.array([1.0, np.inf]), "infinite"),
        (np.array([1.0, MISSING]), "huge"),
        (np.array([1j, np.nan]), "complex numbers that are missing"),
        (np.array([1.0], np.longdouble), "no type"),
        (np.array(["a "], object), "end would be lost"),
        (np.full((2, 17), "a", object), "fits no PDS4 object"),
    ],
)
def test_what_pds4_cannot_hold_is_refused(values: Any, why: str, tmp_path: Path) -> None:
    dims = ("a", "b")[: values.ndim]
    with pytest.raises(StoreError, match=why):
        written(tmp_path, xr.Dataset({"x": (dims, values)}))


def test_a_variable_without_elements_is_left_out(tmp_path: Path) -> None:
    found = xr.Dataset({"none": ("nothing", np.empty(0)), "one": ("a", [1.0])})
    assert [o.name for o, _ in written(tmp_path, found).objects] == ["table_a"]


@pytest.mark.parametrize(
    "value", ["text", 3, 2.5, np.float32(0.1), np.float64(np.nan), np.int64(-5), np.array([1, 2], np.uint32),
              np.array(["a", "b"], object)],
)  # fmt: skip
def test_attributes_keep_their_type(value: Any) -> None:
    back = _unpack(_pack(value))
    assert type(back) is type(value)
    np.testing.assert_array_equal(back, value)
