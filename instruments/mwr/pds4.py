"""What the PDS4 labels of MWR say beyond the schemas."""

from __future__ import annotations

from instruments.mwr.rdr_export import write_rdr
from pipeline.archive.declaration import Facet, Pds4

PDS4 = Pds4(
    facets=(Facet("Atmospheres", "Structure", domains=("Atmosphere",), wavelengths=("Microwave", "Radio")),),
    legacy=write_rdr,
    levels={"mwr.components": "Derived", "mwr.brightness": "Derived", "mwr.anchor": "Derived"},
)
