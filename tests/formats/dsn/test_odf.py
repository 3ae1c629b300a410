"""Orbit data files: golden records, a real file against a decoder driven by its label, and damage."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from pipeline.errors import InputError
from pipeline.formats.dsn import odf

ORBIT = "68e8cb8800012cc8fff518eafa8fb767468005c4102942171f55b5300000000019000000"
RAMP = "68e8ba71000000000000000000000000" + "00001c0e" + "0a65bee0" + "00000000" + "68e8bdee" + "00000000"


def small(n: int = 5, stations: tuple[int, ...] = (25, 55)) -> odf.Odf:
    """A file with all kinds of groups and extreme values."""
    i = np.arange(n)
    label = odf.make_records(
        odf.LABEL, {"system": b"TDDS", "program": b"AMMOS", "spacecraft": 61, "reference_date": 19500101}
    )
    identifier = odf.make_records(
        odf.IDENTIFIER,
        {"identifier_1": b"TIMETAG ", "identifier_2": b"OBSRVBL ", "identifier_3": b"FREQ,ANCILLARY-DATA"},
    )
    orbit = odf.make_records(
        odf.ORBIT,
        {
            "time_second": 2103372242 + 60 * i,
            "time_millisecond": 999,
            "downlink_delay": (1 << 22) - 1,
            "observable_whole": np.where(i % 2, -611800, 2**31 - 1),
            "observable_fraction": np.where(i % 2, -999_999_999, 999_999_999),
            "format_id": 2,
            "receiver": 127,
            "transmitter": 55,
            "network": 3,
            "data_type": np.resize([11, 12, 13, 37, 58], n),
            "downlink_band": 2,
            "uplink_band": 3,
            "reference_band": 1,
            "invalid": i % 2,
            "item_15": 127,
            "spacecraft": 1023,
            "item_17": 1,
            "reference_high": (1 << 22) - 1 - i,
            "reference_low": (1 << 24) - 1,
            "item_20": np.where(i % 2, -(1 << 19), (1 << 19) - 1),
            "item_21": 6000,
            "uplink_delay": (1 << 22) - 1,
        },
    )
    ramps = [(odf.RAMP, s, odf.make_records(odf.RAMP, ramp_columns(s, n))) for s in stations]
    clock = odf.make_records(odf.CLOCK, {"start_second": 5, "offset_whole": -1, "offset_fraction": -7, "end_second": 6})
    groups = [(odf.LABEL, 0, label), (odf.IDENTIFIER, 0, identifier), (odf.ORBIT, 0, orbit), *ramps]
    return odf.make_odf([*groups, (odf.CLOCK, 0, clock)])


def ramp_columns(station: int, n: int) -> dict[str, np.ndarray | int]:
    start = 2103370000 + 100 * np.arange(n)
    return {
        "start_second": start,
        "start_nanosecond": 500_000_000,
        "rate_whole": -3,
        "rate_fraction": -999_999_999,
        "frequency_ghz": 7,
        "station": station,
        "frequency_whole": 153_065_586,
        "frequency_fraction": 123_456_789,
        "end_second": start + 100,
        "end_nanosecond": 1,
    }


def one_record(key: int, text: str, folder: Path) -> np.void:
    """The decoded record of a key, put into a file as bytes."""
    skeleton = small(1, (14,))
    odf.write_odf(folder / "one.odf", skeleton)
    data = (folder / "one.odf").read_bytes()
    packet = {odf.ORBIT: 5, odf.RAMP: 7}[key]
    (folder / "one.odf").write_bytes(data[: 36 * packet] + bytes.fromhex(text) + data[36 * (packet + 1) :])
    read = odf.read_odf(folder / "one.odf")
    odf.write_odf(folder / "again.odf", read)
    assert (folder / "again.odf").read_bytes() == (folder / "one.odf").read_bytes()
    return read.records(key)[:1]


def test_the_golden_orbit_record(tmp_path: Path) -> None:
    record = one_record(odf.ORBIT, ORBIT, tmp_path)
    expected = {
        "time_second": 1760086920, "time_millisecond": 0, "downlink_delay": 77000, "observable_whole": -714518,
        "observable_fraction": -91244697, "format_id": 2, "receiver": 26, "transmitter": 0, "network": 0,
        "data_type": 11, "downlink_band": 2, "uplink_band": 0, "reference_band": 2, "invalid": 0, "item_15": 8,
        "spacecraft": 82, "item_17": 1, "item_20": 0, "item_21": 100, "uplink_delay": 0,
    }  # fmt: skip
    assert {name: record[name][0].item() for name in expected} == expected
    assert odf.reference_frequency(record)[0] == 2298333214.0
    day, second = odf.utc(record["time_second"], record["time_millisecond"], 1000)
    assert (day[0], second[0]) == (33282 + 1760086920 // 86400, 1760086920 % 86400)


def test_the_golden_ramp_record(tmp_path: Path) -> None:
    record = one_record(odf.RAMP, RAMP, tmp_path)
    assert record["station"][0] == 14
    whole, part = odf.ramp_frequency(record)
    assert (whole[0], part[0]) == (7_174_440_160, 0.0)
    assert odf.ramp_rate(record)[0] == 0.0
    assert record["end_second"][0] - record["start_second"][0] == 0x68E8BDEE - 0x68E8BA71


def test_forth_and_back_with_every_field_at_its_ends(tmp_path: Path) -> None:
    written = small()
    odf.write_odf(tmp_path / "a.odf", written)
    assert (tmp_path / "a.odf").stat().st_size == odf.BLOCK
    read = odf.read_odf(tmp_path / "a.odf")
    for a, b in zip(read.groups, written.groups, strict=True):
        assert a.header == b.header
        assert a.records.tobytes() == b.records.tobytes()
    assert [g.key for g in read.groups] == [101, 107, 109, 2030, 2030, 2040, -1]
    assert read.records(odf.RAMP)["station"].tolist() == 5 * [25] + 5 * [55]
    odf.write_odf(tmp_path / "b.odf", read)
    assert (tmp_path / "a.odf").read_bytes() == (tmp_path / "b.odf").read_bytes()


def test_a_value_too_wide_is_not_written(tmp_path: Path) -> None:
    for name, value in (("receiver", 128), ("item_20", 1 << 19), ("downlink_delay", 1 << 22)):
        broken = small()
        broken.groups[2].records[name] = value
        with pytest.raises(ValueError, match=name):
            odf.write_odf(tmp_path / "a.odf", broken)
    with pytest.raises(ValueError, match="receiver"):
        odf.make_records(odf.ORBIT, {"receiver": [300]})
    with pytest.raises(ValueError, match="has no item station"):
        odf.make_records(odf.ORBIT, {"station": [3]})


def test_a_dataset_has_units(tmp_path: Path) -> None:
    data = small().dataset(odf.RAMP)
    assert data["rate_fraction"].attrs["units"] == "nHz/s"
    assert data["rate_fraction"].dtype == np.int32
    assert odf.ramp_rate(small().records(odf.RAMP))[0] == -3.999999999


# ---- the real file, decoded bit by bit as its label says -------------------------------------------------------------


def test_a_real_file_field_by_field_against_its_label(real_data: Path, tmp_path: Path) -> None:
    path = real_data / "gravity" / "odf07155.dat"
    if not path.exists():
        pytest.skip(f"{path} not present")
    read = odf.read_odf(path)
    tables = label_tables(path.with_name("VALID_odf07155_msgr_11.xml"))
    bits = np.unpackbits(np.frombuffer(path.read_bytes(), np.uint8))
    assert [len(g.records) for g in read.groups if g.key in (odf.ORBIT, odf.RAMP)] == [2228, 97, 48, 24]
    compared = 0
    for k, group in enumerate(read.groups):
        offset, records, fields = tables[2 * k]
        assert records == 1
        compared += same(np.atleast_1d(group.header), fields, bits, offset)
        if group.key == odf.END:
            break
        offset, records, fields = tables[2 * k + 1]
        assert records == len(group.records)
        compared += same(group.records, fields, bits, offset)
    assert compared == 2228 * 22 + (97 + 48 + 24) * 10 + 7 * 9 + 7 + 3
    odf.write_odf(tmp_path / "again.odf", read)
    assert (tmp_path / "again.odf").read_bytes() == path.read_bytes()


def label_tables(path: Path) -> list[tuple[int, int, list[tuple[int, int, str]]]]:
    """Offset, number of records and fields (first bit, bits, type) of every table of a PDS4 label."""
    name = "{http://pds.nasa.gov/pds4/pds/v1}"
    tables = []
    for table in ElementTree.parse(path).iter(f"{name}Table_Binary"):
        fields: list[tuple[int, int, str]] = []
        record = table.find(f"{name}Record_Binary")
        assert record is not None
        for child in record:
            repeat, start = int(child.findtext(f"{name}repetitions") or 1), 0
            if child.tag == f"{name}Group_Field_Binary":
                start = 8 * (int(child.findtext(f"{name}group_location") or 0) - 1)
            elif child.tag != f"{name}Field_Binary":
                continue
            own = child.find(f"{name}Field_Binary") if repeat > 1 else child
            assert own is not None
            fields += [f for k in range(repeat) for f in label_field(own, name, start + 32 * k)]
        tables.append((int(table.findtext(f"{name}offset") or 0), int(table.findtext(f"{name}records") or 0), fields))
    return tables


def label_field(element: ElementTree.Element, name: str, start: int) -> list[tuple[int, int, str]]:
    first = start + 8 * (int(element.findtext(f"{name}field_location") or 0) - 1)
    parts = list(element.iter(f"{name}Field_Bit"))
    if not parts:
        return [
            (first, 8 * int(element.findtext(f"{name}field_length") or 0), element.findtext(f"{name}data_type") or "")
        ]
    found = []
    for part in parts:
        a, b = (int(part.findtext(f"{name}{end}_bit_location") or 0) for end in ("start", "stop"))
        found.append((first + a - 1, b - a + 1, part.findtext(f"{name}data_type") or ""))
    return found


def same(records: np.ndarray, fields: list[tuple[int, int, str]], bits: np.ndarray, offset: int) -> int:
    """Compare every field of every record with the bits the label names, as Python integers."""
    names = records.dtype.names or ()
    assert len(names) == len(fields)
    rows = bits[8 * offset : 8 * (offset + 36 * len(records))].reshape(len(records), 288)
    for name, (first, size, kind) in zip(names, fields, strict=True):
        part = rows[:, first : first + size]
        if "ASCII" in kind:
            assert [np.packbits(p).tobytes() for p in part] == records[name].tolist()
            continue
        value = part.astype(object) @ np.array([1 << k for k in range(size)][::-1], object)
        if kind.startswith("Signed"):
            value = np.array([v - (1 << size) if v >> (size - 1) else v for v in value], object)
        assert value.tolist() == records[name].tolist(), name
    return len(records) * len(fields)


# ---- damage ----------------------------------------------------------------------------------------------------------


def word(packet: int, number: int, value: int) -> tuple[int, bytes]:
    return 36 * packet + 4 * (number - 1), value.to_bytes(4, "big")


DAMAGE = {
    "first word": (word(0, 1, 102), "not an orbit data file"),
    "identifier lost": (word(2, 1, 105), "a label, an identifier"),
    "a ramp header's key": (word(10, 1, 2031), "format is not 2"),
    "start packet": (word(10, 4, 11), "begins with packet 11, but it is packet 10"),
    "the next ramp header's key": (word(16, 1, 2031), "ends before it starts"),
    "station of a ramp group": (word(10, 2, 14), "not of the station"),
    "a key where none is": (word(4, 2, 1), "secondary key"),
    "format": (word(6, 5, 0x26800DC5), "format is not 2"),
    "milliseconds": (word(6, 2, 0xFFFFFFFF), "more than 999 ms"),
    "fraction": (word(6, 4, 0x7FFFFFFF), "fraction"),
    "data type": (word(6, 5, 0x46804E44), "unknown data type"),
    "ramp backwards": (word(11, 8, 1), "ends before it starts"),
    "ramp nanoseconds": (word(11, 2, 0xFFFFFFFF), "1e9 ns"),
    "ramp frequency": (word(11, 6, 0xFFFFFFFF), "frequency part"),
    "end of file": (word(24, 1, 0), "no end-of-file group"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damage_is_named_with_its_place(case: str, tmp_path: Path) -> None:
    (offset, new), reason = DAMAGE[case]
    odf.write_odf(tmp_path / "a.odf", small())
    data = bytearray((tmp_path / "a.odf").read_bytes())
    data[offset : offset + 4] = new
    (tmp_path / "a.odf").write_bytes(data)
    with pytest.raises(InputError, match=reason) as error:
        odf.read_odf(tmp_path / "a.odf")
    assert error.value.place is not None


def test_no_cut_and_no_lost_record_passes(tmp_path: Path) -> None:
    odf.write_odf(tmp_path / "a.odf", small())
    data = (tmp_path / "a.odf").read_bytes()
    end = 36 * 25
    for n in range(0, end, 7):
        (tmp_path / "b.odf").write_bytes(data[:n])
        with pytest.raises(InputError):
            odf.read_odf(tmp_path / "b.odf")
    for k in range(1, 24):
        (tmp_path / "b.odf").write_bytes(data[: 36 * k] + data[36 * (k + 1) :])
        with pytest.raises(InputError):
            odf.read_odf(tmp_path / "b.odf")
    (tmp_path / "b.odf").write_bytes(np.frombuffer(data, "<u4").byteswap().tobytes())
    with pytest.raises(InputError, match="swapped"):
        odf.read_odf(tmp_path / "b.odf")
    with pytest.raises(InputError, match="cannot be read"):
        odf.read_odf(tmp_path / "absent.odf")


def test_a_flipped_bit_is_refused_or_changes_one_value(tmp_path: Path) -> None:
    odf.write_odf(tmp_path / "a.odf", small())
    whole, rng = (tmp_path / "a.odf").read_bytes(), np.random.default_rng(3)
    refused = 0
    for _ in range(150):
        data = bytearray(whole)
        data[int(rng.integers(36 * 25))] ^= 1 << int(rng.integers(8))
        (tmp_path / "b.odf").write_bytes(data)
        try:
            odf.write_odf(tmp_path / "c.odf", odf.read_odf(tmp_path / "b.odf"))
        except InputError:
            refused += 1
            continue
        assert (tmp_path / "c.odf").read_bytes() == data
    assert 15 < refused < 135
