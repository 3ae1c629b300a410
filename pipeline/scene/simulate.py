"""Simulating a pass: each instrument's raw products in the archive's form, and the truth beside them."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pipeline import registry
from pipeline.dataset import netcdf
from pipeline.errors import UsageError
from pipeline.runs.store import Identity
from pipeline.scene import make_scene


def simulate_pass(
    number: int, out: Path, instruments: tuple[str, ...], scale: Literal["demo", "full"], seed: int
) -> dict[str, Any]:
    """Write ``out/raw`` and ``out/truth`` for a pass.

    Parameters
    ----------
    instruments : all that have a simulator if empty.
    seed : every instrument draws its own stream from it, so one instrument's output does not depend on the others.

    Returns
    -------
    dict
        ``{"raw", "truth", "files", "bytes", "products": [identity, ...]}``

    Raises
    ------
    UsageError
        for an unknown pass or instrument, or one without a simulator, and where ``out/raw`` holds what no simulation
        wrote; what one wrote is replaced.
    """
    chosen = [registry.load(name) for name in instruments or registry.names()]
    without = [i.name for i in chosen if i.simulate is None]
    if instruments and without:
        raise UsageError(f"no simulator for {', '.join(without)}")
    raw, truth = (out / "raw").resolve(), (out / "truth").resolve()
    if raw.is_dir() and any(raw.iterdir()) and not truth.is_dir():
        raise UsageError(f"{raw} holds other raw data, without a truth beside them: name another folder with --out")
    scene = make_scene(number, scale=scale, seed=seed)
    for folder in (raw, truth):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    products = []
    for instrument in chosen:
        if instrument.simulate is None:
            continue
        own = int.from_bytes(hashlib.sha256(instrument.name.encode()).digest()[:8])
        rng = np.random.default_rng([seed, number, own])
        for known in instrument.simulate(scene, raw, scale, rng):
            identity = Identity(known.type, number, known.unit)
            schema = instrument.product(known.type).schema
            path = truth / known.type / f"PJ{number:02d}" / f"{known.unit.replace('/', '_') or 'pass'}.nc"
            path.parent.mkdir(parents=True, exist_ok=True)
            netcdf.write_truth(path, known.dataset, schema, {"product": str(identity)})
            products.append(str(identity))
    files = [f for f in raw.rglob("*") if f.is_file()]
    size = sum(f.stat().st_size for f in files)
    return {"raw": str(raw), "truth": str(truth), "files": len(files), "bytes": size, "products": products}
