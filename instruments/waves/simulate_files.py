"""Files of a simulated pass in the archive's layout and names, with some frames lost."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np
import xarray as xr
from numpy.random import Generator
from numpy.typing import NDArray

from instruments.waves import packets as framing
from instruments.waves.housekeeping import write_housekeeping
from instruments.waves.layout import ADC_LIMITS, BURSTS, CHANNELS, Burst
from instruments.waves.packets import FRAME_HEADER, HIGH_RATE, HOUSEKEEPING, LOW_RATE, RTI, Packet, pack12
from instruments.waves.raw import SIMULATED
from instruments.waves.survey_files import write_csv
from pipeline.clock import TICKS, Sclk, format_utc

if TYPE_CHECKING:
    from pipeline.scene import Scene

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
HOUSEKEEPING_STEP = 64  # seconds between housekeeping records
SURVEY_FRAME = 1024  # bytes; some four seconds


@dataclass(frozen=True)
class Captures:
    """Bursts of one kind: when (ticks of 25 ms, part of one in 1/65536, et), how, and what is true.

    Samples are kept in a file, for those of a pass at full scale are more than memory should hold. Those of the truth
    are in records as long as the longest of the archive.
    """

    burst: Burst
    file: IO[bytes]
    ticks: list[int] = field(default_factory=list)
    part: list[int] = field(default_factory=list)
    et: list[float] = field(default_factory=list)
    attenuator: list[int] = field(default_factory=list)
    clipped: list[bool] = field(default_factory=list)

    @property
    def record(self) -> np.dtype[np.void]:
        """Samples of one capture as they lie in the file."""
        true = np.float32, self.burst.most
        return np.dtype([("counts", np.int16, self.burst.samples), ("waveform", *true), ("voltage", *true)])

    def add(
        self, ticks: int, part: int, et: float, attenuator: int, samples: tuple[NDArray[np.int16], Array, Array]
    ) -> None:  # fmt: skip
        """One more: its counts, and the true waveform and voltage."""
        record = np.zeros((), self.record)
        record["waveform"] = record["voltage"] = np.nan
        for name, values in zip(self.record.names or (), samples, strict=True):
            record[name][: self.burst.samples] = values
        self.file.write(record.tobytes())
        self.ticks.append(ticks)
        self.part.append(part)
        self.et.append(et)
        self.attenuator.append(attenuator)
        self.clipped.append(bool(np.isin(record["counts"], ADC_LIMITS).any()))

    def samples(self, name: str) -> NDArray[np.float32]:
        """What of all captures, (n, sample), as it lies in the file: read when it is used."""
        self.file.flush()
        number = len(self.ticks)
        return np.memmap(self.file, self.record, "r", shape=number)[name] if number else np.zeros(0, self.record)[name]

    def packet(self, row: int) -> Packet:
        """One as a measurement of the telemetry."""
        size = self.record.itemsize
        self.file.flush()
        counts = np.frombuffer(os.pread(self.file.fileno(), size, row * size), self.record)["counts"]
        head = bytes([self.attenuator[row], 0]) + self.burst.samples.to_bytes(2, "big")
        status = head + self.part[row].to_bytes(2, "big") + b"\0" * 5
        return Packet(self.burst.type, self.ticks[row], status, pack12(counts).tobytes())


def in_time(captures: Iterable[Captures]) -> Iterator[Packet]:
    """Packets of captures of several kinds in the order of their times."""
    places = [(ticks, own.burst.type, row, own) for own in captures for row, ticks in enumerate(own.ticks)]
    for _, _, row, own in sorted(places, key=lambda p: p[:3]):
        yield own.packet(row)


def clock_seconds(scene: Scene, subseconds: int) -> tuple[Ints, Array]:
    """Whole seconds of the instrument's clock inside a span, and their et."""
    clock = scene.clock
    ends = [counter(clock, et) - subseconds for et in (scene.span.start, scene.span.stop)]
    seconds = np.arange(-(-ends[0] // TICKS), ends[1] // TICKS)
    return seconds, clock.to_et(clock.encode(seconds * TICKS + subseconds))


def counter(clock: Sclk, et: float) -> int:
    """Ticks of the clock's counter nearest to a time."""
    second, fraction = clock.format(float(np.rint(clock.to_ticks(et))), partition=False).split(":")
    return int(second) * TICKS + int(fraction)


def write_files(
    raw_folder: Path,
    scene: Scene,
    survey: Sequence[Packet],
    captures: dict[str, Captures],
    truth: xr.Dataset,
    subseconds: int,
    rng: Generator,
) -> dict[str, float]:
    """Write all files; returns the fraction of the samples of each product that is lost with frames."""
    begin = truth["et"].values
    stamp = format_utc(float(begin[0]), 0, True).replace("-", "").replace(":", "")
    year, day = stamp[:4], stamp[4:7]
    folder = raw_folder / "JNO-E_J_SS-WAV-2-EDR-V1.0" / "DATA" / f"{year}_{day[0]}XX" / day
    folder.mkdir(parents=True, exist_ok=True)
    seconds = np.array([p.ticks // RTI for p in survey])
    house = np.arange(seconds[0], seconds[-1] + 1, HOUSEKEEPING_STEP)
    columns = {
        "TLM_SRC_AND_SEQ": HOUSEKEEPING << 14 | np.arange(len(house)),
        "SCLK_AND_TSF": house << 1,
        "MODE_AND_VERSION": np.full(len(house), 2 << 4),
        "SCLK_SUBSEC": np.full(len(house), subseconds),
    }
    write_housekeeping(folder / f"WAV_{stamp[:7]}_HSK_V01.DAT", columns, {"NOTE": SIMULATED})
    low = partial(framing.frames, LOW_RATE, survey, first=16300, most=SURVEY_FRAME)
    lost = _lost_kinds(_write_damaged(folder / f"WAV_{stamp}_LRS_V01.PKT", low, rng, several=2))

    def high() -> Iterator[bytes]:
        return framing.frames(HIGH_RATE, in_time(captures.values()))

    missing = _lost_kinds(_write_damaged(folder / f"WAV_{stamp}_HRS_V01.PKT", high, rng, several=1))
    _write_survey(raw_folder, scene, truth, stamp)
    out = {"survey": sum(CHANNELS[k - 1] * n for k, n in lost.items()) / (len(begin) * sum(CHANNELS))}
    return out | {b.name: missing[b.type] / max(1, len(captures[b.name].ticks)) for b in BURSTS}


def _write_damaged(path: Path, frames: Callable[[], Iterator[bytes]], rng: Generator, *, several: int) -> list[bytes]:
    """Write frames, made anew by each call and not all kept, but for some; returns those that do not arrive whole."""
    number = sum(1 for _ in frames())
    inner = np.arange(2, number - 2)
    gone = set(rng.choice(inner, several, replace=False).tolist()) if len(inner) > 8 * several else set()
    doubled = next((k for k in inner.tolist() if k not in gone), -1)
    lost = []
    with path.open("wb") as file:
        for k, one in enumerate(frames()):
            last = k == number - 1
            if k in gone or last:
                lost.append(one)
            if k not in gone:
                file.write(one[:-FRAME_HEADER] if last else one * 2 if k == doubled else one)
    return lost


def _lost_kinds(frames: Iterable[bytes]) -> Counter[int]:
    """How many measurements of each type have a segment in lost frames."""
    hit: set[tuple[int, int]] = set()
    for lost in frames:
        second = int.from_bytes(lost[8:12], "big") >> 1
        for piece, _ in framing.segments_of(memoryview(lost), 0, len(lost), second):
            if piece is not None:
                hit.add((piece[0], piece[1]))
    return Counter(kind for kind, _ in hit)


def _write_survey(raw_folder: Path, scene: Scene, truth: xr.Dataset, stamp: str) -> None:
    """The archive's survey of the pass, electric and magnetic, with the digits it prints."""
    name = f"{stamp[:7]}_ORBIT_{scene.pass_.number:02d}"
    folder = raw_folder / "JNO-E_J_SS-WAV-3-CDR-SRVFULL-V2.0" / "DATA" / "WAVES_SURVEY" / name
    et = truth["et"].values
    sclk = scene.clock.to_ticks(et) / TICKS
    for letter in "EB":
        psd = truth[f"psd_{letter.lower()}"].values
        path = folder / f"WAV_{stamp}_{letter}_V02.CSV"
        write_csv(path, et, sclk, psd, ["0:0:0:0:0:0:0:0"] * len(et), f"SIMULATED WAVES {letter} SURVEY")
