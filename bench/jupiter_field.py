"""How fast Jupiter's field and its M-shells are evaluated, beside JupiterMag (C++): seconds, best of five.

The field at 500 000 places of a pass; lines through 1000 places, all of them, and those that stay where the library
does not integrate the disc's field, for 20 ms a point.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import JupiterMag
import numpy as np

from pipeline.jupiter import con2020, jrm33, m_shell

RADIUS = 71492.0
COUNT = 500_000


def places(count: int, lowest: float, highest: float) -> np.ndarray:
    rng = np.random.default_rng(0)
    direction = rng.normal(size=(count, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    return direction * rng.uniform(lowest, highest, (count, 1))


def best(function: Callable[[], object]) -> float:
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def main() -> None:
    radii = places(COUNT, 1.05, 3.5)
    km, (x, y, z) = radii * RADIUS, np.ascontiguousarray(radii.T)
    JupiterMag.Internal.Config(Model="jrm33", CartesianIn=True, CartesianOut=True)
    JupiterMag.Con2020.Config("default")
    print(f"{'':24}{'here':>8}{'JupiterMag':>12}")
    for degree in (13, 18, 30):
        ours = best(lambda d=degree: jrm33(km, degree=d))
        theirs = best(lambda d=degree: JupiterMag.Internal.Field(x, y, z, MaxDeg=d))
        print(f"{f'JRM33, degree {degree}':24}{ours:8.3f}{theirs:12.3f}")
    print(f"{'con2020':24}{best(lambda: con2020(km)):8.3f}{best(lambda: JupiterMag.Con2020.Field(x, y, z)):12.3f}")
    ours = best(lambda: jrm33(km) + con2020(km))
    theirs = best(lambda: JupiterMag.ModelField(x, y, z, IntModel="jrm33", ExtModel="con2020"))
    print(f"{'both, degree 13':24}{ours:8.3f}{theirs:12.3f}")
    some = places(1000, 1.05, 3.5)
    inside = some[m_shell(some * RADIUS) < 5.5]
    print(f"{'M-shell, 1000':24}{best(lambda: m_shell(some * RADIUS)):8.3f}{'':>12}")
    theirs = best(lambda: JupiterMag.TraceField(*inside.T, IntModel="jrm33", ExtModel="Con2020"))
    print(f"{f'M-shell, {len(inside)} inside':24}{best(lambda: m_shell(inside * RADIUS)):8.3f}{theirs:12.3f}")


if __name__ == "__main__":
    main()
