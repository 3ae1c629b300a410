"""Where the units of a file are, when labels stand where they should not or lengths are beyond the format."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import InputError
from pipeline.formats.dsn.sfdu import index_sfdus


def unit(content: bytes, description: bytes = b"C123") -> bytes:
    return b"NJPL2I00" + description + len(content).to_bytes(8, "big") + content


def places(data: bytes, folder: Path, longest: int = 1000, skip: bool = False) -> list[tuple[int, int]]:
    (folder / "a.dat").write_bytes(data)
    index = index_sfdus(folder / "a.dat", {b"C123", b"C124"}, longest, "skip" if skip else "raise")
    return list(zip(index.offset.tolist(), index.size.tolist(), strict=True))


def test_units_of_one_size_and_of_many(tmp_path: Path) -> None:
    assert places(3 * unit(bytes(30)), tmp_path) == [(0, 50), (50, 50), (100, 50)]
    mixed = unit(bytes(30)) + unit(b"", b"C124") + unit(bytes(7))
    assert places(mixed, tmp_path) == [(0, 50), (50, 20), (70, 27)]


def test_whole_units_inside_a_unit_are_its_content(tmp_path: Path) -> None:
    inner = unit(b"abc") + unit(b"de", b"C124")
    data = unit(bytes(5)) + unit(b"x" + inner + b"y") + unit(inner) + unit(bytes(9))
    outer = [25, 20 + len(inner) + 2, 20 + len(inner), 29]
    assert [size for _, size in places(data, tmp_path)] == outer
    assert sum(outer) == len(data)


def test_a_label_that_straddles_the_blocks_of_the_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = b"".join(unit(bytes(k)) for k in range(40))
    for block in range(5, 60, 7):
        monkeypatch.setattr("pipeline.formats.dsn.sfdu._BLOCK", block)
        assert len(places(data, tmp_path)) == 40


def test_a_length_beyond_the_format_is_refused_even_if_it_meets_the_end(tmp_path: Path) -> None:
    swallowing = unit(unit(bytes(400)) + unit(bytes(700)))
    with pytest.raises(InputError, match="its length is wrong"):
        places(unit(b"ab") + swallowing, tmp_path, longest=1000)
    # What it swallowed is found.
    assert places(unit(b"ab") + swallowing, tmp_path, longest=1000, skip=True) == [(0, 22), (42, 420), (462, 720)]
    assert len(places(unit(b"ab") + swallowing, tmp_path, longest=2000)) == 2
    with pytest.raises(InputError, match="its length is wrong"):
        places(unit(bytes(1500)), tmp_path, longest=1000)


def test_a_unit_that_goes_on_beyond_its_length_is_not_whole(tmp_path: Path) -> None:
    """Bytes that stand twice in it shift those after; a lost label behind it does not."""
    one = unit(bytes(range(60)))
    longer = one[:50] + one[40:]
    assert places(one + longer + one, tmp_path, skip=True) == [(0, 80), (170, 80)]
    assert places(one + longer, tmp_path, skip=True) == [(0, 80)]
    with pytest.raises(InputError, match="byte 80: the unit goes on beyond its length"):
        places(one + longer + one, tmp_path)
    lost = b"X" + one[1:]
    assert places(one + lost + one, tmp_path, skip=True) == [(0, 80), (160, 80)]
    assert places(one + one[:11], tmp_path, skip=True) == [(0, 80)]
    assert places(one + lost + lost + one + b"NJPL2I00C1", tmp_path, skip=True) == [(0, 80), (240, 80)]
