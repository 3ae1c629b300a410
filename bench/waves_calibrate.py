"""How long Waves takes for two hours of survey and full burst coverage (four captures a second), and peak memory.

Everything by itself in one process: write packets of random counts, index, read, calibrate in segments as the core
cuts them. The bytes do not matter to the time, so no scene is simulated.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from measure import timed

from calibration.tables import Table
from instruments.waves import INSTRUMENT
from instruments.waves.layout import BURSTS, CHANNELS, SURVEY_TYPES
from instruments.waves.packets import HIGH_RATE, LOW_RATE, RTI, Packet, frames, pack12
from pipeline.clock import Sclk, Span
from pipeline.dataset import check, netcdf
from pipeline.dataset.context import add_context
from pipeline.geometry import make_geometry
from pipeline.passes import get_pass

CLOCK = Sclk.default()
SECONDS = 7200


def survey_packets(first: int) -> Iterator[Packet]:
    rng = np.random.default_rng(0)
    for second in range(first, first + SECONDS):
        for kind, number in zip(SURVEY_TYPES, CHANNELS, strict=True):
            yield Packet(kind, second * RTI + kind, bytes(3), rng.integers(40, 90, number, np.uint8).tobytes())


def burst_packets(first: int) -> Iterator[Packet]:
    rng = np.random.default_rng(0)
    packed = [pack12(rng.normal(0, 200, (64, b.samples)).astype(np.int16)) for b in BURSTS]
    for second in range(first, first + SECONDS):
        for place, burst in enumerate(BURSTS):
            status = bytes(2) + burst.samples.to_bytes(2, "big") + bytes(7)
            yield Packet(burst.type, second * RTI + 8 * place, status, packed[place][second % 64].tobytes())


def write(path: Path, source: int, packets: Iterator[Packet]) -> None:
    with path.open("wb") as file:
        file.writelines(frames(source, packets))
    print(f"{path.name:34s} {path.stat().st_size / 1e6:7.1f} MB")


def main() -> None:
    pass_ = get_pass(1)
    span = pass_.window(2.0)
    geometry = make_geometry(pass_, span.pad(600.0), None)
    tables = {p.stem: Table.read(p) for p in INSTRUMENT.tables.glob("*.yaml") if p.stem != "context"}
    second = int(CLOCK.format(float(np.rint(CLOCK.to_ticks(span.start))), partition=False).split(":")[0]) + 1
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder / "WAV_2016240T115100_LRS_V01.PKT", LOW_RATE, survey_packets(second))
        write(folder / "WAV_2016240T115100_HRS_V01.PKT", HIGH_RATE, burst_packets(second))
        for form in ("waves.lrs", "waves.hrs"):
            raw = INSTRUMENT.format(form)
            with timed(f"index {form}"):
                granule = raw.open(next(folder.glob(f"*_{form[-3:].upper()}_*.PKT")), CLOCK)
            for product in INSTRUMENT.products:
                step = next((s for s in INSTRUMENT.steps_for(product.name) if s.raw == form), None)
                if step is None or product.segment is None:
                    continue
                with timed(product.name):
                    number = 0
                    for k in range(int(span.start // product.segment), int(span.stop // product.segment) + 1):
                        part = Span(k * product.segment, (k + 1) * product.segment)
                        data = raw.read([granule], part.pad(step.halo), CLOCK)
                        if data.sizes["et"] == 0:
                            continue
                        given = [
                            data if n.kind == "raw" else part if n.kind == "span" else tables[n.argument]
                            for n in step.needs
                        ]
                        made = step.function(*given)
                        made = made.isel(et=part.contains(made["et"].values))
                        made = add_context(made, product.schema, geometry, CLOCK)
                        made = check.finish(made, product.schema, INSTRUMENT.flags, {})
                        check.check(made, product.schema, INSTRUMENT.flags)
                        netcdf.write_segment(folder / "segment.nc", made, product.schema)
                        number += made.sizes["et"]
                print(
                    f"{'':34s} {number} records, the last segment {(folder / 'segment.nc').stat().st_size / 1e6:.1f} MB"
                )


if __name__ == "__main__":
    main()
