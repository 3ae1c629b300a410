"""Tracking files: the golden record byte for byte, all 18 types forth and back, and every kind of damage."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import InputError
from pipeline.formats.dsn import sfdu, tnf
from pipeline.formats.dsn.times import mjd_of

# An uplink phase record of DSS-26 of 2012, and the phase words of the next, one second later.
GOLDEN = bytes.fromhex(
    "4e4a504c324930304331323300000000000000a20001004e00020004060e1800008400423031006200000000000000000"
    "7dc001540e77da000000000506304b6727a1a0201010000000001003f142f61ed5ae1ce344b7abd00000000000022000200"
    "00000000000a004c0042cd063881085a59b3cfd941faa3a0f766b3b600000000000000000000388c3848"
).ljust(182, b"\0")
NEXT_PHASE = struct.unpack(">3I", bytes.fromhex("0042cd07e2bb17d0c4ef3433"))

# Bytes after the label by data type; of types 16 and 17 without observables of 18 and 22 bytes (TRK-2-34).
LENGTHS = (162, 358, 194, 304, 276, 388, 200, 330, 178, 124, 204, 182, 164, 160, 348, 194, 182, 194)
RANDOM_FREE = ("chdo_", "sfdu_", "control_auth_id", "data_description_id", "format_code", "num_obs", "label_reserve2")


def random_records(data_type: int, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray | None]:
    """Records of random bits, NaN and reserved bytes included, with headers and times that are right."""
    num_obs = rng.integers(0, 5, n)
    good = tnf.make_records(data_type, {"year": np.full(n, 2016), "doy": 240, "sec": rng.uniform(0, 86400, n)}, num_obs)
    out = np.frombuffer(rng.bytes(good.nbytes), good.dtype).copy()
    for name in good.dtype.names or ():
        if any(part in name for part in RANDOM_FREE) or name in ("year", "doy", "sec"):
            out[name] = good[name]
    if data_type not in tnf.WITH_OBSERVABLES:
        return out, None
    item = tnf.observable_dtype(data_type)
    return out, np.frombuffer(rng.bytes(item.itemsize * int(num_obs.sum())), item)


def random_file(path: Path, n: int = 3, seed: int = 1) -> tnf.Tnf:
    rng = np.random.default_rng(seed)
    records, observables = {}, {}
    for data_type in tnf.DATA_TYPES:
        records[data_type], items = random_records(data_type, n, rng)
        if items is not None:
            observables[data_type] = items
    order = rng.permutation(np.repeat(np.arange(18, dtype=np.uint8), n))
    out = tnf.Tnf(records, observables, order)
    tnf.write_tnf(path, out)
    return out


@pytest.mark.parametrize("data_type", tnf.DATA_TYPES)
def test_the_fields_fill_the_unit(data_type: int) -> None:
    dtype = tnf.record_dtype(data_type)
    assert dtype.fields is not None
    ends = [offset + kind.itemsize for kind, offset in dtype.fields.values()]
    starts = [offset for _, offset in dtype.fields.values()]
    assert starts == [0, *ends[:-1]]
    assert dtype.itemsize == LENGTHS[data_type] + sfdu.LABEL
    assert set(tnf.units(data_type)) >= set(dtype.names or ())


def test_observables_are_18_and_22_bytes() -> None:
    assert [tnf.observable_dtype(t).itemsize for t in tnf.WITH_OBSERVABLES] == [18, 22]


def test_the_golden_record(tmp_path: Path) -> None:
    path = tmp_path / "golden.tnf"
    path.write_bytes(GOLDEN)
    read = tnf.read_tnf(path)
    record = read.records[0][0]
    expected = {
        "scft_id": 98, "year": 2012, "doy": 21, "sec": 48109.0, "rct_day": 20579, "rct_msec": 79065722,
        "ul_dss_id": 26, "ul_band": 2, "ul_assembly_num": 1, "transmit_num": 1, "fts_vld_flag": 1,
        "transmit_time_tag_delay": 7.7e-5, "version_num": 0x22, "sub_sub_version_num": 2,
        "ul_hi_phs_cycles": 0x0042CD06, "ul_lo_phs_cycles": 0x3881085A, "ul_frac_phs_cycles": 0x59B3CFD9,
        "ramp_rate": 0.0, "mjr_data_class": 6, "mnr_data_class": 14, "tracking_chdo_length": 76,
    }  # fmt: skip
    assert {name: record[name].item() for name in expected} == expected
    assert record["ul_zheight_corr"] == np.float32(1.89505e-7)
    day, second = tnf.time_tag(read.records[0])
    assert (day[0], second[0]) == (55947, 48109.0)  # MJD of 2012-01-21
    tnf.write_tnf(tmp_path / "again.tnf", read)
    assert (tmp_path / "again.tnf").read_bytes() == GOLDEN


def test_a_second_of_golden_phase_is_the_ramp_frequency(tmp_path: Path) -> None:
    (tmp_path / "golden.tnf").write_bytes(GOLDEN)
    record = tnf.read_tnf(tmp_path / "golden.tnf").records[0]
    whole, part = tnf.phase(record["ul_hi_phs_cycles"], record["ul_lo_phs_cycles"], record["ul_frac_phs_cycles"])
    whole_next, part_next = tnf.phase(*NEXT_PHASE)
    cycles = float(whole_next - whole[0]) + float(part_next - part[0])
    assert cycles == pytest.approx(7150899062.418875, abs=1e-6)
    assert cycles == pytest.approx(float(record["ramp_freq"][0]), abs=1e-6)


def test_a_phase_difference_is_exact_across_the_wrap_of_64_bits() -> None:
    before, _ = tnf.phase(0xFFFFFFFF, 0xFFFFFFFE, 0)
    after, part = tnf.phase(0, 5, 0xC0000000)
    assert (int(after - before), float(part)) == (7, 0.75)


def test_every_type_forth_and_back(tmp_path: Path) -> None:
    written = random_file(tmp_path / "a.tnf")
    read = tnf.read_tnf(tmp_path / "a.tnf")
    assert read.order.tolist() == written.order.tolist()
    assert not read.damage
    for data_type in tnf.DATA_TYPES:
        assert read.records[data_type].dtype == tnf.record_dtype(data_type)
        assert read.records[data_type].tobytes() == written.records[data_type].tobytes()
    for data_type in tnf.WITH_OBSERVABLES:
        assert read.observables[data_type].tobytes() == written.observables[data_type].tobytes()
    tnf.write_tnf(tmp_path / "b.tnf", read)
    assert (tmp_path / "a.tnf").read_bytes() == (tmp_path / "b.tnf").read_bytes()


def test_observables_lie_before_the_reserved_bytes(tmp_path: Path) -> None:
    record = tnf.make_records(
        16, {"year": [2017], "doy": 139, "sec": 1.5, "tracking_reserve8": np.void(b"reserve8")}, 2
    )
    items = np.zeros(2, tnf.observable_dtype(16))
    items["rcv_carr_obs"] = 8404135802.25, 8404135803.5
    tnf.write_tnf(tmp_path / "a.tnf", tnf.Tnf({16: record}, {16: items}, np.array([16], np.uint8)))
    data = (tmp_path / "a.tnf").read_bytes()
    assert len(data) == 202 + 2 * 18
    assert struct.unpack(">Q", data[12:20]) == (182 + 2 * 18,)
    assert struct.unpack(">d", data[194:202]) + struct.unpack(">d", data[212:220]) == (8404135802.25, 8404135803.5)
    assert data[-8:] == b"reserve8"
    assert struct.unpack(">HH", data[160:164]) == (10, len(data) - 164)


def test_a_dataset_is_native_and_has_units(tmp_path: Path) -> None:
    random_file(tmp_path / "a.tnf")
    data = tnf.read_tnf(tmp_path / "a.tnf").dataset(17)
    assert data["sec"].attrs["units"] == "s"
    assert data["sec"].dtype == np.dtype("=f8")
    assert data["total_cnt_phs_obs_frac"].attrs["units"] == "2^-32 cycles"
    assert data.sizes["observable"] == int(data["num_obs"].sum())
    assert "secondary_reserve1" not in data


def test_some_types_and_some_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tnf, "_BLOCK", 7)  # several blocks
    written = random_file(tmp_path / "a.tnf", n=8)
    middle, first, last = 43200.0, (57627, 43200.0), (57628, 0.0)
    read = tnf.read_tnf(tmp_path / "a.tnf", data_types=(1, 17), between=(first, last))
    later = {t: written.records[t]["sec"] >= middle for t in (1, 17)}
    assert 0 < later[17].sum() < 8
    for t in (1, 17):
        assert read.records[t].tobytes() == written.records[t][later[t]].tobytes()
    items = np.repeat(later[17], written.records[17]["num_obs"])
    assert read.observables[17].tobytes() == written.observables[17][items].tobytes()
    assert np.bincount(read.order, minlength=18).tolist() == [0, later[1].sum(), *15 * [0], later[17].sum()]
    assert set(tnf.read_tnf(tmp_path / "a.tnf", between=((57629, 0.0), (57630, 0.0))).records) == set()


def test_make_records_refuses_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="no field dl_freq"):
        tnf.make_records(0, {"dl_freq": [1.0]})
    with pytest.raises(ValueError, match="ul_dss_id"):
        tnf.make_records(0, {"ul_dss_id": [256]})
    with pytest.raises(ValueError, match="order"):
        tnf.write_tnf("never", tnf.Tnf({0: tnf.make_records(0, {"sec": [1.0]})}, order=np.array([0, 0], np.uint8)))


def three(middle: bytes) -> bytes:
    return GOLDEN + middle + GOLDEN


def changed(offset: int, data: bytes) -> bytes:
    return GOLDEN[:offset] + data + GOLDEN[offset + len(data) :]


DAMAGE = {
    "label letter": (three(changed(2, b"Q")), "no SFDU label"),
    "label version": (three(changed(4, b"1")), "no SFDU label"),
    "unknown description": (three(changed(8, b"C999")), "no SFDU label"),
    "description of another type": (three(changed(8, b"C124")), "data description"),
    "length too great": (three(changed(19, b"\xa3")), "cut short, or its length"),
    "length too small": (three(changed(19, b"\xa1")), "beyond its length"),
    "absurd length": (three(changed(12, b"\xff" * 8)), "cut short, or its length"),
    "length of zero": (three(changed(12, b"\0" * 8)), "beyond its length"),
    "cut inside": (three(GOLDEN[:100]), "cut short, or its length"),
    "cut in the label": (three(GOLDEN[:11]), "no SFDU label"),
    "bytes between": (three(b"\1\2\3" + GOLDEN), "beyond its length"),
    "unknown data type": (three(changed(31, b"\x12")), "format code"),
    "another data type": (three(changed(31, b"\2")), "length is not"),
    "secondary CHDO": (three(changed(33, b"\x85")), "CHDOs"),
    "length of a CHDO": (three(changed(105, b"\x4d")), "CHDOs"),
    "day of year 0": (three(changed(50, b"\0\0")), "no time"),
    "day 366 of 2013": (three(changed(48, struct.pack(">HH", 2013, 366))), "no time"),
    "year 1901": (three(changed(48, b"\x07\x6d")), "no time"),
    "seconds not a number": (three(changed(52, b"\xff" * 8)), "no time"),
    "seconds of two days": (three(changed(52, struct.pack(">d", 86401.0))), "no time"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damage_is_named_and_only_left_out_if_asked(case: str, tmp_path: Path) -> None:
    data, reason = DAMAGE[case]
    path = tmp_path / "damaged.tnf"
    path.write_bytes(data)
    with pytest.raises(InputError, match=reason) as error:
        tnf.read_tnf(path)
    assert error.value.place is not None
    assert error.value.path == path
    read = tnf.read_tnf(path, "skip")
    assert [d.reason for d in read.damage if reason in d.reason], read.damage
    assert kept(data, read.damage) == content(read, tmp_path)
    assert len(read.order) in (2, 3)


def kept(data: bytes, damage: list[sfdu.Damage]) -> bytes:
    """The bytes of a file outside its damage."""
    out, at = b"", 0
    for d in damage:
        assert d.offset >= at
        out, at = out + data[at : d.offset], d.offset + d.size
    return out + data[at:]


def content(read: tnf.Tnf, folder: Path) -> bytes:
    tnf.write_tnf(folder / "kept.tnf", read)
    return (folder / "kept.tnf").read_bytes()


def test_the_last_second_of_a_leap_day_is_a_time(tmp_path: Path) -> None:
    (tmp_path / "a.tnf").write_bytes(changed(48, struct.pack(">HHd", 2016, 366, 86400.25)))
    day, second = tnf.time_tag(tnf.read_tnf(tmp_path / "a.tnf").records[0])
    assert (day[0], second[0]) == (57753, 86400.25)


UNUSABLE: dict[str, tuple[bytes | None, str]] = {
    "absent": (None, "cannot be read"),
    "empty": (b"", "empty"),
    "zeros": (bytes(500), "not a file of SFDUs"),
    "short": (b"NJPL2I", "not a file of SFDUs"),
    "swapped": (np.frombuffer(GOLDEN, "<u2").byteswap().tobytes(), "swapped"),
    "only a cut unit": (GOLDEN[:150], "cut short"),
    "text": (b"PDS_VERSION_ID = PDS3\r\n" * 40, "not a file of SFDUs"),
}


@pytest.mark.parametrize("on_damage", ["raise", "skip"])
@pytest.mark.parametrize("case", UNUSABLE)
def test_a_file_without_a_whole_unit_is_refused_either_way(case: str, on_damage: sfdu.OnDamage, tmp_path: Path) -> None:
    data, reason = UNUSABLE[case]
    if data is not None:
        (tmp_path / "a.tnf").write_bytes(data)
    with pytest.raises(InputError, match=reason):
        tnf.read_tnf(tmp_path / "a.tnf", on_damage)


def ramp() -> np.ndarray:
    return tnf.make_records(9, {"year": 2017, "doy": 139, "sec": [12.5], "ramp_freq": 7.153e9, "ramp_rate": -0.25})


def test_a_label_by_chance_inside_a_unit_is_no_unit(tmp_path: Path) -> None:
    tnf.write_tnf(tmp_path / "r.tnf", tnf.Tnf({9: ramp()}, order=np.array([9], np.uint8)))
    data = three(changed(140, GOLDEN[:20])) + (tmp_path / "r.tnf").read_bytes()
    (tmp_path / "a.tnf").write_bytes(data)
    read = tnf.read_tnf(tmp_path / "a.tnf")
    assert read.order.tolist() == [0, 0, 0, 9]
    assert content(read, tmp_path) == data


def flip(rng: np.random.Generator, data: bytearray) -> None:
    data[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))


def cut(rng: np.random.Generator, data: bytearray) -> None:
    del data[int(rng.integers(len(data))) :]


def lose(rng: np.random.Generator, data: bytearray) -> None:
    at = int(rng.integers(len(data)))
    del data[at : at + int(rng.integers(1, 500))]


def overwrite(rng: np.random.Generator, data: bytearray) -> None:
    at, n = int(rng.integers(len(data))), int(rng.integers(1, 400))
    data[at : at + n] = rng.bytes(len(data[at : at + n]))


@pytest.mark.parametrize("harm", [flip, cut, lose, overwrite])
def test_whatever_happens_every_byte_is_kept_or_reported(
    harm: Callable[[np.random.Generator, bytearray], None], tmp_path: Path
) -> None:
    random_file(tmp_path / "a.tnf", n=2)
    whole, rng = (tmp_path / "a.tnf").read_bytes(), np.random.default_rng(7)
    reported = 0
    for _ in range(60):
        data = bytearray(whole)
        harm(rng, data)
        (tmp_path / "b.tnf").write_bytes(data)
        try:
            read = tnf.read_tnf(tmp_path / "b.tnf", "skip")
        except InputError:
            assert len(data) < 500
            continue
        assert kept(bytes(data), read.damage) == content(read, tmp_path)
        reported += bool(read.damage)
        if read.damage:
            with pytest.raises(InputError):
                tnf.read_tnf(tmp_path / "b.tnf")
    assert reported > 5


def test_days_against_the_calendar() -> None:
    assert mjd_of([1950, 1958, 2000, 2016], [1, 1, 1, 366]).tolist() == [33282, 36204, 51544, 57753]
