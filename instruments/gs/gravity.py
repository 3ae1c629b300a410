"""What the residuals of one pass say of Jupiter's gravity: corrections to the harmonics J2 to J6 and to Juno's state.

A diagnostic: least squares over the residuals of a single pass about the trajectory's model, linear, with the a priori
uncertainties of table ``estimate``. One pass does not separate all parameters; the covariance says which.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve, cholesky, solve_triangular
from scipy.special import chdtrc, ndtr

from calibration.tables import Table
from instruments.gs.schemas import PARAMETER_UNITS, PARAMETERS, PARTIAL, REJECTED
from pipeline.dataset.quality import raised
from pipeline.errors import CalibrationError, GeometryError
from pipeline.geometry import Geometry
from pipeline.instrument import Product, step
from pipeline.jupiter.gravity import GM, ZONAL, acceleration
from pipeline.jupiter.rotation import orientations
from pipeline.passes import Pass

Floats = NDArray[np.float64]

# Steps of the numerical derivatives: state in km and km/s, harmonics.
STEPS = np.array([1e-2] * 3 + [1e-5] * 3 + [1e-8] * 5)
HARMONICS = 5
MOST = 4000  # residuals; their covariance is a matrix of so many rows and columns
TOLERANCE = 1e-11


@step(produces="gs.gravity", over="unit", version=2)
def gravity(
    range_rate: Annotated[xr.Dataset, Product("gs.range_rate")],
    geometry: Geometry,
    pass_: Pass,
    estimate: Table,
    *,
    harmonics: Literal["published", "free"] = "published",
) -> xr.Dataset:
    """Estimate corrections to state and harmonics, and whether the residuals allow to believe them.

    Parameters
    ----------
    harmonics : ``published``: their errors are known a priori, so whatever else acts on Juno stays in the residuals;
        ``free``: what the pass says alone. Then a tide or a bulge of degree 2 is taken for J2, since one pass sees one
        meridian.

    Notes
    -----
    The solution is rejected where the sum of squares of the residuals after the fit, or the number of runs of their
    signs, is too improbable for the errors stated: then something acts on Juno that is not among the parameters.
    """
    use = np.flatnonzero(
        np.isfinite(range_rate["range_rate"].values) & ~raised(range_rate["quality"].values, PARTIAL.mask)
    )
    if use.size <= len(PARAMETERS):
        raise CalibrationError(f"{use.size} residuals do not determine {len(PARAMETERS)} parameters")
    if use.size > MOST:
        raise CalibrationError(f"{use.size} residuals are more than {MOST}: take a longer gs.range_rate.interval")
    rows = range_rate.isel(et=use)
    matrix = partials(geometry, pass_.et, rows["et_spacecraft"].values, float(rows["interval"].values))
    covariance = _covariance(rows, float(estimate["correlation"].value))
    prior = np.concatenate([estimate["state"].value, estimate["published"].value])
    if harmonics == "free":
        prior[-HARMONICS:] = float(estimate["free"].value)
    fit = least_squares(rows["range_rate"].values, matrix, covariance, prior)
    accepted = min(fit.probability, fit.runs_probability) > float(estimate["rejection"].value)
    sigma = np.sqrt(np.diag(fit.covariance))
    quality = np.full(len(PARAMETERS), np.uint32(0 if accepted else REJECTED.mask))
    of = "parameter"
    return xr.Dataset(
        {
            "parameter_name": (of, np.array(PARAMETERS)),
            "unit": (of, np.array(PARAMETER_UNITS)),
            "correction": (of, fit.correction),
            "correction_random": (of, sigma),
            "prior": (of, prior),
            "information": (of, 1.0 - (sigma / prior) ** 2),
            "covariance": ((of, "parameter_other"), fit.covariance),
            "epoch": ((), np.float64(pass_.et)),
            "chi2": ((), np.float64(fit.chi2)),
            "freedom": ((), np.float64(fit.freedom)),
            "probability": ((), np.float64(fit.probability)),
            "runs_probability": ((), np.float64(fit.runs_probability)),
            "accepted": ((), np.int8(accepted)),
            "record_et": ("record", rows["et"].values),
            "before": ("record", rows["range_rate"].values),
            "after": ("record", fit.after),
            "quality": (of, quality),
        }
    )


def _covariance(rows: xr.Dataset, scale: float) -> Floats:
    """Covariance of the residuals: random errors, and structured ones that decay over `scale` seconds."""
    et, structured = rows["et"].values, rows["range_rate_structured"].values
    decay = np.exp(-np.abs(et[:, None] - et[None, :]) / scale)
    return np.diag(rows["range_rate_random"].values ** 2) + structured[:, None] * structured[None, :] * decay


@dataclass(frozen=True)
class Fit:
    """A least-squares solution; see `GRAVITY` for the meaning of its numbers."""

    correction: Floats
    covariance: Floats
    after: Floats
    chi2: float
    freedom: float
    probability: float
    runs_probability: float


def least_squares(values: Floats, matrix: Floats, covariance: Floats, prior: Floats) -> Fit:
    """Solve ``values = matrix p`` for p about zero.

    Parameters
    ----------
    values : residuals (n); `matrix` (n, m).
    covariance : of the residuals (n, n).
    prior : a priori uncertainty of the parameters (m).
    """
    lower = cholesky(covariance, lower=True)
    white = solve_triangular(lower, values, lower=True)
    # Columns in units of the a priori uncertainty, or the normal matrix spans thirty decades.
    columns = solve_triangular(lower, matrix * prior, lower=True)
    normal = columns.T @ columns
    factor = cho_factor(normal + np.eye(prior.size))
    scaled = cho_solve(factor, columns.T @ white)
    inverse = cho_solve(factor, np.eye(prior.size))
    left = white - columns @ scaled
    freedom = values.size - float(np.trace(inverse @ normal))
    chi2 = float(left @ left)
    return Fit(
        correction=scaled * prior,
        covariance=inverse * prior[:, None] * prior,
        after=values - matrix @ (scaled * prior),
        chi2=chi2,
        freedom=freedom,
        probability=float(chdtrc(freedom, chi2)),
        runs_probability=runs_probability(left),
    )


def runs_probability(residuals: Floats) -> float:
    """Two-sided probability of the number of runs of sign, if signs are independent (Wald and Wolfowitz 1940)."""
    up = residuals > 0
    n, m = int(up.sum()), int((~up).sum())
    if min(n, m) == 0:
        return 0.0
    runs = 1 + int((up[1:] != up[:-1]).sum())
    mean = 1.0 + 2.0 * n * m / (n + m)
    variance = (mean - 1.0) * (mean - 2.0) / (n + m - 1.0)
    return float(2.0 * ndtr(-abs(runs - mean) / np.sqrt(variance))) if variance > 0 else 1.0


def partials(geometry: Geometry, epoch: float, et: Floats, interval: float) -> Floats:
    """Derivatives of the range rate, mm/s, with respect to `PARAMETERS` (n, 11).

    A displacement of Juno shows along the line of sight from the Earth; the rate is formed as it is measured, over the
    interval. What the small changes of light time add, a part in 10^4, is left out.

    Parameters
    ----------
    et : of Juno at the middle of each interval.
    """
    edges = np.concatenate([et - interval / 2, et + interval / 2])
    look = geometry.position("J2000", edges, target="JUNO", observer="EARTH")
    look /= np.sqrt((look**2).sum(axis=1))[:, None]
    along = np.einsum("ni,nmi->nm", look, displacements(geometry, epoch, edges))
    first, last = np.split(along, 2)
    return np.asarray((last - first) / interval * 1e6)


def displacements(geometry: Geometry, epoch: float, et: Floats) -> Floats:
    """Derivatives of Juno's position, km, with respect to `PARAMETERS` (n, 11, 3).

    By central differences of trajectories that are integrated together, about the state of the geometry.
    """
    start = np.concatenate([getattr(geometry, what)("J2000", [epoch])[0] for what in ("position", "velocity")])
    if not np.isfinite(start).all():
        raise GeometryError("the geometry has not Juno at closest approach, where the state is estimated")
    pole = orientations()["JUPITER"].pole(epoch)
    count = len(PARAMETERS)
    offset = np.concatenate([np.diag(STEPS), -np.diag(STEPS)])
    states = start + offset[:, :6]
    zonal: list[Floats | float] = [
        ZONAL[k] + offset[:, 6 + k] if k < HARMONICS else ZONAL[k] for k in range(len(ZONAL))
    ]

    from scipy.integrate import solve_ivp  # loads much that a run with nothing to do does not need

    def slope(_: float, y: Floats) -> Floats:
        state = y.reshape(2 * count, 6)
        pull = acceleration(state[:, :3], pole, gm=GM, zonal=zonal)  # type: ignore[arg-type]
        return np.concatenate([state[:, 3:], pull], axis=1).ravel()

    out = np.empty((et.size, count, 3))
    scale = np.tile(TOLERANCE * np.repeat([np.linalg.norm(start[:3]), np.linalg.norm(start[3:])], 3), 2 * count)
    for side in (et < epoch, et >= epoch):
        if not side.any():
            continue
        times = et[side] - epoch
        until = times.min() if times.min() < 0 else times.max()
        solution = solve_ivp(
            slope, (0.0, until), states.ravel(), "DOP853", rtol=TOLERANCE, atol=scale, dense_output=True
        )
        if not solution.success or solution.sol is None:
            raise GeometryError("the neighbouring trajectories cannot be integrated")
        y = solution.sol(times).T.reshape(times.size, 2 * count, 6)[:, :, :3]
        out[side] = (y[:, :count] - y[:, count:]) / (2.0 * STEPS)[:, None]
    return out
