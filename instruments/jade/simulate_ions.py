"""The other way round for ions: counts of species in 78 looks, and of all at once by anode and flight time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from numpy.random import Generator

from instruments.jade import simulate_tof as tof
from instruments.jade.forward import (
    Array,
    Known,
    U,
    bands,
    despun_axes,
    efficient,
    energy_flux,
    fluxes,
    ion_cells,
    ion_vectors,
    packed,
    sector_hits,
    turn_of,
)
from instruments.jade.simulate_parts import PLATE_DAC, Columns, Counted, dataset, write_days
from pipeline.instrument import Truth
from pipeline.scene.particles import angle_between, counter, field_through
from pipeline.scene.plasma import OMEGA, plasma

if TYPE_CHECKING:
    from pipeline.scene import Scene

ION_SECONDS = 60
SPECIES = {3: "protons", 4: "oxygen", 5: "sulfur"}
TRUNCATED = 1 << 19


def ions(scene: Scene, folder: Path, known: Known, rng: Generator) -> Iterator[Truth]:
    """Three species at a time, all along the pass."""
    first = np.ceil(scene.span.start) + 1.0
    et = np.arange(first, scene.span.stop - ION_SECONDS - 1.0, float(ION_SECONDS)) + ION_SECONDS / 2
    made = {species: ion_counts(scene, et, species, known, rng) for species in SPECIES}
    n = et.size
    kind = np.tile(list(SPECIES), n)

    def mixed(name: str) -> Array:
        return np.stack([getattr(c, name) for c in made.values()], axis=1).reshape(
            3 * n, *getattr(made[3], name).shape[1:]
        )

    counts = mixed("counts").astype(np.int64)
    times = np.repeat(et, 3)
    truncated, alone, lost = 3 * (n // 4) + 1, 3 * (n // 2) + 2, 3 * (n // 3)
    issues = np.zeros(3 * n, np.uint32)
    issues[truncated] = TRUNCATED
    packets = np.stack([counts[:, 0::2], counts[:, 1::2]], axis=1).reshape(6 * n, 32, 78)
    keep = np.setdiff1d(np.arange(6 * n), [2 * lost, 2 * lost + 1, 2 * alone + 1])
    columns = {
        "PACKET_MODE": 1, "PACKET_SPECIES": np.repeat(kind, 2)[keep], "ACCUMULATION_TIME": ION_SECONDS,
        "COMPRESSION": 2, "ISSUES": np.repeat(issues, 2)[keep], "MCP_COMMANDED_VALUE": PLATE_DAC,
        "SWEEP_TABLE": np.repeat(np.tile([0, 1], 3 * n)[keep][:, None], 3, axis=1),
        "DATA": packed(packets[keep], known["compression"]["lower_32"]),
    }  # fmt: skip
    write_days(folder, "LRS_ION_ANY", np.repeat(times, 2)[keep], columns, scene)
    there = np.arange(3 * n) != lost
    told = {"injected": 1.5 / there.sum()}
    dims = ("record", "energy", "look")
    expected = mixed("expected")
    values: Columns = {"rate": (dims, mixed("rate")), "counts": (dims, expected), "counts_expected": (dims, expected)}
    yield Truth("jade.ion_rate", "", dataset(values | {"species": (("record",), kind)}, times, there, told, "record"))
    mass, charge = (known["species"][q][kind] for q in ("mass", "charge"))
    energy = bands(known["energy_ions"])[0] * charge[:, None]
    values = fluxes(dims, mixed("flux"), energy, mass * U) | {"pitch_angle": (dims, ion_pitch(scene, times, known))}
    yield Truth("jade.ion_flux", "", dataset(values, times, there, told, "record"))
    yield Truth("jade.ion_moments", "", ion_moments(scene, et, {"injected": 3.0 / (3 * n)}))
    yield from together(scene, folder, et, made, known, rng)


def ion_counts(scene: Scene, et: Array, species: int, known: Known, rng: Generator) -> Counted:
    """Views of all anodes over two spins, added up in 78 looks; ping sweeps in even seconds, pong in odd ones."""
    middle, energy, weights = bands(known["energy_ions"])
    mass, charge = (float(known["species"][q][species]) for q in ("mass", "charge"))
    timing = known["timing"]
    live, tau = float(timing["live"][1]), float(timing["dead_time"][1])
    volts = float(known["mcp"]["slope"][3] * PLATE_DAC + known["mcp"]["offset"][3])
    cells, share = ion_cells(known)
    axes = despun_axes(scene, et)
    look = np.einsum("lqi,nij->nlqj", cells, axes)
    state, own = plasma(SPECIES[species], et, scene.geometry, scene.pass_.et), scene.geometry.velocity("J2000", et)
    lift = charge * float(known["spacecraft"]["potential"])
    flux = np.zeros((et.size, 64, 78))
    for step in range(64):
        for k, w in enumerate(weights):
            at = np.asarray(charge * energy[step, k])
            flux[:, step] += w * (energy_flux(state, look, at, lift, own, mass * U) @ share)
    gain = (
        known["geometric_factor"]["ions"]
        * efficient(known["efficiency_ions"], middle, volts, scene.pass_.et, species)[:, None]
    )
    sectors = known["look_ions"]["sectors"].astype(int)
    first = np.append(0, np.cumsum(sectors))

    def sort(along: Array) -> Array:
        height = np.degrees(np.arcsin(np.clip(along[..., 2], -1.0, 1.0)))
        row = np.clip(np.digitize(height, known["look_ions"]["row_edges"]) - 1, 0, sectors.size - 1)
        return first[row] + np.floor(turn_of(along) * sectors[row])

    signal, seen, views = (np.zeros((et.size, 64, 78)) for _ in range(3))
    by_anode = np.zeros((et.size, 64, 12))
    seconds = np.arange(ION_SECONDS) - ION_SECONDS / 2
    for number, place in enumerate(sector_hits(scene, et, seconds, axes, ion_vectors(known), sort)):
        steps = np.arange(64) // 2 * 2 + number % 2
        spot = tuple(np.broadcast_arrays(np.arange(et.size)[:, None, None], steps[None, :, None], place))
        true = flux[spot] * gain[steps]
        np.add.at(views, spot, 1.0)
        np.add.at(signal, spot, true)
        np.add.at(seen, spot, counter(true + float(known["background"]["unmeasured"][1]), tau) * live)
        # Each energy of this second's sweep is looked at twice.
        by_anode[:, steps[0::2]] += (true[:, 0::2] + true[:, 1::2]) / ION_SECONDS
    rate = signal / np.where(views > 0, views, np.nan)
    return Counted(et, flux, rate, seen, rng.poisson(seen), by_anode)


def together(
    scene: Scene, folder: Path, et: Array, made: dict[int, Counted], known: Known, rng: Generator
) -> Iterator[Truth]:
    """Logical counters and times of flight of all species at once; one record of each is lost, and not the same."""
    by_anode = {species: of.by_anode for species, of in made.items() if of.by_anode is not None}
    volts = float(known["mcp"]["slope"][3] * PLATE_DAC + known["mcp"]["offset"][3])
    rates = tof.singles(by_anode, known, volts, scene.pass_.et)
    head = {
        "PACKET_MODE": 1, "PACKET_SPECIES": 9, "ACCUMULATION_TIME": ION_SECONDS, "MCP_COMMANDED_VALUE": PLATE_DAC,
    }  # fmt: skip
    kept = np.delete(np.arange(et.size), et.size // 2)

    def write(kind: str, middle: Array, own: dict[str, object]) -> None:
        write_days(folder, kind, middle, head | own, scene)

    counted = tof.counters(ION_SECONDS, rates, known, rng)
    write("HLS_ION_LOG", et[kept], {"COMPRESSION": 0, "DATA": counted[kept]})
    yield Truth("jade.ion_logicals", "", tof.logical_truth(et, ION_SECONDS, rates, known).isel(et=kept))
    counts, truth = tof.spectra(et, ION_SECONDS, by_anode, rates, known, rng)
    # Counts of one bin and accumulation stay below 65 536: the finer of the tables.
    write("HLC_ION_TOF", et[1:], {"COMPRESSION": 1, "DATA": packed(counts, known["compression"]["lower_16"])[1:]})
    yield Truth("jade.ion_masses", "", truth.isel(et=slice(1, None)))


def ion_pitch(scene: Scene, et: Array, known: Known) -> Array:
    """Angles between where ions fly and the field, (n, 64, 78)."""
    table = known["look_ions"]
    sectors, edges = table["sectors"].astype(int), table["row_edges"]
    elevation = np.radians(np.repeat((edges[1:] + edges[:-1]) / 2.0, sectors))
    azimuth = np.concatenate([2.0 * np.pi * (np.arange(k) + 0.5) / k for k in sectors])
    cells = np.stack(
        [np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)], axis=1
    )
    look = cells @ despun_axes(scene, et)
    angle = angle_between(-look, field_through(scene, et)(et)[:, None, :])
    return np.broadcast_to(angle[:, None, :], (et.size, 64, 78))


def ion_moments(scene: Scene, et: Array, told: dict[str, float]) -> xr.Dataset:
    """Density, temperature and velocity of the species simulated, NaN for the others; (et, species)."""
    shape = (et.size, 8)
    density, temperature = np.full(shape, np.nan), np.full(shape, np.nan)
    velocity = np.full((*shape, 3), np.nan)
    turn = scene.geometry.rotation("J2000", "IAU_JUPITER", et)
    for number, name in SPECIES.items():
        state = plasma(name, et, scene.geometry, scene.pass_.et)
        density[:, number], temperature[:, number] = state.density, state.temperature
        velocity[:, number] = np.einsum("nij,nj->ni", turn, state.velocity)
    x, y, _ = scene.geometry.position("IAU_JUPITER", et).T
    rigid = OMEGA * np.stack([-y, x, np.zeros_like(x)], axis=1)
    values: Columns = {
        "density": (("et", "species"), density),
        "temperature": (("et", "species"), temperature),
        "velocity": (("et", "species", "xyz"), velocity),
        "velocity_corotating": (("et", "species", "xyz"), velocity - rigid[:, None, :]),
    }
    return dataset(values, et, np.ones(et.size, bool), told)
