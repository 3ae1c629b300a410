"""Open-loop recordings of the DSN's radio science receivers (0159-Science revision B): complex samples of a band.

A file is SFDUs of 260 bytes of header and samples. Samples lie in 32-bit big-endian words, Q in the upper and I in the
lower half, the first sample in the least significant bits. A code k, two's complement of 1 to 16 bits, stands for 2k+1.

Units of gain, intermediate bandwidth and attenuation are the usual ones, not read in the document.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from pipeline.errors import InputError
from pipeline.formats.dsn.columns import as_dataset
from pipeline.formats.dsn.sfdu import LABEL, Damage, OnDamage, SfduIndex, index_sfdus
from pipeline.formats.dsn.times import mjd_of, valid_time

HEADER = 260
BITS = (1, 2, 4, 8, 16)
_LONGEST = HEADER + 65535

_FIELDS: list[tuple[str, str, int, str]] = [  # name, type, first byte, unit
    ("control_auth_id", "S4", 0, ""),
    ("sfdu_version_id", "S1", 4, ""),
    ("sfdu_class_id", "S1", 5, ""),
    ("label_reserve2", "V2", 6, ""),
    ("data_description_id", "S4", 8, ""),
    ("sfdu_length", "u8", 12, ""),
    ("aggregation_chdo_type", "u2", 20, ""),
    ("aggregation_chdo_length", "u2", 22, ""),
    ("primary_chdo_type", "u2", 24, ""),
    ("primary_chdo_length", "u2", 26, ""),
    ("mjr_data_class", "u1", 28, ""),
    ("mnr_data_class", "u1", 29, ""),
    ("mission_id", "u1", 30, ""),
    ("format_code", "u1", 31, ""),
    ("secondary_chdo_type", "u2", 32, ""),
    ("secondary_chdo_length", "u2", 34, ""),
    ("orig_id", "u1", 36, ""),
    ("last_modifier_id", "u1", 37, ""),
    ("rsr_software_id", "u2", 38, ""),
    ("rec_seq_num", "u2", 40, ""),
    ("spc_id", "u1", 42, ""),
    ("dss_id", "u1", 43, ""),
    ("rsr_id", "u1", 44, ""),
    ("subchannel_id", "u1", 45, ""),
    ("reserve46", "V1", 46, ""),
    ("spacecraft_id", "u1", 47, ""),
    ("pass_number", "u2", 48, ""),
    ("ul_band", "S1", 50, ""),
    ("dl_band", "S1", 51, ""),
    ("track_mode", "u1", 52, ""),
    ("ul_dss_id", "u1", 53, ""),
    ("fgain_px_no", "i1", 54, "dB-Hz"),
    ("fgain_if_bandwidth", "u1", 55, "MHz"),
    ("frov_flag", "u1", 56, ""),
    ("attenuation", "u1", 57, "0.5 dB"),
    ("adc_rms", "u1", 58, ""),
    ("adc_peak", "u1", 59, ""),
    ("adc_year", "u2", 60, "year"),
    ("adc_doy", "u2", 62, "day of year"),
    ("adc_second", "u4", 64, "s"),
    ("bits_per_sample", "u1", 68, ""),
    ("data_error", "u1", 69, ""),
    ("sample_rate", "u2", 70, "kHz"),
    ("ddc_lo", "u2", 72, "MHz"),
    ("rf_if_lo", "u2", 74, "MHz"),
    ("year", "u2", 76, "year"),
    ("doy", "u2", 78, "day of year"),
    ("sec", "f8", 80, "s"),
    ("predicts_time_shift", "f8", 88, "s"),
    ("frequency_override", "f8", 96, "Hz"),
    ("frequency_rate", "f8", 104, "Hz/s"),
    ("frequency_offset", "f8", 112, "Hz"),
    ("subchannel_offset", "f8", 120, "Hz"),
    *((f"rf_frequency_{k}", "f8", 120 + 8 * k, "Hz") for k in (1, 2, 3)),
    *((f"subchannel_frequency_{k}", "f8", 144 + 8 * k, "Hz") for k in (1, 2, 3)),
    *((f"frequency_c{k}", "f8", 168 + 8 * k, unit) for k, unit in ((1, "Hz"), (2, "Hz/s"), (3, "Hz/s2"))),
    ("accumulated_phase", "f8", 200, "cycles"),
    *((f"phase_c{k}", "f8", 200 + 8 * k, "cycles") for k in (1, 2, 3, 4)),
    ("subchannel_multiplier", "f4", 240, ""),
    ("reserve244", "V12", 244, ""),
    ("data_chdo_type", "u2", 256, ""),
    ("data_chdo_length", "u2", 258, ""),
]
HEADER_DTYPE = np.dtype(
    {
        "names": [name for name, *_ in _FIELDS],
        "formats": [">" + kind if kind[0] in "uif" else kind for _, kind, *_ in _FIELDS],
        "offsets": [byte for _, _, byte, _ in _FIELDS],
        "itemsize": HEADER,
    }
)
_REASONS = (
    "types and lengths of the CHDOs are not those of a recording",
    "bits per sample, sample rate or size differ from the rest of the file",
    "the time tag is no time",
    "the time tag is more than half a day from the middle one",
)
HALF_A_DAY = 43200.0


@dataclass
class Rsr:
    """An open recording; samples are decoded when asked for.

    Attributes
    ----------
    headers : of every unit, in `HEADER_DTYPE`.
    index : where the units are.
    """

    headers: NDArray[np.void]
    index: SfduIndex

    @property
    def bits(self) -> int:
        """Bits of I and of Q of a sample."""
        return int(self.headers["bits_per_sample"][0])

    @property
    def rate(self) -> float:
        """Samples per second."""
        return 1000.0 * float(self.headers["sample_rate"][0])

    @property
    def per_record(self) -> int:
        """Samples of one unit."""
        return (int(self.index.size[0]) - HEADER) * 4 // self.bits

    @property
    def damage(self) -> list[Damage]:
        """What was left out; empty unless damage was to be skipped."""
        return self.index.damage

    def dataset(self) -> xr.Dataset:
        """Return the headers as variables with units."""
        return as_dataset(self.headers, {name: unit for name, *_, unit in _FIELDS})

    def time_tag(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return the time of the first sample of each unit: modified Julian day and seconds of the day, UTC."""
        return mjd_of(self.headers["year"], self.headers["doy"]), self.headers["sec"].astype(np.float64)

    def breaks(self) -> NDArray[np.int64]:
        """Return the units that do not continue the one before to half a sample: lost data, or a leap second."""
        day, second = self.time_tag()
        step = np.diff(day) * 86400.0 + np.diff(second)
        return np.flatnonzero(np.abs(step - self.per_record / self.rate) > 0.5 / self.rate) + 1

    def samples(self, first: int, last: int) -> NDArray[np.complex64]:
        """Return the samples of units `first` to before `last`, one unit a row."""
        size = self.per_record * self.bits // 4
        return unpack(self.index.gather(slice(first, last), HEADER, size), self.bits)

    def blocks(self, records: int) -> Iterator[tuple[int, NDArray[np.complex64]]]:
        """Return, block by block, the number of the first unit and the samples of up to `records` units."""
        for first in range(0, len(self.headers), records):
            yield first, self.samples(first, min(first + records, len(self.headers)))


def open_rsr(path: str | Path, on_damage: OnDamage = "raise") -> Rsr:
    """Open a recording: read its headers, leave its samples.

    Parameters
    ----------
    on_damage : raise at the first damaged unit, or leave damaged ones out and report them in `Rsr.damage`.

    Raises
    ------
    InputError : not such a file, or damaged (``"raise"``), or nothing in it is whole.
    """
    index = index_sfdus(path, {b"C997"}, _LONGEST, on_damage)
    index.refuse((index.size <= HEADER).astype(np.uint8), ["the unit has no samples"], on_damage)
    headers = index.gather(slice(None), 0, HEADER).view(HEADER_DTYPE)[:, 0]
    verdict = _judge(headers)
    index.refuse(verdict, _REASONS, on_damage)
    headers = headers[verdict == 0]
    bits, size, rate = int(headers["bits_per_sample"][0]), int(index.size[0]) - HEADER, int(headers["sample_rate"][0])
    if bits not in BITS or rate == 0 or size % 4:
        reason = f"{bits} bits per sample at {rate} kHz in {size} bytes: no recording has that"
        raise InputError(path, reason, f"byte {int(index.offset[0]) + 68}")
    return Rsr(headers, index)


def _judge(headers: NDArray[np.void]) -> NDArray[np.uint8]:
    """Return 1 + the number of the reason why a unit cannot be used, or 0."""
    data = headers["sfdu_length"].astype(np.int64) + LABEL - HEADER
    verdict = np.zeros(len(headers), np.uint8)
    time = mjd_of(headers["year"], headers["doy"]) * 86400.0 + headers["sec"]
    right = valid_time(headers["year"], headers["doy"], headers["sec"])
    verdict[~right] = 3
    if right.any():
        verdict[right & (np.abs(time - np.median(time[right])) > HALF_A_DAY)] = 4
    # One receiver channel makes a file, so what most units say is what all should.
    setting = np.stack([headers["bits_per_sample"].astype(np.int64), headers["sample_rate"].astype(np.int64), data], 1)
    _, kind, number = np.unique(setting, axis=0, return_inverse=True, return_counts=True)
    verdict[kind.reshape(-1) != np.argmax(number)] = 2
    for name, type_, length in (
        ("aggregation", 1, 232),
        ("primary", 2, 4),
        ("secondary", 104, 220),
        ("data", 10, data),
    ):
        verdict[(headers[f"{name}_chdo_type"] != type_) | (headers[f"{name}_chdo_length"] != length)] = 1
    return verdict


@cache
def _values(bits: int) -> NDArray[np.complex64]:
    """Return the samples of each pair of bytes, that of Q times 256 + that of I, the earlier sample first."""
    codes = np.arange(256)[:, None] >> (bits * np.arange(8 // bits)) & ((1 << bits) - 1)
    part = 2 * (codes - ((codes >> (bits - 1)) << bits)) + 1
    return (part[None, :] + 1j * part[:, None]).astype(np.complex64).reshape(65536, -1)


def unpack(data: NDArray[np.uint8], bits: int) -> NDArray[np.complex64]:
    """Return the complex samples I + iQ of rows of sample words; values are odd integers."""
    words = np.ascontiguousarray(data).view(">u4")
    if bits == 16:
        codes = words.view(">i2").reshape(len(data), -1, 2)
        out = np.empty(codes.shape[:2], np.complex64)
        out.real, out.imag = codes[..., 1], codes[..., 0]
        parts = out.view(np.float32)
        parts *= 2.0
        parts += 1.0
        return out
    word = words.astype(np.uint32)
    early = (word >> 8 & 0xFF00) | (word & 0xFF)
    late = (word >> 16 & 0xFF00) | (word >> 8 & 0xFF)
    return _values(bits).take(np.stack([early, late], -1), axis=0).reshape(len(data), -1)


def pack(samples: NDArray[np.complexfloating], bits: int) -> NDArray[np.uint8]:
    """Return rows of samples as sample words; the reverse of `unpack`.

    Raises
    ------
    ValueError : a part is no odd integer of `bits` bits, or the samples do not fill whole words.
    """
    per_word = 16 // bits
    if bits not in BITS or samples.shape[1] % per_word:
        raise ValueError(f"{samples.shape[1]} samples of {bits} bits do not fill words of 32 bits")
    halves = np.zeros((len(samples), samples.shape[1] // per_word, 2), np.uint16)
    for half, part in enumerate((samples.imag, samples.real)):
        code = np.round((part - 1.0) / 2.0).astype(np.int64)
        if not np.array_equal(2 * code + 1, part) or code.min() < -(1 << bits - 1) or code.max() >= 1 << bits - 1:
            raise ValueError(f"samples are not odd integers of magnitude below {1 << bits}")
        code = (code & ((1 << bits) - 1)).reshape(len(samples), -1, per_word)
        halves[..., half] = (code << bits * np.arange(per_word)).sum(axis=2)
    return halves.astype(">u2").view(np.uint8).reshape(len(samples), -1)


def make_headers(columns: Mapping[str, ArrayLike], samples: int) -> NDArray[np.void]:
    """Return headers of units with `samples` samples each; fields not named are zero.

    Raises
    ------
    ValueError : no such field, or a value that does not fit its field.
    """
    unknown = set(columns) - set(HEADER_DTYPE.names or ())
    if unknown or "bits_per_sample" not in columns:
        raise ValueError(f"no field {', '.join(sorted(unknown)) or 'bits_per_sample given'}")
    values = {name: np.asarray(value) for name, value in columns.items()}
    out = np.zeros(np.broadcast_shapes((1,), *(v.shape for v in values.values())), HEADER_DTYPE)
    for name, value in values.items():
        out[name] = value
        if HEADER_DTYPE[name].kind in "ui" and not np.array_equal(out[name], np.broadcast_to(value, out.shape)):
            raise ValueError(f"field {name}: values do not fit {HEADER_DTYPE[name]}")
    data = samples * int(out["bits_per_sample"][0]) // 4
    if data > 65535:
        raise ValueError(f"{data} bytes of samples do not fit a unit")
    out["control_auth_id"], out["sfdu_version_id"], out["sfdu_class_id"] = b"NJPL", b"2", b"I"
    out["label_reserve2"], out["data_description_id"], out["sfdu_length"] = b"00", b"C997", HEADER - LABEL + data
    for name, type_, length in (
        ("aggregation", 1, 232),
        ("primary", 2, 4),
        ("secondary", 104, 220),
        ("data", 10, data),
    ):
        out[f"{name}_chdo_type"], out[f"{name}_chdo_length"] = type_, length
    return out


def write_rsr(path: str | Path, blocks: Iterable[tuple[NDArray[np.void], NDArray[np.complexfloating]]]) -> None:
    """Write a recording of blocks of headers and samples (one unit a row); what was read comes out byte for byte.

    Raises
    ------
    ValueError : headers and samples do not agree, or a sample cannot be written.
    """
    with Path(path).open("wb") as out:
        for headers, samples in blocks:
            data = pack(samples, int(headers["bits_per_sample"][0]))
            if len(headers) != len(data) or (headers["data_chdo_length"] != data.shape[1]).any():
                raise ValueError("samples are not as many as their headers say")
            head = np.ascontiguousarray(headers).view(np.uint8).reshape(len(headers), HEADER)
            out.write(np.concatenate([head, data], axis=1).tobytes())


def tuned_frequency(headers: NDArray[np.void], fraction: ArrayLike) -> NDArray[np.float64]:
    """Return the sky frequency in Hz that is at 0 Hz in the samples, `fraction` s into the second of each header.

    The sum of the two local oscillators less the numerically controlled one, c1 + c2 t + c3 t^2. A line at f in the
    samples is at this frequency + f on the sky.
    """
    t = np.asarray(fraction, np.float64)
    nco = headers["frequency_c1"] + t * (headers["frequency_c2"] + t * headers["frequency_c3"])
    lo = headers["rf_if_lo"].astype(np.int64) + headers["ddc_lo"].astype(np.int64)
    return np.asarray(1e6 * lo - nco, np.float64)
