"""What the PDS4 labels of the SRU say beyond the schemas."""

from __future__ import annotations

from pipeline.archive.declaration import Facet, Pds4

PDS4 = Pds4(
    facets=(
        Facet("Imaging", "Grayscale", domains=("Magnetosphere", "Rings"), wavelengths=("Visible",)),
        Facet("Particles", "Electrons", "Energetic", domains=("Magnetosphere",)),
    ),
    levels={"sru.stars": "Derived", "sru.hits": "Derived", "sru.count_rate": "Derived"},
    image=("row", "column"),
    exposure="exposure",
)
