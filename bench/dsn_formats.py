"""How fast DSN files are decoded, beside the floor: reading their bytes, and copying them once.

``python bench/dsn_formats.py [MB]``: a tracking file of mixed types as a pass has them, an orbit data file, and
recordings of all depths, each of about so many megabytes (50).
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from pipeline.formats.dsn import odf, rsr, tnf

RUNS = 5
# Units per second of a two-way pass: phases up and down, ranging now and then, ramps, frequency observables.
MIX = {0: 10, 1: 10, 2: 1, 3: 1, 7: 1, 9: 1, 11: 1, 16: 5, 17: 5}


def timed(what: str, size: int, call: Callable[[], object]) -> None:
    """The best of some runs: milliseconds, and megabytes of the file per second."""
    best = np.inf
    for _ in range(RUNS):
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    print(f"  {what:44s} {1e3 * best:9.1f} ms  {size / 1e6 / best:8.0f} MB/s")


def floor(path: Path) -> int:
    size = path.stat().st_size
    print(f"{path.suffix[1:].upper()}, {size / 1e6:.1f} MB")
    timed("floor: read the bytes", size, path.read_bytes)
    timed("floor: read them and copy once", size, lambda: np.fromfile(path, np.uint8).copy())
    return size


def tracking(path: Path, size: int) -> None:
    n = int(size / 1e6 * 140)
    rng = np.random.default_rng(1)
    records, observables = {}, {}
    for data_type, often in MIX.items():
        seconds = rng.uniform(0.0, 86400.0, n * often)
        num_obs = 1 if data_type in tnf.WITH_OBSERVABLES else 0
        records[data_type] = tnf.make_records(data_type, {"year": 2017, "doy": 139, "sec": seconds}, num_obs)
        if num_obs:
            observables[data_type] = np.zeros(n * often, tnf.observable_dtype(data_type))
    order = np.resize(np.repeat(list(MIX), list(MIX.values())), n * sum(MIX.values())).astype(np.uint8)
    made = tnf.Tnf(records, observables, order)
    timed(
        "write", sum(r["sfdu_length"].sum() + 20 * len(r) for r in records.values()), lambda: tnf.write_tnf(path, made)
    )
    size = floor(path)
    print(f"  {len(order)} units of {len(MIX)} types")
    timed("decode to columns", size, lambda: tnf.read_tnf(path))
    timed("decode types 1 and 17", size, lambda: tnf.read_tnf(path, data_types=(1, 17)))
    timed("decode, all columns to datasets", size, lambda: all_datasets(tnf.read_tnf(path)))


def all_datasets(read: tnf.Tnf) -> list[object]:
    return [read.dataset(t) for t in read.records]


def orbit(path: Path, size: int) -> None:
    n = size // 36
    rng = np.random.default_rng(1)
    columns = {name: rng.integers(0, 2, n) for name in odf.record_dtype(odf.ORBIT).names or ()}
    columns |= {"time_second": 2_103_372_242 + np.arange(n), "format_id": 2, "data_type": 12}
    groups = [
        (odf.LABEL, 0, odf.make_records(odf.LABEL, {})),
        (odf.IDENTIFIER, 0, odf.make_records(odf.IDENTIFIER, {})),
    ]
    made = odf.make_odf([*groups, (odf.ORBIT, 0, odf.make_records(odf.ORBIT, columns))])
    odf.write_odf(path, made)
    size = floor(path)
    timed("decode to columns", size, lambda: odf.read_odf(path))
    timed("write", size, lambda: odf.write_odf(path, made))


def recording(path: Path, size: int, bits: int) -> None:
    n = size // 16260
    per = 4000 * 16 // bits
    columns = {"bits_per_sample": bits, "sample_rate": 16, "year": 2017, "doy": 139, "sec": np.arange(n) / 4.0}
    data = np.frombuffer(np.random.default_rng(1).bytes(16000), np.uint8)[None]
    samples = np.broadcast_to(rsr.unpack(data, bits), (n, per))
    headers = rsr.make_headers(columns, per)
    rsr.write_rsr(path, ((headers[k : k + 64], samples[k : k + 64]) for k in range(0, n, 64)))
    size = floor(path)
    timed("open: headers", size, lambda: rsr.open_rsr(path))
    timed(f"samples of {bits} bits in blocks of 64 units", size, lambda: drain(path))


def drain(path: Path) -> int:
    return sum(block.size for _, block in rsr.open_rsr(path).blocks(64))


def main() -> None:
    size = int(float(sys.argv[1]) * 1e6) if len(sys.argv) > 1 else 50_000_000
    with tempfile.TemporaryDirectory() as folder:
        tracking(Path(folder) / "a.tnf", size)
        orbit(Path(folder) / "a.odf", size)
        for bits in rsr.BITS[::-1]:
            recording(Path(folder) / "a.rsr", size, bits)
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main()
