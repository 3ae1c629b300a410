"""Zeros left in the calibrated field, from the spin and from the |B|-preserving fluctuations of the solar wind.

They are proposals for table zero, not an input of the field: near Jupiter the field's own gradient looks like a zero of
hundreds of nT (linear trends are fitted, curvature is not), so every fit states what it expects to leak.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from calibration.tables import Table
from instruments.mag.chain import bench_angles, cube_to_spacecraft
from instruments.mag.frames import Array, transpose
from instruments.mag.groups import Groups
from instruments.mag.schemas import MIXED_RANGE
from instruments.mag.uncertainty import sensor_of
from pipeline.dataset.quality import Quality, flag, raised
from pipeline.geometry import Geometry
from pipeline.instrument import Product, step
from pipeline.passes import Pass

RANGES = 6
# Of a spin, the fewest 1 s means that the fits with two and three trend terms can use.
FEWEST_PER_SPIN = 16
# Interval of the spin-axis fit: longer than Alfvenic fluctuations, shorter than the solar wind's structure.
DAVIS_SMITH_INTERVAL = 300.0
FEWEST_PER_INTERVAL = 150
DAVIS_SMITH_ITERATIONS = 5
# Neighbouring spins whose errors may be correlated; blocks, or intervals, that an error needs.
BLOCK = 20
FEWEST_BLOCKS = 3
MEAN_INTERVAL = 1.0
EXCLUDED = int(Quality.MISSING | Quality.GEOMETRY_MISSING | Quality.SUSPECT) | MIXED_RANGE.mask

Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class SpinFits:
    """One fit per spin: ``z`` complex (x + i y), `sigma` of each component, predicted `leakage`, nT."""

    et: Array
    z: NDArray[np.complex128]
    sigma: Array
    leakage: NDArray[np.complex128]
    k: NDArray[np.intp]

    @property
    def offered(self) -> Flags:
        """Where the leakage is below the formal error."""
        return np.abs(self.leakage) < self.sigma


@step(produces="mag.zeros", over="unit", version=1)
def zeros(
    field: Annotated[xr.Dataset, Product("mag.field_1s")],
    geometry: Geometry,
    pass_: Pass,
    orthogonality: Table,
    alignment: Table,
    bench: Table,
    zero: Table,
) -> xr.Dataset:
    """Zeros left in the calibrated field, per spin and per range, each with its error and what is expected to leak.

    Per spin a zero is offered where the leakage is below the formal error. Per range it must also be better known than
    the zero of the table it would replace: so within a pass none is, and the zeros are those of the table.
    """
    phase, rate = spin_phase(field["et"].values, geometry)
    good = ~raised(field["quality"].values, EXCLUDED) & np.isfinite(phase)
    payload = field["b_payload"].values.astype(float)
    k = field["range"].values.astype(np.intp)
    fits = spin_fits(field["et"].values, payload, phase, rate, k, good)
    left, covariance, leakage, spins = by_range(fits)
    corrected = payload - np.concatenate([np.nan_to_num(left[:, :2]), np.zeros((RANGES, 1))], axis=1)[k]
    for i in range(RANGES):
        axis = davis_smith(field["et"].values, corrected, good & (k == i))
        left[i, 2], covariance[i, 2, 2], leakage[i, 2] = axis
    sigma = np.sqrt(np.stack([covariance[:, i, i] for i in range(3)], axis=1))
    known = zero["zero"].sigma[sensor_of(field)]
    offered = (np.abs(leakage) < sigma) & (sigma < known)
    return xr.Dataset(
        {
            "zero_spin": (("et", "plane"), np.stack([fits.z.real, fits.z.imag], axis=1)),
            "zero_spin_random": (("et", "plane"), np.stack([fits.sigma, fits.sigma], axis=1)),
            "leakage": (("et",), np.abs(fits.leakage)),
            "offered": (("et",), fits.offered.astype(np.int8)),
            "range": (("et",), fits.k.astype(np.int8)),
            "quality": (("et",), flag(~fits.offered, Quality.SUSPECT)),
            "zero": (("range_index", "xyz"), left),
            "zero_random": (("range_index", "xyz"), sigma),
            "zero_covariance": (("range_index", "xyz", "xyz_other"), covariance),
            "zero_leakage": (("range_index", "xyz"), leakage),
            "zero_quality": (
                ("range_index", "xyz"),
                flag(~offered, Quality.SUSPECT) | flag(np.isnan(left), Quality.MISSING),
            ),
            "zero_offered": (("range_index", "xyz"), offered.astype(np.int8)),
            "zero_sensor": (
                ("range_index", "axis"),
                in_sensor(left, offered, field, pass_.et, orthogonality, alignment, bench),
            ),
            "spins": (("range_index",), spins.astype(np.int32)),
        },
        coords={"et": fits.et},
    )


def spin_phase(et: Array, geometry: Geometry) -> tuple[Array, Array]:
    """Phase of an inertial direction in the spacecraft's x-y plane and its rate, rad and rad/s (n).

    An inertial vector's components turn as ``B_x + i B_y ~ exp(i phase)``.
    """
    turn = geometry.rotation("J2000", "JUNO_SPACECRAFT", et)
    # the axis of J2000 that is furthest from the spin axis
    column = int(np.argmin(np.nan_to_num(np.abs(turn[:, 2, :])).sum(axis=0)))
    phase = np.arctan2(turn[:, 1, column], turn[:, 0, column])
    later = geometry.rotation("J2000", "JUNO_SPACECRAFT", et + MEAN_INTERVAL)
    step_ = np.arctan2(later[:, 1, column], later[:, 0, column]) - phase
    return phase, np.mod(step_ + np.pi, 2.0 * np.pi) - np.pi


def spin_fits(et: Array, b: Array, phase: Array, rate: Array, k: NDArray[np.intp], good: Flags) -> SpinFits:
    """Zero of the spin plane from each whole spin, by least squares with a trend (step 11).

    ``B_x + i B_y = z + (c_0 + c_1 tau) exp(i phase)``; the term ``c_2 tau^2`` of a second fit, with which the formal
    error is formed, gives the leakage into z that the first must have. Means over 1 s shorten a vector fixed in the
    spacecraft by ``sinc(omega / 2)``, which is undone.

    Parameters
    ----------
    et : centres of 1 s means (n), increasing; `b` : spacecraft frame, nT (n, 3).
    phase, rate : of `spin_phase`; `k` : range; `good` : means to use.
    """
    keep = np.flatnonzero(good)
    if keep.size == 0:
        nothing = np.zeros(0)
        return SpinFits(nothing, nothing.astype(complex), nothing, nothing.astype(complex), np.zeros(0, np.intp))
    et, phase, rate, k = et[keep], phase[keep], rate[keep], k[keep]
    wave = np.exp(1j * phase)
    w = b[keep, 0] + 1j * b[keep, 1]
    turned = np.floor(np.unwrap(phase) / (2.0 * np.pi))
    new = np.ones(et.size, bool)
    new[1:] = (turned[1:] != turned[:-1]) | (k[1:] != k[:-1]) | (np.diff(et) > 1.5 * MEAN_INTERVAL)
    spins = Groups(np.cumsum(new), np.ones(et.size, bool))
    whole = spins.number >= FEWEST_PER_SPIN
    middle = spins.mean(et)
    tau = (et - middle[spins.inverse]) * np.abs(rate) / (2.0 * np.pi)
    basis = np.stack([np.ones_like(wave), wave, tau * wave, tau**2 * wave], axis=1)
    gram = spins.sum(np.conj(basis[:, :, None]) * basis[:, None, :])[whole]
    right = spins.sum(np.conj(basis) * w[:, None])[whole]
    inverse3 = np.linalg.inv(gram[:, :3, :3])
    z = (inverse3[:, :1] @ right[:, :3, None])[:, 0, 0]
    quadratic = np.linalg.solve(gram, right[:, :, None])[:, :, 0]
    leakage = (inverse3[:, :1] @ gram[:, :3, 3:])[:, 0, 0] * quadratic[:, 3]
    power = spins.sum(np.abs(w) ** 2)[whole] - np.real(np.sum(np.conj(right) * quadratic, axis=1))
    freedom = 2.0 * (spins.number[whole] - 4)
    sigma = np.sqrt(np.maximum(power, 0.0) / freedom * inverse3[:, 0, 0].real)
    shortened = np.sinc(spins.mean(rate)[whole] * MEAN_INTERVAL / (2.0 * np.pi))
    return SpinFits(middle[whole], z / shortened, sigma / shortened, leakage / shortened, k[spins.start][whole])


def by_range(fits: SpinFits) -> tuple[Array, Array, Array, NDArray[np.intp]]:
    """Weighted means of the spins of each range; one that leaks weighs as if the leakage were part of its error.

    Returns
    -------
    zero, covariance, leakage, spins
        (range, 3), (range, 3, 3), (range, 3), of x and y, NaN where there are too few spins; (range).
        The covariance is from the scatter of blocks of spins, because neighbouring spins share fluctuations.
    """
    zero = np.full((RANGES, 3), np.nan)
    leakage = np.full((RANGES, 3), np.nan)
    covariance = np.full((RANGES, 3, 3), np.nan)
    spins = np.zeros(RANGES, np.intp)
    for i in range(RANGES):
        use = fits.k == i
        spins[i] = use.sum()
        if spins[i] < FEWEST_BLOCKS * BLOCK:
            continue
        weight = 1.0 / (fits.sigma[use] ** 2 + np.abs(fits.leakage[use]) ** 2)
        z = np.stack([fits.z[use].real, fits.z[use].imag], axis=1)
        leaks = np.stack([fits.leakage[use].real, fits.leakage[use].imag], axis=1)
        zero[i, :2] = weight @ z / weight.sum()
        leakage[i, :2] = weight @ leaks / weight.sum()
        blocks = np.arange(0, spins[i], BLOCK)
        score = np.add.reduceat(weight[:, None] * (z - zero[i, :2]), blocks, axis=0)
        covariance[i, :2, :2] = score.T @ score / weight.sum() ** 2
        covariance[i, 2, :2] = covariance[i, :2, 2] = 0.0
    return zero, covariance, leakage, spins


def davis_smith(et: Array, b: Array, good: Flags) -> tuple[float, float, float]:
    """Zero of the spin axis from fluctuations that keep |B| (step 12).

    Minimising the variance of ``|B - z e_z|^2`` gives ``z = cov(B_z, |B|^2) / (2 var B_z)`` (Davis and Smith 1968, Eos
    49, 257; Belcher 1973, J. Geophys. Res. 78, 6480), here from linearly detrended intervals together. Changes of |B|
    that are independent of its direction add ``2 B_z var|B|`` to the covariance; they are what varies in
    ``|B - z e_z|^2`` at the solution, and are taken off by iteration. The variance is from the scatter of the
    intervals; the leakage is what their quadratic trends contribute.

    Returns
    -------
    zero, variance, leakage
        nT, nT^2, nT; NaN with too few intervals.
    """
    groups = Groups(np.floor(et / DAVIS_SMITH_INTERVAL).astype(np.int64), good)
    use = groups.number >= FEWEST_PER_INTERVAL
    if use.sum() < FEWEST_BLOCKS:
        return np.nan, np.nan, np.nan
    tau = np.mod(et, DAVIS_SMITH_INTERVAL) / DAVIS_SMITH_INTERVAL - 0.5
    basis = np.stack([np.ones_like(tau), tau, tau**2], axis=1)
    values = np.stack([b[:, 2], (b**2).sum(axis=1)], axis=1)
    gram = groups.sum(basis[:, :, None] * basis[:, None, :])[use]
    right = groups.sum(basis[:, :, None] * values[:, None, :])[use]
    moments = groups.sum(values[:, :, None] * values[:, None, :])[use]
    axial, power = groups.mean(values)[use].T
    left = moments - np.swapaxes(right[:, :2], 1, 2) @ np.linalg.solve(gram[:, :2, :2], right[:, :2])
    curved = left - (moments - np.swapaxes(right, 1, 2) @ np.linalg.solve(gram, right))
    aligned, together = 2.0 * left[:, 0, 0], left[:, 0, 1]
    z, score = 0.0, together
    for _ in range(DAVIS_SMITH_ITERATIONS):
        compression = left[:, 1, 1] - 4.0 * z * together + 2.0 * z**2 * aligned
        score = together - 0.5 * (axial - z) * compression / (power - 2.0 * z * axial + z**2)
        z = float(score.sum() / aligned.sum())
    variance = ((score - z * aligned) ** 2).sum() / aligned.sum() ** 2
    leakage = (curved[:, 0, 1] - 2.0 * z * curved[:, 0, 0]).sum() / aligned.sum()
    return z, float(variance), float(leakage)


def in_sensor(
    zero: Array,
    offered: Flags,
    field: xr.Dataset,
    closest_approach: float,
    orthogonality: Table,
    alignment: Table,
    bench: Table,
) -> Array:
    """Zeros in the axes of the sensor, to be added to table zero, nT (range, axis); NaN where one is not offered.

    The bench stands as in the middle of the data: its flexure turns a zero of 10 nT by less than 0.02 nT.
    """
    sensor = sensor_of(field)
    middle = np.array([0.5 * (field["et"].values[0] + field["et"].values[-1]) - closest_approach])
    angles, _, _ = bench_angles(middle, bench["offset"].value, bench["angles"].value[sensor])
    turn = transpose(cube_to_spacecraft(angles, alignment["angles"].value[sensor]))[0]
    whole = np.where(offered.all(axis=1, keepdims=True), zero, np.nan)
    return np.linalg.solve(orthogonality["matrix"].value[sensor], (whole @ turn.T)[:, :, None])[:, :, 0]
