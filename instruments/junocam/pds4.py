"""What the PDS4 labels of JunoCam say beyond the schemas."""

from __future__ import annotations

from pipeline.archive.declaration import Facet, Pds4

PDS4 = Pds4(
    facets=(
        Facet("Imaging", "Color", domains=("Atmosphere",), wavelengths=("Visible", "Near Infrared")),
        Facet("Atmospheres", "Meteorology", domains=("Atmosphere",), wavelengths=("Visible", "Near Infrared")),
    ),
    levels={
        "junocam.attitude": "Geometry",
        "junocam.geometry": "Geometry",
        "junocam.colour": "Derived",
        "junocam.map": "Derived",
    },
    image=("line", "sample"),
    exposure="exposure",
    filter="filter",
)
