"""The truth of a simulated pass: trajectory, attitude, clock and fields of a real one.

Everything is a function of time (and of the seed), evaluated where it is asked for, so that every instrument sees the
same world however it samples it, and a time's value depends on no other time asked for. What a further instrument needs
of the world (brightness, plasma, stars) is another method here. What is shared with the calibration (geometry, field
models, clock) is proven elsewhere, against SPICE and published vectors.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.clock import Sclk, Span
from pipeline.geometry import Geometry, make_geometry
from pipeline.jupiter import con2020, jrm33
from pipeline.passes import Pass, get_pass

Floats = NDArray[np.float64]
Scale = Literal["demo", "full"]

# Seconds about closest approach that are simulated.
REACH: dict[Scale, float] = {"demo": 1200.0, "full": 3600.0}
# Degree of JRM33 in the truth; at closest approach it differs from the 13 of the diagnostics by 2 % of the field.
DEGREE = 18
# Seconds beyond the span at either end for which there is geometry.
MARGIN = 600.0
# The middle of a quiet time, in seconds before closest approach: 83 radii out in an orbit of 53 days.
QUIET = 10 * 86400.0
# Periods of its waves: two spins to two hours; number of waves of each of the three kinds.
PERIODS = (60.0, 7200.0)
WAVES = 150


@dataclass(frozen=True)
class Scene:
    """The truth of a pass.

    Parameters
    ----------
    pass_ : the pass.
    span : times that are simulated.
    scale : ``demo``: 40 minutes about closest approach, ``full``: two hours.
    seed : of whatever is random in the world itself.
    """

    pass_: Pass
    span: Span
    scale: Scale
    seed: int

    @cached_property
    def geometry(self) -> Geometry:
        """Where Juno is and looks: the propagated trajectory and the nominal spin."""
        return make_geometry(self.pass_, self.span.pad(MARGIN), None)

    @property
    def clock(self) -> Sclk:
        """The spacecraft clock."""
        return Sclk.default()

    def magnetic_field(self, et: ArrayLike) -> Floats:
        """Field of Jupiter where Juno is: JRM33 of degree 18 and con2020; J2000, nT (n, 3)."""
        times = np.atleast_1d(np.asarray(et, np.float64))
        position = self.geometry.position("IAU_JUPITER", times)
        field = jrm33(position, degree=DEGREE) + con2020(position)
        turn = self.geometry.rotation("IAU_JUPITER", "J2000", times)
        return np.asarray((turn * field[:, None, :]).sum(axis=2))


@dataclass(frozen=True)
class QuietScene(Scene):
    """Far from the planet: a weak field whose direction fluctuates while its strength stays, as in the solar wind.

    Its direction turns by sums of sines of random phases, which keeps its length (Alfvenic fluctuations, Belcher and
    Davis 1971, J. Geophys. Res. 76, 3534); a small part is compressive.

    Parameters
    ----------
    strength : mean length, nT.
    angle : by how much each of its two angles turns, rad; root mean square times sqrt(2).
    compression : the same of its length, relative.
    """

    strength: float = 5.0
    angle: float = 0.6
    compression: float = 0.02

    def magnetic_field(self, et: ArrayLike) -> Floats:
        """Fluctuating field, J2000, nT (n, 3)."""
        times = np.atleast_1d(np.asarray(et, np.float64)) - self.pass_.et
        rng = np.random.default_rng([self.seed, self.pass_.number, 1971])
        # Each kind has periods of its own: with common ones length and direction would stay in step for ever.
        periods = np.exp(rng.uniform(np.log(PERIODS[0]), np.log(PERIODS[1]), (3, WAVES)))
        phases = rng.uniform(0.0, 2.0 * np.pi, (3, WAVES))
        # Amplitudes fall as the square root of the frequency.
        weights = np.sqrt(periods / periods.sum(axis=1, keepdims=True))
        waves = np.zeros((3, times.size))
        for period, weight, phase in zip(periods.T, weights.T, phases.T, strict=True):
            waves += weight[:, None] * np.sin(2.0 * np.pi / period[:, None] * times + phase[:, None])
        longitude, latitude = 0.9 + self.angle * waves[0], 0.3 + self.angle * waves[1]
        direction = (np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude), np.sin(latitude))
        return np.stack(direction, axis=1) * (self.strength * (1.0 + self.compression * waves[2]))[:, None]


def make_scene(number: int, *, scale: Scale, seed: int) -> Scene:
    """The scene of a pass.

    Raises
    ------
    UsageError
        if there is no such pass.
    """
    pass_ = get_pass(number)
    reach = REACH[scale]
    return Scene(pass_, Span(pass_.et - reach, pass_.et + reach), scale, seed)


def make_quiet_scene(number: int, *, hours: float, seed: int) -> QuietScene:
    """A quiet time of so many hours, long before the closest approach of a pass; raises UsageError as `make_scene`."""
    pass_ = get_pass(number)
    middle = pass_.et - QUIET
    return QuietScene(pass_, Span(middle - hours * 1800.0, middle + hours * 1800.0), "full", seed)
