"""What the PDS4 labels of MWR say beyond the schemas."""

from __future__ import annotations

from pipeline.archive.declaration import Facet, Pds4

PDS4 = Pds4(
    facets=(Facet("Atmospheres", "Structure", domains=("Atmosphere",), wavelengths=("Microwave", "Radio")),),
    levels={"mwr.components": "Derived", "mwr.brightness": "Derived", "mwr.anchor": "Derived"},
)
