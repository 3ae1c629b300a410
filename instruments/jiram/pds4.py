"""What the PDS4 labels of JIRAM say beyond the schemas."""

from __future__ import annotations

from pipeline.archive.declaration import Facet, Pds4, SpectralAxis, View

PDS4 = Pds4(
    facets=(
        Facet("Imaging", "Grayscale", domains=("Atmosphere",), wavelengths=("Infrared",), of="radiance"),
        Facet("Spectroscopy", "Spectral Image", domains=("Atmosphere",), wavelengths=("Infrared",), of="spectr"),
    ),
    levels={"jiram.geometry": "Geometry", "jiram.spectra_geometry": "Geometry", "jiram.map": "Derived"},
    image=("line", "sample"),
    exposure="exposure",
    spectral={
        "channel": SpectralAxis("wavelength", "wavelength", "micrometer", "One detector column each; adjoining.")
    },
    # 256 pixels of 0.237767 mrad, README.md.
    view=View("Slit of 256 pixels, each 0.237767 mrad wide.", width=0.013623, length=3.487519),
)
