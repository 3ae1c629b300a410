"""The spin of an image from its limb: first attitude, edges, fit, edges again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.tables import Table
from instruments.junocam.layout import FILTERS
from instruments.junocam.limb import LIFT, Edges, View, expected, join, measure
from instruments.junocam.observation import Image
from instruments.junocam.rough import BLOCK, LEVEL, find_centre, rough_edges
from instruments.junocam.spin import HEIGHT, RATE, TURN, Fit, Problem, Spin, toward

Floats = NDArray[np.float64]

# Rounds of finding edges where the last fit expects them. Fewer edges than so many are no limb.
ROUNDS, ENOUGH = 3, 40
# Rates about the nominal one that are tried, in deviations of it, and the step, rad/s; scale of the rough fit, pixels.
REACH, RATE_STEP, WIDE = 3.0, 6e-4, 4.0


@dataclass(frozen=True, eq=False)
class Limb:
    """What the limb of an image says.

    Parameters
    ----------
    edges, fit : the places found, and the parameters; `fit.residuals` are of the last edges.
    """

    edges: Edges
    fit: Fit


def limb_edges(image: Image, view: View, to_camera: Floats, heights: Floats) -> Edges:
    """Edges of all framelets near where the limb is expected.

    Parameters
    ----------
    to_camera : rotations from J2000 (n, 3, 3).
    heights : of the limb by filter, km.
    """
    found = []
    for i in range(len(image)):
        height, one = float(heights[image.filters[i]]), view.one(i)
        (seen, lit), (higher, _) = one.outline(height), one.outline(height + LIFT)
        turn, name = to_camera[i].T, FILTERS[image.filters[i]]
        line, sample, across = expected(image.camera, name, seen[0] @ turn, higher[0] @ turn, lit[0])
        if line.size:
            found.append(measure(image.picture(i), image.noise(i), i, line, sample, across))
    return join(found)


def fit_limb(
    image: Image, view: View, spin: Spin, start: Floats, prior: Floats, sigma: Floats, table: Table
) -> Limb | None:
    """Parameters of the spin that bring the model's limb to the edges; None if too few edges are found.

    Parameters
    ----------
    start : parameters right to some pixels.
    prior, sigma : of the parameters.
    table : ``limb``.
    """
    edge, latitude = float(table["edge"].value), table["latitude_sigma"].value
    values, limb = start, None
    for _ in range(ROUNDS):
        edges = limb_edges(image, view, spin.camera(values), values[HEIGHT:])
        if len(edges) < ENOUGH:
            return None
        problem = Problem(spin, view, image.camera, image.filters, edges, prior, sigma)
        fit = problem.solve(values, edge, latitude, image.others)
        values, limb = fit.values, Limb(edges, fit)
    return limb


def compare_limb(image: Image, view: View, spin: Spin, values: Floats, sigma: Floats) -> Limb | None:
    """The limb beside that of parameters which are taken as they are; None if too few edges are found."""
    edges = limb_edges(image, view, spin.camera(values), values[HEIGHT:])
    if len(edges) < ENOUGH:
        return None
    return Limb(edges, Problem(spin, view, image.camera, image.filters, edges, values, sigma).compare())


def first_guess(image: Image, view: View, spin: Spin, prior: Floats, sigma: Floats, rate: float) -> Floats | None:
    """Parameters right to some pixels where the phase is not known at all; None if the pictures show no limb.

    Parameters
    ----------
    rate : of the nominal spin, rad/s.
    """
    edges = all_rough_edges(image)
    if len(edges) < ENOUGH:
        return None
    own = image.filters[edges.framelet]
    looks = np.empty((len(edges), 3))
    for number, name in enumerate(FILTERS):
        looks[own == number] = image.camera.unproject(edges.line[own == number], edges.sample[own == number], name)
    looks = looks @ spin.mount @ toward(*spin.place)
    time = image.et[edges.framelet] - spin.middle
    several = np.unique(time).size > 1
    reach = REACH * float(sigma[RATE]) if several else 0.0
    rates = rate + np.arange(-reach, reach + RATE_STEP, RATE_STEP)
    found, centre, _ = find_centre(looks, time, rates if several else np.array([rate]))
    seen = spin.despun @ -view.observer.mean(axis=0)
    start = prior.copy()
    start[TURN] = np.arctan2(seen[1], seen[0]) - np.arctan2(centre[1], centre[0])
    start[RATE] = found - rate
    problem = Problem(spin, view, image.camera, image.filters, edges, prior, sigma)
    return problem.solve(start, float(BLOCK), np.zeros(2), wide=WIDE).values


def all_rough_edges(image: Image) -> Edges:
    """Rough edges of all framelets, whatever the attitude."""
    found = []
    for number in np.unique(image.filters):
        own = np.flatnonzero(image.filters == number)
        pictures = [image.picture(int(i)) for i in own]
        seen = np.concatenate([p[np.isfinite(p)] for p in pictures])
        if not seen.size:
            continue
        bright = float(np.percentile(seen, LEVEL))
        found += [rough_edges(p, bright, image.noise(int(i)), int(i)) for p, i in zip(pictures, own, strict=True)]
    return join(found)


def prior_of(limb: Table, attitude: Table, *, kernel: bool, earth: bool, interframe: float) -> tuple[Floats, Floats]:
    """Prior parameters and their deviations.

    Parameters
    ----------
    limb, attitude : tables.
    kernel : whether the nominal attitude is a kernel's; else it is a steady spin of unknown phase.
    earth : whether the antenna was at Earth in this pass.
    interframe : s.
    """
    rate, place = float(attitude["rate"].value), attitude["spin_axis"]
    if kernel:
        jitter, tilt = attitude["kernel_sigma"].value
        rate_sigma = rate * float(attitude["interframe_sigma"].value) / interframe
        first = np.array([jitter * rate, rate_sigma, tilt, tilt, 1e-7, 1e-7])
    else:
        tilt = np.radians(attitude["axis_sigma"].value[0 if earth else 1])
        first = np.array([np.inf, float(attitude["rate"].sigma), tilt, tilt, *place.sigma])
    prior = np.concatenate([np.zeros(4), place.value, limb["height"].value])
    return prior, np.concatenate([first, limb["height"].sigma])
