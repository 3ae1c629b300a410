"""The other way round: the microwave sky through beams and receivers to hourly files of counts, and the truth.

Derived from how a radiometer works, not by turning the calibration round: the beam is integrated over rays drawn from
it, a record is the integral over its 100 ms, the way to the detector is a cascade of two-ports whose matrices are
multiplied, the detector's law is solved for the counts. The values of the calibration tables are its truth.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import xarray as xr
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from instruments.mwr.layout import CHANNELS, RECEIVER_OF_STREAM, RECEIVERS, SENSORS, STREAMS, THERMISTORS, sensors_of
from instruments.mwr.raw_write import write_csv
from pipeline.clock import Span
from pipeline.instrument import Truth
from pipeline.jupiter.shape import EQUATORIAL_RADIUS
from pipeline.scene.microwave import FREQUENCIES, STEP, MicrowaveSky, microwave_sky, seen
from pipeline.scene.tables import values_at

if TYPE_CHECKING:
    from pipeline.geometry import Geometry
    from pipeline.scene import Scene

Array = NDArray[np.float64]
Known = dict[str, dict[str, Array]]

NAMES = ("receiver", "detector", "chain", "noise_diode", "thermal", "beam")
SLOT = 0.1
# The scene in the beam is smooth over this many seconds: 2.4 degrees of spin, beams are 10.8 degrees wide and more.
KNOT = 0.2
# With a third of them the limb between the rays of the wide beams is an error of the truth, up to 5 sigma of a record.
RAYS = 960
# Belts and galaxy are seen at every so many knots: they matter in wide beams alone.
BELT_KNOTS = 2
CHUNK = 500  # knots at a time
IRDR_LENGTH = 60.0  # seconds at the beginning
# One slot in six is not on the antenna (30 000 of 36 000 records an hour are): the load, or one of the six
# combinations of diode and position in turn. The flight sequence is not public.
ON_ANTENNA, LOAD = 0, 4
SEQUENCE = [0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0]
OTHERS = (1, 5, 2, 6, 3, 7)
# Receivers: counts per kelvin of each stream, noise temperature; of the size such receivers have.
GAINS = np.array([20.0, 40.0, 28.0, 48.0, 45.0, 55.0, 60.0, 60.0])
NOISE = np.array([350.0, 320.0, 300.0, 320.0, 380.0, 420.0])
OF_STREAM = list(RECEIVER_OF_STREAM)


@dataclass(frozen=True)
class InBeam:
    """What an antenna sees, K (n, channel), at n slots; of the planet, the galaxy with the background, the belts."""

    planet: Array
    background: Array
    belts: Array

    @property
    def total(self) -> Array:
        """Antenna temperature."""
        return self.planet + self.background + self.belts


@dataclass(frozen=True)
class Physical:
    """Physical temperatures at n times, K: load, diodes (n, receiver), elements of the front (n, receiver, element)."""

    load: Array
    diode: Array
    elements: Array


def simulate(scene: Scene, raw_folder: Path, scale: Literal["demo", "full"], rng: Generator) -> Iterator[Truth]:
    """Write the EDR of the scene, and an IRDR of its first minute, below `raw_folder`; yields the truth.

    Some rows are lost or damaged.
    """
    # It builds on this module.
    from instruments.mwr.simulate_rdr import write_irdr

    known = truth_tables(scene.pass_.et)
    et, state = slots(scene.span)
    sky = microwave_sky()
    beam = in_beam(scene.geometry, sky, et, known)
    gains = receiver_gains(et, scene.pass_.et)
    counts = detected(beam.total, state, gains, physical(et), known, rng)
    kept = write_edr(scene, raw_folder, et, state, counts, known, rng)
    antenna = state == ON_ANTENNA
    first = np.flatnonzero(antenna & (et < et[0] + IRDR_LENGTH))
    write_irdr(scene, raw_folder, et[first], beam.total[first], counts[first], gains[first], known)
    lost = {"injected": float(np.mean(~kept[antenna]))}
    yield Truth("mwr.antenna_temperature", "", temperatures(et[antenna], beam.total[antenna]).assign_attrs(lost))
    yield Truth("mwr.gain", "", true_gain(scene, known))
    parts = {"ta_planet": beam.planet, "background": beam.background, "synchrotron": beam.belts}
    # From further off the rays part planet from belts to no better than the noise; their sum is a truth anywhere.
    near = is_near(scene, et[antenna])[:, None]
    data = {name: (("et", "channel"), np.where(near, value[antenna], np.nan)) for name, value in parts.items()}
    yield Truth("mwr.components", "", xr.Dataset(data, coords=_axes(et[antenna])).assign_attrs(lost))
    yield Truth("mwr.brightness", "", true_brightness(scene, sky))
    zero, one = (("channel",), np.zeros(RECEIVERS)), (("channel",), np.ones(RECEIVERS))
    yield Truth("mwr.anchor", "", xr.Dataset({"residual": zero, "slope": one}, coords={"channel": list(CHANNELS)}))


def is_near(scene: Scene, et: Array) -> NDArray[np.bool_]:
    """Where Juno is within two radii of the centre of Jupiter."""
    position = scene.geometry.position("IAU_JUPITER", et)
    return np.asarray((position**2).sum(axis=1) < (2.0 * EQUATORIAL_RADIUS) ** 2)


def truth_tables(et: float) -> Known:
    """Values of the tables that hold at closest approach: table to quantity to array."""
    return values_at("mwr", NAMES, et)


def slots(span: Span) -> tuple[Array, NDArray[np.uint8]]:
    """Middle and switch state of every slot in a span."""
    number = int(span.duration / SLOT)
    et = np.asarray(span.start + (np.arange(number) + 0.5) * SLOT, np.float64)
    cycle = np.concatenate([np.array([*SEQUENCE, other], np.uint8) for other in OTHERS])
    return et, np.resize(cycle, number).astype(np.uint8)


# The sky through the beams


def in_beam(geometry: Geometry, sky: MicrowaveSky, et: Array, known: Known) -> InBeam:
    """What the antennas see, averaged over each slot."""
    edges = np.arange(et[0] - 2.5 * KNOT, et[-1] + 2.5 * KNOT, KNOT)
    parts = [np.empty((len(edges), RECEIVERS)) for _ in range(3)]
    for frame, channels in (("JUNO_MWR_A1", (0,)), ("JUNO_MWR_A2", (1, 2, 3, 4, 5))):
        rays, weights = drawn_rays(known["beam"], channels)
        for part in np.array_split(np.arange(len(edges)), -(-len(edges) // CHUNK)):
            values = _seen_by(geometry, sky, edges[part], frame, channels, rays, weights)
            for whole, value in zip(parts, values, strict=True):
                whole[part[:, None], channels] = value
    means = []
    for whole in parts:
        integral = CubicSpline(edges, whole).antiderivative()
        means.append((integral(et + SLOT / 2) - integral(et - SLOT / 2)) / SLOT)
    return InBeam(*means)


def drawn_rays(beam: dict[str, Array], channels: tuple[int, ...]) -> tuple[Array, Array]:
    """Directions about the boresight, spread as a mixture of the channels' beams, and their weights (channel, ray)."""
    theta = np.linspace(0.0, np.pi, 20001)
    patterns = np.stack([pattern(beam, channel, theta) * np.sin(theta) for channel in channels])
    patterns /= patterns.sum(axis=1, keepdims=True)
    # Half by the mean of the beams, the rest evenly on the sphere in two shells: sidelobes need rays too.
    near = np.where(theta < np.radians(60.0), np.sin(theta), 0.0)
    mixture = 0.5 * patterns.mean(axis=0) + 0.3 * near / near.sum() + 0.2 * np.sin(theta) / np.sin(theta).sum()
    cumulative = np.cumsum(mixture)
    place = np.interp((np.arange(RAYS) + 0.5) / RAYS, cumulative / cumulative[-1], theta)
    azimuth = np.pi * (3.0 - np.sqrt(5.0)) * np.arange(RAYS)
    rays = np.stack([np.sin(place) * np.cos(azimuth), np.sin(place) * np.sin(azimuth), np.cos(place)], axis=1)
    density = np.interp(place, theta, mixture)
    weights = np.stack([np.interp(place, theta, p) / density for p in patterns])
    return rays, weights / weights.sum(axis=1, keepdims=True)


def pattern(beam: dict[str, Array], channel: int, theta: Array) -> Array:
    """Beam relative to its peak."""
    width = np.radians(beam["half_power_width"][channel])
    decibels = np.interp(np.degrees(theta), beam["angle"], beam["floor"][channel])
    return 2.0 ** (-((2.0 * theta / width) ** 2)) + beam["floor_scale"][channel] * 10.0 ** (decibels / 10.0)


def _seen_by(
    geometry: Geometry, sky: MicrowaveSky, et: Array, frame: str, channels: tuple[int, ...], rays: Array, weights: Array
) -> tuple[Array, Array, Array]:
    """Planet, background and belts through rays at times, K (n, channel)."""
    origin = geometry.position("IAU_JUPITER", et)
    looks = np.einsum("nij,kj->nki", geometry.rotation(frame, "IAU_JUPITER", et), rays)
    distance, latitude, mu = seen(origin, looks)
    hit = np.isfinite(distance)
    planet = np.empty((len(channels), *hit.shape))
    planet[:] = 0.0
    planet[:, hit] = sky.thermal(latitude[hit], mu[hit], channels)
    inertial = np.einsum("nij,kj->nki", geometry.rotation(frame, "J2000", et[::BELT_KNOTS]), rays)
    behind = sky.background(inertial.reshape(-1, 3))[list(channels)].reshape(len(channels), -1, len(rays))
    behind = np.repeat(behind, BELT_KNOTS, axis=1)[:, : len(et)]
    behind = np.where(hit, 0.0, behind)
    few = np.einsum("cnk,ck->nc", behind, weights), np.einsum("cnk,ck->nc", planet, weights)
    coarse = slice(0, len(et), BELT_KNOTS)
    belts = sky.belts.at_1_ghz(origin[coarse], looks[coarse], distance[coarse])
    at_1 = belts @ weights.T * FREQUENCIES[list(channels)] ** sky.belts.index
    return few[1], few[0], CubicSpline(et[coarse], at_1)(et)


# The instrument


def physical(et: Array) -> Physical:
    """Temperatures of the hardware: they drift by a degree or so in an hour."""
    number = np.arange(RECEIVERS)
    slow = np.sin(et[:, None] / 4000.0 + number)
    load = 292.0 + 0.5 * number + 0.8 * slow
    diode = 293.0 + 0.4 * number + 0.8 * slow
    elements = np.stack(
        [168.0 + 4.0 * number + 2.0 * slow, 235.0 + 3.0 * number + 1.5 * slow, 289.0 + number + slow], 2
    )
    return Physical(load, diode, elements)


def receiver_gains(et: Array, closest_approach: float) -> Array:
    """Counts per kelvin at the receiver (n, stream): they drift by a part in a thousand."""
    since = (et - closest_approach)[:, None]
    return GAINS * (1.0 + 1e-3 * np.sin(since / 1150.0 + np.arange(len(STREAMS))) + 3e-4 * since / 3600.0)


def photons(temperature: Array, frequency: Array) -> Array:
    """Brightness of a black body as kT of the same power: mean energy of its oscillators (Planck)."""
    energy = 6.62607015e-34 * 1e9 * frequency / 1.380649e-23
    return energy / (np.exp(energy / temperature) - 1.0)


def through(ta: Array, now: Physical, chain: dict[str, Array], frequency: Array) -> Array:
    """Brightness at the receivers' input of the antenna temperature, K (n, receiver): a cascade of two-ports.

    Each port adds its noise to what it lets through, ``(T, 1) -> [[a, (1 - a) T_port], [0, 1]] (T, 1)``; at the last
    one the part g of the receiver's own noise comes back in place of what is reflected.
    """
    cascade = np.zeros((*ta.shape, 2, 2))
    cascade[..., 0, 0] = cascade[..., 1, 1] = 1.0
    lets = 10.0 ** (-chain["loss"] / 10.0)
    ports = [(lets[:, i], photons(now.elements[:, :, i], frequency)) for i in range(lets.shape[1])]
    ports.append((1.0 - chain["reflection"], chain["back_ratio"] * photons(now.load, frequency)))
    for passed, noise in ports:
        port = np.zeros_like(cascade)
        port[..., 0, 0], port[..., 0, 1], port[..., 1, 1] = passed, (1.0 - passed) * noise, 1.0
        cascade = port @ cascade
    return (cascade @ np.stack([ta, np.ones_like(ta)], axis=-1)[..., None])[..., 0, 0]


def diode_brightness(temperature: Array, table: dict[str, Array]) -> Array:
    """Brightness of the diodes at the receiver, K (n, receiver, diode)."""
    warm = (temperature - table["reference_temperature"])[..., None]
    cold = table["scale"][:, None] * table["brightness"]
    return cold + cold * warm * (table["linear"] + table["quadratic"] * warm)


def received(ta: Array, state: NDArray[np.uint8], now: Physical, known: Known) -> Array:
    """Brightness at the receivers' input by switch state, K (n, receiver)."""
    frequency = known["receiver"]["frequency"]
    ports = through(ta, now, known["chain"], frequency)
    at_input = np.where((state >= LOAD)[:, None], photons(now.load, frequency), ports)
    diodes = diode_brightness(now.diode, known["noise_diode"])
    lit = state % LOAD
    for number in (1, 2, 3):
        at_input[lit == number] += diodes[lit == number][:, :, number - 1]
    return at_input


def detected(
    ta: Array, state: NDArray[np.uint8], gains: Array, now: Physical, known: Known, rng: Generator | None
) -> Array:
    """Counts of every stream (n, stream); without a generator neither noise nor rounding."""
    power = gains * (received(ta, state, now, known) + NOISE)[:, OF_STREAM]
    detector, receiver = known["detector"], known["receiver"]
    if rng is not None:
        samples = receiver["bandwidth"] * 1e6 * float(receiver["integration"])
        # The outputs of a receiver have the same noise, that of the one receiver.
        power = power * (1.0 + rng.normal(size=(len(ta), RECEIVERS)) / np.sqrt(samples))[:, OF_STREAM]
    counts = detector["offset"] + 2.0 * power / (1.0 + np.sqrt(1.0 + 4.0 * detector["compression"] * power))
    if rng is None:
        return np.asarray(counts)
    counts = np.round(counts + detector["readout"] * rng.normal(size=counts.shape))
    return np.asarray(np.clip(counts, 0.0, detector["full_scale"]))


def housekeeping(now: Physical, thermal: dict[str, Array], rng: Generator) -> Array:
    """Counts of all temperature sensors (n, sensor)."""
    kelvin = np.empty((len(now.load), len(SENSORS)))
    for n in range(RECEIVERS):
        kelvin[:, sensors_of("R", n)] = (0.5 * (now.load + now.diode))[:, [n]]
        own = sensors_of("R", n)
        kelvin[:, own[int(thermal["load_sensor"][n]) - 1]] = now.load[:, n] - thermal["load_offset"][n]
        kelvin[:, own[int(thermal["diode_sensor"][n]) - 1]] = now.diode[:, n]
        for k, part in enumerate(("A", "RFTL", "INT_RFTL")):
            kelvin[:, sensors_of(part, n)] = (now.elements[:, n, k] - thermal["element_offset"][n, k])[:, None]
    coefficient = thermal["coefficient"][[0 if t else 1 for t in THERMISTORS]]
    counts = (kelvin - coefficient[:, 0]) / coefficient[:, 1]
    return np.round(counts + 0.7 * rng.normal(size=counts.shape))


# Files and truth


def write_edr(
    scene: Scene, folder: Path, et: Array, state: NDArray[np.uint8], counts: Array, known: Known, rng: Generator
) -> NDArray[np.bool_]:
    """Write the hourly files; returns which slots come through undamaged."""
    columns: dict[str, Array] = {
        "sequence": np.arange(len(et), dtype=np.float64) % 65536,
        "crc_error": np.zeros(len(et)),
    }
    for k, name in enumerate(STREAMS):
        columns |= {f"{name}Cnt": counts[:, k], f"{name}State": state.astype(np.float64)}
    sensors = housekeeping(physical(et), known["thermal"], rng)
    columns |= {name: sensors[:, k] for k, name in enumerate(SENSORS)}
    there = np.ones(len(et), bool)
    if len(et) > 4000:
        gap = int(rng.integers(1000, len(et) - 1000))
        there[gap : gap + 25] = False
        columns["crc_error"][rng.integers(0, len(et), 6)] = 1.0
    kept = {name: value[there] for name, value in columns.items()}
    write_csv(folder, "edr", scene.pass_.number, kept, et[there], scene.clock, simulated=True)
    return there & (columns["crc_error"] == 0)


def _axes(et: Array) -> dict[str, Array | list[str]]:
    return {"et": et, "channel": list(CHANNELS)}


def temperatures(et: Array, ta: Array) -> xr.Dataset:
    """Truth of the antenna temperatures."""
    data = {"ta": (("et", "channel"), ta), "ta_stream": (("et", "stream"), ta[:, OF_STREAM])}
    return xr.Dataset(data, coords={**_axes(et), "stream": list(STREAMS)})


def true_gain(scene: Scene, known: Known) -> xr.Dataset:
    """Truth of the gain at the middles of 30 s."""
    first, last = np.ceil(scene.span.start / 30.0), np.floor(scene.span.stop / 30.0)
    et = np.asarray((np.arange(first, last) + 0.5) * 30.0, np.float64)
    lets = (10.0 ** (-known["chain"]["loss"] / 10.0)).prod(axis=1) * (1.0 - known["chain"]["reflection"])
    gains = receiver_gains(et, scene.pass_.et) * lets[OF_STREAM]
    return xr.Dataset(
        {"gain": (("et", "stream"), gains), "compression": (("stream",), known["detector"]["compression"])},
        coords={"et": et, "stream": list(STREAMS)},
    )


def true_brightness(scene: Scene, sky: MicrowaveSky) -> xr.Dataset:
    """Truth of the brightness at the nodes of latitude that were seen from near and at many angles; NaN elsewhere."""
    latitude = np.linspace(-90.0, 90.0, len(sky.table))
    below = _well_seen(scene, latitude)
    angle = np.array([0.0, 15.0, 30.0, 45.0, 53.0])
    mu = np.cos(np.radians(angle))
    basis = np.stack([np.ones_like(mu), -(1.0 - mu) / 0.2, 0.5 * (mu - 0.8) * (1.0 - mu) / 0.04], axis=1)
    c = np.where(below[:, None, None], sky.table, np.nan).transpose(1, 0, 2)
    data = {"c": (("channel", "latitude", "coefficient"), c), "tb": (("channel", "latitude", "angle"), c @ basis.T)}
    return xr.Dataset(data, coords={"channel": list(CHANNELS), "latitude": latitude, "angle": angle})


def _well_seen(scene: Scene, latitude: Array) -> NDArray[np.bool_]:
    """Nodes that a boresight met both below 20 and above 40 degrees of emission, from within 1.6 radii."""
    et = np.arange(scene.span.start, scene.span.stop, 0.5)
    origin = scene.geometry.position("IAU_JUPITER", et)
    near = np.sqrt((origin**2).sum(axis=1)) < 1.6 * EQUATORIAL_RADIUS
    axis = scene.geometry.rotation("JUNO_MWR_A2", "IAU_JUPITER", et)[:, :, 2]
    _, where, mu = (part[near, 0] for part in seen(origin, axis[:, None, :]))
    met = np.isfinite(mu)
    node = np.rint((where[met] - latitude[0]) / STEP).astype(np.intp)
    emission = np.degrees(np.arccos(np.clip(mu[met], -1.0, 1.0)))
    angles = (emission < 20.0, (emission > 40.0) & (emission < 48.0))
    steep, flat = (np.bincount(node[use], minlength=len(latitude)) > 0 for use in angles)
    return np.asarray(steep & flat)
