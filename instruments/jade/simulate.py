"""The other way round: the scene's plasma to counts in level 2 records, and the truth.

Derived from how the instrument measures, not by turning the calibration round: particles fly along directions that are
built by single Euler turns and sorted into sectors by dot products, second by second; distributions are averaged over
pass bands and fields of view by quadrature; counts are drawn. The values of the calibration tables are the truth of the
instrument.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from instruments.jade.forward import (
    BAND,
    M_E,
    Array,
    Known,
    Q,
    bands,
    despun_axes,
    efficient,
    electron_vectors,
    energy_flux,
    fluxes,
    packed,
    relativistic_temperature,
    sector_hits,
    turn_of,
)
from instruments.jade.simulate_ions import ions
from instruments.jade.simulate_parts import (
    PLATE_DAC,
    Columns,
    Counted,
    dataset,
    truth_tables,
    write_days,
)
from pipeline.instrument import Truth
from pipeline.scene.particles import angle_between, counter, field_through, penetrating
from pipeline.scene.plasma import plasma

if TYPE_CHECKING:
    from pipeline.scene import Scene

# Seconds about closest approach in high rate; length of accumulations elsewhere.
HIGH_RATE = {"demo": 100.0, "full": 1800.0}
ELECTRON_SECONDS = 30
LRS_SENSOR = 1
CHUNK = 128
UNSOUND = 1 << 17


def simulate(scene: Scene, raw_folder: Path, scale: Literal["demo", "full"], rng: Generator) -> Iterator[Truth]:
    """Write electrons, ion species, times of flight and logicals of the scene below `raw_folder`; yields the truth.

    Some records are lost, one has a plate at the wrong voltage, one ion packet was cut off, one has lost its partner.
    """
    known = truth_tables(scene.pass_.et)
    yield from electrons(scene, raw_folder, HIGH_RATE[scale], known, rng)
    yield from ions(scene, raw_folder, known, rng)


# Electrons


def electrons(scene: Scene, folder: Path, reach: float, known: Known, rng: Generator) -> Iterator[Truth]:
    """High rate about closest approach, low rate before and after."""
    # A short scene has some of both; one that ends before closest approach has low rate only.
    near = min(reach, scene.span.duration / 4.0)
    first, last = np.floor(np.clip(scene.pass_.et + np.array([-near, near]), scene.span.start, scene.span.stop))
    fast = np.arange(first, last) + 0.5
    before = np.arange(first - ELECTRON_SECONDS / 2, scene.span.start + ELECTRON_SECONDS / 2, -float(ELECTRON_SECONDS))
    after = np.arange(last + ELECTRON_SECONDS / 2, scene.span.stop - ELECTRON_SECONDS / 2, float(ELECTRON_SECONDS))
    slow = np.concatenate([before[::-1], after])
    high, behind = high_rate(scene, fast, known, rng)
    low = low_rate(scene, slow, known, rng)
    lost = rng.choice(np.arange(5, fast.size - 5), 2, replace=False) if fast.size > 30 else np.zeros(0, int)
    issues = np.zeros(fast.size, np.uint32)
    issues[fast.size // 3 : fast.size // 3 + 1] = UNSOUND
    kept = np.setdiff1d(np.arange(fast.size), lost)
    lower = known["compression"]["lower_16"], known["compression"]["lower_32"]
    head = {"PACKET_SPECIES": -1, "MCP_COMMANDED_VALUE": PLATE_DAC}
    codes = packed(np.concatenate([high.counts, behind], axis=2), lower[0])
    own = {"PACKET_MODE": 2, "ACCUMULATION_TIME": 1, "COMPRESSION": 1, "DATA": codes[kept], "ISSUES": issues[kept]}
    write_days(folder, "HRS_ELC_ALL", fast[kept], head | own, scene)
    plate = np.where(np.arange(3) == LRS_SENSOR, PLATE_DAC, 0)[None, :]
    own = {
        "PACKET_MODE": 1,
        "ACCUMULATION_TIME": ELECTRON_SECONDS,
        "COMPRESSION": 2,
        "DATA": packed(low.counts, lower[1]),
    }
    write_days(folder, "LRS_ELC_ANY", slow, head | own | {"MCP_COMMANDED_VALUE": plate}, scene)
    yield from electron_truth(scene, high, low, known, {"lost": lost, "bad": np.flatnonzero(issues)})


def high_rate(scene: Scene, et: Array, known: Known, rng: Generator) -> tuple[Counted, NDArray[np.int64]]:
    """One second per record: each anode at each of 64 energies for one view; counts of the background anodes."""
    middle, energy, weights = bands(known["energy_electrons"])
    anodes, timing = electron_vectors(known), known["timing"]
    live, tau = float(timing["live"][0]), float(timing["dead_time"][0])
    volts = float(known["mcp"]["slope"][0] * PLATE_DAC + known["mcp"]["offset"][0])
    factor = known["geometric_factor"]["electrons"]
    parts = []
    for start in range(0, max(1, et.size), CHUNK):
        some = et[start : start + CHUNK]
        flux = np.empty((some.size, 64, 48))
        for step in range(64):
            when = some - 0.5 + (step + 0.5) / 64.0
            look = anodes @ np.swapaxes(scene.geometry.rotation("JUNO_SPACECRAFT", "J2000", when), 1, 2)
            state = plasma("electrons", some, scene.geometry, scene.pass_.et)
            own = scene.geometry.velocity("J2000", some)
            lift = -float(known["spacecraft"]["potential"])
            flux[:, step] = sum(
                w * energy_flux(state, look, np.asarray(energy[step, k]), lift, own, M_E) for k, w in enumerate(weights)
            )
        gain = factor * efficient(known["efficiency_electrons"], middle, volts, scene.pass_.et)[:, None]
        belts = penetrating(some, scene.pass_.et)[:, None, None]
        true = flux * gain
        seen = counter(true + known["background"]["ratio"] * belts, tau) * live
        parts.append(Counted(some, flux, true, seen, rng.poisson(seen)))
    whole = Counted(
        *(np.concatenate([getattr(p, n) for p in parts]) for n in ("et", "flux", "rate", "expected", "counts"))
    )
    belts = penetrating(et, scene.pass_.et)[:, None, None]
    return whole, rng.poisson(np.broadcast_to(counter(belts, tau) * live, (et.size, 64, 3)))


def low_rate(scene: Scene, et: Array, known: Known, rng: Generator) -> Counted:
    """Views of one sensor's anodes over a spin, added up in sectors of despun azimuth."""
    middle, energy, weights = bands(known["energy_electrons"])
    timing, sensor = known["timing"], slice(16 * LRS_SENSOR, 16 * LRS_SENSOR + 16)
    live, tau = float(timing["live"][0]), float(timing["dead_time"][0])
    volts = float(known["mcp"]["slope"][LRS_SENSOR] * PLATE_DAC + known["mcp"]["offset"][LRS_SENSOR])
    axes = despun_axes(scene, et)
    edges = np.radians(np.arange(48) * 7.5)[:, None] + np.radians(3.75) * (1.0 + BAND)
    flat = np.stack([np.cos(edges), np.sin(edges), np.zeros_like(edges)], axis=-1)  # sector, node, xyz
    look = np.einsum("sqi,nij->nsqj", flat, axes)
    state, own = plasma("electrons", et, scene.geometry, scene.pass_.et), scene.geometry.velocity("J2000", et)
    lift = -float(known["spacecraft"]["potential"])
    flux = np.zeros((et.size, 64, 48))
    for step in range(64):
        for k, w in enumerate(weights):
            flux[:, step] += w * (energy_flux(state, look, np.asarray(energy[step, k]), lift, own, M_E) @ weights)
    gain = (
        known["geometric_factor"]["electrons"][sensor]
        * efficient(known["efficiency_electrons"], middle, volts, scene.pass_.et)[:, None]
    )
    seconds = np.arange(ELECTRON_SECONDS) - ELECTRON_SECONDS / 2
    hits = sector_hits(scene, et, seconds, axes, electron_vectors(known)[sensor], lambda along: turn_of(along) * 48)
    signal, seen, views = (np.zeros((et.size, 64, 48)) for _ in range(3))
    floor = float(known["background"]["unmeasured"][0])
    for place in hits:  # (n, 64, 16): sector of each anode at each step
        at = np.arange(et.size)[:, None, None], np.arange(64)[None, :, None], place
        true = np.take_along_axis(flux, place, axis=2) * gain
        np.add.at(views, at, 1.0)
        np.add.at(signal, at, true)
        np.add.at(seen, at, counter(true + floor, tau) * live)
    rate = signal / np.where(views > 0, views, np.nan)
    return Counted(et, flux, rate, seen, rng.poisson(seen))


def electron_truth(
    scene: Scene, high: Counted, low: Counted, known: Known, told: dict[str, NDArray[np.intp]]
) -> Iterator[Truth]:
    """Truth of rates, fluxes and moments of electrons."""
    et = np.concatenate([high.et, low.et])
    order = np.argsort(et)
    mode = np.concatenate([np.full(high.et.size, 2), np.full(low.et.size, 1)])[order]
    flux, rate, expected = (
        np.concatenate([getattr(high, n), getattr(low, n)])[order] for n in ("flux", "rate", "expected")
    )
    et = et[order]
    keep = ~np.isin(et, high.et[told["lost"]])
    dims, middle = ("et", "energy", "look"), bands(known["energy_electrons"])[0]
    injected = {"injected": told["bad"].size / max(1, et.size)}
    values: Columns = {"rate": (dims, rate), "counts": (dims, expected), "counts_expected": (dims, expected)}
    yield Truth("jade.electron_rate", "", dataset(values | {"mode": (("et",), mode)}, et, keep, injected))
    angle = electron_pitch(scene, et, mode, electron_vectors(known))
    values = fluxes(dims, flux, np.broadcast_to(middle, (et.size, 64)), np.full(et.size, M_E))
    yield Truth("jade.electron_flux", "", dataset(values | {"pitch_angle": (dims, angle)}, et, keep, injected))
    state = plasma("electrons", et, scene.geometry, scene.pass_.et)
    warm = relativistic_temperature(state)
    moments: Columns = {"density": (("et",), state.density), "temperature": (("et",), warm)}
    moments["pressure"] = ("et",), state.density * 1e6 * warm * Q
    yield Truth("jade.electron_moments", "", dataset(moments, et, keep, injected))


def electron_pitch(scene: Scene, et: Array, mode: NDArray[np.int64], anodes: Array) -> Array:
    """Angles between where electrons fly and the field, (n, 64, 48)."""
    field = field_through(scene, et)
    out = np.empty((et.size, 64, 48))
    fast = np.flatnonzero(mode == 2)
    for step in range(64):
        when = et[fast] - 0.5 + (step + 0.5) / 64.0
        turn = scene.geometry.rotation("JUNO_SPACECRAFT", "J2000", when)
        out[fast, step] = angle_between(-np.einsum("nij,aj->nai", turn, anodes), field(when)[:, None, :])
    slow = np.flatnonzero(mode != 2)
    azimuth = np.radians(3.75 + 7.5 * np.arange(48))
    flat = np.stack([np.cos(azimuth), np.sin(azimuth), np.zeros(48)], axis=1)
    look = flat @ despun_axes(scene, et[slow])
    out[slow] = angle_between(-look, field(et[slow])[:, None, :])[:, None, :]
    return out
