"""The systematic uncertainty against the spread of products whose tables are drawn from their own uncertainties."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline.dataset.schema import Schema
from pipeline.dataset.uncertainty import component
from pipeline.testing.pulls import Result

Floats = NDArray[np.float64]

SYSTEMATIC = (0.85, 1.15)


def systematic_pulls(
    draws: Iterable[xr.Dataset],
    nominal: xr.Dataset,
    schema: Schema,
    components: Sequence[str] = ("systematic",),
) -> dict[str, float]:
    """How far products move when their tables are drawn from the tables' own uncertainties, over what is stated.

    Parameters
    ----------
    draws : products of the same raw data, each with tables drawn anew (200 of them); consumed one by one.
    nominal : the product with the tables as they are.
    components : what the tables' uncertainties make up together: add ``structured`` where it comes from tables.

    Returns
    -------
    dict
        variable to root mean square of (draw less nominal) over the stated uncertainty, over draws and good samples.
    """
    stated: dict[str, Floats] = {}
    for name in (v.name for v in schema.variables if v.name in nominal):
        parts = [p.values for c in components if (p := component(nominal, name, c)) is not None]
        if parts:
            stated[name] = np.sqrt(sum(p**2 for p in parts))
    squares = dict.fromkeys(stated, 0.0)
    number = 0
    for draw in draws:
        number += 1
        for name, scale in stated.items():
            moved = draw[name].values.astype(np.float64) - nominal[name].values
            pulls = np.divide(moved, scale, out=np.full(moved.shape, np.nan), where=scale > 0)
            squares[name] += float(np.nanmean(pulls**2))
    if number == 0:
        raise ValueError("no draws")
    return {name: float(np.sqrt(total / number)) for name, total in squares.items()}


def judge_systematic(results: Iterable[Result], deviations: dict[str, float]) -> list[Result]:
    """Results with ``systematic_pull_std`` filled in and judged: 0.85 to 1.15."""
    judged = []
    for result in results:
        value = deviations.get(result.variable)
        if value is not None and not SYSTEMATIC[0] <= value <= SYSTEMATIC[1]:
            why = "; ".join(filter(None, [result.why, f"deviation of systematic pulls {value:.3f}"]))
            result = replace(result, ok=False, why=why)
        judged.append(replace(result, systematic_pull_std=value))
    return judged
