"""Hashes of a geometry's values, block by block, so that the hash over any span is had at once.

What is hashed are values on fixed grids of et, rounded well below any use of them: other kernels with the same values
give the same hashes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.jupiter.rotation import Orientation

if TYPE_CHECKING:
    from pipeline.geometry.model import Geometry

Floats = NDArray[np.float64]
BLOCK = 60.0
BYTES = 16
POSITION_STEP, ATTITUDE_STEP = 10.0, 1.0
JUNO_UNIT, BODY_UNIT, ATTITUDE_UNIT, SHELL_UNIT = 1e-6, 1e-2, 1e-9, 1e-9
# Blocks hashed at a time: bounds the memory.
BATCH = 360


def block_digests(geometry: Geometry) -> NDArray[np.uint8]:
    """One digest per block of the geometry's span, (n, BYTES)."""
    count = round(geometry.span.duration / BLOCK)
    rows = []
    for first in range(0, count, BATCH):
        many = min(BATCH, count - first)
        parts = [a.reshape(many, -1) for a in _values(geometry, geometry.span.start + first * BLOCK, many)]
        for block in range(many):
            content = b"".join(np.ascontiguousarray(part[block]).tobytes() for part in parts)
            rows.append(np.frombuffer(hashlib.sha256(content).digest()[:BYTES], np.uint8))
    return np.array(rows, np.uint8).reshape(-1, BYTES)


def _values(geometry: Geometry, start: float, blocks: int) -> Iterator[NDArray[np.int64]]:
    coarse = start + POSITION_STEP * np.arange(round(blocks * BLOCK / POSITION_STEP))
    fine = start + ATTITUDE_STEP * np.arange(round(blocks * BLOCK / ATTITUDE_STEP))
    for name in sorted(geometry.tracks):
        yield _rounded(geometry.tracks[name].position(coarse), JUNO_UNIT if name == "JUNO" else BODY_UNIT)
    for name in sorted(geometry.attitudes):
        yield _rounded(np.ascontiguousarray(geometry.attitudes[name].matrix(fine)[:, ::2]), ATTITUDE_UNIT)
    yield geometry.quality(fine).astype("<i8")
    yield _rounded(geometry.m_shell(coarse), SHELL_UNIT)


def _rounded(values: Floats, unit: float) -> NDArray[np.int64]:
    missing = np.isnan(values)
    return np.where(missing, np.iinfo(np.int64).min, np.rint(np.where(missing, 0.0, values) / unit)).astype("<i8")


def constants(frames: Mapping[str, tuple[str, Floats]], orientations: Mapping[str, Orientation]) -> str:
    """Hash of what does not change with time: fixed frames and the rotation of bodies."""
    content = {
        "frames": {name: [root, np.rint(matrix / 1e-12).tolist()] for name, (root, matrix) in frames.items()},
        "orientations": {name: asdict(orientation) for name, orientation in orientations.items()},
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]
