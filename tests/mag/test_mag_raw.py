"""The telemetry format: golden bytes, the way there and back, and everything that can be wrong with a file."""

from __future__ import annotations

import struct
import sys
from binascii import crc_hqx
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

sys.path.insert(0, str(Path(__file__).parent))
from mag_scene import CLOCK, PASS

from instruments.mag import raw, raw_write
from pipeline.clock import TICKS, Span
from pipeline.errors import InputError
from pipeline.formats.packet_fields import encode

NAME = "fgm_jno_l1_2016240_v01.pkt"
ORIGIN = {"ORIGIN": raw.SIMULATED}


def dataset(seconds: int = 20, rates: tuple[int, ...] = (64,)) -> xr.Dataset:
    """Random telemetry that begins at closest approach, equal lengths of several rates."""
    rng = np.random.default_rng(3)
    first = -(-raw_write.clock_counter(CLOCK, np.array([PASS.et]))[0] // TICKS) * TICKS
    pieces, rate = [], []
    for part in rates:
        begin = pieces[-1][-1] if pieces else first
        pieces.append(begin + TICKS // part * np.arange(1, seconds // len(rates) * part + 1))
        rate.append(np.full(len(pieces[-1]), part, np.float32))
    et = CLOCK.to_et(CLOCK.encode(np.concatenate(pieces)))
    n = len(et)
    hk = CLOCK.to_et(CLOCK.encode(first + 5 * TICKS * np.arange(seconds // 5)))
    return xr.Dataset(
        {
            "counts": (("sensor", "et", "axis"), rng.integers(-32768, 32768, (2, n, 3)).astype(np.int16)),
            "present": (("sensor", "et"), np.ones((2, n), bool)),
            "range_code": (("sensor", "et"), rng.integers(0, 7, (2, n)).astype(np.uint8)),
            "rate": (("et",), np.concatenate(rate)),
            "temperature_counts": (("et_hk", "probe"), rng.integers(0, 4096, (len(hk), 2)).astype(float)),
        },
        coords={"et": et, "et_hk": hk},
    )


def written(folder: Path, data: xr.Dataset | None = None) -> Path:
    path = folder / NAME
    raw_write.write_telemetry(path, dataset() if data is None else data, CLOCK, ORIGIN)
    return path


def read(path: Path, span: Span | None = None) -> xr.Dataset:
    return raw.read_telemetry([raw.open_telemetry(path, CLOCK)], span, CLOCK)


def counted(data: xr.Dataset) -> dict[str, int]:
    totals = dict(zip(data["event"].values.tolist(), data["events"].values.sum(axis=0).tolist(), strict=True))
    return {name: n for name, n in totals.items() if n and name != "packets_received"}


def packets(path: Path) -> list[bytes]:
    """Split by the length fields, independently of the reader."""
    data, out = path.read_bytes(), []
    while data:
        length = struct.unpack(">H", data[4:6])[0] + 7
        out.append(data[:length])
        data = data[length:]
    return out


def test_a_packet_of_known_bytes_is_read_as_the_document_says(tmp_path: Path) -> None:
    seconds, fraction = 525_574_420, 18_916
    text = b"HOST = JUNO\r\nINSTRUMENT = FGM\r\nORIGIN = test\r\n"

    def packet(apid: int, count: int, body: bytes) -> bytes:
        head = struct.pack(">HHH", 0x0800 | apid, 0xC000 | count, len(body) + 1)
        return head + body + struct.pack(">H", crc_hqx(head + body, 0xFFFF))

    body = struct.pack(">IHBB", seconds, fraction, 2, 3) + bytes([0x56, 0x60]) + bytes(30)
    body += struct.pack(">9h", 1, -2, 3, 32767, -32768, 0, 7, 8, 9) + bytes(6 * 61)
    house = struct.pack(">IHHH", seconds, 0, 1480, 0xFFFF)
    content = packet(0x420, 0, text) + packet(0x421, 5, body) + packet(0x423, 0, house)
    (tmp_path / NAME).write_bytes(content)
    got = read(tmp_path / NAME)
    assert got["rate"].values.tolist() == [16, 16, 16]
    assert got["counts"].values[0].tolist() == [[1, -2, 3], [32767, -32768, 0], [7, 8, 9]]
    assert got["range_code"].values[0].tolist() == [5, 6, 6]
    assert got["present"].values.tolist() == [[True] * 3, [False] * 3]
    # the tag is the count of the real label of PJ1's closest approach: 525574312.242697 TDB (NAIF kernels)
    assert got["et"].values[0] == pytest.approx(525_574_312.242697, abs=1e-3)
    np.testing.assert_allclose(np.diff(got["et"].values), 1 / 16, atol=1e-6)
    np.testing.assert_array_equal(got["temperature_counts"].values, [[1480.0, np.nan]])
    assert got["events"].values[:, 0].sum() == 2
    assert not raw.open_telemetry(tmp_path / NAME, CLOCK).meta["simulated"]


@pytest.mark.parametrize("rates", [(64,), (64, 32, 16, 8), (1, 2, 4, 64)])
def test_what_is_written_is_read(tmp_path: Path, rates: tuple[int, ...]) -> None:
    data = dataset(80, rates)
    data["present"].values[0, 100:164] = False
    data["temperature_counts"].values[3, 1] = np.nan
    got = read(written(tmp_path, data))
    for name in data:
        expected = data[name].values
        if name in ("counts", "range_code"):
            expected = np.where(data["present"].values.reshape(2, -1, *[1] * (expected.ndim - 2)), expected, 0)
        np.testing.assert_array_equal(got[name].values, expected, err_msg=str(name))
    np.testing.assert_allclose(got["et"].values, data["et"].values, atol=1e-7)
    assert not counted(got)
    assert "SIMULATED" in got.attrs["simulated"]


def test_a_span_reads_what_the_whole_holds_there(tmp_path: Path) -> None:
    path = written(tmp_path, dataset(60, (64, 16, 32)))
    whole = read(path)
    for start, stop in ((3.3, 25.1), (20.0, 20.01), (59.0, 90.0)):
        span = Span(PASS.et + start, PASS.et + stop)
        part = read(path, span)
        inside = span.contains(whole["et"].values)
        np.testing.assert_array_equal(part["counts"].values, whole["counts"].values[:, inside])
        np.testing.assert_array_equal(part["et"].values, whole["et"].values[inside])
    assert read(path, Span(PASS.et + 500, PASS.et + 600)).sizes["et"] == 0


def test_counts_of_events_do_not_depend_on_segments(tmp_path: Path) -> None:
    path = written(tmp_path, dataset(120))
    parts = packets(path)
    broken = bytearray(parts[60])
    broken[40] ^= 1
    parts[60] = bytes(broken)
    path.write_bytes(b"".join([*parts[:30], *parts[33:50], parts[40], *parts[50:]]) + parts[-1][:77])
    whole = read(path)
    assert counted(whole) == {
        "packets_lost": 4, "packets_duplicate": 1, "packets_truncated": 1, "packets_crc_failed": 1, "bytes_skipped": 77,
    }  # fmt: skip
    edges = np.linspace(PASS.et - 5, PASS.et + 125, 8)
    total = sum(read(path, Span(a, b))["events"].values.sum(axis=0) for a, b in pairwise(edges))
    np.testing.assert_array_equal(total, whole["events"].values.sum(axis=0))


def test_late_packets_take_their_place_and_are_counted(tmp_path: Path) -> None:
    path = written(tmp_path)
    whole, parts = read(path), packets(path)
    parts.insert(30, parts.pop(9))
    path.write_bytes(b"".join(parts))
    got = read(path)
    np.testing.assert_array_equal(got["counts"].values, whole["counts"].values)
    assert counted(got) == {"packets_out_of_order": 1}


def test_a_lost_packet_of_one_sensor_is_not_present(tmp_path: Path) -> None:
    path = written(tmp_path)
    whole, parts = read(path), packets(path)
    first = next(i for i, p in enumerate(parts) if i > 10 and struct.unpack(">H", p[:2])[0] & 0x7FF == raw.OUTBOARD)
    path.write_bytes(b"".join(parts[:first] + parts[first + 1 :]))
    got = read(path)
    assert (~got["present"].values).sum(axis=1).tolist() == [64, 0]
    gone = ~got["present"].values[0]
    assert not got["counts"].values[0, gone].any()
    np.testing.assert_array_equal(got["counts"].values[0, ~gone], whole["counts"].values[0, ~gone])


def test_files_of_two_days_join(tmp_path: Path) -> None:
    data = dataset(40)
    half = data["et"].values[1280]
    paths = [tmp_path / NAME, tmp_path / "fgm_jno_l1_2016241_v01.pkt"]
    for path, keep, hk in zip(
        paths, (data["et"] < half, data["et"] >= half), (data["et_hk"] < half, data["et_hk"] >= half), strict=True
    ):
        raw_write.write_telemetry(path, data.isel(et=keep.values, et_hk=hk.values), CLOCK, ORIGIN)
    got = raw.read_telemetry([raw.open_telemetry(p, CLOCK) for p in paths], None, CLOCK)
    np.testing.assert_array_equal(got["counts"].values, data["counts"].values)
    assert not counted(got)


def test_granule_is_named_by_day_and_covers_its_vectors(tmp_path: Path) -> None:
    path = written(tmp_path)
    granule = raw.open_telemetry(path, CLOCK)
    assert (granule.id, granule.version, granule.meta["simulated"]) == ("fgm_jno_l1_2016240", 1, True)
    et = read(path)["et"].values
    assert granule.start <= et[0] - 1 / 64 + 1e-6
    assert granule.stop >= et[-1]


def spoiled(folder: Path, change: str) -> Path:
    path = written(folder)
    data, parts = path.read_bytes(), packets(path)
    if change == "empty":
        path.write_bytes(b"")
    elif change == "garbage":
        path.write_bytes(np.random.default_rng(1).bytes(4000))
    elif change == "head gone":
        path.write_bytes(data[10:])
    elif change == "only head":
        path.write_bytes(parts[0])
    elif change == "other instrument":
        path.write_bytes(data.replace(b"INSTRUMENT = FGM", b"INSTRUMENT = UVS"))
    elif change == "name":
        path = path.rename(folder / "fgm_something.pkt")
    elif change == "gone":
        path.unlink()
    elif change == "rate":
        columns = {"seconds": [1], "fraction": [0], "rate": [9], "number": [64]}
        columns |= {"range": np.zeros((1, 64), int), "counts": np.zeros((1, 192), int)}
        path.write_bytes(parts[0] + encode(raw.SCIENCE, columns, raw.OUTBOARD))
    return path


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("empty", "empty"),
        ("garbage", "identification|space packets"),
        ("head gone", "identification"),
        ("only head", "no packet"),
        ("other instrument", "identification"),  # its checksum is wrong, too
        ("name", "is not named"),
        ("gone", "cannot be read"),
        ("rate", "rate code 9"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_the_reason(tmp_path: Path, change: str, reason: str) -> None:
    path = spoiled(tmp_path, change)
    with pytest.raises(InputError, match=reason) as caught:
        read(path)
    assert caught.value.path.name == path.name


def test_a_file_of_another_instrument_is_refused(tmp_path: Path) -> None:
    path = tmp_path / NAME
    raw_write.write_telemetry(path, dataset(), CLOCK, {"INSTRUMENT": "UVS"})
    with pytest.raises(InputError, match="INSTRUMENT is 'UVS', not FGM"):
        read(path)


def test_sensors_that_contradict_one_another_are_refused(tmp_path: Path) -> None:
    counter = raw_write.clock_counter(CLOCK, np.array([PASS.et]))[0] + 1024 * np.arange(1, 65)
    zero = np.zeros((64, 3), np.int16), np.ones(64, np.uint8)
    one = raw_write.science_stream(raw.OUTBOARD, counter, np.full(64, 64), *zero)
    other = raw_write.science_stream(raw.INBOARD, counter, np.full(64, 32), *zero)
    raw_write.write_streams(tmp_path / NAME, ORIGIN, [one, other])
    with pytest.raises(InputError, match="different rates"):
        read(tmp_path / NAME)


@pytest.mark.parametrize("seed", range(20))
def test_random_damage_never_gives_a_wrong_number(tmp_path: Path, seed: int) -> None:
    path = written(tmp_path)
    whole = read(path)
    rng = np.random.default_rng(seed)
    data = bytearray(path.read_bytes())
    for _ in range(rng.integers(1, 6)):
        at, length = int(rng.integers(120, len(data) - 200)), int(rng.integers(1, 900))
        match rng.integers(3):
            case 0:
                data[at] ^= 1 << int(rng.integers(8))
            case 1:
                del data[at : at + length]
            case _:
                data[at:at] = rng.bytes(length)
    path.write_bytes(data)
    got = read(path)
    assert sum(counted(got).values()) > 0
    both, here, there = np.intersect1d(whole["et"].values, got["et"].values, return_indices=True)
    assert len(both) == got.sizes["et"]
    for sensor in (0, 1):
        present = got["present"].values[sensor, there]
        np.testing.assert_array_equal(
            got["counts"].values[sensor, there][present], whole["counts"].values[sensor, here][present]
        )
