"""The other way round: what the anodes see of each species to logical counters and flight times, and the truth.

Flights are drawn one by one; what a bin expects is the integral of their density by quadrature. Pairs and single counts
are drawn apart, as they come about.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr
from numpy.random import Generator
from numpy.typing import NDArray

from instruments.jade.forward import Array, Known, Q, U, bands, efficient
from pipeline.scene.particles import counter

BINS = 96
# Gauss-Legendre points within a bin.
NODES, WEIGHTS = np.polynomial.legendre.leggauss(5)
# What is planted: species to its place among the masses.
PLACE = {3: 0, 4: 4, 5: 6}
Columns = dict[str, tuple[tuple[str, ...], Array]]


def edges_of(known: Known) -> Array:
    """Edges of the bins, ns."""
    tof = known["time_of_flight"]
    return np.asarray(float(tof["first"]) * np.cumprod(np.append(1.0, np.full(BINS, float(tof["ratio"])))))


def mean_flight(known: Known, place: int) -> Array:
    """Mean flight time of a mass at each energy, ns (64)."""
    tof = known["time_of_flight"]
    middle = bands(known["energy_ions"])[0]
    electronvolt = float(tof["charge"][place]) * (middle + float(tof["acceleration"])) - float(tof["loss"][place])
    momentum = np.sqrt(2.0 * electronvolt * Q * float(tof["mass"][place]) * U)
    return np.asarray(1e9 * float(tof["path"]) * float(tof["mass"][place]) * U / momentum)


def expected_shares(known: Known, place: int) -> Array:
    """Share of flights of a mass in each bin, (64, 96)."""
    edges = edges_of(known)
    middle = mean_flight(known, place)[:, None, None]
    width = middle * float(known["time_of_flight"]["spread"][place])
    half = np.diff(edges)[:, None] / 2.0
    t = (edges[1:] + edges[:-1])[:, None] / 2.0 + half * NODES
    density = np.exp(-0.5 * ((t - middle) / width) ** 2) / (width * np.sqrt(2.0 * np.pi))
    return np.asarray((density * half * WEIGHTS).sum(axis=2))


def singles(by_anode: Mapping[int, Array], known: Known, volts: float, et: float) -> dict[str, Array]:
    """True rates: pairs and starts of each anode (n, 64, 12), stops of all (n, 64), accidental pairs of each anode.

    Of the efficiency of a pair each of its two ends has the root.
    """
    middle, dark = bands(known["energy_ions"])[0], known["logicals"]["dark"]
    pairs = sum(by_anode.values())
    root = {k: np.sqrt(efficient(known["efficiency_ions"], middle, volts, et, k)) for k in by_anode}
    signal = sum(rate / root[k][:, None] for k, rate in by_anode.items())
    starts = signal + dark[0]
    stops = np.asarray(signal).sum(axis=2) + dark[2]
    chance = 1e-9 * float(known["logicals"]["window"])
    return {
        "pairs": np.asarray(pairs), "signal": np.asarray(signal), "starts": np.asarray(starts), "stops": stops,
        "accidental": np.asarray(starts) * stops[:, :, None] * chance,
    }  # fmt: skip


def counters(seconds: int, rates: dict[str, Array], known: Known, rng: Generator) -> NDArray[np.int64]:
    """Counters of an accumulation: pairs count as starts, stops and coincidences, accidental ones as coincidences."""
    timing = known["timing"]
    time, tau = seconds * float(timing["live"][1]), float(timing["dead_time"][1])

    def passed(rate: Array) -> Array:
        return counter(rate, tau) / rate

    pairs, stops = rates["pairs"], rates["stops"]
    coincidences = pairs + rates["accidental"]
    # Each counter is dead for its own time, so what it drops of the pairs is drawn for it alone.
    both = rng.poisson(pairs * time)
    alone = rng.poisson((rates["starts"] - pairs) * time)
    others = rng.poisson((stops - pairs.sum(axis=2)) * time)
    chance = rng.poisson(rates["accidental"] * time)
    kept = [
        rng.binomial(both + alone, passed(rates["starts"])),
        rng.binomial(both + chance, passed(coincidences)),
        rng.binomial(both.sum(axis=2) + others, passed(stops))[:, :, None],
    ]
    return np.concatenate(kept, axis=2)


def logical_truth(et: Array, seconds: int, rates: dict[str, Array], known: Known) -> xr.Dataset:
    """Rates of the counters, and the shares of particles that the other end saw."""
    timing = known["timing"]
    stops = rates["stops"][:, :, None]
    rate = np.concatenate([rates["starts"], rates["pairs"] + rates["accidental"], stops], axis=2)
    expected = counter(rate, float(timing["dead_time"][1])) * seconds * float(timing["live"][1])
    pairs, signal = rates["pairs"].sum(axis=2), rates["signal"].sum(axis=2)
    dims, plane = ("et", "energy", "counter"), ("et", "energy")
    values: Columns = {"rate": (dims, rate), "counts": (dims, expected), "counts_expected": (dims, expected)}
    # Few particles among many dark counts tell no efficiency: not known.
    time = seconds * float(timing["live"][1])
    for end, of in (("stop", rates["starts"].sum(axis=2)), ("start", rates["stops"])):
        values[f"{end}_efficiency"] = plane, np.where(signal > 25.0 * np.sqrt(of / time), pairs / signal, np.nan)
    return xr.Dataset(values, coords={"et": ("et", et)})


def spectra(
    et: Array, seconds: int, by_anode: Mapping[int, Array], rates: dict[str, Array], known: Known, rng: Generator
) -> tuple[NDArray[np.int64], xr.Dataset]:
    """Counts by flight time (n, 64, 96), drawn flight by flight, and the truth of rates, masses and fluxes."""
    tof, edges = known["time_of_flight"], edges_of(known)
    time = seconds * float(known["timing"]["live"][1])
    flat = 1e-9 * rates["starts"].sum(axis=2) * rates["stops"]
    true, total = np.zeros((et.size, 64, BINS)), flat * (edges[-1] - edges[0])
    for species, rate in by_anode.items():
        each = expected_shares(known, PLACE[species])
        true += rate.sum(axis=2)[:, :, None] * each
        total += rate.sum(axis=2) * each.sum(axis=1)
    passed = counter(total, float(tof["dead_time"])) / total
    counts = _drawn(rng, flat * passed * time, np.zeros(64), np.zeros(64), edges)
    for species, rate in by_anode.items():
        middle = mean_flight(known, PLACE[species])
        mean = rate.sum(axis=2) * passed * time
        counts += _drawn(rng, mean, middle, middle * float(tof["spread"][PLACE[species]]), edges)
    expected = (true + flat[:, :, None] * np.diff(edges)) * passed[:, :, None] * time
    return counts, _truth(et, true, expected, by_anode, known)


def _drawn(rng: Generator, mean: Array, middle: Array, width: Array, edges: Array) -> NDArray[np.int64]:
    """Counts (n, 64, 96) of flights drawn normally about a time at each energy; of width 0 at any time, per ns."""
    even = not width.any()
    number = rng.poisson(mean * (edges[-1] - edges[0]) if even else mean)
    row = np.repeat(np.arange(number.size), number.ravel())
    step = row % 64
    t = rng.uniform(edges[0], edges[-1], row.size) if even else rng.normal(middle[step], width[step])
    place = np.digitize(t, edges) - 1
    inside = (place >= 0) & (place < BINS)
    flat = np.bincount(row[inside] * BINS + place[inside], minlength=number.size * BINS)
    return flat.reshape(*number.shape, BINS)


def _truth(et: Array, true: Array, expected: Array, by_anode: Mapping[int, Array], known: Known) -> xr.Dataset:
    """Rates by flight time, of the masses that are there, and the flux that makes them in all anodes alike."""
    number = known["time_of_flight"]["mass"].size
    rate, flux = np.zeros((et.size, 64, number)), np.zeros((et.size, 64, number))
    middle = bands(known["energy_ions"])[0]
    volts = float(known["mcp"]["slope"][3] * 3000 + known["mcp"]["offset"][3])
    for species, each in by_anode.items():
        rate[:, :, PLACE[species]] = each.sum(axis=2)
        gain = known["geometric_factor"]["ions"].sum() * efficient(
            known["efficiency_ions"], middle, volts, float(et.mean()), species
        )
        flux[:, :, PLACE[species]] = each.sum(axis=2) / gain
    dims, of_mass = ("et", "energy", "tof"), ("et", "energy", "mass")
    values = {
        "rate": (dims, true), "counts": (dims, expected), "counts_expected": (dims, expected),
        "mass_rate": (of_mass, rate), "energy_flux": (of_mass, flux),
    }  # fmt: skip
    return xr.Dataset(values, coords={"et": ("et", et)})
