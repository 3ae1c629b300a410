"""A dataset that keeps its schema passes; every way of breaking it is named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from dataset_samples import FLAGS, SCHEMA, FakeGeometry, finished, step_result

from pipeline.clock import Sclk
from pipeline.dataset import check
from pipeline.dataset.check import SchemaError
from pipeline.dataset.context import add_context
from pipeline.dataset.quality import CONDITIONS, Flag, Quality

Change = Callable[[xr.Dataset], xr.Dataset]


def changed(name: str, at: object, value: object) -> Change:
    def change(dataset: xr.Dataset) -> xr.Dataset:
        values = dataset[name].values.copy()
        values[at] = value
        return dataset.assign({name: dataset[name].copy(data=values)})

    return change


def test_a_good_dataset_passes() -> None:
    check.check(finished(), SCHEMA, FLAGS)
    check.check(finished(extra=False), SCHEMA, FLAGS)


def test_order_types_and_attributes() -> None:
    dataset = step_result()
    shuffled = dataset[sorted(dataset.data_vars, reverse=True)]
    out = check.finish(add_context(shuffled, SCHEMA, FakeGeometry(), Sclk.default()), SCHEMA, FLAGS, {"a": "b"})
    names = ["field", "field_random", "field_systematic", "field_structured", "label", "counts"]
    assert list(out.data_vars) == [*names, "extra", "extra_random", "quality"]
    assert out["counts"].dtype == "int16"
    assert out["field"].attrs["ancillary_variables"] == "field_random field_systematic field_structured quality"
    assert out["field_systematic"].attrs["err_corr"] == "full"
    assert out["field_systematic"].attrs["err_relative"] == 1
    assert out["field_systematic"].attrs["units"] == "1"
    assert out["field_structured"].attrs["err_scale"] == "60 s"
    assert out["extra_random"].attrs["standard_name"] == "air_temperature standard_error"
    assert out["quality"].attrs["flag_meanings"].split()[-2:] == ["transient", "uncorrected"]
    assert int(out["quality"].attrs["flag_conditions"]) == int(CONDITIONS) | FLAGS[1].mask
    assert out.attrs == {"a": "b"}


def test_ancillary_names_only_what_is_there() -> None:
    schema = replace(SCHEMA, variables=(replace(SCHEMA["field"], quality=None), *SCHEMA.variables[1:]))
    out = check.finish(step_result().drop_vars("field_random"), schema, FLAGS, {})
    assert out["field"].attrs["ancillary_variables"] == "field_systematic field_structured"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda d: d.drop_vars("field"), "field is missing"),
        (lambda d: d.drop_vars("field_structured"), "field_structured is missing"),
        (lambda d: d.drop_vars("extra_random"), "extra_random is missing"),
        (lambda d: d.drop_vars("quality"), "quality is missing"),
        (lambda d: d.drop_vars("altitude"), "altitude is missing"),
        (lambda d: d.drop_vars("axis_name"), "axis_name is missing"),
        (lambda d: d.assign(more=d["counts"]), "more is not in the schema"),
        (lambda d: d.assign(counts=d["field"]), r"counts has dimensions \('et', 'xyz'\)"),
        (lambda d: d.assign(field=d["field"].transpose()), r"field has dimensions \('xyz', 'et'\)"),
        (lambda d: d.isel(xyz=slice(2)), "dimension xyz has size 2, not 3"),
        (lambda d: d.assign(field=d["field"].astype(np.float64)), "field is float64, not float32"),
        (lambda d: d.assign(field=d["field"].assign_attrs(units="T")), "field has units 'T', not 'nT'"),
        (lambda d: d.reset_coords("altitude"), "altitude is no coordinate"),
        (changed("quality", 5, 1 << 20), "quality has bits that nobody declared: 20"),
        (changed("quality", 5, 1), "field is finite in 3 of .* flagged missing"),
        (changed("field", (5, 1), np.nan), "field is NaN in 1 of .* not flagged missing"),
        (changed("extra", 5, np.inf), "extra is infinite in 1 of"),
        (changed("field_random", (5, 1), np.nan), "field_random is NaN, infinite or negative in 1 of"),
        (changed("field_random", (5, 1), -1.0), "field_random is NaN, infinite or negative in 1 of"),
        (changed("field_random", (5, 1), np.inf), "field_random is NaN, infinite or negative in 1 of"),
        (changed("field_structured", 5, np.nan), "field_structured is NaN"),
        (lambda d: d.assign(field_systematic=d["field_systematic"] * np.nan), "field_systematic is NaN"),
        (lambda d: d.isel(et=slice(None, None, -1)), "et does not increase from record 0 to 1"),
        (lambda d: d.isel(et=[0, 1, 1, 2]), "et does not increase from record 1 to 2"),
    ],
)
def test_what_does_not_keep_the_schema_is_named(change: Change, named: str) -> None:
    attrs = {n: v.attrs for n, v in finished().variables.items()}
    broken = change(finished())
    for name, variable in broken.variables.items():  # arithmetic above may drop attributes
        variable.attrs = {**attrs.get(name, {}), **variable.attrs}
    with pytest.raises(SchemaError, match=named):
        check.check(broken, SCHEMA, FLAGS)


def test_absence_may_have_another_reason() -> None:
    bits = finished()["quality"].values[5] | Quality.INPUT_MISSING
    good = changed("quality", 5, bits)(changed("field", 5, np.nan)(finished()))
    check.check(good, SCHEMA, FLAGS)


def test_an_integer_cannot_be_missing() -> None:
    counts = replace(SCHEMA["counts"], quality="quality")
    schema = replace(SCHEMA, variables=tuple(counts if v.name == "counts" else v for v in SCHEMA.variables))
    with pytest.raises(SchemaError, match=r"counts is int16, which cannot be missing, in 10 of"):
        check.check(finished(), schema, FLAGS)


def test_framelets_may_share_a_time_but_not_run_back() -> None:
    def over(dims: tuple[str, ...]) -> tuple[str, ...]:
        return tuple("framelet" if d == "et" else d for d in dims)

    variables = tuple(
        replace(v, dims=over(v.dims), uncertainties=tuple(replace(u, dims=over(u.dims)) for u in v.uncertainties))
        for v in SCHEMA.variables
    )
    schema = replace(SCHEMA, index="framelet", variables=variables, context=False)
    images = step_result(9).rename_dims(et="framelet").reset_index("et")
    out = check.finish(images.assign_coords(et=("framelet", np.repeat([1.0, 2.0, 3.0], 3))), schema, FLAGS, {})
    check.check(out, schema, FLAGS)
    with pytest.raises(SchemaError, match="et does not increase"):
        check.check(out.isel(framelet=[3, 0]), schema, FLAGS)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda d: d.assign(counts=("et", np.full(d.sizes["et"], 40000))), "counts holds .*40000.*int16"),
        (lambda d: d.assign(counts=("et", np.full(d.sizes["et"], np.nan))), "counts holds .*nan"),
        (lambda d: d.assign(counts=("et", np.full(d.sizes["et"], 0.5))), "counts holds .*0.5"),
        (lambda d: d.assign(field=d["field"] * 1e40), "field holds .*float32"),
        (lambda d: d.assign(field=d["field"].assign_attrs(units="T")), "field has units 'T'"),
        (lambda d: d.assign(counts=("et", d["label"].values)), "counts is object"),
    ],
)
def test_what_cannot_be_stored_is_refused(change: Change, named: str) -> None:
    with pytest.raises(SchemaError, match=named):
        check.finish(change(step_result()), SCHEMA, FLAGS, {})


def test_flags_must_not_collide() -> None:
    with pytest.raises(ValueError, match="share a bit"):
        check.finish(step_result(), SCHEMA, (FLAGS[0], Flag(16, "other", "x")), {})
