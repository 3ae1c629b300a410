"""Files of a simulated pass in the archive's layout and names, with some frames lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from numpy.random import Generator
from numpy.typing import NDArray

from instruments.waves import packets as framing
from instruments.waves.housekeeping import write_housekeeping
from instruments.waves.layout import BURSTS, CHANNELS, Burst
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
class Capture:
    """One burst: when (ticks of 25 ms, part of one in 1/65536, et), how, counts, and what is true."""

    burst: Burst
    ticks: int
    part: int
    et: float
    attenuator: int
    counts: NDArray[np.int16]
    field: NDArray[np.float32]
    voltage: NDArray[np.float32]

    @property
    def packet(self) -> Packet:
        """As a measurement of the telemetry."""
        status = (
            bytes([self.attenuator, 0]) + self.counts.size.to_bytes(2, "big") + self.part.to_bytes(2, "big") + b"\0" * 5
        )
        return Packet(self.burst.type, self.ticks, status, pack12(self.counts[None]).tobytes())


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
    captures: dict[str, list[Capture]],
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
    frames = list(framing.frames(LOW_RATE, survey, first=16300, most=SURVEY_FRAME))
    lost = _write_damaged(folder / f"WAV_{stamp}_LRS_V01.PKT", frames, rng, several=2)
    bursts = sorted((c.packet for own in captures.values() for c in own), key=lambda p: (p.ticks, p.kind))
    high = list(framing.frames(HIGH_RATE, bursts))
    gone = _write_damaged(folder / f"WAV_{stamp}_HRS_V01.PKT", high, rng, several=1)
    _write_survey(raw_folder, scene, truth, stamp)
    lost_kinds = _lost_kinds(frames, lost, survey)
    out = {"survey": sum(CHANNELS[k - 1] * n for k, n in lost_kinds.items()) / (len(begin) * sum(CHANNELS))}
    missing = _lost_kinds(high, gone, bursts)
    return out | {b.name: missing.get(b.type, 0) / max(1, len(captures[b.name])) for b in BURSTS}


def _write_damaged(path: Path, frames: list[bytes], rng: Generator, *, several: int) -> set[int]:
    """Write frames, not all of them; returns which do not arrive."""
    inner = np.arange(2, len(frames) - 2)
    gone = set(rng.choice(inner, several, replace=False).tolist()) if len(inner) > 8 * several else set()
    doubled = next((k for k in inner.tolist() if k not in gone), -1)
    sent = [f * (2 if k == doubled else 1) for k, f in enumerate(frames) if k not in gone]
    path.write_bytes(b"".join(sent)[:-FRAME_HEADER])
    return gone | {len(frames) - 1}


def _lost_kinds(frames: list[bytes], lost: set[int], packets: Sequence[Packet]) -> dict[int, int]:
    """How many measurements of each type have a segment in a lost frame."""
    hit: set[tuple[int, int]] = set()
    for k in lost:
        second = int.from_bytes(frames[k][8:12], "big") >> 1
        for piece, _ in framing.segments_of(memoryview(frames[k]), 0, len(frames[k]), second):
            if piece is not None:
                hit.add((piece[0], piece[1]))
    return {kind: sum(t == kind for t, _ in hit) for kind in {p.kind for p in packets}}


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
