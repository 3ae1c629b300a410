"""What the PDS4 labels of Gravity Science say beyond the schemas."""

from __future__ import annotations

from pipeline.archive.declaration import Facet, Pds4

PDS4 = Pds4(
    context="jno.rss",
    facets=(Facet("Radio Science", domains=("Interior",), wavelengths=("Microwave", "Radio")),),
    levels={"gs.gravity": "Derived", "gs.stability": "Derived"},
)
