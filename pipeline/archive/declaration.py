"""What an instrument declares for its PDS4 labels, because no dataset can say it.

Everything has a default: without a declaration the labels are whole, but name no science facet and no discipline
dictionary beyond `geom` and `proc`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import xarray as xr

    from calibration.tables import Table
    from pipeline.clock import Sclk
    from pipeline.geometry import Geometry
    from pipeline.passes import Pass


@dataclass(frozen=True)
class Facet:
    """One ``Science_Facets``: values of the information model's lists.

    Parameters
    ----------
    of : product types whose name holds this text; empty: all.
    """

    discipline: str
    facet1: str | None = None
    facet2: str | None = None
    domains: tuple[str, ...] = ()
    wavelengths: tuple[str, ...] = ()
    of: str = ""


@dataclass(frozen=True)
class SpectralAxis:
    """An axis of spectra.

    Parameters
    ----------
    kind : what is stepped through.
    centres : the variable that holds the bins' centres.
    unit : their unit as the dictionary writes it.
    profile : shape of the bins, in words.
    widths : the variable that holds the bins' widths; None: bins adjoin, their width is the step of the centres.
    """

    kind: Literal["wavelength", "frequency", "energy"]
    centres: str
    unit: str
    profile: str
    widths: str | None = None


@dataclass(frozen=True)
class View:
    """The field of view of a spectrum: in words, and width and length in degrees where it has edges."""

    description: str
    width: float | None = None
    length: float | None = None


@dataclass(frozen=True)
class Particles:
    """What particles a product type counts.

    Parameters
    ----------
    kind : ``Electrons`` or ``Ions``.
    measurements : values of ``particle_measurement_type``.
    ions : values of ``ion_type``.
    energies : the variable whose range is the range of energies (per charge), and the unit as the dictionary writes it.
    """

    kind: Literal["Electrons", "Ions", "Neutrals"]
    measurements: tuple[str, ...]
    ions: tuple[str, ...] = ()
    energies: tuple[str, str] | None = None


@dataclass(frozen=True)
class Legacy:
    """What a writer of older forms is given.

    Parameters
    ----------
    products : of the pass, by type; of several units the last.
    raw : what they were made from, by the name of the raw format.
    tables : those they were made with, by ``instrument.name``.
    folder : where to write.
    """

    products: Mapping[str, xr.Dataset]
    raw: Mapping[str, xr.Dataset]
    tables: Mapping[str, Table]
    geometry: Geometry
    clock: Sclk
    pass_: Pass
    folder: Path
    simulated: bool


@dataclass(frozen=True)
class Pds4:
    """What a label says of an instrument's products beyond their schema.

    Parameters
    ----------
    context : identifier of the registered context product, ``fgm.jno``; empty: the instrument's name with ``.jno``.
    facets : science facets of all products.
    targets : identifiers of registered targets.
    levels : product type to ``Derived``, or to ``Geometry`` for one that goes to that collection; the others are
        ``Calibrated``.
    image : names of the dimensions that are line and sample of a picture.
    upward : True if the first line is displayed at the bottom.
    exposure, filter : variables that hold the exposure in seconds and the filter's name.
    spectral : dimension to the axis of spectra it is.
    view : field of view of the spectra.
    particles : by product type.
    legacy : writes the mission's older form with PDS3 labels, for tools that read nothing else; returns the data files.
    """

    context: str = ""
    facets: tuple[Facet, ...] = ()
    targets: tuple[str, ...] = ("planet.jupiter",)
    levels: Mapping[str, Literal["Derived", "Geometry"]] = field(default_factory=dict)
    image: tuple[str, str] | None = None
    upward: bool = False
    exposure: str | None = None
    filter: str | None = None
    spectral: Mapping[str, SpectralAxis] = field(default_factory=dict)
    view: View | None = None
    particles: Mapping[str, Particles] = field(default_factory=dict)
    legacy: Callable[[Legacy], list[Path]] | None = None

    @property
    def axes(self) -> set[str]:
        """Variables that say where the bins of spectra are."""
        return {n for axis in self.spectral.values() for n in (axis.centres, axis.widths) if n}
