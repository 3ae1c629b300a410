"""Space packets: golden bytes worked out by hand, every kind of loss, damage of every kind."""

from __future__ import annotations

from binascii import crc_hqx
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import InputError
from pipeline.formats.packet_fields import (
    Field,
    Layout,
    Ragged,
    _crc_of_rows,
    check_packets,
    crc_residue,
    decode,
    encode,
    iter_decode,
    read_packets,
    unpack,
)
from pipeline.formats.packets import PacketReport, index_packets, join_segments, order_packets

# Word 1: version 000, type 0, secondary flag 1, APID 0x123; word 2: flags 11, count 5; word 3: 9 data bytes less one.
GOLDEN = bytes.fromhex("0923 c005 0008".replace(" ", "")) + bytes.fromhex("7fffffff 80 abc def 0f".replace(" ", ""))
GOLDEN_LAYOUT = Layout(
    (
        Field("seconds", 0, 32),
        Field("flag", 32, 1),
        Field("signed", 33, 7, "i"),
        Field("adc", 40, 12, count=2),
        Field("low", 68, 4, "i"),
    )
)
LAYOUT = Layout((Field("time", 0, 32), Field("value", 32, 12, "i", 4), Field("more", 80, 16, "u", None)), crc=True)


def sample(n: int, first: int = 0, apid: int = 100) -> tuple[dict[str, np.ndarray | Ragged], bytes]:
    rng = np.random.default_rng(n)
    counts = rng.integers(0, 9, n)
    columns: dict[str, np.ndarray | Ragged] = {
        "time": np.arange(n, dtype=np.uint32),
        "value": rng.integers(-2048, 2048, (n, 4)).astype(np.int16),
        "more": Ragged(rng.integers(0, 65536, counts.sum()).astype(np.uint16), counts),
    }
    return columns, encode(LAYOUT, columns, apid, count=first)


def pieces(data: bytes) -> list[bytes]:
    index = index_packets(data)
    return [data[o : o + n] for o, n in zip(index.offset, index.length, strict=True)]


def equal(one: dict, two: dict) -> None:
    assert one.keys() == two.keys()
    for name, value in one.items():
        pairs = zip(value, two[name], strict=True) if isinstance(value, Ragged) else [(value, two[name])]
        for a, b in pairs:
            np.testing.assert_array_equal(a, b)


def test_golden_packet_by_hand() -> None:
    index = index_packets(GOLDEN)
    header = [int(getattr(index, n)[0]) for n in ("version", "type", "secondary", "apid", "flags", "count", "length")]
    assert header == [0, 0, 1, 0x123, 3, 5, 15]
    columns = decode(index, GOLDEN_LAYOUT)
    assert columns["seconds"][0] == 0x7FFFFFFF
    assert (columns["flag"][0], columns["signed"][0]) == (1, 0)
    assert columns["adc"][0].tolist() == [0xABC, 0xDEF]
    assert columns["low"][0] == -1  # the bits are 0000 1111: the low four
    assert all(c.dtype.isnative for c in columns.values())


def test_writer_gives_the_golden_packet() -> None:
    columns = {"seconds": [0x7FFFFFFF], "flag": [1], "signed": [0], "adc": [[0xABC, 0xDEF]], "low": [-1]}
    assert encode(GOLDEN_LAYOUT, columns, 0x123, count=5) == GOLDEN


def test_checksum_is_the_published_one() -> None:
    # "123456789" gives 0x29B1 (the check value of CRC-16/CCITT-FALSE); so does ECSS: 00 00 -> 0x1D0F.
    text = np.frombuffer(b"123456789" * 100 + b"\x00\x00" * 100, np.uint8)
    assert set(_crc_of_rows(text[:900].reshape(100, 9)).tolist()) == {0x29B1}
    assert set(_crc_of_rows(text[900:].reshape(100, 2)).tolist()) == {0x1D0F}


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_any_layout_survives_the_round_trip(data: st.DataObject) -> None:
    bit, layout, columns, n = 0, [], {}, data.draw(st.integers(1, 70))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    for k in range(data.draw(st.integers(1, 6))):
        kind = data.draw(st.sampled_from("uif"))
        bits = data.draw(st.sampled_from((32, 64))) if kind == "f" else data.draw(st.integers(1, 64))
        bit = -(-bit // 8) * 8 if kind == "f" else bit + data.draw(st.integers(0, 3))
        f = Field(f"f{k}", bit, bits, kind, data.draw(st.integers(1, 9)))
        low = -(1 << bits - 1) if kind == "i" else 0
        shape = (n, f.count or 1)
        exact = np.int64 if kind == "i" else np.uint64
        value = (
            rng.integers(low, low + (1 << bits) - 1, shape, exact, endpoint=True)
            if kind != "f"
            else rng.normal(size=shape)
        )
        columns[f.name] = value.astype(f.dtype) if f.count > 1 else value.astype(f.dtype)[:, 0]
        layout.append(f)
        bit = f.end
    crc = data.draw(st.booleans())
    written = encode(Layout(tuple(layout), crc), columns, 7)
    found, report = read_packets(written, 7, Layout(tuple(layout), crc), chunk=16)
    equal(columns, found)
    assert report == PacketReport(received=n)


def test_variable_packets_round_trip_with_checksum() -> None:
    columns, data = sample(500)
    found, report = read_packets(data, 100, LAYOUT, time=("time",))
    equal(columns, found)
    assert report == PacketReport(received=500)
    assert all(crc_hqx(p, 0xFFFF) == 0 for p in pieces(data))
    parts = list(iter_decode(index_packets(data), LAYOUT, 77))
    np.testing.assert_array_equal(np.concatenate([p["more"].values for p in parts]), columns["more"].values)


def test_wrong_values_are_refused_by_the_writer() -> None:
    columns, _ = sample(3)
    columns["value"] = columns["value"].astype(int) + 5000
    with pytest.raises(ValueError, match=r"value: .* does not fit 12 bits"):
        encode(LAYOUT, columns, 1)
    with pytest.raises(ValueError, match="overlap"):
        Layout((Field("a", 0, 12), Field("b", 8, 8)))


@pytest.mark.parametrize("timed", [False, True])
def test_losses_are_counted_across_the_wrap(timed: bool) -> None:
    _, data = sample(400, first=16300)
    packet = pieces(data)
    kept = [p for k, p in enumerate(packet) if k not in {10, 84, 85, 300}]  # 84 is count 0
    kept[20], kept[25] = kept[25], kept[20]
    kept.insert(200, kept[150])  # a repeat, late
    found, report = read_packets(b"".join(kept), 100, LAYOUT, time=("time",) if timed else ())
    assert found["time"].tolist() == [k for k in range(400) if k not in {10, 84, 85, 300}]
    # Of the swapped pair and the four between them, all that follow packet 25 and precede it in count are late.
    assert report == PacketReport(received=397, lost=4, duplicate=1, out_of_order=5)


def test_replay_of_the_whole_file_is_seen_with_times() -> None:
    columns, data = sample(5000)
    found, report = read_packets(data + data, 100, LAYOUT, time=("time",))
    equal(columns, found)
    assert report == PacketReport(received=10000, duplicate=5000)


def test_same_count_with_other_content_is_kept_and_reported() -> None:
    _, data = sample(20)
    packet = pieces(data)
    other = bytearray(packet[7][:-2])
    other[12] ^= 1
    packet.insert(8, bytes(other) + crc_hqx(bytes(other), 0xFFFF).to_bytes(2, "big"))
    columns, report = read_packets(b"".join(packet), 100, LAYOUT)
    assert len(columns["time"]) == 21
    assert report == PacketReport(received=21, conflicting=1)


def test_one_stray_count_is_not_two_gaps() -> None:
    layout = Layout((Field("x", 0, 8),))
    count = [9000, 9001, 500, 9002, 9003]
    index, report = order_packets(index_packets(encode(layout, {"x": [0] * 5}, 1, count=count)))
    assert index.count.tolist() == [500, 9000, 9001, 9002, 9003]
    assert report.out_of_order == 1
    assert report.lost == 8499  # between the stray and the rest, not a turn of the counter more


def test_truncated_tail_and_bad_checksum() -> None:
    _, data = sample(50)
    damaged = bytearray(data[:-3])
    index = index_packets(data)
    damaged[index.offset[10] + 8] ^= 0x40
    found, report = read_packets(bytes(damaged), 100, LAYOUT)
    assert found["time"].tolist() == [k for k in range(49) if k != 10]
    last = len(data) - index.offset[-1] - 3
    assert report == PacketReport(received=49, truncated=1, crc_failed=1, lost=1, bytes_skipped=last)


@pytest.mark.parametrize("apids", [None, {100}])
@pytest.mark.parametrize("junk", [b"\x00" * 300, b"\xff" * 77, bytes(range(256)), b"\x00\x64\xc0\x00\x00\x05"])
def test_garbage_between_packets_is_skipped_and_counted(junk: bytes, apids: set[int] | None) -> None:
    _, data = sample(60)
    packet = pieces(data)
    index = index_packets(b"".join(packet[:30]) + junk + b"".join(packet[30:]), apids)
    columns, report = unpack(index.select(100), LAYOUT)
    missing = set(range(60)) - set(columns["time"].tolist())
    assert missing <= {29, 30}  # the packet before, or the one that junk with a good header swallows
    assert report.lost == len(missing)
    assert index.report.bytes_skipped + int(index.length.sum()) == len(data) + len(junk)


def test_length_that_runs_over_its_successors_costs_one_packet() -> None:
    _, data = sample(60)
    index = index_packets(data)
    damaged = bytearray(data)
    at = int(index.offset[30])
    damaged[at + 4 : at + 6] = (100).to_bytes(2, "big")
    found = index_packets(bytes(damaged))
    assert len(found) == 59
    assert found.report == PacketReport(overlong=1, bytes_skipped=int(index.length[30]))
    damaged[at + 4 : at + 6] = b"\xff\xff"  # beyond the end of the file
    found = index_packets(bytes(damaged))
    assert len(found) == 59
    assert found.report == PacketReport(overlong=1, bytes_skipped=int(index.length[30]))


def test_short_and_long_packets_against_the_layout() -> None:
    layout = Layout((Field("x", 0, 16, "u", 2),))
    data = b"".join(
        encode(Layout((Field("x", 0, 16, "u", n),)), {"x": [list(range(n))]}, 3, count=k)
        for k, n in enumerate([2, 3, 2])
    ) + encode(Layout((Field("x", 0, 16),)), {"x": [9]}, 3, count=4)
    index, report = check_packets(index_packets(data), layout)
    assert decode(index, layout)["x"].tolist() == [[0, 1]] * 3
    assert report == PacketReport(received=4, truncated=1, overlong=1)
    with pytest.raises(ValueError, match="shorter"):
        decode(index_packets(data), layout)


def segmented(flags: list[int], count: list[int], body: list[bytes]) -> bytes:
    out = b""
    for f, c, b in zip(flags, count, body, strict=True):
        out += (0x0801).to_bytes(2, "big") + (f << 14 | c).to_bytes(2, "big") + (len(b) - 1).to_bytes(2, "big") + b
    return out


def test_segments_are_joined_and_incomplete_groups_dropped() -> None:
    data = segmented(
        [3, 1, 0, 2, 1, 2, 0, 1, 0, 3, 1, 2],
        [16380, 16381, 16382, 16383, 0, 2, 3, 4, 5, 6, 7, 8],
        [b"TTwhole", b"TTab", b"TTcd", b"TTe", *[b"TTx"] * 5, b"TTend", b"TTlast", b"TTone"],
    )
    index, report = join_segments(index_packets(data), skip=2)
    body = [index.buffer[o + 6 : o + n].tobytes() for o, n in zip(index.offset, index.length, strict=True)]
    assert body == [b"TTwhole", b"TTabcde", b"TTend", b"TTlastone"]
    assert report == PacketReport(incomplete=5)
    plain = index_packets(GOLDEN)
    assert join_segments(plain)[0] is plain


@given(st.data())
@settings(max_examples=80, deadline=None)
def test_flipped_bits_never_crash_and_lose_only_their_packets(data: st.DataObject) -> None:
    _, clean = sample(80)
    damaged = np.frombuffer(clean, np.uint8).copy()
    hits = data.draw(st.lists(st.integers(0, 8 * len(clean) - 1), min_size=1, max_size=5, unique=True))
    for hit in hits:
        damaged[hit // 8] ^= 1 << hit % 8
    found, report = read_packets(damaged.tobytes(), 100, LAYOUT, time=("time",))
    index = index_packets(clean)
    touched = set(np.searchsorted(index.offset, np.array(hits) // 8, "right") - 1)
    missing = set(range(80)) - set(found["time"].tolist())
    near = {k + d for k in touched for d in (-2, -1, 0, 1, 2, 3)}  # a chain of three is wanted to go on
    for k in touched:  # a wrong length that ends at a true header swallows those between; they count as lost
        at = int(index.offset[k])
        end = at + 7 + int.from_bytes(damaged[at + 4 : at + 6].tobytes(), "big")
        near |= {*range(k, int(np.searchsorted(index.offset, end)))} if end <= len(clean) else set()
    assert missing <= near
    # Before the first and after the last that is left, nothing tells how many there were.
    between = {k for k in missing - touched if min(found["time"], default=80) < k < max(found["time"], default=0)}
    assert len(between) <= report.lost + 3
    assert not missing or report != PacketReport(received=80)


@given(st.binary(max_size=3000), st.sampled_from([None, {100}, {0, 1, 2}]))
@settings(max_examples=150, deadline=None)
def test_any_bytes_are_accounted_for(data: bytes, apids: set[int] | None) -> None:
    index = index_packets(data, apids)
    assert int(index.length.sum()) + index.report.bytes_skipped == len(data)
    assert np.all(np.diff(index.offset) >= index.length[:-1])
    order_packets(index)
    join_segments(index)
    check_packets(index, LAYOUT)


def test_large_noise_is_refused_or_read_in_linear_time() -> None:
    noise = np.random.default_rng(3).integers(0, 256, 2_000_000, dtype=np.uint8).tobytes()
    index = index_packets(noise, {100})
    assert index.report.bytes_skipped + int(index.length.sum()) == len(noise)
    hostile = (segmented([3] * 3, [0, 1, 2], [b"x"] * 3) + b"\xff" * 9) * 20000
    with pytest.raises(InputError, match="not a file of space packets"):
        index_packets(hostile)


def test_files(tmp_path: Path) -> None:
    columns, data = sample(30)
    path = tmp_path / "raw.pkt"
    path.write_bytes(data)
    equal(columns, read_packets(path, 100, LAYOUT)[0])
    path.write_bytes(b"")
    with pytest.raises(InputError, match=r"raw\.pkt: the packet file is empty"):
        index_packets(path)
    with pytest.raises(InputError, match="cannot be read"):
        index_packets(tmp_path / "none")


def test_other_apids_and_empty_selections() -> None:
    _, one = sample(10, apid=100)
    _, two = sample(10, apid=200)
    index = index_packets(one + two)
    assert len(index.select(200)) == 10
    columns, report = unpack(index.select(300), LAYOUT, time=("time",))
    assert columns["value"].shape == (0, 4)
    assert len(columns["more"].values) == 0
    assert report == PacketReport()
    assert len(crc_residue(index.select(300))) == 0
