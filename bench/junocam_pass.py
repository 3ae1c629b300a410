"""How fast the images of a pass become radiance, attitude, per-sample geometry, colour assembly and maps.

A pass of 40 images, the real image sets in turn, one after the other in one process: MB of raw data per second of
processor time of each step, and the peak of memory after the first and the last.

    python bench/junocam_pass.py IMAGESETS KERNELS [NUMBER]
"""

from __future__ import annotations

import itertools
import re
import resource
import sys
import time
from collections import defaultdict
from pathlib import Path

from calibration.tables import Table
from instruments.junocam import INSTRUMENT
from instruments.junocam.attitude import attitude
from instruments.junocam.calibrate import radiance_from_imageset
from instruments.junocam.geometry import geometry
from instruments.junocam.imageset import IMAGESET, open_imageset, read_imageset
from instruments.junocam.maps import colour, map_
from pipeline.clock import Sclk, Span
from pipeline.geometry import make_geometry
from pipeline.passes import get_pass, pass_of

CLOCK = Sclk.default()
TABLES = {p.stem: Table.read(p) for p in INSTRUMENT.tables.glob("*.yaml") if p.stem != "context"}
RADIANCE = [TABLES[n] for n in ("companding", "response", "detector", "throughput", "solar", "pixels", "epochs")]
FITTED = [TABLES[n] for n in ("camera", "limb", "attitude")]


def main(folder: Path, kernels: Path, number: int) -> None:
    found = sorted(p for p in folder.rglob("*.png") if re.fullmatch(IMAGESET.pattern, p.name, re.IGNORECASE))
    granules = [open_imageset(p, CLOCK) for p in found]
    passes = {g.id: get_pass(int(pass_of(g.start))) for g in granules}
    known = {
        p.number: make_geometry(p, Span(min(s), max(s)).pad(120.0), kernels)
        for p in passes.values()
        for s in [[g.start for g in granules if passes[g.id] == p]]
    }
    seconds, peak, size = defaultdict(float), {}, 0.0
    length = INSTRUMENT.product("junocam.geometry").segment or 1.0
    for k in range(number):
        granule = granules[k % len(granules)]
        pass_ = passes[granule.id]
        here = known[pass_.number]
        marks = [("", time.process_time())]
        raw = read_imageset([granule], None, CLOCK)
        marks.append(("read", time.process_time()))
        size += raw["value"].size / 1e6
        radiance = radiance_from_imageset(raw, *RADIANCE)
        marks.append(("radiance", time.process_time()))
        solution = attitude(radiance, here, pass_, *FITTED)
        marks.append(("attitude", time.process_time()))
        et = radiance["et"].values
        for segment in range(int(et[0] // length), int(et[-1] // length) + 1):
            use = (et >= segment * length) & (et < (segment + 1) * length)
            if use.any():
                geometry(radiance.isel(framelet=use), solution.isel(framelet=use), here, TABLES["camera"])
        marks.append(("geometry", time.process_time()))
        colour(radiance, solution, here, TABLES["camera"])
        marks.append(("colour", time.process_time()))
        map_(radiance, solution, here, TABLES["camera"])
        marks.append(("map", time.process_time()))
        for (_, before), (name, after) in itertools.pairwise(marks):
            seconds[name] += after - before
        peak[k] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(f"{number} images, {size:.0f} MB of codes")
    for name, spent in seconds.items():
        print(f"{name:10s} {spent:7.1f} s {size / spent:8.1f} MB/s")
    print(f"{'all':10s} {sum(seconds.values()):7.1f} s {size / sum(seconds.values()):8.1f} MB/s")
    print(f"peak of memory: {peak[0]:.0f} MB after the first image, {peak[number - 1]:.0f} MB after the last")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 40)
