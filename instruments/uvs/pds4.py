"""What the PDS4 labels of UVS say beyond the schemas."""

from __future__ import annotations

from pipeline.archive.declaration import Facet, Pds4, SpectralAxis, View

PDS4 = Pds4(
    facets=(
        Facet("Spectroscopy", "Spectral Cube", domains=("Atmosphere", "Magnetosphere"), wavelengths=("Ultraviolet",)),
    ),
    levels={"uvs.map": "Derived"},
    spectral={"wavelength": SpectralAxis("wavelength", "wavelength", "nm", "Bins of equal width that adjoin.")},
    view=View(
        "Slit of three parts along the spin axis: two of 2.55 by 0.2 degrees, between them 2.0 by 0.025 degrees.",
        width=0.2,
        length=7.2,
    ),
)
