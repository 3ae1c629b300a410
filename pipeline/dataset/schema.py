"""What a product's dataset must look like, declared once per product type and enforced on everything made.

A schema is data: the compliance suite, the netCDF writer, the documentation and the archive labels all read it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Component = Literal["random", "systematic", "structured"]
Correlation = Literal["none", "full", "scale"]


@dataclass(frozen=True)
class Uncertainty:
    """One component of a variable's one-sigma uncertainty; stored as ``<variable>_<component>``.

    Parameters
    ----------
    component : ``random`` (independent between samples), ``systematic`` (common to all), ``structured``
        (correlated over `err_scale`).
    dims : dimensions of the stored array: the variable's own, or fewer where it is constant; ``()`` for a scalar.
    relative : True if stored as a fraction of the variable's value (units ``1``).
    err_scale : length of the correlation of a ``structured`` component, with its unit in words, e.g. ``"60 s"``.
    distribution : ``normal``; ``quantised``: normal noise rounded to steps whose size is the variable
        ``<variable>_quantum`` (its contribution, step / sqrt(12), is included in the sigma); ``poisson``: sigma from
        the expected counts, which stand in ``<variable>_expected`` (where counts were compressed,
        ``<variable>_quantum`` is the width of the bin, included in the sigma as above); ``derived``: an exact
        transformation of another variable whose distribution is the one to be tested.
    """

    component: Component
    dims: tuple[str, ...]
    relative: bool = False
    err_scale: str | None = None
    distribution: Literal["normal", "quantised", "poisson", "derived"] = "normal"

    def __post_init__(self) -> None:
        if (self.component == "structured") != (self.err_scale is not None):
            raise ValueError("err_scale belongs to structured components, and only to them")

    @property
    def err_corr(self) -> Correlation:
        """Form of the correlation between samples."""
        forms: dict[str, Correlation] = {"random": "none", "systematic": "full", "structured": "scale"}
        return forms[self.component]


@dataclass(frozen=True)
class Variable:
    """One data variable or coordinate.

    Parameters
    ----------
    name, dims, dtype : as stored. Floats may be stored narrower than computed (``float32``); text is ``str``.
    units : UDUNITS text; ``1`` for numbers without a unit.
    long_name : what it is, for a reader of the file.
    standard_name : the CF name, where CF has one.
    source : where the equation comes from: paper, section, or the project's own document.
    uncertainties : its components; empty only for variables that have none (identifiers, flags, diagnostics that
        say so in `long_name`).
    quality : name of the quality variable that qualifies it.
    optional : may be absent, e.g. because an optional input was.
    comment : anything a user must know to use it rightly.
    """

    name: str
    dims: tuple[str, ...]
    dtype: str
    units: str
    long_name: str
    standard_name: str | None = None
    source: str | None = None
    uncertainties: tuple[Uncertainty, ...] = ()
    quality: str | None = None
    optional: bool = False
    comment: str | None = None

    def ancillary(self) -> tuple[str, ...]:
        """Names of the variables that belong to this one."""
        names = [f"{self.name}_{u.component}" for u in self.uncertainties]
        return (*names, self.quality) if self.quality else tuple(names)


@dataclass(frozen=True)
class Schema:
    """Layout of one product type.

    Parameters
    ----------
    version : raised whenever names, dimensions, units or meaning change; part of the product's key.
    index : the dimension along which records follow one another (``et`` for time series, ``framelet`` for images);
        a coordinate ``et(index)`` is always there, and segments are cut and joined along it. None for a product
        that is made whole.
    variables : data variables.
    coords : coordinates besides those of the record (see `context`).
    sizes : dimensions of fixed size.
    context : True if every record carries the record coordinates: ``time``, ``sclk``, System III longitude and
        latitude, radial distance, altitude, local time, M-shell, spin phase, seconds from closest approach.
    chunk : records per stored chunk along the index.
    attrs : attributes of the dataset that are the same for every product of the type.
    """

    version: int
    index: str | None
    variables: tuple[Variable, ...]
    coords: tuple[Variable, ...] = ()
    sizes: dict[str, int] = field(default_factory=dict)
    context: bool = True
    chunk: int = 4096
    attrs: dict[str, str] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Variable:
        for variable in (*self.variables, *self.coords):
            if variable.name == name:
                return variable
        raise KeyError(name)
