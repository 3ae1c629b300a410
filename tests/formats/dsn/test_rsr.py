"""Open-loop recordings: words by hand, every bit depth against a decoder that goes bit by bit, streaming, damage."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import InputError
from pipeline.formats.dsn import rsr

# Sample rate in kHz: units per second and bytes of samples in each, at 16 bits (0159-Science).
SIXTEEN = {1: (1, 4000), 2: (1, 8000), 4: (1, 16000), 8: (2, 16000), 16: (4, 16000), 25: (4, 25000), 50: (10, 20000)}
SIXTEEN |= {100: (20, 20000)}


def header_columns(n: int, bits: int, rate: int, per_second: int) -> dict[str, object]:
    second = 42300.0 + np.arange(n) / per_second
    return {
        "rec_seq_num": np.arange(n), "dss_id": 25, "spacecraft_id": 61, "ul_band": b"X", "dl_band": b"K",
        "bits_per_sample": bits, "sample_rate": rate, "ddc_lo": 235, "rf_if_lo": 31700, "year": 2017, "doy": 139,
        "sec": second, "frequency_c1": -712345.5 + np.arange(n), "frequency_c2": 3.25, "frequency_c3": -0.5,
        "fgain_px_no": -7, "accumulated_phase": 1e12,
    }  # fmt: skip


def noise(n: int, per_record: int, bits: int, seed: int = 1) -> np.ndarray:
    codes = np.random.default_rng(seed).integers(-(1 << (bits - 1)), 1 << (bits - 1), (2, n, per_record))
    return (2 * codes[0] + 1 + 1j * (2 * codes[1] + 1)).astype(np.complex64)


def recording(path: Path, n: int = 6, bits: int = 16, rate: int = 16, per_second: int = 4) -> np.ndarray:
    samples = noise(n, 1000 * rate // per_second, bits)
    headers = rsr.make_headers(header_columns(n, bits, rate, per_second), samples.shape[1])
    rsr.write_rsr(path, [(headers[:2], samples[:2]), (headers[2:], samples[2:])])
    return samples


def bit_by_bit(word: int, bits: int) -> list[complex]:
    """Samples of one word, by the description: Q above I, earlier samples in lower bits, code k means 2k+1."""
    out = []
    for k in range(16 // bits):
        parts = []
        for half in (word & 0xFFFF, word >> 16):
            code = half >> (k * bits) & ((1 << bits) - 1)
            parts.append(2 * (code - (1 << bits) if code >> (bits - 1) else code) + 1)
        out.append(complex(*parts))
    return out


def test_words_by_hand() -> None:
    def unpack(word: int, bits: int) -> list[complex]:
        return rsr.unpack(np.frombuffer(struct.pack(">I", word), np.uint8)[None], bits)[0].tolist()

    assert unpack(0x0001FFFF, 16) == [-1 + 3j]
    assert unpack(0x7FFF8000, 16) == [-65535 + 65535j]
    assert unpack(0x80FF7F01, 8) == [3 - 1j, 255 - 255j]
    assert unpack(0x80000001, 4) == [3 + 1j, 1 + 1j, 1 + 1j, 1 - 15j]
    assert unpack(0x00000001, 1)[:2] == [-1 + 1j, 1 + 1j]


@pytest.mark.parametrize("bits", rsr.BITS)
def test_every_depth_bit_by_bit_and_back(bits: int) -> None:
    data = np.frombuffer(np.random.default_rng(bits).bytes(3 * 64), np.uint8).reshape(3, 64)
    samples = rsr.unpack(data, bits)
    words = data.copy().view(">u4")
    assert samples.tolist() == [[s for w in row for s in bit_by_bit(int(w), bits)] for row in words]
    assert rsr.pack(samples, bits).tobytes() == data.tobytes()


@pytest.mark.parametrize("rate", SIXTEEN)
def test_every_bandwidth_of_the_document(rate: int, tmp_path: Path) -> None:
    per_second, size = SIXTEEN[rate]
    samples = recording(tmp_path / "a.rsr", 4, 16, rate, per_second)
    read = rsr.open_rsr(tmp_path / "a.rsr")
    assert (read.rate, read.bits, read.per_record) == (1000.0 * rate, 16, 1000 * rate // per_second)
    assert read.headers["data_chdo_length"].tolist() == 4 * [size]
    assert len(read.breaks()) == 0
    assert np.array_equal(read.samples(0, 4), samples)


@pytest.mark.parametrize("bits", rsr.BITS)
def test_forth_and_back_in_blocks(bits: int, tmp_path: Path) -> None:
    samples = recording(tmp_path / "a.rsr", bits=bits)
    read = rsr.open_rsr(tmp_path / "a.rsr")
    blocks = list(read.blocks(4))
    assert [first for first, _ in blocks] == [0, 4]
    assert np.array_equal(np.concatenate([b for _, b in blocks]), samples)
    rsr.write_rsr(tmp_path / "b.rsr", [(read.headers[f : f + 4], b) for f, b in read.blocks(4)])
    assert (tmp_path / "a.rsr").read_bytes() == (tmp_path / "b.rsr").read_bytes()


def test_header_fields_lie_where_the_document_has_them(tmp_path: Path) -> None:
    recording(tmp_path / "a.rsr")
    data = (tmp_path / "a.rsr").read_bytes()[:260]
    assert data[:12] == b"NJPL2I00C997"
    assert struct.unpack(">Q", data[12:20]) == (240 + 16000,)
    assert struct.unpack(">6H", data[20:28] + data[32:36]) == (1, 232, 2, 4, 104, 220)
    assert (data[43], data[47], data[50:52], data[68]) == (25, 61, b"XK", 16)
    assert struct.unpack(">b", data[54:55]) == (-7,)
    assert struct.unpack(">3H", data[70:76]) == (16, 235, 31700)
    assert struct.unpack(">HHd", data[76:88]) == (2017, 139, 42300.0)
    assert struct.unpack(">4d", data[176:208]) == (-712345.5, 3.25, -0.5, 1e12)
    assert struct.unpack(">HH", data[256:260]) == (10, 16000)
    names = rsr.HEADER_DTYPE.names or ()
    assert rsr.HEADER_DTYPE.fields is not None
    ends = [rsr.HEADER_DTYPE.fields[n][1] + rsr.HEADER_DTYPE[n].itemsize for n in names]
    assert [0, *ends[:-1]] == [rsr.HEADER_DTYPE.fields[n][1] for n in names]
    assert ends[-1] == 260


def test_tuned_frequency(tmp_path: Path) -> None:
    recording(tmp_path / "a.rsr")
    headers = rsr.open_rsr(tmp_path / "a.rsr").headers
    assert rsr.tuned_frequency(headers[:1], 0.5)[0] == 31935e6 - (-712345.5 + 3.25 * 0.5 - 0.5 * 0.25)


def test_lost_units_are_breaks_in_time(tmp_path: Path) -> None:
    recording(tmp_path / "a.rsr")
    size = 16260
    data = (tmp_path / "a.rsr").read_bytes()
    (tmp_path / "a.rsr").write_bytes(data[: 2 * size] + data[3 * size :])
    read = rsr.open_rsr(tmp_path / "a.rsr")
    assert read.breaks().tolist() == [2]
    day, second = read.time_tag()
    assert (day[2], second[2]) == (57892, 42300.75)


def damaged(data: bytearray, offset: int, new: bytes) -> bytes:
    data[offset : offset + len(new)] = new
    return bytes(data)


UNIT = 16260
DAMAGE = {
    "label": (2 * UNIT, b"XX", "no SFDU label", 5),
    "length": (2 * UNIT + 18, b"\xff\xff", "cut short, or its length", 5),
    "CHDO": (2 * UNIT + 33, b"\x69", "CHDOs", 5),
    "bits": (2 * UNIT + 68, b"\x08", "differ from the rest", 5),
    "rate": (2 * UNIT + 70, b"\x01", "differ from the rest", 5),
    "time": (2 * UNIT + 80, b"\xff" * 8, "no time", 5),
    "another year": (2 * UNIT + 76, b"\x08\x34", "half a day", 5),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damage_is_named_and_only_left_out_if_asked(case: str, tmp_path: Path) -> None:
    offset, new, reason, left = DAMAGE[case]
    samples = recording(tmp_path / "a.rsr")
    (tmp_path / "a.rsr").write_bytes(damaged(bytearray((tmp_path / "a.rsr").read_bytes()), offset, new))
    with pytest.raises(InputError, match=reason) as error:
        rsr.open_rsr(tmp_path / "a.rsr")
    assert error.value.place == f"byte {2 * UNIT}"
    read = rsr.open_rsr(tmp_path / "a.rsr", "skip")
    assert len(read.headers) == left
    assert [d.offset for d in read.damage] == [2 * UNIT]
    assert np.array_equal(read.samples(0, left), np.delete(samples, 2, 0))
    assert read.breaks().tolist() == [2]


@pytest.mark.parametrize("keep", [5 * UNIT + 400, 5 * UNIT + 10, UNIT + 259])
def test_a_cut_file(keep: int, tmp_path: Path) -> None:
    recording(tmp_path / "a.rsr")
    (tmp_path / "a.rsr").write_bytes((tmp_path / "a.rsr").read_bytes()[:keep])
    with pytest.raises(InputError, match=r"cut short|no SFDU label"):
        rsr.open_rsr(tmp_path / "a.rsr")
    assert len(rsr.open_rsr(tmp_path / "a.rsr", "skip").headers) == keep // UNIT


def test_what_is_no_recording(tmp_path: Path) -> None:
    path = tmp_path / "a.rsr"
    path.write_bytes(bytes(1000))
    with pytest.raises(InputError, match="not a file of SFDUs"):
        rsr.open_rsr(path)
    recording(path, bits=16)
    data = bytearray(path.read_bytes())
    for k in range(6):
        data[k * UNIT + 68] = 12
    path.write_bytes(data)
    with pytest.raises(InputError, match="12 bits per sample"):
        rsr.open_rsr(path)


def test_what_cannot_be_written() -> None:
    with pytest.raises(ValueError, match="odd integers"):
        rsr.pack(np.array([[2 + 1j]]), 16)
    with pytest.raises(ValueError, match="odd integers"):
        rsr.pack(np.array([[257 + 1j, 1 + 1j]]), 8)
    with pytest.raises(ValueError, match="do not fill words"):
        rsr.pack(np.array([[1 + 1j]]), 8)
    with pytest.raises(ValueError, match="do not fit a unit"):
        rsr.make_headers({"bits_per_sample": 16}, 20000)
    with pytest.raises(ValueError, match="dss_id"):
        rsr.make_headers({"bits_per_sample": 16, "dss_id": 300}, 10)
