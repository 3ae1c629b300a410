"""The plugin contract: what an instrument declares, and the steps that make its products.

A step is a plain function. What it needs stands in its signature, by type:

========================================== ==========================================================
annotation                                 what the step is given
========================================== ==========================================================
``Annotated[xr.Dataset, Raw("mag.ccsds")]`` raw data of the segment, halo included, in that raw format
``Geometry``                               positions and attitudes as arrays, interpolated at any time
``Table``                                  the calibration table of the parameter's name, of this instrument
``Annotated[Table, TableOf("x.y")]``       table ``y`` of folder ``x``
``Annotated[xr.Dataset, Product("mag.field")]``  an input product of the same pass, cut to the segment with halo;
                                           written ``xr.Dataset | None`` it is optional
``Annotated[dict[str, xr.Dataset], Product("junocam.radiance")]``  all units of that type in the pass, by unit
``Span``                                   the segment itself, without halo
``Pass``                                   the pass
keyword-only, with a default               a parameter, set with ``--set <product>.<name>=value``
========================================== ==========================================================
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pipeline.archive.declaration import Pds4
from pipeline.dataset.quality import Flag
from pipeline.dataset.schema import Schema

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure
    from numpy.random import Generator

    from pipeline.clock import Sclk, Span
    from pipeline.scene import Scene


@dataclass(frozen=True)
class Raw:
    """Marks the raw input of a step; `format` is the name of a `RawFormat`."""

    format: str


@dataclass(frozen=True)
class Product:
    """Marks an input product of a step; `type` is the name of a `ProductType` of any instrument."""

    type: str


@dataclass(frozen=True)
class TableOf:
    """Marks a table whose name is not the parameter's: ``"folder.name"``."""

    name: str


@dataclass(frozen=True)
class Granule:
    """One raw observation with its label and companions.

    Parameters
    ----------
    instrument, format : who wrote it and the name of its `RawFormat`.
    id : identity, without the archive's version.
    version : the archive's version; of two with one identity in one format the higher is taken.
    start, stop : et, half-open.
    files : role (``label``, ``data``, ...) to path; all of them enter the product's key.
    group : granules with one group are made into one product, where the product type says so.
    meta : what the reader needs again and the report shows; plain values.
    """

    instrument: str
    format: str
    id: str
    version: int
    start: float
    stop: float
    files: Mapping[str, Path]
    group: str | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class RawFormat:
    """One form in which raw data come.

    Parameters
    ----------
    name : ``<instrument>.<form>``.
    pattern : regular expression for the whole name (case ignored) of the file that stands for a granule.
    open : path and clock to `Granule`; reads the label or headers only. Raises `InputError`.
    read : granules of one unit in time order, span (None: all) and clock to one raw dataset, sorted in time; must not
        need memory beyond the span. Values as telemetered; what is lost is missing and counted. Raises `InputError`.
    index : dimension of the raw records; a dataset with none of them means that the span holds nothing.
    level : ``raw`` or, for archived products read instead of raw, ``calibrated``.
    """

    name: str
    title: str
    pattern: str
    open: Callable[[Path, Sclk], Granule]
    read: Callable[[Sequence[Granule], Span | None, Sclk], xr.Dataset]
    index: str = "et"
    level: Literal["raw", "calibrated"] = "raw"


@dataclass(frozen=True)
class ProductType:
    """One kind of product.

    Parameters
    ----------
    name : ``<instrument>.<type>``.
    unit : what one product is made of: a ``granule``, a ``group`` of granules, or the whole ``pass``.
    schema : layout of the dataset.
    segment : length in seconds of the slices a unit is computed in; edges are whole multiples of it in et, so they
        depend on nothing else. None: the unit is computed whole.
    on_request : made only when named by the user or needed by another product.
    """

    name: str
    title: str
    unit: Literal["granule", "group", "pass"]
    schema: Schema
    segment: float | None = None
    on_request: bool = False


@dataclass(frozen=True)
class Quicklook:
    """A figure of the report: `draw` takes the datasets of `products` in order (None for one that is absent)."""

    name: str
    title: str
    products: tuple[str, ...]
    draw: Callable[..., Figure]


@dataclass(frozen=True)
class Parameter:
    """A keyword-only argument of a step."""

    name: str
    default: Any
    annotation: Any

    def parse(self, text: str) -> Any:
        """Value of ``--set``; raises ValueError saying what is allowed."""
        kind = self.annotation
        if typing.get_origin(kind) is Literal:
            choices = typing.get_args(kind)
            for choice in choices:
                if text == str(choice):
                    return choice
            raise ValueError(f"{text!r} is not one of {', '.join(map(str, choices))}")
        args = [a for a in typing.get_args(kind) if a is not type(None)]
        if typing.get_origin(kind) in (types.UnionType, typing.Union):
            if text.lower() == "none" and type(None) in typing.get_args(kind):
                return None
            kind = args[0]
        if kind is bool:
            values = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
            if text.lower() not in values:
                raise ValueError(f"{text!r} is neither true nor false")
            return values[text.lower()]
        if kind in (int, float, str):
            try:
                return kind(text)
            except ValueError:
                raise ValueError(f"{text!r} is no {'whole number' if kind is int else 'number'}") from None
        raise ValueError(f"parameter {self.name} cannot be set from text")


@dataclass(frozen=True)
class Need:
    """One input of a step besides parameters: the argument it is passed as and what it is."""

    argument: str
    kind: Literal["raw", "product", "products", "table", "geometry", "span", "pass"]
    name: str = ""
    optional: bool = False


@dataclass(frozen=True)
class Step:
    """A step as declared; `function` is the plain function."""

    function: Callable[..., xr.Dataset]
    produces: str
    over: Literal["segment", "unit"]
    halo: float
    version: int

    @property
    def name(self) -> str:
        """Name of the function."""
        return self.function.__name__

    @property
    def needs(self) -> tuple[Need, ...]:
        """Inputs in the order of the signature."""
        return _signature(self.function, self.produces.split(".")[0])[0]

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Keyword-only arguments."""
        return _signature(self.function, self.produces.split(".")[0])[1]

    @property
    def raw(self) -> str | None:
        """Name of the raw format it reads, if any."""
        return next((n.name for n in self.needs if n.kind == "raw"), None)


def step(
    *, produces: str, over: Literal["segment", "unit"], version: int, halo: float = 0.0
) -> Callable[[Callable[..., xr.Dataset]], Callable[..., xr.Dataset]]:
    """Declare a function as the step that makes a product type.

    Parameters
    ----------
    produces : name of the `ProductType`.
    over : ``segment``: called once per segment; ``unit``: once for the whole unit.
    version : raised whenever the bytes it produces may change; part of the product's key.
    halo : seconds of raw data and input products beyond the segment's edges that it is given; the core trims the
        result back to the segment.
    """

    def declare(function: Callable[..., xr.Dataset]) -> Callable[..., xr.Dataset]:
        function.__perijove_step__ = Step(function, produces, over, halo, version)  # type: ignore[attr-defined]
        return function

    return declare


def _signature(function: Callable[..., Any], instrument: str) -> tuple[tuple[Need, ...], tuple[Parameter, ...]]:
    hints = typing.get_type_hints(function, include_extras=True)
    needs: list[Need] = []
    parameters: list[Parameter] = []
    for name, argument in inspect.signature(function).parameters.items():
        if argument.kind is inspect.Parameter.KEYWORD_ONLY:
            if argument.default is inspect.Parameter.empty:
                raise TypeError(f"step {function.__name__}: parameter {name} has no default")
            parameters.append(Parameter(name, argument.default, hints[name]))
        else:
            needs.append(_need(function.__name__, instrument, name, hints[name]))
    return tuple(needs), tuple(parameters)


def _need(step_name: str, instrument: str, name: str, hint: Any) -> Need:
    marks = getattr(hint, "__metadata__", ())
    base = typing.get_args(hint)[0] if marks else hint
    arms = typing.get_args(base) if typing.get_origin(base) in (types.UnionType, typing.Union) else (base,)
    optional = type(None) in arms
    base = next(a for a in arms if a is not type(None))
    for mark in marks:
        if isinstance(mark, Raw):
            return Need(name, "raw", mark.format)
        if isinstance(mark, Product):
            many = typing.get_origin(base) is dict
            return Need(name, "products" if many else "product", mark.type, optional)
        if isinstance(mark, TableOf):
            return Need(name, "table", mark.name, optional)
    kinds: dict[str, Literal["table", "geometry", "span", "pass"]] = {
        "Table": "table",
        "Geometry": "geometry",
        "Span": "span",
        "Pass": "pass",
    }
    kind = kinds.get(getattr(base, "__name__", ""))
    if kind is None:
        raise TypeError(f"step {step_name}: argument {name} is annotated {hint!r}, which is no input of a step")
    return Need(name, kind, f"{instrument}.{name}" if kind == "table" else "", optional)


@dataclass(frozen=True)
class Truth:
    """What a simulator knows to be true, in the schema of the product that should say it.

    Parameters
    ----------
    type : product type.
    unit : unit of the product within its pass; empty for products of the pass.
    dataset : variables and coordinates named as in the product, at the same records; variables it cannot know are
        left out. ``truth.attrs["injected"]`` may state the fraction of samples with injected defects.
    """

    type: str
    unit: str
    dataset: xr.Dataset


Simulator = Callable[["Scene", Path, Literal["demo", "full"], "Generator"], Iterator[Truth]]


@dataclass(frozen=True)
class Instrument:
    """An instrument: everything the core knows of it.

    Parameters
    ----------
    name, title : short name (the package's) and full name.
    formats : raw formats, best first.
    products : product types.
    steps : the step functions; of several that make one type from different raw formats, best first.
    tables : folder of its calibration tables, with their validity in ``context.yaml``.
    flags : its own quality bits.
    quicklooks : figures of the report.
    simulate : ``(scene, raw_folder, scale, rng)``: writes raw products below the folder, in the archive's layout and
        names, and yields the truth.
    pds4 : what its PDS4 labels say beyond the schemas.
    """

    name: str
    title: str
    formats: tuple[RawFormat, ...]
    products: tuple[ProductType, ...]
    steps: tuple[Callable[..., xr.Dataset], ...]
    tables: Path
    flags: tuple[Flag, ...] = ()
    quicklooks: tuple[Quicklook, ...] = ()
    simulate: Simulator | None = None
    pds4: Pds4 = field(default_factory=Pds4)

    def format(self, name: str) -> RawFormat:
        """The raw format of that name."""
        return next(f for f in self.formats if f.name == name)

    def product(self, name: str) -> ProductType:
        """The product type of that name."""
        return next(p for p in self.products if p.name == name)

    def steps_for(self, product: str) -> tuple[Step, ...]:
        """Steps that make a product type, best first."""
        declared: list[Step] = [f.__perijove_step__ for f in self.steps]  # type: ignore[attr-defined]
        return tuple(s for s in declared if s.produces == product)
