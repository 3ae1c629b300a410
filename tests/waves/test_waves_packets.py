"""Frames and minipackets against bytes assembled by hand, and what damage does."""

from __future__ import annotations

import struct
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np
import pytest

from instruments.waves import packets
from instruments.waves.layout import ADC_LIMITS, BURSTS
from instruments.waves.packets import Packet, content, frame, frames, minipackets, pack12, scan, unpack12, unwound
from instruments.waves.simulate_files import Captures, in_time
from pipeline.errors import InputError

SECOND = 525_574_420


def crc(data: bytes) -> int:
    """CRC-CCITT bit by bit: polynomial 0x1021, seed 0, most significant bit first."""
    value = 0
    for byte in data:
        value ^= byte << 8
        for _ in range(8):
            value = (value << 1 ^ 0x1021 if value & 0x8000 else value << 1) & 0xFFFF
    return value


def by_hand(body: bytes, sequence: int = 5, source: int = 2) -> bytes:
    tail = struct.pack(">HIHH", source << 14 | sequence, SECOND << 1, 0, 16 + len(body)) + body
    return bytes.fromhex("faf33403") + struct.pack(">H", crc(tail)) + tail


def test_a_frame_is_what_the_description_says() -> None:
    body = struct.pack(">HHB", 3 << 12 | 17, (SECOND % 1024) * 40 + 28, 0x10) + b"\1\0\0" + bytes(range(18))
    assert frame(2, 5, SECOND, body) == by_hand(body)
    assert next(minipackets(Packet(3, SECOND * 40 + 28, b"\1\0\0", bytes(range(18))))) == body


def test_a_frame_by_hand_is_read(tmp_path: Path) -> None:
    body = struct.pack(">HHB", 3 << 12 | 17, (SECOND % 1024) * 40 + 28, 0x90) + b"\1\0\0" + bytes(range(18)) + b"\0\0"
    path = tmp_path / "a.pkt"
    path.write_bytes(by_hand(body))
    found = scan(path)
    assert found.kind.tolist() == [3]
    assert found.ticks.tolist() == [SECOND * 40 + 28]
    assert found.status[0, :3].tolist() == [1, 0, 0]
    assert found.bad.tolist() == [True]
    data, fits = content(path, found, np.array([0]), 18)
    assert fits.all()
    assert data[0].tolist() == list(range(18))


@pytest.mark.parametrize("behind", [0, 1, 900, 1007, -15])
def test_truncated_times_are_unwound(behind: int) -> None:
    for second in (SECOND, 1024 * 513_256, 1024 * 513_256 + 3):
        ticks = (second - behind) * 40 + 39
        assert unwound(ticks // 40 % 1024 * 40 + 39, second) == ticks


def many() -> list[Packet]:
    rng = np.random.default_rng(1)
    sizes = (43, 18, 4096, 4097, 9216, 43, 12_288, 27)
    return [
        Packet(1 + k, (SECOND + k) * 40 + k, bytes(11 if n > 100 else 3), rng.integers(0, 256, n, np.uint8).tobytes())
        for k, n in enumerate(sizes)
    ]


def test_written_is_read_segments_joined(tmp_path: Path) -> None:
    path = tmp_path / "a.pkt"
    path.write_bytes(b"".join(frames(1, many(), first=16_383)))
    found = scan(path)
    assert found.source == 1
    for k, packet in enumerate(many()):
        data, fits = content(path, found, np.array([k]), len(packet.data))
        assert fits.all()
        assert (found.kind[k], found.ticks[k]) == (packet.kind, packet.ticks)
        assert data[0].tobytes() == packet.data
    events = dict(zip(packets.EVENTS, found.events.sum(axis=0).tolist(), strict=True))
    assert events.pop("frames_received") == len(found.seconds)
    assert set(events.values()) == {0}  # the sequence wraps without a loss


def test_damage_is_counted_and_the_rest_is_read(tmp_path: Path) -> None:
    sent = list(frames(1, many()))
    assert len(sent) >= 5
    broken = bytearray(sent[1])
    broken[40] ^= 1
    path = tmp_path / "a.pkt"
    path.write_bytes(b"noise" + sent[0] + sent[0] + bytes(broken) + b"".join(sent[3:]) + sent[2][:30])
    found = scan(path)
    events = dict(zip(packets.EVENTS, found.events.sum(axis=0).tolist(), strict=True))
    assert events["frames_duplicate"] == 1
    assert events["frames_crc_failed"] == 2  # the broken one and the one cut short
    assert events["frames_lost"] == 2
    assert events["bytes_skipped"] == 5 + len(broken) + 30
    assert events["measurements_incomplete"] >= 1
    whole = {(p.kind, p.ticks) for p in many()}
    got = set(zip(found.kind.tolist(), found.ticks.tolist(), strict=True))
    assert got < whole
    for k, (kind, ticks) in enumerate(zip(found.kind, found.ticks, strict=True)):
        packet = next(p for p in many() if (p.kind, p.ticks) == (kind, ticks))
        assert content(path, found, np.array([k]), len(packet.data))[0][0].tobytes() == packet.data


def test_a_measurement_sent_twice_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.pkt"
    path.write_bytes(b"".join(frames(1, [*many(), many()[2]])))
    found = scan(path)
    assert len(found.kind) == len(many())
    events = dict(zip(packets.EVENTS, found.events.sum(axis=0).tolist(), strict=True))
    assert (events["measurements_duplicate"], events["measurements_incomplete"]) == (1, 0)


def test_late_frames_are_no_loss(tmp_path: Path) -> None:
    sent = list(frames(1, many()))
    path = tmp_path / "a.pkt"
    path.write_bytes(b"".join([sent[0], sent[2], sent[1], *sent[3:]]))
    events = dict(zip(packets.EVENTS, scan(path).events.sum(axis=0).tolist(), strict=True))
    assert events["frames_out_of_order"] == 1
    assert events["frames_lost"] == 0
    assert len(scan(path).kind) == len(many())


def test_a_length_that_runs_over_ends_the_frame(tmp_path: Path) -> None:
    good = struct.pack(">HHB", 3 << 12 | 17, (SECOND % 1024) * 40, 0x10) + b"\1\0\0" + bytes(18)
    long = struct.pack(">HHB", 3 << 12 | 0xFFF, (SECOND % 1024) * 40 + 1, 0x10) + b"\1\0\0" + bytes(18)
    path = tmp_path / "a.pkt"
    path.write_bytes(by_hand(good + long))
    found = scan(path)
    assert len(found.kind) == 1
    assert found.events.sum(axis=0)[packets.EVENTS.index("frames_malformed")] == 1


@pytest.mark.parametrize("data", [b"", b"nothing of the kind" * 9, bytes.fromhex("faf33403") * 100])
def test_other_files_are_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.pkt"
    path.write_bytes(data)
    with pytest.raises(InputError, match="no transfer frame"):
        scan(path)


def test_twelve_bits_by_hand() -> None:
    samples = np.array([[-2048, 2047, 0, -1]], np.int16)
    assert pack12(samples).tobytes().hex() == "000fff8007ff"
    np.testing.assert_array_equal(unpack12(pack12(samples)), samples)
    rng = np.random.default_rng(0)
    more = rng.integers(-2048, 2048, (3, 100), np.int16)
    np.testing.assert_array_equal(unpack12(pack12(more)), more)
    with pytest.raises(ValueError, match="12 bits"):
        pack12(np.array([[2048, 0]], np.int16))


def test_captures_kept_in_a_file_come_back_in_time(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    with TemporaryFile(dir=tmp_path) as one, TemporaryFile(dir=tmp_path) as other:
        low, high = Captures(BURSTS[0], one), Captures(BURSTS[3], other)
        given = []
        for own, ticks in ((low, 40), (low, 120), (high, 80)):
            counts = rng.integers(*ADC_LIMITS, own.burst.samples, dtype=np.int16)
            true = rng.normal(size=(2, own.burst.samples))
            own.add(ticks, 7, ticks / 40.0, 1, (counts, true[0], true[1]))
            given.append((ticks, own.burst, counts, true))
        found = list(in_time([high, low]))
        assert [p.ticks for p in found] == [40, 80, 120]
        for ticks, burst, counts, _ in given:
            packet = next(p for p in found if p.ticks == ticks)
            assert packet.kind == burst.type
            assert packet.status[:6] == bytes([1, 0]) + struct.pack(">HH", burst.samples, 7)
            assert packet.data == pack12(counts[None]).tobytes()
        voltage = low.samples("voltage")
        assert voltage.shape == (2, BURSTS[0].most)
        np.testing.assert_array_equal(voltage[1, : BURSTS[0].samples], given[1][3][1].astype(np.float32))
        assert np.isnan(voltage[:, BURSTS[0].samples :]).all()
        assert not any(tmp_path.iterdir())
