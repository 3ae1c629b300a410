"""What damage to raw data changed in a product although no flag says so: plausible wrong numbers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from pipeline.dataset.schema import Schema, Variable
from pipeline.dataset.uncertainty import COMPONENTS, sigma
from pipeline.testing.samples import samples_of

SIGMAS = 3.0
# Seconds within which records are the same one.
SAME = 1e-3
# Variables that tell records of one time apart.
KINDS = ("species", "unit")


def unnoticed(product: xr.Dataset, sound: xr.Dataset, schema: Schema) -> list[str]:
    """Compare a product of damaged raw data with the one of the same data undamaged.

    Parameters
    ----------
    product, sound : as `netcdf.open_product` gives them; `product` may have fewer records.

    Returns
    -------
    list of str
        a line per variable with samples that are neither flagged nor missing and differ by more than three sigma of the
        sound ones (at all, where no uncertainty is stated), and one for unflagged records at times that the sound
        product has not.
    """
    found = []
    if schema.index and schema.index in product["et"].dims:
        pairs, there = _paired(sound, product, schema)
        own = product["et"].values
        if strange := int((_trusted(product, schema) & ~there).sum()):
            found.append(f"{strange} of {own.size} records at other times")
        product, sound = product.isel({schema.index: there}), sound.isel({schema.index: pairs[there]})
        sound = sound.assign_coords(et=product["et"])
    for variable in schema.variables:
        found += _changed(variable, product, sound, schema)
    return found


def _paired(sound: xr.Dataset, product: xr.Dataset, schema: Schema) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Record of the sound product at the time of each of the other, and whether there is one."""
    known, own = (_records(d, schema) for d in (sound, product))
    pairs = known.get_indexer(own)
    return pairs, pairs >= 0


def _records(dataset: xr.Dataset, schema: Schema) -> pd.MultiIndex:
    """What tells records apart: time, species of ions for example, and order among what is equal so far."""
    time = np.rint(np.asarray(dataset["et"].values, np.float64) / SAME).astype(np.int64)
    kinds = [v.name for v in schema.variables if v.dims == (schema.index,) and v.name in KINDS and v.name in dataset]
    table = pd.DataFrame({"time": time} | {name: dataset[name].values for name in kinds})
    return pd.MultiIndex.from_frame(table.assign(nth=table.groupby(list(table)).cumcount()))


def _changed(variable: Variable, product: xr.Dataset, sound: xr.Dataset, schema: Schema) -> list[str]:
    name = variable.name
    if name not in product or name not in sound or name in {v.quality for v in schema.variables}:
        return []
    if product[name].dtype.kind not in "fiu":
        return []
    if product[name].shape != sound[name].shape:
        return [f"{name} has the shape {product[name].shape} for {sound[name].shape}"]
    samples = samples_of(variable, product, sound, sound[[]])
    stated = any(f"{name}_{which}" in sound for which in COMPONENTS)
    limit = SIGMAS * np.nan_to_num(sigma(sound, name).values) if stated else 0.0
    wrong = samples.judged & (np.abs(samples.delta) > limit)
    if not variable.quality and schema.index in variable.dims:
        # What has no flags of its own is worth what the rest of its record is.
        wrong &= _along(_trusted(product, schema), variable.dims.index(str(schema.index)), wrong.ndim)
    if not wrong.any():
        return []
    worst = np.unravel_index(np.argmax(np.where(wrong, np.abs(samples.delta), -1.0)), wrong.shape)
    new, old = (float(d[name].values[worst]) for d in (product, sound))
    return [f"{name}: {wrong.sum()} of {wrong.size}, {new:.6g} for {old:.6g}"]


def _along(records: NDArray[np.bool_], axis: int, ndim: int) -> NDArray[np.bool_]:
    return np.expand_dims(records, [k for k in range(ndim) if k != axis])


def _trusted(product: xr.Dataset, schema: Schema) -> NDArray[np.bool_]:
    """Which records have a sample that no flag disqualifies."""
    trusted = np.zeros(product.sizes[str(schema.index)], bool)
    qualified = [v for v in schema.variables if v.quality] or schema.variables
    for variable in qualified:
        if variable.name in product and schema.index in variable.dims and product[variable.name].dtype.kind in "fiu":
            judged = samples_of(variable, product, product, product[[]]).judged
            others = tuple(k for k, d in enumerate(variable.dims) if d != schema.index)
            trusted |= judged.any(axis=others)
    return trusted
