"""What a product's file says of itself at a glance: how much is flagged, and which times it covers."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from pipeline.dataset.hdf5 import readable

BLOCK = 1 << 20
# Seconds without a record that are a gap, if the records are not as far apart anyway.
GAP = 60.0
USUAL_STEPS = 10
# Stretches of time that are told apart; a product in more pieces is described more coarsely.
PIECES = 50


def flag_shares(path: Path) -> dict[str, float]:
    """Share of samples by flag (``quality variable: flag`` where there are several); raises StoreError."""
    shares: dict[str, float] = {}
    with readable(path), h5py.File(path) as file:
        qualities = [d for d in file.values() if "flag_masks" in d.attrs and d.dtype == np.uint32 and d.size]
        for quality in qualities:
            names = str(quality.attrs["flag_meanings"]).split()
            masks = dict(zip(map(int, quality.attrs["flag_masks"]), names, strict=True))
            head = f"{quality.name.lstrip('/')}: " if len(qualities) > 1 else ""
            counts = _count_bits(quality, list(masks))
            shares |= {head + masks[mask]: count / quality.size for mask, count in counts.items() if count}
    return shares


def flag_text(shares: dict[str, float]) -> str:
    """Shares as people read them: ``missing 0.1 %, edge 2 %``."""
    return ", ".join(f"{name} {_percent(share)}" for name, share in shares.items())


def _count_bits(quality: h5py.Dataset, masks: list[int]) -> dict[int, int]:
    counts = dict.fromkeys(masks, 0)
    if quality.ndim == 0:
        return {mask: int(int(quality[()]) & mask != 0) for mask in masks}
    rows = max(1, BLOCK // max(1, int(np.prod(quality.shape[1:]))))
    for start in range(0, len(quality), rows):
        block = quality[start : start + rows]
        there = int(np.bitwise_or.reduce(block, axis=None))
        for mask in masks:
            if there & mask:
                counts[mask] += int(np.count_nonzero(block & np.uint32(mask)))
    return counts


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share < 0.995 else "100 %"


def covers(path: Path) -> list[list[float]]:
    """Stretches of time (et) at Juno in which a product has records, in order; empty without times; raises StoreError.

    A product whose ``et`` is another time says so (attribute ``et_is``); then ``et_spacecraft`` counts, if it has that.
    """
    with readable(path), h5py.File(path) as file:
        name = "et_spacecraft" if "et_is" in file.attrs else "et"
        if name not in file or not file[name].size:
            return []
        et = np.sort(np.ravel(file[name][()]))
    et = et[np.isfinite(et)]
    return stretches(et) if et.size else []


def stretches(et: NDArray[np.float64]) -> list[list[float]]:
    """First and last of ascending times (n), cut where the next one is a gap away; at most `PIECES` pairs."""
    steps = np.diff(et)
    longest = max(GAP, USUAL_STEPS * float(np.median(steps))) if steps.size else GAP
    cuts = np.flatnonzero(steps > longest)
    if len(cuts) >= PIECES:
        cuts = np.sort(np.argsort(steps, kind="stable")[-(PIECES - 1) :])
    starts, stops = np.append(0, cuts + 1), np.append(cuts, et.size - 1)
    return [[float(et[a]), float(et[b])] for a, b in zip(starts, stops, strict=True)]
