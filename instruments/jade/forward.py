"""Parts of the forward model: where anodes look, what they pass, how they count, how the on-board sorting works.

Nothing here is shared with the calibration.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from pipeline.scene.plasma import Plasma

if TYPE_CHECKING:
    from pipeline.scene import Scene

Array = NDArray[np.float64]
Known = dict[str, dict[str, Array]]

# Sensor frames of juno_v12.tf: turns about the axes as they are then.
FRAMES = (("ZY", (60.0, 0.35)), ("ZY", (180.0, 0.48)), ("ZY", (-60.0, 0.34)))
ION_FRAME = ("ZYZ", (-75.0, 90.0, -135.0))
Q, C, M_E, U = 1.602176634e-19, 299_792_458.0, 9.1093837015e-31, 1.66053906660e-27
_GAUSS = np.polynomial.legendre.leggauss(3)
BAND: Array = np.asarray(_GAUSS[0], np.float64)
BAND_WEIGHTS: Array = np.asarray(_GAUSS[1], np.float64)


def electron_vectors(known: Known) -> Array:
    """Where the 48 electron anodes look, spacecraft frame (48, 3)."""
    az, el = (known["look_electrons"][n] for n in ("azimuth", "elevation"))
    own = Rotation.from_euler("ZY", np.stack([az, -el], axis=1), degrees=True).apply([1.0, 0.0, 0.0])
    return np.concatenate([Rotation.from_euler(axes, turns, degrees=True).apply(own) for axes, turns in FRAMES])


def ion_vectors(known: Known) -> Array:
    """Where the 12 ion anodes look, spacecraft frame (12, 3)."""
    # Along the bisector of X and Y, turned about -Z of the sensor by the fan angle.
    fan = Rotation.from_euler("z", -known["look_ions"]["fan"][:, None], degrees=True)
    axes, turns = ION_FRAME
    return np.asarray(
        Rotation.from_euler(axes, turns, degrees=True).apply(fan.apply(np.array([1.0, 1.0, 0.0]) / 2**0.5))
    )


def bands(table: dict[str, Array]) -> tuple[Array, Array, Array]:
    """Middle of each step (64), energies at the nodes of its pass band (64, 3), weights of these (3)."""
    edges = np.log(table["edges"] * table["scale"])
    half = (edges[:-1] - edges[1:])[:, None] / 2.0
    middle = (edges[:-1] + edges[1:]) / 2.0
    return np.exp(middle), np.exp(middle[:, None] + half * BAND), BAND_WEIGHTS / 2.0


def efficient(table: dict[str, Array], energy: Array, volts: float, et: float, row: int | None = None) -> Array:
    """Efficiency at energies."""
    curve = table["efficiency"] if row is None else table["efficiency"][row]
    volt = np.interp(volts, table["voltage"], table["voltage_factor"])
    return (
        np.interp(np.log(energy), np.log(table["energy"]), curve)
        * volt
        * np.interp(et, table["epoch"], table["epoch_factor"])
    )


def packed(counts: NDArray[np.int64], lower: Array) -> NDArray[np.uint8]:
    """Codes of counts: the last whose lower edge is not above."""
    return (np.searchsorted(lower, counts, side="right") - 1).astype(np.uint8)


def despun_axes(scene: Scene, et: Array) -> Array:
    """Despun axes in J2000, rows X, Y, Z (n, 3, 3): Z the spin axis, north of the ecliptic in the plane of X and Z."""
    to_inertial = scene.geometry.rotation("JUNO_SPACECRAFT", "J2000", et)
    z = to_inertial[:, :, 2]
    tilt = np.radians(84381.448 / 3600.0)
    y = np.cross(z, np.array([0.0, -np.sin(tilt), np.cos(tilt)]))
    y /= np.linalg.norm(y, axis=1, keepdims=True)
    return np.stack([np.cross(y, z), y, z], axis=1)


def energy_flux(state: Plasma, look: Array, energy: Array, lift: float, own: Array, mass: float) -> Array:
    """Differential energy flux, 1/(cm2 s sr), that comes from directions.

    Parameters
    ----------
    look : in J2000 (n, ..., 3). energy : eV, at the instrument, of the shape (...) or (n, ...).
    lift : eV by which the particle's energy was higher far away. own : velocity of the spacecraft, J2000, km/s (n, 3).
    """
    far = np.maximum(energy + lift, 0.0) * Q
    speed = np.sqrt(far / mass * (2.0 + far / (mass * C**2)))
    here = energy * Q
    lead = (slice(None),) + (None,) * (look.ndim - 2)
    velocity = -look * np.broadcast_to(speed, look.shape[:-1])[..., None] + 1e3 * own[(*lead, slice(None))]
    f = state.phase_space_density(velocity)
    # E J with J = p^2 f / m^3, from 1/(m2 s sr) to 1/(cm2 s sr).
    return np.asarray(1e-4 * here * here * (here / C**2 + 2.0 * mass) / mass**3 * f)


def turn_of(xy: Array) -> Array:
    """Azimuth as a fraction of a turn."""
    return np.asarray(np.arctan2(xy[..., 1], xy[..., 0]) / (2.0 * np.pi) % 1.0)


def sector_hits(
    scene: Scene, et: Array, seconds: NDArray[np.floating], axes: Array, anodes: Array, sort: Callable[[Array], Array]
) -> Iterator[NDArray[np.intp]]:
    """For each second of an accumulation, which sector each anode looks into at each of 64 views, (n, 64, anode).

    Parameters
    ----------
    sort : components along the despun axes (n, 64, anode, 3) to sectors.
    """
    for second in seconds:
        when = et[:, None] + second + (np.arange(64) + 0.5) / 64.0
        turn = scene.geometry.rotation("JUNO_SPACECRAFT", "J2000", when.ravel()).reshape(et.size, 64, 3, 3)
        inertial = np.einsum("nkij,aj->nkai", turn, anodes)
        yield np.floor(sort(np.einsum("nij,nkaj->nkai", axes, inertial))).astype(np.intp)


def ion_cells(known: Known) -> tuple[Array, Array]:
    """Directions within each look along the despun axes (78, 9, 3) and their weights, which add up to 1 (78, 9)."""
    table = known["look_ions"]
    sectors, edges = table["sectors"].astype(int), np.sin(np.radians(table["row_edges"]))
    out = []
    for row, number in enumerate(sectors):
        z = (edges[row] + edges[row + 1]) / 2.0 + (edges[row + 1] - edges[row]) / 2.0 * BAND
        for sector in range(number):
            angle = 2.0 * np.pi * (sector + 0.5 + BAND / 2.0) / number
            flat = np.sqrt(1.0 - z**2)[:, None]
            out.append(
                np.stack([flat * np.cos(angle), flat * np.sin(angle), np.repeat(z[:, None], 3, axis=1)], axis=-1)
            )
    weights = np.outer(BAND_WEIGHTS, BAND_WEIGHTS).ravel() / 4.0
    return np.stack(out).reshape(78, 9, 3), weights


def relativistic_temperature(state: Plasma) -> Array:
    """Pressure over density, eV, of an isotropic kappa distribution: a third of the mean of momentum times velocity."""
    kappa, mass = state.population.kappa, state.population.mass * U
    theta2 = (2.0 * kappa - 3.0) / kappa * state.temperature * Q / mass
    x = np.geomspace(1e-3, 3e2, 4000)
    w2 = theta2[:, None] * x**2
    weight = x**3 * (1.0 + x**2 / kappa) ** -(kappa + 1.0)
    push = mass * w2 / np.sqrt(1.0 + w2 / C**2) / 3.0
    return np.asarray((weight * push).sum(axis=1) / weight.sum() / Q)


def fluxes(dims: tuple[str, ...], flux: Array, energy: Array, mass: Array) -> dict[str, tuple[tuple[str, ...], Array]]:
    """Differential energy flux in its three forms; energy (n, 64), mass (n)."""
    per_kev = flux * 1e3 / energy[:, :, None]
    joule = (energy * Q)[:, :, None]
    heavy = mass[:, None, None]
    density = flux * 1e4 * heavy**3 / (joule**2 * (joule / C**2 + 2.0 * heavy))
    return {"energy_flux": (dims, flux), "number_flux": (dims, per_kev), "phase_space_density": (dims, density)}
